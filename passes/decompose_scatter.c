/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_scatter.c - scatters, turned round into gathers.
 *
 * Every element of the result asks which updates hit it: a reduction over the
 * updates along the axis.  That is exact, deterministic and parallel, and
 * costs the product of both extents, so it is limited to MAX_WORK pairs.
 */
#include "passes/decompose_int.h"
#include <string.h>

#define MAX_WORK ((int64_t)1 << 26)

typedef enum combine { C_NONE, C_SUM, C_PROD, C_MAX, C_MIN, C_BAD } combine;

static const struct { const char *name, *red; cab_op_id op; } combines[] = {
    [C_NONE] = { "none", "max", CAB_OP_none }, [C_SUM] = { "add", "sum", CAB_OP_add },
    [C_PROD] = { "mul", "prod", CAB_OP_mul }, [C_MAX] = { "max", "max", CAB_OP_max },
    [C_MIN] = { "min", "min", CAB_OP_min },
};

static combine how(cab_dec *d)
{
    const char *s = cab_attr_str(d->n, "reduction");

    for (int i = C_NONE; s && i < C_BAD; i++)
        if (!strcmp(s, combines[i].name))
            return (combine)i;
    if (!s)
        return C_NONE;
    cab_dec_bad(d, "attribute reduction = %s", s);
    return C_BAD;
}

static bool affordable(cab_dec *d, const cab_value *a, const cab_dim *k)
{
    const cab_dim *work = cab_dim_mul(d->g->dims, cab_type_numel(d->g, &a->type), k);

    if (work->hi <= MAX_WORK)
        return true;
    cab_dec_unsupported(d, "a scatter of this size (over 2^26 pairs, or not known)");
    return false;
}

/* old combined with the updates that hit.  hit has one more axis than old, k,
 * over which u (broadcasting to hit) is reduced. */
static cab_value *combined(cab_dec *d, combine c, cab_value *old, cab_value *hit, cab_value *u,
                           int64_t k)
{
    cab_value *idle = c == C_SUM ? cab_dec_int(d, u, 0) : c == C_PROD ? cab_dec_int(d, u, 1)
                    : cab_dec_unsqueeze(d, old, (int)k);

    u = cab_b_select(&d->b, hit, u, idle);
    u = cab_dec_reduce(d, u, combines[c].red, &k, 1, false);
    return cab_dec_bin(d, combines[c].op, old, u);
}

/* Number of the last update that hits, -1 for none; hit as above. */
static cab_value *last_hit(cab_dec *d, cab_value *hit, int64_t k)
{
    cab_value *n = cab_dec_iota(d, cab_dec_rank(hit), (int)k, cab_dec_dim(d, hit, (int)k),
                                CAB_DT_i64);

    n = cab_b_select(&d->b, hit, n, cab_dec_int(d, n, -1));
    return cab_dec_reduce(d, n, "max", &k, 1, false);
}

static cab_value *chosen(cab_dec *d, cab_value *last, cab_value *u, cab_value *old, int rank)
{
    cab_value *none = cab_dec_bin(d, CAB_OP_lt, last, cab_dec_int(d, last, 0));

    while (none && cab_dec_rank(none) < rank)
        none = cab_dec_unsqueeze(d, none, cab_dec_rank(none));
    return cab_b_select(&d->b, none, old, u);
}

static cab_value *scatter_elements(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1), *u = cab_dec_in(d, 2), *hit, *at;
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];
    combine c = how(d);

    if (cab_dec_failed(d) || cab_dec_rank(i) != rank || cab_dec_rank(u) != rank)
        return cab_dec_bad(d, "operands differ in rank");
    if (rank >= CAB_MAX_RANK)
        return cab_dec_unsupported(d, "an operand of rank %d", rank);
    i = cab_dec_from_end(d, cab_dec_cast(d, i, CAB_DT_i64), x->type.dims[axis]);
    /* Other axes may be shorter than x's: no update there. */
    for (int a = 0; a < rank; a++) {
        lo[a] = cab_dec_c(d, 0);
        hi[a] = a == axis ? lo[a] : cab_dim_sub(d->g->dims, x->type.dims[a], cab_dec_dim(d, i, a));
    }
    i = cab_dec_pad(d, i, lo, hi, cab_dec_int(d, i, -1));
    u = cab_dec_pad(d, u, lo, hi, NULL);
    if (cab_dec_failed(d) || !affordable(d, x, cab_dec_dim(d, i, axis)))
        return NULL;
    if (cab_dim_is(cab_dec_dim(d, i, axis), 0))
        return x;
    at = cab_dec_iota(d, rank + 1, axis, x->type.dims[axis], CAB_DT_i64);
    hit = cab_dec_bin(d, CAB_OP_eq, at, cab_dec_unsqueeze(d, i, axis));
    if (c != C_NONE) {
        /* k right after the axis. */
        return combined(d, c, x, hit, cab_dec_unsqueeze(d, u, axis), axis + 1);
    }
    at = last_hit(d, hit, axis + 1);
    u = cab_dec_pick(d, u, cab_dec_bin(d, CAB_OP_max, at, cab_dec_int(d, at, 0)), axis);
    return chosen(d, at, u, x, rank);
}

cab_value *cab_dec_ScatterElements(cab_dec *d)
{
    return scatter_elements(d);
}

cab_value *cab_dec_Scatter(cab_dec *d)
{
    return scatter_elements(d);
}

/* x seen as [rows, rest], updates as [n, rest], one row number per update. */
static cab_value *scatter_rows(cab_dec *d, cab_value *x, cab_value *at, cab_value *u, combine c)
{
    cab_value *row = cab_dec_iota(d, 2, 0, cab_dec_dim(d, x, 0), CAB_DT_i64), *hit;

    if (cab_dec_failed(d) || cab_dim_is(cab_dec_dim(d, at, 0), 0))
        return x;
    hit = cab_dec_bin(d, CAB_OP_eq, row, cab_dec_unsqueeze(d, at, 0));
    if (c != C_NONE) {
        if (!affordable(d, x, cab_dec_dim(d, at, 0)))
            return NULL;
        return combined(d, c, x, cab_dec_unsqueeze(d, hit, 2), cab_dec_unsqueeze(d, u, 0), 1);
    }
    if (cab_dec_failed(d) || !affordable(d, hit, cab_dec_c(d, 1)))
        return NULL;
    row = last_hit(d, hit, 1);
    u = cab_dec_gather(d, u, cab_dec_bin(d, CAB_OP_max, row, cab_dec_int(d, row, 0)), 0);
    return chosen(d, row, u, x, 2);
}

cab_value *cab_dec_ScatterND(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1), *u = cab_dec_in(d, 2), *at = NULL, *y;
    int rank = cab_dec_rank(x), ri = cab_dec_rank(i);
    int64_t q = ri ? cab_dec_extent(d, i, ri - 1) : 0;
    cab_dims *ds = d->g->dims;
    const cab_dim *n = cab_dec_c(d, 1), *rows = n, *rest = n, *dims[2];
    combine c = how(d);

    if (cab_dec_failed(d) || q < 1 || q > rank)
        return cab_dec_bad(d, "the index does not fit the operand");
    for (int a = 0; a < ri - 1; a++)
        n = cab_dim_mul(ds, n, i->type.dims[a]);
    for (int a = rank - 1; a >= q; a--)
        rest = cab_dim_mul(ds, rest, x->type.dims[a]);
    dims[0] = n;
    dims[1] = cab_dec_c(d, q);
    i = cab_dec_reshape(d, cab_dec_cast(d, i, CAB_DT_i64), 2, dims);
    for (int a = (int)q - 1; a >= 0; a--) {
        cab_value *t = cab_dec_cut(d, i, 1, cab_dec_c(d, a), cab_dec_c(d, 1));

        t = cab_dec_from_end(d, cab_dec_squeeze(d, t, 1), x->type.dims[a]);
        t = cab_dec_bin(d, CAB_OP_mul, t, cab_b_dim(&d->b, rows));
        at = at ? cab_dec_bin(d, CAB_OP_add, at, t) : t;
        rows = cab_dim_mul(ds, rows, x->type.dims[a]);
    }
    dims[1] = rest;
    u = cab_dec_reshape(d, u, 2, dims);
    dims[0] = rows;
    y = scatter_rows(d, cab_dec_reshape(d, x, 2, dims), at, u, c);
    return y ? cab_dec_reshape(d, y, rank, x->type.dims) : NULL;
}

/* A block of the cache, from write_indices[b] on, takes the update. */
cab_value *cab_dec_TensorScatter(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *u = cab_dec_in(d, 1), *w = cab_dec_in(d, 2), *j, *in, *n;
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    const char *mode = cab_attr_str(d->n, "mode");
    const cab_dim *dims[CAB_MAX_RANK];

    if (cab_dec_failed(d) || cab_dec_rank(u) != rank || axis == 0)
        return cab_dec_bad(d, "operands differ in rank, or the axis is the batch");
    j = cab_dec_iota(d, rank, axis, x->type.dims[axis], CAB_DT_i64);
    if (w) {
        for (int a = 0; a < rank; a++)
            dims[a] = a ? cab_dec_c(d, 1) : x->type.dims[0];
        w = cab_dec_reshape(d, cab_dec_cast(d, w, CAB_DT_i64), rank, dims);
        j = cab_dec_bin(d, CAB_OP_sub, j, w);
    }
    if (mode && !strcmp(mode, "circular"))
        j = cab_dec_bin(d, CAB_OP_mod, j, cab_b_dim(&d->b, x->type.dims[axis]));
    n = cab_b_dim(&d->b, u->type.dims[axis]);
    in = cab_dec_bin(d, CAB_OP_and, cab_dec_bin(d, CAB_OP_le, cab_dec_int(d, j, 0), j),
                     cab_dec_bin(d, CAB_OP_lt, j, n));
    j = cab_b_select(&d->b, in, j, cab_dec_int(d, j, 0));
    if (cab_dec_failed(d))
        return NULL;
    for (int a = 0; a < rank; a++)
        dims[a] = a == axis ? x->type.dims[a] : u->type.dims[a];
    u = cab_dec_pick(d, u, cab_b_expand(&d->b, j, rank, dims), axis);
    return cab_b_select(&d->b, in, u, x);
}
