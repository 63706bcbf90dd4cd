#include "dist/board.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ALIGN = 64, SPINS = 20000 /* some tens of microseconds */, NAP = 200000 /* nanoseconds */ };

gd_status gd__mpi_check(int code, const char *call, const char *file, int line) {
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length;
    if (code == MPI_SUCCESS) return GD_OK;
    MPI_Error_string(code, text, &length);
    return gd_raise(GD_MPI, file, line, "%.*s: %s", (int)strcspn(call, "("), call, text);
}

/* The library promises no alignment. Every rank maps the window at a page, so all find the same place. */
static void *aligned(void *p) { return (void *)(((uintptr_t)p + ALIGN - 1) / ALIGN * ALIGN); }

gd_status gd__window_new(MPI_Comm host, size_t bytes, MPI_Win *window, void **part) {
    void *mine;
    MPI_Info info;
    int size;
    GD_MPI(MPI_Comm_size(host, &size));
    GD_MPI(MPI_Info_create(&info));
    MPI_Info_set(info, "alloc_shared_noncontig", "true"); /* each part near the core that uses it */
    int code = MPI_Win_allocate_shared((MPI_Aint)(bytes + ALIGN), 1, info, host, &mine, window);
    MPI_Info_free(&info);
    if (code != MPI_SUCCESS) return gd__mpi_check(code, "MPI_Win_allocate_shared", __FILE__, __LINE__);
    memset(aligned(mine), 0, bytes);
    for (int r = 0; r < size; r++) {
        MPI_Aint length;
        int unit;
        GD_MPI(MPI_Win_shared_query(*window, r, &length, &unit, &part[r]));
        part[r] = aligned(part[r]);
    }
    GD_MPI(MPI_Barrier(host)); /* every part is zero */
    return GD_OK;
}

/* More ranks than cores: who spins keeps the others from working. */
static bool core_for_everybody(int ranks) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set)) return false;
    return CPU_COUNT(&set) >= ranks || (CPU_COUNT(&set) == 1 && sysconf(_SC_NPROCESSORS_ONLN) >= ranks);
}

gd_status gd__board_new(MPI_Comm host, gd__board **out) {
    gd__board *b = calloc(1, sizeof *b);
    if (!b) GD_FAIL(NOMEM, "board: no memory");
    gd_status st = gd__mpi_check(MPI_Comm_rank(host, &b->rank), "MPI_Comm_rank", __FILE__, __LINE__);
    if (st == GD_OK) st = gd__mpi_check(MPI_Comm_size(host, &b->size), "MPI_Comm_size", __FILE__, __LINE__);
    if (st == GD_OK && !(b->slot = calloc((size_t)b->size, sizeof *b->slot)))
        st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "board: no memory for %d ranks", b->size);
    if (st == GD_OK && !(b->pulse = calloc((size_t)b->size, sizeof *b->pulse)))
        st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "board: no memory for %d ranks", b->size);
    size_t head = sizeof(gd__meeting) + sizeof(gd__pulse);
    if (st == GD_OK) st = gd__window_new(host, head + 2 * GD__SLOT, &b->window, (void **)b->slot);
    if (st != GD_OK) {
        free(b->slot);
        free(b->pulse);
        free(b);
        return st;
    }
    b->meeting = (gd__meeting *)(void *)b->slot[0];
    for (int r = 0; r < b->size; r++) {
        b->pulse[r] = (gd__pulse *)(void *)(b->slot[r] + sizeof(gd__meeting));
        b->slot[r] += head;
    }
    b->spin = core_for_everybody(b->size);
    *out = b;
    return GD_OK;
}

void gd__board_free(gd__board *b) {
    if (!b) return;
    MPI_Win_free(&b->window);
    free(b->slot);
    free(b->pulse);
    free(b);
}

static void sleep_on(_Atomic unsigned *word, unsigned value, long nanoseconds) {
    struct timespec limit = {.tv_nsec = nanoseconds};
    syscall(SYS_futex, word, FUTEX_WAIT, value, nanoseconds ? &limit : NULL, NULL, 0);
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void wait_for_round(gd__board *b, unsigned round) {
    for (int i = 0; b->spin && i < SPINS; i++) {
        if (atomic_load_explicit(&b->meeting->round, memory_order_acquire) != round) return;
        pause_briefly();
    }
    while (atomic_load_explicit(&b->meeting->round, memory_order_acquire) == round) {
        bool busy = b->meanwhile && b->meanwhile(b->ctx);
        sleep_on(&b->meeting->round, round, busy ? NAP : 0);
    }
}

unsigned gd__board_news(const gd__board *b) { return atomic_load_explicit(&b->meeting->news, memory_order_acquire); }

void gd__board_tell(gd__board *b) {
    atomic_fetch_add(&b->meeting->news, 1);
    if (atomic_load(&b->meeting->sleepers)) syscall(SYS_futex, &b->meeting->news, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void gd__board_sleep(gd__board *b, unsigned news, long nanoseconds) {
    for (int i = 0; b->spin && i < SPINS; i++) {
        if (gd__board_news(b) != news) return;
        pause_briefly();
    }
    atomic_fetch_add(&b->meeting->sleepers, 1); /* before the kernel compares: who tells after that wakes us */
    sleep_on(&b->meeting->news, news, nanoseconds);
    atomic_fetch_sub(&b->meeting->sleepers, 1);
}

void gd__board_meet(gd__board *b) {
    gd__pulse_arrive(b->pulse[b->rank]);
    unsigned round = atomic_load_explicit(&b->meeting->round, memory_order_acquire);
    unsigned before = atomic_fetch_add_explicit(&b->meeting->arrived, 1, memory_order_acq_rel);
    if (before + 1 < (unsigned)b->size) {
        wait_for_round(b, round);
        return;
    }
    atomic_store_explicit(&b->meeting->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&b->meeting->round, round + 1, memory_order_release);
    syscall(SYS_futex, &b->meeting->round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Two slots in turn: to write a slot again, a rank has passed the next meeting, at which everybody had
 * finished reading it. */
void gd__board_allgather(gd__board *b, const void *mine, size_t bytes, void *all) {
    size_t at = (b->turn++ & 1) * (size_t)GD__SLOT;
    if (bytes) memcpy(b->slot[b->rank] + at, mine, bytes);
    gd__board_meet(b);
    for (int r = 0; bytes && r < b->size; r++) memcpy((char *)all + (size_t)r * bytes, b->slot[r] + at, bytes);
}
