/* compute/cuda/group.h -- a part of a fused group. Folder-internal.
 *
 * A group is cut into parts, one for each set of axes that its sums keep; results that are no sums belong to the last
 * part. Each part computes anew what it needs, so a group is a sequence of one or two kernels a part, and an input
 * that a result lies over is read by nobody after it.
 *
 * Space. Up to four dimensions, joined where all inputs and sums treat neighbours alike. Its places along kept
 * dimensions are k, along summed ones r; the last dimension is counted in vectors. A block works on `columns`
 * neighbouring k with `lanes` threads each, and where few blocks would be busy, r is cut into chunks whose sums a
 * second kernel adds in order. Without sums, every thread has one k. */
#ifndef GANDIST_COMPUTE_CUDA_GROUP_H
#define GANDIST_COMPUTE_CUDA_GROUP_H

#include "compute/cuda/emit.h"

enum { GD__CU_DIMS = GD_RANK_MAX, GD__CU_LAST = GD_RANK_MAX - 1 };

typedef struct gd__cu_input {
    gd_node node;
    gd_dtype dtype;
    int64_t step[GD__CU_DIMS]; /* elements; 0 where it is broadcast */
    bool dense;                /* as large as the space             */
} gd__cu_input;

typedef struct gd__cu_space {
    int64_t dim[GD__CU_DIMS];
    bool keep[GD__CU_DIMS];
    int vector;           /* elements of the last dimension that a thread takes at once        */
    bool wide;            /* indices need 64 bits                                              */
    int64_t kept, summed; /* places, in vectors                                                */
    int columns, lanes;   /* of a block; columns * lanes = threads                             */
    bool lanes_together;  /* neighbouring threads are lanes of one column: the last is summed  */
    int64_t chunks;
    int width;            /* results of a place: vector, or 1 where the last dimension is summed */
} gd__cu_space;

typedef struct gd__cu_part {
    const gd_view *v;
    int n;
    const gd_node *nodes;
    bool *needed; /* per member */
    int n_inputs, n_sums, n_outputs;
    gd__cu_input *input;
    gd_node *sum, *output;
    gd__cu_space space;
} gd__cu_part;

/* Lays out space and inputs of p: dim and keep follow from shape and axes (0: no sums). */
void gd__cu_layout(const gd_graph *g, gd_shape shape, uint32_t axes, gd__cu_part *p);
/* columns, lanes and chunks of a space whose other members are set. */
void gd__cu_tile(gd__cu_space *s, bool sums);

/* Places in a text: "const u32 c2 = ..." for each dimension that is kept (summed) of index `name`. */
void gd__cu_print_places(gd__cu_text *t, const gd__cu_space *s, bool kept, const char *name);
/* What happens at one place: loads, members, additions to the accumulators a0.., stores. The coordinates are c0..c3. */
void gd__cu_print_body(gd__cu_text *t, const gd__cu_part *p);
/* First lines: names of the pointers. Arguments: inputs, then outputs, then sums. */
void gd__cu_print_pointers(gd__cu_text *t, const gd__cu_part *p);

static inline const char *gd__cu_index(const gd__cu_space *s) { return s->wide ? "u64" : "u32"; }

#endif
