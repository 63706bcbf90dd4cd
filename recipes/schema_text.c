/* The schema for people: the Markdown of docs/recipe.md, and plain text for the terminal. */
#include <string.h>

#include "recipes/reading.h"

static const char *type_text(const gd__key *k) {
    switch (k->type) {
    case GD__TEXT: return "text";
    case GD__CHOICE: return "word";
    case GD__INT: return "integer";
    case GD__FLOAT: return "number";
    case GD__BOOL: return "true or false";
    case GD__FLOATS: return "list of numbers";
    case GD__LAYERS: return "list of layers";
    }
    return "";
}

/* "one of a, b", "integer in [1, 64]". */
static void put_allowed(gd__out *out, const gd__key *k) {
    char range[96];
    gd__range_text(k, false, range, sizeof range);
    if (k->type != GD__CHOICE) gd__put(out, "%s%s%s", type_text(k), *range ? " " : "", range);
    for (int i = 0; k->choices && k->choices[i]; i++) gd__put(out, "%s%s", i ? ", " : "", k->choices[i]);
}

static const char *default_text(const gd__key *k) {
    return k->fallback ? k->fallback : k->flags & GD__REQUIRED ? "required" : "null";
}

/* "Only with `loss.kind` wasserstein.", "Not with ...". */
static void put_needs(gd__out *out, const gd__key *k, const char *quote) {
    if (!k->needs) return;
    size_t n = strcspn(k->needs, "=!");
    gd__put(out, " %s with %s%.*s%s ", k->needs[n] == '=' ? "Only" : "Not", quote, (int)n, k->needs, quote);
    for (const char *s = k->needs + n + 1; *s; s++) {
        if (*s == ' ') gd__put(out, " or ");
        else gd__put(out, "%c", *s);
    }
    gd__put(out, ".");
}

/* The section right above a key; "" at the top. */
static size_t section_bytes(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static const gd__section *section_at(const char *name) {
    size_t n = section_bytes(name);
    for (int i = 0; i < gd__section_count; i++)
        if (strlen(gd__sections[i].name) == n && !strncmp(gd__sections[i].name, name, n)) return &gd__sections[i];
    return NULL;
}

/* ---- Markdown ---- */

// clang-format off
static const char intro[] =
    "# Recipe keys\n\n"
    "<!-- Made by `gandist schema --markdown` from recipes/schema.c; do not edit by hand. -->\n\n"
    "A recipe is a YAML map. Keys are written nested, or dotted after `--set`:\n\n"
    "```yaml\n"
    "extends: dcgan.yaml        # take every value over from another recipe, then change some\n"
    "optimizer: {g: {lr: 1e-4}} # on the command line: --set optimizer.g.lr=1e-4\n"
    "```\n\n"
    "`extends` names a recipe by its path, seen from the folder of the recipe it stands in. `--set` comes last; its\n"
    "value is YAML too: `--set 'optimizer.g={kind: sgd, lr: 0.1}'`. `gandist RECIPE --print-config` shows every value\n"
    "and where it came from. `gandist: 1` at the top states the format of the recipe and may be left out.\n\n"
    "Not part of a recipe's YAML: anchors, aliases, tags, merge keys, several documents. Numbers are decimal.\n\n"
    "*free* marks keys that do not decide the result: a run may be resumed with other values.\n";
// clang-format on

static void markdown_text(gd__out *out, const char *s) {
    for (; *s; s++) gd__put(out, *s == '|' ? "\\%c" : "%c", *s);
}

static void markdown_row(gd__out *out, const gd__key *k) {
    gd__put(out, "| `%s` | ", k->name);
    put_allowed(out, k);
    gd__put(out, " | %s | ", default_text(k));
    markdown_text(out, k->help);
    gd__put(out, ".");
    put_needs(out, k, "`");
    gd__put(out, "%s |\n", k->flags & GD__FREE ? " *free*" : "");
}

static void markdown_head(gd__out *out, const gd__section *s) {
    if (s) gd__put(out, "\n## `%s`\n\n%s\n\n", s->name, s->help);
    else gd__put(out, "\n## At the top\n\n");
    gd__put(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
}

// clang-format off
static const char layers_help[] =
    "\n## Layers\n\n"
    "`arch: layers` takes the network from a list, input first. The first key of an entry is its kind:\n\n"
    "```yaml\n"
    "discriminator:\n"
    "  arch: layers\n"
    "  layers:\n"
    "    - {conv: 32, kernel: 4, stride: 2, pad: 1, act: leaky}\n"
    "    - {conv: 64, kernel: 4, stride: 2, pad: 1, norm: batch, act: leaky}\n"
    "    - flatten\n"
    "    - {dropout: 0.3}\n"
    "    - {dense: 1}\n"
    "```\n\n"
    "| kind | its value | more keys |\n|---|---|---|\n"
    "| `dense` | units | `norm`, `act`, `slope`, `bias` |\n"
    "| `conv` | output channels | `kernel` (3), `stride` (1), `pad` ((kernel - 1) / 2), `norm`, `act`, `slope`, `bias` |\n"
    "| `deconv` | output channels | `kernel` (4), `stride` (2), `pad` ((kernel - stride) / 2), `norm`, `act`, `slope`, `bias` |\n"
    "| `maxout` | units | `pieces` (5), `bias` |\n"
    "| `upsample`, `avgpool` | factor (2) | |\n"
    "| `flatten` | none | |\n"
    "| `reshape` | [height, width, channels] | |\n"
    "| `act` | none, relu, leaky, tanh, sigmoid | `slope` (0.2) of leaky |\n"
    "| `norm` | none, batch, instance, layer (batch) | |\n"
    "| `dropout` | share that is cleared (0.5) | |\n\n"
    "`bias` is there only where no norm follows, unless it is given.\n";
// clang-format on

gd_status gd_schema_markdown(char **text) {
    gd__out out = {0};
    const gd__section *open = NULL;
    gd__put(&out, "%s", intro);
    for (int i = 0; i < gd__key_count; i++) {
        const gd__section *s = section_at(gd__keys[i].name);
        if (!i || s != open) markdown_head(&out, s);
        open = s;
        markdown_row(&out, &gd__keys[i]);
    }
    gd__put(&out, "%s", layers_help);
    return gd__out_take(&out, text);
}

/* ---- terminal ---- */

gd_status gd_schema_text(char **text) {
    gd__out out = {0};
    const gd__section *open = NULL;
    for (int i = 0; i < gd__key_count; i++) {
        const gd__key *k = &gd__keys[i];
        const gd__section *s = section_at(k->name);
        if (s && s != open) gd__put(&out, "\n%s\n", s->help);
        open = s;
        gd__put(&out, "%-28s ", k->name);
        put_allowed(&out, k);
        gd__put(&out, "; %s%s\n      %s.", k->fallback ? "default " : "", default_text(k), k->help);
        put_needs(&out, k, "");
        gd__put(&out, "\n");
    }
    return gd__out_take(&out, text);
}
