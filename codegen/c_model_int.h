/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c_model_int.h - a whole model as C text: the parts of c_model.c.
 */
#ifndef CAB_CODEGEN_C_MODEL_INT_H
#define CAB_CODEGEN_C_MODEL_INT_H
#include "codegen/codegen_int.h"

typedef struct cab_cmodel {
    cab_arena *arena;
    cab_buf *b;                /* the text of the part being written */
    const cab_planner *w;
    const cab_codegen_options *o;
    const char *prefix;        /* of the public names */
    bool fixed;                /* no size depends on an input */
    uint32_t n_early;          /* slots before the first that is set during the run */
    size_t n_arena;            /* values of class ARENA */
    uint64_t *at;              /* of those: offset where fixed, else number in z->at */
    uint64_t arena_bytes;      /* fixed */
    bool rows;                 /* some constants are rows: little-endian */
    cab_diag *diag;
} cab_cmodel;

/* ---- c_model.c ---- */
/* Text with @ for the prefix. */
void cab_cm_put(cab_cmodel *c, const char *text);
/* A slot as an expression of type i64: a number, or z->s[i]. */
const char *cab_cm_slot(const cab_cmodel *c, uint32_t slot);
/* The constant number the slot always holds, if it does. */
bool cab_cm_known(const cab_cmodel *c, uint32_t slot, int64_t *out);
const char *cab_cm_text(const cab_cmodel *c, uint32_t string);
/* Words of a model inside a comment, on one line. */
void cab_cm_comment(cab_buf *b, const char *text);
/* A string literal. */
void cab_cm_quote(cab_buf *b, const char *text);

/* ---- c_api.c: the declarations, which the header holds alone ---- */
void cab_cm_api(cab_buf *b, const cab_program *p, const char *prefix);

/* ---- c_shape.c: inputs -> sizes; what measure() and its kin are ---- */
void cab_cm_shape(cab_cmodel *c);
/* Slots first .. end - 1, in a function that gives 0 when they cannot be. */
void cab_cm_slots(cab_cmodel *c, uint32_t first, uint32_t end);
/* A call that gives 0 and says why where the check does not hold. */
void cab_cm_check(cab_cmodel *c, const cab_plan_check *k);

/* ---- c_flow.c: instructions in order, and those that decide what runs ---- */
/* Everything has a size that the inputs decide. */
cab_status cab_cm_sizes_are_early(const cab_cmodel *c);
cab_status cab_cm_steps(cab_cmodel *c);

/* ---- c_model.c, for it: one instruction that computes ---- */
cab_status cab_cm_step(cab_cmodel *c, const cab_plan_instr *x);

/* ---- c_tables.c: constants and the helpers of plans ---- */
void cab_cm_constants(cab_cmodel *c);
/* Name of the constant as an lvalue. */
const char *cab_cm_constant(const cab_cmodel *c, int constant);
/* Bits 1 and 2: f32_of_f16 and f32_of_bf16 are called. */
unsigned cab_cm_calls_halves(const cab_cmodel *c);
void cab_cm_helpers(cab_cmodel *c);
/* The function of a call; NULL when the helper has no C form. */
const char *cab_cm_helper_name(const cab_cmodel *c, const cab_plan_instr *x);
/* Bytes of scratch for each of as many keys as the slot says. */
int cab_cm_helper_room(const cab_cmodel *c, const cab_plan_instr *x, uint32_t *slot);

/* ---- c_text.c ---- */
/* The fixed functions that `body` calls. */
void cab_cm_functions(cab_cmodel *c, const char *body);

#endif
