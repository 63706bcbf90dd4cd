/* launch/waits.h -- how threads of one rank wait for each other: they spin for some microseconds and then sleep.
 *
 * By default libgomp lets a thread that has nothing to do spin for milliseconds. When another process wants the core,
 * the thread that everybody waits for is then kept from it: steps take ten times as long (docs/performance.md). */
#ifndef GANDIST_LAUNCH_WAITS_H
#define GANDIST_LAUNCH_WAITS_H

#include <stdbool.h>

/* First thing in main. The library reads its settings before main: unless the user has set one (OMP_WAIT_POLICY,
 * GOMP_SPINCOUNT), the program starts itself once more with GOMP_SPINCOUNT, as the same process; the signals of
 * gd_session_watch_signals are blocked from here on. Where that is not possible nothing changes. */
void gd_waits_begin(char **argv);
/* The user's settings let waiting threads keep their cores. */
bool gd_waits_spin(void);

#endif
