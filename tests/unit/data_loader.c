/* The stream of batches: same bytes for any number of ranks, workers and batches ahead. */
#include "tests/unit/data_files.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/loader.h"

enum { COUNT = 53, SIDE = 6, BYTES = SIDE * SIDE, GLOBAL = 8, BATCHES = 20, SEED = 9 };

static gd_dataset_spec idx_spec(bool flip) {
    return (gd_dataset_spec){.source = "idx", .path = "set.idx", .flip = flip, .seed = 4};
}

/* All draws of the first BATCHES global batches, straight from the contract's formula. */
static uint8_t *expected_stream(const gd_dataset *d, uint64_t cursor) {
    uint8_t *all = malloc((size_t)BATCHES * GLOBAL * BYTES);
    assert_non_null(all);
    for (uint64_t i = 0; i < BATCHES * GLOBAL; i++) {
        uint64_t c = cursor + i;
        gd_rng r = {.seed = SEED, .purpose = GD_PURPOSE_SHUFFLE, .step = c / COUNT};
        expect_ok(gd_dataset_get(d, 0, (int64_t)gd_rng_permute(&r, COUNT, c % COUNT), c, all + i * BYTES));
    }
    return all;
}

static gd_loader *open_loader(const gd_dataset *d, gd_loader_opts o) {
    gd_loader *l = NULL;
    o.seed = SEED;
    o.global = o.global ? o.global : GLOBAL;
    expect_ok(gd_loader_open(d, &o, &l));
    return l;
}

/* This rank's part of BATCHES batches must be the part of `want`. */
static void check_stream(gd_loader *l, const uint8_t *want, uint64_t cursor, int first, int local) {
    for (int b = 0; b < BATCHES; b++) {
        gd_batch batch;
        assert_int_equal(gd_loader_cursor(l), cursor + (uint64_t)b * GLOBAL);
        expect_ok(gd_loader_next(l, &batch));
        assert_int_equal(batch.cursor, cursor + (uint64_t)b * GLOBAL);
        assert_true(batch.wait_s >= 0 && batch.wait_s < 100);
        assert_memory_equal(batch.part[0], want + (size_t)(b * GLOBAL + first) * BYTES, (size_t)local * BYTES);
    }
}

static void test_ranks_workers_depth(void **state) {
    gd_dataset *d = open_set(idx_spec(true));
    uint8_t *want = expected_stream(d, 0);
    (void)state;
    for (int ranks = 1; ranks <= 4; ranks *= 2)
        for (int workers = 1; workers <= 4; workers++)
            for (int depth = 1; depth <= 4; depth++)
                for (int rank = 0; rank < ranks; rank++) {
                    int local = GLOBAL / ranks;
                    gd_loader *l = open_loader(
                        d, (gd_loader_opts){.first = rank * local, .local = local, .workers = workers, .depth = depth});
                    check_stream(l, want, 0, rank * local, local);
                    gd_loader_close(l);
                }
    free(want);
    gd_dataset_close(d);
}

/* Resizing, and pictures that are kept after the first pass: still the same bytes. */
static void test_kept_pictures(void **state) {
    gd_dataset_spec spec = idx_spec(false);
    (void)state;
    spec.size = 4;
    gd_dataset *d = open_set(spec), *fresh;
    gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = 4, .depth = 3});
    const size_t bytes = 16;
    for (int b = 0; b < 3 * COUNT / GLOBAL; b++) {
        gd_batch batch;
        expect_ok(gd_loader_next(l, &batch));
        fresh = open_set(spec); /* has kept nothing yet */
        for (uint64_t i = 0; i < GLOBAL; i++) {
            uint64_t c = batch.cursor + i;
            gd_rng r = {.seed = SEED, .purpose = GD_PURPOSE_SHUFFLE, .step = c / COUNT};
            uint8_t want[16];
            expect_ok(gd_dataset_get(fresh, 0, (int64_t)gd_rng_permute(&r, COUNT, c % COUNT), c, want));
            assert_memory_equal((const uint8_t *)batch.part[0] + i * bytes, want, bytes);
        }
        gd_dataset_close(fresh);
    }
    gd_loader_close(l);
    gd_dataset_close(d);
}

static int which_sample(const uint8_t *pixels) {
    uint8_t image[BYTES];
    for (uint32_t i = 0; i < COUNT; i++) {
        noise(image, BYTES, i);
        if (!memcmp(image, pixels, BYTES)) return (int)i;
    }
    fail_msg("a sample that is not in the file");
    return -1;
}

static void test_every_sample_once_an_epoch(void **state) {
    gd_dataset *d = open_set(idx_spec(false));
    gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = 3});
    int order[3][COUNT], seen[3][COUNT] = {{0}};
    (void)state;
    for (int c = 0; c < 3 * COUNT;) { /* 53 is no multiple of 8: batches lie across the edges */
        gd_batch b;
        expect_ok(gd_loader_next(l, &b));
        for (int i = 0; i < GLOBAL && c < 3 * COUNT; i++, c++) {
            int s = which_sample((const uint8_t *)b.part[0] + i * BYTES);
            order[c / COUNT][c % COUNT] = s;
            seen[c / COUNT][s]++;
        }
    }
    for (int e = 0; e < 3; e++)
        for (int i = 0; i < COUNT; i++) assert_int_equal(seen[e][i], 1);
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    assert_memory_not_equal(order[1], order[2], sizeof order[0]);
    gd_loader_close(l);
    gd_dataset_close(d);
}

static void test_seek(void **state) {
    static const uint64_t places[] = {0, 8, 3, COUNT - 1, 7 * COUNT + 5, 1000000007, 5};
    gd_dataset *d = open_set(idx_spec(true));
    gd_loader *l = open_loader(d, (gd_loader_opts){.first = 2, .local = 4, .workers = 2, .depth = 3, .cursor = 77});
    (void)state;
    uint8_t *want = expected_stream(d, 77);
    check_stream(l, want, 77, 2, 4);
    free(want);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        want = expected_stream(d, places[i]);
        expect_ok(gd_loader_seek(l, places[i] + 11)); /* workers are at work here */
        usleep(2000);                                 /* its first batches are ready when they are dropped */
        expect_ok(gd_loader_seek(l, places[i]));
        check_stream(l, want, places[i], 2, 4);
        expect_ok(gd_loader_seek(l, places[i])); /* twice, with nothing taken in between */
        expect_ok(gd_loader_seek(l, places[i]));
        check_stream(l, want, places[i], 2, 4);
        free(want);
    }
    gd_loader_close(l);
    gd_dataset_close(d);
}

/* Draw, not sample, decides about the mirror: the same sample is flipped in some epochs only. */
static void test_flip_is_keyed_by_draw(void **state) {
    gd_dataset *d = open_set(idx_spec(true)), *plain = open_set(idx_spec(false));
    uint8_t a[BYTES], b[BYTES], again[BYTES];
    int flipped = 0;
    const int draws = 4000;
    (void)state;
    expect_ok(gd_dataset_get(plain, 0, 7, 0, a));
    for (int draw = 0; draw < draws; draw++) {
        expect_ok(gd_dataset_get(d, 0, 7, (uint64_t)draw, b));
        expect_ok(gd_dataset_get(d, 0, 7, (uint64_t)draw, again));
        assert_memory_equal(b, again, BYTES);
        bool mirror = memcmp(a, b, BYTES) != 0;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) assert_int_equal(b[y * SIDE + x], a[y * SIDE + (mirror ? SIDE - 1 - x : x)]);
        flipped += mirror;
    }
    assert_in_range(flipped, draws / 2 - 150, draws / 2 + 150); /* nearly 5 standard deviations */
    gd_dataset_close(plain);
    gd_dataset_close(d);
}

static void test_points(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "ring", .seed = 2, .count = 100});
    gd_loader *l = open_loader(d, (gd_loader_opts){.global = 32, .first = 16, .local = 16});
    gd_batch b;
    (void)state;
    expect_ok(gd_loader_next(l, &b));
    for (uint64_t i = 0; i < 16; i++) {
        gd_rng r = {.seed = SEED, .purpose = GD_PURPOSE_SHUFFLE, .step = 0};
        float want[2];
        expect_ok(gd_dataset_get(d, 0, (int64_t)gd_rng_permute(&r, 100, 16 + i), 0, want));
        assert_memory_equal((const float *)b.part[0] + 2 * i, want, sizeof want);
    }
    gd_loader_close(l);
    gd_dataset_close(d);
}

/* ---- how far ahead ---- */

static atomic_int opens;

static int counting_open(const char *path, int flags, mode_t mode) {
    usleep(300); /* so that a seek comes upon workers that are in the middle of a picture */
    atomic_fetch_add(&opens, 1);
    return gd_io_system()->open(path, flags, mode);
}

static void make_folder(void) {
    char name[64];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "pictures/%02d.png", i);
        put_png(name, 8, 8, 3, (uint32_t)i);
    }
}

static void expect_opens(int count) {
    for (int i = 0; i < 5000 && atomic_load(&opens) < count; i++) usleep(1000);
    usleep(20000); /* and no more than that */
    assert_int_equal(atomic_load(&opens), count);
}

static void test_depth_is_how_far_ahead(void **state) {
    gd_io table = *gd_io_system();
    (void)state;
    make_folder();
    table.open = counting_open;
    gd_io_set(&table);
    for (int depth = 1; depth <= 3; depth++) {
        gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "pictures"});
        atomic_store(&opens, 0);
        gd_loader *l = open_loader(d, (gd_loader_opts){.global = 4, .local = 4, .workers = 2, .depth = depth});
        gd_batch b;
        for (int i = 0; i < 3; i++) {
            expect_ok(gd_loader_next(l, &b));
            expect_opens(4 * (i + 1 + depth)); /* those handed out, and `depth` more; all in the first pass */
        }
        gd_loader_close(l);
        gd_dataset_close(d);
    }
    gd_io_set(NULL);
}

static void test_seek_while_workers_decode(void **state) {
    gd_io table = *gd_io_system();
    (void)state;
    make_folder();
    table.open = counting_open;
    gd_io_set(&table);
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "pictures"});
    gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = 4, .depth = 2});
    for (uint64_t cursor = 0; cursor < 100; cursor += 7) {
        gd_batch b;
        expect_ok(gd_loader_seek(l, cursor));
        for (int n = 0; n < 2; n++) {
            expect_ok(gd_loader_next(l, &b));
            for (uint64_t i = 0; i < GLOBAL; i++) {
                uint64_t c = cursor + (uint64_t)n * GLOBAL + i;
                gd_rng r = {.seed = SEED, .purpose = GD_PURPOSE_SHUFFLE, .step = c / 40};
                gd_image want = noise_image(8, 8, 3, (uint32_t)gd_rng_permute(&r, 40, c % 40));
                assert_memory_equal((const uint8_t *)b.part[0] + i * 192, want.pixels, 192);
                gd_image_free(&want);
            }
        }
    }
    gd_loader_close(l);
    gd_dataset_close(d);
    gd_io_set(NULL);
}

/* ---- errors ---- */

static void test_error_comes_at_its_batch(void **state) {
    make_folder();
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "pictures"});
    (void)state;
    /* Damaged after opening. Draws 19 and 22 are in the third batch of 8; 19 comes first. */
    gd_rng r = {.seed = SEED, .purpose = GD_PURPOSE_SHUFFLE, .step = 0};
    char bad[2][64];
    for (int i = 0; i < 2; i++) {
        snprintf(bad[i], sizeof bad[i], "pictures/%02d.png", (int)gd_rng_permute(&r, 40, i ? 22 : 19));
        put_file(bad[i], "<html>", 6);
    }
    for (int workers = 1; workers <= 4; workers++)
        for (int depth = 1; depth <= 4; depth += 3) {
            gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = workers, .depth = depth});
            gd_batch b;
            expect_ok(gd_loader_next(l, &b));
            expect_ok(gd_loader_next(l, &b));
            assert_int_equal(b.cursor, 8);
            for (int i = 0; i < 3; i++) expect_error(gd_loader_next(l, &b), GD_DATA, bad[0], "not a PNG", "<html>");
            assert_false(gd_loader_ready(l));
            assert_int_equal(gd_loader_cursor(l), 16);
            expect_ok(gd_loader_seek(l, 24)); /* behind it */
            expect_ok(gd_loader_next(l, &b));
            assert_int_equal(b.cursor, 24);
            gd_loader_close(l);
        }
    gd_dataset_close(d);
}

/* Other ranks' damaged files are not this rank's error. */
static void test_error_stays_in_its_slice(void **state) {
    make_folder();
    gd_dataset *d = open_set((gd_dataset_spec){.source = "folder", .path = "pictures"});
    gd_rng r = {.seed = SEED, .purpose = GD_PURPOSE_SHUFFLE, .step = 0};
    char bad[64];
    gd_batch b;
    (void)state;
    snprintf(bad, sizeof bad, "pictures/%02d.png", (int)gd_rng_permute(&r, 40, 5));
    put_file(bad, "", 0);
    gd_loader *first = open_loader(d, (gd_loader_opts){.local = 4}),
              *second = open_loader(d, (gd_loader_opts){.first = 4, .local = 4});
    expect_ok(gd_loader_next(first, &b));
    expect_error(gd_loader_next(second, &b), GD_DATA, bad, "0 bytes");
    gd_loader_close(first);
    gd_loader_close(second);
    gd_dataset_close(d);
}

static void test_options(void **state) {
    gd_dataset *d = open_set(idx_spec(false));
    gd_loader *l = NULL;
    (void)state;
    gd_loader_opts o = {.global = 64, .local = 64};
    expect_error(gd_loader_open(d, &o, &l), GD_CONFIG, "set.idx: 53 samples", "global batch of 64", "batch.global");
    o = (gd_loader_opts){.global = 8, .first = 6, .local = 3};
    expect_error(gd_loader_open(d, &o, &l), GD_CONFIG, "samples 6 to 8", "batch of 8");
    o = (gd_loader_opts){.global = 8, .local = 0};
    expect_error(gd_loader_open(d, &o, &l), GD_CONFIG, "global batch of 8");
    o = (gd_loader_opts){.global = 8, .local = 8, .workers = 1000};
    expect_error(gd_loader_open(d, &o, &l), GD_CONFIG, "1000 workers", "at most 256");
    assert_null(l);
    gd_loader_close(NULL);
    gd_dataset_close(d);
}

/* At any moment: before, between and after batches, with workers busy or asleep. */
static void test_close_early(void **state) {
    gd_dataset *d = open_set((gd_dataset_spec){.source = "synthetic", .size = 32, .count = 100});
    (void)state;
    for (int round = 0; round < 60; round++) {
        gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = 1 + round % 4, .depth = 2});
        gd_batch b;
        for (int i = 0; i < round % 3; i++) expect_ok(gd_loader_next(l, &b));
        if (round % 5 == 0) usleep(2000);
        gd_loader_close(l);
    }
    gd_dataset_close(d);
}

/* A batch that was handed out is left alone until the next call. */
static void test_batch_stays_valid(void **state) {
    gd_dataset *d = open_set(idx_spec(false));
    gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = 4, .depth = 1});
    uint8_t *want = expected_stream(d, 0);
    gd_batch b;
    (void)state;
    for (int i = 0; i < 5; i++) {
        expect_ok(gd_loader_next(l, &b));
        usleep(3000); /* the workers run as far ahead as they may */
        assert_memory_equal(b.part[0], want + (size_t)i * GLOBAL * BYTES, (size_t)GLOBAL * BYTES);
    }
    free(want);
    gd_loader_close(l);
    gd_dataset_close(d);
}

static volatile sig_atomic_t handled_elsewhere;
static pthread_t owner;

static void on_signal(int number) {
    (void)number;
    if (!pthread_equal(pthread_self(), owner)) handled_elsewhere = 1;
}

/* Signals of the process reach the thread that trains. */
static void test_workers_take_no_signals(void **state) {
    gd_dataset *d = open_set(idx_spec(false));
    (void)state;
    owner = pthread_self();
    signal(SIGUSR1, on_signal);
    gd_loader *l = open_loader(d, (gd_loader_opts){.local = GLOBAL, .workers = 4});
    sigset_t usr1, before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    for (int i = 0; i < 20; i++) {
        /* Blocked here, a worker would have to take it at once. */
        pthread_sigmask(SIG_BLOCK, &usr1, &before);
        kill(getpid(), SIGUSR1);
        usleep(1000);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    gd_loader_close(l);
    signal(SIGUSR1, SIG_DFL);
    assert_int_equal(handled_elsewhere, 0);
    gd_dataset_close(d);
}

/* ---- samples that are cropped and mirrored elsewhere ---- */

static int pieces;

static gd_status take_piece(size_t bytes, void **out) {
    *out = aligned_alloc(GD_PICK_ALIGN, (bytes + GD_PICK_ALIGN) / GD_PICK_ALIGN * GD_PICK_ALIGN);
    assert_non_null(*out);
    pieces++;
    return GD_OK;
}

static void give_piece(void *at) {
    pieces--;
    free(at);
}

static gd_status no_piece(size_t bytes, void **out) {
    *out = NULL;
    GD_FAIL(CUDA, "no pinned memory for %zu bytes", bytes);
}

static void cut_out(gd_sample_shape in, gd_sample_shape s, const gd_pick *k, const uint8_t *from, uint8_t *to) {
    const size_t pixel = (size_t)s.channels * (s.type == GD_SAMPLE_F32 ? sizeof(float) : 1);
    from += k->index * gd_sample_bytes(in);
    for (uint32_t y = 0; y < (uint32_t)s.height; y++)
        for (uint32_t x = 0; x < (uint32_t)s.width; x++, to += pixel) {
            const uint32_t column = k->left + (k->mirror ? (uint32_t)s.width - 1 - x : x);
            memcpy(to, from + ((k->top + y) * (uint32_t)in.width + column) * pixel, pixel);
        }
}

/* What the picks say of whole samples is the stream as it always was: pictures, cut and mirrored; pairs; domains that do not belong
 * together; points with labels. Batches stay valid for as many calls as are held. */
static void test_whole_samples(void **state) {
    enum { HELD = 3, DRAWN = 6 };
    const gd_dataset_spec specs[] = {
        {.source = "idx", .path = "set.idx", .flip = true, .seed = 4},
        {.source = "idx", .path = "set.idx", .size = 4, .load = 6, .flip = true, .seed = 4},
        {.source = "synthetic-pairs", .size = 5, .load = 7, .channels = 3, .count = 40},
        {.source = "ring", .labels = true, .count = 40, .seed = 3}};
    (void)state;
    for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
        gd_dataset *d = open_set(specs[k]);
        gd_loader_opts o = {.first = 2, .local = 4, .workers = 3, .depth = 1, .cursor = 9};
        gd_loader *plain = open_loader(d, o);
        o.held = HELD;
        o.whole = true;
        o.alloc = take_piece;
        o.free = give_piece;
        gd_loader *whole = open_loader(d, o);
        gd_batch want, got[HELD];
        int windows = 0;
        assert_int_equal(pieces, (HELD + 1) * gd_dataset_parts(d));
        for (int b = 0; b < DRAWN; b++) {
            while (!gd_loader_ready(whole)) usleep(100);
            expect_ok(gd_loader_next(whole, &got[b % HELD]));
            if (b % HELD != HELD - 1) continue;
            for (int h = 0; h < HELD; h++) {
                expect_ok(gd_loader_next(plain, &want));
                assert_int_equal(want.cursor, got[h].cursor);
                assert_null(want.pick[0]);
                for (int p = 0; p < gd_dataset_parts(d); p++) {
                    const gd_sample_shape in = gd_dataset_whole_shape(d, p), s = gd_dataset_shape(d, p);
                    assert_ptr_equal(got[h].part[p], (const uint8_t *)got[h].pick[p] + gd_pick_bytes(4));
                    for (size_t i = 0; i < 4; i++) {
                        uint8_t sample[256];
                        const gd_pick *w = &got[h].pick[p][i];
                        assert_int_equal(w->index, i);
                        cut_out(in, s, w, got[h].part[p], sample);
                        assert_memory_equal(sample, (const uint8_t *)want.part[p] + i * gd_sample_bytes(s),
                                            gd_sample_bytes(s));
                        windows += w->top || w->left || w->mirror;
                    }
                }
            }
        }
        assert_true(k == 3 ? !windows : windows > 3);
        gd_loader_close(plain);
        gd_loader_close(whole);
        assert_int_equal(pieces, 0);
        gd_dataset_close(d);
    }
}

/* The words of whoever has no memory of that kind come out. */
static void test_memory_of_others(void **state) {
    gd_dataset *d = open_set(idx_spec(false));
    gd_loader *l = NULL;
    (void)state;
    const gd_loader_opts o = {.seed = SEED, .global = GLOBAL, .local = GLOBAL, .alloc = no_piece, .free = give_piece};
    assert_int_equal(gd_loader_open(d, &o, &l), GD_CUDA);
    assert_non_null(strstr(gd_error_message(), "no pinned memory for 288 bytes"));
    assert_null(l);
    gd_dataset_close(d);
}

static int make_set(void **state) {
    (void)state;
    put_idx("set.idx", COUNT, SIDE, SIDE);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_workers_depth),
        cmocka_unit_test(test_kept_pictures),
        cmocka_unit_test(test_every_sample_once_an_epoch),
        cmocka_unit_test(test_seek),
        cmocka_unit_test(test_flip_is_keyed_by_draw),
        cmocka_unit_test(test_points),
        cmocka_unit_test(test_depth_is_how_far_ahead),
        cmocka_unit_test(test_seek_while_workers_decode),
        cmocka_unit_test(test_error_comes_at_its_batch),
        cmocka_unit_test(test_error_stays_in_its_slice),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_close_early),
        cmocka_unit_test(test_batch_stays_valid),
        cmocka_unit_test(test_workers_take_no_signals),
        cmocka_unit_test(test_whole_samples),
        cmocka_unit_test(test_memory_of_others),
    };
    return cmocka_run_group_tests(tests, make_set, NULL);
}
