/* compute/cpu/group_compile.c -- members of a group -> list of instructions. See group.h.
 *
 * In order: one instruction a member (aliases for casts that widen and for stops), joins of pairs that
 * have a kernel of their own, then registers by last use. A value that is stored as f32 is computed
 * where it will be stored. */
#include <string.h>

#include "compute/cpu/group.h"

typedef struct builder {
    const gd_graph *g;
    const gd_view *v;
    int n;
    const gd_node *nodes;
    gd__ref *value; /* of each member; place and at */
    gd__group *x;
} builder;

gd_shape gd__group_shape(const gd_graph *g, int n, const gd_node *nodes) {
    (void)n;
    const gd_node_info *i = gd_graph_at(g, nodes[0]);
    return i->op == GD_OP_SUM ? gd_node_shape(g, i->in[0]) : i->shape;
}

/* ---- values ---- */

static gd__ref const_value(builder *b, double value) {
    gd__group *x = b->x;
    float f = (float)value;
    for (int i = 0; i < x->n_consts; i++)
        if (memcmp(&x->value[i], &f, sizeof f) == 0) return (gd__ref){GD__IN_CONST, i};
    x->value[x->n_consts] = f;
    return (gd__ref){GD__IN_CONST, x->n_consts++};
}

static gd__ref input_value(builder *b, gd_node node) {
    gd__group *x = b->x;
    for (int i = 0; i < x->n_inputs; i++)
        if (x->input[i].node == node) return (gd__ref){GD__IN_INPUT, i};
    x->input[x->n_inputs] =
        (gd__input){.node = node, .dtype = gd_graph_at(b->g, node)->dtype, .reg = -1, .last_use = -1, .safe_reg = -1};
    return (gd__ref){GD__IN_INPUT, x->n_inputs++};
}

/* Value of a node that a member uses: another member, a constant, or something in memory. */
static gd__ref value_of(builder *b, gd_node node) {
    for (int i = 0; i < b->n; i++)
        if (b->nodes[i] == node) return b->value[i];
    const gd_node_info *info = gd_graph_at(b->g, node);
    if (info->op == GD_OP_CONST) return const_value(b, info->attr.value);
    return input_value(b, node);
}

static gd__ref emit(gd__group *x, gd__vop op, int n_src, const gd__ref *src, float p, float q) {
    gd__instr *i = &x->instr[x->n_instrs];
    *i = (gd__instr){.kind = GD__CALC, .op = op, .n_src = n_src, .attr = {p, q}};
    for (int k = 0; k < n_src; k++) i->src[k] = src[k];
    i->dst = (gd__ref){GD__IN_TEMP, x->n_instrs};
    return (gd__ref){GD__IN_TEMP, x->n_instrs++};
}

static gd__vop vop_of(gd_op op) {
    static const unsigned char of[GD_OP_COUNT] = {
#define ROW(name) [GD_OP_##name] = GD__V_##name + 1
        ROW(NEG), ROW(ABS), ROW(SIGN), ROW(STEP),    ROW(SQUARE),   ROW(SQRT),  ROW(RSQRT),       ROW(RECIP),
        ROW(EXP), ROW(LOG), ROW(TANH), ROW(SIGMOID), ROW(SOFTPLUS), ROW(LEAKY), ROW(LEAKY_SLOPE), ROW(CLAMP),
        ROW(ADD), ROW(SUB), ROW(MUL),  ROW(DIV),     ROW(MAX),      ROW(MIN),
#undef ROW
    };
    return of[op] ? (gd__vop)(of[op] - 1) : GD__V_COUNT;
}

static gd_dtype dtype_of(const builder *b, gd__ref r, gd_node node) {
    return r.place == GD__IN_INPUT ? b->x->input[r.at].dtype : gd_graph_at(b->g, node)->dtype;
}

/* Casts, stops and broadcasts give their input another name; only rounding is work. */
static gd__ref alias_member(builder *b, const gd_node_info *i) {
    gd__ref r = value_of(b, i->in[0]);
    bool rounds = i->op == GD_OP_CAST && i->dtype == GD_BF16 && dtype_of(b, r, i->in[0]) == GD_F32;
    return rounds ? emit(b->x, GD__V_ROUND_BF16, 1, &r, 0, 0) : r;
}

static gd_status sum_member(builder *b, gd_node node, const gd_node_info *i) {
    gd__group *x = b->x;
    gd__ref r = value_of(b, i->in[0]);
    x->sum[x->n_sums] = (gd__sum){.node = node, .axes = i->attr.axes};
    gd__instr *s = &x->instr[x->n_instrs++];
    *s = (gd__instr){.kind = GD__SUM, .n_src = 1, .src = {r}, .target = x->n_sums++};
    return GD_OK;
}

static void store_member(builder *b, gd_node node, const gd_node_info *i, gd__ref r) {
    gd__group *x = b->x;
    x->output[x->n_outputs] = (gd__output){.node = node, .dtype = i->dtype, .first_write = -1};
    gd__instr *s = &x->instr[x->n_instrs++];
    *s = (gd__instr){
        .kind = i->dtype == GD_BF16 ? GD__STORE_BF16 : GD__STORE, .n_src = 1, .src = {r}, .target = x->n_outputs++};
}

static gd_status add_member(builder *b, int at) {
    gd_node node = b->nodes[at];
    const gd_node_info *i = gd_graph_at(b->g, node);
    if (i->op == GD_OP_SUM) return sum_member(b, node, i);
    gd__ref r;
    if (i->op == GD_OP_BROADCAST || i->op == GD_OP_CAST || i->op == GD_OP_STOP) r = alias_member(b, i);
    else {
        gd__vop op = vop_of(i->op);
        if (op == GD__V_COUNT) GD_FAIL(INTERNAL, "%s: %s cannot be part of a group", i->name, gd_op_text(i->op));
        gd__ref src[2];
        for (int k = 0; k < gd_op_arity(i->op); k++) src[k] = value_of(b, i->in[k]);
        r = emit(b->x, op, gd_op_arity(i->op), src, (float)i->attr.value, (float)i->attr.value2);
        if (i->dtype == GD_BF16) r = emit(b->x, GD__V_ROUND_BF16, 1, &r, 0, 0);
    }
    b->value[at] = r;
    if (b->v->stored[node]) store_member(b, node, i, r);
    return GD_OK;
}

/* A member makes at most two instructions and a store, and brings two operands. */
static bool reserve(gd__group *x, int n) {
    size_t m = (size_t)n;
    x->input = gd_arena_alloc(x->arena, 2 * m * sizeof *x->input);
    x->value = gd_arena_alloc(x->arena, 2 * m * sizeof *x->value);
    x->instr = gd_arena_alloc(x->arena, 3 * m * sizeof *x->instr);
    x->output = gd_arena_alloc(x->arena, m * sizeof *x->output);
    x->sum = gd_arena_alloc(x->arena, m * sizeof *x->sum);
    return x->input && x->value && x->instr && x->output && x->sum;
}

gd_status gd__group_values(const gd_view *v, int n, const gd_node *nodes, gd__group *x) {
    builder b = {.g = v->graph, .v = v, .n = n, .nodes = nodes, .x = x};
    b.value = gd_arena_alloc(x->arena, (size_t)n * sizeof *b.value);
    if (!b.value || !reserve(x, n)) GD_FAIL(NOMEM, "cpu: no memory for a group of %d nodes", n);
    for (int i = 0; i < n; i++) GD_TRY(add_member(&b, i));
    return GD_OK;
}

/* ---- numbers and joins ---- */

static bool is_number(const gd__group *x, gd__ref r) {
    if (r.place == GD__IN_CONST) return true;
    if (r.place == GD__IN_INPUT) return x->input[r.at].feed == GD__FEED_NUMBER;
    return r.place == GD__IN_TEMP && x->instr[r.at].number;
}

static gd__instr *maker(gd__group *x, gd__ref r) { return r.place == GD__IN_TEMP ? &x->instr[r.at] : NULL; }

static void count_uses(gd__group *x) {
    for (int i = 0; i < x->n_instrs; i++)
        for (int k = 0; k < x->instr[i].n_src; k++) {
            gd__instr *m = maker(x, x->instr[i].src[k]);
            if (m) m->uses++;
        }
}

/* The maker of r, when this is its only use and it is operation op. */
static gd__instr *sole(gd__group *x, gd__ref r, gd__vop op) {
    gd__instr *m = maker(x, r);
    return m && m->kind == GD__CALC && m->op == op && m->uses == 1 && !m->dead && !m->number ? m : NULL;
}

static void become(gd__instr *i, gd__instr *eaten, gd__vop op, int n, gd__ref a, gd__ref b, gd__ref c) {
    float slope = i->op == GD__V_LEAKY ? i->attr[0] : eaten->attr[0];
    i->op = op;
    i->n_src = n;
    i->src[0] = a, i->src[1] = b, i->src[2] = c;
    i->attr[0] = slope;
    eaten->dead = true;
}

/* Exact joins only: the joined kernel rounds where the two did. */
static void join_add(gd__group *x, gd__instr *i) {
    for (int k = 0; k < 2; k++) {
        gd__instr *m = sole(x, i->src[k], GD__V_MUL);
        if (m) {
            become(i, m, GD__V_MUL_ADD, 3, m->src[0], m->src[1], i->src[1 - k]);
            return;
        }
    }
}

static void join_sub(gd__group *x, gd__instr *i) {
    gd__instr *m = sole(x, i->src[0], GD__V_MUL);
    if (m) {
        become(i, m, GD__V_MUL_SUB, 3, m->src[0], m->src[1], i->src[1]);
        return;
    }
    m = sole(x, i->src[1], GD__V_MUL);
    if (m) become(i, m, GD__V_SUBR_MUL, 3, m->src[0], m->src[1], i->src[0]);
}

static void join_mul(gd__group *x, gd__instr *i) {
    for (int k = 0; k < 2; k++) {
        gd__instr *m = sole(x, i->src[k], GD__V_SUB);
        if (m) {
            become(i, m, GD__V_SUB_MUL, 3, m->src[0], m->src[1], i->src[1 - k]);
            return;
        }
        m = sole(x, i->src[k], GD__V_LEAKY_SLOPE);
        if (m) {
            become(i, m, GD__V_TIMES_SLOPE, 2, i->src[1 - k], m->src[0], m->src[0]);
            return;
        }
    }
}

static void join_leaky(gd__group *x, gd__instr *i) {
    gd__instr *m = sole(x, i->src[0], GD__V_ADD);
    if (m) {
        become(i, m, GD__V_ADD_LEAKY, 2, m->src[0], m->src[1], m->src[1]);
        return;
    }
    m = sole(x, i->src[0], GD__V_MUL_ADD);
    if (m) become(i, m, GD__V_MUL_ADD_LEAKY, 3, m->src[0], m->src[1], m->src[2]);
}

static void swap_sources(gd__instr *i) {
    gd__ref t = i->src[0];
    i->src[0] = i->src[1];
    i->src[1] = t;
}

/* Which operands are numbers, in the form that a kernel exists for; false when there is none. */
static bool set_mode(gd__group *x, gd__instr *i) {
    bool multiplies =
        i->op == GD__V_MUL_ADD || i->op == GD__V_MUL_SUB || i->op == GD__V_SUBR_MUL || i->op == GD__V_MUL_ADD_LEAKY;
    if (multiplies && is_number(x, i->src[0])) swap_sources(i);
    int mode = 0, numbers = 0;
    for (int k = 0; k < i->n_src; k++)
        if (is_number(x, i->src[k])) {
            mode |= 1 << k;
            numbers++;
        }
    i->number = numbers == i->n_src;
    i->mode = i->number ? 0 : mode;
    i->fn = x->kernels->fn[i->op][i->mode];
    return i->fn != NULL;
}

/* Joins in order, so that makers are final when their users look at them; a join without a kernel
 * for its mix of tiles and numbers is taken back. */
static void join_all(gd__group *x) {
    for (int k = 0; k < x->n_instrs; k++) {
        gd__instr *i = &x->instr[k];
        if (i->kind != GD__CALC) continue;
        (void)set_mode(x, i);
        if (i->number) continue;
        gd__instr before = *i;
        if (i->op == GD__V_ADD) join_add(x, i);
        else if (i->op == GD__V_SUB) join_sub(x, i);
        else if (i->op == GD__V_MUL) join_mul(x, i);
        else if (i->op == GD__V_LEAKY) join_leaky(x, i);
        if (i->op == before.op || set_mode(x, i)) continue;
        for (int s = 0; s < before.n_src; s++) {
            gd__instr *m = maker(x, before.src[s]);
            if (m) m->dead = false;
        }
        *i = before;
    }
}

/* ---- places ---- */

/* A sum or store of one number needs it spread over a tile first: the store's own copy does that; for
 * sums the number is spread by a MOV, put into the slot in front (reserved by never using it). */
static gd_status spread_numbers(gd__group *x) {
    int extra = 0;
    for (int k = 0; k < x->n_instrs; k++)
        if (x->instr[k].kind != GD__CALC && is_number(x, x->instr[k].src[0])) extra++;
    if (!extra) return GD_OK;
    gd__instr *list = gd_arena_alloc(x->arena, (size_t)(x->n_instrs + extra) * sizeof *list);
    int *moved = gd_arena_alloc(x->arena, (size_t)(x->n_instrs + 1) * sizeof *moved);
    if (!list || !moved) GD_FAIL(NOMEM, "cpu: no memory for a group");
    int n = 0;
    for (int k = 0; k < x->n_instrs; k++) {
        gd__instr i = x->instr[k];
        for (int s = 0; s < i.n_src; s++)
            if (i.src[s].place == GD__IN_TEMP) i.src[s].at = moved[i.src[s].at];
        if (i.kind != GD__CALC && is_number(x, x->instr[k].src[0])) {
            list[n] =
                (gd__instr){.kind = GD__CALC, .op = GD__V_MOV, .mode = 1, .n_src = 1, .src = {i.src[0]}, .uses = 1};
            list[n].fn = x->kernels->fn[GD__V_MOV][1];
            i.src[0] = (gd__ref){GD__IN_TEMP, n++};
        }
        moved[k] = n;
        list[n++] = i;
    }
    x->instr = list;
    x->n_instrs = n;
    return GD_OK;
}

static bool writes_f32(const gd__instr *i) { return i->kind == GD__STORE; }

/* Lets the maker of a stored f32 value write to the output itself. Later users read it from there. */
static void store_directly(gd__group *x, gd__ref *home) {
    for (int k = 0; k < x->n_instrs; k++) home[k] = (gd__ref){GD__IN_TEMP, k};
    for (int k = 0; k < x->n_instrs; k++) {
        gd__instr *i = &x->instr[k];
        gd__instr *m = writes_f32(i) ? maker(x, i->src[0]) : NULL;
        if (m && !m->number && home[m - x->instr].place == GD__IN_TEMP) {
            home[m - x->instr] = (gd__ref){GD__IN_OUTPUT, i->target};
            i->dead = true;
        }
    }
}

static void note_uses(gd__group *x, int *last) {
    for (int k = 0; k < x->n_instrs; k++) {
        gd__instr *i = &x->instr[k];
        if (i->dead) continue;
        for (int s = 0; s < i->n_src; s++) {
            if (i->src[s].place == GD__IN_TEMP) last[i->src[s].at] = k;
            if (i->src[s].place == GD__IN_INPUT) x->input[i->src[s].at].last_use = k;
        }
    }
}

static int take_reg(gd__group *x, bool *busy) {
    int r = 0;
    while (r < x->n_regs && busy[r]) r++;
    if (r == x->n_regs) x->n_regs++;
    busy[r] = true;
    return r;
}

/* Inputs that are copied or converted keep a register for the whole tile (REPEAT: for all tiles). */
static void input_regs(gd__group *x, bool *busy) {
    for (int i = 0; i < x->n_inputs; i++) {
        gd__input *in = &x->input[i];
        if (in->feed == GD__FEED_DIRECT || (in->feed == GD__FEED_NUMBER && in->dtype == GD_F32)) continue;
        in->reg = take_reg(x, busy);
    }
}

/* Registers of results: given out in order, free again after the last use. */
static void result_regs(gd__group *x, bool *busy, const int *last, gd__ref *home) {
    for (int k = 0; k < x->n_instrs; k++) {
        gd__instr *i = &x->instr[k];
        if (i->dead) continue;
        for (int s = 0; s < i->n_src; s++) {
            if (i->src[s].place != GD__IN_TEMP) continue;
            int maker_at = i->src[s].at;
            i->src[s] = home[maker_at];
            if (home[maker_at].place == GD__IN_REG && last[maker_at] == k) busy[home[maker_at].at] = false;
        }
        if (i->kind == GD__CALC) {
            if (home[k].place == GD__IN_TEMP) home[k] = (gd__ref){GD__IN_REG, take_reg(x, busy)};
            i->dst = home[k];
        }
        gd__output *o = i->kind == GD__STORE || i->kind == GD__STORE_BF16      ? &x->output[i->target]
                        : i->kind == GD__CALC && i->dst.place == GD__IN_OUTPUT ? &x->output[i->dst.at]
                                                                               : NULL;
        if (o && o->first_write < 0) o->first_write = k;
    }
}

/* An output may be given the memory of an input that dies here. Where it would be written before the
 * input's last use, the input gets a register for a copy of its tile, one of its own, which no temporary in between may take;
 * run decides. */
static void safe_regs(gd__group *x) {
    for (int i = 0; i < x->n_inputs; i++)
        for (int o = 0; o < x->n_outputs; o++)
            if (x->input[i].feed == GD__FEED_DIRECT && x->input[i].safe_reg < 0 &&
                x->output[o].first_write < x->input[i].last_use)
                x->input[i].safe_reg = x->n_regs++;
}

static int pointer_of(const gd__group *x, gd__ref r) {
    switch (r.place) {
    case GD__IN_INPUT: return r.at;
    case GD__IN_CONST: return x->n_inputs + r.at;
    case GD__IN_REG: return x->n_inputs + x->n_consts + r.at;
    default: return x->n_inputs + x->n_consts + x->n_regs + r.at;
    }
}

static void resolve(gd__group *x) {
    int n = 0;
    for (int k = 0; k < x->n_instrs; k++) {
        gd__instr i = x->instr[k];
        if (i.dead) continue;
        for (int s = 0; s < 3; s++) i.src_at[s] = pointer_of(x, i.src[s < i.n_src ? s : 0]);
        i.dst_at = i.kind == GD__CALC                                ? pointer_of(x, i.dst)
                   : i.kind == GD__STORE || i.kind == GD__STORE_BF16 ? pointer_of(x, (gd__ref){GD__IN_OUTPUT, i.target})
                                                                     : 0;
        x->instr[n++] = i;
    }
    x->n_instrs = n;
    x->work = n + x->n_inputs + x->n_outputs;
}

/* Results that nobody uses (a member stored by nobody cannot be: the planner drops it) are dropped. */
static void drop_unused(gd__group *x, const int *last) {
    for (int k = 0; k < x->n_instrs; k++)
        if (x->instr[k].kind == GD__CALC && last[k] < 0) x->instr[k].dead = true;
}

gd_status gd__group_finish(gd__group *x) {
    count_uses(x);
    join_all(x);
    GD_TRY(spread_numbers(x));
    size_t n = (size_t)x->n_instrs + 1;
    gd__ref *home = gd_arena_alloc(x->arena, n * sizeof *home);
    int *last = gd_arena_alloc(x->arena, n * sizeof *last);
    bool *busy = gd_arena_alloc(x->arena, n + 2 * (size_t)x->n_inputs);
    if (!home || !last || !busy) GD_FAIL(NOMEM, "cpu: no memory for a group");
    for (size_t k = 0; k < n; k++) last[k] = -1;
    note_uses(x, last);
    drop_unused(x, last);
    store_directly(x, home);
    input_regs(x, busy);
    result_regs(x, busy, last, home);
    safe_regs(x);
    resolve(x);
    return GD_OK;
}
