/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduler.h - runs calls of loaded models: queues, batches, instances, executor
 * threads, deadlines.  Knows no protocol.
 *
 * A cab_sched has the threads of the process: executors, which run models, and
 * one that minds the clock, so that a deadline is kept while every executor is
 * busy.  A cab_served is one loaded version of a model: its queue and its
 * instances, each a cab_session.  A cab_call is one request, in memory of the
 * caller; every call that is submitted is answered once, by done.
 *
 * Times are CLOCK_MONOTONIC in ns.  done is called on any thread, also from
 * within submit or cancel, with no lock held: it may submit and cancel, not
 * destroy.
 */
#ifndef CAB_SERVE_SCHEDULER_H
#define CAB_SERVE_SCHEDULER_H
#include "include/cab_rt.h"
#include "serve/sched/batcher.h"

typedef struct cab_sched cab_sched;
typedef struct cab_served cab_served;
typedef struct cab_call cab_call;

/* ---- the threads and the memory of the process ---- */
typedef struct cab_sched_options {
    int executors;             /* 0 = one per processor (cab_pool_threads) */
    uint64_t memory;           /* most bytes of tensors of all models; 0 = no limit */
    uint64_t spare;            /* most bytes of blocks kept for use again; 0 = 64 MiB */
} cab_sched_options;

/* NULL: no memory or no threads for it.  o may be NULL. */
cab_sched *cab_sched_create(const cab_sched_options *o);
/* Every cab_served is destroyed and every answered call released before. */
void cab_sched_destroy(cab_sched *k);
/* Bytes of tensors held now, by instances, answers and spare blocks. */
uint64_t cab_sched_memory(const cab_sched *k);
/* Gives back what idle instances hold and spare blocks. */
void cab_sched_trim(cab_sched *k);

/* ---- one version of a model ---- */
typedef struct cab_served_config {
    cab_batch_config queue;    /* max_batch at most 65536; `same` is not looked at */
    int instances;             /* runs at a time; 0 = 1 */
    int threads;               /* of a run, as in cab_session_options */
    int64_t inline_ns;         /* runs that take no longer are made by submit_inline itself; 0 =
                                * 50 us, negative: none */
} cab_served_config;

/* Takes m over when it succeeds; a code of cab_rt.h.  With max_batch, the first
 * axis of every input and output must be open, and counts rows. */
int cab_served_create(cab_sched *k, cab_model *m, const cab_served_config *c, cab_served **out,
                      cab_error *e);
/* From now on calls are refused; those that were accepted are answered. */
void cab_served_drain(cab_served *s);
/* Drains, waits for the answers, frees the model.  Nobody begins another submit.
 * Its calls may be cancelled and released later.  NULL is allowed. */
void cab_served_destroy(cab_served *s);
/* As it was created with, zeros replaced by what they stand for. */
const cab_served_config *cab_served_get_config(const cab_served *s);

/* ---- calls ---- */
/* Codes of answers beside those of cab_rt.h. */
enum cab_call_code {
    CAB_CALL_FULL = 100,       /* the queue holds as many as it may */
    CAB_CALL_EXPIRED,          /* its deadline passed */
    CAB_CALL_CANCELLED,
    CAB_CALL_DRAINING
};

/* Zeroed by the caller but for what it sets; may be submitted again after release. */
struct cab_call {
    cab_batch_request wait;    /* the scheduler's; first */
    /* By the caller. */
    const cab_tensor_view *inputs;     /* one per input of the model; array and data stay as
                                        * they are until done */
    cab_tensor_view *outputs;  /* room for one per output; filled in when the code is CAB_RT_OK,
                                * data good until release */
    int64_t deadline;          /* 0: none, or the default timeout of the queue */
    int level;                 /* priority, 1 first; 0: the default */
    void (*done)(cab_call *c);
    void *user;
    /* The answer. */
    int code;
    cab_error error;           /* its story; code here is the same */
    int64_t batch_rows;        /* of the batch it ran in; 0: did not run */
    int64_t submitted_ns;      /* when */
    int64_t queue_ns, input_ns, infer_ns, output_ns;
    /* The scheduler's. */
    cab_served *served;
    struct cab_instance *instance;
    struct cab_block *block;
    int state, dropped;
};

/* Queues a call.  A deadline that passes while it waits is answered at that
 * time; while it runs alone, the run ends before its next launch; in a batch
 * the call is answered at that time and its rows are thrown away. */
void cab_call_submit(cab_served *s, cab_call *c);
/* The same, for threads that should not be kept long (I/O): runs the model on
 * this thread when that is short (inline_ns, by a moving average of runs of the
 * same shape), an instance is free and nothing waits. */
void cab_call_submit_inline(cab_served *s, cab_call *c);
/* Whether a call would be refused now because the queue is full; then it counts as one that was.  Spares whoever asks
 * the reading of a request that would not run. */
bool cab_served_turns_away(cab_served *s);
/* Ends a call that was submitted: at once when it waits or runs in a batch,
 * before its next launch when it runs alone.  Does nothing when it is answered. */
void cab_call_cancel(cab_call *c);
/* Once for every call that was submitted, after done: its outputs are not read any
 * more, and it is not cancelled any more. */
void cab_call_release(cab_call *c);

/* ---- figures ---- */
typedef struct cab_tally { uint64_t count, ns; } cab_tally;
/* Upper bounds of the classes of a request's time, in ns, ascending; a last class has what is slower. */
enum { CAB_LATENCIES = 17 };
extern const uint64_t cab_latency_bounds[CAB_LATENCIES];
/* As Triton's statistics extension has them; times of a batch count for each of
 * its calls. */
typedef struct cab_served_stats {
    uint64_t inferences;       /* rows that were answered (calls, without max_batch) */
    uint64_t executions;       /* runs */
    cab_tally success, fail;   /* from submit to the answer; fail: of whatever reason, but not calls that do not fit the model */
    cab_tally queue, input, infer, output;    /* of the successes */
    uint64_t full, expired, cancelled, draining;      /* failures of these reasons */
    uint64_t inlined;          /* runs on the thread of the caller */
    int64_t last_ns;           /* when a run ended last; 0: none did */
    int64_t run_ns;            /* moving average of runs; 0: none ended */
    int64_t waiting, running;  /* calls, now */
    uint64_t latency[CAB_LATENCIES + 1];      /* successes by time, each in the first class that holds it */
} cab_served_stats;
void cab_served_get_stats(cab_served *s, cab_served_stats *out);

/* Runs of so many rows. */
typedef struct cab_batch_stats { uint64_t count, input_ns, infer_ns, output_ns; } cab_batch_stats;
enum { CAB_BATCH_SIZES = 1024 };       /* runs of more rows are counted there */
/* Fills out[0 .. n): the runs of index rows.  Returns how many there are. */
int64_t cab_served_get_batches(cab_served *s, cab_batch_stats *out, int64_t n);

#endif
