/* compute/cuda/plugin.c -- see plugin.h. */
#include "compute/cuda/plugin.h"

#include <stdio.h>

#include "compute/cuda/driver.h"
#include "compute/cuda/exchange.h"
#include "compute/cuda/executor.h"
#include "compute/cuda/nccl.h"
#include "sources_id.h"

static gd__cu_device *device; /* that is open */
static int gpus;
static char bus[32];

static gd_status describe(gd__cu_device *d, char *text, size_t room) {
    gd__cu_facts f;
    char which[48] = "";
    GD_TRY(gd__cu_driver_facts(d, &f));
    gpus = f.count;
    snprintf(bus, sizeof bus, "%s", f.bus);
    if (f.count > 1) snprintf(which, sizeof which, "GPU %d of %d, ", f.number, f.count);
    snprintf(text, room, "%s%s, %.0f GiB, capability %d.%d, CUDA %d.%d, cuDNN %zu.%zu", which, f.name,
             (double)f.memory / (1 << 30), f.arch / 10, f.arch % 10, f.driver / 1000, f.driver % 1000 / 10,
             f.cudnn / 10000, f.cudnn / 100 % 100);
    return GD_OK;
}

/* Closes d and returns st, with its message; where st is OK, how closing went. */
static gd_status close_after(gd__cu_device *d, gd_status st) {
    gd_error why;
    gd_error_save(st, &why);
    gd_status closed = gd__cu_driver_close(d);
    if (st != GD_OK) return gd_error_restore(&why);
    return closed == GD_OK ? GD_OK : gd_trace(closed, __FILE__, __LINE__);
}

static gd_status look(int number, char *text, size_t room) {
    const gd__cu_driver_opts o = {.device = number};
    gd__cu_device *d;
    GD_TRY(gd__cu_driver_open(&o, &d));
    return close_after(d, describe(d, text, room));
}

static bool probe(int number, char *text, size_t room) {
    if (look(number, text, room) == GD_OK) return true;
    snprintf(text, room, "%s", gd_error_message());
    gd_error_clear();
    return false;
}

static gd_status start(const gd_cuda_open *o, gd__cu_device *d, const gd_executor **out, char *text, size_t room) {
    GD_TRY(describe(d, text, room));
    return gd__cu_executor_open(d, o->tf32 ? GD__DNN_TF32 : GD__DNN_F32, out);
}

static gd_status open_device(const gd_cuda_open *o, const gd_executor **out, char *text, size_t room) {
    const gd__cu_driver_opts driver = {
        .device = o->device, .wrap = true, .cache = o->cache, .nondeterministic = o->nondeterministic};
    gd__cu_device *d;
    if (device) GD_FAIL(INTERNAL, "cuda: there is a device already");
    GD_TRY(gd__cu_driver_open(&driver, &d));
    gd_status st = start(o, d, out, text, room);
    if (st != GD_OK) return close_after(d, st);
    device = d;
    return GD_OK;
}

static gd_status close_device(void) {
    gd__cu_device *d = device;
    if (!d) return GD_OK;
    device = NULL;
    return close_after(d, gd__cu_executor_close());
}

/* ---- plans ---- */

static bool times_plans(void) { return device && gd__cu_driver_times_plans(device); }

static gd_status plans(char **text) {
    if (!device) GD_FAIL(INTERNAL, "cuda: there is no device");
    return gd__cu_driver_plans(device, text);
}

static gd_status take_plans(const void *text, size_t bytes) {
    if (!device) GD_FAIL(INTERNAL, "cuda: there is no device");
    return gd__cu_driver_take_plans(device, text, bytes);
}

static void plans_text(char *text, size_t room) {
    char summary[128] = "";
    if (device) gd__cu_driver_plans_summary(device, summary);
    snprintf(text, room, "%s", summary);
}

/* ---- gradients ---- */

static gd_status open_exchange(const gd_exchange_opts *o, gd_exchange **out) {
    if (!device) GD_FAIL(INTERNAL, "cuda: there is no device");
    return gd__cu_exchange_open(device, gd__cu_stream(), &gd__nccl, o, out);
}

static gd_status make_id(unsigned char id[GD_EXCHANGE_ID]) { return gd__nccl.make_id(id); }

static const gd_exchanges exchanges = {make_id,
                                       open_exchange,
                                       gd__cu_exchange_alloc,
                                       gd__cu_exchange_begin,
                                       gd__cu_exchange_ready,
                                       gd__cu_exchange_all_ready,
                                       gd__cu_exchange_end,
                                       gd__cu_exchange_settle,
                                       gd__cu_exchange_sum,
                                       gd__cu_exchange_gather,
                                       gd__cu_exchange_share,
                                       gd__cu_exchange_journal,
                                       gd__cu_exchange_same,
                                       gd__cu_exchange_close};

static int count(void) { return gpus; }
static const char *bus_of(void) { return bus; }
static void error(char *text, size_t room) { snprintf(text, room, "%s", gd_error_message()); }

__attribute__((visibility("default"))) extern const gd_cuda_plugin gandist_cuda_plugin;
const gd_cuda_plugin gandist_cuda_plugin = {
    .interface = GD_CUDA_PLUGIN_INTERFACE,
    .version = GANDIST_VERSION,
    .sources = GD_SOURCES_ID,
    .probe = probe,
    .open = open_device,
    .gpus = count,
    .bus = bus_of,
    .close = close_device,
    .error = error,
    .comms = &gd__nccl,
    .exchanges = &exchanges,
    .times_plans = times_plans,
    .plans = plans,
    .take_plans = take_plans,
    .plans_text = plans_text,
};
