/* dist/kept.c -- sets whose samples stay where programs are: decoded and sent there once, before cropping and mirroring.
 * Batches are then picks alone (feeding.c), by the same order and draws. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"
#include "dist/trainer.h"

enum { CHUNK = 32 << 20, SHARE = 2 /* auto takes no more than this part of what is free */ };

static size_t part_bytes(const gd_trainer *t, int part) {
    return (size_t)gd_dataset_part_count(t->data, part) * gd_sample_bytes(gd_dataset_whole_shape(t->data, part));
}

size_t gd__set_bytes(const gd_trainer *t) {
    size_t bytes = 0;
    for (int p = 0; p < gd_dataset_parts(t->data); p++) bytes += part_bytes(t, p);
    return bytes;
}

/* A pass over the set, at least, is still to come: each sample is decoded once either way. */
static bool is_worth_it(const gd_trainer *t) {
    const gd_schedule_spec *s = &t->config.schedule;
    double draws = (double)t->config.total_steps * (double)t->config.gan.global_batch;
    if (s->d_steps > 1) draws *= (double)s->d_steps;
    return !t->config.overfit_batch && draws >= (double)gd_dataset_part_count(t->data, 0);
}

void gd__judge_set(const gd_trainer *t, size_t there, char *why, size_t room) {
    bool always = t->config.resident == GD_RESIDENT_ALWAYS;
    char set[32], have[32];
    size_t needed = gd__set_bytes(t);
    *why = '\0';
    gd_text_bytes(needed, set, sizeof set);
    gd_text_bytes(there, have, sizeof have);
    for (int p = 0; p < gd_dataset_parts(t->data); p++)
        if (gd_dataset_part_count(t->data, p) > UINT32_MAX)
            snprintf(why, room, "it has more samples than can be numbered there");
    if (*why) return;
    if (needed > there / (always ? 1 : SHARE))
        snprintf(why, room, "it takes %s there, and %s are free%s", set, have,
                 always ? "" : ", of which it may take half");
    else if (!always && !is_worth_it(t)) snprintf(why, room, "fewer samples than it has are drawn");
}

static gd_status look(const gd_trainer *t, char *why, size_t room) {
    size_t there = 0;
    GD_TRY(t->config.executor->room(&there));
    gd__judge_set(t, there, why, room);
    return GD_OK;
}

/* All ranks do the same. *keep: there seems to be room. */
static gd_status agree(gd_trainer *t, bool *keep) {
    char why[160] = "";
    gd_status st = look(t, why, sizeof why);
    if (st == GD_OK && *why && t->config.resident == GD_RESIDENT_ALWAYS)
        st = gd_raise(GD_CONFIG, __FILE__, __LINE__,
                      "data.resident: the set cannot stay on the device: %s; use never, or auto", why);
    GD_TRY(gd_comm_agree(t->comm, st));
    double without = *why != '\0';
    GD_TRY(gd_comm_sum_f64(t->comm, &without, 1));
    *keep = without == 0;
    if (*why && gd_comm_rank(t->comm) == 0)
        GD_LOG(DIST, DEBUG, "batches travel to the device, the set does not: %s", why);
    return GD_OK;
}

static gd_status take_memory(gd_trainer *t) {
    for (int p = 0; p < gd_dataset_parts(t->data); p++) {
        gd_status st = t->config.executor->alloc(part_bytes(t, p), &t->kept.set[p]);
        if (st != GD_OK) return gd_context(st, "data.resident: part %d of the set, on the device", p);
    }
    return GD_OK;
}

/* Ranks that share a device may all have seen the same room: with auto, if one of them gets nothing, none keeps anything. */
static gd_status take_memory_together(gd_trainer *t, bool *got) {
    gd_status st = take_memory(t);
    double without = st == GD_NOMEM && t->config.resident == GD_RESIDENT_AUTO;
    if (without > 0) {
        gd_error_clear();
        st = GD_OK;
    }
    GD_TRY(gd_comm_agree(t->comm, st));
    GD_TRY(gd_comm_sum_f64(t->comm, &without, 1));
    *got = without == 0;
    if (!*got) gd__free_kept(t);
    return GD_OK;
}

static gd_status send_chunk(const gd_trainer *t, int part, int64_t first, int64_t n, void *host) {
    size_t sample = gd_sample_bytes(gd_dataset_whole_shape(t->data, part));
    GD_TRY(gd_dataset_whole_run(t->data, part, first, n, host));
    return t->config.executor->put((char *)t->kept.set[part] + (size_t)first * sample, host, (size_t)n * sample);
}

static gd_status send_part(gd_trainer *t, int part) {
    size_t sample = gd_sample_bytes(gd_dataset_whole_shape(t->data, part));
    int64_t count = gd_dataset_part_count(t->data, part), at_once = (int64_t)(CHUNK / sample);
    if (at_once < 1) at_once = 1;
    if (at_once > count) at_once = count;
    void *host = malloc((size_t)at_once * sample);
    if (!host) GD_FAIL(NOMEM, "data: no memory for %" PRId64 " samples on their way to the device", at_once);
    gd_status st = GD_OK;
    for (int64_t at = 0; at < count && st == GD_OK; at += at_once) {
        st = send_chunk(t, part, at, count - at < at_once ? count - at : at_once, host);
        gd_comm_worked(t->comm);
    }
    free(host);
    return st;
}

static gd_status send_all(gd_trainer *t) {
    for (int p = 0; p < gd_dataset_parts(t->data); p++) {
        gd_status st = send_part(t, p);
        if (st != GD_OK) return gd_context(st, "data.resident: part %d of the set, on its way to the device", p);
    }
    return GD_OK;
}

gd_status gd__keep_set(gd_trainer *t) {
    const gd_executor *x = t->config.executor;
    double since = gd__seconds();
    char bytes[32];
    bool keep = false;
    if (!x->feed_new) {
        if (t->config.resident == GD_RESIDENT_ALWAYS && gd_comm_rank(t->comm) == 0)
            GD_LOG(DIST, WARN, "data.resident changes nothing on this device: its memory is the host's");
        return GD_OK;
    }
    if (t->config.resident == GD_RESIDENT_NEVER) return GD_OK;
    GD_TRY(agree(t, &keep));
    if (keep) GD_TRY(take_memory_together(t, &keep));
    if (!keep) return GD_OK;
    gd__label(t, GD_PHASE_DATA, -1);
    GD_TRY(gd_comm_agree(t->comm, send_all(t)));
    gd_text_bytes(gd__set_bytes(t), bytes, sizeof bytes);
    if (gd_comm_rank(t->comm) == 0)
        GD_LOG(DIST, INFO, "the data set is on the device: %s, in %.1f s", bytes, gd__seconds() - since);
    return GD_OK;
}

void gd__free_kept(gd_trainer *t) {
    for (int p = 0; p < GD_PARTS_MAX; p++)
        if (t->kept.set[p]) t->config.executor->free(t->kept.set[p]);
    t->kept = (gd__kept_set){0};
}
