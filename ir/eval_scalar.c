/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_scalar.c - the meaning of the scalar functions, one function per row.
 *
 * The comment of scalar.def is the law; what it leaves open is settled here:
 * integer mod and rem by 0 are 0; an integer power with a negative exponent is
 * 0 unless the base is 1 or -1; shift counts are read as unsigned.
 * Transcendental functions of f32 and narrower types compute in double and
 * round once, which makes them a better oracle than the kernels they check.
 */
#include "ir/eval_int.h"
#include <math.h>
#include <string.h>

bool cab_scalar_ok(cab_dtype t)
{
    return cab_dtype_is_float(t) || cab_dtype_is_int(t) || t == CAB_DT_bool;
}

/* The 2^bits values of t around the low `bits` of v. */
static int64_t wrap(cab_dtype t, uint64_t v)
{
    if (t == CAB_DT_bool)
        return v != 0;
    int spare = 64 - cab_dtype_bits(t);
    if (cab_dtype_is_signed(t))
        return (int64_t)(v << spare) >> spare;
    return (int64_t)(v << spare >> spare);
}

static int64_t int_min(cab_dtype t)
{
    return cab_dtype_is_signed(t) ? INT64_MIN >> (64 - cab_dtype_bits(t)) : 0;
}

static int64_t int_max(cab_dtype t)
{
    if (t == CAB_DT_bool)
        return 1;
    return wrap(t, cab_dtype_is_signed(t) ? ~(uint64_t)int_min(t) : UINT64_MAX);
}

/* The precision a type computes in. */
static double compute_round(cab_dtype t, double v)
{
    return t == CAB_DT_f64 ? v : (double)(float)v;
}

/* Rounds to f32 toward an odd last bit where inexact, so that rounding the
 * result once more to a narrower type rounds as from the double. */
static float round_odd(double v)
{
    float f = (float)v;
    uint32_t u;
    if (!isfinite(v) || (double)f == v)
        return f;
    memcpy(&u, &f, sizeof u);
    if (isinf(f) || fabs((double)f) > fabs(v))
        u--;
    u |= 1;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Code of the nearest finite value of an 8 or 4 bit float: ties to the even
 * code, overflow saturates. */
static uint8_t encode_small(cab_dtype t, double v)
{
    int n = 1 << cab_dtype_bits(t), best = 0;
    double best_far = INFINITY;
    for (int c = 0; c < n; c++) {
        uint8_t byte = (uint8_t)c;
        double x = cab_elem_f64(t, &byte, 0);
        if (isnan(x) && isnan(v))
            return byte;
        if (!isfinite(x) || isnan(v))
            continue;
        double far = isinf(v) ? -copysign(1, v) * x : fabs(x - v);
        bool sign = !signbit(x) == !signbit(v);
        if (far < best_far || (far == best_far && (v == 0 ? sign : !(c & 1)))) {
            best = c;
            best_far = far;
        }
    }
    return (uint8_t)best;
}

static double storage_round(cab_dtype t, double v)
{
    uint8_t small;
    switch (t) {
    case CAB_DT_f64:
        return v;
    case CAB_DT_f32:
        return (double)(float)v;
    case CAB_DT_f16:
        return (double)cab_f16_to_f32(cab_f32_to_f16(round_odd(v)));
    case CAB_DT_bf16:
        return (double)cab_bf16_to_f32(cab_f32_to_bf16(round_odd(v)));
    default:
        small = encode_small(t, v);
        return cab_elem_f64(t, &small, 0);
    }
}

/* ---- memory ---- */
static void store_bits(int bits, void *p, uint64_t i, uint64_t v)
{
    uint8_t *b = p;
    if (bits < 8) {
        unsigned shift = (unsigned)(i * (unsigned)bits % 8);
        uint8_t mask = (uint8_t)(((1u << bits) - 1) << shift);
        b += i * (unsigned)bits / 8;
        *b = (uint8_t)((*b & ~mask) | ((v << shift) & mask));
        return;
    }
    /* Little-endian: the low bytes come first. */
    memcpy(b + i * (unsigned)(bits / 8), &v, (size_t)bits / 8);
}

static uint64_t load_bits(int bits, const void *p, uint64_t i)
{
    const uint8_t *b = p;
    uint64_t v = 0;
    if (bits < 8) {
        unsigned shift = (unsigned)(i * (unsigned)bits % 8);
        return (uint64_t)(b[i * (unsigned)bits / 8] >> shift) & ((1u << bits) - 1);
    }
    memcpy(&v, b + i * (unsigned)(bits / 8), (size_t)bits / 8);
    return v;
}

void cab_elem_copy(cab_dtype t, void *dst, uint64_t di, const void *src, uint64_t si)
{
    int bits = cab_dtype_bits(t);
    if (bits > 64)
        memcpy((char *)dst + di * (unsigned)(bits / 8),
               (const char *)src + si * (unsigned)(bits / 8), (size_t)bits / 8);
    else
        store_bits(bits, dst, di, load_bits(bits, src, si));
}

cab_scalar cab_scalar_load(cab_dtype t, const void *p, uint64_t i)
{
    if (!cab_dtype_is_float(t))
        return (cab_scalar){ .i = wrap(t, load_bits(cab_dtype_bits(t), p, i)) };
    double f64;
    float f32;
    switch (t) {
    case CAB_DT_f64:
        memcpy(&f64, (const char *)p + 8 * i, 8);
        return (cab_scalar){ .f = f64 };
    case CAB_DT_f32:
        memcpy(&f32, (const char *)p + 4 * i, 4);
        return (cab_scalar){ .f = (double)f32 };
    default:
        return (cab_scalar){ .f = cab_elem_f64(t, p, i) };
    }
}

static uint64_t float_bits(cab_dtype t, double v)
{
    uint64_t u = 0;
    float f = (float)v;
    switch (t) {
    case CAB_DT_f64:
        memcpy(&u, &v, sizeof v);
        return u;
    case CAB_DT_f32:
        memcpy(&u, &f, sizeof f);
        return u;
    case CAB_DT_f16:
        return cab_f32_to_f16(round_odd(v));
    case CAB_DT_bf16:
        return cab_f32_to_bf16(round_odd(v));
    default:
        return encode_small(t, v);
    }
}

void cab_scalar_store(cab_dtype t, void *p, uint64_t i, cab_scalar v)
{
    uint64_t u = cab_dtype_is_float(t) ? float_bits(t, v.f) : (uint64_t)v.i;
    if (t == CAB_DT_bool)
        u = u != 0;
    store_bits(cab_dtype_bits(t), p, i, u);
}

/* ---- casts ---- */
static int64_t float_to_int(cab_dtype to, double v)
{
    if (to == CAB_DT_bool)
        return v != 0;
    int bits = cab_dtype_bits(to);
    bool sign = cab_dtype_is_signed(to);
    if (isnan(v))
        return 0;
    if (v >= ldexp(1, sign ? bits - 1 : bits))
        return int_max(to);
    if (v <= (sign ? -ldexp(1, bits - 1) : 0))
        return int_min(to);
    return sign ? (int64_t)v : (int64_t)(uint64_t)v;
}

static double int_to_float(cab_dtype from, cab_dtype to, int64_t i)
{
    bool sign = cab_dtype_is_signed(from);
    if (to == CAB_DT_f64)
        return sign ? (double)i : (double)(uint64_t)i;
    return storage_round(to, sign ? (double)(float)i : (double)(float)(uint64_t)i);
}

cab_scalar cab_scalar_cast(cab_dtype from, cab_dtype to, cab_scalar v)
{
    if (cab_dtype_is_float(from)) {
        if (cab_dtype_is_float(to))
            return (cab_scalar){ .f = storage_round(to, v.f) };
        return (cab_scalar){ .i = float_to_int(to, v.f) };
    }
    if (cab_dtype_is_float(to))
        return (cab_scalar){ .f = int_to_float(from, to, v.i) };
    return (cab_scalar){ .i = wrap(to, (uint64_t)v.i) };
}

/* ---- the functions ---- */
typedef cab_scalar scalar_fn(cab_dtype from, cab_dtype to, const cab_scalar *x);
#define FN(id)                                                              \
    static cab_scalar sc_##id(cab_dtype from, cab_dtype to, const cab_scalar *x)

/* Of floats only. */
#define FLOAT1(id, call)                                                    \
    FN(id)                                                                  \
    {                                                                       \
        (void)to;                                                           \
        double v = x[0].f;                                                  \
        return (cab_scalar){ .f = compute_round(from, call) };              \
    }
FLOAT1(floor, floor(v))
FLOAT1(ceil, ceil(v))
FLOAT1(rint, nearbyint(v))
FLOAT1(trunc, trunc(v))
FLOAT1(sqrt, sqrt(v))
FLOAT1(exp, exp(v))
FLOAT1(log, log(v))
FLOAT1(sin, sin(v))
FLOAT1(cos, cos(v))
FLOAT1(tan, tan(v))
FLOAT1(asin, asin(v))
FLOAT1(acos, acos(v))
FLOAT1(atan, atan(v))
FLOAT1(sinh, sinh(v))
FLOAT1(cosh, cosh(v))
FLOAT1(tanh, tanh(v))
FLOAT1(asinh, asinh(v))
FLOAT1(acosh, acosh(v))
FLOAT1(atanh, atanh(v))
FLOAT1(erf, erf(v))

/* Of floats and integers: one expression for each; integers are seen as the
 * unsigned a and b, and as the signed ia and ib. */
#define BOTH(id, fcall, icall)                                              \
    FN(id)                                                                  \
    {                                                                       \
        (void)to;                                                           \
        if (cab_dtype_is_float(from)) {                                     \
            double a = x[0].f, b = x[1].f;                                  \
            (void)b;                                                        \
            return (cab_scalar){ .f = compute_round(from, fcall) };         \
        }                                                                   \
        uint64_t a = (uint64_t)x[0].i, b = (uint64_t)x[1].i;                \
        int64_t ia = x[0].i, ib = x[1].i;                                   \
        (void)a, (void)b, (void)ia, (void)ib;                               \
        return (cab_scalar){ .i = wrap(from, icall) };                      \
    }

static bool less(cab_dtype t, cab_scalar a, cab_scalar b)
{
    if (cab_dtype_is_float(t))
        return a.f < b.f;
    if (cab_dtype_is_signed(t))
        return a.i < b.i;
    return (uint64_t)a.i < (uint64_t)b.i;
}

static double float_mod(double a, double b)
{
    double r = fmod(a, b);
    if (r == 0)
        return copysign(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

static uint64_t int_div(cab_dtype t, int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    if (!cab_dtype_is_signed(t))
        return (uint64_t)a / (uint64_t)b;
    return b == -1 ? 0 - (uint64_t)a : (uint64_t)(a / b);
}

static uint64_t int_rem(cab_dtype t, int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    return (uint64_t)a - int_div(t, a, b) * (uint64_t)b;
}

static uint64_t int_mod(cab_dtype t, int64_t a, int64_t b)
{
    int64_t r = (int64_t)int_rem(t, a, b);
    bool fix = cab_dtype_is_signed(t) && r != 0 && (r < 0) != (b < 0);
    return (uint64_t)r + (fix ? (uint64_t)b : 0);
}

static uint64_t int_pow(cab_dtype t, int64_t a, int64_t b)
{
    if (cab_dtype_is_signed(t) && b < 0)
        return a == 1 || (a == -1 && b % 2 == 0) ? 1 : a == -1 ? UINT64_MAX : 0;
    uint64_t r = 1, base = (uint64_t)a;
    for (uint64_t e = (uint64_t)b; e; e >>= 1, base *= base)
        if (e & 1)
            r *= base;
    return r;
}

static double float_sign(double a)
{
    return isnan(a) ? a : (double)((a > 0) - (a < 0));
}

static double float_min(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : b < a ? b : a;
}

static double float_max(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : b > a ? b : a;
}

BOTH(neg, -a, 0 - a)
BOTH(abs, fabs(a), cab_dtype_is_signed(from) && ia < 0 ? 0 - a : a)
BOTH(sign, float_sign(a),
     cab_dtype_is_signed(from) && ia < 0 ? UINT64_MAX : (uint64_t)(a != 0))
BOTH(add, a + b, a + b)
BOTH(sub, a - b, a - b)
BOTH(mul, a * b, a * b)
BOTH(div, a / b, int_div(from, ia, ib))
BOTH(mod, float_mod(a, b), int_mod(from, ia, ib))
BOTH(rem, fmod(a, b), int_rem(from, ia, ib))
BOTH(pow, pow(a, b), int_pow(from, ia, ib))
BOTH(min, float_min(a, b), less(from, x[1], x[0]) ? b : a)
BOTH(max, float_max(a, b), less(from, x[0], x[1]) ? b : a)

/* Of integers and bools. */
#define BITS(id, call)                                                      \
    FN(id)                                                                  \
    {                                                                       \
        (void)to;                                                           \
        uint64_t a = (uint64_t)x[0].i, b = (uint64_t)x[1].i;                \
        (void)b;                                                            \
        return (cab_scalar){ .i = wrap(from, call) };                       \
    }
BITS(not, from == CAB_DT_bool ? (uint64_t)!a : ~a)
BITS(and, a & b)
BITS(or, a | b)
BITS(xor, a ^ b)

/* Counts are of the width of the type: negative ones are too large. */
static bool shifts_out(cab_dtype t, uint64_t count)
{
    return count >= (uint64_t)cab_dtype_bits(t);
}
BITS(shl, shifts_out(from, b) ? 0 : a << b)
BITS(shr, cab_dtype_is_signed(from) ? (uint64_t)((int64_t)a >> (shifts_out(from, b) ? 63 : b))
          : shifts_out(from, b) ? 0 : a >> b)

#define TRUTH(id, call)                                                     \
    FN(id)                                                                  \
    {                                                                       \
        (void)to;                                                           \
        (void)from;                                                         \
        return (cab_scalar){ .i = (call) };                                 \
    }
TRUTH(isnan, isnan(x[0].f) != 0)
TRUTH(isinf, isinf(x[0].f) != 0)
TRUTH(eq, cab_dtype_is_float(from) ? x[0].f == x[1].f : x[0].i == x[1].i)
TRUTH(ne, cab_dtype_is_float(from) ? x[0].f != x[1].f : x[0].i != x[1].i)
TRUTH(lt, less(from, x[0], x[1]))
TRUTH(le, cab_dtype_is_float(from) ? x[0].f <= x[1].f : !less(from, x[1], x[0]))

FN(cast) { return cab_scalar_cast(from, to, x[0]); }

FN(bitcast)
{
    uint64_t bits = 0;
    cab_scalar_store(from, &bits, 0, x[0]);
    return cab_scalar_load(to, &bits, 0);
}

FN(select)
{
    (void)from, (void)to;
    return x[0].i ? x[1] : x[2];
}

static scalar_fn *const rows[] = {
#define SCALAR(id, arity, rule, traits, doc) sc_##id,
#include "ir/scalar.def"
};

cab_scalar cab_scalar_apply(cab_expr_op op, cab_dtype from, cab_dtype to,
                            const cab_scalar *x)
{
    return rows[op - CAB_EX_SCALAR_](from, to, x);
}

/* ---- reductions ---- */
int cab_scalar_compare(cab_dtype t, cab_scalar a, cab_scalar b)
{
    if (cab_dtype_is_float(t) && (isnan(a.f) || isnan(b.f)))
        return !!isnan(a.f) - !!isnan(b.f);
    return less(t, b, a) - less(t, a, b);
}

cab_fold cab_fold_start(cab_red red, cab_dtype t)
{
    bool f = cab_dtype_is_float(t);
    cab_fold r = { .red = red, .t = t };
    switch (red) {
    case CAB_RED_PROD:
        r.v = f ? (cab_scalar){ .f = 1 } : (cab_scalar){ .i = 1 };
        break;
    case CAB_RED_MAX:
        r.v = f ? (cab_scalar){ .f = -INFINITY } : (cab_scalar){ .i = int_min(t) };
        break;
    case CAB_RED_MIN:
        r.v = f ? (cab_scalar){ .f = INFINITY } : (cab_scalar){ .i = int_max(t) };
        break;
    default:
        r.v = f ? (cab_scalar){ .f = 0 } : (cab_scalar){ .i = 0 };
    }
    return r;
}

/* For the arg reductions a NaN beats every number, whatever is sought. */
static bool arg_wins(const cab_fold *f, cab_scalar v)
{
    bool least = f->red >= CAB_RED_ARGMIN_FIRST;
    bool last = f->red == CAB_RED_ARGMAX_LAST || f->red == CAB_RED_ARGMIN_LAST;
    int c = cab_scalar_compare(f->t, v, f->v);
    bool nan = cab_dtype_is_float(f->t) && (isnan(v.f) || isnan(f->v.f));
    if (least && !nan)
        c = -c;
    return f->n == 0 || c > 0 || (c == 0 && last);
}

void cab_fold_add(cab_fold *f, cab_scalar v)
{
    bool fl = cab_dtype_is_float(f->t);
    uint64_t a = (uint64_t)f->v.i, b = (uint64_t)v.i;
    switch (f->red) {
    case CAB_RED_SUM:
        f->v = fl ? (cab_scalar){ .f = f->v.f + v.f } : (cab_scalar){ .i = wrap(f->t, a + b) };
        break;
    case CAB_RED_PROD:
        f->v = fl ? (cab_scalar){ .f = f->v.f * v.f } : (cab_scalar){ .i = wrap(f->t, a * b) };
        break;
    case CAB_RED_MAX:
    case CAB_RED_MIN:
        f->v = cab_scalar_apply(f->red == CAB_RED_MAX ? CAB_EX_max : CAB_EX_min, f->t, f->t,
                                (const cab_scalar[3]){ f->v, v });
        break;
    default:
        if (arg_wins(f, v)) {
            f->v = v;
            f->at = f->n;
        }
    }
    f->n++;
}

cab_scalar cab_fold_end(const cab_fold *f)
{
    if (f->red >= CAB_RED_ARGMAX_FIRST)
        return (cab_scalar){ .i = f->at };
    if (cab_dtype_is_float(f->t))
        return (cab_scalar){ .f = compute_round(f->t, f->v.f) };
    return f->v;
}
