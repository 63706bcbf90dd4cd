#include "launch/version.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/io.h"
#include "compute/cpu/dnnl_shim.h"
#include "launch/build_id.h"

#ifndef GANDIST_VERSION
#error "GANDIST_VERSION comes from the build system"
#endif

void gd_version_print(FILE *out) {
    char onednn[32], build[GD_BUILD_ID_ROOM];
    gd_dnnl_version(onednn, sizeof onednn);
    gd_build_id(build);
    fprintf(out, "gandist %s (%s, %s, build %s)\noneDNN %s, %s\n", GANDIST_VERSION, GANDIST_BUILD_TYPE,
            GANDIST_COMPILER, build, onednn, GANDIST_MPI_LIBRARY);
}

gd_status gd_version_write(const char *path, const gd_comm *c, const gd_layout *l) {
    struct utsname host;
    char onednn[32], build[GD_BUILD_ID_ROOM];
    gd_dnnl_version(onednn, sizeof onednn);
    gd_build_id(build);
    uname(&host);
    json_t *o = json_pack("{s:s s:s s:s s:s s:s s:s s:s s:s s:i s:i s:s s:i s:f s:I}", "gandist", GANDIST_VERSION,
                          "build_id", build, "build", GANDIST_BUILD_TYPE, "compiler", GANDIST_COMPILER, "onednn",
                          onednn, "mpi", GANDIST_MPI_LIBRARY, "host", host.nodename, "kernel", host.release, "ranks",
                          gd_comm_size(c), "hosts", gd_comm_hosts(c), "communicator", gd_comm_name(c),
                          "threads_per_rank", l->threads, "cores_per_rank", l->share, "pid", (json_int_t)getpid());
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    json_decref(o);
    if (!text) GD_FAIL(NOMEM, "%s: out of memory", path);
    gd_status st = gd_file_write(path, text, strlen(text));
    free(text);
    return st;
}
