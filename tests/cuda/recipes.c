/* tests/cuda/recipes.c -- see recipes.h. */
#include "recipes.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/recipe_facts.h"

static void need(gd_status st, const char *what) {
    if (st == GD_OK) return;
    fprintf(stderr, "FAIL %s: %s\n", what, gd_error_message());
    exit(1);
}

static void steps_of(const char *name, const gd_gan *m, void (*step)(void *, const char *, const gd_step_graph *),
                     void *ctx) {
    static const gd_step_kind alternating[] = {GD_STEP_D, GD_STEP_G}, pooled[] = {GD_STEP_GD_SHARED};
    bool has_d = gd_gan_has_step(m, GD_STEP_D);
    const gd_step_kind *kind = has_d ? alternating : pooled;
    for (int i = 0; i < (has_d ? 2 : 1); i++)
        for (int penalty = 0; penalty < 2 && gd_gan_has_step(m, kind[i]); penalty++) {
            gd_step_graph s;
            if (!penalty && gd_gan_get_spec(m)->penalty.every <= 1) continue;
            need(gd_gan_step(m, kind[i], penalty, 1, &s), name);
            step(ctx, name, &s);
            gd_step_graph_free(&s);
        }
}

int recipes_each(const char *only, void (*step)(void *, const char *, const gd_step_graph *), void *ctx) {
    const char *source = getenv("GANDIST_SOURCE_DIR");
    char pattern[1024];
    int count = 0;
    glob_t g;
    snprintf(pattern, sizeof pattern, "%s/recipes/%s.yaml", source ? source : ".", only ? only : "*");
    if (glob(pattern, 0, NULL, &g)) return 0;
    for (size_t i = 0; i < g.gl_pathc; i++, count++) {
        const gd_recipe_opts o = {0};
        gd_recipe *r = NULL;
        gd_setup s;
        gd_gan *m = NULL;
        need(gd_recipe_load(g.gl_pathv[i], &o, &r), g.gl_pathv[i]);
        gd_setup_data facts = facts_of(r);
        need(gd_setup_train(r, &facts, &s), r->name);
        need(gd_gan_new(&s.config.gan, &m), r->name);
        steps_of(r->name, m, step, ctx);
        gd_gan_free(m);
        gd_setup_free(&s);
        gd_recipe_free(r);
    }
    globfree(&g);
    return count;
}
