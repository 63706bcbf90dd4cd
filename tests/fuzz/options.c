/* Fuzz target: command lines. The first line names a command, each further line is a word. Whatever they are, its
 * option table answers with values or with USAGE and a message; the words of the user are never changed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/leaving.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const gd_command *const commands[] = {
    &gd_command_train,    &gd_command_sample, &gd_command_interpolate, &gd_command_arithmetic, &gd_command_translate,
    &gd_command_evaluate, &gd_command_export, &gd_command_import,      &gd_command_verify,     &gd_command_checkpoint,
    &gd_command_status,   &gd_command_slurm,  &gd_command_bench,       &gd_command_data,       &gd_command_schema,
};
enum { COMMANDS = sizeof commands / sizeof *commands, WORDS_MAX = 6000, AHEAD = 1 << 20 };

static void require(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "options: %s\n", what);
    abort();
}

/* Room for all values of a command, exactly, so that one too far is noticed. */
static size_t room_of(const gd_command *c) {
    static const size_t bytes[] = {[GD_OPT_FLAG] = sizeof(bool),
                                   [GD_OPT_TEXT] = sizeof(char *),
                                   [GD_OPT_INT] = sizeof(int64_t),
                                   [GD_OPT_TEXTS] = sizeof(gd_text_list)};
    size_t room = 1;
    for (int i = 0; i < c->option_count; i++) {
        size_t end = c->options[i].offset + bytes[c->options[i].type];
        if (end > room) room = end;
    }
    require(room < AHEAD, "an option table with an odd offset");
    return room;
}

/* --help prints; what it prints is a test's of its own. */
static bool is_help(const char *word) { return !strcmp(word, "--help") || !strcmp(word, "-h"); }

static int split(char *text, size_t size, char **words) {
    int n = 0;
    for (char *at = text, *end = text + size; at < end && n < WORDS_MAX; at += strlen(at) + 1) {
        char *line = memchr(at, '\n', (size_t)(end - at));
        if (line) *line = '\0';
        if (!is_help(at)) words[n++] = at;
    }
    return n;
}

static const gd_command *pick(const char *name) {
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return commands[strlen(name) % COMMANDS];
}

static void check_values(const gd_command *c, const char *values, const char *text, const char *end) {
    for (int i = 0; i < c->option_count; i++) {
        const gd_option *o = &c->options[i];
        const char *word = NULL;
        if (o->type == GD_OPT_TEXT) memcpy(&word, values + o->offset, sizeof word);
        if (!word) continue;
        require(word >= text && word <= end, "a value that is no word of the command line");
        int64_t seconds = 0;
        gd_status st = gd_duration_parse("--time", word, &seconds);
        require(st == GD_OK ? seconds >= 0 : st == GD_USAGE || st == GD_CONFIG, "a duration that is no duration");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1), *before = malloc(size + 1), **words = calloc(WORDS_MAX, sizeof *words);
    gd_text_list *args = calloc(1, sizeof *args);
    require(text && before && words && args, "out of memory");
    memcpy(text, data, size);
    text[size] = '\0';
    int n = split(text, size, words);
    memcpy(before, text, size + 1);
    const gd_command *c = pick(n ? words[0] : "");
    char *values = calloc(1, room_of(c));
    bool helped = false;
    require(values != NULL, "out of memory");
    gd_status st = gd_options_parse(c, n ? n - 1 : 0, words + 1, values, args, &helped);
    require(!helped, "help that nobody asked for");
    if (st == GD_OK) {
        require(args->count >= c->min_args && args->count <= c->max_args, "another number of arguments");
        check_values(c, values, text, text + size);
    } else {
        require(st == GD_USAGE && *gd_error_message(), gd_status_name(st));
    }
    require(!memcmp(text, before, size + 1), "the command line was changed");
    free(values);
    free(args);
    free(words);
    free(before);
    free(text);
    return 0;
}
