/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_flow.c - the reference meaning of branches and loops.
 */
#include "ir/eval_int.h"
#include <string.h>

static cab_status set_symbols(cab_eval *e, const char *to, const char *from)
{
    const cab_dim *const *sym, *const *x;
    int64_t n = cab_attr_dims(e->n, to, &sym), *v;
    if (n <= 0)
        return CAB_OK;
    cab_attr_dims(e->n, from, &x);
    v = CAB_NEW_N(e->a, int64_t, n);
    for (int64_t i = 0; i < n; i++)        /* all of them with the old values */
        if (!cab_env_eval(e->env, x[i], &v[i]))
            return cab_eval_error(e, CAB_EINTERNAL, "an extent is not known");
    for (int64_t i = 0; i < n; i++)
        cab_env_set(e->env, sym[i]->name, v[i]);
    return CAB_OK;
}

static cab_status known(cab_eval *e, const char *attr, int64_t *out)
{
    const cab_dim *const *x;
    if (cab_attr_dims(e->n, attr, &x) == 1 && cab_env_eval(e->env, x[0], out))
        return CAB_OK;
    return cab_eval_error(e, CAB_EINTERNAL, "attribute '%s' is not known", attr);
}

cab_status cab_eval_op_if(cab_eval *e)
{
    int64_t cond;
    CAB_TRY(known(e, "cond", &cond));
    const cab_graph *g = cab_attr_find(e->n, cond ? "then" : "else")->u.graph;
    const cab_tensor *const *in = e->in + (cond ? 0 : cab_attr_int(e->n, "n_then"));
    CAB_TRY(cab_eval_body(e, g, in, e->out));
    return set_symbols(e, "syms", cond ? "then_dims" : "else_dims");
}

/* What a loop keeps from one time to the next. */
typedef struct loop {
    const cab_graph *body;
    int carried, go, stacked;
    const cab_tensor **in;         /* of the body */
    cab_tensor *state, *given;
    struct { cab_buf bytes; cab_tensor last; } *stack;
} loop;

static cab_status once(cab_eval *e, loop *l, int64_t i, bool *more)
{
    const cab_dim *const *sym;
    cab_attr_dims(e->n, "iter", &sym);
    cab_env_set(e->env, sym[0]->name, i);
    CAB_TRY(cab_eval_body(e, l->body, l->in, l->given));
    *more = !l->go || cab_scalar_load(l->given[0].dtype, l->given[0].data, 0).i;
    for (int k = 0; k < l->stacked; k++) {
        cab_tensor *t = &l->given[l->go + l->carried + k];
        uint64_t n = 0;
        if (i && memcmp(t->dims, l->stack[k].last.dims, (size_t)t->rank * sizeof *t->dims))
            return cab_eval_error(e, CAB_EINPUT, "a stacked value keeps its shape");
        cab_dtype_bytes(t->dtype, (uint64_t)cab_tensor_numel(t), &n);
        cab_buf_bytes(&l->stack[k].bytes, t->data, n);
        l->stack[k].last = *t;
    }
    CAB_TRY(set_symbols(e, "syms", "next"));
    for (int k = 0; k < l->carried; k++)
        l->state[k] = l->given[l->go + k];
    return CAB_OK;
}

/* The stacked values; of a loop that never ran, the extents are in dims. */
static cab_status give_stack(cab_eval *e, const loop *l, int64_t count)
{
    const cab_dim *const *dims;
    int64_t used = 0;
    cab_attr_dims(e->n, "dims", &dims);
    for (int k = 0; k < l->stacked; k++) {
        const cab_type *t = &l->body->outputs.p[l->go + l->carried + k]->type;
        int64_t d[CAB_MAX_RANK + 1] = { count };
        for (int i = 0; i < t->rank; i++)
            if (!cab_env_eval(e->env, dims[used++], &d[1 + i]))
                return cab_eval_error(e, CAB_EINTERNAL, "an extent is not known");
        CAB_TRY(cab_eval_out(e, l->carried + k, t->dtype, t->rank + 1, d));
        if (l->stack[k].bytes.n)
            memcpy(e->out[l->carried + k].data, l->stack[k].bytes.p, l->stack[k].bytes.n);
    }
    return CAB_OK;
}

cab_status cab_eval_op_loop(cab_eval *e)
{
    loop l = { .body = cab_attr_find(e->n, "body")->u.graph,
               .carried = (int)cab_attr_int(e->n, "carried"),
               .go = cab_attr_dims(e->n, "go", NULL) > 0 };
    const cab_dim *const *count;
    int64_t trip, i = 0;
    bool more = true;
    l.stacked = e->n->n_out - l.carried;
    l.in = CAB_NEW_N(e->a, const cab_tensor *, e->n->n_in + 1);
    l.state = CAB_NEW_N(e->a, cab_tensor, l.carried + 1);
    l.given = CAB_NEW_N(e->a, cab_tensor, l.body->outputs.n + 1);
    l.stack = cab_alloc_zero(e->a, (size_t)l.stacked + 1, sizeof *l.stack);
    for (int k = 0; k < l.stacked; k++)
        l.stack[k].bytes = cab_buf_on(e->a);
    for (int k = 0; k < e->n->n_in; k++)
        l.in[k] = e->in[k];
    for (int k = 0; k < l.carried; k++) {
        l.state[k] = *e->in[k];
        l.in[k] = &l.state[k];
    }
    CAB_TRY(known(e, "trip", &trip));
    CAB_TRY(set_symbols(e, "syms", "first"));
    for (; i < trip && more; i++)
        CAB_TRY(once(e, &l, i, &more));
    cab_attr_dims(e->n, "count", &count);
    if (count[0]->kind == CAB_DIM_SYM && l.go)
        cab_env_set(e->env, count[0]->name, i);
    for (int k = 0; k < l.carried; k++)
        e->out[k] = l.state[k];
    return give_stack(e, &l, i);
}
