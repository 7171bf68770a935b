/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_resize.c - Resize and Upsample, one axis at a time.
 *
 * Along an axis, element i of the result is a weighted sum of a fixed number
 * of elements of the operand (taps); places and weights are constants made
 * here in double precision.  Nearest is one tap and moves elements of any
 * type.  An integer factor is an expand, and then the extent may be symbolic.
 * Axes of which not everything is known are in decompose_resize_late.c.
 */
#include "passes/decompose_int.h"
#include <math.h>
#include <string.h>

#define MAX_TAPS 64

typedef struct axis_map {
    int64_t n, out;            /* extents before and after */
    double scale;
    double roi[2];
    int taps;
    int64_t *index;            /* [taps][out] */
    double *weight;            /* [taps][out] */
    bool *outside;             /* [out]: takes the extrapolation value; NULL = none */
} axis_map;

/* ---- coordinates and weights ---- */
static double origin(const cab_dec_resize *r, const axis_map *m, double y)
{
    double width = m->scale * (double)m->n, last = (double)(m->n - 1);

    if (!strcmp(r->coord, "align_corners"))
        return width == 1 ? 0 : y * last / (width - 1);
    if (!strcmp(r->coord, "asymmetric"))
        return y / m->scale;
    if (!strcmp(r->coord, "tf_crop_and_resize")) {
        double span = m->roi[1] - m->roi[0];

        return (width == 1 ? span * last / 2 : y * span * last / (width - 1)) + m->roi[0] * last;
    }
    if (!strcmp(r->coord, "pytorch_half_pixel") && width == 1)
        return -0.5;
    if (!strcmp(r->coord, "half_pixel_symmetric"))
        return (double)m->n / 2 * (1 - (double)m->out / width) + (y + 0.5) / m->scale - 0.5;
    return (y + 0.5) / m->scale - 0.5;
}

static double cubic(double x, double a)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Weights of the taps for the fraction `ratio` in (0, 1]; their number. */
static int weights(const cab_dec_resize *r, double ratio, double scale, double *w)
{
    bool is_cubic = !strcmp(r->mode, "cubic");
    double reach = is_cubic ? 2 : 1, sum = 0, s = r->antialias && scale < 1 ? scale : 1;
    int start = (int)floor(-reach / s) + 1, n = 2 - 2 * start;

    if (n > MAX_TAPS)
        return -1;
    for (int i = 0; i < n; i++) {
        double x = s * ((double)(start + i) - ratio);

        w[i] = is_cubic ? cubic(x, r->cubic_a) : fmax(0, 1 - fabs(x));
        sum += w[i];
    }
    for (int i = 0; i < n && r->antialias; i++)
        w[i] /= sum;
    return n;
}

static int64_t clamp(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static int64_t nearest(const cab_dec_resize *r, double x)
{
    double f = floor(x), ratio = x - f;
    bool up = !strcmp(r->nearest, "ceil") ? ratio > 0
            : !strcmp(r->nearest, "floor") ? false
            : !strcmp(r->nearest, "round_prefer_ceil") ? ratio >= 0.5 : ratio > 0.5;

    return (int64_t)f + up;
}

static void outside_weights(double *w, int64_t first, int taps, int64_t n)
{
    double sum = 0;

    for (int t = 0; t < taps; t++) {
        if (first + t < 0 || first + t >= n)
            w[t] = 0;
        sum += w[t];
    }
    for (int t = 0; t < taps && sum != 0; t++)
        w[t] /= sum;
}

/* Fills index and weight of the axis; false when there are too many taps. */
static bool make_map(cab_dec *d, const cab_dec_resize *r, axis_map *m)
{
    double w[MAX_TAPS] = { 1 };
    bool is_nearest = !strcmp(r->mode, "nearest");
    bool crop = !strcmp(r->coord, "tf_crop_and_resize");

    m->taps = is_nearest ? 1 : weights(r, 1, m->scale, w);
    if (m->taps < 0)
        return false;
    m->index = CAB_NEW_N(d->tmp, int64_t, m->out * m->taps + 1);
    m->weight = CAB_NEW_N(d->tmp, double, m->out * m->taps + 1);
    m->outside = crop ? CAB_NEW_N(d->tmp, bool, m->out + 1) : NULL;
    for (int64_t i = 0; i < m->out; i++) {
        double x = origin(r, m, (double)i), f = floor(x);
        int64_t first;

        if (crop)
            m->outside[i] = x < 0 || x > (double)(m->n - 1);
        if (is_nearest) {
            first = nearest(r, x);
        } else {
            weights(r, x == f ? 1 : x - f, m->scale, w);
            first = (int64_t)f - m->taps / 2 + (x != f);
            if (r->exclude_outside)
                outside_weights(w, first, m->taps, m->n);
        }
        for (int t = 0; t < m->taps; t++) {
            m->index[t * m->out + i] = clamp(first + t, m->n);
            m->weight[t * m->out + i] = w[t];
        }
    }
    return true;
}

/* ---- building ---- */

/* Each element `times` times along axis. */
static cab_value *repeat(cab_dec *d, cab_value *x, int axis, int64_t times)
{
    const cab_dim *dims[CAB_MAX_RANK + 1];
    int rank = cab_dec_rank(x);

    if (times == 1 || !x)
        return x;
    if (rank >= CAB_MAX_RANK)
        return cab_dec_unsupported(d, "an operand of rank %d", rank);
    for (int i = 0; i <= rank; i++)
        dims[i] = i <= axis ? x->type.dims[i] : i == axis + 1 ? cab_dec_c(d, times)
                                                              : x->type.dims[i - 1];
    x = cab_b_expand(&d->b, cab_dec_unsqueeze(d, x, axis + 1), rank + 1, dims);
    dims[axis] = cab_dim_mul(d->g->dims, dims[axis], cab_dec_c(d, times));
    for (int i = axis + 1; i < rank; i++)
        dims[i] = dims[i + 1];
    return cab_dec_reshape(d, x, rank, dims);
}

static int64_t whole_factor(const axis_map *m)
{
    int64_t f = m->n ? m->out / m->n : 0;

    if (m->taps != 1 || m->outside || f < 1 || f * m->n != m->out)
        return 0;
    for (int64_t i = 0; i < m->out; i++)
        if (m->index[i] != i / f)
            return 0;
    return f;
}

/* Weights of one tap along axis, in x's type. */
static cab_value *weight_value(cab_dec *d, cab_value *x, int axis, const double *w, int64_t n)
{
    const cab_dim *len = cab_dec_c(d, n);
    cab_type t = cab_type_tensor(CAB_DT_f64, 1, &len);
    cab_value *v = cab_const_blob(d->g, &t, cab_dup(d->g->arena, w, (size_t)n * sizeof *w),
                                  (uint64_t)n * sizeof *w, d->n);

    return cab_dec_along(d, cab_dec_cast(d, v, cab_dec_dtype(x)), axis, cab_dec_rank(x));
}

static cab_value *apply(cab_dec *d, const cab_dec_resize *r, cab_value *x, int axis, const axis_map *m)
{
    int64_t times = whole_factor(m);
    cab_value *sum = NULL, *out;

    if (times)
        return repeat(d, x, axis, times);
    for (int t = 0; t < m->taps; t++) {
        cab_value *i = cab_b_i64s(&d->b, m->index + t * m->out, m->out);
        cab_value *y = cab_dec_gather(d, x, i, axis);

        if (m->taps > 1)
            y = cab_dec_bin(d, CAB_OP_mul, y,
                            weight_value(d, x, axis, m->weight + t * m->out, m->out));
        sum = sum ? cab_dec_bin(d, CAB_OP_add, sum, y) : y;
    }
    if (!m->outside || !sum)
        return sum;
    {
        double *flag = CAB_NEW_N(d->tmp, double, m->out + 1);

        for (int64_t i = 0; i < m->out; i++)
            flag[i] = m->outside[i];
        out = weight_value(d, sum, axis, flag, m->out);
    }
    return cab_b_select(&d->b, cab_dec_cast(d, out, CAB_DT_bool),
                        cab_dec_num(d, sum, r->extrapolation), sum);
}

/* ---- reading the node ---- */
/* A number of scales or roi: known, or an f64 scalar of the run. */
typedef struct number { double known; cab_value *late; } number;

typedef struct numbers { int64_t n; number v[2 * CAB_MAX_RANK]; } numbers;

static number read_number(cab_dec *d, cab_value *v, int64_t i)
{
    cab_value *e = cab_dec_cut(d, v, 0, cab_dec_c(d, i), cab_dec_c(d, 1));
    number x = { 0 };

    if (!cab_dec_try_number(d, e, &x.known) && !cab_dec_failed(d))
        x.late = cab_dec_reshape(d, cab_dec_cast(d, e, CAB_DT_f64), 0, NULL);
    return x;
}

/* Absent and empty operands have none. */
static bool read_numbers(cab_dec *d, cab_value *v, numbers *out)
{
    const cab_blob *b = v ? cab_value_blob(v) : NULL;

    out->n = v ? cab_type_numel_static(&v->type) : 0;
    if (out->n < 0 || out->n > 2 * CAB_MAX_RANK || cab_dec_rank(v) > 1)
        cab_dec_unsupported(d, "scales or roi of unknown length");
    for (int64_t i = 0; i < out->n && !cab_dec_failed(d); i++) {
        if (b)
            out->v[i] = (number){ .known = cab_elem_f64(v->type.dtype, b->data, (uint64_t)i) };
        else
            out->v[i] = read_number(d, v, i);
    }
    return !cab_dec_failed(d);
}

static cab_value *as_value(cab_dec *d, number x)
{
    return x.late ? x.late : cab_b_scalar(&d->b, CAB_DT_f64, x.known);
}

static cab_value *as_f64(cab_dec *d, const cab_dim *x)
{
    return cab_dec_cast(d, cab_b_dim(&d->b, x), CAB_DT_f64);
}

/* x truncated, as an extent. */
static const cab_dim *whole(cab_dec *d, cab_value *x)
{
    return cab_dec_size(d, cab_dec_cast(d, x, CAB_DT_i64), "a size must not be negative");
}

/* A factor that is an expand whatever the extent; 0 when it is none. */
static int64_t symbolic_factor(const cab_dec_resize *r, double scale)
{
    bool half = !strcmp(r->coord, "half_pixel") && !strncmp(r->nearest, "round", 5);
    bool plain = !strcmp(r->coord, "asymmetric") && !strcmp(r->nearest, "floor");

    if (strcmp(r->mode, "nearest") || !(half || plain) || scale != floor(scale) || scale > 4096)
        return 0;
    return (int64_t)scale;
}

/* What is asked of one axis.  The size may be NULL; a scale of 0: the size
 * over the extent. */
typedef struct request { number scale, roi[2]; const cab_dim *size; bool crop; } request;

static cab_value *late_axis(cab_dec *d, const cab_dec_resize *r, cab_value *x, int axis,
                            const request *q)
{
    const cab_dim *n = cab_dec_dim(d, x, axis);
    double s = q->scale.known;
    cab_dec_axis_late a = { .axis = axis, .out = q->size, .n = as_f64(d, n) };

    a.scale = q->size && !q->scale.late && s == 0
                  ? cab_dec_bin(d, CAB_OP_div, as_f64(d, q->size), a.n) : as_value(d, q->scale);
    if (!a.out && !q->scale.late && s == floor(s) && s > 0 && s < 1e6)
        a.out = cab_dim_mul(d->g->dims, n, cab_dec_c(d, (int64_t)s));
    if (!a.out)
        a.out = whole(d, cab_dec_bin(d, CAB_OP_mul, a.scale, a.n));
    for (int i = 0; i < 2 && q->crop; i++)
        a.roi[i] = as_value(d, q->roi[i]);
    return cab_dec_failed(d) ? NULL : cab_dec_resize_late(d, r, &a, x);
}

static cab_value *known_axis(cab_dec *d, const cab_dec_resize *r, cab_value *x, int axis,
                             const request *q)
{
    axis_map m = { .scale = q->scale.known, .roi = { 0, 1 } };

    m.n = cab_dec_extent(d, x, axis);
    if (cab_dec_failed(d))
        return NULL;
    m.out = q->size ? q->size->value : (int64_t)(m.scale * (double)m.n);
    if (q->size && m.scale == 0)
        m.scale = (double)m.out / (double)m.n;
    if (m.out < 0 || m.out > INT32_MAX || m.n < 1 || !(m.scale > 0))
        return cab_dec_bad(d, "axis %d is resized from %lld to %lld", axis, (long long)m.n,
                           (long long)m.out);
    for (int i = 0; i < 2 && q->crop; i++)
        m.roi[i] = q->roi[i].known;
    if (m.out == m.n && fabs(m.scale - 1) < 1e-9 && m.roi[0] == 0 && m.roi[1] == 1)
        return x;
    if (!make_map(d, r, &m))
        return cab_dec_unsupported(d, "a reduction by more than %d", MAX_TAPS / 4);
    return apply(d, r, x, axis, &m);
}

static cab_value *resize_axis(cab_dec *d, const cab_dec_resize *r, cab_value *x, int axis,
                              const request *q)
{
    const cab_dim *n = cab_dec_dim(d, x, axis), *times = NULL;
    double scale = q->scale.known;
    bool whole_axis = !q->crop || (!q->roi[0].late && !q->roi[1].late && q->roi[0].known == 0 &&
                                   q->roi[1].known == 1);
    int64_t f;

    if (q->size)
        times = cab_dim_divexact(d->g->dims, q->size, n);
    if (times && cab_dim_is_const(times) && times->value > 0)
        scale = (double)times->value;
    f = q->scale.late ? 0 : symbolic_factor(r, scale);
    if (f && !cab_dim_is_const(n) && (!q->size || times))
        return repeat(d, x, axis, f);
    if (whole_axis && !q->scale.late && scale == 1 && (!q->size || q->size == n))
        return x;
    if (cab_dim_is_const(n) && !q->scale.late && !q->roi[0].late && !q->roi[1].late &&
        (!q->size || cab_dim_is_const(q->size)))
        return known_axis(d, r, x, axis, q);
    return late_axis(d, r, x, axis, q);
}

/* sizes under a keep_aspect_ratio_policy: one scale for all axes. */
static void keep_aspect(cab_dec *d, cab_value *x, const int64_t *axes, int n, bool larger,
                        request *q)
{
    double best = 0;

    for (int i = 0; i < n; i++) {
        int64_t have = cab_dec_extent(d, x, (int)axes[i]);
        double s = have < 1 ? 0 : (double)q[i].size->value / (double)have;

        if (i == 0 || (larger ? s > best : s < best))
            best = s;
    }
    for (int i = 0; i < n; i++) {
        int64_t have = cab_dec_extent(d, x, (int)axes[i]);

        q[i].scale.known = best;
        q[i].size = cab_dec_c(d, (int64_t)(best * (double)have + 0.5));
    }
}

static void keep_aspect_late(cab_dec *d, cab_value *x, const int64_t *axes, int n, bool larger,
                             request *q)
{
    cab_value *best = NULL;

    for (int i = 0; i < n; i++) {
        cab_value *s = cab_dec_bin(d, CAB_OP_div, as_f64(d, q[i].size),
                                   as_f64(d, cab_dec_dim(d, x, (int)axes[i])));

        best = best ? cab_dec_bin(d, larger ? CAB_OP_max : CAB_OP_min, best, s) : s;
    }
    for (int i = 0; i < n; i++) {
        cab_value *size = cab_dec_bin(d, CAB_OP_mul, best,
                                      as_f64(d, cab_dec_dim(d, x, (int)axes[i])));

        q[i].scale.late = best;
        q[i].size = whole(d, cab_dec_bin(d, CAB_OP_add, size, cab_dec_num(d, size, 0.5)));
    }
}

static void apply_policy(cab_dec *d, cab_value *x, const int64_t *axes, int n, request *q)
{
    const char *policy = cab_attr_str(d->n, "keep_aspect_ratio_policy");
    bool larger = policy && !strcmp(policy, "not_smaller"), known = true;

    if (!policy || !strcmp(policy, "stretch"))
        return;
    for (int i = 0; i < n; i++)
        known = known && cab_dim_is_const(q[i].size) &&
                cab_dim_is_const(cab_dec_dim(d, x, (int)axes[i]));
    (known ? keep_aspect : keep_aspect_late)(d, x, axes, n, larger, q);
}

/* The requests of n axes; false after a failure. */
static bool read_requests(cab_dec *d, cab_value *scales_v, cab_value *sizes_v,
                          const numbers *roi, int n, request *q)
{
    numbers scales;
    const cab_dim **sizes = NULL;
    int64_t nz = 0;

    if (n < 0 || !read_numbers(d, scales_v, &scales) ||
        (!scales.n && !cab_dec_extents(d, sizes_v, &sizes, &nz)))
        return false;
    if ((scales.n && scales.n != n) || (!scales.n && nz != n) || (roi && roi->n != 2 * n)) {
        cab_dec_bad(d, "%lld scales or sizes for %d axes",
                    (long long)(scales.n ? scales.n : nz), n);
        return false;
    }
    for (int i = 0; i < n; i++) {
        q[i] = (request){ .size = scales.n ? NULL : sizes[i], .crop = roi != NULL };
        if (scales.n)
            q[i].scale = scales.v[i];
        if (roi) {
            q[i].roi[0] = roi->v[i];
            q[i].roi[1] = roi->v[n + i];
        }
    }
    return true;
}

static cab_value *run(cab_dec *d, const cab_dec_resize *r, cab_value *scales_v,
                      cab_value *sizes_v, const numbers *roi)
{
    cab_value *x = cab_dec_in(d, 0);
    int64_t axes[CAB_MAX_RANK];
    request q[CAB_MAX_RANK];
    int n = cab_dec_axes(d, NULL, cab_dec_rank(x), axes);
    cab_dtype dt = cab_dec_dtype(x);

    if (!read_requests(d, scales_v, sizes_v, roi, n, q))
        return NULL;
    if (n > 0 && q[0].size)
        apply_policy(d, x, axes, n, q);
    if (strcmp(r->mode, "nearest") || !strcmp(r->coord, "tf_crop_and_resize")) {
        if (!cab_dtype_is_float(dt))
            return cab_dec_unsupported(d, "mode %s with elements of type %s", r->mode,
                                       cab_dtype_name(dt));
        x = cab_dec_cast(d, x, cab_dec_wide(dt));
    }
    for (int i = 0; i < n && x; i++)
        x = resize_axis(d, r, x, (int)axes[i], &q[i]);
    return cab_dec_cast(d, x, dt);
}

cab_value *cab_dec_Resize(cab_dec *d)
{
    cab_dec_resize r = { .mode = cab_attr_str(d->n, "mode"),
                         .coord = cab_attr_str(d->n, "coordinate_transformation_mode"),
                         .nearest = cab_attr_str(d->n, "nearest_mode"),
                         .cubic_a = cab_attr_float(d->n, "cubic_coeff_a"),
                         .extrapolation = cab_attr_float(d->n, "extrapolation_value"),
                         .exclude_outside = cab_attr_int(d->n, "exclude_outside") != 0,
                         .antialias = cab_attr_int(d->n, "antialias") != 0 };
    numbers roi = { 0 };
    bool crop;

    if (!r.mode || !r.coord || !r.nearest ||
        (strcmp(r.mode, "nearest") && strcmp(r.mode, "linear") && strcmp(r.mode, "cubic")))
        return cab_dec_bad(d, "attribute mode");
    crop = !strcmp(r.coord, "tf_crop_and_resize");
    if (crop && !read_numbers(d, cab_dec_in(d, 1), &roi))
        return NULL;
    if (crop && !roi.n)
        return cab_dec_bad(d, "roi is missing");
    return run(d, &r, cab_dec_in(d, 2), cab_dec_in(d, 3), crop ? &roi : NULL);
}

cab_value *cab_dec_Upsample(cab_dec *d)
{
    cab_dec_resize r = { .mode = cab_attr_str(d->n, "mode"), .coord = "asymmetric",
                         .nearest = "floor", .cubic_a = -0.75 };

    if (!r.mode || (strcmp(r.mode, "nearest") && strcmp(r.mode, "linear")))
        return cab_dec_bad(d, "attribute mode");
    return run(d, &r, cab_dec_in(d, 1), NULL, NULL);
}
