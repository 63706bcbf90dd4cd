/* compute/cpu/choice_file.c -- files of choices, and the cache of what was timed. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "compute/cpu/choice_table.h"

enum { MOST_BYTES = 4 << 20 };

gd_status gd_choice_save(const char *path) {
    char *text;
    GD_TRY(gd_choice_export(&text));
    gd_status st = gd_file_write(path, text, strlen(text));
    free(text);
    return st;
}

static gd_status load(const char *path, gd__via via) {
    void *text;
    size_t bytes;
    GD_TRY(gd_file_read(path, MOST_BYTES, &text, &bytes));
    gd_status st = gd__choice_read(text, path, via);
    free(text);
    return st;
}

gd_status gd_choice_load(const char *path) { return load(path, GD__IMPORTED); }

/* ---- this machine ---- */

/* Model of the first processor, from /proc; "processor" where there is none. */
static void processor(char *out, size_t room) {
    static const char label[] = "model name";
    char buffer[4096];
    int fd;
    uint64_t size;
    snprintf(out, room, "processor");
    if (gd_file_open("/proc/cpuinfo", &fd, &size) != GD_OK) {
        gd_error_clear();
        return;
    }
    ssize_t n = gd_io_get()->pread(fd, buffer, sizeof buffer - 1, 0);
    gd_io_get()->close(fd);
    buffer[n > 0 ? n : 0] = 0;
    char *at = strstr(buffer, label), *end = at ? strchr(at, '\n') : NULL;
    if (!end) return;
    *end = 0;
    at = strchr(at, ':');
    while (at && (*at == ':' || *at == ' ' || *at == '\t')) at++;
    if (at && *at) snprintf(out, room, "%s", at);
}

void gd_choice_machine(char *out, size_t room) {
    const gd__wino_kernels *set[3];
    char model[128], library[64];
    processor(model, sizeof model);
    gd_dnnl_version(library, sizeof library);
    gd__wino_usable(set);
    int threads = gd__threads_wanted();
    snprintf(out, room, "%s; %s%s; %s; %d thread%s", model, set[0]->name, gd__amx_usable() ? " amx" : "", library,
             threads, threads == 1 ? "" : "s");
}

/* ---- cache ---- */

/* owner: caller. NULL: there is no home, or no memory. */
static char *cache_folder(void) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base && *base == '/') return gd_path_join(base, "gandist");
    return home && *home == '/' ? gd_path_join(home, ".cache/gandist") : NULL;
}

static char *cache_path(const char *folder) {
    char machine[256], hash[17], name[64];
    gd_choice_machine(machine, sizeof machine);
    gd_hash64_text(gd_hash64(machine, strlen(machine), 0), hash);
    snprintf(name, sizeof name, "kernels-%s.txt", hash);
    return gd_path_join(folder, name);
}

void gd_choice_cache_load(void) {
    bool late;
    char *folder = gd__choice_may_time(&late) ? cache_folder() : NULL, *path = folder ? cache_path(folder) : NULL;
    if (path && gd_path_exists(path) && load(path, GD__CACHED) != GD_OK) {
        GD_LOG(COMPUTE, WARN, "choices of kernels are timed anew: %s", gd_error_message());
        gd_error_clear();
    }
    free(path);
    free(folder);
}

static bool measured_here(const gd__choice *c) { return c->source == GD__BY_TIME && c->via != GD__IMPORTED; }

static gd_status save(const char *folder, const char *path) {
    char *text;
    GD_TRY(gd_dir_make(folder));
    GD_TRY(gd__choice_text(measured_here, &text));
    gd_status st = gd_file_write(path, text, strlen(text));
    free(text);
    return st;
}

void gd_choice_cache_save(void) {
    if (!gd_choice_count().timed) return;
    char *folder = cache_folder(), *path = folder ? cache_path(folder) : NULL;
    if (path && save(folder, path) != GD_OK) {
        GD_LOG(COMPUTE, WARN, "the times of kernels are not kept for the next start: %s", gd_error_message());
        gd_error_clear();
    }
    free(path);
    free(folder);
}
