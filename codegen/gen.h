/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen.h - schedules, and the generators that turn Spec + Sched into KIR.
 */
#ifndef CAB_CODEGEN_GEN_H
#define CAB_CODEGEN_GEN_H
#include "codegen/kir.h"
#include "ir/spec.h"

/* The machine code is made for. */
typedef struct cab_target {
    const char *triple, *cpu, *features;   /* as LLVM wants them */
    int vector_bytes;          /* 64, 32, 16 */
    int fma_bytes;             /* no wider multiply-adds have a higher rate: 32 where those of 64
                                  bytes run as two halves */
    int n_vector_regs;         /* 32 or 16 */
    bool fma;
    int64_t l1_bytes, l2_bytes;
} cab_target;

/* How a map runs that loads along one axis and stores along another, n_axis. */
typedef enum cab_turn {
    CAB_TURN_NONE,
    CAB_TURN_SCALARS,          /* mr steps of m_axis outside n_axis, one element at a time */
    CAB_TURN_VECTORS           /* tiles of lanes steps of vec_axis x nv of n_axis, in registers */
} cab_turn;

/* Taps of windows that meet zeroes alone are left out: along loops, and along the
 * rows of tiles at the border. */
enum { CAB_SKIP_LOOPS = 1, CAB_SKIP_ROWS = 2 };

/* How a Spec runs: plain integers; all zero = the naive kernel (scalar loops
 * in axis order, one task per step of the outermost parallel axis). */
typedef struct cab_sched {
    int mr, nv;                /* contraction: rows and vectors of the register tile */
    int ku;                    /* unroll of the innermost reduction */
    int kc;                    /* block of the innermost reduction; 0 = whole */
    int lanes;                 /* vector width in elements; 0 or 1 = scalar */
    int vec_axis;              /* Spec axis along the lanes; -1 = none */
    int unroll;                /* vectors per round of map/row/window kernels */
    int m_axis, n_axis;        /* contraction: Spec axes tiled by rows and vectors */
    int task_axes;             /* number of outer parallel axes flattened into tasks */
    int task_block;            /* steps of the innermost task axis per task */
    int n_block;               /* contraction: columns per task; n runs outside the m axes */
    int turn;                  /* transposing map: cab_turn */
    int swap;                  /* 1: of a product, the second factor is a (rows), the first b */
    int pack_b;                /* 1: the constant factor b is packed in panels along vec_axis */
    int skip;                  /* CAB_SKIP_ bits */
    int row_stores;            /* contraction: costly stores run row by row, in a loop */
    int stage_rows;            /* row kernels: keep the row's expensive values in the result */
    int ir_passes;             /* 1: early-cse and licm run on the kernel */
} cab_sched;

/* A constant operand's packed form: dims[] in order, dense but for `pad` zeros
 * after each step of dim hi; element i comes from source element base + sum
 * coef[d] * i[d], or is 0 when i[hi] * dims[lo] + i[lo] >= bound: the columns
 * are split over two dims, panel (hi) and column of it (lo, the last). */
typedef struct cab_pack {
    int operand;
    cab_dtype dtype;
    int n_dims, pad;
    int64_t dims[8], coef[8], base;
    int hi, lo;
    int64_t bound;             /* columns */
} cab_pack;

typedef struct cab_kernel {
    cab_kir *kir;
    const cab_dim *n_tasks;    /* grid size */
    int n_params;              /* kir ints: values of these dims, in order */
    const cab_dim **params;
    int n_packs;               /* operands the caller must hand over packed */
    cab_pack packs[2];
    int n_scratch;             /* extra buffers after the operands: bytes each */
    const cab_dim *scratch[2];
    double flops;              /* per call when static, else of one task; 0 unknown */
} cab_kernel;

/* Chooses a schedule by the cost model; naive gives the empty one. `constant`
 * says which operands are constants (may be packed). */
cab_sched cab_sched_choose(const cab_spec *s, const cab_target *t, const bool *constant, bool naive);
/* CAB_EINVAL for what would break the generator. */
cab_status cab_sched_check(const cab_spec *s, const cab_sched *sched, cab_diag *d);

/* ---- sched_text.c: "sched { mr=14 nv=2 }", zeros left out ---- */
void cab_sched_print(cab_buf *b, const cab_sched *s);
/* Reads that from *p, which moves behind it; else what is wrong, in words of the
 * arena, NULL = nothing. */
const char *cab_sched_parse(cab_arena *a, const char **p, cab_sched *out);

/* ---- sched_tune.c ---- */
/* The model's choice first, then others that it cannot tell from it for certain,
 * likely ones first; returns how many there are, most at most. */
int cab_sched_candidates(const cab_spec *s, const cab_target *t, const bool *constant,
                         cab_sched *out, int most);
/* It fits, needs nothing packed that is no constant, and its code has bounds: what
 * a file may ask for. */
bool cab_sched_allowed(const cab_spec *s, const bool *constant, const cab_sched *c);
/* Verifies the Spec fits the schedule's generator; falls back inside only to
 * equivalent forms (never to wrong code). */
cab_status cab_generate(cab_arena *a, const cab_spec *s, const cab_sched *sched,
                        const cab_target *t, const char *name, cab_kernel *out, cab_diag *d);
/* One-thread-per-element CUDA forms of map, row reduction and naive contraction. */
cab_status cab_generate_cuda(cab_arena *a, const cab_spec *s, const char *name,
                             cab_kernel *out, cab_diag *d);

/* ---- cpu/llvm.c: the only file that knows LLVM ---- */
/* malloc'ed by the LLVM file, freed by cab_object_fini.  ir and assembly are
 * filled only when the caller set want_text before the call. */
typedef struct cab_object { void *elf; size_t n; char *ir; char *assembly; bool want_text; } cab_object;
/* All kernels of one module -> one relocatable ELF object.  Function symbols
 * carry the kernels' names and the signature
 *   void NAME(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi).
 * May be called from several threads at once (own context each). */
cab_status cab_llvm_object(const cab_kir *const *kernels, int n, const cab_target *t,
                           cab_object *out, cab_diag *d);
void cab_object_fini(cab_object *o);
/* The host's CPU and features, or a named level ("x86-64-v3"). */
cab_status cab_target_get(cab_arena *a, const char *name, cab_target *out, cab_diag *d);

#endif
