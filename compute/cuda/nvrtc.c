/* compute/cuda/nvrtc.c -- see nvrtc.h.
 *
 * A file of the cache is a head, whose hash covers everything behind it, and the cubin. Its name is a hash of all that
 * the code follows from: text, headers, options, version. */
#include "compute/cuda/nvrtc.h"

#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "compute/cuda/library.h"

enum { HEADERS = 3, OPTIONS = 6, CACHED_MAX = 16 << 20 };
static const uint64_t head_magic = 0x31302d6475632d67u;

/* The headers of C that ours ask for: what of them they need. */
static const char stdint_text[] = "typedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\n"
                                  "typedef unsigned int uint32_t;\ntypedef int int32_t;\n"
                                  "typedef unsigned long long uint64_t;\n";
static const char float_text[] = "#define FLT_MIN 1.17549435082228750797e-38f\n";
static const char math_text[] = "#define INFINITY __int_as_float(0x7f800000)\n#define NAN __int_as_float(0x7fffffff)\n";
static const gd__cu_header standard[HEADERS] = {
    {"stdint.h", stdint_text}, {"float.h", float_text}, {"math.h", math_text}};

#define FUNCTIONS(X)                                                                                                   \
    X(nvrtcVersion)                                                                                                    \
    X(nvrtcGetErrorString)                                                                                             \
    X(nvrtcCreateProgram)                                                                                              \
    X(nvrtcDestroyProgram)                                                                                             \
    X(nvrtcCompileProgram) X(nvrtcGetProgramLogSize) X(nvrtcGetProgramLog) X(nvrtcGetCUBINSize) X(nvrtcGetCUBIN)

typedef struct functions {
#define MEMBER(f) __typeof__(f) *f;
    FUNCTIONS(MEMBER)
#undef MEMBER
} functions;
static const gd__cu_symbol symbols[] = {
#define ROW(f) {#f, offsetof(functions, f)},
    FUNCTIONS(ROW)
#undef ROW
};

struct gd__cu_compiler {
    functions f;
    void *handle;
    char *cache;
    int version;
    uint64_t headers; /* hash */
};

typedef struct head {
    uint64_t magic, hash, bytes;
    int32_t registers, spilled;
} head;

/* ---- opening ---- */

static uint64_t hash_headers(void) {
    uint64_t h = 0;
    for (const gd__cu_header *k = gd__cu_headers; k->name; k++) h = gd_hash64(k->text, strlen(k->text), h);
    for (int i = 0; i < HEADERS; i++) h = gd_hash64(standard[i].text, strlen(standard[i].text), h);
    return h;
}

gd_status gd__cu_compiler_open(const char *cache, gd__cu_compiler **out) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", NULL};
    gd_status st = GD_OK;
    int major = 0, minor = 0;
    gd__cu_compiler *c = calloc(1, sizeof *c);
    if (!c) GD_FAIL(NOMEM, "nvrtc: no memory");
    GD_TRY_TO(err_close,
              gd__cu_library_open(names, symbols, (int)(sizeof symbols / sizeof *symbols), &c->f, &c->handle));
    if (c->f.nvrtcVersion(&major, &minor) != NVRTC_SUCCESS) GD_FAIL_TO(err_close, UNSUP, "nvrtc: it tells no version");
    c->version = 1000 * major + 10 * minor;
    c->headers = hash_headers();
    if (cache) {
        GD_TRY_TO(err_close, gd_dir_make(cache));
        c->cache = strdup(cache);
        if (!c->cache) GD_FAIL_TO(err_close, NOMEM, "nvrtc: no memory");
    }
    *out = c;
    return GD_OK;
err_close:
    gd__cu_compiler_close(c);
    return st;
}

void gd__cu_compiler_close(gd__cu_compiler *c) {
    if (!c) return;
    gd__cu_library_close(c->handle);
    free(c->cache);
    free(c);
}

int gd__cu_compiler_version(const gd__cu_compiler *c) { return c->version; }

void gd__cu_code_free(gd__cu_code *code) {
    free(code->cubin);
    *code = (gd__cu_code){0};
}

/* ---- the cache ---- */

/* NULL: no cache, or no memory, which is the same here. owner: caller. */
static char *cache_path(const gd__cu_compiler *c, const gd__cu_kernel *k, const char *const *option) {
    char hex[33], name[48];
    if (!c->cache) return NULL;
    gd_hasher *h = gd_hasher_new();
    if (!h) return NULL;
    gd_hasher_add(h, &c->version, sizeof c->version);
    gd_hasher_add(h, &c->headers, sizeof c->headers);
    for (int i = 0; i < OPTIONS; i++) gd_hasher_add(h, option[i], strlen(option[i]) + 1);
    gd_hasher_add(h, k->source, strlen(k->source));
    gd_hash128_text(gd_hasher_128(h), hex);
    gd_hasher_free(h);
    snprintf(name, sizeof name, "%s.cubin", hex);
    return gd_path_join(c->cache, name);
}

/* false: not there, or damaged. */
static bool read_cached(const char *path, gd__cu_code *out) {
    void *file;
    size_t bytes;
    head h;
    if (!path || !gd_path_exists(path)) return false;
    if (gd_file_read(path, CACHED_MAX, &file, &bytes) != GD_OK) {
        gd_error_clear();
        return false;
    }
    bool good = bytes > sizeof h;
    if (good) {
        memcpy(&h, file, sizeof h);
        good = h.magic == head_magic && h.bytes == bytes - sizeof h &&
               h.hash == gd_hash64((char *)file + offsetof(head, bytes), bytes - offsetof(head, bytes), head_magic);
    }
    if (good) {
        memmove(file, (char *)file + sizeof h, bytes - sizeof h);
        *out = (gd__cu_code){file, bytes - sizeof h, h.registers, h.spilled, true};
    } else free(file);
    return good;
}

static void write_cached(const char *path, const gd__cu_code *code) {
    size_t bytes = sizeof(head) + code->bytes;
    char *file = path ? malloc(bytes) : NULL;
    if (!file) return;
    head h = {head_magic, 0, code->bytes, code->registers, code->spilled};
    memcpy(file, &h, sizeof h);
    memcpy(file + sizeof h, code->cubin, code->bytes);
    h.hash = gd_hash64(file + offsetof(head, bytes), bytes - offsetof(head, bytes), head_magic);
    memcpy(file, &h, sizeof h);
    if (gd_file_write(path, file, bytes) != GD_OK) gd_error_clear();
    free(file);
}

/* ---- compiling ---- */

/* The number behind (or in front of) a word of ptxas' report; -1: it is not there. */
static int number_behind(const char *log, const char *word) {
    const char *at = strstr(log, word);
    return at ? (int)strtol(at + strlen(word), NULL, 10) : -1;
}

static int number_before(const char *log, const char *word) {
    const char *at = strstr(log, word);
    if (!at) return -1;
    while (at > log && (at[-1] == ' ')) at--;
    while (at > log && at[-1] >= '0' && at[-1] <= '9') at--;
    return (int)strtol(at, NULL, 10);
}

static char *take_log(const gd__cu_compiler *c, nvrtcProgram p) {
    size_t n = 0;
    if (c->f.nvrtcGetProgramLogSize(p, &n) != NVRTC_SUCCESS) n = 0;
    char *log = calloc(1, n + 1);
    if (log && n && c->f.nvrtcGetProgramLog(p, log) != NVRTC_SUCCESS) *log = '\0';
    return log;
}

static gd_status take_code(const gd__cu_compiler *c, nvrtcProgram p, const char *name, const char *log,
                           gd__cu_code *out) {
    size_t bytes = 0;
    int spills = number_before(log, "bytes spill stores");
    *out = (gd__cu_code){.registers = number_behind(log, "Used "), .spilled = spills};
    if (out->registers < 0 || spills < 0)
        GD_FAIL(INTERNAL, "nvrtc: %s: the report of registers is missing in: %.400s", name, log);
    if (c->f.nvrtcGetCUBINSize(p, &bytes) != NVRTC_SUCCESS || !bytes) GD_FAIL(INTERNAL, "nvrtc: %s gave no code", name);
    out->cubin = malloc(bytes);
    if (!out->cubin) GD_FAIL(NOMEM, "nvrtc: no memory for %zu bytes of code", bytes);
    out->bytes = bytes;
    if (c->f.nvrtcGetCUBIN(p, out->cubin) == NVRTC_SUCCESS) return GD_OK;
    gd__cu_code_free(out);
    GD_FAIL(INTERNAL, "nvrtc: %s gave no code", name);
}

static gd_status compile(const gd__cu_compiler *c, const gd__cu_kernel *k, const char *const *option,
                         gd__cu_code *out) {
    enum { MAX = 16 };
    const char *name[MAX], *text[MAX];
    int n = 0;
    nvrtcProgram p;
    for (const gd__cu_header *h = gd__cu_headers; h->name && n < MAX - HEADERS; h++, n++)
        name[n] = h->name, text[n] = h->text;
    for (int i = 0; i < HEADERS; i++, n++) name[n] = standard[i].name, text[n] = standard[i].text;
    nvrtcResult r = c->f.nvrtcCreateProgram(&p, k->source, k->name, n, text, name);
    if (r != NVRTC_SUCCESS) GD_FAIL(NOMEM, "nvrtc: %s: %s", k->name, c->f.nvrtcGetErrorString(r));
    r = c->f.nvrtcCompileProgram(p, OPTIONS, option);
    char *log = take_log(c, p);
    gd_status st = GD_OK;
    if (!log) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "nvrtc: no memory");
    else if (r == NVRTC_ERROR_INVALID_OPTION)
        st = gd_raise(GD_UNSUP, __FILE__, __LINE__, "nvrtc %d does not know %s: %s", c->version, option[0], log);
    else if (r != NVRTC_SUCCESS)
        st = gd_raise(GD_INTERNAL, __FILE__, __LINE__, "nvrtc: %s does not compile: %.2000s", k->name, log);
    else st = take_code(c, p, k->name, log, out);
    free(log);
    c->f.nvrtcDestroyProgram(&p);
    return st;
}

gd_status gd__cu_compile(const gd__cu_compiler *c, const gd__cu_kernel *k, int arch, gd__cu_code *out) {
    char arch_option[24];
    snprintf(arch_option, sizeof arch_option, "-arch=sm_%d", arch);
    /* Nothing contracted, exact division and roots, subnormals kept: the CPU's bits. */
    const char *const option[OPTIONS] = {arch_option,       "-default-device",  "--fmad=false",
                                         "--prec-div=true", "--prec-sqrt=true", "--ptxas-options=-v"};
    char *path = cache_path(c, k, option);
    gd_status st = GD_OK;
    *out = (gd__cu_code){0};
    if (!read_cached(path, out)) {
        st = compile(c, k, option, out);
        if (st == GD_OK) write_cached(path, out);
    }
    free(path);
    return st;
}
