/* data/idx_file.c -- reads IDX files (MNIST family), gzipped or not, into memory.
 *
 * Layout: 00 00, type (08: bytes), number of dimensions d, d big-endian 32-bit sizes, then the
 * values, last index fastest. Images have the sizes N, H, W or N, H, W, C.
 * Nothing is allocated for the pixels before the file's length says that they can be there. */
#include <inttypes.h>
#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "data/idx.h"
#include "data/image_internal.h"

enum { DIMS_MAX = 4, BUFFER = 1 << 18, DEFLATE_RATIO = 1032 /* deflate cannot pack more tightly */ };
static const uint64_t BYTES_MAX = (uint64_t)16 << 30;

/* ---- bytes of a file, unpacked when it is gzipped ---- */

typedef struct input {
    const char *path;
    int fd;
    uint64_t size, at; /* of the file; next byte to read from it */
    bool gz, ended;    /* ended: the gzip trailer was reached and its checksum is right */
    /* ISA-L unpacks twice as fast as zlib, and every rank of a job does it at the same time. */
    struct inflate_state *z;
    uint8_t *buffer; /* BUFFER packed bytes; NULL: plain */
} input;

static void input_close(input *in) {
    free(in->z);
    free(in->buffer);
    if (in->fd >= 0) gd_io_get()->close(in->fd);
}

static bool named_gz(const char *path) {
    size_t n = strlen(path);
    return n > 3 && !strcmp(path + n - 3, ".gz");
}

static gd_status start_gzip(input *in) {
    in->buffer = malloc(BUFFER);
    in->z = calloc(1, sizeof *in->z);
    if (!in->buffer || !in->z) GD_FAIL(NOMEM, "%s: no memory to unpack it", in->path);
    isal_inflate_init(in->z);
    in->z->crc_flag = ISAL_GZIP; /* header and trailer are checked, too */
    return GD_OK;
}

static gd_status input_open(const char *path, input *in) {
    uint8_t start[4] = {0};
    *in = (input){.path = path, .fd = -1};
    GD_TRY(gd_file_open(path, &in->fd, &in->size));
    if (!in->size) GD_FAIL(DATA, "%s: 0 bytes; expected an IDX file; replace it", path);
    if (in->size < sizeof start)
        GD_FAIL(DATA, "%s: %" PRIu64 " bytes; too short for an IDX file; replace it", path, in->size);
    GD_TRY(gd_file_pread(in->fd, path, start, sizeof start, 0));
    in->gz = start[0] == 0x1F && start[1] == 0x8B;
    if (in->gz && !named_gz(path))
        GD_FAIL(DATA, "%s: gzip data in a file that is not named .gz; run gunzip or name it .gz", path);
    if (!in->gz && named_gz(path))
        GD_FAIL(DATA,
                "%s: named .gz, but starts with %02X %02X; expected gzip data (1F 8B); if it is "
                "unpacked already, take the .gz off its name",
                path, start[0], start[1]);
    return in->gz ? start_gzip(in) : GD_OK;
}

static gd_status refill(input *in) {
    uint64_t left = in->size - in->at;
    size_t n = left < BUFFER ? (size_t)left : BUFFER;
    GD_TRY(gd_file_pread(in->fd, in->path, in->buffer, n, in->at));
    in->at += n;
    in->z->next_in = in->buffer;
    in->z->avail_in = (uint32_t)n;
    return GD_OK;
}

static gd_status read_gzip(input *in, uint8_t *out, size_t n, size_t *got) {
    size_t done = 0;
    while (done < n && !in->ended) {
        if (!in->z->avail_in && in->at < in->size) GD_TRY(refill(in));
        uint32_t room = n - done < INT32_MAX ? (uint32_t)(n - done) : INT32_MAX, packed = in->z->avail_in;
        in->z->next_out = out + done;
        in->z->avail_out = room;
        int r = isal_inflate(in->z);
        size_t made = room - in->z->avail_out;
        done += made;
        in->ended = in->z->block_state == ISAL_BLOCK_FINISH;
        if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
            GD_FAIL(DATA, "%s: damaged gzip data (%s); expected a whole file; copy it again", in->path,
                    r == ISAL_INCORRECT_CHECKSUM ? "incorrect data check" : "it cannot be unpacked");
        if (!in->ended && !made && in->z->avail_in == packed && in->at == in->size) /* no input is left */
            GD_FAIL(DATA, "%s: the gzip data ends early; expected a whole file; copy it again", in->path);
    }
    *got = done;
    return GD_OK;
}

/* Up to n bytes; *got < n only at the end. Both kinds of file end where the IDX data ends, or not. */
static gd_status input_read(input *in, void *out, size_t n, size_t *got) {
    if (in->gz) return read_gzip(in, out, n, got);
    uint64_t left = in->size - in->at;
    *got = n < left ? n : (size_t)left;
    GD_TRY(gd_file_pread(in->fd, in->path, out, *got, in->at));
    in->at += *got;
    return GD_OK;
}

/* ---- header ---- */

typedef struct idx_header {
    int dims;
    uint32_t dim[DIMS_MAX];
    uint64_t header_bytes, data_bytes;
} idx_header;

static const char *type_name(int type) {
    switch (type) {
    case 0x09: return "signed bytes (09)";
    case 0x0B: return "16-bit integers (0B)";
    case 0x0C: return "32-bit integers (0C)";
    case 0x0D: return "32-bit floats (0D)";
    case 0x0E: return "64-bit floats (0E)";
    default: return NULL;
    }
}

static gd_status check_magic(const char *path, const uint8_t m[4]) {
    if (m[0] || m[1] || (m[2] != 0x08 && !type_name(m[2])))
        GD_FAIL(DATA,
                "%s: not an IDX file: starts with %02X %02X %02X %02X; expected 00 00 08 03 (bytes, 3 "
                "dimensions); check data.path",
                path, m[0], m[1], m[2], m[3]);
    if (m[2] != 0x08)
        GD_FAIL(DATA, "%s: an IDX file of %s; expected bytes (08); convert it to 0..255", path, type_name(m[2]));
    if (m[3] < 1 || m[3] > DIMS_MAX)
        GD_FAIL(DATA, "%s: an IDX file of %d dimensions; expected 3 (images, height, width); check data.path", path,
                m[3]);
    return GD_OK;
}

/* "60,000 x 28 x 28" */
static void dims_text(const idx_header *h, char *out, size_t room) {
    size_t used = 0;
    for (int i = 0; i < h->dims && used < room; i++) {
        char n[32];
        gd_text_count(h->dim[i], n, sizeof n);
        used += (size_t)snprintf(out + used, room - used, "%s%s", i ? " x " : "", n);
    }
}

static gd_status read_header(input *in, idx_header *out) {
    uint8_t b[4 + 4 * DIMS_MAX];
    size_t got;
    idx_header h = {.data_bytes = 1};
    GD_TRY(input_read(in, b, 4, &got));
    if (got == 4) GD_TRY(check_magic(in->path, b));
    size_t want = got == 4 ? 4 * (size_t)b[3] : 4;
    if (got == 4) GD_TRY(input_read(in, b + 4, want, &got));
    if (got < want) GD_FAIL(DATA, "%s: ends within its header; expected an IDX file; copy it again", in->path);
    h.dims = b[3];
    h.header_bytes = 4 + want;
    bool overflow = false;
    for (int i = 0; i < h.dims; i++) {
        const uint8_t *p = b + 4 + 4 * i;
        h.dim[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        overflow |= __builtin_mul_overflow(h.data_bytes, h.dim[i], &h.data_bytes);
    }
    if (overflow || h.data_bytes > BYTES_MAX) {
        char dims[160];
        dims_text(&h, dims, sizeof dims);
        GD_FAIL(DATA, "%s: its header says %s bytes; the limit is 16 GiB; check the file", in->path, dims);
    }
    *out = h;
    return GD_OK;
}

static gd_status check_images(const char *path, const idx_header *h) {
    char dims[160];
    dims_text(h, dims, sizeof dims);
    if (h->dims < 3)
        GD_FAIL(DATA, "%s: %d dimension%s (%s)%s; expected 3 (images, height, width); give the file of images", path,
                h->dims, h->dims == 1 ? "" : "s", dims, h->dims == 1 ? " as in a file of labels" : "");
    if (h->dims == 4 && h->dim[3] != 1 && h->dim[3] != 3)
        GD_FAIL(DATA, "%s: images of %u channels (%s); expected 1 or 3, channel fastest; convert it", path,
                (unsigned)h->dim[3], dims);
    if (!h->dim[0]) GD_FAIL(DATA, "%s: 0 images; expected at least one; replace the file", path);
    return gd__image_limits(path, h->dim[2], h->dim[1]);
}

/* Before anything is allocated for the pixels. */
static gd_status check_length(const input *in, const idx_header *h) {
    char dims[160], have[32], want[32], off[32];
    const uint64_t whole = h->header_bytes + h->data_bytes;
    dims_text(h, dims, sizeof dims);
    gd_text_count(in->size, have, sizeof have);
    gd_text_count(whole, want, sizeof want);
    if (in->gz) {
        if (in->size >= whole / DEFLATE_RATIO) return GD_OK;
        GD_FAIL(DATA, "%s: its header says %s, but %s packed bytes cannot hold that; copy it again", in->path, dims,
                have);
    }
    if (in->size == whole) return GD_OK;
    gd_text_count(in->size < whole ? whole - in->size : in->size - whole, off, sizeof off);
    GD_FAIL(DATA, "%s: %s bytes, %s too %s; expected %s by its header (%s); copy it again", in->path, have, off,
            in->size < whole ? "few" : "many", want, dims);
}

/* ---- labels ---- */

/* Where the labels of `path` lie by the family's custom. NULL in *out: the name follows no custom. */
static gd_status labels_path(const char *path, char **out) {
    static const char *const names[][2] = {{"images-idx3", "labels-idx1"}, {"images.idx3", "labels.idx1"}};
    *out = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
        const char *at = strstr(base, names[i][0]);
        if (!at) continue;
        const char *rest = at + strlen(names[i][0]);
        if (asprintf(out, "%.*s%s%s", (int)(at - path), path, names[i][1], rest) < 0) {
            *out = NULL;
            GD_FAIL(NOMEM, "%s: no memory for the name of its labels", path);
        }
        return GD_OK;
    }
    return GD_OK;
}

static gd_status read_data(input *in, const idx_header *h, const char *what, uint8_t **out) {
    size_t got;
    uint8_t *data = malloc(h->data_bytes ? h->data_bytes : 1);
    gd_status st = GD_OK;
    if (!data) {
        char n[32];
        gd_text_bytes(h->data_bytes, n, sizeof n);
        GD_FAIL(NOMEM, "%s: no memory for its %s of %s", in->path, n, what);
    }
    GD_TRY_TO(fail, input_read(in, data, h->data_bytes, &got));
    if (got < h->data_bytes) {
        char have[32], want[32];
        gd_text_count(got, have, sizeof have);
        gd_text_count(h->data_bytes, want, sizeof want);
        GD_FAIL_TO(fail, DATA, "%s: holds %s bytes of %s; expected %s by its header; copy it again", in->path, have,
                   what, want);
    }
    if (in->gz) { /* the last read also reaches the trailer with the checksum */
        uint8_t more;
        GD_TRY_TO(fail, input_read(in, &more, 1, &got));
        if (got || in->z->avail_in || in->at < in->size)
            GD_FAIL_TO(fail, DATA, "%s: holds more data than its header says; expected the end; copy it again",
                       in->path);
    }
    *out = data;
    return GD_OK;
fail:
    free(data);
    return st;
}

/* in: open. A file beside the images of another count tells that files were mixed up. */
static gd_status read_labels(const char *path, input *in, gd__idx *x) {
    idx_header h;
    GD_TRY(read_header(in, &h));
    if (h.dims != 1 || h.dim[0] != x->count) {
        char have[160], want[32];
        dims_text(&h, have, sizeof have);
        gd_text_count((uint64_t)x->count, want, sizeof want);
        GD_FAIL(DATA, "%s: %s labels, but %s images in %s; expected as many; check which files belong together",
                in->path, have, want, path);
    }
    GD_TRY(check_length(in, &h));
    GD_TRY(read_data(in, &h, "labels", &x->labels));
    for (int64_t i = 0; i < x->count; i++)
        if (x->labels[i] >= x->classes) x->classes = x->labels[i] + 1;
    return GD_OK;
}

static gd_status load_labels(const char *path, gd__idx *x) {
    char *labels;
    input in = {.fd = -1};
    gd_status st = GD_OK;
    GD_TRY(labels_path(path, &labels));
    if (!labels || !gd_path_exists(labels)) goto done;
    GD_TRY_TO(done, input_open(labels, &in));
    GD_TRY_TO(done, read_labels(path, &in, x));
done:
    input_close(&in);
    free(labels);
    return st;
}

/* Labels come before pixels: files that were mixed up are found out before the long read. */
gd_status gd__idx_load(const char *path, gd__idx *out) {
    input in;
    idx_header h;
    gd_status st;
    *out = (gd__idx){0};
    GD_TRY_TO(done, input_open(path, &in));
    GD_TRY_TO(done, read_header(&in, &h));
    GD_TRY_TO(done, check_images(path, &h));
    GD_TRY_TO(done, check_length(&in, &h));
    out->count = h.dim[0];
    out->height = (int)h.dim[1];
    out->width = (int)h.dim[2];
    out->channels = h.dims == 4 ? (int)h.dim[3] : 1;
    GD_TRY_TO(done, load_labels(path, out));
    GD_TRY_TO(done, read_data(&in, &h, "pixels", &out->pixels));
done:
    input_close(&in);
    return st;
}

void gd__idx_free(gd__idx *x) {
    free(x->pixels);
    free(x->labels);
    *x = (gd__idx){0};
}
