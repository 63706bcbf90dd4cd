/* compute/cpu/choice.h -- which implementation computes each convolution, and how that choice is kept.
 *
 * Implementations (conv.h) differ in their last bits, so a choice belongs to a run as its seed does. Per shape,
 * direction and type there is one choice in the process, made the first time that a program needs it:
 *   rule    by a rule over the shape: the same on every machine with these instruction sets, at any number of
 *           threads and ranks
 *   timed   all that take the shape are run a few times, the fastest is kept: what this machine and number of
 *           threads do best, and two starts may choose differently
 *   direct  the rule without those that add before they multiply (Winograd) and those that leave out a part of each product (f32 as
 *           halves on matrix tiles): every product of the sum is taken
 * Choices from elsewhere are imported before programs are made and hold in every mode: rank 0's on all ranks, those
 * of a run's record when it goes on, a file by which two runs are to agree.
 *
 * Text form: a first line with the format's number, the machine, a line for each choice, and a hash of it all:
 *   forward/64x32x32x64/16x16x128/4x4/s2/p1,1,1,1/f32 winograd timed 5.13ms onednn 9.06ms
 * (pass, x, y, kernel, stride, padding, type; choice; how it was found; what the candidates took). A choice that was
 * imported or cached keeps its line.
 *
 * State is global, as the number of threads is; all functions may be called from any thread. */
#ifndef GANDIST_COMPUTE_CPU_CHOICE_H
#define GANDIST_COMPUTE_CPU_CHOICE_H

#include <stdbool.h>

#include "base/status.h"

typedef enum gd_choice_mode { GD_CHOICE_RULE, GD_CHOICE_TIMED, GD_CHOICE_DIRECT } gd_choice_mode;

/* For programs made from now on. Forgets all choices, imported ones too. Default: GD_CHOICE_RULE. */
void gd_choice_set_mode(gd_choice_mode m);
/* Whether programs made from now on may take f32 as two bf16 halves on matrix tiles (amx.h: 16 of 24 bits of each operand, more than
 * TF32), by the rule and by timing, but not where the mode is direct. Default: no. What is imported holds in any case. */
void gd_choice_allow_halves(bool allowed);
bool gd_choice_has_halves(void); /* this machine has matrix tiles */
/* Nothing is timed any more: what has no choice yet goes by the rule. Until the next gd_choice_set_mode. */
void gd_choice_freeze(void);

/* All choices that programs asked for or that were imported, sorted. *text: owner: caller, free. Errors: NOMEM. */
GD_CHECKED gd_status gd_choice_export(char **text);
/* Takes the choices of such a text. `where` names it in messages. Nothing is taken on an error: DATA (damaged, or
 * not such a text), CONFIG (names an implementation that the mode `direct` excludes), NOMEM. */
GD_CHECKED gd_status gd_choice_import(const char *text, const char *where);
/* The same with files. Errors also: CANTCREAT, IO; NOINPUT. */
GD_CHECKED gd_status gd_choice_save(const char *path);
GD_CHECKED gd_status gd_choice_load(const char *path);

/* What earlier starts timed on this machine: a file in $XDG_CACHE_HOME/gandist (else $HOME/.cache/gandist), one for
 * each processor model, instruction set, oneDNN version and number of threads. A convenience: what cannot be read or
 * written is left out with a warning. Only in the mode `timed`; what was imported stays. */
void gd_choice_cache_load(void);
void gd_choice_cache_save(void);

typedef struct gd_choice_counts {
    int used;                    /* choices that programs asked for                           */
    int timed, cached, imported; /* of these; the others went by the rule                     */
    int left;                    /* of these: by the rule, as the time for timing was over    */
    double seconds;              /* spent on timing                                           */
} gd_choice_counts;
gd_choice_counts gd_choice_count(void);

/* "AMD EPYC 7763; avx2; oneDNN 2.6.3; 2 threads". Behind the vectors' instruction set "amx", where there is AMX. */
void gd_choice_machine(char *out, size_t room);

#endif
