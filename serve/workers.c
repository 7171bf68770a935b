/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers.c - a queue of exchanges and some threads.
 */
#include "serve/workers.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    THREADS_MAX = 16,
    NICER = 5                  /* a processor's next turn is an I/O thread's, not a worker's */
};

struct cab_workers {
    void (*work)(cab_exchange *x);
    pthread_mutex_t lock;
    pthread_cond_t more;
    cab_exchange *first, **last;
    bool ending;
    int n;
    pthread_t threads[THREADS_MAX];
};

/* The next exchange; NULL at the end. */
static cab_exchange *take(cab_workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->ending)
        pthread_cond_wait(&w->more, &w->lock);
    cab_exchange *x = w->first;
    if (x && !(w->first = x->next))
        w->last = &w->first;
    pthread_mutex_unlock(&w->lock);
    return x;
}

static void *run(void *arg)
{
    cab_workers *w = arg;
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICER);
    for (cab_exchange *x; (x = take(w));)
        cab_exchange_work(x, w->work);
    return NULL;
}

cab_workers *cab_workers_create(int n, void (*work)(cab_exchange *x))
{
    cab_workers *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->work = work;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    n = n < 1 ? 1 : n < THREADS_MAX ? n : THREADS_MAX;
    while (w->n < n && !pthread_create(&w->threads[w->n], NULL, run, w))
        w->n++;
    if (w->n)
        return w;
    cab_workers_destroy(w);
    return NULL;
}

void cab_workers_give(cab_workers *w, cab_exchange *x)
{
    x->away = true;
    x->next = NULL;
    pthread_mutex_lock(&w->lock);
    *w->last = x;
    w->last = &x->next;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void cab_workers_destroy(cab_workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n; i++)
        pthread_join(w->threads[i], NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->more);
    free(w);
}
