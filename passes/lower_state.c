/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_state.c - graph outputs that are a graph input made longer.
 *
 * A cache of keys or values comes in as P and goes out as concat(P, new...).
 * When both lie in one piece of memory with room at the end of the axis, the
 * old part need not be copied.  Here such pairs are found, and the extent of
 * the axis in memory becomes a symbol of its own, on either side: strides and
 * sizes of the two buffers are written in it, and whoever runs the program
 * gives it a value, at least the extent.  Pairs of equal extents share their
 * symbols, so that the layers of a model share kernels.
 */
#include "passes/lower_int.h"

/* Reads v, or a view of it, as dense memory: it would have to copy. */
static bool wants_dense(const cab_value *v, int depth)
{
    for (const cab_use *u = v->uses; u; u = u->next) {
        if (!u->node)
            continue;
        if (u->node->op->traits & CAB_T_HELPER || u->node->op->id == CAB_OP_custom)
            return true;
        if (depth < 4 && cab_op_is_view(u->node->op->id) &&
            wants_dense(u->node->out[0], depth + 1))
            return true;
    }
    return false;
}

/* Known before the run: made of extents of inputs. */
static bool from_extents(const cab_lower *l, const cab_dim *x)
{
    if (x->kind == CAB_DIM_CONST)
        return true;
    for (int i = 0; i < x->n_args; i++)
        if (!from_extents(l, x->args[i]))
            return false;
    for (size_t k = 0; x->kind == CAB_DIM_SYM; k++) {
        if (k == l->g->inputs.n)
            return false;
        const cab_type *t = &l->g->inputs.p[k]->type;
        for (int i = 0; i < t->rank; i++)
            if (t->dims[i] == x)
                return true;
    }
    return true;
}

/* The axis along which y, an output, is the input x with more behind it; -1. */
static int grows_along(const cab_lower *l, const cab_value *x, const cab_value *y)
{
    const cab_type *a = &x->type, *b = &y->type;
    int64_t axis = cab_attr_int(y->def, "axis");
    axis += axis < 0 ? b->rank : 0;
    if (a->layout || b->layout || a->dtype != b->dtype || a->rank != b->rank || x->hint_used ||
        cab_dtype_bits(a->dtype) < 8 || a->dims[axis]->kind != CAB_DIM_SYM ||
        !from_extents(l, b->dims[axis]) || wants_dense(x, 0) || wants_dense(y, 0))
        return -1;
    for (int i = 0; i < a->rank; i++)
        if (i != axis && a->dims[i] != b->dims[i])
            return -1;
    return (int)axis;
}

static int input_number(const cab_lower *l, const cab_value *x)
{
    for (size_t i = 0; i < l->g->inputs.n; i++)
        if (l->g->inputs.p[i] == x)
            return (int)i;
    return -1;
}

static int output_number(const cab_lower *l, const cab_value *y)
{
    for (size_t i = 0; i < l->g->outputs.n; i++)
        if (l->g->outputs.p[i] == y)
            return (int)i;
    return -1;
}

/* Gives the pair the symbols of an earlier one with the same extents. */
static void share_room(const cab_lower *l, cab_program_state *s)
{
    const cab_dim *in = l->g->inputs.p[s->input]->type.dims[s->axis];
    const cab_dim *out = l->g->outputs.p[s->output]->type.dims[s->axis];
    for (size_t i = 0; i < l->p->states.n; i++) {
        const cab_program_state *o = &l->p->states.p[i];
        if (l->g->inputs.p[o->input]->type.dims[o->axis] != in ||
            l->g->outputs.p[o->output]->type.dims[o->axis] != out)
            continue;
        s->room_in = o->room_in;
        s->room_out = o->room_out;
        return;
    }
    s->room_in = cab_dim_fresh(l->d, "room");
    s->room_out = cab_dim_fresh(l->d, "room");
}

static void add(cab_lower *l, cab_value *x, cab_value *y, int axis)
{
    cab_program_state s = { .input = input_number(l, x), .output = output_number(l, y),
                            .axis = axis };
    cab_vinfo *in = cab_lower_info(l, x), *out = cab_lower_info(l, y);
    if (s.input < 0 || in->state)
        return;                        /* an input goes on in one output */
    share_room(l, &s);
    cab_vec_push(l->a, &l->p->states, s);
    in->state = out->state = (int)l->p->states.n;
}

void cab_lower_find_states(cab_lower *l)
{
    for (size_t k = 0; k < l->g->outputs.n; k++) {
        cab_value *y = l->g->outputs.p[k];
        cab_value *x = y->def && y->def->op->id == CAB_OP_concat ? y->def->in[0] : NULL;
        int axis;
        if (!x || x->def || cab_lower_info(l, y)->state || cab_value_is_expr(y))
            continue;
        axis = grows_along(l, x, y);
        if (axis >= 0)
            add(l, x, y, axis);
    }
}

cab_type cab_lower_memory_type(const cab_lower *l, const cab_value *v)
{
    cab_type t = v->type;
    int state = cab_lower_info(l, v)->state;
    if (state) {
        const cab_program_state *s = &l->p->states.p[state - 1];
        t.dims[s->axis] = v->def ? s->room_out : s->room_in;
    }
    return t;
}
