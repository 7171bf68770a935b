/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink.c - what is known of the operands of branches and loops is known inside.
 *
 * A body sees only its inputs.  An operand that became a constant after the
 * body was built (weights that fold transposed) becomes a constant of the body,
 * so that the next fold, the rewrites and the packing of weights see it; its
 * bytes are shared.  Operands that a body does not use go.
 */
#include "passes/pass_int.h"

static bool same_type(const cab_type *x, const cab_type *y)
{
    bool same = x->kind == CAB_KIND_tensor && y->kind == CAB_KIND_tensor &&
                x->dtype == y->dtype && x->rank == y->rank && !x->layout && !y->layout;

    for (int i = 0; same && i < x->rank; i++)
        same = x->dims[i] == y->dims[i];
    return same;
}

/* Input i of the body, where the operand is a constant. */
static void become_constant(cab_graph *body, cab_value *in, const cab_value *operand)
{
    const cab_node *c = cab_const_node(operand);
    const cab_tensor_attr *t = c ? cab_attr_find(c, "value")->u.tensor : NULL;

    if (!t || !t->blob || !in->n_uses || !same_type(&in->type, &t->type))
        return;
    cab_value_replace(body, in, cab_const_blob(body, &t->type, t->blob->data, t->blob->bytes,
                                               body->first));
}

/* The inputs of a body from `from` on are the operands from `at` on.  How many
 * went. */
static int sink_into(cab_node *n, cab_graph *body, int from, int at, cab_pass_ctx *c)
{
    int gone = 0;

    for (int i = (int)body->inputs.n - 1; i >= from; i--) {
        cab_value *in = body->inputs.p[i];

        become_constant(body, in, n->in[at + i - from]);
        if (in->n_uses)
            continue;
        cab_graph_remove_input(body, (size_t)i);
        cab_node_remove_in(n, at + i - from);
        gone++;
    }
    c->n_changes += (uint64_t)gone;
    return gone;
}

cab_status cab_pass_sink(cab_graph *g, cab_pass_ctx *c)
{
    for (cab_node *n = g->first; n; n = n->next) {
        int64_t first;

        if (n->op->id == CAB_OP_loop) {
            first = cab_attr_int(n, "carried");
            sink_into(n, cab_attr_find(n, "body")->u.graph, (int)first, (int)first, c);
        } else if (n->op->id == CAB_OP_if) {
            first = cab_attr_int(n, "n_then");
            sink_into(n, cab_attr_find(n, "else")->u.graph, 0, (int)first, c);
            first -= sink_into(n, cab_attr_find(n, "then")->u.graph, 0, 0, c);
            cab_attr a = cab_a_int("n_then", first);
            cab_attr_set(n, &a);
        }
    }
    return CAB_OK;
}
