/* tests/ops/harness.h -- runs small graphs on an executor with every value held as double. */
#ifndef GANDIST_TESTS_OPS_HARNESS_H
#define GANDIST_TESTS_OPS_HARNESS_H

#include "compute/exec.h"

/* Prints what and the error record, and ends the test with 1. */
void ops_die(const char *what) __attribute__((noreturn));
void ops_need(gd_status st, const char *what);
gd_graph *ops_graph(int64_t shards);

typedef struct ops_buffer {
    gd_binding is;
    int64_t count;
    double *value;    /* what the test reads and writes */
    void *raw;        /* what the executor sees; value itself in ref */
} ops_buffer;

/* A program, its only instance and one buffer a binding. */
typedef struct ops_prog {
    const gd_executor *x;
    gd_program *p;
    gd_instance *i;
    int n;
    ops_buffer *buffer;
} ops_prog;

/* Guard bands are on. */
ops_prog ops_make(const gd_graph *g, const gd_executor *x, int n_out, const gd_output *out,
                  gd_precision precision);
void ops_free(ops_prog *p);
/* Values bound to name; NULL: the program does not have it. */
double *ops_value(const ops_prog *p, const char *name, int64_t *count);
void ops_send(ops_prog *p); /* values -> executor */
void ops_fetch(ops_prog *p);
void ops_run(ops_prog *p);  /* send, run, check guards, fetch */

typedef enum ops_fill {
    OPS_NORMAL,   /* standard normal                                            */
    OPS_POSITIVE, /* 0.5 to 2                                                   */
    OPS_AWAY,     /* 0.2 to 1.5 with either sign: away from the kink at 0       */
    OPS_EVEN,     /* near even multiples of 0.1, and OPS_ODD near odd ones:     */
    OPS_ODD,      /* never close to each other (kinks of max and min)           */
    OPS_BYTE      /* 0 to 255, whole numbers                                    */
} ops_fill;
/* Fills with values that float holds exactly, keyed by (seed, key). */
void ops_draw(double *to, int64_t count, ops_fill how, uint64_t seed, uint64_t key);

double ops_dot(const double *a, const double *b, int64_t n);
/* Largest |a - b|, over the largest |b| (at least `floor`). NaN anywhere: infinity. */
double ops_distance(const double *a, const double *b, int64_t n, double floor);

#endif
