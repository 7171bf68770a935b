/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_wino.c - the two ends of a convolution by tiles.
 */
#include "ir/ir_int.h"
#include "ir/wino.h"

static cab_status read_tiles(cab_node *n, cab_wino *w, cab_diag *d)
{
    if (!cab_wino_of(n, w))
        return cab_infer_fail(n, d, "tile and kernel: 1 or 2 axes, at most %d products along one, %d in all",
                              CAB_WINO_LINE, CAB_WINO_TILE);
    return CAB_OK;
}

cab_status cab_infer_wino_in(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    const cab_dim *dims[3];
    const int64_t *pads;
    cab_wino w;

    CAB_TRY(read_tiles(n, &w, d));
    if (x->rank != w.n_axes + 2)
        return cab_infer_fail(n, d, "an operand of rank %d", x->rank);
    CAB_TRY(cab_infer_ints(n, "pads_lo", w.n_axes, &pads, d));
    CAB_TRY(cab_infer_ints(n, "pads_hi", w.n_axes, &pads, d));
    dims[1] = x->dims[0];
    for (int i = 0; i < w.n_axes; i++) {
        const cab_dim *results = cab_wino_results(g->dims, n, &w, i);

        if (results->hi < 1)
            return cab_infer_fail(n, d, "no result along axis %d", i);
        dims[1] = cab_dim_mul(g->dims, dims[1], cab_wino_tiles(g->dims, &w, i, results));
    }
    dims[0] = cab_dim_const(g->dims, w.products);
    dims[2] = x->dims[1];
    return cab_infer_set(n, 0, x->dtype, 3, dims, d);
}

cab_status cab_infer_wino_out(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *m = &n->in[0]->type;
    const cab_dim *const *dims, *y[CAB_WINO_AXES + 2], *tiles;
    cab_where at = cab_node_where(n);
    cab_wino w;

    CAB_TRY(read_tiles(n, &w, d));
    if (m->rank != 3 || !cab_dim_is(m->dims[0], w.products))
        return cab_infer_fail(n, d, "the operand is not %d products", w.products);
    CAB_TRY(cab_infer_dims(n, "dims", w.n_axes + 1, &dims, d));
    tiles = y[0] = dims[0];
    y[1] = m->dims[2];
    for (int i = 0; i < w.n_axes; i++) {
        y[i + 2] = dims[i + 1];
        tiles = cab_dim_mul(g->dims, tiles, cab_wino_tiles(g->dims, &w, i, dims[i + 1]));
    }
    CAB_TRY(cab_graph_require_eq(g, m->dims[1], tiles, "tiles of a convolution", &at, d));
    return cab_infer_set(n, 0, m->dtype, w.n_axes + 2, y, d);
}
