/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cost.c - what a Spec must do: operations and bytes, as dimension expressions.
 *
 * Counted from the stages alone, so that every schedule is held to the same
 * figures.  A node of an expression that several places share counts once per
 * stage, and one that a stage's axes do not change once per parallel point: a
 * kernel need not do it more often.  Bytes are the distinct elements that the
 * views reach, each operand's never more than it has; guards are not looked
 * at.  Nothing here decides what code is made.
 */
#include "codegen/codegen_int.h"

/* ---- operations ---- */
typedef struct counter {
    const cab_spec *s;
    cab_map *seen;             /* expression -> 1 + whether the stage's axes change it */
    uint32_t axes;             /* of the stage */
    int64_t plain[2], special[2];  /* per parallel point; per point of the stage */
} counter;

static bool varies(counter *c, const cab_expr *x);

/* Sizes, indices and masks are not what a kernel is for. */
static bool is_counted(cab_dtype t)
{
    return t != CAB_DT_bool && t != CAB_DT_i64 && t != CAB_DT_u64;
}

static bool is_special(cab_expr_op op)
{
    return (op >= CAB_EX_exp && op <= CAB_EX_erf) || op == CAB_EX_pow;
}

static bool affine_varies(const counter *c, const cab_affine *f)
{
    for (int i = 0; i < c->s->n_axes; i++)
        if (c->axes >> i & 1 && f->coef[i] && !cab_dim_is(f->coef[i], 0))
            return true;
    return false;
}

/* Indices of it are counted nowhere; whether they vary is asked. */
static bool view_varies(counter *c, const cab_view *v)
{
    counter index = *c;
    bool any = affine_varies(c, &v->at);
    for (int i = 0; i < v->n_guards; i++)
        any = any || affine_varies(c, &v->guard[i].at);
    for (int i = 0; i < v->n_loaded; i++) {
        index.seen = cab_map_create(c->s->arena);
        any = any || varies(&index, v->loaded[i].index);
    }
    return any;
}

static bool leaf_varies(counter *c, const cab_expr *x)
{
    switch (x->op) {
    case CAB_EX_AXIS: return c->axes >> x->u.index & 1;
    case CAB_EX_LOAD: return view_varies(c, &c->s->views.p[x->u.index]);
    default: return false;
    }
}

static void count_node(counter *c, const cab_expr *x, bool per_point)
{
    cab_dtype t = x->dtype == CAB_DT_bool && x->arg[0] ? x->arg[0]->dtype : x->dtype;
    if (x->op == CAB_EX_cast || x->op == CAB_EX_bitcast || !is_counted(t))
        return;
    if (is_special(x->op))
        c->special[per_point]++;
    else
        c->plain[per_point]++;
}

static bool varies(counter *c, const cab_expr *x)
{
    uintptr_t known = (uintptr_t)cab_map_getu(c->seen, (uintptr_t)x);
    bool any = false;
    if (known)
        return known - 1;
    if (x->op < CAB_EX_SCALAR_) {
        any = leaf_varies(c, x);
    } else {
        for (int i = 0; i < 3 && x->arg[i]; i++)
            any |= varies(c, x->arg[i]);
        count_node(c, x, any);
    }
    cab_map_setu(c->seen, (uintptr_t)x, (void *)((uintptr_t)any + 1));
    return any;
}

static const cab_dim *points(const cab_spec *s, uint32_t axes)
{
    const cab_dim *n = cab_dim_const(s->dims, 1);
    for (int i = 0; i < s->n_axes; i++)
        if (axes >> i & 1)
            n = cab_dim_mul(s->dims, n, s->axis[i].extent);
    return n;
}

static uint32_t par_axes(const cab_spec *s)
{
    uint32_t m = 0;
    for (int i = 0; i < s->n_axes; i++)
        m |= (uint32_t)(s->axis[i].kind == CAB_AXIS_PAR) << i;
    return m;
}

static const cab_dim *total(const cab_spec *s, const cab_dim *par, const cab_dim *inner,
                            const int64_t n[2])
{
    cab_dims *d = s->dims;
    const cab_dim *each = cab_dim_mul(d, inner, cab_dim_const(d, n[1]));
    return cab_dim_mul(d, par, cab_dim_add(d, each, cab_dim_const(d, n[0])));
}

static void count_stage(const cab_spec *s, const cab_stage *st, const cab_dim *par, cab_cost *out)
{
    counter c = { .s = s, .seen = cab_map_create(s->arena), .axes = st->axes };
    const cab_dim *inner = points(s, st->axes);
    varies(&c, st->value);
    if (st->kind != CAB_STAGE_STORE)
        c.plain[1] += is_counted(st->acc);
    else if (st->mode != CAB_STORE_PLAIN)
        c.plain[1] += is_counted(s->views.p[st->view].dtype);
    out->flops = cab_dim_add(s->dims, out->flops, total(s, par, inner, c.plain));
    out->special = cab_dim_add(s->dims, out->special, total(s, par, inner, c.special));
}

/* ---- elements ---- */
typedef struct walk { int n; const cab_dim *coef[CAB_SPEC_AXES], *extent[CAB_SPEC_AXES]; } walk;

/* Axes i and j step through the same places: every i-step is k steps of j and
 * j has more than k of them, as windows of a convolution do.  The smallest
 * such k. */
static bool find_overlap(cab_dims *d, const walk *w, int *out_i, int *out_j, const cab_dim **out_k)
{
    *out_k = NULL;
    for (int i = 0; i < w->n; i++)
        for (int j = 0; j < w->n; j++) {
            const cab_dim *k = i == j ? NULL : cab_dim_divexact(d, w->coef[i], w->coef[j]);
            if (!k || !cab_dim_is_const(k) || k->value < 1 || !cab_dim_lt(k, w->extent[j]) ||
                (*out_k && k->value >= (*out_k)->value))
                continue;
            *out_i = i;
            *out_j = j;
            *out_k = k;
        }
    return *out_k != NULL;
}

static void join_overlap(cab_dims *d, walk *w, int i, int j, const cab_dim *k)
{
    const cab_dim *ei = w->extent[i], *ej = w->extent[j];
    const cab_dim *steps = cab_dim_mul(d, cab_dim_sub(d, ei, cab_dim_const(d, 1)), k);
    w->extent[j] = cab_dim_min(d, cab_dim_mul(d, ei, ej), cab_dim_add(d, steps, ej));
    w->n--;
    w->coef[i] = w->coef[w->n];
    w->extent[i] = w->extent[w->n];
}

/* Axes that the indices of the view follow, and the views in them. */
static uint32_t axes_of(const cab_spec *s, const cab_expr *x);

static uint32_t axes_of_affine(const cab_spec *s, const cab_affine *f)
{
    uint32_t m = 0;
    for (int i = 0; i < s->n_axes; i++)
        if (f->coef[i] && !cab_dim_is(f->coef[i], 0))
            m |= 1u << i;
    return m;
}

static uint32_t axes_of_loaded(const cab_spec *s, const cab_view *v)
{
    uint32_t m = 0;
    for (int i = 0; i < v->n_loaded; i++)
        m |= axes_of(s, v->loaded[i].index);
    return m;
}

static uint32_t axes_of(const cab_spec *s, const cab_expr *x)
{
    uint32_t m = 0;
    if (x->op == CAB_EX_AXIS)
        return 1u << x->u.index;
    if (x->op == CAB_EX_LOAD) {
        const cab_view *v = &s->views.p[x->u.index];
        return axes_of_affine(s, &v->at) | axes_of_loaded(s, v);
    }
    for (int i = 0; x->op >= CAB_EX_SCALAR_ && i < 3 && x->arg[i]; i++)
        m |= axes_of(s, x->arg[i]);
    return m;
}

static const cab_dim *view_elements(const cab_spec *s, const cab_view *v)
{
    cab_dims *d = s->dims;
    uint32_t mine = axes_of_affine(s, &v->at);
    const cab_dim *n = points(s, axes_of_loaded(s, v) & ~mine), *k;
    walk w = { 0 };
    int i, j;
    for (int a = 0; a < s->n_axes; a++)
        if (mine >> a & 1) {
            w.coef[w.n] = v->at.coef[a];
            w.extent[w.n++] = s->axis[a].extent;
        }
    while (find_overlap(d, &w, &i, &j, &k))
        join_overlap(d, &w, i, j, k);
    for (i = 0; i < w.n; i++)
        n = cab_dim_mul(d, n, w.extent[i]);
    return n;
}

/* ---- which views are used ---- */
static void use_expr(const cab_spec *s, const cab_expr *x, cab_map *seen, bool *used);

static void use_view(const cab_spec *s, int view, cab_map *seen, bool *used)
{
    const cab_view *v = &s->views.p[view];
    used[view] = true;
    for (int i = 0; i < v->n_loaded; i++)
        use_expr(s, v->loaded[i].index, seen, used);
}

static void use_expr(const cab_spec *s, const cab_expr *x, cab_map *seen, bool *used)
{
    if (cab_map_setu(seen, (uintptr_t)x, (void *)1))
        return;
    if (x->op == CAB_EX_LOAD)
        use_view(s, x->u.index, seen, used);
    for (int i = 0; x->op >= CAB_EX_SCALAR_ && i < 3 && x->arg[i]; i++)
        use_expr(s, x->arg[i], seen, used);
}

static bool *used_views(const cab_spec *s)
{
    cab_map *seen = cab_map_create(s->arena);
    bool *used = CAB_NEW_N(s->arena, bool, s->views.n + 1);
    for (size_t i = 0; i < s->stages.n; i++) {
        const cab_stage *st = &s->stages.p[i];
        use_expr(s, st->value, seen, used);
        if (st->kind != CAB_STAGE_REDUCE)
            use_view(s, st->view, seen, used);
    }
    return used;
}

/* Both reach the same elements, without loaded indices. */
static bool same_place(const cab_spec *s, const cab_view *a, const cab_view *b)
{
    bool same = a->operand == b->operand && a->at.base == b->at.base && !a->n_loaded && !b->n_loaded;
    for (int i = 0; i < s->n_axes; i++)
        same = same && a->at.coef[i] == b->at.coef[i];
    return same;
}

static const cab_dim *operand_bytes(const cab_spec *s, int operand, const bool *used)
{
    cab_dims *d = s->dims;
    const cab_dim *n = cab_dim_const(d, 0);
    for (size_t i = 0; i < s->views.n; i++) {
        bool again = !used[i] || s->views.p[i].operand != operand;
        for (size_t k = 0; k < i && !again; k++)
            again = used[k] && same_place(s, &s->views.p[k], &s->views.p[i]);
        if (!again)
            n = cab_dim_add(d, n, view_elements(s, &s->views.p[i]));
    }
    n = cab_dim_min(d, n, s->operands[operand].elems);
    n = cab_dim_mul(d, n, cab_dim_const(d, cab_dtype_bits(s->operands[operand].dtype)));
    return cab_dim_ceildiv(d, n, cab_dim_const(d, 8));
}

void cab_spec_cost(const cab_spec *s, const bool *constant, cab_cost *out)
{
    const cab_dim *zero = cab_dim_const(s->dims, 0), *par = points(s, par_axes(s));
    const bool *used = used_views(s);
    *out = (cab_cost){ zero, zero, zero, zero };
    for (size_t i = 0; i < s->stages.n; i++)
        count_stage(s, &s->stages.p[i], par, out);
    for (int i = 0; i < s->n_operands; i++) {
        const cab_dim *n = operand_bytes(s, i, used);
        out->bytes = cab_dim_add(s->dims, out->bytes, n);
        if (constant && constant[i])
            out->weights = cab_dim_add(s->dims, out->weights, n);
    }
}
