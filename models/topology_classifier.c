/* No GAN: one network, in the place of D, that learns labels. What measures of images look through.
 *
 * Loss: softmax cross-entropy, -log softmax(x)[label], as m + log sum exp(x - m) - x[label] with m the
 * largest logit, which changes nothing but the range of exp. */
#include "models/layers.h"
#include "models/step.h"

enum { NET_D };

static gd_status check(const gd_gan_spec *s) {
    const gd_terms_spec *t = &s->terms;
    if (s->discriminator.classes < 2)
        GD_FAIL(CONFIG, "topology: classifier learns labels, but the data set has %lld classes; expected at least 2",
                (long long)s->discriminator.classes);
    if (s->penalty.kind != GD_PENALTY_NONE || s->instance_noise || t->l1 > 0 || t->feature > 0)
        GD_FAIL(CONFIG, "loss: topology classifier has cross-entropy and nothing else; remove loss.penalty, loss.noise "
                        "and loss.terms");
    return GD_OK;
}

static gd_status nets(gd_gan *m) {
    const gd_net_spec *d = &m->spec.discriminator;
    m->part[0] = (gd__part){d->height, d->width_px, d->channels};
    GD_TRY(gd__gan_add_net(m, "D", GD_GROUP_D, d));
    m->spec.discriminator = m->owned[NET_D]->spec; /* strings that live as long as m */
    m->spec.generator = (gd_net_spec){0};
    return GD_OK;
}

/* Columns lo..hi-1 of x [n,k]. */
static gd_node columns(gd_graph *g, gd_node x, int64_t lo, int64_t hi) {
    int64_t from[GD_RANK_MAX] = {0, lo}, to[GD_RANK_MAX] = {gd_node_shape(g, x).dim[0], hi};
    return gd_slice(g, x, from, to);
}

/* The largest of each row of x [n,k], [n,1]: halves of the row against each other, which may overlap. */
static gd_node largest(gd_graph *g, gd_node x) {
    for (int64_t k = gd_node_shape(g, x).dim[1]; k > 1; k = (k + 1) / 2)
        x = gd_max(g, columns(g, x, 0, (k + 1) / 2), columns(g, x, k / 2, k));
    return x;
}

static void step(gd__step *s, gd_step_kind kind) {
    gd_graph *g = s->graph;
    int64_t classes = s->gan->spec.discriminator.classes, batch = s->gan->spec.global_batch;
    (void)kind; /* GD_STEP_D, the only one */
    gd_node x = gd__step_apply(s, NET_D, gd__step_data(s, 0));
    gd_node label = gd_cast(g, gd_input(g, "data:1", GD_U8, gd_shape4(s->n, 1, 1, classes)), GD_F32);
    label = gd_reshape(g, label, gd_shape2(s->n, classes));
    gd_node top = gd_stop(g, largest(g, x)), of_label = gd_sum(g, gd_mul(g, x, label), 2);
    gd_node rest = gd_log(g, gd_sum(g, gd_exp(g, gd_sub(g, x, top)), 2));
    gd_node loss = gd_loss_mean(g, gd_sub(g, gd_add(g, top, rest), of_label), batch);
    gd__step_grads(s, GD_GROUP_D, loss);
    gd__step_metric(s, "loss_d", loss);
    gd_node wrong = gd_step(g, gd_sub(g, top, of_label));
    gd__step_metric(s, "accuracy", gd_loss_mean(g, gd_shift(g, gd_neg(g, wrong), 1), batch));
}

const gd__topology gd__topology_classifier = {
    .name = "classifier",
    .kinds = 1u << GD_STEP_D,
    .check = check,
    .nets = nets,
    .step = step,
};
