/* dist/comm_mpi.c -- the provider over MPI: within a host through the board, between hosts by messages. */
#include "dist/comm_mpi.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dist/tree.h"

void gd__mpi_nap(int tries) {
    if (tries < 50) return;
    nanosleep(&(struct timespec){.tv_nsec = tries < 1000 ? 2000 : 50000}, NULL);
}

gd_status gd__mpi_wait(gd_comm *c, MPI_Request *request) {
    for (int tries = 0;; tries++) {
        int done;
        GD_MPI(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) return GD_OK;
        gd__comm_advance(c);
        gd__mpi_nap(tries);
    }
}

static bool meanwhile(void *c) { return gd__comm_advance(c); }

static gd_status mpi_bcast(gd_comm *c, int root, void *data, size_t bytes) {
    char *at = data;
    for (const size_t most = 1 << 30; bytes;) {
        size_t now = bytes < most ? bytes : most;
        MPI_Request request;
        GD_MPI(MPI_Ibcast(at, (int)now, MPI_BYTE, root, c->mpi->world, &request));
        GD_TRY(gd__mpi_wait(c, &request));
        at += now;
        bytes -= now;
    }
    return GD_OK;
}

static gd_status mpi_allgather(gd_comm *c, const void *mine, size_t bytes, void *all) {
    MPI_Request request;
    if (c->hosts == 1 && bytes <= GD__SLOT) {
        gd__board_allgather(c->mpi->board, mine, bytes, all);
        return GD_OK;
    }
    if (bytes > INT32_MAX) GD_FAIL(INTERNAL, "allgather of %zu bytes a rank", bytes);
    GD_MPI(MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, c->mpi->world, &request));
    return gd__mpi_wait(c, &request);
}

static gd_status mpi_ibcast_start(gd_comm *c, void *data, size_t bytes) {
    if (c->mpi->plan != MPI_REQUEST_NULL) GD_FAIL(INTERNAL, "a second broadcast was started before the first ended");
    if (bytes > GD_IBCAST_MAX) GD_FAIL(INTERNAL, "a broadcast of %zu bytes; expected at most %d", bytes, GD_IBCAST_MAX);
    c->mpi->plan_data = data;
    c->mpi->plan_bytes = bytes;
    memcpy(c->mpi->passage, data, bytes);
    GD_MPI(MPI_Ibcast(c->mpi->passage, (int)bytes, MPI_BYTE, 0, c->mpi->world, &c->mpi->plan));
    return GD_OK;
}

static gd_status mpi_ibcast_finish(gd_comm *c) {
    if (c->mpi->plan == MPI_REQUEST_NULL) GD_FAIL(INTERNAL, "no broadcast was started");
    GD_TRY(gd__mpi_wait(c, &c->mpi->plan));
    if (c->rank) memcpy(c->mpi->plan_data, c->mpi->passage, c->mpi->plan_bytes);
    return GD_OK;
}

static void mpi_abort(gd_comm *c, int exit_code) { MPI_Abort(c->mpi->world, exit_code); }

static void mpi_free(gd_comm *c) {
    gd__mpi *m = c->mpi;
    for (int w = 0; w < GD__WINDOWS_MAX; w++)
        if (m->window[w] != MPI_WIN_NULL) MPI_Win_free(&m->window[w]);
    gd__board_free(m->board);
    if (m->bulk_leaders != MPI_COMM_NULL) MPI_Comm_free(&m->bulk_leaders);
    if (m->bulk_world != MPI_COMM_NULL) MPI_Comm_free(&m->bulk_world);
    if (m->leaders != MPI_COMM_NULL) MPI_Comm_free(&m->leaders);
    if (m->host != MPI_COMM_NULL) MPI_Comm_free(&m->host);
    if (m->world != MPI_COMM_NULL) MPI_Comm_free(&m->world);
    if (m->owns) MPI_Finalize();
    if (m->plan == MPI_REQUEST_NULL) free(m); /* else the library may still write to its passage */
    free(c);
}

/* ---- windows of reducers: every rank of a host has the same ones under the same numbers ---- */

gd_status gd__mpi_window(gd__mpi *m, size_t bytes, void **part, int *number) {
    uint64_t unused;
    GD_MPI(MPI_Allreduce(&m->given_back, &unused, 1, MPI_UINT64_T, MPI_BAND, m->host));
    for (int w = 0; w < GD__WINDOWS_MAX; w++)
        if (unused >> w & 1) GD_MPI(MPI_Win_free(&m->window[w]));
    m->given_back &= ~unused;
    for (int w = 0; w < GD__WINDOWS_MAX; w++) {
        if (m->window[w] != MPI_WIN_NULL) continue;
        *number = w;
        return gd__window_new(m->host, bytes, &m->window[w], part);
    }
    GD_FAIL(INTERNAL, "gradients: more than %d reducers", GD__WINDOWS_MAX);
}

void gd__mpi_give_back(gd__mpi *m, int number) { m->given_back |= 1ull << number; }

static gd_status init(gd__mpi *m) {
    int there, level;
    GD_MPI(MPI_Initialized(&there));
    if (!there) {
        GD_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level));
        m->owns = true;
        if (level < MPI_THREAD_FUNNELED)
            GD_FAIL(MPI, "MPI_Init_thread: this library allows no threads beside the one that calls it");
    }
    GD_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    GD_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &m->world));
    return GD_OK;
}

/* Who is where, for messages. */
static gd_status name_hosts(gd_comm *c) {
    char mine[64] = "";
    int leader = c->rank;
    size_t size = (size_t)c->size;
    if (gethostname(mine, sizeof mine - 1)) memcpy(mine, "unknown", sizeof "unknown");
    c->host_name = calloc(size, sizeof *c->host_name);
    c->leader = calloc(size, sizeof *c->leader);
    if (!c->host_name || !c->leader) GD_FAIL(NOMEM, "communicator: no memory for names of %d ranks", c->size);
    GD_MPI(MPI_Bcast(&leader, 1, MPI_INT, 0, c->mpi->host));
    GD_MPI(MPI_Allgather(mine, sizeof mine, MPI_CHAR, c->host_name, sizeof mine, MPI_CHAR, c->mpi->world));
    GD_MPI(MPI_Allgather(&leader, 1, MPI_INT, c->leader, 1, MPI_INT, c->mpi->world));
    return GD_OK;
}

/* host < 0: as the machines are; else ranks of one number share a pretended host. */
static gd_status split(gd_comm *c, int host) {
    gd__mpi *m = c->mpi;
    GD_MPI(MPI_Comm_rank(m->world, &c->rank));
    GD_MPI(MPI_Comm_size(m->world, &c->size));
    if (host < 0) GD_MPI(MPI_Comm_split_type(m->world, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &m->host));
    else GD_MPI(MPI_Comm_split(m->world, host, c->rank, &m->host));
    GD_MPI(MPI_Comm_rank(m->host, &c->host_rank));
    GD_MPI(MPI_Comm_size(m->host, &c->host_size));
    GD_MPI(MPI_Comm_split(m->world, c->host_rank ? MPI_UNDEFINED : 0, c->rank, &m->leaders));
    if (m->leaders != MPI_COMM_NULL) {
        GD_MPI(MPI_Comm_size(m->leaders, &c->hosts));
        GD_MPI(MPI_Comm_dup(m->leaders, &m->bulk_leaders));
    }
    GD_MPI(MPI_Comm_dup(m->world, &m->bulk_world));
    GD_MPI(MPI_Bcast(&c->hosts, 1, MPI_INT, 0, m->host));
    /* Rank r is number r mod size of host r div size, on every host? */
    int first = c->rank, fits, all;
    GD_MPI(MPI_Bcast(&first, 1, MPI_INT, 0, m->host));
    fits = gd__is_power_of_two(c->host_size) && c->rank == first + c->host_rank && first % c->host_size == 0 &&
           c->host_size * c->hosts == c->size;
    GD_MPI(MPI_Allreduce(&fits, &all, 1, MPI_INT, MPI_MIN, m->world));
    m->blocks = all;
    GD_TRY(gd__board_new(m->host, &m->board));
    m->board->meanwhile = meanwhile;
    m->board->ctx = c;
    c->pulse = m->board->pulse;
    return name_hosts(c);
}

gd_status gd_comm_mpi(gd_comm **out) { return gd__comm_mpi_as(-1, out); }

gd_status gd__comm_mpi_as(int host, gd_comm **out) {
    static const gd__provider mpi = {.name = "mpi",
                                     .bcast = mpi_bcast,
                                     .allgather = mpi_allgather,
                                     .ibcast_start = mpi_ibcast_start,
                                     .ibcast_finish = mpi_ibcast_finish,
                                     .abort = mpi_abort,
                                     .free = mpi_free,
                                     .piece = GD__SLOT};
    gd_comm *c = calloc(1, sizeof *c);
    gd__mpi *m = calloc(1, sizeof *m);
    gd_status st;
    if (!c || !m) {
        free(c);
        free(m);
        GD_FAIL(NOMEM, "communicator: no memory");
    }
    *m = (gd__mpi){.world = MPI_COMM_NULL,
                   .host = MPI_COMM_NULL,
                   .leaders = MPI_COMM_NULL,
                   .plan = MPI_REQUEST_NULL,
                   .bulk_world = MPI_COMM_NULL,
                   .bulk_leaders = MPI_COMM_NULL};
    for (int w = 0; w < GD__WINDOWS_MAX; w++) m->window[w] = MPI_WIN_NULL;
    *c = (gd_comm){.provider = &mpi, .mpi = m};
    GD_TRY_TO(fail, init(m));
    GD_TRY_TO(fail, split(c, host));
    GD_TRY_TO(fail, gd__comm_make_room(c));
    *out = c;
    return GD_OK;
fail:
    gd_comm_free(c);
    return st;
}
