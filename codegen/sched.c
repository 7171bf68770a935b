/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched.c - how a Spec runs: the cost model that picks a cab_sched.
 *
 * Costs are counted in vector instructions per call.  Sums of products go to
 * sched_contract.c; for the rest the model tries every axis as the vector
 * axis, prefers unit strides, and cuts the outer axes into tasks of a few
 * microseconds.  Unknown extents count as SYMBOLIC steps.  The choice depends
 * only on the Spec, the target and what is constant.
 */
#include <math.h>
#include <string.h>
#include "codegen/sched_int.h"

/* Parts of all taps that are worth leaving out: in loops, where only the bounds
 * change, and from rows of tiles, whose code is then longer. */
#define SKIP_LOOPS 0.005
#define SKIP_ROWS 0.03

enum {
    TASK_COST = 6000,          /* vector instructions worth a task */
    WINDOW_TASK_COST = 20000,  /* a tile shares loads of a window that are counted for each row */
    MANY_STAGES = 16,
    SUM_ROWS = 4               /* rows of a sum of products along the lanes */
};

double cab_sched_extent(const cab_spec *s, int axis)
{
    const cab_dim *e = s->axis[axis].extent;

    if (cab_dim_is_const(e))
        return (double)e->value;
    return e->hi < SYMBOLIC ? (double)e->hi : SYMBOLIC;
}

double cab_sched_points(const cab_spec *s, uint32_t axes)
{
    double n = 1;

    for (int i = 0; i < s->n_axes; i++)
        if (axes >> i & 1)
            n *= cab_sched_extent(s, i);
    return n;
}

uint32_t cab_sched_par(const cab_spec *s)
{
    uint32_t m = 0;

    for (int i = 0; i < s->n_axes; i++)
        m |= (uint32_t)(s->axis[i].kind == CAB_AXIS_PAR) << i;
    return m;
}

/* ---- expressions: weight, widths, accesses ---- */

typedef struct survey {
    const cab_spec *s;
    cab_map *seen;
    int axis;                  /* the vector axis asked about */
    int packed;                /* view that is packed along it, -1 = none */
    double weight;             /* arithmetic per point */
    double unit, strided;      /* accesses by kind, per point */
    int bytes;                 /* widest value computed */
} survey;

static double weight_of(cab_expr_op op)
{
    if (op >= CAB_EX_exp && op <= CAB_EX_erf)
        return 12;
    if (op == CAB_EX_pow || op == CAB_EX_mod || op == CAB_EX_rem)
        return 40;
    return op >= CAB_EX_SCALAR_ ? 1 : 0;
}

static void survey_expr(survey *v, const cab_expr *e);

static void survey_view(survey *v, int view)
{
    const cab_view *w = &v->s->views.p[view];
    const cab_dim *c = w->at.coef[v->axis];
    bool strided = c && !cab_dim_is(c, 1);

    v->weight += 2 * w->n_guards;
    for (int i = 0; i < w->n_loaded; i++)
        strided |= cab_gen_expr_axes(v->s, w->loaded[i].index) >> v->axis & 1;
    *(strided && view != v->packed ? &v->strided : &v->unit) += 1;
}

static void survey_expr(survey *v, const cab_expr *e)
{
    int bytes = cab_dtype_bits(cab_gen_type(e->dtype)) / 8;

    if (cab_map_getu(v->seen, (uint64_t)(uintptr_t)e))
        return;
    cab_map_setu(v->seen, (uint64_t)(uintptr_t)e, v->seen);
    v->weight += weight_of(e->op);
    if (e->dtype != CAB_DT_bool && bytes > v->bytes)
        v->bytes = bytes;
    if (e->op == CAB_EX_LOAD)
        survey_view(v, e->u.index);
    for (int i = 0; i < 3 && e->arg[i]; i++)
        survey_expr(v, e->arg[i]);
}

static survey survey_stage(const cab_spec *s, int stage, int axis, int packed)
{
    const cab_stage *st = &s->stages.p[stage];
    survey v = { .s = s, .seen = cab_map_create(s->arena), .axis = axis, .packed = packed,
                 .bytes = 1 };

    survey_expr(&v, st->value);
    if (st->kind != CAB_STAGE_REDUCE)
        survey_view(&v, st->view);
    if (st->kind == CAB_STAGE_STORE) {
        v.weight += st->mode ? 1 : 0;
        v.unit += st->mode ? 1 : 0;
    } else if (st->red >= CAB_RED_ARGMAX_FIRST) {
        v.weight += 6;
        v.bytes = 8;
    } else {
        int bytes = cab_dtype_bits(cab_gen_type(st->acc)) / 8;
        v.weight += 1;
        v.bytes = bytes > v.bytes ? bytes : v.bytes;
    }
    return v;
}

double cab_sched_weight(const cab_spec *s, int stage)
{
    return survey_stage(s, stage, 0, -1).weight;
}

/* ---- the vector axis ---- */

static int lanes_for(const cab_spec *s, const cab_target *t, int axis)
{
    int bytes = 1, lanes;
    const cab_dim *e = s->axis[axis].extent;

    for (size_t i = 0; i < s->stages.n; i++) {
        survey v = survey_stage(s, (int)i, axis, -1);
        bytes = v.bytes > bytes ? v.bytes : bytes;
    }
    lanes = t->vector_bytes / bytes;
    while (cab_dim_is_const(e) && lanes / 2 >= e->value && lanes > 2)
        lanes /= 2;
    return lanes > CAB_KIR_MAX_LANES ? CAB_KIR_MAX_LANES : lanes;
}

/* A constant factor of a product whose elements along the axis are apart can
 * be packed: its view, -1 = none. */
static int find_packed(const cab_spec *s, const bool *constant, int axis, int lanes, int *swap)
{
    cab_contraction c;
    cab_pack p;

    if (!constant || !cab_contraction_find(s, &c))
        return -1;
    for (*swap = 0; *swap < 2; ++*swap) {
        const cab_dim *d = s->views.p[c.b].at.coef[axis];
        if (constant[s->views.p[c.b].operand] && d && !cab_dim_is(d, 1) &&
            cab_contraction_pack(s, &c, axis, &p) && lanes <= p.dims[p.lo])
            return c.b;
        cab_contraction_swap(s, &c);
    }
    return -1;
}

/* Cost of all stages with that axis along the lanes; axis -1 is scalar. */
static double cost(const cab_spec *s, int axis, int lanes, int packed)
{
    double total = 0, extent = axis >= 0 ? cab_sched_extent(s, axis) : 1;
    bool red = axis >= 0 && s->axis[axis].kind == CAB_AXIS_RED;
    double rounds = axis >= 0 ? ceil(extent / lanes) : 1;
    double full = axis >= 0 && extent > 0 ? extent / rounds : 1;   /* lanes in use */

    for (size_t i = 0; i < s->stages.n; i++) {
        const cab_stage *st = &s->stages.p[i];
        survey v = survey_stage(s, (int)i, axis < 0 ? 0 : axis, packed);
        double points = cab_sched_points(s, cab_sched_par(s) | st->axes);
        bool arg = st->kind == CAB_STAGE_REDUCE && st->red >= CAB_RED_ARGMAX_FIRST;
        double each = v.weight + v.unit + v.strided;
        if (axis >= 0 && !(red && (arg || !(st->axes >> axis & 1)))) {
            each = (v.weight + v.unit) / full + v.strided * 1.6;
            if (red && st->kind == CAB_STAGE_REDUCE)
                points += cab_sched_points(s, cab_sched_par(s)) * 10 / (each > 0 ? each : 1);
        }
        total += points * each;
    }
    return total;
}

/* Some stage takes the steps of that axis one by one. */
static bool is_serial(const cab_spec *s, int axis)
{
    for (size_t i = 0; i < s->stages.n; i++)
        if ((s->stages.p[i].axes >> axis & 1) && cab_stage_is_serial(s, &s->stages.p[i]))
            return true;
    return false;
}

/* Fills in the vector axis and what is packed along it. */
static bool choose_axis(const cab_spec *s, const cab_target *t, const bool *constant,
                        cab_sched *out, double *best)
{
    bool found = false;

    *best = cost(s, -1, 1, -1) * 0.8;
    for (int i = 0; i < s->n_axes; i++) {
        int lanes = lanes_for(s, t, i), swap = 0;
        int packed = find_packed(s, constant, i, lanes, &swap);
        double c = cost(s, i, lanes, packed);
        if (c < *best && !is_serial(s, i)) {
            *best = c;
            *out = (cab_sched){ .vec_axis = i, .lanes = lanes, .pack_b = packed >= 0,
                                .swap = packed >= 0 && swap };
            found = true;
        }
    }
    return found;
}

/* ---- tiles ---- */

static double stage_weight(const cab_spec *s)
{
    double w = 0;

    for (size_t i = 0; i < s->stages.n; i++) {
        double v = cab_sched_weight(s, (int)i);
        w = v > w ? v : w;
    }
    return w;
}

static int64_t static_red(const cab_spec *s)
{
    int64_t n = 1;

    for (int i = 0; i < s->n_axes; i++) {
        const cab_dim *e = s->axis[i].extent;
        if (s->axis[i].kind == CAB_AXIS_PAR)
            continue;
        if (!cab_dim_is_const(e) || e->value <= 0 || e->value > 64)
            return 0;
        n *= e->value;
        if (n > 64)
            return 0;
    }
    return n;
}

/* Several neighbours of a sliding window share its loads: pick the axis that
 * walks the window together with a reduction axis. */
static int window_axis(const cab_spec *s, int vec)
{
    int found = -1;

    for (size_t i = 0; i < s->views.n; i++) {
        const cab_affine *f = &s->views.p[i].at;
        uint32_t red = cab_gen_view_axes(s, (int)i) & ~cab_sched_par(s);
        for (int a = 0; red && a < s->n_axes; a++)
            if (a != vec && s->axis[a].kind == CAB_AXIS_PAR && f->coef[a] &&
                cab_sched_extent(s, a) >= 2)
                found = a;
    }
    return found;
}

/* Lanes along a sum of products: rows share what b loads, and their sums hide
 * the latency of the multipliers. */
static void choose_rows(const cab_spec *s, cab_sched *out)
{
    cab_contraction c;

    if (!cab_contraction_find(s, &c))
        return;
    if (out->swap)
        cab_contraction_swap(s, &c);
    for (int i = 0; i < s->n_axes; i++)
        if ((c.m >> i & 1) && cab_sched_extent(s, i) >= 2 * SUM_ROWS) {
            out->m_axis = i;
            out->mr = SUM_ROWS;
        }
    if (out->mr)
        out->unroll = out->unroll > 2 ? 2 : out->unroll;
}

/* With 16 registers LLVM loads ahead for what is left of a tile, and spills. */
int cab_sched_skip(const cab_spec *s, const cab_target *t, const cab_sched *c)
{
    int skip = 0, all = t->n_vector_regs < 32 ? CAB_SKIP_LOOPS : CAB_SKIP_LOOPS | CAB_SKIP_ROWS;
    cab_window w;

    for (size_t i = 0; i < s->stages.n; i++)
        for (int a = 0; a < s->n_axes; a++) {
            double share = cab_window_find(s, &s->stages.p[i], a, &w) ? cab_window_share(s, &w, a) : 0;
            bool rows = share > 0 && c->mr > 1 && w.axis == c->m_axis;
            if (share >= (rows ? SKIP_ROWS : SKIP_LOOPS))
                skip |= rows ? CAB_SKIP_ROWS : CAB_SKIP_LOOPS;
        }
    return skip & all;
}

/* A window over a product: a row of taps is a round of the loop over rows of
 * taps, and each load of the operand serves as many points of a row of results
 * as it meets. */
static bool choose_window(const cab_spec *s, const cab_target *t, cab_sched *c, int m, int64_t taps)
{
    const cab_stage *st = &s->stages.p[0];
    cab_window w;
    int inner = -1;

    for (int i = 0; i < s->n_axes; i++)
        inner = (st->axes >> i & 1) && cab_window_find(s, st, i, &w) && w.axis == m ? i : inner;
    /* Of rows whose number is open, tiles of 7 leave too many one by one. */
    if (inner < 0 || t->n_vector_regs < 32 || !cab_dim_is_const(s->axis[m].extent) ||
        !cab_dim_is_const(s->axis[inner].extent))
        return false;
    *c = (cab_sched){ .vec_axis = c->vec_axis, .lanes = c->lanes, .pack_b = c->pack_b, .swap = c->swap,
                      .m_axis = m, .mr = 7, .nv = 1, .ku = (int)s->axis[inner].extent->value };
    if (cab_sched_extent(s, m) < 7)
        c->mr = (int)cab_sched_extent(s, m);
    c->skip = cab_sched_skip(s, t, c);
    return taps > 9 || c->skip & CAB_SKIP_ROWS;
}

static void choose_tile(const cab_spec *s, const cab_target *t, cab_sched *c, int axis)
{
    double tiles = cab_sched_extent(s, axis) / c->lanes, w = stage_weight(s);
    int64_t window = static_red(s);
    bool reduces = s->stages.p[0].kind == CAB_STAGE_REDUCE;
    int m, by, view;

    if (s->axis[axis].kind == CAB_AXIS_RED) {
        c->stage_rows = cab_gen_find_staged(s, axis, &by, &view);
        c->unroll = tiles >= 8 && w < 10 ? 4 : tiles >= 2 ? 2 : 1;
        choose_rows(s, c);
        return;
    }
    if (reduces && window > 1 && (m = window_axis(s, axis)) >= 0) {
        cab_sched rows = *c;
        if (choose_window(s, t, &rows, m, window)) {
            *c = rows;
            return;
        }
    }
    if (reduces && window > 1 && window <= 32 && (m = window_axis(s, axis)) >= 0) {
        c->ku = (int)window;
        c->m_axis = m;
        c->mr = cab_sched_extent(s, m) >= 4 && w < 12 ? 4 : 2;
        c->nv = tiles >= 2 && window <= 9 && t->n_vector_regs >= 32 ? 2 : 1;
        return;
    }
    if (s->stages.n > MANY_STAGES)     /* one point fills the registers */
        return;
    c->nv = tiles >= 4 && reduces && s->stages.n == 2 && w < 10 ? 4
          : tiles >= 4 && w < 10 ? 2 : 1;
}

/* A map that moves elements across axes: its loads run along one axis, its
 * stores along another. */
static bool find_turn(const cab_spec *s, int *from, int *to)
{
    *to = *from = -1;
    for (size_t i = 0; i < s->stages.n; i++)
        if (s->stages.p[i].kind != CAB_STAGE_STORE || s->stages.p[i].axes || s->stages.p[i].mode)
            return false;
    for (size_t v = 0; v < s->views.n; v++) {
        bool store = s->operands[s->views.p[v].operand].written;
        for (int i = 0; i < s->n_axes; i++)
            if (s->views.p[v].at.coef[i] && cab_dim_is(s->views.p[v].at.coef[i], 1))
                *(store ? to : from) = i;
    }
    return *to >= 0 && *from >= 0 && *to != *from && cab_sched_extent(s, *from) >= 4 &&
           cab_sched_extent(s, *to) >= 2;
}

/* Steps of the axis stores run along in a tile that is turned in registers. */
static int turned_steps(const cab_spec *s, int to, int lanes)
{
    const cab_dim *e = s->axis[to].extent;

    if (cab_dim_is(e, 3))
        return 3;
    for (int n = lanes; n > 1; n /= 2)
        if (e->divisor % n == 0 && (n > 2 || cab_dim_is(e, 2)))
            return n;
    return cab_sched_extent(s, to) < lanes / 2 ? lanes / 2 : lanes;
}

/* Stores along one axis are as cheap as loads along another: a vector of each
 * and a few permutations between them.  For 4-byte elements, whose masks and
 * permutations are single instructions. */
static bool choose_turned(const cab_spec *s, const cab_target *t, int from, int to, double *best,
                          cab_sched *c)
{
    int lanes = lanes_for(s, t, from), n;
    double each = 0;

    if (t->vector_bytes < 32 || lanes < 4)
        return false;
    for (size_t i = 0; i < s->views.n; i++)
        if (cab_dtype_bits(s->views.p[i].dtype) != 32)
            return false;
    n = turned_steps(s, to, lanes);
    for (size_t i = 0; i < s->stages.n; i++) {
        survey v = survey_stage(s, (int)i, from, s->stages.p[i].view);
        each += (v.weight + v.unit + log2(n)) / lanes + v.strided * 1.6;
    }
    each *= cab_sched_points(s, cab_sched_par(s));
    if (each >= *best)
        return false;
    *best = each;
    *c = (cab_sched){ .turn = CAB_TURN_VECTORS, .lanes = lanes, .vec_axis = from, .nv = n,
                      .n_axis = to };
    return true;
}

/* Scalar tiles of some rows use whole cache lines of both. */
static void choose_scalar_turn(int from, int to, cab_sched *c)
{
    enum { ROWS = 16 };

    c->turn = CAB_TURN_SCALARS;
    c->mr = ROWS;
    c->m_axis = from;
    c->n_axis = to;
}

/* ---- tasks ---- */

static int64_t round_up(double x, int64_t to)
{
    int64_t n = x < 1 ? 1 : x > 1e9 ? 1000000000 : (int64_t)x;

    return (n + to - 1) / to * to;
}

/* Cuts the levels (in nest order: other axes, rows, vectors) so that a task
 * costs about `cost`, up to twice that before it takes a cut further in. */
static void choose_tasks(const cab_spec *s, cab_sched *c, double total)
{
    double cost = c->mr > 1 && c->ku > 1 ? WINDOW_TASK_COST : TASK_COST;
    int order[CAB_SPEC_AXES], n = 0, row = c->mr > 1 ? c->m_axis : -1;
    int vec = c->lanes > 1 ? c->vec_axis : -1, turn = c->turn ? c->n_axis : -1;

    for (int i = 0; i < s->n_axes; i++)
        if (s->axis[i].kind == CAB_AXIS_PAR && i != row && i != vec && i != turn)
            order[n++] = i;
    if (row >= 0)
        order[n++] = row;
    if (vec >= 0 && s->axis[vec].kind == CAB_AXIS_PAR)
        order[n++] = vec;
    if (turn >= 0)
        order[n++] = turn;
    c->task_axes = 1;
    for (int d = 0; d < n; d++) {
        double steps = cab_sched_extent(s, order[d]), each = total / (steps > 0 ? steps : 1);
        bool whole = order[d] == row && c->skip & CAB_SKIP_ROWS && d < n - 1;
        int64_t tile = order[d] == vec ? (int64_t)c->lanes * (c->nv > 1 && turn < 0 ? c->nv : 1)
                     : order[d] == row ? c->mr : order[d] == turn && c->nv > 1 ? c->nv : 1;
        c->task_axes = d + 1;
        if (whole)
            continue;
        if (each * (double)tile <= 2 * cost || d == n - 1) {
            c->task_block = (int)round_up(cost / (each > 0 ? each : 1), tile);
            return;
        }
        total = each;
    }
}

/* Too little to do for wider code to pay. */
static bool tiny(const cab_spec *s)
{
    double n = 0;

    for (int i = 0; i < s->n_axes; i++)
        if (!cab_dim_is_const(s->axis[i].extent))
            return false;
    for (size_t i = 0; i < s->stages.n; i++)
        n += cab_sched_points(s, cab_sched_par(s) | s->stages.p[i].axes);
    return n <= 64;
}

cab_sched cab_sched_choose(const cab_spec *s, const cab_target *t, const bool *constant, bool naive)
{
    cab_sched c = { 0 };
    cab_mark m = cab_arena_mark(s->arena);
    double total;
    int from, to;

    if (naive || tiny(s))
        return c;
    if (!cab_sched_contract(s, t, constant, &c)) {
        bool vectors = choose_axis(s, t, constant, &c, &total), turns = find_turn(s, &from, &to);
        if (!turns || !choose_turned(s, t, from, to, &total, &c)) {
            if (vectors)
                choose_tile(s, t, &c, c.vec_axis);
            else if (turns)
                choose_scalar_turn(from, to, &c);
        }
        choose_tasks(s, &c, total);
    }
    cab_arena_release(s->arena, m);
    return c;
}

void cab_sched_along(const cab_spec *s, const cab_target *t, const bool *constant, int axis,
                     cab_sched *out)
{
    cab_sched c = { 0 };
    cab_mark m = cab_arena_mark(s->arena);
    int packed = -1, swap = 0, from, to;

    if (axis >= 0) {
        c.vec_axis = axis;
        c.lanes = lanes_for(s, t, axis);
        packed = find_packed(s, constant, axis, c.lanes, &swap);
        c.pack_b = packed >= 0;
        c.swap = packed >= 0 && swap;
        choose_tile(s, t, &c, axis);
    } else if (find_turn(s, &from, &to)) {
        choose_scalar_turn(from, to, &c);
    }
    choose_tasks(s, &c, cost(s, axis, c.lanes > 1 ? c.lanes : 1, packed));
    cab_arena_release(s->arena, m);
    *out = c;
}
