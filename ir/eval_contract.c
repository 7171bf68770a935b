/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_contract.c - reference evaluation: dot and conv.
 *
 * Operands are widened once to double or 64-bit integers; floats accumulate
 * in double and round once to the result type, integers wrap to it.  Wide
 * arrays hold either, so one loop nest serves both.
 */
#include "ir/eval_int.h"
#include <string.h>

typedef struct wide { bool is_float; double *f; uint64_t *i; } wide;

static wide widen(cab_arena *a, const cab_tensor *t)
{
    int64_t n = cab_tensor_numel(t);
    wide w = { .is_float = cab_dtype_is_float(t->dtype) };
    if (w.is_float)
        w.f = CAB_NEW_N(a, double, n);
    else
        w.i = CAB_NEW_N(a, uint64_t, n);
    for (int64_t i = 0; i < n; i++) {
        cab_scalar v = cab_scalar_load(t->dtype, t->data, (uint64_t)i);
        if (w.is_float)
            w.f[i] = v.f;
        else
            w.i[i] = (uint64_t)v.i;
    }
    return w;
}

static cab_status operand_types(cab_eval *e, cab_dtype *to)
{
    cab_dtype a = e->in[0]->dtype, b = e->in[1]->dtype;
    *to = cab_attr_dtype(e->n, "out");
    if (*to == CAB_DT_none)
        *to = a;
    bool f = cab_dtype_is_float(a);
    bool ok = cab_scalar_ok(a) && cab_scalar_ok(b) && cab_scalar_ok(*to);
    if (!ok || f != cab_dtype_is_float(b) || (!f && cab_dtype_is_float(*to)))
        return cab_eval_error(e, CAB_EUNSUPPORTED, "%s by %s into %s", cab_dtype_name(a),
                              cab_dtype_name(b), cab_dtype_name(*to));
    return CAB_OK;
}

static void store_sum(cab_eval *e, bool is_float, int64_t o, double f, uint64_t i)
{
    cab_dtype to = e->out[0].dtype;
    cab_scalar v = is_float ? (cab_scalar){ .f = f } : (cab_scalar){ .i = (int64_t)i };
    v = cab_scalar_cast(is_float ? CAB_DT_f64 : CAB_DT_i64, to, v);
    cab_scalar_store(to, e->out[0].data, (uint64_t)o, v);
}

/* ---- dot ---- */
/* A set of axes of a tensor as the list of their offsets, row-major. */
typedef struct offsets { int64_t n, *at; int rank; int64_t dims[CAB_MAX_RANK]; } offsets;

static offsets offsets_of(cab_arena *a, const cab_tensor *t, const int64_t *axes, int n)
{
    offsets r = { .n = 1, .rank = n };
    int64_t own[CAB_MAX_RANK], idx[CAB_MAX_RANK] = { 0 };
    cab_eval_strides(t->rank, t->dims, own);
    for (int i = 0; i < n; i++) {
        r.dims[i] = t->dims[axes[i]];
        r.n *= r.dims[i];
    }
    r.at = CAB_NEW_N(a, int64_t, r.n);
    for (int64_t k = 0; k < r.n; k++, cab_eval_next(n, r.dims, idx))
        for (int i = 0; i < n; i++)
            r.at[k] += idx[i] * own[axes[i]];
    return r;
}

typedef struct side { offsets batch, free, contract; wide w; } side;

static cab_status dot_side(cab_eval *e, int operand, const char *batch_attr,
                           const char *contract_attr, side *out)
{
    const cab_tensor *t = e->in[operand];
    const int64_t *batch = NULL, *contract = NULL;
    int64_t free[CAB_MAX_RANK];
    int64_t nb = cab_attr_ints(e->n, batch_attr, &batch);
    int64_t nc = cab_attr_ints(e->n, contract_attr, &contract);
    uint32_t used = 0;
    int nf = 0;
    nb = nb < 0 ? 0 : nb;
    nc = nc < 0 ? 0 : nc;
    for (int64_t i = 0; i < nb + nc; i++) {
        int64_t x = i < nb ? batch[i] : contract[i - nb];
        if (x < 0 || x >= t->rank || (used >> x & 1))
            return cab_eval_error(e, CAB_EINVAL, "bad axis in %s or %s", batch_attr,
                                  contract_attr);
        used |= 1u << x;
    }
    for (int i = 0; i < t->rank; i++)
        if (!(used >> i & 1))
            free[nf++] = i;
    out->batch = offsets_of(e->a, t, batch, (int)nb);
    out->contract = offsets_of(e->a, t, contract, (int)nc);
    out->free = offsets_of(e->a, t, free, nf);
    return CAB_OK;
}

static bool same_dims(const offsets *x, const offsets *y)
{
    return x->rank == y->rank &&
           !memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims);
}

static void dot_one(cab_eval *e, const side *a, const side *b, int64_t at, int64_t bt, int64_t o)
{
    double f = 0;
    uint64_t s = 0;
    const int64_t *ak = a->contract.at, *bk = b->contract.at;
    if (a->w.is_float)
        for (int64_t k = 0; k < a->contract.n; k++)
            f += a->w.f[at + ak[k]] * b->w.f[bt + bk[k]];
    else
        for (int64_t k = 0; k < a->contract.n; k++)
            s += a->w.i[at + ak[k]] * b->w.i[bt + bk[k]];
    store_sum(e, a->w.is_float, o, f, s);
}

static cab_status dot_run(cab_eval *e, side *a, side *b)
{
    const offsets *parts[3] = { &a->batch, &a->free, &b->free };
    int64_t dims[3 * CAB_MAX_RANK], o = 0;
    int rank = 0;
    cab_dtype to;
    CAB_TRY(operand_types(e, &to));
    if (!same_dims(&a->batch, &b->batch) || !same_dims(&a->contract, &b->contract))
        return cab_eval_error(e, CAB_EINPUT, "the operands' shapes do not match");
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < parts[p]->rank; i++)
            dims[rank++] = parts[p]->dims[i];
    if (rank > CAB_MAX_RANK)
        return cab_eval_error(e, CAB_EUNSUPPORTED, "result of rank %d", rank);
    CAB_TRY(cab_eval_out(e, 0, to, rank, dims));
    cab_mark m = cab_arena_mark(e->a);
    a->w = widen(e->a, e->in[0]);
    b->w = widen(e->a, e->in[1]);
    for (int64_t p = 0; p < a->batch.n; p++)
        for (int64_t i = 0; i < a->free.n; i++)
            for (int64_t j = 0; j < b->free.n; j++)
                dot_one(e, a, b, a->batch.at[p] + a->free.at[i],
                        b->batch.at[p] + b->free.at[j], o++);
    cab_arena_release(e->a, m);
    return CAB_OK;
}

cab_status cab_eval_op_dot(cab_eval *e)
{
    side a, b;
    CAB_TRY(dot_side(e, 0, "a_batch", "a_contract", &a));
    CAB_TRY(dot_side(e, 1, "b_batch", "b_contract", &b));
    return dot_run(e, &a, &b);
}

/* ---- conv ---- */
typedef struct conv {
    int s;                     /* spatial axes; one of extent 1 when there are none */
    int64_t n, c, o, group, cg;
    int64_t in[CAB_MAX_RANK], in_stride[CAB_MAX_RANK];
    int64_t k[CAB_MAX_RANK], out[CAB_MAX_RANK];
    int64_t in_plane, out_plane, taps;
    const int64_t *strides, *lo, *hi, *dilations;
    wide x, w;
    double *acc_f;
    uint64_t *acc_i;
} conv;

static bool conv_extent(conv *v, int i)
{
    int64_t span, room;
    if (v->strides[i] <= 0 || v->dilations[i] <= 0 ||
        __builtin_mul_overflow(v->k[i] - 1, v->dilations[i], &span) ||
        __builtin_add_overflow(v->in[i], v->lo[i], &room) ||
        __builtin_add_overflow(room, v->hi[i], &room) ||
        __builtin_sub_overflow(room, span + 1, &room))
        return false;
    v->out[i] = room < 0 ? 0 : room / v->strides[i] + 1;
    return true;
}

static cab_status conv_setup(cab_eval *e, conv *v)
{
    const cab_tensor *x = e->in[0], *w = e->in[1];
    if (x->rank < 2 || w->rank != x->rank)
        return cab_eval_error(e, CAB_EINVAL, "x and w need rank 2 + spatial axes");
    static const int64_t zero[1] = { 0 }, one[1] = { 1 };
    int s = x->rank - 2;
    v->n = x->dims[0];
    v->c = x->dims[1];
    v->o = w->dims[0];
    v->cg = w->dims[1];
    v->group = cab_attr_int(e->n, "group");
    if (v->group <= 0 || v->c % v->group || v->c / v->group != v->cg || v->o % v->group)
        return cab_eval_error(e, CAB_EINPUT, "%lld channels in %lld groups do not fit w",
                              (long long)v->c, (long long)v->group);
    CAB_TRY(cab_eval_ints(e, "strides", s, &v->strides));
    CAB_TRY(cab_eval_ints(e, "pads_lo", s, &v->lo));
    CAB_TRY(cab_eval_ints(e, "pads_hi", s, &v->hi));
    CAB_TRY(cab_eval_ints(e, "dilations", s, &v->dilations));
    if (s == 0) {
        v->strides = v->dilations = one;
        v->lo = v->hi = zero;
    }
    v->s = s ? s : 1;
    v->in_plane = v->out_plane = v->taps = 1;
    for (int i = 0; i < v->s; i++) {
        v->in[i] = s ? x->dims[i + 2] : 1;
        v->k[i] = s ? w->dims[i + 2] : 1;
        if (!conv_extent(v, i))
            return cab_eval_error(e, CAB_EINVAL, "bad stride, padding or dilation");
        v->in_plane *= v->in[i];
        v->taps *= v->k[i];
    }
    cab_eval_strides(v->s, v->in, v->in_stride);
    return CAB_OK;
}

/* Input place of output place 0 under this tap, along spatial axis i. */
static int64_t tap_start(const conv *v, const int64_t *tap, int i)
{
    return tap[i] * v->dilations[i] - v->lo[i];
}

/* One output row: its last spatial axis. */
static void conv_row(conv *v, int64_t o, int64_t start, int64_t x_at, int64_t w_at)
{
    int last = v->s - 1;
    int64_t step = v->strides[last], n = v->out[last];
    int64_t from = start >= 0 ? 0 : (-start + step - 1) / step;
    int64_t room = v->in[last] - 1 - start;
    int64_t to = room < 0 ? 0 : room / step + 1;
    to = to < n ? to : n;
    for (int64_t k = from; k < to; k++) {
        int64_t at = x_at + start + k * step;
        if (v->x.is_float)
            v->acc_f[o + k] += v->x.f[at] * v->w.f[w_at];
        else
            v->acc_i[o + k] += v->x.i[at] * v->w.i[w_at];
    }
}

/* acc += weight * the input plane seen through one tap. */
static void conv_tap(conv *v, const int64_t *tap, int64_t x_at, int64_t w_at)
{
    int64_t pos[CAB_MAX_RANK] = { 0 }, o = 0;
    int last = v->s - 1;
    do {
        int64_t row = x_at;
        bool inside = true;
        for (int i = 0; i < last && inside; i++) {
            int64_t p = pos[i] * v->strides[i] + tap_start(v, tap, i);
            inside = p >= 0 && p < v->in[i];
            row += p * v->in_stride[i];
        }
        if (inside)
            conv_row(v, o, tap_start(v, tap, last), row, w_at);
        o += v->out[last];
    } while (cab_eval_next(last, v->out, pos));
}

static void conv_plane(cab_eval *e, conv *v, int64_t n, int64_t o)
{
    int64_t first = o / (v->o / v->group) * v->cg;
    if (v->x.is_float)
        memset(v->acc_f, 0, (size_t)v->out_plane * sizeof *v->acc_f);
    else
        memset(v->acc_i, 0, (size_t)v->out_plane * sizeof *v->acc_i);
    for (int64_t c = 0; c < v->cg; c++) {
        int64_t tap[CAB_MAX_RANK] = { 0 };
        for (int64_t t = 0; t < v->taps; t++, cab_eval_next(v->s, v->k, tap))
            conv_tap(v, tap, (n * v->c + first + c) * v->in_plane,
                     (o * v->cg + c) * v->taps + t);
    }
    int64_t base = (n * v->o + o) * v->out_plane;
    for (int64_t i = 0; i < v->out_plane; i++)
        store_sum(e, v->x.is_float, base + i, v->acc_f ? v->acc_f[i] : 0,
                  v->acc_i ? v->acc_i[i] : 0);
}

cab_status cab_eval_op_conv(cab_eval *e)
{
    conv v = { 0 };
    cab_dtype to;
    CAB_TRY(operand_types(e, &to));
    CAB_TRY(conv_setup(e, &v));
    int64_t dims[CAB_MAX_RANK] = { v.n, v.o };
    int rank = e->in[0]->rank;
    memcpy(dims + 2, v.out, (size_t)(rank - 2) * sizeof *dims);
    CAB_TRY(cab_eval_out(e, 0, to, rank, dims));
    if (cab_tensor_numel(&e->out[0]) == 0)
        return CAB_OK;
    for (int i = 0; i < v.s; i++)
        v.out_plane *= v.out[i];
    cab_mark m = cab_arena_mark(e->a);
    v.x = widen(e->a, e->in[0]);
    v.w = widen(e->a, e->in[1]);
    if (v.x.is_float)
        v.acc_f = CAB_NEW_N(e->a, double, v.out_plane);
    else
        v.acc_i = CAB_NEW_N(e->a, uint64_t, v.out_plane);
    for (int64_t n = 0; n < v.n; n++)
        for (int64_t o = 0; o < v.o; o++)
            conv_plane(e, &v, n, o);
    cab_arena_release(e->a, m);
    return CAB_OK;
}
