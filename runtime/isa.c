/* SPDX-License-Identifier: Apache-2.0 */
/*
 * isa.c - what this processor and operating system offer: CPUID and XCR0.
 */
#include "runtime/runtime_int.h"
#include <cpuid.h>
#include <string.h>

static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* CPUID words the rows test. */
enum { L1_C, L7_B, L7_C, L7_D, L71_A, WORDS };
enum { NEED_NONE, NEED_AVX = 0x6, NEED_AVX512 = 0xe6 };

static const struct { uint32_t isa; int word; uint32_t bits; uint64_t xcr0; } rows[] = {
    { CAB_ISA_SSE42, L1_C, 1u << 20, NEED_NONE },
    { CAB_ISA_F16C, L1_C, 1u << 29, NEED_AVX },
    { CAB_ISA_BMI2, L7_B, 1u << 8, NEED_NONE },
    /* f dq cd bw vl */
    { CAB_ISA_AVX512, L7_B, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31, NEED_AVX512 },
    { CAB_ISA_VNNI, L7_C, 1u << 11, NEED_AVX512 },
    { CAB_ISA_AVX512_FP16, L7_D, 1u << 23, NEED_AVX512 },
    { CAB_ISA_AVX512_BF16, L71_A, 1u << 5, NEED_AVX512 },
};

uint32_t cab_isa_here(void)
{
    uint32_t a, b, c, d, w[WORDS] = { 0 }, isa = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    w[L1_C] = c;
    uint64_t os = c & 1u << 27 ? xcr0() : 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        w[L7_B] = b;
        w[L7_C] = c;
        w[L7_D] = d;
    }
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d))
        w[L71_A] = a;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((w[rows[i].word] & rows[i].bits) == rows[i].bits && (os & rows[i].xcr0) == rows[i].xcr0)
            isa |= rows[i].isa;
    /* AVX2 and FMA are one bit for us: no processor has one alone. */
    if (w[L7_B] & 1u << 5 && w[L1_C] & 1u << 12 && (os & NEED_AVX) == NEED_AVX)
        isa |= CAB_ISA_AVX2_FMA;
    return isa;
}

const char *cab_isa_names(uint32_t isa, char *buf, size_t n)
{
    static const struct { uint32_t bit; const char *name; } names[] = {
        { CAB_ISA_SSE42, "sse4.2" },   { CAB_ISA_AVX2_FMA, "avx2+fma" },
        { CAB_ISA_F16C, "f16c" },      { CAB_ISA_BMI2, "bmi2" },
        { CAB_ISA_AVX512, "avx512" },  { CAB_ISA_VNNI, "avx512-vnni" },
        { CAB_ISA_AVX512_BF16, "avx512-bf16" }, { CAB_ISA_AVX512_FP16, "avx512-fp16" },
        { ~(uint32_t)(CAB_ISA_SSE42 | CAB_ISA_AVX2_FMA | CAB_ISA_F16C | CAB_ISA_BMI2 | CAB_ISA_AVX512 |
                      CAB_ISA_VNNI | CAB_ISA_AVX512_BF16 | CAB_ISA_AVX512_FP16),
          "something-newer" },           /* a later compiler's */
    };
    size_t at = 0;
    if (n)
        buf[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i].name);
        if (!(isa & names[i].bit) || at + len + 2 > n)
            continue;
        if (at)
            buf[at++] = ' ';
        memcpy(buf + at, names[i].name, len + 1);
        at += len;
    }
    return buf;
}
