/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.h - what the log says of a request: one line, when its answer has gone to the socket or its client away.
 *
 * With log_requests of each; always of what changes something, and of what fails by the server's fault (5xx: some a
 * second).  What a client made up is in no line, for it may be a secret that went to the wrong place: no path that is
 * not known, no model that is not there, no token.
 */
#ifndef CAB_SERVE_ACCESS_H
#define CAB_SERVE_ACCESS_H
#include "serve/route.h"
#include <pthread.h>

/* Statuses that are counted: every answer that is no success. */
enum { CAB_REFUSALS = 18 };
extern const int cab_refusals[CAB_REFUSALS];

typedef struct cab_access {
    pthread_mutex_t lock;      /* of lines about failures: */
    int64_t second;
    int written;
    uint64_t silent;           /* so many have been left out since one was written */
    atomic_ullong refused[CAB_REFUSALS];       /* by cab_refusals; the last one: others */
} cab_access;

/* Notes who asks, while the connection is there.  [its I/O thread] */
void cab_access_begin(cab_exchange *x);
/* x goes: writes its line, if there is one to write.  [its I/O thread] */
void cab_access_end(struct cab_server *server, cab_exchange *x);

#endif
