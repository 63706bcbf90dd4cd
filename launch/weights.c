#include "launch/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "dist/safetensors.h"

static const char tracked[] = ".num_batches_tracked", running_var[] = ".running_var", running_mean[] = ".running_mean";

const char *gd_weight_names_text(gd_weight_names n) {
    static const char *const text[] = {"pytorch", "wgan", "gandist"};
    return text[n];
}

/* Where `suffix` begins at the end of name; NULL: it does not end so. */
static const char *tail(const char *name, const char *suffix) {
    size_t n = strlen(name), s = strlen(suffix);
    return n >= s && !strcmp(name + n - s, suffix) ? name + n - s : NULL;
}

/* ---- names ---- */

static bool is_conv(const gd_param_info *p) { return p->shape.rank == 4; }

/* Channels between which a convolution of this network goes, in the direction of its data. */
static void conv_channels(const gd_gan_net *net, const gd_param_info *p, int64_t *in, int64_t *out) {
    bool up = net->group == GD_GROUP_G; /* transposed: stored as [in,R,S,out] */
    *in = p->shape.dim[up ? 0 : 3];
    *out = p->shape.dim[up ? 3 : 0];
}

/* Convolutions among the parameters, and the number of the one that parameter `index` belongs to (the norm behind a
 * convolution belongs to it). false: the network is no row of convolutions as DCGAN's. */
static bool number_convs(const gd_gan_net *net, int index, int *own, int *at, int *convs) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p);
    *own = -1;
    *convs = 0;
    for (int i = 0; i < n; i++) {
        if (!is_conv(&p[i]) && (p[i].shape.rank != 1 || !*convs)) return false;
        if (is_conv(&p[i]) && i <= index) {
            *own = i;
            *at = *convs;
        }
        *convs += is_conv(&p[i]);
    }
    return true;
}

/* WassersteinGAN names a DCGAN's layers by place (initial, pyramid, final) and channels. */
static gd_status wgan_name(const gd_gan_net *net, int index, char out[GD_WEIGHT_NAME]) {
    const gd_param_info *p;
    int own = 0, at = 0, convs = 0;
    int64_t a, b;
    gd_net_params(net->net, &p);
    const char *suffix = strrchr(p[index].name, '.');
    if (!number_convs(net, index, &own, &at, &convs) || !suffix)
        GD_FAIL(UNSUP, "--names wgan: network %s is no row of convolutions as DCGAN's; use --names pytorch",
                net->prefix);
    conv_channels(net, &p[own], &a, &b);
    const char *place = at == 0 ? "initial" : at == convs - 1 ? "final" : "pyramid";
    if (own == index)
        snprintf(out, GD_WEIGHT_NAME, "main.%s:%lld-%lld:%s%s", place, (long long)a, (long long)b,
                 net->group == GD_GROUP_G ? "convt" : "conv", suffix);
    else snprintf(out, GD_WEIGHT_NAME, "main.%s:%lld:batchnorm%s", place, (long long)b, suffix);
    return GD_OK;
}

gd_status gd_weight_name(const gd_gan_net *net, int index, gd_weight_names names, char out[GD_WEIGHT_NAME]) {
    const gd_param_info *p;
    gd_net_params(net->net, &p);
    if (names == GD_NAMES_WGAN) return wgan_name(net, index, out);
    if (names == GD_NAMES_GANDIST) snprintf(out, GD_WEIGHT_NAME, "%s/%s", net->prefix, p[index].name);
    else snprintf(out, GD_WEIGHT_NAME, "%s", p[index].name);
    return GD_OK;
}

/* ---- layouts ---- */

/* Copies between memory order and file order (net.h); to_file says which way. */
static void permute(const gd_param_info *p, float *memory, float *file, bool to_file) {
    int rank = p->shape.rank;
    int64_t stride[GD_RANK_MAX], index[GD_RANK_MAX] = {0}, step = 1, count = gd_shape_count(p->shape);
    for (int d = rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= p->shape.dim[d];
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0;
        for (int d = 0; d < rank; d++) at += index[d] * stride[p->file_perm[d]];
        if (to_file) file[i] = memory[at];
        else memory[at] = file[i];
        for (int d = rank - 1; d >= 0 && ++index[d] == p->shape.dim[p->file_perm[d]]; d--) index[d] = 0;
    }
}

static gd_shape file_shape(const gd_param_info *p) {
    gd_shape s = {.rank = p->shape.rank};
    for (int d = 0; d < s.rank; d++) s.dim[d] = p->shape.dim[p->file_perm[d]];
    return s;
}

/* ---- export ---- */

/* A file under construction: 8-byte tensors come first, so that every tensor is aligned to its type. */
typedef struct file {
    gd_safetensor *tensor;
    const gd_gan_net **net; /* whose parameter it is; NULL: the number of batches */
    int *index;
    int count;
} file;

static gd_status add(file *f, const gd_gan_net *net, int index, gd_weight_names names, bool batches) {
    const gd_param_info *p;
    char name[GD_WEIGHT_NAME], whole[GD_WEIGHT_NAME + sizeof tracked];
    gd_net_params(net->net, &p);
    GD_TRY(gd_weight_name(net, index, names, name));
    gd_safetensor *t = &f->tensor[f->count];
    snprintf(whole, sizeof whole, "%s", name);
    if (batches) snprintf(whole, sizeof whole, "%.*s%s", (int)(tail(name, running_var) - name), name, tracked);
    *t = (gd_safetensor){.name = strdup(whole)};
    if (!t->name) GD_FAIL(NOMEM, "names of a network");
    if (batches) t->type = GD_SAFETENSOR_I64;
    else t->shape = file_shape(&p[index]);
    f->net[f->count] = batches ? NULL : net;
    f->index[f->count++] = index;
    return GD_OK;
}

static gd_status make_room(file *f, int tensors) {
    f->tensor = calloc((size_t)tensors + 1, sizeof *f->tensor);
    f->net = calloc((size_t)tensors + 1, sizeof *f->net);
    f->index = calloc((size_t)tensors + 1, sizeof *f->index);
    if (!f->tensor || !f->net || !f->index) GD_FAIL(NOMEM, "names of %d tensors", tensors);
    return GD_OK;
}

/* The parameters of one network, or the numbers of batches beside its running statistics. */
static gd_status add_net(file *f, const gd_gan_net *net, gd_weight_names names, bool batches) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p);
    for (int k = 0; k < n; k++)
        if (!batches || tail(p[k].name, running_var)) GD_TRY(add(f, net, k, names, batches));
    return GD_OK;
}

static gd_status collect(file *f, const gd_trained *t, const char *prefix, gd_weight_names names) {
    const gd_gan_net *nets;
    const gd_param_info *p;
    int n_nets = gd_gan_nets(gd_trained_gan(t), &nets), room = 0;
    for (int i = 0; i < n_nets; i++) room += 2 * gd_net_params(nets[i].net, &p);
    GD_TRY(make_room(f, room));
    for (int batches = 1; batches >= 0; batches--)
        for (int i = 0; i < n_nets; i++) {
            if ((prefix && strcmp(prefix, nets[i].prefix)) || (batches && names == GD_NAMES_GANDIST)) continue;
            GD_TRY(add_net(f, &nets[i], names, batches));
        }
    return GD_OK;
}

/* The bytes of tensor i of f into `at`; room: of the largest tensor. */
static gd_status put_tensor(const file *f, int i, const gd_trained *t, char *at, float *room) {
    const gd_param_info *p;
    if (!f->net[i]) {
        int64_t batches = gd_trained_step(t);
        memcpy(at, &batches, sizeof batches);
        return GD_OK;
    }
    gd_net_params(f->net[i]->net, &p);
    p += f->index[i];
    GD_TRY(gd_trained_tensor(t, f->net[i]->prefix, p, gd_trained_is_ema(t), room));
    permute(p, room, (float *)(void *)at, true);
    return GD_OK;
}

static gd_status write_file(file *f, const gd_trained *t, const char *prefix, gd_weight_names names, const char *path) {
    char *head = NULL, step[24];
    size_t bytes = 0, most = 1;
    snprintf(step, sizeof step, "%lld", (long long)gd_trained_step(t));
    const char *meta[] = {"format",
                          "pt",
                          "gandist.run",
                          gd_trained_recipe(t)->name,
                          "gandist.network",
                          prefix ? prefix : "all",
                          "gandist.names",
                          gd_weight_names_text(names),
                          "gandist.weights",
                          gd_trained_is_ema(t) ? "ema" : "live",
                          "gandist.step",
                          step,
                          NULL};
    GD_TRY(gd_safetensors_head(f->tensor, f->count, meta, &head, &bytes));
    for (int i = 0; i < f->count; i++) {
        size_t count = (size_t)gd_shape_count(f->tensor[i].shape);
        if (count > most) most = count;
    }
    size_t whole = bytes + (size_t)f->tensor[f->count - 1].end;
    char *out = malloc(whole);
    float *room = malloc(most * sizeof *room);
    gd_status st = out && room ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: %zu bytes", path, whole);
    if (st == GD_OK) memcpy(out, head, bytes);
    for (int i = 0; i < f->count && st == GD_OK; i++) st = put_tensor(f, i, t, out + bytes + f->tensor[i].begin, room);
    if (st == GD_OK) st = gd_file_write(path, out, whole);
    free(room);
    free(out);
    free(head);
    return st;
}

gd_status gd_weights_export(const gd_trained *t, const char *prefix, gd_weight_names names, const char *path,
                            int *tensors) {
    file f = {0};
    gd_status st = collect(&f, t, prefix, names);
    if (st == GD_OK && !f.count) st = gd_raise(GD_INTERNAL, __FILE__, __LINE__, "no network %s", prefix);
    if (st == GD_OK) st = write_file(&f, t, prefix, names, path);
    *tensors = f.count;
    for (int i = 0; i < f.count; i++) free(f.tensor[i].name);
    free(f.tensor);
    free(f.net);
    free(f.index);
    return st;
}

/* ---- import ---- */

typedef struct source {
    const char *path;
    int fd;
    gd_safetensors head;
    bool *used;
} source;

/* A name without what wrappers put in front of it. */
static const char *bare(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    while (!strncmp(name, "module.", 7)) name += 7;
    return !strncmp(name, prefix, n) && name[n] == '/' ? name + n + 1 : name;
}

/* Old revisions of WassersteinGAN have '.' where ':' is now. */
static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if ((*a == ':' ? '.' : *a) != (*b == ':' ? '.' : *b)) return false;
    return *a == *b;
}

/* The tensor of the file that parameter `index` is read from; -1: none. */
static int find(const source *s, const gd_gan_net *net, int index) {
    char name[2][GD_WEIGHT_NAME];
    int kinds = 1;
    if (gd_weight_name(net, index, GD_NAMES_PYTORCH, name[0]) != GD_OK) return -1;
    if (gd_weight_name(net, index, GD_NAMES_WGAN, name[1]) == GD_OK) kinds = 2;
    for (int i = 0; i < s->head.count; i++)
        for (int k = 0; k < kinds; k++)
            if (!s->used[i] && same_name(bare(s->head.tensor[i].name, net->prefix), name[k])) return i;
    return -1;
}

static float from_f16(uint16_t h) {
    int exponent = h >> 10 & 31;
    double fraction = h & 1023, sign = h >> 15 ? -1 : 1;
    if (exponent == 31) return (float)(fraction ? NAN : sign * INFINITY);
    return (float)(sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24)));
}

static float from_bf16(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static float element(gd_safetensor_type type, const char *at) {
    uint16_t half;
    double wide;
    float v;
    switch (type) {
    case GD_SAFETENSOR_F16: return memcpy(&half, at, sizeof half), from_f16(half);
    case GD_SAFETENSOR_BF16: return memcpy(&half, at, sizeof half), from_bf16(half);
    case GD_SAFETENSOR_F64: return memcpy(&wide, at, sizeof wide), (float)wide;
    default: return memcpy(&v, at, sizeof v), v;
    }
}

static gd_status check_tensor(const source *s, const gd_safetensor *t, const gd_param_info *p) {
    gd_shape want = file_shape(p);
    if (t->type == GD_SAFETENSOR_I64)
        GD_FAIL(DATA, "%s: tensor '%s' holds whole numbers; expected weights", s->path, t->name);
    if (gd_shape_equal(want, t->shape)) return GD_OK;
    char have_text[96], want_text[96];
    gd_shape_text(t->shape, have_text);
    gd_shape_text(want, want_text);
    GD_FAIL(DATA, "%s: tensor '%s' has the shape %s; the recipe's network wants %s: set its width, depth or channels",
            s->path, t->name, have_text, want_text);
}

/* Reads tensor `from` of the file as parameter p into `into`, memory layout. */
static gd_status read_tensor(const source *s, int from, const gd_param_info *p, float *into) {
    const gd_safetensor *t = &s->head.tensor[from];
    GD_TRY(check_tensor(s, t, p));
    size_t count = (size_t)gd_shape_count(t->shape), unit = gd_safetensor_type_bytes(t->type);
    char *raw = malloc(count * unit + 1);
    float *plain = malloc(count * sizeof *plain + 1);
    gd_status st = raw && plain ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: tensor '%s'", s->path, t->name);
    if (st == GD_OK) st = gd_file_pread(s->fd, s->path, raw, count * unit, s->head.data_at + t->begin);
    for (size_t i = 0; i < count && st == GD_OK; i++) {
        plain[i] = element(t->type, raw + i * unit);
        if (!isfinite(plain[i]))
            st = gd_raise(GD_DATA, __FILE__, __LINE__, "%s: tensor '%s': value %zu is not finite", s->path, t->name, i);
    }
    if (st == GD_OK) permute(p, into, plain, false);
    free(plain);
    free(raw);
    return st;
}

static const gd_state_tensor *state_tensor(const gd_state *s, const char *front, const gd_gan_net *net,
                                           const gd_param_info *p) {
    char name[GD_WEIGHT_NAME + 8];
    snprintf(name, sizeof name, "%s%s/%s", front, net->prefix, p->name);
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->tensor[i].name, name)) return &s->tensor[i];
    return NULL;
}

static gd_status import_param(source *s, const gd_gan_net *net, int index, const gd_state *into) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p), from = find(s, net, index);
    p += index;
    const gd_state_tensor *live = state_tensor(into, "", net, p), *ema = state_tensor(into, "ema/", net, p);
    if (!live || !live->data) GD_FAIL(INTERNAL, "the training state has no %s/%s", net->prefix, p->name);
    if (from < 0)
        GD_FAIL(DATA,
                "%s: has no tensor for '%s' of network %s (%d of %d); is it of another architecture, or of another "
                "network? See --network",
                s->path, p->name, net->prefix, index + 1, n);
    s->used[from] = true;
    GD_TRY(read_tensor(s, from, p, live->data));
    if (ema && ema->data) memcpy(ema->data, live->data, (size_t)gd_shape_count(p->shape) * sizeof(float));
    return GD_OK;
}

/* Whether a tensor that no parameter wants may be passed over: counters, running statistics that this network does
 * not keep (InstanceNorm's in old checkpoints), and other networks of a file with gandist names. */
static bool may_ignore(const char *name, const gd_gan_net *net) {
    const char *slash = strchr(name, '/');
    return tail(name, tracked) || tail(name, running_mean) || tail(name, running_var) ||
           (slash && strncmp(name, net->prefix, strlen(net->prefix)) != 0);
}

static gd_status import_all(source *s, const gd_gan_net *net, const gd_state *into, int *tensors, int *ignored) {
    const gd_param_info *p;
    int n = gd_net_params(net->net, &p);
    *tensors = n;
    *ignored = 0;
    for (int i = 0; i < n; i++) GD_TRY(import_param(s, net, i, into));
    for (int i = 0; i < s->head.count; i++) {
        if (s->used[i]) continue;
        if (!may_ignore(s->head.tensor[i].name, net))
            GD_FAIL(DATA, "%s: holds tensor '%s', which network %s does not have: it is of another architecture",
                    s->path, s->head.tensor[i].name, net->prefix);
        ++*ignored;
    }
    return GD_OK;
}

gd_status gd_weights_import(const gd_gan_net *net, const char *path, const gd_state *into, int *tensors, int *ignored) {
    source s = {.path = path};
    uint64_t bytes;
    GD_TRY(gd_file_open(path, &s.fd, &bytes));
    gd_status st = gd_safetensors_read_any(s.fd, path, bytes, &s.head);
    if (st != GD_OK && (tail(path, ".pth") || tail(path, ".pt")))
        gd_context(st, "a PyTorch pickle must be converted first (docs/weights.md)");
    if (st == GD_OK) {
        s.used = calloc((size_t)s.head.count + 1, sizeof *s.used);
        st = s.used ? import_all(&s, net, into, tensors, ignored)
                    : gd_raise(GD_NOMEM, __FILE__, __LINE__, "%s: its list of tensors", path);
        gd_safetensors_free(&s.head);
    }
    free(s.used);
    gd_io_get()->close(s.fd);
    return st;
}
