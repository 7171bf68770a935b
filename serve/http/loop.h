/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - I/O threads: an event loop each, with its listeners, its connections and an inbox.
 */
#ifndef CAB_SERVE_LOOP_H
#define CAB_SERVE_LOOP_H
#include "base/diag.h"
#include "serve/http/exchange.h"
#include <pthread.h>

struct event_base;
struct event;
struct evconnlistener;
struct cab_conn;

enum { CAB_LISTENERS_MAX = 8, CAB_LOOP_SCRATCH = 256 << 10 };

typedef struct cab_loop {
    struct cab_server *server;
    struct event_base *base;
    struct event *wake, *sweep, *later;
    int wake_fd;                       /* eventfd */
    pthread_t thread;
    bool running;
    struct evconnlistener *listeners[CAB_LISTENERS_MAX];
    bool secure[CAB_LISTENERS_MAX];
    atomic_int n_listeners;            /* written by the loop */
    int64_t now_ns;                    /* monotonic: when the event began that is handled */
    char date[CAB_HTTP_DATE];          /* text of the Date field, made anew each second */
    int64_t date_s;
    struct cab_conn *conns;            /* all connections of the loop, list by next and prev */
    struct cab_conn *swept;            /* the sweep goes on here; NULL: it is done */
    struct cab_conn *again, **again_tail;   /* those whose input waits for the others' turn */
    atomic_int n_conns;                /* written by the loop */
    cab_exchange *spare;               /* exchanges to be used again */
    int n_spare;
    int given;                         /* exchanges that handlers have */
    cab_bytes frames;                  /* HTTP/2 on its way to a socket */
    char *scratch;                     /* CAB_LOOP_SCRATCH bytes that have just come */
    pthread_mutex_t lock;              /* of the three below */
    cab_exchange *inbox, **inbox_tail; /* answered elsewhere */
    unsigned wishes;                   /* enum cab_loop_wish */
} cab_loop;

enum cab_loop_wish { CAB_LOOP_STOP = 1, CAB_LOOP_DRAIN = 2, CAB_LOOP_CLOSE = 4, CAB_LOOP_DEAF = 8 };

/* After a failure cab_loop_fini is still due. */
cab_status cab_loop_init(cab_loop *l, struct cab_server *s, cab_diag *d);
/* Takes connections from fd (a listening socket, kept open by the caller); before cab_loop_start. */
cab_status cab_loop_listen(cab_loop *l, int fd, bool secure, cab_diag *d);
cab_status cab_loop_start(cab_loop *l, cab_diag *d);
/* Asks the loop: DRAIN: answers say "Connection: close"; DEAF: no new connections; CLOSE: both, and idle ones are
 * closed; STOP: ends.  [any thread] */
void cab_loop_wish(cab_loop *l, unsigned wish);
/* Waits for the thread (which was told to STOP), closes what is left, waits for what handlers have. */
void cab_loop_fini(cab_loop *l);
/* An exchange without a request in it; NULL when out of memory.  [the loop's thread] */
cab_exchange *cab_loop_exchange(cab_loop *l);
/* The connection has input that waits for the others' turn. */
void cab_loop_again(cab_loop *l, struct cab_conn *c);
/* The connection goes: nothing here points to it any more. */
void cab_loop_forget(cab_loop *l, struct cab_conn *c);
/* The event takes so long that others wait: what is left of it comes back later. */
bool cab_loop_turn_over(const cab_loop *l);
/* Whoever had x does not know it any more: its memory is for the next request.  [the loop's thread] */
void cab_loop_recycle(cab_loop *l, cab_exchange *x);
/* Hands over an exchange that was answered on another thread.  [any thread] */
void cab_loop_post(cab_loop *l, cab_exchange *x);

#endif
