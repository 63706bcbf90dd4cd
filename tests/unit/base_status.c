/* Status, error record and log. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/status.h"

/* ---- status ---- */

static void every_status_has_name_code_and_meaning(void **state) {
    (void)state;
    assert_string_equal(gd_status_name(GD_OK), "OK");
    assert_string_equal(gd_status_name(GD_NOPROGRESS), "NOPROGRESS");
    assert_int_equal(gd_status_exit_code(GD_OK), 0);
    assert_int_equal(gd_status_exit_code(GD_USAGE), 64);
    assert_int_equal(gd_status_exit_code(GD_REQUEUE), 75);
    assert_int_equal(gd_status_exit_code(GD_NOPROGRESS), 93);
    for (int st = 1; st < GD_STATUS_COUNT; st++) {
        assert_true(gd_status_exit_code((gd_status)st) >= 64);
        assert_true(strlen(gd_status_meaning((gd_status)st)) > 5);
    }
    assert_string_equal(gd_status_name((gd_status)999), "INTERNAL");
    assert_int_equal(gd_status_exit_code((gd_status)-1), 70);
}

static gd_status innermost(int value) { GD_FAIL(DATA, "file: has %d; expected %d", value, value + 1); }
static gd_status middle(int value) {
    GD_TRY(innermost(value));
    return GD_OK;
}
static gd_status outer(int value, int *unwound) {
    gd_status st = GD_OK;
    GD_TRY_TO(undo, middle(value));
undo:
    *unwound = 1;
    return st;
}

static void message_and_trail_follow_the_calls(void **state) {
    (void)state;
    int unwound = 0, first, second, third, used = 0;
    assert_int_equal(outer(4, &unwound), GD_DATA);
    assert_int_equal(unwound, 1);
    assert_string_equal(gd_error_message(), "file: has 4; expected 5");
    assert_int_equal(sscanf(gd_error_trail(), "unit/base_status.c:%d < unit/base_status.c:%d < unit/base_status.c:%d%n",
                            &first, &second, &third, &used),
                     3);
    assert_int_equal(used, strlen(gd_error_trail()));
    assert_true(first < second && second < third);
    assert_int_equal(gd_context(GD_DATA, "recipe %s", "w.yaml"), GD_DATA);
    assert_string_equal(gd_error_message(), "recipe w.yaml: file: has 4; expected 5");
    assert_int_equal(innermost(7), GD_DATA); /* a new error replaces the old one */
    assert_string_equal(gd_error_message(), "file: has 7; expected 8");
    assert_null(strstr(gd_error_trail(), " < "));
    gd_error_clear();
    assert_string_equal(gd_error_message(), "");
    assert_string_equal(gd_error_trail(), "");
}

static void a_message_may_be_made_of_the_last_one(void **state) {
    (void)state;
    gd_raise(GD_IO, "a/b.c", 1, "disk full");
    gd_raise(GD_PEER, "a/c.c", 2, "rank 3: %s", gd_error_message());
    assert_string_equal(gd_error_message(), "rank 3: disk full");
    gd_context(GD_PEER, "because of (%s)", gd_error_message());
    assert_string_equal(gd_error_message(), "because of (rank 3: disk full): rank 3: disk full");
    assert_string_equal(gd_error_trail(), "a/c.c:2");
}

static void long_texts_are_cut_between_characters(void **state) {
    (void)state;
    static char long_text[6000];
    for (int lead = 0; lead < 4; lead++) {
        memset(long_text, 'x', (size_t)lead);
        for (size_t i = (size_t)lead; i + 4 < sizeof long_text; i += 3) memcpy(long_text + i, "\xe2\x82\xac", 4);
        gd_raise(GD_IO, "b.c", 1, "%s", long_text);
        size_t n = strlen(gd_error_message());
        assert_true(n > 4000 && n < sizeof((gd_error *)0)->message);
        assert_int_equal((n - (size_t)lead) % 3, 0);
        gd_context(GD_IO, "%s", long_text);
        assert_true(strlen(gd_error_message()) < sizeof((gd_error *)0)->message);
        assert_memory_equal(gd_error_message(), long_text, 600);
    }
    gd_raise(GD_IO, "/a/b/c/deep.c", 1, "x");
    for (int i = 0; i < 500; i++) gd_trace(GD_IO, "/a/b/c/deep.c", i);
    size_t n = strlen(gd_error_trail());
    assert_true(n < sizeof((gd_error *)0)->trail);
    assert_string_equal(gd_error_trail() + n - 6, " < ...");
    assert_memory_equal(gd_error_trail(), "c/deep.c:1 < c/deep.c:0", 23);
}

static void *worker(void *out) {
    assert_string_equal(gd_error_message(), ""); /* a thread has its own record */
    gd_status st = outer(1, &(int){0});
    gd_error_save(st, out);
    return NULL;
}

static void an_error_crosses_threads(void **state) {
    (void)state;
    gd_error e;
    pthread_t thread;
    gd_raise(GD_IO, "main.c", 1, "mine");
    assert_int_equal(pthread_create(&thread, NULL, worker, &e), 0);
    pthread_join(thread, NULL);
    assert_string_equal(gd_error_message(), "mine");
    assert_int_equal(gd_error_restore(&e), GD_DATA);
    assert_string_equal(gd_error_message(), "file: has 1; expected 2");
    assert_non_null(strstr(gd_error_trail(), " < "));
    gd_error_save(GD_OK, &e);
    assert_int_equal(e.status, GD_OK);
    assert_string_equal(e.message, "");
}

static void what_ranks_agreed_on_decides(void **state) {
    (void)state;
    gd_error e;
    gd_raise(GD_PEER, "b.c", 1, "rank 1: disk full");
    assert_false(gd_error_is_agreed());
    assert_int_equal(gd_error_agreed(GD_PEER), GD_PEER);
    assert_int_equal(gd_error_agree(GD_PEER, GD_IO), GD_PEER);
    gd_trace(GD_PEER, "b.c", 2);
    gd_context(GD_PEER, "saving");
    assert_true(gd_error_is_agreed());
    assert_int_equal(gd_error_agreed(GD_PEER), GD_IO);
    assert_int_equal(gd_error_agreed(GD_OK), GD_OK);
    gd_error_save(GD_PEER, &e);
    gd_raise(GD_DATA, "b.c", 3, "another one"); /* of this rank alone */
    assert_int_equal(gd_error_agreed(GD_DATA), GD_DATA);
    gd_error_restore(&e);
    assert_int_equal(gd_error_agreed(GD_PEER), GD_IO);
    gd_error_clear();
    assert_false(gd_error_is_agreed());
}

/* ---- log ---- */

static char last_line[9000];
static int line_count;
static void catch_line(void *ctx, gd_level level, const char *line) {
    assert_ptr_equal(ctx, &line_count);
    assert_true((int)level < GD_LEVEL_COUNT);
    snprintf(last_line, sizeof last_line, "%s", line);
    line_count++;
}

static int log_setup(void **state) {
    (void)state;
    line_count = 0;
    last_line[0] = '\0';
    gd_log_set_stderr(false);
    gd_log_set_sink(catch_line, &line_count);
    return gd_log_configure(NULL);
}

static int log_teardown(void **state) {
    (void)state;
    gd_log_set_sink(NULL, NULL);
    gd_log_set_stderr(true);
    gd_log_set_rank(-1);
    return gd_log_configure("");
}

static void log_levels_are_per_room(void **state) {
    (void)state;
    assert_true(gd_log_on(GD_ROOM_DIST, GD_LEVEL_INFO));
    assert_false(gd_log_on(GD_ROOM_DIST, GD_LEVEL_DEBUG));
    assert_int_equal(gd_log_configure("warn,dist=trace,data=debug"), GD_OK);
    assert_false(gd_log_on(GD_ROOM_BASE, GD_LEVEL_INFO));
    assert_true(gd_log_on(GD_ROOM_BASE, GD_LEVEL_WARN));
    assert_true(gd_log_on(GD_ROOM_DIST, GD_LEVEL_TRACE));
    assert_true(gd_log_on(GD_ROOM_DATA, GD_LEVEL_DEBUG));
    assert_false(gd_log_on(GD_ROOM_DATA, GD_LEVEL_TRACE));
    GD_LOG(BASE, INFO, "not %s", "seen");
    assert_int_equal(line_count, 0);
    assert_int_equal(gd_log_configure(""), GD_OK); /* back to the defaults */
    assert_false(gd_log_on(GD_ROOM_DIST, GD_LEVEL_DEBUG));
}

static void log_lines_have_rank_level_room(void **state) {
    (void)state;
    GD_LOG(DATA, WARN, "%d files", 3);
    assert_string_equal(last_line, "warn data: 3 files");
    gd_log_set_rank(5);
    GD_LOG(LAUNCH, ERROR, "a\nb\x1b[31m\n");
    assert_string_equal(last_line, "[5] error launch: a b?[31m");
    assert_int_equal(gd_log_configure("debug"), GD_OK);
    double seconds = -1;
    GD_LOG(DIST, DEBUG, "x");
    assert_int_equal(sscanf(last_line, "[5] debug dist %lfs: x", &seconds), 1);
    assert_true(seconds >= 0 && seconds < 100);
    static char text[20000];
    memset(text, 'y', sizeof text - 1);
    GD_LOG(BASE, INFO, "%s", text);
    size_t n = strlen(last_line);
    assert_true(n > 8000 && n < 8200);
    assert_string_equal(last_line + n - 4, " ...");
}

static void wrong_log_levels_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *spec, *says;
    } cases[] = {
        {"inof", "unknown level 'inof'; did you mean 'info'?"},
        {"dits=debug", "unknown room 'dits'; did you mean 'dist'?"},
        {"dist=tarce", "unknown level 'tarce'; did you mean 'trace'?"},
        {"quite-another", "unknown level 'quite-another'; expected one of error, warn, info, debug, trace"},
        {"info,", "ends with a comma"},
        {",info", "is no level"},
        {"info,,debug", "is no level"},
        {"=info", "unknown room ''"},
        {"dist=", "unknown level ''"},
        {"averyveryveryveryveryveryveryveryveryveryveryveryveryverylongword=info", "is no level"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(gd_log_configure("debug"), GD_OK);
        assert_int_equal(gd_log_configure(cases[i].spec), GD_USAGE);
        assert_non_null(strstr(gd_error_message(), cases[i].says));
        assert_true(gd_log_on(GD_ROOM_DIST, GD_LEVEL_DEBUG)); /* unchanged */
    }
}

enum { THREADS = 4, LINES = 200 };
static void count_line(void *ctx, gd_level level, const char *line) {
    (void)level;
    assert_string_equal(line, "info base: 0123456789");
    ++*(int *)ctx; /* under the log's lock */
}
static void *log_much(void *unused) {
    for (int i = 0; i < LINES; i++) GD_LOG(BASE, INFO, "%s", "0123456789");
    return unused;
}
static void log_takes_many_threads(void **state) {
    (void)state;
    int lines = 0;
    pthread_t thread[THREADS];
    gd_log_set_sink(count_line, &lines);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, log_much, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    assert_int_equal(lines, THREADS * LINES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_name_code_and_meaning),
        cmocka_unit_test(message_and_trail_follow_the_calls),
        cmocka_unit_test(a_message_may_be_made_of_the_last_one),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(an_error_crosses_threads),
        cmocka_unit_test(what_ranks_agreed_on_decides),
        cmocka_unit_test_setup_teardown(log_levels_are_per_room, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(log_lines_have_rank_level_room, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(wrong_log_levels_are_refused, log_setup, log_teardown),
        cmocka_unit_test_setup_teardown(log_takes_many_threads, log_setup, log_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
