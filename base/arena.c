/* base/arena.c -- chunks that grow; a large request gets a chunk of its own. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, FIRST_CHUNK = 4096, LAST_CHUNK = 1 << 20 };

typedef struct chunk {
    struct chunk *next;
    size_t size, used; /* of bytes */
    _Alignas(ALIGN) unsigned char bytes[];
} chunk;

struct gd_arena {
    chunk *head; /* the one that is being filled */
    size_t next_size, handed_out;
};

gd_arena *gd_arena_new(void) {
    gd_arena *a = calloc(1, sizeof *a);
    if (a) a->next_size = FIRST_CHUNK;
    return a;
}

void gd_arena_free(gd_arena *a) {
    if (!a) return;
    for (chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

static chunk *chunk_new(size_t size) {
    if (size > PTRDIFF_MAX - sizeof(chunk)) return NULL; /* no object is larger */
    chunk *c = calloc(1, sizeof(chunk) + size);
    if (c) c->size = size;
    return c;
}

/* A chunk with room for `need` at the head of the list, or behind it when it is filled by this alone. */
static chunk *chunk_for(gd_arena *a, size_t need) {
    if (a->head && a->head->size - a->head->used >= need) return a->head;
    int large = need > a->next_size / 2;
    chunk *c = chunk_new(large ? need : a->next_size);
    if (!c) return NULL;
    if (large && a->head) {
        c->next = a->head->next;
        a->head->next = c;
        return c;
    }
    c->next = a->head;
    a->head = c;
    if (!large && a->next_size < LAST_CHUNK) a->next_size *= 2;
    return c;
}

void *gd_arena_alloc(gd_arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - ALIGN) return NULL;
    size_t need = bytes ? (bytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    chunk *c = chunk_for(a, need);
    if (!c) return NULL;
    void *p = c->bytes + c->used;
    c->used += need;
    a->handed_out += bytes;
    return p;
}

char *gd_arena_strdup(gd_arena *a, const char *s) {
    size_t bytes = strlen(s) + 1;
    char *p = gd_arena_alloc(a, bytes);
    return p ? memcpy(p, s, bytes) : NULL;
}

char *gd_arena_printf(gd_arena *a, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : gd_arena_alloc(a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}

size_t gd_arena_used(const gd_arena *a) { return a->handed_out; }
