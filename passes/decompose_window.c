/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_window.c - window geometry, convolutions, pools.
 *
 * Extents of results are symbolic; kernels, strides, dilations and pads are
 * integers.  auto_pad SAME with a stride needs known extents, because then
 * the padding depends on them.
 */
#include "passes/decompose_int.h"
#include <string.h>

static bool read_kernel(cab_dec *d, const cab_value *w, cab_dec_window *win)
{
    if (cab_attr_ints(d->n, "kernel_shape", NULL) > 0)
        return cab_dec_list(d, "kernel_shape", win->n, 1, win->kernel);
    if (!w) {
        cab_dec_bad(d, "kernel_shape is missing");
        return false;
    }
    for (int i = 0; i < win->n; i++) {
        win->kernel[i] = cab_dec_extent(d, w, i + 2);
        if (cab_dec_failed(d))
            return false;
    }
    return true;
}

static bool read_pads(cab_dec *d, cab_dec_window *win)
{
    int64_t pads[2 * CAB_MAX_RANK];

    if (!cab_dec_list(d, "pads", 2 * win->n, 0, pads))
        return false;
    for (int i = 0; i < win->n; i++) {
        win->lo[i] = pads[i];
        win->hi[i] = pads[i + win->n];
    }
    return true;
}

/* Padding of SAME_UPPER and SAME_LOWER along axis i. */
static bool same_pads(cab_dec *d, const cab_dim *in, bool lower, int i,
                      cab_dec_window *win)
{
    int64_t span = (win->kernel[i] - 1) * win->dilation[i] + 1, total;

    win->out[i] = cab_dim_ceildiv(d->g->dims, in, cab_dec_c(d, win->stride[i]));
    if (win->stride[i] == 1) {
        total = span - 1;
    } else if (cab_dim_is_const(in)) {
        total = (win->out[i]->value - 1) * win->stride[i] + span - in->value;
        if (total < 0)
            total = 0;
    } else {
        cab_dec_unsupported(d, "auto_pad SAME with a stride needs a known "
                            "extent of spatial axis %d", i);
        return false;
    }
    win->lo[i] = lower ? (total + 1) / 2 : total / 2;
    win->hi[i] = total - win->lo[i];
    return true;
}

static const cab_dim *out_extent(cab_dec *d, const cab_dim *in, int i, bool ceil,
                                 cab_dec_window *win)
{
    cab_dims *ds = d->g->dims;
    int64_t span = (win->kernel[i] - 1) * win->dilation[i] + 1;
    const cab_dim *s = cab_dec_c(d, win->stride[i]), *one = cab_dec_c(d, 1);
    const cab_dim *room = cab_dim_add(ds, in, cab_dec_c(d, win->lo[i] + win->hi[i] - span));
    const cab_dim *floor = cab_dim_add(ds, cab_dim_floordiv(ds, room, s), one), *n;

    if (!ceil)
        return floor;
    n = cab_dim_add(ds, cab_dim_ceildiv(ds, room, s), one);
    /* A window that would start in the padding behind the input is dropped. */
    n = cab_dim_min(ds, n, cab_dim_ceildiv(ds, cab_dim_add(ds, in, cab_dec_c(d, win->lo[i])), s));
    if (cab_dim_eq(n, floor) != 1)
        win->overhang = true;
    return n;
}

bool cab_dec_window_read(cab_dec *d, const cab_value *x, const cab_value *w,
                         cab_dec_window *win)
{
    const char *mode = cab_attr_str(d->n, "auto_pad");
    bool ceil;

    memset(win, 0, sizeof *win);
    win->n = cab_dec_rank(x) - 2;
    if (win->n < 1) {
        cab_dec_bad(d, "the operand has rank %d, expected at least 3", cab_dec_rank(x));
        return false;
    }
    if (!read_kernel(d, w, win) ||
        !cab_dec_list(d, "strides", win->n, 1, win->stride) ||
        !cab_dec_list(d, "dilations", win->n, 1, win->dilation) || !read_pads(d, win))
        return false;
    ceil = cab_attr_int(d->n, "ceil_mode") != 0;
    if (!mode || !*mode)
        mode = "NOTSET";
    for (int i = 0; i < win->n; i++) {
        const cab_dim *in = cab_dec_dim(d, x, i + 2);

        if (win->kernel[i] < 1 || win->stride[i] < 1 || win->dilation[i] < 1) {
            cab_dec_bad(d, "kernel, stride and dilation must be positive");
            return false;
        }
        if (win->kernel[i] * win->dilation[i] > INT32_MAX) {
            cab_dec_bad(d, "the kernel spans more than 2^31 elements");
            return false;
        }
        if (!strcmp(mode, "VALID"))
            win->lo[i] = win->hi[i] = 0;
        if (!strncmp(mode, "SAME", 4)) {
            if (!same_pads(d, in, !strcmp(mode, "SAME_LOWER"), i, win))
                return false;
        } else {
            win->out[i] = out_extent(d, in, i, ceil, win);
        }
        if (win->out[i]->hi <= 0 && win->out[i]->lo < 0) {
            cab_dec_bad(d, "the kernel is larger than the padded input");
            return false;
        }
        win->padded = win->padded || win->lo[i] || win->hi[i];
    }
    return true;
}

cab_value *cab_dec_conv(cab_dec *d, cab_value *x, cab_value *w,
                        const cab_dec_window *win, int64_t group, cab_dtype acc)
{
    cab_value *in[] = { x, w };
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];
    int64_t plo[CAB_MAX_RANK], phi[CAB_MAX_RANK];
    cab_attr attr[7];
    int n = 0;

    if (cab_dec_failed(d))
        return NULL;
    for (int i = 0; i < 2; i++)
        lo[i] = hi[i] = cab_dec_c(d, 0);
    for (int i = 0; i < win->n; i++) {
        lo[i + 2] = cab_dec_c(d, win->lo[i] < 0 ? win->lo[i] : 0);
        hi[i + 2] = cab_dec_c(d, win->hi[i] < 0 ? win->hi[i] : 0);
        plo[i] = win->lo[i] < 0 ? 0 : win->lo[i];
        phi[i] = win->hi[i] < 0 ? 0 : win->hi[i];
    }
    in[0] = cab_dec_pad(d, x, lo, hi, NULL);
    attr[n++] = cab_a_ints("strides", win->stride, win->n);
    attr[n++] = cab_a_ints("pads_lo", plo, win->n);
    attr[n++] = cab_a_ints("pads_hi", phi, win->n);
    attr[n++] = cab_a_ints("dilations", win->dilation, win->n);
    attr[n++] = cab_a_int("group", group);
    if (acc != CAB_DT_none)
        attr[n++] = cab_a_dtype("out", acc);
    return cab_build(&d->b, CAB_OP_conv, 2, in, n, attr);
}

cab_value *cab_dec_Conv(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *w = cab_dec_in(d, 1), *b = cab_dec_in(d, 2);
    cab_dec_window win;
    cab_value *y;

    if (!cab_dec_window_read(d, x, w, &win))
        return NULL;
    if (cab_dec_rank(w) != cab_dec_rank(x))
        return cab_dec_bad(d, "operand and weights differ in rank");
    y = cab_dec_conv(d, x, w, &win, cab_attr_int(d->n, "group"), CAB_DT_none);
    if (b)
        y = cab_dec_bin(d, CAB_OP_add, y, cab_dec_along(d, b, 1, cab_dec_rank(x)));
    return y;
}
