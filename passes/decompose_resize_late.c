/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_resize_late.c - resizing an axis whose extent, size or factor only
 * the run knows.
 *
 * The same formulas as in decompose_resize.c, as nodes in double precision
 * over the indices of the result.  Where the number of taps depends on the
 * factor (antialias) the weights are a matrix and the axis is a product.
 */
#include "passes/decompose_int.h"
#include <string.h>

static cab_value *bin(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y)
{
    return cab_dec_bin(d, op, x, y);
}

static cab_value *bin_c(cab_dec *d, cab_op_id op, cab_value *x, double c)
{
    return cab_dec_bin(d, op, x, cab_dec_num(d, x, c));
}

static cab_value *either(cab_dec *d, cab_value *c, cab_value *x, cab_value *y)
{
    return cab_dec_failed(d) ? NULL : cab_b_select(&d->b, c, x, y);
}

/* ---- places ---- */
/* y * (span of the operand) / (width - 1), or at_one when width is 1. */
static cab_value *spread(cab_dec *d, cab_value *y, cab_value *span, cab_value *width,
                         cab_value *at_one)
{
    cab_value *x = bin(d, CAB_OP_div, bin(d, CAB_OP_mul, y, span), bin_c(d, CAB_OP_sub, width, 1));

    return either(d, bin_c(d, CAB_OP_eq, width, 1), at_one, x);
}

static cab_value *half_pixel(cab_dec *d, const cab_dec_axis_late *a, cab_value *y)
{
    y = bin(d, CAB_OP_div, bin_c(d, CAB_OP_add, y, 0.5), a->scale);
    return bin_c(d, CAB_OP_sub, y, 0.5);
}

/* Where element y of the result lies in the operand. */
static cab_value *origin(cab_dec *d, const cab_dec_resize *r, const cab_dec_axis_late *a,
                         cab_value *y)
{
    cab_value *width = bin(d, CAB_OP_mul, a->scale, a->n), *last = bin_c(d, CAB_OP_sub, a->n, 1);

    if (!strcmp(r->coord, "align_corners"))
        return spread(d, y, last, width, cab_dec_num(d, last, 0));
    if (!strcmp(r->coord, "asymmetric"))
        return bin(d, CAB_OP_div, y, a->scale);
    if (!strcmp(r->coord, "tf_crop_and_resize")) {
        cab_value *span = bin(d, CAB_OP_mul, bin(d, CAB_OP_sub, a->roi[1], a->roi[0]), last);

        return bin(d, CAB_OP_add, spread(d, y, span, width, bin_c(d, CAB_OP_div, span, 2)),
                   bin(d, CAB_OP_mul, a->roi[0], last));
    }
    if (!strcmp(r->coord, "pytorch_half_pixel"))
        return either(d, bin_c(d, CAB_OP_eq, width, 1), cab_dec_num(d, width, -0.5),
                      half_pixel(d, a, y));
    if (!strcmp(r->coord, "half_pixel_symmetric")) {
        cab_value *out = cab_dec_cast(d, cab_b_dim(&d->b, a->out), CAB_DT_f64), *shift;

        shift = bin(d, CAB_OP_sub, cab_dec_num(d, out, 1), bin(d, CAB_OP_div, out, width));
        shift = bin(d, CAB_OP_mul, bin_c(d, CAB_OP_div, a->n, 2), shift);
        return bin(d, CAB_OP_add, shift, half_pixel(d, a, y));
    }
    return half_pixel(d, a, y);
}

/* Floats of places -> indices of the operand. */
static cab_value *inside(cab_dec *d, const cab_dec_axis_late *a, cab_value *x)
{
    x = bin(d, CAB_OP_min, bin_c(d, CAB_OP_max, x, 0), bin_c(d, CAB_OP_sub, a->n, 1));
    return cab_dec_cast(d, x, CAB_DT_i64);
}

/* ---- weights ---- */
static cab_value *kernel(cab_dec *d, const cab_dec_resize *r, cab_value *x)
{
    double a = r->cubic_a;
    cab_value *near, *far;

    x = cab_dec_un(d, CAB_OP_abs, x);
    if (strcmp(r->mode, "cubic"))
        return bin_c(d, CAB_OP_max, bin(d, CAB_OP_sub, cab_dec_num(d, x, 1), x), 0);
    near = bin_c(d, CAB_OP_sub, bin_c(d, CAB_OP_mul, x, a + 2), a + 3);
    near = bin_c(d, CAB_OP_add, bin(d, CAB_OP_mul, bin(d, CAB_OP_mul, near, x), x), 1);
    far = bin_c(d, CAB_OP_sub, bin_c(d, CAB_OP_mul, x, a), 5 * a);
    far = bin_c(d, CAB_OP_add, bin(d, CAB_OP_mul, far, x), 8 * a);
    far = bin_c(d, CAB_OP_sub, bin(d, CAB_OP_mul, far, x), 4 * a);
    far = either(d, bin_c(d, CAB_OP_lt, x, 2), far, cab_dec_num(d, x, 0));
    return either(d, bin_c(d, CAB_OP_le, x, 1), near, far);
}

static cab_value *none_outside(cab_dec *d, const cab_dec_axis_late *a, cab_value *w, cab_value *at)
{
    cab_value *in = bin(d, CAB_OP_and, bin(d, CAB_OP_le, cab_dec_num(d, at, 0), at),
                        bin(d, CAB_OP_lt, at, a->n));

    return either(d, in, w, cab_dec_num(d, w, 0));
}

/* w over sum, where that is not 0. */
static cab_value *shared(cab_dec *d, cab_value *w, cab_value *sum)
{
    return bin(d, CAB_OP_div, w, either(d, bin_c(d, CAB_OP_eq, sum, 0), cab_dec_num(d, sum, 1),
                                        sum));
}

static cab_value *weighted(cab_dec *d, cab_value *x, cab_value *w, int axis)
{
    w = cab_dec_along(d, cab_dec_cast(d, w, cab_dec_dtype(x)), axis, cab_dec_rank(x));
    return bin(d, CAB_OP_mul, x, w);
}

/* A fixed number of taps around each place p. */
static cab_value *by_taps(cab_dec *d, const cab_dec_resize *r, const cab_dec_axis_late *a,
                          cab_value *x, cab_value *p)
{
    int taps = strcmp(r->mode, "cubic") ? 2 : 4;
    cab_value *first = bin_c(d, CAB_OP_sub, cab_dec_un(d, CAB_OP_ceil, p), taps / 2), *at[4], *w[4];
    cab_value *sum = NULL, *y = NULL;

    for (int t = 0; t < taps; t++) {
        at[t] = bin_c(d, CAB_OP_add, first, t);
        w[t] = kernel(d, r, bin(d, CAB_OP_sub, at[t], p));
        if (r->exclude_outside)
            w[t] = none_outside(d, a, w[t], at[t]);
        sum = sum ? bin(d, CAB_OP_add, sum, w[t]) : w[t];
    }
    for (int t = 0; t < taps; t++) {
        cab_value *v = cab_dec_gather(d, x, inside(d, a, at[t]), a->axis);

        v = weighted(d, v, r->exclude_outside ? shared(d, w[t], sum) : w[t], a->axis);
        y = y ? bin(d, CAB_OP_add, y, v) : v;
    }
    return y;
}

/* The operand with `reach` elements of its ends repeated, times a matrix of
 * the weights of all its elements. */
static cab_value *by_matrix(cab_dec *d, const cab_dec_resize *r, const cab_dec_axis_late *a,
                            cab_value *x, cab_value *p)
{
    const cab_dim *n = cab_dec_dim(d, x, a->axis), *reach, *all;
    cab_value *s = bin_c(d, CAB_OP_min, a->scale, 1), *far = cab_dec_num(d, s, 2), *at, *w;
    int64_t last = 1, perm[CAB_MAX_RANK];
    int rank = cab_dec_rank(x);

    far = cab_dec_un(d, CAB_OP_ceil, bin(d, CAB_OP_div, far, s));
    reach = cab_dec_size(d, cab_dec_cast(d, far, CAB_DT_i64), "a factor must be larger than 0");
    all = cab_dim_add(d->g->dims, n, cab_dim_mul(d->g->dims, reach, cab_dec_c(d, 2)));
    at = bin(d, CAB_OP_sub, cab_dec_iota(d, 1, 0, all, CAB_DT_f64), far);
    x = cab_dec_gather(d, x, inside(d, a, at), a->axis);
    w = bin(d, CAB_OP_sub, at, p ? cab_dec_unsqueeze(d, p, 1) : NULL);
    w = kernel(d, r, bin(d, CAB_OP_mul, w, s));
    if (r->exclude_outside)
        w = none_outside(d, a, w, at);
    w = shared(d, w, cab_dec_reduce(d, w, "sum", &last, 1, true));
    x = cab_dec_dot(d, x, cab_dec_cast(d, w, cab_dec_dtype(x)), 0, a->axis, 1, cab_dec_dtype(x));
    for (int i = 0; i < rank; i++)
        perm[i] = i < a->axis ? i : i == a->axis ? rank - 1 : i - 1;
    return x ? cab_dec_transpose(d, x, perm) : NULL;
}

static cab_value *nearest(cab_dec *d, const cab_dec_resize *r, cab_value *p)
{
    cab_value *f = cab_dec_un(d, CAB_OP_floor, p), *ratio = bin(d, CAB_OP_sub, p, f), *up;

    if (!strcmp(r->nearest, "floor"))
        return f;
    if (!strcmp(r->nearest, "ceil"))
        return cab_dec_un(d, CAB_OP_ceil, p);
    up = !strcmp(r->nearest, "round_prefer_ceil")
             ? bin(d, CAB_OP_le, cab_dec_num(d, ratio, 0.5), ratio)
             : bin(d, CAB_OP_lt, cab_dec_num(d, ratio, 0.5), ratio);
    return bin(d, CAB_OP_add, f, cab_dec_cast(d, up, CAB_DT_f64));
}

cab_value *cab_dec_resize_late(cab_dec *d, const cab_dec_resize *r, const cab_dec_axis_late *a,
                               cab_value *x)
{
    cab_value *p = origin(d, r, a, cab_dec_iota(d, 1, 0, a->out, CAB_DT_f64)), *y, *out;
    const cab_dim *n = cab_dec_dim(d, x, a->axis);

    cab_dec_require_le(d, cab_dim_min(d->g->dims, a->out, cab_dec_c(d, 1)), n,
                       "an empty axis has nothing to resize");
    /* A scalar where the formula does not name the place. */
    if (p && cab_dec_rank(p) == 0)
        p = cab_b_expand(&d->b, p, 1, &a->out);
    if (!strcmp(r->mode, "nearest"))
        y = cab_dec_gather(d, x, inside(d, a, nearest(d, r, p)), a->axis);
    else
        y = r->antialias ? by_matrix(d, r, a, x, p) : by_taps(d, r, a, x, p);
    if (!a->roi[0] || cab_dec_failed(d) || !y)
        return y;
    out = bin(d, CAB_OP_or, bin_c(d, CAB_OP_lt, p, 0),
              bin(d, CAB_OP_lt, bin_c(d, CAB_OP_sub, a->n, 1), p));
    return either(d, cab_dec_along(d, out, a->axis, cab_dec_rank(y)),
                  cab_dec_num(d, y, r->extrapolation), y);
}
