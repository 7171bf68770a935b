/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir.h - the kernel level: linear SSA with structured loops and typed vectors.
 *
 * A kernel is one array of instructions; the value of an instruction is its
 * index.  Structure nests (loop..end, while..end, if..else..endif); a value is
 * visible until the region that defines it closes; what leaves a region goes
 * through carried values and res.  The body is one *task*: CPU renderers wrap
 * it in a loop over task numbers, GPU renderers launch one block per task.
 * Pointers are parameters (buf) and alloc results; addresses are always
 * pointer + i64 index + constant displacement, in elements.
 * f16 and bf16 exist as ld/st/cast types only; arithmetic is done in f32.
 * bool is 1 byte in memory (0/1) and a predicate in registers.
 * Text form: kir_text.c, print(parse(t)) == t.  A kernel lives in an arena.
 */
#ifndef CAB_CODEGEN_KIR_H
#define CAB_CODEGEN_KIR_H
#include "base/base.h"

#define CAB_KIR_MAX_LANES 64

typedef enum cab_kop {
#define KOP(id, text, cls) CAB_K_##id,
#include "codegen/kir_ops.def"
    CAB_K_COUNT
} cab_kop;

enum cab_kspace { CAB_KS_GLOBAL, CAB_KS_STACK, CAB_KS_SHARED };
enum cab_kprefetch { CAB_KP_L1, CAB_KP_L2 };       /* the cache a line is brought to */
enum cab_kcmp { CAB_KC_EQ, CAB_KC_NE, CAB_KC_LT, CAB_KC_LE };
enum cab_kfold { CAB_KF_ADD, CAB_KF_MUL, CAB_KF_MIN, CAB_KF_MAX, CAB_KF_AND, CAB_KF_OR };
enum { CAB_KIR_RO = 1 };        /* flags of buf: only read */

typedef struct cab_kins {
    uint8_t op, space, sub, flags;
    uint8_t dt;                /* cab_dtype of the result (cmp: of the operands; st: in memory) */
    uint16_t lanes;            /* 1 = scalar */
    int32_t a, b, c;           /* operand values; -1 = none */
    int32_t args, n_args;      /* slice of kir->args */
    int64_t imm;
    double f;
} cab_kins;

typedef int cab_kv;            /* a value: index of its instruction */

typedef struct cab_kir {
    cab_arena *arena;
    const char *name;
    int n_bufs, n_ints;        /* parameters the kernel takes */
    int block;                 /* threads per block (GPU); 1 on CPU */
    bool licm, cse;            /* ask LLVM for early-cse/licm on this kernel */
    CAB_VEC(cab_kins) ins;
    CAB_VEC(int32_t) args;
    CAB_VEC(int32_t) open;     /* builder: open regions (index of the loop, while, if or else) */
    CAB_VEC(int32_t) region;   /* builder: innermost region of each instruction; -1 = top level */
    int32_t *numbering;        /* builder: pure instructions by hash, for reuse */
} cab_kir;

/* ---- kir.c: building.  Every call appends, with these exceptions: operations
 * on constants are folded; trivially equal ones (x+0, x*1) return their
 * operand; constant terms of i64 index arithmetic gather into the displacement
 * of ld/st; a pure instruction equal to a visible one is that one.  Operands
 * must agree in dtype and lanes (asserted). ---- */
cab_kir *cab_kir_create(cab_arena *a, const char *name, int n_bufs, int n_ints);
cab_kv cab_k_buf(cab_kir *k, int operand, cab_dtype dt, bool read_only);
cab_kv cab_k_int(cab_kir *k, int param);
cab_kv cab_k_grid(cab_kir *k);
cab_kv cab_k_thread(cab_kir *k);
cab_kv cab_k_i64(cab_kir *k, int64_t v);
cab_kv cab_k_const_i(cab_kir *k, cab_dtype dt, int lanes, int64_t v);
cab_kv cab_k_const_f(cab_kir *k, cab_dtype dt, int lanes, double v);
cab_kv cab_k_iota(cab_kir *k, cab_dtype dt, int lanes);
/* Opens a loop; *phi (n of them) are the carried values in the round; returns
 * the counter.  lo, hi: i64 values. */
cab_kv cab_k_loop(cab_kir *k, cab_kv lo, cab_kv hi, int64_t step, int n,
                  const cab_kv *init, cab_kv *phi);
void cab_k_while(cab_kir *k, int n, const cab_kv *init, cab_kv *phi);
void cab_k_cond(cab_kir *k, cab_kv c);
/* Closes the innermost loop/while; *res are the final carried values. */
void cab_k_end(cab_kir *k, int n, const cab_kv *next, cab_kv *res);
void cab_k_if(cab_kir *k, cab_kv cond);
void cab_k_else(cab_kir *k, int n, const cab_kv *then_values);
void cab_k_endif(cab_kir *k, int n, const cab_kv *else_values, cab_kv *res);
cab_kv cab_k_alloc(cab_kir *k, int space, cab_dtype dt, int64_t elems);
cab_kv cab_k_ld(cab_kir *k, cab_dtype dt, int lanes, cab_kv ptr, cab_kv index, int64_t disp,
                cab_kv mask);
void cab_k_st(cab_kir *k, cab_kv value, cab_kv ptr, cab_kv index, int64_t disp, cab_kv mask);
cab_kv cab_k_ldx(cab_kir *k, cab_dtype dt, int lanes, cab_kv ptr, cab_kv indices, int64_t disp,
                 cab_kv mask);
void cab_k_stx(cab_kir *k, cab_kv value, cab_kv ptr, cab_kv indices, int64_t disp, cab_kv mask);
void cab_k_atomic(cab_kir *k, int sub, cab_kv value, cab_kv ptr, cab_kv index, int64_t disp);
/* A hint; level: cab_kprefetch. */
void cab_k_prefetch(cab_kir *k, int level, cab_kv ptr, cab_kv index, int64_t disp);
void cab_k_barrier(cab_kir *k);
cab_kv cab_k_splat(cab_kir *k, cab_kv scalar, int lanes);   /* itself for lanes 1 */
cab_kv cab_k_extract(cab_kir *k, cab_kv v, int lane);
cab_kv cab_k_insert(cab_kir *k, cab_kv v, cab_kv scalar, int lane);
cab_kv cab_k_perm(cab_kir *k, cab_kv a, cab_kv b, int lanes, const int *index);
cab_kv cab_k_fold(cab_kir *k, int sub, cab_kv v);
cab_kv cab_k_shfl(cab_kir *k, cab_kv v, int xor_mask);
cab_kv cab_k_op1(cab_kir *k, cab_kop op, cab_kv a);
cab_kv cab_k_op2(cab_kir *k, cab_kop op, cab_kv a, cab_kv b);
cab_kv cab_k_fma(cab_kir *k, cab_kv a, cab_kv b, cab_kv c);
cab_kv cab_k_cmp(cab_kir *k, int sub, cab_kv a, cab_kv b);
cab_kv cab_k_select(cab_kir *k, cab_kv cond, cab_kv a, cab_kv b);
cab_kv cab_k_cast(cab_kir *k, cab_dtype dt, cab_kv a);      /* itself when equal */
cab_kv cab_k_bitcast(cab_kir *k, cab_dtype dt, cab_kv a);
cab_kv cab_k_dot4(cab_kir *k, cab_kv acc, cab_kv u8s, cab_kv i8s);
static inline const cab_kins *cab_k_ins(const cab_kir *k, cab_kv v) { return &k->ins.p[v]; }
/* The constant integer value of v, if it is one. */
bool cab_k_is_const(const cab_kir *k, cab_kv v, int64_t *out);
/* The dtype of the value v: bool for cmp, the element's for pointers. */
static inline cab_dtype cab_k_dt(const cab_kir *k, cab_kv v)
{
    return k->ins.p[v].op == CAB_K_cmp ? CAB_DT_bool : (cab_dtype)k->ins.p[v].dt;
}

/* ---- kir_verify.c ---- */
cab_status cab_kir_verify(const cab_kir *k, cab_diag *d);

/* ---- kir_text.c ---- */
void cab_kir_print(cab_buf *b, const cab_kir *k);
cab_status cab_kir_parse(cab_arena *a, const char *text, size_t n, const char *file,
                         cab_kir **out, cab_diag *d);

/* ---- kir_interp.c: runs tasks [lo, hi), each block's threads from barrier to
 * barrier; every access is checked against the buffer's element count and
 * reads of uninitialised stack/shared memory are errors ---- */
typedef struct cab_kir_buf { void *data; uint64_t elems; } cab_kir_buf;
cab_status cab_kir_run(cab_arena *scratch, const cab_kir *k, const cab_kir_buf *bufs,
                       const int64_t *ints, int64_t lo, int64_t hi, cab_diag *d);

/* ---- kir_math.c: the scalar functions that are not instructions, as KIR on
 * any lane count.  x in f32 or f64 (f32 inside for f16/bf16).  ULP errors are
 * measured by tests/test_math.c and stated in docs/math.md ---- */
cab_kv cab_k_exp(cab_kir *k, cab_kv x);
cab_kv cab_k_log(cab_kir *k, cab_kv x);
cab_kv cab_k_sin(cab_kir *k, cab_kv x);
cab_kv cab_k_cos(cab_kir *k, cab_kv x);
cab_kv cab_k_tan(cab_kir *k, cab_kv x);
cab_kv cab_k_tanh(cab_kir *k, cab_kv x);
cab_kv cab_k_erf(cab_kir *k, cab_kv x);
cab_kv cab_k_asin(cab_kir *k, cab_kv x);
cab_kv cab_k_acos(cab_kir *k, cab_kv x);
cab_kv cab_k_atan(cab_kir *k, cab_kv x);
cab_kv cab_k_sinh(cab_kir *k, cab_kv x);
cab_kv cab_k_cosh(cab_kir *k, cab_kv x);
cab_kv cab_k_asinh(cab_kir *k, cab_kv x);
cab_kv cab_k_acosh(cab_kir *k, cab_kv x);
cab_kv cab_k_atanh(cab_kir *k, cab_kv x);
cab_kv cab_k_pow(cab_kir *k, cab_kv x, cab_kv y);     /* floats and integers */
cab_kv cab_k_fmod(cab_kir *k, cab_kv x, cab_kv y);    /* C fmod, exact */
cab_kv cab_k_pymod(cab_kir *k, cab_kv x, cab_kv y);   /* divisor's sign; floats and integers */
cab_kv cab_k_sign(cab_kir *k, cab_kv x);
cab_kv cab_k_isnan(cab_kir *k, cab_kv x);
cab_kv cab_k_isinf(cab_kir *k, cab_kv x);

/* ---- kir_c.c, cuda/kir_cuda.c: readable source text of a kernel ---- */
/* C11: void NAME(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi) */
void cab_kir_to_c(cab_buf *b, const cab_kir *k);
/* Several as static functions of one file, after their common types and
 * functions; the includes (math.h, stdint.h, string.h) are the caller's.
 * halves: bits 1 and 2 want f32_of_f16 and f32_of_bf16 too.  None has threads. */
void cab_kirs_to_c(cab_buf *b, const cab_kir *const *k, int n, unsigned halves);
/* CUDA C, header-free: extern "C" __global__ void NAME(bufs..., ints...);
 * vectors (lanes > 1) are refused: GPU kernels are scalar per thread. */
cab_status cab_kir_to_cuda(cab_buf *b, const cab_kir *k, cab_diag *d);

#endif
