/* base/status.h -- one status for every function that can fail, with a message and a trail.
 *
 * The function that first knows what is wrong raises: it writes "where: what is wrong; what was
 * expected; what to do" into a record that belongs to the calling thread. Every caller passes the
 * status on with GD_TRY, which appends its file:line to the trail. Nobody prints on the way;
 * launch/main.c alone turns a status into text and an exit code. */
#ifndef GANDIST_BASE_STATUS_H
#define GANDIST_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/*   code       exit  what it says about the world                                              */
#define GD_STATUS_LIST(X)                                                                          \
    X(OK, 0, "done")                                                                               \
    X(USAGE, 64, "the command line is wrong")                                                      \
    X(CONFIG, 65, "the recipe is wrong")                                                           \
    X(DATA, 65, "an input file or data set is wrong or damaged")                                   \
    X(SHAPE, 65, "tensor shapes do not fit")                                                       \
    X(NOINPUT, 66, "an input does not exist or nothing usable is there to resume")                 \
    X(UNSUP, 69, "a device, library or kernel is missing")                                         \
    X(MPI, 69, "the message passing library failed")                                               \
    X(NCCL, 69, "NCCL failed")                                                                     \
    X(CUDA, 69, "CUDA failed")                                                                     \
    X(NOMEM, 69, "out of memory")                                                                  \
    X(INTERNAL, 70, "a defect of gandist")                                                         \
    X(CANTCREAT, 73, "an output cannot be created")                                                \
    X(IO, 74, "reading or writing failed")                                                         \
    X(REQUEUE, 75, "saved on request, start again to go on")                                       \
    X(PEER, 76, "another rank failed and reports the reason")                                      \
    X(TIMEOUT, 86, "a rank or collective hangs")                                                   \
    X(DIVERGED, 87, "replicas differ")                                                             \
    X(NUMERIC, 88, "a value is not finite")                                                        \
    X(NOPROGRESS, 93, "restarts without progress")

typedef enum gd_status {
#define GD_STATUS_ENUM(name, exit_code, text) GD_##name,
    GD_STATUS_LIST(GD_STATUS_ENUM)
#undef GD_STATUS_ENUM
        GD_STATUS_COUNT
} gd_status;

#define GD_CHECKED __attribute__((warn_unused_result))
#define GD_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Name ("CONFIG"), process exit code, and one-line meaning of a status. Never NULL. */
const char *gd_status_name(gd_status st);
int gd_status_exit_code(gd_status st);
const char *gd_status_meaning(gd_status st);

/* Starts a new error in this thread's record (replacing what was there) and returns st. */
gd_status gd_raise(gd_status st, const char *file, int line, const char *format, ...)
    GD_PRINTF(4, 5);
/* Appends file:line to the trail and returns st. */
gd_status gd_trace(gd_status st, const char *file, int line);
/* Puts a sentence such as "recipe wgan.yaml" before the message; returns st. */
gd_status gd_context(gd_status st, const char *format, ...) GD_PRINTF(2, 3);

/* Message and trail ("dist/train.c:10 < launch/train.c:52") of this thread's last error.
 * owner: the thread's record; valid until this thread raises or clears. Never NULL. */
const char *gd_error_message(void);
const char *gd_error_trail(void);
void gd_error_clear(void);

/* A copy of a record, to hand an error from a worker thread to the thread that waits for it, or to another rank. */
typedef struct gd_error {
    gd_status status;
    gd_status agreed; /* of the rank whose error ends all ranks, where they have agreed on one (gd_error_agree); else OK */
    char message[4096];
    char trail[1024];
} gd_error;
void gd_error_save(gd_status st, gd_error *out);      /* this thread's record -> *out     */
gd_status gd_error_restore(const gd_error *e);        /* *e -> this thread's record       */

/* Several ranks, each with its own record, end for one reason: `all` is its status. Returns st. */
gd_status gd_error_agree(gd_status st, gd_status all);
/* The status that decides how the program ends, equal on all ranks that have agreed: the agreed one of this thread's
 * record, else st. */
gd_status gd_error_agreed(gd_status st);
bool gd_error_is_agreed(void); /* this thread's record is of an error that all ranks have agreed on */

#define GD_FAIL(code, ...) return gd_raise(GD_##code, __FILE__, __LINE__, __VA_ARGS__)
/* Inside a function with `gd_status st` and a label that unwinds. */
#define GD_FAIL_TO(label, code, ...)                                                               \
    do {                                                                                           \
        st = gd_raise(GD_##code, __FILE__, __LINE__, __VA_ARGS__);                                 \
        goto label;                                                                                \
    } while (0)
#define GD_TRY(call)                                                                               \
    do {                                                                                           \
        gd_status st_ = (call);                                                                    \
        if (st_ != GD_OK) return gd_trace(st_, __FILE__, __LINE__);                                \
    } while (0)
#define GD_TRY_TO(label, call)                                                                     \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != GD_OK) {                                                                         \
            gd_trace(st, __FILE__, __LINE__);                                                      \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

#endif
