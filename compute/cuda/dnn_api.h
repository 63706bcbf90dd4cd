/* compute/cuda/dnn_api.h -- cuDNN's functions, and descriptors in one line each. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_DNN_API_H
#define GANDIST_COMPUTE_CUDA_DNN_API_H

#include <cudnn_graph.h>
#include <stdbool.h>

#include "compute/cuda/dnn.h"

#define GD__DNN_FUNCTIONS(X)                                                                        \
    X(cudnnGetVersion) X(cudnnGetErrorString) X(cudnnGetLastErrorString) X(cudnnCreate)             \
    X(cudnnDestroy) X(cudnnSetStream) X(cudnnBackendCreateDescriptor)                               \
    X(cudnnBackendDestroyDescriptor) X(cudnnBackendFinalize) X(cudnnBackendSetAttribute)            \
    X(cudnnBackendGetAttribute) X(cudnnBackendExecute)

typedef struct gd__dnn_api {
#define GD__DNN_MEMBER(f) __typeof__(f) *f;
    GD__DNN_FUNCTIONS(GD__DNN_MEMBER)
#undef GD__DNN_MEMBER
} gd__dnn_api;

typedef cudnnBackendDescriptor_t gd__dnn_desc;

/* A descriptor under construction: the first error stays, later calls do nothing. */
typedef struct gd__dnn_build {
    const gd__dnn_api *api;
    gd__dnn_desc desc;
    cudnnStatus_t status;
} gd__dnn_build;

gd__dnn_build gd__dnn_begin(const gd__dnn_api *api, cudnnBackendDescriptorType_t type);
void gd__dnn_set(gd__dnn_build *b, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                 const void *value);
void gd__dnn_set_int(gd__dnn_build *b, cudnnBackendAttributeName_t name, int64_t value);
void gd__dnn_set_desc(gd__dnn_build *b, cudnnBackendAttributeName_t name, gd__dnn_desc value);
/* Finalises: *out. On failure the descriptor is gone. what: for the message. Errors: UNSUP. */
GD_CHECKED gd_status gd__dnn_end(gd__dnn_build *b, const char *what, gd__dnn_desc *out);
void gd__dnn_destroy(const gd__dnn_api *api, gd__dnn_desc d); /* NULL is fine */

enum { GD__DNN_X = 'x', GD__DNN_W = 'w', GD__DNN_Y = 'y' }; /* unique ids of tensors */
/* The operation graph of one convolution. Errors: UNSUP. */
GD_CHECKED gd_status gd__dnn_graph(const gd__dnn_api *api, const gd__dnn_conv *c, gd__dnn_desc *out);

#endif
