/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.c - replacements of matched rules, and the driver.
 *
 * The driver visits nodes in topological order.  After a hit it erases what
 * died and goes on at the first node the hit made, so the region is rewritten
 * until no rule fits (writing-rules.md says why that ends; a budget of hits
 * guards against a rule that breaks the law).  New nodes carry the locations
 * of all matched nodes.
 */
#include "passes/rule_int.h"
#include <string.h>

/* ---- building ---- */
static cab_value *build(const cab_match *m, cab_builder *b, const cab_rexpr *e, cab_dtype hint);

/* Numbers take the element type of their context. */
static bool is_number(const cab_match *m, const cab_rexpr *e)
{
    return e->kind == CAB_RE_NUMBER ||
           (e->kind == CAB_RE_SLOT && m->rule->slot_is_attr[e->slot]);
}

static double number_of(const cab_match *m, const cab_rexpr *e)
{
    const cab_attr *a;

    if (e->kind == CAB_RE_NUMBER)
        return e->number;
    a = &m->a[e->slot];
    return a->kind == CAB_ATTR_INT ? (double)a->u.i : a->kind == CAB_ATTR_FLOAT ? a->u.f : 0;
}

static const char *type_var(const cab_op *op, int i)
{
    if (!op->n_in)
        return "";
    return op->in[i < op->n_in ? i : op->n_in - 1].var;
}

/* Element type of operand i of op: that of a built operand of the same type
 * variable, else the context's. */
static cab_dtype operand_type(const cab_op *op, const cab_rexpr *e, cab_value **in,
                              int i, cab_dtype hint)
{
    for (int k = 0; k < e->n_in; k++)
        if (in[k] && k != i && !strcmp(type_var(op, k), type_var(op, i)))
            return in[k]->type.dtype;
    return strcmp(type_var(op, i), "C") ? hint : CAB_DT_bool;
}

static int build_attrs(const cab_match *m, cab_builder *b, const cab_rexpr *e, cab_attr *out)
{
    int n = 0;

    if (e->copy_slot >= 0 && m->v[e->copy_slot]->def) {
        const cab_node *from = m->v[e->copy_slot]->def;

        for (int i = 0; i < from->n_attr && n < 16; i++)
            out[n++] = from->attr[i];
    }
    for (int i = 0; i < e->n_attr && n < 16; i++) {
        const cab_rattr *a = &e->attr[i];

        if (a->maker) {
            if (!a->maker->attr(m, b, a->arg, &out[n])) {
                b->status = CAB_EINTERNAL;
                return n;
            }
        } else {
            out[n] = a->slot >= 0 ? m->a[a->slot] : a->lit;
        }
        out[n++].name = a->name;
    }
    return n;
}

static cab_value *build_op(const cab_match *m, cab_builder *b, const cab_rexpr *e, cab_dtype hint)
{
    const cab_op *op = cab_op_get(e->op);
    cab_value *in[8] = { NULL };
    cab_attr attr[16];
    int n_attr;

    CAB_ASSERT(e->n_in <= 8);
    for (int i = 0; i < e->n_in; i++)
        if (!is_number(m, &e->in[i])) {
            cab_dtype t = operand_type(op, e, in, i, hint);

            in[i] = build(m, b, &e->in[i], t);
        }
    for (int i = 0; i < e->n_in; i++)
        if (is_number(m, &e->in[i]))
            in[i] = build(m, b, &e->in[i], operand_type(op, e, in, i, hint));
    n_attr = build_attrs(m, b, e, attr);
    return b->status == CAB_OK ? cab_build(b, e->op, e->n_in, in, n_attr, attr) : NULL;
}

static cab_value *build(const cab_match *m, cab_builder *b, const cab_rexpr *e, cab_dtype hint)
{
    if (b->status != CAB_OK)
        return NULL;
    if (is_number(m, e))
        return cab_b_scalar(b, hint, number_of(m, e));
    switch (e->kind) {
    case CAB_RE_SLOT:
        return m->v[e->slot];
    case CAB_RE_MAKER:
        return e->maker->value(m, b, e->arg);
    default:
        return build_op(m, b, e, hint);
    }
}

cab_value *cab_rule_build(const cab_match *m, cab_builder *b)
{
    cab_node *root = m->node[0];
    cab_dtype hint = CAB_DT_f32;

    for (int i = 0; i < root->n_in; i++)
        if (root->in[i]) {
            hint = root->in[i]->type.dtype;
            break;
        }
    if (!cab_op_is_onnx(root->op->id))
        hint = root->out[0]->type.dtype;
    return build(m, b, &m->rule->build, hint);
}

bool cab_rules_expand(const cab_ruleset *rs, cab_builder *b, cab_node *n, cab_value **out)
{
    cab_match m;

    for (const cab_rule *r = rs->by_op[n->op->id]; r; r = r->next)
        if (cab_rule_match(r, n, &m)) {
            *out = cab_rule_build(&m, b);
            return true;
        }
    return false;
}

/* ---- driving ---- */

/* "a, b" without repetition. */
static const char *join_locs(cab_graph *g, const cab_match *m)
{
    cab_buf buf = cab_buf_on(g->arena);
    const char *seen[CAB_RULE_NODES];
    int n = 0;

    for (int i = m->n_nodes - 1; i >= 0; i--) {
        const char *loc = m->node[i]->loc;
        bool known = !loc;

        for (int k = 0; k < n && !known; k++)
            known = strstr(seen[k], loc) != NULL;
        if (known)
            continue;
        if (n)
            cab_buf_str(&buf, ", ");
        cab_buf_str(&buf, loc);
        seen[n++] = loc;
    }
    return n == 0 ? NULL : n == 1 ? seen[0] : cab_buf_cstr(&buf);
}

/* The nodes between `from` and n, which a refused hit made. */
static void discard(cab_graph *g, cab_node *from, cab_node *n)
{
    cab_node *first = from ? from->next : g->first;

    while (first != n && n->prev) {
        cab_node *x = n->prev;
        bool last = x == first;

        cab_node_erase(x);
        if (last)
            break;
    }
}

/* The value with exactly the old type; NULL when it is stored otherwise (a
 * layout was assigned): then the rule does not apply. */
static cab_value *same_type(cab_builder *b, const cab_value *old, cab_value *v)
{
    bool dims = true;

    if (!v)
        return NULL;
    CAB_ASSERT(v->type.dtype == old->type.dtype && v->type.rank == old->type.rank);
    for (int i = 0; i < old->type.rank; i++) {
        CAB_ASSERT(cab_dim_eq(v->type.dims[i], old->type.dims[i]) != 0);
        dims = dims && v->type.dims[i] == old->type.dims[i];
    }
    if (cab_type_equal(&v->type, &old->type))
        return v;
    if (dims || old->type.layout || v->type.layout)
        return NULL;
    /* Equal extents, spelled differently. */
    return cab_b_reshape(b, v, old->type.rank, old->type.dims);
}

static cab_value *apply(cab_graph *g, cab_pass_ctx *c, const cab_match *m, cab_node *n)
{
    cab_builder b = cab_builder_at(g, n, c->diag);
    cab_node *before = n->prev;
    cab_value *v;

    b.loc = join_locs(g, m);
    v = same_type(&b, n->out[0], cab_rule_build(m, &b));
    CAB_ASSERT(b.status == CAB_OK);
    if (!v)
        discard(g, before, n);
    return v;
}

/* After the layout pass only relayouts are rewritten: other rules would lose
 * the physical orders. */
static bool has_layout(const cab_match *m)
{
    if (m->node[0]->op->id == CAB_OP_relayout)
        return false;
    for (int i = 0; i < m->n_nodes; i++) {
        const cab_node *n = m->node[i];

        if (n->out[0]->type.layout)
            return true;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] && n->in[k]->type.layout)
                return true;
    }
    return false;
}

/* One hit at n, or false. */
static bool hit(cab_ruleset *rs, cab_graph *g, cab_pass_ctx *c, cab_node *n)
{
    cab_match m;

    for (cab_rule *r = rs->by_op[n->op->id]; r; r = r->next) {
        cab_value *v;

        if ((r->rounding && c->o->exact) || !cab_rule_match(r, n, &m) ||
            has_layout(&m))
            continue;
        v = apply(g, c, &m, n);
        if (!v)
            continue;
        cab_log(5, "%s:%d: rule %s at %s", rs->path, r->line, r->name,
                n->loc ? n->loc : "a node");
        r->hits++;
        if (!v->name && v->def && n->out[0]->name) {
            const char *name = n->out[0]->name;

            cab_value_set_name(g, n->out[0], NULL);
            cab_value_set_name(g, v, name);
        }
        cab_value_replace(g, n->out[0], v);
        return true;
    }
    return false;
}

/* Constants of commutative ops go right. */
static void order_operands(cab_node *n)
{
    cab_value *x;

    if (!(n->op->traits & CAB_T_COMM) || n->n_in != 2 || !cab_const_node(n->in[0]) ||
        cab_const_node(n->in[1]))
        return;
    x = n->in[0];
    cab_node_set_in(n, 0, n->in[1]);
    cab_node_set_in(n, 1, x);
}

int cab_erase_dead(cab_node *n)
{
    int erased = 1;

    /* Types may name its symbols: dce knows. */
    if (n->op->traits & CAB_T_FLOW)
        return 0;
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return 0;
    /* Operand by operand: one that is used twice dies with its last use. */
    for (int i = 0; i < n->n_in; i++) {
        cab_node *def = n->in[i] ? n->in[i]->def : NULL;

        cab_node_set_in(n, i, NULL);
        if (def && def->graph == n->graph)
            erased += cab_erase_dead(def);
    }
    cab_node_erase(n);
    return erased;
}

static void log_hits(const cab_ruleset *rs)
{
    for (size_t i = 0; i < rs->rules.n; i++)
        if (rs->rules.p[i]->hits)
            cab_log(2, "%s:%d: rule %s: %llu hits", rs->path, rs->rules.p[i]->line,
                    rs->rules.p[i]->name, (unsigned long long)rs->rules.p[i]->hits);
}

cab_status cab_rules_run(cab_ruleset *rs, cab_graph *g, cab_pass_ctx *c)
{
    uint64_t budget = 16 * (uint64_t)cab_graph_count(g) + 1000;

    for (cab_node *n = g->first, *next; n; n = next) {
        cab_node *before = n->prev, *first;

        next = n->next;
        if (n->n_out != 1 || !n->out[0]->n_uses)
            continue;
        if (c->o->bisect_limit && c->rule_hits >= c->o->bisect_limit)
            break;
        order_operands(n);
        if (!hit(rs, g, c, n))
            continue;
        c->rule_hits++;
        c->n_changes++;
        CAB_ASSERT(budget-- > 0);
        first = before ? before->next : g->first;
        if (first != n)
            next = first;
        cab_erase_dead(n);
    }
    log_hits(rs);
    return CAB_OK;
}
