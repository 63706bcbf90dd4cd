/* Any bytes as the file of labels beside five good images, gzipped when they start like that. */
#include "tests/fuzz/data_memory.h"

#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 10, 20, 30, 40, 50};

/* The images as gzip: labels are looked for under the name that they follow. */
static size_t pack(uint8_t *out, size_t room) {
    z_stream z = {.next_in = (Bytef *)images, .avail_in = sizeof images, .next_out = out, .avail_out = (uInt)room};
    if (deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&z, Z_FINISH) != Z_STREAM_END)
        abort();
    deflateEnd(&z);
    return room - z.avail_out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t packed[128];
    static size_t packed_size;
    if (!packed_size) packed_size = pack(packed, sizeof packed);
    const bool gz = size >= 2 && data[0] == 0x1F && data[1] == 0x8B;
    if (gz) memory[0] = (memory_file){"fuzz-images-idx3-ubyte.gz", packed, packed_size, packed_size};
    else memory[0] = (memory_file){"fuzz-images-idx3-ubyte", images, sizeof images, sizeof images};
    memory[1] = (memory_file){gz ? "fuzz-labels-idx1-ubyte.gz" : "fuzz-labels-idx1-ubyte", data, size, size};
    memory_begin();
    for (int labels = 0; labels < 2; labels++) {
        gd_dataset *d = NULL;
        const gd_dataset_spec spec = {.source = "idx", .path = memory[0].name, .labels = labels};
        const gd_status st = gd_dataset_open(&spec, &d);
        if (st == GD_OK) {
            memory_use(d, false);
            gd_dataset_close(d);
        } else if ((st != GD_DATA && st != GD_NOMEM) || !strstr(gd_error_message(), "fuzz-labels")) {
            abort();
        }
    }
    memory_end();
    return 0;
}
