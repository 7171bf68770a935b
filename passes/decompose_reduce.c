/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_reduce.c - reductions, softmaxes, arg reductions.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* Reduced axes of a Reduce* node: none given means all, unless
 * noop_with_empty_axes. */
static int reduced(cab_dec *d, int64_t axes[CAB_MAX_RANK])
{
    cab_value *x = cab_dec_in(d, 0), *list = cab_dec_in(d, 1);
    bool noop = cab_attr_int(d->n, "noop_with_empty_axes") != 0;
    int rank = cab_dec_rank(x), n = cab_dec_axes(d, list, rank, axes);

    if (n < 0)
        return n;
    if (list && n > 0)
        return n;
    if (noop)
        return 0;
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    return rank;
}

static bool keeps(cab_dec *d)
{
    return cab_attr_int(d->n, "keepdims") != 0;
}

static cab_value *reduce(cab_dec *d, const char *op, cab_value *x)
{
    int64_t axes[CAB_MAX_RANK];
    int n = reduced(d, axes);

    return n == 0 ? x : cab_dec_reduce(d, x, op, axes, n, keeps(d));
}

cab_value *cab_dec_ReduceSum(cab_dec *d)
{
    return reduce(d, "sum", cab_dec_in(d, 0));
}

cab_value *cab_dec_ReduceProd(cab_dec *d)
{
    return reduce(d, "prod", cab_dec_in(d, 0));
}

cab_value *cab_dec_ReduceMax(cab_dec *d)
{
    return reduce(d, "max", cab_dec_in(d, 0));
}

cab_value *cab_dec_ReduceMin(cab_dec *d)
{
    return reduce(d, "min", cab_dec_in(d, 0));
}

cab_value *cab_dec_ReduceMean(cab_dec *d)
{
    int64_t axes[CAB_MAX_RANK];
    int n = reduced(d, axes);

    return n == 0 ? cab_dec_in(d, 0)
         : n < 0  ? NULL : cab_dec_mean(d, cab_dec_in(d, 0), axes, n, keeps(d));
}

cab_value *cab_dec_ReduceL1(cab_dec *d)
{
    return reduce(d, "sum", cab_dec_un(d, CAB_OP_abs, cab_dec_in(d, 0)));
}

/* Powers and roots of f16 and bf16 leave their range: f32 until the end. */
static cab_value *square_sum(cab_dec *d, cab_dtype wide)
{
    cab_value *x = cab_dec_cast(d, cab_dec_in(d, 0), wide);

    return reduce(d, "sum", cab_dec_bin(d, CAB_OP_mul, x, x));
}

cab_value *cab_dec_ReduceSumSquare(cab_dec *d)
{
    cab_dtype dt = cab_dec_dtype(cab_dec_in(d, 0));

    return cab_dec_cast(d, square_sum(d, cab_dec_wide(dt)), dt);
}

/* Integers take the root in f64. */
static cab_dtype real_of(cab_dtype dt)
{
    return cab_dtype_is_float(dt) ? cab_dec_wide(dt) : CAB_DT_f64;
}

cab_value *cab_dec_ReduceL2(cab_dec *d)
{
    cab_dtype dt = cab_dec_dtype(cab_dec_in(d, 0));

    return cab_dec_cast(d, cab_dec_un(d, CAB_OP_sqrt, square_sum(d, real_of(dt))), dt);
}

cab_value *cab_dec_ReduceLogSum(cab_dec *d)
{
    cab_dtype dt = cab_dec_dtype(cab_dec_in(d, 0));
    cab_value *x = cab_dec_cast(d, cab_dec_in(d, 0), real_of(dt));

    return cab_dec_cast(d, cab_dec_un(d, CAB_OP_log, reduce(d, "sum", x)), dt);
}

cab_value *cab_dec_ReduceLogSumExp(cab_dec *d)
{
    int64_t axes[CAB_MAX_RANK];
    int n = reduced(d, axes);
    cab_dtype dt = cab_dec_dtype(cab_dec_in(d, 0));
    cab_value *x = cab_dec_cast(d, cab_dec_in(d, 0), real_of(dt)), *m, *s, *finite;

    if (n < 1)
        return n < 0 ? NULL : cab_dec_cast(d, x, dt);
    m = cab_dec_reduce(d, x, "max", axes, n, true);
    /* An infinite maximum (or that of no element) must not be subtracted. */
    finite = cab_b_select(&d->b, cab_dec_un(d, CAB_OP_isinf, m), cab_dec_num(d, x, 0), m);
    s = cab_dec_un(d, CAB_OP_exp, cab_dec_bin(d, CAB_OP_sub, x, finite));
    s = cab_dec_un(d, CAB_OP_log, cab_dec_reduce(d, s, "sum", axes, n, true));
    s = cab_dec_bin(d, CAB_OP_add, s, finite);
    if (!keeps(d))
        for (int i = cab_dec_rank(x) - 1; i >= 0; i--)
            for (int k = 0; k < n; k++)
                if (axes[k] == i)
                    s = cab_dec_squeeze(d, s, i);
    return cab_dec_cast(d, s, dt);
}

/* ---- arg reductions ---- */
static cab_value *arg(cab_dec *d, const char *op)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_attr attr[4];

    attr[0] = cab_a_str("op", op);
    attr[1] = cab_a_int("axis", cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x)));
    attr[2] = cab_a_int("keepdims", keeps(d));
    attr[3] = cab_a_int("last", cab_attr_int(d->n, "select_last_index"));
    return cab_dec_failed(d) ? NULL : cab_build(&d->b, CAB_OP_argreduce, 1, &x, 4, attr);
}

cab_value *cab_dec_ArgMax(cab_dec *d)
{
    return arg(d, "max");
}

cab_value *cab_dec_ArgMin(cab_dec *d)
{
    return arg(d, "min");
}

/* ---- softmaxes ---- */
static int softmax_axis(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);

    return cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));
}

cab_value *cab_dec_Softmax(cab_dec *d)
{
    int64_t axis = softmax_axis(d);
    cab_value *e = cab_dec_softmax(d, cab_dec_in(d, 0), (int)axis);

    return cab_dec_bin(d, CAB_OP_div, e, cab_dec_reduce(d, e, "sum", &axis, 1, true));
}

cab_value *cab_dec_LogSoftmax(cab_dec *d)
{
    int64_t axis = softmax_axis(d);
    cab_value *x = cab_dec_in(d, 0), *s;

    x = cab_dec_bin(d, CAB_OP_sub, x, cab_dec_reduce(d, x, "max", &axis, 1, true));
    s = cab_dec_reduce(d, cab_dec_un(d, CAB_OP_exp, x), "sum", &axis, 1, true);
    return cab_dec_bin(d, CAB_OP_sub, x, cab_dec_un(d, CAB_OP_log, s));
}

cab_value *cab_dec_Hardmax(cab_dec *d)
{
    int axis = softmax_axis(d);
    cab_value *x = cab_dec_in(d, 0), *at, *best;
    cab_attr attr[2] = { cab_a_str("op", "max"), cab_a_int("axis", axis) };

    if (cab_dec_failed(d))
        return NULL;
    best = cab_build(&d->b, CAB_OP_argreduce, 1, &x, 2, attr);
    at = cab_dec_iota(d, cab_dec_rank(x), axis, cab_dec_dim(d, x, axis), CAB_DT_i64);
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_eq, best, at), cab_dec_dtype(x));
}
