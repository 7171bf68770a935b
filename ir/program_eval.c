/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program_eval.c - the reference meaning of a program: buffers, then steps.
 *
 * Memory that a program may not count on (temporaries not marked zeroed) is
 * filled with ones bits, so a read before the first write shows.  Helpers are
 * a table here as in the runtime, written a second time for independence.
 */
#include "ir/eval_int.h"
#include "ir/spec_int.h"
#include <string.h>

typedef struct store { char *p; uint64_t elems, bytes; } store;

typedef struct run {
    cab_arena *a;
    const cab_program *p;
    cab_env env;
    cab_diag *d;
    store *buf;
} run;

static cab_status fail(run *r, cab_status code, const char *name, const char *why, long long n)
{
    cab_where w = { .node = name ? name : r->p->name, .op = "program" };
    return cab_fail(r->d, code, &w, "%s (%lld)", why, n);
}

static cab_status number(run *r, const cab_dim *x, int64_t *out)
{
    if (!cab_env_eval(&r->env, x, out))
        return fail(r, CAB_EINTERNAL, NULL, "an extent is not known", 0);
    return CAB_OK;
}

/* ---- buffers ---- */
static cab_status size_buffer(run *r, size_t i)
{
    const cab_buffer *b = &r->p->buffers.p[i];
    int64_t n;
    CAB_TRY(number(r, b->elems, &n));
    if (n < 0 || !cab_dtype_bytes(b->type.dtype, (uint64_t)n, &r->buf[i].bytes) ||
        r->buf[i].bytes > (uint64_t)1 << 40)
        return fail(r, CAB_ELIMIT, b->name, "a buffer of this many elements", n);
    r->buf[i].elems = (uint64_t)n;
    if (b->alias_of < 0) {
        r->buf[i].p = cab_alloc(r->a, (size_t)r->buf[i].bytes);
        memset(r->buf[i].p, b->zeroed ? 0 : 0xff, (size_t)r->buf[i].bytes);
    }
    return CAB_OK;
}

/* A buffer inside others: walks out to the one with memory. */
static cab_status place_buffer(run *r, size_t i)
{
    const cab_buffer *b = &r->p->buffers.p[i];
    uint64_t at = 0;
    size_t in = i;
    if (b->alias_of < 0)
        return CAB_OK;
    while (r->p->buffers.p[in].alias_of >= 0) {
        const cab_buffer *c = &r->p->buffers.p[in];
        int64_t n;
        uint64_t bytes = 0;
        size_t out = (size_t)c->alias_of;
        CAB_TRY(number(r, c->alias_at, &n));
        if (n < 0 || !cab_dtype_bytes(r->p->buffers.p[out].type.dtype, (uint64_t)n, &bytes) ||
            bytes > r->buf[out].bytes || r->buf[in].bytes > r->buf[out].bytes - bytes)
            return fail(r, CAB_EINTERNAL, b->name, "an alias leaves its buffer at element", n);
        at += bytes;
        in = out;
    }
    r->buf[i].p = r->buf[in].p + at;
    if (b->zeroed)
        memset(r->buf[i].p, 0, (size_t)r->buf[i].bytes);
    return CAB_OK;
}

static cab_status fill_buffer(run *r, size_t i)
{
    const cab_buffer *b = &r->p->buffers.p[i];
    if (b->kind != CAB_BUFFER_CONST || r->buf[i].bytes == 0)
        return CAB_OK;
    memcpy(r->buf[i].p, b->blob->data, (size_t)r->buf[i].bytes);
    return CAB_OK;
}

static cab_status take_input(run *r, size_t i, const cab_tensor *t)
{
    size_t at = (size_t)r->p->inputs.p[i];
    const cab_buffer *b = &r->p->buffers.p[at];
    uint64_t bytes = 0;
    int64_t n = cab_tensor_numel(t);
    if (n < 0 || !cab_dtype_bytes(t->dtype, (uint64_t)n, &bytes) || bytes > r->buf[at].bytes)
        return fail(r, CAB_EINTERNAL, b->name, "an input larger than its buffer", n);
    if (bytes)
        memcpy(r->buf[at].p, t->data, (size_t)bytes);
    if (b->blob && (b->blob->bytes != bytes ||
                    (bytes && memcmp(b->blob->data, t->data, (size_t)bytes))))
        return fail(r, CAB_EINPUT, b->name, "the program holds for another value of this input", n);
    return CAB_OK;
}

/* Here no state has memory of its own: its room is its extent. */
static cab_status bind_rooms(run *r)
{
    for (size_t i = 0; i < r->p->states.n; i++) {
        const cab_program_state *s = &r->p->states.p[i];
        int64_t in, out;
        CAB_TRY(number(r, r->p->buffers.p[r->p->inputs.p[s->input]].type.dims[s->axis], &in));
        CAB_TRY(number(r, r->p->buffers.p[r->p->outputs.p[s->output]].type.dims[s->axis], &out));
        if (!cab_env_match(&r->env, s->room_in, in) || !cab_env_match(&r->env, s->room_out, out))
            return fail(r, CAB_EINTERNAL, NULL, "two states of unequal extents share their room", in);
    }
    return CAB_OK;
}

static cab_status bind_inputs(run *r, const cab_tensor *in)
{
    /* Twice: an extent like 2*N may stand before N itself. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < r->p->inputs.n; i++) {
            const cab_buffer *b = &r->p->buffers.p[r->p->inputs.p[i]];
            CAB_TRY(cab_env_bind_type(&r->env, &b->type, &in[i], b->name, r->d));
        }
    CAB_TRY(bind_rooms(r));
    return cab_env_check_guards(&r->env, r->p->guards.p, r->p->guards.n, r->d);
}

/* ---- steps ---- */
static cab_status launch(run *r, const cab_step *st)
{
    void **bufs = CAB_NEW_N(r->a, void *, st->n_args);
    for (int k = 0; k < st->n_args; k++) {
        int64_t n;
        CAB_TRY(number(r, st->spec->operands[k].elems, &n));
        if (n < 0 || (uint64_t)n > r->buf[st->args[k]].elems)
            return fail(r, CAB_EINTERNAL, st->spec->name,
                        "an operand is larger than its buffer, elements", n);
        bufs[k] = r->buf[st->args[k]].p;
    }
    return cab_spec_eval(r->a, st->spec, bufs, &r->env, r->d);
}

/* topk: params outer, n, inner, k, largest; args x, values, indices. */
static cab_status helper_topk(run *r, const cab_step *st, const int64_t *par)
{
    int64_t n = par[1], inner = par[2], k = par[3], rows, need, given;
    const store *x = &r->buf[st->args[0]], *v = &r->buf[st->args[1]], *i = &r->buf[st->args[2]];
    cab_dtype t = r->p->buffers.p[st->args[0]].type.dtype;
    if (par[0] < 0 || n < 0 || inner < 0 || k < 0 || k > n ||
        __builtin_mul_overflow(par[0], inner, &rows) ||
        __builtin_mul_overflow(rows, n, &need) || (uint64_t)need > x->elems ||
        __builtin_mul_overflow(rows, k, &given) ||
        (uint64_t)given > v->elems || (uint64_t)given > i->elems)
        return fail(r, CAB_EINTERNAL, "topk", "a helper leaves its buffers", k);
    int64_t *sorted = CAB_NEW_N(r->a, int64_t, n);
    int size = cab_dtype_bits(t) / 8;
    for (int64_t o = 0; o < rows; o++) {
        int64_t row = o / inner, col = o % inner;
        const char *p = x->p + (row * n * inner + col) * size;
        cab_topk_order(t, p, n, inner, par[4] != 0, sorted);
        for (int64_t j = 0; j < k; j++) {
            uint64_t to = (uint64_t)((row * k + j) * inner + col);
            cab_elem_copy(t, v->p, to, p, (uint64_t)(sorted[j] * inner));
            cab_scalar_store(CAB_DT_i64, i->p, to, (cab_scalar){ .i = sorted[j] });
        }
    }
    return CAB_OK;
}

static const struct helper {
    const char *name;
    int n_args, n_params;      /* at least */
    cab_status (*fn)(run *r, const cab_step *st, const int64_t *par);
} helpers[] = {
    { "topk", 3, 5, helper_topk }
};

static cab_status call_helper(run *r, const cab_step *st)
{
    int64_t *par = CAB_NEW_N(r->a, int64_t, st->n_params);
    for (int k = 0; k < st->n_params; k++)
        CAB_TRY(number(r, st->params[k], &par[k]));
    for (size_t i = 0; i < sizeof helpers / sizeof helpers[0]; i++) {
        if (strcmp(helpers[i].name, st->helper))
            continue;
        if (st->n_args < helpers[i].n_args || st->n_params < helpers[i].n_params)
            return fail(r, CAB_EINTERNAL, st->helper, "too few arguments", st->n_args);
        return helpers[i].fn(r, st, par);
    }
    return fail(r, CAB_EUNSUPPORTED, st->helper, "no reference for this helper", st->n_args);
}

static cab_status give_output(run *r, size_t i, cab_tensor *out)
{
    size_t at = (size_t)r->p->outputs.p[i];
    const cab_buffer *b = &r->p->buffers.p[at];
    uint64_t bytes = 0;
    *out = (cab_tensor){ .dtype = b->type.dtype, .rank = b->type.rank };
    for (int k = 0; k < b->type.rank; k++)
        CAB_TRY(number(r, b->type.dims[k], &out->dims[k]));
    if (!cab_tensor_alloc(r->a, out))
        return fail(r, CAB_ELIMIT, b->name, "output too large", (long long)i);
    cab_dtype_bytes(out->dtype, (uint64_t)cab_tensor_numel(out), &bytes);
    if (bytes > r->buf[at].bytes)
        return fail(r, CAB_EINTERNAL, b->name, "an output larger than its buffer", (long long)i);
    memcpy(out->data, r->buf[at].p, (size_t)bytes);
    return CAB_OK;
}

cab_status cab_program_eval(cab_arena *a, const cab_program *p, const cab_tensor *in,
                            cab_tensor *out, cab_diag *d)
{
    run r = { .a = a, .p = p, .d = d, .env.arena = a };
    CAB_TRY(cab_program_verify(p, d));
    r.buf = CAB_NEW_N(a, store, p->buffers.n);
    CAB_TRY(bind_inputs(&r, in));
    for (size_t i = 0; i < p->buffers.n; i++)
        CAB_TRY(size_buffer(&r, i));
    for (size_t i = 0; i < p->buffers.n; i++)
        CAB_TRY(place_buffer(&r, i));
    for (size_t i = 0; i < p->buffers.n; i++)
        CAB_TRY(fill_buffer(&r, i));
    for (size_t i = 0; i < p->inputs.n; i++)
        CAB_TRY(take_input(&r, i, &in[i]));
    for (size_t i = 0; i < p->steps.n; i++) {
        const cab_step *st = &p->steps.p[i];
        if (st->kind == CAB_STEP_CUSTOM)
            return fail(&r, CAB_EUNSUPPORTED, st->custom->name,
                        "an operator of the host program has no reference, arguments", st->n_args);
        int64_t wanted = 1;
        if (st->when)
            CAB_TRY(number(&r, st->when, &wanted));
        if (!wanted)
            continue;
        CAB_TRY(st->kind == CAB_STEP_LAUNCH ? launch(&r, st) : call_helper(&r, st));
    }
    for (size_t i = 0; i < p->outputs.n; i++)
        CAB_TRY(give_output(&r, i, &out[i]));
    return CAB_OK;
}
