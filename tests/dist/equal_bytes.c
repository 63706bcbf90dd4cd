/* 8 virtual shards: the same state, bit by bit, by 1, 2, 4 and 8 ranks of one or two threads. */
#include <omp.h>

#include "tests/dist/variants.h"

enum { SHARDS = 8, BATCH = 16, STEPS = 6 };

static gd_train_config gan(void) {
    gd_train_config c = base_config();
    c.gan.generator.arch = c.gan.discriminator.arch = "mlp";
    c.gan.generator.width = c.gan.discriminator.width = 24;
    c.gan.generator.depth = c.gan.discriminator.depth = 2;
    c.gan.discriminator.dropout = 0.3;
    return c;
}

static gd_train_config dcgan(void) {
    gd_train_config c = base_config();
    c.schedule.share_fake = true;
    return c;
}

static const variant kinds[] = {
    {"gan", gan, &noise_data},        {"dcgan", dcgan, &noise_data},      {"wgan-gp", wgan_gp, &noise_data},
    {"pix2pix", pix2pix, &pair_data}, {"cyclegan", cyclegan, &pair_data},
};

static void use_threads(int n) {
    omp_set_num_threads(n);
    gd_cpu_set_threads(n);
}

/* sync: batch statistics of the whole batch, else of each shard. */
static gd_train_config config_of(const variant *v, bool sync) {
    gd_train_config c = v->config();
    c.gan.global_batch = BATCH;
    c.gan.sync = sync;
    c.shards = SHARDS;
    c.check_every = 1;
    return c;
}

static void expect_equal(const variant *v, bool sync) {
    gd_train_config c = config_of(v, sync);
    use_threads(1);
    uint64_t want = tiny_train_alone(&c, *v->data, STEPS, NULL),
             first = tiny_train_alone(&c, *v->data, STEPS - 1, NULL);
    EXPECT(first != want); /* it trains */
    for (int threads = 1; threads <= 2; threads++) {
        use_threads(threads);
        uint64_t got = tiny_train(comm, &c, *v->data, STEPS, NULL);
        EXPECT(got == want, "%s, sync %d, %d threads: state %016llx; one rank of one thread has %016llx", v->name, sync,
               threads, (unsigned long long)got, (unsigned long long)want);
    }
}

static void every_kind_has_the_same_bytes(void) {
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int sync = 0; sync < 2; sync++) expect_equal(&kinds[k], sync);
}

int main(void) {
    const rig_test tests[] = {RIG_TEST(every_kind_has_the_same_bytes)};
    use_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
