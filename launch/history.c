#include "launch/history.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dist/events.h"

enum { IN_SIGHT = 256 << 10 /* bytes */ };

static void copy(const json_t *o, const char *key, char *out, size_t room) {
    const char *text = json_string_value(json_object_get(o, key));
    snprintf(out, room, "%s", text ? text : "");
}

static void take_start(const json_t *o, gd_history *h) {
    h->begun = true;
    h->ended = false;
    h->reason[0] = h->said[0] = '\0';
    h->exit_code = 0;
    h->until = json_integer_value(json_object_get(o, "until"));
    h->ranks = json_integer_value(json_object_get(o, "ranks"));
    copy(o, "hosts", h->hosts, sizeof h->hosts);
}

static void take_stop(const json_t *o, gd_history *h) {
    h->ended = true;
    copy(o, "reason", h->reason, sizeof h->reason);
    copy(o, "said", h->said, sizeof h->said);
    h->exit_code = json_integer_value(json_object_get(o, "exit"));
}

static gd_status show(gd_history *h, const char *line) {
    char *mine = strdup(line);
    if (!mine) GD_FAIL(NOMEM, "events: no memory");
    if (h->n_shown == GD_HISTORY_SHOWN) {
        free(h->shown[0]);
        memmove(h->shown, h->shown + 1, (GD_HISTORY_SHOWN - 1) * sizeof *h->shown);
        h->n_shown--;
    }
    h->shown[h->n_shown++] = mine;
    return GD_OK;
}

static gd_status take(const char *line, gd_history *h) {
    json_t *o = json_loads(line, 0, NULL);
    const char *kind = json_string_value(json_object_get(o, "event"));
    gd_status st = kind ? show(h, line) : GD_OK;
    if (kind && (!strcmp(kind, "start") || !strcmp(kind, "restart"))) take_start(o, h);
    else if (kind && !strcmp(kind, "stop")) take_stop(o, h);
    else if (kind && !strcmp(kind, "save"))
        h->longest_save = fmax(h->longest_save, json_number_value(json_object_get(o, "seconds")));
    json_decref(o);
    return st;
}

gd_status gd_history_read(const char *folder, gd_history *out) {
    char path[4096], *text = NULL, *rest = NULL;
    *out = (gd_history){.begun = false};
    if (snprintf(path, sizeof path, "%s/events.jsonl", folder) >= (int)sizeof path)
        GD_FAIL(NOINPUT, "%.64s...: the path is too long", folder);
    GD_TRY(gd_lines_tail(path, IN_SIGHT, &text));
    gd_status st = GD_OK;
    for (char *line = strtok_r(text, "\n", &rest); line && st == GD_OK; line = strtok_r(NULL, "\n", &rest))
        st = take(line, out);
    free(text);
    return st;
}

void gd_history_free(gd_history *h) {
    for (int i = 0; i < h->n_shown; i++) free(h->shown[i]);
    *h = (gd_history){.begun = false};
}
