/* dist/sampler.c -- pictures from the generator under training. */
#include <string.h>

#include "dist/trainer.h"

gd_status gd__open_sampler(gd_trainer *t) {
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    size_t image = (size_t)(g->height * g->width_px * g->channels);
    GD_TRY(gd_instance_make_on(t->sampler, t->memory[0], &t->sampler_instance));
    t->sampler_z = gd__aligned(GD__SAMPLER_BATCH * (size_t)g->latent * sizeof(float));
    t->sampler_image = gd__aligned(GD__SAMPLER_BATCH * image * sizeof(float));
    if (!t->sampler_z || !t->sampler_image) GD_FAIL(NOMEM, "sampler: no memory for %d images", GD__SAMPLER_BATCH);
    GD_TRY(gd_instance_bind(t->sampler_instance, "z", t->sampler_z));
    return gd_instance_bind(t->sampler_instance, "image", t->sampler_image);
}

static gd_status bind_weights(gd_trainer *t, bool ema) {
    for (int i = 0; i < t->n_slots; i++) {
        const gd__slot *s = &t->slot[i];
        const float *average = s->info->buffer ? t->buffer_ema : t->group[s->group].ema;
        float *data =
            ema && average && s->group == GD_GROUP_G ? (float *)(uintptr_t)average + s->offset : gd__slot_data(t, s);
        GD_TRY(gd_instance_bind(t->sampler_instance, s->name, data));
    }
    return GD_OK;
}

gd_status gd_trainer_sample(gd_trainer *t, int64_t n, const float *z, bool ema, float *out) {
    if (!t->sampler_instance) GD_FAIL(INTERNAL, "sample: only rank 0 has a sampler");
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    size_t latent = (size_t)g->latent, image = (size_t)(g->height * g->width_px * g->channels);
    gd_run_args args = {.seed = t->config.seed};
    GD_TRY(bind_weights(t, ema));
    for (int64_t at = 0; at < n; at += GD__SAMPLER_BATCH) {
        size_t now = (size_t)(n - at < GD__SAMPLER_BATCH ? n - at : GD__SAMPLER_BATCH);
        memset(t->sampler_z, 0, GD__SAMPLER_BATCH * latent * sizeof *z);
        memcpy(t->sampler_z, z + (size_t)at * latent, now * latent * sizeof *z);
        GD_TRY(gd_instance_run(t->sampler_instance, &args));
        memcpy(out + (size_t)at * image, t->sampler_image, now * image * sizeof *out);
    }
    return GD_OK;
}
