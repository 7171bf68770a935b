/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_number.c - decimal text to binary numbers: the parts that few numbers
 * need.  The common ones are in json_scan_int.h.
 */
#include "serve/json/json_number.h"
#include <math.h>
#include "serve/json/json_scan_int.h"

/* ---- text ---- */

static const char *what_is_missing(const char *p, const char *end, const char **at)
{
    if (p < end && *p == '-')
        p++;
    *at = p;
    if (p == end || !json_is_digit(*p))
        return "a digit expected";
    if (*p == '0' && p + 1 < end && json_is_digit(p[1]))
        return "a number with a leading zero";
    while (p < end && json_is_digit(*p))
        p++;
    if (p < end && *p == '.') {
        *at = ++p;
        if (p == end || !json_is_digit(*p))
            return "a digit expected after the decimal point";
        while (p < end && json_is_digit(*p))
            p++;
    }
    *at = p + 1;
    return "a digit expected in the exponent";
}

const char *cab_decimal_scan(const char *p, const char *end, cab_decimal *d, const char **why, const char **at)
{
    const char *to = p < end ? json_number(p, end, d) : NULL;
    if (!to)
        *why = what_is_missing(p, end, at);
    return to;
}

void cab_json_long_digits(const char *p, const char *end, cab_decimal *d)
{
    int kept = 0;
    bool fraction = false;
    d->w = 0;
    d->more = false;
    for (; p < end; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if (kept < 19) {
            d->w = d->w * 10 + (uint64_t)(*p - '0');
            kept += d->w != 0;
            d->q -= fraction;
        } else {
            d->more |= *p != '0';
            d->q += !fraction;
        }
    }
}

/* ---- large numbers, for the few that need every digit ---- */

/* Enough for either side of a comparison: 771 digits times a power of two, or
 * 54 bits times 5^1113. */
enum { LIMBS = 64, MOST_DIGITS = 770 };
typedef struct big { uint64_t w[LIMBS]; int n; } big;

static void big_mul_add(big *b, uint64_t by, uint64_t add)
{
    unsigned __int128 carry = add;
    for (int i = 0; i < b->n; i++) {
        carry += (unsigned __int128)b->w[i] * by;
        b->w[i] = (uint64_t)carry;
        carry >>= 64;
    }
    if (carry && b->n < LIMBS)
        b->w[b->n++] = (uint64_t)carry;
}

static void big_times_pow5(big *b, int64_t k)
{
    const uint64_t five27 = 7450580596923828125u;
    for (; k >= 27; k -= 27)
        big_mul_add(b, five27, 0);
    for (; k > 0; k--)
        big_mul_add(b, 5, 0);
}

static void big_shift(big *b, int64_t k)
{
    for (; k >= 63; k -= 63)
        big_mul_add(b, (uint64_t)1 << 63, 0);
    big_mul_add(b, (uint64_t)1 << k, 0);
}

static int big_compare(const big *a, const big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->w[i] != b->w[i])
            return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

/* The digits of d's text as a whole number, *q to go with them.  No middle
 * between two doubles has more than 767 significant digits: beyond them a single
 * 1 stands for whatever follows. */
static void big_of_text(big *b, const cab_decimal *d, int64_t *q)
{
    const char *p = d->p, *end = p + d->n;
    bool fraction = false, more = false;
    int kept = 0;
    int64_t e = 0;
    uint64_t part = 0, scale = 1;          /* digits that are not in b yet */
    for (p += d->negative; p < end && (json_is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            fraction = true;
        } else if (kept < MOST_DIGITS) {
            kept += kept || *p != '0';
            part = part * 10 + (uint64_t)(*p - '0');
            scale *= 10;
            e -= fraction;
            if (scale == 10000000000000000000u) {
                big_mul_add(b, scale, part);
                part = 0;
                scale = 1;
            }
        } else {
            more |= *p != '0';
            e += !fraction;
        }
    }
    big_mul_add(b, scale, part);
    if (more)
        big_mul_add(b, 10, 1);
    if (p < end)
        json_exponent(p + 1, end, q);
    *q += e - more;
}

uint64_t cab_decimal_exact(const cab_decimal *d, json_format f, uint64_t low)
{
    big text = { .n = 0 }, middle = { .n = 0 };
    int64_t q = 0;
    if (d->more) {
        big_of_text(&text, d, &q);
    } else {
        big_mul_add(&text, 0, d->w);
        q = d->q;
    }
    /* The middle: (2m + 1) * 2^e for low = m * 2^(e + 1). */
    int64_t stored = (int64_t)(low >> f.fraction);
    uint64_t m = low & (((uint64_t)1 << f.fraction) - 1);
    if (stored)
        m |= (uint64_t)1 << f.fraction;
    int64_t e = (stored ? stored : 1) + f.base - f.fraction - 1;
    big_mul_add(&middle, 0, 2 * m + 1);
    big_times_pow5(q < 0 ? &middle : &text, q < 0 ? -q : q);
    big_shift(q < e ? &middle : &text, q < e ? e - q : q - e);
    int side = big_compare(&text, &middle);
    return low + (side > 0 || (!side && (low & 1)));
}

/* ---- types ---- */

/* Bits without sign, of a name too. */
static uint64_t bits_of(const cab_decimal *d, json_format f)
{
    uint64_t infinity = json_infinity(f);
    if (d->name)
        return d->name == 'N' ? infinity | (uint64_t)1 << (f.fraction - 1) : infinity;
    return json_bits(d, f, cab_pow5_table());
}

cab_fit cab_decimal_f64(const cab_decimal *d, double *v)
{
    uint64_t bits = bits_of(d, JSON_F64);
    cab_fit fit = bits == json_infinity(JSON_F64) && !d->name ? CAB_RANGE : CAB_FITS;
    bits |= (uint64_t)d->negative << 63;
    memcpy(v, &bits, sizeof bits);
    return fit;
}

cab_fit cab_decimal_f32(const cab_decimal *d, float *v)
{
    uint32_t bits = (uint32_t)bits_of(d, JSON_F32);
    cab_fit fit = bits == json_infinity(JSON_F32) && !d->name ? CAB_RANGE : CAB_FITS;
    bits |= (uint32_t)d->negative << 31;
    memcpy(v, &bits, sizeof bits);
    return fit;
}

static cab_fit small(const cab_decimal *d, json_format f, uint16_t *v)
{
    uint64_t bits = bits_of(d, f);
    *v = (uint16_t)(bits | (uint64_t)d->negative << 15);
    return bits == json_infinity(f) && !d->name ? CAB_RANGE : CAB_FITS;
}

cab_fit cab_decimal_f16(const cab_decimal *d, uint16_t *v) { return small(d, JSON_F16, v); }
cab_fit cab_decimal_bf16(const cab_decimal *d, uint16_t *v) { return small(d, JSON_BF16, v); }

/* The text's digits from the first to the last one that is not 0: *v times
 * 10^*q; false: *v is more than 64 bits (*q holds). */
static bool trimmed(const cab_decimal *d, uint64_t *v, int64_t *q)
{
    const char *p = d->p + d->negative, *end = d->p + d->n;
    int64_t seen = 0, last = 0, before = -1, e = 0;
    bool over = false;
    *v = 0;
    for (; p < end && (json_is_digit(*p) || *p == '.'); p++) {
        if (*p == '.')
            before = seen;
        else if (seen++, *p != '0')
            for (; last < seen && !over; last++)
                over = __builtin_mul_overflow(*v, 10u, v);
        if (*p != '0' && *p != '.') {
            over = over || __builtin_add_overflow(*v, (uint64_t)(*p - '0'), v);
            last = seen;
        }
    }
    if (p < end)
        json_exponent(p + 1, end, &e);
    *q = e + (before < 0 ? seen : before) - last;
    return !over;
}

cab_fit cab_decimal_whole(const cab_decimal *d, bool *negative, uint64_t *magnitude)
{
    int64_t q = d->q;
    *negative = d->negative;
    *magnitude = d->w;
    if (d->name)
        return CAB_FRACTION;
    if ((q == 0 && !d->more) || !d->w) {
        *negative &= d->w != 0;
        return CAB_FITS;
    }
    bool over = !trimmed(d, magnitude, &q);
    for (; q > 0 && !over; q--)
        over = __builtin_mul_overflow(*magnitude, 10u, magnitude);
    return q < 0 ? CAB_FRACTION : over ? CAB_RANGE : CAB_FITS;
}

cab_fit cab_decimal_int(const cab_decimal *d, int64_t lo, int64_t hi, int64_t *v)
{
    bool negative;
    uint64_t m;
    cab_fit fit = cab_decimal_whole(d, &negative, &m);
    if (fit != CAB_FITS)
        return fit;
    if (m > (negative ? (uint64_t)0 - (uint64_t)lo : (uint64_t)hi))
        return CAB_RANGE;
    *v = (int64_t)(negative ? (uint64_t)0 - m : m);
    return CAB_FITS;
}

cab_fit cab_decimal_uint(const cab_decimal *d, uint64_t hi, uint64_t *v)
{
    bool negative;
    uint64_t m;
    cab_fit fit = cab_decimal_whole(d, &negative, &m);
    if (fit != CAB_FITS)
        return fit;
    *v = m;
    return negative || m > hi ? CAB_RANGE : CAB_FITS;
}
