/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symbols.c - symbols that get their values inside a graph, and so have no
 * meaning in front of it.
 */
#include "passes/pass_int.h"

static void add(cab_map *m, const cab_node *n, const char *attr)
{
    const cab_dim *const *v;

    for (int64_t i = 0, k = cab_attr_find(n, attr) ? cab_attr_dims(n, attr, &v) : 0; i < k; i++)
        if (v[i]->kind == CAB_DIM_SYM)
            cab_map_setu(m, (uint64_t)v[i]->id + 1, m);
}

cab_map *cab_symbols_of(cab_arena *tmp, const cab_graph *g)
{
    cab_map *m = cab_map_create(tmp);

    for (const cab_node *n = g->first; n; n = n->next) {
        if (n->op->id == CAB_OP_item)
            add(m, n, "value");
        if (n->op->id == CAB_OP_if || n->op->id == CAB_OP_loop)
            add(m, n, "syms");
        if (n->op->id == CAB_OP_loop && cab_attr_dims(n, "go", NULL) > 0)
            add(m, n, "count");
    }
    return m;
}

cab_map *cab_symbols_of_body(cab_arena *tmp, const cab_node *loop)
{
    cab_map *m = cab_symbols_of(tmp, cab_attr_find(loop, "body")->u.graph);

    add(m, loop, "iter");
    add(m, loop, "syms");
    if (cab_attr_dims(loop, "go", NULL) > 0) {
        add(m, loop, "go");
        add(m, loop, "count");
    }
    return m;
}

bool cab_symbols_in(const cab_map *m, const cab_dim *x)
{
    if (x->kind == CAB_DIM_SYM)
        return cab_map_getu(m, (uint64_t)x->id + 1) != NULL;
    for (int i = 0; i < x->n_args; i++)
        if (cab_symbols_in(m, x->args[i]))
            return true;
    return false;
}
