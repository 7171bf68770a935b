/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_loss.c - classification losses.
 *
 * The picked element of each row is a sum over the classes of a selection,
 * which is one reduction and needs no index arithmetic.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* Loss from log probabilities x [N, C, ...] and targets t [N, ...]. */
static cab_value *loss(cab_dec *d, cab_value *x, cab_value *t, cab_value *w)
{
    const char *how = cab_attr_str(d->n, "reduction");
    int64_t axis = 1, axes[CAB_MAX_RANK];
    cab_value *hit, *picked, *weight, *sum;
    int rank = cab_dec_rank(x), n = rank - 1;
    cab_dtype dt = cab_dec_dtype(x);

    if (rank < 2 || cab_dec_rank(t) != n)
        return cab_dec_bad(d, "scores of rank %d, targets of rank %d", rank, cab_dec_rank(t));
    x = cab_dec_cast(d, x, cab_dec_wide(dt));
    t = cab_dec_cast(d, t, CAB_DT_i64);
    hit = cab_dec_iota(d, rank, 1, cab_dec_dim(d, x, 1), CAB_DT_i64);
    hit = cab_dec_bin(d, CAB_OP_eq, hit, cab_dec_unsqueeze(d, t, 1));
    if (cab_attr_find(d->n, "ignore_index")) {
        cab_value *ok = cab_dec_bin(d, CAB_OP_ne, t,
                                    cab_dec_int(d, t, cab_attr_int(d->n, "ignore_index")));

        hit = cab_dec_bin(d, CAB_OP_and, hit, cab_dec_unsqueeze(d, ok, 1));
    }
    weight = w ? cab_dec_along(d, cab_dec_cast(d, w, cab_dec_dtype(x)), 1, rank)
               : cab_dec_num(d, x, 1);
    weight = cab_b_select(&d->b, hit, weight, cab_dec_num(d, x, 0));
    picked = cab_b_select(&d->b, hit, cab_dec_bin(d, CAB_OP_mul, x, weight),
                          cab_dec_num(d, x, 0));
    picked = cab_dec_un(d, CAB_OP_neg, cab_dec_reduce(d, picked, "sum", &axis, 1, false));
    if (how && !strcmp(how, "none"))
        return cab_dec_cast(d, picked, dt);
    for (int i = 0; i < n; i++)
        axes[i] = i;
    sum = cab_dec_reduce(d, picked, "sum", axes, n, false);
    if (!how || !strcmp(how, "mean")) {
        weight = cab_dec_reduce(d, weight, "sum", &axis, 1, false);
        weight = cab_dec_reduce(d, weight, "sum", axes, n, false);
        sum = cab_dec_bin(d, CAB_OP_div, sum, weight);
    }
    return cab_dec_cast(d, sum, dt);
}

cab_value *cab_dec_NegativeLogLikelihoodLoss(cab_dec *d)
{
    return loss(d, cab_dec_in(d, 0), cab_dec_in(d, 1), cab_dec_in(d, 2));
}

cab_value *cab_dec_SoftmaxCrossEntropyLoss(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *s;
    cab_dtype dt = cab_dec_dtype(x);
    int64_t axis = 1;

    if (cab_dec_rank(x) < 2)
        return cab_dec_bad(d, "scores of rank %d", cab_dec_rank(x));
    x = cab_dec_cast(d, x, cab_dec_wide(dt));
    x = cab_dec_bin(d, CAB_OP_sub, x, cab_dec_reduce(d, x, "max", &axis, 1, true));
    s = cab_dec_reduce(d, cab_dec_un(d, CAB_OP_exp, x), "sum", &axis, 1, true);
    x = cab_dec_cast(d, cab_dec_bin(d, CAB_OP_sub, x, cab_dec_un(d, CAB_OP_log, s)), dt);
    if (cab_dec_wants(d, 1))
        d->out[1] = x;
    return loss(d, x, cab_dec_in(d, 1), cab_dec_in(d, 2));
}
