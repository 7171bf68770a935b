/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_zero.c - clearing what steps do not write: the halo of a buffer.
 *
 * Along an axis with a halo, what follows the elements of one row and precedes
 * those of the next is one run of bytes.  So an axis is three parts: the start
 * of the first row, such runs, and the end of the last row.
 */
#include "codegen/codegen_int.h"

typedef struct clearing {
    cab_planner *w;
    cab_dims *d;
    uint32_t n;                /* parts so far */
    const cab_dim *bytes;      /* of an element */
} clearing;

/* count runs of `run` elements, `apart` from each other, from element `at` on. */
static cab_status part(clearing *c, const cab_dim *at, const cab_dim *run, const cab_dim *apart,
                       const cab_dim *count)
{
    if (cab_dim_is(run, 0) || cab_dim_is(count, 0))
        return CAB_OK;
    c->n++;
    CAB_TRY(cab_plan_slot_word(c->w, cab_dim_mul(c->d, at, c->bytes)));
    CAB_TRY(cab_plan_slot_word(c->w, cab_dim_mul(c->d, run, c->bytes)));
    CAB_TRY(cab_plan_slot_word(c->w, cab_dim_mul(c->d, apart, c->bytes)));
    return cab_plan_slot_word(c->w, count);
}

/* An axis of `extent` steps between its halos, `outer` times, a step of which is
 * `inner` elements. */
static cab_status clear_axis(clearing *c, const cab_dim *outer, const cab_dim *extent, int64_t lo,
                             int64_t hi, const cab_dim *inner)
{
    cab_dims *d = c->d;
    const cab_dim *zero = cab_dim_const(d, 0), *one = cab_dim_const(d, 1);
    const cab_dim *first = cab_dim_mul(d, cab_dim_const(d, lo), inner);
    const cab_dim *last = cab_dim_mul(d, cab_dim_const(d, hi), inner);
    const cab_dim *row = cab_dim_mul(d, cab_dim_add(d, extent, cab_dim_const(d, lo + hi)), inner);
    const cab_dim *end = cab_dim_add(d, first, cab_dim_mul(d, extent, inner));

    CAB_TRY(part(c, zero, first, zero, one));
    CAB_TRY(part(c, end, cab_dim_add(d, first, last), row, cab_dim_sub(d, outer, one)));
    return part(c, cab_dim_sub(d, cab_dim_mul(d, outer, row), last), last, zero, one);
}

cab_status cab_plan_zero(cab_planner *w, const cab_buffer *b, uint32_t value)
{
    const cab_type *t = &b->type;
    const cab_layout *y = t->kind == CAB_KIND_tensor ? t->layout : NULL;
    int64_t bits = cab_dtype_bits(t->dtype);
    clearing c = { .w = w, .d = w->p->dims, .bytes = cab_dim_const(w->p->dims, bits / 8) };
    cab_plan_instr x = { .op = CAB_I_ZERO, .a = value, .b = (uint32_t)w->words.n };
    const cab_dim *outer = cab_dim_const(c.d, 1), *inner[CAB_MAX_RANK + 1];

    if (y && bits % 8 == 0) {
        inner[t->rank] = outer;
        for (int p = t->rank - 1; p >= 0; p--) {
            int a = y->perm[p];
            const cab_dim *halo = cab_dim_const(c.d, y->halo_lo[a] + y->halo_hi[a]);
            inner[p] = cab_dim_mul(c.d, inner[p + 1], cab_dim_add(c.d, t->dims[a], halo));
        }
        for (int p = 0; p < t->rank; p++) {
            int a = y->perm[p];
            const cab_dim *halo = cab_dim_const(c.d, y->halo_lo[a] + y->halo_hi[a]);
            if (!cab_dim_is(halo, 0))
                CAB_TRY(clear_axis(&c, outer, t->dims[a], y->halo_lo[a], y->halo_hi[a],
                                   inner[p + 1]));
            outer = cab_dim_mul(c.d, outer, cab_dim_add(c.d, t->dims[a], halo));
        }
    }
    x.c = c.n;
    cab_vec_push(w->arena, &w->instrs, x);
    return CAB_OK;
}
