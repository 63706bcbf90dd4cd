/* Every kind of GAN by several ranks against the same by one: losses to rounding, and with virtual shards every bit;
 * what is particular about a variant, as the trainer sees it. */
#include <omp.h>

#include "tests/dist/variants.h"

/* ---- all metrics of a run ---- */

enum { STEPS = 20 };
typedef struct record {
    int n, count;
    char name[GD__METRICS_MAX][32];
    double value[STEPS][GD__METRICS_MAX];
} record;

static gd_status remember(void *ctx, const gd_metrics *m) {
    record *r = ctx;
    EXPECT(r->n < STEPS && m->count <= GD__METRICS_MAX);
    r->count = m->count;
    for (int i = 0; i < m->count; i++) {
        snprintf(r->name[i], sizeof r->name[i], "%s", m->name[i]);
        r->value[r->n][i] = m->value[i];
    }
    r->n++;
    return GD_OK;
}

static uint64_t train(gd_comm *c, const gd_train_config *config, const gd_dataset *d, int64_t steps, record *r) {
    gd_train_hooks h = {.ctx = r, .on_metrics = remember};
    gd_trainer *t = NULL;
    r->n = 0;
    EXPECT_OK(gd_trainer_new(c, config, d, &h, &t));
    EXPECT_OK(gd_trainer_run(t, steps));
    uint64_t hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    return hash;
}

static uint64_t train_alone(const gd_train_config *config, const gd_dataset *d, int64_t steps, record *r) {
    uint64_t hash = 0;
    gd_comm *self;
    EXPECT_OK(gd_comm_self(&self));
    if (rank == 0) hash = train(self, config, d, steps, r);
    gd_comm_free(self);
    EXPECT_OK(gd_comm_bcast(comm, 0, &hash, sizeof hash));
    return hash;
}

/* ---- the same result by any number of ranks ---- */

/* Of a mean whose terms are about 1 in size, however small it is itself. */
static double relative(double a, double b) { return fabs(a - b) / fmax(fabs(a), 0.1); }

/* Losses and their terms. */
static bool is_loss(const char *name) {
    static const char *const terms[] = {"loss_", "l1", "cycle_", "identity", "feature", "penalty"};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++)
        if (!strncmp(name, terms[i], strlen(terms[i]))) return true;
    return false;
}

/* A rounded sum may turn a ReLU over, which gradients see at once and losses only through later updates: norms of
 * gradients are compared less strictly. */
static void expect_close(const record *alone, const record *together, const char *what) {
    EXPECT(alone->n == STEPS && together->n == STEPS && alone->count == together->count, "%s", what);
    for (int m = 0; m < alone->count; m++) {
        EXPECT(!strcmp(alone->name[m], together->name[m]));
        bool loss = is_loss(alone->name[m]);
        int measured = 0;
        for (int i = 0; i < STEPS; i++) {
            double a = alone->value[i][m], b = together->value[i][m];
            EXPECT(isnan(a) == isnan(b), "%s, step %d: %s", what, i + 1, alone->name[m]);
            if (isnan(a)) continue;
            measured++;
            EXPECT(relative(a, b) < (loss ? 1e-5 : 2e-2), "%s, step %d: %s is %.9g, alone %.9g", what, i + 1,
                   alone->name[m], b, a);
        }
        EXPECT(!loss || measured, "%s: no %s", what, alone->name[m]);
    }
}

static void losses_agree_to_rounding(void) {
    static record alone, together;
    for (int v = 0; v < VARIANTS; v++) {
        gd_train_config c = variants[v].config();
        train_alone(&c, *variants[v].data, STEPS, &alone);
        train(comm, &c, *variants[v].data, STEPS, &together);
        if (rank == 0) expect_close(&alone, &together, variants[v].name);
    }
}

static void expect_same(const record *a, const record *b, const char *what) {
    EXPECT(a->n == b->n && a->count == b->count, "%s", what);
    for (int i = 0; i < a->n; i++)
        for (int m = 0; m < a->count; m++)
            EXPECT(!memcmp(&a->value[i][m], &b->value[i][m], sizeof(double)) ||
                       (isnan(a->value[i][m]) && isnan(b->value[i][m])),
                   "%s, step %d: %s is %.17g, alone %.17g", what, i + 1, a->name[m], b->value[i][m], a->value[i][m]);
}

static void shards_give_the_same_bits(void) {
    static record alone, together;
    for (int v = 0; v < VARIANTS; v++) {
        gd_train_config c = variants[v].config();
        c.shards = 4;
        c.check_every = 1;
        uint64_t want = train_alone(&c, *variants[v].data, 7, &alone);
        uint64_t got = train(comm, &c, *variants[v].data, 7, &together);
        EXPECT(got == want, "%s: another state than by one rank", variants[v].name);
        if (rank == 0) expect_same(&alone, &together, variants[v].name);
    }
}

/* ---- what is counted ---- */

static gd_trainer *trained(const gd_train_config *c, const gd_dataset *d, int64_t steps) {
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    EXPECT_OK(gd_trainer_new(comm, c, d, &none, &t));
    EXPECT_OK(gd_trainer_run(t, steps));
    return t;
}

static void expect_counts(const gd_trainer *t, int64_t d, int64_t g, int64_t draws, int64_t batches) {
    const gd_counters *c = &t->counters;
    EXPECT(c->updates[GD_GROUP_D] == d && c->updates[GD_GROUP_G] == g && c->draws == (uint64_t)draws &&
               c->cursor == (uint64_t)(batches * VARIANT_BATCH),
           "%lld D and %lld G updates, %llu draws, %llu samples", (long long)c->updates[GD_GROUP_D],
           (long long)c->updates[GD_GROUP_G], (unsigned long long)c->draws, (unsigned long long)c->cursor);
}

/* Programs that translate read a batch each, whichever side they train; those that start from noise only for D. */
static void every_program_that_reads_moves_the_cursor(void) {
    static const struct {
        int variant;
        int64_t d, g, draws, batches; /* after 4 iterations */
    } cases[] = {{0, 4, 4, 4, 4}, {1, 4, 4, 4, 4}, {2, 4, 8, 12, 12}, {3, 12, 4, 16, 12},
                 {4, 4, 0, 4, 4}, {7, 8, 4, 8, 8}, {8, 4, 2, 6, 4}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        gd_train_config c = variants[cases[k].variant].config();
        gd_trainer *t = trained(&c, *variants[cases[k].variant].data, 4);
        expect_counts(t, cases[k].d, cases[k].g, cases[k].draws, cases[k].batches);
        EXPECT(gd_loader_cursor(t->loader) == t->counters.cursor, "%s", variants[cases[k].variant].name);
        gd_trainer_free(t);
    }
}

static double metric(const record *r, int step, const char *name) {
    for (int m = 0; m < r->count; m++)
        if (!strcmp(r->name[m], name)) return r->value[step][m];
    EXPECT(false, "no metric %s", name);
    return NAN;
}

/* The number of D steps follows what was measured two iterations ago, in bounds, and is logged. */
static void adaptive_steps_follow_the_measure(void) {
    static record r;
    gd_train_config c = adaptive();
    c.schedule.adaptive.every = 1;
    train(comm, &c, noise_data, STEPS, &r);
    if (rank) return;
    double steps = 1, next = 1;
    int moves = 0;
    for (int i = 0; i < STEPS; i++) {
        EXPECT(metric(&r, i, "d_steps") == steps, "step %d: %g D steps, not %g", i + 1, metric(&r, i, "d_steps"),
               steps);
        double seen = metric(&r, i, "d_accuracy");
        EXPECT(metric(&r, i, "adaptive") == seen);
        double after = seen < 0.95 ? fmin(next + 1, 4) : seen > 0.98 ? fmax(next - 1, 1) : next;
        moves += after != next;
        steps = next;
        next = after;
    }
    EXPECT(moves >= 2, "it moved %d times", moves);
}

static void the_penalty_is_in_every_nth_update_of_d(void) {
    static record r;
    gd_train_config c = wgan_gp();
    c.schedule.d_steps = 1;
    c.gan.penalty.every = 3;
    train(comm, &c, noise_data, 9, &r);
    for (int i = 0; i < 9 && rank == 0; i++)
        EXPECT(isnan(metric(&r, i, "penalty")) == (i % 3 != 0), "step %d: %g", i + 1, metric(&r, i, "penalty"));
}

/* ---- pools ---- */

/* What a pool holds was made by the generators: no place is empty any more, and the replicas hold the same. */
static void pools_fill_and_turn_over(void) {
    gd_train_config c = cyclegan();
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    c.check_every = 1;
    EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
    size_t image = t->pool_floats;
    float before[2][11];
    int changed = 0;
    EXPECT(t->n_pools == 2 && image == 256);
    for (int64_t step = 1; step <= 4; step++) {
        EXPECT_OK(gd_trainer_run(t, step));
        for (int p = 0; p < 2; p++)
            for (int place = 0; place < 11; place++) {
                float now = t->pool[p].image[(size_t)place * image];
                EXPECT((now != 0) == (place < step * VARIANT_BATCH), "step %d, pool %d, place %d", (int)step, p, place);
                if (step > 2) changed += now != before[p][place];
                before[p][place] = now;
            }
    }
    EXPECT(changed >= 6, "%d of 44 places got a new image; about 14 are expected", changed);
    gd_trainer_free(t);
    c.pool_size = 0;
    EXPECT_ERROR(gd_trainer_new(comm, &c, pair_data, &none, &t), CONFIG, "pool.size");
}

/* What pools are said to cost: their images, and one gathered batch a pool. */
static void pools_are_counted(void) {
    gd_train_config c = cyclegan(), more = c;
    gd_train_cost cost = {0}, larger = {0};
    const size_t image = 256 * sizeof(float);
    more.pool_size = 31;
    EXPECT_OK(gd_train_estimate(&c, pair_data, 1, &cost));
    EXPECT_OK(gd_train_estimate(&more, pair_data, 1, &larger));
    EXPECT(larger.loader_bytes - cost.loader_bytes == 2 * 20 * image);
    EXPECT(larger.total_bytes - cost.total_bytes >= 2 * 20 * image); /* and what a copy for checkpoints takes */
    EXPECT(cost.collective_bytes >= 2 * VARIANT_BATCH * image);
}

/* ---- pictures ---- */

static void translations_come_out(void) {
    enum { N = 3, IMAGE = 256 };
    static float x[N * IMAGE], live[N * IMAGE], average[N * IMAGE], back[N * IMAGE], one[IMAGE];
    gd_train_config c = discogan();
    gd_trainer *t = trained(&c, pair_data, 2);
    for (int i = 0; i < N * IMAGE; i++) x[i] = (float)sin(i);
    uint64_t before = gd_trainer_state_hash(t);
    if (rank) {
        EXPECT_ERROR(gd_trainer_translate(t, 0, 1, x, true, live), INTERNAL, "only rank 0");
    } else {
        EXPECT_OK(gd_trainer_translate(t, 0, N, x, false, live));
        EXPECT_OK(gd_trainer_translate(t, 0, N, x, true, average));
        EXPECT_OK(gd_trainer_translate(t, 1, N, x, false, back));
        EXPECT_OK(gd_trainer_translate(t, 0, 1, x + IMAGE, false, one));
        EXPECT(!memcmp(one, live + IMAGE, sizeof one)); /* image by image */
        EXPECT(memcmp(live, average, sizeof live) && memcmp(live, back, sizeof live));
        EXPECT(memcmp(live, live + IMAGE, sizeof one));
        EXPECT_ERROR(gd_trainer_sample(t, 1, x, false, live), INTERNAL, "no generator from latents");
    }
    EXPECT(gd_trainer_state_hash(t) == before);
    gd_trainer_free(t);
}

/* decay of iteration t after the start: min(decay, (1 + t) / (10 + t)) */
static void the_average_warms_up(void) {
    gd_train_config c = discogan();
    gd_train_hooks none = {0};
    gd_trainer *t;
    c.schedule.g_steps = 1;
    c.ema_start = 1;
    c.ema_decay = 0.25;
    EXPECT_OK(gd_trainer_new(comm, &c, pair_data, &none, &t));
    const gd__arenas *g = &t->group[GD_GROUP_G];
    float *before = malloc(g->count * sizeof *before);
    EXPECT(before && g->count > 0);
    for (int64_t step = 1; step <= 4; step++) {
        memcpy(before, g->ema, g->count * sizeof *before);
        EXPECT_OK(gd_trainer_run(t, step));
        double n = (double)step - 1, decay = step == 1 ? 0 : fmin(0.25, (1 + n) / (10 + n));
        float d = (float)decay;
        for (size_t i = 0; i < g->count; i++)
            EXPECT(g->ema[i] == d * before[i] + (1 - d) * g->param[i], "step %d, decay %g", (int)step, decay);
    }
    free(before);
    gd_trainer_free(t);
}

static bool has_tensor(const gd_trainer *t, const char *name) {
    for (int i = 0; i < t->state.count; i++)
        if (!strcmp(t->state.tensor[i].name, name)) return true;
    return false;
}

/* Both networks of a group are state, with their average. */
static void every_network_is_in_the_state(void) {
    static const char *const names[] = {"G_AB/main.0.weight",      "G_BA/main.0.weight",       "D_A/conv1.weight",
                                        "D_B/conv1.weight",        "ema/G_AB/main.0.weight",   "ema/G_BA/main.0.weight",
                                        "adam.m/D_A/conv1.weight", "adam.v/G_BA/main.0.weight"};
    gd_train_config c = discogan();
    gd_trainer *t = trained(&c, pair_data, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) EXPECT(has_tensor(t, names[i]), "%s", names[i]);
    EXPECT(!has_tensor(t, "pool/0"));
    gd_trainer_free(t);
    c = cyclegan();
    t = trained(&c, pair_data, 1);
    EXPECT(has_tensor(t, "pool/0") && has_tensor(t, "pool/1"));
    gd_trainer_free(t);
}

/* A classifier trains without a generator, and learns. */
static void a_classifier_learns(void) {
    static record r;
    gd_train_config c = classifier();
    c.overfit_batch = true;
    c.gan.discriminator.dropout = 0;
    train(comm, &c, label_data, STEPS, &r);
    if (rank) return;
    EXPECT(metric(&r, STEPS - 1, "loss_d") < 0.7 * metric(&r, 0, "loss_d"), "loss_d went from %g to %g",
           metric(&r, 0, "loss_d"), metric(&r, STEPS - 1, "loss_d"));
    EXPECT(isnan(metric(&r, 0, "grad_norm_g")));
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(losses_agree_to_rounding),
        RIG_TEST(shards_give_the_same_bits),
        RIG_TEST(every_program_that_reads_moves_the_cursor),
        RIG_TEST(adaptive_steps_follow_the_measure),
        RIG_TEST(the_penalty_is_in_every_nth_update_of_d),
        RIG_TEST(pools_fill_and_turn_over),
        RIG_TEST(pools_are_counted),
        RIG_TEST(translations_come_out),
        RIG_TEST(the_average_warms_up),
        RIG_TEST(every_network_is_in_the_state),
        RIG_TEST(a_classifier_learns),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
