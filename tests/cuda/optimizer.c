/* tests/cuda/optimizer.c -- the kernels of the flat optimisers against dist/optimizer.c, bit for bit. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/cuda/kernel.h"
#include "compute/cuda/optimizer.h"
#include "compute/exec.h"
#include "dist/optimizer.h"
#include "shim.h"

enum { COUNT = 4 * 1024 + 7, UPDATES = 5 };

typedef struct arena {
    _Alignas(64) float p[COUNT + 1], g[COUNT + 1], m[COUNT + 1], v[COUNT + 1], e[COUNT + 1];
} arena;
static arena cpu, gpu;

static void draw(float *to, uint64_t key) {
    const gd_rng r = {3, GD_PURPOSE_TEST, 1};
    static float room[COUNT + 8];
    gd_rng_normal(&r, key, 0, COUNT, room);
    memcpy(to, room, COUNT * sizeof *to);
}

_Static_assert(offsetof(gd_kernel_update, momentum) - offsetof(gd_kernel_update, rate) ==
                   offsetof(gd_optimizer_numbers, momentum),
               "a kernel gets dist's numbers as they are");

static gd_kernel_update numbers(const gd_optimizer_spec *s, int64_t step, double clip) {
    gd_optimizer_numbers n = gd_optimizer_numbers_of(s, step, step, 0.125, clip);
    gd_kernel_update u = {.count = COUNT, .average = 0.9f, .made = 1};
    memcpy(&u.rate, &n, sizeof n);
    return u;
}

static bool same(const char *what, const float *a, const float *b) {
    for (int i = 0; i < COUNT + 1; i++)
        if (memcmp(&a[i], &b[i], sizeof *a)) {
            printf("FAIL %s[%d]: %a on the CPU, %a\n", what, i, (double)a[i], (double)b[i]);
            return false;
        }
    return true;
}

static int check(const char *name, gd__cu_rule rule, const gd_optimizer_spec *s, double clip, bool average) {
    gd__cu_kernels k = {0};
    int index;
    if (gd__cu_optimizer(&k, rule, average, &index) != GD_OK) return 1;
    shim_collect(&k);
    shim_fn f = shim_find(k.list[index].name);
    memset(&cpu, 0, sizeof cpu);
    draw(cpu.p, 1);
    memcpy(&gpu, &cpu, sizeof gpu);
    for (int64_t i = 1; i <= UPDATES; i++) {
        draw(cpu.g, 10 + (uint64_t)i);
        memcpy(gpu.g, cpu.g, sizeof gpu.g);
        gd_kernel_update u = numbers(s, i, clip);
        bool moments = gd_optimizer_moments(s) > 0;
        gd_optimizer_update(s, i, i, 0.125, clip, COUNT, cpu.p, cpu.g,
                            s->kind == GD_SGD && !moments ? NULL
                            : s->kind == GD_ADAM          ? cpu.m
                                                          : cpu.v,
                            cpu.v);
        for (int j = 0; average && j < COUNT; j++) cpu.e[j] = u.average * cpu.e[j] + (1 - u.average) * cpu.p[j];
        void *arg[] = {&u, gpu.p, gpu.g, gpu.m, gpu.v, gpu.e};
        shim_reverse(i & 1);
        shim_run(f, gd__cu_optimizer_grid(COUNT), arg);
    }
    bool good = same("p", cpu.p, gpu.p) & same("m", cpu.m, gpu.m) & same("v", cpu.v, gpu.v) & same("e", cpu.e, gpu.e);
    printf("%-10s clip %g%s: %s\n", name, clip, average ? ", average" : "", good ? "ok" : "FAIL");
    gd__cu_kernels_free(&k);
    return !good;
}

/* Sums of squares: few blocks, the last one short, many; and what is not finite. */
static int check_squares(size_t first, size_t count, float special) {
    static float x[40 * GD_SQUARES_BLOCK];
    double want[41] = {0}, got[41];
    gd__cu_kernels k = {0};
    int index;
    const gd_kernel_squares range = {.last = count, .first = first};
    const gd_rng r = {3, GD_PURPOSE_TEST, 1};
    if (gd__cu_squares(&k, &index) != GD_OK) return 1;
    shim_collect(&k);
    gd_rng_normal(&r, 99, 0, sizeof x / sizeof *x, x); /* what is behind count must not be seen */
    if (special != 0) x[count / 3] = special;
    int bad = 0;
    for (int turn = 0; turn < 2; turn++) {
        void *arg[GD__CU_SQUARES_ARGS] = {(void *)(uintptr_t)&range, x, got};
        for (int i = 0; i < 41; i++) got[i] = -1;
        memset(want, 0, sizeof want);
        gd_square_sums(x, first, count, want);
        shim_reverse(turn);
        shim_run(shim_find(k.list[index].name), gd__cu_squares_grid(count - first), arg);
        size_t n = (count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK, from = first / GD_SQUARES_BLOCK;
        for (size_t i = 0; i < 41; i++)
            bad += i < from || i >= n   ? got[i] != -1
                   : special == special ? memcmp(&got[i], &want[i], 8) != 0
                                        : (got[i] == got[i]) != (want[i] == want[i]);
    }
    printf("squares of %zu..%zu%s: %s\n", first, count, special != 0 ? ", one special" : "", bad ? "FAIL" : "ok");
    gd__cu_kernels_free(&k);
    return bad != 0;
}

/* From sums of squares to what an update does, against the host's rules: norms that are large, small, none, of many blocks. */
static int check_norm(size_t count, double each, double clip, bool squares) {
    static double sums[600];
    gd__cu_kernels k = {0};
    gd_kernel_update u = {.clip_norm = clip, .squares = squares};
    int index, bad = 0;
    double out = -1;
    size_t n = (count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK;
    u.n_sums = n;
    if (gd__cu_norm(&k, &index) != GD_OK) return 1;
    shim_collect(&k);
    for (size_t i = 0; i < 600; i++) sums[i] = i < n ? each * (1 + 1e-7 * (double)i) : NAN;
    double norm = sqrt(gd_sum_blocks(sums, n)), scale = clip > 0 && norm > clip ? clip / norm : 1;
    float f = (float)(norm * scale);
    if (squares && !isfinite(f * f)) norm = INFINITY;
    for (int turn = 0; turn < 2; turn++) {
        void *arg[GD__CU_NORM_ARGS] = {&u, sums, &out};
        shim_reverse(turn);
        shim_run(shim_find(k.list[index].name), 1, arg);
        bad += u.scale != (float)scale || u.made != (isfinite(norm) != 0) || (isnan(norm) ? !isnan(out) : out != norm);
    }
    printf("norm of %zu, blocks of %g, at most %g%s: %g, %s\n", count, each, clip, squares ? ", squares" : "", norm,
           bad ? "FAIL" : "ok");
    gd__cu_kernels_free(&k);
    return bad != 0;
}

/* Running statistics, of which some are not finite, against the host's loop. */
static int check_keep(size_t count, int every, bool average) {
    gd__cu_kernels k = {0};
    gd_kernel_keep u = {.count = count, .decay = 0.9f, .average = average};
    int index, bad = 0;
    if (gd__cu_keep(&k, &index) != GD_OK) return 1;
    shim_collect(&k);
    for (int turn = 0; turn < 2; turn++) {
        double found = 0, kept = -1;
        draw(cpu.p, 7);
        draw(cpu.g, 8);
        draw(cpu.e, 9);
        for (size_t i = 0; every && i < count; i += (size_t)every) cpu.p[i] = i % 2 ? -INFINITY : NAN;
        gpu = cpu;
        for (size_t i = 0; i < count; i++) {
            if (!isfinite(cpu.p[i])) cpu.p[i] = cpu.g[i], found++;
            if (average) cpu.e[i] = u.decay * cpu.e[i] + (1 - u.decay) * cpu.p[i];
        }
        void *arg[GD__CU_KEEP_ARGS] = {&u, gpu.p, gpu.g, gpu.e, &kept};
        shim_reverse(turn);
        shim_run(shim_find(k.list[index].name), 1, arg);
        bad += !same("statistics", cpu.p, gpu.p) + !same("average", cpu.e, gpu.e) + (kept != found);
    }
    printf("%zu statistics, one of %d not finite%s: %s\n", count, every, average ? ", average" : "",
           bad ? "FAIL" : "ok");
    gd__cu_kernels_free(&k);
    return bad != 0;
}

/* A moving average by itself, with the bits of one that an update moves along; where there was no update it stays. */
static int check_average(double norm, bool judged) {
    gd__cu_kernels k = {0};
    gd_kernel_average u = {.count = COUNT, .decay = 0.9f, .judged = judged};
    int index, bad = 0;
    if (gd__cu_average(&k, &index) != GD_OK) return 1;
    shim_collect(&k);
    for (int turn = 0; turn < 2; turn++) {
        draw(cpu.p, 7);
        draw(cpu.e, 9);
        gpu = cpu;
        bool made = !judged || isfinite(norm);
        for (size_t i = 0; made && i < COUNT; i++) cpu.e[i] = u.decay * cpu.e[i] + (1 - u.decay) * cpu.p[i];
        void *arg[GD__CU_AVERAGE_ARGS] = {&u, gpu.e, gpu.p, &norm};
        shim_reverse(turn);
        shim_run(shim_find(k.list[index].name), gd__cu_optimizer_grid(COUNT), arg);
        bad += !same("average", cpu.e, gpu.e) + !same("parameters", cpu.p, gpu.p);
    }
    printf("an average behind a norm of %g%s: %s\n", norm, judged ? "" : ", not judged", bad ? "FAIL" : "ok");
    gd__cu_kernels_free(&k);
    return bad != 0;
}

/* An update that is not made touches nothing. */
static int check_left_out(void) {
    gd__cu_kernels k = {0};
    gd_kernel_update u = {.count = COUNT, .average = 0.9f, .rate = 1, .scale = 1, .eps = 1, .root2 = 1};
    int index, bad = 0;
    for (int rule = 0; rule < GD__CU_RULES; rule++) {
        if (gd__cu_optimizer(&k, (gd__cu_rule)rule, true, &index) != GD_OK) return 1;
        shim_collect(&k);
        memset(&gpu, 1, sizeof gpu);
        cpu = gpu;
        void *arg[] = {&u, gpu.p, gpu.g, gpu.m, gpu.v, gpu.e};
        shim_run(shim_find(k.list[index].name), gd__cu_optimizer_grid(COUNT), arg);
        bad += memcmp(&cpu, &gpu, sizeof cpu) != 0;
    }
    printf("updates that are not made: %s\n", bad ? "FAIL" : "ok");
    gd__cu_kernels_free(&k);
    return bad != 0;
}

int main(void) {
    const gd_optimizer_spec adam = {
        .kind = GD_ADAM, .lr = 2e-3, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    const gd_optimizer_spec rms = {.kind = GD_RMSPROP, .lr = 5e-3, .alpha = 0.99, .eps = 1e-8};
    const gd_optimizer_spec moment = {
        .kind = GD_SGD, .lr = 0.1, .momentum = 0.5, .momentum_final = 0.7, .momentum_steps = 4};
    const gd_optimizer_spec sgd = {.kind = GD_SGD, .lr = 0.1, .decay = GD_DECAY_EXPONENTIAL, .decay_rate = 1.1};
    int failed = 0;
    for (int average = 0; average < 2; average++)
        for (int clip = 0; clip < 2; clip++) {
            failed += check("adam", GD__CU_ADAM, &adam, 0.5 * clip, average);
            failed += check("rmsprop", GD__CU_RMSPROP, &rms, 0.5 * clip, average);
            failed += check("momentum", GD__CU_MOMENTUM, &moment, 0.5 * clip, average);
            failed += check("sgd", GD__CU_SGD, &sgd, 0.5 * clip, average);
        }
    const size_t block = GD_SQUARES_BLOCK,
                 counts[] = {16, block, block + 16, 16 * block - 16, 16 * block, 17 * block, 39 * block + 48};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) failed += check_squares(0, counts[i], 0);
    failed += check_squares(block, 17 * block, 0) + check_squares(17 * block, 39 * block + 48, 0);
    failed += check_squares(38 * block, 39 * block + 48, 0);
    failed += check_squares(0, 39 * block, INFINITY);
    failed += check_squares(0, 39 * block, NAN);
    failed += check_squares(0, 39 * block, 3e38f);
    failed += check_squares(0, 39 * block, 1e-40f);
    static const double each[] = {0, 1e-30, 2.5, 1e60, 1e76, 1e77, INFINITY, NAN};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        for (int clip = 0; clip < 2; clip++) {
            failed += check_norm(block + 16, each[i], 3.0 * clip, i % 2);
            failed += check_norm(550 * block - 16, each[i], 3.0 * clip, i % 2 == 0);
            failed += check_norm(256 * block, each[i], 3.0 * clip, true);
        }
    for (int every = 0; every < 300; every += 149)
        for (int average = 0; average < 2; average++)
            failed += check_keep(every ? COUNT : 48, every, average) + check_keep(255, every / 2, average);
    failed += check_average(3, true) + check_average(NAN, true) + check_average(INFINITY, true);
    failed += check_average(NAN, false) + check_left_out();
    return failed != 0;
}
