/* launch/plugin.c -- see plugin.h. */
#include "launch/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "compute/cuda/plugin.h"
#include "sources_id.h"

enum { PATH_ROOM = 4096, TEXT_ROOM = 2048 };

static const gd_cuda_plugin *plugin; /* that has a GPU open */
static const gd_executor *inner;
static gd_executor outer;

/* ---- finding it ---- */

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

static gd_status open_file(char path[PATH_ROOM], void **handle) {
    for (int i = 0; place(i, path); i++) {
        if (access(path, F_OK)) continue;
        *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!*handle) GD_FAIL(UNSUP, "the CUDA plug-in cannot be opened (%s)", dlerror());
        return GD_OK;
    }
    GD_FAIL(UNSUP, "there is no CUDA plug-in (%s) beside the program; build it with -DGANDIST_CUDA=ON",
            GD_CUDA_PLUGIN_FILE);
}

bool gd_plugin_is_there(void) {
    char path[PATH_ROOM];
    for (int i = 0; place(i, path); i++)
        if (!access(path, F_OK)) return true;
    return false;
}

/* Members behind the interface's number are read only where that is this program's. */
static gd_status check(const char *path, const gd_cuda_plugin *p) {
    if (!p) GD_FAIL(UNSUP, "%.400s is no plug-in of gandist: it has no %s", path, GD_CUDA_PLUGIN_SYMBOL);
    if (p->interface != GD_CUDA_PLUGIN_INTERFACE || strcmp(p->version, GANDIST_VERSION) != 0)
        GD_FAIL(UNSUP,
                "%.400s is of gandist %.40s (interface %d), this program is %s (interface %d); install both from one "
                "build",
                path, p->version, p->interface, GANDIST_VERSION, GD_CUDA_PLUGIN_INTERFACE);
    if (strcmp(p->sources, GD_SOURCES_ID) != 0)
        GD_FAIL(UNSUP,
                "%.400s is of another build: its sources are %.40s, those of this program %s; build both anew from one "
                "source tree, and install them together",
                path, p->sources, GD_SOURCES_ID);
    return GD_OK;
}

/* ---- its executor ---- */

/* The plug-in has a copy of base/ of its own, and messages there. */
static gd_status tell(const gd_cuda_plugin *p, gd_status st) {
    char text[TEXT_ROOM];
    if (st == GD_OK) return GD_OK;
    p->error(text, sizeof text);
    if (!*text) return st; /* of a hook of ours, which has told why */
    return gd_raise(st, __FILE__, __LINE__, "%s", text);
}

static gd_status prepare(const gd_view *v, size_t *scratch, size_t *shared_bytes, void **state) {
    return tell(plugin, inner->prepare(v, scratch, shared_bytes, state));
}

static gd_status run(void *state, const gd_view *v, int s, const gd_memory *m) {
    return tell(plugin, inner->run(state, v, s, m));
}

static gd_status alloc(size_t bytes, void **out) { return tell(plugin, inner->alloc(bytes, out)); }

static gd_status copy(void *state, void *to, const void *from, size_t bytes) {
    return tell(plugin, inner->copy(state, to, from, bytes));
}

static gd_status put(void *to, const void *host, size_t bytes) { return tell(plugin, inner->put(to, host, bytes)); }
static gd_status get(void *host, const void *from, size_t bytes) { return tell(plugin, inner->get(host, from, bytes)); }

static gd_status get_later(const void *from, size_t bytes, void **ticket) {
    return tell(plugin, inner->get_later(from, bytes, ticket));
}

static gd_status take(void *ticket, void *host) { return tell(plugin, inner->take(ticket, host)); }

static gd_status keep(float *x, const float *before, float *average, size_t count, float decay, double *kept) {
    return tell(plugin, inner->keep(x, before, average, count, decay, kept));
}

static gd_status squares(const float *x, size_t first, size_t last, double *sums) {
    return tell(plugin, inner->squares(x, first, last, sums));
}

static gd_status average(float *to, const float *x, size_t count, float decay, const double *norm) {
    return tell(plugin, inner->average(to, x, count, decay, norm));
}

static gd_status update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average,
                        double *norm) {
    return tell(plugin, inner->update(u, p, g, m, v, average, norm));
}

static gd_status images_out(const gd_images *u, const int32_t *which, size_t n, float *out) {
    return tell(plugin, inner->images_out(u, which, n, out));
}

static gd_status images_in(const gd_images *u, const int32_t *place, float *refused) {
    return tell(plugin, inner->images_in(u, place, refused));
}

static gd_status room(size_t *bytes) { return tell(plugin, inner->room(bytes)); }
static gd_status pin(size_t bytes, void **out) { return tell(plugin, inner->pin(bytes, out)); }
static gd_status feed_new(const gd_feed_opts *o, void **feed) { return tell(plugin, inner->feed_new(o, feed)); }

static gd_status feed_send(void *feed, int slot, const void *pinned) {
    return tell(plugin, inner->feed_send(feed, slot, pinned));
}

static gd_status feed_sent(void *feed, int slot) { return tell(plugin, inner->feed_sent(feed, slot)); }

static gd_status feed_take(void *feed, int slot, size_t first, void *out) {
    return tell(plugin, inner->feed_take(feed, slot, first, out));
}

static gd_status replay_new(const gd_program *p, gd_instance *i, void **replay) {
    return tell(plugin, inner->replay_new(p, i, replay));
}

static gd_status replay_start(void *replay, const gd_run_args *a, gd_pause *pause) {
    return tell(plugin, inner->replay_start(replay, a, pause));
}

static gd_status replay_resume(void *replay, gd_pause *pause) {
    return tell(plugin, inner->replay_resume(replay, pause));
}

static bool measures(void) { return plugin->times_plans(); }
static gd_status choices(char **text) { return tell(plugin, plugin->plans(text)); }
static gd_status take_choices(const char *text) { return tell(plugin, plugin->take_plans(text, strlen(text))); }

static void wrap(void) {
    outer = *inner;
    outer.prepare = prepare;
    outer.run = run;
    outer.alloc = alloc;
    outer.copy = copy;
    outer.put = put;
    outer.get = get;
    outer.update = update;
    outer.get_later = get_later;
    outer.take = take;
    outer.keep = keep;
    outer.squares = squares;
    outer.average = average;
    outer.images_out = images_out;
    outer.images_in = images_in;
    outer.room = room;
    outer.pin = pin;
    outer.feed_new = feed_new;
    outer.feed_send = feed_send;
    outer.feed_sent = feed_sent;
    outer.feed_take = feed_take;
    outer.replay_new = replay_new;
    outer.replay_start = replay_start;
    outer.replay_resume = replay_resume;
    outer.measures = measures;
    outer.choices = choices;
    outer.take_choices = take_choices;
}

/* ---- its sums over ranks ---- */

static gd_status make_id(unsigned char id[GD_EXCHANGE_ID]) { return tell(plugin, plugin->exchanges->make_id(id)); }

static gd_status open_exchange(const gd_exchange_opts *o, gd_exchange **out) {
    return tell(plugin, plugin->exchanges->open(o, out));
}

static gd_status exchange_alloc(gd_exchange *x, size_t bytes, void **out) {
    return tell(plugin, plugin->exchanges->alloc(x, bytes, out));
}

static gd_status begin_exchange(gd_exchange *x, float *data, size_t count) {
    return tell(plugin, plugin->exchanges->begin(x, data, count));
}

static gd_status exchange_ready(gd_exchange *x, size_t first, size_t last) {
    return tell(plugin, plugin->exchanges->ready(x, first, last));
}

static gd_status exchange_all_ready(gd_exchange *x) { return tell(plugin, plugin->exchanges->all_ready(x)); }
static gd_status end_exchange(gd_exchange *x) { return tell(plugin, plugin->exchanges->end(x)); }
static gd_status exchange_settle(gd_exchange *x, double *waited) {
    return tell(plugin, plugin->exchanges->settle(x, waited));
}

static gd_status exchange_sum(gd_exchange *x, float *data, size_t count) {
    return tell(plugin, plugin->exchanges->sum(x, data, count));
}

static gd_status exchange_gather(gd_exchange *x, const void *part, size_t bytes, void *all) {
    return tell(plugin, plugin->exchanges->gather(x, part, bytes, all));
}

static gd_status exchange_share(gd_exchange *x, float *data, const size_t *border) {
    return tell(plugin, plugin->exchanges->share(x, data, border));
}

static void journal(const gd_exchange *x, gd_exchange_journal *out) { plugin->exchanges->journal(x, out); }

static bool same(const gd_exchange_journal *of_rank, int ranks, char *text, size_t room) {
    return plugin->exchanges->same(of_rank, ranks, text, room);
}

static gd_status close_exchange(gd_exchange *x, bool abort) { return tell(plugin, plugin->exchanges->close(x, abort)); }

const gd_exchanges *gd_plugin_exchanges(void) {
    static const gd_exchanges table = {make_id,        open_exchange,      exchange_alloc, begin_exchange,
                                       exchange_ready, exchange_all_ready, end_exchange,   exchange_settle,
                                       exchange_sum,   exchange_gather,    exchange_share, journal,
                                       same,           close_exchange};
    return plugin ? &table : NULL;
}

gd_status gd_plugin_nccl(int *version) {
    if (!plugin) GD_FAIL(INTERNAL, "there is no GPU");
    return tell(plugin, plugin->comms->version(version));
}

const char *gd_plugin_bus(void) { return plugin ? plugin->bus() : ""; }

/* ---- opening and closing ---- */

/* Of compiled kernels and plans. owner: caller. NULL: there is no home, or no memory. */
static char *cache_folder(void) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base && *base == '/') return gd_path_join(base, "gandist/cuda");
    return home && *home == '/' ? gd_path_join(home, ".cache/gandist/cuda") : NULL;
}

static gd_status open_gpu(const gd_cuda_plugin *p, int device, bool tf32, char *text, size_t room) {
    char *cache = cache_folder();
    const gd_cuda_open o = {.device = device, .cache = cache, .tf32 = tf32};
    gd_status st = tell(p, p->open(&o, &inner, text, room));
    free(cache);
    return st;
}

gd_status gd_plugin_open(int device, bool tf32, const gd_executor **executor, char *text, size_t room) {
    char path[PATH_ROOM];
    void *handle;
    if (plugin) GD_FAIL(INTERNAL, "a GPU is open already");
    GD_TRY(open_file(path, &handle));
    const gd_cuda_plugin *p = dlsym(handle, GD_CUDA_PLUGIN_SYMBOL);
    gd_status st = check(path, p);
    if (st == GD_OK) st = open_gpu(p, device, tf32, text, room);
    if (st != GD_OK) {
        dlclose(handle);
        return gd_trace(st, __FILE__, __LINE__);
    }
    plugin = p; /* stays in memory: libraries of the GPU may have threads that end with the process */
    wrap();
    *executor = &outer;
    return GD_OK;
}

void gd_plugin_plans(char *text, size_t room) {
    text[0] = '\0';
    if (plugin) plugin->plans_text(text, room);
}

int gd_plugin_gpus(void) { return plugin ? plugin->gpus() : 0; }

void gd_plugin_close(void) {
    if (!plugin) return;
    if (tell(plugin, plugin->close()) != GD_OK) {
        GD_LOG(LAUNCH, WARN, "closing the GPU: %s", gd_error_message());
        gd_error_clear();
    }
    plugin = NULL;
}
