/* launch/build_id.h -- which build of gandist this process is. */
#ifndef GANDIST_LAUNCH_BUILD_ID_H
#define GANDIST_LAUNCH_BUILD_ID_H

enum { GD_BUILD_ID_ROOM = 41 };
/* The linker's id of this program, as 16 hexadecimal digits; "unknown" where the linker gave none. */
void gd_build_id(char out[GD_BUILD_ID_ROOM]);

/* The libraries whose results training depends on, as this process has loaded them. */
enum { GD_LIBRARIES = 6, GD_LIBRARY_ROOM = 17 };
extern const char *const gd_library_name[GD_LIBRARIES]; /* "libm" */
/* The linker's id of each, as above; "none": it is not loaded, or has no id. */
void gd_library_ids(char out[GD_LIBRARIES][GD_LIBRARY_ROOM]);

#endif
