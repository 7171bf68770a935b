/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_overlap.c - may an output be written over an input?
 *
 * State that goes from run to run (a cache, a hidden state) is bound as input
 * and as output.  The plan's lifetimes tell whether the input has been read for
 * the last time before the output is written for the first time.
 */
#include "runtime/session_int.h"

static bool meet(const void *p, uint64_t n, const void *q, uint64_t m)
{
    uintptr_t a = (uintptr_t)p, b = (uintptr_t)q;
    return n && m && q && a < b + m && b < a + n;
}

bool cab_session_holds_input(const cab_session *s, const void *p, uint64_t n,
                             const cab_tensor_view *inputs)
{
    const cab_plan *plan = s->plan;
    for (uint32_t k = 0; p && k < plan->header->n_inputs; k++)
        if (meet(p, n, inputs[k].data,
                 (uint64_t)s->slots[plan->values[plan->inputs[k]].slot_bytes]))
            return true;
    return false;
}

/* Of an output of late size: 0 until it has memory; then the pair is looked at
 * once more. */
static uint64_t output_bytes(const cab_session *s, const cab_plan_value *v, uint32_t value)
{
    return v->slot_bytes < s->plan->n_early ? (uint64_t)s->slots[v->slot_bytes] : s->bytes[value];
}

int cab_session_overlap(const cab_session *s, uint32_t i, const void *p, uint64_t n,
                        const cab_tensor_view *inputs, const cab_tensor_view *outputs,
                        bool *aside, cab_error *e)
{
    const cab_plan *plan = s->plan;
    const cab_plan_value *out = &plan->values[plan->outputs[i]];
    for (uint32_t k = 0; k < plan->header->n_outputs; k++) {
        const cab_plan_value *v = &plan->values[plan->outputs[k]];
        const void *other = outputs[k].data ? outputs[k].data : s->out_mem[k];
        if (k != i && meet(p, n, other, output_bytes(s, v, plan->outputs[k])))
            return cab_rt_fail(e, CAB_EINPUT, "outputs '%s' and '%s' lie on the same memory",
                               cab_plan_text(plan, out->name), cab_plan_text(plan, v->name));
    }
    for (uint32_t k = 0; k < plan->header->n_inputs; k++) {
        const cab_plan_value *v = &plan->values[plan->inputs[k]];
        if (meet(p, n, inputs[k].data, (uint64_t)s->slots[v->slot_bytes]))
            *aside = *aside || v->last >= out->first;
    }
    return CAB_OK;
}
