/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_seq.c - sequences and optionals.
 *
 * Only the element type and rank of what a sequence holds are followed; extents
 * may differ from element to element and become symbols where one is taken out.
 * A rank that is not known yet (an empty sequence) is CAB_RANK_UNKNOWN.
 */
#include "ir/ir_int.h"
#include <string.h>

static cab_status kind_of(const cab_node *n, cab_kind *out, cab_diag *d)
{
    static const char *const kinds[] = { "seq", "optional", NULL };
    int k;

    CAB_TRY(cab_infer_choice(n, "kind", kinds, &k, d));
    *out = k ? CAB_KIND_optional : CAB_KIND_sequence;
    return CAB_OK;
}

cab_type cab_type_holder(cab_graph *g, cab_kind kind, const cab_type *elem)
{
    cab_type t = { .kind = kind }, e = *elem;

    if (e.kind == CAB_KIND_tensor) {
        e.layout = NULL;
        e.quant = NULL;
        for (int i = 0; i < e.rank; i++)       /* of one element; others may differ */
            e.dims[i] = cab_dim_sym(g->dims, "?");
    }
    t.elem = cab_dup(g->arena, &e, sizeof e);
    return t;
}

/* Of x in a sequence of s: the rank of both, or unknown. */
static cab_type joined(cab_graph *g, const cab_type *s, const cab_type *x)
{
    cab_type e = *x;

    if (s->elem->kind == CAB_KIND_tensor && s->elem->rank != CAB_RANK_UNKNOWN &&
        s->elem->rank != x->rank)
        e.rank = CAB_RANK_UNKNOWN;
    return cab_type_holder(g, s->kind, &e);
}

static cab_status is_holder(const cab_node *n, cab_diag *d)
{
    const cab_type *t = &n->in[0]->type;

    if (t->kind == CAB_KIND_tensor || !t->elem)
        return cab_infer_fail(n, d, "the operand is no sequence");
    return CAB_OK;
}

cab_status cab_infer_seq_make(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *elem = cab_attr_find(n, "type")->u.type;
    cab_kind kind;

    CAB_TRY(kind_of(n, &kind, d));
    if (kind == CAB_KIND_optional && n->n_in > 1)
        return cab_infer_fail(n, d, "an optional of %d values", n->n_in);
    n->out[0]->type = cab_type_holder(g, kind, elem);
    for (int i = 0; i < n->n_in; i++) {
        const cab_type *x = &n->in[i]->type;

        if (x->kind != CAB_KIND_tensor || elem->kind != CAB_KIND_tensor ||
            x->dtype != elem->dtype)
            return cab_infer_fail(n, d, "operand %d is no element of that type", i);
        n->out[0]->type = joined(g, &n->out[0]->type, x);
    }
    return CAB_OK;
}

cab_status cab_infer_seq_insert(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *s = &n->in[0]->type, *x = &n->in[1]->type;

    CAB_TRY(is_holder(n, d));
    if (s->kind != CAB_KIND_sequence || s->elem->kind != CAB_KIND_tensor ||
        s->elem->dtype != x->dtype)
        return cab_infer_fail(n, d, "the sequence does not hold tensors of that type");
    n->out[0]->type = joined(g, s, x);
    return CAB_OK;
}

cab_status cab_infer_seq_same(cab_graph *g, cab_node *n, cab_diag *d)
{
    (void)g;
    CAB_TRY(is_holder(n, d));
    n->out[0]->type = n->in[0]->type;
    return CAB_OK;
}

cab_status cab_infer_seq_kind(cab_graph *g, cab_node *n, cab_diag *d)
{
    cab_kind kind;

    CAB_TRY(is_holder(n, d));
    CAB_TRY(kind_of(n, &kind, d));
    if (n->in[0]->type.kind == kind)
        return cab_infer_fail(n, d, "the operand has that kind already");
    if (kind == CAB_KIND_optional)
        n->out[0]->type = cab_type_holder(g, kind, &n->in[0]->type);
    else if (n->in[0]->type.elem->kind == CAB_KIND_sequence)
        n->out[0]->type = *n->in[0]->type.elem;
    else
        return cab_infer_fail(n, d, "the optional holds no sequence");
    return CAB_OK;
}

/* A tensor of n extents, all of them symbols. */
static cab_status give_tensor(cab_node *n, int rank, cab_dtype t, cab_diag *d)
{
    const cab_dim *const *syms;

    CAB_TRY(cab_infer_dims(n, "syms", rank, &syms, d));
    for (int i = 0; i < rank; i++)
        if (syms[i]->kind != CAB_DIM_SYM)
            return cab_infer_fail(n, d, "attribute 'syms' names no symbol");
    return cab_infer_set(n, 0, t, rank, syms, d);
}

static cab_status element(const cab_node *n, const cab_type **out, cab_diag *d)
{
    CAB_TRY(is_holder(n, d));
    *out = n->in[0]->type.elem;
    if ((*out)->kind != CAB_KIND_tensor || (*out)->rank == CAB_RANK_UNKNOWN)
        return cab_infer_fail(n, d, "the rank of the elements is not known");
    return CAB_OK;
}

cab_status cab_infer_seq_at(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_dim *const *at;
    const cab_type *e;

    (void)g;
    CAB_TRY(element(n, &e, d));
    CAB_TRY(cab_infer_dims(n, "at", 1, &at, d));
    return give_tensor(n, e->rank, e->dtype, d);
}

cab_status cab_infer_seq_concat(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *e;
    int64_t axis;
    int rank;

    (void)g;
    CAB_TRY(element(n, &e, d));
    rank = e->rank + (cab_attr_int(n, "new_axis") != 0);
    CAB_TRY(cab_infer_axis(n, rank, &axis, d));
    return give_tensor(n, rank, e->dtype, d);
}

static cab_status give_symbol(cab_node *n, cab_dtype t, cab_diag *d)
{
    const cab_dim *const *v;

    CAB_TRY(is_holder(n, d));
    CAB_TRY(cab_infer_dims(n, "value", 1, &v, d));
    if (v[0]->kind != CAB_DIM_SYM)
        return cab_infer_fail(n, d, "attribute 'value' is no symbol");
    return cab_infer_set(n, 0, t, 0, NULL, d);
}

cab_status cab_infer_seq_length(cab_graph *g, cab_node *n, cab_diag *d)
{
    (void)g;
    return give_symbol(n, CAB_DT_i64, d);
}

cab_status cab_infer_seq_has(cab_graph *g, cab_node *n, cab_diag *d)
{
    (void)g;
    return give_symbol(n, CAB_DT_bool, d);
}
