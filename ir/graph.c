/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph.c - graphs, nodes, values and their use lists.
 *
 * Keeps: every operand slot is in the use list of its value exactly once,
 * n_uses counts those and the graph outputs; ids are unique in the whole tree
 * of a graph and its subgraphs; a name is unique among the values visible at
 * one place (a taken one gets a suffix).  Does not infer types.
 */
#include <string.h>
#include "ir/ir_int.h"

cab_graph *cab_graph_create(cab_arena *a, const char *name, cab_level level)
{
    cab_graph *g = CAB_NEW(a, cab_graph);

    g->arena = a;
    g->strings = cab_strings_create(a);
    g->dims = cab_dims_create(a);
    g->name = cab_intern(g->strings, name);
    g->level = level;
    g->names = cab_map_create(a);
    return g;
}

cab_graph *cab_graph_create_sub(cab_graph *parent, const char *name)
{
    cab_graph *g = CAB_NEW(parent->arena, cab_graph);

    g->arena = parent->arena;
    g->strings = parent->strings;
    g->dims = parent->dims;
    g->parent = parent;
    g->name = cab_intern(g->strings, name);
    g->level = parent->level;
    g->names = cab_map_create(g->arena);
    return g;
}

cab_graph *cab_graph_root(const cab_graph *g)
{
    while (g->parent)
        g = g->parent;
    return (cab_graph *)g;
}

bool cab_graph_is_within(const cab_graph *inner, const cab_graph *outer)
{
    while (inner && inner != outer)
        inner = inner->parent;
    return inner != NULL;
}

cab_value *cab_graph_find(const cab_graph *g, const char *name)
{
    cab_value *v = NULL;

    for (; g && !v; g = g->parent)
        v = cab_map_gets(g->names, name);
    return v;
}

cab_graph *cab_node_subgraph(const cab_node *n, int k)
{
    for (int i = 0; i < n->n_attr; i++) {
        const cab_attr *a = &n->attr[i];
        if (a->kind == CAB_ATTR_GRAPH && k-- == 0)
            return a->u.graph;
        if (a->kind != CAB_ATTR_GRAPHS)
            continue;
        if (k < a->n)
            return a->u.graphs[k];
        k -= (int)a->n;
    }
    return NULL;
}

static cab_value *new_value(cab_graph *g)
{
    cab_value *v = CAB_NEW(g->arena, cab_value);

    v->id = cab_graph_root(g)->next_id++;
    return v;
}

void cab_graph_remove_input(cab_graph *g, size_t i)
{
    cab_value *v = g->inputs.p[i];

    CAB_ASSERT(v->n_uses == 0);
    cab_value_set_name(g, v, NULL);
    for (; i + 1 < g->inputs.n; i++)
        g->inputs.p[i] = g->inputs.p[i + 1];
    g->inputs.n--;
}

cab_value *cab_graph_add_input(cab_graph *g, const char *name, const cab_type *t)
{
    cab_value *v = new_value(g);

    v->type = *t;
    cab_vec_push(g->arena, &g->inputs, v);
    if (name)
        cab_value_set_name(g, v, name);
    return v;
}

void cab_graph_add_output(cab_graph *g, cab_value *v, const char *name)
{
    cab_vec_push(g->arena, &g->outputs, v);
    cab_vec_push(g->arena, &g->output_names,
                 name ? cab_intern(g->strings, name) : NULL);
    v->n_uses++;
}

void cab_graph_set_output(cab_graph *g, size_t i, cab_value *v)
{
    CAB_ASSERT(i < g->outputs.n);
    g->outputs.p[i]->n_uses--;
    g->outputs.p[i] = v;
    v->n_uses++;
}

/* ---- nodes ---- */
static void link_before(cab_graph *g, cab_node *n, cab_node *before)
{
    n->next = before;
    n->prev = before ? before->prev : g->last;
    *(n->prev ? &n->prev->next : &g->first) = n;
    *(before ? &before->prev : &g->last) = n;
}

static void unlink_node(cab_graph *g, cab_node *n)
{
    *(n->prev ? &n->prev->next : &g->first) = n->next;
    *(n->next ? &n->next->prev : &g->last) = n->prev;
    n->prev = n->next = NULL;
}

static void add_use(cab_value *v, cab_use *u)
{
    u->next = v->uses;
    v->uses = u;
    v->n_uses++;
}

/* Takes the use of operand i out of its value's list. */
static cab_use *take_use(cab_node *n, int i)
{
    cab_value *v = n->in[i];
    cab_use **p = &v->uses, *u;

    while (*p && ((*p)->node != n || (*p)->index != i))
        p = &(*p)->next;
    CAB_ASSERT(*p);
    u = *p;
    *p = u->next;
    v->n_uses--;
    return u;
}

cab_node *cab_node_create(cab_graph *g, const cab_op *op, int n_in,
                          cab_value **in, int n_out, cab_node *before)
{
    cab_node *n = CAB_NEW(g->arena, cab_node);

    n->op = op;
    n->graph = g;
    n->group = -1;
    n->n_in = n_in;
    n->n_out = n_out;
    n->in = CAB_NEW_N(g->arena, cab_value *, n_in);
    n->out = CAB_NEW_N(g->arena, cab_value *, n_out);
    for (int i = 0; i < n_in; i++)
        cab_node_set_in(n, i, in[i]);
    for (int i = 0; i < n_out; i++) {
        n->out[i] = new_value(g);
        n->out[i]->def = n;
        n->out[i]->def_index = i;
    }
    link_before(g, n, before);
    return n;
}

void cab_node_set_in(cab_node *n, int i, cab_value *v)
{
    cab_use *u = NULL;

    CAB_ASSERT(i >= 0 && i < n->n_in);
    if (n->in[i] == v)
        return;
    if (n->in[i])
        u = take_use(n, i);
    n->in[i] = v;
    if (!v)
        return;
    if (!u)
        u = CAB_NEW(n->graph->arena, cab_use);
    u->node = n;
    u->index = i;
    add_use(v, u);
}

void cab_node_append_in(cab_node *n, cab_value *v)
{
    cab_value **in = CAB_NEW_N(n->graph->arena, cab_value *, n->n_in + 1);

    if (n->n_in)
        memcpy(in, n->in, (size_t)n->n_in * sizeof *in);
    n->in = in;
    n->n_in++;
    cab_node_set_in(n, n->n_in - 1, v);
}

void cab_node_remove_in(cab_node *n, int i)
{
    for (; i + 1 < n->n_in; i++)
        cab_node_set_in(n, i, n->in[i + 1]);
    cab_node_set_in(n, i, NULL);
    n->n_in--;
}

void cab_value_set_name(cab_graph *g, cab_value *v, const char *name)
{
    cab_value *other;
    const char *base = name;

    if (v->name && cab_map_gets(g->names, v->name) == v)
        cab_map_sets(g->names, v->name, NULL);
    v->name = NULL;
    if (!name)
        return;
    for (int k = 1; (other = cab_graph_find(g, name)) && other != v; k++)
        name = cab_printf(g->arena, "%s.%d", base, k);
    v->name = cab_intern(g->strings, name);
    cab_map_sets(g->names, v->name, v);
}

/* Graph outputs of g and of everything inside it. */
static void replace_outputs(cab_graph *g, const cab_value *old, cab_value *v)
{
    cab_graph *sub;

    for (size_t i = 0; i < g->outputs.n; i++)
        if (g->outputs.p[i] == old)
            cab_graph_set_output(g, i, v);
    if (!old->n_uses)
        return;
    for (cab_node *n = g->first; n; n = n->next)
        for (int k = 0; (sub = cab_node_subgraph(n, k)); k++)
            replace_outputs(sub, old, v);
}

void cab_value_replace(cab_graph *g, cab_value *old, cab_value *v)
{
    if (old == v)
        return;
    while (old->uses)
        cab_node_set_in(old->uses->node, old->uses->index, v);
    if (old->n_uses)
        replace_outputs(g, old, v);
}

/* Takes back every use that the graphs inside n make. */
static void drop_subgraphs(cab_node *n)
{
    cab_graph *sub;

    for (int k = 0; (sub = cab_node_subgraph(n, k)); k++) {
        for (cab_node *m = sub->first; m; m = m->next) {
            for (int i = 0; i < m->n_in; i++)
                cab_node_set_in(m, i, NULL);
            drop_subgraphs(m);
        }
        for (size_t i = 0; i < sub->outputs.n; i++)
            sub->outputs.p[i]->n_uses--;
        sub->outputs.n = sub->output_names.n = 0;
    }
}

void cab_node_erase(cab_node *n)
{
    for (int i = 0; i < n->n_out; i++) {
        CAB_ASSERT(n->out[i]->n_uses == 0);
        cab_value_set_name(n->graph, n->out[i], NULL);
    }
    for (int i = 0; i < n->n_in; i++)
        cab_node_set_in(n, i, NULL);
    drop_subgraphs(n);
    unlink_node(n->graph, n);
}

size_t cab_graph_count(const cab_graph *g)
{
    size_t count = 0;

    for (const cab_node *n = g->first; n; n = n->next)
        count++;
    return count;
}

/* ---- requirements ---- */
static bool has_guard(const cab_graph *g, const cab_dim *a, const cab_dim *b, bool le)
{
    for (const cab_graph *s = g; s; s = s->parent)
        for (size_t i = 0; i < s->guards.n; i++) {
            const cab_guard_eq *o = &s->guards.p[i];
            if (o->le == le && ((o->lhs == a && o->rhs == b) ||
                                (!le && o->lhs == b && o->rhs == a)))
                return true;
        }
    return false;
}

/* holds: 1 surely, 0 surely not, -1 not known. */
static cab_status require(cab_graph *g, const cab_guard_eq *q, int holds, const cab_where *w,
                          cab_diag *d)
{
    if (holds == 0) {
        cab_buf text = cab_buf_on(g->arena);
        cab_dim_print(&text, q->lhs);
        cab_buf_str(&text, " and ");
        cab_dim_print(&text, q->rhs);
        return cab_fail(d, CAB_EMODEL, w, "%s: %s %s", q->why, cab_buf_cstr(&text),
                        q->le ? "do not fit" : "differ");
    }
    if (holds < 0 && !has_guard(g, q->lhs, q->rhs, q->le))
        cab_vec_push(g->arena, &g->guards, *q);
    return CAB_OK;
}

cab_status cab_graph_require_eq(cab_graph *g, const cab_dim *a, const cab_dim *b,
                                const char *why, const cab_where *w, cab_diag *d)
{
    cab_guard_eq q = { a, b, cab_intern(g->strings, why ? why : ""), false };

    return require(g, &q, cab_dim_eq(a, b), w, d);
}

cab_status cab_graph_require_le(cab_graph *g, const cab_dim *a, const cab_dim *b,
                                const char *why, const cab_where *w, cab_diag *d)
{
    cab_guard_eq q = { a, b, cab_intern(g->strings, why ? why : ""), true };
    int less = cab_dim_lt(b, a);

    return require(g, &q, less < 0 ? less : !less, w, d);
}

cab_where cab_node_where(const cab_node *n)
{
    cab_where w = { .node = n->loc, .opset = n->opset };

    for (int i = 0; !w.node && i < n->n_out; i++)
        w.node = n->out[i]->name;
    w.op = n->loc_op ? n->loc_op : n->op->name;
    return w;
}

/* ---- order ---- */
typedef struct visit { cab_node *node; cab_node **deps; size_t n, next; } visit;
enum { MARK_NEW, MARK_OPEN, MARK_DONE };

typedef CAB_VEC(cab_node *) node_list;

static void add_dep(cab_graph *g, const cab_value *v, node_list *out)
{
    if (v && v->def && v->def->graph == g)
        cab_vec_push(g->arena, out, v->def);
}

/* Nodes of g that n needs, those its subgraphs reach out to included. */
static void collect_deps(cab_graph *g, const cab_node *n, node_list *out)
{
    cab_graph *sub;

    for (int i = 0; i < n->n_in; i++)
        add_dep(g, n->in[i], out);
    for (int k = 0; (sub = cab_node_subgraph(n, k)); k++) {
        for (const cab_node *m = sub->first; m; m = m->next)
            collect_deps(g, m, out);
        for (size_t i = 0; i < sub->outputs.n; i++)
            add_dep(g, sub->outputs.p[i], out);
    }
}

static visit visit_of(cab_graph *g, cab_node *n)
{
    node_list deps = {0};

    collect_deps(g, n, &deps);
    n->mark = MARK_OPEN;
    return (visit){ n, deps.p, deps.n, 0 };
}

/* Depth first with its own stack: everything a node needs goes before it,
 * otherwise the order stays.  Clobbers the marks. */
bool cab_graph_sort(cab_graph *g)
{
    CAB_VEC(visit) stack = {0};
    node_list order = {0};

    for (cab_node *n = g->first; n; n = n->next)
        n->mark = MARK_NEW;
    for (cab_node *n = g->first; n; n = n->next) {
        if (n->mark == MARK_NEW)
            cab_vec_push(g->arena, &stack, visit_of(g, n));
        while (stack.n) {
            visit *top = &stack.p[stack.n - 1];
            cab_node *dep;
            if (top->next == top->n) {
                top->node->mark = MARK_DONE;
                cab_vec_push(g->arena, &order, top->node);
                stack.n--;
                continue;
            }
            dep = top->deps[top->next++];
            if (dep->mark == MARK_OPEN)
                return false;
            if (dep->mark == MARK_NEW)
                cab_vec_push(g->arena, &stack, visit_of(g, dep));
        }
    }
    g->first = g->last = NULL;
    for (size_t i = 0; i < order.n; i++)
        link_before(g, order.p[i], NULL);
    return true;
}
