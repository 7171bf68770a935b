/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.c - graphs from text; the inverse of print.c, grammar in ir/README.md.
 *
 * CORE nodes are inferred as they are read, and a type that is written must
 * be the inferred one (it may be left out); ONNX nodes take the written types.
 * Hostile text is bounded by its own size but for the nesting of graphs, which
 * has a limit, as has the number of nodes.
 */
#include <ctype.h>
#include <limits.h>
#include <string.h>
#include "ir/ir_int.h"

enum { MAX_DEPTH = 64, MAX_NODES = 1 << 20, MAX_OPERANDS = 1 << 16 };

struct cab_scope { cab_map *numbers; cab_scope *up; };

/* A value as written: %name, %"name", %12, or _ for none. */
typedef struct reference { char *text; bool numbered, absent; const char *at; } reference;
typedef CAB_VEC(reference) references;
typedef CAB_VEC(cab_value *) values;
typedef CAB_VEC(cab_attr) attrs;

/* ---- names ---- */
static cab_status parse_name(cab_lex *l, char **out)
{
    const char *from = l->p;
    size_t n;

    if (*l->p == '"') {
        CAB_TRY(cab_lex_string(l, out, &n));
        if (strlen(*out) == n)
            return CAB_OK;
        return cab_lex_fail(l, from, CAB_EPARSE, "a name with a zero byte");
    }
    while (isalnum((unsigned char)*l->p) || (*l->p && strchr("_./$", *l->p)))
        l->p++;
    *out = cab_strndup(l->arena, from, (size_t)(l->p - from));
    return cab_lex_plain_name(*out) ? CAB_OK
                                    : cab_lex_fail(l, from, CAB_EPARSE, "a name expected");
}

static cab_status parse_reference(cab_lex *l, reference *out)
{
    *out = (reference){ .text = NULL };
    cab_lex_space(l);
    out->at = l->p;
    if (cab_lex_word(l, "_")) {
        out->absent = true;
        return CAB_OK;
    }
    CAB_TRY(cab_lex_expect(l, '%'));
    if (!isdigit((unsigned char)*l->p))
        return parse_name(l, &out->text);
    out->numbered = true;
    out->text = cab_strndup(l->arena, l->p, strspn(l->p, "0123456789"));
    l->p += strlen(out->text);
    return CAB_OK;
}

static cab_value *lookup(cab_parser *p, const reference *r)
{
    cab_value *v = NULL;

    if (!r->numbered)
        return cab_graph_find(p->g, r->text);
    for (cab_scope *s = p->scope; s && !v; s = s->up)
        v = cab_map_gets(s->numbers, r->text);
    return v;
}

static cab_status resolve(cab_parser *p, const reference *r, cab_value **out)
{
    *out = r->absent ? NULL : lookup(p, r);
    if (*out || r->absent)
        return CAB_OK;
    return cab_lex_fail(&p->l, r->at, CAB_EPARSE, "%%%.200s is not defined before",
                        r->text);
}

cab_status cab_parse_value(cab_parser *p, cab_value **out)
{
    reference r;

    CAB_TRY(parse_reference(&p->l, &r));
    return resolve(p, &r, out);
}

static cab_status check_new(cab_parser *p, const reference *r)
{
    if (r->absent)
        return cab_lex_fail(&p->l, r->at, CAB_EPARSE, "a value expected");
    if (lookup(p, r))
        return cab_lex_fail(&p->l, r->at, CAB_EPARSE, "%%%.200s is defined twice",
                            r->text);
    return CAB_OK;
}

static cab_status define(cab_parser *p, const reference *r, cab_value *v)
{
    CAB_TRY(check_new(p, r));
    if (r->numbered)
        cab_map_sets(p->scope->numbers, r->text, v);
    else
        cab_value_set_name(p->g, v, r->text);
    return CAB_OK;
}

/* ---- attributes ---- */
static cab_status parse_graph(cab_parser *p, cab_graph **out);

static cab_status parse_graphs(cab_parser *p, cab_attr *a)
{
    CAB_VEC(cab_graph *) v = {0};
    cab_graph *g;

    CAB_TRY(cab_lex_expect(&p->l, '['));
    while (!cab_lex_char(&p->l, ']')) {
        if (v.n)
            CAB_TRY(cab_lex_expect(&p->l, ','));
        CAB_TRY(parse_graph(p, &g));
        cab_vec_push(p->l.arena, &v, g);
    }
    a->u.graphs = v.p;
    a->n = (int64_t)v.n;
    return CAB_OK;
}

static cab_status parse_tensors(cab_parser *p, cab_attr *a)
{
    CAB_VEC(cab_tensor_attr) v = {0};
    cab_tensor_attr t;

    CAB_TRY(cab_lex_expect(&p->l, '['));
    while (!cab_lex_char(&p->l, ']')) {
        if (v.n)
            CAB_TRY(cab_lex_expect(&p->l, ','));
        CAB_TRY(cab_parse_tensor(p, &t));
        cab_vec_push(p->l.arena, &v, t);
    }
    a->u.tensor = v.p;
    a->n = (int64_t)v.n;
    return CAB_OK;
}

static cab_status parse_attr_value(cab_parser *p, cab_attr *a)
{
    switch (a->kind) {
    case CAB_ATTR_GRAPH:
        return parse_graph(p, &a->u.graph);
    case CAB_ATTR_GRAPHS:
        return parse_graphs(p, a);
    case CAB_ATTR_TENSORS:
        return parse_tensors(p, a);
    case CAB_ATTR_TENSOR: {
        cab_tensor_attr *t = CAB_NEW(p->l.arena, cab_tensor_attr);
        a->u.tensor = t;
        return cab_parse_tensor(p, t);
    }
    case CAB_ATTR_TYPE: {
        cab_type *t = CAB_NEW(p->l.arena, cab_type);
        a->u.type = t;
        return cab_parse_type(p, t);
    }
    default:
        return cab_lex_attr(&p->l, p->g->dims, a);
    }
}

/* "{" name "=" value, ... "}", the kinds told by the op's rows. */
static cab_status parse_attrs(cab_parser *p, const cab_op *op, attrs *out)
{
    cab_lex *l = &p->l;

    if (!cab_lex_char(l, '{'))
        return CAB_OK;
    do {
        cab_attr_row row;
        const char *name;
        size_t n;
        if (!cab_lex_ident(l, &name, &n))
            return cab_lex_fail(l, l->p, CAB_EPARSE, "the name of an attribute expected");
        name = cab_strndup(l->arena, name, n);
        if (!cab_rows_find_attr(op, name, &row))
            return cab_lex_fail(l, l->p, CAB_EPARSE, "%s has no attribute '%.100s'",
                                op->name, name);
        cab_attr a = { .name = row.name, .kind = (cab_attr_kind)row.kind };
        CAB_TRY(cab_lex_expect(l, '='));
        CAB_TRY(parse_attr_value(p, &a));
        for (size_t i = 0; i < out->n; i++)
            if (!strcmp(out->p[i].name, row.name))
                return cab_lex_fail(l, l->p, CAB_EPARSE, "attribute '%s' comes twice",
                                    row.name);
        cab_vec_push(l->arena, out, a);
    } while (cab_lex_char(l, ','));
    return cab_lex_expect(l, '}');
}

/* ---- nodes ---- */

/* A node as written, before it is made. */
typedef struct statement {
    const char *at;
    references results;
    const cab_op *op;
    values operands;
    attrs attrs;
    CAB_VEC(cab_type) types;
} statement;

static cab_status parse_op(cab_parser *p, const cab_op **out)
{
    const char *name;
    size_t n;

    if (!cab_lex_ident(&p->l, &name, &n))
        return cab_lex_fail(&p->l, p->l.p, CAB_EPARSE, "an op expected");
    *out = cab_op_find(name, n);
    if (*out)
        return CAB_OK;
    return cab_lex_fail(&p->l, name, CAB_EPARSE, "'%.*s' is no op",
                        n > 100 ? 100 : (int)n, name);
}

static cab_status parse_operands(cab_parser *p, values *out)
{
    cab_lex *l = &p->l;
    cab_value *v;

    cab_lex_space(l);
    if (*l->p != '%' && *l->p != '_')
        return CAB_OK;
    do {
        if (out->n == MAX_OPERANDS)
            return cab_lex_fail(l, l->p, CAB_ELIMIT, "over %d operands", MAX_OPERANDS);
        CAB_TRY(cab_parse_value(p, &v));
        cab_vec_push(l->arena, out, v);
    } while (cab_lex_char(l, ','));
    return CAB_OK;
}

/* A const: its type and elements stand in place of operands and attributes. */
static cab_status parse_const(cab_parser *p, statement *s)
{
    cab_tensor_attr *t = CAB_NEW(p->l.arena, cab_tensor_attr);
    cab_attr a = cab_a_tensor("value", t);

    CAB_TRY(cab_parse_tensor(p, t));
    cab_vec_push(p->l.arena, &s->types, t->type);
    t->type.layout = NULL;
    t->type.quant = NULL;
    cab_vec_push(p->l.arena, &s->attrs, a);
    return CAB_OK;
}

static cab_status parse_types(cab_parser *p, statement *s)
{
    cab_type t;

    if (!cab_lex_char(&p->l, ':')) {
        if (!cab_op_is_onnx(s->op->id))
            return CAB_OK;
        return cab_lex_fail(&p->l, s->at, CAB_EPARSE, "%s needs its types written",
                            s->op->name);
    }
    do {
        CAB_TRY(cab_parse_type(p, &t));
        cab_vec_push(p->l.arena, &s->types, t);
    } while (cab_lex_char(&p->l, ','));
    if (s->types.n == s->results.n)
        return CAB_OK;
    return cab_lex_fail(&p->l, s->at, CAB_EPARSE, "%zu types for %zu results",
                        s->types.n, s->results.n);
}

/* Runs inference; its failure is told with the place in the text. */
static cab_status infer_at(cab_parser *p, cab_node *n, const char *at)
{
    cab_status s = cab_infer_node(p->g, n, p->diag);
    const cab_diag_entry *e = cab_diag_first(p->diag);

    if (s != CAB_OK)
        cab_lex_fail(&p->l, at, s, "%s: %s", n->op->name, e ? e->text : "");
    cab_diag_clear(p->diag);
    return s;
}

/* The written type stands; at CORE level it must agree with the inferred. */
static cab_status take_type(cab_parser *p, const statement *s, cab_node *n, int i)
{
    cab_type *have = &n->out[i]->type;
    cab_buf b = cab_buf_on(p->l.arena);

    if (n->op->infer && !cab_type_may_equal(p->g, have, &s->types.p[i])) {
        cab_type_print(&b, have);
        return cab_lex_fail(&p->l, s->at, CAB_EMODEL, "%s: result %d is %s by inference",
                            n->op->name, i, cab_buf_cstr(&b));
    }
    *have = s->types.p[i];
    return CAB_OK;
}

/* ["loc" ("text" | _) ["op"] [opset]] ["group" n] */
static cab_status parse_tail(cab_parser *p, cab_node *n)
{
    cab_lex *l = &p->l;
    int64_t v;
    size_t len;
    char *s;

    if (cab_lex_word(l, "loc")) {
        if (!cab_lex_word(l, "_")) {
            CAB_TRY(cab_lex_string(l, &s, &len));
            n->loc = cab_intern(p->g->strings, s);
        }
        cab_lex_space(l);
        if (*l->p == '"') {
            CAB_TRY(cab_lex_string(l, &s, &len));
            n->loc_op = cab_intern(p->g->strings, s);
        }
        cab_lex_space(l);
        if (isdigit((unsigned char)*l->p)) {
            CAB_TRY(cab_lex_int(l, &v));
            n->opset = v > INT_MAX ? INT_MAX : (int)v;
        }
    }
    if (cab_lex_word(l, "group")) {
        CAB_TRY(cab_lex_int(l, &v));
        if (v < 0 || v > MAX_NODES)
            return cab_lex_fail(l, l->p, CAB_EPARSE, "group %lld", (long long)v);
        n->group = (int)v;
        if (p->g->n_groups <= n->group)
            p->g->n_groups = n->group + 1;
    }
    return CAB_OK;
}

static cab_status make_node(cab_parser *p, statement *s)
{
    cab_graph *g = p->g;
    cab_node *n;

    if (s->op->id == CAB_OP_none || ++p->n_nodes > MAX_NODES)
        return cab_lex_fail(&p->l, s->at, CAB_ELIMIT, "over %d nodes", MAX_NODES);
    n = cab_node_create(g, s->op, (int)s->operands.n, s->operands.p,
                        (int)s->results.n, NULL);
    for (size_t i = 0; i < s->attrs.n; i++)
        cab_attr_set(n, &s->attrs.p[i]);
    if (s->op->infer)
        CAB_TRY(infer_at(p, n, s->at));
    for (size_t i = 0; i < s->types.n; i++)
        CAB_TRY(take_type(p, s, n, (int)i));
    for (size_t i = 0; i < s->results.n; i++)
        CAB_TRY(define(p, &s->results.p[i], n->out[i]));
    return parse_tail(p, n);
}

static cab_status parse_node(cab_parser *p)
{
    statement s = { .op = NULL };
    reference r;

    cab_lex_space(&p->l);
    s.at = p->l.p;
    do {
        CAB_TRY(parse_reference(&p->l, &r));
        CAB_TRY(check_new(p, &r));
        cab_vec_push(p->l.arena, &s.results, r);
    } while (cab_lex_char(&p->l, ','));
    CAB_TRY(cab_lex_expect(&p->l, '='));
    CAB_TRY(parse_op(p, &s.op));
    if (s.op->id == CAB_OP_const) {
        CAB_TRY(parse_const(p, &s));
        if (s.results.n != 1)
            return cab_lex_fail(&p->l, s.at, CAB_EPARSE, "const has one result");
    } else {
        CAB_TRY(parse_operands(p, &s.operands));
        CAB_TRY(parse_attrs(p, s.op, &s.attrs));
        CAB_TRY(parse_types(p, &s));
    }
    return make_node(p, &s);
}

/* ---- graphs ---- */
static cab_status parse_guard(cab_parser *p)
{
    cab_guard_eq q = { 0 };
    size_t n;
    char *why;

    CAB_TRY(cab_lex_dim(&p->l, p->g->dims, &q.lhs));
    q.le = cab_lex_char(&p->l, '<');
    CAB_TRY(cab_lex_expect(&p->l, '='));
    if (!q.le)
        CAB_TRY(cab_lex_expect(&p->l, '='));
    CAB_TRY(cab_lex_dim(&p->l, p->g->dims, &q.rhs));
    CAB_TRY(cab_lex_string(&p->l, &why, &n));
    q.why = cab_intern(p->g->strings, why);
    cab_vec_push(p->g->arena, &p->g->guards, q);
    return CAB_OK;
}

static cab_status parse_inputs(cab_parser *p)
{
    reference r;
    cab_type t;

    CAB_TRY(cab_lex_expect(&p->l, '('));
    while (!cab_lex_char(&p->l, ')')) {
        if (p->g->inputs.n)
            CAB_TRY(cab_lex_expect(&p->l, ','));
        CAB_TRY(parse_reference(&p->l, &r));
        CAB_TRY(cab_lex_expect(&p->l, ':'));
        CAB_TRY(cab_parse_type(p, &t));
        CAB_TRY(check_new(p, &r));
        CAB_TRY(define(p, &r, cab_graph_add_input(p->g, NULL, &t)));
    }
    return CAB_OK;
}

/* The outputs are named before they are defined: kept for later. */
typedef struct output { reference value; char *name; } output;
typedef CAB_VEC(output) outputs;

static cab_status parse_outputs(cab_parser *p, outputs *out)
{
    cab_lex *l = &p->l;
    size_t n;

    CAB_TRY(cab_lex_expect(l, '-'));
    CAB_TRY(cab_lex_expect(l, '>'));
    CAB_TRY(cab_lex_expect(l, '('));
    while (!cab_lex_char(l, ')')) {
        output o = { .name = NULL };
        if (out->n)
            CAB_TRY(cab_lex_expect(l, ','));
        CAB_TRY(parse_reference(l, &o.value));
        if (o.value.absent)
            return cab_lex_fail(l, o.value.at, CAB_EPARSE, "a value expected");
        cab_lex_space(l);
        if (*l->p == '"')
            CAB_TRY(cab_lex_string(l, &o.name, &n));
        cab_vec_push(l->arena, out, o);
    }
    return CAB_OK;
}

static cab_status parse_body(cab_parser *p, const outputs *out)
{
    cab_value *v;

    CAB_TRY(cab_lex_expect(&p->l, '{'));
    while (cab_lex_word(&p->l, "guard"))
        CAB_TRY(parse_guard(p));
    while (!cab_lex_char(&p->l, '}'))
        CAB_TRY(parse_node(p));
    for (size_t i = 0; i < out->n; i++) {
        CAB_TRY(resolve(p, &out->p[i].value, &v));
        cab_graph_add_output(p->g, v, out->p[i].name ? out->p[i].name : v->name);
    }
    return CAB_OK;
}

/* After "(": inputs, outputs, level (of the outermost graph), body. */
static cab_status parse_rest(cab_parser *p)
{
    outputs out = {0};

    CAB_TRY(parse_inputs(p));
    CAB_TRY(parse_outputs(p, &out));
    if (!p->g->parent) {
        if (cab_lex_word(&p->l, "onnx"))
            p->g->level = CAB_LEVEL_ONNX;
        else if (!cab_lex_word(&p->l, "core"))
            return cab_lex_fail(&p->l, p->l.p, CAB_EPARSE, "core or onnx expected");
    }
    return parse_body(p, &out);
}

static cab_status parse_graph_name(cab_parser *p, char **out)
{
    if (!cab_lex_word(&p->l, "graph"))
        return cab_lex_fail(&p->l, p->l.p, CAB_EPARSE, "a graph expected");
    CAB_TRY(cab_lex_expect(&p->l, '@'));
    return parse_name(&p->l, out);
}

/* A graph inside the innermost one. */
static cab_status parse_graph(cab_parser *p, cab_graph **out)
{
    cab_graph *outer = p->g;
    cab_scope scope = { cab_map_create(p->l.arena), p->scope };
    char *name;

    CAB_TRY(parse_graph_name(p, &name));
    if (++p->depth > MAX_DEPTH)
        return cab_lex_fail(&p->l, p->l.p, CAB_ELIMIT, "graphs nested over %d deep",
                            MAX_DEPTH);
    *out = p->g = cab_graph_create_sub(outer, name);
    p->scope = &scope;
    CAB_TRY(parse_rest(p));
    p->scope = scope.up;
    p->g = outer;
    p->depth--;
    return CAB_OK;
}

/* "sym" N lo..hi ["div" d]: facts, before anything is built of the symbol. */
static cab_status parse_facts(cab_parser *p)
{
    cab_lex *l = &p->l;
    const char *from = l->p;
    const cab_dim *sym;
    int64_t lo, hi, divisor = 1;

    CAB_TRY(cab_lex_dim(l, p->g->dims, &sym));
    CAB_TRY(cab_lex_int(l, &lo));
    CAB_TRY(cab_lex_expect(l, '.'));
    CAB_TRY(cab_lex_expect(l, '.'));
    CAB_TRY(cab_lex_int(l, &hi));
    if (cab_lex_word(l, "div"))
        CAB_TRY(cab_lex_int(l, &divisor));
    if (sym->kind != CAB_DIM_SYM || lo > hi || divisor < 1)
        return cab_lex_fail(l, from, CAB_EPARSE, "no facts of a symbol");
    cab_dim_assume(p->g->dims, sym, lo, hi, divisor);
    return CAB_OK;
}

static void drop_diag(void *d)
{
    cab_diag_fini(d);
}

cab_status cab_graph_parse(cab_arena *a, const char *text, size_t n, const char *file,
                           cab_graph **out, cab_diag *d)
{
    cab_parser p = { .l = { .arena = a, .file = file, .diag = d } };
    cab_scope scope = { cab_map_create(a), NULL };
    const char *section;
    char *name;

    p.l.start = p.l.p = cab_strndup(a, text, n);
    if (memchr(text, 0, n))
        return cab_lex_fail(&p.l, p.l.p + strlen(p.l.p), CAB_EPARSE, "a zero byte");
    p.scope = &scope;
    p.blobs = cab_map_create(a);
    p.diag = CAB_NEW(a, cab_diag);
    cab_diag_init(p.diag);
    cab_arena_cleanup(a, drop_diag, p.diag);
    CAB_TRY(cab_parse_blobs(&p, &section));
    p.g = cab_graph_create(a, "", CAB_LEVEL_CORE);
    while (cab_lex_word(&p.l, "sym"))
        CAB_TRY(parse_facts(&p));
    CAB_TRY(parse_graph_name(&p, &name));
    p.g->name = cab_intern(p.g->strings, name);
    CAB_TRY(parse_rest(&p));
    cab_lex_space(&p.l);
    if (*p.l.p && p.l.p != section)
        return cab_lex_fail(&p.l, p.l.p, CAB_EPARSE, "text after the end");
    *out = p.g;
    return CAB_OK;
}
