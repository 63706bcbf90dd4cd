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

static bool kind_in_schedule(const gd_trainer *t, gd_step_kind k) {
    const gd_schedule_spec *s = &t->config.schedule;
    bool no_g = t->config.gan.topology == GD_TOPOLOGY_CLASSIFIER;
    bool more_d = s->d_steps > 1 || s->warmup_d_steps > 1 || s->adaptive.kind != GD_ADAPTIVE_NONE;
    if (no_g) return k == GD_STEP_D;
    switch (k) {
    case GD_STEP_D: return !s->simultaneous && (!s->share_fake || more_d);
    case GD_STEP_G: return !s->simultaneous && (!s->share_fake || s->g_steps > 1);
    case GD_STEP_DG_SHARED: return !s->simultaneous && s->share_fake && !s->g_first;
    case GD_STEP_GD_SHARED: return !s->simultaneous && s->share_fake && s->g_first;
    case GD_STEP_BOTH: return s->simultaneous;
    default: return false;
    }
}

bool gd__kind_needed(const gd_trainer *t, gd_step_kind k, int version) {
    const gd_penalty_spec *p = &t->config.gan.penalty;
    bool both = p->kind != GD_PENALTY_NONE && p->every > 1 && k != GD_STEP_G;
    return kind_in_schedule(t, k) && (version == GD__PLAIN || both);
}

static gd_status compile(gd_step_graph *g, const gd_trainer *t, gd_program_opts o, gd_program **out) {
    o.precision = t->config.precision;
    gd_status st = gd_program_make(g->graph, t->config.executor, g->n_outputs, g->outputs, &o, out);
    gd_step_graph_free(g);
    return st;
}

/* For the exchange of gradients to go on beside programs: those come early, and where the update of G is before this
 * kind, what D makes of real images comes first. */
static gd_program_opts order_of(const gd_trainer *t, gd_step_kind k) {
    const gd_schedule_spec *s = &t->config.schedule;
    bool others = t->shards > t->local, one = s->d_steps == 1 && s->adaptive.kind == GD_ADAPTIVE_NONE;
    gd_program_opts o = {.name = gd_step_kind_text(k)};
    if (!t->config.overlap || !others) return o;
    o.eager = true;
    if (one && (k == GD_STEP_D || k == GD_STEP_DG_SHARED)) o.late = "G";
    return o;
}

gd_status gd__make_program(const gd_trainer *t, gd_step_kind k, int version, gd_program **out) {
    gd_step_graph g;
    GD_TRY(gd_gan_step(t->gan, k, version == GD__PENALISED, t->shards, &g));
    return compile(&g, t, order_of(t, k), out);
}

/* The public pix2pix code translates with the statistics of the image at hand and with dropout. */
gd_status gd__make_sampler(const gd_trainer *t, int direction, gd_program **out) {
    const gd_gan_spec *s = gd_gan_get_spec(t->gan);
    bool paired = s->topology == GD_TOPOLOGY_PAIRED;
    gd_step_graph g;
    *out = NULL;
    if (s->topology == GD_TOPOLOGY_CLASSIFIER || (direction > 0 && s->topology != GD_TOPOLOGY_TWO_WAY)) return GD_OK;
    if (s->topology == GD_TOPOLOGY_NOISE) {
        GD_TRY(gd_gan_sampler(t->gan, GD__SAMPLER_BATCH, false, &g));
        return compile(&g, t, (gd_program_opts){.name = "sampler"}, out);
    }
    GD_TRY(gd_gan_translator(t->gan, direction, 1, s->generator.height, s->generator.width_px, paired, paired, &g));
    return compile(&g, t, (gd_program_opts){.name = "translator"}, out);
}

void gd__sampler_room(const gd_trainer *t, size_t *in, size_t *out) {
    const gd_net_spec *g = &gd_gan_get_spec(t->gan)->generator;
    size_t side = (size_t)(g->height * g->width_px), channels = (size_t)g->channels;
    *in = *out = 0;
    switch (gd_gan_get_spec(t->gan)->topology) {
    case GD_TOPOLOGY_CLASSIFIER: return;
    case GD_TOPOLOGY_NOISE:
        *in = GD__SAMPLER_BATCH * (size_t)g->latent;
        *out = GD__SAMPLER_BATCH * side * channels;
        return;
    default: /* images of either domain */
        if ((size_t)g->in_channels > channels) channels = (size_t)g->in_channels;
        *in = *out = side * channels;
    }
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

/* "data:0", "pooled:1": the number behind the prefix, below `count`; -1: another name. */
static int numbered(const char *name, const char *prefix, int count) {
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) || name[n] < '0' || name[n] > '9' || name[n + 1]) return -1;
    return name[n] - '0' < count ? name[n] - '0' : -1;
}

/* Memory that local shard l binds to an input or output that is no part of the state; NULL: none. */
static void *other_memory(const gd_trainer *t, const char *name, int64_t l) {
    int data = numbered(name, "data:", gd_dataset_parts(t->data));
    int made = numbered(name, "pool:", t->n_pools), given = numbered(name, "pooled:", t->n_pools);
    if (data >= 0) return t->batch[data][l];
    if (made >= 0) return t->pool[made].made[l];
    if (given >= 0) return t->pool[given].given[l];
    if (!strcmp(name, "control:noise_std")) return t->controls.noise_std;
    if (!strcmp(name, "control:rate")) return t->controls.rate;
    if (!strcmp(name, "control:pick")) return t->controls.pick;
    return NULL;
}

static gd_status bind_to(const gd_trainer *t, const char *name, gd_instance *i, const void *host) {
    void *at = gd__space_at(&t->space, host);
    if (!at) GD_FAIL(INTERNAL, "no memory of the device belongs to the name %s", name);
    return gd_instance_bind(i, name, at);
}

static gd_status bind_one(gd_trainer *t, const char *name, gd_instance *i, int64_t l) {
    void *other = other_memory(t, name, l);
    if (other) return bind_to(t, name, i, other);
    if (!strncmp(name, "metric:", 7)) {
        int m;
        GD_TRY(gd__add_metric(t, name + 7, &m));
        return bind_to(t, name, i, t->metric_value + ((size_t)l * GD__METRICS_MAX + (size_t)m) * GD__UNIT);
    }
    float *memory = slot_memory(t, name, l);
    if (!memory) GD_FAIL(INTERNAL, "no memory belongs to the name %s", name);
    return bind_to(t, name, i, memory);
}

static gd_status bind(gd_trainer *t, const gd_program *p, gd_instance *i, int64_t l) {
    const gd_binding *b;
    int n = gd_program_bindings(p, &b);
    for (int k = 0; k < n; k++) GD_TRY(bind_one(t, b[k].name, i, l));
    return GD_OK;
}

/* ---- beside the exchange ---- */

static gd_status between_steps(void *programs) {
    gd_reducer_progress(((gd__kind_programs *)programs)->trainer->comm);
    return GD_OK;
}

/* Of the last local shard: the others have come as far. The first gradient of a group begins the round. */
static gd_status output_done(void *programs, int binding) {
    const gd__kind_programs *p = programs;
    gd_trainer *t = p->trainer;
    if (p->gradient[binding] < 0) return GD_OK;
    const gd__slot *s = &t->slot[p->gradient[binding]];
    gd__arenas *a = &t->group[s->group];
    gd_reducer *r = a->reducer;
    if (a->exchange) return gd__exchange_early(t, a, s->offset, s->offset + gd__padded(s->count));
    if (!gd_reducer_is_open(r)) GD_TRY(gd_reducer_open(r, t->sliced));
    gd_reducer_ready(r, s->offset, s->offset + gd__padded(s->count));
    return GD_OK;
}

static bool output_begins(void *programs, int binding) {
    const gd__kind_programs *p = programs;
    return p->begins && p->begins[binding];
}

/* Takes a gradient off what its group's buckets still miss; whether one is complete now. */
static bool completes(const gd__slot *s, size_t bucket, size_t *missing) {
    bool any = false;
    for (size_t at = s->offset, end = at + gd__padded(s->count), to; at < end; at = to) {
        size_t b = at / bucket;
        to = (b + 1) * bucket < end ? (b + 1) * bucket : end;
        missing[b] -= to - at;
        any |= !missing[b];
    }
    return any;
}

static gd_status see_group(gd_trainer *t, gd__kind_programs *p, gd_group g) {
    const size_t count = t->group[g].count, bucket = gd__exchange_bucket(t), n = (count + bucket - 1) / bucket;
    size_t *missing = calloc(n + 1, sizeof *missing);
    if (!missing) GD_FAIL(NOMEM, "program: no memory for %zu buckets", n);
    for (size_t b = 0; b < n; b++) missing[b] = (b + 1) * bucket < count ? bucket : count - b * bucket;
    for (int k = 0, binding; (binding = gd_program_done(p->program, k)) >= 0; k++) {
        const gd__slot *s = p->gradient[binding] < 0 ? NULL : &t->slot[p->gradient[binding]];
        if (s && s->group == g && completes(s, bucket, missing)) p->begins[binding] = true;
    }
    free(missing);
    return GD_OK;
}

/* Where buckets of the exchange begin. */
static gd_status see_buckets(gd_trainer *t, gd__kind_programs *p) {
    const gd_binding *b;
    int n = gd_program_bindings(p->program, &b);
    if (!t->there) return GD_OK;
    p->begins = calloc((size_t)n + 1, sizeof *p->begins);
    if (!p->begins) GD_FAIL(NOMEM, "program: no memory for %d names", n);
    for (int g = 0; g < GD_GROUP_COUNT; g++) GD_TRY(see_group(t, p, (gd_group)g));
    return GD_OK;
}

/* Sets of bindings, and which are gradients. */
static gd_status sort_bindings(const gd_trainer *t, gd__kind_programs *p, signed char **set) {
    const gd_binding *b;
    int n = gd_program_bindings(p->program, &b);
    p->gradient = calloc((size_t)n + 1, sizeof *p->gradient);
    *set = malloc((size_t)n + 1);
    if (!p->gradient || !*set) GD_FAIL(NOMEM, "program: no memory for %d names", n);
    for (int k = 0; k < n; k++) {
        bool grad = !strncmp(b[k].name, "grad:", 5);
        const gd__slot *s = find_slot(t, grad ? b[k].name + 5 : b[k].name);
        p->gradient[k] = s && grad ? (int)(s - t->slot) : -1;
        (*set)[k] = (signed char)(!s || s->info->buffer ? -1
                                  : grad                ? GD__SET_GRADS(s->group)
                                                        : GD__SET_PARAMS(s->group));
    }
    return GD_OK;
}

static gd_status let_overlap(gd_trainer *t, gd__kind_programs *p) {
    signed char *set = NULL;
    gd_status st = sort_bindings(t, p, &set);
    if (st == GD_OK) st = see_buckets(t, p);
    for (int64_t l = 0; l < t->local && st == GD_OK; l++) st = gd_instance_group(p->instance[l], set);
    free(set);
    return st;
}

static gd_status statistics_summed(void *programs, float *data, int64_t count) {
    return gd__sum_statistics(((gd__kind_programs *)programs)->trainer, data, count);
}

static void set_hooks(gd_trainer *t, gd__kind_programs *p) {
    bool early = !gd__space_is_far(&t->space) || t->there; /* else gradients are fetched when all are there */
    p->trainer = t;
    for (int64_t l = 0; l < t->local; l++) {
        gd_run_hooks h = {.ctx = p, .sum = gd__sums_statistics(t) ? statistics_summed : NULL};
        if (t->overlap) {
            h.between = between_steps;
            h.done = early && l == t->local - 1 ? output_done : NULL;
            h.cuts = output_begins;
        }
        gd_instance_set_hooks(p->instance[l], &h);
    }
}

/* Where the executor can. A profile is of steps, one by one. */
static gd_status let_replay(gd_trainer *t, gd__kind_programs *p) {
    const gd_executor *x = t->config.executor;
    const char *profile = getenv("GANDIST_PROFILE");
    if (!x->replay_new || (profile && !strcmp(profile, "1"))) return GD_OK;
    p->replay = calloc((size_t)t->local, sizeof *p->replay);
    if (!p->replay) GD_FAIL(NOMEM, "%lld instances", (long long)t->local);
    for (int64_t l = 0; l < t->local; l++) GD_TRY(x->replay_new(p->program, p->instance[l], &p->replay[l]));
    return GD_OK;
}

/* ---- all of it ---- */

static void make_room(gd_trainer *t, const gd_program *p) {
    gd_program_stats s = gd_program_get_stats(p);
    size_t sums = s.collective_bytes / sizeof(float);
    if (s.arena_bytes > t->memory_bytes) t->memory_bytes = s.arena_bytes;
    if (sums > t->staged_floats) t->staged_floats = sums;
}

/* Rank 0 samples on the same memory: nothing trains meanwhile. */
static gd_status make_kinds(gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        for (int v = 0; v < GD__VERSIONS; v++) {
            if (!gd__kind_needed(t, (gd_step_kind)k, v)) continue;
            GD_TRY(gd__make_program(t, (gd_step_kind)k, v, &t->kind[k][v].program));
            make_room(t, t->kind[k][v].program);
            gd_comm_worked(t->comm);
        }
    }
    for (int d = 0; d < 2 && gd_comm_rank(t->comm) == 0; d++) {
        GD_TRY(gd__make_sampler(t, d, &t->sampler[d]));
        if (t->sampler[d]) make_room(t, t->sampler[d]);
    }
    return GD_OK;
}

static gd_status make_batches(gd_trainer *t) {
    size_t local = (size_t)t->local;
    for (int p = 0; p < gd_dataset_parts(t->data); p++) {
        size_t bytes = (size_t)t->n * gd_sample_bytes(gd_dataset_shape(t->data, p));
        t->batch[p] = calloc(local, sizeof *t->batch[p]);
        if (!t->batch[p]) GD_FAIL(NOMEM, "%zu shards", local);
        for (size_t l = 0; l < local; l++) {
            if (!(t->batch[p][l] = gd__aligned(bytes)))
                GD_FAIL(NOMEM, "batches: no memory for shard %zu of %zu, %zu bytes each", l, local, bytes);
            GD_TRY(gd__space_mirror(&t->space, t->batch[p][l], bytes));
        }
    }
    int64_t pick = t->config.gan.penalty.pick > 1 ? t->config.gan.penalty.pick : 1;
    size_t bytes = (2 * GD__UNIT + (size_t)pick) * sizeof(float);
    float *controls = gd__aligned(bytes);
    if (!controls) GD_FAIL(NOMEM, "control inputs: no memory");
    t->controls = (gd__controls){controls, controls + GD__UNIT, controls + 2 * GD__UNIT, bytes};
    return gd__space_mirror(&t->space, controls, bytes);
}

static gd_status make_memory(gd_trainer *t) {
    size_t local = (size_t)t->local;
    t->memory = calloc(local, sizeof *t->memory);
    t->pause = calloc(local, sizeof *t->pause);
    t->part = calloc(local, sizeof *t->part);
    t->shard_value = calloc(local, sizeof *t->shard_value);
    t->measured = calloc((size_t)t->handed * GD__METRICS_MAX, sizeof *t->measured);
    size_t metric_bytes = local * GD__METRICS_MAX * GD__UNIT * sizeof(float);
    bool far = gd__space_is_far(&t->space);
    t->metric_value = gd__aligned(metric_bytes);
    bool pauses = far && !gd__sums_statistics(t);
    if (pauses) t->staged = gd__aligned(local * t->staged_floats * sizeof(float));
    if (!t->memory || !t->pause || !t->part || !t->metric_value || !t->shard_value || !t->measured ||
        (pauses && !t->staged))
        GD_FAIL(NOMEM, "%zu shards", local);
    GD_TRY(gd__space_mirror(&t->space, t->metric_value, metric_bytes));
    for (size_t l = 0; l < local; l++) {
        gd_status st = gd__space_alloc(&t->space, t->memory_bytes, &t->memory[l]);
        if (st != GD_OK)
            return gd_context(st, "activations: shard %zu of %zu, %zu bytes each", l, local, t->memory_bytes);
    }
    return make_batches(t);
}

static gd_status make_instances(gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT * GD__VERSIONS; k++) {
        gd__kind_programs *p = &t->kind[0][0] + k;
        if (!p->program) continue;
        p->instance = calloc((size_t)t->local, sizeof *p->instance);
        if (!p->instance) GD_FAIL(NOMEM, "%lld instances", (long long)t->local);
        for (int64_t l = 0; l < t->local; l++) {
            GD_TRY(gd_instance_make_on(p->program, t->memory[l], &p->instance[l]));
            GD_TRY(bind(t, p->program, p->instance[l], l));
        }
        set_hooks(t, p);
        if (t->overlap) GD_TRY(let_overlap(t, p));
        GD_TRY(let_replay(t, p));
    }
    return GD_OK;
}

gd_status gd__make_programs(gd_trainer *t) {
    GD_TRY(gd__make_alike(t, make_kinds));
    GD_TRY(make_memory(t));
    GD_TRY(gd__make_pools(t));
    return make_instances(t);
}

void gd_trainer_print_profile(const gd_trainer *t, FILE *out) {
    const char *on = getenv("GANDIST_PROFILE");
    if (!on || strcmp(on, "1")) return;
    for (int k = 0; k < GD_STEP_KIND_COUNT; k++) {
        for (int v = 0; v < GD__VERSIONS; v++) {
            if (!t->kind[k][v].instance) continue;
            fprintf(out, "%s%s: ", gd_step_kind_text((gd_step_kind)k), v == GD__PENALISED ? ", with penalty" : "");
            gd_instance_print_profile(t->kind[k][v].instance[0], out);
        }
    }
}

void gd__free_programs(gd_trainer *t) {
    for (int k = 0; k < GD_STEP_KIND_COUNT * GD__VERSIONS; k++) {
        gd__kind_programs *p = &t->kind[0][0] + k;
        for (int64_t l = 0; p->replay && l < t->local; l++) t->config.executor->replay_free(p->replay[l]);
        for (int64_t l = 0; p->instance && l < t->local; l++) gd_instance_free(p->instance[l]);
        free(p->replay);
        free(p->instance);
        free(p->gradient);
        free(p->begins);
        gd_program_free(p->program);
    }
    for (int d = 0; d < 2; d++) {
        gd_instance_free(t->sampler_instance[d]);
        gd_program_free(t->sampler[d]);
    }
    for (int64_t l = 0; t->memory && l < t->local; l++) gd__space_free(&t->space, t->memory[l]);
    for (int p = 0; p < GD_PARTS_MAX; p++) {
        for (int64_t l = 0; t->batch[p] && l < t->local; l++) free(t->batch[p][l]);
        free(t->batch[p]);
    }
    free(t->controls.noise_std);
    gd__free_pools(t);
    free(t->memory);
    free(t->pause);
    free(t->part);
    free(t->staged);
    free(t->metric_value);
    free(t->shard_value);
    free(t->measured);
    free(t->sampler_in);
    free(t->sampler_image);
}
