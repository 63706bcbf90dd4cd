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
        if (!(k->flags & GD__REQUIRED) || r->owner->given[i].source || r->bad[i]) continue;
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

static void refuse_meaningless(gd__reading *r, int key, int other) {
    const gd__key *k = &gd__keys[key];
    const char *words = k->needs + strcspn(k->needs, "=!");
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
        int other = -1;
        if (!r->owner->given[i].source || gd__value_applies(r->recipe, i, &other) || r->bad[other]) continue;
        if (!r->bad[i] && !says_nothing(r, i) && !overridden(r, i, other)) refuse_meaningless(r, i, other);
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

static void check_data(gd__reading *r) {
    const gd_recipe *c = r->recipe;
    if (USABLE(r, "data.source", "data.path") && gd__listed("idx folder", c->data.source) && !c->data.path)
        gd__problem(&r->problems, place_of(r, "data.source"), "'data.path' is required by the source '%s'",
                    c->data.source);
    if (USABLE(r, "data.image.channels") && c->data.image.channels == 2)
        gd__problem(&r->problems, place_of(r, "data.image.channels"),
                    "'data.image.channels' must be 1 (grey) or 3 (colour); got 2");
}

static bool makes_points(const gd_recipe *c) { return gd__listed("ring grid swiss-roll", c->data.source); }

static void check_net(gd__reading *r, const char *section, const gd_recipe_net *n) {
    char arch[40], layers[40];
    snprintf(arch, sizeof arch, "%s.arch", section);
    snprintf(layers, sizeof layers, "%s.layers", section);
    if (!USABLE(r, arch, layers)) return;
    if (!strcmp(n->arch, "layers") && !n->layer_count)
        gd__problem(&r->problems, place_of(r, arch), "'%s' is layers, but there is no '%s'; give the list of layers",
                    arch, layers);
    if (USABLE(r, "data.source") && !strcmp(n->arch, "dcgan") && makes_points(r->recipe))
        gd__problem(&r->problems, place_of(r, arch),
                    "'%s' dcgan works on images, the source '%s' has points in the plane; use mlp", arch,
                    r->recipe->data.source);
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

static const char *key_of(char room[48], const char *section, const char *leaf) {
    snprintf(room, 48, "%s.%s", section, leaf);
    return room;
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
    check_schedule(r);
    check_optimizer(r, "optimizer.g", &r->recipe->optimizer.g);
    check_optimizer(r, "optimizer.d", &r->recipe->optimizer.d);
    check_shards(r);
}
