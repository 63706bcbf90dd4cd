/* dist/checkpoint_dir.c -- the folder that checkpoints lie in: names, list, retention. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "dist/checkpoint_internal.h"

/* ---- names ---- */

enum { STEP_DIGITS = 12 };
static const char step_head[] = "step-", temporary_mark[] = ".tmp-";

void gd__step_name(int64_t step, char out[GD__STEP_NAME]) {
    snprintf(out, GD__STEP_NAME, "%s%0*lld", step_head, STEP_DIGITS, (long long)step);
}

/* Step of "step-" and 12 digits at the start of name, and what follows. -1: it does not start so. */
static int64_t step_prefix(const char *name, const char **rest) {
    if (strncmp(name, step_head, sizeof step_head - 1) != 0) return -1;
    const char *digits = name + sizeof step_head - 1;
    if (strspn(digits, "0123456789") != STEP_DIGITS) return -1;
    *rest = digits + STEP_DIGITS;
    return strtoll(digits, NULL, 10);
}

int64_t gd__step_of(const char *name) {
    const char *rest = NULL;
    int64_t step = step_prefix(name, &rest);
    return step >= 0 && *rest == '\0' ? step : -1;
}

bool gd__is_shard_name(const char *name) {
    int first = 0, count = 0, used = 0;
    return sscanf(name, "shard-%4d-of-%4d.safetensors%n", &first, &count, &used) == 2 && used > 0 && name[used] == '\0';
}

gd_status gd__path(char out[GD__PATH], const char *folder, const char *name) {
    int n = snprintf(out, GD__PATH, "%s/%s", folder, name);
    if (n < 0 || n >= GD__PATH)
        GD_FAIL(NOMEM, "%.64s.../%s: the path is longer than %d bytes", folder, name, GD__PATH - 1);
    return GD_OK;
}

/* ---- temporary folders: step-N.tmp-HOST-PID-NONCE ---- */

/* Without '-', which separates the parts. */
static void host_text(char out[64]) {
    if (gethostname(out, 64) != 0) snprintf(out, 64, "host");
    out[63] = '\0';
    for (char *p = out; *p; p++)
        if (*p == '-' || *p == '/') *p = '_';
}

gd_status gd__temporary_make(const char *dir, int64_t step, char out[GD__PATH]) {
    enum { TRIES = 16 };
    char name[GD__STEP_NAME], host[64], whole[160];
    gd__step_name(step, name);
    host_text(host);
    for (int i = 0; i < TRIES; i++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(whole, sizeof whole, "%s%s%s-%ld-%llx", name, temporary_mark, host, (long)getpid(),
                 (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec);
        GD_TRY(gd__path(out, dir, whole));
        if (gd_io_get()->mkdir(out, 0777) == 0) return GD_OK;
        if (errno != EEXIST) break;
    }
    GD_FAIL(CANTCREAT, "%s: cannot be created (%s); check that its folder is writable and has space", out,
            strerror(errno));
}

/* Left behind by a process that is gone: on this host its process number says so; of other hosts,
 * nothing changed in the folder for an hour (a save takes minutes). */
static bool is_dead_temporary(const char *path, const char *rest) {
    enum { SECONDS = 3600 };
    char host[64], owner[64];
    long pid = 0;
    struct stat st;
    host_text(host);
    if (strncmp(rest, temporary_mark, sizeof temporary_mark - 1) != 0) return false;
    if (gd_io_get()->lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return false;
    bool named = sscanf(rest + sizeof temporary_mark - 1, "%63[^-]-%ld-", owner, &pid) == 2 && pid > 0;
    if (named && strcmp(owner, host) == 0 && (pid == (long)getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)))
        return true;
    return time(NULL) - st.st_mtime > SECONDS;
}

/* ---- list ---- */

void gd_checkpoint_list_free(char **paths, int count) {
    for (int i = 0; i < count; i++) free(paths[i]);
    free(paths);
}

static bool is_committed(const char *path) {
    char manifest[GD__PATH];
    return snprintf(manifest, sizeof manifest, "%s/%s", path, GD__MANIFEST) < (int)sizeof manifest &&
           gd_path_exists(manifest);
}

static gd_status list_names(const char *dir, char ***names, size_t *count) {
    *names = NULL;
    *count = 0;
    if (gd_io_get()->list(dir, names, count) == 0) return GD_OK;
    if (errno == ENOENT) return GD_OK;
    GD_FAIL(IO, "%s: cannot be listed (%s)", dir, strerror(errno));
}

gd_status gd_checkpoint_list(const char *dir, char ***paths, int *count) {
    char **names = NULL, **found = NULL;
    size_t n = 0;
    int used = 0;
    gd_status st = GD_OK;
    *paths = NULL;
    *count = 0;
    GD_TRY(list_names(dir, &names, &n));
    found = calloc(n ? n : 1, sizeof *found);
    if (!found) GD_FAIL_TO(done, NOMEM, "%s: no memory for its list", dir);
    /* The names have equally many digits, so from the last name down is from the newest down. */
    for (size_t i = n; i-- > 0;) {
        if (gd__step_of(names[i]) < 0) continue;
        char *path = gd_path_join(dir, names[i]);
        if (!path) GD_FAIL_TO(done, NOMEM, "%s: no memory for its list", dir);
        if (is_committed(path)) found[used++] = path;
        else free(path);
    }
    *paths = found;
    *count = used;
    found = NULL;
done:
    if (found) gd_checkpoint_list_free(found, used);
    gd_io_free_names(names, n);
    return st;
}

/* ---- retention ---- */

/* The manifest goes first: what is half deleted is no checkpoint any more. */
static gd_status delete_checkpoint(const char *path) {
    char manifest[GD__PATH];
    GD_TRY(gd__path(manifest, path, GD__MANIFEST));
    if (gd_io_get()->unlink(manifest) != 0 && errno != ENOENT)
        GD_FAIL(IO, "%s: cannot be removed (%s)", manifest, strerror(errno));
    GD_TRY(gd_dir_sync(path));
    return gd_dir_remove(path);
}

static gd_status delete_old(const char *dir, int keep) {
    char **paths = NULL;
    int count = 0, good = 0;
    gd_status st = GD_OK;
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    for (int i = 0; i < count && st == GD_OK; i++) {
        if (good >= keep) {
            st = delete_checkpoint(paths[i]);
            continue;
        }
        gd_checkpoint *k = NULL; /* one that cannot be opened does not count, and is kept as evidence */
        if (gd_checkpoint_open(paths[i], &k) == GD_OK) good++;
        else GD_LOG(DIST, WARN, "%s is not usable: %s", paths[i], gd_error_message());
        gd_checkpoint_close(k);
    }
    gd_checkpoint_list_free(paths, count);
    return st;
}

/* A step folder without manifest is what an interrupted deletion leaves: shards and nothing else. */
static bool is_half_deleted(const char *path) {
    char **names = NULL;
    size_t count = 0;
    if (!gd_path_is_dir(path) || gd_io_get()->list(path, &names, &count) != 0) return false;
    bool all = true;
    for (size_t i = 0; i < count; i++) all = all && gd__is_shard_name(names[i]);
    gd_io_free_names(names, count);
    return all;
}

static gd_status delete_leftovers(const char *dir) {
    char **names = NULL;
    size_t count = 0;
    gd_status st = GD_OK;
    GD_TRY(list_names(dir, &names, &count));
    for (size_t i = 0; i < count && st == GD_OK; i++) {
        char path[GD__PATH];
        const char *rest = NULL;
        if (step_prefix(names[i], &rest) < 0) continue;
        GD_TRY_TO(done, gd__path(path, dir, names[i]));
        if (*rest == '\0' ? is_half_deleted(path) : is_dead_temporary(path, rest)) {
            GD_LOG(DIST, INFO, "%s: left over from a run that ended; removed", path);
            st = gd_dir_remove(path);
        }
    }
done:
    gd_io_free_names(names, count);
    return st;
}

gd_status gd_checkpoint_retain(const char *dir, int keep) {
    GD_TRY(delete_leftovers(dir));
    return delete_old(dir, keep < 1 ? 1 : keep);
}
