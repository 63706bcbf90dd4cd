/* What no single value can tell: required keys, keys that mean nothing beside others, and rules
 * that tie several keys together. A rule is left out when one of its keys is already known to be
 * wrong. */
#include <stdio.h>
#include <string.h>

#include "recipes/reading.h"

static gd__place place_of(const gd__reading *r, const char *key) {
    gd__place given = r->owner->given[gd__key_find(key)];
    return given.source ? given : r->top;
}

static bool is_given(const gd__reading *r, const char *key) {
    return r->owner->given[gd__key_find(key)].source != NULL;
}

/* "recipes/x.yaml:3:4", "default" */
static const char *origin_of(const gd__reading *r, const char *key) {
    const char *text = gd__place_text(r->problems.arena, r->owner->given[gd__key_find(key)]);
    return text ? text : "";
}

/* Whether none of these keys (NULL ends them) was refused. */
static bool usable(const gd__reading *r, const char *const *keys) {
    for (; *keys; keys++)
        if (r->bad[gd__key_find(*keys)]) return false;
    return true;
}
#define USABLE(r, ...) usable(r, (const char *const[]){__VA_ARGS__, NULL})

/* ---- required keys ---- */

static gd__place missing_at(const gd__reading *r, const char *key) {
    const char *leaf;
    for (int i = 0; i < gd__section_count; i++)
        if (gd__key_in(key, gd__sections[i].name, &leaf) && r->section[i].source) return r->section[i];
    return r->top;
}

static void list_choices(const gd__key *k, gd__out *out) {
    for (int i = 0; k->choices && k->choices[i]; i++) gd__put(out, "%s%s", i ? ", " : "; one of: ", k->choices[i]);
}

static void check_required(gd__reading *r) {
    for (int i = 0; i < gd__key_count; i++) {
        const gd__key *k = &gd__keys[i];
        int blocked;
        if (!(k->flags & GD__REQUIRED) || r->owner->given[i].source || r->bad[i]) continue;
        if (!gd__value_applies(r->recipe, i, &blocked)) continue;
        gd__out choices = {0};
        list_choices(k, &choices);
        gd__problem(&r->problems, missing_at(r, k->name), "'%s' is required (%s)%s", k->name, k->help,
                    choices.text ? choices.text : "");
        gd__out_free(&choices);
        r->bad[i] = true;
    }
}

/* ---- keys without meaning ---- */

/* "one", "one or two", from the words of a `needs`. */
static void list_needed(const char *words, gd__out *out) {
    for (int i = 0; *words; i++) {
        size_t n = strcspn(words, " ");
        gd__put(out, "%s%.*s", i ? " or " : "", (int)n, words);
        words += n + (words[n] == ' ');
    }
}

/* A value that switches something off does no harm where the thing does not exist. */
static bool says_nothing(const gd__reading *r, int key) {
    const gd__key *k = &gd__keys[key];
    gd__out value = {0};
    gd__value_write(&value, r->recipe, key);
    const char *v = value.text ? value.text : "";
    bool off = gd__listed("0 -1 false none null", v) && !strcmp(v, k->fallback ? k->fallback : "null");
    gd__out_free(&value);
    return off;
}

/* Whether the key that decides was set by a later text than this one, which could not take the key
 * out. */
static bool overridden(const gd__reading *r, int key, int other) {
    const gd__source *a = r->owner->given[key].source, *b = r->owner->given[other].source;
    return b && b->order > a->order && !(a->argument && b->argument);
}

/* blocked: the key itself, or one it stands on, whose needs are not met by `other`. */
static void refuse_meaningless(gd__reading *r, int key, int blocked, int other) {
    const gd__key *k = &gd__keys[key];
    const char *words = gd__keys[blocked].needs + strcspn(gd__keys[blocked].needs, "=!");
    gd__out value = {0}, wanted = {0};
    gd__value_write(&value, r->recipe, other);
    list_needed(words + 1, &wanted);
    const char *where = gd__place_text(r->problems.arena, r->owner->given[other]);
    gd__problem(&r->problems, r->owner->given[key],
                "'%s' (%s) means nothing while '%s' is %s (%s); remove it, or set '%s' to %s%s", k->name, k->help,
                gd__keys[other].name, value.text ? value.text : "", where ? where : "", gd__keys[other].name,
                *words == '!' ? "something other than " : "", wanted.text ? wanted.text : "");
    gd__out_free(&value);
    gd__out_free(&wanted);
}

/* Afterwards every key without meaning has its default. */
static void check_needs(gd__reading *r) {
    for (int i = 0; i < gd__key_count; i++) {
        int blocked = -1;
        if (!r->owner->given[i].source || gd__value_applies(r->recipe, i, &blocked)) continue;
        int other = gd__key_needed(blocked);
        if (r->bad[other]) continue;
        if (!r->bad[i] && !says_nothing(r, i) && !overridden(r, i, other)) refuse_meaningless(r, i, blocked, other);
        r->problems.nomem |= !gd__value_reset(r->recipe, r->owner->arena, i);
        r->owner->given[i] = (gd__place){0};
    }
}

/* ---- rules ---- */

static void check_name(gd__reading *r) {
    const char *name = r->recipe->name;
    if (r->bad[gd__key_find("name")]) return;
    if (strchr(name, '/') || name[0] == '.' || strlen(name) > 100)
        gd__problem(&r->problems, place_of(r, "name"),
                    "'name' names a folder: at most 100 bytes, no '/', no '.' in front; got %s",
                    gd__excerpt(r->problems.arena, name));
}

static bool makes_points(const gd_recipe *c) { return gd__listed(GD__POINTS, c->data.source); }

static void check_image(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (USABLE(r, "data.image.channels") && c->data.image.channels == 2)
        gd__problem(&r->problems, place_of(r, "data.image.channels"),
                    "'data.image.channels' must be 1 (grey) or 3 (colour); got 2");
    if (!USABLE(r, "data.image.load", "data.image.size") || !c->data.image.load) return;
    if (!c->data.image.size)
        gd__problem(&r->problems, place_of(r, "data.image.load"),
                    "'data.image.load' is what 'data.image.size' pixels are cut out of; set that, too");
    else if (c->data.image.load < c->data.image.size)
        gd__problem(
            &r->problems, place_of(r, "data.image.load"),
            "'data.image.load' is %lld, but %lld pixels ('data.image.size') are cut out of it; expected at least "
            "as much",
            (long long)c->data.image.load, (long long)c->data.image.size);
}

/* Whether the source has what the topology learns from. */
static void check_domains(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (!USABLE(r, "data.source", "topology")) return;
    const char *wrong = NULL, *source = c->data.source;
    if (!strcmp(c->topology, "paired") && !gd__listed(GD__PAIRS, source))
        wrong = "learns from aligned pairs: edges2fashion or pairs";
    if (!strcmp(c->topology, "two-way") && !gd__listed(GD__DOMAINS, source))
        wrong = "works on two domains: bags2shoes, fashion-hflip, fashion-invert, unpaired or others";
    if (gd__listed("noise classifier", c->topology) && gd__listed(GD__DOMAINS, source))
        wrong = "works on images of one domain: fashion-mnist, folder or others";
    if (wrong)
        gd__problem(&r->problems, place_of(r, "data.source"), "source '%s' does not fit: topology '%s' (%s) %s", source,
                    c->topology, origin_of(r, "topology"), wrong);
}

static void check_data(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (USABLE(r, "data.source", "data.path") &&
        gd__listed("idx cifar10 folder pairs split-pairs unpaired tar", c->data.source) && !c->data.path)
        gd__problem(&r->problems, place_of(r, "data.source"), "'data.path' is required by the source '%s'",
                    c->data.source);
    check_image(r);
    check_domains(r);
}

/* ---- networks ---- */

static const char *key_of(char room[48], const char *section, const char *leaf) {
    snprintf(room, 48, "%s.%s", section, leaf);
    return room;
}

/* Which networks a topology can have: a generator starts from a vector or from an image. */
static void check_role(gd__reading *r, const char *arch, const gd_recipe_net *n, bool generator) {
    const char *topology = r->recipe->topology;
    const char *takes = strcmp(topology, "noise") ? "unet resnet disco layers" : "mlp dcgan dcgan-k5 resnet-gp layers";
    if (!generator || !USABLE(r, "topology") || gd__listed(takes, n->arch)) return;
    gd__out list = {0};
    list_needed(takes, &list);
    gd__problem(&r->problems, place_of(r, arch), "'%s' %s starts from %s, topology '%s' has %s; use %s", arch, n->arch,
                strcmp(topology, "noise") ? "a random vector" : "an image", topology,
                strcmp(topology, "noise") ? "images" : "random vectors", list.text ? list.text : "");
    gd__out_free(&list);
}

static void check_net(gd__reading *r, const char *section, const gd_recipe_net *n) {
    char arch[48], layers[48];
    key_of(arch, section, "arch");
    if (!n->arch || !USABLE(r, arch, key_of(layers, section, "layers"))) return;
    if (!strcmp(n->arch, "layers") && !n->layer_count)
        gd__problem(&r->problems, place_of(r, arch), "'%s' is layers, but there is no '%s'; give the list of layers",
                    arch, layers);
    if (USABLE(r, "data.source") && !gd__listed("mlp layers", n->arch) && makes_points(r->recipe))
        gd__problem(&r->problems, place_of(r, arch),
                    "'%s' %s works on images, the source '%s' has points in the plane; use mlp", arch, n->arch,
                    r->recipe->data.source);
    check_role(r, arch, n, n == &r->recipe->generator);
}

/* ---- losses ---- */

static void check_fraction(gd__reading *r) {
    if (!USABLE(r, "loss.penalty.fraction", "loss.penalty.kind", "batch.global")) return;
    double share = r->recipe->loss.penalty.fraction, exact = 1 / share;
    int64_t batch = r->recipe->batch.global;
    int64_t n = exact < (double)batch ? (int64_t)(exact + 0.5) : batch;
    gd__place at = place_of(r, "loss.penalty.fraction");
    if (!(exact <= (double)n * 1.0015 && exact >= (double)n * 0.9985))
        gd__problem(&r->problems, at,
                    "'loss.penalty.fraction' must be one n-th of the samples; got %.15g; nearest: %.6g (1/%lld)", share,
                    1 / (double)n, (long long)n);
    else if (batch % n)
        gd__problem(
            &r->problems, at,
            "'loss.penalty.fraction' %.15g is one of %lld samples, but the global batch of %lld is no multiple of "
            "%lld",
            share, (long long)n, (long long)batch, (long long)n);
}

static void check_noise(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (!USABLE(r, "loss.noise.start", "loss.noise.end", "loss.noise.steps")) return;
    bool moves = c->loss.noise.start != c->loss.noise.end;
    if (moves && !c->loss.noise.steps)
        gd__problem(&r->problems, place_of(r, is_given(r, "loss.noise.start") ? "loss.noise.start" : "loss.noise.end"),
                    "'loss.noise' goes from %.15g to %.15g at once; set 'loss.noise.steps'", c->loss.noise.start,
                    c->loss.noise.end);
    if (!moves && c->loss.noise.steps)
        gd__problem(&r->problems, place_of(r, "loss.noise.steps"),
                    "'loss.noise.steps' leads nowhere: 'loss.noise.start' and 'loss.noise.end' are both %.15g",
                    c->loss.noise.end);
}

static void check_terms(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (!USABLE(r, "topology", "loss.terms.l1", "loss.terms.cycle_a", "loss.terms.cycle_b", "loss.terms.identity",
                "loss.terms.feature", "loss.terms.rate.enabled", "loss.terms.cycle_kind", "loss.g_scale"))
        return;
    bool cycle = c->loss.terms.cycle_a > 0 || c->loss.terms.cycle_b > 0;
    static const char *const of_cycle[] = {"loss.terms.identity", "loss.terms.rate.enabled", "loss.terms.cycle_kind"};
    const bool used[] = {c->loss.terms.identity > 0, c->loss.terms.rate.on,
                         c->loss.terms.cycle_kind && strcmp(c->loss.terms.cycle_kind, "l1")};
    for (int i = 0; i < 3 && !cycle; i++)
        if (used[i])
            gd__problem(&r->problems, place_of(r, of_cycle[i]),
                        "'%s' changes nothing without a cycle term; set 'loss.terms.cycle_a' and 'loss.terms.cycle_b'",
                        of_cycle[i]);
    if (c->loss.g_scale == 0 && strcmp(c->topology, "classifier") && !cycle && !(c->loss.terms.l1 > 0) &&
        !(c->loss.terms.feature > 0))
        gd__problem(&r->problems, place_of(r, "loss.g_scale"),
                    "'loss.g_scale' is 0, and there is no term in 'loss.terms': the generator would learn nothing");
}

static void check_loss(gd__reading *r) {
    check_fraction(r);
    check_noise(r);
    check_terms(r);
}

/* ---- schedule ---- */

static void check_alternate(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (!USABLE(r, "schedule.alternate", "schedule.simultaneous", "schedule.share_fake", "schedule.adaptive.kind") ||
        !c->schedule.alternate)
        return;
    const char *other = c->schedule.simultaneous                    ? "schedule.simultaneous"
                        : c->schedule.share_fake                    ? "schedule.share_fake"
                        : strcmp(c->schedule.adaptive.kind, "none") ? "schedule.adaptive.kind"
                                                                    : NULL;
    if (other)
        gd__problem(&r->problems, place_of(r, "schedule.alternate"),
                    "'schedule.alternate' trains one side at a time, '%s' (%s) needs both in one iteration; remove one "
                    "of the two",
                    other, origin_of(r, other));
}

static void check_adaptive(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (!USABLE(r, "schedule.adaptive.kind", "schedule.adaptive.low", "schedule.adaptive.high", "schedule.adaptive.min",
                "schedule.adaptive.max", "schedule.d_steps", "schedule.simultaneous", "loss.kind") ||
        !strcmp(c->schedule.adaptive.kind, "none"))
        return;
    bool accuracy = !strcmp(c->schedule.adaptive.kind, "accuracy");
    int64_t min = c->schedule.adaptive.min, max = c->schedule.adaptive.max, k = c->schedule.d_steps;
    if (!(c->schedule.adaptive.low < c->schedule.adaptive.high))
        gd__problem(&r->problems, place_of(r, "schedule.adaptive.low"),
                    "'schedule.adaptive.low' is %.15g and 'schedule.adaptive.high' %.15g; the first must be smaller",
                    c->schedule.adaptive.low, c->schedule.adaptive.high);
    if (accuracy && c->schedule.adaptive.high > 1)
        gd__problem(&r->problems, place_of(r, "schedule.adaptive.high"),
                    "'schedule.adaptive.high' is %.15g; an accuracy is at most 1", c->schedule.adaptive.high);
    if (accuracy && !strcmp(c->loss.kind, "wasserstein"))
        gd__problem(
            &r->problems, place_of(r, "schedule.adaptive.kind"),
            "'schedule.adaptive.kind' accuracy means nothing with the loss wasserstein, whose discriminator does "
            "not classify; use grad-ratio");
    if (min > k || k > max)
        gd__problem(&r->problems, place_of(r, "schedule.d_steps"),
                    "'schedule.d_steps' is %lld, where an adaptive schedule starts; expected a number within "
                    "'schedule.adaptive.min' (%lld) and 'schedule.adaptive.max' (%lld)",
                    (long long)k, (long long)min, (long long)max);
    if (c->schedule.simultaneous)
        gd__problem(&r->problems, place_of(r, "schedule.adaptive.kind"),
                    "'schedule.adaptive' changes d_steps, 'schedule.simultaneous' needs one; remove one of the two");
}

static void check_schedule(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (!USABLE(r, "schedule.d_steps", "schedule.g_steps", "schedule.simultaneous", "schedule.share_fake",
                "schedule.warmup.steps", "schedule.warmup.d_steps", "schedule.warmup.every"))
        return;
    bool planned = c->schedule.warmup.steps || c->schedule.warmup.every;
    if (c->schedule.simultaneous && (c->schedule.d_steps != 1 || c->schedule.g_steps != 1 || planned))
        gd__problem(&r->problems, place_of(r, "schedule.simultaneous"),
                    "'schedule.simultaneous' updates both sides once an iteration; it needs "
                    "d_steps 1, g_steps 1 and no warmup");
    if (c->schedule.simultaneous && c->schedule.share_fake)
        gd__problem(&r->problems, place_of(r, "schedule.share_fake"),
                    "'schedule.share_fake' means nothing with 'schedule.simultaneous', which "
                    "always shares; remove it");
    if (planned && !c->schedule.warmup.d_steps)
        gd__problem(&r->problems,
                    place_of(r, c->schedule.warmup.steps ? "schedule.warmup.steps" : "schedule.warmup.every"),
                    "'schedule.warmup' plans iterations but no updates for them; set "
                    "'schedule.warmup.d_steps'");
    if (!planned && c->schedule.warmup.d_steps)
        gd__problem(&r->problems, place_of(r, "schedule.warmup.d_steps"),
                    "'schedule.warmup.d_steps' is never used; set 'schedule.warmup.steps' or "
                    "'schedule.warmup.every'");
}

static void check_linear(gd__reading *r, const char *section, const gd_recipe_optimizer *o) {
    char start[48], end[48];
    if (strcmp(o->decay, "linear") ||
        !USABLE(r, key_of(start, section, "decay_start"), key_of(end, section, "decay_end"), "train.steps"))
        return;
    int64_t last = o->decay_end ? o->decay_end : r->recipe->train.steps;
    if (o->decay_start >= last)
        gd__problem(&r->problems, place_of(r, is_given(r, start) ? start : end),
                    "'%s' is %lld, but the decay ends at iteration %lld (%s); the start must come "
                    "before the end",
                    start, (long long)o->decay_start, (long long)last, o->decay_end ? end : "train.steps");
}

static void check_optimizer(gd__reading *r, const char *section, const gd_recipe_optimizer *o) {
    char kind[48], decay[48], final[48], steps[48], lr[48], floor[48];
    if (!USABLE(r, key_of(kind, section, "kind"), key_of(decay, section, "decay"))) return;
    check_linear(r, section, o);
    if (USABLE(r, key_of(final, section, "momentum_final"), key_of(steps, section, "momentum_steps"))) {
        if (o->momentum_final >= 0 && !o->momentum_steps)
            gd__problem(&r->problems, place_of(r, final), "'%s' is never reached; set '%s'", final, steps);
        if (o->momentum_final < 0 && o->momentum_steps)
            gd__problem(&r->problems, place_of(r, steps), "'%s' leads nowhere; set '%s'", steps, final);
    }
    if (USABLE(r, key_of(lr, section, "lr"), key_of(floor, section, "lr_floor")) && o->lr_floor > o->lr)
        gd__problem(&r->problems, place_of(r, floor), "'%s' is %.15g, above the learning rate %.15g itself", floor,
                    o->lr_floor, o->lr);
}

static void check_shards(gd__reading *r) {
    if (!USABLE(r, "numerics.shards", "batch.global")) return;
    int64_t batch = r->recipe->batch.global, shards = r->recipe->numerics.shards;
    if (!shards || batch % shards == 0) return;
    int64_t less = batch / shards * shards;
    char low[32] = "";
    if (less) snprintf(low, sizeof low, "%lld or ", (long long)less);
    gd__problem(&r->problems, place_of(r, "numerics.shards"),
                "global batch %lld does not divide into %lld shards; use a batch of %s%lld, or "
                "another number of shards",
                (long long)batch, (long long)shards, low, (long long)(less + shards));
}

void gd__check(gd__reading *r) {
    check_required(r);
    check_needs(r);
    check_name(r);
    check_data(r);
    check_net(r, "generator", &r->recipe->generator);
    check_net(r, "discriminator", &r->recipe->discriminator);
    check_loss(r);
    check_schedule(r);
    check_alternate(r);
    check_adaptive(r);
    check_optimizer(r, "optimizer.g", &r->recipe->optimizer.g);
    check_optimizer(r, "optimizer.d", &r->recipe->optimizer.d);
    check_shards(r);
}
