/* models/sides.c -- which sides of images a network takes: while it is built, and later, since fully convolutional
 * networks work on other images than those they were built for. */
#include <stdlib.h>

#include "models/layers.h"

int gd__halvings(int64_t size, int64_t base) {
    int levels = 0;
    while (size >> (levels + 1) >= base) levels++;
    return levels;
}

void gd__check_sides(gd__build *b, const char *why, int64_t step, int64_t least) {
    const int64_t sides[] = {b->spec->height, b->spec->width_px};
    for (int i = 0; i < 2 && b->st == GD_OK; i++) {
        int64_t low = sides[i] / step * step, high = sides[i] < least ? (least + step - 1) / step * step : low + step;
        if (sides[i] < least)
            GD__BUILD_FAIL(b, "%s: %s takes sides from %lld on, not %lld; use at least %lld", gd__role(b->spec), why,
                           (long long)least, (long long)sides[i], (long long)high);
        else if (sides[i] != low)
            GD__BUILD_FAIL(b, "%s: %s: %lld is not a multiple of %lld; nearest %lld or %lld", gd__role(b->spec), why,
                           (long long)sides[i], (long long)step, (long long)(low >= least ? low : high),
                           (long long)high);
    }
}

/* ---- other sides ---- */

static gd__dims flat(int64_t count) { return (gd__dims){1, 1, count, true}; }

static bool conv_dims(const gd__layer *l, gd__dims d, gd__dims *out) {
    int64_t h = d.h + l->pad[0] + l->pad[1] - l->kernel_h, w = d.w + l->pad[2] + l->pad[3] - l->kernel_w;
    *out = (gd__dims){h / l->stride + 1, w / l->stride + 1, l->dims.c, false};
    return h >= 0 && w >= 0;
}

static bool deconv_dims(const gd__layer *l, gd__dims d, gd__dims *out) {
    *out = (gd__dims){(d.h - 1) * l->stride + l->kernel_h - l->pad[0] - l->pad[1],
                      (d.w - 1) * l->stride + l->kernel_w - l->pad[2] - l->pad[3], l->dims.c, false};
    return out->h > 0 && out->w > 0;
}

static bool pooled_dims(const gd__layer *l, gd__dims d, gd__dims *out) {
    *out = (gd__dims){d.h / l->factor, d.w / l->factor, d.c, false};
    return d.h % l->factor == 0 && d.w % l->factor == 0;
}

/* Sizes of a layer's output where its inputs have d and e. built: of its input when the network was built. */
static bool layer_dims(const gd__layer *l, gd__dims built, gd__dims d, gd__dims e, gd__dims *out) {
    *out = d;
    switch (l->kind) {
    case GD__LAYER_CONV: return conv_dims(l, d, out);
    case GD__LAYER_DECONV: return deconv_dims(l, d, out);
    case GD__LAYER_AVGPOOL: return pooled_dims(l, d, out);
    case GD__LAYER_UPSAMPLE: *out = (gd__dims){d.h * l->factor, d.w * l->factor, d.c, false}; return true;
    case GD__LAYER_REFLECT:
        *out = (gd__dims){d.h + 2 * l->pad[0], d.w + 2 * l->pad[0], d.c, false};
        return l->pad[0] < d.h && l->pad[0] < d.w;
    case GD__LAYER_FLATTEN: *out = flat(d.h * d.w * d.c); return true;
    case GD__LAYER_SPATIAL: *out = flat(d.c); return true;
    case GD__LAYER_MAXOUT: out->c /= l->factor; return true;
    case GD__LAYER_DENSE:
    case GD__LAYER_RESHAPE: *out = l->dims; return d.c == built.c;
    case GD__LAYER_CONCAT: out->c += e.c; return d.h == e.h && d.w == e.w;
    case GD__LAYER_SUM: return d.h == e.h && d.w == e.w;
    default: return true;
    }
}

/* Walks through the layers; room: n_layers + 1 entries. */
static bool works(const gd_net *n, int64_t h, int64_t w, gd__dims *room) {
    room[0] = (gd__dims){h, w, n->input.c, n->input.flat};
    for (int i = 0; i < n->n_layers; i++) {
        const gd__layer *l = &n->layers[i];
        gd__dims built = l->in[0] == GD__INPUT ? n->input : n->layers[l->in[0]].dims;
        if (!layer_dims(l, built, room[l->in[0] + 1], room[l->in[1] + 1], &room[i + 1])) return false;
    }
    gd__dims last = room[n->output + 1];
    gd__dims built = n->output == GD__INPUT ? n->input : n->layers[n->output].dims;
    return n->spec.generator ? last.h == h && last.w == w : !built.flat || last.c == built.c;
}

/* The nearest side below (step -1) or above that works together with the other side the network was built for. 0: none. */
static int64_t search(const gd_net *n, int axis, int64_t start, int step, gd__dims *room) {
    enum { FAR = 1024 };
    for (int64_t d = 0; d <= FAR; d++) {
        int64_t side = start + step * d;
        if (side > 0 && works(n, axis ? n->input.h : side, axis ? side : n->input.w, room)) return side;
    }
    return 0;
}

/* The nearest sides that work, smaller and larger, by asking. found[smaller, larger][height, width] */
static void nearest(const gd_net *n, int64_t h, int64_t w, gd__dims *room, int64_t found[2][2]) {
    for (int axis = 0; axis < 2; axis++) {
        int64_t start = axis ? w : h, low = search(n, axis, start, -1, room), high = search(n, axis, start, 1, room);
        int64_t built = axis ? n->input.w : n->input.h;
        found[0][axis] = low ? low : high ? high : built;
        found[1][axis] = high ? high : found[0][axis];
    }
}

bool gd__fits(const gd_net *n, int64_t h, int64_t w, char text[160]) {
    gd__dims d = n->input;
    if (n->spec.generator && d.flat) d = (gd__dims){n->spec.height, n->spec.width_px, d.c, true};
    if (h == d.h && w == d.w) return true;
    gd__dims *room = calloc((size_t)n->n_layers + 1, sizeof *room);
    bool fine = room && !d.flat && h > 0 && w > 0 && works(n, h, w, room);
    int64_t found[2][2] = {{d.h, d.w}, {d.h, d.w}};
    if (!fine && room && !d.flat) nearest(n, h, w, room, found);
    free(room);
    if (fine) return true;
    bool two = found[0][0] != found[1][0] || found[0][1] != found[1][1];
    int len = snprintf(text, 160, "images of %lldx%lld do not fit this network; nearest %lldx%lld", (long long)h,
                       (long long)w, (long long)found[0][0], (long long)found[0][1]);
    if (two) snprintf(text + len, 160 - (size_t)len, " or %lldx%lld", (long long)found[1][0], (long long)found[1][1]);
    return false;
}

gd_status gd_net_fits(const gd_net *n, int64_t h, int64_t w) {
    char text[160];
    if (!gd__fits(n, h, w, text)) GD_FAIL(CONFIG, "%s: %s", gd__role(&n->spec), text);
    return GD_OK;
}
