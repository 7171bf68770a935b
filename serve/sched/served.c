/* SPDX-License-Identifier: Apache-2.0 */
/*
 * served.c - one version of a model: calls come in, wait, are given to
 * instances, and are answered.
 */
#include "serve/sched/scheduler_int.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- answers ---- */

static void count_failure(cab_served_stats *t, int code, uint64_t ns)
{
    t->fail.count++;
    t->fail.ns += ns;
    t->full += code == CAB_CALL_FULL;
    t->expired += code == CAB_CALL_EXPIRED;
    t->cancelled += code == CAB_CALL_CANCELLED;
    t->draining += code == CAB_CALL_DRAINING;
}

#define US(n) ((uint64_t)(n) * 1000)
const uint64_t cab_latency_bounds[CAB_LATENCIES] = {
    US(50), US(100), US(250), US(500), US(1000), US(2500), US(5000), US(10000), US(25000), US(50000), US(100000),
    US(250000), US(500000), US(1000000), US(2500000), US(5000000), US(10000000),
};

static void count_success(cab_served_stats *t, const cab_call *c, uint64_t ns)
{
    const struct { cab_tally *t; uint64_t ns; } all[] = {
        { &t->success, ns },
        { &t->queue, (uint64_t)c->queue_ns },
        { &t->input, (uint64_t)c->input_ns },
        { &t->infer, (uint64_t)c->infer_ns },
        { &t->output, (uint64_t)c->output_ns },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        all[i].t->count++;
        all[i].t->ns += all[i].ns;
    }
    t->inferences += (uint64_t)c->wait.rows;
    int k = 0;
    while (k < CAB_LATENCIES && ns > cab_latency_bounds[k])
        k++;
    t->latency[k]++;
}

void cab_call_answer(cab_call *c, int code, const char *text, int64_t now, cab_answers *a)
{
    cab_served *s = c->served;
    uint64_t ns = (uint64_t)(now - c->submitted_ns);
    c->code = c->error.code = code;
    if (text && !text[0])
        c->error.text[0] = 0;
    else if (text && text != c->error.text)
        snprintf(c->error.text, sizeof c->error.text, "%s", text);
    if (code == CAB_RT_OK)
        count_success(&s->stats, c, ns);
    else if (code != CAB_RT_EINPUT || c->state != CAB_CALL_NEW)
        count_failure(&s->stats, code, ns);
    if (c->state != CAB_CALL_NEW)
        s->pending--;
    c->state = CAB_CALL_DONE;
    c->instance = NULL;
    c->wait.next = NULL;
    *(a->first ? &a->last->next : &a->first) = &c->wait;
    a->last = &c->wait;
}

void cab_answers_tell(cab_answers *a)
{
    for (cab_batch_request *r = a->first, *next; r; r = next) {
        cab_call *c = (cab_call *)r;
        next = r->next;        /* done may free the call */
        c->done(c);
    }
}

/* ---- deadlines ---- */

static const char expired_text[] = "the call's deadline passed";

/* Calls of a batch that runs; the others' rows go on. */
static void expire_running(cab_instance *i, int64_t now, cab_answers *a)
{
    int64_t next = CAB_NEVER;
    for (int64_t k = 0; k < i->n; k++) {
        cab_call *c = i->slots[k].call;
        if (!c || !c->wait.deadline)
            continue;
        if (c->wait.deadline > now) {
            next = c->wait.deadline < next ? c->wait.deadline : next;
        } else if (c->state == CAB_CALL_LOOSE) {
            i->slots[k].call = NULL;
            i->left--;
            cab_call_answer(c, CAB_CALL_EXPIRED, expired_text, now, a);
        } else if (!c->dropped) {
            c->dropped = CAB_CALL_EXPIRED;     /* told when its rows are copied */
        }
    }
    i->deadline = next;
    if (!i->left)
        cab_instance_stop(i);
}

static void expire(cab_served *s, int64_t now, cab_answers *a)
{
    for (cab_batch_request *r = cab_batcher_expire(s->batcher, now), *next; r; r = next) {
        next = r->next;
        cab_call_answer((cab_call *)r, CAB_CALL_EXPIRED, expired_text, now, a);
    }
    for (int i = 0; i < s->config.instances; i++)
        if (s->instances[i].n > 1 && s->instances[i].deadline <= now)
            expire_running(&s->instances[i], now, a);
}

/* ---- batches ---- */

/* What is known of a run of so many rows like c's. */
static int shape_of(cab_served *s, cab_call *c, int64_t rows, cab_shape **out, cab_error *e)
{
    cab_memory need;
    *out = cab_shapes_find(&s->shapes, c->inputs, rows, c->wait.shape);
    if (*out)
        return CAB_RT_OK;
    int rc = cab_shapes_estimate(&s->shapes, c->inputs, rows, &need, e);
    if (rc == CAB_RT_OK)
        *out = cab_shapes_add(&s->shapes, c->inputs, rows, c->wait.shape, &need);
    return rc;
}

static cab_instance *start(cab_served *s, cab_batch_request *calls)
{
    cab_instance *i = s->free;
    s->free = i->next;
    cab_served_enter(s);
    cab_instance_start(i, calls);
    return i;
}

cab_instance *cab_served_assign(cab_served *s, int64_t now, cab_answers *a)
{
    int64_t limit = 0, again, n, rows;
    cab_batch_request *r;
    while (s->free && (r = cab_batcher_look(s->batcher, now, limit, &again, &n, &rows))) {
        cab_call *c = (cab_call *)r;
        cab_error e = { 0 };
        cab_shape *shape;
        bool never = false;
        int rc = shape_of(s, c, rows, &shape, &e);
        if (rc == CAB_RT_OK && cab_instance_reserve(s->free, shape, c, n, rows, &never, &e))
            return start(s, cab_batcher_take(s->batcher, now, limit, &again));
        if (rc == CAB_RT_OK && !never)
            return NULL;
        if (n > 1) {           /* fewer of them, then */
            limit = rows / 2 > 1 ? rows / 2 : 1;
            continue;
        }
        cab_batcher_remove(s->batcher, r);
        cab_call_answer(c, e.code, e.text, now, a);
        limit = 0;
    }
    return NULL;
}

/* The next time at which something is to be done, when nothing happens before. */
static void ask_clock(cab_served *s, int64_t now)
{
    int64_t when = cab_batcher_deadline(s->batcher), again, n, rows;
    if (s->free && !cab_batcher_look(s->batcher, now, 0, &again, &n, &rows))
        when = again;
    for (int i = 0; i < s->config.instances; i++)
        if (s->instances[i].n > 1 && s->instances[i].deadline < when)
            when = s->instances[i].deadline;
    if (when >= s->armed)
        return;
    s->armed = when;
    cab_sched_arm(s->sched, s, when);
}

void cab_served_pump(cab_served *s, int64_t now, bool self, cab_answers *a)
{
    int64_t again, n, rows;
    expire(s, now, a);
    while (s->free && !s->no_memory && cab_batcher_look(s->batcher, now, 0, &again, &n, &rows)) {
        if (self) {
            cab_sched_line_up(s->sched, s);
            break;
        }
        if (!cab_sched_claim(s->sched, s))
            break;
        cab_instance *i = cab_served_assign(s, now, a);
        if (!i) {
            cab_sched_unclaim(s->sched);
            break;
        }
        cab_sched_give(s->sched, i);
    }
    if (!cab_batcher_waiting(s->batcher)) {
        s->no_memory = false;
        cab_sched_not_hungry(s->sched, s);
    }
    ask_clock(s, now);
}

void cab_served_tick(cab_served *s)
{
    cab_answers a = { 0 };
    pthread_mutex_lock(&s->lock);
    s->armed = CAB_NEVER;
    s->no_memory = false;
    cab_served_pump(s, cab_now_ns(), false, &a);
    pthread_mutex_unlock(&s->lock);
    cab_answers_tell(&a);
}

cab_instance *cab_served_turn(cab_served *s)
{
    cab_answers a = { 0 };
    pthread_mutex_lock(&s->lock);
    int64_t now = cab_now_ns();
    expire(s, now, &a);
    cab_instance *i = cab_served_assign(s, now, &a);
    cab_served_pump(s, now, false, &a);        /* more of them for others */
    pthread_mutex_unlock(&s->lock);
    cab_answers_tell(&a);
    return i;
}

void cab_served_trim(cab_served *s)
{
    pthread_mutex_lock(&s->lock);
    for (cab_instance *i = s->free; i; i = i->next)
        cab_instance_trim(i);
    pthread_mutex_unlock(&s->lock);
}

/* ---- calls ---- */

static bool may_run_here(const cab_served *s, const cab_shape *shape)
{
    const cab_batch_config *q = &s->config.queue;
    return s->free && !cab_batcher_waiting(s->batcher) && (!q->max_batch || !q->max_delay_ns) &&
           shape->run_ns && shape->run_ns <= s->config.inline_ns;
}

static void refuse_push(cab_call *c, enum cab_batch_push why, int64_t now, cab_answers *a)
{
    const cab_batch_config *q = &c->served->config.queue;
    c->state = CAB_CALL_NEW;
    c->served->pending--;
    if (why == CAB_PUSH_FULL) {
        cab_call_answer(c, CAB_CALL_FULL, "the model's queue is full", now, a);
        return;
    }
    snprintf(c->error.text, sizeof c->error.text,
             c->wait.rows < 1 ? "the inputs have no rows"
             : q->max_batch && c->wait.rows > q->max_batch
                 ? "the inputs have %lld rows, the model takes %lld at a time"
                 : "the model has no such priority level",
             (long long)c->wait.rows, (long long)q->max_batch);
    cab_call_answer(c, CAB_RT_EINPUT, NULL, now, a);
}

/* Into the queue, or straight into an instance, which the caller is to run. */
static cab_instance *accept(cab_served *s, cab_call *c, const cab_shape *shape, bool in_line,
                            cab_answers *a)
{
    int64_t now = c->submitted_ns;
    bool never = false;
    cab_error e;
    c->state = CAB_CALL_QUEUED;
    s->pending++;
    enum cab_batch_push rc = cab_batcher_push(s->batcher, &c->wait, now);
    if (rc != CAB_PUSH_ACCEPTED) {
        refuse_push(c, rc, now, a);
        return NULL;
    }
    if (in_line && cab_instance_reserve(s->free, shape, c, 1, c->wait.rows, &never, &e)) {
        cab_batcher_remove(s->batcher, &c->wait);
        s->free->in_line = true;
        s->stats.inlined++;
        return start(s, &c->wait);
    }
    cab_served_pump(s, now, false, a);
    return NULL;
}

static cab_instance *admit(cab_served *s, cab_call *c, bool in_line, cab_answers *a)
{
    cab_shape *shape;
    int64_t now = c->submitted_ns;
    if (c->deadline && c->deadline <= now) {
        cab_call_answer(c, CAB_CALL_EXPIRED, expired_text, now, a);
        return NULL;
    }
    int rc = shape_of(s, c, c->wait.rows, &shape, &c->error);
    if (rc != CAB_RT_OK) {
        cab_call_answer(c, rc, NULL, now, a);
        return NULL;
    }
    if (!cab_instance_fits(s, shape->intermediate, shape->outputs)) {
        snprintf(c->error.text, sizeof c->error.text,
                 "the run needs %.1f MB of tensors, all models together may hold %.1f MB",
                 (double)(shape->intermediate + shape->outputs) / 1e6,
                 (double)s->sched->budget.limit / 1e6);
        cab_call_answer(c, CAB_RT_ELIMIT, NULL, now, a);
        return NULL;
    }
    return accept(s, c, shape, in_line && may_run_here(s, shape), a);
}

static void submit(cab_served *s, cab_call *c, bool in_line)
{
    cab_answers a = { 0 };
    cab_instance *mine = NULL;
    uint64_t key = 0;
    int64_t rows = 1;
    cab_served_enter(s);
    atomic_fetch_add(&s->refs, 1);
    c->served = s;
    c->state = CAB_CALL_NEW;
    c->code = c->error.code = c->error.text[0] = c->dropped = 0;
    c->batch_rows = c->queue_ns = c->input_ns = c->infer_ns = c->output_ns = 0;
    c->submitted_ns = cab_now_ns();
    int rc = cab_shapes_check(&s->shapes, c->inputs, &rows, &key, &c->error);
    c->wait.rows = rows;
    c->wait.shape = key;
    c->wait.deadline = c->deadline;
    c->wait.level = c->level;
    pthread_mutex_lock(&s->lock);
    if (s->draining)
        cab_call_answer(c, CAB_CALL_DRAINING, "the model is being unloaded", c->submitted_ns, &a);
    else if (rc != CAB_RT_OK)
        cab_call_answer(c, rc, NULL, c->submitted_ns, &a);
    else
        mine = admit(s, c, in_line, &a);
    pthread_mutex_unlock(&s->lock);
    cab_answers_tell(&a);
    if (mine)
        cab_instance_run(mine);
    cab_served_leave(s);
}

void cab_call_submit(cab_served *s, cab_call *c) { submit(s, c, false); }
void cab_call_submit_inline(cab_served *s, cab_call *c) { submit(s, c, true); }

bool cab_served_turns_away(cab_served *s)
{
    pthread_mutex_lock(&s->lock);
    bool full = !s->draining && cab_batcher_full(s->batcher);
    if (full)
        count_failure(&s->stats, CAB_CALL_FULL, 0);
    pthread_mutex_unlock(&s->lock);
    return full;
}

static void cancel_running(cab_call *c, int64_t now, cab_answers *a)
{
    cab_instance *i = c->instance;
    if (c->state == CAB_CALL_LOOSE) {
        for (int64_t k = 0; k < i->n; k++)
            if (i->slots[k].call == c)
                i->slots[k].call = NULL;
        i->left--;
        cab_call_answer(c, CAB_CALL_CANCELLED, "the call was cancelled", now, a);
    } else {
        c->dropped = CAB_CALL_CANCELLED;
    }
    if (i->n == 1 || !i->left)
        cab_instance_stop(i);
}

void cab_call_cancel(cab_call *c)
{
    cab_served *s = c->served;
    cab_answers a = { 0 };
    cab_served_enter(s);
    pthread_mutex_lock(&s->lock);
    int64_t now = cab_now_ns();
    if (c->state == CAB_CALL_QUEUED) {
        cab_batcher_remove(s->batcher, &c->wait);
        cab_call_answer(c, CAB_CALL_CANCELLED, "the call was cancelled", now, &a);
        cab_served_pump(s, now, false, &a);
    } else if (c->state == CAB_CALL_RUNNING || c->state == CAB_CALL_LOOSE) {
        cancel_running(c, now, &a);
    }
    pthread_mutex_unlock(&s->lock);
    cab_answers_tell(&a);
    cab_served_leave(s);
}

void cab_call_release(cab_call *c)
{
    cab_block_unref(c->block);
    cab_served_unref(c->served);
    c->block = NULL;
    c->served = NULL;
}

/* ---- figures ---- */

void cab_served_get_stats(cab_served *s, cab_served_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->waiting = cab_batcher_waiting(s->batcher);
    out->running = s->pending - out->waiting;
    pthread_mutex_unlock(&s->lock);
}

int64_t cab_served_get_batches(cab_served *s, cab_batch_stats *out, int64_t n)
{
    pthread_mutex_lock(&s->lock);
    for (int64_t i = 0; i < n && i < s->n_batches; i++)
        out[i] = s->batches[i];
    pthread_mutex_unlock(&s->lock);
    return s->n_batches;
}
