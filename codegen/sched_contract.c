/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_contract.c - tiles for sums of products.
 *
 * The columns (n) need unit stride in the result, and in b unless b is
 * constant and can be packed.  The tile minimises modelled cycles over the
 * exact row and column counts; its accumulators, one row of b, one broadcast
 * of a and (without fma) a product fit the vector registers.  Blocks keep the
 * panels of b that a task walks in half of L2.
 */
#include <math.h>
#include "codegen/sched_int.h"

/* Work of a task: enough to reuse a panel of b, small enough to balance. */
#define TASK_FLOPS 4e6
#define MIN_TASKS 24
#define MIN_TASK_FLOPS 4e5
/* Extents that are not known may be small: then a few tasks more share evenly. */
#define OPEN_TASK_FLOPS 1e5
#define NARROW_GAIN 0.95
/* A store this heavy is most of a tile's code. */
#define ROW_STORE_WEIGHT 12

static bool unit(const cab_affine *f, int axis)
{
    return f->coef[axis] && cab_dim_is(f->coef[axis], 1);
}

static bool all_stores_unit(const cab_spec *s, int axis)
{
    for (size_t i = 1; i < s->stages.n; i++)
        if (!unit(&s->views.p[s->stages.p[i].view].at, axis))
            return false;
    return true;
}

/* The column axis of that orientation; -1 = none serves. */
static int find_n(const cab_spec *s, const cab_contraction *c, bool constant_b, bool *pack)
{
    const cab_view *b = &s->views.p[c->b];
    cab_pack p;
    int found = -1;

    for (int i = 0; i < s->n_axes; i++) {
        bool packs;
        if (!(c->n >> i & 1) || !all_stores_unit(s, i))
            continue;
        packs = constant_b && cab_contraction_pack(s, c, i, &p);
        if (!packs && (!unit(&b->at, i) || b->n_loaded))
            continue;
        if (found < 0 || cab_sched_extent(s, i) > cab_sched_extent(s, found)) {
            found = i;
            *pack = packs;
        }
    }
    return found;
}

/* The row axis: the innermost one with enough steps.  Few known steps are
 * better than an unknown number, which may be 1 (a token, beside the queries
 * that share its keys). */
static int find_m(const cab_spec *s, const cab_contraction *c)
{
    int found = -1;

    for (int i = 0; i < s->n_axes; i++) {
        double steps = cab_sched_extent(s, i);
        if (!(c->m >> i & 1))
            continue;
        if (found < 0 || steps >= 6 || steps > cab_sched_extent(s, found) ||
            (steps >= 2 && cab_dim_is_const(s->axis[i].extent) &&
             !cab_dim_is_const(s->axis[found].extent)))
            found = i;
    }
    return found;
}

/* Cycles of one reduction step of an r x v tile, in units of one FMA of a
 * full width; `halves` of them make one of these vectors.  Of tiles that keep
 * the multipliers as busy, the one that loads less.  Without fma,
 * instructions: copy, product and sum, and two for a broadcast. */
static double step_cost(const cab_target *t, int r, int v, double halves)
{
    double fma = (double)r * v, loads = r + v, latency = 8;
    double most = (fma > loads ? fma : loads) * halves;

    if (!t->fma)
        return 3 * fma + 2 * r + v;

    return (most > latency ? most : latency) + 0.3 + 0.05 * loads;
}

/* All tiles over m rows and n vectors; two sizes of rows, one ragged column. */
static double tile_cost(const cab_target *t, int64_t m, int64_t n, int mr, int nv, double halves,
                        bool aliases)
{
    int64_t tiles = (m + mr - 1) / mr, more = m % tiles, rows = m / tiles;
    int64_t whole = n / nv, rest = n % nv;
    double cols_big = 0, cols_small = 0, bodies = (more > 0) + (rest > 0), cost;

    cols_small = (double)whole * step_cost(t, (int)rows, nv, halves) +
                 (rest ? step_cost(t, (int)rows, (int)rest, halves) : 0);
    if (more)
        cols_big = (double)whole * step_cost(t, (int)rows + 1, nv, halves) +
                   (rest ? step_cost(t, (int)rows + 1, (int)rest, halves) : 0);
    cost = (double)(tiles - more) * cols_small + (double)more * cols_big;
    if (aliases && rows > 8)
        cost *= 1.5;
    return cost * (1 + 0.02 * bodies);
}

/* Do consecutive rows of a fall on the same cache sets?  L1's ways are 4 KB; at
 * half of that a tile's rows still find room in two sets. */
static bool rows_alias(const cab_spec *s, int a, int m_axis)
{
    const cab_view *v = &s->views.p[a];
    const cab_dim *c = m_axis >= 0 ? v->at.coef[m_axis] : NULL;

    return c && cab_dim_is_const(c) && c->value &&
           c->value * cab_dtype_bits(v->dtype) / 8 % 4096 == 0;
}

/* The best tile of vectors that wide, when it beats `best`. */
static void try_tiles(const cab_spec *s, const cab_target *t, const cab_contraction *c, int lanes,
                      double *best, cab_sched *out)
{
    int64_t n = (int64_t)(cab_sched_extent(s, out->n_axis) + lanes - 1) / lanes;
    bool has_m = c->m != 0;
    int64_t m = has_m ? (int64_t)cab_sched_extent(s, out->m_axis) : 1;
    bool symbolic = has_m && !cab_dim_is_const(s->axis[out->m_axis].extent);
    bool aliases = has_m && rows_alias(s, c->a, out->m_axis);
    int most = symbolic ? 8 : 28, width = lanes * cab_dtype_bits(cab_gen_type(s->stages.p[0].acc)) / 8;
    double halves = width > t->fma_bytes ? (double)width / t->fma_bytes : 1;

    m = m < 1 ? 1 : m;
    n = n < 1 ? 1 : n;
    for (int nv = 1; nv <= 8 && nv <= n; nv++)
        for (int mr = 1; mr <= most && mr <= m; mr++) {
            double cost = tile_cost(t, m, n, mr, nv, halves, aliases);
            if (mr * nv + nv + 1 + !t->fma > t->n_vector_regs)
                break;
            /* Later and larger wins ties only by more than noise. */
            if (cost < *best * 0.995) {
                *best = cost;
                out->mr = mr;
                out->nv = nv;
                out->lanes = lanes;
            }
        }
}

/* Narrower vectors fit columns better, and cost nothing where wide ones run as
 * two halves; they must win by more than what their instructions may cost. */
static void choose_tile(const cab_spec *s, const cab_target *t, const cab_contraction *c,
                        cab_sched *out)
{
    double best = 1e300;
    int lanes = out->lanes, half = lanes / 2;

    try_tiles(s, t, c, lanes, &best, out);
    best *= NARROW_GAIN;
    if (half * cab_dtype_bits(cab_gen_type(s->stages.p[0].acc)) / 8 >= t->fma_bytes)
        try_tiles(s, t, c, half, &best, out);
}

/* Rows of a at a symbolic distance: each has a register for its address, and
 * LLVM groups the loads of a row to free it, which costs vector registers. */
static bool symbolic_rows(const cab_spec *s, const cab_contraction *c, const cab_sched *o)
{
    const cab_dim *d = c->m ? s->views.p[c->a].at.coef[o->m_axis] : NULL;

    return d && !cab_dim_is_const(d);
}

/* With 16 registers LLVM orders the loads of several steps so that it spills:
 * where a product needs a register too, and with one vector per row. */
static bool tight(const cab_target *t, const cab_sched *o)
{
    return t->n_vector_regs < 32 && o->mr > 1 && (!t->fma || o->nv == 1);
}

/* Unroll of the innermost reduction: enough work per round, exact if possible. */
static int choose_ku(const cab_spec *s, const cab_target *t, const cab_contraction *c,
                     const cab_sched *o)
{
    int inner = -1, most, tile = o->mr * o->nv;
    const cab_dim *e;

    for (int i = 0; i < s->n_axes; i++)
        if (c->k >> i & 1)
            inner = i;
    if (inner < 0 || symbolic_rows(s, c, o) || tight(t, o))
        return 1;
    most = tile >= 24 ? 4 : tile >= 12 ? 6 : 8;
    e = s->axis[inner].extent;
    if (cab_dim_is_const(e) && e->value <= most)
        return (int)e->value;
    for (int u = most; u > most / 2; u--)
        if (e->divisor % u == 0)
            return u;
    return most > 4 ? 4 : most;
}

static int64_t multiple(double x, int64_t of)
{
    int64_t n = x > 1e9 ? 1000000000 : (int64_t)x;

    n = n / of * of;
    return n < of ? of : n;
}

/* Steps per block, near `wish`, so that blocks of n steps come out even. */
static int64_t even_blocks(double n, double wish, int64_t of)
{
    double blocks = wish > 0 ? n / wish : 1;
    int64_t count = blocks < 1 ? 1 : (int64_t)(blocks + 0.5);

    return multiple((n + (double)count - 1) / (double)count + (double)of - 1, of);
}

static bool is_open(const cab_spec *s, uint32_t axes)
{
    for (int i = 0; i < s->n_axes; i++)
        if ((axes >> i & 1) && !cab_dim_is_const(s->axis[i].extent))
            return true;
    return false;
}

static double task_flops(const cab_spec *s, double total)
{
    double f = total / MIN_TASKS;

    if (is_open(s, cab_sched_par(s)))
        return OPEN_TASK_FLOPS;
    return f > TASK_FLOPS ? TASK_FLOPS : f < MIN_TASK_FLOPS ? MIN_TASK_FLOPS : f;
}

/* Row blocks: of the outermost row axis, or further in, where one of its steps
 * (of which there may be few) is a task's work and more. */
static void choose_row_blocks(const cab_spec *s, const cab_contraction *c, cab_sched *o,
                              double flops)
{
    double rows = flops / (2 * cab_sched_points(s, c->k) * (double)o->n_block);
    double inner = cab_sched_points(s, c->m);

    rows = rows < 4 * o->mr ? 4 * o->mr : rows;
    for (int i = 0; i < s->n_axes; i++) {
        double steps = cab_sched_extent(s, i);
        if (!(c->m >> i & 1) || i == o->m_axis)
            continue;
        inner /= steps > 0 ? steps : 1;
        if (cab_dim_is_const(s->axis[i].extent) || inner < 2 * rows) {
            o->task_block = (int)even_blocks(steps, rows / (inner > 0 ? inner : 1), 1);
            return;
        }
        o->task_axes++;
    }
    o->task_block = (int)even_blocks(cab_sched_extent(s, o->m_axis), rows, o->mr);
}

static double operand_bytes(const cab_spec *s, int view)
{
    const cab_view *v = &s->views.p[view];
    const cab_dim *n = s->operands[v->operand].elems;

    return cab_dim_is_const(n) ? (double)n->value * cab_dtype_bits(v->dtype) / 8 : INFINITY;
}

/* Weights that L2 does not hold come from far away, each time a task reads them.
 * Where all of a stays near, tasks are columns of all rows, and every weight is
 * fetched once; if that makes enough tasks. */
static bool whole_columns(const cab_spec *s, const cab_target *t, const cab_contraction *c,
                          cab_sched *o, double flops)
{
    int64_t width = (int64_t)o->nv * o->lanes, block;
    double column = 2 * cab_sched_points(s, c->k) * cab_sched_points(s, c->m);

    if (!o->pack_b || operand_bytes(s, c->a) > (double)t->l2_bytes / 2 ||
        operand_bytes(s, c->b) <= (double)t->l2_bytes)
        return false;
    block = multiple(flops / column, width);
    if (cab_sched_extent(s, o->n_axis) < (double)block * MIN_TASKS / 2)
        return false;
    o->n_block = o->task_block = (int)block;
    o->task_axes--;
    return true;
}

static void choose_blocks(const cab_spec *s, const cab_target *t, const cab_contraction *c,
                          cab_sched *o)
{
    int64_t width = (int64_t)o->nv * o->lanes;
    double k = cab_sched_points(s, c->k), n = cab_sched_extent(s, o->n_axis), panels;
    double m = c->m ? cab_sched_points(s, c->m) : 1, batch, flops;
    uint32_t outer = cab_sched_par(s) & ~c->m & ~(1u << o->n_axis);
    int n_outer = __builtin_popcount(outer);

    k = k < 1 ? 1 : k;
    batch = cab_sched_points(s, outer);
    flops = task_flops(s, 2 * k * n * m * batch);
    if (n_outer && 2 * k * n * m <= flops) {   /* whole batches per task */
        o->task_axes = n_outer;
        o->task_block = (int)multiple(flops / (2 * k * n * m + 1), 1);
        o->n_block = (int)multiple(n + (double)width - 1, width);
        return;
    }
    o->task_axes = n_outer + (c->m ? 2 : 1);
    panels = (double)t->l2_bytes / 2 / (k * (double)width * 4);
    if (!c->m) {
        panels = flops / (2 * k * (double)width);
        panels = panels < 1 ? 1 : panels;
    }
    o->n_block = (int)even_blocks(n, (panels < 1 ? 1 : panels) * (double)width, width);
    o->task_block = o->n_block;
    if (c->m && !whole_columns(s, t, c, o, flops))
        choose_row_blocks(s, c, o, flops);
}

static bool both_unit_in_k(const cab_spec *s, const cab_contraction *c)
{
    for (int i = 0; i < s->n_axes; i++)
        if ((c->k >> i & 1) && unit(&s->views.p[c->a].at, i) && unit(&s->views.p[c->b].at, i))
            return true;
    return false;
}

static bool costly_stores(const cab_spec *s)
{
    for (size_t i = 1; i < s->stages.n; i++)
        if (cab_sched_weight(s, (int)i) >= ROW_STORE_WEIGHT)
            return true;
    return false;
}

static bool choose(const cab_spec *s, const cab_target *t, const bool *constant, cab_sched *out)
{
    cab_contraction c;
    cab_dtype acc;
    bool pack = false;

    if (!cab_contraction_find(s, &c))
        return false;
    acc = cab_gen_type(s->stages.p[0].acc);
    if (cab_dtype_bits(acc) < 32)
        return false;
    for (out->swap = 0; out->swap < 2; out->swap++) {
        int b = s->views.p[c.b].operand;
        out->n_axis = find_n(s, &c, constant && constant[b], &pack);
        if (out->n_axis >= 0)
            break;
        cab_contraction_swap(s, &c);
    }
    if (out->swap == 2)
        return false;
    out->lanes = t->vector_bytes / (cab_dtype_bits(acc) / 8);
    while (out->lanes > 2 && out->lanes / 2 >= (int)cab_sched_extent(s, out->n_axis))
        out->lanes /= 2;
    /* The same answer for every target, so that they share b's packed form. */
    if (cab_sched_extent(s, out->n_axis) < 4 && both_unit_in_k(s, &c))
        return false;
    out->pack_b = pack;
    out->vec_axis = out->n_axis;
    out->m_axis = c.m ? find_m(s, &c) : 0;
    choose_tile(s, t, &c, out);
    out->ku = choose_ku(s, t, &c, out);
    choose_blocks(s, t, &c, out);
    out->skip = cab_sched_skip(s, t, out);
    out->row_stores = out->mr > 1 && costly_stores(s);
    return true;
}

bool cab_sched_contract(const cab_spec *s, const cab_target *t, const bool *constant,
                        cab_sched *out)
{
    cab_sched c = { 0 };
    bool found = choose(s, t, constant, &c);

    *out = found ? c : (cab_sched){ 0 };
    return found;
}
