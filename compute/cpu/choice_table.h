/* compute/cpu/choice_table.h -- the choices of the process, behind choice.h. Folder-internal. */
#ifndef GANDIST_COMPUTE_CPU_CHOICE_TABLE_H
#define GANDIST_COMPUTE_CPU_CHOICE_TABLE_H

#include "compute/cpu/choice.h"
#include "compute/cpu/conv.h"

typedef enum gd__source { GD__BY_RULE, GD__BY_TIME } gd__source;         /* how it was found       */
typedef enum gd__via { GD__HERE, GD__CACHED, GD__IMPORTED } gd__via; /* how it came to be here */

typedef struct gd__choice {
    char key[128];   /* gd__choice_key */
    const gd__conv_kind *kind;
    bool as_f32;
    gd__source source;
    gd__via via;
    bool used;       /* a program asked for it                */
    bool left;       /* by the rule for want of time          */
    char times[160]; /* " onednn 9.06ms ...", "" when not timed */
} gd__choice;

void gd__choice_key(const gd_dnnl_conv *c, char out[128]);
/* A copy of the choice of this key, which counts as used from now on; false: there is none. */
bool gd__choice_find(const char *key, gd__choice *out);
/* Adds a choice, or replaces the one of its key. Errors: NOMEM. */
gd_status gd__choice_put(const gd__choice *c);
/* Whether this shape may be timed: mode, not frozen, budget. *out_of_time: only the budget is against it. */
bool gd__choice_may_time(bool *out_of_time);
bool gd__choice_may_transform(void);
bool gd__choice_may_halve(void);
void gd__choice_spent(double seconds);
void gd__choice_allow(double seconds); /* for timing, until the next gd_choice_set_mode; measurements */

/* Text of the choices that `want` takes; NULL: all that are used or imported. */
gd_status gd__choice_text(bool (*want)(const gd__choice *), char **out);
/* Takes the choices of a text, which came this way. As gd_choice_import. */
gd_status gd__choice_read(const char *text, const char *where, gd__via via);

#endif
