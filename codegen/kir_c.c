/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_c.c - a kernel as readable C11.
 *
 * For reading, for golden tests and as an oracle compiled by any C compiler:
 * depends on stdint.h, string.h and, where fma or sqrt are used, math.h.
 * Compile with the compiler's strict C11 mode: contraction of a * b + c would
 * change results.  Tasks run one after another; atomics are plain updates.
 * Threads of a block become a loop, unless they meet at barriers or shuffles,
 * which C has not: such a kernel is an #error.
 */
#include "codegen/kir_csrc.h"

static bool uses_math(const cab_kins *i)
{
    switch (i->op) {
    case CAB_K_fma: case CAB_K_floor: case CAB_K_ceil: case CAB_K_rint:
    case CAB_K_trunc: case CAB_K_sqrt:
        return true;
    case CAB_K_abs: case CAB_K_rem:
        return cab_dtype_is_float((cab_dtype)i->dt);
    default:
        return false;
    }
}

static bool meets(const cab_kins *i)
{
    return i->op == CAB_K_barrier || i->op == CAB_K_shfl ||
           (i->op == CAB_K_alloc && i->space == CAB_KS_SHARED);
}

static bool find(const cab_kir *k, bool (*is)(const cab_kins *))
{
    for (size_t i = 0; i < k->ins.n; i++)
        if (is(&k->ins.p[i]))
            return true;
    return false;
}

static void types(cab_buf *b)
{
    static const cab_dtype list[] = {
        CAB_DT_f32, CAB_DT_f64, CAB_DT_i8, CAB_DT_i16, CAB_DT_i32, CAB_DT_i64, CAB_DT_u8,
        CAB_DT_u16, CAB_DT_u32, CAB_DT_u64, CAB_DT_f16, CAB_DT_bf16, CAB_DT_bool,
    };

    for (size_t j = 0; j < sizeof list / sizeof *list; j++)
        cab_buf_printf(b, "typedef %s %s;\n", cab_dtype_c(list[j]), cab_ksrc_type(list[j]));
    cab_buf_str(b, "#define FN static inline\n\n");
}

static void kernel(cab_buf *b, const cab_kir *k, const char *linkage)
{
    cab_ksrc c = { .b = b, .k = k, .depth = 2, .match = cab_kir_match(b->arena, k) };
    bool threads = k->block > 1;

    cab_buf_printf(b, "%svoid %s(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi)\n"
                   "{\n    (void)bufs;\n    (void)ints;\n"
                   "    for (i64 task = lo; task < hi; task++) {\n", linkage, k->name);
    if (threads)
        cab_ksrc_line(&c, "for (i64 thread = 0; thread < %d; thread++) {", k->block);
    c.depth += threads;
    cab_ksrc_body(&c);
    c.depth -= threads;
    if (threads)
        cab_ksrc_line(&c, "}");
    cab_buf_str(b, "    }\n}\n");
}

void cab_kir_to_c(cab_buf *b, const cab_kir *k)
{
    cab_ksrc c = { .b = b, .k = k };

    if (k->block > 1 && find(k, meets)) {
        cab_buf_printf(b, "#error \"%s: its threads meet, which C cannot say\"\n", k->name);
        return;
    }
    cab_buf_str(b, find(k, uses_math) ? "#include <math.h>\n" : "");
    cab_buf_str(b, "#include <stdint.h>\n#include <string.h>\n\n");
    types(b);
    cab_ksrc_functions(&c, &k, 1, 0);
    cab_buf_printf(b, "void %s(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi);\n",
                   k->name);
    kernel(b, k, "");
}

void cab_kirs_to_c(cab_buf *b, const cab_kir *const *k, int n, unsigned halves)
{
    cab_ksrc c = { .b = b };

    types(b);
    cab_ksrc_functions(&c, k, n, halves);
    for (int i = 0; i < n; i++) {
        kernel(b, k[i], "static ");
        cab_buf_char(b, '\n');
    }
}
