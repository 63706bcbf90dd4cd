/* Communication: broadcasts, gathers, sums in tree order, agreement; on one host and on pretended ones. */
#include "base/rng.h"
#include "dist/comm_mpi.h"
#include "dist/tree.h"
#include "tests/dist/rig.h"

enum { LONG = 70001 }; /* floats: more than four slots of the board */

static void fill(int of_rank, size_t n, float *x) {
    gd_rng r = {.seed = 9, .purpose = GD_PURPOSE_TEST, .step = 1};
    gd_rng_normal(&r, (uint64_t)of_rank, 0, (uint32_t)n, x);
}

static void ranks_and_hosts(void) {
    EXPECT(gd_comm_rank(comm) == rank);
    EXPECT(gd_comm_size(comm) == size);
    int on_host = gd_comm_host_size(comm), hosts = gd_comm_hosts(comm);
    EXPECT(hosts >= 1 && on_host >= 1 && hosts <= size && on_host <= size);
    EXPECT(gd_comm_host_rank(comm) >= 0 && gd_comm_host_rank(comm) < on_host);
    if (hosts == 1) EXPECT(gd_comm_host_rank(comm) == rank && on_host == size);
    double leaders = gd_comm_host_rank(comm) == 0;
    EXPECT_OK(gd_comm_sum_f64(comm, &leaders, 1));
    EXPECT(leaders == hosts);
    EXPECT(!strcmp(gd_comm_name(comm), "mpi"));
    EXPECT(gd_comm_launched());
}

static void broadcasts(void) {
    static const size_t sizes[] = {0, 1, 3, 4096, 300001};
    char *data = malloc(300001);
    EXPECT(data);
    for (int root = 0; root < size; root++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            memset(data, rank == root ? 17 + root : 0, sizes[k]);
            EXPECT_OK(gd_comm_bcast(comm, root, data, sizes[k]));
            for (size_t i = 0; i < sizes[k]; i++) EXPECT(data[i] == 17 + root, "byte %zu of %zu", i, sizes[k]);
        }
    free(data);
}

/* Other collectives may run while it is under way. */
static void broadcasts_that_do_not_block(void) {
    for (int i = 0; i < 20; i++) {
        int plan[8] = {0};
        double one = 1;
        for (int k = 0; k < 8; k++) plan[k] = rank ? -1 : 100 * i + k;
        EXPECT_OK(gd_comm_ibcast_start(comm, plan, sizeof plan));
        EXPECT_OK(gd_comm_sum_f64(comm, &one, 1));
        EXPECT_OK(gd_comm_ibcast_finish(comm));
        EXPECT(one == size);
        for (int k = 0; k < 8; k++) EXPECT(plan[k] == 100 * i + k);
    }
    EXPECT_ERROR(gd_comm_ibcast_finish(comm), INTERNAL, "no broadcast was started");
}

/* Whoever leaves with an error frees what it would have received. Gathers so large go through the library, which moves the
 * broadcast on as well. */
static void a_broadcast_touches_its_data_at_its_end_alone(void) {
    enum { LARGE = 1 << 20 };
    static char too_large[GD_IBCAST_MAX + 1];
    char *mine = calloc(LARGE, 1), *all = malloc((size_t)size * LARGE);
    int plan = rank ? -1 : 7;
    EXPECT(mine && all);
    EXPECT_OK(gd_comm_ibcast_start(comm, &plan, sizeof plan));
    for (int i = 0; i < 3; i++) EXPECT_OK(gd_comm_allgather(comm, mine, LARGE, all));
    EXPECT(plan == (rank ? -1 : 7), "%d", plan);
    EXPECT_OK(gd_comm_ibcast_finish(comm));
    EXPECT(plan == 7);
    if (size > 1) EXPECT_ERROR(gd_comm_ibcast_start(comm, too_large, sizeof too_large), INTERNAL, "at most 4096");
    free(mine);
    free(all);
}

static void gathers(void) {
    static const size_t sizes[] = {1, 5, 1000, GD__SLOT, GD__SLOT + 1};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k];
        char *mine = malloc(n), *all = malloc(n * (size_t)size);
        EXPECT(mine && all);
        memset(mine, 'a' + rank, n);
        EXPECT_OK(gd_comm_allgather(comm, mine, n, all));
        for (int r = 0; r < size; r++)
            for (size_t i = 0; i < n; i++)
                EXPECT(all[(size_t)r * n + i] == 'a' + r, "part %d, byte %zu of %zu", r, i, n);
        free(mine);
        free(all);
    }
}

/* Whole numbers add exactly in any order: here errors would be wrong ranks or wrong elements. */
static void sums_of_integers(void) {
    static double x[1000];
    static float y[LONG];
    for (int i = 0; i < 1000; i++) x[i] = i + 1000.0 * rank;
    EXPECT_OK(gd_comm_sum_f64(comm, x, 1000));
    for (int i = 0; i < 1000; i++) EXPECT(x[i] == (double)i * size + 1000.0 * size * (size - 1) / 2);
    for (int i = 0; i < LONG; i++) y[i] = (float)(i % 1000 + rank);
    EXPECT_OK(gd_comm_sum_f32(comm, y, LONG));
    for (int i = 0; i < LONG; i++) EXPECT(y[i] == (float)(i % 1000 * size + size * (size - 1) / 2), "element %d", i);
}

/* Every rank makes all parts itself and adds them as tree.h says. */
static void sums_are_the_tree(void) {
    float *all = malloc((size_t)size * LONG * sizeof *all), *want = malloc(LONG * sizeof *want),
          *mine = malloc(LONG * sizeof *mine);
    const float **part = malloc((size_t)size * sizeof *part);
    EXPECT(all && want && mine && part);
    for (int r = 0; r < size; r++) {
        fill(r, LONG, all + (size_t)r * LONG);
        part[r] = all + (size_t)r * LONG;
    }
    gd__tree_sum(part, size, 0, LONG, want);
    memcpy(mine, part[rank], LONG * sizeof *mine);
    EXPECT_OK(gd_comm_sum_f32(comm, mine, LONG));
    EXPECT(!memcmp(mine, want, LONG * sizeof *mine));
    double leaf[64], one = part[rank][7];
    for (int r = 0; r < size && r < 64; r++) leaf[r] = part[r][7];
    EXPECT_OK(gd_comm_sum_f64(comm, &one, 1));
    EXPECT(one == gd__tree_sum_f64(leaf, size, 1));
    free(part);
    free(mine);
    free(want);
    free(all);
}

/* `parts` leaves a rank: the same bits as a serial tree over all, also where no rank's sum is a node. */
static void sums_of_leaves(void) {
    enum { N = 2501, PARTS = 7 }; /* seven parts: more than one piece */
    for (int parts = 1; parts <= PARTS; parts++) {
        size_t leaves = (size_t)(parts * size);
        float *all = malloc(leaves * N * sizeof *all), want[N], got[N];
        const float **leaf = malloc(leaves * sizeof *leaf);
        EXPECT(all && leaf);
        for (size_t l = 0; l < leaves; l++) {
            fill((int)l, N, all + l * N);
            leaf[l] = all + l * N;
        }
        gd__tree_sum(leaf, (int)leaves, 0, N, want);
        EXPECT_OK(gd_comm_sum_parts_f32(comm, leaf + rank * parts, parts, N, got));
        EXPECT(!memcmp(got, want, sizeof got), "%d leaves a rank", parts);
        /* The result may take the place of the first part. */
        float *first = all + (size_t)(rank * parts) * N;
        EXPECT_OK(gd_comm_sum_parts_f32(comm, leaf + rank * parts, parts, N, first));
        EXPECT(!memcmp(first, want, sizeof want), "%d leaves a rank, in place", parts);
        free(leaf);
        free(all);
    }
}

static void waits_are_written_down(void) {
    float room[3] = {-1, -1, -1};
    gd_comm_waited(comm, 9); /* nobody asked */
    gd_comm_waits(comm, room, 2);
    for (int i = 1; i <= 3; i++) gd_comm_waited(comm, i);
    gd_comm_waits(comm, NULL, 0);
    gd_comm_waited(comm, 9);
    EXPECT(gd_comm_waits_written(comm) == 3, "%zu", gd_comm_waits_written(comm));
    EXPECT(room[0] == 1 && room[1] == 2 && room[2] == -1);
    gd_comm_waits(comm, room, 2);
    EXPECT(gd_comm_waits_written(comm) == 0);
    gd_comm_waits(comm, NULL, 0);
}

static void agreement(void) {
    EXPECT_OK(gd_comm_agree(comm, GD_OK));
    for (int bad = 0; bad < size; bad++) {
        char text[64];
        snprintf(text, sizeof text, "disk %d is full", bad);
        gd_status local = rank == bad ? gd_raise(GD_IO, __FILE__, __LINE__, "%s", text) : GD_OK;
        gd_status st = gd_comm_agree(comm, local);
        EXPECT(st == (rank == bad ? GD_IO : GD_PEER) && strstr(gd_error_message(), text), "%s: %s", gd_status_name(st),
               gd_error_message());
        EXPECT(gd_error_is_agreed() == (size > 1) && gd_error_agreed(st) == GD_IO, "agreed on %s",
               gd_status_name(gd_error_agreed(st)));
        EXPECT(strstr(gd_error_trail(), "dist/dist_comm.c:"), "trail %s", gd_error_trail());
        /* What follows an agreement agrees on the same, whichever rank is the lowest that has an error then. */
        st = gd_comm_agree(comm, st);
        EXPECT(gd_error_agreed(st) == GD_IO, "then on %s", gd_status_name(gd_error_agreed(st)));
    }
    /* All fail: each keeps its own. All but rank 0: the lowest is what rank 0 hears. */
    gd_status local = gd_raise(GD_DATA, __FILE__, __LINE__, "file %d", rank);
    char own[32];
    snprintf(own, sizeof own, "file %d", rank);
    EXPECT_ERROR(gd_comm_agree(comm, local), DATA, own);
    if (size < 3) return;
    local = rank ? gd_raise(GD_NOMEM, __FILE__, __LINE__, "room %d", rank) : GD_OK;
    if (rank == 0) EXPECT_ERROR(gd_comm_agree(comm, local), PEER, "rank 1: room 1");
    else EXPECT_ERROR(gd_comm_agree(comm, local), NOMEM, "room");
    /* Different errors: one of them, the lowest rank's, is what all end with. */
    local = rank == 0 ? GD_OK : gd_raise(rank == 1 ? GD_NOINPUT : GD_DATA, __FILE__, __LINE__, "file %d", rank);
    gd_status st = gd_comm_agree(comm, local);
    EXPECT(gd_error_agreed(st) == GD_NOINPUT, "%s, agreed on %s", gd_status_name(st),
           gd_status_name(gd_error_agreed(st)));
}

/* The same on ranks spread over pretended hosts: an even split, an uneven one, and interleaved ranks. */
static void several_hosts(void) {
    gd_comm *one_host = comm;
    const int host[3] = {rank >= size / 2, rank > 0, rank % 2};
    bool real = gd_comm_hosts(comm) > 1; /* then the tests above have shown it */
    for (int k = 0; k < 3 && size > 1 && !real; k++) {
        EXPECT_OK(gd__comm_mpi_as(host[k], &comm));
        EXPECT(gd_comm_hosts(comm) == 2);
        broadcasts();
        broadcasts_that_do_not_block();
        gathers();
        sums_of_integers();
        sums_are_the_tree();
        sums_of_leaves();
        agreement();
        EXPECT_OK(gd_comm_barrier(comm));
        gd_comm_free(comm);
    }
    comm = one_host;
}

/* One rank without MPI keeps the same promises. */
static void self(void) {
    gd_comm *c;
    float x[3] = {1, 2, 3}, y[3];
    double d = 4;
    const float *part[3] = {x, x, x};
    EXPECT_OK(gd_comm_self(&c));
    EXPECT(gd_comm_size(c) == 1 && gd_comm_rank(c) == 0 && gd_comm_hosts(c) == 1 && gd_comm_host_size(c) == 1);
    EXPECT(!strcmp(gd_comm_name(c), "self"));
    EXPECT_OK(gd_comm_barrier(c));
    EXPECT_OK(gd_comm_bcast(c, 0, x, sizeof x));
    EXPECT_OK(gd_comm_allgather(c, x, sizeof x, y));
    EXPECT(!memcmp(x, y, sizeof x));
    EXPECT_OK(gd_comm_sum_f32(c, x, 3));
    EXPECT_OK(gd_comm_sum_f64(c, &d, 1));
    EXPECT(x[2] == 3 && d == 4);
    EXPECT_OK(gd_comm_sum_parts_f32(c, part, 3, 3, y));
    EXPECT(y[0] == 3 && y[2] == 9);
    EXPECT_OK(gd_comm_ibcast_start(c, x, sizeof x));
    EXPECT_OK(gd_comm_ibcast_finish(c));
    EXPECT_ERROR(gd_comm_agree(c, gd_raise(GD_IO, __FILE__, __LINE__, "mine")), IO, "mine");
    gd_comm_free(c);
    gd_comm_free(NULL);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(ranks_and_hosts),
        RIG_TEST(broadcasts),
        RIG_TEST(broadcasts_that_do_not_block),
        RIG_TEST(a_broadcast_touches_its_data_at_its_end_alone),
        RIG_TEST(gathers),
        RIG_TEST(sums_of_integers),
        RIG_TEST(sums_are_the_tree),
        RIG_TEST(sums_of_leaves),
        RIG_TEST(waits_are_written_down),
        RIG_TEST(agreement),
        RIG_TEST(several_hosts),
        RIG_TEST(self),
    };
    return rig_main(tests, sizeof tests / sizeof *tests);
}
