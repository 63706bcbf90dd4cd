/* data/span.c -- pictures that are a span of a file: the whole of it, or a member of a tar.
 *
 * Two short reads find what is no picture, what is too large, and what is cut off: a picture that lacks the
 * end of its format is decoded at once, so that damage is named before training and not hours later. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "data/image_internal.h"

enum { HEAD = 4096, TAIL = 12, SPAN_MAX = 256 << 20 };

gd_status gd__span_read(int fd, const char *name, uint64_t at, uint64_t n, void **bytes) {
    char text[32];
    gd_text_bytes(n, text, sizeof text);
    if (n > SPAN_MAX)
        GD_FAIL(DATA, "%s: a picture file of %s; the limit is 268 MB; shrink or remove the file", name, text);
    void *made = malloc(n ? (size_t)n : 1);
    if (!made) GD_FAIL(NOMEM, "%s: no memory for a file of %s", name, text);
    gd_status st = gd_file_pread(fd, name, made, (size_t)n, at);
    if (st == GD_OK) {
        *bytes = made;
        return GD_OK;
    }
    free(made);
    return gd_trace(st, __FILE__, __LINE__);
}

static bool ends_well(const uint8_t *end, size_t n, bool jpeg) {
    static const uint8_t iend[12] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
    if (jpeg) return n >= 2 && end[n - 2] == 0xFF && end[n - 1] == 0xD9;
    return n >= sizeof iend && !memcmp(end + n - sizeof iend, iend, sizeof iend);
}

/* Everything that the short way could not tell. */
static gd_status probe_whole(int fd, const char *name, uint64_t at, uint64_t n, gd__image_info *info) {
    void *bytes;
    gd_image im = {0};
    gd_status st;
    GD_TRY(gd__span_read(fd, name, at, n, &bytes));
    GD_TRY_TO(done, gd__image_probe(name, bytes, (size_t)n, info, NULL));
    if (!ends_well(bytes, (size_t)n, info->jpeg)) GD_TRY_TO(done, gd_image_decode(name, bytes, (size_t)n, 0, &im));
done:
    gd_image_free(&im);
    free(bytes);
    return st;
}

gd_status gd__span_probe(int fd, const char *name, uint64_t at, uint64_t n, gd__image_info *out) {
    uint8_t head[HEAD], tail[TAIL];
    bool more;
    const size_t h = n < HEAD ? (size_t)n : HEAD, t = h < TAIL ? h : TAIL;
    GD_TRY(gd_file_pread(fd, name, head, h, at));
    if (n > HEAD) GD_TRY(gd_file_pread(fd, name, tail, TAIL, at + n - TAIL));
    else memcpy(tail, head + h - t, t);
    gd_status st = gd__image_probe(name, head, h, out, &more);
    if (st == GD_OK && ends_well(tail, t, out->jpeg)) return GD_OK;
    if (st != GD_OK && !(more && n > HEAD)) return gd_trace(st, __FILE__, __LINE__);
    GD_TRY(probe_whole(fd, name, at, n, out));
    return GD_OK;
}
