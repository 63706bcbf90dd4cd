#include "launch/options.h"

#include <string.h>

#include "base/text.h"

static const gd_option *find(const gd_command *c, const char *name, size_t length) {
    for (int i = 0; i < c->option_count; i++)
        if (strlen(c->options[i].name) == length && !memcmp(c->options[i].name, name, length)) return &c->options[i];
    return NULL;
}

static gd_status unknown(const gd_command *c, const char *name) {
    const char *names[GD_LIST_MAX];
    int n = 0;
    for (; n < c->option_count && n < GD_LIST_MAX; n++) names[n] = c->options[n].name;
    const char *near = gd_nearest(name, names, (size_t)n);
    GD_FAIL(USAGE, "gandist %s: unknown option '--%s'%s%s%s; 'gandist %s --help' lists all", c->name, name,
            near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "", c->name);
}

static gd_status store(const gd_command *c, const gd_option *o, const char *value, void *values) {
    char *field = (char *)values + o->offset;
    switch (o->type) {
    case GD_OPT_FLAG: *(bool *)field = true; return GD_OK;
    case GD_OPT_TEXT: *(const char **)field = value; return GD_OK;
    case GD_OPT_INT:
        if (!gd_parse_i64(value, (int64_t *)field, NULL))
            GD_FAIL(USAGE, "gandist %s: --%s wants an integer, got '%s'", c->name, o->name, value);
        return GD_OK;
    case GD_OPT_TEXTS: {
        gd_text_list *l = (gd_text_list *)field;
        if (l->count == GD_LIST_MAX)
            GD_FAIL(USAGE, "gandist %s: --%s given more than %d times", c->name, o->name, GD_LIST_MAX);
        l->item[l->count++] = value;
        return GD_OK;
    }
    }
    GD_FAIL(INTERNAL, "option --%s has no type", o->name);
}

/* One "--name", "--name=value" or "--name value"; advances *i over a separate value. */
static gd_status parse_long(const gd_command *c, int argc, char **argv, int *i, void *values) {
    const char *name = argv[*i] + 2, *eq = strchr(name, '=');
    size_t length = eq ? (size_t)(eq - name) : strlen(name);
    const gd_option *o = find(c, name, length);
    if (!o) {
        char plain[128];
        snprintf(plain, sizeof plain, "%.*s", (int)length, name);
        return unknown(c, plain);
    }
    if (o->type == GD_OPT_FLAG) {
        if (eq) GD_FAIL(USAGE, "gandist %s: --%s takes no value", c->name, o->name);
        return store(c, o, NULL, values);
    }
    if (eq) return store(c, o, eq + 1, values);
    if (*i + 1 >= argc) GD_FAIL(USAGE, "gandist %s: --%s needs %s", c->name, o->name, o->arg);
    return store(c, o, argv[++*i], values);
}

gd_status gd_options_parse(const gd_command *c, int argc, char **argv, void *values, gd_text_list *args, bool *helped) {
    bool only_args = false;
    args->count = 0;
    *helped = false;
    for (int i = 0; i < argc; i++) {
        if (only_args || argv[i][0] != '-' || !argv[i][1]) {
            if (args->count == GD_LIST_MAX) GD_FAIL(USAGE, "gandist %s: too many arguments", c->name);
            args->item[args->count++] = argv[i];
        } else if (!strcmp(argv[i], "--")) {
            only_args = true;
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            gd_options_help(c, stdout);
            *helped = true;
            return GD_OK;
        } else if (argv[i][1] == '-') {
            GD_TRY(parse_long(c, argc, argv, &i, values));
        } else {
            GD_FAIL(USAGE, "gandist %s: unknown option '%s'; options start with two dashes, see 'gandist %s --help'",
                    c->name, argv[i], c->name);
        }
    }
    if (args->count < c->min_args)
        GD_FAIL(USAGE, "gandist %s: too few arguments; usage: gandist %s %s", c->name, c->name, c->usage);
    if (args->count > c->max_args)
        GD_FAIL(USAGE, "gandist %s: unexpected argument '%s'; usage: gandist %s %s", c->name, args->item[c->max_args],
                c->name, c->usage);
    return GD_OK;
}

void gd_options_help(const gd_command *c, FILE *out) {
    fprintf(out, "usage: gandist %s %s\n\n%s.\n", c->name, c->usage, c->summary);
    if (c->option_count) fputs("\noptions:\n", out);
    for (int i = 0; i < c->option_count; i++) {
        const gd_option *o = &c->options[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        fprintf(out, "  %-26s %s\n", left, o->help);
    }
    fprintf(out, "\nexample:\n  %s\n", c->example);
}
