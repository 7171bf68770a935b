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

typedef struct store { char *p; uint64_t elems, bytes, room; } store;

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
static bool known_size(run *r, size_t i)
{
    int64_t n;
    if (r->p->buffers.p[i].type.kind != CAB_KIND_tensor)
        return false;
    return cab_env_eval(&r->env, r->p->buffers.p[i].elems, &n);
}

/* Gives buffer i the size its symbols ask for now; what it holds stays. */
static cab_status size_buffer(run *r, size_t i)
{
    const cab_buffer *b = &r->p->buffers.p[i];
    store *s = &r->buf[i];
    int64_t n;
    CAB_TRY(number(r, b->elems, &n));
    if (n < 0 || !cab_dtype_bytes(b->type.dtype, (uint64_t)n, &s->bytes) ||
        s->bytes > (uint64_t)1 << 40)
        return fail(r, CAB_ELIMIT, b->name, "a buffer of this many elements", n);
    s->elems = (uint64_t)n;
    if (b->alias_of >= 0 || (s->p && s->bytes <= s->room))
        return CAB_OK;
    char *p = cab_alloc(r->a, (size_t)s->bytes);
    memset(p, b->zeroed ? 0 : 0xff, (size_t)s->bytes);
    if (s->room)
        memcpy(p, s->p, (size_t)s->room);
    s->p = p;
    s->room = s->bytes;
    return CAB_OK;
}

/* A buffer inside others: walks out to the one with memory. */
static cab_status place_buffer(run *r, size_t i)
{
    const cab_buffer *b = &r->p->buffers.p[i];
    uint64_t at = 0;
    size_t in = i;
    bool first = !r->buf[i].p;
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
    if (b->zeroed && first)
        memset(r->buf[i].p, 0, (size_t)r->buf[i].bytes);
    return CAB_OK;
}

/* Before a step uses buffer i. */
static cab_status touch(run *r, size_t i)
{
    if (r->p->buffers.p[i].alias_of >= 0)
        CAB_TRY(touch(r, (size_t)r->p->buffers.p[i].alias_of));
    CAB_TRY(size_buffer(r, i));
    return place_buffer(r, i);
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
            if (b->type.kind != CAB_KIND_tensor)
                return fail(r, CAB_EUNSUPPORTED, b->name, "no reference for lists, input",
                            (long long)i);
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
        CAB_TRY(touch(r, (size_t)st->args[k]));
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

/* Elements of argument k as at least n * m * l are needed. */
static bool holds(run *r, const cab_step *st, int k, int64_t n, int64_t m, int64_t l)
{
    int64_t need;
    return n >= 0 && m >= 0 && l >= 0 && !__builtin_mul_overflow(n, m, &need) &&
           !__builtin_mul_overflow(need, l, &need) && (uint64_t)need <= r->buf[st->args[k]].elems;
}

/* sort: params n, m; args x, order. */
static cab_status helper_sort(run *r, const cab_step *st, const int64_t *par)
{
    if (!holds(r, st, 0, par[0], par[1], 1) || !holds(r, st, 1, par[0], 1, 1))
        return fail(r, CAB_EINTERNAL, "sort", "a helper leaves its buffers", par[0]);
    cab_sort_order(r->p->buffers.p[st->args[0]].type.dtype, r->buf[st->args[0]].p, par[0], par[1],
                   (int64_t *)(void *)r->buf[st->args[1]].p);
    return CAB_OK;
}

/* nms: params batches, n, classes, limit, center, filter; args boxes, scores,
 * iou, threshold, selected, count. */
static cab_status helper_nms(run *r, const cab_step *st, const int64_t *par)
{
    int64_t limit = par[3] < par[1] ? par[3] : par[1], sets;
    if (__builtin_mul_overflow(par[0], par[2], &sets) || !holds(r, st, 0, par[0], par[1], 4) ||
        !holds(r, st, 1, sets, par[1], 1) || !holds(r, st, 2, 1, 1, 1) ||
        !holds(r, st, 3, 1, 1, 1) || !holds(r, st, 4, sets, limit, 3) || !holds(r, st, 5, 1, 1, 1))
        return fail(r, CAB_EINTERNAL, "nms", "a helper leaves its buffers", limit);
    void *b[6];
    for (int k = 0; k < 6; k++)
        b[k] = r->buf[st->args[k]].p;
    cab_nms q = { .batches = par[0], .n = par[1], .classes = par[2], .limit = limit,
                  .center = par[4] != 0, .filter = par[5] != 0, .boxes = b[0], .scores = b[1],
                  .iou = *(float *)b[2], .threshold = *(float *)b[3] };
    *(int64_t *)b[5] = cab_nms_select(r->a, &q, b[4]);
    return CAB_OK;
}

static const struct helper {
    const char *name;
    int n_args, n_params;      /* at least */
    cab_status (*fn)(run *r, const cab_step *st, const int64_t *par);
} helpers[] = {
    { "topk", 3, 5, helper_topk },
    { "sort", 2, 2, helper_sort },
    { "nms", 6, 6, helper_nms }
};

static cab_status call_helper(run *r, const cab_step *st)
{
    int64_t *par = CAB_NEW_N(r->a, int64_t, st->n_params);
    for (int k = 0; k < st->n_params; k++)
        CAB_TRY(number(r, st->params[k], &par[k]));
    for (size_t i = 0; i < sizeof helpers / sizeof helpers[0]; i++) {
        if (strcmp(helpers[i].name, st->helper))
            continue;
        for (int k = 0; k < st->n_args; k++)
            CAB_TRY(touch(r, (size_t)st->args[k]));
        if (st->n_args < helpers[i].n_args || st->n_params < helpers[i].n_params)
            return fail(r, CAB_EINTERNAL, st->helper, "too few arguments", st->n_args);
        return helpers[i].fn(r, st, par);
    }
    return fail(r, CAB_EUNSUPPORTED, st->helper, "no reference for this helper", st->n_args);
}

/* ---- flow ---- */
static cab_status read_symbol(run *r, const cab_step *st)
{
    const cab_buffer *b = &r->p->buffers.p[st->args[0]];
    int64_t at, v;
    CAB_TRY(touch(r, (size_t)st->args[0]));
    CAB_TRY(number(r, st->params[0], &at));
    if (at < 0 || (uint64_t)at >= r->buf[st->args[0]].elems)
        return fail(r, CAB_EINTERNAL, b->name, "a read outside its buffer", at);
    v = cab_scalar_load(b->type.dtype, r->buf[st->args[0]].p, (uint64_t)at).i;
    cab_env_set(&r->env, st->sym->name, v);
    return CAB_OK;
}

static cab_status check(run *r, const cab_step *st)
{
    int64_t x, y;
    CAB_TRY(number(r, st->params[0], &x));
    CAB_TRY(number(r, st->params[1], &y));
    if (st->kind == CAB_STEP_CHECK_EQ ? x == y : x <= y)
        return CAB_OK;
    return fail(r, CAB_EINPUT, st->loc, st->what ? st->what : "a size does not fit", x);
}

/* Where steps of blocks lead. */
typedef struct jump { size_t out, begin; } jump;

/* out: IF behind its ELSE or END, ELSE and LOOP behind their END, BREAK behind
 * the END of its loop; begin: of an END, the step that it ends. */
static jump *find_jumps(run *r)
{
    const cab_program *p = r->p;
    jump *j = CAB_NEW_N(r->a, jump, p->steps.n);
    CAB_VEC(size_t) open = { 0 };
    for (size_t i = 0; i < p->steps.n; i++) {
        cab_step_kind k = p->steps.p[i].kind;
        if (k == CAB_STEP_ELSE)
            j[open.p[open.n - 1]].out = i + 1;
        if (k == CAB_STEP_IF || k == CAB_STEP_LOOP || k == CAB_STEP_ELSE)
            cab_vec_push(r->a, &open, i);
        if (k != CAB_STEP_END)
            continue;
        size_t top = open.p[--open.n];
        j[top].out = i + 1;
        if (p->steps.p[top].kind == CAB_STEP_ELSE)
            top = open.p[--open.n];
        j[i].begin = top;
        for (size_t b = top; b < i && p->steps.p[top].kind == CAB_STEP_LOOP; b++)
            if (p->steps.p[b].kind == CAB_STEP_BREAK && !j[b].out)
                j[b].out = i + 1;
    }
    return j;
}

/* One more time round the loop at step i? */
static cab_status again(run *r, size_t i, int64_t count, bool *out)
{
    const cab_step *st = &r->p->steps.p[i];
    int64_t n;
    cab_env_set(&r->env, st->sym->name, count);
    CAB_TRY(number(r, st->params[0], &n));
    *out = count < n;
    return CAB_OK;
}

static cab_status swap(run *r, const cab_step *st)
{
    CAB_TRY(touch(r, (size_t)st->args[0]));
    CAB_TRY(touch(r, (size_t)st->args[1]));
    store t = r->buf[st->args[0]];
    r->buf[st->args[0]] = r->buf[st->args[1]];
    r->buf[st->args[1]] = t;
    return CAB_OK;
}

/* Step *i of the rows FLOW; *i becomes the next one. */
static cab_status flow(run *r, const jump *j, size_t *i)
{
    size_t now = (*i)++;
    const cab_step *st = &r->p->steps.p[now];
    int64_t v = 0;
    bool more = true;
    switch (st->kind) {
    case CAB_STEP_READ:
        return read_symbol(r, st);
    case CAB_STEP_SET:
        CAB_TRY(number(r, st->params[0], &v));
        cab_env_set(&r->env, st->sym->name, v);
        return CAB_OK;
    case CAB_STEP_CHECK_EQ: case CAB_STEP_CHECK_LE:
        return check(r, st);
    case CAB_STEP_ALLOC: case CAB_STEP_GROW:
        return touch(r, (size_t)st->args[0]);
    case CAB_STEP_SWAP:
        return swap(r, st);
    case CAB_STEP_IF: case CAB_STEP_BREAK:
        CAB_TRY(number(r, st->params[0], &v));
        *i = v ? *i : j[now].out;
        return CAB_OK;
    case CAB_STEP_ELSE:
        *i = j[now].out;
        return CAB_OK;
    case CAB_STEP_LOOP:
        CAB_TRY(again(r, now, 0, &more));
        *i = more ? *i : j[now].out;
        return CAB_OK;
    case CAB_STEP_END: {
        const cab_step *from = &r->p->steps.p[j[now].begin];
        if (from->kind != CAB_STEP_LOOP)
            return CAB_OK;
        CAB_TRY(number(r, from->sym, &v));
        CAB_TRY(again(r, j[now].begin, v + 1, &more));
        *i = more ? j[now].begin + 1 : *i;
        return CAB_OK;
    }
    default:
        return fail(r, CAB_EUNSUPPORTED, NULL, "no reference for lists, step", (long long)now);
    }
}

static cab_status run_steps(run *r)
{
    const jump *j = find_jumps(r);
    for (size_t i = 0; i < r->p->steps.n;) {
        const cab_step *st = &r->p->steps.p[i];
        if (cab_flow_row_of(st->kind)) {
            CAB_TRY(flow(r, j, &i));
            continue;
        }
        if (st->kind == CAB_STEP_CUSTOM)
            return fail(r, CAB_EUNSUPPORTED, st->custom->name,
                        "an operator of the host program has no reference, arguments", st->n_args);
        int64_t wanted = 1;
        if (st->when)
            CAB_TRY(number(r, st->when, &wanted));
        if (wanted)
            CAB_TRY(st->kind == CAB_STEP_LAUNCH ? launch(r, st) : call_helper(r, st));
        i++;
    }
    return CAB_OK;
}

static cab_status give_output(run *r, size_t i, cab_tensor *out)
{
    size_t at = (size_t)r->p->outputs.p[i];
    const cab_buffer *b = &r->p->buffers.p[at];
    uint64_t bytes = 0;
    CAB_TRY(touch(r, at));
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
        if (known_size(&r, i))
            CAB_TRY(size_buffer(&r, i));
    for (size_t i = 0; i < p->buffers.n; i++)
        if (known_size(&r, i))
            CAB_TRY(touch(&r, i));
    for (size_t i = 0; i < p->buffers.n; i++)
        CAB_TRY(fill_buffer(&r, i));
    for (size_t i = 0; i < p->inputs.n; i++)
        CAB_TRY(take_input(&r, i, &in[i]));
    CAB_TRY(run_steps(&r));
    for (size_t i = 0; i < p->outputs.n; i++)
        CAB_TRY(give_output(&r, i, &out[i]));
    return CAB_OK;
}
