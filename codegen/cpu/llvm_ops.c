/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llvm_ops.c - arithmetic, conversions and lane operations as LLVM IR.
 *
 * Only instructions and intrinsics that every x86-64-v2 machine has in line:
 * nothing here may become a call.  Semantics are those of kir_ops.def
 * (integer division never traps, float to integer saturates, NaN wins min and
 * max); no fast-math flag is ever set.
 */
#include <math.h>
#include <string.h>
#include "codegen/cpu/llvm_int.h"

static LLVMTypeRef scalar_type(const cab_ll *c, cab_dtype dt)
{
    switch (dt) {
    case CAB_DT_bool: return c->i1;
    case CAB_DT_u8: case CAB_DT_i8: return c->i8;
    case CAB_DT_u16: case CAB_DT_i16: case CAB_DT_f16: case CAB_DT_bf16: return c->i16;
    case CAB_DT_u32: case CAB_DT_i32: return c->i32;
    case CAB_DT_u64: case CAB_DT_i64: return c->i64;
    case CAB_DT_f32: return c->f32;
    case CAB_DT_f64: return c->f64;
    default: return NULL;
    }
}

static LLVMTypeRef widen(LLVMTypeRef t, int lanes)
{
    return t && lanes > 1 ? LLVMVectorType(t, (unsigned)lanes) : t;
}

LLVMTypeRef cab_ll_type(const cab_ll *c, cab_dtype dt, int lanes)
{
    return widen(scalar_type(c, dt), lanes);
}

LLVMTypeRef cab_ll_memory_type(const cab_ll *c, cab_dtype dt, int lanes)
{
    return widen(dt == CAB_DT_bool ? c->i8 : scalar_type(c, dt), lanes);
}

static int lanes_of(LLVMTypeRef t)
{
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}

LLVMValueRef cab_ll_splat(const cab_ll *c, LLVMValueRef v, int lanes)
{
    LLVMTypeRef t = LLVMVectorType(LLVMTypeOf(v), (unsigned)lanes);
    LLVMValueRef one;

    if (lanes == 1)
        return v;
    one = LLVMBuildInsertElement(c->b, LLVMGetPoison(t), v, LLVMConstInt(c->i64, 0, 0), "");
    return LLVMBuildShuffleVector(c->b, one, LLVMGetPoison(t),
                                  LLVMConstNull(LLVMVectorType(c->i32, (unsigned)lanes)), "");
}

LLVMValueRef cab_ll_call(const cab_ll *c, const char *name, int n_types, LLVMTypeRef *types,
                         int n, LLVMValueRef *args)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(c->mod, id, types, (size_t)n_types);

    return LLVMBuildCall2(c->b, LLVMIntrinsicGetType(c->ctx, id, types, (size_t)n_types),
                          f, args, (unsigned)n, "");
}

static LLVMValueRef call1(const cab_ll *c, const char *name, LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    return cab_ll_call(c, name, 1, &t, 1, &x);
}

/* ---- constants of any width ---- */

static LLVMValueRef in_lanes(LLVMTypeRef t, LLVMValueRef v)
{
    LLVMValueRef all[CAB_KIR_MAX_LANES];
    int n = lanes_of(t);

    if (n == 1)
        return v;
    for (int i = 0; i < n; i++)
        all[i] = v;
    return LLVMConstVector(all, (unsigned)n);
}

static LLVMTypeRef element(LLVMTypeRef t)
{
    return lanes_of(t) > 1 ? LLVMGetElementType(t) : t;
}

static LLVMValueRef int_const(LLVMTypeRef t, uint64_t v)
{
    return in_lanes(t, LLVMConstInt(element(t), v, 0));
}

static LLVMValueRef float_const(LLVMTypeRef t, double v)
{
    return in_lanes(t, LLVMConstReal(element(t), v));
}

static LLVMValueRef constant(const cab_ll *c, const cab_kins *i)
{
    LLVMTypeRef t = cab_ll_type(c, (cab_dtype)i->dt, i->lanes);
    LLVMValueRef lane[CAB_KIR_MAX_LANES];

    if (i->op == CAB_K_const)
        return cab_dtype_is_float((cab_dtype)i->dt) ? float_const(t, i->f)
                                                    : int_const(t, (uint64_t)i->imm);
    if (i->lanes == 1)
        return int_const(t, 0);
    for (int j = 0; j < i->lanes; j++)
        lane[j] = LLVMConstInt(element(t), (uint64_t)j, 0);
    return LLVMConstVector(lane, i->lanes);
}

/* ---- conversions ---- */

static LLVMTypeRef like(const cab_ll *c, LLVMValueRef x, LLVMTypeRef scalar)
{
    (void)c;
    return widen(scalar, lanes_of(LLVMTypeOf(x)));
}

/* f16 bits -> f32 without f16c: shift the fields into place, then mend
 * infinities and denormals. */
static LLVMValueRef half_to_f32_bits(const cab_ll *c, LLVMValueRef h)
{
    LLVMTypeRef i = like(c, h, c->i32), f = like(c, h, c->f32);
    LLVMBuilderRef b = c->b;
    LLVMValueRef w = LLVMBuildZExt(b, h, i, "");
    LLVMValueRef sign = LLVMBuildShl(b, LLVMBuildAnd(b, w, int_const(i, 0x8000), ""),
                                     int_const(i, 16), "");
    LLVMValueRef em = LLVMBuildAnd(b, w, int_const(i, 0x7fff), "");
    LLVMValueRef bits = LLVMBuildShl(b, em, int_const(i, 13), "");
    LLVMValueRef normal = LLVMBuildAdd(b, bits, int_const(i, 112u << 23), "");
    LLVMValueRef special = LLVMBuildAdd(b, normal, int_const(i, 112u << 23), "");
    LLVMValueRef tiny = LLVMBuildFMul(b, LLVMBuildUIToFP(b, em, f, ""),
                                      float_const(f, 0x1p-24), "");
    LLVMValueRef r = LLVMBuildSelect(
        b, LLVMBuildICmp(b, LLVMIntUGE, em, int_const(i, 0x7c00), ""), special, normal, "");

    r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntULT, em, int_const(i, 0x400), ""),
                        LLVMBuildBitCast(b, tiny, i, ""), r, "");
    return LLVMBuildBitCast(b, LLVMBuildOr(b, r, sign, ""), f, "");
}

/* f32 -> f16 bits, nearest even: denormals by the rounding of an addition. */
static LLVMValueRef f32_to_half_bits(const cab_ll *c, LLVMValueRef x)
{
    LLVMTypeRef i = like(c, x, c->i32), f = like(c, x, c->f32);
    LLVMBuilderRef b = c->b;
    LLVMValueRef w = LLVMBuildBitCast(b, x, i, "");
    LLVMValueRef a = LLVMBuildAnd(b, w, int_const(i, 0x7fffffff), "");
    LLVMValueRef sign = LLVMBuildAnd(b, LLVMBuildLShr(b, w, int_const(i, 16), ""),
                                     int_const(i, 0x8000), "");
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, a, int_const(i, 13), ""),
                                    int_const(i, 1), "");
    LLVMValueRef up = LLVMBuildAdd(b, a, int_const(i, (uint32_t)(0xfff - (112 << 23))), "");
    LLVMValueRef r = LLVMBuildLShr(b, LLVMBuildAdd(b, up, odd, ""), int_const(i, 13), "");
    LLVMValueRef tiny = LLVMBuildFAdd(b, LLVMBuildBitCast(b, a, f, ""),
                                      float_const(f, 0.5), "");
    LLVMValueRef nan = LLVMBuildOr(
        b, int_const(i, 0x7e00),
        LLVMBuildAnd(b, LLVMBuildLShr(b, a, int_const(i, 13), ""), int_const(i, 0x3ff), ""), "");

    tiny = LLVMBuildSub(b, LLVMBuildBitCast(b, tiny, i, ""), int_const(i, 0x3f000000), "");
    r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntULT, a, int_const(i, 0x38800000), ""),
                        tiny, r, "");
    r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntUGE, a, int_const(i, 0x47800000), ""),
                        int_const(i, 0x7c00), r, "");
    r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntUGT, a, int_const(i, 0x7f800000), ""),
                        nan, r, "");
    return LLVMBuildTrunc(b, LLVMBuildOr(b, r, sign, ""), like(c, x, c->i16), "");
}

static LLVMValueRef half_to_f32(const cab_ll *c, LLVMValueRef h)
{
    LLVMValueRef x;

    if (!c->f16c)
        return half_to_f32_bits(c, h);
    x = LLVMBuildBitCast(c->b, h, like(c, h, c->f16), "");
    return LLVMBuildFPExt(c->b, x, like(c, h, c->f32), "");
}

static LLVMValueRef f32_to_half(const cab_ll *c, LLVMValueRef x)
{
    LLVMValueRef h;

    if (!c->f16c)
        return f32_to_half_bits(c, x);
    h = LLVMBuildFPTrunc(c->b, x, like(c, x, c->f16), "");
    return LLVMBuildBitCast(c->b, h, like(c, x, c->i16), "");
}

static LLVMValueRef bf16_to_f32(const cab_ll *c, LLVMValueRef h)
{
    LLVMTypeRef i = like(c, h, c->i32);
    LLVMValueRef w = LLVMBuildShl(c->b, LLVMBuildZExt(c->b, h, i, ""), int_const(i, 16), "");

    return LLVMBuildBitCast(c->b, w, like(c, h, c->f32), "");
}

static LLVMValueRef f32_to_bf16(const cab_ll *c, LLVMValueRef x)
{
    LLVMTypeRef i = like(c, x, c->i32);
    LLVMBuilderRef b = c->b;
    LLVMValueRef w = LLVMBuildBitCast(b, x, i, "");
    LLVMValueRef top = LLVMBuildLShr(b, w, int_const(i, 16), "");
    LLVMValueRef odd = LLVMBuildAnd(b, top, int_const(i, 1), "");
    LLVMValueRef up = LLVMBuildAdd(b, LLVMBuildAdd(b, w, int_const(i, 0x7fff), ""), odd, "");
    LLVMValueRef nan = LLVMBuildOr(b, top, int_const(i, 0x40), "");
    LLVMValueRef r = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), nan,
                                     LLVMBuildLShr(b, up, int_const(i, 16), ""), "");

    return LLVMBuildTrunc(b, r, like(c, x, c->i16), "");
}

static LLVMValueRef float_to_int(const cab_ll *c, LLVMValueRef x, cab_dtype to, LLVMTypeRef t)
{
    LLVMTypeRef types[2] = { t, LLVMTypeOf(x) };

    return cab_ll_call(c, cab_dtype_is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat",
                       2, types, 1, &x);
}

static LLVMValueRef int_to_int(const cab_ll *c, LLVMValueRef x, cab_dtype from, cab_dtype to,
                               LLVMTypeRef t)
{
    int f = from == CAB_DT_bool ? 1 : cab_dtype_bits(from), w = cab_dtype_bits(to);

    if (w == f)
        return x;
    if (w < f)
        return LLVMBuildTrunc(c->b, x, t, "");
    return cab_dtype_is_signed(from) ? LLVMBuildSExt(c->b, x, t, "")
                                     : LLVMBuildZExt(c->b, x, t, "");
}

static LLVMValueRef cast(const cab_ll *c, LLVMValueRef x, cab_dtype from, cab_dtype to,
                         LLVMTypeRef t)
{
    bool from_float = cab_dtype_is_float(from);

    if (from == CAB_DT_f16 || from == CAB_DT_bf16)
        return from == CAB_DT_f16 ? half_to_f32(c, x) : bf16_to_f32(c, x);
    if (to == CAB_DT_f16 || to == CAB_DT_bf16)
        return to == CAB_DT_f16 ? f32_to_half(c, x) : f32_to_bf16(c, x);
    if (to == CAB_DT_bool)
        return from_float
            ? LLVMBuildFCmp(c->b, LLVMRealUNE, x, float_const(LLVMTypeOf(x), 0), "")
            : LLVMBuildICmp(c->b, LLVMIntNE, x, int_const(LLVMTypeOf(x), 0), "");
    if (from_float && cab_dtype_is_float(to))
        return to == CAB_DT_f64 ? LLVMBuildFPExt(c->b, x, t, "")
                                : LLVMBuildFPTrunc(c->b, x, t, "");
    if (from_float)
        return float_to_int(c, x, to, t);
    if (cab_dtype_is_float(to))
        return cab_dtype_is_signed(from) ? LLVMBuildSIToFP(c->b, x, t, "")
                                         : LLVMBuildUIToFP(c->b, x, t, "");
    return int_to_int(c, x, from, to, t);
}

/* ---- arithmetic ---- */

static bool is_nan_const(LLVMValueRef v)
{
    LLVMBool inexact;

    if (LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind)
        v = LLVMGetAggregateElement(v, 0);
    return v && LLVMIsAConstantFP(v) && isnan(LLVMConstRealGetDouble(v, &inexact));
}

/* NaN when either is.  Machines return the second operand for NaN, so a
 * constant goes first and one instruction is enough. */
static LLVMValueRef float_minmax(const cab_ll *c, bool max, LLVMValueRef x, LLVMValueRef y)
{
    LLVMRealPredicate p = max ? LLVMRealOGT : LLVMRealOLT;
    LLVMValueRef r;

    if (LLVMIsConstant(y) && is_nan_const(y))
        return y;
    if (LLVMIsConstant(y))
        return LLVMBuildSelect(c->b, LLVMBuildFCmp(c->b, p, y, x, ""), y, x, "");
    r = LLVMBuildSelect(c->b, LLVMBuildFCmp(c->b, p, x, y, ""), x, y, "");
    if (LLVMIsConstant(x))
        return r;
    return LLVMBuildSelect(c->b, LLVMBuildFCmp(c->b, LLVMRealUNO, x, x, ""), x, r, "");
}

static LLVMValueRef minmax(const cab_ll *c, cab_dtype dt, bool max, LLVMValueRef x,
                           LLVMValueRef y)
{
    LLVMIntPredicate p = cab_dtype_is_signed(dt) ? (max ? LLVMIntSGT : LLVMIntSLT)
                                                 : (max ? LLVMIntUGT : LLVMIntULT);

    if (cab_dtype_is_float(dt))
        return float_minmax(c, max, x, y);
    if (dt == CAB_DT_bool)
        return max ? LLVMBuildOr(c->b, x, y, "") : LLVMBuildAnd(c->b, x, y, "");
    return LLVMBuildSelect(c->b, LLVMBuildICmp(c->b, p, x, y, ""), x, y, "");
}

/* Integer div and rem: divisors that would trap become 1; x / 0 is then 0. */
static LLVMValueRef divide(const cab_ll *c, const cab_kins *i, LLVMValueRef x, LLVMValueRef y)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    bool is_signed = cab_dtype_is_signed((cab_dtype)i->dt), div = i->op == CAB_K_div;
    const cab_kins *k = cab_k_ins(c->k, i->b);
    bool safe = k->op == CAB_K_const && k->imm != 0 && k->imm != -1;
    LLVMBuilderRef b = c->b;
    LLVMValueRef zero = NULL, q;

    if (!safe) {
        LLVMValueRef trap = zero = LLVMBuildICmp(b, LLVMIntEQ, y, int_const(t, 0), "");
        if (is_signed) {
            uint64_t min = (uint64_t)1 << (cab_dtype_bits((cab_dtype)i->dt) - 1);
            LLVMValueRef lowest = LLVMBuildICmp(b, LLVMIntEQ, x, int_const(t, min), "");
            LLVMValueRef minus = LLVMBuildICmp(b, LLVMIntEQ, y, int_const(t, UINT64_MAX), "");
            trap = LLVMBuildOr(b, trap, LLVMBuildAnd(b, lowest, minus, ""), "");
        }
        y = LLVMBuildSelect(b, trap, int_const(t, 1), y, "");
    }
    if (!div)
        return is_signed ? LLVMBuildSRem(b, x, y, "") : LLVMBuildURem(b, x, y, "");
    q = is_signed ? LLVMBuildSDiv(b, x, y, "") : LLVMBuildUDiv(b, x, y, "");
    return zero ? LLVMBuildSelect(b, zero, int_const(t, 0), q, "") : q;
}

static LLVMValueRef shift(const cab_ll *c, const cab_kins *i, LLVMValueRef x, LLVMValueRef n)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    uint64_t width = (uint64_t)cab_dtype_bits((cab_dtype)i->dt);
    LLVMBuilderRef b = c->b;
    LLVMValueRef fits = LLVMBuildICmp(b, LLVMIntULT, n, int_const(t, width), "");

    if (i->op == CAB_K_shr && cab_dtype_is_signed((cab_dtype)i->dt)) {
        n = LLVMBuildSelect(b, fits, n, int_const(t, width - 1), "");
        return LLVMBuildAShr(b, x, n, "");
    }
    n = LLVMBuildSelect(b, fits, n, int_const(t, 0), "");
    x = i->op == CAB_K_shl ? LLVMBuildShl(b, x, n, "") : LLVMBuildLShr(b, x, n, "");
    return LLVMBuildSelect(b, fits, x, int_const(t, 0), "");
}

static LLVMValueRef compare(const cab_ll *c, const cab_kins *i, LLVMValueRef x, LLVMValueRef y)
{
    static const LLVMRealPredicate real[] = { LLVMRealOEQ, LLVMRealUNE, LLVMRealOLT, LLVMRealOLE };
    static const LLVMIntPredicate sign[] = { LLVMIntEQ, LLVMIntNE, LLVMIntSLT, LLVMIntSLE };
    static const LLVMIntPredicate plain[] = { LLVMIntEQ, LLVMIntNE, LLVMIntULT, LLVMIntULE };

    if (cab_dtype_is_float((cab_dtype)i->dt))
        return LLVMBuildFCmp(c->b, real[i->sub], x, y, "");
    return LLVMBuildICmp(c->b, cab_dtype_is_signed((cab_dtype)i->dt) ? sign[i->sub]
                                                                     : plain[i->sub], x, y, "");
}

static LLVMValueRef fma_or_mul_add(const cab_ll *c, LLVMValueRef x, LLVMValueRef y,
                                   LLVMValueRef z)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    LLVMValueRef args[3] = { x, y, z };

    if (c->target->fma)
        return cab_ll_call(c, "llvm.fma", 1, &t, 3, args);
    return LLVMBuildFAdd(c->b, LLVMBuildFMul(c->b, x, y, ""), z, "");
}

static LLVMValueRef absolute(const cab_ll *c, cab_dtype dt, LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    LLVMValueRef args[2] = { x, LLVMConstInt(c->i1, 0, 0) };

    if (cab_dtype_is_float(dt))
        return call1(c, "llvm.fabs", x);
    return cab_dtype_is_signed(dt) ? cab_ll_call(c, "llvm.abs", 1, &t, 2, args) : x;
}

/* c + the sum of four u8 * i8 products per lane: widen, multiply, add the
 * four strided quarters. */
static LLVMValueRef dot4(const cab_ll *c, LLVMValueRef u, LLVMValueRef s, LLVMValueRef acc)
{
    int n = lanes_of(LLVMTypeOf(acc));
    LLVMTypeRef wide = LLVMVectorType(c->i32, (unsigned)(4 * n));
    LLVMValueRef p = LLVMBuildMul(c->b, LLVMBuildZExt(c->b, u, wide, ""),
                                  LLVMBuildSExt(c->b, s, wide, ""), "");
    LLVMValueRef at[CAB_KIR_MAX_LANES];

    for (int q = 0; q < 4; q++) {
        LLVMValueRef part;
        for (int i = 0; i < n; i++)
            at[i] = LLVMConstInt(c->i32, (uint64_t)(4 * i + q), 0);
        part = n == 1 ? LLVMBuildExtractElement(c->b, p, at[0], "")
                      : LLVMBuildShuffleVector(c->b, p, LLVMGetPoison(wide),
                                               LLVMConstVector(at, (unsigned)n), "");
        acc = LLVMBuildAdd(c->b, acc, part, "");
    }
    return acc;
}

static LLVMValueRef binary(const cab_ll *c, const cab_kins *i, LLVMValueRef x, LLVMValueRef y)
{
    bool real = cab_dtype_is_float((cab_dtype)i->dt);

    switch (i->op) {
    case CAB_K_add: return real ? LLVMBuildFAdd(c->b, x, y, "") : LLVMBuildAdd(c->b, x, y, "");
    case CAB_K_sub: return real ? LLVMBuildFSub(c->b, x, y, "") : LLVMBuildSub(c->b, x, y, "");
    case CAB_K_mul: return real ? LLVMBuildFMul(c->b, x, y, "") : LLVMBuildMul(c->b, x, y, "");
    case CAB_K_div: return real ? LLVMBuildFDiv(c->b, x, y, "") : divide(c, i, x, y);
    case CAB_K_rem: return real ? NULL : divide(c, i, x, y);
    case CAB_K_min: case CAB_K_max:
        return minmax(c, (cab_dtype)i->dt, i->op == CAB_K_max, x, y);
    case CAB_K_and: return LLVMBuildAnd(c->b, x, y, "");
    case CAB_K_or: return LLVMBuildOr(c->b, x, y, "");
    case CAB_K_xor: return LLVMBuildXor(c->b, x, y, "");
    case CAB_K_shl: case CAB_K_shr: return shift(c, i, x, y);
    case CAB_K_cmp: return compare(c, i, x, y);
    default: return NULL;
    }
}

static LLVMValueRef unary(const cab_ll *c, const cab_kins *i, LLVMValueRef x)
{
    switch (i->op) {
    case CAB_K_neg:
        return cab_dtype_is_float((cab_dtype)i->dt) ? LLVMBuildFNeg(c->b, x, "")
                                                    : LLVMBuildNeg(c->b, x, "");
    case CAB_K_abs: return absolute(c, (cab_dtype)i->dt, x);
    case CAB_K_floor: return call1(c, "llvm.floor", x);
    case CAB_K_ceil: return call1(c, "llvm.ceil", x);
    case CAB_K_rint: return call1(c, "llvm.roundeven", x);
    case CAB_K_trunc: return call1(c, "llvm.trunc", x);
    case CAB_K_sqrt: return call1(c, "llvm.sqrt", x);
    default: return NULL;
    }
}

/* ---- lanes ---- */

static LLVMValueRef fold(const cab_ll *c, const cab_kins *i, LLVMValueRef x)
{
    static const uint8_t op_of[] = { CAB_K_add, CAB_K_mul, CAB_K_min, CAB_K_max,
                                     CAB_K_and, CAB_K_or };
    cab_kins step = *i;
    LLVMValueRef lo[CAB_KIR_MAX_LANES], hi[CAB_KIR_MAX_LANES];

    step.op = op_of[i->sub];
    for (int n = lanes_of(LLVMTypeOf(x)); n > 1; n /= 2) {
        LLVMValueRef a, b;
        for (int j = 0; j < n / 2; j++) {
            lo[j] = LLVMConstInt(c->i32, (uint64_t)j, 0);
            hi[j] = LLVMConstInt(c->i32, (uint64_t)(j + n / 2), 0);
        }
        if (n == 2) {
            a = LLVMBuildExtractElement(c->b, x, lo[0], "");
            b = LLVMBuildExtractElement(c->b, x, hi[0], "");
        } else {
            LLVMValueRef none = LLVMGetPoison(LLVMTypeOf(x));
            a = LLVMBuildShuffleVector(c->b, x, none, LLVMConstVector(lo, (unsigned)n / 2), "");
            b = LLVMBuildShuffleVector(c->b, x, none, LLVMConstVector(hi, (unsigned)n / 2), "");
        }
        x = binary(c, &step, a, b);
    }
    return x;
}

static LLVMValueRef perm(const cab_ll *c, const cab_kins *i)
{
    LLVMValueRef at[CAB_KIR_MAX_LANES], a = c->val[i->a], b;
    const int32_t *lane = c->k->args.p + i->args;

    b = i->b < 0 ? LLVMGetPoison(LLVMTypeOf(a)) : c->val[i->b];
    if (lanes_of(LLVMTypeOf(a)) == 1) {     /* two scalars: one vector of two */
        a = LLVMBuildInsertElement(c->b, cab_ll_splat(c, a, 2), b,
                                   LLVMConstInt(c->i64, 1, 0), "");
        b = LLVMGetPoison(LLVMTypeOf(a));
    }
    for (int j = 0; j < i->lanes; j++)
        at[j] = LLVMConstInt(c->i32, (uint64_t)lane[j], 0);
    if (i->lanes == 1)
        return LLVMBuildExtractElement(c->b, a, at[0], "");
    return LLVMBuildShuffleVector(c->b, a, b, LLVMConstVector(at, i->lanes), "");
}

static LLVMValueRef lane_op(const cab_ll *c, const cab_kins *i)
{
    LLVMValueRef x = c->val[i->a], at = LLVMConstInt(c->i64, (uint64_t)i->imm, 0);

    switch (i->op) {
    case CAB_K_splat: return cab_ll_splat(c, x, i->lanes);
    case CAB_K_extract: return LLVMBuildExtractElement(c->b, x, at, "");
    case CAB_K_insert: return LLVMBuildInsertElement(c->b, x, c->val[i->b], at, "");
    case CAB_K_fold: return fold(c, i, x);
    default: return NULL;
    }
}

cab_status cab_ll_compute(cab_ll *c, const cab_kins *i, LLVMValueRef *out)
{
    cab_dtype dt = (cab_dtype)i->dt;
    LLVMTypeRef t = cab_ll_type(c, dt, i->lanes);
    LLVMValueRef x = i->a < 0 ? NULL : c->val[i->a];
    LLVMValueRef y = i->b < 0 ? NULL : c->val[i->b];
    LLVMValueRef z = i->c < 0 ? NULL : c->val[i->c];

    *out = NULL;
    if (!t)
        return cab_fail(c->diag, CAB_EUNSUPPORTED, NULL, "kernel %s: no CPU code for dtype %s",
                        c->k->name, cab_dtype_name(dt));
    switch (i->op) {
    case CAB_K_const: case CAB_K_iota: *out = constant(c, i); break;
    case CAB_K_splat: case CAB_K_extract: case CAB_K_insert: case CAB_K_fold:
        *out = lane_op(c, i);
        break;
    case CAB_K_perm: *out = perm(c, i); break;
    case CAB_K_fma: *out = fma_or_mul_add(c, x, y, z); break;
    case CAB_K_select: *out = LLVMBuildSelect(c->b, x, y, z, ""); break;
    case CAB_K_cast: *out = cast(c, x, cab_k_dt(c->k, i->a), dt, t); break;
    case CAB_K_bitcast: *out = LLVMBuildBitCast(c->b, x, t, ""); break;
    case CAB_K_dot4: *out = dot4(c, x, y, z); break;
    default: *out = y ? binary(c, i, x, y) : unary(c, i, x); break;
    }
    if (!*out)
        return cab_fail(c->diag, CAB_EINTERNAL, NULL, "kernel %s: no CPU code for %d on %s",
                        c->k->name, i->op, cab_dtype_name(dt));
    return CAB_OK;
}
