/* compute/cpu/conv.h -- one pass of a convolution of one shape, and the ways to compute it. Folder-internal.
 *
 * Every implementation is a row of one table: it plans a shape, or says that it does not take it, and runs what
 * it planned. heavy.c asks gd__conv_make and never knows which one it got. Which one is chosen: choice.h. */
#ifndef GANDIST_COMPUTE_CPU_CONV_H
#define GANDIST_COMPUTE_CPU_CONV_H

#include "compute/cpu/amx.h"
#include "compute/cpu/small.h"
#include "compute/cpu/thin.h"

typedef struct gd__conv gd__conv;

typedef struct gd__conv_kind {
    const char *name; /* in files of choices: one word                                              */
    enum { GD__OF_F32, GD__OF_BF16, GD__OF_BOTH } operands; /* that it takes as they are              */
    bool transforms;  /* does not take the products of the sum as they are (Winograd, halves): not for GD_CHOICE_DIRECT */
    bool rounds;      /* operands of f32 (halves): only where gd_choice_allow_halves says so         */
    /* Plans x->shape on x->threads. *taken false: it cannot, and left nothing in x. Errors: NOMEM, INTERNAL. */
    gd_status (*plan)(gd__conv *x, gd_dnnl *d, bool *taken);
    gd_status (*run)(const gd__conv *x, const void *a, const void *b, void *out, char *scratch);
} gd__conv_kind;

struct gd__conv {
    const gd__conv_kind *kind; /* NULL: nothing planned                                             */
    gd_dnnl_conv shape;        /* that the kind works on                                             */
    bool as_f32;               /* operands are bf16, and the kind works on f32 copies                */
    gd__copies copies;
    bool clear;                /* zeros first: the data pass leaves rows of x that no output uses    */
    int threads;
    size_t scratch_bytes;      /* that run needs                                                     */
    size_t kind_bytes;         /* of it, for the kind                                                */
    char text[96];             /* for describe_step                                                  */
    /* Of the kind that planned. */
    gd_dnnl_op *op;
    gd__pieces pieces;
    bool swap;                 /* the pieces' operands are b, a                                      */
    gd__wino wino;
    gd__thin thin;
    gd__small small;
    gd__amx amx;
};

/* All of them, in the order of the rule; a NULL name ends the table. */
extern const gd__conv_kind gd__conv_kinds[];
const gd__conv_kind *gd__conv_kind_find(const char *name, size_t length); /* NULL: no such name */

/* Plans c, whose padding behind is what outputs reach, with this kind; as_f32: with copies of bf16 operands.
 * *taken false: it does not take c. */
gd_status gd__conv_plan(const gd__conv_kind *kind, const gd_dnnl_conv *c, bool as_f32, gd_dnnl *d, gd__conv *out,
                        bool *taken);
/* Plans c by plain loops, which take everything, padding as wide as the kernel too. */
void gd__conv_plan_plain(const gd_dnnl_conv *c, gd__conv *out);
/* Whether the rule and timing may take it at all. */
bool gd__conv_may(const gd__conv_kind *kind, bool transforms);
/* What the rule takes: the first in the table that is expected to be fastest, without timing. transforms: whether
 * those may be. Some kind takes every shape. Errors: NOMEM, INTERNAL. */
gd_status gd__conv_rule(const gd_dnnl_conv *c, bool transforms, gd_dnnl *d, gd__conv *out);
/* The chosen one, by choice.h. *out: owner: caller, gd__conv_free. Errors: NOMEM, INTERNAL. */
gd_status gd__conv_make(const gd_dnnl_conv *c, gd_dnnl *d, gd__conv *out);
void gd__conv_free(gd__conv *x);
/* a, b, out: as gd_dnnl_op_run. */
gd_status gd__conv_run(const gd__conv *x, const void *a, const void *b, void *out, char *scratch);

#endif
