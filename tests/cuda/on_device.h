/* tests/cuda/on_device.h -- programs of the executor `cuda` with bindings in memory of its device, and pinned memory to reach
 * them. What fails ends the test. */
#ifndef GANDIST_TESTS_CUDA_ON_DEVICE_H
#define GANDIST_TESTS_CUDA_ON_DEVICE_H

#include "compute/cuda/executor.h"
#include "steps.h"

enum { ON_DEVICE_BINDINGS = 1024 };

typedef struct prog {
    gd__cu_device *device;
    gd_program *p;
    gd_instance *i;
    int n;
    const gd_binding *list;
    void *at[ON_DEVICE_BINDINGS], *pinned;
} prog;

size_t binding_bytes(const gd_binding *b);
prog open_prog(gd__cu_device *d, const gd_executor *x, const gd_step_graph *s, gd_precision precision);
void close_prog(prog *x);
void set_inputs(prog *x);         /* as steps_draw says                  */
void *download(prog *x, int b);   /* owner: caller                       */
/* The largest distance of an output from ref, over its limit; where: that output. base: see steps_distance. */
double worst_distance(prog *x, const steps_ref *ref, double base, char where[96]);
/* A run as captured graphs. */
void replay(gd__cu_replay *r, const gd_run_args *a);

#endif
