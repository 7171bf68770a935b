/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - two threads with a queue each: changes, and builds.
 */
#include "serve/control.h"
#include "serve/service.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct queue {
    cab_control *control;
    void (*handle)(cab_control *c, cab_task *t);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    cab_task *first, **last;
    bool running, ending;
} queue;

struct cab_control {
    cab_service *service;
    atomic_bool hurried;       /* builds give up */
    queue changes, builds;
    cab_building *under_way;   /* list by next; the control thread's */
};

/* ---- queues ---- */

static void put(queue *q, cab_task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&q->lock);
    *q->last = t;
    q->last = &t->next;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

/* The next task; NULL at the end. */
static cab_task *take(queue *q)
{
    pthread_mutex_lock(&q->lock);
    while (!q->first && !q->ending)
        pthread_cond_wait(&q->more, &q->lock);
    cab_task *t = q->first;
    if (t && !(q->first = t->next))
        q->last = &q->first;
    pthread_mutex_unlock(&q->lock);
    return t;
}

static void *serve(void *arg)
{
    queue *q = arg;
    for (cab_task *t; (t = take(q));)
        q->handle(q->control, t);
    return NULL;
}

static bool start(queue *q, cab_control *c, void (*handle)(cab_control *c, cab_task *t))
{
    q->control = c;
    q->handle = handle;
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    q->running = !pthread_create(&q->thread, NULL, serve, q);
    return q->running;
}

static void finish(queue *q)
{
    if (!q->running)
        return;
    pthread_mutex_lock(&q->lock);
    q->ending = true;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    q->running = false;
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->more);
}

/* ---- what they do ---- */

static void change(cab_control *c, cab_task *t)
{
    t->run(c->service, t);
}

static void come_back(cab_service *s, cab_task *t)
{
    cab_building *b = (cab_building *)t, **at = &s->control->under_way;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->built(s, b);
}

static bool is_unwanted(void *user)
{
    const cab_building *b = user;
    return atomic_load(&b->unwanted) || atomic_load(&b->control->hurried);
}

static void make(cab_control *c, cab_building *b)
{
    const cab_options *o = &c->service->o;
    cab_build_order order = {
        .model = b->model, .name = b->name, .target = o->build_target, .threads = (int)o->build_threads,
        .max_memory = (uint64_t)o->build_memory, .seconds = (int)o->build_seconds,
        .cancelled = is_unwanted, .cancel_user = b,
    };
    b->status = cab_build_artifact(c->service->blobs, &order, &b->result, &b->diag);
}

static void build(cab_control *c, cab_task *t)
{
    cab_building *b = (cab_building *)t;
    make(c, b);
    b->task.run = come_back;
    cab_control_post(c, &b->task);
}

/* ---- life ---- */

cab_status cab_control_create(cab_service *s, cab_control **out, cab_diag *d)
{
    cab_control *c = calloc(1, sizeof *c);
    *out = c;
    if (!c)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    c->service = s;
    if (!start(&c->changes, c, change) || !start(&c->builds, c, build))
        return cab_fail(d, CAB_ENOMEM, NULL, "cannot start the control threads");
    return CAB_OK;
}

void cab_control_hurry(cab_control *c)
{
    atomic_store(&c->hurried, true);
}

void cab_control_settle(cab_control *c)
{
    cab_control_hurry(c);
    finish(&c->builds);
}

void cab_control_destroy(cab_control *c)
{
    if (!c)
        return;
    cab_control_settle(c);
    finish(&c->changes);
    free(c);
}

void cab_control_post(cab_control *c, cab_task *t)
{
    put(&c->changes, t);
}

void cab_control_build(cab_control *c, cab_building *b)
{
    b->control = c;
    b->next = c->under_way;
    c->under_way = b;
    put(&c->builds, &b->task);
}

void cab_control_build_now(cab_control *c, cab_building *b)
{
    b->control = c;
    make(c, b);
    b->built(c->service, b);
}

cab_building *cab_control_building(cab_control *c, const char *name, int64_t version, const cab_digest *model)
{
    cab_building *b = c->under_way;
    while (b && (atomic_load(&b->unwanted) || b->version != version || strcmp(b->name, name) ||
                 !cab_digest_equal(&b->model, model)))
        b = b->next;
    return b;
}

void cab_control_abandon(cab_control *c, const char *name, int64_t version)
{
    for (cab_building *b = c->under_way; b; b = b->next)
        if (!strcmp(b->name, name) && (!version || b->version == version))
            atomic_store(&b->unwanted, true);
}

static void give(cab_exchange *x)
{
    cab_control_post(((cab_service *)x->server->user)->control, x->resume_arg);
}

void cab_control_do(cab_service *s, cab_exchange *x, void (*run)(cab_service *s, cab_task *t))
{
    cab_task *t = cab_pieces_zero(&x->mem, 1, sizeof *t);
    if (!t) {
        cab_exchange_refuse(x, 503, "out of memory");
        return;
    }
    (void)s;
    *t = (cab_task){ .run = run, .x = x };
    cab_exchange_then(x, give, t);
}
