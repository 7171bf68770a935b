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

typedef const double (*matrix)[CAB_WINO_LINE];

/* sum of m[p] * x[p * step], without the terms that are 0 and the products by 1. */
static const cab_expr *row(cab_kernel *k, const double *m, int n, const cab_expr *const *x, int step)
{
    const cab_expr *sum = NULL;
    for (int p = 0; p < n; p++) {
        const cab_expr *t = x[p * step];
        double c = m[p];
        bool minus = sum && c < 0;
        if (c == 0)
            continue;
        c = minus ? -c : c;
        if (c != 1)
            t = cab_ex_scalar(k->s, CAB_EX_mul, CAB_DT_f32, t, cab_ex_const(k->s, CAB_DT_f32, c),
                              NULL);
        sum = !sum ? t : cab_ex_scalar(k->s, minus ? CAB_EX_sub : CAB_EX_add, CAB_DT_f32, sum, t,
                                       NULL);
    }
    return sum;
}

/* The first half: t[i][q] of rows x n, as results of stages, from x of `columns`. */
static void first_half(cab_kernel *k, matrix m, int rows, int n, int columns,
                       const cab_expr *const *x, const cab_expr **t)
{
    for (int i = 0; i < rows; i++)
        for (int q = 0; q < columns; q++) {
            const cab_expr *e = row(k, m[i], n, x + q, columns);
            int stage = cab_spec_reduce(k->s, 0, CAB_RED_SUM, CAB_DT_f32, e);
            t[i * columns + q] = cab_ex_result(k->s, stage);
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
    const cab_expr *d[CAB_WINO_TILE], *t[CAB_WINO_TILE];
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
    first_half(k, a->bt, a->n, a->n, b->n, d, t);
    for (int i = 0; i < w.products; i++) {
        product(k, &at, i, ix);
        int view = cab_kernel_view(k, to, &v->type, ix, true);
        cab_spec_store(k->s, 0, view, row(k, b->bt[i % b->n], b->n, t + i / b->n * b->n, 1));
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
    const cab_expr *x[CAB_WINO_TILE], *t[CAB_WINO_TILE];
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
    first_half(k, a->at, a->m, a->n, b->n, x, t);
    for (int i = 0; i < w.out && k->state == CAB_KERNEL_OK; i++) {
        k->wino = row(k, b->at[i % b->m], b->n, t + i / b->m * b->n, 1);
        store(k, &w, &at, i, v, &f, y, to);
    }
    k->n_guards = 0;
    k->wino = NULL;
}
