/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match.c - lays a rule's pattern over a node.
 *
 * A greedy walk from the root to the operands.  Operands of a commutative op
 * are tried in both orders (graphs carry constants on the right, so the first
 * order nearly always decides).  Guards run after the whole pattern fits.
 */
#include "passes/rule_int.h"
#include <string.h>

static bool bind_value(cab_match *m, int slot, cab_value *v)
{
    if (slot < 0)
        return true;
    if (m->v[slot] && m->v[slot] != v)
        return false;
    m->v[slot] = v;
    return true;
}

/* The node's attribute or its default. */
static bool read_attr(const cab_node *n, const cab_rattr *p, cab_attr *out)
{
    const cab_attr *a = cab_attr_find(n, p->name);
    const int64_t *ints;
    const cab_dim *const *dims;
    int64_t count;

    if (a) {
        *out = *a;
        return true;
    }
    if (!p->has_default)
        return false;
    switch (p->kind) {
    case CAB_ATTR_INT:
        *out = cab_a_int(p->name, cab_attr_int(n, p->name));
        return true;
    case CAB_ATTR_FLOAT:
        *out = cab_a_float(p->name, cab_attr_float(n, p->name));
        return true;
    case CAB_ATTR_STR:
        *out = cab_a_str(p->name, cab_attr_str(n, p->name));
        return true;
    case CAB_ATTR_DTYPE:
        *out = cab_a_dtype(p->name, cab_attr_dtype(n, p->name));
        return true;
    case CAB_ATTR_INTS:
        count = cab_attr_ints(n, p->name, &ints);
        *out = cab_a_ints(p->name, ints, count);
        return true;
    case CAB_ATTR_DIMS:
        count = cab_attr_dims(n, p->name, &dims);
        *out = cab_a_dims(p->name, dims, count);
        return true;
    default:
        return false;
    }
}

static bool match_attrs(const cab_rpat *p, const cab_node *n, cab_match *m)
{
    for (int i = 0; i < p->n_attr; i++) {
        cab_attr a;

        if (!read_attr(n, &p->attr[i], &a))
            return false;
        if (p->attr[i].slot < 0) {
            if (!cab_attr_equal(&a, &p->attr[i].lit))
                return false;
        } else {
            m->a[p->attr[i].slot] = a;
        }
    }
    return true;
}

static bool match_value(const cab_rpat *p, cab_value *v, cab_match *m);

static bool match_operands(const cab_rpat *p, cab_node *n, cab_match *m, bool swap)
{
    for (int i = 0; i < p->n_in; i++) {
        int at = swap ? 1 - i : i;

        if (!match_value(&p->in[i], at < n->n_in ? n->in[at] : NULL, m))
            return false;
    }
    return true;
}

static bool match_node(const cab_rpat *p, cab_node *n, cab_match *m)
{
    cab_match saved;

    if (n->op->id != p->op || n->n_in > p->n_in || m->n_nodes == CAB_RULE_NODES)
        return false;
    m->node[m->n_nodes++] = n;
    if (!match_attrs(p, n, m))
        return false;
    saved = *m;
    if (match_operands(p, n, m, false))
        return true;
    if (!(n->op->traits & CAB_T_COMM) || p->n_in != 2 || n->n_in != 2)
        return false;
    *m = saved;
    return match_operands(p, n, m, true);
}

static bool match_value(const cab_rpat *p, cab_value *v, cab_match *m)
{
    double x;

    if (!v)
        return p->optional;
    switch (p->kind) {
    case CAB_RP_NUMBER:
        return cab_const_node(v) && cab_value_scalar(v, &x) && x == p->number &&
               bind_value(m, p->slot, v);
    case CAB_RP_VALUE:
        return (!p->is_const || cab_const_node(v)) && bind_value(m, p->slot, v);
    case CAB_RP_OP:
        return v->def && v->def->n_out == 1 && match_node(p, v->def, m) &&
               bind_value(m, p->slot, v);
    }
    return false;
}

bool cab_rule_match(const cab_rule *r, cab_node *n, cab_match *m)
{
    memset(m, 0, sizeof *m);
    m->rule = r;
    if (!match_node(&r->root, n, m) || !bind_value(m, r->root.slot, n->out[0]))
        return false;
    for (int i = 0; i < r->n_guards; i++)
        if (r->guard[i].row->fn(m, r->guard[i].arg) == r->guard[i].negate)
            return false;
    return true;
}
