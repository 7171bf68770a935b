/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_red.c - one stage for all points of the tile: loops over its own axes.
 *
 * Accumulators travel as carried values.  Inner axes of constant extent are
 * unrolled within the Sched's budget.  Along a vectorised reduction axis there
 * are several vectors of partial sums, added up in a fixed order at the end;
 * what is left over runs masked, or into one scalar sum.  Stages whose points
 * follow each other (scans, scatters) walk their axes one step at a time.
 */
#include <math.h>
#include <string.h>
#include "codegen/gen_int.h"

enum {
    MAX_ACC = 2 * CAB_GEN_TILE,
    MOST_TAPS = 16             /* each with code of its own where they leave out rows */
};

/* One stage being generated. */
typedef struct run {
    cab_gen *g;
    int index;
    const cab_stage *st;
    int n_axes, axis[CAB_SPEC_AXES];
    int64_t unroll[CAB_SPEC_AXES];
    cab_window window[CAB_SPEC_AXES];   /* taps that may be left out; axis -1 = none */
    bool arg;                  /* accumulators are pairs: value, index */
    bool along;                /* the last axis is the vector axis */
    int parts;                 /* partial accumulators per point along it */
    int lanes;                 /* of the accumulators */
    int part;                  /* the one in use; parts = the scalar one */
    bool ragged;               /* g->mask cuts the current step */
    int n_acc;
    cab_dtype type;
} run;

static int points(const run *r) { return r->g->rows * r->g->cols; }

/* ---- one step ---- */

static cab_kv identity(run *r, int lanes)
{
    cab_gen *g = r->g;
    bool is_signed = cab_dtype_is_signed(r->type);
    int bits = r->type == CAB_DT_bool ? 1 : cab_dtype_bits(r->type);
    int64_t top = is_signed ? (int64_t)((UINT64_C(1) << (bits - 1)) - 1)
                            : (int64_t)(UINT64_MAX >> (64 - bits));
    cab_kv v;

    switch (r->st->red) {
    case CAB_RED_SUM: v = cab_gen_const(g, r->type, 0, 0); break;
    case CAB_RED_PROD: v = cab_gen_const(g, r->type, 1, 1); break;
    case CAB_RED_MAX: case CAB_RED_ARGMAX_FIRST: case CAB_RED_ARGMAX_LAST:
        v = cab_gen_const(g, r->type, -INFINITY, is_signed ? -top - 1 : 0);
        break;
    default: v = cab_gen_const(g, r->type, INFINITY, top);
    }
    return cab_k_splat(g->k, v, lanes);
}

static cab_kv combine(run *r, cab_kv x, cab_kv y)
{
    bool logical = r->type == CAB_DT_bool;
    cab_kop op;

    switch (r->st->red) {
    case CAB_RED_SUM: op = logical ? CAB_K_or : CAB_K_add; break;
    case CAB_RED_PROD: op = logical ? CAB_K_and : CAB_K_mul; break;
    case CAB_RED_MAX: op = logical ? CAB_K_or : CAB_K_max; break;
    default: op = logical ? CAB_K_and : CAB_K_min;
    }
    return cab_k_op2(r->g->k, op, x, y);
}

/* Row-major number of the point in the stage's axes. */
static cab_kv position(run *r)
{
    cab_gen *g = r->g;
    cab_kv v = cab_k_i64(g->k, 0);

    for (int d = 0; d < r->n_axes; d++) {
        v = cab_k_op2(g->k, CAB_K_mul, v, cab_gen_dim(g, g->s->axis[r->axis[d]].extent));
        v = cab_k_op2(g->k, CAB_K_add, v, cab_gen_index(g, r->axis[d]));
    }
    return v;
}

/* acc[0] = best value, acc[1] = its place.  A NaN beats every number. */
static void take_better(run *r, cab_kv x, cab_kv *acc)
{
    cab_kir *k = r->g->k;
    bool max = r->st->red == CAB_RED_ARGMAX_FIRST || r->st->red == CAB_RED_ARGMAX_LAST;
    bool last = r->st->red == CAB_RED_ARGMAX_LAST || r->st->red == CAB_RED_ARGMIN_LAST;
    int cmp = last ? CAB_KC_LE : CAB_KC_LT, lanes = cab_k_ins(k, acc[0])->lanes;
    cab_kv better, at = cab_k_splat(k, position(r), lanes);

    if (r->type == CAB_DT_bool) {
        cab_kv a = cab_k_cast(k, CAB_DT_u8, acc[0]), b = cab_k_cast(k, CAB_DT_u8, x);
        better = max ? cab_k_cmp(k, cmp, a, b) : cab_k_cmp(k, cmp, b, a);
    } else {
        better = max ? cab_k_cmp(k, cmp, acc[0], x) : cab_k_cmp(k, cmp, x, acc[0]);
    }
    if (cab_dtype_is_float(r->type)) {
        cab_kv nan = cab_k_cmp(k, CAB_KC_NE, x, x);
        cab_kv kept = cab_k_cmp(k, CAB_KC_EQ, acc[0], acc[0]);
        better = cab_k_op2(k, CAB_K_and, better, cab_k_cmp(k, CAB_KC_EQ, acc[0], acc[0]));
        better = cab_k_op2(k, CAB_K_or, better, last ? nan : cab_k_op2(k, CAB_K_and, nan, kept));
    }
    acc[0] = cab_k_select(k, better, x, acc[0]);
    acc[1] = cab_k_select(k, better, at, acc[1]);
}

static cab_kv spread(run *r, cab_kv v, int lanes)
{
    return cab_k_ins(r->g->k, v)->lanes == lanes ? v : cab_k_splat(r->g->k, v, lanes);
}

/* acc + x * y for a sum of products, else acc combined with the value. */
static cab_kv accumulate(run *r, cab_kv acc)
{
    cab_gen *g = r->g;
    const cab_expr *e = r->st->value;
    int lanes = cab_k_ins(g->k, acc)->lanes;
    cab_kv x, y;

    if (r->st->red == CAB_RED_SUM && e->op == CAB_EX_mul && cab_dtype_is_float(r->type) &&
        cab_gen_type(e->dtype) == r->type && !r->ragged) {
        x = spread(r, cab_gen_value(g, e->arg[0]), lanes);
        y = spread(r, cab_gen_value(g, e->arg[1]), lanes);
        return cab_k_fma(g->k, x, y, acc);
    }
    x = spread(r, cab_k_cast(g->k, r->type, cab_gen_value(g, e)), lanes);
    if (g->staged_by == r->index)
        cab_gen_store(g, g->staged_view, CAB_STORE_PLAIN, x);
    if (r->ragged)
        x = cab_k_select(g->k, g->mask, x, identity(r, lanes));
    return combine(r, acc, x);
}

/* The state after this step; this one or the one before it is stored. */
static cab_kv scan(run *r, cab_kv acc)
{
    cab_kv next = accumulate(r, acc);

    cab_gen_store(r->g, r->st->view, CAB_STORE_PLAIN, r->st->exclusive ? acc : next);
    return next;
}

/* The innermost body: every point of the tile takes one step. */
static void body(run *r, cab_kv *acc)
{
    cab_gen *g = r->g;
    int stride = r->n_acc / (points(r) ? points(r) : 1);

    for (int row = 0; row < g->rows; row++) {
        if (g->skipped >> row & 1)
            continue;
        for (int col = 0; col < g->cols; col++) {
            cab_kv *a = acc + (row * g->cols + col) * stride + r->part;
            cab_gen_point(g, row, col);
            if (r->st->kind == CAB_STAGE_STORE)
                cab_gen_store(g, r->st->view, r->st->mode, cab_gen_value(g, r->st->value));
            else if (r->st->kind == CAB_STAGE_SCAN)
                *a = scan(r, *a);
            else if (r->arg)
                take_better(r, spread(r, cab_k_cast(g->k, r->type,
                                                    cab_gen_value(g, r->st->value)), r->lanes), a);
            else
                *a = accumulate(r, *a);
        }
    }
}

/* ---- loops ---- */

static void loops(run *r, int d, cab_kv *acc);

static uint64_t all_rows(const cab_gen *g) { return UINT64_MAX >> (64 - g->rows); }

/* Does a step of that axis leave out rows of the tile? */
static bool skips_rows(const run *r, int d)
{
    const cab_gen *g = r->g;
    int axis = r->window[d].axis;

    return axis >= 0 && axis == g->sched->m_axis && g->sched->mr > 1;
}

/* The sums of rows that take part, which is all that a loop carries: out, or
 * back in. */
static int active(const run *r, cab_kv *all, cab_kv *some, bool back)
{
    int each = r->n_acc / (points(r) ? points(r) : 1) * r->g->cols, n = 0;

    for (int i = 0; i < r->n_acc; i++) {
        if (each && r->g->skipped >> (i / each) & 1)
            continue;
        *(back ? &all[i] : &some[n]) = back ? some[n] : all[i];
        n++;
    }
    return n;
}

static void start_loop(run *r, cab_kv lo, cab_kv hi, int64_t step, cab_kv *at, cab_kv *now)
{
    cab_kv some[MAX_ACC], carried[MAX_ACC];
    int n = active(r, now, some, false);

    *at = cab_k_loop(r->g->k, lo, hi, step, n, some, carried);
    active(r, now, carried, true);
}

static void end_loop(run *r, cab_kv *now, cab_kv *acc)
{
    cab_kv some[MAX_ACC], left[MAX_ACC];
    int n = active(r, now, some, false);

    cab_k_end(r->g->k, n, some, left);
    active(r, acc, left, true);
}

/* From lo to hi in rounds of n steps, `apart` axis steps from each other. */
static void rounds(run *r, int d, cab_kv lo, cab_kv hi, int64_t n, int64_t apart, cab_kv *acc)
{
    cab_gen *g = r->g;
    int axis = r->axis[d];
    int64_t distance = INT64_MAX;
    bool known = cab_gen_distance(g, lo, hi, &distance), loop = !known || distance > n * apart;
    cab_kv now[MAX_ACC], at = lo;
    cab_gen_state st = cab_gen_save(g);

    if (known && distance <= 0)
        return;
    memcpy(now, acc, (size_t)r->n_acc * sizeof *now);
    if (loop)
        start_loop(r, lo, hi, n * apart, &at, now);
    cab_gen_bind(g, axis, at);
    if (r->ragged)
        g->mask = cab_gen_tail(g, g->lanes, at, hi);
    for (int64_t u = 0; u < n; u++) {
        g->at[axis].off = u * apart;
        if (r->along && d == r->n_axes - 1 && g->lanes > 1)
            r->part = (int)u;
        if (!loop && skips_rows(r, d))
            g->skipped = st.skipped | cab_gen_window_rows(g, &r->window[d], u);
        if (g->skipped == all_rows(g))
            continue;
        loops(r, d + 1, now);
    }
    if (loop) {
        end_loop(r, now, acc);
    } else {                   /* loads of straight code stay usable */
        memcpy(acc, now, (size_t)r->n_acc * sizeof *now);
        st.loads = g->loads.n;
    }
    cab_gen_restore(g, &st);
}

static cab_kv quotient(cab_gen *g, cab_kv v, int64_t n)
{
    cab_kv by = cab_k_i64(g->k, n);
    return cab_k_op2(g->k, CAB_K_mul, cab_k_op2(g->k, CAB_K_div, v, by), by);
}

static void scalar_axis(run *r, int d, cab_kv *acc)
{
    cab_gen *g = r->g;
    cab_kv zero = cab_k_i64(g->k, 0);
    cab_kv hi = cab_gen_dim(g, g->s->axis[r->axis[d]].extent);
    cab_kv mid = quotient(g, hi, r->unroll[d]), lo;
    int64_t left;

    if (r->window[d].axis >= 0 && !skips_rows(r, d)) {
        cab_gen_window_taps(g, &r->window[d], r->axis[d], &lo, &hi);
        rounds(r, d, lo, hi, 1, 1, acc);
        return;
    }
    rounds(r, d, zero, mid, r->unroll[d], 1, acc);
    if (cab_gen_distance(g, mid, hi, &left))
        rounds(r, d, mid, hi, left, 1, acc);
    else if (r->unroll[d] > 1)
        rounds(r, d, mid, hi, 1, 1, acc);
}

/* Steps that fill no vector: masked, or one by one into the scalar sums. */
static void ragged_end(run *r, int d, cab_kv lo, cab_kv hi, cab_kv *acc)
{
    cab_gen *g = r->g;
    cab_gen_state st = cab_gen_save(g);

    if (g->masks) {
        r->ragged = true;
        rounds(r, d, lo, hi, 1, g->lanes, acc);
        r->ragged = false;
        return;
    }
    r->part = r->parts;
    g->lanes = 1;
    g->vec = -1;
    g->loads_from = g->loads.n;
    rounds(r, d, lo, hi, 1, 1, acc);
    r->part = 0;
    cab_gen_restore(g, &st);
}

static void vector_axis(run *r, int d, cab_kv *acc)
{
    cab_gen *g = r->g;
    int lanes = g->sched->lanes;
    int64_t tile = (int64_t)r->parts * lanes, n;
    cab_gen_state st = cab_gen_save(g);
    cab_kv zero = cab_k_i64(g->k, 0);
    cab_kv hi = cab_gen_dim(g, g->s->axis[r->axis[d]].extent);
    cab_kv mid = quotient(g, hi, tile), full = quotient(g, hi, lanes);

    g->lanes = lanes;
    g->vec = r->axis[d];
    g->loads_from = g->loads.n;
    rounds(r, d, zero, mid, r->parts, lanes, acc);
    if (cab_gen_distance(g, mid, full, &n)) {
        rounds(r, d, mid, full, n / lanes, lanes, acc);
        ragged_end(r, d, full, hi, acc);
    } else if (g->masks) {
        ragged_end(r, d, mid, hi, acc);
    } else {
        rounds(r, d, mid, full, 1, lanes, acc);
        ragged_end(r, d, full, hi, acc);
    }
    r->part = 0;
    cab_gen_restore(g, &st);
}

static void loops(run *r, int d, cab_kv *acc)
{
    if (d == r->n_axes)
        body(r, acc);
    else if (r->along && d == r->n_axes - 1)
        vector_axis(r, d, acc);
    else
        scalar_axis(r, d, acc);
}

/* ---- start and finish ---- */

/* The budget of `ku` steps unrolls whole inner axes, then a part of the next;
 * half of it where rows are left over: there are many such bodies, they run
 * once, and their code is compiled all the same. */
static void choose_unroll(run *r)
{
    int64_t budget = r->g->sched->ku > 1 ? r->g->sched->ku : 1;

    for (int d = r->n_axes - 1; d >= 0; d--) {
        const cab_dim *e = r->g->s->axis[r->axis[d]].extent;
        bool whole = cab_dim_is_const(e) && e->value > 0 && e->value <= budget;
        if (skips_rows(r, d)) {
            r->unroll[d] = e->value;
            budget = whole ? budget / e->value : 1;
            continue;
        }
        r->unroll[d] = whole ? e->value : r->g->rest && budget % 2 == 0 ? budget / 2 : budget;
        if (r->along && d == r->n_axes - 1)
            continue;
        budget = whole ? budget / e->value : 1;
    }
}

static bool few_taps(const cab_dim *n) { return cab_dim_is_const(n) && n->value <= MOST_TAPS; }

/* Which axes leave out taps.  The vectors' axis does not: its lanes differ. */
static void find_windows(run *r)
{
    const cab_gen *g = r->g;
    const cab_sched *c = g->sched;

    for (int d = 0; d < r->n_axes; d++) {
        cab_window *w = &r->window[d];
        bool found = c->skip && !(r->along && d == r->n_axes - 1) &&
                     cab_window_find(g->s, r->st, r->axis[d], w) && w->axis != g->vec;
        if (!found)
            w->axis = -1;
        else if (!(c->skip & (skips_rows(r, d) ? CAB_SKIP_ROWS : CAB_SKIP_LOOPS)))
            w->axis = -1;
        else if (skips_rows(r, d) && !few_taps(g->s->axis[r->axis[d]].extent))
            w->axis = -1;
    }
}

static run start(cab_gen *g, int index)
{
    const cab_stage *st = &g->s->stages.p[index];
    const cab_sched *c = g->sched;
    run r = { .g = g, .index = index, .st = st, .parts = 1, .lanes = 1 };
    uint32_t axes = st->axes;
    bool folds = st->kind != CAB_STAGE_STORE;

    r.arg = folds && st->red >= CAB_RED_ARGMAX_FIRST;
    r.along = !r.arg && !cab_stage_is_serial(g->s, st) && c->lanes > 1 &&
              g->s->axis[c->vec_axis].kind == CAB_AXIS_RED && (axes >> c->vec_axis & 1);
    for (int i = 0; i < g->s->n_axes; i++)
        if ((axes >> i & 1) && !(r.along && i == c->vec_axis))
            r.axis[r.n_axes++] = i;
    if (r.along) {
        r.axis[r.n_axes++] = c->vec_axis;
        r.parts = c->unroll > 1 ? c->unroll : 1;
        r.lanes = c->lanes;
    } else if (g->vec >= 0) {
        r.lanes = g->lanes;
    }
    r.type = folds ? cab_gen_type(st->acc) : CAB_DT_none;
    if (folds)
        r.n_acc = points(&r) * (r.arg ? 2 : r.parts + (r.along && !g->masks));
    CAB_ASSERT(r.n_acc <= MAX_ACC);
    find_windows(&r);
    choose_unroll(&r);
    return r;
}

static void start_accumulators(run *r, cab_kv *acc)
{
    int each = r->n_acc / points(r);

    for (int p = 0; p < points(r); p++) {
        cab_kv *a = acc + p * each;
        for (int i = 0; i < (r->arg ? 1 : each); i++)
            a[i] = identity(r, i == r->parts ? 1 : r->lanes);
        if (r->arg)
            a[1] = cab_k_const_i(r->g->k, CAB_DT_i64, r->lanes, 0);
    }
}

static int fold_of(const run *r)
{
    bool logical = r->type == CAB_DT_bool;

    switch (r->st->red) {
    case CAB_RED_SUM: return logical ? CAB_KF_OR : CAB_KF_ADD;
    case CAB_RED_PROD: return logical ? CAB_KF_AND : CAB_KF_MUL;
    case CAB_RED_MAX: return logical ? CAB_KF_OR : CAB_KF_MAX;
    default: return logical ? CAB_KF_AND : CAB_KF_MIN;
    }
}

/* Partial sums to one result, neighbours first. */
static cab_kv finish(run *r, cab_kv *a)
{
    cab_kv v;

    if (r->arg)
        return a[1];
    for (int n = r->parts; n > 1; n = (n + 1) / 2)
        for (int i = 0; i < n / 2; i++)
            a[i] = combine(r, a[i], a[n - 1 - i]);
    if (!r->along)
        return a[0];
    v = cab_k_fold(r->g->k, fold_of(r), a[0]);
    return r->g->masks ? v : combine(r, v, a[r->parts]);
}

/* Does e, other than through `but`, load along the axis? */
static bool loads_along(const cab_spec *s, cab_map *seen, const cab_expr *e,
                        const cab_expr *but, int axis, bool *found)
{
    if (e == but) {
        *found = true;
        return false;
    }
    if (cab_map_getu(seen, (uint64_t)(uintptr_t)e))
        return false;
    cab_map_setu(seen, (uint64_t)(uintptr_t)e, seen);
    if (e->op == CAB_EX_LOAD)
        return cab_gen_view_axes(s, e->u.index) >> axis & 1;
    for (int i = 0; i < 3 && e->arg[i]; i++)
        if (loads_along(s, seen, e->arg[i], but, axis, found))
            return true;
    return false;
}

bool cab_gen_find_staged(const cab_spec *s, int axis, int *by, int *view)
{
    int last = (int)s->stages.n - 1;
    const cab_stage *to = &s->stages.p[last], *from = to - 1;
    const cab_view *v = to->kind == CAB_STAGE_STORE ? &s->views.p[to->view] : NULL;
    bool found = false, other;

    if (last < 1 || !v || to->mode || from->kind != CAB_STAGE_REDUCE || from->red > CAB_RED_MIN ||
        to->axes != 1u << axis || from->axes != to->axes ||
        from->value->op < CAB_EX_exp || from->value->op > CAB_EX_erf)
        return false;
    if (v->n_guards || v->n_loaded || v->dtype != from->value->dtype ||
        from->acc != v->dtype || v->dtype != cab_gen_type(v->dtype) ||
        !v->at.coef[axis] || !cab_dim_is(v->at.coef[axis], 1))
        return false;
    /* Whatever else the last stage reads along the row could be the same
     * memory as the target, when the caller bound an output onto an input. */
    other = loads_along(s, cab_map_create(s->arena), to->value, from->value, axis, &found);
    *by = last - 1;
    *view = to->view;
    return found && !other;
}

/* The stores of a tile, row by row: what they compute stands in the code once,
 * not once a row.  The sums wait on the stack. */
static void store_rows(run *r)
{
    cab_gen *g = r->g;
    int axis = g->sched->m_axis, rows = g->rows, cols = g->cols;
    cab_gen_axis at = g->at[axis];
    cab_gen_state st = cab_gen_save(g);
    cab_dtype type = cab_gen_type(g->s->stages.p[0].acc);
    cab_kv *sums = g->results[0], kept[CAB_GEN_TILE], i, place;

    memcpy(kept, sums, sizeof kept);
    for (int p = 0; p < rows * cols; p++)
        cab_k_st(g->k, sums[p], g->sums, cab_k_i64(g->k, (int64_t)p * g->lanes), 0, -1);
    i = cab_k_loop(g->k, cab_k_i64(g->k, 0), cab_k_i64(g->k, rows), 1, 0, NULL, NULL);
    cab_gen_bind(g, axis, i);
    g->at[axis].base = cab_k_op2(g->k, CAB_K_add, at.base, i);
    g->rows = 1;
    g->loads_from = g->loads.n;
    place = cab_k_op2(g->k, CAB_K_mul, i, cab_k_i64(g->k, (int64_t)cols * g->lanes));
    for (int c = 0; c < cols; c++) {
        cab_kv n = cab_k_i64(g->k, (int64_t)c * g->lanes);
        sums[c] = cab_k_ld(g->k, type, g->lanes, g->sums, cab_k_op2(g->k, CAB_K_add, place, n), 0, -1);
    }
    body(r, NULL);
    cab_k_end(g->k, 0, NULL, NULL);
    memcpy(sums, kept, sizeof kept);
    cab_gen_restore(g, &st);
}

void cab_gen_stage(cab_gen *g, int index)
{
    run r = start(g, index);
    cab_kv acc[MAX_ACC];

    g->stage = index;
    if (r.st->kind == CAB_STAGE_STORE) {
        if (g->sums >= 0 && g->rows > 1)
            store_rows(&r);
        else
            loops(&r, 0, acc);
        return;
    }
    start_accumulators(&r, acc);
    loops(&r, 0, acc);
    for (int p = 0; p < points(&r) && r.st->kind == CAB_STAGE_REDUCE; p++)
        g->results[index][p] = finish(&r, acc + p * (r.n_acc / points(&r)));
}
