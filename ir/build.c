/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build.c - nodes with inference.
 *
 * A node that fails inference is taken out again; the builder remembers the
 * first failure, and every later call returns NULL without building, so that
 * callers check the status once, at the end.
 */
#include <string.h>
#include "ir/eval_int.h"
#include "ir/ir_int.h"

cab_builder cab_builder_at(cab_graph *g, cab_node *before, cab_diag *d)
{
    cab_builder b = { .g = g, .before = before, .diag = d };

    if (before) {
        b.loc = before->loc;
        b.loc_op = before->loc_op;
        b.opset = before->opset;
    }
    return b;
}

cab_node *cab_build_node(cab_builder *b, cab_op_id op, int n_in, cab_value **in,
                         int n_out, int n_attr, const cab_attr *attr)
{
    cab_node *n;

    if (b->status != CAB_OK)
        return NULL;
    n = cab_node_create(b->g, cab_op_get(op), n_in, in, n_out, b->before);
    n->loc = b->loc;
    n->loc_op = b->loc_op;
    n->opset = b->opset;
    for (int i = 0; i < n_attr; i++)
        cab_attr_set(n, &attr[i]);
    b->status = cab_infer_node(b->g, n, b->diag);
    if (b->status == CAB_OK)
        return n;
    cab_node_erase(n);
    return NULL;
}

cab_value *cab_build(cab_builder *b, cab_op_id op, int n_in, cab_value **in,
                     int n_attr, const cab_attr *attr)
{
    cab_node *n = cab_build_node(b, op, n_in, in, 1, n_attr, attr);

    return n ? n->out[0] : NULL;
}

cab_value *cab_b_unary(cab_builder *b, cab_op_id op, cab_value *x)
{
    return cab_build(b, op, 1, &x, 0, NULL);
}

cab_value *cab_b_binary(cab_builder *b, cab_op_id op, cab_value *x, cab_value *y)
{
    cab_value *in[2] = { x, y };

    return cab_build(b, op, 2, in, 0, NULL);
}

cab_value *cab_b_select(cab_builder *b, cab_value *c, cab_value *x, cab_value *y)
{
    cab_value *in[3] = { c, x, y };

    return cab_build(b, CAB_OP_select, 3, in, 0, NULL);
}

cab_value *cab_b_cast(cab_builder *b, cab_value *x, cab_dtype to)
{
    cab_attr a = cab_a_dtype("to", to);

    if (b->status == CAB_OK && x->type.kind == CAB_KIND_tensor && x->type.dtype == to)
        return x;
    return cab_build(b, CAB_OP_cast, 1, &x, 1, &a);
}

static cab_value *build_dims(cab_builder *b, cab_op_id op, cab_value *x, int rank,
                             const cab_dim *const *dims)
{
    cab_attr a = cab_a_dims("dims", dims, rank);

    return b->status == CAB_OK ? cab_build(b, op, 1, &x, 1, &a) : NULL;
}

cab_value *cab_b_reshape(cab_builder *b, cab_value *x, int rank, const cab_dim *const *dims)
{
    return build_dims(b, CAB_OP_reshape, x, rank, dims);
}

cab_value *cab_b_expand(cab_builder *b, cab_value *x, int rank, const cab_dim *const *dims)
{
    return build_dims(b, CAB_OP_expand, x, rank, dims);
}

cab_value *cab_b_transpose(cab_builder *b, cab_value *x, const int64_t *perm)
{
    cab_attr a;

    if (b->status != CAB_OK)
        return NULL;
    a = cab_a_ints("perm", perm, x->type.rank);
    return cab_build(b, CAB_OP_transpose, 1, &x, 1, &a);
}

cab_value *cab_b_slice(cab_builder *b, cab_value *x, const cab_dim *const *starts,
                       const int64_t *steps, const cab_dim *const *sizes)
{
    cab_attr a[3];

    if (b->status != CAB_OK)
        return NULL;
    a[0] = cab_a_dims("starts", starts, x->type.rank);
    a[1] = cab_a_ints("steps", steps, x->type.rank);
    a[2] = cab_a_dims("dims", sizes, x->type.rank);
    return cab_build(b, CAB_OP_slice, 1, &x, 3, a);
}

/* ---- constants ---- */

/* A const of that type over bytes in the arena, at the builder's place. */
static cab_value *build_const(cab_builder *b, const cab_type *t, const void *data,
                              uint64_t bytes)
{
    cab_blob blob = { data, bytes };
    cab_tensor_attr tensor = { .type = *t, .blob = &blob };
    cab_attr a = cab_a_tensor("value", &tensor);

    return cab_build(b, CAB_OP_const, 0, NULL, 1, &a);
}

static cab_value *build_scalar(cab_builder *b, cab_dtype from, cab_dtype dt,
                               cab_scalar v)
{
    cab_type t = cab_type_tensor(dt, 0, NULL);
    uint64_t bytes = 0;
    void *p;

    if (b->status != CAB_OK)
        return NULL;
    if (!cab_scalar_ok(dt) || !cab_dtype_bytes(dt, 1, &bytes)) {
        cab_b_fail(b, CAB_EUNSUPPORTED, "a constant of type %s", cab_dtype_name(dt));
        return NULL;
    }
    p = cab_alloc_zero(b->g->arena, bytes, 1);
    cab_scalar_store(dt, p, 0, cab_scalar_cast(from, dt, v));
    return build_const(b, &t, p, bytes);
}

cab_value *cab_b_scalar(cab_builder *b, cab_dtype dt, double v)
{
    return build_scalar(b, CAB_DT_f64, dt, (cab_scalar){ .f = v });
}

cab_value *cab_b_scalar_i(cab_builder *b, cab_dtype dt, int64_t v)
{
    return build_scalar(b, CAB_DT_i64, dt, (cab_scalar){ .i = v });
}

cab_value *cab_b_dim(cab_builder *b, const cab_dim *x)
{
    cab_attr a;

    if (b->status != CAB_OK)
        return NULL;
    if (cab_dim_is_const(x))
        return cab_b_scalar_i(b, CAB_DT_i64, x->value);
    a = cab_a_dims("value", &x, 1);
    return cab_build(b, CAB_OP_dim, 0, NULL, 1, &a);
}

cab_value *cab_b_i64s(cab_builder *b, const int64_t *v, int64_t n)
{
    cab_type t = cab_type_static(b->g, CAB_DT_i64, 1, &n);
    size_t bytes = (size_t)n * sizeof *v;

    return b->status == CAB_OK
        ? build_const(b, &t, cab_dup(b->g->arena, v, bytes), bytes) : NULL;
}

cab_status cab_b_fail(cab_builder *b, cab_status code, const char *fmt, ...)
{
    cab_where w = { .node = b->loc, .op = b->loc_op, .opset = b->opset };
    va_list ap;

    va_start(ap, fmt);
    cab_vfail(b->diag, code, &w, fmt, ap);
    va_end(ap);
    if (b->status == CAB_OK)
        b->status = code;
    return code;
}
