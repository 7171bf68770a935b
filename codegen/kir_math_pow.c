/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_math_pow.c - pow and the remainders as KIR.
 *
 * pow on floats is e^(y log x), in f64 for f32, and with a logarithm in two
 * doubles for f64; its special cases are those of IEEE 754.  On integers it
 * squares repeatedly and wraps.  fmod is exact, by integer remainders.
 */
#include <math.h>
#include "codegen/kir_math_coef.h"
#include "codegen/kir_math_int.h"

typedef struct pair { cab_kv hi, lo; } pair;   /* an unevaluated sum */

/* a + b exactly, for |a| >= |b| or a = 0. */
static pair sum(cab_kmath m, cab_kv a, cab_kv b)
{
    cab_kv s = km_add(m, a, b);
    return (pair){ s, km_sub(m, b, km_sub(m, s, a)) };
}

/* a * b exactly. */
static pair product(cab_kmath m, cab_kv a, cab_kv b)
{
    cab_kv p = km_mul(m, a, b);
    return (pair){ p, km_fma(m, a, b, km_neg(m, p)) };
}

static pair product_pairs(cab_kmath m, pair a, pair b)
{
    pair p = product(m, a.hi, b.hi);

    p.lo = km_fma(m, a.hi, b.lo, km_fma(m, a.lo, b.hi, p.lo));
    return p;
}

/* log(x), relative error near 2^-65: with s = f / (2 + f), the sum of
 * e ln 2, 2 s and 2/3 s^3 in pairs, and a polynomial for the rest. */
static pair log_pair(cab_kmath m, cab_kv x)
{
    cab_kv e, mant = km_split(m, x, &e), one = km_f(m, 1), f = km_sub(m, mant, one);
    cab_kv d = km_add(m, mant, one), d_lo = km_sub(m, mant, km_sub(m, d, one));
    cab_kv rest, tail;
    pair s, z, cube, acc, more, third = { km_f(m, 2.0 / 3), km_f(m, 3.700743415417188e-17) };

    s.hi = km_div(m, f, d);
    rest = km_fma(m, km_neg(m, s.hi), d, f);
    s.lo = km_div(m, km_fma(m, km_neg(m, s.hi), d_lo, rest), d);
    z = product_pairs(m, s, s);
    cube = product_pairs(m, product_pairs(m, s, z), third);
    tail = km_mul(m, km_mul(m, s.hi, km_mul(m, z.hi, z.hi)), KM_POLY(m, z.hi, pow_f64));
    acc = sum(m, km_mul(m, e, km_f(m, 6.93147180369123816490e-01)), km_add(m, s.hi, s.hi));
    more = sum(m, acc.hi, cube.hi);
    rest = km_fma(m, e, km_f(m, 1.90821492927058770002e-10), km_add(m, s.lo, s.lo));
    rest = km_add(m, rest, km_add(m, cube.lo, tail));
    return sum(m, more.hi, km_add(m, km_add(m, acc.lo, more.lo), rest));
}

/* a^y for a >= 0, f64; the limits at a = 0, inf and NaN included. */
static cab_kv pow_positive(cab_kmath m, cab_kv a, cab_kv y)
{
    cab_kv zero = km_f(m, 0), inf = km_f(m, HUGE_VAL), safe, edge;
    pair l = log_pair(m, a), p;

    edge = km_sel(m, km_eq(m, a, zero), km_f(m, -HUGE_VAL), a);
    safe = km_and(m, km_lt(m, zero, a), km_lt(m, a, inf));
    l.hi = km_sel(m, safe, l.hi, edge);
    l.lo = km_sel(m, safe, l.lo, zero);
    p = product(m, y, l.hi);
    p.lo = km_fma(m, y, l.lo, p.lo);
    safe = km_lt(m, km_abs(m, p.hi), km_f(m, 1000));
    return km_exp(m, p.hi, km_sel(m, safe, p.lo, zero), 0);
}

static cab_kv pow_float(cab_kmath m, cab_kv x, cab_kv y, bool pairs)
{
    cab_kv zero = km_f(m, 0), one = km_f(m, 1), inf = km_f(m, HUGE_VAL);
    cab_kv a = km_abs(m, x), h = km_mul(m, y, km_f(m, 0.5)), c, whole, odd, r;
    cab_kmath i = km_as(m, CAB_DT_i64);

    r = pairs ? pow_positive(m, a, y)
              : km_exp(m, km_mul(m, y, cab_k_log(m.k, a)), -1, 0);
    whole = km_eq(m, km_rint(m, y), y);
    odd = km_and(m, whole, km_ne(m, km_rint(m, h), h));
    c = km_lt(m, km_ibits(m, x), km_i(i, 0));
    r = km_sel(m, km_and(m, c, odd), km_neg(m, r), r);
    /* Negative and finite to a fraction. */
    c = km_and(m, km_lt(m, x, zero), km_lt(m, a, inf));
    c = km_and(m, c, km_ne(m, km_rint(m, y), y));
    r = km_sel(m, c, km_f(m, (double)NAN), r);
    /* 1 to anything, anything to 0, and -1 to an infinity are 1. */
    c = km_and(m, km_eq(m, a, one), km_eq(m, km_abs(m, y), inf));
    c = km_or(m, c, km_eq(m, x, one));
    c = km_or(m, c, km_eq(m, y, zero));
    return km_sel(m, c, one, r);
}

static cab_kv any(cab_kmath m, cab_kv lanes) { return cab_k_fold(m.k, CAB_KF_OR, lanes); }

static cab_kv pow_int(cab_kmath m, cab_kv x, cab_kv y)
{
    cab_kv zero = km_i(m, 0), one = km_i(m, 1), minus = km_i(m, -1), phi[3], res[3], next[3];
    bool sign = cab_dtype_is_signed(m.dt);
    cab_kv left = sign ? km_sel(m, km_lt(m, y, zero), zero, y) : y;
    cab_kv init[3] = { one, x, left }, unit, odd;

    cab_k_while(m.k, 3, init, phi);
    cab_k_cond(m.k, any(m, km_ne(m, phi[2], zero)));
    odd = km_ne(m, km_and(m, phi[2], one), zero);
    next[0] = km_sel(m, odd, km_mul(m, phi[0], phi[1]), phi[0]);
    next[1] = km_mul(m, phi[1], phi[1]);
    next[2] = km_shr(m, phi[2], one);
    cab_k_end(m.k, 3, next, res);
    if (!sign)
        return res[0];
    /* 1 / x^-y truncates to 0 unless x is 1 or -1. */
    odd = km_ne(m, km_and(m, y, one), zero);
    unit = km_sel(m, km_eq(m, x, minus), km_sel(m, odd, minus, one), zero);
    unit = km_sel(m, km_eq(m, x, one), one, unit);
    return km_sel(m, km_lt(m, y, zero), unit, res[0]);
}

/* The usual constant exponents without a logarithm, or -1. */
static cab_kv pow_simple(cab_kmath m, cab_kv x, const cab_kins *y)
{
    double e = cab_dtype_is_float(m.dt) ? y->f : (double)y->imm;

    if (y->op != CAB_K_const)
        return -1;
    if (e == 1)
        return x;
    if (e == 2)
        return km_mul(m, x, x);
    if (e == -1 && cab_dtype_is_float(m.dt))
        return km_div(m, km_f(m, 1), x);
    if (e != 0.5)
        return -1;
    /* sqrt but for -0 and -inf. */
    x = km_sel(m, km_eq(m, x, km_f(m, -HUGE_VAL)), km_f(m, HUGE_VAL), x);
    return km_sqrt(m, km_add(m, x, km_f(m, 0)));
}

cab_kv cab_k_pow(cab_kir *k, cab_kv x, cab_kv y)
{
    cab_kmath m = km_of(k, x), wide = km_as(m, CAB_DT_f64);
    cab_kv simple = pow_simple(m, x, cab_k_ins(k, y));

    if (simple >= 0)
        return simple;
    if (!cab_dtype_is_float(m.dt))
        return pow_int(m, x, y);
    return cab_k_cast(k, m.dt, pow_float(wide, cab_k_cast(k, CAB_DT_f64, x),
                                         cab_k_cast(k, CAB_DT_f64, y),
                                         m.dt == CAB_DT_f64));
}

/* ---- remainders ---- */

/* |x| as integer * 2^(e - 1075): mantissa with its hidden bit, and e >= 1. */
static cab_kv mantissa(cab_kmath u, cab_kv bits, cab_kv *e)
{
    cab_kv zero = km_i(u, 0), one = km_i(u, 1), exponent, normal;

    exponent = km_shr(u, bits, km_i(u, 52));
    normal = km_ne(u, exponent, zero);
    *e = km_sel(u, normal, exponent, one);
    return km_or(u, km_and(u, bits, km_i(u, 0xfffffffffffff)),
                 km_sel(u, normal, km_i(u, 0x10000000000000), zero));
}

/* x 2^n mod y in rounds of 11 bits, which leave 64-bit room. */
static cab_kv shifted_rem(cab_kmath u, cab_kv x, cab_kv y, cab_kv n)
{
    cab_kv most = km_i(u, 11), zero = km_i(u, 0), step, phi[2], next[2], res[2];
    cab_kv init[2] = { km_rem(u, x, y), n };

    cab_k_while(u.k, 2, init, phi);
    cab_k_cond(u.k, any(u, km_ne(u, phi[1], zero)));
    step = km_min(u, phi[1], most);
    next[0] = km_rem(u, km_shl(u, phi[0], step), y);
    next[1] = km_sub(u, phi[1], step);
    cab_k_end(u.k, 2, next, res);
    return res[0];
}

static cab_kv fmod_f64(cab_kmath m, cab_kv x, cab_kv y)
{
    cab_kmath u = km_as(m, CAB_DT_u64);
    cab_kv a = km_abs(m, x), b = km_abs(m, y), ea, eb, ma, mb, n, r, c;

    ma = mantissa(u, cab_k_bitcast(m.k, CAB_DT_u64, a), &ea);
    mb = mantissa(u, cab_k_bitcast(m.k, CAB_DT_u64, b), &eb);
    /* Special operands take no rounds; their result is replaced below. */
    c = km_and(m, km_le(m, b, a), km_lt(m, a, km_f(m, HUGE_VAL)));
    n = km_sel(u, c, km_sub(u, ea, eb), km_i(u, 0));
    r = shifted_rem(u, ma, mb, n);
    /* r 2^(eb - 1075): one exact step, or two where the power is no normal number. */
    r = cab_k_cast(m.k, CAB_DT_f64, cab_k_cast(m.k, CAB_DT_i64, r));
    c = km_lt(u, km_i(u, 52), eb);
    n = km_sel(u, c, km_sub(u, eb, km_i(u, 52)), km_add(u, eb, km_i(u, 1022)));
    n = km_fbits(m, km_shl(u, n, km_i(u, 52)));
    r = km_mul(m, km_mul(m, r, n), km_sel(m, c, km_f(m, 1), km_f(m, 0x1p-1074)));
    r = km_sel(m, km_lt(m, a, b), a, r);
    c = km_and(m, km_lt(m, a, km_f(m, HUGE_VAL)), km_lt(m, km_f(m, 0), b));
    r = km_sel(m, c, r, km_f(m, (double)NAN));
    return km_sign_of(m, r, x);
}

cab_kv cab_k_fmod(cab_kir *k, cab_kv x, cab_kv y)
{
    cab_dtype dt = cab_k_dt(k, x);
    cab_kv a, b;

    if (!cab_dtype_is_float(dt))
        return cab_k_op2(k, CAB_K_rem, x, y);
    a = cab_k_cast(k, CAB_DT_f64, x);
    b = cab_k_cast(k, CAB_DT_f64, y);
    return cab_k_cast(k, dt, fmod_f64(km_of(k, a), a, b));
}

cab_kv cab_k_pymod(cab_kir *k, cab_kv x, cab_kv y)
{
    cab_kmath m = km_of(k, x);
    bool real = cab_dtype_is_float(m.dt);
    cab_kv r = cab_k_fmod(k, x, y), zero = real ? km_f(m, 0) : km_i(m, 0), c;

    if (!real && !cab_dtype_is_signed(m.dt))
        return r;
    c = km_xor(m, km_lt(m, r, zero), km_lt(m, y, zero));
    c = km_and(m, c, km_ne(m, r, zero));
    r = km_sel(m, c, km_add(m, r, y), r);
    return real ? km_sel(m, km_eq(m, r, zero), km_sign_of(m, zero, y), r) : r;
}
