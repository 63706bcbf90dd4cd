/* compute/cpu/choose.c -- the choice for one convolution: what is known, by timing, or by the rule (choice.h). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "compute/cpu/choice_table.h"

enum { MOST_CANDIDATES = 10, ROUNDS = 3 };
static const double layer_seconds = 0.15, /* no further round after that                                      */
    hopeless = 1.5,                       /* times the best: not run again                                    */
    worth_it = 0.97;                      /* of the rule's time: less is noise, and the rule's choice is kept */

typedef struct contest {
    const gd_dnnl_conv *shape;
    int n;
    gd__conv *way;
    double best[MOST_CANDIDATES];
    void *a, *b, *out, *scratch;
} contest;

static double time_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void) { return time_of(CLOCK_MONOTONIC); }

/* ---- candidates ---- */

static gd_status find_candidates(contest *c, gd_dnnl *d) {
    for (int as_f32 = 0; as_f32 < 2; as_f32++)
        for (const gd__conv_kind *k = gd__conv_kinds; k->name && c->n < MOST_CANDIDATES; k++) {
            bool taken;
            if (!strcmp(k->name, "plain") || !gd__conv_may(k, true)) continue;
            GD_TRY(gd__conv_plan(k, c->shape, as_f32, d, &c->way[c->n], &taken));
            c->n += taken;
        }
    return GD_OK;
}

static void *numbers(int64_t n, gd_dtype t) {
    float *x = aligned_alloc(64, gd__align64((size_t)n * sizeof *x + 1));
    for (int64_t i = 0; x && i < n; i++) x[i] = (float)((i * 2654435761) >> 8 & 1023) / 1024.0f - 0.5f;
    if (!x || t == GD_F32) return x;
    uint16_t *half = aligned_alloc(64, gd__align64((size_t)n * sizeof *half + 1));
    if (half) gd__narrow(x, half, n);
    free(x);
    return half;
}

/* Operands, result and scratch that every candidate can use. */
static gd_status make_buffers(contest *c) {
    size_t most = 64;
    const int64_t *count = c->way[0].copies.count;
    for (int i = 0; i < c->n; i++)
        if (c->way[i].scratch_bytes > most) most = c->way[i].scratch_bytes;
    c->a = numbers(count[0], c->shape->in_type);
    c->b = numbers(count[1], c->shape->in_type);
    c->out = aligned_alloc(64, gd__align64((size_t)count[2] * sizeof(float) + 1));
    c->scratch = aligned_alloc(64, gd__align64(most));
    if (!c->a || !c->b || !c->out || !c->scratch) GD_FAIL(NOMEM, "cpu: no memory to time convolutions");
    return GD_OK;
}

/* ---- timing ---- */

static gd_status run_once(contest *c, int i, double *seconds) {
    /* One thread's own time: what else runs on its core is left out. */
    clockid_t clock = c->way[i].threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double start = time_of(clock);
    GD_TRY(gd__conv_run(&c->way[i], c->a, c->b, c->out, c->scratch));
    *seconds = time_of(clock) - start;
    return GD_OK;
}

static gd_status run_rounds(contest *c) {
    double start = now(), best = 1e9, t;
    for (int i = 0; i < c->n; i++) {
        GD_TRY(run_once(c, i, &t)); /* touches the pages */
        if (t < best) best = t;
        c->best[i] = t;
    }
    for (int round = 0; round < ROUNDS && (!round || now() - start < layer_seconds); round++)
        for (int i = 0; i < c->n; i++) {
            if (round && c->best[i] > hopeless * best) continue;
            GD_TRY(run_once(c, i, &t));
            if (t < c->best[i]) c->best[i] = t;
            if (t < best) best = t;
        }
    return GD_OK;
}

static int find_way(const contest *c, const gd__conv *x) {
    for (int i = 0; i < c->n; i++)
        if (c->way[i].kind == x->kind && c->way[i].as_f32 == x->as_f32) return i;
    return -1;
}

/* The fastest, unless the rule's is as fast. */
static gd_status winner(const contest *c, gd_dnnl *d, int *out) {
    gd__conv rule;
    int best = 0;
    for (int i = 1; i < c->n; i++)
        if (c->best[i] < c->best[best]) best = i;
    GD_TRY(gd__conv_rule(c->shape, true, d, &rule));
    int usual = find_way(c, &rule);
    gd__conv_free(&rule);
    *out = usual >= 0 && c->best[best] > worth_it * c->best[usual] ? usual : best;
    return GD_OK;
}

static void print_times(const contest *c, gd__choice *choice) {
    size_t at = 0;
    for (int i = 0; i < c->n; i++) {
        char one[48];
        int n = snprintf(one, sizeof one, " %s%s %.3gms", c->way[i].as_f32 ? "f32:" : "", c->way[i].kind->name,
                         1e3 * c->best[i]);
        if (n < 0 || at + (size_t)n >= sizeof choice->times) break;
        memcpy(choice->times + at, one, (size_t)n + 1);
        at += (size_t)n;
    }
}

static gd_status hold_contest(contest *c, gd_dnnl *d, gd__choice *choice, gd__conv *out) {
    int best = 0;
    GD_TRY(find_candidates(c, d));
    if (!c->n) return GD_OK;
    if (c->n > 1) {
        GD_TRY(make_buffers(c));
        GD_TRY(run_rounds(c));
        GD_TRY(winner(c, d, &best));
        print_times(c, choice);
        choice->source = GD__BY_TIME;
    }
    *out = c->way[best];
    c->way[best] = (gd__conv){0}; /* moved */
    return GD_OK;
}

/* out->kind stays NULL when only plain loops take the shape. */
static gd_status by_time(const gd_dnnl_conv *shape, gd_dnnl *d, gd__choice *choice, gd__conv *out) {
    contest c = {.shape = shape, .way = calloc(MOST_CANDIDATES, sizeof *c.way)};
    double start = now();
    if (!c.way) GD_FAIL(NOMEM, "cpu: no memory to time convolutions");
    gd_status st = hold_contest(&c, d, choice, out);
    for (int i = 0; i < c.n; i++) gd__conv_free(&c.way[i]);
    free(c.a);
    free(c.b);
    free(c.out);
    free(c.scratch);
    free(c.way);
    gd__choice_spent(now() - start);
    return st;
}

/* ---- choice ---- */

/* A known choice, planned; out->kind stays NULL when this machine cannot follow it. */
static gd_status by_known(const gd_dnnl_conv *c, const gd__choice *known, gd_dnnl *d, gd__conv *out) {
    bool taken = false;
    GD_TRY(gd__conv_plan(known->kind, c, known->as_f32, d, out, &taken));
    if (!taken)
        GD_LOG(COMPUTE, WARN,
               "%s: the choice %s%s cannot be followed on this machine; results may differ in their last bits",
               known->key, known->as_f32 ? "f32:" : "", known->kind->name);
    return GD_OK;
}

gd_status gd__conv_make(const gd_dnnl_conv *c, gd_dnnl *d, gd__conv *out) {
    gd__choice choice = {.used = true}, known;
    bool late = false;
    memset(out, 0, sizeof *out);
    gd__choice_key(c, choice.key);
    if (gd__choice_find(choice.key, &known)) GD_TRY(by_known(c, &known, d, out));
    if (out->kind) return GD_OK;
    if (gd__choice_may_time(&late)) GD_TRY(by_time(c, d, &choice, out));
    choice.left = late;
    if (!out->kind) GD_TRY(gd__conv_rule(c, gd__choice_may_transform(), d, out));
    choice.kind = out->kind;
    choice.as_f32 = out->as_f32;
    gd_status st = gd__choice_put(&choice);
    if (st != GD_OK) gd__conv_free(out);
    return st;
}
