/* dist/checkpoint_snapshot.c -- this rank's share of a save in one piece of memory: what training may then change,
 * and tensors that are spread over the ranks. */
#include <string.h>

#include "dist/checkpoint_internal.h"

enum { ALIGN = 64, BLOCK = 1 << 20 /* bytes that one thread copies at a time */ };

static size_t padded(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }
static size_t tensor_bytes(const gd_state_tensor *t) { return (size_t)gd_shape_count(t->shape) * sizeof(float); }

size_t gd__save_room(const gd__save *j, bool all) {
    int own = gd__save_own(j);
    size_t sum = 0;
    for (int i = 0; i < j->s->count; i++) {
        const gd_state_tensor *t = gd__save_tensor(j, i);
        if (j->writer[i] == own && (all || t->spread)) sum += padded(tensor_bytes(t));
    }
    return sum;
}

static void copy(void *to, const void *from, size_t bytes) {
    if (bytes < 4 * BLOCK) {
        memcpy(to, from, bytes);
        return;
    }
    int64_t blocks = (int64_t)((bytes + BLOCK - 1) / BLOCK);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        size_t at = (size_t)b * BLOCK, n = bytes - at < BLOCK ? bytes - at : BLOCK;
        memcpy((char *)to + at, (const char *)from + at, n);
    }
}

/* ctx: the list of tensors; those of other writers have no place. */
static void keep(void *ctx, int i, const float *whole) {
    const gd_state_tensor *t = (const gd_state_tensor *)ctx + i;
    if (t->data) copy(t->data, whole, tensor_bytes(t));
}

gd_status gd__save_copy(const gd__save *j, bool all, gd_state_tensor *tensor, char *room) {
    int own = gd__save_own(j);
    size_t at = 0;
    for (int i = 0; i < j->s->count; i++) {
        gd_state_tensor *t = &tensor[j->order[i]];
        size_t bytes = tensor_bytes(t);
        bool mine = j->writer[i] == own && bytes;
        if (t->spread && !mine) t->data = NULL;
        if (!mine || (!all && !t->spread)) continue;
        float *to = (float *)(void *)(room + at);
        if (!t->spread) copy(to, t->data, bytes);
        t->data = to;
        t->spread = false;
        at += padded(bytes);
    }
    if (!j->s->collect) return GD_OK;
    return j->s->collect(j->s->collector, keep, tensor);
}
