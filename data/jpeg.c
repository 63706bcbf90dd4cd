/* data/jpeg.c -- JPEG through TurboJPEG: accurate DCT, smooth chroma upsampling, EXIF orientation
 * ignored, as Pillow and torchvision decode. Any defect that the library would paper over is an error. */
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "data/image_internal.h"

enum { FLAGS = TJFLAG_STOPONWARNING | TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS };

enum {
    MARKER_SOF0 = 0xC0,
    MARKER_DHT = 0xC4,
    MARKER_JPG = 0xC8,
    MARKER_DAC = 0xCC,
    MARKER_SOF15 = 0xCF,
    MARKER_RST0 = 0xD0,
    MARKER_SOI = 0xD8,
    MARKER_EOI = 0xD9,
    MARKER_SOS = 0xDA,
    MARKER_TEM = 0x01
};

static bool has_no_length(int marker) {
    return marker == MARKER_TEM || (marker >= MARKER_RST0 && marker <= MARKER_EOI);
}

static bool is_frame(int marker) {
    return marker >= MARKER_SOF0 && marker <= MARKER_SOF15 && marker != MARKER_DHT && marker != MARKER_JPG &&
           marker != MARKER_DAC;
}

/* What a walk over the markers tells without decoding. */
typedef struct jpeg_walk {
    int scans;
    bool ended; /* an EOI was seen */
    uint64_t width, height;
} jpeg_walk;

static jpeg_walk walk(const uint8_t *b, size_t n) {
    jpeg_walk w = {0};
    size_t at = 2;
    while (at + 1 < n && !w.ended) {
        int marker = b[at + 1];
        if (b[at] != 0xFF || marker == 0x00 || marker == 0xFF) { /* scan data, or fill bytes */
            at++;
            continue;
        }
        at += 2;
        w.ended = marker == MARKER_EOI;
        if (has_no_length(marker)) continue;
        if (at + 2 > n) break;
        size_t length = (size_t)b[at] << 8 | b[at + 1];
        if (is_frame(marker) && length >= 7 && at + 7 <= n && !w.width) {
            w.height = (uint64_t)b[at + 3] << 8 | b[at + 4];
            w.width = (uint64_t)b[at + 5] << 8 | b[at + 6];
        }
        w.scans += marker == MARKER_SOS;
        at += length;
    }
    return w;
}

gd_status gd__jpeg_probe(const char *name, const uint8_t *b, size_t n, gd__image_info *out, bool *more) {
    jpeg_walk found = walk(b, n);
    /* Before the library sees it: it would refuse sizes with a message of its own. */
    if (found.width) GD_TRY(gd__image_limits(name, found.width, found.height));
    tjhandle tj = tjInitDecompress();
    if (!tj) GD_FAIL(NOMEM, "%s: no memory to decode a JPEG", name);
    int width = 0, height = 0, sampling, space = TJCS_RGB;
    gd_status st = GD_OK;
    if (tjDecompressHeader3(tj, b, n, &width, &height, &sampling, &space)) {
        *more = true;
        GD_FAIL_TO(done, DATA, "%s: damaged JPEG: %s; " GD__REPLACE, name, tjGetErrorStr2(tj));
    }
    if (space == TJCS_CMYK || space == TJCS_YCCK)
        GD_FAIL_TO(done, DATA, "%s: CMYK JPEG; expected grey or RGB; convert or remove the file", name);
    *out = (gd__image_info){height, width, space == TJCS_GRAY ? 1 : 3, true};
done:
    tjDestroy(tj);
    return st;
}

/* The first row that a failed decoding left as it was: fill, decode again, look from below. */
static int rows_decoded(tjhandle tj, const uint8_t *bytes, size_t n, gd_image *im, int format) {
    size_t line = (size_t)im->width * (size_t)im->channels;
    memset(im->pixels, 0xA5, line * (size_t)im->height);
    (void)tjDecompress2(tj, bytes, n, im->pixels, im->width, 0, im->height, format, FLAGS);
    int row = im->height;
    for (; row > 0; row--) {
        const uint8_t *p = im->pixels + (size_t)(row - 1) * line;
        if (p[0] != 0xA5 || memcmp(p, p + 1, line - 1)) break;
    }
    return row;
}

static gd_status decode_failed(const char *name, tjhandle tj, const uint8_t *bytes, size_t n, gd_image *im,
                               int format) {
    char why[200];
    strncpy(why, tjGetErrorStr2(tj), sizeof why - 1);
    why[sizeof why - 1] = 0;
    if (!walk(bytes, n).ended)
        GD_FAIL(DATA, "%s: damaged JPEG: ends early (row %d of %d); " GD__REPLACE, name,
                rows_decoded(tj, bytes, n, im, format), im->height);
    GD_FAIL(DATA, "%s: damaged JPEG: %s; " GD__REPLACE, name, why);
}

gd_status gd__jpeg_decode(const char *name, const uint8_t *bytes, size_t n, const gd__image_info *info, gd_image *out) {
    int scans = walk(bytes, n).scans;
    if (scans > GD__SCANS_MAX)
        GD_FAIL(DATA, "%s: more than %d scans (%d) in one JPEG; save it again or remove the file", name, GD__SCANS_MAX,
                scans);
    gd_image im = {0};
    gd_status st = GD_OK;
    int format = info->channels == 1 ? TJPF_GRAY : TJPF_RGB;
    tjhandle tj = tjInitDecompress();
    if (!tj) GD_FAIL(NOMEM, "%s: no memory to decode a JPEG", name);
    GD_TRY_TO(fail, gd__image_new(name, info->height, info->width, info->channels, &im));
    if (tjDecompress2(tj, bytes, n, im.pixels, im.width, 0, im.height, format, FLAGS))
        GD_TRY_TO(fail, decode_failed(name, tj, bytes, n, &im, format));
    tjDestroy(tj);
    *out = im;
    return GD_OK;
fail:
    gd_image_free(&im);
    tjDestroy(tj);
    return st;
}
