/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_if.c - an If whose condition is known is the branch it takes.
 *
 * The nodes of the branch are copied in front of the If, still ops of the
 * standard; the walk of decompose.c goes on with them.  A condition that
 * depends on data is unsupported here.
 */
#include "passes/decompose_int.h"

/* Old value -> its copy; a value of an outer graph is itself. */
static cab_value *copied(const cab_map *map, cab_value *v)
{
    cab_value *w = v ? cab_map_getu(map, v->id) : NULL;

    return w ? w : v;
}

static void copy_nodes(cab_dec *d, cab_map *map, const cab_graph *from, cab_graph *to,
                       cab_node *before);

static cab_graph *copy_graph(cab_dec *d, cab_map *map, const cab_graph *from, cab_graph *parent)
{
    cab_graph *g = cab_graph_create_sub(parent, from->name);

    for (size_t i = 0; i < from->inputs.n; i++) {
        cab_value *v = from->inputs.p[i];

        cab_map_setu(map, v->id, cab_graph_add_input(g, v->name, &v->type));
    }
    copy_nodes(d, map, from, g, NULL);
    for (size_t i = 0; i < from->outputs.n; i++)
        cab_graph_add_output(g, copied(map, from->outputs.p[i]), from->output_names.p[i]);
    return g;
}

static void copy_attrs(cab_dec *d, cab_map *map, const cab_node *n, cab_node *to)
{
    for (int i = 0; i < n->n_attr; i++) {
        cab_attr a = n->attr[i];

        if (a.kind == CAB_ATTR_GRAPHS) {
            cab_dec_unsupported(d, "a branch with a list of graphs");
            return;
        }
        if (a.kind == CAB_ATTR_GRAPH)
            a.u.graph = copy_graph(d, map, a.u.graph, to->graph);
        cab_attr_set(to, &a);
    }
}

static void copy_nodes(cab_dec *d, cab_map *map, const cab_graph *from, cab_graph *to,
                       cab_node *before)
{
    for (const cab_node *n = from->first; n && !cab_dec_failed(d); n = n->next) {
        cab_value **in = CAB_NEW_N(d->tmp, cab_value *, n->n_in + 1);
        cab_node *c;

        for (int i = 0; i < n->n_in; i++)
            in[i] = copied(map, n->in[i]);
        c = cab_node_create(to, n->op, n->n_in, in, n->n_out, before);
        c->loc = n->loc;
        c->loc_op = n->loc_op;
        c->opset = n->opset;
        for (int i = 0; i < n->n_out; i++) {
            c->out[i]->type = n->out[i]->type;
            c->out[i]->sym = n->out[i]->sym;
            c->out[i]->n_sym = n->out[i]->n_sym;
            cab_map_setu(map, n->out[i]->id, c->out[i]);
        }
        copy_attrs(d, map, n, c);
    }
}

cab_value *cab_dec_If(cab_dec *d)
{
    int64_t *cond, n;
    const cab_attr *branch;
    cab_map *map;

    if (!cab_dec_ints(d, cab_dec_in(d, 0), &cond, &n))
        return NULL;
    if (n != 1)
        return cab_dec_bad(d, "the condition has %lld elements", (long long)n);
    branch = cab_attr_find(d->n, cond[0] ? "then_branch" : "else_branch");
    if (!branch || branch->kind != CAB_ATTR_GRAPH)
        return cab_dec_bad(d, "a branch is missing");
    if (branch->u.graph->outputs.n < (size_t)d->n->n_out)
        return cab_dec_bad(d, "a branch has too few outputs");
    map = cab_map_create(d->tmp);
    copy_nodes(d, map, branch->u.graph, d->g, d->n);
    for (int i = 0; i < d->n->n_out; i++)
        d->out[i] = copied(map, branch->u.graph->outputs.p[i]);
    return d->out[0];
}
