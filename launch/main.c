/* gandist: the command line. The only place that prints an error and decides the exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "launch/commands.h"
#include "launch/session.h"
#include "launch/version.h"
#include "launch/waits.h"
#include "recipes/recipe.h"

static const gd_command *const commands[] = {
    &gd_command_train,    &gd_command_sample, &gd_command_interpolate, &gd_command_arithmetic, &gd_command_translate,
    &gd_command_evaluate, &gd_command_export, &gd_command_import,      &gd_command_verify,     &gd_command_checkpoint,
    &gd_command_status,   &gd_command_slurm,  &gd_command_bench,       &gd_command_data,       &gd_command_schema,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void) {
    puts("usage: gandist RECIPE [options]\n"
         "       gandist COMMAND ...\n\n"
         "Trains generative adversarial networks on one to thousands of processes.\n\n"
         "commands:");
    for (int i = 0; i < N_COMMANDS; i++) printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n'gandist COMMAND --help' shows options and an example. 'gandist --version' shows the build.\n\n"
         "examples:\n"
         "  gandist recipes/dcgan.yaml\n"
         "  mpirun -np 4 gandist recipes/dcgan.yaml --set batch.global=128\n"
         "  gandist sample runs/dcgan --grid grid.png\n\n"
         "exit codes: 0 done, 64 usage, 65 bad input, 66 nothing usable to resume or read, 69 missing device\n"
         "or library, 73 cannot create output, 74 I/O, 75 saved on request, 86 hang, 87 replicas differ,\n"
         "88 not finite, 93 restarts without progress");
}

static const gd_command *find_command(const char *name) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

/* A word that is neither a command nor looks like a recipe is most likely a mistyped command. */
static bool looks_like_recipe(const char *word) {
    return strchr(word, '/') || strchr(word, '.') || gd_recipe_exists(word);
}

static gd_status unknown_command(const char *word) {
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i]->name;
    const char *near = gd_nearest(word, names, N_COMMANDS);
    GD_FAIL(USAGE, "gandist: '%s' is neither a command nor a recipe%s%s%s; 'gandist --help' lists the commands", word,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool asks_for_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

static gd_status dispatch(int argc, char **argv) {
    GD_TRY(gd_log_configure(getenv("GANDIST_LOG")));
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help();
        if (argc < 2) GD_FAIL(USAGE, "gandist: which recipe? For example 'gandist recipes/dcgan.yaml'");
        return GD_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        gd_version_print(stdout);
        return GD_OK;
    }
    const gd_command *c = find_command(argv[1]);
    if (c && c != &gd_command_train) gd_session_block_signals(false);
    if (c && !c->ranks && !asks_for_help(argc - 2, argv + 2)) GD_TRY(gd_session_check_one(c->name));
    if (c) return c->run(argc - 2, argv + 2);
    if (argv[1][0] != '-' && !looks_like_recipe(argv[1])) return unknown_command(argv[1]);
    return gd_command_train.run(argc - 1, argv + 1);
}

static void report(gd_status st) {
    if (!gd_session_speaks(st)) return;
    gd_status reason = gd_error_agreed(st);
    gd_session_let_root_speak();
    fprintf(stderr, "gandist: %s\n", gd_error_message());
    if (gd_log_on(GD_ROOM_LAUNCH, GD_LEVEL_DEBUG) || reason == GD_INTERNAL)
        fprintf(stderr, "  (%s at %s)\n", gd_status_name(reason), gd_error_trail());
}

int main(int argc, char **argv) {
    gd_waits_begin(argv);
    gd_status st = dispatch(argc, argv);
    if (st != GD_OK) report(st);
    fflush(stdout);
    int code = gd_status_exit_code(gd_error_agreed(st));
    gd_session_end(st);
    return code;
}
