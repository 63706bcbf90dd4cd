/* models/inception.h -- the network whose features define the FID: Inception-v3 (Szegedy et al. 2016) as ported from the
 * TensorFlow graph of 2015-12-05 (Heusel et al. 2017), up to its last average pool. Only to look with: not trained here. */
#ifndef GANDIST_MODELS_INCEPTION_H
#define GANDIST_MODELS_INCEPTION_H

#include "compute/graph.h"

enum { GD_INCEPTION_SIDE = 299, GD_INCEPTION_FEATURES = 2048, GD_INCEPTION_UNITS = 94 };
#define GD_INCEPTION_EPS 0.001 /* of its batch norms */

/* x [N,299,299,3], values -1 to 1 -> [N,2048].
 *
 * A unit is a convolution, a batch norm with fixed statistics, and ReLU. The norm is folded into the convolution: unit
 * "Mixed_5b.branch1x1" has the PARAMs "Mixed_5b.branch1x1.weight" [K,R,S,C] and "Mixed_5b.branch1x1.bias" [K], which
 * follow each other in the order of the forward pass. Names are those of torchvision. */
gd_node gd_inception_features(gd_graph *g, gd_node x);

#endif
