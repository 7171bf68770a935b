/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the thread that changes what is registered and loaded, and the one that waits for builds.
 *
 * Changes happen one at a time, on the control thread: it alone uses the
 * registry and writes the catalog.  Builds (minutes, perhaps) run beside it, on
 * the build thread, one after the other, and come back as a task.
 */
#ifndef CAB_SERVE_CONTROL_H
#define CAB_SERVE_CONTROL_H
#include "serve/catalog.h"
#include "serve/child.h"
#include "serve/http/exchange.h"
#include "serve/task.h"

struct cab_service;
typedef struct cab_control cab_control;

/* A request that is answered when a version has been built; in the memory of its exchange. */
typedef struct cab_waiter {
    cab_exchange *x;
    const char *promise;       /* what inputs and outputs must be (JSON); NULL: anything */
    struct cab_waiter *next;
} cab_waiter;

/* A build and what becomes of it: `built` gets it on the control thread and frees it. */
typedef struct cab_building {
    cab_task task;
    struct cab_building *next; /* under way */
    cab_control *control;
    cab_waiter *waiters;
    atomic_bool unwanted;      /* its version was removed: it gives up */
    char name[CAB_NAME_BYTES];
    int64_t version;
    cab_digest model;
    bool heals;                /* the version is ready, and its artifact does not load */
    char *promise;             /* a version that breaks it has failed (JSON); or NULL */
    cab_status status;
    cab_diag diag;
    cab_build_result result;
    void (*built)(struct cab_service *s, struct cab_building *b);
} cab_building;

/* After a failure cab_control_destroy is still due (*out may be NULL). */
cab_status cab_control_create(struct cab_service *s, cab_control **out, cab_diag *d);
/* Builds give up from now on.  [any thread] */
void cab_control_hurry(cab_control *c);
/* The same, and waits for the one under way; what they leave comes back as tasks. */
void cab_control_settle(cab_control *c);
/* The same, then runs the tasks that are left, joins the threads.  NULL is allowed. */
void cab_control_destroy(cab_control *c);
/* t->run on the control thread, after what was posted before.  [any thread] */
void cab_control_post(cab_control *c, cab_task *t);
/* Builds b, after those before it; b->built is given it then, in any case.  [control thread] */
void cab_control_build(cab_control *c, cab_building *b);
/* The same at once, on the caller's thread. */
void cab_control_build_now(cab_control *c, cab_building *b);
/* Builds of that version (0: of all) of a model give up: it was removed.  [control thread] */
void cab_control_abandon(cab_control *c, const char *name, int64_t version);
/* The build of that model as that version that goes on, under way or in the queue; NULL: none.  [control thread] */
cab_building *cab_control_building(cab_control *c, const char *name, int64_t version, const cab_digest *model);
/* The task of a handler: run(s, t) on the control thread, which answers x. */
void cab_control_do(struct cab_service *s, cab_exchange *x, void (*run)(struct cab_service *s, cab_task *t));

#endif
