/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_eval.c - the meaning of one arithmetic instruction on one lane.
 *
 * Every operation is total: integers wrap, x / 0 = 0, shifts by the width or
 * more are defined, float to integer casts truncate and saturate.  Assumes
 * the default rounding mode.  Renderers must agree with this file bit for
 * bit, NaN payloads apart.
 */
#include <math.h>
#include <string.h>
#include "codegen/kir_int.h"

bool cab_kir_arith(cab_dtype dt)
{
    return dt == CAB_DT_f32 || dt == CAB_DT_f64 || dt == CAB_DT_bool ||
           (cab_dtype_is_int(dt) && cab_dtype_bits(dt) >= 8);
}

static float f32_of(cab_kraw v)
{
    uint32_t u = (uint32_t)v;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static double f64_of(cab_kraw v)
{
    double f;

    memcpy(&f, &v, sizeof f);
    return f;
}

static cab_kraw raw_f32(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static cab_kraw raw_f64(double f)
{
    cab_kraw u;

    memcpy(&u, &f, sizeof u);
    return u;
}

cab_kraw cab_kraw_of_int(cab_dtype dt, int64_t v)
{
    cab_kraw u = (cab_kraw)v;
    int bits = cab_dtype_bits(dt);

    if (dt == CAB_DT_bool)
        return v != 0;
    if (bits >= 64)
        return u;
    u &= ((cab_kraw)1 << bits) - 1;
    if (cab_dtype_is_signed(dt) && u >> (bits - 1))
        u |= ~(cab_kraw)0 << bits;
    return u;
}

cab_kraw cab_kraw_of_f64(cab_dtype dt, double v)
{
    switch (dt) {
    case CAB_DT_f64: return raw_f64(v);
    case CAB_DT_f16: return cab_f32_to_f16((float)v);
    case CAB_DT_bf16: return cab_f32_to_bf16((float)v);
    default: return raw_f32((float)v);
    }
}

double cab_kraw_to_f64(cab_dtype dt, cab_kraw v)
{
    switch (dt) {
    case CAB_DT_f64: return f64_of(v);
    case CAB_DT_f32: return f32_of(v);
    case CAB_DT_f16: return cab_f16_to_f32((uint16_t)v);
    case CAB_DT_bf16: return cab_bf16_to_f32((uint16_t)v);
    case CAB_DT_u64: return (double)v;
    default: return (double)(int64_t)v;
    }
}

/* Truncated and saturated to an integer dtype; NaN gives 0. */
static cab_kraw int_of_f64(cab_dtype to, double v)
{
    bool sign = cab_dtype_is_signed(to);
    int bits = cab_dtype_bits(to);
    double top = ldexp(1, sign ? bits - 1 : bits);

    if (isnan(v))
        return 0;
    v = trunc(v);
    if (v >= top)
        return sign ? (cab_kraw)INT64_MAX >> (64 - bits) : UINT64_MAX >> (64 - bits);
    if (v < (sign ? -top : 0))
        return sign ? ~(cab_kraw)0 << (bits - 1) : 0;
    return sign ? (cab_kraw)(int64_t)v : (cab_kraw)v;
}

cab_kraw cab_kraw_cast(cab_dtype to, cab_dtype from, cab_kraw v)
{
    if (to == from)
        return v;
    if (!cab_dtype_is_float(from)) {
        if (!cab_dtype_is_float(to))
            return cab_kraw_of_int(to, (int64_t)v);
        if (to == CAB_DT_f32)   /* one rounding, not two through f64 */
            return raw_f32(from == CAB_DT_u64 ? (float)v : (float)(int64_t)v);
        return cab_kraw_of_f64(to, cab_kraw_to_f64(from, v));
    }
    if (to == CAB_DT_bool)
        return cab_kraw_to_f64(from, v) != 0;
    if (cab_dtype_is_float(to))
        return cab_kraw_of_f64(to, cab_kraw_to_f64(from, v));
    return int_of_f64(to, cab_kraw_to_f64(from, v));
}

cab_kraw cab_kraw_load(cab_dtype dt, const void *p)
{
    int64_t v = 0;

    memcpy(&v, p, (size_t)cab_dtype_bits(dt) / 8);
    return cab_dtype_is_float(dt) ? (cab_kraw)v : cab_kraw_of_int(dt, v);
}

void cab_kraw_store(cab_dtype dt, void *p, cab_kraw v)
{
    memcpy(p, &v, (size_t)cab_dtype_bits(dt) / 8);
}

static cab_kraw eval_f32(cab_kop op, cab_kraw ra, cab_kraw rb, cab_kraw rc)
{
    float a = f32_of(ra), b = f32_of(rb), c = f32_of(rc);

    switch (op) {
    case CAB_K_add: return raw_f32(a + b);
    case CAB_K_sub: return raw_f32(a - b);
    case CAB_K_mul: return raw_f32(a * b);
    case CAB_K_div: return raw_f32(a / b);
    case CAB_K_rem: return raw_f32(fmodf(a, b));
    case CAB_K_fma: return raw_f32(fmaf(a, b, c));
    case CAB_K_neg: return ra ^ 0x80000000u;
    case CAB_K_abs: return ra & 0x7fffffffu;
    case CAB_K_min: return raw_f32(isnan(a) ? a : isnan(b) ? b : b < a ? b : a);
    case CAB_K_max: return raw_f32(isnan(a) ? a : isnan(b) ? b : a < b ? b : a);
    case CAB_K_floor: return raw_f32(floorf(a));
    case CAB_K_ceil: return raw_f32(ceilf(a));
    case CAB_K_rint: return raw_f32(nearbyintf(a));
    case CAB_K_trunc: return raw_f32(truncf(a));
    case CAB_K_sqrt: return raw_f32(sqrtf(a));
    default: CAB_UNREACHABLE();
    }
}

static cab_kraw eval_f64(cab_kop op, cab_kraw ra, cab_kraw rb, cab_kraw rc)
{
    double a = f64_of(ra), b = f64_of(rb), c = f64_of(rc);

    switch (op) {
    case CAB_K_add: return raw_f64(a + b);
    case CAB_K_sub: return raw_f64(a - b);
    case CAB_K_mul: return raw_f64(a * b);
    case CAB_K_div: return raw_f64(a / b);
    case CAB_K_rem: return raw_f64(fmod(a, b));
    case CAB_K_fma: return raw_f64(fma(a, b, c));
    case CAB_K_neg: return ra ^ (cab_kraw)1 << 63;
    case CAB_K_abs: return ra & (cab_kraw)INT64_MAX;
    case CAB_K_min: return raw_f64(isnan(a) ? a : isnan(b) ? b : b < a ? b : a);
    case CAB_K_max: return raw_f64(isnan(a) ? a : isnan(b) ? b : a < b ? b : a);
    case CAB_K_floor: return raw_f64(floor(a));
    case CAB_K_ceil: return raw_f64(ceil(a));
    case CAB_K_rint: return raw_f64(nearbyint(a));
    case CAB_K_trunc: return raw_f64(trunc(a));
    case CAB_K_sqrt: return raw_f64(sqrt(a));
    default: CAB_UNREACHABLE();
    }
}

static bool int_less(cab_dtype dt, cab_kraw a, cab_kraw b)
{
    return cab_dtype_is_signed(dt) ? (int64_t)a < (int64_t)b : a < b;
}

static cab_kraw int_div(cab_dtype dt, cab_kraw a, cab_kraw b, bool rem)
{
    if (!b)
        return 0;
    if (!cab_dtype_is_signed(dt))
        return rem ? a % b : a / b;
    if ((int64_t)b == -1)       /* MIN / -1 wraps to MIN */
        return rem ? 0 : 0 - a;
    return (cab_kraw)(rem ? (int64_t)a % (int64_t)b : (int64_t)a / (int64_t)b);
}

/* Counts are read as unsigned; a negative one is past every width. */
static cab_kraw int_shift(cab_dtype dt, cab_kraw a, cab_kraw b, bool left)
{
    bool sign = cab_dtype_is_signed(dt);
    bool over = b >= (cab_kraw)cab_dtype_bits(dt);

    if (left)
        return over ? 0 : a << b;
    if (sign && (int64_t)a < 0)
        return over ? ~(cab_kraw)0 : ~(~a >> b);
    return over ? 0 : a >> b;
}

static cab_kraw eval_int(cab_kop op, cab_dtype dt, cab_kraw a, cab_kraw b)
{
    switch (op) {
    case CAB_K_add: return a + b;
    case CAB_K_sub: return a - b;
    case CAB_K_mul: return a * b;
    case CAB_K_div: return int_div(dt, a, b, false);
    case CAB_K_rem: return int_div(dt, a, b, true);
    case CAB_K_neg: return 0 - a;
    case CAB_K_abs: return cab_dtype_is_signed(dt) && (int64_t)a < 0 ? 0 - a : a;
    case CAB_K_min: return int_less(dt, b, a) ? b : a;
    case CAB_K_max: return int_less(dt, a, b) ? b : a;
    case CAB_K_and: return a & b;
    case CAB_K_or: return a | b;
    case CAB_K_xor: return a ^ b;
    case CAB_K_shl: return int_shift(dt, a, b, true);
    case CAB_K_shr: return int_shift(dt, a, b, false);
    default: CAB_UNREACHABLE();
    }
}

static bool compare(int sub, cab_dtype dt, cab_kraw a, cab_kraw b)
{
    if (cab_dtype_is_float(dt)) {
        double x = cab_kraw_to_f64(dt, a), y = cab_kraw_to_f64(dt, b);
        return sub == CAB_KC_EQ ? x == y : sub == CAB_KC_NE ? x != y
             : sub == CAB_KC_LT ? x < y : x <= y;
    }
    return sub == CAB_KC_EQ ? a == b : sub == CAB_KC_NE ? a != b
         : sub == CAB_KC_LT ? int_less(dt, a, b) : !int_less(dt, b, a);
}

cab_kraw cab_kraw_eval(cab_kop op, int sub, cab_dtype dt, cab_dtype from,
                       cab_kraw a, cab_kraw b, cab_kraw c)
{
    switch (op) {
    case CAB_K_cmp: return compare(sub, dt, a, b);
    case CAB_K_select: return a ? b : c;
    case CAB_K_cast: return cab_kraw_cast(dt, from, a);
    default: break;
    }
    if (dt == CAB_DT_f32)
        return eval_f32(op, a, b, c);
    if (dt == CAB_DT_f64)
        return eval_f64(op, a, b, c);
    return cab_kraw_of_int(dt, (int64_t)eval_int(op, dt, a, b));
}
