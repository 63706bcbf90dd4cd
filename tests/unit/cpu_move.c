/* Moves, leaves and copies against their definitions by index, in f32 and in the smaller types, on one
 * thread and on three. */
#include "tests/unit/cpu_rig.h"

typedef struct place {
    int64_t at[GD_RANK_MAX];
} place;

static place place_of(gd_shape s, int64_t i) {
    place p = {{0}};
    for (int d = s.rank - 1; d >= 0; d--) {
        p.at[d] = i % s.dim[d];
        i /= s.dim[d];
    }
    return p;
}

/* Linear index, -1 outside. */
static int64_t index_of(gd_shape s, place p) {
    int64_t i = 0;
    for (int d = 0; d < s.rank; d++) {
        if (p.at[d] < 0 || p.at[d] >= s.dim[d]) return -1;
        i = i * s.dim[d] + p.at[d];
    }
    return i;
}

static int64_t reflect(int64_t i, int64_t size) {
    if (i < 0) i = -i;
    return i >= size ? 2 * (size - 1) - i : i;
}

/* Where output element p of node n comes from: element of input 0 or 1; adjoints are checked the other
 * way round, by the input element that goes to output p. */
static place source(const gd_graph *g, const gd_node_info *n, place p, int *which) {
    gd_shape a = gd_node_shape(g, n->in[0]);
    place q = p;
    *which = 0;
    for (int d = 0; d < a.rank; d++) {
        bool spatial = d == 1 || d == 2;
        if (n->op == GD_OP_PERMUTE) q.at[n->attr.perm[d]] = p.at[d];
        if (n->op == GD_OP_SLICE) q.at[d] = p.at[d] + n->attr.lo[d];
        if (n->op == GD_OP_PAD) q.at[d] = p.at[d] - n->attr.lo[d];
        if (n->op == GD_OP_PAD_REFLECT) q.at[d] = reflect(p.at[d] - n->attr.lo[d], a.dim[d]);
        if (n->op == GD_OP_FOLD_REFLECT) q.at[d] = reflect(p.at[d] - n->attr.lo[d], n->shape.dim[d]);
        if ((n->op == GD_OP_UPSAMPLE || n->op == GD_OP_SUMPOOL) && spatial) q.at[d] = p.at[d] / n->attr.factor;
    }
    if (n->op == GD_OP_CONCAT && p.at[n->attr.axis] >= a.dim[n->attr.axis]) {
        *which = 1;
        q.at[n->attr.axis] -= a.dim[n->attr.axis];
    }
    return q;
}

static double *expected(const rig *r, gd_node node) {
    const gd_node_info *n = gd_graph_at(r->g, node);
    int64_t count = gd_shape_count(n->shape);
    double *want = calloc((size_t)count, sizeof *want);
    assert_non_null(want);
    bool adjoint = n->op == GD_OP_FOLD_REFLECT || n->op == GD_OP_SUMPOOL;
    gd_shape from = adjoint ? gd_node_shape(r->g, n->in[0]) : n->shape;
    for (int64_t i = 0; i < gd_shape_count(from); i++) {
        int which;
        place q = source(r->g, n, place_of(from, i), &which);
        if (n->op == GD_OP_RESHAPE || n->op == GD_OP_ALLREDUCE) want[i] = rig_at(r, n->in[0], i);
        else if (adjoint) want[index_of(n->shape, q)] += rig_at(r, n->in[0], i);
        else {
            int64_t at = index_of(gd_node_shape(r->g, n->in[which]), q);
            want[i] = at < 0 ? 0 : rig_at(r, n->in[which], at);
        }
    }
    return want;
}

static void check(gd_op op, gd_shape a, gd_shape b, const gd_attr *attr, gd_dtype t) {
    gd_graph *g;
    rig r;
    rig_ok(gd_graph_new(1, &g));
    gd_attr la = {.shape = a, .kind = (int32_t)t}, lb = {.shape = b, .kind = (int32_t)t};
    gd_node x = gd__add_leaf(g, GD_OP_INPUT, "a", &la);
    gd_node y = b.rank ? gd__add_leaf(g, GD_OP_INPUT, "b", &lb) : GD_NONE;
    gd_node n = gd__add(g, op, x, y, attr);
    rig_open(&r, g);
    rig_fill(&r, x, 1, 1);
    if (y >= 0) rig_fill(&r, y, 2, 1);
    double *want = expected(&r, n);
    for (int threads = 1; threads <= 3; threads += 2) {
        gd_cpu_set_threads(threads);
        memset(r.buffer[n], 0xff, rig_bytes(&r, n));
        rig_run(&r, n, NULL);
        double limit = t == GD_BF16 ? 1.0 / 200 : 1e-6;
        for (int64_t i = 0; i < gd_shape_count(gd_node_shape(g, n)); i++)
            if (!(fabs(rig_at(&r, n, i) - want[i]) <= limit * (fabs(want[i]) + 1)))
                fail_msg("%s %s element %lld is %g; expected %g", gd_op_text(op), gd_dtype_text(t), (long long)i,
                         rig_at(&r, n, i), want[i]);
    }
    gd_cpu_set_threads(0);
    free(want);
    rig_close(&r);
}

static const gd_shape none = {0};

static void check_all(gd_dtype t) {
    gd_shape s = gd_shape4(3, 4, 5, 6);
    static const int32_t perm[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 3, 1, 2}, {0, 2, 3, 1}, {1, 0, 2, 3}};
    for (size_t i = 0; i < sizeof perm / sizeof perm[0]; i++) {
        gd_attr a = {0};
        memcpy(a.perm, perm[i], sizeof a.perm);
        check(GD_OP_PERMUTE, s, none, &a, t);
    }
    for (int axis = 0; axis < 4; axis++) {
        gd_shape other = s;
        other.dim[axis] = 2;
        check(GD_OP_CONCAT, s, other, &(gd_attr){.axis = axis}, t);
    }
    check(GD_OP_SLICE, s, none, &(gd_attr){.lo = {1, 0, 2, 3}, .hi = {3, 4, 5, 5}}, t);
    check(GD_OP_SLICE, s, none, &(gd_attr){.lo = {1, 0, 0, 0}, .hi = {2, 4, 5, 6}}, t);
    check(GD_OP_PAD, s, none, &(gd_attr){.lo = {0, 1, 2, 0}, .hi = {0, 0, 1, 3}}, t);
    check(GD_OP_PAD, gd_shape2(7, 3), none, &(gd_attr){.lo = {2, 0}, .hi = {0, 5}}, t);
    check(GD_OP_PAD_REFLECT, s, none, &(gd_attr){.lo = {0, 3, 1, 0}, .hi = {0, 1, 4, 0}}, t);
    check(GD_OP_UPSAMPLE, s, none, &(gd_attr){.factor = 3}, t);
    check(GD_OP_RESHAPE, s, none, &(gd_attr){.shape = gd_shape2(12, 30)}, t);
    check(GD_OP_PERMUTE, gd_shape4(8, 64, 64, 3), none, &(gd_attr){.perm = {0, 3, 1, 2}}, t);
}

static void test_moves(void **state) {
    (void)state;
    check_all(GD_F32);
    check_all(GD_BF16);
    check_all(GD_U8);
}

static void test_adjoints(void **state) {
    (void)state;
    for (gd_dtype t = GD_F32; t <= GD_BF16; t++) {
        check(GD_OP_FOLD_REFLECT, gd_shape4(2, 8, 10, 5), none, &(gd_attr){.lo = {0, 3, 1, 0}, .hi = {0, 1, 4, 0}}, t);
        check(GD_OP_FOLD_REFLECT, gd_shape4(1, 4, 4, 300), none, &(gd_attr){.lo = {0, 1, 1, 0}, .hi = {0, 1, 1, 0}}, t);
        check(GD_OP_SUMPOOL, gd_shape4(3, 4, 6, 7), none, &(gd_attr){.factor = 2}, t);
        check(GD_OP_SUMPOOL, gd_shape4(3, 4, 4, 1), none, &(gd_attr){.factor = 4}, t);
    }
    check(GD_OP_ALLREDUCE, gd_shape2(3, 5), none, &(gd_attr){0}, GD_F32);
}

static void test_leaves(void **state) {
    (void)state;
    gd_graph *g;
    rig r;
    rig_ok(gd_graph_new(1, &g));
    gd_attr normal = {.shape = gd_shape4(5, 3, 7, 2), .kind = GD_RANDOM_NORMAL, .purpose = GD_PURPOSE_LATENT_G};
    gd_attr uniform = normal, seven = {.shape = gd_shape2(3, 5), .value = 7};
    uniform.kind = GD_RANDOM_UNIFORM;
    gd_node n = gd__add_leaf(g, GD_OP_RANDOM, NULL, &normal), u = gd__add_leaf(g, GD_OP_RANDOM, NULL, &uniform);
    gd_node k = gd__add_leaf(g, GD_OP_CONST, NULL, &seven);
    rig_open(&r, g);
    const gd_rng rng = {r.args.seed, GD_PURPOSE_LATENT_G, r.args.step};
    rig_run(&r, n, NULL);
    rig_run(&r, u, NULL);
    rig_run(&r, k, NULL);
    for (uint64_t s = 0; s < 5; s++) {
        float want[42];
        gd_rng_normal(&rng, r.args.sample + s, 0, 42, want);
        assert_memory_equal((float *)r.buffer[n] + s * 42, want, sizeof want);
        gd_rng_uniform(&rng, r.args.sample + s, 0, 42, want);
        assert_memory_equal((float *)r.buffer[u] + s * 42, want, sizeof want);
    }
    for (int i = 0; i < 15; i++) assert_true(((float *)r.buffer[k])[i] == 7);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moves), cmocka_unit_test(test_adjoints),
                                       cmocka_unit_test(test_leaves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
