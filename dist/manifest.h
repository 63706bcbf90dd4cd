/* dist/manifest.h -- manifest.json of a checkpoint: what it holds, and the proof that it is whole.
 *
 * A JSON object; 64-bit numbers are decimal texts, hashes lower-case hex. The last member is the
 * XXH3-128 of all bytes in front of it, so no byte can change unnoticed. Members: docs/checkpoints.md. */
#ifndef GANDIST_DIST_MANIFEST_H
#define GANDIST_DIST_MANIFEST_H

#include "base/hash.h"
#include "dist/coordinator.h"

enum {
    GD_MANIFEST_VERSION = 1,          /* another one is refused                                    */
    GD_MANIFEST_BYTES_MAX = 64 << 20,
    GD_MANIFEST_FILES_MAX = 10000
};

typedef struct gd_manifest_file {
    char *name;                       /* plain: no slash                                           */
    uint64_t bytes;
    gd_hash128 hash;                  /* of all its bytes                                          */
    uint64_t head;                    /* XXH3-64 of its header                                     */
    bool has_head;                    /* files of the first releases have none                     */
} gd_manifest_file;

typedef struct gd_manifest_tensor {
    char *name;
    gd_shape shape;                   /* as in the file                                            */
    int file;                         /* index into files                                          */
    uint64_t hash;                    /* gd__data_hash of its bytes as in the file                 */
} gd_manifest_tensor;

typedef struct gd_manifest {
    gd_counters counters;
    uint64_t seed, recipe_fingerprint, data_fingerprint, state_hash;
    char *recipe_text, *run_id;       /* NULL: unknown                                             */
    gd_manifest_file *files;          /* names in ascending order                                  */
    int file_count;
    gd_manifest_tensor *tensors;      /* names in ascending order                                  */
    int tensor_count;
} gd_manifest;

/* *text: owner caller. Errors: NOMEM (or a text in it that is no UTF-8). */
GD_CHECKED gd_status gd_manifest_render(const gd_manifest *m, char **text, size_t *bytes);
/* where: the file, for messages. Errors: DATA, NOMEM. */
GD_CHECKED gd_status gd_manifest_parse(const char *where, const char *text, size_t bytes, gd_manifest *out);
void gd_manifest_free(gd_manifest *m);
/* Appends the checksum member to a JSON object text that ends with '}' (tests and render).
 * *text: owner caller. Errors: NOMEM, DATA (no closing brace). */
GD_CHECKED gd_status gd__manifest_seal(const char *body, size_t bytes, char **text, size_t *sealed);

#endif
