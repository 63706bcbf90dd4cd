/* The bad-input catalogue for data sets: each defect has its code, names its file, says what was found
 * and what was expected, quickly, and never blocks. */
#include "tests/unit/data_files.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* ---- the files ---- */

static void put_text(const char *path, const char *text) { put_file(path, text, strlen(text)); }

static void copy_from_corpus(const char *name, const char *to) {
    char path[128];
    size_t n;
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", name);
    uint8_t *bytes = read_source(path, &n);
    put_file(to, bytes, n);
    free(bytes);
}

static void put_dims(const char *path, uint32_t magic, int dims, const uint32_t *dim, size_t data) {
    uint8_t *file = calloc(1, 4 + 4 * (size_t)dims + data), *p = put32(file, magic);
    for (int i = 0; i < dims; i++) p = put32(p, dim[i]);
    put_file(path, file, 4 + 4 * (size_t)dims + data);
    free(file);
}

static void gzip_to(const char *path, const void *bytes, size_t n) {
    gzFile f = gzopen(path, "wb9");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, bytes, (unsigned)n), n);
    gzclose(f);
}

static void make_folders(void) {
    expect_ok(gd_dir_make("empty"));
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "text/%d.txt", i);
        put_text(name, "hello");
    }
    put_text("text/README", "hello");
    put_text("html/a.jpg", "<html><body>404</body></html>");
    put_text("named/a.png", "just some text");
    put_text("zero/a.png", "");
    expect_ok(gd_dir_make("fifo"));
    assert_int_equal(mkfifo("fifo/a.png", 0600), 0);
    expect_ok(gd_dir_make("device"));
    assert_int_equal(symlink("/dev/zero", "device/a.png"), 0);
    expect_ok(gd_dir_make("dangling"));
    assert_int_equal(symlink("nowhere", "dangling/a.png"), 0);
    put_png("loop/sub/a.png", 4, 4, 3, 1);
    assert_int_equal(symlink("..", "loop/sub/up"), 0);
    copy_from_corpus("data_png/bomb-60000.png", "bomb/a.png");
    copy_from_corpus("data_png/truncated.png", "cutpng/a.png");
    copy_from_corpus("data_png/no-end.png", "noend/a.png");
    copy_from_corpus("data_jpeg/truncated.jpg", "cutjpeg/a.jpg");
    copy_from_corpus("data_jpeg/cmyk-adobe.jpg", "cmyk/a.jpg");
    copy_from_corpus("data_jpeg/huge.jpg", "hugejpeg/a.jpg");
    put_png("sizes/a.png", 4, 4, 3, 1);
    put_png("sizes/b.png", 4, 5, 3, 1);
    put_png("sizes/c.png", 4, 4, 3, 1);
    put_png("good/a.png", 4, 4, 3, 1);
    put_png("good/b.png", 4, 4, 3, 2);
    /* 300 MB that take no room on the disk. */
    expect_ok(gd_dir_make("long"));
    int fd = open("long/a.png", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\4\0\0\0\4\x8\x2\0\0\0", 29) == 29);
    assert_int_equal(ftruncate(fd, 300 * 1000 * 1000), 0);
    close(fd);
}

static void make_idx_files(void) {
    put_idx("five.idx", 5, 28, 28);
    put_dims("short.idx", 0x803, 3, (uint32_t[]){5, 28, 28}, 100);
    put_dims("long.idx", 0x803, 3, (uint32_t[]){5, 28, 28}, 4000);
    put_dims("floats.idx", 0xD03, 3, (uint32_t[]){5, 28, 28}, 15680);
    put_dims("labels.idx", 0x801, 1, (uint32_t[]){1000}, 1000);
    put_dims("flat.idx", 0x802, 2, (uint32_t[]){5, 784}, 3920);
    put_dims("five-dims.idx", 0x805, 5, (uint32_t[]){1, 1, 1, 1, 1}, 1);
    put_dims("channels.idx", 0x804, 4, (uint32_t[]){1, 4, 4, 2}, 32);
    put_dims("none.idx", 0x803, 3, (uint32_t[]){0, 28, 28}, 0);
    put_dims("no-side.idx", 0x803, 3, (uint32_t[]){5, 0, 28}, 0);
    put_dims("overflow.idx", 0x804, 4, (uint32_t[]){~0u, ~0u, ~0u, ~0u}, 100);
    put_dims("large.idx", 0x803, 3, (uint32_t[]){1 << 20, 1 << 10, 1 << 10}, 100);
    put_dims("wide.idx", 0x803, 3, (uint32_t[]){1, 70000, 1}, 70000);
    put_dims("magic.idx", 0x12345678, 0, NULL, 100);
    put_file("header.idx", "\0\0\x8\x3\0\0", 6);
    put_file("three.idx", "\0\0\x8", 3);
    put_text("zero.idx", "");
    put_text("html.idx", "<html>");
    put_text("plain.idx.gz", "no gzip data");
    copy_from_corpus("data_idx/good.idx.gz", "packed.idx");
    copy_from_corpus("data_idx/truncated.idx.gz", "cut.idx.gz");
    copy_from_corpus("data_idx/bad-crc.idx.gz", "crc.idx.gz");
    copy_from_corpus("data_idx/bomb.idx.gz", "bomb.idx.gz");
    static uint8_t file[16 + 4000]; /* fewer and more pixels than the header says */
    put32(put32(put32(put32(file, 0x803), 5), 28), 28);
    gzip_to("short.idx.gz", file, 16 + 3000);
    gzip_to("long.idx.gz", file, 16 + 4000);
    put_idx("train-images-idx3-ubyte", 5, 4, 4);
    put_dims("train-labels-idx1-ubyte", 0x801, 1, (uint32_t[]){6}, 6);
    put_idx("train-images.idx3-ubyte", 5, 4, 4);
    put_text("train-labels.idx1-ubyte", "hello, labels");
    expect_ok(gd_dir_make("folder.idx"));
    assert_int_equal(mkfifo("fifo.idx", 0600), 0);
}

static int make_all(void **state) {
    (void)state;
    expect_ok(gd_dir_remove("made"));
    expect_ok(gd_dir_make("made"));
    assert_int_equal(chdir("made"), 0);
    make_folders();
    make_idx_files();
    return 0;
}

/* ---- what opening them says ---- */

typedef struct bad {
    gd_dataset_spec spec;
    gd_status code;
    const char *text[4];
} bad;

#define FOLDER(p)                                                                                                      \
    { .source = "folder", .path = p }
#define IDX(p)                                                                                                         \
    { .source = "idx", .path = p }

// clang-format off
static const bad BAD[] = {
    /* the recipe */
    {{.source = "synthetik"},                    GD_CONFIG, {"'synthetik' is unknown", "did you mean 'synthetic'?", "fashion-mnist, fashion32, edges2fashion", "tar, ring"}},
    {{.source = NULL},                           GD_CONFIG, {"data source ''", "expected one of", "ring"}},
    {{.source = "idx"},                          GD_CONFIG, {"idx: no path", "data.path"}},
    {{.source = "ring", .path = "x"},            GD_CONFIG, {"ring", "reads no path", "'x'"}},
    {{.source = "grid", .size = 32},             GD_CONFIG, {"grid", "points of the plane", "image size"}},
    {{.source = "ring", .flip = true},           GD_CONFIG, {"ring", "flip"}},
    {{.source = "synthetic", .size = 70000},     GD_CONFIG, {"image size 70000", "65535"}},
    {{.source = "synthetic", .size = -1},        GD_CONFIG, {"image size -1"}},
    {{.source = "synthetic", .channels = 2},     GD_CONFIG, {"2 image channels", "1, 3"}},
    {{.source = "synthetic", .count = -5},       GD_CONFIG, {"-5 samples", "at least 1"}},
    {{.source = "idx", .path = "five.idx", .count = 6},  GD_CONFIG, {"five.idx: holds 5 samples", "first 6", "data.count"}},
    {{.source = "folder", .path = "good", .count = 3},   GD_CONFIG, {"good: holds 2 samples", "first 3"}},
    /* folders */
    {FOLDER("nowhere"),   GD_NOINPUT, {"nowhere: does not exist", "folder of pictures", "data.path"}},
    {FOLDER("five.idx"),  GD_DATA, {"five.idx: is no folder", "data.source"}},
    {FOLDER("empty"),     GD_DATA, {"empty: 0 images", "supported: .png .jpg .jpeg"}},
    {FOLDER("text"),      GD_DATA, {"0 images; 4 files seen", ".txt 3", "supported: .png .jpg"}},
    {FOLDER("html"),      GD_DATA, {"html/a.jpg: not a JPEG: starts with \"<html", "expected", "remove"}},
    {FOLDER("named"),     GD_DATA, {"named/a.png: not a PNG: starts with \"just som\""}},
    {FOLDER("zero"),      GD_DATA, {"zero/a.png: 0 bytes", "remove"}},
    {FOLDER("fifo"),      GD_DATA, {"fifo/a.png: is a FIFO", "remove it"}},
    {FOLDER("device"),    GD_DATA, {"device/a.png: is a device", "remove it"}},
    {FOLDER("dangling"),  GD_DATA, {"dangling/a.png", "a link to nothing"}},
    {FOLDER("loop"),      GD_DATA, {"loop/sub/up", "loop", "remove the link"}},
    {FOLDER("bomb"),      GD_DATA, {"bomb/a.png: 60,000 x 60,000 pixels are 3.6 Gpx", "the limit is 64 Mpx"}},
    {FOLDER("hugejpeg"),  GD_DATA, {"hugejpeg/a.jpg: 65,500 x 65,500", "64 Mpx"}},
    {FOLDER("cutpng"),    GD_DATA, {"cutpng/a.png: damaged PNG: ends early (row", "of 11)"}},
    {FOLDER("noend"),     GD_DATA, {"noend/a.png: damaged PNG"}},
    {FOLDER("cutjpeg"),   GD_DATA, {"cutjpeg/a.jpg: damaged JPEG: ends early (row", "of 33)"}},
    {FOLDER("cmyk"),      GD_DATA, {"cmyk/a.jpg: CMYK JPEG", "convert or remove"}},
    {FOLDER("long"),      GD_DATA, {"long/a.png", "300 MB"}},
    {FOLDER("sizes"),     GD_DATA, {"4x4: 2 (first a.png)", "5x4: 1 (first b.png)", "data.image.size"}},
    /* IDX */
    {IDX("nothing.idx"),  GD_NOINPUT, {"nothing.idx: does not exist"}},
    {IDX("folder.idx"),   GD_NOINPUT, {"folder.idx: holds no train-images-idx3-ubyte", "data.path"}},
    {IDX("fifo.idx"),     GD_NOINPUT, {"fifo.idx: is a FIFO", "regular file"}},
    {IDX("zero.idx"),     GD_DATA, {"zero.idx: 0 bytes"}},
    {IDX("three.idx"),    GD_DATA, {"three.idx: 3 bytes", "too short"}},
    {IDX("header.idx"),   GD_DATA, {"header.idx: ends within its header"}},
    {IDX("magic.idx"),    GD_DATA, {"magic.idx: not an IDX file: starts with 12 34 56 78", "expected 00 00 08 03"}},
    {IDX("html.idx"),     GD_DATA, {"html.idx: not an IDX file: starts with 3C 68 74 6D"}},
    {IDX("floats.idx"),   GD_DATA, {"floats.idx: an IDX file of 32-bit floats (0D)", "expected bytes (08)"}},
    {IDX("labels.idx"),   GD_DATA, {"labels.idx: 1 dimension (1,000) as in a file of labels", "expected 3"}},
    {IDX("flat.idx"),     GD_DATA, {"flat.idx: 2 dimensions (5 x 784)", "expected 3"}},
    {IDX("five-dims.idx"),GD_DATA, {"five-dims.idx: an IDX file of 5 dimensions", "expected 3"}},
    {IDX("channels.idx"), GD_DATA, {"channels.idx: images of 2 channels (1 x 4 x 4 x 2)", "expected 1 or 3"}},
    {IDX("none.idx"),     GD_DATA, {"none.idx: 0 images", "at least one"}},
    {IDX("no-side.idx"),  GD_DATA, {"no-side.idx: 28 x 0 pixels"}},
    {IDX("wide.idx"),     GD_DATA, {"wide.idx: 1 x 70,000 pixels", "65535 a side"}},
    {IDX("overflow.idx"), GD_DATA, {"overflow.idx", "4,294,967,295 x 4,294,967,295", "16 GiB"}},
    {IDX("large.idx"),    GD_DATA, {"large.idx", "1,048,576 x 1,024 x 1,024", "16 GiB"}},
    {IDX("short.idx"),    GD_DATA, {"short.idx: 116 bytes, 3,820 too few", "expected 3,936", "5 x 28 x 28"}},
    {IDX("long.idx"),     GD_DATA, {"long.idx: 4,016 bytes, 80 too many", "expected 3,936"}},
    {IDX("packed.idx"),   GD_DATA, {"packed.idx: gzip data", "run gunzip or name it .gz"}},
    {IDX("plain.idx.gz"), GD_DATA, {"plain.idx.gz: named .gz, but starts with 6E 6F", "take the .gz off"}},
    {IDX("cut.idx.gz"),   GD_DATA, {"cut.idx.gz: the gzip data ends early", "copy it again"}},
    {IDX("crc.idx.gz"),   GD_DATA, {"crc.idx.gz: damaged gzip data (incorrect data check)"}},
    {IDX("bomb.idx.gz"),  GD_DATA, {"bomb.idx.gz: its header says 200 x 1,000 x 1,000, but 35 packed bytes cannot hold that"}},
    {IDX("short.idx.gz"), GD_DATA, {"short.idx.gz: holds 3,000 bytes of pixels", "expected 3,920"}},
    {IDX("long.idx.gz"),  GD_DATA, {"long.idx.gz: holds more data than its header says"}},
    {IDX("train-images-idx3-ubyte"), GD_DATA, {"train-labels-idx1-ubyte: 6 labels, but 5 images in train-images-idx3-ubyte"}},
    {IDX("train-images.idx3-ubyte"), GD_DATA, {"train-labels.idx1-ubyte: not an IDX file"}},
    {{.source = "fashion-mnist", .path = "nowhere.gz"}, GD_NOINPUT, {"nowhere.gz", "Debian package dataset-fashion-mnist", "data.path"}},
};
// clang-format on

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_catalogue(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const bad *b = &BAD[i];
        gd_dataset *d = NULL;
        double start = seconds();
        print_message("%s %s\n", b->spec.source ? b->spec.source : "(none)", b->spec.path ? b->spec.path : "");
        gd_status st = gd_dataset_open(&b->spec, &d);
        const char *text[4] = {b->text[0], b->text[1], b->text[2], NULL};
        expect_error_at(st, b->code, text, (int)i);
        assert_null(d);
        assert_true(seconds() - start < 5); /* a bomb that is unpacked takes longer */
    }
}

/* Nothing in the catalogue is refused only because all is: its neighbours are fine. */
static void test_neighbours_open(void **state) {
    const gd_dataset_spec good[] = {IDX("five.idx"), FOLDER("good"), {.source = "folder", .path = "sizes", .size = 8}};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) gd_dataset_close(open_set(good[i]));
}

/* ---- errors of the file system ---- */

static const char *refused;
static int refused_errno;

static int refusing_open(const char *path, int flags, mode_t mode) {
    if (!strstr(path, refused)) return gd_io_system()->open(path, flags, mode);
    errno = refused_errno;
    return -1;
}

static int refusing_list(const char *path, char ***names, size_t *count) {
    if (!strstr(path, refused)) return gd_io_system()->list(path, names, count);
    errno = refused_errno;
    return -1;
}

static ssize_t refusing_pread(int fd, void *buf, size_t n, off_t at) {
    (void)fd;
    (void)buf;
    (void)n;
    (void)at;
    errno = EIO;
    return -1;
}

static void test_unreadable(void **state) {
    gd_io table = *gd_io_system();
    gd_dataset *d = NULL;
    const gd_dataset_spec folder = FOLDER("good"), idx = IDX("five.idx");
    (void)state;
    table.open = refusing_open;
    refused = "good/b.png";
    refused_errno = EACCES;
    gd_io_set(&table);
    expect_error(gd_dataset_open(&folder, &d), GD_DATA, "good/b.png", "Permission denied");
    refused = "five.idx";
    expect_error(gd_dataset_open(&idx, &d), GD_NOINPUT, "five.idx", "Permission denied");
    table.open = gd_io_system()->open;
    table.list = refusing_list;
    refused = "good";
    expect_error(gd_dataset_open(&folder, &d), GD_DATA, "good: the folder cannot be read", "Permission denied");
    table.list = gd_io_system()->list;
    table.pread = refusing_pread;
    expect_error(gd_dataset_open(&folder, &d), GD_IO, "good", "Input/output error");
    expect_error(gd_dataset_open(&idx, &d), GD_IO, "five.idx", "Input/output error");
    gd_io_set(NULL);
}

/* ---- files that change while they are used ---- */

static void test_changed_files(void **state) {
    uint8_t out[4 * 4 * 3];
    (void)state;
    put_png("changing/a.png", 4, 4, 3, 1);
    put_png("changing/b.png", 4, 4, 3, 2);
    gd_dataset *d = open_set((gd_dataset_spec)FOLDER("changing"));
    put_png("changing/a.png", 9, 9, 3, 1);
    expect_error(gd_dataset_get(d, 0, 0, 0, out), GD_DATA, "changing", "9 x 9", "4 x 4");
    assert_int_equal(unlink("changing/b.png"), 0);
    expect_error(gd_dataset_get(d, 0, 1, 0, out), GD_NOINPUT, "changing/b.png: does not exist");
    gd_dataset_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalogue),
        cmocka_unit_test(test_neighbours_open),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_changed_files),
    };
    return cmocka_run_group_tests(tests, make_all, NULL);
}
