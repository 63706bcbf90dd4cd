/* Tests over several ranks. A failing rank would leave the others waiting in a collective, so a failed
 * expectation prints where it stands and ends all ranks. */
#ifndef GANDIST_TESTS_DIST_RIG_H
#define GANDIST_TESTS_DIST_RIG_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dist/comm.h"

static gd_comm *comm;
static int rank, size;

#define EXPECT(condition, ...)                                                                       \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            fprintf(stderr, "%s:%d: rank %d of %d: not so: %s\n", __FILE__, __LINE__, rank, size, #condition); \
            fprintf(stderr, " " __VA_ARGS__);                                                         \
            fprintf(stderr, "\n");                                                                   \
            MPI_Abort(MPI_COMM_WORLD, 1);                                                            \
        }                                                                                            \
    } while (0)

#define EXPECT_OK(call) EXPECT((call) == GD_OK, "%s [%s]", gd_error_message(), gd_error_trail())
/* The status, and a part of the message. */
#define EXPECT_ERROR(call, code, text)                                                               \
    do {                                                                                             \
        gd_status got_ = (call);                                                                     \
        EXPECT(got_ == GD_##code, "%s: %s", gd_status_name(got_), gd_error_message());               \
        EXPECT(strstr(gd_error_message(), text), "message: %s", gd_error_message());                 \
    } while (0)

typedef struct rig_test {
    const char *name;
    void (*run)(void);
} rig_test;
#define RIG_TEST(function) {#function, function}

/* MPI lives as long as the process, so that tests may open several communicators. */
static inline int rig_main(const rig_test *tests, size_t count) {
    int level;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS) return 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    EXPECT_OK(gd_log_configure("error"));
    for (size_t i = 0; i < count; i++) {
        EXPECT_OK(gd_comm_mpi(&comm));
        tests[i].run();
        EXPECT_OK(gd_comm_barrier(comm));
        gd_comm_free(comm);
        comm = NULL;
        if (!rank) printf("ok %s (%d ranks)\n", tests[i].name, size);
    }
    MPI_Finalize();
    return 0;
}

#endif
