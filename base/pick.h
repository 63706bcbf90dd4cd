/* base/pick.h -- one sample of a batch, as it is taken from samples that lie one behind another. */
#ifndef GANDIST_BASE_PICK_H
#define GANDIST_BASE_PICK_H

#include <stdint.h>

typedef struct gd_pick {
    uint32_t index;     /* of the sample among those there                       */
    uint32_t top, left; /* of the window that is taken of it, in pixels          */
    uint32_t mirror;    /* 1: each line of the window comes from right to left   */
} gd_pick;

enum { GD_PICK_ALIGN = 256 }; /* bytes: where samples begin behind the picks that belong to them */
static inline uint64_t gd_pick_bytes(uint64_t picks) {
    return (picks * sizeof(gd_pick) + GD_PICK_ALIGN - 1) / GD_PICK_ALIGN * GD_PICK_ALIGN;
}

#endif
