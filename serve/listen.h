/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h - the sockets that connections come from: opened, inherited, handed on.
 *
 * A hot restart starts a successor that inherits the listening sockets and the
 * registry's lock; no connection is refused in between.  systemd's socket
 * activation (LISTEN_FDS) is understood as well.
 */
#ifndef CAB_SERVE_LISTEN_H
#define CAB_SERVE_LISTEN_H
#include "serve/service.h"

/* Gives every loop its listeners, by the options listen, listen_tls and listen_health.  With several loops each
 * has sockets of its own for a port (SO_REUSEPORT), but for inherited ones, which they share. */
cab_status cab_listen_all(cab_service *s, cab_diag *d);
/* Takes no connection more, so that all that wait can be served before the sockets close; for the ports of clients, where
 * no other process has the sockets, too. */
void cab_listen_seal(const cab_service *s);
/* Closes the sockets; those for health, too, or not.  No loop has them any more. */
void cab_listen_close(cab_service *s, bool health);
/* "http://127.0.0.1:8000 https://..." into b. */
void cab_listen_describe(const cab_service *s, cab_bytes *b);

/* The registry's lock from a predecessor, or -1; that may have died since. */
int cab_inherited_lock(void);
/* The predecessor's process while that lives; else 0. */
int cab_predecessor(void);
/* Starts program (argv as main got it) with our sockets and lock; it ends us by SIGTERM when it is ready. */
cab_status cab_hand_over(cab_service *s, const char *program, char **argv, cab_diag *d);
/* Of a successor: tells the predecessor, if there is one, that we serve. */
void cab_tell_predecessor(void);

#endif
