/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_pool.c - pools, local and global.
 *
 * The window primitive never counts padding, so an average divides by the
 * window sum of ones where windows reach outside, and by the kernel size where
 * none does.
 */
#include "passes/decompose_int.h"

static cab_value *window(cab_dec *d, cab_value *x, const char *op,
                         const cab_dec_window *win, const int64_t *lo)
{
    cab_attr attr[6];

    if (cab_dec_failed(d) || !x)
        return NULL;
    attr[0] = cab_a_str("op", op);
    attr[1] = cab_a_ints("kernel", win->kernel, win->n);
    attr[2] = cab_a_ints("strides", win->stride, win->n);
    attr[3] = cab_a_ints("pads_lo", lo, win->n);
    attr[4] = cab_a_ints("dilations", win->dilation, win->n);
    attr[5] = cab_a_dims("dims", win->out, win->n);
    return cab_build(&d->b, CAB_OP_window, 1, &x, 6, attr);
}

/* i64 tensor along spatial axis i: out index * stride - pad. */
static cab_value *window_start(cab_dec *d, const cab_dec_window *win, int i)
{
    cab_value *at = cab_dec_iota(d, win->n + 2, i + 2, win->out[i], CAB_DT_i64);

    at = cab_dec_bin(d, CAB_OP_mul, at, cab_dec_int(d, at, win->stride[i]));
    return cab_dec_bin(d, CAB_OP_sub, at, cab_dec_int(d, at, win->lo[i]));
}

/* Flat index in x of each maximum, from the tap number of its window. */
static cab_value *max_indices(cab_dec *d, cab_value *x, const cab_dec_window *win)
{
    cab_dims *ds = d->g->dims;
    cab_value *tap = window(d, x, "argmax", win, win->lo), *sum = NULL, *channel;
    const cab_dim *plane = cab_dec_c(d, 1), *c, *weight[CAB_MAX_RANK];
    bool column = cab_attr_int(d->n, "storage_order") != 0;
    int rank = win->n + 2;

    for (int i = 0; i < win->n; i++) {
        int j = column ? i : win->n - 1 - i;

        weight[j] = plane;
        plane = cab_dim_mul(ds, plane, cab_dec_dim(d, x, j + 2));
    }
    for (int i = win->n - 1; i >= 0; i--) {
        cab_value *k = cab_dec_int(d, tap, win->kernel[i]), *at;

        at = i ? cab_dec_bin(d, CAB_OP_rem, tap, k) : tap;
        tap = i ? cab_dec_bin(d, CAB_OP_div, tap, k) : tap;
        at = cab_dec_bin(d, CAB_OP_mul, at, cab_dec_int(d, at, win->dilation[i]));
        at = cab_dec_bin(d, CAB_OP_add, at, window_start(d, win, i));
        at = cab_dec_bin(d, CAB_OP_mul, at, cab_b_dim(&d->b, weight[i]));
        sum = sum ? cab_dec_bin(d, CAB_OP_add, sum, at) : at;
    }
    c = cab_dec_dim(d, x, 1);
    channel = cab_dec_iota(d, rank, 0, cab_dec_dim(d, x, 0), CAB_DT_i64);
    channel = cab_dec_bin(d, CAB_OP_mul, channel, cab_b_dim(&d->b, c));
    channel = cab_dec_bin(d, CAB_OP_add, channel, cab_dec_iota(d, rank, 1, c, CAB_DT_i64));
    channel = cab_dec_bin(d, CAB_OP_mul, channel, cab_b_dim(&d->b, plane));
    return cab_dec_bin(d, CAB_OP_add, channel, sum);
}

cab_value *cab_dec_MaxPool(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_dec_window win;

    if (!cab_dec_window_read(d, x, NULL, &win))
        return NULL;
    if (cab_dec_wants(d, 1))
        d->out[1] = max_indices(d, x, &win);
    return window(d, x, "max", &win, win.lo);
}

/* Window sum of x; *count = divisor (a scalar, or one number per window). */
static cab_value *sum_and_count(cab_dec *d, cab_value *x, cab_dec_window *win,
                                bool pad_counts, cab_value **count)
{
    const cab_dim *dims[CAB_MAX_RANK], *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];
    int64_t zero[CAB_MAX_RANK] = { 0 }, taps = 1;
    cab_value *ones;
    int rank = win->n + 2;

    for (int i = 0; i < rank; i++) {
        bool spatial = i >= 2 && pad_counts;

        lo[i] = cab_dec_c(d, spatial ? win->lo[i - 2] : 0);
        hi[i] = cab_dec_c(d, spatial ? win->hi[i - 2] : 0);
        dims[i] = i < 2 ? cab_dec_c(d, 1)
                        : cab_dim_add(d->g->dims, cab_dec_dim(d, x, i),
                                      cab_dim_add(d->g->dims, lo[i], hi[i]));
    }
    for (int i = 0; i < win->n; i++)
        taps *= win->kernel[i];
    if (pad_counts && !win->overhang) {
        *count = cab_dec_num(d, x, (double)taps);
    } else if (!win->padded && !win->overhang) {
        *count = cab_dec_num(d, x, (double)taps);
    } else {
        ones = cab_b_expand(&d->b, cab_dec_num(d, x, 1), rank, dims);
        *count = window(d, ones, "sum", win, pad_counts ? zero : win->lo);
    }
    return window(d, x, "sum", win, win->lo);
}

/* f16 and bf16 sums stay in f32 until the division is done. */
cab_value *cab_dec_AveragePool(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *sum, *count;
    cab_dtype dt = cab_dec_dtype(x);
    cab_dec_window win;

    if (!cab_dec_window_read(d, x, NULL, &win))
        return NULL;
    x = cab_dec_cast(d, x, cab_dec_wide(dt));
    sum = sum_and_count(d, x, &win, cab_attr_int(d->n, "count_include_pad") != 0, &count);
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_div, sum, count), dt);
}

/* x to the power p, p a positive integer. */
static cab_value *power(cab_dec *d, cab_value *x, int64_t p)
{
    x = cab_dec_un(d, CAB_OP_abs, x);
    return p == 1 ? x : p == 2 ? cab_dec_bin(d, CAB_OP_mul, x, x)
                  : cab_dec_bin(d, CAB_OP_pow, x, cab_dec_num(d, x, (double)p));
}

static cab_value *root(cab_dec *d, cab_value *x, int64_t p)
{
    return p == 1 ? x : p == 2 ? cab_dec_un(d, CAB_OP_sqrt, x)
                  : cab_dec_bin(d, CAB_OP_pow, x, cab_dec_num(d, x, 1.0 / (double)p));
}

cab_value *cab_dec_LpPool(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_dtype dt = cab_dec_dtype(x);
    int64_t p = cab_attr_int(d->n, "p");
    cab_dec_window win;

    if (!cab_dec_window_read(d, x, NULL, &win))
        return NULL;
    x = power(d, cab_dec_cast(d, x, cab_dec_wide(dt)), p);
    return cab_dec_cast(d, root(d, window(d, x, "sum", &win, win.lo), p), dt);
}

/* ---- global pools ---- */
static int spatial_axes(cab_dec *d, cab_value *x, int64_t *axes)
{
    int n = cab_dec_rank(x) - 2;

    if (n < 1)
        cab_dec_bad(d, "the operand has rank %d, expected at least 3", cab_dec_rank(x));
    for (int i = 0; i < n; i++)
        axes[i] = i + 2;
    return n;
}

cab_value *cab_dec_GlobalAveragePool(cab_dec *d)
{
    int64_t axes[CAB_MAX_RANK];
    cab_value *x = cab_dec_in(d, 0);
    int n = spatial_axes(d, x, axes);

    return n < 1 ? NULL : cab_dec_mean(d, x, axes, n, true);
}

cab_value *cab_dec_GlobalMaxPool(cab_dec *d)
{
    int64_t axes[CAB_MAX_RANK];
    cab_value *x = cab_dec_in(d, 0);
    int n = spatial_axes(d, x, axes);

    return n < 1 ? NULL : cab_dec_reduce(d, x, "max", axes, n, true);
}

cab_value *cab_dec_GlobalLpPool(cab_dec *d)
{
    int64_t axes[CAB_MAX_RANK], p = cab_attr_int(d->n, "p");
    cab_value *x = cab_dec_in(d, 0);
    cab_dtype dt = cab_dec_dtype(x);
    int n = spatial_axes(d, x, axes);

    if (n < 1)
        return NULL;
    x = power(d, cab_dec_cast(d, x, cab_dec_wide(dt)), p);
    return cab_dec_cast(d, root(d, cab_dec_reduce(d, x, "sum", axes, n, true), p), dt);
}
