/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decompose_turned.c - transposed convolutions as dense ones.
 *
 * Along one axis, element i of the result is the sum of x[j] w[t] over all
 * j stride + t dilation - pad = i.  Elements with the same i mod stride, a
 * phase, meet the same taps t: each phase is a convolution of stride 1 over x
 * with some of the taps.  Putting zeroes between the elements of x instead
 * costs stride times the work per axis, and copies.
 *
 * All phases together are one convolution with one output channel per phase
 * and channel, whose result is then moved: [N, R S O, H, W] to [N, O, H R, W S].
 * Phases whose taps lie elsewhere get zero taps.  When those are too many, the
 * phases of an axis are cut into runs with equal windows, and the results of
 * the runs are put side by side.
 */
#include "passes/decompose_int.h"
#include <string.h>

/* Products with zero taps a convolution may do, relative to the others. */
#define WASTE 1.4
/* Runs of phases that an axis is cut into at most. */
enum { RUNS = 8, STRIDE = 1 << 16 };

/* Phases first .. first + n - 1, which read x at q + off + m * step, m < taps. */
typedef struct run { int64_t first, n, off, step, taps; } run;

typedef struct axis {
    int64_t stride, kernel, dilation, pad;
    int64_t more;              /* extent of the result less that of x times stride */
    run whole, runs[RUNS];
    int n_runs;
    bool too_many, is_cut;
} axis;

typedef struct turned {
    cab_dec *d;
    int n;                     /* spatial axes */
    axis a[CAB_MAX_RANK];
    int64_t group;
    cab_value *x, *b;
    cab_value *w;              /* [O, C / group, kernel] */
} turned;

/* ---- phases ---- */

static int64_t gcd(int64_t a, int64_t b)
{
    return b ? gcd(b, a % b) : a < 0 ? -a : a;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Widens r to read at that offset, too. */
static void add_offset(run *r, int64_t off)
{
    int64_t end = r->off + (r->taps - 1) * r->step;

    if (!r->taps) {
        r->off = off;
        r->step = r->taps = 1;
        return;
    }
    r->step = gcd(r->taps > 1 ? r->step : 0, off - r->off);
    r->step = r->step ? r->step : 1;
    r->off = off < r->off ? off : r->off;
    end = off > end ? off : end;
    r->taps = (end - r->off) / r->step + 1;
}

static run join(const run *a, const run *b)
{
    run r = *a;

    r.n += b->n;
    for (int64_t i = 0; i < b->taps; i++)
        add_offset(&r, b->off + i * b->step);
    return r;
}

/* The runs of an axis, from the window of each of its phases. */
static void find_runs(cab_dec *d, axis *a)
{
    run *phase = CAB_NEW_N(d->tmp, run, a->stride);

    for (int64_t t = a->kernel - 1; t >= 0; t--) {
        int64_t at = t * a->dilation - a->pad, q = floor_div(at, a->stride);
        add_offset(&phase[at - q * a->stride], -q);
    }
    for (int64_t i = 0; i < a->stride; i++) {
        run *last = a->n_runs ? &a->runs[a->n_runs - 1] : NULL, *p = &phase[i];

        p->first = i;
        p->n = 1;
        a->whole = i ? join(&a->whole, p) : *p;
        if (last && last->off == p->off && last->taps == p->taps)
            last->n++;
        else if (a->n_runs < RUNS)
            a->runs[a->n_runs++] = *p;
        else
            a->too_many = true;
    }
}

/* The tap that phase r meets at that offset; -1 = none. */
static int64_t tap_at(const axis *a, int64_t r, int64_t off)
{
    int64_t at = r + a->pad - off * a->stride;

    return at >= 0 && at % a->dilation == 0 && at / a->dilation < a->kernel ? at / a->dilation : -1;
}

/* Which axes to cut: the outermost first, so that phases of one row stay in
 * one result. */
static void choose_cuts(turned *t)
{
    double waste = 1;

    for (int i = 0; i < t->n; i++)
        waste *= (double)(t->a[i].stride * t->a[i].whole.taps) / (double)t->a[i].kernel;
    for (int i = 0; i < t->n && waste > WASTE; i++) {
        axis *a = &t->a[i];
        double own = (double)(a->stride * a->whole.taps) / (double)a->kernel;
        a->is_cut = !a->too_many && own > 1;
        waste /= a->is_cut ? own : 1;
    }
}

static cab_value *expanded(cab_dec *d, cab_value *x, int rank, const cab_dim *const *dims)
{
    return x ? cab_b_expand(&d->b, x, rank, dims) : NULL;
}

/* ---- weights ---- */

/* [C, O / group, k] to [O, C / group, k]. */
static cab_value *turn_channels(cab_dec *d, cab_value *w, int64_t group)
{
    int rank = cab_dec_rank(w);
    int64_t c = cab_dec_extent(d, w, 0), o = cab_dec_extent(d, w, 1), perm[CAB_MAX_RANK + 1];
    const cab_dim *dims[CAB_MAX_RANK + 1];

    if (cab_dec_failed(d) || rank >= CAB_MAX_RANK)
        return cab_dec_unsupported(d, "weights of rank %d", rank);
    if (group < 1 || c % group)
        return cab_dec_bad(d, "group %lld does not divide %lld channels",
                           (long long)group, (long long)c);
    dims[0] = cab_dec_c(d, group);
    dims[1] = cab_dec_c(d, c / group);
    for (int i = 0; i <= rank; i++)
        perm[i] = i;
    perm[1] = 2;
    perm[2] = 1;
    for (int i = 1; i < rank; i++)
        dims[i + 1] = w->type.dims[i];
    w = cab_dec_transpose(d, cab_dec_reshape(d, w, rank + 1, dims), perm);
    dims[0] = cab_dec_c(d, o * group);
    dims[1] = cab_dec_c(d, c / group);
    for (int i = 2; i < rank && w; i++)
        dims[i] = w->type.dims[i + 1];
    return cab_dec_reshape(d, w, rank, dims);
}

/* Tap a->kernel of that axis is zero. */
static cab_value *with_zero_tap(cab_dec *d, cab_value *w, int at)
{
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];

    for (int i = 0; i < cab_dec_rank(w); i++) {
        lo[i] = cab_dec_c(d, 0);
        hi[i] = cab_dec_c(d, i == at);
    }
    return cab_dec_pad(d, w, lo, hi, NULL);
}

/* w's axis at `at` becomes two: the phases of the run, and their taps. */
static cab_value *pick_taps(const turned *t, cab_value *w, const axis *a, const run *r, int at)
{
    cab_dec *d = t->d;
    int64_t *tap = CAB_NEW_N(d->tmp, int64_t, r->n * r->taps);
    const cab_dim *dims[2] = { cab_dec_c(d, r->n), cab_dec_c(d, r->taps) };
    cab_value *index;
    bool lacks = false;

    for (int64_t i = 0; i < r->n * r->taps; i++) {
        tap[i] = tap_at(a, r->first + i / r->taps, r->off + i % r->taps * r->step);
        lacks = lacks || tap[i] < 0;
        tap[i] = tap[i] < 0 ? a->kernel : tap[i];
    }
    w = lacks && w ? with_zero_tap(d, w, at) : w;
    index = cab_dec_reshape(d, cab_b_i64s(&d->b, tap, r->n * r->taps), 2, dims);
    return cab_dec_gather(d, w, index, at);
}

/* Phases outside channels, so that the channels of neighbours follow each
 * other; inside them when groups must stay apart. */
static cab_value *phase_weights(const turned *t, const run *r)
{
    cab_dec *d = t->d;
    cab_value *w = t->w;
    const cab_dim *dims[CAB_MAX_RANK], *all = cab_dec_dim(d, w, 0);
    int64_t perm[2 * CAB_MAX_RANK];
    int n = t->n, o = t->group > 1 ? 0 : n, phases = t->group > 1 ? 1 : 0;

    for (int i = n - 1; i >= 0; i--)
        w = pick_taps(t, w, &t->a[i], &r[i], i + 2);
    perm[o] = 0;
    perm[n + 1] = 1;
    for (int i = 0; i < n; i++) {
        perm[phases + i] = 2 + 2 * i;
        perm[n + 2 + i] = 3 + 2 * i;
        dims[i + 2] = cab_dec_c(d, r[i].taps);
        all = cab_dim_mul(d->g->dims, all, cab_dec_c(d, r[i].n));
    }
    w = w ? cab_dec_transpose(d, w, perm) : NULL;
    dims[0] = all;
    dims[1] = cab_dec_dim(d, t->w, 1);
    return cab_dec_reshape(d, w, n + 2, dims);
}

/* The bias once per phase, in the order of phase_weights. */
static cab_value *phase_bias(const turned *t, const run *r)
{
    cab_dec *d = t->d;
    int64_t o = t->w->type.dims[0]->value, n = 1, *from;

    if (cab_dec_rank(t->b) != 1 || cab_dim_eq(t->b->type.dims[0], t->w->type.dims[0]) == 0)
        return cab_dec_bad(d, "the bias is not one number per channel");
    for (int i = 0; i < t->n; i++)
        n *= r[i].n;
    from = CAB_NEW_N(d->tmp, int64_t, o * n + 1);
    for (int64_t i = 0; i < o * n; i++)
        from[i] = t->group > 1 ? i / n : i % o;
    return cab_dec_along(d, n == 1 ? t->b
                                   : cab_dec_gather(d, t->b, cab_b_i64s(&d->b, from, o * n), 0),
                         1, t->n + 2);
}

/* ---- results ---- */

/* Elements of each phase along an axis. */
static const cab_dim *steps_of(const turned *t, int i)
{
    int64_t more = -floor_div(-t->a[i].more, t->a[i].stride);

    return cab_dim_add(t->d->g->dims, cab_dec_dim(t->d, t->x, i + 2), cab_dec_c(t->d, more));
}

/* [N, O, H, R, W, S] of these runs; an axis without stride has no phases. */
static int spread_dims(const turned *t, const run *r, const cab_dim **dims)
{
    int k = 2;

    dims[0] = cab_dec_dim(t->d, t->x, 0);
    dims[1] = cab_dec_dim(t->d, t->w, 0);
    for (int i = 0; i < t->n; i++) {
        dims[k++] = steps_of(t, i);
        if (t->a[i].stride > 1)
            dims[k++] = cab_dec_c(t->d, r[i].n);
    }
    return k;
}

/* The channels of a convolution of phases go to their places. */
static cab_value *to_space(const turned *t, cab_value *y, const run *r)
{
    cab_dec *d = t->d;
    const cab_dim *dims[2 * CAB_MAX_RANK];
    int64_t perm[2 * CAB_MAX_RANK];
    bool inside = t->group > 1;
    int k = 1 + inside, rank, n_phases = 0, out = 2;

    if (!y)
        return NULL;
    dims[0] = y->type.dims[0];
    dims[1] = cab_dec_dim(d, t->w, 0);
    for (int i = 0; i < t->n; i++)
        if (t->a[i].stride > 1)
            dims[k + n_phases++] = cab_dec_c(d, r[i].n);
    if (!n_phases)
        return y;
    perm[0] = 0;
    perm[1] = inside ? 1 : k + n_phases;
    dims[perm[1]] = cab_dec_dim(d, t->w, 0);
    rank = 2 + n_phases;
    for (int i = 0; i < t->n; i++) {
        perm[out++] = rank + i;
        dims[rank + i] = y->type.dims[i + 2];
        if (t->a[i].stride > 1)
            perm[out++] = k++;
    }
    return cab_dec_transpose(d, cab_dec_reshape(d, y, out, dims), perm);
}

static cab_value *one_result(const turned *t, const run *r)
{
    cab_dec *d = t->d;
    cab_dec_window win = { .n = t->n };
    const cab_dim *dims[2 * CAB_MAX_RANK];
    bool empty = false;
    cab_value *y;

    for (int i = 0; i < t->n; i++) {
        int64_t more = -floor_div(-t->a[i].more, t->a[i].stride);
        empty = empty || !r[i].taps;
        win.stride[i] = 1;
        win.dilation[i] = r[i].taps > 1 ? r[i].step : 1;
        win.lo[i] = -r[i].off;
        win.hi[i] = more + r[i].off + (r[i].taps - 1) * r[i].step;
    }
    if (empty) {
        int rank = spread_dims(t, r, dims);
        y = t->b ? cab_dec_along(d, t->b, 1, rank) : cab_dec_num(d, t->x, 0);
        return expanded(d, y, rank, dims);
    }
    y = cab_dec_conv(d, t->x, phase_weights(t, r), &win, t->group, CAB_DT_none);
    if (t->b)
        y = cab_dec_bin(d, CAB_OP_add, y, phase_bias(t, r));
    return to_space(t, y, r);
}

/* The result of the runs chosen for the axes before i, and all of the others. */
static cab_value *results(const turned *t, int i, run *r, int place)
{
    cab_value *part[RUNS];
    const axis *a = &t->a[i];

    if (i == t->n)
        return one_result(t, r);
    place += 1 + (a->stride > 1);
    if (!a->is_cut) {
        r[i] = a->whole;
        return results(t, i + 1, r, place);
    }
    for (int k = 0; k < a->n_runs; k++) {
        r[i] = a->runs[k];
        part[k] = results(t, i + 1, r, place);
        if (!part[k])
            return NULL;
    }
    return cab_dec_concat(t->d, part, a->n_runs, place);
}

/* ---- reading the node ---- */

/* pads, output_padding, output_shape and auto_pad. */
static bool read_pads(turned *t)
{
    cab_dec *d = t->d;
    const char *mode = cab_attr_str(d->n, "auto_pad");
    int64_t extra[CAB_MAX_RANK], pads[2 * CAB_MAX_RANK];
    const int64_t *shape = NULL;
    int64_t given = cab_attr_ints(d->n, "output_shape", &shape);
    bool same = mode && !strncmp(mode, "SAME", 4);

    if (!cab_dec_list(d, "output_padding", t->n, 0, extra) ||
        !cab_dec_list(d, "pads", 2 * t->n, 0, pads))
        return false;
    if (shape && given < t->n) {
        cab_dec_bad(d, "output_shape has %lld elements", (long long)given);
        return false;
    }
    for (int i = 0; i < t->n; i++) {
        axis *a = &t->a[i];
        int64_t span = (a->kernel - 1) * a->dilation + 1, total, in;

        a->pad = pads[i];
        total = pads[i] + pads[i + t->n];
        if (mode && !strcmp(mode, "VALID"))
            a->pad = total = 0;
        if (shape || same) {
            in = cab_dec_extent(d, t->x, i + 2);
            if (in < 0)
                return false;
            total = a->stride * (in - 1) + extra[i] + span -
                    (shape ? shape[given - t->n + i] : in * a->stride);
            a->pad = mode && !strcmp(mode, "SAME_UPPER") ? total / 2 : total - total / 2;
            if (total < 0)
                a->pad = 0;
        }
        a->more = span - a->stride + extra[i] - total;
    }
    return true;
}

static bool read_window(turned *t, const cab_value *w)
{
    cab_dec *d = t->d;
    int64_t kernel[CAB_MAX_RANK], stride[CAB_MAX_RANK], dilation[CAB_MAX_RANK];

    if (!cab_dec_list(d, "strides", t->n, 1, stride) ||
        !cab_dec_list(d, "dilations", t->n, 1, dilation))
        return false;
    if (cab_attr_ints(d->n, "kernel_shape", NULL) > 0 &&
        !cab_dec_list(d, "kernel_shape", t->n, 1, kernel))
        return false;
    for (int i = 0; i < t->n; i++) {
        int64_t k = cab_dec_extent(d, w, i + 2);
        if (cab_dec_failed(d))
            return false;
        if (cab_attr_ints(d->n, "kernel_shape", NULL) > 0 && kernel[i] != k) {
            cab_dec_bad(d, "kernel_shape says %lld, the weights %lld", (long long)kernel[i],
                        (long long)k);
            return false;
        }
        if (k < 1 || stride[i] < 1 || dilation[i] < 1 || dilation[i] > INT32_MAX / k) {
            cab_dec_bad(d, "kernel, stride and dilation must be positive and span less than 2^31");
            return false;
        }
        if (stride[i] > STRIDE) {
            cab_dec_unsupported(d, "a stride of %lld", (long long)stride[i]);
            return false;
        }
        t->a[i] = (axis){ .stride = stride[i], .kernel = k, .dilation = dilation[i] };
    }
    return read_pads(t);
}

/* [N, O, H, R, W, S] to [N, O, H R, W S], without what is past the end. */
static cab_value *joined(const turned *t, cab_value *y)
{
    cab_dec *d = t->d;
    cab_dims *ds = d->g->dims;
    const cab_dim *dims[CAB_MAX_RANK];

    if (!y)
        return NULL;
    dims[0] = y->type.dims[0];
    dims[1] = y->type.dims[1];
    for (int i = 0; i < t->n; i++)
        dims[i + 2] = cab_dim_mul(ds, steps_of(t, i), cab_dec_c(d, t->a[i].stride));
    y = cab_dec_reshape(d, y, t->n + 2, dims);
    for (int i = 0; i < t->n; i++) {
        const cab_dim *in = cab_dim_mul(ds, cab_dec_dim(d, t->x, i + 2), cab_dec_c(d, t->a[i].stride));
        y = cab_dec_cut(d, y, i + 2, cab_dec_c(d, 0),
                        cab_dim_add(ds, in, cab_dec_c(d, t->a[i].more)));
    }
    return y;
}

cab_value *cab_dec_ConvTranspose(cab_dec *d)
{
    turned t = { .d = d, .x = cab_dec_in(d, 0), .b = cab_dec_in(d, 2) };
    cab_value *w = cab_dec_in(d, 1);
    run r[CAB_MAX_RANK];

    t.n = cab_dec_rank(t.x) - 2;
    t.group = cab_attr_int(d->n, "group");
    if (t.n < 1 || cab_dec_rank(w) != t.n + 2)
        return cab_dec_bad(d, "operands of rank %d and %d", cab_dec_rank(t.x), cab_dec_rank(w));
    if (2 * t.n + 2 > CAB_MAX_RANK)
        return cab_dec_unsupported(d, "%d spatial axes", t.n);
    if (!read_window(&t, w))
        return NULL;
    for (int i = 0; i < t.n; i++)
        find_runs(d, &t.a[i]);
    choose_cuts(&t);
    t.w = turn_channels(d, w, t.group);
    if (!t.w)
        return NULL;
    return joined(&t, results(&t, 0, r, 1));
}
