/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold.c - what has constant operands is computed now.
 *
 * The reference evaluator computes; a result larger than its operands (expand,
 * iota) stays a node unless it is small, because kernels make it for nothing.
 * Integer values known symbolically as numbers (shapes) become constants too.
 * Values offered for graph inputs are never folded here.
 */
#include "passes/pass_int.h"
#include <string.h>

#define FOLD_MAX ((uint64_t)64 << 20)
#define GROW_MAX 1024

/* Operand i as a tensor; unaligned bytes (mapped weights) are copied. */
static bool operand(cab_pass_ctx *c, const cab_value *v, cab_tensor *out)
{
    const cab_node *n = cab_const_node(v);
    const cab_attr *a = n ? cab_attr_find(n, "value") : NULL;
    const cab_blob *b = a && a->kind == CAB_ATTR_TENSOR ? a->u.tensor->blob : NULL;

    if (!b || !b->data || v->type.layout || b->bytes > FOLD_MAX)
        return false;
    *out = (cab_tensor){ .dtype = v->type.dtype, .rank = v->type.rank };
    for (int i = 0; i < v->type.rank; i++)
        out->dims[i] = v->type.dims[i]->value;
    out->data = (uintptr_t)b->data % 16 ? cab_dup(c->scratch, b->data, b->bytes)
                                        : (void *)(uintptr_t)b->data;
    return true;
}

static uint64_t bytes_of(const cab_value *v)
{
    int64_t n = cab_type_numel_static(&v->type);
    uint64_t bytes;

    return n >= 0 && cab_dtype_bytes(v->type.dtype, (uint64_t)n, &bytes) ? bytes : UINT64_MAX;
}

static bool worth(const cab_node *n)
{
    uint64_t in = 0, out = 0;

    for (int i = 0; i < n->n_in; i++)
        in += n->in[i] ? bytes_of(n->in[i]) : 0;
    for (int i = 0; i < n->n_out; i++) {
        uint64_t b = bytes_of(n->out[i]);

        if (b > FOLD_MAX || n->out[i]->type.layout)
            return false;
        out += b;
    }
    return out <= GROW_MAX || out <= in;
}

/* Extents in attributes are numbers. */
static bool plain_attrs(const cab_node *n)
{
    for (int i = 0; i < n->n_attr; i++)
        for (int64_t k = 0; n->attr[i].kind == CAB_ATTR_DIMS && k < n->attr[i].n; k++)
            if (!cab_dim_is_const(n->attr[i].u.dims[k]))
                return false;
    return true;
}

static bool foldable(const cab_node *n)
{
    if (!(n->op->traits & CAB_T_PURE) || n->op->id == CAB_OP_const ||
        n->op->id == CAB_OP_relayout)
        return false;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !cab_const_node(n->in[i]))
            return false;
    return plain_attrs(n) && worth(n);
}

static void put(cab_graph *g, cab_node *n, int i, const void *data, uint64_t bytes)
{
    cab_value *old = n->out[i];
    const char *name = old->name;
    cab_value *v = cab_const_blob(g, &old->type, cab_dup(g->arena, data, bytes), bytes, n);

    v->def->loc = n->loc;
    v->def->loc_op = n->loc_op;
    if (name) {
        cab_value_set_name(g, old, NULL);
        cab_value_set_name(g, v, name);
    }
    cab_value_replace(g, old, v);
}

static cab_status fold_node(cab_graph *g, cab_pass_ctx *c, cab_node *n, bool *done)
{
    cab_tensor *in = CAB_NEW_N(c->scratch, cab_tensor, n->n_in + 1);
    cab_tensor *out = CAB_NEW_N(c->scratch, cab_tensor, n->n_out + 1);
    const cab_tensor **p = CAB_NEW_N(c->scratch, const cab_tensor *, n->n_in + 1);
    cab_env env = { .arena = c->scratch };

    *done = false;
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] && !operand(c, n->in[i], &in[i]))
            return CAB_OK;
        p[i] = n->in[i] ? &in[i] : NULL;
    }
    CAB_TRY(cab_eval_node(c->scratch, n, p, out, &env, c->diag));
    for (int i = 0; i < n->n_out; i++) {
        uint64_t bytes = bytes_of(n->out[i]);

        if (n->out[i]->n_uses)
            put(g, n, i, out[i].data, bytes);
    }
    cab_erase_dead(n);
    *done = true;
    return CAB_OK;
}

/* A shape value whose every element is a number. */
static bool known_ints(cab_graph *g, cab_node *n)
{
    cab_value *v = n->out[0];
    cab_tensor t = { .dtype = v->type.dtype, .rank = 0 };
    char *data;

    if (n->n_out != 1 || !v->sym || n->op->id == CAB_OP_const || !cab_type_is_static(&v->type) ||
        v->type.layout || cab_type_numel_static(&v->type) != v->n_sym)
        return false;
    for (int64_t i = 0; i < v->n_sym; i++)
        if (!v->sym[i] || !cab_dim_is_const(v->sym[i]))
            return false;
    data = CAB_NEW_N(g->arena, char, 8 * (v->n_sym + 1));
    for (int64_t i = 0; i < v->n_sym; i++) {
        int64_t x = v->sym[i]->value;
        size_t w = (size_t)cab_dtype_bits(t.dtype) / 8;

        /* Little-endian: the low bytes are the narrower number. */
        memcpy(data + (size_t)i * w, &x, w);
    }
    put(g, n, 0, data, bytes_of(v));
    cab_erase_dead(n);
    return true;
}

cab_status cab_pass_fold(cab_graph *g, cab_pass_ctx *c)
{
    for (cab_node *n = g->first, *next; n; n = next) {
        cab_mark mark = cab_arena_mark(c->scratch);
        bool done = false;
        bool used = false;

        next = n->next;
        for (int i = 0; i < n->n_out; i++)
            used = used || n->out[i]->n_uses;
        if (!used)
            continue;
        if (foldable(n))
            CAB_TRY(fold_node(g, c, n, &done));
        else
            done = known_ints(g, n);
        c->n_changes += done;
        cab_arena_release(c->scratch, mark);
    }
    return CAB_OK;
}
