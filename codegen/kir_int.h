/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_int.h - what the KIR files share among themselves.
 *
 * The instruction table, and the meaning of one arithmetic instruction on one
 * lane.  The builder folds constants with it and the interpreter runs on it,
 * so the two cannot disagree.
 */
#ifndef CAB_CODEGEN_KIR_INT_H
#define CAB_CODEGEN_KIR_INT_H
#include "codegen/kir.h"

/* One row per instruction.  fields names what the instruction carries, in
 * print order:
 *   a b c  operand            B  operand b that may be absent
 *   i      imm                k  constant (imm or f, by dtype)
 *   r      the read-only flag s  space
 *   g      carried values     p  constant lane numbers
 *   v      stored value       m  address a[b + imm] and mask c
 *   o      sub as a word of `subs`, written after the mnemonic
 */
typedef struct cab_kop_info {
    const char *text;
    char cls;
    bool value;                /* defines a value */
    bool typed;                /* carries a dtype */
    const char *fields;
    const char *const *subs;   /* words of sub, NULL-terminated, or NULL */
} cab_kop_info;

cab_kop_info cab_kop_get(int op);
extern const char *const cab_kspace_names[4];
/* Of a verified kernel, by instruction: loop and while -> end; if -> else or
 * endif; else -> endif; cond -> its while. */
int32_t *cab_kir_match(cab_arena *a, const cab_kir *k);

/* A lane's raw value: integers extended to 64 bits by their signedness, bool
 * 0/1, floats as their bits. */
typedef uint64_t cab_kraw;

cab_kraw cab_kraw_of_int(cab_dtype dt, int64_t v);     /* wrapped to dt */
cab_kraw cab_kraw_of_f64(cab_dtype dt, double v);      /* f16, bf16, f32, f64 */
double cab_kraw_to_f64(cab_dtype dt, cab_kraw v);      /* any dtype */
/* Value conversion, exactly as `cast` defines it. */
cab_kraw cab_kraw_cast(cab_dtype to, cab_dtype from, cab_kraw v);
/* Raw form from, and to, the bits in memory. */
cab_kraw cab_kraw_load(cab_dtype dt, const void *p);
void cab_kraw_store(cab_dtype dt, void *p, cab_kraw v);
/* One lane of a class A instruction other than bitcast and dot4.  dt: the
 * instruction's dtype; from: dtype of operand a (casts). */
cab_kraw cab_kraw_eval(cab_kop op, int sub, cab_dtype dt, cab_dtype from,
                       cab_kraw a, cab_kraw b, cab_kraw c);

/* May be computed with: f32, f64, 8..64-bit integers, bool. */
bool cab_kir_arith(cab_dtype dt);

/* Appends an instruction as it is, without folding; for the parser. */
cab_kv cab_kir_append(cab_kir *k, const cab_kins *i);

#endif
