/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_quant.c - quantisation and integer products.
 *
 * Quantising is a true division, rint, plus zero point, saturation.  Integer
 * products subtract the zero points in i32 first, so padding is an exact 0.
 */
#include "passes/decompose_int.h"
#include <math.h>

static bool whole(cab_dec *d, cab_dtype t)
{
    if (cab_dtype_is_int(t) && cab_dtype_bits(t) >= 8)
        return true;
    cab_dec_unsupported(d, "the quantised type %s", cab_dtype_name(t));
    return false;
}

static double least(cab_dtype t)
{
    return cab_dtype_is_signed(t) ? -ldexp(1, cab_dtype_bits(t) - 1) : 0;
}

static double most(cab_dtype t)
{
    return ldexp(1, cab_dtype_bits(t) - cab_dtype_is_signed(t)) - 1;
}

cab_value *cab_dec_quant_param(cab_dec *d, cab_value *p, cab_value *x, int axis)
{
    int64_t block = cab_attr_int(d->n, "block_size");
    const cab_dim *dims[CAB_MAX_RANK + 1], *full;
    int rank = cab_dec_rank(x);

    if (!p || cab_type_numel_static(&p->type) == 1)
        return p && p->type.rank ? cab_dec_reshape(d, p, 0, NULL) : p;
    if (!block)
        return cab_dec_along(d, p, axis, rank);
    if (cab_dec_rank(p) != rank || rank >= CAB_MAX_RANK)
        return cab_dec_bad(d, "block scales of rank %d for rank %d", cab_dec_rank(p), rank);
    full = cab_dim_mul(d->g->dims, p->type.dims[axis], cab_dec_c(d, block));
    for (int i = 0; i <= rank; i++)
        dims[i] = i <= axis ? p->type.dims[i] : i == axis + 1 ? cab_dec_c(d, block)
                                                              : p->type.dims[i - 1];
    p = cab_b_expand(&d->b, cab_dec_unsqueeze(d, p, axis + 1), rank + 1, dims);
    for (int i = 0; i < rank; i++)
        dims[i] = i == axis ? full : x->type.dims[i];
    return cab_dec_cut(d, cab_dec_reshape(d, p, rank, dims), axis, cab_dec_c(d, 0),
                       x->type.dims[axis]);
}

static int axis_of(cab_dec *d, cab_value *x, cab_value *scale)
{
    int64_t a = cab_attr_int(d->n, "axis");
    int rank = cab_dec_rank(x);

    /* The axis does not matter for one scale. */
    if (scale && cab_type_numel_static(&scale->type) == 1)
        return 0;
    return cab_dec_axis(d, a, rank);
}

cab_value *cab_dec_quantize(cab_dec *d, cab_value *x, cab_value *scale, cab_value *zero,
                            cab_dtype t)
{
    cab_dtype dt = cab_dec_wide(cab_dec_dtype(x));
    cab_value *y;

    x = cab_dec_cast(d, x, dt);
    y = cab_dec_bin(d, CAB_OP_div, x, cab_dec_cast(d, scale, dt));
    y = cab_dec_un(d, CAB_OP_rint, y);
    if (zero)
        y = cab_dec_bin(d, CAB_OP_add, y, cab_dec_cast(d, zero, dt));
    y = cab_dec_bin(d, CAB_OP_max, y, cab_dec_num(d, y, least(t)));
    y = cab_dec_bin(d, CAB_OP_min, y, cab_dec_num(d, y, most(t)));
    return cab_dec_cast(d, y, t);
}

cab_value *cab_dec_QuantizeLinear(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *s = cab_dec_in(d, 1), *z = cab_dec_in(d, 2);
    int64_t out = cab_attr_int(d->n, "output_dtype");
    int64_t precision = cab_attr_int(d->n, "precision");
    cab_dtype t = z ? z->type.dtype : out ? cab_dtype_from_onnx(out) : CAB_DT_u8;
    int axis = axis_of(d, x, s);

    if (cab_dec_failed(d) || !whole(d, t))
        return NULL;
    if (cab_dtype_bits(t) > 16)
        return cab_dec_unsupported(d, "the quantised type %s", cab_dtype_name(t));
    if (precision && precision != cab_dtype_onnx(CAB_DT_f32))
        return cab_dec_unsupported(d, "attribute precision");
    x = cab_dec_cast(d, x, cab_dec_dtype(s));
    return cab_dec_quantize(d, x, cab_dec_quant_param(d, s, x, axis), cab_dec_quant_param(d, z, x, axis), t);
}

cab_value *cab_dec_DequantizeLinear(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *s = cab_dec_in(d, 1), *z = cab_dec_in(d, 2), *y;
    int64_t out = cab_attr_int(d->n, "output_dtype");
    cab_dtype t = out ? cab_dtype_from_onnx(out) : cab_dec_dtype(s), wide = cab_dec_wide(t);
    int axis = axis_of(d, x, s);

    if (cab_dec_failed(d) || !whole(d, x->type.dtype))
        return NULL;
    if (!cab_dtype_is_float(t) || cab_dtype_bits(t) < 16)
        return cab_dec_unsupported(d, "attribute output_dtype");
    y = cab_dec_cast(d, x, CAB_DT_i32);
    if (z)
        y = cab_dec_bin(d, CAB_OP_sub, y, cab_dec_cast(d, cab_dec_quant_param(d, z, x, axis), CAB_DT_i32));
    y = cab_dec_bin(d, CAB_OP_mul, cab_dec_cast(d, y, wide),
                    cab_dec_cast(d, cab_dec_quant_param(d, s, x, axis), wide));
    return cab_dec_cast(d, y, t);
}

cab_value *cab_dec_quantize_dynamic(cab_dec *d, cab_value *x, cab_value **out_scale,
                                    cab_value **out_zero)
{
    cab_value *hi, *lo, *scale, *zero, *zf, *span;
    int64_t axes[CAB_MAX_RANK];
    int rank = cab_dec_rank(x);

    for (int i = 0; i < rank; i++)
        axes[i] = i;
    zf = cab_dec_num(d, x, 0);
    hi = cab_dec_bin(d, CAB_OP_max, cab_dec_reduce(d, x, "max", axes, rank, false), zf);
    lo = cab_dec_bin(d, CAB_OP_min, cab_dec_reduce(d, x, "min", axes, rank, false), zf);
    span = cab_dec_bin(d, CAB_OP_sub, hi, lo);
    scale = cab_dec_bin(d, CAB_OP_div, span, cab_dec_num(d, x, 255));
    /* All zeros: any scale does; 1 keeps the division defined. */
    scale = cab_b_select(&d->b, cab_dec_bin(d, CAB_OP_eq, span, zf), cab_dec_num(d, x, 1), scale);
    zero = cab_dec_un(d, CAB_OP_neg, cab_dec_bin(d, CAB_OP_div, lo, scale));
    zero = cab_dec_bin(d, CAB_OP_max, cab_dec_un(d, CAB_OP_rint, zero), zf);
    zero = cab_dec_bin(d, CAB_OP_min, zero, cab_dec_num(d, x, 255));
    zero = cab_dec_cast(d, zero, CAB_DT_u8);
    *out_scale = scale;
    *out_zero = zero;
    return cab_dec_quantize(d, x, scale, zero, CAB_DT_u8);
}

cab_value *cab_dec_DynamicQuantizeLinear(cab_dec *d)
{
    cab_value *scale, *zero, *y;

    y = cab_dec_quantize_dynamic(d, cab_dec_in(d, 0), &scale, &zero);
    if (cab_dec_wants(d, 1))
        d->out[1] = scale;
    if (cab_dec_wants(d, 2))
        d->out[2] = zero;
    return y;
}

/* ---- integer products ---- */

cab_value *cab_dec_centred(cab_dec *d, cab_value *x, cab_value *zero, int axis)
{
    cab_value *y = cab_dec_cast(d, x, CAB_DT_i32);

    if (!zero)
        return y;
    zero = cab_dec_cast(d, zero, CAB_DT_i32);
    if (!zero)
        return NULL;
    if (cab_type_numel_static(&zero->type) == 1)
        zero = cab_dec_reshape(d, zero, 0, NULL);
    else if (cab_dec_rank(zero) == 1)
        zero = cab_dec_along(d, zero, axis, cab_dec_rank(x));
    return cab_dec_bin(d, CAB_OP_sub, y, zero);
}

cab_value *cab_dec_MatMulInteger(cab_dec *d)
{
    cab_value *a = cab_dec_in(d, 0), *b = cab_dec_in(d, 1);
    int ra = cab_dec_rank(a), rb = cab_dec_rank(b);

    a = cab_dec_centred(d, a, cab_dec_in(d, 2), ra >= 2 ? ra - 2 : 0);
    b = cab_dec_centred(d, b, cab_dec_in(d, 3), rb - 1);
    return cab_dec_matmul(d, a, b, CAB_DT_i32);
}

cab_value *cab_dec_ConvInteger(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *w = cab_dec_in(d, 1);
    cab_dec_window win;

    if (!cab_dec_window_read(d, x, w, &win))
        return NULL;
    x = cab_dec_centred(d, x, cab_dec_in(d, 2), 1);
    w = cab_dec_centred(d, w, cab_dec_in(d, 3), 0);
    return cab_dec_conv(d, x, w, &win, cab_attr_int(d->n, "group"), CAB_DT_i32);
}

/* acc (i32) times the ratio of scales, quantised again. */
static cab_value *requantize(cab_dec *d, cab_value *acc, cab_value *sa, cab_value *sb,
                             cab_value *sy, cab_value *zy)
{
    cab_value *y = cab_dec_cast(d, acc, CAB_DT_f32);
    cab_value *s = cab_dec_bin(d, CAB_OP_mul, cab_dec_cast(d, sa, CAB_DT_f32),
                               cab_dec_cast(d, sb, CAB_DT_f32));

    y = cab_dec_bin(d, CAB_OP_mul, y, s);
    return cab_dec_quantize(d, y, cab_dec_cast(d, sy, CAB_DT_f32), zy, cab_dec_dtype(zy));
}

cab_value *cab_dec_QLinearMatMul(cab_dec *d)
{
    cab_value *a = cab_dec_in(d, 0), *b = cab_dec_in(d, 3), *acc, *sa, *sb;
    int ra = cab_dec_rank(a), rb = cab_dec_rank(b), r;

    if (!whole(d, cab_dec_dtype(a)) || !whole(d, cab_dec_dtype(b)) ||
        !whole(d, cab_dec_dtype(cab_dec_in(d, 7))))
        return NULL;
    if (ra < 2 || rb < 2)
        return cab_dec_unsupported(d, "operands of rank %d and %d", ra, rb);
    acc = cab_dec_matmul(d, cab_dec_centred(d, a, cab_dec_in(d, 2), ra - 2),
                         cab_dec_centred(d, b, cab_dec_in(d, 5), rb - 1), CAB_DT_i32);
    r = cab_dec_rank(acc);
    sa = cab_dec_in(d, 1);
    sb = cab_dec_in(d, 4);
    if (cab_dec_rank(sa) == 1)
        sa = cab_type_numel_static(&sa->type) == 1 ? cab_dec_reshape(d, sa, 0, NULL)
                                                   : cab_dec_along(d, sa, r - 2, r);
    return requantize(d, acc, sa, sb, cab_dec_in(d, 6), cab_dec_in(d, 7));
}

cab_value *cab_dec_QLinearConv(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *w = cab_dec_in(d, 3), *bias = cab_dec_in(d, 8), *acc;
    cab_value *sw = cab_dec_in(d, 4);
    int rank = cab_dec_rank(x);
    cab_dec_window win;

    if (!cab_dec_window_read(d, x, w, &win))
        return NULL;
    acc = cab_dec_conv(d, cab_dec_centred(d, x, cab_dec_in(d, 2), 1), cab_dec_centred(d, w, cab_dec_in(d, 5), 0),
                       &win, cab_attr_int(d->n, "group"), CAB_DT_i32);
    if (bias)
        acc = cab_dec_bin(d, CAB_OP_add, acc, cab_dec_along(d, bias, 1, rank));
    if (sw && cab_dec_rank(sw) == 1)
        sw = cab_type_numel_static(&sw->type) == 1 ? cab_dec_reshape(d, sw, 0, NULL)
                                                   : cab_dec_along(d, sw, 1, rank);
    return requantize(d, acc, cab_dec_in(d, 1), sw, cab_dec_in(d, 6), cab_dec_in(d, 7));
}
