/* dist/sampler.c -- pictures from the generators under training. */
#include <string.h>

#include "dist/trainer.h"

static gd_status open_one(gd_trainer *t, int direction, const char *in) {
    gd_instance **i = &t->sampler_instance[direction];
    if (!t->sampler[direction]) return GD_OK;
    GD_TRY(gd_instance_make_on(t->sampler[direction], t->memory[0], i));
    GD_TRY(gd_instance_bind(*i, in, gd__space_at(&t->space, t->sampler_in)));
    return gd_instance_bind(*i, "image", gd__space_at(&t->space, t->sampler_image));
}

gd_status gd__open_sampler(gd_trainer *t) {
    bool noise = gd_gan_get_spec(t->gan)->topology == GD_TOPOLOGY_NOISE;
    size_t in, out;
    gd__sampler_room(t, &in, &out);
    t->sampler_in = gd__aligned(in * sizeof(float));
    t->sampler_image = gd__aligned(out * sizeof(float));
    if (!t->sampler_in || !t->sampler_image) GD_FAIL(NOMEM, "sampler: no memory for %zu floats", in + out);
    GD_TRY(gd__space_mirror(&t->space, t->sampler_in, in * sizeof(float)));
    GD_TRY(gd__space_mirror(&t->space, t->sampler_image, out * sizeof(float)));
    const gd__arenas *g = &t->group[GD_GROUP_G];
    if (!t->resident) GD_TRY(gd__space_mirror(&t->space, g->ema, g->count * sizeof(float)));
    if (!t->there) GD_TRY(gd__space_mirror(&t->space, t->buffer_ema, t->buffer_count * sizeof(float)));
    for (int d = 0; d < 2; d++) GD_TRY(open_one(t, d, noise ? "z" : "x"));
    return GD_OK;
}

static gd_status bind_weights(gd_trainer *t, gd_instance *to, bool ema) {
    for (int i = 0; i < t->n_slots; i++) {
        const gd__slot *s = &t->slot[i];
        const float *average = s->info->buffer ? t->buffer_ema : t->group[s->group].ema;
        float *data =
            ema && average && s->group == GD_GROUP_G ? (float *)(uintptr_t)average + s->offset : gd__slot_data(t, s);
        GD_TRY(gd_instance_bind(to, s->name, gd__space_at(&t->space, data)));
    }
    return GD_OK;
}

/* Programs that train read neither averages nor, between their runs, statistics. */
static gd_status put_weights(gd_trainer *t, bool ema) {
    const gd__arenas *g = &t->group[GD_GROUP_G];
    GD_TRY(gd__put_params(t));
    GD_TRY(gd__put_statistics(t));
    if (ema && g->ema && !t->resident) GD_TRY(gd__space_put(&t->space, g->ema, g->count * sizeof(float)));
    if (ema && t->buffer_ema && !t->there) GD_TRY(gd__space_put(&t->space, t->buffer_ema, t->buffer_count * sizeof(float)));
    return GD_OK;
}

/* n inputs of `in` floats through sampler `direction`, `at_once` in a run, to n images of `image` floats. */
static gd_status run(gd_trainer *t, int direction, int64_t n, int64_t at_once, const float *x, size_t in, bool ema,
                     float *out, size_t image) {
    gd_instance *i = t->sampler_instance[direction];
    gd_run_args args = {.seed = t->config.seed};
    GD_TRY(put_weights(t, ema));
    GD_TRY(bind_weights(t, i, ema));
    for (int64_t at = 0; at < n; at += at_once) {
        size_t now = (size_t)(n - at < at_once ? n - at : at_once);
        args.sample = (uint64_t)at; /* each image has its own dropout */
        memset(t->sampler_in, 0, (size_t)at_once * in * sizeof *x);
        memcpy(t->sampler_in, x + (size_t)at * in, now * in * sizeof *x);
        GD_TRY(gd__space_put(&t->space, t->sampler_in, (size_t)at_once * in * sizeof *x));
        GD_TRY(gd_instance_run(i, &args));
        GD_TRY(gd__space_get(&t->space, t->sampler_image, now * image * sizeof *out));
        memcpy(out + (size_t)at * image, t->sampler_image, now * image * sizeof *out);
    }
    return GD_OK;
}

static gd_status check(const gd_trainer *t, int direction, bool noise) {
    if (gd_comm_rank(t->comm) != 0) GD_FAIL(INTERNAL, "sample: only rank 0 has a sampler");
    if (t->ahead) GD_FAIL(INTERNAL, "sample: the next iteration's program is at work in this memory");
    if (noise != (gd_gan_get_spec(t->gan)->topology == GD_TOPOLOGY_NOISE) || direction < 0 || direction > 1 ||
        !t->sampler_instance[direction])
        GD_FAIL(INTERNAL, "sample: this topology has no %s", noise ? "generator from latents" : "such translator");
    return GD_OK;
}

gd_status gd_trainer_sample(gd_trainer *t, int64_t n, const float *z, bool ema, float *out) {
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    GD_TRY(check(t, 0, true));
    return run(t, 0, n, GD__SAMPLER_BATCH, z, (size_t)g->latent, ema, out,
               (size_t)(g->height * g->width_px * g->channels));
}

gd_status gd_trainer_translate(gd_trainer *t, int direction, int64_t n, const float *x, bool ema, float *out) {
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    size_t side = (size_t)(g->height * g->width_px), a = side * (size_t)g->in_channels, b = side * (size_t)g->channels;
    GD_TRY(check(t, direction, false));
    return run(t, direction, n, 1, x, direction ? b : a, ema, out, direction ? a : b);
}
