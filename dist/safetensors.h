/* dist/safetensors.h -- headers of safetensors files: strict reading, reproducible writing.
 *
 *   8 bytes N (little-endian) | N bytes JSON header, padded with spaces | tensor bytes to the end
 *
 * gandist's own files hold F32 tensors of rank 0 to GD_RANK_MAX; weights that come from or go elsewhere may
 * have other types. A file may come from anywhere: every rule of the format is checked before a byte of it is
 * believed. */
#ifndef GANDIST_DIST_SAFETENSORS_H
#define GANDIST_DIST_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "compute/graph.h"

enum {
    GD_SAFETENSORS_HEADER_MAX = 16 << 20, /* bytes of N; the format allows 100,000,000      */
    GD_SAFETENSORS_TENSORS_MAX = 100000,
    GD_SAFETENSORS_NAME_MAX = 255,
    GD_SAFETENSORS_ALIGN = 64             /* of the first tensor byte in files that we write */
};

typedef enum gd_safetensor_type { /* F32 is 0: what a tensor is unless said otherwise */
    GD_SAFETENSOR_F32,
    GD_SAFETENSOR_F16,
    GD_SAFETENSOR_BF16,
    GD_SAFETENSOR_F64,
    GD_SAFETENSOR_I64,
    GD_SAFETENSOR_TYPE_COUNT
} gd_safetensor_type;
size_t gd_safetensor_type_bytes(gd_safetensor_type t);
const char *gd_safetensor_type_text(gd_safetensor_type t); /* "F32" */

typedef struct gd_safetensor {
    char *name;
    gd_safetensor_type type;
    gd_shape shape;
    uint64_t begin, end; /* bytes behind data_at */
} gd_safetensor;

typedef struct gd_safetensors {
    gd_safetensor *tensor; /* in the order of their bytes */
    int count;
    uint64_t data_at;      /* file offset of the first tensor byte: 8 + N */
    uint64_t hash;         /* XXH3-64 of these 8 + N bytes                */
    char *step;            /* "gandist.step" of __metadata__; NULL: none   */
} gd_safetensors;

/* Checks the header of a file of `file_bytes` bytes whose first `bytes` bytes are in `head`
 * (bytes >= 8 + N, or the whole file). where: the file, for messages. Errors: DATA, NOMEM. */
GD_CHECKED gd_status gd_safetensors_parse(const char *where, const void *head, size_t bytes, uint64_t file_bytes,
                                          gd_safetensors *out);
/* The same from an open file. Errors: DATA, IO, NOMEM. */
GD_CHECKED gd_status gd_safetensors_read(int fd, const char *path, uint64_t file_bytes, gd_safetensors *out);
/* The same for a file of others: every type of gd_safetensor_type. Errors: as above. */
GD_CHECKED gd_status gd_safetensors_read_any(int fd, const char *path, uint64_t file_bytes, gd_safetensors *out);
void gd_safetensors_free(gd_safetensors *h); /* what parse and read filled in */

/* Makes the 8 + N bytes in front of tensors that follow each other in the order given. Fills in
 * begin and end. metadata: name, value, name, value, ..., NULL. *head: owner caller (malloc'ed). Errors: DATA (a name that the format cannot hold), NOMEM. */
GD_CHECKED gd_status gd_safetensors_head(gd_safetensor *tensor, int count, const char *const *metadata, char **head,
                                         size_t *bytes);

#endif
