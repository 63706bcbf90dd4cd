/* tests/gpu/nccl.c -- NCCL on the GPU that is here: a communicator of one rank for G and one for D, their collectives eager and captured,
 * with memory of NCCL's that is registered, an exchange of gradients and one of batch statistics. Only one rank: NCCL refuses two on one GPU. Ends with 77 and the reason where
 * there is no GPU or no NCCL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ops/harness.h"
#include "compute/cuda/driver.h"
#include "compute/cuda/exchange.h"
#include "compute/cuda/nccl.h"

enum { COUNT = 1 << 20, BYTES = COUNT * 4, LAUNCHES = 3 };

static gd__cu_device *device;
static void *stream;
static float *pinned;

static gd_device_comm *join(const char *name) {
    unsigned char id[GD_DEVICE_COMM_ID];
    gd_device_comm *c;
    const gd_device_comm_opts o = {.name = name, .size = 1, .id = id, .most_blocks = 16};
    ops_need(gd__nccl.make_id(id), "id");
    ops_need(gd__nccl.open(&o, &c), name);
    return c;
}

static gd_status put_all(gd_device_comm *c, float *a) {
    GD_TRY(c->all_reduce(c, stream, a, COUNT));
    GD_TRY(c->reduce_scatter(c, stream, a, a, COUNT));
    GD_TRY(c->all_gather(c, stream, a, a, COUNT));
    GD_TRY(c->broadcast(c, stream, a, COUNT, 0));
    const int64_t border[] = {0, COUNT};
    GD_TRY(c->reduce_parts(c, stream, a, border));
    return c->gather_parts(c, stream, a, border);
}

static void send(float *a, int round) {
    for (int i = 0; i < COUNT; i++) pinned[i] = (float)(i % 1000 + round);
    ops_need(device->copy(device, stream, a, pinned, BYTES), "copy");
    ops_need(device->stream_sync(device, stream), "sync");
}

static bool is_right(gd_device_comm *c, float *a, int round) {
    memset(pinned, 0, BYTES);
    ops_need(c->wait(c, stream, 20), "wait");
    ops_need(device->copy(device, stream, pinned, a, BYTES), "copy");
    ops_need(device->stream_sync(device, stream), "sync");
    for (int i = 0; i < COUNT; i++)
        if (pinned[i] != (float)(i % 1000 + round)) return false;
    return true;
}

static int check(gd_device_comm *const c[2], float *const a[2]) {
    void *graph;
    int wrong = 0;
    for (int k = 0; k < 2; k++) {
        send(a[k], k);
        ops_need(put_all(c[k], a[k]), "eager");
        wrong += !is_right(c[k], a[k], k);
    }
    ops_need(device->capture(device, stream), "capture");
    for (int k = 0; k < 2; k++) ops_need(put_all(c[k], a[k]), "captured");
    ops_need(device->capture_end(device, stream, &graph), "capture");
    for (int round = 0; round < LAUNCHES; round++) {
        for (int k = 0; k < 2; k++) send(a[k], 10 * round + k);
        ops_need(device->graph_launch(device, stream, graph), "launch");
        for (int k = 0; k < 2; k++) wrong += !is_right(c[k], a[k], 10 * round + k);
    }
    ops_need(device->graph_free(device, graph), "graph");
    return wrong;
}

/* Rounds of an exchange beside the steps, as trainings have them: of one rank the gradients themselves. */
static int check_exchange(bool sliced) {
    unsigned char id[GD_EXCHANGE_ID];
    const size_t slice[] = {0, COUNT};
    const gd_exchange_opts o = {
        .name = "gradients", .size = 1, .id = id, .bucket = COUNT / 3, .seconds = 20, .slice = sliced ? slice : NULL};
    gd_exchange *x;
    void *at;
    int wrong = 0;
    double waited;
    ops_need(gd__nccl.make_id(id), "id");
    ops_need(gd__cu_exchange_open(device, stream, &gd__nccl, &o, &x), "exchange");
    ops_need(gd__cu_exchange_alloc(x, BYTES, &at), "alloc");
    for (int round = 0; round < LAUNCHES; round++) {
        send(at, round);
        ops_need(gd__cu_exchange_begin(x, at, COUNT), "begin");
        ops_need(gd__cu_exchange_ready(x, COUNT / 2, COUNT), "ready"); /* two buckets of four begin */
        ops_need(gd__cu_exchange_all_ready(x), "ready");
        ops_need(gd__cu_exchange_end(x), "end");
        if (sliced) ops_need(gd__cu_exchange_share(x, at, slice), "share");
        memset(pinned, 0, BYTES);
        ops_need(device->copy(device, stream, pinned, at, BYTES), "copy");
        if (round) ops_need(gd__cu_exchange_settle(x, &waited), "settle"); /* the first is over when the stream is */
        ops_need(device->stream_sync(device, stream), "sync");
        for (int i = 0; i < COUNT; i++) wrong += pinned[i] != (float)(i % 1000 + round);
    }
    ops_need(gd__cu_exchange_close(x, false), "close");
    return wrong;
}

static void put_among(gd_exchange *x, float *at) {
    ops_need(gd__cu_exchange_sum(x, at, COUNT), "sum");
    ops_need(gd__cu_exchange_gather(x, at, BYTES, at), "gather");
}

static int count_wrong(const float *at, int round) {
    int wrong = 0;
    memset(pinned, 0, BYTES);
    ops_need(device->copy(device, stream, pinned, at, BYTES), "copy");
    ops_need(device->stream_sync(device, stream), "sync");
    for (int i = 0; i < COUNT; i++) wrong += pinned[i] != (float)(i % 1000 + round);
    return wrong;
}

/* Sums among the steps, in memory that is not NCCL's, eager and captured, as those of batch statistics; and an end in the midst
 * of a graph's run, which is freed before: nothing waits for it. */
static int check_among(bool abort) {
    unsigned char id[GD_EXCHANGE_ID];
    const gd_exchange_opts o = {.name = "batch statistics", .size = 1, .id = id, .seconds = 20};
    gd_exchange *x;
    void *at, *graph;
    int wrong = 0;
    ops_need(gd__nccl.make_id(id), "id");
    ops_need(gd__cu_exchange_open(device, stream, &gd__nccl, &o, &x), "exchange");
    ops_need(device->alloc(device, BYTES, &at), "alloc");
    send(at, 0);
    put_among(x, at);
    wrong += count_wrong(at, 0);
    ops_need(device->capture(device, stream), "capture");
    put_among(x, at);
    ops_need(device->capture_end(device, stream, &graph), "capture");
    for (int round = 1; round <= LAUNCHES; round++) {
        send(at, round);
        ops_need(device->graph_launch(device, stream, graph), "launch");
        if (abort && round == LAUNCHES) break;
        put_among(x, at); /* others between launches of a graph */
        wrong += count_wrong(at, round);
    }
    ops_need(device->graph_free(device, graph), "graph");
    ops_need(gd__cu_exchange_close(x, abort), "close");
    ops_need(device->free(device, at), "free");
    return wrong;
}

int main(void) {
    const gd__cu_driver_opts o = {0};
    int version = 0;
    gd_device_comm *c[2];
    void *a[2], *host;
    gd_status st = gd__cu_driver_open(&o, &device);
    if (st == GD_OK && gd__nccl.version(&version) == GD_UNSUP) st = GD_UNSUP;
    if (st == GD_UNSUP) {
        printf("skipped: %s\n", gd_error_message());
        return 77;
    }
    ops_need(st, "GPU");
    ops_need(device->stream_new(device, false, &stream), "stream");
    ops_need(device->alloc_host(device, BYTES, &host), "pinned");
    pinned = host;
    c[0] = join("G");
    c[1] = join("D");
    for (int k = 0; k < 2; k++) ops_need(c[k]->alloc(c[k], BYTES, &a[k]), "alloc");
    int wrong = check(c, (float *const[2]){a[0], a[1]});
    for (int k = 0; k < 2; k++) ops_need(c[k]->close(c[k]), "close");
    wrong += check_exchange(false) + check_exchange(true);
    wrong += check_among(false) + check_among(true);
    ops_need(device->free(device, host), "free");
    ops_need(device->stream_free(device, stream), "stream");
    ops_need(gd__cu_driver_close(device), "close");
    printf("NCCL %d, 1 rank, 2 communicators, 6 collectives eager and captured, exchanges, %d wrong\n", version, wrong);
    return wrong != 0;
}
