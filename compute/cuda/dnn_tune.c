/* compute/cuda/dnn_tune.c -- see dnn_tune.h. */
#include "compute/cuda/dnn_tune.h"

#include <cuda.h>
#include <stdlib.h>

#include "compute/cuda/library.h"

enum { WARM = 2, RUNS = 5, COPIES_MAX = 8 };
static const size_t cache_bytes = (size_t)128 << 20; /* more than devices keep close to them */

#define FUNCTIONS(X)                                                                                                   \
    X(cuMemAlloc_v2)                                                                                                   \
    X(cuMemFree_v2)                                                                                                    \
    X(cuMemsetD32Async)                                                                                                \
    X(cuStreamCreateWithPriority)                                                                                      \
    X(cuStreamDestroy_v2)                                                                                              \
    X(cuStreamSynchronize) X(cuEventCreate) X(cuEventDestroy_v2) X(cuEventRecord) X(cuEventElapsedTime)

typedef struct functions {
#define MEMBER(f) __typeof__(f) *f;
    FUNCTIONS(MEMBER)
#undef MEMBER
} functions;

struct gd__dnn_timer {
    functions f;
    void *library;
    CUstream stream;
    CUevent from, to;
    CUdeviceptr memory;
    size_t part[4], bytes; /* of x, w, y; the workspace begins behind them; of one copy */
    int copies, next;
};

#define CALL(t, name, ...)                                                                                             \
    do {                                                                                                               \
        CUresult r_ = (t)->f.name(__VA_ARGS__);                                                                        \
        if (r_ != CUDA_SUCCESS) GD_FAIL(CUDA, "cuda: %s: code %d, while convolutions are timed", #name, (int)r_);      \
    } while (0)

static size_t up(size_t bytes) { return (bytes + 255) / 256 * 256; }

static void lay_out(gd__dnn_timer *t, const gd__dnn_conv *c, size_t workspace) {
    const int64_t count[3] = {c->n * c->h * c->w * c->c, c->k * c->r * c->s * c->c, c->n * c->p * c->q * c->k};
    size_t element = c->math == GD__DNN_BF16 && !c->wide ? 2 : 4, at = 0; /* wide: one of three is f32 */
    for (int i = 0; i < 3; i++) {
        t->part[i] = at;
        at += up((size_t)count[i] * element);
    }
    t->part[3] = at;
    t->bytes = at + up(workspace ? workspace : 1);
    size_t copies = at ? cache_bytes / at + 1 : 1;
    t->copies = copies > COPIES_MAX ? COPIES_MAX : (int)copies;
}

static gd_status set_up(gd__dnn_timer *t) {
    static const char *const names[] = {"libcuda.so.1", NULL};
    static const gd__cu_symbol symbols[] = {
#define ROW(f) {#f, offsetof(functions, f)},
        FUNCTIONS(ROW)
#undef ROW
    };
    GD_TRY(gd__cu_library_open(names, symbols, (int)(sizeof symbols / sizeof *symbols), &t->f, &t->library));
    CALL(t, cuStreamCreateWithPriority, &t->stream, CU_STREAM_NON_BLOCKING, 0);
    CALL(t, cuEventCreate, &t->from, CU_EVENT_DEFAULT);
    CALL(t, cuEventCreate, &t->to, CU_EVENT_DEFAULT);
    while (t->f.cuMemAlloc_v2(&t->memory, t->bytes * (size_t)t->copies) == CUDA_ERROR_OUT_OF_MEMORY) {
        t->memory = 0;
        if (t->copies == 1) GD_FAIL(NOMEM, "cuda: no %zu bytes of the device to time a convolution in", t->bytes);
        t->copies--;
    }
    if (!t->memory) GD_FAIL(CUDA, "cuda: cuMemAlloc, while convolutions are timed");
    /* Two ones in bf16, one in f32: what multipliers have to do depends on it a little. */
    CALL(t, cuMemsetD32Async, t->memory, 0x3f803f80u, t->bytes * (size_t)t->copies / 4, t->stream);
    CALL(t, cuStreamSynchronize, t->stream);
    return GD_OK;
}

gd_status gd__dnn_timer_open(const gd__dnn_conv *c, size_t workspace, gd__dnn_timer **out) {
    gd__dnn_timer *t = calloc(1, sizeof *t);
    if (!t) GD_FAIL(NOMEM, "cudnn: no memory");
    lay_out(t, c, workspace);
    gd_status st = set_up(t);
    if (st != GD_OK) {
        gd__dnn_timer_close(t);
        return gd_trace(st, __FILE__, __LINE__);
    }
    *out = t;
    return GD_OK;
}

void gd__dnn_timer_close(gd__dnn_timer *t) {
    if (!t) return;
    if (t->stream) (void)t->f.cuStreamSynchronize(t->stream); /* a device that failed is found by its next use */
    if (t->memory) (void)t->f.cuMemFree_v2(t->memory);
    if (t->from) (void)t->f.cuEventDestroy_v2(t->from);
    if (t->to) (void)t->f.cuEventDestroy_v2(t->to);
    if (t->stream) (void)t->f.cuStreamDestroy_v2(t->stream);
    gd__cu_library_close(t->library);
    free(t);
}

static gd_status run_once(gd__dnn_timer *t, gd__dnn *d, const gd__dnn_plan *p, float *milliseconds) {
    char *at = (char *)(uintptr_t)(t->memory + (CUdeviceptr)(t->bytes * (size_t)(t->next++ % t->copies)));
    CALL(t, cuEventRecord, t->from, t->stream);
    GD_TRY(gd__dnn_run(d, p, t->stream, at + t->part[0], at + t->part[1], at + t->part[2], at + t->part[3]));
    CALL(t, cuEventRecord, t->to, t->stream);
    CALL(t, cuStreamSynchronize, t->stream);
    CALL(t, cuEventElapsedTime, milliseconds, t->from, t->to);
    return GD_OK;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

gd_status gd__dnn_timer_run(gd__dnn_timer *t, gd__dnn *d, const gd__dnn_plan *p, double *seconds) {
    float took[RUNS];
    for (int i = -WARM; i < RUNS; i++) GD_TRY(run_once(t, d, p, &took[i < 0 ? 0 : i]));
    qsort(took, RUNS, sizeof *took, by_size);
    *seconds = (double)took[RUNS / 2] * 1e-3;
    return GD_OK;
}
