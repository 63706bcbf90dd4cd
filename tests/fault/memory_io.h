/* A file system in memory behind base/io.h: fast enough for a hundred thousand checkpoints, with a log of
 * what was done to it, from which the states after a power cut are made.
 *
 *     mem_start();                 empty, in use, nothing logged
 *     mem_log_begin();             from here on calls are logged, over a copy of what is there now
 *     ... code under test ...
 *     mem_state(cut, loss, n);     becomes: the copy, and the first `cut` operations without the lost ones
 *     mem_stop();
 *
 * An operation is durable when a later fsync of its file, or of the folders whose names it changed, came
 * before the cut; only others may be lost. */
#ifndef GANDIST_TESTS_MEMORY_IO_H
#define GANDIST_TESTS_MEMORY_IO_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

enum { MEM_NODES = 256, MEM_NAMES = 256, MEM_FILES = 32, MEM_OPS = 512, MEM_TEXT = 128, MEM_FIRST_FD = 1 << 20 };

typedef struct mem_node {
    bool used, dir, unreadable;
    char *data;
    size_t size;
} mem_node;

typedef struct mem_name {
    bool used;
    int parent, node;
    char text[MEM_TEXT];
} mem_name;

typedef struct mem_fs {
    mem_node node[MEM_NODES]; /* 0: the root */
    mem_name name[MEM_NAMES];
} mem_fs;

typedef enum mem_kind { MEM_CREATE, MEM_WRITE, MEM_SYNC, MEM_RENAME, MEM_REMOVE } mem_kind;
typedef struct mem_op {
    mem_kind kind;
    int node, parent, to_parent; /* CREATE also of folders, REMOVE too */
    bool dir;
    char name[MEM_TEXT], to[MEM_TEXT];
    size_t at, bytes;
    char *data;
} mem_op;

typedef enum mem_call {
    MEM_CALL_OPEN, MEM_CALL_MAKE, MEM_CALL_READ, MEM_CALL_WRITE, MEM_CALL_FSYNC, MEM_CALL_CLOSE, MEM_CALL_MKDIR,
    MEM_CALL_RENAME, MEM_CALL_UNLINK, MEM_CALL_RMDIR, MEM_CALL_STAT, MEM_CALL_LIST
} mem_call;

static mem_fs mem, mem_base;
static mem_op mem_op_list[MEM_OPS];
static int mem_ops;
static bool mem_logging;
static int64_t mem_budget = -1;   /* bytes that files may have together; -1: no limit       */
static int64_t mem_free_lie = -1; /* what free_bytes says; -1: the truth                    */
/* Asked before every call and told after it. true: the process is dead, and does nothing any more. */
static bool (*mem_gate)(mem_call call, const char *path, bool after);

static struct mem_file {
    bool used, append;
    int node;
    size_t at;
    char path[256];
} mem_file[MEM_FILES];

/* ---- the tree ---- */

static void mem_fs_clear(mem_fs *fs) {
    for (int i = 0; i < MEM_NODES; i++) free(fs->node[i].data);
    memset(fs, 0, sizeof *fs);
    fs->node[0] = (mem_node){.used = true, .dir = true};
}

static void mem_fs_copy(mem_fs *to, const mem_fs *from) {
    mem_fs_clear(to);
    memcpy(to, from, sizeof *to);
    for (int i = 0; i < MEM_NODES; i++) {
        if (!from->node[i].data) continue;
        to->node[i].data = malloc(from->node[i].size ? from->node[i].size : 1);
        assert(to->node[i].data);
        memcpy(to->node[i].data, from->node[i].data, from->node[i].size);
    }
}

static mem_name *mem_entry(int parent, const char *text) {
    for (int i = 0; i < MEM_NAMES; i++)
        if (mem.name[i].used && mem.name[i].parent == parent && !strcmp(mem.name[i].text, text)) return &mem.name[i];
    return NULL;
}

static int mem_parent_of(int node) {
    for (int i = 0; i < MEM_NAMES; i++)
        if (mem.name[i].used && mem.name[i].node == node) return mem.name[i].parent;
    return 0;
}

static void mem_set_name(int parent, const char *text, int node) {
    mem_name *e = mem_entry(parent, text);
    for (int i = 0; i < MEM_NAMES && !e; i++)
        if (!mem.name[i].used) e = &mem.name[i];
    assert(e);
    *e = (mem_name){.used = true, .parent = parent, .node = node};
    snprintf(e->text, sizeof e->text, "%s", text);
}

static void mem_drop_name(int parent, const char *text) {
    mem_name *e = mem_entry(parent, text);
    if (e) e->used = false;
}

/* Folder and last part of a path. -1 and errno: a folder on the way is missing. */
static int mem_walk(const char *path, char last[MEM_TEXT]) {
    int at = 0;
    last[0] = '\0';
    while (*path) {
        size_t n = strcspn(path, "/");
        if (n && last[0]) { /* the part before is a folder */
            if (!strcmp(last, "..")) at = mem_parent_of(at);
            else if (strcmp(last, ".") != 0) {
                mem_name *e = mem_entry(at, last);
                if (!e || !mem.node[e->node].dir) {
                    errno = e ? ENOTDIR : ENOENT;
                    return -1;
                }
                at = e->node;
            }
        }
        if (n) {
            assert(n < MEM_TEXT);
            memcpy(last, path, n);
            last[n] = '\0';
        }
        path += n + (path[n] == '/');
    }
    return at;
}

static int mem_find(const char *path) {
    char last[MEM_TEXT];
    int at = mem_walk(path, last);
    if (at < 0 || !last[0]) return at;
    if (!strcmp(last, ".")) return at;
    if (!strcmp(last, "..")) return mem_parent_of(at);
    mem_name *e = mem_entry(at, last);
    if (e) return e->node;
    errno = ENOENT;
    return -1;
}

static int mem_new_node(bool dir) {
    for (int i = 1; i < MEM_NODES; i++) {
        if (mem.node[i].used) continue;
        mem.node[i] = (mem_node){.used = true, .dir = dir, .data = dir ? NULL : calloc(1, 1)};
        assert(dir || mem.node[i].data);
        return i;
    }
    assert(!"too many files");
    return -1;
}

/* A node without a name and without an open file is gone; not while logging: the log names nodes. */
static void mem_collect(int node) {
    if (mem_logging || node == 0) return;
    for (int i = 0; i < MEM_NAMES; i++)
        if (mem.name[i].used && mem.name[i].node == node) return;
    for (int i = 0; i < MEM_FILES; i++)
        if (mem_file[i].used && mem_file[i].node == node) return;
    free(mem.node[node].data);
    mem.node[node] = (mem_node){0};
}

static void mem_put(int node, size_t at, const char *data, size_t n) {
    mem_node *f = &mem.node[node];
    if (at + n > f->size) {
        char *grown = realloc(f->data, at + n ? at + n : 1);
        assert(grown);
        memset(grown + f->size, 0, at + n - f->size);
        f->data = grown;
        f->size = at + n;
    }
    if (data) memcpy(f->data + at, data, n);
    else memset(f->data + at, 0, n);
}

static mem_op *mem_log(mem_op op) {
    if (!mem_logging) return NULL;
    assert(mem_ops < MEM_OPS);
    mem_op_list[mem_ops] = op;
    return &mem_op_list[mem_ops++];
}

/* ---- the table ---- */

static bool mem_dead(mem_call call, const char *path) {
    if (!mem_gate || !mem_gate(call, path, false)) return false;
    errno = EIO;
    return true;
}
static void mem_done(mem_call call, const char *path) {
    if (mem_gate) mem_gate(call, path, true);
}

static struct mem_file *mem_of(int fd) {
    assert(fd >= MEM_FIRST_FD && fd < MEM_FIRST_FD + MEM_FILES && mem_file[fd - MEM_FIRST_FD].used);
    return &mem_file[fd - MEM_FIRST_FD];
}

static int mem_create(int parent, const char *name, bool dir) {
    int node = mem_new_node(dir);
    mem_set_name(parent, name, node);
    mem_op *op = mem_log((mem_op){.kind = MEM_CREATE, .node = node, .parent = parent, .dir = dir});
    if (op) snprintf(op->name, sizeof op->name, "%s", name);
    return node;
}

static int mem_open(const char *path, int flags, mode_t mode) {
    (void)mode;
    char last[MEM_TEXT];
    mem_call call = flags & O_CREAT ? MEM_CALL_MAKE : MEM_CALL_OPEN;
    if (mem_dead(call, path)) return -1;
    int node = mem_find(path), parent = node < 0 ? mem_walk(path, last) : -1;
    if (node >= 0 && (flags & O_CREAT) && (flags & O_EXCL)) return errno = EEXIST, -1;
    if (node < 0 && (parent < 0 || !(flags & O_CREAT))) return -1;
    if (node >= 0 && mem.node[node].unreadable) return errno = EACCES, -1;
    if (node >= 0 && (flags & O_DIRECTORY) && !mem.node[node].dir) return errno = ENOTDIR, -1;
    if (node < 0) node = mem_create(parent, last, false);
    for (int i = 0; i < MEM_FILES; i++) {
        if (mem_file[i].used) continue;
        mem_file[i] = (struct mem_file){.used = true, .append = flags & O_APPEND, .node = node};
        snprintf(mem_file[i].path, sizeof mem_file[i].path, "%s", path);
        mem_done(call, path);
        return MEM_FIRST_FD + i;
    }
    return errno = EMFILE, -1;
}

static int mem_close(int fd) {
    struct mem_file *f = mem_of(fd);
    bool dead = mem_dead(MEM_CALL_CLOSE, f->path);
    f->used = false;
    mem_collect(f->node);
    if (dead) return -1;
    mem_done(MEM_CALL_CLOSE, f->path);
    return 0;
}

static ssize_t mem_pread(int fd, void *buf, size_t n, off_t at) {
    struct mem_file *f = mem_of(fd);
    if (mem_dead(MEM_CALL_READ, f->path)) return -1;
    const mem_node *m = &mem.node[f->node];
    if (m->dir) return errno = EISDIR, -1;
    size_t left = (size_t)at < m->size ? m->size - (size_t)at : 0, take = n < left ? n : left;
    if (take) memcpy(buf, m->data + at, take);
    return (ssize_t)take;
}

static ssize_t mem_read(int fd, void *buf, size_t n) {
    ssize_t got = mem_pread(fd, buf, n, (off_t)mem_of(fd)->at);
    if (got > 0) mem_of(fd)->at += (size_t)got;
    return got;
}

static int64_t mem_used(void) {
    int64_t sum = 0;
    for (int i = 0; i < MEM_NODES; i++) sum += (int64_t)mem.node[i].size;
    return sum;
}

static ssize_t mem_write(int fd, const void *buf, size_t n) {
    struct mem_file *f = mem_of(fd);
    if (mem_dead(MEM_CALL_WRITE, f->path)) return -1;
    if (mem_budget >= 0) {
        int64_t left = mem_budget - mem_used();
        if (left <= 0) return errno = ENOSPC, -1;
        if ((uint64_t)left < n) n = (size_t)left;
    }
    size_t at = f->append ? mem.node[f->node].size : f->at;
    mem_put(f->node, at, buf, n);
    f->at = at + n;
    mem_op *op = mem_log((mem_op){.kind = MEM_WRITE, .node = f->node, .at = at, .bytes = n});
    if (op) {
        op->data = malloc(n ? n : 1);
        assert(op->data);
        memcpy(op->data, buf, n);
    }
    mem_done(MEM_CALL_WRITE, f->path);
    return (ssize_t)n;
}

static int mem_fsync(int fd) {
    struct mem_file *f = mem_of(fd);
    if (mem_dead(MEM_CALL_FSYNC, f->path)) return -1;
    mem_log((mem_op){.kind = MEM_SYNC, .node = f->node});
    mem_done(MEM_CALL_FSYNC, f->path);
    return 0;
}

static void mem_fill_stat(int node, struct stat *st) {
    memset(st, 0, sizeof *st);
    st->st_mode = mem.node[node].dir ? S_IFDIR | 0755 : S_IFREG | 0644;
    st->st_size = (off_t)mem.node[node].size;
    st->st_ino = (ino_t)node + 1;
}

static int mem_stat(const char *path, struct stat *st) {
    if (mem_dead(MEM_CALL_STAT, path)) return -1;
    int node = mem_find(path);
    if (node < 0) return -1;
    mem_fill_stat(node, st);
    return 0;
}

static int mem_fstat(int fd, struct stat *st) {
    if (mem_dead(MEM_CALL_STAT, mem_of(fd)->path)) return -1;
    mem_fill_stat(mem_of(fd)->node, st);
    return 0;
}

static int mem_mkdir(const char *path, mode_t mode) {
    (void)mode;
    char last[MEM_TEXT];
    if (mem_dead(MEM_CALL_MKDIR, path)) return -1;
    int parent = mem_walk(path, last);
    if (parent < 0) return -1;
    if (mem_entry(parent, last)) return errno = EEXIST, -1;
    mem_create(parent, last, true);
    mem_done(MEM_CALL_MKDIR, path);
    return 0;
}

static int mem_move(const char *from, const char *to, bool replace) {
    char name[MEM_TEXT], new_name[MEM_TEXT];
    if (mem_dead(MEM_CALL_RENAME, to)) return -1;
    int node = mem_find(from), parent = mem_walk(from, name), to_parent = node < 0 ? -1 : mem_walk(to, new_name);
    if (node < 0 || to_parent < 0) return -1;
    mem_name *there = mem_entry(to_parent, new_name);
    if (there && !replace) return errno = EEXIST, -1;
    int replaced = there ? there->node : -1;
    mem_drop_name(parent, name);
    mem_set_name(to_parent, new_name, node);
    if (replaced >= 0) mem_collect(replaced);
    mem_op *op = mem_log((mem_op){.kind = MEM_RENAME, .node = node, .parent = parent, .to_parent = to_parent});
    if (op) {
        memcpy(op->name, name, sizeof op->name);
        memcpy(op->to, new_name, sizeof op->to);
    }
    mem_done(MEM_CALL_RENAME, to);
    return 0;
}
static int mem_rename(const char *from, const char *to) { return mem_move(from, to, true); }
static int mem_rename_noreplace(const char *from, const char *to) { return mem_move(from, to, false); }

static int mem_remove(const char *path, bool dir) {
    char last[MEM_TEXT];
    mem_call call = dir ? MEM_CALL_RMDIR : MEM_CALL_UNLINK;
    if (mem_dead(call, path)) return -1;
    int node = mem_find(path), parent = node < 0 ? -1 : mem_walk(path, last);
    if (node < 0) return -1;
    if (mem.node[node].dir != dir) return errno = dir ? ENOTDIR : EISDIR, -1;
    for (int i = 0; i < MEM_NAMES && dir; i++)
        if (mem.name[i].used && mem.name[i].parent == node) return errno = ENOTEMPTY, -1;
    mem_drop_name(parent, last);
    mem_op *op = mem_log((mem_op){.kind = MEM_REMOVE, .node = node, .parent = parent, .dir = dir});
    if (op) snprintf(op->name, sizeof op->name, "%s", last);
    mem_collect(node);
    mem_done(call, path);
    return 0;
}
static int mem_unlink(const char *path) { return mem_remove(path, false); }
static int mem_rmdir(const char *path) { return mem_remove(path, true); }

static int mem_ftruncate(int fd, off_t n) {
    struct mem_file *f = mem_of(fd);
    mem_node *m = &mem.node[f->node];
    if ((size_t)n > m->size) mem_put(f->node, m->size, NULL, (size_t)n - m->size);
    m->size = (size_t)n;
    return 0;
}

static int64_t mem_free_bytes(const char *path) {
    if (mem_dead(MEM_CALL_STAT, path)) return -1;
    if (mem_free_lie >= 0) return mem_free_lie;
    if (mem_budget < 0) return INT64_MAX;
    int64_t left = mem_budget - mem_used();
    return left < 0 ? 0 : left;
}

static int mem_compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int mem_list(const char *path, char ***names, size_t *count) {
    if (mem_dead(MEM_CALL_LIST, path)) return -1;
    int node = mem_find(path);
    if (node < 0) return -1;
    if (!mem.node[node].dir) return errno = ENOTDIR, -1;
    char **all = calloc(MEM_NAMES, sizeof *all);
    size_t n = 0;
    assert(all);
    for (int i = 0; i < MEM_NAMES; i++)
        if (mem.name[i].used && mem.name[i].parent == node) all[n++] = strdup(mem.name[i].text);
    qsort(all, n, sizeof *all, mem_compare);
    *names = all;
    *count = n;
    return 0;
}

static const gd_io mem_table = {
    .open = mem_open, .close = mem_close, .read = mem_read, .pread = mem_pread, .write = mem_write,
    .fsync = mem_fsync, .fstat = mem_fstat, .stat = mem_stat, .lstat = mem_stat, .mkdir = mem_mkdir,
    .rename_noreplace = mem_rename_noreplace, .rename = mem_rename, .unlink = mem_unlink, .rmdir = mem_rmdir,
    .ftruncate = mem_ftruncate, .free_bytes = mem_free_bytes, .list = mem_list,
};

/* ---- driving it ---- */

static inline void mem_log_forget(void) {
    for (int i = 0; i < mem_ops; i++) free(mem_op_list[i].data);
    mem_ops = 0;
    mem_logging = false;
}

static inline void mem_start(void) {
    mem_log_forget();
    mem_fs_clear(&mem);
    mem_fs_clear(&mem_base);
    memset(mem_file, 0, sizeof mem_file);
    mem_budget = mem_free_lie = -1;
    mem_gate = NULL;
    gd_io_set(&mem_table);
}

static inline void mem_stop(void) {
    mem_start();
    gd_io_set(NULL);
}

static inline void mem_log_begin(void) {
    mem_log_forget();
    mem_fs_copy(&mem_base, &mem);
    mem_logging = true;
}

/* How an operation that was not durable is found after the cut. */
typedef struct mem_loss {
    int op;
    bool zeroed; /* WRITE: the length is there, the bytes are not */
} mem_loss;

static inline bool mem_is_name_op(const mem_op *op) {
    return op->kind == MEM_CREATE || op->kind == MEM_RENAME || op->kind == MEM_REMOVE;
}

static inline bool mem_synced(int node, int from, int cut) {
    for (int i = from + 1; i < cut; i++)
        if (mem_op_list[i].kind == MEM_SYNC && mem_op_list[i].node == node) return true;
    return false;
}

static inline bool mem_durable(int i, int cut) {
    const mem_op *op = &mem_op_list[i];
    if (op->kind == MEM_WRITE) return mem_synced(op->node, i, cut);
    if (op->kind == MEM_RENAME && !mem_synced(op->to_parent, i, cut)) return false;
    return op->kind == MEM_SYNC || mem_synced(op->parent, i, cut);
}

/* Losses that are possible at this cut. room: 2 x MEM_OPS. */
static inline int mem_losses(int cut, mem_loss *out) {
    int n = 0;
    for (int i = 0; i < cut; i++) {
        if (mem_durable(i, cut)) continue;
        out[n++] = (mem_loss){i, false};
        if (mem_op_list[i].kind == MEM_WRITE) out[n++] = (mem_loss){i, true};
    }
    return n;
}

static inline void mem_replay(const mem_op *op) {
    switch (op->kind) {
    case MEM_CREATE: mem_set_name(op->parent, op->name, op->node); break;
    case MEM_WRITE: mem_put(op->node, op->at, op->data, op->bytes); break;
    case MEM_RENAME:
        mem_drop_name(op->parent, op->name);
        mem_set_name(op->to_parent, op->to, op->node);
        break;
    case MEM_REMOVE: mem_drop_name(op->parent, op->name); break;
    case MEM_SYNC: break;
    }
}

static inline void mem_state(int cut, const mem_loss *loss, int n) {
    bool was_logging = mem_logging;
    mem_logging = false;
    mem_fs_copy(&mem, &mem_base);
    for (int i = 0; i < cut; i++) { /* what was made is there, even if its name is lost */
        const mem_op *op = &mem_op_list[i];
        if (op->kind != MEM_CREATE) continue;
        free(mem.node[op->node].data);
        mem.node[op->node] = (mem_node){.used = true, .dir = op->dir, .data = op->dir ? NULL : calloc(1, 1)};
    }
    for (int i = 0; i < cut; i++) {
        const mem_loss *lost = NULL;
        for (int k = 0; k < n; k++)
            if (loss[k].op == i) lost = &loss[k];
        if (!lost) mem_replay(&mem_op_list[i]);
        else if (lost->zeroed) mem_put(mem_op_list[i].node, mem_op_list[i].at, NULL, mem_op_list[i].bytes);
    }
    memset(mem_file, 0, sizeof mem_file);
    mem_logging = was_logging;
}

#endif
