/* Durations, the time limit and the stop file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/log.h"
#include "launch/leaving.h"
#include "launch/progress.h"

static void durations_are_read(void **state) {
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {
        {"1", 60},
        {"90", 5400},
        {"00:00:01", 1},
        {"01:30:00", 5400},
        {"100:00:00", 360000},
        {"1-00:00:00", 86400},
        {"2-03:04:05", 2 * 86400 + 3 * 3600 + 4 * 60 + 5},
        {"527040", 366 * 86400},
    };
    static const char *const bad[] = {
        "",         "0",          "00:00:00",     "0-00:00:00", "-1",
        "1.5",      "abc",        "10:00",        "1:2:3:4",    "01:60:00",
        "01:00:60", ":1:1",       "1::1",         "1-24:00:00", "1-2",
        "-",        "1-",         "1:00:00 ",     " 1",         "+5",
        "0x10",     "9999999",    "367-00:00:00", "527041",     "99999999999999999999999",
        "1h",       "8785:00:00", "366-00:00:01", "1:00:000",   "1\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t s = -1;
        assert_int_equal(gd_duration_parse("--time", good[i].text, &s), GD_OK);
        assert_int_equal(s, good[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t s = -1;
        if (gd_duration_parse("--time", bad[i], &s) != GD_USAGE)
            fail_msg("'%s' was taken as %lld s", bad[i], (long long)s);
        assert_non_null(strstr(gd_error_message(), "--time"));
    }
    gd_error_clear();
}

static void without_limit_nothing_ends(void **state) {
    gd_leaving l;
    (void)state;
    gd_leaving_begin(&l, gd_seconds(), 0, NULL, NULL);
    assert_false(l.limited);
    assert_int_equal(gd_leaving_poll(&l), 0);
    assert_int_equal(l.reason, GD_LEAVING_NOT);
}

/* Margin of 100 s, nothing measured: 2 x 10 s and 5 s. Measured saves of 30 s: 2 x 30 s and 5 s. */
static void margin_follows_saves(void **state) {
    gd_leaving l;
    (void)state;
    gd_leaving_begin(&l, gd_seconds(), 100, NULL, NULL);
    assert_float_equal(gd_leaving_margin(&l), 25, 1e-9);
    gd_leaving_saved(&l, 30);
    gd_leaving_saved(&l, 2);
    assert_float_equal(gd_leaving_margin(&l), 65, 1e-9);
    l.slowest_step = 4;
    assert_float_equal(gd_leaving_margin(&l), 73, 1e-9);
    l.slowest_step = 0;
    l.end = gd_seconds() + 66;
    l.begun = l.end - 100;
    l.polled = gd_seconds();
    assert_int_equal(gd_leaving_poll(&l), 0);
    l.end -= 2;
    l.begun -= 2;
    assert_int_equal(gd_leaving_poll(&l), 2);
    assert_int_equal(l.reason, GD_LEAVING_TIME);
}

static void job_end(gd_leaving *l, int64_t seconds, long long from_now) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)time(NULL) + from_now);
    gd_leaving_begin(l, gd_seconds(), seconds, text, NULL);
}

static void the_earlier_end_counts(void **state) {
    gd_leaving l;
    (void)state;
    job_end(&l, 0, 500);
    assert_true(l.limited);
    assert_float_equal(l.end - l.begun, 500, 1.5);
    job_end(&l, 300, 500);
    assert_float_equal(l.end - l.begun, 300, 0.01);
    job_end(&l, 700, 500);
    assert_float_equal(l.end - l.begun, 500, 1.5);
    gd_log_set_stderr(false);
    job_end(&l, 700, -5);
    assert_float_equal(l.end - l.begun, 700, 0.01);
    static const char *const none[] = {"", "soon", "-7", "1e9", "0", "9223372036854775807", "99999999999999999999"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        gd_leaving_begin(&l, gd_seconds(), 0, none[i], NULL);
        assert_false(l.limited);
    }
    gd_log_set_stderr(true);
}

static void stop_file_is_obeyed_and_goes(void **state) {
    const char *folder = getenv("GANDIST_TEST_TMP");
    char path[1024];
    gd_leaving l;
    (void)state;
    snprintf(path, sizeof path, "%s/stop", folder ? folder : ".");
    gd_io_get()->unlink(path);
    gd_leaving_begin(&l, gd_seconds(), 0, NULL, path);
    assert_int_equal(gd_leaving_poll(&l), 0);
    assert_int_equal(gd_file_write(path, "", 0), GD_OK);
    assert_int_equal(gd_leaving_poll(&l), 0); /* looked less than a second ago */
    l.looked -= 1;
    assert_int_equal(gd_leaving_poll(&l), 2);
    assert_int_equal(gd_leaving_poll(&l), 2);
    assert_int_equal(l.reason, GD_LEAVING_STOP_FILE);
    gd_leaving_obeyed(&l);
    assert_false(gd_path_exists(path));
    gd_leaving_obeyed(&l); /* somebody else removed it: fine */
    /* Who leaves for another reason leaves the file. */
    assert_int_equal(gd_file_write(path, "", 0), GD_OK);
    l.reason = GD_LEAVING_TIME;
    gd_leaving_obeyed(&l);
    assert_true(gd_path_exists(path));
    gd_io_get()->unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),           cmocka_unit_test(without_limit_nothing_ends),
        cmocka_unit_test(margin_follows_saves),         cmocka_unit_test(the_earlier_end_counts),
        cmocka_unit_test(stop_file_is_obeyed_and_goes),
    };
    return cmocka_run_group_tests_name("launch.leaving", tests, NULL, NULL);
}
