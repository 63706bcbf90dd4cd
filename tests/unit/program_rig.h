/* tests/unit/program_rig.h -- one program with one instance and its bound memory, values seen as doubles.
 * What goes wrong fails the running cmocka test. */
#ifndef GANDIST_TESTS_PROGRAM_RIG_H
#define GANDIST_TESTS_PROGRAM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "compute/exec.h"

typedef struct prog {
    const gd_executor *x;
    gd_program *p;
    gd_instance *i;
    int n;
    const gd_binding *list;
    void **memory; /* per binding */
    void *arena;   /* exactly as large as the stats say */
} prog;

/* Fails the test with the error record unless st is GD_OK. */
void prog_ok(gd_status st);
/* Fails unless st is `want` and its message contains every part; NULL ends them. */
void prog_refused(gd_status st, gd_status want, ...);
gd_graph *prog_graph(int shards);

/* Inputs and parameters are filled with numbers of -1 to 1 that depend on name and place alone. */
prog prog_make(const gd_graph *g, const char *executor, int n_out, const gd_output *out, gd_program_opts o);
void prog_free(prog *p);
int prog_find(const prog *p, const char *name); /* -1: no such binding */
double prog_get(const prog *p, const char *name, int64_t at);
void prog_set(prog *p, const char *name, int64_t at, double value);
int64_t prog_count(const prog *p, const char *name);
/* The number that prog_make puts there. */
double prog_value_of(const char *name, int64_t at);

/* Runs to the end. Collectives are doubled, as by two equal shards. at_pause (NULL: nothing) is called
 * when `phase` would start. Guard bands are checked. Returns the number of collectives. */
typedef void (*prog_pause)(prog *p, int phase, void *ctx);
int prog_run(prog *p, prog_pause at_pause, void *ctx);

/* Steps with a member of this op. */
int prog_steps_with(const prog *p, gd_op op);
/* No two buffers that live at the same time overlap, all lie inside the arena. */
void prog_check_memory(const prog *p);

#endif
