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

static void print_there(const gd_there_cost *k, FILE *out) {
    print_bytes(out, "parameters", k->param_bytes);
    print_bytes(out, "gradients", k->grad_bytes);
    print_bytes(out, "optimizer", k->optimizer_bytes);
    print_bytes(out, "moving average", k->ema_bytes);
    print_bytes(out, "activations, scratch", k->activation_bytes);
    print_bytes(out, "batches", k->data_bytes);
    if (k->set_bytes) print_bytes(out, "data set", k->set_bytes);
    if (k->pool_bytes) print_bytes(out, "image pools", k->pool_bytes);
    print_bytes(out, "total", k->total_bytes);
    if (k->free_bytes) print_bytes(out, "free there now", k->free_bytes);
}

static void print_host(const gd_train_cost *k, size_t process, FILE *out) {
    print_bytes(out, "parameters", k->param_bytes);
    print_bytes(out, "gradients", k->grad_bytes);
    print_bytes(out, "optimizer", k->optimizer_bytes);
    print_bytes(out, "moving average", k->ema_bytes);
    print_bytes(out, "activations, scratch", k->activation_bytes);
    print_bytes(out, "data", k->loader_bytes);
    print_bytes(out, "snapshot", k->snapshot_bytes);
    if (k->there.pinned_bytes) print_bytes(out, "pinned, for copies", k->there.pinned_bytes);
    print_bytes(out, "program, libraries", process);
    print_bytes(out, "total", k->total_bytes);
}

static bool is_there(const gd_train_cost *k) { return k->there.total_bytes > 0; }

/* seconds 0: not known. */
static void print_text(const gd_train_cost *k, const char *device, size_t process, int64_t global, int ranks,
                       double seconds, FILE *out) {
    char g[32], d[32];
    const char *s = ranks > 1 ? "s" : "";
    gd_text_count((uint64_t)k->params[GD_GROUP_G], g, sizeof g);
    gd_text_count((uint64_t)k->params[GD_GROUP_D], d, sizeof d);
    fprintf(out, "device %s\n", device);
    fprintf(out, "parameters\n  %-22s %12s\n  %-22s %12s\n", "generator", g, "discriminator", d);
    if (is_there(k)) {
        fprintf(out, "memory of one rank on the device (%d rank%s), without what CUDA's libraries take\n", ranks, s);
        print_there(&k->there, out);
    }
    fprintf(out, "memory of one rank%s (%d rank%s)\n", is_there(k) ? " on its host" : "", ranks, s);
    print_host(k, process, out);
    fprintf(out, "all-reduced\n");
    print_bytes(out, "per G update", k->reduce_bytes[GD_GROUP_G]);
    print_bytes(out, "per D update", k->reduce_bytes[GD_GROUP_D]);
    print_bytes(out, "batch statistics", k->collective_bytes);
    fprintf(out, "one iteration (global batch %lld)\n  %-22s %9.2f GFLOP\n", (long long)global, "work of one rank",
            1e-9 * k->flops);
    if (seconds > 0)
        fprintf(out, "  %-22s %10.3f s, from %.0f GFLOP/s measured here\n", "estimated time", seconds,
                1e-9 * k->flops / seconds / reachable_share);
}

static void print_there_json(const gd_there_cost *k, FILE *out) {
    fprintf(out,
            ",\"there\":{\"param_bytes\":%zu,\"grad_bytes\":%zu,\"optimizer_bytes\":%zu,\"ema_bytes\":%zu,"
            "\"activation_bytes\":%zu,\"data_bytes\":%zu,\"set_bytes\":%zu,\"pool_bytes\":%zu,\"total_bytes\":%zu,"
            "\"free_bytes\":%zu},\"pinned_bytes\":%zu",
            k->param_bytes, k->grad_bytes, k->optimizer_bytes, k->ema_bytes, k->activation_bytes, k->data_bytes,
            k->set_bytes, k->pool_bytes, k->total_bytes, k->free_bytes, k->pinned_bytes);
}

static void print_json(const gd_train_cost *k, int ranks, double seconds, FILE *out) {
    fprintf(out,
            "{\"params_g\":%lld,\"params_d\":%lld,\"ranks\":%d,\"param_bytes\":%zu,\"grad_bytes\":%zu,"
            "\"optimizer_bytes\":%zu,\"ema_bytes\":%zu,\"activation_bytes\":%zu,\"loader_bytes\":%zu,\"snapshot_"
            "bytes\":%zu,"
            "\"total_bytes\":%zu,\"reduce_bytes_g\":%zu,\"reduce_bytes_d\":%zu,\"collective_bytes\":%zu,"
            "\"flops\":%.0f",
            (long long)k->params[GD_GROUP_G], (long long)k->params[GD_GROUP_D], ranks, k->param_bytes, k->grad_bytes,
            k->optimizer_bytes, k->ema_bytes, k->activation_bytes, k->loader_bytes, k->snapshot_bytes, k->total_bytes,
            k->reduce_bytes[GD_GROUP_G], k->reduce_bytes[GD_GROUP_D], k->collective_bytes, k->flops);
    if (seconds > 0) fprintf(out, ",\"seconds\":%.6f", seconds);
    if (is_there(k)) print_there_json(&k->there, out);
    fprintf(out, "}\n");
}

/* What this process holds already: the program, its libraries, MPI, the data set kept in memory. */
static size_t process_bytes(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (size_t)u.ru_maxrss * 1024;
}

gd_status gd_cost_print(const gd_train_config *c, const gd_dataset *d, const char *device, int ranks, bool json,
                        FILE *out) {
    gd_train_cost k;
    GD_TRY(gd_train_estimate(c, d, ranks, &k));
    size_t process = process_bytes(); /* planning has loaded what a run loads, too */
    k.total_bytes += process;
    double peak = is_there(&k) ? 0 : gd_peak_flops(); /* the host's says nothing about another device */
    double seconds = peak > 0 ? k.flops / (peak * reachable_share) : 0;
    if (json) print_json(&k, ranks, seconds, out);
    else print_text(&k, device, process, c->gan.global_batch, ranks, seconds, out);
    return GD_OK;
}
