/* SPDX-License-Identifier: Apache-2.0 */
/*
 * print.c - the text form of graphs; ir/README.md holds its grammar.
 *
 * print(parse(t)) == t for what this file printed: nothing that a pass can
 * see is left out.  Attributes equal to their row's default are not written;
 * unnamed values are numbered in order of appearance, so that dumps compare
 * well.
 */
#include <stdlib.h>
#include <string.h>
#include "ir/ir_int.h"

static void number_graph(cab_printer *p, const cab_graph *g, uint32_t *next);

static void number_value(cab_printer *p, const cab_value *v, uint32_t *next)
{
    if (!v->name && v->id < p->n_numbers)
        p->numbers[v->id] = ++*next;
}

static void number_node(cab_printer *p, const cab_node *n, uint32_t *next)
{
    const cab_graph *sub;

    for (int i = 0; i < n->n_out; i++)
        number_value(p, n->out[i], next);
    for (int k = 0; (sub = cab_node_subgraph(n, k)); k++)
        number_graph(p, sub, next);
}

static void number_graph(cab_printer *p, const cab_graph *g, uint32_t *next)
{
    for (size_t i = 0; i < g->inputs.n; i++)
        number_value(p, g->inputs.p[i], next);
    for (const cab_node *n = g->first; n; n = n->next)
        number_node(p, n, next);
}

cab_printer cab_printer_on(cab_buf *b, const cab_graph *g)
{
    const cab_graph *root = cab_graph_root(g);
    cab_printer p = { .b = b, .n_numbers = root->next_id };
    uint32_t next = 0;

    p.numbers = CAB_NEW_N(b->arena, uint32_t, p.n_numbers);
    number_graph(&p, root, &next);
    return p;
}

/* ---- names, numbers, types ---- */
void cab_print_name(cab_buf *b, char sigil, const char *name)
{
    cab_buf_char(b, sigil);
    if (cab_lex_plain_name(name))
        cab_buf_str(b, name);
    else
        cab_buf_quoted(b, name, strlen(name));
}

void cab_print_value(cab_printer *p, const cab_value *v)
{
    if (!v)
        cab_buf_char(p->b, '_');
    else if (v->name)
        cab_print_name(p->b, '%', v->name);
    else if (v->id < p->n_numbers && p->numbers[v->id])
        cab_buf_printf(p->b, "%%%u", (unsigned)p->numbers[v->id] - 1);
    else
        cab_buf_printf(p->b, "%%?%u", (unsigned)v->id);
}

void cab_print_double(cab_buf *b, double v)
{
    cab_buf wide = cab_buf_on(b->arena), narrow = cab_buf_on(b->arena);

    cab_buf_f64(&wide, v);
    cab_buf_f32(&narrow, (float)v);
    if ((double)(float)v == v && narrow.n < wide.n) {
        cab_buf_bytes(b, narrow.p, narrow.n);
        cab_buf_char(b, 'f');
    } else {
        cab_buf_bytes(b, wide.p, wide.n);
    }
}

static void print_layout(cab_buf *b, const cab_layout *l)
{
    bool halo = false;

    cab_buf_str(b, " layout(");
    for (int i = 0; i < l->rank; i++) {
        cab_buf_printf(b, i ? ",%d" : "%d", l->perm[i]);
        halo = halo || l->halo_lo[i] || l->halo_hi[i];
    }
    for (int side = 0; halo && side < 2; side++)
        for (int i = 0; i < l->rank; i++)
            cab_buf_printf(b, "%s%d", i ? "," : "; ",
                           (side ? l->halo_hi : l->halo_lo)[i]);
    cab_buf_char(b, ')');
}

static void print_quant(cab_printer *p, const cab_quant *q)
{
    cab_buf_printf(p->b, " quant(%d, %lld, ", q->axis, (long long)q->block);
    cab_print_value(p, q->scale);
    cab_buf_str(p->b, ", ");
    cab_print_value(p, q->zero);
    cab_buf_char(p->b, ')');
}

void cab_print_type(cab_printer *p, const cab_type *t)
{
    if (t->kind != CAB_KIND_tensor) {
        cab_buf_str(p->b, t->kind == CAB_KIND_sequence ? "seq(" : "optional(");
        cab_print_type(p, t->elem);
        cab_buf_char(p->b, ')');
        return;
    }
    bool unknown = t->rank == CAB_RANK_UNKNOWN;
    cab_buf_str(p->b, unknown && t->dtype == CAB_DT_none ? "any" : cab_dtype_name(t->dtype));
    cab_buf_str(p->b, unknown ? "[*" : "[");
    for (int i = 0; i < t->rank; i++) {
        if (i)
            cab_buf_char(p->b, ',');
        cab_dim_print(p->b, t->dims[i]);
    }
    cab_buf_char(p->b, ']');
    if (t->layout)
        print_layout(p->b, t->layout);
    if (t->quant)
        print_quant(p, t->quant);
}

void cab_type_print(cab_buf *b, const cab_type *t)
{
    cab_printer p = { .b = b };

    cab_print_type(&p, t);
}

/* ---- attributes ---- */
static void print_graph(cab_printer *p, const cab_graph *g);

/* Element i of a list attribute, or the one element of the other kinds. */
static void print_element(cab_printer *p, const cab_attr *a, int64_t i)
{
    switch (a->kind) {
    case CAB_ATTR_INT:
        cab_buf_printf(p->b, "%lld", (long long)a->u.i);
        break;
    case CAB_ATTR_INTS:
        cab_buf_printf(p->b, "%lld", (long long)a->u.ints[i]);
        break;
    case CAB_ATTR_FLOAT:
        cab_print_double(p->b, a->u.f);
        break;
    case CAB_ATTR_FLOATS:
        cab_print_double(p->b, a->u.floats[i]);
        break;
    case CAB_ATTR_STR:
        cab_buf_quoted(p->b, a->u.s, a->s_len);
        break;
    case CAB_ATTR_STRS:
        cab_buf_quoted(p->b, a->u.strs[i], strlen(a->u.strs[i]));
        break;
    case CAB_ATTR_DIMS:
        cab_dim_print(p->b, a->u.dims[i]);
        break;
    case CAB_ATTR_DTYPE:
        cab_buf_str(p->b, cab_dtype_name(a->u.dtype));
        break;
    case CAB_ATTR_TYPE:
        cab_print_type(p, a->u.type);
        break;
    case CAB_ATTR_TENSOR: case CAB_ATTR_TENSORS:
        cab_print_tensor(p, &a->u.tensor[i].type, &a->u.tensor[i]);
        break;
    case CAB_ATTR_GRAPH:
        print_graph(p, a->u.graph);
        break;
    case CAB_ATTR_GRAPHS:
        print_graph(p, a->u.graphs[i]);
        break;
    case CAB_ATTR_KIND_COUNT:
        CAB_UNREACHABLE();
    }
}

static bool is_list(cab_attr_kind k)
{
    return k == CAB_ATTR_INTS || k == CAB_ATTR_FLOATS || k == CAB_ATTR_STRS
        || k == CAB_ATTR_DIMS || k == CAB_ATTR_GRAPHS || k == CAB_ATTR_TENSORS;
}

static void print_attr(cab_printer *p, const cab_attr *a)
{
    cab_buf_printf(p->b, "%s = ", a->name);
    if (!is_list(a->kind)) {
        print_element(p, a, 0);
        return;
    }
    cab_buf_char(p->b, '[');
    for (int64_t i = 0; i < a->n; i++) {
        if (i)
            cab_buf_str(p->b, ", ");
        print_element(p, a, i);
    }
    cab_buf_char(p->b, ']');
}

static bool is_default(const cab_node *n, const cab_attr *a)
{
    cab_attr_row row;
    cab_attr def;

    return cab_rows_find_attr(n->op, a->name, &row)
        && cab_attr_default(n->graph, &row, &def) && cab_attr_equal(a, &def);
}

static void print_attrs(cab_printer *p, const cab_node *n)
{
    int count = 0;

    for (int i = 0; i < n->n_attr; i++) {
        if (is_default(n, &n->attr[i]))
            continue;
        cab_buf_str(p->b, count++ ? ", " : " {");
        print_attr(p, &n->attr[i]);
    }
    if (count)
        cab_buf_char(p->b, '}');
}

/* ---- nodes and graphs ---- */
static void print_tail(cab_printer *p, const cab_node *n)
{
    if (n->loc || n->loc_op || n->opset) {
        cab_buf_str(p->b, " loc ");
        if (n->loc)
            cab_buf_quoted(p->b, n->loc, strlen(n->loc));
        else
            cab_buf_char(p->b, '_');
    }
    if (n->loc_op) {
        cab_buf_char(p->b, ' ');
        cab_buf_quoted(p->b, n->loc_op, strlen(n->loc_op));
    }
    if (n->opset)
        cab_buf_printf(p->b, " %d", n->opset);
    if (n->group >= 0)
        cab_buf_printf(p->b, " group %d", n->group);
}

static void print_node(cab_printer *p, const cab_node *n)
{
    const cab_tensor_attr *value;

    for (int i = 0; i < n->n_out; i++) {
        if (i)
            cab_buf_str(p->b, ", ");
        cab_print_value(p, n->out[i]);
    }
    cab_buf_printf(p->b, " = %s", n->op->name);
    if (n->n_out == 1 && (value = cab_const_attr(n->out[0]))) {
        cab_buf_char(p->b, ' ');
        cab_print_tensor(p, &n->out[0]->type, value);
        print_tail(p, n);
        return;
    }
    for (int i = 0; i < n->n_in; i++) {
        cab_buf_str(p->b, i ? ", " : " ");
        cab_print_value(p, n->in[i]);
    }
    print_attrs(p, n);
    for (int i = 0; i < n->n_out; i++) {
        cab_buf_str(p->b, i ? ", " : " : ");
        cab_print_type(p, &n->out[i]->type);
    }
    print_tail(p, n);
}

void cab_node_print(cab_buf *b, const cab_node *n)
{
    cab_printer p = cab_printer_on(b, n->graph);

    print_node(&p, n);
}

static void print_indent(cab_printer *p)
{
    for (int i = 0; i < p->depth; i++)
        cab_buf_str(p->b, "  ");
}

static void print_header(cab_printer *p, const cab_graph *g)
{
    cab_buf_str(p->b, "graph ");
    cab_print_name(p->b, '@', g->name);
    cab_buf_char(p->b, '(');
    for (size_t i = 0; i < g->inputs.n; i++) {
        if (i)
            cab_buf_str(p->b, ", ");
        cab_print_value(p, g->inputs.p[i]);
        cab_buf_str(p->b, ": ");
        cab_print_type(p, &g->inputs.p[i]->type);
    }
    cab_buf_str(p->b, ") -> (");
    for (size_t i = 0; i < g->outputs.n; i++) {
        const char *name = g->output_names.p[i], *own = g->outputs.p[i]->name;
        if (i)
            cab_buf_str(p->b, ", ");
        cab_print_value(p, g->outputs.p[i]);
        if (name && (!own || strcmp(own, name))) {
            cab_buf_char(p->b, ' ');
            cab_buf_quoted(p->b, name, strlen(name));
        }
    }
    cab_buf_str(p->b, ") ");
    if (!g->parent)
        cab_buf_str(p->b, g->level == CAB_LEVEL_CORE ? "core " : "onnx ");
    cab_buf_str(p->b, "{\n");
}

static void print_graph(cab_printer *p, const cab_graph *g)
{
    print_header(p, g);
    p->depth++;
    for (size_t i = 0; i < g->guards.n; i++) {
        const cab_guard_eq *q = &g->guards.p[i];
        print_indent(p);
        cab_buf_str(p->b, "guard ");
        cab_dim_print(p->b, q->lhs);
        cab_buf_str(p->b, q->le ? " <= " : " == ");
        cab_dim_print(p->b, q->rhs);
        cab_buf_char(p->b, ' ');
        cab_buf_quoted(p->b, q->why, strlen(q->why));
        cab_buf_char(p->b, '\n');
    }
    for (const cab_node *n = g->first; n; n = n->next) {
        print_indent(p);
        print_node(p, n);
        cab_buf_char(p->b, '\n');
    }
    p->depth--;
    print_indent(p);
    cab_buf_char(p->b, '}');
}

/* ---- facts of symbols ---- */
typedef struct facts { cab_buf *b; cab_map *seen; } facts;

static bool has_facts(const cab_dim *s)
{
    return s->lo != 0 || s->hi != INT32_MAX || s->divisor != 1;
}

static void print_facts(facts *f, const cab_dim *x)
{
    if (cab_map_setu(f->seen, (uint64_t)(uintptr_t)x, f) || x->kind == CAB_DIM_CONST)
        return;
    if (x->kind != CAB_DIM_SYM) {
        for (int i = 0; i < x->n_args; i++)
            print_facts(f, x->args[i]);
        return;
    }
    if (!has_facts(x))
        return;
    cab_buf_str(f->b, "sym ");
    cab_dim_print(f->b, x);
    cab_buf_printf(f->b, " %lld..%lld", (long long)x->lo, (long long)x->hi);
    if (x->divisor != 1)
        cab_buf_printf(f->b, " div %lld", (long long)x->divisor);
    cab_buf_char(f->b, '\n');
}

static void print_type_facts(facts *f, const cab_type *t)
{
    for (; t; t = t->elem)
        for (int i = 0; i < t->rank; i++)
            print_facts(f, t->dims[i]);
}

static void print_graph_facts(facts *f, const cab_graph *g)
{
    const cab_graph *sub;

    for (size_t i = 0; i < g->inputs.n; i++)
        print_type_facts(f, &g->inputs.p[i]->type);
    for (size_t i = 0; i < g->guards.n; i++) {
        print_facts(f, g->guards.p[i].lhs);
        print_facts(f, g->guards.p[i].rhs);
    }
    for (const cab_node *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_out; i++)
            print_type_facts(f, &n->out[i]->type);
        for (int i = 0; i < n->n_attr; i++)
            for (int64_t k = 0; n->attr[i].kind == CAB_ATTR_DIMS && k < n->attr[i].n; k++)
                print_facts(f, n->attr[i].u.dims[k]);
        for (int k = 0; (sub = cab_node_subgraph(n, k)); k++)
            print_graph_facts(f, sub);
    }
}

static void print_all(cab_buf *b, const cab_graph *g, bool blobs)
{
    cab_printer p = cab_printer_on(b, g);
    facts f = { b, cab_map_create(b->arena) };

    if (blobs)
        p.blobs = cab_map_create(b->arena);
    print_graph_facts(&f, g);
    print_graph(&p, g);
    cab_buf_char(b, '\n');
    if (blobs)
        cab_print_blobs(&p);
}

void cab_graph_print(cab_buf *b, const cab_graph *g)
{
    print_all(b, g, true);
}

void cab_graph_print_brief(cab_buf *b, const cab_graph *g)
{
    print_all(b, g, false);
}
