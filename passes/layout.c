/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.c - the pass that decides the physical order of every value.
 *
 * Convolutions want channels innermost and get it, with a relayout where
 * their input has another order; windows, elementwise nodes and movement that
 * keeps the axes follow their operands; the rest is row-major, because every
 * reader copes with any order.  The zero padding of convolutions becomes a
 * halo around their input.  Products whose second operand has no free axis of
 * stride 1 get it permuted, its rows apart by an odd number of cache lines.
 * Graph inputs and constants stay as they are.
 */
#include "passes/lower_int.h"
#include <string.h>

typedef struct layouts {
    cab_graph *g;
    cab_pass_ctx *c;
    cab_value **moved;         /* relayout already made, by value id */
    uint32_t n_ids;
} layouts;

static cab_layout channels_last(int rank)
{
    cab_layout y = { .rank = rank };
    for (int i = 1; i < rank - 1; i++)
        y.perm[i] = (uint8_t)(i + 1);
    y.perm[rank - 1] = 1;
    return y;
}

static void set_layout(cab_graph *g, cab_value *v, const cab_layout *y)
{
    cab_type t = v->type;
    t.layout = y;
    if (!cab_layout_same(&t, &v->type))
        v->type.layout = cab_dup(g->arena, y, sizeof *y);
}

static bool same_perm(const cab_layout *a, const cab_layout *b)
{
    return b && a->rank == b->rank && !memcmp(a->perm, b->perm, (size_t)a->rank);
}

/* v in that order: itself, or a relayout of it put before the reader. */
static cab_status in_order(layouts *q, cab_value *v, const cab_layout *y, cab_node *reader,
                           cab_value **out)
{
    cab_type t = v->type;
    int64_t perm[CAB_MAX_RANK];
    t.layout = y;
    *out = v;
    if (cab_layout_same(&t, &v->type))
        return CAB_OK;
    cab_value *old = v->id < q->n_ids ? q->moved[v->id] : NULL;
    if (old && (cab_layout_same(&t, &old->type) || same_perm(y, old->type.layout))) {
        *out = old;
        return CAB_OK;
    }
    for (int i = 0; i < y->rank; i++)
        perm[i] = y->perm[i];
    cab_builder b = cab_builder_at(q->g, reader, q->c->diag);
    cab_attr a = cab_a_ints("perm", perm, y->rank);
    *out = cab_build(&b, CAB_OP_relayout, 1, &v, 1, &a);
    if (!*out)
        return b.status;
    q->c->n_changes++;
    if (v->id < q->n_ids)
        q->moved[v->id] = *out;
    return CAB_OK;
}

/* ---- who follows whom ---- */
static bool same_extents(const cab_type *a, const cab_type *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

/* Row-major only because nothing chose: it is read through views from a value
 * that has an order (an image repeated or cut). */
static bool is_view_of_ordered(const cab_value *x)
{
    if (x->type.layout)
        return false;
    while (!x->type.layout && x->def && cab_op_is_view(x->def->op->id))
        x = x->def->in[0];
    return x->type.layout != NULL;
}

/* The order most operands of full extent have; ties go to channels last. */
static const cab_layout *majority(const cab_node *n)
{
    const cab_layout *best = NULL;
    int ordered = 0, plain = 0;
    for (int i = 0; i < n->n_in; i++) {
        const cab_value *x = n->in[i];
        if (!x || !x->def || cab_const_node(x) || x->type.rank != n->out[0]->type.rank)
            continue;
        if (n->op->id != CAB_OP_concat && !same_extents(&x->type, &n->out[0]->type))
            continue;
        ordered += x->type.layout != NULL;
        plain += !x->type.layout && !is_view_of_ordered(x);
        best = best ? best : x->type.layout;
    }
    return ordered >= plain ? best : NULL;
}

/* Movement of a value that nothing else reads, back to the rank it had: the
 * axis that was innermost and still is whole stays innermost (channels of
 * which some become places). */
static bool keeps_innermost(const layouts *q, const cab_node *n, cab_layout *y)
{
    enum { DEEP = 4 };
    const cab_node *chain[DEEP];
    const cab_value *v = n->out[0];
    cab_columns all, c;
    int k = 0, j = 0;
    while (k < DEEP && v->def &&
           (v->def->op->id == CAB_OP_reshape || v->def->op->id == CAB_OP_transpose)) {
        chain[k++] = v->def;
        v = v->def->in[0];
        if (v->n_uses != 1)
            return false;
        if (v->type.layout)
            break;
    }
    if (!v->type.layout || v->type.rank != n->out[0]->type.rank)
        return false;
    all.axis = v->type.layout->perm[v->type.rank - 1];
    all.n = v->type.dims[all.axis];
    c = all;
    while (k > 0)
        c = cab_view_columns(q->g, chain[--k], c);
    if (c.axis < 0 || !cab_columns_suffice(&all, &c))
        return false;
    *y = (cab_layout){ .rank = v->type.rank };
    for (int i = 0; i < y->rank; i++)
        if (i != c.axis)
            y->perm[j++] = (uint8_t)i;
    y->perm[j] = (uint8_t)c.axis;
    return true;
}

static const cab_layout *followed(const cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_window: case CAB_OP_pad: case CAB_OP_slice: case CAB_OP_expand:
        return n->in[0]->type.rank == n->out[0]->type.rank ? n->in[0]->type.layout : NULL;
    case CAB_OP_concat:
        return majority(n);
    default:
        return n->op->traits & CAB_T_ELTWISE ? majority(n) : NULL;
    }
}

static void follow(layouts *q, cab_node *n)
{
    cab_layout moved;
    const cab_layout *y = followed(n);
    if (n->op->id == CAB_OP_reshape && keeps_innermost(q, n, &moved))
        y = &moved;
    if (!y)
        return;
    cab_layout bare = *y;
    memset(bare.halo_lo, 0, sizeof bare.halo_lo);
    memset(bare.halo_hi, 0, sizeof bare.halo_hi);
    set_layout(q->g, n->out[0], &bare);
}

/* ---- convolutions ---- */
/* Stored by a kernel of ours, which can leave zeroes around it. */
static bool can_have_halo(const cab_value *x)
{
    return x->def && !cab_value_is_expr(x) && !cab_const_node(x) &&
           !(x->def->op->traits & (CAB_T_HELPER | CAB_T_FLOW));
}

static void ask_halo(layouts *q, const cab_node *conv)
{
    cab_value *x = conv->in[0];
    int rank = x->type.rank;
    cab_layout y = { .rank = rank };
    bool any = false;
    for (int i = 0; i < rank; i++)
        y.perm[i] = (uint8_t)i;
    if (x->type.layout)
        y = *x->type.layout;
    for (int i = 2; i < rank; i++) {
        int64_t lo, hi;
        cab_conv_reach(q->g, conv, i, &lo, &hi);
        if (lo > INT16_MAX || hi > INT16_MAX)
            return;
        y.halo_lo[i] = lo > y.halo_lo[i] ? (int32_t)lo : y.halo_lo[i];
        y.halo_hi[i] = hi > y.halo_hi[i] ? (int32_t)hi : y.halo_hi[i];
        any = any || lo > 0 || hi > 0;
    }
    if (any)
        x->type.layout = cab_dup(q->g->arena, &y, sizeof y);
}

static void set_channels_last(layouts *q, cab_value *v)
{
    cab_layout y = channels_last(v->type.rank);
    set_layout(q->g, v, &y);
}

/* The elements of x are read one by one: their order matters only for how many
 * neighbours a line of cache holds.  With few channels a row of one channel is
 * as good as a row of points, and an image need not be turned. */
static bool reads_planes(const cab_node *n)
{
    enum { FEW_CHANNELS = 4 };
    const cab_type *x = &n->in[0]->type;
    return n->op->id == CAB_OP_conv && !x->layout && cab_attr_int(n, "group") == 1 &&
           cab_dim_is_const(x->dims[1]) && x->dims[1]->value <= FEW_CHANNELS;
}

static cab_status order_conv(layouts *q, cab_node *n)
{
    cab_layout y = channels_last(n->in[0]->type.rank);
    cab_value *x = n->in[0];
    if (x->type.rank < 3)
        return CAB_OK;
    if (!reads_planes(n))
        CAB_TRY(in_order(q, x, &y, n, &x));
    if (x != n->in[0])
        cab_node_set_in(n, 0, x);
    if (n->op->id == CAB_OP_conv)
        set_channels_last(q, n->out[0]);
    return CAB_OK;
}

/* Halos last: every order is known then, and a graph input that needs one is
 * behind a relayout made for it. */
static cab_status pad_conv(layouts *q, cab_node *n)
{
    cab_value *x = n->in[0];
    int64_t lo, hi, perm[CAB_MAX_RANK];
    bool any = false;
    for (int i = 2; i < x->type.rank; i++) {
        cab_conv_reach(q->g, n, i, &lo, &hi);
        any = any || lo > 0 || hi > 0;
    }
    if (!any)
        return CAB_OK;
    if (!can_have_halo(x)) {
        /* Same order, but storage of our own that can have zeroes around. */
        for (int i = 0; i < x->type.rank; i++)
            perm[i] = cab_value_axis_at(&x->type, i);
        cab_builder b = cab_builder_at(q->g, n, q->c->diag);
        cab_attr a = cab_a_ints("perm", perm, x->type.rank);
        x = cab_build(&b, CAB_OP_relayout, 1, &x, 1, &a);
        if (!x)
            return b.status;
        cab_node_set_in(n, 0, x);
        q->c->n_changes++;
    }
    ask_halo(q, n);
    return CAB_OK;
}

/* ---- products ---- */
/* Rows whose distance is a multiple of a large power of two fall on few sets of
 * the caches; a line between them spreads them.  A symbolic distance may be one
 * any time (lengths often are), and gets the line always. */
static void pad_rows(const cab_type *t, cab_layout *y)
{
    enum { LINE = 64, ALIAS = 1024 };
    int last = y->perm[y->rank - 1], size = cab_dtype_bits(t->dtype) / 8;
    const cab_dim *n = t->dims[last];

    if (size > 0 && y->rank > 1 && (!cab_dim_is_const(n) || n->value * size % ALIAS == 0))
        y->halo_hi[last] = LINE / size;
}

static cab_status order_dot(layouts *q, cab_node *n)
{
    cab_value *b = n->in[1], *to;
    cab_layout y = { .rank = b->type.rank };
    int axis, k = 0;
    if (cab_dot_b_fits(q->g, n, &axis))
        return CAB_OK;
    for (int i = 0; i < b->type.rank; i++)
        if (i != axis)
            y.perm[k++] = (uint8_t)i;
    y.perm[k] = (uint8_t)axis;
    if (b->def && cab_op_is_view(b->def->op->id) && b->n_uses == 1 && !b->type.layout) {
        pad_rows(&b->type, &y);
        set_layout(q->g, b, &y);
        return CAB_OK;
    }
    CAB_TRY(in_order(q, b, &y, n, &to));
    if (to == b)
        return CAB_OK;
    if (to->n_uses == 0) {
        pad_rows(&to->type, &y);
        set_layout(q->g, to, &y);
    }
    cab_node_set_in(n, 1, to);
    return CAB_OK;
}

cab_status cab_pass_layout(cab_graph *g, cab_pass_ctx *c)
{
    layouts q = { .g = g, .c = c, .n_ids = cab_graph_root(g)->next_id };
    q.moved = CAB_NEW_N(c->scratch, cab_value *, q.n_ids + 1);
    for (cab_node *n = g->first; n; n = n->next) {
        if (n->op->id == CAB_OP_conv || n->op->id == CAB_OP_wino_in)
            CAB_TRY(order_conv(&q, n));
        else if (n->op->id == CAB_OP_wino_out)
            set_channels_last(&q, n->out[0]);
        else if (n->op->id == CAB_OP_dot)
            CAB_TRY(order_dot(&q, n));
        else if (n->n_out == 1 && n->n_in > 0 && n->op->id != CAB_OP_relayout)
            follow(&q, n);
    }
    for (cab_node *n = g->first; n; n = n->next)
        if (n->op->id == CAB_OP_conv || n->op->id == CAB_OP_wino_in)
            CAB_TRY(pad_conv(&q, n));
    return CAB_OK;
}
