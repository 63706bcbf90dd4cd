/* Text that is no YAML: bytes that are no UTF-8, and libyaml's errors in our words. */
#include <stdint.h>
#include <string.h>

#include "recipes/yaml.h"

/* Length of the UTF-8 sequence at s (n bytes are left), and its code point; 0: not UTF-8. */
static size_t decode(const unsigned char *s, size_t n, uint32_t *code) {
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    size_t bytes = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || bytes > n) return 0;
    uint32_t c = s[0] & (0xFFu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    bool overlong = (bytes == 3 && c < 0x800) || (bytes == 4 && c < 0x10000);
    if (overlong || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
    *code = c;
    return bytes;
}

/* Refused although UTF-8: control characters, and the line breaks that editors do not show as such.
 */
static bool is_control(uint32_t c) {
    return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 ||
           c == 0xFEFF || c == 0xFFFE || c == 0xFFFF;
}

bool gd__yaml_check_text(gd__problems *p, const gd__source *source) {
    const unsigned char *s = (const unsigned char *)source->text;
    gd__place at = {source, 1, 1};
    if (source->bytes >= 2 && ((s[0] == 0xFF && s[1] == 0xFE) || (s[0] == 0xFE && s[1] == 0xFF))) {
        gd__problem(p, (gd__place){source, 1, 1}, "UTF-16 text; save it as UTF-8");
        return false;
    }
    for (size_t i = 0; i < source->bytes;) {
        uint32_t code = 0;
        size_t n = decode(s + i, source->bytes - i, &code);
        if (!n) {
            gd__problem(p, at, "byte 0x%02X at offset %zu is not UTF-8; save the recipe as UTF-8", s[i], i);
            return false;
        }
        if (is_control(code)) {
            gd__problem(p, at, "control character U+%04X at offset %zu; remove it", (unsigned)code, i);
            return false;
        }
        bool end = code == '\n' || (code == '\r' && s[i + 1] != '\n');
        at.line += end;
        at.column = end ? 1 : at.column + 1;
        i += n;
    }
    return true;
}

bool gd__yaml_is_line(const char *text, size_t bytes) {
    for (size_t i = 0, n; i < bytes; i += n) {
        uint32_t code = 0;
        n = decode((const unsigned char *)text + i, bytes - i, &code);
        if (!n || code < 0x20 || is_control(code)) return false;
    }
    return true;
}

/* Column of a tab among the blanks that open the line, 0: none. */
static int indent_tab(gd__place at) {
    at.column = 1;
    const char *s = gd__place_byte(at);
    for (int column = 1; s && (*s == ' ' || *s == '\t'); s++, column++)
        if (*s == '\t') return column;
    return 0;
}

/* Whether the bracket at s is closed by its partner. Quotes and comments hide brackets. */
static bool bracket_closes(const char *s) {
    char open[GD__DEPTH_MAX];
    int depth = 0;
    for (char quote = 0; *s; s++) {
        if (quote) {
            if (*s == '\\' && quote == '"' && s[1]) s++;
            else if (*s == quote) quote = 0;
        } else if (*s == '"' || *s == '\'') {
            quote = *s;
        } else if (*s == '#' && (s[-1] == ' ' || s[-1] == '\n')) {
            while (s[1] && s[1] != '\n') s++;
        } else if (*s == '[' || *s == '{') {
            if (depth == GD__DEPTH_MAX) return false;
            open[depth++] = *s;
        } else if (*s == ']' || *s == '}') {
            if (open[--depth] != (*s == ']' ? '[' : '{')) return false;
            if (!depth) return true;
        }
    }
    return false;
}

static void explain_flow(gd__problems *p, const gd__syntax_error *e) {
    const char *open = gd__place_byte(e->context_at), *at = gd__place_byte(e->problem_at);
    if (!open || (*open != '[' && *open != '{')) {
        gd__problem(p, e->problem_at, "%s", e->problem);
        return;
    }
    char close = *open == '[' ? ']' : '}';
    if (!bracket_closes(open)) gd__problem(p, e->context_at, "'%c' opened here is never closed", *open);
    else if (at && *at && *at != '\n') gd__problem(p, e->problem_at, "expected ',' or '%c' before '%c'", close, *at);
    else gd__problem(p, e->problem_at, "expected ',' or '%c'", close);
}

/* Errors of libyaml in our words. At `context`: the place where the construct began says more. */
static const struct {
    const char *problem, *text;
    bool at_context;
} words[] = {
    {"could not find expected ':'", "expected ':' behind this key", true},
    {"mapping values are not allowed in this context",
     "a ':' cannot stand here; check the indentation of this line and the one above, or quote the "
     "text",
     false},
    {"mapping keys are not allowed in this context", "a key cannot stand here; check the indentation", false},
    {"block sequence entries are not allowed in this context",
     "a list entry cannot stand here; start it on a line of its own", false},
    {"did not find expected key", "expected a key here; check the indentation", false},
    {"did not find expected '-' indicator", "expected '- ' here, as in the list above; check the indentation", false},
    {"did not find expected node content", "expected a value here", false},
    {"did not find expected <document start>", "expected the end of the recipe here; check the indentation", false},
    {"did not find expected alphabetic or numeric character",
     "anchors and aliases are not supported; put the text in quotes", false},
    {"found unexpected end of stream", "the quote opened here is never closed", true},
    {"found unexpected document indicator", "the quote opened here is never closed", true},
    {"found unknown escape character", "unknown escape after '\\'; use single quotes to keep a '\\'", false},
};

void gd__yaml_explain(gd__problems *p, const gd__syntax_error *e) {
    const char *problem = e->problem ? e->problem : "not YAML";
    bool flow = e->context && strstr(e->context, "flow");
    gd__place tab = e->problem_at;
    if (!flow && (tab.column = indent_tab(tab))) {
        gd__problem(p, tab, "tab used for indentation; use spaces");
        return;
    }
    if (flow && strstr(problem, "did not find expected ','")) {
        explain_flow(p, e);
        return;
    }
    if (!strcmp(problem, "found character that cannot start any token")) {
        const char *s = gd__place_byte(e->problem_at);
        gd__problem(p, e->problem_at, "a value cannot start with '%c'; put it in quotes", s && *s ? *s : '?');
        return;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(problem, words[i].problem)) {
            gd__problem(p, words[i].at_context && e->context ? e->context_at : e->problem_at, "%s", words[i].text);
            return;
        }
    gd__problem(p, e->problem_at, "%s", problem);
}
