/* models/net.c -- the table of architectures, what every network must satisfy, and its life. */
#include "models/net.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "models/layers.h"

enum {
    PLAIN = GD__USES_WIDTH | GD__USES_NORM,
    MLP = PLAIN | GD__USES_DEPTH | GD__USES_ACT | GD__USES_DROPOUT | GD__USES_DROPOUT_INPUT | GD__USES_CLASSES,
    LIST = GD__USES_LAYERS | GD__USES_CLASSES,
    DEEP = PLAIN | GD__USES_DEPTH,
    NOISY = DEEP | GD__USES_DROPOUT
};

// clang-format off
#define ARCHS(X)                                                         \
    X("mlp",       gd__arch_mlp,       MLP,   GD__ANY_ROLE)                  \
    X("dcgan",     gd__arch_dcgan,     PLAIN, GD__FROM_LATENT | GD__JUDGE)   \
    X("layers",    gd__arch_layers,    LIST,  GD__ANY_ROLE)                  \
    X("unet",      gd__arch_unet,      NOISY, GD__FROM_IMAGE)                \
    X("patchgan",  gd__arch_patchgan,  DEEP,  GD__JUDGE)                     \
    X("pixel",     gd__arch_pixel,     PLAIN, GD__JUDGE)                     \
    X("resnet",    gd__arch_resnet,    NOISY, GD__FROM_IMAGE)                \
    X("resnet-gp", gd__arch_resnet_gp, PLAIN, GD__FROM_LATENT | GD__JUDGE)   \
    X("disco",     gd__arch_disco,     PLAIN, GD__FROM_IMAGE | GD__JUDGE)    \
    X("dcgan-k5",  gd__arch_dcgan_k5,  PLAIN, GD__FROM_LATENT | GD__JUDGE)
// clang-format on

#define ARCH_ROW(name, build, uses, roles) {name, build, uses, roles},
static const gd__arch archs[] = {ARCHS(ARCH_ROW)};
#define ARCH_NAME(name, build, uses, roles) name,
static const char *const arch_names[] = {ARCHS(ARCH_NAME)};
enum { N_ARCHS = sizeof archs / sizeof *archs, WIDTH_MAX = 1 << 20, DEPTH_MAX = 10000 };

const char *const *gd_net_archs(int *count) {
    *count = N_ARCHS;
    return arch_names;
}

bool gd__is_default(const char *name) { return !name || strcmp(name, "default") == 0; }

static const char *const norm_names[] = {"none", "batch", "instance", "layer"};
static const char *const act_names[] = {"none", "relu", "leaky", "tanh", "sigmoid", "maxout"};

static int find(const char *name, const char *const *list, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0) return i;
    return -1;
}

gd__norm gd__norm_read(gd__build *b, const char *key, const char *name, gd__norm fallback) {
    if (gd__is_default(name)) return fallback;
    int i = find(name, norm_names, 4);
    if (i < 0)
        GD__BUILD_FAIL(b, "%s: %s is '%s'; expected none, batch, instance or layer",
                       b->where ? b->where : gd__role(b->spec), key, name);
    return i < 0 ? GD__NORM_NONE : (gd__norm)i;
}

gd__act gd__act_read(gd__build *b, const char *key, const char *name, gd__act fallback, unsigned allowed) {
    if (gd__is_default(name)) return fallback;
    int i = find(name, act_names, 6);
    if (i >= 0 && (allowed >> i & 1)) return (gd__act)i;
    char list[80] = "";
    for (int k = 0; k < 6; k++) {
        if (!(allowed >> k & 1)) continue;
        if (*list) strcat(list, ", ");
        strcat(list, act_names[k]);
    }
    GD__BUILD_FAIL(b, "%s: %s is '%s'; expected one of %s", b->where ? b->where : gd__role(b->spec), key, name, list);
    return GD__ACT_NONE;
}

gd__act gd__output_act(gd__build *b) {
    const gd_net_spec *n = b->spec;
    bool point = n->height == 1 && n->width_px == 1;
    return gd__act_read(b, "output", n->output, point ? GD__ACT_NONE : GD__ACT_TANH, GD__ACTS_OUTPUT);
}

static const gd__arch *find_arch(gd__build *b, const char *name) {
    for (int i = 0; name && i < N_ARCHS; i++)
        if (strcmp(archs[i].name, name) == 0) return &archs[i];
    const char *near = name ? gd_nearest(name, arch_names, N_ARCHS) : NULL;
    GD__BUILD_FAIL(b, "%s.arch: no architecture '%s'%s%s%s; `gandist schema` lists them", gd__role(b->spec),
                   name ? name : "", near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

/* A key that the architecture does not read would be decoration: refused. */
static void check_keys(gd__build *b, const gd__arch *a) {
    const gd_net_spec *s = b->spec;
    const struct {
        unsigned uses;
        bool given;
        const char *key;
    } keys[] = {
        {GD__USES_WIDTH, s->width > 0, "width"},
        {GD__USES_DEPTH, s->depth > 0, "depth"},
        {GD__USES_NORM, !gd__is_default(s->norm), "norm"},
        {GD__USES_ACT, !gd__is_default(s->act), "act"},
        {GD__USES_DROPOUT, s->dropout > 0, "dropout"},
        {GD__USES_DROPOUT_INPUT, s->dropout_input > 0, "dropout_input"},
        {GD__USES_LAYERS, s->layer_count > 0, "layers"},
        {GD__USES_CLASSES, s->classes > 0, "classes"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].given && !(a->uses & keys[i].uses))
            GD__BUILD_FAIL(b, "%s.%s: the architecture '%s' has no such setting; remove the key", gd__role(s),
                           keys[i].key, a->name);
}

/* What the network is fed with and gives must be what the architecture is made for. */
static void check_role(gd__build *b, const gd__arch *a) {
    static const struct {
        unsigned role;
        const char *what;
    } roles[] = {{GD__FROM_LATENT, "a generator from latents"},
                 {GD__FROM_IMAGE, "a generator from images"},
                 {GD__JUDGE, "a discriminator"}};
    const gd_net_spec *s = b->spec;
    int mine = !s->generator ? 2 : s->in_channels > 0 ? 1 : 0;
    if (a->roles & roles[mine].role) return;
    char fits[160] = "";
    for (int i = 0; i < N_ARCHS; i++) {
        if (!(archs[i].roles & roles[mine].role)) continue;
        if (*fits) strcat(fits, ", ");
        strcat(fits, archs[i].name);
    }
    GD__BUILD_FAIL(b, "%s.arch: %s cannot be %s; one of %s can", gd__role(s), a->name, roles[mine].what, fits);
}

static void check_numbers(gd__build *b) {
    const gd_net_spec *s = b->spec;
    const char *who = gd__role(s);
    if (s->height < 1 || s->width_px < 1 || s->channels < 1)
        GD__BUILD_FAIL(b, "%s: image of %lldx%lldx%lld; every side must be at least 1", who, (long long)s->height,
                       (long long)s->width_px, (long long)s->channels);
    if (s->width < 0 || s->width > WIDTH_MAX || s->depth < 0 || s->depth > DEPTH_MAX)
        GD__BUILD_FAIL(b, "%s: width %lld and depth %lld; expected 0 to %d, and 0 to %d", who, (long long)s->width,
                       (long long)s->depth, WIDTH_MAX, DEPTH_MAX);
    if (!(s->dropout >= 0 && s->dropout < 1) || !(s->dropout_input >= 0 && s->dropout_input < 1))
        GD__BUILD_FAIL(b, "%s: dropout %g and dropout_input %g; expected 0 or more and less than 1", who, s->dropout,
                       s->dropout_input);
    if (!(s->init_gain >= 0))
        GD__BUILD_FAIL(b, "%s.init_gain: %g; expected 0 (the initialiser's own) or more", who, s->init_gain);
    if (s->in_channels < 0 || s->classes < 0)
        GD__BUILD_FAIL(b, "%s: %lld input channels and %lld classes must not be negative", who,
                       (long long)s->in_channels, (long long)s->classes);
    if (s->classes && (s->generator || s->classes == 1))
        GD__BUILD_FAIL(b, "%s: %lld classes; a classifier is no generator and has at least 2", who,
                       (long long)s->classes);
    if (s->generator && !s->in_channels && s->latent < 1)
        GD__BUILD_FAIL(b, "generator.latent: %lld; expected at least 1", (long long)s->latent);
    if (s->generator && s->in_channels && s->latent)
        GD__BUILD_FAIL(b, "generator.latent: %lld; a generator from images takes no latent", (long long)s->latent);
}

static void read_init(gd__build *b) {
    const gd_net_spec *s = b->spec;
    b->gain = s->init_gain;
    if (gd__is_default(s->init)) return;
    b->rule_given = true;
    if (!gd__init_find(s->init, &b->rule))
        GD__BUILD_FAIL(b,
                       "%s.init: no initialiser '%s'; expected default, normal, xavier, kaiming, uniform, pytorch, "
                       "he_uniform or glorot_uniform",
                       gd__role(s), s->init);
    /* As the public code that offers these choices: normal weights come with normal norm scales. */
    if (b->rule == GD__INIT_NORMAL || b->rule == GD__INIT_XAVIER || b->rule == GD__INIT_KAIMING) b->norm_std = 0.02;
}

/* Generators must end as the image, discriminators as one number a sample or a map of them. */
static void check_output(gd__build *b, int last) {
    if (b->st != GD_OK) return;
    const gd_net_spec *s = b->spec;
    gd__dims d = gd__dims_of(b, last);
    if (s->generator && (d.h != s->height || d.w != s->width_px || d.c != s->channels))
        GD__BUILD_FAIL(b, "generator: ends with %lldx%lldx%lld, but the images are %lldx%lldx%lld", (long long)d.h,
                       (long long)d.w, (long long)d.c, (long long)s->height, (long long)s->width_px,
                       (long long)s->channels);
    if (s->classes && (!d.flat || d.c != s->classes))
        GD__BUILD_FAIL(b, "discriminator: ends with %lldx%lldx%lld, expected one number for each of the %lld classes",
                       (long long)d.h, (long long)d.w, (long long)d.c, (long long)s->classes);
    if (!s->generator && !s->classes && d.c != 1)
        GD__BUILD_FAIL(b,
                       "discriminator: ends with %lldx%lldx%lld, expected one number a sample, or a map with one "
                       "channel",
                       (long long)d.h, (long long)d.w, (long long)d.c);
}

/* What a classifier makes of an image before it decides: the input of its last layer with weights. */
static void tap_features(gd__build *b) {
    const gd_net *n = b->net;
    if (b->st != GD_OK || !n->spec.classes) return;
    for (int i = n->n_layers; i-- > 0;) {
        const gd__layer *l = &n->layers[i];
        if (l->kind != GD__LAYER_DENSE && l->kind != GD__LAYER_CONV && l->kind != GD__LAYER_DECONV) continue;
        gd__tap(b, l->in[0]);
        return;
    }
}

static gd_status copy_spec(gd_arena *a, const gd_net_spec *s, gd_net_spec *out) {
    *out = *s;
    const char **strings[] = {&out->arch, &out->norm, &out->act, &out->output, &out->init};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (*strings[i] && !(*strings[i] = gd_arena_strdup(a, *strings[i]))) GD_FAIL(NOMEM, "a network's description");
    if (!s->layer_count) return GD_OK;
    gd_layer_spec *l = gd_arena_alloc(a, (size_t)s->layer_count * sizeof *l);
    if (!l) GD_FAIL(NOMEM, "%d layers", s->layer_count);
    out->layers = l;
    for (int i = 0; i < s->layer_count; i++) {
        l[i] = s->layers[i];
        const char **text[] = {&l[i].kind, &l[i].norm, &l[i].act, &l[i].where};
        for (size_t k = 0; k < sizeof text / sizeof *text; k++)
            if (*text[k] && !(*text[k] = gd_arena_strdup(a, *text[k]))) GD_FAIL(NOMEM, "%d layers", s->layer_count);
    }
    return GD_OK;
}

static gd__dims input_of(const gd_net_spec *s) {
    if (s->generator && !s->in_channels) return (gd__dims){1, 1, s->latent, true};
    return (gd__dims){s->height, s->width_px, s->generator ? s->in_channels : s->channels, false};
}

gd_status gd_net_new(const gd_net_spec *s, gd_net **out) {
    gd_arena *arena = gd_arena_new();
    gd_net *n = arena ? gd_arena_alloc(arena, sizeof *n) : NULL;
    gd_status st = n ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "a network");
    if (st == GD_OK) st = copy_spec(arena, s, &n->spec);
    if (st != GD_OK) {
        gd_arena_free(arena);
        return gd_trace(st, __FILE__, __LINE__);
    }
    n->arena = arena;
    gd__build b = {.net = n, .spec = &n->spec};
    check_numbers(&b);
    const gd__arch *a = find_arch(&b, n->spec.arch);
    if (a) check_keys(&b, a);
    if (a) check_role(&b, a);
    read_init(&b);
    n->input = input_of(s);
    n->output = b.st == GD_OK ? a->build(&b) : 0;
    check_output(&b, n->output);
    tap_features(&b);
    if (b.st != GD_OK) {
        gd_net_free(n);
        return gd_trace(b.st, __FILE__, __LINE__);
    }
    *out = n;
    return GD_OK;
}

void gd_net_free(gd_net *n) {
    if (n) gd_arena_free(n->arena);
}

int gd_net_params(const gd_net *n, const gd_param_info **list) {
    if (list) *list = n->params;
    return n->n_params;
}

int64_t gd_net_param_count(const gd_net *n) {
    int64_t sum = 0;
    for (int i = 0; i < n->n_params; i++)
        if (!n->params[i].buffer) sum += gd_shape_count(n->params[i].shape);
    return sum;
}
