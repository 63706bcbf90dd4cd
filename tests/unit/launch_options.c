/* Command lines against the option table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "launch/options.h"

typedef struct values {
    bool flag;
    const char *text;
    int64_t number;
    gd_text_list list;
} values;

static const gd_option table[] = {
    {"flag", GD_OPT_FLAG, offsetof(values, flag), NULL, "a flag"},
    {"text", GD_OPT_TEXT, offsetof(values, text), "TEXT", "a text"},
    {"number", GD_OPT_INT, offsetof(values, number), "N", "a number"},
    {"set", GD_OPT_TEXTS, offsetof(values, list), "KEY=VALUE", "many"},
};
static const gd_command command = {.name = "test",
                                   .usage = "A [B]",
                                   .example = "gandist test a",
                                   .summary = "tests",
                                   .options = table,
                                   .option_count = 4,
                                   .min_args = 1,
                                   .max_args = 2};

static gd_status parse(values *v, gd_text_list *args, int argc, const char *const *argv) {
    bool helped;
    memset(v, 0, sizeof *v);
    return gd_options_parse(&command, argc, (char **)(uintptr_t)argv, v, args, &helped);
}

static void takes_every_form(void **state) {
    (void)state;
    values v;
    gd_text_list args;
    const char *argv[] = {"--flag", "a", "--text=x=y", "--number", "-12", "--set", "k=1", "--set=l=2", "--", "--b"};
    assert_int_equal(parse(&v, &args, 10, argv), GD_OK);
    assert_true(v.flag);
    assert_string_equal(v.text, "x=y");
    assert_int_equal(v.number, -12);
    assert_int_equal(v.list.count, 2);
    assert_string_equal(v.list.item[0], "k=1");
    assert_string_equal(v.list.item[1], "l=2");
    assert_int_equal(args.count, 2);
    assert_string_equal(args.item[1], "--b");
}

static void refuses(const char *message, int argc, const char *const *argv) {
    values v;
    gd_text_list args;
    assert_int_equal(parse(&v, &args, argc, argv), GD_USAGE);
    if (!strstr(gd_error_message(), message)) fail_msg("'%s' lacks '%s'", gd_error_message(), message);
}

static void says_what_is_wrong(void **state) {
    (void)state;
    refuses("did you mean '--number'", 2, (const char *[]){"a", "--numbr=1"});
    refuses("takes no value", 2, (const char *[]){"a", "--flag=1"});
    refuses("--number needs N", 2, (const char *[]){"a", "--number"});
    refuses("wants an integer, got '1.5'", 3, (const char *[]){"a", "--number", "1.5"});
    refuses("wants an integer, got ''", 2, (const char *[]){"a", "--number="});
    refuses("too few", 0, (const char *[]){NULL});
    refuses("unexpected argument 'c'", 3, (const char *[]){"a", "b", "c"});
    refuses("two dashes", 2, (const char *[]){"a", "-x"});
}

static void bounds_the_number_of_repeats(void **state) {
    (void)state;
    const char *argv[2 * GD_LIST_MAX + 3] = {"a"};
    for (int i = 0; i <= GD_LIST_MAX; i++) {
        argv[1 + 2 * i] = "--set";
        argv[2 + 2 * i] = "k=1";
    }
    refuses("more than 4096 times", 2 * GD_LIST_MAX + 3, argv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_form),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(bounds_the_number_of_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
