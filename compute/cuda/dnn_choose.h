/* compute/cuda/dnn_choose.h -- cuDNN as it is open, and choosing among its engines. Folder-internal. */
#ifndef GANDIST_COMPUTE_CUDA_DNN_CHOOSE_H
#define GANDIST_COMPUTE_CUDA_DNN_CHOOSE_H

#include "compute/cuda/dnn_api.h"
#include "compute/cuda/dnn_record.h"

enum { GD__DNN_REASONS = 600 };

struct gd__dnn {
    gd__dnn_api f;
    void *library;
    cudnnHandle_t handle; /* NULL: planned for a device that is not here */
    gd__dnn_desc device;
    char *cache;
    uint64_t device_hash;
    bool nondeterministic;
    size_t workspace_max;
    gd__dnn_tune tune;
    gd__dnn_records made; /* and imported */
    int timed, cached, imported;
};

/* The text that a descriptor has. owner: caller. Errors: UNSUP, NOMEM. */
GD_CHECKED gd_status gd__dnn_json(const gd__dnn *d, gd__dnn_desc desc, cudnnBackendAttributeName_t name, char **out);
/* By d->tune. reasons: why engines were not taken, as far as there is room. Errors: UNSUP, CUDA, NOMEM. */
GD_CHECKED gd_status gd__dnn_choose(gd__dnn *d, const gd__dnn_conv *c, char reasons[GD__DNN_REASONS], gd__dnn_plan *out);

#endif
