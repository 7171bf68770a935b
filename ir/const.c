/* SPDX-License-Identifier: Apache-2.0 */
/*
 * const.c - constants, and what is known of a value's elements.
 *
 * A value is known when it is a `const`, when its elements were followed and
 * are all constants (infer_sym.c), or when it is a graph input whose value of
 * this call the caller offered; asking for the last one binds the compiled
 * code to that value (hint_used).
 */
#include <string.h>
#include "ir/eval_int.h"
#include "ir/ir_int.h"

/* Most elements that are turned into expressions on request. */
#define VALUE_DIMS_MAX (INT64_C(1) << 20)

cab_value *cab_const_blob(cab_graph *g, const cab_type *t, const void *data,
                          uint64_t bytes, cab_node *before)
{
    cab_blob blob = { data, bytes };
    cab_tensor_attr tensor = { .type = *t, .blob = &blob };
    cab_attr a = cab_a_tensor("value", &tensor);
    cab_node *n = cab_node_create(g, cab_op_get(CAB_OP_const), 0, NULL, 1, before);
    cab_status s;

    cab_attr_set(n, &a);
    s = cab_infer_node(g, n, NULL);
    CAB_ASSERT(s == CAB_OK);
    return n->out[0];
}

const cab_tensor_attr *cab_const_attr(const cab_value *v)
{
    const cab_attr *a = v->def && v->def->op->id == CAB_OP_const
        ? cab_attr_find(v->def, "value") : NULL;

    return a && a->kind == CAB_ATTR_TENSOR ? a->u.tensor : NULL;
}

/* True when element i of the packed array is a value of int64_t, -> *out. */
static bool elem_int(cab_dtype t, const void *p, int64_t i, int64_t *out)
{
    *out = cab_elem_i64(t, p, (uint64_t)i);
    if (t == CAB_DT_bool)
        *out = *out != 0;
    return t != CAB_DT_u64 || *out >= 0;
}

static bool has_ints(cab_dtype t)
{
    return t == CAB_DT_bool || cab_dtype_is_int(t);
}

const cab_dim **cab_blob_dims(cab_graph *g, const cab_type *t, const cab_blob *b,
                              int64_t limit)
{
    int64_t n = cab_type_numel_static(t), v;
    const cab_dim **r;

    if (!b || !b->data || n < 0 || n > limit || !has_ints(t->dtype))
        return NULL;
    r = CAB_NEW_N(g->arena, const cab_dim *, n);
    for (int64_t i = 0; i < n; i++) {
        if (!elem_int(t->dtype, b->data, i, &v))
            return NULL;
        r[i] = cab_dim_const(g->dims, v);
    }
    return r;
}

/* All followed elements are constants. */
static bool sym_is_const(const cab_value *v)
{
    if (!v->sym)
        return false;
    for (int64_t i = 0; i < v->n_sym; i++)
        if (!cab_dim_is_const(v->sym[i]))
            return false;
    return true;
}

/* Bytes of a value whose followed elements are constants. */
static const cab_blob *blob_from_sym(cab_value *v)
{
    cab_arena *a = v->def->graph->arena;
    cab_dtype t = v->type.dtype;
    cab_blob *b = CAB_NEW(a, cab_blob);
    void *p;

    if (!cab_scalar_ok(t) || !cab_dtype_bytes(t, (uint64_t)v->n_sym, &b->bytes))
        return NULL;
    p = cab_alloc_zero(a, b->bytes ? b->bytes : 1, 1);
    for (int64_t i = 0; i < v->n_sym; i++)
        cab_scalar_store(t, p, (uint64_t)i, (cab_scalar){ .i = v->sym[i]->value });
    b->data = p;
    return b;
}

const cab_blob *cab_value_blob(cab_value *v)
{
    const cab_tensor_attr *t = cab_const_attr(v);

    if (t)
        return t->blob;
    if (!v->def) {
        v->hint_used = v->hint_used || v->hint;
        return v->hint;
    }
    return sym_is_const(v) ? blob_from_sym(v) : NULL;
}

/* ---- elements on request, through offered inputs ---- */

/* True when v would be known were the offered inputs used; looks at no more
 * than *budget values. */
static bool hints_reach(const cab_value *v, int *budget)
{
    if (v->sym)
        return true;
    if ((*budget)-- <= 0 || !has_ints(v->type.dtype)
        || !cab_type_is_static(&v->type)
        || cab_type_numel_static(&v->type) > CAB_SYM_MAX)
        return false;
    if (!v->def)
        return v->hint != NULL;
    if (!cab_sym_follows(v->def->op->id) || v->def->n_in == 0)
        return false;
    for (int i = 0; i < v->def->n_in; i++)
        if (!hints_reach(v->def->in[i], budget))
            return false;
    return true;
}

/* Follows the elements again with the offered inputs known. */
static void follow_hints(cab_graph *g, cab_value *v)
{
    if (v->sym)
        return;
    if (!v->def) {
        v->sym = cab_blob_dims(g, &v->type, cab_value_blob(v), CAB_SYM_MAX);
        v->n_sym = v->sym ? cab_type_numel_static(&v->type) : 0;
        return;
    }
    for (int i = 0; i < v->def->n_in; i++)
        follow_hints(g, v->def->in[i]);
    cab_infer_sym(g, v->def);
}

bool cab_value_dims(cab_graph *g, cab_value *v, const cab_dim ***out, int64_t *n)
{
    int budget = 256;

    if (v->type.kind != CAB_KIND_tensor || !has_ints(v->type.dtype))
        return false;
    if (!v->sym && !cab_const_attr(v) && hints_reach(v, &budget))
        follow_hints(g, v);
    if (v->sym) {
        *out = v->sym;
        *n = v->n_sym;
        return true;
    }
    *out = cab_blob_dims(g, &v->type, cab_value_blob(v), VALUE_DIMS_MAX);
    *n = *out ? cab_type_numel_static(&v->type) : 0;
    return *out != NULL;
}

bool cab_value_ints(cab_graph *g, cab_value *v, int64_t **out, int64_t *n)
{
    const cab_dim **dims;
    int64_t *r;

    if (!cab_value_dims(g, v, &dims, n))
        return false;
    r = CAB_NEW_N(g->arena, int64_t, *n);
    for (int64_t i = 0; i < *n; i++) {
        if (!cab_dim_is_const(dims[i]))
            return false;
        r[i] = dims[i]->value;
    }
    *out = r;
    return true;
}

/* All elements have the bytes of the first (packed types: only one element). */
static bool is_splat(const cab_type *t, const cab_blob *b)
{
    size_t width = (size_t)cab_dtype_bits(t->dtype) / 8;

    if (cab_type_numel_static(t) == 1)
        return true;
    return width > 0 && b->bytes > width
        && !memcmp(b->data, (const char *)b->data + width, b->bytes - width);
}

bool cab_value_scalar(cab_value *v, double *out)
{
    const cab_blob *b;
    cab_dtype t = v->type.dtype;

    if (v->type.kind != CAB_KIND_tensor || (!has_ints(t) && !cab_dtype_is_float(t))
        || !v->def)            /* a rewrite's question binds no offered input */
        return false;
    b = cab_value_blob(v);
    if (!b || !b->data || !b->bytes || !is_splat(&v->type, b))
        return false;
    *out = cab_elem_f64(t, b->data, 0);
    return true;
}
