/* dist/pool_there.c -- image pools in memory of the executor. Which image goes where is the host's decision (pool.h), which needs no
 * image; images stay there, those of other ranks come there (compute/exchange.h), and nobody waits for them. */
#include "dist/pool.h"
#include "dist/trainer.h"

_Static_assert((int)GD_IMAGE_PLACE == (int)GD_POOL_PLACE, "decisions go there as they are");

static size_t image_bytes(const gd_trainer *t) { return t->pool_floats * sizeof(float); }
static size_t shard_bytes(const gd_trainer *t) { return (size_t)t->n * image_bytes(t); }
static size_t pool_bytes(const gd_trainer *t) { return (size_t)t->config.pool_size * image_bytes(t); }

bool gd__pools_are_there(const gd_trainer *t, int ranks) {
    const gd_executor *x = t->config.executor;
    return x->alloc && x->images_out && (ranks == 1 || t->there);
}

gd_status gd__mirror_pools(gd_trainer *t) {
    size_t batch = (size_t)t->config.gan.global_batch;
    for (int p = 0; p < t->n_pools; p++) GD_TRY(gd__space_mirror(&t->space, t->pool[p].image, pool_bytes(t)));
    GD_TRY(gd__space_mirror(&t->space, t->pool_refused, batch * sizeof *t->pool_refused));
    gd_status st = gd__space_alloc(&t->space, batch * image_bytes(t), &t->pool_came);
    return st == GD_OK ? GD_OK : gd_context(st, "pools: %zu images on the device", batch);
}

gd_status gd__fetch_pools(gd_trainer *t) {
    if (!t->pool_newer) return GD_OK;
    for (int p = 0; p < t->n_pools; p++) GD_TRY(gd__space_get(&t->space, t->pool[p].image, pool_bytes(t)));
    t->pool_newer = false;
    return GD_OK;
}

static gd_status put_pools(gd_trainer *t) {
    if (!t->pool_changed) return GD_OK;
    for (int p = 0; p < t->n_pools; p++) GD_TRY(gd__space_put(&t->space, t->pool[p].image, pool_bytes(t)));
    t->pool_changed = false;
    return GD_OK;
}

/* The images that all ranks made for pool k, in the order of the global batch. */
static gd_status gather(gd_trainer *t, const gd__pool *k) {
    size_t bytes = shard_bytes(t);
    if (gd_comm_size(t->comm) > 1) return gd__gather_there(t, gd__space_at(&t->space, k->made[0]), bytes, t->pool_came);
    for (int64_t l = 0; l < t->local; l++)
        GD_TRY(t->space.executor->copy(NULL, (char *)t->pool_came + (size_t)l * bytes,
                                       gd__space_at(&t->space, k->made[l]), bytes));
    return GD_OK;
}

/* Where each image of the batch goes, from what each place keeps. */
static void turn_round(gd_trainer *t) {
    for (int64_t i = 0; i < t->config.gan.global_batch; i++) t->pool_to[i] = -1;
    for (int64_t place = 0; place < t->config.pool_size; place++)
        if (t->pool_keep[place] < GD_POOL_PLACE) t->pool_to[t->pool_keep[place]] = (int32_t)place;
}

/* What D sees comes before the places change. */
gd_status gd__turn_there(gd_trainer *t, const gd__pool *k) {
    const gd_executor *x = t->config.executor;
    const gd_images u = {.floats = t->pool_floats,
                         .count = (size_t)t->config.gan.global_batch,
                         .places = (size_t)t->config.pool_size,
                         .made = t->pool_came,
                         .pool = gd__space_at(&t->space, k->image)};
    GD_TRY(put_pools(t));
    GD_TRY(gather(t, k));
    for (int64_t l = 0; l < t->local; l++)
        GD_TRY(x->images_out(&u, t->pool_give + (t->first + l) * t->n, (size_t)t->n,
                             gd__space_at(&t->space, k->given[l])));
    turn_round(t);
    GD_TRY(x->images_in(&u, t->pool_to, gd__space_at(&t->space, t->pool_refused)));
    t->pool_newer = true;
    return gd__later_refused(t);
}
