/* Runs the step graphs of models/ in tests: one instance a shard, in lock-step, on any executor.
 *
 * Values are doubles on the outside whatever the executor stores. Every shard has its own copy of all
 * bindings. What goes wrong fails the running cmocka test. */
#ifndef GANDIST_TESTS_MODELS_RIG_H
#define GANDIST_TESTS_MODELS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "compute/exec.h"
#include "models/gan.h"

enum { RIG_SHARDS_MAX = 8 };

typedef struct rig {
    const gd_executor *executor;
    gd_program *program;
    int shards;
    gd_instance *instance[RIG_SHARDS_MAX];
    int n_bindings;
    const gd_binding *bindings;
    void **memory[RIG_SHARDS_MAX]; /* per binding */
    uint64_t first_sample;         /* of shard 0 in the global batch */
    gd_step_kind kind;             /* the test's note of what it runs */
} rig;

/* Fails the test with the error record unless st is GD_OK. */
void rig_ok(gd_status st);
/* Fails unless st is `want` and the message has all of the given parts (NULL ends them). */
void rig_refused(gd_status st, gd_status want, ...);

rig *rig_new(const gd_step_graph *s, const char *executor);
void rig_free(rig *r);
/* -1 when the program has no such binding. */
int rig_find(const rig *r, const char *name);
int64_t rig_count(const rig *r, const char *name); /* elements of a binding that exists */
/* shard -1: all. A name that the program does not have is left out (it may not need every input). */
void rig_set(rig *r, int shard, const char *name, const double *value);
void rig_get(const rig *r, int shard, const char *name, double *out);
void rig_sum(const rig *r, const char *name, double *out); /* over shards */
double rig_metric(const rig *r, const char *name);         /* "loss_d": sum over shards */
/* Parts of a global batch [N,...], one to each shard. */
void rig_scatter(rig *r, const char *name, const double *value);

typedef void (*rig_pause_fn)(void *ctx, rig *r, int phase);
/* Runs all shards to the end. n: samples a shard; hook (may be NULL): at phase pauses. */
void rig_run(rig *r, uint64_t seed, uint64_t step, int64_t n, rig_pause_fn hook, void *ctx);

/* Number i of stream `stream`: a multiple of 2^-15 in [-1, 1), exact in float. splitmix64 of
 * (stream << 32) + i, upper 16 bits; tests/golden/make.py has the same. */
double rig_number(uint64_t stream, uint64_t i);
void rig_numbers(uint64_t stream, int64_t n, double scale, double offset, double *out);

/* ---- networks ---- */
/* Values of every parameter and buffer of a gan: stream = index in nets * 1000 + parameter; weights
 * within +-amplitude, norm scales and variances around 1. */
void rig_fill_gan(rig *r, const gd_gan *m, double amplitude);
void rig_fill_net(rig *r, const gd_net *n, const char *prefix, uint64_t stream, double amplitude);

#endif
