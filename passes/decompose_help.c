/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_help.c - reading nodes and building common pieces.
 *
 * Contracts are in decompose_int.h.  Everything here accepts NULL values once
 * a build has failed and returns NULL (or a harmless number) then.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* ---- failing ---- */
static void fail(cab_dec *d, cab_status code, const char *fmt, va_list ap)
{
    if (d->b.status == CAB_OK)
        cab_b_fail(&d->b, code, "%s", cab_vprintf(d->tmp, fmt, ap));
}

cab_value *cab_dec_unsupported(cab_dec *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail(d, CAB_EUNSUPPORTED, fmt, ap);
    va_end(ap);
    return NULL;
}

cab_value *cab_dec_bad(cab_dec *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail(d, CAB_EMODEL, fmt, ap);
    va_end(ap);
    return NULL;
}

/* ---- reading ---- */
cab_value *cab_dec_in(const cab_dec *d, int i)
{
    return i < d->n->n_in ? d->n->in[i] : NULL;
}

bool cab_dec_wants(const cab_dec *d, int i)
{
    return i < d->n->n_out && d->n->out[i] && d->n->out[i]->n_uses;
}

int cab_dec_rank(const cab_value *v)
{
    return v ? v->type.rank : 0;
}

cab_dtype cab_dec_dtype(const cab_value *v)
{
    return v ? v->type.dtype : CAB_DT_f32;
}

cab_dtype cab_dec_wide(cab_dtype dt)
{
    return dt == CAB_DT_f16 || dt == CAB_DT_bf16 ? CAB_DT_f32 : dt;
}

const cab_dim *cab_dec_c(const cab_dec *d, int64_t c)
{
    return cab_dim_const(d->g->dims, c);
}

const cab_dim *cab_dec_dim(const cab_dec *d, const cab_value *v, int i)
{
    int rank = cab_dec_rank(v);

    if (i < 0)
        i += rank;
    return i >= 0 && i < rank ? v->type.dims[i] : cab_dec_c(d, 1);
}

int64_t cab_dec_extent(cab_dec *d, const cab_value *v, int i)
{
    const cab_dim *x = cab_dec_dim(d, v, i);

    if (cab_dim_is_const(x))
        return x->value;
    cab_dec_unsupported(d, "the extent of axis %d must be known", i);
    if (v)
        cab_note(d->b.diag, "bind its symbol (--dim NAME=NUMBER), or offer inputs of the extents "
                 "to compile for");
    return -1;
}

int cab_dec_axis(cab_dec *d, int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    cab_dec_bad(d, "axis %lld is outside rank %d", (long long)axis, rank);
    return 0;
}

void cab_dec_depends(cab_dec *d, const cab_value *v)
{
    if (cab_dec_failed(d))
        return;
    cab_dec_unsupported(d, "what must be known to compile depends on data%s%s",
                        v && v->name ? ": value " : "", v && v->name ? v->name : "");
    cab_note(d->b.diag, "offer the value of the graph input it is computed "
             "from, or make it constant in the model");
}

bool cab_dec_ints(cab_dec *d, cab_value *v, int64_t **out, int64_t *n)
{
    *n = 0;
    if (cab_dec_failed(d))
        return false;
    if (v && cab_value_ints(d->g, v, out, n))
        return true;
    if (!v)
        cab_dec_bad(d, "a required operand is missing");
    else
        cab_dec_depends(d, v);
    return false;
}

/* Computes a small value from constants, offered inputs and known integers,
 * through the nodes between; false when it depends on data. */
static bool compute(cab_dec *d, cab_value *v, bool hints, int *budget, cab_tensor *out)
{
    const cab_blob *b;
    const cab_tensor *in[4];
    cab_tensor t[4], *outs;
    cab_env env = { .arena = d->tmp };

    if (!cab_type_is_static(&v->type) || cab_type_numel_static(&v->type) > 64 ||
        --*budget < 0)
        return false;
    b = hints || cab_const_node(v) ? cab_value_blob(v) : NULL;
    if (b) {
        *out = (cab_tensor){ .dtype = v->type.dtype, .rank = v->type.rank };
        for (int i = 0; i < v->type.rank; i++)
            out->dims[i] = v->type.dims[i]->value;
        out->data = cab_dup(d->tmp, b->data, b->bytes);
        return true;
    }
    if (!v->def || v->def->n_in > 4 || !(v->def->op->traits & CAB_T_PURE))
        return false;
    for (int i = 0; i < v->def->n_attr; i++)
        for (int64_t k = 0; v->def->attr[i].kind == CAB_ATTR_DIMS && k < v->def->attr[i].n; k++)
            if (!cab_dim_is_const(v->def->attr[i].u.dims[k]))
                return false;
    for (int i = 0; i < v->def->n_in; i++) {
        if (v->def->in[i] && !compute(d, v->def->in[i], hints, budget, &t[i]))
            return false;
        in[i] = v->def->in[i] ? &t[i] : NULL;
    }
    outs = CAB_NEW_N(d->tmp, cab_tensor, v->def->n_out);
    if (cab_eval_node(d->tmp, v->def, in, outs, &env, NULL) != CAB_OK)
        return false;
    *out = outs[v->def_index];
    return true;
}

bool cab_dec_is_known(cab_dec *d, cab_value *v, double *out)
{
    cab_tensor t;
    int budget = 64;

    if (v->sym && v->n_sym == 1 && v->sym[0] && cab_dim_is_const(v->sym[0])) {
        *out = (double)v->sym[0]->value;
        return true;
    }
    if (!compute(d, v, false, &budget, &t) || cab_tensor_numel(&t) != 1)
        return false;
    *out = cab_elem_f64(t.dtype, t.data, 0);
    return true;
}

bool cab_dec_try_number(cab_dec *d, cab_value *v, double *out)
{
    cab_tensor t;
    int budget = 64;           /* nodes to look at */

    *out = 0;
    if (cab_dec_failed(d))
        return false;
    if (!v) {
        cab_dec_bad(d, "a required operand is missing");
        return false;
    }
    if (cab_value_scalar(v, out))
        return true;
    if (!compute(d, v, true, &budget, &t) || cab_tensor_numel(&t) != 1)
        return false;
    *out = cab_elem_f64(t.dtype, t.data, 0);
    return true;
}

bool cab_dec_number(cab_dec *d, cab_value *v, double *out)
{
    if (cab_dec_try_number(d, v, out))
        return true;
    cab_dec_depends(d, v);
    return false;
}

int cab_dec_axes(cab_dec *d, cab_value *v, int rank, int64_t axes[CAB_MAX_RANK])
{
    int64_t *list = NULL, n = -1;
    const int64_t *attr = NULL;
    uint32_t seen = 0;

    if (v && !cab_dec_ints(d, v, &list, &n))
        return -1;
    if (!v) {
        n = cab_attr_ints(d->n, "axes", &attr);
        list = n > 0 ? cab_dup(d->tmp, attr, (size_t)n * sizeof *attr) : NULL;
    }
    if (n < 0) {
        for (int i = 0; i < rank; i++)
            axes[i] = i;
        return rank;
    }
    if (n > rank) {
        cab_dec_bad(d, "%lld axes for rank %d", (long long)n, rank);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        int a = cab_dec_axis(d, list[i], rank);

        if (cab_dec_failed(d))
            return -1;
        if (seen & 1u << a) {
            cab_dec_bad(d, "axis %d is named twice", a);
            return -1;
        }
        seen |= 1u << a;
        axes[i] = a;
    }
    return (int)n;
}

bool cab_dec_list(cab_dec *d, const char *name, int n, int64_t def, int64_t *out)
{
    const int64_t *v = NULL;
    int64_t have = cab_attr_ints(d->n, name, &v);

    for (int i = 0; i < n; i++)
        out[i] = def;
    if (have <= 0)
        return true;
    if (have != n) {
        cab_dec_bad(d, "attribute %s has %lld elements, expected %d", name,
                    (long long)have, n);
        return false;
    }
    memcpy(out, v, (size_t)n * sizeof *out);
    for (int i = 0; i < n; i++)
        if (out[i] < INT32_MIN || out[i] > INT32_MAX) {
            cab_dec_bad(d, "attribute %s is out of range", name);
            return false;
        }
    return true;
}

/* ---- scalars and elementwise ---- */
cab_value *cab_dec_un(cab_dec *d, cab_op_id op, cab_value *x)
{
    return cab_b_unary(&d->b, op, x);
}

cab_value *cab_dec_bin(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y)
{
    return cab_b_binary(&d->b, op, x, y);
}

cab_value *cab_dec_num(cab_dec *d, const cab_value *like, double v)
{
    return like ? cab_b_scalar(&d->b, like->type.dtype, v) : NULL;
}

cab_value *cab_dec_int(cab_dec *d, const cab_value *like, int64_t v)
{
    return like ? cab_b_scalar_i(&d->b, like->type.dtype, v) : NULL;
}

cab_value *cab_dec_cast(cab_dec *d, cab_value *x, cab_dtype to)
{
    return x ? cab_b_cast(&d->b, x, to) : NULL;
}

/* ---- reductions ---- */
cab_value *cab_dec_reduce(cab_dec *d, cab_value *x, const char *op,
                          const int64_t *axes, int n, bool keep)
{
    cab_attr attr[] = { cab_a_str("op", op), cab_a_ints("axes", axes, n < 0 ? 0 : n),
                        cab_a_int("keepdims", keep) };

    if (cab_dec_failed(d) || n < 0)
        return NULL;
    return cab_build(&d->b, CAB_OP_reduce, 1, &x, 3, attr);
}

cab_value *cab_dec_count(cab_dec *d, const cab_value *x, const int64_t *axes,
                         int n, cab_dtype dt)
{
    const cab_dim *count = cab_dec_c(d, 1);

    for (int i = 0; i < n; i++)
        count = cab_dim_mul(d->g->dims, count, cab_dec_dim(d, x, (int)axes[i]));
    if (cab_dim_is_const(count))
        return cab_dtype_is_float(dt)
                   ? cab_b_scalar(&d->b, dt, (double)count->value)
                   : cab_b_scalar_i(&d->b, dt, count->value);
    return cab_dec_cast(d, cab_b_dim(&d->b, count), dt);
}

cab_value *cab_dec_mean(cab_dec *d, cab_value *x, const int64_t *axes, int n,
                        bool keep)
{
    cab_dtype dt = cab_dec_dtype(x), wide = cab_dec_wide(dt);
    cab_value *w = cab_dec_cast(d, x, wide);
    cab_value *sum = cab_dec_reduce(d, w, "sum", axes, n, keep);

    if (cab_dec_failed(d))
        return NULL;
    sum = cab_dec_bin(d, CAB_OP_div, sum, cab_dec_count(d, x, axes, n, wide));
    return cab_dec_cast(d, sum, dt);
}

cab_value *cab_dec_softmax(cab_dec *d, cab_value *x, int axis)
{
    int64_t a = axis;
    cab_value *m = cab_dec_reduce(d, x, "max", &a, 1, true);

    return cab_dec_un(d, CAB_OP_exp, cab_dec_bin(d, CAB_OP_sub, x, m));
}

/* ---- shapes as values ---- */
cab_value *cab_dec_vector(cab_dec *d, const cab_dim *const *dims, int64_t n)
{
    int64_t *ints = CAB_NEW_N(d->tmp, int64_t, n + 1);
    const cab_dim *one = cab_dec_c(d, 1);
    cab_value **parts;
    bool constant = true;

    for (int64_t i = 0; i < n; i++) {
        constant = constant && cab_dim_is_const(dims[i]);
        ints[i] = dims[i]->value;
    }
    if (constant)
        return cab_b_i64s(&d->b, ints, n);
    parts = CAB_NEW_N(d->tmp, cab_value *, n);
    for (int64_t i = 0; i < n; i++)
        parts[i] = cab_dec_reshape(d, cab_b_dim(&d->b, dims[i]), 1, &one);
    return cab_dec_concat(d, parts, (int)n, 0);
}

cab_value *cab_dec_iota(cab_dec *d, int rank, int axis, const cab_dim *n,
                        cab_dtype dt)
{
    const cab_dim *dims[CAB_MAX_RANK];
    cab_attr attr[3];

    for (int i = 0; i < rank && i < CAB_MAX_RANK; i++)
        dims[i] = i == axis ? n : cab_dec_c(d, 1);
    attr[0] = cab_a_dims("dims", dims, rank);
    attr[1] = cab_a_int("axis", axis);
    attr[2] = cab_a_dtype("dtype", dt);
    return cab_build(&d->b, CAB_OP_iota, 0, NULL, 3, attr);
}

/* ---- movement ---- */
cab_value *cab_dec_reshape(cab_dec *d, cab_value *x, int rank,
                           const cab_dim *const *dims)
{
    bool same = x && cab_dec_rank(x) == rank;

    if (rank > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "it needs a tensor of rank %d; the limit "
                                   "is %d", rank, CAB_MAX_RANK);
    for (int i = 0; i < rank && same; i++)
        same = x->type.dims[i] == dims[i];
    return same ? x : cab_b_reshape(&d->b, x, rank, dims);
}

cab_value *cab_dec_reshape_to(cab_dec *d, cab_value *x, const cab_type *t)
{
    const cab_dim *one = cab_dec_c(d, 1);

    return t->rank == 1 ? cab_dec_reshape(d, x, 1, &one) : x;
}

cab_value *cab_dec_along(cab_dec *d, cab_value *v, int axis, int rank)
{
    const cab_dim *dims[CAB_MAX_RANK];
    int n = rank - axis;

    if (!v || cab_dec_rank(v) == 0)
        return v;
    if (cab_dec_rank(v) != 1)
        return cab_dec_bad(d, "a per-axis operand has rank %d", cab_dec_rank(v));
    dims[0] = v->type.dims[0];
    for (int i = 1; i < n; i++)
        dims[i] = cab_dec_c(d, 1);
    return cab_dec_reshape(d, v, n, dims);
}

cab_value *cab_dec_squeeze(cab_dec *d, cab_value *x, int axis)
{
    const cab_dim *dims[CAB_MAX_RANK];
    int n = 0;

    for (int i = 0; i < cab_dec_rank(x); i++)
        if (i != axis)
            dims[n++] = x->type.dims[i];
    return cab_dec_reshape(d, x, n, dims);
}

cab_value *cab_dec_unsqueeze(cab_dec *d, cab_value *x, int axis)
{
    const cab_dim *dims[CAB_MAX_RANK + 1];
    int n = 0, rank = cab_dec_rank(x);

    for (int i = 0; i <= rank; i++) {
        if (i == axis)
            dims[n++] = cab_dec_c(d, 1);
        if (i < rank)
            dims[n++] = x->type.dims[i];
    }
    return cab_dec_reshape(d, x, n, dims);
}

cab_value *cab_dec_cut(cab_dec *d, cab_value *x, int axis, const cab_dim *start,
                       const cab_dim *n)
{
    const cab_dim *starts[CAB_MAX_RANK], *sizes[CAB_MAX_RANK];
    int64_t steps[CAB_MAX_RANK];

    if (!x || (cab_dim_is(start, 0) && n == cab_dec_dim(d, x, axis)))
        return x;
    for (int i = 0; i < cab_dec_rank(x); i++) {
        starts[i] = i == axis ? start : cab_dec_c(d, 0);
        sizes[i] = i == axis ? n : x->type.dims[i];
        steps[i] = 1;
    }
    return cab_b_slice(&d->b, x, starts, steps, sizes);
}

cab_value *cab_dec_flip(cab_dec *d, cab_value *x, int axis)
{
    const cab_dim *starts[CAB_MAX_RANK];
    int64_t steps[CAB_MAX_RANK];

    if (!x || cab_dim_is(cab_dec_dim(d, x, axis), 1))
        return x;
    for (int i = 0; i < cab_dec_rank(x); i++) {
        starts[i] = cab_dec_c(d, 0);
        steps[i] = 1;
    }
    starts[axis] = cab_dim_sub(d->g->dims, x->type.dims[axis], cab_dec_c(d, 1));
    steps[axis] = -1;
    return cab_b_slice(&d->b, x, starts, steps, x->type.dims);
}

cab_value *cab_dec_gather(cab_dec *d, cab_value *x, cab_value *index, int axis)
{
    cab_value *in[] = { x, index };
    cab_attr attr = cab_a_int("axis", axis);

    if (index && index->type.dtype != CAB_DT_i64 && index->type.dtype != CAB_DT_i32)
        in[1] = cab_dec_cast(d, index, CAB_DT_i64);
    return cab_build(&d->b, CAB_OP_gather, 2, in, 1, &attr);
}

cab_value *cab_dec_concat(cab_dec *d, cab_value **x, int n, int axis)
{
    cab_attr attr = cab_a_int("axis", axis);

    return n == 1 ? x[0] : cab_build(&d->b, CAB_OP_concat, n, x, 1, &attr);
}

cab_value *cab_dec_transpose(cab_dec *d, cab_value *x, const int64_t *perm)
{
    bool identity = true;

    for (int i = 0; i < cab_dec_rank(x); i++)
        identity = identity && perm[i] == i;
    return identity || !x ? x : cab_b_transpose(&d->b, x, perm);
}
