/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance.c - an instance: one session, and the run of a batch on it.
 *
 * A call that runs alone is read where it lies, and where sizes are known from
 * an earlier run its outputs are written where the caller reads them.  Rows of
 * several calls are copied together; their outputs are not taken apart: every
 * call gets views into one block, which lives until the last is released.
 */
#include "serve/sched/scheduler_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(cab_error *e, int code, const char *why)
{
    e->code = code;
    snprintf(e->text, sizeof e->text, "%s", why);
    return code;
}

/* ---- life ---- */

static int new_session(cab_instance *i, cab_error *e)
{
    cab_session_options o = CAB_INIT(cab_session_options);
    o.threads = i->served->config.threads;
    o.max_bytes = i->served->sched->budget.limit;
    return cab_session_create(i->served->model, &o, &i->session, e);
}

int cab_instance_init(cab_instance *i, cab_served *s, cab_error *e)
{
    size_t n_in = (size_t)s->shapes.n_inputs + 1, n_out = (size_t)s->shapes.n_outputs + 1;
    size_t most = s->config.queue.max_batch ? (size_t)s->config.queue.max_batch : 1;
    i->served = s;
    i->slots = calloc(most, sizeof *i->slots);
    i->in = calloc(n_in, sizeof *i->in);
    i->out = calloc(n_out, sizeof *i->out);
    i->gather = calloc(n_in, sizeof *i->gather);
    i->gather_cap = calloc(n_in, sizeof *i->gather_cap);
    if (i->slots && i->in && i->out && i->gather && i->gather_cap)
        return new_session(i, e);
    return fail(e, CAB_RT_ENOMEM, "out of memory");
}

void cab_instance_trim(cab_instance *i)
{
    cab_session_destroy(i->session);
    i->session = NULL;
    for (int k = 0; i->gather && i->gather_cap && k < i->served->shapes.n_inputs; k++) {
        free(i->gather[k]);
        i->gather[k] = NULL;
        i->gather_cap[k] = 0;
    }
    for (int k = 0; k < 3; k++) {
        cab_budget_release(&i->served->sched->budget, i->held[k]);
        i->held[k] = 0;
    }
}

void cab_instance_fini(cab_instance *i)
{
    if (i->served)
        cab_instance_trim(i);
    free(i->slots);
    free(i->in);
    free(i->out);
    free(i->gather);
    free(i->gather_cap);
}

/* ---- memory for a run ---- */

static uint64_t align64(uint64_t n) { return (n + 63) / 64 * 64; }
static uint64_t align8(uint64_t n) { return (n + 7) / 8 * 8; }

/* Of a block that holds the outputs, whose bytes are known together or each. */
static uint64_t block_bytes(const cab_served *s, const cab_shape *shape)
{
    uint64_t sum = 0;
    if (!shape->known)
        return shape->outputs + 64 * (uint64_t)s->shapes.n_outputs;
    for (int k = 0; k < s->shapes.n_outputs; k++)
        sum += align64(shape->output_bytes[k]);
    return sum;
}

bool cab_instance_fits(const cab_served *s, uint64_t intermediate, uint64_t outputs)
{
    uint64_t limit = s->sched->budget.limit;
    uint64_t block = cab_block_cost(outputs + 64 * (uint64_t)s->shapes.n_outputs);
    return !limit || (intermediate <= limit && outputs <= limit && block <= limit &&
                      intermediate + outputs + block <= limit);
}

/* Where the outputs go, when that is known. */
static void bind_outputs(cab_instance *i, const cab_shape *shape)
{
    uint64_t at = 0;
    i->bound = shape->known;
    for (int k = 0; k < i->served->shapes.n_outputs; k++) {
        uint64_t n = i->bound ? shape->output_bytes[k] : 0;
        i->out[k] = (cab_tensor_view){ .data = n ? i->block->data + at : NULL, .bytes = n };
        at += align64(n);
    }
}

static bool impossible(cab_error *e, bool *never, int code, const char *why)
{
    *never = true;
    fail(e, code, why);
    return false;
}

bool cab_instance_reserve(cab_instance *i, const cab_shape *shape, const cab_call *c, int64_t n,
                          int64_t rows, bool *never, cab_error *e)
{
    cab_served *s = i->served;
    cab_sched *k = s->sched;
    const uint64_t want[3] = {
        [CAB_HELD_ARENA] = shape->intermediate,
        [CAB_HELD_OUTPUTS] = shape->known ? 0 : shape->outputs,
        [CAB_HELD_GATHER] = n > 1 ? cab_shapes_input_bytes(&s->shapes, c->inputs, rows) : 0,
    };
    uint64_t bytes = block_bytes(s, shape), cost = cab_block_cost(bytes), sum = cost, more = 0;
    for (int j = 0; j < 3; j++) {
        sum += want[j];
        more += want[j] > i->held[j] ? want[j] - i->held[j] : 0;
    }
    if (k->budget.limit && sum > k->budget.limit)
        return impossible(e, never, CAB_RT_ELIMIT, "the run needs more memory than all models may hold");
    if (!i->session && new_session(i, e) != CAB_RT_OK)
        return impossible(e, never, CAB_RT_ENOMEM, "no memory for a session of the model");
    i->block = cab_block_spare(&k->blocks, bytes);
    s->no_memory = !cab_sched_reserve(k, s, i->block ? more : more + cost);
    if (s->no_memory) {
        cab_block_unref(i->block);
        i->block = NULL;
        return false;
    }
    for (int j = 0; j < 3; j++)
        i->held[j] = want[j] > i->held[j] ? want[j] : i->held[j];
    if (!i->block)
        i->block = cab_block_new(&k->blocks, bytes);
    if (!i->block) {
        cab_sched_fed(k);              /* what it would have cost */
        return impossible(e, never, CAB_RT_ENOMEM, "no memory for the outputs");
    }
    bind_outputs(i, shape);
    return true;
}

/* ---- the calls of a run ---- */

void cab_instance_start(cab_instance *i, cab_batch_request *calls)
{
    cab_call *first = (cab_call *)calls;
    cab_batch_request *next;
    i->n = i->rows = 0;
    i->deadline = CAB_NEVER;
    i->key = calls->shape;
    for (cab_batch_request *r = calls; r; r = next, i->n++) {
        cab_call *c = (cab_call *)r;
        next = r->next;
        i->slots[i->n] = (cab_slot){ c, r->rows, i->rows };
        i->rows += r->rows;
        c->state = CAB_CALL_RUNNING;
        c->instance = i;
        c->dropped = 0;
        if (r->deadline && r->deadline < i->deadline)
            i->deadline = r->deadline;
    }
    i->left = i->n;
    for (int k = 0; k < i->served->shapes.n_inputs; k++)
        i->in[k] = first->inputs[k];
    cab_session_deadline(i->session, i->n == 1 ? first->wait.deadline : 0);
}

/* The deadline stays past until the next start: a run that begins only now ends
 * too. */
void cab_instance_stop(cab_instance *i)
{
    cab_session_deadline(i->session, 1);
    cab_session_cancel(i->session);
}

/* Calls whose rows are copied may be answered; those that are not wanted are. */
static void loosen(cab_instance *i)
{
    cab_served *s = i->served;
    cab_answers a = { 0 };
    pthread_mutex_lock(&s->lock);
    int64_t now = cab_now_ns();
    for (int64_t k = 0; k < i->n; k++) {
        cab_call *c = i->slots[k].call;
        c->state = CAB_CALL_LOOSE;
        if (!c->dropped)
            continue;
        i->slots[k].call = NULL;
        i->left--;
        cab_call_answer(c, c->dropped, c->dropped == CAB_CALL_EXPIRED ? "the call's deadline passed"
                                                                      : "the call was cancelled",
                        now, &a);
    }
    if (!i->left)
        cab_instance_stop(i);
    pthread_mutex_unlock(&s->lock);
    cab_answers_tell(&a);
}

static bool gather_one(cab_instance *i, int k)
{
    cab_tensor_view *v = &i->in[k];
    v->dims[0] = i->rows;
    v->bytes = cab_tensor_bytes(v->dtype, v->rank, v->dims);
    if (v->bytes > i->gather_cap[k] || !i->gather[k]) {
        free(i->gather[k]);
        i->gather_cap[k] = 0;
        i->gather[k] = aligned_alloc(64, align64(v->bytes + 1));
        if (!i->gather[k])
            return false;
        i->gather_cap[k] = v->bytes;
    }
    size_t row = v->bytes / (size_t)i->rows;
    v->data = i->gather[k];
    for (int64_t j = 0; j < i->n; j++)
        if (row)
            memcpy((char *)v->data + row * (size_t)i->slots[j].at,
                   i->slots[j].call->inputs[k].data, row * (size_t)i->slots[j].rows);
    return true;
}

static bool gather(cab_instance *i)
{
    for (int k = 0; k < i->served->shapes.n_inputs; k++)
        if (!gather_one(i, k))
            return false;
    return true;
}

/* ---- outputs ---- */

static uint64_t output_bytes(const cab_tensor_view *v)
{
    return cab_tensor_bytes(v->dtype, v->rank, v->dims);
}

/* A block for so many bytes, within the budget; a failure is the memory's of now, not the request's. */
static cab_block *block_for(cab_sched *k, uint64_t bytes)
{
    cab_block *b = cab_block_spare(&k->blocks, bytes);
    return b || !cab_budget_reserve(&k->budget, cab_block_cost(bytes)) ? b : cab_block_new(&k->blocks, bytes);
}

/* Copies outputs that lie in the session's memory into *block from *at on, or into one of their own where they do not
 * fit, and says so in the views; *at is behind them then. */
static int copy_outputs(cab_instance *i, cab_block **block, uint64_t *at, cab_error *e)
{
    int n = i->served->shapes.n_outputs;
    uint64_t sum = 0;
    for (int k = 0; k < n; k++)
        sum += align8(output_bytes(&i->out[k]));
    if (sum > (*block)->cap - sizeof **block - *at) {
        cab_block *own = block_for(i->served->sched, sum);
        if (!own)
            return fail(e, CAB_RT_ENOMEM, "no memory for the outputs");
        cab_block_unref(*block);
        *block = own;
        *at = 0;
    }
    for (int k = 0; k < n; k++) {
        cab_tensor_view *v = &i->out[k];
        uint64_t bytes = output_bytes(v);
        if (bytes)
            memcpy((*block)->data + *at, v->data, bytes);
        v->data = (*block)->data + *at;
        v->bytes = bytes;
        *at += align8(bytes);
    }
    return CAB_RT_OK;
}

static int place_outputs(cab_instance *i, cab_error *e)
{
    uint64_t at = 0;
    for (int k = 0; i->n > 1 && k < i->served->shapes.n_outputs; k++)
        if (i->out[k].rank < 1 || i->out[k].dims[0] != i->rows)
            return fail(e, CAB_RT_EMODEL, "an output does not have the rows of the inputs: requests "
                        "of this model cannot run together (max_batch 0)");
    for (int k = 0; i->bound && k < i->served->shapes.n_outputs; k++)
        i->out[k].bytes = output_bytes(&i->out[k]);
    return i->bound ? CAB_RT_OK : copy_outputs(i, &i->block, &at, e);
}

/* A call's rows of the outputs. */
static void give_outputs(const cab_instance *i, const cab_slot *slot, cab_block *block, cab_call *c)
{
    for (int k = 0; k < i->served->shapes.n_outputs; k++) {
        cab_tensor_view v = i->out[k];
        if (!i->apart && i->n > 1) {
            size_t row = v.bytes / (size_t)v.dims[0];
            v.data = (char *)v.data + row * (size_t)slot->at;
            v.bytes = row * (size_t)slot->rows;
            v.dims[0] = slot->rows;
        }
        c->outputs[k] = v;
    }
    c->block = block;
    cab_block_ref(block);
}

/* ---- the end of a run ---- */

typedef struct stage { int64_t start, run, out, end; } stage;

static int64_t averaged(int64_t before, int64_t now)
{
    return before ? before + (now - before) / 8 : now + !now;
}

/* What a run has taught about its shape. */
static void learn(cab_instance *i, const stage *t, bool ok)
{
    cab_served *s = i->served;
    uint64_t sum = 0;
    cab_shape *shape = cab_shapes_find(&s->shapes, i->in, i->rows, i->key);
    if (!shape || !ok)
        return;
    shape->run_ns = averaged(shape->run_ns, t->out - t->run);
    for (int k = 0; !shape->known && k < s->shapes.n_outputs; k++)
        sum += shape->output_bytes[k] = output_bytes(&i->out[k]);
    shape->known = shape->known || sum == shape->outputs;
}

static void count_run(cab_served *s, int64_t rows, const stage *t)
{
    int64_t size = s->config.queue.max_batch ? rows : 1;
    cab_batch_stats *b = &s->batches[size < s->n_batches ? size : s->n_batches - 1];
    s->stats.executions++;
    s->stats.last_ns = t->end;
    s->stats.run_ns = averaged(s->stats.run_ns, t->out - t->run);
    b->count++;
    b->input_ns += (uint64_t)(t->run - t->start);
    b->infer_ns += (uint64_t)(t->out - t->run);
    b->output_ns += (uint64_t)(t->end - t->out);
}

static int code_of(const cab_call *c, int rc)
{
    if (c->dropped)
        return c->dropped;
    return rc == CAB_RT_EDEADLINE ? CAB_CALL_EXPIRED : rc == CAB_RT_ECANCELLED ? CAB_CALL_CANCELLED : rc;
}

/* Answers the call of a slot, unless that is done. */
static void answer_slot(cab_instance *i, cab_slot *slot, int rc, const cab_error *e, const stage *t,
                        cab_block *block, cab_answers *a)
{
    cab_call *c = slot->call;
    if (!c)
        return;
    int code = code_of(c, rc);
    slot->call = NULL;
    i->left--;
    c->queue_ns = t->start - c->submitted_ns;
    c->input_ns = t->run - t->start;
    c->infer_ns = t->out - t->run;
    c->output_ns = t->end - t->out;
    c->batch_rows = i->apart ? slot->rows : i->rows;
    if (code == CAB_RT_OK)
        give_outputs(i, slot, block, c);
    cab_call_answer(c, code, code == CAB_RT_OK ? "" : e->text[0] ? e->text : "the call was cancelled",
                    t->end, a);
}

/* ---- calls of a batch that failed, each by itself ---- */

static int run_one_apart(cab_instance *i, const cab_slot *slot, uint64_t *at, stage *t, cab_error *e)
{
    cab_served *s = i->served;
    for (int k = 0; k < s->shapes.n_inputs; k++) {
        cab_tensor_view *v = &i->in[k];
        v->dims[0] = i->rows;
        size_t row = cab_tensor_bytes(v->dtype, v->rank, v->dims) / (size_t)i->rows;
        v->data = (char *)i->gather[k] + row * (size_t)slot->at;
        v->bytes = row * (size_t)slot->rows;
        v->dims[0] = slot->rows;
    }
    for (int k = 0; k < s->shapes.n_outputs; k++)
        i->out[k] = (cab_tensor_view){ 0 };
    t->start = t->run = cab_now_ns();
    int rc = cab_session_run(i->session, i->in, i->out, e);
    t->out = cab_now_ns();
    return rc == CAB_RT_OK ? copy_outputs(i, &i->block, at, e) : rc;
}

/* One bad request must not fail its neighbours: their rows are still here, and the batch's block has room for what
 * they give. */
static void run_apart(cab_instance *i, stage t)
{
    cab_served *s = i->served;
    uint64_t at = 0;
    i->apart = true;
    for (int64_t j = 0; j < i->n; j++) {
        cab_slot *slot = &i->slots[j];
        cab_answers a = { 0 };
        cab_error e = { 0 };
        pthread_mutex_lock(&s->lock);
        bool wanted = slot->call;
        pthread_mutex_unlock(&s->lock);
        if (!wanted)
            continue;
        int rc = run_one_apart(i, slot, &at, &t, &e);
        t.end = cab_now_ns();
        pthread_mutex_lock(&s->lock);
        count_run(s, slot->rows, &t);
        answer_slot(i, slot, rc, &e, &t, i->block, &a);
        pthread_mutex_unlock(&s->lock);
        cab_answers_tell(&a);
    }
    i->apart = false;
}

/* ---- a run ---- */

/* Answers that take long to write (as text, or packed) should not keep the next batch waiting: it could have run. */
enum { LARGE_ANSWER = 4 << 10 };

static void finish(cab_instance *i, int rc, const cab_error *e, const stage *t)
{
    cab_served *s = i->served;
    cab_block *block = i->block;
    cab_answers a = { 0 };
    bool self = !i->in_line && (!block || block->cap < LARGE_ANSWER);
    pthread_mutex_lock(&s->lock);
    if (i->left)
        learn(i, t, rc == CAB_RT_OK);
    if (t->out)
        count_run(s, i->rows, t);
    for (int64_t k = 0; k < i->n; k++)
        answer_slot(i, &i->slots[k], rc, e, t, block, &a);
    i->block = NULL;
    i->in_line = false;
    i->n = 0;
    i->next = s->free;
    s->free = i;
    if (atomic_load(&s->sched->starved)) {
        cab_instance_trim(i);
        cab_sched_fed(s->sched);
    }
    cab_served_pump(s, t->end, self, &a);
    pthread_mutex_unlock(&s->lock);
    cab_block_unref(block);
    cab_answers_tell(&a);
    cab_served_leave(s);
}

/* Whether calls of a batch may do better alone. */
static bool try_apart(const cab_instance *i, int rc)
{
    return i->n > 1 && (rc == CAB_RT_EINPUT || rc == CAB_RT_EMODEL || rc == CAB_RT_EINTERNAL ||
                        rc == CAB_RT_EUNSUPPORTED || rc == CAB_RT_ELIMIT);
}

void cab_instance_run(cab_instance *i)
{
    cab_error e = { 0 };
    stage t = { .start = cab_now_ns() };
    bool alone = i->n == 1;
    int rc = alone || gather(i) ? CAB_RT_OK : fail(&e, CAB_RT_ENOMEM, "no memory for the inputs");
    if (!alone && rc == CAB_RT_OK)
        loosen(i);
    t.run = cab_now_ns();
    if (rc == CAB_RT_OK)
        rc = cab_session_run(i->session, i->in, i->out, &e);
    t.out = cab_now_ns();
    if (rc == CAB_RT_OK)
        rc = place_outputs(i, &e);
    if (try_apart(i, rc)) {
        t.out = cab_now_ns();
        run_apart(i, t);
    }
    t.end = cab_now_ns();
    finish(i, rc, &e, &t);
}
