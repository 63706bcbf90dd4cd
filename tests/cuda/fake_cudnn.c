/* tests/cuda/fake_cudnn.c -- cuDNN's backend interface for one convolution a graph. See fake.h.
 *
 * A descriptor knows the problem that was built into it so far. Engines, in the order of the heuristics: 0 has tensor cores, 1 rounds
 * nothing, 2 has tensor cores and adds in changing order, 3 and 4 are as 0 and 1, 5 needs too much workspace, 6 has no plans,
 * 7 plans that cannot run. What each takes on the device's clock, in microseconds: FAKE_DNN_TIMES="0:50,3:20"; else 100.
 * FAKE_DNN_WRONG: the first number of every result is one too much. FAKE_DNN_REFUSES=3: no plan of that engine here (all: none).
 * FAKE_DNN_NUMBER, FAKE_DNN_MODEL: which GPU it is, and of which kind. FAKE_DNN_LOG: "engine 3" is added to the file of this name and
 * ".RANK" when an engine first runs. */
#include <cudnn_graph.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "record_conv.h"

enum { WORKSPACE = 512, ENGINES = 8, UNORDERED = 2, HUNGRY = 5, PLANLESS = 6, BROKEN = 7 };

typedef struct fake_desc { /* behind a cudnnBackendDescriptor_t */
    cudnnBackendDescriptorType_t type;
    int64_t id, dim[4], stride[4]; /* tensor */
    cudnnDataType_t data;
    bool virtual;
    gd__dnn_conv c; /* of operations and of what is made of them */
    int64_t engine;
    void *conv;     /* plan: made when it runs first */
    int64_t ids[3]; /* variant pack */
    void *at[3], *workspace;
    bool final;
} fake_desc;

static cudnnBackendDescriptorType_t type_of(const fake_desc *d) { return d->type; }

#define MAY_FAIL                                                                                                       \
    if (fake_call(__func__)) return CUDNN_STATUS_INTERNAL_ERROR

/* ---- the handle ---- */

static void *stream_of;

size_t cudnnGetVersion(void) { return 91900; }
const char *cudnnGetErrorString(cudnnStatus_t s) { return s ? "CUDNN_STATUS_INTERNAL_ERROR" : "CUDNN_STATUS_SUCCESS"; }
void cudnnGetLastErrorString(char *text, size_t room) { snprintf(text, room, "the fake was told to"); }

cudnnStatus_t cudnnCreate(cudnnHandle_t *out) {
    MAY_FAIL;
    if (fake_is("no-dnn")) return CUDNN_STATUS_NOT_INITIALIZED;
    fake_count_live(1);
    *out = (cudnnHandle_t)&stream_of;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t h) {
    (void)h;
    fake_count_live(-1);
    MAY_FAIL;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s) {
    (void)h;
    MAY_FAIL;
    stream_of = s;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- descriptors ---- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    MAY_FAIL;
    fake_desc *d = calloc(1, sizeof *d);
    if (!d) return CUDNN_STATUS_INTERNAL_ERROR;
    d->type = type;
    fake_count_live(1);
    *out = d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t at) {
    fake_desc *d = at;
    if (type_of(d) == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) record_conv_free(d->conv);
    fake_count_live(-1);
    free(d);
    MAY_FAIL;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t at) {
    MAY_FAIL;
    fake_desc *d = at;
    const char *refuses = getenv("FAKE_DNN_REFUSES");
    bool none = d->engine == PLANLESS || (refuses && (!strcmp(refuses, "all") || d->engine == atoi(refuses)));
    if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && none) return CUDNN_STATUS_NOT_SUPPORTED;
    d->final = true;
    return CUDNN_STATUS_SUCCESS;
}

/* Dense NHWC: what the executor cpu computes on. */
static bool is_nhwc(const fake_desc *t) {
    const int64_t *d = t->dim, want[4] = {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]};
    return !memcmp(want, t->stride, sizeof want);
}

static bool add_tensor(fake_desc *op, char which, const fake_desc *t) {
    gd__dnn_conv *c = &op->c;
    if (!is_nhwc(t)) return false;
    if (t->data == CUDNN_DATA_BFLOAT16) c->math = GD__DNN_BF16;
    if (t->virtual) c->wide = true;
    if (which == 'x') c->n = t->dim[0], c->c = t->dim[1], c->h = t->dim[2], c->w = t->dim[3];
    else if (which == 'w') c->k = t->dim[0], c->r = t->dim[2], c->s = t->dim[3];
    else c->p = t->dim[2], c->q = t->dim[3];
    return true;
}

static bool add_convolution(fake_desc *op, const fake_desc *conv) {
    op->c.stride = conv->c.stride;
    memcpy(op->c.pad, conv->c.pad, sizeof op->c.pad);
    return true;
}

static bool set_operation(fake_desc *d, cudnnBackendAttributeName_t name, const fake_desc *part) {
    switch (name) {
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X: d->c.op = GD_OP_CONV; return add_tensor(d, 'x', part);
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX: d->c.op = GD_OP_CONV_DX; return add_tensor(d, 'x', part);
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X: d->c.op = GD_OP_CONV_DW; return add_tensor(d, 'x', part);
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW: return add_tensor(d, 'w', part);
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY: return add_tensor(d, 'y', part);
    case CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC:
    case CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC: return add_convolution(d, part);
    case CUDNN_ATTR_OPERATIONGRAPH_OPS:
    case CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH: d->c = part->c; return true;
    case CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG:
        d->c = part->c;
        d->engine = part->engine;
        return true;
    default: return true; /* identities, device properties */
    }
}

/* "fake ENGINE NUMBERS": the problem as a plan keeps it. */
static bool read_plan(fake_desc *d, const char *text) {
    long long v[12];
    int op, math, wide, stride, pad[4];
    if (sscanf(text, "fake %lld %d %d %d %lld %lld %lld %lld %lld %lld %lld %lld %lld %d %d %d %d %d", &v[0], &op,
               &math, &wide, &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &stride, &pad[0], &pad[1],
               &pad[2], &pad[3]) != 18)
        return false;
    d->engine = v[0];
    d->c = (gd__dnn_conv){
        (gd_op)op, (gd__dnn_math)math, wide, v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], stride, {0}};
    memcpy(d->c.pad, pad, sizeof pad);
    return true;
}

static int write_plan(const fake_desc *d, char *text, size_t room) {
    const gd__dnn_conv *c = &d->c;
    return snprintf(text, room, "fake %lld %d %d %d %lld %lld %lld %lld %lld %lld %lld %lld %lld %d %d %d %d %d",
                    (long long)d->engine, (int)c->op, (int)c->math, c->wide, (long long)c->n, (long long)c->h,
                    (long long)c->w, (long long)c->c, (long long)c->k, (long long)c->r, (long long)c->s,
                    (long long)c->p, (long long)c->q, c->stride, c->pad[0], c->pad[1], c->pad[2], c->pad[3]);
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t at, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n, const void *value) {
    fake_desc *d = at;
    MAY_FAIL;
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        const fake_desc *part = *(fake_desc *const *)value;
        return part->final && set_operation(d, name, part) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
    }
    const int64_t *number = value;
    switch (name) {
    case CUDNN_ATTR_TENSOR_UNIQUE_ID: d->id = *number; break;
    case CUDNN_ATTR_TENSOR_DATA_TYPE: memcpy(&d->data, value, sizeof d->data); break;
    case CUDNN_ATTR_TENSOR_DIMENSIONS: memcpy(d->dim, value, sizeof d->dim); break;
    case CUDNN_ATTR_TENSOR_STRIDES: memcpy(d->stride, value, sizeof d->stride); break;
    case CUDNN_ATTR_TENSOR_IS_VIRTUAL: memcpy(&d->virtual, value, sizeof d->virtual); break;
    case CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS: d->c.pad[0] = (int)number[0], d->c.pad[2] = (int)number[1]; break;
    case CUDNN_ATTR_CONVOLUTION_POST_PADDINGS: d->c.pad[1] = (int)number[0], d->c.pad[3] = (int)number[1]; break;
    case CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES: d->c.stride = (int)number[0]; break;
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
        return read_plan(d, value) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
    case CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS: memcpy(d->ids, value, (size_t)n * sizeof *d->ids); break;
    case CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS: memcpy(d->at, value, (size_t)n * sizeof *d->at); break;
    case CUDNN_ATTR_VARIANT_PACK_WORKSPACE: memcpy(&d->workspace, value, sizeof d->workspace); break;
    default: break; /* alignment, modes, types of sums */
    }
    return CUDNN_STATUS_SUCCESS;
}

/* ---- what descriptors tell ---- */

static int64_t copy_text(const char *text, int64_t room, void *out) {
    int64_t n = (int64_t)strlen(text) + 1;
    if (out) memcpy(out, text, (size_t)(n < room ? n : room));
    return n;
}

/* One configuration an engine into descriptors of the caller. */
static int64_t give_configs(const fake_desc *d, int64_t room, void *out) {
    for (int64_t i = 0; out && i < room && i < ENGINES; i++) {
        fake_desc *config = ((fake_desc **)out)[i];
        config->c = d->c;
        config->engine = i;
        config->final = true;
    }
    return ENGINES;
}

static int64_t give_numerical_notes(const fake_desc *d, void *out) {
    const cudnnBackendNumericalNote_t note[] = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE,
                                                CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC};
    if (d->engine == 1 || d->engine == 4) return 0;
    memcpy(out, note, sizeof note);
    return 1 + (d->engine == UNORDERED);
}

static int64_t give_behaviour_notes(const fake_desc *d, void *out) {
    const cudnnBackendBehaviorNote_t note = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    if (!d->c.wide) return 0;
    memcpy(out, &note, sizeof note);
    return 1;
}

static const char *setting(const char *name, const char *otherwise) {
    const char *is = getenv(name);
    return is && *is ? is : otherwise;
}

static void describe_device(char *text, size_t room) {
    const char *number = setting("FAKE_DNN_NUMBER", "0");
    snprintf(text, room, "{\"cudaDeviceId\": %s, \"deviceName\": \"%s\", \"pciDeviceId\": %s}", number,
             setting("FAKE_DNN_MODEL", "fake GPU"), number);
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t at, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room, int64_t *count, void *out) {
    const fake_desc *d = at;
    char text[320];
    int64_t workspace = d->engine == HUNGRY ? (int64_t)1 << 40 : WORKSPACE;
    (void)type;
    MAY_FAIL;
    *count = 1;
    switch (name) {
    case CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION:
        describe_device(text, sizeof text);
        *count = copy_text(text, room, out);
        break;
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
        write_plan(d, text, sizeof text);
        *count = copy_text(text, room, out);
        break;
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: *count = give_configs(d, room, out); break;
    case CUDNN_ATTR_ENGINECFG_ENGINE: {
        fake_desc *e = *(fake_desc **)out;
        e->engine = d->engine;
        e->c = d->c;
        break;
    }
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: memcpy(out, &d->engine, sizeof d->engine); break;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE: *count = give_numerical_notes(d, out); break;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE: *count = give_behaviour_notes(d, out); break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: memcpy(out, &workspace, sizeof workspace); break;
    default: return CUDNN_STATUS_NOT_SUPPORTED;
    }
    return CUDNN_STATUS_SUCCESS;
}

/* ---- running ---- */

static double microseconds(int64_t engine) {
    const char *at = getenv("FAKE_DNN_TIMES");
    long long which;
    double time;
    for (; at && sscanf(at, "%lld:%lf", &which, &time) == 2; at = strchr(at, ','), at += at != NULL)
        if (which == engine) return time;
    return 100;
}

/* That an engine ran, once a process. */
static void note_engine(int64_t engine) {
    static unsigned noted;
    const char *log = getenv("FAKE_DNN_LOG");
    char path[4096];
    if (!log || noted >> engine & 1) return;
    noted |= 1u << engine;
    snprintf(path, sizeof path, "%s.%s", log, setting("OMPI_COMM_WORLD_RANK", "0"));
    FILE *f = fopen(path, "a");
    if (!f) return;
    fprintf(f, "engine %lld\n", (long long)engine);
    fclose(f);
}

static void spoil(const fake_desc *plan, const fake_work *w) {
    void *result = w->arg[plan->c.op == GD_OP_CONV ? 2 : plan->c.op == GD_OP_CONV_DX ? 0 : 1];
    if (plan->c.math == GD__DNN_BF16 && !plan->c.wide) *(uint16_t *)result ^= 0x4000;
    else *(float *)result += 1;
}

static bool run_plan(fake_work *w) {
    fake_desc *plan = w->what;
    note_engine(plan->engine);
    fake_pass(microseconds(plan->engine));
    if (!plan->conv && record_conv_new(&plan->c, &plan->conv) != GD_OK) return false;
    memset(w->arg[3], 0xab, WORKSPACE);
    if (record_conv_run(plan->conv, w->arg[0], w->arg[1], w->arg[2]) != GD_OK) return false;
    if (getenv("FAKE_DNN_WRONG")) spoil(plan, w);
    return true;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    const fake_desc *p = pack;
    fake_work w = {.run = run_plan, .what = plan};
    (void)h;
    MAY_FAIL;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (p->ids[k] == "xwy"[i]) w.arg[i] = p->at[k];
    w.arg[3] = p->workspace;
    if (((const fake_desc *)plan)->engine == BROKEN) return CUDNN_STATUS_EXECUTION_FAILED;
    if (!w.arg[0] || !w.arg[1] || !w.arg[2] || !w.arg[3]) return CUDNN_STATUS_BAD_PARAM;
    return fake_put(stream_of, &w) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}
