/* tests/cuda/text_steps.c -- whole training steps of every family on generated kernels, against `ref` in the norm of steps.h.
 * Threads and blocks run last first in a second run, which must give the same bytes. Usage: [FAMILY] */
#include <stdlib.h>
#include <string.h>

#include "compute/cpu/choice.h"
#include "families.h"
#include "shim.h"
#include "steps.h"
#include "text_executor.h"

enum { BATCH = 4, BINDINGS = 1024 };

typedef struct job {
    char name[96];
    bool half;
    double worst;
    char where[96];
    ops_prog text;
    steps_ref *ref;
} job;

static job *jobs;
static int n_jobs;

/* ---- values ---- */

static void draw_all(ops_prog *p) {
    for (int i = 0; i < p->n; i++)
        if (p->buffer[i].is.is_input || p->buffer[i].is.is_param) steps_draw(&p->buffer[i].is, p->buffer[i].value);
}

/* ---- jobs ---- */

static void add(const family *f, const gd_gan *m, gd_step_kind kind, bool half) {
    gd_step_graph s;
    jobs = realloc(jobs, (size_t)(n_jobs + 1) * sizeof *jobs);
    if (!jobs) ops_die("no memory");
    job *j = &jobs[n_jobs++];
    *j = (job){.half = half};
    snprintf(j->name, sizeof j->name, "%s, %s, %s", f->name, gd_step_kind_text(kind), half ? "bf16" : "f32");
    ops_need(gd_gan_step(m, kind, true, 1, &s), j->name);
    gd_precision p = half ? GD_PRECISION_BF16 : GD_PRECISION_F32;
    j->text = ops_make(s.graph, text_executor(), s.n_outputs, s.outputs, p);
    j->ref = steps_ref_new(&s, p);
    gd_step_graph_free(&s);
}

static void add_family(const family *f) {
    gd_gan *m;
    gd_gan_spec spec = f->spec;
    spec.global_batch = BATCH;
    spec.sync = true;
    ops_need(gd_gan_new(&spec, &m), f->name);
    /* What the other kinds compute, these do in other orders. */
    static const gd_step_kind noise[] = {GD_STEP_D, GD_STEP_G, GD_STEP_DG_SHARED},
                              two_way[] = {GD_STEP_D, GD_STEP_GD_SHARED, GD_STEP_G};
    const gd_step_kind *kinds = spec.topology == GD_TOPOLOGY_TWO_WAY ? two_way : noise;
    for (int i = 0; i < 3; i++)
        for (int half = 0; gd_gan_has_step(m, kinds[i]) && half < 2; half++) add(f, m, kinds[i], half);
    gd_gan_free(m);
}

static double *save(const ops_prog *p, int i) {
    const ops_buffer *b = &p->buffer[i];
    double *v = malloc(((size_t)b->count + 1) * sizeof *v);
    if (!v) ops_die("no memory");
    return memcpy(v, b->value, (size_t)b->count * sizeof *v);
}

/* false: the order of threads shows. */
static bool evaluate(job *j) {
    bool same = true;
    double *first[BINDINGS];
    draw_all(&j->text);
    if (j->text.n > BINDINGS) ops_die("too many bindings");
    shim_reverse(false);
    ops_run(&j->text);
    for (int i = 0; i < j->text.n; i++) first[i] = save(&j->text, i);
    draw_all(&j->text); /* running statistics are inputs and outputs */
    shim_reverse(true);
    ops_run(&j->text);
    for (int i = 0; i < j->text.n; i++) {
        ops_buffer *b = &j->text.buffer[i];
        same = same && !memcmp(first[i], b->value, (size_t)b->count * sizeof(double));
        free(first[i]);
        if (!b->is.is_output) continue;
        double e = steps_distance(j->ref, b->is.name, b->value, j->half ? 2e-3 : 1e-5);
        if (e <= j->worst) continue;
        j->worst = e;
        snprintf(j->where, sizeof j->where, "%s", b->is.name);
    }
    return same;
}

int main(int argc, char **argv) {
    int n, failed = 0;
    gd_choice_set_mode(GD_CHOICE_DIRECT); /* convolutions are those of cpu: every product as it is */
    const family *list = families(&n);
    for (int i = 0; i < n; i++)
        if (argc < 2 || !strcmp(list[i].name, argv[1])) add_family(&list[i]);
    shim_build();
    for (int i = 0; i < n_jobs; i++) {
        job *j = &jobs[i];
        bool same = evaluate(j), good = same && j->worst <= 1;
        failed += !good;
        printf("%-36s %6.3f of the limit %s%s, worst %s\n", j->name, j->worst, good ? "ok" : "FAIL",
               same ? "" : ", other bytes in reverse order", j->where);
        ops_free(&j->text);
        steps_ref_free(j->ref);
    }
    printf("%d steps on %d kernels, %d failed\n", n_jobs, shim_count(), failed);
    if (!n_jobs) printf("FAIL no such family\n");
    free(jobs);
    return failed || !n_jobs;
}
