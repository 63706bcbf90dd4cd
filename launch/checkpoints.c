#include "launch/checkpoints.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/io.h"

static double age_of(const char *path) {
    char manifest[4096];
    struct stat st;
    struct timespec now;
    if (snprintf(manifest, sizeof manifest, "%s/manifest.json", path) >= (int)sizeof manifest ||
        gd_io_get()->stat(manifest, &st) != 0)
        return -1;
    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)(now.tv_sec - st.st_mtim.tv_sec);
    return age < 0 ? 0 : age;
}

void gd_checkpoint_look(const char *path, bool deep, gd_finding *out) {
    *out = (gd_finding){.path = path, .deep = deep, .age_s = age_of(path)};
    out->st = gd_checkpoint_verify(path, deep ? GD_VERIFY_DEEP : GD_VERIFY_QUICK, &out->report);
    if (out->st != GD_OK) snprintf(out->reason, sizeof out->reason, "%s", gd_error_message());
    else if (deep && !out->report.finite)
        snprintf(out->reason, sizeof out->reason, "%s: holds values that are not finite", path);
}

const char *gd_finding_state(const gd_finding *f) {
    switch (f->st) {
    case GD_OK: return f->deep && !f->report.finite ? "not-finite" : "ok";
    case GD_DATA: return "damaged";
    case GD_NOINPUT: return "incomplete";
    default: return "unreadable";
    }
}

gd_status gd_finding_verdict(const gd_finding *f) {
    if (!f->reason[0]) return GD_OK;
    return gd_raise(f->st == GD_OK ? GD_NUMERIC : f->st, __FILE__, __LINE__, "%s", f->reason);
}

/* Names of files may be any bytes; JSON is UTF-8. */
static json_t *text(const char *s) {
    json_t *t = json_string(s);
    if (t) return t;
    char *plain = strdup(s);
    for (char *p = plain; p && *p; p++)
        if (*p & 0x80) *p = '?';
    t = plain ? json_string(plain) : NULL;
    free(plain);
    return t;
}

gd_status gd_finding_print_json(const gd_finding *f, FILE *out) {
    char hash[17];
    json_t *o = json_object();
    int bad = json_object_set_new(o, "path", text(f->path));
    bad |= json_object_set_new(o, "state", json_string(gd_finding_state(f)));
    bad |= json_object_set_new(o, "depth", json_string(f->deep ? "deep" : "quick"));
    if (f->age_s >= 0) bad |= json_object_set_new(o, "age_s", json_integer((json_int_t)f->age_s));
    if (f->st == GD_OK) {
        bad |= json_object_set_new(o, "step", json_integer(f->report.step));
        bad |= json_object_set_new(o, "files", json_integer(f->report.files));
        bad |= json_object_set_new(o, "tensors", json_integer(f->report.tensors));
        bad |= json_object_set_new(o, "bytes", json_integer((json_int_t)f->report.bytes));
        gd_hash64_text(f->report.state_hash, hash);
        bad |= json_object_set_new(o, "state_hash", f->deep ? json_string(hash) : json_null());
        bad |= json_object_set_new(o, "finite", f->deep ? json_boolean(f->report.finite) : json_null());
    }
    if (f->reason[0]) bad |= json_object_set_new(o, "reason", text(f->reason));
    char *line = bad ? NULL : json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (!line) GD_FAIL(NOMEM, "a line of JSON");
    fprintf(out, "%s\n", line);
    free(line);
    return GD_OK;
}

gd_status gd_checkpoints_of(const char *path, char *out, size_t room) {
    if (!gd_path_exists(path)) GD_FAIL(NOINPUT, "%s: no such run folder", path);
    if (!gd_path_is_dir(path)) GD_FAIL(NOINPUT, "%s: is no folder; expected a run folder such as runs/dcgan", path);
    if (snprintf(out, room, "%s/checkpoints", path) >= (int)room)
        GD_FAIL(NOINPUT, "%.64s...: the path is too long", path);
    if (!gd_path_is_dir(out)) snprintf(out, room, "%s", path);
    return GD_OK;
}
