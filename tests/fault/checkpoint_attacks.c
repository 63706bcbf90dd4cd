/* The attack files of the fuzz corpus: each is refused by the rule it breaks; the good ones are read. */
#include "dist/manifest.h"
#include "dist/safetensors.h"
#include "tests/fault/checkpoint_rig.h"

typedef struct attack {
    const char *name, *says; /* says NULL: it is good */
} attack;

static const attack headers[] = {
    {"good_two", NULL},
    {"good_none", NULL},
    {"good_empty_dim", NULL},
    {"good_escaped", NULL},
    {"bad_hole", "a hole"},
    {"bad_overlap", "an overlap"},
    {"bad_begin", "a hole"},
    {"bad_trailing", "1 bytes behind its last tensor"},
    {"bad_cut", "the file is cut off"},
    {"bad_duplicate", "duplicate object key"},
    {"bad_duplicate_key", "duplicate object key"},
    {"bad_dtype", "dtype F16 is not supported; expected F32"},
    {"bad_size", "data_offsets span 8 bytes, but its shape wants 12"},
    {"bad_overflow", "does not fit 63 bits"},
    {"bad_overflow_wraps", "does not fit 63 bits"},
    {"bad_negative_dim", "no whole number >= 0"},
    {"bad_negative_offset", "expected 0 <= begin <= end"},
    {"bad_reversed", "expected 0 <= begin <= end"},
    {"bad_big_integer", "too big integer"},
    {"bad_real_dim", "no whole number >= 0"},
    {"bad_rank", "rank 5; expected at most 4"},
    {"bad_extra_key", "expected exactly dtype"},
    {"bad_missing_key", "expected exactly dtype"},
    {"bad_metadata", "is no text"},
    {"bad_metadata_list", "is no object"},
    {"bad_name_empty", "a tensor name of 0 bytes"},
    {"bad_name_control", "control character 10"},
    {"bad_name_long", "a tensor name of 256 bytes"},
    {"bad_nul_name", "\\u0000"},
    {"bad_utf8", "unable to decode byte 0xff"},
    {"bad_first_byte", "does not begin with '{'"},
    {"bad_array", "does not begin with '{'"},
    {"bad_nesting", "maximum parsing depth"},
    {"bad_json", "header, byte"},
    {"bad_two_objects", "end of file expected"},
    {"bad_length_huge", "header length 9223372036854775808"},
    {"bad_length_max", "header length 18446744073709551615"},
    {"bad_length_terabyte", "header length 1000000000000"},
    {"bad_length_past_end", "reaches behind the end"},
    {"bad_length_zero", "header length 0"},
    {"bad_short", "has 3 bytes"},
    {"bad_nothing", "has 0 bytes"},
    {"bad_pickle", "no safetensors file"},
    {"bad_zip", "no safetensors file"},
};

static const attack manifests[] = {
    {"good", NULL},
    {"good_unknown_member", NULL},
    {"good_max", NULL},
    {"bad_format", "format is 'other'"},
    {"bad_version", "version 2; this gandist reads version 1"},
    {"bad_version_text", "'version' is missing"},
    {"bad_requires", "needs the feature 'compression'"},
    {"bad_requires_type", "'requires' is missing or no array"},
    {"bad_step_negative", "'step' is \"-1\""},
    {"bad_step_number", "'step'"},
    {"bad_step_zeros", "'step' is \"012\""},
    {"bad_seed_overflow", "'seed' is \"18446744073709551616\""},
    {"bad_seed_text", "'seed' is \"0x1\""},
    {"bad_updates_count", "'updates' has 1 entries"},
    {"bad_updates_type", "'updates' has 0 entries"},
    {"bad_hash", "'state_hash' is \"0123\""},
    {"bad_hash_upper", "16 hex digits"},
    {"bad_run_id", "'run_id' is missing"},
    {"bad_no_recipe", "'recipe' is missing"},
    {"bad_no_files", "0 files"},
    {"bad_files_type", "0 files"},
    {"bad_file_path", "file name '../../etc/passwd'"},
    {"bad_file_absolute", "file name '/etc/passwd'"},
    {"bad_file_dots", "file name '..'"},
    {"bad_file_empty", "file name ''"},
    {"bad_file_twice", "twice there or out of order"},
    {"bad_file_hash", "xxh3_128 is not 32 hex digits"},
    {"bad_file_bytes", "'bytes' is missing or no text"},
    {"bad_tensor_file", "file is no index from 0 to 1"},
    {"bad_tensor_file_negative", "file is no index"},
    {"bad_tensor_twice", "tensor 'D/a' is twice there"},
    {"bad_tensor_order", "tensor 'A' is twice there or out of order"},
    {"bad_tensor_dim", "dimension 0 is no whole number"},
    {"bad_tensor_rank", "shape is no array"},
    {"bad_tensor_shape", "shape is no array"},
    {"bad_tensor_hash", "'xxh3_64' is missing"},
    {"bad_tensor_type", "'name' is missing"},
    {"bad_no_tensors", "expected an array"},
    {"bad_duplicate_key", "duplicate object key"},
    {"bad_nesting", "maximum parsing depth"},
    {"bad_array", "input"},
    {"bad_nothing", "closing brace"},
    {"bad_number", "real number overflow"},
};

static void read_case(const char *folder, const char *name, void **data, size_t *bytes) {
    char path[1024];
    const char *source = getenv("GANDIST_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s/%s", source ? source : ".", folder, name);
    rig_expect(gd_file_read(path, 1 << 20, data, bytes), GD_OK, NULL);
}

static void expect_verdict(const attack *a, gd_status st) {
    if (a->says ? st != GD_DATA || !strstr(gd_error_message(), a->says) : st != GD_OK)
        fail_msg("%s: %s: '%s'; expected '%s'", a->name, gd_status_name(st), gd_error_message(),
                 a->says ? a->says : "OK");
}

static void headers_are_judged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        void *data;
        size_t bytes;
        gd_safetensors h;
        gd_error_clear();
        read_case("checkpoint_header", headers[i].name, &data, &bytes);
        expect_verdict(&headers[i], gd_safetensors_parse("input", data, bytes, bytes, &h));
        free(data);
        gd_safetensors_free(&h);
    }
    char path[1024];
    const char *source = getenv("GANDIST_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/checkpoint_header", source ? source : ".");
    assert_int_equal(rig_entries(path), sizeof headers / sizeof *headers); /* none is forgotten here */
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/checkpoint_manifest", source ? source : ".");
    assert_int_equal(rig_entries(path), sizeof manifests / sizeof *manifests);
}

/* With the right checksum, as an attacker would seal them: the checksum is against accidents only. */
static void manifests_are_judged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof manifests / sizeof *manifests; i++) {
        void *data;
        char *sealed = NULL;
        size_t bytes, sealed_bytes = 0;
        gd_manifest m = {0};
        gd_error_clear();
        read_case("checkpoint_manifest", manifests[i].name, &data, &bytes);
        gd_status st = gd__manifest_seal(data, bytes, &sealed, &sealed_bytes);
        if (st == GD_OK) st = gd_manifest_parse("input", sealed, sealed_bytes, &m);
        expect_verdict(&manifests[i], st);
        if (bytes > 0) { /* without a seal nothing is believed */
            gd_manifest bare;
            rig_expect(gd_manifest_parse("input", data, bytes, &bare), GD_DATA, "checksum");
        }
        free(data);
        free(sealed);
        gd_manifest_free(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_judged),
        cmocka_unit_test(manifests_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
