/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.c - by the SSE4.2 instruction where there is one, else bit by bit.
 */
#include "base/crc32c.h"
#include <cpuid.h>
#include <string.h>

static uint32_t plain(uint32_t c, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (0x82f63b78u & (0u - (c & 1)));
    }
    return c;
}

__attribute__((target("sse4.2"))) static uint32_t fast(uint32_t c, const uint8_t *p, size_t n)
{
    uint64_t wide = c;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        wide = __builtin_ia32_crc32di(wide, x);
    }
    c = (uint32_t)wide;
    for (; n; p++, n--)
        c = __builtin_ia32_crc32qi(c, *p);
    return c;
}

uint32_t cab_crc32c(uint32_t crc, const void *p, size_t n)
{
    static _Atomic int known;          /* 0: not yet, 1: no instruction, 2: there is one */
    uint32_t a, b, c = 0, d;
    if (!known)
        known = 1 + (__get_cpuid(1, &a, &b, &c, &d) && c >> 20 & 1);
    return ~(known == 2 ? fast : plain)(~crc, p, n);
}
