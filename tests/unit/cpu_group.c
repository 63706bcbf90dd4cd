/* Fused groups of random expressions against a plain evaluation, on every instruction set and number
 * of threads, which must all give the same bits. */
#include "compute/cpu/group.h"
#include "tests/unit/cpu_rig.h"

enum { MAX_NODES = 64 };

typedef struct group_case {
    gd_shape shape;
    int ops;
    uint32_t axes[3]; /* of the sums; 0: none */
    gd_dtype extra;   /* type of one more input */
} group_case;

static const group_case cases[] = {
    {{1, {1}}, 3, {1, 0, 0}, GD_F32},
    {{1, {5000}}, 6, {1, 0, 0}, GD_F32},
    {{2, {64, 1}}, 5, {1, 3, 0}, GD_F32},
    {{2, {7, 13}}, 8, {1, 2, 3}, GD_BF16},
    {{2, {64, 100}}, 10, {0, 0, 0}, GD_F32},
    {{2, {3, 3000}}, 10, {1, 2, 0}, GD_BF16},
    {{2, {5, 1024}}, 8, {1, 0, 0}, GD_U8},
    {{4, {8, 16, 16, 64}}, 12, {7, 7, 0}, GD_F32},
    {{4, {4, 8, 8, 3}}, 12, {7, 15, 0}, GD_U8},
    {{4, {2, 31, 33, 3}}, 14, {7, 7, 0}, GD_BF16},
    {{4, {5, 6, 7, 8}}, 16, {6, 1, 14}, GD_F32},
    {{4, {3, 5, 4, 32}}, 20, {6, 6, 0}, GD_F32},
    {{4, {6, 9, 2, 5}}, 12, {5, 10, 2}, GD_BF16},
    {{4, {2, 1, 40, 50}}, 12, {14, 8, 4}, GD_F32},
    {{4, {2, 3, 1, 1500}}, 12, {7, 8, 2}, GD_F32},
    {{4, {16, 1, 1, 1}}, 6, {1, 14, 0}, GD_F32},
};

typedef struct built {
    gd_graph *g;
    int n_members, n_inputs;
    gd_node members[MAX_NODES], inputs[8];
} built;

static uint32_t draw(const gd_rng *r, uint64_t *at, uint32_t bound) {
    return (uint32_t)gd_rng_below(r, (*at)++, bound);
}

static gd_node new_input(built *b, const char *name, gd_dtype t, gd_shape s) {
    gd_attr a = {.shape = s, .kind = (int32_t)t};
    return b->inputs[b->n_inputs++] = gd__add_leaf(b->g, GD_OP_INPUT, name, &a);
}

static gd_node member(built *b, gd_node n) { return b->members[b->n_members++] = n; }

static gd_shape partly_one(gd_shape s, uint32_t mask) {
    for (int i = 0; i < s.rank; i++)
        if (mask >> i & 1) s.dim[i] = 1;
    return s;
}

/* A pool of values of the full shape: inputs as they are, and broadcast ones. */
static int leaves(built *b, const group_case *c, gd_node *pool) {
    static const uint32_t ones[] = {7, 14, 1, 15, 6, 8};
    static const char *const names[] = {"b0", "b1", "b2", "b3", "b4", "b5"};
    int n = 0;
    pool[n++] = new_input(b, "x", GD_F32, c->shape);
    gd_node extra = new_input(b, "e", c->extra, c->shape);
    gd_attr to_f32 = {.kind = GD_F32};
    pool[n++] = c->extra == GD_F32 ? extra : member(b, gd__add(b->g, GD_OP_CAST, extra, GD_NONE, &to_f32));
    for (int i = 0; i < 6; i++) {
        gd_attr a = {.shape = c->shape};
        gd_node in = new_input(b, names[i], GD_F32, partly_one(c->shape, ones[i]));
        pool[n++] = member(b, gd__add(b->g, GD_OP_BROADCAST, in, GD_NONE, &a));
    }
    gd_attr k = {.shape = c->shape, .value = 0.75};
    pool[n++] = gd__add_leaf(b->g, GD_OP_CONST, NULL, &k);
    gd_attr one = {.shape = partly_one(c->shape, 15), .value = -1.5};
    gd_attr wide = {.shape = c->shape};
    pool[n++] = member(b, gd__add(b->g, GD_OP_BROADCAST, gd__add_leaf(b->g, GD_OP_CONST, NULL, &one), GD_NONE, &wide));
    return n;
}

/* Ops whose values stay moderate whatever their inputs. */
static gd_node random_op(built *b, const gd_rng *r, uint64_t *at, const gd_node *pool, int n) {
    static const gd_op unary[] = {GD_OP_NEG,      GD_OP_ABS,   GD_OP_TANH,        GD_OP_SIGMOID,
                                  GD_OP_SOFTPLUS, GD_OP_LEAKY, GD_OP_LEAKY_SLOPE, GD_OP_CLAMP,
                                  GD_OP_STEP,     GD_OP_SIGN,  GD_OP_STOP};
    static const gd_op binary[] = {GD_OP_ADD, GD_OP_SUB, GD_OP_MUL, GD_OP_MUL, GD_OP_ADD, GD_OP_MAX, GD_OP_MIN};
    gd_attr a = {0};
    gd_node p = pool[draw(r, at, (uint32_t)n)], q = pool[draw(r, at, (uint32_t)n)];
    if (draw(r, at, 3) == 0) {
        gd_op op = unary[draw(r, at, sizeof unary / sizeof unary[0])];
        if (op == GD_OP_LEAKY || op == GD_OP_LEAKY_SLOPE) a.value = 0.25;
        if (op == GD_OP_CLAMP) a.value = -0.5, a.value2 = 2;
        return gd__add(b->g, op, p, GD_NONE, &a);
    }
    return gd__add(b->g, binary[draw(r, at, sizeof binary / sizeof binary[0])], p, q, &a);
}

static void build(const group_case *c, uint64_t seed, built *b) {
    const gd_rng r = {.seed = seed, .purpose = GD_PURPOSE_TEST};
    uint64_t at = 0;
    gd_node pool[MAX_NODES];
    memset(b, 0, sizeof *b);
    rig_ok(gd_graph_new(1, &b->g));
    int n = leaves(b, c, pool);
    for (int i = 0; i < c->ops; i++, n++) pool[n] = member(b, random_op(b, &r, &at, pool, n));
    gd_attr bf16 = {.kind = GD_BF16};
    member(b, gd__add(b->g, GD_OP_CAST, pool[n - 1], GD_NONE, &bf16));
    for (int i = 0; i < 3; i++) {
        gd_attr a = {.axes = c->axes[i]};
        if (c->axes[i]) member(b, gd__add(b->g, GD_OP_SUM, pool[n - 1 - i], GD_NONE, &a));
    }
}

/* ---- evaluation ---- */

static double unary_value(gd_op op, double x, const gd_attr *a) {
    switch (op) {
    case GD_OP_NEG: return -x;
    case GD_OP_ABS: return fabs(x);
    case GD_OP_TANH: return tanh(x);
    case GD_OP_SIGMOID: return 1 / (1 + exp(-x));
    case GD_OP_SOFTPLUS: return log1p(exp(x));
    case GD_OP_LEAKY: return x > 0 ? x : a->value * x;
    case GD_OP_LEAKY_SLOPE: return x > 0 ? 1 : a->value;
    case GD_OP_CLAMP: return fmin(fmax(x, a->value), a->value2);
    case GD_OP_STEP: return x > 0;
    case GD_OP_SIGN: return (x > 0) - (x < 0);
    default: return x; /* STOP, CAST to f32 */
    }
}

static double binary_value(gd_op op, double x, double y) {
    switch (op) {
    case GD_OP_ADD: return x + y;
    case GD_OP_SUB: return x - y;
    case GD_OP_MUL: return x * y;
    case GD_OP_MAX: return fmax(x, y);
    default: return fmin(x, y);
    }
}

/* Element i of shape s, inside t, whose dimensions of 1 are repeated. */
static int64_t inside(gd_shape s, gd_shape t, int64_t i) {
    int64_t at = 0, step = 1;
    for (int d = s.rank - 1; d >= 0; d--) {
        int64_t c = i % s.dim[d];
        i /= s.dim[d];
        if (t.dim[d] > 1) at += c * step;
        step *= t.dim[d];
    }
    return at;
}

/* Values of all nodes; each is rounded to f32, as the executor does. size: sums of |terms|. */
static void evaluate(const rig *r, double **value, double **size) {
    for (int n = 0; n < gd_graph_count(r->g); n++) {
        const gd_node_info *i = gd_graph_at(r->g, n);
        int64_t count = gd_shape_count(i->shape);
        value[n] = calloc((size_t)count, sizeof **value);
        size[n] = calloc((size_t)count, sizeof **size);
        assert_true(value[n] && size[n]);
        gd_shape from = i->in[0] >= 0 ? gd_node_shape(r->g, i->in[0]) : i->shape;
        if (i->op == GD_OP_SUM)
            for (int64_t e = 0; e < gd_shape_count(from); e++) {
                value[n][inside(from, i->shape, e)] += value[i->in[0]][e];
                size[n][inside(from, i->shape, e)] += fabs(value[i->in[0]][e]);
            }
        else
            for (int64_t e = 0; e < count; e++) {
                double v = gd_op_class_of(i->op) == GD_CLASS_LEAF ? rig_at(r, n, e)
                           : i->op == GD_OP_BROADCAST             ? value[i->in[0]][inside(i->shape, from, e)]
                           : gd_op_arity(i->op) == 2 ? binary_value(i->op, value[i->in[0]][e], value[i->in[1]][e])
                                                     : unary_value(i->op, value[i->in[0]][e], &i->attr);
                value[n][e] = (double)(float)v;
                size[n][e] = fabs(v);
            }
    }
}

static void compare(const rig *r, double *const *value, double *const *size, const built *b, const char *what) {
    int compared = 0;
    for (int k = 0; k < b->n_members; k++) {
        gd_node n = b->members[k];
        if (!r->stored[n]) continue;
        const gd_node_info *i = gd_graph_at(r->g, n);
        double limit = i->dtype == GD_BF16 ? 1.0 / 200 : 2e-5;
        for (int64_t e = 0; e < gd_shape_count(i->shape); e++, compared++) {
            double got = rig_at(r, n, e), want = value[n][e];
            if (!(fabs(got - want) <= limit * (size[n][e] + 0.1)))
                fail_msg("%s: %s element %lld is %.9g; expected %.9g", what, i->name, (long long)e, got, want);
        }
    }
    assert_true(compared > 0);
}

/* Runs the group; the bytes of all stored members, one after another, go to out. */
static size_t run(rig *r, const built *b, const gd__vkernels *k, int threads, uint8_t *out) {
    gd__kernel *group;
    gd_cpu_set_threads(threads);
    gd__threads_enter(threads);
    rig_ok(gd__make_group_with(&r->view, b->n_members, b->members, k, &group));
    gd_memory m = rig_memory(r, group->scratch_bytes);
    for (int i = 0; i < b->n_members; i++) memset(r->buffer[b->members[i]], 0xff, rig_bytes(r, b->members[i]));
    rig_ok(group->run(group, &m));
    group->release(group);
    size_t n = 0;
    for (int i = 0; i < b->n_members; i++) {
        if (!r->stored[b->members[i]]) continue;
        if (out) memcpy(out + n, r->buffer[b->members[i]], rig_bytes(r, b->members[i]));
        n += rig_bytes(r, b->members[i]);
    }
    return n;
}

/* Hides members that others of the group use, at random; ends of chains stay stored. */
static void hide_some(rig *r, const built *b, uint64_t seed) {
    const gd_rng rng = {.seed = seed, .purpose = GD_PURPOSE_TEST | 9u << 16};
    for (int i = 0; i < b->n_members; i++) {
        gd_node n = b->members[i];
        bool used = false;
        for (int k = i + 1; k < b->n_members; k++) {
            const gd_node_info *u = gd_graph_at(b->g, b->members[k]);
            used = used || u->in[0] == n || u->in[1] == n;
        }
        if (used && gd_rng_below(&rng, (uint64_t)i, 4)) r->stored[n] = false;
    }
}

static void check_case(const group_case *c, uint64_t seed) {
    built b;
    rig r;
    char what[128], shape[96];
    build(c, seed, &b);
    rig_open(&r, b.g);
    for (int i = 0; i < b.n_inputs; i++) rig_fill(&r, b.inputs[i], (uint32_t)i, 1.0f);
    hide_some(&r, &b, seed);
    gd_shape_text(c->shape, shape);
    snprintf(what, sizeof what, "%s seed %d", shape, (int)seed);
    size_t nodes = (size_t)gd_graph_count(b.g);
    double **value = calloc(nodes, sizeof *value), **size = calloc(nodes, sizeof *size);
    assert_true(value && size);
    evaluate(&r, value, size);
    const gd__vkernels *k[3];
    int sets = gd__vkernels_usable(k);
    size_t bytes = run(&r, &b, k[0], 1, NULL);
    compare(&r, value, size, &b, what);
    uint8_t *first = malloc(bytes), *other = malloc(bytes);
    assert_true(first && other);
    run(&r, &b, k[0], 1, first);
    for (int s = 0; s < sets; s++)
        for (int threads = 1; threads <= 3; threads++) {
            run(&r, &b, k[s], threads, other);
            if (memcmp(first, other, bytes)) fail_msg("%s: bits differ: %s, %d threads", what, k[s]->name, threads);
        }
    for (size_t i = 0; i < nodes; i++) {
        free(value[i]);
        free(size[i]);
    }
    free(value);
    free(size);
    free(first);
    free(other);
    rig_close(&r);
    gd_cpu_set_threads(0);
}

static void test_random_groups(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint64_t seed = 1; seed <= 6; seed++) check_case(&cases[i], seed);
}

/* x' = x - 0.5 y in the memory of x, with x read again afterwards: the second reader must see the old x. */
static void test_in_place(void **state) {
    (void)state;
    enum { N = 3000 };
    gd_graph *g;
    rig r;
    rig_ok(gd_graph_new(1, &g));
    gd_attr s = {.shape = gd_shape1(N)}, half = {.shape = gd_shape1(N), .value = 0.5}, none = {0};
    gd_node x = gd__add_leaf(g, GD_OP_PARAM, "x", &s), y = gd__add_leaf(g, GD_OP_INPUT, "y", &s);
    gd_node k = gd__add_leaf(g, GD_OP_CONST, NULL, &half);
    gd_node m[4];
    m[0] = gd__add(g, GD_OP_MUL, y, k, &none);
    m[1] = gd__add(g, GD_OP_SUB, x, m[0], &none);
    m[2] = gd__add(g, GD_OP_MAX, m[1], y, &none);
    m[3] = gd__add(g, GD_OP_MIN, m[2], x, &none);
    rig_open(&r, g);
    rig_fill(&r, x, 1, 1);
    rig_fill(&r, y, 2, 1);
    r.stored[m[0]] = r.stored[m[2]] = false;
    float *old = malloc(N * sizeof *old);
    assert_non_null(old);
    memcpy(old, r.buffer[x], N * sizeof *old);
    free(r.buffer[m[1]]);
    r.buffer[m[1]] = r.buffer[x];
    gd__kernel *group;
    rig_ok(gd__make_group(&r.view, 4, m, &group));
    gd_memory memory = rig_memory(&r, group->scratch_bytes);
    rig_ok(group->run(group, &memory));
    group->release(group);
    for (int i = 0; i < N; i++) {
        float yi = ((float *)r.buffer[y])[i], next = old[i] - yi * 0.5f;
        assert_true(((float *)r.buffer[x])[i] == next);
        assert_true(((float *)r.buffer[m[3]])[i] == fminf(fmaxf(next, yi), old[i]));
    }
    r.buffer[m[1]] = NULL;
    free(old);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_groups), cmocka_unit_test(test_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
