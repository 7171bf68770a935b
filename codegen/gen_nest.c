/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_nest.c - loops over the parallel axes, tiles and their ragged ends.
 *
 * Each level of the nest is one parallel axis.  The row axis advances by whole
 * tiles of rows, the vector axis by whole tiles of vectors; what is left over
 * runs in bodies of the exact remaining size where that is known, else in
 * smaller bodies, masked vectors or single elements.
 */
#include <string.h>
#include "codegen/gen_int.h"

enum {
    PIPELINE = 8,              /* multiplications under way at once */
    EXACT_ROWS = 8,            /* largest tile that gets bodies for every rest */
    AGAIN_ROWS = 5             /* largest of them where b is read again anyway */
};

/* Form of the tile inside a level. */
typedef struct shape { int rows, cols, lanes; bool masked; } shape;

static cab_kv i64(cab_gen *g, int64_t v) { return cab_k_i64(g->k, v); }
static cab_kv add(cab_gen *g, cab_kv x, cab_kv y) { return cab_k_op2(g->k, CAB_K_add, x, y); }

cab_gen_state cab_gen_save(cab_gen *g)
{
    cab_gen_state st = { .lanes = g->lanes, .vec = g->vec, .rows = g->rows, .cols = g->cols,
                         .tail = g->tail, .mask = g->mask, .point = g->point, .from_left = g->from_left,
                         .to_left = g->to_left, .skipped = g->skipped, .loads = g->loads.n,
                         .loads_from = g->loads_from };

    memcpy(st.at, g->at, sizeof st.at);
    st.sums = CAB_NEW_N(g->arena, cab_kv, g->n_affines);
    for (int i = 0; i < g->n_affines; i++)
        st.sums[i] = g->affines[i].sum;
    return st;
}

void cab_gen_restore(cab_gen *g, const cab_gen_state *st)
{
    memcpy(g->at, st->at, sizeof st->at);
    for (int i = 0; i < g->n_affines; i++)
        g->affines[i].sum = st->sums[i];
    g->lanes = st->lanes;
    g->vec = st->vec;
    g->rows = st->rows;
    g->cols = st->cols;
    g->tail = st->tail;
    g->mask = st->mask;
    g->point = st->point;
    g->from_left = st->from_left;
    g->to_left = st->to_left;
    g->skipped = st->skipped;
    g->loads.n = st->loads;
    g->loads_from = st->loads_from;
}

/* Where a column (of a whole tile: its first) stands in a packed operand. */
static cab_kv panel_of(cab_gen *g, cab_kv base)
{
    const cab_gen_panels *p = &g->panels;
    cab_kv n = i64(g, p->cols), panel, column;

    if (p->whole)
        return cab_k_op2(g->k, CAB_K_mul, base, i64(g, p->stride / p->cols));
    panel = cab_k_op2(g->k, CAB_K_div, base, n);
    column = cab_k_op2(g->k, CAB_K_sub, base, cab_k_op2(g->k, CAB_K_mul, panel, n));
    return add(g, cab_k_op2(g->k, CAB_K_mul, panel, i64(g, p->stride)), column);
}

static void enter_panel(cab_gen *g, cab_gen_affine *f, cab_kv base)
{
    cab_gen_panels *p = &g->panels;
    cab_kv at = panel_of(g, base);

    f->sum = add(g, f->sum, at);
    for (int64_t n = g->sched->lanes; n < p->cols && !p->whole && !p->inside; n += g->sched->lanes)
        p->right[n] = cab_k_op2(g->k, CAB_K_sub, panel_of(g, add(g, base, i64(g, n))), at);
}

void cab_gen_bind(cab_gen *g, int axis, cab_kv base)
{
    g->at[axis] = (cab_gen_axis){ base, 0 };
    for (int i = 0; i < g->n_affines; i++) {
        cab_gen_affine *f = &g->affines[i];
        const cab_dim *c = f->f->coef[axis];
        if (f->packed && axis == g->panels.axis)
            enter_panel(g, f, base);
        else if (c)
            f->sum = add(g, f->sum, cab_k_op2(g->k, CAB_K_mul, base, cab_gen_dim(g, c)));
    }
}

bool cab_gen_distance(const cab_gen *g, cab_kv lo, cab_kv hi, int64_t *out)
{
    const cab_kins *l = cab_k_ins(g->k, lo), *h = cab_k_ins(g->k, hi);
    int64_t x, y;

    if (lo == hi) {
        *out = 0;
        return true;
    }
    if (cab_k_is_const(g->k, lo, &x) && cab_k_is_const(g->k, hi, &y)) {
        *out = y - x;
        return true;
    }
    /* lo = base + x, hi = base + y */
    if (l->op == CAB_K_add && h->op == CAB_K_add && l->a == h->a &&
        cab_k_is_const(g->k, l->b, &x) && cab_k_is_const(g->k, h->b, &y)) {
        *out = y - x;
        return true;
    }
    return h->op == CAB_K_add && h->a == lo && cab_k_is_const(g->k, h->b, out);
}

cab_kv cab_gen_tail(cab_gen *g, int lanes, cab_kv at, cab_kv hi)
{
    cab_kv left = cab_k_cast(g->k, CAB_DT_i32, cab_k_op2(g->k, CAB_K_sub, hi, at));

    return cab_k_cmp(g->k, CAB_KC_LT, cab_k_iota(g->k, CAB_DT_i32, lanes),
                     cab_k_splat(g->k, left, lanes));
}

void cab_gen_point(cab_gen *g, int row, int col)
{
    g->row = row;
    g->col = col;
    if (g->sched->mr > 1)
        g->at[g->sched->m_axis].off = row;
    if (g->vec < 0 || g->s->axis[g->vec].kind == CAB_AXIS_RED)
        return;
    g->at[g->vec].off = (int64_t)col * g->lanes;
    g->mask = col == g->cols - 1 ? g->tail : -1;
}

/* Runs the level's axis from lo to hi by step with that tile inside. */
static void span(cab_gen *g, int d, cab_kv lo, cab_kv hi, int64_t step, shape t)
{
    int axis = g->level[d].axis;
    int64_t distance = INT64_MAX;
    bool known = cab_gen_distance(g, lo, hi, &distance), loop = !known || distance > step;
    cab_gen_state st = cab_gen_save(g);

    if (known && distance <= 0)
        return;
    cab_gen_bind(g, axis, loop ? cab_k_loop(g->k, lo, hi, step, 0, NULL, NULL) : lo);
    if (t.rows != g->rows || t.cols != g->cols || t.lanes != g->lanes || t.masked)
        g->loads_from = g->loads.n;
    g->rows = t.rows;
    g->cols = t.cols;
    g->lanes = t.lanes;
    g->vec = t.lanes > 1 ? g->sched->vec_axis : -1;
    if (t.masked)
        g->from_left = cab_k_op2(g->k, CAB_K_sub, hi, g->at[axis].base);
    if (t.masked)
        g->tail = cab_gen_tail(g, t.lanes,
                               add(g, g->at[axis].base, i64(g, (t.cols - 1) * t.lanes)), hi);
    cab_gen_nest(g, d + 1);
    if (loop)
        cab_k_end(g->k, 0, NULL, NULL);
    cab_gen_restore(g, &st);
}

/* lo + the multiple of step that fits below hi. */
static cab_kv whole(cab_gen *g, cab_kv lo, cab_kv hi, int64_t step)
{
    cab_kv n = cab_k_op2(g->k, CAB_K_div, cab_k_op2(g->k, CAB_K_sub, hi, lo), i64(g, step));

    return add(g, lo, cab_k_op2(g->k, CAB_K_mul, n, i64(g, step)));
}

/* hi - lo modulo tile, if every task's range has that or 0; -1 when unknown. */
static int64_t remainder_of(const cab_gen *g, int d, int64_t tile)
{
    const cab_dim *e = g->s->axis[g->level[d].axis].extent;

    if (g->level[d].block % tile)
        return -1;
    if (e->divisor % tile == 0)
        return 0;
    return cab_dim_is_const(e) ? e->value % tile : -1;
}

/* ---- rows ---- */

static void rows_of(cab_gen *g, int d, cab_kv lo, cab_kv hi, int rows)
{
    span(g, d, lo, hi, rows, (shape){ rows, g->cols, g->lanes, false });
}

/* How rows that fill no tile are cut: up to `most` (< mr) in one body of their
 * number, more in two of about half; up to `shared` are so few that their sums
 * would not fill the pipeline of the multipliers, and take the last whole tile
 * along: 8 + 1 rows run as 5 + 4. */
typedef struct cut { int most, shared; } cut;

static cut choose_cut(const cab_gen *g, int d)
{
    int mr = g->sched->mr, few = (PIPELINE - 1) / (g->cols > 1 ? g->cols : 1), fit;
    bool again = d > 0 && g->level[d - 1].axis != g->sched->n_axis;
    cut c = { mr - 1, 0 };

    /* Inside another loop over rows the columns of b are near: two bodies read
     * them as cheaply as one, and there is less to compile. */
    if (again && c.most > AGAIN_ROWS)
        c.most = AGAIN_ROWS;
    fit = 2 * c.most - mr;
    c.shared = few < fit ? few : fit;
    return c;
}

/* Bodies of that many rows in what is left: 0, 1 or 2.  left is below mr, or
 * mr + 1 .. mr + shared. */
static cab_kv count_bodies(cab_gen *g, cab_kv left, int rows, const cut *c)
{
    int mr = g->sched->mr;
    cab_kv n = i64(g, 0);

    for (int l = mr + c->shared; l >= rows; l--) {
        int big = l > c->most ? (l + 1) / 2 : l, small = l > c->most ? l / 2 : 0;
        int times = (big == rows) + (small == rows);
        if (times && l != mr)
            n = cab_k_select(g->k, cab_k_cmp(g->k, CAB_KC_EQ, left, i64(g, l)), i64(g, times), n);
    }
    return n;
}

/* Whole tiles, and bodies of the exact size. */
static void exact_rows(cab_gen *g, int d, cab_kv lo, cab_kv hi)
{
    int mr = g->sched->mr;
    cut c = choose_cut(g, d);
    cab_kv tile = i64(g, mr), at = whole(g, lo, hi, mr);
    cab_kv left = cab_k_op2(g->k, CAB_K_sub, hi, at), few, some, back;

    few = cab_k_cmp(g->k, CAB_KC_LE, left, i64(g, c.shared));
    few = cab_k_op2(g->k, CAB_K_and, few, cab_k_cmp(g->k, CAB_KC_LT, i64(g, 0), left));
    some = cab_k_cmp(g->k, CAB_KC_LT, lo, at);
    back = cab_k_select(g->k, cab_k_op2(g->k, CAB_K_and, few, some), tile, i64(g, 0));
    at = cab_k_op2(g->k, CAB_K_sub, at, back);
    left = add(g, left, back);
    rows_of(g, d, lo, at, mr);
    g->rest = true;
    for (int rows = c.most; rows > 0; rows--) {
        cab_kv n = count_bodies(g, left, rows, &c);
        cab_kv end = add(g, at, cab_k_op2(g->k, CAB_K_mul, n, i64(g, rows)));
        rows_of(g, d, at, end, rows);
        at = end;
    }
    g->rest = false;
}

/* In tiles of mr, then 4, then one by one: sliding windows, whose code is long
 * and shares only loads. */
static void fewer_rows(cab_gen *g, int d, cab_kv lo, cab_kv hi)
{
    int mr = g->sched->mr, small = mr > 4 ? 4 : 1;
    cab_kv mid = whole(g, lo, hi, mr);

    rows_of(g, d, lo, mid, mr);
    if (small > 1)
        rows_of(g, d, mid, whole(g, mid, hi, small), small);
    rows_of(g, d, small > 1 ? whole(g, mid, hi, small) : mid, hi, 1);
}

/* That many tiles of a size. */
typedef struct tiles { int64_t n, size; } tiles;

static void take_tiles(cab_gen *g, int d, cab_kv *at, int64_t n, tiles *t)
{
    cab_kv end = add(g, *at, i64(g, n * t->size));

    rows_of(g, d, *at, end, (int)t->size);
    *at = end;
    t->n -= n;
}

/* Balanced: two sizes at most.  At the border of the operand each tile has code
 * of its own. */
static void even_rows(cab_gen *g, int d, cab_kv at, int64_t n)
{
    int64_t count = (n + g->sched->mr - 1) / g->sched->mr, base;
    tiles t[2] = { { n % count, n / count + 1 }, { count - n % count, n / count } };
    bool border = cab_gen_rows_at_border(g) && cab_k_is_const(g->k, at, &base);
    int first = t[0].n == 0, last = t[1].n > 0;

    if (border)
        take_tiles(g, d, &at, 1, &t[first]);
    for (int i = first; i <= last; i++)
        take_tiles(g, d, &at, t[i].n - (border && i == last && t[i].n > 0), &t[i]);
    if (t[last].n > 0)
        take_tiles(g, d, &at, 1, &t[last]);
}

static void row_level(cab_gen *g, int d, cab_kv lo, cab_kv hi)
{
    int mr = g->sched->mr;
    int64_t n, left = remainder_of(g, d, mr);
    cab_kv mid;

    if (cab_gen_distance(g, lo, hi, &n)) {
        if (n > 0)
            even_rows(g, d, lo, n);
        return;
    }
    if (left >= 0) {
        mid = whole(g, lo, hi, mr);
        rows_of(g, d, lo, mid, mr);
        if (left > 0)
            rows_of(g, d, mid, hi, (int)left);
    } else if (g->sched->n_block > 0 && mr <= EXACT_ROWS) {   /* a contraction */
        exact_rows(g, d, lo, hi);
    } else {
        fewer_rows(g, d, lo, hi);
    }
}

/* ---- vectors ---- */

/* The last `left` (< tile) steps, from lo. */
static void known_rest(cab_gen *g, int d, cab_kv lo, cab_kv hi, int64_t left)
{
    int lanes = g->sched->lanes, full = (int)(left / lanes);
    bool ragged = left % lanes != 0;
    cab_kv mid = add(g, lo, i64(g, full * lanes));

    if (!ragged || g->masks) {
        int cols = full + ragged;
        span(g, d, lo, hi, (int64_t)cols * lanes, (shape){ g->rows, cols, lanes, ragged });
        return;
    }
    if (full)
        span(g, d, lo, mid, (int64_t)full * lanes, (shape){ g->rows, full, lanes, false });
    span(g, d, mid, hi, 1, (shape){ g->rows, 1, 1, false });
}

static void unknown_rest(cab_gen *g, int d, cab_kv lo, cab_kv hi)
{
    int lanes = g->sched->lanes;
    cab_kv mid = lo;

    if (g->masks) {
        span(g, d, lo, hi, lanes, (shape){ g->rows, 1, lanes, true });
        return;
    }
    if (g->sched->nv > 1 && g->sched->turn != CAB_TURN_VECTORS) {
        mid = whole(g, lo, hi, lanes);
        span(g, d, lo, mid, lanes, (shape){ g->rows, 1, lanes, false });
    }
    span(g, d, mid, hi, 1, (shape){ g->rows, 1, 1, false });
}

static void vector_level(cab_gen *g, int d, cab_kv lo, cab_kv hi)
{
    bool turns = g->sched->turn == CAB_TURN_VECTORS;
    int cols = g->sched->nv > 1 && !turns ? g->sched->nv : 1, lanes = g->sched->lanes;
    int64_t tile = (int64_t)cols * lanes, n, left = remainder_of(g, d, tile);
    bool known = cab_gen_distance(g, lo, hi, &n);
    cab_kv mid = known ? add(g, lo, i64(g, n / tile * tile)) : whole(g, lo, hi, tile);

    left = known ? n % tile : left;
    span(g, d, lo, left == 0 ? hi : mid, tile, (shape){ g->rows, cols, lanes, false });
    if (left > 0)
        known_rest(g, d, mid, hi, left);
    else if (left < 0)
        unknown_rest(g, d, mid, hi);
}

/* The axis that turned tiles store along. */
static void turned_level(cab_gen *g, int d, cab_kv lo, cab_kv hi)
{
    int64_t n = g->sched->nv, left = remainder_of(g, d, n);
    cab_kv mid = left == 0 ? hi : whole(g, lo, hi, n);
    shape t = { 1, 1, g->lanes, false };
    cab_gen_state st = cab_gen_save(g);

    span(g, d, lo, mid, n, t);
    if (left == 0)
        return;
    g->to_left = cab_k_op2(g->k, CAB_K_sub, hi, mid);
    span(g, d, mid, hi, n, t);
    cab_gen_restore(g, &st);
}

void cab_gen_nest(cab_gen *g, int d)
{
    const cab_sched *c = g->sched;
    int axis;

    if (d == g->n_levels) {
        if (c->n_block > 0 && c->mr > 1 && g->rows > 1)
            cab_gen_prefetch_stores(g);
        if (c->n_block > 0)
            cab_gen_look_ahead(g);
        for (size_t i = 0; i < g->s->stages.n; i++)
            if (cab_gen_turns(g))
                cab_gen_turn(g, (int)i);
            else
                cab_gen_stage(g, (int)i);
        return;
    }
    axis = g->level[d].axis;
    if (c->lanes > 1 && axis == c->vec_axis)
        vector_level(g, d, g->lo[d], g->hi[d]);
    else if (cab_gen_turns(g) && axis == c->n_axis)
        turned_level(g, d, g->lo[d], g->hi[d]);
    else if (c->mr > 1 && axis == c->m_axis)
        row_level(g, d, g->lo[d], g->hi[d]);
    else
        span(g, d, g->lo[d], g->hi[d], 1,
             (shape){ g->rows, g->cols, g->lanes, false });
}
