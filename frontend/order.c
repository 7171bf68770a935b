/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.c - nodes in an order in which producers come first.
 *
 * The format demands that order, so files are read as they come; only when a
 * node uses a name that is not there yet are it and the rest sorted, keeping
 * the given order where it can be kept.  Names a subgraph takes from outside
 * count as uses of the node that holds it.
 */
#include <string.h>
#include "frontend/frontend_int.h"

typedef CAB_VEC(const char *) names;

static void use(cab_arena *a, const cab_map *local, const char *name,
                names *out)
{
    if (*name && !(local && cab_map_gets(local, name)))
        cab_vec_push(a, out, name);
}

static void define(cab_map *local, const char *name)
{
    if (name && *name)
        cab_map_sets(local, name, local);
}

static void collect_node(cab_arena *a, const cab_map *local,
                         const Onnx__NodeProto *n, names *out);

/* Names the graph takes from outside; local: defined around it already. */
static void collect_graph(cab_arena *a, const cab_map *local,
                          const Onnx__GraphProto *g, names *out)
{
    cab_map *own = cab_map_create(a);
    names inner = { 0 };

    for (size_t i = 0; i < g->n_input; i++)
        define(own, g->input[i]->name);
    for (size_t i = 0; i < g->n_initializer; i++)
        define(own, g->initializer[i]->name);
    for (size_t i = 0; i < g->n_sparse_initializer; i++) {
        if (g->sparse_initializer[i]->values)
            define(own, g->sparse_initializer[i]->values->name);
    }
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            define(own, g->node[i]->output[k]);
    }
    for (size_t i = 0; i < g->n_node; i++)
        collect_node(a, own, g->node[i], &inner);
    for (size_t i = 0; i < g->n_output; i++) {
        if (g->output[i]->name)
            use(a, own, g->output[i]->name, &inner);
    }
    for (size_t i = 0; i < inner.n; i++)
        use(a, local, inner.p[i], out);
}

static void collect_node(cab_arena *a, const cab_map *local,
                         const Onnx__NodeProto *n, names *out)
{
    for (size_t i = 0; i < n->n_input; i++)
        use(a, local, n->input[i], out);
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__AttributeProto *p = n->attribute[i];

        if (p->g)
            collect_graph(a, local, p->g, out);
        for (size_t k = 0; k < p->n_graphs; k++)
            collect_graph(a, local, p->graphs[k], out);
    }
}

static bool has_graph(const Onnx__NodeProto *n)
{
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (n->attribute[i]->g || n->attribute[i]->n_graphs)
            return true;
    }
    return false;
}

bool cab_node_ready(cab_importer *im, const cab_scope *s,
                    const Onnx__NodeProto *n)
{
    cab_mark mark;
    names used = { 0 };
    bool ready = true;

    if (!has_graph(n)) {
        for (size_t i = 0; i < n->n_input; i++) {
            if (*n->input[i] && !cab_scope_find(s, n->input[i]))
                return false;
        }
        return true;
    }
    mark = cab_arena_mark(im->arena);
    collect_node(im->arena, NULL, n, &used);
    for (size_t i = 0; i < used.n && ready; i++)
        ready = cab_scope_find(s, used.p[i]) != NULL;
    cab_arena_release(im->arena, mark);
    return ready;
}

typedef struct item {
    Onnx__NodeProto *node;
    names uses;
    size_t next;               /* use to look at next */
    enum { FRESH, OPEN, DONE } state;
} item;

typedef struct sorter {
    cab_importer *im;
    cab_arena *arena;
    cab_map *producer;         /* name -> item */
    CAB_VEC(item *) stack;
    Onnx__NodeProto **out;
    size_t n_out;
} sorter;

static cab_status cycle(sorter *o, const item *it)
{
    cab_where w = { .file = o->im->label, .node = it->node->name,
                    .op = it->node->op_type };

    return cab_fail(o->im->diag, CAB_EMODEL, &w,
                    "the nodes form a cycle through this one");
}

/* Depth first with an explicit stack: chains are as long as the file. */
static cab_status visit(sorter *o, item *start)
{
    if (start->state == DONE)
        return CAB_OK;
    start->state = OPEN;
    cab_vec_push(o->arena, &o->stack, start);
    while (o->stack.n) {
        item *it = o->stack.p[o->stack.n - 1], *from;

        if (it->next == it->uses.n) {
            it->state = DONE;
            o->out[o->n_out++] = it->node;
            o->stack.n--;
            continue;
        }
        from = cab_map_gets(o->producer, it->uses.p[it->next++]);
        if (from && from->state == OPEN)
            return cycle(o, from);
        if (from && from->state == FRESH) {
            from->state = OPEN;
            cab_vec_push(o->arena, &o->stack, from);
        }
    }
    return CAB_OK;
}

cab_status cab_nodes_sort(cab_importer *im, Onnx__NodeProto **nodes, size_t n)
{
    sorter o = { .im = im, .arena = im->arena,
                 .producer = cab_map_create(im->arena) };
    item *items = CAB_NEW_N(im->arena, item, n);

    o.out = CAB_NEW_N(im->arena, Onnx__NodeProto *, n);
    for (size_t i = 0; i < n; i++) {
        items[i].node = nodes[i];
        collect_node(im->arena, NULL, nodes[i], &items[i].uses);
        for (size_t k = 0; k < nodes[i]->n_output; k++) {
            if (*nodes[i]->output[k])
                cab_map_sets(o.producer, nodes[i]->output[k], &items[i]);
        }
    }
    for (size_t i = 0; i < n; i++)
        CAB_TRY(visit(&o, &items[i]));
    memcpy(nodes, o.out, n * sizeof *nodes);
    return CAB_OK;
}
