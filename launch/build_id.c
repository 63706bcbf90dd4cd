#include "launch/build_id.h"

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 16 };

/* Looks through the notes of a segment; 0: not there. */
static int take_id(const char *at, size_t bytes, char *out) {
    while (bytes >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        size_t name = (note.n_namesz + 3u) & ~3u, what = (note.n_descsz + 3u) & ~3u, whole = sizeof note + name + what;
        if (whole > bytes) return 0;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(at + sizeof note, "GNU", 4)) {
            const unsigned char *id = (const unsigned char *)at + sizeof note + name;
            for (unsigned i = 0; i < note.n_descsz && i < DIGITS / 2; i++)
                snprintf(out + (size_t)2 * i, 3, "%02x", id[i]);
            return 1;
        }
        at += whole;
        bytes -= whole;
    }
    return 0;
}

static int take_object(const struct dl_phdr_info *info, char *out) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE && take_id((const char *)(info->dlpi_addr + p->p_vaddr), p->p_memsz, out)) return 1;
    }
    return 0;
}

/* The first object is the program itself. */
static int look(struct dl_phdr_info *info, size_t size, void *out) {
    (void)size;
    take_object(info, out);
    return 1;
}

void gd_build_id(char out[GD_BUILD_ID_ROOM]) {
    snprintf(out, GD_BUILD_ID_ROOM, "unknown");
    dl_iterate_phdr(look, out);
}

/* Arithmetic, threads that divide sums, decoders of images, messages. */
const char *const gd_library_name[GD_LIBRARIES] = {"libdnnl", "libm", "libgomp", "libmpi", "libpng16", "libturbojpeg"};

static int look_at_library(struct dl_phdr_info *info, size_t size, void *out) {
    char(*id)[GD_LIBRARY_ROOM] = out;
    const char *slash = strrchr(info->dlpi_name, '/'), *name = slash ? slash + 1 : info->dlpi_name;
    (void)size;
    for (int i = 0; i < GD_LIBRARIES; i++) {
        size_t n = strlen(gd_library_name[i]);
        if (!strncmp(name, gd_library_name[i], n) && !strncmp(name + n, ".so", 3)) take_object(info, id[i]);
    }
    return 0;
}

void gd_library_ids(char out[GD_LIBRARIES][GD_LIBRARY_ROOM]) {
    for (int i = 0; i < GD_LIBRARIES; i++) snprintf(out[i], GD_LIBRARY_ROOM, "none");
    dl_iterate_phdr(look_at_library, out);
}
