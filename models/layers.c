/* models/layers.c -- the builders: each checks one layer and adds it with its parameters. */
#include "models/layers.h"

#include <stdlib.h>
#include <string.h>

const char *const gd__layer_text[GD__LAYER_KIND_COUNT] = {
#define GD__LAYER_TEXT(kind, text, reads) text,
    GD__LAYER_LIST(GD__LAYER_TEXT)
#undef GD__LAYER_TEXT
};

const char *gd__role(const gd_net_spec *s) { return s->generator ? "generator" : "discriminator"; }

static const char *where(const gd__build *b) { return b->where ? b->where : gd__role(b->spec); }

static void out_of_memory(gd__build *b) {
    if (b->st == GD_OK) b->st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: no memory for its layers", where(b));
}

gd__dims gd__dims_of(const gd__build *b, int x) { return x == GD__INPUT ? b->net->input : b->net->layers[x].dims; }

/* A list that grows by doubling in the arena; old halves die with the network. */
static void *grown(gd_arena *a, void *list, int count, int *room, size_t size) {
    if (count < *room) return list;
    int more = *room ? 2 * *room : 32;
    void *bigger = gd_arena_alloc(a, (size_t)more * size);
    if (!bigger) return NULL;
    if (count) memcpy(bigger, list, (size_t)count * size);
    *room = more;
    return bigger;
}

static int add_layer(gd__build *b, gd__layer l, const char *label) {
    if (b->st != GD_OK) return 0;
    gd_net *n = b->net;
    gd__layer *list = grown(n->arena, n->layers, n->n_layers, &n->room_layers, sizeof *list);
    l.label = label ? label : gd_arena_printf(n->arena, "%s%d", gd__layer_text[l.kind], n->n_layers);
    if (!list || !l.label) {
        out_of_memory(b);
        return 0;
    }
    n->layers = list;
    list[n->n_layers] = l;
    return n->n_layers++;
}

/* Adds "<name>.<part>"; returns its index. perm: GD_RANK_MAX entries or NULL for memory order. */
static int add_param(gd__build *b, const char *name, const char *part, gd_shape shape, gd_init init, bool buffer,
                     const int *perm) {
    if (b->st != GD_OK) return 0;
    gd_net *n = b->net;
    gd_param_info *list = grown(n->arena, n->params, n->n_params, &n->room_params, sizeof *list);
    const char *key = gd_arena_printf(n->arena, "%s.%s", name, part);
    if (!list || !key) {
        out_of_memory(b);
        return 0;
    }
    n->params = list;
    gd_param_info *p = &list[n->n_params];
    *p = (gd_param_info){.name = key, .shape = shape, .init = init, .buffer = buffer};
    for (int i = 0; i < GD_RANK_MAX; i++) p->file_perm[i] = perm ? perm[i] : i;
    return n->n_params++;
}

/* [K,R,S,C] in memory is [K,C,R,S] in files; [in,R,S,out] is [in,out,R,S]. */
static const int conv_file_perm[GD_RANK_MAX] = {0, 3, 1, 2};

static bool positive(gd__build *b, const char *what, int64_t value) {
    if (value < 1 || value > INT32_MAX / 4)
        GD__BUILD_FAIL(b, "%s: %s is %lld; expected at least 1", where(b), what, (long long)value);
    return b->st == GD_OK;
}

static bool image(gd__build *b, gd__layer_kind kind, gd__dims d) {
    if (d.flat)
        GD__BUILD_FAIL(b,
                       "%s: %s needs an image (height, width, channels) but gets %lld numbers; put a reshape before it",
                       where(b), gd__layer_text[kind], (long long)d.c);
    return b->st == GD_OK;
}

static gd__init_rule rule_of(const gd__build *b, const gd__conv_opts *o) {
    return o->has_rule && !b->rule_given ? o->rule : b->rule;
}

/* Weight, bias and singular vectors of a layer. rows: what one singular vector is over, the output units. PyTorch keeps
 * the divided weight under its plain name, so what is trained is called weight_orig there and here. */
static void add_weights(gd__build *b, gd__layer *l, const char *name, gd_shape shape, int64_t rows, gd__init_rule rule,
                        gd__fans f) {
    bool spectral = b->spec->spectral;
    l->param = add_param(b, name, spectral ? "weight_orig" : "weight", shape, gd__init_weight(rule, b->gain, f), false,
                         shape.rank == 4 ? conv_file_perm : NULL);
    if (l->bias) add_param(b, name, "bias", gd_shape1(rows), gd__init_bias(rule, f), false, NULL);
    if (!spectral) return;
    const gd_init direction = {GD_INIT_DIRECTION, 0, 0};
    l->spectral = add_param(b, name, "weight_u", gd_shape1(rows), direction, true, NULL);
    int v = add_param(b, name, "weight_v", gd_shape1(gd_shape_count(shape) / rows), direction, true, NULL);
    if (b->st == GD_OK) b->net->params[l->spectral].replicated = b->net->params[v].replicated = true;
}

int gd__dense(gd__build *b, int x, const char *name, int64_t units, bool bias) {
    if (b->st != GD_OK || !positive(b, "units of a dense layer", units)) return 0;
    x = gd__flatten(b, x);
    int64_t in = gd__dims_of(b, x).c;
    gd__fans f = {.in = (double)in, .out = (double)units, .taps = 1};
    gd__layer l = {.kind = GD__LAYER_DENSE, .in = {x, x}, .dims = {1, 1, units, true}, .running = -1, .bias = bias};
    add_weights(b, &l, name, gd_shape2(units, in), units, b->rule, f);
    return add_layer(b, l, name);
}

/* Fills what conv and deconv share. small and large: the sides of the map before and after. */
static gd__layer conv_layer(gd__build *b, gd__layer_kind kind, int x, gd__conv_opts *o) {
    if (!o->stride) o->stride = 1;
    if (!o->kernel_h) o->kernel_h = o->kernel;
    if (!o->kernel_w) o->kernel_w = o->kernel;
    gd__layer l = {.kind = kind,
                   .in = {x, x},
                   .running = -1,
                   .bias = o->bias,
                   .kernel_h = o->kernel_h,
                   .kernel_w = o->kernel_w,
                   .stride = o->stride};
    memcpy(l.pad, o->pad, sizeof l.pad);
    if (positive(b, "channels", o->channels) && positive(b, "kernel", o->kernel_h) &&
        positive(b, "kernel", o->kernel_w))
        positive(b, "stride", o->stride);
    for (int i = 0; i < 4; i++) {
        if (o->pad[i] < 0 || o->pad[i] >= (i < 2 ? o->kernel_h : o->kernel_w))
            GD__BUILD_FAIL(b, "%s: pad %d does not fit kernel %d; expected 0 to %d", where(b), o->pad[i],
                           i < 2 ? o->kernel_h : o->kernel_w, (i < 2 ? o->kernel_h : o->kernel_w) - 1);
    }
    return l;
}

static int add_conv(gd__build *b, gd__layer l, const char *name, gd__conv_opts o, int64_t in) {
    bool transposed = l.kind == GD__LAYER_DECONV;
    gd__fans f = {(double)in, (double)o.channels, (double)o.kernel_h * o.kernel_w, o.stride, transposed};
    gd_shape shape = transposed ? gd_shape4(in, o.kernel_h, o.kernel_w, o.channels)
                                : gd_shape4(o.channels, o.kernel_h, o.kernel_w, in);
    add_weights(b, &l, name, shape, o.channels, rule_of(b, &o), f);
    return add_layer(b, l, name);
}

int gd__conv(gd__build *b, int x, const char *name, gd__conv_opts o) {
    if (b->st != GD_OK) return 0;
    gd__dims d = gd__dims_of(b, x);
    gd__layer l = conv_layer(b, GD__LAYER_CONV, x, &o);
    if (b->st != GD_OK || !image(b, l.kind, d)) return 0;
    int64_t h = d.h + l.pad[0] + l.pad[1] - l.kernel_h, w = d.w + l.pad[2] + l.pad[3] - l.kernel_w;
    if (h < 0 || w < 0) {
        GD__BUILD_FAIL(b,
                       "%s: kernel %dx%d is larger than its padded input of %lldx%lld; use fewer strided layers, a "
                       "smaller kernel or more padding",
                       where(b), l.kernel_h, l.kernel_w, (long long)(h + l.kernel_h), (long long)(w + l.kernel_w));
        return 0;
    }
    l.dims = (gd__dims){h / l.stride + 1, w / l.stride + 1, o.channels, false};
    return add_conv(b, l, name, o, d.c);
}

int gd__deconv(gd__build *b, int x, const char *name, gd__conv_opts o) {
    if (b->st != GD_OK) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (d.flat) x = gd__reshape(b, x, 1, 1, d.c); /* a latent is a 1 x 1 map */
    gd__layer l = conv_layer(b, GD__LAYER_DECONV, x, &o);
    if (b->st != GD_OK) return 0;
    int64_t h = (d.h - 1) * l.stride + l.kernel_h - l.pad[0] - l.pad[1];
    int64_t w = (d.w - 1) * l.stride + l.kernel_w - l.pad[2] - l.pad[3];
    if (h < 1 || w < 1) {
        GD__BUILD_FAIL(b,
                       "%s: padding cuts all of deconv's output of a %lldx%lld input away; use less padding or a "
                       "larger kernel",
                       where(b), (long long)d.h, (long long)d.w);
        return 0;
    }
    l.dims = (gd__dims){h, w, o.channels, false};
    return add_conv(b, l, name, o, d.c);
}

int gd__normalize(gd__build *b, int x, const char *name, gd__norm norm, bool affine_instance) {
    if (b->st != GD_OK || norm == GD__NORM_NONE) return b->st != GD_OK ? 0 : x;
    gd__dims d = gd__dims_of(b, x);
    if (norm == GD__NORM_INSTANCE && d.flat) {
        GD__BUILD_FAIL(b, "%s: instance norm needs an image, but its input is %lld numbers; use batch or layer norm",
                       where(b), (long long)d.c);
        return 0;
    }
    bool affine = norm != GD__NORM_INSTANCE || affine_instance;
    gd__layer l = {
        .kind = GD__LAYER_NORM, .in = {x, x}, .dims = d, .param = -1, .running = -1, .norm = norm, .eps = 1e-5};
    if (affine) {
        gd_init one = b->norm_std > 0   ? (gd_init){GD_INIT_NORMAL, 1, b->norm_std}
                      : b->norm_uniform ? (gd_init){GD_INIT_UNIFORM, 0, 1}
                                        : (gd_init){GD_INIT_CONST, 1, 0};
        l.param = add_param(b, name, "weight", gd_shape1(d.c), one, false, NULL);
        add_param(b, name, "bias", gd_shape1(d.c), (gd_init){GD_INIT_CONST, 0, 0}, false, NULL);
    }
    if (norm == GD__NORM_BATCH) {
        l.running = add_param(b, name, "running_mean", gd_shape1(d.c), (gd_init){GD_INIT_CONST, 0, 0}, true, NULL);
        add_param(b, name, "running_var", gd_shape1(d.c), (gd_init){GD_INIT_CONST, 1, 0}, true, NULL);
    }
    return add_layer(b, l, name);
}

/* A layer without parameters that keeps or changes the sizes. */
static gd__layer plain(gd__layer_kind kind, int x, gd__dims d) {
    return (gd__layer){.kind = kind, .in = {x, x}, .dims = d, .param = -1, .running = -1};
}

int gd__activate(gd__build *b, int x, gd__act act, double slope) {
    if (b->st != GD_OK || act == GD__ACT_NONE) return b->st != GD_OK ? 0 : x;
    gd__layer l = plain(GD__LAYER_ACT, x, gd__dims_of(b, x));
    l.act = act;
    l.slope = act == GD__ACT_LEAKY ? (slope > 0 ? slope : 0.2) : 0;
    return add_layer(b, l, NULL);
}

int gd__dropout(gd__build *b, int x, double rate) {
    if (b->st != GD_OK || rate == 0) return b->st != GD_OK ? 0 : x;
    if (!(rate > 0 && rate < 1)) {
        GD__BUILD_FAIL(b, "%s: dropout %g; expected 0 or more and less than 1", where(b), rate);
        return 0;
    }
    if (b->net->n_draws == GD__DROPOUTS_MAX) {
        GD__BUILD_FAIL(b, "%s: more than %d dropouts in one network", where(b), GD__DROPOUTS_MAX);
        return 0;
    }
    gd__layer l = plain(GD__LAYER_DROPOUT, x, gd__dims_of(b, x));
    l.rate = rate;
    l.draw = b->net->n_draws++;
    return add_layer(b, l, NULL);
}

int gd__maxout(gd__build *b, int x, int64_t pieces) {
    if (b->st != GD_OK || !positive(b, "pieces of maxout", pieces)) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (d.c % pieces) {
        GD__BUILD_FAIL(b, "%s: %lld units do not divide into maxout groups of %lld", where(b), (long long)d.c,
                       (long long)pieces);
        return 0;
    }
    d.c /= pieces;
    gd__layer l = plain(GD__LAYER_MAXOUT, x, d);
    l.factor = (int)pieces;
    return add_layer(b, l, NULL);
}

int gd__flatten(gd__build *b, int x) {
    if (b->st != GD_OK) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (d.flat) return x;
    return add_layer(b, plain(GD__LAYER_FLATTEN, x, (gd__dims){1, 1, d.h * d.w * d.c, true}), NULL);
}

int gd__reshape(gd__build *b, int x, int64_t h, int64_t w, int64_t c) {
    if (b->st != GD_OK || !positive(b, "height of reshape", h) || !positive(b, "width of reshape", w) ||
        !positive(b, "channels of reshape", c))
        return 0;
    x = gd__flatten(b, x);
    gd__dims d = gd__dims_of(b, x);
    if (h * w * c != d.c) {
        GD__BUILD_FAIL(b, "%s: reshape to %lldx%lldx%lld needs %lld numbers but gets %lld", where(b), (long long)h,
                       (long long)w, (long long)c, (long long)(h * w * c), (long long)d.c);
        return 0;
    }
    return add_layer(b, plain(GD__LAYER_RESHAPE, x, (gd__dims){h, w, c, false}), NULL);
}

int gd__upsample(gd__build *b, int x, int64_t factor) {
    if (b->st != GD_OK || !positive(b, "factor of upsample", factor)) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (!image(b, GD__LAYER_UPSAMPLE, d)) return 0;
    gd__layer l = plain(GD__LAYER_UPSAMPLE, x, (gd__dims){d.h * factor, d.w * factor, d.c, false});
    l.factor = (int)factor;
    return add_layer(b, l, NULL);
}

int gd__avgpool(gd__build *b, int x, int64_t factor) {
    if (b->st != GD_OK || !positive(b, "factor of avgpool", factor)) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (!image(b, GD__LAYER_AVGPOOL, d)) return 0;
    if (d.h % factor || d.w % factor) {
        GD__BUILD_FAIL(b, "%s: avgpool of %lld does not divide a %lldx%lld map", where(b), (long long)factor,
                       (long long)d.h, (long long)d.w);
        return 0;
    }
    gd__layer l = plain(GD__LAYER_AVGPOOL, x, (gd__dims){d.h / factor, d.w / factor, d.c, false});
    l.factor = (int)factor;
    return add_layer(b, l, NULL);
}

int gd__reflect(gd__build *b, int x, int pad) {
    if (b->st != GD_OK) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (!image(b, GD__LAYER_REFLECT, d)) return 0;
    if (pad >= d.h || pad >= d.w) {
        GD__BUILD_FAIL(b, "%s: a reflected border of %d needs more than %d pixels a side, the map is %lldx%lld",
                       where(b), pad, pad, (long long)d.h, (long long)d.w);
        return 0;
    }
    gd__layer l = plain(GD__LAYER_REFLECT, x, (gd__dims){d.h + 2 * pad, d.w + 2 * pad, d.c, false});
    for (int i = 0; i < 4; i++) l.pad[i] = pad;
    return add_layer(b, l, NULL);
}

int gd__spatial_mean(gd__build *b, int x) {
    if (b->st != GD_OK) return 0;
    gd__dims d = gd__dims_of(b, x);
    if (!image(b, GD__LAYER_SPATIAL, d)) return 0;
    return add_layer(b, plain(GD__LAYER_SPATIAL, x, (gd__dims){1, 1, d.c, true}), NULL);
}

static bool same_map(gd__build *b, gd__layer_kind kind, gd__dims d, gd__dims e) {
    if (d.h != e.h || d.w != e.w || d.flat != e.flat || (kind == GD__LAYER_SUM && d.c != e.c))
        GD__BUILD_FAIL(b, "%s: %s of %lldx%lldx%lld and %lldx%lldx%lld", where(b), gd__layer_text[kind], (long long)d.h,
                       (long long)d.w, (long long)d.c, (long long)e.h, (long long)e.w, (long long)e.c);
    return b->st == GD_OK;
}

int gd__sum2(gd__build *b, int x, int y) {
    if (b->st != GD_OK || !same_map(b, GD__LAYER_SUM, gd__dims_of(b, x), gd__dims_of(b, y))) return 0;
    gd__layer l = plain(GD__LAYER_SUM, x, gd__dims_of(b, x));
    l.in[1] = y;
    return add_layer(b, l, NULL);
}

int gd__concat2(gd__build *b, int x, int y) {
    if (b->st != GD_OK || !same_map(b, GD__LAYER_CONCAT, gd__dims_of(b, x), gd__dims_of(b, y))) return 0;
    gd__layer l = plain(GD__LAYER_CONCAT, x, gd__dims_of(b, x));
    l.in[1] = y;
    l.dims.c += gd__dims_of(b, y).c;
    return add_layer(b, l, NULL);
}

void gd__tap(gd__build *b, int x) {
    gd_net *n = b->net;
    if (b->st == GD_OK && n->n_taps < (int)(sizeof n->tap / sizeof *n->tap)) n->tap[n->n_taps++] = x;
}

const char *gd__seq_name(gd__seq *s) {
    const char *name = gd_arena_printf(s->b->net->arena, "%s%s%d", s->prefix, *s->prefix ? "." : "", s->next++);
    if (!name) out_of_memory(s->b);
    return name;
}
