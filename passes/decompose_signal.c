/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_signal.c - Fourier transforms and what goes with them.
 *
 * A known even length is halved as long as it is even (decimation in
 * frequency); what is left, and a length that is a symbol, is a product with
 * the matrices of cosines and sines.
 */
#include "passes/decompose_int.h"
#include <limits.h>
#include <math.h>

static cab_value *bin(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y)
{
    return cab_dec_bin(d, op, x, y);
}

static cab_value *bin_c(cab_dec *d, cab_op_id op, cab_value *x, double c)
{
    return cab_dec_bin(d, op, x, cab_dec_num(d, x, c));
}

static cab_value *as_f64(cab_dec *d, const cab_dim *x)
{
    return cab_dec_cast(d, cab_b_dim(&d->b, x), CAB_DT_f64);
}

/* ---- transforms ---- */
typedef struct numbers { cab_value *re, *im; } numbers;    /* im NULL: real */
typedef struct dft {
    numbers x;
    int axis;
    const cab_dim *n, *from, *to;      /* length, elements read and made */
    bool inverse, half;        /* half: the other half of the operand mirrors it */
} dft;

/* Component i of the last axis. */
static cab_value *part(cab_dec *d, cab_value *x, int i)
{
    int last = cab_dec_rank(x) - 1;

    return cab_dec_squeeze(d, cab_dec_cut(d, x, last, cab_dec_c(d, i), cab_dec_c(d, 1)), last);
}

/* x + y, or x - y; either may be absent. */
static cab_value *sum(cab_dec *d, cab_value *x, cab_value *y, bool minus)
{
    if (!y)
        return x;
    if (!x)
        return minus ? cab_dec_un(d, CAB_OP_neg, y) : y;
    return bin(d, minus ? CAB_OP_sub : CAB_OP_add, x, y);
}

static cab_value *times(cab_dec *d, cab_value *x, cab_value *y)
{
    return x && y ? bin(d, CAB_OP_mul, x, y) : NULL;
}

/* cos or sin of 2 pi i / n, i any integers. */
static cab_value *turned(cab_dec *d, cab_op_id op, cab_value *i, const cab_dim *n)
{
    cab_value *turn = bin(d, CAB_OP_div, cab_b_scalar(&d->b, CAB_DT_f64, 2 * M_PI), as_f64(d, n));

    return cab_dec_un(d, op, bin(d, CAB_OP_mul, cab_dec_cast(d, i, CAB_DT_f64), turn));
}

/* Of 2 pi j k / n, by the remainder of j k so that it is exact; rows that stand
 * for their mirror image too count twice. */
static cab_value *matrix(cab_dec *d, const dft *q, cab_op_id op)
{
    cab_value *j = cab_dec_iota(d, 2, 0, q->from, CAB_DT_i64), *m;
    cab_value *k = cab_dec_iota(d, 2, 1, q->to, CAB_DT_i64), *n = cab_b_dim(&d->b, q->n), *once;

    m = turned(d, op, bin(d, CAB_OP_mod, bin(d, CAB_OP_mul, j, k), n), q->n);
    if (q->half) {
        once = bin(d, CAB_OP_eq, bin(d, CAB_OP_mod, cab_dec_op_c(d, CAB_OP_mul, j, 2), n),
                   cab_dec_int(d, j, 0));
        m = bin(d, CAB_OP_mul, m, bin(d, CAB_OP_sub, cab_dec_num(d, m, 2),
                                      cab_dec_cast(d, once, CAB_DT_f64)));
    }
    return m;
}

/* x [A, from, B] times m [from, to]. */
static cab_value *product(cab_dec *d, cab_value *x, cab_value *m)
{
    static const int64_t perm[] = { 0, 2, 1 };

    if (!x || cab_dec_failed(d))
        return NULL;
    x = cab_dec_dot(d, x, cab_dec_cast(d, m, x->type.dtype), 0, 1, 0, x->type.dtype);
    return x ? cab_dec_transpose(d, x, perm) : NULL;
}

static numbers by_matrix(cab_dec *d, const dft *q, numbers x)
{
    cab_value *c = matrix(d, q, CAB_OP_cos), *s = matrix(d, q, CAB_OP_sin);
    numbers y;

    y.re = sum(d, product(d, x.re, c), product(d, x.im, s), q->inverse);
    y.im = q->half ? NULL : sum(d, product(d, x.im, c), product(d, x.re, s), !q->inverse);
    return y;
}

/* The halves a, b of x [A, 2m, B] as [A, m, 2B]: their sum, and what turns
 * their difference into the odd places of the result. */
static cab_value *stacked(cab_dec *d, cab_value *even, cab_value *odd)
{
    cab_value *both[2] = { even, odd };

    return even && odd ? cab_dec_concat(d, both, 2, 2) : NULL;
}

static numbers halved(cab_dec *d, const dft *q, numbers x, const cab_dim *m)
{
    const cab_dim *zero = cab_dec_c(d, 0);
    cab_value *i = cab_dec_iota(d, 3, 1, m, CAB_DT_i64), *v[2] = { x.re, x.im }, *even[2] = { NULL };
    cab_value *odd[2] = { NULL }, *c = turned(d, CAB_OP_cos, i, q->n), *s = turned(d, CAB_OP_sin, i, q->n);
    numbers y;

    for (int k = 0; k < 2 && !cab_dec_failed(d); k++) {
        cab_value *a, *b;

        if (!v[k])
            continue;
        a = cab_dec_cut(d, v[k], 1, zero, m);
        b = cab_dec_cut(d, v[k], 1, m, m);
        even[k] = bin(d, CAB_OP_add, a, b);
        odd[k] = bin(d, CAB_OP_sub, a, b);
    }
    c = cab_dec_cast(d, c, cab_dec_dtype(x.re));
    s = cab_dec_cast(d, s, cab_dec_dtype(x.re));
    y.re = sum(d, times(d, odd[0], c), times(d, odd[1], s), q->inverse);
    y.im = sum(d, times(d, odd[1], c), times(d, odd[0], s), !q->inverse);
    if (!even[1])
        even[1] = cab_dec_op_c(d, CAB_OP_mul, even[0], 0);
    return (numbers){ stacked(d, even[0], y.re), stacked(d, even[1], y.im) };
}

/* The spectrum of x [A, n, B]: an even length is two of half of it. */
static numbers spectrum(cab_dec *d, dft q, numbers x)
{
    const cab_dim *m, *dims[3] = { cab_dec_dim(d, x.re, 0), q.n, cab_dec_dim(d, x.re, 2) };
    numbers y;

    if (cab_dec_failed(d) || q.half || !cab_dim_is_const(q.n) || q.n->value % 2 || q.n->value < 4)
        return by_matrix(d, &q, x);
    m = cab_dec_c(d, q.n->value / 2);
    y = halved(d, &q, x, m);
    q.n = q.from = q.to = m;
    y = spectrum(d, q, y);
    if (!y.re || !y.im)
        return y;
    /* Places 2u and 2u + 1 of the result lie one after the other. */
    return (numbers){ cab_dec_reshape(d, y.re, 3, dims), cab_dec_reshape(d, y.im, 3, dims) };
}

/* As many elements along the axis as are read: cut, or zeros behind; then all
 * before and all behind the axis as one axis each. */
static cab_value *prepared(cab_dec *d, const dft *q, cab_value *x, cab_dtype dt)
{
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK], *dims[3] = { cab_dec_c(d, 1), q->from, cab_dec_c(d, 1) };

    if (!x)
        return NULL;
    for (int i = 0; i < cab_dec_rank(x); i++) {
        lo[i] = hi[i] = cab_dec_c(d, 0);
        if (i != q->axis)
            dims[i < q->axis ? 0 : 2] = cab_dim_mul(d->g->dims, dims[i < q->axis ? 0 : 2], x->type.dims[i]);
    }
    hi[q->axis] = cab_dim_sub(d->g->dims, q->from, x->type.dims[q->axis]);
    x = cab_dec_cast(d, cab_dec_pad(d, x, lo, hi, NULL), dt);
    return x ? cab_dec_reshape(d, x, 3, dims) : NULL;
}

/* Back: the first elements that are wanted, over n when inverse, and an axis
 * for the parts of a number. */
static cab_value *finished(cab_dec *d, const dft *q, cab_value *x, const cab_type *like, cab_dtype dt)
{
    const cab_dim *dims[CAB_MAX_RANK + 1];
    int rank = like->rank;

    x = cab_dec_cut(d, x, 1, cab_dec_c(d, 0), q->to);
    if (q->inverse)
        x = bin(d, CAB_OP_div, x, cab_dec_cast(d, cab_b_dim(&d->b, q->n), cab_dec_dtype(x)));
    for (int i = 0; i < rank; i++)
        dims[i] = i == q->axis ? q->to : like->dims[i];
    dims[rank] = cab_dec_c(d, 1);
    return x ? cab_dec_reshape(d, cab_dec_cast(d, x, dt), rank + 1, dims) : NULL;
}

/* The places that are their own mirror image are real for a real signal. */
static cab_value *without_noise(cab_dec *d, const dft *q, cab_value *im)
{
    cab_value *k = cab_dec_iota(d, 3, 1, q->n, CAB_DT_i64), *own;

    k = bin(d, CAB_OP_mod, cab_dec_op_c(d, CAB_OP_mul, k, 2), cab_b_dim(&d->b, q->n));
    own = cab_dec_op_c(d, CAB_OP_eq, k, 0);
    return cab_dec_failed(d) ? NULL : cab_b_select(&d->b, own, cab_dec_num(d, im, 0), im);
}

static cab_value *transform(cab_dec *d, const dft *q)
{
    cab_dtype dt = cab_dec_dtype(q->x.re), wide = cab_dec_wide(dt);
    cab_type like;
    numbers y;
    dft all = *q;
    cab_value *parts[2];

    if (cab_dec_failed(d))
        return NULL;
    like = q->x.re->type;
    if (!q->half)
        all.to = q->n;
    y.re = prepared(d, q, q->x.re, wide);
    y.im = prepared(d, q, q->x.im, wide);
    y = spectrum(d, all, y);
    if (y.im && !q->x.im)
        y.im = without_noise(d, q, y.im);
    parts[0] = finished(d, q, y.re, &like, dt);
    parts[1] = q->half ? NULL : finished(d, q, y.im, &like, dt);
    return cab_dec_failed(d) || q->half ? parts[0] : cab_dec_concat(d, parts, 2, like.rank);
}

/* Of x's last axis, which holds one number or two. */
static bool read_parts(cab_dec *d, cab_value *x, dft *q)
{
    int64_t parts = cab_dec_rank(x) < 2 ? 0 : cab_dec_extent(d, x, -1);

    if (cab_dec_failed(d))
        return false;
    if (parts != 1 && parts != 2) {
        cab_dec_bad(d, "the last axis holds %lld numbers", (long long)parts);
        return false;
    }
    q->x.re = part(d, x, 0);
    q->x.im = parts == 2 ? part(d, x, 1) : NULL;
    return true;
}

/* floor(n / 2) + 1 */
static const cab_dim *one_side(cab_dec *d, const cab_dim *n)
{
    return cab_dim_add(d->g->dims, cab_dim_floordiv(d->g->dims, n, cab_dec_c(d, 2)), cab_dec_c(d, 1));
}

/* An operand of one extent, at least lo. */
static const cab_dim *one_extent(cab_dec *d, cab_value *v, int64_t lo)
{
    const cab_dim **list;
    int64_t n;

    if (!cab_dec_read(d, v, lo, INT32_MAX, &list, &n) || n != 1 || list[0]->hi < lo) {
        cab_dec_bad(d, "a length must be one number of at least %lld", (long long)lo);
        return cab_dec_c(d, 1);
    }
    return list[0];
}

cab_value *cab_dec_DFT(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *length = cab_dec_in(d, 1), *axis = cab_dec_in(d, 2);
    bool one_sided = cab_attr_int(d->n, "onesided") != 0;
    dft q = { .inverse = cab_attr_int(d->n, "inverse") != 0 };
    int64_t *list, n = 1, a = -2;
    const cab_dim *have;

    if (axis && cab_dec_ints(d, axis, &list, &n))
        a = n == 1 ? list[0] : INT64_MAX;
    if (cab_dec_failed(d) || !read_parts(d, x, &q))
        return NULL;
    q.axis = cab_dec_axis(d, a, cab_dec_rank(x));
    if (q.axis == cab_dec_rank(x) - 1)
        return cab_dec_bad(d, "axis %lld holds the parts of numbers", (long long)a);
    q.half = q.inverse && one_sided;
    have = cab_dec_dim(d, x, q.axis);
    if (length)
        q.n = one_extent(d, length, 1);
    else
        q.n = q.half ? cab_dim_mul(d->g->dims, cab_dim_sub(d->g->dims, have, cab_dec_c(d, 1)),
                                   cab_dec_c(d, 2)) : have;
    q.from = q.half ? one_side(d, q.n) : q.n;
    q.to = one_sided && !q.inverse ? one_side(d, q.n) : q.n;
    return cab_dec_failed(d) ? NULL : transform(d, &q);
}

/* Frames of n elements, step apart: [batch, frames, n, parts]. */
static cab_value *frames(cab_dec *d, cab_value *x, const cab_dim *n, const cab_dim *step)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *have = cab_dec_dim(d, x, 1), *count;
    cab_value *at, *i;

    cab_dec_require_le(d, n, have, "a frame is no longer than the signal");
    count = cab_dim_floordiv(ds, cab_dim_sub(ds, have, n), step);
    at = cab_dec_iota(d, 2, 0, cab_dim_add(ds, count, cab_dec_c(d, 1)), CAB_DT_i64);
    at = bin(d, CAB_OP_mul, at, cab_b_dim(&d->b, step));
    i = cab_dec_iota(d, 2, 1, n, CAB_DT_i64);
    return cab_dec_gather(d, x, bin(d, CAB_OP_add, at, i), 1);
}

cab_value *cab_dec_STFT(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *window = cab_dec_in(d, 2), *length = cab_dec_in(d, 3);
    const cab_dim *step = one_extent(d, cab_dec_in(d, 1), 1), *n;
    dft q = { .axis = 2 };

    if (cab_dec_failed(d) || cab_dec_rank(x) != 3)
        return cab_dec_bad(d, "a signal of rank %d, expected 3", cab_dec_rank(x));
    n = length ? one_extent(d, length, 1) : window ? cab_dec_dim(d, window, 0) : cab_dec_dim(d, x, 1);
    x = frames(d, x, n, step);
    if (window) {
        cab_dec_require_eq(d, cab_dec_dim(d, window, 0), n, "a window is as long as a frame");
        x = bin(d, CAB_OP_mul, x, cab_dec_along(d, window, 2, 4));
    }
    q.n = q.from = q.to = n;
    if (cab_attr_int(d->n, "onesided"))
        q.to = one_side(d, n);
    return cab_dec_failed(d) || !read_parts(d, x, &q) ? NULL : transform(d, &q);
}

/* ---- MelWeightMatrix ---- */
static cab_value *scalar(cab_dec *d, int i)
{
    cab_value *v = cab_dec_cast(d, cab_dec_in(d, i), CAB_DT_f64);

    return v ? cab_dec_reshape(d, v, 0, NULL) : NULL;
}

static cab_value *mel_of_hertz(cab_dec *d, cab_value *x)
{
    x = cab_dec_un(d, CAB_OP_log, bin_c(d, CAB_OP_add, bin_c(d, CAB_OP_div, x, 700), 1));
    return bin_c(d, CAB_OP_mul, x, 2595 / log(10));
}

/* The spectrogram bin where band number i (any tensor) begins. */
static cab_value *band(cab_dec *d, cab_value *i, cab_value *bands)
{
    cab_value *low = mel_of_hertz(d, scalar(d, 3)), *high = mel_of_hertz(d, scalar(d, 4)), *x;

    x = bin(d, CAB_OP_div, bin(d, CAB_OP_sub, high, low), bin_c(d, CAB_OP_add, bands, 2));
    x = bin(d, CAB_OP_add, bin(d, CAB_OP_mul, i, x), low);
    x = bin(d, CAB_OP_pow, cab_b_scalar(&d->b, CAB_DT_f64, 10), bin_c(d, CAB_OP_div, x, 2595));
    x = bin_c(d, CAB_OP_mul, bin_c(d, CAB_OP_sub, x, 1), 700);
    x = bin(d, CAB_OP_mul, x, bin_c(d, CAB_OP_add, scalar(d, 1), 1));
    return cab_dec_un(d, CAB_OP_floor, bin(d, CAB_OP_div, x, scalar(d, 2)));
}

static cab_value *select_f64(cab_dec *d, cab_value *c, cab_value *x, cab_value *y)
{
    return cab_dec_failed(d) ? NULL : cab_b_select(&d->b, c, x, y);
}

cab_value *cab_dec_MelWeightMatrix(cab_dec *d)
{
    const cab_dim *bands = one_extent(d, cab_dec_in(d, 0), 0);
    const cab_dim *bins = one_side(d, one_extent(d, cab_dec_in(d, 1), 0));
    cab_value *j = cab_dec_iota(d, 2, 0, bins, CAB_DT_f64), *i = cab_dec_iota(d, 2, 1, bands, CAB_DT_f64);
    cab_value *edge[3], *zero = cab_b_scalar(&d->b, CAB_DT_f64, 0), *up, *down, *in;

    for (int k = 0; k < 3; k++)
        edge[k] = band(d, bin_c(d, CAB_OP_add, i, k), as_f64(d, bands));
    up = bin(d, CAB_OP_div, bin(d, CAB_OP_sub, j, edge[0]), bin(d, CAB_OP_sub, edge[1], edge[0]));
    in = bin(d, CAB_OP_and, bin(d, CAB_OP_le, edge[0], j), bin(d, CAB_OP_le, j, edge[1]));
    up = select_f64(d, in, up, zero);
    in = bin(d, CAB_OP_and, bin(d, CAB_OP_eq, edge[0], edge[1]), bin(d, CAB_OP_eq, j, edge[1]));
    up = select_f64(d, in, cab_b_scalar(&d->b, CAB_DT_f64, 1), up);
    down = bin(d, CAB_OP_div, bin(d, CAB_OP_sub, edge[2], j), bin(d, CAB_OP_sub, edge[2], edge[1]));
    in = bin(d, CAB_OP_and, bin(d, CAB_OP_le, edge[1], j), bin(d, CAB_OP_lt, j, edge[2]));
    return cab_dec_cast(d, select_f64(d, in, down, up),
                        cab_dtype_from_onnx(cab_attr_int(d->n, "output_datatype")));
}
