#include "launch/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "compute/cpu/choice.h"

bool gd_kernels_are_timed(const gd_recipe *r) { return !strcmp(r->numerics.kernels, "timed"); }

void gd_kernels_begin(const gd_recipe *r, bool training) {
    bool direct = !strcmp(r->numerics.kernels, "direct");
    gd_choice_set_mode(direct                                ? GD_CHOICE_DIRECT
                       : training && gd_kernels_are_timed(r) ? GD_CHOICE_TIMED
                                                             : GD_CHOICE_RULE);
    gd_choice_allow_halves(training && r->numerics.tf32);
}

/* ---- agreeing ---- */

/* Programs are planned once for their choices: what rank 0 runs itself, samples too. */
static gd_status time_all(const gd_train_config *c, const gd_dataset *d, int ranks) {
    gd_train_cost unused;
    gd_choice_cache_load();
    GD_TRY(gd_train_estimate(c, d, ranks, &unused));
    gd_choice_cache_save();
    return GD_OK;
}

static gd_status choose(const gd_recipe *r, const gd_train_config *c, const gd_dataset *d, int ranks,
                        const char *record, char **text) {
    if (record && gd_path_exists(record)) GD_TRY(gd_choice_load(record));
    if (gd_kernels_are_timed(r) && c->executor == gd_executor_cpu()) GD_TRY(time_all(c, d, ranks));
    return gd_choice_export(text);
}

/* Rank 0's text to the others. *text: of rank 0; set on the others. */
static gd_status share(gd_comm *comm, char **text) {
    uint64_t bytes = *text ? strlen(*text) + 1 : 0;
    GD_TRY(gd_comm_bcast(comm, 0, &bytes, sizeof bytes));
    bool mine = *text != NULL;
    if (!mine) *text = malloc(bytes);
    gd_status st = *text ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "kernels: no memory for the choices");
    GD_TRY(gd_comm_agree(comm, st));
    GD_TRY(gd_comm_bcast(comm, 0, *text, bytes));
    return gd_comm_agree(comm, mine ? GD_OK : gd_choice_import(*text, "the kernels of rank 0"));
}

gd_status gd_kernels_agree(gd_comm *comm, const gd_recipe *r, const gd_train_config *c, const gd_dataset *d,
                           const char *record) {
    char *text = NULL;
    gd_status st = GD_OK;
    if (gd_comm_rank(comm) == 0) st = choose(r, c, d, gd_comm_size(comm), record, &text);
    st = gd_comm_agree(comm, st);
    if (st == GD_OK && gd_comm_size(comm) > 1) st = share(comm, &text);
    gd_choice_freeze();
    free(text);
    return st;
}

/* ---- what came of it ---- */

gd_status gd_kernels_record(const char *path) {
    gd_choice_counts n = gd_choice_count();
    return n.used > n.imported ? gd_choice_save(path) : GD_OK;
}

void gd_kernels_text(char *out, size_t room) {
    gd_choice_counts n = gd_choice_count();
    const struct {
        int count;
        const char *text;
    } part[] = {{n.cached, " timed earlier"},
                {n.imported, " as recorded"},
                {n.used - n.timed - n.cached - n.imported - n.left, " by the rule"},
                {n.left, " by the rule for want of time"}};
    int at = snprintf(out, room, "%d timed in %.2f s", n.timed, n.seconds);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (part[i].count && at > 0 && (size_t)at < room)
            at += snprintf(out + at, room - (size_t)at, ", %d%s", part[i].count, part[i].text);
}
