/* launch/build_id.h -- which build of gandist this process is. */
#ifndef GANDIST_LAUNCH_BUILD_ID_H
#define GANDIST_LAUNCH_BUILD_ID_H

enum { GD_BUILD_ID_ROOM = 41 };
/* The linker's id of this program, as 16 hexadecimal digits; "unknown" where the linker gave none. */
void gd_build_id(char out[GD_BUILD_ID_ROOM]);

#endif
