/* compute/cuda/library.c -- see library.h. */
#include "compute/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *open_one(const char *name) {
    const char *folder = getenv("GANDIST_CUDA_LIBRARIES");
    char path[4096];
    void *h = NULL;
    if (folder && *folder && (size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path)
        h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return h ? h : dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

gd_status gd__cu_library_find(void *handle, const char *name, const gd__cu_symbol *symbols, int n_symbols,
                              void *table) {
    for (int k = 0; k < n_symbols; k++) {
        void *f = dlsym(handle, symbols[k].name);
        if (!f) GD_FAIL(UNSUP, "cuda: %s has no %s; expected a newer version of it", name, symbols[k].name);
        memcpy((char *)table + symbols[k].offset, &f, sizeof f);
    }
    return GD_OK;
}

gd_status gd__cu_library_open(const char *const *names, const gd__cu_symbol *symbols, int n_symbols, void *table,
                              void **handle) {
    void *h = NULL;
    int i = 0;
    for (; names[i] && !h; i++) h = open_one(names[i]);
    if (!h) {
        const char *why = dlerror();
        GD_FAIL(UNSUP, "cuda: %s cannot be opened (%s); install it, or name its folder in GANDIST_CUDA_LIBRARIES",
                names[0], why ? why : "not found");
    }
    gd_status st = gd__cu_library_find(h, names[i - 1], symbols, n_symbols, table);
    if (st != GD_OK) {
        dlclose(h);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *handle = h;
    return GD_OK;
}

void gd__cu_library_close(void *handle) {
    if (handle) dlclose(handle);
}
