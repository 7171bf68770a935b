/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_place.c - where values are stored.
 *
 * A place is a strided window of a buffer, so that views, parts of a concat
 * and reshapes of dense storage need no bytes of their own.
 */
#include "passes/lower_int.h"
#include <string.h>

bool cab_value_has_halo(const cab_type *t)
{
    for (int i = 0; t->layout && i < t->rank; i++)
        if (t->layout->halo_lo[i] || t->layout->halo_hi[i])
            return true;
    return false;
}

bool cab_layout_same(const cab_type *a, const cab_type *b)
{
    int i = 0, j = 0;
    if (a->rank != b->rank || cab_value_has_halo(a) || cab_value_has_halo(b))
        return false;
    for (;; i++, j++) {
        while (i < a->rank && cab_dim_is(a->dims[cab_value_axis_at(a, i)], 1))
            i++;
        while (j < b->rank && cab_dim_is(b->dims[cab_value_axis_at(b, j)], 1))
            j++;
        if (i >= a->rank || j >= b->rank)
            return i >= a->rank && j >= b->rank;
        if (cab_value_axis_at(a, i) != cab_value_axis_at(b, j))
            return false;
    }
}

/* ---- views ---- */
static void slice_strides(cab_dims *d, const cab_node *n, const cab_dim **base,
                          const cab_dim *const *in, const cab_dim **out)
{
    const cab_dim *const *starts;
    const int64_t *steps;
    cab_attr_dims(n, "starts", &starts);
    cab_attr_ints(n, "steps", &steps);
    for (int i = 0; i < n->in[0]->type.rank; i++) {
        *base = cab_dim_add(d, *base, cab_dim_mul(d, in[i], starts[i]));
        out[i] = cab_dim_mul(d, in[i], cab_dim_const(d, steps[i]));
    }
}

static void expand_strides(cab_dims *d, const cab_node *n, const cab_dim *const *in,
                           const cab_dim **out)
{
    const cab_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    int skip = y->rank - x->rank;
    for (int i = 0; i < y->rank; i++)
        out[i] = i < skip || cab_dim_is(x->dims[i - skip], 1) ? cab_dim_const(d, 0)
                                                              : in[i - skip];
}

bool cab_strides_view(cab_graph *g, const cab_node *view, const cab_dim **base,
                      const cab_dim *const *in, const cab_dim **out)
{
    const cab_type *x = &view->in[0]->type, *y = &view->out[0]->type;
    const int64_t *perm;
    switch (view->op->id) {
    case CAB_OP_reshape:
        return cab_strides_reshape(g->dims, x, in, y, out);
    case CAB_OP_transpose:
        cab_attr_ints(view, "perm", &perm);
        for (int i = 0; i < y->rank; i++)
            out[i] = in[perm[i]];
        return true;
    case CAB_OP_expand:
        expand_strides(g->dims, view, in, out);
        return true;
    case CAB_OP_slice:
        slice_strides(g->dims, view, base, in, out);
        return true;
    case CAB_OP_relayout:
        memcpy(out, in, (size_t)y->rank * sizeof *out);
        return true;
    default:
        return false;
    }
}

/* Bottom of a chain of views; the nodes passed go to chain, nearest last. */
static const cab_value *view_base(const cab_value *v, const cab_node **chain, int cap, int *n)
{
    *n = 0;
    while (v->def && cab_op_is_view(v->def->op->id) && !v->type.layout && *n < cap) {
        chain[(*n)++] = v->def;
        v = v->def->in[0];
    }
    return v;
}

bool cab_value_strides(cab_graph *g, const cab_value *v, const cab_dim *out[CAB_MAX_RANK])
{
    const cab_node *chain[CAB_KERNEL_DEPTH];
    const cab_dim *next[CAB_MAX_RANK], *base;
    int n;
    const cab_value *x = view_base(v, chain, CAB_KERNEL_DEPTH, &n);
    cab_type_strides(g, &x->type, out, &base, NULL);
    while (n-- > 0) {
        if (!cab_strides_view(g, chain[n], &base, out, next))
            return false;
        memcpy(out, next, (size_t)chain[n]->out[0]->type.rank * sizeof *out);
    }
    return true;
}

bool cab_dot_b_fits(cab_graph *g, const cab_node *dot, int *axis)
{
    const cab_value *b = dot->in[1];
    const cab_node *chain[CAB_KERNEL_DEPTH];
    const cab_dim *stride[CAB_MAX_RANK];
    const int64_t *list;
    uint32_t bound = 0;
    int n;
    bool unit = false;
    for (int64_t i = 0, m = cab_attr_ints(dot, "b_batch", &list); i < m; i++)
        bound |= 1u << list[i];
    for (int64_t i = 0, m = cab_attr_ints(dot, "b_contract", &list); i < m; i++)
        bound |= 1u << list[i];
    *axis = -1;
    bool strided = cab_value_strides(g, b, stride);
    for (int i = 0; i < b->type.rank; i++)
        if (!(bound >> i & 1) && !cab_dim_is(b->type.dims[i], 1)) {
            *axis = i;
            unit = unit || (strided && cab_dim_is(stride[i], 1));
        }
    return *axis < 0 || unit || cab_const_node(view_base(b, chain, CAB_KERNEL_DEPTH, &n)) ||
           (!strided && cab_dot_reads_views(g, dot)) || cab_dot_sums_along_b(g, dot);
}

/* ---- buffers ---- */
static const char *value_name(cab_lower *l, const cab_value *v)
{
    return v->name ? v->name : cab_printf(l->a, "%%%u", v->id);
}

static void whole_place(cab_lower *l, const cab_type *t, int buffer, cab_place *out)
{
    out->buffer = buffer;
    cab_type_strides(l->g, t, out->stride, &out->base, NULL);
}

int cab_place_temp(cab_lower *l, const cab_type *t, const char *name)
{
    const cab_dim *strides[CAB_MAX_RANK];
    cab_buffer b = { .kind = CAB_BUFFER_TEMP, .type = *t, .name = name, .alias_of = -1,
                     .zeroed = cab_value_has_halo(t) };
    cab_type_strides(l->g, t, strides, NULL, &b.elems);
    return cab_program_buffer(l->p, &b);
}

/* A product reads what it asked for and no further: what lies between its rows
 * (pad_rows in layout.c) need not be zero. */
static bool halo_is_read(const cab_value *v)
{
    for (const cab_use *u = v->uses; u; u = u->next)
        if (!u->node || u->node->op->id != CAB_OP_dot)
            return true;
    return v->uses == NULL;
}

static int leaf_buffer(cab_lower *l, cab_value *v)
{
    cab_buffer b = { .kind = CAB_BUFFER_CONST, .type = v->type, .name = value_name(l, v),
                     .alias_of = -1, .elems = cab_type_numel(l->g, &v->type) };
    b.blob = cab_attr_find(v->def, "value")->u.tensor->blob;
    return cab_program_buffer(l->p, &b);
}

static void part_place(cab_lower *l, cab_vinfo *i)
{
    const cab_place *host = cab_place_of(l, i->host);
    int64_t axis = cab_attr_int(i->host->def, "axis");
    axis += axis < 0 ? i->host->type.rank : 0;
    i->at = *host;
    i->at.base = cab_dim_add(l->d, host->base,
                             cab_dim_mul(l->d, host->stride[axis], i->part_at));
}

const cab_place *cab_place_of(cab_lower *l, cab_value *v)
{
    cab_vinfo *i = cab_lower_info(l, v);
    if (i->at.buffer >= 0)
        return &i->at;
    if (i->inside == CAB_INSIDE_PART) {
        part_place(l, i);
    } else if (i->inside == CAB_INSIDE_WHOLE) {
        i->at = *cab_place_of(l, i->host);
        bool ok = cab_strides_reshape(l->d, &i->host->type,
                                      cab_lower_info(l, i->host)->at.stride,
                                      &v->type, i->at.stride);
        CAB_ASSERT(ok);
    } else if (i->output >= 0) {
        cab_type t = cab_lower_memory_type(l, v);
        whole_place(l, &t, l->p->outputs.p[i->output], &i->at);
    } else if (cab_const_node(v)) {
        whole_place(l, &v->type, leaf_buffer(l, v), &i->at);
    } else {
        int temp = cab_place_temp(l, &v->type, value_name(l, v));
        l->p->buffers.p[temp].zeroed &= halo_is_read(v);
        whole_place(l, &v->type, temp, &i->at);
    }
    return &i->at;
}

bool cab_place_view(cab_lower *l, cab_value *v, cab_place *out)
{
    const cab_node *chain[CAB_KERNEL_DEPTH];
    int n = 0;
    while (cab_lower_info(l, v)->at.buffer < 0 && !cab_const_node(v)) {
        if (!v->def || !cab_op_is_view(v->def->op->id) || n == CAB_KERNEL_DEPTH)
            return false;
        chain[n++] = v->def;
        v = v->def->in[0];
    }
    if (cab_value_is_expr(v))
        return false;
    *out = *cab_place_of(l, v);
    while (n-- > 0) {
        const cab_dim *in[CAB_MAX_RANK];
        memcpy(in, out->stride, sizeof in);
        if (!cab_strides_view(l->g, chain[n], &out->base, in, out->stride))
            return false;
    }
    return true;
}

bool cab_place_is_dense(cab_lower *l, const cab_place *at, const cab_type *t)
{
    const cab_dim *stride[CAB_MAX_RANK], *elems;
    cab_type plain = *t;
    plain.layout = NULL;
    cab_type_strides(l->g, &plain, stride, NULL, &elems);
    for (int i = 0; i < t->rank; i++)
        if (!cab_dim_is(t->dims[i], 1) && at->stride[i] != stride[i])
            return false;
    return cab_dim_is(at->base, 0) && l->p->buffers.p[at->buffer].elems == elems;
}
