/* dist/checkpoint_dir.c -- the folder that checkpoints lie in: names, list, retention. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
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
const char gd__replaced[] = "replaced-";

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

gd_status gd__temporary_name(const char *dir, int64_t step, char out[GD__PATH]) {
    static atomic_uint serial;
    char name[GD__STEP_NAME], host[64], whole[160];
    struct timespec now;
    gd__step_name(step, name);
    host_text(host);
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t nonce = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + atomic_fetch_add(&serial, 1);
    snprintf(whole, sizeof whole, "%s%s%s-%ld-%llx", name, temporary_mark, host, (long)getpid(),
             (unsigned long long)nonce);
    return gd__path(out, dir, whole);
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

/* Also when that cannot be told just now: who opens it will hear why. */
static bool is_committed(const char *path) {
    char manifest[GD__PATH];
    return snprintf(manifest, sizeof manifest, "%s/%s", path, GD__MANIFEST) < (int)sizeof manifest &&
           !gd__is_missing(manifest);
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
gd_status gd__delete_checkpoint(const char *path) {
    char manifest[GD__PATH];
    GD_TRY(gd__path(manifest, path, GD__MANIFEST));
    if (gd_io_get()->unlink(manifest) == 0) GD_TRY(gd_dir_sync(path));
    else if (errno != ENOENT && errno != ENOTDIR) GD_FAIL(IO, "%s: cannot be removed (%s)", manifest, strerror(errno));
    return gd_dir_remove(path);
}

static gd_status delete_old(const char *dir, int keep) {
    char **paths = NULL;
    int count = 0, good = 0;
    gd_status st = GD_OK;
    GD_TRY(gd_checkpoint_list(dir, &paths, &count));
    for (int i = 0; i < count && st == GD_OK; i++) {
        if (good >= keep) {
            st = gd__delete_checkpoint(paths[i]);
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

/* The files from before a reshard go when the new ones are good, for certain. */
static gd_status new_one_is_good(const char *dir, int64_t step, bool *good) {
    char name[GD__STEP_NAME], final[GD__PATH];
    gd_verify_report report;
    gd__step_name(step, name);
    GD_TRY(gd__path(final, dir, name));
    gd_status st = gd_checkpoint_verify(final, GD_VERIFY_DEEP, &report);
    *good = st == GD_OK;
    return st == GD_DATA || st == GD_NOINPUT ? GD_OK : st;
}

/* A save that was whole but for its last rename, or a checkpoint that a reshard moved aside: back under its
 * name if nothing is there and it is good. *adopted false: it is not, and may go. */
static gd_status adopt(const char *dir, const char *path, int64_t step, bool *adopted) {
    char name[GD__STEP_NAME], final[GD__PATH];
    gd_verify_report report;
    struct stat st_final;
    *adopted = false;
    gd__step_name(step, name);
    GD_TRY(gd__path(final, dir, name));
    if (gd_io_get()->lstat(final, &st_final) == 0) return GD_OK;
    if (errno != ENOENT) GD_FAIL(IO, "%s: cannot be looked at (%s)", final, strerror(errno));
    if (!is_committed(path)) return GD_OK;
    gd_status st = gd_checkpoint_verify(path, GD_VERIFY_DEEP, &report);
    if (st == GD_DATA || st == GD_NOINPUT || (st == GD_OK && report.step != step)) return GD_OK;
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__); /* unreadable just now is not damaged */
    if (gd_io_get()->rename_noreplace(path, final) != 0)
        GD_FAIL(IO, "%s: is whole, but cannot be renamed to %s (%s)", path, final, strerror(errno));
    GD_LOG(DIST, INFO, "%s: was whole but for its name; it is %s now", path, final);
    *adopted = true;
    return gd_dir_sync(dir);
}

/* Half deleted, temporary of a dead run, or moved aside by a reshard that did not end. */
static gd_status tidy(const char *dir, const char *name) {
    char path[GD__PATH];
    const char *rest = NULL;
    bool adopted = false;
    bool replaced = strncmp(name, gd__replaced, strlen(gd__replaced)) == 0;
    int64_t step = step_prefix(replaced ? name + strlen(gd__replaced) : name, &rest);
    if (step < 0 || (replaced && *rest != '\0')) return GD_OK;
    GD_TRY(gd__path(path, dir, name));
    if (!replaced && *rest == '\0') {
        if (!is_half_deleted(path)) return GD_OK;
    } else {
        if (!replaced && !is_dead_temporary(path, rest)) return GD_OK;
        GD_TRY(adopt(dir, path, step, &adopted));
        if (adopted) return GD_OK;
        bool good = true;
        if (replaced) GD_TRY(new_one_is_good(dir, step, &good));
        if (!good) return GD_OK; /* one for a person to look at */
    }
    GD_LOG(DIST, INFO, "%s: left over from a run that ended; removed", path);
    return gd__delete_checkpoint(path);
}

gd_status gd_checkpoint_recover(const char *dir) {
    char **names = NULL;
    size_t count = 0;
    gd_status st = GD_OK;
    GD_TRY(list_names(dir, &names, &count));
    for (size_t i = 0; i < count && st == GD_OK; i++) st = tidy(dir, names[i]);
    gd_io_free_names(names, count);
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

gd_status gd_checkpoint_retain(const char *dir, int keep) {
    GD_TRY(gd_checkpoint_recover(dir));
    return delete_old(dir, keep < 1 ? 1 : keep);
}

/* ---- undoing ---- */

static gd_status set_aside(const char *dir, const char *path, int64_t step) {
    char name[GD__STEP_NAME], undone[GD__STEP_NAME + 8], to[GD__PATH];
    gd__step_name(step, name);
    snprintf(undone, sizeof undone, "undone-%s", name);
    GD_TRY(gd__path(to, dir, undone));
    GD_TRY(gd_dir_remove(to)); /* of an earlier time */
    if (gd_io_get()->rename(path, to) != 0) GD_FAIL(IO, "%s: cannot be renamed to %s (%s)", path, to, strerror(errno));
    GD_LOG(DIST, WARN, "%s: is from steps that are undone; kept as %s", path, to);
    return gd_dir_sync(dir);
}

gd_status gd_checkpoint_undo(const char *dir, int64_t step) {
    char **names = NULL;
    size_t count = 0;
    gd_status st = GD_OK;
    GD_TRY(list_names(dir, &names, &count));
    for (size_t i = 0; i < count && st == GD_OK; i++) {
        char path[GD__PATH];
        int64_t of = gd__step_of(names[i]);
        if (of <= step) continue;
        st = gd__path(path, dir, names[i]);
        if (st == GD_OK) st = set_aside(dir, path, of);
    }
    gd_io_free_names(names, count);
    return st;
}
