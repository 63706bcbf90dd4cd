/* data/two.c -- the files of two folders, and which of them belong together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "data/folder.h"

enum { NAMES = 5 /* shown in a message */ };

static gd_status scan_domain(gd__two *t, int p) {
    gd_status st = gd__folder_scan(t->root[p], &t->list[p]);
    if (st == GD_OK) return GD_OK;
    if (p == 0) return gd_context(st, "domain A");
    char n[32];
    gd_text_count(t->list[0].count, n, sizeof n);
    return gd_context(st, "domain B (domain A has %s pictures)", n);
}

gd_status gd__two_scan(gd__two *t) {
    for (int p = 0; p < 2; p++) GD_TRY(scan_domain(t, p));
    return GD_OK;
}

void gd__two_free(gd__two *t) {
    for (int p = 0; p < 2; p++) {
        free(t->root[p]);
        gd__file_list_free(&t->list[p]);
    }
}

static size_t stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static int compare_stems(const char *a, const char *b) {
    const size_t m = stem_length(a), n = stem_length(b);
    const int order = memcmp(a, b, m < n ? m : n);
    return order ? order : (m > n) - (m < n);
}

static int by_stem(const void *a, const void *b) {
    return compare_stems(((const gd__file *)a)->name, ((const gd__file *)b)->name);
}

static gd_status sort_by_stem(const char *root, gd__file_list *l) {
    qsort(l->files, l->count, sizeof *l->files, by_stem);
    for (size_t i = 1; i < l->count; i++)
        if (!compare_stems(l->files[i - 1].name, l->files[i].name))
            GD_FAIL(DATA, "%s: %s and %s differ in their endings only; expected one picture of a name; remove one",
                    root, l->files[i - 1].name, l->files[i].name);
    return GD_OK;
}

/* Files without a partner. */
typedef struct lonely {
    char names[600];
    size_t used;
    uint64_t count;
} lonely;

static void add_lonely(lonely *l, char domain, const gd__file *f) {
    if (l->count++ < NAMES && l->used < sizeof l->names)
        l->used += (size_t)snprintf(l->names + l->used, sizeof l->names - l->used, "%s%.80s (%c)", l->used ? ", " : "",
                                    f->name, domain);
}

static gd_status match(const char *path, const gd__two *t) {
    const gd__file_list *a = &t->list[0], *b = &t->list[1];
    lonely l = {.used = 0};
    for (size_t i = 0, j = 0; i < a->count || j < b->count;) {
        const int order = i == a->count ? 1 : j == b->count ? -1 : compare_stems(a->files[i].name, b->files[j].name);
        if (order < 0) add_lonely(&l, 'A', &a->files[i]);
        if (order > 0) add_lonely(&l, 'B', &b->files[j]);
        i += order <= 0;
        j += order >= 0;
    }
    if (!l.count) return GD_OK;
    char n[32], na[32], nb[32];
    gd_text_count(l.count, n, sizeof n);
    gd_text_count(a->count, na, sizeof na);
    gd_text_count(b->count, nb, sizeof nb);
    GD_FAIL(DATA,
            "%s: %s picture%s without a partner: %s%s; A has %s pictures, B %s; expected files of the same names but "
            "for the ending",
            path, n, l.count == 1 ? "" : "s", l.names, l.count > NAMES ? ", ..." : "", na, nb);
}

gd_status gd__two_match(const char *path, gd__two *t) {
    for (int p = 0; p < 2; p++) GD_TRY(sort_by_stem(t->root[p], &t->list[p]));
    GD_TRY(match(path, t));
    return GD_OK;
}
