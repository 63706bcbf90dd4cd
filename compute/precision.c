/* compute/precision.c -- GD_PRECISION_BF16: what is stored and multiplied in bf16.
 *
 * Operands of convolutions and matrix products are cast to bf16. Results of conv and conv_dx, the
 * large maps, are kept in bf16 and widened by whoever reads them; weight gradients and matrix
 * products come out in f32. Statistics, losses, parameters and their updates stay f32 throughout. */
#include "compute/build.h"
#include "compute/passes.h"

gd_node gd__rule_bf16(void *ctx, gd_graph *to, const gd_node_info *n, gd_node a, gd_node b) {
    (void)ctx;
    if (gd_op_class_of(n->op) != GD_CLASS_HEAVY) return gd__add_like(to, n, a, b);
    bool map = n->op == GD_OP_CONV || n->op == GD_OP_CONV_DX;
    gd_node_info half = *n;
    half.attr.kind = map ? GD_BF16 : GD_F32;
    gd_node y = gd__add_like(to, &half, gd_cast(to, a, GD_BF16), gd_cast(to, b, GD_BF16));
    return gd_cast(to, y, n->dtype);
}
