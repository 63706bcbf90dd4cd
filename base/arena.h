/* base/arena.h -- bump allocator: many small things that die together.
 * Not thread safe; one arena has one user. */
#ifndef GANDIST_BASE_ARENA_H
#define GANDIST_BASE_ARENA_H

#include <stddef.h>

typedef struct gd_arena gd_arena;

gd_arena *gd_arena_new(void);                          /* NULL when memory is out                  */
void gd_arena_free(gd_arena *a);                       /* NULL is fine; frees all it gave          */
void *gd_arena_alloc(gd_arena *a, size_t bytes);       /* zeroed, 16-byte aligned; NULL: no memory */
char *gd_arena_strdup(gd_arena *a, const char *s);
char *gd_arena_printf(gd_arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t gd_arena_used(const gd_arena *a);               /* bytes handed out                         */

#endif
