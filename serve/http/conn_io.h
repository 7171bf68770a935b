/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_io.h - the bytes of a connection, for conn.c and conn_io.c: a plain socket by events of our own, TLS by
 * libevent's bufferevent.
 */
#ifndef CAB_SERVE_CONN_IO_H
#define CAB_SERVE_CONN_IO_H
#include "serve/http/server.h"

/* Begins to read c->fd (TLS where c->secure); false: out of memory, and the socket is closed. */
bool cab_io_open(cab_conn *c);
/* Closes the socket, frees what c holds of bytes. */
void cab_io_close(cab_conn *c);
/* Reads no more. */
void cab_io_deafen(cab_conn *c);
/* What has come is thrown away. */
void cab_io_forget(cab_conn *c);
/* After a carrier has read: what it left of the input is kept; false: out of memory. */
bool cab_io_keep(cab_conn *c);
/* No more input than a request that is being answered may hold back: reads no more while there is that much.
 * False: out of memory. */
bool cab_io_pace(cab_conn *c);
/* TLS: tells the client that nothing was cut off; plain: that nothing more comes. */
bool cab_io_goodbye(cab_conn *c);

/* ---- what happens (and cab_conn_came), in conn.c; any of them may end the connection ---- */
void cab_conn_sent(cab_conn *c);       /* the socket has taken everything written */
void cab_conn_secured(cab_conn *c, bool http2);
void cab_conn_ended(cab_conn *c, bool half);   /* an error, or (half) the client sends no more */

#endif
