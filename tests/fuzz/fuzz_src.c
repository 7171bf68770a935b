/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_src.c - choices of the fuzz targets; needs no compiler.
 */
#include "tests/fuzz/fuzz.h"

uint64_t fuzz_hash(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

fuzz_src fuzz_src_of(const uint8_t *p, size_t n)
{
    fuzz_src s = { p, n, { { 0 } } };
    cab_rng_seed(&s.r, fuzz_hash(p, n));
    return s;
}

int64_t fuzz_draw(fuzz_src *s, int64_t lo, int64_t hi)
{
    uint64_t span = (uint64_t)(hi - lo) + 1, v = 0;
    size_t need = span > 256 ? 2 : 1;
    if (span <= 1)
        return lo;
    if (s->n < need)
        return cab_rng_i64(&s->r, lo, hi);
    for (size_t i = 0; i < need; i++)
        v = v << 8 | s->p[i];
    s->p += need;
    s->n -= need;
    return lo + (int64_t)(v % span);
}
