/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_flow.c - symbols that get their values during the run, branches, loops.
 *
 * An `item` becomes a read of the symbol, followed by the checks of all guards
 * that are decided then.  A buffer whose size names such a symbol gets its
 * memory where it is first used, so nothing may be computed into it before the
 * symbol is read: cab_lower_is_known tells.
 *
 * The steps of a body stand between IF or LOOP and END, in the same program.
 * A carried value has two buffers, read and written, that change places at the
 * end of each time; a stacked value is written where it belongs in the whole.
 */
#include "passes/lower_int.h"

static void give(cab_lower *l, const cab_dim *sym, uint32_t pos)
{
    cab_map_setu(l->given, (uint64_t)sym->id + 1, (void *)(uintptr_t)pos);
}

static void give_all(cab_lower *l, const cab_node *n, const char *attr, uint32_t pos)
{
    const cab_dim *const *sym;
    for (int64_t i = 0, k = cab_attr_dims(n, attr, &sym); i < k; i++)
        give(l, sym[i], pos);
}

void cab_lower_positions(cab_lower *l)
{
    if (!l->given)
        l->given = cab_map_create(l->c->scratch);
    l->guard_done = CAB_NEW_N(l->c->scratch, uint8_t, l->g->guards.n + 1);
    for (cab_node *n = l->g->first; n; n = n->next) {
        uint32_t pos = ++l->pos;
        for (int i = 0; i < n->n_out; i++)
            cab_lower_info(l, n->out[i])->pos = pos;
        if (!(n->op->traits & CAB_T_FLOW))
            continue;
        if (cab_attr_find(n, "value"))
            give_all(l, n, "value", pos);
        if (cab_attr_find(n, "syms"))
            give_all(l, n, "syms", pos);
        if (n->op->id == CAB_OP_loop && cab_attr_dims(n, "go", NULL) > 0)
            give_all(l, n, "count", pos);
    }
}

/* Place of the last node that gives a symbol in x its value; 0: none does. */
static uint32_t given_at(const cab_lower *l, const cab_dim *x)
{
    uint32_t last = 0;
    if (x->kind == CAB_DIM_SYM)
        last = (uint32_t)(uintptr_t)cab_map_getu(l->given, (uint64_t)x->id + 1);
    for (int i = 0; i < x->n_args; i++) {
        uint32_t at = given_at(l, x->args[i]);
        last = at > last ? at : last;
    }
    return last;
}

bool cab_lower_is_known(const cab_lower *l, const cab_dim *x, const cab_value *v)
{
    return given_at(l, x) <= cab_lower_info(l, v)->pos;
}

bool cab_lower_is_sized(const cab_lower *l, const cab_type *t, const cab_value *v)
{
    for (int i = 0; i < t->rank; i++)
        if (!cab_lower_is_known(l, t->dims[i], v))
            return false;
    return true;
}

bool cab_lower_is_late(const cab_lower *l, const cab_guard_eq *g)
{
    return l->inside || given_at(l, g->lhs) || given_at(l, g->rhs);
}

/* ---- steps ---- */
void cab_lower_flow_step(cab_lower *l, cab_step_kind kind, const cab_dim *sym, int buffer,
                            const cab_dim *p0, const cab_dim *p1, const cab_step *texts)
{
    int *args = CAB_NEW_N(l->a, int, 1);
    const cab_dim **params = CAB_NEW_N(l->a, const cab_dim *, 2);
    cab_step s = { .kind = kind, .sym = sym, .args = args, .params = params };
    args[0] = buffer;
    params[0] = p0;
    params[1] = p1;
    s.n_args = buffer >= 0;
    s.n_params = p1 ? 2 : p0 ? 1 : 0;
    if (texts) {
        s.loc = texts->loc;
        s.what = texts->what;
    }
    cab_program_step(l->p, &s);
}

/* The facts that simplification took for granted. */
static void check_interval(cab_lower *l, const cab_dim *sym, const cab_node *n)
{
    const char *why = cab_attr_str(n, "why");
    cab_step texts = { .loc = n->loc, .what = why };
    if (!why || !*why)
        texts.what = cab_printf(l->a, "a size read from data must lie between %lld and %lld",
                                (long long)sym->lo, (long long)sym->hi);
    if (sym->lo > INT64_MIN)
        cab_lower_flow_step(l, CAB_STEP_CHECK_LE, NULL, -1, cab_dim_const(l->d, sym->lo), sym, &texts);
    if (sym->hi < INT64_MAX)
        cab_lower_flow_step(l, CAB_STEP_CHECK_LE, NULL, -1, sym, cab_dim_const(l->d, sym->hi), &texts);
}

/* Guards all of whose symbols have their values once the node at pos ran. */
static void check_guards(cab_lower *l, uint32_t pos, const cab_node *n)
{
    for (size_t i = 0; i < l->g->guards.n; i++) {
        const cab_guard_eq *g = &l->g->guards.p[i];
        const cab_step texts = { .loc = n->loc, .what = g->why };
        if (l->guard_done[i] || !cab_lower_is_late(l, g) || given_at(l, g->lhs) > pos ||
            given_at(l, g->rhs) > pos)
            continue;
        l->guard_done[i] = 1;
        cab_lower_flow_step(l, g->le ? CAB_STEP_CHECK_LE : CAB_STEP_CHECK_EQ, NULL, -1, g->lhs, g->rhs,
                  &texts);
    }
}

void cab_lower_given(cab_lower *l, const cab_dim *const *syms, int64_t k, const cab_node *n)
{
    for (int64_t i = 0; i < k; i++)
        check_interval(l, syms[i], n);
    check_guards(l, cab_lower_info(l, n->out[0])->pos, n);
}

cab_status cab_lower_item(cab_lower *l, cab_node *n)
{
    const cab_step texts = { .loc = n->loc, .what = n->op->name };
    const cab_dim *const *sym;
    cab_value *x = n->in[0];
    cab_place at;
    cab_attr_dims(n, "value", &sym);
    if (!cab_place_view(l, x, &at) || !cab_dim_is_const(at.base)) {
        at.base = cab_dim_const(l->d, 0);
        CAB_TRY(cab_lower_dense(l, x, n, &at.buffer));
    }
    cab_lower_flow_step(l, CAB_STEP_READ, sym[0], at.buffer, at.base, NULL, &texts);
    cab_lower_given(l, sym, 1, n);
    return CAB_OK;
}

/* ---- bodies ---- */
static void plain_place(cab_lower *l, const cab_type *t, int buffer, cab_place *out)
{
    cab_type plain = *t;
    plain.layout = NULL;
    out->buffer = buffer;
    cab_type_strides(l->g, &plain, out->stride, &out->base, NULL);
}

static int temp(cab_lower *l, const cab_type *t, const char *name)
{
    cab_type plain = *t;
    plain.layout = NULL;
    return cab_place_temp(l, &plain, name);
}

/* The operands of a body are stored, row-major, before it begins. */
static cab_status place_inputs(cab_lower *l, const cab_node *n, const cab_graph *body, size_t from,
                               int at)
{
    for (size_t i = from; i < body->inputs.n; i++, at++) {
        cab_value *v = n->in[at], *in = body->inputs.p[i];
        cab_vinfo *x = cab_lower_info(l, in);
        int buffer;
        if (cab_value_is_list(in)) {
            x->at.buffer = cab_lower_list(l, v);
            continue;
        }
        if (cab_value_is_expr(in) || !in->n_uses)
            continue;
        CAB_TRY(cab_lower_dense(l, v, n, &buffer));
        plain_place(l, &in->type, buffer, &x->at);
    }
    return CAB_OK;
}

/* Result i of a body is wanted at a place: computed there when it can be. */
static void want(cab_lower *l, cab_value *v, const cab_place *at)
{
    cab_vinfo *x = cab_lower_info(l, v);
    bool ours = v->def && !cab_const_node(v) && !cab_value_is_expr(v) && !cab_value_is_list(v);
    if (!ours)
        return;
    x->need = true;
    if (x->at.buffer < 0 && x->inside == CAB_INSIDE_NONE && !v->type.layout &&
        !(v->def->op->traits & (CAB_T_FLOW | CAB_T_HELPER)) && v->def->group != CAB_GROUP_INLINE)
        x->at = *at;
}

/* ... and is there, if need be by a copy. */
static cab_status deliver(cab_lower *l, cab_value *v, const cab_place *at, const cab_node *by)
{
    const cab_vinfo *x = cab_lower_info(l, v);
    if (cab_value_is_list(v)) {
        cab_lower_list_copy(l, at->buffer, v);
        return CAB_OK;
    }
    bool there = x->at.buffer == at->buffer && x->at.base == at->base;
    for (int i = 0; there && i < v->type.rank; i++)
        there = cab_dim_is(v->type.dims[i], 1) || x->at.stride[i] == at->stride[i];
    return there ? CAB_OK : cab_lower_copy(l, v, at, by);
}

typedef struct outer { cab_graph *g; cab_members *groups; uint8_t *guard_done; bool inside; } outer;

static outer enter(cab_lower *l, cab_graph *body, const cab_node *n)
{
    outer o = { l->g, l->groups, l->guard_done, l->inside };
    uint32_t pos = l->pos;
    l->g = body;
    l->inside = true;
    cab_lower_positions(l);
    check_guards(l, pos, n);           /* those decided already */
    return o;
}

static void leave(cab_lower *l, const outer *o)
{
    l->g = o->g;
    l->groups = o->groups;
    l->guard_done = o->guard_done;
    l->inside = o->inside;
}

/* What the list says now, as expressions that stay so while the symbols of the
 * other list are set: with more than one symbol, through others. */
static const cab_dim **hold(cab_lower *l, const cab_node *n, const char *from)
{
    const cab_dim *const *x;
    int64_t k = cab_attr_dims(n, from, &x);
    const cab_dim **held = CAB_NEW_N(l->c->scratch, const cab_dim *, (k > 0 ? k : 0) + 1);
    for (int64_t i = 0; i < k; i++) {
        held[i] = x[i];
        if (k == 1 || cab_dim_is_const(x[i]))
            continue;
        held[i] = cab_dim_fresh(l->d, "held");
        cab_dim_assume(l->d, held[i], x[i]->lo, x[i]->hi, 1);
        cab_lower_flow_step(l, CAB_STEP_SET, held[i], -1, x[i], NULL, NULL);
    }
    return held;
}

/* Parallel assignment. */
static void set_symbols(cab_lower *l, const cab_node *n, const char *to, const char *from)
{
    const cab_dim *const *sym;
    int64_t k = cab_attr_dims(n, to, &sym);
    const cab_dim **held = k > 0 ? hold(l, n, from) : NULL;
    for (int64_t i = 0; i < k; i++)
        cab_lower_flow_step(l, CAB_STEP_SET, sym[i], -1, held[i], NULL, NULL);
}

static void alloc(cab_lower *l, cab_step_kind kind, int buffer)
{
    cab_lower_flow_step(l, kind, NULL, buffer, NULL, NULL, NULL);
}

/* A result that others read from a buffer of the node's own. */
static void own_place(cab_lower *l, cab_value *v, int buffer)
{
    cab_vinfo *x = cab_lower_info(l, v);
    x->output = -1;                    /* then it is copied to the output */
    if (cab_value_is_list(v)) {
        x->at.buffer = buffer;
        return;
    }
    plain_place(l, &v->type, buffer, &x->at);
}

/* ---- if ---- */
/* Whether result i has its place before the branches run. */
static bool sized_before(const cab_lower *l, const cab_value *y)
{
    const cab_dim *const *syms;
    int64_t n = cab_attr_dims(y->def, "syms", &syms);
    for (int i = 0; i < y->type.rank; i++)
        for (int64_t k = 0; k < n; k++)
            if (given_at(l, y->type.dims[i]) == cab_lower_info(l, y)->pos)
                return false;
    return true;
}

static cab_status lower_branch(cab_lower *l, cab_node *n, const char *name, const char *dims,
                               const bool *sized)
{
    cab_graph *body = cab_attr_find(n, name)->u.graph;
    outer o = enter(l, body, n);
    for (int i = 0; i < n->n_out; i++) {
        cab_value *v = body->outputs.p[i];
        if (sized[i])
            want(l, v, &cab_lower_info(l, n->out[i])->at);
        else if (v->def && !cab_value_is_expr(v))
            cab_lower_info(l, v)->need = true;
    }
    CAB_TRY(cab_lower_steps(l));
    set_symbols(l, n, "syms", dims);
    for (int i = 0; i < n->n_out; i++) {
        const cab_place *to = &cab_lower_info(l, n->out[i])->at;
        if (!sized[i])
            alloc(l, CAB_STEP_ALLOC, to->buffer);
        CAB_TRY(deliver(l, body->outputs.p[i], to, n));
    }
    leave(l, &o);
    return CAB_OK;
}

cab_status cab_lower_if(cab_lower *l, cab_node *n)
{
    const cab_step texts = { .loc = n->loc, .what = n->op->name };
    const cab_graph *then = cab_attr_find(n, "then")->u.graph;
    const cab_graph *other = cab_attr_find(n, "else")->u.graph;
    const cab_dim *const *cond;
    bool *sized = CAB_NEW_N(l->c->scratch, bool, n->n_out);
    cab_attr_dims(n, "cond", &cond);
    CAB_TRY(place_inputs(l, n, then, 0, 0));
    CAB_TRY(place_inputs(l, n, other, 0, (int)then->inputs.n));
    for (int i = 0; i < n->n_out; i++) {
        sized[i] = sized_before(l, n->out[i]);
        if (cab_value_is_list(n->out[i])) {
            cab_lower_list(l, n->out[i]);
            continue;
        }
        const cab_place *at = cab_place_of(l, n->out[i]);
        if (sized[i])
            alloc(l, CAB_STEP_ALLOC, at->buffer);
    }
    cab_lower_flow_step(l, CAB_STEP_IF, NULL, -1, cond[0], NULL, &texts);
    CAB_TRY(lower_branch(l, n, "then", "then_dims", sized));
    cab_lower_flow_step(l, CAB_STEP_ELSE, NULL, -1, NULL, NULL, NULL);
    CAB_TRY(lower_branch(l, n, "else", "else_dims", sized));
    cab_lower_flow_step(l, CAB_STEP_END, NULL, -1, NULL, NULL, NULL);
    check_guards(l, cab_lower_info(l, n->out[0])->pos, n);
    return CAB_OK;
}

/* ---- loop ---- */
typedef struct looping {
    cab_node *n;
    cab_graph *body;
    const cab_dim *iter, *count, *go;
    int carried, first_out;            /* outputs before the carried ones */
    struct { cab_place in, out; bool still; } *carry;
    struct { cab_place whole, part; bool grows; } *stack;
} looping;

static cab_value *given_value(const looping *k, int i)
{
    return k->body->outputs.p[k->first_out + i];
}

static void begin_list(cab_lower *l, looping *k, int i, const char *name)
{
    cab_value *in = k->body->inputs.p[i];
    k->carry[i].in.buffer = cab_lower_list_temp(l, &in->type, name);
    cab_lower_list_copy(l, k->carry[i].in.buffer, k->n->in[i]);
    cab_lower_info(l, in)->at.buffer = k->carry[i].in.buffer;
    cab_lower_info(l, in)->passing = true;
    k->carry[i].still = given_value(k, i) == in;
    if (!k->carry[i].still)
        k->carry[i].out.buffer = cab_lower_list_temp(l, &in->type, name);
}

/* Carried values: the buffer that is read holds the first ones; those that the
 * body hands on as they are need nothing else. */
static cab_status begin_carried(cab_lower *l, looping *k)
{
    for (int i = 0; i < k->carried; i++) {
        cab_value *in = k->body->inputs.p[i], *next = given_value(k, i);
        const char *name = in->name ? in->name : "state";
        if (cab_value_is_list(in)) {
            begin_list(l, k, i, name);
            continue;
        }
        plain_place(l, &in->type, temp(l, &in->type, name), &k->carry[i].in);
        CAB_TRY(cab_lower_copy(l, k->n->in[i], &k->carry[i].in, k->n));
        cab_lower_info(l, in)->at = k->carry[i].in;
        k->carry[i].still = next == in;
        if (!k->carry[i].still)
            plain_place(l, &next->type, temp(l, &next->type, name), &k->carry[i].out);
    }
    return CAB_OK;
}

/* Stacked values: all at once where the number of times is known before. */
static void begin_stacked(cab_lower *l, looping *k)
{
    for (int i = k->carried; i < k->n->n_out; i++) {
        cab_value *y = k->n->out[i];
        bool known = true;
        uint32_t pos = cab_lower_info(l, y)->pos;
        cab_place *whole = &k->stack[i].whole, *part = &k->stack[i].part;
        for (int a = 0; a < y->type.rank; a++)
            known &= given_at(l, y->type.dims[a]) < pos;
        k->stack[i].grows = !known;
        if (known)
            *whole = *cab_place_of(l, y);
        else
            plain_place(l, &y->type, temp(l, &y->type, y->name), whole);
        if (known)
            alloc(l, CAB_STEP_ALLOC, whole->buffer);
        part->buffer = whole->buffer;
        part->base = cab_dim_add(l->d, whole->base, cab_dim_mul(l->d, k->iter, whole->stride[0]));
        for (int a = 1; a < y->type.rank; a++)
            part->stride[a - 1] = whole->stride[a];
    }
}

/* Where the size of a part is known only after the body, it is copied then. */
static bool part_is_early(const cab_lower *l, const looping *k, int i)
{
    const cab_type *t = &k->n->out[i]->type;
    for (int a = 1; a < t->rank; a++)
        if (given_at(l, t->dims[a]) >= cab_lower_info(l, k->n->out[i])->pos)
            return false;
    return true;
}

static void want_results(cab_lower *l, looping *k)
{
    if (k->go && k->body->outputs.p[0]->def && !cab_value_is_expr(k->body->outputs.p[0]))
        cab_lower_info(l, k->body->outputs.p[0])->need = true;
    for (int i = 0; i < k->n->n_out; i++) {
        cab_value *v = given_value(k, i);
        if (i < k->carried && !k->carry[i].still)
            want(l, v, &k->carry[i].out);
        else if (i >= k->carried && part_is_early(l, k, i))
            want(l, v, &k->stack[i].part);
        else if (v->def && !cab_value_is_expr(v))
            cab_lower_info(l, v)->need = true;
    }
}

static cab_status read_go(cab_lower *l, looping *k)
{
    cab_value *v = k->body->outputs.p[0];
    int buffer;
    if (!k->go)
        return CAB_OK;
    CAB_TRY(cab_lower_dense(l, v, k->n, &buffer));
    cab_lower_flow_step(l, CAB_STEP_READ, k->go, buffer, cab_dim_const(l->d, 0), NULL, NULL);
    return CAB_OK;
}

/* An extent of a carried value, not only of a stacked one. */
static bool is_of_state(const looping *k, const cab_dim *sym)
{
    for (int i = 0; i < k->carried; i++) {
        const cab_type *t = &k->body->inputs.p[i]->type;
        for (int a = 0; a < t->rank; a++)
            if (t->dims[a] == sym)
                return true;
    }
    return false;
}

/* The extents of parts that were sized inside: the same each time. */
static void set_parts(cab_lower *l, looping *k, const cab_dim *const *sym, int64_t n,
                      const cab_dim **held)
{
    const cab_step texts = { .loc = k->n->loc, .what = "a stacked value keeps its shape" };
    const cab_dim *again = cab_dim_min(l->d, k->iter, cab_dim_const(l->d, 1));
    for (int64_t i = 0; i < n; i++) {
        if (is_of_state(k, sym[i]))
            continue;
        cab_lower_flow_step(l, CAB_STEP_CHECK_EQ, NULL, -1,
                  cab_dim_mul(l->d, again, sym[i]), cab_dim_mul(l->d, again, held[i]), &texts);
        cab_lower_flow_step(l, CAB_STEP_SET, sym[i], -1, held[i], NULL, NULL);
    }
}

/* Symbols for the next time.  Parts whose size is known only now are copied
 * while the extents of carried values are still those of this time. */
static cab_status next_symbols(cab_lower *l, looping *k)
{
    const cab_dim *const *sym;
    int64_t n = cab_attr_dims(k->n, "syms", &sym);
    const cab_dim **held;
    if (n <= 0)
        return CAB_OK;
    held = hold(l, k->n, "next");
    set_parts(l, k, sym, n, held);
    for (int i = k->carried; i < k->n->n_out; i++)
        if (!part_is_early(l, k, i)) {
            alloc(l, CAB_STEP_GROW, k->stack[i].whole.buffer);
            CAB_TRY(deliver(l, given_value(k, i), &k->stack[i].part, k->n));
        }
    for (int64_t i = 0; i < n; i++)
        if (is_of_state(k, sym[i]))
            cab_lower_flow_step(l, CAB_STEP_SET, sym[i], -1, held[i], NULL, NULL);
    return CAB_OK;
}

/* Between the times: results to their places, symbols, then the exchange. */
static cab_status end_time(cab_lower *l, looping *k)
{
    CAB_TRY(read_go(l, k));
    for (int i = k->carried; i < k->n->n_out; i++)
        if (part_is_early(l, k, i))
            CAB_TRY(deliver(l, given_value(k, i), &k->stack[i].part, k->n));
    for (int i = 0; i < k->carried; i++)
        if (!k->carry[i].still)
            CAB_TRY(deliver(l, given_value(k, i), &k->carry[i].out, k->n));
    CAB_TRY(next_symbols(l, k));
    for (int i = 0; i < k->carried; i++)
        if (!k->carry[i].still) {
            int *args = CAB_NEW_N(l->a, int, 2);
            cab_step s = { .kind = CAB_STEP_SWAP, .args = args, .n_args = 2 };
            args[0] = k->carry[i].in.buffer;
            args[1] = k->carry[i].out.buffer;
            cab_program_step(l->p, &s);
        }
    if (k->go)
        cab_lower_flow_step(l, CAB_STEP_BREAK, NULL, -1, k->go, NULL, NULL);
    return CAB_OK;
}

static cab_status lower_time(cab_lower *l, looping *k)
{
    const cab_dim *one = cab_dim_const(l->d, 1);
    outer o;
    give(l, k->iter, l->pos);
    if (k->go)
        cab_lower_flow_step(l, CAB_STEP_SET, k->count, -1, cab_dim_add(l->d, k->iter, one), NULL, NULL);
    for (int i = k->carried; i < k->n->n_out; i++)
        if (k->stack[i].grows && part_is_early(l, k, i))
            alloc(l, CAB_STEP_GROW, k->stack[i].whole.buffer);
    o = enter(l, k->body, k->n);
    want_results(l, k);
    CAB_TRY(cab_lower_steps(l));
    CAB_TRY(end_time(l, k));
    leave(l, &o);
    return CAB_OK;
}

cab_status cab_lower_loop(cab_lower *l, cab_node *n)
{
    const cab_step texts = { .loc = n->loc, .what = n->op->name };
    const cab_dim *const *trip, *const *iter, *const *count, *const *go;
    looping k = { .n = n, .body = cab_attr_find(n, "body")->u.graph,
                  .carried = (int)cab_attr_int(n, "carried") };
    k.carry = cab_alloc_zero(l->c->scratch, (size_t)n->n_out + 1, sizeof *k.carry);
    k.stack = cab_alloc_zero(l->c->scratch, (size_t)n->n_out + 1, sizeof *k.stack);
    cab_attr_dims(n, "trip", &trip);
    cab_attr_dims(n, "iter", &iter);
    cab_attr_dims(n, "count", &count);
    k.iter = iter[0];
    k.count = count[0];
    if (cab_attr_dims(n, "go", &go) > 0)
        k.go = go[0];
    k.first_out = k.go != NULL;
    CAB_TRY(place_inputs(l, n, k.body, (size_t)k.carried, k.carried));
    set_symbols(l, n, "syms", "first");
    CAB_TRY(begin_carried(l, &k));
    if (k.go)
        cab_lower_flow_step(l, CAB_STEP_SET, k.count, -1, cab_dim_const(l->d, 0), NULL, NULL);
    begin_stacked(l, &k);
    cab_lower_flow_step(l, CAB_STEP_LOOP, k.iter, -1, trip[0], NULL, &texts);
    CAB_TRY(lower_time(l, &k));
    cab_lower_flow_step(l, CAB_STEP_END, NULL, -1, NULL, NULL, NULL);
    for (int i = 0; i < n->n_out; i++)
        if (i < k.carried)
            own_place(l, n->out[i], k.carry[i].in.buffer);
        else if (k.stack[i].grows)
            own_place(l, n->out[i], k.stack[i].whole.buffer);
    check_guards(l, cab_lower_info(l, n->out[0])->pos, n);
    return CAB_OK;
}
