/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_move.c - result types of the ops that move elements.
 */
#include <string.h>
#include "ir/ir_int.h"
#include "ir/spec.h"

static const cab_type *in_type(const cab_node *n, int i)
{
    return &n->in[i]->type;
}

/* True when an index is surely outside 0..extent-1. */
static bool surely_outside(const cab_dim *index, const cab_dim *extent)
{
    return index->hi < 0 || cab_dim_lt(index, extent) == 0;
}

cab_status cab_infer_reshape(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_dim *const *dims;
    int64_t rank = cab_attr_dims(n, "dims", &dims);
    cab_where w = cab_node_where(n);

    if (rank > CAB_MAX_RANK)
        rank = CAB_MAX_RANK + 1;
    CAB_TRY(cab_infer_set(n, 0, in_type(n, 0)->dtype, (int)rank, dims, d));
    return cab_graph_require_eq(g, cab_type_numel(g, in_type(n, 0)),
                                cab_type_numel(g, &n->out[0]->type),
                                "reshape keeps the number of elements", &w, d);
}

static cab_status get_perm(cab_node *n, const int64_t **perm, cab_diag *d)
{
    int rank = in_type(n, 0)->rank;
    bool seen[CAB_MAX_RANK] = { false };

    CAB_TRY(cab_infer_ints(n, "perm", rank, perm, d));
    return cab_infer_axes(n, "perm", *perm, rank, rank, seen, d);
}

cab_status cab_infer_transpose(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0);
    const cab_dim *dims[CAB_MAX_RANK];
    const int64_t *perm;

    (void)g;
    CAB_TRY(get_perm(n, &perm, d));
    for (int i = 0; i < x->rank; i++)
        dims[i] = x->dims[perm[i]];
    return cab_infer_set(n, 0, x->dtype, x->rank, dims, d);
}

/* The layout is the op's whole meaning; halos asked for earlier stay. */
cab_status cab_infer_relayout(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0);
    cab_type *y = &n->out[0]->type;
    const int64_t *perm;
    bool halo = false, moved = false;
    cab_layout *l = CAB_NEW(g->arena, cab_layout);

    CAB_TRY(get_perm(n, &perm, d));
    CAB_TRY(cab_infer_set(n, 0, x->dtype, x->rank, x->dims, d));
    if (y->layout)
        *l = *y->layout;
    l->rank = x->rank;
    for (int i = 0; i < x->rank; i++) {
        l->perm[i] = (uint8_t)perm[i];
        moved = moved || perm[i] != i;
        halo = halo || l->halo_lo[i] || l->halo_hi[i];
    }
    y->layout = moved || halo ? l : NULL;
    return CAB_OK;
}

cab_status cab_infer_expand(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0);
    const cab_dim *const *dims;
    int64_t rank = cab_attr_dims(n, "dims", &dims);
    cab_where w = cab_node_where(n);

    if (rank < x->rank)
        return cab_infer_fail(n, d, "%lld extents for an operand of rank %d",
                              (long long)(rank < 0 ? 0 : rank), x->rank);
    if (rank > CAB_MAX_RANK)
        rank = CAB_MAX_RANK + 1;
    CAB_TRY(cab_infer_set(n, 0, x->dtype, (int)rank, dims, d));
    for (int i = 1; i <= x->rank; i++) {
        const cab_dim *have = x->dims[x->rank - i];
        if (!cab_dim_is(have, 1))
            CAB_TRY(cab_graph_require_eq(g, have, dims[rank - i],
                                         "expand keeps extents other than 1", &w, d));
    }
    return CAB_OK;
}

/* First and last element of one axis, where they are known to be wrong. */
static cab_status check_slice_axis(cab_graph *g, const cab_node *n, int axis,
                                   const cab_dim *start, int64_t step,
                                   const cab_dim *size, cab_diag *d)
{
    const cab_dim *extent = in_type(n, 0)->dims[axis];
    const cab_dim *last;

    if (step == 0 || step < -INT32_MAX || step > INT32_MAX)
        return cab_infer_fail(n, d, "step %lld of axis %d", (long long)step, axis);
    if (size->lo <= 0)
        return CAB_OK;
    if (cab_dim_is_const(start) && cab_dim_is_const(size)) {
        int64_t at;
        if (__builtin_mul_overflow(size->value - 1, step, &at)
            || __builtin_add_overflow(at, start->value, &at))
            return cab_infer_fail(n, d, "slice of axis %d leaves the operand", axis);
        last = cab_dim_const(g->dims, at);
    } else {
        last = cab_dim_add(g->dims, start,
                           cab_dim_mul(g->dims, cab_dim_const(g->dims, step),
                                       cab_dim_sub(g->dims, size,
                                                   cab_dim_const(g->dims, 1))));
    }
    if (surely_outside(start, extent) || surely_outside(last, extent))
        return cab_infer_fail(n, d, "slice of axis %d leaves the operand", axis);
    return CAB_OK;
}

cab_status cab_infer_slice(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0);
    const cab_dim *const *starts, *const *dims;
    const int64_t *steps;

    CAB_TRY(cab_infer_dims(n, "starts", x->rank, &starts, d));
    CAB_TRY(cab_infer_ints(n, "steps", x->rank, &steps, d));
    CAB_TRY(cab_infer_dims(n, "dims", x->rank, &dims, d));
    CAB_TRY(cab_infer_set(n, 0, x->dtype, x->rank, dims, d));
    for (int i = 0; i < x->rank; i++)
        CAB_TRY(check_slice_axis(g, n, i, starts[i], steps[i], dims[i], d));
    return CAB_OK;
}

cab_status cab_infer_pad(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0);
    const cab_dim *const *lo, *const *hi, *dims[CAB_MAX_RANK];

    CAB_TRY(cab_infer_dims(n, "lo", x->rank, &lo, d));
    CAB_TRY(cab_infer_dims(n, "hi", x->rank, &hi, d));
    if (n->n_in > 1 && n->in[1] && n->in[1]->type.rank != 0)
        return cab_infer_fail(n, d, "the padding value is no scalar");
    for (int i = 0; i < x->rank; i++) {
        if (lo[i]->hi < 0 || hi[i]->hi < 0)
            return cab_infer_fail(n, d, "negative padding of axis %d", i);
        dims[i] = cab_dim_add(g->dims, cab_dim_add(g->dims, x->dims[i], lo[i]), hi[i]);
    }
    return cab_infer_set(n, 0, x->dtype, x->rank, dims, d);
}

cab_status cab_infer_concat(cab_graph *g, cab_node *n, cab_diag *d)
{
    cab_where w = cab_node_where(n);
    cab_type t;
    int64_t axis;

    if (n->n_in == 0)
        return cab_infer_fail(n, d, "no operands");
    t = *in_type(n, 0);
    CAB_TRY(cab_infer_axis(n, t.rank, &axis, d));
    for (int i = 1; i < n->n_in; i++) {
        const cab_type *x = in_type(n, i);
        if (x->rank != t.rank)
            return cab_infer_fail(n, d, "operands of rank %d and %d", t.rank, x->rank);
        for (int k = 0; k < t.rank; k++) {
            if (k == axis) {
                t.dims[k] = cab_dim_add(g->dims, t.dims[k], x->dims[k]);
                continue;
            }
            CAB_TRY(cab_graph_require_eq(g, t.dims[k], x->dims[k],
                                         "concat keeps the other extents", &w, d));
            if (cab_dim_is_const(x->dims[k]))
                t.dims[k] = x->dims[k];
        }
    }
    return cab_infer_set(n, 0, t.dtype, t.rank, t.dims, d);
}

cab_status cab_infer_gather(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0), *index = in_type(n, 1);
    const cab_dim *dims[2 * CAB_MAX_RANK];
    int64_t axis;
    int rank = 0;

    (void)g;
    CAB_TRY(cab_infer_axis(n, x->rank, &axis, d));
    for (int i = 0; i < axis; i++)
        dims[rank++] = x->dims[i];
    for (int i = 0; i < index->rank; i++)
        dims[rank++] = index->dims[i];
    for (int i = (int)axis + 1; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    return cab_infer_set(n, 0, x->dtype, rank, dims, d);
}

cab_status cab_infer_scatter(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = in_type(n, 0), *index = in_type(n, 1), *updates = in_type(n, 2);
    cab_where w = cab_node_where(n);
    int64_t axis;
    int op;

    CAB_TRY(cab_infer_choice(n, "op", cab_scatter_ops, &op, d));
    CAB_TRY(cab_infer_axis(n, x->rank, &axis, d));
    if (index->rank != x->rank || updates->rank != x->rank)
        return cab_infer_fail(n, d, "operands of rank %d, %d and %d", x->rank, index->rank,
                              updates->rank);
    if ((op == CAB_STORE_ADD || op == CAB_STORE_MUL) && x->dtype == CAB_DT_bool)
        return cab_infer_fail(n, d, "op %s of bool", cab_scatter_ops[op]);
    for (int i = 0; i < x->rank; i++)
        if (!cab_dim_is(index->dims[i], 1))
            CAB_TRY(cab_graph_require_eq(g, index->dims[i], updates->dims[i],
                                         "scatter: one index per update", &w, d));
    return cab_infer_set(n, 0, x->dtype, x->rank, x->dims, d);
}
