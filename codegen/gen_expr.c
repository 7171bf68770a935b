/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_expr.c - one value at the current point of the nest.
 *
 * Expressions become KIR by a table over scalar.def; f16 and bf16 compute in
 * f32.  What does not depend on the vector axis stays scalar and is spread
 * only where it meets a vector, so broadcasts cost nothing.  Loads at equal
 * addresses are shared within the visible code.
 */
#include <math.h>
#include "codegen/gen_int.h"

typedef enum form { FORM_NONE, FORM_OP1, FORM_OP2, FORM_CMP, FORM_MATH1, FORM_MATH2 } form;

typedef struct row {
    form form;
    int op;                    /* KIR op or comparison */
    cab_kv (*math1)(cab_kir *, cab_kv);
    cab_kv (*math2)(cab_kir *, cab_kv, cab_kv);
} row;

#define OP1(x) [CAB_EX_##x] = { FORM_OP1, CAB_K_##x, NULL, NULL }
#define OP2(x) [CAB_EX_##x] = { FORM_OP2, CAB_K_##x, NULL, NULL }
#define CMP(x, c) [CAB_EX_##x] = { FORM_CMP, CAB_KC_##c, NULL, NULL }
#define MATH1(x) [CAB_EX_##x] = { FORM_MATH1, 0, cab_k_##x, NULL }
#define MATH2(x, f) [CAB_EX_##x] = { FORM_MATH2, 0, NULL, cab_k_##f }

static const row rows[CAB_EX_COUNT] = {
    OP1(neg), OP1(abs), OP1(floor), OP1(ceil), OP1(rint), OP1(trunc), OP1(sqrt),
    OP2(add), OP2(sub), OP2(mul), OP2(div), OP2(min), OP2(max),
    OP2(and), OP2(or), OP2(xor), OP2(shl), OP2(shr),
    CMP(eq, EQ), CMP(ne, NE), CMP(lt, LT), CMP(le, LE),
    MATH1(exp), MATH1(log), MATH1(sin), MATH1(cos), MATH1(tan), MATH1(asin), MATH1(acos),
    MATH1(atan), MATH1(sinh), MATH1(cosh), MATH1(tanh), MATH1(asinh), MATH1(acosh),
    MATH1(atanh), MATH1(erf), MATH1(sign), MATH1(isnan), MATH1(isinf),
    MATH2(mod, pymod), MATH2(pow, pow), MATH2(rem, fmod),
};

static int lanes_of(const cab_gen *g, cab_kv v) { return cab_k_ins(g->k, v)->lanes; }

static cab_kv spread(cab_gen *g, cab_kv v, int lanes)
{
    return lanes_of(g, v) == lanes ? v : cab_k_splat(g->k, v, lanes);
}

cab_dtype cab_gen_type(cab_dtype dt)
{
    return dt == CAB_DT_f16 || dt == CAB_DT_bf16 ? CAB_DT_f32 : dt;
}

cab_kv cab_gen_dim(cab_gen *g, const cab_dim *x)
{
    if (cab_dim_is_const(x))
        return cab_k_i64(g->k, x->value);
    for (size_t i = 0; i < g->params.n; i++)
        if (g->params.p[i] == x)
            return cab_k_int(g->k, (int)i);
    cab_vec_push(g->arena, &g->params, x);
    g->k->n_ints = (int)g->params.n;
    return cab_k_int(g->k, g->k->n_ints - 1);
}

cab_kv cab_gen_const(cab_gen *g, cab_dtype dt, double f, int64_t i)
{
    dt = cab_gen_type(dt);
    return cab_dtype_is_float(dt) ? cab_k_const_f(g->k, dt, 1, f)
                                  : cab_k_const_i(g->k, dt, 1, i);
}

/* ---- addresses ---- */

static cab_kv add(cab_gen *g, cab_kv x, cab_kv y) { return cab_k_op2(g->k, CAB_K_add, x, y); }
static cab_kv mul(cab_gen *g, cab_kv x, cab_kv y) { return cab_k_op2(g->k, CAB_K_mul, x, y); }

/* From the first column of the tile to the current vector in a packed operand. */
static cab_kv panel_offset(cab_gen *g)
{
    const cab_gen_panels *p = &g->panels;
    int64_t off = g->at[p->axis].off, n = off % p->cols;
    cab_kv panels = cab_k_i64(g->k, off / p->cols * p->stride);

    return add(g, panels, n && !p->whole && !p->inside ? p->right[n] : cab_k_i64(g->k, n));
}

/* Scalar part of an affine function at the current point. */
static cab_kv scalar_part(cab_gen *g, const cab_gen_affine *f)
{
    const cab_gen_panels *p = &g->panels;
    cab_kv v = f->sum;

    for (int i = 0; i < g->s->n_axes; i++)
        if (f->packed && i == p->axis)
            v = add(g, v, panel_offset(g));
        else if (f->f->coef[i] && g->at[i].off)
            v = add(g, v, mul(g, cab_gen_dim(g, f->f->coef[i]), cab_k_i64(g->k, g->at[i].off)));
    return v;
}

static const cab_dim *lane_coef(const cab_gen *g, const cab_affine *f)
{
    return g->vec >= 0 ? f->coef[g->vec] : NULL;
}

/* v + coef * lane number, as a vector. */
static cab_kv along_lanes(cab_gen *g, cab_kv v, const cab_dim *coef)
{
    cab_kv n = cab_k_iota(g->k, CAB_DT_i64, g->lanes);

    if (!cab_dim_is(coef, 1))
        n = mul(g, n, cab_k_splat(g->k, cab_gen_dim(g, coef), g->lanes));
    return add(g, cab_k_splat(g->k, v, g->lanes), n);
}

cab_kv cab_gen_index(cab_gen *g, int axis)
{
    cab_kv v = add(g, g->at[axis].base, cab_k_i64(g->k, g->at[axis].off));

    if (axis != g->vec)
        return v;
    return add(g, cab_k_splat(g->k, v, g->lanes), cab_k_iota(g->k, CAB_DT_i64, g->lanes));
}

static cab_kv both(cab_gen *g, cab_kv x, cab_kv y)
{
    int n;

    if (x < 0 || y < 0)
        return x < 0 ? y : x;
    n = lanes_of(g, x) > lanes_of(g, y) ? lanes_of(g, x) : lanes_of(g, y);
    return cab_k_op2(g->k, CAB_K_and, spread(g, x, n), spread(g, y, n));
}

/* 0 <= at < extent, by one unsigned comparison. */
static cab_kv below(cab_gen *g, cab_kv at, const cab_dim *extent)
{
    cab_kv end = spread(g, cab_gen_dim(g, extent), lanes_of(g, at));

    return cab_k_cmp(g->k, CAB_KC_LT, cab_k_cast(g->k, CAB_DT_u64, at),
                     cab_k_cast(g->k, CAB_DT_u64, end));
}

/* All guards on affine functions; -1 = always. */
static cab_kv guard_mask(cab_gen *g, const cab_view *v, const cab_gen_affine *f)
{
    cab_kv mask = -1;

    for (int i = 0; i < v->n_guards; i++) {
        const cab_dim *c = lane_coef(g, f[i].f);
        cab_kv at = scalar_part(g, &f[i]);
        if (c)
            at = along_lanes(g, at, c);
        mask = both(g, mask, below(g, at, v->guard[i].extent));
    }
    return mask;
}

/* Where a view's access goes. */
typedef struct address {
    cab_kv index;              /* scalar, or one per lane */
    cab_kv mask;               /* -1 = unconditional */
    int64_t disp;              /* added to it */
    int lanes;                 /* 1: one element for all lanes */
    bool gather;
    bool packed;               /* in panels */
} address;

static address locate(cab_gen *g, int view)
{
    const cab_view *v = &g->s->views.p[view];
    const cab_gen_affine *f = &g->affines[g->view_affine[view]];
    const cab_dim *c = lane_coef(g, f->f);
    address a = { .index = scalar_part(g, f), .disp = g->view_offset[view],
                  .lanes = c ? g->lanes : 1, .packed = f->packed };
    cab_kv term[CAB_SPEC_LOADED];

    a.mask = guard_mask(g, v, f + 1);
    for (int i = 0; i < v->n_loaded; i++) {
        cab_kv x = cab_k_cast(g->k, CAB_DT_i64, cab_gen_value(g, v->loaded[i].index));
        if (v->loaded[i].extent)
            a.mask = both(g, a.mask, below(g, x, v->loaded[i].extent));
        term[i] = mul(g, x, spread(g, cab_gen_dim(g, v->loaded[i].stride), lanes_of(g, x)));
        a.gather |= lanes_of(g, x) > 1;
    }
    a.gather |= (c && !cab_dim_is(c, 1)) || (!c && a.mask >= 0 && lanes_of(g, a.mask) > 1);
    if (a.gather) {
        a.lanes = g->lanes;
        a.index = c ? along_lanes(g, a.index, c) : cab_k_splat(g->k, a.index, g->lanes);
    }
    for (int i = 0; i < v->n_loaded; i++)
        a.index = add(g, a.index, spread(g, term[i], lanes_of(g, a.index)));
    if (a.lanes > 1 && !f->packed)   /* packed panels are padded */
        a.mask = both(g, a.mask, g->mask);
    a.mask = both(g, a.mask, g->point);
    if (a.mask >= 0)
        a.mask = spread(g, a.mask, a.lanes);
    return a;
}

void cab_gen_prefetch(cab_gen *g, int view, int level)
{
    const cab_view *v = &g->s->views.p[view];
    address a;

    if (v->n_guards || v->n_loaded)
        return;
    a = locate(g, view);
    if (!a.gather && a.mask < 0)
        cab_k_prefetch(g->k, level, g->bufs[v->operand], a.index, a.disp);
}

static cab_kv load_at(cab_gen *g, const cab_view *v, const address *a)
{
    cab_kv ptr = g->bufs[v->operand];
    cab_gen_load l = { ptr, a->index, a->mask, -1, a->lanes, a->disp };
    bool keep = !g->s->operands[v->operand].written;

    for (size_t i = g->loads_from; keep && i < g->loads.n; i++) {
        const cab_gen_load *o = &g->loads.p[i];
        if (o->ptr == ptr && o->index == a->index && o->mask == a->mask && o->lanes == a->lanes &&
            o->disp == a->disp)
            return o->value;
    }
    if (a->packed)
        cab_gen_prefetch_panel(g, ptr, a->index);
    l.value = a->gather ? cab_k_ldx(g->k, v->dtype, a->lanes, ptr, a->index, a->disp, a->mask)
                        : cab_k_ld(g->k, v->dtype, a->lanes, ptr, a->index, a->disp, a->mask);
    if (keep)
        cab_vec_push(g->arena, &g->loads, l);
    return l.value;
}

/* The fill of a view of integers: truncated, saturated, as the evaluator has it. */
static int64_t whole_fill(const cab_view *v)
{
    int64_t x = cab_elem_i64(CAB_DT_f64, &v->fill, 0), lo = 0, hi = INT64_MAX;
    int bits = cab_dtype_bits(v->dtype);

    if (cab_dtype_is_signed(v->dtype))
        lo = bits < 64 ? -((int64_t)1 << (bits - 1)) : INT64_MIN;
    if (bits < 64)
        hi = ((int64_t)1 << (bits - cab_dtype_is_signed(v->dtype))) - 1;
    return x < lo ? lo : x > hi ? hi : x;
}

static cab_kv load_view(cab_gen *g, int view)
{
    const cab_view *v = &g->s->views.p[view];
    address a = locate(g, view);
    cab_kv x = cab_k_cast(g->k, cab_gen_type(v->dtype), load_at(g, v, &a)), fill;

    if (!cab_view_is_guarded(v) || v->fill == 0)
        return x;
    fill = cab_gen_const(g, v->dtype, v->fill, whole_fill(v));
    if (v->dtype != cab_gen_type(v->dtype))
        fill = cab_k_cast(g->k, CAB_DT_f32, cab_k_cast(g->k, v->dtype, fill));
    return cab_k_select(g->k, a.mask, x, spread(g, fill, lanes_of(g, x)));
}

/* min and max of bools. */
static cab_kop logical_op(cab_kop op)
{
    return op == CAB_K_min ? CAB_K_and : op == CAB_K_max ? CAB_K_or : op;
}

/* What stands there, combined with value by the mode. */
static cab_kv combined(cab_gen *g, const cab_view *v, const address *a, cab_store_mode mode,
                       cab_kv value)
{
    static const cab_kop ops[] = { [CAB_STORE_ADD] = CAB_K_add, [CAB_STORE_MUL] = CAB_K_mul,
                                   [CAB_STORE_MAX] = CAB_K_max, [CAB_STORE_MIN] = CAB_K_min };
    cab_dtype wide = cab_gen_type(v->dtype);
    bool logical = v->dtype == CAB_DT_bool;
    cab_kv x = cab_k_cast(g->k, wide, load_at(g, v, a));

    value = spread(g, cab_k_cast(g->k, wide, value), a->lanes);
    return cab_k_op2(g->k, logical ? logical_op(ops[mode]) : ops[mode], x, value);
}

void cab_gen_store(cab_gen *g, int view, cab_store_mode mode, cab_kv value)
{
    const cab_view *v = &g->s->views.p[view];
    address a = locate(g, view);

    /* Rounded before it is combined, as a value of the view's type is. */
    value = spread(g, cab_k_cast(g->k, v->dtype, value), a.lanes);
    if (mode != CAB_STORE_PLAIN)
        value = cab_k_cast(g->k, v->dtype, combined(g, v, &a, mode, value));
    if (a.gather)
        cab_k_stx(g->k, value, g->bufs[v->operand], a.index, a.disp, a.mask);
    else
        cab_k_st(g->k, value, g->bufs[v->operand], a.index, a.disp, a.mask);
}

/* ---- expressions ---- */

/* Values of one evaluation, so that a shared node is computed once. */
typedef struct known { const cab_expr *e; cab_kv v; } known;
typedef struct evaluation { CAB_VEC(known) v; } evaluation;

static cab_kv eval(cab_gen *g, evaluation *ev, const cab_expr *e);

static cab_kv apply2(cab_gen *g, const cab_expr *e, cab_kv x, cab_kv y)
{
    const row *r = &rows[e->op];
    int n = lanes_of(g, x) > lanes_of(g, y) ? lanes_of(g, x) : lanes_of(g, y);
    bool logical = e->arg[0]->dtype == CAB_DT_bool;

    x = spread(g, x, n);
    y = spread(g, y, n);
    if (r->form == FORM_CMP && logical) {
        x = cab_k_cast(g->k, CAB_DT_u8, x);
        y = cab_k_cast(g->k, CAB_DT_u8, y);
    }
    if (r->form == FORM_CMP)
        return cab_k_cmp(g->k, r->op, x, y);
    if (e->op == CAB_EX_rem && !cab_dtype_is_float(e->dtype))
        return cab_k_op2(g->k, CAB_K_rem, x, y);
    if (r->form == FORM_MATH2)
        return r->math2(g->k, x, y);
    CAB_ASSERT(r->form == FORM_OP2);
    return cab_k_op2(g->k, logical ? logical_op((cab_kop)r->op) : (cab_kop)r->op, x, y);
}

static cab_kv complement(cab_gen *g, const cab_expr *e, cab_kv x)
{
    return cab_k_op2(g->k, CAB_K_xor, x,
                     cab_k_const_i(g->k, e->dtype, lanes_of(g, x),
                                   e->dtype == CAB_DT_bool ? 1 : -1));
}

/* A cast to f16 or bf16 rounds, and goes on in f32. */
static cab_kv convert(cab_gen *g, const cab_expr *e, cab_kv x)
{
    cab_dtype from = e->arg[0]->dtype;

    /* A bool is a predicate in registers: its bits are its value. */
    if (e->op == CAB_EX_bitcast && from != CAB_DT_bool && e->dtype != CAB_DT_bool) {
        x = cab_k_bitcast(g->k, e->dtype, cab_k_cast(g->k, from, x));
        return cab_k_cast(g->k, cab_gen_type(e->dtype), x);
    }
    return cab_k_cast(g->k, cab_gen_type(e->dtype), cab_k_cast(g->k, e->dtype, x));
}

static cab_kv apply1(cab_gen *g, const cab_expr *e, cab_kv x)
{
    const row *r = &rows[e->op];

    if (e->op == CAB_EX_not)
        return complement(g, e, x);
    if (e->op == CAB_EX_cast || e->op == CAB_EX_bitcast)
        return convert(g, e, x);
    if (r->form == FORM_MATH1)
        return r->math1(g->k, x);
    CAB_ASSERT(r->form == FORM_OP1);
    return cab_k_op1(g->k, (cab_kop)r->op, x);
}

static cab_kv choose(cab_gen *g, evaluation *ev, const cab_expr *e)
{
    cab_kv v[3];
    int n = 1;

    for (int i = 0; i < 3; i++) {
        v[i] = eval(g, ev, e->arg[i]);
        n = lanes_of(g, v[i]) > n ? lanes_of(g, v[i]) : n;
    }
    return cab_k_select(g->k, spread(g, v[0], n), spread(g, v[1], n), spread(g, v[2], n));
}

static cab_kv compute(cab_gen *g, evaluation *ev, const cab_expr *e)
{
    cab_kv x;

    switch (e->op) {
    case CAB_EX_CONST: return cab_gen_const(g, e->dtype, e->u.f, e->u.i);
    case CAB_EX_DIM: return cab_gen_dim(g, e->u.dim);
    case CAB_EX_AXIS: return cab_gen_index(g, e->u.index);
    case CAB_EX_LOAD: return load_view(g, e->u.index);
    case CAB_EX_RESULT: return g->results[e->u.index][g->row * g->cols + g->col];
    case CAB_EX_select: return choose(g, ev, e);
    default: break;
    }
    x = eval(g, ev, e->arg[0]);
    return e->arg[1] ? apply2(g, e, x, eval(g, ev, e->arg[1])) : apply1(g, e, x);
}

static cab_kv eval(cab_gen *g, evaluation *ev, const cab_expr *e)
{
    known k = { e, -1 };

    if (g->staged_by >= 0 && g->stage > g->staged_by &&
        e == g->s->stages.p[g->staged_by].value)
        return load_view(g, g->staged_view);
    for (size_t i = 0; i < ev->v.n; i++)
        if (ev->v.p[i].e == e)
            return ev->v.p[i].v;
    k.v = compute(g, ev, e);
    cab_vec_push(g->arena, &ev->v, k);
    return k.v;
}

cab_kv cab_gen_value(cab_gen *g, const cab_expr *e)
{
    evaluation ev = { { 0 } };
    return eval(g, &ev, e);
}

/* ---- which axes matter ---- */

static uint32_t affine_axes(const cab_spec *s, const cab_affine *f)
{
    uint32_t m = 0;

    for (int i = 0; i < s->n_axes; i++)
        m |= (uint32_t)(f->coef[i] != NULL) << i;
    return m;
}

static uint32_t walk(const cab_spec *s, cab_map *seen, const cab_expr *e);

static uint32_t walk_view(const cab_spec *s, cab_map *seen, int view)
{
    const cab_view *v = &s->views.p[view];
    uint32_t m = affine_axes(s, &v->at);

    for (int i = 0; i < v->n_guards; i++)
        m |= affine_axes(s, &v->guard[i].at);
    for (int i = 0; i < v->n_loaded; i++)
        m |= walk(s, seen, v->loaded[i].index);
    return m;
}

static uint32_t walk(const cab_spec *s, cab_map *seen, const cab_expr *e)
{
    uint32_t m = 0;

    if (cab_map_getu(seen, (uint64_t)(uintptr_t)e))
        return 0;
    cab_map_setu(seen, (uint64_t)(uintptr_t)e, seen);
    if (e->op == CAB_EX_AXIS)
        return 1u << e->u.index;
    if (e->op == CAB_EX_LOAD)
        return walk_view(s, seen, e->u.index);
    for (int i = 0; i < 3 && e->arg[i]; i++)
        m |= walk(s, seen, e->arg[i]);
    return m;
}

uint32_t cab_gen_view_axes(const cab_spec *s, int view)
{
    cab_mark k = cab_arena_mark(s->arena);
    uint32_t m = walk_view(s, cab_map_create(s->arena), view);

    cab_arena_release(s->arena, k);
    return m;
}

uint32_t cab_gen_expr_axes(const cab_spec *s, const cab_expr *e)
{
    cab_mark k = cab_arena_mark(s->arena);
    uint32_t m = walk(s, cab_map_create(s->arena), e);

    cab_arena_release(s->arena, k);
    return m;
}
