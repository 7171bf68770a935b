/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_int.h - what the cost models share.
 */
#ifndef CAB_CODEGEN_SCHED_INT_H
#define CAB_CODEGEN_SCHED_INT_H
#include "codegen/gen_int.h"

#define SYMBOLIC 128           /* steps assumed of an axis of unknown extent */

double cab_sched_extent(const cab_spec *s, int axis);
/* Points of those axes. */
double cab_sched_points(const cab_spec *s, uint32_t axes);
uint32_t cab_sched_par(const cab_spec *s);
/* Arithmetic of a stage per point, in instructions. */
double cab_sched_weight(const cab_spec *s, int stage);
/* The schedule that has that axis along the lanes, -1: none; not for products. */
void cab_sched_along(const cab_spec *s, const cab_target *t, const bool *constant, int axis,
                     cab_sched *out);
/* Taps that meet zeroes alone and are worth leaving out: bits CAB_SKIP_. */
int cab_sched_skip(const cab_spec *s, const cab_target *t, const cab_sched *c);
/* sched_contract.c: false when no contraction tile fits the Spec. */
bool cab_sched_contract(const cab_spec *s, const cab_target *t, const bool *constant,
                        cab_sched *out);

#endif
