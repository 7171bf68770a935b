/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hoist.c - what a loop computes alike every time is computed once, before it.
 *
 * A node moves when it costs more than reading its result would, and all it
 * needs are operands of the loop that stay the same, constants, and nodes of
 * that kind, with no extent that changes from time to time.  What it needs is
 * copied with it.  A body with guards stays as it is: what they promise holds
 * only behind them.
 */
#include "passes/pass_int.h"

typedef struct move {
    cab_node *loop;
    cab_graph *body;
    int carried;
    const cab_map *local;      /* symbols of the body */
    cab_map *outside;          /* id of a value of the body -> what it is in front of the loop */
    cab_arena *tmp;
} move;

static bool names_local(const move *m, const cab_node *n)
{
    for (int i = 0; i < n->n_attr; i++)
        for (int64_t k = 0; n->attr[i].kind == CAB_ATTR_DIMS && k < n->attr[i].n; k++)
            if (cab_symbols_in(m->local, n->attr[i].u.dims[k]))
                return true;
    for (int i = 0; i < n->n_out; i++)
        for (int k = 0; k < n->out[i]->type.rank; k++)
            if (cab_symbols_in(m->local, n->out[i]->type.dims[k]))
                return true;
    return false;
}

/* The same every time, and marked (by value id in `same`) for those after it. */
static bool is_same(const move *m, const cab_node *n, const cab_map *same)
{
    if (!(n->op->traits & CAB_T_PURE) || n->op->traits & CAB_T_FLOW || names_local(m, n))
        return false;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !cab_map_getu(same, n->in[i]->id))
            return false;
    return true;
}

/* More work than a copy of the result. */
static bool is_worth(const cab_node *n)
{
    const uint32_t work = CAB_T_CONTRACT | CAB_T_WINDOW | CAB_T_REDUCE | CAB_T_HELPER;

    switch (n->op->id) {
    case CAB_OP_exp: case CAB_OP_log: case CAB_OP_tanh: case CAB_OP_erf: case CAB_OP_pow:
    case CAB_OP_sin: case CAB_OP_cos:
        return true;
    default:
        return n->op->traits & work;
    }
}

static bool is_wanted(const cab_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return true;
    return false;
}

/* n and what it needs, in front of the loop. */
static void copy_out(move *m, cab_node *n)
{
    cab_value **in = CAB_NEW_N(m->tmp, cab_value *, n->n_in + 1);
    cab_node *x;

    if (cab_map_getu(m->outside, n->out[0]->id))
        return;
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] && !cab_map_getu(m->outside, n->in[i]->id))
            copy_out(m, n->in[i]->def);
        in[i] = n->in[i] ? cab_map_getu(m->outside, n->in[i]->id) : NULL;
    }
    x = cab_node_create(m->loop->graph, n->op, n->n_in, in, n->n_out, m->loop);
    x->loc = n->loc;
    x->loc_op = n->loc_op;
    x->opset = n->opset;
    for (int i = 0; i < n->n_attr; i++)
        cab_attr_set(x, &n->attr[i]);
    for (int i = 0; i < n->n_out; i++) {
        x->out[i]->type = n->out[i]->type;
        x->out[i]->sym = n->out[i]->sym;
        x->out[i]->n_sym = n->out[i]->n_sym;
        cab_map_setu(m->outside, n->out[i]->id, x->out[i]);
    }
}

static void capture_results(move *m, cab_node *n)
{
    for (int i = 0; i < n->n_out; i++) {
        cab_value *v = n->out[i], *in;

        if (!v->n_uses)
            continue;
        in = cab_graph_add_input(m->body, NULL, &v->type);
        cab_node_append_in(m->loop, cab_map_getu(m->outside, v->id));
        cab_value_replace(m->body, v, in);
        cab_map_setu(m->outside, in->id, cab_map_getu(m->outside, v->id));
    }
}

static void hoist(cab_node *loop, cab_pass_ctx *c)
{
    move m = { .loop = loop, .body = cab_attr_find(loop, "body")->u.graph,
               .carried = (int)cab_attr_int(loop, "carried"),
               .local = cab_symbols_of_body(c->scratch, loop),
               .outside = cab_map_create(c->scratch), .tmp = c->scratch };
    cab_map *same = cab_map_create(c->scratch);

    if (m.body->guards.n)
        return;
    for (size_t i = (size_t)m.carried; i < m.body->inputs.n; i++) {
        cab_map_setu(same, m.body->inputs.p[i]->id, same);
        cab_map_setu(m.outside, m.body->inputs.p[i]->id, loop->in[i]);
    }
    for (cab_node *n = m.body->first; n; n = n->next)
        for (int i = 0; i < n->n_out && is_same(&m, n, same); i++)
            cab_map_setu(same, n->out[i]->id, same);
    for (cab_node *n = m.body->last, *prev; n; n = prev) {     /* the last of a chain first */
        prev = n->prev;
        if (!cab_map_getu(same, n->out[0]->id))
            continue;
        if (is_worth(n) && is_wanted(n)) {
            copy_out(&m, n);
            capture_results(&m, n);
            c->n_changes++;
        }
        if (!is_wanted(n))
            cab_node_erase(n);
    }
}

cab_status cab_pass_hoist(cab_graph *g, cab_pass_ctx *c)
{
    for (cab_node *n = g->first; n; n = n->next)
        if (n->op->id == CAB_OP_loop)
            hoist(n, c);
    return CAB_OK;
}
