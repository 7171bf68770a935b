/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_flow.c - symbols that get their values during the run.
 *
 * An `item` becomes a read of the symbol, followed by the checks of all guards
 * that are decided then.  A buffer whose size names such a symbol gets its
 * memory where it is first used, so nothing may be computed into it before the
 * symbol is read: cab_lower_is_known tells.
 */
#include "passes/lower_int.h"

static void give(cab_lower *l, const cab_dim *sym, uint32_t pos)
{
    cab_map_setu(l->given, (uint64_t)sym->id + 1, (void *)(uintptr_t)pos);
}

void cab_lower_positions(cab_lower *l)
{
    uint32_t pos = 0;
    const cab_dim *const *sym;
    l->given = cab_map_create(l->c->scratch);
    l->guard_done = CAB_NEW_N(l->c->scratch, uint8_t, l->g->guards.n + 1);
    for (cab_node *n = l->g->first; n; n = n->next) {
        pos++;
        for (int i = 0; i < n->n_out; i++)
            cab_lower_info(l, n->out[i])->pos = pos;
        if (n->op->id == CAB_OP_item && cab_attr_dims(n, "value", &sym) == 1)
            give(l, sym[0], pos);
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
    return given_at(l, g->lhs) || given_at(l, g->rhs);
}

/* ---- steps ---- */
static void flow_step(cab_lower *l, cab_step_kind kind, const cab_dim *sym, int buffer,
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
        flow_step(l, CAB_STEP_CHECK_LE, NULL, -1, cab_dim_const(l->d, sym->lo), sym, &texts);
    if (sym->hi < INT64_MAX)
        flow_step(l, CAB_STEP_CHECK_LE, NULL, -1, sym, cab_dim_const(l->d, sym->hi), &texts);
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
        flow_step(l, g->le ? CAB_STEP_CHECK_LE : CAB_STEP_CHECK_EQ, NULL, -1, g->lhs, g->rhs,
                  &texts);
    }
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
    flow_step(l, CAB_STEP_READ, sym[0], at.buffer, at.base, NULL, &texts);
    check_interval(l, sym[0], n);
    check_guards(l, cab_lower_info(l, n->out[0])->pos, n);
    return CAB_OK;
}
