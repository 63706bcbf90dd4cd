/* dist/pool.c -- the rule of image pools, and their turning over in a trainer. */
#include "dist/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dist/trainer.h"

void gd_pool_decide(const gd_pool_rules *r, uint64_t draw, int64_t before, int64_t batch, int32_t *give,
                    int32_t *keep) {
    gd_rng rng = {.seed = r->seed, .purpose = GD_PURPOSE_POOL | r->pool << 16, .step = draw};
    for (int64_t place = 0; place < r->size; place++) keep[place] = (int32_t)(GD_POOL_PLACE + place);
    for (int64_t i = 0; i < batch; i++) {
        give[i] = (int32_t)i;
        if (before + i < r->size) {
            keep[before + i] = (int32_t)i;
            continue;
        }
        /* One number says both whether and which. */
        uint64_t place = gd_rng_below(&rng, (uint64_t)i, 2 * (uint64_t)r->size);
        if (place >= (uint64_t)r->size) continue;
        give[i] = keep[place];
        keep[place] = (int32_t)i;
    }
}

/* ---- in a trainer ---- */

static size_t shard_bytes(const gd_trainer *t) { return (size_t)t->n * t->pool_floats * sizeof(float); }

/* What programs are bound to. */
static gd_status mirror_shards(gd_trainer *t) {
    for (int p = 0; p < t->n_pools; p++)
        for (int64_t l = 0; l < t->local; l++) {
            GD_TRY(gd__space_mirror(&t->space, t->pool[p].made[l], shard_bytes(t)));
            GD_TRY(gd__space_mirror(&t->space, t->pool[p].given[l], shard_bytes(t)));
        }
    return GD_OK;
}

/* What a turn needs, beside the pools. */
static bool take_memory(gd_trainer *t) {
    size_t size = (size_t)t->config.pool_size, batch = (size_t)t->config.gan.global_batch;
    size_t image = t->pool_floats * sizeof(float);
    t->pool_give = calloc(batch, sizeof *t->pool_give);
    t->pool_keep = calloc(size, sizeof *t->pool_keep);
    if (t->pools_there) {
        t->pool_to = calloc(batch, sizeof *t->pool_to);
        t->pool_refused = gd__aligned(batch * sizeof *t->pool_refused);
    } else {
        t->pool_all = gd__aligned(batch * image);
        t->pool_mine = gd__aligned((size_t)(t->local * t->n) * image);
    }
    return t->pool_give && t->pool_keep &&
           (t->pools_there ? t->pool_to && t->pool_refused : t->pool_all && t->pool_mine);
}

static bool take_pool(const gd_trainer *t, gd__pool *k) {
    bool ok = (k->image = gd__aligned((size_t)t->config.pool_size * t->pool_floats * sizeof(float))) &&
              (k->made = calloc((size_t)t->local, sizeof *k->made)) &&
              (k->given = calloc((size_t)t->local, sizeof *k->given));
    for (int64_t l = 0; ok && l < t->local; l++)
        ok = (k->made[l] = gd__aligned(shard_bytes(t))) && (k->given[l] = gd__aligned(shard_bytes(t)));
    return ok;
}

gd_status gd__make_pools(gd_trainer *t) {
    gd_shape image;
    t->n_pools = gd_gan_pools(t->gan, &image);
    if (!t->n_pools) return GD_OK;
    if (t->config.pool_size < 1)
        GD_FAIL(CONFIG, "pool.size: %lld; expected at least 1", (long long)t->config.pool_size);
    t->pool_image = image;
    t->pool_floats = (size_t)gd_shape_count(image);
    t->pools_there = gd__pools_are_there(t, gd_comm_size(t->comm));
    bool ok = take_memory(t);
    for (int p = 0; ok && p < t->n_pools; p++) ok = take_pool(t, &t->pool[p]);
    if (!ok)
        GD_FAIL(NOMEM, "pool.size: no memory for %d pools of %lld images", t->n_pools, (long long)t->config.pool_size);
    GD_TRY(mirror_shards(t));
    return t->pools_there ? gd__mirror_pools(t) : GD_OK;
}

void gd__free_pools(gd_trainer *t) {
    for (int p = 0; p < GD__POOLS_MAX; p++) {
        gd__pool *k = &t->pool[p];
        for (int64_t l = 0; k->given && l < t->local; l++) free(k->given[l]);
        for (int64_t l = 0; k->made && l < t->local; l++) free(k->made[l]);
        free(k->given);
        free(k->made);
        free(k->image);
    }
    if (t->pool_came) gd__space_free(&t->space, t->pool_came);
    free(t->pool_to);
    free(t->pool_refused);
    free(t->pool_mine);
    free(t->pool_give);
    free(t->pool_keep);
    free(t->pool_all);
}

/* The image that a decision names. */
static const float *image_of(const gd_trainer *t, const gd__pool *k, int32_t which) {
    const float *from = which >= GD_POOL_PLACE ? k->image : t->pool_all;
    return from + (size_t)(which % GD_POOL_PLACE) * t->pool_floats;
}

static bool is_finite(const float *x, size_t n) {
    float sum = 0; /* of zeros, but for what is not finite */
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i] - x[i];
    return sum == 0;
}

/* An image stays for many iterations: one that is not finite comes in nowhere. All ranks see the same images. */
static void keep_image(gd_trainer *t, const gd__pool *k, int64_t place) {
    const float *image = image_of(t, k, t->pool_keep[place]);
    if (is_finite(image, t->pool_floats))
        memcpy(k->image + (size_t)place * t->pool_floats, image, t->pool_floats * sizeof(float));
    else t->now.skipped |= GD__NO_IMAGES;
}

/* What D sees comes before the places change. */
static gd_status turn_over(gd_trainer *t, const gd__pool *k) {
    size_t bytes = t->pool_floats * sizeof(float);
    for (int64_t l = 0; l < t->local; l++) {
        for (int64_t i = 0; i < t->n; i++)
            memcpy(k->given[l] + (size_t)i * t->pool_floats, image_of(t, k, t->pool_give[(t->first + l) * t->n + i]),
                   bytes);
        GD_TRY(gd__space_put(&t->space, k->given[l], shard_bytes(t)));
    }
    for (int64_t place = 0; place < t->config.pool_size; place++)
        if (t->pool_keep[place] < GD_POOL_PLACE) keep_image(t, k, place);
    return GD_OK;
}

/* The images that all ranks made for pool k, in the order of the global batch, into pool_all. */
static gd_status gather(gd_trainer *t, const gd__pool *k) {
    size_t shard = (size_t)t->n * t->pool_floats;
    for (int64_t l = 0; l < t->local; l++) {
        GD_TRY(gd__space_get(&t->space, k->made[l], shard_bytes(t)));
        memcpy(t->pool_mine + (size_t)l * shard, k->made[l], shard * sizeof(float));
    }
    return gd_comm_allgather(t->comm, t->pool_mine, (size_t)t->local * shard * sizeof(float), t->pool_all);
}

/* Every D update of a run with pools turns them over once, so D's counter says how many images they were given. */
gd_status gd__turn_pools(gd_trainer *t, int64_t draw) {
    int64_t batch = t->config.gan.global_batch, before = t->counters.updates[GD_GROUP_D] * batch;
    double start = gd__seconds();
    for (int p = 0; p < t->n_pools; p++) {
        gd_pool_rules rules = {.seed = gd__seed(t), .pool = (uint32_t)p, .size = t->config.pool_size};
        gd_pool_decide(&rules, (uint64_t)draw, before, batch, t->pool_give, t->pool_keep);
        if (t->pools_there) {
            GD_TRY(gd__turn_there(t, &t->pool[p]));
            continue;
        }
        GD_TRY(gather(t, &t->pool[p]));
        GD_TRY(turn_over(t, &t->pool[p]));
    }
    t->now.collective += gd__seconds() - start;
    return GD_OK;
}
