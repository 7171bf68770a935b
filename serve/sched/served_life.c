/* SPDX-License-Identifier: Apache-2.0 */
/*
 * served_life.c - a loaded version of a model begins and ends.
 */
#include "serve/sched/scheduler_int.h"
#include <stdio.h>
#include <stdlib.h>

static int refuse(cab_error *e, int code, const char *why)
{
    e->code = code;
    snprintf(e->text, sizeof e->text, "%s", why);
    return code;
}

static bool same_shape(const cab_batch_request *a, const cab_batch_request *b)
{
    const cab_call *x = (const cab_call *)a, *y = (const cab_call *)b;
    return cab_shapes_same(&x->served->shapes, x->inputs, y->inputs);
}

static int check_config(const cab_served_config *c, cab_error *e)
{
    if (c->instances < 0 || c->instances > 1024)
        return refuse(e, CAB_RT_EINVAL, "a model has 1 to 1024 instances");
    if (c->threads < 0)
        return refuse(e, CAB_RT_EINVAL, "the threads of a run are negative");
    if (c->queue.max_batch > 65536)
        return refuse(e, CAB_RT_EINVAL, "a batch has at most 65536 rows");
    return CAB_RT_OK;
}

static int make_instances(cab_served *s, cab_error *e)
{
    int n = s->config.instances;
    s->n_batches = s->config.queue.max_batch + 1;
    if (s->n_batches > CAB_BATCH_SIZES || s->n_batches < 2)
        s->n_batches = s->n_batches < 2 ? 2 : CAB_BATCH_SIZES;
    s->batches = calloc((size_t)s->n_batches, sizeof *s->batches);
    s->instances = calloc((size_t)n, sizeof *s->instances);
    if (!s->batches || !s->instances)
        return refuse(e, CAB_RT_ENOMEM, "out of memory");
    for (int i = n - 1; i >= 0; i--) {
        int rc = cab_instance_init(&s->instances[i], s, e);
        if (rc != CAB_RT_OK)
            return rc;
        s->instances[i].next = s->free;
        s->free = &s->instances[i];
    }
    return CAB_RT_OK;
}

void cab_served_unref(cab_served *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void empty_served(cab_served *s)
{
    for (int i = 0; s->instances && i < s->config.instances; i++)
        cab_instance_fini(&s->instances[i]);
    free(s->instances);
    free(s->batches);
    cab_batcher_destroy(s->batcher);
    cab_shapes_fini(&s->shapes);
    s->instances = NULL;
}

static int fill_served(cab_served *s, cab_error *e)
{
    const char *why;
    s->batcher = cab_batcher_create(&s->config.queue, &why);
    if (!s->batcher)
        return why ? refuse(e, CAB_RT_EINVAL, why) : refuse(e, CAB_RT_ENOMEM, "out of memory");
    int rc = cab_shapes_init(&s->shapes, s->model, s->config.queue.max_batch > 0, e);
    return rc == CAB_RT_OK ? make_instances(s, e) : rc;
}

int cab_served_create(cab_sched *k, cab_model *m, const cab_served_config *c, cab_served **out,
                      cab_error *e)
{
    cab_error unread;
    e = e ? e : &unread;
    *out = NULL;
    *e = (cab_error){ 0 };
    int rc = check_config(c, e);
    cab_served *s = rc == CAB_RT_OK ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return rc != CAB_RT_OK ? rc : refuse(e, CAB_RT_ENOMEM, "out of memory");
    s->sched = k;
    s->model = m;
    s->config = *c;
    s->config.instances = c->instances ? c->instances : 1;
    s->config.inline_ns = c->inline_ns ? c->inline_ns : 50000;
    s->config.queue.same = same_shape;
    s->armed = CAB_NEVER;
    atomic_init(&s->refs, 1);
    pthread_mutex_init(&s->lock, NULL);
    rc = fill_served(s, e);
    if (rc != CAB_RT_OK) {
        empty_served(s);
        cab_served_unref(s);
        return rc;
    }
    cab_sched_link(k, s);
    *out = s;
    return CAB_RT_OK;
}

const cab_served_config *cab_served_get_config(const cab_served *s) { return &s->config; }

void cab_served_drain(cab_served *s)
{
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    pthread_mutex_unlock(&s->lock);
}

static void rest(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
}

void cab_served_destroy(cab_served *s)
{
    if (!s)
        return;
    cab_served_drain(s);
    for (bool empty = false; !empty;) {
        pthread_mutex_lock(&s->lock);
        empty = !s->pending;
        pthread_mutex_unlock(&s->lock);
        if (!empty)
            rest();
    }
    cab_sched_unlink(s->sched, s);
    while (atomic_load(&s->users))
        rest();
    empty_served(s);
    cab_sched_fed(s->sched);           /* it was in no list: nobody else tells the hungry */
    cab_model_destroy(s->model);
    cab_served_unref(s);
}
