/* launch/scaling.c -- runs of bench under mpirun, and what keeps the larger ones from being as fast as they could be. */
#include "launch/scaling.h"

#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 64, LINE = 16 * 1024 };
static const double GOOD = 0.95; /* nothing worth a name keeps it back */

extern char **environ;

typedef struct row { /* of one run: seconds an iteration */
    int ranks;
    bool shared; /* more threads than cores */
    double iteration, images, compute, data, exposed, wait;
    double efficiency; /* beside the fewest ranks of its round */
} row;

/* ---- counts ---- */

gd_status gd_scaling_counts(const char *text, int *count, int counts[GD_SCALING_MAX]) {
    *count = 0;
    for (const char *at = text; *at;) {
        char *end;
        long n = strtol(at, &end, 10);
        bool rises = !*count || n > counts[*count - 1];
        if (end == at || (*end && *end != ',') || (*end && !end[1]) || n < 1 || n > 1000000 || !rises ||
            *count == GD_SCALING_MAX)
            GD_FAIL(USAGE, "--scaling: '%s' is no list of at most %d rising numbers of ranks; expected such as 1,2,4",
                    text, GD_SCALING_MAX);
        counts[(*count)++] = (int)n;
        at = *end ? end + 1 : end;
    }
    if (!*count) GD_FAIL(USAGE, "--scaling: how many ranks? For example 1,2,4");
    return GD_OK;
}

static int cores_here(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* ---- one run ---- */

typedef struct words { /* of a command line; room for the texts that are made here */
    char *item[WORDS + 2 * GD_LIST_MAX];
    int count;
    char launcher[1024], self[4096], text[5][64];
} words;

static gd_status add(words *w, const char *word) {
    if (w->count + 1 >= (int)(sizeof w->item / sizeof *w->item)) GD_FAIL(USAGE, "--scaling: too many words");
    w->item[w->count++] = (char *)(uintptr_t)word;
    w->item[w->count] = NULL;
    return GD_OK;
}

static gd_status add_launcher(words *w, const char *launcher) {
    char *rest = w->launcher;
    if (strlen(launcher) >= sizeof w->launcher) GD_FAIL(USAGE, "--launcher: longer than %zu bytes", sizeof w->launcher);
    strcpy(w->launcher, launcher);
    for (char *word; (word = strtok_r(rest, " ", &rest));)
        if (w->count < WORDS) GD_TRY(add(w, word));
    if (!w->count) GD_FAIL(USAGE, "--launcher: expected a command, such as \"mpirun --hostfile hosts\"");
    return GD_OK;
}

static gd_status add_number(words *w, int slot, const char *option, const char *format, long long value) {
    if (option) GD_TRY(add(w, option));
    snprintf(w->text[slot], sizeof w->text[slot], format, value);
    return add(w, w->text[slot]);
}

static gd_status command_line(const gd_scaling *s, int ranks, words *w) {
    memset(w, 0, sizeof *w);
    ssize_t n = readlink("/proc/self/exe", w->self, sizeof w->self - 1);
    if (n <= 0) GD_FAIL(IO, "--scaling: where this program lies is not known: %s", strerror(errno));
    GD_TRY(add_launcher(w, s->launcher ? s->launcher : "mpirun --oversubscribe"));
    GD_TRY(add_number(w, 0, "-np", "%lld", ranks));
    GD_TRY(add(w, "-x"));
    GD_TRY(add(w, "OMP_NUM_THREADS"));
    GD_TRY(add(w, w->self));
    GD_TRY(add(w, "bench"));
    GD_TRY(add(w, s->recipe));
    GD_TRY(add(w, "--json"));
    GD_TRY(add_number(w, 1, "--steps", "%lld", s->steps));
    GD_TRY(add_number(w, 2, "--warmup", "%lld", s->warmup));
    for (int k = 0; k < s->set->count; k++) {
        GD_TRY(add(w, "--set"));
        GD_TRY(add(w, s->set->item[k]));
    }
    return add_number(w, 3, "--set", "batch.global=%lld", (long long)s->batch * ranks);
}

/* The last line that the run prints to stdout; what it says on stderr is seen as it comes. */
static gd_status last_line(words *w, char *line, int room) {
    int ends[2], status = 0;
    pid_t child;
    posix_spawn_file_actions_t actions;
    if (pipe(ends)) GD_FAIL(IO, "--scaling: pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    int error = posix_spawnp(&child, w->item[0], &actions, NULL, w->item, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *in = error ? NULL : fdopen(ends[0], "r");
    if (!in) close(ends[0]);
    if (error)
        GD_FAIL(UNSUP, "--scaling: %s: %s; is it installed? --launcher names another", w->item[0], strerror(error));
    line[0] = 0;
    for (char next[LINE]; in && fgets(next, sizeof next, in);)
        if (*next == '{') snprintf(line, (size_t)room, "%s", next);
    if (in) fclose(in);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        GD_FAIL(MPI, "--scaling: the run ended with %s %d", WIFEXITED(status) ? "exit code" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return GD_OK;
}

static double number(const json_t *o, const char *name) { return json_number_value(json_object_get(o, name)); }

static gd_status measure(const gd_scaling *s, int ranks, words *w, row *out) {
    char line[LINE];
    GD_TRY(command_line(s, ranks, w));
    GD_TRY(last_line(w, line, sizeof line));
    json_t *o = json_loads(line, 0, NULL);
    *out = (row){.ranks = ranks,
                 .shared = json_is_true(json_object_get(o, "oversubscribed")),
                 .iteration = number(o, "iteration"),
                 .images = number(o, "images_per_s"),
                 .data = number(o, "data"),
                 .exposed = number(o, "exposed_comm"),
                 .wait = number(o, "wait")};
    int seen = (int)number(o, "ranks");
    json_decref(o);
    if (seen != ranks || out->iteration <= 0)
        GD_FAIL(DATA, "--scaling: %s started %d ranks, not %d, or said something else: %.200s", w->item[0], seen, ranks,
                line);
    out->compute = out->iteration - out->data - out->exposed - out->wait;
    return GD_OK;
}

/* ---- the table ---- */

/* What takes most of the time that an iteration has more than on the fewest ranks. */
static const char *limit_of(const row *first, const row *r, double efficiency) {
    const double more[] = {r->compute - first->compute, r->data - first->data, r->exposed - first->exposed,
                           r->wait - first->wait};
    const char *const name[] = {r->shared ? "oversubscribed" : "compute", "data", "exposed communication",
                                "waiting for slower ranks"};
    int most = 0;
    if (r == first || efficiency >= GOOD) return "-";
    for (int k = 1; k < 4; k++)
        if (more[k] > more[most]) most = k;
    return r->shared && most == 3 ? "oversubscribed" : name[most];
}

static double fastest(const row *r, int64_t rounds) {
    double most = 0; /* images a second of each rank */
    for (int64_t k = 0; k < rounds; k++)
        if (r[k].images / r[k].ranks > most) most = r[k].images / r[k].ranks;
    return most;
}

/* r: of all rounds, by efficiency. Where other work, or other machines of a host, take part of the speed for a while, rounds are
 * not alike: the fastest ones say what the program does, the median what the machine gives. */
static void print_rounds(const gd_scaling *s, const row *first, const row *r) {
    double least = r[0].efficiency, most = r[s->rounds - 1].efficiency;
    double best = fastest(r, s->rounds) / fastest(first, s->rounds);
    if (s->json)
        printf(",\"rounds\":%d,\"efficiency_least\":%.4f,\"efficiency_most\":%.4f,\"efficiency_fastest\":%.4f",
               (int)s->rounds, least, most, best);
    else if (s->rounds > 1 && most > least)
        printf(" (efficiency %.1f to %.1f %%; of the fastest rounds %.1f %%)", 100 * least, 100 * most, 100 * best);
}

/* All rounds: of the fewest ranks, and of these. */
static void print_row(const gd_scaling *s, const row *first_rounds, const row *rounds) {
    const row *first = &first_rounds[(s->rounds - 1) / 2], *r = &rounds[(s->rounds - 1) / 2];
    const char *limit = limit_of(first, r, r->efficiency);
    if (s->json)
        printf(
            "{\"ranks\":%d,\"images_per_s\":%.3f,\"efficiency\":%.4f,\"iteration\":%.6f,\"compute\":%.6f,\"data\":%.6f,"
            "\"exposed_comm\":%.6f,\"wait\":%.6f,\"oversubscribed\":%s,\"limit\":\"%s\"",
            r->ranks, r->images, r->efficiency, r->iteration, r->compute, r->data, r->exposed, r->wait,
            r->shared ? "true" : "false", limit);
    else
        printf("%6d %10.1f %9.1f %% %10.4f %9.4f %8.4f %13.4f %8.4f  %s", r->ranks, r->images, 100 * r->efficiency,
               r->iteration, r->compute, r->data, r->exposed, r->wait, limit);
    print_rounds(s, first_rounds, rounds);
    printf(s->json ? "}\n" : "\n");
    fflush(stdout);
}

/* By efficiency; runs of the fewest ranks, whose efficiency is 1, by time. */
static int by_efficiency(const void *a, const void *b) {
    const row *x = a, *y = b;
    if (x->efficiency != y->efficiency) return x->efficiency < y->efficiency ? -1 : 1;
    return (x->iteration > y->iteration) - (x->iteration < y->iteration);
}

/* rows: [count][round]. */
static gd_status run_rounds(const gd_scaling *s, const int *counts, int n, words *w, row *rows) {
    for (int64_t round = 0; round < s->rounds; round++)
        for (int k = 0; k < n; k++) {
            row *r = &rows[k * s->rounds + round], *first = &rows[round];
            GD_TRY(measure(s, counts[k], w, r));
            r->efficiency = k ? r->images / r->ranks / (first->images / first->ranks) : 1;
        }
    for (int k = 0; k < n; k++) qsort(rows + k * s->rounds, (size_t)s->rounds, sizeof *rows, by_efficiency);
    return GD_OK;
}

gd_status gd_scaling_run(const gd_scaling *s) {
    int counts[GD_SCALING_MAX], n;
    char threads[32];
    GD_TRY(gd_scaling_counts(s->counts, &n, counts));
    int each = s->threads ? (int)s->threads : cores_here() / counts[n - 1];
    snprintf(threads, sizeof threads, "%d", each > 0 ? each : 1);
    setenv("OMP_NUM_THREADS", threads, 1);
    words *w = malloc(sizeof *w);
    row *rows = calloc((size_t)(n * s->rounds), sizeof *rows);
    gd_status st = w && rows ? GD_OK : gd_raise(GD_NOMEM, __FILE__, __LINE__, "--scaling: no memory");
    if (!s->json && st == GD_OK)
        printf("%s: %lld samples a rank, %s thread%s each; seconds an iteration%s\n"
               " ranks   images/s  efficiency  iteration   compute     data  exposed comm     wait  limit\n",
               s->recipe, (long long)s->batch, threads, each > 1 ? "s" : "",
               s->rounds > 1 ? ", of the round with the median efficiency" : "");
    if (st == GD_OK) st = run_rounds(s, counts, n, w, rows);
    for (int k = 0; k < n && st == GD_OK; k++) print_row(s, rows, &rows[k * s->rounds]);
    free(rows);
    free(w);
    return st;
}
