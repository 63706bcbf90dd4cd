/* dist/watching.c -- the watchers of a trainer: looks at samples, and what follows when something is sick. */
#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rng.h"
#include "dist/trainer.h"

enum { NOISE_SAMPLES = GD__SAMPLER_BATCH, TRANSLATIONS = 8 /* they are made one by one */ };
static const uint32_t STREAM = 1u << 16; /* of latents: others than those of sample sheets */

/* ---- what is looked at: always the same inputs, on rank 0 ---- */

static bool is_on(const gd_trainer *t) {
    return t->config.watch.action[GD_WATCH_COLLAPSE] != GD_WATCH_OFF && t->config.watch.every > 0 &&
           t->config.gan.topology != GD_TOPOLOGY_CLASSIFIER;
}

static int directions(const gd_trainer *t) {
    if (!is_on(t)) return 0;
    return t->config.gan.topology == GD_TOPOLOGY_TWO_WAY ? 2 : 1;
}

const char *gd__spread_metric(const gd_trainer *t, int direction) {
    static const char *const names[2][2] = {{"spread", NULL}, {"spread_ab", "spread_ba"}};
    int n = directions(t);
    return direction < n ? names[n - 1][direction] : NULL;
}

/* Floats of one input and of one output of the generator of a direction. */
static void sizes(const gd_trainer *t, int direction, size_t *in, size_t *out) {
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    size_t side = (size_t)(g->height * g->width_px), a = side * (size_t)g->in_channels, b = side * (size_t)g->channels;
    bool noise = t->config.gan.topology == GD_TOPOLOGY_NOISE;
    *in = noise ? (size_t)g->latent : direction ? b : a;
    *out = direction ? a : b;
}

static int samples(const gd_trainer *t, int direction) {
    if (t->config.gan.topology == GD_TOPOLOGY_NOISE) return NOISE_SAMPLES;
    int64_t n = gd_dataset_part_count(t->data, direction);
    return n < TRANSLATIONS ? (int)n : TRANSLATIONS;
}

size_t gd__looks_bytes(const gd_trainer *t) {
    size_t bytes = 0, in, out;
    for (int d = 0; d < directions(t); d++) {
        sizes(t, d, &in, &out);
        bytes += (size_t)samples(t, d) * (in + out) * sizeof(float);
    }
    return bytes;
}

static void draw_latent(const gd_trainer *t, int64_t number, float *z, size_t n) {
    gd_rng rng = {.seed = t->config.seed, .purpose = GD_PURPOSE_SAMPLES | STREAM};
    gd_latent law = t->config.gan.latent;
    if (law == GD_LATENT_NORMAL || law == GD_LATENT_SPHERE) {
        double squares = 0;
        gd_rng_normal(&rng, (uint64_t)number, 0, (uint32_t)n, z);
        for (size_t i = 0; i < n; i++) squares += (double)z[i] * z[i];
        for (size_t i = 0; i < n && law == GD_LATENT_SPHERE; i++) z[i] = (float)(z[i] / sqrt(squares));
        return;
    }
    double half = law == GD_LATENT_UNIFORM ? 1 : sqrt(3);
    gd_rng_uniform(&rng, (uint64_t)number, 0, (uint32_t)n, z);
    for (size_t i = 0; i < n; i++) z[i] = (float)((2 * (double)z[i] - 1) * half);
}

/* Sample `number` of a part in the range that the networks see. room: for the sample as the set has it. */
static gd_status read_image(const gd_trainer *t, int part, int64_t number, void *room, float *out, size_t n) {
    const unsigned char *u8 = room;
    GD_TRY(gd_dataset_get(t->data, part, number, (uint64_t)number, room));
    gd_range range = t->config.gan.range;
    for (size_t i = 0; i < n; i++)
        out[i] = range == GD_RANGE_RAW    ? ((const float *)room)[i]
                 : range == GD_RANGE_UNIT ? (float)u8[i] / 255.0f
                                          : (float)u8[i] / 127.5f - 1;
    return GD_OK;
}

static gd_status fill(gd_trainer *t, int d, size_t in) {
    bool noise = t->config.gan.topology == GD_TOPOLOGY_NOISE;
    gd__look *k = &t->look[d];
    void *room = noise ? NULL : malloc(gd_sample_bytes(gd_dataset_shape(t->data, d)));
    gd_status st = noise || room ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "watch.collapse: no memory");
    for (int i = 0; i < k->n && st == GD_OK; i++) {
        float *to = k->in + (size_t)i * in;
        if (noise) draw_latent(t, i, to, in);
        else st = read_image(t, d, i, room, to, in);
    }
    free(room);
    return st;
}

gd_status gd__open_looks(gd_trainer *t) {
    for (int d = 0; d < directions(t) && gd_comm_rank(t->comm) == 0; d++) {
        gd__look *k = &t->look[d];
        size_t in, out;
        sizes(t, d, &in, &out);
        k->n = samples(t, d);
        k->in = gd__aligned((size_t)k->n * in * sizeof(float));
        k->out = gd__aligned((size_t)k->n * out * sizeof(float));
        if (!k->in || !k->out) GD_FAIL(NOMEM, "watch.collapse: no memory for %d samples", k->n);
        GD_TRY(fill(t, d, in));
    }
    return GD_OK;
}

void gd__free_looks(gd_trainer *t) {
    for (int d = 0; d < GD_WATCH_DIRECTIONS; d++) {
        free(t->look[d].in);
        free(t->look[d].out);
    }
}

gd_status gd__take_look(gd_trainer *t) {
    for (int d = 0; d < directions(t); d++) {
        gd__look *k = &t->look[d];
        size_t in, out;
        if (k->n < 2) continue; /* other ranks, and sets of one image */
        sizes(t, d, &in, &out);
        if (t->config.gan.topology == GD_TOPOLOGY_NOISE) GD_TRY(gd_trainer_sample(t, k->n, k->in, false, k->out));
        else GD_TRY(gd_trainer_translate(t, d, k->n, k->in, false, k->out));
        double spread = gd_watch_spread(k->out, k->n, (int64_t)out);
        t->measured[gd__metric_index(t, gd__spread_metric(t, d)) * t->handed] = spread;
    }
    return GD_OK;
}

/* ---- what was seen ---- */

static double value_of(const gd_trainer *t, const gd__control *c, const char *name) {
    int m = name ? gd__metric_index(t, name) : -1;
    return m < 0 ? NAN : c->metric[m];
}

/* How far D's loss, without penalty, is above the least that it can be; NaN: it knows no least (Wasserstein). */
static double rest_of(const gd_trainer *t, const gd__control *c) {
    const gd_loss_spec *l = &t->config.gan.loss;
    double sides = t->config.gan.topology == GD_TOPOLOGY_TWO_WAY ? 2 : 1, scale = l->d_scale > 0 ? l->d_scale : 1;
    double p = l->label_real, least = p > 0 && p < 1 ? -p * log(p) - (1 - p) * log(1 - p) : 0;
    if (l->kind == GD_LOSS_WASSERSTEIN) return NAN;
    return (value_of(t, c, "loss_d_real") + value_of(t, c, "loss_d_fake")) / (scale * sides) - least;
}

static gd_watch_sight sight_of(const gd_trainer *t, const gd__control *c) {
    gd_watch_sight v = {.grad_g = value_of(t, c, "grad_norm_g"),
                        .grad_d = value_of(t, c, "grad_norm_d"),
                        .loss_d = value_of(t, c, "loss_d"),
                        .accuracy = value_of(t, c, "d_accuracy"),
                        .rest = rest_of(t, c)};
    for (int d = 0; d < GD_WATCH_DIRECTIONS; d++) v.spread[d] = value_of(t, c, gd__spread_metric(t, d));
    v.grad_g_rms = v.grad_g / sqrt(fmax(1, (double)t->group[GD_GROUP_G].count));
    return v;
}

/* ---- what follows ---- */

static const char *advice(gd_watch w) {
    static const char *const text[GD_WATCH_COUNT] = {
        [GD_WATCH_COLLAPSE] = "lower the learning rates, or use a penalty (loss.penalty)",
        [GD_WATCH_VANISHED] = "use another loss.kind (non-saturating, wasserstein), or fewer discriminator updates",
        [GD_WATCH_EXPLODING] = "use loss.penalty or loss.clip, or lower optimizer.d.lr",
        [GD_WATCH_SATURATED] = "lower optimizer.d.lr, or use loss.noise or loss.penalty",
    };
    return text[w];
}

gd_status gd__judge(gd_trainer *t, const gd__control *c) {
    const gd_watch_action *action = t->config.watch.action;
    gd_watch_sight v = sight_of(t, c);
    bool begun[GD_WATCH_COUNT];
    int worst = -1;
    char text[256];
    gd_watch_advance(&t->config.watch, &v, &t->counters.watch, begun);
    for (int w = 0; w < GD_WATCH_COUNT; w++) {
        if (!begun[w]) continue;
        gd_watch_explain((gd_watch)w, &v, &t->counters.watch, text, sizeof text);
        if (action[w] == GD_WATCH_WARN && gd_comm_rank(t->comm) == 0)
            GD_LOG(DIST, WARN, "step %lld: %s; %s (watch.%s)", (long long)t->plan.step, text, advice((gd_watch)w),
                   gd_watch_name((gd_watch)w));
        if (action[w] > GD_WATCH_WARN && (worst < 0 || action[w] < action[worst])) worst = w; /* stop before rollback */
    }
    if (worst < 0) return GD_OK;
    gd_watch_explain((gd_watch)worst, &v, &t->counters.watch, text, sizeof text);
    t->go_back = action[worst] == GD_WATCH_ROLLBACK;
    t->sickness = worst;
    GD_FAIL(NUMERIC, "step %lld: %s; %s (watch.%s)", (long long)t->plan.step, text, advice((gd_watch)worst),
            gd_watch_name((gd_watch)worst));
}
