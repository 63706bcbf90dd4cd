/* Any bytes as a picture: decode, resize what came out, and encode it again. PNG or JPEG by content.
 * A PNG is tried a second time with its checksums repaired: else nothing gets past them. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_picture(const uint8_t *data, size_t size) {
    gd_image im, fitted;
    uint8_t *png;
    size_t n;
    gd_status st = gd_image_decode("fuzz", data, size, 0, &im);
    if (st != GD_OK) { /* nothing but a damaged file, with a message that names it */
        if ((st != GD_DATA && st != GD_NOMEM) || !strstr(gd_error_message(), "fuzz: ")) abort();
        return;
    }
    if ((im.channels != 1 && im.channels != 3) || im.width < 1 || im.height < 1) abort();
    if ((size_t)im.width * (size_t)im.height > 1 << 16) { /* valid, but slow to go on with */
        gd_image_free(&im);
        return;
    }
    if (gd_image_fit(&im, 16, &fitted) == GD_OK) {
        if (fitted.width != 16 || fitted.height != 16) abort();
        gd_image_free(&fitted);
    }
    if (gd_image_encode_png(&im, "fuzz", &png, &n) != GD_OK) abort();
    if (gd_image_decode("again", png, n, im.channels, &fitted) != GD_OK) abort();
    if (memcmp(im.pixels, fitted.pixels, (size_t)im.width * (size_t)im.height * (size_t)im.channels) != 0) abort();
    free(png);
    gd_image_free(&fitted);
    gd_image_free(&im);
}

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void repair_checksums(uint8_t *b, size_t n) {
    for (size_t at = 8; at + 12 <= n;) {
        size_t length = big32(b + at);
        if (length > n - at - 12) return;
        uint32_t crc = (uint32_t)crc32(0, b + at + 4, (uInt)length + 4);
        uint8_t *p = b + at + 8 + length;
        for (int i = 0; i < 4; i++) p[i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    use_picture(data, size);
    if (size < 8 || memcmp(data, "\x89PNG", 4) != 0) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) abort();
    memcpy(copy, data, size);
    repair_checksums(copy, size);
    use_picture(copy, size);
    free(copy);
    return 0;
}
