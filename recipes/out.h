/* recipes/out.h -- a text that grows. Internal to recipes/. */
#ifndef GANDIST_RECIPES_OUT_H
#define GANDIST_RECIPES_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

// clang-format off
typedef struct gd__out {
    char *text;   /* NUL behind the end; NULL while empty */
    size_t used, room;
    bool nomem;   /* what follows is dropped              */
} gd__out;

void gd__put(gd__out *o, const char *format, ...) GD_PRINTF(2, 3);
void gd__put_float(gd__out *o, double v);       /* shortest text that reads back to v              */
void gd__put_text(gd__out *o, const char *s);   /* a YAML scalar, quoted only where it has to be   */
// clang-format on
/* Hands the text over: *text malloc'ed, "" when nothing was put. Errors: NOMEM. */
GD_CHECKED gd_status gd__out_take(gd__out *o, char **text);
void gd__out_free(gd__out *o);

#endif
