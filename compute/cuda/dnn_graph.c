/* compute/cuda/dnn_graph.c -- operation graphs for cuDNN. See dnn_api.h. */
#include "compute/cuda/dnn_api.h"

/* ---- descriptors ---- */

gd__dnn_build gd__dnn_begin(const gd__dnn_api *api, cudnnBackendDescriptorType_t type) {
    gd__dnn_build b = {.api = api};
    b.status = api->cudnnBackendCreateDescriptor(type, &b.desc);
    return b;
}

void gd__dnn_set(gd__dnn_build *b, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                 const void *value) {
    if (b->status == CUDNN_STATUS_SUCCESS) b->status = b->api->cudnnBackendSetAttribute(b->desc, name, type, n, value);
}

void gd__dnn_set_int(gd__dnn_build *b, cudnnBackendAttributeName_t name, int64_t value) {
    gd__dnn_set(b, name, CUDNN_TYPE_INT64, 1, &value);
}

void gd__dnn_set_desc(gd__dnn_build *b, cudnnBackendAttributeName_t name, gd__dnn_desc value) {
    gd__dnn_set(b, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

gd_status gd__dnn_end(gd__dnn_build *b, const char *what, gd__dnn_desc *out) {
    if (b->status == CUDNN_STATUS_SUCCESS) b->status = b->api->cudnnBackendFinalize(b->desc);
    *out = b->desc;
    if (b->status == CUDNN_STATUS_SUCCESS) return GD_OK;
    char why[512] = "";
    b->api->cudnnGetLastErrorString(why, sizeof why);
    gd__dnn_destroy(b->api, b->desc);
    *out = NULL;
    GD_FAIL(UNSUP, "cudnn: %s: %s (%s)", what, b->api->cudnnGetErrorString(b->status), why);
}

void gd__dnn_destroy(const gd__dnn_api *api, gd__dnn_desc d) {
    if (d) api->cudnnBackendDestroyDescriptor(d);
}

/* ---- the graph of a convolution ---- */

/* cuDNN names dimensions N,C,H,W in any layout; strides say the layout. */
static gd_status tensor(const gd__dnn_api *api, int64_t id, cudnnDataType_t type, bool virtual, const int64_t nhwc[4],
                        gd__dnn_desc *out) {
    int64_t n = nhwc[0], h = nhwc[1], w = nhwc[2], c = nhwc[3];
    const int64_t dim[4] = {n, c, h, w}, stride[4] = {c * h * w, 1, w * c, c};
    gd__dnn_build b = gd__dnn_begin(api, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    gd__dnn_set_int(&b, CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    gd__dnn_set(&b, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    gd__dnn_set(&b, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    gd__dnn_set(&b, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    gd__dnn_set_int(&b, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 16);
    if (virtual) gd__dnn_set(&b, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &virtual);
    return gd__dnn_end(&b, "tensor", out);
}

static gd_status convolution(const gd__dnn_api *api, const gd__dnn_conv *c, gd__dnn_desc *out) {
    const int64_t pre[2] = {c->pad[0], c->pad[2]}, post[2] = {c->pad[1], c->pad[3]};
    const int64_t stride[2] = {c->stride, c->stride}, one[2] = {1, 1};
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    gd__dnn_build b = gd__dnn_begin(api, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    gd__dnn_set_int(&b, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    gd__dnn_set(&b, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    gd__dnn_set(&b, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    gd__dnn_set(&b, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pre);
    gd__dnn_set(&b, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, post);
    gd__dnn_set(&b, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    gd__dnn_set(&b, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    return gd__dnn_end(&b, "convolution", out);
}

typedef struct direction {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, w, y, conv, alpha, beta;
} direction;

static const direction *direction_of(gd_op op) {
    static const direction forward = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    static const direction data = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    static const direction weights = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
    return op == GD_OP_CONV ? &forward : op == GD_OP_CONV_DX ? &data : &weights;
}

static gd_status operation(const gd__dnn_api *api, const gd__dnn_conv *c, const gd__dnn_desc part[4],
                           gd__dnn_desc *out) {
    const direction *d = direction_of(c->op);
    const float one = 1, zero = 0;
    gd__dnn_build b = gd__dnn_begin(api, d->type);
    gd__dnn_set_desc(&b, d->x, part[0]);
    gd__dnn_set_desc(&b, d->w, part[1]);
    gd__dnn_set_desc(&b, d->y, part[2]);
    gd__dnn_set_desc(&b, d->conv, part[3]);
    gd__dnn_set(&b, d->alpha, CUDNN_TYPE_FLOAT, 1, &one);
    gd__dnn_set(&b, d->beta, CUDNN_TYPE_FLOAT, 1, &zero);
    return gd__dnn_end(&b, "operation", out);
}

/* The same values in another tensor. */
static gd_status identity(const gd__dnn_api *api, gd__dnn_desc from, gd__dnn_desc to, gd__dnn_desc *out) {
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_IDENTITY;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    gd__dnn_desc how;
    gd__dnn_build b = gd__dnn_begin(api, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    gd__dnn_set(&b, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    gd__dnn_set(&b, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    GD_TRY(gd__dnn_end(&b, "identity", &how));
    b = gd__dnn_begin(api, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    gd__dnn_set_desc(&b, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    gd__dnn_set_desc(&b, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from);
    gd__dnn_set_desc(&b, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
    gd_status st = gd__dnn_end(&b, "identity", out);
    gd__dnn_destroy(api, how);
    return st;
}

/* Of x, w, y: which the operation makes. */
static int result_of(gd_op op) { return op == GD_OP_CONV ? 2 : op == GD_OP_CONV_DX ? 0 : 1; }

enum { CONV_AT = 3, WIDE_AT, PARTS, UNSEEN = 'v' }; /* UNSEEN: id of what a wide result is made from */

/* x, w, y, the convolution, and the tensor in f32 where the result is wide. */
static gd_status make_parts(const gd__dnn_api *api, const gd__dnn_conv *c, gd__dnn_desc part[PARTS]) {
    static const int64_t id[3] = {GD__DNN_X, GD__DNN_W, GD__DNN_Y};
    const int64_t dim[3][4] = {{c->n, c->h, c->w, c->c}, {c->k, c->r, c->s, c->c}, {c->n, c->p, c->q, c->k}};
    cudnnDataType_t type = c->math == GD__DNN_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    for (int i = 0; i < 3; i++) {
        bool unseen = c->wide && i == result_of(c->op);
        GD_TRY(tensor(api, unseen ? UNSEEN : id[i], unseen ? CUDNN_DATA_FLOAT : type, unseen, dim[i], &part[i]));
        if (unseen) GD_TRY(tensor(api, id[i], CUDNN_DATA_FLOAT, false, dim[i], &part[WIDE_AT]));
    }
    return convolution(api, c, &part[CONV_AT]);
}

gd_status gd__dnn_graph(const gd__dnn_api *api, const gd__dnn_conv *c, gd__dnn_desc *out) {
    gd__dnn_desc part[PARTS] = {NULL}, op[2] = {NULL};
    gd_status st;
    GD_TRY_TO(done, make_parts(api, c, part));
    GD_TRY_TO(done, operation(api, c, part, &op[0]));
    if (c->wide) GD_TRY_TO(done, identity(api, part[result_of(c->op)], part[WIDE_AT], &op[1]));
    gd__dnn_build b = gd__dnn_begin(api, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    gd__dnn_set(&b, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, c->wide ? 2 : 1, op);
    GD_TRY_TO(done, gd__dnn_end(&b, "graph", out));
done: /* a descriptor keeps what it was made of */
    for (int i = 0; i < PARTS; i++) gd__dnn_destroy(api, part[i]);
    for (int i = 0; i < 2; i++) gd__dnn_destroy(api, op[i]);
    return st;
}
