/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.c - the machine code is made for: the host, or a named level.
 *
 * Names: NULL or "native" (host CPU with its features), "x86-64-v2",
 * "x86-64-v3", "x86-64-v4" (fixed feature sets, generic cache sizes).
 * Fills cab_target; creates no code.
 */
#include "codegen/cpu/llvm_rename.h"
#include <cpuid.h>
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <llvm/Config/llvm-config.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "codegen/codegen.h"
#include "codegen/gen.h"
#include "codegen/cpu/llvm_load.h"

/* features: what the code may use, spelled out for whoever must check it. */
typedef struct level {
    const char *name, *features;
    int vector_bytes, n_vector_regs;
    bool fma;
} level;

#define V3 ",+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"

static const level levels[] = {
    { "x86-64-v2", "+sse4.2,+popcnt", 16, 16, false },
    { "x86-64-v3", "+sse4.2,+popcnt" V3, 32, 16, true },
    { "x86-64-v4", "+sse4.2,+popcnt" V3 ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
      64, 32, true },
};

static bool has(const char *features, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = strstr(features, name); p; p = strstr(p + 1, name))
        if (p > features && p[-1] == '+' && (p[n] == ',' || p[n] == 0))
            return true;
    return false;
}

static int64_t cache_bytes(int which, int64_t otherwise)
{
    long n = sysconf(which);

    return n >= 4096 ? n : otherwise;
}

static void take_host(cab_arena *a, cab_target *out)
{
    char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();

    out->cpu = cab_strdup(a, cpu ? cpu : "x86-64");
    out->features = cab_strdup(a, features ? features : "");
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
    out->fma = has(out->features, "fma");
    if (has(out->features, "avx512f") && has(out->features, "avx512bw") &&
        has(out->features, "avx512dq") && has(out->features, "avx512vl")) {
        out->vector_bytes = 64;
        out->n_vector_regs = 32;
    } else {
        out->vector_bytes = has(out->features, "avx2") ? 32 : 16;
        out->n_vector_regs = 16;
    }
    out->fma_bytes = strcmp(out->cpu, "znver4") ? out->vector_bytes : 32;
    out->l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, out->l1_bytes);
    out->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, out->l2_bytes);
}

cab_status cab_target_get(cab_arena *a, const char *name, cab_target *out, cab_diag *d)
{
    *out = (cab_target){ .triple = "x86_64-unknown-linux-gnu", .features = "",
                         .l1_bytes = 32 << 10, .l2_bytes = 1 << 20 };
    if (!name || !strcmp(name, "native")) {
        CAB_TRY(cab_llvm_load(d));
        take_host(a, out);
        return CAB_OK;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcmp(name, levels[i].name))
            continue;
        out->cpu = levels[i].name;
        out->features = levels[i].features;
        out->vector_bytes = out->fma_bytes = levels[i].vector_bytes;
        out->n_vector_regs = levels[i].n_vector_regs;
        out->fma = levels[i].fma;
        return CAB_OK;
    }
    cab_status s = cab_fail(d, CAB_EUNSUPPORTED, NULL, "no target '%s'", name);
    cab_note(d, "targets are native, x86-64-v2, x86-64-v3 and x86-64-v4");
    return s;
}

/* ---- identity ---- */

/* What LLVM decides the host's name and features by: family and features,
 * without what differs from core to core (APIC numbers). */
static void put_processor(cab_buf *b)
{
    static const struct { uint32_t leaf, sub; uint8_t regs; } rows[] = {
        { 0, 0, 0xf }, { 1, 0, 0xd }, { 7, 0, 0xf }, { 7, 1, 0xf }, { 7, 2, 0xf }, { 0xd, 0, 1 },
        { 0xd, 1, 1 }, { 0x14, 0, 0xf }, { 0x19, 0, 0xf }, { 0x1e, 1, 0xf }, { 0x24, 0, 0xf },
        { 0x80000001, 0, 0xc }, { 0x80000008, 0, 2 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t r[4] = { 0 };
        if (!__get_cpuid_count(rows[i].leaf, rows[i].sub, &r[0], &r[1], &r[2], &r[3]))
            continue;
        for (int k = 0; k < 4; k++)
            if (rows[i].regs >> k & 1)
                cab_buf_printf(b, " %x", r[k]);
    }
    uint32_t a, bb, c, d, lo = 0, hi = 0;
    if (__get_cpuid(1, &a, &bb, &c, &d) && c & bit_OSXSAVE)
        __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    cab_buf_printf(b, " xcr %x %x", lo, hi);
}

cab_status cab_codegen_identity(cab_buf *out, const char *target)
{
    struct stat st;

    /* The very library: another build of the same version may have a bug less. */
    if (stat(CAB_LLVM_SO, &st))
        memset(&st, 0, sizeof st);
    cab_buf_printf(out, "llvm %s of %lld bytes, %lld, target %s", LLVM_VERSION_STRING,
                   (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                   target ? target : "native");
    if (!target || strstr(target, "native")) {
        put_processor(out);
        cab_buf_printf(out, " caches %lld %lld",
                       (long long)cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 0),
                       (long long)cache_bytes(_SC_LEVEL2_CACHE_SIZE, 0));
    }
    cab_buf_char(out, '\n');
    return CAB_OK;
}
