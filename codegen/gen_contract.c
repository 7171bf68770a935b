/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_contract.c - recognising sums of products; packed operands.
 *
 * Stage 0 must be the sum of a * b over reduction axes, a and b loads (casts
 * allowed).  Parallel axes fall into those of a alone (rows), of b alone
 * (columns), of both (batches) and of neither.  A constant b is packed into
 * panels of PANEL columns (fewer when there are no more), rows of a panel in
 * the order the reduction walks them.  The form depends on the Spec alone, so
 * that code for every target reads the same bytes; a wide tile reads several
 * panels, a narrow one a part of one.  Panels whose rows would fall on the
 * same cache sets get one row of zeros between them.
 */
#include <string.h>
#include "codegen/gen_int.h"

enum {
    PANEL = 16,
    ALIAS_BYTES = 1024         /* panels apart by these meet in few cache sets */
};

static int loaded_view(const cab_expr *e)
{
    while (e->op == CAB_EX_cast)
        e = e->arg[0];
    return e->op == CAB_EX_LOAD ? e->u.index : -1;
}

static void classify(const cab_spec *s, cab_contraction *c)
{
    uint32_t a = cab_gen_view_axes(s, c->a), b = cab_gen_view_axes(s, c->b);

    c->batch = c->m = c->n = c->free = 0;
    for (int i = 0; i < s->n_axes; i++) {
        uint32_t bit = 1u << i;
        if (s->axis[i].kind == CAB_AXIS_RED)
            continue;
        *(a & bit ? b & bit ? &c->batch : &c->m : b & bit ? &c->n : &c->free) |= bit;
    }
}

bool cab_contraction_find(const cab_spec *s, cab_contraction *out)
{
    const cab_stage *st = s->stages.n ? &s->stages.p[0] : NULL;

    *out = (cab_contraction){ -1, -1, 0, 0, 0, 0, 0 };
    if (!st || st->kind != CAB_STAGE_REDUCE || st->red != CAB_RED_SUM ||
        st->value->op != CAB_EX_mul)
        return false;
    for (size_t i = 1; i < s->stages.n; i++)
        if (s->stages.p[i].kind != CAB_STAGE_STORE || s->stages.p[i].axes)
            return false;
    out->a = loaded_view(st->value->arg[0]);
    out->b = loaded_view(st->value->arg[1]);
    out->k = st->axes;
    if (out->a < 0 || out->b < 0)
        return false;
    classify(s, out);
    return true;
}

void cab_contraction_swap(const cab_spec *s, cab_contraction *c)
{
    int a = c->a;

    c->a = c->b;
    c->b = a;
    classify(s, c);
}

/* Is the operand of the view read by that view alone, at constant offsets? */
static bool packable(const cab_spec *s, int view)
{
    const cab_view *v = &s->views.p[view];

    for (size_t i = 0; i < s->views.n; i++)
        if ((int)i != view && s->views.p[i].operand == v->operand)
            return false;
    for (int i = 0; i < s->n_axes; i++)
        if (v->at.coef[i] &&
            (!cab_dim_is_const(v->at.coef[i]) || !cab_dim_is_const(s->axis[i].extent)))
            return false;
    return !v->n_guards && !v->n_loaded && cab_dim_is_const(v->at.base) &&
           cab_dtype_bits(v->dtype) >= 8;
}

static void pack_dim(cab_pack *p, int64_t n, int64_t coef)
{
    p->dims[p->n_dims] = n;
    p->coef[p->n_dims++] = coef;
}

/* Columns of a panel: the least power of two that holds n, at most PANEL. */
static int64_t panel_columns(int64_t n)
{
    int64_t w = PANEL;

    while (w > 2 && w / 2 >= n)
        w /= 2;
    return w;
}

static int64_t panel_bytes(const cab_pack *p)
{
    int64_t n = cab_dtype_bits(p->dtype) / 8;

    for (int i = p->hi + 1; i < p->n_dims; i++)
        n *= p->dims[i];
    return n;
}

bool cab_contraction_pack(const cab_spec *s, const cab_contraction *c, int n_axis, cab_pack *p)
{
    const cab_view *v = &s->views.p[c->b];
    int64_t width;
    int used = 2;

    memset(p, 0, sizeof *p);
    if (!packable(s, c->b) || !v->at.coef[n_axis])
        return false;
    for (int i = 0; i < s->n_axes; i++)
        used += i != n_axis && v->at.coef[i];
    if (used > 8)
        return false;
    p->operand = v->operand;
    p->dtype = v->dtype;
    p->base = v->at.base->value;
    p->bound = s->axis[n_axis].extent->value;
    width = panel_columns(p->bound);
    for (int i = 0; i < s->n_axes; i++)
        if (s->axis[i].kind == CAB_AXIS_PAR && i != n_axis && v->at.coef[i])
            pack_dim(p, s->axis[i].extent->value, v->at.coef[i]->value);
    p->hi = p->n_dims;
    pack_dim(p, (p->bound + width - 1) / width, v->at.coef[n_axis]->value * width);
    for (int i = 0; i < s->n_axes; i++)
        if (s->axis[i].kind == CAB_AXIS_RED && i != n_axis && v->at.coef[i])
            pack_dim(p, s->axis[i].extent->value, v->at.coef[i]->value);
    p->lo = p->n_dims;
    pack_dim(p, width, v->at.coef[n_axis]->value);
    p->pad = panel_bytes(p) % ALIAS_BYTES == 0 ? (int)width : 0;
    return true;
}

void cab_gen_use_packed(cab_gen *g, const cab_contraction *c, int n_axis, const cab_pack *p)
{
    const cab_view *v = &g->s->views.p[c->b];
    cab_gen_affine *f = &g->affines[g->view_affine[c->b]];
    const cab_sched *sc = g->sched;
    bool along = g->s->axis[n_axis].kind == CAB_AXIS_RED;
    int cols = along ? sc->unroll : sc->nv, d = 0;
    int64_t stride[8], width = (int64_t)(cols > 1 ? cols : 1) * sc->lanes;

    stride[p->n_dims - 1] = 1;
    for (int i = p->n_dims - 1; i > 0; i--)
        stride[i - 1] = stride[i] * p->dims[i] + (i - 1 == p->hi ? p->pad : 0);
    g->packed.base = cab_dim_const(g->dims, 0);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < g->s->n_axes; i++) {
            bool red = g->s->axis[i].kind == CAB_AXIS_RED;
            if (i == n_axis || !v->at.coef[i] || red != pass)
                continue;
            g->packed.coef[i] = cab_dim_const(g->dims, stride[d++]);
        }
        if (!pass)
            d++;               /* the panel dim */
    }
    g->packed.coef[n_axis] = cab_dim_const(g->dims, 1);
    g->panels = (cab_gen_panels){ .axis = n_axis, .cols = p->dims[p->lo], .stride = stride[p->hi] };
    g->panels.more = p->bound > width || (!along && p->hi > 0);
    /* What rounds of several vectors leave of a sum may start inside a panel. */
    g->panels.whole = along ? sc->lanes % p->dims[p->lo] == 0
                            : p->bound <= width || width % p->dims[p->lo] == 0;
    g->panels.inside = g->panels.cols % width == 0;
    f->f = &g->packed;
    f->packed = true;
}
