/* dist/checkpoint_plan.c -- who writes what: a pure function of the state and the number of ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dist/checkpoint_internal.h"

enum { WRITERS_USUAL = 8 };
static const int64_t STEP_MAX = 999999999999; /* 12 digits */

const gd_state_tensor *gd__save_tensor(const gd__save *j, int i) { return &j->s->tensor[j->order[i]]; }
static uint64_t tensor_bytes(const gd_state_tensor *t) { return (uint64_t)gd_shape_count(t->shape) * sizeof(float); }

/* Spread over the ranks, so that on several hosts several hosts write. */
int gd__save_rank_of(const gd__save *j, int w) { return (int)((int64_t)w * j->size / j->writers); }

int gd__save_own(const gd__save *j) {
    for (int w = 0; w < j->writers; w++)
        if (gd__save_rank_of(j, w) == j->rank) return w;
    return -1;
}

void gd__save_shard_name(const gd__save *j, int w, char out[GD__NAME_ROOM]) {
    snprintf(out, GD__NAME_ROOM, "shard-%04d-of-%04d.safetensors", w, j->writers);
}

static gd_status check_state(const gd__save *j) {
    const gd_state *s = j->s;
    if (s->counters.step < 0 || s->counters.step > STEP_MAX)
        GD_FAIL(INTERNAL, "checkpoint: step %lld; expected 0 to %lld", (long long)s->counters.step,
                (long long)STEP_MAX);
    for (int i = 0; i < s->count; i++) {
        const gd_state_tensor *t = &s->tensor[i];
        gd__layout l;
        if (!t->name || !t->name[0]) GD_FAIL(INTERNAL, "checkpoint: tensor %d has no name", i);
        if (!gd__layout_of(t, &l))
            GD_FAIL(INTERNAL, "checkpoint: tensor '%s': its file order is no permutation of its dimensions", t->name);
        if (t->spread && !s->collect) GD_FAIL(INTERNAL, "checkpoint: nobody collects tensor '%s'", t->name);
        if (!t->data && !j->fetch && !t->spread && gd_shape_count(t->shape) > 0)
            GD_FAIL(INTERNAL, "checkpoint: tensor '%s' has no data", t->name);
    }
    return GD_OK;
}

static int by_name(const void *a, const void *b, void *state) {
    const gd_state *s = state;
    return strcmp(s->tensor[*(const int *)a].name, s->tensor[*(const int *)b].name);
}

/* Positions in order: large tensors first, of equals by name. */
static int by_size(const void *a, const void *b, void *job) {
    int x = *(const int *)a, y = *(const int *)b;
    uint64_t bx = tensor_bytes(gd__save_tensor(job, x)), by = tensor_bytes(gd__save_tensor(job, y));
    if (bx != by) return bx > by ? -1 : 1;
    return x - y;
}

/* Largest first, each to the writer that has least. */
static gd_status assign_writers(gd__save *j) {
    int n = j->s->count;
    int *position = calloc((size_t)n + 1, sizeof *position);
    uint64_t *load = calloc((size_t)j->writers, sizeof *load);
    if (!position || !load) {
        free(position);
        free(load);
        GD_FAIL(NOMEM, "checkpoint: no memory for the plan of %d tensors", n);
    }
    for (int i = 0; i < n; i++) position[i] = i;
    qsort_r(position, (size_t)n, sizeof *position, by_size, j);
    for (int i = 0; i < n; i++) {
        int least = 0;
        for (int w = 1; w < j->writers; w++)
            if (load[w] < load[least]) least = w;
        uint64_t bytes = tensor_bytes(gd__save_tensor(j, position[i]));
        j->writer[position[i]] = least;
        load[least] += bytes;
        j->data_bytes += bytes;
    }
    free(position);
    free(load);
    return GD_OK;
}

static void choose_writers(gd__save *j) {
    if (!j->writers) j->writers = j->size < WRITERS_USUAL ? j->size : WRITERS_USUAL;
    if (j->writers > j->s->count) j->writers = j->s->count > 0 ? j->s->count : 1;
}

gd_status gd__save_plan(gd__save *j) {
    const gd_state *s = j->s;
    char name[GD__STEP_NAME];
    GD_TRY(check_state(j));
    size_t n = (size_t)s->count;
    choose_writers(j);
    j->report_bytes = sizeof(gd__shard_record) + n * sizeof(uint64_t);
    j->order = calloc(n + 1, sizeof *j->order);
    j->writer = calloc(n + 1, sizeof *j->writer);
    j->hash = calloc(n + 1, sizeof *j->hash);
    j->shard = calloc((size_t)j->writers, sizeof *j->shard);
    j->mine = calloc(1, j->report_bytes);
    j->all = calloc((size_t)j->size, j->report_bytes);
    if (!j->order || !j->writer || !j->hash || !j->shard || !j->mine || !j->all)
        GD_FAIL(NOMEM, "checkpoint: no memory for the plan of %d tensors", s->count);
    for (int i = 0; i < s->count; i++) j->order[i] = i;
    qsort_r(j->order, n, sizeof *j->order, by_name, (void *)(uintptr_t)s);
    for (int i = 1; i < s->count; i++)
        if (strcmp(gd__save_tensor(j, i - 1)->name, gd__save_tensor(j, i)->name) == 0)
            GD_FAIL(INTERNAL, "checkpoint: two tensors are called '%s'", gd__save_tensor(j, i)->name);
    GD_TRY(assign_writers(j));
    gd__step_name(s->counters.step, name);
    return gd__path(j->final, j->dir, name);
}

void gd__save_free(gd__save *j) {
    free(j->order);
    free(j->writer);
    free(j->hash);
    free(j->shard);
    free(j->mine);
    free(j->all);
    j->order = j->writer = NULL;
    j->hash = NULL;
    j->shard = NULL;
    j->mine = j->all = NULL;
}

/* ---- what every rank tells the others ---- */

void gd__save_report(gd__save *j) {
    int own = gd__save_own(j);
    if (own >= 0) memcpy(j->mine, &j->shard[own], sizeof *j->shard);
    memcpy((char *)j->mine + sizeof *j->shard, j->hash, (size_t)j->s->count * sizeof *j->hash);
}

void gd__save_learn(gd__save *j) {
    for (int w = 0; w < j->writers; w++) {
        const char *from = (const char *)j->all + (size_t)gd__save_rank_of(j, w) * j->report_bytes;
        memcpy(&j->shard[w], from, sizeof *j->shard);
        for (int i = 0; i < j->s->count; i++)
            if (j->writer[i] == w)
                memcpy(&j->hash[i], from + sizeof *j->shard + (size_t)i * sizeof *j->hash, sizeof *j->hash);
    }
}
