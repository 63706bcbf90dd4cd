/* compute/cuda/text.c -- see text.h. */
#include "compute/cuda/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static bool reserve(gd__cu_text *t, size_t more) {
    if (t->used + more <= t->room) return true;
    size_t room = 2 * t->room + more + 256;
    char *at = realloc(t->at, room);
    if (!at) return false;
    t->at = at;
    t->room = room;
    return true;
}

void gd__cu_print(gd__cu_text *t, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (t->no_memory || n < 0 || !reserve(t, (size_t)n + 1)) {
        t->no_memory = true;
        return;
    }
    va_start(list, format);
    vsnprintf(t->at + t->used, (size_t)n + 1, format, list);
    va_end(list);
    t->used += (size_t)n;
}

void gd__cu_text_free(gd__cu_text *t) {
    free(t->at);
    *t = (gd__cu_text){0};
}

static gd_status grow(gd__cu_kernels *k) {
    if (!k->arena) k->arena = gd_arena_new();
    if (!k->arena) GD_FAIL(NOMEM, "cuda: no memory for kernels");
    if (k->n < k->room) return GD_OK;
    int room = k->room ? 2 * k->room : 16;
    gd__cu_kernel *list = realloc(k->list, (size_t)room * sizeof *list);
    if (!list) GD_FAIL(NOMEM, "cuda: no memory for %d kernels", room);
    k->list = list;
    k->room = room;
    return GD_OK;
}

gd_status gd__cu_kernels_add(gd__cu_kernels *k, int pointers, const gd__cu_text *body, int *index) {
    char hex[17];
    if (body->no_memory || !body->at) GD_FAIL(NOMEM, "cuda: no memory for the text of a kernel");
    gd_hash64_text(gd_hash64(body->at, body->used, (uint64_t)pointers), hex);
    for (int i = 0; i < k->n; i++)
        if (!strcmp(k->list[i].name + 1, hex)) {
            *index = i;
            return GD_OK;
        }
    GD_TRY(grow(k));
    gd__cu_kernel *new = &k->list[k->n];
    *new = (gd__cu_kernel){.pointers = pointers};
    snprintf(new->name, sizeof new->name, "k%s", hex);
    new->source = gd_arena_printf(k->arena, "#include \"compute/cuda/kernel.h\"\nKERNEL(%s, %d)\n%sEND\n", new->name,
                                  pointers, body->at);
    if (!new->source) GD_FAIL(NOMEM, "cuda: no memory for the text of a kernel");
    *index = k->n++;
    return GD_OK;
}

void gd__cu_kernels_free(gd__cu_kernels *k) {
    gd_arena_free(k->arena);
    free(k->list);
    *k = (gd__cu_kernels){0};
}
