/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_reduce.c - result types of reductions, contractions and windows.
 */
#include "ir/ir_int.h"

static const char *const red_ops[] = { "sum", "prod", "max", "min", NULL };
static const char *const arg_ops[] = { "max", "min", NULL };
static const char *const scan_ops[] = { "sum", "prod", NULL };
static const char *const window_ops[] = { "max", "sum", "argmax", NULL };
enum { WINDOW_ARGMAX = 2 };

/* Drops the axes marked in gone, or makes them 1. */
static int reduced(cab_graph *g, const cab_type *x, const bool *gone, bool keep,
                   const cab_dim **dims)
{
    int rank = 0;

    for (int i = 0; i < x->rank; i++) {
        if (!gone[i])
            dims[rank++] = x->dims[i];
        else if (keep)
            dims[rank++] = cab_dim_const(g->dims, 1);
    }
    return rank;
}

cab_status cab_infer_reduce(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    const cab_dim *dims[CAB_MAX_RANK];
    bool gone[CAB_MAX_RANK] = { false };
    const int64_t *axes;
    int64_t n_axes = cab_attr_ints(n, "axes", &axes);
    int op, rank;

    CAB_TRY(cab_infer_choice(n, "op", red_ops, &op, d));
    CAB_TRY(cab_infer_axes(n, "axes", axes, n_axes, x->rank, gone, d));
    rank = reduced(g, x, gone, cab_attr_int(n, "keepdims") != 0, dims);
    return cab_infer_set(n, 0, x->dtype, rank, dims, d);
}

cab_status cab_infer_argreduce(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    const cab_dim *dims[CAB_MAX_RANK];
    bool gone[CAB_MAX_RANK] = { false };
    int64_t axis;
    int op, rank;

    CAB_TRY(cab_infer_choice(n, "op", arg_ops, &op, d));
    CAB_TRY(cab_infer_axis(n, x->rank, &axis, d));
    gone[axis] = true;
    rank = reduced(g, x, gone, cab_attr_int(n, "keepdims") != 0, dims);
    return cab_infer_set(n, 0, CAB_DT_i64, rank, dims, d);
}

cab_status cab_infer_scan(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    int64_t axis;
    int op;

    (void)g;
    CAB_TRY(cab_infer_choice(n, "op", scan_ops, &op, d));
    CAB_TRY(cab_infer_axis(n, x->rank, &axis, d));
    return cab_infer_set(n, 0, x->dtype, x->rank, x->dims, d);
}

cab_status cab_infer_topk(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    const cab_dim *dims[CAB_MAX_RANK], *const *k;
    int64_t axis;

    (void)g;
    CAB_TRY(cab_infer_axis(n, x->rank, &axis, d));
    CAB_TRY(cab_infer_dims(n, "k", 1, &k, d));
    if (cab_dim_lt(x->dims[axis], k[0]) == 1)
        return cab_infer_fail(n, d, "k is larger than axis %lld", (long long)axis);
    for (int i = 0; i < x->rank; i++)
        dims[i] = i == axis ? k[0] : x->dims[i];
    CAB_TRY(cab_infer_set(n, 0, x->dtype, x->rank, dims, d));
    return cab_infer_set(n, 1, CAB_DT_i64, x->rank, dims, d);
}

cab_status cab_infer_sort(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;

    (void)g;
    if (x->rank != 2)
        return cab_infer_fail(n, d, "an operand of rank %d", x->rank);
    return cab_infer_set(n, 0, CAB_DT_i64, 1, x->dims, d);
}

cab_status cab_infer_nms(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *b = &n->in[0]->type, *s = &n->in[1]->type;
    const cab_dim *dims[2], *const *limit;
    cab_where w = cab_node_where(n);

    if (b->rank != 3 || s->rank != 3 || n->in[2]->type.rank || n->in[3]->type.rank)
        return cab_infer_fail(n, d, "operands of rank %d, %d, %d and %d", b->rank, s->rank,
                              n->in[2]->type.rank, n->in[3]->type.rank);
    CAB_TRY(cab_infer_dims(n, "limit", 1, &limit, d));
    CAB_TRY(cab_graph_require_eq(g, b->dims[0], s->dims[0], "nms: batches agree", &w, d));
    CAB_TRY(cab_graph_require_eq(g, b->dims[1], s->dims[2], "nms: one score per box", &w, d));
    CAB_TRY(cab_graph_require_eq(g, b->dims[2], cab_dim_const(g->dims, 4),
                                 "nms: a box is 4 numbers", &w, d));
    dims[0] = cab_dim_mul(g->dims, cab_dim_mul(g->dims, b->dims[0], s->dims[1]),
                          cab_dim_min(g->dims, b->dims[1], limit[0]));
    dims[1] = cab_dim_const(g->dims, 3);
    CAB_TRY(cab_infer_set(n, 0, CAB_DT_i64, 2, dims, d));
    return cab_infer_set(n, 1, CAB_DT_i64, 0, NULL, d);
}

/* ---- dot ---- */

/* Reads the batch and contraction axes of one side; marks them in used. */
static cab_status dot_side(const cab_node *n, const char *batch_name,
                           const char *contract_name, int rank, bool *used,
                           const int64_t *axes[2], int64_t count[2], cab_diag *d)
{
    count[0] = cab_attr_ints(n, batch_name, &axes[0]);
    count[1] = cab_attr_ints(n, contract_name, &axes[1]);
    CAB_TRY(cab_infer_axes(n, batch_name, axes[0], count[0], rank, used, d));
    return cab_infer_axes(n, contract_name, axes[1], count[1], rank, used, d);
}

cab_status cab_infer_dot(cab_graph *g, cab_node *n, cab_diag *d)
{
    static const char *const why[2] = { "dot: batch extents agree",
                                        "dot: contracted extents agree" };
    const cab_type *a = &n->in[0]->type, *b = &n->in[1]->type;
    const cab_dim *dims[2 * CAB_MAX_RANK];
    bool a_used[CAB_MAX_RANK] = { false }, b_used[CAB_MAX_RANK] = { false };
    const int64_t *a_axes[2], *b_axes[2];
    int64_t a_n[2], b_n[2];
    cab_where w = cab_node_where(n);
    cab_dtype out = cab_attr_dtype(n, "out");
    int rank = 0;

    CAB_TRY(dot_side(n, "a_batch", "a_contract", a->rank, a_used, a_axes, a_n, d));
    CAB_TRY(dot_side(n, "b_batch", "b_contract", b->rank, b_used, b_axes, b_n, d));
    for (int kind = 0; kind < 2; kind++) {
        if (a_n[kind] != b_n[kind])
            return cab_infer_fail(n, d, "%s axes differ in number",
                                  kind ? "contracted" : "batch");
        for (int64_t i = 0; i < a_n[kind]; i++) {
            const cab_dim *x = a->dims[a_axes[kind][i]], *y = b->dims[b_axes[kind][i]];
            CAB_TRY(cab_graph_require_eq(g, x, y, why[kind], &w, d));
            if (kind == 0)
                dims[rank++] = cab_dim_is_const(y) ? y : x;
        }
    }
    for (int i = 0; i < a->rank; i++)
        if (!a_used[i])
            dims[rank++] = a->dims[i];
    for (int i = 0; i < b->rank; i++)
        if (!b_used[i])
            dims[rank++] = b->dims[i];
    return cab_infer_set(n, 0, out == CAB_DT_none ? a->dtype : out, rank, dims, d);
}

/* ---- convolution and windows ---- */

/* A list of `count` integers within [lo, INT32_MAX]. */
static cab_status get_steps(const cab_node *n, const char *name, int count, int64_t lo,
                            const int64_t **out, cab_diag *d)
{
    CAB_TRY(cab_infer_ints(n, name, count, out, d));
    for (int i = 0; i < count; i++)
        if ((*out)[i] < lo || (*out)[i] > INT32_MAX)
            return cab_infer_fail(n, d, "attribute '%s' holds %lld", name,
                                  (long long)(*out)[i]);
    return CAB_OK;
}

typedef struct conv_attrs {
    const int64_t *strides, *pads_lo, *pads_hi, *dilations;
    int64_t group;
} conv_attrs;

static cab_status get_conv(const cab_node *n, int spatial, conv_attrs *c, cab_diag *d)
{
    CAB_TRY(get_steps(n, "strides", spatial, 1, &c->strides, d));
    CAB_TRY(get_steps(n, "dilations", spatial, 1, &c->dilations, d));
    CAB_TRY(get_steps(n, "pads_lo", spatial, 0, &c->pads_lo, d));
    CAB_TRY(get_steps(n, "pads_hi", spatial, 0, &c->pads_hi, d));
    c->group = cab_attr_int(n, "group");
    if (c->group < 1 || c->group > INT32_MAX)
        return cab_infer_fail(n, d, "group is %lld", (long long)c->group);
    return CAB_OK;
}

/* floordiv(in + lo + hi - dilation * (k - 1) - 1, stride) + 1 */
static const cab_dim *conv_extent(cab_dims *p, const cab_dim *in, const cab_dim *k,
                                  const conv_attrs *c, int i)
{
    const cab_dim *one = cab_dim_const(p, 1);
    const cab_dim *reach = cab_dim_mul(p, cab_dim_const(p, c->dilations[i]),
                                       cab_dim_sub(p, k, one));
    const cab_dim *room = cab_dim_add(p, in, cab_dim_const(p, c->pads_lo[i]
                                                              + c->pads_hi[i] - 1));

    return cab_dim_add(p, cab_dim_floordiv(p, cab_dim_sub(p, room, reach),
                                           cab_dim_const(p, c->strides[i])), one);
}

cab_status cab_infer_conv(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type, *w = &n->in[1]->type;
    const cab_dim *dims[CAB_MAX_RANK], *group;
    cab_where where = cab_node_where(n);
    cab_dtype out = cab_attr_dtype(n, "out");
    conv_attrs c;

    if (x->rank < 3 || w->rank != x->rank)
        return cab_infer_fail(n, d, "operands of rank %d and %d", x->rank, w->rank);
    CAB_TRY(get_conv(n, x->rank - 2, &c, d));
    group = cab_dim_const(g->dims, c.group);
    CAB_TRY(cab_graph_require_eq(g, x->dims[1], cab_dim_mul(g->dims, w->dims[1], group),
                                 "conv: channels of the operand and the weights agree",
                                 &where, d));
    CAB_TRY(cab_graph_require_eq(g, cab_dim_mod(g->dims, w->dims[0], group),
                                 cab_dim_const(g->dims, 0),
                                 "conv: group divides the result's channels", &where, d));
    dims[0] = x->dims[0];
    dims[1] = w->dims[0];
    for (int i = 2; i < x->rank; i++)
        dims[i] = conv_extent(g->dims, x->dims[i], w->dims[i], &c, i - 2);
    return cab_infer_set(n, 0, out == CAB_DT_none ? x->dtype : out, x->rank, dims, d);
}

cab_status cab_infer_window(cab_graph *g, cab_node *n, cab_diag *d)
{
    const cab_type *x = &n->in[0]->type;
    const cab_dim *dims[CAB_MAX_RANK], *const *spatial;
    const int64_t *list;
    int op;

    (void)g;
    if (x->rank < 3)
        return cab_infer_fail(n, d, "an operand of rank %d", x->rank);
    CAB_TRY(cab_infer_choice(n, "op", window_ops, &op, d));
    CAB_TRY(get_steps(n, "kernel", x->rank - 2, 1, &list, d));
    CAB_TRY(get_steps(n, "strides", x->rank - 2, 1, &list, d));
    CAB_TRY(get_steps(n, "dilations", x->rank - 2, 1, &list, d));
    CAB_TRY(get_steps(n, "pads_lo", x->rank - 2, 0, &list, d));
    CAB_TRY(cab_infer_dims(n, "dims", x->rank - 2, &spatial, d));
    for (int i = 0; i < x->rank; i++)
        dims[i] = i < 2 ? x->dims[i] : spatial[i - 2];
    return cab_infer_set(n, 0, op == WINDOW_ARGMAX ? CAB_DT_i64 : x->dtype, x->rank,
                         dims, d);
}
