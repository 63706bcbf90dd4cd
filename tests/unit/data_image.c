/* Decoding, resizing, fitting and writing of pictures, against what Pillow does. */
#include "tests/unit/data_files.h"

static uint32_t little32(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void expect_pixels(const char *what, const gd_image *im, int h, int w, int c, const uint8_t *want) {
    assert_int_equal(im->height, h);
    assert_int_equal(im->width, w);
    assert_int_equal(im->channels, c);
    const size_t n = (size_t)h * (size_t)w * (size_t)c;
    for (size_t i = 0; i < n; i++)
        if (im->pixels[i] != want[i]) {
            print_error("%s: byte %zu is %d, Pillow has %d\n", what, i, im->pixels[i], want[i]);
            fail();
        }
}

static void test_resize_equals_pillow(void **state) {
    size_t n;
    uint8_t *file = read_source("tests/unit/data_golden/resize.bin", &n);
    (void)state;
    assert_memory_equal(file, "GDRS", 4);
    uint32_t cases = little32(file + 4);
    const uint8_t *p = file + 8;
    assert_in_range(cases, 20, 100);
    for (uint32_t i = 0; i < cases; i++) {
        uint32_t v[7]; /* kind, seed, channels, width, height, out width, out height */
        char what[96];
        for (int k = 0; k < 7; k++, p += 4) v[k] = little32(p);
        gd_image in = noise_image((int)v[4], (int)v[3], (int)v[2], v[1]), out;
        snprintf(what, sizeof what, "case %u: %s %ux%ux%u -> %ux%u", i, v[0] == 2 ? "bicubic" : v[0] ? "fit" : "resize", v[3], v[4], v[2], v[5],
                 v[6]);
        if (v[0] == 2) expect_ok(gd_image_resize_bicubic(&in, (int)v[6], (int)v[5], &out));
        else if (v[0]) expect_ok(gd_image_fit(&in, (int)v[5], &out));
        else expect_ok(gd_image_resize(&in, (int)v[6], (int)v[5], &out));
        expect_pixels(what, &out, (int)v[6], (int)v[5], (int)v[2], p);
        p += (size_t)v[5] * v[6] * v[2];
        gd_image_free(&in);
        gd_image_free(&out);
    }
    assert_ptr_equal(p, file + n);
    free(file);
}

static void test_decode_equals_pillow(void **state) {
    size_t n;
    uint8_t *file = read_source("tests/unit/data_golden/pictures.bin", &n);
    (void)state;
    assert_memory_equal(file, "GDPC", 4);
    uint32_t cases = little32(file + 4);
    const uint8_t *p = file + 8;
    assert_in_range(cases, 15, 100);
    for (uint32_t i = 0; i < cases; i++) {
        const char *name = (const char *)p;
        const uint32_t bytes = little32(p + 32), w = little32(p + 36), h = little32(p + 40), c = little32(p + 44),
                       pixels = little32(p + 48);
        gd_image im;
        p += 52;
        expect_ok(gd_image_decode(name, p, bytes, 0, &im));
        expect_pixels(name, &im, (int)h, (int)w, (int)c, p + bytes);
        gd_image_free(&im);
        /* No beginning of a file passes for the whole file. */
        for (uint32_t cut = 0; cut < bytes; cut += 1 + bytes / 37)
            expect_error(gd_image_decode(name, p, cut, 0, &im), GD_DATA, name);
        p += bytes + pixels;
    }
    assert_ptr_equal(p, file + n);
    free(file);
}

static void test_channels(void **state) {
    gd_image rgb = noise_image(5, 7, 3, 1), grey = noise_image(5, 7, 1, 2), out;
    uint8_t *bytes;
    size_t n;
    (void)state;
    expect_ok(gd_image_encode_png(&rgb, NULL, &bytes, &n));
    expect_ok(gd_image_decode("rgb", bytes, n, 1, &out));
    assert_int_equal(out.channels, 1);
    for (int i = 0; i < 35; i++) { /* Pillow: L = R * 299/1000 + G * 587/1000 + B * 114/1000 */
        const uint8_t *p = rgb.pixels + 3 * i;
        double luma = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
        assert_true(out.pixels[i] > luma - 0.51 && out.pixels[i] < luma + 0.51);
    }
    gd_image_free(&out);
    expect_error(gd_image_decode("rgb", bytes, n, 2, &out), GD_CONFIG, "2 channels", "1, 3 or 0");
    free(bytes);
    expect_ok(gd_image_encode_png(&grey, NULL, &bytes, &n));
    expect_ok(gd_image_decode("grey", bytes, n, 3, &out));
    for (int i = 0; i < 105; i++) assert_int_equal(out.pixels[i], grey.pixels[i / 3]);
    gd_image_free(&out);
    free(bytes);
    gd_image_free(&rgb);
    gd_image_free(&grey);
}

static void test_png_file(void **state) {
    gd_image im = noise_image(9, 4, 3, 3), back;
    void *bytes;
    size_t n;
    (void)state;
    expect_ok(gd_image_write_png("out.png", &im, "step 100, seed 4"));
    expect_ok(gd_file_read("out.png", 1 << 20, &bytes, &n));
    assert_non_null(memmem(bytes, n, "step 100, seed 4", 16));
    expect_ok(gd_image_decode("out.png", bytes, n, 0, &back));
    expect_pixels("out.png", &back, 9, 4, 3, im.pixels);
    gd_image_free(&back);
    free(bytes);
    expect_error(gd_image_write_png("no-such-folder/out.png", &im, NULL), GD_CANTCREAT, "no-such-folder/out.png");
    im.channels = 2;
    expect_error(gd_image_write_png("two.png", &im, NULL), GD_CONFIG, "2 channels");
    gd_image_free(&im);
}

static void test_sheet(void **state) {
    gd_image tile[5], sheet;
    (void)state;
    for (int i = 0; i < 5; i++) tile[i] = noise_image(3, 4, 1, (uint32_t)i);
    expect_ok(gd_image_sheet(tile, 5, 3, 2, 200, &sheet));
    assert_int_equal(sheet.width, 3 * 4 + 4 * 2);
    assert_int_equal(sheet.height, 2 * 3 + 3 * 2);
    for (int y = 0; y < sheet.height; y++)
        for (int x = 0; x < sheet.width; x++) {
            int row = (y - 2) / 5, col = (x - 2) / 6, i = row * 3 + col;
            bool inside = y >= 2 && x >= 2 && (y - 2) % 5 < 3 && (x - 2) % 6 < 4 && i < 5;
            int want = inside ? tile[i].pixels[(y - 2) % 5 * 4 + (x - 2) % 6] : 200;
            assert_int_equal(sheet.pixels[y * sheet.width + x], want);
        }
    gd_image_free(&sheet);
    expect_error(gd_image_sheet(tile, 0, 3, 2, 0, &sheet), GD_CONFIG, "0 images");
    tile[4].width = 3;
    expect_error(gd_image_sheet(tile, 5, 3, 2, 0, &sheet), GD_CONFIG, "image 4", "3x3x1", "one size");
    for (int i = 0; i < 5; i++) gd_image_free(&tile[i]);
}

static void test_odd_sizes(void **state) {
    gd_image thin = noise_image(1, 4000, 1, 1), out;
    (void)state;
    expect_error(gd_image_resize(&thin, 0, 4, &out), GD_CONFIG, "4 x 0");
    expect_error(gd_image_fit(&thin, 70000, &out), GD_CONFIG, "70000");
    expect_ok(gd_image_fit(&thin, 64, &out)); /* 256,000 columns wide before the crop: only 64 are made */
    assert_int_equal(out.width, 64);
    gd_image_free(&out);
    gd_image_free(&thin);
}

/* ---- hostile files ---- */

typedef struct hostile {
    const char *file;    /* of tests/fuzz/corpus */
    const char *text[2]; /* in the message; NULL: decodes */
} hostile;

// clang-format off
static const hostile HOSTILE[] = {
    {"data_png/bomb-60000.png",       {"60,000 x 60,000", "64 Mpx"}},
    {"data_png/bomb-interlaced.png",  {"cannot be in 177 bytes", "8000 x 8000"}},
    {"data_png/wide.png",             {"65,536 x 1", "65535 a side"}},
    {"data_png/zero-side.png",        {"0 x 5", "whole picture"}},
    {"data_png/all-ones-header.png",  {"4,294,967,295", "64 Mpx"}},
    {"data_png/truncated.png",        {"ends early (row", "of 11)"}},
    {"data_png/header-only.png",      {"ends early (row 0 of 11)", "whole picture"}},
    {"data_png/signature-only.png",   {"ends within its header", "PNG"}},
    {"data_png/bad-crc.png",          {"damaged PNG", "incorrect data check"}},
    {"data_png/no-end.png",           {"damaged PNG", "ends early"}},
    {"data_png/trailing.png",         {NULL, NULL}},
    {"data_png/two-headers.png",      {"damaged PNG", "out of place"}},
    {"data_png/no-palette.png",       {"damaged PNG", "whole picture"}},
    {"data_png/colour-type-5.png",    {"damaged PNG", "IHDR"}},
    {"data_png/few-rows.png",         {"damaged PNG", "Not enough"}},
    {"data_png/text-bomb.png",        {NULL, NULL}},
    {"data_png/text-bad-crc.png",     {"damaged PNG", "CRC"}},
    {"data_jpeg/cmyk-adobe.jpg",      {"CMYK JPEG", "expected grey or RGB"}},
    {"data_jpeg/scans-2000.jpg",      {"more than 100 scans", "2000"}},
    {"data_jpeg/scans-101.jpg",       {"more than 100 scans", "scans"}},
    {"data_jpeg/huge.jpg",            {"65,500 x 65,500", "64 Mpx"}},
    {"data_jpeg/large-lie.jpg",       {"damaged JPEG", "whole picture"}},
    {"data_jpeg/no-height.jpg",       {"39 x 0 pixels", "whole picture"}},
    {"data_jpeg/truncated.jpg",       {"ends early (row", "of 33)"}},
    {"data_jpeg/header-only.jpg",     {"damaged JPEG", "whole picture"}},
    {"data_jpeg/no-end.jpg",          {"damaged JPEG: ends early", "of 33)"}},
    {"data_jpeg/start-only.jpg",      {"damaged JPEG", "whole picture"}},
    {"data_jpeg/trailing.jpg",        {NULL, NULL}},
    {"data_jpeg/no-tables.jpg",       {NULL, NULL}}, /* the standard's tables are meant, as in Motion JPEG */
    {"data_jpeg/garbage-scan.jpg",    {"damaged JPEG", "Corrupt"}},
};
// clang-format on

static void test_hostile(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
        const hostile *h = &HOSTILE[i];
        char path[128];
        size_t n;
        gd_image im;
        snprintf(path, sizeof path, "tests/fuzz/corpus/%s", h->file);
        uint8_t *bytes = read_source(path, &n);
        print_message("%s\n", h->file);
        if (h->text[0]) {
            expect_error(gd_image_decode(h->file, bytes, n, 0, &im), GD_DATA, h->file, h->text[0], h->text[1]);
        } else {
            expect_ok(gd_image_decode(h->file, bytes, n, 0, &im));
            gd_image_free(&im);
        }
        free(bytes);
    }
}

static void test_no_picture(void **state) {
    gd_image im;
    (void)state;
    expect_error(gd_image_decode("a.png", "", 0, 0, &im), GD_DATA, "a.png: 0 bytes");
    expect_error(gd_image_decode("a.png", "<html><body>", 12, 0, &im), GD_DATA, "not a PNG: starts with \"<html>");
    expect_error(gd_image_decode("a.jpg", "<html><body>", 12, 0, &im), GD_DATA, "not a JPEG: starts with \"<html>");
    expect_error(gd_image_decode("a.dat",
                                 "\x7f"
                                 "ELF\x02\x01",
                                 6, 0, &im),
                 GD_DATA, "neither", "7F 45 4C 46");
    expect_error(gd_image_decode("a.jpeg", "GIF89a..", 8, 0, &im), GD_DATA, "not a JPEG", "\"GIF89a");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize_equals_pillow),
        cmocka_unit_test(test_decode_equals_pillow),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_png_file),
        cmocka_unit_test(test_sheet),
        cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_no_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
