/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_norm.c - normalisations.
 *
 * Statistics of f16 and bf16 are taken in f32.  A batch normalisation with
 * constant parameters is one multiplication and one addition whose constants
 * fold computes, so that it can go into the weights of a convolution.
 */
#include "passes/decompose_int.h"
#include <math.h>

/* (x - mean) / sqrt(var + eps) over axes; *mean and *inv may be wanted. */
static cab_value *standardize(cab_dec *d, cab_value *x, const int64_t *axes, int n,
                              double eps, cab_value **mean, cab_value **inv)
{
    cab_value *m = cab_dec_mean(d, x, axes, n, true), *c, *var, *sd;

    c = cab_dec_bin(d, CAB_OP_sub, x, m);
    var = cab_dec_mean(d, cab_dec_bin(d, CAB_OP_mul, c, c), axes, n, true);
    sd = cab_dec_un(d, CAB_OP_sqrt, cab_dec_bin(d, CAB_OP_add, var, cab_dec_num(d, x, eps)));
    if (mean)
        *mean = m;
    if (inv)
        *inv = cab_dec_bin(d, CAB_OP_div, cab_dec_num(d, x, 1), sd);
    return cab_dec_bin(d, CAB_OP_div, c, sd);
}

/* x * scale + bias; either may be NULL. */
static cab_value *affine(cab_dec *d, cab_value *x, cab_value *scale, cab_value *bias)
{
    cab_dtype dt = cab_dec_dtype(x);

    if (scale)
        x = cab_dec_bin(d, CAB_OP_mul, x, cab_dec_cast(d, scale, dt));
    if (bias)
        x = cab_dec_bin(d, CAB_OP_add, x, cab_dec_cast(d, bias, dt));
    return x;
}

static cab_dtype stash(cab_dec *d, cab_dtype dt)
{
    bool f32 = !cab_attr_find(d->n, "stash_type") || cab_attr_int(d->n, "stash_type") == 1;

    return f32 ? cab_dec_wide(dt) : dt;
}

static double epsilon(cab_dec *d)
{
    return cab_attr_float(d->n, "epsilon");
}

cab_value *cab_dec_LayerNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *mean, *inv, *y;
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank), n = 0;
    cab_dtype dt = cab_dec_dtype(x);
    int64_t axes[CAB_MAX_RANK];

    for (int i = axis; i < rank; i++)
        axes[n++] = i;
    x = cab_dec_cast(d, x, stash(d, dt));
    y = cab_dec_cast(d, standardize(d, x, axes, n, epsilon(d), &mean, &inv), dt);
    if (cab_dec_wants(d, 1))
        d->out[1] = mean;
    if (cab_dec_wants(d, 2))
        d->out[2] = inv;
    return affine(d, y, cab_dec_in(d, 1), cab_dec_in(d, 2));
}

cab_value *cab_dec_RMSNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *scale = cab_dec_in(d, 1), *ms;
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank), n = 0;
    int64_t axes[CAB_MAX_RANK];
    cab_dtype dt = cab_dec_dtype(x);

    for (int i = axis; i < rank; i++)
        axes[n++] = i;
    x = cab_dec_cast(d, x, stash(d, dt));
    ms = cab_dec_mean(d, cab_dec_bin(d, CAB_OP_mul, x, x), axes, n, true);
    ms = cab_dec_un(d, CAB_OP_sqrt, cab_dec_bin(d, CAB_OP_add, ms, cab_dec_num(d, x, epsilon(d))));
    if (cab_dec_wants(d, 1))
        d->out[1] = cab_dec_bin(d, CAB_OP_div, cab_dec_num(d, ms, 1), ms);
    x = cab_dec_cast(d, cab_dec_bin(d, CAB_OP_div, x, ms), dt);
    return affine(d, cab_dec_cast(d, x, cab_dec_dtype(scale)), scale, NULL);
}

/* The name exporters use for it: a second output is the reciprocal. */
cab_value *cab_dec_SimplifiedLayerNormalization(cab_dec *d)
{
    return cab_dec_RMSNormalization(d);
}

/* The sum of what comes in and is skipped to (and a bias), normalised along
 * the last axis; output 3 is the sum. */
static cab_value *skip_normalization(cab_dec *d, cab_value *beta, cab_value *bias, bool centre)
{
    cab_value *x = cab_dec_bin(d, CAB_OP_add, cab_dec_in(d, 0), cab_dec_in(d, 1)), *ms, *y;
    int64_t axis = cab_dec_rank(x) - 1;

    if (bias)
        x = cab_dec_bin(d, CAB_OP_add, x, bias);
    if (cab_dec_wants(d, 3))
        d->out[3] = x;
    y = cab_dec_cast(d, x, cab_dec_wide(cab_dec_dtype(x)));
    if (centre) {
        y = standardize(d, y, &axis, 1, epsilon(d), NULL, NULL);
    } else {
        ms = cab_dec_mean(d, cab_dec_bin(d, CAB_OP_mul, y, y), &axis, 1, true);
        ms = cab_dec_bin(d, CAB_OP_add, ms, cab_dec_num(d, y, epsilon(d)));
        y = cab_dec_bin(d, CAB_OP_div, y, cab_dec_un(d, CAB_OP_sqrt, ms));
    }
    return cab_dec_cast(d, affine(d, y, cab_dec_in(d, 2), beta), cab_dec_dtype(x));
}

cab_value *cab_dec_ms_SkipLayerNormalization(cab_dec *d)
{
    return skip_normalization(d, cab_dec_in(d, 3), cab_dec_in(d, 4), true);
}

cab_value *cab_dec_ms_SkipSimplifiedLayerNormalization(cab_dec *d)
{
    return skip_normalization(d, NULL, cab_dec_in(d, 3), false);
}

static cab_value *per_channel(cab_dec *d, cab_value *v, const cab_value *x)
{
    return cab_dec_along(d, cab_dec_cast(d, v, cab_dec_dtype(x)), 1, cab_dec_rank(x));
}

cab_value *cab_dec_InstanceNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *w;
    int64_t axes[CAB_MAX_RANK];
    cab_dtype dt = cab_dec_dtype(x);
    int n = 0;

    if (cab_dec_rank(x) < 3)
        return cab_dec_bad(d, "an operand of rank %d", cab_dec_rank(x));
    for (int i = 2; i < cab_dec_rank(x); i++)
        axes[n++] = i;
    w = cab_dec_cast(d, x, cab_dec_wide(dt));
    w = standardize(d, w, axes, n, epsilon(d), NULL, NULL);
    w = affine(d, w, per_channel(d, cab_dec_in(d, 1), w), per_channel(d, cab_dec_in(d, 2), w));
    return cab_dec_cast(d, w, dt);
}

/* Channels are split in groups: [N, G, C/G, ...], statistics over all but
 * the first two axes. */
cab_value *cab_dec_GroupNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *w;
    const cab_dim *dims[3];
    int64_t axes[] = { 2 }, g = cab_attr_int(d->n, "num_groups");
    cab_dtype dt = cab_dec_dtype(x);

    if (cab_dec_rank(x) < 2 || g < 1)
        return cab_dec_bad(d, "rank %d with %lld groups", cab_dec_rank(x), (long long)g);
    dims[0] = x->type.dims[0];
    dims[1] = cab_dec_c(d, g);
    dims[2] = cab_dim_divexact(d->g->dims, x->type.dims[1], dims[1]);
    if (!dims[2])
        return cab_dec_bad(d, "%lld groups do not divide the channels", (long long)g);
    for (int i = 2; i < x->type.rank; i++)
        dims[2] = cab_dim_mul(d->g->dims, dims[2], x->type.dims[i]);
    w = cab_dec_reshape(d, cab_dec_cast(d, x, stash(d, dt)), 3, dims);
    w = standardize(d, w, axes, 1, epsilon(d), NULL, NULL);
    w = cab_dec_reshape(d, w, x->type.rank, x->type.dims);
    w = affine(d, w, per_channel(d, cab_dec_in(d, 1), w), per_channel(d, cab_dec_in(d, 2), w));
    return cab_dec_cast(d, w, dt);
}

cab_value *cab_dec_MeanVarianceNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int64_t axes[CAB_MAX_RANK];
    cab_dtype dt = cab_dec_dtype(x);
    int n = cab_dec_axes(d, NULL, cab_dec_rank(x), axes);
    cab_value *m, *c, *sd;

    if (n < 0)
        return NULL;
    x = cab_dec_cast(d, x, cab_dec_wide(dt));
    m = cab_dec_mean(d, x, axes, n, true);
    c = cab_dec_bin(d, CAB_OP_sub, x, m);
    sd = cab_dec_un(d, CAB_OP_sqrt,
                    cab_dec_mean(d, cab_dec_bin(d, CAB_OP_mul, c, c), axes, n, true));
    sd = cab_dec_bin(d, CAB_OP_add, sd, cab_dec_num(d, x, 1e-9));
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_div, c, sd), dt);
}

/* ---- BatchNormalization ---- */

/* Running statistics of the training form. */
static void running_stats(cab_dec *d, cab_value **mean, cab_value **var, const cab_value *x)
{
    double momentum = cab_attr_float(d->n, "momentum");
    cab_value *now[2] = { *mean, *var };
    const cab_dim *c = cab_dec_dim(d, x, 1);

    for (int i = 0; i < 2; i++) {
        cab_value *old = cab_dec_in(d, 3 + i), *a, *b;

        now[i] = cab_dec_cast(d, cab_dec_reshape(d, now[i], 1, &c), cab_dec_dtype(old));
        a = cab_dec_bin(d, CAB_OP_mul, old, cab_dec_num(d, old, momentum));
        b = cab_dec_bin(d, CAB_OP_mul, now[i], cab_dec_num(d, old, 1 - momentum));
        if (cab_dec_wants(d, 1 + i))
            d->out[1 + i] = cab_dec_bin(d, CAB_OP_add, a, b);
    }
}

cab_value *cab_dec_BatchNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *p[4], *sd, *s;
    cab_dtype dt = cab_dec_dtype(x), wide = cab_dec_wide(dt);
    bool constant = true;
    double eps = epsilon(d);

    if (cab_dec_rank(x) < 2)
        return cab_dec_bad(d, "an operand of rank %d", cab_dec_rank(x));
    for (int i = 0; i < 4; i++) {
        p[i] = cab_dec_in(d, i + 1);
        constant = constant && cab_const_node(p[i]);
        p[i] = cab_dec_along(d, cab_dec_cast(d, p[i], wide), 1, cab_dec_rank(x));
    }
    x = cab_dec_cast(d, x, wide);
    if (cab_attr_int(d->n, "training_mode")) {
        int64_t axes[CAB_MAX_RANK];
        int n = 0;

        for (int i = 0; i < cab_dec_rank(x); i++)
            if (i != 1)
                axes[n++] = i;
        p[2] = cab_dec_mean(d, x, axes, n, true);
        sd = cab_dec_bin(d, CAB_OP_sub, x, p[2]);
        p[3] = cab_dec_mean(d, cab_dec_bin(d, CAB_OP_mul, sd, sd), axes, n, true);
        running_stats(d, &p[2], &p[3], x);
        constant = false;
    }
    sd = cab_dec_un(d, CAB_OP_sqrt, cab_dec_bin(d, CAB_OP_add, p[3], cab_dec_num(d, p[3], eps)));
    if (!constant) {
        s = cab_dec_bin(d, CAB_OP_div, cab_dec_bin(d, CAB_OP_sub, x, p[2]), sd);
        return cab_dec_cast(d, affine(d, s, p[0], p[1]), dt);
    }
    s = cab_dec_bin(d, CAB_OP_div, p[0], sd);
    p[1] = cab_dec_bin(d, CAB_OP_sub, p[1], cab_dec_bin(d, CAB_OP_mul, p[2], s));
    return cab_dec_cast(d, affine(d, x, s, p[1]), dt);
}

/* ---- norms of vectors, response normalisation ---- */
cab_value *cab_dec_LpNormalization(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *norm, *zero;
    int64_t axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));
    cab_dtype dt = cab_dec_dtype(x);

    x = cab_dec_cast(d, x, cab_dec_wide(dt));
    if (cab_attr_int(d->n, "p") == 1) {
        norm = cab_dec_reduce(d, cab_dec_un(d, CAB_OP_abs, x), "sum", &axis, 1, true);
    } else {
        norm = cab_dec_reduce(d, cab_dec_bin(d, CAB_OP_mul, x, x), "sum", &axis, 1, true);
        norm = cab_dec_un(d, CAB_OP_sqrt, norm);
    }
    /* A zero vector stays zero. */
    zero = cab_dec_bin(d, CAB_OP_eq, norm, cab_dec_num(d, norm, 0));
    norm = cab_b_select(&d->b, zero, cab_dec_num(d, norm, 1), norm);
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_div, x, norm), dt);
}

/* A window along the channels: x is seen as [N, 1, C, spatial]. */
cab_value *cab_dec_LRN(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *s;
    int64_t size = cab_attr_int(d->n, "size"), ones[CAB_MAX_RANK];
    int64_t kernel[CAB_MAX_RANK], lo[CAB_MAX_RANK] = { 0 };
    cab_dtype dt = cab_dec_dtype(x);
    int rank = cab_dec_rank(x);
    cab_attr attr[6];

    if (rank < 2 || rank >= CAB_MAX_RANK || size < 1 || size > INT32_MAX)
        return cab_dec_bad(d, "rank %d, size %lld", rank, (long long)size);
    for (int i = 0; i < rank - 1; i++)
        ones[i] = kernel[i] = 1;
    kernel[0] = size;
    lo[0] = (size - 1) / 2;
    x = cab_dec_cast(d, x, cab_dec_wide(dt));
    s = cab_dec_unsqueeze(d, cab_dec_bin(d, CAB_OP_mul, x, x), 1);
    if (!s)
        return NULL;
    attr[0] = cab_a_str("op", "sum");
    attr[1] = cab_a_ints("kernel", kernel, rank - 1);
    attr[2] = cab_a_ints("strides", ones, rank - 1);
    attr[3] = cab_a_ints("pads_lo", lo, rank - 1);
    attr[4] = cab_a_ints("dilations", ones, rank - 1);
    attr[5] = cab_a_dims("dims", s->type.dims + 2, rank - 1);
    s = cab_dec_squeeze(d, cab_build(&d->b, CAB_OP_window, 1, &s, 6, attr), 1);
    s = cab_dec_bin(d, CAB_OP_mul, s,
                    cab_dec_num(d, s, cab_attr_float(d->n, "alpha") / (double)size));
    s = cab_dec_bin(d, CAB_OP_add, s, cab_dec_num(d, s, cab_attr_float(d->n, "bias")));
    s = cab_dec_bin(d, CAB_OP_pow, s, cab_dec_num(d, s, cab_attr_float(d->n, "beta")));
    return cab_dec_cast(d, cab_dec_bin(d, CAB_OP_div, x, s), dt);
}
