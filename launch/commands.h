/* launch/commands.h -- the sub-commands; each is one file with its option table. */
#ifndef GANDIST_LAUNCH_COMMANDS_H
#define GANDIST_LAUNCH_COMMANDS_H

#include "launch/options.h"

extern const gd_command gd_command_train, gd_command_sample, gd_command_interpolate,
    gd_command_arithmetic, gd_command_translate, gd_command_evaluate, gd_command_export, gd_command_import,
    gd_command_verify, gd_command_bench, gd_command_schema, gd_command_data, gd_command_checkpoint,
    gd_command_status, gd_command_slurm;

#endif
