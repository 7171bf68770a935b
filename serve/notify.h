/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.h - what a service manager is told of us: the protocol of sd_notify(3), without its library.
 *
 * A datagram to the socket that $NOTIFY_SOCKET names; without one nothing
 * happens.  The variable stays, so a successor tells the same manager.
 */
#ifndef CAB_SERVE_NOTIFY_H
#define CAB_SERVE_NOTIFY_H
#include "serve/journal.h"

/* Lines of VARIABLE=VALUE.  A manager that does not take them within a second is a line in the log.  [any thread] */
void cab_notify(cab_journal *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* That we are busy with ourselves; cab_notify(j, "READY=1") ends it. */
void cab_notify_reloading(cab_journal *j);

#endif
