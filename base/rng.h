/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng.h - xoshiro256** seeded by splitmix64 (Blackman and Vigna, public
 * domain); for seeded inputs and tests.  Never for security.
 */
#ifndef CAB_BASE_RNG_H
#define CAB_BASE_RNG_H
#include <stdint.h>

typedef struct cab_rng { uint64_t s[4]; } cab_rng;
void cab_rng_seed(cab_rng *r, uint64_t seed);
uint64_t cab_rng_u64(cab_rng *r);
/* Uniform in [lo, hi). */
double cab_rng_f64(cab_rng *r, double lo, double hi);
/* Uniform in [lo, hi], inclusive, by rejection. */
int64_t cab_rng_i64(cab_rng *r, int64_t lo, int64_t hi);

#endif
