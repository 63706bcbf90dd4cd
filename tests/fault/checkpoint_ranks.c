/* Checkpoints by several ranks: any number of ranks writes the same state, one failing rank stops all. */
#include "base/log.h"
#include "dist/manifest.h"
#include "tests/fault/checkpoint_rig.h"
#include "tests/fault/faulty_io.h"

static gd_comm *comm;
static int rank, size;

/* Rank 0's process number names the folder on all ranks. */
static int setup(void **state) {
    (void)state;
    long number = (long)getpid();
    if (gd_comm_bcast(comm, 0, &number, sizeof number) != GD_OK) return -1;
    rig_name_root("checkpoint_ranks", number);
    if (rank == 0 && gd_dir_remove(rig_root) != GD_OK) return -1;
    return gd_comm_barrier(comm) == GD_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    gd_io_set(NULL);
    if (gd_comm_barrier(comm) != GD_OK) return -1;
    return rank != 0 || gd_dir_remove(rig_root) == GD_OK ? 0 : -1;
}

static int shards_in(const char *path) { return rig_entries(path) - 1; /* and the manifest */ }

static void all_ranks_write_one_checkpoint(void **state) {
    (void)state;
    rig_state r;
    char *path = NULL;
    rig_fill(&r, 6);
    rig_expect(gd_checkpoint_save(comm, rig_root, &r.s, &path), GD_OK, NULL);
    assert_string_equal(path, rig_path("step-000000000006"));
    rig_expect_loads(path, 6); /* every rank reads all of it */
    gd_verify_report report;
    rig_expect(gd_checkpoint_verify(path, GD_VERIFY_DEEP, &report), GD_OK, NULL);
    assert_true(report.state_hash == gd_state_hash(&r.s));
    assert_int_equal(report.files, size);
    assert_int_equal(shards_in(path), size);
    assert_int_equal(rig_entries(rig_root), 1);
    /* The same step again: left alone on all ranks, written by however many. */
    rig_expect(gd_checkpoint_save(comm, rig_root, &r.s, NULL), GD_OK, NULL);
    free(path);
    rig_free(&r);
}

/* Each rank in turn has no space left, or cannot open, sync or close its shard. */
static void one_failing_rank_stops_all(void **state) {
    (void)state;
    static const faulty_call kinds[] = {CALL_WRITE, CALL_OPEN, CALL_FSYNC, CALL_CLOSE};
    rig_state r;
    gd_verify_report report;
    rig_fill(&r, 1);
    rig_expect(gd_checkpoint_save(comm, rig_root, &r.s, NULL), GD_OK, NULL);
    rig_free(&r);
    rig_fill(&r, 2);
    for (int bad = 0; bad < size; bad++) {
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            int first = rank == 0 && kinds[k] == CALL_CLOSE ? 3 : 0; /* rank 0 closes folders before its shard */
            faulty_start((faulty){.at = rank == bad ? first : -1, .error = ENOSPC, .kinds = 1u << kinds[k]});
            gd_status st = gd_checkpoint_save(comm, rig_root, &r.s, NULL);
            faulty_stop();
            if (rank == bad) {
                /* Rank 0 opens a folder first. */
                rig_expect(st, kinds[k] == CALL_OPEN && rank > 0 ? GD_CANTCREAT : GD_IO, "No space left on device");
                assert_int_equal(faulty_hits, 1);
            } else rig_expect(st, GD_PEER, "No space left on device");
            assert_int_equal(gd_comm_barrier(comm), GD_OK);
            assert_int_equal(rig_entries(rig_root), 1); /* nothing temporary is left */
            assert_int_equal(gd_comm_barrier(comm), GD_OK);
        }
    }
    rig_expect(gd_checkpoint_verify(rig_path("step-000000000001"), GD_VERIFY_DEEP, &report), GD_OK, NULL);
    rig_expect(gd_checkpoint_save(comm, rig_root, &r.s, NULL), GD_OK, NULL);
    rig_expect_loads(rig_path("step-000000000002"), 2);
    rig_free(&r);
}

/* Rank 0 alone does what comes before and behind the shards. */
static void a_failing_commit_is_known_to_all(void **state) {
    (void)state;
    static const faulty_call kinds[] = {CALL_MKDIR, CALL_RENAME, CALL_RENAME_NOREPLACE, CALL_FREE_BYTES};
    rig_state r;
    rig_fill(&r, 1);
    rig_expect(gd_checkpoint_save(comm, rig_root, &r.s, NULL), GD_OK, NULL);
    rig_free(&r);
    rig_fill(&r, 2);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        faulty_start((faulty){.at = rank == 0 ? 0 : -1, .error = EACCES, .kinds = 1u << kinds[k]});
        gd_status st = gd_checkpoint_save(comm, rig_root, &r.s, NULL);
        faulty_stop();
        rig_expect(st, rank == 0 ? GD_CANTCREAT : GD_PEER, "Permission denied");
        assert_int_equal(gd_comm_barrier(comm), GD_OK);
        assert_int_equal(rig_entries(rig_root), 1);
        assert_int_equal(gd_comm_barrier(comm), GD_OK);
    }
    rig_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_ranks_write_one_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(one_failing_rank_stops_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_commit_is_known_to_all, setup, teardown),
    };
    if (gd_log_configure("error") != GD_OK || gd_comm_mpi(&comm) != GD_OK) {
        fprintf(stderr, "%s\n", gd_error_message());
        return 1;
    }
    rank = gd_comm_rank(comm);
    size = gd_comm_size(comm);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gd_comm_free(comm);
    return failed;
}
