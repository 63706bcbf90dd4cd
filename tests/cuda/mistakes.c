/* tests/cuda/mistakes.c -- the stand-in device finds what it is there to find: one mistake at a time, each with its message, and the
 * same work done right, which must pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/cuda/emit.h"
#include "record.h"

enum { COUNT = 1000, BYTES = COUNT * 4 };

/* Two streams, an event, a kernel out = in + 1, memory. */
typedef struct rig {
    gd__cu_device *d;
    gd__cu_kernels kernels;
    void *kernel, *s, *t, *e, *a, *b, *pinned;
} rig;

#define DO(call)                                                                                                       \
    do {                                                                                                               \
        gd_status st_ = (call);                                                                                        \
        if (st_ != GD_OK) return st_;                                                                                  \
    } while (0)

static gd_status add_one(rig *r, void *stream, const void *in, void *out) {
    void *arg[2] = {(void *)(uintptr_t)in, out};
    const gd__cu_access access[2] = {{in, BYTES, false}, {out, BYTES, true}};
    return r->d->launch(r->d, stream, r->kernel, 4, 2, arg, access);
}

static gd_status kernel(rig *r) {
    gd__cu_text t = {0};
    int index;
    gd__cu_print(&t, "  const float *const x = ARG(const float, 0);\n  float *const y = ARG(float, 1);\n"
                     "  PHASE {\n    const u32 i = BX * GD_THREADS + TX;\n    if (i < 1000u) y[i] = x[i] + 1;\n  }\n");
    gd_status st = gd__cu_kernels_add(&r->kernels, 2, &t, &index);
    gd__cu_text_free(&t);
    if (st == GD_OK) st = r->d->load(r->d, &r->kernels.list[0], &r->kernel);
    return st;
}

static gd_status set_up(rig *r) {
    r->d = record_new(4);
    if (!r->d) return GD_NOMEM;
    DO(kernel(r));
    DO(r->d->stream_new(r->d, false, &r->s));
    DO(r->d->stream_new(r->d, true, &r->t));
    DO(r->d->event_new(r->d, &r->e));
    DO(r->d->alloc(r->d, BYTES, &r->a));
    DO(r->d->alloc(r->d, BYTES, &r->b));
    DO(r->d->alloc_host(r->d, BYTES, &r->pinned));
    DO(r->d->host(r->d, r->pinned, BYTES, true));
    for (int i = 0; i < COUNT; i++) ((float *)r->pinned)[i] = (float)i;
    DO(r->d->copy(r->d, r->s, r->a, r->pinned, BYTES));
    return r->d->stream_sync(r->d, r->s);
}

static gd_status tear_down(rig *r) {
    DO(r->d->stream_sync(r->d, r->s));
    DO(r->d->stream_sync(r->d, r->t));
    DO(r->d->free(r->d, r->a));
    DO(r->d->free(r->d, r->b));
    DO(r->d->free(r->d, r->pinned));
    DO(r->d->event_free(r->d, r->e));
    return GD_OK;
}

/* t waits for what s did so far. */
static gd_status behind(rig *r, void *t, void *s) {
    DO(r->d->event_record(r->d, r->e, s));
    return r->d->event_wait(r->d, t, r->e);
}

/* ---- done right ---- */

static gd_status right_streams(rig *r) {
    DO(add_one(r, r->s, r->a, r->b));
    DO(behind(r, r->t, r->s));
    DO(add_one(r, r->t, r->b, r->a));
    DO(behind(r, r->s, r->t));
    DO(r->d->copy(r->d, r->s, r->pinned, r->a, BYTES));
    DO(r->d->stream_sync(r->d, r->s));
    DO(r->d->host(r->d, r->pinned, BYTES, false));
    if (((float *)r->pinned)[7] != 9) GD_FAIL(INTERNAL, "record: 7 + 1 + 1 is %g", (double)((float *)r->pinned)[7]);
    return GD_OK;
}

static gd_status fork_and_join(rig *r, void **g) {
    DO(r->d->capture(r->d, r->s));
    DO(add_one(r, r->s, r->a, r->b));
    DO(behind(r, r->t, r->s));
    DO(add_one(r, r->t, r->b, r->a));
    DO(behind(r, r->s, r->t));
    return r->d->capture_end(r->d, r->s, g);
}

static gd_status right_graph(rig *r) {
    void *g;
    DO(fork_and_join(r, &g));
    for (int i = 0; i < 3; i++) DO(r->d->graph_launch(r->d, r->s, g));
    DO(r->d->copy(r->d, r->s, r->pinned, r->a, BYTES));
    DO(r->d->stream_sync(r->d, r->s));
    DO(r->d->host(r->d, r->pinned, BYTES, false));
    if (((float *)r->pinned)[7] != 13) GD_FAIL(INTERNAL, "record: 7 + 3 * 2 is %g", (double)((float *)r->pinned)[7]);
    return r->d->graph_free(r->d, g);
}

static gd_status right_ranks(rig *r) {
    for (int k = 0; k < 4; k++) {
        record_rank(r->d, k);
        DO(record_all_reduce(r->d, r->s, 1, r->a, COUNT));
        DO(record_all_reduce(r->d, r->s, 2, r->a, COUNT / 2));
    }
    return GD_OK;
}

/* ---- mistakes ---- */

static gd_status race_write(rig *r) {
    DO(add_one(r, r->s, r->a, r->b));
    return add_one(r, r->t, r->a, r->b);
}
static gd_status race_read(rig *r) {
    DO(add_one(r, r->s, r->a, r->b));
    return add_one(r, r->t, r->b, r->a);
}
static gd_status race_late_event(rig *r) {
    DO(r->d->event_record(r->d, r->e, r->s));
    DO(add_one(r, r->s, r->a, r->b));
    DO(r->d->event_wait(r->d, r->t, r->e));
    return add_one(r, r->t, r->b, r->a);
}
static gd_status host_reads_early(rig *r) {
    DO(r->d->copy(r->d, r->s, r->pinned, r->a, BYTES));
    return r->d->host(r->d, r->pinned, BYTES, false);
}
static gd_status host_overwrites(rig *r) {
    DO(r->d->copy(r->d, r->s, r->b, r->pinned, BYTES));
    return r->d->host(r->d, r->pinned, 64, true);
}
static gd_status host_on_device(rig *r) { return r->d->host(r->d, r->a, 4, false); }
static gd_status use_after_free(rig *r) {
    DO(r->d->free(r->d, r->a));
    return add_one(r, r->s, r->a, r->b);
}
static gd_status free_in_use(rig *r) {
    DO(add_one(r, r->s, r->a, r->b));
    return r->d->free(r->d, r->b);
}
static gd_status free_twice(rig *r) {
    DO(r->d->free(r->d, r->b));
    return r->d->free(r->d, r->b);
}
static gd_status out_of_bounds(rig *r) { return add_one(r, r->s, r->a, (char *)r->b + 64); }
static gd_status misaligned(rig *r) {
    void *arg[2] = {(char *)r->a + 4, r->b};
    const gd__cu_access access[2] = {{arg[0], 4, false}, {arg[1], 4, true}};
    return r->d->launch(r->d, r->s, r->kernel, 1, 2, arg, access);
}
static gd_status never_written(rig *r) { return add_one(r, r->s, r->b, r->a); }
static gd_status not_pinned(rig *r) {
    static float pageable[COUNT];
    return r->d->copy(r->d, r->s, pageable, r->a, BYTES);
}
static gd_status no_event(rig *r) { return r->d->event_wait(r->d, r->s, r->e); }
static gd_status captured_alloc(rig *r) {
    void *p;
    DO(r->d->capture(r->d, r->s));
    return r->d->alloc(r->d, 16, &p);
}
static gd_status captured_free(rig *r) {
    DO(r->d->capture(r->d, r->s));
    return r->d->free(r->d, r->b);
}
static gd_status captured_sync(rig *r) {
    DO(r->d->capture(r->d, r->s));
    return r->d->stream_sync(r->d, r->s);
}
static gd_status captured_event_sync(rig *r) {
    DO(r->d->event_record(r->d, r->e, r->t));
    DO(r->d->capture(r->d, r->s));
    return r->d->event_sync(r->d, r->e);
}
static gd_status captured_load(rig *r) {
    void *f;
    DO(r->d->capture(r->d, r->s));
    return r->d->load(r->d, &r->kernels.list[0], &f);
}
static gd_status captured_twice(rig *r) {
    DO(r->d->capture(r->d, r->s));
    return r->d->capture(r->d, r->t);
}
static gd_status captured_foreign_event(rig *r) {
    DO(r->d->event_record(r->d, r->e, r->t));
    DO(r->d->capture(r->d, r->s));
    return r->d->event_wait(r->d, r->s, r->e);
}
static gd_status not_joined(rig *r) {
    void *g = NULL;
    DO(r->d->capture(r->d, r->s));
    DO(behind(r, r->t, r->s));
    DO(add_one(r, r->t, r->a, r->b));
    gd_status st = r->d->capture_end(r->d, r->s, &g);
    r->d->graph_free(r->d, g);
    return st;
}
static gd_status race_in_graph(rig *r) {
    void *g = NULL;
    DO(r->d->capture(r->d, r->s));
    DO(behind(r, r->t, r->s));
    DO(add_one(r, r->t, r->a, r->b));
    DO(add_one(r, r->s, r->b, r->a));
    DO(behind(r, r->s, r->t));
    DO(r->d->capture_end(r->d, r->s, &g));
    gd_status st = r->d->graph_launch(r->d, r->s, g);
    r->d->graph_free(r->d, g);
    return st;
}
static gd_status graph_after_free(rig *r) {
    void *g;
    DO(fork_and_join(r, &g));
    DO(r->d->free(r->d, r->b));
    gd_status st = r->d->graph_launch(r->d, r->s, g);
    r->d->graph_free(r->d, g);
    return st;
}
static gd_status graph_beside_stream(rig *r) {
    void *g;
    DO(fork_and_join(r, &g));
    DO(r->d->graph_launch(r->d, r->s, g));
    gd_status st = add_one(r, r->t, r->a, r->b); /* t took part in the capture, and is not behind the launch */
    if (st == GD_OK) st = r->d->graph_launch(r->d, r->s, g);
    r->d->graph_free(r->d, g);
    return st;
}

/* Found at the end. */
static gd_status ranks_in_other_order(rig *r) {
    for (int k = 0; k < 4; k++) {
        record_rank(r->d, k);
        DO(record_all_reduce(r->d, r->s, k == 2 ? 2 : 1, r->a, COUNT));
        DO(record_all_reduce(r->d, r->s, k == 2 ? 1 : 2, r->a, COUNT));
    }
    return GD_OK;
}
static gd_status ranks_of_other_size(rig *r) {
    for (int k = 0; k < 4; k++) {
        record_rank(r->d, k);
        DO(record_all_reduce(r->d, r->s, 1, r->a, COUNT - (k == 3)));
    }
    return GD_OK;
}
static gd_status rank_leaves_one_out(rig *r) {
    for (int k = 0; k < 4; k++) {
        record_rank(r->d, k);
        DO(record_all_reduce(r->d, r->s, 1, r->a, COUNT));
        if (k != 1) DO(record_all_reduce(r->d, r->s, 1, r->a, COUNT));
    }
    return GD_OK;
}
static gd_status leaks(rig *r) {
    void *p;
    return r->d->alloc(r->d, 48, &p);
}

/* ---- communicators ---- */

enum { EACH = COUNT / 4 };

/* All four collectives of one rank, over a and b, which have been written. */
static gd_status put_four(rig *r, gd_device_comm *c, void *stream) {
    float *a = r->a, *b = r->b;
    DO(c->all_reduce(c, stream, a, COUNT));
    DO(c->reduce_scatter(c, stream, a, b, EACH));
    DO(c->all_gather(c, stream, b, a, EACH));
    return c->broadcast(c, stream, a, COUNT, 1);
}

/* What a rank does with its communicator. */
typedef gd_status (*ranked)(rig *r, gd_device_comm *c, int rank);
static gd_status with_ranks(rig *r, ranked run) {
    DO(add_one(r, r->s, r->a, r->b));
    for (int k = 0; k < 4; k++) {
        gd_device_comm *c = record_comm(r->d, 1, k);
        gd_error e;
        gd_status st = run(r, c, k);
        gd_error_save(st, &e);
        gd_status closed = c->close(c);
        if (st != GD_OK) return gd_error_restore(&e);
        DO(closed);
    }
    return GD_OK;
}

/* Eagerly, then as a graph that is launched twice. */
static gd_status work_right(rig *r, gd_device_comm *c, int rank) {
    void *g;
    (void)rank;
    DO(put_four(r, c, r->s));
    DO(c->wait(c, r->s, 1));
    DO(r->d->capture(r->d, r->s));
    DO(behind(r, r->t, r->s));
    DO(put_four(r, c, r->t));
    DO(c->poll(c));
    DO(behind(r, r->s, r->t));
    DO(r->d->capture_end(r->d, r->s, &g));
    for (int k = 0; k < 2; k++) DO(r->d->graph_launch(r->d, r->s, g));
    return r->d->graph_free(r->d, g);
}
static gd_status comms_right(rig *r) { return with_ranks(r, work_right); }

/* A mistake inside a capture; the capture is ended so that all can be freed. */
static gd_status inside_capture(rig *r, gd_device_comm *c, ranked wrong) {
    void *g;
    gd_error e;
    DO(r->d->capture(r->d, r->s));
    gd_status st = wrong(r, c, 0);
    gd_error_save(st, &e);
    DO(r->d->capture_end(r->d, r->s, &g));
    DO(r->d->graph_free(r->d, g));
    return gd_error_restore(&e);
}
static gd_status take_memory(rig *r, gd_device_comm *c, int rank) {
    void *p;
    (void)r, (void)rank;
    return c->alloc(c, 64, &p);
}
static gd_status wait_for_it(rig *r, gd_device_comm *c, int rank) {
    (void)rank;
    return c->wait(c, r->s, 1);
}
static gd_status close_another(rig *r, gd_device_comm *c, int rank) {
    gd_device_comm *other = record_comm(r->d, 2, rank);
    (void)c;
    return other->close(other);
}
static gd_status work_alloc(rig *r, gd_device_comm *c, int k) { return (void)k, inside_capture(r, c, take_memory); }
static gd_status work_wait(rig *r, gd_device_comm *c, int k) { return (void)k, inside_capture(r, c, wait_for_it); }
static gd_status work_close(rig *r, gd_device_comm *c, int k) { return (void)k, inside_capture(r, c, close_another); }
static gd_status comm_alloc_captured(rig *r) { return with_ranks(r, work_alloc); }
static gd_status comm_wait_captured(rig *r) { return with_ranks(r, work_wait); }
static gd_status comm_close_captured(rig *r) { return with_ranks(r, work_close); }

static gd_status comm_before_graph(rig *r) {
    void *g;
    gd_error e;
    gd_device_comm *c = record_comm(r->d, 1, 0);
    DO(r->d->capture(r->d, r->s));
    DO(c->all_reduce(c, r->s, r->a, COUNT));
    DO(r->d->capture_end(r->d, r->s, &g));
    gd_status st = c->close(c);
    gd_error_save(st, &e);
    DO(r->d->graph_free(r->d, g));
    return gd_error_restore(&e);
}

static gd_status work_after_abort(rig *r, gd_device_comm *c, int rank) {
    (void)rank;
    DO(c->abort(c));
    return c->all_reduce(c, r->s, r->a, COUNT);
}
static gd_status work_race(rig *r, gd_device_comm *c, int rank) {
    (void)rank;
    DO(c->all_reduce(c, r->t, r->b, COUNT)); /* s still writes b */
    return GD_OK;
}
static gd_status work_too_far(rig *r, gd_device_comm *c, int rank) {
    (void)rank;
    return c->all_gather(c, r->s, r->a, r->b, COUNT);
}
static gd_status work_other_kind(rig *r, gd_device_comm *c, int rank) {
    if (rank == 2) return c->all_gather(c, r->s, r->a, r->b, EACH);
    return c->reduce_scatter(c, r->s, r->a, r->b, EACH);
}
static gd_status work_other_root(rig *r, gd_device_comm *c, int rank) {
    return c->broadcast(c, r->s, r->a, COUNT, rank == 3);
}
/* Two communicators in one graph, in another order on rank 2: only launches count. */
static gd_status work_other_order(rig *r, gd_device_comm *c, int rank) {
    void *g;
    gd_device_comm *other = record_comm(r->d, 2, rank), *first = rank == 2 ? other : c, *second = rank == 2 ? c : other;
    DO(r->d->capture(r->d, r->s));
    DO(first->all_reduce(first, r->s, r->a, COUNT));
    DO(second->all_reduce(second, r->s, r->a, COUNT));
    DO(r->d->capture_end(r->d, r->s, &g));
    DO(r->d->graph_launch(r->d, r->s, g));
    DO(r->d->graph_free(r->d, g));
    return other->close(other);
}
static gd_status comm_after_abort(rig *r) { return with_ranks(r, work_after_abort); }
static gd_status comm_race(rig *r) { return with_ranks(r, work_race); }
static gd_status comm_too_far(rig *r) { return with_ranks(r, work_too_far); }
static gd_status comm_other_kind(rig *r) { return with_ranks(r, work_other_kind); }
static gd_status comm_other_root(rig *r) { return with_ranks(r, work_other_root); }
static gd_status comm_other_order(rig *r) { return with_ranks(r, work_other_order); }

typedef struct test {
    const char *name;
    gd_status (*run)(rig *r);
    const char *says; /* NULL: it is right */
} test;

static const test tests[] = {
    {"streams, right", right_streams, NULL},
    {"graph, right", right_graph, NULL},
    {"ranks, right", right_ranks, NULL},
    {"two streams write", race_write, "no event orders the two"},
    {"read beside a write", race_read, "no event orders the two"},
    {"event recorded too early", race_late_event, "no event orders the two"},
    {"host reads a copy under way", host_reads_early, "no event orders the two"},
    {"host overwrites what is copied", host_overwrites, "no event orders the two"},
    {"host touches the device", host_on_device, "memory of the device"},
    {"use after free", use_after_free, "memory that was freed"},
    {"free while in use", free_in_use, "may still use"},
    {"free twice", free_twice, "memory that was freed"},
    {"out of bounds", out_of_bounds, "of an allocation of"},
    {"misaligned", misaligned, "not aligned"},
    {"read before any write", never_written, "nobody wrote"},
    {"pageable memory", not_pinned, "not pinned"},
    {"event never recorded", no_event, "never recorded"},
    {"allocation in a capture", captured_alloc, "allocated while"},
    {"free in a capture", captured_free, "freed while"},
    {"stream waited for in a capture", captured_sync, "waits for a stream while"},
    {"event waited for in a capture", captured_event_sync, "waits for an event while"},
    {"load in a capture", captured_load, "loaded while"},
    {"capture in a capture", captured_twice, "begins while"},
    {"foreign event in a capture", captured_foreign_event, "outside of its capture"},
    {"fork without join", not_joined, "not joined"},
    {"race in a graph", race_in_graph, "no event orders the two"},
    {"graph after its memory", graph_after_free, "memory that was freed"},
    {"stream beside a graph", graph_beside_stream, "no event orders the two"},
    {"collectives in another order", ranks_in_other_order, "communicator"},
    {"collectives of another size", ranks_of_other_size, "elements on rank 0"},
    {"a collective left out", rank_leaves_one_out, "collectives, rank 1"},
    {"memory left", leaks, "never freed"},
    {"communicators, right", comms_right, NULL},
    {"communicator's memory, captured", comm_alloc_captured, "allocated while"},
    {"communicator waits, captured", comm_wait_captured, "waits for a stream while"},
    {"communicator ends, captured", comm_close_captured, "closed while a stream"},
    {"communicator before its graph", comm_before_graph, "closed before 1 graphs"},
    {"communicator after abort", comm_after_abort, "after its abort"},
    {"collective beside a kernel", comm_race, "no event orders the two"},
    {"collective out of bounds", comm_too_far, "of an allocation of"},
    {"another collective on a rank", comm_other_kind, "of kind 1 on rank 0 and of kind 2 on rank 2"},
    {"another root on a rank", comm_other_root, "has root 0 on rank 0 and root 1 on rank 3"},
    {"another order in a graph", comm_other_order, "of communicator 1 on rank 0 and of 2 on rank 2"},
};

static bool passes(const test *t) {
    rig r = {0};
    gd_status st = set_up(&r);
    if (st != GD_OK) {
        printf("FAIL %s: %s\n", t->name, gd_error_message());
        return false;
    }
    gd_error e;
    st = t->run(&r);
    gd_error_save(st, &e);
    if (st == GD_OK) st = tear_down(&r);
    gd_status end = record_end(r.d); /* only what is right, or wrong only there, got so far without an error */
    if (st == GD_OK && end != GD_OK) gd_error_save(st = end, &e);
    gd__cu_kernels_free(&r.kernels);
    if (r.e && st != GD_OK && !t->says) printf("%s\n", e.message);
    bool good = t->says ? st == GD_INTERNAL && strstr(e.message, "record:") && strstr(e.message, t->says) : st == GD_OK;
    printf("%-32s %s%s%s\n", t->name, good ? "ok" : "FAIL", st == GD_OK ? "" : ": ", st == GD_OK ? "" : e.message);
    return good;
}

int main(void) {
    int failed = 0, mistakes = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        mistakes += tests[i].says != NULL;
        failed += !passes(&tests[i]);
    }
    printf("%d mistakes planted, %d tests failed\n", mistakes, failed);
    return failed != 0;
}
