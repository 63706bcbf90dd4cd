/* Any bytes as the beginning of a CIFAR-10 batch: the first byte chooses whether zeros fill it up to the size that
 * is expected. */
#include "tests/fuzz/data_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { RECORD = 3073, RECORDS = 10000 };
    if (!size) return 0;
    const bool filled = data[0] % 4 == 0;
    memory_folder = "fuzz";
    memory[0] = (memory_file){"fuzz/test_batch.bin", data + 1, size - 1, filled ? RECORD * RECORDS : size - 1};
    memory_begin();
    gd_dataset *d = NULL;
    const gd_dataset_spec spec = {.source = "cifar10", .path = "fuzz", .test = true};
    const gd_status st = gd_dataset_open(&spec, &d);
    bool labels_fit = true;
    for (size_t i = 0; i < size - 1; i += RECORD) labels_fit &= data[1 + i] < 10;
    if (st == GD_OK) {
        if (!filled || !labels_fit) abort();
        memory_use(d, false);
        gd_dataset_close(d);
    } else if (st != GD_DATA || !strstr(gd_error_message(), "fuzz/test_batch.bin") || (filled && labels_fit)) {
        abort();
    }
    memory_end();
    return 0;
}
