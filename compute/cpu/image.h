/* compute/cpu/image.h -- moves that know rows and columns of [N,H,W,C]. Folder-internal. */
#ifndef GANDIST_COMPUTE_CPU_IMAGE_H
#define GANDIST_COMPUTE_CPU_IMAGE_H

#include "compute/cpu/cpu.h"

/* PAD_REFLECT, FOLD_REFLECT, UPSAMPLE, SUMPOOL. */
gd_status gd__make_image(const gd_graph *g, gd_node n, gd__kernel **out);

#endif
