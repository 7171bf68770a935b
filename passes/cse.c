/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cse.c - equal nodes are one node.
 *
 * Nodes are equal when op, operands, attributes and result types are; the
 * first in order stays.  Constants are compared by their bytes when small,
 * else by their place in memory.
 */
#include "passes/pass_int.h"
#include <string.h>

#define SMALL_BYTES 4096

typedef struct entry { cab_node *n; struct entry *next; } entry;

static uint64_t hash_tensor(const cab_tensor_attr *t, uint64_t h)
{
    if (!t->blob)
        return h;
    h = cab_hash(&t->blob->bytes, sizeof t->blob->bytes, h);
    if (t->blob->bytes <= SMALL_BYTES)
        return cab_hash(t->blob->data, t->blob->bytes, h);
    return cab_hash(&t->blob->data, sizeof t->blob->data, h);
}

static uint64_t hash_attr(const cab_attr *a, uint64_t h)
{
    h = cab_hash(a->name, strlen(a->name), h);
    switch (a->kind) {
    case CAB_ATTR_INT:
        return cab_hash(&a->u.i, sizeof a->u.i, h);
    case CAB_ATTR_FLOAT:
        return cab_hash(&a->u.f, sizeof a->u.f, h);
    case CAB_ATTR_INTS:
        return cab_hash(a->u.ints, (size_t)a->n * sizeof *a->u.ints, h);
    case CAB_ATTR_DIMS:
        return cab_hash(a->u.dims, (size_t)a->n * sizeof *a->u.dims, h);
    case CAB_ATTR_DTYPE:
        return cab_hash(&a->u.dtype, sizeof a->u.dtype, h);
    case CAB_ATTR_STR:
        return cab_hash(a->u.s, a->s_len, h);
    case CAB_ATTR_TENSOR:
        return hash_tensor(a->u.tensor, h);
    default:
        return h;
    }
}

static uint64_t hash_node(const cab_node *n)
{
    uint64_t h = (uint64_t)n->op->id;

    for (int i = 0; i < n->n_in; i++) {
        uint32_t id = n->in[i] ? n->in[i]->id : UINT32_MAX;

        h = cab_hash(&id, sizeof id, h);
    }
    for (int i = 0; i < n->n_attr; i++)
        h = cab_hash("", 0, h) + hash_attr(&n->attr[i], 1);
    return h;
}

static bool same_tensor(const cab_tensor_attr *a, const cab_tensor_attr *b)
{
    if (!a->blob || !b->blob || !cab_type_equal(&a->type, &b->type) ||
        a->blob->bytes != b->blob->bytes)
        return false;
    return a->blob->data == b->blob->data ||
           (a->blob->bytes <= SMALL_BYTES &&
            !memcmp(a->blob->data, b->blob->data, a->blob->bytes));
}

static bool same_attr(const cab_attr *a, const cab_attr *b)
{
    if (a->kind == CAB_ATTR_TENSOR && b->kind == CAB_ATTR_TENSOR)
        return same_tensor(a->u.tensor, b->u.tensor);
    return cab_attr_equal(a, b);
}

static bool same_node(const cab_node *a, const cab_node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || a->n_attr != b->n_attr)
        return false;
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] != b->in[i])
            return false;
    for (int i = 0; i < a->n_out; i++)
        if (!cab_type_equal(&a->out[i]->type, &b->out[i]->type))
            return false;
    for (int i = 0; i < a->n_attr; i++) {
        const cab_attr *other = cab_attr_find(b, a->attr[i].name);

        if (!other || !same_attr(&a->attr[i], other))
            return false;
    }
    return true;
}

static void merge(cab_graph *g, cab_node *into, cab_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        cab_value_replace(g, n->out[i], into->out[i]);
    cab_node_erase(n);
}

cab_status cab_pass_cse(cab_graph *g, cab_pass_ctx *c)
{
    cab_map *seen = cab_map_create(c->scratch);

    for (cab_node *n = g->first, *next; n; n = next) {
        uint64_t h;
        entry *first, *e;

        next = n->next;
        if (!(n->op->traits & CAB_T_PURE))
            continue;
        h = hash_node(n);
        first = cab_map_getu(seen, h);
        for (e = first; e && !same_node(e->n, n); e = e->next)
            continue;
        if (e) {
            merge(g, e->n, n);
            c->n_changes++;
            continue;
        }
        e = CAB_NEW(c->scratch, entry);
        e->n = n;
        e->next = first;
        cab_map_setu(seen, h, e);
    }
    return CAB_OK;
}
