#include "launch/cost.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/text.h"
#include "compute/cpu/dnnl_shim.h"
#include "launch/progress.h"

double gd_peak_flops(void) {
    enum { SIDE = 1024, RUNS = 4 };
    size_t bytes = (size_t)SIDE * SIDE * sizeof(float);
    float *a = malloc(bytes), *b = malloc(bytes), *c = malloc(bytes);
    double best = 0;
    for (int i = 0; a && b && i < SIDE * SIDE; i++) a[i] = b[i] = (float)(i % 7) * 0.1f;
    for (int i = 0; a && b && c && i < RUNS; i++) {
        double t = gd_seconds();
        if (gd_dnnl_sgemm(false, false, SIDE, SIDE, SIDE, a, b, c) != GD_OK) break;
        t = gd_seconds() - t;
        double flops = 2.0 * SIDE * SIDE * SIDE / t;
        if (flops > best) best = flops;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

static void print_bytes(FILE *out, const char *label, size_t bytes) {
    char text[32];
    gd_text_bytes(bytes, text, sizeof text);
    fprintf(out, "  %-22s %12s\n", label, text);
}

/* Convolutions reach about three quarters of the matrix product's rate (docs/performance.md). */
static const double reachable_share = 0.75;

static void print_text(const gd_train_cost *k, size_t process, int64_t global, int ranks, double seconds, FILE *out) {
    char g[32], d[32];
    gd_text_count((uint64_t)k->params[GD_GROUP_G], g, sizeof g);
    gd_text_count((uint64_t)k->params[GD_GROUP_D], d, sizeof d);
    fprintf(out, "parameters\n  %-22s %12s\n  %-22s %12s\n", "generator", g, "discriminator", d);
    fprintf(out, "memory of one rank (%d rank%s)\n", ranks, ranks > 1 ? "s" : "");
    print_bytes(out, "parameters", k->param_bytes);
    print_bytes(out, "gradients", k->grad_bytes);
    print_bytes(out, "optimizer", k->optimizer_bytes);
    print_bytes(out, "moving average", k->ema_bytes);
    print_bytes(out, "activations, scratch", k->activation_bytes);
    print_bytes(out, "data", k->loader_bytes);
    print_bytes(out, "snapshot", k->snapshot_bytes);
    print_bytes(out, "program, libraries", process);
    print_bytes(out, "total", k->total_bytes);
    fprintf(out, "all-reduced\n");
    print_bytes(out, "per G update", k->reduce_bytes[GD_GROUP_G]);
    print_bytes(out, "per D update", k->reduce_bytes[GD_GROUP_D]);
    print_bytes(out, "batch statistics", k->collective_bytes);
    fprintf(
        out,
        "one iteration (global batch %lld)\n  %-22s %9.2f GFLOP\n  %-22s %10.3f s, from %.0f GFLOP/s measured here\n",
        (long long)global, "work of one rank", 1e-9 * k->flops, "estimated time", seconds,
        1e-9 * k->flops / seconds / reachable_share);
}

static void print_json(const gd_train_cost *k, int ranks, double seconds, FILE *out) {
    fprintf(out,
            "{\"params_g\":%lld,\"params_d\":%lld,\"ranks\":%d,\"param_bytes\":%zu,\"grad_bytes\":%zu,"
            "\"optimizer_bytes\":%zu,\"ema_bytes\":%zu,\"activation_bytes\":%zu,\"loader_bytes\":%zu,\"snapshot_"
            "bytes\":%zu,"
            "\"total_bytes\":%zu,\"reduce_bytes_g\":%zu,\"reduce_bytes_d\":%zu,\"collective_bytes\":%zu,"
            "\"flops\":%.0f,\"seconds\":%.6f}\n",
            (long long)k->params[GD_GROUP_G], (long long)k->params[GD_GROUP_D], ranks, k->param_bytes, k->grad_bytes,
            k->optimizer_bytes, k->ema_bytes, k->activation_bytes, k->loader_bytes, k->snapshot_bytes, k->total_bytes,
            k->reduce_bytes[GD_GROUP_G], k->reduce_bytes[GD_GROUP_D], k->collective_bytes, k->flops, seconds);
}

/* What this process holds already: the program, its libraries, MPI, the data set kept in memory. */
static size_t process_bytes(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (size_t)u.ru_maxrss * 1024;
}

gd_status gd_cost_print(const gd_train_config *c, const gd_dataset *d, int ranks, bool json, FILE *out) {
    gd_train_cost k;
    GD_TRY(gd_train_estimate(c, d, ranks, &k));
    size_t process = process_bytes(); /* planning has loaded what a run loads, too */
    k.total_bytes += process;
    double peak = gd_peak_flops();
    double seconds = peak > 0 ? k.flops / (peak * reachable_share) : 0;
    if (json) print_json(&k, ranks, seconds, out);
    else print_text(&k, process, c->gan.global_batch, ranks, seconds, out);
    return GD_OK;
}
