/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_body.c - graphs inside nodes, made to see only their inputs.
 *
 * A body of the standard sees every outer value by name.  Here each outer value
 * it uses becomes an input of the body and an operand of the node, once;
 * constants are copied into it (their bytes are shared).  So passes treat a
 * body as they treat a graph.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* ---- copying nodes of the standard ---- */
typedef struct copier {
    cab_dec *d;
    cab_map *map;              /* old value id -> its copy */
    cab_dec_body *body;        /* what is missing is captured; NULL: stays as it is */
} copier;

static cab_value *copied(const copier *c, cab_value *v)
{
    cab_value *w = v ? cab_map_getu(c->map, v->id) : NULL;

    if (w || !v)
        return w;
    return c->body ? cab_dec_body_capture(c->body, v) : v;
}

static void copy_nodes(const copier *c, const cab_graph *from, cab_graph *to, cab_node *before);

static cab_graph *copy_graph(const copier *c, const cab_graph *from, cab_graph *parent)
{
    cab_graph *g = cab_graph_create_sub(parent, from->name);

    g->level = CAB_LEVEL_ONNX;
    for (size_t i = 0; i < from->inputs.n; i++) {
        cab_value *v = from->inputs.p[i];

        cab_map_setu(c->map, v->id, cab_graph_add_input(g, v->name, &v->type));
    }
    copy_nodes(c, from, g, NULL);
    for (size_t i = 0; i < from->outputs.n; i++)
        cab_graph_add_output(g, copied(c, from->outputs.p[i]), from->output_names.p[i]);
    return g;
}

static void copy_attrs(const copier *c, const cab_node *n, cab_node *to)
{
    for (int i = 0; i < n->n_attr; i++) {
        cab_attr a = n->attr[i];

        if (a.kind == CAB_ATTR_GRAPHS) {
            cab_dec_unsupported(c->d, "a branch with a list of graphs");
            return;
        }
        if (a.kind == CAB_ATTR_GRAPH)
            a.u.graph = copy_graph(c, a.u.graph, to->graph);
        cab_attr_set(to, &a);
    }
}

static void copy_nodes(const copier *c, const cab_graph *from, cab_graph *to, cab_node *before)
{
    for (const cab_node *n = from->first; n && !cab_dec_failed(c->d); n = n->next) {
        cab_value **in = CAB_NEW_N(c->d->tmp, cab_value *, n->n_in + 1);
        cab_node *x;

        for (int i = 0; i < n->n_in; i++)
            in[i] = copied(c, n->in[i]);
        x = cab_node_create(to, n->op, n->n_in, in, n->n_out, before);
        x->loc = n->loc;
        x->loc_op = n->loc_op;
        x->opset = n->opset;
        for (int i = 0; i < n->n_out; i++) {
            x->out[i]->type = n->out[i]->type;
            x->out[i]->sym = n->out[i]->sym;
            x->out[i]->n_sym = n->out[i]->n_sym;
            cab_map_setu(c->map, n->out[i]->id, x->out[i]);
        }
        copy_attrs(c, n, x);
    }
}

void cab_dec_inline(cab_dec *d, const cab_graph *from, cab_value **out, int n)
{
    copier c = { d, cab_map_create(d->tmp), NULL };

    copy_nodes(&c, from, d->g, d->n);
    for (int i = 0; i < n; i++)
        out[i] = copied(&c, from->outputs.p[i]);
}

/* ---- bodies ---- */
void cab_dec_body_begin(cab_dec *d, cab_dec_body *b, const char *name)
{
    cab_graph *g = cab_graph_create_sub(d->g, name);

    *b = (cab_dec_body){ .outer = d, .map = cab_map_create(d->tmp) };
    b->d = (cab_dec){ .g = g, .n = d->n, .tmp = d->tmp, .ctx = d->ctx, .rules = d->rules };
    b->d.b = cab_builder_at(g, NULL, d->b.diag);
    b->d.b.loc = d->b.loc;
    b->d.b.loc_op = d->b.loc_op;
    b->d.b.opset = d->b.opset;
    b->d.b.status = d->b.status;
    g->level = CAB_LEVEL_CORE;
}

cab_value *cab_dec_body_input(cab_dec_body *b, const cab_type *t)
{
    cab_type plain = *t;

    plain.layout = NULL;
    return cab_graph_add_input(b->d.g, NULL, &plain);
}

/* A copy of a constant, of the same bytes. */
static cab_value *constant(cab_dec_body *b, const cab_node *n)
{
    const cab_tensor_attr *t = cab_attr_find(n, "value")->u.tensor;

    return cab_const_blob(b->d.g, &t->type, t->blob->data, t->blob->bytes, b->d.g->first);
}

cab_value *cab_dec_body_capture(cab_dec_body *b, cab_value *v)
{
    cab_value *w = v ? cab_map_getu(b->map, v->id) : NULL;
    cab_node *c = cab_const_node(v);

    if (w || !v)
        return w;
    if (c && cab_attr_find(c, "value")->u.tensor->blob) {
        w = constant(b, c);
    } else {
        w = cab_dec_body_input(b, &v->type);
        w->sym = v->sym;
        w->n_sym = v->n_sym;
        cab_vec_push(b->d.tmp, &b->captured, v);
    }
    cab_map_setu(b->map, v->id, w);
    return w;
}

void cab_dec_body_copy(cab_dec_body *b, const cab_graph *from)
{
    copier c = { &b->d, b->map, b };
    cab_status s;

    if (cab_dec_failed(b->outer))
        return;
    b->d.g->level = CAB_LEVEL_ONNX;
    copy_nodes(&c, from, b->d.g, NULL);
    for (size_t i = 0; i < from->outputs.n; i++)
        cab_graph_add_output(b->d.g, copied(&c, from->outputs.p[i]), NULL);
    s = cab_dec_failed(&b->d) ? b->d.b.status
                              : cab_decompose_with(b->d.g, b->d.ctx, b->d.rules);
    b->outer->b.status = b->d.b.status = s;
}

cab_value *cab_dec_body_result(const cab_dec_body *b, size_t i)
{
    return b->d.g->outputs.p[i];
}

/* The results of the body, in place of what it had. */
static void set_outputs(cab_dec_body *b, cab_value *const *v, int n)
{
    cab_graph *g = b->d.g;

    for (size_t i = 0; i < g->outputs.n; i++)
        g->outputs.p[i]->n_uses--;
    g->outputs.n = g->output_names.n = 0;
    for (int i = 0; i < n; i++)
        cab_graph_add_output(g, v[i], NULL);
}

/* ---- symbols that have no meaning outside ---- */
typedef CAB_VEC(const cab_dim *) dim_list;

/* A symbol that is seen outside. */
static const cab_dim *outer_symbol(cab_dec *d, int64_t lo, int64_t hi)
{
    const cab_dim *sym = cab_dim_fresh(d->g->dims, "data");

    cab_dim_assume(d->g->dims, sym, lo, hi, 1);
    return sym;
}

/* ---- If ---- */
typedef struct branches {
    cab_dec *d;
    cab_map *local[2];
    dim_list dims, syms, dims_of[2];
} branches;

/* Extent of a result: of both, or a symbol. */
static void join_extent(branches *b, const cab_dim *x, const cab_dim *y)
{
    const cab_dim *sym = x;
    cab_arena *a = b->d->g->arena;

    if (x != y || cab_symbols_in(b->local[0], x) || cab_symbols_in(b->local[1], y)) {
        sym = outer_symbol(b->d, x->lo < y->lo ? x->lo : y->lo, x->hi > y->hi ? x->hi : y->hi);
        cab_vec_push(a, &b->syms, sym);
        cab_vec_push(a, &b->dims_of[0], x);
        cab_vec_push(a, &b->dims_of[1], y);
    }
    cab_vec_push(a, &b->dims, sym);
}

static bool join_result(branches *b, const cab_value *x, const cab_value *y)
{
    if (x->type.kind != y->type.kind || x->type.dtype != y->type.dtype) {
        cab_dec_bad(b->d, "the branches give results of different types");
        return false;
    }
    if (x->type.kind == CAB_KIND_tensor && x->type.rank != y->type.rank) {
        cab_dec_unsupported(b->d, "the branches give tensors of rank %d and %d", x->type.rank,
                            y->type.rank);
        return false;
    }
    for (int i = 0; x->type.kind == CAB_KIND_tensor && i < x->type.rank; i++)
        join_extent(b, x->type.dims[i], y->type.dims[i]);
    return true;
}

static cab_attr graph_attr(const char *name, cab_graph *g)
{
    cab_attr a = { .name = name, .kind = CAB_ATTR_GRAPH };

    a.u.graph = g;
    return a;
}

cab_node *cab_dec_branch(cab_dec *d, const cab_dim *cond, cab_dec_body *then, cab_dec_body *other,
                         cab_value *const *x, cab_value *const *y, int n)
{
    branches b = { .d = d };
    cab_value **in = CAB_NEW_N(d->tmp, cab_value *, then->captured.n + other->captured.n + 1);
    int n_in = 0;

    if (cab_dec_failed(d))
        return NULL;
    b.local[0] = cab_symbols_of(d->tmp, then->d.g);
    b.local[1] = cab_symbols_of(d->tmp, other->d.g);
    for (int i = 0; i < n; i++)
        if (!join_result(&b, x[i], y[i]))
            return NULL;
    set_outputs(then, x, n);
    set_outputs(other, y, n);
    for (size_t i = 0; i < then->captured.n; i++)
        in[n_in++] = then->captured.p[i];
    for (size_t i = 0; i < other->captured.n; i++)
        in[n_in++] = other->captured.p[i];
    cab_attr attr[] = {
        cab_a_dims("cond", &cond, 1), graph_attr("then", then->d.g), graph_attr("else", other->d.g),
        cab_a_int("n_then", (int64_t)then->captured.n),
        cab_a_dims("dims", b.dims.p, (int64_t)b.dims.n),
        cab_a_dims("syms", b.syms.p, (int64_t)b.syms.n),
        cab_a_dims("then_dims", b.dims_of[0].p, (int64_t)b.dims_of[0].n),
        cab_a_dims("else_dims", b.dims_of[1].p, (int64_t)b.dims_of[1].n),
    };
    return cab_build_node(&d->b, CAB_OP_if, n_in, in, n, sizeof attr / sizeof *attr, attr);
}

/* ---- loops ---- */
void cab_dec_loop_begin(cab_dec *d, cab_dec_loop *l, const cab_dim *trip)
{
    const cab_dim *zero = cab_dec_c(d, 0);

    *l = (cab_dec_loop){ .trip = cab_dim_max(d->g->dims, trip, zero) };
    cab_dec_body_begin(d, &l->body, "body");
    l->iter = cab_dim_fresh(d->g->dims, "iter");
    cab_dim_assume(d->g->dims, l->iter, 0, l->trip->hi > 0 ? l->trip->hi - 1 : 0, 1);
}

cab_value *cab_dec_loop_carry_as(cab_dec_loop *l, cab_value *v, const cab_type *t)
{
    cab_value *w = v && t ? cab_dec_body_input(&l->body, t) : NULL;

    cab_vec_push(l->body.d.tmp, &l->first, v);
    cab_vec_push(l->body.d.tmp, &l->inner, w);
    for (int k = 0; w && t->kind == CAB_KIND_tensor && k < t->rank; k++)
        if (t->dims[k] != v->type.dims[k])
            cab_vec_push(l->body.d.tmp, &l->syms,
                         ((cab_dec_carried){ t->dims[k], v->type.dims[k],
                                             (int)l->first.n - 1, k }));
    return w;
}

cab_value *cab_dec_loop_carry(cab_dec_loop *l, cab_value *v)
{
    return cab_dec_loop_carry_as(l, v, v ? &v->type : NULL);
}

/* What changes from time to time keeps the type that was expected of it. */
static bool check_next(cab_dec_loop *l, size_t i, const cab_value *next)
{
    const cab_type *t = &l->inner.p[i]->type;
    cab_where w = cab_node_where(l->body.d.n);

    if (next->type.kind != t->kind || next->type.dtype != t->dtype ||
        (t->kind == CAB_KIND_tensor && next->type.rank != t->rank)) {
        cab_dec_bad(l->body.outer, "a carried value changes its type");
        return false;
    }
    for (int k = 0; t->kind == CAB_KIND_tensor && k < t->rank; k++) {
        bool carried = false;

        for (size_t s = 0; s < l->syms.n; s++)
            carried |= l->syms.p[s].value == (int)i && l->syms.p[s].axis == k;
        if (!carried && cab_graph_require_eq(l->body.d.g, t->dims[k], next->type.dims[k],
                                             "a carried value keeps its shape", &w,
                                             l->body.d.b.diag) != CAB_OK) {
            l->body.outer->b.status = CAB_EMODEL;
            return false;
        }
    }
    return true;
}

/* Extents of what is stacked, as seen outside; those that may differ from time
 * to time are those of the last time. */
static void stack_extents(cab_dec_loop *l, const cab_value *v, dim_list *dims, dim_list *syms,
                          dim_list *first, dim_list *next)
{
    cab_dec *d = l->body.outer;
    cab_map *local = cab_symbols_of(d->tmp, l->body.d.g);

    cab_map_setu(local, (uint64_t)l->iter->id + 1, l);
    for (size_t i = 0; i < l->syms.n; i++)
        cab_map_setu(local, (uint64_t)l->syms.p[i].sym->id + 1, l);
    for (int k = 0; k < v->type.rank; k++) {
        const cab_dim *x = v->type.dims[k];

        if (cab_symbols_in(local, x)) {
            cab_vec_push(d->tmp, syms, outer_symbol(d, 0, x->hi));
            cab_vec_push(d->tmp, first, cab_dec_c(d, 0));
            cab_vec_push(d->tmp, next, x);
            x = syms->p[syms->n - 1];
        }
        cab_vec_push(d->tmp, dims, x);
    }
}

static void carried_symbols(cab_dec_loop *l, cab_value *const *next_values, dim_list *syms,
                            dim_list *first, dim_list *next)
{
    cab_arena *tmp = l->body.outer->tmp;

    for (size_t i = 0; i < l->syms.n; i++) {
        const cab_dec_carried *c = &l->syms.p[i];

        cab_vec_push(tmp, syms, c->sym);
        cab_vec_push(tmp, first, c->first);
        cab_vec_push(tmp, next, next_values[c->value]->type.dims[c->axis]);
    }
}

cab_node *cab_dec_loop_end(cab_dec_loop *l, cab_value *const *next, cab_value *const *stacked,
                           int n_stacked, cab_value *go)
{
    cab_dec *d = l->body.outer;
    int carried = (int)l->first.n, n_out = carried + n_stacked, n = 0, n_in = 0;
    const cab_dim *count = l->trip, *go_sym = NULL;
    cab_value **out = CAB_NEW_N(d->tmp, cab_value *, n_out + 2);
    cab_value **in = CAB_NEW_N(d->tmp, cab_value *, (size_t)carried + l->body.captured.n + 1);
    dim_list dims = { 0 }, syms = { 0 }, first = { 0 }, after = { 0 };

    if (l->body.d.b.status != CAB_OK)
        d->b.status = l->body.d.b.status;
    if (cab_dec_failed(d))
        return NULL;
    if (go) {
        go_sym = outer_symbol(d, 0, 1);
        count = outer_symbol(d, 0, l->trip->hi);
        out[n++] = go;
    }
    for (int i = 0; i < carried; i++) {
        if (!check_next(l, (size_t)i, next[i]))
            return NULL;
        out[n++] = next[i];
        in[n_in++] = l->first.p[i];
    }
    carried_symbols(l, next, &syms, &first, &after);
    for (int i = 0; i < n_stacked; i++) {
        stack_extents(l, stacked[i], &dims, &syms, &first, &after);
        out[n++] = stacked[i];
    }
    for (size_t i = 0; i < l->body.captured.n; i++)
        in[n_in++] = l->body.captured.p[i];
    set_outputs(&l->body, out, n);
    cab_attr attr[] = {
        graph_attr("body", l->body.d.g), cab_a_int("carried", carried),
        cab_a_dims("trip", &l->trip, 1), cab_a_dims("iter", &l->iter, 1),
        cab_a_dims("count", &count, 1), cab_a_dims("go", &go_sym, go != NULL),
        cab_a_dims("dims", dims.p, (int64_t)dims.n), cab_a_dims("syms", syms.p, (int64_t)syms.n),
        cab_a_dims("first", first.p, (int64_t)first.n),
        cab_a_dims("next", after.p, (int64_t)after.n),
    };
    return cab_build_node(&d->b, CAB_OP_loop, n_in, in, n_out, sizeof attr / sizeof *attr, attr);
}
