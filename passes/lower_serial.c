/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_serial.c - kernels whose points follow each other: scans, scatters.
 *
 * The axis that is scanned or scattered along is looped inside one stage, in
 * order; the others are parallel.  A scatter takes two steps: the operand is
 * copied to the result, then the updates go where their indices say; what
 * falls outside is dropped by the guards of the store.
 */
#include "passes/lower_int.h"
#include <string.h>

static int axis_of(const cab_node *n)
{
    int64_t axis = cab_attr_int(n, "axis");
    return (int)(axis + (axis < 0 ? n->out[0]->type.rank : 0));
}

/* Axes of those extents in the physical order of v, parallel but for `serial`;
 * the mask of that one. */
static uint32_t make_axes(cab_kernel *k, const cab_value *v, const cab_type *extents,
                          int serial, cab_ix *ix)
{
    uint32_t mask = 0;
    for (int i = 0; i < v->type.rank; i++) {
        int a = cab_value_axis_at(&v->type, i);
        ix[a] = cab_ix_zero(k);
        if (cab_dim_is(extents->dims[a], 1))
            continue;
        int lax = cab_kernel_lax(k, a == serial ? CAB_AXIS_RED : CAB_AXIS_PAR,
                                 extents->dims[a], a == serial ? "j" : "i");
        if (lax < 0)
            return 0;
        ix[a] = cab_ix_axis(k, lax);
        mask |= a == serial ? cab_kernel_lax_mask(k, lax) : 0;
    }
    return mask;
}

void cab_lower_scan(cab_kernel *k, cab_value *v, const cab_place *to)
{
    const cab_node *n = v->def;
    int axis = axis_of(n);
    cab_ix ix[CAB_MAX_RANK];
    cab_red red = strcmp(cab_attr_str(n, "op"), "prod") ? CAB_RED_SUM : CAB_RED_PROD;
    uint32_t mask = make_axes(k, v, &v->type, axis, ix);
    if (k->state != CAB_KERNEL_OK)
        return;
    if (cab_attr_int(n, "reverse")) {
        const cab_dim *last = cab_dim_sub(k->l->d, v->type.dims[axis], cab_dim_const(k->l->d, 1));
        ix[axis] = cab_ix_scale(k, &ix[axis], cab_dim_const(k->l->d, -1));
        ix[axis] = cab_ix_shift(k, &ix[axis], last);
    }
    const cab_expr *e = cab_lower_elem(k, n->in[0], ix);
    if (k->state != CAB_KERNEL_OK)
        return;
    cab_dtype acc = cab_lower_acc_type(e->dtype);
    int view = cab_kernel_view(k, to, &v->type, ix, true);
    cab_spec_scan(k->s, mask, red, acc, cab_attr_int(n, "exclusive") != 0, view,
                  cab_ex_cast(k->s, acc, e));
}

static cab_store_mode mode_of(const cab_node *n)
{
    cab_store_mode mode;
    if (!cab_scatter_mode(cab_attr_str(n, "op"), &mode))
        CAB_UNREACHABLE();
    return mode;
}

/* Where updates are not known to be as short as the result. */
static void guard_axes(cab_kernel *k, cab_view *w, const cab_type *y, const cab_type *u,
                       int axis, const cab_ix *ix)
{
    for (int a = 0; a < y->rank; a++) {
        if (a == axis || y->dims[a] == u->dims[a] || cab_dim_lt(y->dims[a], u->dims[a]) == 0)
            continue;
        if (w->n_guards == CAB_SPEC_GUARDS) {
            cab_kernel_fail(k, "too many axes may be longer than the operand's");
            return;
        }
        w->guard[w->n_guards++] = (cab_spec_guard){ ix[a].at, y->dims[a] };
    }
}

void cab_lower_scatter(cab_kernel *k, cab_value *v, const cab_place *to)
{
    const cab_node *n = v->def;
    cab_value *index = n->in[1], *u = n->in[2];
    int axis = axis_of(n);
    cab_ix ix[CAB_MAX_RANK], at[CAB_MAX_RANK];
    uint32_t mask = make_axes(k, v, &u->type, axis, ix);
    for (int a = 0; a < v->type.rank && k->state == CAB_KERNEL_OK; a++)
        at[a] = cab_dim_is(index->type.dims[a], 1) ? cab_ix_zero(k) : ix[a];
    if (k->state != CAB_KERNEL_OK)
        return;
    const cab_expr *row = cab_lower_elem(k, index, at), *e = cab_lower_elem(k, u, ix);
    if (k->state != CAB_KERNEL_OK)
        return;
    /* The view of row 0, moved by the index. */
    ix[axis] = cab_ix_zero(k);
    int view = cab_kernel_view(k, to, &v->type, ix, true);
    cab_view *w = &k->s->views.p[view];
    CAB_ASSERT(w->n_loaded == 0);
    w->loaded[w->n_loaded++] = (struct cab_loaded){ row, to->stride[axis], v->type.dims[axis] };
    guard_axes(k, w, &v->type, &u->type, axis, ix);
    cab_spec_store_with(k->s, mask, mode_of(n), view, cab_ex_cast(k->s, v->type.dtype, e));
}
