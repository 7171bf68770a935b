/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_cuda.c - a kernel as CUDA C that includes no header.
 *
 *   extern "C" __global__ void NAME(void *b0, .., long long n0, ..)
 *
 * One block per task, k->block threads.  Compile without contraction
 * (--fmad=false): the kernel says where it wants fma.  Vectors and dot4 are
 * refused: a GPU kernel is scalar per thread.
 */
#include "codegen/kir_csrc.h"

static cab_status check(const cab_kir *k, cab_diag *d)
{
    for (size_t i = 0; i < k->ins.n; i++)
        if (k->ins.p[i].lanes > 1 || k->ins.p[i].op == CAB_K_dot4)
            return cab_fail(d, CAB_EUNSUPPORTED, NULL,
                            "kernel '%s', %%%d (%s): CUDA kernels have no vectors", k->name,
                            (int)i, cab_kop_get(k->ins.p[i].op).text);
    return CAB_OK;
}

static void prelude(cab_ksrc *c)
{
    static const cab_dtype types[] = {
        CAB_DT_f32, CAB_DT_f64, CAB_DT_i8, CAB_DT_i16, CAB_DT_i32, CAB_DT_i64, CAB_DT_u8,
        CAB_DT_u16, CAB_DT_u32, CAB_DT_u64, CAB_DT_f16, CAB_DT_bf16, CAB_DT_bool,
    };

    for (size_t j = 0; j < sizeof types / sizeof *types; j++)
        cab_buf_printf(c->b, "typedef %s %s;\n", cab_dtype_cuda(types[j]),
                       cab_ksrc_type(types[j]));
    cab_buf_str(c->b, "#define FN static __device__ __forceinline__\n\n");
    cab_ksrc_functions(c, &c->k, 1, 0);
}

/* The atomics used.  Addition and the integers are the hardware's; min and
 * max of floats compare and swap until nothing is to be changed. */
static void atomic_function(cab_ksrc *c, const cab_kins *i)
{
    cab_dtype dt = (cab_dtype)i->dt;
    const char *t = cab_ksrc_type(dt);
    const char *word = i->sub == CAB_KF_ADD ? "add" : i->sub == CAB_KF_MIN ? "min" : "max";
    const char *upper = i->sub == CAB_KF_ADD ? "Add" : i->sub == CAB_KF_MIN ? "Min" : "Max";
    const char *u = cab_dtype_bits(dt) == 64 ? "u64" : "u32";

    cab_buf_printf(c->b, "FN void atomic_%s_%s(%s *p, %s v)\n{\n", word, t, t, t);
    if (dt == CAB_DT_i64 && i->sub == CAB_KF_ADD)
        cab_buf_str(c->b, "    atomicAdd((u64 *)p, (u64)v);\n");
    else if (!cab_dtype_is_float(dt) || i->sub == CAB_KF_ADD)
        cab_buf_printf(c->b, "    atomic%s(p, v);\n", upper);
    else
        cab_buf_printf(c->b,
            "    %s seen, old = *(volatile %s *)p;\n    do {\n        %s a, b;\n"
            "        seen = old;\n        memcpy(&a, &seen, sizeof a);\n"
            "        a = %s_%s(a, v);\n        memcpy(&b, &seen, sizeof b);\n"
            "        if (a == b || (a != a && b != b))\n            return;\n"
            "        %s next;\n        memcpy(&next, &a, sizeof a);\n"
            "        old = atomicCAS((%s *)p, seen, next);\n    } while (old != seen);\n",
            u, u, t, word, t, u, u);
    cab_buf_str(c->b, "}\n\n");
}

static void atomic_functions(cab_ksrc *c)
{
    bool seen[CAB_DT_COUNT][CAB_KF_OR + 1] = { { false } };

    for (size_t j = 0; j < c->k->ins.n; j++) {
        const cab_kins *i = &c->k->ins.p[j];
        if (i->op != CAB_K_atomic || seen[i->dt][i->sub])
            continue;
        seen[i->dt][i->sub] = true;
        atomic_function(c, i);
    }
}

cab_status cab_kir_to_cuda(cab_buf *b, const cab_kir *k, cab_diag *d)
{
    cab_ksrc c = { .b = b, .k = k, .cuda = true, .depth = 1 };
    const char *sep = "";

    CAB_TRY(check(k, d));
    c.match = cab_kir_match(b->arena, k);
    prelude(&c);
    atomic_functions(&c);
    cab_buf_printf(b, "extern \"C\" __global__ void __launch_bounds__(%d)\n%s(", k->block,
                   k->name);
    for (int j = 0; j < k->n_bufs; j++, sep = ", ")
        cab_buf_printf(b, "%svoid *b%d", sep, j);
    for (int j = 0; j < k->n_ints; j++, sep = ", ")
        cab_buf_printf(b, "%si64 n%d", sep, j);
    cab_buf_str(b, ")\n{\n    const i64 task = blockIdx.x, thread = threadIdx.x;\n");
    cab_ksrc_body(&c);
    cab_buf_str(b, "}\n");
    return CAB_OK;
}
