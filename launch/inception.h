/* launch/inception.h -- FID's Inception network with weights from a file, ready to look at images. Without MPI. */
#ifndef GANDIST_LAUNCH_INCEPTION_H
#define GANDIST_LAUNCH_INCEPTION_H

#include "compute/exec.h"
#include "models/inception.h"

typedef struct gd_inception gd_inception;

/* Reads a safetensors file with the names and shapes of pytorch-fid's pt_inception-2015-12-05: F32 tensors
 * <unit>.conv.weight and <unit>.bn.{weight,bias,running_mean,running_var} of GD_INCEPTION_UNITS units. Classifier
 * (fc, AuxLogits) and num_batches_tracked may be there and are passed over; all else, and a classifier of another
 * number of classes than FID's network has, is refused.
 * It runs on x, which outlives it. *out: owner: caller. Errors: NOINPUT, DATA (file, tensor: missing, unknown, type, shape,
 * value), IO, NOMEM, the executor's. */
GD_CHECKED gd_status gd_inception_open(const char *path, const gd_executor *x, gd_inception **out);
void gd_inception_close(gd_inception *net); /* NULL: nothing */

/* XXH3-128 of the bytes of the tensors that are used, in the order of the forward pass: the same for every file that holds
 * these weights. 32 hex digits; owner: net. */
const char *gd_inception_hash(const gd_inception *net);

/* n images [h,w,c] of bytes, c 1 (repeated) or 3 -> out [n,GD_INCEPTION_FEATURES]. Bilinear to 299 x 299, without
 * smoothing where that shrinks, as pytorch-fid does it. All threads; memory of a fixed batch beside the arguments.
 * Errors: CONFIG (channels), what the executor reports. */
GD_CHECKED gd_status gd_inception_look(gd_inception *net, int64_t n, int64_t h, int64_t w, int64_t c, const uint8_t *images,
                                       float *out);

#endif
