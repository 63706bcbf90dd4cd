/* tests/fuzz/data_memory.h -- an I/O table that serves a few files from memory; nothing else exists. */
#ifndef GANDIST_TESTS_FUZZ_DATA_MEMORY_H
#define GANDIST_TESTS_FUZZ_DATA_MEMORY_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "data/dataset.h"

enum { MEMORY_FILES = 4, MEMORY_FD = 1000 };

typedef struct memory_file {
    const char *name; /* NULL: unused */
    const uint8_t *bytes;
    size_t count;
    uint64_t size; /* beyond count: zeros */
} memory_file;

static memory_file memory[MEMORY_FILES];
static const char *memory_folder; /* NULL: none */
static int memory_open_now;

static int memory_find(const char *path) {
    for (int i = 0; i < MEMORY_FILES; i++)
        if (memory[i].name && !strcmp(path, memory[i].name)) return i;
    errno = ENOENT;
    return -1;
}

static int memory_stat_file(int i, struct stat *st) {
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG | 0444;
    st->st_size = (off_t)memory[i].size;
    return 0;
}

static int memory_stat(const char *path, struct stat *st) {
    if (memory_folder && !strcmp(path, memory_folder)) {
        memset(st, 0, sizeof *st);
        st->st_mode = S_IFDIR | 0555;
        return 0;
    }
    const int i = memory_find(path);
    return i < 0 ? -1 : memory_stat_file(i, st);
}

static int memory_open(const char *path, int flags, mode_t mode) {
    (void)flags;
    (void)mode;
    const int i = memory_find(path);
    if (i < 0) return -1;
    memory_open_now++;
    return MEMORY_FD + i;
}

static int memory_fstat(int fd, struct stat *st) { return memory_stat_file(fd - MEMORY_FD, st); }

static int memory_close(int fd) {
    if (fd < MEMORY_FD) abort();
    memory_open_now--;
    return 0;
}

static ssize_t memory_pread(int fd, void *buf, size_t n, off_t at) {
    const memory_file *f = &memory[fd - MEMORY_FD];
    if (at < 0 || (uint64_t)at > f->size) return -1;
    if (n > f->size - (uint64_t)at) n = (size_t)(f->size - (uint64_t)at);
    memset(buf, 0, n);
    if ((size_t)at < f->count) memcpy(buf, f->bytes + at, n < f->count - (size_t)at ? n : f->count - (size_t)at);
    return (ssize_t)n;
}

static void memory_begin(void) {
    static gd_io table;
    table = *gd_io_system();
    table.stat = memory_stat;
    table.lstat = memory_stat;
    table.open = memory_open;
    table.fstat = memory_fstat;
    table.close = memory_close;
    table.pread = memory_pread;
    gd_io_set(&table);
}

static void memory_end(void) {
    gd_io_set(NULL);
    if (memory_open_now) abort();
}

/* Some samples of all parts, and the labels. may_fail: damage may come out with the sample. */
static void memory_use(const gd_dataset *d, bool may_fail) {
    for (int p = 0; p < gd_dataset_parts(d); p++) {
        const int64_t count = gd_dataset_part_count(d, p), places[] = {0, count / 2, count - 1};
        const size_t bytes = gd_sample_bytes(gd_dataset_shape(d, p));
        if (bytes > 1 << 22) continue; /* valid, but slow */
        uint8_t *out = malloc(bytes ? bytes : 1);
        if (!out || count < 1) abort();
        for (uint64_t i = 0; i < 3; i++) {
            const gd_status st = gd_dataset_get(d, p, places[i], i, out);
            if (st != GD_OK && !(may_fail && (st == GD_DATA || st == GD_NOMEM))) abort();
            const int label = gd_dataset_label(d, places[i] % gd_dataset_part_count(d, 0));
            if (gd_dataset_classes(d) ? label < 0 || label >= gd_dataset_classes(d) : label != -1) abort();
        }
        free(out);
    }
}

#endif
