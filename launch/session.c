#include "launch/session.h"

#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "compute/cpu/dnnl_shim.h"
#include "compute/exec.h"
#include "launch/build_id.h"

static gd_comm *the_comm; /* of this process; main.c ends it */
static gd_host *the_hosts;
static int n_hosts;
static bool said_by_first; /* the error is the same on all ranks, and this is not the first of them */

/* ---- who else is there ---- */

typedef struct place { /* of one rank */
    char host[64], build[GD_BUILD_ID_ROOM], onednn[32], library[GD_LIBRARIES][GD_LIBRARY_ROOM];
    cpu_set_t cpus;
    int omp; /* OMP_NUM_THREADS, 0: not given */
} place;

static void describe_me(place *me) {
    memset(me, 0, sizeof *me);
    if (gethostname(me->host, sizeof me->host - 1)) snprintf(me->host, sizeof me->host, "unknown");
    gd_build_id(me->build);
    gd_dnnl_version(me->onednn, sizeof me->onednn);
    gd_library_ids(me->library);
    if (sched_getaffinity(0, sizeof me->cpus, &me->cpus)) CPU_SET(0, &me->cpus);
    if (getenv("OMP_NUM_THREADS")) me->omp = omp_get_max_threads();
}

/* Each core that rank r may use counts 1 / (number of ranks of its host that may use it). */
static double core_share(const place *all, int size, int r) {
    double sum = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all[r].cpus)) continue;
        int users = 0;
        for (int k = 0; k < size; k++) users += !strcmp(all[k].host, all[r].host) && CPU_ISSET(cpu, &all[k].cpus);
        sum += 1.0 / users;
    }
    return sum;
}

static int threads_of(const place *p, double share) { return p->omp ? p->omp : share >= 1 ? (int)(share + 0.01) : 1; }

static gd_host *host_named(const char *name) {
    for (int h = 0; h < n_hosts; h++)
        if (!strcmp(the_hosts[h].name, name)) return &the_hosts[h];
    gd_host *h = &the_hosts[n_hosts++];
    memset(h, 0, sizeof *h);
    memcpy(h->name, name, sizeof h->name);
    return h;
}

static void count_cores(const place *all, int size, gd_host *h) {
    cpu_set_t any;
    CPU_ZERO(&any);
    for (int r = 0; r < size; r++)
        if (!strcmp(all[r].host, h->name)) CPU_OR(&any, &any, &all[r].cpus);
    h->cores = CPU_COUNT(&any);
}

/* Ranks of a host that are bound alike share alike: it is not worked out again for each of thousands. */
static gd_status make_hosts(const place *all, int size, gd_layout *l) {
    free(the_hosts);
    n_hosts = 0;
    the_hosts = calloc((size_t)size, sizeof *the_hosts);
    if (!the_hosts) GD_FAIL(NOMEM, "session: hosts of %d ranks", size);
    l->blocks = true;
    for (int r = 0, threads = 0; r < size; r++) {
        gd_host *h = host_named(all[r].host);
        bool as_before = r && h->ranks && !memcmp(&all[r].cpus, &all[r - 1].cpus, sizeof all[r].cpus) &&
                         !strcmp(all[r].host, all[r - 1].host) && all[r].omp == all[r - 1].omp;
        if (!as_before) threads = threads_of(&all[r], core_share(all, size, r));
        if (!h->ranks || threads < h->threads) h->threads = threads;
        if (threads > h->most_threads) h->most_threads = threads;
        if (h->ranks && strcmp(all[r - 1].host, all[r].host)) l->blocks = false;
        h->ranks++;
    }
    for (int h = 0; h < n_hosts; h++) {
        count_cores(all, size, &the_hosts[h]);
        int n = the_hosts[h].ranks;
        if (n != the_hosts[0].ranks || n & (n - 1)) l->blocks = false;
    }
    l->host = the_hosts;
    l->hosts = n_hosts;
    return GD_OK;
}

static bool same_build(const place *a, const place *b) {
    return !strcmp(a->build, b->build) && !strcmp(a->onednn, b->onednn) &&
           !memcmp(a->library, b->library, sizeof a->library);
}

/* "\n  rank 4 on node2: build 0123456789abcdef, oneDNN 2.6.3, libm 0123456789abcdef", of libraries those that differ
 * anywhere. */
static size_t tell_build(const place *all, int r, const bool *differs, char *out, size_t room) {
    const place *p = &all[r];
    int n = snprintf(out, room, "\n  rank %d on %s: build %s, oneDNN %s", r, p->host, p->build, p->onednn);
    size_t at = n > 0 ? (size_t)n : 0;
    for (int i = 0; i < GD_LIBRARIES && at < room; i++) {
        if (!differs[i]) continue;
        n = snprintf(out + at, room - at, ", %s %s", gd_library_name[i], p->library[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    return at < room ? at : room;
}

/* The same on all ranks: found before the first exchange of training. */
static gd_status check_builds(const place *all, int size) {
    char list[2048] = "";
    bool differ = false, library[GD_LIBRARIES] = {false};
    size_t at = 0;
    for (int r = 1; r < size; r++) {
        differ = differ || !same_build(&all[r], &all[0]);
        for (int i = 0; i < GD_LIBRARIES; i++)
            library[i] = library[i] || strcmp(all[r].library[i], all[0].library[i]) != 0;
    }
    if (!differ) return GD_OK;
    for (int r = 0; r < size; r++)
        if (!r || strcmp(all[r].host, all[r - 1].host) != 0 || !same_build(&all[r], &all[r - 1]))
            at += tell_build(all, r, library, list + at, sizeof list - at);
    GD_FAIL(UNSUP, "ranks run different builds of gandist or its libraries; install the same on all hosts:%s", list);
}

static gd_status meet(gd_comm *c, gd_layout *l) {
    int size = gd_comm_size(c);
    place me, *all = calloc((size_t)size, sizeof *all);
    if (!all) GD_FAIL(NOMEM, "session: places of %d ranks", size);
    describe_me(&me);
    gd_status st = gd_comm_allgather(c, &me, sizeof me, all);
    if (st == GD_OK && (st = check_builds(all, size)) != GD_OK) said_by_first = gd_comm_rank(c) != 0;
    if (st == GD_OK) st = make_hosts(all, size, l);
    if (st == GD_OK) {
        l->share = core_share(all, size, gd_comm_rank(c));
        l->cores = CPU_COUNT(&me.cpus);
        l->threads = threads_of(&me, l->share);
    }
    free(all);
    return st;
}

/* ---- N processes that know nothing of each other ---- */

/* What a launcher says in the environment of each process; srun's number is that of mpirun's daemons where it
 * started those. */
static const struct launcher {
    const char *size, *rank, *name;
} launchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun of Open MPI"},
    {"PMI_SIZE", "PMI_RANK", "mpirun or srun through PMI"},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun"},
};

static int64_t number_in(const char *name) {
    int64_t n;
    const char *text = getenv(name);
    return text && gd_parse_i64(text, &n, NULL) ? n : 0;
}

static const struct launcher *launcher_here(void) {
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++)
        if (getenv(launchers[i].size)) return &launchers[i];
    return NULL;
}

static gd_status check_alone(const gd_comm *c) {
    const struct launcher *l = launcher_here();
    if (gd_comm_size(c) > 1) return GD_OK;
    if (l && number_in(l->size) > 1) {
        said_by_first = number_in(l->rank) != 0;
        GD_FAIL(MPI,
                "started %lld times by %s (%s), but each process is alone: that launcher and the MPI that gandist is "
                "built with (%s) do not know each other; use its own mpirun, or under Slurm 'srun --mpi=pmix' ('srun "
                "--mpi=list' shows what there is)",
                (long long)number_in(l->size), l->name, l->size, GANDIST_MPI_LIBRARY);
    }
    if (!l && getenv("SLURM_JOB_ID") && number_in("SLURM_NTASKS") > 1)
        GD_LOG(LAUNCH, WARN,
               "this job has %lld tasks, and this is one process alone; to use them all: srun --mpi=pmix "
               "gandist ..., or mpirun gandist ...",
               (long long)number_in("SLURM_NTASKS"));
    return GD_OK;
}

/* The first says so; were another one to end before it, the launcher might end it unheard. */
gd_status gd_session_check_one(const char *command) {
    const struct launcher *l = launcher_here();
    if (!l || number_in(l->size) < 2) return GD_OK;
    said_by_first = number_in(l->rank) != 0;
    if (said_by_first) usleep(500000);
    GD_FAIL(USAGE,
            "gandist %s: one process does it, and this is one of %lld that %s started; start it by itself (in a script "
            "that only one of them runs: without %s in its environment)",
            command, (long long)number_in(l->size), l->name, l->size);
}

gd_status gd_session_begin(gd_comm **comm, gd_layout *layout) {
    if (!the_comm) GD_TRY(gd_comm_launched() ? gd_comm_mpi(&the_comm) : gd_comm_self(&the_comm));
    if (gd_comm_size(the_comm) > 1) gd_log_set_rank(gd_comm_rank(the_comm));
    /* What every rank notices is said once, unless somebody is looking for the rank that differs. */
    if (gd_comm_rank(the_comm) != 0 && !getenv("GANDIST_LOG")) gd_log_set_stderr(false);
    GD_TRY(check_alone(the_comm));
    GD_TRY(meet(the_comm, layout));
    omp_set_num_threads(layout->threads);
    gd_cpu_set_threads(layout->threads);
    *comm = the_comm;
    return GD_OK;
}

bool gd_session_speaks(gd_status st) {
    if (said_by_first) return false;
    if (!the_comm || gd_comm_rank(the_comm) == 0) return true;
    return st != GD_PEER && st != GD_REQUEUE && !gd_error_is_agreed();
}

/* Rank 0 prints and ends the job first; who is still there afterwards has something else to say. */
void gd_session_let_root_speak(void) {
    static bool waited;
    if (the_comm && gd_comm_rank(the_comm) != 0 && !waited) usleep(500000);
    waited = true;
}

void gd_session_end(gd_status st) {
    if (!the_comm) return;
    /* After an agreed error every rank is here and may leave in order; a launcher then reports the
     * first exit code. Anything else could leave ranks waiting in a collective. */
    bool together = st == GD_OK || st == GD_REQUEUE;
    if (!together && gd_comm_size(the_comm) > 1) {
        gd_session_let_root_speak();
        gd_comm_abort(the_comm, gd_status_exit_code(gd_error_agreed(st)));
    }
    gd_comm_free(the_comm);
    the_comm = NULL;
    free(the_hosts);
    the_hosts = NULL;
}

static volatile sig_atomic_t wish; /* strongest wish so far */
static volatile sig_atomic_t terms;

static void on_signal(int sig) {
    int w = sig == SIGUSR1 ? 1 : 2;
    if ((sig == SIGTERM || sig == SIGINT) && ++terms > 1) w = 3;
    if (w > wish) wish = w;
}

static const int signals[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP};
enum { N_SIGNALS = sizeof signals / sizeof *signals };

void gd_session_block_signals(bool block) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < N_SIGNALS; i++) sigaddset(&set, signals[i]);
    sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void gd_session_watch_signals(void) {
    struct sigaction sa, before;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sa.sa_flags = SA_RESTART;
    for (int i = 0; i < N_SIGNALS; i++)
        if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN) sigaction(signals[i], &sa, NULL);
    gd_session_block_signals(false);
}

int gd_session_signal(void *ctx) {
    (void)ctx;
    int w = (int)wish;
    if (w == 1) wish = 0;
    return w;
}
