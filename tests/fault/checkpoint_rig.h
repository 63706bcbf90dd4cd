/* A small training state with permuted tensors, and a folder to save it in. */
#ifndef GANDIST_TESTS_CHECKPOINT_RIG_H
#define GANDIST_TESTS_CHECKPOINT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/rng.h"
#include "dist/checkpoint.h"

enum { RIG_TENSORS = 7 };

typedef struct rig_state {
    gd_state s;
    gd_state_tensor tensor[RIG_TENSORS];
    float *data[RIG_TENSORS];
} rig_state;

static char rig_root[512];

static const gd_state_tensor rig_shapes[RIG_TENSORS] = {
    {.name = "G/main.0.weight", .shape = {4, {8, 3, 3, 5}}, .file_perm = {0, 3, 1, 2}}, /* K,R,S,C -> K,C,R,S */
    {.name = "D/main.0.weight", .shape = {4, {37, 4, 4, 33}}, .file_perm = {3, 0, 1, 2}}, /* more than one piece */
    {.name = "G/fc.weight", .shape = {2, {20, 30}}, .file_perm = {1, 0}},
    {.name = "G/fc.bias", .shape = {1, {20}}, .file_perm = {0}},
    {.name = "adam.m/G/fc.weight", .shape = {2, {20, 30}}, .file_perm = {0, 1}},
    {.name = "D/scale", .shape = {0, {0}}, .file_perm = {0}},
    {.name = "D/empty", .shape = {2, {0, 3}}, .file_perm = {0, 1}},
};

/* Equal for equal steps, on every rank. */
static inline void rig_fill(rig_state *r, int64_t step) {
    memset(r, 0, sizeof *r);
    gd_rng rng = {.seed = 5, .purpose = GD_PURPOSE_TEST, .step = (uint64_t)step};
    for (int i = 0; i < RIG_TENSORS; i++) {
        uint32_t n = (uint32_t)gd_shape_count(rig_shapes[i].shape);
        r->data[i] = malloc((n ? n : 1) * sizeof(float)); /* exact: reading too far is noticed */
        assert_non_null(r->data[i]);
        gd_rng_normal(&rng, (uint64_t)i, 0, n, r->data[i]);
        r->tensor[i] = rig_shapes[i];
        r->tensor[i].data = r->data[i];
    }
    r->s = (gd_state){.tensor = r->tensor,
                      .count = RIG_TENSORS,
                      .counters = {.step = step, .updates = {step, 5 * step}, .cursor = UINT64_MAX - 7, .draws = 1ull << 63},
                      .seed = UINT64_MAX,
                      .recipe_fingerprint = 0x0123456789abcdefu,
                      .data_fingerprint = 42,
                      .recipe_text = "name: t\u00e9st\n\"quoted\" \\ # {}\n",
                      .run_id = "run-1"};
}

static inline void rig_free(rig_state *r) {
    for (int i = 0; i < RIG_TENSORS; i++) free(r->data[i]);
}

/* A copy of the tensors with room for reading, filled with NaN. */
static inline void rig_blank(rig_state *r) {
    rig_fill(r, 0);
    for (int i = 0; i < RIG_TENSORS; i++) memset(r->data[i], 0xff, (size_t)gd_shape_count(r->tensor[i].shape) * sizeof(float));
}

static inline void rig_expect_equal(const rig_state *a, const rig_state *b) {
    for (int i = 0; i < RIG_TENSORS; i++)
        assert_memory_equal(a->data[i], b->data[i], (size_t)gd_shape_count(rig_shapes[i].shape) * sizeof(float));
}

static inline const char *rig_path(const char *name) {
    static char path[8][1200];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], sizeof path[next], "%s/%s", rig_root, name);
    return path[next];
}

static void rig_name_root(const char *what, long number) {
    const char *base = getenv("GANDIST_TEST_TMP");
    snprintf(rig_root, sizeof rig_root, "%s/%s.%ld", base ? base : "/tmp", what, number);
}

static inline int rig_setup(void **state) {
    (void)state;
    rig_name_root("checkpoint", (long)getpid());
    return gd_dir_remove(rig_root) == GD_OK ? 0 : -1;
}

static inline int rig_teardown(void **state) {
    (void)state;
    gd_io_set(NULL);
    return gd_dir_remove(rig_root) == GD_OK ? 0 : -1;
}

static inline void rig_expect(gd_status got, gd_status want, const char *says) {
    if (got != want) fail_msg("status %s, expected %s: %s", gd_status_name(got), gd_status_name(want), gd_error_message());
    if (got != GD_OK && says && !strstr(gd_error_message(), says)) fail_msg("'%s' does not say '%s'", gd_error_message(), says);
}

static inline void rig_save(int64_t step) {
    gd_comm *c = NULL;
    rig_state r;
    rig_fill(&r, step);
    assert_int_equal(gd_comm_self(&c), GD_OK);
    rig_expect(gd_checkpoint_save(c, rig_root, &r.s, NULL), GD_OK, NULL);
    gd_comm_free(c);
    rig_free(&r);
}

/* Reads a checkpoint and compares all of it with the state of that step. */
static inline void rig_expect_loads(const char *path, int64_t step) {
    gd_checkpoint *k = NULL;
    rig_state want, got;
    rig_fill(&want, step);
    rig_blank(&got);
    rig_expect(gd_checkpoint_open(path, &k), GD_OK, NULL);
    const gd_state *s = gd_checkpoint_state(k);
    assert_int_equal(s->count, RIG_TENSORS);
    assert_memory_equal(&s->counters, &want.s.counters, sizeof s->counters);
    assert_true(s->seed == want.s.seed && s->recipe_fingerprint == want.s.recipe_fingerprint && s->data_fingerprint == want.s.data_fingerprint);
    assert_string_equal(s->recipe_text, want.s.recipe_text);
    assert_string_equal(s->run_id, want.s.run_id);
    for (int i = 0; i < RIG_TENSORS; i++) rig_expect(gd_checkpoint_read(k, &got.tensor[i]), GD_OK, NULL);
    rig_expect_equal(&want, &got);
    gd_checkpoint_close(k);
    rig_free(&want);
    rig_free(&got);
}

static inline int rig_entries(const char *path) {
    char **names;
    size_t count;
    assert_int_equal(gd_io_system()->list(path, &names, &count), 0);
    gd_io_free_names(names, count);
    return (int)count;
}

#endif
