/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batcher.h - the requests that wait for one version of a model, and which of
 * them run together: a function of events and times.
 *
 * Knows no thread and no clock: every call is given the time (ns, of any clock
 * that does not run backwards; calls are in order of time).  Requests are the
 * caller's memory, linked while they wait; nothing is allocated after create.
 * Used by one thread at a time.
 *
 * A batch is a run of the oldest requests of one shape, in order of arrival: a
 * request is never split, overtaken within its shape, or put into a batch that
 * would have more than max_batch rows.  A batch may be taken
 *   - when a preferred size is met exactly: the largest such, at once; without
 *     preferred sizes, max_batch is the one;
 *   - when the next request would go beyond the largest preferred size: what is
 *     before it, at once;
 *   - when the oldest has waited for max_delay: as many as fit; with max_delay
 *     0 that is now, but an exact preferred size is still taken first;
 *   - when one of the shape has so short a time left (twice max_delay or less)
 *     that it cannot wait for company: as many as fit.
 * Of several shapes that may go, the one whose oldest request is older goes
 * first, so none starves.  Levels are strict: level 1 before level 2; a batch
 * is of one level.  (These are the rules of Triton's dynamic batcher; there, a
 * request of another shape cuts the batch before it.)
 */
#ifndef CAB_SERVE_BATCHER_H
#define CAB_SERVE_BATCHER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CAB_BATCH_PREFERRED = 16, CAB_BATCH_LEVELS = 8 };
#define CAB_NEVER INT64_MAX    /* a time that does not come */

typedef struct cab_batch_request {
    /* By the caller, before push. */
    int64_t rows;              /* along the first axis; not looked at when max_batch is 0 */
    uint64_t shape;            /* requests of equal shape may run together */
    int64_t deadline;          /* not run from then on; 0: never, or the default timeout */
    int level;                 /* 1 .. levels; 0: the default level */
    /* Set by push and take. */
    int64_t pushed;            /* when */
    struct cab_batch_request *next;    /* in a list that expire or take returned; NULL ends it */
    /* The batcher's. */
    uint64_t seq;              /* order of arrival */
    bool waiting, hurry;
    struct cab_batch_request *older, *newer;          /* of its level */
    struct cab_batch_request *chain_next, *chain_prev;      /* of its shape */
    struct cab_batch_request *group_next, *group_prev;  /* the first of a shape: in its bucket */
    struct cab_batch_request *last;    /* the first of a shape: the last of it */
    int64_t group_rows;
    int group_hurry;
    struct cab_batch_request *heap_child, *heap_next, *heap_prev;
} cab_batch_request;

typedef struct cab_batch_config {
    int64_t max_queue;         /* most requests that may wait; 0 = any number */
    int64_t max_batch;         /* rows; 0 = every request runs alone */
    int n_preferred;
    int64_t preferred[CAB_BATCH_PREFERRED];    /* 1 .. max_batch, in any order */
    int64_t max_delay_ns;
    int levels;                /* 0 = 1 */
    int default_level;         /* 0 = 1 */
    int64_t default_timeout_ns;        /* of requests without a deadline; 0 = none */
    /* Whether two requests of equal `shape` really are of one shape; NULL: they are. */
    bool (*same)(const cab_batch_request *a, const cab_batch_request *b);
} cab_batch_config;

typedef struct cab_batcher cab_batcher;

/* NULL when the configuration contradicts itself, *why says how (static text),
 * or when out of memory (*why NULL). */
cab_batcher *cab_batcher_create(const cab_batch_config *c, const char **why);
/* Requests that still wait are forgotten. */
void cab_batcher_destroy(cab_batcher *b);

enum cab_batch_push {
    CAB_PUSH_ACCEPTED,
    CAB_PUSH_FULL,             /* max_queue requests wait */
    CAB_PUSH_IMPOSSIBLE        /* no rows, more than max_batch, or no such level */
};
enum cab_batch_push cab_batcher_push(cab_batcher *b, cab_batch_request *r, int64_t now);
/* Whether a push now would find it full. */
bool cab_batcher_full(const cab_batcher *b);
/* Takes one back; false when it does not wait (any more). */
bool cab_batcher_remove(cab_batcher *b, cab_batch_request *r);
/* Takes out those whose deadline is now or earlier, earliest first; NULL: none. */
cab_batch_request *cab_batcher_expire(cab_batcher *b, int64_t now);
/* Takes out the batch that is to run now, of at most max_rows rows (0: no other
 * limit than max_batch; a first request of more goes alone; a batch that this
 * keeps from growing goes at once).  NULL: none now,
 * ask again at *again (CAB_NEVER: not before the next event).  Hands out nothing
 * while a deadline has passed: expire first. */
cab_batch_request *cab_batcher_take(cab_batcher *b, int64_t now, int64_t max_rows,
                                    int64_t *again);
/* The same without taking it out: only its first, how many and their rows. */
cab_batch_request *cab_batcher_look(const cab_batcher *b, int64_t now, int64_t max_rows,
                                    int64_t *again, int64_t *n, int64_t *rows);
/* Earliest deadline of those that wait; CAB_NEVER without one. */
int64_t cab_batcher_deadline(const cab_batcher *b);
/* Requests that wait. */
int64_t cab_batcher_waiting(const cab_batcher *b);

#endif
