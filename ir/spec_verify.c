/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_verify.c - is a Spec or a program well formed?
 *
 * Checks numbers against ranges, types against the rows of scalar.def, that
 * stages only use axes they loop over and results that exist, that loaded
 * indices lead to no cycle, and that a program's steps fit its buffers.
 * Does not check addresses: that is cab_spec_eval's work.
 */
#include "ir/spec_int.h"
#include <string.h>

cab_status cab_spec_fail(const cab_spec *s, cab_diag *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cab_where w = { .node = s->name, .op = "spec" };
    cab_status st = cab_vfail(d, CAB_EINTERNAL, &w, fmt, ap);
    va_end(ap);
    return st;
}

static bool arithmetic(cab_dtype t)
{
    return cab_dtype_is_float(t) || cab_dtype_is_int(t) || t == CAB_DT_bool;
}

static cab_status verify_axes(const cab_spec *s, cab_diag *d)
{
    if (s->n_axes < 0 || s->n_axes > CAB_SPEC_AXES)
        return cab_spec_fail(s, d, "%d axes", s->n_axes);
    for (int i = 0; i < s->n_axes; i++) {
        const cab_axis *x = &s->axis[i];
        if (!x->extent || !x->name || !*x->name)
            return cab_spec_fail(s, d, "axis %d lacks a name or an extent", i);
        for (int j = 0; j < i; j++)
            if (!strcmp(x->name, s->axis[j].name))
                return cab_spec_fail(s, d, "two axes are named '%s'", x->name);
    }
    for (int i = 0; i < s->n_operands; i++)
        if (!s->operands[i].elems || !arithmetic(s->operands[i].dtype))
            return cab_spec_fail(s, d, "operand %d has no size or no arithmetic type", i);
    return CAB_OK;
}

static bool affine_ok(const cab_spec *s, const cab_affine *f)
{
    bool ok = f->base != NULL;
    for (int i = s->n_axes; i < CAB_SPEC_AXES; i++)
        ok &= f->coef[i] == NULL;
    return ok;
}

static cab_status verify_view(const cab_spec *s, int i, cab_diag *d)
{
    const cab_view *v = &s->views.p[i];
    if (v->operand < 0 || v->operand >= s->n_operands)
        return cab_spec_fail(s, d, "view %d of operand %d, which does not exist", i, v->operand);
    if (v->dtype != s->operands[v->operand].dtype)
        return cab_spec_fail(s, d, "view %d is %s, its operand %s", i,
                             cab_dtype_name(v->dtype),
                             cab_dtype_name(s->operands[v->operand].dtype));
    if (v->n_guards < 0 || v->n_guards > CAB_SPEC_GUARDS ||
        v->n_halo < 0 || v->n_halo > CAB_SPEC_GUARDS ||
        v->n_loaded < 0 || v->n_loaded > CAB_SPEC_LOADED)
        return cab_spec_fail(s, d, "view %d has too many guards or indices", i);
    bool ok = affine_ok(s, &v->at);
    for (int g = 0; g < v->n_guards; g++)
        ok &= affine_ok(s, &v->guard[g].at) && v->guard[g].extent;
    for (int h = 0; h < v->n_halo; h++)
        ok &= affine_ok(s, &v->halo[h].at) && v->halo[h].extent;
    if (!ok)
        return cab_spec_fail(s, d, "view %d has an incomplete address", i);
    for (int k = 0; k < v->n_loaded; k++)
        if (!v->loaded[k].stride || !v->loaded[k].index ||
            !cab_dtype_is_int(v->loaded[k].index->dtype))
            return cab_spec_fail(s, d, "view %d: a loaded index is no integer", i);
    return CAB_OK;
}

/* A loaded index may load only views before its own: no cycles. */
static cab_status verify_loaded(const cab_spec *s, cab_arena *a, int i, cab_diag *d)
{
    const cab_view *v = &s->views.p[i];
    cab_ex_list l = cab_ex_list_on(a, s);
    for (int k = 0; k < v->n_loaded; k++)
        cab_ex_list_add(&l, v->loaded[k].index);
    for (size_t k = 0; k < l.v.n; k++)
        if (l.v.p[k]->op == CAB_EX_LOAD && l.v.p[k]->u.index >= i)
            return cab_spec_fail(s, d, "view %d: its index loads view %d", i,
                                 l.v.p[k]->u.index);
    return CAB_OK;
}

static bool index_ok(const cab_spec *s, const cab_expr *e, size_t stage)
{
    switch (e->op) {
    case CAB_EX_AXIS:
        return e->u.index >= 0 && e->u.index < s->n_axes && e->dtype == CAB_DT_i64;
    case CAB_EX_LOAD:
        return e->u.index >= 0 && (size_t)e->u.index < s->views.n &&
               e->dtype == s->views.p[e->u.index].dtype;
    case CAB_EX_RESULT:
        return e->u.index >= 0 && (size_t)e->u.index < stage &&
               s->stages.p[e->u.index].kind == CAB_STAGE_REDUCE &&
               e->dtype == cab_stage_type(&s->stages.p[e->u.index]);
    case CAB_EX_DIM:
        return e->u.dim && e->dtype == CAB_DT_i64;
    default:
        return e->op == CAB_EX_CONST && arithmetic(e->dtype);
    }
}

static cab_status verify_expr(const cab_spec *s, const cab_expr *e, size_t stage, cab_diag *d)
{
    const cab_ex_row *row = cab_ex_row_of(e->op);
    if (!row) {
        if (!index_ok(s, e, stage))
            return cab_spec_fail(s, d, "stage %zu: a leaf refers to nothing known", stage);
        return CAB_OK;
    }
    cab_dtype t[3] = { CAB_DT_none, CAB_DT_none, CAB_DT_none };
    for (int k = 0; k < 3; k++) {
        if ((e->arg[k] != NULL) != (k < row->arity))
            return cab_spec_fail(s, d, "stage %zu: '%s' needs %d operands", stage,
                                 row->name, row->arity);
        if (e->arg[k])
            t[k] = e->arg[k]->dtype;
    }
    if (e->dtype == CAB_DT_none || cab_ex_type(e->op, t, e->dtype) != e->dtype)
        return cab_spec_fail(s, d, "stage %zu: '%s' does not give %s from %s", stage,
                             row->name, cab_dtype_name(e->dtype), cab_dtype_name(t[0]));
    return CAB_OK;
}

static uint32_t expr_axes(const cab_spec *s, const cab_expr *e)
{
    if (e->op == CAB_EX_AXIS)
        return 1u << e->u.index;
    return e->op == CAB_EX_LOAD ? cab_view_axes(&s->views.p[e->u.index]) : 0;
}

static cab_status verify_stage(const cab_spec *s, cab_arena *a, size_t i, cab_diag *d)
{
    const cab_stage *st = &s->stages.p[i];
    uint32_t par = 0, red = 0, used = 0;
    for (int k = 0; k < s->n_axes; k++)
        *(s->axis[k].kind == CAB_AXIS_PAR ? &par : &red) |= 1u << k;
    if (st->axes & ~red)
        return cab_spec_fail(s, d, "stage %zu loops over axes that are not 'red'", i);
    if (!st->value)
        return cab_spec_fail(s, d, "stage %zu has no value", i);
    cab_ex_list l = cab_ex_list_on(a, s);
    cab_ex_list_add(&l, st->value);
    if (cab_stage_writes(st)) {
        if (st->view < 0 || (size_t)st->view >= s->views.n ||
            !s->operands[s->views.p[st->view].operand].written)
            return cab_spec_fail(s, d, "stage %zu stores to no written operand", i);
        const cab_view *v = &s->views.p[st->view];
        for (int k = 0; k < v->n_loaded; k++)
            cab_ex_list_add(&l, v->loaded[k].index);
        used |= cab_view_axes(v);
        cab_dtype t[3] = { v->dtype, v->dtype, CAB_DT_none };
        if (st->mode > CAB_STORE_MIN ||
            (st->mode && (st->kind != CAB_STAGE_STORE ||
                          cab_ex_type(cab_store_op(st->mode), t, v->dtype) != v->dtype)))
            return cab_spec_fail(s, d, "stage %zu cannot combine what it stores", i);
    }
    if (st->kind != CAB_STAGE_STORE && (!arithmetic(st->acc) || st->red > CAB_RED_ARGMIN_LAST))
        return cab_spec_fail(s, d, "stage %zu reduces in no arithmetic type", i);
    if (st->kind == CAB_STAGE_SCAN && cab_red_is_arg(st->red))
        return cab_spec_fail(s, d, "stage %zu scans by an index", i);
    for (size_t k = 0; k < l.v.n; k++) {
        CAB_TRY(verify_expr(s, l.v.p[k], i, d));
        used |= expr_axes(s, l.v.p[k]);
    }
    if (used & ~(par | st->axes))
        return cab_spec_fail(s, d, "stage %zu uses an axis it does not loop over", i);
    return CAB_OK;
}

cab_status cab_spec_verify(const cab_spec *s, cab_diag *d)
{
    cab_mark m = cab_arena_mark(s->arena);
    cab_status st = verify_axes(s, d);
    for (size_t i = 0; i < s->views.n && st == CAB_OK; i++)
        st = verify_view(s, (int)i, d);
    for (size_t i = 0; i < s->views.n && st == CAB_OK; i++)
        st = verify_loaded(s, s->arena, (int)i, d);
    bool stores = false;
    for (size_t i = 0; i < s->stages.n && st == CAB_OK; i++) {
        st = verify_stage(s, s->arena, i, d);
        stores |= cab_stage_writes(&s->stages.p[i]);
    }
    cab_arena_release(s->arena, m);
    if (st == CAB_OK && !stores)
        st = cab_spec_fail(s, d, "no stage stores");
    return st;
}

/* ---- programs ---- */
static cab_status program_fail(const cab_program *p, cab_diag *d, const char *what, size_t i)
{
    cab_where w = { .node = p->name, .op = "program" };
    return cab_fail(d, CAB_EINTERNAL, &w, what, i);
}

static cab_status verify_buffer(const cab_program *p, size_t i, cab_diag *d)
{
    const cab_buffer *b = &p->buffers.p[i];
    if (b->type.kind != CAB_KIND_tensor)
        return b->type.elem && b->kind != CAB_BUFFER_CONST && b->alias_of < 0
                   ? CAB_OK : program_fail(p, d, "buffer %zu is no list", i);
    if (b->type.rank < 0 ||
        b->type.rank > CAB_MAX_RANK || !b->elems)
        return program_fail(p, d, "buffer %zu is no tensor with a size", i);
    uint64_t bytes = 0;
    if (b->kind == CAB_BUFFER_CONST &&
        (!b->blob || !cab_dim_is_const(b->elems) || b->elems->value < 0 ||
         !cab_dtype_bytes(b->type.dtype, (uint64_t)b->elems->value, &bytes) ||
         bytes != b->blob->bytes))
        return program_fail(p, d, "buffer %zu: the constant has not the bytes of its type", i);
    size_t hops = 0;
    for (; b->alias_of >= 0; b = &p->buffers.p[b->alias_of], hops++)
        if ((size_t)b->alias_of >= p->buffers.n || !b->alias_at || hops > p->buffers.n)
            return program_fail(p, d, "buffer %zu lives inside no other", i);
    return CAB_OK;
}

static cab_status verify_custom(const cab_program *p, size_t i, cab_diag *d)
{
    const cab_step *s = &p->steps.p[i];
    const cab_step_custom *c = s->custom;
    if (!c || !c->domain || !c->name || c->n_in < 0 || c->n_in >= s->n_args)
        return program_fail(p, d, "step %zu names no operator, or one without results", i);
    for (int k = 0; k < s->n_args; k++) {
        const cab_type *t = &c->types[k];
        if (s->args[k] < 0) {
            if (k >= c->n_in)
                return program_fail(p, d, "step %zu lacks a result", i);
            continue;
        }
        if ((size_t)s->args[k] >= p->buffers.n)
            return program_fail(p, d, "step %zu names a buffer that does not exist", i);
        const cab_buffer *b = &p->buffers.p[s->args[k]];
        if (b->type.dtype != t->dtype || t->kind != CAB_KIND_tensor || t->layout)
            return program_fail(p, d, "step %zu: a buffer and its argument differ in type", i);
        if (k >= c->n_in && (b->kind == CAB_BUFFER_INPUT || b->kind == CAB_BUFFER_CONST))
            return program_fail(p, d, "step %zu writes an input or a constant", i);
    }
    return CAB_OK;
}

/* Lists where lists are wanted, tensors elsewhere. */
static bool flow_kinds_fit(const cab_program *p, const cab_step *s)
{
    bool list[2];
    for (int i = 0; i < s->n_args; i++)
        list[i] = p->buffers.p[s->args[i]].type.kind != CAB_KIND_tensor;
    switch (s->kind) {
    case CAB_STEP_READ: case CAB_STEP_ALLOC: case CAB_STEP_GROW: return !list[0];
    case CAB_STEP_SWAP: return list[0] == list[1];
    case CAB_STEP_LIST_COPY: case CAB_STEP_LIST_MOVE: return list[0] && list[1];
    case CAB_STEP_LIST_GET: case CAB_STEP_LIST_CONCAT: return !list[0] && list[1];
    case CAB_STEP_LIST_INSERT: return list[0] && !list[1];
    default: return s->n_args == 0 || list[0];
    }
}

static bool is_own(const cab_buffer *b) { return b->kind == CAB_BUFFER_TEMP && b->alias_of < 0; }

/* Memory that changes places is nobody else's. */
static bool swap_ok(const cab_program *p, const cab_step *s)
{
    const cab_buffer *x = &p->buffers.p[s->args[0]], *y = &p->buffers.p[s->args[1]];
    return x != y && is_own(x) && is_own(y) && x->type.dtype == y->type.dtype;
}

static cab_status verify_flow(const cab_program *p, size_t i, const cab_flow_row *f, cab_diag *d)
{
    const cab_step *s = &p->steps.p[i];
    if (f->sym != (s->sym != NULL) || s->n_args != f->n_args ||
        (f->n_params >= 0 ? s->n_params != f->n_params : s->n_params < -f->n_params - 1) ||
        (s->sym && s->sym->kind != CAB_DIM_SYM))
        return program_fail(p, d, "step %zu has not the parts of its kind", i);
    if (!flow_kinds_fit(p, s))
        return program_fail(p, d, "step %zu wants a list and a tensor the other way round", i);
    if (s->kind == CAB_STEP_READ && !cab_dtype_is_int(p->buffers.p[s->args[0]].type.dtype) &&
        p->buffers.p[s->args[0]].type.dtype != CAB_DT_bool)
        return program_fail(p, d, "step %zu reads a number that is no integer", i);
    if ((s->kind == CAB_STEP_ALLOC || s->kind == CAB_STEP_GROW) &&
        p->buffers.p[s->args[0]].kind != CAB_BUFFER_TEMP &&
        p->buffers.p[s->args[0]].kind != CAB_BUFFER_OUTPUT)
        return program_fail(p, d, "step %zu gives memory to an input or a constant", i);
    if (s->kind == CAB_STEP_GROW && !is_own(&p->buffers.p[s->args[0]]))
        return program_fail(p, d, "step %zu grows what is no buffer of its own", i);
    if (s->kind == CAB_STEP_SWAP && !swap_ok(p, s))
        return program_fail(p, d, "step %zu exchanges what are not two buffers of its own", i);
    return CAB_OK;
}

/* Every END has its beginning, every ELSE its IF, every BREAK a LOOP. */
static cab_status verify_nesting(const cab_program *p, cab_diag *d)
{
    CAB_VEC(cab_step_kind) open = { 0 };
    int loops = 0;
    for (size_t i = 0; i < p->steps.n; i++) {
        cab_step_kind k = p->steps.p[i].kind, top = open.n ? open.p[open.n - 1] : CAB_STEP_END;
        if (k == CAB_STEP_IF || k == CAB_STEP_LOOP)
            cab_vec_push(p->arena, &open, k);
        loops += k == CAB_STEP_LOOP;
        if ((k == CAB_STEP_ELSE && top != CAB_STEP_IF) || (k == CAB_STEP_BREAK && !loops) ||
            (k == CAB_STEP_END && !open.n))
            return program_fail(p, d, "step %zu stands outside its block", i);
        if (k == CAB_STEP_ELSE)
            open.p[open.n - 1] = CAB_STEP_ELSE;
        if (k == CAB_STEP_END) {
            loops -= top == CAB_STEP_LOOP;
            open.n--;
        }
    }
    return open.n ? program_fail(p, d, "a block without end, of %zu steps", p->steps.n) : CAB_OK;
}

static cab_status verify_step(const cab_program *p, size_t i, cab_diag *d)
{
    const cab_step *s = &p->steps.p[i];
    const cab_flow_row *f = cab_flow_row_of(s->kind);
    if (s->kind == CAB_STEP_CUSTOM)
        return verify_custom(p, i, d);
    for (int k = 0; k < s->n_args; k++)
        if (s->args[k] < 0 || (size_t)s->args[k] >= p->buffers.n)
            return program_fail(p, d, "step %zu names a buffer that does not exist", i);
    if (f)
        return verify_flow(p, i, f, d);
    if (s->kind == CAB_STEP_HELPER)
        return s->helper ? CAB_OK : program_fail(p, d, "step %zu names no helper", i);
    if (!s->spec || s->n_args != s->spec->n_operands)
        return program_fail(p, d, "step %zu: buffers do not match the operands", i);
    for (int k = 0; k < s->n_args; k++) {
        const cab_buffer *b = &p->buffers.p[s->args[k]];
        if (b->type.dtype != s->spec->operands[k].dtype)
            return program_fail(p, d, "step %zu: a buffer and its operand differ in type", i);
        if (s->spec->operands[k].written &&
            (b->kind == CAB_BUFFER_INPUT || b->kind == CAB_BUFFER_CONST))
            return program_fail(p, d, "step %zu writes an input or a constant", i);
    }
    return CAB_OK;
}

static cab_status verify_io(const cab_program *p, cab_diag *d)
{
    for (size_t i = 0; i < p->inputs.n; i++)
        if (p->inputs.p[i] < 0 || (size_t)p->inputs.p[i] >= p->buffers.n ||
            p->buffers.p[p->inputs.p[i]].kind != CAB_BUFFER_INPUT)
            return program_fail(p, d, "input %zu is no input buffer", i);
    for (size_t i = 0; i < p->outputs.n; i++)
        if (p->outputs.p[i] < 0 || (size_t)p->outputs.p[i] >= p->buffers.n)
            return program_fail(p, d, "output %zu is no buffer", i);
    return CAB_OK;
}

static cab_status verify_states(const cab_program *p, cab_diag *d)
{
    for (size_t i = 0; i < p->states.n; i++) {
        const cab_program_state *s = &p->states.p[i];
        if (s->input < 0 || (size_t)s->input >= p->inputs.n || s->output < 0 ||
            (size_t)s->output >= p->outputs.n || s->room_in->kind != CAB_DIM_SYM ||
            s->room_out->kind != CAB_DIM_SYM)
            return program_fail(p, d, "state %zu names no input, no output or no room", i);
        const cab_type *in = &p->buffers.p[p->inputs.p[s->input]].type;
        const cab_type *out = &p->buffers.p[p->outputs.p[s->output]].type;
        bool ok = s->axis >= 0 && s->axis < in->rank && in->rank == out->rank &&
                  in->dtype == out->dtype;
        for (int k = 0; ok && k < in->rank; k++)
            ok = k == s->axis || in->dims[k] == out->dims[k];
        if (!ok)
            return program_fail(p, d, "state %zu: its output is not its input made longer", i);
    }
    for (size_t i = 0; i < p->steps.n; i++)
        if (p->steps.p[i].past < 0 || (size_t)p->steps.p[i].past > p->states.n ||
            (p->steps.p[i].past && p->steps.p[i].when))
            return program_fail(p, d, "step %zu copies a state that does not exist, or at times", i);
    return CAB_OK;
}

cab_status cab_program_verify(const cab_program *p, cab_diag *d)
{
    for (size_t i = 0; i < p->buffers.n; i++)
        CAB_TRY(verify_buffer(p, i, d));
    CAB_TRY(verify_io(p, d));
    CAB_TRY(verify_states(p, d));
    cab_mark m = cab_arena_mark(p->arena);
    CAB_TRY(verify_nesting(p, d));
    cab_map *names = cab_map_create(p->arena);
    cab_map *done = cab_map_create(p->arena);
    cab_status st = CAB_OK;
    for (size_t i = 0; i < p->steps.n && st == CAB_OK; i++) {
        const cab_spec *s = p->steps.p[i].spec;
        st = verify_step(p, i, d);
        if (st != CAB_OK || !s || cab_map_getu(done, (uint64_t)(uintptr_t)s))
            continue;
        cab_map_setu(done, (uint64_t)(uintptr_t)s, names);
        if (cab_map_sets(names, s->name, names))
            st = cab_spec_fail(s, d, "another spec has the same name");
        else
            st = cab_spec_verify(s, d);
    }
    cab_arena_release(p->arena, m);
    return st;
}
