/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_shortest.c - numbers to text, one at a time (json_shortest_int.h is how).
 */
#include "serve/json/json_shortest_int.h"

const char json_pairs[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* Whole numbers below 2^53 are their own digits. */
static bool is_whole(json_binary b)
{
    return b.q <= 0 && b.q >= -52 && !(b.c & (((uint64_t)1 << -b.q) - 1));
}

cab_digits cab_shortest_f64(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    json_binary b = json_parts(bits & ~((uint64_t)1 << 63), 52, 1023);
    if (!b.c)
        return (cab_digits){ 0, 0 };
    if (is_whole(b))
        return json_trim((cab_digits){ b.c >> -b.q, 0 });
    return json_shortest_64(b, cab_pow5_table());
}

static cab_digits shortest_32(json_binary b)
{
    return b.c ? json_shortest_32(b, cab_pow5_table()) : (cab_digits){ 0, 0 };
}

cab_digits cab_shortest_f32(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return shortest_32(json_parts(bits & 0x7fffffff, 23, 127));
}

cab_digits cab_shortest_f16(uint16_t bits) { return shortest_32(json_parts(bits & 0x7fff, 10, 15)); }
cab_digits cab_shortest_bf16(uint16_t bits) { return shortest_32(json_parts(bits & 0x7fff, 7, 127)); }

char *cab_json_put_exponent(char *to, const char *digits, int n, int e)
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
    memcpy(to, json_pairs + e % 100 * 2, 2);
    return to + 2;
}

char *cab_digits_put(char *to, bool negative, cab_digits v)
{
    return json_put_digits(to, negative, v);
}

char *cab_f64_put(char *to, double v)
{
    return cab_digits_put(to, __builtin_signbit(v) != 0, cab_shortest_f64(v));
}

char *cab_f32_put(char *to, float v)
{
    return cab_digits_put(to, __builtin_signbit(v) != 0, cab_shortest_f32(v));
}

char *cab_u64_put(char *to, uint64_t v)
{
    char digits[20], *end = digits + sizeof digits, *first = json_put_back(end, v);
    memcpy(to, first, (size_t)(end - first));
    return to + (end - first);
}

char *cab_i64_put(char *to, int64_t v)
{
    if (v < 0)
        *to++ = '-';
    return cab_u64_put(to, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}
