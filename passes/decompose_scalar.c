/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_scalar.c - elementwise ops a rule cannot say.
 *
 * Variadic ones, casts (whose type is an ONNX number) and ops whose formula
 * depends on the element type.  The others stand in decompose.rules.
 */
#include "passes/decompose_int.h"
#include <string.h>

static cab_value *folded(cab_dec *d, cab_op_id op)
{
    cab_value *x = cab_dec_in(d, 0);

    for (int i = 1; i < d->n->n_in; i++)
        x = cab_dec_bin(d, op, x, cab_dec_in(d, i));
    return x;
}

cab_value *cab_dec_Sum(cab_dec *d)
{
    return folded(d, CAB_OP_add);
}

cab_value *cab_dec_Max(cab_dec *d)
{
    return folded(d, CAB_OP_max);
}

cab_value *cab_dec_Min(cab_dec *d)
{
    return folded(d, CAB_OP_min);
}

cab_value *cab_dec_Mean(cab_dec *d)
{
    cab_value *x = folded(d, CAB_OP_add);

    return cab_dec_bin(d, CAB_OP_div, x, cab_dec_num(d, x, d->n->n_in));
}

cab_value *cab_dec_Clip(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);

    for (int i = 1; i <= 2; i++) {
        cab_value *v = cab_dec_in(d, i);

        if (v && cab_dec_rank(v))
            v = cab_dec_reshape(d, v, 0, NULL);
        if (v)
            x = cab_dec_bin(d, i == 1 ? CAB_OP_max : CAB_OP_min, x, v);
    }
    return x;
}

/* ---- casts ---- */
static bool computed(cab_dtype t)
{
    return cab_dtype_bits(t) >= 8 &&
           (t == CAB_DT_bool || cab_dtype_is_int(t) || t == CAB_DT_f16 ||
            t == CAB_DT_bf16 || t == CAB_DT_f32 || t == CAB_DT_f64);
}

static cab_dtype target(cab_dec *d)
{
    cab_dtype t = cab_dtype_from_onnx(cab_attr_int(d->n, "to"));

    if (t == CAB_DT_none)
        cab_dec_bad(d, "attribute to = %lld names no element type",
                    (long long)cab_attr_int(d->n, "to"));
    else if (!computed(t))
        cab_dec_unsupported(d, "the element type %s", cab_dtype_name(t));
    return t;
}

cab_value *cab_dec_Cast(cab_dec *d)
{
    cab_dtype t = target(d);

    return cab_dec_failed(d) ? NULL : cab_dec_cast(d, cab_dec_in(d, 0), t);
}

cab_value *cab_dec_CastLike(cab_dec *d)
{
    return cab_dec_cast(d, cab_dec_in(d, 0), cab_dec_dtype(cab_dec_in(d, 1)));
}

cab_value *cab_dec_BitCast(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_dtype t = target(d);
    cab_attr attr = cab_a_dtype("to", t);

    if (cab_dec_failed(d))
        return NULL;
    if (cab_dtype_bits(t) != cab_dtype_bits(x->type.dtype))
        return cab_dec_unsupported(d, "%s to %s: the widths differ",
                                   cab_dtype_name(x->type.dtype), cab_dtype_name(t));
    /* Bytes other than 0 and 1 are no bools. */
    if (t == CAB_DT_bool && x->type.dtype != CAB_DT_bool)
        return cab_dec_cast(d, x, t);
    return t == x->type.dtype ? x : cab_build(&d->b, CAB_OP_bitcast, 1, &x, 1, &attr);
}

/* ---- by element type or attribute ---- */
cab_value *cab_dec_Mod(cab_dec *d)
{
    return cab_dec_bin(d, cab_attr_int(d->n, "fmod") ? CAB_OP_rem : CAB_OP_mod,
                       cab_dec_in(d, 0), cab_dec_in(d, 1));
}

/* A right shift of a signed number by its width or more (a negative amount
 * counts as such) leaves the sign, where the primitive gives 0. */
static cab_value *sign_fill(cab_dec *d, cab_value *y)
{
    int width = cab_dtype_bits(cab_dec_dtype(y));
    cab_value *most = cab_dec_int(d, y, width - 1);
    cab_value *neg = cab_dec_bin(d, CAB_OP_lt, y, cab_dec_int(d, y, 0));

    return cab_b_select(&d->b, neg, most, cab_dec_bin(d, CAB_OP_min, y, most));
}

cab_value *cab_dec_BitShift(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *y = cab_dec_in(d, 1);
    const char *s = cab_attr_str(d->n, "direction");

    if (!s || (strcmp(s, "LEFT") && strcmp(s, "RIGHT")))
        return cab_dec_bad(d, "attribute direction");
    if (*s == 'L')
        return cab_dec_bin(d, CAB_OP_shl, x, y);
    if (cab_dtype_is_signed(cab_dec_dtype(x)))
        y = sign_fill(d, y);
    return cab_dec_bin(d, CAB_OP_shr, x, y);
}

/* The exponent may have another type; the base's type is the result's. */
cab_value *cab_dec_Pow(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *y = cab_dec_in(d, 1);
    cab_dtype a = cab_dec_dtype(x), b = cab_dec_dtype(y), wide = CAB_DT_f64;

    if (a == b)
        return cab_dec_bin(d, CAB_OP_pow, x, y);
    if (cab_dtype_is_float(a) && !cab_dtype_is_float(b))
        return cab_dec_bin(d, CAB_OP_pow, x, cab_dec_cast(d, y, a));
    if (cab_dtype_is_int(a) && cab_dtype_is_int(b))
        wide = CAB_DT_i64;
    x = cab_dec_bin(d, CAB_OP_pow, cab_dec_cast(d, x, wide), cab_dec_cast(d, y, wide));
    return cab_dec_cast(d, x, a);
}

cab_value *cab_dec_IsInf(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *inf = cab_dec_un(d, CAB_OP_isinf, x), *side;
    bool neg = cab_attr_int(d->n, "detect_negative") != 0;
    bool pos = cab_attr_int(d->n, "detect_positive") != 0;
    cab_value *zero = cab_dec_num(d, x, 0);

    if (neg && pos)
        return inf;
    if (!neg && !pos)
        return cab_dec_bin(d, CAB_OP_and, inf, cab_b_scalar_i(&d->b, CAB_DT_bool, 0));
    side = neg ? cab_dec_bin(d, CAB_OP_lt, x, zero) : cab_dec_bin(d, CAB_OP_lt, zero, x);
    return cab_dec_bin(d, CAB_OP_and, inf, side);
}

/* The slope broadcasts to x: its axes are aligned at the end. */
cab_value *cab_dec_PRelu(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *slope = cab_dec_in(d, 1), *neg;

    neg = cab_dec_bin(d, CAB_OP_lt, x, cab_dec_int(d, x, 0));
    return cab_b_select(&d->b, neg, cab_dec_bin(d, CAB_OP_mul, x, slope), x);
}

cab_value *cab_dec_ml_Binarizer(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_value *t = cab_dec_num(d, x, cab_attr_float(d->n, "threshold"));

    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_lt, t, x), cab_dec_dtype(x));
}

cab_value *cab_dec_ml_Scaler(cab_dec *d)
{
    const cab_attr *offset = cab_attr_find(d->n, "offset"), *scale = cab_attr_find(d->n, "scale");
    cab_value *x = cab_dec_cast(d, cab_dec_in(d, 0), CAB_DT_f32);

    if (!offset || !scale)
        return cab_dec_bad(d, "offset and scale must be there");
    x = cab_dec_bin(d, CAB_OP_sub, x, cab_dec_floats(d, offset));
    return cab_dec_bin(d, CAB_OP_mul, x, cab_dec_floats(d, scale));
}
