/* Numbers that go wrong in the memory of one rank: not a number, infinite, or one bit turned over, in the loss, the
 * gradients, the weights, either moment, the average or a running statistic, on the first or the last rank, under
 * each policy: stop, go back, skip the update, compare replicas every step; every other one with exchange beside
 * computation (gd_train_config.overlap).
 *
 *   what                                         | is found
 *   a loss or gradient that is not finite        | in that step, as NUMERIC; of a loss with the rank
 *   anything in the state, several ranks         | by comparing replicas, as DIVERGED with the rank (compare: in that
 *                                                | step; else at the next save), unless it is NUMERIC before
 *   a state that is not finite, one rank         | as NUMERIC, at the latest by the next save, which is refused
 *   a finite bit of a loss                       | is in the log alone
 *   a finite bit of a gradient, or of the state  | cannot be known: before the sum, all ranks get the same; of one
 *   of one rank                                  | rank, there is nothing to compare it with
 *
 * What is found is never saved: whatever is in the folder is finite, and resuming from it ends with the bytes of a
 * run that nothing happened to. Going back ends well, having gone back once. So does skipping, at once where only a loss
 * or gradients were wrong; of a loss with the bytes of a run that nothing happened to.
 * Each place and kind under each policy; with --long all combinations with groups and ranks, and 100 more by seed. */
#include <float.h>
#include <omp.h>

#include "base/io.h"
#include "base/rng.h"
#include "tests/dist/tiny_gan.h"

enum { AT = 4, UNTIL = 8, SAVE_EVERY = 3, RANDOM_CELLS = 100 };

typedef enum place { LOSS, GRADIENT, WEIGHT, MOMENT_1, MOMENT_2, AVERAGE, STATISTIC, PLACES } place;
static const char *const place_names[PLACES] = {"loss",          "gradient", "weight",           "first moment",
                                                "second moment", "average",  "running statistic"};
enum { NOT_A_NUMBER = 32, INFINITE };                                   /* else the number of a bit */
static const int kinds[] = {NOT_A_NUMBER, INFINITE, 0, 30, 31, 23, 22}; /* the last two with --long */
enum { KINDS = sizeof kinds / sizeof *kinds };
typedef enum policy { STOP, BACK, SKIP, COMPARE, POLICIES } policy;
static const char *const policy_names[POLICIES] = {"stop", "back", "skip", "compare"};
static const gd_nonfinite nonfinite_of[POLICIES] = {[BACK] = GD_NONFINITE_ROLLBACK, [SKIP] = GD_NONFINITE_SKIP};

typedef struct cell {
    place where;
    gd_group group;
    int kind, rank;
    policy policy;
    int64_t at;
    uint32_t pick; /* of the element */
    bool overlap;
} cell;

static gd_dataset *data;
static uint64_t undisturbed;
static const char *folder;

/* ---- the fault ---- */

static struct {
    cell c;
    gd_trainer *t;
    bool done;
    float after; /* on the rank that has it */
} fault;

static void harm(float *x) {
    uint32_t bits;
    if (fault.done) return;
    if (fault.c.kind == NOT_A_NUMBER) *x = NAN;
    else if (fault.c.kind == INFINITE) *x = INFINITY;
    else {
        memcpy(&bits, x, sizeof bits);
        bits ^= 1u << fault.c.kind;
        memcpy(x, &bits, sizeof bits);
    }
    fault.after = *x;
    fault.done = true;
}

static bool now(const gd_trainer *t, int64_t step) {
    return !fault.done && rank == fault.c.rank && fault.t == t && step == fault.c.at;
}

/* Element `pick` of those of the group, padding left out; buffers: of the running statistics. */
static size_t element(const gd_trainer *t, bool buffers) {
    size_t total = 0, k;
    for (int i = 0; i < t->n_slots; i++)
        if (t->slot[i].info->buffer == buffers && t->slot[i].group == fault.c.group) total += t->slot[i].count;
    EXPECT(total > 0);
    k = fault.c.pick % total;
    for (int i = 0; i < t->n_slots; i++) {
        const gd__slot *s = &t->slot[i];
        if (s->info->buffer != buffers || s->group != fault.c.group) continue;
        if (k < s->count) return s->offset + k;
        k -= s->count;
    }
    return 0;
}

/* Of the state: when an iteration is over, before anything is saved. */
static int between_iterations(void *ctx) {
    gd_trainer *t = fault.t;
    const gd__arenas *a = &t->group[fault.c.group];
    (void)ctx;
    if (!now(t, gd_trainer_step(t))) return 0;
    switch (fault.c.where) {
    case WEIGHT: harm(&a->param[element(t, false)]); break;
    case MOMENT_1: harm(&a->moment[0][element(t, false)]); break;
    case MOMENT_2: harm(&a->moment[1][element(t, false)]); break;
    case AVERAGE: harm(&a->ema[element(t, false)]); break;
    case STATISTIC: harm(&t->buffer[0][element(t, true)]); break;
    default: break;
    }
    return 0;
}

/* The linker leads the calls of the trainer here: a loss that was measured, and gradients that are ready to be
 * summed. */
void __real_gd__watch(gd_trainer *t, int metric, double value);
void __wrap_gd__watch(gd_trainer *t, int metric, double value);
void __real_gd_reducer_ready(gd_reducer *r, size_t first, size_t last);
void __wrap_gd_reducer_ready(gd_reducer *r, size_t first, size_t last);
void __real_gd_reducer_all_ready(gd_reducer *r);
void __wrap_gd_reducer_all_ready(gd_reducer *r);

void __wrap_gd__watch(gd_trainer *t, int metric, double value) {
    const char *name = fault.c.group == GD_GROUP_D ? "loss_d" : "loss_g";
    if (fault.c.where == LOSS && now(t, t->plan.step) && !strcmp(t->metric[metric], name)) {
        float x = (float)value;
        harm(&x);
        t->measured[metric * t->handed] = value = x;
    }
    __real_gd__watch(t, metric, value);
}

static void harm_gradient(const gd_reducer *r, size_t first, size_t last) {
    gd_trainer *t = fault.t;
    if (fault.c.where != GRADIENT || !t || !now(t, t->plan.step) || t->group[fault.c.group].reducer != r) return;
    size_t at = element(t, false);
    if (at >= first && at < last) harm(&t->group[fault.c.group].grad[0][at]);
}

void __wrap_gd_reducer_ready(gd_reducer *r, size_t first, size_t last) {
    harm_gradient(r, first, last);
    __real_gd_reducer_ready(r, first, last);
}

void __wrap_gd_reducer_all_ready(gd_reducer *r) {
    harm_gradient(r, 0, SIZE_MAX);
    __real_gd_reducer_all_ready(r);
}

/* ---- a run ---- */

static gd_train_config config_of(policy p, bool overlap) {
    gd_train_config c = tiny_config();
    c.checkpoint_dir = folder;
    c.checkpoint_every = SAVE_EVERY;
    c.checkpoint_keep = 5;
    c.on_nonfinite = nonfinite_of[p];
    c.overlap = overlap;
    c.check_every = p == COMPARE;
    return c;
}

static void empty_folder(void) {
    EXPECT_OK(gd_comm_barrier(comm));
    if (rank == 0) EXPECT_OK(gd_dir_remove(folder));
    EXPECT_OK(gd_comm_barrier(comm));
}

static char said[512]; /* by the run */

typedef struct outcome {
    gd_status st; /* the same on all ranks */
    int64_t step, rollbacks;
    uint64_t hash;
    double after; /* the number that went wrong, as it was then */
} outcome;

static outcome run(const cell *k) {
    gd_train_config c = config_of(k->policy, k->overlap);
    gd_train_hooks h = {.poll = between_iterations};
    outcome o = {0};
    fault.c = *k;
    fault.done = false;
    fault.after = 0;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &h, &fault.t));
    o.st = gd_trainer_run(fault.t, UNTIL);
    snprintf(said, sizeof said, "%s", o.st == GD_OK ? "" : gd_error_message());
    o.step = gd_trainer_step(fault.t);
    o.rollbacks = (int64_t)fault.t->counters.rollbacks;
    o.hash = gd_trainer_state_hash(fault.t);
    o.after = fault.after;
    EXPECT(fault.done == (rank == k->rank));
    EXPECT_OK(gd_comm_bcast(comm, k->rank, &o.after, sizeof o.after));
    gd_trainer_free(fault.t);
    fault.t = NULL;
    return o;
}

/* ---- what must hold ---- */

static const char *text_of(const cell *k) {
    static char text[200];
    snprintf(text, sizeof text,
             "%s of %s, %s %d, rank %d, step %d, policy %s, pick %u, overlap %d:", place_names[k->where],
             k->group == GD_GROUP_D ? "D" : "G", k->kind < 32 ? "bit" : "kind", k->kind, k->rank, (int)k->at,
             policy_names[k->policy], k->pick, k->overlap);
    return text;
}

#define CELL(condition)                                                                                                \
    EXPECT(condition, "%s %s after step %d, gone back %d times, number %g: %s", text_of(k), gd_status_name(o->st),     \
           (int)o->step, (int)o->rollbacks, o->after, said)

static void all_ranks_agree(const cell *k, const outcome *o) {
    struct {
        int64_t st, step, rollbacks;
        uint64_t hash;
    } mine = {o->st, o->step, o->rollbacks, o->hash}, all[16];
    EXPECT_OK(gd_comm_allgather(comm, &mine, sizeof mine, all));
    for (int r = 0; r < size; r++) {
        CELL(all[r].st == mine.st && all[r].step == mine.step && all[r].rollbacks == mine.rollbacks);
        if (o->st == GD_OK) CELL(all[r].hash == mine.hash);
    }
}

static void names_the_rank(const cell *k, const outcome *o) {
    char text[64];
    snprintf(text, sizeof text, "the training state of rank %d differs", size == 2 ? 1 : k->rank);
    CELL(strstr(said, text));
    CELL(o->step >= k->at && o->step <= k->at + SAVE_EVERY);
    if (k->policy == COMPARE) CELL(o->step == k->at);
}

/* NUMERIC, at once or within `steps` more; or it went back once and all was well. Skipping is no help where the state
 * itself is bad. */
static void is_found(const cell *k, const outcome *o, int64_t steps) {
    if (k->policy == BACK || k->policy == SKIP) {
        CELL(o->st == GD_OK && o->rollbacks == 1 && o->step == UNTIL);
        return;
    }
    CELL(o->st == GD_NUMERIC && o->rollbacks == 0);
    CELL(o->step >= k->at && o->step <= k->at + steps);
}

static void judge_measured(const cell *k, const outcome *o) {
    double square = o->after * o->after;
    bool found = k->where == LOSS ? !isfinite(o->after) : !(square < FLT_MAX);
    if (!found) {
        CELL(o->st == GD_OK && o->rollbacks == 0 && o->step == UNTIL);
        if (k->where == LOSS) CELL(o->hash == undisturbed);
        return;
    }
    if (k->policy == SKIP) {
        CELL(o->st == GD_OK && o->rollbacks == 0 && o->step == UNTIL);
        CELL((o->hash == undisturbed) == (k->where == LOSS));
        return;
    }
    is_found(k, o, 0);
    if (k->policy == BACK) return;
    char text[64];
    snprintf(text, sizeof text, "step %d: %s_%c is ", (int)k->at, k->where == LOSS ? "loss" : "grad_norm",
             k->group == GD_GROUP_D ? 'd' : 'g');
    CELL(strstr(said, text));
    snprintf(text, sizeof text, " on rank %d alone", k->rank);
    if (k->where == LOSS && size > 1) CELL(strstr(said, text));
}

static void judge_state(const cell *k, const outcome *o) {
    if (size > 1) { /* a low bit may be rounded away before replicas are compared: they are equal then */
        if (o->st == GD_OK && !o->rollbacks) CELL(k->policy != COMPARE && k->kind < FLT_MANT_DIG - 1);
        else if (o->st == GD_DIVERGED) names_the_rank(k, o);
        else is_found(k, o, SAVE_EVERY);
        if (k->policy == COMPARE) CELL(o->st == GD_DIVERGED);
    } else if (!isfinite(o->after)) {
        is_found(k, o, UNTIL); /* a save ends some steps after it began */
    } else {                   /* it may be too large for what comes after */
        CELL(o->st == GD_OK ? o->step == UNTIL : o->st == GD_NUMERIC);
    }
}

static bool known(const cell *k, const outcome *o) {
    return o->st == GD_DIVERGED || (o->st == GD_NUMERIC && (size > 1 || k->where < WEIGHT || !isfinite(o->after)));
}

static void what_is_saved_is_finite(const cell *k, const outcome *o) {
    char **paths;
    int count;
    if (rank) return;
    EXPECT_OK(gd_checkpoint_list(folder, &paths, &count));
    CELL(count >= 1);
    for (int i = 0; i < count; i++) {
        gd_verify_report report;
        EXPECT_OK(gd_checkpoint_verify(paths[i], GD_VERIFY_DEEP, &report));
        CELL(report.finite);
    }
    gd_checkpoint_list_free(paths, count);
}

/* Started again with the same command, without the fault. */
static void resumes_as_if_nothing_had_been(const cell *k, const outcome *o) {
    gd_train_config c = config_of(k->policy, !k->overlap);
    gd_train_hooks none = {0};
    gd_trainer *t = NULL;
    int64_t from = -1;
    EXPECT_OK(gd_trainer_new(comm, &c, data, &none, &t));
    EXPECT_OK(gd_trainer_resume(t, &from));
    CELL(from >= SAVE_EVERY && from <= UNTIL);
    EXPECT_OK(gd_trainer_run(t, UNTIL));
    CELL(gd_trainer_state_hash(t) == undisturbed);
    gd_trainer_free(t);
}

static int found, passed;

static void try_cell(const cell *k, bool resume) {
    empty_folder();
    const outcome result = run(k), *o = &result;
    all_ranks_agree(k, o);
    if (k->where == LOSS || k->where == GRADIENT) judge_measured(k, o);
    else judge_state(k, o);
    what_is_saved_is_finite(k, o);
    if (resume && known(k, o)) resumes_as_if_nothing_had_been(k, o);
    ++*(o->st == GD_OK && !o->rollbacks ? &passed : &found);
}

/* ---- cells ---- */

static bool longer;
#ifdef __SANITIZE_ADDRESS__ /* twenty times slower: every seventh, which has all places, kinds, policies and groups */
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

static gd_group group_for(place p, int n) { return p == AVERAGE || n % 2 ? GD_GROUP_G : GD_GROUP_D; }

static void each_place_kind_and_policy(void) {
    int n = 0;
    found = passed = 0;
    for (int p = 0; p < PLACES; p++)
        for (int k = 0; k < (longer ? KINDS : KINDS - 2); k++)
            for (int y = 0; y < POLICIES; y++, n++) {
                if (n % STRIDE && !longer) continue;
                for (int more = 0; more < (longer ? 4 : 1); more++) {
                    int turn = longer ? more : n % 2 + 2 * (n / 2 % 2);
                    cell c = {.where = (place)p,
                              .group = group_for((place)p, turn),
                              .kind = kinds[k],
                              .policy = (policy)y,
                              .rank = turn / 2 ? size - 1 : 0,
                              .at = AT,
                              .pick = 7919u * (uint32_t)n,
                              .overlap = n / POLICIES % 2};
                    try_cell(&c, longer || n % 3 == 0);
                }
            }
    if (rank == 0) printf("%d faults: %d found, %d that cannot be known\n", found + passed, found, passed);
    EXPECT(found > passed || size == 1);
}

/* Any bit, element, rank and step. */
static void random_faults(void) {
    const char *given = getenv("GANDIST_SEED");
    gd_rng rng = {.seed = given ? strtoull(given, NULL, 10) : 1, .purpose = GD_PURPOSE_TEST};
    found = passed = 0;
    if (rank == 0)
        printf("seed %llu; repeat: GANDIST_SEED=%llu ctest -R '^dist.injected_long.np%d$' -V\n",
               (unsigned long long)rng.seed, (unsigned long long)rng.seed, size);
    for (int i = 0; i < RANDOM_CELLS; i++) {
        float u[8];
        gd_rng_uniform(&rng, (uint64_t)i, 0, 8, u);
        place p = (place)(u[0] * PLACES);
        cell c = {.where = p,
                  .group = group_for(p, u[1] < 0.5f),
                  .kind = (int)(u[2] * (INFINITE + 1)),
                  .policy = (policy)(u[3] * POLICIES),
                  .rank = (int)(u[4] * (float)size),
                  .at = SAVE_EVERY + 1 + (int)(u[5] * (UNTIL - SAVE_EVERY)),
                  .pick = (uint32_t)(u[6] * 1e6f),
                  .overlap = u[7] < 0.5f};
        try_cell(&c, true);
    }
    if (rank == 0) printf("%d random faults: %d found, %d that cannot be known\n", found + passed, found, passed);
}

static void nothing_happens(void) {
    folder = tiny_folder("injected");
    gd_train_config c = config_of(COMPARE, false);
    empty_folder();
    undisturbed = tiny_train(comm, &c, data, UNTIL, NULL);
}

static int not_synced(int fd) {
    (void)fd;
    return 0;
}

int main(int argc, char **argv) {
    const rig_test tests[] = {RIG_TEST(nothing_happens), RIG_TEST(each_place_kind_and_policy), RIG_TEST(random_faults)};
    longer = argc > 1 && !strcmp(argv[1], "--long");
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    gd_log_set_stderr(false);
    gd_io quick = *gd_io_system(); /* the power stays on */
    quick.fsync = not_synced;
    gd_io_set(&quick);
    data = tiny_data(100);
    int failed = rig_main(tests, longer ? 3 : 2);
    gd_dataset_close(data);
    return failed;
}
