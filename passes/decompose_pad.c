/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_pad.c - padding: with a value, by copies of the operand, to an
 * extent.
 *
 * Amounts may be negative (cut), symbolic, or known during the run only.
 */
#include "passes/decompose_int.h"
#include <limits.h>
#include <string.h>

/* Pads of unknown sign: all that is added, then all that goes, so that one side
 * may take of what the other gives. */
static cab_value *pad_then_cut(cab_dec *d, cab_value *x, const cab_dim *const *lo,
                               const cab_dim *const *hi, cab_value *value)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *zero = cab_dec_c(d, 0), *l[CAB_MAX_RANK], *h[CAB_MAX_RANK];
    const cab_dim *n[CAB_MAX_RANK], *start[CAB_MAX_RANK];
    int64_t steps[CAB_MAX_RANK];
    int rank = cab_dec_rank(x);

    for (int i = 0; i < rank; i++) {
        l[i] = cab_dim_max(ds, lo[i], zero);
        h[i] = cab_dim_max(ds, hi[i], zero);
        start[i] = cab_dim_max(ds, cab_dim_sub(ds, zero, lo[i]), zero);
        n[i] = cab_dim_add(ds, x->type.dims[i], cab_dim_add(ds, lo[i], hi[i]));
        steps[i] = 1;
        cab_dec_require_le(d, zero, n[i], "padding takes no more away than there is");
    }
    x = cab_dec_pad(d, x, l, h, value);
    return x ? cab_b_slice(&d->b, x, start, steps, n) : NULL;
}

cab_value *cab_dec_pad(cab_dec *d, cab_value *x, const cab_dim *const *lo,
                       const cab_dim *const *hi, cab_value *value)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *zero = cab_dec_c(d, 0), *l[CAB_MAX_RANK], *h[CAB_MAX_RANK];
    cab_value *in[2];
    cab_attr attr[2];
    int rank = cab_dec_rank(x);
    bool any = false;

    for (int i = 0; i < rank; i++)
        if ((lo[i]->lo < 0 && lo[i]->hi > 0) || (hi[i]->lo < 0 && hi[i]->hi > 0))
            return pad_then_cut(d, x, lo, hi, value);
    for (int i = 0; i < rank && x; i++) {
        const cab_dim *start = zero, *n = x->type.dims[i];

        l[i] = lo[i]->lo >= 0 ? lo[i] : zero;
        h[i] = hi[i]->lo >= 0 ? hi[i] : zero;
        if (lo[i]->lo < 0) {
            start = cab_dim_sub(ds, zero, lo[i]);
            n = cab_dim_add(ds, n, lo[i]);
        }
        if (hi[i]->lo < 0)
            n = cab_dim_add(ds, n, hi[i]);
        x = cab_dec_cut(d, x, i, start, n);
        any = any || !cab_dim_is(l[i], 0) || !cab_dim_is(h[i], 0);
    }
    if (!any || !x)
        return x;
    in[0] = x;
    in[1] = value;
    attr[0] = cab_a_dims("lo", l, rank);
    attr[1] = cab_a_dims("hi", h, rank);
    return cab_build(&d->b, CAB_OP_pad, value ? 2 : 1, in, 2, attr);
}

/* Index vector of the padded axis of extent n into the operand. */
static cab_value *source(cab_dec *d, const char *mode, const cab_dim *n,
                         const cab_dim *lo, const cab_dim *total)
{
    cab_dims *ds = d->g->dims;
    cab_value *i = cab_dec_iota(d, 1, 0, total, CAB_DT_i64), *p, *m;
    const cab_dim *one = cab_dec_c(d, 1), *zero = cab_dec_c(d, 0);
    const cab_dim *last = cab_dim_max(ds, cab_dim_sub(ds, n, one), zero), *period;

    i = cab_dec_bin(d, CAB_OP_sub, i, cab_b_dim(&d->b, lo));
    if (!strcmp(mode, "edge")) {
        i = cab_dec_bin(d, CAB_OP_max, i, cab_dec_int(d, i, 0));
        return cab_dec_bin(d, CAB_OP_min, i, cab_b_dim(&d->b, last));
    }
    if (!strcmp(mode, "wrap"))
        return cab_dec_bin(d, CAB_OP_mod, i, cab_b_dim(&d->b, n));
    period = cab_dim_max(ds, cab_dim_mul(ds, last, cab_dec_c(d, 2)), one);
    p = cab_b_dim(&d->b, period);
    m = cab_dec_bin(d, CAB_OP_mod, i, p);
    return cab_dec_bin(d, CAB_OP_min, m, cab_dec_bin(d, CAB_OP_sub, p, m));
}

static cab_value *pad_by_index(cab_dec *d, cab_value *x, const char *mode,
                               const cab_dim *const *lo, const cab_dim *const *hi)
{
    cab_dims *ds = d->g->dims;

    for (int a = 0; a < cab_dec_rank(x); a++) {
        const cab_dim *n = x->type.dims[a];
        const cab_dim *total = cab_dim_add(ds, n, cab_dim_add(ds, lo[a], hi[a]));

        if (cab_dim_is(lo[a], 0) && cab_dim_is(hi[a], 0))
            continue;
        cab_dec_require_le(d, cab_dec_c(d, 0), total, "padding takes no more away than there is");
        if (cab_dim_is(n, 0) && !cab_dim_is(total, 0))
            return cab_dec_bad(d, "an empty axis cannot be padded by mode %s", mode);
        x = cab_dec_gather(d, x, source(d, mode, n, lo[a], total), a);
    }
    return x;
}

/* pads[i], pads[i + n] of the axis that axes[i] names during the run. */
static void pads_any_axes(cab_dec *d, cab_value *pads, cab_value *axes, int64_t n, int a, int rank,
                          const cab_dim **lo, const cab_dim **hi)
{
    cab_value *l = cab_b_scalar_i(&d->b, CAB_DT_i64, 0), *h = l;

    for (int64_t i = 0; i < n; i++) {
        cab_value *hit = cab_dec_names_axis(d, axes, i, a, rank);

        l = cab_dec_when(d, hit, cab_dec_element(d, pads, i), l);
        h = cab_dec_when(d, hit, cab_dec_element(d, pads, i + n), h);
    }
    *lo = cab_dec_item(d, l, INT32_MIN, INT32_MAX);
    *hi = cab_dec_item(d, h, INT32_MIN, INT32_MAX);
}

static bool read_pads(cab_dec *d, int rank, const cab_dim **lo, const cab_dim **hi)
{
    cab_value *pads = cab_dec_in(d, 1), *list = cab_dec_in(d, 3);
    int64_t n = cab_dec_length(d, pads), axes[CAB_MAX_RANK], *known, k;
    const cab_dim **v;
    int na;

    for (int i = 0; i < rank; i++)
        lo[i] = hi[i] = cab_dec_c(d, 0);
    if (n >= 0 && list && !cab_value_ints(d->g, list, &known, &k)) {
        if (cab_dec_length(d, list) * 2 != n)
            cab_dec_bad(d, "%lld pads for axes that differ in number", (long long)n);
        for (int a = 0; a < rank && !cab_dec_failed(d); a++)
            pads_any_axes(d, pads, list, n / 2, a, rank, &lo[a], &hi[a]);
        return !cab_dec_failed(d);
    }
    na = n < 0 ? -1 : cab_dec_axes(d, list, rank, axes);
    if (na < 0 || !cab_dec_dims(d, pads, &v, &n))
        return false;
    if (n != 2 * (int64_t)na) {
        cab_dec_bad(d, "%lld pads for %d axes", (long long)n, na);
        return false;
    }
    for (int i = 0; i < na; i++) {
        lo[axes[i]] = v[i];
        hi[axes[i]] = v[i + na];
    }
    return true;
}

cab_value *cab_dec_Pad(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *value = cab_dec_in(d, 2);
    const char *mode = cab_attr_str(d->n, "mode");
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];

    if (!read_pads(d, cab_dec_rank(x), lo, hi))
        return NULL;
    if (mode && *mode && strcmp(mode, "constant"))
        return pad_by_index(d, x, mode, lo, hi);
    if (value && cab_dec_rank(value) == 1)
        value = cab_dec_squeeze(d, value, 0);
    return cab_dec_pad(d, x, lo, hi, value);
}

cab_value *cab_dec_CenterCropPad(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    cab_dims *ds = d->g->dims;
    const cab_dim **shape, *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK], *two = cab_dec_c(d, 2);
    int64_t n, axes[CAB_MAX_RANK];
    int na = cab_dec_axes(d, NULL, cab_dec_rank(x), axes);

    if (na < 0 || !cab_dec_extents(d, cab_dec_in(d, 1), &shape, &n))
        return NULL;
    if (n != na)
        return cab_dec_bad(d, "%lld extents for %d axes", (long long)n, na);
    for (int i = 0; i < cab_dec_rank(x); i++)
        lo[i] = hi[i] = cab_dec_c(d, 0);
    for (int i = 0; i < na; i++) {
        const cab_dim *have = x->type.dims[axes[i]], *zero = cab_dec_c(d, 0);
        const cab_dim *more = cab_dim_sub(ds, shape[i], have), *less = cab_dim_sub(ds, have, shape[i]);

        /* One of the two is 0. */
        lo[axes[i]] = cab_dim_sub(ds, cab_dim_floordiv(ds, cab_dim_max(ds, more, zero), two),
                                  cab_dim_floordiv(ds, cab_dim_max(ds, less, zero), two));
        hi[axes[i]] = cab_dim_sub(ds, more, lo[axes[i]]);
    }
    return cab_dec_pad(d, x, lo, hi, NULL);
}
