/* compute/cuda/body.c -- what a thread does at one place of the space of a part. See group.h. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compute/cuda/group.h"

/* ---- coordinates ---- */

void gd__cu_print_places(gd__cu_text *t, const gd__cu_space *s, bool kept, const char *name) {
    int left = 0;
    for (int d = 0; d < GD__CU_DIMS; d++) left += s->keep[d] == kept && s->dim[d] > 1;
    int64_t below = 1;
    for (int d = GD__CU_DIMS - 1; d >= 0; d--) {
        if (s->keep[d] != kept || s->dim[d] == 1) continue;
        int64_t n = d == GD__CU_LAST ? s->dim[d] / s->vector : s->dim[d];
        gd__cu_print(t, "    const %s c%d = ", gd__cu_index(s), d);
        if (below > 1) gd__cu_print(t, "%s / %lldu", name, (long long)below);
        else gd__cu_print(t, "%s", name);
        if (--left) gd__cu_print(t, " %% %lldu", (long long)n);
        if (d == GD__CU_LAST && s->vector > 1) gd__cu_print(t, " * %du", s->vector);
        gd__cu_print(t, ";\n");
        below *= n;
    }
}

/* "c0 * 12u + c3", of steps; "0" where all are 0. */
static void print_offset(gd__cu_text *t, const gd__cu_space *s, const int64_t step[GD__CU_DIMS]) {
    bool first = true;
    for (int d = 0; d < GD__CU_DIMS; d++) {
        if (!step[d] || s->dim[d] == 1) continue;
        gd__cu_print(t, "%sc%d", first ? "" : " + ", d);
        if (step[d] > 1) gd__cu_print(t, " * %lldu", (long long)step[d]);
        first = false;
    }
    if (first) gd__cu_print(t, "0");
}

static void print_dense_offset(gd__cu_text *t, const gd__cu_space *s) {
    int64_t step[GD__CU_DIMS], n = 1;
    for (int d = GD__CU_DIMS - 1; d >= 0; d--) {
        step[d] = n;
        n *= s->dim[d];
    }
    gd__cu_print(t, "    const %s o = ", gd__cu_index(s));
    print_offset(t, s, step);
    gd__cu_print(t, ";\n");
}

/* ---- loads and stores ---- */

const char *gd__cu_c_type(gd_dtype t) { return t == GD_F32 ? "float" : t == GD_BF16 ? "u16" : "u8"; }

static char vector_letter(gd_dtype t) { return t == GD_F32 ? 'f' : t == GD_BF16 ? 'h' : 'b'; }

void gd__cu_print_pointers(gd__cu_text *t, const gd__cu_part *p) {
    int at = 0;
    for (int i = 0; i < p->n_inputs; i++, at++)
        gd__cu_print(t, "  const %s *const p%d = ARG(const %s, %d);\n", gd__cu_c_type(p->input[i].dtype), i,
                     gd__cu_c_type(p->input[i].dtype), at);
    for (int i = 0; i < p->n_outputs; i++, at++) {
        const char *type = gd__cu_c_type(gd_graph_at(p->v->graph, p->output[i])->dtype);
        gd__cu_print(t, "  %s *const q%d = ARG(%s, %d);\n", type, i, type, at);
    }
    for (int i = 0; i < p->n_sums; i++, at++) gd__cu_print(t, "  float *const z%d = ARG(float, %d);\n", i, at);
}

static bool is_vector(const gd__cu_part *p, const gd__cu_input *in) {
    return p->space.vector > 1 && in->step[GD__CU_LAST] != 0;
}

static void print_loads(gd__cu_text *t, const gd__cu_part *p) {
    const gd__cu_space *s = &p->space;
    for (int i = 0; i < p->n_inputs; i++) {
        const gd__cu_input *in = &p->input[i];
        char vector[16];
        snprintf(vector, sizeof vector, "gd_%c%d", vector_letter(in->dtype), s->vector);
        const char *type = is_vector(p, in) ? vector : gd__cu_c_type(in->dtype);
        gd__cu_print(t, "    const %s x%d = *(const %s *)(p%d + (", type, i, type, i);
        if (in->dense) gd__cu_print(t, "o");
        else print_offset(t, s, in->step);
        gd__cu_print(t, "));\n");
    }
}

static void print_stores(gd__cu_text *t, const gd__cu_part *p) {
    for (int i = 0; i < p->n_outputs; i++) {
        gd_dtype type = gd_graph_at(p->v->graph, p->output[i])->dtype;
        if (p->space.vector == 1) gd__cu_print(t, "    q%d[o] = y%d;\n", i, i);
        else gd__cu_print(t, "    *(gd_%c%d *)(q%d + o) = y%d;\n", vector_letter(type), p->space.vector, i, i);
    }
}

static void print_results(gd__cu_text *t, const gd__cu_part *p) {
    for (int i = 0; i < p->n_outputs; i++) {
        gd_dtype type = gd_graph_at(p->v->graph, p->output[i])->dtype;
        if (p->space.vector == 1) gd__cu_print(t, "    %s y%d;\n", gd__cu_c_type(type), i);
        else gd__cu_print(t, "    gd_%c%d y%d;\n", vector_letter(type), p->space.vector, i);
    }
}

/* ---- values ---- */

/* The number as its bits where decimal digits could not say it. */
static void print_number(gd__cu_text *t, double value) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isfinite(f)) gd__cu_print(t, "(%af)", (double)f);
    else gd__cu_print(t, "gd__float_of(0x%08xu)", bits);
}

static void print_input(gd__cu_text *t, const gd__cu_part *p, int i) {
    const gd__cu_input *in = &p->input[i];
    const char *at = is_vector(p, in) ? ".v[j]" : "";
    if (in->dtype == GD_F32) gd__cu_print(t, "x%d%s", i, at);
    else if (in->dtype == GD_BF16) gd__cu_print(t, "gd__from_bf16(x%d%s)", i, at);
    else gd__cu_print(t, "(float)(i32)x%d%s", i, at);
}

/* A value by the node that a member reads. */
static void print_value(gd__cu_text *t, const gd__cu_part *p, gd_node node) {
    for (int m = 0; m < p->n; m++)
        if (p->nodes[m] == node) {
            gd__cu_print(t, "v%d", m);
            return;
        }
    for (int i = 0; i < p->n_inputs; i++)
        if (p->input[i].node == node) {
            print_input(t, p, i);
            return;
        }
    print_number(t, gd_graph_at(p->v->graph, node)->attr.value); /* a CONST that only groups read */
}

/* What an op makes of its operands: a and b stand for them, p and q for the attributes. */
static const char *formula_of(gd_op op) {
    switch (op) {
    case GD_OP_NEG: return "-a";
    case GD_OP_ABS: return "gd__float(gd__bits(a) & 0x7fffffffu)";
    case GD_OP_SIGN: return "(a > 0.0f ? 1.0f : 0.0f) - (a < 0.0f ? 1.0f : 0.0f)";
    case GD_OP_STEP: return "a > 0.0f ? 1.0f : 0.0f";
    case GD_OP_SQUARE: return "a * a";
    case GD_OP_SQRT: return "sqrtf(a)";
    case GD_OP_RSQRT: return "1.0f / sqrtf(a)";
    case GD_OP_RECIP: return "1.0f / a";
    case GD_OP_EXP: return "gd__vexp(a)";
    case GD_OP_LOG: return "gd__vlog(a)";
    case GD_OP_TANH: return "gd__vtanh(a)";
    case GD_OP_SIGMOID: return "gd__vsigmoid(a)";
    case GD_OP_SOFTPLUS: return "gd__vsoftplus(a)";
    case GD_OP_LEAKY: return "a > 0.0f ? a : a * p";
    case GD_OP_LEAKY_SLOPE: return "a > 0.0f ? 1.0f : p";
    case GD_OP_CLAMP: return "gdk_clamp(a, p, q)";
    case GD_OP_ADD: return "a + b";
    case GD_OP_SUB: return "a - b";
    case GD_OP_MUL: return "a * b";
    case GD_OP_DIV: return "a / b";
    case GD_OP_MAX: return "a > b ? a : b";
    case GD_OP_MIN: return "a < b ? a : b";
    default: return "a"; /* CAST, STOP, BROADCAST */
    }
}

static bool in_name(char c) { return c == '_' || isalnum((unsigned char)c); }

/* The formula with its letters replaced: names of one letter are operands and attributes. */
static void print_formula(gd__cu_text *t, const gd__cu_part *p, const gd_node_info *n) {
    const char *f = formula_of(n->op);
    for (bool inside = false; *f; inside = in_name(*f), f++) {
        bool letter = !inside && strchr("abpq", *f) && !in_name(f[1]);
        if (!letter) gd__cu_print(t, "%c", *f);
        else if (*f == 'a' || *f == 'b') print_value(t, p, n->in[*f - 'a']);
        else print_number(t, *f == 'p' ? n->attr.value : n->attr.value2);
    }
}

static void print_member(gd__cu_text *t, const gd__cu_part *p, int m) {
    const gd_node_info *n = gd_graph_at(p->v->graph, p->nodes[m]);
    bool rounds = n->dtype == GD_BF16 && gd_graph_at(p->v->graph, n->in[0])->dtype != GD_BF16;
    rounds |= n->dtype == GD_BF16 && n->op != GD_OP_CAST && n->op != GD_OP_STOP && n->op != GD_OP_BROADCAST;
    gd__cu_print(t, "    const float v%d = %s", m, rounds ? "gdk_round(" : "");
    print_formula(t, p, n);
    gd__cu_print(t, "%s;\n", rounds ? ")" : "");
}

static int member_of(const gd__cu_part *p, gd_node node) {
    int m = 0;
    while (p->nodes[m] != node) m++;
    return m;
}

static void print_targets(gd__cu_text *t, const gd__cu_part *p) {
    bool vector = p->space.vector > 1;
    for (int i = 0; i < p->n_outputs; i++) {
        bool half = gd_graph_at(p->v->graph, p->output[i])->dtype == GD_BF16;
        gd__cu_print(t, "    y%d%s = %sv%d%s;\n", i, vector ? ".v[j]" : "", half ? "gd__to_bf16(" : "",
                     member_of(p, p->output[i]), half ? ")" : "");
    }
    for (int i = 0; i < p->n_sums; i++) {
        gd__cu_print(t, "    a%d[%s] += ", i, p->space.width > 1 ? "j" : "0");
        print_value(t, p, gd_graph_at(p->v->graph, p->sum[i])->in[0]);
        gd__cu_print(t, ";\n");
    }
}

void gd__cu_print_body(gd__cu_text *t, const gd__cu_part *p) {
    bool dense = p->n_outputs > 0;
    for (int i = 0; i < p->n_inputs; i++) dense |= p->input[i].dense;
    if (dense) print_dense_offset(t, &p->space);
    print_loads(t, p);
    print_results(t, p);
    if (p->space.vector > 1) gd__cu_print(t, "    UNROLL\n    for (u32 j = 0; j < %du; j++) {\n", p->space.vector);
    for (int m = 0; m < p->n; m++)
        if (p->needed[m] && gd_graph_at(p->v->graph, p->nodes[m])->op != GD_OP_SUM) print_member(t, p, m);
    print_targets(t, p);
    if (p->space.vector > 1) gd__cu_print(t, "    }\n");
    print_stores(t, p);
}
