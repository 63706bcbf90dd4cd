/* base/log.h -- leveled log, one level per room.
 *
 * GANDIST_LOG=info,dist=trace,data=debug sets levels; an unknown room or level is an error with a
 * suggestion. A line goes to every sink (stderr by default) as "[rank] level room: text". Below
 * `info` a line also carries seconds since start. Thread safe. */
#ifndef GANDIST_BASE_LOG_H
#define GANDIST_BASE_LOG_H

#include <stdbool.h>

#include "base/status.h"

#define GD_ROOM_LIST(X)                                                                            \
    X(BASE, "base") X(COMPUTE, "compute") X(MODELS, "models") X(DATA, "data") X(DIST, "dist")      \
    X(RECIPES, "recipes") X(LAUNCH, "launch")
#define GD_LEVEL_LIST(X)                                                                           \
    X(ERROR, "error") X(WARN, "warn") X(INFO, "info") X(DEBUG, "debug") X(TRACE, "trace")

typedef enum gd_room {
#define GD_ROOM_ENUM(name, text) GD_ROOM_##name,
    GD_ROOM_LIST(GD_ROOM_ENUM)
#undef GD_ROOM_ENUM
        GD_ROOM_COUNT
} gd_room;

typedef enum gd_level {
#define GD_LEVEL_ENUM(name, text) GD_LEVEL_##name,
    GD_LEVEL_LIST(GD_LEVEL_ENUM)
#undef GD_LEVEL_ENUM
        GD_LEVEL_COUNT
} gd_level;

/* Parses a GANDIST_LOG value. NULL or "" leaves the defaults (info everywhere). Errors: USAGE. */
GD_CHECKED gd_status gd_log_configure(const char *spec);
void gd_log_set_rank(int rank);                       /* shown in brackets; -1 (default): none     */
void gd_log_set_stderr(bool on);                      /* default: on                               */
/* A second sink: called with each finished line, no newline, under the log's lock. NULL: none. */
void gd_log_set_sink(void (*sink)(void *ctx, gd_level level, const char *line), void *ctx);
bool gd_log_on(gd_room room, gd_level level);
void gd_log_write(gd_room room, gd_level level, const char *format, ...) GD_PRINTF(3, 4);

#define GD_LOG(room, level, ...)                                                                   \
    do {                                                                                           \
        if (gd_log_on(GD_ROOM_##room, GD_LEVEL_##level))                                           \
            gd_log_write(GD_ROOM_##room, GD_LEVEL_##level, __VA_ARGS__);                                 \
    } while (0)

#endif
