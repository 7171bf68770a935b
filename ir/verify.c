/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - is this a well-formed graph?
 *
 * Checks, for a graph and everything inside it: the node list and the links
 * between nodes and values; definition before use; unique names; use lists
 * that match the operands; ops of the level only, and at CORE level no value of
 * an outer graph; every node against its rows;
 * attribute values that can be read; at CORE level, stored types that are the
 * inferred ones.  The first failure ends it.  The graph is as before
 * afterwards: what inference writes is put back.
 */
#include <string.h>
#include "ir/ir_int.h"

enum { MAX_DEPTH = 256 };

/* By value id of the whole tree. */
typedef struct seen {
    const cab_value *v;
    const cab_graph *g;        /* that defines it */
    bool defined;
    int operands, outputs;
} seen;

typedef struct verify {
    const cab_graph *root;
    cab_diag *d;
    seen *values;
    uint32_t n_values;
    int depth;
} verify;

/* ---- errors ---- */
static cab_status fail(verify *c, const cab_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An unnamed node without location is told by its first value's number. */
static cab_status fail(verify *c, const cab_node *n, const char *fmt, ...)
{
    cab_where w = n ? cab_node_where(n) : (cab_where){ .node = NULL };
    cab_status s;
    va_list ap;

    if (n && !w.node && n->n_out) {
        cab_buf b = cab_buf_on(c->root->arena);
        cab_printer p = cab_printer_on(&b, c->root);
        cab_print_value(&p, n->out[0]);
        w.node = cab_buf_cstr(&b);
    }
    va_start(ap, fmt);
    s = cab_vfail(c->d, CAB_EMODEL, &w, fmt, ap);
    va_end(ap);
    return s;
}

static const char *name_of(verify *c, const cab_value *v)
{
    cab_buf b = cab_buf_on(c->root->arena);
    cab_printer p = cab_printer_on(&b, c->root);

    cab_print_value(&p, v);
    return cab_buf_cstr(&b);
}

/* ---- values ---- */
static cab_status define(verify *c, const cab_graph *g, const cab_node *n,
                         const cab_value *v)
{
    if (!v || v->id >= c->n_values)
        return fail(c, n, "a value that is not of this graph");
    if (c->values[v->id].v)
        return fail(c, n, "%s is defined twice", name_of(c, v));
    c->values[v->id] = (seen){ v, g, true, 0, 0 };
    if (v->name && cab_graph_find(g, v->name) != v)
        return fail(c, n, "the name of %s is not unique", name_of(c, v));
    return CAB_OK;
}

/* By something in graph g; n says where. */
static cab_status use(verify *c, const cab_graph *g, const cab_node *n, const cab_value *v)
{
    if (v->id >= c->n_values || c->values[v->id].v != v || !c->values[v->id].defined)
        return fail(c, n, "%s is used before its definition", name_of(c, v));
    if (g->level == CAB_LEVEL_CORE && c->values[v->id].g != g)
        return fail(c, n, "graph '%s' sees only its inputs, not %s", g->name, name_of(c, v));
    return CAB_OK;
}

static cab_status check_links(verify *c, const cab_graph *g, const cab_node *n)
{
    if (n->graph != g || (n->prev ? n->prev->next : g->first) != n
        || (n->next ? n->next->prev : g->last) != n)
        return fail(c, n, "the list of nodes is broken");
    for (int i = 0; i < n->n_in; i++) {
        if (!n->in[i])
            continue;
        CAB_TRY(use(c, g, n, n->in[i]));
        c->values[n->in[i]->id].operands++;
    }
    for (int i = 0; i < n->n_out; i++)
        if (!n->out[i] || n->out[i]->def != n || n->out[i]->def_index != i)
            return fail(c, n, "result %d does not know its node", i);
    return CAB_OK;
}

/* ---- inference again ---- */
static cab_status check_inferred(verify *c, const cab_graph *g, cab_node *n)
{
    cab_graph *w = n->graph;
    cab_value *saved = cab_alloc(g->arena, (size_t)n->n_out * sizeof *saved);
    size_t n_guards = g->guards.n;
    cab_status s;

    for (int i = 0; i < n->n_out; i++)
        saved[i] = *n->out[i];
    s = cab_infer_node(w, n, c->d);
    for (int i = 0; i < n->n_out; i++) {
        cab_type inferred = n->out[i]->type;
        n->out[i]->type = saved[i].type;
        n->out[i]->sym = saved[i].sym;
        n->out[i]->n_sym = saved[i].n_sym;
        if (s == CAB_OK && !cab_type_may_equal(g, &inferred, &saved[i].type)) {
            cab_buf b = cab_buf_on(g->arena);
            cab_type_print(&b, &saved[i].type);
            cab_buf_str(&b, ", inferred is ");
            cab_type_print(&b, &inferred);
            s = fail(c, n, "result %d has type %s", i, cab_buf_cstr(&b));
        }
    }
    w->guards.n = n_guards;
    return s;
}

/* ---- types and attributes ---- */
static bool is_type(const cab_type *t)
{
    bool seen_axis[CAB_MAX_RANK] = { false };

    for (; t && t->kind != CAB_KIND_tensor; t = t->elem)
        ;
    if (t && t->rank == CAB_RANK_UNKNOWN)
        return true;                   /* ONNX level: known after decompose */
    if (!t || t->rank < 0 || t->rank > CAB_MAX_RANK)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (!t->dims[i])
            return false;
    if (t->layout && t->layout->rank != t->rank)
        return false;
    for (int i = 0; t->layout && i < t->rank; i++) {
        if (t->layout->perm[i] >= t->rank || seen_axis[t->layout->perm[i]])
            return false;
        seen_axis[t->layout->perm[i]] = true;
    }
    return true;
}

static cab_status check_tensor(verify *c, const cab_node *n, const cab_attr *a,
                               const cab_tensor_attr *t)
{
    int64_t numel = t ? cab_type_numel_static(&t->type) : -1;
    uint64_t bytes;

    if (numel < 0 || (!t->strs && !t->blob))
        return fail(c, n, "attribute '%s' is no tensor", a->name);
    if (t->blob && (!cab_dtype_bytes(t->type.dtype, (uint64_t)numel, &bytes)
                    || bytes != t->blob->bytes))
        return fail(c, n, "attribute '%s' has the wrong number of bytes", a->name);
    return CAB_OK;
}

static cab_status check_attr(verify *c, const cab_node *n, const cab_attr *a)
{
    if (a->kind == CAB_ATTR_TENSOR)
        return check_tensor(c, n, a, a->u.tensor);
    for (int64_t i = 0; a->kind == CAB_ATTR_TENSORS && i < a->n; i++)
        CAB_TRY(check_tensor(c, n, a, &a->u.tensor[i]));
    for (int64_t i = 0; a->kind == CAB_ATTR_DIMS && i < a->n; i++)
        if (!a->u.dims[i])
            return fail(c, n, "attribute '%s' lacks an extent", a->name);
    if (a->kind == CAB_ATTR_TYPE && !is_type(a->u.type))
        return fail(c, n, "attribute '%s' is no type", a->name);
    return CAB_OK;
}

/* ---- graphs ---- */
static cab_status check_graph(verify *c, const cab_graph *g, const cab_node *owner);

static cab_status check_node(verify *c, const cab_graph *g, cab_node *n)
{
    const cab_graph *sub;
    bool onnx = cab_op_is_onnx(n->op->id);

    CAB_TRY(check_links(c, g, n));
    if (!onnx && !n->op->infer)
        return fail(c, n, "a node without an op");
    if (onnx != (g->level == CAB_LEVEL_ONNX) && n->op->id != CAB_OP_const
        && n->op->id != CAB_OP_custom)
        return fail(c, n, "op %s in a graph of the %s level", n->op->name,
                    onnx ? "CORE" : "ONNX");
    for (int i = 0; i < n->n_attr; i++)
        CAB_TRY(check_attr(c, n, &n->attr[i]));
    for (int k = 0; (sub = cab_node_subgraph(n, k)); k++) {
        if (sub->parent != g || sub->level != g->level)
            return fail(c, n, "graph '%s' is not inside its node's graph", sub->name);
        CAB_TRY(check_graph(c, sub, n));
    }
    for (int i = 0; i < n->n_out; i++) {
        if (!is_type(&n->out[i]->type))
            return fail(c, n, "result %d has a malformed type", i);
        CAB_TRY(define(c, g, n, n->out[i]));
    }
    return onnx ? cab_check_rows(n, true, c->d) : check_inferred(c, g, n);
}

/* What is defined inside is not seen outside. */
static void leave(verify *c, const cab_graph *g)
{
    for (size_t i = 0; i < g->inputs.n; i++)
        c->values[g->inputs.p[i]->id].defined = false;
    for (const cab_node *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_out; i++)
            c->values[n->out[i]->id].defined = false;
}

static cab_status check_graph(verify *c, const cab_graph *g, const cab_node *owner)
{
    if (++c->depth > MAX_DEPTH)
        return fail(c, owner, "graphs nested over %d deep", MAX_DEPTH);
    for (size_t i = 0; i < g->inputs.n; i++) {
        const cab_value *v = g->inputs.p[i];
        CAB_TRY(define(c, g, owner, v));
        if (v->def || !is_type(&v->type))
            return fail(c, owner, "input %zu of graph '%s' is malformed", i, g->name);
    }
    for (cab_node *n = g->first; n; n = n->next)
        CAB_TRY(check_node(c, g, n));
    if (g->outputs.n != g->output_names.n)
        return fail(c, owner, "outputs of graph '%s' without names", g->name);
    for (size_t i = 0; i < g->outputs.n; i++) {
        CAB_TRY(use(c, g, owner, g->outputs.p[i]));
        c->values[g->outputs.p[i]->id].outputs++;
    }
    leave(c, g);
    c->depth--;
    return CAB_OK;
}

/* The use list of every value is what the walk met. */
static cab_status check_uses(verify *c, const seen *s)
{
    int listed = 0;

    for (const cab_use *u = s->v->uses; u; u = u->next) {
        if (u->index < 0 || u->index >= u->node->n_in
            || u->node->in[u->index] != s->v || ++listed > s->operands)
            return fail(c, s->v->def, "%s has a use that is none", name_of(c, s->v));
    }
    if (listed != s->operands || s->v->n_uses != s->operands + s->outputs)
        return fail(c, s->v->def, "%s counts %d uses and has %d", name_of(c, s->v),
                    s->v->n_uses, s->operands + s->outputs);
    return CAB_OK;
}

cab_status cab_graph_verify(const cab_graph *g, cab_diag *d)
{
    verify c = { .root = cab_graph_root(g), .d = d };

    c.n_values = c.root->next_id;
    c.values = CAB_NEW_N(g->arena, seen, c.n_values);
    CAB_TRY(check_graph(&c, c.root, NULL));
    for (uint32_t i = 0; i < c.n_values; i++)
        if (c.values[i].v)
            CAB_TRY(check_uses(&c, &c.values[i]));
    return CAB_OK;
}
