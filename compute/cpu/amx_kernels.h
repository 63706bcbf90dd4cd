/* compute/cpu/amx_kernels.h -- the inner loops of amx.h. Folder-internal.
 *
 * A tile is 1 KiB: 16 rows of 32 bf16, or of 16 pairs. A panel holds the 32 columns of a product that are computed
 * together: for each step of 32 of the depth two tiles, each of 16 pairs of the depth by 16 columns.
 *
 * A number of f32 is two of bf16: the nearest, its high half, and the one nearest to what is missing, its low half. Panels have for
 * each step two tiles of high halves and then two of low ones. */
#ifndef GANDIST_COMPUTE_CPU_AMX_KERNELS_H
#define GANDIST_COMPUTE_CPU_AMX_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AMX_TILE = 1024, /* bytes                                              */
    AMX_ROWS = 16,   /* of a tile                                          */
    AMX_DEPTH = 32,  /* products that one step adds                        */
    AMX_WIDE = 32,   /* rows and columns of a block of results             */
    AMX_STEP = 2 * AMX_TILE
};

/* What lies under output pixel (i, j) of an image [h,w,c]: r rows from row i * step + top, each of s pixels from column
 * j * step + left; zeros outside. */
typedef struct gd__amx_map {
    int64_t h, w, c, r, s, step, top, left;
    int64_t p, q; /* output pixels of an image */
} gd__amx_map;

/* The tiles of one operand: rows of a tile `pitch` bytes apart, the tile beside it (16 rows of A, 16 columns of B on)
 * `next`, those of the next step `step`, those of the next run of steps `jump`, that of low halves `low`. */
typedef struct gd__amx_tiles {
    const char *at;
    size_t pitch, next, step, jump, low;
} gd__amx_tiles;

typedef struct gd__amx_kernels {
    /* Before and after all others, on each thread. */
    void (*enter)(void);
    void (*leave)(void);
    /* Columns [low, high) of what lies under pixels [first, first + count) of the batch, zeros up to a whole step; rows
     * `pitch` elements apart. [0]: x is bf16. [1]: x is f32, and low halves come `rest` elements behind high ones. */
    void (*gather[2])(const gd__amx_map *m, const void *x, int64_t first, int64_t count, int64_t low, int64_t high,
                      uint16_t *out, int64_t pitch, int64_t rest);
    /* n numbers as their halves, zeros from there to `room`. */
    void (*split)(const float *x, int64_t n, int64_t room, uint16_t *high, uint16_t *low);
    /* One step of a panel: its rows of the depth are given, NULL for zeros; `columns` of AMX_WIDE are read. */
    void (*pack)(const uint16_t *const rows[AMX_DEPTH], int64_t columns, char *out);
    /* A panel of a matrix whose columns lie in rows, `pitch` elements apart: `columns` of AMX_WIDE; depth elements. */
    void (*pack_across)(const uint16_t *x, int64_t pitch, int64_t columns, int64_t depth, char *out);
    /* Two tiles of AMX_ROWS columns of x each, as rows, AMX_DEPTH rows of x long; `rows` and `columns` are read. */
    void (*turn)(const uint16_t *x, int64_t pitch, int64_t rows, int64_t columns, char *out);
    /* c [AMX_WIDE][AMX_WIDE] (+)= A B over `runs` of `steps`; one row or column of tiles where tall, wide are false.
     * [1]: of halves, high low + high high + low high. */
    void (*product[2])(const gd__amx_tiles *a, const gd__amx_tiles *b, int64_t runs, int64_t steps, bool tall,
                       bool wide, bool add, float *c);
    /* c's rows to out + at[row] elements, in f32 or bf16. */
    void (*put)(const float *c, int64_t rows, int64_t columns, const int64_t *at, bool bf16, void *out);
} gd__amx_kernels;

/* NULL: the compiler, the processor or the system has no matrix tiles. */
const gd__amx_kernels *gd__amx_usable(void);

#endif
