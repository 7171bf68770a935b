/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold.c - what has constant operands is computed now.
 *
 * The reference evaluator computes; a result much larger than its operands
 * (expand, iota) stays a node unless it is small, because kernels make it for nothing.
 * Integer values known symbolically as numbers (shapes) become constants too.
 * Values offered for graph inputs are never folded here.  The work done is
 * bounded by the size of the model's constants, so that a small file cannot
 * ask for a long computation.
 */
#include "passes/pass_int.h"
#include <string.h>

#define FOLD_MAX ((uint64_t)64 << 20)
#define GROW_MAX 1024
#define FREE_WORK ((double)(1 << 26))
#define WORK_PER_ELEMENT 8     /* of the constants in the graph */

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
    /* Weights in another order, with some zeroes among them. */
    if (n->op->id == CAB_OP_pad || n->op->id == CAB_OP_gather)
        in *= 2;
    return out <= GROW_MAX || out <= in;
}

static double elements(const cab_value *v)
{
    return v ? (double)cab_type_numel_static(&v->type) : 0;
}

/* Steps of the evaluator for a node with static types. */
static double work_of(const cab_node *n)
{
    double out = elements(n->out[0]), k = 1;
    const int64_t *axes = NULL;
    int64_t count;

    switch (n->op->id) {
    case CAB_OP_dot:
        count = cab_attr_ints(n, "a_contract", &axes);
        for (int64_t i = 0; i < count; i++)
            k *= (double)n->in[0]->type.dims[axes[i]]->value;
        break;
    case CAB_OP_conv:
        k = elements(n->in[1]) / (double)(n->in[1]->type.dims[0]->value + 1);
        break;
    case CAB_OP_window:
        count = cab_attr_ints(n, "kernel", &axes);
        for (int64_t i = 0; i < count; i++)
            k *= (double)axes[i];
        break;
    default:
        break;
    }
    for (int i = 0; i < n->n_in; i++)
        out += elements(n->in[i]) / k;
    return out * (k < 1 ? 1 : k);
}

static double budget_of(const cab_graph *g)
{
    double budget = FREE_WORK;

    for (const cab_node *n = g->first; n; n = n->next)
        if (n->op->id == CAB_OP_const)
            budget += WORK_PER_ELEMENT * elements(n->out[0]);
    return budget;
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
        n->op->id == CAB_OP_relayout || n->op->id == CAB_OP_custom)
        return false;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && !cab_const_node(n->in[i]))
            return false;
    return plain_attrs(n) && worth(n);
}

/* data lies in the graph's arena. */
static void put(cab_graph *g, cab_node *n, int i, const void *data, uint64_t bytes)
{
    cab_value *old = n->out[i];
    const char *name = old->name;
    cab_value *v = cab_const_blob(g, &old->type, data, bytes, n);

    v->def->loc = n->loc;
    v->def->loc_op = n->loc_op;
    if (name) {
        cab_value_set_name(g, old, NULL);
        cab_value_set_name(g, v, name);
    }
    cab_value_replace(g, old, v);
}

/* Weights scaled per outermost index (fuse makes it of a batch normalisation):
 * the one fold over millions of elements in many models, done here because the
 * evaluator takes its time over each element.  The product, or NULL. */
static const float *scale_rows(cab_graph *g, const cab_node *n)
{
    const cab_value *w, *v;
    const cab_blob *x, *s;
    int64_t rows, row, count;
    float *y;
    int k;

    if (n->op->id != CAB_OP_mul || n->out[0]->type.dtype != CAB_DT_f32 ||
        n->in[0]->type.rank < 1 || n->in[1]->type.rank != n->in[0]->type.rank)
        return NULL;
    k = elements(n->in[0]) < elements(n->in[1]);
    w = n->in[k];
    v = n->in[!k];
    rows = w->type.dims[0]->value;
    count = cab_type_numel_static(&w->type);
    if (count <= 0 || v->type.dims[0]->value != rows || cab_type_numel_static(&v->type) != rows)
        return NULL;
    x = cab_attr_find(w->def, "value")->u.tensor->blob;
    s = cab_attr_find(v->def, "value")->u.tensor->blob;
    y = cab_alloc(g->arena, (size_t)count * sizeof *y);
    row = count / rows;
    for (int64_t r = 0; r < rows; r++) {
        float *at = y + r * row, scale;

        memcpy(&scale, (const char *)s->data + (size_t)r * sizeof scale, sizeof scale);
        memcpy(at, (const char *)x->data + (size_t)(r * row) * sizeof *at,
               (size_t)row * sizeof *at);
        for (int64_t i = 0; i < row; i++)
            at[i] *= scale;
    }
    return y;
}

static cab_status fold_node(cab_graph *g, cab_pass_ctx *c, cab_node *n, bool *done)
{
    cab_tensor *in = CAB_NEW_N(c->scratch, cab_tensor, n->n_in + 1);
    cab_tensor *out = CAB_NEW_N(c->scratch, cab_tensor, n->n_out + 1);
    const cab_tensor **p = CAB_NEW_N(c->scratch, const cab_tensor *, n->n_in + 1);
    cab_env env = { .arena = c->scratch };

    const float *scaled = scale_rows(g, n);

    *done = true;
    if (scaled) {
        put(g, n, 0, scaled, bytes_of(n->out[0]));
        cab_erase_dead(n);
        return CAB_OK;
    }
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
            put(g, n, i, cab_dup(g->arena, out[i].data, bytes), bytes);
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
    double budget = budget_of(g);

    for (cab_node *n = g->first, *next; n; n = next) {
        cab_mark mark = cab_arena_mark(c->scratch);
        bool done = false;
        bool used = false;

        next = n->next;
        for (int i = 0; i < n->n_out; i++)
            used = used || n->out[i]->n_uses;
        if (!used)
            continue;
        if (foldable(n) && work_of(n) <= budget) {
            CAB_TRY(cab_cancel_check(&c->o->cancel, c->diag));
            budget -= work_of(n);
            CAB_TRY(fold_node(g, c, n, &done));
        } else {
            done = known_ints(g, n);
        }
        c->n_changes += done;
        cab_arena_release(c->scratch, mark);
    }
    return CAB_OK;
}
