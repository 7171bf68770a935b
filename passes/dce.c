/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dce.c - what no output needs goes.
 *
 * CORE nodes have no effects, so a node whose results have no use is dead;
 * one walk against the order finds all of them.
 */
#include "passes/pass_int.h"

static bool used(const cab_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return true;
    return false;
}

cab_status cab_pass_dce(cab_graph *g, cab_pass_ctx *c)
{
    for (cab_node *n = g->last, *prev; n; n = prev) {
        prev = n->prev;
        if (used(n))
            continue;
        cab_node_erase(n);
        c->n_changes++;
    }
    return CAB_OK;
}
