/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_scan_int.h - the two loops that see every byte of a number: reading its
 * digits and rounding them.  Inline, so that the loop over a tensor keeps them
 * in registers.
 *
 * Rounding is Eisel and Lemire's (D. Lemire, "Number parsing at a gigabyte per
 * second", Software: Practice and Experience 51, 2021): w, shifted to 64
 * bits, times 128 bits of 5^q.  The product is at most one unit of its last
 * place too small, so it decides unless the bits behind the rounding place are
 * all ones, or just one half; those go to cab_decimal_exact.
 */
#ifndef CAB_SERVE_JSON_SCAN_INT_H
#define CAB_SERVE_JSON_SCAN_INT_H
#include <string.h>
#include "serve/json/json_number.h"
#include "serve/json/pow5.h"

static inline bool json_is_digit(char c) { return (unsigned char)(c - '0') < 10; }

static inline const char *json_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

/* ---- digits ---- */

/* Eight digits at once; the text's first digit is the word's lowest byte. */
static inline bool json_eight_digits(uint64_t v)
{
    return !(((v + 0x4646464646464646) | (v - 0x3030303030303030)) & 0x8080808080808080);
}

static inline uint32_t json_eight_value(uint64_t v)
{
    v -= 0x3030303030303030;
    v = v * 10 + (v >> 8);     /* pairs, in every other byte */
    return (uint32_t)(((v & 0x000000ff000000ff) * 0x000f424000000064 +
                       ((v >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >> 32);
}

/* Digits from p on into *w, which wraps; where they end. */
static inline const char *json_digits(const char *p, const char *end, uint64_t *w)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t eight;
    while (end - p >= 8 && (memcpy(&eight, p, 8), json_eight_digits(eight))) {
        *w = *w * 100000000 + json_eight_value(eight);
        p += 8;
    }
#endif
    for (; p < end && json_is_digit(*p); p++)
        *w = *w * 10 + (uint64_t)(*p - '0');
    return p;
}

/* More than 19 digits were met: w and q again, of the first 19 significant
 * ones.  q holds the exponent that the text states. */
void cab_json_long_digits(const char *p, const char *end, cab_decimal *d);

/* The exponent at p, behind the e; NULL without a digit. */
static inline const char *json_exponent(const char *p, const char *end, int64_t *q)
{
    bool minus = p < end && *p == '-';
    int64_t e = 0;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || !json_is_digit(*p))
        return NULL;
    for (; p < end && json_is_digit(*p); p++)
        if (e < (int64_t)1 << 40)      /* more than a text has digits to make up for */
            e = e * 10 + (*p - '0');
    *q = minus ? -e : e;
    return p;
}

/* The number at p < end; NULL when there is none (cab_decimal_scan says why). */
static inline const char *json_number(const char *p, const char *end, cab_decimal *d)
{
    const char *start = p, *first, *dot = NULL;
    uint64_t w = 0;
    int64_t q = 0;
    d->negative = *p == '-';
    p += d->negative;
    first = p;
    p = json_digits(p, end, &w);
    if (p == first || (*first == '0' && p - first > 1))
        return NULL;
    ptrdiff_t n = p - first, after = 0;
    if (p < end && *p == '.') {
        dot = p + 1;
        p = json_digits(dot, end, &w);
        after = p - dot;
        if (!after)
            return NULL;
    }
    const char *digits_end = p;
    if (p < end && (*p == 'e' || *p == 'E') && !(p = json_exponent(p + 1, end, &q)))
        return NULL;
    *d = (cab_decimal){ .w = w, .q = q - after, .p = start, .n = (size_t)(p - start),
                        .negative = d->negative };
    if (__builtin_expect(n + after > 19, 0)) {
        d->q = q;
        cab_json_long_digits(first, digits_end, d);
    }
    return p;
}

/* ---- rounding ---- */

/* A binary format: bits of the fraction, exponent of the smallest normal number's
 * half (so that stored exponents are 1 more), the stored exponent of infinity. */
typedef struct json_format { int fraction, base, infinity; } json_format;
#define JSON_F64 ((json_format){ 52, -1023, 0x7ff })
#define JSON_F32 ((json_format){ 23, -127, 0xff })
#define JSON_F16 ((json_format){ 10, -15, 0x1f })
#define JSON_BF16 ((json_format){ 7, -127, 0xff })

static inline uint64_t json_infinity(json_format f) { return (uint64_t)f.infinity << f.fraction; }

/* Whether d is above the middle between the numbers of bits `low` and low + 1,
 * or there and low is odd: low or low + 1.  Any number of digits. */
uint64_t cab_decimal_exact(const cab_decimal *d, json_format f, uint64_t low);

/* w * 5^q: the first 128 bits, less where the first 64 do. */
static inline void json_product(uint64_t w, int q, json_format f, const cab_pow5 *five,
                                uint64_t *hi, uint64_t *lo)
{
    const uint64_t open = UINT64_MAX >> (f.fraction + 3);
    unsigned __int128 a = (unsigned __int128)w * five[q].hi;
    if ((a >> 64 & open) == open) {
        /* Reciprocals that whole numbers can be multiples of are rounded up:
         * a quotient that comes out even must not stay just below. */
        uint64_t rest = five[q].lo + (q < 0 && q >= -27);
        a += (unsigned __int128)w * rest >> 64;
    }
    *hi = (uint64_t)(a >> 64);
    *lo = (uint64_t)a;
}

/* Bits of the number nearest to w * 10^q, without sign, by the product alone;
 * *sure = false: cab_decimal_exact has to choose between them and one more. */
static inline uint64_t json_round(uint64_t w, int64_t q, json_format f, const cab_pow5 *five, bool *sure)
{
    *sure = true;
    if (!w || q < CAB_POW5_MIN)
        return 0;
    if (q > 308)
        return json_infinity(f);
    uint64_t hi, lo;
    int up = __builtin_clzll(w);
    json_product(w << up, (int)q, f, five, &hi, &lo);
    int top = (int)(hi >> 63);
    /* 217706 / 2^16 is log2(10), near enough for these q. */
    int exponent = (int)((217706 * q) >> 16) + 63 + top - up - f.base;
    int cut = top + 62 - f.fraction;           /* bits behind the last of the fraction */
    if (exponent <= 0) {                       /* subnormal: fewer bits */
        cut += 1 - exponent;
        exponent = 1;
        if (cut > 64)
            return 0;
    }
    uint64_t kept = cut == 64 ? 0 : hi >> cut, half = (uint64_t)1 << (cut - 1);
    uint64_t rest = cut == 64 ? hi : hi & (half * 2 - 1);
    /* The leading bit adds one to the stored exponent; a carry out of the fraction too. */
    uint64_t bits = ((uint64_t)(exponent - 1) << f.fraction) + kept;
    if (exponent >= f.infinity)
        return json_infinity(f);
    if (__builtin_expect((rest == half && lo <= 1) || lo == UINT64_MAX, 0))
        *sure = false;
    else
        bits += rest >= half;
    return bits;
}

/* The same, and decided. */
static inline uint64_t json_bits(const cab_decimal *d, json_format f, const cab_pow5 *five)
{
    bool sure, sure_next = true;
    uint64_t bits = json_round(d->w, d->q, f, five, &sure), next = bits;
    if (__builtin_expect(d->more, 0) && sure)
        next = json_round(d->w + 1, d->q, f, five, &sure_next);
    if (__builtin_expect(!sure || !sure_next || next != bits, 0))
        bits = cab_decimal_exact(d, f, bits);
    return bits;
}

#endif
