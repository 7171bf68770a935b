/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_reduce.c - reference evaluation: reductions, scans, windows, topk.
 *
 * Floats accumulate in double and round once.
 */
#include "ir/eval_int.h"
#include "ir/spec_int.h"
#include <stdlib.h>
#include <string.h>

static cab_status red_attr(cab_eval *e, int first, int last, cab_red *out)
{
    const char *op = cab_attr_str(e->n, "op");
    for (int r = first; op && r <= last; r++)
        if (!strcmp(op, cab_red_names[r])) {
            *out = (cab_red)r;
            return CAB_OK;
        }
    return cab_eval_error(e, CAB_EUNSUPPORTED, "op '%s'", op ? op : "");
}

/* The axes of x in two parts: kept (result order) and folded (row-major). */
typedef struct parts {
    int n_kept, n_folded;
    int64_t kept[CAB_MAX_RANK], kept_stride[CAB_MAX_RANK];
    int64_t folded[CAB_MAX_RANK], folded_stride[CAB_MAX_RANK];
    int64_t n_fold;
} parts;

static parts split_axes(const cab_tensor *x, uint32_t mask)
{
    parts p = { .n_fold = 1 };
    int64_t own[CAB_MAX_RANK];
    cab_eval_strides(x->rank, x->dims, own);
    for (int i = 0; i < x->rank; i++) {
        if (mask >> i & 1) {
            p.folded[p.n_folded] = x->dims[i];
            p.folded_stride[p.n_folded++] = own[i];
            p.n_fold *= x->dims[i];
        } else {
            p.kept[p.n_kept] = x->dims[i];
            p.kept_stride[p.n_kept++] = own[i];
        }
    }
    return p;
}

static int64_t dot_index(int n, const int64_t *a, const int64_t *b)
{
    int64_t s = 0;
    for (int i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

static cab_status fold_axes(cab_eval *e, uint32_t mask, cab_red red)
{
    const cab_tensor *x = e->in[0];
    cab_dtype to = cab_red_is_arg(red) ? CAB_DT_i64 : x->dtype;
    int64_t dims[CAB_MAX_RANK], idx[CAB_MAX_RANK] = { 0 };
    bool keep = cab_attr_int(e->n, "keepdims") != 0;
    int rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (!(mask >> i & 1) || keep)
            dims[rank++] = mask >> i & 1 ? 1 : x->dims[i];
    CAB_TRY(cab_eval_out(e, 0, to, rank, dims));
    parts p = split_axes(x, mask);
    int64_t n = cab_tensor_numel(&e->out[0]);
    for (int64_t o = 0; o < n; o++, cab_eval_next(p.n_kept, p.kept, idx)) {
        int64_t base = dot_index(p.n_kept, idx, p.kept_stride), at[CAB_MAX_RANK] = { 0 };
        cab_fold f = cab_fold_start(red, x->dtype);
        for (int64_t k = 0; k < p.n_fold; k++, cab_eval_next(p.n_folded, p.folded, at)) {
            int64_t from = base + dot_index(p.n_folded, at, p.folded_stride);
            cab_fold_add(&f, cab_scalar_load(x->dtype, x->data, (uint64_t)from));
        }
        cab_scalar_store(to, e->out[0].data, (uint64_t)o, cab_fold_end(&f));
    }
    return CAB_OK;
}

cab_status cab_eval_op_reduce(cab_eval *e)
{
    const int64_t *axes = NULL;
    int64_t n = cab_attr_ints(e->n, "axes", &axes);
    int rank = e->in[0]->rank;
    uint32_t mask = 0;
    cab_red red = CAB_RED_SUM;
    CAB_TRY(red_attr(e, CAB_RED_SUM, CAB_RED_MIN, &red));
    for (int64_t i = 0; i < n; i++) {
        int64_t a = axes[i] + (axes[i] < 0 ? rank : 0);
        if (a < 0 || a >= rank)
            return cab_eval_error(e, CAB_EINVAL, "axes: no such axis in a rank %d tensor", rank);
        mask |= 1u << a;
    }
    return fold_axes(e, mask, red);
}

cab_status cab_eval_op_argreduce(cab_eval *e)
{
    int axis = 0;
    cab_red red = CAB_RED_MAX;
    CAB_TRY(red_attr(e, CAB_RED_MAX, CAB_RED_MIN, &red));
    CAB_TRY(cab_eval_axis(e, "axis", e->in[0]->rank, &axis));
    bool last = cab_attr_int(e->n, "last") != 0;
    if (red == CAB_RED_MAX)
        red = last ? CAB_RED_ARGMAX_LAST : CAB_RED_ARGMAX_FIRST;
    else
        red = last ? CAB_RED_ARGMIN_LAST : CAB_RED_ARGMIN_FIRST;
    return fold_axes(e, 1u << axis, red);
}

cab_status cab_eval_op_scan(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    cab_red red = CAB_RED_SUM;
    int axis = 0;
    int64_t idx[CAB_MAX_RANK] = { 0 }, own[CAB_MAX_RANK];
    bool exclusive = cab_attr_int(e->n, "exclusive") != 0;
    bool reverse = cab_attr_int(e->n, "reverse") != 0;
    CAB_TRY(red_attr(e, CAB_RED_SUM, CAB_RED_PROD, &red));
    CAB_TRY(cab_eval_axis(e, "axis", x->rank, &axis));
    CAB_TRY(cab_eval_out(e, 0, x->dtype, x->rank, x->dims));
    if (cab_tensor_numel(x) == 0)
        return CAB_OK;
    cab_eval_strides(x->rank, x->dims, own);
    parts p = split_axes(x, 1u << axis);
    do {
        int64_t base = dot_index(p.n_kept, idx, p.kept_stride);
        cab_fold f = cab_fold_start(red, x->dtype);
        for (int64_t k = 0; k < p.n_fold; k++) {
            int64_t at = base + (reverse ? p.n_fold - 1 - k : k) * own[axis];
            cab_scalar v = cab_scalar_load(x->dtype, x->data, (uint64_t)at);
            if (!exclusive)
                cab_fold_add(&f, v);
            cab_scalar_store(x->dtype, e->out[0].data, (uint64_t)at, cab_fold_end(&f));
            if (exclusive)
                cab_fold_add(&f, v);
        }
    } while (cab_eval_next(p.n_kept, p.kept, idx));
    return CAB_OK;
}

/* ---- topk ---- */
typedef struct order { cab_dtype t; const void *p; int64_t stride; bool largest; } order;

static int by_value(const void *a, const void *b, void *arg)
{
    const order *o = arg;
    int64_t i, j;
    memcpy(&i, a, sizeof i);
    memcpy(&j, b, sizeof j);
    int c = cab_scalar_compare(o->t, cab_scalar_load(o->t, o->p, (uint64_t)(i * o->stride)),
                               cab_scalar_load(o->t, o->p, (uint64_t)(j * o->stride)));
    if (c)
        return o->largest ? -c : c;
    return (i > j) - (i < j);
}

void cab_topk_order(cab_dtype t, const void *p, int64_t n, int64_t stride,
                    bool largest, int64_t *idx)
{
    order o = { t, p, stride, largest };
    for (int64_t i = 0; i < n; i++)
        idx[i] = i;
    qsort_r(idx, (size_t)n, sizeof *idx, by_value, &o);
}

cab_status cab_eval_op_topk(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    int axis = 0;
    int64_t k, dims[CAB_MAX_RANK], idx[CAB_MAX_RANK] = { 0 };
    int64_t own[CAB_MAX_RANK], to[CAB_MAX_RANK];
    CAB_TRY(cab_eval_axis(e, "axis", x->rank, &axis));
    CAB_TRY(cab_eval_dims(e, "k", 1, &k, NULL));
    int64_t n = x->dims[axis];
    if (k < 0 || k > n)
        return cab_eval_error(e, CAB_EINPUT, "k is %lld, the axis has %lld elements",
                              (long long)k, (long long)n);
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = k;
    CAB_TRY(cab_eval_out(e, 0, x->dtype, x->rank, dims));
    CAB_TRY(cab_eval_out(e, 1, CAB_DT_i64, x->rank, dims));
    if (cab_tensor_numel(&e->out[0]) == 0)
        return CAB_OK;
    cab_eval_strides(x->rank, x->dims, own);
    cab_eval_strides(x->rank, dims, to);
    int64_t *sorted = CAB_NEW_N(e->a, int64_t, n);
    dims[axis] = 1;
    do {
        int64_t from = dot_index(x->rank, idx, own), at = dot_index(x->rank, idx, to);
        /* Sub-byte types have no address per element: they are not ordered. */
        const char *p = (const char *)x->data + from * (cab_dtype_bits(x->dtype) / 8);
        cab_topk_order(x->dtype, p, n, own[axis], cab_attr_int(e->n, "largest") != 0, sorted);
        for (int64_t j = 0; j < k; j++) {
            uint64_t o = (uint64_t)(at + j * to[axis]);
            cab_elem_copy(x->dtype, e->out[0].data, o, p, (uint64_t)(sorted[j] * own[axis]));
            cab_scalar_store(CAB_DT_i64, e->out[1].data, o, (cab_scalar){ .i = sorted[j] });
        }
    } while (cab_eval_next(x->rank, dims, idx));
    return CAB_OK;
}

/* ---- windows ---- */
typedef struct window {
    int s;                     /* spatial axes */
    const int64_t *kernel, *strides, *pads, *dilations;
    int64_t in[CAB_MAX_RANK], in_stride[CAB_MAX_RANK], out[CAB_MAX_RANK];
    int64_t n_taps;
} window;

static cab_status window_attrs(cab_eval *e, window *w)
{
    const cab_tensor *x = e->in[0];
    int64_t dims[CAB_MAX_RANK], own[CAB_MAX_RANK];
    if (x->rank < 2)
        return cab_eval_error(e, CAB_EINVAL, "a window needs [N, C, spatial]");
    w->s = x->rank - 2;
    CAB_TRY(cab_eval_ints(e, "kernel", w->s, &w->kernel));
    CAB_TRY(cab_eval_ints(e, "strides", w->s, &w->strides));
    CAB_TRY(cab_eval_ints(e, "pads_lo", w->s, &w->pads));
    CAB_TRY(cab_eval_ints(e, "dilations", w->s, &w->dilations));
    CAB_TRY(cab_eval_dims(e, "dims", w->s, dims, NULL));
    cab_eval_strides(x->rank, x->dims, own);
    w->n_taps = 1;
    for (int i = 0; i < w->s; i++) {
        if (w->kernel[i] < 0)
            return cab_eval_error(e, CAB_EINVAL, "negative kernel extent");
        w->in[i] = x->dims[i + 2];
        w->in_stride[i] = own[i + 2];
        w->out[i] = dims[i];
        w->n_taps *= w->kernel[i];
    }
    return CAB_OK;
}

/* Offset of the tap inside the plane, or -1 for padding. */
static int64_t tap_offset(const window *w, const int64_t *pos, const int64_t *tap)
{
    int64_t at = 0;
    for (int i = 0; i < w->s; i++) {
        int64_t p = pos[i] * w->strides[i] - w->pads[i] + tap[i] * w->dilations[i];
        if (p < 0 || p >= w->in[i])
            return -1;
        at += p * w->in_stride[i];
    }
    return at;
}

static cab_scalar one_window(const window *w, const cab_tensor *x, int64_t plane,
                             const int64_t *pos, cab_red red)
{
    cab_fold f = cab_fold_start(red, x->dtype);
    int64_t tap[CAB_MAX_RANK] = { 0 }, best = 0;
    for (int64_t k = 0; k < w->n_taps; k++, cab_eval_next(w->s, w->kernel, tap)) {
        int64_t at = tap_offset(w, pos, tap), seen = f.n;
        if (at < 0)
            continue;
        cab_fold_add(&f, cab_scalar_load(x->dtype, x->data, (uint64_t)(plane + at)));
        if (f.at == seen)
            best = k;
    }
    return cab_red_is_arg(red) ? (cab_scalar){ .i = best } : cab_fold_end(&f);
}

cab_status cab_eval_op_window(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    window w = { 0 };
    cab_red red = CAB_RED_SUM;
    CAB_TRY(red_attr(e, CAB_RED_SUM, CAB_RED_ARGMAX_FIRST, &red));
    CAB_TRY(window_attrs(e, &w));
    int64_t dims[CAB_MAX_RANK] = { x->dims[0], x->dims[1] }, pos[CAB_MAX_RANK] = { 0 };
    memcpy(dims + 2, w.out, (size_t)w.s * sizeof *dims);
    cab_dtype to = cab_red_is_arg(red) ? CAB_DT_i64 : x->dtype;
    CAB_TRY(cab_eval_out(e, 0, to, x->rank, dims));
    if (cab_tensor_numel(&e->out[0]) == 0)
        return CAB_OK;
    int64_t plane = 1, o = 0;
    for (int i = 0; i < w.s; i++)
        plane *= w.in[i];
    for (int64_t nc = 0; nc < dims[0] * dims[1]; nc++) {
        do
            cab_scalar_store(to, e->out[0].data, (uint64_t)o++,
                             one_window(&w, x, nc * plane, pos, red));
        while (cab_eval_next(w.s, w.out, pos));
    }
    return CAB_OK;
}
