/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_tune.c - the schedules that are worth measuring beside the model's.
 *
 * Each differs from the model's choice in one decision that the model makes by
 * a narrow margin or does not weigh at all: the tile, the unroll, which axis
 * walks rows or lanes, how much a task takes, whether LLVM's passes run.  What
 * does not fit the generator, or would be out of all proportion to compile, is
 * left out, so callers may take every one of the list.
 */
#include <math.h>
#include <string.h>
#include "codegen/sched_int.h"

enum {
    MOST_TILES = 5,
    MIN_TASKS = 8,
    CODE = 1024                /* most multiplications or so that stand in a body */
};

typedef struct list {
    const cab_spec *s;
    const cab_target *t;
    const bool *constant;
    cab_sched base;
    cab_contraction k;         /* when base is a product */
    cab_sched *out;
    int n, most;
} list;

/* ---- what may stand in a list, or in a file ---- */

bool cab_sched_allowed(const cab_spec *s, const bool *constant, const cab_sched *c)
{
    int64_t tile = (int64_t)(c->mr > 1 ? c->mr : 1) * (c->nv > 1 ? c->nv : 1);
    int64_t parts = c->unroll > 1 ? c->unroll : 1, ku = c->ku > 1 ? c->ku : 1;
    cab_contraction k;

    if (cab_sched_check(s, c, NULL) != CAB_OK || tile * (ku > parts ? ku : parts) > CODE)
        return false;
    if (!c->pack_b || !cab_contraction_find(s, &k))
        return true;           /* nothing is packed */
    if (c->swap)
        cab_contraction_swap(s, &k);
    return constant && constant[s->views.p[k.b].operand];
}

static void add(list *l, const cab_sched *c)
{
    for (int i = 0; i < l->n; i++)
        if (!memcmp(&l->out[i], c, sizeof *c))
            return;
    if (l->n < l->most && cab_sched_allowed(l->s, l->constant, c))
        l->out[l->n++] = *c;
}

static int round_up(int64_t x, int of)
{
    int64_t n = (x + of - 1) / of * of;

    return n < of ? of : n > 1 << 30 ? (1 << 30) / of * of : (int)n;
}

static bool is_unit(const cab_affine *f, int axis)
{
    return f->coef[axis] && cab_dim_is(f->coef[axis], 1);
}

/* ---- sums of products ---- */

/* The outermost axis of rows: tasks take pieces of it. */
static int first_row_axis(const cab_contraction *k, int m_axis)
{
    for (int i = 0; i < CAB_SPEC_AXES; i++)
        if ((k->m >> i & 1) && i != m_axis)
            return i;
    return m_axis;
}

/* What the last axis of tasks walks. */
typedef enum tasks { OF_BATCHES, OF_COLUMNS, OF_ROWS } tasks;

static tasks tasks_of(const list *l, const cab_sched *c)
{
    uint32_t outer = cab_sched_par(l->s) & ~l->k.m & ~(1u << c->n_axis);
    int n = __builtin_popcount(outer);

    return c->task_axes <= n ? OF_BATCHES : c->task_axes == n + 1 ? OF_COLUMNS : OF_ROWS;
}

/* The base with that tile; blocks stay about as large. */
static cab_sched tiled(const list *l, int mr, int nv, int lanes)
{
    cab_sched c = l->base;
    tasks of = tasks_of(l, &c);

    c.mr = mr;
    c.nv = nv;
    c.lanes = lanes;
    c.n_block = round_up(c.n_block, nv * lanes);
    if (of == OF_ROWS && first_row_axis(&l->k, c.m_axis) == c.m_axis)
        c.task_block = round_up(c.task_block, mr);
    if (of == OF_COLUMNS)
        c.task_block = c.n_block;
    c.row_stores = c.row_stores && mr > 1;
    return c;
}

static double step_cycles(double r, double v)
{
    return fmax(fmax(r * v, r + v), 8) + 0.3;
}

/* Of the loops over all tiles, roughly, as the model counts them. */
static double tile_cycles(double m, double n, int mr, int nv)
{
    double tiles = ceil(m / mr), cols = floor(n / nv), rest = n - cols * nv, rows = m / tiles;

    return tiles * (cols * step_cycles(rows, nv) + (rest > 0 ? step_cycles(rows, rest) : 0));
}

/* For each width of a tile the height that fills the registers, and the one
 * that cuts the rows into even tiles; the cheapest of these. */
static void add_tiles(list *l)
{
    const cab_sched *b = &l->base;
    double n = ceil(cab_sched_extent(l->s, b->n_axis) / b->lanes);
    double m = l->k.m ? cab_sched_extent(l->s, b->m_axis) : 1;
    bool open = l->k.m && !cab_dim_is_const(l->s->axis[b->m_axis].extent);
    struct { double cycles; int mr, nv; } best[16], x;
    int found = 0, most = open ? 8 : 28;

    for (int nv = 1; nv <= 8 && nv <= n; nv++) {
        int mr = (l->t->n_vector_regs - nv - 1) / nv;
        mr = mr > most ? most : mr > m ? (int)m : mr;
        for (int i = 0; i < 2 && mr >= 1; i++) {
            int even = i && !open ? (int)ceil(m / (ceil(m / mr))) : i ? mr - 1 : mr;
            if (even < 1 || (i && even == mr))
                continue;
            x.cycles = tile_cycles(m, n, even, nv);
            x.mr = even;
            x.nv = nv;
            int at = found++;
            for (; at && best[at - 1].cycles > x.cycles; at--)
                best[at] = best[at - 1];
            best[at] = x;
        }
    }
    for (int i = 0; i < found && i < MOST_TILES; i++) {
        cab_sched c = tiled(l, best[i].mr, best[i].nv, b->lanes);
        add(l, &c);
    }
}

static void add_ku(list *l)
{
    cab_sched c = l->base;

    c.ku = l->base.ku > 1 ? l->base.ku * 2 : 2;
    add(l, &c);
    c.ku = l->base.ku > 1 ? l->base.ku / 2 : 4;
    add(l, &c);
}

/* Rows along another axis of a. */
static void add_row_axes(list *l)
{
    for (int i = 0; i < l->s->n_axes; i++) {
        cab_sched c = l->base;
        int64_t rows = (int64_t)cab_sched_extent(l->s, i);
        if (!(l->k.m >> i & 1) || i == c.m_axis || rows < 2)
            continue;
        c.m_axis = i;
        if (c.mr > rows)
            c.mr = (int)rows;
        if (tasks_of(l, &c) == OF_ROWS &&
            first_row_axis(&l->k, i) != first_row_axis(&l->k, l->base.m_axis))
            c.task_block = round_up((int64_t)cab_sched_extent(l->s, first_row_axis(&l->k, i)), 1);
        c.row_stores = c.row_stores && c.mr > 1;
        add(l, &c);
    }
}

/* Tasks of another size: not so large that a few threads would wait for the
 * last one, whatever a single thread says. */
static void add_task_blocks(list *l)
{
    static const int quarters[] = { 2, 8, 16, 1 };
    cab_sched c = l->base;
    int first = first_row_axis(&l->k, c.m_axis);
    bool rows = tasks_of(l, &c) == OF_ROWS;
    uint32_t outer = cab_sched_par(l->s) & ~l->k.m & ~(1u << c.n_axis);
    double steps = rows ? cab_sched_extent(l->s, first) : cab_sched_points(l->s, outer);

    for (size_t i = 0; i < sizeof quarters / sizeof *quarters && tasks_of(l, &c) != OF_COLUMNS; i++) {
        c.task_block = round_up((int64_t)l->base.task_block * quarters[i] / 4,
                                rows && first == c.m_axis ? c.mr : 1);
        if (steps / c.task_block >= (rows ? 2 : MIN_TASKS))
            add(l, &c);
    }
}

static void add_blocks(list *l)
{
    cab_sched c = l->base;
    int width = c.nv * c.lanes, n = (int)cab_sched_extent(l->s, c.n_axis);

    add_task_blocks(l);
    c.n_block = round_up(l->base.n_block / 2, width);
    add(l, &c);
    c.n_block = round_up(l->base.n_block < n ? (int64_t)l->base.n_block * 2 : n, width);
    add(l, &c);
}

static void add_forms(list *l)
{
    cab_sched c = l->base;

    if (c.mr > 1) {
        c.row_stores = !c.row_stores;
        add(l, &c);
        c = l->base;
    }
    if (c.lanes >= 8) {
        c = tiled(l, c.mr > 1 ? c.mr / 2 : c.mr, c.nv * 2, c.lanes / 2);
        add(l, &c);
        c = l->base;
    }
    if (c.skip) {
        c.skip = 0;
        add(l, &c);
        c = l->base;
    }
    if (c.pack_b && is_unit(&l->s->views.p[l->k.b].at, c.n_axis)) {
        c.pack_b = 0;
        add(l, &c);
    }
}

static void add_product(list *l)
{
    cab_contraction_find(l->s, &l->k);
    if (l->base.swap)
        cab_contraction_swap(l->s, &l->k);
    add_tiles(l);
    add_ku(l);
    add_row_axes(l);
    add_blocks(l);
    add_forms(l);
}

/* ---- everything else ---- */

static void add_axes(list *l)
{
    for (int i = -1; i < l->s->n_axes; i++) {
        cab_sched c;
        if ((l->base.lanes > 1 && i == l->base.vec_axis) || (i < 0 && l->base.lanes <= 1))
            continue;
        cab_sched_along(l->s, l->t, l->constant, i, &c);
        if (i < 0 || c.lanes > 1)
            add(l, &c);
    }
}

/* Other values of one number. */
static void add_values(list *l, size_t field, const int *values, int n)
{
    for (int i = 0; i < n; i++) {
        cab_sched c = l->base;
        memcpy((char *)&c + field, &values[i], sizeof *values);
        add(l, &c);
    }
}

static void add_rows(list *l)
{
    static const int few[] = { 2, 4, 6, 8 };

    if (l->base.mr > 1)
        add_values(l, offsetof(cab_sched, mr), few, 4);
    for (int i = 0; i < l->s->n_axes && l->base.mr > 1 && !l->base.turn; i++) {
        cab_sched c = l->base;
        c.m_axis = i;
        if (cab_sched_extent(l->s, i) >= 2)
            add(l, &c);
    }
}

static void add_plain(list *l)
{
    static const int counts[] = { 1, 2, 4, 8 }, none[] = { 0 };
    const cab_sched *b = &l->base;
    bool vector = b->lanes > 1;
    bool along = vector && l->s->axis[b->vec_axis].kind == CAB_AXIS_RED;
    int lanes[2] = { b->lanes / 2, b->lanes * 2 };

    if (vector && !along)
        add_values(l, offsetof(cab_sched, nv), counts, 4);
    if (along)
        add_values(l, offsetof(cab_sched, unroll), counts, 4);
    add_rows(l);
    add_axes(l);
    if (b->ku > 1)
        add_values(l, offsetof(cab_sched, ku), none, 1);
    if (b->skip)
        add_values(l, offsetof(cab_sched, skip), none, 1);
    if (b->stage_rows)
        add_values(l, offsetof(cab_sched, stage_rows), none, 1);
    if (b->turn)
        add_values(l, offsetof(cab_sched, mr), counts + 2, 2);
    if (vector && lanes[1] <= l->t->vector_bytes)
        add_values(l, offsetof(cab_sched, lanes), lanes, 2);
}

int cab_sched_candidates(const cab_spec *s, const cab_target *t, const bool *constant,
                         cab_sched *out, int most)
{
    list l = { .s = s, .t = t, .constant = constant, .out = out, .most = most };
    cab_mark m = cab_arena_mark(s->arena);
    static const cab_sched none;

    out[l.n++] = l.base = cab_sched_choose(s, t, constant, false);
    if (memcmp(&l.base, &none, sizeof none)) {
        cab_sched passes = l.base;
        if (l.base.n_block)
            add_product(&l);
        else
            add_plain(&l);
        passes.ir_passes = 1;
        add(&l, &passes);
    }
    cab_arena_release(s->arena, m);
    return l.n;
}
