/* SPDX-License-Identifier: Apache-2.0 */
/*
 * special_load.c - a plan for certain sizes from an artifact of its own, whose
 * weights are those of a model that is loaded already.
 *
 * The artifact's constants are looked for among the model's; what is not there
 * (tables folded for these sizes) is copied with the plan and the names, so that
 * the artifact may go.
 */
#include "runtime/runtime_int.h"
#include <string.h>

static bool is_constant(const cab_plan_value *v)
{
    return v->cls == CAB_V_CONST || (v->cls == CAB_V_INPUT && v->flags & CAB_V_FIXED);
}

static uint64_t bytes_of(const cab_plan *p, const cab_plan_value *v)
{
    return (uint64_t)p->scalars[v->slot_bytes].imm;
}

/* The same bytes among the constants of p; NULL: they are not there. */
static const uint8_t *same_bytes(const cab_plan *p, const uint8_t *bytes, uint64_t n)
{
    for (uint32_t i = 0; i < p->header->n_values; i++) {
        const cab_plan_value *v = &p->values[i];
        if (is_constant(v) && bytes_of(p, v) == n && !memcmp(p->weights + v->offset, bytes, n))
            return p->weights + v->offset;
    }
    return NULL;
}

static uint64_t rounded(uint64_t n) { return (n + 63) & ~(uint64_t)63; }

static uint64_t plan_bytes(const cab_plan *p)
{
    return (uint64_t)((const uint8_t *)(p->outputs + p->header->n_outputs) -
                      (const uint8_t *)p->header);
}

/* Plan and names, copied to `to`; the values may be written there. */
static cab_plan_value *move_plan(cab_plan *p, uint8_t *to)
{
    const uint8_t *from = (const uint8_t *)p->header;
    uint64_t n = plan_bytes(p);
    memcpy(to, from, n);
    cab_plan_value *values = (void *)(to + ((const uint8_t *)p->values - from));
#define MOVE(table) p->table = (const void *)(to + ((const uint8_t *)p->table - from))
    MOVE(scalars); MOVE(checks); MOVE(values); MOVE(kernels); MOVE(instrs); MOVE(words);
    MOVE(inputs); MOVE(outputs); MOVE(header);
#undef MOVE
    p->strings = memcpy(to + rounded(n), p->strings, p->strings_bytes);
    return values;
}

/* Bytes of the constants that m lacks. */
static uint64_t lacking(const cab_plan *p, const cab_plan *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->header->n_values; i++) {
        const cab_plan_value *v = &p->values[i];
        if (is_constant(v) && !same_bytes(m, p->weights + v->offset, bytes_of(p, v)))
            sum += rounded(bytes_of(p, v));
    }
    return sum;
}

/* What m lacks goes to `to`; values tell where each constant is, from m's
 * weights on. */
static void move_constants(const cab_plan *p, const cab_plan *m, cab_plan_value *values,
                           uint8_t *to)
{
    for (uint32_t i = 0; i < p->header->n_values; i++) {
        if (!is_constant(&values[i]))
            continue;
        uint64_t n = bytes_of(p, &values[i]);
        const uint8_t *bytes = p->weights + values[i].offset, *where = same_bytes(m, bytes, n);
        if (!where) {
            where = memcpy(to, bytes, n);
            to += rounded(n);
        }
        values[i].offset = (uint64_t)((uintptr_t)where - (uintptr_t)m->weights);
    }
}

static int settle(cab_model *s, const cab_plan *m, cab_error *e)
{
    uint64_t tables = rounded(plan_bytes(&s->plan)) + rounded(s->plan.strings_bytes);
    uint64_t more = lacking(&s->plan, m);
    uint8_t *p = s->copy = cab_rt_alloc(&s->alloc, tables + more, 64);
    if (!p)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    cab_plan_value *values = move_plan(&s->plan, p);
    move_constants(&s->plan, m, values, p + tables);
    s->plan.weights = m->weights;
    s->plan.code = NULL;               /* it is mapped, and was in the artifact */
    return CAB_OK;
}

int cab_model_load_special(const cab_model *m, const void *p, size_t n, cab_model **out,
                           cab_error *e)
{
    cab_model_options o = { .size = sizeof o, .allocator = &m->alloc };
    int rc = cab_model_load_memory(p, n, NULL, &o, out, e);
    if (rc == CAB_OK && ((*out)->copy || (*out)->specials || (*out)->plan.n_custom))
        rc = cab_rt_fail(e, CAB_EINVAL, "not an artifact to be a plan for certain sizes");
    if (rc == CAB_OK)
        rc = settle(*out, &m->plan, e);
    if (rc != CAB_OK) {
        cab_model_destroy(*out);
        *out = NULL;
    }
    return rc;
}
