/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_int.h - scalar semantics and helpers shared by the evaluators.
 *
 * A cab_scalar holds one element: floats as a double (f32 and narrower values
 * are exact in it), integers and bools in i (unsigned ones zero-extended, so
 * u64 is the two's complement bit pattern).  Results of scalar functions are
 * rounded to the precision they compute in (f64 as such, narrower floats to
 * f32) and wrapped to the width of integers; only casts and stores round to
 * f16 and bf16.
 */
#ifndef CAB_IR_EVAL_INT_H
#define CAB_IR_EVAL_INT_H
#include "ir/spec.h"

typedef union cab_scalar { double f; int64_t i; } cab_scalar;

/* True when the evaluators can compute with elements of this type. */
bool cab_scalar_ok(cab_dtype t);
cab_scalar cab_scalar_load(cab_dtype t, const void *p, uint64_t i);
/* Rounds or wraps to t. */
void cab_scalar_store(cab_dtype t, void *p, uint64_t i, cab_scalar v);
/* Value conversion, rounded to the storage precision of `to`. */
cab_scalar cab_scalar_cast(cab_dtype from, cab_dtype to, cab_scalar v);
/* Scalar function; from: type of the operands (of x and y for select), to:
 * type of the result; x has three elements whatever the arity. */
cab_scalar cab_scalar_apply(cab_expr_op op, cab_dtype from, cab_dtype to,
                            const cab_scalar *x);

/* Reduction of values of type t: floats accumulate in double, integers wrap. */
typedef struct cab_fold {
    cab_red red;
    cab_dtype t;
    cab_scalar v;              /* so far (ARG*: the best element) */
    int64_t at, n;             /* ARG*: its index; elements seen */
} cab_fold;
cab_fold cab_fold_start(cab_red red, cab_dtype t);
void cab_fold_add(cab_fold *f, cab_scalar v);
/* Result in t, or the index as i64 for ARG* (0 when there was no element). */
cab_scalar cab_fold_end(const cab_fold *f);
/* Order of topk and the arg reductions: NaN is larger than every number. */
int cab_scalar_compare(cab_dtype t, cab_scalar a, cab_scalar b);

/* Copies element si of src to place di of dst (any type with a width). */
void cab_elem_copy(cab_dtype t, void *dst, uint64_t di, const void *src, uint64_t si);

/* ---- eval_tensor.c, eval_reduce.c, eval_contract.c: the ops ---- */
typedef struct cab_eval {
    cab_arena *a;              /* outputs and scratch */
    const cab_node *n;
    const cab_tensor *const *in;
    cab_tensor *out;
    cab_env *env;              /* may be NULL */
    cab_diag *d;
} cab_eval;

cab_status cab_eval_error(cab_eval *e, cab_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Makes output k. */
cab_status cab_eval_out(cab_eval *e, int k, cab_dtype t, int rank, const int64_t *dims);
/* The DIMS attribute as numbers; fails unless it has `want` (-1: any number
 * up to CAB_MAX_RANK) elements, all known. */
cab_status cab_eval_dims(cab_eval *e, const char *attr, int want, int64_t *out, int *n);
/* The INTS attribute; fails unless it has `want` elements. */
cab_status cab_eval_ints(cab_eval *e, const char *attr, int want, const int64_t **out);
/* The INT attribute as an axis of rank; negative values count from the end. */
cab_status cab_eval_axis(cab_eval *e, const char *attr, int rank, int *out);
/* Row-major element strides. */
void cab_eval_strides(int rank, const int64_t *dims, int64_t *strides);
/* Next index tuple in row-major order; false after the last. */
bool cab_eval_next(int rank, const int64_t *dims, int64_t *idx);

cab_status cab_eval_op_const(cab_eval *e);
cab_status cab_eval_op_dim(cab_eval *e);
cab_status cab_eval_op_item(cab_eval *e);
cab_status cab_eval_op_if(cab_eval *e);
cab_status cab_eval_op_loop(cab_eval *e);
cab_status cab_eval_op_iota(cab_eval *e);
cab_status cab_eval_op_scalar(cab_eval *e);
cab_status cab_eval_op_copy(cab_eval *e);
cab_status cab_eval_op_reshape(cab_eval *e);
cab_status cab_eval_op_transpose(cab_eval *e);
cab_status cab_eval_op_expand(cab_eval *e);
cab_status cab_eval_op_slice(cab_eval *e);
cab_status cab_eval_op_pad(cab_eval *e);
cab_status cab_eval_op_concat(cab_eval *e);
cab_status cab_eval_op_gather(cab_eval *e);
cab_status cab_eval_op_scatter(cab_eval *e);
cab_status cab_eval_op_reduce(cab_eval *e);
cab_status cab_eval_op_argreduce(cab_eval *e);
cab_status cab_eval_op_scan(cab_eval *e);
cab_status cab_eval_op_topk(cab_eval *e);
cab_status cab_eval_op_sort(cab_eval *e);
cab_status cab_eval_op_nms(cab_eval *e);
cab_status cab_eval_op_window(cab_eval *e);
cab_status cab_eval_op_dot(cab_eval *e);
cab_status cab_eval_op_wino_in(cab_eval *e);
cab_status cab_eval_op_wino_out(cab_eval *e);
cab_status cab_eval_op_conv(cab_eval *e);

/* Sorts the k first of n elements at p (stride elements apart) by value, then
 * index; idx has room for n. */
void cab_topk_order(cab_dtype t, const void *p, int64_t n, int64_t stride,
                    bool largest, int64_t *idx);

/* ---- eval.c ---- */
/* Runs a graph inside the node, with its symbols. */
cab_status cab_eval_body(cab_eval *e, const cab_graph *g, const cab_tensor *const *in,
                         cab_tensor *out);
/* Numbers of the rows of x [n, m] as op sort orders them. */
void cab_sort_order(cab_dtype t, const void *x, int64_t n, int64_t m, int64_t *order);
/* One call of op nms; selected has room for batches * classes * min(n, limit)
 * rows.  Their number. */
typedef struct cab_nms {
    int64_t batches, n, classes, limit;
    bool center, filter;
    const float *boxes, *scores;
    float iou, threshold;
} cab_nms;
int64_t cab_nms_select(cab_arena *a, const cab_nms *q, int64_t *selected);

/* ---- symbols (eval.c) ---- */
/* True when the op has an evaluator. */
bool cab_eval_knows(cab_op_id op);
bool cab_env_eval(cab_env *env, const cab_dim *x, int64_t *out);
/* Binds extents x that are unbound symbols to v; false when x is known under
 * env and is not v. */
bool cab_env_match(cab_env *env, const cab_dim *x, int64_t v);
cab_status cab_env_bind_type(cab_env *env, const cab_type *t, const cab_tensor *v,
                             const char *name, cab_diag *d);
cab_status cab_env_check_guards(cab_env *env, const cab_guard_eq *g, size_t n, cab_diag *d);

#endif
