/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guards_table.c - guards and makers of the rules about tables: a one-hot
 * vector times a matrix is a row of it, and a function of a looked-up row is a
 * looked-up row of the function's values.
 */
#include "passes/rule_int.h"
#include <math.h>
#include <string.h>

#define V(i) (m->v[arg[i]])
#define A(i) (&m->a[arg[i]])

#define TABLE_MAX (1 << 18)    /* elements of a table that is computed anew */
#define KNOWN_VISITS 64        /* nodes looked at to see that a value is known */

static bool known_within(const cab_value *v, int *visits)
{
    const cab_node *n = v->def;

    if (cab_const_node(v))
        return true;
    if (!n || !(n->op->traits & CAB_T_PURE) || !n->n_in || (*visits)-- <= 0)
        return false;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !known_within(n->in[i], visits))
            return false;
    return true;
}

/* Constant, or computed from constants alone: fold will see to it. */
bool cab_rp_known(const cab_match *m, const int *arg)
{
    int visits = KNOWN_VISITS;

    return known_within(V(0), &visits);
}

bool cab_rp_small(const cab_match *m, const int *arg)
{
    int64_t n = cab_type_numel_static(&V(0)->type);

    return n >= 0 && n <= TABLE_MAX;
}

/* b varies along the axes of table t's rows only. */
bool cab_rp_along_row(const cab_match *m, const int *arg)
{
    const cab_type *b = &V(0)->type;
    int row = V(1)->type.rank - 1;

    for (int i = 0; i < b->rank - row; i++)
        if (!cab_dim_is(b->dims[i], 1))
            return false;
    return true;
}

/* b without the axes that the rows of table t do not have. */
cab_value *cab_rm_as_row(const cab_match *m, cab_builder *b, const int *arg)
{
    cab_value *v = V(0);
    int row = V(1)->type.rank - 1, more = v->type.rank - row;

    return more > 0 ? cab_b_reshape(b, v, row, v->type.dims + more) : v;
}

/* ---- one-hot vectors ---- */
/* Axis p[0] of z as one of v, which broadcasts to z: negative where v has none. */
static int axis_of(const cab_value *v, const cab_value *z, const cab_attr *p)
{
    return (int)p->u.ints[0] - (z->type.rank - v->type.rank);
}

/* c is 0, 1, 2, ... along the only axis p of z, and the same along the others. */
bool cab_rp_counts(const cab_match *m, const int *arg)
{
    const cab_value *c = V(0), *z = V(1);
    int axis = A(2)->n == 1 ? axis_of(c, z, A(2)) : -1;
    int64_t n = cab_type_numel_static(&c->type);
    const cab_blob *data;

    if (axis < 0 || !c->def || !cab_dim_is(z->type.dims[A(2)->u.ints[0]], n) ||
        !cab_dim_is(c->type.dims[axis], n))
        return false;
    if (c->def->op->id == CAB_OP_iota)
        return cab_attr_int(c->def, "axis") == axis;
    data = cab_const_node(c) ? cab_value_blob(V(0)) : NULL;
    if (!data || !data->data || !cab_dtype_is_int(c->type.dtype))
        return false;
    for (int64_t i = 0; i < n; i++)
        if (cab_elem_f64(c->type.dtype, data->data, (uint64_t)i) != (double)i)
            return false;
    return true;
}

/* One integer for each place of z without its axis p. */
bool cab_rp_indexes(const cab_match *m, const int *arg)
{
    const cab_value *i = V(0), *z = V(1);
    int axis = axis_of(i, z, A(2)), rank = i->type.rank;

    if (!cab_dtype_is_int(i->type.dtype) || i->type.dtype == CAB_DT_u64)
        return false;
    for (int k = 0; k < z->type.rank; k++) {
        int at = k - (z->type.rank - rank);
        const cab_dim *have = at < 0 ? NULL : i->type.dims[at];

        if (have ? (at == axis ? !cab_dim_is(have, 1) : cab_dim_eq(have, z->type.dims[k]) != 1)
                 : k != A(2)->u.ints[0] && !cab_dim_is(z->type.dims[k], 1))
            return false;
    }
    return true;
}

/* No infinity, no NaN: 0 times each element is 0. */
bool cab_rp_finite(const cab_match *m, const int *arg)
{
    const cab_blob *b = cab_const_node(V(0)) ? cab_value_blob(V(0)) : NULL;
    cab_dtype t = V(0)->type.dtype;
    int64_t count = cab_type_numel_static(&V(0)->type);

    if (!b || !b->data || cab_dtype_bits(t) < 8)
        return false;
    for (int64_t i = 0; cab_dtype_is_float(t) && i < count; i++)
        if (!isfinite(cab_elem_f64(t, b->data, (uint64_t)i)))
            return false;
    return true;
}

/* z's extents without its axis p, from i; what is not a row of w (zeroes follow
 * them there) becomes the row of zeroes. */
cab_value *cab_rm_row_number(const cab_match *m, cab_builder *b, const int *arg)
{
    cab_value *i = V(0), *z = V(1), *deep, *none;
    const cab_dim *dims[CAB_MAX_RANK];
    int n = 0;

    for (int k = 0; k < z->type.rank; k++)
        if (k != A(2)->u.ints[0])
            dims[n++] = z->type.dims[k];
    if (i->type.dtype != CAB_DT_i32)
        i = cab_b_cast(b, i, CAB_DT_i64);
    i = cab_b_reshape(b, i, n, dims);
    if (!i)
        return NULL;
    deep = cab_b_scalar_i(b, i->type.dtype, z->type.dims[A(2)->u.ints[0]]->value);
    none = cab_b_binary(b, CAB_OP_lt, i, cab_b_scalar_i(b, i->type.dtype, 0));
    return cab_b_select(b, none, deep, cab_b_binary(b, CAB_OP_min, i, deep));
}

/* Constant w with its axis q outermost and a row of zeroes more.  -0 becomes
 * 0, as it does in a sum of products. */
cab_value *cab_rm_zero_row(const cab_match *m, cab_builder *b, const int *arg)
{
    cab_value *w = V(0);
    const cab_blob *blob = cab_value_blob(w);
    int axis = (int)A(1)->u.ints[0], rank = w->type.rank, to = 1;
    int64_t rows = w->type.dims[axis]->value, dims[CAB_MAX_RANK], inner = 1, outer = 1;
    size_t size = (size_t)cab_dtype_bits(w->type.dtype) / 8;

    dims[0] = rows + 1;
    for (int i = 0; i < rank; i++) {
        if (i != axis)
            dims[to++] = w->type.dims[i]->value;
        inner *= i > axis ? w->type.dims[i]->value : 1;
        outer *= i < axis ? w->type.dims[i]->value : 1;
    }
    cab_type t = cab_type_static(b->g, w->type.dtype, rank, dims);
    size_t bytes = (size_t)((rows + 1) * outer * inner) * size;
    char *y = CAB_NEW_N(b->g->arena, char, bytes + 1);

    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < inner; i++) {
                const char *from = (const char *)blob->data +
                                   (size_t)((o * rows + r) * inner + i) * size;

                if (cab_elem_f64(w->type.dtype, from, 0) != 0)
                    memcpy(y + (size_t)((r * outer + o) * inner + i) * size, from, size);
            }
    return cab_const_blob(b->g, &t, y, bytes, b->before);
}
