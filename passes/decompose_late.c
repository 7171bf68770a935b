/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_late.c - sizes that only data decide.
 *
 * An operand of integers is read element by element.  What is known about an
 * element stays known; the others are computed by ordinary nodes on scalars
 * and read during the run (nodes `item`).  Arithmetic of extents has no
 * conditions, so what depends on the sign of a number is decided by select
 * before it is read.
 */
#include "passes/decompose_int.h"
#include <limits.h>

/* ---- one number ---- */
/* The symbol that an earlier reader of x made, when it is as narrow. */
static const cab_dim *item_of(const cab_dec *d, const cab_value *x, int64_t lo, int64_t hi)
{
    const cab_dim *const *sym;

    for (const cab_use *u = x->uses; u; u = u->next)
        if (u->node->op->id == CAB_OP_item && u->node->graph == d->g &&
            cab_attr_dims(u->node, "value", &sym) == 1 && sym[0]->lo >= lo && sym[0]->hi <= hi)
            return sym[0];
    return NULL;
}

static const cab_dim *item(cab_dec *d, cab_value *x, int64_t lo, int64_t hi, const char *why)
{
    const cab_dim *sym;
    cab_attr attr[2];

    if (cab_dec_failed(d) || !x)
        return cab_dec_c(d, 1);
    if (cab_dec_known(x))
        return cab_dec_known(x);
    sym = item_of(d, x, lo, hi);
    if (sym)
        return sym;
    sym = cab_dim_fresh(d->g->dims, "data");
    cab_dim_assume(d->g->dims, sym, lo, hi, 1);
    attr[0] = cab_a_dims("value", &sym, 1);
    attr[1] = cab_a_str("why", why ? why : "");
    cab_build(&d->b, CAB_OP_item, 1, &x, why ? 2 : 1, attr);
    return sym;
}

const cab_dim *cab_dec_item(cab_dec *d, cab_value *x, int64_t lo, int64_t hi)
{
    return item(d, x, lo, hi, NULL);
}

const cab_dim *cab_dec_size(cab_dec *d, cab_value *x, const char *why)
{
    return item(d, x, 0, INT32_MAX, why);
}

const cab_dim *cab_dec_known(const cab_value *x)
{
    return x && x->sym && x->n_sym == 1 ? x->sym[0] : NULL;
}

cab_value *cab_dec_when(cab_dec *d, cab_value *c, cab_value *x, cab_value *y)
{
    const cab_dim *k = cab_dec_known(c);

    if (k && cab_dim_is_const(k))
        return k->value ? x : y;
    return cab_dec_failed(d) ? NULL : cab_b_select(&d->b, c, x, y);
}

cab_value *cab_dec_op_c(cab_dec *d, cab_op_id op, cab_value *x, int64_t c)
{
    return cab_dec_bin(d, op, x, cab_dec_int(d, x, c));
}

/* ---- elements of an operand ---- */
/* One element of a vector; an earlier reader's node is used again, so that
 * its symbol is too. */
static cab_value *cut_element(cab_dec *d, cab_value *v, int64_t i)
{
    const cab_dim *one = cab_dec_c(d, 1), *const *start;

    if (!cab_dec_rank(v) || cab_type_numel_static(&v->type) == 1)
        return v;
    for (const cab_use *u = v->uses; u; u = u->next)
        if (u->node->op->id == CAB_OP_slice && u->node->graph == d->g && u->node->n_out == 1 &&
            cab_type_numel_static(&u->node->out[0]->type) == 1 &&
            cab_attr_dims(u->node, "starts", &start) == 1 && cab_dim_is(start[0], i))
            return u->node->out[0];
    return cab_dec_cut(d, v, 0, cab_dec_c(d, i), one);
}

/* Follows element *i of *v back through joins and conversions that keep it. */
static void find_element(cab_value **v, int64_t *i)
{
    for (cab_node *n = (*v)->def; n && !(*v)->sym; n = (*v)->def) {
        int k = 0;

        if (n->op->id == CAB_OP_reshape) {
            *v = n->in[0];
        } else if (n->op->id == CAB_OP_concat && (*v)->type.rank == 1) {
            int64_t len = cab_type_numel_static(&n->in[k]->type);

            while (len >= 0 && *i >= len && k + 1 < n->n_in) {
                *i -= len;
                len = cab_type_numel_static(&n->in[++k]->type);
            }
            if (len < 0)
                return;
            *v = n->in[k];
        } else {
            return;
        }
    }
}

/* The element as a value of one element, in the operand's type. */
static cab_value *element(cab_dec *d, cab_value *v, int64_t i)
{
    const cab_dim **dims, *n;
    int64_t have;

    if (cab_value_dims(d->g, v, &dims, &have))
        return i < have ? cab_b_dim(&d->b, dims[i]) : NULL;
    find_element(&v, &i);
    if (v->sym)
        return cab_b_dim(&d->b, v->sym[i]);
    if (cab_dec_rank(v) > 1) {
        n = cab_type_numel(d->g, &v->type);
        v = cab_dec_reshape(d, v, 1, &n);
    }
    return v ? cut_element(d, v, i) : NULL;
}

int64_t cab_dec_length(cab_dec *d, cab_value *v)
{
    int64_t n;

    if (cab_dec_failed(d))
        return -1;
    if (!v) {
        cab_dec_bad(d, "a required operand is missing");
        return -1;
    }
    if (cab_dec_rank(v) > 1) {
        cab_dec_bad(d, "a shape operand has rank %d", cab_dec_rank(v));
        return -1;
    }
    n = cab_type_numel_static(&v->type);
    if (n >= 0 && n <= CAB_DEC_READ_MAX &&
        (cab_dtype_is_int(v->type.dtype) || v->type.dtype == CAB_DT_bool))
        return n;
    cab_dec_depends(d, v);
    return -1;
}

cab_value *cab_dec_element(cab_dec *d, cab_value *v, int64_t i)
{
    cab_value *x;

    if (cab_dec_failed(d))
        return NULL;
    x = cab_dec_cast(d, element(d, v, i), CAB_DT_i64);
    return x ? cab_dec_reshape(d, x, 0, NULL) : NULL;
}

bool cab_dec_read(cab_dec *d, cab_value *v, int64_t lo, int64_t hi, const cab_dim ***out,
                  int64_t *n)
{
    *n = 0;
    if (cab_dec_failed(d))
        return false;
    if (v && cab_dec_rank(v) <= 1 && cab_value_dims(d->g, v, out, n))
        return true;
    *n = cab_dec_length(d, v);
    if (*n < 0)
        return false;
    *out = CAB_NEW_N(d->g->arena, const cab_dim *, *n + 1);
    for (int64_t i = 0; i < *n && !cab_dec_failed(d); i++)
        (*out)[i] = cab_dec_item(d, element(d, v, i), lo, hi);
    return !cab_dec_failed(d);
}

bool cab_dec_dims(cab_dec *d, cab_value *v, const cab_dim ***out, int64_t *n)
{
    return cab_dec_read(d, v, INT32_MIN, INT32_MAX, out, n);
}

bool cab_dec_extents(cab_dec *d, cab_value *v, const cab_dim ***out, int64_t *n)
{
    return cab_dec_read(d, v, 0, INT32_MAX, out, n);
}

/* ---- requirements ---- */
void cab_dec_require_le(cab_dec *d, const cab_dim *a, const cab_dim *b, const char *why)
{
    cab_where w = cab_node_where(d->n);

    if (!cab_dec_failed(d))
        d->b.status = cab_graph_require_le(d->g, a, b, why, &w, d->b.diag);
}

void cab_dec_require_eq(cab_dec *d, const cab_dim *a, const cab_dim *b, const char *why)
{
    cab_where w = cab_node_where(d->n);

    if (!cab_dec_failed(d))
        d->b.status = cab_graph_require_eq(d->g, a, b, why, &w, d->b.diag);
}

void cab_dec_require(cab_dec *d, cab_value *x, const char *why)
{
    cab_dec_require_eq(d, cab_dec_item(d, x, 0, 1), cab_dec_c(d, 1), why);
}

cab_value *cab_dec_names_axis(cab_dec *d, cab_value *axes, int64_t i, int a, int rank)
{
    cab_value *x = cab_dec_element(d, axes, i), *hit;

    if (a == 0)
        cab_dec_require(d, cab_dec_bin(d, CAB_OP_and,
                                       cab_dec_bin(d, CAB_OP_le, cab_dec_int(d, x, -rank), x),
                                       cab_dec_op_c(d, CAB_OP_lt, x, rank)),
                        "an axis lies within the operand's rank");
    hit = cab_dec_op_c(d, CAB_OP_eq, x, a);
    return cab_dec_bin(d, CAB_OP_or, hit, cab_dec_op_c(d, CAB_OP_eq, x, a - rank));
}
