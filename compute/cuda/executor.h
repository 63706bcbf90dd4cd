/* compute/cuda/executor.h -- the executor `cuda`: generated kernels and cuDNN plans on a device. Folder-internal.
 *
 * Eager. A run of an instance puts every step on one stream and returns; who needs results waits for the stream
 * (gd__cu_finish). Instances and bindings are memory of the executor (gd_executor.alloc).
 * Captured. gd__cu_replay runs an instance once eagerly, captures it into graphs, of stretches that end wherever the run may have
 * to stop or somebody acts on an output (replay.c), and from then on launches these: no allocation, no waiting for the device
 * but for a ring of RING runs, one copy of the run's keys. Both give the same bytes.
 */
#ifndef GANDIST_COMPUTE_CUDA_EXECUTOR_H
#define GANDIST_COMPUTE_CUDA_EXECUTOR_H

#include "compute/cuda/device.h"
#include "compute/exec.h"

/* There is one device at a time in a process. f32_math: GD__DNN_F32 or GD__DNN_TF32, of programs in f32. d outlives it,
 * and it outlives its programs. Errors: INTERNAL (there is one), CUDA, NOMEM. */
GD_CHECKED gd_status gd__cu_executor_open(gd__cu_device *d, gd__dnn_math f32_math, const gd_executor **out);
GD_CHECKED gd_status gd__cu_executor_close(void);
void *gd__cu_stream(void);              /* that steps are put on                                */
GD_CHECKED gd_status gd__cu_finish(void); /* waits until all steps so far are done; errors: CUDA */
/* Called before the host waits for an event behind steps, or (NULL) for all of the stream, so that it never waits without an end for
 * what other ranks have a part in. What it returns is the wait's error. NULL: nothing. For the whole process. */
void gd__cu_before_waits(gd_status (*look)(void *stream, void *event));

typedef struct gd__cu_replay gd__cu_replay;
/* p: the program of i, made for this executor. What i is bound to must not change. */
GD_CHECKED gd_status gd__cu_replay_new(const gd_program *p, gd_instance *i, gd__cu_replay **out);
GD_CHECKED gd_status gd__cu_replay_free(gd__cu_replay *r);
/* As gd_instance_start and gd_instance_resume. */
GD_CHECKED gd_status gd__cu_replay_start(gd__cu_replay *r, const gd_run_args *a, gd_pause *pause);
GD_CHECKED gd_status gd__cu_replay_resume(gd__cu_replay *r, gd_pause *pause);

/* ---- between replay.c and exchange.c: graphs may hold sums over ranks ---- */

bool gd__cu_capturing(void);
/* Frees the graphs of all replays, at once: what runs ends by itself. Their runs fail from then on. */
GD_CHECKED gd_status gd__cu_drop_graphs(void);

/* ---- between executor.c and replay.c ---- */

struct gd__cu_program;
/* The keys of a run: into the device's struct, behind all that still reads the old ones, unless it has them. */
gd_status gd__cu_program_keys(struct gd__cu_program *x, const gd_run_args *a);
/* While held, runs leave the keys alone. */
void gd__cu_program_hold_keys(struct gd__cu_program *x, bool hold);
gd__cu_device *gd__cu_get_device(void);

/* ---- between executor.c and feed.c: as gd_executor has them ---- */

gd_status gd__cu_room(size_t *bytes);
gd_status gd__cu_pin(size_t bytes, void **out);
void gd__cu_unpin(void *memory);
gd_status gd__cu_feed_new(const gd_feed_opts *o, void **feed);
gd_status gd__cu_feed_send(void *feed, int slot, const void *pinned);
gd_status gd__cu_feed_sent(void *feed, int slot);
gd_status gd__cu_feed_take(void *feed, int slot, size_t first, void *out);
void gd__cu_feed_free(void *feed);
/* The kernel of takes. *index: in k. Errors: NOMEM. */
gd_status gd__cu_feed_kernel(const gd_feed_opts *o, gd__cu_kernels *k, int *index);

/* ---- between executor.c and images.c: as gd_executor has them ---- */

gd_status gd__cu_images_out(const gd_images *u, const int32_t *which, size_t n, float *out);
gd_status gd__cu_images_in(const gd_images *u, const int32_t *place, float *refused);
gd_status gd__cu_images_close(gd__cu_device *d); /* nothing runs any more */
/* Their kernels. *index: in k. Errors: NOMEM. */
gd_status gd__cu_images_out_kernel(size_t floats, gd__cu_kernels *k, int *index);
gd_status gd__cu_images_in_kernel(size_t floats, gd__cu_kernels *k, int *index);

/* ---- between executor.c, later.c and update.c ---- */

gd_status gd__cu_put(void *to, const void *host, size_t bytes);
gd_status gd__cu_get(void *host, const void *from, size_t bytes);
gd_status gd__cu_wait_event(void *event); /* the host, for one of the stream */
gd_status gd__cu_get_later(const void *from, size_t bytes, void **ticket);
gd_status gd__cu_take(void *ticket, void *host);
/* What updates, and readings, left on the device; nothing runs any more. */
gd_status gd__cu_update_close(gd__cu_device *d);
gd_status gd__cu_later_close(gd__cu_device *d);
gd_status gd__cu_keep_statistics(float *x, const float *before, float *average, size_t count, float decay, double *kept);
gd_status gd__cu_sum_squares(const float *x, size_t first, size_t last, double *sums);
gd_status gd__cu_move_average(float *average, const float *x, size_t count, float decay, const double *norm);
gd_status gd__cu_update(const gd_update *u, float *p, const float *g, float *m, float *v, float *average, double *norm);

#endif
