/* dist/json.c -- JSON without surprises when memory runs out. */
#include "dist/json_internal.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

/* What ordinary texts need a byte; stranger ones are served by malloc behind that. */
enum { RATIO = 24, SLACK = 16 << 10, ALIGN = 16 };

static _Thread_local struct {
    char *base;
    size_t used, room;
    bool refused;
} reserve;

static void *reserved_malloc(size_t n) {
    size_t whole = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (reserve.base && whole >= n && whole <= reserve.room - reserve.used) {
        void *p = reserve.base + reserve.used;
        reserve.used += whole;
        return p;
    }
    void *p = malloc(n);
    if (!p) reserve.refused = true;
    return p;
}

static void reserved_free(void *p) {
    uintptr_t at = (uintptr_t)p, base = (uintptr_t)reserve.base;
    if (reserve.base && at >= base && at < base + reserve.room) return;
    free(p);
}

/* Outside of gd__json_load they are malloc and free. */
static void set_functions(void) { json_set_alloc_funcs(reserved_malloc, reserved_free); }

static void use_reserve(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_functions);
    reserve.refused = false;
}

static void give_back(void) {
    free(reserve.base);
    reserve.base = NULL;
    reserve.used = reserve.room = 0;
}

json_t *gd__json_load(const char *text, size_t bytes, json_error_t *e, bool *no_memory) {
    assert(!reserve.base);
    use_reserve();
    *no_memory = true;
    size_t room = 0;
    if (__builtin_mul_overflow(bytes, (size_t)RATIO, &room) || __builtin_add_overflow(room, (size_t)SLACK, &room))
        return NULL;
    reserve.base = malloc(room);
    if (!reserve.base) return NULL;
    reserve.room = room;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, e);
    *no_memory = reserve.refused;
    if (root && !reserve.refused) return root;
    json_decref(root);
    give_back();
    return NULL;
}

void gd__json_unload(json_t *root) {
    if (!root) return;
    json_decref(root);
    give_back();
}

char *gd__json_text(json_t *root, size_t flags) {
    use_reserve();
    char *text = root ? json_dumps(root, flags | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    if (!reserve.refused) return text;
    free(text);
    return NULL;
}
