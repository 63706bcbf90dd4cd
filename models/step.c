/* models/step.c -- the parts of step graphs, and the frame around them: gd_gan_step, gd_gan_sampler. */
#include "models/step.h"

#include <stdlib.h>
#include <string.h>

#include "models/layers.h"

static bool failed(const gd__step *s) { return s->st != GD_OK; }

static void out_of_memory(gd__step *s) {
    if (!failed(s)) s->st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "step graph: no memory");
}

/* ---- outputs ---- */

/* The caller makes the name and keeps it in s->arena. */
static void add_output(gd__step *s, const char *name, gd_node x) {
    if (failed(s)) return;
    if (!name) {
        out_of_memory(s);
        return;
    }
    if (s->n_outputs == s->room_outputs) {
        int room = s->room_outputs ? 2 * s->room_outputs : 64;
        gd_output *list = gd_arena_alloc(s->arena, (size_t)room * sizeof *list);
        if (!list) {
            out_of_memory(s);
            return;
        }
        if (s->n_outputs) memcpy(list, s->outputs, (size_t)s->n_outputs * sizeof *list);
        s->outputs = list;
        s->room_outputs = room;
    }
    s->outputs[s->n_outputs++] = (gd_output){.name = name, .node = x};
}

void gd__step_output(gd__step *s, const char *name, gd_node x) { add_output(s, gd_arena_strdup(s->arena, name), x); }

void gd__step_metric(gd__step *s, const char *name, gd_node x) {
    add_output(s, gd_arena_printf(s->arena, "metric:%s", name), x);
}

void gd__step_metric_verdict(gd__step *s, const char *name, gd_node logits) {
    gd_graph *g = s->graph;
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node verdict = gd_loss_has_probability(spec->loss.kind) ? gd_sigmoid(g, logits) : logits;
    gd__step_metric(s, name, gd_loss_mean(g, verdict, spec->global_batch));
}

/* ---- inputs ---- */

gd_node gd__step_real(gd__step *s, const char *name) {
    gd_graph *g = s->graph;
    const gd_gan_spec *spec = &s->gan->spec;
    const gd_net_spec *d = &spec->discriminator;
    gd_shape shape = gd_shape4(s->n, d->height, d->width_px, d->channels);
    if (spec->range == GD_RANGE_RAW) return gd_input(g, name, GD_F32, shape);
    gd_node x = gd_cast(g, gd_input(g, name, GD_U8, shape), GD_F32);
    if (spec->range == GD_RANGE_UNIT) return gd_scale(g, x, 1 / 255.0);
    return gd_shift(g, gd_scale(g, x, 1 / 127.5), -1);
}

gd_node gd__step_latent(gd__step *s, gd_purpose purpose) {
    gd_graph *g = s->graph;
    gd_shape shape = gd_shape2(s->n, s->gan->spec.generator.latent);
    if (!s->gan->spec.latent_uniform) return gd_random(g, GD_RANDOM_NORMAL, purpose, shape);
    return gd_shift(g, gd_scale(g, gd_random(g, GD_RANDOM_UNIFORM, purpose, shape), 2), -1);
}

/* ---- networks ---- */

gd_node gd__step_apply(gd__step *s, int net, gd_node x) {
    if (failed(s)) return GD_NONE;
    gd_apply_opts o = {.sync = s->gan->spec.sync, .stream = s->streams++};
    return gd_net_apply(s->use[net], x, &o);
}

gd_node gd__step_look(gd__step *s, int net, gd_node x) {
    if (failed(s)) return GD_NONE;
    gd_apply_opts o = {.sync = s->gan->spec.sync, .no_update = true, .stream = s->streams++};
    return gd_net_apply(s->use[net], x, &o);
}

static void open_net(gd__step *s, int net) {
    if (failed(s)) return;
    const gd_gan_net *n = &s->gan->nets[net];
    s->st = gd_net_use_new(n->net, s->graph, n->prefix, s->version[net], &s->use[net]);
}

void gd__step_pause(gd__step *s, gd_group updated) {
    gd_graph_set_phase(s->graph, ++s->phase);
    for (int i = 0; i < s->gan->n_nets && !failed(s); i++) {
        if (s->gan->nets[i].group != updated) continue;
        gd_net_use_free(s->past[i]);
        s->past[i] = s->use[i];
        s->use[i] = NULL;
        s->version[i]++;
        open_net(s, i);
        if (!failed(s)) gd__use_continue(s->use[i], s->past[i]);
    }
}

static void close_nets(gd__step *s) {
    for (int i = 0; i < GD_NETS_MAX; i++) {
        gd_net_use_free(s->use[i]);
        gd_net_use_free(s->past[i]);
    }
}

/* New running statistics of every network, moved or not. */
static void add_buffers(gd__step *s) {
    for (int i = 0; i < s->gan->n_nets && !failed(s); i++) {
        const gd_gan_net *n = &s->gan->nets[i];
        const gd_param_info *p;
        int count = gd_net_params(n->net, &p);
        if (!s->gan->spec.sync) gd__use_average_buffers(s->use[i]);
        for (int k = 0; k < count; k++)
            if (p[k].buffer)
                add_output(s, gd_arena_printf(s->arena, "%s/%s", n->prefix, p[k].name),
                           gd_net_use_buffer(s->use[i], k));
    }
}

/* ---- gradients ---- */

/* The parameters that `group` trains: nodes into x, output names into name (both NULL: only counts). */
static int group_params(gd__step *s, gd_group group, gd_node *x, const char **name) {
    int count = 0;
    for (int i = 0; i < s->gan->n_nets; i++) {
        const gd_gan_net *n = &s->gan->nets[i];
        const gd_param_info *p;
        int n_params = gd_net_params(n->net, &p);
        for (int k = 0; n->group == group && k < n_params; k++) {
            if (p[k].buffer) continue;
            if (x) x[count] = gd_net_use_param(s->use[i], k);
            if (name) name[count] = gd_arena_printf(s->arena, "grad:%s/%s", n->prefix, p[k].name);
            count++;
        }
    }
    return count;
}

void gd__step_grads(gd__step *s, gd_group group, gd_node loss) {
    if (failed(s)) return;
    int n = group_params(s, group, NULL, NULL);
    gd_node *x = gd_arena_alloc(s->arena, 2 * (size_t)n * sizeof *x);
    const char **name = gd_arena_alloc(s->arena, (size_t)n * sizeof *name);
    if (!x || !name) {
        out_of_memory(s);
        return;
    }
    gd_node *dx = x + n;
    for (int i = 0; i < n; i++) dx[i] = GD_NONE;
    group_params(s, group, x, name);
    gd_grad(s->graph, loss, GD_NONE, n, x, dx);
    for (int i = 0; i < n; i++) add_output(s, name[i], dx[i]);
}

/* ---- the frame ---- */

static gd_status start(const gd_gan *m, int64_t shards, int64_t n, gd__step *s) {
    *s = (gd__step){.gan = m, .n = n};
    GD_TRY(gd_graph_new(shards, &s->graph));
    s->arena = gd_arena_new();
    if (!s->arena) GD_FAIL(NOMEM, "step graph: no memory");
    for (int i = 0; i < m->n_nets; i++) open_net(s, i);
    return s->st;
}

/* Hands the graph over, or frees it when anything went wrong on the way. */
static gd_status finish(gd_status st, gd__step *s, gd_step_graph *out) {
    close_nets(s);
    if (st == GD_OK) st = s->st;
    /* An error of a node comes before what followed from it. */
    gd_status graph = s->graph ? gd_graph_status(s->graph) : GD_OK;
    if (graph != GD_OK) st = graph;
    if (st != GD_OK) {
        gd_graph_free(s->graph);
        gd_arena_free(s->arena);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = (gd_step_graph){.graph = s->graph,
                           .outputs = s->outputs,
                           .n_outputs = s->n_outputs,
                           .n_phases = s->phase + 1,
                           .arena = s->arena};
    return GD_OK;
}

gd_status gd_gan_step(const gd_gan *m, gd_step_kind kind, int64_t shards, gd_step_graph *out) {
    int64_t batch = m->spec.global_batch;
    if ((unsigned)kind >= GD_STEP_KIND_COUNT) GD_FAIL(INTERNAL, "gd_gan_step: no step kind %d", (int)kind);
    if (shards < 1 || batch % shards)
        GD_FAIL(CONFIG, "batch.global: %lld samples cannot be cut into %lld equal shards; use a multiple of %lld",
                (long long)batch, (long long)shards, (long long)(shards < 1 ? 1 : shards));
    gd__step s;
    gd_status st = start(m, shards, batch / shards, &s);
    if (st == GD_OK) {
        m->topology->step[kind](&s);
        add_buffers(&s);
    }
    return finish(st, &s, out);
}

gd_status gd_gan_sampler(const gd_gan *m, int64_t n, bool batch_stats, gd_step_graph *out) {
    if (n < 1) GD_FAIL(CONFIG, "sampler: a batch of %lld images; expected at least 1", (long long)n);
    gd__step s;
    gd_status st = start(m, 1, n, &s);
    if (st == GD_OK) m->topology->sample(&s, batch_stats);
    return finish(st, &s, out);
}

void gd_step_graph_free(gd_step_graph *s) {
    if (!s) return;
    gd_graph_free(s->graph);
    gd_arena_free(s->arena);
    *s = (gd_step_graph){0};
}
