/* Fuzz target: records of convolution plans (compute/cuda/dnn_record.h), one and a list: whatever the bytes are, the answer is DATA with a
 * message or a record, and a record that was read is written and read again as the same text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/cuda/dnn_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "plans: %s (%s)\n", what, gd_error_message());
    abort();
}

static void check_list(const uint8_t *data, size_t size) {
    gd__dnn_records list, again;
    char *text, *twice;
    gd_status st = gd__dnn_records_parse(data, size, &list);
    require(st == GD_OK || st == GD_DATA, "another status");
    if (st != GD_OK) {
        require(list.n == 0 && *gd_error_message(), "an error without a message");
        return;
    }
    require(gd__dnn_records_print(&list, &text) == GD_OK, "a list that cannot be written");
    require(gd__dnn_records_parse(text, strlen(text), &again) == GD_OK, "what was written cannot be read");
    require(gd__dnn_records_print(&again, &twice) == GD_OK && !strcmp(text, twice), "it changes on the way");
    free(text);
    free(twice);
    gd__dnn_records_free(&again);
    gd__dnn_records_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gd__dnn_record one;
    gd_status st = gd__dnn_record_parse(data, size, &one);
    require(st == GD_OK || st == GD_DATA, "another status");
    if (st == GD_OK) require(one.key && one.plan && one.engine >= 0 && one.candidates >= 0, "a record that is none");
    gd__dnn_record_free(&one);
    check_list(data, size);
    return 0;
}
