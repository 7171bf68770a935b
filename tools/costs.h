/* SPDX-License-Identifier: Apache-2.0 */
/*
 * costs.h - what the instructions of a plan must do for given inputs: section
 * `costs` of an artifact, which the runtime skips.
 */
#ifndef CAB_TOOLS_COSTS_H
#define CAB_TOOLS_COSTS_H
#include "base/base.h"
#include "runtime/runtime.h"

typedef struct costs {
    const cab_plan *plan;
    bool found;                /* the artifact has the section */
    int64_t *slots;            /* the plan's and those of the section */
    bool *known;               /* per slot: not so where the run decides it */
    const cab_plan_cost *rows; /* one per LAUNCH, in order */
    uint32_t n_rows;
} costs;

/* -1: not known. */
typedef struct cost { double flops, special, bytes, weights; int kind; } cost;

/* Reads and checks the section's block of that variant, and computes every slot
 * that the extents of the inputs decide.  An artifact without the section is
 * none the worse: only bytes of what is no launch are known then. */
cab_status costs_open(cab_arena *a, const cab_artifact *f, uint32_t variant, const cab_plan *p,
                      const cab_tensor_view *inputs, costs *out, cab_diag *d);
cost costs_of(const costs *c, uint32_t instr);

#endif
