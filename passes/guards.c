/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guards.c - the named predicates and makers of the rules.
 *
 * A guard looks at bound values and attributes and answers yes or no.  A
 * maker computes a constant value or an attribute.  Both are rows of the
 * tables at the end; docs/writing-rules.md lists them for rule authors.
 */
#include "passes/rule_int.h"
#include <math.h>
#include <string.h>

#define V(i) (m->v[arg[i]])
#define A(i) (&m->a[arg[i]])

/* ---- values ---- */
static bool one_use(const cab_match *m, const int *arg)
{
    return V(0)->n_uses == 1;
}

static bool is_float(const cab_match *m, const int *arg)
{
    return cab_dtype_is_float(V(0)->type.dtype);
}

static bool is_int(const cab_match *m, const int *arg)
{
    return cab_dtype_is_int(V(0)->type.dtype);
}

static bool is_bool(const cab_match *m, const int *arg)
{
    return V(0)->type.dtype == CAB_DT_bool;
}

static bool same_dtype(const cab_match *m, const int *arg)
{
    return V(0)->type.dtype == V(1)->type.dtype;
}

static bool shapes_equal(const cab_value *a, const cab_value *b)
{
    if (a->type.rank != b->type.rank)
        return false;
    for (int i = 0; i < a->type.rank; i++)
        if (cab_dim_eq(a->type.dims[i], b->type.dims[i]) != 1)
            return false;
    return true;
}

static bool same_shape(const cab_match *m, const int *arg)
{
    return shapes_equal(V(0), V(1));
}

static bool same_type(const cab_match *m, const int *arg)
{
    return shapes_equal(V(0), V(1)) && V(0)->type.dtype == V(1)->type.dtype;
}

static bool same_layout(const cab_match *m, const int *arg)
{
    return cab_type_equal(&V(0)->type, &V(1)->type);
}

static bool scalar(const cab_match *m, const int *arg)
{
    return cab_type_numel_static(&V(0)->type) == 1;
}

/* f32 or f64: a rounded intermediate costs an ulp, not a digit. */
static bool wide_float(const cab_match *m, const int *arg)
{
    return V(0)->type.dtype == CAB_DT_f32 || V(0)->type.dtype == CAB_DT_f64;
}

/* v broadcasts into the shape of y without making it larger. */
static bool within(const cab_match *m, const int *arg)
{
    const cab_value *v = V(0), *y = V(1);

    if (v->type.rank > y->type.rank)
        return false;
    for (int i = 1; i <= v->type.rank; i++) {
        const cab_dim *a = v->type.dims[v->type.rank - i];

        if (!cab_dim_is(a, 1) && cab_dim_eq(a, y->type.dims[y->type.rank - i]) != 1)
            return false;
    }
    return true;
}

/* v varies along axis 1 of y only. */
static bool per_channel(const cab_match *m, const int *arg)
{
    const cab_value *v = V(0), *y = V(1);

    if (!within(m, arg))
        return false;
    for (int i = 1; i <= v->type.rank; i++)
        if (i != y->type.rank - 1 && !cab_dim_is(v->type.dims[v->type.rank - i], 1))
            return false;
    return true;
}

static bool negative_zero(const cab_match *m, const int *arg)
{
    double x;

    return cab_value_scalar(V(0), &x) && x == 0 && signbit(x);
}

/* A number whose reciprocal is a normal f32. */
static bool normal(const cab_match *m, const int *arg)
{
    double x;

    return cab_value_scalar(V(0), &x) && fabs(x) > 1e-30 && fabs(x) < 1e30;
}

static bool power_of_two(const cab_match *m, const int *arg)
{
    double x;
    int e;

    return cab_value_scalar(V(0), &x) && isfinite(x) && fabs(frexp(x, &e)) == 0.5 &&
           e > -12 && e < 14;
}

/* ---- casts ---- */
static int significant_bits(cab_dtype t)
{
    switch (t) {
    case CAB_DT_f64: return 53;
    case CAB_DT_f32: return 24;
    case CAB_DT_f16: return 11;
    case CAB_DT_bf16: return 8;
    case CAB_DT_bool: return 1;
    default: return cab_dtype_bits(t) - cab_dtype_is_signed(t);
    }
}

/* Every value of x's type is a value of y's, and no float stands between
 * integers where one cast saturates and the other wraps. */
static bool exact_cast(const cab_match *m, const int *arg)
{
    cab_dtype x = V(0)->type.dtype, y = V(1)->type.dtype, z = V(2)->type.dtype;

    if (cab_dtype_is_int(x) && cab_dtype_is_float(y) && cab_dtype_is_int(z) &&
        ((cab_dtype_is_signed(x) && !cab_dtype_is_signed(z)) ||
         significant_bits(x) > significant_bits(z)))
        return false;
    if (x == y)
        return true;
    if (y == CAB_DT_bool)
        return false;
    if (cab_dtype_is_float(x))
        return y == CAB_DT_f64 || (y == CAB_DT_f32 && cab_dtype_bits(x) < 32);
    if (cab_dtype_is_float(y))
        return y != CAB_DT_f16 && significant_bits(x) <= significant_bits(y);
    if (cab_dtype_is_signed(x) && !cab_dtype_is_signed(y))
        return false;
    return significant_bits(x) <= significant_bits(y);
}

/* ---- movements ---- */
static bool identity(const cab_match *m, const int *arg)
{
    for (int64_t i = 0; i < A(0)->n; i++)
        if (A(0)->u.ints[i] != i)
            return false;
    return true;
}

static bool keeps_order(const cab_match *m, const int *arg)
{
    const cab_value *x = V(0);
    int64_t last = -1;

    for (int i = 0; i < x->type.rank; i++) {
        int64_t p = A(1)->u.ints[i];

        if (cab_dim_is(x->type.dims[p], 1))
            continue;
        if (p < last)
            return false;
        last = p;
    }
    return true;
}

/* Axis of x per axis of y, a reshape of x that drops extents of 1: false when it
 * is another. */
static bool kept_axes(const cab_value *x, const cab_value *y, int *axis)
{
    int i = 0;

    for (int k = 0; k < y->type.rank; k++, i++) {
        while (i < x->type.rank && cab_dim_eq(x->type.dims[i], y->type.dims[k]) != 1 &&
               cab_dim_is(x->type.dims[i], 1))
            i++;
        if (i == x->type.rank || cab_dim_eq(x->type.dims[i], y->type.dims[k]) != 1)
            return false;
        axis[k] = i;
    }
    for (; i < x->type.rank; i++)
        if (!cab_dim_is(x->type.dims[i], 1))
            return false;
    return x->type.rank > y->type.rank;
}

static bool drops_ones(const cab_match *m, const int *arg)
{
    int axis[CAB_MAX_RANK];

    return kept_axes(V(0), V(1), axis);
}

static bool whole_slice(const cab_match *m, const int *arg)
{
    const cab_node *n = V(0)->def;
    const cab_dim *const *starts;
    const int64_t *steps;
    int64_t rank = cab_attr_dims(n, "starts", &starts);

    cab_attr_ints(n, "steps", &steps);
    for (int64_t i = 0; i < rank; i++)
        if (!cab_dim_is(starts[i], 0) || steps[i] != 1)
            return false;
    return true;
}

/* Axis 1 of c in y = reshape(transpose(r = reshape(c))), when it is places and
 * channels [.., O, ..] of r, of which the channels are axis 1 of y again and the
 * places go to other axes; else -1. */
static int channels_of(const cab_value *y, const cab_value **r)
{
    const cab_value *t = y->def->in[0], *c;
    const int64_t *perm;
    int axis, first;
    int64_t all = 1;

    *r = t->def->in[0];
    c = (*r)->def->in[0];
    first = (*r)->type.rank - c->type.rank + 2;
    cab_attr_ints(t->def, "perm", &perm);
    axis = t->type.rank > 1 ? (int)perm[1] : 0;
    if (c->type.rank < 2 || y->type.rank != c->type.rank || axis < 1 || axis >= first || perm[0])
        return -1;
    for (int i = 1; i < first; i++) {
        if (!cab_dim_is_const((*r)->type.dims[i]))
            return -1;
        all *= (*r)->type.dims[i]->value;
    }
    for (int i = 0; i < c->type.rank; i++)
        if (i != 1 && cab_dim_eq(c->type.dims[i], (*r)->type.dims[i ? first - 2 + i : 0]) != 1)
            return -1;
    return cab_dtype_bits(y->type.dtype) >= 8 && cab_dim_is(c->type.dims[1], all) && t->type.dims[0] == y->type.dims[0] &&
           t->type.dims[1] == y->type.dims[1] ? axis : -1;
}

static bool to_places(const cab_match *m, const int *arg)
{
    const cab_value *r;

    return channels_of(V(0), &r) > 0;
}

/* ---- makers ---- */
static cab_value *reciprocal(const cab_match *m, cab_builder *b, const int *arg)
{
    double x = 1;

    cab_value_scalar(V(0), &x);
    return cab_b_scalar(b, V(0)->type.dtype, 1 / x);
}

/* s of one element as rank 0. */
static cab_value *as_scalar(const cab_match *m, cab_builder *b, const int *arg)
{
    return V(0)->type.rank ? cab_b_reshape(b, V(0), 0, NULL) : V(0);
}

/* s along axis 1 of c, reshaped to scale the outermost axis of w. */
static cab_value *channel_scale(const cab_match *m, cab_builder *b, const int *arg)
{
    const cab_dim *dims[CAB_MAX_RANK];
    cab_value *s = V(0);

    dims[0] = cab_type_numel(b->g, &s->type);
    for (int i = 1; i < V(2)->type.rank; i++)
        dims[i] = cab_dim_const(b->g->dims, 1);
    return cab_b_reshape(b, s, V(2)->type.rank, dims);
}

/* Constant b, which broadcasts to y, with the extents of 1 that y dropped from x. */
static cab_value *with_ones(const cab_match *m, cab_builder *b, const int *arg)
{
    const cab_dim *dims[CAB_MAX_RANK];
    const cab_value *x = V(1), *y = V(2);
    cab_value *v = V(0);
    const cab_blob *blob = cab_value_blob(v);
    int axis[CAB_MAX_RANK];

    if (!v->type.rank || !kept_axes(x, y, axis))
        return v;
    for (int i = 0; i < x->type.rank; i++)
        dims[i] = cab_dim_const(b->g->dims, 1);
    for (int i = 1; i <= v->type.rank; i++)
        dims[axis[y->type.rank - i]] = v->type.dims[v->type.rank - i];
    if (!blob)
        return cab_b_reshape(b, v, x->type.rank, dims);
    cab_type t = cab_type_tensor(v->type.dtype, x->type.rank, dims);
    return cab_const_blob(b->g, &t, blob->data, blob->bytes, b->before);
}

/* s along axis 1 of y (to_places), once per place of each channel: a constant,
 * so that more rules meet it. */
static cab_value *per_place(const cab_match *m, cab_builder *b, const int *arg)
{
    const cab_tensor_attr *from = cab_attr_find(V(0)->def, "value")->u.tensor;
    const cab_value *r;
    int axis = channels_of(V(1), &r), rank = V(1)->type.rank;
    int64_t dims[CAB_MAX_RANK], inner = 1, n = r->def->in[0]->type.dims[1]->value;
    int64_t channels = r->type.dims[axis]->value;
    size_t size = (size_t)cab_dtype_bits(V(0)->type.dtype) / 8;
    char *data;

    if (cab_type_numel_static(&V(0)->type) == 1)
        return cab_b_reshape(b, V(0), 0, NULL);
    for (int i = axis + 1; i < r->type.rank - rank + 2; i++)
        inner *= r->type.dims[i]->value;
    data = cab_alloc(b->g->arena, (size_t)n * size);
    for (int64_t i = 0; i < n; i++)
        memcpy(data + (size_t)i * size,
               (const char *)from->blob->data + (size_t)(i / inner % channels) * size, size);
    for (int i = 0; i < rank - 1; i++)
        dims[i] = i ? 1 : n;
    cab_type t = cab_type_static(b->g, V(0)->type.dtype, rank - 1, dims);
    return cab_const_blob(b->g, &t, data, (size_t)n * size, b->before);
}

static bool compose(const cab_match *m, cab_builder *b, const int *arg, cab_attr *out)
{
    int64_t *v = CAB_NEW_N(b->g->arena, int64_t, A(1)->n + 1);

    for (int64_t i = 0; i < A(1)->n; i++)
        v[i] = A(0)->u.ints[A(1)->u.ints[i]];
    *out = cab_a_ints("perm", v, A(1)->n);
    return true;
}

static bool dims_of(const cab_match *m, cab_builder *b, const int *arg, cab_attr *out)
{
    (void)b;
    *out = cab_a_dims("dims", V(0)->type.dims, V(0)->type.rank);
    return true;
}

/* ---- tables ---- */
static const cab_rpredicate predicates[] = {
    { "along_row", 2, cab_rp_along_row },
    { "counts", 3, cab_rp_counts },
    { "drops_ones", 2, drops_ones },
    { "exact_cast", 3, exact_cast },
    { "finite", 1, cab_rp_finite },
    { "identity", 1, identity },
    { "indexes", 3, cab_rp_indexes },
    { "is_bool", 1, is_bool },
    { "is_float", 1, is_float },
    { "is_int", 1, is_int },
    { "keeps_order", 2, keeps_order },
    { "known", 1, cab_rp_known },
    { "negative_zero", 1, negative_zero },
    { "normal", 1, normal },
    { "one_use", 1, one_use },
    { "per_channel", 2, per_channel },
    { "power_of_two", 1, power_of_two },
    { "same_dtype", 2, same_dtype },
    { "same_layout", 2, same_layout },
    { "same_shape", 2, same_shape },
    { "same_type", 2, same_type },
    { "scalar", 1, scalar },
    { "small", 1, cab_rp_small },
    { "to_places", 1, to_places },
    { "whole_slice", 1, whole_slice },
    { "wide_float", 1, wide_float },
    { "within", 2, within },
};

static const cab_rmaker makers[] = {
    { "as_row", 2, cab_rm_as_row, NULL },
    { "as_scalar", 1, as_scalar, NULL },
    { "channel_scale", 3, channel_scale, NULL },
    { "compose", 2, NULL, compose },
    { "dims_of", 1, NULL, dims_of },
    { "per_place", 2, per_place, NULL },
    { "reciprocal", 1, reciprocal, NULL },
    { "row_number", 3, cab_rm_row_number, NULL },
    { "with_ones", 3, with_ones, NULL },
    { "zero_row", 2, cab_rm_zero_row, NULL },
};

const cab_rpredicate *cab_rpredicate_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof predicates / sizeof *predicates; i++)
        if (strlen(predicates[i].name) == n && !memcmp(predicates[i].name, name, n))
            return &predicates[i];
    return NULL;
}

const cab_rmaker *cab_rmaker_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (strlen(makers[i].name) == n && !memcmp(makers[i].name, name, n))
            return &makers[i];
    return NULL;
}
