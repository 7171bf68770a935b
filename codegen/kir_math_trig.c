/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_math_trig.c - circular and hyperbolic functions as KIR.
 *
 * All in f64, for f32 arguments too: they are rare in models, and f64 makes
 * the argument reduction of sin and cos exact enough.  Errors are stated in
 * docs/math.md.
 */
#include <math.h>
#include "codegen/kir_math_coef.h"
#include "codegen/kir_math_int.h"

/* Sine, cosine and quadrant (0..3, as a float) of the reduced argument. */
typedef struct reduced { cab_kv sin, cos, quadrant; } reduced;

static reduced reduce(cab_kmath m, cab_kv x, bool shorter, int turn)
{
    cab_kv n = km_rint(m, km_mul(m, x, km_f(m, 0.63661977236758134308)));
    cab_kv top = km_f(m, 0.79), low = km_f(m, -0.79), four = km_f(m, 4), r, z, q;
    reduced out;

    /* pi/2 in three parts; each fma rounds once. */
    r = km_fma(m, n, km_f(m, -1.5707963267948965580), x);
    r = km_fma(m, n, km_f(m, -6.1232339957367660359e-17), r);
    r = km_fma(m, n, km_f(m, 1.4973849048591698e-33), r);
    /* Huge arguments stay inside the polynomials' range. */
    r = km_sel(m, km_lt(m, top, r), top, r);
    r = km_sel(m, km_lt(m, r, low), low, r);
    z = km_mul(m, r, r);
    out.sin = km_fma(m, km_mul(m, r, z),
                     shorter ? KM_POLY(m, z, sin_short) : KM_POLY(m, z, sin_f64), r);
    out.sin = km_sel(m, km_eq(m, x, km_f(m, 0)), x, out.sin);   /* keeps -0 */
    out.cos = shorter ? KM_POLY(m, z, cos_short) : KM_POLY(m, z, cos_f64);
    out.cos = km_fma(m, z, km_fma(m, z, out.cos, km_f(m, -0.5)), km_f(m, 1));
    q = km_add(m, n, km_f(m, turn));
    q = km_sub(m, q, km_mul(m, four, km_floor(m, km_mul(m, q, km_f(m, 0.25)))));
    out.quadrant = q;
    return out;
}

static cab_kv odd_quadrant(cab_kmath m, cab_kv q)
{
    return km_or(m, km_eq(m, q, km_f(m, 1)), km_eq(m, q, km_f(m, 3)));
}

/* sin(x + turn * pi/2) */
static cab_kv turned_sin(cab_kir *k, cab_kv x, int turn)
{
    cab_dtype dt = cab_k_dt(k, x);
    cab_kv wide = cab_k_cast(k, CAB_DT_f64, x), y;
    cab_kmath m = km_of(k, wide);
    reduced r = reduce(m, wide, dt == CAB_DT_f32, turn);

    y = km_sel(m, odd_quadrant(m, r.quadrant), r.cos, r.sin);
    y = km_sel(m, km_le(m, km_f(m, 2), r.quadrant), km_neg(m, y), y);
    return cab_k_cast(k, dt, y);
}

cab_kv cab_k_sin(cab_kir *k, cab_kv x) { return turned_sin(k, x, 0); }
cab_kv cab_k_cos(cab_kir *k, cab_kv x) { return turned_sin(k, x, 1); }

static cab_kv tan_f64(cab_kmath m, cab_kv x)
{
    reduced r = reduce(m, x, false, 0);
    cab_kv odd = odd_quadrant(m, r.quadrant);
    cab_kv up = km_sel(m, odd, km_neg(m, r.cos), r.sin);

    return km_div(m, up, km_sel(m, odd, r.sin, r.cos));
}

/* Positive a: asin(a) = a + a z P(z) up to 1/2; beyond, with
 * s = sqrt((1 - a) / 2), it is pi/2 - 2 asin(s).  Gives asin of the smaller
 * one, and in *beyond which it is. */
static cab_kv asin_part(cab_kmath m, cab_kv a, cab_kv *beyond)
{
    cab_kv half = km_f(m, 0.5), z, s;

    *beyond = km_lt(m, half, a);
    z = km_sel(m, *beyond, km_mul(m, km_sub(m, km_f(m, 1), a), half), km_mul(m, a, a));
    s = km_sel(m, *beyond, km_sqrt(m, z), a);
    return km_fma(m, km_mul(m, s, z), KM_POLY(m, z, asin_f64), s);
}

static const double half_pi = 1.5707963267948965580, half_pi_lo = 6.1232339957367660359e-17;

static cab_kv asin_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv beyond, y = asin_part(m, km_abs(m, x), &beyond), far;

    far = km_add(m, km_fma(m, y, km_f(m, -2), km_f(m, half_pi)), km_f(m, half_pi_lo));
    return km_sign_of(m, km_sel(m, beyond, far, y), x);
}

static cab_kv acos_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv beyond, y = asin_part(m, km_abs(m, x), &beyond), near, far;
    cab_kv negative = km_lt(m, x, km_f(m, 0)), twice = km_add(m, y, y);

    near = km_sub(m, km_f(m, half_pi),
                  km_sub(m, km_sel(m, negative, km_neg(m, y), y), km_f(m, half_pi_lo)));
    far = km_add(m, km_sub(m, km_f(m, 2 * half_pi), twice), km_f(m, 2 * half_pi_lo));
    return km_sel(m, beyond, km_sel(m, negative, far, twice), near);
}

/* atan(a) = base + atan(t), with t below tan(pi/8). */
static cab_kv atan_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv a = km_abs(m, x), one = km_f(m, 1), zero = km_f(m, 0), t, z, y;
    cab_kv middle = km_lt(m, km_f(m, 0.41421356237309503), a);
    cab_kv large = km_lt(m, km_f(m, 2.4142135623730949), a);
    cab_kv up = km_sel(m, large, km_f(m, -1), km_sel(m, middle, km_sub(m, a, one), a));
    cab_kv down = km_sel(m, large, a, km_sel(m, middle, km_add(m, a, one), one));
    cab_kv base = km_sel(m, large, km_f(m, half_pi),
                         km_sel(m, middle, km_f(m, half_pi / 2), zero));
    cab_kv base_lo = km_sel(m, large, km_f(m, half_pi_lo),
                            km_sel(m, middle, km_f(m, half_pi_lo / 2), zero));

    t = km_div(m, up, down);
    z = km_mul(m, t, t);
    y = km_fma(m, km_mul(m, t, z), KM_POLY(m, z, atan_f64), base_lo);
    return km_sign_of(m, km_abs(m, km_add(m, base, km_add(m, t, y))), x);
}

/* e^|x| / 2, which overflows only where sinh and cosh do. */
static cab_kv half_exp(cab_kmath m, cab_kv x) { return km_exp(m, km_abs(m, x), -1, -1); }

static cab_kv sinh_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv a = km_abs(m, x), z = km_mul(m, x, x), h = half_exp(m, x);
    cab_kv near = km_fma(m, km_mul(m, a, z), KM_POLY(m, z, sinh_f64), a);
    cab_kv far = km_sub(m, h, km_div(m, km_f(m, 0.25), h));

    return km_sign_of(m, km_sel(m, km_lt(m, a, km_f(m, 1)), near, far), x);
}

static cab_kv cosh_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv h = half_exp(m, x);
    return km_add(m, h, km_div(m, km_f(m, 0.25), h));
}

/* log(a + sqrt(a a + c)) for a beyond 2^28, where it is log(2 a). */
static cab_kv log_twice(cab_kmath m, cab_kv a)
{
    return km_add(m, cab_k_log(m.k, a), km_f(m, 0.693147180559945286227));
}

static cab_kv asinh_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv a = km_abs(m, x), one = km_f(m, 1), big = km_f(m, 0x1p28);
    cab_kv c = km_sel(m, km_lt(m, big, a), big, a), z = km_mul(m, c, c);
    cab_kv root = km_sqrt(m, km_add(m, z, one));
    cab_kv near = km_log1p(m, km_add(m, c, km_div(m, z, km_add(m, root, one))));

    return km_sign_of(m, km_sel(m, km_lt(m, big, a), log_twice(m, a), near), x);
}

static cab_kv acosh_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv big = km_f(m, 0x1p28), c = km_sel(m, km_lt(m, big, x), big, x);
    cab_kv t = km_sub(m, c, km_f(m, 1));
    cab_kv near = km_log1p(m, km_add(m, t, km_sqrt(m, km_fma(m, t, t, km_add(m, t, t)))));

    /* Far below 1 the sum under the logarithm rounds to 0. */
    near = km_sel(m, km_lt(m, x, km_f(m, 1)), km_f(m, (double)NAN), near);
    return km_sel(m, km_lt(m, big, x), log_twice(m, x), near);
}

static cab_kv atanh_f64_of(cab_kmath m, cab_kv x)
{
    cab_kv a = km_abs(m, x);
    cab_kv t = km_div(m, km_add(m, a, a), km_sub(m, km_f(m, 1), a));
    cab_kv y = km_mul(m, km_log1p(m, t), km_f(m, 0.5));

    /* At 1 log1p meets inf - inf. */
    y = km_sel(m, km_eq(m, a, km_f(m, 1)), km_f(m, HUGE_VAL), y);
    return km_sign_of(m, y, x);
}

cab_kv cab_k_tan(cab_kir *k, cab_kv x) { return km_in_f64(k, x, tan_f64); }
cab_kv cab_k_asin(cab_kir *k, cab_kv x) { return km_in_f64(k, x, asin_f64_of); }
cab_kv cab_k_acos(cab_kir *k, cab_kv x) { return km_in_f64(k, x, acos_f64_of); }
cab_kv cab_k_atan(cab_kir *k, cab_kv x) { return km_in_f64(k, x, atan_f64_of); }
cab_kv cab_k_sinh(cab_kir *k, cab_kv x) { return km_in_f64(k, x, sinh_f64_of); }
cab_kv cab_k_cosh(cab_kir *k, cab_kv x) { return km_in_f64(k, x, cosh_f64_of); }
cab_kv cab_k_asinh(cab_kir *k, cab_kv x) { return km_in_f64(k, x, asinh_f64_of); }
cab_kv cab_k_acosh(cab_kir *k, cab_kv x) { return km_in_f64(k, x, acosh_f64_of); }
cab_kv cab_k_atanh(cab_kir *k, cab_kv x) { return km_in_f64(k, x, atanh_f64_of); }
