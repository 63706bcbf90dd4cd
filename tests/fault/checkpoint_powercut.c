/* The power goes at any moment: whatever the disk had not been told to keep may be lost, zeroed or out of
 * order. Every state of up to three losses at every cut of saves and their retention is built and started
 * from: the newest whole checkpoint loads, it is never a wrong one, and none that was reported as saved is
 * lost. Each fsync is needed: without it some state is wrong. */
#include "tests/fault/checkpoint_sim.h"

static long states, random_states = 2000;

/* ---- what must hold ---- */

static int64_t promised[MEM_OPS + 1]; /* by cut: the newest step that was reported as saved; 0: none */
static bool tolerant;                 /* count what is wrong instead of failing */
static long wrong;

static void check(int cut) {
    states++;
    mem_logging = false;
    int64_t step = sim_resume();
    bool good = step >= promised[cut] && step <= 3;
    if (promised[cut] == 0 && step == -1) good = true;
    if (good) return;
    if (!tolerant)
        fail_msg("cut %d of %d: resumes from step %lld; step %lld was saved", cut, mem_ops, (long long)step,
                 (long long)promised[cut]);
    wrong++;
}

static void check_state(int cut, const mem_loss *loss, int n) {
    mem_state(cut, loss, n);
    check(cut);
}

/* Every set of up to `left` more losses, of different operations, from number `from` on. */
static void check_sets(int cut, const mem_loss *loss, int n, mem_loss *chosen, int k, int from, int left) {
    check_state(cut, chosen, k);
    for (int a = from; left > 0 && a < n; a++) {
        if (k && chosen[k - 1].op == loss[a].op) continue;
        chosen[k] = loss[a];
        check_sets(cut, loss, n, chosen, k + 1, a + 1, left - 1);
    }
}

static void check_cut(int cut) {
    enum { TOGETHER = 3 };
    static mem_loss loss[2 * MEM_OPS];
    mem_loss chosen[TOGETHER];
    int n = mem_losses(cut, loss);
    check_state(cut, loss, n); /* all of them */
    check_sets(cut, loss, n, chosen, 0, 0, TOGETHER);
}

/* Random subsets of all losses. */
static void check_random(uint64_t seed, long count) {
    static mem_loss loss[2 * MEM_OPS], some[2 * MEM_OPS];
    for (long i = 0; i < count; i++) {
        gd_rng rng = {.seed = seed, .purpose = GD_PURPOSE_TEST, .step = (uint64_t)i};
        float u[2 * MEM_OPS];
        gd_rng_uniform(&rng, 0, 0, 2 * MEM_OPS, u);
        int cut = (int)(u[0] * (float)(mem_ops + 1)), n = mem_losses(cut, loss), k = 0;
        for (int a = 0; a < n; a++)
            if (u[a + 1] < 0.4f && (!k || some[k - 1].op != loss[a].op)) some[k++] = loss[a];
        check_state(cut, some, k);
    }
}

/* Three saves by two ranks with retention: the folder of checkpoints is made on the way. */
static void record(void) {
    int64_t saved = 0;
    int from = 0;
    mem_start();
    assert_int_equal(mem_mkdir("/run", 0777), 0);
    mem_log_begin();
    for (int64_t step = 1; step <= 3; step++) {
        gd_status st = sim_save(step, 2, 2); /* ranks, kept */
        if (st != GD_OK) fail_msg("%s", gd_error_message());
        for (int cut = from; cut <= mem_ops; cut++) promised[cut] = saved;
        from = mem_ops; /* reported from here on */
        saved = step;
        promised[from] = saved;
    }
}

static void any_three_losses_at_any_cut(void **state) {
    (void)state;
    states = 0;
    record();
    for (int cut = 0; cut <= mem_ops; cut++) check_cut(cut);
    printf("%ld states over %d operations\n", states, mem_ops);
    assert_true(states > 1000 && mem_ops > 60);
}

static void any_losses_at_any_cut(void **state) {
    (void)state;
    uint64_t seed = sim_seed("checkpoint_powercut", 11);
    record();
    check_random(seed, random_states);
}

/* ---- every fsync has a reason ---- */

static void lost_without(int sync) {
    mem_op kept = mem_op_list[sync];
    mem_op_list[sync].node = MEM_NODES; /* of nothing */
    wrong = 0;
    for (int cut = sync + 1; cut <= mem_ops && !wrong; cut++) {
        static mem_loss loss[2 * MEM_OPS];
        int n = mem_losses(cut, loss);
        check_state(cut, loss, n);
        for (int a = 0; a < n && !wrong; a++) {
            check_state(cut, &loss[a], 1);
            for (int b = a + 1; b < n && !wrong; b++) check_state(cut, (mem_loss[]){loss[a], loss[b]}, 2);
        }
    }
    mem_op_list[sync] = kept;
}

/* Without the fsyncs of one name (of all saves) some state after the report is wrong. */
static void each_fsync_is_needed(void **state) {
    (void)state;
    int needed = 0, spare = 0;
    record();
    tolerant = true;
    for (int i = 0; i < mem_ops; i++) {
        if (mem_op_list[i].kind != MEM_SYNC) continue;
        lost_without(i);
        if (wrong) needed++;
        else spare++;
    }
    tolerant = false;
    printf("%d fsyncs are needed, %d are covered by others\n", needed, spare);
    /* A save needs at least: shards 2, manifest, checkpoints folder; the first one the run folder, too. Covered
     * by others: names in the temporary folder (the next fsync of it), folders above in later saves, deletion. */
    assert_true(needed >= 3 * 4 + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sim_setup, sim_teardown)
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(any_three_losses_at_any_cut),
        TEST(any_losses_at_any_cut),
        TEST(each_fsync_is_needed),
    };
    if (argc > 1 && !strcmp(argv[1], "--long")) random_states = 100000;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
