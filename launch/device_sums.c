/* launch/device_sums.c -- how gradients are summed over ranks that have GPUs: gd_device_use of device.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/device.h"
#include "launch/plugin.h"

enum { WHY = 320 };

/* What each rank tells all. */
typedef struct facts {
    int version; /* of NCCL; 0: there is none that can be used */
    char bus[32], why[WHY];
} facts;

typedef enum way { AUTO, NCCL, STAGED, WAYS } way;
static const char *const word[WAYS] = {"auto", "nccl", "staged"};

static void version_text(int version, char out[24]) {
    snprintf(out, 24, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

static facts look(void) {
    facts f = {0};
    snprintf(f.bus, sizeof f.bus, "%s", gd_plugin_bus());
    if (gd_plugin_nccl(&f.version) == GD_OK) return f;
    snprintf(f.why, sizeof f.why, "%s", gd_error_message());
    gd_error_clear();
    f.version = 0;
    return f;
}

/* Two ranks with one GPU, which NCCL refuses. */
static bool find_pair(const gd_comm *c, const facts *all, int *a, int *b) {
    int size = gd_comm_size(c);
    for (*a = 0; *a < size; ++*a)
        for (*b = *a + 1; *b < size; ++*b)
            if (!strcmp(gd_comm_host_name(c, *a), gd_comm_host_name(c, *b)) && !strcmp(all[*a].bus, all[*b].bus))
                return true;
    return false;
}

/* Why it cannot be NCCL, from what all ranks know alike; empty: it can. */
static void judge(const gd_comm *c, const facts *all, char why[WHY]) {
    int size = gd_comm_size(c), a, b;
    char one[24], other[24];
    why[0] = '\0';
    for (int r = 0; r < size; r++)
        if (!all[r].version) {
            snprintf(why, WHY, "rank %d: %.280s", r, all[r].why);
            return;
        }
    for (int r = 1; r < size; r++)
        if (all[r].version != all[0].version) {
            version_text(all[0].version, one);
            version_text(all[r].version, other);
            snprintf(why, WHY, "rank 0 has NCCL %s, rank %d has %s", one, r, other);
            return;
        }
    if (find_pair(c, all, &a, &b)) snprintf(why, WHY, "ranks %d and %d share a GPU", a, b);
}

/* Of rank 0. */
static gd_status setting(gd_comm *c, way *out) {
    const char *is = getenv("GANDIST_CUDA_COMM");
    int w = WAYS;
    if (gd_comm_rank(c) == 0)
        for (w = 0; is && *is && w < WAYS && strcmp(is, word[w]) != 0;) w++;
    GD_TRY(gd_comm_bcast(c, 0, &w, sizeof w));
    *out = (way)w;
    if (w < WAYS) return GD_OK;
    gd_status st = GD_OK;
    if (gd_comm_rank(c) == 0)
        st = gd_raise(GD_USAGE, __FILE__, __LINE__, "GANDIST_CUDA_COMM=%s: expected auto, nccl or staged", is);
    return gd_comm_agree(c, st);
}

static gd_status choose(gd_comm *c, const gd_train_config *config, gd_device *d) {
    int size = gd_comm_size(c);
    char why[WHY], version[24];
    way w = AUTO;
    GD_TRY(setting(c, &w));
    facts mine = look(), *all = malloc((size_t)size * sizeof *all);
    gd_status st = all ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "device: no memory for %d ranks", size);
    st = gd_comm_agree(c, st);
    if (st == GD_OK) st = gd_comm_allgather(c, &mine, sizeof mine, all);
    if (st == GD_OK) {
        judge(c, all, why);
        version_text(all[0].version, version);
    }
    free(all);
    GD_TRY(st);
    gd_train_config with = *config;
    with.exchanges = gd_plugin_exchanges();
    const char *recipe = gd_train_exchanges(&with, size);
    if (w == STAGED) snprintf(why, sizeof why, "GANDIST_CUDA_COMM=staged");
    else if (recipe && !*why) snprintf(why, sizeof why, "%s", recipe);
    if (w == NCCL && *why)
        return gd_comm_agree(
            c, gd_raise(GD_UNSUP, __FILE__, __LINE__,
                        "GANDIST_CUDA_COMM=nccl: gradients cannot be summed by NCCL: %s; use auto, or staged", why));
    if (!*why) d->exchanges = with.exchanges;
    if (!*why)
        snprintf(d->sums, sizeof d->sums, "by NCCL %s%s", version,
                 config->shard_optimizer ? ", each slice on the rank that updates it" : "");
    else snprintf(d->sums, sizeof d->sums, "through host memory (%s)", why);
    return GD_OK;
}

gd_status gd_device_use(gd_comm *comm, gd_device *d, gd_train_config *c) {
    c->executor = d->executor;
    d->exchanges = NULL;
    d->sums[0] = '\0';
    if (d->executor->alloc && gd_comm_size(comm) > 1) GD_TRY(choose(comm, c, d));
    c->exchanges = d->exchanges;
    return GD_OK;
}
