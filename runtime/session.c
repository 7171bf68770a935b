/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - runs a plan: bind, then instruction by instruction (session_flow.c
 * has those that decide what runs).
 */
#include "runtime/session_int.h"
#include <string.h>

/* ---- life ---- */

/* Longest argument lists of any call. */
static void call_sizes(const cab_plan *p, uint32_t *n_bufs, uint32_t *n_ints)
{
    *n_bufs = *n_ints = 1;
    for (uint32_t i = 0; i < p->header->n_instrs; i++) {
        const cab_plan_instr *x = &p->instrs[i];
        if (x->op != CAB_I_LAUNCH && x->op != CAB_I_HELPER && x->op != CAB_I_LIST)
            continue;
        const uint32_t *w = p->words + x->b;
        uint32_t bufs = w[0], ints = w[1 + bufs];
        *n_bufs = bufs > *n_bufs ? bufs : *n_bufs;
        *n_ints = ints > *n_ints ? ints : *n_ints;
    }
}

static bool make_tables(cab_session *s)
{
    const cab_plan_header *h = s->plan->header;
    uint32_t n_bufs, n_ints;
    call_sizes(s->plan, &n_bufs, &n_ints);
    struct { void **p; size_t n, size; } tables[] = {
        { (void **)&s->slots, h->n_scalars, sizeof *s->slots },
        { (void **)&s->data, h->n_values, sizeof *s->data },
        { (void **)&s->bytes, h->n_values, sizeof *s->bytes },
        { (void **)&s->order, h->n_values, sizeof *s->order },
        { (void **)&s->dynamic, s->plan->n_dynamic, sizeof *s->dynamic },
        { (void **)&s->dynamic_cap, s->plan->n_dynamic, sizeof *s->dynamic_cap },
        { (void **)&s->lists, s->plan->n_lists ? h->n_values : 0, sizeof *s->lists },
        { (void **)&s->held, s->plan->n_lists ? h->n_values : 0, sizeof *s->held },
        { (void **)&s->dynamic_of, s->plan->n_dynamic, sizeof *s->dynamic_of },
        { (void **)&s->bufs, n_bufs, sizeof *s->bufs },
        { (void **)&s->buf_bytes, n_bufs, sizeof *s->buf_bytes },
        { (void **)&s->ints, n_ints, sizeof *s->ints },
        { (void **)&s->views, cab_custom_tensors(s->model), sizeof *s->views },
        { (void **)&s->out_mem, h->n_outputs, sizeof *s->out_mem },
        { (void **)&s->out_cap, h->n_outputs, sizeof *s->out_cap },
        { (void **)&s->spare_mem, h->n_outputs, sizeof *s->spare_mem },
        { (void **)&s->spare_cap, h->n_outputs, sizeof *s->spare_cap },
        { (void **)&s->copy_to, h->n_outputs, sizeof *s->copy_to },
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        s->allocations++;
        *tables[i].p = cab_rt_alloc_zero(&s->model->alloc, tables[i].n + 1, tables[i].size);
        if (!*tables[i].p)
            return false;
    }
    if (s->options.trace) {
        s->cap_trace = h->n_instrs + h->n_outputs;
        s->allocations++;
        s->trace = cab_rt_alloc_zero(&s->model->alloc, s->cap_trace + 1, sizeof *s->trace);
    }
    return !s->options.trace || s->trace;
}

int cab_session_create(cab_model *m, const cab_session_options *o, cab_session **out,
                       cab_error *e)
{
    *out = NULL;
    if (e)
        *e = (cab_error){ 0 };
    if (o && o->size < sizeof o->size)
        return cab_rt_fail(e, CAB_EINVAL, "cab_session_options.size is not set (CAB_INIT)");
    cab_session *s = cab_rt_alloc_zero(&m->alloc, 1, sizeof *s);
    if (!s)
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    s->owner = s;
    s->model = m;
    s->plan = &m->plan;
    cab_model_retain(m);
    cab_async_init(&s->async);
    cab_rt_take_options(&s->options, sizeof s->options, o);
    if (!make_tables(s)) {
        cab_session_destroy(s);
        return cab_rt_fail(e, CAB_ENOMEM, "out of memory");
    }
    *out = s;
    return CAB_OK;
}

void cab_session_destroy(cab_session *s)
{
    if (!s)
        return;
    cab_async_fini(&s->async);
    cab_pick_fini(s);
    cab_lists_fini(s);
    cab_state_fini(s);
    for (uint32_t i = 0; s->dynamic && i < s->plan->n_dynamic; i++)
        cab_session_free(s, s->dynamic[i]);
    for (uint32_t i = 0; s->out_mem && i < s->plan->header->n_outputs; i++)
        cab_session_free(s, s->out_mem[i]);
    for (uint32_t i = 0; s->spare_mem && i < s->plan->header->n_outputs; i++)
        cab_session_free(s, s->spare_mem[i]);
    for (int i = 0; i < CAB_PACKINGS; i++) {
        cab_session_free(s, s->packing[i].slots);
        cab_session_free(s, s->packing[i].offsets);
    }
    void *tables[] = { s->slots, s->data, s->bytes, s->order, s->dynamic, s->dynamic_cap,
                       s->dynamic_of, s->lists, s->held, s->bufs,
                       s->buf_bytes, s->ints, s->views, s->out_mem, s->out_cap, s->spare_mem,
                       s->spare_cap, s->copy_to, s->trace,
                       s->arena, s->scratch };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        cab_session_free(s, tables[i]);
    cab_model *m = s->model;
    cab_rt_free(&m->alloc, s);
    cab_model_destroy(m);
}

void cab_session_cancel(cab_session *s) { atomic_store(&s->cancel, 1); }
void cab_session_deadline(cab_session *s, int64_t ns) { atomic_store(&s->deadline, ns); }
uint64_t cab_session_allocations(const cab_session *s)
{
    return s->allocations + cab_pick_allocations(s);
}

uint64_t cab_session_arena_bytes(const cab_session *s) { return s->arena_bytes; }

int cab_session_trace(const cab_session *s, const cab_trace_event **out, size_t *out_n)
{
    const cab_session *ran = cab_session_ran(s);
    *out = ran->trace;
    *out_n = ran->n_trace;
    return s->options.trace ? CAB_OK : CAB_EINVAL;
}

/* ---- one instruction each ---- */

/* Fills bufs and ints from a call's words. */
static void gather_args(cab_session *s, const uint32_t *w)
{
    uint32_t n = w[0];
    for (uint32_t i = 0; i < n; i++) {
        s->bufs[i] = s->data[w[1 + i]];
        s->buf_bytes[i] = s->bytes[w[1 + i]];
    }
    const uint32_t *p = w + 1 + n;
    for (uint32_t i = 0; i < p[0]; i++)
        s->ints[i] = s->slots[p[1 + i]];
}

cab_kernel_fn cab_session_kernel(const cab_session *s, uint32_t number)
{
    cab_kernel_fn fn;
    void *entry = (uint8_t *)s->model->code + s->plan->kernels[number].offset;
    if (s->model->linked)
        return s->model->linked[number];
    memcpy(&fn, &entry, sizeof fn);
    return fn;
}

static int launch(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    int64_t n = s->slots[x->c];
    gather_args(s, s->plan->words + x->b);
    if (n <= 0)
        return CAB_OK;
    cab_kernel_fn fn = cab_session_kernel(s, x->a);
    if (n > 1 && !r->in_pool) {
        cab_pool_enter(s->options.threads);
        r->in_pool = true;
    }
    if (r->clear)
        cab_run_clearing(r, fn, n);
    else
        cab_pool_run(fn, s->bufs, s->ints, n, s->options.threads);
    return CAB_OK;
}

static int helper(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    const uint32_t *w = s->plan->words + x->b;
    gather_args(s, w);
    uint64_t need = cab_helper_get(x->a)->scratch(s->ints);
    void *scratch;
    int rc = cab_session_scratch(s, need, &scratch, r->e);
    if (rc != CAB_OK)
        return rc;
    cab_helper_call c = { s->plan, w + 1, s->bufs, s->buf_bytes, s->ints, cab_plan_text(s->plan, x->d), scratch, need };
    return cab_helper_get(x->a)->run(&c, r->e);
}

static int custom(cab_run *r, const cab_plan_instr *x)
{
    return cab_session_custom(r->s, x, r->e);
}

static int copy(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    if (s->bytes[x->a] != s->bytes[x->b])
        return cab_rt_fail(r->e, CAB_EARTIFACT, "damaged artifact: copy of unequal sizes");
    if (!s->data[x->a] || !s->data[x->b])
        return cab_rt_fail(r->e, CAB_EARTIFACT, "damaged artifact: copy before allocation");
    if (s->bytes[x->a])
        memmove(s->data[x->a], s->data[x->b], s->bytes[x->a]);
    return CAB_OK;
}

static int same(cab_run *r, const cab_plan_instr *x)
{
    if (r->s->data[x->b] && r->s->data[x->b] == r->s->data[x->c])
        r->pc = x->a;
    return CAB_OK;
}

static cab_instr_fn *const handlers[CAB_I_COUNT] = {
    [CAB_I_LAUNCH] = launch,       [CAB_I_HELPER] = helper,    [CAB_I_ZERO] = cab_run_zero,
    [CAB_I_COPY] = copy,           [CAB_I_CUSTOM] = custom,
    [CAB_I_EVAL_SHAPE] = cab_run_eval_shape, [CAB_I_SIZE_READ] = cab_run_size_read,
    [CAB_I_SET] = cab_run_set,     [CAB_I_CHECK] = cab_run_check,
    [CAB_I_ALLOC] = cab_run_alloc, [CAB_I_SWAP] = cab_run_swap,
    [CAB_I_LIST] = cab_run_list,   [CAB_I_SAME] = same,    [CAB_I_BAND] = cab_run_band,
    [CAB_I_JUMP] = cab_run_jump,   [CAB_I_BRANCH] = cab_run_branch,
    [CAB_I_LOOP] = cab_run_loop,   [CAB_I_NEXT] = cab_run_next,
};

/* ---- the run ---- */

/* Room for one more and the copies of outputs; loops make more events than
 * the plan has instructions.  Without memory for them, events are left out. */
static bool room_for_event(cab_session *s)
{
    size_t n = 2 * s->cap_trace;
    if (s->n_trace + s->plan->header->n_outputs < s->cap_trace)
        return true;
    s->allocations++;
    cab_trace_event *more = cab_rt_alloc_zero(&s->model->alloc, n + 1, sizeof *more);
    if (!more)
        return false;
    memcpy(more, s->trace, s->n_trace * sizeof *more);
    cab_session_free(s, s->trace);
    s->trace = more;
    s->cap_trace = n;
    return true;
}

void cab_session_record(cab_run *r, const cab_plan_instr *x, int64_t start, int64_t ns)
{
    static const char *const kinds[CAB_I_COUNT] = {
        [CAB_I_LAUNCH] = "launch", [CAB_I_HELPER] = "helper",
        [CAB_I_CUSTOM] = "custom", [CAB_I_ZERO] = "zero", [CAB_I_COPY] = "copy", [CAB_I_ALLOC] = "alloc",
        [CAB_I_LIST] = "list",
    };
    cab_session *s = r->s;
    if (!kinds[x->op] || r->clear == x || !room_for_event(s))
        return;
    bool call = x->op == CAB_I_LAUNCH || x->op == CAB_I_HELPER || x->op == CAB_I_CUSTOM ||
                x->op == CAB_I_LIST;
    cab_trace_event *t = &s->trace[s->n_trace++];
    *t = (cab_trace_event){ .kind = kinds[x->op], .name = "", .layers = "", .what = "",
                            .start_ns = start - r->t0, .ns = ns };
    if (call) {
        t->layers = cab_plan_text(s->plan, x->d);
        t->what = cab_plan_text(s->plan, x->e);
        t->name = x->op == CAB_I_HELPER ? cab_helper_get(x->a)->name
                : x->op == CAB_I_CUSTOM ? s->model->custom[x->a].op.name
                : x->op == CAB_I_LIST ? cab_list_row_of(x->a)->word
                                        : cab_plan_text(s->plan, s->plan->kernels[x->a].name);
    }
    if (x->op == CAB_I_LAUNCH)
        t->tasks = s->slots[x->c];
}

/* Between launches: does the caller still want the rest? */
static int wanted(cab_run *r)
{
    cab_session *s = r->s->owner;
    int64_t deadline = atomic_load_explicit(&s->deadline, memory_order_relaxed);
    if (atomic_load_explicit(&s->cancel, memory_order_relaxed))
        return cab_rt_fail(r->e, CAB_ECANCELLED, "the run was cancelled");
    if (deadline && cab_now_ns() >= deadline)
        return cab_rt_fail(r->e, CAB_EDEADLINE, "the run's deadline has passed");
    return CAB_OK;
}

/* Where a model has several plans: which one this is. */
static void record_plan(cab_run *r)
{
    cab_session *s = r->s;
    if (s->trace && s->model->label)
        s->trace[s->n_trace++] = (cab_trace_event){ .kind = "plan", .name = s->model->label,
                                                    .layers = "", .what = "" };
}

static int execute(cab_run *r)
{
    cab_session *s = r->s;
    for (;;) {
        const cab_plan_instr *x = &s->plan->instrs[r->pc++];
        if (x->op == CAB_I_END)
            return CAB_OK;
        int rc = wanted(r);
        if (rc != CAB_OK)
            return rc;
        int64_t start = s->trace ? cab_now_ns() : 0;
        rc = handlers[x->op](r, x);
        if (rc != CAB_OK)
            return rc;
        if (s->trace)
            cab_session_record(r, x, start, cab_now_ns() - start);
    }
}

/* Outputs that were made aside because they lie on inputs. */
static void copy_outputs(cab_run *r)
{
    cab_session *s = r->s;
    for (uint32_t i = 0; i < s->plan->header->n_outputs; i++) {
        if (!s->copy_to[i])
            continue;
        int64_t start = s->trace ? cab_now_ns() : 0;
        memcpy(s->copy_to[i], s->out_mem[i], s->bytes[s->plan->outputs[i]]);
        if (s->trace && s->n_trace < s->cap_trace)
            s->trace[s->n_trace++] = (cab_trace_event){
                .kind = "copy", .layers = "", .what = "output onto input",
                .name = cab_plan_text(s->plan, s->plan->values[s->plan->outputs[i]].name),
                .start_ns = start - r->t0, .ns = cab_now_ns() - start };
    }
}

int cab_session_run_plan(cab_session *s, const cab_tensor_view *inputs,
                         cab_tensor_view *outputs, cab_error *e)
{
    s->n_trace = 0;
    if (e)
        e->code = e->text[0] = 0;
    int rc = cab_state_begin(s, &inputs, outputs, e);
    if (rc == CAB_OK)
        rc = cab_session_bind(s, inputs, outputs, e);
    if (rc != CAB_OK)
        return rc;
    cab_run r = { .s = s, .e = e, .t0 = s->trace ? cab_now_ns() : 0 };
    record_plan(&r);
    rc = execute(&r);
    if (r.in_pool)
        cab_pool_leave(s->options.threads);
    if (rc == CAB_OK && s->plan->n_early < s->plan->header->n_scalars)
        rc = cab_session_late_outputs(s, e);
    for (uint32_t i = 0; s->plan->n_lists && rc == CAB_OK && i < s->plan->header->n_outputs; i++)
        if (s->plan->values[s->plan->outputs[i]].kind)
            rc = cab_list_give(s, i, e);
    if (s->plan->n_lists)
        cab_lists_end(s, rc == CAB_OK);
    if (rc == CAB_OK)
        copy_outputs(&r);
    if (rc == CAB_OK)
        cab_state_end(s);
    return rc;
}
