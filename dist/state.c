/* dist/state.c -- the tensors of a training state, in flat arenas. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "dist/trainer.h"

void *gd__aligned(size_t bytes) {
    size_t whole = (bytes + GD_MEMORY_ALIGN - 1) / GD_MEMORY_ALIGN * GD_MEMORY_ALIGN; /* readers take whole lines */
    void *p = gd_memory_alloc(whole);
    if (p) memset(p, 0, whole);
    return p;
}

double gd__seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t gd__seed(const gd_trainer *t) {
    uint64_t mixed[2] = {t->config.seed, (uint64_t)t->counters.rollbacks};
    return mixed[1] ? gd_hash64(mixed, sizeof mixed, 0) : mixed[0];
}

size_t gd__padded(size_t floats) { return (floats + GD__UNIT - 1) / GD__UNIT * GD__UNIT; }

/* ---- layout ---- */

static gd_status add_net(gd_trainer *t, const gd_gan_net *net) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p);
    for (int i = 0; i < n; i++) {
        size_t *end = p[i].buffer ? &t->buffer_count : &t->group[net->group].count;
        const char *name = gd_arena_printf(t->arena, "%s/%s", net->prefix, p[i].name);
        if (!name) GD_FAIL(NOMEM, "training state: no memory for names");
        gd__slot *s = &t->slot[t->n_slots++];
        *s = (gd__slot){.name = name,
                        .info = &p[i],
                        .group = net->group,
                        .offset = *end,
                        .count = (size_t)gd_shape_count(p[i].shape)};
        *end += gd__padded(s->count);
    }
    return GD_OK;
}

gd_status gd__layout_state(gd_trainer *t) {
    const gd_gan_net *nets;
    const gd_param_info *p;
    int n_nets = gd_gan_nets(t->gan, &nets), total = 0;
    for (int i = 0; i < n_nets; i++) total += gd_net_params(nets[i].net, &p);
    t->slot = gd_arena_alloc(t->arena, ((size_t)total + 1) * sizeof *t->slot);
    if (!t->slot) GD_FAIL(NOMEM, "training state: no memory for %d tensors", total);
    for (int i = 0; i < n_nets; i++) GD_TRY(add_net(t, &nets[i]));
    return GD_OK;
}

/* ---- memory ---- */

static bool has_ema(const gd_trainer *t, gd_group g) { return g == GD_GROUP_G && t->config.ema_decay > 0; }

static gd_status allocate_group(gd_trainer *t, gd_group g) {
    gd__arenas *a = &t->group[g];
    size_t bytes = a->count * sizeof(float), gathered, partials;
    partials = gd__partials(a->count, gd_comm_size(t->comm), &gathered);
    bool ok = (a->param = gd__aligned(bytes)) && (a->grad = calloc((size_t)t->local, sizeof *a->grad)) &&
              (a->partial = calloc(partials, sizeof *a->partial));
    if (ok && t->there) ok = (a->norm = gd__aligned(sizeof *a->norm));
    if (ok && t->sliced) ok = (a->gathered = calloc(gathered + 1, sizeof *a->gathered));
    for (int m = 0; ok && m < gd_optimizer_moments(&t->config.optimizer[g]); m++)
        ok = (a->moment[m] = gd__aligned((a->last - a->first) * sizeof(float)));
    if (ok && has_ema(t, g)) ok = (a->ema = gd__aligned(bytes));
    if (!ok) GD_FAIL(NOMEM, "training state: no memory for %zu parameters and their optimiser", a->count);
    return t->sliced ? gd__make_borders(t, a) : GD_OK;
}

static gd_status allocate_buffers(gd_trainer *t) {
    size_t bytes = t->buffer_count * sizeof(float);
    bool ok = (t->buffer = calloc((size_t)t->local, sizeof *t->buffer));
    for (int64_t l = 0; ok && l < t->local; l++) ok = (t->buffer[l] = gd__aligned(bytes));
    ok = ok && (t->buffer_before = gd__aligned(bytes));
    if (ok && t->config.ema_decay > 0) ok = (t->buffer_ema = gd__aligned(bytes));
    ok = ok && (t->buffer_kept = gd__aligned(sizeof *t->buffer_kept));
    if (!ok) GD_FAIL(NOMEM, "training state: no memory for running statistics");
    return GD_OK;
}

static gd_status mirror_state(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        GD_TRY(gd__space_mirror(&t->space, a->param, a->count * sizeof(float)));
        GD_TRY(gd__space_mirror(&t->space, a->norm, sizeof *a->norm));
        if (t->there && t->sliced)
            GD_TRY(gd__space_mirror(&t->space, a->partial, a->partial_border[gd_comm_size(t->comm)] * sizeof(float)));
        for (int64_t l = 0; l < t->local && !a->exchange; l++)
            GD_TRY(gd__space_mirror(&t->space, a->grad[l], a->count * sizeof(float)));
    }
    for (int64_t l = 0; l < t->local; l++)
        GD_TRY(gd__space_mirror(&t->space, t->buffer[l], t->buffer_count * sizeof(float)));
    if (t->there) {
        GD_TRY(gd__space_mirror(&t->space, t->buffer_before, t->buffer_count * sizeof(float)));
        GD_TRY(gd__space_mirror(&t->space, t->buffer_ema, t->buffer_count * sizeof(float)));
        GD_TRY(gd__space_mirror(&t->space, t->buffer_kept, sizeof *t->buffer_kept));
    }
    return gd__mirror_optimizer(t);
}

gd_status gd__allocate_state(gd_trainer *t) {
    gd_status st = GD_OK;
    gd__divide_arenas(t, gd_comm_size(t->comm), gd_comm_rank(t->comm));
    for (int g = 0; g < GD_GROUP_COUNT && st == GD_OK; g++) st = allocate_group(t, (gd_group)g);
    if (st == GD_OK) st = allocate_buffers(t);
    GD_TRY(gd_comm_agree(t->comm, st));
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        gd__arenas *a = &t->group[g];
        GD_TRY(gd_reducer_new(t->comm, a->count, (int)t->local, t->config.bucket_bytes, &a->reducer));
        for (int64_t l = 0; l < t->local; l++) a->grad[l] = gd_reducer_arena(a->reducer, (int)l);
    }
    GD_TRY(gd__open_exchanges(t));
    return gd_comm_agree(t->comm, mirror_state(t));
}

void gd__params_changed(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        t->group[g].changed = true;
        t->group[g].newer = false;
    }
    t->buffer_changed = t->pool_changed = true;
    t->buffer_newer = t->pool_newer = false;
}

gd_status gd__put_params(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        gd__arenas *a = &t->group[g];
        if (!a->changed || a->pending) continue;
        GD_TRY(gd__space_put(&t->space, a->param, a->count * sizeof(float)));
        if (t->resident) GD_TRY(gd__put_optimizer(t, a));
        a->changed = a->newer = false;
    }
    return GD_OK;
}

gd_status gd__put_statistics(gd_trainer *t) {
    if (t->there && !t->buffer_changed) return GD_OK;
    t->buffer_changed = false;
    if (t->there && t->buffer_ema) GD_TRY(gd__space_put(&t->space, t->buffer_ema, t->buffer_count * sizeof(float)));
    for (int64_t l = 0; l < t->local; l++)
        GD_TRY(gd__space_put(&t->space, t->buffer[l], t->buffer_count * sizeof(float)));
    return GD_OK;
}

void gd__free_state(gd_trainer *t) {
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        gd__arenas *a = &t->group[g];
        gd_reducer_free(a->reducer);
        free(a->grad);
        free(a->partial);
        free(a->gathered);
        free(a->norm);
        free(a->param);
        free(a->moment[0]);
        free(a->moment[1]);
        free(a->ema);
    }
    for (int64_t l = 0; t->buffer && l < t->local; l++) free(t->buffer[l]);
    free(t->buffer);
    free(t->buffer_before);
    free(t->buffer_ema);
    free(t->buffer_kept);
}

float *gd__slot_data(const gd_trainer *t, const gd__slot *s) {
    return (s->info->buffer ? t->buffer[0] : t->group[s->group].param) + s->offset;
}

/* A slot's index in the list of its network, which gd_net_init_param wants. */
void gd__initialise_state(gd_trainer *t) {
    static const uint32_t purpose[] = {[GD_GROUP_G] = GD_PURPOSE_INIT_G, [GD_GROUP_D] = GD_PURPOSE_INIT_D};
    const gd_gan_net *nets;
    int n_nets = gd_gan_nets(t->gan, &nets), at = 0;
    for (int i = 0; i < n_nets; i++) {
        const gd_param_info *p;
        int n = gd_net_params(nets[i].net, &p);
        for (int k = 0; k < n; k++, at++)
            gd_net_init_param(nets[i].net, k, t->config.seed, purpose[nets[i].group] | (uint32_t)i << 16,
                              gd__slot_data(t, &t->slot[at]));
    }
    if (t->config.schedule.adaptive.kind != GD_ADAPTIVE_NONE)
        t->counters.adaptive.d_steps = t->counters.adaptive.next = t->config.schedule.d_steps;
    gd__params_changed(t);
    gd__arenas *g = &t->group[GD_GROUP_G];
    if (g->ema) memcpy(g->ema, g->param, g->count * sizeof(float));
    if (t->buffer_ema) memcpy(t->buffer_ema, t->buffer[0], t->buffer_count * sizeof(float));
}

/* ---- the state as a list ---- */

static gd_status add_tensor(gd_trainer *t, const char *prefix, const gd__slot *s, float *data) {
    const char *name = gd_arena_printf(t->arena, "%s%s", prefix, s->name);
    if (!name) GD_FAIL(NOMEM, "training state: no memory for names");
    gd_state_tensor *x = &t->state.tensor[t->state.count++];
    *x = (gd_state_tensor){.name = name, .shape = s->info->shape, .data = data};
    memcpy(x->file_perm, s->info->file_perm, sizeof x->file_perm);
    return GD_OK;
}

static const char *moment_prefix(gd_optimizer_kind k, int m) {
    static const char *const names[][2] = {
        [GD_ADAM] = {"adam.m/", "adam.v/"}, [GD_RMSPROP] = {"rmsprop.v/", NULL}, [GD_SGD] = {"sgd.v/", NULL}};
    return names[k][m];
}

static gd_status view_moment(gd_trainer *t, gd__slot *s, int m) {
    const gd__arenas *a = &t->group[s->group];
    s->moment[m] = t->state.count;
    GD_TRY(add_tensor(t, moment_prefix(t->config.optimizer[s->group].kind, m), s, NULL));
    gd_state_tensor *x = &t->state.tensor[s->moment[m]];
    if (t->sliced) gd__spread_tensor(t, s, m, x);
    else x->data = a->moment[m] + s->offset;
    return GD_OK;
}

static gd_status view_slot(gd_trainer *t, gd__slot *s) {
    const gd__arenas *a = &t->group[s->group];
    GD_TRY(add_tensor(t, "", s, gd__slot_data(t, s)));
    if (s->info->buffer) {
        if (!t->buffer_ema || s->group != GD_GROUP_G) return GD_OK;
        return add_tensor(t, "ema/", s, t->buffer_ema + s->offset);
    }
    if (a->ema) GD_TRY(add_tensor(t, "ema/", s, a->ema + s->offset));
    for (int m = 0; m < 2; m++)
        if (a->moment[m]) GD_TRY(view_moment(t, s, m));
    return GD_OK;
}

/* "pool/0": [size,H,W,C] in memory, [size,C,H,W] in files. */
static gd_status view_pool(gd_trainer *t, int p) {
    static const int file_perm[GD_RANK_MAX] = {0, 3, 1, 2};
    const char *name = gd_arena_printf(t->arena, "pool/%d", p);
    if (!name) GD_FAIL(NOMEM, "training state: no memory for names");
    gd_state_tensor *x = &t->state.tensor[t->state.count++];
    *x = (gd_state_tensor){.name = name, .shape = t->pool_image, .data = t->pool[p].image};
    x->shape.dim[0] = t->config.pool_size;
    memcpy(x->file_perm, file_perm, sizeof x->file_perm);
    return GD_OK;
}

gd_status gd__make_view(gd_trainer *t) {
    t->state.tensor =
        gd_arena_alloc(t->arena, (4 * ((size_t)t->n_slots + 1) + GD__POOLS_MAX) * sizeof *t->state.tensor);
    if (!t->state.tensor) GD_FAIL(NOMEM, "training state: no memory for %d tensors", t->n_slots);
    for (int i = 0; i < t->n_slots; i++) GD_TRY(view_slot(t, &t->slot[i]));
    for (int p = 0; p < t->n_pools; p++) GD_TRY(view_pool(t, p));
    if (t->sliced) t->state.collect = gd__collect_moments;
    t->state.collector = t;
    t->state.seed = t->config.seed;
    t->state.recipe_fingerprint = t->config.recipe_fingerprint;
    t->state.data_fingerprint = t->data_fingerprint;
    t->state.recipe_text = t->config.recipe_text;
    t->state.run_id = t->config.run_id;
    return GD_OK;
}

/* ---- hashes ---- */

static uint64_t hash_floats(const float *x, size_t n, uint64_t seed) {
    return x ? gd_hash64(x, n * sizeof *x, seed) : seed;
}

uint64_t gd__replica_hash(const gd_trainer *t) {
    uint64_t h = gd_hash64(&t->counters, sizeof t->counters, 0);
    for (int g = 0; g < GD_GROUP_COUNT; g++) {
        const gd__arenas *a = &t->group[g];
        h = hash_floats(a->param, a->count, h);
        for (int m = 0; m < 2 && !t->sliced; m++) h = hash_floats(a->moment[m], a->count, h);
        h = hash_floats(a->ema, a->count, h);
    }
    for (int p = 0; p < t->n_pools; p++)
        h = hash_floats(t->pool[p].image, (size_t)t->config.pool_size * t->pool_floats, h);
    h = hash_floats(t->buffer[0], t->buffer_count, h);
    return hash_floats(t->buffer_ema, t->buffer_count, h);
}

uint64_t gd_trainer_state_hash(const gd_trainer *t) {
    gd_state s = t->state;
    s.counters = t->counters;
    return gd_state_hash(&s) + (t->sliced ? t->moment_terms : 0);
}

const gd_state *gd_trainer_state(gd_trainer *t) {
    t->state.counters = t->counters;
    if (gd__fetch_state(t) != GD_OK) gd_error_clear(); /* a device that failed says so again at its next use */
    gd__params_changed(t);                             /* the caller may */
    return &t->state;
}
