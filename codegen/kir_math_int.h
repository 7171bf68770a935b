/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_math_int.h - short spellings for writing functions in KIR.
 *
 * A cab_kmath is a kernel with the dtype and lanes of the argument at hand;
 * every call takes and gives values of that shape unless it says so.
 */
#ifndef CAB_CODEGEN_KIR_MATH_INT_H
#define CAB_CODEGEN_KIR_MATH_INT_H
#include "codegen/kir_int.h"

typedef struct cab_kmath { cab_kir *k; cab_dtype dt; int n; } cab_kmath;

static inline cab_kmath km_of(cab_kir *k, cab_kv x)
{
    return (cab_kmath){ k, cab_k_dt(k, x), cab_k_ins(k, x)->lanes };
}
/* The same lanes in another dtype. */
static inline cab_kmath km_as(cab_kmath m, cab_dtype dt) { m.dt = dt; return m; }
static inline cab_dtype km_int(cab_kmath m)
{
    return m.dt == CAB_DT_f32 ? CAB_DT_i32 : CAB_DT_i64;
}
static inline cab_kv km_f(cab_kmath m, double v)
{
    return cab_k_const_f(m.k, m.dt, m.n, v);
}
static inline cab_kv km_i(cab_kmath m, int64_t v)
{
    return cab_k_const_i(m.k, m.dt, m.n, v);
}

/* km_add(m, a, b) and so on. */
#define KM_OP2(id)                                                          \
    static inline cab_kv km_##id(cab_kmath m, cab_kv a, cab_kv b)           \
    {                                                                       \
        return cab_k_op2(m.k, CAB_K_##id, a, b);                            \
    }
KM_OP2(add)
KM_OP2(sub)
KM_OP2(mul)
KM_OP2(div)
KM_OP2(min)
KM_OP2(rem)
KM_OP2(and)
KM_OP2(or)
KM_OP2(xor)
KM_OP2(shl)
KM_OP2(shr)
#undef KM_OP2
#define KM_OP1(id)                                                          \
    static inline cab_kv km_##id(cab_kmath m, cab_kv a)                     \
    {                                                                       \
        return cab_k_op1(m.k, CAB_K_##id, a);                               \
    }
KM_OP1(neg)
KM_OP1(abs)
KM_OP1(rint)
KM_OP1(floor)
KM_OP1(sqrt)
#undef KM_OP1
/* km_lt(m, a, b): bool lanes. */
#define KM_CMP(id, sub)                                                     \
    static inline cab_kv km_##id(cab_kmath m, cab_kv a, cab_kv b)           \
    {                                                                       \
        return cab_k_cmp(m.k, sub, a, b);                                   \
    }
KM_CMP(lt, CAB_KC_LT)
KM_CMP(le, CAB_KC_LE)
KM_CMP(eq, CAB_KC_EQ)
KM_CMP(ne, CAB_KC_NE)
#undef KM_CMP
static inline cab_kv km_fma(cab_kmath m, cab_kv a, cab_kv b, cab_kv c)
{
    return cab_k_fma(m.k, a, b, c);
}
static inline cab_kv km_sel(cab_kmath m, cab_kv c, cab_kv a, cab_kv b)
{
    return cab_k_select(m.k, c, a, b);
}
/* The bits as integers, and back. */
static inline cab_kv km_ibits(cab_kmath m, cab_kv x) { return cab_k_bitcast(m.k, km_int(m), x); }
static inline cab_kv km_fbits(cab_kmath m, cab_kv x) { return cab_k_bitcast(m.k, m.dt, x); }

/* sum coef[j] * x^j by Horner. */
cab_kv km_poly(cab_kmath m, cab_kv x, const double *coef, int n);
#define KM_POLY(m, x, table) km_poly((m), (x), (table), (int)(sizeof(table) / sizeof *(table)))
/* Without its first coefficient, divided by x. */
#define KM_POLY_REST(m, x, table)                                           \
    km_poly((m), (x), (table) + 1, (int)(sizeof(table) / sizeof *(table)) - 1)
/* |mag| with the sign of x; mag >= 0 or NaN. */
cab_kv km_sign_of(cab_kmath m, cab_kv mag, cab_kv x);
/* e^(x + lo) * 2^shift, lo (small, or -1) a correction of x; whole range. */
cab_kv km_exp(cab_kmath m, cab_kv x, cab_kv lo, int shift);
/* e^x where the result is a normal number. */
cab_kv km_exp_normal(cab_kmath m, cab_kv x);
/* x > 0 as 2^e * f with f in [sqrt(1/2), sqrt(2)) (f32: [2/3, 4/3)): f, and e
 * as a float in *e.  Zero, negatives, inf and NaN give nonsense. */
cab_kv km_split(cab_kmath m, cab_kv x, cab_kv *e);
/* log(1 + x), f64. */
cab_kv km_log1p(cab_kmath m, cab_kv x);
/* f(x) in f64 for an f32 or f64 x. */
cab_kv km_in_f64(cab_kir *k, cab_kv x, cab_kv (*f)(cab_kmath m, cab_kv x));

#endif
