/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_window.c - taps of a window that fall on zeroes beside the operand.
 *
 * A sum of products one factor of which has a halo (cab_view.halo) need not
 * walk the taps that meet nothing else: of 5x5 taps over 7x7 points a third.
 * Along a loop outside the tile the first and last tap follow from where the
 * window stands.  Along the rows of a tile that stands at a known place, as
 * those at the border do, the code of a tap leaves out the rows for which it
 * meets nothing.  What is left out would have added zeroes, so results do not
 * depend on it.
 */
#include "codegen/gen_int.h"

/* The view that makes e zero where it loads zero; -1 = none has a halo. */
static int zero_with(const cab_spec *s, const cab_expr *e)
{
    int v;

    if (e->op == CAB_EX_cast)
        return zero_with(s, e->arg[0]);
    if (e->op == CAB_EX_mul)
        return (v = zero_with(s, e->arg[0])) >= 0 ? v : zero_with(s, e->arg[1]);
    return e->op == CAB_EX_LOAD && s->views.p[e->u.index].n_halo ? e->u.index : -1;
}

/* Does the halo depend on the tap and one parallel axis, in known steps? */
static bool read_halo(const cab_spec *s, const cab_spec_guard *h, int tap, cab_window *out)
{
    const cab_dim *t = h->at.coef[tap], *by = NULL;

    out->axis = -1;
    for (int i = 0; i < s->n_axes; i++) {
        if (i == tap || !h->at.coef[i])
            continue;
        if (by || s->axis[i].kind != CAB_AXIS_PAR)
            return false;
        out->axis = i;
        by = h->at.coef[i];
    }
    if (!t || !by || !cab_dim_is_const(t) || !cab_dim_is_const(by) || t->value < 1 || by->value < 1 ||
        !cab_dim_is_const(h->at.base))
        return false;
    out->dilation = t->value;
    out->stride = by->value;
    out->first = h->at.base->value;
    out->extent = h->extent;
    return true;
}

bool cab_window_find(const cab_spec *s, const cab_stage *st, int tap, cab_window *out)
{
    int view = -1;

    if (st->kind == CAB_STAGE_REDUCE && st->red == CAB_RED_SUM && st->axes >> tap & 1)
        view = zero_with(s, st->value);
    for (int i = 0; view >= 0 && i < s->views.p[view].n_halo; i++)
        if (read_halo(s, &s->views.p[view].halo[i], tap, out))
            return true;
    return false;
}

static bool meets(const cab_window *w, int64_t step, int64_t tap)
{
    int64_t at = w->first + w->stride * step + w->dilation * tap;

    return at >= 0 && at < w->extent->value;
}

double cab_window_share(const cab_spec *s, const cab_window *w, int tap)
{
    const cab_dim *steps = s->axis[w->axis].extent, *taps = s->axis[tap].extent;
    int64_t all, n = 0;

    if (!cab_dim_is_const(steps) || !cab_dim_is_const(taps) || !cab_dim_is_const(w->extent))
        return 0;
    all = steps->value * taps->value;
    if (all < 1 || all > 1 << 20)
        return 0;
    for (int64_t i = 0; i < steps->value; i++)
        for (int64_t t = 0; t < taps->value; t++)
            n += meets(w, i, t);
    return 1 - (double)n / (double)all;
}

void cab_gen_window_taps(cab_gen *g, const cab_window *w, int tap, cab_kv *lo, cab_kv *hi)
{
    cab_kir *k = g->k;
    cab_kv by = cab_k_i64(k, w->dilation), at = cab_gen_index(g, w->axis), up;

    at = cab_k_op2(k, CAB_K_mul, at, cab_k_i64(k, w->stride));
    /* Rounded up: dilation - 1 more than what is between here and the operand. */
    up = cab_k_op2(k, CAB_K_sub, cab_k_i64(k, w->dilation - 1 - w->first), at);
    *lo = cab_k_op2(k, CAB_K_max, cab_k_op2(k, CAB_K_div, up, by), cab_k_i64(k, 0));
    up = cab_k_op2(k, CAB_K_add, up, cab_gen_dim(g, w->extent));
    *hi = cab_k_op2(k, CAB_K_min, cab_k_op2(k, CAB_K_div, up, by),
                    cab_gen_dim(g, g->s->axis[tap].extent));
}

uint64_t cab_gen_window_rows(const cab_gen *g, const cab_window *w, int64_t tap)
{
    uint64_t none = 0;
    int64_t at;

    if (!cab_k_is_const(g->k, g->at[w->axis].base, &at) || !cab_dim_is_const(w->extent))
        return 0;
    for (int row = 0; row < g->rows; row++)
        if (!meets(w, at + row, tap))
            none |= (uint64_t)1 << row;
    return none;
}

bool cab_gen_rows_at_border(const cab_gen *g)
{
    const cab_spec *s = g->s;
    cab_window w;

    if (!(g->sched->skip & CAB_SKIP_ROWS) || g->sched->mr <= 1)
        return false;
    for (size_t i = 0; i < s->stages.n; i++)
        for (int a = 0; a < s->n_axes; a++)
            if (cab_window_find(s, &s->stages.p[i], a, &w) && w.axis == g->sched->m_axis)
                return true;
    return false;
}
