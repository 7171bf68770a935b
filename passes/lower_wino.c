/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_wino.c - the two ends of a convolution by F(4x4, 3x3): kernels that
 * read a tile whole and write a tile whole.
 *
 * m x m^T is taken in two halves.  The first half are stages over no axes,
 * whose results the stores of the second share; what follows the convolution
 * (bias, activation, a sum) is part of each store.
 */
#include "ir/wino.h"
#include "passes/lower_int.h"

/* sum of m[p] * x[p * step], without the terms that are 0 and the products by 1. */
static const cab_expr *row(cab_kernel *k, const double *m, const cab_expr *const *x, int step)
{
    const cab_expr *sum = NULL;
    for (int p = 0; p < CAB_WINO_IN; p++) {
        const cab_expr *t = x[p * step];
        double c = m[p];
        bool minus = sum && c < 0;
        if (c == 0)
            continue;
        c = minus ? -c : c;
        if (c != 1)
            t = cab_ex_scalar(k->s, CAB_EX_mul, CAB_DT_f32, t, cab_ex_const(k->s, CAB_DT_f32, c),
                              NULL);
        sum = !sum ? t : cab_ex_scalar(k->s, minus ? CAB_EX_sub : CAB_EX_add, CAB_DT_f32, sum, t,
                                       NULL);
    }
    return sum;
}

/* The first half: t[i][q], as results of stages. */
static void first_half(cab_kernel *k, const double *m, int rows, const cab_expr *const *x,
                       const cab_expr **t)
{
    for (int i = 0; i < rows; i++)
        for (int q = 0; q < CAB_WINO_IN; q++) {
            const cab_expr *e = row(k, m + i * CAB_WINO_IN, x + q, CAB_WINO_IN);
            int stage = cab_spec_reduce(k->s, 0, CAB_RED_SUM, CAB_DT_f32, e);
            t[i * CAB_WINO_IN + q] = cab_ex_result(k->s, stage);
        }
}

typedef struct tile { cab_ix n, th, tw, c, number; } tile;

/* Axes over images, tiles and channels, and the number of a tile. */
static bool make_axes(cab_kernel *k, const cab_dim *n, const cab_dim *const *tiles,
                      const cab_dim *channels, tile *t)
{
    const cab_dim *extent[] = { n, tiles[0], tiles[1], channels };
    cab_ix *ix[] = { &t->n, &t->th, &t->tw, &t->c };
    static const char *const names[] = { "n", "th", "tw", "c" };
    for (int i = 0; i < 4; i++) {
        *ix[i] = cab_ix_zero(k);
        if (cab_dim_is(extent[i], 1))
            continue;
        int lax = cab_kernel_lax(k, CAB_AXIS_PAR, extent[i], names[i]);
        if (lax < 0)
            return false;
        *ix[i] = cab_ix_axis(k, lax);
    }
    t->number = cab_ix_scale(k, &t->n, tiles[0]);
    t->number = cab_ix_add(k, &t->number, &t->th);
    t->number = cab_ix_scale(k, &t->number, tiles[1]);
    t->number = cab_ix_add(k, &t->number, &t->tw);
    return k->state == CAB_KERNEL_OK;
}

/* Position i of a tile along an axis. */
static cab_ix inside(cab_kernel *k, const cab_ix *t, int64_t i)
{
    cab_ix x = cab_ix_scale(k, t, cab_dim_const(k->l->d, CAB_WINO_OUT));
    return cab_ix_shift(k, &x, cab_dim_const(k->l->d, i));
}

void cab_lower_wino_in(cab_kernel *k, cab_value *v, const cab_place *to)
{
    const cab_node *n = v->def;
    cab_value *x = n->in[0];
    const cab_dim *const *tiles;
    const int64_t *pads;
    const cab_expr *d[36], *t[36];
    uint32_t guards = 0;
    tile at;
    cab_attr_dims(n, "dims", &tiles);
    cab_attr_ints(n, "pads_lo", &pads);
    if (!make_axes(k, x->type.dims[0], tiles, x->type.dims[1], &at))
        return;
    for (int a = 2; a < 4; a++)
        guards |= (uint32_t)!cab_halo_covers(k, n, a) << a;
    const cab_expr *zero = cab_ex_const(k->s, CAB_DT_f32, 0);
    for (int i = 0; i < 36 && k->state == CAB_KERNEL_OK; i++) {
        cab_ix ix[4] = { at.n, at.c, inside(k, &at.th, i / 6 - pads[0]),
                         inside(k, &at.tw, i % 6 - pads[1]) };
        d[i] = cab_lower_guarded(k, x, ix, guards, zero);
    }
    if (k->state != CAB_KERNEL_OK)
        return;
    first_half(k, cab_wino_bt[0], 6, d, t);
    for (int i = 0; i < 36; i++) {
        cab_ix ix[3] = { cab_ix_const(cab_dim_const(k->l->d, i)), at.number, at.c };
        int view = cab_kernel_view(k, to, &v->type, ix, true);
        cab_spec_store(k->s, 0, view, row(k, cab_wino_bt[i % 6], t + i / 6 * 6, 1));
    }
}

const cab_node *cab_wino_out_of(const cab_lower *l, const cab_node *n)
{
    if (n->op->id == CAB_OP_wino_out || n->group <= 0)
        return n->op->id == CAB_OP_wino_out ? n : NULL;
    const cab_members *m = &l->groups[n->group];
    for (size_t i = 0; i < m->v.n; i++)
        if (m->v.p[i]->op->id == CAB_OP_wino_out)
            return m->v.p[i];
    return NULL;
}

/* Elements beyond the result are neither read nor written. */
static void guard(cab_kernel *k, const cab_ix *ix, const cab_dim *extent)
{
    if (extent->divisor % CAB_WINO_OUT)
        k->guard[k->n_guards++] = (cab_spec_guard){ ix->at, extent };
}

void cab_lower_wino_out(cab_kernel *k, cab_value *v, const cab_place *to)
{
    const cab_node *n = cab_wino_out_of(k->l, v->def);
    cab_value *m = n->in[0];
    const cab_type *y = &n->out[0]->type;
    const cab_dim *four = cab_dim_const(k->l->d, CAB_WINO_OUT), *tiles[2];
    const cab_expr *x[36], *t[24];
    tile at;
    for (int i = 0; i < 2; i++)
        tiles[i] = cab_dim_ceildiv(k->l->d, y->dims[i + 2], four);
    if (v->type.rank != 4 || !make_axes(k, y->dims[0], tiles, y->dims[1], &at)) {
        cab_kernel_fail(k, "what follows the convolution changes its shape");
        return;
    }
    for (int i = 0; i < 36 && k->state == CAB_KERNEL_OK; i++) {
        cab_ix ix[3] = { cab_ix_const(cab_dim_const(k->l->d, i)), at.number, at.c };
        x[i] = cab_lower_elem(k, m, ix);
    }
    if (k->state != CAB_KERNEL_OK)
        return;
    first_half(k, cab_wino_at[0], 4, x, t);
    for (int i = 0; i < 16 && k->state == CAB_KERNEL_OK; i++) {
        cab_ix ix[4] = { at.n, at.c, inside(k, &at.th, i / 4), inside(k, &at.tw, i % 4) };
        k->wino = row(k, cab_wino_at[i % 4], t + i / 4 * 6, 1);
        k->n_guards = 0;
        k->guard_id = ++k->guard_serial;
        for (int a = 2; a < 4; a++)
            guard(k, &ix[a], y->dims[a]);
        const cab_expr *e = cab_lower_elem(k, v, ix);
        if (k->state != CAB_KERNEL_OK)
            break;
        int view = cab_kernel_view(k, to, &v->type, ix, true);
        cab_view *w = &k->s->views.p[view];
        w->n_guards = k->n_guards;
        for (int j = 0; j < k->n_guards; j++)
            w->guard[j] = k->guard[j];
        cab_spec_store(k->s, 0, view, cab_ex_cast(k->s, v->type.dtype, e));
    }
    k->n_guards = 0;
    k->wino = NULL;
}
