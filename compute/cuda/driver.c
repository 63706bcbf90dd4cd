/* compute/cuda/driver.c -- see driver.h. */
#include "compute/cuda/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/cuda/driver_api.h"
#include "compute/cuda/kernel.h"
#include "compute/cuda/library.h"

/* Bytes of arguments that a launch can pass on every device and driver. */
enum { ARGUMENT_BYTES = 4096, OLDEST = 80 };

typedef struct loaded {
    char name[24];
    CUmodule module;
    CUfunction function;
    int pointers;
} loaded;

typedef struct driver {
    gd__cu_device table; /* first: the executor has its address */
    gd__cu_api f;
    void *library;
    CUdevice device;
    CUcontext context; /* NULL: not retained */
    int number, count;
    int arch, urgent;  /* priority of urgent streams */
    gd__cu_compiler *compiler;
    gd__dnn *dnn;
    int n_kernels, room, n_pinned, pinned_room;
    loaded **kernel;
    void **pinned; /* what alloc_host gave and free has not taken */
} driver;

#define CALL(d, name, ...) GD_TRY(GD__CU_CALL(&(d)->f, name, __VA_ARGS__))

static driver *of(gd__cu_device *d) { return (driver *)d; }

gd_status gd__cu_check(const gd__cu_api *api, const char *function, CUresult r, const char *file, int line) {
    const char *name = NULL, *text = NULL;
    if (r == CUDA_SUCCESS) return GD_OK;
    if (api->cuGetErrorName(r, &name) != CUDA_SUCCESS || !name) name = "an unknown code";
    if (api->cuGetErrorString(r, &text) != CUDA_SUCCESS || !text) text = "no text";
    gd_status st = r == CUDA_ERROR_OUT_OF_MEMORY ? GD_NOMEM : GD_CUDA;
    return gd_raise(st, file, line, "cuda: %s: %s %d (%s)", function, name, (int)r, text);
}

/* A list of pointers gets room for one more. */
static gd_status reserve(void ***list, int n, int *room) {
    if (n < *room) return GD_OK;
    int more = *room ? 2 * *room : 16;
    void **at = realloc(*list, (size_t)more * sizeof *at);
    if (!at) GD_FAIL(NOMEM, "cuda: no memory for %d entries", more);
    *list = at;
    *room = more;
    return GD_OK;
}

/* ---- memory ---- */

static gd_status alloc(gd__cu_device *table, size_t bytes, void **out) {
    driver *d = of(table);
    CUdeviceptr at;
    CALL(d, cuMemAlloc_v2, &at, bytes ? bytes : 1);
    *out = (void *)(uintptr_t)at;
    return GD_OK;
}

static gd_status alloc_host(gd__cu_device *table, size_t bytes, void **out) {
    driver *d = of(table);
    GD_TRY(reserve(&d->pinned, d->n_pinned, &d->pinned_room));
    CALL(d, cuMemHostAlloc, out, bytes ? bytes : 1, CU_MEMHOSTALLOC_PORTABLE);
    d->pinned[d->n_pinned++] = *out;
    return GD_OK;
}

static gd_status release(gd__cu_device *table, void *memory) {
    driver *d = of(table);
    if (!memory) return GD_OK;
    for (int i = 0; i < d->n_pinned; i++)
        if (d->pinned[i] == memory) {
            d->pinned[i] = d->pinned[--d->n_pinned];
            return GD__CU_CALL(&d->f, cuMemFreeHost, memory);
        }
    return GD__CU_CALL(&d->f, cuMemFree_v2, (CUdeviceptr)(uintptr_t)memory);
}

static gd_status room(gd__cu_device *table, size_t *bytes) {
    size_t whole;
    return GD__CU_CALL(&of(table)->f, cuMemGetInfo_v2, bytes, &whole);
}

static gd_status copy(gd__cu_device *table, void *stream, void *to, const void *from, size_t bytes) {
    CUdeviceptr a = (CUdeviceptr)(uintptr_t)to, b = (CUdeviceptr)(uintptr_t)from;
    return GD__CU_CALL(&of(table)->f, cuMemcpyAsync, a, b, bytes, stream);
}

/* Pinned memory is the host's own; the order of accesses is the caller's business. */
static gd_status host(gd__cu_device *table, const void *at, size_t bytes, bool written) {
    (void)table, (void)at, (void)bytes, (void)written;
    return GD_OK;
}

/* ---- streams and events ---- */

static gd_status stream_new(gd__cu_device *table, bool urgent, void **out) {
    driver *d = of(table);
    CUstream s;
    CALL(d, cuStreamCreateWithPriority, &s, CU_STREAM_NON_BLOCKING, urgent ? d->urgent : 0);
    *out = s;
    return GD_OK;
}

static gd_status stream_free(gd__cu_device *table, void *stream) {
    return GD__CU_CALL(&of(table)->f, cuStreamDestroy_v2, stream);
}

static gd_status stream_sync(gd__cu_device *table, void *stream) {
    return GD__CU_CALL(&of(table)->f, cuStreamSynchronize, stream);
}

static gd_status event_new(gd__cu_device *table, void **out) {
    CUevent e;
    CALL(of(table), cuEventCreate, &e, CU_EVENT_DISABLE_TIMING);
    *out = e;
    return GD_OK;
}

static gd_status event_free(gd__cu_device *table, void *event) {
    return GD__CU_CALL(&of(table)->f, cuEventDestroy_v2, event);
}

static gd_status event_record(gd__cu_device *table, void *event, void *stream) {
    return GD__CU_CALL(&of(table)->f, cuEventRecord, event, stream);
}

static gd_status event_wait(gd__cu_device *table, void *stream, void *event) {
    return GD__CU_CALL(&of(table)->f, cuStreamWaitEvent, stream, event, 0);
}

static gd_status event_sync(gd__cu_device *table, void *event) {
    return GD__CU_CALL(&of(table)->f, cuEventSynchronize, event);
}

static gd_status event_done(gd__cu_device *table, void *event, bool *done) {
    CUresult r = of(table)->f.cuEventQuery(event);
    *done = r == CUDA_SUCCESS;
    return r == CUDA_ERROR_NOT_READY ? GD_OK : gd__cu_check(&of(table)->f, "cuEventQuery", r, __FILE__, __LINE__);
}

/* ---- kernels ---- */

static gd_status load_code(driver *d, const gd__cu_kernel *k, loaded *l) {
    gd__cu_code code;
    GD_TRY(gd__cu_compile(d->compiler, k, d->arch, &code));
    gd_status st = GD__CU_CALL(&d->f, cuModuleLoadData, &l->module, code.cubin);
    gd__cu_code_free(&code);
    if (st != GD_OK) {
        gd_context(st, "kernel %s", k->name);
        return gd_trace(st, __FILE__, __LINE__);
    }
    st = GD__CU_CALL(&d->f, cuModuleGetFunction, &l->function, l->module, k->name);
    if (st == GD_OK) return GD_OK;
    (void)d->f.cuModuleUnload(l->module); /* the first error is the one that matters */
    return gd_context(st, "kernel %s", k->name);
}

static gd_status load(gd__cu_device *table, const gd__cu_kernel *k, void **function) {
    driver *d = of(table);
    for (int i = 0; i < d->n_kernels; i++)
        if (!strcmp(d->kernel[i]->name, k->name)) {
            *function = d->kernel[i];
            return GD_OK;
        }
    if ((size_t)k->pointers * sizeof(void *) > ARGUMENT_BYTES)
        GD_FAIL(UNSUP, "cuda: kernel %s has %d arguments; expected at most %d", k->name, k->pointers,
                (int)(ARGUMENT_BYTES / sizeof(void *)));
    void **list = (void **)d->kernel;
    GD_TRY(reserve(&list, d->n_kernels, &d->room));
    d->kernel = (loaded **)list;
    loaded *l = calloc(1, sizeof *l);
    if (!l) GD_FAIL(NOMEM, "cuda: no memory for a kernel");
    memcpy(l->name, k->name, sizeof l->name);
    l->pointers = k->pointers;
    gd_status st = load_code(d, k, l);
    if (st != GD_OK) {
        free(l);
        return gd_trace(st, __FILE__, __LINE__);
    }
    d->kernel[d->n_kernels++] = l;
    *function = l;
    return GD_OK;
}

/* A kernel takes one struct of pointers. */
static gd_status launch(gd__cu_device *table, void *stream, void *function, uint32_t grid, int n, void *const *arg,
                        const gd__cu_access *access) {
    driver *d = of(table);
    const loaded *l = function;
    void *parameter[1] = {(void *)(uintptr_t)arg};
    (void)access;
    if (n != l->pointers) GD_FAIL(INTERNAL, "cuda: %s with %d arguments; expected %d", l->name, n, l->pointers);
    gd_status st =
        GD__CU_CALL(&d->f, cuLaunchKernel, l->function, grid, 1, 1, GD_THREADS, 1, 1, 0, stream, parameter, NULL);
    return st == GD_OK ? GD_OK : gd_context(st, "kernel %s", l->name);
}

/* ---- convolutions ---- */

static gd_status plan(gd__cu_device *table, const char *layer, const gd__dnn_conv *c, void **out, size_t *workspace) {
    driver *d = of(table);
    gd__dnn_plan *p = malloc(sizeof *p);
    if (!p) GD_FAIL(NOMEM, "cuda: no memory for a plan");
    gd_status st = gd__dnn_make(d->dnn, layer, c, p);
    if (st != GD_OK) {
        free(p);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = p;
    *workspace = p->workspace;
    return GD_OK;
}

static gd_status plan_free(gd__cu_device *table, void *p) {
    gd__dnn_plan_free(of(table)->dnn, p);
    free(p);
    return GD_OK;
}

static gd_status convolve(gd__cu_device *table, void *stream, void *p, void *const arg[4],
                          const gd__cu_access access[4]) {
    (void)access;
    return gd__dnn_run(of(table)->dnn, p, stream, arg[0], arg[1], arg[2], arg[3]);
}

/* ---- graphs ---- */

static gd_status capture(gd__cu_device *table, void *stream) {
    return GD__CU_CALL(&of(table)->f, cuStreamBeginCapture_v2, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

static gd_status capture_end(gd__cu_device *table, void *stream, void **out) {
    driver *d = of(table);
    CUgraph graph = NULL;
    CUgraphExec exec;
    CALL(d, cuStreamEndCapture, stream, &graph);
    gd_status st = GD__CU_CALL(&d->f, cuGraphInstantiateWithFlags, &exec, graph, 0);
    CUresult gone = d->f.cuGraphDestroy(graph); /* its executable form does not need it */
    if (st != GD_OK) return st;
    if (gone != CUDA_SUCCESS) {
        (void)d->f.cuGraphExecDestroy(exec);
        return gd__cu_check(&d->f, "cuGraphDestroy", gone, __FILE__, __LINE__);
    }
    *out = exec;
    return GD_OK;
}

static gd_status graph_launch(gd__cu_device *table, void *stream, void *graph) {
    return GD__CU_CALL(&of(table)->f, cuGraphLaunch, graph, stream);
}

static gd_status graph_free(gd__cu_device *table, void *graph) {
    return GD__CU_CALL(&of(table)->f, cuGraphExecDestroy, graph);
}

/* ---- opening ---- */

static gd_status open_library(driver *d) {
    static const char *const names[] = {"libcuda.so.1", NULL};
    static const gd__cu_symbol symbols[] = {
#define ROW(name) {#name, offsetof(gd__cu_api, name)},
        GD__CU_FUNCTIONS(ROW)
#undef ROW
    };
    gd_status st = gd__cu_library_open(names, symbols, (int)(sizeof symbols / sizeof *symbols), &d->f, &d->library);
    return st == GD_OK ? GD_OK : gd_context(st, "no NVIDIA driver");
}

static gd_status choose_device(driver *d, int number, bool wrap) {
    int count = 0, major = 0, minor = 0;
    CUresult r = d->f.cuInit(0);
    if (r == CUDA_ERROR_NO_DEVICE) GD_FAIL(UNSUP, "cuda: the driver finds no GPU");
    GD_TRY(gd__cu_check(&d->f, "cuInit", r, __FILE__, __LINE__));
    CALL(d, cuDeviceGetCount, &count);
    if (count == 0) GD_FAIL(UNSUP, "cuda: the driver finds no GPU");
    if (wrap) number %= count;
    if (number < 0 || number >= count)
        GD_FAIL(UNSUP, "cuda: there is no GPU %d; expected 0 to %d (CUDA_VISIBLE_DEVICES chooses which are shown)",
                number, count - 1);
    d->number = number;
    d->count = count;
    CALL(d, cuDeviceGet, &d->device, number);
    CALL(d, cuDeviceGetAttribute, &major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, d->device);
    CALL(d, cuDeviceGetAttribute, &minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, d->device);
    d->arch = 10 * major + minor;
    if (d->arch < OLDEST)
        GD_FAIL(UNSUP, "cuda: GPU %d has compute capability %d.%d; expected 8.0 or newer", number, major, minor);
    CALL(d, cuDevicePrimaryCtxRetain, &d->context, d->device);
    CALL(d, cuCtxSetCurrent, d->context);
    CALL(d, cuCtxGetStreamPriorityRange, NULL, &d->urgent);
    return GD_OK;
}

static void fill_table(gd__cu_device *t) {
    *t = (gd__cu_device){.name = "cuda",
                         .alloc = alloc,
                         .alloc_host = alloc_host,
                         .free = release,
                         .room = room,
                         .stream_new = stream_new,
                         .stream_free = stream_free,
                         .stream_sync = stream_sync,
                         .event_new = event_new,
                         .event_free = event_free,
                         .event_record = event_record,
                         .event_wait = event_wait,
                         .event_sync = event_sync,
                         .event_done = event_done,
                         .copy = copy,
                         .host = host,
                         .load = load,
                         .launch = launch,
                         .plan = plan,
                         .plan_free = plan_free,
                         .convolve = convolve,
                         .capture = capture,
                         .capture_end = capture_end,
                         .graph_launch = graph_launch,
                         .graph_free = graph_free};
}

gd_status gd__cu_driver_open(const gd__cu_driver_opts *o, gd__cu_device **out) {
    const gd__dnn_opts dnn = {.cache = o->cache, .nondeterministic = o->nondeterministic};
    gd_error why;
    gd_status st = GD_OK;
    driver *d = calloc(1, sizeof *d);
    if (!d) GD_FAIL(NOMEM, "cuda: no memory");
    fill_table(&d->table);
    GD_TRY_TO(err_close, open_library(d));
    GD_TRY_TO(err_close, choose_device(d, o->device, o->wrap));
    GD_TRY_TO(err_close, gd__cu_compiler_open(o->cache, &d->compiler));
    GD_TRY_TO(err_close, gd__dnn_open(&dnn, &d->dnn));
    *out = &d->table;
    return GD_OK;
err_close:
    gd_error_save(st, &why);
    if (gd__cu_driver_close(&d->table) != GD_OK) gd_error_clear(); /* the first error is the one that matters */
    return gd_error_restore(&why);
}

gd_status gd__cu_driver_close(gd__cu_device *table) {
    driver *d = of(table);
    CUresult first = CUDA_SUCCESS;
    gd_status st = GD_OK;
    if (!d) return GD_OK;
    gd__dnn_close(d->dnn);
    gd__cu_compiler_close(d->compiler);
    for (int i = 0; i < d->n_kernels; i++) {
        CUresult r = d->f.cuModuleUnload(d->kernel[i]->module);
        if (first == CUDA_SUCCESS) first = r;
        free(d->kernel[i]);
    }
    if (first != CUDA_SUCCESS) st = gd__cu_check(&d->f, "cuModuleUnload", first, __FILE__, __LINE__);
    if (d->context) {
        gd_status gone = GD__CU_CALL(&d->f, cuDevicePrimaryCtxRelease_v2, d->device);
        if (st == GD_OK) st = gone;
    }
    free(d->kernel);
    free(d->pinned);
    gd__cu_library_close(d->library);
    free(d);
    return st;
}

gd_status gd__cu_driver_facts(gd__cu_device *table, gd__cu_facts *out) {
    driver *d = of(table);
    *out = (gd__cu_facts){
        .number = d->number, .count = d->count, .arch = d->arch, .nvrtc = gd__cu_compiler_version(d->compiler), .cudnn = gd__dnn_version(d->dnn)};
    CALL(d, cuDeviceGetName, out->name, sizeof out->name, d->device);
    CALL(d, cuDeviceGetPCIBusId, out->bus, (int)sizeof out->bus, d->device);
    CALL(d, cuMemGetInfo_v2, &out->free, &out->memory);
    CALL(d, cuDriverGetVersion, &out->driver);
    return GD_OK;
}

gd_status gd__cu_driver_properties(gd__cu_device *table, char **json) { return gd__dnn_device(of(table)->dnn, json); }

bool gd__cu_driver_times_plans(gd__cu_device *table) { return gd__dnn_times(of(table)->dnn); }

gd_status gd__cu_driver_plans(gd__cu_device *table, char **text) { return gd__dnn_export(of(table)->dnn, text); }
gd_status gd__cu_driver_take_plans(gd__cu_device *table, const void *text, size_t bytes) {
    return gd__dnn_import(of(table)->dnn, text, bytes);
}
void gd__cu_driver_plans_summary(gd__cu_device *table, char out[128]) { gd__dnn_summary(of(table)->dnn, out); }
