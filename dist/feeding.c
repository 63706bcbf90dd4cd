/* dist/feeding.c -- batches to programs whose memory is not the host's.
 *
 * The loader decodes into pinned memory, and a batch sets out from there for one of two slots as soon as it is decoded and
 * the program before it has been started: beside that program. It arrives uncropped; the executor cuts out, mirrors and puts
 * it where programs are bound. Of a set that is there already (kept.c) only the picks travel. The loader keeps as many batches
 * as there are slots; it gets the memory of one back when what set out from there has arrived. */
#include "dist/trainer.h"

static gd_status open_one(gd_trainer *t, int part, size_t count) {
    const gd_sample_shape in = gd_dataset_whole_shape(t->data, part), out = gd_dataset_shape(t->data, part);
    const gd_feed_opts o = {.slots = GD__FEED_SLOTS,
                            .count = count,
                            .take = (size_t)t->n,
                            .pixel = (size_t)in.channels * (in.type == GD_SAMPLE_F32 ? sizeof(float) : 1),
                            .height = (uint32_t)in.height,
                            .width = (uint32_t)in.width,
                            .out_height = (uint32_t)out.height,
                            .out_width = (uint32_t)out.width,
                            .set = t->kept.set[part],
                            .set_count = (size_t)gd_dataset_part_count(t->data, part)};
    return t->config.executor->feed_new(&o, &t->feeding.feed[part]);
}

gd_status gd__open_feeds(gd_trainer *t, gd_loader_opts *o) {
    for (int p = 0; p < gd_dataset_parts(t->data); p++) {
        gd_status st = open_one(t, p, (size_t)o->local);
        if (st != GD_OK) return gd_context(st, "batches on the device, %lld samples", (long long)o->local);
    }
    o->held = GD__FEED_SLOTS;
    o->whole = true;
    o->absent = t->kept.set[0] != NULL;
    o->alloc = t->config.executor->pin;
    o->free = t->config.executor->unpin;
    return GD_OK;
}

/* The next batch, whose slot is the one that has waited longest; the loader takes back the memory that filled it. */
static gd_status send(gd_trainer *t, double *wait_s) {
    const gd_executor *x = t->config.executor;
    gd__feeding *f = &t->feeding;
    int slot = (f->slot + 1) % GD__FEED_SLOTS, parts = gd_dataset_parts(t->data);
    gd_batch b;
    for (int p = 0; p < parts; p++) GD_TRY(x->feed_sent(f->feed[p], slot));
    GD_TRY(gd_loader_next(t->loader, &b));
    for (int p = 0; p < parts; p++) GD_TRY(x->feed_send(f->feed[p], slot, b.pick[p]));
    f->slot = slot;
    *wait_s = b.wait_s;
    return GD_OK;
}

gd_status gd__feed_fetch(gd_trainer *t, double *wait_s) {
    bool there = t->feeding.ahead;
    *wait_s = 0;
    t->feeding.ahead = false;
    return there ? GD_OK : send(t, wait_s);
}

gd_status gd__feed_take(gd_trainer *t) {
    const gd_executor *x = t->config.executor;
    for (int p = 0; p < gd_dataset_parts(t->data); p++)
        for (int64_t l = 0; l < t->local; l++)
            GD_TRY(x->feed_take(t->feeding.feed[p], t->feeding.slot, (size_t)(l * t->n),
                                gd__space_at(&t->space, t->batch[p][l])));
    return GD_OK;
}

gd_status gd__feed_ahead(gd_trainer *t) {
    double none;
    if (!gd__fed(t) || t->feeding.ahead || t->have_batch || !gd_loader_ready(t->loader)) return GD_OK;
    GD_TRY(send(t, &none));
    t->feeding.ahead = true;
    return GD_OK;
}

gd_status gd__stop_feeds(gd_trainer *t) {
    const gd_executor *x = t->config.executor;
    t->feeding.ahead = false;
    for (int p = 0; gd__fed(t) && p < gd_dataset_parts(t->data); p++)
        for (int s = 0; s < GD__FEED_SLOTS; s++) GD_TRY(x->feed_sent(t->feeding.feed[p], s));
    return GD_OK;
}

void gd__close_feeds(gd_trainer *t) {
    for (int p = 0; p < GD_PARTS_MAX; p++) {
        if (t->feeding.feed[p]) t->config.executor->feed_free(t->feeding.feed[p]);
        t->feeding.feed[p] = NULL;
    }
}
