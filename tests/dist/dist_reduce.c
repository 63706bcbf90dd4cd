/* All-reduce of gradient arenas: every rank gets the bits of the serial tree over all shards, for odd sizes,
 * any number of local shards, small buckets, and ranks on pretended hosts. The same for slices, and for gathering
 * them. */
#include "base/rng.h"
#include "dist/comm_mpi.h"
#include "dist/reduce.h"
#include "dist/tree.h"
#include "tests/dist/rig.h"

static void fill(int shard, uint64_t round, size_t n, float *x) {
    gd_rng r = {.seed = 8, .purpose = GD_PURPOSE_TEST, .step = round};
    gd_rng_normal(&r, (uint64_t)shard, 0, (uint32_t)n, x);
}

/* What the sum over all shards must be, to the bit. */
static float *serial_sum(int shards, uint64_t round, size_t n) {
    float *all = malloc(((size_t)shards * n + 1) * sizeof *all), *out = malloc((n + 1) * sizeof *out);
    const float **leaf = malloc((size_t)shards * sizeof *leaf);
    EXPECT(all && out && leaf);
    for (int s = 0; s < shards; s++) {
        fill(s, round, n, all + (size_t)s * n);
        leaf[s] = all + (size_t)s * n;
    }
    gd__tree_sum(leaf, shards, 0, n, out);
    free(leaf);
    free(all);
    return out;
}

/* Several rounds on the same reducer: what a round leaves behind must not disturb the next. */
static void reduce(size_t n, int parts, size_t bucket) {
    gd_reducer *r;
    EXPECT_OK(gd_reducer_new(comm, n, parts, bucket, &r));
    for (int p = 0; p < parts; p++) {
        float *arena = gd_reducer_arena(r, p);
        EXPECT((uintptr_t)arena % 64 == 0, "arena %d at %p", p, (void *)arena);
        for (size_t i = 0; i < n; i++) EXPECT(arena[i] == 0, "element %zu of arena %d is not zero at first", i, p);
    }
    for (uint64_t round = 1; round <= 3; round++) {
        float *want = serial_sum(size * parts, round, n);
        for (int p = 0; p < parts; p++) fill(rank * parts + p, round, n, gd_reducer_arena(r, p));
        EXPECT_OK(gd_reducer_start(r, false));
        EXPECT_OK(gd_reducer_finish(r));
        const float *got = gd_reducer_arena(r, 0);
        for (size_t i = 0; i < n; i++)
            EXPECT(!memcmp(got + i, want + i, sizeof *got),
                   "%zu floats, %d parts, bucket %zu, round %d: element %zu is %a, not %a", n, parts, bucket,
                   (int)round, i, (double)got[i], (double)want[i]);
        free(want);
    }
    gd_reducer_free(r);
}

static void expect_range(const float *got, const float *want, size_t first, size_t last, const char *what) {
    for (size_t i = first; i < last; i++)
        EXPECT(!memcmp(got + i, want + i, sizeof *got), "%s: element %zu is %a, not %a", what, i, (double)got[i],
               (double)want[i]);
}

/* This rank's slice of the sum, tripled, given to all; turns with a whole reduction, which must not notice. */
static void reduce_sliced(size_t n, int parts, size_t bucket) {
    gd_reducer *r;
    size_t first, last;
    char what[96];
    gd_slice_of(n, rank, size, &first, &last);
    EXPECT_OK(gd_reducer_new(comm, n, parts, bucket, &r));
    float *slice = malloc((last - first + 1) * sizeof *slice);
    EXPECT(slice);
    for (uint64_t round = 1; round <= 4; round++) {
        float *want = serial_sum(size * parts, round, n);
        const float *all = NULL;
        bool whole = round == 2;
        snprintf(what, sizeof what, "%zu floats, %d parts, bucket %zu, round %d", n, parts, bucket, (int)round);
        for (int p = 0; p < parts; p++) fill(rank * parts + p, round, n, gd_reducer_arena(r, p));
        EXPECT_OK(gd_reducer_start(r, !whole));
        EXPECT_OK(gd_reducer_finish(r));
        expect_range(gd_reducer_arena(r, 0), want, whole ? 0 : first, whole ? n : last, what);
        for (size_t i = first; i < last; i++) slice[i - first] = 3 * gd_reducer_arena(r, 0)[i];
        for (size_t i = 0; i < n; i++) want[i] *= 3;
        if (whole) EXPECT_OK(gd_comm_barrier(comm)); /* who is ahead writes into the others' slices */
        for (int again = 0; again < 2; again++) {    /* nothing lies in between: parameters, then moments */
            EXPECT_OK(gd_reducer_gather(r, slice, &all));
            expect_range(all, want, 0, n, what);
            gd_reducer_release(r);
        }
        free(want);
    }
    free(slice);
    gd_reducer_free(r);
}

static void slices_cover_everything_once(void) {
    for (size_t n = 0; n < 70000; n += 1237)
        for (int ranks = 1; ranks < 9; ranks++) {
            size_t at = 0, first, last;
            for (int k = 0; k < ranks; k++, at = last) {
                gd_slice_of(n, k, ranks, &first, &last);
                EXPECT(first == at || first == last, "%zu of %d: slice %d starts at %zu, not %zu", n, ranks, k, first,
                       at);
                EXPECT(first <= last && first % GD_SLICE_UNIT == 0 &&
                       last - first <= n / (size_t)ranks + GD_SLICE_UNIT);
            }
            EXPECT(at == n);
        }
}

static void slices_and_back(void) {
    static const size_t sizes[] = {0, 1, 4096, 4097, 33333, 50000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        reduce_sliced(sizes[k], 1, 0);
        reduce_sliced(sizes[k], 3, 0);
    }
}

static void odd_sizes(void) {
    static const size_t sizes[] = {0, 1, 15, 16, 1023, 1025, 4097, 33333};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) reduce(sizes[k], 1, 0);
}

static void several_parts(void) {
    static const int parts[] = {2, 3, 4, 6};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        reduce(5003, parts[k], 0);
        reduce(1, parts[k], 0);
    }
}

static void small_buckets(void) {
    reduce(10007, 1, 4096);
    reduce(10007, 3, 1000);
}

/* An even split, an uneven one, and ranks that alternate between two hosts. */
static void several_hosts(void) {
    gd_comm *one_host = comm;
    const int host[3] = {rank >= size / 2, rank > 0, rank % 2};
    bool real = gd_comm_hosts(comm) > 1; /* then the tests above have shown it */
    for (int k = 0; k < 3 && size > 1 && !real; k++) {
        EXPECT_OK(gd__comm_mpi_as(host[k], &comm));
        for (int parts = 1; parts <= 3; parts++) {
            reduce(1, parts, 0);
            reduce(7001, parts, 0);
            reduce(7001, parts, 4096);
            reduce_sliced(1, parts, 0);
            reduce_sliced(33333, parts, 4096);
            reduce_sliced(33333, parts, 0);
        }
        EXPECT_OK(gd_comm_barrier(comm));
        gd_comm_free(comm);
    }
    comm = one_host;
}

/* G's and D's gradients do not meet, whatever the order of their reductions. */
static void two_reducers(void) {
    enum { N = 3001 };
    gd_reducer *a, *b;
    EXPECT_OK(gd_reducer_new(comm, N, 1, 0, &a));
    EXPECT_OK(gd_reducer_new(comm, N + 2, 1, 0, &b));
    for (uint64_t round = 1; round <= 4; round++) {
        float *want_a = serial_sum(size, round, N), *want_b = serial_sum(size, 100 + round, N + 2);
        fill(rank, round, N, gd_reducer_arena(a, 0));
        fill(rank, 100 + round, N + 2, gd_reducer_arena(b, 0));
        EXPECT_OK(gd_reducer_start(round % 2 ? a : b, false));
        EXPECT_OK(gd_reducer_finish(round % 2 ? a : b));
        EXPECT_OK(gd_reducer_start(round % 2 ? b : a, false));
        EXPECT_OK(gd_reducer_finish(round % 2 ? b : a));
        EXPECT(!memcmp(gd_reducer_arena(a, 0), want_a, N * sizeof(float)));
        EXPECT(!memcmp(gd_reducer_arena(b, 0), want_b, (N + 2) * sizeof(float)));
        free(want_a);
        free(want_b);
    }
    gd_reducer_free(a);
    gd_reducer_free(b);
}

/* As many as a long series of trainers makes: memory of freed ones is used again or given back. */
static void many_reducers_in_turn(void) {
    for (int i = 0; i < 40; i++) {
        gd_reducer *r;
        EXPECT_OK(gd_reducer_new(comm, 100, 1, 0, &r));
        gd_reducer_arena(r, 0)[99] = 1;
        EXPECT_OK(gd_reducer_start(r, false));
        EXPECT_OK(gd_reducer_finish(r));
        EXPECT(gd_reducer_arena(r, 0)[99] == (float)size);
        gd_reducer_free(r);
    }
    gd_reducer_free(NULL);
}

static void wrong_order(void) {
    gd_reducer *r;
    EXPECT_OK(gd_reducer_new(comm, 10, 1, 0, &r));
    EXPECT_ERROR(gd_reducer_finish(r), INTERNAL, "without a start");
    EXPECT_OK(gd_reducer_start(r, false));
    EXPECT_ERROR(gd_reducer_start(r, false), INTERNAL, "twice");
    EXPECT_OK(gd_reducer_finish(r));
    gd_reducer_free(r);
}

int main(void) {
    const rig_test tests[] = {
        RIG_TEST(odd_sizes),       RIG_TEST(several_parts),
        RIG_TEST(small_buckets),   RIG_TEST(several_hosts),
        RIG_TEST(two_reducers),    RIG_TEST(many_reducers_in_turn),
        RIG_TEST(wrong_order),     RIG_TEST(slices_cover_everything_once),
        RIG_TEST(slices_and_back),
    };
    return rig_main(tests, sizeof tests / sizeof *tests);
}
