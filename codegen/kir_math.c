/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_math.c - exp, log, tanh, erf and the tests on floats, as KIR.
 *
 * f32 is computed in f32, f64 in f64, with fma and integer work on the
 * exponent: no tables, no library.  Errors are stated in docs/math.md.
 * Clamps are compare and select so that a NaN passes through.
 */
#include <float.h>
#include <math.h>
#include "codegen/kir_math_coef.h"
#include "codegen/kir_math_int.h"

cab_kv km_poly(cab_kmath m, cab_kv x, const double *coef, int n)
{
    cab_kv y = km_f(m, coef[n - 1]);

    for (int j = n - 2; j >= 0; j--)
        y = km_fma(m, y, x, km_f(m, coef[j]));
    return y;
}

cab_kv km_sign_of(cab_kmath m, cab_kv mag, cab_kv x)
{
    cab_kmath i = km_as(m, km_int(m));
    cab_kv top = km_i(i, m.dt == CAB_DT_f32 ? INT32_MIN : INT64_MIN);

    return km_fbits(m, km_or(i, km_ibits(m, mag), km_and(i, km_ibits(m, x), top)));
}

/* ---- exp ---- */

/* What exp needs to know of a format. */
typedef struct format {
    double magic;              /* 1.5 * 2^(p-1): adding it rounds to an integer */
    double ln2_hi, ln2_lo;     /* n * ln2_hi is exact, and so is x - n * ln2_hi */
    double lo, hi;             /* below: 0; above: infinity (also with shift -1) */
    int64_t magic_bits, bias;
    int mantissa;
} format;
static const format formats[2] = {
    { 12582912.0, 0.693145751953125, 1.428606765330187045e-6,
      -104.5, 91, 0x4b400000, 127, 23 },
    { 6755399441055744.0, 6.93147180369123816490e-01, 1.90821492927058770002e-10,
      -746.5, 712, 0x4338000000000000, 1023, 52 },
};

static const format *format_of(cab_kmath m) { return &formats[m.dt == CAB_DT_f64]; }

/* x = n ln 2 + r: gives e^r, and n as an integer in *n. */
static cab_kv exp_reduced(cab_kmath m, cab_kv x, cab_kv lo, cab_kv *n)
{
    const format *fmt = format_of(m);
    cab_kmath i = km_as(m, km_int(m));
    cab_kv t = km_fma(m, x, km_f(m, 1.4426950408889634), km_f(m, fmt->magic));
    cab_kv nf = km_sub(m, t, km_f(m, fmt->magic));
    cab_kv r = km_fma(m, nf, km_f(m, -fmt->ln2_hi), x);
    cab_kv p;

    r = km_fma(m, nf, km_f(m, -fmt->ln2_lo), r);
    if (lo >= 0)
        r = km_add(m, r, lo);
    p = m.dt == CAB_DT_f32 ? KM_POLY(m, r, exp_f32) : KM_POLY(m, r, exp_f64);
    *n = km_sub(i, km_ibits(m, t), km_i(i, fmt->magic_bits));
    /* Plain Horner to the end: the factor near 1 is rounded before r scales it. */
    return km_fma(m, km_fma(m, p, r, km_f(m, 1)), r, km_f(m, 1));
}

/* 2^n for n in the range of normal exponents. */
static cab_kv power_of_2(cab_kmath m, cab_kv n)
{
    const format *fmt = format_of(m);
    cab_kmath i = km_as(m, km_int(m));

    return km_fbits(m, km_shl(i, km_add(i, n, km_i(i, fmt->bias)), km_i(i, fmt->mantissa)));
}

cab_kv km_exp(cab_kmath m, cab_kv x, cab_kv lo, int shift)
{
    const format *fmt = format_of(m);
    cab_kmath i = km_as(m, km_int(m));
    cab_kv bottom = km_f(m, fmt->lo), top = km_f(m, fmt->hi), y, n, half;

    x = km_sel(m, km_lt(m, x, bottom), bottom, x);
    x = km_sel(m, km_lt(m, top, x), top, x);
    y = exp_reduced(m, x, lo, &n);
    n = km_add(i, n, km_i(i, shift));
    /* Two factors: 2^n itself may be out of range where the result is not;
     * the first product is exact, so a denormal result is rounded once. */
    half = km_shr(i, n, km_i(i, 1));
    y = km_mul(m, y, power_of_2(m, half));
    return km_mul(m, y, power_of_2(m, km_sub(i, n, half)));
}

cab_kv km_exp_normal(cab_kmath m, cab_kv x)
{
    cab_kv n, y = exp_reduced(m, x, -1, &n);

    return km_mul(m, y, power_of_2(m, n));
}

cab_kv cab_k_exp(cab_kir *k, cab_kv x)
{
    return km_exp(km_of(k, x), x, -1, 0);
}

/* ---- log ---- */

cab_kv km_split(cab_kmath m, cab_kv x, cab_kv *e)
{
    bool single = m.dt == CAB_DT_f32;
    const format *fmt = format_of(m);
    cab_kmath i = km_as(m, km_int(m));
    cab_kv tiny = km_lt(m, x, km_f(m, single ? (double)FLT_MIN : DBL_MIN));
    cab_kv scaled = km_mul(m, x, km_f(m, single ? 0x1p23 : 0x1p54));
    /* Bits of 2/3 and sqrt(1/2), where the exponent steps. */
    cab_kv from = km_i(i, single ? 0x3f2aaaab : 0x3fe6a09e667f3bcd);
    cab_kv bits = km_ibits(m, km_sel(m, tiny, scaled, x));
    cab_kv n = km_shr(i, km_sub(i, bits, from), km_i(i, fmt->mantissa));

    *e = km_add(m, cab_k_cast(m.k, m.dt, n),
                km_sel(m, tiny, km_f(m, single ? -23 : -54), km_f(m, 0)));
    return km_fbits(m, km_sub(i, bits, km_shl(i, n, km_i(i, fmt->mantissa))));
}

static cab_kv log_single(cab_kmath m, cab_kv x)
{
    cab_kv e, f = km_sub(m, km_split(m, x, &e), km_f(m, 1));
    cab_kv q = KM_POLY(m, f, log_f32);
    cab_kv y = km_fma(m, km_mul(m, f, f), q, f);

    return km_fma(m, e, km_f(m, 0.693147182464599609375), y);
}

static cab_kv log_double(cab_kmath m, cab_kv x)
{
    cab_kv e, f = km_sub(m, km_split(m, x, &e), km_f(m, 1));
    cab_kv s = km_div(m, f, km_add(m, f, km_f(m, 2)));
    cab_kv z = km_mul(m, s, s);
    cab_kv r = km_mul(m, z, KM_POLY(m, z, log_f64));
    cab_kv h = km_mul(m, km_mul(m, f, f), km_f(m, 0.5));
    /* log(1 + f) = f - (h - s (h + r)); ln 2 in two parts, the first exact
     * times e. */
    cab_kv low = km_fma(m, s, km_add(m, h, r), km_mul(m, e, km_f(m, 1.90821492927058770002e-10)));
    cab_kv y = km_sub(m, f, km_sub(m, h, low));

    return km_fma(m, e, km_f(m, 6.93147180369123816490e-01), y);
}

cab_kv cab_k_log(cab_kir *k, cab_kv x)
{
    cab_kmath m = km_of(k, x);
    cab_kv zero = km_f(m, 0);
    cab_kv y = m.dt == CAB_DT_f32 ? log_single(m, x) : log_double(m, x);
    cab_kv low = km_sel(m, km_eq(m, x, zero), km_f(m, -HUGE_VAL), km_f(m, (double)NAN));

    y = km_sel(m, km_lt(m, x, km_f(m, HUGE_VAL)), y, x);
    /* A NaN fails every comparison and ends at the NaN of `low`. */
    return km_sel(m, km_lt(m, zero, x), y, low);
}

cab_kv km_log1p(cab_kmath m, cab_kv x)
{
    cab_kv u = km_add(m, x, km_f(m, 1));
    cab_kv lost = km_sub(m, x, km_sub(m, u, km_f(m, 1)));

    return km_add(m, cab_k_log(m.k, u), km_div(m, lost, u));
}

/* ---- tanh, erf: odd; but for erf in f32 a polynomial near 0, 1 minus something
 * small beyond ---- */

cab_kv cab_k_tanh(cab_kir *k, cab_kv x)
{
    cab_kmath m = km_of(k, x);
    cab_kv a = km_abs(m, x), z = km_mul(m, x, x), cap = km_f(m, 20);
    cab_kv p = m.dt == CAB_DT_f32 ? KM_POLY(m, z, tanh_f32) : KM_POLY(m, z, tanh_f64);
    cab_kv near = km_fma(m, km_mul(m, a, z), p, a);
    cab_kv one = km_f(m, 1), far;

    a = km_sel(m, km_lt(m, cap, a), cap, a);
    far = km_add(m, km_exp_normal(m, km_add(m, a, a)), one);
    far = km_sub(m, one, km_div(m, km_f(m, 2), far));
    return km_sign_of(m, km_sel(m, km_lt(m, a, km_f(m, 0.55)), near, far), x);
}

/* f32: 1 - erf(a) = 2^p for all a >= 0, with p = a q(a) and q a polynomial: one
 * form for small and large arguments.  p = n + r, 2^p - 1 = 2^n (2^r - 1) +
 * (2^n - 1): near 0 n is 0 and nothing cancels. */
static cab_kv erf_single(cab_kmath m, cab_kv x)
{
    const format *fmt = format_of(m);
    cab_kmath i = km_as(m, km_int(m));
    cab_kv a = km_abs(m, x), cap = km_f(m, 4), magic = km_f(m, fmt->magic), p, t, r, e, two_n;

    a = km_sel(m, km_lt(m, cap, a), cap, a);
    p = km_mul(m, km_mul(m, a, a), KM_POLY_REST(m, a, erf_log2_f32));
    p = km_fma(m, a, km_f(m, erf_log2_f32[0]), p);
    t = km_add(m, p, magic);
    r = km_sub(m, p, km_sub(m, t, magic));
    e = km_mul(m, km_mul(m, r, KM_POLY_REST(m, r, exp2_f32)), r);
    e = km_fma(m, r, km_f(m, exp2_f32[0]), e);
    /* The bits of magic leave the word, those of n become the exponent. */
    two_n = km_shl(i, km_ibits(m, t), km_i(i, fmt->mantissa));
    two_n = km_fbits(m, km_add(i, two_n, km_i(i, fmt->bias << fmt->mantissa)));
    e = km_fma(m, km_neg(m, two_n), e, km_sub(m, km_f(m, 1), two_n));
    return km_sign_of(m, e, x);
}

/* f64: a polynomial below 1, 1 - e^(-a a) times another beyond. */
static cab_kv erf_double(cab_kmath m, cab_kv x)
{
    cab_kv a = km_abs(m, x), z = km_mul(m, x, x), cap = km_f(m, 6), two = km_f(m, 2), t, far;
    cab_kv near = km_fma(m, a, KM_POLY(m, z, erf_small_f64), a);
    cab_kv small = km_lt(m, a, km_f(m, 1));

    a = km_sel(m, km_lt(m, cap, a), cap, a);
    t = km_div(m, km_sub(m, a, two), km_add(m, a, two));
    far = km_mul(m, km_exp_normal(m, km_neg(m, km_mul(m, a, a))), KM_POLY(m, t, erf_large_f64));
    far = km_sub(m, km_f(m, 1), far);
    return km_sign_of(m, km_sel(m, small, near, far), x);
}

cab_kv cab_k_erf(cab_kir *k, cab_kv x)
{
    cab_kmath m = km_of(k, x);

    return m.dt == CAB_DT_f32 ? erf_single(m, x) : erf_double(m, x);
}

/* ---- tests and sign ---- */

cab_kv cab_k_sign(cab_kir *k, cab_kv x)
{
    cab_kmath m = km_of(k, x);
    bool real = cab_dtype_is_float(m.dt);
    cab_kv zero = real ? km_f(m, 0) : km_i(m, 0), one = real ? km_f(m, 1) : km_i(m, 1);
    cab_kv y = x;

    if (real || cab_dtype_is_signed(m.dt))
        y = km_sel(m, km_lt(m, x, zero), real ? km_f(m, -1) : km_i(m, -1), y);
    return km_sel(m, km_lt(m, zero, x), one, y);
}

cab_kv cab_k_isnan(cab_kir *k, cab_kv x)
{
    return cab_k_cmp(k, CAB_KC_NE, x, x);
}

cab_kv cab_k_isinf(cab_kir *k, cab_kv x)
{
    cab_kmath m = km_of(k, x);
    return km_eq(m, km_abs(m, x), km_f(m, HUGE_VAL));
}

cab_kv km_in_f64(cab_kir *k, cab_kv x, cab_kv (*f)(cab_kmath m, cab_kv x))
{
    cab_dtype dt = cab_k_dt(k, x);
    cab_kv wide = cab_k_cast(k, CAB_DT_f64, x);

    return cab_k_cast(k, dt, f(km_of(k, wide), wide));
}
