/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_helper.c - ops that a helper of the runtime computes: one step each; and what one checks before all
 * others.
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

/* ---- indices that the caller gives ---- */

static bool keeps_elements(const cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_reshape: case CAB_OP_transpose: case CAB_OP_expand: return true;
    case CAB_OP_cast: return n->in[0]->type.dtype == CAB_DT_i32 && n->out[0]->type.dtype == CAB_DT_i64;
    default: return false;
    }
}

/* The input of the graph that has v's elements and no others; NULL: none has. */
static cab_value *input_behind(cab_lower *l, cab_value *v)
{
    while (v->def && keeps_elements(v->def))
        v = v->def->in[0];
    return v->def || cab_lower_info(l, v)->state ? NULL : v;
}

static bool is_checked(const cab_lower *l, int buffer, const cab_dim *rows)
{
    for (size_t i = 0; i < l->p->steps.n; i++)
        if (l->p->steps.p[i].args[0] == buffer && l->p->steps.p[i].params[1] == rows)
            return true;
    return false;
}

void cab_lower_bounds(cab_lower *l)
{
    for (cab_node *n = l->g->first; n; n = n->next) {
        cab_value *v = n->op->id == CAB_OP_gather ? input_behind(l, n->in[1]) : NULL;
        if (!v)
            continue;
        const cab_type *x = &n->in[0]->type;
        int64_t axis = cab_attr_int(n, "axis");
        const cab_dim *rows = x->dims[axis + (axis < 0 ? x->rank : 0)];
        int buffer = cab_lower_info(l, v)->at.buffer;
        if (!cab_lower_is_known(l, rows, v) || is_checked(l, buffer, rows))
            continue;
        const cab_dim *params[] = { cab_type_numel(l->g, &v->type), rows, number(l, cab_dtype_onnx(v->type.dtype)) };
        cab_step s = { .kind = CAB_STEP_HELPER, .helper = "bounds", .n_args = 1, .args = &buffer, .n_params = 3,
                       .params = params, .loc = n->loc, .what = "bounds" };
        cab_program_step(l->p, &s);
    }
}

cab_status cab_lower_helper(cab_lower *l, cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_sort: return sort(l, n);
    case CAB_OP_nms: return nms(l, n);
    default: return topk(l, n);
    }
}
