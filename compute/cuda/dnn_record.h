/* compute/cuda/dnn_record.h -- chosen plans as text: on disk, and from rank 0 to all. Needs nothing of cuDNN. Folder-internal.
 *
 * A record is a JSON object that ends with a hash of all the rest, since cuDNN does not check what it is given: who reads one
 * that was not written by this code gets DATA. A list is such objects in one array. */
#ifndef GANDIST_COMPUTE_CUDA_DNN_RECORD_H
#define GANDIST_COMPUTE_CUDA_DNN_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct gd__dnn_record {
    char *key;  /* cuDNN's version, device, problem, what was asked for */
    char *plan; /* cuDNN's JSON                                          */
    int64_t engine;
    size_t workspace;
    bool tensor_cores, deterministic;
    double seconds; /* what it took; 0: nobody timed it    */
    int candidates; /* of which it was the fastest         */
    bool imported;  /* not in the text: came from elsewhere */
} gd__dnn_record;
void gd__dnn_record_free(gd__dnn_record *r); /* its texts; *r is empty then */
/* *text: owner: caller, free. Errors: NOMEM. */
GD_CHECKED gd_status gd__dnn_record_print(const gd__dnn_record *r, char **text);
/* *out: owner: caller, gd__dnn_record_free. Errors: DATA (says why), NOMEM. */
GD_CHECKED gd_status gd__dnn_record_parse(const void *text, size_t bytes, gd__dnn_record *out);

typedef struct gd__dnn_records {
    int n, room;
    gd__dnn_record *list;
} gd__dnn_records;
void gd__dnn_records_free(gd__dnn_records *r);
gd__dnn_record *gd__dnn_records_find(const gd__dnn_records *r, const char *key); /* NULL: none */
/* Takes *one over, in place of one with the same key; *one is empty then, also on an error. Errors: NOMEM. */
GD_CHECKED gd_status gd__dnn_records_put(gd__dnn_records *r, gd__dnn_record *one);
GD_CHECKED gd_status gd__dnn_records_print(const gd__dnn_records *r, char **text);
/* Errors: DATA, NOMEM; *out is empty then. */
GD_CHECKED gd_status gd__dnn_records_parse(const void *text, size_t bytes, gd__dnn_records *out);

#endif
