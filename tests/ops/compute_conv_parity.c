/* tests/ops/compute_conv_parity.c -- every implementation of a convolution against `ref`, by shape class.
 *
 * Each kind of compute/cpu/conv.h is chosen by hand for each class and direction, and runs in a program as any other
 * choice would. Error: largest difference over the largest value of the tensor; each row is held to the limit of its
 * kind, which grows with the points of a Winograd tile. docs/performance.md shows this table. A kind that no class
 * reaches is a failure. Usage: test_compute_conv_parity [CLASS [SEED]] */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "compute/cpu/choice_table.h"
#include "harness.h"

typedef struct shape_class {
    const char *name;
    int64_t n, h, c, k, r;
    int32_t stride, pad;
} shape_class;

static const shape_class classes[] = {
    {"4x4 s2, maps of 16", 4, 32, 32, 32, 4, 2, 1},
    {"4x4 s2, maps of 4", 8, 8, 64, 64, 4, 2, 1},
    {"4x4 s2, maps of 1 and 2", 1, 4, 256, 128, 4, 2, 1},
    {"3x3 s1, maps of 16", 2, 16, 64, 64, 3, 1, 1},
    {"3x3 s1, maps of 6", 4, 6, 64, 64, 3, 1, 1},
    {"3x3 s2", 2, 16, 32, 64, 3, 2, 1},
    {"4x4 s1", 1, 15, 64, 64, 4, 1, 1},
    {"1x1", 4, 16, 64, 64, 1, 1, 0},
    {"from 3 channels 4x4 s2", 2, 32, 3, 64, 4, 2, 1},
    {"from 3 channels 7x7", 1, 38, 3, 32, 7, 1, 0},
    {"to 3 channels 7x7", 1, 38, 32, 3, 7, 1, 0},
    {"to 1 channel 4x4 s1", 1, 15, 128, 1, 4, 1, 1},
    {"kernel as large as the map", 8, 4, 64, 100, 4, 1, 0},
};
enum { CLASSES = sizeof classes / sizeof *classes, MAX_KINDS = 16 };

static const char *const pass_text[] = {"forward", "data", "weights"};
static int failed, rows[MAX_KINDS][3];

/* As heavy.c asks for it: padding behind is what outputs reach. */
static gd_dnnl_conv conv_of(const shape_class *s, gd_dnnl_pass pass) {
    gd_dnnl_conv c = {.pass = pass, .n = s->n, .h = s->h, .w = s->h, .c = s->c, .k = s->k, .r = s->r, .s = s->r};
    c.stride = s->stride;
    c.p = c.q = (s->h + 2 * s->pad - s->r) / s->stride + 1;
    int64_t behind = (c.p - 1) * s->stride + s->r - s->h - s->pad;
    c.pad[0] = c.pad[2] = s->pad;
    c.pad[1] = c.pad[3] = behind > 0 ? behind : 0;
    return c;
}

/* ---- one pass as a program ---- */

static gd_node build(gd_graph *g, const shape_class *s, const gd_dnnl_conv *c) {
    gd_shape x = gd_shape4(c->n, c->h, c->w, c->c), w = gd_shape4(c->k, c->r, c->s, c->c),
             y = gd_shape4(c->n, c->p, c->q, c->k);
    gd_conv_attr a = {s->stride, {s->pad, s->pad, s->pad, s->pad}};
    if (c->pass == GD_DNNL_FORWARD) return gd_conv(g, gd_param(g, "a", x, 0), gd_param(g, "b", w, 0), a);
    if (c->pass == GD_DNNL_BACKWARD_DATA) return gd_conv_dx(g, gd_param(g, "a", y, 0), gd_param(g, "b", w, 0), x, a);
    return gd_conv_dw(g, gd_param(g, "a", x, 0), gd_param(g, "b", y, 0), w, a);
}

/* like: a program whose inputs it gets, too; NULL: drawn. */
static ops_prog run(const shape_class *s, const gd_dnnl_conv *c, const gd_executor *x, gd_precision precision,
                    const ops_prog *like, uint64_t seed) {
    gd_graph *g = ops_graph(1);
    gd_output out = {"y", build(g, s, c)};
    ops_need(gd_graph_status(g), s->name);
    ops_prog p = ops_make(g, x, 1, &out, precision);
    gd_graph_free(g);
    for (int i = 0; i < p.n; i++) {
        const ops_buffer *b = &p.buffer[i];
        if (b->is.is_output) continue;
        if (like) memcpy(b->value, ops_value(like, b->is.name, NULL), (size_t)b->count * sizeof *b->value);
        else ops_draw(b->value, b->count, OPS_NORMAL, seed, (uint64_t)b->is.name[0]);
    }
    ops_run(&p);
    return p;
}

/* ---- choosing ---- */

/* For the types that the pass `precision` may give this node. */
static void choose(gd_dnnl_conv c, const gd__conv_kind *kind, bool as_f32, bool bf16) {
    for (int out = 0; out <= bf16; out++) {
        gd__choice choice = {.kind = kind, .as_f32 = as_f32, .via = GD__IMPORTED};
        c.in_type = bf16 ? GD_BF16 : GD_F32;
        c.out_type = out ? GD_BF16 : GD_F32;
        gd__choice_key(&c, choice.key);
        ops_need(gd__choice_put(&choice), "choice");
    }
}

/* Whether the program that was made could follow it: a choice that it could not is replaced. */
static bool followed(void) {
    gd_choice_counts n = gd_choice_count();
    return n.used > 0 && n.used == n.imported;
}

/* ---- limits ---- */

/* f32: what a sum in one order differs from another, and what the points of a tile add, or halves lack. */
static double limit_of(const gd__conv_kind *kind, const gd_dnnl_conv *c, bool bf16) {
    const gd__wino_kernels *set[3];
    gd__wino plan;
    if (bf16) return 1.5e-2; /* of the operands' rounding */
    if (!strcmp(kind->name, "amx-halves")) return 2e-5;
    gd__wino_usable(set);
    bool other = !strcmp(kind->name, "winograd-other");
    if (!kind->transforms || !(other ? gd__wino_plan_other : gd__wino_plan)(c, set[0], 1, &plan)) return 4e-6;
    return plan.shape.n <= 4 ? 4e-6 : plan.shape.n == 5 ? 1e-5 : 2e-5;
}

static void row(const shape_class *s, const gd_dnnl_conv *c, int kind, bool as_f32, bool bf16, const ops_prog *ref,
                uint64_t seed, const char *program) {
    const gd__conv_kind *k = &gd__conv_kinds[kind];
    gd_choice_set_mode(GD_CHOICE_RULE);
    choose(*c, k, as_f32, bf16);
    ops_prog p = run(s, c, gd_executor_cpu(), bf16 ? GD_PRECISION_BF16 : GD_PRECISION_F32, ref, seed);
    if (followed()) {
        int64_t n;
        const double *is = ops_value(&p, "y", &n);
        double error = ops_distance(is, ops_value(ref, "y", NULL), n, 1e-3), limit = limit_of(k, c, bf16);
        bool good = error <= limit;
        printf("%-28s %-8s %s%-18s %-5s %9.2e %8.1e %s\n", s->name, pass_text[c->pass], as_f32 ? "f32:" : "    ",
               k->name, bf16 ? "bf16" : "f32", error, limit, good ? "ok" : "FAIL");
        if (!good) printf("  repeat: %s '%s' %llu\n", program, s->name, (unsigned long long)seed);
        failed += !good;
        if (bf16 == (k->operands == GD__OF_BF16)) rows[kind][c->pass]++;
    }
    ops_free(&p);
}

static void one_class(const shape_class *s, uint64_t seed, const char *program) {
    for (gd_dnnl_pass pass = GD_DNNL_FORWARD; pass <= GD_DNNL_BACKWARD_WEIGHTS; pass++) {
        gd_dnnl_conv c = conv_of(s, pass);
        ops_prog ref = run(s, &c, gd_executor_ref(), GD_PRECISION_F32, NULL, seed);
        for (int kind = 0; gd__conv_kinds[kind].name; kind++) {
            row(s, &c, kind, false, false, &ref, seed, program);
            row(s, &c, kind, false, true, &ref, seed, program);
            bool shown = !strcmp(gd__conv_kinds[kind].name, "winograd") || !strcmp(gd__conv_kinds[kind].name, "onednn");
            if (shown) row(s, &c, kind, true, true, &ref, seed, program);
        }
        ops_free(&ref);
    }
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    int wanted = 0;
    ops_need(gd_log_configure("error"), "log"); /* a choice that a shape does not take is reported: here on purpose */
    printf("%-28s %-8s     %-18s %-5s %9s %8s verdict\n", "class", "pass", "implementation", "dtype", "error", "limit");
    for (int i = 0; i < CLASSES; i++) {
        if (argc > 1 && strncmp(classes[i].name, argv[1], strlen(argv[1]))) continue;
        one_class(&classes[i], seed, argv[0]);
        wanted++;
    }
    for (int kind = 0; argc == 1 && gd__conv_kinds[kind].name; kind++)
        for (int pass = 0; pass < 3; pass++) {
            if (rows[kind][pass] || (!strncmp(gd__conv_kinds[kind].name, "amx", 3) && !gd__amx_usable())) continue;
            printf("%s %s: no class reaches it FAIL\n", gd__conv_kinds[kind].name, pass_text[pass]);
            failed++;
        }
    if (!gd__amx_usable()) printf("no matrix tiles here: amx was not run\n");
    printf("%d classes, %d failures\n", wanted, failed);
    return failed || !wanted;
}
