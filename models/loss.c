/* models/loss.c -- see loss.h for the formulas and their sources. */
#include "models/loss.h"

#include <string.h>

static const char *const names[] = {"non-saturating", "minimax", "least-squares", "wasserstein", "hinge", "blend"};
enum { N_KINDS = sizeof names / sizeof *names };

const char *const *gd_loss_names(int *count) {
    *count = N_KINDS;
    return names;
}

bool gd_loss_find(const char *name, gd_loss_kind *out) {
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (gd_loss_kind)i;
            return true;
        }
    }
    return false;
}

bool gd_loss_has_probability(gd_loss_kind kind) {
    return kind == GD_LOSS_NON_SATURATING || kind == GD_LOSS_MINIMAX || kind == GD_LOSS_BLEND;
}

gd_node gd_loss_mean(gd_graph *g, gd_node x, int64_t n_global) {
    gd_shape s = gd_node_shape(g, x);
    if (s.rank == 0 || s.dim[0] == 0) return GD_NONE;
    double count = (double)n_global * (double)(gd_shape_count(s) / s.dim[0]);
    return gd_scale(g, gd_reshape(g, gd_sum_all(g, x), gd_shape2(1, 1)), 1 / count);
}

/* factor 0 stands for 1. */
static gd_node scaled(gd_graph *g, gd_node x, double factor) {
    return factor == 0 || factor == 1 ? x : gd_scale(g, x, factor);
}

/* (x - target)^2 / 2 */
static gd_node half_square(gd_graph *g, gd_node x, double target) {
    return gd_scale(g, gd_square(g, gd_shift(g, x, -target)), 0.5);
}

/* Cross-entropy to a target t: softplus(x) - t x = softplus(-x) + (1 - t) x. */
static gd_node cross_entropy(gd_graph *g, gd_node x, double target) {
    gd_node real = gd_softplus(g, gd_neg(g, x));
    return target == 1 ? real : gd_add(g, real, gd_scale(g, x, 1 - target));
}

gd_node gd_loss_d_real(gd_graph *g, const gd_loss_spec *s, gd_node real, int64_t n_global) {
    gd_node x = GD_NONE;
    switch (s->kind) {
    case GD_LOSS_NON_SATURATING:
    case GD_LOSS_BLEND:
    case GD_LOSS_MINIMAX: x = cross_entropy(g, real, s->label_real == 0 ? 1 : s->label_real); break;
    case GD_LOSS_LEAST_SQUARES: x = half_square(g, real, 1); break;
    case GD_LOSS_WASSERSTEIN: x = gd_neg(g, real); break;
    case GD_LOSS_HINGE: x = gd_leaky(g, gd_shift(g, gd_neg(g, real), 1), 0); break;
    }
    return scaled(g, gd_loss_mean(g, x, n_global), s->d_scale);
}

gd_node gd_loss_d_fake(gd_graph *g, const gd_loss_spec *s, gd_node fake, int64_t n_global) {
    gd_node x = GD_NONE;
    switch (s->kind) {
    case GD_LOSS_NON_SATURATING:
    case GD_LOSS_BLEND:
    case GD_LOSS_MINIMAX: x = gd_softplus(g, fake); break;
    case GD_LOSS_LEAST_SQUARES: x = half_square(g, fake, 0); break;
    case GD_LOSS_WASSERSTEIN: x = fake; break;
    case GD_LOSS_HINGE: x = gd_leaky(g, gd_shift(g, fake, 1), 0); break;
    }
    return scaled(g, gd_loss_mean(g, x, n_global), s->d_scale);
}

gd_node gd_loss_g(gd_graph *g, const gd_loss_spec *s, gd_node fake, int64_t n_global) {
    gd_node x = GD_NONE;
    switch (s->kind) {
    case GD_LOSS_NON_SATURATING: x = gd_softplus(g, gd_neg(g, fake)); break;
    case GD_LOSS_MINIMAX: x = gd_neg(g, gd_softplus(g, fake)); break;
    case GD_LOSS_BLEND:
        x = gd_sub(g, gd_scale(g, gd_softplus(g, gd_neg(g, fake)), 1 - s->minimax),
                   gd_scale(g, gd_softplus(g, fake), s->minimax));
        break;
    case GD_LOSS_LEAST_SQUARES: x = half_square(g, fake, 1); break;
    case GD_LOSS_WASSERSTEIN:
    case GD_LOSS_HINGE: x = gd_neg(g, fake); break;
    }
    return scaled(g, gd_loss_mean(g, x, n_global), s->g_scale);
}
