/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_flow.c - ops that name symbols of the run: sizes read from data,
 * branches and loops.
 *
 * Extents of the results stand in attributes, because only who builds the node
 * knows which symbols are local to a body.
 */
#include "ir/ir_int.h"

cab_status cab_infer_item(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_dim *const *v;

    (void)g;
    CAB_TRY(cab_infer_dims(n, "value", 1, &v, d));
    if (v[0]->kind != CAB_DIM_SYM)
        return cab_infer_fail(n, d, "attribute 'value' is no symbol");
    if (cab_type_numel_static(&n->in[0]->type) != 1)
        return cab_infer_fail(n, d, "the operand has not one element");
    return cab_infer_set(n, 0, CAB_DT_i64, 0, NULL, d);
}

/* All of a list attribute are symbols. */
static cab_status symbols(const cab_node *n, const char *name, const cab_dim *const **out,
                          int64_t *count, cab_diag *d)
{
    *count = cab_attr_dims(n, name, out);
    for (int64_t i = 0; i < *count; i++)
        if ((*out)[i]->kind != CAB_DIM_SYM)
            return cab_infer_fail(n, d, "attribute '%s' names no symbol", name);
    *count = *count < 0 ? 0 : *count;
    return CAB_OK;
}

static cab_status one_symbol(const cab_node *n, const char *name, bool optional, cab_diag *d)
{
    const cab_dim *const *v;
    int64_t count;

    CAB_TRY(symbols(n, name, &v, &count, d));
    if (count != 1 && !(optional && count == 0))
        return cab_infer_fail(n, d, "attribute '%s' is not one symbol", name);
    return CAB_OK;
}

/* Operands from `at` on against the inputs of a graph from `from` on. */
static cab_status check_inputs(const cab_node *n, const cab_graph *body, size_t from, int at,
                               size_t count, cab_diag *d)
{
    if (body->inputs.n != from + count || at + (int64_t)count > n->n_in)
        return cab_infer_fail(n, d, "graph '%s' has not the inputs that the operands ask for",
                              body->name);
    for (size_t i = 0; i < count; i++) {
        const cab_type *x = n->in[at + (int)i] ? &n->in[at + (int)i]->type : NULL;
        const cab_type *y = &body->inputs.p[from + i]->type;

        if (!x || x->kind != y->kind || x->dtype != y->dtype ||
            (x->kind == CAB_KIND_tensor && x->rank != y->rank))
            return cab_infer_fail(n, d, "input %zu of graph '%s' has another type than its "
                                  "operand", from + i, body->name);
    }
    return CAB_OK;
}

/* Result i: as the graph's value, with `lead` (or nothing) and the next
 * extents of the list in front of it. */
static cab_status set_result(cab_node *n, int i, const cab_value *v, const cab_dim *lead,
                             const cab_dim *const *dims, int64_t n_dims, int64_t *used, cab_diag *d)
{
    const cab_dim *all[CAB_MAX_RANK + 1];
    int rank = 0;

    if (v->type.kind != CAB_KIND_tensor) {
        if (lead)
            return cab_infer_fail(n, d, "result %d stacks what is no tensor", i);
        n->out[i]->type = v->type;
        return CAB_OK;
    }
    if (*used + v->type.rank > n_dims)
        return cab_infer_fail(n, d, "attribute 'dims' is too short");
    if (lead)
        all[rank++] = lead;
    for (int k = 0; k < v->type.rank; k++)
        all[rank++] = dims[(*used)++];
    return cab_infer_set(n, i, v->type.dtype, rank, all, d);
}

cab_status cab_infer_if(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_graph *then = cab_attr_find(n, "then")->u.graph;
    const cab_graph *other = cab_attr_find(n, "else")->u.graph;
    const cab_dim *const *dims, *const *syms, *const *v;
    int64_t n_then = cab_attr_int(n, "n_then"), n_dims, n_syms, used = 0;

    (void)g;
    CAB_TRY(cab_infer_dims(n, "cond", 1, &v, d));
    if (n_then < 0 || n_then > n->n_in)
        return cab_infer_fail(n, d, "attribute 'n_then' is %lld", (long long)n_then);
    CAB_TRY(check_inputs(n, then, 0, 0, (size_t)n_then, d));
    CAB_TRY(check_inputs(n, other, 0, (int)n_then, (size_t)(n->n_in - n_then), d));
    CAB_TRY(symbols(n, "syms", &syms, &n_syms, d));
    if (n_syms) {
        CAB_TRY(cab_infer_dims(n, "then_dims", n_syms, &v, d));
        CAB_TRY(cab_infer_dims(n, "else_dims", n_syms, &v, d));
    }
    if (then->outputs.n != (size_t)n->n_out || other->outputs.n != (size_t)n->n_out)
        return cab_infer_fail(n, d, "the graphs have %zu and %zu results", then->outputs.n,
                              other->outputs.n);
    n_dims = cab_attr_dims(n, "dims", &dims);
    for (int i = 0; i < n->n_out; i++) {
        const cab_type *x = &then->outputs.p[i]->type, *y = &other->outputs.p[i]->type;

        if (x->kind != y->kind || x->dtype != y->dtype || x->rank != y->rank)
            return cab_infer_fail(n, d, "result %d has one type or another", i);
        CAB_TRY(set_result(n, i, then->outputs.p[i], NULL, dims, n_dims, &used, d));
    }
    return CAB_OK;
}

/* What the body gives fits what it gets the next time. */
static cab_status check_given(const cab_node *n, const cab_graph *body, int64_t go,
                              int64_t carried, cab_diag *d)
{
    const cab_type *t = go ? &body->outputs.p[0]->type : NULL;

    if (t && (t->dtype != CAB_DT_bool || cab_type_numel_static(t) != 1))
        return cab_infer_fail(n, d, "graph '%s' does not begin with one bool", body->name);
    for (int64_t i = 0; i < carried; i++) {
        const cab_type *x = &body->inputs.p[i]->type, *y = &body->outputs.p[go + i]->type;

        if (x->kind != y->kind || x->dtype != y->dtype ||
            (x->kind == CAB_KIND_tensor && x->rank != y->rank))
            return cab_infer_fail(n, d, "carried value %lld has another type the next time",
                                  (long long)i);
    }
    return CAB_OK;
}

cab_status cab_infer_loop(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_graph *body = cab_attr_find(n, "body")->u.graph;
    const cab_dim *const *dims, *const *v, *const *count;
    int64_t carried = cab_attr_int(n, "carried"), n_dims, n_syms, used = 0;
    int64_t go = cab_attr_dims(n, "go", &v) > 0;

    (void)g;
    CAB_TRY(cab_infer_dims(n, "trip", 1, &v, d));
    CAB_TRY(cab_infer_dims(n, "count", 1, &count, d));
    CAB_TRY(one_symbol(n, "iter", false, d));
    CAB_TRY(one_symbol(n, "go", true, d));
    CAB_TRY(symbols(n, "syms", &v, &n_syms, d));
    if (n_syms) {
        CAB_TRY(cab_infer_dims(n, "first", n_syms, &v, d));
        CAB_TRY(cab_infer_dims(n, "next", n_syms, &v, d));
    }
    if (carried < 0 || carried > n->n_in || carried > n->n_out ||
        body->outputs.n != (size_t)(go + n->n_out))
        return cab_infer_fail(n, d, "%lld values are carried, %zu given", (long long)carried,
                              body->outputs.n);
    CAB_TRY(check_inputs(n, body, 0, 0, (size_t)n->n_in, d));
    CAB_TRY(check_given(n, body, go, carried, d));
    n_dims = cab_attr_dims(n, "dims", &dims);
    for (int i = 0; i < n->n_out; i++) {
        const cab_value *v_in = i < carried ? body->inputs.p[i] : NULL;
        int64_t zero = 0;

        if (v_in)
            CAB_TRY(set_result(n, i, v_in, NULL, v_in->type.dims, v_in->type.rank, &zero, d));
        else
            CAB_TRY(set_result(n, i, body->outputs.p[go + i], count[0], dims, n_dims, &used, d));
    }
    return CAB_OK;
}
