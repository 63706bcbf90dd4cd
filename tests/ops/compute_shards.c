/* tests/ops/compute_shards.c -- a batch cut into shards gives what the whole batch gives.
 *
 * The graph of one shard is run on every shard in lockstep; at each collective pause this test adds
 * up. Loss, parameter gradients and the gradients of a gradient penalty must equal those of the
 * graph of the whole batch, through batch norm over all shards. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "cases.h"

enum { BATCH = 6, SHARD_MAX = 3 };

static gd_node noise(gd_graph *g, int64_t n) {
    return gd_random(g, GD_RANDOM_NORMAL, GD_PURPOSE_LATENT_D, gd_shape4(n, 4, 5, 2));
}

static gd_node critic(gd_graph *g, gd_node x) {
    gd_node w = gd_param(g, "w", gd_shape4(3, 3, 3, 2), 0), v = gd_param(g, "v", gd_shape4(2, 2, 2, 3), 0);
    gd_node h = gd_conv(g, x, w, (gd_conv_attr){1, {1, 1, 0, 1}});
    h = gd_leaky(g, gd_normalize(g, h, 7, 1e-3, true), 0.2);
    /* rstd is used on its own, too, so that its rule meets several shards */
    h = gd_mul(g, h, gd_shift(g, gd_norm_rstd(g, x, 15, 1e-2, true), 1));
    return gd_tanh(g, gd_conv(g, h, v, (gd_conv_attr){2, {0}}));
}

/* Per-shard program: sums over shards of loss, dw, dv. */
static ops_prog make(int shards) {
    gd_graph *g = ops_graph(shards);
    int64_t n = BATCH / shards;
    gd_node x = gd_input(g, "x", GD_F32, gd_shape4(n, 4, 5, 2)), dx, d[2];
    gd_node both = gd_add(g, x, gd_scale(g, noise(g, n), 0.1));
    gd_node y = critic(g, both);
    gd_grad(g, gd_sum_all(g, y), GD_NONE, 1, &both, &dx);
    gd_node norm = gd_sqrt(g, gd_shift(g, gd_sum(g, gd_square(g, dx), 14), 1e-3));
    gd_node penalty = gd_sum_all(g, gd_square(g, gd_shift(g, norm, -1)));
    gd_node loss = gd_add(g, gd_sum_all(g, gd_square(g, y)), penalty);
    gd_node p[2] = {gd_param(g, "w", gd_shape4(3, 3, 3, 2), 0), gd_param(g, "v", gd_shape4(2, 2, 2, 3), 0)};
    gd_grad(g, loss, GD_NONE, 2, p, d);
    gd_output out[3] = {{"loss", gd_allreduce(g, loss)}, {"dw", gd_allreduce(g, d[0])}, {"dv", gd_allreduce(g, d[1])}};
    ops_need(gd_graph_status(g), "graph");
    ops_prog o = ops_make(g, gd_executor_ref(), 3, out, GD_PRECISION_F32);
    gd_graph_free(g);
    return o;
}

static void fill(ops_prog *p, int shard) {
    int64_t n;
    double all[BATCH * 4 * 5 * 2], *x = ops_value(p, "x", &n);
    ops_draw(all, BATCH * 4 * 5 * 2, OPS_NORMAL, 3, 0);
    memcpy(x, all + shard * n, (size_t)n * sizeof *x);
    double *w = ops_value(p, "w", &n);
    ops_draw(w, n, OPS_NORMAL, 3, 1);
    double *v = ops_value(p, "v", &n);
    ops_draw(v, n, OPS_NORMAL, 3, 2);
}

/* Adds the shards' parts up and gives every shard the sum. */
static void serve(int shards, gd_pause *pause) {
    for (int64_t i = 0; i < pause[0].count; i++) {
        double sum = 0;
        for (int s = 0; s < shards; s++) sum += ((double *)(void *)pause[s].data)[i];
        for (int s = 0; s < shards; s++) ((double *)(void *)pause[s].data)[i] = sum;
    }
}

/* All shards to the end; returns the number of collectives served, -1 when they fell out of step. */
static int run(int shards, ops_prog *p) {
    gd_pause pause[SHARD_MAX];
    int served = 0;
    for (int s = 0; s < shards; s++) {
        gd_run_args a = {.seed = 9, .step = 2, .sample = (uint64_t)(100 + s * BATCH / shards)};
        ops_send(&p[s]);
        ops_need(gd_instance_start(p[s].i, &a, &pause[s]), "start");
    }
    while (pause[0].kind != GD_PAUSE_DONE) {
        for (int s = 1; s < shards; s++)
            if (pause[s].kind != pause[0].kind || pause[s].count != pause[0].count) return -1;
        if (pause[0].kind == GD_PAUSE_COLLECTIVE) {
            serve(shards, pause);
            served++;
        }
        for (int s = 0; s < shards; s++) ops_need(gd_instance_resume(p[s].i, &pause[s]), "resume");
    }
    for (int s = 0; s < shards; s++) {
        ops_need(gd_instance_check(p[s].i), "guards");
        ops_fetch(&p[s]);
    }
    return served;
}

static int compare(int shards, ops_prog *p, const ops_prog *whole, int *compared) {
    static const char *const name[] = {"loss", "dw", "dv"};
    int bad = 0;
    for (int s = 0; s < shards; s++)
        for (int i = 0; i < 3; i++) {
            int64_t n;
            const double *is = ops_value(&p[s], name[i], &n), *want = ops_value(whole, name[i], NULL);
            double error = ops_distance(is, want, n, 1e-3);
            ++*compared;
            if (error <= 1e-11) continue;
            printf("FAIL %d shards, shard %d: %s differs by %.3g\n", shards, s, name[i], error);
            bad++;
        }
    return bad;
}

int main(void) {
    ops_prog whole = make(1);
    fill(&whole, 0);
    int bad = run(1, &whole) != 0, compared = 0;
    if (bad) printf("FAIL one shard has collectives\n");
    for (int shards = 2; shards <= SHARD_MAX; shards++) {
        ops_prog p[SHARD_MAX];
        for (int s = 0; s < shards; s++) {
            p[s] = make(shards);
            fill(&p[s], s);
        }
        int served = run(shards, p);
        if (served < 3) {
            printf("FAIL %d shards: %d collectives\n", shards, served);
            bad++;
        } else {
            bad += compare(shards, p, &whole, &compared);
        }
        printf("%d shards: %d collectives\n", shards, served);
        for (int s = 0; s < shards; s++) ops_free(&p[s]);
    }
    ops_free(&whole);
    printf("%d tensors compared, %d failures\n", compared, bad);
    return bad || compared == 0;
}
