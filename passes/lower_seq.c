/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_seq.c - sequences and optionals: lists of the run.
 *
 * A list is a buffer without elements of its own; its steps share tensors, so
 * that copying one costs a pointer per element.  Where the list that is changed
 * is read by nothing else, it is moved.
 */
#include "passes/lower_int.h"

int cab_lower_list_temp(cab_lower *l, const cab_type *t, const char *name)
{
    cab_buffer b = { .kind = CAB_BUFFER_TEMP, .type = *t, .name = name, .alias_of = -1,
                     .elems = cab_dim_const(l->d, 0) };
    return cab_program_buffer(l->p, &b);
}

int cab_lower_list(cab_lower *l, cab_value *v)
{
    cab_vinfo *i = cab_lower_info(l, v);
    if (i->at.buffer < 0)
        i->at.buffer = i->output >= 0 ? l->p->outputs.p[i->output]
                                      : cab_lower_list_temp(l, &v->type, v->name);
    return i->at.buffer;
}

static void step(cab_lower *l, cab_step_kind kind, const cab_dim *sym, int a, int b,
                 const cab_dim *const *params, int n_params, const cab_node *n)
{
    int *args = CAB_NEW_N(l->a, int, 2);
    cab_step s = { .kind = kind, .sym = sym, .args = args, .n_args = b < 0 ? 1 : 2,
                   .params = cab_dup(l->a, params, (size_t)n_params * sizeof *params),
                   .n_params = n_params };
    args[0] = a;
    args[1] = b;
    if (n) {
        s.loc = n->loc;
        s.what = n->op->name;
    }
    cab_program_step(l->p, &s);
}

void cab_lower_list_copy(cab_lower *l, int to, cab_value *v)
{
    const cab_vinfo *i = cab_lower_info(l, v);
    int from = cab_lower_list(l, v);
    bool last = v->n_uses == 1 && (v->def ? v->def->graph == l->g : i->passing) && i->output < 0;
    if (from != to)
        step(l, last ? CAB_STEP_LIST_MOVE : CAB_STEP_LIST_COPY, NULL, to, from, NULL, 0, NULL);
}

/* Attribute at, or the place behind the last. */
static const cab_dim *place(cab_lower *l, const cab_node *n, int64_t otherwise)
{
    const cab_dim *const *at;
    return cab_attr_dims(n, "at", &at) > 0 ? at[0] : cab_dim_const(l->d, otherwise);
}

static cab_status insert(cab_lower *l, cab_node *n, int list, cab_value *x, const cab_dim *at)
{
    const cab_dim *params[CAB_MAX_RANK + 1] = { at };
    int buffer;
    CAB_TRY(cab_lower_dense(l, x, n, &buffer));
    for (int i = 0; i < x->type.rank; i++)
        params[1 + i] = x->type.dims[i];
    step(l, CAB_STEP_LIST_INSERT, NULL, list, buffer, params, 1 + x->type.rank, n);
    return CAB_OK;
}

static cab_status make(cab_lower *l, cab_node *n)
{
    int list = cab_lower_list(l, n->out[0]);
    bool none = n->out[0]->type.kind == CAB_KIND_optional && n->n_in == 0;
    step(l, none ? CAB_STEP_LIST_NONE : CAB_STEP_LIST_CLEAR, NULL, list, -1, NULL, 0, n);
    for (int i = 0; i < n->n_in; i++)
        CAB_TRY(insert(l, n, list, n->in[i], cab_dim_const(l->d, INT64_MAX)));
    return CAB_OK;
}

static cab_status change(cab_lower *l, cab_node *n)
{
    int list = cab_lower_list(l, n->out[0]);
    cab_lower_list_copy(l, list, n->in[0]);
    if (n->op->id == CAB_OP_seq_insert)
        return insert(l, n, list, n->in[1], place(l, n, INT64_MAX));
    if (n->op->id == CAB_OP_seq_erase) {
        const cab_dim *at = place(l, n, -1);
        step(l, CAB_STEP_LIST_ERASE, NULL, list, -1, &at, 1, n);
    }
    return CAB_OK;
}

/* An optional is opened: it must hold something. */
static void check_held(cab_lower *l, const cab_node *n)
{
    const cab_dim *has = cab_dim_fresh(l->d, "data"), *one = cab_dim_const(l->d, 1);
    const cab_step texts = { .loc = n->loc, .what = "the optional holds nothing" };
    cab_dim_assume(l->d, has, 0, 1, 1);
    step(l, CAB_STEP_LIST_HAS, has, cab_lower_list(l, n->in[0]), -1, NULL, 0, n);
    cab_lower_flow_step(l, CAB_STEP_CHECK_EQ, NULL, -1, has, one, &texts);
}

/* A tensor out of a list lies where the list has it. */
static void take(cab_lower *l, cab_node *n, int *out)
{
    cab_value *y = n->out[0];
    cab_vinfo *i = cab_lower_info(l, y);
    i->output = -1;
    *out = i->at.buffer = cab_place_temp(l, &y->type, y->name);
    cab_type_strides(l->g, &y->type, i->at.stride, &i->at.base, NULL);
}

static cab_status get(cab_lower *l, cab_node *n)
{
    const cab_dim *const *syms, *params[3] = { place(l, n, 0) };
    int list = cab_lower_list(l, n->in[0]), rank = n->out[0]->type.rank, buffer;
    if (n->in[0]->type.kind == CAB_KIND_optional)
        check_held(l, n);
    cab_attr_dims(n, "syms", &syms);
    params[2] = cab_dim_const(l->d, rank);
    for (int i = 0; i < rank; i++) {
        params[1] = cab_dim_const(l->d, i);
        step(l, CAB_STEP_LIST_DIM, syms[i], list, -1, params, 3, n);
    }
    cab_lower_given(l, syms, rank, n);
    take(l, n, &buffer);
    step(l, CAB_STEP_LIST_GET, NULL, buffer, list, params, 1, n);
    return CAB_OK;
}

static cab_status concat(cab_lower *l, cab_node *n)
{
    const cab_dim *const *syms;
    int list = cab_lower_list(l, n->in[0]), rank = n->out[0]->type.rank, buffer;
    const cab_dim *params[4] = { NULL, cab_dim_const(l->d, rank),
                                 cab_dim_const(l->d, cab_attr_int(n, "axis")),
                                 cab_dim_const(l->d, cab_attr_int(n, "new_axis") != 0) };
    cab_attr_dims(n, "syms", &syms);
    for (int i = 0; i < rank; i++) {
        params[0] = cab_dim_const(l->d, i);
        step(l, CAB_STEP_LIST_CONCAT_DIM, syms[i], list, -1, params, 4, n);
    }
    cab_lower_given(l, syms, rank, n);
    take(l, n, &buffer);
    cab_lower_flow_step(l, CAB_STEP_ALLOC, NULL, buffer, NULL, NULL, NULL);
    step(l, CAB_STEP_LIST_CONCAT, NULL, buffer, list, params + 2, 2, n);
    return CAB_OK;
}

static cab_status tell(cab_lower *l, cab_node *n, cab_step_kind kind)
{
    const cab_dim *const *sym;
    cab_attr_dims(n, "value", &sym);
    step(l, kind, sym[0], cab_lower_list(l, n->in[0]), -1, NULL, 0, n);
    cab_lower_given(l, sym, 1, n);
    return CAB_OK;
}

cab_status cab_lower_seq(cab_lower *l, cab_node *n)
{
    switch (n->op->id) {
    case CAB_OP_seq_make: return make(l, n);
    case CAB_OP_seq_insert: case CAB_OP_seq_erase: return change(l, n);
    case CAB_OP_seq_kind:
        if (n->in[0]->type.kind == CAB_KIND_optional)
            check_held(l, n);
        return change(l, n);
    case CAB_OP_seq_at: return get(l, n);
    case CAB_OP_seq_concat: return concat(l, n);
    case CAB_OP_seq_length: return tell(l, n, CAB_STEP_LIST_LENGTH);
    case CAB_OP_seq_has: return tell(l, n, CAB_STEP_LIST_HAS);
    default:
        return cab_fail(l->c->diag, CAB_EINTERNAL, NULL, "no lowering of %s", n->op->name);
    }
}
