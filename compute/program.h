/* compute/program.h -- from graph to running code: passes, memory plan, instances.
 *
 *   graph (what) --passes--> lowered graph --executor--> program (order, offsets) --> instance (memory)
 *
 * A program is made once per graph and executor and never changes. An instance owns one arena of
 * gd_program_bytes() and runs the program; several instances (one per local shard) can share one
 * program. Parameters, inputs and outputs live in memory of the caller, bound by name. */
#ifndef GANDIST_COMPUTE_PROGRAM_H
#define GANDIST_COMPUTE_PROGRAM_H

#include <stdio.h>

#include "compute/graph.h"

typedef struct gd_executor gd_executor; /* exec.h */

/* Precision is a property of the program, not of the model: BF16 stores convolution and matrix
 * operands in bf16; sums, statistics, losses and parameters stay f32. */
typedef enum gd_precision { GD_PRECISION_F32, GD_PRECISION_BF16 } gd_precision;

typedef struct gd_output {
    const char *name; /* bound by this name; may equal a PARAM's (then it is that parameter's new value,
                         written after every read of the old one)                                   */
    gd_node node;
} gd_output;

typedef struct gd_program_opts {
    gd_precision precision;
    bool no_fuse;   /* every node its own step                                                      */
    bool no_reuse;  /* every tensor its own memory                                                  */
    bool guard;     /* guard bands around every tensor, NaN fill of dead memory; gd_instance_check  */
    const char *late; /* what reads no parameter whose name begins so comes first, as far as phase 0 goes:
                         the same results, and that parameter may be late (see gd_instance_hold)     */
    bool eager;           /* outputs are complete as early as may be, for more memory: who takes them at
                             work (gd_run_hooks.done) has more time beside the rest              */
    const char *dump_dir; /* graph after each pass, and the plan, as text (GANDIST_DUMP_GRAPH)      */
    const char *name;     /* in file names of dumps; NULL: "program"                                */
} gd_program_opts;

typedef struct gd_program gd_program;
typedef struct gd_instance gd_instance;

/* Runs the passes (lower, constants and symbolic zeros, common subexpressions, dead code, precision),
 * asks the executor for support of every node, groups, orders and plans. g may be freed afterwards.
 * *out: owner: caller. Not collective. Errors: SHAPE (the graph's own), UNSUP (node, shapes and
 * reason), NOMEM. */
GD_CHECKED gd_status gd_program_make(const gd_graph *g, const gd_executor *x, int n_out,
                                     const gd_output *out_list, const gd_program_opts *o,
                                     gd_program **out);
void gd_program_free(gd_program *p);

typedef struct gd_program_stats {
    size_t arena_bytes;    /* activations and scratch of one instance                               */
    size_t shared_bytes;   /* once per program, whatever the number of instances                    */
    double flops;          /* multiply-adds counted as 2, heavy ops only, one run                   */
    double phase_flops[4];
    int nodes, steps, collectives;
    size_t collective_bytes; /* of ALLREDUCE nodes, one run                                         */
} gd_program_stats;
gd_program_stats gd_program_get_stats(const gd_program *p); /* allocates nothing */
/* Steps, groups, offsets and life times as text. */
void gd_program_print(const gd_program *p, FILE *out);

/* What a bound buffer must hold: elements of this dtype (ref: double whatever the dtype says). */
typedef struct gd_binding {
    const char *name;
    gd_dtype dtype;
    gd_shape shape;
    bool is_input, is_param, is_output;
} gd_binding;
int gd_program_bindings(const gd_program *p, const gd_binding **list); /* owner: p */
/* The binding of the k-th output, from 0, in the order in which they are complete; -1: there are not so many. */
int gd_program_done(const gd_program *p, int k);

/* p must outlive it. Touches every page of its arena once. Errors: NOMEM, UNSUP. */
GD_CHECKED gd_status gd_instance_make(const gd_program *p, gd_instance **out);
/* The same on memory of the caller: 64-byte aligned, at least arena_bytes of p's stats, alive as long
 * as the instance. Instances that never run at the same time may share it. */
GD_CHECKED gd_status gd_instance_make_on(const gd_program *p, void *arena, gd_instance **out);
void gd_instance_free(gd_instance *i);
/* Memory of the caller, alive while the instance runs; 64-byte aligned. Names that the program does
 * not have are ignored (a program may not need every input). */
GD_CHECKED gd_status gd_instance_bind(gd_instance *i, const char *name, void *buffer);

/* Phases. A parameter that the caller updates at a pause must be in the graph in a later version from
 * there on, read or not. Then readers of the older version see the old value, in any phase: copies are
 * made where needed. An output of an earlier phase is complete at the pause; the caller may reuse its
 * memory from there on. New values of parameters (outputs with a PARAM's name) come at the very end. */
typedef struct gd_run_args {
    uint64_t seed, step;   /* keys of RANDOM nodes                                                  */
    uint64_t sample;       /* global index of this shard's first sample                             */
} gd_run_args;

typedef enum gd_pause_kind {
    GD_PAUSE_DONE,
    GD_PAUSE_PHASE,
    GD_PAUSE_COLLECTIVE, /* unless gd_run_hooks.sum serves it */
    GD_PAUSE_HELD,
    GD_PAUSE_CUT /* only to who captures a run: exec.h */
} gd_pause_kind;
typedef struct gd_pause {
    gd_pause_kind kind;
    int phase;         /* PHASE: the one that would start now                                       */
    unsigned held;     /* HELD: the sets, bit by bit, that the next step needs                      */
    const char *name;  /* COLLECTIVE: of the node                                                   */
    float *data;       /* COLLECTIVE: this shard's part; to be replaced by the sum (double in ref)  */
    int64_t count;
} gd_pause;
/* Starts a run and goes on to the first pause; then gd_instance_resume until DONE. All bindings must
 * be set. A step allocates nothing. Errors: INTERNAL (unbound name), what the executor reports. */
GD_CHECKED gd_status gd_instance_start(gd_instance *i, const gd_run_args *a, gd_pause *pause);
GD_CHECKED gd_status gd_instance_resume(gd_instance *i, gd_pause *pause);

/* Holds. Memory of the caller may be busy elsewhere while a run goes on (a sum over ranks, say), as far as the run
 * does not touch it. set: per binding of the program 0..GD_SETS_MAX - 1, or -1. Errors: NOMEM. */
enum { GD_SETS_MAX = 8 };
GD_CHECKED gd_status gd_instance_group(gd_instance *i, const signed char *set);
/* From here on the run pauses with HELD before a step that reads or writes memory of one of these sets (bit s: set s),
 * and goes on when it is resumed with them free. */
void gd_instance_hold(gd_instance *i, unsigned sets);
/* Calls in the middle of a run, from the thread that runs it; what they return ends the run unless it is OK. */
typedef struct gd_run_hooks {
    void *ctx;
    gd_status (*between)(void *ctx);           /* before every step                                  */
    gd_status (*done)(void *ctx, int binding); /* this output is complete and not touched any more   */
    bool (*cuts)(void *ctx, int binding);      /* whether `done` acts on it at once; NULL: never. A run that is replayed is cut
                                                  there, and told of other outputs when its piece has been put on its way */
    /* Puts the sum of what all shards have there in its place, in order with the steps, and the run goes on; NULL: it pauses
     * with COLLECTIVE. A run that is replayed calls it once and does what it did each time.               */
    gd_status (*sum)(void *ctx, float *data, int64_t count);
} gd_run_hooks;
void gd_instance_set_hooks(gd_instance *i, const gd_run_hooks *h); /* copied; NULL: none */

/* All of it, for programs without collectives to be served (pauses are passed over; one shard). */
GD_CHECKED gd_status gd_instance_run(gd_instance *i, const gd_run_args *a);
/* With opts.guard: verifies every guard band. Errors: INTERNAL naming the tensor. */
GD_CHECKED gd_status gd_instance_check(const gd_instance *i);

/* Time and GFLOP/s by step kind and step by step, since the instance was made (GANDIST_PROFILE=1). */
void gd_instance_print_profile(const gd_instance *i, FILE *out);

#endif
