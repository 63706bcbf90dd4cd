/* events.jsonl: lines, what is no UTF-8 or not finite, lines cut short, tails of files that are being written; what the
 * history makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/io.h"
#include "dist/events.h"
#include "launch/history.h"

static char folder[512], path[1024];

static int begin(void **state) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    (void)state;
    snprintf(folder, sizeof folder, "%s", tmp ? tmp : ".");
    snprintf(path, sizeof path, "%s/events.jsonl", folder);
    gd_io_get()->unlink(path);
    return 0;
}

static void put(const char *text) { assert_int_equal(gd_file_append(path, text, strlen(text)), GD_OK); }

static char *tail(size_t room) {
    static char *text;
    assert_int_equal(gd_lines_tail(path, room, &text), GD_OK);
    return text;
}

static void expect_tail(size_t room, const char *want) {
    char *text = tail(room);
    assert_string_equal(text, want);
    free(text);
}

static void lines_are_json(void **state) {
    (void)state;
    gd_event_field field[] = {GD_EVENT_TEXT("said", "a \"b\"\n\xff\xc3\xa9"),
                              GD_EVENT_NUMBER("n", 3),
                              GD_EVENT_NUMBER("x", 0.25),
                              GD_EVENT_NUMBER("nan", NAN),
                              GD_EVENT_NUMBER("inf", -INFINITY),
                              GD_EVENT_NUMBER("big", 1e300)};
    assert_int_equal(gd_events_add(path, &(gd_event){"save", 12, field, 6}), GD_OK);
    assert_int_equal(gd_events_add(path, &(gd_event){"warning", -1, NULL, 0}), GD_OK);
    char *text = tail(4096), *second = strchr(text, '\n') + 1;
    assert_non_null(strstr(
        text, "\"event\":\"save\",\"step\":12,\"said\":\"a \\\"b\\\"\\n???\",\"n\":3,\"x\":0.25,\"big\":1e300}\n"));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(second, "\"event\":\"warning\"}\n"));
    assert_null(strstr(second, "step"));
    free(text);
}

static void a_line_cut_short_is_ended(void **state) {
    (void)state;
    assert_int_equal(gd_events_mend(path), GD_OK); /* no file */
    assert_false(gd_path_exists(path));
    put("{\"a\":1}\n");
    assert_int_equal(gd_events_mend(path), GD_OK);
    expect_tail(100, "{\"a\":1}\n");
    put("{\"ti");
    expect_tail(100, "{\"a\":1}\n");
    assert_int_equal(gd_events_mend(path), GD_OK);
    put("{\"b\":2}\n");
    expect_tail(100, "{\"a\":1}\n{\"ti\n{\"b\":2}\n");
}

static void tails_hold_whole_lines(void **state) {
    (void)state;
    expect_tail(10, "");
    put("one\ntwo\nthree\nfo");
    expect_tail(1000, "one\ntwo\nthree\n");
    expect_tail(16, "one\ntwo\nthree\n"); /* the whole file, to the byte */
    expect_tail(15, "two\nthree\n");
    expect_tail(12, "three\n"); /* begins at a line, which cannot be known */
    expect_tail(8, "");
    expect_tail(3, "");
    expect_tail(0, "");
}

static void history_follows_the_last_start(void **state) {
    gd_history h;
    (void)state;
    assert_int_equal(gd_history_read(folder, &h), GD_OK);
    assert_false(h.begun || h.ended || h.n_shown);
    gd_history_free(&h);
    put("{\"event\":\"start\",\"until\":9,\"ranks\":2,\"hosts\":\"a b\"}\n{\"event\":\"save\",\"seconds\":2.5}\n");
    put("{\"event\":\"save\",\"seconds\":1}\n{\"event\":\"stop\",\"reason\":\"error\",\"exit\":88,\"said\":\"no\"}\n");
    put("rubbish\n[]\n{\"event\":5}\n{\"event\":\"save\",\"seconds\":\"long\"}\n");
    assert_int_equal(gd_history_read(folder, &h), GD_OK);
    assert_true(h.begun && h.ended);
    assert_string_equal(h.reason, "error");
    assert_string_equal(h.said, "no");
    assert_string_equal(h.hosts, "a b");
    assert_int_equal(h.exit_code, 88);
    assert_int_equal(h.until, 9);
    assert_int_equal(h.n_shown, 5);
    assert_float_equal(h.longest_save, 2.5, 1e-9);
    gd_history_free(&h);
    put("{\"event\":\"restart\",\"until\":20,\"ranks\":1}\n");
    for (int i = 0; i < 20; i++) put("{\"event\":\"warning\",\"text\":\"w\"}\n");
    assert_int_equal(gd_history_read(folder, &h), GD_OK);
    assert_true(h.begun && !h.ended);
    assert_string_equal(h.said, "");
    assert_int_equal(h.until, 20);
    assert_int_equal(h.n_shown, GD_HISTORY_SHOWN);
    gd_history_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_are_json, begin),
        cmocka_unit_test_setup(a_line_cut_short_is_ended, begin),
        cmocka_unit_test_setup(tails_hold_whole_lines, begin),
        cmocka_unit_test_setup(history_follows_the_last_start, begin),
    };
    return cmocka_run_group_tests_name("launch.events", tests, NULL, NULL);
}
