/* base/text.c */
#include "base/text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* "0" or digits without a leading zero (which C would read as octal and YAML 1.1 readers too). */
static const char *skip_whole(const char *s) {
    if (*s == '0') return is_digit(s[1]) ? NULL : s + 1;
    const char *p = s;
    while (is_digit(*p)) p++;
    return p == s ? NULL : p;
}

bool gd_parse_i64(const char *s, int64_t *out, bool *overflow) {
    if (overflow) *overflow = false;
    const char *end = skip_whole(s + (*s == '-'));
    if (!end || *end) return false;
    errno = 0;
    long long value = strtoll(s, NULL, 10);
    if (errno == ERANGE) {
        if (overflow) *overflow = true;
        return false;
    }
    *out = value;
    return true;
}

/* -?(whole [. digits*] | . digits+) ([eE] [+-]? digits+)? and nothing more. *zero: all digits are 0. */
static bool is_decimal(const char *s, bool *zero) {
    const char *p = s + (*s == '-'), *digits = p;
    if (*p != '.' && !(p = skip_whole(p))) return false;
    bool before = p > digits, after = false;
    if (*p == '.')
        for (p++; is_digit(*p); p++) after = true;
    if (!before && !after) return false;
    *zero = strspn(digits, "0.") == (size_t)(p - digits);
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+' || *p == '-';
        if (!is_digit(*p)) return false;
        while (is_digit(*p)) p++;
    }
    return *p == '\0';
}

bool gd_parse_f64(const char *s, double *out, bool *overflow) {
    if (overflow) *overflow = false;
    bool zero = false;
    if (!is_decimal(s, &zero)) return false;
    /* glibc hands out its built-in C locale here: nothing is allocated, nothing can fail. */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = c ? strtod_l(s, NULL, c) : strtod(s, NULL);
    if (c) freelocale(c);
    if (isinf(value) || (value == 0 && !zero)) {
        if (overflow) *overflow = true;
        return false;
    }
    *out = value;
    return true;
}

bool gd_parse_bool(const char *s, bool *out) {
    bool yes = strcmp(s, "true") == 0;
    if (!yes && strcmp(s, "false") != 0) return false;
    *out = yes;
    return true;
}

/* ---- nearest word ---- */

enum { LONGEST_WORD = 63 };

static int least(int a, int b) { return a < b ? a : b; }

/* Optimal string alignment: insertions, deletions, changes, swaps of neighbours. Three rows are kept. */
static int distance(const char *a, int na, const char *b, int nb) {
    int rows[3][LONGEST_WORD + 1];
    for (int j = 0; j <= nb; j++) rows[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *now = rows[i % 3], *prev = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = least(prev[j - 1] + (a[i - 1] != b[j - 1]), least(prev[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = least(best, before[j - 2] + 1);
            now[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *gd_nearest(const char *word, const char *const *candidates, size_t count) {
    size_t n = strlen(word);
    if (n == 0 || n > LONGEST_WORD) return NULL;
    int limit = n < 4 ? 1 : 2;
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t m = strlen(candidates[i]);
        if (m > LONGEST_WORD) continue;
        int d = distance(word, (int)n, candidates[i], (int)m);
        if (d > limit) continue;
        best = candidates[i];
        limit = d - 1; /* of equals the first one wins */
        if (d == 0) break;
    }
    return best;
}

/* ---- numbers for people ---- */

void gd_text_bytes(uint64_t bytes, char *out, size_t room) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 999.5 && unit < 6; unit++) value /= 1000; /* 999.5 would print as 1e+03 */
    snprintf(out, room, "%.3g %s", value, units[unit]);
}

void gd_text_count(uint64_t n, char *out, size_t room) {
    char digits[24], text[32];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), used = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
    snprintf(out, room, "%s", text);
}
