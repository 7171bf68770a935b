/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_int.h - what the decomposition functions share.
 *
 * A decomposition is one function, cab_dec_Op, named in decompose.def.  It
 * reads the ONNX node d->n, builds CORE nodes through d->b and returns the
 * value of output 0; further outputs go to d->out[i].  Failures latch in
 * d->b.status (cab_dec_unsupported, cab_dec_bad): every helper accepts NULL
 * values after one, so the functions are written straight down.
 */
#ifndef CAB_PASSES_DECOMPOSE_INT_H
#define CAB_PASSES_DECOMPOSE_INT_H
#include "passes/pass_int.h"

#define CAB_DEC_OUTS 32
#define CAB_DEC_READ_MAX 64    /* elements of one operand read as extents */

typedef struct cab_dec {
    cab_graph *g;
    cab_node *n;               /* the ONNX node */
    cab_builder b;             /* inserts before n */
    cab_arena *tmp;            /* dropped after the pass */
    cab_pass_ctx *ctx;
    const struct cab_ruleset *rules;
    int n_out;
    cab_value **out;           /* results by output index, n_out of them */
} cab_dec;

#define DECOMPOSE(op) cab_value *cab_dec_##op(cab_dec *d);
#include "passes/decompose.def"

/* ---- reading the node ---- */
/* Operand i, NULL when absent. */
cab_value *cab_dec_in(const cab_dec *d, int i);
/* Output i is wanted by someone. */
bool cab_dec_wants(const cab_dec *d, int i);
int cab_dec_rank(const cab_value *v);
cab_dtype cab_dec_dtype(const cab_value *v);
/* Extent i (negative counts from the end); 1 for a NULL value. */
const cab_dim *cab_dec_dim(const cab_dec *d, const cab_value *v, int i);
/* Extent i when it is constant, else -1 and unsupported. */
int64_t cab_dec_extent(cab_dec *d, const cab_value *v, int i);
/* Normalises axis into [0, rank); a bad one is an invalid model. */
int cab_dec_axis(cab_dec *d, int64_t axis, int rank);
/* The elements of an operand of integers, of rank 0 or 1 and known length.
 * Those that depend on data are read during the run (nodes `item`): symbols
 * that lie in lo .. hi, or the run ends.  False after a failure. */
bool cab_dec_read(cab_dec *d, cab_value *v, int64_t lo, int64_t hi, const cab_dim ***out,
                  int64_t *n);
/* The same for any 32-bit numbers, and for extents (not negative). */
bool cab_dec_dims(cab_dec *d, cab_value *v, const cab_dim ***out, int64_t *n);
bool cab_dec_extents(cab_dec *d, cab_value *v, const cab_dim ***out, int64_t *n);
/* Known at compile time, or the operator is unsupported. */
bool cab_dec_ints(cab_dec *d, cab_value *v, int64_t **out, int64_t *n);
/* One known number: computed from constants, offered inputs and extents. */
bool cab_dec_number(cab_dec *d, cab_value *v, double *out);
/* The same from constants and extents only, without a story when it is not. */
bool cab_dec_is_known(cab_dec *d, cab_value *v, double *out);
/* The same where one that is not known is no failure. */
bool cab_dec_try_number(cab_dec *d, cab_value *v, double *out);
/* axes operand (or attribute when there is none): sorted as given, checked;
 * all axes when absent.  The number of axes, -1 after a failure. */
int cab_dec_axes(cab_dec *d, cab_value *v, int rank, int64_t axes[CAB_MAX_RANK]);
/* Attribute list of n integers, def repeated when absent; false on a wrong
 * length. */
bool cab_dec_list(cab_dec *d, const char *name, int n, int64_t def, int64_t *out);

/* ---- sizes that only data decide (decompose_late.c) ---- */
/* An integer of one element, read during the run. */
const cab_dim *cab_dec_item(cab_dec *d, cab_value *x, int64_t lo, int64_t hi);
/* An extent: 0 .. INT32_MAX, or the run ends with the text why (NULL: the usual). */
const cab_dim *cab_dec_size(cab_dec *d, cab_value *x, const char *why);
/* Elements of an operand of integers of rank 0 or 1; -1 after a failure. */
int64_t cab_dec_length(cab_dec *d, cab_value *v);
/* Element i of it as an i64 scalar; those that are known stay so. */
cab_value *cab_dec_element(cab_dec *d, cab_value *v, int64_t i);
/* The element of a scalar, when it is known; else NULL. */
const cab_dim *cab_dec_known(const cab_value *x);
/* select of i64 scalars that takes a side at once where the condition is known. */
cab_value *cab_dec_when(cab_dec *d, cab_value *c, cab_value *x, cab_value *y);
/* x op a constant. */
cab_value *cab_dec_op_c(cab_dec *d, cab_op_id op, cab_value *x, int64_t c);
/* 1 where axes[i], an operand of the run, names axis a of rank; checked. */
cab_value *cab_dec_names_axis(cab_dec *d, cab_value *axes, int64_t i, int a, int rank);
/* Must hold, or the model is invalid, or the run ends. */
void cab_dec_require_le(cab_dec *d, const cab_dim *a, const cab_dim *b, const char *why);
void cab_dec_require_eq(cab_dec *d, const cab_dim *a, const cab_dim *b, const char *why);
/* The same of a bool scalar. */
void cab_dec_require(cab_dec *d, cab_value *x, const char *why);

/* ---- failing ---- */
/* What must be known at compile time depends on data. */
void cab_dec_depends(cab_dec *d, const cab_value *v);
/* Both return NULL. */
cab_value *cab_dec_unsupported(cab_dec *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
cab_value *cab_dec_bad(cab_dec *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool cab_dec_failed(const cab_dec *d) { return d->b.status != CAB_OK; }

/* ---- building ---- */
cab_value *cab_dec_un(cab_dec *d, cab_op_id op, cab_value *x);
cab_value *cab_dec_bin(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y);
/* Scalar of like's dtype. */
cab_value *cab_dec_num(cab_dec *d, const cab_value *like, double v);
cab_value *cab_dec_int(cab_dec *d, const cab_value *like, int64_t v);
cab_value *cab_dec_cast(cab_dec *d, cab_value *x, cab_dtype to);
/* The f32 vector of a FLOATS attribute. */
cab_value *cab_dec_floats(cab_dec *d, const cab_attr *a);
/* op is sum, prod, max or min. */
cab_value *cab_dec_reduce(cab_dec *d, cab_value *x, const char *op,
                          const int64_t *axes, int n, bool keep);
/* Number of elements along those axes as a scalar of dtype dt. */
cab_value *cab_dec_count(cab_dec *d, const cab_value *x, const int64_t *axes,
                         int n, cab_dtype dt);
cab_value *cab_dec_mean(cab_dec *d, cab_value *x, const int64_t *axes, int n,
                        bool keep);
/* i64 vector of the dims. */
cab_value *cab_dec_vector(cab_dec *d, const cab_dim *const *dims, int64_t n);
/* Tensor of rank with all extents 1 but `axis`, holding 0, 1, ... n-1. */
cab_value *cab_dec_iota(cab_dec *d, int rank, int axis, const cab_dim *n,
                        cab_dtype dt);
/* A 1-D (or scalar) value reshaped so that it broadcasts along axis of rank. */
cab_value *cab_dec_along(cab_dec *d, cab_value *v, int axis, int rank);
cab_value *cab_dec_reshape(cab_dec *d, cab_value *x, int rank,
                           const cab_dim *const *dims);
/* x of one element with the rank (0 or 1) that t asks for. */
cab_value *cab_dec_reshape_to(cab_dec *d, cab_value *x, const cab_type *t);
/* Extents of x with axis removed / an extent put in at axis. */
cab_value *cab_dec_squeeze(cab_dec *d, cab_value *x, int axis);
cab_value *cab_dec_unsqueeze(cab_dec *d, cab_value *x, int axis);
/* x[start : start + n] along one axis. */
cab_value *cab_dec_cut(cab_dec *d, cab_value *x, int axis, const cab_dim *start,
                       const cab_dim *n);
cab_value *cab_dec_flip(cab_dec *d, cab_value *x, int axis);
cab_value *cab_dec_gather(cab_dec *d, cab_value *x, cab_value *index, int axis);
/* y[p] = x[p with axis replaced by at[p]]; at: i64, not negative, of x's rank. */
cab_value *cab_dec_pick(cab_dec *d, cab_value *x, cab_value *at, int axis);
/* Negative indices count from the end of an axis of extent n. */
cab_value *cab_dec_from_end(cab_dec *d, cab_value *i, const cab_dim *n);
/* x with the elements of u put at, or combined by op with, those of index. */
cab_value *cab_dec_scatter(cab_dec *d, cab_value *x, cab_value *index, cab_value *u, int axis,
                           const char *op);
cab_value *cab_dec_concat(cab_dec *d, cab_value **x, int n, int axis);
cab_value *cab_dec_transpose(cab_dec *d, cab_value *x, const int64_t *perm);
/* Pads with a scalar value (NULL = 0); negative amounts cut. */
cab_value *cab_dec_pad(cab_dec *d, cab_value *x, const cab_dim *const *lo,
                       const cab_dim *const *hi, cab_value *value);
/* numpy matrix product of two values of rank >= 1; acc: dtype of the result
 * (CAB_DT_none = that of a). */
cab_value *cab_dec_matmul(cab_dec *d, cab_value *a, cab_value *b, cab_dtype acc);
/* Sum of products over one axis of each; the first `batch` axes are shared. */
cab_value *cab_dec_dot(cab_dec *d, cab_value *a, cab_value *b, int batch,
                       int64_t a_contract, int64_t b_contract, cab_dtype acc);
/* x [N, heads, L, size] with the first `turn` of each head (0 = all) rotated by
 * angles whose c(osines) and s(ines) are [N or 1, 1, L, turn / 2]; woven: the
 * pairs are neighbours, else the halves. */
cab_value *cab_dec_rotate(cab_dec *d, cab_value *x, cab_value *c, cab_value *s,
                          int64_t turn, bool woven);
/* [N, L, heads * size] to [N, heads, L, size] and back. */
cab_value *cab_dec_split_heads(cab_dec *d, cab_value *x, int64_t heads);
cab_value *cab_dec_join_heads(cab_dec *d, cab_value *x);
/* Softmax pieces along one axis: e = exp(x - max), *sum = sum of e. */
cab_value *cab_dec_softmax(cab_dec *d, cab_value *x, int axis);
/* f32 for f16 and bf16, else the dtype itself. */
cab_dtype cab_dec_wide(cab_dtype dt);
/* Window geometry of pools and convolutions. */
typedef struct cab_dec_window {
    int n;                     /* spatial axes */
    int64_t kernel[CAB_MAX_RANK], stride[CAB_MAX_RANK], dilation[CAB_MAX_RANK];
    int64_t lo[CAB_MAX_RANK], hi[CAB_MAX_RANK];
    const cab_dim *out[CAB_MAX_RANK];  /* extents of the result */
    bool padded, overhang;     /* any padding; ceil_mode may reach outside */
} cab_dec_window;
/* From kernel_shape (or w's extents), strides, dilations, pads, auto_pad and
 * ceil_mode; false after a failure. */
bool cab_dec_window_read(cab_dec *d, const cab_value *x, const cab_value *w,
                         cab_dec_window *out);
cab_value *cab_dec_conv(cab_dec *d, cab_value *x, cab_value *w,
                        const cab_dec_window *win, int64_t group, cab_dtype acc);
/* ---- Resize ---- */
typedef struct cab_dec_resize {
    const char *mode, *coord, *nearest;
    double cubic_a, extrapolation;
    bool exclude_outside, antialias;
} cab_dec_resize;
/* An axis of which something is known during the run only; f64 scalars. */
typedef struct cab_dec_axis_late {
    int axis;
    const cab_dim *out;        /* extent of the result */
    cab_value *n, *scale;      /* extent of the operand */
    cab_value *roi[2];         /* NULL: no crop */
} cab_dec_axis_late;
cab_value *cab_dec_resize_late(cab_dec *d, const cab_dec_resize *r, const cab_dec_axis_late *a,
                               cab_value *x);
/* ---- quantisation ---- */
/* A scale or zero point so that it broadcasts to x: a scalar, one per index of
 * axis, or one per block of axis (the node's attribute block_size). */
cab_value *cab_dec_quant_param(cab_dec *d, cab_value *p, cab_value *x, int axis);
/* rint(x / scale) + zero, saturated to type t; in f32 or f64. */
cab_value *cab_dec_quantize(cab_dec *d, cab_value *x, cab_value *scale, cab_value *zero,
                            cab_dtype t);
/* x as u8 with the scale and zero point its range asks for. */
cab_value *cab_dec_quantize_dynamic(cab_dec *d, cab_value *x, cab_value **out_scale,
                                    cab_value **out_zero);
/* x - zero as i32; zero is one number or one per index of axis, NULL = 0. */
cab_value *cab_dec_centred(cab_dec *d, cab_value *x, cab_value *zero, int axis);

/* ---- optionals (decompose_seq.c) ---- */
/* x as an optional that holds it; the value an optional holds.  What is that
 * already stays. */
cab_value *cab_dec_wrap(cab_dec *d, cab_value *x);
cab_value *cab_dec_unwrap(cab_dec *d, cab_value *x);

/* ---- branches and loops (decompose_body.c) ---- */
/* A graph inside a node, that sees only its inputs.  Outer values it uses
 * become operands of the node (captured) as they are met. */
typedef struct cab_dec_body {
    cab_dec *outer;
    cab_dec d;                 /* builds inside: d.g, d.b */
    cab_map *map;              /* outer value id -> value inside */
    CAB_VEC(cab_value *) captured;     /* operands, in the order of the inputs */
} cab_dec_body;
void cab_dec_body_begin(cab_dec *d, cab_dec_body *b, const char *name);
/* A new input of that type. */
cab_value *cab_dec_body_input(cab_dec_body *b, const cab_type *t);
/* The outer value seen inside. */
cab_value *cab_dec_body_capture(cab_dec_body *b, cab_value *v);
/* Copies the nodes of a graph of the standard and decomposes them; its inputs
 * must be in the map. */
void cab_dec_body_copy(cab_dec_body *b, const cab_graph *from);
/* Output i of what was copied. */
cab_value *cab_dec_body_result(const cab_dec_body *b, size_t i);
/* Copies nodes in front of the node, outer values as they are; out: the n first
 * outputs. */
void cab_dec_inline(cab_dec *d, const cab_graph *from, cab_value **out, int n);
/* A node `if` with n results, x of one branch, y of the other. */
cab_node *cab_dec_branch(cab_dec *d, const cab_dim *cond, cab_dec_body *then, cab_dec_body *other,
                         cab_value *const *x, cab_value *const *y, int n);

/* An extent of carried value `value` that changes from time to time. */
typedef struct cab_dec_carried { const cab_dim *sym, *first; int value, axis; } cab_dec_carried;

typedef struct cab_dec_loop {
    cab_dec_body body;
    const cab_dim *trip, *iter;        /* iter: 0 .. trip - 1 inside */
    CAB_VEC(cab_value *) first;        /* carried: before the loop */
    CAB_VEC(cab_value *) inner;        /* the inputs they are */
    CAB_VEC(cab_dec_carried) syms;
} cab_dec_loop;
void cab_dec_loop_begin(cab_dec *d, cab_dec_loop *l, const cab_dim *trip);
/* A value carried from time to time, which begins as v; seen inside.  All of
 * them before anything is captured. */
cab_value *cab_dec_loop_carry(cab_dec_loop *l, cab_value *v);
/* The same, of type t inside: its extents that are not v's are symbols. */
cab_value *cab_dec_loop_carry_as(cab_dec_loop *l, cab_value *v, const cab_type *t);
/* next: the carried values for the next time, of the types of the inner ones;
 * stacked: values of every time; go: a bool, or NULL.  The node, whose results
 * are the carried and the stacked values; NULL after a failure. */
cab_node *cab_dec_loop_end(cab_dec_loop *l, cab_value *const *next, cab_value *const *stacked,
                           int n_stacked, cab_value *go);

/* dims of the constant integer c. */
const cab_dim *cab_dec_c(const cab_dec *d, int64_t c);

#endif
