/* tests/cuda/fake_nvrtc.c -- NVRTC whose code is the text, and what loads such code. See fake.h. */
#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "fake_code.h"
#include "shim.h"

static const char mark[] = "fake cubin\n";

struct _nvrtcProgram {
    char *source;
};

/* ---- NVRTC ---- */

#define MAY_FAIL                                                                                                       \
    if (fake_call(__func__)) return NVRTC_ERROR_INTERNAL_ERROR

nvrtcResult nvrtcVersion(int *major, int *minor) {
    MAY_FAIL;
    *major = 13, *minor = 0;
    return NVRTC_SUCCESS;
}

const char *nvrtcGetErrorString(nvrtcResult r) { return r == NVRTC_SUCCESS ? "success" : "the fake was told to"; }

nvrtcResult nvrtcCreateProgram(nvrtcProgram *out, const char *source, const char *name, int n, const char *const *text,
                               const char *const *names) {
    (void)name, (void)text, (void)names;
    MAY_FAIL;
    nvrtcProgram p = calloc(1, sizeof *p);
    if (p) p->source = strdup(source);
    if (!p || !p->source || n < 3) return NVRTC_ERROR_OUT_OF_MEMORY;
    fake_count_live(1);
    *out = p;
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram *p) {
    fake_count_live(-1);
    free((*p)->source);
    free(*p);
    MAY_FAIL;
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int n, const char *const *option) {
    (void)p;
    MAY_FAIL;
    return n > 0 && !strcmp(option[0], "-arch=sm_90") ? NVRTC_SUCCESS : NVRTC_ERROR_INVALID_OPTION;
}

static const char log_text[] = "ptxas info : 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                               "ptxas info : Used 32 registers\n";

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t *bytes) {
    (void)p;
    MAY_FAIL;
    *bytes = sizeof log_text;
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char *log) {
    (void)p;
    MAY_FAIL;
    memcpy(log, log_text, sizeof log_text);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t *bytes) {
    MAY_FAIL;
    *bytes = sizeof mark + strlen(p->source);
    return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char *cubin) {
    MAY_FAIL;
    memcpy(cubin, mark, sizeof mark - 1);
    strcpy(cubin + sizeof mark - 1, p->source);
    return NVRTC_SUCCESS;
}

/* ---- its code ---- */

/* A module is its kernel. */
typedef struct code {
    gd__cu_kernel kernel;
    char *source;
} code;

void *fake_code_load(const void *image) {
    if (strncmp(image, mark, sizeof mark - 1) != 0) return NULL;
    code *c = calloc(1, sizeof *c);
    if (!c || !(c->source = strdup((const char *)image + sizeof mark - 1))) return free(c), NULL;
    c->kernel.source = c->source;
    const char *at = strstr(c->source, "KERNEL(");
    if (!at || sscanf(at, "KERNEL(%23[^,], %d)", c->kernel.name, &c->kernel.pointers) != 2)
        return fake_code_unload(c), NULL;
    const gd__cu_kernels one = {.n = 1, .list = &c->kernel};
    shim_collect(&one);
    return c;
}

void fake_code_unload(void *module) {
    code *c = module;
    free(c->source);
    free(c);
}

void *fake_code_function(void *module, const char *name) {
    return strcmp(((code *)module)->kernel.name, name) ? NULL : module;
}

int fake_code_pointers(const void *function) { return ((const code *)function)->kernel.pointers; }

void fake_code_run(void *function, unsigned grid, void *const *arg) {
    shim_run(shim_find(((code *)function)->kernel.name), grid, arg);
}
