/* models/step.c -- the parts of step graphs, and the frame around them: gd_gan_step, gd_gan_sampler. */
#include "models/step.h"

#include <math.h>
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

/* ---- values ---- */

gd_node gd__step_data(gd__step *s, int part) {
    static const char *const name[] = {"data:0", "data:1"};
    gd_graph *g = s->graph;
    const gd__part *p = &s->gan->part[part];
    gd_shape shape = gd_shape4(s->n, p->h, p->w, p->c);
    gd_range range = s->gan->spec.range;
    if (range == GD_RANGE_RAW) return gd_input(g, name[part], GD_F32, shape);
    gd_node x = gd_cast(g, gd_input(g, name[part], GD_U8, shape), GD_F32);
    if (range == GD_RANGE_UNIT) return gd_scale(g, x, 1 / 255.0);
    return gd_shift(g, gd_scale(g, x, 1 / 127.5), -1);
}

gd_node gd__step_control(gd__step *s, const char *name, int64_t k) {
    char full[48];
    snprintf(full, sizeof full, "control:%s", name);
    return gd_input(s->graph, full, GD_F32, gd_shape2(1, k));
}

gd_node gd__step_latent(gd__step *s, gd_purpose purpose) {
    gd_graph *g = s->graph;
    gd_shape shape = gd_shape2(s->n, s->gan->spec.generator.latent);
    gd_latent law = s->gan->spec.latent;
    if (law == GD_LATENT_UNIFORM || law == GD_LATENT_UNIT_UNIFORM) {
        double half = law == GD_LATENT_UNIFORM ? 1 : sqrt(3);
        return gd_shift(g, gd_scale(g, gd_random(g, GD_RANDOM_UNIFORM, purpose, shape), 2 * half), -half);
    }
    gd_node z = gd_random(g, GD_RANDOM_NORMAL, purpose, shape);
    return law == GD_LATENT_SPHERE ? gd_div(g, z, gd_sqrt(g, gd_sum(g, gd_square(g, z), 2))) : z;
}

gd_node gd__step_plus(gd__step *s, gd_node x, gd_node y) {
    return x == GD_NONE ? y : y == GD_NONE ? x : gd_add(s->graph, x, y);
}

gd_node gd__step_distance(gd__step *s, gd_node x, gd_node y, bool square) {
    gd_node d = gd_sub(s->graph, x, y);
    d = square ? gd_square(s->graph, d) : gd_abs(s->graph, d);
    return gd_loss_mean(s->graph, d, s->gan->spec.global_batch);
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

static gd_node with_noise(gd__step *s, gd_node image) {
    gd_graph *g = s->graph;
    if (!s->gan->spec.instance_noise) return image;
    uint32_t purpose = GD_PURPOSE_INSTANCE_NOISE | s->noises++ << 16;
    gd_node noise = gd_random(g, GD_RANDOM_NORMAL, purpose, gd_node_shape(g, image));
    gd_node std = gd_reshape(g, gd__step_control(s, "noise_std", 1), gd_shape4(1, 1, 1, 1));
    return gd_add(g, image, gd_mul(g, noise, std));
}

gd__verdict gd__step_judge(gd__step *s, int net, gd_node image) {
    gd__verdict v = {.image = GD_NONE, .logits = GD_NONE};
    if (failed(s) || image == GD_NONE) return v;
    v.image = with_noise(s, image);
    v.logits = gd__step_apply(s, net, v.image);
    const gd_node *tap;
    v.n_taps = gd_net_use_features(s->use[net], &tap);
    for (int i = 0; i < v.n_taps; i++) v.tap[i] = tap[i];
    return v;
}

/* Sum over the batch of one tap, [1,F], scaled so that the sum of squares of differences of two such sums
 * is the mean of squared differences of batch means. */
static gd_node feature_sum(gd__step *s, gd_node tap) {
    gd_graph *g = s->graph;
    gd_node sum = gd_sum(g, tap, 1);
    int64_t count = gd_shape_count(gd_node_shape(g, sum));
    if (sum == GD_NONE) return GD_NONE;
    double scale = 1 / ((double)s->gan->spec.global_batch * sqrt((double)count));
    return gd_scale(g, gd_reshape(g, sum, gd_shape2(1, count)), scale);
}

/* All taps travel in one reduction, as the difference, whose square no shard knows alone. */
gd_node gd__step_feature(gd__step *s, const gd__verdict *real, const gd__verdict *fake) {
    gd_graph *g = s->graph;
    gd_node all = GD_NONE;
    for (int i = 0; i < fake->n_taps; i++) {
        gd_node one = gd_sub(g, feature_sum(s, gd_stop(g, real->tap[i])), feature_sum(s, fake->tap[i]));
        all = i ? gd_concat(g, all, one, 1) : one;
    }
    gd_node sum = gd_sum_all(g, gd_square(g, gd_allreduce(g, all)));
    return gd_scale(g, sum, 1.0 / (double)gd_graph_shards(g));
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

/* every > 1: the penalty is in some programs only. */
static bool penalised(const gd_gan *m, bool with_penalty) {
    const gd_penalty_spec *p = &m->spec.penalty;
    return p->kind != GD_PENALTY_NONE && (p->every <= 1 || with_penalty);
}

gd_status gd_gan_step(const gd_gan *m, gd_step_kind kind, bool with_penalty, int64_t shards, gd_step_graph *out) {
    int64_t batch = m->spec.global_batch;
    if ((unsigned)kind >= GD_STEP_KIND_COUNT) GD_FAIL(INTERNAL, "gd_gan_step: no step kind %d", (int)kind);
    if (!gd_gan_has_step(m, kind))
        GD_FAIL(CONFIG, "schedule: topology %s has no %s%s", m->topology->name, gd_step_kind_text(kind),
                m->spec.pool ? " with an image pool; expected the order first: generator, share_fake: true and "
                               "d_steps: 1, or pool.size: 0"
                             : "");
    if (shards < 1 || batch % shards)
        GD_FAIL(CONFIG, "batch.global: %lld samples cannot be cut into %lld equal shards; use a multiple of %lld",
                (long long)batch, (long long)shards, (long long)(shards < 1 ? 1 : shards));
    if (penalised(m, with_penalty) && kind != GD_STEP_G) GD_TRY(gd__penalty_check_shards(&m->spec, shards));
    gd__step s;
    gd_status st = start(m, shards, batch / shards, &s);
    s.penalised = penalised(m, with_penalty);
    if (st == GD_OK) {
        m->topology->step(&s, kind);
        add_buffers(&s);
    }
    return finish(st, &s, out);
}

/* ---- trained networks at work ---- */

gd_status gd_gan_sampler(const gd_gan *m, int64_t n, bool batch_stats, gd_step_graph *out) {
    if (!m->topology->sample) GD_FAIL(CONFIG, "sampler: topology %s makes no images from latents", m->topology->name);
    if (n < 1) GD_FAIL(CONFIG, "sampler: a batch of %lld images; expected at least 1", (long long)n);
    gd__step s;
    gd_status st = start(m, 1, n, &s);
    if (st == GD_OK) m->topology->sample(&s, batch_stats);
    return finish(st, &s, out);
}

gd_status gd_gan_translator(const gd_gan *m, int direction, int64_t n, int64_t h, int64_t w, bool batch_stats,
                            bool keep_dropout, gd_step_graph *out) {
    int net = m->topology->translator && (direction == 0 || direction == 1) ? m->topology->translator(direction) : -1;
    if (net < 0)
        GD_FAIL(CONFIG, "translator: topology %s has no way from %s", m->topology->name,
                direction ? "b to a" : "a to b");
    if (n < 1 || h < 1 || w < 1)
        GD_FAIL(CONFIG, "translator: %lld images of %lldx%lld; expected at least 1 of everything", (long long)n,
                (long long)h, (long long)w);
    GD_TRY(gd_net_fits(m->nets[net].net, h, w));
    gd__step s;
    gd_status st = start(m, 1, n, &s);
    if (st == GD_OK) {
        gd_node x = gd_input(s.graph, "x", GD_F32, gd_shape4(n, h, w, m->part[direction].c));
        gd_apply_opts o = {.eval = true, .batch_stats = batch_stats, .keep_dropout = keep_dropout};
        gd__step_output(&s, "image", gd_net_apply(s.use[net], x, &o));
    }
    return finish(st, &s, out);
}

/* [n,...] -> [n,F] */
static gd_node flat(gd_graph *g, gd_node x) {
    gd_shape s = gd_node_shape(g, x);
    return s.rank ? gd_reshape(g, x, gd_shape2(s.dim[0], gd_shape_count(s) / s.dim[0])) : GD_NONE;
}

static int discriminator(const gd_gan *m, int which) {
    for (int i = 0; i < m->n_nets; i++)
        if (m->nets[i].group == GD_GROUP_D && which-- == 0) return i;
    return -1;
}

gd_status gd_gan_judge(const gd_gan *m, int net, int64_t n, gd_step_graph *out) {
    int d = discriminator(m, net);
    if (d < 0) GD_FAIL(CONFIG, "judge: topology %s has no discriminator %d", m->topology->name, net);
    if (n < 1) GD_FAIL(CONFIG, "judge: a batch of %lld images; expected at least 1", (long long)n);
    gd__step s;
    gd_status st = start(m, 1, n, &s);
    if (st == GD_OK) {
        gd__dims in = m->nets[d].net->input;
        gd_node x = gd_input(s.graph, "x", GD_F32, gd_shape4(n, in.h, in.w, in.c));
        gd_apply_opts o = {.eval = true};
        gd__step_output(&s, "verdict", flat(s.graph, gd_net_apply(s.use[d], x, &o)));
        const gd_node *tap;
        int n_taps = gd_net_use_features(s.use[d], &tap);
        if (n_taps) gd__step_output(&s, "features", flat(s.graph, tap[n_taps - 1]));
    }
    return finish(st, &s, out);
}

void gd_step_graph_free(gd_step_graph *s) {
    if (!s) return;
    gd_graph_free(s->graph);
    gd_arena_free(s->arena);
    *s = (gd_step_graph){0};
}
