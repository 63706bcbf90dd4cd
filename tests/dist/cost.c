/* What a run is said to cost is what it then has: parameters, arenas, programs. */
#include "tests/dist/tiny_gan.h"

static gd_dataset *data;

static size_t state_bytes(const gd_trainer *t, const char *prefix) {
    size_t bytes = 0;
    for (int i = 0; i < t->state.count; i++)
        if (!strncmp(t->state.tensor[i].name, prefix, strlen(prefix)))
            bytes += (size_t)gd_shape_count(t->state.tensor[i].shape) * sizeof(float);
    return bytes;
}

/* Padding to cache lines is at most one line a tensor. */
static void expect_about(size_t claimed, size_t bytes, int tensors, const char *what) {
    EXPECT(claimed >= bytes && claimed <= bytes + (size_t)tensors * 64, "%s: %zu bytes said, %zu there", what, claimed,
           bytes);
}

static void expect_cost(const gd_train_config *c, int moments) {
    gd_train_hooks none = {0};
    gd_train_cost cost;
    gd_trainer *t;
    EXPECT_OK(gd_train_estimate(c, data, 1, &cost));
    EXPECT_OK(gd_trainer_new(comm, c, data, &none, &t));
    const gd_gan_net *nets;
    int n = gd_gan_nets(gd_trainer_gan(t), &nets);
    for (int i = 0; i < n; i++) EXPECT(cost.params[nets[i].group] == gd_net_param_count(nets[i].net));
    int64_t all = cost.params[0] + cost.params[1];
    size_t local = (size_t)t->local, buffers = t->buffer_count * sizeof(float);
    expect_about(cost.param_bytes - local * buffers, (size_t)all * 4, t->n_slots, "parameters");
    expect_about(cost.grad_bytes, (size_t)all * 4 * local, t->n_slots * (int)local, "gradients");
    expect_about(cost.optimizer_bytes, (size_t)(all * 4 * moments), 2 * t->n_slots, "optimizer");
    expect_about(cost.ema_bytes, state_bytes(t, "ema/"), t->n_slots, "moving average");
    for (int g = 0; g < GD_GROUP_COUNT; g++) EXPECT(cost.reduce_bytes[g] == t->group[g].count * sizeof(float));
    size_t shared = 0, collective = 0;
    double flops = 0;
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        if (!t->kind[k][GD__PLAIN].program) continue;
        gd_program_stats s = gd_program_get_stats(t->kind[k][GD__PLAIN].program);
        int64_t times = k == GD_STEP_D ? c->schedule.d_steps : k == GD_STEP_G ? c->schedule.g_steps : 1;
        shared += s.shared_bytes;
        flops += s.flops * (double)(times * t->local);
        collective += s.collective_bytes * (size_t)times;
    }
    shared += gd_program_get_stats(t->sampler[0]).shared_bytes + GD__SAMPLER_BATCH * (6 + 256) * sizeof(float);
    EXPECT(cost.activation_bytes == shared + local * t->memory_bytes, "%zu and %zu", cost.activation_bytes,
           shared + local * t->memory_bytes);
    EXPECT(fabs(cost.flops - flops) <= 1e-9 * flops && flops > 0);
    EXPECT(cost.collective_bytes == collective && (collective > 0) == (t->shards > 1));
    EXPECT(cost.loader_bytes >= 2 * TINY_BATCH * 256);
    EXPECT(cost.total_bytes == cost.param_bytes + cost.grad_bytes + cost.optimizer_bytes + cost.ema_bytes +
                                   cost.activation_bytes + cost.loader_bytes + cost.snapshot_bytes);
    EXPECT(cost.snapshot_bytes >= (size_t)(all * 4 * (1 + moments)) / (size_t)gd_comm_size(t->comm));
    gd_trainer_free(t);
}

static void costs_are_what_is_allocated(void) {
    gd_train_config c = tiny_config();
    expect_cost(&c, 2);
    c.schedule.d_steps = 5;
    c.optimizer[0] = c.optimizer[1] = (gd_optimizer_spec){.kind = GD_RMSPROP, .lr = 1e-4, .alpha = 0.99, .eps = 1e-8};
    c.ema_decay = 0;
    c.shards = 3;
    expect_cost(&c, 1);
}

/* More ranks: less work for each, the same parameters. */
static void ranks_share_the_work(void) {
    gd_train_config c = tiny_config();
    gd_train_cost one, four;
    EXPECT_OK(gd_train_estimate(&c, data, 1, &one));
    EXPECT_OK(gd_train_estimate(&c, data, 4, &four));
    EXPECT(fabs(4 * four.flops - one.flops) <= 1e-9 * one.flops);
    EXPECT(four.param_bytes == one.param_bytes && four.params[0] == one.params[0]);
    EXPECT(four.loader_bytes == one.loader_bytes / 4);
    EXPECT_ERROR(gd_train_estimate(&c, data, 5, &four), CONFIG,
                 "global batch 12 over 5 ranks does not divide; use 10 or 15");
}

int main(void) {
    const rig_test tests[] = {RIG_TEST(costs_are_what_is_allocated), RIG_TEST(ranks_share_the_work)};
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
