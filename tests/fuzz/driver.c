/* Runs a fuzz target without a fuzzing engine: PROGRAM [--runs N | --seconds N] [--seed S] FILE_OR_FOLDER...
 *
 * First every seed input as it is, then N seeded mutations of them, or as many as N seconds allow. The same seed
 * gives the same inputs. GANDIST_SEED and GANDIST_FUZZ_SECONDS, when set, come before the arguments. An input that kills the target (signal, sanitizer, 20 s without end) is left in the working
 * folder as crash-input; `PROGRAM --runs 0 crash-input` repeats it. The target has libFuzzer's
 * signature, so `clang -fsanitize=fuzzer` can replace this file. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* There only in a sanitized build. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { LONGEST = 1 << 20, SLOWEST_SECONDS = 20 };

typedef struct input {
    uint8_t *data;
    size_t size;
} input;

static input *seeds;
static size_t seed_count;

/* What a crash handler needs. */
static const uint8_t *volatile current_data;
static volatile size_t current_size;
static char current_text[256];

static void die(const char *what, const char *where) {
    fprintf(stderr, "fuzz driver: %s: %s\n", where, what);
    exit(2);
}

static void *need(void *p) {
    if (!p) die("out of memory", "seed inputs");
    return p;
}

/* ---- crashes ---- */

static void leave_input(void) {
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, (const void *)current_data, current_size) < 0)
        (void)!write(2, "crash-input: not written\n", 25);
    if (fd >= 0) close(fd);
    (void)!write(2, current_text, strlen(current_text));
}

static void on_signal(int number) {
    leave_input();
    signal(number, SIG_DFL);
    raise(number == SIGALRM ? SIGABRT : number);
}

static void watch_for_crashes(void) {
    static const int numbers[] = {SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    bool sanitized = __sanitizer_set_death_callback != NULL;
    if (sanitized) __sanitizer_set_death_callback(leave_input);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!sanitized || numbers[i] == SIGABRT || numbers[i] == SIGALRM) signal(numbers[i], on_signal);
}

/* ---- seed inputs ---- */

static void add_seed(uint8_t *data, size_t size) {
    seeds = need(realloc(seeds, (seed_count + 1) * sizeof *seeds));
    seeds[seed_count++] = (input){data, size};
}

static void read_seed(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) die("cannot be opened", path);
    uint8_t *data = need(malloc(LONGEST + 1));
    size_t size = fread(data, 1, LONGEST + 1, f);
    if (ferror(f)) die("cannot be read", path);
    if (size > LONGEST) die("is larger than 1 MiB", path);
    fclose(f);
    add_seed(need(realloc(data, size + 1)), size);
}

static void read_seeds(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) die("does not exist", path);
    if (!S_ISDIR(st.st_mode)) {
        read_seed(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort); /* sorted: the order decides the mutations */
    if (count < 0) die("cannot be listed", path);
    for (int i = 0; i < count; i++) {
        char *child = NULL;
        if (entries[i]->d_name[0] != '.' && asprintf(&child, "%s/%s", path, entries[i]->d_name) >= 0) read_seeds(child);
        free(child);
        free(entries[i]);
    }
    free(entries);
}

/* ---- mutations ---- */

typedef struct dice {
    uint64_t state;
} dice;

/* SplitMix64: this file is for inputs only and must not depend on what it tests. */
static uint64_t roll(dice *d, uint64_t below) {
    uint64_t z = d->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return below ? z % below : 0;
}

static void insert(input *in, size_t at, const void *data, size_t size) {
    if (size > LONGEST - in->size) size = LONGEST - in->size;
    memmove(in->data + at + size, in->data + at, in->size - at);
    memcpy(in->data + at, data, size);
    in->size += size;
}

static void cut(input *in, size_t at, size_t size) {
    memmove(in->data + at, in->data + at + size, in->size - at - size);
    in->size -= size;
}

static const uint64_t numbers[] = {
    0,     1,     2,     7,         8,         16,          127,        128,        255,       256,        32767,
    32768, 65535, 65536, 100000000, INT32_MAX, 0x80000000u, UINT32_MAX, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX};
static const char *const texts[] = {"0",
                                    "-1",
                                    "1",
                                    "4294967296",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "1e999",
                                    "1.5",
                                    "\"",
                                    "\\",
                                    "\\u0000",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    "[[[[[[[[",
                                    ":",
                                    ",",
                                    "null",
                                    "true",
                                    "../",
                                    "/",
                                    "\n",
                                    "\t",
                                    " ",
                                    "#",
                                    "- ",
                                    "&a",
                                    "*a",
                                    "\xff",
                                    "\xc0\x80",
                                    "\xef\xbb\xbf"};

static void number_of_width(dice *d, uint8_t out[8], size_t *width) {
    uint64_t value = numbers[roll(d, sizeof numbers / sizeof *numbers)];
    *width = (size_t)1 << roll(d, 4);
    bool big_endian = roll(d, 2);
    for (size_t i = 0; i < *width; i++) out[i] = (uint8_t)(value >> 8 * (big_endian ? *width - 1 - i : i));
}

static void mutate(dice *d, input *in) {
    size_t at = roll(d, in->size), rest = in->size - at, width;
    uint8_t number[8];
    const input *other = &seeds[roll(d, seed_count)];
    const char *text = texts[roll(d, sizeof texts / sizeof *texts)];
    switch (roll(d, in->size ? 10 : 2)) {
    case 0: insert(in, at, text, strlen(text)); break;
    case 1: /* splice: a piece of another input */
        if (other->size) {
            size_t from = roll(d, other->size);
            insert(in, at, other->data + from, 1 + roll(d, other->size - from));
        }
        break;
    case 2:
    case 3: in->data[at] ^= (uint8_t)(1u << roll(d, 8)); break;
    case 4: in->data[at] = (uint8_t)roll(d, 256); break;
    case 5: in->size = at; break;
    case 6: cut(in, at, 1 + roll(d, rest < 64 ? rest : 64)); break;
    case 7: { /* a piece twice */
        uint8_t piece[256];
        size_t size = 1 + roll(d, rest < sizeof piece ? rest : sizeof piece);
        memcpy(piece, in->data + at, size);
        insert(in, at, piece, size);
        break;
    }
    case 8:
        number_of_width(d, number, &width);
        memcpy(in->data + at, number, width < rest ? width : rest);
        break;
    case 9:
        number_of_width(d, number, &width);
        insert(in, at, number, width);
        break;
    }
}

/* The target sees a copy of exactly this size, so that reading one byte too far is noticed. */
static void run_one(const input *in, const char *text) {
    uint8_t *exact = need(malloc(in->size ? in->size : 1));
    memcpy(exact, in->data, in->size);
    snprintf(current_text, sizeof current_text, "fuzz driver: %s failed; the input is in crash-input\n", text);
    current_data = exact;
    current_size = in->size;
    alarm(SLOWEST_SECONDS);
    LLVMFuzzerTestOneInput(exact, in->size);
    alarm(0);
    free(exact);
}

static uint64_t number_argument(int argc, char **argv, int *i) {
    char *end = NULL;
    if (*i + 1 >= argc) die("expects a number", argv[*i]);
    uint64_t value = strtoull(argv[++*i], &end, 10);
    if (end == argv[*i] || *end) die("is no number", argv[*i]);
    return value;
}

static void number_of_environment(const char *name, uint64_t *value) {
    const char *text = getenv(name);
    if (text) *value = strtoull(text, NULL, 10);
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    uint64_t runs = 2000, seed = 1, seconds = 0, run = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0) runs = number_argument(argc, argv, &i);
        else if (strcmp(argv[i], "--seconds") == 0) seconds = number_argument(argc, argv, &i);
        else if (strcmp(argv[i], "--seed") == 0) seed = number_argument(argc, argv, &i);
        else read_seeds(argv[i]);
    }
    if (seed_count == 0)
        die("no seed input; usage: PROGRAM [--runs N | --seconds N] [--seed S] FILE_OR_FOLDER...", argv[0]);
    number_of_environment("GANDIST_SEED", &seed);
    if (seconds) number_of_environment("GANDIST_FUZZ_SECONDS", &seconds);
    printf("seed %llu; repeat: %s %s %llu --seed %llu%s%s\n", (unsigned long long)seed, argv[0],
           seconds ? "--seconds" : "--runs", (unsigned long long)(seconds ? seconds : runs), (unsigned long long)seed,
           argc > 1 ? " " : "", argc > 1 ? argv[argc - 1] : "");
    fflush(stdout);
    double end = seconds_now() + (double)seconds;
    watch_for_crashes();
    char text[96];
    for (size_t i = 0; i < seed_count; i++) {
        snprintf(text, sizeof text, "seed input %zu", i);
        run_one(&seeds[i], text);
    }
    input in = {.data = need(malloc(LONGEST))};
    for (; seconds ? seconds_now() < end : run < runs; run++) {
        dice d = {.state = seed * 0x2545f4914f6cdd1dull + run};
        const input *from = &seeds[roll(&d, seed_count)];
        memcpy(in.data, from->data, from->size);
        in.size = from->size;
        for (uint64_t steps = 1 + roll(&d, 6); steps > 0; steps--) mutate(&d, &in);
        snprintf(text, sizeof text, "run %llu of --seed %llu", (unsigned long long)run, (unsigned long long)seed);
        run_one(&in, text);
    }
    printf("%llu runs, 0 crashes\n", (unsigned long long)(run + seed_count));
    free(in.data);
    for (size_t i = 0; i < seed_count; i++) free(seeds[i].data);
    free(seeds);
    return 0;
}
