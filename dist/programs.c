/* dist/programs.c -- one program per step kind, one instance per local shard. */
#include <stdlib.h>
#include <string.h>

#include "dist/trainer.h"
#include "dist/tree.h"

/* ---- shards ---- */

static gd_status refuse_batch(int64_t batch, int ranks) {
    int64_t low = batch / ranks * ranks, high = low + ranks;
    char fits[64];
    if (low) snprintf(fits, sizeof fits, "%lld or %lld", (long long)low, (long long)high);
    else snprintf(fits, sizeof fits, "%lld", (long long)high);
    GD_FAIL(CONFIG, "batch.global: global batch %lld over %d ranks does not divide; use %s, or another number of ranks",
            (long long)batch, ranks, fits);
}

gd_status gd__divide(gd_trainer *t, int ranks, int rank) {
    int64_t batch = t->config.gan.global_batch, shards = t->config.shards ? t->config.shards : ranks;
    if (batch % ranks) return refuse_batch(batch, ranks);
    if (batch % shards)
        GD_FAIL(CONFIG, "numerics.shards: global batch %lld cannot be cut into %lld shards", (long long)batch,
                (long long)shards);
    if (shards % ranks || shards > GD__TREE_LEAVES)
        GD_FAIL(CONFIG,
                "numerics.shards: %lld shards over %d ranks; every rank must have equally many, and all together at "
                "most %d",
                (long long)shards, ranks, GD__TREE_LEAVES);
    t->shards = shards;
    t->local = shards / ranks;
    t->handed = gd__tree_handed(t->local);
    t->first = t->local * rank;
    t->n = batch / shards;
    return GD_OK;
}

/* ---- programs ---- */

bool gd__kind_needed(const gd_schedule_spec *s, gd_step_kind k) {
    switch (k) {
    case GD_STEP_D: return !s->simultaneous && (!s->share_fake || s->d_steps > 1 || s->warmup_d_steps > 1);
    case GD_STEP_G: return !s->simultaneous && (!s->share_fake || s->g_steps > 1);
    case GD_STEP_DG_SHARED: return !s->simultaneous && s->share_fake;
    case GD_STEP_BOTH: return s->simultaneous;
    default: return false;
    }
}

static gd_status compile(const gd_trainer *t, gd_step_graph *g, const char *name, gd_program **out) {
    gd_program_opts o = {.precision = t->config.precision, .name = name};
    gd_status st = gd_program_make(g->graph, t->config.executor, g->n_outputs, g->outputs, &o, out);
    gd_step_graph_free(g);
    return st;
}

gd_status gd__make_program(const gd_trainer *t, gd_step_kind k, gd_program **out) {
    gd_step_graph g;
    GD_TRY(gd_gan_step(t->gan, k, t->shards, &g));
    return compile(t, &g, gd_step_kind_text(k), out);
}

gd_status gd__make_sampler(const gd_trainer *t, gd_program **out) {
    gd_step_graph g;
    GD_TRY(gd_gan_sampler(t->gan, GD__SAMPLER_BATCH, false, &g));
    return compile(t, &g, "sampler", out);
}

/* ---- names to memory ---- */

static const gd__slot *find_slot(const gd_trainer *t, const char *name) {
    for (int i = 0; i < t->n_slots; i++)
        if (!strcmp(t->slot[i].name, name)) return &t->slot[i];
    return NULL;
}

int gd__metric_index(const gd_trainer *t, const char *name) {
    for (int m = 0; m < t->n_metrics; m++)
        if (!strcmp(t->metric[m], name)) return m;
    return -1;
}

gd_status gd__add_metric(gd_trainer *t, const char *name, int *index) {
    *index = gd__metric_index(t, name);
    if (*index >= 0) return GD_OK;
    if (t->n_metrics == GD__METRICS_MAX) GD_FAIL(INTERNAL, "more than %d metrics", GD__METRICS_MAX);
    const char *own = gd_arena_strdup(t->arena, name);
    if (!own) GD_FAIL(NOMEM, "metric %s", name);
    *index = t->n_metrics;
    t->metric[t->n_metrics++] = own;
    return GD_OK;
}

/* Memory that local shard l binds to the name of a parameter, buffer or gradient; NULL: none. */
static float *slot_memory(const gd_trainer *t, const char *name, int64_t l) {
    bool grad = !strncmp(name, "grad:", 5);
    const gd__slot *s = find_slot(t, grad ? name + 5 : name);
    if (!s) return NULL;
    if (grad) return t->group[s->group].grad[l] + s->offset;
    if (s->info->buffer) return t->buffer[l] + s->offset; /* written by each shard: its own copy */
    return t->group[s->group].param + s->offset;
}

static gd_status bind_one(gd_trainer *t, const char *name, gd_instance *i, int64_t l) {
    if (!strcmp(name, "real")) return gd_instance_bind(i, name, t->real[l]);
    if (!strncmp(name, "metric:", 7)) {
        int m;
        GD_TRY(gd__add_metric(t, name + 7, &m));
        return gd_instance_bind(i, name, t->metric_value + ((size_t)l * GD__METRICS_MAX + (size_t)m) * GD__UNIT);
    }
    float *memory = slot_memory(t, name, l);
    if (!memory) GD_FAIL(INTERNAL, "no memory belongs to the name %s", name);
    return gd_instance_bind(i, name, memory);
}

static gd_status bind(gd_trainer *t, const gd_program *p, gd_instance *i, int64_t l) {
    const gd_binding *b;
    int n = gd_program_bindings(p, &b);
    for (int k = 0; k < n; k++) GD_TRY(bind_one(t, b[k].name, i, l));
    return GD_OK;
}

/* ---- all of it ---- */

static void make_room(gd_trainer *t, const gd_program *p) {
    size_t bytes = gd_program_get_stats(p).arena_bytes;
    if (bytes > t->memory_bytes) t->memory_bytes = bytes;
}

/* Rank 0 samples on the same memory: nothing trains meanwhile. */
static gd_status make_kinds(gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        if (!gd__kind_needed(&t->config.schedule, (gd_step_kind)k)) continue;
        GD_TRY(gd__make_program(t, (gd_step_kind)k, &t->kind[k].program));
        make_room(t, t->kind[k].program);
    }
    if (gd_comm_rank(t->comm)) return GD_OK;
    GD_TRY(gd__make_sampler(t, &t->sampler));
    make_room(t, t->sampler);
    return GD_OK;
}

static gd_status make_memory(gd_trainer *t) {
    size_t local = (size_t)t->local, sample = gd_sample_bytes(gd_dataset_shape(t->data, 0));
    t->memory = calloc(local, sizeof *t->memory);
    t->real = calloc(local, sizeof *t->real);
    t->pause = calloc(local, sizeof *t->pause);
    t->part = calloc(local, sizeof *t->part);
    t->shard_value = calloc(local, sizeof *t->shard_value);
    t->measured = calloc((size_t)t->handed * GD__METRICS_MAX, sizeof *t->measured);
    t->metric_value = gd__aligned(local * GD__METRICS_MAX * GD__UNIT * sizeof(float));
    if (!t->memory || !t->real || !t->pause || !t->part || !t->metric_value || !t->shard_value || !t->measured)
        GD_FAIL(NOMEM, "%zu shards", local);
    for (size_t l = 0; l < local; l++) {
        t->memory[l] = gd__aligned(t->memory_bytes);
        t->real[l] = gd__aligned((size_t)t->n * sample);
        if (!t->memory[l] || !t->real[l])
            GD_FAIL(NOMEM, "activations: no memory for shard %zu of %zu, %zu bytes each", l, local, t->memory_bytes);
    }
    return GD_OK;
}

static gd_status make_instances(gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        gd__kind_programs *p = &t->kind[k];
        if (!p->program) continue;
        p->instance = calloc((size_t)t->local, sizeof *p->instance);
        if (!p->instance) GD_FAIL(NOMEM, "%lld instances", (long long)t->local);
        for (int64_t l = 0; l < t->local; l++) {
            GD_TRY(gd_instance_make_on(p->program, t->memory[l], &p->instance[l]));
            GD_TRY(bind(t, p->program, p->instance[l], l));
        }
    }
    return GD_OK;
}

gd_status gd__make_programs(gd_trainer *t) {
    GD_TRY(make_kinds(t));
    GD_TRY(make_memory(t));
    return make_instances(t);
}

void gd_trainer_print_profile(const gd_trainer *t, FILE *out) {
    const char *on = getenv("GANDIST_PROFILE");
    if (!on || strcmp(on, "1")) return;
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        if (!t->kind[k].instance) continue;
        fprintf(out, "%s: ", gd_step_kind_text((gd_step_kind)k));
        gd_instance_print_profile(t->kind[k].instance[0], out);
    }
}

void gd__free_programs(gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        for (int64_t l = 0; t->kind[k].instance && l < t->local; l++) gd_instance_free(t->kind[k].instance[l]);
        free(t->kind[k].instance);
        gd_program_free(t->kind[k].program);
    }
    gd_instance_free(t->sampler_instance);
    gd_program_free(t->sampler);
    for (int64_t l = 0; l < t->local; l++) {
        if (t->memory) free(t->memory[l]);
        if (t->real) free(t->real[l]);
    }
    free(t->memory);
    free(t->real);
    free(t->pause);
    free(t->part);
    free(t->metric_value);
    free(t->shard_value);
    free(t->measured);
    free(t->sampler_z);
    free(t->sampler_image);
}
