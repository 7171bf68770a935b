/* SPDX-License-Identifier: Apache-2.0 */
/*
 * type.c - types of values: making, comparing, counting, broadcasting.
 */
#include <string.h>
#include "ir/ir_int.h"

cab_type cab_type_tensor(cab_dtype dt, int rank, const cab_dim *const *dims)
{
    cab_type t = { .kind = CAB_KIND_tensor, .dtype = dt, .rank = rank };

    CAB_ASSERT(rank >= 0 && rank <= CAB_MAX_RANK);
    for (int i = 0; i < rank; i++)
        t.dims[i] = dims[i];
    return t;
}

cab_type cab_type_static(cab_graph *g, cab_dtype dt, int rank, const int64_t *dims)
{
    const cab_dim *d[CAB_MAX_RANK];

    CAB_ASSERT(rank >= 0 && rank <= CAB_MAX_RANK);
    for (int i = 0; i < rank; i++)
        d[i] = cab_dim_const(g->dims, dims[i]);
    return cab_type_tensor(dt, rank, d);
}

static bool layout_equal(const cab_layout *a, const cab_layout *b)
{
    if (!a || !b || a->rank != b->rank)
        return a == b;
    for (int i = 0; i < a->rank; i++)
        if (a->perm[i] != b->perm[i] || a->halo_lo[i] != b->halo_lo[i]
            || a->halo_hi[i] != b->halo_hi[i])
            return false;
    return true;
}

static bool quant_equal(const cab_quant *a, const cab_quant *b)
{
    if (!a || !b)
        return a == b;
    return a->axis == b->axis && a->block == b->block && a->scale == b->scale
        && a->zero == b->zero;
}

bool cab_type_equal(const cab_type *a, const cab_type *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind != CAB_KIND_tensor)
        return a->elem && b->elem ? cab_type_equal(a->elem, b->elem)
                                  : a->elem == b->elem;
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i] && cab_dim_eq(a->dims[i], b->dims[i]) != 1)
            return false;
    return layout_equal(a->layout, b->layout) && quant_equal(a->quant, b->quant);
}

/* True when both may be the same extent: guards can make them so. */
static bool may_equal(const cab_graph *g, const cab_dim *a, const cab_dim *b)
{
    int eq = a == b ? 1 : cab_dim_eq(a, b);

    for (; eq < 0 && g; g = g->parent)
        if (g->guards.n)
            eq = 1;
    return eq == 1;
}

bool cab_type_may_equal(const cab_graph *g, const cab_type *a, const cab_type *b)
{
    if (a->kind != b->kind || a->kind != CAB_KIND_tensor || a->dtype != b->dtype
        || a->rank != b->rank)
        return cab_type_equal(a, b);
    for (int i = 0; i < a->rank; i++)
        if (!may_equal(g, a->dims[i], b->dims[i]))
            return false;
    return true;
}

bool cab_type_is_static(const cab_type *t)
{
    if (t->kind != CAB_KIND_tensor)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (!cab_dim_is_const(t->dims[i]))
            return false;
    return true;
}

const cab_dim *cab_type_numel(cab_graph *g, const cab_type *t)
{
    const cab_dim *n = cab_dim_const(g->dims, 1);

    for (int i = 0; i < t->rank; i++)
        n = cab_dim_mul(g->dims, n, t->dims[i]);
    return n;
}

int64_t cab_type_numel_static(const cab_type *t)
{
    int64_t n = 1;

    if (!cab_type_is_static(t))
        return -1;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i]->value == 0)
            return 0;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, t->dims[i]->value, &n))
            return -1;
    return n;
}

void cab_type_strides(cab_graph *g, const cab_type *t, const cab_dim *strides[CAB_MAX_RANK],
                      const cab_dim **out_base, const cab_dim **out_elems)
{
    const cab_layout *l = t->layout;
    const cab_dim *step = cab_dim_const(g->dims, 1);
    const cab_dim *base = cab_dim_const(g->dims, 0);

    for (int place = t->rank - 1; place >= 0; place--) {
        int axis = l ? l->perm[place] : place;
        int64_t lo = l ? l->halo_lo[axis] : 0, hi = l ? l->halo_hi[axis] : 0;
        const cab_dim *extent = cab_dim_add(g->dims, t->dims[axis],
                                            cab_dim_const(g->dims, lo + hi));
        strides[axis] = step;
        base = cab_dim_add(g->dims, base,
                           cab_dim_mul(g->dims, step, cab_dim_const(g->dims, lo)));
        step = cab_dim_mul(g->dims, step, extent);
    }
    if (out_base)
        *out_base = base;
    if (out_elems)
        *out_elems = step;
}

/* One extent of a broadcast: 1 gives way, a constant beats a symbol. */
static cab_status broadcast_dim(cab_graph *g, const cab_dim *a, const cab_dim *b,
                                const cab_dim **out, const cab_where *w, cab_diag *d)
{
    if (a == b || cab_dim_is(b, 1)) {
        *out = a;
        return CAB_OK;
    }
    *out = cab_dim_is(a, 1) || cab_dim_is_const(b) ? b : a;
    if (cab_dim_is(a, 1))
        return CAB_OK;
    return cab_graph_require_eq(g, a, b, "shapes broadcast", w, d);
}

cab_status cab_broadcast(cab_graph *g, const cab_type *a, const cab_type *b,
                         cab_type *out, const cab_where *w, cab_diag *d)
{
    cab_type r = *a;

    r.layout = NULL;
    r.quant = NULL;
    r.rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 1; i <= r.rank; i++) {
        const cab_dim **dim = &r.dims[r.rank - i];
        if (i > a->rank)
            *dim = b->dims[b->rank - i];
        else if (i > b->rank)
            *dim = a->dims[a->rank - i];
        else
            CAB_TRY(broadcast_dim(g, a->dims[a->rank - i], b->dims[b->rank - i],
                                  dim, w, d));
    }
    *out = r;
    return CAB_OK;
}
