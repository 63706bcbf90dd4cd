/* Networks from an explicit list. Entries expand to modules as in an nn.Sequential named "main": a
 * dense, conv or deconv entry is itself, then its norm, then its activation. */
#include <string.h>

#include "base/text.h"
#include "models/layers.h"

enum {
    SIZE = 1,
    KERNEL = 2,
    STRIDE = 4,
    PAD = 8,
    PIECES = 16,
    SHAPE = 32,
    NORM = 64,
    ACT = 128,
    SLOPE = 256,
    RATE = 512,
    BIAS = 1024,
    CONV_KEYS = SIZE | KERNEL | STRIDE | PAD | NORM | ACT | SLOPE | BIAS
};

typedef struct entry {
    gd__build *b;
    gd__seq *seq;
    const gd_layer_spec *l;
} entry;

static gd__norm norm_of(const entry *e) { return gd__norm_read(e->b, "norm", e->l->norm, GD__NORM_NONE); }
static gd__act act_of(const entry *e) { return gd__act_read(e->b, "act", e->l->act, GD__ACT_NONE, GD__ACTS_PLAIN); }
static bool bias_of(const entry *e) { return e->l->bias < 0 ? norm_of(e) == GD__NORM_NONE : e->l->bias > 0; }

/* The norm and activation behind a layer, as its entry has them. */
static int finish(const entry *e, int x) {
    gd__norm norm = norm_of(e);
    gd__act act = act_of(e);
    if (norm != GD__NORM_NONE) x = gd__normalize(e->b, x, gd__seq_name(e->seq), norm, false);
    if (act == GD__ACT_NONE) return x;
    gd__seq_skip(e->seq);
    return gd__activate(e->b, x, act, e->l->slope);
}

static int entry_dense(const entry *e, int x) {
    return finish(e, gd__dense(e->b, x, gd__seq_name(e->seq), e->l->size, bias_of(e)));
}

static gd__conv_opts conv_opts(const entry *e, int kernel, int stride) {
    const gd_layer_spec *l = e->l;
    gd__conv_opts o = {.channels = l->size, .bias = bias_of(e)};
    if (l->kernel > 1024 || l->stride > 1024 || l->pad > 1024)
        GD__BUILD_FAIL(e->b, "%s: kernel %lld, stride %lld, pad %lld; expected at most 1024",
                       l->where ? l->where : l->kind, (long long)l->kernel, (long long)l->stride, (long long)l->pad);
    o.kernel = l->kernel > 0 && l->kernel <= 1024 ? (int)l->kernel : kernel;
    o.stride = l->stride > 0 && l->stride <= 1024 ? (int)l->stride : stride;
    return o;
}

static int entry_conv(const entry *e, int x) {
    gd__conv_opts o = conv_opts(e, 3, 1);
    int pad = e->l->pad >= 0 ? (int)e->l->pad : (o.kernel - 1) / 2;
    for (int i = 0; i < 4; i++) o.pad[i] = pad;
    return finish(e, gd__conv(e->b, x, gd__seq_name(e->seq), o));
}

static int entry_deconv(const entry *e, int x) {
    gd__conv_opts o = conv_opts(e, 4, 2);
    int pad = e->l->pad >= 0 ? (int)e->l->pad : o.kernel > o.stride ? (o.kernel - o.stride) / 2 : 0;
    for (int i = 0; i < 4; i++) o.pad[i] = pad;
    return finish(e, gd__deconv(e->b, x, gd__seq_name(e->seq), o));
}

static int entry_maxout(const entry *e, int x) {
    int64_t pieces = e->l->pieces > 0 ? e->l->pieces : 5;
    if (pieces > 1024 || e->l->size > 1 << 20)
        GD__BUILD_FAIL(e->b, "%s: maxout of %lld x %lld units is too large", e->l->where ? e->l->where : e->l->kind,
                       (long long)e->l->size, (long long)pieces);
    if (e->b->st != GD_OK) return 0;
    x = gd__dense(e->b, x, gd__seq_name(e->seq), e->l->size * pieces, e->l->bias != 0);
    gd__seq_skip(e->seq);
    return gd__maxout(e->b, x, pieces);
}

static int entry_norm(const entry *e, int x) {
    return gd__normalize(e->b, x, gd__seq_name(e->seq), gd__norm_read(e->b, "norm", e->l->norm, GD__NORM_BATCH), false);
}

/* The entries below have no parameters; each takes a number all the same, as the module would. */
static int entry_act(const entry *e, int x) {
    gd__seq_skip(e->seq);
    return gd__activate(e->b, x, act_of(e), e->l->slope);
}

static int entry_dropout(const entry *e, int x) {
    gd__seq_skip(e->seq);
    return gd__dropout(e->b, x, e->l->rate > 0 ? e->l->rate : 0.5);
}

static int entry_flatten(const entry *e, int x) {
    gd__seq_skip(e->seq);
    return gd__flatten(e->b, x);
}

static int entry_reshape(const entry *e, int x) {
    gd__seq_skip(e->seq);
    return gd__reshape(e->b, x, e->l->shape[0], e->l->shape[1], e->l->shape[2]);
}

static int entry_upsample(const entry *e, int x) {
    gd__seq_skip(e->seq);
    return gd__upsample(e->b, x, e->l->size > 0 ? e->l->size : 2);
}

static int entry_avgpool(const entry *e, int x) {
    gd__seq_skip(e->seq);
    return gd__avgpool(e->b, x, e->l->size > 0 ? e->l->size : 2);
}

static const struct kind {
    const char *name;
    int (*add)(const entry *, int);
    unsigned keys, needs;
} kinds[] = {
    {"dense", entry_dense, SIZE | NORM | ACT | SLOPE | BIAS, SIZE},
    {"conv", entry_conv, CONV_KEYS, SIZE},
    {"deconv", entry_deconv, CONV_KEYS, SIZE},
    {"upsample", entry_upsample, SIZE, 0},
    {"avgpool", entry_avgpool, SIZE, 0},
    {"flatten", entry_flatten, 0, 0},
    {"reshape", entry_reshape, SHAPE, SHAPE},
    {"act", entry_act, ACT | SLOPE, ACT},
    {"norm", entry_norm, NORM, 0},
    {"dropout", entry_dropout, RATE, 0},
    {"maxout", entry_maxout, SIZE | PIECES | BIAS, SIZE},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *find_kind(gd__build *b, const gd_layer_spec *l) {
    const char *names[N_KINDS];
    for (int i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i].name;
        if (l->kind && strcmp(l->kind, kinds[i].name) == 0) return &kinds[i];
    }
    const char *near = l->kind ? gd_nearest(l->kind, names, N_KINDS) : NULL;
    GD__BUILD_FAIL(b,
                   "%s: no layer kind '%s'%s%s%s; expected dense, conv, deconv, upsample, avgpool, flatten, reshape, "
                   "act, norm, dropout or maxout",
                   b->where, l->kind ? l->kind : "", near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
    return NULL;
}

static void check_keys(gd__build *b, const gd_layer_spec *l, const struct kind *k) {
    const struct {
        unsigned bit;
        bool given;
        const char *name;
    } keys[] = {
        {SIZE, l->size > 0, "size"},     {KERNEL, l->kernel > 0, "kernel"}, {STRIDE, l->stride > 0, "stride"},
        {PAD, l->pad > 0, "pad"},        {PIECES, l->pieces > 0, "pieces"}, {SHAPE, l->shape[0] > 0, "shape"},
        {NORM, l->norm != NULL, "norm"}, {ACT, l->act != NULL, "act"},      {SLOPE, l->slope > 0, "slope"},
        {RATE, l->rate > 0, "rate"},     {BIAS, l->bias > 0, "bias"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].given && !(k->keys & keys[i].bit))
            GD__BUILD_FAIL(b, "%s: a %s layer has no %s; remove it", b->where, k->name, keys[i].name);
        if (!keys[i].given && (k->needs & keys[i].bit))
            GD__BUILD_FAIL(b, "%s: a %s layer needs its %s", b->where, k->name, keys[i].name);
    }
    if (k->add == entry_act && l->act && strcmp(l->act, "none") == 0)
        GD__BUILD_FAIL(b, "%s: an activation layer of 'none' does nothing; remove it", b->where);
}

int gd__arch_layers(gd__build *b) {
    const gd_net_spec *n = b->spec;
    gd__seq s = {b, "main", 0};
    int x = GD__INPUT;
    if (n->layer_count < 1) GD__BUILD_FAIL(b, "%s: an empty list of layers; expected at least one", gd__role(n));
    if (!b->rule_given) b->norm_std = 0.02; /* weights N(0, .02), as DCGAN's */
    for (int i = 0; i < n->layer_count && b->st == GD_OK; i++) {
        const gd_layer_spec *l = &n->layers[i];
        const char *at = gd_arena_printf(b->net->arena, "%s: layer %d", l->where ? l->where : gd__role(n), i + 1);
        b->where = at ? at : gd__role(n);
        const struct kind *k = find_kind(b, l);
        if (k) check_keys(b, l, k);
        if (b->st == GD_OK) x = k->add(&(entry){b, &s, l}, x);
    }
    b->where = NULL;
    if (b->st != GD_OK) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (n->generator && d.flat && d.c == n->height * n->width_px * n->channels)
        x = gd__reshape(b, x, n->height, n->width_px, n->channels);
    if (n->generator && !gd__is_default(n->output)) x = gd__activate(b, x, gd__output_act(b), 0);
    if (!n->generator && d.h == 1 && d.w == 1) x = gd__flatten(b, x);
    return x;
}
