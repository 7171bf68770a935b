/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_shortest.c - binary numbers to the shortest decimal text.
 *
 * Schubfach: R. Giulietti, "The Schubfach way to render doubles" (2020).  The
 * numbers that round to v lie between the middles to v's neighbours, an
 * interval wide enough for at least one multiple of 10^k and narrow enough for at most one
 * of 10^(k+1).  v and both middles, times 4 and divided by 10^k, are computed as
 * whole numbers, where a last bit that is set says "and a bit more" (round to
 * odd): enough for every comparison.
 */
#include "serve/json_number.h"
#include <string.h>
#include "serve/pow5.h"

typedef unsigned __int128 u128;

/* |v| = c * 2^q; uneven: v is a power of two, its lower neighbour half as far. */
typedef struct binary { uint64_t c; int q; bool uneven; } binary;

/* ---- logarithms, exact for every exponent of a double ---- */
static int floor_log10_pow2(int e) { return (e * 1262611) >> 22; }
static int floor_log10_pow2_quarters(int e) { return (e * 1262611 - 524031) >> 22; }   /* of 3/4 * 2^e */
static int floor_log2_pow10(int e) { return (e * 1741647) >> 19; }

/* ---- digits ---- */

/* 10^k's bits rounded up, times c, to odd; the first 64 bits, or 32 where g.lo
 * is not needed (c below 2^32: 64 bits of the power are enough). */
static uint64_t odd_product(cab_pow5 g, uint64_t c)
{
    u128 low = (u128)g.lo * c, high = (u128)g.hi * c + (low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

static uint64_t odd_product_32(uint64_t g, uint64_t c)
{
    u128 p = (u128)g * c;
    return (uint64_t)(p >> 64) | ((uint32_t)(p >> 32) > 1);
}

static cab_pow5 rounded_up(cab_pow5 g, int k)
{
    if (k < 0 || k > 55)
        g.hi += !++g.lo;
    return g;
}

/* Of the candidates around v (4 times, in units of 10^k): low and high end of
 * what rounds to v. */
static cab_digits choose(uint64_t low, uint64_t v, uint64_t high, int k, bool odd)
{
    uint64_t s = v / 4, tens = s / 10;
    low += odd;                /* an even number owns its middles */
    high -= odd;
    if (s >= 10) {
        bool below = low <= 40 * tens, above = 40 * tens + 40 <= high;
        if (below != above)
            return (cab_digits){ tens + above, k + 1 };
    }
    bool below = low <= 4 * s, above = 4 * s + 4 <= high;
    if (below != above)
        return (cab_digits){ s + above, k };
    uint64_t middle = 4 * s + 2;
    return (cab_digits){ s + (v > middle || (v == middle && (s & 1))), k };
}

static cab_digits trim(cab_digits d)
{
    uint64_t by;
    while (d.d >= 100000000 && (by = d.d / 100000000) * 100000000 == d.d) {
        d.d = by;
        d.e += 8;
    }
    uint32_t small = (uint32_t)d.d;
    if (d.d == small) {
        for (uint32_t t; small && (t = small / 10) * 10 == small; small = t)
            d.e++;
        return (cab_digits){ small, small ? d.e : 0 };
    }
    for (; (by = d.d / 10) * 10 == d.d; d.d = by)
        d.e++;
    return d;
}

static cab_digits shortest_64(binary b)
{
    int k = b.uneven ? floor_log10_pow2_quarters(b.q) : floor_log10_pow2(b.q);
    int h = b.q + floor_log2_pow10(-k) + 1;
    cab_pow5 g = rounded_up(cab_pow5_table()[-k], -k);
    uint64_t c = 4 * b.c;
    return trim(choose(odd_product(g, (c - 2 + b.uneven) << h), odd_product(g, c << h),
                       odd_product(g, (c + 2) << h), k, b.c & 1));
}

/* Formats of at most 24 bits. */
static cab_digits shortest_32(binary b)
{
    int k = b.uneven ? floor_log10_pow2_quarters(b.q) : floor_log10_pow2(b.q);
    int h = b.q + floor_log2_pow10(-k) + 1;
    cab_pow5 five = cab_pow5_table()[-k];
    uint64_t g = five.hi + (five.lo != 0 || k > 0), c = 4 * b.c;
    return trim(choose(odd_product_32(g, (c - 2 + b.uneven) << h), odd_product_32(g, c << h),
                       odd_product_32(g, (c + 2) << h), k, b.c & 1));
}

/* Stored bits without sign: a fraction of so many bits, its exponent's bias. */
static binary parts(uint64_t bits, int fraction, int bias)
{
    uint64_t hidden = (uint64_t)1 << fraction, c = bits & (hidden - 1);
    int stored = (int)(bits >> fraction);
    if (!stored)
        return (binary){ c, 1 - bias - fraction, false };
    return (binary){ c | hidden, stored - bias - fraction, !c && stored > 1 };
}

/* Whole numbers below 2^53 are their own digits. */
static bool is_whole(binary b, cab_digits *d)
{
    if (b.q > 0 || b.q < -52 || b.c & (((uint64_t)1 << -b.q) - 1))
        return false;
    *d = trim((cab_digits){ b.c >> -b.q, 0 });
    return true;
}

cab_digits cab_shortest_f64(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    binary b = parts(bits & ~((uint64_t)1 << 63), 52, 1023);
    cab_digits d = { 0, 0 };
    return !b.c || is_whole(b, &d) ? d : shortest_64(b);
}

cab_digits cab_shortest_f32(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    binary b = parts(bits & 0x7fffffff, 23, 127);
    return b.c ? shortest_32(b) : (cab_digits){ 0, 0 };
}

cab_digits cab_shortest_f16(uint16_t bits)
{
    binary b = parts(bits & 0x7fff, 10, 15);
    return b.c ? shortest_32(b) : (cab_digits){ 0, 0 };
}

cab_digits cab_shortest_bf16(uint16_t bits)
{
    binary b = parts(bits & 0x7fff, 7, 127);
    return b.c ? shortest_32(b) : (cab_digits){ 0, 0 };
}

/* ---- text ---- */

static const char pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
    "99";

/* Exactly eight digits. */
static void put_eight(char *to, uint32_t v)
{
    uint32_t a = v / 10000, b = v % 10000;
    memcpy(to, pairs + a / 100 * 2, 2);
    memcpy(to + 2, pairs + a % 100 * 2, 2);
    memcpy(to + 4, pairs + b / 100 * 2, 2);
    memcpy(to + 6, pairs + b % 100 * 2, 2);
}

/* The digits of v, the last one before `end`; where they begin. */
static char *put_back(char *end, uint64_t v)
{
    for (; v >= 100000000; v /= 100000000)
        put_eight(end -= 8, (uint32_t)(v % 100000000));
    uint32_t small = (uint32_t)v;
    for (; small >= 100; small /= 100)
        memcpy(end -= 2, pairs + small % 100 * 2, 2);
    if (small >= 10)
        memcpy(end -= 2, pairs + small * 2, 2);
    else
        *--end = (char)('0' + small);
    return end;
}

char *cab_u64_put(char *to, uint64_t v)
{
    char digits[20], *end = digits + sizeof digits, *first = put_back(end, v);
    memcpy(to, first, (size_t)(end - first));
    return to + (end - first);
}

char *cab_i64_put(char *to, int64_t v)
{
    if (v < 0)
        *to++ = '-';
    return cab_u64_put(to, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

/* d.ddde-XX: n digits, the first one stands for 10^e. */
static char *put_exponent(char *to, const char *digits, int n, int e)
{
    *to++ = *digits;
    if (n > 1) {
        *to++ = '.';
        memcpy(to, digits + 1, (size_t)(n - 1));
        to += n - 1;
    }
    *to++ = 'e';
    *to++ = e < 0 ? '-' : '+';
    e = e < 0 ? -e : e;
    if (e >= 100)
        *to++ = (char)('0' + e / 100);
    memcpy(to, pairs + e % 100 * 2, 2);
    return to + 2;
}

char *cab_digits_put(char *to, bool negative, cab_digits v)
{
    char room[20], *end = room + sizeof room, *digits = put_back(end, v.d);
    int n = (int)(end - digits), point = n + v.e;      /* digits before the point */
    *to = '-';
    to += negative;
    if (point > 16 || point < -3)
        return put_exponent(to, digits, n, point - 1);
    if (point <= 0) {
        memcpy(to, "0.000", 5);
        to += 2 - point;
        memcpy(to, digits, (size_t)n);
        return to + n;
    }
    if (point < n) {
        memcpy(to, digits, (size_t)point);
        to[point] = '.';
        memcpy(to + point + 1, digits + point, (size_t)(n - point));
        return to + n + 1;
    }
    memcpy(to, digits, (size_t)n);
    memset(to + n, '0', (size_t)(point - n));
    memcpy(to + point, ".0", 2);
    return to + point + 2;
}

char *cab_f64_put(char *to, double v)
{
    return cab_digits_put(to, __builtin_signbit(v) != 0, cab_shortest_f64(v));
}

char *cab_f32_put(char *to, float v)
{
    return cab_digits_put(to, __builtin_signbit(v) != 0, cab_shortest_f32(v));
}
