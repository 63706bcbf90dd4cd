/* Headers of safetensors files: any bytes are refused or give tensors that lie inside the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dist/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gd_safetensors h;
    gd_status st = gd_safetensors_parse("input", data, size, size, &h);
    if (st != GD_OK) {
        check(st == GD_DATA && h.tensor == NULL && strlen(gd_error_message()) > 8);
        return 0;
    }
    uint64_t at = h.data_at;
    for (int i = 0; i < h.count; i++) {
        const gd_safetensor *t = &h.tensor[i];
        check(t->name[0] && h.data_at + t->begin == at);
        check(t->end - t->begin == (uint64_t)gd_shape_count(t->shape) * 4);
        at = h.data_at + t->end;
    }
    check(at == size);
    gd_safetensors_free(&h);
    return 0;
}
