#include "launch/waits.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"
#include "launch/session.h"

/* Turns of a loop with a pause instruction, some 20 to 50 us: a team that finds its threads awake is started five times
 * faster, and nobody is kept from a core for long. */
#define SPINS "1000"
enum { SPINS_MANY = 20000 };

void gd_waits_begin(char **argv) {
    char program[4096];
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    /* By its name: as /proc/self/exe it would be called "exe" in every list of processes. */
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    if (n <= 0 || (size_t)n == sizeof program) return;
    program[n] = '\0';
    if (setenv("GOMP_SPINCOUNT", SPINS, 0)) return;
    gd_session_block_signals(true);
    execv(program, argv);
    gd_session_block_signals(false);
    unsetenv("GOMP_SPINCOUNT");
}

bool gd_waits_spin(void) {
    const char *spins = getenv("GOMP_SPINCOUNT"), *policy = getenv("OMP_WAIT_POLICY");
    int64_t n;
    if (spins) return !gd_parse_i64(spins, &n, NULL) || n > SPINS_MANY; /* also "infinity" */
    return !policy || !strcasecmp(policy, "active");
}
