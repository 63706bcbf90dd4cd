#include "launch/start_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "launch/build_id.h"
#include "launch/waits.h"

enum { HOSTS_SHOWN = 16, LABEL = 15 };

static const char *s_of(int64_t n) { return n == 1 ? "" : "s"; }

static void print_networks(const gd_start_facts *f, FILE *out) {
    const gd_gan_net *nets;
    int n = gd_gan_nets(f->gan, &nets);
    fprintf(out, "%-*s", LABEL, "networks");
    for (int i = 0; i < n; i++) {
        char count[32];
        gd_text_count((uint64_t)gd_net_param_count(nets[i].net), count, sizeof count);
        fprintf(out, "%s%s %s parameters", i ? ", " : "", nets[i].prefix, count);
    }
    fputc('\n', out);
}

static bool alike(const gd_host *a, const gd_host *b) {
    return a->ranks == b->ranks && a->cores == b->cores && a->threads == b->threads &&
           a->most_threads == b->most_threads;
}

/* Hosts that follow each other and are alike share a line. */
static void print_hosts(const gd_layout *l, FILE *out) {
    for (int h = 0, lines = 0; h < l->hosts; lines++) {
        const gd_host *first = &l->host[h];
        int n = 1;
        while (h + n < l->hosts && alike(first, &l->host[h + n])) n++;
        if (lines == HOSTS_SHOWN) {
            fprintf(out, "%-*sand %d more hosts\n", LABEL, "", l->hosts - h);
            return;
        }
        fprintf(out, "%-*s%s", LABEL, lines ? "" : "hosts", first->name);
        if (n == 2) fprintf(out, ", %s", l->host[h + 1].name);
        if (n > 2) fprintf(out, " ... %s (%d hosts)", l->host[h + n - 1].name, n);
        fprintf(out, ": %d rank%s%s on %d core%s, ", first->ranks, s_of(first->ranks), n > 1 ? " each" : "",
                first->cores, s_of(first->cores));
        if (first->threads != first->most_threads) fprintf(out, "%d to ", first->threads);
        fprintf(out, "%d thread%s a rank", first->most_threads, s_of(first->most_threads));
        bool crowded = (int64_t)first->most_threads * first->ranks > first->cores;
        fprintf(out, "%s\n",
                !crowded          ? ""
                : gd_waits_spin() ? " (cores are shared; OMP_WAIT_POLICY or GOMP_SPINCOUNT lets threads spin: slow)"
                                  : " (cores are shared; who waits sleeps)");
        h += n;
    }
}

static void print_batch(const gd_start_facts *f, FILE *out) {
    int64_t global = f->config->gan.global_batch, ranks = gd_comm_size(f->comm);
    int64_t shards = f->config->shards ? f->config->shards : ranks, each = shards / ranks;
    fprintf(out, "%-*s%lld in all, %lld a rank", LABEL, "batch", (long long)global, (long long)(global / ranks));
    if (each > 1) fprintf(out, ": accumulated over %lld shards of %lld", (long long)each, (long long)(global / shards));
    fprintf(out, "; batch statistics over %s\n",
            f->config->gan.sync ? "the whole batch"
            : each > 1          ? "each shard"
                                : "each rank's part");
}

/* As reduce.c does it: a leader speaks for its host where the host's sum is a node of the tree. */
static void print_communication(const gd_start_facts *f, FILE *out) {
    int ranks = gd_comm_size(f->comm);
    int64_t each = f->config->shards ? f->config->shards / ranks : 1;
    fprintf(out, "%-*s", LABEL, "communication");
    if (ranks == 1) {
        fputs("none, one rank\n", out);
        return;
    }
    bool leaders = f->layout->blocks && !(each & (each - 1)), within = f->layout->hosts < ranks;
    if (within) fprintf(out, "shared memory within a host%s", f->layout->hosts > 1 ? ", " : "");
    if (f->layout->hosts > 1)
        fprintf(out, "MPI between %s (%s)",
                !within   ? "hosts"
                : leaders ? "one rank of each host"
                          : "all ranks",
                GANDIST_MPI_LIBRARY);
    fputc('\n', out);
    if (*f->sums) fprintf(out, "%-*sgradients between GPUs %s\n", LABEL, "", f->sums);
}

void gd_start_table_print(const gd_start_facts *f, FILE *out) {
    char build[GD_BUILD_ID_ROOM];
    int ranks = gd_comm_size(f->comm), hosts = f->layout->hosts;
    gd_build_id(build);
    fprintf(out, "%s: %s\n", f->recipe->name, gd_dataset_describe(f->data));
    print_networks(f, out);
    fprintf(out, "%-*s%d rank%s on %d host%s, device %s\n", LABEL, "world", ranks, s_of(ranks), hosts, s_of(hosts),
            f->device);
    if (*f->plans) fprintf(out, "%-*s%s\n", LABEL, "plans", f->plans);
    print_hosts(f->layout, out);
    print_batch(f, out);
    print_communication(f, out);
    fprintf(out, "%-*sgandist %s, %s, build %s\n", LABEL, "build", GANDIST_VERSION, GANDIST_BUILD_TYPE, build);
    if (f->from) fprintf(out, "going on from step %lld to %lld\n", (long long)f->from, (long long)f->until);
    else fprintf(out, "starting at step 0 of %lld\n", (long long)f->until);
    fflush(out);
}

void gd_start_table_hosts(const gd_layout *l, char *out, size_t room) {
    size_t at = 0;
    out[0] = '\0';
    for (int h = 0; h < l->hosts && at + 1 < room; h++) {
        int n = snprintf(out + at, room - at, "%s%s", h ? " " : "", l->host[h].name);
        if (n < 0 || (size_t)n >= room - at) {
            out[at] = '\0';
            return;
        }
        at += (size_t)n;
    }
}
