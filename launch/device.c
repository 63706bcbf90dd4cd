/* launch/device.c -- see device.h. */
#include "launch/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compute/cuda/plugin.h"

enum { PATH_ROOM = 4096, TEXT_ROOM = 640 };

/* ---- the plug-in ---- */

/* The i-th place; false: there is no such place. */
static bool place(int i, char path[PATH_ROOM]) {
    const char *set = getenv("GANDIST_PLUGIN_DIR");
    char self[PATH_ROOM / 2];
    if (set && *set) return i == 0 && snprintf(path, PATH_ROOM, "%s/%s", set, GD_CUDA_PLUGIN_FILE) < PATH_ROOM;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 1 || i > 1) return false;
    self[n] = '\0';
    char *end = strrchr(self, '/');
    if (!end) return false;
    *end = '\0';
    return snprintf(path, PATH_ROOM, i == 0 ? "%s/%s" : "%s/../lib/%s", self, GD_CUDA_PLUGIN_FILE) < PATH_ROOM;
}

static void *open_plugin(char path[PATH_ROOM], char *why, size_t room) {
    for (int i = 0; place(i, path); i++) {
        if (access(path, F_OK)) continue;
        void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!h) snprintf(why, room, "the CUDA plug-in cannot be opened (%s)", dlerror());
        return h;
    }
    snprintf(why, room, "there is no CUDA plug-in (%s) beside the program; build it with -DGANDIST_CUDA=ON",
             GD_CUDA_PLUGIN_FILE);
    return NULL;
}

/* Whether GPU 0 works; text: what it is, or why not. */
static bool probe(char *text, size_t room) {
    char path[PATH_ROOM];
    void *h = open_plugin(path, text, room);
    if (!h) return false;
    const gd_cuda_plugin *p = dlsym(h, GD_CUDA_PLUGIN_SYMBOL);
    bool works = false;
    if (!p) snprintf(text, room, "%.400s is no plug-in of gandist: it has no %s", path, GD_CUDA_PLUGIN_SYMBOL);
    else if (p->interface != GD_CUDA_PLUGIN_INTERFACE || strcmp(p->version, GANDIST_VERSION) != 0)
        snprintf(
            text, room,
            "%.400s is of gandist %.40s (interface %d), this program is %s (interface %d); install both from one build",
            path, p->version, p->interface, GANDIST_VERSION, GD_CUDA_PLUGIN_INTERFACE);
    else works = p->probe(0, text, room);
    dlclose(h);
    return works;
}

/* ---- choosing ---- */

gd_status gd_device_choose(const char *wanted, gd_device *out) {
    char gpu[TEXT_ROOM] = "";
    const char *w = wanted ? wanted : "auto";
    bool is_auto = !strcmp(w, "auto"), cuda = !strcmp(w, "cuda"), ref = !strcmp(w, "ref");
    if (!is_auto && !cuda && !ref && strcmp(w, "cpu") != 0)
        GD_FAIL(USAGE, "--device: no device '%s'; one of auto, cpu, cuda, ref", w);
    *out = (gd_device){.executor = ref ? gd_executor_ref() : gd_executor_cpu()};
    snprintf(out->text, sizeof out->text, "%s", ref ? "ref" : "cpu");
    if (!is_auto && !cuda) return GD_OK;
    bool works = probe(gpu, sizeof gpu);
    if (cuda && works)
        GD_FAIL(UNSUP, "--device cuda: %s works, but training on it is not in this version; use --device cpu", gpu);
    if (cuda) GD_FAIL(UNSUP, "--device cuda: CUDA cannot be used: %s; or use --device cpu", gpu);
    char *detail = strstr(gpu, ": cuda: "); /* which library, and what to do: for who wanted a GPU */
    if (detail) *detail = '\0';
    snprintf(out->text, sizeof out->text,
             works ? "cpu (%s works, but training on it is not in this version)" : "cpu (%s)", gpu);
    return GD_OK;
}
