/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - the rooms of the server together: their life, and who may ask for what.
 */
#ifndef CAB_SERVE_SERVICE_H
#define CAB_SERVE_SERVICE_H
#include "serve/access.h"
#include "serve/auth.h"
#include "serve/catalog.h"
#include "serve/control.h"
#include "serve/http/coding.h"
#include "serve/http/server.h"
#include "serve/journal.h"
#include "serve/registry/registry.h"
#include "serve/route.h"
#include "serve/sched/scheduler.h"
#include "serve/serve_options.h"
#include "serve/workers.h"

/* A listening socket, the text and the option that it was opened by, and what is spoken there. */
typedef struct cab_socket { const char *where, *option, *scheme; int fd; bool own; } cab_socket;   /* own: opened here, or by a predecessor */
enum { CAB_SOCKETS_MAX = 64 };

typedef struct cab_service {
    cab_options o;
    cab_server server;
    cab_loop health;           /* the thread of listen_health */
    bool has_health;
    cab_socket sockets[CAB_SOCKETS_MAX];
    int n_sockets;
    cab_journal *journal;
    cab_auth *auth;
    cab_root root;
    cab_blobs *blobs;
    cab_registry *registry;    /* the control thread's, once that runs */
    cab_sched *sched;
    cab_catalog *catalog;
    cab_control *control;
    cab_workers *workers;      /* read large requests */
    struct cab_obstacle *obstacles;    /* what does not load (repository_int.h); the control thread's */
    bool healing;
    int64_t sweep_ns;          /* no sweep before */
    cab_task last;             /* of control: unloads everything */
    bool preceded;             /* a predecessor may still be building; the control thread's */
    atomic_int successor;      /* process that takes over; 0: none */
    cab_access access;         /* lines about requests */
    atomic_ullong builds_done, builds_failed;
    cab_bytes openapi;         /* the document */
    atomic_bool ready;         /* what the registry wants is loaded */
    pthread_mutex_t life;      /* of the two below: a successor starts its loops late, or not at all */
    bool ending;               /* told to: it takes over from nobody any more */
    bool serving;              /* the loops run */
    int64_t started_ns;
} cab_service;

/* Builds the rooms; after a failure cab_service_fini is still due.  argv: of serve_options.h. */
cab_status cab_service_init(cab_service *s, int argc, char **argv, cab_diag *d);
/* Opens the ports, starts the threads, loads what is wanted. */
cab_status cab_service_start(cab_service *s, cab_diag *d);
/* Unready, then no new connections, then what was begun is finished, or cut off after its time.  With a
 * successor that serves: no new connections at once, and never unready. */
void cab_service_drain(cab_service *s, bool succeeded);
/* Whether that process is the successor. */
bool cab_service_has_successor(const cab_service *s, int pid);
/* Whether the loops run: not yet those of a successor that loads its models.  [any thread] */
bool cab_service_serves(cab_service *s);
/* Cuts off what is left, ends the threads, gives everything back. */
void cab_service_fini(cab_service *s);
/* Of a successor: its predecessor has ended; what that still changed is taken over. */
void cab_service_inherit(cab_service *s);
/* Certificates, tokens and the log file again; what fails stays as it was, and is said in the log. */
void cab_service_reload(cab_service *s);
/* Tells a service manager that we are busy with ourselves, or no more. */
void cab_service_says_busy(const cab_service *s, bool busy);

/* The service that an exchange came to. */
static inline cab_service *cab_service_of(const cab_exchange *x) { return x->server->user; }
/* Whether the token of x allows that with that model; else answers (401, 403). */
bool cab_service_allows(cab_exchange *x, cab_role role, cab_slice model);
/* The same as a question.  model "*": every one. */
bool cab_service_may(const cab_exchange *x, cab_role role, cab_slice model);
/* Whether what needs that role is taken now; else answers (503): changes by a process that another one follows would
 * be unknown to that one. */
bool cab_service_takes(cab_exchange *x, cab_role role);
/* Ready: what the registry wants is loaded, and nothing drains.  [any thread] */
bool cab_service_is_ready(const cab_service *s);
/* Opens a compressed body, `in` of it; false: answered, or a worker has x, and it comes again. */
bool cab_service_open(cab_exchange *x, cab_coding c, cab_slice in);

#endif
