/* launch/weights.h -- networks as safetensors files that other programs understand: one state_dict a file.
 *
 * Inside a network our parameter names are the keys of the public PyTorch code that the architecture comes from,
 * and files hold PyTorch's layouts. Three ways to write a name:
 *
 *   pytorch  main.3.weight, and num_batches_tracked beside running statistics; one network
 *   wgan     main.pyramid:512-256:convt.weight: martinarjovsky/WassersteinGAN's names of DCGAN-like networks
 *   gandist  G/main.3.weight; all networks of the run */
#ifndef GANDIST_LAUNCH_WEIGHTS_H
#define GANDIST_LAUNCH_WEIGHTS_H

#include "dist/checkpoint.h"
#include "launch/trained.h"

typedef enum gd_weight_names { GD_NAMES_PYTORCH, GD_NAMES_WGAN, GD_NAMES_GANDIST, GD_NAMES_COUNT } gd_weight_names;
const char *gd_weight_names_text(gd_weight_names n);

enum { GD_WEIGHT_NAME = 300 };
/* The name of parameter `index` of a network. Errors: UNSUP (wgan: a network that is not DCGAN-like). */
GD_CHECKED gd_status gd_weight_name(const gd_gan_net *net, int index, gd_weight_names names,
                                    char out[GD_WEIGHT_NAME]);

/* Writes network `prefix` (gandist names: NULL, all of them) of a run. *tensors: how many. Errors: UNSUP, CANTCREAT,
 * IO, NOMEM, what reading the checkpoint reports. */
GD_CHECKED gd_status gd_weights_export(const gd_trained *t, const char *prefix, gd_weight_names names,
                                       const char *path, int *tensors);

/* Reads one network from a file into a training state, and into its moving average where there is one. Names may
 * be of any of the three kinds, with "module." in front, with '.' for ':'. Left out may be num_batches_tracked; what
 * is passed over is that, and running statistics of normalisations that have none here (checkpoints of old PyTorch).
 * F16, BF16 and F64 are converted. *ignored: tensors of the file passed over. Errors: NOINPUT, DATA (file, tensor:
 * missing, not of this network, wrong shape, not finite), NOMEM. */
GD_CHECKED gd_status gd_weights_import(const gd_gan_net *net, const char *path, const gd_state *into, int *tensors,
                                       int *ignored);

#endif
