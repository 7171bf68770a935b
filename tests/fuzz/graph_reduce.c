/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_reduce.c - the smallest case that still fails.
 *
 * Tries, until nothing helps: another, earlier value as the only output; a
 * node's result as an input of its own; a node replaced by one of its
 * operands.  Every try is a text, run in a child.
 */
#include <stdio.h>
#include <string.h>
#include "tests/fuzz/graph.h"

enum { MAX_TRIES = 400, MAX_NODES = 512 };

typedef struct reducer {
    cab_arena *a;
    uint64_t seed;
    const char *best;
    int tries, n_cuts;
} reducer;

typedef enum change { ONLY_OUTPUT, CUT, BYPASS, N_CHANGES } change;

static cab_graph *parse(reducer *r, cab_diag *d)
{
    cab_graph *g = NULL;
    return cab_graph_parse(r->a, r->best, strlen(r->best), "case", &g, d) == CAB_OK ? g : NULL;
}

static cab_node *nth(const cab_graph *g, int i)
{
    cab_node *n = g->first;
    while (n && i-- > 0)
        n = n->next;
    return n;
}

static void drop_unused_inputs(cab_graph *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->inputs.n; i++)
        if (g->inputs.p[i]->n_uses)
            g->inputs.p[n++] = g->inputs.p[i];
    g->inputs.n = n;
}

/* The name of an input that stands for a node's result; not one of g's. */
static const char *cut_name(reducer *r, const cab_graph *g)
{
    const char *name;
    do
        name = cab_printf(r->a, "cut%d", r->n_cuts++);
    while (cab_map_gets(g->names, name));
    return name;
}

/* False when the change does not apply. */
static bool apply(reducer *r, cab_graph *g, cab_node *n, change what, int which)
{
    cab_value *v = n->out[0];
    if (what == ONLY_OUTPUT) {
        if (which >= n->n_out)
            return false;
        cab_graph_set_output(g, 0, n->out[which]);
        while (g->outputs.n > 1) {
            cab_graph_set_output(g, g->outputs.n - 1, n->out[which]);
            cab_value *last = g->outputs.p[--g->outputs.n];
            last->n_uses--;
            g->output_names.n--;
        }
        return true;
    }
    if (what == CUT) {
        if (which >= n->n_out)
            return false;
        v = n->out[which];
        cab_value_replace(g, v, cab_graph_add_input(g, cut_name(r, g), &v->type));
        return true;
    }
    if (which >= n->n_in || !n->in[which] || !cab_type_equal(&n->in[which]->type, &v->type))
        return false;
    cab_value_replace(g, v, n->in[which]);
    return true;
}

/* Tries one change of node i; keeps it when the case fails on. */
static bool attempt(reducer *r, int i, change what, int which)
{
    cab_diag d;
    cab_diag_init(&d);
    cab_graph *g = parse(r, &d);
    cab_node *n = g ? nth(g, i) : NULL;
    cab_buf b = cab_buf_on(r->a);
    bool kept = false;
    if (n && apply(r, g, n, what, which) &&
        cab_passes_run_list(g, "dce", NULL, NULL, &d) == CAB_OK) {
        drop_unused_inputs(g);
        cab_graph_print(&b, g);
        const char *text = cab_buf_cstr(&b);
        r->tries++;
        kept = strlen(text) < strlen(r->best) + 40 && strcmp(text, r->best) &&
               graph_try_apart(text, r->seed, true).answer == GRAPH_FAILS;
        if (kept)
            r->best = text;
    }
    cab_diag_fini(&d);
    return kept;
}

static int count_nodes(reducer *r)
{
    cab_diag d;
    cab_diag_init(&d);
    cab_graph *g = parse(r, &d);
    cab_diag_fini(&d);
    return g ? (int)cab_graph_count(g) : 0;
}

/* Earliest value that fails alone. */
static void shorten(reducer *r)
{
    int n = count_nodes(r);
    for (int i = 0; i < n && r->tries < MAX_TRIES; i++)
        for (int k = 0; k < 2; k++)
            if (attempt(r, i, ONLY_OUTPUT, k))
                return;
}

static bool thin_out(reducer *r)
{
    bool any = false;
    for (int i = count_nodes(r) - 1; i >= 0 && r->tries < MAX_TRIES; i--) {
        bool kept = false;
        for (int k = 0; k < 3 && !kept; k++)
            kept = attempt(r, i, BYPASS, k);
        for (int k = 0; k < 2 && !kept; k++)
            kept = attempt(r, i, CUT, k);
        any = any || kept;
        int n = count_nodes(r);
        i = i > n ? n : i;
    }
    return any;
}

const char *graph_reduce(cab_arena *a, const char *text, uint64_t seed)
{
    reducer r = { .a = a, .seed = seed, .best = text };
    shorten(&r);
    while (thin_out(&r) && r.tries < MAX_TRIES)
        shorten(&r);
    return r.best;
}
