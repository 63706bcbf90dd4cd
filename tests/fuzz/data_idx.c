/* Any bytes as an IDX file, through an I/O table that serves them from memory. The file is named .gz
 * exactly when it starts like one, so that both readers are reached. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *bytes;
static size_t byte_count;
static const char *name;

static int mem_stat(const char *path, struct stat *st) {
    if (strcmp(path, name) != 0) {
        errno = ENOENT;
        return -1;
    }
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG | 0444;
    st->st_size = (off_t)byte_count;
    return 0;
}

static int mem_open(const char *path, int flags, mode_t mode) {
    struct stat st;
    (void)flags;
    (void)mode;
    return mem_stat(path, &st) ? -1 : 1000;
}

static int mem_fstat(int fd, struct stat *st) { return fd == 1000 ? mem_stat(name, st) : -1; }

static int mem_close(int fd) { return fd == 1000 ? 0 : -1; }

static ssize_t mem_pread(int fd, void *buf, size_t n, off_t at) {
    if (fd != 1000 || at < 0 || (size_t)at > byte_count) return -1;
    size_t left = byte_count - (size_t)at;
    if (n > left) n = left;
    memcpy(buf, bytes + at, n);
    return (ssize_t)n;
}

static void use_set(gd_dataset *d) {
    gd_sample_shape s = gd_dataset_shape(d, 0);
    int64_t count = gd_dataset_count(d), places[] = {0, count / 2, count - 1};
    uint8_t *out = malloc(gd_sample_bytes(s));
    if (!out || count < 1) abort();
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (gd_dataset_get(d, 0, places[i], i, out) != GD_OK) abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gd_io table = *gd_io_system();
    gd_dataset *d;
    bytes = data;
    byte_count = size;
    name = size >= 2 && data[0] == 0x1F && data[1] == 0x8B ? "fuzz.gz" : "fuzz";
    table.stat = mem_stat;
    table.open = mem_open;
    table.fstat = mem_fstat;
    table.close = mem_close;
    table.pread = mem_pread;
    gd_io_set(&table);
    for (int size_px = 0; size_px <= 8; size_px += 8) {
        gd_dataset_spec spec = {
            .source = "idx", .path = name, .size = size_px, .channels = size_px ? 3 : 0, .flip = true};
        gd_status st = gd_dataset_open(&spec, &d);
        if (st == GD_OK) {
            use_set(d);
            gd_dataset_close(d);
        } else if ((st != GD_DATA && st != GD_NOMEM) || !strstr(gd_error_message(), "fuzz")) {
            abort();
        }
    }
    gd_io_set(NULL);
    return 0;
}
