/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_index.c - ops whose addresses depend on data.
 *
 * The one primitive is gather along an axis; element-wise and N-dimensional
 * gathers compute a flat index and gather from the flattened tensor.
 */
#include "passes/decompose_int.h"
#include <string.h>

cab_value *cab_dec_Gather(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));

    return cab_dec_failed(d) ? NULL : cab_dec_gather(d, x, cab_dec_in(d, 1), axis);
}

cab_value *cab_dec_ml_ArrayFeatureExtractor(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *y = cab_dec_in(d, 1);
    const cab_dim *dims[2];

    if (!cab_dec_rank(x))
        return cab_dec_bad(d, "a scalar operand");
    dims[0] = cab_type_numel(d->g, &y->type);
    y = cab_dec_reshape(d, y, 1, dims);
    x = cab_dec_gather(d, x, y, cab_dec_rank(x) - 1);
    if (cab_dec_rank(x) == 1)
        return cab_dec_unsqueeze(d, x, 0);
    return x;
}

static cab_value *flat(cab_dec *d, cab_value *x)
{
    const cab_dim *n = x ? cab_type_numel(d->g, &x->type) : NULL;

    return x ? cab_dec_reshape(d, x, 1, &n) : NULL;
}

cab_value *cab_dec_from_end(cab_dec *d, cab_value *i, const cab_dim *n)
{
    cab_value *neg = cab_dec_bin(d, CAB_OP_lt, i, cab_dec_int(d, i, 0));

    return cab_b_select(&d->b, neg, cab_dec_bin(d, CAB_OP_add, i, cab_b_dim(&d->b, n)), i);
}

static cab_value *add_term(cab_dec *d, cab_value *sum, cab_value *i, const cab_dim *stride)
{
    if (!cab_dim_is(stride, 1))
        i = cab_dec_bin(d, CAB_OP_mul, i, cab_b_dim(&d->b, stride));
    return sum ? cab_dec_bin(d, CAB_OP_add, sum, i) : i;
}

cab_value *cab_dec_pick(cab_dec *d, cab_value *x, cab_value *at, int axis)
{
    int rank = cab_dec_rank(x);
    const cab_dim *stride = cab_dec_c(d, 1);
    cab_value *sum = NULL;

    for (int a = rank - 1; a >= 0; a--) {
        cab_value *t = a == axis ? at
                     : cab_dec_iota(d, rank, a, cab_dec_dim(d, at, a), CAB_DT_i64);

        sum = add_term(d, sum, t, stride);
        stride = cab_dim_mul(d->g->dims, stride, x->type.dims[a]);
    }
    return cab_dec_gather(d, flat(d, x), sum, 0);
}

cab_value *cab_dec_GatherElements(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1);
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);

    if (cab_dec_failed(d) || cab_dec_rank(i) != rank)
        return cab_dec_bad(d, "index and operand differ in rank");
    i = cab_dec_from_end(d, cab_dec_cast(d, i, CAB_DT_i64), x->type.dims[axis]);
    return cab_dec_pick(d, x, i, axis);
}

cab_value *cab_dec_GatherND(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1), *at = NULL, *y;
    int rank = cab_dec_rank(x), ri = cab_dec_rank(i), batch = (int)cab_attr_int(d->n, "batch_dims");
    int64_t k = cab_dec_extent(d, i, -1);
    const cab_dim *dims[2 * CAB_MAX_RANK], *stride = cab_dec_c(d, 1), *rows = stride;
    int n = 0;

    if (cab_dec_failed(d))
        return NULL;
    if (ri < 1 || batch < 0 || batch >= ri || k < 1 || batch + k > rank)
        return cab_dec_bad(d, "the index does not fit the operand");
    i = cab_dec_cast(d, i, CAB_DT_i64);
    for (int a = batch + (int)k - 1; a >= 0; a--) {
        cab_value *t;

        if (a >= batch) {
            t = cab_dec_cut(d, i, ri - 1, cab_dec_c(d, a - batch), cab_dec_c(d, 1));
            t = cab_dec_from_end(d, cab_dec_squeeze(d, t, ri - 1), x->type.dims[a]);
        } else {
            t = cab_dec_iota(d, ri - 1, a, x->type.dims[a], CAB_DT_i64);
        }
        at = add_term(d, at, t, stride);
        stride = cab_dim_mul(d->g->dims, stride, x->type.dims[a]);
    }
    for (int a = 0; a < batch + k; a++)
        rows = cab_dim_mul(d->g->dims, rows, x->type.dims[a]);
    dims[n++] = rows;
    for (int a = batch + (int)k; a < rank; a++)
        dims[n++] = x->type.dims[a];
    y = cab_dec_reshape(d, x, n, dims);
    return cab_dec_gather(d, y, at, 0);
}

cab_value *cab_dec_ReverseSequence(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *len = cab_dec_in(d, 1), *i, *back;
    int rank = cab_dec_rank(x), bi, ti;
    const cab_dim *dims[CAB_MAX_RANK];

    bi = cab_dec_axis(d, cab_attr_int(d->n, "batch_axis"), rank);
    ti = cab_dec_axis(d, cab_attr_int(d->n, "time_axis"), rank);
    if (cab_dec_failed(d) || rank < 2 || bi == ti)
        return cab_dec_bad(d, "batch and time axes must be two axes");
    for (int a = 0; a < rank; a++)
        dims[a] = a == bi ? x->type.dims[a] : cab_dec_c(d, 1);
    len = cab_dec_reshape(d, cab_dec_cast(d, len, CAB_DT_i64), rank, dims);
    i = cab_dec_iota(d, rank, ti, x->type.dims[ti], CAB_DT_i64);
    back = cab_dec_bin(d, CAB_OP_sub, cab_dec_bin(d, CAB_OP_sub, len, cab_dec_int(d, len, 1)), i);
    i = cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_lt, i, len), back, i);
    i = cab_dec_failed(d) ? NULL : cab_b_expand(&d->b, i, rank, x->type.dims);
    return i ? cab_dec_pick(d, x, i, ti) : NULL;
}

/* ---- OneHot ---- */
/* The depth, a number of any type. */
static const cab_dim *depth_of(cab_dec *d, cab_value *v)
{
    double known;

    if (cab_dec_failed(d) || !v || cab_type_numel_static(&v->type) != 1) {
        cab_dec_bad(d, "depth must be one number");
        return cab_dec_c(d, 1);
    }
    if (cab_dtype_is_int(v->type.dtype))
        v = cab_dec_element(d, v, 0);
    else if (cab_dec_try_number(d, v, &known))
        return cab_dec_c(d, (int64_t)known);
    return cab_dec_size(d, cab_dec_cast(d, v, CAB_DT_i64), "a depth must not be negative");
}

cab_value *cab_dec_OneHot(cab_dec *d)
{
    cab_value *i = cab_dec_in(d, 0), *values = cab_dec_in(d, 2), *on, *off, *at;
    int rank = cab_dec_rank(i) + 1, axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    const cab_dim *one = cab_dec_c(d, 1), *deep = depth_of(d, cab_dec_in(d, 1));

    if (cab_dec_failed(d))
        return NULL;
    i = cab_dec_from_end(d, cab_dec_cast(d, i, CAB_DT_i64), deep);
    i = cab_dec_unsqueeze(d, i, axis);
    at = cab_dec_iota(d, rank, axis, deep, CAB_DT_i64);
    off = cab_dec_reshape(d, cab_dec_cut(d, values, 0, cab_dec_c(d, 0), one), 0, NULL);
    on = cab_dec_reshape(d, cab_dec_cut(d, values, 0, one, one), 0, NULL);
    return cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_eq, i, at), on, off);
}

/* ---- CumSum and friends ---- */
static cab_value *running(cab_dec *d, const char *op)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_attr attr[4];
    int64_t *axis, n;

    if (!cab_dec_ints(d, cab_dec_in(d, 1), &axis, &n) || n != 1)
        return cab_dec_bad(d, "axis must be one number");
    attr[0] = cab_a_str("op", op);
    attr[1] = cab_a_int("axis", cab_dec_axis(d, axis[0], cab_dec_rank(x)));
    attr[2] = cab_a_int("exclusive", cab_attr_int(d->n, "exclusive"));
    attr[3] = cab_a_int("reverse", cab_attr_int(d->n, "reverse"));
    return cab_dec_failed(d) ? NULL : cab_build(&d->b, CAB_OP_scan, 1, &x, 4, attr);
}

cab_value *cab_dec_CumSum(cab_dec *d)
{
    return running(d, "sum");
}

cab_value *cab_dec_CumProd(cab_dec *d)
{
    return running(d, "prod");
}

cab_value *cab_dec_TopK(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));
    const cab_dim **k;
    cab_attr attr[3];
    cab_node *n;
    int64_t one;

    if (!cab_dec_extents(d, cab_dec_in(d, 1), &k, &one))
        return NULL;
    if (one != 1 || cab_dim_lt(cab_dec_dim(d, x, axis), k[0]) == 1)
        return cab_dec_bad(d, "K does not fit the axis");
    cab_dec_require_le(d, k[0], cab_dec_dim(d, x, axis), "K is no larger than the axis");
    attr[0] = cab_a_dims("k", k, 1);
    attr[1] = cab_a_int("axis", axis);
    attr[2] = cab_a_int("largest", cab_attr_int(d->n, "largest"));
    n = cab_build_node(&d->b, CAB_OP_topk, 1, &x, 2, 3, attr);
    if (!n)
        return NULL;
    if (d->n_out > 1)
        d->out[1] = n->out[1];
    return n->out[0];
}
