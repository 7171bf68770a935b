/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduler.c - the threads: executors, and the one that minds the clock.
 *
 * A batch is put together by whoever makes it possible (a submit, the end of a
 * run, the clock) and given to an idle executor; so what waits is exactly what
 * no free instance could have taken.  Without an idle executor the model stands
 * in line, and the executor that is done next takes its oldest batch: models
 * take turns.
 */
#include "serve/sched/scheduler_int.h"
#include <signal.h>
#include <stdlib.h>

/* ---- executors ---- */

static void stand_in_line(cab_sched *k, cab_served *s)
{
    if (s->wants)
        return;
    s->wants = true;
    s->want_next = NULL;
    *(k->want ? &k->last_want->want_next : &k->want) = s;
    k->last_want = s;
}

bool cab_sched_claim(cab_sched *k, cab_served *s)
{
    pthread_mutex_lock(&k->lock);
    bool yes = k->idle > k->claimed + k->n_jobs;
    k->claimed += yes;
    if (!yes)
        stand_in_line(k, s);
    pthread_mutex_unlock(&k->lock);
    return yes;
}

void cab_sched_unclaim(cab_sched *k)
{
    pthread_mutex_lock(&k->lock);
    k->claimed--;
    if (k->want)               /* it had no executor because of the claim */
        pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->lock);
}

void cab_sched_give(cab_sched *k, cab_instance *i)
{
    pthread_mutex_lock(&k->lock);
    k->claimed--;
    k->n_jobs++;
    i->next = NULL;
    *(k->jobs ? &k->last_job->next : &k->jobs) = i;
    k->last_job = i;
    pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->lock);
}

void cab_sched_line_up(cab_sched *k, cab_served *s)
{
    pthread_mutex_lock(&k->lock);
    stand_in_line(k, s);
    pthread_mutex_unlock(&k->lock);
}

static cab_served *next_in_line(cab_sched *k)
{
    cab_served *s = k->want;
    if (s) {
        k->want = s->want_next;
        s->wants = false;
        cab_served_enter(s);
    }
    return s;
}

/* A job, or a model that wants an executor: one of the two.  False: quit. */
static bool wait_for_work(cab_sched *k, cab_instance **job, cab_served **line)
{
    *job = NULL;
    *line = NULL;
    pthread_mutex_lock(&k->lock);
    for (;;) {
        if (k->jobs) {
            *job = k->jobs;
            k->jobs = k->jobs->next;
            k->n_jobs--;
            break;
        }
        *line = next_in_line(k);
        if (*line || k->quit)
            break;
        k->idle++;
        pthread_cond_wait(&k->work, &k->lock);
        k->idle--;
    }
    pthread_mutex_unlock(&k->lock);
    return *job || *line;
}

static void *executor(void *arg)
{
    cab_sched *k = arg;
    cab_instance *job;
    cab_served *line;
    while (wait_for_work(k, &job, &line)) {
        if (line)
            job = cab_served_turn(line);
        if (job)
            cab_instance_run(job);
        if (line)
            cab_served_leave(line);
    }
    return NULL;
}

/* ---- the clock ---- */

void cab_sched_arm(cab_sched *k, cab_served *s, int64_t when)
{
    pthread_mutex_lock(&k->lock);
    s->wake = when;
    if (when < k->timer_at) {
        k->timer_at = when;
        pthread_cond_signal(&k->clock);
    }
    pthread_mutex_unlock(&k->lock);
}

/* One whose time has come; else NULL, and *next is the earliest. */
static cab_served *due(cab_sched *k, int64_t now, int64_t *next)
{
    *next = CAB_NEVER;
    for (cab_served *s = k->all; s; s = s->next) {
        if (s->wake <= now) {
            s->wake = CAB_NEVER;
            return s;
        }
        *next = s->wake < *next ? s->wake : *next;
    }
    return NULL;
}

static cab_served *next_to_trim(cab_sched *k)
{
    for (cab_served *s = k->all; s; s = s->next)
        if (!s->trimmed) {
            s->trimmed = true;
            return s;
        }
    return NULL;
}

static void trim_all(cab_sched *k)
{
    cab_served *s;
    cab_blocks_trim(&k->blocks);
    pthread_mutex_lock(&k->lock);
    for (s = k->all; s; s = s->next)
        s->trimmed = false;
    while ((s = next_to_trim(k))) {
        cab_served_enter(s);
        pthread_mutex_unlock(&k->lock);
        cab_served_trim(s);
        cab_served_leave(s);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
}

void cab_sched_trim(cab_sched *k)
{
    trim_all(k);
    pthread_mutex_lock(&k->lock);
    k->feed = true;
    pthread_cond_signal(&k->clock);
    pthread_mutex_unlock(&k->lock);
}

/* [locked] Lets the hungry try again, the first first, until one still finds nothing. */
static void feed(cab_sched *k)
{
    cab_served *s, *before = NULL;
    while ((s = k->hungry) && s != before) {
        before = s;
        cab_served_enter(s);
        pthread_mutex_unlock(&k->lock);
        cab_served_tick(s);
        cab_served_leave(s);
        pthread_mutex_lock(&k->lock);
    }
}

static void sleep_until(cab_sched *k, int64_t when)
{
    struct timespec t = { when / 1000000000, when % 1000000000 };
    k->timer_at = when;
    if (when == CAB_NEVER)
        pthread_cond_wait(&k->clock, &k->lock);
    else
        pthread_cond_timedwait(&k->clock, &k->lock, &t);
}

static void *mind_clock(void *arg)
{
    cab_sched *k = arg;
    int64_t next;
    pthread_mutex_lock(&k->lock);
    while (!k->quit) {
        cab_served *s = due(k, cab_now_ns(), &next);
        if (s) {
            cab_served_enter(s);
            pthread_mutex_unlock(&k->lock);
            cab_served_tick(s);
            cab_served_leave(s);
            pthread_mutex_lock(&k->lock);
        } else if (k->trim) {
            k->trim = false;
            k->feed = true;
            pthread_mutex_unlock(&k->lock);
            trim_all(k);
            pthread_mutex_lock(&k->lock);
        } else if (k->feed) {
            k->feed = false;
            feed(k);
        } else {
            sleep_until(k, next);
        }
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* ---- memory, in turn ---- */

static void leave_hungry(cab_sched *k, cab_served *s)
{
    cab_served **p = &k->hungry, *before = NULL;
    for (; *p && *p != s; p = &(*p)->hungry_next)
        before = *p;
    if (!*p)
        return;
    *p = s->hungry_next;
    if (k->last_hungry == s)
        k->last_hungry = before;
    s->hungry = false;
    atomic_store(&k->starved, k->hungry != NULL);
    if (k->hungry) {
        k->feed = true;
        pthread_cond_signal(&k->clock);
    }
}

bool cab_sched_reserve(cab_sched *k, cab_served *s, uint64_t bytes)
{
    if (!bytes || (!atomic_load(&k->starved) && cab_budget_reserve(&k->budget, bytes)))
        return true;
    pthread_mutex_lock(&k->lock);
    bool yes = (!k->hungry || k->hungry == s) && cab_budget_reserve(&k->budget, bytes);
    if (yes && s->hungry)
        leave_hungry(k, s);
    if (!yes && !s->hungry) {
        s->hungry = true;
        s->hungry_next = NULL;
        *(k->hungry ? &k->last_hungry->hungry_next : &k->hungry) = s;
        k->last_hungry = s;
        atomic_store(&k->starved, true);
        k->trim = true;
        pthread_cond_signal(&k->clock);
    }
    pthread_mutex_unlock(&k->lock);
    return yes;
}

void cab_sched_not_hungry(cab_sched *k, cab_served *s)
{
    if (!atomic_load(&k->starved))
        return;
    pthread_mutex_lock(&k->lock);
    if (s->hungry)
        leave_hungry(k, s);
    pthread_mutex_unlock(&k->lock);
}

void cab_sched_fed(cab_sched *k)
{
    if (!atomic_load(&k->starved))
        return;
    pthread_mutex_lock(&k->lock);
    k->trim = true;
    pthread_cond_signal(&k->clock);
    pthread_mutex_unlock(&k->lock);
}

static void block_freed(void *user) { cab_sched_fed(user); }

/* ---- models ---- */

void cab_sched_link(cab_sched *k, cab_served *s)
{
    pthread_mutex_lock(&k->lock);
    s->wake = CAB_NEVER;
    s->prev = NULL;
    s->next = k->all;
    if (k->all)
        k->all->prev = s;
    k->all = s;
    pthread_mutex_unlock(&k->lock);
}

static void leave_line(cab_sched *k, cab_served *s)
{
    cab_served **p = &k->want, *before = NULL;
    for (; *p && *p != s; p = &(*p)->want_next)
        before = *p;
    if (!*p)
        return;
    *p = s->want_next;
    if (k->last_want == s)
        k->last_want = before;
    s->wants = false;
}

void cab_sched_unlink(cab_sched *k, cab_served *s)
{
    pthread_mutex_lock(&k->lock);
    *(s->prev ? &s->prev->next : &k->all) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    leave_line(k, s);
    leave_hungry(k, s);
    pthread_mutex_unlock(&k->lock);
}

/* ---- life ---- */

uint64_t cab_sched_memory(const cab_sched *k) { return atomic_load(&k->budget.used); }

static bool start_threads(cab_sched *k, int n)
{
    sigset_t all, before;      /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = !pthread_create(&k->timer, NULL, mind_clock, k);
    if (ok)
        while (k->n_threads < n && !pthread_create(&k->threads[k->n_threads], NULL, executor, k))
            k->n_threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok && !k->n_threads) {
        pthread_mutex_lock(&k->lock);
        k->quit = true;
        pthread_cond_signal(&k->clock);
        pthread_mutex_unlock(&k->lock);
        pthread_join(k->timer, NULL);
    }
    return ok && k->n_threads;
}

static void free_sched(cab_sched *k)
{
    cab_blocks_fini(&k->blocks);
    pthread_cond_destroy(&k->work);
    pthread_cond_destroy(&k->clock);
    pthread_mutex_destroy(&k->lock);
    free(k->threads);
    free(k);
}

cab_sched *cab_sched_create(const cab_sched_options *o)
{
    static const cab_sched_options none;
    cab_sched *k = calloc(1, sizeof *k);
    o = o ? o : &none;
    if (!k)
        return NULL;
    int n = o->executors > 0 ? o->executors : cab_pool_threads();
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&k->clock, &a);
    pthread_condattr_destroy(&a);
    pthread_cond_init(&k->work, NULL);
    pthread_mutex_init(&k->lock, NULL);
    k->timer_at = CAB_NEVER;
    k->budget.limit = o->memory;
    cab_blocks_init(&k->blocks, &k->budget, o->spare ? o->spare : (uint64_t)64 << 20);
    k->blocks.freed = block_freed;
    k->blocks.user = k;
    k->threads = calloc((size_t)n, sizeof *k->threads);
    if (k->threads && start_threads(k, n))
        return k;
    free_sched(k);
    return NULL;
}

void cab_sched_destroy(cab_sched *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->quit = true;
    pthread_cond_broadcast(&k->work);
    pthread_cond_signal(&k->clock);
    pthread_mutex_unlock(&k->lock);
    for (int i = 0; i < k->n_threads; i++)
        pthread_join(k->threads[i], NULL);
    pthread_join(k->timer, NULL);
    free_sched(k);
}
