/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_costs.c - the section `costs`: what each launch of a plan must do.
 *
 * Its expressions are slots that go on where the plan's end, so the plan's own
 * bytes are the same with and without it.  Only tools read it.
 */
#include "codegen/codegen_int.h"

/* An expression too large for int64 became a symbol that nobody binds. */
static cab_status slot_of(cab_planner *w, const cab_dim *x, uint32_t *out)
{
    *out = CAB_PLAN_NONE;
    return cab_scalars_known(&w->scalars, x) ? cab_scalars_slot(&w->scalars, x, out, w->diag)
                                             : CAB_OK;
}

static cab_status cost_of(cab_planner *w, const cab_unit *u, cab_plan_cost *out)
{
    cab_cost c;
    cab_spec_cost(u->spec, u->constant, &c);
    *out = (cab_plan_cost){ .kind = u->spec->kind };
    CAB_TRY(slot_of(w, c.flops, &out->flops));
    CAB_TRY(slot_of(w, c.special, &out->special));
    CAB_TRY(slot_of(w, c.bytes, &out->bytes));
    return slot_of(w, c.weights, &out->weights);
}

cab_status cab_plan_costs(cab_planner *w, uint32_t variant, cab_buf *b)
{
    size_t n = 0, first = w->scalars.slots.n;
    cab_plan_cost *units = CAB_NEW_N(w->arena, cab_plan_cost, w->src->n_units + 1);
    cab_plan_cost *rows = CAB_NEW_N(w->arena, cab_plan_cost, w->instrs.n + 1);
    for (size_t i = 0; i < w->src->n_units; i++)
        CAB_TRY(cost_of(w, &w->src->units[i], &units[i]));
    for (size_t i = 0; i < w->instrs.n; i++)
        if (w->instrs.p[i].op == CAB_I_LAUNCH) {
            rows[n] = units[w->instrs.p[i].a];
            rows[n++].instr = (uint32_t)i;
        }
    cab_costs_header h = { variant, (uint32_t)(w->scalars.slots.n - first), (uint32_t)n, 0 };
    cab_buf_bytes(b, &h, sizeof h);
    cab_buf_bytes(b, w->scalars.slots.p + first, h.n_scalars * sizeof *w->scalars.slots.p);
    cab_buf_bytes(b, rows, n * sizeof *rows);
    return CAB_OK;
}
