/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_wino.c - the two ends of a convolution by F(4x4, 3x3).
 */
#include "ir/ir_int.h"
#include "ir/wino.h"

cab_status cab_infer_wino_in(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    const cab_dim *const *tiles, *dims[3];
    const int64_t *pads;

    if (x->rank != 4)
        return cab_infer_fail(n, d, "an operand of rank %d", x->rank);
    CAB_TRY(cab_infer_ints(n, "pads_lo", 2, &pads, d));
    CAB_TRY(cab_infer_dims(n, "dims", 2, &tiles, d));
    dims[0] = cab_dim_const(g->dims, CAB_WINO_PRODUCTS);
    dims[1] = cab_dim_mul(g->dims, x->dims[0], cab_dim_mul(g->dims, tiles[0], tiles[1]));
    dims[2] = x->dims[1];
    return cab_infer_set(n, 0, x->dtype, 3, dims, d);
}

cab_status cab_infer_wino_out(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *m = &n->in[0]->type;
    const cab_dim *const *dims, *y[4], *four = cab_dim_const(g->dims, CAB_WINO_OUT), *tiles;
    cab_where w = cab_node_where(n);

    if (m->rank != 3 || !cab_dim_is(m->dims[0], CAB_WINO_PRODUCTS))
        return cab_infer_fail(n, d, "the operand is not 36 products");
    CAB_TRY(cab_infer_dims(n, "dims", 3, &dims, d));
    tiles = cab_dim_mul(g->dims, cab_dim_ceildiv(g->dims, dims[1], four),
                        cab_dim_ceildiv(g->dims, dims[2], four));
    CAB_TRY(cab_graph_require_eq(g, m->dims[1], cab_dim_mul(g->dims, dims[0], tiles),
                                 "tiles of a convolution", &w, d));
    y[0] = dims[0];
    y[1] = m->dims[2];
    y[2] = dims[1];
    y[3] = dims[2];
    return cab_infer_set(n, 0, m->dtype, 4, y, d);
}
