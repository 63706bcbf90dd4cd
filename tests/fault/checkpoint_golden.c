/* Checkpoints that earlier versions wrote, in tests/golden/checkpoints: they load for ever.
 *
 *   first     version 1 without hashes of headers     now       version 1, three shards
 *   adaptive  with the state of an adaptive schedule  bare      no recipe, no run, no tensors
 *
 * New ones are added by "test_checkpoint_golden --write NAME"; those that are there never change. */
#include <jansson.h>

#include "dist/manifest.h"
#include "tests/fault/checkpoint_rig.h"

enum { TENSORS = 4, STEP = 7 };

static const gd_state_tensor shapes[TENSORS] = {
    {.name = "G/conv.weight", .shape = {4, {2, 3, 3, 4}}, .file_perm = {0, 3, 1, 2}},
    {.name = "G/fc.weight", .shape = {2, {6, 5}}, .file_perm = {1, 0}},
    {.name = "adam.v/G/\u00fcber", .shape = {1, {9}}, .file_perm = {0}},
    {.name = "D/scale", .shape = {0, {0}}, .file_perm = {0}},
};

typedef struct golden {
    const char *name;
    uint64_t state_hash;
    int files, tensors;
    bool adaptive;
} golden;

static const golden all[] = {
    {"first", 0xbc6ef4c3db55e533u, 1, TENSORS, false},
    {"now", 0xbc6ef4c3db55e533u, 3, TENSORS, false},
    {"adaptive", 0x1e9ff4cbd753de8du, 1, TENSORS, true},
    {"bare", 0x4479e6e3e9365feau, 1, 0, false},
};
enum { GOLDEN = sizeof all / sizeof *all };

/* Exact in float, and different in every place. */
static float value_of(int tensor, int64_t i) { return (float)(tensor + 1) * 0.25f + (float)i * 0.5f - 3; }

static void fill(const golden *g, gd_state *s, gd_state_tensor t[TENSORS], float data[TENSORS][128]) {
    for (int i = 0; i < TENSORS; i++) {
        t[i] = shapes[i];
        t[i].data = data[i];
        for (int64_t k = 0; k < gd_shape_count(t[i].shape); k++) data[i][k] = value_of(i, k);
    }
    *s = (gd_state){.tensor = t,
                    .count = g->tensors,
                    .counters = {.step = STEP, .updates = {7, 35}, .cursor = UINT64_MAX - 3, .draws = 42},
                    .seed = UINT64_MAX,
                    .recipe_fingerprint = 0xfedcba9876543210u,
                    .data_fingerprint = 1};
    if (g->tensors) {
        s->recipe_text = "name: g\u00f6lden\n";
        s->run_id = "run";
    }
    if (g->adaptive) s->counters.adaptive = (gd_adaptive_state){.d_steps = 3, .next = 4, .count = 2, .sum = 0.125};
}

static const char *folder_of(const char *name) {
    static char path[1200];
    const char *source = getenv("GANDIST_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/golden/checkpoints/%s", source ? source : ".", name);
    return path;
}

static void golden_checkpoints_load(void **state) {
    (void)state;
    for (int i = 0; i < GOLDEN; i++) {
        const golden *g = &all[i];
        gd_state want;
        gd_state_tensor t[TENSORS];
        float data[TENSORS][128], got[128];
        gd_checkpoint *k = NULL;
        gd_verify_report report;
        fill(g, &want, t, data);
        rig_expect(gd_checkpoint_verify(folder_of(g->name), GD_VERIFY_DEEP, &report), GD_OK, NULL);
        if (report.state_hash != g->state_hash || gd_state_hash(&want) != g->state_hash)
            fail_msg("%s: state hash %016llx in the file, %016llx computed", g->name,
                     (unsigned long long)report.state_hash, (unsigned long long)gd_state_hash(&want));
        assert_int_equal(report.files, g->files);
        rig_expect(gd_checkpoint_open(folder_of(g->name), &k), GD_OK, NULL);
        const gd_state *s = gd_checkpoint_state(k);
        assert_int_equal(s->count, g->tensors);
        assert_memory_equal(&s->counters, &want.counters, sizeof want.counters);
        assert_true(s->seed == want.seed && s->recipe_fingerprint == want.recipe_fingerprint);
        assert_true(s->data_fingerprint == 1 && !s->recipe_text == !want.recipe_text && !s->run_id == !want.run_id);
        if (s->recipe_text) assert_string_equal(s->recipe_text, want.recipe_text);
        for (int n = 0; n < g->tensors; n++) {
            gd_state_tensor into = t[n];
            into.data = got;
            rig_expect(gd_checkpoint_read(k, &into), GD_OK, NULL);
            assert_memory_equal(got, data[n], (size_t)gd_shape_count(into.shape) * sizeof(float));
        }
        gd_checkpoint_close(k);
    }
}

/* ---- making them ---- */

/* As the first version wrote it: no hashes of headers. */
static void forget_head_hashes(const char *path) {
    char file[1300], *sealed;
    void *text;
    size_t bytes, n;
    snprintf(file, sizeof file, "%s/manifest.json", path);
    rig_expect(gd_file_read(file, 1 << 20, &text, &bytes), GD_OK, NULL);
    json_t *o = json_loadb(text, bytes, 0, NULL), *f;
    size_t i;
    json_array_foreach(json_object_get(o, "files"), i, f) json_object_del(f, "head_xxh3_64");
    json_object_del(o, "checksum");
    char *body = json_dumps(o, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    rig_expect(gd__manifest_seal(body, strlen(body), &sealed, &n), GD_OK, NULL);
    rig_expect(gd_file_write(file, sealed, n), GD_OK, NULL);
    free(text);
    free(body);
    free(sealed);
    json_decref(o);
}

static int write_one(const char *name) {
    for (int i = 0; i < GOLDEN; i++) {
        gd_state s;
        gd_state_tensor t[TENSORS];
        float data[TENSORS][128];
        gd_comm *c;
        char *path;
        if (strcmp(all[i].name, name) != 0) continue;
        fill(&all[i], &s, t, data);
        rig_expect(gd_comm_self(&c), GD_OK, NULL);
        rig_expect(gd_checkpoint_save(c, folder_of("new"), &s, &path), GD_OK, NULL);
        if (all[i].files > 1) rig_expect(gd_checkpoint_reshard(path, all[i].files), GD_OK, NULL);
        if (!strcmp(name, "first")) forget_head_hashes(path);
        if (gd_io_get()->rename_noreplace(path, folder_of(name)) != 0) perror(name);
        rig_expect(gd_dir_remove(folder_of("new")), GD_OK, NULL);
        printf("%s: state hash 0x%016llxu\n", name, (unsigned long long)gd_state_hash(&s));
        free(path);
        gd_comm_free(c);
        return 0;
    }
    fprintf(stderr, "no golden checkpoint '%s' is described\n", name);
    return 1;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_checkpoints_load)};
    rig_name_root("golden", 0);
    if (argc == 3 && !strcmp(argv[1], "--write")) return write_one(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
