/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_flow.c - If, Loop and Scan.
 *
 * An If whose condition is known is the branch it takes, copied in front of it
 * as ops of the standard; the walk of decompose.c goes on with them.  Else both
 * branches become graphs inside a node `if`.  A Loop is a node `loop`; a Scan is
 * one too, whose body cuts its part out of every scanned operand.
 */
#include "passes/decompose_int.h"

/* ---- If ---- */
static const cab_graph *branch(cab_dec *d, const char *name)
{
    const cab_attr *a = cab_attr_find(d->n, name);

    if (!a || a->kind != CAB_ATTR_GRAPH)
        cab_dec_bad(d, "a branch is missing");
    else if (a->u.graph->outputs.n < (size_t)d->n->n_out)
        cab_dec_bad(d, "a branch has too few outputs");
    return cab_dec_failed(d) ? NULL : a->u.graph;
}

static cab_value *decide_later(cab_dec *d, const cab_graph *then, const cab_graph *other)
{
    cab_dec_body b[2];
    cab_value **x = CAB_NEW_N(d->tmp, cab_value *, d->n->n_out);
    cab_value **y = CAB_NEW_N(d->tmp, cab_value *, d->n->n_out);
    const cab_dim *cond = cab_dec_item(d, cab_dec_in(d, 0), 0, 1);
    cab_node *n;
    int k = 0;

    cab_dec_body_begin(d, &b[0], "then");
    cab_dec_body_copy(&b[0], then);
    cab_dec_body_begin(d, &b[1], "else");
    cab_dec_body_copy(&b[1], other);
    if (cab_dec_failed(d))
        return NULL;
    for (int i = 0; i < d->n->n_out; i++)
        if (cab_dec_wants(d, i)) {
            x[k] = cab_dec_body_result(&b[0], (size_t)i);
            y[k++] = cab_dec_body_result(&b[1], (size_t)i);
        }
    n = cab_dec_branch(d, cond, &b[0], &b[1], x, y, k);
    for (int i = 0; i < d->n->n_out && n; i++)
        if (cab_dec_wants(d, i))
            d->out[i] = n->out[n->n_out - k--];
    return n ? d->out[0] : NULL;
}

/* A condition on extents: x == y, or not. */
typedef struct relation { const cab_dim *x, *y; bool equal; } relation;

static const cab_dim *only_element(const cab_value *v)
{
    return v->sym && v->n_sym == 1 ? v->sym[0] : NULL;
}

static bool relation_of(const cab_value *v, relation *r)
{
    r->equal = true;
    for (const cab_node *n = v->def; n; n = n->in[0]->def) {
        switch (n->op->id) {
        case CAB_OP_not:
            r->equal = !r->equal;
            continue;
        case CAB_OP_cast: case CAB_OP_reshape:
            if (n->in[0]->type.dtype != CAB_DT_bool)
                return false;
            continue;
        case CAB_OP_eq: case CAB_OP_ne:
            r->equal ^= n->op->id == CAB_OP_ne;
            r->x = only_element(n->in[0]);
            r->y = only_element(n->in[1]);
            return r->x && r->y;
        default:
            return false;
        }
        if (!n->n_in)
            return false;
    }
    return false;
}

/* An If on an extent whose branches differ in rank (exporters write squeeze so)
 * is decided now, for the extents to expect, else for equality; a guard holds
 * the inputs to that.  Inside a branch that may not be taken the extents to
 * expect say nothing. */
static bool decide_by_extents(cab_dec *d, cab_value *cond, bool *out)
{
    cab_dims *ds = d->g->dims;
    cab_where w = cab_node_where(d->n);
    relation r;
    int64_t x, y;
    bool equal = true;
    cab_guard_eq larger = { .le = true, .why = "the model was compiled for this side of a branch "
                                               "on a shape" };

    if (!relation_of(cond, &r))
        return false;
    if (!d->g->parent && cab_dim_expected(ds, r.x, &x) && cab_dim_expected(ds, r.y, &y)) {
        equal = x == y;
        cab_dims_rely(ds);
    }
    *out = equal == r.equal;
    if (equal) {
        if (cab_graph_require_eq(d->g, r.x, r.y, larger.why, &w, d->b.diag) != CAB_OK)
            d->b.status = CAB_EMODEL;
        return true;
    }
    larger.lhs = cab_dim_add(ds, x > y ? r.y : r.x, cab_dec_c(d, 1));
    larger.rhs = x > y ? r.x : r.y;
    cab_vec_push(d->g->arena, &d->g->guards, larger);
    return true;
}

/* Rank of a result where it can be told without decomposing: that of what a
 * Squeeze, Unsqueeze or Identity of an outer value gives; else -1. */
static int rank_of_result(const cab_graph *g, int i)
{
    const cab_value *v = g->outputs.p[i];
    const cab_node *n = v->def;
    const cab_value *x = n && n->graph == g && n->n_in ? n->in[0] : v;
    const int64_t *unused;
    int by = 0;

    if (n && n->graph == g) {
        const cab_attr *a = n->n_in > 1 && cab_const_node(n->in[1])
                                ? cab_attr_find(n->in[1]->def, "value") : NULL;
        int64_t k = a ? cab_type_numel_static(&a->u.tensor->type)
                      : cab_attr_ints(n, "axes", &unused);

        if (n->op->id != CAB_OP_Identity && n->op->id != CAB_OP_Squeeze &&
            n->op->id != CAB_OP_Unsqueeze)
            return -1;
        if (n->op->id != CAB_OP_Identity && k < 0)
            return -1;
        by = n->op->id == CAB_OP_Squeeze ? -(int)k : n->op->id == CAB_OP_Unsqueeze ? (int)k : 0;
    }
    return x->type.kind == CAB_KIND_tensor && x->type.rank >= 0 ? x->type.rank + by : -1;
}

static bool ranks_differ(const cab_dec *d, const cab_graph *then, const cab_graph *other)
{
    for (int i = 0; i < d->n->n_out; i++) {
        int x = rank_of_result(then, i), y = rank_of_result(other, i);

        if (cab_dec_wants(d, i) && x >= 0 && y >= 0 && x != y)
            return true;
    }
    return false;
}

cab_value *cab_dec_If(cab_dec *d)
{
    const cab_graph *then = branch(d, "then_branch"), *other = branch(d, "else_branch");
    cab_value *cond = cab_dec_in(d, 0);
    double known;
    bool taken;

    if (cab_dec_failed(d))
        return NULL;
    if (cab_type_numel_static(&cond->type) != 1 || cond->type.dtype != CAB_DT_bool)
        return cab_dec_bad(d, "the condition is not one bool");
    if (cab_dec_is_known(d, cond, &known))
        taken = known != 0;
    else if (!ranks_differ(d, then, other) || !decide_by_extents(d, cond, &taken))
        return cab_dec_failed(d) ? NULL : decide_later(d, then, other);
    cab_dec_inline(d, taken ? then : other, d->out, d->n->n_out);
    return d->out[0];
}

/* ---- Loop ---- */
typedef struct once_more {
    const cab_graph *body;
    int carried, stacked;
    cab_type *types;           /* of the carried values inside */
    const cab_dim *trip;
    cab_dec_loop l;
} once_more;

/* Builds the body for the types. */
static bool build_body(cab_dec *d, once_more *m)
{
    cab_dec_loop *l = &m->l;

    cab_dec_loop_begin(d, l, m->trip);
    for (int i = 0; i < m->carried; i++) {
        cab_value *v = cab_dec_loop_carry_as(l, cab_dec_in(d, i + 2), &m->types[i]);

        if (!v) {
            cab_dec_bad(d, "a carried value is missing");
            return false;
        }
        cab_map_setu(l->body.map, m->body->inputs.p[i + 2]->id, v);
    }
    cab_map_setu(l->body.map, m->body->inputs.p[0]->id,
                 cab_dec_reshape_to(&l->body.d, cab_b_dim(&l->body.d.b, l->iter),
                                    &m->body->inputs.p[0]->type));
    cab_map_setu(l->body.map, m->body->inputs.p[1]->id,
                 cab_dec_reshape_to(&l->body.d, cab_b_scalar_i(&l->body.d.b, CAB_DT_bool, 1),
                                    &m->body->inputs.p[1]->type));
    cab_dec_body_copy(&l->body, m->body);
    return !cab_dec_failed(d);
}

/* Extents that do not stay as they begin become symbols; true when any did. */
static bool widen(cab_dec *d, once_more *m)
{
    bool any = false;

    for (int i = 0; i < m->carried; i++) {
        cab_type *t = &m->types[i];
        const cab_value *next = cab_dec_body_result(&m->l.body, (size_t)i + 1);

        if (t->kind == CAB_KIND_sequence && next->type.kind == CAB_KIND_sequence &&
            t->elem->rank == CAB_RANK_UNKNOWN && next->type.elem->rank != CAB_RANK_UNKNOWN) {
            *t = next->type;           /* it began empty */
            any = true;
        }
        if (next->type.kind != CAB_KIND_tensor || t->kind != CAB_KIND_tensor ||
            next->type.rank != t->rank)
            continue;
        for (int k = 0; k < t->rank; k++) {
            bool symbol = t->dims[k] != cab_dec_in(d, i + 2)->type.dims[k];

            if (symbol || cab_dim_eq(t->dims[k], next->type.dims[k]) == 1)
                continue;
            t->dims[k] = cab_dim_fresh(d->g->dims, "data");
            any = true;
        }
    }
    return any;
}

/* The value that says whether to go on; NULL: always. */
static cab_value *go_of(once_more *m)
{
    cab_value *v = cab_dec_body_result(&m->l.body, 0);
    double x;

    if (cab_value_scalar(v, &x) && x != 0)
        return NULL;
    return v;
}

/* How often at most: 0 or more. */
static const cab_dim *trip_of(cab_dec *d)
{
    cab_value *max = cab_dec_in(d, 0), *cond = cab_dec_in(d, 1);
    const cab_dim *trip = cab_dec_c(d, INT32_MAX), **v;
    int64_t n;

    if (max && cab_dec_read(d, max, INT64_MIN, INT64_MAX, &v, &n))
        trip = n == 1 ? v[0] : (cab_dec_bad(d, "the trip count is not one number"), trip);
    if (cond && !cab_dec_failed(d)) {
        double x;

        if (!cab_dec_is_known(d, cond, &x))
            trip = cab_dim_mul(d->g->dims, cab_dim_max(d->g->dims, trip, cab_dec_c(d, 0)),
                               cab_dec_item(d, cond, 0, 1));
        else if (x == 0)
            trip = cab_dec_c(d, 0);
    }
    return cab_dim_min(d->g->dims, trip, cab_dec_c(d, INT32_MAX));
}

cab_value *cab_dec_Loop(cab_dec *d)
{
    enum { ROUNDS = 10 };
    const cab_attr *a = cab_attr_find(d->n, "body");
    once_more m = { .carried = d->n->n_in > 2 ? d->n->n_in - 2 : 0 };
    cab_value **next, **stacked;
    bool *wrapped;
    cab_node *n;
    int rounds = 0;

    m.body = a && a->kind == CAB_ATTR_GRAPH ? a->u.graph : NULL;
    if (!m.body || m.body->inputs.n != (size_t)m.carried + 2 ||
        m.body->outputs.n < (size_t)m.carried + 1)
        return cab_dec_bad(d, "the body does not fit the operands");
    m.stacked = (int)m.body->outputs.n - 1 - m.carried;
    m.types = CAB_NEW_N(d->tmp, cab_type, m.carried + 1);
    for (int i = 0; i < m.carried; i++)
        if (cab_dec_in(d, i + 2))
            m.types[i] = cab_dec_in(d, i + 2)->type;
    m.trip = trip_of(d);
    do {
        if (cab_dec_failed(d) || !build_body(d, &m))
            return NULL;
    } while (widen(d, &m) && ++rounds < ROUNDS);
    next = CAB_NEW_N(d->tmp, cab_value *, m.carried + 1);
    wrapped = CAB_NEW_N(d->tmp, bool, m.carried + 1);
    stacked = CAB_NEW_N(d->tmp, cab_value *, m.stacked + 1);
    for (int i = 0; i < m.carried; i++) {
        next[i] = cab_dec_body_result(&m.l.body, (size_t)i + 1);
        /* May begin as an optional and go on as what it holds. */
        wrapped[i] = m.types[i].kind == CAB_KIND_optional &&
                     next[i]->type.kind != CAB_KIND_optional;
        if (wrapped[i])
            next[i] = cab_dec_wrap(&m.l.body.d, next[i]);
    }
    for (int i = 0; i < m.stacked; i++)
        stacked[i] = cab_dec_body_result(&m.l.body, (size_t)(i + 1 + m.carried));
    n = cab_dec_loop_end(&m.l, next, stacked, m.stacked, go_of(&m));
    for (int i = 0; n && i < n->n_out && i < d->n_out; i++)
        d->out[i] = i < m.carried && wrapped[i] ? cab_dec_unwrap(d, n->out[i]) : n->out[i];
    return n ? d->out[0] : NULL;
}

/* ---- Scan ---- */
typedef struct scan {
    const cab_graph *body;
    int states, scanned, stacked;
    cab_dec_loop l;
} scan;

static int64_t entry(const cab_dec *d, const char *attr, int i)
{
    const int64_t *v = NULL;
    int64_t n = cab_attr_ints(d->n, attr, &v);

    return i < n ? v[i] : 0;
}

/* Number of steps: the common extent of the scanned axes. */
static const cab_dim *steps_of(cab_dec *d, const scan *s)
{
    const cab_dim *n = NULL;
    cab_where w = cab_node_where(d->n);

    for (int i = 0; i < s->scanned && !cab_dec_failed(d); i++) {
        cab_value *x = cab_dec_in(d, s->states + i);
        int axis = cab_dec_axis(d, entry(d, "scan_input_axes", i), cab_dec_rank(x));
        const cab_dim *e;

        if (cab_dec_failed(d))
            break;
        e = x->type.dims[axis];
        if (n && cab_graph_require_eq(d->g, n, e, "scanned operands have as many steps", &w,
                                      d->b.diag) != CAB_OK)
            d->b.status = CAB_EMODEL;
        n = n ? n : e;
    }
    return n;
}

/* Part `iter` of a scanned operand, seen inside. */
static cab_value *part_of(cab_dec *d, scan *s, int i)
{
    cab_value *x = cab_dec_in(d, s->states + i);
    cab_dec *in = &s->l.body.d;
    int axis = cab_dec_axis(d, entry(d, "scan_input_axes", i), cab_dec_rank(x));
    const cab_dim *at = s->l.iter;

    if (entry(d, "scan_input_directions", i))
        at = cab_dim_sub(d->g->dims, cab_dim_sub(d->g->dims, x->type.dims[axis], cab_dec_c(d, 1)),
                         at);
    x = cab_dec_cut(in, cab_dec_body_capture(&s->l.body, x), axis, at, cab_dec_c(d, 1));
    return cab_dec_squeeze(in, x, axis);
}

/* A stacked value with its first axis where the node wants it. */
static cab_value *placed(cab_dec *d, cab_value *v, int i)
{
    int rank = cab_dec_rank(v), axis = cab_dec_axis(d, entry(d, "scan_output_axes", i), rank);
    int64_t perm[CAB_MAX_RANK];

    if (cab_dec_failed(d))
        return NULL;
    if (entry(d, "scan_output_directions", i))
        v = cab_dec_flip(d, v, 0);
    for (int k = 0; k < rank; k++)
        perm[k] = k < axis ? k + 1 : k == axis ? 0 : k;
    return cab_dec_transpose(d, v, perm);
}

cab_value *cab_dec_Scan(cab_dec *d)
{
    const cab_attr *a = cab_attr_find(d->n, "body");
    scan s = { .scanned = (int)cab_attr_int(d->n, "num_scan_inputs") };
    const cab_dim *steps;
    cab_value **out;
    cab_node *n;

    s.body = a && a->kind == CAB_ATTR_GRAPH ? a->u.graph : NULL;
    s.states = d->n->n_in - s.scanned;
    if (!s.body || s.scanned < 1 || s.states < 0 || s.body->inputs.n != (size_t)d->n->n_in ||
        s.body->outputs.n < (size_t)s.states)
        return cab_dec_bad(d, "the body does not fit the operands");
    s.stacked = (int)s.body->outputs.n - s.states;
    steps = steps_of(d, &s);
    if (cab_dec_failed(d) || !steps)
        return NULL;
    cab_dec_loop_begin(d, &s.l, steps);
    for (int i = 0; i < s.states; i++)
        cab_map_setu(s.l.body.map, s.body->inputs.p[i]->id,
                     cab_dec_loop_carry(&s.l, cab_dec_in(d, i)));
    for (int i = 0; i < s.scanned; i++)
        cab_map_setu(s.l.body.map, s.body->inputs.p[s.states + i]->id, part_of(d, &s, i));
    cab_dec_body_copy(&s.l.body, s.body);
    if (cab_dec_failed(d))
        return NULL;
    out = CAB_NEW_N(d->tmp, cab_value *, s.body->outputs.n + 1);
    for (size_t i = 0; i < s.body->outputs.n; i++)
        out[i] = cab_dec_body_result(&s.l.body, i);
    n = cab_dec_loop_end(&s.l, out, out + s.states, s.stacked, NULL);
    for (int i = 0; n && i < d->n_out && i < n->n_out; i++)
        d->out[i] = i < s.states ? n->out[i] : placed(d, n->out[i], i - s.states);
    return n ? d->out[0] : NULL;
}
