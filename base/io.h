/* base/io.h -- the only door to the file system.
 *
 * All file access of gandist goes through the table in use, so a test can fail, shorten, delay or
 * record any call. Entries have the meaning of the system call of that name and set errno. */
#ifndef GANDIST_BASE_IO_H
#define GANDIST_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/status.h"

typedef struct gd_io { /* every entry is required */
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *buf, size_t n);
    ssize_t (*pread)(int fd, void *buf, size_t n, off_t at);
    ssize_t (*write)(int fd, const void *buf, size_t n);
    int (*fsync)(int fd);
    int (*fstat)(int fd, struct stat *st);
    int (*stat)(const char *path, struct stat *st);
    int (*lstat)(const char *path, struct stat *st);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rename_noreplace)(const char *from, const char *to); /* EEXIST if `to` exists */
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*rmdir)(const char *path);
    int (*ftruncate)(int fd, off_t length);
    int64_t (*free_bytes)(const char *path); /* for this user, on the file system of path; -1 errno */
    /* Names in path except . and .., sorted bytewise. *names: malloc'ed array of malloc'ed strings,
     * caller frees (gd_io_free_names). -1 with errno. */
    int (*list)(const char *path, char ***names, size_t *count);
} gd_io;

const gd_io *gd_io_system(void);      /* the real calls                                            */
const gd_io *gd_io_get(void);         /* the table in use                                          */
void gd_io_set(const gd_io *table);   /* NULL: back to the system's. Not thread safe: tests only.  */
void gd_io_free_names(char **names, size_t count);

/* Whole regular file into memory. *out is malloc'ed with one NUL behind its *bytes (caller frees).
 * Refuses directories, FIFOs, devices and files above `limit` bytes, each with its own message.
 * Errors: NOINPUT (does not exist, is no regular file, not readable), DATA (too large), IO, NOMEM. */
GD_CHECKED gd_status gd_file_read(const char *path, size_t limit, void **out, size_t *bytes);
/* Opens a regular file for reading (never blocks on a FIFO). *size = its length. Errors as above. */
GD_CHECKED gd_status gd_file_open(const char *path, int *fd, uint64_t *size);
/* Reads exactly n bytes at `at`, retrying EINTR and short reads. Errors: IO, DATA (file ends). */
GD_CHECKED gd_status gd_file_pread(int fd, const char *path, void *buf, size_t n, uint64_t at);
/* A hint, which changes nothing but time: these bytes were just written, and may go to the disk while more is made. */
void gd_file_has_written(int fd, uint64_t at, uint64_t bytes);
/* Writes all of buf to fd, retrying EINTR and short writes. Errors: IO. */
GD_CHECKED gd_status gd_file_write_fd(int fd, const char *path, const void *buf, size_t n);
/* Temporary name, write, fsync, close, rename over path, fsync of the folder: path holds the old or
 * the new content, never a part. Errors: CANTCREAT, IO. */
GD_CHECKED gd_status gd_file_write(const char *path, const void *buf, size_t bytes);
/* O_APPEND write of one record. Creates the file. Errors: CANTCREAT, IO. */
GD_CHECKED gd_status gd_file_append(const char *path, const void *buf, size_t bytes);
GD_CHECKED gd_status gd_dir_make(const char *path); /* with parents; existing is fine. CANTCREAT   */
GD_CHECKED gd_status gd_dir_sync(const char *path); /* fsync of the folder. IO                     */
GD_CHECKED gd_status gd_dir_remove(const char *path); /* with all below it; missing is fine. IO    */
bool gd_path_exists(const char *path);
bool gd_path_is_dir(const char *path);
/* folder/name. owner: caller (malloc'ed). NULL: no memory. */
char *gd_path_join(const char *folder, const char *name);

#endif
