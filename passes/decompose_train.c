/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_train.c - steps of optimisers: formulas of the elements of each
 * tensor that is trained.
 *
 * Operands: the rate R, the count T of steps so far, then one list after
 * another of the tensors X, their gradients and what the optimiser keeps.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* Tensor i of n in list k of the operands. */
static cab_value *operand(cab_dec *d, int k, int n, int i)
{
    return cab_dec_in(d, 2 + k * n + i);
}

static cab_value *bin(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y)
{
    return cab_dec_bin(d, op, x, y);
}

static cab_value *scaled(cab_dec *d, cab_value *x, double by)
{
    return bin(d, CAB_OP_mul, x, cab_dec_num(d, x, by));
}

static cab_value *square(cab_dec *d, cab_value *x) { return bin(d, CAB_OP_mul, x, x); }

/* How many tensors are trained by lists of that number; 0 after a failure. */
static int tensors(cab_dec *d, int lists)
{
    int n = (d->n->n_in - 2) / lists;

    if (d->n->n_in < 2 + lists || d->n->n_in != 2 + n * lists || d->n_out != n * (lists - 1)) {
        cab_dec_bad(d, "%d operands and %d results", d->n->n_in, d->n_out);
        return 0;
    }
    for (int i = 0; i < d->n->n_in; i++)
        if (!d->n->in[i]) {
            cab_dec_bad(d, "operand %d is missing", i);
            return 0;
        }
    return n;
}

/* R or T as a scalar of x's type. */
static cab_value *scalar(cab_dec *d, int i, const cab_value *x)
{
    cab_value *v = cab_dec_cast(d, cab_dec_in(d, i), cab_dec_dtype(x));

    return v ? cab_dec_reshape(d, v, 0, NULL) : NULL;
}

/* The gradient with that of the norm of x. */
static cab_value *regular(cab_dec *d, cab_value *x, cab_value *g)
{
    return bin(d, CAB_OP_add, scaled(d, x, cab_attr_float(d->n, "norm_coefficient")), g);
}

/* x - rate * step / (sqrt(h) + epsilon) */
static cab_value *moved(cab_dec *d, cab_value *x, cab_value *rate, cab_value *step, cab_value *h)
{
    cab_value *size = cab_dec_un(d, CAB_OP_sqrt, h);

    size = bin(d, CAB_OP_add, size, cab_dec_num(d, size, cab_attr_float(d->n, "epsilon")));
    return bin(d, CAB_OP_sub, x, bin(d, CAB_OP_div, bin(d, CAB_OP_mul, rate, step), size));
}

cab_value *cab_dec_training_Adagrad(cab_dec *d)
{
    int n = tensors(d, 3);

    for (int i = 0; i < n; i++) {
        cab_value *x = operand(d, 0, n, i), *g = regular(d, x, operand(d, 1, n, i));
        cab_value *h = bin(d, CAB_OP_add, operand(d, 2, n, i), square(d, g));
        cab_value *rate = scaled(d, scalar(d, 1, x), cab_attr_float(d->n, "decay_factor"));

        rate = bin(d, CAB_OP_div, scalar(d, 0, x), bin(d, CAB_OP_add, rate, cab_dec_num(d, rate, 1)));
        d->out[i] = moved(d, x, rate, g, h);
        d->out[n + i] = h;
    }
    return n ? d->out[0] : NULL;
}

/* a * old + (1 - a) * now */
static cab_value *mixed(cab_dec *d, double a, cab_value *old, cab_value *now)
{
    return bin(d, CAB_OP_add, scaled(d, old, a), scaled(d, now, 1 - a));
}

/* R with the bias of the first steps taken out. */
static cab_value *adam_rate(cab_dec *d, const cab_value *x, double alpha, double beta)
{
    cab_value *r = scalar(d, 0, x), *t = scalar(d, 1, x), *one = cab_dec_num(d, x, 1), *up, *down;

    up = bin(d, CAB_OP_sub, one, bin(d, CAB_OP_pow, cab_dec_num(d, x, beta), t));
    down = bin(d, CAB_OP_sub, one, bin(d, CAB_OP_pow, cab_dec_num(d, x, alpha), t));
    up = bin(d, CAB_OP_div, bin(d, CAB_OP_mul, r, cab_dec_un(d, CAB_OP_sqrt, up)), down);
    return cab_dec_failed(d) ? NULL
                             : cab_b_select(&d->b, bin(d, CAB_OP_lt, cab_dec_num(d, x, 0), t), up, r);
}

cab_value *cab_dec_training_Adam(cab_dec *d)
{
    int n = tensors(d, 4);
    double alpha = cab_attr_float(d->n, "alpha"), beta = cab_attr_float(d->n, "beta");
    double post = cab_attr_float(d->n, "norm_coefficient_post");

    for (int i = 0; i < n; i++) {
        cab_value *x = operand(d, 0, n, i), *g = regular(d, x, operand(d, 1, n, i));
        cab_value *v = mixed(d, alpha, operand(d, 2, n, i), g);
        cab_value *h = mixed(d, beta, operand(d, 3, n, i), square(d, g));

        d->out[i] = scaled(d, moved(d, x, adam_rate(d, x, alpha, beta), v, h), 1 - post);
        d->out[n + i] = v;
        d->out[2 * n + i] = h;
    }
    return n ? d->out[0] : NULL;
}

cab_value *cab_dec_training_Momentum(cab_dec *d)
{
    int n = tensors(d, 3);
    const char *mode = cab_attr_str(d->n, "mode");
    double alpha = cab_attr_float(d->n, "alpha"), beta = cab_attr_float(d->n, "beta");

    if (!mode || (strcmp(mode, "standard") && strcmp(mode, "nesterov")))
        return cab_dec_bad(d, "attribute mode");
    for (int i = 0; i < n && !cab_dec_failed(d); i++) {
        cab_value *x = operand(d, 0, n, i), *g = regular(d, x, operand(d, 1, n, i)), *step, *v;
        cab_value *later = bin(d, CAB_OP_lt, cab_dec_num(d, x, 0), scalar(d, 1, x));

        v = cab_dec_failed(d) ? NULL : cab_b_select(&d->b, later, scaled(d, g, beta), g);
        v = bin(d, CAB_OP_add, scaled(d, operand(d, 2, n, i), alpha), v);
        step = !strcmp(mode, "nesterov") ? bin(d, CAB_OP_add, g, scaled(d, v, alpha)) : v;
        d->out[i] = bin(d, CAB_OP_sub, x, bin(d, CAB_OP_mul, scalar(d, 0, x), step));
        d->out[n + i] = v;
    }
    return n ? d->out[0] : NULL;
}
