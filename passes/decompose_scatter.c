/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_scatter.c - ops that write where data says.
 *
 * The one primitive is scatter along an axis, in the order of the updates.
 * Negative indices count from the end where the standard says so; what lies
 * outside is dropped, never written.
 */
#include "passes/decompose_int.h"
#include <string.h>

cab_value *cab_dec_scatter(cab_dec *d, cab_value *x, cab_value *index, cab_value *u, int axis,
                           const char *op)
{
    cab_value *in[] = { x, index, u };
    cab_attr attr[2];

    if (cab_dec_failed(d) || !x || !index || !u)
        return NULL;
    attr[0] = cab_a_int("axis", axis);
    attr[1] = cab_a_str("op", op);
    return cab_build(&d->b, CAB_OP_scatter, 3, in, 2, attr);
}

/* Attribute reduction in the primitive's words (they are the same). */
static const char *how(cab_dec *d, const cab_value *x)
{
    const char *s = cab_attr_str(d->n, "reduction");
    cab_store_mode mode = CAB_STORE_PLAIN;

    if (!cab_scatter_mode(s, &mode))
        cab_dec_bad(d, "attribute reduction = %s", s);
    if ((mode == CAB_STORE_ADD || mode == CAB_STORE_MUL) && cab_dec_dtype(x) == CAB_DT_bool)
        cab_dec_unsupported(d, "reduction = %s of bool", s);
    return cab_scatter_ops[mode];
}

static cab_value *scatter_elements(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1), *u = cab_dec_in(d, 2);
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    const char *op = how(d, x);

    if (cab_dec_failed(d) || cab_dec_rank(i) != rank || cab_dec_rank(u) != rank)
        return cab_dec_bad(d, "operands differ in rank");
    i = cab_dec_from_end(d, cab_dec_cast(d, i, CAB_DT_i64), x->type.dims[axis]);
    return cab_dec_scatter(d, x, i, u, axis, op);
}

cab_value *cab_dec_ScatterElements(cab_dec *d)
{
    return scatter_elements(d);
}

cab_value *cab_dec_Scatter(cab_dec *d)
{
    return scatter_elements(d);
}

static cab_value *in_range(cab_dec *d, cab_value *i, const cab_dim *n)
{
    return cab_dec_bin(d, CAB_OP_and, cab_dec_bin(d, CAB_OP_le, cab_dec_int(d, i, 0), i),
                       cab_dec_bin(d, CAB_OP_lt, i, cab_b_dim(&d->b, n)));
}

/* at + i * stride where i is an index of an axis of extent n, else -1. */
static cab_value *add_coordinate(cab_dec *d, cab_value *at, cab_value *i, const cab_dim *n,
                                 const cab_dim *stride)
{
    cab_value *ok = in_range(d, i, n), *sum;

    sum = cab_dec_bin(d, CAB_OP_mul, i, cab_b_dim(&d->b, stride));
    if (at) {
        ok = cab_dec_bin(d, CAB_OP_and, ok, cab_dec_bin(d, CAB_OP_le, cab_dec_int(d, at, 0), at));
        sum = cab_dec_bin(d, CAB_OP_add, at, sum);
    }
    return cab_b_select(&d->b, ok, sum, cab_dec_int(d, i, -1));
}

/* x as [rows, rest], updates as [n, rest], one row number per update. */
cab_value *cab_dec_ScatterND(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1), *u = cab_dec_in(d, 2), *at = NULL, *y;
    int rank = cab_dec_rank(x), ri = cab_dec_rank(i);
    int64_t q = ri ? cab_dec_extent(d, i, ri - 1) : 0;
    cab_dims *ds = d->g->dims;
    const cab_dim *n = cab_dec_c(d, 1), *rows = n, *rest = n, *dims[2];
    const char *op = how(d, x);

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

        t = cab_dec_from_end(d, t, x->type.dims[a]);
        at = add_coordinate(d, at, t, x->type.dims[a], rows);
        rows = cab_dim_mul(ds, rows, x->type.dims[a]);
    }
    dims[1] = rest;
    u = cab_dec_reshape(d, u, 2, dims);
    dims[0] = rows;
    y = cab_dec_scatter(d, cab_dec_reshape(d, x, 2, dims), at, u, 0, op);
    return y ? cab_dec_reshape(d, y, rank, x->type.dims) : NULL;
}

/* A block of the cache, from write_indices[b] on, takes the update. */
cab_value *cab_dec_TensorScatter(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *u = cab_dec_in(d, 1), *w = cab_dec_in(d, 2), *j;
    int rank = cab_dec_rank(x), axis = cab_dec_axis(d, cab_attr_int(d->n, "axis"), rank);
    const char *mode = cab_attr_str(d->n, "mode");

    if (cab_dec_failed(d) || cab_dec_rank(u) != rank || axis == 0)
        return cab_dec_bad(d, "operands differ in rank, or the axis is the batch");
    j = cab_dec_iota(d, rank, axis, u->type.dims[axis], CAB_DT_i64);
    if (w)
        j = cab_dec_bin(d, CAB_OP_add, j,
                        cab_dec_along(d, cab_dec_cast(d, w, CAB_DT_i64), 0, rank));
    if (mode && !strcmp(mode, "circular"))
        j = cab_dec_bin(d, CAB_OP_mod, j, cab_b_dim(&d->b, x->type.dims[axis]));
    return cab_dec_scatter(d, x, j, u, axis, "none");
}

/* ---- the inverses of pooling and of taking windows ---- */

static cab_value *flat(cab_dec *d, cab_value *x)
{
    const cab_dim *n = x ? cab_type_numel(d->g, &x->type) : NULL;

    return x ? cab_dec_reshape(d, x, 1, &n) : NULL;
}

static cab_value *zeros(cab_dec *d, const cab_value *like, int rank, const cab_dim *const *dims)
{
    cab_value *zero = cab_dec_int(d, like, 0);

    return zero ? cab_b_expand(&d->b, zero, rank, dims) : NULL;
}

/* Extents before pooling: what the windows span. */
static bool unpooled(cab_dec *d, const cab_value *x, const cab_dim **dims)
{
    int n = cab_dec_rank(x) - 2;
    int64_t kernel[CAB_MAX_RANK], stride[CAB_MAX_RANK], pads[2 * CAB_MAX_RANK];
    cab_dims *ds = d->g->dims;

    if (!cab_dec_list(d, "kernel_shape", n, 1, kernel) ||
        !cab_dec_list(d, "strides", n, 1, stride) || !cab_dec_list(d, "pads", 2 * n, 0, pads))
        return false;
    dims[0] = x->type.dims[0];
    dims[1] = x->type.dims[1];
    for (int i = 0; i < n; i++) {
        const cab_dim *steps = cab_dim_sub(ds, x->type.dims[i + 2], cab_dec_c(d, 1));

        dims[i + 2] = cab_dim_add(ds, cab_dim_mul(ds, steps, cab_dec_c(d, stride[i])),
                                  cab_dec_c(d, kernel[i] - pads[i] - pads[i + n]));
    }
    return true;
}

/* Indices count elements of the unpooled tensor; an output_shape that differs
 * from it adds zeros, or cuts, at the end of the axes. */
cab_value *cab_dec_MaxUnpool(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *i = cab_dec_in(d, 1), *y;
    int rank = cab_dec_rank(x);
    const cab_dim *dims[CAB_MAX_RANK], *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK], **want, *n;
    int64_t n_want;

    if (rank < 3 || !unpooled(d, x, dims))
        return cab_dec_bad(d, "an operand of rank %d", rank);
    n = cab_dec_c(d, 1);
    for (int a = 0; a < rank; a++)
        n = cab_dim_mul(d->g->dims, n, dims[a]);
    y = cab_dec_scatter(d, zeros(d, x, 1, &n), flat(d, i), flat(d, x), 0, "none");
    y = y ? cab_dec_reshape(d, y, rank, dims) : NULL;
    if (!y || !cab_dec_in(d, 2))
        return y;
    if (!cab_dec_extents(d, cab_dec_in(d, 2), &want, &n_want))
        return NULL;
    if (n_want != rank)
        return cab_dec_bad(d, "output_shape has %lld elements", (long long)n_want);
    for (int a = 0; a < rank; a++) {
        lo[a] = cab_dec_c(d, 0);
        hi[a] = cab_dim_sub(d->g->dims, want[a], dims[a]);
    }
    return cab_dec_pad(d, y, lo, hi, NULL);
}

typedef struct columns {
    int n;                     /* spatial axes */
    const cab_dim **image;
    int64_t *block, dilation[CAB_MAX_RANK], stride[CAB_MAX_RANK], pads[2 * CAB_MAX_RANK];
    const cab_dim *blocks[CAB_MAX_RANK];  /* positions of the block along each axis */
    const cab_dim *taps, *pixels;         /* elements of a block, of an image */
} columns;

static bool read_columns(cab_dec *d, columns *c)
{
    cab_dims *ds = d->g->dims;
    int64_t n, m;

    if (!cab_dec_extents(d, cab_dec_in(d, 1), &c->image, &n) ||
        !cab_dec_ints(d, cab_dec_in(d, 2), &c->block, &m))
        return false;
    c->n = (int)n;
    if (n < 1 || n != m || 2 * n > CAB_MAX_RANK) {
        cab_dec_bad(d, "an image of %lld axes, a block of %lld", (long long)n, (long long)m);
        return false;
    }
    if (!cab_dec_list(d, "dilations", c->n, 1, c->dilation) ||
        !cab_dec_list(d, "strides", c->n, 1, c->stride) ||
        !cab_dec_list(d, "pads", 2 * c->n, 0, c->pads))
        return false;
    c->taps = c->pixels = cab_dec_c(d, 1);
    for (int i = 0; i < c->n; i++) {
        int64_t pads, span;

        if (c->block[i] < 1 || c->stride[i] < 1 || c->dilation[i] < 1 ||
            __builtin_mul_overflow(c->block[i] - 1, c->dilation[i], &span) ||
            __builtin_add_overflow(c->pads[i], c->pads[i + c->n], &pads) ||
            __builtin_sub_overflow(pads, span, &pads) || pads == INT64_MIN) {
            cab_dec_bad(d, "a block, stride or dilation of axis %d", i);
            return false;
        }
        c->blocks[i] = cab_dim_floordiv(ds, cab_dim_add(ds, c->image[i],
                                                        cab_dec_c(d, pads - 1)),
                                        cab_dec_c(d, c->stride[i]));
        c->blocks[i] = cab_dim_add(ds, c->blocks[i], cab_dec_c(d, 1));
        c->taps = cab_dim_mul(ds, c->taps, cab_dec_c(d, c->block[i]));
        c->pixels = cab_dim_mul(ds, c->pixels, c->image[i]);
    }
    return true;
}

/* Pixel of every (tap, position of the block), -1 outside the image. */
static cab_value *pixel_of(cab_dec *d, const columns *c)
{
    const cab_dim *stride = cab_dec_c(d, 1);
    cab_value *at = NULL;

    for (int i = c->n - 1; i >= 0; i--) {
        cab_value *tap = cab_dec_iota(d, 2 * c->n, i, cab_dec_c(d, c->block[i]), CAB_DT_i64);
        cab_value *pos = cab_dec_iota(d, 2 * c->n, c->n + i, c->blocks[i], CAB_DT_i64);

        tap = cab_dec_bin(d, CAB_OP_mul, tap, cab_dec_int(d, tap, c->dilation[i]));
        pos = cab_dec_bin(d, CAB_OP_mul, pos, cab_dec_int(d, pos, c->stride[i]));
        pos = cab_dec_bin(d, CAB_OP_sub, cab_dec_bin(d, CAB_OP_add, pos, tap),
                          cab_dec_int(d, pos, c->pads[i]));
        at = add_coordinate(d, at, pos, c->image[i], stride);
        stride = cab_dim_mul(d->g->dims, stride, c->image[i]);
    }
    return at;
}

cab_value *cab_dec_Col2Im(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *at, *y;
    cab_dtype dt = cab_dec_dtype(x);
    cab_dims *ds = d->g->dims;
    const cab_dim *dims[CAB_MAX_RANK + 2], *one = cab_dec_c(d, 1);
    columns c;

    if (cab_dec_rank(x) != 3 || !read_columns(d, &c))
        return cab_dec_bad(d, "an operand of rank %d", cab_dec_rank(x));
    if (dt == CAB_DT_bool || c.n + 2 > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "%d axes of %s", c.n, cab_dtype_name(dt));
    at = pixel_of(d, &c);
    if (!at)
        return NULL;
    dims[0] = dims[1] = one;
    dims[2] = cab_type_numel(d->g, &at->type);
    at = cab_dec_reshape(d, at, 3, dims);
    dims[0] = x->type.dims[0];
    dims[1] = cab_dim_floordiv(ds, x->type.dims[1], c.taps);
    x = cab_dec_reshape(d, cab_dec_cast(d, x, cab_dec_wide(dt)), 3, dims);
    dims[2] = c.pixels;
    y = x ? cab_dec_scatter(d, zeros(d, x, 3, dims), at, x, 2, "add") : NULL;
    memcpy(dims + 2, c.image, (size_t)c.n * sizeof *dims);
    return y ? cab_dec_cast(d, cab_dec_reshape(d, y, c.n + 2, dims), dt) : NULL;
}
