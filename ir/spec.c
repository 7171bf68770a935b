/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.c - builders of Specs and programs, and the walk over expressions.
 *
 * Builders trust their caller (indices in range, counts below the limits of
 * spec.h): wrong calls are bugs.  cab_spec_verify checks the whole.
 */
#include "ir/spec_int.h"
#include "ir/eval_int.h"
#include <math.h>
#include <string.h>

static const cab_ex_row ex_rows[] = {
#define SCALAR(id, arity, rule, traits, doc) { #id, arity, CAB_RULE_##rule },
#include "ir/scalar.def"
};

const char *const cab_red_names[] = {
    "sum", "prod", "max", "min", "argmax", "argmax_last", "argmin",
    "argmin_last", NULL
};

const char *const cab_store_names[] = { "plain", "add", "mul", "max", "min", NULL };
const char *const cab_scatter_ops[] = { "none", "add", "mul", "max", "min", NULL };

bool cab_scatter_mode(const char *op, cab_store_mode *out)
{
    for (int m = CAB_STORE_PLAIN; m <= CAB_STORE_MIN; m++)
        if (!strcmp(op ? op : cab_scatter_ops[0], cab_scatter_ops[m])) {
            *out = (cab_store_mode)m;
            return true;
        }
    return false;
}

cab_expr_op cab_store_op(cab_store_mode mode)
{
    static const cab_expr_op ops[] = { CAB_EX_COUNT, CAB_EX_add, CAB_EX_mul, CAB_EX_max,
                                       CAB_EX_min };
    return ops[mode];
}

const char *const cab_spec_kind_names[] = {
    "map", "rowred", "contract", "window", NULL
};

const cab_ex_row *cab_ex_row_of(cab_expr_op op)
{
    if (op < CAB_EX_SCALAR_ || op >= CAB_EX_COUNT)
        return NULL;
    return &ex_rows[op - CAB_EX_SCALAR_];
}

cab_expr_op cab_ex_find(const char *name, size_t n)
{
    for (int i = CAB_EX_SCALAR_; i < CAB_EX_COUNT; i++) {
        const char *row = ex_rows[i - CAB_EX_SCALAR_].name;
        if (strlen(row) == n && !memcmp(row, name, n))
            return (cab_expr_op)i;
    }
    return CAB_EX_COUNT;
}

static bool rule_admits(cab_rule rule, cab_dtype t)
{
    bool f = cab_dtype_is_float(t), i = cab_dtype_is_int(t);
    bool b = t == CAB_DT_bool;
    switch (rule) {
    case CAB_RULE_F:
    case CAB_RULE_FB:
        return f;
    case CAB_RULE_N:
        return f || i;
    case CAB_RULE_I:
        return i;
    case CAB_RULE_B:
        return b;
    case CAB_RULE_IB:
        return i || b;
    default:
        return f || i || b;
    }
}

cab_dtype cab_ex_type(cab_expr_op op, const cab_dtype arg[3], cab_dtype to)
{
    const cab_ex_row *row = cab_ex_row_of(op);
    int first = row->rule == CAB_RULE_SEL ? 1 : 0;
    for (int i = first; i < row->arity; i++)
        if (arg[i] != arg[first] || !rule_admits(row->rule, arg[i]))
            return CAB_DT_none;
    switch (row->rule) {
    case CAB_RULE_CMP:
    case CAB_RULE_FB:
        return CAB_DT_bool;
    case CAB_RULE_SEL:
        return arg[0] == CAB_DT_bool ? arg[1] : CAB_DT_none;
    case CAB_RULE_CAST:
        if (op == CAB_EX_bitcast && cab_dtype_bits(arg[0]) != cab_dtype_bits(to))
            return CAB_DT_none;
        return rule_admits(CAB_RULE_CAST, to) ? to : CAB_DT_none;
    default:
        return arg[0];
    }
}

cab_dtype cab_stage_type(const cab_stage *st)
{
    return cab_red_is_arg(st->red) ? CAB_DT_i64 : st->acc;
}

/* ---- Specs ---- */
cab_spec *cab_spec_create(cab_arena *a, cab_dims *d, const char *name, cab_spec_kind k)
{
    cab_spec *s = CAB_NEW(a, cab_spec);
    s->arena = a;
    s->dims = d;
    s->name = cab_strdup(a, name);
    s->kind = k;
    return s;
}

int cab_spec_axis(cab_spec *s, cab_axis_kind k, const cab_dim *extent, const char *name)
{
    CAB_ASSERT(s->n_axes < CAB_SPEC_AXES);
    s->axis[s->n_axes] = (cab_axis){ k, extent, cab_strdup(s->arena, name) };
    return s->n_axes++;
}

int cab_spec_operand(cab_spec *s, cab_dtype dt, bool written, const cab_dim *elems)
{
    int n = s->n_operands;
    /* Capacity is the next power of two: the array has no field for it. */
    if ((n & (n - 1)) == 0) {
        struct cab_operand *p = CAB_NEW_N(s->arena, struct cab_operand, n ? 2 * n : 1);
        if (n)
            memcpy(p, s->operands, (size_t)n * sizeof *p);
        s->operands = p;
    }
    s->operands[n] = (struct cab_operand){ dt, written, elems };
    return s->n_operands++;
}

/* Zero coefficients are NULL, so that equal functions look equal. */
static void affine_normalize(cab_affine *f)
{
    for (int i = 0; i < CAB_SPEC_AXES; i++)
        if (f->coef[i] && cab_dim_is(f->coef[i], 0))
            f->coef[i] = NULL;
}

int cab_spec_view(cab_spec *s, const cab_view *v)
{
    CAB_ASSERT(v->n_loaded <= CAB_SPEC_LOADED && v->n_guards <= CAB_SPEC_GUARDS);
    cab_vec_push(s->arena, &s->views, *v);
    cab_view *w = &s->views.p[s->views.n - 1];
    affine_normalize(&w->at);
    for (int i = 0; i < w->n_guards; i++)
        affine_normalize(&w->guard[i].at);
    return (int)s->views.n - 1;
}

int cab_spec_reduce(cab_spec *s, uint32_t axes, cab_red red, cab_dtype acc, const cab_expr *value)
{
    cab_stage st = { .kind = CAB_STAGE_REDUCE, .axes = axes, .red = red,
                     .acc = acc, .value = value, .view = -1 };
    cab_vec_push(s->arena, &s->stages, st);
    return (int)s->stages.n - 1;
}

void cab_spec_store(cab_spec *s, uint32_t axes, int view, const cab_expr *value)
{
    cab_spec_store_with(s, axes, CAB_STORE_PLAIN, view, value);
}

void cab_spec_store_with(cab_spec *s, uint32_t axes, cab_store_mode mode, int view,
                         const cab_expr *value)
{
    cab_stage st = { .kind = CAB_STAGE_STORE, .axes = axes, .acc = CAB_DT_none,
                     .value = value, .view = view, .mode = mode };
    cab_vec_push(s->arena, &s->stages, st);
}

void cab_spec_scan(cab_spec *s, uint32_t axes, cab_red red, cab_dtype acc, bool exclusive,
                   int view, const cab_expr *value)
{
    cab_stage st = { .kind = CAB_STAGE_SCAN, .axes = axes, .red = red, .acc = acc,
                     .value = value, .view = view, .exclusive = exclusive };
    cab_vec_push(s->arena, &s->stages, st);
}

bool cab_view_is_guarded(const cab_view *v)
{
    bool guarded = v->n_guards > 0;
    for (int i = 0; i < v->n_loaded; i++)
        guarded |= v->loaded[i].extent != NULL;
    return guarded;
}

bool cab_stage_is_serial(const cab_spec *s, const cab_stage *st)
{
    return st->kind == CAB_STAGE_SCAN ||
           (st->kind == CAB_STAGE_STORE && (st->mode || s->views.p[st->view].n_loaded));
}

/* ---- expressions ---- */
static cab_expr *ex_new(cab_spec *s, cab_expr_op op, cab_dtype dt)
{
    cab_expr *e = CAB_NEW(s->arena, cab_expr);
    e->op = op;
    e->dtype = dt;
    return e;
}

/* Constants are kept rounded to their type, so that equal ones look equal. */
static const cab_expr *ex_value(cab_spec *s, cab_dtype dt, cab_dtype from, cab_scalar v)
{
    cab_expr *e = ex_new(s, CAB_EX_CONST, dt);
    v = cab_scalar_cast(from, dt, v);
    if (cab_dtype_is_float(dt))
        e->u.f = isnan(v.f) ? (double)NAN : v.f;
    else
        e->u.i = v.i;
    return e;
}

const cab_expr *cab_ex_const(cab_spec *s, cab_dtype dt, double v)
{
    return ex_value(s, dt, CAB_DT_f64, (cab_scalar){ .f = v });
}

const cab_expr *cab_ex_int(cab_spec *s, cab_dtype dt, int64_t v)
{
    return ex_value(s, dt, CAB_DT_i64, (cab_scalar){ .i = v });
}

const cab_expr *cab_ex_dim(cab_spec *s, const cab_dim *x)
{
    if (cab_dim_is_const(x))
        return cab_ex_int(s, CAB_DT_i64, x->value);
    cab_expr *e = ex_new(s, CAB_EX_DIM, CAB_DT_i64);
    e->u.dim = x;
    return e;
}

const cab_expr *cab_ex_axis(cab_spec *s, int axis)
{
    CAB_ASSERT(axis >= 0 && axis < s->n_axes);
    cab_expr *e = ex_new(s, CAB_EX_AXIS, CAB_DT_i64);
    e->u.index = axis;
    return e;
}

const cab_expr *cab_ex_load(cab_spec *s, int view)
{
    CAB_ASSERT(view >= 0 && (size_t)view < s->views.n);
    cab_expr *e = ex_new(s, CAB_EX_LOAD, s->views.p[view].dtype);
    e->u.index = view;
    return e;
}

const cab_expr *cab_ex_result(cab_spec *s, int stage)
{
    CAB_ASSERT(stage >= 0 && (size_t)stage < s->stages.n);
    cab_expr *e = ex_new(s, CAB_EX_RESULT, cab_stage_type(&s->stages.p[stage]));
    e->u.index = stage;
    return e;
}

const cab_expr *cab_ex_scalar(cab_spec *s, cab_expr_op op, cab_dtype dt,
                              const cab_expr *a, const cab_expr *b, const cab_expr *c)
{
    CAB_ASSERT(cab_ex_row_of(op) != NULL);
    cab_expr *e = ex_new(s, op, dt);
    e->arg[0] = a;
    e->arg[1] = b;
    e->arg[2] = c;
    return e;
}

const cab_expr *cab_ex_cast(cab_spec *s, cab_dtype dt, const cab_expr *x)
{
    if (x->dtype == dt)
        return x;
    return cab_ex_scalar(s, CAB_EX_cast, dt, x, NULL, NULL);
}

cab_expr_op cab_ex_from_op(cab_op_id op)
{
    if (op < CAB_OP_neg || op > CAB_OP_select)
        return CAB_EX_COUNT;
    return (cab_expr_op)(CAB_EX_SCALAR_ + (op - CAB_OP_neg));
}

cab_affine cab_affine_zero(cab_dims *d)
{
    return (cab_affine){ .base = cab_dim_const(d, 0) };
}

void cab_affine_add(cab_dims *d, cab_affine *a, int axis, const cab_dim *coef)
{
    if (axis < 0) {
        a->base = cab_dim_add(d, a->base, coef);
        return;
    }
    CAB_ASSERT(axis < CAB_SPEC_AXES);
    const cab_dim **c = &a->coef[axis];
    *c = *c ? cab_dim_add(d, *c, coef) : coef;
    affine_normalize(a);
}

/* ---- the walk ---- */
cab_ex_list cab_ex_list_on(cab_arena *a, const cab_spec *s)
{
    return (cab_ex_list){ .arena = a, .spec = s, .index = cab_map_create(a) };
}

const cab_expr *cab_ex_child(const cab_spec *s, const cab_expr *e, int k)
{
    if (k < 3)
        return e->arg[k];
    if (e->op != CAB_EX_LOAD)
        return NULL;
    if (e->u.index < 0 || (size_t)e->u.index >= s->views.n)
        return NULL;
    const cab_view *v = &s->views.p[e->u.index];
    return k - 3 < v->n_loaded ? v->loaded[k - 3].index : NULL;
}

static uint64_t ex_key(const cab_expr *e) { return (uint64_t)(uintptr_t)e; }

void cab_ex_list_add(cab_ex_list *l, const cab_expr *root)
{
    struct frame { const cab_expr *e; int next; };
    CAB_VEC(struct frame) stack = { 0 };
    if (!root || cab_map_getu(l->index, ex_key(root)))
        return;
    /* Marked when pushed: a cycle then simply ends the walk. */
    cab_map_setu(l->index, ex_key(root), l);
    cab_vec_push(l->arena, &stack, ((struct frame){ root, 0 }));
    while (stack.n) {
        struct frame *f = &stack.p[stack.n - 1];
        if (f->next < CAB_EX_CHILDREN) {
            const cab_expr *c = cab_ex_child(l->spec, f->e, f->next++);
            if (c && !cab_map_getu(l->index, ex_key(c))) {
                cab_map_setu(l->index, ex_key(c), l);
                cab_vec_push(l->arena, &stack, ((struct frame){ c, 0 }));
            }
            continue;
        }
        cab_vec_push(l->arena, &l->v, f->e);
        cab_map_setu(l->index, ex_key(f->e), (void *)(uintptr_t)l->v.n);
        stack.n--;
    }
}

void cab_ex_list_add_all(cab_ex_list *l)
{
    const cab_spec *s = l->spec;
    for (size_t i = 0; i < s->views.n; i++)
        for (int k = 0; k < s->views.p[i].n_loaded; k++)
            cab_ex_list_add(l, s->views.p[i].loaded[k].index);
    for (size_t i = 0; i < s->stages.n; i++)
        cab_ex_list_add(l, s->stages.p[i].value);
}

uint32_t cab_ex_list_at(const cab_ex_list *l, const cab_expr *e)
{
    return (uint32_t)(uintptr_t)cab_map_getu(l->index, ex_key(e)) - 1;
}

uint32_t cab_view_axes(const cab_view *v)
{
    uint32_t m = 0;
    for (int i = 0; i < CAB_SPEC_AXES; i++) {
        bool uses = v->at.coef[i] != NULL;
        for (int g = 0; g < v->n_guards; g++)
            uses |= v->guard[g].at.coef[i] != NULL;
        m |= (uint32_t)uses << i;
    }
    return m;
}

/* ---- programs ---- */
cab_program *cab_program_create(cab_arena *a, cab_dims *d, const char *name)
{
    cab_program *p = CAB_NEW(a, cab_program);
    p->arena = a;
    p->dims = d;
    p->name = cab_strdup(a, name);
    return p;
}

int cab_program_buffer(cab_program *p, const cab_buffer *b)
{
    cab_vec_push(p->arena, &p->buffers, *b);
    return (int)p->buffers.n - 1;
}

const cab_flow_row *cab_flow_row_of(cab_step_kind k)
{
    static const cab_flow_row rows[CAB_STEP_COUNT] = {
#define FLOW(id, word, sym, args, params, doc) [CAB_STEP_##id] = { word, sym, args, params },
        CAB_STEP_FLOWS(FLOW)
#undef FLOW
    };
    return k < CAB_STEP_COUNT && rows[k].word ? &rows[k] : NULL;
}

void cab_program_step(cab_program *p, const cab_step *s)
{
    cab_step c = *s;
    c.args = cab_dup(p->arena, s->args, (size_t)s->n_args * sizeof *s->args);
    c.params = cab_dup(p->arena, s->params, (size_t)s->n_params * sizeof *s->params);
    cab_vec_push(p->arena, &p->steps, c);
}
