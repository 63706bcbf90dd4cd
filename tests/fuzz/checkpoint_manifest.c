/* Manifests: as they are (nearly all changes break the checksum), and sealed with the right checksum,
 * as an attacker would. What is accepted can be written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dist/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition) {
    if (!condition) abort();
}

static void try_one(const char *text, size_t bytes) {
    gd_manifest m, again;
    char *rendered = NULL;
    size_t n = 0;
    gd_status st = gd_manifest_parse("input", text, bytes, &m);
    if (st != GD_OK) {
        check(st == GD_DATA && m.files == NULL && strlen(gd_error_message()) > 8);
        return;
    }
    for (int i = 0; i < m.file_count; i++) check(!strchr(m.files[i].name, '/') && m.files[i].name[0] != '.');
    for (int i = 0; i < m.tensor_count; i++) check(m.tensors[i].file >= 0 && m.tensors[i].file < m.file_count);
    check(gd_manifest_render(&m, &rendered, &n) == GD_OK);
    check(gd_manifest_parse("again", rendered, n, &again) == GD_OK);
    check(again.tensor_count == m.tensor_count && again.state_hash == m.state_hash && again.seed == m.seed);
    free(rendered);
    gd_manifest_free(&m);
    gd_manifest_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *sealed = NULL;
    size_t bytes = 0;
    try_one((const char *)data, size);
    if (gd__manifest_seal((const char *)data, size, &sealed, &bytes) == GD_OK) try_one(sealed, bytes);
    free(sealed);
    return 0;
}
