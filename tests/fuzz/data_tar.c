/* Any bytes as a tar of pictures, as they are and with the checksums of their headers repaired: else nothing
 * gets past them. */
#include "tests/fuzz/data_memory.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const uint8_t *data, size_t size) {
    memory[0] = (memory_file){"fuzz.tar", data, size, size};
    memory_begin();
    for (int resized = 0; resized < 2; resized++) {
        gd_dataset *d = NULL;
        const gd_dataset_spec spec = {.source = "tar", .path = "fuzz.tar", .size = resized ? 8 : 0};
        const gd_status st = gd_dataset_open(&spec, &d);
        if (st == GD_OK) {
            memory_use(d, true);
            gd_dataset_close(d);
        } else if ((st != GD_DATA && st != GD_NOMEM) || !strstr(gd_error_message(), "fuzz.tar")) {
            abort();
        }
    }
    memory_end();
}

static void repair_checksums(uint8_t *b, size_t n) {
    for (size_t at = 0; at + 512 <= n; at += 512) {
        unsigned sum = 0;
        char text[8];
        if (memcmp(b + at + 257, "ustar", 5) != 0) continue; /* content */
        memset(b + at + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++) sum += b[at + i];
        snprintf(text, sizeof text, "%06o", sum);
        memcpy(b + at + 148, text, 7);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    use(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    memcpy(copy, data, size);
    repair_checksums(copy, size);
    use(copy, size);
    free(copy);
    return 0;
}
