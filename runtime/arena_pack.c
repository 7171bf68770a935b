/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena_pack.c - places buffers with disjoint lifetimes over one another.
 *
 * Largest first, each at the lowest offset that no overlapping neighbour in
 * time occupies (greedy by size; Pisarchyk and Lee, "Efficient Memory
 * Management for Deep Neural Net Inference", 2020).  Quadratic in the number
 * of buffers, done once per tuple of sizes.
 */
#include "runtime/runtime_int.h"
#include <stdlib.h>

#define ALIGN 64u

static uint64_t bytes_of(const cab_plan_value *values, const int64_t *slots, uint32_t v)
{
    return (uint64_t)slots[values[v].slot_bytes];
}

static bool overlap(const cab_plan_value *a, const cab_plan_value *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest free offset for v among the first n placed; placed is sorted by
 * offset. */
static uint64_t lowest(const cab_plan_value *values, const int64_t *slots,
                       const uint64_t *offsets, const uint32_t *placed, uint32_t n, uint32_t v)
{
    uint64_t at = 0, need = bytes_of(values, slots, v);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t o = placed[i];
        if (!overlap(&values[o], &values[v]))
            continue;
        if (offsets[o] >= at && offsets[o] - at >= need)
            break;
        uint64_t end = offsets[o] + bytes_of(values, slots, o);
        end = (end + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
        at = end > at ? end : at;
    }
    return at;
}

/* Sorts the ARENA values by size, largest first, ties by number. */
static uint32_t sort_by_size(const cab_plan_value *values, uint32_t n_values,
                             const int64_t *slots, uint32_t *order)
{
    uint32_t n = 0;
    for (uint32_t v = 0; v < n_values; v++) {
        if (values[v].cls != CAB_V_ARENA)
            continue;
        uint32_t i = n++;
        while (i > 0 && bytes_of(values, slots, order[i - 1]) < bytes_of(values, slots, v)) {
            order[i] = order[i - 1];
            i--;
        }
        order[i] = v;
    }
    return n;
}

bool cab_arena_pack(const cab_plan_value *values, uint32_t n_values, const int64_t *slots,
                    uint64_t *offsets, uint32_t *order, uint64_t *out_bytes)
{
    uint32_t n = sort_by_size(values, n_values, slots, order);
    uint64_t total = 0;
    /* order[0..i) is re-sorted by offset as values are placed. */
    for (uint32_t i = 0; i < n; i++) {
        uint32_t v = order[i];
        uint64_t at = lowest(values, slots, offsets, order, i, v), end;
        if (__builtin_add_overflow(at, bytes_of(values, slots, v), &end) || end > UINT64_MAX / 4)
            return false;
        offsets[v] = at;
        total = end > total ? end : total;
        uint32_t k = i;
        while (k > 0 && offsets[order[k - 1]] > at) {
            order[k] = order[k - 1];
            k--;
        }
        order[k] = v;
    }
    *out_bytes = total;
    return true;
}
