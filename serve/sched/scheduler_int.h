/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scheduler_int.h - a scheduler, its models and their instances.
 *
 * Locks: cab_served.lock, then cab_sched.lock or the blocks' lock.  Whoever
 * works on a cab_served without being in a call of its owner's counts in
 * `users`, which is left last.
 */
#ifndef CAB_SERVE_SCHEDULER_INT_H
#define CAB_SERVE_SCHEDULER_INT_H
#include <pthread.h>
#include "base/log.h"
#include "serve/sched/memory.h"
#include "serve/sched/scheduler.h"
#include "serve/sched/shapes.h"

enum cab_call_state {
    CAB_CALL_NEW, CAB_CALL_QUEUED,
    CAB_CALL_RUNNING,          /* its inputs are being read */
    CAB_CALL_LOOSE,            /* its rows were copied: it may be answered any time */
    CAB_CALL_DONE
};

/* A call in a batch. */
typedef struct cab_slot {
    cab_call *call;            /* NULL: answered already */
    int64_t rows, at;          /* its rows begin there */
} cab_slot;

typedef struct cab_instance {
    cab_served *served;
    struct cab_instance *next; /* free, or a job */
    cab_session *session;      /* NULL: given back, made again when needed */
    cab_slot *slots;
    int64_t n, rows, left;     /* calls; rows; calls not yet answered */
    uint64_t key;              /* of the shape that runs */
    int64_t deadline;          /* earliest of the calls in a batch */
    cab_block *block;          /* for the outputs */
    bool bound;                /* the outputs go there at once */
    bool in_line;              /* on the caller's thread */
    bool apart;                /* the calls of a failed batch run one by one */
    cab_tensor_view *in, *out; /* of this run */
    void **gather;             /* per input: rows of all calls */
    uint64_t *gather_cap;
    uint64_t held[3];          /* of the budget: enum cab_held */
} cab_instance;
enum cab_held { CAB_HELD_ARENA, CAB_HELD_OUTPUTS, CAB_HELD_GATHER };

struct cab_served {
    cab_sched *sched;
    cab_model *model;
    cab_served_config config;
    pthread_mutex_t lock;
    cab_shapes shapes;
    cab_batcher *batcher;
    cab_instance *instances, *free;
    atomic_int users;
    atomic_int refs;           /* the owner, and calls that were not released */
    bool draining;
    bool no_memory;            /* among the hungry: not tried again before the clock says so */
    int64_t pending;           /* calls that wait or run */
    int64_t armed;             /* the clock was asked for that time */
    cab_served_stats stats;
    cab_batch_stats *batches;
    int64_t n_batches;
    /* Under the scheduler's lock. */
    cab_served *next, *prev;           /* all */
    cab_served *want_next;     /* those that have something to run and had no executor */
    cab_served *hungry_next;   /* those that had no memory */
    bool wants, hungry, trimmed;
    int64_t wake;              /* CAB_NEVER: not */
};

struct cab_sched {
    pthread_mutex_t lock;
    pthread_cond_t work, clock;
    int n_threads;             /* executors that were started */
    pthread_t *threads, timer;
    bool quit;
    int idle, claimed;         /* executors that wait; of them, promised */
    int n_jobs;
    cab_instance *jobs, *last_job;
    cab_served *all, *want, *last_want, *hungry, *last_hungry;
    atomic_bool starved;       /* hungry is not empty */
    bool trim, feed;           /* the clock's thread should */
    int64_t timer_at;          /* it sleeps until then */
    cab_budget budget;
    cab_blocks blocks;
};

/* ---- scheduler.c ---- */
/* An idle executor is promised to s; false: none is, and s stands in line for
 * the next.  [s locked] */
bool cab_sched_claim(cab_sched *k, cab_served *s);
void cab_sched_unclaim(cab_sched *k);
/* The promised executor runs it. */
void cab_sched_give(cab_sched *k, cab_instance *i);
/* s stands in line; the caller is an executor and looks there next. */
void cab_sched_line_up(cab_sched *k, cab_served *s);
/* cab_served_tick(s) at that time, or earlier. */
void cab_sched_arm(cab_sched *k, cab_served *s, int64_t when);
/* Takes so much of the budget for s, in turn; false: s is among the hungry, and
 * is pumped when there may be more. */
bool cab_sched_reserve(cab_sched *k, cab_served *s, uint64_t bytes);
/* s has nothing to run any more. */
void cab_sched_not_hungry(cab_sched *k, cab_served *s);
/* After memory was given back. */
void cab_sched_fed(cab_sched *k);
void cab_sched_link(cab_sched *k, cab_served *s);
void cab_sched_unlink(cab_sched *k, cab_served *s);

/* ---- served.c ---- */
/* What was answered, to be told when no lock is held. */
typedef struct cab_answers {
    cab_batch_request *first, *last;
} cab_answers;
/* All of these: [s locked] */
void cab_call_answer(cab_call *c, int code, const char *text, int64_t now, cab_answers *a);
/* Expires, gives batches to idle executors, asks the clock.  self: this thread is
 * an executor and takes the next batch itself. */
void cab_served_pump(cab_served *s, int64_t now, bool self, cab_answers *a);
/* A batch for a free instance; NULL: nothing may run now. */
cab_instance *cab_served_assign(cab_served *s, int64_t now, cab_answers *a);
/* [unlocked] */
void cab_answers_tell(cab_answers *a);
/* On time; on an executor that s stood in line for: NULL or what it is to run. [unlocked] */
void cab_served_tick(cab_served *s);
cab_instance *cab_served_turn(cab_served *s);
/* Gives back what its free instances hold. [unlocked] */
void cab_served_trim(cab_served *s);
static inline void cab_served_enter(cab_served *s) { atomic_fetch_add(&s->users, 1); }
static inline void cab_served_leave(cab_served *s) { atomic_fetch_sub(&s->users, 1); }

/* ---- served_life.c ---- */
/* The last frees what destroy has left. */
void cab_served_unref(cab_served *s);

/* ---- instance.c ---- */
int cab_instance_init(cab_instance *i, cab_served *s, cab_error *e);
void cab_instance_fini(cab_instance *i);
/* Memory for a run of n calls and so many rows like c's; false: there is none now
 * (s is among the hungry), or *never, with the story in e.  [s locked, i free] */
bool cab_instance_reserve(cab_instance *i, const cab_shape *shape, const cab_call *c, int64_t n,
                          int64_t rows, bool *never, cab_error *e);
/* Whether a run of one call fits the budget when nothing else does. */
bool cab_instance_fits(const cab_served *s, uint64_t intermediate, uint64_t outputs);
/* Begins with these calls, for which it was reserved. [s locked] */
void cab_instance_start(cab_instance *i, cab_batch_request *calls);
/* Runs it and answers the calls; i is free afterwards. [unlocked] */
void cab_instance_run(cab_instance *i);
/* Nobody wants its results. [s locked] */
void cab_instance_stop(cab_instance *i);
/* Gives its memory back. [s locked, i free] */
void cab_instance_trim(cab_instance *i);

#endif
