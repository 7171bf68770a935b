/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_csrc.h - what the C and the CUDA renderer share: the body of a kernel.
 *
 * Both languages spell types f32, i64, u8, .. and values v0, v1, ..; what an
 * operator of C does not mean exactly goes through a small function, of which
 * only those used are written.
 */
#ifndef CAB_CODEGEN_KIR_CSRC_H
#define CAB_CODEGEN_KIR_CSRC_H
#include "codegen/kir_int.h"

typedef struct cab_ksrc {
    cab_buf *b;
    const cab_kir *k;
    bool cuda;
    int depth;                 /* of indentation */
    int32_t *match;            /* cab_kir_match */
    const bool *used;          /* cab_ksrc_used */
} cab_ksrc;

/* ---- kir_csrc_expr.c ---- */
/* "f32", "i64", "b8", ..; halves are their bits, f16 and bf16. */
const char *cab_ksrc_type(cab_dtype dt);
/* The functions the texts of n kernels call, each once, in a fixed order; and
 * those that read f16 and bf16, where halves has the bits 1 and 2. */
void cab_ksrc_functions(cab_ksrc *c, const cab_kir *const *k, int n, unsigned halves);
/* One lane of a class A instruction; lane is an index expression. */
void cab_ksrc_expr(cab_ksrc *c, const cab_kins *i, const char *lane);
/* One lane of the value x. */
void cab_ksrc_value(cab_ksrc *c, int x, const char *lane);

/* ---- kir_csrc_body.c ---- */
/* Per instruction: its text is needed.  What nobody reads is not written, since
 * compilers warn of it. */
const bool *cab_ksrc_used(cab_arena *a, const cab_kir *k);
/* One line at the current depth, newline included. */
void cab_ksrc_line(cab_ksrc *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Every instruction as statements at the current depth. */
void cab_ksrc_body(cab_ksrc *c);

#endif
