/* compute/cpu/group.h -- a fused group, compiled. Folder-internal.
 *
 * group_compile.c turns the members into a list of instructions over values, group_space.c lays the
 * iteration space out as a grid of tiles, group_run.c runs the list for every tile.
 *
 * Space. Up to four dimensions after joining neighbours that all inputs and sums treat alike. The last
 * two, rows and columns, make a tile; the grid counts tiles along all four.
 *
 * Sums. Grid axes that every sum keeps are free: tiles that differ there have nothing in common. For
 * each place along the free axes, the tiles along the others are cut into `chunks` runs of tiles. One
 * task is one run: it adds in double into its own accumulators, and the runs are added in order. All
 * of this follows from shapes, so the number of threads does not change a bit. */
#ifndef GANDIST_COMPUTE_CPU_GROUP_H
#define GANDIST_COMPUTE_CPU_GROUP_H

#include "base/arena.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/vkernels.h"

enum { GD__DIMS = 4, GD__ROW = 2, GD__COLUMN = 3 };

/* ---- values ---- */

typedef enum gd__place { GD__IN_INPUT, GD__IN_CONST, GD__IN_TEMP, GD__IN_REG, GD__IN_OUTPUT } gd__place;

/* Where a value is. TEMP: result of instruction `at`, before registers are given out. */
typedef struct gd__ref {
    gd__place place;
    int at;
} gd__ref;

/* How a tile of an input becomes a pointer. */
typedef enum gd__feed {
    GD__FEED_DIRECT,  /* contiguous f32: no copy                            */
    GD__FEED_CONVERT, /* contiguous bf16 or u8                              */
    GD__FEED_NUMBER,  /* one number for the whole tile                      */
    GD__FEED_REPEAT,  /* one row for all rows of the tile, kept while it is the same */
    GD__FEED_EXPAND   /* one number a row                                   */
} gd__feed;

typedef struct gd__input {
    gd_node node;
    gd_dtype dtype;
    int64_t step[GD__DIMS]; /* elements; 0 where it is broadcast                        */
    gd__feed feed;
    int reg;                /* for all but DIRECT and f32 NUMBER; -1: none              */
    int last_use;           /* instruction                                              */
    int safe_reg;           /* DIRECT: where its tile is saved if an output written before last_use
                               turns out to be the same memory; -1: cannot happen       */
} gd__input;

typedef enum gd__kind { GD__CALC, GD__SUM, GD__STORE, GD__STORE_BF16 } gd__kind;

typedef struct gd__instr {
    gd__kind kind;
    gd__vop op;
    int mode;       /* of the kernel                                      */
    bool number;    /* the result is one number                           */
    int n_src;
    gd__ref src[3], dst;
    float attr[2];
    int target;     /* SUM: which sum; STORE..: which output              */
    int uses;       /* while compiling                                    */
    bool dead;
    gd__vfn fn;
    int src_at[3], dst_at; /* in the table of pointers                    */
} gd__instr;

typedef struct gd__output {
    gd_node node;
    gd_dtype dtype;
    int first_write; /* instruction */
} gd__output;

typedef struct gd__sum {
    gd_node node;
    uint32_t axes;               /* of the node                              */
    bool keep[GD__DIMS];
    int64_t step[GD__DIMS];      /* of the result, 0 where summed            */
    int64_t extent[GD__DIMS];    /* of a task's accumulators                 */
    int64_t acc_step[GD__DIMS];
    int64_t acc_at, acc_count;   /* inside a task's accumulators             */
} gd__sum;

typedef struct gd__space {
    int64_t dim[GD__DIMS], tile[GD__DIMS], grid[GD__DIMS];
    bool free[GD__DIMS];
    int64_t places, runs_tiles; /* product of the free, of the other grid counts */
    int64_t chunks;             /* runs a place                                  */
} gd__space;

typedef struct gd__group {
    gd__kernel base;
    const gd__vkernels *kernels;
    gd__space space;
    int n_inputs, n_consts, n_instrs, n_regs, n_outputs, n_sums;
    gd__input *input;
    float *value; /* of the constants */
    gd__instr *instr;
    gd__output *output;
    gd__sum *sum;
    int work;              /* operations an element, roughly */
    int64_t acc_count;     /* doubles of one task            */
    size_t thread_bytes;   /* of scratch, for each thread    */
    size_t partial_at;     /* of scratch                     */
    gd_arena *arena;
} gd__group;

/* The shape that all members run over. */
gd_shape gd__group_shape(const gd_graph *g, int n, const gd_node *nodes);

/* Fills input, value, instr, output, sum (without layout). Errors: NOMEM, INTERNAL for a node that
 * does not belong into a group. */
gd_status gd__group_values(const gd_view *v, int n, const gd_node *nodes, gd__group *x);
/* After the layout is known: joins instructions, picks kernels, gives out registers. */
gd_status gd__group_finish(gd__group *x);
/* Lays out space, inputs and sums. members: for the size of a tile. */
void gd__group_layout(const gd_graph *g, gd_shape shape, int members, gd__group *x);

/* gd__make_group with the loops of one instruction set; for tests. */
gd_status gd__make_group_with(const gd_view *v, int n, const gd_node *nodes, const gd__vkernels *kernels,
                              gd__kernel **out);

#endif
