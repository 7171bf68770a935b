/* SPDX-License-Identifier: Apache-2.0 */
/*
 * costs.c - reads section `costs` (runtime/plan.h), checking every count and
 * index, and evaluates it.
 */
#include "tools/costs.h"
#include <string.h>

static cab_status damaged(cab_diag *d)
{
    return cab_fail(d, CAB_EARTIFACT, NULL, "damaged artifact: section costs");
}

/* Its scalars are constants, or computed from earlier slots. */
static bool scalar_ok(const cab_plan_scalar *s, uint32_t number)
{
    return s->op == CAB_S_CONST ||
           (s->op >= CAB_S_ADD && s->op <= CAB_S_MAX && s->a < number && s->b < number);
}

static bool slot_ok(uint32_t slot, uint32_t n) { return slot < n || slot == CAB_PLAN_NONE; }

static bool rows_ok(const cab_plan *p, const cab_plan_cost *r, uint32_t n_rows, uint32_t n_slots)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n_rows; i++) {
        if (r[i].instr >= p->header->n_instrs || (i && r[i].instr < at) || r[i].kind > 3 ||
            p->instrs[r[i].instr].op != CAB_I_LAUNCH || !slot_ok(r[i].flops, n_slots) ||
            !slot_ok(r[i].special, n_slots) || !slot_ok(r[i].bytes, n_slots) ||
            !slot_ok(r[i].weights, n_slots))
            return false;
        at = r[i].instr + 1;
    }
    return true;
}

/* The block of the variant: *out_h, scalars behind it; false: there is none. */
static bool find_block(const uint8_t *p, uint64_t n, uint32_t variant, cab_costs_header *out_h,
                       const cab_plan_scalar **out_scalars)
{
    while (n >= sizeof *out_h) {
        memcpy(out_h, p, sizeof *out_h);
        uint64_t bytes = sizeof *out_h + (uint64_t)out_h->n_scalars * sizeof **out_scalars +
                         (uint64_t)out_h->n_rows * sizeof(cab_plan_cost);
        if (bytes > n)
            return false;
        *out_scalars = (const void *)(p + sizeof *out_h);
        if (out_h->variant == variant)
            return true;
        p += bytes;
        n -= bytes;
    }
    return false;
}

/* The plan's scalars and those behind them, in one table. */
static const cab_plan_scalar *join(cab_arena *a, const cab_plan *p, const cab_plan_scalar *more,
                                   uint32_t n)
{
    uint32_t first = p->header->n_scalars;
    cab_plan_scalar *all = CAB_NEW_N(a, cab_plan_scalar, first + n + 1);
    memcpy(all, p->scalars, first * sizeof *all);
    if (n)
        memcpy(all + first, more, n * sizeof *all);
    return all;
}

static void evaluate(cab_arena *a, costs *c, const cab_plan_scalar *all, uint32_t n,
                     const cab_tensor_view *inputs)
{
    cab_plan p = *c->plan;
    p.scalars = all;
    c->slots = CAB_NEW_N(a, int64_t, n + 1);
    c->known = CAB_NEW_N(a, bool, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const cab_plan_scalar *s = &all[i];
        bool args = s->op < CAB_S_ADD || s->op > CAB_S_MAX || (c->known[s->a] && c->known[s->b]);
        c->known[i] = args && s->op != CAB_S_SIZE_READ &&
                      cab_shape_eval(&p, inputs, NULL, c->slots, i, i + 1, NULL) == CAB_OK;
    }
}

static cab_status read_block(const cab_artifact *f, const cab_file_section *s, uint32_t variant,
                             costs *c, const cab_plan_scalar **out, uint32_t *out_n, cab_diag *d)
{
    cab_error e = { 0 };
    cab_costs_header h;
    uint32_t first = c->plan->header->n_scalars;
    if (cab_artifact_check(f, s, &e) != CAB_OK)
        return cab_fail(d, CAB_EARTIFACT, NULL, "%s", e.text);
    if (!find_block(cab_artifact_bytes(f, s), s->bytes, variant, &h, out) ||
        h.n_scalars > UINT32_MAX - first)
        return damaged(d);
    for (uint32_t i = 0; i < h.n_scalars; i++)
        if (!scalar_ok(&(*out)[i], first + i))
            return damaged(d);
    c->rows = (const void *)(*out + h.n_scalars);
    c->n_rows = h.n_rows;
    c->found = true;
    *out_n = h.n_scalars;
    return rows_ok(c->plan, c->rows, h.n_rows, first + h.n_scalars) ? CAB_OK : damaged(d);
}

cab_status costs_open(cab_arena *a, const cab_artifact *f, uint32_t variant, const cab_plan *p,
                      const cab_tensor_view *inputs, costs *out, cab_diag *d)
{
    const cab_file_section *s = cab_artifact_find(f, CAB_SEC_COSTS, 0);
    const cab_plan_scalar *more = NULL;
    uint32_t n = 0;
    *out = (costs){ .plan = p };
    if (s)
        CAB_TRY(read_block(f, s, variant, out, &more, &n, d));
    evaluate(a, out, join(a, p, more, n), p->header->n_scalars + n, inputs);
    return CAB_OK;
}

/* ---- one instruction ---- */
static double slot(const costs *c, uint32_t i)
{
    if (i == CAB_PLAN_NONE || !c->known[i])
        return -1;
    return c->slots[i] > 0 ? (double)c->slots[i] : 0;
}

static double value_bytes(const costs *c, uint32_t v)
{
    return slot(c, c->plan->values[v].slot_bytes);
}

static double zero_bytes(const costs *c, const cab_plan_instr *x)
{
    const uint32_t *w = c->plan->words + x->b;
    double sum = 0;
    if (!x->c)
        return value_bytes(c, x->a);
    for (uint32_t i = 0; i < x->c; i++, w += CAB_ZERO_PART) {
        double run = slot(c, w[1]), n = slot(c, w[3]);
        if (run < 0 || n < 0)
            return -1;
        sum += run * n;
    }
    return sum;
}

static double all_bytes(const costs *c, const uint32_t *values, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        double b = value_bytes(c, values[i]);
        if (b < 0)
            return -1;
        sum += b;
    }
    return sum;
}

static cost launch(const costs *c, uint32_t instr)
{
    for (uint32_t i = 0; i < c->n_rows; i++) {
        const cab_plan_cost *r = &c->rows[i];
        if (r->instr == instr)
            return (cost){ slot(c, r->flops), slot(c, r->special), slot(c, r->bytes),
                           slot(c, r->weights), (int)r->kind };
    }
    return (cost){ -1, -1, -1, -1, -1 };
}

cost costs_of(const costs *c, uint32_t instr)
{
    const cab_plan_instr *x = &c->plan->instrs[instr];
    const uint32_t *w;
    cost out = { 0, 0, 0, 0, -1 };
    switch (x->op) {
    case CAB_I_LAUNCH: return launch(c, instr);
    case CAB_I_ZERO: out.bytes = zero_bytes(c, x); return out;
    case CAB_I_COPY: out.bytes = all_bytes(c, (uint32_t[]){ x->a, x->b }, 2); return out;
    case CAB_I_HELPER:
        w = c->plan->words + x->b;
        out.bytes = all_bytes(c, w + 1, w[0]);
        out.flops = -1;
        return out;
    case CAB_I_ALLOC: return out;
    default: return (cost){ -1, -1, -1, -1, -1 };
    }
}
