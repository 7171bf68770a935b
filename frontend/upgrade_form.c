/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade_form.c - steps that change what is computed, or that only some forms
 * of a node survive.
 *
 * Where the newest operators can express the old meaning, nodes are put before
 * the draft and the draft becomes the last of them; shapes are computed with
 * Shape and friends, since ranks are not known yet.  Training forms that were
 * dropped from the standard are refused.
 */
#include <string.h>
#include "frontend/frontend_int.h"

/* The draft becomes another operator of the newest version. */
static void turn_into(cab_draft *d, cab_op_id op, int n_in, cab_value **in)
{
    d->op = op;
    d->since = cab_schema_newest(op)->since;
    d->attr.n = 0;
    d->in.n = 0;
    for (int i = 0; i < n_in; i++)
        cab_draft_set_in(d, (size_t)i, in[i]);
}

static cab_value *emit1(cab_draft *d, cab_op_id op, cab_value *x)
{
    return cab_draft_emit(d, op, 1, &x, 0, NULL);
}

static cab_value *emit2(cab_draft *d, cab_op_id op, cab_value *x, cab_value *y)
{
    cab_value *in[2] = { x, y };

    return cab_draft_emit(d, op, 2, in, 0, NULL);
}

/* i64 vector holding the rank of x. */
static cab_value *rank_of(cab_draft *d, cab_value *x)
{
    return emit1(d, CAB_OP_Shape, emit1(d, CAB_OP_Shape, x));
}

/* lead, then `count` (an i64 vector of one element) times 1. */
static cab_value *then_ones(cab_draft *d, cab_value *lead, cab_value *count)
{
    int64_t one = 1;
    cab_attr axis = cab_a_int("axis", 0);
    cab_value *in[2] = {
        lead,
        emit2(d, CAB_OP_Expand, cab_draft_i64s(d, &one, 1), count),
    };

    return cab_draft_emit(d, CAB_OP_Concat, 2, in, 1, &axis);
}

/* Before 13: the input as a matrix, split at axis, one row at a time. */
cab_status cab_up_softmax(cab_draft *d)
{
    cab_value *x = d->in.p[0], *in[2];
    cab_attr axis = *cab_draft_attr(d, "axis"), last = cab_a_int("axis", -1);

    if (axis.u.i == -1)
        return CAB_OK;
    in[0] = cab_draft_emit(d, CAB_OP_Flatten, 1, &x, 1, &axis);
    in[0] = cab_draft_emit(d, d->op, 1, in, 1, &last);
    in[1] = emit1(d, CAB_OP_Shape, x);
    turn_into(d, CAB_OP_Reshape, 2, in);
    cab_draft_set(d, cab_a_int("allowzero", 1));
    return CAB_OK;
}

/* 18 has scale and bias per group, 21 per channel. */
static cab_value *per_channel(cab_draft *d, cab_value *v, cab_value *channels,
                              int64_t groups)
{
    const int64_t column[2] = { groups, 1 }, flat = -1;
    cab_attr axis = cab_a_int("axis", 0);
    cab_value *g = cab_draft_i64s(d, &groups, 1), *in[2];

    in[0] = g;
    in[1] = emit2(d, CAB_OP_Div, channels, g);
    in[1] = cab_draft_emit(d, CAB_OP_Concat, 2, in, 1, &axis);
    in[0] = emit2(d, CAB_OP_Reshape, v, cab_draft_i64s(d, column, 2));
    in[0] = emit2(d, CAB_OP_Expand, in[0], in[1]);
    return emit2(d, CAB_OP_Reshape, in[0], cab_draft_i64s(d, &flat, 1));
}

cab_status cab_up_group_norm(cab_draft *d)
{
    int64_t groups = cab_draft_attr(d, "num_groups")->u.i;
    cab_attr at[2] = { cab_a_int("start", 1), cab_a_int("end", 2) };
    cab_value *channels;

    if (groups < 1)
        return cab_draft_refuse(d, "num_groups %lld", (long long)groups);
    channels = cab_draft_emit(d, CAB_OP_Shape, 1, d->in.p, 2, at);
    for (size_t i = 1; i < 3; i++)
        d->in.p[i] = per_channel(d, d->in.p[i], channels, groups);
    return CAB_OK;
}

/* ---- training forms ---- */
cab_status cab_up_batch_norm_7(cab_draft *d)
{
    cab_draft_drop(d, "is_test");
    return CAB_OK;
}

cab_status cab_up_batch_norm_9(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "spatial");

    if (a && a->u.i == 0)
        return cab_draft_refuse(d, "statistics per position (spatial = 0)");
    cab_draft_drop(d, "spatial");
    return CAB_OK;
}

cab_status cab_up_batch_norm_14(cab_draft *d)
{
    if (d->n_out > 1)
        return cab_draft_refuse(d, "training with version %d of the operator",
                                d->since);
    return CAB_OK;
}

cab_status cab_up_dropout_7(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "is_test");

    if (!a || a->u.i == 0)
        return cab_draft_refuse(d, "training with version %d of the operator",
                                d->since);
    cab_draft_drop(d, "is_test");
    return CAB_OK;
}

/* The mask was ones of the input's type; later it is bool. */
cab_status cab_up_dropout_10(cab_draft *d)
{
    cab_value *x = d->in.p[0];

    if (d->n_out > 1) {
        d->second = emit2(d, CAB_OP_Expand, cab_draft_like(d, 1, x),
                          emit1(d, CAB_OP_Shape, x));
        d->n_out = 1;
    }
    return CAB_OK;
}

/* Up to 10 it runs in inference mode, where the ratio means nothing. */
cab_status cab_up_dropout_12(cab_draft *d)
{
    cab_draft_drop(d, "ratio");
    return CAB_OK;
}

/* ---- opset < 7 ---- */
/* The second operand was aligned with the first at `axis`: it gets ones
 * behind, rank(a) - axis - rank(b) of them. */
cab_status cab_up_broadcast(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "axis");
    cab_attr *on = cab_draft_attr(d, "broadcast");
    cab_value *rank_b, *count, *b = d->in.p[1];
    int64_t axis = a ? a->u.i : 0;

    if (a && on && on->u.i) {
        rank_b = rank_of(d, b);
        axis = axis < 0 ? -axis : axis;
        count = cab_draft_i64s(d, &axis, 1);
        if (a->u.i >= 0)
            count = emit2(d, CAB_OP_Sub, rank_of(d, d->in.p[0]), count);
        count = emit2(d, CAB_OP_Sub, count, rank_b);
        d->in.p[1] = emit2(d, CAB_OP_Reshape, b,
                           then_ones(d, emit1(d, CAB_OP_Shape, b), count));
    }
    cab_draft_drop(d, "axis");
    cab_draft_drop(d, "broadcast");
    return CAB_OK;
}

/* One slope per channel (axis 1), or one for all. */
cab_status cab_up_prelu(cab_draft *d)
{
    const int64_t all = -1, two = 2;
    cab_value *count = emit2(d, CAB_OP_Sub, rank_of(d, d->in.p[0]),
                             cab_draft_i64s(d, &two, 1));
    cab_value *shape = then_ones(d, cab_draft_i64s(d, &all, 1), count);

    d->in.p[1] = emit2(d, CAB_OP_Reshape, d->in.p[1], shape);
    return CAB_OK;
}

cab_status cab_up_gemm(cab_draft *d)
{
    cab_draft_drop(d, "broadcast");
    return CAB_OK;
}

cab_status cab_up_recurrent(cab_draft *d)
{
    cab_draft_drop(d, "output_sequence");
    return CAB_OK;
}

cab_status cab_up_concat(cab_draft *d)
{
    if (!cab_draft_attr(d, "axis"))
        cab_draft_set(d, cab_a_int("axis", 1));
    return CAB_OK;
}

cab_status cab_up_reshape(cab_draft *d)
{
    cab_attr *a = cab_draft_attr(d, "shape");

    if (!a)
        return cab_draft_refuse(d, "no attribute 'shape'");
    cab_draft_set_in(d, 1, cab_draft_i64s(d, a->u.ints, a->n));
    cab_draft_drop(d, "shape");
    return CAB_OK;
}

/* The target type was the name of its number. */
cab_status cab_up_cast(cab_draft *d)
{
    static const char *const names[] = {
        "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32",
        "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64",
        "COMPLEX64", "COMPLEX128",
    };
    const char *to = cab_draft_attr(d, "to")->u.s;

    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(to, names[i])) {
            cab_draft_set(d, cab_a_int("to", (int64_t)i));
            return CAB_OK;
        }
    }
    return cab_draft_refuse(d, "a cast to '%s'", to);
}
