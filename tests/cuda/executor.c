/* tests/cuda/executor.c -- the executor `cuda` on the stand-in device: training steps of every family give ref's results in the
 * norm of steps.h, captured graphs the eager run's bytes, and after warm-up nothing is allocated and nobody waits.
 *
 * What the stand-in checks on the way: every access of every kernel, copy and convolution. Usage: [FAMILY] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/cpu/choice.h"
#include "compute/cuda/exchange.h"
#include "families.h"
#include "on_device.h"
#include "record.h"

enum { BATCH = 4, RUNS = 7 };

static gd__cu_device *device;
static const gd_executor *cuda;
static int failures;

/* ---- eager and captured ---- */

static void expect(bool good, const char *name, const char *what) {
    failures += !good;
    if (!good) printf("FAIL %s: %s\n", name, what);
}

/* Both have the same bytes; then they are gone. */
static void end_equal(prog *eager, prog *graph, gd__cu_replay *r, const char *name) {
    for (int b = 0; b < eager->n; b++) {
        void *x = download(eager, b), *y = download(graph, b);
        expect(!memcmp(x, y, binding_bytes(&eager->list[b])), name, eager->list[b].name);
        free(x);
        free(y);
    }
    ops_need(gd__cu_replay_free(r), "replay");
    close_prog(eager);
    close_prog(graph);
}

/* The same runs, eager in one program and captured in another: same bytes of all outputs. */
static void check_replay(const char *name, const gd_step_graph *s, gd_precision precision) {
    prog eager = open_prog(device, cuda, s, precision), graph = open_prog(device, cuda, s, precision);
    gd__cu_replay *r;
    record_counts before = {0}, after;
    ops_need(gd__cu_replay_new(graph.p, graph.i, &r), "replay");
    set_inputs(&eager);
    set_inputs(&graph);
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
        if (k == 2) before = record_get_counts(device); /* the first run is eager, the second is captured */
        replay(r, &a);
    }
    after = record_get_counts(device);
    expect(after.allocations == before.allocations && after.graphs == before.graphs, name, "allocates after warm-up");
    /* Keys come through a ring of more runs than these: else the host would wait for one that is far behind. */
    expect(after.syncs == before.syncs && after.copies > before.copies, name, "waits after warm-up");
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
        ops_need(gd_instance_run(eager.i, &a), "eager");
    }
    end_equal(&eager, &graph, r, name);
}

/* ---- runs that are held, and outputs that are told of ---- */

enum { TRACE = 4096, GRAD = 2 };

/* Outputs that were complete, and pauses, in order. */
typedef struct trace {
    int n, at[TRACE];
} trace;

static void note(trace *t, int what) {
    if (t->n == TRACE) ops_die("too long a trace");
    t->at[t->n++] = what;
}

static gd_status note_output(void *ctx, int binding) {
    note(ctx, binding);
    return GD_OK;
}

static bool some_cut(void *ctx, int binding) {
    (void)ctx;
    return binding % 3 == 0;
}

static signed char set_of(const gd_binding *b) {
    bool grad = !strncmp(b->name, "grad:", 5);
    char network = b->name[grad ? 5 : 0];
    if (!grad && !b->is_param) return -1;
    return (signed char)((grad ? GRAD : 0) + (network == 'D'));
}

static void group(prog *x) {
    static signed char set[ON_DEVICE_BINDINGS];
    for (int b = 0; b < x->n; b++) set[b] = set_of(&x->list[b]);
    ops_need(gd_instance_group(x->i, set), "sets");
}

/* One run, as an instance or replayed; what holds it goes when it has stopped for it. */
static void held_run(prog *x, gd__cu_replay *r, const gd_run_args *a, unsigned sets, trace *t) {
    const gd_run_hooks h = {.ctx = t, .done = note_output, .cuts = some_cut};
    gd_pause p = {.phase = 0};
    t->n = 0;
    gd_instance_set_hooks(x->i, &h);
    gd_instance_hold(x->i, sets);
    ops_need(r ? gd__cu_replay_start(r, a, &p) : gd_instance_start(x->i, a, &p), "start");
    while (p.kind != GD_PAUSE_DONE) {
        if (p.kind == GD_PAUSE_HELD) sets &= ~p.held;
        note(t, -1 - (int)p.kind - 16 * (int)p.held);
        if (p.kind == GD_PAUSE_PHASE) sets |= 1u << p.phase % 4; /* an update begins there */
        gd_instance_hold(x->i, sets);
        ops_need(r ? gd__cu_replay_resume(r, &p) : gd_instance_resume(x->i, &p), "resume");
    }
}

/* Runs that are held stop at the same places and tell of outputs between the same pauses, captured or not; a run that is left
 * in the midst, in any stage, leaves nothing behind; and two instances take turns on one program. */
static void check_held(const char *name, const gd_step_graph *s) {
    static trace eager_trace, graph_trace;
    prog eager = open_prog(device, cuda, s, GD_PRECISION_F32), graph = open_prog(device, cuda, s, GD_PRECISION_F32);
    gd__cu_replay *r;
    gd_pause p;
    ops_need(gd__cu_replay_new(graph.p, graph.i, &r), "replay");
    set_inputs(&eager);
    set_inputs(&graph);
    group(&eager);
    group(&graph);
    for (int k = 0; k < RUNS; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0},
                          other = {.seed = 6, .step = 99, .sample = 8};
        unsigned sets = (unsigned)(k * 5 + 3) % 16;
        if (k % 2) {
            gd_instance_hold(graph.i, 15);
            ops_need(gd__cu_replay_start(r, &other, &p), "a run that is left");
            gd_instance_hold(graph.i, 14);
            if (p.kind != GD_PAUSE_DONE) ops_need(gd__cu_replay_resume(r, &p), "a run that is left");
        }
        held_run(&eager, NULL, &a, sets, &eager_trace);
        held_run(&graph, r, &a, sets, &graph_trace);
        bool same = eager_trace.n == graph_trace.n &&
                    !memcmp(eager_trace.at, graph_trace.at, (size_t)eager_trace.n * sizeof *eager_trace.at);
        expect(same, name, "other pauses");
    }
    end_equal(&eager, &graph, r, name);
}

/* ---- sums beside captured steps, and the update behind them ---- */

typedef struct sums {
    prog x;
    gd__cu_replay *replay;
    gd_exchange *exchange;
    float *grad, *param, *average;
    double *norm, *squares; /* squares: optimizer.shard, of one rank whose slice is all of it; NULL: it is not sliced */
    size_t offset[ON_DEVICE_BINDINGS], count;
    int early;
} sums;

static size_t padded(const gd_binding *b) { return ((size_t)gd_shape_count(b->shape) + 15) / 16 * 16; }
static bool is_grad(const gd_binding *b) { return b->is_output && !strncmp(b->name, "grad:", 5); }

static gd_status tell_sums(void *ctx, int binding) {
    sums *m = ctx;
    const gd_binding *b = &m->x.list[binding];
    if (!is_grad(b)) return GD_OK;
    m->early++;
    return gd__cu_exchange_ready(m->exchange, m->offset[binding], m->offset[binding] + padded(b));
}

static bool cut_sums(void *ctx, int binding) { return is_grad(&((sums *)ctx)->x.list[binding]) && binding % 2; }

static void fill(float *at, size_t count, float value) {
    float *x = malloc(count * sizeof *x + 1);
    if (!x) ops_die("no memory");
    for (size_t i = 0; i < count; i++) x[i] = value;
    ops_need(cuda->put(at, x, count * sizeof *x), "put");
    free(x);
}

static size_t blocks(const sums *m) { return (m->count + GD_SQUARES_BLOCK - 1) / GD_SQUARES_BLOCK; }

static void open_sums(sums *m, const gd_step_graph *s, size_t bucket, bool sliced) {
    void *at;
    *m = (sums){.x = open_prog(device, cuda, s, GD_PRECISION_F32)};
    set_inputs(&m->x);
    for (int b = 0; b < m->x.n; b++) {
        m->offset[b] = m->count;
        if (is_grad(&m->x.list[b])) m->count += padded(&m->x.list[b]);
    }
    const size_t slice[] = {0, m->count};
    const gd_exchange_opts o = {.name = "G", .size = 1, .bucket = bucket, .slice = sliced ? slice : NULL};
    ops_need(gd__cu_exchange_on(device, gd__cu_stream(), record_comm(device, 0, 0), &o, &m->exchange), "exchange");
    ops_need(gd__cu_exchange_alloc(m->exchange, m->count * sizeof(float), &at), "gradients");
    m->grad = at;
    ops_need(cuda->alloc(m->count * sizeof(float), &at), "parameters");
    m->param = at;
    ops_need(cuda->alloc(m->count * sizeof(float), &at), "average");
    m->average = at;
    ops_need(cuda->alloc(sizeof *m->norm, &at), "norm");
    m->norm = at;
    if (sliced) ops_need(cuda->alloc(blocks(m) * sizeof *m->squares, &at), "squares");
    if (sliced) m->squares = at;
    fill(m->grad, m->count, 0);
    fill(m->param, m->count, 1);
    fill(m->average, m->count, 1);
    for (int b = 0; b < m->x.n; b++)
        if (is_grad(&m->x.list[b]))
            ops_need(gd_instance_bind(m->x.i, m->x.list[b].name, m->grad + m->offset[b]), "bind");
    ops_need(gd__cu_replay_new(m->x.p, m->x.i, &m->replay), "replay");
}

static void update(const sums *m, float *average, const double *squares) {
    const gd_update u = {.rule = GD_UPDATE_SGD,
                         .count = m->count,
                         .rate = 0.01f,
                         .clip_norm = 1,
                         .average = 0.5f,
                         .sums = squares,
                         .n_sums = blocks(m)};
    ops_need(cuda->update(&u, m->param, m->grad, NULL, NULL, average, m->norm), "update");
}

/* What each rank does with its slice, and then with all of it. */
static void update_slice(const sums *m) {
    const size_t border[] = {0, m->count}, of_squares[] = {0, 2 * blocks(m)};
    ops_need(cuda->squares(m->grad, 0, m->count, m->squares), "squares");
    ops_need(gd__cu_exchange_share(m->exchange, (float *)(void *)m->squares, of_squares), "share");
    update(m, NULL, m->squares);
    ops_need(gd__cu_exchange_share(m->exchange, m->param, border), "share");
    ops_need(cuda->average(m->average, m->param, m->count, 0.5f, m->norm), "average");
}

/* An iteration: a round that begins in the midst of the program, and an update on the device behind it; the host waits at its end,
 * and reads the norm. early: else all of the round is at the end. Waits of the host before the end. */
static int run_sums(sums *m, const gd_run_args *a, bool captured, bool early) {
    const gd_run_hooks h = {.ctx = m, .done = tell_sums, .cuts = cut_sums};
    double waited, norm;
    void *ticket;
    int before = record_get_counts(device).syncs;
    gd_instance_set_hooks(m->x.i, early ? &h : NULL);
    ops_need(gd__cu_exchange_begin(m->exchange, m->grad, m->count), "begin");
    if (captured) replay(m->replay, a);
    else ops_need(gd_instance_run(m->x.i, a), "run");
    ops_need(gd__cu_exchange_all_ready(m->exchange), "ready");
    ops_need(gd__cu_exchange_end(m->exchange), "end");
    if (m->squares) update_slice(m);
    else update(m, m->average, NULL);
    ops_need(cuda->get_later(m->norm, sizeof norm, &ticket), "later");
    int waits = record_get_counts(device).syncs - before;
    ops_need(gd__cu_exchange_settle(m->exchange, &waited), "settle");
    ops_need(cuda->take(ticket, &norm), "take");
    expect(norm > 0, "sums", "no norm");
    return waits;
}

static void close_sums(sums *m) {
    ops_need(gd__cu_replay_free(m->replay), "replay");
    ops_need(gd__cu_exchange_close(m->exchange, false), "close");
    cuda->free(m->param);
    cuda->free(m->average);
    cuda->free(m->norm);
    cuda->free(m->squares);
    close_prog(&m->x);
}

/* Captured with buckets that begin early, eager with such, eager without, and captured with slices: the same bytes, and the host never
 * waits in the midst. */
static void check_sums(const char *name, const gd_step_graph *s) {
    static const char *const other[] = {"", "captured, other bytes", "early, other bytes", "slices, other bytes"};
    static sums m[4];
    record_counts warm = {0}, now;
    char *param[4];
    for (int i = 0; i < 4; i++) {
        open_sums(&m[i], s, 4096, i == 3);
        for (int k = 0; k < RUNS; k++) {
            const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
            if (k == 2) warm = record_get_counts(device);
            int waits = run_sums(&m[i], &a, i % 3 == 0, i != 2);
            expect(waits == 0 || k < 2, name, "the host waits in the midst of an iteration");
        }
        now = record_get_counts(device);
        expect(now.allocations == warm.allocations && now.graphs == warm.graphs, name, "allocates after warm-up");
        size_t bytes = m[i].count * sizeof(float);
        if (!(param[i] = malloc(2 * bytes + 1))) ops_die("no memory");
        ops_need(cuda->get(param[i], m[i].param, bytes), "get");
        ops_need(cuda->get(param[i] + bytes, m[i].average, bytes), "get");
        expect(!memcmp(param[0], param[i], 2 * bytes), name, other[i]);
        expect((m[i].early > 0) == (i != 2), name, "nothing is early");
    }
    for (int i = 0; i < 4; i++) {
        free(param[i]);
        close_sums(&m[i]);
    }
}

/* ---- sums among captured steps ---- */

typedef struct among {
    prog x;
    gd__cu_replay *replay; /* NULL: it runs as an instance */
    gd_exchange *exchange; /* NULL: sums are served at pauses */
    gd_device_comm *comm;
    int sums, pauses, launches, graphs;
} among;

static gd_status put_sum(void *ctx, float *data, int64_t count) {
    among *m = ctx;
    m->sums++;
    return gd__cu_exchange_sum(m->exchange, data, (size_t)count);
}

static among open_among(const gd_step_graph *s, bool there, bool captured) {
    const gd_exchange_opts o = {.name = "batch statistics", .size = 1, .seconds = 9};
    among m = {.x = open_prog(device, cuda, s, GD_PRECISION_F32)};
    set_inputs(&m.x);
    if (captured) ops_need(gd__cu_replay_new(m.x.p, m.x.i, &m.replay), "replay");
    if (!there) return m;
    m.comm = record_comm(device, captured ? 2 : 1, 0);
    ops_need(gd__cu_exchange_on(device, gd__cu_stream(), m.comm, &o, &m.exchange), "exchange");
    return m;
}

/* Of one rank a sum is what it was. */
static gd_status run_among(among *m, const gd_run_args *a) {
    const gd_run_hooks h = {.ctx = m, .sum = m->exchange ? put_sum : NULL};
    record_counts before = record_get_counts(device);
    gd_pause p = {.phase = 0};
    gd_instance_set_hooks(m->x.i, &h);
    GD_TRY(m->replay ? gd__cu_replay_start(m->replay, a, &p) : gd_instance_start(m->x.i, a, &p));
    while (p.kind != GD_PAUSE_DONE) {
        m->pauses += p.kind == GD_PAUSE_COLLECTIVE;
        GD_TRY(m->replay ? gd__cu_replay_resume(m->replay, &p) : gd_instance_resume(m->x.i, &p));
    }
    m->launches = record_get_counts(device).graph_launches - before.graph_launches;
    m->graphs += record_get_counts(device).graphs - before.graphs;
    return GD_OK;
}

static void close_among(among *m) {
    ops_need(gd__cu_replay_free(m->replay), "replay");
    ops_need(gd__cu_exchange_close(m->exchange, false), "close");
    close_prog(&m->x);
}

static void expect_same(among *a, among *b, const char *name) {
    for (int k = 0; k < a->x.n; k++) {
        void *x = download(&a->x, k), *y = download(&b->x, k);
        expect(!memcmp(x, y, binding_bytes(&a->x.list[k])), name, a->x.list[k].name);
        free(x);
        free(y);
    }
}

/* Sums served at pauses, eager and captured, and sums among the steps, eager and captured: the same bytes. With these no run pauses,
 * and the graphs are not cut: nobody calls anything but the device when they are launched. */
static void check_among(const char *name, const gd_step_graph *s) {
    among m[4];
    record_counts warm = {0}, now;
    int collectives = 0;
    for (int i = 0; i < 4; i++) {
        m[i] = open_among(s, i >= 2, i % 2);
        collectives = gd_program_get_stats(m[i].x.p).collectives;
        for (int k = 0; k < RUNS; k++) {
            const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
            if (k == 2) warm = record_get_counts(device);
            ops_need(run_among(&m[i], &a), name);
        }
        now = record_get_counts(device);
        expect(now.allocations == warm.allocations && now.graphs == warm.graphs, name, "allocates after warm-up");
        expect(now.syncs == warm.syncs, name, "the host waits in the midst of a run");
        expect(m[i].pauses == (i < 2 ? RUNS * collectives : 0), name, "other pauses");
        expect(m[i].sums == (i < 2 ? 0 : i == 2 ? RUNS * collectives : 2 * collectives), name, "other calls");
        if (i) expect_same(&m[0], &m[i], name);
    }
    expect(collectives > 0 && m[1].graphs == m[3].graphs + collectives && m[3].launches == m[3].graphs, name,
           "graphs are cut at sums");
    printf("%-36s %d sums, %d graphs rather than %d\n", name, collectives, m[3].graphs, m[1].graphs);
    for (int i = 0; i < 4; i++) close_among(&m[i]);
}

/* ---- sums that fail ---- */

static gd_status (*recorded_sum)(gd_device_comm *c, void *stream, float *data, int64_t count);
static gd_status (*recorded_abort)(gd_device_comm *c);
static int fail_sum, aborts;

static gd_status failing_sum(gd_device_comm *c, void *stream, float *data, int64_t count) {
    if (fail_sum && !--fail_sum) GD_FAIL(NCCL, "a cable was pulled");
    return recorded_sum(c, stream, data, count);
}
static gd_status late(gd_device_comm *c, void *what, double seconds) {
    (void)what;
    GD_FAIL(TIMEOUT, "%s: not within %g s", c->name, seconds);
}
static gd_status counted_abort(gd_device_comm *c) {
    gd_status st = recorded_abort(c);
    if (st != GD_OK) expect(false, c->name, gd_error_message());
    aborts++;
    return st;
}

/* The run-th run (from 0) fails; the host, which waits then, is not kept. The communicator is aborted once, after the end of a capture
 * and without graphs that it is part of: the stand-in sees to it. Captured steps do not run any more. */
static void fail_among(const char *name, const gd_step_graph *s, int run, bool captured) {
    among m = open_among(s, true, captured);
    gd_status st = GD_OK;
    int n = gd_program_get_stats(m.x.p).collectives;
    recorded_sum = m.comm->all_reduce;
    recorded_abort = m.comm->abort;
    m.comm->all_reduce = failing_sum;
    m.comm->abort = counted_abort;
    fail_sum = run < 2 ? run * n + n : 0;
    aborts = 0;
    for (int k = 0; k <= run && st == GD_OK; k++) {
        const gd_run_args a = {.seed = 5, .step = (uint64_t)k, .sample = 0};
        st = run_among(&m, &a);
        expect(st == GD_OK || k == run, name, "fails too early");
    }
    if (run < 2) expect(st == GD_NCCL && strstr(gd_error_message(), "a cable was pulled"), name, "another error");
    else m.comm->wait = m.comm->wait_event = late;
    gd_status waited = gd__cu_finish();
    expect(run < 2 ? waited == GD_OK : waited == GD_TIMEOUT && strstr(gd_error_message(), "not within 9 s"), name,
           "the host waits without a deadline");
    expect(aborts == 1 && gd__cu_finish() == GD_OK, name, "is not aborted once");
    const gd_run_args a = {.seed = 5};
    st = run_among(&m, &a);
    expect(st == GD_INTERNAL && strstr(gd_error_message(), captured ? "captured steps are gone" : "after an error"),
           name, "runs on");
    close_among(&m);
}

static void check_failing(const gd_step_graph *s) {
    fail_among("a sum fails", s, 0, false);
    fail_among("a sum fails, before a capture", s, 0, true);
    fail_among("a sum fails while it is captured", s, 1, true);
    fail_among("a sum does not end", s, 2, false);
    fail_among("a captured sum does not end", s, 2, true);
}

static void check_step(const char *name, const gd_step_graph *s, bool half) {
    const gd_run_args a = {.seed = 7, .step = 3, .sample = 11};
    gd_precision precision = half ? GD_PRECISION_BF16 : GD_PRECISION_F32;
    char where[96] = "";
    steps_ref *ref = steps_ref_new(s, precision);
    prog x = open_prog(device, cuda, s, precision);
    set_inputs(&x);
    ops_need(gd_instance_run(x.i, &a), name);
    double e = worst_distance(&x, ref, half ? 2e-3 : 1e-5, where);
    failures += !(e <= 1);
    printf("%-36s %6.3f of the limit %s, worst %s\n", name, e, e <= 1 ? "ok" : "FAIL", where);
    steps_ref_free(ref);
    close_prog(&x);
    check_replay(name, s, precision);
}

static bool has_collectives(const gd_step_graph *s) {
    for (gd_node k = 0; k < gd_graph_count(s->graph); k++)
        if (gd_op_class_of(gd_graph_at(s->graph, k)->op) == GD_CLASS_COMM) return true;
    return false;
}

static void check_family(const family *f) {
    static const gd_step_kind kind[] = {GD_STEP_DG_SHARED, GD_STEP_GD_SHARED, GD_STEP_D};
    gd_gan_spec spec = f->spec;
    gd_gan *m;
    spec.global_batch = BATCH;
    spec.sync = true;
    ops_need(gd_gan_new(&spec, &m), f->name);
    int k = spec.topology == GD_TOPOLOGY_TWO_WAY ? 1 : gd_gan_has_step(m, kind[0]) ? 0 : 2;
    for (int half = 0; half < 2; half++) {
        gd_step_graph s;
        char name[96];
        snprintf(name, sizeof name, "%s, %s, %s", f->name, gd_step_kind_text(kind[k]), half ? "bf16" : "f32");
        ops_need(gd_gan_step(m, kind[k], true, 1, &s), name);
        check_step(name, &s, half);
        if (!half) check_held(name, &s);
        if (!half) check_sums(name, &s);
        gd_step_graph_free(&s);
    }
    gd_gan_free(m);
}

/* As trainings of several ranks have it: batch norm sees all shards. */
static void check_statistics_over_ranks(const family *list, int n) {
    int checked = 0;
    for (int i = 0; i < n; i++) {
        gd_gan_spec spec = list[i].spec;
        gd_step_graph s;
        gd_gan *m;
        char name[96];
        if (spec.topology != GD_TOPOLOGY_NOISE) continue;
        spec.global_batch = BATCH;
        spec.sync = true;
        ops_need(gd_gan_new(&spec, &m), list[i].name);
        if (gd_gan_has_step(m, GD_STEP_DG_SHARED)) {
            ops_need(gd_gan_step(m, GD_STEP_DG_SHARED, true, 2, &s), list[i].name);
            snprintf(name, sizeof name, "%s, sums among steps", list[i].name);
            if (has_collectives(&s)) {
                check_among(name, &s);
                if (!checked++) check_failing(&s);
            }
            gd_step_graph_free(&s);
        }
        gd_gan_free(m);
    }
    expect(checked > 0, "statistics over ranks", "no family has any");
}

/* All transpositions of a product, and channels that need padding, in both precisions: parity of single nodes. */
static void check_products(void) {
    for (int t = 0; t < 8; t++) {
        bool ta = t & 1, tb = t & 2, half = t & 4;
        gd_graph *g = ops_graph(1);
        gd_node a = gd_input(g, "a", GD_F32, ta ? gd_shape2(9, 6) : gd_shape2(6, 9));
        gd_node b = gd_input(g, "b", GD_F32, tb ? gd_shape2(11, 9) : gd_shape2(9, 11));
        gd_output out = {"y", gd_matmul(g, a, b, ta, tb)};
        gd_step_graph s = {.graph = g, .outputs = &out, .n_outputs = 1, .n_phases = 1};
        char name[96];
        ops_need(gd_graph_status(g), "product");
        snprintf(name, sizeof name, "product%s%s, %s", ta ? " aT" : "", tb ? " bT" : "", half ? "bf16" : "f32");
        check_step(name, &s, half);
        gd_graph_free(g);
    }
}

/* Updates by a norm that is decided there: sums of squares of small whole numbers are exact in any order; room grows, and a smaller
 * arena comes after a larger one; after that nothing is allocated. */
static void check_norms(void) {
    enum { MOST = 3 * GD_SQUARES_BLOCK + 32 };
    static float x[MOST], p[MOST];
    static const size_t counts[] = {64, MOST, GD_SQUARES_BLOCK, 48};
    float *g, *q, *m;
    double *norm;
    void *at[4];
    record_counts before = {0}, after;
    for (size_t i = 0; i < MOST; i++) x[i] = (float)((int)(i % 7) - 3);
    for (int i = 0; i < 4; i++) ops_need(cuda->alloc(sizeof x, &at[i]), "memory");
    g = at[0], q = at[1], m = at[2], norm = at[3];
    for (size_t k = 0; k < 16; k++) {
        size_t count = counts[k % 4];
        float some = k >= 8 ? 3e38f : 2; /* its square is infinite; momentum does not care */
        bool made = k < 8 || k % 2 == 0;
        double want = 0, host = -1;
        void *ticket;
        const gd_update u = {.rule = k % 2 ? GD_UPDATE_RMSPROP : GD_UPDATE_MOMENTUM,
                             .count = count,
                             .rate = 1,
                             .eps = 1,
                             .momentum = 1,
                             .clip_norm = k < 8 ? 4 : 0};
        if (k == 4) before = record_get_counts(device);
        x[5] = some;
        for (size_t i = 0; i < count; i++) want += (double)x[i] * x[i];
        want = made ? sqrt(want) : INFINITY;
        ops_need(cuda->put(g, x, count * sizeof *x), "put");
        for (size_t i = 0; i < count; i++) p[i] = 0;
        ops_need(cuda->put(q, p, count * sizeof *p), "put");
        ops_need(cuda->put(m, p, count * sizeof *p), "put");
        ops_need(cuda->update(&u, q, g, NULL, m, NULL, norm), "update");
        ops_need(cuda->get_later(norm, sizeof *norm, &ticket), "later");
        ops_need(cuda->get(p, q, count * sizeof *p), "get");
        ops_need(cuda->take(ticket, &host), "take");
        expect(host == want, "norms", "another norm");
        expect((p[6] != 0) == made, "norms", "an update that is not made, or is made");
    }
    after = record_get_counts(device);
    expect(after.allocations == before.allocations, "norms", "allocates after warm-up");
    for (int i = 0; i < 4; i++) cuda->free(at[i]);
}

/* What a program made of running statistics, beside the copy of before: in order with the steps. */
static void check_statistics(void) {
    enum { N = 1000 };
    static float x[N], before[N], average[N], out[N];
    void *at[4], *ticket;
    double kept = -1;
    for (int i = 0; i < N; i++) x[i] = i % 100 == 3 ? NAN : 2, before[i] = 1, average[i] = 4;
    for (int i = 0; i < 4; i++) ops_need(cuda->alloc(sizeof x, &at[i]), "memory");
    ops_need(cuda->put(at[1], before, sizeof before), "put");
    ops_need(cuda->copy(NULL, at[0], at[1], sizeof before), "copy");
    ops_need(cuda->put(at[0], x, sizeof x), "put");
    ops_need(cuda->put(at[2], average, sizeof average), "put");
    ops_need(cuda->keep(at[0], at[1], at[2], N, 0.5f, at[3]), "keep");
    ops_need(cuda->get_later(at[3], sizeof kept, &ticket), "later");
    ops_need(cuda->keep(at[0], at[1], NULL, N, 0, at[3]), "keep"); /* nothing is left to be kept */
    ops_need(cuda->get(out, at[0], sizeof out), "get");
    ops_need(cuda->get(average, at[2], sizeof average), "get");
    ops_need(cuda->take(ticket, &kept), "take");
    expect(kept == 10, "statistics", "other numbers are kept");
    for (int i = 0; i < N; i++) {
        float want = i % 100 == 3 ? 1 : 2;
        expect(out[i] == want && average[i] == 0.5f * 4 + 0.5f * want, "statistics", "another number");
    }
    for (int i = 0; i < 4; i++) cuda->free(at[i]);
}

int main(int argc, char **argv) {
    int n;
    const family *list = families(&n);
    gd_choice_set_mode(GD_CHOICE_DIRECT); /* the stand-in's convolutions are those of cpu: every product as it is */
    device = record_new(1);
    if (!device) return 1;
    /* tf32: channels of f32 tensors are padded, too; and no engine widens, so that operands are. */
    for (int math = GD__DNN_F32; math <= GD__DNN_TF32; math++) {
        record_no_wide(device, math == GD__DNN_TF32);
        ops_need(gd__cu_executor_open(device, (gd__dnn_math)math, &cuda), "executor");
        if (argc < 2) check_products();
        if (argc < 2) check_norms();
        if (argc < 2) check_statistics();
        if (argc < 2 && math == GD__DNN_F32) check_statistics_over_ranks(list, n);
        for (int i = 0; i < n; i++)
            if (argc < 2 ? math == GD__DNN_F32 || i % 4 == 2 : !strcmp(list[i].name, argv[1])) check_family(&list[i]);
        ops_need(gd__cu_executor_close(), "close");
    }
    record_counts c = record_get_counts(device);
    gd_status st = record_end(device);
    if (st != GD_OK) printf("FAIL %s\n", gd_error_message());
    printf("%d launches, %d convolutions, %d copies, %d graphs launched %d times, %d failures\n", c.launches,
           c.convolutions, c.copies, c.graphs, c.graph_launches, failures + (st != GD_OK));
    return failures || st != GD_OK;
}
