/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dtype.c - the dtype table and scalar conversion.
 *
 * Sub-byte elements are packed from the least significant bits of each byte.
 * The small float formats differ in four numbers only, so one decoder reads
 * them all.  Loads go through memcpy: packed data may lie anywhere.
 */
#include "base/dtype.h"
#include <math.h>
#include <string.h>

static const struct {
    const char *name, *c, *cuda;
    int onnx, bits;
    char cls;
} rows[] = {
#define DTYPE(id, text, onnx, bits, cls, c, cuda) \
    { text, c, cuda, onnx, bits, #cls[0] },
#include "base/dtype.def"
};

const char *cab_dtype_name(cab_dtype t)
{
    return rows[t].name;
}

const char *cab_dtype_c(cab_dtype t)
{
    return rows[t].c;
}

const char *cab_dtype_cuda(cab_dtype t)
{
    return rows[t].cuda;
}

int cab_dtype_bits(cab_dtype t)
{
    return rows[t].bits;
}

int cab_dtype_onnx(cab_dtype t)
{
    return rows[t].onnx;
}

cab_dtype cab_dtype_from_onnx(int64_t number)
{
    for (int t = 1; t < CAB_DT_COUNT; t++)
        if (rows[t].onnx == number)
            return (cab_dtype)t;
    return CAB_DT_none;
}

cab_dtype cab_dtype_parse(const char *text, size_t n)
{
    for (int t = 1; t < CAB_DT_COUNT; t++)
        if (strlen(rows[t].name) == n && !memcmp(rows[t].name, text, n))
            return (cab_dtype)t;
    return CAB_DT_none;
}

bool cab_dtype_is_float(cab_dtype t)
{
    return rows[t].cls == 'F';
}

bool cab_dtype_is_int(cab_dtype t)
{
    return rows[t].cls == 'S' || rows[t].cls == 'U';
}

bool cab_dtype_is_signed(cab_dtype t)
{
    return rows[t].cls == 'S';
}

bool cab_dtype_bytes(cab_dtype t, uint64_t n, uint64_t *out_bytes)
{
    uint64_t bits = (uint64_t)rows[t].bits;

    if (bits >= 8)
        return !__builtin_mul_overflow(n, bits / 8, out_bytes);
    if (!bits) {
        *out_bytes = 0;
        return true;
    }
    *out_bytes = n / (8 / bits) + (n % (8 / bits) != 0);
    return true;
}

static uint32_t f32_bits(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof u);
    return u;
}

static float f32_of(uint32_t u)
{
    float v;

    memcpy(&v, &u, sizeof v);
    return v;
}

uint16_t cab_f32_to_f16(float v)
{
    uint32_t u = f32_bits(v), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    uint32_t m, half, shift;

    if (mag > 0x7f800000)           /* NaN: quiet, payload's top bits kept */
        return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x1ff));
    if (mag >= 0x477ff000)          /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    if (mag >= 0x38800000) {        /* normal: rebias, round to even */
        m = mag - 0x38000000;
        return (uint16_t)(sign | (m + 0xfff + (m >> 13 & 1)) >> 13);
    }
    if (mag < 0x33000000)           /* below half the least subnormal */
        return (uint16_t)sign;
    shift = 126 - (mag >> 23);
    m = (mag & 0x7fffff) | 0x800000;
    half = 1u << (shift - 1);
    return (uint16_t)(sign | (m + half - 1 + (m >> shift & 1)) >> shift);
}

float cab_f16_to_f32(uint16_t v)
{
    uint32_t sign = (uint32_t)(v & 0x8000) << 16, exp = v >> 10 & 31;
    uint32_t man = v & 0x3ff;

    if (exp == 31)
        return f32_of(sign | 0x7f800000 | man << 13);
    if (exp)
        return f32_of(sign | (exp + 112) << 23 | man << 13);
    return f32_of(sign | f32_bits((float)man * 0x1p-24f));
}

uint16_t cab_f32_to_bf16(float v)
{
    uint32_t u = f32_bits(v);

    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float cab_bf16_to_f32(uint16_t v)
{
    return f32_of((uint32_t)v << 16);
}

/* How the small formats spell what is not finite. */
typedef enum special {
    IEEE,                           /* top exponent: inf, NaN */
    FN,                             /* all ones: NaN; no inf */
    FNUZ,                           /* minus zero: NaN; no inf */
    FINITE
} special;

static double small_float(unsigned v, int exp_bits, int man_bits, int bias,
                          special how)
{
    unsigned sign = v >> (exp_bits + man_bits) & 1;
    unsigned exp = v >> man_bits & ((1u << exp_bits) - 1);
    unsigned man = v & ((1u << man_bits) - 1), top = (1u << exp_bits) - 1;
    double x;

    if (how == IEEE && exp == top)
        x = man ? (double)NAN : (double)INFINITY;
    else if (how == FN && exp == top && man == (1u << man_bits) - 1)
        x = (double)NAN;
    else if (how == FNUZ && sign && !exp && !man)
        return (double)NAN;
    else if (exp)
        x = ldexp((double)(man | 1u << man_bits), (int)exp - bias - man_bits);
    else
        x = ldexp((double)man, 1 - bias - man_bits);
    return sign ? -x : x;
}

/* The storage bits of element i, in the low bits. */
static uint64_t load(cab_dtype t, const void *p, uint64_t i)
{
    unsigned bits = (unsigned)rows[t].bits;
    const uint8_t *at = p;
    uint64_t v = 0;

    if (bits < 8) {
        unsigned per = 8 / bits;
        return at[i / per] >> i % per * bits & ((1u << bits) - 1);
    }
    memcpy(&v, at + i * (bits / 8), bits / 8);
    return v;
}

static double load_float(cab_dtype t, const void *p, uint64_t i)
{
    uint64_t v = load(t, p, i);
    double f64;

    switch (t) {
    case CAB_DT_f64:
        memcpy(&f64, &v, sizeof f64);
        return f64;
    case CAB_DT_f32: return (double)f32_of((uint32_t)v);
    case CAB_DT_f16: return (double)cab_f16_to_f32((uint16_t)v);
    case CAB_DT_bf16: return (double)cab_bf16_to_f32((uint16_t)v);
    case CAB_DT_f8e4m3: return small_float((unsigned)v, 4, 3, 7, FN);
    case CAB_DT_f8e4m3fnuz: return small_float((unsigned)v, 4, 3, 8, FNUZ);
    case CAB_DT_f8e5m2: return small_float((unsigned)v, 5, 2, 15, IEEE);
    case CAB_DT_f8e5m2fnuz: return small_float((unsigned)v, 5, 2, 16, FNUZ);
    case CAB_DT_f4e2m1: return small_float((unsigned)v, 2, 1, 1, FINITE);
    case CAB_DT_f8e8m0: return v == 255 ? (double)NAN : ldexp(1, (int)v - 127);
    default: return 0;
    }
}

double cab_elem_f64(cab_dtype t, const void *p, uint64_t i)
{
    if (rows[t].cls == 'F')
        return load_float(t, p, i);
    if (t == CAB_DT_u64)
        return (double)load(t, p, i);
    return (double)cab_elem_i64(t, p, i);
}

int64_t cab_elem_i64(cab_dtype t, const void *p, uint64_t i)
{
    unsigned unused = 64 - (unsigned)rows[t].bits;
    double x;

    switch (rows[t].cls) {
    case 'F':
        x = load_float(t, p, i);
        if (isnan(x))
            return 0;
        return x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : (int64_t)x;
    case 'S':
        return (int64_t)(load(t, p, i) << unused) >> unused;
    case 'U':
        return (int64_t)load(t, p, i);
    case 'B':
        return load(t, p, i) != 0;
    default:
        return 0;
    }
}
