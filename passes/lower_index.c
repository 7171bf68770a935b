/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_index.c - index arithmetic of kernels.
 *
 * An index is affine in the Spec axes where possible; what is not (gathered
 * rows, divisions that no split of an axis expresses) is a list of expression
 * terms.  A reshape divides indices: when an axis stands in the way, the
 * logical axis it belongs to is split into two Spec axes and the kernel is
 * lowered again, so that views stay affine.  Splits are remembered by order
 * of creation of the logical axes, which does not change between attempts.
 */
#include "passes/lower_int.h"
#include <string.h>

cab_ix cab_ix_const(const cab_dim *x)
{
    return (cab_ix){ .at = { .base = x } };
}

cab_ix cab_ix_zero(cab_kernel *k)
{
    return cab_ix_const(cab_dim_const(k->l->d, 0));
}

cab_ix cab_ix_axis(cab_kernel *k, int lax)
{
    const cab_lax *x = &k->lax[lax];
    cab_ix ix = cab_ix_zero(k);
    const cab_dim *step = cab_dim_const(k->l->d, 1);
    for (int i = x->n - 1; i >= 0; i--) {
        cab_affine_add(k->l->d, &ix.at, x->axis[i], step);
        step = cab_dim_mul(k->l->d, step, x->factor[i]);
    }
    return ix;
}

cab_ix cab_ix_term(cab_kernel *k, const cab_expr *e)
{
    cab_ix ix = cab_ix_zero(k);
    ix.n = 1;
    ix.term[0].e = e;
    ix.term[0].k = cab_dim_const(k->l->d, 1);
    return ix;
}

static const cab_expr *ex2(cab_kernel *k, cab_expr_op op, const cab_expr *a, const cab_expr *b)
{
    return cab_ex_scalar(k->s, op, CAB_DT_i64, a, b, NULL);
}

static const cab_expr *scaled(cab_kernel *k, const cab_expr *e, const cab_dim *c)
{
    return cab_dim_is(c, 1) ? e : ex2(k, CAB_EX_mul, e, cab_ex_dim(k->s, c));
}

static const cab_expr *sum(cab_kernel *k, const cab_expr *a, const cab_expr *b)
{
    return a ? ex2(k, CAB_EX_add, a, b) : b;
}

const cab_expr *cab_ix_expr(cab_kernel *k, const cab_ix *a)
{
    const cab_expr *e = NULL;
    for (int i = 0; i < k->s->n_axes; i++)
        if (a->at.coef[i])
            e = sum(k, e, scaled(k, cab_ex_axis(k->s, i), a->at.coef[i]));
    for (int i = 0; i < a->n; i++)
        e = sum(k, e, scaled(k, a->term[i].e, a->term[i].k));
    if (!e || !cab_dim_is(a->at.base, 0))
        e = sum(k, e, cab_ex_dim(k->s, a->at.base));
    return e;
}

static void add_term(cab_kernel *k, cab_ix *x, const cab_expr *e, const cab_dim *c)
{
    if (x->n == CAB_IX_TERMS) {
        const cab_expr *all = NULL;
        for (int i = 0; i < x->n; i++)
            all = sum(k, all, scaled(k, x->term[i].e, x->term[i].k));
        x->n = 1;
        x->term[0].e = all;
        x->term[0].k = cab_dim_const(k->l->d, 1);
    }
    x->term[x->n].e = e;
    x->term[x->n++].k = c;
}

cab_ix cab_ix_add(cab_kernel *k, const cab_ix *a, const cab_ix *b)
{
    cab_ix r = *a;
    cab_affine_add(k->l->d, &r.at, -1, b->at.base);
    for (int i = 0; i < k->s->n_axes; i++)
        if (b->at.coef[i])
            cab_affine_add(k->l->d, &r.at, i, b->at.coef[i]);
    for (int i = 0; i < b->n; i++)
        add_term(k, &r, b->term[i].e, b->term[i].k);
    return r;
}

cab_ix cab_ix_scale(cab_kernel *k, const cab_ix *a, const cab_dim *c)
{
    cab_dims *d = k->l->d;
    cab_ix r = *a;
    if (cab_dim_is(c, 0))
        return cab_ix_zero(k);
    r.at.base = cab_dim_mul(d, a->at.base, c);
    for (int i = 0; i < k->s->n_axes; i++)
        if (a->at.coef[i])
            r.at.coef[i] = cab_dim_mul(d, a->at.coef[i], c);
    for (int i = 0; i < r.n; i++)
        r.term[i].k = cab_dim_mul(d, r.term[i].k, c);
    return r;
}

cab_ix cab_ix_shift(cab_kernel *k, const cab_ix *a, const cab_dim *c)
{
    cab_ix r = *a;
    cab_affine_add(k->l->d, &r.at, -1, c);
    return r;
}

static bool expr_equal(const cab_expr *a, const cab_expr *b, int depth)
{
    if (a == b)
        return true;
    if (!a || !b || a->op != b->op || a->dtype != b->dtype || depth > 16)
        return false;
    if (a->op == CAB_EX_CONST ? a->u.i != b->u.i :
        a->op == CAB_EX_DIM ? a->u.dim != b->u.dim :
        a->op < CAB_EX_SCALAR_ && a->u.index != b->u.index)
        return false;
    for (int i = 0; i < 3; i++)
        if (!expr_equal(a->arg[i], b->arg[i], depth + 1))
            return false;
    return true;
}

bool cab_ix_equal(const cab_ix *a, const cab_ix *b)
{
    if (a->n != b->n || a->at.base != b->at.base ||
        memcmp(a->at.coef, b->at.coef, sizeof a->at.coef))
        return false;
    for (int i = 0; i < a->n; i++)
        if (a->term[i].k != b->term[i].k ||
            !expr_equal(a->term[i].e, b->term[i].e, 0))
            return false;
    return true;
}

uint32_t cab_ix_axes(const cab_ix *a)
{
    uint32_t m = 0;
    if (a->n)
        return UINT32_MAX;
    for (int i = 0; i < CAB_SPEC_AXES; i++)
        m |= (uint32_t)(a->at.coef[i] != NULL) << i;
    return m;
}

bool cab_ix_is_const(const cab_ix *a, const cab_dim **out)
{
    *out = a->at.base;
    return cab_ix_axes(a) == 0;
}

/* ---- division ---- */
/* Surely 0 <= a < b? */
static bool within(cab_kernel *k, const cab_ix *a, const cab_dim *b)
{
    cab_dims *d = k->l->d;
    const cab_dim *lo = a->at.base, *hi = a->at.base;
    const cab_dim *one = cab_dim_const(d, 1);
    if (a->n)
        return false;
    for (int i = 0; i < k->s->n_axes; i++) {
        const cab_dim *c = a->at.coef[i];
        if (!c)
            continue;
        const cab_dim *far = cab_dim_mul(d, c, cab_dim_sub(d, k->s->axis[i].extent, one));
        if (c->lo >= 0)
            hi = cab_dim_add(d, hi, far);
        else if (c->hi <= 0)
            lo = cab_dim_add(d, lo, far);
        else
            return false;
    }
    return lo->lo >= 0 && (cab_dim_lt(hi, b) == 1 || cab_dim_sub(d, hi, b)->hi < 0);
}

static bool not_negative(cab_kernel *k, const cab_ix *a)
{
    bool ok = a->n == 0 && a->at.base->lo >= 0;
    for (int i = 0; i < k->s->n_axes; i++)
        ok = ok && (!a->at.coef[i] || a->at.coef[i]->lo >= 0);
    return ok;
}

static void split_lax(cab_kernel *k, int lax, int at, const cab_dim *outer, const cab_dim *inner)
{
    const cab_lax *x = &k->lax[lax];
    int n = 0;
    for (int i = 0; i < x->n; i++) {
        if (i == at)
            k->split[lax].factor[n++] = outer;
        k->split[lax].factor[n++] = i == at ? inner : x->factor[i];
    }
    k->split[lax].n = n;
    if (lax >= k->n_splits)
        k->n_splits = lax + 1;
    k->state = CAB_KERNEL_AGAIN;
}

/* Splits one axis of r so that a part of it is a multiple of b. */
static bool refine(cab_kernel *k, const cab_ix *r, const cab_dim *b)
{
    if (r->n || k->s->n_axes >= CAB_SPEC_AXES)
        return false;
    for (int j = 0; j < k->n_laxes; j++) {
        const cab_lax *x = &k->lax[j];
        for (int i = 0; i < x->n && x->n < CAB_SPEC_AXES; i++) {
            const cab_dim *c = r->at.coef[x->axis[i]];
            const cab_dim *in = c ? cab_dim_divexact(k->l->d, b, c) : NULL;
            if (in && in->hi <= 0)     /* walked backwards */
                in = cab_dim_mul(k->l->d, in, cab_dim_const(k->l->d, -1));
            const cab_dim *out = in ? cab_dim_divexact(k->l->d, x->factor[i], in) : NULL;
            if (!out || in->lo < 0 || cab_dim_is(out, 1) || cab_dim_is(in, 1) || cab_dim_is(in, 0))
                continue;
            split_lax(k, j, i, out, in);
            return true;
        }
    }
    return false;
}

/* Floor division of the constant part; symbolic parts stay whole. */
static void split_base(cab_dims *d, const cab_dim *base, const cab_dim *b, cab_ix *q, cab_ix *r)
{
    const cab_dim *exact = cab_dim_divexact(d, base, b);
    if (!exact && cab_dim_is_const(base) && cab_dim_is_const(b) && b->value > 0) {
        const cab_dim *f = cab_dim_floordiv(d, base, b);
        q->at.base = f;
        r->at.base = cab_dim_sub(d, base, cab_dim_mul(d, f, b));
        return;
    }
    (exact ? q : r)->at.base = exact ? exact : base;
}

void cab_ix_divmod(cab_kernel *k, const cab_ix *a, const cab_dim *b, cab_ix *q, cab_ix *r)
{
    cab_dims *d = k->l->d;
    *q = *r = cab_ix_zero(k);
    if (cab_dim_is(b, 1)) {
        *q = *a;
        return;
    }
    if (within(k, a, b)) {
        *r = *a;
        return;
    }
    split_base(d, a->at.base, b, q, r);
    for (int i = 0; i < k->s->n_axes; i++) {
        const cab_dim *c = a->at.coef[i];
        const cab_dim *exact = c ? cab_dim_divexact(d, c, b) : NULL;
        if (c)
            (exact ? q : r)->at.coef[i] = exact ? exact : c;
    }
    for (int i = 0; i < a->n; i++) {
        const cab_dim *exact = cab_dim_divexact(d, a->term[i].k, b);
        add_term(k, exact ? q : r, a->term[i].e, exact ? exact : a->term[i].k);
    }
    if (within(k, r, b) || k->state != CAB_KERNEL_OK || refine(k, r, b))
        return;
    /* Truncating division is the floor only when nothing is negative. */
    bool part = not_negative(k, r);
    const cab_expr *e = cab_ix_expr(k, part ? r : a), *by = cab_ex_dim(k->s, b);
    cab_ix whole = cab_ix_term(k, ex2(k, CAB_EX_div, e, by));
    *q = part ? cab_ix_add(k, q, &whole) : whole;
    *r = cab_ix_term(k, ex2(k, CAB_EX_rem, e, by));
}

/* ---- reshape ---- */
typedef struct block { int y0, y1, x0, x1; } block;

static bool smaller(cab_dims *d, const cab_dim *a, const cab_dim *b, bool *known)
{
    *known = true;
    if (cab_dim_is_const(a) && cab_dim_is_const(b))
        return a->value < b->value;
    if (cab_dim_divexact(d, b, a))
        return true;
    *known = cab_dim_divexact(d, a, b) != NULL;
    return false;
}

/* The next run of axes of both shapes with the same product of extents. */
static bool next_block(cab_dims *d, const cab_type *y, const cab_type *x, block *b)
{
    b->y0 = b->y1;
    b->x0 = b->x1;
    if (b->y0 >= y->rank && b->x0 >= x->rank)
        return false;
    const cab_dim *py = cab_dim_const(d, 1), *px = py;
    bool known = true;
    if (b->y1 < y->rank)
        py = y->dims[b->y1++];
    if (b->x1 < x->rank)
        px = x->dims[b->x1++];
    while (px != py && known) {
        bool more_y = smaller(d, py, px, &known);
        if (more_y && b->y1 < y->rank)
            py = cab_dim_mul(d, py, y->dims[b->y1++]);
        else if (!more_y && b->x1 < x->rank)
            px = cab_dim_mul(d, px, x->dims[b->x1++]);
        else
            known = false;
    }
    if (!known) {
        b->y1 = y->rank;
        b->x1 = x->rank;
    }
    /* Trailing axes of extent 1 join the last block. */
    while (b->x1 < x->rank && cab_dim_is(x->dims[b->x1], 1))
        b->x1++;
    while (b->y1 < y->rank && cab_dim_is(y->dims[b->y1], 1))
        b->y1++;
    return true;
}

static void block_index(cab_kernel *k, const block *b, const cab_type *y,
                        const cab_ix *iy, const cab_type *x, cab_ix *ix)
{
    cab_dims *d = k->l->d;
    cab_ix lin = cab_ix_zero(k);
    const cab_dim *step = cab_dim_const(d, 1);
    for (int i = b->y1 - 1; i >= b->y0; i--) {
        cab_ix t = cab_ix_scale(k, &iy[i], step);
        if (!cab_dim_is(y->dims[i], 1))
            lin = cab_ix_add(k, &lin, &t);
        step = cab_dim_mul(d, step, y->dims[i]);
    }
    int first = b->x0;
    while (first < b->x1 && cab_dim_is(x->dims[first], 1))
        ix[first++] = cab_ix_zero(k);
    for (int i = b->x1 - 1; i > first; i--) {
        cab_ix q;
        if (cab_dim_is(x->dims[i], 1)) {
            ix[i] = cab_ix_zero(k);
            continue;
        }
        cab_ix_divmod(k, &lin, x->dims[i], &q, &ix[i]);
        lin = q;
    }
    if (first < b->x1)
        ix[first] = lin;
}

void cab_ix_reshape(cab_kernel *k, const cab_type *to, const cab_ix *iy,
                    const cab_type *from, cab_ix *ix)
{
    block b = { 0 };
    while (next_block(k->l->d, to, from, &b))
        block_index(k, &b, to, iy, from, ix);
}

/* Innermost stride of a run of axes that lie one after another; NULL when they
 * do not, 0 when all have extent 1. */
static const cab_dim *run_stride(cab_dims *d, const block *b, const cab_type *x,
                                 const cab_dim *const *stride)
{
    const cab_dim *inner = NULL, *next = NULL;
    for (int i = b->x1 - 1; i >= b->x0; i--) {
        if (cab_dim_is(x->dims[i], 1))
            continue;
        if (next && stride[i] != next)
            return NULL;
        inner = inner ? inner : stride[i];
        next = cab_dim_mul(d, stride[i], x->dims[i]);
    }
    return inner ? inner : cab_dim_const(d, 0);
}

bool cab_strides_reshape(cab_dims *d, const cab_type *from, const cab_dim *const *in,
                         const cab_type *to, const cab_dim **out)
{
    block b = { 0 };
    while (next_block(d, to, from, &b)) {
        const cab_dim *step = run_stride(d, &b, from, in);
        if (!step)
            return false;
        for (int i = b.y1 - 1; i >= b.y0; i--) {
            out[i] = step;
            step = cab_dim_mul(d, step, to->dims[i]);
        }
    }
    return true;
}

/* Peels the inner extents of both sides: one must divide the other. */
static bool block_is_affine(cab_dims *d, const block *b, const cab_type *y, const cab_type *x)
{
    int i = b->x1 - 1, j = b->y1 - 1;
    const cab_dim *rx = i >= b->x0 ? x->dims[i] : NULL;
    const cab_dim *ry = j >= b->y0 ? y->dims[j] : NULL;
    while (rx && ry) {
        const cab_dim *q = NULL;
        if (cab_dim_is(rx, 1) || rx == ry || (q = cab_dim_divexact(d, ry, rx))) {
            ry = rx == ry ? cab_dim_const(d, 1) : q ? q : ry;
            rx = --i >= b->x0 ? x->dims[i] : NULL;
        } else if (cab_dim_is(ry, 1) || (q = cab_dim_divexact(d, rx, ry))) {
            rx = q ? q : rx;
            ry = --j >= b->y0 ? y->dims[j] : NULL;
        } else {
            return false;
        }
    }
    return true;
}

bool cab_reshape_is_affine(cab_graph *g, const cab_type *to, const cab_type *from)
{
    block b = { 0 };
    while (next_block(g->dims, to, from, &b))
        if (!block_is_affine(g->dims, &b, to, from))
            return false;
    return true;
}

/* The innermost axis of a run whose extent is not 1; -1. */
static int last_of(const cab_type *t, int from, int to)
{
    while (to > from && cab_dim_is(t->dims[to - 1], 1))
        to--;
    return to > from ? to - 1 : -1;
}

static int reshape_axis(cab_graph *g, const cab_type *y, const cab_type *x, int axis)
{
    block b = { 0 };
    while (next_block(g->dims, y, x, &b))
        if (axis >= b.x0 && axis < b.x1)
            return last_of(x, b.x0, b.x1) == axis ? last_of(y, b.y0, b.y1) : -1;
    return -1;
}

cab_columns cab_view_columns(cab_graph *g, const cab_node *view, cab_columns c)
{
    const cab_type *x = &view->in[0]->type, *y = &view->out[0]->type;
    cab_columns r = { .axis = -1, .n = c.n };
    const int64_t *perm;
    if (c.axis < 0)
        return r;
    if (view->op->id == CAB_OP_reshape)
        r.axis = reshape_axis(g, y, x, c.axis);
    else if (view->op->id == CAB_OP_transpose)
        for (int64_t i = cab_attr_ints(view, "perm", &perm); i-- > 0;)
            r.axis = perm[i] == c.axis ? (int)i : r.axis;
    if (r.axis >= 0 && cab_dim_lt(y->dims[r.axis], c.n) == 1)
        r.n = y->dims[r.axis];
    return r;
}

bool cab_columns_suffice(const cab_columns *product, const cab_columns *here)
{
    enum { FEW = 8 };
    return here->n == product->n || !cab_dim_is_const(here->n) || here->n->value >= FEW;
}

/* ---- axes ---- */
int cab_kernel_lax(cab_kernel *k, cab_axis_kind kind, const cab_dim *extent, const char *name)
{
    int at = k->n_laxes;
    if (at == CAB_KERNEL_LAXES)
        return cab_kernel_fail(k, "too many axes"), -1;
    cab_lax x = { .kind = kind, .extent = extent, .n = 1, .factor = { extent } };
    if (at < k->n_splits && k->split[at].n) {
        x.n = k->split[at].n;
        memcpy(x.factor, k->split[at].factor, sizeof x.factor);
    }
    if (k->s->n_axes + x.n > CAB_SPEC_AXES)
        return cab_kernel_fail(k, "too many axes"), -1;
    for (int i = 0; i < x.n; i++) {
        const char *label = cab_printf(k->l->a, "%s%d", name, k->s->n_axes);
        x.axis[i] = cab_spec_axis(k->s, kind, x.factor[i], label);
    }
    k->lax[at] = x;
    return k->n_laxes++;
}

int cab_kernel_red(cab_kernel *k, const cab_dim *extent, const char *name, bool fresh)
{
    for (int i = 0; i < k->n_laxes && !fresh; i++) {
        cab_lax *x = &k->lax[i];
        if (x->kind == CAB_AXIS_RED && x->extent == extent && x->taken != k->serial) {
            x->taken = k->serial;
            return i;
        }
    }
    int at = cab_kernel_lax(k, CAB_AXIS_RED, extent, name);
    if (at >= 0)
        k->lax[at].taken = k->serial;
    return at;
}

uint32_t cab_kernel_lax_mask(const cab_kernel *k, int lax)
{
    uint32_t m = 0;
    for (int i = 0; i < k->lax[lax].n; i++)
        m |= 1u << k->lax[lax].axis[i];
    return m;
}
