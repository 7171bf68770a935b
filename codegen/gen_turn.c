/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_turn.c - maps that move elements from one axis to another, in vectors.
 *
 * Loads run along the vector axis ("from"), stores along n_axis ("to").  A
 * tile of lanes x nv points is computed as nv vectors along from; interleaved
 * in registers, they are the tile's points with to as the inner axis, and
 * leave in vectors along it: whole ones where the result has both axes next to
 * each other, else one for each step of from.  Where the tile is cut, lanes
 * are masked.
 */
#include <string.h>
#include "codegen/gen_int.h"

enum { MOST = 16 };            /* steps of n_axis in a tile */

bool cab_gen_turns(const cab_gen *g)
{
    return g->sched->turn == CAB_TURN_VECTORS && g->lanes > 1;
}

bool cab_gen_turn_steps(int n, int lanes)
{
    return n == 3 || (n >= 2 && n <= MOST && n <= lanes && !(n & (n - 1)));
}

/* n < left; -1 when nothing is left out. */
static cab_kv exists(cab_gen *g, int n, cab_kv left)
{
    return left < 0 ? -1 : cab_k_cmp(g->k, CAB_KC_LT, cab_k_i64(g->k, n), left);
}

/* v[n]: the values at step n of to, along from. */
static void load(cab_gen *g, const cab_stage *st, cab_kv *v)
{
    cab_dtype dt = g->s->views.p[st->view].dtype;
    int to = g->sched->n_axis;

    for (int n = 0; n < g->sched->nv; n++) {
        cab_kv x;
        g->at[to].off = n;
        g->mask = g->tail;
        g->point = exists(g, n, g->to_left);
        x = cab_k_cast(g->k, dt, cab_gen_value(g, st->value));
        v[n] = cab_k_ins(g->k, x)->lanes == g->lanes ? x : cab_k_splat(g->k, x, g->lanes);
    }
}

/* n (a power of two) vectors to the n that hold their lanes 0, then their
 * lanes 1, ..: neighbours half of the way apart are interleaved, again and
 * again; v[t * m + i] is the i-th vector of the t-th sequence. */
static void interleave(cab_kir *k, cab_kv *v, int n, int lanes)
{
    int lo[CAB_KIR_MAX_LANES], hi[CAB_KIR_MAX_LANES];
    cab_kv next[MOST];

    for (int i = 0; i < lanes; i++) {
        lo[i] = i / 2 + (i % 2 ? lanes : 0);
        hi[i] = lo[i] + lanes / 2;
    }
    for (int apart = n / 2, m = 1; apart > 0; apart /= 2, m *= 2) {
        for (int i = 0; i < apart * m; i++) {
            next[2 * i] = cab_k_perm(k, v[i], v[i + apart * m], lanes, lo);
            next[2 * i + 1] = cab_k_perm(k, v[i], v[i + apart * m], lanes, hi);
        }
        memcpy(v, next, (size_t)n * sizeof *v);
    }
}

/* The same of three: two steps for each result. */
static void interleave_three(cab_kir *k, cab_kv *v, int lanes)
{
    int first[CAB_KIR_MAX_LANES], second[CAB_KIR_MAX_LANES];
    cab_kv next[3];

    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < lanes; i++) {
            int at = (j * lanes + i) / 3, from = (j * lanes + i) % 3;
            first[i] = from == 2 ? 0 : at + from * lanes;
            second[i] = from == 2 ? at + lanes : i;
        }
        next[j] = cab_k_perm(k, cab_k_perm(k, v[0], v[1], lanes, first), v[2], lanes, second);
    }
    memcpy(v, next, sizeof next);
}

/* Are the points of a tile next to each other in the result? */
static bool is_dense(const cab_gen *g, const cab_view *v)
{
    const cab_sched *c = g->sched;
    const cab_dim *from = v->at.coef[c->vec_axis], *to = v->at.coef[c->n_axis];

    return g->tail < 0 && g->to_left < 0 && from && cab_dim_is(from, c->nv) && to &&
           cab_dim_is(to, 1) && !v->n_guards && !v->n_loaded;
}

static void store_at(cab_gen *g, const cab_stage *st, int from, int to, cab_kv x)
{
    g->at[g->sched->vec_axis].off = from;
    g->at[g->sched->n_axis].off = to;
    cab_gen_store(g, st->view, st->mode, x);
}

/* Step l of from: its nv values, a part of one vector. */
static cab_kv piece(cab_gen *g, const cab_kv *v, int l, int lanes)
{
    int n = g->sched->nv, index[MOST];

    for (int i = 0; i < n; i++)
        index[i] = l * n % lanes + i;
    return n == lanes ? v[l] : cab_k_perm(g->k, v[l * n / lanes], -1, n, index);
}

static void store(cab_gen *g, const cab_stage *st, const cab_kv *v)
{
    int lanes = g->lanes, n = g->sched->nv;
    cab_kv left = g->from_left;

    g->vec = g->sched->n_axis;
    if (is_dense(g, &g->s->views.p[st->view])) {
        g->mask = g->point = -1;
        for (int j = 0; j < n; j++)
            store_at(g, st, j * lanes / n, j * lanes % n, v[j]);
        return;
    }
    g->lanes = n;
    g->mask = g->to_left < 0 ? -1 : cab_gen_tail(g, n, cab_k_i64(g->k, 0), g->to_left);
    for (int l = 0; l < lanes; l++) {
        g->point = exists(g, l, left);
        store_at(g, st, l, 0, piece(g, v, l, lanes));
    }
}

/* Three are no vector: one by one, where they are not next to each other. */
static void store_three(cab_gen *g, const cab_stage *st, const cab_kv *v)
{
    int lanes = g->lanes;

    g->vec = -1;
    g->lanes = 1;
    g->mask = g->point = -1;
    for (int l = 0; l < lanes; l++)
        for (int n = 0; n < 3; n++)
            store_at(g, st, l, n, cab_k_extract(g->k, v[n], l));
}

void cab_gen_turn(cab_gen *g, int stage)
{
    const cab_stage *st = &g->s->stages.p[stage];
    cab_gen_state state = cab_gen_save(g);
    bool three = g->sched->nv == 3, dense = is_dense(g, &g->s->views.p[st->view]);
    cab_kv v[MOST];

    g->loads_from = g->loads.n;
    load(g, st, v);
    g->loads_from = g->loads.n;
    if (three && !dense) {
        store_three(g, st, v);
    } else {
        if (three)
            interleave_three(g->k, v, g->lanes);
        else
            interleave(g->k, v, g->sched->nv, g->lanes);
        store(g, st, v);
    }
    cab_gen_restore(g, &state);
}
