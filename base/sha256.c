/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256.c - SHA-256 as FIPS 180-4 section 6.2 describes it; by the SHA
 * instructions of x86 where there are some (Intel's SDM, vol. 2).
 */
#include "base/sha256.h"
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, int k)
{
    return x >> k | x << (32 - k);
}

static void compress_plain(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16
               | (uint32_t)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[i - 7]
               + (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[0], e = v[4];
        uint32_t t1 = v[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25))
                      + ((e & v[5]) ^ (~e & v[6])) + K[i] + w[i];
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22))
                      + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

/* The state as the instructions want it: a b e f and c d g h. */
__attribute__((target("sha,sse4.1,ssse3"))) static void compress_fast(uint32_t h[8],
                                                                      const uint8_t *p)
{
    const __m128i turn = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)h), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(h + 4)), 0x1b);
    __m128i x = _mm_alignr_epi8(abcd, efgh, 8), y = _mm_blend_epi16(efgh, abcd, 0xf0);
    const __m128i x0 = x, y0 = y;
    __m128i w[4];

    for (int g = 0; g < 16; g++) {         /* four rounds each */
        __m128i *m = &w[g & 3], last = w[(g + 3) & 3];
        if (g < 4)
            *m = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * g)), turn);
        else
            *m = _mm_sha256msg2_epu32(
                _mm_add_epi32(_mm_sha256msg1_epu32(*m, w[(g + 1) & 3]),
                              _mm_alignr_epi8(last, w[(g + 2) & 3], 4)), last);
        __m128i k = _mm_add_epi32(*m, _mm_loadu_si128((const __m128i *)(const void *)(K + 4 * g)));
        y = _mm_sha256rnds2_epu32(y, x, k);
        x = _mm_sha256rnds2_epu32(x, y, _mm_shuffle_epi32(k, 0x0e));
    }
    x = _mm_shuffle_epi32(_mm_add_epi32(x, x0), 0x1b);
    y = _mm_shuffle_epi32(_mm_add_epi32(y, y0), 0xb1);
    _mm_storeu_si128((__m128i *)(void *)h, _mm_blend_epi16(x, y, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(h + 4), _mm_alignr_epi8(y, x, 8));
}

/* CPUID leaves a virtual machine: asked once. */
static int has_sha(void)
{
    static _Atomic int known;          /* 0: not yet, 1: no, 2: yes */
    uint32_t a, b, c, d;

    if (!known)
        known = 1 + (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1);
    return known == 2;
}

static void compress(cab_sha256 *s, const uint8_t *p)
{
    (s->fast ? compress_fast : compress_plain)(s->h, p);
}

void cab_sha256_init(cab_sha256 *s)
{
    static const uint32_t start[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };

    memcpy(s->h, start, sizeof start);
    s->n = 0;
    s->fast = has_sha();
}

void cab_sha256_add(cab_sha256 *s, const void *p, size_t n)
{
    const uint8_t *in = p;
    size_t held = s->n % 64;

    if (!n)
        return;
    s->n += n;
    if (held + n < 64) {
        memcpy(s->block + held, in, n);
        return;
    }
    if (held) {
        memcpy(s->block + held, in, 64 - held);
        compress(s, s->block);
        in += 64 - held;
        n -= 64 - held;
    }
    for (; n >= 64; in += 64, n -= 64)
        compress(s, in);
    if (n)
        memcpy(s->block, in, n);
}

void cab_sha256_done(cab_sha256 *s, uint8_t out[32])
{
    uint64_t bits = s->n * 8;
    size_t held = s->n % 64;

    s->block[held++] = 0x80;
    memset(s->block + held, 0, 64 - held);
    if (held > 56) {
        compress(s, s->block);
        memset(s->block, 0, 64);
    }
    for (int i = 0; i < 8; i++)
        s->block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    compress(s, s->block);
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - i % 4 * 8));
}

void cab_sha256_of(const void *p, size_t n, uint8_t out[32])
{
    cab_sha256 s;

    cab_sha256_init(&s);
    cab_sha256_add(&s, p, n);
    cab_sha256_done(&s, out);
}
