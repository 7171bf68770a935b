/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dce.c - what no output needs goes.
 *
 * CORE nodes have no effects, so a node whose results have no use is dead;
 * one walk against the order finds all of them.  A node that gives a symbol
 * its value lives as long as a type, an attribute or a known element names
 * the symbol.
 */
#include "passes/pass_int.h"

typedef struct marks {
    cab_arena *tmp;
    cab_map *seen;             /* expressions, by id + 1 */
    bool any;                  /* some node gives a symbol its value */
} marks;

static void mark_dim(marks *m, const cab_dim *x)
{
    if (!x || cab_dim_is_const(x) || cab_map_setu(m->seen, (uint64_t)x->id + 1, m))
        return;
    for (int i = 0; i < x->n_args; i++)
        mark_dim(m, x->args[i]);
}

static void mark_value(marks *m, const cab_value *v)
{
    for (const cab_type *t = &v->type; t; t = t->elem)
        for (int i = 0; i < t->rank; i++)
            mark_dim(m, t->dims[i]);
    for (int64_t i = 0; v->sym && i < v->n_sym; i++)
        mark_dim(m, v->sym[i]);
}

static void mark_node(marks *m, const cab_node *n);

static void mark_graph(marks *m, const cab_graph *g)
{
    for (size_t i = 0; i < g->inputs.n; i++)
        mark_value(m, g->inputs.p[i]);
    for (size_t i = 0; i < g->guards.n; i++) {
        mark_dim(m, g->guards.p[i].lhs);
        mark_dim(m, g->guards.p[i].rhs);
    }
    for (const cab_node *n = g->first; n; n = n->next)
        mark_node(m, n);
}

static void mark_node(marks *m, const cab_node *n)
{
    const cab_graph *sub;

    for (int i = 0; i < n->n_in; i++)
        if (n->in[i])
            mark_value(m, n->in[i]);
    for (int i = 0; i < n->n_out; i++)
        mark_value(m, n->out[i]);
    for (int i = 0; i < n->n_attr; i++)
        for (int64_t k = 0; n->attr[i].kind == CAB_ATTR_DIMS && k < n->attr[i].n; k++)
            mark_dim(m, n->attr[i].u.dims[k]);
    for (int k = 0; (sub = cab_node_subgraph(n, k)); k++)
        mark_graph(m, sub);
}

/* A symbol that n defines is named by what was met so far. */
static bool names(const marks *m, const cab_node *n)
{
    static const char *const lists[] = { "value", "syms" };

    for (int i = 0; i < 2; i++) {
        const cab_attr *a = cab_attr_find(n, lists[i]);

        for (int64_t k = 0; a && a->kind == CAB_ATTR_DIMS && k < a->n; k++)
            if (cab_map_getu(m->seen, (uint64_t)a->u.dims[k]->id + 1))
                return true;
    }
    return false;
}

static bool used(const marks *m, const cab_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return true;
    return n->op->traits & CAB_T_FLOW && names(m, n);
}

cab_status cab_pass_dce(cab_graph *g, cab_pass_ctx *c)
{
    marks m = { .tmp = c->scratch, .seen = cab_map_create(c->scratch) };

    for (const cab_node *n = g->first; n; n = n->next)
        m.any |= (n->op->traits & CAB_T_FLOW) != 0;
    for (size_t i = 0; i < g->outputs.n && m.any; i++)
        mark_value(&m, g->outputs.p[i]);
    for (size_t i = 0; i < g->guards.n && m.any; i++) {
        mark_dim(&m, g->guards.p[i].lhs);
        mark_dim(&m, g->guards.p[i].rhs);
    }
    for (cab_node *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (used(&m, n)) {
            if (m.any)
                mark_node(&m, n);
            continue;
        }
        cab_node_erase(n);
        c->n_changes++;
    }
    return CAB_OK;
}
