/* tests/cuda/fake_driver.c -- libcuda on the host. See fake.h. */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake.h"
#include "fake_code.h"

typedef struct graph {
    int n, room;
    fake_work **work;
} graph;

struct CUstream_st {
    CUstream next;  /* of all */
    graph *capture; /* NULL: none */
    bool broken;    /* what may not be captured was asked for meanwhile */
    bool failed;    /* so did work that came later than the call which put it here */
    graph waits;    /* work that is not done yet */
};
struct CUevent_st {
    graph *captured;           /* recorded in this capture */
    unsigned long asked, done; /* records put on streams, and reached */
    double at;                 /* microseconds                        */
    int pending;               /* works that know it */
    bool dead;
};

/* ---- counting and failing ---- */

static int calls, fail_at, live, ran;
static double device_clock; /* microseconds */
static const char *failed;
static CUstream capturing, streams;

void fake_fail_at(int call) {
    calls = 0;
    fail_at = call;
    failed = NULL;
}
int fake_calls(void) { return calls; }
const char *fake_failed(void) { return failed; }
int fake_live(void) { return live; }
void fake_count_live(int change) { live += change; }

int fake_ran(void) { return ran; }
void fake_pass(double microseconds) {
    device_clock += microseconds;
    ran++;
}

bool fake_call(const char *function) {
    if (++calls != fail_at) return false;
    failed = function;
    return true;
}

bool fake_is(const char *what) {
    const char *is = getenv("FAKE_CUDA");
    return is && !strcmp(is, what);
}

#define MAY_FAIL                                                                                                       \
    if (fake_call(__func__)) return CUDA_ERROR_UNKNOWN
/* Thread-local capture forbids it. */
#define NOT_CAPTURED                                                                                                   \
    if (capturing) return capturing->broken = true, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED

/* ---- devices ---- */

CUresult cuInit(unsigned flags) {
    MAY_FAIL;
    (void)flags;
    return fake_is("none") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
    MAY_FAIL;
    *version = 13000;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name) {
    *name = error == CUDA_ERROR_UNKNOWN                      ? "CUDA_ERROR_UNKNOWN"
            : error == CUDA_ERROR_OUT_OF_MEMORY              ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
            : error == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED ? "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
                                                             : "CUDA_ERROR_INVALID_VALUE";
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    (void)error;
    *text = "the fake was told to";
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
    MAY_FAIL;
    *count = 1;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    MAY_FAIL;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int room, CUdevice device) {
    MAY_FAIL;
    (void)device;
    strncpy(name, "fake GPU", (size_t)room);
    return CUDA_SUCCESS;
}

/* FAKE_BUS: the number of the GPU among those of the host. */
CUresult cuDeviceGetPCIBusId(char *text, int room, CUdevice device) {
    const char *bus = getenv("FAKE_BUS");
    MAY_FAIL;
    (void)device;
    snprintf(text, (size_t)room, "0000:%02d:00.0", bus ? atoi(bus) : 1);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute a, CUdevice device) {
    MAY_FAIL;
    (void)device;
    *value = a == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? fake_is("old") ? 7 : 9 : 0;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    MAY_FAIL;
    (void)device;
    live++;
    *context = (CUcontext)(uintptr_t)16;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    live--;
    MAY_FAIL;
    (void)device;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    MAY_FAIL;
    return (uintptr_t)context == 16 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    MAY_FAIL;
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
}

/* ---- memory: as much is written as was asked for, so that a sanitizer sees what is too far ---- */

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
    MAY_FAIL;
    *available = *total = (size_t)1 << 30;
    return CUDA_SUCCESS;
}

/* What was asked for, ever: of the device, of pinned memory. FAKE_MEMORY is the file that says so in the end. */
static size_t asked[2];

__attribute__((destructor)) static void tell_memory(void) {
    const char *path = getenv("FAKE_MEMORY");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "%zu %zu\n", asked[0], asked[1]);
    fclose(f);
}

static void *take(size_t bytes, bool pinned) {
    void *at = NULL;
    if (posix_memalign(&at, 256, bytes)) return NULL;
    memset(at, 0xff, bytes);
    live++;
    asked[pinned] += bytes;
    return at;
}

static void give(void *at) {
    if (at) live--;
    free(at);
}

void *fake_take(size_t bytes) {
    if (capturing) capturing->broken = true;
    return capturing ? NULL : take(bytes, false);
}

bool fake_give(void *at) {
    if (capturing) capturing->broken = true;
    else give(at);
    return !capturing;
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes) {
    NOT_CAPTURED;
    if (fake_call(__func__)) return CUDA_ERROR_OUT_OF_MEMORY;
    void *at = take(bytes, false);
    *out = (CUdeviceptr)(uintptr_t)at;
    return at ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFree_v2(CUdeviceptr at) {
    NOT_CAPTURED;
    give((void *)(uintptr_t)at);
    MAY_FAIL;
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned flags) {
    (void)flags;
    NOT_CAPTURED;
    if (fake_call(__func__)) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = take(bytes, true);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFreeHost(void *at) {
    NOT_CAPTURED;
    give(at);
    MAY_FAIL;
    return CUDA_SUCCESS;
}

CUresult cuMemsetD32Async(CUdeviceptr at, unsigned value, size_t count, CUstream s) {
    MAY_FAIL;
    if (s->capture) return CUDA_ERROR_INVALID_VALUE; /* the executor never does it there */
    for (size_t i = 0; i < count; i++) memcpy((char *)(uintptr_t)at + 4 * i, &value, 4);
    return CUDA_SUCCESS;
}

/* ---- work ---- */

static bool keep(graph *g, const fake_work *w) {
    if (g->n == g->room) {
        int room = g->room ? 2 * g->room : 64;
        fake_work **work = realloc(g->work, (size_t)room * sizeof(void *));
        if (!work) return false;
        g->work = work;
        g->room = room;
    }
    g->work[g->n] = malloc(sizeof *w);
    if (!g->work[g->n]) return false;
    *g->work[g->n++] = *w;
    return true;
}

static bool is_ready(fake_work *w) { return !w->ready || w->ready(w); }

/* Does what can be done, in order. */
static void advance(CUstream s) {
    int n = 0;
    for (; n < s->waits.n && is_ready(s->waits.work[n]); n++) {
        if (!s->waits.work[n]->run(s->waits.work[n])) s->failed = true;
        free(s->waits.work[n]);
    }
    s->waits.n -= n;
    if (n) memmove(s->waits.work, s->waits.work + n, (size_t)s->waits.n * sizeof *s->waits.work);
}

static void advance_all(void) {
    for (CUstream s = streams; s; s = s->next) advance(s);
}

static void rest(void) {
    const struct timespec little = {.tv_nsec = 50000};
    nanosleep(&little, NULL);
}

bool fake_put(void *stream, const fake_work *w) {
    CUstream s = stream;
    fake_work now = *w;
    if (s->capture) {
        if (now.in_graph) now.in_graph(&now, 1);
        return keep(s->capture, w);
    }
    now.in_graph = NULL;
    advance_all();
    if (!s->waits.n && is_ready(&now)) return now.run(&now);
    return keep(&s->waits, &now);
}

static bool run_copy(fake_work *w) {
    memmove(w->arg[0], w->arg[1], (size_t)w->arg[2]);
    return true;
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) {
    MAY_FAIL;
    const fake_work w = {.run = run_copy, .arg = {(void *)(uintptr_t)to, (void *)(uintptr_t)from, (void *)bytes}};
    return fake_put(s, &w) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static bool run_kernel(fake_work *w) {
    fake_code_run(w->what, w->grid, w->arg);
    return true;
}

CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream s, void **parameter, void **extra) {
    MAY_FAIL;
    fake_work w = {.run = run_kernel, .what = f, .grid = gx};
    size_t pointers = (size_t)fake_code_pointers(f);
    if (!gx || gy != 1 || gz != 1 || bx != 256 || by != 1 || bz != 1 || shared || extra || pointers > 512)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(w.arg, parameter[0], pointers * sizeof(void *));
    return fake_put(s, &w) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* ---- streams and events ---- */

CUresult cuStreamCreateWithPriority(CUstream *out, unsigned flags, int priority) {
    MAY_FAIL;
    (void)flags;
    if (priority > 0 || priority < -5) return CUDA_ERROR_INVALID_VALUE;
    *out = calloc(1, sizeof **out);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    (*out)->next = streams;
    streams = *out;
    live++;
    return CUDA_SUCCESS;
}

static void drop_work(graph *g) {
    for (int i = 0; i < g->n; i++) {
        if (g->work[i]->in_graph) g->work[i]->in_graph(g->work[i], -1);
        free(g->work[i]);
    }
    free(g->work);
    *g = (graph){0};
}

CUresult cuStreamDestroy_v2(CUstream s) {
    CUstream *at = &streams;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    drop_work(&s->waits);
    live--;
    free(s);
    MAY_FAIL;
    return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream s) {
    NOT_CAPTURED;
    MAY_FAIL;
    advance_all();
    if (s->failed) return CUDA_ERROR_LAUNCH_FAILED;
    return s->waits.n ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream s) {
    NOT_CAPTURED;
    MAY_FAIL;
    for (advance_all(); s && s->waits.n; advance_all()) rest();
    return s && s->failed ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *out, unsigned flags) {
    (void)flags;
    MAY_FAIL;
    *out = calloc(1, sizeof **out);
    live++;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static void forget_event(CUevent e) {
    if (e->dead && !e->pending) free(e);
}

CUresult cuEventDestroy_v2(CUevent e) {
    live--;
    e->dead = true;
    forget_event(e);
    MAY_FAIL;
    return CUDA_SUCCESS;
}

static bool reach_event(fake_work *w) {
    CUevent e = w->what;
    e->done = (unsigned long)(uintptr_t)w->arg[0];
    e->at = device_clock;
    e->pending--;
    forget_event(e);
    return true;
}

static bool event_reached(fake_work *w) { return ((CUevent)w->what)->done >= (unsigned long)(uintptr_t)w->arg[0]; }

static bool pass_event(fake_work *w) {
    CUevent e = w->what;
    e->pending--;
    forget_event(e);
    return true;
}

CUresult cuEventRecord(CUevent e, CUstream s) {
    MAY_FAIL;
    e->captured = s ? s->capture : NULL;
    if (!s || e->captured) return CUDA_SUCCESS; /* work of a graph runs in the order it was captured in */
    const fake_work w = {.run = reach_event, .what = e, .arg = {(void *)(uintptr_t)++e->asked}};
    e->pending++;
    return fake_put(s, &w) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) {
    (void)flags;
    MAY_FAIL;
    if (!s) return CUDA_SUCCESS;
    if (e->captured && capturing && e->captured == capturing->capture) s->capture = e->captured; /* joins the capture */
    if (s->capture) return CUDA_SUCCESS;
    const fake_work w = {.run = pass_event, .ready = event_reached, .what = e, .arg = {(void *)(uintptr_t)e->asked}};
    e->pending++;
    return fake_put(s, &w) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuEventSynchronize(CUevent e) {
    NOT_CAPTURED;
    MAY_FAIL;
    for (advance_all(); e->done < e->asked; advance_all()) rest();
    return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent e) {
    NOT_CAPTURED;
    MAY_FAIL;
    advance_all();
    return e->done < e->asked ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

/* The header gives the name another number, which no older driver has. */
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to);
CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    MAY_FAIL;
    if (from->done < from->asked || to->done < to->asked) return CUDA_ERROR_NOT_READY;
    *milliseconds = (float)((to->at - from->at) * 1e-3);
    return CUDA_SUCCESS;
}

/* ---- modules ---- */

CUresult cuModuleLoadData(CUmodule *out, const void *image) {
    NOT_CAPTURED;
    MAY_FAIL;
    *out = fake_code_load(image);
    live += *out != NULL;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

CUresult cuModuleUnload(CUmodule m) {
    live--;
    fake_code_unload(m);
    MAY_FAIL;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule m, const char *name) {
    MAY_FAIL;
    *out = fake_code_function(m, name);
    return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* ---- graphs ---- */

static void drop(graph *g) {
    drop_work(g);
    free(g);
}

CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode mode) {
    MAY_FAIL;
    if (capturing || mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) return CUDA_ERROR_INVALID_VALUE;
    s->capture = calloc(1, sizeof *s->capture);
    if (!s->capture) return CUDA_ERROR_OUT_OF_MEMORY;
    s->broken = false;
    capturing = s;
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream s, CUgraph *out) {
    graph *g = s->capture;
    if (!g) return CUDA_ERROR_INVALID_VALUE;
    bool fails = fake_call(__func__);
    for (CUstream other = streams; other; other = other->next)
        if (other->capture == g) other->capture = NULL;
    capturing = NULL;
    if (fails || s->broken) {
        drop(g);
        return fails ? CUDA_ERROR_UNKNOWN : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    live++;
    *out = (CUgraph)g;
    return CUDA_SUCCESS;
}

/* Takes the work over from the graph. */
CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph from, unsigned long long flags) {
    MAY_FAIL;
    graph *g = (graph *)from, *exec = calloc(1, sizeof *exec);
    if (!exec || flags) return CUDA_ERROR_INVALID_VALUE;
    *exec = *g;
    *g = (graph){0};
    live++;
    *out = (CUgraphExec)exec;
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph g) {
    live--;
    drop((graph *)g);
    MAY_FAIL;
    return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec what, CUstream s) {
    graph *g = (graph *)what;
    if (s->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    MAY_FAIL;
    for (int i = 0; i < g->n; i++)
        if (!fake_put(s, g->work[i])) return CUDA_ERROR_UNKNOWN;
    return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec g) {
    live--;
    drop((graph *)g);
    MAY_FAIL;
    return CUDA_SUCCESS;
}
