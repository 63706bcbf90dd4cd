/* launch/device.c -- see device.h. */
#include "launch/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "compute/cpu/choice.h"
#include "launch/plugin.h"

enum { TEXT_ROOM = 640 };

static bool is(const char *wanted, const char *word) { return !strcmp(wanted ? wanted : "auto", word); }

gd_status gd_device_check(const char *wanted) {
    if (is(wanted, "auto") || is(wanted, "cuda") || is(wanted, "cpu") || is(wanted, "ref")) return GD_OK;
    GD_FAIL(USAGE, "--device: no device '%s'; one of auto, cpu, cuda, ref", wanted);
}

/* The lowest rank where something is not so; -1: none. */
static gd_status first_without(gd_comm *c, bool here, int *rank) {
    int size = gd_comm_size(c);
    char mine = here, *all = malloc((size_t)size);
    if (!all) GD_FAIL(NOMEM, "device: no memory for %d ranks", size);
    gd_status st = gd_comm_allgather(c, &mine, 1, all);
    *rank = -1;
    for (int r = size - 1; r >= 0 && st == GD_OK; r--)
        if (!all[r]) *rank = r;
    free(all);
    return st;
}

/* A GPU for every rank, or for none: then text says why, in the words of the first rank that has none. */
static gd_status try_gpus(gd_comm *c, bool tf32, const gd_executor **out, char text[TEXT_ROOM]) {
    int without = -1;
    gd_status st = gd_plugin_open(gd_comm_host_rank(c), tf32, out, text, TEXT_ROOM);
    bool works = st == GD_OK;
    if (!works) {
        snprintf(text, TEXT_ROOM, "%s", gd_error_message());
        gd_error_clear();
    }
    GD_TRY(first_without(c, works, &without));
    if (without < 0) return GD_OK;
    if (works) gd_plugin_close();
    *out = NULL;
    return gd_comm_bcast(c, without, text, TEXT_ROOM);
}

static void take_gpu(gd_comm *c, const gd_executor *x, bool tf32, const char *gpu, gd_device *out) {
    int ranks = gd_comm_host_size(c), gpus = gd_plugin_gpus();
    char shared[48] = "";
    if (ranks > gpus)
        snprintf(shared, sizeof shared, gpus == 1 ? ", for %d ranks" : ", and the others, for %d ranks", ranks);
    out->executor = x;
    snprintf(out->text, sizeof out->text, "cuda (%s%s)%s", gpu, shared, tf32 ? ", TF32" : "");
}

static gd_status open_device(gd_comm *c, const char *wanted, bool tf32, gd_device *out) {
    char gpu[TEXT_ROOM] = "";
    const gd_executor *x = NULL;
    bool ref = is(wanted, "ref"), cuda = is(wanted, "cuda");
    *out = (gd_device){.executor = ref ? gd_executor_ref() : gd_executor_cpu()};
    snprintf(out->text, sizeof out->text, "%s", ref ? "ref" : "cpu");
    if (!cuda && !is(wanted, "auto")) return GD_OK;
    GD_TRY(try_gpus(c, tf32, &x, gpu));
    if (x) {
        take_gpu(c, x, tf32, gpu, out);
        return GD_OK;
    }
    if (cuda) {
        gd_status st =
            gd_raise(GD_UNSUP, __FILE__, __LINE__, "--device cuda: CUDA cannot be used: %s; or use --device cpu", gpu);
        return gd_comm_agree(c, st);
    }
    char *detail = strstr(gpu, ": cuda: "); /* which library, and what to do: for who wanted a GPU */
    if (detail) *detail = '\0';
    snprintf(out->text, sizeof out->text, "cpu (%s)", gpu);
    return GD_OK;
}

gd_status gd_device_open(gd_comm *c, const char *wanted, bool tf32, gd_device *out) {
    GD_TRY(open_device(c, wanted, tf32, out));
    if (tf32 && !out->executor->alloc && !gd_choice_has_halves() && gd_comm_rank(c) == 0)
        GD_LOG(LAUNCH, WARN, "numerics.tf32 changes nothing on device %s: its products are those of fp32", out->text);
    return GD_OK;
}

gd_status gd_device_open_alone(const char *wanted, bool quiet, gd_device *out) {
    gd_comm *alone;
    if (is(wanted, "ref")) GD_FAIL(UNSUP, "executor ref computes in another type than weights are kept in; use cpu");
    GD_TRY(gd_comm_self(&alone));
    gd_status st = gd_device_open(alone, wanted, false, out);
    gd_comm_free(alone);
    if (st == GD_OK && !quiet) printf("device %s\n", out->text);
    return st;
}

void gd_device_close(gd_device *d) {
    gd_plugin_close();
    *d = (gd_device){0};
}
