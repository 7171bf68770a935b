/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval.c - the driver of the reference evaluator.
 *
 * Runs CORE nodes on concrete tensors with plain loops: the oracle of tests
 * and the engine of constant folding.  It shares nothing with Specs but the
 * scalar functions.  Shapes are computed from the operands and attributes; a
 * whole graph's run also checks them against the inferred types, and so
 * tests inference.
 */
#include "ir/eval_int.h"
#include <string.h>

typedef cab_status eval_fn(cab_eval *e);

static eval_fn *const handlers[] = {
#define SCALAR(id, arity, rule, traits, doc) [CAB_OP_##id] = cab_eval_op_scalar,
#include "ir/scalar.def"
    [CAB_OP_const] = cab_eval_op_const,
    [CAB_OP_dim] = cab_eval_op_dim,
    [CAB_OP_item] = cab_eval_op_item,
    [CAB_OP_if] = cab_eval_op_if,
    [CAB_OP_loop] = cab_eval_op_loop,
    [CAB_OP_iota] = cab_eval_op_iota,
    [CAB_OP_reshape] = cab_eval_op_reshape,
    [CAB_OP_transpose] = cab_eval_op_transpose,
    [CAB_OP_expand] = cab_eval_op_expand,
    [CAB_OP_slice] = cab_eval_op_slice,
    [CAB_OP_pad] = cab_eval_op_pad,
    [CAB_OP_concat] = cab_eval_op_concat,
    [CAB_OP_relayout] = cab_eval_op_copy,
    [CAB_OP_reduce] = cab_eval_op_reduce,
    [CAB_OP_argreduce] = cab_eval_op_argreduce,
    [CAB_OP_scan] = cab_eval_op_scan,
    [CAB_OP_dot] = cab_eval_op_dot,
    [CAB_OP_conv] = cab_eval_op_conv,
    [CAB_OP_window] = cab_eval_op_window,
    [CAB_OP_gather] = cab_eval_op_gather,
    [CAB_OP_scatter] = cab_eval_op_scatter,
    [CAB_OP_wino_in] = cab_eval_op_wino_in,
    [CAB_OP_wino_out] = cab_eval_op_wino_out,
    [CAB_OP_topk] = cab_eval_op_topk,
    [CAB_OP_sort] = cab_eval_op_sort,
    [CAB_OP_nms] = cab_eval_op_nms
};

bool cab_eval_knows(cab_op_id op)
{
    return (size_t)op < sizeof handlers / sizeof handlers[0] && handlers[op];
}

/* ---- tensors ---- */
int64_t cab_tensor_numel(const cab_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, t->dims[i], &n))
            return -1;
    return n;
}

bool cab_tensor_alloc(cab_arena *a, cab_tensor *t)
{
    uint64_t bytes;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0)
            return false;
    int64_t n = cab_tensor_numel(t);
    if (n < 0 || cab_dtype_bits(t->dtype) == 0 ||
        !cab_dtype_bytes(t->dtype, (uint64_t)n, &bytes) || bytes > (uint64_t)1 << 40)
        return false;
    t->data = cab_alloc_zero(a, (size_t)bytes, 1);
    return true;
}

/* ---- symbols ---- */
void cab_env_set(cab_env *e, const char *sym, int64_t v)
{
    for (size_t i = 0; i < e->v.n; i++)
        if (!strcmp(e->v.p[i].sym, sym)) {
            e->v.p[i].v = v;
            return;
        }
    cab_vec_reserve(e->arena, &e->v, e->v.n + 1);
    e->v.p[e->v.n].sym = sym;
    e->v.p[e->v.n++].v = v;
}

bool cab_env_get(void *env, const char *sym, int64_t *out)
{
    const cab_env *e = env;
    for (size_t i = 0; e && i < e->v.n; i++)
        if (!strcmp(e->v.p[i].sym, sym)) {
            *out = e->v.p[i].v;
            return true;
        }
    return false;
}

bool cab_env_eval(cab_env *env, const cab_dim *x, int64_t *out)
{
    return cab_dim_eval(x, cab_env_get, env, out);
}

bool cab_env_match(cab_env *env, const cab_dim *x, int64_t v)
{
    int64_t known;
    if (cab_env_eval(env, x, &known))
        return known == v;
    if (x->kind == CAB_DIM_SYM && env)
        cab_env_set(env, x->name, v);
    return true;
}

static cab_status mismatch(const char *name, const cab_type *t, const cab_tensor *v,
                           cab_arena *scratch, cab_diag *d)
{
    cab_buf b = cab_buf_on(scratch);
    cab_type_print(&b, t);
    cab_buf_printf(&b, ", got %s[", cab_dtype_name(v->dtype));
    for (int i = 0; i < v->rank; i++)
        cab_buf_printf(&b, "%s%lld", i ? "," : "", (long long)v->dims[i]);
    cab_where w = { .node = name };
    return cab_fail(d, CAB_EINPUT, &w, "expected %s]", cab_buf_cstr(&b));
}

cab_status cab_env_bind_type(cab_env *env, const cab_type *t, const cab_tensor *v,
                             const char *name, cab_diag *d)
{
    bool ok = t->kind == CAB_KIND_tensor && t->dtype == v->dtype && t->rank == v->rank;
    for (int i = 0; ok && i < t->rank; i++)
        ok = cab_env_match(env, t->dims[i], v->dims[i]);
    return ok ? CAB_OK : mismatch(name, t, v, env->arena, d);
}

cab_status cab_env_check_guards(cab_env *env, const cab_guard_eq *g, size_t n, cab_diag *d)
{
    for (size_t i = 0; i < n; i++) {
        int64_t l, r;
        if (!cab_env_eval(env, g[i].lhs, &l) || !cab_env_eval(env, g[i].rhs, &r))
            continue;
        if (g[i].le && l <= r)
            continue;
        if (l != r)
            return cab_fail(d, CAB_EINPUT, NULL, "%s: %lld is not %lld",
                            g[i].why ? g[i].why : "a guard does not hold",
                            (long long)l, (long long)r);
    }
    return CAB_OK;
}

/* ---- nodes ---- */
cab_status cab_eval_error(cab_eval *e, cab_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cab_where w = cab_node_where(e->n);
    cab_status s = cab_vfail(e->d, code, &w, fmt, ap);
    va_end(ap);
    return s;
}

cab_status cab_eval_node(cab_arena *a, const cab_node *n, const cab_tensor *const *in,
                         cab_tensor *out, cab_env *env, cab_diag *d)
{
    cab_eval e = { .a = a, .n = n, .in = in, .out = out, .env = env, .d = d };
    if (!cab_eval_knows(n->op->id))
        return cab_eval_error(&e, CAB_EUNSUPPORTED, "op '%s' has no reference evaluator",
                              n->op->name);
    for (int i = 0; i < n->op->n_in; i++) {
        bool given = i < n->n_in && in[i];
        if (!given && n->op->in[i].arity == CAB_ONE)
            return cab_eval_error(&e, CAB_EINVAL, "operand '%s' is missing",
                                  n->op->in[i].name);
    }
    for (int i = 0; i < n->n_out; i++)
        out[i].data = NULL;
    return handlers[n->op->id](&e);
}

/* ---- graphs ---- */
typedef struct run {
    cab_arena *a;
    const cab_graph *g;
    cab_tensor *values;        /* by value id; data NULL = not yet */
    cab_env env;
    cab_diag *d;
} run;

static run run_of(cab_arena *a, const cab_graph *g, cab_diag *d)
{
    run r = { .a = a, .g = g, .d = d, .env.arena = a };
    const cab_graph *root = g;
    while (root->parent)
        root = root->parent;   /* ids are unique in the whole tree of graphs */
    r.values = CAB_NEW_N(a, cab_tensor, root->next_id);
    return r;
}

static const char *value_name(const cab_value *v)
{
    return v->name ? v->name : "(unnamed)";
}

/* What inference knows of the elements must hold; unknown symbols are bound. */
static cab_status match_elements(run *r, const cab_value *v, const cab_tensor *t)
{
    if (!v->sym || v->n_sym != cab_tensor_numel(t))
        return CAB_OK;
    for (int64_t i = 0; i < v->n_sym; i++) {
        int64_t x = cab_scalar_load(t->dtype, t->data, (uint64_t)i).i;
        if (v->sym[i] && !cab_env_match(&r->env, v->sym[i], x)) {
            cab_where w = { .node = value_name(v) };
            return cab_fail(r->d, v->def ? CAB_EINTERNAL : CAB_EINPUT, &w,
                            "element %lld is %lld, which is not what its shape arithmetic says",
                            (long long)i, (long long)x);
        }
    }
    return CAB_OK;
}

static cab_status take_inputs(run *r, const cab_tensor *in)
{
    for (size_t i = 0; i < r->g->inputs.n; i++) {
        const cab_value *v = r->g->inputs.p[i];
        CAB_TRY(cab_env_bind_type(&r->env, &v->type, &in[i], value_name(v), r->d));
        r->values[v->id] = in[i];
    }
    /* Once more, now that all plain symbols are bound: 2*N may stand before N. */
    for (size_t i = 0; i < r->g->inputs.n; i++) {
        const cab_value *v = r->g->inputs.p[i];
        CAB_TRY(cab_env_bind_type(&r->env, &v->type, &in[i], value_name(v), r->d));
        CAB_TRY(match_elements(r, v, &in[i]));
    }
    return cab_env_check_guards(&r->env, r->g->guards.p, r->g->guards.n, r->d);
}

static cab_status run_node(run *r, const cab_node *n)
{
    const cab_tensor **in = CAB_NEW_N(r->a, const cab_tensor *, n->n_in);
    cab_tensor *out = CAB_NEW_N(r->a, cab_tensor, n->n_out);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i]) {
            in[i] = &r->values[n->in[i]->id];
            CAB_ASSERT(in[i]->data != NULL);
        }
    CAB_TRY(cab_eval_node(r->a, n, in, out, &r->env, r->d));
    for (int i = 0; i < n->n_out; i++) {
        const cab_value *v = n->out[i];
        if (!v)
            continue;
        r->values[v->id] = out[i];
        if (cab_env_bind_type(&r->env, &v->type, &out[i], value_name(v), r->d) != CAB_OK) {
            cab_where w = cab_node_where(n);
            return cab_fail(r->d, CAB_EINTERNAL, &w,
                            "'%s' computed another type than was inferred", n->op->name);
        }
        CAB_TRY(match_elements(r, v, &out[i]));
        if (r->env.trace)
            r->env.trace(r->env.trace_arg, v, &out[i]);
    }
    return CAB_OK;
}

cab_status cab_eval_graph_trace(cab_arena *a, const cab_graph *g, const cab_tensor *in,
                                cab_tensor *out, cab_diag *d,
                                void (*fn)(void *, const cab_value *, const cab_tensor *),
                                void *arg)
{
    run r = run_of(a, g, d);
    r.env.trace = fn;
    r.env.trace_arg = arg;
    CAB_TRY(take_inputs(&r, in));
    for (const cab_node *n = g->first; n; n = n->next)
        CAB_TRY(run_node(&r, n));
    for (size_t i = 0; i < g->outputs.n; i++)
        out[i] = r.values[g->outputs.p[i]->id];
    return CAB_OK;
}

cab_status cab_eval_body(cab_eval *e, const cab_graph *g, const cab_tensor *const *in,
                         cab_tensor *out)
{
    run r = run_of(e->a, g, e->d);
    if (e->env)
        r.env = *e->env;
    for (size_t i = 0; i < g->inputs.n; i++) {
        r.values[g->inputs.p[i]->id] = *in[i];
        if (r.env.trace)
            r.env.trace(r.env.trace_arg, g->inputs.p[i], in[i]);
    }
    CAB_TRY(cab_env_check_guards(&r.env, g->guards.p, g->guards.n, r.d));
    for (const cab_node *n = g->first; n; n = n->next)
        CAB_TRY(run_node(&r, n));
    for (size_t i = 0; i < g->outputs.n; i++)
        out[i] = r.values[g->outputs.p[i]->id];
    if (e->env)
        *e->env = r.env;
    return CAB_OK;
}

cab_status cab_eval_graph(cab_arena *a, const cab_graph *g, const cab_tensor *in,
                          cab_tensor *out, cab_diag *d)
{
    return cab_eval_graph_trace(a, g, in, out, d, NULL, NULL);
}
