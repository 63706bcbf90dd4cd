/* models/penalty.c -- penalties on the slope of a discriminator.
 *
 * Gulrajani et al. 2017, equation 3: lambda (|grad_x D(x)| - target)^2 at x = real + alpha (fake - real),
 * alpha uniform in [0,1), one number a sample. The gradient is a part of the graph like any other, so
 * the loss that contains it is differentiated once more. Their code takes the root of the plain sum of
 * squares; here EPS is added, since the root has no slope at 0 (it changes a norm of 1 by 5e-13). */
#include "models/layers.h"
#include "models/step.h"

static const double EPS = 1e-12;

/* One point between the real and the generated sample of each pair. */
static gd_node between(gd__step *s, gd_node real, gd_node fake) {
    gd_node alpha = gd_random(s->graph, GD_RANDOM_UNIFORM, GD_PURPOSE_PENALTY, gd_shape4(s->n, 1, 1, 1));
    return gd_add(s->graph, real, gd_mul(s->graph, gd_sub(s->graph, fake, real), alpha));
}

/* |grad_x sum(D(x))| of each sample, [n,1,1,1]. */
static gd_node slope_norm(gd__step *s, int net, gd_node x) {
    gd_graph *g = s->graph;
    gd_node verdict = gd__step_look(s, net, x), slope = GD_NONE;
    gd_grad(g, gd_sum_all(g, verdict), GD_NONE, 1, &x, &slope);
    gd_node squares = gd_sum(g, gd_square(g, slope), 2 | 4 | 8); /* over H, W, C */
    return gd_sqrt(g, gd_shift(g, squares, EPS));
}

gd_node gd__step_penalty(gd__step *s, int net, gd_node real, gd_node fake) {
    gd_graph *g = s->graph;
    const gd_gan_spec *spec = &s->gan->spec;
    gd_node norm = slope_norm(s, net, between(s, real, fake));
    gd_node cost = gd_square(g, gd_shift(g, norm, -spec->penalty.target));
    gd_node loss = gd_scale(g, gd_loss_mean(g, cost, spec->global_batch), spec->penalty.lambda);
    loss = gd_reshape(g, loss, gd_shape2(1, 1));
    gd__step_metric(s, "penalty", loss);
    gd__step_metric(s, "slope_norm", gd_loss_mean(g, norm, spec->global_batch));
    return loss;
}
