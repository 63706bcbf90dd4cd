/* models/loss.h -- adversarial losses as graph nodes.
 *
 * All take logits [n,1] (or of patches, [n,h,w,1]) of this shard and return this shard's part of the
 * mean over the global batch (sum over the shard / n_global / patches), shape [1,1]: the sum over
 * shards is the loss.
 *
 * kind            discriminator minimises                      generator minimises
 * non-saturating  softplus(-real) + softplus(fake)             softplus(-fake)           [1] eq. 1, sec. 3
 * minimax         softplus(-real) + softplus(fake)            -softplus(fake)            [1] eq. 1
 * least-squares   (real - 1)^2/2 + fake^2/2                    (fake - 1)^2/2            [2] eq. 2
 * wasserstein    -real + fake                                 -fake                      [3] eq. 2-3
 * hinge           max(0, 1 - real) + max(0, 1 + fake)         -fake                      [4]
 * blend           as non-saturating                            (1 - m) times non-saturating + m times minimax
 * [1] Goodfellow et al. 2014  [2] Mao et al. 2017  [3] Arjovsky et al. 2017  [4] Lim and Ye 2017
 * Other factors in use are set by d_scale and g_scale (CycleGAN's code: g_scale 2). */
#ifndef GANDIST_MODELS_LOSS_H
#define GANDIST_MODELS_LOSS_H

#include "compute/graph.h"

typedef enum gd_loss_kind {
    GD_LOSS_NON_SATURATING, GD_LOSS_MINIMAX, GD_LOSS_LEAST_SQUARES, GD_LOSS_WASSERSTEIN, GD_LOSS_HINGE,
    GD_LOSS_BLEND
} gd_loss_kind;

const char *const *gd_loss_names(int *count); /* in enum order */
bool gd_loss_find(const char *name, gd_loss_kind *out);

typedef struct gd_loss_spec {
    gd_loss_kind kind;
    double d_scale;    /* factor on D's loss; 0: 1                                       */
    double g_scale;    /* factor on G's adversarial loss; 0: 1                           */
    bool g_off;        /* no adversarial loss for G: it learns from its terms alone (pix2pix, L1 only); D trains on */
    double label_real; /* one-sided label smoothing of the cross-entropy losses; 0: 1 */
    double minimax;    /* blend: m, the share of minimax in G's loss, 0..1                */
} gd_loss_spec;

/* Whether sigmoid(logit) is the probability of being real. */
bool gd_loss_has_probability(gd_loss_kind kind);
/* Mean over the global batch of every element of x [n,...]: this shard's part, [1,1]. */
gd_node gd_loss_mean(gd_graph *g, gd_node x, int64_t n_global);

gd_node gd_loss_d_real(gd_graph *g, const gd_loss_spec *s, gd_node real, int64_t n_global);
gd_node gd_loss_d_fake(gd_graph *g, const gd_loss_spec *s, gd_node fake, int64_t n_global);
gd_node gd_loss_g(gd_graph *g, const gd_loss_spec *s, gd_node fake, int64_t n_global);

#endif
