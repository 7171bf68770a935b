/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_shape.c - shapes, and tensors made from shapes.
 */
#include "passes/decompose_int.h"
#include <math.h>
#include <string.h>

cab_value *cab_dec_Identity(cab_dec *d)
{
    return cab_dec_in(d, 0);
}

cab_value *cab_dec_Shape(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int64_t rank = cab_dec_rank(x), from = cab_attr_int(d->n, "start"), to = rank;

    if (cab_attr_find(d->n, "end"))
        to = cab_attr_int(d->n, "end");
    from = from < -rank ? 0 : from < 0 ? from + rank : from > rank ? rank : from;
    to = to < -rank ? 0 : to < 0 ? to + rank : to > rank ? rank : to;
    return cab_dec_vector(d, x->type.dims + from, to > from ? to - from : 0);
}

cab_value *cab_dec_Size(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);

    return cab_b_dim(&d->b, cab_type_numel(d->g, &x->type));
}

/* ---- constants ---- */
static cab_value *const_list(cab_dec *d, cab_dtype dt, int rank, int64_t n,
                             const void *data, size_t bytes)
{
    const cab_dim *dims[1] = { cab_dec_c(d, n) };
    cab_type t = cab_type_tensor(dt, rank, dims);

    return cab_const_blob(d->g, &t, cab_dup(d->g->arena, data, bytes), bytes, d->n);
}

cab_value *cab_dec_floats(cab_dec *d, const cab_attr *a)
{
    float *v = CAB_NEW_N(d->tmp, float, a->n + 1);

    for (int64_t i = 0; i < a->n; i++)
        v[i] = (float)a->u.floats[i];
    return const_list(d, CAB_DT_f32, 1, a->n, v, (size_t)a->n * sizeof *v);
}

cab_value *cab_dec_Constant(cab_dec *d)
{
    const cab_attr *a = d->n->n_attr ? &d->n->attr[0] : NULL;
    float f;

    if (!a)
        return cab_dec_bad(d, "it has no value attribute");
    switch (a->kind) {
    case CAB_ATTR_TENSOR:
        if (!a->u.tensor->blob)
            return cab_dec_unsupported(d, "a constant of type %s",
                                       cab_dtype_name(a->u.tensor->type.dtype));
        return cab_const_blob(d->g, &a->u.tensor->type, a->u.tensor->blob->data,
                              a->u.tensor->blob->bytes, d->n);
    case CAB_ATTR_INT:
        return const_list(d, CAB_DT_i64, 0, 1, &a->u.i, sizeof a->u.i);
    case CAB_ATTR_INTS:
        return const_list(d, CAB_DT_i64, 1, a->n, a->u.ints, (size_t)a->n * sizeof(int64_t));
    case CAB_ATTR_FLOAT:
        f = (float)a->u.f;
        return const_list(d, CAB_DT_f32, 0, 1, &f, sizeof f);
    case CAB_ATTR_FLOATS:
        return cab_dec_floats(d, a);
    default:
        return cab_dec_unsupported(d, "attribute %s", a->name);
    }
}

cab_value *cab_dec_ConstantOfShape(cab_dec *d)
{
    const cab_attr *a = cab_attr_find(d->n, "value");
    const cab_dim **dims;
    cab_value *v;
    int64_t n;

    if (!cab_dec_extents(d, cab_dec_in(d, 0), &dims, &n))
        return NULL;
    if (n > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "a result of rank %lld", (long long)n);
    if (a && a->kind == CAB_ATTR_TENSOR) {
        const cab_tensor_attr *t = a->u.tensor;

        if (!t->blob || cab_type_numel_static(&t->type) != 1)
            return cab_dec_bad(d, "attribute value must hold one element");
        v = cab_const_blob(d->g, &t->type, t->blob->data, t->blob->bytes, d->n);
        v = cab_dec_reshape(d, v, 0, NULL);
    } else {
        v = cab_b_scalar(&d->b, CAB_DT_f32, 0);
    }
    return cab_b_expand(&d->b, v, (int)n, dims);
}

/* ---- ranges and masks ---- */
static const char range_why[] = "a range needs a step other than 0 and fewer than 2^31 elements";

/* Number of elements of a range of i64 scalars; -1 where it is no range. */
static cab_value *count_late(cab_dec *d, cab_value *from, cab_value *to, cab_value *step)
{
    cab_value *up = cab_dec_bin(d, CAB_OP_lt, cab_dec_int(d, step, 0), step);
    cab_value *a = cab_dec_when(d, up, from, to), *b = cab_dec_when(d, up, to, from);
    cab_value *span = cab_dec_bin(d, CAB_OP_sub, b, a), *none = cab_dec_int(d, step, -1), *n;

    n = cab_dec_bin(d, CAB_OP_div, cab_dec_op_c(d, CAB_OP_sub, span, 1),
                    cab_dec_when(d, up, step, cab_dec_un(d, CAB_OP_neg, step)));
    n = cab_dec_op_c(d, CAB_OP_add, n, 1);
    /* A span of more than 63 bits is negative. */
    n = cab_dec_when(d, cab_dec_op_c(d, CAB_OP_lt, span, 1), none, n);
    n = cab_dec_when(d, cab_dec_bin(d, CAB_OP_lt, a, b), n, cab_dec_int(d, step, 0));
    return cab_dec_when(d, cab_dec_op_c(d, CAB_OP_eq, step, 0), none, n);
}

static cab_value *int_range_late(cab_dec *d, cab_value *from, cab_value *to, cab_value *step)
{
    cab_value *n = count_late(d, cab_dec_element(d, from, 0), cab_dec_element(d, to, 0),
                              cab_dec_element(d, step, 0));
    cab_value *i = cab_dec_iota(d, 1, 0, cab_dec_size(d, n, range_why), CAB_DT_i64);

    i = cab_dec_cast(d, i, cab_dec_dtype(from));
    return cab_dec_bin(d, CAB_OP_add, cab_dec_bin(d, CAB_OP_mul, i, step), from);
}

static cab_value *int_range(cab_dec *d, cab_value *from, cab_value *to, cab_value *step)
{
    cab_dims *ds = d->g->dims;
    const cab_dim **a, **b, *n, *span;
    int64_t *s, k;
    cab_value *i;

    if (!cab_value_dims(d->g, from, &a, &k) || !cab_value_dims(d->g, to, &b, &k) ||
        !cab_value_ints(d->g, step, &s, &k))
        return int_range_late(d, from, to, step);
    if (k != 1 || !s[0])
        return cab_dec_bad(d, "a step of 0");
    span = s[0] > 0 ? cab_dim_sub(ds, b[0], a[0]) : cab_dim_sub(ds, a[0], b[0]);
    n = cab_dim_ceildiv(ds, cab_dim_max(ds, span, cab_dec_c(d, 0)),
                        cab_dec_c(d, s[0] > 0 ? s[0] : -s[0]));
    i = cab_dec_iota(d, 1, 0, n, from->type.dtype);
    if (s[0] != 1)
        i = cab_dec_bin(d, CAB_OP_mul, i, cab_dec_int(d, i, s[0]));
    return cab_dim_is(a[0], 0) ? i : cab_dec_bin(d, CAB_OP_add, i, from);
}

/* The integer behind casts and reshapes of a scalar, as an extent; NULL. */
static const cab_dim *whole_number(cab_dec *d, cab_value *v)
{
    const cab_dim **dims;
    int64_t n;
    double x;

    while (v->def && (v->def->op->id == CAB_OP_cast || v->def->op->id == CAB_OP_reshape) &&
           !cab_dtype_is_int(v->type.dtype))
        v = v->def->in[0];
    if (cab_dtype_is_int(v->type.dtype))
        return cab_value_dims(d->g, v, &dims, &n) && n == 1 ? dims[0] : NULL;
    return cab_value_scalar(v, &x) && x == floor(x) && fabs(x) < 1e9
               ? cab_dec_c(d, (int64_t)x) : NULL;
}

/* The same of floats, in double precision.  A count that is no number compares
 * as nothing does. */
static const cab_dim *float_count_late(cab_dec *d, cab_value *v[3])
{
    cab_value *w[3], *n;

    for (int k = 0; k < 3; k++)
        w[k] = cab_dec_cast(d, v[k], CAB_DT_f64);
    n = cab_dec_bin(d, CAB_OP_div, cab_dec_bin(d, CAB_OP_sub, w[1], w[0]), w[2]);
    n = cab_dec_op_c(d, CAB_OP_max, cab_dec_un(d, CAB_OP_ceil, n), 0);
    n = cab_dec_failed(d) ? NULL
                          : cab_b_select(&d->b, cab_dec_op_c(d, CAB_OP_lt, n, INT64_C(1) << 31), n,
                                         cab_dec_int(d, n, -1));
    return cab_dec_size(d, cab_dec_cast(d, n, CAB_DT_i64), range_why);
}

/* Number of elements of a range of floats; NULL after a failure. */
static const cab_dim *float_count(cab_dec *d, cab_value *v[3])
{
    const cab_dim *w[3];
    double f[3], n;

    for (int k = 0; k < 3; k++)
        w[k] = whole_number(d, v[k]);
    if (w[0] && w[1] && w[2] && cab_dim_is(w[2], 1))
        return cab_dim_max(d->g->dims, cab_dim_sub(d->g->dims, w[1], w[0]), cab_dec_c(d, 0));
    for (int k = 0; k < 3; k++)
        if (!cab_dec_try_number(d, v[k], &f[k]))
            return float_count_late(d, v);
    n = ceil((f[1] - f[0]) / f[2]);
    if (!(n <= INT32_MAX)) {
        cab_dec_bad(d, "a range of %g elements", n);
        return NULL;
    }
    return cab_dec_c(d, n > 0 ? (int64_t)n : 0);
}

cab_value *cab_dec_Range(cab_dec *d)
{
    cab_value *v[3], *i;
    const cab_dim *n;
    cab_dtype dt;

    for (int k = 0; k < 3; k++) {
        v[k] = cab_dec_in(d, k);
        if (v[k] && cab_dec_rank(v[k]))
            v[k] = cab_dec_reshape(d, v[k], 0, NULL);
    }
    if (cab_dec_failed(d) || !v[0] || !v[1] || !v[2])
        return cab_dec_bad(d, "three scalars are expected");
    dt = v[0]->type.dtype;
    if (cab_dtype_is_int(dt))
        return int_range(d, v[0], v[1], v[2]);
    n = float_count(d, v);
    if (!n)
        return NULL;
    i = cab_dec_iota(d, 1, 0, n, cab_dec_wide(dt));
    i = cab_dec_bin(d, CAB_OP_mul, i, cab_dec_cast(d, v[2], cab_dec_wide(dt)));
    i = cab_dec_bin(d, CAB_OP_add, i, cab_dec_cast(d, v[0], cab_dec_wide(dt)));
    return cab_dec_cast(d, i, dt);
}

cab_value *cab_dec_Trilu(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *k = cab_dec_in(d, 1), *row, *col, *keep;
    int rank = cab_dec_rank(x);
    bool upper = cab_attr_int(d->n, "upper") != 0;

    if (rank < 2)
        return cab_dec_bad(d, "an operand of rank %d", rank);
    row = cab_dec_iota(d, 2, 0, cab_dec_dim(d, x, -2), CAB_DT_i64);
    col = cab_dec_iota(d, 2, 1, cab_dec_dim(d, x, -1), CAB_DT_i64);
    if (k)
        row = cab_dec_bin(d, CAB_OP_add, row, cab_dec_reshape(d, k, 0, NULL));
    keep = upper ? cab_dec_bin(d, CAB_OP_le, row, col) : cab_dec_bin(d, CAB_OP_le, col, row);
    return cab_b_select(&d->b, keep, x, cab_dec_int(d, x, 0));
}

cab_value *cab_dec_EyeLike(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *row, *col;
    cab_dtype dt = cab_dec_dtype(x);

    if (cab_dec_rank(x) != 2)
        return cab_dec_bad(d, "an operand of rank %d", cab_dec_rank(x));
    if (cab_attr_find(d->n, "dtype"))
        dt = cab_dtype_from_onnx(cab_attr_int(d->n, "dtype"));
    if (dt == CAB_DT_none || dt == CAB_DT_str)
        return cab_dec_unsupported(d, "attribute dtype");
    row = cab_dec_iota(d, 2, 0, x->type.dims[0], CAB_DT_i64);
    col = cab_dec_iota(d, 2, 1, x->type.dims[1], CAB_DT_i64);
    row = cab_dec_bin(d, CAB_OP_add, row, cab_dec_int(d, row, cab_attr_int(d->n, "k")));
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_eq, row, col), dt);
}

/* Only inference: the mask is all true then. */
cab_value *cab_dec_Dropout(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *ratio_v = cab_dec_in(d, 1), *training = cab_dec_in(d, 2);
    double ratio = 0.5, on = 0;
    bool now = !training || cab_dec_try_number(d, training, &on);

    if (now && on != 0 && ratio_v)
        now = cab_dec_try_number(d, ratio_v, &ratio);
    if (now && on != 0 && ratio != 0)
        return cab_dec_unsupported(d, "training_mode with ratio %g", ratio);
    if (!now) {
        cab_value *off = cab_dec_op_c(d, CAB_OP_eq, training, 0), *none;

        none = ratio_v ? cab_dec_op_c(d, CAB_OP_eq, ratio_v, 0) : off;
        cab_dec_require(d, cab_dec_bin(d, CAB_OP_or, cab_dec_reshape(d, off, 0, NULL),
                                       none ? cab_dec_reshape(d, none, 0, NULL) : NULL),
                        "training_mode is off, or the ratio is 0");
    }
    if (cab_dec_wants(d, 1))
        d->out[1] = cab_b_expand(&d->b, cab_b_scalar_i(&d->b, CAB_DT_bool, 1),
                                 cab_dec_rank(x), x->type.dims);
    return cab_dec_failed(d) ? NULL : x;
}

/* ---- windows of signal processing: formulas of the index ---- */
/* 2 pi k over the number of steps of a window of n elements. */
static cab_value *turn(cab_dec *d, int k, const cab_dim *n, bool periodic)
{
    if (!periodic)
        n = cab_dim_sub(d->g->dims, n, cab_dec_c(d, 1));
    if (cab_dim_is_const(n))
        return cab_b_scalar(&d->b, CAB_DT_f64, 2 * M_PI * k / (double)n->value);
    return cab_dec_bin(d, CAB_OP_div, cab_b_scalar(&d->b, CAB_DT_f64, 2 * M_PI * k),
                       cab_dec_cast(d, cab_b_dim(&d->b, n), CAB_DT_f64));
}

static cab_value *cosine_window(cab_dec *d, const double *coef, int n_coef)
{
    bool periodic = cab_attr_int(d->n, "periodic") != 0;
    cab_dtype dt = cab_dtype_from_onnx(cab_attr_int(d->n, "output_datatype"));
    const cab_dim **size;
    cab_value *sum = NULL, *i;
    int64_t n;

    if (!cab_dec_extents(d, cab_dec_in(d, 0), &size, &n))
        return NULL;
    if (n != 1 || size[0]->hi < 0 || size[0]->lo > INT32_MAX)
        return cab_dec_bad(d, "the size must be one number that is not negative");
    i = cab_dec_iota(d, 1, 0, size[0], CAB_DT_f64);
    for (int k = 0; k < n_coef; k++) {
        cab_value *t;

        if (k == 0) {
            t = cab_b_expand(&d->b, cab_dec_num(d, i, coef[0]), 1, i ? i->type.dims : NULL);
        } else {
            t = cab_dec_un(d, CAB_OP_cos, cab_dec_bin(d, CAB_OP_mul, i,
                                                      turn(d, k, size[0], periodic)));
            t = cab_dec_bin(d, CAB_OP_mul, t, cab_dec_num(d, t, coef[k]));
        }
        sum = sum ? cab_dec_bin(d, CAB_OP_add, sum, t) : t;
        if (cab_dec_failed(d))
            return NULL;
    }
    return cab_dec_cast(d, sum, dt);
}

cab_value *cab_dec_HannWindow(cab_dec *d)
{
    return cosine_window(d, (const double[]){ 0.5, -0.5 }, 2);
}

cab_value *cab_dec_HammingWindow(cab_dec *d)
{
    return cosine_window(d, (const double[]){ 25.0 / 46.0, -21.0 / 46.0 }, 2);
}

cab_value *cab_dec_BlackmanWindow(cab_dec *d)
{
    return cosine_window(d, (const double[]){ 0.42, -0.5, 0.08 }, 3);
}
