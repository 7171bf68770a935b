/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_sym.c - elements of small integer and bool values, as expressions.
 *
 * Shapes are computed by graphs of Shape, Gather, Concat, Reshape and integer
 * arithmetic; following the elements of such values through the nodes is what
 * turns them into extents.  A value of at most CAB_SYM_MAX elements carries
 * either every element or none.  An element that may leave the range of its
 * dtype is not followed (CORE integers wrap, expressions do not), nor is a
 * comparison that the facts do not decide.
 */
#include <string.h>
#include "ir/ir_int.h"

typedef const cab_dim *dim;

/* One application of a rule: the node, its result's static shape. */
typedef struct sym {
    cab_graph *g;
    cab_node *n;
    cab_dtype dt;              /* of the result */
    int rank;
    int64_t dims[CAB_MAX_RANK], numel;
    dim *out;
} sym;

typedef struct view { const dim *e; int rank; int64_t dims[CAB_MAX_RANK]; int64_t n; } view;

static view view_of(const cab_value *v)
{
    view r = { v->sym, v->type.rank, {0}, v->n_sym };

    for (int i = 0; i < r.rank; i++)
        r.dims[i] = v->type.dims[i]->value;
    return r;
}

static dim constant(sym *s, int64_t v)
{
    return cab_dim_const(s->g->dims, v);
}

/* ---- scalar rules: NULL = not known ---- */

/* Bounds of an integer dtype; false for types that are not followed. */
static bool range_of(cab_dtype t, int64_t *lo, int64_t *hi)
{
    int bits = cab_dtype_bits(t);
    bool is_signed = cab_dtype_is_signed(t);

    if (t == CAB_DT_bool) {
        *lo = 0;
        *hi = 1;
        return true;
    }
    if (!cab_dtype_is_int(t))
        return false;
    *hi = bits == 64 ? INT64_MAX : (INT64_C(1) << (bits - (is_signed ? 1 : 0))) - 1;
    *lo = is_signed ? -*hi - 1 : 0;
    return true;
}

/* x, if it fits the dtype: surely when narrow, when its facts do not deny it
 * for the types extents are computed in. */
static dim fit(cab_dtype t, dim x)
{
    int64_t lo, hi;

    if (!x || !range_of(t, &lo, &hi) || x->hi < lo || x->lo > hi)
        return NULL;
    if (x->lo >= lo && x->hi <= hi)
        return x;
    if (cab_dim_is_const(x) || t == CAB_DT_bool || cab_dtype_bits(t) < 32)
        return NULL;
    return cab_dtype_is_signed(t) || x->lo >= 0 ? x : NULL;
}

static dim known(sym *s, int truth)
{
    return truth < 0 ? NULL : constant(s, truth);
}

static int negated(int truth)
{
    return truth < 0 ? truth : !truth;
}

static bool nonnegative(dim x, dim y)
{
    return x->lo >= 0 && y->lo > 0;
}

/* Two constants; false when the result wraps or traps. */
static bool fold2(cab_op_id op, int64_t x, int64_t y, int64_t *r)
{
    switch (op) {
    case CAB_OP_add: return !__builtin_add_overflow(x, y, r);
    case CAB_OP_sub: return !__builtin_sub_overflow(x, y, r);
    case CAB_OP_mul: return !__builtin_mul_overflow(x, y, r);
    case CAB_OP_div:
        if (y == 0 || (x == INT64_MIN && y == -1))
            return false;
        *r = x / y;
        return true;
    case CAB_OP_mod:
        if (y == 0 || y == -1)
            return false;
        *r = x % y;
        if (*r != 0 && (*r < 0) != (y < 0))
            *r += y;
        return true;
    case CAB_OP_and: *r = x & y; return true;
    case CAB_OP_or: *r = x | y; return true;
    case CAB_OP_xor: *r = x ^ y; return true;
    default: return false;
    }
}

static dim arith2(sym *s, cab_op_id op, dim x, dim y)
{
    cab_dims *p = s->g->dims;
    int64_t r;

    if (cab_dim_is_const(x) && cab_dim_is_const(y))
        return fold2(op, x->value, y->value, &r) ? constant(s, r) : NULL;
    switch (op) {
    case CAB_OP_add: return cab_dim_add(p, x, y);
    case CAB_OP_sub: return cab_dim_sub(p, x, y);
    case CAB_OP_mul: return cab_dim_mul(p, x, y);
    case CAB_OP_div: return nonnegative(x, y) ? cab_dim_floordiv(p, x, y) : NULL;
    case CAB_OP_mod: return y->lo > 0 ? cab_dim_mod(p, x, y) : NULL;
    default: return NULL;
    }
}

static dim scalar2(sym *s, cab_op_id op, dim x, dim y)
{
    cab_dims *p = s->g->dims;

    switch (op) {
    case CAB_OP_min: return cab_dim_min(p, x, y);
    case CAB_OP_max: return cab_dim_max(p, x, y);
    case CAB_OP_eq: return known(s, cab_dim_eq(x, y));
    case CAB_OP_ne: return known(s, negated(cab_dim_eq(x, y)));
    case CAB_OP_lt: return known(s, cab_dim_lt(x, y));
    case CAB_OP_le: return known(s, negated(cab_dim_lt(y, x)));
    default: return arith2(s, op, x, y);
    }
}

static dim scalar1(sym *s, cab_op_id op, dim x)
{
    cab_dims *p = s->g->dims;
    dim zero = constant(s, 0);

    switch (op) {
    case CAB_OP_neg: return arith2(s, CAB_OP_sub, zero, x);
    case CAB_OP_abs:
        return x->lo >= 0 ? x : x->hi <= 0 ? arith2(s, CAB_OP_sub, zero, x) : NULL;
    case CAB_OP_not:
        if (s->dt != CAB_DT_bool)
            return NULL;
        return cab_dim_is_const(x) ? constant(s, !x->value) : NULL;
    case CAB_OP_cast:
        if (s->dt == CAB_DT_bool)
            return known(s, negated(cab_dim_eq(x, cab_dim_const(p, 0))));
        return x;
    default: return NULL;
    }
}

/* ---- rules per op: fill s->out, false when an element is not known ---- */

/* Element of an operand that result element `at` broadcasts from. */
static int64_t broadcast_at(const sym *s, const view *v, int64_t at)
{
    int64_t index = 0, step = 1;

    for (int i = s->rank - 1, k = v->rank - 1; k >= 0; i--, k--) {
        int64_t coord = at % s->dims[i];
        at /= s->dims[i];
        if (v->dims[k] != 1)
            index += coord * step;
        step *= v->dims[k];
    }
    return index;
}

static bool rule_eltwise(sym *s)
{
    cab_op_id op = s->n->op->id;
    view v[3];

    for (int i = 0; i < s->n->n_in; i++)
        v[i] = view_of(s->n->in[i]);
    for (int64_t at = 0; at < s->numel; at++) {
        dim x[3] = { NULL }, r;
        for (int i = 0; i < s->n->n_in; i++)
            x[i] = v[i].e[broadcast_at(s, &v[i], at)];
        if (s->n->n_in == 1)
            r = scalar1(s, op, x[0]);
        else if (s->n->n_in == 2)
            r = scalar2(s, op, x[0], x[1]);
        else
            r = x[1] == x[2] ? x[1]
                : !cab_dim_is_const(x[0]) ? NULL : x[0]->value ? x[1] : x[2];
        if (!(s->out[at] = fit(s->dt, r)))
            return false;
    }
    return true;
}

static bool rule_expand(sym *s)
{
    view v = view_of(s->n->in[0]);

    for (int64_t at = 0; at < s->numel; at++)
        s->out[at] = v.e[broadcast_at(s, &v, at)];
    return true;
}

static bool rule_same(sym *s)
{
    view v = view_of(s->n->in[0]);

    if (v.n != s->numel)
        return false;
    memcpy(s->out, v.e, (size_t)s->numel * sizeof *s->out);
    return true;
}

/* Result coordinates -> the operand's linear index, y[i] = x[base + i * step]
 * with one step per result axis. */
static bool strided(sym *s, const view *v, int64_t base, const int64_t *steps)
{
    for (int64_t at = 0; at < s->numel; at++) {
        int64_t index = base, rest = at;
        for (int i = s->rank - 1; i >= 0; i--) {
            index += rest % s->dims[i] * steps[i];
            rest /= s->dims[i];
        }
        if (index < 0 || index >= v->n)
            return false;
        s->out[at] = v->e[index];
    }
    return true;
}

static void row_major(const view *v, int64_t *strides)
{
    int64_t step = 1;

    for (int i = v->rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= v->dims[i];
    }
}

static bool rule_transpose(sym *s)
{
    view v = view_of(s->n->in[0]);
    int64_t strides[CAB_MAX_RANK], steps[CAB_MAX_RANK];
    const int64_t *perm;

    cab_attr_ints(s->n, "perm", &perm);
    row_major(&v, strides);
    for (int i = 0; i < s->rank; i++)
        steps[i] = strides[perm[i]];
    return strided(s, &v, 0, steps);
}

static bool rule_slice(sym *s)
{
    view v = view_of(s->n->in[0]);
    int64_t strides[CAB_MAX_RANK], by[CAB_MAX_RANK], base = 0;
    const cab_dim *const *starts;
    const int64_t *steps;

    cab_attr_dims(s->n, "starts", &starts);
    cab_attr_ints(s->n, "steps", &steps);
    row_major(&v, strides);
    for (int i = 0; i < s->rank; i++) {
        int64_t last = s->dims[i] - 1;
        if (!cab_dim_is_const(starts[i]) || starts[i]->value < 0
            || starts[i]->value >= v.dims[i]
            || steps[i] < -CAB_SYM_MAX || steps[i] > CAB_SYM_MAX
            || starts[i]->value + last * steps[i] < 0
            || starts[i]->value + last * steps[i] >= v.dims[i])
            return s->numel == 0;
        base += starts[i]->value * strides[i];
        by[i] = steps[i] * strides[i];
    }
    return strided(s, &v, base, by);
}

static bool rule_concat(sym *s)
{
    int64_t axis = cab_attr_int(s->n, "axis"), inner = 1, outer = 1, done = 0;

    for (int i = 0; i < s->rank; i++)
        *(i < axis ? &outer : &inner) *= s->dims[i];
    for (int k = 0; k < s->n->n_in; k++) {
        view v = view_of(s->n->in[k]);
        int64_t piece = outer ? v.n / outer : 0;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < piece; i++)
                s->out[o * inner + done + i] = v.e[o * piece + i];
        done += piece;
    }
    return true;
}

static bool rule_gather(sym *s)
{
    view x = view_of(s->n->in[0]), index = view_of(s->n->in[1]);
    int64_t axis = cab_attr_int(s->n, "axis"), outer = 1, inner = 1, at = 0;

    for (int i = 0; i < x.rank; i++)
        if (i != axis)
            *(i < axis ? &outer : &inner) *= x.dims[i];
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < index.n; k++) {
            int64_t row;
            if (!cab_dim_is_const(index.e[k]))
                return false;
            row = index.e[k]->value;
            row += row < 0 ? x.dims[axis] : 0;
            if (row < 0 || row >= x.dims[axis])
                return false;
            for (int64_t i = 0; i < inner; i++)
                s->out[at++] = x.e[(o * x.dims[axis] + row) * inner + i];
        }
    return true;
}

static bool rule_reduce(sym *s)
{
    static const struct { const char *name; cab_op_id op; int64_t empty; } ops[] = {
        { "sum", CAB_OP_add, 0 }, { "prod", CAB_OP_mul, 1 },
        { "max", CAB_OP_max, 0 }, { "min", CAB_OP_min, 0 }
    };
    view v = view_of(s->n->in[0]);
    const char *name = cab_attr_str(s->n, "op");
    const int64_t *axes;
    int64_t n_axes = cab_attr_ints(s->n, "axes", &axes);
    int64_t steps[CAB_MAX_RANK] = { 0 }, step = 1;
    int op = 0;

    while (strcmp(ops[op].name, name))
        op++;
    for (int i = v.rank - 1; i >= 0; i--) {
        bool gone = false;
        for (int64_t k = 0; k < n_axes; k++)
            gone = gone || axes[k] == i;
        if (!gone) {
            steps[i] = step;
            step *= v.dims[i];
        }
    }
    if (v.n == 0 && op >= 2)
        return false;
    for (int64_t at = 0; at < s->numel; at++)
        s->out[at] = v.n ? NULL : constant(s, ops[op].empty);
    for (int64_t from = 0; from < v.n; from++) {
        int64_t to = 0, rest = from;
        for (int i = v.rank - 1; i >= 0; i--) {
            to += rest % v.dims[i] * steps[i];
            rest /= v.dims[i];
        }
        s->out[to] = s->out[to] ? fit(s->dt, scalar2(s, ops[op].op, s->out[to], v.e[from]))
                                : v.e[from];
        if (!s->out[to])
            return false;
    }
    return true;
}

static bool rule_iota(sym *s)
{
    int64_t axis = cab_attr_int(s->n, "axis"), inner = 1;

    for (int i = (int)axis + 1; i < s->rank; i++)
        inner *= s->dims[i];
    for (int64_t at = 0; at < s->numel; at++)
        if (!(s->out[at] = fit(s->dt, constant(s, at / inner % s->dims[axis]))))
            return false;
    return true;
}

static bool rule_const(sym *s)
{
    const cab_tensor_attr *t = cab_attr_find(s->n, "value")->u.tensor;
    const cab_dim **e = cab_blob_dims(s->g, &t->type, t->blob, CAB_SYM_MAX);

    if (e)
        memcpy(s->out, e, (size_t)s->numel * sizeof *e);
    return e != NULL;
}

static bool rule_dim(sym *s)
{
    const cab_dim *const *v;

    cab_attr_dims(s->n, "value", &v);
    s->out[0] = v[0];
    return true;
}

static bool (*rule_of(cab_op_id op))(sym *)
{
    switch (op) {
    case CAB_OP_neg: case CAB_OP_abs: case CAB_OP_not: case CAB_OP_cast:
    case CAB_OP_add: case CAB_OP_sub: case CAB_OP_mul: case CAB_OP_div:
    case CAB_OP_mod: case CAB_OP_min: case CAB_OP_max: case CAB_OP_and:
    case CAB_OP_or: case CAB_OP_xor: case CAB_OP_eq: case CAB_OP_ne:
    case CAB_OP_lt: case CAB_OP_le: case CAB_OP_select:
        return rule_eltwise;
    case CAB_OP_const: return rule_const;
    case CAB_OP_dim: case CAB_OP_item: case CAB_OP_seq_length: case CAB_OP_seq_has:
        return rule_dim;
    case CAB_OP_iota: return rule_iota;
    case CAB_OP_reshape: case CAB_OP_relayout: return rule_same;
    case CAB_OP_expand: return rule_expand;
    case CAB_OP_transpose: return rule_transpose;
    case CAB_OP_slice: return rule_slice;
    case CAB_OP_concat: return rule_concat;
    case CAB_OP_gather: return rule_gather;
    case CAB_OP_reduce: return rule_reduce;
    default: return NULL;
    }
}

bool cab_sym_follows(cab_op_id op)
{
    return rule_of(op) != NULL;
}

void cab_infer_sym(cab_graph *g, cab_node *n)
{
    const cab_type *t = &n->out[0]->type;
    sym s = { .g = g, .n = n, .dt = t->dtype, .rank = t->rank,
              .numel = cab_type_numel_static(t) };
    int64_t lo, hi;

    if (!cab_sym_follows(n->op->id) || s.numel < 0 || s.numel > CAB_SYM_MAX
        || !range_of(s.dt, &lo, &hi))
        return;
    for (int i = 0; i < n->n_in && !(n->op->traits & CAB_T_FLOW); i++)
        if (!n->in[i]->sym || !cab_type_is_static(&n->in[i]->type))
            return;
    for (int i = 0; i < s.rank; i++)
        s.dims[i] = t->dims[i]->value;
    s.out = CAB_NEW_N(g->arena, const cab_dim *, s.numel);
    if (!rule_of(n->op->id)(&s))
        return;
    n->out[0]->sym = s.out;
    n->out[0]->n_sym = s.numel;
}
