/* tests/cuda/dnn.c -- every convolution and matrix product of every shipped recipe, all directions, planned by cuDNN for an
 * H200 from the saved properties of one (h200.json): an engine that fits is found, in bf16, tf32 and strict f32.
 *
 * Usage: [RECIPE]. Skipped without cuDNN 9. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "compute/cuda/dnn.h"
#include "recipes.h"
#include "text_executor.h"

static int failures;

static void need(gd_status st, const char *what) {
    if (st == GD_OK) return;
    fprintf(stderr, "FAIL %s: %s\n", what, gd_error_message());
    exit(1);
}

static void expect(bool good, const char *what) {
    failures += !good;
    if (!good) printf("FAIL %s (%s)\n", what, gd_error_message());
}

/* ---- problems ---- */

typedef struct problem {
    gd__dnn_conv c;
    char layer[160], text[192];
} problem;

typedef struct problems {
    problem *list;
    int n, room, seen;
} problems;

/* An executor that only looks: collects the HEAVY nodes of lowered programs. */
static problems *collecting;
static char recipe_name[64];

static void collect(const gd_graph *g, gd_node n) {
    problems *p = collecting;
    for (int math = 0; math < 3; math++) {
        gd__dnn_conv c, padded;
        char text[192];
        bool transposed, known = false;
        gd__dnn_of(g, n, (gd__dnn_math)math, &c, &padded, &transposed);
        gd__dnn_text(&padded, text);
        p->seen++;
        for (int i = 0; i < p->n && !known; i++) known = !strcmp(p->list[i].text, text);
        if (known) continue;
        if (p->n == p->room) {
            p->room = p->room ? 2 * p->room : 64;
            p->list = realloc(p->list, (size_t)p->room * sizeof *p->list);
            if (!p->list) exit(1);
        }
        problem *new = &p->list[p->n++];
        new->c = padded;
        snprintf(new->layer, sizeof new->layer, "%s: %.90s", recipe_name, gd_graph_at(g, n)->name);
        memcpy(new->text, text, sizeof text);
    }
}

static gd_status look(const gd_view *v, size_t *scratch, size_t *shared, void **out) {
    for (int s = 0; s < v->n_steps; s++) {
        gd_node n = v->step_nodes[v->steps[s].first_node];
        if (gd_op_class_of(gd_graph_at(v->graph, n)->op) == GD_CLASS_HEAVY) collect(v->graph, n);
        scratch[s] = 0;
    }
    *shared = 0;
    *out = NULL;
    return GD_OK;
}

static void look_at_step(void *ctx, const char *name, const gd_step_graph *s) {
    gd_executor looker = *text_planner();
    gd_program *p;
    (void)ctx;
    looker.prepare = look;
    snprintf(recipe_name, sizeof recipe_name, "%s", name);
    need(gd_program_make(s->graph, &looker, s->n_outputs, s->outputs, NULL, &p), name);
    gd_program_free(p);
}

/* ---- plans ---- */

typedef struct tally {
    int planned[3];
    size_t workspace;
    const char *largest;
} tally;

static void plan(gd__dnn *d, const problem *q, tally *t) {
    gd__dnn_plan p;
    if (gd__dnn_make(d, q->layer, &q->c, &p) != GD_OK) {
        failures++;
        printf("FAIL %s\n", gd_error_message());
        gd_error_clear();
        return;
    }
    bool fits = p.deterministic && p.tensor_cores == (q->c.math != GD__DNN_F32);
    if (!fits) printf("FAIL %s %s: engine %lld\n", q->layer, q->text, (long long)p.engine);
    failures += !fits;
    t->planned[q->c.math]++;
    if (p.workspace > t->workspace) t->workspace = p.workspace, t->largest = q->text;
    gd__dnn_plan_free(d, &p);
}

static void plan_all(gd__dnn *d, const problems *p) {
    tally t = {0};
    for (int i = 0; i < p->n; i++) plan(d, &p->list[i], &t);
    printf("%d nodes, %d different problems: %d planned in bf16, %d in tf32, %d in f32; at most %zu bytes of workspace "
           "(%s)\n",
           p->seen, p->n, t.planned[GD__DNN_BF16], t.planned[GD__DNN_TF32], t.planned[GD__DNN_F32], t.workspace,
           t.largest ? t.largest : "none needs any");
}

/* A plan comes back from disk the same; a file of another key or a damaged one is not used. */
static void check_cache(const char *device, const problem *q, const char *folder) {
    gd__dnn *d;
    gd__dnn_plan first, again;
    char **names;
    size_t count = 0, bytes;
    void *file;
    gd__dnn_opts o = {.device = device, .cache = folder};
    need(gd_dir_remove(folder), folder);
    need(gd__dnn_open(&o, &d), "cuDNN");
    need(gd__dnn_make(d, q->layer, &q->c, &first), q->layer);
    need(gd__dnn_make(d, q->layer, &q->c, &again), q->layer);
    expect(!first.cached && again.cached, "the second time comes from the cache");
    expect(first.engine == again.engine && first.workspace == again.workspace &&
               first.tensor_cores == again.tensor_cores,
           "the same plan");
    gd__dnn_plan_free(d, &again);
    gd__dnn_plan_free(d, &first);
    expect(gd_io_get()->list(folder, &names, &count) == 0 && count == 1, "one file");
    char *path = gd_path_join(folder, names[0]);
    need(gd_file_read(path, 1 << 24, &file, &bytes), path);
    need(gd_file_write(path, file, bytes / 2), path);
    need(gd__dnn_make(d, q->layer, &q->c, &again), q->layer);
    expect(!again.cached, "half a file is not used");
    gd__dnn_plan_free(d, &again);
    gd__dnn_close(d);
    o.nondeterministic = true; /* another key */
    need(gd__dnn_open(&o, &d), "cuDNN");
    need(gd__dnn_make(d, q->layer, &q->c, &again), q->layer);
    expect(!again.cached, "a plan of other wishes is not used");
    gd__dnn_plan_free(d, &again);
    gd__dnn_close(d);
    free(file);
    free(path);
    gd_io_free_names(names, count);
}

/* What cannot be planned names the layer, the problem and reasons. */
static void check_errors(gd__dnn *d, const problem *q) {
    gd__dnn_conv c = q->c;
    gd__dnn_plan p;
    c.math = GD__DNN_BF16;
    c.c = c.c / 8 * 8 + 3, c.k = 5; /* odd channels have no tensor cores without hidden copies, or no engine at all */
    c.p += 1;                       /* and y does not have the size of the convolution's result */
    expect(gd__dnn_make(d, "D/conv9", &c, &p) == GD_UNSUP && strstr(gd_error_message(), "D/conv9") &&
               strstr(gd_error_message(), "y["),
           "an impossible problem names the layer");
    gd_error_clear();
    gd__dnn_opts bad = {.device = "{\"deviceName\": 3}"};
    gd__dnn *none = NULL;
    expect(gd__dnn_open(&bad, &none) == GD_UNSUP, "a device that is none is refused");
    gd_error_clear();
}

int main(int argc, char **argv) {
    const char *source = getenv("GANDIST_SOURCE_DIR"), *tmp = getenv("GANDIST_TEST_TMP");
    char path[1024], folder[1024];
    void *device;
    size_t bytes;
    gd__dnn *d;
    problems p = {0};
    snprintf(path, sizeof path, "%s/tests/cuda/h200.json", source ? source : ".");
    snprintf(folder, sizeof folder, "%s/plans", tmp ? tmp : "/tmp");
    need(gd_file_read(path, 1 << 16, &device, &bytes), path);
    gd__dnn_opts o = {.device = device};
    if (gd__dnn_open(&o, &d) != GD_OK) {
        printf("skipped: %s\n", gd_error_message());
        free(device);
        return strstr(gd_error_message(), "cannot be opened") ? 77 : 1;
    }
    collecting = &p;
    int recipes = recipes_each(argc > 1 ? argv[1] : NULL, look_at_step, NULL);
    expect(recipes > 0 && p.n > 0, "there are recipes with convolutions");
    plan_all(d, &p);
    if (p.n) check_cache(device, &p.list[0], folder);
    if (p.n) check_errors(d, &p.list[0]);
    printf("cuDNN %zu, %d recipes, %d failures\n", gd__dnn_version(d), recipes, failures);
    gd__dnn_close(d);
    free(p.list);
    free(device);
    return failures != 0;
}
