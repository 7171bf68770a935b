/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http2_int.h - the carrier HTTP/2, for conn_http2.c, conn_http2_out.c and conn_stream.c only.
 */
#ifndef CAB_SERVE_CONN_HTTP2_INT_H
#define CAB_SERVE_CONN_HTTP2_INT_H
#include "serve/http/server.h"
#include <nghttp2/nghttp2.h>

enum { CAB_HTTP2_UNSENT_MAX = 256 << 10 };       /* bytes for the socket; more waits in the streams */

/* Gives frames to the socket until it has enough of them; false: broken. */
bool cab_http2_send(cab_conn *c);
/* nghttp2's send_data_callback: a frame's head, then n bytes of the answer. */
int cab_http2_take_answer(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n,
                          nghttp2_data_source *source, void *user);
/* Begins the answer of x, or breaks the connection. */
void cab_http2_submit(cab_conn *c, cab_exchange *x);

/* Tells the client of x to send its body. */
void cab_http2_continue(cab_conn *c, cab_exchange *x);
/* x has something to be handled when the connection has its turn: it gets in line, once. */
void cab_http2_ready(cab_conn *c, cab_exchange *x);

/* The client of stream x has so long; more for bytes that move (late in conn_http2.c). */
void cab_stream_time(cab_exchange *x, int ms);
/* The stream ends here; what was begun with it cannot be finished. */
void cab_stream_cut(cab_conn *c, cab_exchange *x, uint32_t code);

/* ---- streams of messages ---- */
/* Bytes of the next message, with its prefix; 0: that has not come. */
size_t cab_stream_length(const cab_exchange *x);
/* n more bytes have come; false: over the budget of all bodies, or out of memory. */
bool cab_stream_came(cab_exchange *x, const void *p, size_t n);
/* Something has changed: x gets in line if it can go on; its window and its time are those of what it waits for. */
void cab_stream_next(cab_conn *c, cab_exchange *x);
/* The same when there is something to send. */
void cab_stream_resume(cab_conn *c, cab_exchange *x);
/* Handles the next message, or the end. */
void cab_stream_step(cab_conn *c, cab_exchange *x);
/* The part of x was answered: that is the next answer of x. */
void cab_stream_answer(cab_conn *c, cab_exchange *x);
/* The stream ends by that after the answers that it has; what else has come is dropped. */
void cab_stream_end(cab_conn *c, cab_exchange *x, int status, const char *why);

#endif
