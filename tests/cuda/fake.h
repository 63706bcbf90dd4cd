/* tests/cuda/fake.h -- libcuda, NVRTC, cuDNN and NCCL on a machine without a GPU, in one shared object: the functions that the
 * executor calls, on the host. Kernels are the C text (shim.h), convolutions the executor cpu's (record_conv.h), device
 * memory is the host's, and what is captured runs when its graph is launched. Work on a stream is done at once, but for what
 * waits for another rank's part of a collective (fake_nccl.c): that, and all behind it, is done by later calls.
 *
 * Its folder in GANDIST_CUDA_LIBRARIES makes any program use it. FAKE_CUDA=none has no GPU, FAKE_CUDA=old one of
 * capability 7.0, FAKE_CUDA=no-dnn one that cuDNN refuses. FAKE_BUS=2: the second GPU of the host. FAKE_MEMORY=FILE: gets the bytes
 * of the device's memory and of pinned memory that a process has asked for, when it ends. */
#ifndef GANDIST_TESTS_CUDA_FAKE_H
#define GANDIST_TESTS_CUDA_FAKE_H

#include <stdbool.h>
#include <stddef.h>

/* ---- for tests, through dlsym ---- */

/* The call-th function called from here on fails (from 1; 0: none does). */
void fake_fail_at(int call);
int fake_calls(void);             /* since then                                                 */
int fake_ran(void);               /* convolutions that ran, ever                                */
const char *fake_failed(void);    /* the function that failed; NULL: none did                   */
int fake_live(void);              /* memory, streams, events, graphs, modules, descriptors left */

/* ---- between the files of the fake ---- */

/* Counts a call; true: it is to fail. */
bool fake_call(const char *function);
void fake_count_live(int change);
bool fake_is(const char *what); /* FAKE_CUDA */

/* Work on a stream: now, or when the graph that captures the stream is launched. */
typedef struct fake_work {
    bool (*run)(struct fake_work *w);   /* false: it fails                                             */
    bool (*ready)(struct fake_work *w); /* NULL: always; asked in the order of the stream, until it is */
    void (*in_graph)(struct fake_work *w, int change); /* NULL, or told of graphs that have it: one more, one less */
    void *what;
    unsigned grid;
    void *arg[512];
} fake_work;
bool fake_put(void *stream, const fake_work *w);
void fake_pass(double microseconds); /* on the clock of the device, which events with times read */
/* Memory of the device. NULL: there is none, or a stream is captured, whose capture this breaks. */
void *fake_take(size_t bytes);
bool fake_give(void *at); /* false: a stream is captured */

#endif
