/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_shortest_int.h - binary numbers to the shortest decimal text.  Inline,
 * for the loops over tensors.
 *
 * Schubfach: R. Giulietti, "The Schubfach way to render doubles" (2020).  The
 * numbers that round to v lie between the middles to v's neighbours, an
 * interval wide enough for at least one multiple of 10^k and narrow enough for
 * at most one of 10^(k+1).  v and both middles, times 4 and divided by 10^k, are
 * computed as whole numbers, where a last bit that is set says "and a bit more"
 * (round to odd): enough for every comparison.
 */
#ifndef CAB_SERVE_JSON_SHORTEST_INT_H
#define CAB_SERVE_JSON_SHORTEST_INT_H
#include <string.h>
#include "serve/json/json_number.h"
#include "serve/json/pow5.h"

/* |v| = c * 2^q; uneven: v is a power of two, its lower neighbour half as far. */
typedef struct json_binary { uint64_t c; int q; bool uneven; } json_binary;

/* Stored bits without sign: a fraction of so many bits, its exponent's bias. */
static inline json_binary json_parts(uint64_t bits, int fraction, int bias)
{
    uint64_t hidden = (uint64_t)1 << fraction, c = bits & (hidden - 1);
    int stored = (int)(bits >> fraction);
    if (!stored)
        return (json_binary){ c, 1 - bias - fraction, false };
    return (json_binary){ c | hidden, stored - bias - fraction, !c && stored > 1 };
}

/* ---- logarithms, exact for every exponent of a double ---- */

/* floor(log10(2^e)), of 3/4 * 2^e when uneven; floor(log2(10^e)). */
static inline int json_log10(int e, bool uneven) { return (e * 1262611 - (uneven ? 524031 : 0)) >> 22; }
static inline int json_log2(int e) { return (e * 1741647) >> 19; }

/* ---- digits ---- */

/* 10^k's bits rounded up, times c, to odd: the bits above the 128th. */
static inline uint64_t json_odd_product(cab_pow5 g, uint64_t c)
{
    unsigned __int128 low = (unsigned __int128)g.lo * c;
    unsigned __int128 high = (unsigned __int128)g.hi * c + (low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* With 64 bits of the power, which are enough for c below 2^32. */
static inline uint64_t json_odd_product_32(uint64_t g, uint64_t c)
{
    unsigned __int128 p = (unsigned __int128)g * c;
    return (uint64_t)(p >> 64) | ((uint32_t)(p >> 32) > 1);
}

/* v and the ends of what rounds to it are 4 times, in units of 10^k. */
static inline cab_digits json_choose(uint64_t low, uint64_t v, uint64_t high, int k, bool odd)
{
    uint64_t s = v / 4, tens = s / 10;
    low += odd;                /* an even number owns its middles */
    high -= odd;
    bool below = low <= 40 * tens, above = 40 * tens + 40 <= high;
    if (s >= 10 && below != above)
        return (cab_digits){ tens + above, k + 1 };
    below = low <= 4 * s;
    above = 4 * s + 4 <= high;
    uint64_t middle = 4 * s + 2;
    bool nearer = v > middle || (v == middle && (s & 1));
    return (cab_digits){ s + (below != above ? above : nearer), k };
}

static inline cab_digits json_trim_32(uint32_t v, int e)
{
    for (uint32_t t; (t = v / 10) * 10 == v; v = t)
        e++;
    return (cab_digits){ v, e };
}

static inline cab_digits json_trim(cab_digits d)
{
    uint64_t t;
    for (; (t = d.d / 100000000) * 100000000 == d.d; d.d = t)
        d.e += 8;
    if (d.d <= UINT32_MAX)
        return json_trim_32((uint32_t)d.d, d.e);
    for (; (t = d.d / 10) * 10 == d.d; d.d = t)
        d.e++;
    return d;
}

/* b.c > 0 in both. */
static inline cab_digits json_shortest_64(json_binary b, const cab_pow5 *five)
{
    int k = json_log10(b.q, b.uneven), h = b.q + json_log2(-k) + 1;
    cab_pow5 g = five[-k];
    uint64_t c = 4 * b.c;
    if (k > 0 || k < -55)      /* cut off: up */
        g.hi += !++g.lo;
    return json_trim(json_choose(json_odd_product(g, (c - 2 + b.uneven) << h), json_odd_product(g, c << h),
                                 json_odd_product(g, (c + 2) << h), k, b.c & 1));
}

/* Formats of at most 24 bits. */
static inline cab_digits json_shortest_32(json_binary b, const cab_pow5 *five)
{
    int k = json_log10(b.q, b.uneven), h = b.q + json_log2(-k) + 1;
    uint64_t g = five[-k].hi + (five[-k].lo != 0 || k > 0), c = 4 * b.c;
    cab_digits d = json_choose(json_odd_product_32(g, (c - 2 + b.uneven) << h), json_odd_product_32(g, c << h),
                               json_odd_product_32(g, (c + 2) << h), k, b.c & 1);
    return json_trim_32((uint32_t)d.d, d.e);
}

/* ---- text ---- */

/* "00" to "99". */
extern const char json_pairs[201];

/* Exactly eight digits. */
static inline void json_put_eight(char *to, uint32_t v)
{
    uint32_t a = v / 10000, b = v % 10000;
    memcpy(to, json_pairs + a / 100 * 2, 2);
    memcpy(to + 2, json_pairs + a % 100 * 2, 2);
    memcpy(to + 4, json_pairs + b / 100 * 2, 2);
    memcpy(to + 6, json_pairs + b % 100 * 2, 2);
}

/* The digits of v, the last one before `end`; where they begin. */
static inline char *json_put_back(char *end, uint64_t v)
{
    for (; v >= 100000000; v /= 100000000)
        json_put_eight(end -= 8, (uint32_t)(v % 100000000));
    uint32_t small = (uint32_t)v;
    for (; small >= 100; small /= 100)
        memcpy(end -= 2, json_pairs + small % 100 * 2, 2);
    if (small >= 10)
        memcpy(end -= 2, json_pairs + small * 2, 2);
    else
        *--end = (char)('0' + small);
    return end;
}

/* d.ddde-XX: n digits, the first one stands for 10^e. */
char *cab_json_put_exponent(char *to, const char *digits, int n, int e);

/* cab_digits_put.  Copies have one length, the longest, which costs less than
 * the right one: bytes too many are written over or stay behind the end, within
 * CAB_NUMBER_MAX. */
static inline char *json_put_digits(char *to, bool negative, cab_digits v)
{
    enum { MOST = 20 };
    char room[2 * MOST] = "", *end = room + MOST, *digits = json_put_back(end, v.d);
    int n = (int)(end - digits), point = n + v.e;      /* digits before the point */
    *to = '-';
    to += negative;
    if (__builtin_expect(point > 16 || point < -3, 0))
        return cab_json_put_exponent(to, digits, n, point - 1);
    if (point <= 0) {
        memcpy(to, "0.000", 5);
        memcpy(to + 2 - point, digits, MOST);
        return to + 2 - point + n;
    }
    if (point < n) {
        memcpy(to, digits, MOST);
        memcpy(to + point + 1, digits + point, MOST);
        to[point] = '.';
        return to + n + 1;
    }
    memset(to, '0', MOST);
    memcpy(to, digits, (size_t)n);
    memcpy(to + point, ".0", 2);
    return to + point + 2;
}

#endif
