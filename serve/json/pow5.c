/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pow5.c - powers of five, 128 bits of each.
 *
 * Computed rather than listed: 10 kB of digits would have to be believed.  Both
 * directions are exact: 5^q is multiplied up, and floor(floor(x / a) / b) is
 * floor(x / ab), so that 2^1023 divided by five again and again keeps every bit.
 */
#include "serve/json/pow5.h"
#include <pthread.h>

typedef unsigned __int128 u128;
enum { LIMBS = 16 };           /* 5^324 has 753 bits; 2^1023 / 5^342 has 229 */

static cab_pow5 table[CAB_POW5_MAX - CAB_POW5_MIN + 1];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The first 128 bits of w, low limb first. */
static cab_pow5 first_bits(const uint64_t *w)
{
    int top = LIMBS - 1;
    while (!w[top])
        top--;
    uint64_t a = w[top], b = top >= 1 ? w[top - 1] : 0, c = top >= 2 ? w[top - 2] : 0;
    int up = __builtin_clzll(a);
    if (up) {
        a = a << up | b >> (64 - up);
        b = b << up | c >> (64 - up);
    }
    return (cab_pow5){ a, b };
}

static void times_five(uint64_t *w)
{
    u128 carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (u128)w[i] * 5;
        w[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static void by_five(uint64_t *w)
{
    u128 rest = 0;
    for (int i = LIMBS - 1; i >= 0; i--) {
        rest = rest << 64 | w[i];
        w[i] = (uint64_t)(rest / 5);
        rest %= 5;
    }
}

static void make(void)
{
    cab_pow5 *of = table - CAB_POW5_MIN;
    uint64_t up[LIMBS] = { 1 }, down[LIMBS] = { [LIMBS - 1] = (uint64_t)1 << 63 };
    for (int q = 0; q <= CAB_POW5_MAX; q++) {
        of[q] = first_bits(up);
        times_five(up);
    }
    for (int q = -1; q >= CAB_POW5_MIN; q--) {
        by_five(down);
        of[q] = first_bits(down);
    }
}

const cab_pow5 *cab_pow5_table(void)
{
    pthread_once(&once, make);
    return table - CAB_POW5_MIN;
}
