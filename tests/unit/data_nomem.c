/* Memory runs out while a data set is opened, read, checked or written: the n-th allocation fails, for every n, once
 * or from then on. It is reported as such, never taken for another set, a bad file or a bad picture, and leaks
 * nothing. The linker sends the allocations of this program through the functions below; those inside of libpng,
 * TurboJPEG and ISA-L stay as they are. */
#include "tests/unit/data_files.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "data/loader.h"
#include "data/tools.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t each);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t each);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **out, const char *format, ...);

static atomic_int allocations; /* since the trial began */
static atomic_long alive;      /* allocated and not freed */
static int fail_at = -1;
static bool sticky;

static bool fails(void) {
    int i = atomic_fetch_add(&allocations, 1);
    return fail_at >= 0 && (i == fail_at || (sticky && i > fail_at));
}

static void *counted(void *p) {
    if (p) atomic_fetch_add(&alive, 1);
    return p;
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : counted(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t each) { return fails() ? NULL : counted(__real_calloc(n, each)); }
char *__wrap_strdup(const char *s) { return fails() ? NULL : counted(__real_strdup(s)); }
char *__wrap_strndup(const char *s, size_t n) { return fails() ? NULL : counted(__real_strndup(s, n)); }
void *__wrap_realloc(void *p, size_t n) {
    if (fails()) return NULL;
    void *out = __real_realloc(p, n);
    return p ? out : counted(out);
}
void __wrap_free(void *p) {
    if (p) atomic_fetch_sub(&alive, 1);
    __real_free(p);
}
int __wrap_asprintf(char **out, const char *format, ...) {
    va_list v;
    *out = NULL;
    if (fails()) return -1;
    va_start(v, format);
    int n = vasprintf(out, format, v);
    va_end(v);
    if (n >= 0) counted(*out);
    return n;
}

/* ---- files ---- */

enum { SIDE = 6, RECORD = 3073, RECORDS = 10000 };

static void put_labels(const char *path, uint32_t n) {
    uint8_t bytes[64] = {0};
    put32(put32(bytes, 0x801), n);
    for (uint32_t i = 0; i < n; i++) bytes[8 + i] = (uint8_t)(i % 10);
    put_file(path, bytes, 8 + n);
}

/* All records are zeros: a hole, which takes no room. */
static void put_cifar_test(void) {
    expect_ok(gd_dir_make("cifar"));
    int fd = open("cifar/test_batch.bin", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)RECORD * RECORDS), 0);
    close(fd);
}

static void put_shard(const char *name) {
    char path[128];
    size_t n;
    snprintf(path, sizeof path, "tests/fuzz/corpus/data_tar/%s", name);
    uint8_t *bytes = read_source(path, &n);
    snprintf(path, sizeof path, "%s/x.tar", name);
    put_file(path, bytes, n);
    free(bytes);
}

static void put_sets(void) {
    static const char *const pictures[] = {
        "folder/b.png",     "folder/a/x.png",      "folder/a/y.png",     "un/trainA/1.png",    "un/trainA/2.png",
        "un/trainB/1.png",  "un/testA/1.png",      "un/testB/1.png",     "two/A/x.png",        "two/A/y.png",
        "two/B/x.png",      "two/B/y.png",         "half/A/train/x.png", "half/B/train/x.png", "half/A/val/x.png",
        "half/B/val/x.png", "split/train/A/x.png", "split/train/B/x.png"};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) put_png(pictures[i], SIDE, SIDE, 3, (uint32_t)i);
    put_png("joined/train/x.png", SIDE, 2 * SIDE, 3, 1);
    put_png("joined/train/y.png", SIDE, 2 * SIDE, 3, 2);
    put_png("joined/val/z.png", SIDE, 2 * SIDE, 3, 3);
    put_file("notes/notes.txt", "x", 1);
    put_idx("idx/train-images-idx3-ubyte", 20, 28, 28);
    put_idx("idx/test-images-idx3-ubyte", 4, 28, 28);
    put_labels("idx/train-labels-idx1-ubyte", 20);
    put_labels("idx/test-labels-idx1-ubyte", 4);
    put_cifar_test();
    put_shard("good-pax.tar");
    put_shard("good-labels.tar");
    put_shard("good-pairs.tar");
    put_shard("good-jpeg.tar");
}

static void put_gz(void) {
    size_t n;
    uint8_t *bytes = read_source("tests/fuzz/corpus/data_idx/good.idx.gz", &n);
    put_file("one.gz", bytes, n);
    free(bytes);
}

/* ---- what is tried ---- */

static gd_status read_all(const gd_dataset *d, uint64_t *hash) {
    for (int p = 0; p < gd_dataset_parts(d); p++)
        for (int64_t i = 0; i < gd_dataset_part_count(d, p) && i < 20; i++) {
            uint8_t out[8192];
            const size_t bytes = gd_sample_bytes(gd_dataset_shape(d, p));
            assert_true(bytes <= sizeof out);
            GD_TRY(gd_dataset_get(d, p, i, (uint64_t)i, out));
            for (size_t k = 0; k < bytes; k++) *hash = *hash * 31 + out[k];
            gd_status st = gd_dataset_truth(d, p, i, out);
            if (st != GD_OK && st != GD_UNSUP) return st;
            *hash = *hash * 31 + (st == GD_OK ? out[0] : 7u);
        }
    return GD_OK;
}

static const gd_dataset_spec *spec; /* of the trial */

static gd_status open_and_read(uint64_t *hash) {
    gd_dataset *d = NULL;
    GD_TRY(gd_dataset_open(spec, &d));
    *hash = gd_dataset_fingerprint(d) + (uint64_t)gd_dataset_count(d);
    gd_status st = read_all(d, hash);
    gd_dataset_close(d);
    return st;
}

static gd_status batches(const gd_dataset *d, uint64_t *hash) {
    gd_loader *l = NULL;
    const int local = 2;
    const gd_loader_opts o = {.seed = 3, .global = local, .local = local, .workers = 2, .depth = 2};
    gd_status st = GD_OK;
    GD_TRY(gd_loader_open(d, &o, &l));
    for (int b = 0; b < 4 && st == GD_OK; b++) {
        gd_batch batch;
        st = gd_loader_next(l, &batch);
        for (size_t k = 0; st == GD_OK && k < local * gd_sample_bytes(gd_dataset_shape(d, 0)); k++)
            *hash = *hash * 31 + ((const uint8_t *)batch.part[0])[k];
        if (b == 2 && st == GD_OK) st = gd_loader_seek(l, 1);
    }
    gd_loader_close(l);
    return st;
}

static gd_status load(uint64_t *hash) {
    gd_dataset *d = NULL;
    *hash = 0;
    GD_TRY(gd_dataset_open(spec, &d));
    gd_status st = batches(d, hash);
    gd_dataset_close(d);
    return st;
}

/* Every sample is good: none may be called bad. */
static gd_status check(uint64_t *hash) {
    gd_dataset *d = NULL;
    gd_data_report r;
    GD_TRY(gd_dataset_open(spec, &d));
    gd_status st = gd_data_check(d, &r);
    *hash = (uint64_t)r.samples;
    if (r.bad) fail_msg("called bad: %s", r.errors);
    free(r.errors);
    gd_dataset_close(d);
    return st;
}

static gd_status derive(uint64_t *hash) {
    gd_dataset *d = NULL;
    *hash = 0;
    GD_TRY(gd_dataset_open(spec, &d));
    gd_status st = gd_data_derive(d, "out");
    gd_dataset_close(d);
    return st;
}

static gd_status pack(uint64_t *hash) {
    int64_t samples = 0;
    gd_status st = gd_data_pack(spec->path, "out.tar", &samples);
    if (st != GD_OK && gd_path_exists("out.tar")) fail_msg("a part of an archive is there");
    *hash = (uint64_t)samples;
    return st;
}

static gd_status guess(uint64_t *hash) {
    const char *source = "";
    gd_status st = gd_data_guess(spec->path, &source);
    if (st == GD_OK) *hash = (uint64_t)source[0] << 8 | (uint64_t)source[1];
    return st;
}

typedef struct trial {
    gd_status (*run)(uint64_t *hash);
    gd_status want; /* with enough memory */
    int least;      /* allocations that it has for certain */
    gd_dataset_spec spec;
} trial;

static const trial trials[] = {
    {open_and_read, GD_OK, 10, {.source = "folder", .path = "folder"}},
    {open_and_read, GD_OK, 10, {.source = "folder", .path = "folder", .size = 4, .load = 8, .flip = true}},
    {open_and_read, GD_OK, 10, {.source = "folder", .path = "folder", .channels = 1, .size = 9}},
    {open_and_read, GD_DATA, 5, {.source = "folder", .path = "notes"}},
    {open_and_read, GD_OK, 10, {.source = "unpaired", .path = "un"}},
    {open_and_read, GD_OK, 10, {.source = "unpaired", .path = "un", .test = true}},
    {open_and_read, GD_DATA, 1, {.source = "unpaired", .path = "two"}},
    {open_and_read, GD_OK, 10, {.source = "pairs", .path = "two", .load = 8, .size = 6}},
    {open_and_read, GD_OK, 10, {.source = "pairs", .path = "half"}},
    {open_and_read, GD_OK, 10, {.source = "pairs", .path = "half", .test = true}},
    {open_and_read, GD_OK, 10, {.source = "pairs", .path = "split", .swap = true}},
    {open_and_read, GD_OK, 10, {.source = "pairs", .path = "joined"}},
    {open_and_read, GD_OK, 10, {.source = "pairs", .path = "joined", .test = true}},
    {open_and_read, GD_OK, 10, {.source = "split-pairs", .path = "joined"}},
    {open_and_read, GD_DATA, 1, {.source = "pairs", .path = "un"}},
    {open_and_read, GD_OK, 5, {.source = "idx", .path = "idx", .labels = true}},
    {open_and_read, GD_OK, 5, {.source = "idx", .path = "idx", .test = true, .size = 8}},
    {open_and_read, GD_OK, 5, {.source = "idx", .path = "one.gz"}},
    {open_and_read, GD_OK, 3, {.source = "fashion-mnist", .path = "idx", .size = 20}},
    {open_and_read, GD_OK, 3, {.source = "fashion32", .path = "idx", .labels = true}},
    {open_and_read, GD_OK, 3, {.source = "edges2fashion", .path = "idx"}},
    {open_and_read, GD_OK, 3, {.source = "bags2shoes", .path = "idx"}},
    {open_and_read, GD_OK, 3, {.source = "stacked-fashion", .path = "idx", .count = 30}},
    {open_and_read, GD_OK, 3, {.source = "fashion-hflip", .path = "idx"}},
    {open_and_read, GD_OK, 3, {.source = "fashion-invert", .path = "idx"}},
    {open_and_read, GD_OK, 3, {.source = "cifar10", .path = "cifar", .test = true, .labels = true, .count = 20}},
    {open_and_read, GD_OK, 5, {.source = "tar", .path = "good-pax.tar"}},
    {open_and_read, GD_OK, 5, {.source = "tar", .path = "good-labels.tar", .labels = true}},
    {open_and_read, GD_OK, 5, {.source = "tar", .path = "good-pairs.tar"}},
    {open_and_read, GD_OK, 5, {.source = "tar", .path = "good-jpeg.tar"}},
    {open_and_read, GD_OK, 2, {.source = "synthetic", .size = 8, .count = 5}},
    {open_and_read, GD_OK, 2, {.source = "synthetic-pairs", .size = 8, .count = 5}},
    {open_and_read, GD_OK, 2, {.source = "ring", .labels = true, .count = 5}},
    {load, GD_OK, 15, {.source = "folder", .path = "folder", .size = 4}},
    {load, GD_OK, 15, {.source = "pairs", .path = "joined", .size = 4}},
    {load, GD_OK, 10, {.source = "idx", .path = "idx"}},
    {check, GD_OK, 10, {.source = "folder", .path = "folder"}},
    {check, GD_OK, 5, {.source = "tar", .path = "good-jpeg.tar"}},
    {derive, GD_OK, 10, {.source = "folder", .path = "folder", .size = 6}},
    {derive, GD_OK, 10, {.source = "stacked-fashion", .path = "idx", .count = 12}},
    {derive, GD_OK, 10, {.source = "pairs", .path = "two"}},
    {derive, GD_OK, 10, {.source = "unpaired", .path = "un"}},
    {pack, GD_OK, 10, {.path = "folder"}},
    {pack, GD_OK, 10, {.path = "two"}},
    {guess, GD_OK, 0, {.path = "un"}},
    {guess, GD_OK, 1, {.path = "folder"}},
    {guess, GD_OK, 1, {.path = "good-pax.tar"}},
};

static void clean(void) {
    expect_ok(gd_dir_remove("out"));
    expect_ok(gd_dir_remove("out.tar"));
}

static const char *name_of(const trial *t) {
    static char text[96];
    const char *what = t->run == open_and_read ? "reads"
                       : t->run == load        ? "loads"
                       : t->run == check       ? "checks"
                                               : "works on";
    snprintf(text, sizeof text, "%s %s %s", what, t->spec.source ? t->spec.source : "files",
             t->spec.path ? t->spec.path : "");
    return text;
}

static gd_status run_failing(const trial *t, int at, uint64_t *hash) {
    spec = &t->spec;
    clean();
    atomic_store(&allocations, 0);
    fail_at = at;
    gd_status st = t->run(hash);
    fail_at = -1;
    return st;
}

static int try_all(const trial *t) {
    uint64_t want = 0;
    int failures = 0;
    gd_status st = run_failing(t, -1, &want);
    if (st != t->want) fail_msg("%s: %s: %s", name_of(t), gd_status_name(st), st == GD_OK ? "" : gd_error_message());
    for (int at = 0;; at++) {
        uint64_t got = 0;
        const long before = atomic_load(&alive);
        st = run_failing(t, at, &got);
        const bool over = at >= atomic_load(&allocations);
        const char *says = st == GD_OK ? "" : gd_error_message();
        if (st != t->want && (over || st != GD_NOMEM))
            fail_msg("%s, allocation %d: %s: %s", name_of(t), at, gd_status_name(st), says);
        if (st == GD_NOMEM && !strstr(says, "memory")) fail_msg("%s, allocation %d: '%s'", name_of(t), at, says);
        if (st == GD_OK && got != want) fail_msg("%s, allocation %d: something else was read", name_of(t), at);
        clean();
        if (atomic_load(&alive) != before)
            fail_msg("%s, allocation %d: %ld are not freed", name_of(t), at, atomic_load(&alive) - before);
        if (over) break;
        failures += st == GD_NOMEM;
    }
    if (failures < t->least) fail_msg("%s: %d failures", name_of(t), failures);
    return failures;
}

static void the_nth_allocation_fails(void **state) {
    int failures = 0;
    (void)state;
    for (int s = 0; s < 2; s++) {
        sticky = s;
        for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) failures += try_all(&trials[i]);
    }
    print_message("%d failures reported\n", failures);
    assert_int_equal(atomic_load(&alive), 0);
}

static int enter(void **state) {
    (void)state;
    gd_log_set_stderr(false);
    expect_ok(gd_dir_remove("made"));
    expect_ok(gd_dir_make("made"));
    if (chdir("made") != 0) return -1;
    put_sets();
    put_gz();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_nth_allocation_fails)};
    return cmocka_run_group_tests(tests, enter, NULL);
}
