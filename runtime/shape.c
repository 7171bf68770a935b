/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shape.c - the shape program: int64 slots from the extents of the inputs.
 */
#include "runtime/runtime_int.h"

static bool floordiv(int64_t a, int64_t b, int64_t *out)
{
    if (b == 0 || (a == INT64_MIN && b == -1))
        return false;
    int64_t q = a / b;
    *out = q - (a % b != 0 && (a < 0) != (b < 0));
    return true;
}

/* a op b; false on overflow or division by zero. */
static bool compute(uint32_t op, int64_t a, int64_t b, int64_t *out)
{
    int64_t q;
    switch (op) {
    case CAB_S_ADD: return !__builtin_add_overflow(a, b, out);
    case CAB_S_SUB: return !__builtin_sub_overflow(a, b, out);
    case CAB_S_MUL: return !__builtin_mul_overflow(a, b, out);
    case CAB_S_FLOORDIV: return floordiv(a, b, out);
    case CAB_S_CEILDIV:
        if (!floordiv(a, b, &q))
            return false;
        *out = q + (a % b != 0);
        return true;
    case CAB_S_MOD:
        if (!floordiv(a, b, &q))
            return false;
        *out = a - q * b;
        return true;
    case CAB_S_MIN: *out = a < b ? a : b; return true;
    case CAB_S_MAX: *out = a > b ? a : b; return true;
    default: return false;
    }
}

int cab_shape_eval(const cab_plan *p, const cab_tensor_view *inputs, const int64_t *capacity,
                   int64_t *slots, uint32_t lo, uint32_t hi, cab_error *e)
{
    for (uint32_t i = lo; i < hi; i++) {
        const cab_plan_scalar *s = &p->scalars[i];
        switch (s->op) {
        case CAB_S_CONST:
            slots[i] = s->imm;
            break;
        case CAB_S_INPUT_DIM:
            if (inputs)                /* else: as at the start of the run */
                slots[i] = inputs[s->a].dims[s->b];
            break;
        case CAB_S_SIZE_READ:          /* set by an instruction */
            break;
        case CAB_S_CAPACITY:
            if (inputs)
                slots[i] = capacity && capacity[s->b] ? capacity[s->b] : slots[s->a];
            break;
        default:
            if (!compute(s->op, slots[s->a], slots[s->b], &slots[i]))
                return cab_rt_fail(e, CAB_EINPUT,
                                   "a size overflows or divides by zero for these input shapes");
        }
    }
    return CAB_OK;
}
