#include "launch/session.h"

#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "compute/exec.h"

static gd_comm *the_comm; /* of this process; main.c ends it */

/* Cores of this rank: each core it may use counts 1 / (number of ranks of this host that may use it). */
static gd_status core_share(gd_comm *c, double *share, int *cores) {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine)) {
        *cores = 1;
        *share = 1;
    }
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    struct place {
        char host[64];
        cpu_set_t cpus;
    } me, *all;
    memset(&me, 0, sizeof me);
    memcpy(me.host, host, sizeof host);
    me.cpus = mine;
    all = calloc((size_t)gd_comm_size(c), sizeof *all);
    if (!all) GD_FAIL(NOMEM, "session: places of %d ranks", gd_comm_size(c));
    gd_status st = gd_comm_allgather(c, &me, sizeof me, all);
    double sum = 0;
    for (int cpu = 0; st == GD_OK && cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &mine)) continue;
        int users = 0;
        for (int r = 0; r < gd_comm_size(c); r++) users += !strcmp(all[r].host, host) && CPU_ISSET(cpu, &all[r].cpus);
        sum += 1.0 / users;
    }
    free(all);
    *cores = CPU_COUNT(&mine);
    *share = sum;
    return st;
}

gd_status gd_session_begin(gd_comm **comm, gd_layout *layout) {
    if (!the_comm) GD_TRY(gd_comm_launched() ? gd_comm_mpi(&the_comm) : gd_comm_self(&the_comm));
    if (gd_comm_size(the_comm) > 1) gd_log_set_rank(gd_comm_rank(the_comm));
    /* What every rank notices is said once, unless somebody is looking for the rank that differs. */
    if (gd_comm_rank(the_comm) != 0 && !getenv("GANDIST_LOG")) gd_log_set_stderr(false);
    GD_TRY(core_share(the_comm, &layout->share, &layout->cores));
    layout->threads = layout->share >= 1 ? (int)(layout->share + 0.01) : 1;
    if (getenv("OMP_NUM_THREADS")) layout->threads = omp_get_max_threads();
    omp_set_num_threads(layout->threads);
    gd_cpu_set_threads(layout->threads);
    *comm = the_comm;
    return GD_OK;
}

bool gd_session_speaks(gd_status st) { return !the_comm || gd_comm_rank(the_comm) == 0 || st != GD_PEER; }

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
        gd_comm_abort(the_comm, gd_status_exit_code(st));
    }
    gd_comm_free(the_comm);
    the_comm = NULL;
}

static volatile sig_atomic_t wish; /* strongest wish so far */
static volatile sig_atomic_t terms;

static void on_signal(int sig) {
    int w = sig == SIGUSR1 ? 1 : 2;
    if (sig == SIGTERM && ++terms > 1) w = 3;
    if (w > wish) wish = w;
}

void gd_session_watch_signals(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sa.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGUSR2, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

int gd_session_signal(void *ctx) {
    (void)ctx;
    int w = (int)wish;
    if (w == 1) wish = 0;
    return w;
}
