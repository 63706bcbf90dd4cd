/* Finding, extending, overriding and writing recipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "recipes/recipe.h"

#define BASE                                                                                                           \
    "data: {source: ring}\ngenerator: {arch: mlp}\ndiscriminator: {arch: mlp}\ntrain: {steps: "                        \
    "10}\n"

/* Every test runs in a fresh folder. */
static int enter_folder(void **state) {
    (void)state;
    const char *tmp = getenv("GANDIST_TEST_TMP");
    char path[1024];
    snprintf(path, sizeof path, "%s/load", tmp ? tmp : "/tmp");
    if (chdir("/") || gd_dir_remove(path) != GD_OK || gd_dir_make(path) != GD_OK || chdir(path)) return -1;
    return 0;
}

static void put(const char *path, const char *text) {
    const char *slash = strrchr(path, '/');
    char folder[256];
    if (slash) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        assert_int_equal(gd_dir_make(folder), GD_OK);
    }
    assert_int_equal(gd_file_write(path, text, strlen(text)), GD_OK);
}

/* Loads with up to four --set arguments (NULL ends them). */
static gd_status load(const char *path, gd_recipe **out, const char *a, const char *b, const char *c) {
    const char *set[] = {a, b, c};
    gd_recipe_opts o = {set, a ? b ? c ? 3 : 2 : 1 : 0};
    return gd_recipe_load(path, &o, out);
}

static gd_recipe *good(const char *path, const char *a, const char *b, const char *c) {
    gd_recipe *r = NULL;
    if (load(path, &r, a, b, c) != GD_OK) fail_msg("%s", gd_error_message());
    return r;
}

static void bad(gd_status want, const char *path, const char *a, const char *b, const char *says) {
    gd_recipe *r = NULL;
    gd_status st = load(path, &r, a, b, NULL);
    if (st != want) fail_msg("%s, expected %s: %s", gd_status_name(st), gd_status_name(want), gd_error_message());
    if (!strstr(gd_error_message(), says)) fail_msg("lacks: %s\nsays: %s", says, gd_error_message());
}

/* ---- files ---- */

static void missing_files_get_a_suggestion(void **state) {
    (void)state;
    put("recipes/dcgan.yaml", BASE);
    put("mine.yaml", BASE);
    bad(GD_NOINPUT, "nowhere.yaml", NULL, NULL, "nowhere.yaml: no such file");
    bad(GD_NOINPUT, "mein.yaml", NULL, NULL, "mein.yaml: no such file; did you mean 'mine.yaml'?");
    bad(GD_NOINPUT, "recipes/dcgn.yaml", NULL, NULL,
        "recipes/dcgn.yaml: no such file; did you mean 'recipes/dcgan.yaml'?");
    bad(GD_NOINPUT, "dcgan.yaml", NULL, NULL, "dcgan.yaml: no such file; did you mean 'recipes/dcgan.yaml'?");
    bad(GD_NOINPUT, "recipes/dcgan", NULL, NULL, "recipes/dcgan: no such file; did you mean 'recipes/dcgan.yaml'?");
    bad(GD_NOINPUT, "dcgn", NULL, NULL, "dcgn: no such file, and no recipe of that name in recipes or ");
    bad(GD_NOINPUT, "none/x.yaml", NULL, NULL, "none/x.yaml: no such file");
    bad(GD_NOINPUT, "mine.yaml/x.yaml", NULL, NULL, "mine.yaml/x.yaml: ");
}

static void other_things_than_files_are_named(void **state) {
    (void)state;
    assert_int_equal(mkdir("folder.yaml", 0777), 0);
    assert_int_equal(mkfifo("pipe.yaml", 0666), 0);
    put("runs/a/recipe.yaml", BASE);
    bad(GD_NOINPUT, ".", NULL, NULL, ".: is a directory, a recipe is a file");
    bad(GD_NOINPUT, "folder.yaml", NULL, NULL, "folder.yaml: is a directory, a recipe is a file");
    bad(GD_NOINPUT, "runs/a", NULL, NULL,
        "runs/a: is a directory, a recipe is a file; its recipe is runs/a/recipe.yaml");
    bad(GD_NOINPUT, "pipe.yaml", NULL, NULL, "pipe.yaml: is a FIFO");
    bad(GD_NOINPUT, "/dev/zero", NULL, NULL, "/dev/zero: is a character device");
    put("secret.yaml", BASE);
    assert_int_equal(chmod("secret.yaml", 0), 0);
    if (geteuid() != 0) bad(GD_NOINPUT, "secret.yaml", NULL, NULL, "secret.yaml: is not readable");
}

static void bare_names_are_looked_up(void **state) {
    (void)state;
    put("recipes/some.yaml", BASE "seed: 5\n");
    gd_recipe *r = good("some", NULL, NULL, NULL);
    assert_int_equal(r->seed, 5);
    assert_string_equal(r->name, "some");
    assert_string_equal(gd_recipe_origin(r, "seed"), "recipes/some.yaml:5:7");
    gd_recipe_free(r);
    assert_int_equal(mkdir("some", 0777), 0); /* a run folder of that name is not in the way */
    gd_recipe_free(good("some", NULL, NULL, NULL));
    assert_int_equal(rmdir("some"), 0);
    put("some", BASE "seed: 6\n"); /* a file of that very name is */
    r = good("some", NULL, NULL, NULL);
    assert_int_equal(r->seed, 6);
    gd_recipe_free(r);
}

/* ---- extends ---- */

static void extends_merges_and_remembers_where(void **state) {
    (void)state;
    put("lib/base.yaml", "name: base\n" BASE "seed: 5\noptimizer: {g: {lr: 0.1, betas: [0.1, 0.2]}}\n");
    put("lib/middle.yaml", "extends: base.yaml\noptimizer: {g: {lr: 0.2}}\n");
    put("top.yaml", "extends: lib/middle\ntrain: {steps: 20}\n");
    gd_recipe *r = good("top.yaml", "optimizer.d.lr=0.3", NULL, NULL);
    assert_string_equal(r->name, "top"); /* not inherited */
    assert_int_equal(r->seed, 5);
    assert_int_equal(r->train.steps, 20);
    assert_true(r->optimizer.g.lr == 0.2 && r->optimizer.g.beta1 == 0.1 && r->optimizer.d.lr == 0.3);
    assert_string_equal(gd_recipe_origin(r, "seed"), "lib/base.yaml:6:7");
    assert_string_equal(gd_recipe_origin(r, "optimizer.g.lr"), "lib/middle.yaml:2:21");
    assert_string_equal(gd_recipe_origin(r, "optimizer.d.lr"), "--set #1");
    assert_string_equal(gd_recipe_origin(r, "train.steps"), "top.yaml:2:16");
    assert_string_equal(gd_recipe_origin(r, "name"), "default");
    assert_string_equal(gd_recipe_origin(r, "ema.decay"), "default");
    gd_recipe_free(r);
}

/* Keys of the base that mean nothing under the new topology are left behind, with all that stands on them. */
static void another_topology_leaves_the_old_one_behind(void **state) {
    (void)state;
    put("gan.yaml",
        "data: {source: fashion32}\ngenerator: {arch: mlp, width: 7, latent: 9, init: normal, init_gain: 0.3}\n"
        "discriminator: {arch: mlp, width: 7}\ntrain: {steps: 3}\nema: {decay: 0.9, start: 5}\n"
        "loss: {kind: wasserstein, clip: 0.1, penalty: {kind: gradient, lambda: 3}}\n"
        "optimizer: {g: {kind: sgd, momentum: 0.9}, d: {lr: 0.5}}\n");
    put("top.yaml", "extends: gan.yaml\ntopology: classifier\n");
    char *text;
    gd_recipe *r = good("top.yaml", NULL, NULL, NULL);
    assert_null(r->generator.arch);
    assert_int_equal(r->generator.width, 0);
    assert_int_equal(r->discriminator.width, 7);
    assert_true(r->ema.decay == 0 && r->ema.start == 0 && r->loss.clip == 0 && r->optimizer.g.momentum == 0);
    assert_true(r->optimizer.d.lr == 0.5 && r->generator.init_gain == 0);
    assert_string_equal(r->loss.penalty.kind, "none");
    assert_int_equal(gd_recipe_text(r, false, &text), GD_OK);
    assert_null(strstr(text, "generator"));
    assert_null(strstr(text, "loss:"));
    assert_non_null(strstr(text, "topology: classifier"));
    put("again.yaml", text); /* and what is written says the same */
    gd_recipe *again = good("again.yaml", NULL, NULL, NULL);
    assert_true(gd_recipe_fingerprint(again) == gd_recipe_fingerprint(r));
    free(text);
    gd_recipe_free(again);
    gd_recipe_free(r);
    bad(GD_USAGE, "top.yaml", "generator.width=3", NULL, "--set #1: 'generator.width'");
    bad(GD_USAGE, "top.yaml", "topology=noise", "generator.arch=null", "'generator.arch' has no value");
}

static void errors_in_a_base_have_its_place(void **state) {
    (void)state;
    put("base.yaml", BASE "seeed: 5\n");
    put("top.yaml", "extends: base.yaml\nbatch: {global: x}\n");
    bad(GD_CONFIG, "top.yaml", NULL, NULL, "base.yaml:5:1: unknown key 'seeed'");
    bad(GD_CONFIG, "top.yaml", NULL, NULL, "top.yaml:2:17: 'batch.global' wants an integer");
    put("base.yaml", "");
    bad(GD_CONFIG, "top.yaml", NULL, NULL, "base.yaml:1:1: empty; expected a recipe");
    put("top.yaml", "extends: bsae.yaml\n");
    bad(GD_CONFIG, "top.yaml", NULL, NULL,
        "top.yaml:1:10: 'extends' cannot be followed: bsae.yaml: no such file; did you mean "
        "'base.yaml'?");
    put("top.yaml", "seed: 1\nextends: .\n");
    bad(GD_CONFIG, "top.yaml", NULL, NULL, "top.yaml:2:10: 'extends' cannot be followed: ");
}

static void circles_and_long_chains_are_refused(void **state) {
    (void)state;
    put("self.yaml", "extends: self.yaml\n" BASE);
    bad(GD_CONFIG, "self.yaml", NULL, NULL,
        "self.yaml:1:10: 'extends' runs in a circle: self.yaml is being read already");
    put("a.yaml", "extends: b.yaml\n");
    put("b.yaml", "extends: ./c.yaml\n");
    put("c.yaml", BASE "extends: x/../a.yaml\n");
    assert_int_equal(mkdir("x", 0777), 0);
    bad(GD_CONFIG, "a.yaml", NULL, NULL, "c.yaml:5:10: 'extends' runs in a circle");
    for (int i = 0; i < 9; i++) {
        char name[32], text[300];
        snprintf(name, sizeof name, "n%d.yaml", i);
        snprintf(text, sizeof text, i < 8 ? "extends: n%d.yaml\n" : BASE "# %d\n", i + 1);
        put(name, text);
    }
    bad(GD_CONFIG, "n0.yaml", NULL, NULL, "n7.yaml:1:10: more than 8 recipes extend one another");
    gd_recipe_free(good("n1.yaml", NULL, NULL, NULL));
}

static void an_override_may_take_the_meaning_of_inherited_keys(void **state) {
    (void)state;
    put("base.yaml", BASE "optimizer: {g: {kind: adam, betas: [0.1, 0.2], eps: 1e-3}}\n");
    put("top.yaml", "extends: base.yaml\noptimizer: {g: {kind: sgd, momentum: 0.5}}\n");
    gd_recipe *r = good("top.yaml", NULL, NULL, NULL);
    assert_string_equal(r->optimizer.g.kind, "sgd");
    assert_true(r->optimizer.g.beta1 == 0.5 && r->optimizer.g.eps == 1e-8); /* back at the defaults */
    assert_string_equal(gd_recipe_origin(r, "optimizer.g.betas"), "default");
    gd_recipe_free(r);
    gd_recipe_free(good("base.yaml", "optimizer.g.kind=rmsprop", NULL, NULL));
    /* but what is given beside or after it is a mistake */
    bad(GD_USAGE, "base.yaml", "optimizer.g.kind=sgd", "optimizer.g.betas=[0.1, 0.2]",
        "--set #2: 'optimizer.g.betas' (decay of the running mean and of the running square) means "
        "nothing while "
        "'optimizer.g.kind' is sgd (--set #1)");
    bad(GD_USAGE, "top.yaml", "optimizer.g.betas=[0.1, 0.2]", NULL, "--set #1: 'optimizer.g.betas'");
}

/* ---- --set ---- */

static void arguments_are_yaml(void **state) {
    (void)state;
    put("x.yaml", BASE);
    gd_recipe *r = good("x.yaml", "optimizer.g={kind: sgd, lr: 0.5, momentum: 0.25}", "name='a: b = c'",
                        "optimizer.d.betas=[0, .9]");
    assert_string_equal(r->optimizer.g.kind, "sgd");
    assert_true(r->optimizer.g.lr == 0.5 && r->optimizer.g.momentum == 0.25);
    assert_string_equal(r->name, "a: b = c");
    assert_true(r->optimizer.d.beta1 == 0 && r->optimizer.d.beta2 == 0.9);
    gd_recipe_free(r);
    r = good("x.yaml", "seed=1", "seed=2", "generator.norm=batch");
    assert_int_equal(r->seed, 2);
    assert_string_equal(gd_recipe_origin(r, "seed"), "--set #2");
    gd_recipe_free(r);
    r = good("x.yaml", "generator.norm=batch", "generator.norm=null", "schedule.share_fake=true");
    assert_null(r->generator.norm);
    assert_true(r->schedule.share_fake);
    gd_recipe_free(r);
    r = good("x.yaml", "generator={arch: layers, layers: [{dense: 4, act: relu}, {dense: 2}]}", "loss={}",
             "seed= 7 # why");
    assert_int_equal(r->generator.layer_count, 2);
    assert_int_equal(r->generator.layers[0].size, 4);
    assert_string_equal(r->generator.layers[0].act, "relu");
    assert_int_equal(r->generator.layers[0].kernel, -1);
    assert_int_equal(r->generator.layers[1].bias, -1);
    assert_int_equal(r->seed, 7);
    gd_recipe_free(r);
}

static void wrong_arguments_are_usage_errors(void **state) {
    (void)state;
    put("x.yaml", BASE);
    static const char *const wrong[][2] = {
        {"seed", "--set #1: expected KEY=VALUE such as seed=7, got \"seed\""},
        {"=4", "--set #1: expected KEY=VALUE"},
        {"", "--set #1: expected KEY=VALUE"},
        {"seed=", "--set #1: 'seed' has no value"},
        {"seed=x", "--set #1: 'seed' wants an integer, got text \"x\"\n  seed=x\n       ^"},
        {"seed={a: 1", "--set #1: '{' opened here is never closed\n  seed={a: 1\n       ^"},
        {"seed=&a 1", "--set #1: anchors and aliases are not supported"},
        {"sed=1", "--set #1: unknown key 'sed'; did you mean 'seed'?"},
        {"optimizer.g.lrx=1", "--set #1: unknown key 'lrx' in 'optimizer.g'; did you mean 'optimizer.g.lr'?"},
        {"optimzer.g.lr=1", "--set #1: unknown key 'optimzer'; did you mean 'optimizer'?"},
        {"optimizer.x.lr=1", "--set #1: unknown key 'x' in 'optimizer'; did you mean 'optimizer.g'?"},
        {"lr=1", "--set #1: unknown key 'lr'; it belongs under 'optimizer.g' or 'optimizer.d'"},
        {"batch_size=1", "--set #1: unknown key 'batch_size'; did you mean 'batch.global'?"},
        {"seed.x=1", "--set #1: 'seed' is a value, it has no keys of its own"},
        {"optimizer..lr=1", "--set #1: unknown key '' in 'optimizer'"},
        {".=1", "--set #1: unknown key ''"},
        {"train={stesp: 3}", "--set #1: unknown key 'stesp' in 'train'"},
        {"train=3", "--set #1: 'train' wants a map such as {steps: 3}"},
        {"extends=y.yaml", "--set #1: 'extends' stands in a recipe only"},
        {"loss.clip=0.1", "--set #1: 'loss.clip' (every discriminator parameter"},
        {"name=a/b", "--set #1: 'name' names a folder"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) bad(GD_USAGE, "x.yaml", wrong[i][0], NULL, wrong[i][1]);
    put("y.yaml", BASE "seeed: 1\n"); /* a wrong recipe counts more */
    bad(GD_CONFIG, "y.yaml", "sed=1", NULL, "--set #1: unknown key 'sed'");
}

/* ---- fingerprint and difference ---- */

typedef struct change {
    const char *set;
    bool decides;
} change;

static void only_what_decides_is_in_the_fingerprint(void **state) {
    (void)state;
    put("x.yaml", "data: {source: folder, path: a}\ngenerator: {arch: dcgan}\ndiscriminator: "
                  "{arch: dcgan}\ntrain: {steps: 10}\n");
    static const change changes[] = {
        {"name=b", false},
        {"data.path=b", false},
        {"data.workers=2", false},
        {"data.depth=3", false},
        {"data.resident=never", false},
        {"train.steps=11", false},
        {"numerics.check_every=5", false},
        {"checkpoint={every: 1, keep: 1}", false},
        {"log={every: 1, samples: {every: 2, n: 3}}", false},
        {"seed=1", false} /* the default, given */,
        {"seed=2", true},
        {"data.flip=true", true},
        {"data.image.size=64", true},
        {"data.count=5", true},
        {"batch.global=32", true},
        {"generator.width=8", true},
        {"generator.latent=8", true},
        {"discriminator.norm=none", true},
        {"loss.kind=hinge", true},
        {"loss.d_scale=0.5", true},
        {"schedule.d_steps=2", true},
        {"optimizer.g.lr=1", true},
        {"optimizer.d.betas=[0.5, 0.9]", true},
        {"ema.decay=0.5", true},
        {"numerics.precision=bf16", true},
        {"numerics.tf32=true", true},
        {"numerics.tf32=false", false} /* the default */,
        {"numerics.shards=2", true},
        {"numerics.kernels=direct", true},
        {"numerics.kernels=rule", false} /* the default */,
        {"generator={arch: layers, layers: [{dense: 3}]}", true},
        {"generator={arch: layers, layers: [{dense: 3, bias: true}]}", true},
    };
    enum { N = sizeof changes / sizeof *changes };
    gd_recipe *base = good("x.yaml", NULL, NULL, NULL);
    uint64_t seen[N];
    for (int i = 0; i < N; i++) {
        gd_recipe *r = good("x.yaml", changes[i].set, NULL, NULL);
        char *diff;
        assert_int_equal(gd_recipe_diff(base, r, true, &diff), GD_OK);
        seen[i] = gd_recipe_fingerprint(r);
        if ((seen[i] != gd_recipe_fingerprint(base)) != changes[i].decides || (*diff != 0) != changes[i].decides)
            fail_msg("%s: fingerprint or difference wrong: \"%s\"", changes[i].set, diff);
        for (int j = 0; j < i; j++)
            if (changes[i].decides && seen[i] == seen[j])
                fail_msg("%s and %s are alike", changes[i].set, changes[j].set);
        free(diff);
        gd_recipe_free(r);
    }
    gd_recipe_free(base);
}

/* With a schedule that counts down to the last step, that step decides too. */
static void steps_decide_when_a_schedule_ends_there(void **state) {
    (void)state;
    put("x.yaml", BASE "optimizer: {g: {decay: linear}}\n");
    gd_recipe *a = good("x.yaml", NULL, NULL, NULL), *b = good("x.yaml", "train.steps=11", NULL, NULL);
    assert_true(gd_recipe_fingerprint(a) != gd_recipe_fingerprint(b));
    char *diff;
    assert_int_equal(gd_recipe_diff(a, b, true, &diff), GD_OK);
    assert_string_equal(diff, "train.steps: 10 -> 11\n");
    free(diff);
    gd_recipe_free(b);
    gd_recipe_free(a);
    a = good("x.yaml", "optimizer.g.decay_end=5", NULL, NULL);
    b = good("x.yaml", "optimizer.g.decay_end=5", "train.steps=11", NULL);
    assert_true(gd_recipe_fingerprint(a) == gd_recipe_fingerprint(b));
    gd_recipe_free(b);
    gd_recipe_free(a);
}

static void a_difference_names_both_values(void **state) {
    (void)state;
    put("x.yaml", BASE);
    gd_recipe *a = good("x.yaml", NULL, NULL, NULL);
    gd_recipe *b = good("x.yaml", "generator.width=8", "log.every=3", "discriminator.norm=batch");
    char *all, *must;
    assert_int_equal(gd_recipe_diff(a, b, false, &all), GD_OK);
    assert_int_equal(gd_recipe_diff(a, b, true, &must), GD_OK);
    assert_string_equal(all, "generator.width: 0 -> 8\ndiscriminator.norm: null -> batch\nlog.every: 50 -> 3\n");
    assert_string_equal(must, "generator.width: 0 -> 8\ndiscriminator.norm: null -> batch\n");
    free(all);
    free(must);
    assert_int_equal(gd_recipe_diff(a, a, false, &all), GD_OK);
    assert_string_equal(all, "");
    free(all);
    gd_recipe_free(b);
    gd_recipe_free(a);
}

static void text_says_where_values_come_from(void **state) {
    (void)state;
    put("x.yaml", BASE);
    gd_recipe *r = good("x.yaml", "seed=9", NULL, NULL);
    char *text;
    assert_int_equal(gd_recipe_text(r, true, &text), GD_OK);
    static const char *const lines[] = {"\nseed: 9                                     # --set #1\n",
                                        "\n  steps: 10                                 # x.yaml:4:16\n",
                                        "\n    lr: 0.0002                              # default\n", "\nname: x  "};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i])) fail_msg("no line '%s' in:\n%s", lines[i], text);
    free(text);
    gd_recipe_free(r);
}

static void a_parsed_text_resolves_extends_beside_its_name(void **state) {
    (void)state;
    put("lib/base.yaml", BASE "seed: 8\n");
    static const char text[] = "extends: base.yaml\n";
    gd_recipe *r = NULL;
    assert_int_equal(gd_recipe_parse("lib/other.yaml", text, strlen(text), NULL, &r), GD_OK);
    assert_int_equal(r->seed, 8);
    assert_string_equal(r->name, "other");
    gd_recipe_free(r);
    gd_recipe_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(missing_files_get_a_suggestion, enter_folder),
        cmocka_unit_test_setup(other_things_than_files_are_named, enter_folder),
        cmocka_unit_test_setup(bare_names_are_looked_up, enter_folder),
        cmocka_unit_test_setup(extends_merges_and_remembers_where, enter_folder),
        cmocka_unit_test_setup(another_topology_leaves_the_old_one_behind, enter_folder),
        cmocka_unit_test_setup(errors_in_a_base_have_its_place, enter_folder),
        cmocka_unit_test_setup(circles_and_long_chains_are_refused, enter_folder),
        cmocka_unit_test_setup(an_override_may_take_the_meaning_of_inherited_keys, enter_folder),
        cmocka_unit_test_setup(arguments_are_yaml, enter_folder),
        cmocka_unit_test_setup(wrong_arguments_are_usage_errors, enter_folder),
        cmocka_unit_test_setup(only_what_decides_is_in_the_fingerprint, enter_folder),
        cmocka_unit_test_setup(steps_decide_when_a_schedule_ends_there, enter_folder),
        cmocka_unit_test_setup(a_difference_names_both_values, enter_folder),
        cmocka_unit_test_setup(text_says_where_values_come_from, enter_folder),
        cmocka_unit_test_setup(a_parsed_text_resolves_extends_beside_its_name, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
