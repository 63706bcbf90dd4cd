/* dist/stack.h -- the stack of the thread that trains, taken by another thread. Folder-internal. */
#ifndef GANDIST_DIST_STACK_H
#define GANDIST_DIST_STACK_H

#include <stdbool.h>
#include <stddef.h>

/* By the thread whose stack will be wanted; uses SIGURG. */
void gd__stack_prepare(void);
void gd__stack_forget(void); /* the signal is what it was before */
/* By another thread: asks and waits at most `seconds`. A frame a line, innermost first. false: no answer (the thread is in
 * a system call that no signal ends). Takes no lock that the other thread may hold, but the loader's. */
bool gd__stack_take(double seconds, char *out, size_t room);

#endif
