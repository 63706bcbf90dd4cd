/* The watchdog's rules with a clock of the test's own: who is missing, who only waits, what may take long. And the
 * words: labels, ranges of ranks. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "dist/heartbeat.h"
#include "dist/judge.h"
#include "dist/stragglers.h"
#include "dist/watchdog.h"

enum { N = 4 };
static const double NOW = 1000;
static unsigned char culprit[N], frozen[N];

/* Limits 10 and 100 s; warmed up, with steps of a tenth of a second. */
static gd__habits usual_habits(void) {
    gd__habits h = {.limit = 10, .patience = 100, .factor = 20};
    for (int i = 1; i <= 20; i++) gd__habits_learn(&h, gd__label_make(GD_PHASE_COMPUTE, 1, i), (uint64_t)i, i * 0.1);
    return h;
}

static uint64_t waiting(gd_phase p, gd__op op) { return gd__label_with(gd__label_make(p, 0, 20), op, 0); }

/* All wait in collective number 7 since `still` seconds, with live watchdogs. */
static void all_wait(gd__sight *s, double still) {
    for (int r = 0; r < N; r++)
        s[r] = (gd__sight){.known = true,
                           .watched = true,
                           .arrived = 7,
                           .label = waiting(GD_PHASE_REDUCE, GD__REDUCE),
                           .moved = NOW - still,
                           .lived = NOW};
}

static gd__verdict judge(const gd__sight *s) {
    gd__habits h = usual_habits();
    return gd__judge_ranks(&h, s, N, NOW, culprit, frozen);
}

static void expect_culprits(const char *who) {
    char text[64];
    assert_string_equal(gd_ranks_text(culprit, N, text, sizeof text), who);
}

static void who_moves_is_fine(void **state) {
    gd__sight s[N];
    (void)state;
    all_wait(s, 0);
    assert_int_equal(judge(s), GD__FINE);
    all_wait(s, 9.9);
    assert_int_equal(judge(s), GD__FINE);
    /* The others wait for long, the missing one moves: it is slow, that is all. */
    all_wait(s, 500);
    s[2] = (gd__sight){.known = true,
                       .watched = true,
                       .arrived = 6,
                       .label = waiting(GD_PHASE_COMPUTE, GD__ALONE),
                       .moved = NOW - 9,
                       .lived = NOW};
    assert_int_equal(judge(s), GD__FINE);
}

static void who_is_missing_is_named(void **state) {
    gd__sight s[N];
    (void)state;
    all_wait(s, 12);
    s[2].arrived = 6;
    s[2].label = waiting(GD_PHASE_COMPUTE, GD__ALONE);
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("2");
    assert_false(frozen[2]);
    /* In the collective's own number, but not in it: left a broadcast early, say. */
    s[2].arrived = 7;
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("2");
    /* Still in an earlier collective, which the others have left. */
    s[2].arrived = 6;
    s[2].label = waiting(GD_PHASE_COMPUTE, GD__SUM);
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("2");
    s[1] = s[2];
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("1-2");
}

static void nobody_is_missing_when_all_wait_together(void **state) {
    gd__sight s[N];
    (void)state;
    all_wait(s, 12);
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("");
}

static void a_process_that_does_not_run_is_named(void **state) {
    gd__sight s[N];
    (void)state;
    all_wait(s, 12);
    s[3].lived = NOW - 11; /* it stopped in the collective in which all are */
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("3");
    assert_true(frozen[3]);
    /* Whatever it did: no patience for who does not run. */
    s[3].label = waiting(GD_PHASE_SAVE, GD__ALONE);
    s[3].arrived = 6;
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("3");
    /* Without a watchdog of its own nothing can be told from its silence. */
    s[3].watched = false;
    assert_int_equal(judge(s), GD__SLOW);
    /* It may have come further than another one that is slow and alive: that one is not to blame. */
    all_wait(s, 12);
    s[3].lived = NOW - 11;
    s[1].arrived = 6;
    s[1].moved = NOW - 1;
    s[1].label = waiting(GD_PHASE_COMPUTE, GD__ALONE);
    assert_int_equal(judge(s), GD__HANGS);
    expect_culprits("3");
}

static void long_phases_get_patience(void **state) {
    static const gd_phase patient[] = {GD_PHASE_START,  GD_PHASE_LOAD, GD_PHASE_DATA,
                                       GD_PHASE_REPORT, GD_PHASE_SAVE, GD_PHASE_END};
    gd__sight s[N];
    (void)state;
    for (size_t i = 0; i < sizeof patient / sizeof *patient; i++) {
        all_wait(s, 60);
        s[0].arrived = 6;
        s[0].label = waiting(patient[i], GD__ALONE);
        assert_int_equal(judge(s), GD__SLOW);
        expect_culprits("0");
        s[0].moved = NOW - 101;
        assert_int_equal(judge(s), GD__HANGS);
        expect_culprits("0");
    }
}

static void limits_follow_what_is_usual(void **state) {
    gd__habits h = {.limit = 10, .patience = 100, .factor = 20};
    (void)state;
    assert_true(gd__usual_limit(&h) == 10 && gd__phase_limit(&h, GD_PHASE_COMPUTE) == 100); /* first steps */
    double at = 0;
    for (int i = 1; i <= 30; i++) gd__habits_learn(&h, gd__label_make(GD_PHASE_COMPUTE, 1, i), (uint64_t)i, at += 2);
    assert_true(gd__usual_limit(&h) > 39.9 && gd__usual_limit(&h) < 40.1);
    assert_true(gd__phase_limit(&h, GD_PHASE_COMPUTE) == gd__usual_limit(&h));
    /* A save of 30 s: the next may take 600. One slow step changes no median. */
    gd__habits_learn(&h, gd__label_make(GD_PHASE_SAVE, -1, 30), 30, at);
    gd__habits_learn(&h, gd__label_make(GD_PHASE_COMPUTE, 1, 31), 31, at += 30);
    assert_true(gd__phase_limit(&h, GD_PHASE_SAVE) > 599 && gd__phase_limit(&h, GD_PHASE_SAVE) < 601);
    assert_true(gd__usual_limit(&h) < 40.1);
    /* After a load programs and caches are cold again. */
    gd__habits_learn(&h, gd__label_make(GD_PHASE_LOAD, -1, 0), 0, at += 1);
    gd__habits_learn(&h, gd__label_make(GD_PHASE_COMPUTE, 1, 1), 1, at += 1);
    assert_true(gd__phase_limit(&h, GD_PHASE_COMPUTE) == 100);
}

/* A rank that comes to other places all the time, a tenth of a second apart. work, gain: how many of these times something
 * gets done, or a step ends; 0: never. */
static void move(gd__sight *s, int times, gd_phase phase, int work, int gain) {
    uint64_t w = s->work, g = s->gain;
    for (int i = 1; i <= times; i++)
        gd__sight_learn(s, s->arrived + 1, waiting(phase, i % 2 ? GD__ALLGATHER : GD__ALONE),
                        w += work && i % work == 0, g += gain && i % gain == 0, s->moved + 0.1, 2.5);
}

static void who_moves_and_gets_nowhere_is_named(void **state) {
    gd__sight s[N];
    (void)state;
    all_wait(s, 0);
    for (int r = 0; r < N; r++) move(&s[r], 195, GD_PHASE_CONTROL, 0, 0); /* limit: twice 10 s */
    assert_int_equal(judge(s), GD__FINE);
    for (int r = 0; r < 2; r++) move(&s[r], 10, GD_PHASE_CONTROL, 0, 0);
    assert_int_equal(judge(s), GD__TURNS);
    expect_culprits("0-1");
    /* Something gets done now and then: all is well, until no step has ended for 100 s. */
    all_wait(s, 0);
    move(&s[0], 990, GD_PHASE_COMPUTE, 100, 0);
    assert_int_equal(judge(s), GD__FINE);
    move(&s[0], 20, GD_PHASE_COMPUTE, 5, 0);
    assert_int_equal(judge(s), GD__TURNS);
    expect_culprits("0");
    move(&s[0], 1, GD_PHASE_COMPUTE, 0, 1);
    assert_int_equal(judge(s), GD__FINE);
    /* In a phase that may last, patience is what counts. */
    all_wait(s, 0);
    move(&s[3], 900, GD_PHASE_SAVE, 0, 0);
    assert_int_equal(judge(s), GD__FINE);
    move(&s[3], 150, GD_PHASE_SAVE, 0, 0);
    assert_int_equal(judge(s), GD__TURNS);
    expect_culprits("3");
}

/* Whoever waits, also again and again, has not moved meanwhile; the first steps may take their time. */
static void waiting_is_no_turning(void **state) {
    gd__sight s = {0};
    gd__habits h = {.limit = 10, .patience = 100, .factor = 20};
    (void)state;
    for (int i = 1; i < 1000; i++)
        gd__sight_learn(&s, (uint64_t)i, waiting(GD_PHASE_REDUCE, GD__SUM), 0, 0, 3.0 * i, 2.5);
    assert_true(s.fruitless == 0 && s.endless == 0);
    for (int i = 1; i <= 10; i++)
        gd__sight_learn(&s, 999, waiting(GD_PHASE_REDUCE, GD__SUM), 0, 0, 2997 + i, 2.5); /* stands */
    assert_true(s.fruitless == 0 && s.moved == 2997);
    assert_true(gd__fruitless_limit(&h) == 100 && gd__endless_limit(&h) == 100);
    h = usual_habits();
    assert_true(gd__fruitless_limit(&h) == 20 && gd__endless_limit(&h) == 100);
}

static void time_that_did_not_pass_counts_for_nothing(void **state) {
    gd__habits h = usual_habits();
    (void)state;
    gd__habits_skip(&h, 1e6);
    gd__habits_learn(&h, gd__label_make(GD_PHASE_SAVE, -1, 20), 20, 1e6 + 2.1);
    assert_true(h.longest[GD_PHASE_COMPUTE] < 3);
}

static void labels_and_ranks_are_text(void **state) {
    char text[200];
    unsigned char set[12] = {1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1};
    (void)state;
    uint64_t label = gd__label_make(GD_PHASE_REDUCE, 1, 1234567890);
    assert_string_equal(gd__label_text(label, text, sizeof text), "step 1234567890, gradients of D");
    assert_string_equal(gd__label_text(gd__label_with(label, GD__REDUCE, 3), text, sizeof text),
                        "step 1234567890, gradients of D, bucket 3: waits in an all-reduce");
    assert_int_equal(gd__label_bucket(gd__label_with(label, GD__REDUCE, 5000)), 1023);
    assert_string_equal(gd__label_text(gd__label_make(GD_PHASE_START, -1, 0), text, sizeof text), "start-up");
    assert_string_equal(gd_ranks_text(set, 12, text, sizeof text), "0-2, 5, 7-8, 11");
    assert_string_equal(gd_ranks_text(set, 0, text, sizeof text), "");
}

/* What one host writes another one reads, with times as ages; files of other starts, and damaged ones, say nothing. */
static void hosts_read_each_others_files(void **state) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    gd__heartbeat ours = {.folder = tmp ? tmp : ".", .start = 0xabc}, other = ours;
    gd__sight out[2] = {
        {.known = true, .watched = true, .arrived = 5, .label = 0x123456789, .moved = 90, .lived = 99.5, .process = 42},
        {.known = true, .arrived = 6, .label = 7, .moved = 80, .lived = 100, .process = 43}};
    const int rank[2] = {1, 3};
    gd__sight in[N] = {{0}};
    uint64_t number = 0;
    (void)state;
    assert_false(gd__heartbeat_read(&ours, 1, in, N, 0, 0, &number));
    assert_int_equal(gd__heartbeat_write(&ours, 1, "host b", out, rank, 2, 100), GD_OK);
    assert_true(gd__heartbeat_read(&ours, 1, in, N, 1000, 3, &number));
    assert_int_equal(number, 1);
    assert_true(in[1].known && in[1].watched && in[1].arrived == 5 && in[1].label == 0x123456789 &&
                in[1].process == 42);
    assert_true(in[1].moved == 987 && in[1].lived == 999.5);
    assert_true(in[3].known && !in[3].watched && in[3].moved == 977 && !in[0].known && !in[2].known);
    assert_false(gd__heartbeat_read(&ours, 1, in, 2, 1000, 0, &number)); /* more ranks than there are */
    other.start = 0xabd;
    assert_false(gd__heartbeat_read(&other, 1, in, N, 1000, 0, &number));
    gd__heartbeat_remove(&ours, 1);
    assert_false(gd__heartbeat_read(&ours, 1, in, N, 1000, 0, &number));
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* gd_watchdog_look: ranks of all hosts by number; of the newest start only; rubbish does no harm. */
static void files_are_read_from_outside(void **state) {
    char folder[512], path[600];
    const char *tmp = getenv("GANDIST_TEST_TMP");
    snprintf(folder, sizeof folder, "%s/look", tmp ? tmp : ".");
    gd__heartbeat now = {.folder = folder, .start = 7}, before = {.folder = folder, .start = 6};
    gd__sight out[2] = {{.known = true,
                         .label = waiting(GD_PHASE_REDUCE, GD__REDUCE),
                         .watched = true,
                         .moved = 90,
                         .lived = 91,
                         .process = 42},
                        {.known = true, .label = gd__label_make(GD_PHASE_DATA, -1, 20), .moved = 70, .process = 43}};
    const int first[2] = {0, 1}, second[2] = {3, 2};
    gd_rank_view *v;
    int n;
    (void)state;
    assert_int_equal(gd_watchdog_look(folder, &v, &n), GD_OK);
    assert_true(n == 0 && !v);
    assert_int_equal(gd_dir_make(folder), GD_OK);
    assert_int_equal(gd__heartbeat_write(&before, 9, "old", out, first, 2, 100), GD_OK);
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, gd__heartbeat_path(&before, 9, path, sizeof path), old, 0), 0);
    assert_int_equal(gd__heartbeat_write(&now, 2, "b", out, second, 2, 100), GD_OK);
    assert_int_equal(gd__heartbeat_write(&now, 0, "a", out, first, 2, 100), GD_OK);
    snprintf(path, sizeof path, "%s/ranks-from-000004", folder);
    write_text(path, "gandist-heartbeat 1 7 1 c\n4 1 0 nan 0 1 1\n4 1\n-4 1 0 0 0 1 1\n999999999 1 0 0 0 1 1\n\n\xff");
    snprintf(path, sizeof path, "%s/ranks-from-000005", folder);
    write_text(path, "no heartbeat");
    assert_int_equal(gd_watchdog_look(folder, &v, &n), GD_OK);
    assert_int_equal(n, 4);
    for (int r = 0; r < n; r++) {
        bool waits = r == 0 || r == 3;
        assert_true(v[r].rank == r && v[r].waits == waits && v[r].frozen == waits && v[r].step == 20 &&
                    v[r].process == (waits ? 42 : 43));
        assert_true(v[r].still_s >= (waits ? 10 : 30) && v[r].still_s < (waits ? 10 : 30) + 10 && v[r].silent_s < 10);
        assert_string_equal(v[r].host, r < 2 ? "a" : "b");
    }
    assert_string_equal(v[0].where, "step 20, gradients of G: waits in an all-reduce");
    free(v);
    assert_int_equal(gd_dir_remove(folder), GD_OK);
}

/* ---- stragglers ---- */

/* A window in which rank 2 takes so long; who is named, -1: nobody. */
static int window(gd__stragglers *s, double data, double compute, char *text, size_t room) {
    int named = -1, rank;
    for (int i = 0; i < GD__STRAGGLER_WINDOW; i++) {
        for (int r = 0; r < N; r++)
            gd__stragglers_add(s, r, r == 2 ? data : 0.001, r == 2 ? compute : 0.020,
                               r == 2 ? 0 : data + compute - 0.021);
        if (gd__stragglers_end(s, &rank, text, room)) named = rank;
    }
    return named;
}

static void stragglers_are_named_with_their_phase(void **state) {
    gd__stragglers s = {0};
    char text[400];
    (void)state;
    assert_int_equal(gd__stragglers_open(&s, N), GD_OK);
    for (int i = 0; i < 9; i++) assert_int_equal(window(&s, 0.001, 0.027, text, sizeof text), -1); /* within 1.4 */
    for (int i = 1; i <= 13; i++) /* three windows, then ever more seldom */
        assert_int_equal(window(&s, 0.001, 0.060, text, sizeof text), i == 3 || i == 6 || i == 12 ? 2 : -1);
    assert_non_null(strstr(text, "with its computing, for 1200 steps now"));
    assert_non_null(strstr(text, "computes 60 ms (20)"));
    assert_int_equal(window(&s, 0.001, 0.020, text, sizeof text), -1);
    for (int i = 1; i <= 3; i++) assert_int_equal(window(&s, 0.050, 0.020, text, sizeof text), i == 3 ? 2 : -1);
    assert_non_null(strstr(text, "with its data, for 300 steps now"));
    gd__stragglers_close(&s);
    /* Times of which nobody would notice anything are noise. Of two ranks the faster is the measure. */
    assert_int_equal(gd__stragglers_open(&s, 2), GD_OK);
    for (int k = 0; k < 2; k++) {
        int named = -1, rank;
        for (int i = 0; i < 3 * GD__STRAGGLER_WINDOW; i++) {
            gd__stragglers_add(&s, 0, 0, k ? 0.02 : 0.001, 0);
            gd__stragglers_add(&s, 1, 0, k ? 0.01 : 0.0001, k ? 0.01 : 0.0009);
            if (gd__stragglers_end(&s, &rank, text, sizeof text)) named = rank;
        }
        assert_int_equal(named, k ? 0 : -1);
    }
    gd__stragglers_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_moves_is_fine),
        cmocka_unit_test(who_is_missing_is_named),
        cmocka_unit_test(nobody_is_missing_when_all_wait_together),
        cmocka_unit_test(a_process_that_does_not_run_is_named),
        cmocka_unit_test(long_phases_get_patience),
        cmocka_unit_test(limits_follow_what_is_usual),
        cmocka_unit_test(who_moves_and_gets_nowhere_is_named),
        cmocka_unit_test(waiting_is_no_turning),
        cmocka_unit_test(time_that_did_not_pass_counts_for_nothing),
        cmocka_unit_test(labels_and_ranks_are_text),
        cmocka_unit_test(files_are_read_from_outside),
        cmocka_unit_test(hosts_read_each_others_files),
        cmocka_unit_test(stragglers_are_named_with_their_phase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
