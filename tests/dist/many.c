/* Many more ranks than cores: 16 ranks train, agree, and have the bits of one rank with 16 shards. */
#include <omp.h>

#include "tests/dist/tiny_gan.h"

static gd_dataset *data;

static void sixteen_ranks_are_one_run(void) {
    gd_train_config c = tiny_config();
    c.gan.global_batch = 32;
    c.check_every = 1;
    c.shards = size;
    uint64_t want = tiny_train_alone(&c, data, 3, NULL);
    EXPECT(tiny_train(comm, &c, data, 3, NULL) == want);
}

/* Waiting costs no time of a core: meetings in a row take microseconds of each, not a time slice. */
static void waiting_leaves_the_cores_alone(void) {
    enum { ROUNDS = 300 };
    double start = gd__seconds(), sum = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double one = 1;
        EXPECT_OK(gd_comm_sum_f64(comm, &one, 1));
        sum += one;
    }
    double seconds = gd__seconds() - start;
    EXPECT(sum == (double)ROUNDS * size);
    EXPECT(seconds < 0.05 * ROUNDS, "%d sums over %d ranks took %.2f s", ROUNDS, size, seconds);
    if (rank == 0) printf("a sum over %d ranks: %.0f us\n", size, 1e6 * seconds / ROUNDS);
}

int main(void) {
    const rig_test tests[] = {RIG_TEST(sixteen_ranks_are_one_run), RIG_TEST(waiting_leaves_the_cores_alone)};
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
