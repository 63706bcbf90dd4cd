/* No key is decoration: whatever a recipe can say changes what is trained, or is refused.
 *
 * Every row of the schema has at least one case here. A key that decides the result is changed in a tiny run of a few
 * iterations, whose state must end in other bytes; one that does not is followed into the settings that launch/setup.c
 * makes. Keys that launch/ reads straight from the recipe are listed by name; tests/cli looks at what they do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/kernels.h"
#include "launch/setup.h"
#include "recipes/reading.h"

enum { STEPS = 4, SETS_MAX = 12, TEXT_MAX = 512, BASES = 6 };

/* ---- what is changed, and where ---- */

typedef enum base { POINTS, IMAGES, PAIRED, TWO_WAY, LABELS, LINEAR } base;

static const char *const bases[BASES] = {
    [POINTS] = "data: {source: ring}\nbatch: {global: 8}\ntrain: {steps: 4}\n"
               "generator: {arch: mlp, latent: 3, width: 8, depth: 1}\n"
               "discriminator: {arch: mlp, width: 8, depth: 1}\n",
    [IMAGES] = "data: {source: synthetic, count: 64, image: {size: 16, channels: 1}}\nbatch: {global: 4}\n"
               "train: {steps: 4}\ngenerator: {arch: dcgan, latent: 3, width: 2}\n"
               "discriminator: {arch: dcgan, width: 2}\n",
    [PAIRED] = "data: {source: synthetic-pairs, count: 64, image: {size: 16, channels: 1}}\nbatch: {global: 2}\n"
               "topology: paired\ntrain: {steps: 4}\ngenerator: {arch: unet, width: 2, depth: 2}\n"
               "discriminator: {arch: patchgan, width: 2, depth: 1}\nloss: {terms: {l1: 10}}\n",
    [TWO_WAY] = "data: {source: synthetic-pairs, count: 64, image: {size: 16, channels: 1}}\nbatch: {global: 2}\n"
                "topology: two-way\ntrain: {steps: 4}\ngenerator: {arch: resnet, width: 2, depth: 1}\n"
                "discriminator: {arch: patchgan, width: 2, depth: 1}\n"
                "loss: {terms: {cycle_a: 10, cycle_b: 10, identity: 0.5}}\n"
                "schedule: {share_fake: true, first: generator}\n",
    [LABELS] = "data: {source: fashion32, count: 64, image: {size: 32, channels: 1}}\nbatch: {global: 8}\n"
               "topology: classifier\ntrain: {steps: 4}\n"
               "discriminator: {arch: layers, layers: [flatten, {dense: 8, act: relu}, {dense: 10}]}\n",
    [LINEAR] = "data: {source: ring}\nbatch: {global: 8}\ntrain: {steps: 8}\n"
               "generator: {arch: mlp, latent: 3, width: 8, depth: 1}\n"
               "discriminator: {arch: mlp, width: 8, depth: 1}\n"
               "optimizer: {g: {decay: linear}, d: {decay: linear}}\n",
};

/* with: settings that give the key a meaning, "key=value; key=value". values: those it is changed to, separated by
 * '|', each of them may bring settings of its own; NULL: every other choice of the key. */
typedef struct effect {
    const char *key;
    base base;
    const char *with, *values;
} effect;

// clang-format off
#define OF_NET(p, arch_values)                                                                                  \
    {p ".arch", IMAGES, "", arch_values},                                                                       \
    {p ".width", IMAGES, "", "5"}, {p ".norm", IMAGES, "", "none|instance"},                                    \
    {p ".depth", POINTS, "", "2"}, {p ".act", POINTS, "", "leaky"}, {p ".spectral", IMAGES, "", "true"},       \
    {p ".dropout_input", POINTS, "", "0.5"}, {p ".dropout", POINTS, "", "0.5"},                                 \
    {p ".init", POINTS, "", NULL}, {p ".init_gain", POINTS, p ".init=normal", "0.3"}

#define OF_OPTIMIZER(p)                                                                                         \
    {p ".kind", POINTS, "", NULL}, {p ".lr", POINTS, "", "0.01"}, {p ".betas", POINTS, "", "[0.1, 0.9]"},       \
    {p ".eps", POINTS, "", "0.1"}, {p ".alpha", POINTS, p ".kind=rmsprop", "0.5"},                              \
    {p ".momentum", POINTS, p ".kind=sgd", "0.9"}, {p ".weight_decay", POINTS, "", "0.1"},                      \
    {p ".momentum_final", POINTS, p ".kind=sgd; " p ".momentum_final=0.5; " p ".momentum_steps=2", "0.9"},                                \
    {p ".momentum_steps", POINTS, p ".kind=sgd; " p ".momentum_final=0.9; " p ".momentum_steps=3", "1"},        \
    {p ".clip_norm", POINTS, p ".kind=sgd", "0.001"}, {p ".decay", POINTS, "", NULL},                           \
    {p ".decay_rate", POINTS, p ".decay=exponential", "2"},                                                     \
    {p ".lr_floor", POINTS, p ".decay=exponential; " p ".decay_rate=5", "0.0001"},                              \
    {p ".decay_start", LINEAR, "", "2|-1"}, {p ".decay_end", LINEAR, "", "3"}

static const effect effects[] = {
    {"seed", POINTS, "", "2"},
    {"topology", PAIRED, "loss.terms.l1=0", "two-way; generator.arch=resnet|noise; data.source=synthetic; generator.arch=dcgan"},
    {"topology", LABELS, "", "noise; generator.arch=mlp; discriminator.arch=mlp"},
    {"data.source", POINTS, "", "grid|swiss-roll"},
    {"data.path", LABELS, "", "elsewhere"},
    {"data.direction", PAIRED, "", NULL}, {"data.direction", TWO_WAY, "", NULL},
    {"data.flip", IMAGES, "", "true"}, {"data.flip", PAIRED, "", "true"},
    {"data.count", IMAGES, "", "16"}, {"data.workers", IMAGES, "", "2"}, {"data.depth", IMAGES, "", "3"}, {"data.resident", IMAGES, "", NULL},
    {"data.image.size", IMAGES, "", "32"}, {"data.image.channels", IMAGES, "", "3"},
    {"data.image.load", IMAGES, "", "20"}, {"data.image.load", PAIRED, "", "20"},
    {"batch.global", POINTS, "", "16"},
    OF_NET("generator", "mlp|dcgan-k5|resnet-gp"),
    {"generator.arch", PAIRED, "", "resnet"}, {"generator.arch", TWO_WAY, "", "unet; generator.depth=2|disco"},
    {"generator.depth", PAIRED, "", "3"}, {"generator.depth", TWO_WAY, "", "2"},
    {"generator.dropout", TWO_WAY, "", "0.5"},
    {"generator.layers", POINTS, "generator.arch=layers; generator.layers=[{dense: 8, act: relu}, {dense: 2}, {reshape: [1, 1, 2]}]",
     "[{dense: 8, act: tanh}, {dense: 2}, {reshape: [1, 1, 2]}]"},
    {"generator.latent", POINTS, "", "4"}, {"generator.latent_kind", POINTS, "", NULL},
    {"generator.output", IMAGES, "", "sigmoid"}, {"generator.output", POINTS, "", "tanh"},
    OF_NET("discriminator", "mlp|dcgan-k5|resnet-gp|patchgan|pixel|disco"),
    {"discriminator.depth", TWO_WAY, "", "2"},
    {"discriminator.layers", LABELS, "", "[flatten, {dense: 8, act: tanh}, {dense: 10}]"},
    {"loss.kind", POINTS, "", NULL}, {"loss.kind", PAIRED, "", NULL}, {"loss.kind", TWO_WAY, "", NULL},
    {"loss.d_scale", POINTS, "optimizer.d.kind=sgd", "0.5"}, {"loss.g_scale", POINTS, "optimizer.g.kind=sgd", "0.5"},
    {"loss.g_scale", PAIRED, "", "0"}, {"loss.g_scale", TWO_WAY, "", "0"},
    {"loss.label_real", POINTS, "", "0.8"}, {"loss.minimax", POINTS, "loss.kind=blend", "0.9"},
    {"loss.clip", POINTS, "loss.kind=wasserstein", "0.01"},
    {"loss.penalty.kind", POINTS, "", NULL}, {"loss.penalty.kind", IMAGES, "discriminator.norm=none", NULL},
    {"loss.penalty.lambda", POINTS, "loss.penalty.kind=gradient", "1"},
    {"loss.penalty.lambda", POINTS, "loss.penalty.kind=r1", "1"},
    {"loss.penalty.lambda", POINTS, "loss.penalty.kind=dragan", "1"},
    {"loss.penalty.at", POINTS, "loss.penalty.kind=gradient", NULL},
    {"loss.penalty.target", POINTS, "loss.penalty.kind=gradient", "0"},
    {"loss.penalty.target", POINTS, "loss.penalty.kind=dragan", "0"},
    {"loss.penalty.one_sided", POINTS, "loss.penalty.kind=gradient", "true"},
    {"loss.penalty.one_sided", POINTS, "loss.penalty.kind=dragan", "true"},
    {"loss.penalty.every", POINTS, "loss.penalty.kind=gradient", "2"},
    {"loss.penalty.fraction", POINTS, "loss.penalty.kind=gradient", "0.5|0.25"},
    {"loss.noise.start", POINTS, "loss.noise.steps=3; loss.noise.end=0.1", "0.5"},
    {"loss.noise.end", POINTS, "loss.noise.steps=3; loss.noise.start=0.1", "0.5"},
    {"loss.noise.steps", POINTS, "loss.noise.steps=8; loss.noise.start=0.5", "2"},
    {"loss.terms.l1", PAIRED, "", "1"}, {"loss.terms.cycle_a", TWO_WAY, "", "1"},
    {"loss.terms.cycle_b", TWO_WAY, "", "1"}, {"loss.terms.cycle_kind", TWO_WAY, "", NULL},
    {"loss.terms.identity", TWO_WAY, "", "0|1"},
    {"loss.terms.feature", TWO_WAY, "discriminator.arch=disco; generator.output=sigmoid", "0.9"},
    {"loss.terms.rate.enabled", TWO_WAY, "", "true"},
    {"loss.terms.rate.start", TWO_WAY, "loss.terms.rate.enabled=true", "0.3"},
    {"loss.terms.rate.end", TWO_WAY, "loss.terms.rate={enabled: true, steps: 1}", "0.3"},
    {"loss.terms.rate.steps", TWO_WAY, "loss.terms.rate.enabled=true", "2"},
    {"schedule.d_steps", POINTS, "", "2"}, {"schedule.g_steps", POINTS, "", "2"},
    {"schedule.simultaneous", POINTS, "", "true"}, {"schedule.share_fake", POINTS, "", "true"},
    {"schedule.first", POINTS, "schedule.share_fake=true", NULL}, {"schedule.first", PAIRED, "schedule.share_fake=true", NULL},
    {"schedule.first", TWO_WAY, "", "discriminator"}, {"schedule.alternate", POINTS, "", "2"},
    {"schedule.warmup.steps", POINTS, "schedule.warmup={steps: 1, d_steps: 3}", "2"},
    {"schedule.warmup.d_steps", POINTS, "schedule.warmup={steps: 1, d_steps: 3}", "2"},
    {"schedule.warmup.every", POINTS, "schedule.warmup={steps: 1, d_steps: 3}", "3"},
    {"schedule.adaptive.kind", POINTS, "", "accuracy; schedule.adaptive={low: 0.999, high: 1, every: 1}"},
    {"schedule.adaptive.kind", POINTS, "schedule.adaptive={kind: accuracy, low: 0.999, high: 1, every: 1}",
     "grad-ratio; schedule.adaptive={low: 0, high: 1e-9}"},
    {"schedule.adaptive.low", POINTS, "schedule.adaptive={kind: accuracy, low: 0, high: 1, every: 1}", "0.999"},
    {"schedule.adaptive.high", POINTS, "schedule.d_steps=3; schedule.adaptive={kind: accuracy, low: 0, high: 1, every: 1}", "0.001"},
    {"schedule.adaptive.min", POINTS, "schedule.d_steps=3; schedule.adaptive={kind: accuracy, low: 0, high: 0.001, every: 1}", "3"},
    {"schedule.adaptive.max", POINTS, "schedule.adaptive={kind: accuracy, low: 0.999, high: 1, every: 1}", "2"},
    {"schedule.adaptive.every", POINTS, "schedule.adaptive={kind: accuracy, low: 0.999, high: 1, every: 1}", "3"},
    {"pool.size", TWO_WAY, "", "2|4"},
    {"comm.overlap", POINTS, "", "false"}, {"comm.bucket", POINTS, "", "64"},
    {"optimizer.shard", POINTS, "", "true"}, OF_OPTIMIZER("optimizer.g"), OF_OPTIMIZER("optimizer.d"),
    {"ema.decay", POINTS, "", "0.9"}, {"ema.start", POINTS, "ema.decay=0.9", "3"}, {"ema.warmup", POINTS, "ema.decay=0.9", "true"},
    {"train.steps", POINTS, "", "5"},
    {"numerics.precision", IMAGES, "", "bf16"}, {"numerics.shards", IMAGES, "", "2"},
    {"numerics.kernels", IMAGES, "generator.width=16; discriminator.width=16; batch.global=16", "direct"},
    {"numerics.batch_stats", IMAGES, "numerics.shards=2", NULL},
    {"numerics.check_every", POINTS, "", "1"}, {"numerics.on_nonfinite", POINTS, "", NULL},
    {"watch.collapse", POINTS, "", NULL}, {"watch.vanished", POINTS, "", NULL}, {"watch.exploding", POINTS, "", NULL},
    {"watch.saturated", POINTS, "", NULL}, {"watch.every", POINTS, "", "3"},
    {"checkpoint.every", POINTS, "", "2"}, {"checkpoint.keep", POINTS, "", "2"}, {"checkpoint.wait", POINTS, "", "true"},
    {"log.every", POINTS, "", "2"}, {"log.samples.every", POINTS, "", "2"},
};
enum { EFFECTS = sizeof effects / sizeof *effects };

/* Read by launch/ from the recipe itself: names of folders, sizes of sheets, how a GPU is opened. */
static const char *const elsewhere[] = {"name", "log.samples.n", "numerics.tf32", "watchdog.limit", "watchdog.patience", "watchdog.factor"};
// clang-format on

/* ---- one recipe, set up and trained ---- */

/* NULL: refused, with the reason in gd_error_message. */
static gd_recipe *parse(const effect *e, const char *value) {
    char text[2 * TEXT_MAX], *set[SETS_MAX];
    int count = 0;
    snprintf(text, sizeof text, "%s;%s%s%s", e->with, value ? e->key : "", value ? "=" : "", value ? value : "");
    for (char *s = strtok(text, ";"); s; s = strtok(NULL, ";")) {
        while (*s == ' ') s++;
        assert_true(count < SETS_MAX);
        if (*s) set[count++] = s;
    }
    gd_recipe_opts o = {(const char *const *)set, count};
    gd_recipe *r = NULL;
    gd_status st = gd_recipe_parse("tiny.yaml", bases[e->base], strlen(bases[e->base]), &o, &r);
    if (st != GD_OK && st != GD_CONFIG) fail_msg("%s: %s", e->key, gd_error_message());
    return r;
}

/* The settings that do not decide the result. */
static void put_settings(const gd_train_config *c, const gd_dataset_spec *d, char *out, size_t room) {
    snprintf(out, room, "%s %lld %d %d %d %lld %lld %d %lld %lld %d %d %d %d %d %lld %d %d %d %zu",
             d->path ? d->path : "", (long long)c->total_steps, c->loader_workers, c->loader_depth, (int)c->resident,
             (long long)c->check_every,
             (long long)c->checkpoint_every, c->checkpoint_keep, (long long)c->log_every, (long long)c->sample_every,
             (int)c->watch.action[GD_WATCH_COLLAPSE], (int)c->watch.action[GD_WATCH_VANISHED],
             (int)c->watch.action[GD_WATCH_EXPLODING], (int)c->watch.action[GD_WATCH_SATURATED],
             (int)c->on_nonfinite, (long long)c->watch.every, c->checkpoint_wait, c->shard_optimizer,
             c->overlap, c->bucket_bytes);
}

static gd_status train(const gd_recipe *r, gd_train_config *c, const gd_dataset *d, uint64_t *hash) {
    gd_comm *comm;
    gd_trainer *t = NULL;
    gd_train_hooks none = {0};
    GD_TRY(gd_comm_self(&comm));
    c->executor = gd_executor_cpu();
    c->log_every = c->sample_every = 0;
    gd_kernels_begin(r, true);
    gd_status st = gd_kernels_agree(comm, r, c, d, NULL);
    if (st == GD_OK) st = gd_trainer_new(comm, c, d, &none, &t);
    if (st == GD_OK) st = gd_trainer_run(t, r->train.steps < STEPS ? r->train.steps : STEPS);
    if (st == GD_OK) *hash = gd_trainer_state_hash(t);
    gd_trainer_free(t);
    gd_comm_free(comm);
    return st;
}

typedef struct result {
    char settings[256];
    uint64_t hash;
} result;

/* CONFIG and UNSUP are refusals. NOINPUT: the set is not on this machine. */
static gd_status run(const gd_recipe *r, bool trained, result *out) {
    gd_dataset_spec spec;
    gd_dataset *d = NULL;
    gd_setup s;
    memset(out, 0, sizeof *out);
    GD_TRY(gd_setup_dataset(r, &spec));
    gd_setup_data facts = {.parts = 1, .part = {{GD_SAMPLE_U8, 32, 32, 1}}, .classes = 10};
    if (trained) {
        GD_TRY(gd_dataset_open(&spec, &d));
        facts = gd_setup_data_of(d);
    }
    gd_status st = gd_setup_train(r, &facts, &s);
    if (st == GD_OK) {
        put_settings(&s.config, &spec, out->settings, sizeof out->settings);
        if (trained) st = train(r, &s.config, d, &out->hash);
        gd_setup_free(&s);
    }
    gd_dataset_close(d);
    return st;
}

static bool refuses(gd_status st) { return st == GD_CONFIG || st == GD_UNSUP; }

/* ---- a case ---- */

/* The next value of a case; false: there is none. at: the place in its list, or a number of a choice. */
static bool next_value(const effect *e, const gd_recipe *base_recipe, size_t *at, char *out) {
    const gd__key *k = &gd__keys[gd__key_find(e->key)];
    if (e->values) {
        const char *s = e->values + *at;
        size_t n = strcspn(s, "|");
        if (!n) return false;
        snprintf(out, TEXT_MAX, "%.*s", (int)n, s);
        *at += n + (s[n] == '|');
        return true;
    }
    assert_int_equal(k->type, GD__CHOICE);
    const char *now = *(const char *const *)((const char *)base_recipe + k->offset);
    while (k->choices[*at] && now && !strcmp(k->choices[*at], now)) ++*at;
    if (!k->choices[*at]) return false;
    snprintf(out, TEXT_MAX, "%s", k->choices[(*at)++]);
    return true;
}

static int failures;
#define WRONG(...) (print_error(__VA_ARGS__), print_error("\n"), failures++)

/* Whether the key at this value is accepted; then it must end elsewhere than in `before`. */
static bool has_effect(const effect *e, const char *value, bool decides, const result *before) {
    result after;
    gd_recipe *r = parse(e, value);
    if (!r) return false;
    gd_status st = run(r, decides, &after);
    gd_recipe_free(r);
    if (refuses(st)) return false;
    bool other = decides ? after.hash != before->hash : strcmp(after.settings, before->settings) != 0;
    if (st != GD_OK) WRONG("%s = %s: %s: %s", e->key, value, gd_status_name(st), gd_error_message());
    else if (!other) WRONG("%s = %s (with %s) changes nothing", e->key, value, e->with);
    return true;
}

static void try_values(const effect *e, const gd_recipe *r, bool decides, const result *before) {
    char value[TEXT_MAX];
    size_t at = 0;
    int accepted = 0, blocked;
    if (!gd__value_applies(r, gd__key_find(e->key), &blocked)) WRONG("%s means nothing in its own case", e->key);
    while (next_value(e, r, &at, value)) accepted += has_effect(e, value, decides, before);
    if (!accepted) WRONG("%s (with %s): every other value is refused: %s", e->key, e->with, gd_error_message());
}

/* What the recipe of a case ends in before its key is changed: cases next to each other often share that. */
static gd_status run_before(const effect *e, const gd_recipe *r, bool decides, result *out) {
    static struct {
        const effect *of;
        bool decides;
        result result;
    } last[BASES];
    if (last[e->base].of && !strcmp(last[e->base].of->with, e->with) && last[e->base].decides == decides) {
        *out = last[e->base].result;
        return GD_OK;
    }
    GD_TRY(run(r, decides, out));
    last[e->base].of = e;
    last[e->base].decides = decides;
    last[e->base].result = *out;
    return GD_OK;
}

/* false: the data is not there. */
static bool run_case(const effect *e) {
    result before;
    bool decides = !(gd__keys[gd__key_find(e->key)].flags & GD__FREE);
    gd_recipe *r = parse(e, NULL);
    if (!r) {
        WRONG("%s: its base is refused: %s", e->key, gd_error_message());
        return true;
    }
    gd_status st = run_before(e, r, decides, &before);
    if (st == GD_OK) try_values(e, r, decides, &before);
    else if (st != GD_NOINPUT) WRONG("%s (with %s): %s: %s", e->key, e->with, gd_status_name(st), gd_error_message());
    gd_recipe_free(r);
    return st != GD_NOINPUT;
}

static void every_key_changes_something(void **state) {
    (void)state;
    int skipped = 0;
    for (int i = 0; i < EFFECTS; i++) {
        if (run_case(&effects[i])) continue;
        print_message("%s: not looked at, the data set is not on this machine\n", effects[i].key);
        skipped++;
    }
    print_message("%d cases, %d skipped\n", EFFECTS, skipped);
    assert_int_equal(failures, 0);
}

static void every_key_has_a_case(void **state) {
    (void)state;
    for (int i = 0; i < gd__key_count; i++) {
        bool found = false;
        for (int k = 0; k < EFFECTS; k++) found |= !strcmp(effects[k].key, gd__keys[i].name);
        for (size_t k = 0; k < sizeof elsewhere / sizeof *elsewhere; k++)
            found |= !strcmp(elsewhere[k], gd__keys[i].name);
        if (!found) fail_msg("'%s' has no case here: show that it changes something", gd__keys[i].name);
    }
}

/* The same recipe twice ends in the same bytes: what the other tests see comes from the key. */
static void the_same_recipe_gives_the_same_bytes(void **state) {
    (void)state;
    for (int b = 0; b < LABELS; b++) {
        effect e = {"seed", (base)b, "", "1"};
        result one, two;
        gd_recipe *r = parse(&e, NULL);
        if (!r) fail_msg("%s", gd_error_message());
        gd_status st = run(r, true, &one);
        if (st == GD_OK) st = run(r, true, &two);
        if (st != GD_OK) fail_msg("base %d: %s", b, gd_error_message());
        assert_true(one.hash == two.hash && one.hash);
        gd_recipe_free(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_case),
        cmocka_unit_test(the_same_recipe_gives_the_same_bytes),
        cmocka_unit_test(every_key_changes_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
