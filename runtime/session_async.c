/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_async.c - a run on a thread of the session's own.
 *
 * The thread starts with the first such run and sleeps between them.  The done
 * call is part of the run for those who wait, not for the run it may start.
 */
#include "runtime/session_int.h"
#include <signal.h>

void cab_async_init(cab_async *a)
{
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
}

static void run_one(cab_session *s)
{
    cab_async *a = &s->async;
    cab_done_fn done = a->done;
    void *user = a->user;
    cab_error e = { 0 };
    const cab_tensor_view *inputs = a->inputs;
    cab_tensor_view *outputs = a->outputs;
    pthread_mutex_unlock(&a->lock);
    int rc = cab_session_run(s, inputs, outputs, &e);
    done(user, s, rc, &e);
    pthread_mutex_lock(&a->lock);
}

static void *thread(void *arg)
{
    cab_session *s = arg;
    cab_async *a = &s->async;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->waiting && !a->quit)
            pthread_cond_wait(&a->changed, &a->lock);
        if (!a->waiting)
            break;
        a->waiting = false;
        a->busy = true;
        run_one(s);
        a->busy = false;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* Signals of the host stay with its own threads. */
static bool start(cab_session *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    s->async.started = s->async.started ||
                       pthread_create(&s->async.thread, NULL, thread, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return s->async.started;
}

int cab_session_run_async(cab_session *s, const cab_tensor_view *inputs,
                          cab_tensor_view *outputs, cab_done_fn done, void *user, cab_error *e)
{
    cab_async *a = &s->async;
    int rc = CAB_OK;
    pthread_mutex_lock(&a->lock);
    bool own = a->started && pthread_equal(a->thread, pthread_self());
    if (a->waiting || (a->busy && !own))
        rc = cab_rt_fail(e, CAB_EINVAL, "a run of this session is under way");
    else if (!done)
        rc = cab_rt_fail(e, CAB_EINVAL, "an asynchronous run needs a completion function");
    else if (!start(s))
        rc = cab_rt_fail(e, CAB_ENOMEM, "no thread for the run");
    if (rc == CAB_OK) {
        a->inputs = inputs;
        a->outputs = outputs;
        a->done = done;
        a->user = user;
        a->waiting = true;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

void cab_session_wait(cab_session *s)
{
    cab_async *a = &s->async;
    pthread_mutex_lock(&a->lock);
    while (a->waiting || a->busy)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

void cab_async_fini(cab_async *a)
{
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    if (a->started)
        pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
}
