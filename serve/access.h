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

/* Of lines about failures: so many have been left out since one was written. */
typedef struct cab_access { pthread_mutex_t lock; int64_t second; int written; uint64_t silent; } cab_access;

/* Notes who asks, while the connection is there.  [its I/O thread] */
void cab_access_begin(cab_exchange *x);
/* x goes: writes its line, if there is one to write.  [its I/O thread] */
void cab_access_end(struct cab_server *server, cab_exchange *x);

#endif
