/* data/tar_read.c -- walks over the headers of a tar archive. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "data/tar.h"

/* Fields of a header block. */
enum {
    NAME_AT = 0,
    NAME_LEN = 100,
    SIZE_AT = 124,
    SIZE_LEN = 12,
    SUM_AT = 148,
    SUM_LEN = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX_AT = 345,
    PREFIX_LEN = 155,
    PAX_MAX = 1 << 20 /* bytes of pax records of one member */
};

/* What the headers before a member's own say about it. */
typedef struct ahead {
    bool any, has_size, sparse;
    uint64_t size;
    char name[GD__TAR_NAME_MAX + 1]; /* empty: none */
} ahead;

#define COPY_AGAIN "expected a whole tar archive; copy or make it again"

gd_status gd__tar_open(const char *path, gd__tar *t) {
    uint8_t start[2];
    gd_status st;
    *t = (gd__tar){.path = path};
    GD_TRY(gd_file_open(path, &t->fd, &t->size));
    if (t->size < GD__TAR_BLOCK) GD_FAIL_TO(fail, DATA, "%s: %" PRIu64 " bytes; " COPY_AGAIN, path, t->size);
    GD_TRY_TO(fail, gd_file_pread(t->fd, path, start, sizeof start, 0));
    if (start[0] == 0x1F && start[1] == 0x8B)
        GD_FAIL_TO(fail, DATA,
                   "%s: gzip data; expected a plain tar, because samples are read where they lie; run gunzip (pictures "
                   "hardly shrink)",
                   path);
    return GD_OK;
fail:
    gd_io_get()->close(t->fd);
    return st;
}

/* ---- fields ---- */

static bool all_zero(const uint8_t *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (b[i]) return false;
    return true;
}

/* Octal digits with spaces before and a space or NUL behind, or base 256 when the first bit is set. */
static bool parse_number(const uint8_t *b, size_t n, uint64_t *out) {
    uint64_t v = 0;
    if (b[0] & 0x80) {
        if (n <= 8 || b[0] != 0x80 || !all_zero(b + 1, n - 9)) return false; /* negative, or beyond 64 bits */
        for (size_t i = n - 8; i < n; i++) v = v << 8 | b[i];
        *out = v;
        return true;
    }
    size_t i = 0;
    while (i < n && b[i] == ' ') i++;
    const size_t first = i;
    for (; i < n && b[i] >= '0' && b[i] <= '7'; i++) v = v << 3 | (uint64_t)(b[i] - '0');
    if (i == first || (i < n && b[i] != ' ' && b[i] != 0)) return false;
    *out = v;
    return true;
}

/* Some old writers summed signed bytes. */
static bool sum_is_right(const uint8_t b[GD__TAR_BLOCK]) {
    uint64_t want, sum = 0;
    int64_t old = 0;
    if (!parse_number(b + SUM_AT, SUM_LEN, &want)) return false;
    for (int i = 0; i < GD__TAR_BLOCK; i++) {
        const uint8_t v = i >= SUM_AT && i < SUM_AT + SUM_LEN ? ' ' : b[i];
        sum += v;
        old += (int8_t)v;
    }
    return want == sum || (old >= 0 && want == (uint64_t)old);
}

static void header_name(const uint8_t b[GD__TAR_BLOCK], char *out, size_t room) {
    const int name = (int)strnlen((const char *)b + NAME_AT, NAME_LEN);
    const int prefix = (int)strnlen((const char *)b + PREFIX_AT, PREFIX_LEN);
    const bool ustar = !memcmp(b + MAGIC_AT, "ustar\0", 6); /* GNU keeps times where the prefix is */
    if (ustar && prefix)
        snprintf(out, room, "%.*s/%.*s", prefix, (const char *)b + PREFIX_AT, name, (const char *)b + NAME_AT);
    else snprintf(out, room, "%.*s", name, (const char *)b + NAME_AT);
}

/* For messages: what cannot be printed becomes '?'. */
static const char *printable(char *name) {
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
    return name;
}

#define MEMBER_FAIL(t, format, ...)                                                                                    \
    GD_FAIL(DATA, "%s: member %" PRIu64 " '%.200s': " format, (t)->path, (t)->number, printable((t)->name), __VA_ARGS__)

/* ---- pax records: "length key=value\n" ---- */

static gd_status pax_value(gd__tar *t, const char *key, const char *value, size_t n, ahead *a) {
    if (!strncmp(key, "GNU.sparse.", strlen("GNU.sparse."))) a->sparse = true;
    if (!strcmp(key, "path")) {
        if (n > GD__TAR_NAME_MAX || memchr(value, 0, n))
            MEMBER_FAIL(t, "a name of %zu bytes; the limit is %d, without zeros; make the archive again", n,
                        GD__TAR_NAME_MAX);
        snprintf(a->name, sizeof a->name, "%.*s", (int)n, value);
    }
    if (!strcmp(key, "size")) {
        char text[24];
        int64_t size;
        snprintf(text, sizeof text, "%.*s", n < 20 ? (int)n : 20, value);
        if (n > 19 || !gd_parse_i64(text, &size, NULL) || size < 0)
            MEMBER_FAIL(t, "a size of '%s' in its pax record; " COPY_AGAIN, printable(text));
        a->has_size = true;
        a->size = (uint64_t)size;
    }
    return GD_OK;
}

/* One record at text, of at most n bytes; *used: its length. */
static gd_status pax_record(gd__tar *t, char *text, size_t n, size_t *used, ahead *a) {
    size_t length = 0, i = 0;
    for (; i < n && i < 8 && text[i] >= '0' && text[i] <= '9'; i++) length = 10 * length + (size_t)(text[i] - '0');
    char *key = text + i + 1, *equals = NULL;
    if (i && i < n && text[i] == ' ' && length <= n && length > i + 2 && text[length - 1] == '\n')
        equals = memchr(key, '=', length - i - 2);
    if (!equals) MEMBER_FAIL(t, "%s; " COPY_AGAIN, "a damaged pax record");
    *equals = '\0';
    *used = length;
    return pax_value(t, key, equals + 1, (size_t)(text + length - 1 - (equals + 1)), a);
}

static gd_status pax_records(gd__tar *t, char *text, size_t n, ahead *a) {
    for (size_t at = 0; at < n;) {
        size_t used = 0;
        GD_TRY(pax_record(t, text + at, n - at, &used, a));
        at += used;
    }
    return GD_OK;
}

/* ---- members ---- */

/* Content of a header-like member, with a NUL behind. */
static gd_status read_content(gd__tar *t, size_t limit, char **out) {
    if (t->bytes > limit)
        MEMBER_FAIL(t, "%" PRIu64 " bytes of names; the limit is %zu; make the archive again", t->bytes, limit);
    char *text = malloc((size_t)t->bytes + 1);
    if (!text) GD_FAIL(NOMEM, "%s: no memory for a name", t->path);
    gd_status st = gd_file_pread(t->fd, t->path, text, (size_t)t->bytes, t->data);
    if (st != GD_OK) {
        free(text);
        return gd_trace(st, __FILE__, __LINE__);
    }
    text[t->bytes] = '\0';
    *out = text;
    return GD_OK;
}

static gd_status read_pax(gd__tar *t, ahead *a) {
    char *text;
    GD_TRY(read_content(t, PAX_MAX, &text));
    gd_status st = pax_records(t, text, (size_t)t->bytes, a);
    free(text);
    a->any = true;
    return st == GD_OK ? GD_OK : gd_trace(st, __FILE__, __LINE__);
}

/* Records for all members that follow: those that would change a member are refused. */
static gd_status read_global(gd__tar *t) {
    ahead *a = calloc(1, sizeof *a);
    if (!a) GD_FAIL(NOMEM, "%s: no memory for a name", t->path);
    gd_status st = read_pax(t, a);
    const bool changes = a->has_size || a->sparse || a->name[0];
    free(a);
    if (st != GD_OK) return gd_trace(st, __FILE__, __LINE__);
    if (changes) MEMBER_FAIL(t, "%s; make the archive again", "a global pax record that names or sizes all members");
    return GD_OK;
}

static gd_status read_long_name(gd__tar *t, ahead *a) {
    char *text;
    GD_TRY(read_content(t, GD__TAR_NAME_MAX, &text));
    snprintf(a->name, sizeof a->name, "%s", text);
    a->any = true;
    free(text);
    return GD_OK;
}

static const char *refused_kind(char type) {
    switch (type) {
    case '1': return "a hard link";
    case '2': return "a symbolic link";
    case '3':
    case '4': return "a device";
    case '6': return "a FIFO (named pipe)";
    case 'S': return "a sparse file";
    default: return NULL;
    }
}

static bool leaves_folder(const char *name) {
    if (name[0] == '/') return true;
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2])) return true;
    }
    return false;
}

/* The name, size and kind that count, from the member's own header and what came before it. */
static gd_status check_member(gd__tar *t, char type, const ahead *a) {
    if (a->name[0]) memcpy(t->name, a->name, sizeof t->name);
    const char *kind = a->sparse ? refused_kind('S') : refused_kind(type);
    if (kind) MEMBER_FAIL(t, "is %s; expected regular files; make the archive again without", kind);
    const size_t n = strlen(t->name);
    t->folder = type == '5' || (type == 0 && n && t->name[n - 1] == '/');
    if (type != '0' && type != 0 && type != '7' && !t->folder)
        MEMBER_FAIL(t, "is of type %02X; expected a regular file; make the archive again without",
                    (unsigned)(uint8_t)type);
    for (const char *c = t->name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            MEMBER_FAIL(t, "a name with control characters (%02X); rename it", (unsigned)*c);
    if (leaves_folder(t->name))
        MEMBER_FAIL(t, "%s; expected names below the archive; make it again", "a name that leaves its folder");
    size_t skip = 0; /* as `tar -c .` writes them */
    while (!strncmp(t->name + skip, "./", 2)) skip += 2;
    memmove(t->name, t->name + skip, n + 1 - skip);
    if (!t->name[0] && !t->folder) MEMBER_FAIL(t, "%s; make the archive again", "has no name");
    return GD_OK;
}

/* Archives that were put one behind the other would be read in part only. */
static gd_status check_end(gd__tar *t) {
    uint8_t block[8192];
    for (uint64_t at = t->at; at < t->size;) {
        const size_t n = t->size - at < sizeof block ? (size_t)(t->size - at) : sizeof block;
        GD_TRY(gd_file_pread(t->fd, t->path, block, n, at));
        if (!all_zero(block, n))
            GD_FAIL(DATA,
                    "%s: data behind its end marker (member %" PRIu64
                    " was the last); expected one archive; make it again",
                    t->path, t->number);
        at += n;
    }
    return GD_OK;
}

/* One header block into t; *type: 0 also for old archives. */
static gd_status read_header(gd__tar *t, const ahead *a, char *type, bool *end) {
    uint8_t b[GD__TAR_BLOCK];
    if (t->size - t->at < sizeof b)
        GD_FAIL(DATA, "%s: ends behind member %" PRIu64 " without its end marker; " COPY_AGAIN, t->path, t->number);
    GD_TRY(gd_file_pread(t->fd, t->path, b, sizeof b, t->at));
    *end = all_zero(b, sizeof b);
    if (*end) return check_end(t);
    t->number++;
    header_name(b, t->name, sizeof t->name);
    if (!sum_is_right(b))
        GD_FAIL(DATA, "%s: the header of member %" PRIu64 " (at byte %" PRIu64 ") has a wrong checksum; " COPY_AGAIN,
                t->path, t->number, t->at);
    *type = (char)b[TYPE_AT];
    const bool own = *type != 'x' && *type != 'g' && *type != 'L' && *type != 'K';
    if (own && a->has_size) t->bytes = a->size;
    else if (!parse_number(b + SIZE_AT, SIZE_LEN, &t->bytes))
        MEMBER_FAIL(t, "its %s is no number of bytes; " COPY_AGAIN, "size");
    if (own && a->name[0]) memcpy(t->name, a->name, sizeof t->name); /* for messages */
    t->data = t->at + GD__TAR_BLOCK;
    const uint64_t left = t->size - t->data;
    if (t->bytes > left || (t->bytes + GD__TAR_BLOCK - 1) / GD__TAR_BLOCK * GD__TAR_BLOCK > left)
        MEMBER_FAIL(t, "%" PRIu64 " bytes, but the archive ends after %" PRIu64 "; " COPY_AGAIN, t->bytes, left);
    t->at = t->data + (t->bytes + GD__TAR_BLOCK - 1) / GD__TAR_BLOCK * GD__TAR_BLOCK;
    return GD_OK;
}

static gd_status next_member(gd__tar *t, ahead *a, bool *end) {
    for (;;) {
        char type = 0;
        GD_TRY(read_header(t, a, &type, end));
        if (*end && a->any) GD_FAIL(DATA, "%s: ends behind the long name of a member; " COPY_AGAIN, t->path);
        if (*end) return GD_OK;
        switch (type) {
        case 'x': GD_TRY(read_pax(t, a)); break;
        case 'g': GD_TRY(read_global(t)); break;
        case 'L': GD_TRY(read_long_name(t, a)); break;
        case 'K':        /* the target of a link, which is refused when it comes */
        case 'V': break; /* the name of the volume */
        default: return check_member(t, type, a);
        }
    }
}

gd_status gd__tar_next(gd__tar *t, bool *end) {
    ahead a = {.any = false};
    GD_TRY(next_member(t, &a, end));
    return GD_OK;
}

/* ---- writing ---- */

void gd__tar_header(const char *name, char type, uint64_t bytes, uint8_t out[GD__TAR_BLOCK]) {
    char text[24];
    unsigned sum = 0;
    memset(out, 0, GD__TAR_BLOCK);
    memcpy(out + NAME_AT, name, strnlen(name, NAME_LEN));
    memcpy(out + 100,
           "0000644\0"
           "0000000\0"
           "0000000",
           24); /* mode, owner, group */
    snprintf(text, sizeof text, "%011" PRIo64, bytes);
    memcpy(out + SIZE_AT, text, 11);
    memcpy(out + 136, "00000000000", 11); /* time: the same pictures give the same archive */
    out[TYPE_AT] = (uint8_t)type;
    memcpy(out + MAGIC_AT,
           type == 'L' ? "ustar  "
                       : "ustar\0"
                         "00",
           8);
    memset(out + SUM_AT, ' ', SUM_LEN);
    for (int i = 0; i < GD__TAR_BLOCK; i++) sum += out[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(out + SUM_AT, text, 7);
}
