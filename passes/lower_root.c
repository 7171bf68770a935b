/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_root.c - the nodes that fold many elements into one.
 *
 * Each adds a REDUCE stage and gives its RESULT.  Reduction axes are created
 * in the order generated code should loop over them, the innermost last: for
 * convolutions kernel axes, then channels.  Narrow floats accumulate in f32.
 */
#include "ir/wino.h"
#include "passes/lower_int.h"
#include <math.h>
#include <string.h>

cab_dtype cab_lower_acc_type(cab_dtype t)
{
    return cab_dtype_is_float(t) && t != CAB_DT_f64 ? CAB_DT_f32 : t;
}

static uint32_t red_axes(const cab_kernel *k)
{
    uint32_t m = 0;
    for (int i = 0; i < k->s->n_axes; i++)
        m |= (uint32_t)(k->s->axis[i].kind == CAB_AXIS_RED) << i;
    return m;
}

/* Notes what the result's index depends on; a result exists per point of the
 * parallel axes only, and so do the guards its loads inherit. */
static bool result_index(cab_kernel *k, const cab_node *n, const cab_ix *ix)
{
    uint32_t m = 0, guarded = 0;
    for (int i = 0; i < n->out[0]->type.rank; i++)
        m |= cab_ix_axes(&ix[i]);
    for (int i = 0; i < k->n_guards; i++)
        for (int a = 0; a < k->s->n_axes; a++)
            guarded |= (uint32_t)(k->guard[i].at.coef[a] != NULL) << a;
    if (m == UINT32_MAX || ((m | guarded) & red_axes(k))) {
        cab_kernel_fail(k, "a reduction inside a loop of another");
        return false;
    }
    k->result_axes |= m;
    k->n_results++;
    k->serial++;
    return true;
}

/* A reduction axis of that extent as an index; its axes join the mask. */
static cab_ix red_index(cab_kernel *k, const cab_dim *extent, const char *name,
                        bool fresh, uint32_t *mask)
{
    if (cab_dim_is(extent, 1))
        return cab_ix_zero(k);
    int lax = cab_kernel_red(k, extent, name, fresh);
    if (lax < 0)
        return cab_ix_zero(k);
    *mask |= cab_kernel_lax_mask(k, lax);
    return cab_ix_axis(k, lax);
}

static const cab_expr *fold(cab_kernel *k, const cab_node *n, uint32_t mask,
                            cab_red red, const cab_expr *value)
{
    if (k->state != CAB_KERNEL_OK)
        return cab_kernel_fail(k, "");
    cab_dtype to = n->out[0]->type.dtype, acc = cab_lower_acc_type(value->dtype);
    const cab_expr *x = cab_ex_cast(k->s, acc, value);
    const cab_expr *r = cab_ex_result(k->s, cab_spec_reduce(k->s, mask, red, acc, x));
    return cab_ex_cast(k->s, to, r);
}

static cab_red red_of(const cab_node *n)
{
    static const struct { const char *name; cab_red red; } rows[] = {
        { "sum", CAB_RED_SUM }, { "prod", CAB_RED_PROD }, { "max", CAB_RED_MAX },
        { "min", CAB_RED_MIN }, { "argmax", CAB_RED_ARGMAX_FIRST },
    };
    const char *op = cab_attr_str(n, "op");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (op && !strcmp(op, rows[i].name))
            return rows[i].red;
    CAB_UNREACHABLE();
}

/* Operand index of a reduction over the axes in mask. */
static uint32_t reduced_index(cab_kernel *k, const cab_node *n, uint32_t axes,
                              const cab_ix *ix, cab_ix *in)
{
    const cab_type *t = &n->in[0]->type;
    bool keep = cab_attr_int(n, "keepdims") != 0;
    uint32_t mask = 0;
    int o = 0;
    for (int i = 0; i < t->rank; i++) {
        if (!(axes >> i & 1))
            in[i] = ix[o];
        o += keep || !(axes >> i & 1);
    }
    for (int i = 0; i < t->rank; i++) {
        int a = cab_value_axis_at(t, i);
        if (axes >> a & 1)
            in[a] = red_index(k, t->dims[a], "r", false, &mask);
    }
    return mask;
}

const cab_expr *cab_lower_reduce(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    const int64_t *axes;
    int64_t n_axes = cab_attr_ints(n, "axes", &axes);
    cab_ix in[CAB_MAX_RANK];
    uint32_t set = 0;
    for (int64_t i = 0; i < n_axes; i++)
        set |= 1u << (axes[i] + (axes[i] < 0 ? n->in[0]->type.rank : 0));
    if (!result_index(k, n, ix))
        return cab_kernel_fail(k, "");
    uint32_t mask = reduced_index(k, n, set, ix, in);
    return fold(k, n, mask, red_of(n), cab_lower_elem(k, n->in[0], in));
}

const cab_expr *cab_lower_argreduce(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    int64_t axis = cab_attr_int(n, "axis");
    cab_ix in[CAB_MAX_RANK];
    axis += axis < 0 ? n->in[0]->type.rank : 0;
    bool max = red_of(n) == CAB_RED_MAX, last = cab_attr_int(n, "last") != 0;
    if (!result_index(k, n, ix))
        return cab_kernel_fail(k, "");
    uint32_t mask = reduced_index(k, n, 1u << axis, ix, in);
    cab_red red = max ? (last ? CAB_RED_ARGMAX_LAST : CAB_RED_ARGMAX_FIRST)
                      : (last ? CAB_RED_ARGMIN_LAST : CAB_RED_ARGMIN_FIRST);
    return fold(k, n, mask, red, cab_lower_elem(k, n->in[0], in));
}

/* ---- contractions ---- */
/* Coefficient of an axis in a (converted) load; NULL when there is none. */
static const cab_dim *load_coef(const cab_kernel *k, const cab_expr *e, int axis)
{
    while (e->op == CAB_EX_cast)
        e = e->arg[0];
    return e->op == CAB_EX_LOAD ? k->s->views.p[e->u.index].at.coef[axis] : NULL;
}

/* Columns come from b: its rows are walked along the innermost axis of the
 * result.  True when that describes a instead. */
static bool swapped(const cab_kernel *k, const cab_expr *a, const cab_expr *b)
{
    for (int i = k->s->n_axes - 1; i >= 0; i--) {
        if (k->s->axis[i].kind != CAB_AXIS_PAR || cab_dim_is(k->s->axis[i].extent, 1))
            continue;
        const cab_dim *ca = load_coef(k, a, i), *cb = load_coef(k, b, i);
        return ca && cab_dim_is(ca, 1) && !cb;
    }
    return false;
}

static const cab_expr *product(cab_kernel *k, const cab_node *n, uint32_t mask,
                               const cab_expr *a, const cab_expr *b, bool keep_order)
{
    if (k->state != CAB_KERNEL_OK)
        return cab_kernel_fail(k, "");
    cab_dtype acc = cab_lower_acc_type(n->out[0]->type.dtype);
    a = cab_ex_cast(k->s, acc, a);
    b = cab_ex_cast(k->s, acc, b);
    bool swap = !keep_order && swapped(k, a, b);
    return fold(k, n, mask, CAB_RED_SUM,
                cab_ex_scalar(k->s, CAB_EX_mul, acc, swap ? b : a, swap ? a : b, NULL));
}

typedef struct side { const int64_t *batch, *contract; int64_t n_batch, n_contract; } side;

static side side_of(const cab_node *n, const char *batch, const char *contract)
{
    side s = { 0 };
    s.n_batch = cab_attr_ints(n, batch, &s.batch);
    s.n_contract = cab_attr_ints(n, contract, &s.contract);
    s.n_batch = s.n_batch < 0 ? 0 : s.n_batch;
    s.n_contract = s.n_contract < 0 ? 0 : s.n_contract;
    return s;
}

/* Fills the batch and free axes of one operand; free axes take result axes
 * from *o on. */
static void side_index(const side *s, const cab_type *t, const cab_ix *ix, int *o, cab_ix *in)
{
    uint32_t used = 0;
    for (int64_t i = 0; i < s->n_batch; i++) {
        in[s->batch[i]] = ix[i];
        used |= 1u << s->batch[i];
    }
    for (int64_t i = 0; i < s->n_contract; i++)
        used |= 1u << s->contract[i];
    for (int i = 0; i < t->rank; i++)
        if (!(used >> i & 1))
            in[i] = ix[(*o)++];
}

const cab_expr *cab_lower_dot(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    side sa = side_of(n, "a_batch", "a_contract"), sb = side_of(n, "b_batch", "b_contract");
    cab_ix ia[CAB_MAX_RANK], ib[CAB_MAX_RANK];
    int o = (int)sa.n_batch;
    uint32_t mask = 0;
    if (!result_index(k, n, ix))
        return cab_kernel_fail(k, "");
    k->has_root = true;
    side_index(&sa, &n->in[0]->type, ix, &o, ia);
    side_index(&sb, &n->in[1]->type, ix, &o, ib);
    for (int64_t i = 0; i < sa.n_contract; i++) {
        const cab_dim *extent = n->in[0]->type.dims[sa.contract[i]];
        ia[sa.contract[i]] = ib[sb.contract[i]] = red_index(k, extent, "k", false, &mask);
    }
    const cab_expr *a = cab_lower_elem(k, n->in[0], ia);
    const cab_expr *b = cab_lower_elem(k, n->in[1], ib);
    return product(k, n, mask, a, b, false);
}

/* ---- convolutions and windows ---- */
/* Position along one spatial axis: out * stride - pad + tap * dilation. */
static cab_ix tap_index(cab_kernel *k, const cab_ix *out, const cab_ix *tap,
                        int64_t stride, int64_t pad, int64_t dilation)
{
    cab_dims *d = k->l->d;
    cab_ix a = cab_ix_scale(k, out, cab_dim_const(d, stride));
    cab_ix b = cab_ix_scale(k, tap, cab_dim_const(d, dilation));
    a = cab_ix_add(k, &a, &b);
    return cab_ix_shift(k, &a, cab_dim_const(d, -pad));
}

/* Elements past the end that the last tap of the last window reaches. */
static const cab_dim *overhang(cab_dims *d, const cab_dim *out, const cab_dim *kernel,
                               const cab_dim *in, int64_t stride, int64_t pad, int64_t dilation)
{
    const cab_dim *one = cab_dim_const(d, 1);
    const cab_dim *a = cab_dim_mul(d, cab_dim_sub(d, out, one), cab_dim_const(d, stride));
    const cab_dim *b = cab_dim_mul(d, cab_dim_sub(d, kernel, one), cab_dim_const(d, dilation));
    const cab_dim *last = cab_dim_add(d, cab_dim_add(d, a, b), cab_dim_const(d, -pad));
    return cab_dim_sub(d, last, cab_dim_sub(d, in, one));
}

/* The last tile ends m * tiles + r - 1 - pad after the first element: at most
 * m - 1 beyond the padding. */
static void wino_reach(cab_graph *g, const cab_node *n, int axis, int64_t *lo, int64_t *hi)
{
    cab_dims *d = g->dims;
    const cab_dim *end;
    const int64_t *pads_lo, *pads_hi;
    cab_wino w;
    int i = axis - 2;
    CAB_ASSERT(cab_wino_of(n, &w));
    cab_attr_ints(n, "pads_lo", &pads_lo);
    cab_attr_ints(n, "pads_hi", &pads_hi);
    const cab_wino_axis *a = &w.axis[i];
    int64_t most = pads_hi[i] + a->m - 1;
    *lo = pads_lo[i];
    end = cab_wino_tiles(d, &w, i, cab_wino_results(d, n, &w, i));
    end = cab_dim_add(d, cab_dim_mul(d, end, cab_dim_const(d, a->m)), cab_dim_const(d, a->r - 1 - *lo));
    end = cab_dim_sub(d, end, n->in[0]->type.dims[axis]);
    *hi = end->hi < most ? end->hi : most;
    *hi = *hi < 0 ? 0 : *hi;
}

void cab_conv_reach(cab_graph *g, const cab_node *n, int axis, int64_t *lo, int64_t *hi)
{
    if (n->op->id == CAB_OP_wino_in) {
        wino_reach(g, n, axis, lo, hi);
        return;
    }
    const int64_t *strides, *pads_lo, *pads_hi, *dilations;
    int s = axis - 2;
    cab_attr_ints(n, "strides", &strides);
    cab_attr_ints(n, "pads_lo", &pads_lo);
    cab_attr_ints(n, "pads_hi", &pads_hi);
    cab_attr_ints(n, "dilations", &dilations);
    const cab_dim *over = overhang(g->dims, n->out[0]->type.dims[axis], n->in[1]->type.dims[axis],
                                   n->in[0]->type.dims[axis], strides[s], pads_lo[s], dilations[s]);
    *lo = pads_lo[s];
    *hi = over->hi < pads_hi[s] ? over->hi : pads_hi[s];
    *hi = *hi < 0 ? 0 : *hi;
}

/* Zeroes stored around x make a guard needless. */
bool cab_halo_covers(cab_kernel *k, const cab_node *n, int axis)
{
    const cab_value *x = n->in[0];
    int64_t lo, hi;
    cab_conv_reach(k->l->g, n, axis, &lo, &hi);
    const cab_layout *y = x->type.layout;
    bool stored = !cab_kernel_member(k, x->def) && cab_lower_info(k->l, x)->at.buffer >= 0;
    int64_t have_lo = y && stored ? y->halo_lo[axis] : 0;
    int64_t have_hi = y && stored ? y->halo_hi[axis] : 0;
    return lo <= have_lo && hi <= have_hi;
}

/* An element of the padded operand: beyond the axes in guards a zero, beyond
 * the others a stored one, which schedules may know. */
static const cab_expr *padded(cab_kernel *k, const cab_node *n, const cab_ix *in, uint32_t guards)
{
    cab_value *x = n->in[0];
    int64_t lo, hi;
    for (int i = 2; i < x->type.rank && !guards; i++) {
        cab_conv_reach(k->l->g, n, i, &lo, &hi);
        if ((lo > 0 || hi > 0) && !in[i].n && k->n_halo < CAB_SPEC_GUARDS)
            k->halo[k->n_halo++] = (cab_spec_guard){ in[i].at, x->type.dims[i] };
    }
    const cab_expr *e = cab_lower_guarded(k, x, in, guards, cab_ex_int(k->s, x->type.dtype, 0));
    k->n_halo = 0;
    return e;
}

const cab_expr *cab_lower_conv(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    cab_value *w = n->in[1];
    const cab_type *ty = &n->out[0]->type;
    const int64_t *strides, *pads, *dilations;
    cab_dims *d = k->l->d;
    cab_ix in[CAB_MAX_RANK], iw[CAB_MAX_RANK], group, rest;
    uint32_t mask = 0, guards = 0;
    cab_attr_ints(n, "strides", &strides);
    cab_attr_ints(n, "pads_lo", &pads);
    cab_attr_ints(n, "dilations", &dilations);
    int64_t groups = cab_attr_int(n, "group");
    if (!result_index(k, n, ix))
        return cab_kernel_fail(k, "");
    for (int i = 2; i < ty->rank; i++) {
        iw[i] = red_index(k, w->type.dims[i], "k", true, &mask);
        in[i] = tap_index(k, &ix[i], &iw[i], strides[i - 2], pads[i - 2], dilations[i - 2]);
        guards |= (uint32_t)!cab_halo_covers(k, n, i) << i;
    }
    in[0] = ix[0];
    iw[0] = ix[1];
    in[1] = iw[1] = red_index(k, w->type.dims[1], "c", true, &mask);
    bool depthwise = groups > 1 && cab_dim_is(w->type.dims[1], 1);
    if (groups > 1) {
        const cab_dim *per = cab_dim_divexact(d, w->type.dims[0], cab_dim_const(d, groups));
        if (!per)
            return cab_kernel_fail(k, "the channels do not divide into groups");
        cab_ix_divmod(k, &ix[1], per, &group, &rest);
        group = cab_ix_scale(k, &group, w->type.dims[1]);
        in[1] = cab_ix_add(k, &in[1], &group);
    }
    *(depthwise ? &k->has_window : &k->has_root) = true;
    if (k->state != CAB_KERNEL_OK)
        return cab_kernel_fail(k, "");
    const cab_expr *a = padded(k, n, in, guards);
    const cab_expr *b = cab_lower_elem(k, w, iw);
    return product(k, n, mask, a, b, true);
}

/* What a maximum never picks. */
static const cab_expr *lowest(cab_kernel *k, cab_dtype t)
{
    if (cab_dtype_is_float(t))
        return cab_ex_const(k->s, t, -INFINITY);
    if (!cab_dtype_is_signed(t))
        return cab_ex_int(k->s, t, 0);
    return cab_ex_int(k->s, t, INT64_MIN >> (64 - cab_dtype_bits(t)));
}

const cab_expr *cab_lower_window(cab_kernel *k, cab_node *n, const cab_ix *ix)
{
    cab_value *x = n->in[0];
    const cab_type *ty = &n->out[0]->type;
    const int64_t *kernel, *strides, *pads, *dilations;
    cab_dims *d = k->l->d;
    cab_ix in[CAB_MAX_RANK];
    uint32_t mask = 0, guards = 0;
    cab_red red = red_of(n);
    cab_attr_ints(n, "kernel", &kernel);
    cab_attr_ints(n, "strides", &strides);
    cab_attr_ints(n, "pads_lo", &pads);
    cab_attr_ints(n, "dilations", &dilations);
    if (!result_index(k, n, ix))
        return cab_kernel_fail(k, "");
    k->has_window = true;
    in[0] = ix[0];
    in[1] = ix[1];
    for (int i = 2; i < ty->rank; i++) {
        int s = i - 2;
        const cab_dim *taps = cab_dim_const(d, kernel[s]);
        cab_ix tap = red_index(k, taps, "k", true, &mask);
        in[i] = tap_index(k, &ix[i], &tap, strides[s], pads[s], dilations[s]);
        const cab_dim *over = overhang(d, ty->dims[i], taps, x->type.dims[i],
                                       strides[s], pads[s], dilations[s]);
        guards |= (uint32_t)(pads[s] > 0 || over->hi > 0) << i;
    }
    const cab_expr *none = red == CAB_RED_SUM ? cab_ex_int(k->s, x->type.dtype, 0)
                                              : lowest(k, x->type.dtype);
    return fold(k, n, mask, red, cab_lower_guarded(k, x, in, guards, none));
}
