/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime.h - what the rest of the house sees of the runtime: the public
 * interface, the plan, and the checks that tools want to show.
 */
#ifndef CAB_RUNTIME_RUNTIME_H
#define CAB_RUNTIME_RUNTIME_H
#include "base/diag.h"
#include "include/cab_rt.h"
#include "runtime/plan.h"

/* A plan in memory, all pointers into the mapping, every index checked. */
typedef struct cab_plan {
    const cab_file_header *file;
    const cab_plan_header *header;
    const cab_plan_scalar *scalars;
    const cab_plan_check *checks;
    const cab_plan_value *values;
    const cab_plan_kernel *kernels;
    const cab_plan_instr *instrs;
    const uint32_t *words;
    const uint32_t *inputs, *outputs;
    uint32_t n_custom;                 /* instructions CUSTOM */
    const char *strings;
    uint32_t strings_bytes;
    const uint8_t *code, *weights;     /* in the mapping */
    uint64_t code_offset, code_bytes, weights_offset, weights_bytes;
} cab_plan;

/* Validates p[0..n) and fills *out.  No allocation. */
cab_status cab_plan_check_bytes(const void *p, uint64_t n, cab_plan *out, cab_error *e);
const cab_plan *cab_model_plan(const cab_model *m);
/* isa bits this machine and kernel offer. */
uint32_t cab_isa_here(void);
const char *cab_isa_names(uint32_t isa, char *buf, size_t n);

#endif
