/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_helper.c - ops that a helper of the runtime computes: one step each.
 *
 * Every operand lies dense in memory.  Arguments and parameters stand as
 * CAB_HELPERS (runtime/plan.h) lists them.
 */
#include "passes/lower_int.h"

enum { MOST_ARGS = 8 };

static cab_status call(cab_lower *l, cab_node *n, const char *helper, int n_params,
                       const cab_dim *const *params)
{
    int args[MOST_ARGS];
    for (int i = 0; i < n->n_in; i++)
        CAB_TRY(cab_lower_dense(l, n->in[i], n, &args[i]));
    for (int i = 0; i < n->n_out; i++)
        args[n->n_in + i] = cab_place_of(l, n->out[i])->buffer;
    cab_step s = { .kind = CAB_STEP_HELPER, .helper = helper, .n_args = n->n_in + n->n_out,
                   .args = args, .n_params = n_params, .params = params, .loc = n->loc,
                   .what = n->op->name };
    cab_program_step(l->p, &s);
    return CAB_OK;
}

static const cab_dim *number(cab_lower *l, int64_t v) { return cab_dim_const(l->d, v); }

static cab_status topk(cab_lower *l, cab_node *n)
{
    const cab_type *t = &n->in[0]->type;
    const cab_dim *const *k;
    const cab_dim *one = number(l, 1), *outer = one, *inner = one;
    int64_t axis = cab_attr_int(n, "axis");
    axis += axis < 0 ? t->rank : 0;
    for (int i = 0; i < t->rank; i++) {
        const cab_dim **p = i < axis ? &outer : &inner;
        if (i != axis)
            *p = cab_dim_mul(l->d, *p, t->dims[i]);
    }
    cab_attr_dims(n, "k", &k);
    const cab_dim *params[] = { outer, t->dims[axis], inner, k[0],
                                number(l, cab_attr_int(n, "largest") != 0),
                                number(l, cab_dtype_onnx(t->dtype)) };
    return call(l, n, "topk", 6, params);
}

static cab_status sort(cab_lower *l, cab_node *n)
{
    const cab_type *t = &n->in[0]->type;
    const cab_dim *params[] = { t->dims[0], t->dims[1], number(l, cab_dtype_onnx(t->dtype)) };
    return call(l, n, "sort", 3, params);
}

static cab_status nms(cab_lower *l, cab_node *n)
{
    const cab_type *b = &n->in[0]->type, *s = &n->in[1]->type;
    const cab_dim *const *limit;
    cab_attr_dims(n, "limit", &limit);
    const cab_dim *params[] = { b->dims[0], b->dims[1], s->dims[1], limit[0],
                                number(l, cab_attr_int(n, "center") != 0),
                                number(l, cab_attr_int(n, "filter") != 0) };
    return call(l, n, "nms", 6, params);
}

cab_status cab_lower_helper(cab_lower *l, cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_sort: return sort(l, n);
    case CAB_OP_nms: return nms(l, n);
    default: return topk(l, n);
    }
}
