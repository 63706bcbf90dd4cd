/* launch/options.h -- command-line options as tables: parsing, help and suggestions from one place. */
#ifndef GANDIST_LAUNCH_OPTIONS_H
#define GANDIST_LAUNCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

enum { GD_LIST_MAX = 4096 }; /* words of one command: the files that a shell pattern stands for, say */

/* Texts collected from an option that may be given several times, or from plain arguments. */
typedef struct gd_text_list {
    const char *item[GD_LIST_MAX];
    int count;
} gd_text_list;

typedef enum gd_option_type {
    GD_OPT_FLAG,   /* bool          */
    GD_OPT_TEXT,   /* const char *  */
    GD_OPT_INT,    /* int64_t       */
    GD_OPT_TEXTS   /* gd_text_list  */
} gd_option_type;

typedef struct gd_option {
    const char *name;   /* without dashes                          */
    gd_option_type type;
    size_t offset;      /* of the field in the command's struct    */
    const char *arg;    /* shown in help: N, FILE; NULL for flags  */
    const char *help;
} gd_option;

typedef struct gd_command {
    const char *name, *summary;
    const char *usage;      /* "RECIPE [options]"                    */
    const char *example;    /* one full command line                 */
    const gd_option *options;
    int option_count;
    int min_args, max_args; /* plain arguments                       */
    bool ranks;             /* for any number of ranks; else one process does it */
    gd_status (*run)(int argc, char **argv);
} gd_command;

/* Fills *values (offsets of the table) and *args. `--help` prints the command's help and sets *helped.
 * Errors: USAGE (unknown option with the nearest one, bad number, too few or many arguments). */
GD_CHECKED gd_status gd_options_parse(const gd_command *c, int argc, char **argv, void *values,
                                      gd_text_list *args, bool *helped);
void gd_options_help(const gd_command *c, FILE *out);

#endif
