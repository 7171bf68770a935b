/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_select.c - ops that keep what data chooses: how much they give is
 * known when the run has counted it.
 */
#include "passes/decompose_int.h"
#include <limits.h>

/* ---- pieces ---- */
static cab_value *filled(cab_dec *d, const cab_dim *n, int64_t v)
{
    cab_value *x = cab_b_scalar_i(&d->b, CAB_DT_i64, v);

    return cab_dec_failed(d) ? NULL : cab_b_expand(&d->b, x, 1, &n);
}

static cab_value *count_up(cab_dec *d, const cab_dim *n)
{
    return cab_dec_iota(d, 1, 0, n, CAB_DT_i64);
}

static cab_value *running_sum(cab_dec *d, cab_value *x, bool exclusive)
{
    cab_attr attr[] = { cab_a_str("op", "sum"), cab_a_int("axis", 0),
                        cab_a_int("exclusive", exclusive) };

    return cab_dec_failed(d) ? NULL : cab_build(&d->b, CAB_OP_scan, 1, &x, 3, attr);
}

/* x where rows (of a vector) are put at index. */
static cab_value *put(cab_dec *d, const cab_dim *n, cab_value *index, cab_value *u)
{
    return cab_dec_scatter(d, filled(d, n, 0), index, u, 0, "none");
}

/* Numbers of the true elements of a bool vector, ascending. */
static cab_value *where_true(cab_dec *d, cab_value *mask)
{
    cab_value *one = cab_dec_cast(d, mask, CAB_DT_i64), *at, *all;
    const cab_dim *n;
    int64_t axis = 0;

    n = cab_dec_size(d, cab_dec_reduce(d, one, "sum", &axis, 1, false), NULL);
    /* What is not wanted is put outside, and so dropped. */
    at = running_sum(d, one, true);
    at = cab_dec_failed(d) ? NULL : cab_b_select(&d->b, mask, at, cab_dec_int(d, at, -1));
    all = cab_dec_failed(d) ? NULL : count_up(d, mask->type.dims[0]);
    return put(d, n, at, all);
}

static cab_value *flat(cab_dec *d, cab_value *x)
{
    const cab_dim *n = x ? cab_type_numel(d->g, &x->type) : NULL;

    return x ? cab_dec_reshape(d, x, 1, &n) : NULL;
}

static cab_value *nonzero(cab_dec *d, cab_value *x)
{
    return cab_dec_dtype(x) == CAB_DT_bool ? x : cab_dec_op_c(d, CAB_OP_ne, x, 0);
}

/* ---- NonZero, Compress ---- */
cab_value *cab_dec_NonZero(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *at = where_true(d, nonzero(d, flat(d, x))), *row;
    cab_value *rows[CAB_MAX_RANK];
    const cab_dim *stride = cab_dec_c(d, 1), *none[2];
    int rank = cab_dec_rank(x);

    if (cab_dec_failed(d))
        return NULL;
    if (!rank) {                       /* the standard: no coordinate for each */
        none[0] = cab_dec_c(d, 0);
        none[1] = at->type.dims[0];
        return cab_b_expand(&d->b, cab_b_scalar_i(&d->b, CAB_DT_i64, 0), 2, none);
    }
    for (int a = rank - 1; a >= 0; a--) {
        row = at;
        if (!cab_dim_is(stride, 1))
            row = cab_dec_bin(d, CAB_OP_div, row, cab_b_dim(&d->b, stride));
        if (a > 0)
            row = cab_dec_bin(d, CAB_OP_mod, row, cab_b_dim(&d->b, x->type.dims[a]));
        rows[a] = cab_dec_unsqueeze(d, row, 0);
        stride = cab_dim_mul(d->g->dims, stride, x->type.dims[a]);
    }
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, rows, rank, 0);
}

cab_value *cab_dec_Compress(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *c = cab_dec_in(d, 1);
    int axis = 0;

    if (cab_dec_rank(c) != 1)
        return cab_dec_bad(d, "a condition of rank %d", cab_dec_rank(c));
    if (cab_attr_find(d->n, "axis"))
        axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));
    else
        x = flat(d, x);
    if (cab_dec_failed(d))
        return NULL;
    /* A shorter condition leaves the rest out. */
    c = cab_dec_cut(d, c, 0, cab_dec_c(d, 0),
                    cab_dim_min(d->g->dims, c->type.dims[0], x->type.dims[axis]));
    return cab_dec_gather(d, x, where_true(d, c), axis);
}

/* ---- Unique ---- */
typedef struct unique {
    cab_value *rows;           /* [n, m] */
    const cab_dim *n, *u;      /* how many, how many different */
    cab_value *order;          /* of the rows, sorted */
    cab_value *first;          /* [u]: number of the first row of each kind */
    cab_value *kind;           /* [n]: of the sorted rows */
} unique;

/* x with axis in front, as rows; all elements for an axis of -1. */
static cab_value *as_rows(cab_dec *d, cab_value *x, int axis)
{
    const cab_dim *dims[2] = { cab_type_numel(d->g, &x->type), cab_dec_c(d, 1) };
    int64_t perm[CAB_MAX_RANK];

    for (int i = 0; i < cab_dec_rank(x) && axis >= 0; i++) {
        perm[i] = i == 0 ? axis : i <= axis ? i - 1 : i;
        if (i != axis)
            dims[1] = cab_dim_mul(d->g->dims, dims[1], x->type.dims[i]);
    }
    if (axis >= 0) {
        dims[0] = x->type.dims[axis];
        x = cab_dec_transpose(d, x, perm);
    }
    if (cab_dec_dtype(x) == CAB_DT_bool)
        x = cab_dec_cast(d, x, CAB_DT_u8);
    return cab_dec_reshape(d, x, 2, dims);
}

/* True where a sorted row is not as the one before it.  Alone, NaN is one
 * number; in rows each differs (as numpy has it). */
static cab_value *starts(cab_dec *d, const unique *q, bool alone)
{
    cab_value *i = count_up(d, q->n), *before, *x, *y, *differ;
    int64_t axis = 1;

    before = cab_dec_op_c(d, CAB_OP_max, cab_dec_op_c(d, CAB_OP_sub, i, 1), 0);
    x = cab_dec_gather(d, q->rows, q->order, 0);
    y = cab_dec_gather(d, q->rows, cab_dec_gather(d, q->order, before, 0), 0);
    differ = cab_dec_bin(d, CAB_OP_ne, x, y);
    if (alone && cab_dtype_is_float(cab_dec_dtype(q->rows)))
        differ = cab_dec_bin(d, CAB_OP_and, differ,
                             cab_dec_un(d, CAB_OP_not,
                                        cab_dec_bin(d, CAB_OP_and,
                                                    cab_dec_un(d, CAB_OP_isnan, x),
                                                    cab_dec_un(d, CAB_OP_isnan, y))));
    differ = cab_dec_reduce(d, differ, "max", &axis, 1, false);
    return cab_dec_bin(d, CAB_OP_or, differ, cab_dec_op_c(d, CAB_OP_eq, i, 0));
}

static bool find_kinds(cab_dec *d, unique *q, bool alone)
{
    cab_value *start, *at;

    q->order = cab_build(&d->b, CAB_OP_sort, 1, &q->rows, 0, NULL);
    start = starts(d, q, alone);
    at = where_true(d, start);
    q->first = cab_dec_gather(d, q->order, at, 0);
    q->kind = running_sum(d, cab_dec_cast(d, start, CAB_DT_i64), false);
    q->kind = cab_dec_op_c(d, CAB_OP_sub, q->kind, 1);
    if (!cab_dec_failed(d))
        q->u = at->type.dims[0];
    return !cab_dec_failed(d);
}

/* New number of each kind when they stand as they first appear. */
static cab_value *by_appearance(cab_dec *d, const unique *q)
{
    cab_value *mark = put(d, q->n, q->first, filled(d, q->u, 1));

    return cab_dec_gather(d, running_sum(d, mark, true), q->first, 0);
}

cab_value *cab_dec_Unique(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *counts, *inverse;
    bool alone = !cab_attr_find(d->n, "axis");
    int axis = alone ? -1 : cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));
    unique q = { .rows = cab_dec_failed(d) ? NULL : as_rows(d, x, axis) };

    if (cab_dec_failed(d))
        return NULL;
    q.n = q.rows->type.dims[0];
    if (!find_kinds(d, &q, alone))
        return NULL;
    counts = cab_dec_scatter(d, filled(d, q.u, 0), q.kind, filled(d, q.n, 1), 0, "add");
    inverse = put(d, q.n, q.order, q.kind);
    if (!cab_attr_int(d->n, "sorted")) {
        cab_value *to = by_appearance(d, &q);

        q.first = put(d, q.u, to, q.first);
        counts = put(d, q.u, to, counts);
        inverse = cab_dec_gather(d, to, inverse, 0);
    }
    for (int i = 1; i < d->n_out; i++)
        d->out[i] = i == 1 ? q.first : i == 2 ? inverse : counts;
    return cab_dec_gather(d, alone ? flat(d, x) : x, q.first, alone ? 0 : axis);
}

/* ---- NonMaxSuppression ---- */
static cab_value *number_or_0(cab_dec *d, cab_value *v)
{
    return v ? cab_dec_reshape(d, v, 0, NULL) : cab_b_scalar(&d->b, CAB_DT_f32, 0);
}

cab_value *cab_dec_NonMaxSuppression(cab_dec *d)
{
    cab_value *most = cab_dec_in(d, 2), *threshold = cab_dec_in(d, 4);
    cab_value *in[] = { cab_dec_in(d, 0), cab_dec_in(d, 1), number_or_0(d, cab_dec_in(d, 3)),
                        number_or_0(d, threshold) };
    const cab_dim *limit = cab_dec_c(d, 0);
    int64_t center = cab_attr_int(d->n, "center_point_box");
    cab_attr attr[3];
    cab_node *n;

    if (center != 0 && center != 1)
        return cab_dec_bad(d, "attribute center_point_box = %lld", (long long)center);
    if (most && cab_dec_length(d, most) == 1) {
        most = cab_dec_op_c(d, CAB_OP_max, cab_dec_element(d, most, 0), 0);
        limit = cab_dec_size(d, cab_dec_op_c(d, CAB_OP_min, most, INT32_MAX), NULL);
    }
    attr[0] = cab_a_dims("limit", &limit, 1);
    attr[1] = cab_a_int("center", center);
    attr[2] = cab_a_int("filter", threshold != NULL);
    n = cab_dec_failed(d) ? NULL : cab_build_node(&d->b, CAB_OP_nms, 4, in, 2, 3, attr);
    return n ? cab_dec_cut(d, n->out[0], 0, cab_dec_c(d, 0), cab_dec_size(d, n->out[1], NULL)) : NULL;
}
