/* Files of kernel choices: as they are (nearly all changes break the hash), and with the right hash behind them. What
 * is taken comes out again as the same text; the rest is refused with a reason, and nothing of it is taken. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "compute/cpu/choice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition) {
    if (!condition) abort();
}

static char *exported(void) {
    char *text = NULL;
    check(gd_choice_export(&text) == GD_OK);
    return text;
}

static void try_one(const char *text, gd_choice_mode mode) {
    gd_choice_set_mode(mode);
    char *before = exported();
    gd_status st = gd_choice_import(text, "input");
    char *after = exported();
    if (st == GD_OK) {
        gd_choice_set_mode(mode);
        check(gd_choice_import(after, "again") == GD_OK);
        char *again = exported();
        check(!strcmp(after, again));
        free(again);
    } else {
        check(st == GD_DATA || (st == GD_CONFIG && mode == GD_CHOICE_DIRECT));
        check(strlen(gd_error_message()) > 8 && !strcmp(before, after));
        gd_error_clear();
    }
    free(before);
    free(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { HASH_LINE = 22 };
    char *text = malloc(size + HASH_LINE + 1), hash[17];
    check(text != NULL);
    memcpy(text, data, size);
    text[size] = 0;
    try_one(text, GD_CHOICE_RULE);
    size_t length = strlen(text);
    if (length > HASH_LINE) { /* its last line is taken for a hash */
        length -= HASH_LINE;
        gd_hash64_text(gd_hash64(text, length, 0), hash);
        snprintf(text + length, HASH_LINE + 1, "hash %s\n", hash);
        try_one(text, GD_CHOICE_RULE);
        try_one(text, GD_CHOICE_DIRECT);
    }
    gd_choice_set_mode(GD_CHOICE_RULE);
    free(text);
    return 0;
}
