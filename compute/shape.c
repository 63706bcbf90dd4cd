/* compute/shape.c -- shapes and dtypes. */
#include "compute/graph.h"

#include <inttypes.h>
#include <string.h>

size_t gd_dtype_bytes(gd_dtype t) {
    static const size_t bytes[] = {[GD_F32] = 4, [GD_BF16] = 2, [GD_U8] = 1};
    return bytes[t];
}

const char *gd_dtype_text(gd_dtype t) {
    static const char *const text[] = {[GD_F32] = "f32", [GD_BF16] = "bf16", [GD_U8] = "u8"};
    return text[t];
}

gd_shape gd_shape1(int64_t a) { return (gd_shape){1, {a}}; }
gd_shape gd_shape2(int64_t a, int64_t b) { return (gd_shape){2, {a, b}}; }
gd_shape gd_shape4(int64_t n, int64_t h, int64_t w, int64_t c) { return (gd_shape){4, {n, h, w, c}}; }

int64_t gd_shape_count(gd_shape s) {
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return n;
}

bool gd_shape_equal(gd_shape a, gd_shape b) {
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

void gd_shape_text(gd_shape s, char out[96]) {
    size_t n = 0;
    out[n++] = '[';
    for (int i = 0; i < s.rank; i++) n += (size_t)snprintf(out + n, 96 - n, i ? ",%" PRId64 : "%" PRId64, s.dim[i]);
    memcpy(out + n, "]", 2); /* four numbers of 20 digits at most: fits */
}
