/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_simplify.c - fewer axes, shared expressions, same meaning.
 *
 * Axes of extent 1 go; a pair of axes that every view and guard walks as one
 * (outer coefficient = inner coefficient * inner extent) becomes one axis.
 * Parallel axes merge in any order; reduction axes only when they follow each
 * other in every stage that loops over them, so the order of a fold (and an
 * argmax index) stays what it was.  Equal expressions become one node.
 * Axis numbers are changed once, at the end: until then a removed axis is
 * only marked dead.
 */
#include "ir/spec_int.h"
#include <string.h>

typedef struct simplify {
    cab_spec *s;
    uint32_t dead;             /* removed axes */
    uint32_t named;            /* axes some expression reads the index of */
    cab_ex_list list;
    cab_map *cse;              /* node contents -> node */
    const cab_expr **now;      /* per place in list: the rewritten node */
} simplify;

static bool walks_as_one(const simplify *y, const cab_affine *f, int i, int j)
{
    const cab_dim *ci = f->coef[i], *cj = f->coef[j];
    if (!ci || !cj)
        return ci == cj;
    return ci == cab_dim_mul(y->s->dims, cj, y->s->axis[j].extent);
}

/* Can i (outer) and j (inner) be one axis in all the stages? */
static bool stages_agree(const simplify *y, int i, int j)
{
    const cab_spec *s = y->s;
    uint32_t both = 1u << i | 1u << j;
    if (s->axis[i].kind != s->axis[j].kind)
        return false;
    if (s->axis[i].kind == CAB_AXIS_PAR)
        return true;
    if (i > j)
        return false;
    uint32_t between = (1u << j) - (2u << i);
    for (size_t k = 0; k < s->stages.n; k++) {
        uint32_t m = s->stages.p[k].axes & ~y->dead;
        if ((m & both) && ((m & both) != both || (m & between)))
            return false;
    }
    return true;
}

static bool can_merge(const simplify *y, int i, int j)
{
    const cab_spec *s = y->s;
    if (((y->dead | y->named) & (1u << i | 1u << j)) || !stages_agree(y, i, j))
        return false;
    for (size_t k = 0; k < s->views.n; k++) {
        const cab_view *v = &s->views.p[k];
        if (!walks_as_one(y, &v->at, i, j))
            return false;
        for (int g = 0; g < v->n_guards; g++)
            if (!walks_as_one(y, &v->guard[g].at, i, j))
                return false;
    }
    return true;
}

/* What is only good to know does not keep axes apart. */
static void merge_halo(const simplify *y, cab_view *v, int i, int j)
{
    int n = 0;
    for (int h = 0; h < v->n_halo; h++) {
        if (!walks_as_one(y, &v->halo[h].at, i, j))
            continue;
        v->halo[n] = v->halo[h];
        v->halo[n++].at.coef[i] = v->halo[h].at.coef[j];
    }
    v->n_halo = n;
}

static void merge(simplify *y, int i, int j)
{
    cab_spec *s = y->s;
    for (size_t k = 0; k < s->views.n; k++)
        merge_halo(y, &s->views.p[k], i, j);
    s->axis[i].extent = cab_dim_mul(s->dims, s->axis[i].extent, s->axis[j].extent);
    for (size_t k = 0; k < s->views.n; k++) {
        cab_view *v = &s->views.p[k];
        v->at.coef[i] = v->at.coef[j];
        for (int g = 0; g < v->n_guards; g++)
            v->guard[g].at.coef[i] = v->guard[g].at.coef[j];
    }
    y->dead |= 1u << j;
}

static bool merge_one(simplify *y)
{
    for (int i = 0; i < y->s->n_axes; i++)
        for (int j = 0; j < y->s->n_axes; j++)
            if (i != j && can_merge(y, i, j)) {
                merge(y, i, j);
                return true;
            }
    return false;
}

static int new_number(const simplify *y, int axis)
{
    return axis - __builtin_popcount(y->dead & ((1u << axis) - 1));
}

static void affine_renumber(const simplify *y, cab_affine *f)
{
    cab_affine r = { .base = f->base };
    for (int i = 0; i < y->s->n_axes; i++)
        if (!(y->dead >> i & 1))
            r.coef[new_number(y, i)] = f->coef[i];
    *f = r;
}

static uint32_t mask_renumber(const simplify *y, uint32_t m)
{
    uint32_t r = 0;
    for (int i = 0; i < y->s->n_axes; i++)
        if (m & ~y->dead & 1u << i)
            r |= 1u << new_number(y, i);
    return r;
}

static const cab_expr *now_of(const simplify *y, const cab_expr *e)
{
    return e ? y->now[cab_ex_list_at(&y->list, e)] : NULL;
}

static const cab_expr *rewrite(simplify *y, const cab_expr *e)
{
    cab_expr c;
    memset(&c, 0, sizeof c);   /* the bytes are the key: no loose padding */
    c.op = e->op;
    c.dtype = e->dtype;
    c.u = e->u;
    for (int k = 0; k < 3; k++)
        c.arg[k] = now_of(y, e->arg[k]);
    if (c.op == CAB_EX_AXIS) {
        int axis = c.u.index;
        memset(&c.u, 0, sizeof c.u);
        if (y->dead >> axis & 1)
            c.op = CAB_EX_CONST;
        else
            c.u.index = new_number(y, axis);
    }
    const cab_expr *same = cab_map_get(y->cse, &c, sizeof c);
    if (same)
        return same;
    cab_expr *n = cab_dup(y->s->arena, &c, sizeof c);
    cab_map_set(y->cse, &c, sizeof c, n);
    return n;
}

static void rewrite_all(simplify *y)
{
    cab_spec *s = y->s;
    y->now = CAB_NEW_N(s->arena, const cab_expr *, y->list.v.n);
    y->cse = cab_map_create(s->arena);
    for (size_t i = 0; i < y->list.v.n; i++)
        y->now[i] = rewrite(y, y->list.v.p[i]);
    for (size_t i = 0; i < s->views.n; i++) {
        cab_view *v = &s->views.p[i];
        affine_renumber(y, &v->at);
        for (int g = 0; g < v->n_guards; g++)
            affine_renumber(y, &v->guard[g].at);
        for (int h = 0; h < v->n_halo; h++)
            affine_renumber(y, &v->halo[h].at);
        for (int k = 0; k < v->n_loaded; k++)
            v->loaded[k].index = now_of(y, v->loaded[k].index);
    }
    for (size_t i = 0; i < s->stages.n; i++) {
        cab_stage *st = &s->stages.p[i];
        st->axes = mask_renumber(y, st->axes);
        st->value = now_of(y, st->value);
    }
    int n = 0;
    for (int i = 0; i < s->n_axes; i++)
        if (!(y->dead >> i & 1))
            s->axis[n++] = s->axis[i];
    s->n_axes = n;
}

void cab_spec_simplify(cab_spec *s)
{
    simplify y = { .s = s, .list = cab_ex_list_on(s->arena, s) };
    cab_ex_list_add_all(&y.list);
    for (size_t i = 0; i < y.list.v.n; i++)
        if (y.list.v.p[i]->op == CAB_EX_AXIS)
            y.named |= 1u << y.list.v.p[i]->u.index;
    for (int i = 0; i < s->n_axes; i++)
        if (cab_dim_is(s->axis[i].extent, 1))
            y.dead |= 1u << i;
    while (merge_one(&y))
        ;
    rewrite_all(&y);
}
