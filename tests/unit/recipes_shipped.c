/* The recipes that come with gandist: each loads, divides over the ranks it names, and has the networks of its paper. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "tests/recipe_facts.h"
#include "recipes/recipe.h"

/* Published numbers of trained parameters (../shared/variants.md), and what our smaller networks have. */
typedef struct counts {
    const char *recipe, *set;
    int64_t generator, discriminator; /* of one network each */
} counts;

static const counts published[] = {
    {"gan-paper", NULL, 2503984, 1231441},
    {"dcgan-64", NULL, 3576704, 2765568},
    {"dcgan-128", NULL, 12786560, 11164416},
    {"dcgan-celeba", NULL, 3576704, 2765568},
    {"wgan-lsun", NULL, 3576704, 2765568},
    {"wgan-gp-2d", NULL, 527874, 527361},
    {"wgan-gp-cifar10", NULL, 1204483, 1053825},
    {"wgan-gp-resnet", NULL, 1202177, 1051265},
    {"wgan-gp-resnet", "data.image.channels=3", 1204483, 1053825},
    {"pix2pix-facades", NULL, 54413955, 2768705},
    {"pix2pix-facades", "generator.norm=instance", 54409603, 2768705},
    {"pix2pix-facades", "discriminator={arch: pixel, depth: 0}", 54413955, 9024},
    {"pix2pix-facades", "discriminator.depth=1", 54413955, 139585},
    {"pix2pix-facades", "discriminator.depth=5", 54413955, 11159361},
    {"pix2pix-edges2shoes", NULL, 54413955, 2768705},
    {"cyclegan-horse2zebra", NULL, 11378179, 2764737},
    {"cyclegan-horse2zebra", "generator.depth=6", 7837699, 2764737},
    {"discogan-edges2shoes", NULL, 5513856, 2765568},
    {"classifier", NULL, 0, 577802},
};

static const char *source_folder(void) {
    const char *s = getenv("GANDIST_SOURCE_DIR");
    return s ? s : ".";
}

static gd_recipe *load(const char *path, const char *set) {
    gd_recipe_opts o = {&set, set != NULL};
    gd_recipe *r = NULL;
    if (gd_recipe_load(path, &o, &r) != GD_OK) fail_msg("%s", gd_error_message());
    return r;
}

static gd_gan *build(const gd_recipe *r, gd_setup *s) {
    gd_setup_data facts = facts_of(r);
    gd_gan *gan = NULL;
    if (gd_setup_train(r, &facts, s) != GD_OK) fail_msg("%s: %s", r->name, gd_error_message());
    if (gd_gan_new(&s->config.gan, &gan) != GD_OK) fail_msg("%s: %s", r->name, gd_error_message());
    return gan;
}

static void networks_have_the_published_size(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const counts *c = &published[i];
        char path[1024];
        const gd_gan_net *nets;
        gd_setup s;
        snprintf(path, sizeof path, "%s/recipes/%s.yaml", source_folder(), c->recipe);
        gd_recipe *r = load(path, c->set);
        gd_gan *gan = build(r, &s);
        int n = gd_gan_nets(gan, &nets);
        for (int k = 0; k < n; k++) {
            int64_t have = gd_net_param_count(nets[k].net);
            int64_t want = nets[k].group == GD_GROUP_G ? c->generator : c->discriminator;
            if (have != want)
                fail_msg("%s (%s): %s has %lld parameters, expected %lld", c->recipe, c->set ? c->set : "",
                         nets[k].prefix, (long long)have, (long long)want);
        }
        gd_gan_free(gan);
        gd_setup_free(&s);
        gd_recipe_free(r);
    }
}

/* The comment a recipe opens with: what it is, and how it differs from what was published. */
static void check_header(const char *path) {
    char *text;
    size_t bytes;
    if (gd_file_read(path, 1 << 20, (void **)&text, &bytes) != GD_OK) fail_msg("%s", gd_error_message());
    if (strncmp(text, "# ", 2)) fail_msg("%s: no comment that says what it is", path);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strcspn(line, "\n") > 120) fail_msg("%s: a line of more than 120 bytes: %.40s", path, line);
    free(text);
}

static void every_recipe_loads_and_divides(void **state) {
    (void)state;
    static const int ranks[] = {1, 2, 4, 16};
    char pattern[1024];
    glob_t g;
    snprintf(pattern, sizeof pattern, "%s/recipes/*.yaml", source_folder());
    assert_int_equal(glob(pattern, 0, NULL, &g), 0);
    assert_true(g.gl_pathc >= 20);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        gd_setup s;
        gd_recipe *r = load(g.gl_pathv[i], NULL);
        gd_gan *gan = build(r, &s);
        check_header(g.gl_pathv[i]);
        for (size_t k = 0; k < sizeof ranks / sizeof *ranks; k++) /* the first GAN's batch is published as 100 */
            if (r->batch.global % ranks[k] && !(r->batch.global == 100 && ranks[k] == 16))
                fail_msg("%s: batch %lld over %d ranks", r->name, (long long)r->batch.global, ranks[k]);
        gd_gan_free(gan);
        gd_setup_free(&s);
        gd_recipe_free(r);
    }
    globfree(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe_loads_and_divides),
        cmocka_unit_test(networks_have_the_published_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
