/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower.c - the pass that turns a CORE graph into a program of Specs.
 *
 * First a walk from the outputs backwards marks what must be stored (the
 * boundaries of groups; without groups, of nodes) and which values can be
 * produced inside the storage of others.  Then a walk forwards emits one step
 * per needed kernel.  A group that does not fit one Spec falls back to one
 * kernel per member.  The graph is not changed.
 */
#include "passes/lower_int.h"
#include <string.h>

/* ---- state ---- */
static void find_members(cab_lower *l)
{
    int n = l->g->n_groups;
    for (const cab_node *x = l->g->first; x; x = x->next)
        n = x->group > n ? x->group : n;
    l->groups = CAB_NEW_N(l->c->scratch, cab_members, n + 1);
    for (cab_node *x = l->g->first; x; x = x->next) {
        x->mark = 0;
        if (x->group > 0)
            cab_vec_push(l->c->scratch, &l->groups[x->group].v, x);
    }
}

/* The step of n's kernel stands where its last member does. */
static bool is_launch(const cab_lower *l, const cab_node *n)
{
    if (n->group <= 0)
        return true;
    const cab_members *m = &l->groups[n->group];
    return m->v.p[m->v.n - 1] == n;
}

static bool is_leaf(const cab_value *v)
{
    return !v->def || cab_const_node(v) || cab_value_is_expr(v);
}

/* Gives symbols their values; needed though nothing may store its result. */
static bool is_flow(const cab_node *n) { return n->op->traits & CAB_T_FLOW; }

static bool needed(const cab_lower *l, const cab_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        if (cab_lower_info(l, n->out[i])->need)
            return true;
    return false;
}

/* Has a destination that is not its own buffer; a body may have to give it at a
 * place. */
static bool has_host(const cab_vinfo *i)
{
    return i->output >= 0 || i->inside != CAB_INSIDE_NONE || i->at.buffer >= 0;
}

/* A reshape outside groups is another view of its operand's storage. */
static bool may_alias(const cab_lower *l, const cab_node *n)
{
    return n->op->id == CAB_OP_reshape && n->group <= 0 && !is_leaf(n->in[0]) &&
           !n->in[0]->type.layout && !n->out[0]->type.layout &&
           !has_host(cab_lower_info(l, n->out[0]));
}

/* ---- backwards: what is stored, and where ---- */
/* Marks what the expression of v needs stored, v being computed in a kernel
 * of that group or of that node. */
static void need_leaves(cab_lower *l, cab_value *v, int group, const cab_node *only, uint32_t stamp)
{
    CAB_VEC(cab_value *) todo = { 0 };
    cab_arena *tmp = l->c->scratch;
    cab_vec_push(tmp, &todo, v);
    while (todo.n) {
        cab_value *x = todo.p[--todo.n];
        cab_node *n = x->def;
        if (cab_value_is_expr(x))
            continue;
        if (!n || cab_const_node(x))
            continue;
        bool member = group > 0 ? n->group == group : n == only;
        if (!member && n->group != CAB_GROUP_INLINE) {
            cab_lower_info(l, x)->need = true;
            continue;
        }
        if (n->mark == stamp)
            continue;
        n->mark = stamp;
        for (int i = 0; i < n->n_in; i++)
            if (n->in[i])
                cab_vec_push(tmp, &todo, n->in[i]);
    }
}

/* All that v may lie in has its size when v is computed. */
static bool hosts_are_sized(const cab_lower *l, const cab_value *host, const cab_value *v)
{
    for (; host; host = cab_lower_info(l, host)->host)
        if (!cab_lower_is_sized(l, &host->type, v))
            return false;
    return true;
}

/* The operand of a concat, y, can be computed into its part of the result. */
static bool fits_part(const cab_lower *l, const cab_value *u, const cab_value *y)
{
    const cab_vinfo *i = cab_lower_info(l, u);
    return !is_leaf(u) && !has_host(i) && u->def->group != CAB_GROUP_INLINE &&
           !(u->def->op->traits & (CAB_T_HELPER | CAB_T_FLOW)) && !cab_value_has_halo(&u->type) &&
           hosts_are_sized(l, y, u);
}

static void mark_concat(cab_lower *l, cab_node *n, uint32_t stamp)
{
    int64_t axis = cab_attr_int(n, "axis");
    const cab_dim *at = cab_dim_const(l->d, 0);
    axis += axis < 0 ? n->out[0]->type.rank : 0;
    for (int i = 0; i < n->n_in; i++) {
        cab_value *u = n->in[i];
        if (fits_part(l, u, n->out[0])) {
            cab_vinfo *x = cab_lower_info(l, u);
            x->inside = CAB_INSIDE_PART;
            x->host = n->out[0];
            x->part_at = at;
            x->need = true;
        } else {
            need_leaves(l, u, -1, NULL, stamp);
        }
        at = cab_dim_add(l->d, at, u->type.dims[axis]);
    }
}

/* A graph output that reshapes x: x is computed in the output's buffer. */
static bool mark_whole(cab_lower *l, cab_node *n)
{
    if (n->op->id != CAB_OP_reshape || n->group > 0)
        return false;
    cab_value *x = n->in[0], *y = n->out[0];
    const cab_vinfo *host = cab_lower_info(l, y);
    cab_vinfo *i = cab_lower_info(l, x);
    const cab_dim *in[CAB_MAX_RANK], *out[CAB_MAX_RANK];
    if (is_leaf(x) || has_host(i) || x->type.layout || y->type.layout ||
        (x->def->op->traits & (CAB_T_HELPER | CAB_T_FLOW)) || x->def->group == CAB_GROUP_INLINE ||
        (host->output < 0 && host->inside != CAB_INSIDE_WHOLE) || !hosts_are_sized(l, y, x))
        return false;
    cab_type_strides(l->g, &y->type, in, NULL, NULL);
    if (!cab_strides_reshape(l->d, &y->type, in, &x->type, out))
        return false;
    i->inside = CAB_INSIDE_WHOLE;
    i->host = y;
    i->need = true;
    return true;
}

static void need_operands(cab_lower *l, const cab_node *n, uint32_t stamp)
{
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i])
            need_leaves(l, n->in[i], -1, NULL, stamp);
}

static void mark_needs(cab_lower *l)
{
    uint32_t stamp = 0;
    for (cab_node *n = l->g->last; n; n = n->prev) {
        if (!is_launch(l, n) || !(needed(l, n) || is_flow(n)))
            continue;
        stamp++;
        if (is_flow(n))
            need_operands(l, n, stamp);
        else if (n->op->id == CAB_OP_concat)
            mark_concat(l, n, stamp);
        else if (n->op->traits & CAB_T_HELPER)
            need_operands(l, n, stamp);
        else if (!mark_whole(l, n))
            need_leaves(l, n->out[0], n->group, n, stamp);
    }
}

/* ---- forwards: steps ---- */
static cab_status refuse(cab_lower *l, const cab_node *n, const char *why)
{
    cab_where w = cab_node_where(n);
    return cab_fail(l->c->diag, CAB_EUNSUPPORTED, &w, "%s of %s: %s", n->op->name,
                    cab_dtype_name(n->out[0]->type.dtype), why && *why ? why : "no kernel");
}

/* Writes v, wherever it comes from, to a place. */
cab_status cab_lower_copy(cab_lower *l, cab_value *v, const cab_place *to, const cab_node *by)
{
    const char *why;
    if (cab_lower_launch(l, v, -1, NULL, to, &why))
        return CAB_OK;
    if (by)
        return refuse(l, by, why);
    return cab_fail(l->c->diag, CAB_EUNSUPPORTED, NULL, "an output cannot be copied: %s", why);
}

static cab_status emit_concat(cab_lower *l, cab_node *n)
{
    cab_value *y = n->out[0];
    const cab_place *host = cab_place_of(l, y);
    int64_t axis = cab_attr_int(n, "axis");
    cab_place part = *host;
    const cab_dim *at = cab_dim_const(l->d, 0);
    axis += axis < 0 ? y->type.rank : 0;
    for (int i = 0; i < n->n_in; i++) {
        cab_value *u = n->in[i];
        const cab_vinfo *x = cab_lower_info(l, u);
        bool there = x->inside == CAB_INSIDE_PART && x->host == y && x->part_at == at;
        if (!there && !cab_dim_is(u->type.dims[axis], 0)) {
            CAB_TRY(cab_lower_copy(l, u, &part, n));
            if (i == 0)
                l->p->steps.p[l->p->steps.n - 1].past = cab_lower_info(l, y)->state;
        }
        const cab_dim *step = cab_dim_mul(l->d, host->stride[axis], u->type.dims[axis]);
        part.base = cab_dim_add(l->d, part.base, step);
        at = cab_dim_add(l->d, at, u->type.dims[axis]);
    }
    return CAB_OK;
}

cab_status cab_lower_dense(cab_lower *l, cab_value *v, const cab_node *by, int *out)
{
    cab_place at;
    cab_type plain = v->type;
    plain.layout = NULL;
    if (cab_place_view(l, v, &at) && cab_place_is_dense(l, &at, &v->type)) {
        *out = at.buffer;
        return CAB_OK;
    }
    at.buffer = *out = cab_place_temp(l, &plain, NULL);
    cab_type_strides(l->g, &plain, at.stride, &at.base, NULL);
    return cab_lower_copy(l, v, &at, by);
}

/* One call of a kernel of the host program: every operand dense in memory. */
static cab_status emit_custom(cab_lower *l, cab_node *n)
{
    int n_args = n->n_in + n->n_out, *args = CAB_NEW_N(l->a, int, n_args);
    cab_type *types = CAB_NEW_N(l->a, cab_type, n_args);
    cab_step_custom *x = CAB_NEW(l->a, cab_step_custom);
    for (int i = 0; i < n_args; i++) {
        cab_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        args[i] = -1;
        if (!v)
            continue;
        if (cab_dtype_bits(v->type.dtype) == 0)
            return refuse(l, n, "an operand or result that is no tensor of numbers");
        types[i] = cab_type_tensor(v->type.dtype, v->type.rank, v->type.dims);
        if (i < n->n_in)
            CAB_TRY(cab_lower_dense(l, v, n, &args[i]));
        else
            args[i] = cab_place_of(l, v)->buffer;
    }
    *x = (cab_step_custom){ .domain = cab_attr_str(n, "domain"), .name = cab_attr_str(n, "name"),
                            .n_in = n->n_in, .types = types };
    x->n_attrs = cab_foreign_attrs(l->a, n, &x->attrs);
    cab_step s = { .kind = CAB_STEP_CUSTOM, .custom = x, .n_args = n_args, .args = args,
                   .loc = n->loc, .what = x->name };
    cab_program_step(l->p, &s);
    return CAB_OK;
}

/* One kernel per member: what did not fit one Spec together. */
static cab_status emit_members(cab_lower *l, int group)
{
    const cab_members *m = &l->groups[group];
    const char *why;
    for (size_t i = 0; i < m->v.n; i++) {
        cab_node *n = m->v.p[i];
        if (cab_value_is_expr(n->out[0]))
            continue;
        const cab_place *to = cab_place_of(l, n->out[0]);
        bool done = n->op->id == CAB_OP_wino_out ? cab_lower_wino(l, n->out[0], to, &why)
                                                 : cab_lower_launch(l, n->out[0], -1, n, to, &why);
        if (!done)
            return refuse(l, n, why);
    }
    return CAB_OK;
}

static cab_status emit_node(cab_lower *l, cab_node *n)
{
    cab_value *v = n->out[0];
    cab_vinfo *i = cab_lower_info(l, v);
    size_t n_steps = l->p->steps.n;
    const char *why = NULL;
    cab_place at;
    if (n->op->id == CAB_OP_concat)
        return emit_concat(l, n);
    if (n->op->id == CAB_OP_custom)
        return emit_custom(l, n);
    if (n->op->traits & CAB_T_HELPER)
        return cab_lower_helper(l, n);
    cab_vinfo *x = n->n_in ? cab_lower_info(l, n->in[0]) : NULL;
    if (x && x->inside == CAB_INSIDE_WHOLE && x->host == v) {
        cab_place_of(l, v);
        return CAB_OK;
    }
    if (may_alias(l, n) && cab_place_view(l, v, &at)) {
        i->at = at;
        return CAB_OK;
    }
    const cab_place *to = cab_place_of(l, v);
    if (n->op->id == CAB_OP_wino_in)
        return cab_lower_serial(l, n, to, &why) ? CAB_OK : refuse(l, n, why);
    if (cab_wino_out_of(l, n) && cab_lower_wino(l, v, to, &why))
        return CAB_OK;
    if (n->op->id == CAB_OP_scan || n->op->id == CAB_OP_scatter) {
        if (n->op->id == CAB_OP_scatter)
            CAB_TRY(cab_lower_copy(l, n->in[0], to, n));
        return cab_lower_serial(l, n, to, &why) ? CAB_OK : refuse(l, n, why);
    }
    if (cab_lower_launch(l, v, n->group, n, to, &why)) {
        cab_lower_also_direct(l, n, to);
        i->step = l->p->steps.n == n_steps + 1 ? (int)l->p->steps.n : 0;
        return CAB_OK;
    }
    if (n->group <= 0)
        return refuse(l, n, why);
    cab_log(2, "group %d lowered node by node: %s", n->group, why);
    return emit_members(l, n->group);
}

/* ---- inputs and outputs ---- */
static void make_inputs(cab_lower *l)
{
    for (size_t k = 0; k < l->g->inputs.n; k++) {
        cab_value *v = l->g->inputs.p[k];
        cab_type there = cab_lower_memory_type(l, v);
        cab_buffer b = { .kind = CAB_BUFFER_INPUT, .type = v->type, .name = v->name,
                         .alias_of = -1, .elems = cab_type_numel(l->g, &there),
                         .blob = v->hint_used ? v->hint : NULL };
        cab_place *at = &cab_lower_info(l, v)->at;
        if (cab_value_is_list(v))
            b.elems = cab_dim_const(l->d, 0);
        at->buffer = cab_program_buffer(l->p, &b);
        if (!cab_value_is_list(v))
            cab_type_strides(l->g, &there, at->stride, &at->base, NULL);
        cab_vec_push(l->a, &l->p->inputs, at->buffer);
    }
}

static void make_outputs(cab_lower *l)
{
    for (size_t k = 0; k < l->g->outputs.n; k++) {
        cab_value *v = l->g->outputs.p[k];
        cab_vinfo *i = cab_lower_info(l, v);
        bool first = i->output < 0 && !v->type.layout && !is_leaf(v);
        cab_type there = first ? cab_lower_memory_type(l, v) : v->type;
        cab_buffer b = { .kind = CAB_BUFFER_OUTPUT, .type = v->type, .alias_of = -1,
                         .name = l->g->output_names.p[k],
                         .elems = cab_type_numel(l->g, &there) };
        b.type.layout = NULL;
        if (cab_value_is_list(v))
            b.elems = cab_dim_const(l->d, 0);
        cab_vec_push(l->a, &l->p->outputs, cab_program_buffer(l->p, &b));
        i->need = i->need || !is_leaf(v);
        if (first)
            i->output = (int)k;
    }
}

/* Outputs that are inputs, constants or outputs already. */
static cab_status copy_outputs(cab_lower *l)
{
    for (size_t k = 0; k < l->g->outputs.n; k++) {
        cab_value *v = l->g->outputs.p[k];
        cab_place to = { .buffer = l->p->outputs.p[k] };
        if (cab_lower_info(l, v)->output == (int)k)
            continue;
        if (cab_value_is_list(v)) {
            cab_lower_list_copy(l, to.buffer, v);
            continue;
        }
        cab_type plain = v->type;
        plain.layout = NULL;
        cab_type_strides(l->g, &plain, to.stride, &to.base, NULL);
        CAB_TRY(cab_lower_copy(l, v, &to, v->def));
    }
    return CAB_OK;
}

/* ---- the pass ---- */
static bool holds_numbers(const cab_type *t)
{
    while (t->kind != CAB_KIND_tensor)
        t = t->elem;
    return cab_dtype_bits(t->dtype) != 0;
}

static cab_status check_kinds(cab_lower *l)
{
    for (size_t k = 0; k < l->g->inputs.n; k++)
        if (!holds_numbers(&l->g->inputs.p[k]->type))
            return cab_fail(l->c->diag, CAB_EUNSUPPORTED, NULL,
                            "input '%s' is no tensor of numbers", l->g->inputs.p[k]->name);
    for (size_t k = 0; k < l->g->outputs.n; k++)
        if (!holds_numbers(&l->g->outputs.p[k]->type))
            return cab_fail(l->c->diag, CAB_EUNSUPPORTED, NULL,
                            "output '%s' is no tensor of numbers", l->g->output_names.p[k]);
    return CAB_OK;
}

static cab_status emit(cab_lower *l, cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_item: return cab_lower_item(l, n);
    case CAB_OP_if: return cab_lower_if(l, n);
    case CAB_OP_loop: return cab_lower_loop(l, n);
    default: break;
    }
    if (is_flow(n))
        return cab_lower_seq(l, n);
    if (is_launch(l, n) && !is_leaf(n->out[0]) && needed(l, n))
        return emit_node(l, n);
    return CAB_OK;
}

cab_status cab_lower_steps(cab_lower *l)
{
    find_members(l);
    mark_needs(l);
    for (cab_node *n = l->g->first; n; n = n->next)
        CAB_TRY(emit(l, n));
    return CAB_OK;
}

cab_status cab_pass_lower(cab_graph *g, cab_pass_ctx *c)
{
    cab_lower l = { .g = g, .c = c, .a = g->arena, .d = g->dims };
    CAB_TRY(check_kinds(&l));
    l.p = cab_program_create(g->arena, g->dims, g->name ? g->name : "main");
    l.info = CAB_NEW_N(c->scratch, cab_vinfo, g->next_id + 1);
    for (uint32_t i = 0; i <= g->next_id; i++) {
        l.info[i].at.buffer = -1;
        l.info[i].output = -1;
    }
    cab_lower_positions(&l);
    cab_lower_find_states(&l);
    make_inputs(&l);
    make_outputs(&l);
    cab_lower_bounds(&l);
    CAB_TRY(cab_lower_steps(&l));
    CAB_TRY(copy_outputs(&l));
    for (size_t i = 0; i < g->guards.n; i++)
        if (!cab_lower_is_late(&l, &g->guards.p[i]))
            cab_vec_push(g->arena, &l.p->guards, g->guards.p[i]);
    c->n_changes = l.p->steps.n;
    c->program = l.p;
    return c->o->verify ? cab_program_verify(l.p, c->diag) : CAB_OK;
}
