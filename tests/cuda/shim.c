/* tests/cuda/shim.c -- see shim.h. */
#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PER_FILE = 400 };

typedef struct known {
    char name[24], *source;
    shim_fn fn;
} known;

static known *list;
static int count, built, files;
static void *handle[256];
static bool backwards;

static void die(const char *what, const char *of) {
    fflush(stdout);
    fprintf(stderr, "FAIL %s: %s\n", what, of);
    exit(1);
}

static int by_name(const void *a, const void *b) { return strcmp(a, ((const known *)b)->name); }
static int in_order(const void *a, const void *b) { return strcmp(((const known *)a)->name, ((const known *)b)->name); }

/* The first `built` are sorted by name. */
static known *find(const char *name) {
    known *k = built ? bsearch(name, list, (size_t)built, sizeof *list, by_name) : NULL;
    for (int i = built; !k && i < count; i++)
        if (!strcmp(list[i].name, name)) k = &list[i];
    return k;
}

void shim_collect(const gd__cu_kernels *k) {
    for (int i = 0; i < k->n; i++) {
        if (find(k->list[i].name)) continue;
        list = realloc(list, (size_t)(count + 1) * sizeof *list);
        if (!list) die("no memory", "list of kernels");
        list[count] = (known){.source = strdup(k->list[i].source)};
        if (!list[count].source) die("no memory", k->list[i].name);
        memcpy(list[count].name, k->list[i].name, sizeof list[count].name);
        count++;
    }
}

int shim_count(void) { return count; }

static const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static void write_file(const char *path, int first, int last) {
    FILE *f = fopen(path, "w");
    if (!f) die("cannot write", path);
    fputs("int gd_reversed;\n", f);
    for (int i = first; i < last; i++) fputs(list[i].source, f);
    if (fclose(f)) die("cannot write", path);
}

static void *compile(int first, int last) {
    char text[512], object[512], command[2048];
    const char *tmp = variable("GANDIST_TEST_TMP", "/tmp");
    snprintf(text, sizeof text, "%s/kernels-%d-%d.c", tmp, (int)getpid(), files);
    snprintf(object, sizeof object, "%s/kernels-%d-%d.so", tmp, (int)getpid(), files);
    write_file(text, first, last);
    snprintf(command, sizeof command,
             "cc -std=gnu17 -O1 -g0 -fPIC -shared -Wall -Wextra -Werror -Wno-unused-variable -Wno-unused-function "
             "-ffp-contract=off -fno-math-errno -fno-strict-aliasing -Wl,-Bsymbolic %s -I'%s' '%s' -o '%s' -lm",
             variable("GANDIST_SANITIZE_FLAGS", ""), variable("GANDIST_SOURCE_DIR", "."), text, object);
    if (system(command)) die("the C compiler refuses", text);
    void *h = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    if (!h) die("cannot open", dlerror());
    unlink(text); /* what is open stays; programs of several ranks share the folder */
    unlink(object);
    return h;
}

void shim_build(void) {
    while (built < count) {
        int last = count - built > PER_FILE ? built + PER_FILE : count;
        if (files == (int)(sizeof handle / sizeof *handle)) die("too many files", "raise the number in shim.c");
        void *h = handle[files] = compile(built, last);
        files++;
        for (int i = built; i < last; i++) {
            *(void **)&list[i].fn = dlsym(h, list[i].name);
            if (!list[i].fn) die("no such kernel", list[i].name);
        }
        built = last;
    }
    qsort(list, (size_t)count, sizeof *list, in_order);
    shim_reverse(backwards);
}

shim_fn shim_find(const char *name) {
    known *k = find(name);
    if (!k) die("nobody collected", name);
    if (!k->fn) {
        shim_build();
        k = find(name);
    }
    return k->fn;
}

void shim_reverse(bool reversed) {
    backwards = reversed;
    for (int i = 0; i < files; i++) {
        int *flag = dlsym(handle[i], "gd_reversed");
        if (!flag) die("no flag", "gd_reversed");
        *flag = reversed;
    }
}

void shim_run(shim_fn f, uint32_t grid, void *const *arg) {
    for (uint32_t b = 0; b < grid; b++) f(backwards ? grid - 1 - b : b, arg);
}
