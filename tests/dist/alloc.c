/* Iterations allocate nothing after the first one: the thread that trains is watched. What oneDNN
 * does inside is its own affair and is not counted: lists of arguments, panels of matrix products. Only in
 * builds without sanitizers, which bring an allocator of their own. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <stdio.h>
int main(void) {
    printf("skipped: the sanitizer's allocator cannot be replaced\n");
    return 77;
}
#else

static _Thread_local volatile int watching; /* volatile: the compiler thinks it knows malloc */
static volatile long allocations;

static void count(void *caller) {
    Dl_info from;
    if (!watching) return;
    if (dladdr(caller, &from) && (strstr(from.dli_fname, "libdnnl") || strstr(from.dli_fname, "libstdc++"))) return;
    allocations = allocations + 1;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t each);
void *realloc(void *p, size_t n);
void *aligned_alloc(size_t align, size_t n);
int posix_memalign(void **p, size_t align, size_t n);

void *malloc(size_t n) {
    count(__builtin_return_address(0));
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t each) {
    count(__builtin_return_address(0));
    return __libc_calloc(n, each);
}

void *realloc(void *p, size_t n) {
    count(__builtin_return_address(0));
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n) {
    count(__builtin_return_address(0));
    return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n) {
    count(__builtin_return_address(0));
    *p = __libc_memalign(align, n);
    return *p ? 0 : 12;
}

#include "tests/dist/tiny_gan.h"

static gd_dataset *data;
static gd_trainer *trainer;

/* On from the end of the first iteration, off at the last one. */
static int watch(void *ctx) {
    int64_t step = gd_trainer_step(trainer);
    watching = step >= 1 && step < *(int64_t *)ctx;
    return 0;
}

static long count_allocations(gd_comm *c, const gd_train_config *config) {
    int64_t last = 6;
    gd_train_hooks h = {.ctx = &last, .poll = watch};
    allocations = 0;
    EXPECT_OK(gd_trainer_new(c, config, data, &h, &trainer));
    EXPECT_OK(gd_trainer_run(trainer, last));
    watching = 0;
    gd_trainer_free(trainer);
    return allocations;
}

static void iterations_allocate_nothing(void) {
    gd_comm *self;
    EXPECT_OK(gd_comm_self(&self));
    const gd_schedule_spec schedules[] = {{.d_steps = 2, .g_steps = 1},
                                          {.d_steps = 1, .g_steps = 1, .share_fake = true},
                                          {.d_steps = 1, .g_steps = 1, .simultaneous = true}};
    for (int k = 0; k < 3; k++)
        for (int shards = 1; shards <= 3; shards += 2) {
            gd_train_config c = tiny_config();
            c.schedule = schedules[k];
            c.shards = shards;
            c.check_every = 1;
            long n = count_allocations(self, &c);
            EXPECT(n == 0, "schedule %d, %d shards: %ld allocations", k, shards, n);
        }
    gd_comm_free(self);
}

/* The watch itself works. */
static void allocations_are_seen(void) {
    allocations = 0;
    watching = 1;
    void *volatile p = malloc(10);
    watching = 0;
    free(p);
    EXPECT(allocations == 1);
}

int main(void) {
    const rig_test tests[] = {RIG_TEST(allocations_are_seen), RIG_TEST(iterations_allocate_nothing)};
    data = tiny_data(100);
    int failed = rig_main(tests, sizeof tests / sizeof *tests);
    gd_dataset_close(data);
    return failed;
}
#endif
