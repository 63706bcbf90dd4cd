/* gandist schema: every recipe key, for people or as JSON Schema for editors. */
#include <stdio.h>
#include <stdlib.h>

#include "launch/commands.h"
#include "recipes/recipe.h"

typedef struct schema_options {
    bool json, markdown;
} schema_options;

static const gd_option table[] = {
    {"json", GD_OPT_FLAG, offsetof(schema_options, json), NULL, "as JSON Schema"},
    {"markdown", GD_OPT_FLAG, offsetof(schema_options, markdown), NULL, "as docs/recipe.md"},
};

static gd_status run(int argc, char **argv) {
    schema_options o = {0};
    gd_text_list args;
    bool helped;
    char *text;
    GD_TRY(gd_options_parse(&gd_command_schema, argc, argv, &o, &args, &helped));
    if (helped) return GD_OK;
    GD_TRY((o.json ? gd_schema_json : o.markdown ? gd_schema_markdown : gd_schema_text)(&text));
    fputs(text, stdout);
    free(text);
    return GD_OK;
}

const gd_command gd_command_schema = {
    .name = "schema",
    .summary = "lists every recipe key with type, default and meaning",
    .usage = "[--json | --markdown]",
    .example = "gandist schema --json > recipe.schema.json",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .min_args = 0,
    .max_args = 0,
    .run = run,
};
