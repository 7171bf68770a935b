/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_flow.c - random branches, loops and sizes read from data.
 *
 * A size is an input of its own, named as its symbol, so that the seed gives
 * both the same number and all extents stay known to who makes the graph.
 * Bodies are made by the same makers as graphs, of a few steps.  Results whose
 * extents only the run knows are reduced to a number at once.
 */
#include <string.h>
#include "tests/fuzz/graph_gen.h"

enum { MAX_DEPTH = 2, MOST = 3 };

static bool same_type(const cab_value *x, const cab_value *y)
{
    bool same = x->type.dtype == y->type.dtype && x->type.rank == y->type.rank;
    for (int i = 0; same && i < x->type.rank; i++)
        same = x->type.dims[i] == y->type.dims[i];
    return same;
}

static const cab_dim *symbol(gen *q, const char *kind, int64_t lo, int64_t hi)
{
    const char *name = cab_printf(q->g->arena, "%s%d", kind, cab_graph_root(q->g)->next_id);
    const cab_dim *x = cab_dim_sym(q->g->dims, name);
    cab_dim_assume(q->g->dims, x, lo, hi, 1);
    return x;
}

/* ---- sizes ---- */
static cab_value *make_size(gen *q)
{
    const cab_dim *sym = symbol(q, "size", 1, 17), *one = gen_num(q, 1);
    cab_type t = cab_type_tensor(CAB_DT_i64, gen_coin(q), &one);
    if (q->depth || q->g->inputs.n >= GRAPH_MAX_IO)
        return NULL;
    cab_value *x = cab_graph_add_input(q->g, sym->name, &t);
    cab_attr a = cab_a_dims("value", &sym, 1);
    for (int i = gen_pick(q, 2); i > 0 && x; i--)      /* a computed number */
        x = gen_unary(q, CAB_OP_neg, gen_unary(q, CAB_OP_neg, x));
    cab_value *y = x ? gen_build(q, CAB_OP_item, 1, &x, 1, &a) : NULL;
    if (y)
        q->dim[gen_pick(q, N_DIMS)] = sym;
    return y;
}

/* 0 or more, mostly decided by data. */
static const cab_dim *small_number(gen *q, int64_t most)
{
    const cab_dim *x = q->dim[gen_pick(q, N_DIMS)];
    return cab_dim_mod(q->g->dims, x, gen_num(q, most + 1));
}

/* ---- bodies ---- */
typedef struct body {
    gen q;
    cab_value *operand[2 * MOST];      /* of the inputs, in order */
    int n;
} body;

static body *begin(gen *outer, const char *name)
{
    body *b = CAB_NEW(outer->g->arena, body);
    cab_diag *d = outer->b.diag;
    b->q = *outer;
    b->q.n = 0;
    b->q.depth++;
    b->q.g = cab_graph_create_sub(outer->g, name);
    b->q.g->level = CAB_LEVEL_CORE;
    b->q.b = cab_builder_at(b->q.g, NULL, d);
    return b;
}

/* A value of the outer graph seen inside. */
static cab_value *see(body *b, gen *outer, cab_value *v, bool noisy)
{
    cab_value *in = cab_graph_add_input(b->q.g, NULL, &v->type);
    b->operand[b->n++] = v;
    b->q.noisy[in->id % GRAPH_MAX_IDS] = noisy || outer->noisy[v->id % GRAPH_MAX_IDS];
    gen_add(&b->q, in);
    return in;
}

static void see_some(body *b, gen *outer)
{
    for (int i = gen_pick(outer, MOST); i >= 0; i--) {
        cab_value *v = gen_any(outer, FLOATS | INTS | BOOL, false);
        if (v)
            see(b, outer, v, false);
    }
}

static bool fill(body *b, gen *outer)
{
    b->q.n_leaves = outer->n_leaves;
    for (int i = 1 + gen_pick(&b->q, 4); i > 0 && b->q.b.status == CAB_OK; i--)
        gen_add(&b->q, gen_step(&b->q));
    outer->n_leaves = b->q.n_leaves;
    outer->b.status = b->q.b.status;
    return b->q.b.status == CAB_OK && b->q.n > 0;
}

/* A late value of the type of v, or NULL. */
static cab_value *like(body *b, const cab_value *v)
{
    for (int i = b->q.n - 1; i >= 0; i--)
        if (same_type(b->q.v[i], v))
            return b->q.v[i];
    return NULL;
}

static cab_attr graph_attr(const char *name, cab_graph *g)
{
    cab_attr a = { .name = name, .kind = CAB_ATTR_GRAPH };
    a.u.graph = g;
    return a;
}

/* x, whose extent on axis only the run knows, as a number; an integer, so that
 * it is the same in every order. */
static cab_value *as_number(gen *q, cab_value *x)
{
    int64_t axes[CAB_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++)
        axes[i] = i;
    if (x->type.dtype == CAB_DT_bool)
        return NULL;
    return gen_reduce(q, "max", x, axes, x->type.rank, false);
}

/* ---- if ---- */
static cab_value *make_if(gen *q)
{
    body *then = begin(q, "then"), *other = begin(q, "else");
    const cab_dim *cond = small_number(q, 1), *dims[MOST * CAB_MAX_RANK], *sym = NULL;
    const cab_dim *one[2];
    cab_value *in[4 * MOST];
    int n = 0, n_dims = 0, want = 1 + gen_pick(q, MOST - 1);
    see_some(then, q);
    see_some(other, q);
    if (!fill(then, q) || !fill(other, q))
        return NULL;
    for (int i = then->q.n - 1; i >= 0 && n < want; i--) {
        cab_value *x = then->q.v[i], *y = like(other, x);
        if (!y && !n && x->type.rank == 1)             /* of another size: the result's is a symbol */
            for (int k = other->q.n - 1; k >= 0 && !y; k--)
                if (other->q.v[k]->type.rank == 1 && other->q.v[k]->type.dtype == x->type.dtype)
                    y = other->q.v[k];
        if (!y)
            continue;
        cab_graph_add_output(then->q.g, x, NULL);
        cab_graph_add_output(other->q.g, y, NULL);
        for (int k = 0; k < x->type.rank; k++)
            dims[n_dims++] = x->type.dims[k];
        if (!same_type(x, y)) {
            one[0] = x->type.dims[0];
            one[1] = y->type.dims[0];
            dims[n_dims - 1] = sym = symbol(q, "join", 0, INT32_MAX);
        }
        n++;
    }
    for (int i = 0; i < then->n; i++)
        in[i] = then->operand[i];
    for (int i = 0; i < other->n; i++)
        in[then->n + i] = other->operand[i];
    cab_attr a[] = { cab_a_dims("cond", &cond, 1), graph_attr("then", then->q.g),
                     graph_attr("else", other->q.g), cab_a_int("n_then", then->n),
                     cab_a_dims("dims", dims, n_dims), cab_a_dims("syms", &sym, sym != NULL),
                     cab_a_dims("then_dims", one, sym != NULL),
                     cab_a_dims("else_dims", one + 1, sym != NULL) };
    cab_node *x = n ? cab_build_node(&q->b, CAB_OP_if, then->n + other->n, in, n, 8, a) : NULL;
    if (!x)
        return NULL;
    gen_note(q, x);
    for (int i = sym != NULL; i < n; i++)
        gen_add(q, x->out[i]);
    return sym ? as_number(q, x->out[0]) : NULL;
}

/* ---- loop ---- */
typedef struct looping {
    body *b;
    const cab_dim *trip, *iter, *count, *go;
    const cab_dim *sym, *first, *next; /* of a state that grows */
    int carried, n;
} looping;

/* Row `iter` of an operand with so many rows. */
static void see_rows(looping *l, gen *q)
{
    cab_value *v = gen_any(q, FLOATS | INTS | BOOL, false), *in;
    const cab_dim *zero = gen_num(q, 0), *start[CAB_MAX_RANK], *size[CAB_MAX_RANK];
    int64_t step[CAB_MAX_RANK];
    if (!v || v->type.rank == 0 || v->type.dims[0]->lo < l->trip->hi)
        return;
    in = see(l->b, q, v, false);
    for (int i = 0; i < v->type.rank; i++) {
        start[i] = i ? zero : l->iter;
        size[i] = i ? v->type.dims[i] : gen_num(q, 1);
        step[i] = 1;
    }
    cab_attr a[] = { cab_a_dims("starts", start, v->type.rank), cab_a_ints("steps", step, v->type.rank),
                     cab_a_dims("dims", size, v->type.rank) };
    in = gen_build(&l->b->q, CAB_OP_slice, 1, &in, 3, a);
    cab_attr d = cab_a_dims("dims", size + 1, v->type.rank - 1);
    gen_add(&l->b->q, in ? gen_build(&l->b->q, CAB_OP_reshape, 1, &in, 1, &d) : NULL);
}

/* A list that gets x's elements once more each time. */
static cab_value *grow(looping *l, gen *q, cab_value *x)
{
    body *b = l->b;
    cab_type t = x->type;
    l->sym = t.dims[0] = symbol(q, "grown", 0, INT32_MAX);
    l->first = x->type.dims[0];
    l->next = cab_dim_add(q->g->dims, l->sym, l->first);
    b->operand[b->n++] = x;
    cab_value *in = cab_graph_add_input(b->q.g, NULL, &t);
    b->q.noisy[in->id % GRAPH_MAX_IDS] = true;
    return in;
}

static void state_results(looping *l)
{
    gen *q = &l->b->q;
    for (int i = 0; i < l->carried; i++) {
        cab_value *in = q->g->inputs.p[i], *next = like(l->b, in);
        if (l->sym && i == 0) {
            cab_value *more = q->g->inputs.p[l->carried], *both[2] = { in, more };
            cab_attr a = cab_a_int("axis", 0);
            next = gen_build(q, CAB_OP_concat, 2, both, 1, &a);
        }
        cab_graph_add_output(q->g, next ? next : in, NULL);
    }
}

static cab_node *close_loop(looping *l, gen *q)
{
    body *b = l->b;
    const cab_dim *dims[MOST * CAB_MAX_RANK];
    int n_dims = 0;
    if (l->go) {
        cab_value *t = cab_b_dim(&b->q.b, l->iter);
        cab_value *few = cab_b_scalar_i(&b->q.b, CAB_DT_i64, gen_pick(q, 3));
        cab_graph_add_output(b->q.g, cab_b_binary(&b->q.b, CAB_OP_lt, t, few), NULL);
    }
    state_results(l);
    l->n = l->carried;
    for (int i = gen_pick(q, MOST); i > 0; i--) {
        cab_value *v = b->q.v[gen_pick(q, b->q.n)];
        if (v->type.rank == 5)
            continue;
        cab_graph_add_output(b->q.g, v, NULL);
        for (int k = 0; k < v->type.rank; k++)
            dims[n_dims++] = v->type.dims[k];
        l->n++;
    }
    if (b->q.b.status != CAB_OK || !l->n)
        return NULL;
    cab_attr a[] = { graph_attr("body", b->q.g), cab_a_int("carried", l->carried),
                     cab_a_dims("trip", &l->trip, 1), cab_a_dims("iter", &l->iter, 1),
                     cab_a_dims("count", &l->count, 1), cab_a_dims("go", &l->go, l->go != NULL),
                     cab_a_dims("dims", dims, n_dims), cab_a_dims("syms", &l->sym, l->sym != NULL),
                     cab_a_dims("first", &l->first, l->sym != NULL),
                     cab_a_dims("next", &l->next, l->sym != NULL) };
    return cab_build_node(&q->b, CAB_OP_loop, b->n, b->operand, l->n, 10, a);
}

static cab_value *make_loop(gen *q)
{
    looping l = { .b = begin(q, "body"), .trip = small_number(q, 1 + gen_pick(q, 4)) };
    cab_value *list = gen_pick(q, 3) ? NULL : gen_any(q, FLOATS | INTS, false), *number = NULL;
    int states = gen_pick(q, MOST);
    l.iter = symbol(q, "iter", 0, l.trip->hi > 0 ? l.trip->hi - 1 : 0);
    l.count = l.trip;
    if (gen_pick(q, 3) == 0) {
        l.go = symbol(q, "go", 0, 1);
        l.count = symbol(q, "count", 0, l.trip->hi);
    }
    if (list && list->type.rank == 1) {
        grow(&l, q, list);
        l.carried++;
    }
    for (int i = 0; i < states; i++) {
        cab_value *v = gen_any(q, FLOATS | INTS | BOOL, false);
        if (v) {
            see(l.b, q, v, cab_dtype_is_float(v->type.dtype));
            l.carried++;
        }
    }
    if (l.sym)
        see(l.b, q, list, false);
    if (l.b->n < MOST + 1)
        see_rows(&l, q);
    if (!l.b->n)
        see_some(l.b, q);
    cab_node *n = fill(l.b, q) ? close_loop(&l, q) : NULL;
    if (!n)
        return NULL;
    gen_note(q, n);
    for (int i = 0; i < l.n; i++) {
        bool late = (i == 0 && l.sym) || (i >= l.carried && l.go);
        cab_value *y = late ? as_number(q, n->out[i]) : n->out[i];
        gen_add(q, y);
        number = late ? y : number;
    }
    return NULL;
}

cab_value *gen_flow(gen *q)
{
    static cab_value *(*const kinds[])(gen *q) = { make_size, make_if, make_loop, make_loop };
    if (q->depth >= MAX_DEPTH || !q->n)
        return NULL;
    return kinds[gen_pick(q, 4)](q);
}
