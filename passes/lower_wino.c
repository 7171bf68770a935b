/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_wino.c - the two ends of a convolution by tiles: kernels that read a
 * tile whole and write a tile whole.
 *
 * a x b^T is taken in two halves.  The first half are stages over no axes,
 * whose results the stores of the second share; what follows the convolution
 * (bias, activation, a sum) is part of each store.
 */
#include "ir/wino.h"
#include "passes/lower_int.h"

typedef const cab_expr *expr;

static expr scalar(cab_kernel *k, cab_expr_op op, expr a, expr b)
{
    return cab_ex_scalar(k->s, op, CAB_DT_f32, a, b, NULL);
}

/* sum + c * t, where sum may be NULL: nothing yet. */
static expr plus(cab_kernel *k, expr sum, double c, expr t)
{
    bool minus = sum && c < 0;
    if (c == 0 || !t)
        return sum;
    c = minus ? -c : c;
    if (c != 1)
        t = scalar(k, CAB_EX_mul, t, cab_ex_const(k->s, CAB_DT_f32, c));
    return !sum ? t : scalar(k, minus ? CAB_EX_sub : CAB_EX_add, sum, t);
}

/* e as the result of a stage over no axes: computed once, whoever reads it. */
static expr once(cab_kernel *k, expr e)
{
    return cab_ex_result(k->s, cab_spec_reduce(k->s, 0, CAB_RED_SUM, CAB_DT_f32, e));
}

/* sum of m[p] * x[p * step] over p = first, first + stride, ...; the positive
 * terms come first. */
static expr row(cab_kernel *k, const double *m, int first, int stride, int n, const expr *x, int step)
{
    expr sum = NULL;
    for (int sign = 1; sign >= -1; sign -= 2)
        for (int p = first; p < n; p += stride)
            if (m[p] * sign > 0)
                sum = plus(k, sum, m[p], x[p * step]);
    return sum;
}

/* Points j and j + 1 are a and -a: all between the first and the last are such
 * pairs where n is even. */
static bool is_pair(const cab_wino_axis *w, int j)
{
    return j % 2 == 1 && j + 1 < w->n - 1;
}

/* y = bt x.  The polynomials of a pair have the same even terms and opposite odd
 * ones, unless a point is without its pair. */
static void line_in(cab_kernel *k, const cab_wino_axis *w, const expr *x, int step, expr *y)
{
    int n = w->n;
    for (int j = 0; j < n; j++) {
        if (n % 2 || !is_pair(w, j)) {
            y[j * step] = row(k, w->bt[j], 0, 1, n, x, step);
            continue;
        }
        expr same = once(k, row(k, w->bt[j], 0, 2, n, x, step));
        expr other = once(k, row(k, w->bt[j], 1, 2, n, x, step));
        y[j * step] = scalar(k, CAB_EX_add, same, other);
        y[++j * step] = scalar(k, CAB_EX_sub, same, other);
    }
}

/* y = at x.  The powers of a pair are the same, or the negative ones: x[j] + x[j + 1]
 * and x[j] - x[j + 1] serve every row. */
static void line_out(cab_kernel *k, const cab_wino_axis *w, const expr *x, int step, expr *y)
{
    expr sum[CAB_WINO_LINE], difference[CAB_WINO_LINE];
    for (int j = 0; j < w->n; j++) {
        sum[j] = difference[j] = x[j * step];
        if (!is_pair(w, j))
            continue;
        sum[j] = once(k, scalar(k, CAB_EX_add, x[j * step], x[(j + 1) * step]));
        difference[j] = once(k, scalar(k, CAB_EX_sub, x[j * step], x[(j + 1) * step]));
        sum[j + 1] = difference[j + 1] = NULL;
        j++;
    }
    for (int i = 0; i < w->m; i++) {
        y[i * step] = NULL;
        for (int j = 0; j < w->n; j++)
            y[i * step] = plus(k, y[i * step], w->at[i][j], i % 2 ? difference[j] : sum[j]);
    }
}

/* Index of a tile: its image, its place along each spatial axis, its channel. */
typedef struct tile { cab_ix n, at[CAB_WINO_AXES], c, number; } tile;

/* Axes over images, tiles and channels, and the number of a tile. */
static bool make_axes(cab_kernel *k, const cab_dim *n, const cab_dim *const *tiles,
                      const cab_dim *channels, tile *t)
{
    const cab_dim *extent[] = { n, tiles[0], tiles[1], channels };
    cab_ix *ix[] = { &t->n, &t->at[0], &t->at[1], &t->c };
    static const char *const names[] = { "n", "th", "tw", "c" };
    for (int i = 0; i < 4; i++) {
        *ix[i] = cab_ix_zero(k);
        if (cab_dim_is(extent[i], 1))
            continue;
        int lax = cab_kernel_lax(k, CAB_AXIS_PAR, extent[i], names[i]);
        if (lax < 0)
            return false;
        *ix[i] = cab_ix_axis(k, lax);
    }
    t->number = t->n;
    for (int i = 0; i < CAB_WINO_AXES; i++) {
        t->number = cab_ix_scale(k, &t->number, tiles[i]);
        t->number = cab_ix_add(k, &t->number, &t->at[i]);
    }
    return k->state == CAB_KERNEL_OK;
}

/* Index of element (p, q) of a tile in a tensor [N, channels, spatial]. */
static void inside(cab_kernel *k, const cab_wino *w, const tile *t, const int64_t *pq, cab_ix *ix)
{
    ix[0] = t->n;
    ix[1] = t->c;
    for (int i = 0; i < w->n_axes; i++) {
        cab_ix x = cab_ix_scale(k, &t->at[i], cab_dim_const(k->l->d, w->axis[i].m));
        ix[i + 2] = cab_ix_shift(k, &x, cab_dim_const(k->l->d, pq[i]));
    }
}

/* Index of product i of a tile. */
static void product(cab_kernel *k, const tile *t, int i, cab_ix *ix)
{
    ix[0] = cab_ix_const(cab_dim_const(k->l->d, i));
    ix[1] = t->number;
    ix[2] = t->c;
}

void cab_lower_wino_in(cab_kernel *k, cab_value *v, const cab_place *to)
{
    const cab_node *n = v->def;
    cab_value *x = n->in[0];
    const cab_dim *tiles[CAB_WINO_AXES];
    const int64_t *pads;
    expr d[CAB_WINO_TILE], t[CAB_WINO_TILE], y[CAB_WINO_LINE];
    uint32_t guards = 0;
    cab_ix ix[CAB_WINO_AXES + 2];
    cab_wino w;
    tile at;
    CAB_ASSERT(cab_wino_of(n, &w));
    const cab_wino_axis *a = &w.axis[0], *b = &w.axis[1];
    cab_attr_ints(n, "pads_lo", &pads);
    for (int i = 0; i < CAB_WINO_AXES; i++)
        tiles[i] = cab_wino_tiles(k->l->d, &w, i, cab_wino_results(k->l->d, n, &w, i));
    if (!make_axes(k, x->type.dims[0], tiles, x->type.dims[1], &at))
        return;
    for (int i = 2; i < x->type.rank; i++)
        guards |= (uint32_t)!cab_halo_covers(k, n, i) << i;
    const cab_expr *zero = cab_ex_const(k->s, CAB_DT_f32, 0);
    for (int i = 0; i < w.products && k->state == CAB_KERNEL_OK; i++) {
        int64_t pq[] = { i / b->n - pads[0], i % b->n - (w.n_axes > 1 ? pads[1] : 0) };
        inside(k, &w, &at, pq, ix);
        d[i] = cab_lower_guarded(k, x, ix, guards, zero);
    }
    if (k->state != CAB_KERNEL_OK)
        return;
    for (int q = 0; q < b->n; q++)
        line_in(k, a, d + q, b->n, t + q);
    for (int i = 0; i < w.products; i++)
        t[i] = once(k, t[i]);
    for (int i = 0; i < w.products; i++) {
        if (i % b->n == 0)
            line_in(k, b, t + i, 1, y);
        product(k, &at, i, ix);
        int view = cab_kernel_view(k, to, &v->type, ix, true);
        cab_spec_store(k->s, 0, view, y[i % b->n]);
    }
}

const cab_node *cab_wino_out_of(const cab_lower *l, const cab_node *n)
{
    if (n->op->id == CAB_OP_wino_out || n->group <= 0)
        return n->op->id == CAB_OP_wino_out ? n : NULL;
    const cab_members *m = &l->groups[n->group];
    for (size_t i = 0; i < m->v.n; i++)
        if (m->v.p[i]->op->id == CAB_OP_wino_out)
            return m->v.p[i];
    return NULL;
}

/* Elements beyond the result are neither read nor written. */
static void guard(cab_kernel *k, const cab_ix *ix, const cab_dim *extent, int m)
{
    if (extent->divisor % m)
        k->guard[k->n_guards++] = (cab_spec_guard){ ix->at, extent };
}

/* Axis i of a member that follows the convolution is axis axis[i] of its result. */
typedef struct follower { bool yes; int axis[CAB_MAX_RANK]; } follower;

static follower identity(void)
{
    follower f = { .yes = true };
    for (int i = 0; i < CAB_MAX_RANK; i++)
        f.axis[i] = i;
    return f;
}

/* n reads v, which follows. */
static follower behind(const cab_node *n, const cab_value *v, const follower *from)
{
    const int64_t *perm;
    follower f = *from;
    f.yes = f.yes && v->type.rank == n->out[0]->type.rank;
    if (n->op->id == CAB_OP_transpose && f.yes) {
        cab_attr_ints(n, "perm", &perm);
        for (int i = 0; i < v->type.rank; i++)
            f.axis[i] = from->axis[perm[i]];
    } else if (!(n->op->traits & CAB_T_ELTWISE)) {
        f.yes = false;
    }
    return f;
}

/* Of v, the result of n or of the group of n. */
static follower follow(const cab_kernel *k, const cab_value *v, const cab_node *n)
{
    if (v->def == n)
        return identity();
    const cab_members *m = &k->l->groups[n->group];
    follower *known = CAB_NEW_N(k->l->c->scratch, follower, m->v.n);
    for (size_t i = 0; i < m->v.n; i++) {
        const cab_node *x = m->v.p[i];
        known[i] = (follower){ .yes = false };
        if (x == n)
            known[i] = identity();
        for (size_t j = 0; j < i; j++)
            for (int o = 0; o < x->n_in && !known[i].yes; o++)
                if (x->in[o] && x->in[o]->def == m->v.p[j])
                    known[i] = behind(x, x->in[o], &known[j]);
        if (x == v->def)
            return known[i];
    }
    return (follower){ .yes = false };
}

/* Result i of a tile, with what follows it, to its place. */
static void store(cab_kernel *k, const cab_wino *w, const tile *t, int i, cab_value *v, const follower *f,
                  const cab_type *y, const cab_place *to)
{
    int64_t pq[] = { i / w->axis[1].m, i % w->axis[1].m };
    cab_ix at[CAB_WINO_AXES + 2], ix[CAB_WINO_AXES + 2];
    inside(k, w, t, pq, at);
    k->wino_at = at;
    k->n_guards = 0;
    k->guard_id = ++k->guard_serial;
    for (int a = 0; a < w->n_axes; a++)
        guard(k, &at[a + 2], y->dims[a + 2], w->axis[a].m);
    for (int a = 0; a < y->rank; a++)
        ix[a] = at[f->axis[a]];
    const cab_expr *e = cab_lower_elem(k, v, ix);
    if (k->state != CAB_KERNEL_OK)
        return;
    int view = cab_kernel_view(k, to, &v->type, ix, true);
    cab_view *target = &k->s->views.p[view];
    target->n_guards = k->n_guards;
    for (int j = 0; j < k->n_guards; j++)
        target->guard[j] = k->guard[j];
    cab_spec_store(k->s, 0, view, cab_ex_cast(k->s, v->type.dtype, e));
}

void cab_lower_wino_out(cab_kernel *k, cab_value *v, const cab_place *to)
{
    const cab_node *n = cab_wino_out_of(k->l, v->def);
    const cab_type *y = &n->out[0]->type;
    const cab_dim *tiles[CAB_WINO_AXES];
    expr x[CAB_WINO_TILE], t[CAB_WINO_TILE], line[CAB_WINO_LINE];
    cab_ix ix[3];
    cab_wino w;
    tile at;
    follower f = follow(k, v, n);
    CAB_ASSERT(cab_wino_of(n, &w));
    const cab_wino_axis *a = &w.axis[0], *b = &w.axis[1];
    for (int i = 0; i < CAB_WINO_AXES; i++)
        tiles[i] = cab_wino_tiles(k->l->d, &w, i, i < w.n_axes ? y->dims[i + 2] : NULL);
    if (!f.yes || !make_axes(k, y->dims[0], tiles, y->dims[1], &at)) {
        cab_kernel_fail(k, "what follows the convolution changes its shape");
        return;
    }
    k->wino_rank = y->rank;
    for (int i = 0; i < w.products && k->state == CAB_KERNEL_OK; i++) {
        product(k, &at, i, ix);
        x[i] = cab_lower_elem(k, n->in[0], ix);
    }
    if (k->state != CAB_KERNEL_OK)
        return;
    for (int q = 0; q < b->n; q++)
        line_out(k, a, x + q, b->n, t + q);
    for (int i = 0; i < a->m * b->n; i++)
        t[i] = once(k, t[i]);
    for (int i = 0; i < w.out && k->state == CAB_KERNEL_OK; i++) {
        if (i % b->m == 0)
            line_out(k, b, t + i / b->m * b->n, 1, line);
        k->wino = line[i % b->m];
        store(k, &w, &at, i, v, &f, y, to);
    }
    k->n_guards = 0;
    k->wino = NULL;
}
