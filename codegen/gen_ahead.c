/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_ahead.c - what a kernel asks the caches for before it needs it.
 *
 * Processors follow streams that run straight on.  Two things of a product they
 * do not see: the panels of the next tile of columns, and what the stores of a
 * tile read after its sums.  Hints only: no result depends on them.
 */
#include "codegen/gen_int.h"

enum {
    TALL = 8,                  /* rows of a tile that has time for hints, */
    LARGE = 14                 /* or its multiply-adds per step */
};

static cab_kv mul(cab_gen *g, cab_kv x, int64_t by)
{
    return cab_k_op2(g->k, CAB_K_mul, x, cab_k_i64(g->k, by));
}

/* ---- panels ---- */

/* Steps of a task along a level; 0: unknown, blocks of an open extent may be
 * longer than all of it. */
static int64_t steps_of(const cab_gen *g, const cab_gen_level *l)
{
    const cab_dim *e = g->s->axis[l->axis].extent;

    return !cab_dim_is_const(e) ? 0 : l->block ? l->block : e->value;
}

/* The part of the next panels that falls to this tile of rows: from where it
 * stands among the rows of the task, `part` elements each. */
static cab_kv share(cab_gen *g, int64_t part)
{
    cab_kv at = cab_k_i64(g->k, 0);

    for (int d = g->n_levels - 1; d >= 0; d--) {
        int axis = g->level[d].axis;
        if (!(g->row_axes >> axis & 1))
            continue;
        cab_kv n = cab_k_op2(g->k, CAB_K_sub, g->at[axis].base, g->lo[d]);
        at = cab_k_op2(g->k, CAB_K_add, at, mul(g, n, part));
        part *= steps_of(g, &g->level[d]);
    }
    return at;
}

/* Rows of a task, 0: unknown. */
static int64_t rows_of_task(const cab_gen *g)
{
    int64_t n = 1;

    for (int d = 0; d < g->n_levels; d++)
        if (g->row_axes >> g->level[d].axis & 1)
            n *= steps_of(g, &g->level[d]);
    return n;
}

void cab_gen_look_ahead(cab_gen *g)
{
    const cab_gen_panels *p = &g->panels;
    int64_t tile = p->cols ? (g->cols * g->lanes + p->cols - 1) / p->cols : 0, n;
    int64_t size = p->cols ? cab_dtype_bits(g->s->stages.p[0].acc) / 8 : 0;
    cab_gen_ahead *a = &g->ahead;

    *a = (cab_gen_ahead){ .at = -1, .disp = tile * p->stride };
    if (!p->more || (g->rows < TALL && (g->rest || g->rows * g->cols < LARGE)))
        return;
    /* What is used from L1 twice over must leave room there. */
    n = rows_of_task(g);
    a->level = a->disp * size > g->target->l1_bytes / 4 ? CAB_KP_L2 : CAB_KP_L1;
    a->lines = (int)(n ? (tile * g->rows + n - 1) / n : tile);
    a->apart = a->disp / a->lines;
    a->at = n ? share(g, a->disp / n) : cab_k_i64(g->k, 0);
}

void cab_gen_prefetch_panel(cab_gen *g, cab_kv ptr, cab_kv index)
{
    const cab_gen_ahead *a = &g->ahead;
    cab_kv at;

    if (!a->lines || g->at[g->panels.axis].off)
        return;
    at = cab_k_op2(g->k, CAB_K_add, index, a->at);
    for (int i = 0; i < a->lines; i++)
        cab_k_prefetch(g->k, a->level, ptr, at, a->disp + i * a->apart);
}

/* ---- what stores read ---- */

/* The processor cannot look past the sums of a tile, and would wait for each
 * row of a residual where they are ready.  Into L2: rows often lie so far
 * apart that they meet in few sets of L1. */
static void ask_for(cab_gen *g, const cab_expr *e, uint32_t axes)
{
    if (e->op == CAB_EX_LOAD && (cab_gen_view_axes(g->s, e->u.index) & axes) == axes)
        cab_gen_prefetch(g, e->u.index, CAB_KP_L2);
    for (int i = 0; i < 3 && e->arg[i]; i++)
        ask_for(g, e->arg[i], axes);
}

void cab_gen_prefetch_stores(cab_gen *g)
{
    uint32_t axes = 1u << g->sched->n_axis | 1u << g->sched->m_axis;

    for (int r = 0; r < g->rows; r++)
        for (int c = 0; c < g->cols; c++) {
            cab_gen_point(g, r, c);
            for (size_t i = 1; i < g->s->stages.n; i++)
                ask_for(g, g->s->stages.p[i].value, axes);
        }
}
