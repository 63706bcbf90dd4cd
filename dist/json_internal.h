/* dist/json_internal.h -- JSON, shared by manifests, headers and small files.
 *
 * jansson 2.14 drops characters or crashes when its memory runs out in the middle of a text. So memory for
 * the whole text is reserved before, and jansson is served from it. */
#ifndef GANDIST_DIST_JSON_INTERNAL_H
#define GANDIST_DIST_JSON_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>

/* NULL: e says what is wrong, or there was no memory. Names that are twice there are refused. The result is
 * of this thread, one at a time, and ends with gd__json_unload; nothing of it may be kept. */
json_t *gd__json_load(const char *text, size_t bytes, json_error_t *e, bool *no_memory);
void gd__json_unload(json_t *root); /* NULL is fine */

/* Takes root (NULL is fine) and gives its text, members in the order they were added; owner: caller. NULL: no
 * memory, also where jansson would leave out characters. */
char *gd__json_text(json_t *root, size_t flags);

#endif
