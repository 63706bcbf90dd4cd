/* compute/cuda/optimizer.c -- see optimizer.h. */
#include "compute/cuda/optimizer.h"

#include "compute/exec.h"

/* One element: d is the gradient, P, M, V, E stand for what is updated. */
static const char *const rules[GD__CU_RULES] = {
    [GD__CU_ADAM] = "      M = u->b1 * M + u->rest1 * d;\n"
                    "      V = u->b2 * V + u->rest2 * d * d;\n"
                    "      const float root = sqrtf(V) / u->root2 + u->eps;\n"
                    "      float x = P - u->rate * (M / root);\n",
    [GD__CU_RMSPROP] = "      V = u->alpha * V + u->rest * d * d;\n"
                       "      float x = P - u->rate * (d / (sqrtf(V) + u->eps));\n",
    [GD__CU_MOMENTUM] = "      V = u->momentum * V + d;\n"
                        "      float x = P - u->rate * V;\n",
    [GD__CU_SGD] = "      float x = P - u->rate * d;\n",
};

static void print_element(gd__cu_text *t, gd__cu_rule rule, bool average) {
    gd__cu_print(t, "      const float d = G * u->scale + u->decay * P;\n%s", rules[rule]);
    gd__cu_print(t, "      if (u->clip > 0) x = x > u->clip ? u->clip : x < -u->clip ? -u->clip : x;\n      P = x;\n");
    if (average) gd__cu_print(t, "      E = u->average * E + (1 - u->average) * x;\n");
}

/* Loads or stores of four; what a rule does not have is not touched. */
static void print_fours(gd__cu_text *t, gd__cu_rule rule, bool average, bool load) {
    static const char names[] = "pmve";
    const bool has[] = {true, rule == GD__CU_ADAM, rule != GD__CU_SGD, average};
    for (int i = 0; i < 4; i++) {
        if (!has[i]) continue;
        if (load) gd__cu_print(t, "      gd_f4 %c4 = *(const gd_f4 *)(%c + i);\n", names[i], names[i]);
        else gd__cu_print(t, "      *(gd_f4 *)(%c + i) = %c4;\n", names[i], names[i]);
    }
    if (load) gd__cu_print(t, "      const gd_f4 g4 = *(const gd_f4 *)(g + i);\n");
}

static void print_names(gd__cu_text *t, bool four) {
    static const char *const name[] = {"P", "G", "M", "V", "E"}, *const array[] = {"p", "g", "m", "v", "e"};
    for (int i = 0; i < 5; i++)
        gd__cu_print(t, four ? "#define %s %s4.v[j]\n" : "#define %s %s[i]\n", name[i], array[i]);
}

static void print_forget(gd__cu_text *t) { gd__cu_print(t, "#undef P\n#undef G\n#undef M\n#undef V\n#undef E\n"); }

gd_status gd__cu_optimizer(gd__cu_kernels *k, gd__cu_rule rule, bool average, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(&t, "  const gd_kernel_update *const u = ARG(const gd_kernel_update, 0);\n"
                     "  float *const p = ARG(float, 1);\n  const float *const g = ARG(const float, 2);\n"
                     "  float *const m = ARG(float, 3);\n  float *const v = ARG(float, 4);\n"
                     "  float *const e = ARG(float, 5);\n  (void)m;\n  (void)v;\n  (void)e;\n"
                     "  PHASE {\n    u64 i = u->made ? ((u64)BX * GD_THREADS + TX) * 4 : u->count;\n"
                     "    if (i + 4 <= u->count) {\n");
    print_names(&t, true);
    print_fours(&t, rule, average, true);
    gd__cu_print(&t, "      UNROLL\n      for (u32 j = 0; j < 4; j++) {\n");
    print_element(&t, rule, average);
    gd__cu_print(&t, "      }\n");
    print_fours(&t, rule, average, false);
    print_forget(&t);
    gd__cu_print(&t, "    } else {\n");
    print_names(&t, false);
    gd__cu_print(&t, "      for (; i < u->count; i++) {\n");
    print_element(&t, rule, average);
    gd__cu_print(&t, "      }\n");
    print_forget(&t);
    gd__cu_print(&t, "    }\n  }\n");
    gd_status st = gd__cu_kernels_add(k, GD__CU_OPTIMIZER_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

unsigned gd__cu_optimizer_grid(size_t count) { return (unsigned)((count + 4 * 256 - 1) / (4 * 256)); }

/* ---- moving averages ---- */

gd_status gd__cu_average(gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(&t,
                 "  const gd_kernel_average *const u = ARG(const gd_kernel_average, 0);\n"
                 "  float *const e = ARG(float, 1);\n  const float *const x = ARG(const float, 2);\n"
                 "  const double *const norm = ARG(const double, 3);\n"
                 "  PHASE {\n    const double bad = u->judged ? *norm - *norm : 0;\n"
                 "    u64 i = bad == 0 ? ((u64)BX * GD_THREADS + TX) * 4 : u->count;\n"
                 "    if (i + 4 <= u->count) {\n      gd_f4 e4 = *(const gd_f4 *)(e + i);\n"
                 "      const gd_f4 x4 = *(const gd_f4 *)(x + i);\n      UNROLL\n      for (u32 j = 0; j < 4; j++)\n"
                 "        e4.v[j] = u->decay * e4.v[j] + (1 - u->decay) * x4.v[j];\n      *(gd_f4 *)(e + i) = e4;\n"
                 "    } else {\n      for (; i < u->count; i++) e[i] = u->decay * e[i] + (1 - u->decay) * x[i];\n"
                 "    }\n  }\n");
    gd_status st = gd__cu_kernels_add(k, GD__CU_AVERAGE_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

/* ---- norms ---- */

enum { LANES = 16, AT_ONCE = 8, BLOCKS = 256 / LANES };

/* Squares of floats are exact in double, so only the order of the sums matters. Loads of a block's lanes lie side by side;
 * AT_ONCE of them are under way before the first is added. */
gd_status gd__cu_squares(gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(
        &t,
        "  const u64 from = ARG(const gd_kernel_squares, 0)->first, count = ARG(const gd_kernel_squares, 0)->last;\n"
        "  const float *const x = ARG(const float, 1);\n"
        "  double *const out = ARG(double, 2);\n  SHARED(double, lane, 256)\n"
        "  PHASE {\n    const u64 first = from + ((u64)BX * %d + TX / %d) * %d + TX %% %d;\n"
        "    double sum = 0;\n",
        BLOCKS, LANES, GD_SQUARES_BLOCK, LANES);
    gd__cu_print(
        &t,
        "    for (u32 i = 0; i < %d; i += %d) {\n      float v[%d];\n      UNROLL\n"
        "      for (u32 j = 0; j < %d; j++) {\n        const u64 at = first + (u64)(i + j) * %d;\n"
        "        v[j] = at < count ? x[at] : 0;\n      }\n      UNROLL\n"
        "      for (u32 j = 0; j < %d; j++) sum += (double)v[j] * v[j];\n    }\n    lane[TX] = sum;\n  }\n  SYNC\n",
        GD_SQUARES_BLOCK / LANES, AT_ONCE, AT_ONCE, AT_ONCE, LANES, AT_ONCE);
    gd__cu_print(&t,
                 "  PHASE {\n    const u64 block = from / %d + (u64)BX * %d + TX;\n"
                 "    if (TX < %d && block * %d < count) {\n"
                 "      double sum = 0;\n      for (u32 j = 0; j < %d; j++) sum += lane[TX * %d + j];\n"
                 "      out[block] = sum;\n    }\n  }\n",
                 GD_SQUARES_BLOCK, BLOCKS, BLOCKS, GD_SQUARES_BLOCK, LANES, LANES);
    gd_status st = gd__cu_kernels_add(k, GD__CU_SQUARES_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

/* gd_sum_blocks of dist/optimizer.h: a thread a lane. */
gd_status gd__cu_norm(gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(&t, "  gd_kernel_update *const u = ARG(gd_kernel_update, 0);\n"
                     "  const double *const sums = ARG(const double, 1);\n  double *const out = ARG(double, 2);\n"
                     "  SHARED(double, lane, 256)\n  const u64 n = u->n_sums;\n"
                     "  PHASE {\n    double sum = 0;\n    for (u64 b = TX; b < n; b += GD_THREADS) sum += sums[b];\n"
                     "    lane[TX] = sum;\n  }\n  SYNC\n"
                     "  for (u32 half = GD_THREADS / 2; half; half /= 2) {\n"
                     "    PHASE {\n      if (TX < half) lane[TX] += lane[TX + half];\n    }\n    SYNC\n  }\n");
    gd__cu_print(&t,
                 "  PHASE {\n    if (TX == 0) {\n      double norm = sqrt(lane[0]);\n"
                 "      const double scale = u->clip_norm > 0 && norm > u->clip_norm ? u->clip_norm / norm : 1;\n"
                 "      const float f = (float)(norm * scale), square = f * f;\n"
                 "      if (u->squares && !(square - square == 0)) norm = INFINITY;\n"
                 "      u->scale = (float)scale;\n      u->made = norm - norm == 0;\n      *out = norm;\n    }\n  }\n");
    gd_status st = gd__cu_kernels_add(k, GD__CU_NORM_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}

unsigned gd__cu_squares_grid(size_t count) {
    const size_t each = (size_t)BLOCKS * GD_SQUARES_BLOCK;
    return (unsigned)((count + each - 1) / each);
}

/* ---- running statistics: some thousands ---- */

gd_status gd__cu_keep(gd__cu_kernels *k, int *index) {
    gd__cu_text t = {0};
    gd__cu_print(&t,
                 "  const gd_kernel_keep *const u = ARG(const gd_kernel_keep, 0);\n  float *const x = ARG(float, 1);\n"
                 "  const float *const before = ARG(const float, 2);\n  float *const e = ARG(float, 3);\n"
                 "  double *const kept = ARG(double, 4);\n  SHARED(u32, found, 256)\n  PHASE {\n    u32 n = 0;\n"
                 "    for (u64 i = TX; i < u->count; i += GD_THREADS) {\n      float v = x[i];\n"
                 "      if (!(v - v == 0)) {\n        v = before[i];\n        x[i] = v;\n        n++;\n      }\n"
                 "      if (u->average) e[i] = u->decay * e[i] + (1 - u->decay) * v;\n    }\n    found[TX] = n;\n  }\n"
                 "  SYNC\n  PHASE {\n    if (TX == 0) {\n      double sum = 0;\n"
                 "      for (u32 i = 0; i < GD_THREADS; i++) sum += found[i];\n      *kept = sum;\n    }\n  }\n");
    gd_status st = gd__cu_kernels_add(k, GD__CU_KEEP_ARGS, &t, index);
    gd__cu_text_free(&t);
    return st;
}
