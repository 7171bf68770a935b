/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_run.h - for tests and benchmarks: Specs to running code, without the
 * artifact: generate, compile, map, pack constants, call.
 */
#ifndef CAB_TESTS_KERNEL_RUN_H
#define CAB_TESTS_KERNEL_RUN_H
#include <string.h>
#include <sys/mman.h>
#include "codegen/codegen_int.h"
#include "codegen/kir_int.h"

typedef void (*kernel_fn)(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi);
typedef struct loaded { cab_image img; void *code; size_t bytes; } loaded;

/* Compiles the kernels and maps their code. */
static inline cab_status load_kernels(cab_arena *a, const cab_kir *const *k, int n,
                                      const cab_target *t, loaded *out, cab_diag *d)
{
    cab_object o = { .want_text = cab_debug_level() >= 6 };
    cab_status s;

    memset(out, 0, sizeof *out);
    CAB_TRY(cab_llvm_object(k, n, t, &o, d));
    if (o.assembly)
        cab_log(6, "%s\n%s", o.ir, o.assembly);
    out->img.code = cab_buf_on(a);
    s = cab_link_object(a, &out->img, o.elf, o.n, d);
    cab_object_fini(&o);
    CAB_TRY(s);
    out->bytes = out->img.code.n;
    out->code = mmap(NULL, out->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (out->code == MAP_FAILED)
        return cab_fail(d, CAB_ENOMEM, NULL, "mmap");
    memcpy(out->code, out->img.code.p, out->bytes);
    mprotect(out->code, out->bytes, PROT_READ | PROT_EXEC);
    return CAB_OK;
}

static inline kernel_fn loaded_find(const loaded *l, const char *name)
{
    const cab_symbol *y = cab_image_find(&l->img, name);
    kernel_fn f = NULL;
    void *p = y ? (char *)l->code + y->offset : NULL;

    memcpy(&f, &p, sizeof f);
    return f;
}

static inline void unload(loaded *l) { munmap(l->code, l->bytes); }

static inline int64_t dim_value(const cab_dim *x, cab_env *env)
{
    int64_t v = -1;
    return cab_dim_eval(x, cab_env_get, env, &v) ? v : INT64_MIN;
}

static inline uint64_t packed_elems(const cab_pack *p)
{
    uint64_t n = 1;
    for (int i = p->n_dims - 1; i >= 0; i--)
        n = (uint64_t)p->dims[i] * (n + (i == p->hi ? (uint64_t)p->pad : 0));
    return n;
}

/* The packed form, element by element as cab_pack defines it. */
static inline void pack_operand(const cab_pack *p, const void *src, void *dst)
{
    size_t size = (size_t)cab_dtype_bits(p->dtype) / 8;
    uint64_t n = packed_elems(p), panel = 1;

    for (int i = p->hi + 1; i < p->n_dims; i++)
        panel *= (uint64_t)p->dims[i];
    for (uint64_t e = 0; e < n; e++) {
        uint64_t in = e % (panel + (uint64_t)p->pad), out = e / (panel + (uint64_t)p->pad);
        bool real = in < panel;
        int64_t from = p->base, at[8];
        for (int i = p->n_dims - 1; i >= 0; i--) {
            uint64_t *rest = i > p->hi ? &in : &out;
            at[i] = (int64_t)(*rest % (uint64_t)p->dims[i]);
            *rest /= (uint64_t)p->dims[i];
            from += at[i] * p->coef[i];
        }
        if (!real || at[p->hi] * p->dims[p->lo] + at[p->lo] >= p->bound)
            memset((char *)dst + e * size, 0, size);
        else
            memcpy((char *)dst + e * size, (const char *)src + (size_t)from * size, size);
    }
}

#endif
