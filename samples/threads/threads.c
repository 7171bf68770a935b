/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads.c - one model, many threads.
 *
 *   threads MODEL.cab
 *
 * A model is immutable: all threads share it.  A session belongs to one thread
 * at a time: each has its own.  Shown: a run alone; two sessions in two
 * threads at once, with the same bytes; a run that goes on by itself and calls
 * back.  Links libcabrt.a -lpthread.
 */
#include <cab_rt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT = 1, BATCH = 8, RUNS = 50, N_THREADS = 2 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "threads: %s: %s\n", what, why);
    return 1;
}

/* The input, and the bytes that every run has to give.  Read only from
 * here on: that is why threads may share it. */
typedef struct task {
    cab_model *model;
    cab_tensor_view in;
    void *expected;
    size_t bytes;
} task;

static int make_input(task *t)
{
    cab_tensor_info info;
    size_t n = 1;
    if (cab_model_input_count(t->model) != 1 || cab_model_output_count(t->model) != 1)
        return fail("model", "this sample wants one input and one output");
    cab_model_input(t->model, 0, &info);
    if (info.dtype != FLOAT)
        return fail("model", "this sample wants a float input");
    t->in = (cab_tensor_view){ .dtype = FLOAT, .rank = info.rank };
    for (int k = 0; k < info.rank; k++) {
        t->in.dims[k] = info.dims[k] >= 0 ? info.dims[k] : BATCH;
        n *= (size_t)t->in.dims[k];
    }
    t->in.bytes = n * sizeof(float);
    float *x = t->in.data = malloc(t->in.bytes ? t->in.bytes : 1);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)(i * 7 % 17);
    return x ? 0 : fail("input", "out of memory");
}

static int run_alone(task *t)
{
    cab_session *s = NULL;
    cab_error e = { 0 };
    cab_tensor_view out = { 0 };
    if (cab_session_create(t->model, NULL, &s, &e) || cab_session_run(s, &t->in, &out, &e)) {
        cab_session_destroy(s);
        return fail("alone", e.text);
    }
    /* The session owns out.data and takes it with it: copy what is to stay. */
    t->bytes = out.bytes;
    t->expected = malloc(out.bytes ? out.bytes : 1);
    if (t->expected)
        memcpy(t->expected, out.data, out.bytes);
    cab_session_destroy(s);
    return t->expected ? 0 : fail("alone", "out of memory");
}

/* ---- two sessions at once ---- */
typedef struct worker {
    pthread_t thread;
    task *task;
    int runs_alike;
    cab_error error;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    cab_session *s = NULL;
    /* threads 1: each run stays on its own thread.  With many requests at once
     * that gives the most of them per second; with 0 one run may use the pool,
     * which all sessions of the process share. */
    cab_session_options o = CAB_INIT(cab_session_options);
    o.threads = 1;
    if (cab_session_create(w->task->model, &o, &s, &w->error))
        return NULL;
    for (int i = 0; i < RUNS; i++) {
        cab_tensor_view out = { 0 };
        if (cab_session_run(s, &w->task->in, &out, &w->error))
            break;
        w->runs_alike += out.bytes == w->task->bytes && !memcmp(out.data, w->task->expected, out.bytes);
    }
    cab_session_destroy(s);
    return NULL;
}

static int two_at_once(task *t)
{
    worker w[N_THREADS] = { 0 };
    int started = 0, bad = 0;
    for (; started < N_THREADS; started++) {
        w[started].task = t;
        if (pthread_create(&w[started].thread, NULL, work, &w[started]))
            break;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(w[i].thread, NULL);
        printf("thread %d: %d of %d runs gave the same bytes as alone\n", i, w[i].runs_alike, RUNS);
        if (w[i].error.code)
            bad |= fail("thread", w[i].error.text);
        bad |= w[i].runs_alike != RUNS;
    }
    return started < N_THREADS ? fail("thread", "cannot be started") : bad;
}

/* ---- a run that calls back ---- */
/* Input, views and results must stay until done has been called: they live in
 * this struct, not on the stack of a function that returns before. */
typedef struct request {
    cab_tensor_view out;
    atomic_int done;                /* done is called on another thread */
    int code;
    cab_error error;
} request;

/* Runs on the session's thread.  e ends with this call: copied.  It may start the
 * next run of s here, but not destroy s. */
static void done(void *user, cab_session *s, int code, const cab_error *e)
{
    request *r = user;
    (void)s;
    r->code = code;
    if (code && e)
        r->error = *e;
    atomic_store(&r->done, 1);
}

static int asynchronous(task *t)
{
    request r = { .code = 0 };
    cab_session *s = NULL;
    cab_error e = { 0 };
    int rc = 0;
    if (cab_session_create(t->model, NULL, &s, &e) ||
        cab_session_run_async(s, &t->in, &r.out, done, &r, &e))
        rc = fail("asynchronous", e.text);
    /* Here a real program goes on with something else; this one only waits.
     * cab_session_wait returns after done has returned. */
    if (!rc) {
        cab_session_wait(s);
        if (!atomic_load(&r.done) || r.code)
            rc = fail("asynchronous", r.error.text);
        else if (r.out.bytes != t->bytes || memcmp(r.out.data, t->expected, t->bytes))
            rc = fail("asynchronous", "other bytes than alone");
        else
            printf("asynchronous run: called back, the same bytes\n");
    }
    cab_session_destroy(s);         /* r.out.data ends here */
    return rc;
}

int main(int argc, char **argv)
{
    task t = { 0 };
    cab_error e = { 0 };
    if (argc != 2)
        return fail("usage", "threads MODEL.cab");
    if (cab_model_load(argv[1], NULL, &t.model, &e))
        return fail(argv[1], e.text);
    int rc = make_input(&t);
    if (!rc)
        rc = run_alone(&t);
    if (!rc)
        rc = two_at_once(&t);
    if (!rc)
        rc = asynchronous(&t);
    cab_model_destroy(t.model);
    free(t.in.data);
    free(t.expected);
    return rc;
}
