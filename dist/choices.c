/* dist/choices.c -- the same kernels on every rank, where an executor finds by measuring which are fast: ranks that measured each for
 * itself would choose differently, and with that differ in the last bits. */
#include <stdlib.h>
#include <string.h>

#include "dist/trainer.h"

/* Rank 0's, to all; *text: owner: caller, on rank 0 it is there already. */
static gd_status hand_on(gd_comm *c, char **text) {
    bool first = gd_comm_rank(c) == 0;
    uint64_t bytes = first ? strlen(*text) + 1 : 0;
    GD_TRY(gd_comm_bcast(c, 0, &bytes, sizeof bytes));
    if (!first) *text = malloc((size_t)bytes);
    gd_status st = *text ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "kernels: no memory for the list of rank 0");
    GD_TRY(gd_comm_agree(c, st));
    return gd_comm_bcast(c, 0, *text, (size_t)bytes);
}

static gd_status take(const gd_executor *x, const char *text) {
    gd_status st = x->take_choices(text);
    return st == GD_OK ? GD_OK : gd_context(st, "kernels as rank 0 has chosen them");
}

/* What rank 0 measures it measures while it makes programs. */
gd_status gd__make_alike(gd_trainer *t, gd_status (*make)(gd_trainer *t)) {
    const gd_executor *x = t->config.executor;
    gd_comm *c = t->comm;
    bool first = gd_comm_rank(c) == 0, before = first && x->measures && x->measures();
    char *text = NULL;
    if (!x->measures || gd_comm_size(c) == 1) return make(t);
    gd_status st = before ? make(t) : GD_OK;
    if (st == GD_OK && first) st = x->choices(&text);
    st = gd_comm_agree(c, st);
    if (st == GD_OK) st = hand_on(c, &text);
    if (st == GD_OK && !first) st = take(x, text);
    free(text);
    return st == GD_OK && !before ? make(t) : st;
}
