/* base/text.h -- strict parsing and small text helpers shared by recipes, options and messages. */
#ifndef GANDIST_BASE_TEXT_H
#define GANDIST_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole-string parses: no spaces, no octal, no underscores, no trailing text; finite numbers only.
 * false: not such a number (or out of range: then *overflow, if given, is true). */
bool gd_parse_i64(const char *s, int64_t *out, bool *overflow);
bool gd_parse_f64(const char *s, double *out, bool *overflow);
bool gd_parse_bool(const char *s, bool *out); /* true / false only */

/* The candidate nearest to `word` by optimal string alignment distance <= 2 (<= 1 for words under 4
 * letters), or NULL. */
const char *gd_nearest(const char *word, const char *const *candidates, size_t count);

/* "1.5 GB", "312 kB": decimal units, three significant digits. */
void gd_text_bytes(uint64_t bytes, char *out, size_t room);
/* 1234567 -> "1,234,567". */
void gd_text_count(uint64_t n, char *out, size_t room);

#endif
