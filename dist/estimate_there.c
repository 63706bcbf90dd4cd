/* dist/estimate_there.c -- what a run takes of memory of an executor that is not the host's: mirrors, programs, batches. */
#include "dist/trainer.h"

static void count_state(const gd_trainer *t, gd_there_cost *out) {
    size_t buffers = t->buffer_count * sizeof(float);
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        size_t moments = t->resident ? (size_t)gd_optimizer_moments(&t->config.optimizer[g]) : 0;
        out->param_bytes += a->count * sizeof(float);
        out->grad_bytes += (size_t)t->local * a->count * sizeof(float);
        out->optimizer_bytes += moments * (a->last - a->first) * sizeof(float);
        if (t->there && t->sliced)
            out->optimizer_bytes += (a->count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK * sizeof(double);
        if (g == GD_GROUP_G && t->config.ema_decay > 0) out->ema_bytes = a->count * sizeof(float) + buffers;
    }
    out->param_bytes += ((size_t)t->local + t->there) * buffers; /* there: those of before a program, too */
}

/* What programs are told and tell, and what rank 0's pictures go through. */
static size_t io_bytes(const gd_trainer *t) {
    size_t in, made, pick = (size_t)(t->config.gan.penalty.pick > 1 ? t->config.gan.penalty.pick : 1);
    gd__sampler_room(t, &in, &made);
    return ((size_t)t->local * GD__METRICS_MAX * GD__UNIT + 2 * GD__UNIT + pick + in + made) * sizeof(float);
}

/* What programs of the local shards make for pools and get of them; and the pools, with what all ranks made for one. */
static size_t pool_bytes(const gd_trainer *t, int ranks) {
    gd_shape image;
    size_t pools = (size_t)gd_gan_pools(t->gan, &image), bytes = (size_t)gd_shape_count(image) * sizeof(float);
    size_t batch = (size_t)t->config.gan.global_batch, images = pools * 2 * (size_t)(t->local * t->n);
    if (!pools || !gd__pools_are_there(t, ranks)) return images * bytes;
    return (images + pools * (size_t)t->config.pool_size + batch) * bytes + batch * sizeof(float);
}

/* Batches as they travel: picks, and samples before they are cut out, unless those are there. */
static void count_feeds(const gd_trainer *t, gd_there_cost *out) {
    size_t samples = (size_t)(t->n * t->local), piece = 0;
    size_t depth = (size_t)(t->config.loader_depth > 0 ? t->config.loader_depth : 2);
    for (int p = 0; p < gd_dataset_parts(t->data); p++) {
        size_t each = out->set_bytes ? 0 : gd_sample_bytes(gd_dataset_whole_shape(t->data, p));
        piece += (size_t)gd_pick_bytes(samples) + samples * each;
    }
    out->data_bytes += GD__FEED_SLOTS * piece;
    out->pinned_bytes += (depth + GD__FEED_SLOTS) * piece;
}

static void add_up(gd_there_cost *k) {
    k->total_bytes = k->param_bytes + k->grad_bytes + k->optimizer_bytes + k->ema_bytes + k->activation_bytes +
                     k->data_bytes + k->set_bytes + k->pool_bytes;
}

/* Whether the set stays there is decided when all else but batches on their way is there. */
static gd_status count_set(const gd_trainer *t, gd_there_cost *out) {
    char why[160] = "";
    GD_TRY(t->config.executor->room(&out->free_bytes));
    add_up(out);
    size_t left = out->free_bytes > out->total_bytes ? out->free_bytes - out->total_bytes : 0;
    if (t->config.resident == GD_RESIDENT_AUTO) gd__judge_set(t, left, why, sizeof why);
    if (t->config.resident != GD_RESIDENT_NEVER && !*why) out->set_bytes = gd__set_bytes(t);
    return GD_OK;
}

gd_status gd__count_there(const gd_trainer *t, int ranks, size_t arena_bytes, gd_there_cost *out) {
    const gd_executor *x = t->config.executor;
    size_t sample = 0;
    *out = (gd_there_cost){.pinned_bytes = x->pinned_bytes};
    count_state(t, out);
    out->activation_bytes = (size_t)t->local * arena_bytes + io_bytes(t);
    for (int p = 0; p < gd_dataset_parts(t->data); p++) sample += gd_sample_bytes(gd_dataset_shape(t->data, p));
    out->data_bytes = (size_t)(t->n * t->local) * sample;
    out->pool_bytes = pool_bytes(t, ranks);
    if (x->feed_new) {
        GD_TRY(count_set(t, out));
        count_feeds(t, out);
    }
    add_up(out);
    return GD_OK;
}
