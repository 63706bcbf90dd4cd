#include "launch/hang.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/status.h"
#include "dist/events.h"

enum { LAST_WORDS_S = 3 };

static void leave(int sig) {
    (void)sig;
    _exit(gd_status_exit_code(GD_TIMEOUT));
}

/* Whatever blocks from here on (a pipe that nobody reads, a file system, the MPI library) blocks for a moment only. */
static void leave_in_time(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = leave;
    sigaction(SIGALRM, &sa, NULL);
    alarm(LAST_WORDS_S);
}

/* In the run folder, whichever rank this is: rank 0 may be the one that hangs. */
static void note(const gd_hang *h, const char *text) {
    char first[1024];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(text, "\n"), text);
    gd_event_field field[] = {GD_EVENT_TEXT("reason", "hang"), GD_EVENT_NUMBER("exit", gd_status_exit_code(GD_TIMEOUT)),
                              GD_EVENT_TEXT("said", first)};
    if (gd_file_append(h->log, text, strlen(text)) != GD_OK || gd_file_append(h->log, "\n", 1) != GD_OK)
        gd_error_clear();
    if (gd_events_add(h->events, &(gd_event){"stop", -1, field, 3}) != GD_OK) gd_error_clear();
}

static void tell(void *ctx, bool hang, const char *text) {
    const gd_hang *h = ctx;
    if (!hang) {
        dprintf(STDERR_FILENO, "warn dist: %s\n", text);
        return;
    }
    leave_in_time();
    dprintf(STDERR_FILENO, "gandist: %s\n", text);
    note(h, text);
    gd_comm_abort(h->comm, gd_status_exit_code(GD_TIMEOUT));
}

gd_status gd_hang_begin(gd_hang *h, gd_comm *c, const gd_recipe *r, const char *folder) {
    h->comm = c;
    snprintf(h->heartbeat, sizeof h->heartbeat, "%s/heartbeat", folder);
    snprintf(h->events, sizeof h->events, "%s/events.jsonl", folder);
    snprintf(h->log, sizeof h->log, "%s/log.txt", folder);
    gd_watchdog_spec s = {.limit = r->watchdog.limit,
                          .patience = r->watchdog.patience,
                          .factor = r->watchdog.factor,
                          .folder = h->heartbeat,
                          .tell = tell,
                          .ctx = h};
    return gd_watchdog_start(c, &s, &h->dog);
}

void gd_hang_end(gd_hang *h) {
    gd_watchdog_stop(h->dog);
    h->dog = NULL;
}
