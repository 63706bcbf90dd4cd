/* Killed at every named point of the commit protocol, just before and just after, on each of 4 ranks; the
 * other ranks finish what they are doing, or die with it. Then the next start: it goes on from the old or the
 * new checkpoint, whole, and its next save works. */
#include "tests/fault/checkpoint_sim.h"

enum { ANY = 0 };

typedef struct kill_point {
    const char *name;
    mem_call call;
    const char *in;  /* part of the path                     */
    const char *end; /* its end; NULL: any                   */
    int nth;         /* of those of this rank in this save   */
    int ranks;       /* how many ranks come by, from 0       */
    bool committed;  /* afterwards the new one must be there */
} kill_point;

// clang-format off
static const kill_point points[] = {
    {"checkpoints folder made", MEM_CALL_MKDIR, SIM_DIR, "checkpoints", 1, 1, false},
    {"run folder synced", MEM_CALL_FSYNC, "checkpoints/..", "/..", 1, 1, false},
    {"folder above synced", MEM_CALL_FSYNC, "checkpoints/../..", "../..", 1, 1, false},
    {"temporary folder made", MEM_CALL_MKDIR, ".tmp-", NULL, 1, 1, false},
    {"shard created", MEM_CALL_MAKE, "/shard-", NULL, 1, 4, false},
    {"header written", MEM_CALL_WRITE, "/shard-", NULL, 1, 4, false},
    {"tensor written", MEM_CALL_WRITE, "/shard-", NULL, 2, 4, false},
    {"shard synced", MEM_CALL_FSYNC, "/shard-", NULL, 1, 4, false},
    {"shard closed", MEM_CALL_CLOSE, "/shard-", NULL, 1, 4, false},
    {"shard's name synced", MEM_CALL_FSYNC, ".tmp-", NULL, 2, 4, false},
    {"manifest created", MEM_CALL_MAKE, "manifest.json.tmp", NULL, 1, 1, false},
    {"manifest written", MEM_CALL_WRITE, "manifest.json.tmp", NULL, 1, 1, false},
    {"manifest synced", MEM_CALL_FSYNC, "manifest.json.tmp", NULL, 1, 1, false},
    {"manifest named", MEM_CALL_RENAME, "manifest.json", "manifest.json", 1, 1, false},
    {"manifest's name synced", MEM_CALL_FSYNC, ".tmp-", NULL, 4, 1, false},
    {"committed", MEM_CALL_RENAME, "/step-", NULL, 2, 1, true},
    {"commit synced", MEM_CALL_FSYNC, SIM_DIR, "checkpoints", 1, 1, true},
    {"old manifest removed", MEM_CALL_UNLINK, "manifest.json", "manifest.json", 1, 1, true},
    {"removal synced", MEM_CALL_FSYNC, "step-000000000001", "1", 1, 1, true},
    {"old shard removed", MEM_CALL_UNLINK, "/shard-", NULL, 1, 1, true},
    {"old folder removed", MEM_CALL_RMDIR, "step-000000000001", NULL, 1, 1, true},
};
// clang-format on

static const kill_point *point;
static int victim, seen;
static bool kill_after, kill_all, armed, hit;

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

static bool is_point(mem_call call, const char *path) {
    return call == point->call && sim_rank == victim && strstr(path, point->in) &&
           (!point->end || ends_with(path, point->end));
}

static void die(void) {
    hit = true;
    for (int r = 0; r < SIM_RANKS; r++) sim_dead[r] = sim_dead[r] || kill_all || r == victim;
}

static bool gate(mem_call call, const char *path, bool after) {
    if (sim_dead[sim_rank]) return true;
    if (!armed || hit || !is_point(call, path)) return false;
    if (!after) seen++;
    if (seen == point->nth && after == kill_after) die();
    return sim_dead[sim_rank];
}

/* One kill; first: it is the very first save, into a folder that is not there yet. */
static void kill_once(bool first) {
    mem_start();
    memset(sim_dead, 0, sizeof sim_dead);
    assert_int_equal(mem_mkdir("/run", 0777), 0);
    if (!first) sim_saved(1, SIM_RANKS);
    seen = 0;
    hit = false;
    armed = true;
    mem_gate = gate;
    gd_status st = sim_save(2, SIM_RANKS, 1);
    armed = false;
    if (!hit) fail_msg("%s: rank %d does not come by (%s)", point->name, victim, gd_status_name(st));
    memset(sim_dead, 0, sizeof sim_dead); /* the next start */
    memset(mem_file, 0, sizeof mem_file);
    sim_rank = 0;
    int64_t step = sim_resume(), old = first ? -1 : 1;
    if (step != old && step != 2) fail_msg("%s: resumes from step %lld", point->name, (long long)step);
    if (point->committed && kill_after && step != 2) fail_msg("%s: step 2 is lost", point->name);
    if (!point->committed && !kill_after && point->call != MEM_CALL_FSYNC && point->call != MEM_CALL_RENAME)
        assert_int_equal(step, old);
    assert_int_equal(sim_save(3, SIM_RANKS, 3), GD_OK);
    assert_int_equal(sim_resume(), 3);
    assert_int_equal(sim_entries(), step == -1 ? 1 : step == 2 && mem_find(sim_path(1)) >= 0 ? 3 : 2);
}

static void killed_at_every_point(void **state) {
    (void)state;
    int kills = 0;
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        point = &points[p];
        bool first = point->call == MEM_CALL_MKDIR && point->end; /* only there it is made */
        for (victim = 0; victim < point->ranks; victim++)
            for (int way = 0; way < 4; way++, kills++) {
                kill_after = way & 1;
                kill_all = way & 2;
                kill_once(first);
            }
    }
    printf("%d kills at %zu points\n", kills, sizeof points / sizeof *points);
    assert_true(kills >= 150);
}

/* And between the points: at every call of every rank. */
static int call_number, kill_at;

static bool gate_by_number(mem_call call, const char *path, bool after) {
    (void)call, (void)path;
    if (sim_dead[sim_rank]) return true;
    if (!armed || after) return false;
    if (call_number++ == kill_at) {
        victim = sim_rank;
        die();
    }
    return sim_dead[sim_rank];
}

static void killed_at_every_call(void **state) {
    (void)state;
    int calls = 0;
    for (kill_at = 0;; kill_at++) {
        mem_start();
        memset(sim_dead, 0, sizeof sim_dead);
        assert_int_equal(mem_mkdir("/run", 0777), 0);
        sim_saved(1, SIM_RANKS);
        call_number = 0;
        kill_all = kill_at & 1;
        armed = true;
        mem_gate = gate_by_number;
        gd_status st = sim_save(2, SIM_RANKS, 1);
        bool died = sim_any_dead(SIM_RANKS);
        armed = false;
        memset(sim_dead, 0, sizeof sim_dead);
        memset(mem_file, 0, sizeof mem_file);
        sim_rank = 0;
        int64_t step = sim_resume();
        assert_true(step == 1 || step == 2);
        assert_int_equal(sim_save(3, SIM_RANKS, 3), GD_OK);
        assert_int_equal(sim_resume(), 3);
        if (!died) {
            assert_int_equal(st, GD_OK);
            break;
        }
        calls++;
    }
    printf("%d calls\n", calls);
    assert_true(calls > 100);
}

/* The same for a reshard: the old files or the new ones, the same state. */
static void a_reshard_is_killed_at_every_call(void **state) {
    (void)state;
    int calls = 0;
    for (kill_at = 0;; kill_at++, calls++) {
        mem_start();
        memset(sim_dead, 0, sizeof sim_dead);
        assert_int_equal(mem_mkdir("/run", 0777), 0);
        sim_saved(1, 3);
        call_number = 0;
        armed = true;
        mem_gate = gate_by_number;
        gd_status st = gd_checkpoint_reshard(sim_path(1), 2);
        bool died = sim_any_dead(SIM_RANKS);
        armed = false;
        memset(sim_dead, 0, sizeof sim_dead);
        memset(mem_file, 0, sizeof mem_file);
        assert_int_equal(sim_resume(), 1);
        assert_int_equal(sim_entries(), 1);
        if (died) continue;
        assert_int_equal(st, GD_OK);
        gd_verify_report report;
        assert_int_equal(gd_checkpoint_verify(sim_path(1), GD_VERIFY_DEEP, &report), GD_OK);
        assert_int_equal(report.files, 2);
        break;
    }
    printf("%d calls of a reshard\n", calls);
    assert_true(calls > 50);
}

/* Power goes in the middle of a reshard. */
static void a_reshard_survives_a_power_cut(void **state) {
    (void)state;
    static mem_loss loss[2 * MEM_OPS];
    sim_saved(1, 3);
    mem_log_begin();
    assert_int_equal(gd_checkpoint_reshard(sim_path(1), 2), GD_OK);
    for (int cut = 0; cut <= mem_ops; cut++) {
        int n = mem_losses(cut, loss);
        for (int a = -1; a < n; a++)
            for (int b = a; b < n; b++) {
                mem_loss two[2] = {loss[a < 0 ? 0 : a], loss[b < 0 ? 0 : b]};
                mem_state(cut, two, a < 0 ? 0 : a == b ? 1 : 2);
                mem_logging = false;
                assert_int_equal(sim_resume(), 1);
                if (a < 0) break;
            }
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, sim_setup, sim_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(killed_at_every_point),
        TEST(killed_at_every_call),
        TEST(a_reshard_is_killed_at_every_call),
        TEST(a_reshard_survives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
