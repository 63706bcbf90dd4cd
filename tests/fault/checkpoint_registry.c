/* Everything that changes while training is in the checkpoint: each registered tensor and counter takes part in
 * the hashes, every value that a step changes belongs to a registered tensor, and a trainer whose other memory
 * is filled with rubbish after loading goes on to the same bytes. */
#include "base/hash.h"
#include "base/io.h"
#include "tests/dist/variants.h"

static gd_dataset *data;

static gd_train_config config_of(int kind) {
    gd_train_config c = tiny_config();
    c.shards = 2;
    c.schedule = (gd_schedule_spec){.d_steps = 2, .g_steps = 1, .warmup_steps = 1, .warmup_d_steps = 3};
    if (kind == 1) {
        c.optimizer[GD_GROUP_G] = (gd_optimizer_spec){
            .kind = GD_SGD, .lr = 1e-2, .momentum = 0.5, .momentum_final = 0.9, .momentum_steps = 6};
        c.optimizer[GD_GROUP_D] = (gd_optimizer_spec){.kind = GD_RMSPROP, .lr = 1e-3, .alpha = 0.99, .eps = 1e-8};
    }
    if (kind == 2)
        c.schedule.adaptive =
            (gd_adaptive_spec){.kind = GD_ADAPTIVE_GRAD_RATIO, .low = 0.9, .high = 1.1, .min = 1, .max = 4, .every = 2};
    return c;
}
enum { OWN = 3, KINDS = OWN + VARIANTS }; /* and every topology, penalty, pool and schedule there is */

static gd_train_config kind_of(int kind) {
    if (kind < OWN) return config_of(kind);
    gd_train_config c = variants[kind - OWN].config();
    c.shards = 2;
    return c;
}

static const gd_dataset *data_of(int kind) { return kind < OWN ? data : *variants[kind - OWN].data; }
static const char *name_of(int kind) { return kind < OWN ? "dcgan" : variants[kind - OWN].name; }

static gd_trainer *trainer_of(const gd_train_config *c, int kind) {
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    EXPECT_OK(gd_trainer_new(comm, c, data_of(kind), &none, &t));
    return t;
}

/* ---- what is registered counts ---- */

static void every_registered_value_counts(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        gd_train_config c = kind_of(kind);
        gd_trainer *t = trainer_of(&c, kind);
        EXPECT_OK(gd_trainer_run(t, 3));
        uint64_t replica = gd__replica_hash(t), state = gd_trainer_state_hash(t);
        const gd_state *s = gd_trainer_state(t);
        EXPECT(s->count > 5);
        for (int i = 0; i < s->count; i++) {
            uint32_t *last = (uint32_t *)(void *)s->tensor[i].data + gd_shape_count(s->tensor[i].shape) - 1;
            *last ^= 1;
            EXPECT(gd__replica_hash(t) != replica, "%s is not in the replica hash", s->tensor[i].name);
            EXPECT(gd_trainer_state_hash(t) != state, "%s is not in the state hash", s->tensor[i].name);
            *last ^= 1;
        }
        unsigned char *counter = (unsigned char *)&t->counters; /* all of them, to the last byte */
        for (size_t b = 0; b < sizeof t->counters; b++) {
            if (!c.schedule.adaptive.kind && b >= offsetof(gd_counters, adaptive)) break; /* nothing adapts */
            if (b >= offsetof(gd_counters, watch)) break;                                 /* watchers only look */
            counter[b] ^= 1;
            EXPECT(gd_trainer_state_hash(t) != state, "byte %zu of the counters is not in the state hash", b);
            EXPECT(gd__replica_hash(t) != replica, "byte %zu of the counters is not in the replica hash", b);
            counter[b] ^= 1;
        }
        EXPECT(gd_trainer_state_hash(t) == state && gd__replica_hash(t) == replica);
        gd_trainer_free(t);
    }
}

/* ---- what changes is registered ---- */

static bool is_registered(const gd_state *s, const float *x) {
    for (int i = 0; i < s->count; i++)
        if (x >= s->tensor[i].data && x < s->tensor[i].data + gd_shape_count(s->tensor[i].shape)) return true;
    return false;
}

/* D is not averaged: where its statistics would be in the average there are values that nobody reads (and
 * that are rubbish in nothing_else_counts). */
static bool is_unused(const gd_trainer *t, const float *x) {
    for (int i = 0; t->buffer_ema && i < t->n_slots; i++) {
        const gd__slot *s = &t->slot[i];
        const float *from = t->buffer_ema + s->offset;
        if (s->info->buffer && s->group != GD_GROUP_G && x >= from && x < from + s->count) return true;
    }
    return false;
}

typedef struct arena {
    const char *name;
    float *x, *before;
    size_t n;
} arena;

static int list_arenas(const gd_trainer *t, arena *out) {
    int n = 0;
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        float *const all[] = {a->param, a->moment[0], a->moment[1], a->ema};
        for (int k = 0; k < 4; k++)
            if (all[k]) out[n++] = (arena){.name = g == GD_GROUP_G ? "G" : "D", .x = all[k], .n = a->count};
    }
    out[n++] = (arena){.name = "buffers", .x = t->buffer[0], .n = t->buffer_count};
    if (t->buffer_ema) out[n++] = (arena){.name = "ema of buffers", .x = t->buffer_ema, .n = t->buffer_count};
    for (int p = 0; p < t->n_pools; p++)
        out[n++] = (arena){.name = "pool", .x = t->pool[p].image, .n = (size_t)t->config.pool_size * t->pool_floats};
    return n;
}

static void every_changed_value_is_registered(void) {
    enum { ARENAS = 16 };
    for (int kind = 0; kind < KINDS; kind++) {
        gd_train_config c = kind_of(kind);
        gd_trainer *t = trainer_of(&c, kind);
        arena list[ARENAS];
        int n = list_arenas(t, list);
        for (int i = 0; i < n; i++) {
            list[i].before = malloc(list[i].n * sizeof(float) + 1);
            EXPECT(list[i].before);
            memcpy(list[i].before, list[i].x, list[i].n * sizeof(float));
        }
        EXPECT_OK(gd_trainer_run(t, 3));
        const gd_state *s = gd_trainer_state(t);
        size_t changed = 0;
        for (int i = 0; i < n; i++) {
            for (size_t k = 0; k < list[i].n; k++) {
                if (!memcmp(&list[i].x[k], &list[i].before[k], sizeof(float)) || is_unused(t, &list[i].x[k])) continue;
                changed++;
                EXPECT(is_registered(s, &list[i].x[k]), "%s: value %zu of %s changes and is not registered",
                       name_of(kind), k, list[i].name);
            }
            free(list[i].before);
        }
        EXPECT(changed > 500, "%s: %zu values changed", name_of(kind), changed);
        if (t->n_pools) EXPECT(list[n - 1].n > 1000);
        gd_trainer_free(t);
    }
}

/* ---- nothing else counts ---- */

static void rubbish(void *x, size_t bytes) { memset(x, 0x7b, bytes); }

/* Images on their way into and out of the pools. */
static void scramble_pools(gd_trainer *t) {
    const size_t images = (size_t)t->n * t->pool_floats * sizeof(float);
    for (int p = 0; p < t->n_pools; p++)
        for (int64_t l = 0; l < t->local; l++) {
            rubbish(t->pool[p].made[l], images);
            rubbish(t->pool[p].given[l], images);
        }
    if (!t->n_pools) return;
    rubbish(t->pool_mine, (size_t)t->local * images);
    rubbish(t->pool_all, (size_t)t->shards * images);
    rubbish(t->pool_give, (size_t)t->config.gan.global_batch * sizeof *t->pool_give);
    rubbish(t->pool_keep, (size_t)t->config.pool_size * sizeof *t->pool_keep);
}

/* Gradients, activations, batches, the other shards' statistics, scratch. */
static void scramble(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        gd__arenas *a = &t->group[g];
        for (int64_t l = 0; l < t->local; l++) /* between the tensors there are zeros, for ever */
            for (int i = 0; i < t->n_slots; i++)
                if (t->slot[i].group == (gd_group)g && !t->slot[i].info->buffer)
                    rubbish(a->grad[l] + t->slot[i].offset, t->slot[i].count * sizeof(float));
        rubbish(a->partial, (a->count / 4096 + 1) * sizeof *a->partial);
    }
    for (int64_t l = 0; l < t->local; l++) {
        rubbish(t->memory[l], t->memory_bytes);
        if (l > 0) rubbish(t->buffer[l], t->buffer_count * sizeof(float));
    }
    for (int i = 0; i < t->n_slots; i++)
        if (t->buffer_ema && t->slot[i].info->buffer && t->slot[i].group != GD_GROUP_G)
            rubbish(t->buffer_ema + t->slot[i].offset, t->slot[i].count * sizeof(float));
    rubbish(t->metric_value, (size_t)t->local * GD__METRICS_MAX * GD__UNIT * sizeof(float));
    rubbish(t->measured, (size_t)(t->n_metrics * t->handed) * sizeof(double));
    rubbish(t->shard_value, (size_t)t->local * sizeof *t->shard_value);
    scramble_pools(t);
    if (t->controls.noise_std) rubbish(t->controls.noise_std, sizeof(float));
    if (t->controls.rate) rubbish(t->controls.rate, sizeof(float));
    rubbish(&t->now, sizeof t->now);
    rubbish(&t->plan, sizeof t->plan);
    rubbish(&t->next, sizeof t->next);
    rubbish(t->times, sizeof t->times);
}

static void nothing_else_counts(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        gd_train_config c = kind_of(kind);
        uint64_t want = tiny_train(comm, &c, data_of(kind), 6, NULL);
        c.checkpoint_dir = tiny_folder("registry");
        EXPECT_OK(gd_comm_barrier(comm));
        if (rank == 0) EXPECT_OK(gd_dir_remove(c.checkpoint_dir));
        EXPECT_OK(gd_comm_barrier(comm));
        gd_trainer *t = trainer_of(&c, kind);
        int64_t step = 0;
        EXPECT_OK(gd_trainer_run(t, 3));
        gd_trainer_free(t);
        t = trainer_of(&c, kind);
        scramble(t);
        EXPECT_OK(gd_trainer_resume(t, &step));
        EXPECT(step == 3);
        scramble(t); /* and what loading itself left */
        EXPECT_OK(gd_trainer_run(t, 6));
        EXPECT(gd_trainer_state_hash(t) == want, "%s: memory that is not registered has an influence", name_of(kind));
        gd_trainer_free(t);
    }
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(every_registered_value_counts),
        RIG_TEST(every_changed_value_is_registered),
        RIG_TEST(nothing_else_counts),
    };
    open_variant_data();
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    close_variant_data();
    return failed;
}
