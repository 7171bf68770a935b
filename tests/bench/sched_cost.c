/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_cost.c - what the scheduler adds to a run: docs/design/serving.md.
 *
 *   sched_cost MODEL.cab      extents that the inputs decide are 1; inputs are zero
 *
 * A run on a session; a call on the caller's thread; a call on an executor;
 * many calls at a time, alone and in batches of up to 32.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "serve/sched/scheduler.h"

enum { MAX_IO = 64, CALLS = 256, ROUNDS = 200, TRIES = 7 };
typedef struct job { cab_call c; cab_tensor_view out[MAX_IO]; atomic_int told; } job;
static cab_tensor_view in[MAX_IO];
static job jobs[CALLS];
static int n_in;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void told(cab_call *c) { atomic_store(&((job *)c)->told, 1); }

static cab_model *load(const char *path)
{
    cab_model *m = NULL;
    cab_error e;
    if (cab_model_load(path, NULL, &m, &e)) {
        fprintf(stderr, "sched_cost: %s\n", e.text);
        exit(1);
    }
    n_in = cab_model_input_count(m);
    for (int i = 0; i < n_in && i < MAX_IO; i++) {
        cab_tensor_info t;
        cab_model_input(m, i, &t);
        in[i] = (cab_tensor_view){ .dtype = t.dtype, .rank = t.rank };
        for (int k = 0; k < t.rank; k++)
            in[i].dims[k] = t.dims[k] < 0 ? 1 : t.dims[k];
        in[i].bytes = cab_tensor_bytes(t.dtype, t.rank, in[i].dims);
        in[i].data = calloc(in[i].bytes + 1, 1);
    }
    return m;
}

static void ask(cab_served *s, job *j, int in_line)
{
    memset(&j->c, 0, sizeof j->c);
    j->c.inputs = in;
    j->c.outputs = j->out;
    j->c.done = told;
    atomic_store(&j->told, 0);
    if (in_line)
        cab_call_submit_inline(s, &j->c);
    else
        cab_call_submit(s, &j->c);
}

static void reap(job *j)
{
    while (!atomic_load(&j->told))
        ;
    if (j->c.code) {
        fprintf(stderr, "sched_cost: %s\n", j->c.error.text);
        exit(1);
    }
    cab_call_release(&j->c);
}

static void direct(cab_session *s)
{
    static cab_tensor_view out[MAX_IO];
    cab_session_run(s, in, out, NULL);
}

/* Microseconds of one, the least of some tries. */
static double least(cab_session *s, cab_served *v, int in_line, int at_a_time)
{
    double best = 1e18;
    for (int t = 0; t < TRIES; t++) {
        double t0 = now_us();
        for (int i = 0; i < ROUNDS; i++) {
            if (s)
                direct(s);
            for (int k = 0; v && k < at_a_time; k++)
                ask(v, &jobs[k], in_line);
            for (int k = 0; v && k < at_a_time; k++)
                reap(&jobs[k]);
        }
        double each = (now_us() - t0) / ROUNDS / at_a_time;
        best = each < best ? each : best;
    }
    return best;
}

static cab_served *serve(cab_sched *k, const char *path, int64_t max_batch)
{
    cab_served *s;
    cab_error e;
    cab_served_config c = { .threads = 1, .inline_ns = 1000000000, .queue = { .max_batch = max_batch } };
    if (cab_served_create(k, load(path), &c, &s, &e)) {
        fprintf(stderr, "sched_cost: %s\n", e.text);
        exit(1);
    }
    return s;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    cab_model *m = load(argv[1]);
    cab_session_options o = CAB_INIT(cab_session_options);
    cab_session *session;
    cab_sched *k = cab_sched_create(NULL);
    cab_served *alone = serve(k, argv[1], 0), *batches = serve(k, argv[1], 32);
    o.threads = 1;
    if (cab_session_create(m, &o, &session, NULL))
        return 1;
    least(session, NULL, 0, 1);
    least(NULL, alone, 0, 8);
    printf("a run on a session            %8.2f us\n", least(session, NULL, 0, 1));
    printf("a call on the caller's thread %8.2f us\n", least(NULL, alone, 1, 1));
    printf("a call on an executor         %8.2f us\n", least(NULL, alone, 0, 1));
    printf("%d at a time, alone          %8.2f us each\n", CALLS, least(NULL, alone, 0, CALLS));
    printf("%d at a time, by up to 32    %8.2f us each\n", CALLS, least(NULL, batches, 0, CALLS));
    cab_served_destroy(alone);
    cab_served_destroy(batches);
    cab_sched_destroy(k);
    cab_session_destroy(session);
    cab_model_destroy(m);
    return 0;
}
