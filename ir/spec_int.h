/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_int.h - what the files about Specs share.
 *
 * Rows of the scalar functions (name, arity, type rule), and the walk over
 * the expressions of a Spec: an expression list holds every node reachable
 * from its roots once, arguments first.  The walk keeps its own stack, so deep
 * expressions are no danger, and ends on cycles too (a Spec not yet verified).
 */
#ifndef CAB_IR_SPEC_INT_H
#define CAB_IR_SPEC_INT_H
#include "ir/spec.h"

typedef enum cab_rule {
    CAB_RULE_F, CAB_RULE_N, CAB_RULE_I, CAB_RULE_B, CAB_RULE_CMP, CAB_RULE_FB,
    CAB_RULE_NB, CAB_RULE_IB, CAB_RULE_SEL, CAB_RULE_CAST
} cab_rule;

typedef struct cab_ex_row { const char *name; int arity; cab_rule rule; } cab_ex_row;

/* Row of a scalar function; NULL for the leaves. */
const cab_ex_row *cab_ex_row_of(cab_expr_op op);
/* Scalar function of that name; CAB_EX_COUNT when there is none. */
cab_expr_op cab_ex_find(const char *name, size_t n);
/* Result type of a scalar function on arguments of these types (to: target of
 * a cast); CAB_DT_none when the row does not admit them. */
cab_dtype cab_ex_type(cab_expr_op op, const cab_dtype arg[3], cab_dtype to);
/* Type of the value a REDUCE stage leaves. */
cab_dtype cab_stage_type(const cab_stage *st);
extern const char *const cab_red_names[];   /* by cab_red, NULL at the end */
extern const char *const cab_store_names[]; /* by cab_store_mode, NULL */
extern const char *const cab_spec_kind_names[];  /* by cab_spec_kind, NULL */
/* How a mode other than plain combines. */
cab_expr_op cab_store_op(cab_store_mode mode);
static inline bool cab_stage_writes(const cab_stage *st) { return st->kind != CAB_STAGE_REDUCE; }
static inline bool cab_red_is_arg(cab_red r) { return r >= CAB_RED_ARGMAX_FIRST; }

typedef struct cab_ex_list {
    cab_arena *arena;
    const cab_spec *spec;
    cab_map *index;            /* node -> place + 1 */
    CAB_VEC(const cab_expr *) v;
} cab_ex_list;

cab_ex_list cab_ex_list_on(cab_arena *a, const cab_spec *s);
/* Adds root and what it needs: arguments and the loaded indices of the views
 * it loads. */
void cab_ex_list_add(cab_ex_list *l, const cab_expr *root);
/* Loaded indices of all views, then the stages' values. */
void cab_ex_list_add_all(cab_ex_list *l);
uint32_t cab_ex_list_at(const cab_ex_list *l, const cab_expr *e);
#define CAB_EX_CHILDREN (3 + CAB_SPEC_LOADED)
/* k-th thing e needs (arguments, then loaded indices), or NULL. */
const cab_expr *cab_ex_child(const cab_spec *s, const cab_expr *e, int k);
/* Bit mask of the axes a view's address and guards depend on directly. */
uint32_t cab_view_axes(const cab_view *v);

/* The error helpers of verification. */
cab_status cab_spec_fail(const cab_spec *s, cab_diag *d, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
