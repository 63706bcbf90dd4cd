#include "tests/golden/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const int golden_image_perm[GD_RANK_MAX] = {0, 3, 1, 2};

double *golden_room(int64_t n) {
    double *p = calloc((size_t)n + 1, sizeof *p);
    assert_non_null(p);
    return p;
}

/* ---- the file ---- */

typedef struct cursor {
    const unsigned char *at;
    size_t left;
} cursor;

static void take(cursor *c, size_t n, void *out) {
    assert_true(n <= c->left);
    memcpy(out, c->at, n);
    c->at += n;
    c->left -= n;
}

static uint64_t number(cursor *c, int bytes) {
    unsigned char b[8];
    uint64_t v = 0;
    take(c, (size_t)bytes, b);
    for (int i = bytes; i-- > 0;) v = v << 8 | b[i];
    return v;
}

static double real(cursor *c) {
    uint64_t bits = number(c, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void text(cursor *c, char out[128]) {
    size_t n = (size_t)number(c, 4);
    assert_true(n < 128);
    take(c, n, out);
    out[n] = 0;
}

static unsigned char *read_all(const char *file, size_t *size) {
    char path[1024];
    const char *source = getenv("GANDIST_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/golden/%s", source ? source : ".", file);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s cannot be opened", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    assert_true(n > 0);
    rewind(f);
    unsigned char *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)n, f), n);
    fclose(f);
    *size = (size_t)n;
    return bytes;
}

static void read_record(cursor *c, golden_record *r) {
    text(c, r->name);
    r->stride = (int64_t)number(c, 4);
    r->elements = (int64_t)number(c, 8);
    r->n = (int64_t)number(c, 4);
    assert_true(r->stride > 0 && r->n == (r->elements + r->stride - 1) / r->stride);
    assert_true((size_t)r->n <= c->left / 8);
    r->value = golden_room(r->n);
    for (int64_t i = 0; i < r->n; i++) r->value[i] = real(c);
}

golden *golden_open(const char *file) {
    size_t size;
    unsigned char *bytes = read_all(file, &size);
    cursor c = {bytes, size};
    char magic[8], script[128];
    take(&c, 8, magic);
    assert_memory_equal(magic, "GDGOLDEN", 8);
    assert_int_equal(number(&c, 4), 1);
    text(&c, script);
    assert_string_equal(script, "tests/golden/make.py");
    golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    snprintf(g->file, sizeof g->file, "%s", file);
    g->n = (int)number(&c, 4);
    assert_true(g->n > 0 && g->n < 1000);
    g->record = calloc((size_t)g->n, sizeof *g->record);
    assert_non_null(g->record);
    for (int i = 0; i < g->n; i++) read_record(&c, &g->record[i]);
    assert_int_equal(c.left, 0);
    free(bytes);
    return g;
}

void golden_close(golden *g) {
    for (int i = 0; i < g->n; i++) free(g->record[i].value);
    free(g->record);
    free(g);
}

const golden_record *golden_find(const golden *g, const char *name) {
    for (int i = 0; i < g->n; i++)
        if (!strcmp(g->record[i].name, name)) return &g->record[i];
    fail_msg("%s has no record %s", g->file, name);
    return NULL;
}

void golden_check(const golden *g, const char *name, int64_t elements, const double *got, double tolerance) {
    const golden_record *r = golden_find(g, name);
    assert_int_equal(r->elements, elements);
    double largest = 0;
    for (int64_t i = 0; i < r->n; i++) largest = fmax(largest, fabs(r->value[i]));
    /* Small gradients are differences of large terms: below 0.1 the float32 rounding of those terms decides. Where the
     * true value is 0 (biases in front of a norm) nothing but that rounding is left. */
    double scale = largest < 1e-9 ? 10 : fmax(0.1, largest);
    for (int64_t i = 0; i < r->n; i++) {
        double x = got[i * r->stride];
        if (!(fabs(x - r->value[i]) <= tolerance * scale))
            fail_msg("%s: %s[%lld] is %.17g, PyTorch has %.17g; off by %.3g of %.3g", g->file, name,
                     (long long)(i * r->stride), x, r->value[i], fabs(x - r->value[i]) / scale, tolerance);
    }
}

/* ---- layouts ---- */

/* Index in memory of each element in file order. */
static void walk(gd_shape s, const int *perm, const double *from, double *to, bool into_memory) {
    int64_t dim[GD_RANK_MAX] = {1, 1, 1, 1}, step[GD_RANK_MAX] = {0};
    for (int i = 0; i < s.rank; i++) {
        int m = perm[i];
        dim[i] = s.dim[m];
        step[i] = 1;
        for (int k = m + 1; k < s.rank; k++) step[i] *= s.dim[k];
    }
    int64_t at = 0;
    for (int64_t a = 0; a < dim[0]; a++)
        for (int64_t b = 0; b < dim[1]; b++)
            for (int64_t c = 0; c < dim[2]; c++)
                for (int64_t d = 0; d < dim[3]; d++, at++) {
                    int64_t m = a * step[0] + b * step[1] + c * step[2] + d * step[3];
                    if (into_memory) to[m] = from[at];
                    else to[at] = from[m];
                }
}

void golden_to_memory(gd_shape s, const int *perm, const double *file, double *memory) {
    walk(s, perm, file, memory, true);
}

void golden_to_file(gd_shape s, const int *perm, const double *memory, double *file) {
    walk(s, perm, memory, file, false);
}

/* ---- parameters ---- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

void golden_fill(rig *r, const gd_net *net, const char *prefix, uint64_t stream) {
    const gd_param_info *p;
    int n = gd_net_params(net, &p);
    for (int i = 0; i < n; i++) {
        char name[128];
        int64_t count = gd_shape_count(p[i].shape);
        double *file = golden_room(count), *memory = golden_room(count);
        bool scale = ends_with(p[i].name, "running_var") || (ends_with(p[i].name, "weight") && p[i].shape.rank == 1);
        snprintf(name, sizeof name, "%s/%s", prefix, p[i].name);
        rig_numbers(stream + (uint64_t)i, count, 0.25, scale ? 1 : 0, file);
        golden_to_memory(p[i].shape, p[i].file_perm, file, memory);
        rig_set(r, -1, name, memory);
        free(file);
        free(memory);
    }
}

void golden_check_param(const golden *g, const char *record, const gd_param_info *p, const double *memory,
                        double tolerance) {
    int64_t count = gd_shape_count(p->shape);
    double *file = golden_room(count);
    golden_to_file(p->shape, p->file_perm, memory, file);
    golden_check(g, record, count, file, tolerance);
    free(file);
}
