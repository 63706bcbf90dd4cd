/* compute/cpu/choice.c -- the table of choices and its text. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "compute/cpu/choice_table.h"

#define FIRST_LINE "gandist kernels 1"

enum { MOST_LINES = 4096 };              /* of a file: the table is searched from its start */
static const double usual_seconds = 5.0; /* timing stops when a start has spent so much on it */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table {
    gd_choice_mode mode;
    bool frozen;
    double seconds, most; /* spent on timing, and its limit; 0: the usual one */
    gd__choice *item;
    size_t count, room;
} table;

static const char *const source_text[] = {[GD__BY_RULE] = "rule", [GD__BY_TIME] = "timed"};

/* ---- table ---- */

static gd__choice *find(const char *key) {
    for (size_t i = 0; i < table.count; i++)
        if (!strcmp(table.item[i].key, key)) return &table.item[i];
    return NULL;
}

/* Room for n more. */
static gd_status grow(size_t n) {
    if (table.count + n <= table.room) return GD_OK;
    size_t room = 2 * table.room > table.count + n ? 2 * table.room : table.count + n + 32;
    gd__choice *more = realloc(table.item, room * sizeof *more);
    if (!more) GD_FAIL(NOMEM, "cpu: no memory for %zu choices of kernels", room);
    table.item = more;
    table.room = room;
    return GD_OK;
}

static void put(const gd__choice *c) {
    gd__choice *at = find(c->key);
    if (!at) at = &table.item[table.count++];
    *at = *c;
}

bool gd__choice_find(const char *key, gd__choice *out) {
    pthread_mutex_lock(&lock);
    gd__choice *c = find(key);
    if (c) {
        c->used = true;
        *out = *c;
    }
    pthread_mutex_unlock(&lock);
    return c;
}

gd_status gd__choice_put(const gd__choice *c) {
    pthread_mutex_lock(&lock);
    gd_status st = grow(1);
    if (st == GD_OK) put(c);
    pthread_mutex_unlock(&lock);
    return st;
}

void gd_choice_set_mode(gd_choice_mode m) {
    pthread_mutex_lock(&lock);
    free(table.item);
    table = (struct table){.mode = m};
    pthread_mutex_unlock(&lock);
}

void gd_choice_freeze(void) {
    pthread_mutex_lock(&lock);
    table.frozen = true;
    pthread_mutex_unlock(&lock);
}

bool gd__choice_may_time(bool *out_of_time) {
    pthread_mutex_lock(&lock);
    bool may = table.mode == GD_CHOICE_TIMED && !table.frozen;
    *out_of_time = may && table.seconds >= (table.most > 0 ? table.most : usual_seconds);
    pthread_mutex_unlock(&lock);
    return may && !*out_of_time;
}

static bool halves; /* guarded by lock; of the process, whatever the mode */

void gd_choice_allow_halves(bool allowed) {
    pthread_mutex_lock(&lock);
    halves = allowed;
    pthread_mutex_unlock(&lock);
}

bool gd_choice_has_halves(void) { return gd__amx_usable() != NULL; }

bool gd__choice_may_halve(void) {
    pthread_mutex_lock(&lock);
    bool may = halves;
    pthread_mutex_unlock(&lock);
    return may;
}

bool gd__choice_may_transform(void) {
    pthread_mutex_lock(&lock);
    bool may = table.mode != GD_CHOICE_DIRECT;
    pthread_mutex_unlock(&lock);
    return may;
}

void gd__choice_allow(double seconds) {
    pthread_mutex_lock(&lock);
    table.most = seconds;
    pthread_mutex_unlock(&lock);
}

void gd__choice_spent(double seconds) {
    pthread_mutex_lock(&lock);
    table.seconds += seconds;
    pthread_mutex_unlock(&lock);
}

gd_choice_counts gd_choice_count(void) {
    pthread_mutex_lock(&lock);
    gd_choice_counts n = {.seconds = table.seconds};
    for (size_t i = 0; i < table.count; i++) {
        const gd__choice *c = &table.item[i];
        if (!c->used) continue;
        n.used++;
        n.timed += c->source == GD__BY_TIME && c->via == GD__HERE;
        n.cached += c->via == GD__CACHED;
        n.imported += c->via == GD__IMPORTED;
        n.left += c->left;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

/* ---- text ---- */

static const char *const pass_text[] = {"forward", "data", "weights"};

static const char *types_text(const gd_dnnl_conv *c) {
    bool from = c->in_type == GD_BF16, to = c->out_type == GD_BF16;
    return from ? to ? "bf16" : "bf16-f32" : to ? "f32-bf16" : "f32";
}

/* The numbers of a key: x, y, kernel, stride, padding. */
#define NUMBERS(D)                                                                                                     \
    "/%" D "x%" D "x%" D "x%" D "/%" D "x%" D "x%" D "/%" D "x%" D "/s%" D "/p%" D ",%" D ",%" D ",%" D "/"
enum { COUNT_OF_NUMBERS = 14 };

void gd__choice_key(const gd_dnnl_conv *c, char out[128]) {
    snprintf(out, 128, "%s" NUMBERS(PRId64) "%s", pass_text[c->pass], c->n, c->h, c->w, c->c, c->p, c->q, c->k, c->r,
             c->s, c->stride, c->pad[0], c->pad[1], c->pad[2], c->pad[3], types_text(c));
}

/* Whether the text is a key as gd__choice_key makes them. */
static bool is_key(const char *text) {
    char pass[8], types[9], again[128];
    gd_dnnl_conv c;
    memset(&c, 0, sizeof c);
    int n = sscanf(text, "%7[a-z]" NUMBERS(SCNd64) "%8[a-z0-9-]", pass, &c.n, &c.h, &c.w, &c.c, &c.p, &c.q, &c.k, &c.r,
                   &c.s, &c.stride, &c.pad[0], &c.pad[1], &c.pad[2], &c.pad[3], types);
    if (n != COUNT_OF_NUMBERS + 2) return false;
    for (int i = 0; i < 3; i++)
        if (!strcmp(pass, pass_text[i])) c.pass = (gd_dnnl_pass)i;
    c.in_type = strncmp(types, "bf16", 4) ? GD_F32 : GD_BF16;
    c.out_type = strlen(types) >= 4 && !strcmp(types + strlen(types) - 4, "bf16") ? GD_BF16 : GD_F32;
    gd__choice_key(&c, again);
    return !strcmp(again, text);
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const gd__choice *const *)a)->key, (*(const gd__choice *const *)b)->key);
}

static bool for_a_run(const gd__choice *c) { return c->used || c->via == GD__IMPORTED; }

static gd_status print(FILE *f, bool (*want)(const gd__choice *)) {
    char machine[256];
    size_t n = 0;
    const gd__choice **order = malloc((table.count + 1) * sizeof *order);
    if (!order) GD_FAIL(NOMEM, "cpu: no memory for %zu choices of kernels", table.count);
    for (size_t i = 0; i < table.count; i++)
        if (want(&table.item[i])) order[n++] = &table.item[i];
    qsort(order, n, sizeof *order, by_key);
    gd_choice_machine(machine, sizeof machine);
    fprintf(f, FIRST_LINE "\nmachine %s\n", machine);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%s %s%s %s%s\n", order[i]->key, order[i]->as_f32 ? "f32:" : "", order[i]->kind->name,
                source_text[order[i]->source], order[i]->times);
    free(order);
    return GD_OK;
}

gd_status gd__choice_text(bool (*want)(const gd__choice *), char **out) {
    char *text = NULL, hash[17];
    size_t bytes = 0;
    *out = NULL;
    FILE *f = open_memstream(&text, &bytes);
    if (!f) GD_FAIL(NOMEM, "cpu: no memory for the text of choices");
    pthread_mutex_lock(&lock);
    gd_status st = print(f, want ? want : for_a_run);
    pthread_mutex_unlock(&lock);
    bool whole = fflush(f) == 0;
    if (st == GD_OK && whole) {
        gd_hash64_text(gd_hash64(text, bytes, 0), hash);
        fprintf(f, "hash %s\n", hash);
    }
    whole = fclose(f) == 0 && whole;
    if (st == GD_OK && !whole) st = gd_raise(GD_NOMEM, __FILE__, __LINE__, "cpu: no memory for the text of choices");
    if (st == GD_OK) *out = text;
    else free(text);
    return st;
}

gd_status gd_choice_export(char **text) { return gd__choice_text(NULL, text); }

/* The end of the lines before the hash; NULL: damaged. */
static const char *check_hash(const char *text) {
    size_t length = strlen(text), tail = strlen("hash ") + 16 + 1;
    uint64_t said;
    char digits[17];
    if (length < tail || strncmp(text, FIRST_LINE "\n", strlen(FIRST_LINE "\n"))) return NULL;
    const char *end = text + length - tail;
    memcpy(digits, end + strlen("hash "), 16);
    digits[16] = 0;
    if (strncmp(end, "hash ", 5) || text[length - 1] != '\n' || !gd_hash64_parse(digits, &said)) return NULL;
    return said == gd_hash64(text, (size_t)(end - text), 0) ? end : NULL;
}

/* The word at *at, which ends at a blank or at `end`; *at moves behind the blank. Empty: there is none. */
static size_t next_word(const char **at, const char *end, const char **word) {
    const char *stop = *at < end ? memchr(*at, ' ', (size_t)(end - *at)) : NULL;
    if (!stop) stop = end;
    *word = *at;
    *at = stop < end ? stop + 1 : end;
    return (size_t)(stop - *word);
}

static bool is_word(const char *word, size_t length, const char *text) {
    return strlen(text) == length && !memcmp(word, text, length);
}

/* One line [at, end): key, kind, source, times. */
static bool parse_line(const char *at, const char *end, gd__choice *out) {
    const char *word;
    memset(out, 0, sizeof *out);
    size_t length = next_word(&at, end, &word);
    if (length >= sizeof out->key) return false;
    memcpy(out->key, word, length);
    if (!is_key(out->key)) return false;
    length = next_word(&at, end, &word);
    out->as_f32 = length > 4 && !memcmp(word, "f32:", 4);
    if (out->as_f32) word += 4, length -= 4;
    out->kind = gd__conv_kind_find(word, length);
    length = next_word(&at, end, &word);
    out->source = is_word(word, length, source_text[GD__BY_TIME]) ? GD__BY_TIME : GD__BY_RULE;
    if (!is_word(word, length, source_text[out->source])) return false;
    /* What candidates took is for people: too much of it is dropped. */
    if (at < end && (size_t)(end - at) + 1 < sizeof out->times)
        snprintf(out->times, sizeof out->times, " %.*s", (int)(end - at), at);
    return out->kind;
}

/* All lines, checked before the first is taken. */
static gd_status read_lines(const char *text, const char *end, const char *where, gd__via via, bool take) {
    int number = 0;
    for (const char *line = text, *next; line < end; line = next + 1) {
        gd__choice c;
        next = memchr(line, '\n', (size_t)(end - line));
        if (++number <= 2 && next) continue; /* format and machine */
        if (!next || !parse_line(line, next, &c))
            GD_FAIL(DATA,
                    "%s: line %d names no convolution and implementation that this version knows; it may come "
                    "from another version: remove the file to choose anew",
                    where, number);
        if (table.mode == GD_CHOICE_DIRECT && c.kind->transforms)
            GD_FAIL(CONFIG,
                    "%s: line %d chooses %s, but numerics.kernels is direct; expected choices without "
                    "Winograd: remove it to choose anew, or set numerics.kernels: rule",
                    where, number, c.kind->name);
        c.via = via;
        if (take && !(via == GD__CACHED && find(c.key))) put(&c); /* what was imported is not replaced */
    }
    return GD_OK;
}

gd_status gd__choice_read(const char *text, const char *where, gd__via via) {
    const char *end = check_hash(text);
    size_t lines = 0;
    if (!end)
        GD_FAIL(DATA,
                "%s: not a file of kernel choices, or damaged (first line '" FIRST_LINE "' and a hash at the end "
                "were expected); remove it to choose anew",
                where);
    for (const char *c = text; c < end; c++) lines += *c == '\n';
    if (lines > MOST_LINES)
        GD_FAIL(DATA, "%s: %zu lines; expected at most %d; remove it to choose anew", where, lines, MOST_LINES);
    pthread_mutex_lock(&lock);
    gd_status st = read_lines(text, end, where, via, false);
    if (st == GD_OK) st = grow(lines);
    if (st == GD_OK) st = read_lines(text, end, where, via, true);
    pthread_mutex_unlock(&lock);
    return st;
}

gd_status gd_choice_import(const char *text, const char *where) { return gd__choice_read(text, where, GD__IMPORTED); }
