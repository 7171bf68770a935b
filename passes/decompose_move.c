/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_move.c - ops that only move elements.
 *
 * Extents, starts and pads may be symbolic, or known during the run only.
 * Where a result needs the sign of a number and its interval does not tell,
 * the choice is computed and its result read (decompose_late.c).
 */
#include "passes/decompose_int.h"
#include <limits.h>
#include <string.h>

/* ---- other extents ---- */

/* Resolves 0 (copy) and -1 (what remains) in the wanted extents. */
static bool resolve(cab_dec *d, cab_value *x, const cab_dim **dims, int64_t n)
{
    bool zero_is_zero = cab_attr_int(d->n, "allowzero") != 0;
    const cab_dim *rest = cab_type_numel(d->g, &x->type), *known = cab_dec_c(d, 1), *q;
    int open = -1;

    for (int i = 0; i < n; i++) {
        if (cab_dim_is(dims[i], 0) && !zero_is_zero) {
            if (i >= x->type.rank) {
                cab_dec_bad(d, "extent %d is 0 but the operand has rank %d", i, x->type.rank);
                return false;
            }
            dims[i] = x->type.dims[i];
        }
        if (cab_dim_is(dims[i], -1)) {
            if (open >= 0) {
                cab_dec_bad(d, "two extents are -1");
                return false;
            }
            open = i;
            continue;
        }
        if (dims[i]->hi < 0) {
            cab_dec_bad(d, "extent %d is negative", i);
            return false;
        }
        known = cab_dim_mul(d->g->dims, known, dims[i]);
    }
    if (open < 0)
        return true;
    q = cab_dim_is(known, 0) ? NULL : cab_dim_divexact(d->g->dims, rest, known);
    if (!q && cab_dim_is_const(rest) && cab_dim_is_const(known)) {
        cab_dec_bad(d, "%lld elements do not divide into the given extents",
                    (long long)rest->value);
        return false;
    }
    dims[open] = q ? q : cab_dim_floordiv(d->g->dims, rest, known);
    return true;
}

/* Every unknown extent is read after 0 became the operand's extent; -1 stays
 * where minus is given, as the value of the elements of x over the others. */
typedef struct wanted {
    cab_value *e[CAB_MAX_RANK];
    bool minus;                /* some unknown extent may be -1 */
} wanted;

static const char not_negative[] = "an extent of a shape must not be negative, nor be left open "
                                   "where the others do not decide it";

/* Product of the extents that are not negative. */
static cab_value *others(cab_dec *d, const wanted *w, int64_t n)
{
    cab_value *p = cab_b_scalar_i(&d->b, CAB_DT_i64, 1);

    for (int i = 0; i < n; i++) {
        cab_value *skip = cab_dec_op_c(d, CAB_OP_lt, w->e[i], 0);

        p = cab_dec_bin(d, CAB_OP_mul, p, cab_dec_when(d, skip, cab_dec_int(d, p, 1), w->e[i]));
    }
    return p;
}

static bool read_wanted(cab_dec *d, cab_value *x, cab_value *shape, wanted *w, int64_t n)
{
    bool zero_is_zero = cab_attr_int(d->n, "allowzero") != 0;

    w->minus = true;
    for (int i = 0; i < n; i++) {
        const cab_dim *known;
        cab_value *e = cab_dec_element(d, shape, i), *copy;

        known = cab_dec_known(e);
        w->minus = w->minus && !(known && cab_dim_is(known, -1));
        copy = i < cab_dec_rank(x) ? cab_b_dim(&d->b, x->type.dims[i]) : cab_dec_int(d, e, -2);
        w->e[i] = known || zero_is_zero
                      ? e : cab_dec_when(d, cab_dec_op_c(d, CAB_OP_eq, e, 0), copy, e);
    }
    return !cab_dec_failed(d);
}

/* What the other extents leave for one of -1; negative when that is nothing
 * definite: two of -1, or an extent of 0. */
static cab_value *what_is_left(cab_dec *d, const cab_value *x, const wanted *w, int64_t n)
{
    cab_value *p = others(d, w, n), *open = cab_dec_int(d, p, 0), *rest, *wrong;

    for (int i = 0; i < n; i++)
        open = cab_dec_bin(d, CAB_OP_add, open,
                           cab_dec_cast(d, cab_dec_op_c(d, CAB_OP_eq, w->e[i], -1), CAB_DT_i64));
    rest = cab_dec_bin(d, CAB_OP_div, cab_b_dim(&d->b, cab_type_numel(d->g, &x->type)), p);
    wrong = cab_dec_bin(d, CAB_OP_or, cab_dec_op_c(d, CAB_OP_eq, p, 0),
                        cab_dec_bin(d, CAB_OP_lt, cab_dec_int(d, p, 1), open));
    return cab_dec_when(d, wrong, cab_dec_int(d, p, -2), rest);
}

static cab_value *reshape_late(cab_dec *d, cab_value *x, cab_value *shape, int64_t n)
{
    const cab_dim *dims[CAB_MAX_RANK];
    cab_value *rest = NULL;
    wanted w;

    if (!read_wanted(d, x, shape, &w, n))
        return NULL;
    if (w.minus)
        rest = what_is_left(d, x, &w, n);
    for (int i = 0; i < n; i++) {
        const cab_dim *known = cab_dec_known(w.e[i]);
        cab_value *e = w.e[i];

        if (!known && rest)
            e = cab_dec_when(d, cab_dec_op_c(d, CAB_OP_eq, e, -1), rest, e);
        dims[i] = known ? known : cab_dec_size(d, e, not_negative);
    }
    if (cab_dec_failed(d) || !resolve(d, x, dims, n))
        return NULL;
    return cab_dec_reshape(d, x, (int)n, dims);
}

cab_value *cab_dec_Reshape(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *shape = cab_dec_in(d, 1);
    const cab_dim **want, *dims[CAB_MAX_RANK];
    int64_t n;

    if (shape && cab_value_dims(d->g, shape, &want, &n) && n <= CAB_MAX_RANK) {
        memcpy(dims, want, (size_t)n * sizeof *dims);
        return resolve(d, x, dims, n) ? cab_dec_reshape(d, x, (int)n, dims) : NULL;
    }
    n = cab_dec_length(d, shape);
    if (n > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "a result of rank %lld; the limit is %d",
                                   (long long)n, CAB_MAX_RANK);
    return n < 0 ? NULL : reshape_late(d, x, shape, n);
}

static const cab_dim *product(cab_dec *d, const cab_value *x, int from, int to)
{
    const cab_dim *p = cab_dec_c(d, 1);

    for (int i = from; i < to; i++)
        p = cab_dim_mul(d->g->dims, p, cab_dec_dim(d, x, i));
    return p;
}

cab_value *cab_dec_Flatten(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int rank = cab_dec_rank(x);
    int64_t a = cab_attr_int(d->n, "axis");
    int axis = a == rank ? rank : cab_dec_axis(d, a, rank ? rank : 1);
    const cab_dim *dims[2];

    if (!rank)
        axis = 0;
    dims[0] = product(d, x, 0, axis);
    dims[1] = product(d, x, axis, rank);
    return cab_dec_failed(d) ? NULL : cab_dec_reshape(d, x, 2, dims);
}

cab_value *cab_dec_Squeeze(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *list = cab_dec_in(d, 1);
    const cab_dim *dims[CAB_MAX_RANK];
    int64_t axes[CAB_MAX_RANK];
    bool drop[CAB_MAX_RANK] = { false };
    int n = 0, rank = cab_dec_rank(x), k = 0;

    if (list || cab_attr_find(d->n, "axes")) {
        k = cab_dec_axes(d, list, rank, axes);
        for (int i = 0; i < k; i++)
            drop[axes[i]] = true;
    } else {
        for (int i = 0; i < rank; i++)
            drop[i] = cab_dim_is(x->type.dims[i], 1);
    }
    if (k < 0)
        return NULL;
    for (int i = 0; i < rank; i++) {
        if (drop[i] && cab_dim_eq(x->type.dims[i], cab_dec_c(d, 1)) == 0)
            return cab_dec_bad(d, "axis %d is squeezed but is not 1", i);
        if (!drop[i])
            dims[n++] = x->type.dims[i];
    }
    return cab_dec_reshape(d, x, n, dims);
}

cab_value *cab_dec_Unsqueeze(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *list = cab_dec_in(d, 1);
    const cab_dim *dims[2 * CAB_MAX_RANK];
    int64_t axes[CAB_MAX_RANK], *v = NULL, extra = 0;
    bool put[2 * CAB_MAX_RANK] = { false };
    int rank = cab_dec_rank(x), k;

    if (list && !cab_dec_ints(d, list, &v, &extra))
        return NULL;
    if (!list)
        extra = cab_attr_ints(d->n, "axes", NULL);
    if (extra < 0 || rank + extra > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "a result of rank %lld", (long long)(rank + extra));
    k = cab_dec_axes(d, list, (int)(rank + extra), axes);
    if (k < 0)
        return NULL;
    for (int i = 0; i < k; i++)
        put[axes[i]] = true;
    for (int i = 0, j = 0; i < rank + k; i++)
        dims[i] = put[i] ? cab_dec_c(d, 1) : x->type.dims[j++];
    return cab_dec_reshape(d, x, rank + k, dims);
}

/* One axis of a broadcast with an extent of the run: what the result has.
 * One of the two is 1, or they are equal. */
static const cab_dim *broadcast_late(cab_dec *d, cab_value **x, int axis, cab_value *e)
{
    const cab_dim *one = cab_dec_c(d, 1), *n = (*x)->type.dims[axis], *out;
    cab_value *have = cab_b_dim(&d->b, n), *is_one, *fits, *at;

    if (cab_dim_is(n, 1))
        return cab_dec_size(d, e, not_negative);
    is_one = cab_dec_op_c(d, CAB_OP_eq, e, 1);
    fits = cab_dec_bin(d, CAB_OP_or, is_one, cab_dec_op_c(d, CAB_OP_eq, have, 1));
    cab_dec_require(d, cab_dec_bin(d, CAB_OP_or, fits, cab_dec_bin(d, CAB_OP_eq, e, have)),
                    "shapes broadcast");
    if (cab_dim_eq(n, one) == 0)
        return n;
    out = cab_dec_size(d, cab_dec_when(d, cab_dec_op_c(d, CAB_OP_eq, have, 1), e, have),
                       not_negative);
    at = cab_dec_iota(d, 1, 0, out, CAB_DT_i64);
    at = cab_dec_bin(d, CAB_OP_min, at, cab_dec_op_c(d, CAB_OP_sub, have, 1));
    *x = cab_dec_gather(d, *x, at, axis);
    return out;
}

static bool read_broadcast(cab_dec *d, cab_value **x, cab_value *shape, int64_t n,
                           const cab_dim **dims)
{
    for (int i = 0; i < n && !cab_dec_failed(d); i++) {
        cab_value *e = cab_dec_element(d, shape, i);
        int axis = i - (int)n + cab_dec_rank(*x);

        dims[i] = cab_dec_known(e);
        if (!dims[i])
            dims[i] = axis < 0 ? cab_dec_size(d, e, not_negative)
                               : broadcast_late(d, x, axis, e);
    }
    return !cab_dec_failed(d);
}

cab_value *cab_dec_Expand(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *shape = cab_dec_in(d, 1);
    cab_type want = { 0 }, out;
    cab_where w = cab_node_where(d->n);
    const cab_dim *late[CAB_MAX_RANK], **dims;
    int64_t n = cab_dec_length(d, shape), m;

    if (n > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "a result of rank %lld", (long long)n);
    if (n < 0)
        return NULL;
    if (!cab_value_dims(d->g, shape, &dims, &m)) {
        dims = late;
        if (!read_broadcast(d, &x, shape, n, late))
            return NULL;
    }
    want = cab_type_tensor(x->type.dtype, (int)n, dims);
    d->b.status = cab_broadcast(d->g, &x->type, &want, &out, &w, d->b.diag);
    return cab_dec_failed(d) ? NULL : cab_b_expand(&d->b, x, out.rank, out.dims);
}

cab_value *cab_dec_Transpose(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int rank = cab_dec_rank(x);
    int64_t perm[CAB_MAX_RANK];
    uint32_t seen = 0;

    if (!cab_attr_find(d->n, "perm") || cab_attr_ints(d->n, "perm", NULL) < 0) {
        for (int i = 0; i < rank; i++)
            perm[i] = rank - 1 - i;
        return cab_dec_transpose(d, x, perm);
    }
    if (!cab_dec_list(d, "perm", rank, 0, perm))
        return NULL;
    for (int i = 0; i < rank; i++) {
        perm[i] = cab_dec_axis(d, perm[i], rank);
        seen |= 1u << perm[i];
    }
    if (seen + 1 != 1u << rank)
        return cab_dec_bad(d, "perm is no permutation");
    return cab_dec_transpose(d, x, perm);
}

/* ---- joining and cutting ---- */
cab_value *cab_dec_Concat(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));

    for (int i = 0; i < d->n->n_in; i++)
        if (!d->n->in[i])
            return cab_dec_bad(d, "operand %d is missing", i);
    return cab_dec_failed(d) ? NULL : cab_dec_concat(d, d->n->in, d->n->n_in, axis);
}

cab_value *cab_dec_Split(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *sizes = cab_dec_in(d, 1);
    int axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), cab_dec_rank(x));
    int64_t parts = d->n->n_out, n = 0;
    const cab_dim **v = NULL, *at = cab_dec_c(d, 0), *total, *chunk;

    if (cab_dec_failed(d) || (sizes && !cab_dec_extents(d, sizes, &v, &n)))
        return NULL;
    if (sizes && n != parts)
        return cab_dec_bad(d, "%lld sizes for %lld outputs", (long long)n, (long long)parts);
    total = cab_dec_dim(d, x, axis);
    chunk = cab_dim_ceildiv(d->g->dims, total, cab_dec_c(d, parts));
    for (int i = 0; i < parts; i++) {
        const cab_dim *size = sizes ? v[i] : chunk;

        if (!sizes && i == parts - 1)
            size = cab_dim_sub(d->g->dims, total, at);
        if (size->hi < 0)
            return cab_dec_bad(d, "part %d has a negative size", i);
        if (cab_dec_wants(d, i))
            d->out[i] = cab_dec_cut(d, x, axis, at, size);
        at = cab_dim_add(d->g->dims, at, size);
    }
    if (sizes)
        cab_dec_require_eq(d, at, total, "the sizes of the parts add up to the axis");
    return cab_dec_failed(d) ? NULL : d->out[0];
}

/* numpy's clamp of one bound: negative counts from the end. */
static const cab_dim *bound(cab_dec *d, const cab_dim *v, const cab_dim *n,
                            int64_t low, int64_t top)
{
    cab_dims *ds = d->g->dims;

    if (v->hi < 0)
        v = cab_dim_is_const(v) && v->value < -(int64_t)INT32_MAX - 1
                ? cab_dec_c(d, low) : cab_dim_add(ds, v, n);
    v = cab_dim_max(ds, v, cab_dec_c(d, low));
    if (cab_dim_is_const(v) && v->value > INT32_MAX)
        return cab_dim_add(ds, n, cab_dec_c(d, top));
    return cab_dim_min(ds, v, cab_dim_add(ds, n, cab_dec_c(d, top)));
}

static void slice_axis(cab_dec *d, const cab_dim *n, const cab_dim *from,
                       const cab_dim *to, int64_t step, const cab_dim **start,
                       const cab_dim **size)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *zero = cab_dec_c(d, 0), *span;
    int64_t low = step > 0 ? 0 : -1, top = step > 0 ? 0 : -1;

    *start = bound(d, from, n, low, top);
    to = bound(d, to, n, low, top);
    span = step > 0 ? cab_dim_sub(ds, to, *start) : cab_dim_sub(ds, *start, to);
    span = cab_dim_max(ds, span, zero);
    *size = cab_dim_ceildiv(ds, span, cab_dec_c(d, step > 0 ? step : -step));
    /* Nothing is read then, but the start must stay inside. */
    if (cab_dim_is(*size, 0))
        *start = zero;
}

/* What is asked of one axis: scalars. */
typedef struct cut { cab_value *from, *to, *step; } cut;

static cab_value *clamp_bound(cab_dec *d, cab_value *v, cab_value *n, cab_value *low)
{
    v = cab_dec_when(d, cab_dec_op_c(d, CAB_OP_lt, v, 0), cab_dec_bin(d, CAB_OP_add, v, n), v);
    v = cab_dec_bin(d, CAB_OP_max, v, low);
    return cab_dec_bin(d, CAB_OP_min, v, cab_dec_bin(d, CAB_OP_add, n, low));
}

/* Extent of the result; the bounds of c become where it starts and ends. */
static const cab_dim *size_late(cab_dec *d, cut *c, const cab_dim *extent)
{
    cab_value *n = cab_b_dim(&d->b, extent), *up, *low, *span, *mag, *size;

    c->step = cab_dec_op_c(d, CAB_OP_min, cab_dec_op_c(d, CAB_OP_max, c->step, -INT32_MAX),
                           INT32_MAX);
    up = cab_dec_bin(d, CAB_OP_lt, cab_dec_int(d, n, 0), c->step);
    low = cab_dec_when(d, up, cab_dec_int(d, n, 0), cab_dec_int(d, n, -1));
    c->from = clamp_bound(d, c->from, n, low);
    c->to = clamp_bound(d, c->to, n, low);
    span = cab_dec_when(d, up, cab_dec_bin(d, CAB_OP_sub, c->to, c->from),
                        cab_dec_bin(d, CAB_OP_sub, c->from, c->to));
    mag = cab_dec_un(d, CAB_OP_abs, c->step);
    span = cab_dec_bin(d, CAB_OP_add, cab_dec_op_c(d, CAB_OP_max, span, 0), mag);
    size = cab_dec_bin(d, CAB_OP_div, cab_dec_op_c(d, CAB_OP_sub, span, 1), mag);
    size = cab_dec_when(d, cab_dec_op_c(d, CAB_OP_eq, c->step, 0), cab_dec_int(d, n, -1), size);
    return cab_dec_size(d, size, "a slice needs a step other than 0");
}

/* The arguments of the primitive, and what it cannot do: steps of the run. */
typedef struct slicing {
    const cab_dim *starts[CAB_MAX_RANK], *sizes[CAB_MAX_RANK];
    int64_t steps[CAB_MAX_RANK];
    cut by_index[CAB_MAX_RANK];
} slicing;

static slicing whole(cab_dec *d, const cab_value *x)
{
    slicing s = { .steps = { 0 } };

    for (int i = 0; i < cab_dec_rank(x); i++) {
        s.starts[i] = cab_dec_c(d, 0);
        s.sizes[i] = x->type.dims[i];
        s.steps[i] = 1;
    }
    return s;
}

static int64_t clamp_step(cab_dec *d, int64_t s)
{
    if (!s)
        cab_dec_bad(d, "a step of 0");
    return s > INT32_MAX ? INT32_MAX : s < -INT32_MAX ? -INT32_MAX : s;
}

static bool has_sign(const cab_dim *x) { return x && (x->lo >= 0 || x->hi < 0); }

static void slice_late(cab_dec *d, slicing *s, int a, cut c)
{
    const cab_dim *from = cab_dec_known(c.from), *to = cab_dec_known(c.to);
    const cab_dim *step = cab_dec_known(c.step);

    if (cab_dec_failed(d))
        return;
    if (!step || !cab_dim_is_const(step)) {
        s->by_index[a] = c;
        return;
    }
    s->steps[a] = clamp_step(d, step->value);
    if (has_sign(from) && has_sign(to)) {
        slice_axis(d, s->sizes[a], from, to, s->steps[a], &s->starts[a], &s->sizes[a]);
        return;
    }
    s->sizes[a] = size_late(d, &c, s->sizes[a]);
    /* Nothing is read of an empty slice, but the start must stay inside. */
    s->starts[a] = cab_dec_size(d, cab_dec_op_c(d, CAB_OP_max, c.from, 0), NULL);
}

static cab_value *do_slice(cab_dec *d, cab_value *x, const slicing *s)
{
    x = cab_dec_failed(d) ? NULL : cab_b_slice(&d->b, x, s->starts, s->steps, s->sizes);
    for (int a = 0; a < cab_dec_rank(x); a++) {
        cut c = s->by_index[a];
        cab_value *i;

        if (!c.step)
            continue;
        i = cab_dec_iota(d, 1, 0, size_late(d, &c, x->type.dims[a]), CAB_DT_i64);
        i = cab_dec_bin(d, CAB_OP_add, cab_dec_bin(d, CAB_OP_mul, i, c.step), c.from);
        x = cab_dec_gather(d, x, i, a);
    }
    return x;
}

/* Number i of an operand, or def when there is no such operand. */
static cab_value *bound_of(cab_dec *d, cab_value *v, int64_t i, int64_t def)
{
    return v ? cab_dec_element(d, v, i) : cab_b_scalar_i(&d->b, CAB_DT_i64, def);
}

/* Axes of the run: of every axis, what the operands say if they name it. */
static cab_value *slice_any_axes(cab_dec *d, cab_value *x, cab_value *axes, int64_t n)
{
    cab_value *starts = cab_dec_in(d, 1), *ends = cab_dec_in(d, 2), *steps = cab_dec_in(d, 4);
    int rank = cab_dec_rank(x);
    slicing s = whole(d, x);

    for (int a = 0; a < rank; a++) {
        cut c = { bound_of(d, NULL, 0, 0), bound_of(d, NULL, 0, INT64_MAX),
                  bound_of(d, NULL, 0, 1) };

        for (int64_t i = 0; i < n; i++) {
            cab_value *hit = cab_dec_names_axis(d, axes, i, a, rank);

            c.from = cab_dec_when(d, hit, cab_dec_element(d, starts, i), c.from);
            c.to = cab_dec_when(d, hit, cab_dec_element(d, ends, i), c.to);
            c.step = cab_dec_when(d, hit, bound_of(d, steps, i, 1), c.step);
        }
        slice_late(d, &s, a, c);
    }
    return do_slice(d, x, &s);
}

static bool all_known(cab_dec *d, const cab_dim ***from, const cab_dim ***to, int64_t **steps,
                      int64_t n)
{
    int64_t k;

    *steps = NULL;
    if (!cab_value_dims(d->g, cab_dec_in(d, 1), from, &k) ||
        !cab_value_dims(d->g, cab_dec_in(d, 2), to, &k) ||
        (cab_dec_in(d, 4) && !cab_value_ints(d->g, cab_dec_in(d, 4), steps, &k)))
        return false;
    for (int64_t i = 0; i < n; i++)
        if (!has_sign((*from)[i]) || !has_sign((*to)[i]))
            return false;
    return true;
}

static cab_value *slice_axes(cab_dec *d, cab_value *x, const int64_t *axes, int64_t n)
{
    const cab_dim **from, **to;
    int64_t *steps;
    slicing s = whole(d, x);
    bool known = all_known(d, &from, &to, &steps, n);

    for (int i = 0; i < n; i++) {
        int a = (int)axes[i];

        if (!known) {
            slice_late(d, &s, a, (cut){ cab_dec_element(d, cab_dec_in(d, 1), i),
                                        cab_dec_element(d, cab_dec_in(d, 2), i),
                                        bound_of(d, cab_dec_in(d, 4), i, 1) });
            continue;
        }
        s.steps[a] = clamp_step(d, steps ? steps[i] : 1);
        if (!cab_dec_failed(d))
            slice_axis(d, x->type.dims[a], from[i], to[i], s.steps[a], &s.starts[a], &s.sizes[a]);
    }
    return do_slice(d, x, &s);
}

cab_value *cab_dec_Slice(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *list = cab_dec_in(d, 3), *step = cab_dec_in(d, 4);
    int64_t n = cab_dec_length(d, cab_dec_in(d, 1)), m = cab_dec_length(d, cab_dec_in(d, 2));
    int64_t axes[CAB_MAX_RANK], *known, k;

    if (cab_dec_failed(d))
        return NULL;
    if (n != m || (step && cab_dec_length(d, step) != n) || n > cab_dec_rank(x) ||
        (list && cab_dec_length(d, list) != n))
        return cab_dec_bad(d, "starts, ends, axes and steps differ in length");
    if (list && !cab_value_ints(d->g, list, &known, &k))
        return slice_any_axes(d, x, list, n);
    return cab_dec_axes(d, list, cab_dec_rank(x), axes) < 0 ? NULL : slice_axes(d, x, axes, n);
}

cab_value *cab_dec_Tile(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0);
    int rank = cab_dec_rank(x);
    const cab_dim **times, *dims[CAB_MAX_RANK + 1];
    int64_t n;

    if (!cab_dec_extents(d, cab_dec_in(d, 1), &times, &n))
        return NULL;
    if (n != rank)
        return cab_dec_bad(d, "%lld repeats for rank %d", (long long)n, rank);
    for (int a = 0; a < rank && x; a++) {
        const cab_dim *was = x->type.dims[a];

        if (cab_dim_is(times[a], 1))
            continue;
        if (!cab_dim_is(was, 1)) {
            x = cab_dec_unsqueeze(d, x, a);
            if (!x)
                return NULL;
        }
        memcpy(dims, x->type.dims, sizeof x->type.dims);
        dims[a] = times[a];
        x = cab_b_expand(&d->b, x, x->type.rank, dims);
        if (!x || cab_dim_is(was, 1))
            continue;
        dims[a] = cab_dim_mul(d->g->dims, was, times[a]);
        for (int i = a + 1; i < rank; i++)
            dims[i] = x->type.dims[i + 1];
        x = cab_dec_reshape(d, x, rank, dims);
    }
    return x;
}

/* ---- blocks of space in channels ---- */
static cab_value *shuffle(cab_dec *d, cab_value *x, const cab_dim *const split[6],
                          const int64_t perm[6], const cab_dim *const join[4])
{
    x = cab_dec_reshape(d, x, 6, split);
    return cab_dec_reshape(d, cab_dec_transpose(d, x, perm), 4, join);
}

static bool four_axes(cab_dec *d, const cab_value *x, int64_t b)
{
    if (cab_dec_rank(x) != 4)
        cab_dec_bad(d, "the operand has rank %d, expected 4", cab_dec_rank(x));
    else if (b < 1 || b > INT32_MAX)
        cab_dec_bad(d, "block size %lld", (long long)b);
    return !cab_dec_failed(d);
}

cab_value *cab_dec_DepthToSpace(cab_dec *d)
{
    static const int64_t dcr[] = { 0, 3, 4, 1, 5, 2 }, crd[] = { 0, 1, 4, 2, 5, 3 };
    cab_value *x = cab_dec_in(d, 0);
    cab_dims *ds = d->g->dims;
    int64_t bs = cab_attr_int(d->n, "blocksize");
    const char *mode = cab_attr_str(d->n, "mode");
    bool is_crd = mode && !strcmp(mode, "CRD");
    const cab_dim *b, *n, *c, *h, *w;

    if (!four_axes(d, x, bs))
        return NULL;
    b = cab_dec_c(d, bs);
    n = x->type.dims[0];
    h = x->type.dims[2];
    w = x->type.dims[3];
    c = cab_dim_divexact(ds, x->type.dims[1], cab_dim_mul(ds, b, b));
    if (!c)
        return cab_dec_bad(d, "the block size does not divide the channels");
    return shuffle(d, x, is_crd ? (const cab_dim *[]){ n, c, b, b, h, w }
                                : (const cab_dim *[]){ n, b, b, c, h, w },
                   is_crd ? crd : dcr,
                   (const cab_dim *[]){ n, c, cab_dim_mul(ds, h, b), cab_dim_mul(ds, w, b) });
}

cab_value *cab_dec_SpaceToDepth(cab_dec *d)
{
    static const int64_t dcr[] = { 0, 3, 5, 1, 2, 4 }, crd[] = { 0, 1, 3, 5, 2, 4 };
    cab_value *x = cab_dec_in(d, 0);
    cab_dims *ds = d->g->dims;
    int64_t bs = cab_attr_int(d->n, "blocksize");
    const char *mode = cab_attr_str(d->n, "mode");
    const cab_dim *b, *n, *c, *h, *w;

    if (!four_axes(d, x, bs))
        return NULL;
    b = cab_dec_c(d, bs);
    n = x->type.dims[0];
    c = x->type.dims[1];
    h = cab_dim_divexact(ds, x->type.dims[2], b);
    w = cab_dim_divexact(ds, x->type.dims[3], b);
    if (!h || !w)
        return cab_dec_bad(d, "the block size does not divide the spatial axes");
    return shuffle(d, x, (const cab_dim *[]){ n, c, h, b, w, b },
                   mode && !strcmp(mode, "CRD") ? crd : dcr,
                   (const cab_dim *[]){ n, cab_dim_mul(ds, c, cab_dim_mul(ds, b, b)), h, w });
}
