/* Which implementation of a convolution is taken, and how that is kept: compute/cpu/choice.h. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "compute/cpu/choice_table.h"
#include "tests/unit/cpu_rig.h"

static gd_dnnl *library;

static gd_dnnl_conv shape(gd_dnnl_pass pass, int64_t n, int64_t h, int64_t c, int64_t k, int64_t r, int64_t stride) {
    int64_t p = (h + 2 - r) / stride + 1, behind = (p - 1) * stride + r - h - 1;
    gd_dnnl_conv o = {
        .pass = pass, .n = n, .h = h, .w = h, .c = c, .k = k, .r = r, .s = r, .p = p, .q = p, .stride = stride};
    o.pad[0] = o.pad[2] = 1;
    o.pad[1] = o.pad[3] = behind > 0 ? behind : 0;
    return o;
}

/* Shapes that reach every row of the rule. */
enum { SHAPES = 7 * 3 };
static gd_dnnl_conv shape_at(int i) {
    static const int64_t list[7][6] = {{4, 16, 32, 48, 4, 2}, {1, 4, 64, 64, 4, 2}, {2, 16, 64, 64, 3, 1},
                                       {2, 16, 3, 64, 4, 2},  {2, 9, 5, 7, 3, 2},   {1, 2, 32, 32, 4, 2},
                                       {8, 8, 32, 32, 1, 1}};
    const int64_t *s = list[i / 3];
    return shape((gd_dnnl_pass)(i % 3), s[0], s[1], s[2], s[3], s[4], s[5]);
}

static const char *kind_of(const gd_dnnl_conv *c) {
    gd__conv x;
    rig_ok(gd__conv_make(c, library, &x));
    const char *name = x.kind->name;
    gd__conv_free(&x);
    return name;
}

static char *exported(void) {
    char *text = NULL;
    rig_ok(gd_choice_export(&text));
    return text;
}

/* Lines of choices. */
static int lines_of(const char *text) {
    int n = -3; /* format, machine, hash */
    for (; *text; text++) n += *text == '\n';
    return n;
}

/* A text of these lines, with its hash. owner: caller. */
static char *sealed(const char *lines) {
    char hash[17], *out;
    size_t room = strlen(lines) + 128;
    assert_non_null(out = malloc(room));
    snprintf(out, room, "gandist kernels 1\nmachine some; base; 1 thread\n%s", lines);
    gd_hash64_text(gd_hash64(out, strlen(out), 0), hash);
    size_t at = strlen(out);
    snprintf(out + at, room - at, "hash %s\n", hash);
    return out;
}

static void line_of(const gd_dnnl_conv *c, const char *rest, char out[256]) {
    char key[128];
    gd__choice_key(c, key);
    snprintf(out, 256, "%s %s\n", key, rest);
}

static void choose(const gd_dnnl_conv *c, const char *rest) {
    char line[256], *text;
    line_of(c, rest, line);
    text = sealed(line);
    rig_ok(gd_choice_import(text, "test"));
    free(text);
}

static void refused(const char *text, gd_status code, const char *said) {
    char *before = exported(), *after;
    assert_int_equal(gd_choice_import(text, "where.txt"), code);
    if (!strstr(gd_error_message(), said) || strncmp(gd_error_message(), "where.txt", 9))
        fail_msg("'%s' does not say '%s'", gd_error_message(), said);
    gd_error_clear();
    after = exported();
    assert_string_equal(before, after); /* nothing was taken */
    free(before);
    free(after);
}

static int warnings;
static char last_warning[512];
static void count_warnings(void *ctx, gd_level level, const char *line) {
    (void)ctx;
    warnings += level == GD_LEVEL_WARN;
    if (level == GD_LEVEL_WARN) snprintf(last_warning, sizeof last_warning, "%s", line);
}

static int setup(void **state) {
    (void)state;
    warnings = 0;
    gd_log_set_stderr(false);
    gd_log_set_sink(count_warnings, NULL);
    gd_cpu_set_threads(2);
    gd__threads_enter(2);
    gd_choice_set_mode(GD_CHOICE_RULE);
    return gd_dnnl_open(&library);
}

static int teardown(void **state) {
    (void)state;
    gd_log_set_sink(NULL, NULL);
    gd_choice_set_mode(GD_CHOICE_RULE);
    gd_dnnl_close(library);
    gd_cpu_set_threads(0);
    return 0;
}

/* ---- text ---- */

static void test_round_trip(void **state) {
    (void)state;
    gd_choice_set_mode(GD_CHOICE_TIMED);
    for (int i = 0; i < SHAPES; i += 2) {
        gd_dnnl_conv c = shape_at(i);
        kind_of(&c);
        c.in_type = GD_BF16;
        kind_of(&c);
        c.out_type = GD_BF16;
        kind_of(&c);
    }
    char *first = exported();
    assert_int_equal(lines_of(first), 3 * ((SHAPES + 1) / 2));
    gd_choice_set_mode(GD_CHOICE_RULE);
    rig_ok(gd_choice_import(first, "test"));
    char *second = exported();
    assert_string_equal(first, second);
    assert_int_equal(gd_choice_count().used, 0); /* nobody has asked yet */
    gd_dnnl_conv c = shape_at(0);
    kind_of(&c);
    assert_int_equal(gd_choice_count().used, 1);
    assert_int_equal(gd_choice_count().imported, 1);
    free(second);
    second = exported();
    assert_string_equal(first, second); /* using one changes no line */
    free(first);
    free(second);
}

static void test_empty(void **state) {
    (void)state;
    char *text = exported();
    assert_int_equal(lines_of(text), 0);
    rig_ok(gd_choice_import(text, "test"));
    free(text);
}

static void test_damage(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        gd_dnnl_conv c = shape_at(i);
        kind_of(&c);
    }
    char *text = exported();
    size_t n = strlen(text);
    gd_choice_set_mode(GD_CHOICE_RULE);
    for (size_t i = 0; i < n; i++) {
        char was = text[i];
        text[i] = (char)(was ^ 1);
        refused(text, GD_DATA, "damaged");
        text[i] = was;
    }
    for (size_t i = 0; i < n; i++) {
        char was = text[i];
        text[i] = 0;
        refused(text, GD_DATA, "damaged");
        text[i] = was;
    }
    free(text);
    char short_text[64] = "gandist kernels 1\nmachine", hash[17]; /* the machine's line has no end */
    gd_hash64_text(gd_hash64(short_text, strlen(short_text), 0), hash);
    snprintf(short_text + strlen(short_text), 32, "hash %s\n", hash);
    refused(short_text, GD_DATA, "line 2");
    refused("", GD_DATA, "remove it");
    refused("gandist kernels 2\n", GD_DATA, "gandist kernels 1");
}

static void refused_line(const char *line, const char *said) {
    char *text = sealed(line);
    refused(text, GD_DATA, said);
    free(text);
}

/* Whole, with the right hash, but not what this version writes. */
static void test_strange_lines(void **state) {
    (void)state;
    char good[256], line[512], key[128];
    gd_dnnl_conv c = shape_at(0);
    gd__choice_key(&c, key);
    line_of(&c, "onednn rule", good);
    static const char *const rests[] = {
        "",       " ",          " onednn",      " strassen rule", " onednn guessed",     " onednn rul",
        "  rule", " f32: rule", " Onednn rule", " onednnrule",    " f32:f32:onednn rule"};
    for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
        snprintf(line, sizeof line, "%s%s%s\n", good, key, rests[i]); /* behind a good one */
        refused_line(line, "line 4");
    }
    static const char *const keys[] = {"forward",
                                       "sideways/4x16x16x32/8x8x48/4x4/s2/p1,1,1,1/f32",
                                       "forward/4x16x16x32/8x8x48/4x4/s2/p1,1,1,1/f16",
                                       "forward/4x16x16x32/8x8x48/4x4/s2/p1,1,1/f32",
                                       "forward/04x16x16x32/8x8x48/4x4/s2/p1,1,1,1/f32",
                                       "forward/4x16x16x32/8x8x48/4x4/s2/p1,1,1,1/f32x",
                                       "forward/99999999999999999999x16x16x32/8x8x48/4x4/s2/p1,1,1,1/f32"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(line, sizeof line, "%s onednn rule\n", keys[i]);
        refused_line(line, "line 3");
    }
    refused_line("no end of line: ", "line 3");
    memset(line, 'k', 300);
    snprintf(line + 300, sizeof line - 300, " onednn rule\n");
    refused_line(line, "line 3");
}

static void test_too_many(void **state) {
    (void)state;
    enum { LINES = 5000 };
    char line[256], *many, *text;
    gd_dnnl_conv c = shape_at(0);
    assert_non_null(many = calloc(LINES, sizeof line));
    size_t at = 0;
    for (c.n = 1; c.n <= LINES; c.n++) {
        line_of(&c, "onednn rule", line);
        memcpy(many + at, line, strlen(line));
        at += strlen(line);
    }
    text = sealed(many);
    refused(text, GD_DATA, "at most");
    free(text);
    free(many);
}

/* ---- modes ---- */

static void test_import_beats_mode(void **state) {
    (void)state;
    static const gd_choice_mode modes[] = {GD_CHOICE_RULE, GD_CHOICE_TIMED, GD_CHOICE_DIRECT};
    gd_dnnl_conv c = shape_at(0);
    assert_string_equal(kind_of(&c), "winograd");
    for (int i = 0; i < 3; i++) {
        gd_choice_set_mode(modes[i]);
        choose(&c, "plain rule");
        assert_string_equal(kind_of(&c), "plain");
        choose(&c, "onednn timed winograd 1ms onednn 2ms"); /* the last word counts */
        assert_string_equal(kind_of(&c), "onednn");
        assert_int_equal(gd_choice_count().timed, 0);
        assert_int_equal(gd_choice_count().imported, 1);
    }
    gd_choice_set_mode(GD_CHOICE_RULE);
    assert_string_equal(kind_of(&c), "winograd"); /* forgotten */
    assert_int_equal(warnings, 0);
}

static void test_cannot_follow(void **state) {
    (void)state;
    gd_dnnl_conv c = shape_at(0);
    choose(&c, "thin rule"); /* 32 channels are not few */
    assert_string_equal(kind_of(&c), "winograd");
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "thin cannot be followed"));
    assert_int_equal(gd_choice_count().imported, 0);
    choose(&c, "f32:winograd rule"); /* it is f32 already */
    assert_string_equal(kind_of(&c), "winograd");
    assert_int_equal(warnings, 2);
    gd_choice_set_mode(GD_CHOICE_RULE);
}

/* A run's choice of an instruction set that is not here is said, and replaced by the rule's. */
static void test_other_instructions(void **state) {
    (void)state;
    gd_dnnl_conv c = shape_at(0);
    choose(&c, "amx rule"); /* it takes bf16 only */
    assert_string_equal(kind_of(&c), "winograd");
    assert_int_equal(warnings, 1);
    c.in_type = c.out_type = GD_BF16;
    choose(&c, "amx rule");
    const char *is = kind_of(&c);
    assert_int_equal(!strcmp(is, "amx"), gd__amx_usable() != NULL);
    assert_int_equal(warnings, gd__amx_usable() ? 1 : 2);
    assert_non_null(strstr(last_warning, "amx cannot be followed on this machine"));
    char machine[256];
    gd_choice_machine(machine, sizeof machine);
    assert_int_equal(strstr(machine, " amx;") != NULL, gd__amx_usable() != NULL);
}

static void test_direct(void **state) {
    (void)state;
    int transforms = 0;
    for (int mode = 0; mode < 2; mode++) {
        gd_choice_set_mode(mode ? GD_CHOICE_DIRECT : GD_CHOICE_RULE);
        for (int i = 0; i < SHAPES; i++)
            for (int type = 0; type < 2; type++) {
                gd_dnnl_conv c = shape_at(i);
                c.in_type = type ? GD_BF16 : GD_F32;
                const char *name = kind_of(&c);
                bool adds_first = gd__conv_kind_find(name, strlen(name))->transforms;
                transforms += adds_first;
                assert_false(mode && adds_first);
            }
    }
    assert_true(transforms > 0); /* the rule does take them */
    gd_dnnl_conv c = shape_at(0);
    char line[256], *text;
    line_of(&c, "winograd rule", line);
    text = sealed(line);
    refused(text, GD_CONFIG, "numerics.kernels");
    free(text);
}

/* The rule looks at the shape alone. */
static void test_rule_and_threads(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 7, 64};
    char *first = NULL;
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        gd_cpu_set_threads(threads[t]);
        gd_choice_set_mode(GD_CHOICE_RULE);
        for (int i = 0; i < SHAPES; i++) {
            gd_dnnl_conv c = shape_at(i);
            kind_of(&c);
        }
        char *text = exported();
        size_t head = strcspn(text, "\n") + 1; /* format and machine */
        head += strcspn(text + head, "\n");
        text[strlen(text) - strlen("hash 0123456789abcdef\n")] = 0;
        if (!first) assert_non_null(first = strdup(text + head));
        assert_string_equal(first, text + head);
        free(text);
    }
    free(first);
}

/* Ranks have parts of a batch: what rounds operands of f32 does so on any number of them, where it is allowed, and nowhere else. */
static void test_halves(void **state) {
    (void)state;
    static const int64_t side[] = {8, 16, 32, 64}, channels[] = {3, 16, 64, 128, 256, 512}, kernel[] = {1, 3, 4};
    int taken[2] = {0};
    for (int allowed = 0; allowed < 2; allowed++) {
        gd_choice_set_mode(GD_CHOICE_RULE);
        gd_choice_allow_halves(allowed);
        for (int i = 0; i < 3 * 4 * 6 * 3 * 2; i++) {
            bool one = false;
            for (int64_t n = 1; n <= 16; n *= 4) {
                gd_dnnl_conv c = shape((gd_dnnl_pass)(i % 3), n, side[i / 3 % 4], channels[i / 12 % 6],
                                       channels[(i / 12 + 1) % 6], kernel[i / 72 % 3], 1 + i / 216);
                bool is = !strcmp(kind_of(&c), "amx-halves");
                assert_true(n == 1 || is == one);
                taken[allowed] += one = is;
            }
        }
    }
    gd_choice_allow_halves(false);
    assert_int_equal(taken[0], 0);
    assert_int_equal(taken[1] > 0, gd_choice_has_halves());
}

/* ---- timing ---- */

static void test_timed(void **state) {
    (void)state;
    gd_choice_set_mode(GD_CHOICE_TIMED);
    for (int i = 0; i < SHAPES; i++) {
        gd_dnnl_conv c = shape_at(i);
        gd__choice is;
        char key[128];
        const char *name = kind_of(&c);
        gd__choice_key(&c, key);
        assert_true(gd__choice_find(key, &is));
        assert_string_equal(is.kind->name, name);
        assert_string_not_equal(name, "plain"); /* everything else is faster */
        if (is.source != GD__BY_TIME) continue;
        char said[64];
        snprintf(said, sizeof said, " %s ", name);
        assert_non_null(strstr(is.times, said)); /* the winner's time is there, and another */
        assert_true(strstr(is.times, "ms") != strrchr(is.times, 'm'));
    }
    gd_choice_counts n = gd_choice_count();
    assert_int_equal(n.used, SHAPES);
    assert_true(n.timed > 0 && n.seconds > 0);
    assert_int_equal(n.imported + n.cached + n.left, 0);
    gd_dnnl_conv c = shape_at(0);
    double before = n.seconds;
    kind_of(&c); /* known: not timed again */
    assert_true(gd_choice_count().seconds == before);
}

static void test_freeze(void **state) {
    (void)state;
    gd_dnnl_conv c = shape_at(0), other = shape_at(1);
    gd_choice_set_mode(GD_CHOICE_TIMED);
    kind_of(&c);
    gd_choice_freeze();
    assert_string_equal(kind_of(&other), "winograd");
    gd_choice_counts n = gd_choice_count();
    assert_int_equal(n.used, 2);
    assert_int_equal(n.timed, 1);
    assert_int_equal(n.left, 0);
}

static void test_out_of_time(void **state) {
    (void)state;
    gd_choice_set_mode(GD_CHOICE_TIMED);
    gd__choice_allow(1e-9);
    for (int i = 0; i < 3; i++) {
        gd_dnnl_conv c = shape_at(i);
        kind_of(&c);
    }
    gd_choice_counts n = gd_choice_count();
    assert_int_equal(n.timed, 1);
    assert_int_equal(n.left, 2);
}

/* Whatever was chosen computes the convolution. */
static void test_results(void **state) {
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        gd_dnnl_conv c = shape_at(i);
        gd__conv chosen, plain;
        gd_choice_set_mode(GD_CHOICE_TIMED);
        rig_ok(gd__conv_make(&c, library, &chosen));
        gd__conv_plan_plain(&c, &plain);
        const int64_t *count = plain.copies.count;
        float *a = rig_alloc((size_t)count[0] * 4), *b = rig_alloc((size_t)count[1] * 4),
              *is = rig_alloc((size_t)count[2] * 4), *want = rig_alloc((size_t)count[2] * 4), most = 0;
        char *scratch = rig_alloc(chosen.scratch_bytes);
        const gd_rng rng = {.seed = 9, .purpose = GD_PURPOSE_TEST};
        gd_rng_normal(&rng, 0, 0, (uint32_t)count[0], a);
        gd_rng_normal(&rng, 1, 0, (uint32_t)count[1], b);
        rig_ok(gd__conv_run(&chosen, a, b, is, scratch));
        rig_ok(gd__conv_run(&plain, a, b, want, scratch));
        for (int64_t k = 0; k < count[2]; k++) most = fmaxf(most, fabsf(want[k]));
        for (int64_t k = 0; k < count[2]; k++)
            if (!(fabsf(is[k] - want[k]) <= 2e-5f * most)) fail_msg("shape %d: %s is wrong", i, chosen.text);
        gd__conv_free(&chosen);
        free(a);
        free(b);
        free(is);
        free(want);
        free(scratch);
    }
}

/* ---- files ---- */

static void path_in(const char *name, char out[1024]) {
    const char *tmp = getenv("GANDIST_TEST_TMP");
    snprintf(out, 1024, "%s/%s", tmp ? tmp : ".", name);
}

static void test_files(void **state) {
    (void)state;
    char path[1024];
    path_in("kernels.txt", path);
    gd_dnnl_conv c = shape_at(0);
    choose(&c, "onednn rule");
    kind_of(&c);
    rig_ok(gd_choice_save(path));
    gd_choice_set_mode(GD_CHOICE_RULE);
    rig_ok(gd_choice_load(path));
    assert_string_equal(kind_of(&c), "onednn");
    rig_ok(gd_file_write(path, "abc", 3));
    assert_int_equal(gd_choice_load(path), GD_DATA);
    path_in("none.txt", path);
    assert_int_equal(gd_choice_load(path), GD_NOINPUT);
    path_in("no-folder/x.txt", path);
    assert_int_equal(gd_choice_save(path), GD_CANTCREAT);
    gd_error_clear();
}

static int time_some(void) {
    for (int i = 0; i < 4; i++) {
        gd_dnnl_conv c = shape_at(i);
        kind_of(&c);
    }
    return gd_choice_count().timed;
}

/* The only file of the cache. */
static bool cache_file(const char *folder, char out[1300]) {
    char **names;
    size_t n;
    if (gd_io_get()->list(folder, &names, &n)) return false;
    if (n) snprintf(out, 1300, "%s/%s", folder, names[0]);
    gd_io_free_names(names, n);
    assert_true(n <= 1);
    return n == 1;
}

static void test_cache(void **state) {
    (void)state;
    char home[1024], folder[1200], path[1300];
    path_in("cache", home);
    rig_ok(gd_dir_remove(home));
    snprintf(folder, sizeof folder, "%s/gandist", home);
    setenv("XDG_CACHE_HOME", home, 1);
    gd_choice_cache_load(); /* not in this mode, and there is none */
    gd_choice_set_mode(GD_CHOICE_TIMED);
    gd_choice_cache_load();
    int timed = time_some();
    assert_int_equal(timed, 4);
    gd_choice_cache_save();
    assert_true(cache_file(folder, path));
    char *first = exported();
    gd_choice_set_mode(GD_CHOICE_TIMED); /* the next start */
    gd_choice_cache_load();
    assert_int_equal(time_some(), 0);
    assert_int_equal(gd_choice_count().cached, 4);
    char *second = exported();
    assert_string_equal(first, second);
    free(first);
    free(second);
    gd_choice_set_mode(GD_CHOICE_RULE); /* does not read it */
    gd_choice_cache_load();
    time_some();
    assert_int_equal(gd_choice_count().cached, 0);
    assert_int_equal(warnings, 0);
    gd_cpu_set_threads(1); /* another machine, so to say */
    gd_choice_set_mode(GD_CHOICE_TIMED);
    gd_choice_cache_load();
    assert_int_equal(time_some(), 4);
    gd_cpu_set_threads(2);
    rig_ok(gd_file_write(path, "gandist kernels 1\nrubbish\n", 26)); /* damaged: timed anew, and mended */
    gd_choice_set_mode(GD_CHOICE_TIMED);
    gd_choice_cache_load();
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "timed anew"));
    assert_int_equal(time_some(), 4);
    gd_choice_cache_save();
    gd_choice_set_mode(GD_CHOICE_TIMED);
    gd_choice_cache_load();
    assert_int_equal(time_some(), 0);
}

/* A cache that cannot be kept is no error. */
static void test_no_cache(void **state) {
    (void)state;
    char path[1024], home[1024];
    path_in("file", path);
    rig_ok(gd_file_write(path, "x", 1));
    setenv("XDG_CACHE_HOME", path, 1); /* a file where a folder should be */
    gd_choice_set_mode(GD_CHOICE_TIMED);
    gd_choice_cache_load();
    time_some();
    gd_choice_cache_save();
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "not kept"));
    setenv("XDG_CACHE_HOME", "relative", 1); /* not a path by the standard: HOME's */
    path_in("home", home);
    rig_ok(gd_dir_remove(home));
    rig_ok(gd_dir_make(home));
    const char *old = getenv("HOME");
    char *was = old ? strdup(old) : NULL;
    setenv("HOME", home, 1);
    gd_choice_cache_save();
    snprintf(path, sizeof path, "%.900s/.cache/gandist", home);
    char file[1300];
    assert_true(cache_file(path, file));
    unsetenv("HOME");
    gd_choice_cache_load();
    gd_choice_cache_save();
    assert_int_equal(warnings, 1);
    if (was) setenv("HOME", was, 1);
    free(was);
}

static void test_machine(void **state) {
    (void)state;
    char one[256], two[256];
    gd_choice_machine(one, sizeof one);
    assert_non_null(strstr(one, "; 2 threads"));
    assert_non_null(strstr(one, "oneDNN "));
    assert_null(strchr(one, '\n'));
    gd_cpu_set_threads(1);
    gd_choice_machine(two, sizeof two);
    assert_non_null(strstr(two, "; 1 thread"));
    assert_string_not_equal(one, two);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_empty),
        TEST(test_damage),
        TEST(test_strange_lines),
        TEST(test_too_many),
        TEST(test_import_beats_mode),
        TEST(test_cannot_follow),
        TEST(test_direct),
        TEST(test_rule_and_threads),
        TEST(test_halves),
        TEST(test_timed),
        TEST(test_freeze),
        TEST(test_out_of_time),
        TEST(test_results),
        TEST(test_files),
        TEST(test_cache),
        TEST(test_no_cache),
        TEST(test_machine),
        TEST(test_other_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
