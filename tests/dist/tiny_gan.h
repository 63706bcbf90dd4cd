/* A GAN so small that many of them train in a second: DCGAN on 16 x 16 random pictures. */
#ifndef GANDIST_TESTS_TINY_GAN_H
#define GANDIST_TESTS_TINY_GAN_H

#include <math.h>
#include <stdint.h>

#include "data/dataset.h"
#include "dist/train.h"
#include "dist/trainer.h"
#include "tests/dist/rig.h"

enum { TINY_BATCH = 12, TINY_STEPS_MAX = 64 };

static inline gd_dataset *tiny_data(int64_t count) {
    gd_dataset *d = NULL;
    gd_dataset_spec s = {.source = "synthetic", .size = 16, .channels = 1, .seed = 21, .count = count};
    EXPECT_OK(gd_dataset_open(&s, &d));
    return d;
}

static inline gd_train_config tiny_config(void) {
    gd_net_spec net = {.arch = "dcgan", .latent = 6, .height = 16, .width_px = 16, .channels = 1, .width = 4};
    gd_optimizer_spec adam = {.kind = GD_ADAM, .lr = 2e-3, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8};
    gd_train_config c = {.seed = 5,
                         .gan = {.generator = net, .discriminator = net, .global_batch = TINY_BATCH, .sync = true},
                         .optimizer = {adam, adam},
                         .schedule = {.d_steps = 1, .g_steps = 1},
                         .ema_decay = 0.9,
                         .total_steps = 1000,
                         .executor = gd_executor_cpu(),
                         .loader_workers = 1,
                         .recipe_text = "name: tiny\n",
                         .recipe_fingerprint = 7,
                         .run_id = "tiny",
                         .checkpoint_keep = 3,
                         .log_every = 1};
    c.gan.generator.generator = true;
    return c;
}

/* What rank 0 was told. */
typedef struct tiny_record {
    int n;
    double loss_d[TINY_STEPS_MAX], loss_g[TINY_STEPS_MAX], grad_d[TINY_STEPS_MAX], grad_g[TINY_STEPS_MAX];
    gd_metrics last;
} tiny_record;

static inline double tiny_metric(const gd_metrics *m, const char *name) {
    for (int i = 0; i < m->count; i++)
        if (!strcmp(m->name[i], name)) return m->value[i];
    EXPECT(false, "no metric %s", name);
    return NAN;
}

static inline gd_status tiny_remember(void *ctx, const gd_metrics *m) {
    tiny_record *r = ctx;
    EXPECT(r->n < TINY_STEPS_MAX);
    r->loss_d[r->n] = tiny_metric(m, "loss_d");
    r->loss_g[r->n] = tiny_metric(m, "loss_g");
    r->grad_d[r->n] = tiny_metric(m, "grad_norm_d");
    r->grad_g[r->n] = tiny_metric(m, "grad_norm_g");
    r->last = *m;
    r->n++;
    return GD_OK;
}

/* Trains to `steps` on c's ranks; returns the state hash. r (may be NULL): filled on rank 0 of c. */
static inline uint64_t tiny_train(gd_comm *c, const gd_train_config *config, const gd_dataset *d, int64_t steps, tiny_record *r) {
    gd_trainer *t = NULL;
    gd_train_hooks h = {.ctx = r, .on_metrics = r ? tiny_remember : NULL};
    if (r) r->n = 0;
    EXPECT_OK(gd_trainer_new(c, config, d, &h, &t));
    EXPECT_OK(gd_trainer_run(t, steps));
    EXPECT(gd_trainer_step(t) == steps);
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

/* The same by one rank alone, the others asleep; every rank gets the hash, rank 0 the record. */
static inline uint64_t tiny_train_alone(const gd_train_config *config, const gd_dataset *d, int64_t steps, tiny_record *r) {
    uint64_t hash = 0;
    if (rank == 0) {
        gd_comm *self;
        EXPECT_OK(gd_comm_self(&self));
        hash = tiny_train(self, config, d, steps, r);
        gd_comm_free(self);
    }
    EXPECT_OK(gd_comm_bcast(comm, 0, &hash, sizeof hash));
    return hash;
}

/* A folder of this test and number of ranks, empty at the start. */
static inline const char *tiny_folder(const char *name) {
    static char path[1024];
    const char *base = getenv("GANDIST_TEST_TMP");
    snprintf(path, sizeof path, "%s/%s-%d", base ? base : ".", name, size);
    return path;
}

#endif
