/* Kernels that an executor chooses by measuring: rank 0's on every rank, whatever else a rank would choose, and one answer where
 * something fails on the way. The executor is cpu with a journal in front of it. */
#include <omp.h>

#include "tests/dist/variants.h"

enum { TEXT = 64 };

static struct {
    bool measures;      /* as this rank is set                                                */
    int prepared;       /* programs                                                           */
    int before_choices; /* of them when choices were asked for; -1: they were not             */
    int before_take;    /* when others' were taken                                            */
    char taken[TEXT];
    gd_status fail_prepare, fail_choices, fail_take;
} journal;

static gd_status fail(gd_status st, const char *what) {
    return st == GD_OK ? GD_OK : gd_raise(st, __FILE__, __LINE__, "%s was told to fail", what);
}

static gd_status prepare(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **state) {
    journal.prepared++;
    gd_status st = fail(journal.fail_prepare, "G/layer");
    return st == GD_OK ? gd_executor_cpu()->prepare(v, scratch, shared_bytes, state) : st;
}

static bool measures(void) { return journal.measures; }

static gd_status choices(char **text) {
    journal.before_choices = journal.prepared;
    gd_status st = fail(journal.fail_choices, "choices");
    if (st != GD_OK) return st;
    *text = malloc(TEXT);
    if (!*text) return gd_raise(GD_NOMEM, __FILE__, __LINE__, "no memory");
    snprintf(*text, TEXT, "of rank %d, %s", rank, journal.measures ? "measured" : "as everybody");
    return GD_OK;
}

static gd_status take_choices(const char *text) {
    journal.before_take = journal.prepared;
    snprintf(journal.taken, TEXT, "%s", text);
    return fail(journal.fail_take, "taking");
}

static gd_status make(gd_train_config c) {
    static gd_executor x;
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    x = *gd_executor_cpu();
    x.prepare = prepare;
    x.measures = measures;
    x.choices = choices;
    x.take_choices = take_choices;
    c.executor = &x;
    journal.before_choices = journal.before_take = -1;
    journal.prepared = 0;
    *journal.taken = '\0';
    gd_status st = gd_trainer_new(comm, &c, noise_data, &none, &t);
    if (st == GD_OK) st = gd_trainer_run(t, 2);
    gd_trainer_free(t);
    return st;
}

static void set(bool here_measures) { memset(&journal, 0, sizeof journal), journal.measures = here_measures; }

/* Rank 0 has made all its programs when it is asked, and the others none when they take. */
static void rank_0_measures_and_all_take(void) {
    set(true);
    EXPECT_OK(make(base_config()));
    EXPECT(journal.prepared > 1);
    if (size == 1) EXPECT(journal.before_choices < 0 && journal.before_take < 0);
    else if (rank == 0) EXPECT(journal.before_choices == journal.prepared && journal.before_take < 0);
    else
        EXPECT(journal.before_take == 0 && journal.before_choices < 0 && !strcmp(journal.taken, "of rank 0, measured"));
}

/* A rank whose setting is another one follows, too: nobody waits for rank 0 to make what it does not measure. */
static void who_measures_follows_a_rank_0_that_does_not(void) {
    set(rank != 0);
    EXPECT_OK(make(base_config()));
    if (rank == 0 && size > 1) EXPECT(journal.before_choices == 0 && journal.before_take < 0);
    if (rank > 0) EXPECT(journal.before_take == 0 && !strcmp(journal.taken, "of rank 0, as everybody"));
}

/* Each way to fail, on each rank that can: all leave with its words, and the next training is well. */
static void what_fails_on_one_rank_is_told_by_all(void) {
    for (int bad = 0; bad < size; bad++) {
        for (int what = 0; what < 3; what++) {
            char words[64];
            set(true);
            if (what == 1 && (bad > 0 || size == 1)) continue;
            if (what == 2 && bad == 0) continue;
            if (rank == bad && what == 0) journal.fail_prepare = GD_UNSUP;
            if (rank == bad && what == 1) journal.fail_choices = GD_NOMEM;
            if (rank == bad && what == 2) journal.fail_take = GD_CONFIG;
            snprintf(words, sizeof words, "%s was told to fail",
                     (const char *[]){"G/layer", "choices", "taking"}[what]);
            gd_status st = make(base_config());
            const gd_status own[] = {GD_UNSUP, GD_NOMEM, GD_CONFIG};
            EXPECT(st == (rank == bad ? own[what] : GD_PEER), "%d: %s: %s", what, gd_status_name(st),
                   gd_error_message());
            EXPECT(strstr(gd_error_message(), words), "%s", gd_error_message());
            if (rank != bad) {
                snprintf(words, sizeof words, "rank %d", bad);
                EXPECT(strstr(gd_error_message(), words), "%s", gd_error_message());
            }
        }
    }
    set(true);
    EXPECT_OK(make(base_config()));
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(rank_0_measures_and_all_take),
        RIG_TEST(who_measures_follows_a_rank_0_that_does_not),
        RIG_TEST(what_fails_on_one_rank_is_told_by_all),
    };
    omp_set_num_threads(1);
    gd_cpu_set_threads(1);
    open_variant_data();
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    close_variant_data();
    return failed;
}
