/* tests/cuda/nvrtc.c -- NVRTC compiles the generated kernels; how many registers they need, and that nothing spills.
 *
 * Usage: [--families|--recipes] [--every N] ARCH... : kernels of the small families' steps (default) or of all shipped recipes at
 * their own size, f32 and bf16, and the optimisers; every N-th of them. Skipped without NVRTC. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "compute/cuda/executor.h"
#include "compute/cuda/nvrtc.h"
#include "compute/cuda/optimizer.h"
#include "families.h"
#include "recipes.h"
#include "text_executor.h"

/* 65536 registers of a multiprocessor and blocks of 256 threads: four blocks at once have 64 each. More than 128, and
 * two blocks no longer fit. */
enum { REGISTERS_MAX = 128, COMFORTABLE = 64 };

static int failures;

static void need(gd_status st, const char *what) {
    if (st == GD_OK) return;
    fprintf(stderr, "FAIL %s: %s\n", what, gd_error_message());
    exit(1);
}

/* ---- kernels ---- */

static void plan(void *ctx, const char *name, const gd_step_graph *s) {
    (void)ctx;
    for (int half = 0; half < 2; half++) {
        gd_program_opts o = {.precision = half ? GD_PRECISION_BF16 : GD_PRECISION_F32};
        gd_program *p;
        need(gd_program_make(s->graph, text_planner(), s->n_outputs, s->outputs, &o, &p), name);
        gd_program_free(p);
    }
}

static void plan_families(void) {
    int n;
    const family *list = families(&n);
    for (int i = 0; i < n; i++) {
        gd_gan_spec spec = list[i].spec;
        gd_gan *m;
        spec.global_batch = 4;
        spec.sync = true;
        need(gd_gan_new(&spec, &m), list[i].name);
        for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
            gd_step_graph s;
            if ((k != GD_STEP_D && k != GD_STEP_G && k != GD_STEP_GD_SHARED) || !gd_gan_has_step(m, (gd_step_kind)k))
                continue;
            need(gd_gan_step(m, (gd_step_kind)k, true, 1, &s), list[i].name);
            plan(NULL, list[i].name, &s);
            gd_step_graph_free(&s);
        }
        gd_gan_free(m);
    }
}

/* ---- compiling ---- */

typedef struct report {
    int kernels, most, comfortable, cached;
    const char *which;
    size_t bytes;
} report;

static void look_at(const gd__cu_kernel *k, int arch, const gd__cu_code *code, report *r) {
    r->kernels++;
    r->bytes += code->bytes;
    r->cached += code->cached;
    r->comfortable += code->registers <= COMFORTABLE;
    if (code->registers > r->most) r->most = code->registers, r->which = k->name;
    if (code->registers <= REGISTERS_MAX && code->spilled == 0) return;
    failures++;
    printf("FAIL sm_%d %s: %d registers, %d bytes spilled; expected at most %d and none\n%s", arch, k->name,
           code->registers, code->spilled, REGISTERS_MAX, k->source);
}

static void compile_all(const gd__cu_compiler *c, const gd__cu_kernels *k, int arch, int every) {
    report r = {0};
    for (int i = 0; i < k->n; i += every) {
        gd__cu_code code;
        gd_status st = gd__cu_compile(c, &k->list[i], arch, &code);
        if (st != GD_OK) {
            failures++;
            printf("FAIL sm_%d: %s\n%s", arch, gd_error_message(), k->list[i].source);
            continue;
        }
        look_at(&k->list[i], arch, &code, &r);
        gd__cu_code_free(&code);
    }
    printf("sm_%d: %d kernels (%d from the cache), %zu kB, at most %d registers (%s), %d with at most %d, nothing "
           "spilled\n",
           arch, r.kernels, r.cached, r.bytes / 1000, r.most, r.which ? r.which : "-", r.comfortable, COMFORTABLE);
}

/* ---- the cache ---- */

static void expect(bool good, const char *what) {
    failures += !good;
    if (!good) printf("FAIL %s\n", what);
}

/* What comes from disk is what was compiled; a damaged file is not used. */
static void check_cache(const gd__cu_kernel *k, const char *folder) {
    gd__cu_compiler *c;
    gd__cu_code first, again;
    char **names;
    size_t count = 0, bytes;
    void *file;
    need(gd_dir_remove(folder), folder);
    need(gd__cu_compiler_open(folder, &c), folder);
    need(gd__cu_compile(c, k, 90, &first), k->name);
    need(gd__cu_compile(c, k, 90, &again), k->name);
    expect(!first.cached && again.cached, "the second time comes from the cache");
    expect(first.bytes == again.bytes && !memcmp(first.cubin, again.cubin, first.bytes), "the same code");
    expect(first.registers == again.registers && first.spilled == again.spilled, "the same report");
    gd__cu_code_free(&again);
    expect(gd_io_get()->list(folder, &names, &count) == 0 && count == 1, "one file");
    char *path = gd_path_join(folder, names[0]);
    need(gd_file_read(path, 1 << 24, &file, &bytes), path);
    ((unsigned char *)file)[bytes / 2] ^= 1;
    need(gd_file_write(path, file, bytes), path);
    need(gd__cu_compile(c, k, 90, &again), k->name);
    expect(!again.cached, "a damaged file is compiled anew");
    gd__cu_code_free(&again);
    need(gd__cu_compile(c, k, 90, &again), k->name);
    expect(again.cached, "and written anew");
    gd__cu_code_free(&again);
    gd__cu_code_free(&first);
    free(file);
    free(path);
    gd_io_free_names(names, count);
    gd__cu_compiler_close(c);
}

static void check_errors(const gd__cu_compiler *c) {
    gd__cu_kernel bad = {
        .name = "kbad", .pointers = 1, .source = "extern \"C\" __global__ void kbad(float *x) { x[0] = y; }\n"};
    gd__cu_code code;
    expect(gd__cu_compile(c, &bad, 90, &code) == GD_INTERNAL && strstr(gd_error_message(), "kbad"), "names the kernel");
    expect(gd__cu_compile(c, &bad, 12345, &code) == GD_UNSUP && strstr(gd_error_message(), "sm_12345"),
           "names the arch");
    gd_error_clear();
}

int main(int argc, char **argv) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    char folder[1024];
    gd__cu_compiler *c;
    gd__cu_kernels optimisers = {0};
    int every = 1, recipes = 0, at = 1, index;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (!strcmp(argv[at], "--recipes")) recipes = 1;
        if (!strcmp(argv[at], "--every") && at + 1 < argc) every = atoi(argv[++at]);
    }
    if (gd__cu_compiler_open(NULL, &c) != GD_OK) {
        printf("skipped: %s\n", gd_error_message());
        return 77;
    }
    for (int rule = 0; rule < GD__CU_RULES; rule++)
        for (int average = 0; average < 2; average++)
            need(gd__cu_optimizer(&optimisers, (gd__cu_rule)rule, average, &index), "optimiser");
    need(gd__cu_squares(&optimisers, &index), "sums of squares");
    need(gd__cu_norm(&optimisers, &index), "norms");
    need(gd__cu_average(&optimisers, &index), "averages");
    need(gd__cu_keep(&optimisers, &index), "running statistics");
    for (unsigned load = 64; load <= 286; load += 222) {
        /* Small pictures; and the cut of pix2pix, with more than 2^31 bytes in all. */
        const gd_feed_opts feed = {.take = load > 64 ? 12000 : 128,
                                   .pixel = load > 64 ? 3 : 1,
                                   .height = load,
                                   .width = load,
                                   .out_height = load > 64 ? 256 : 64,
                                   .out_width = load > 64 ? 256 : 64};
        need(gd__cu_feed_kernel(&feed, &optimisers, &index), "batches");
    }
    static const size_t image[] = {256 * 256 * 3, 255}; /* in fours, and not */
    for (int i = 0; i < 2; i++) {
        need(gd__cu_images_out_kernel(image[i], &optimisers, &index), "images of a pool, out");
        need(gd__cu_images_in_kernel(image[i], &optimisers, &index), "images of a pool, in");
    }
    snprintf(folder, sizeof folder, "%s/cubins", tmp ? tmp : "/tmp");
    check_cache(&optimisers.list[0], folder);
    check_errors(c);
    if (recipes) recipes_each(NULL, plan, NULL);
    else plan_families();
    for (; at < argc; at++) {
        compile_all(c, &optimisers, atoi(argv[at]), 1);
        compile_all(c, text_planned(), atoi(argv[at]), every);
    }
    gd__cu_kernels_free(&optimisers);
    gd__cu_compiler_close(c);
    printf("NVRTC %d kernels known, %d failures\n", text_planned()->n, failures);
    return failures != 0;
}
