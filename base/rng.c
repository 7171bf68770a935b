/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng.c - xoshiro256** and splitmix64, after the authors' public descriptions.
 */
#include "base/rng.h"

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void cab_rng_seed(cab_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t cab_rng_u64(cab_rng *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double cab_rng_f64(cab_rng *r, double lo, double hi)
{
    double u = (double)(cab_rng_u64(r) >> 11) * 0x1p-53;
    double x = lo + (hi - lo) * u;

    return x < hi ? x : lo;         /* rounding may reach hi */
}

int64_t cab_rng_i64(cab_rng *r, int64_t lo, int64_t hi)
{
    uint64_t span = (uint64_t)hi - (uint64_t)lo, v;

    if (span == UINT64_MAX)
        return (int64_t)cab_rng_u64(r);
    span++;
    /* The tail that would favour small remainders is rejected. */
    do
        v = cab_rng_u64(r);
    while (v > UINT64_MAX - (UINT64_MAX - span + 1) % span);
    return (int64_t)((uint64_t)lo + v % span);
}
