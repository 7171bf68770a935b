/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llvm_int.h - what the files of the LLVM renderer share.
 *
 * llvm.c owns modules and machine code; llvm_fn.c functions, structure and
 * memory; llvm_ops.c arithmetic, conversions and lane operations.  Values are kept per KIR
 * instruction.  f16 and bf16 values live as their bits (i16), bool as i1.
 * Nothing here allocates from an arena: LLVM frames must never be jumped over.
 */
#ifndef CAB_CODEGEN_CPU_LLVM_INT_H
#define CAB_CODEGEN_CPU_LLVM_INT_H
#include "codegen/cpu/llvm_rename.h"
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include "codegen/gen.h"

/* A function being rendered. */
typedef struct cab_ll {
    LLVMContextRef ctx;
    LLVMModuleRef mod;
    LLVMBuilderRef b;          /* at the end of the current block */
    LLVMBuilderRef top;        /* in the entry block, before its branch */
    const cab_target *target;
    const cab_kir *k;
    cab_diag *diag;
    bool f16c;                 /* the target converts f16 by instructions */
    LLVMTypeRef ptr, i1, i8, i16, i32, i64, f16, f32, f64;
    LLVMValueRef fn, bufs, ints, task;
    LLVMValueRef zeros, dump;  /* where masked-off scalar accesses go */
    LLVMValueRef *val;         /* per instruction */
    LLVMValueRef *carried;     /* per entry of k->args: phis of loops, results of ends */
    LLVMValueRef *counter;     /* loop -> phi of its counter */
    int *end_of;               /* loop, while, if -> its end, endif */
    int *else_of;              /* if -> its else; -1 */
    LLVMBasicBlockRef *before; /* loop, while, if: block that entered it */
    LLVMBasicBlockRef *body;   /* loop, while: first block; if: first block of the second arm */
    LLVMBasicBlockRef *after;  /* loop, while, if: block behind it; else: last block of arm 1 */
} cab_ll;

/* Type of a value in registers, and of an element in memory; NULL when KIR
 * has no such dtype. */
LLVMTypeRef cab_ll_type(const cab_ll *c, cab_dtype dt, int lanes);
LLVMTypeRef cab_ll_memory_type(const cab_ll *c, cab_dtype dt, int lanes);
/* v (a scalar) in all lanes. */
LLVMValueRef cab_ll_splat(const cab_ll *c, LLVMValueRef v, int lanes);
/* Calls the intrinsic `name`, overloaded on types[n]. */
LLVMValueRef cab_ll_call(const cab_ll *c, const char *name, int n_types, LLVMTypeRef *types,
                         int n, LLVMValueRef *args);
/* Renders c->k as a function of c->mod. */
cab_status cab_ll_function(cab_ll *c);
/* Classes C, V and A of kir_ops.def. */
cab_status cab_ll_compute(cab_ll *c, const cab_kins *i, LLVMValueRef *out);

#endif
