/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.c - the pass that decides which nodes share a kernel.
 *
 * Grows groups in three rounds.  Contractions and windows take the
 * elementwise nodes after them (and movement that keeps the innermost axis)
 * as epilogue.  Reductions take what follows over the same rows: softmax,
 * normalisations.  What is left becomes maps.  Then every group takes
 * producers that only it uses.  A forward region is kept up to the last point
 * where one value leaves it, so groups have one result and no cycles.
 * Movement that nobody needs stored stays outside groups (CAB_GROUP_INLINE).
 * Sets node->group and g->n_groups (the highest number + 1); changes nothing
 * else.  Correctness never depends on it.
 */
#include "passes/lower_int.h"

#define MAX_MEMBERS 64
#define MAX_OPERANDS 20
#define MAX_INLINE 24          /* views computed again inside one another */

enum node_class {
    CLASS_NONE,                /* dead, constant, or written as expressions */
    CLASS_ELTWISE, CLASS_VIEW,
    CLASS_LOAD,                /* gather, pad: reads at other indices */
    CLASS_IOTA, CLASS_REDUCE, CLASS_ROOT,
    CLASS_SOLO                 /* concat, topk, custom, scan, scatter: by itself */
};

typedef struct grouping {
    cab_graph *g;
    cab_arena *tmp;
    cab_node **order;          /* by node->mark */
    uint32_t n;
    uint8_t *live;             /* by node->mark */
    uint8_t *is_output;        /* by value id */
    CAB_VEC(struct region *) regions;  /* by group - 1 */
} grouping;

typedef struct region {
    cab_node *n[MAX_MEMBERS];
    cab_columns column[MAX_MEMBERS];   /* of a product's region, per member */
    int count, kept;           /* tentative; up to the last single exit */
    bool moves;                /* some member is movement */
    cab_node *root;
    const cab_dim *full, *stat;  /* element counts: rows, one per row */
    uint32_t axes;             /* reduced */
    int id;
} region;

/* ---- facts ---- */
static enum node_class class_of(const grouping *q, const cab_node *n)
{
    uint32_t t = n->op->traits;
    if (!q->live[n->mark] || n->op->id == CAB_OP_const || cab_value_is_expr(n->out[0]))
        return CLASS_NONE;
    if (t & CAB_T_ELTWISE)
        return CLASS_ELTWISE;
    if (cab_op_is_view(n->op->id))
        return CLASS_VIEW;
    if (n->op->id == CAB_OP_gather || n->op->id == CAB_OP_pad)
        return CLASS_LOAD;
    if (n->op->id == CAB_OP_iota)
        return CLASS_IOTA;
    if (t & CAB_T_REDUCE)
        return CLASS_REDUCE;
    return t & (CAB_T_CONTRACT | CAB_T_WINDOW) ? CLASS_ROOT : CLASS_SOLO;
}

/* The simplest expression the graph's guards equate x with. */
static const cab_dim *simplest(const grouping *q, const cab_dim *x)
{
    for (size_t i = 0; i < q->g->guards.n; i++) {
        const cab_guard_eq *e = &q->g->guards.p[i];
        const cab_dim *to = e->le        ? NULL
                          : e->lhs == x ? e->rhs
                          : e->rhs == x ? e->lhs : NULL;
        if (to && to->kind < x->kind)
            x = to;
    }
    return x;
}

static const cab_dim *numel(const grouping *q, const cab_value *v)
{
    const cab_dim *n = cab_dim_const(q->g->dims, 1);
    for (int i = 0; i < v->type.rank; i++)
        n = cab_dim_mul(q->g->dims, n, simplest(q, v->type.dims[i]));
    return n;
}

/* Costs too much to be computed again per stage. */
static bool is_expensive(const cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_exp: case CAB_OP_log: case CAB_OP_sin: case CAB_OP_cos: case CAB_OP_tan:
    case CAB_OP_asin: case CAB_OP_acos: case CAB_OP_atan: case CAB_OP_sinh: case CAB_OP_cosh:
    case CAB_OP_tanh: case CAB_OP_asinh: case CAB_OP_acosh: case CAB_OP_atanh:
    case CAB_OP_erf: case CAB_OP_pow:
        return true;
    default:
        return false;
    }
}

/* Some user needs the elements of a view in memory, in its own order. */
static bool wants_storage(const grouping *q, const cab_node *view)
{
    const cab_value *v = view->out[0];
    const cab_dim *strides[CAB_MAX_RANK];
    int axis;
    if (v->type.layout)
        return true;
    for (const cab_use *u = v->uses; u; u = u->next) {
        if (!u->node || !q->live[u->node->mark])
            continue;
        if (!(u->node->op->traits & (CAB_T_CONTRACT | CAB_T_WINDOW)))
            continue;
        bool is_b = u->node->op->id == CAB_OP_dot && u->index == 1;
        if (is_b ? !cab_dot_b_fits(q->g, u->node, &axis) : !cab_value_strides(q->g, v, strides))
            return true;
    }
    return false;
}

static void find_live(grouping *q)
{
    uint32_t n = 1;
    for (cab_node *x = q->g->first; x; x = x->next)
        x->mark = n++;
    q->n = n;
    q->order = CAB_NEW_N(q->tmp, cab_node *, n);
    q->live = CAB_NEW_N(q->tmp, uint8_t, n);
    q->is_output = CAB_NEW_N(q->tmp, uint8_t, cab_graph_root(q->g)->next_id + 1);
    for (size_t i = 0; i < q->g->outputs.n; i++)
        q->is_output[q->g->outputs.p[i]->id] = 1;
    for (cab_node *x = q->g->first; x; x = x->next) {
        q->order[x->mark] = x;
        x->group = -1;
        q->live[x->mark] = (x->op->traits & CAB_T_FLOW) != 0;
        for (int i = 0; i < x->n_out; i++)
            q->live[x->mark] |= q->is_output[x->out[i]->id];
    }
    for (cab_node *x = q->g->last; x; x = x->prev)
        for (int i = 0; i < x->n_in && q->live[x->mark]; i++)
            if (x->in[i] && x->in[i]->def && !cab_value_is_expr(x->in[i]))
                q->live[x->in[i]->def->mark] = 1;
}

/* ---- regions, forwards ---- */
static bool in_region(const region *r, const cab_node *n)
{
    for (int i = 0; i < r->count; i++)
        if (r->n[i] == n)
            return true;
    return false;
}

/* A node of the region whose value is used outside it. */
static bool leaves(const grouping *q, const region *r, const cab_node *n)
{
    if (q->is_output[n->out[0]->id])
        return true;
    for (const cab_use *u = n->out[0]->uses; u; u = u->next)
        if (u->node && q->live[u->node->mark] && !in_region(r, u->node))
            return true;
    return false;
}

static int exits(const grouping *q, const region *r)
{
    int n = 0;
    for (int i = 0; i < r->count; i++)
        n += leaves(q, r, r->n[i]);
    return n;
}

/* The first node after the region, in order, that reads a value of it. */
static cab_node *next_user(const grouping *q, const region *r)
{
    cab_node *best = NULL;
    for (int i = 0; i < r->count; i++)
        for (const cab_use *u = r->n[i]->out[0]->uses; u; u = u->next)
            if (u->node && q->live[u->node->mark] && !in_region(r, u->node) &&
                (!best || u->node->mark < best->mark))
                best = u->node;
    return best;
}

static int operands(const grouping *q, const region *r)
{
    cab_map *seen = cab_map_create(q->tmp);
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->n[i]->n_in; k++) {
            cab_value *v = r->n[i]->in[k];
            if (v && !cab_value_is_expr(v) && !(v->def && in_region(r, v->def)))
                cab_map_setu(seen, v->id, v);
        }
    return (int)cab_map_count(seen);
}

/* Physically innermost axis of a value; -1 when all extents are 1. */
static int innermost(const cab_type *t)
{
    for (int i = t->rank - 1; i >= 0; i--)
        if (!cab_dim_is(t->dims[cab_value_axis_at(t, i)], 1))
            return cab_value_axis_at(t, i);
    return -1;
}

static cab_columns columns_of(const cab_value *v)
{
    int axis = innermost(&v->type);
    return (cab_columns){ .axis = axis, .n = axis < 0 ? NULL : v->type.dims[axis] };
}

/* The columns in the result of n, which reads the region. */
static cab_columns columns_after(const grouping *q, const region *r, const cab_node *n)
{
    cab_columns c = { .axis = -1 };
    for (int k = 0; k < n->n_in; k++)
        for (int i = 0; i < r->count; i++) {
            if (!n->in[k] || n->in[k]->def != r->n[i] || r->column[i].axis < 0)
                continue;
            if (class_of(q, n) == CLASS_VIEW)
                return cab_view_columns(q->g, n, r->column[i]);
            c = r->column[i];
            c.axis += n->out[0]->type.rank - n->in[k]->type.rank;
            return c;
        }
    return c;
}

/* Movement behind a contraction: the columns of a tile stay neighbours. */
static bool view_fits_epilogue(const grouping *q, const region *r, const cab_node *n)
{
    if (n->op->id == CAB_OP_reshape
        ? !cab_reshape_is_affine(q->g, &n->out[0]->type, &n->in[0]->type)
        : n->op->id != CAB_OP_transpose)
        return false;
    return r->column[0].axis < 0 || columns_after(q, r, n).axis >= 0;
}

static bool fits_epilogue(const grouping *q, const region *r, const cab_node *n)
{
    enum node_class c = class_of(q, n);
    const cab_type *y = &n->out[0]->type, *x = &r->root->out[0]->type;
    /* By what the guards say, or as the extents stand. */
    if (numel(q, n->out[0]) != r->full && cab_type_numel(q->g, y) != cab_type_numel(q->g, x))
        return false;
    return c == CLASS_ELTWISE || (c == CLASS_VIEW && view_fits_epilogue(q, r, n));
}

static uint32_t reduced_axes(const cab_node *n)
{
    const int64_t *axes;
    uint32_t m = 0;
    int rank = n->in[0]->type.rank;
    if (n->op->id == CAB_OP_argreduce) {
        int64_t a = cab_attr_int(n, "axis");
        return 1u << (a < 0 ? a + rank : a);
    }
    for (int64_t i = 0, k = cab_attr_ints(n, "axes", &axes); i < k; i++)
        m |= 1u << (axes[i] < 0 ? axes[i] + rank : axes[i]);
    return m;
}

static bool same_dims(const grouping *q, const cab_type *a, const cab_type *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (simplest(q, a->dims[i]) != simplest(q, b->dims[i]))
            return false;
    return true;
}

static bool same_rows(const grouping *q, const region *r, const cab_node *reduce)
{
    return same_dims(q, &reduce->in[0]->type, &r->root->in[0]->type) &&
           reduced_axes(reduce) == r->axes;
}

/* A reshape that only adds or drops extents of 1. */
static bool is_squeeze(const cab_node *n)
{
    const cab_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    int i = 0, j = 0;
    for (;; i++, j++) {
        while (i < x->rank && cab_dim_is(x->dims[i], 1))
            i++;
        while (j < y->rank && cab_dim_is(y->dims[j], 1))
            j++;
        if (i >= x->rank || j >= y->rank)
            return i >= x->rank && j >= y->rank;
        if (x->dims[i] != y->dims[j])
            return false;
    }
}

static bool fits_rows(const grouping *q, const region *r, const cab_node *n)
{
    const cab_dim *e = numel(q, n->out[0]);
    switch (class_of(q, n)) {
    case CLASS_ELTWISE:
        return e == r->full || e == r->stat;
    case CLASS_VIEW:
        return (n->op->id == CAB_OP_reshape && is_squeeze(n)) ||
               (n->op->id == CAB_OP_expand && (e == r->full || e == r->stat));
    case CLASS_REDUCE:
        return same_rows(q, r, n);
    default:
        return false;
    }
}

/* The columns of the one value that leaves lie side by side in memory. */
static bool stores_columns(const grouping *q, const region *r)
{
    for (int i = r->count - 1; r->moves && r->column[0].axis >= 0 && i > 0; i--)
        if (leaves(q, r, r->n[i]))
            return r->column[i].axis == innermost(&r->n[i]->out[0]->type) &&
                   cab_columns_suffice(&r->column[0], &r->column[i]);
    return true;
}

static void grow(const grouping *q, region *r)
{
    bool rows = class_of(q, r->root) == CLASS_REDUCE;
    r->n[0] = r->root;
    r->column[0] = rows ? (cab_columns){ .axis = -1 } : columns_of(r->root->out[0]);
    r->count = r->kept = 1;
    while (r->count < MAX_MEMBERS) {
        cab_node *n = next_user(q, r);
        if (!n || n->group >= 0 || !(rows ? fits_rows(q, r, n) : fits_epilogue(q, r, n)))
            break;
        r->column[r->count] = columns_after(q, r, n);
        r->moves = r->moves || class_of(q, n) == CLASS_VIEW;
        r->n[r->count++] = n;
        if (operands(q, r) > MAX_OPERANDS)
            break;
        if (exits(q, r) == 1 && stores_columns(q, r))
            r->kept = r->count;
    }
    r->count = r->kept;
}

static void claim(grouping *q, region *r)
{
    r->id = q->g->n_groups++;
    cab_vec_push(q->tmp, &q->regions, r);
    for (int i = 0; i < r->count; i++)
        r->n[i]->group = r->id;
}

/* ---- producers, backwards ---- */
/* Reading narrower elements and widening them in the kernel saves memory. */
static bool is_widening(const cab_node *n)
{
    return n->op->id == CAB_OP_cast && cab_dtype_bits(n->in[0]->type.dtype) <=
                                       cab_dtype_bits(n->out[0]->type.dtype);
}

static bool only_feeds(const grouping *q, const region *r, const cab_node *p)
{
    if (q->is_output[p->out[0]->id])
        return false;
    for (const cab_use *u = p->out[0]->uses; u; u = u->next) {
        if (!u->node || !q->live[u->node->mark])
            continue;
        if (u->node->group != r->id)
            return false;
        if (class_of(q, u->node) == CLASS_ROOT && !is_widening(p))
            return false;
    }
    return true;
}

static bool fits_producer(const grouping *q, const region *r, const cab_node *p)
{
    bool rows = class_of(q, r->root) == CLASS_REDUCE;
    const cab_dim *e = numel(q, p->out[0]);
    /* Computed once per element of r, that is never more often than alone. */
    bool covers = e == r->full || cab_dim_sub(q->g->dims, e, r->full)->lo >= 0;
    switch (class_of(q, p)) {
    case CLASS_ELTWISE:
        if (is_widening(p) && class_of(q, r->root) == CLASS_ROOT)
            return true;
        return covers && !(rows && is_expensive(p) && r->count > 1);
    case CLASS_LOAD:
        return p->op->id == CAB_OP_gather || covers;
    case CLASS_VIEW:
        return !wants_storage(q, p) &&
               (p->op->id != CAB_OP_reshape ||
                cab_reshape_is_affine(q->g, &p->out[0]->type, &p->in[0]->type));
    default:
        return false;
    }
}

/* Joins another group of reductions over the same rows that only feeds r. */
static bool join(grouping *q, region *r, const cab_node *p)
{
    region *o = p->group > 0 ? q->regions.p[p->group - 1] : NULL;
    if (!o || o == r || o->count + r->count > MAX_MEMBERS ||
        class_of(q, r->root) != CLASS_REDUCE || class_of(q, o->root) != CLASS_REDUCE ||
        !same_rows(q, r, o->root) || !only_feeds(q, r, p))
        return false;
    int before = r->count;
    for (int i = 0; i < o->count; i++)
        r->n[r->count++] = o->n[i];
    if (operands(q, r) > MAX_OPERANDS) {
        r->count = before;
        return false;
    }
    for (int i = 0; i < o->count; i++)
        o->n[i]->group = r->id;
    o->count = 0;
    return true;
}

static bool absorb_one(grouping *q, region *r)
{
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->n[i]->n_in; k++) {
            cab_value *v = r->n[i]->in[k];
            cab_node *p = v ? v->def : NULL;
            if (p && join(q, r, p))
                return true;
            if (!p || p->group >= 0 || !fits_producer(q, r, p) || !only_feeds(q, r, p))
                continue;
            r->n[r->count++] = p;
            if (operands(q, r) > MAX_OPERANDS) {
                r->count--;
                continue;
            }
            p->group = r->id;
            return true;
        }
    return false;
}

static void absorb(grouping *q, region *r)
{
    while (r->count < MAX_MEMBERS && absorb_one(q, r))
        ;
}

/* ---- rounds ---- */
/* A cheap function of known scalars, or of one value that was spread over a
 * larger shape: reading the small one again costs less than storing the large
 * one. */
static bool is_thin(const grouping *q, const cab_node *n)
{
    const cab_node *p = NULL;
    if (class_of(q, n) != CLASS_ELTWISE || is_expensive(n) || q->is_output[n->out[0]->id])
        return false;
    for (int i = 0; i < n->n_in; i++) {
        if (cab_value_is_expr(n->in[i]))
            continue;
        if (p || !n->in[i]->def)
            return false;
        p = n->in[i]->def;
    }
    if (!p)
        return cab_type_numel_static(&n->out[0]->type) == 1;
    if (p->op->id != CAB_OP_expand || wants_storage(q, p) || q->is_output[p->out[0]->id])
        return false;
    for (const cab_use *u = n->out[0]->uses; u; u = u->next)
        if (u->node && q->live[u->node->mark] && class_of(q, u->node) == CLASS_ROOT)
            return false;
    const cab_value *x = p->in[0];
    return (!x->def || cab_op_is_view(x->def->op->id)) && numel(q, x) != numel(q, n->out[0]);
}

static void mark_thin(grouping *q)
{
    for (uint32_t i = 1; i < q->n; i++)
        if (is_thin(q, q->order[i]))
            q->order[i]->group = CAB_GROUP_INLINE;
}

static region *new_region(const grouping *q, cab_node *root)
{
    region *r = CAB_NEW(q->tmp, region);
    r->root = root;
    r->full = r->stat = numel(q, root->out[0]);
    if (class_of(q, root) == CLASS_REDUCE) {
        r->full = numel(q, root->in[0]);
        r->axes = reduced_axes(root);
    }
    r->n[0] = root;
    r->count = r->kept = 1;
    return r;
}

static void group_roots(grouping *q)
{
    CAB_VEC(region *) done = { 0 };
    for (uint32_t i = q->n - 1; i > 0; i--) {
        cab_node *n = q->order[i];
        if (class_of(q, n) != CLASS_ROOT)
            continue;
        region *r = new_region(q, n);
        grow(q, r);
        claim(q, r);
        cab_vec_push(q->tmp, &done, r);
    }
    for (uint32_t i = 1; i < q->n; i++) {
        cab_node *n = q->order[i];
        if (class_of(q, n) != CLASS_REDUCE || n->group >= 0)
            continue;
        region *r = new_region(q, n);
        grow(q, r);
        claim(q, r);
        cab_vec_push(q->tmp, &done, r);
    }
    for (size_t i = 0; i < done.n; i++)
        if (done.p[i]->count)
            absorb(q, done.p[i]);
}

static void group_maps(grouping *q)
{
    for (uint32_t i = q->n - 1; i > 0; i--) {
        cab_node *n = q->order[i];
        enum node_class c = class_of(q, n);
        if (n->group >= 0)
            continue;
        bool alone = c == CLASS_SOLO;
        if (c != CLASS_ELTWISE && c != CLASS_LOAD && !alone &&
            !(c == CLASS_VIEW && wants_storage(q, n)))
            continue;
        region *r = new_region(q, n);
        claim(q, r);
        if (!alone)
            absorb(q, r);
    }
}

/* What has no group is computed where it is read; long chains are cut. */
static void mark_inline(grouping *q)
{
    uint8_t *depth = CAB_NEW_N(q->tmp, uint8_t, q->n);
    for (uint32_t i = 1; i < q->n; i++) {
        cab_node *n = q->order[i];
        if (n->group >= 0)
            continue;
        const cab_node *p = n->n_in && n->in[0] ? n->in[0]->def : NULL;
        depth[i] = p && p->group == CAB_GROUP_INLINE ? (uint8_t)(depth[p->mark] + 1) : 0;
        n->group = CAB_GROUP_INLINE;
        if (depth[i] > MAX_INLINE && class_of(q, n) == CLASS_VIEW)
            claim(q, new_region(q, n));
    }
}

cab_status cab_pass_group(cab_graph *g, cab_pass_ctx *c)
{
    grouping q = { .g = g, .tmp = c->scratch };
    g->n_groups = 1;
    find_live(&q);
    mark_thin(&q);
    group_roots(&q);
    group_maps(&q);
    mark_inline(&q);
    c->n_changes = (uint64_t)g->n_groups - 1;
    return CAB_OK;
}
