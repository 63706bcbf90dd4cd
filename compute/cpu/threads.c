/* compute/cpu/threads.c -- how many OpenMP threads run the loops.
 *
 * One pool serves our loops and oneDNN's, so that no two pools spin against each other. libgomp
 * spins only briefly when a process has more threads than processors it may run on; the default here
 * therefore never exceeds those. Several ranks on one node must divide the processors: their launcher
 * binds them, or the caller says gd_cpu_set_threads. */
#include <omp.h>
#include <stdatomic.h>

#include "compute/cpu/cpu.h"

static atomic_int configured; /* 0: as OpenMP says */

void gd_cpu_set_threads(int threads) { atomic_store(&configured, threads > 0 ? threads : 0); }

int gd__threads_wanted(void) {
    int n = atomic_load(&configured);
    if (n > 0) return n;
    int most = omp_get_max_threads(), processors = omp_get_num_procs();
    return most < processors ? most : processors;
}

void gd__threads_enter(int threads) {
    if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
}

/* Opening a parallel region costs some microseconds: what that many operations take. One thread or all,
 * nothing between: libgomp ends and starts threads whenever the size of a team changes. */
enum { WORTH_A_REGION = 32768 };

int gd__threads_for(int64_t work) { return work < WORTH_A_REGION || omp_in_parallel() ? 1 : omp_get_max_threads(); }
