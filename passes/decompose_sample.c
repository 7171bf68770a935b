/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_sample.c - ops that read an image between its pixels.
 *
 * A place is one float per spatial axis; along an axis it takes some taps,
 * each an index and a weight.  The value is the sum over all combinations of
 * taps of pixel times weights; pixels are gathered from the flattened image.
 */
#include "passes/decompose_int.h"
#include <math.h>
#include <string.h>

enum { MOST_AXES = 3, MOST_TAPS = 4 };

typedef struct tap { cab_value *at, *w; } tap;     /* i64 inside the axis; NULL: 1 */
typedef struct sampler {
    cab_value *x;              /* [batch, channels, spatial] */
    int n;                     /* spatial axes */
    cab_value *plane;          /* number of the image of each result: batch * channels + channel */
    int n_taps;
    tap tap[MOST_AXES][MOST_TAPS];
} sampler;

static cab_value *bin(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y)
{
    return cab_dec_bin(d, op, x, y);
}

static cab_value *bin_c(cab_dec *d, cab_op_id op, cab_value *x, double c)
{
    return cab_dec_bin(d, op, x, cab_dec_num(d, x, c));
}

static cab_value *either(cab_dec *d, cab_value *c, cab_value *x, cab_value *y)
{
    return cab_dec_failed(d) ? NULL : cab_b_select(&d->b, c, x, y);
}

/* An extent as a number of like's type. */
static cab_value *extent_as(cab_dec *d, const cab_dim *n, const cab_value *like)
{
    return cab_dec_cast(d, cab_b_dim(&d->b, n), cab_dec_dtype(like));
}

static cab_value *clamped(cab_dec *d, cab_value *x, cab_value *last)
{
    return bin(d, CAB_OP_min, bin_c(d, CAB_OP_max, x, 0), last);
}

/* ---- gathering ---- */
/* One pixel of each result times its weights: taps pick[axis]. */
static cab_value *pixel(cab_dec *d, const sampler *s, const int *pick)
{
    cab_value *at = s->plane, *w = NULL, *v;
    const cab_dim *n = cab_type_numel(d->g, &s->x->type);

    for (int a = 0; a < s->n; a++) {
        const tap *t = &s->tap[a][pick[a]];

        at = bin(d, CAB_OP_mul, at, cab_b_dim(&d->b, s->x->type.dims[2 + a]));
        at = bin(d, CAB_OP_add, at, t->at);
        if (t->w)
            w = w ? bin(d, CAB_OP_mul, w, t->w) : t->w;
    }
    v = cab_dec_gather(d, cab_dec_reshape(d, s->x, 1, &n), at, 0);
    return w ? bin(d, CAB_OP_mul, v, cab_dec_cast(d, w, cab_dec_dtype(v))) : v;
}

/* Over all combinations of taps: the sum, or with op max the largest. */
static cab_value *sample(cab_dec *d, const sampler *s, cab_op_id op)
{
    int pick[MOST_AXES] = { 0 }, total = 1;
    cab_value *y = NULL;

    for (int a = 0; a < s->n; a++)
        total *= s->n_taps;
    for (int i = 0; i < total && !cab_dec_failed(d); i++) {
        cab_value *v;

        for (int a = 0, rest = i; a < s->n; a++, rest /= s->n_taps)
            pick[a] = rest % s->n_taps;
        v = pixel(d, s, pick);
        y = y ? bin(d, op, y, v) : v;
    }
    return y;
}

/* batch * channels + channel over two axes of rank; batch as given or counted. */
static cab_value *plane_of(cab_dec *d, cab_value *x, int rank)
{
    cab_value *n = cab_dec_iota(d, rank, 0, cab_dec_dim(d, x, 0), CAB_DT_i64);
    cab_value *c = cab_dec_iota(d, rank, 1, cab_dec_dim(d, x, 1), CAB_DT_i64);

    return bin(d, CAB_OP_add, bin(d, CAB_OP_mul, n, cab_b_dim(&d->b, cab_dec_dim(d, x, 1))), c);
}

/* ---- GridSample ---- */
typedef struct padding {
    const char *mode;
    cab_value *last, *low, *high;      /* of one axis: n - 1, borders of reflection */
} padding;

/* Where x lies when the axis is mirrored at its borders again and again. */
static cab_value *reflected(cab_dec *d, const padding *p, cab_value *x)
{
    cab_value *range = bin_c(d, CAB_OP_max, bin(d, CAB_OP_sub, p->high, p->low), 1e-30), *t;
    cab_value *twice = bin_c(d, CAB_OP_mul, range, 2);

    t = bin(d, CAB_OP_mod, bin(d, CAB_OP_sub, x, p->low), twice);
    t = bin(d, CAB_OP_min, t, bin(d, CAB_OP_sub, twice, t));
    return bin(d, CAB_OP_add, t, p->low);
}

/* A place outside, as the padding moves it. */
static cab_value *moved_inside(cab_dec *d, const padding *p, cab_value *x)
{
    cab_value *out = bin(d, CAB_OP_or, bin(d, CAB_OP_lt, x, p->low), bin(d, CAB_OP_lt, p->high, x));

    if (!strcmp(p->mode, "border"))
        return either(d, out, clamped(d, x, p->last), x);
    return !strcmp(p->mode, "reflection") ? either(d, out, reflected(d, p, x), x) : x;
}

/* A whole place as a tap; outside, zeros weigh nothing. */
static tap tap_at(cab_dec *d, const padding *p, cab_value *i, cab_value *w)
{
    tap t = { .w = w };

    if (!strcmp(p->mode, "zeros")) {
        cab_value *in = bin(d, CAB_OP_and, bin(d, CAB_OP_le, cab_dec_num(d, i, 0), i),
                            bin(d, CAB_OP_le, i, p->last));

        in = cab_dec_cast(d, in, cab_dec_dtype(i));
        t.w = w ? bin(d, CAB_OP_mul, w, in) : in;
    } else {
        i = moved_inside(d, p, i);
    }
    t.at = cab_dec_cast(d, clamped(d, i, p->last), CAB_DT_i64);
    return t;
}

/* Weight of a pixel at distance x, cubic with a = -0.75. */
static cab_value *cubic(cab_dec *d, cab_value *x)
{
    const double a = -0.75;
    cab_value *near, *far;

    x = cab_dec_un(d, CAB_OP_abs, x);
    near = bin_c(d, CAB_OP_sub, bin_c(d, CAB_OP_mul, x, a + 2), a + 3);
    near = bin_c(d, CAB_OP_add, bin(d, CAB_OP_mul, bin(d, CAB_OP_mul, near, x), x), 1);
    far = bin_c(d, CAB_OP_add, bin(d, CAB_OP_mul, bin_c(d, CAB_OP_sub, bin_c(d, CAB_OP_mul, x, a), 5 * a), x),
                8 * a);
    far = bin_c(d, CAB_OP_sub, bin(d, CAB_OP_mul, far, x), 4 * a);
    return either(d, bin_c(d, CAB_OP_le, x, 1), near, far);
}

static cab_value *linear(cab_dec *d, cab_value *x)
{
    return bin(d, CAB_OP_sub, cab_dec_num(d, x, 1), cab_dec_un(d, CAB_OP_abs, x));
}

/* Taps of one axis for places p, in -1 .. 1 over the extent n. */
static void grid_taps(cab_dec *d, sampler *s, int axis, cab_value *p, const char *mode,
                      const char *pad)
{
    bool corners = cab_attr_int(d->n, "align_corners") != 0;
    cab_value *n = extent_as(d, s->x ? s->x->type.dims[2 + axis] : NULL, p), *first;
    padding e = { .mode = pad, .last = bin_c(d, CAB_OP_sub, n, 1) };

    e.low = cab_dec_num(d, n, corners ? 0 : -0.5);
    e.high = corners ? e.last : bin_c(d, CAB_OP_sub, n, 0.5);
    p = bin_c(d, CAB_OP_add, p, 1);
    p = corners ? bin(d, CAB_OP_mul, bin_c(d, CAB_OP_div, p, 2), e.last)
                : bin_c(d, CAB_OP_div, bin_c(d, CAB_OP_sub, bin(d, CAB_OP_mul, p, n), 1), 2);
    if (s->n_taps == 1)
        p = cab_dec_un(d, CAB_OP_rint, p);
    /* Cubic moves its pixels only, as PyTorch and onnxruntime do. */
    if (s->n_taps < 4)
        p = moved_inside(d, &e, p);
    if (s->n_taps == 1) {
        s->tap[axis][0] = tap_at(d, &e, p, NULL);
        return;
    }
    first = bin_c(d, CAB_OP_sub, cab_dec_un(d, CAB_OP_floor, p), s->n_taps / 2 - 1);
    for (int t = 0; t < s->n_taps; t++) {
        cab_value *i = bin_c(d, CAB_OP_add, first, t), *far = bin(d, CAB_OP_sub, p, i);

        s->tap[axis][t] = tap_at(d, &e, i, *mode == 'c' ? cubic(d, far) : linear(d, far));
    }
}

cab_value *cab_dec_GridSample(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *grid = cab_dec_in(d, 1), *y;
    const char *mode = cab_attr_str(d->n, "mode"), *pad = cab_attr_str(d->n, "padding_mode");
    int rank = cab_dec_rank(x);
    cab_dtype dt = cab_dec_dtype(x);
    sampler s = { .n = rank - 2 };

    if (!mode || !pad || (strcmp(pad, "zeros") && strcmp(pad, "border") && strcmp(pad, "reflection")))
        return cab_dec_bad(d, "attribute padding_mode");
    s.n_taps = !strcmp(mode, "nearest") ? 1 : !strcmp(mode, "linear") ? 2 : !strcmp(mode, "cubic") ? 4 : 0;
    if (!s.n_taps)
        return cab_dec_bad(d, "attribute mode = %s", mode);
    if (rank < 3 || rank > 2 + MOST_AXES || cab_dec_rank(grid) != rank)
        return cab_dec_unsupported(d, "an image of rank %d with a grid of rank %d", rank,
                                   cab_dec_rank(grid));
    if (s.n_taps > 1 && !cab_dtype_is_float(dt))
        return cab_dec_unsupported(d, "mode %s with elements of type %s", mode, cab_dtype_name(dt));
    cab_dec_require_eq(d, cab_dec_dim(d, grid, -1), cab_dec_c(d, s.n), "a place in the grid has a "
                       "number per spatial axis");
    cab_dec_require_eq(d, cab_dec_dim(d, grid, 0), cab_dec_dim(d, x, 0), "a grid for each image");
    s.x = cab_dec_cast(d, x, cab_dec_wide(dt));
    s.plane = plane_of(d, x, rank);
    grid = cab_dec_cast(d, grid, cab_dec_wide(cab_dec_dtype(grid)));
    for (int a = 0; a < s.n && !cab_dec_failed(d); a++) {
        /* The last axis comes first in the grid. */
        cab_value *p = cab_dec_cut(d, grid, rank - 1, cab_dec_c(d, s.n - 1 - a), cab_dec_c(d, 1));

        grid_taps(d, &s, a, cab_dec_unsqueeze(d, cab_dec_squeeze(d, p, rank - 1), 1), mode, pad);
    }
    y = cab_dec_failed(d) ? NULL : sample(d, &s, CAB_OP_add);
    return cab_dec_cast(d, y, dt);
}

/* ---- AffineGrid ---- */
/* The places of an axis of n elements in -1 .. 1, along `axis` of rank. */
static cab_value *spaced(cab_dec *d, int rank, int axis, const cab_dim *n, cab_dtype dt)
{
    cab_value *i = cab_dec_iota(d, rank, axis, n, dt), *all = extent_as(d, n, i);

    i = bin_c(d, CAB_OP_mul, i, 2);
    if (cab_attr_int(d->n, "align_corners"))   /* one element alone: at -1 */
        all = bin_c(d, CAB_OP_max, bin_c(d, CAB_OP_sub, all, 1), 1);
    else
        i = bin_c(d, CAB_OP_add, i, 1);
    return bin_c(d, CAB_OP_sub, bin(d, CAB_OP_div, i, all), 1);
}

/* Column j of theta, so that it broadcasts over the grid. */
static cab_value *column(cab_dec *d, cab_value *theta, int j, int rank)
{
    const cab_dim *dims[CAB_MAX_RANK];

    theta = cab_dec_cut(d, theta, 2, cab_dec_c(d, j), cab_dec_c(d, 1));
    for (int i = 0; i < rank; i++)
        dims[i] = cab_dec_c(d, 1);
    dims[0] = cab_dec_dim(d, theta, 0);
    dims[rank - 1] = cab_dec_dim(d, theta, 1);
    return theta ? cab_dec_reshape(d, theta, rank, dims) : NULL;
}

cab_value *cab_dec_AffineGrid(cab_dec *d)
{
    cab_value *theta = cab_dec_in(d, 0), *y;
    cab_dtype dt = cab_dec_dtype(theta), wide = cab_dec_wide(dt);
    const cab_dim **size;
    int64_t n;
    int k;

    if (!cab_dec_extents(d, cab_dec_in(d, 1), &size, &n))
        return NULL;
    k = (int)n - 2;
    if ((n != 4 && n != 5) || cab_dec_rank(theta) != 3)
        return cab_dec_bad(d, "a size of %lld extents", (long long)n);
    cab_dec_require_eq(d, cab_dec_dim(d, theta, 0), size[0], "a matrix for each image");
    cab_dec_require_eq(d, cab_dec_dim(d, theta, 1), cab_dec_c(d, k), "a row of theta per axis");
    cab_dec_require_eq(d, cab_dec_dim(d, theta, 2), cab_dec_c(d, k + 1), "a column of theta per "
                       "axis and one more");
    theta = cab_dec_cast(d, theta, wide);
    y = column(d, theta, k, k + 2);
    for (int j = 0; j < k; j++)                /* x, the last axis, first */
        y = bin(d, CAB_OP_add, y, bin(d, CAB_OP_mul, column(d, theta, j, k + 2),
                                      spaced(d, k + 2, k - j, size[1 + k - j], wide)));
    return cab_dec_cast(d, y, dt);
}

/* ---- RoiAlign ---- */
typedef struct rois {
    cab_value *list;           /* [R, 4] */
    double scale, shift;
    int64_t ratio;             /* samples along an axis of a bin; 0: as many as its pixels */
    cab_value *valid;          /* sample is one of the bin's, and on the image */
    cab_value *in_bin;         /* it is one of the bin's; NULL: all */
    cab_value *count;          /* of the samples of a bin; NULL: all */
} rois;

static cab_value *both(cab_dec *d, cab_op_id op, cab_value *x, cab_value *y)
{
    return x ? bin(d, op, x, y) : y;
}

/* Number c of each region, in pixels, as [R, 1, 1, 1, 1, 1]. */
static cab_value *edge(cab_dec *d, const rois *r, int c)
{
    const cab_dim *dims[6];
    cab_value *v = cab_dec_cut(d, r->list, 1, cab_dec_c(d, c), cab_dec_c(d, 1));

    for (int i = 0; i < 6; i++)
        dims[i] = i ? cab_dec_c(d, 1) : cab_dec_dim(d, r->list, 0);
    v = v ? cab_dec_reshape(d, v, 6, dims) : NULL;
    return bin_c(d, CAB_OP_sub, bin_c(d, CAB_OP_mul, v, r->scale), r->shift);
}

/* Of [R, 1, ..] numbers the largest, as an extent. */
static const cab_dim *largest(cab_dec *d, cab_value *x)
{
    static const int64_t all[] = { 0, 1, 2, 3, 4, 5 };

    x = bin_c(d, CAB_OP_max, cab_dec_reduce(d, x, "max", all, 6, false), 0);
    return cab_dec_size(d, cab_dec_cast(d, x, CAB_DT_i64), "a region is enormous");
}

/* Taps of spatial axis a (0 down, 1 across), `bins` bins. */
static void roi_taps(cab_dec *d, sampler *s, rois *r, int a, int64_t bins)
{
    cab_value *start = edge(d, r, 1 - a), *size = bin(d, CAB_OP_sub, edge(d, r, 3 - a), start);
    cab_value *n = extent_as(d, s->x->type.dims[2 + a], start), *last = bin_c(d, CAB_OP_sub, n, 1);
    cab_value *per_bin, *p, *i, *low, *part, *on;
    const cab_dim *samples = cab_dec_c(d, r->ratio);
    cab_dtype dt = cab_dec_dtype(start);

    if (r->shift == 0)                         /* regions of no extent are one pixel */
        size = bin_c(d, CAB_OP_max, size, 1);
    size = bin_c(d, CAB_OP_div, size, (double)bins);
    per_bin = r->ratio ? cab_dec_num(d, size, (double)r->ratio) : cab_dec_un(d, CAB_OP_ceil, size);
    if (!r->ratio)
        samples = largest(d, per_bin);
    i = cab_dec_iota(d, 6, 4 + a, samples, dt);
    p = bin(d, CAB_OP_mul, bin_c(d, CAB_OP_add, i, 0.5), bin(d, CAB_OP_div, size, per_bin));
    p = bin(d, CAB_OP_add, p, bin(d, CAB_OP_mul, cab_dec_iota(d, 6, 2 + a, cab_dec_c(d, bins), dt), size));
    p = bin(d, CAB_OP_add, p, start);
    on = bin(d, CAB_OP_and, bin(d, CAB_OP_le, cab_dec_num(d, p, -1), p), bin(d, CAB_OP_le, p, n));
    if (!r->ratio) {
        cab_value *in = bin(d, CAB_OP_lt, i, per_bin);

        on = bin(d, CAB_OP_and, on, in);
        r->in_bin = both(d, CAB_OP_and, r->in_bin, in);
        r->count = both(d, CAB_OP_mul, r->count, per_bin);
    }
    r->valid = both(d, CAB_OP_and, r->valid, on);
    p = clamped(d, p, last);
    low = cab_dec_un(d, CAB_OP_floor, p);
    part = bin(d, CAB_OP_sub, p, low);
    s->tap[a][0] = (tap){ cab_dec_cast(d, low, CAB_DT_i64), linear(d, part) };
    low = bin(d, CAB_OP_min, bin_c(d, CAB_OP_add, low, 1), last);
    s->tap[a][1] = (tap){ cab_dec_cast(d, low, CAB_DT_i64), part };
}

/* The samples [R, C, h, w, sh, sw] of each bin together. */
static cab_value *pooled(cab_dec *d, const rois *r, cab_value *y, bool is_max)
{
    static const int64_t axes[] = { 4, 5 };

    y = either(d, r->valid, y, cab_dec_num(d, y, 0));
    if (!is_max) {
        y = cab_dec_reduce(d, y, "sum", axes, 2, false);
        if (r->ratio)
            return bin_c(d, CAB_OP_div, y, (double)(r->ratio * r->ratio));
        return bin(d, CAB_OP_div, y, bin_c(d, CAB_OP_max, cab_dec_reduce(d, r->count, "max", axes, 2, false), 1));
    }
    if (r->in_bin)
        y = either(d, r->in_bin, y, cab_dec_num(d, y, -INFINITY));
    y = cab_dec_reduce(d, y, "max", axes, 2, false);
    return r->in_bin ? either(d, bin(d, CAB_OP_eq, y, cab_dec_num(d, y, -INFINITY)), cab_dec_num(d, y, 0), y) : y;
}

cab_value *cab_dec_RoiAlign(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *image = cab_dec_in(d, 2), *y;
    const char *mode = cab_attr_str(d->n, "mode"), *coord = cab_attr_str(d->n, "coordinate_transformation_mode");
    int64_t bins[2] = { cab_attr_int(d->n, "output_height"), cab_attr_int(d->n, "output_width") };
    cab_dtype dt = cab_dec_dtype(x), wide = cab_dec_wide(dt);
    rois r = { .scale = cab_attr_float(d->n, "spatial_scale"), .ratio = cab_attr_int(d->n, "sampling_ratio") };
    sampler s = { .n = 2, .n_taps = 2 };
    bool is_max = mode && !strcmp(mode, "max");

    if (!mode || (!is_max && strcmp(mode, "avg")) || !coord)
        return cab_dec_bad(d, "attribute mode");
    if (cab_dec_rank(x) != 4 || cab_dec_rank(cab_dec_in(d, 1)) != 2 || cab_dec_rank(image) != 1 ||
        bins[0] < 1 || bins[1] < 1 || bins[0] > 4096 || bins[1] > 4096 || r.ratio < 0 || r.ratio > 4096)
        return cab_dec_bad(d, "an operand or attribute does not fit");
    r.shift = strcmp(coord, "half_pixel") ? 0 : 0.5;
    r.list = cab_dec_cast(d, cab_dec_in(d, 1), wide);
    s.x = cab_dec_cast(d, x, wide);
    image = cab_dec_along(d, cab_dec_cast(d, image, CAB_DT_i64), 0, 6);
    s.plane = bin(d, CAB_OP_add, bin(d, CAB_OP_mul, image, cab_b_dim(&d->b, x->type.dims[1])),
                  cab_dec_iota(d, 6, 1, x->type.dims[1], CAB_DT_i64));
    for (int a = 0; a < 2 && !cab_dec_failed(d); a++)
        roi_taps(d, &s, &r, a, bins[a]);
    y = cab_dec_failed(d) ? NULL : sample(d, &s, is_max ? CAB_OP_max : CAB_OP_add);
    return cab_dec_cast(d, pooled(d, &r, y, is_max), dt);
}

/* ---- DeformConv ---- */
typedef struct deform {
    cab_dec_window w;
    int64_t group, offsets;    /* groups of channels that share weights, that share offsets */
    const cab_dim *batch, *per_offset;
} deform;

/* Offset of axis a, or (a = -1) the mask, as [N, groups, 1, taps, out, out]. */
static cab_value *per_tap(cab_dec *d, const deform *q, cab_value *v, int a)
{
    const cab_dim *taps = cab_dec_c(d, q->w.kernel[0] * q->w.kernel[1]), *g = cab_dec_c(d, q->offsets);
    const cab_dim *split[] = { q->batch, g, taps, cab_dec_c(d, a < 0 ? 1 : 2), q->w.out[0], q->w.out[1] };
    const cab_dim *dims[] = { q->batch, g, cab_dec_c(d, 1), taps, q->w.out[0], q->w.out[1] };

    v = cab_dec_reshape(d, v, 6, split);
    v = cab_dec_cut(d, v, 3, cab_dec_c(d, a < 0 ? 0 : a), cab_dec_c(d, 1));
    return v ? cab_dec_reshape(d, v, 6, dims) : NULL;
}

static void deform_taps(cab_dec *d, const deform *q, sampler *s, cab_value *offset, int a)
{
    int64_t across = q->w.kernel[1];
    cab_dtype dt = cab_dec_dtype(offset);
    cab_value *k = cab_dec_iota(d, 6, 3, cab_dec_c(d, q->w.kernel[0] * across), CAB_DT_i64);
    cab_value *p = cab_dec_iota(d, 6, 4 + a, q->w.out[a], dt), *low, *part;
    padding zeros = { .mode = "zeros" };

    k = a ? cab_dec_op_c(d, CAB_OP_mod, k, across) : cab_dec_op_c(d, CAB_OP_div, k, across);
    k = bin_c(d, CAB_OP_mul, cab_dec_cast(d, k, dt), (double)q->w.dilation[a]);
    p = bin(d, CAB_OP_add, bin_c(d, CAB_OP_mul, p, (double)q->w.stride[a]), k);
    p = bin(d, CAB_OP_add, bin_c(d, CAB_OP_sub, p, (double)q->w.lo[a]), per_tap(d, q, offset, a));
    zeros.last = bin_c(d, CAB_OP_sub, extent_as(d, s->x->type.dims[2 + a], p), 1);
    low = cab_dec_un(d, CAB_OP_floor, p);
    part = bin(d, CAB_OP_sub, p, low);
    s->tap[a][0] = tap_at(d, &zeros, low, linear(d, part));
    s->tap[a][1] = tap_at(d, &zeros, bin_c(d, CAB_OP_add, low, 1), part);
}

/* Samples [N, C, taps, out, out] times weights [O, C / group, taps]. */
static cab_value *contract(cab_dec *d, const deform *q, cab_value *x, cab_value *w)
{
    cab_dims *ds = d->g->dims;
    const cab_dim *g = cab_dec_c(d, q->group), *o = cab_dim_divexact(ds, cab_dec_dim(d, w, 0), g);
    const cab_dim *k = cab_dim_mul(ds, cab_dec_dim(d, w, 1), cab_dec_c(d, q->w.kernel[0] * q->w.kernel[1]));
    const cab_dim *area = cab_dim_mul(ds, q->w.out[0], q->w.out[1]), *all;
    static const int64_t to_group[] = { 1, 2, 0, 3 }, back[] = { 2, 0, 1, 3 };

    if (!o)
        return cab_dec_bad(d, "the groups do not divide the results");
    all = cab_dim_mul(ds, o, g);
    x = cab_dec_reshape(d, x, 4, (const cab_dim *[]){ q->batch, g, k, area });
    w = cab_dec_reshape(d, cab_dec_cast(d, w, cab_dec_dtype(x)), 3, (const cab_dim *[]){ g, o, k });
    x = x ? cab_dec_transpose(d, x, to_group) : NULL;
    x = cab_dec_dot(d, w, x, 1, 2, 1, cab_dec_dtype(x));
    x = x ? cab_dec_transpose(d, x, back) : NULL;
    return x ? cab_dec_reshape(d, x, 4, (const cab_dim *[]){ q->batch, all, q->w.out[0], q->w.out[1] })
             : NULL;
}

cab_value *cab_dec_DeformConv(cab_dec *d)
{
    cab_value *x = cab_dec_in(d, 0), *w = cab_dec_in(d, 1), *offset = cab_dec_in(d, 2);
    cab_value *bias = cab_dec_in(d, 3), *mask = cab_dec_in(d, 4), *y, *at;
    cab_dtype dt = cab_dec_dtype(x), wide = cab_dec_wide(dt);
    deform q = { .group = cab_attr_int(d->n, "group"), .offsets = cab_attr_int(d->n, "offset_group") };
    sampler s = { .n = 2, .n_taps = 2 };

    if (cab_dec_rank(x) != 4 || !offset)
        return cab_dec_unsupported(d, "an image of rank %d", cab_dec_rank(x));
    if (!cab_dec_window_read(d, x, w, &q.w))
        return NULL;
    q.batch = x->type.dims[0];
    q.per_offset = q.offsets > 0 ? cab_dim_divexact(d->g->dims, x->type.dims[1], cab_dec_c(d, q.offsets)) : NULL;
    if (!q.per_offset || q.group < 1)
        return cab_dec_bad(d, "the groups do not divide the channels");
    s.x = cab_dec_cast(d, x, wide);
    at = cab_dec_iota(d, 6, 1, cab_dec_c(d, q.offsets), CAB_DT_i64);
    at = bin(d, CAB_OP_mul, at, cab_b_dim(&d->b, q.per_offset));
    at = bin(d, CAB_OP_add, at, cab_dec_iota(d, 6, 2, q.per_offset, CAB_DT_i64));
    s.plane = cab_dec_iota(d, 6, 0, q.batch, CAB_DT_i64);
    s.plane = bin(d, CAB_OP_add, bin(d, CAB_OP_mul, s.plane, cab_b_dim(&d->b, x->type.dims[1])), at);
    offset = cab_dec_cast(d, offset, wide);
    for (int a = 0; a < 2 && !cab_dec_failed(d); a++)
        deform_taps(d, &q, &s, offset, a);
    y = cab_dec_failed(d) ? NULL : sample(d, &s, CAB_OP_add);
    if (mask)
        y = bin(d, CAB_OP_mul, y, per_tap(d, &q, cab_dec_cast(d, mask, wide), -1));
    y = cab_dec_failed(d) ? NULL : contract(d, &q, y, w);
    if (bias)
        y = bin(d, CAB_OP_add, y, cab_dec_along(d, cab_dec_cast(d, bias, wide), 1, 4));
    return cab_dec_cast(d, y, dt);
}
