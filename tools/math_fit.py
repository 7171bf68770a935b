#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# math_fit.py - fits the polynomials of codegen/kir_math_coef.h.
#
# Weighted least squares on Chebyshev nodes in 60 digits, near minimax.  The
# coefficients are rounded to the target precision one by one, lowest power
# first, and the rest is fitted again after each, so rounding costs little.
# Prints a C table per function and, on stderr, the weighted maximum error of
# the rounded polynomial.  Needs mpmath and numpy.  docs/math.md says what
# each polynomial is for.
import sys
import mpmath as mp
import numpy as np

mp.mp.dps = 60


def rounded(c, bits):
    return mp.mpf(float(np.float32(float(c)))) if bits == 24 else mp.mpf(float(c))


def solve(xs, ys, ws, powers):
    a = mp.matrix(len(xs), len(powers))
    b = mp.matrix(len(xs), 1)
    for i, x in enumerate(xs):
        for j, p in enumerate(powers):
            a[i, j] = ws[i] * x ** p
        b[i] = ws[i] * ys[i]
    return mp.qr_solve(a, b)[0]


def fit(name, f, weight, lo, hi, degree, bits):
    lo, hi = mp.mpf(lo), mp.mpf(hi)
    n = 3 * degree + 12
    xs = [(lo + hi) / 2 + (hi - lo) / 2 * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / n)
          for i in range(n)]
    fs = [f(x) for x in xs]
    ws = [weight(x) for x in xs]
    left = list(fs)
    coef = []
    for p in range(degree + 1):
        c = solve(xs, left, ws, list(range(p, degree + 1)))
        coef.append(rounded(c[0], bits))
        left = [y - coef[p] * x ** p for x, y in zip(xs, left)]
    worst = max(abs(w * e) for w, e in zip(ws, left))
    print(f"{name}: weighted error 2^{float(mp.log(worst, 2)):.1f}", file=sys.stderr)
    form = "%.9gf" if bits == 24 else "%.17g"
    print(f"static const double {name}[] = {{")
    for c in coef:
        s = form % float(c)
        if "." not in s and "e" not in s:
            s = s.replace("f", "") + (".0f" if bits == 24 else ".0")
        print(f"    {s},")
    print("};\n")


def over(g, series):
    """g(x) away from 0, its limit at 0."""
    return lambda x: g(x) if abs(x) > mp.mpf(10) ** -25 else mp.mpf(series)


def z_of(g):
    """A function of z = x * x from one of x."""
    return lambda z: g(mp.sqrt(z))


exp2 = over(lambda r: (mp.expm1(r) - r) / r ** 2, 0.5)
log2 = over(lambda f: (mp.log1p(f) - f) / f ** 2, -0.5)
tanhz = z_of(lambda x: (mp.tanh(x) / x - 1) / x ** 2)
erfz = z_of(lambda x: mp.erf(x) / x - 1)
sinz = z_of(lambda x: (mp.sin(x) / x - 1) / x ** 2)
cosz = z_of(lambda x: (mp.cos(x) - 1 + x ** 2 / 2) / x ** 4)
r_exp, r_trig = "0.3475", "0.62"

# f32
fit("exp_f32", exp2, lambda r: r ** 2, "-" + r_exp, r_exp, 4, 24)
fit("log_f32", log2, lambda f: abs(f), "-0.33334", "0.33334", 8, 24)
fit("tanh_f32", tanhz, lambda z: z, 0, "0.3026", 4, 24)
fit("exp2_f32", over(lambda r: (mp.mpf(2) ** r - 1) / r, mp.log(2)), lambda r: mp.mpf(1),
    "-0.502", "0.502", 5, 24)
fit("erf_log2_f32", lambda a: mp.log(mp.erfc(a), 2) / a,
    lambda a: mp.erfc(a) * mp.log(2) * a / mp.erf(a), "1e-6", "4.0", 8, 24)
# f32 argument, f64 arithmetic
fit("sin_short", sinz, lambda z: z, 0, r_trig, 3, 53)
fit("cos_short", cosz, lambda z: z ** 2, 0, r_trig, 3, 53)
# f64
fit("exp_f64", exp2, lambda r: r ** 2, "-" + r_exp, r_exp, 10, 53)
fit("log_f64", z_of(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2) / s ** 2),
    lambda z: z, 0, "0.02945", 7, 53)
fit("pow_f64", z_of(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2 - s ** 2 * 2 / 3) / s ** 4),
    lambda z: z ** 2, 0, "0.02945", 6, 53)
fit("sin_f64", sinz, lambda z: z, 0, r_trig, 6, 53)
fit("cos_f64", cosz, lambda z: z ** 2, 0, r_trig, 6, 53)
fit("asin_f64", z_of(lambda x: (mp.asin(x) / x - 1) / x ** 2), lambda z: z, 0, "0.25", 13, 53)
fit("atan_f64", z_of(lambda x: (mp.atan(x) / x - 1) / x ** 2), lambda z: z, 0, "0.1717", 11, 53)
fit("sinh_f64", z_of(lambda x: (mp.sinh(x) / x - 1) / x ** 2), lambda z: z, 0, 1, 7, 53)
fit("tanh_f64", tanhz, lambda z: z, 0, "0.3026", 10, 53)
fit("erf_small_f64", erfz, lambda z: mp.mpf(1), 0, 1, 13, 53)
# erfc(x) * exp(x * x) over t = (x - 2) / (x + 2)


def x_of(t):
    return 2 * (1 + t) / (1 - t)


fit("erf_large_f64", lambda t: mp.erfc(x_of(t)) * mp.exp(x_of(t) ** 2),
    lambda t: mp.exp(-x_of(t) ** 2) + mp.mpf("1e-3"), "-0.3334", "0.501", 15, 53)
