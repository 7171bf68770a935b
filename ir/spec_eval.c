/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_eval.c - the reference meaning of a Spec: stages run point by point.
 *
 * Dimension expressions become numbers once; then every point of the parallel
 * axes runs the stages with each expression node evaluated once per point, all
 * of them (a select evaluates both sides, as a kernel does), and every access
 * checked against its operand's size.  Slow on purpose; for small shapes.
 */
#include "ir/eval_int.h"
#include "ir/spec_int.h"
#include <string.h>

typedef struct number_affine { int64_t base, coef[CAB_SPEC_AXES]; } number_affine;

typedef struct number_view {
    number_affine at;
    int64_t elems;
    int64_t stride[CAB_SPEC_LOADED];
    int64_t within[CAB_SPEC_LOADED];   /* -1: any index */
    uint32_t index[CAB_SPEC_LOADED];   /* slots */
    number_affine guard[CAB_SPEC_GUARDS];
    int64_t extent[CAB_SPEC_GUARDS];
    cab_scalar fill;
} number_view;

typedef struct slot { cab_scalar v; uint32_t arg[3]; int64_t dim; } slot;

typedef struct machine {
    const cab_spec *s;
    void *const *bufs;
    cab_env *env;
    cab_diag *d;
    cab_arena *a;
    int64_t extent[CAB_SPEC_AXES], at[CAB_SPEC_AXES];
    number_view *views;
    cab_ex_list all;
    slot *slots;               /* per place in all */
    CAB_VEC(uint32_t) *needs;  /* per stage: slots to compute, in order */
    cab_scalar *results;       /* per stage */
} machine;

/* ---- numbers for dimension expressions ---- */
static cab_status number(machine *m, const cab_dim *x, int64_t *out)
{
    if (cab_env_eval(m->env, x, out))
        return CAB_OK;
    cab_mark k = cab_arena_mark(m->a);
    cab_buf b = cab_buf_on(m->a);
    cab_dim_print(&b, x);
    cab_status st = cab_spec_fail(m->s, m->d, "the value of %s is not known", cab_buf_cstr(&b));
    cab_arena_release(m->a, k);
    return st;
}

static cab_status number_of_affine(machine *m, const cab_affine *f, number_affine *out)
{
    CAB_TRY(number(m, f->base, &out->base));
    for (int i = 0; i < m->s->n_axes; i++)
        if (f->coef[i])
            CAB_TRY(number(m, f->coef[i], &out->coef[i]));
    return CAB_OK;
}

static cab_status number_of_view(machine *m, const cab_view *v, number_view *out)
{
    CAB_TRY(number_of_affine(m, &v->at, &out->at));
    CAB_TRY(number(m, m->s->operands[v->operand].elems, &out->elems));
    for (int k = 0; k < v->n_loaded; k++) {
        CAB_TRY(number(m, v->loaded[k].stride, &out->stride[k]));
        out->within[k] = -1;
        if (v->loaded[k].extent)
            CAB_TRY(number(m, v->loaded[k].extent, &out->within[k]));
        out->index[k] = cab_ex_list_at(&m->all, v->loaded[k].index);
    }
    for (int g = 0; g < v->n_guards; g++) {
        CAB_TRY(number_of_affine(m, &v->guard[g].at, &out->guard[g]));
        CAB_TRY(number(m, v->guard[g].extent, &out->extent[g]));
    }
    out->fill = cab_scalar_cast(CAB_DT_f64, v->dtype, (cab_scalar){ .f = v->fill });
    return CAB_OK;
}

static cab_status prepare_slots(machine *m)
{
    m->slots = CAB_NEW_N(m->a, slot, m->all.v.n);
    for (size_t i = 0; i < m->all.v.n; i++) {
        const cab_expr *e = m->all.v.p[i];
        for (int k = 0; k < 3; k++)
            if (e->arg[k])
                m->slots[i].arg[k] = cab_ex_list_at(&m->all, e->arg[k]);
        if (e->op == CAB_EX_DIM)
            CAB_TRY(number(m, e->u.dim, &m->slots[i].dim));
    }
    return CAB_OK;
}

static void prepare_stage(machine *m, size_t i)
{
    const cab_stage *st = &m->s->stages.p[i];
    cab_ex_list l = cab_ex_list_on(m->a, m->s);
    cab_ex_list_add(&l, st->value);
    if (cab_stage_writes(st))
        for (int k = 0; k < m->s->views.p[st->view].n_loaded; k++)
            cab_ex_list_add(&l, m->s->views.p[st->view].loaded[k].index);
    for (size_t k = 0; k < l.v.n; k++)
        cab_vec_push(m->a, &m->needs[i], cab_ex_list_at(&m->all, l.v.p[k]));
}

static cab_status prepare(machine *m)
{
    const cab_spec *s = m->s;
    m->all = cab_ex_list_on(m->a, s);
    cab_ex_list_add_all(&m->all);
    CAB_TRY(prepare_slots(m));
    m->views = CAB_NEW_N(m->a, number_view, s->views.n);
    m->needs = cab_alloc_zero(m->a, s->stages.n, sizeof *m->needs);
    m->results = CAB_NEW_N(m->a, cab_scalar, s->stages.n);
    for (int i = 0; i < s->n_axes; i++)
        CAB_TRY(number(m, s->axis[i].extent, &m->extent[i]));
    for (size_t i = 0; i < s->views.n; i++)
        CAB_TRY(number_of_view(m, &s->views.p[i], &m->views[i]));
    for (size_t i = 0; i < s->stages.n; i++)
        prepare_stage(m, i);
    return CAB_OK;
}

/* ---- one point ---- */
/* Wraps instead of overflowing: a wild address then fails its bounds check. */
static int64_t affine_at(const machine *m, const number_affine *f)
{
    uint64_t v = (uint64_t)f->base;
    for (int i = 0; i < m->s->n_axes; i++)
        v += (uint64_t)f->coef[i] * (uint64_t)m->at[i];
    return (int64_t)v;
}

/* *out is -1 where a guard forbids the access. */
static cab_status address(machine *m, int view, int64_t *out)
{
    const cab_view *v = &m->s->views.p[view];
    const number_view *n = &m->views[view];
    for (int g = 0; g < v->n_guards; g++) {
        int64_t x = affine_at(m, &n->guard[g]);
        if (x < 0 || x >= n->extent[g]) {
            *out = -1;
            return CAB_OK;
        }
    }
    uint64_t at = (uint64_t)affine_at(m, &n->at);
    for (int k = 0; k < v->n_loaded; k++) {
        int64_t x = m->slots[n->index[k]].v.i;
        if (v->loaded[k].extent && (x < 0 || x >= n->within[k])) {
            *out = -1;
            return CAB_OK;
        }
        at += (uint64_t)x * (uint64_t)n->stride[k];
    }
    *out = (int64_t)at;
    if (at >= (uint64_t)n->elems || n->elems < 0)
        return cab_spec_fail(m->s, m->d, "view %d reaches offset %lld of operand %d, "
                             "which has %lld elements", view, (long long)*out,
                             v->operand, (long long)n->elems);
    return CAB_OK;
}

static cab_status load(machine *m, int view, cab_scalar *out)
{
    const cab_view *v = &m->s->views.p[view];
    int64_t at;
    CAB_TRY(address(m, view, &at));
    *out = at < 0 ? m->views[view].fill
                  : cab_scalar_load(v->dtype, m->bufs[v->operand], (uint64_t)at);
    return CAB_OK;
}

static cab_status compute(machine *m, uint32_t i)
{
    const cab_expr *e = m->all.v.p[i];
    slot *t = &m->slots[i];
    cab_scalar x[3] = { { .i = 0 } };
    switch (e->op) {
    case CAB_EX_CONST:
        if (cab_dtype_is_float(e->dtype))
            t->v.f = e->u.f;
        else
            t->v.i = e->u.i;
        return CAB_OK;
    case CAB_EX_DIM:
        t->v.i = t->dim;
        return CAB_OK;
    case CAB_EX_AXIS:
        t->v.i = m->at[e->u.index];
        return CAB_OK;
    case CAB_EX_LOAD:
        return load(m, e->u.index, &t->v);
    case CAB_EX_RESULT:
        t->v = m->results[e->u.index];
        return CAB_OK;
    default:
        for (int k = 0; k < 3 && e->arg[k]; k++)
            x[k] = m->slots[t->arg[k]].v;
        t->v = cab_scalar_apply(e->op, e->arg[e->op == CAB_EX_select]->dtype, e->dtype, x);
        return CAB_OK;
    }
}

static cab_scalar convert(cab_dtype from, cab_dtype to, cab_scalar v)
{
    return from == to ? v : cab_scalar_cast(from, to, v);
}

/* view <- v of type from. */
static cab_status store(machine *m, const cab_stage *st, cab_dtype from, cab_scalar v)
{
    const cab_view *w = &m->s->views.p[st->view];
    cab_scalar x[3] = { { .i = 0 } };
    int64_t at;
    CAB_TRY(address(m, st->view, &at));
    if (at < 0)
        return CAB_OK;
    v = convert(from, w->dtype, v);
    if (st->mode != CAB_STORE_PLAIN) {
        x[0] = cab_scalar_load(w->dtype, m->bufs[w->operand], (uint64_t)at);
        x[1] = v;
        v = cab_scalar_apply(cab_store_op(st->mode), w->dtype, w->dtype, x);
    }
    cab_scalar_store(w->dtype, m->bufs[w->operand], (uint64_t)at, v);
    return CAB_OK;
}

static cab_status stage_point(machine *m, size_t i, cab_fold *fold)
{
    const cab_stage *st = &m->s->stages.p[i];
    for (size_t k = 0; k < m->needs[i].n; k++)
        CAB_TRY(compute(m, m->needs[i].p[k]));
    cab_scalar v = m->slots[cab_ex_list_at(&m->all, st->value)].v;
    if (st->kind == CAB_STAGE_STORE)
        return store(m, st, st->value->dtype, v);
    if (st->kind == CAB_STAGE_SCAN && st->exclusive)
        CAB_TRY(store(m, st, st->acc, cab_fold_end(fold)));
    cab_fold_add(fold, convert(st->value->dtype, st->acc, v));
    if (st->kind == CAB_STAGE_SCAN && !st->exclusive)
        return store(m, st, st->acc, cab_fold_end(fold));
    return CAB_OK;
}

/* ---- loops ---- */
static bool any_point(const machine *m, uint32_t axes)
{
    for (int i = 0; i < m->s->n_axes; i++)
        if ((axes >> i & 1) && m->extent[i] <= 0)
            return false;
    return true;
}

/* Next point of those axes, row-major; false (and all zero) after the last. */
static bool next_point(machine *m, uint32_t axes)
{
    for (int i = m->s->n_axes - 1; i >= 0; i--) {
        if (!(axes >> i & 1))
            continue;
        if (++m->at[i] < m->extent[i])
            return true;
        m->at[i] = 0;
    }
    return false;
}

static cab_status run_stage(machine *m, size_t i)
{
    const cab_stage *st = &m->s->stages.p[i];
    cab_fold f = cab_fold_start(st->red, st->acc);
    if (any_point(m, st->axes))
        do
            CAB_TRY(stage_point(m, i, &f));
        while (next_point(m, st->axes));
    if (st->kind == CAB_STAGE_REDUCE)
        m->results[i] = cab_fold_end(&f);
    return CAB_OK;
}

static cab_status run_points(machine *m)
{
    uint32_t par = 0;
    for (int i = 0; i < m->s->n_axes; i++)
        par |= (uint32_t)(m->s->axis[i].kind == CAB_AXIS_PAR) << i;
    if (!any_point(m, par))
        return CAB_OK;
    do
        for (size_t i = 0; i < m->s->stages.n; i++)
            CAB_TRY(run_stage(m, i));
    while (next_point(m, par));
    return CAB_OK;
}

cab_status cab_spec_eval(cab_arena *scratch, const cab_spec *s, void *const *bufs,
                         cab_env *env, cab_diag *d)
{
    machine m = { .s = s, .bufs = bufs, .env = env, .d = d, .a = scratch };
    CAB_TRY(cab_spec_verify(s, d));
    cab_mark k = cab_arena_mark(scratch);
    cab_status st = prepare(&m);
    if (st == CAB_OK)
        st = run_points(&m);
    cab_arena_release(scratch, k);
    return st;
}
