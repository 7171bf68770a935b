/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http2_int.h - the carrier HTTP/2, for conn_http2.c, conn_http2_out.c and conn_stream.c only.
 */
#ifndef CAB_SERVE_CONN_HTTP2_INT_H
#define CAB_SERVE_CONN_HTTP2_INT_H
#include "serve/serve_int.h"
#include <nghttp2/nghttp2.h>

enum { CAB_HTTP2_UNSENT_MAX = 256 << 10 };       /* bytes for the socket; more waits in the streams */

/* Gives frames to the socket until it has enough of them; false: broken. */
bool cab_http2_send(cab_conn *c);
/* nghttp2's send_data_callback: a frame's head, then n bytes of the answer. */
int cab_http2_take_answer(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n,
                          nghttp2_data_source *source, void *user);
/* Begins the answer of x, or breaks the connection. */
void cab_http2_submit(cab_conn *c, cab_exchange *x);

/* The client of stream x has so long; more for bytes that move (late in conn_http2.c). */
void cab_stream_time(cab_exchange *x, int ms);
/* The stream ends here; what was begun with it cannot be finished. */
void cab_stream_cut(cab_conn *c, cab_exchange *x, uint32_t code);

/* ---- streams of messages ---- */
/* Bytes of the first whole message that waits, with its prefix; 0: none yet. */
size_t cab_stream_waiting(const cab_exchange *x);
/* The same of a message that may not be whole yet; 0: its prefix is not. */
size_t cab_stream_length(const cab_exchange *x);
/* Nothing has come that was not answered, and the client took it all; and whether it may rest longer. */
bool cab_stream_rests(const cab_exchange *x);
bool cab_stream_idle(cab_exchange *x);
/* Handles what waits, in order. */
void cab_stream_pump(cab_conn *c, cab_exchange *x);
/* The same for all streams whose client has taken its answers; true: there was one. */
bool cab_stream_pump_stalled(cab_conn *c);
/* The answer of the part of x is the next of x. */
void cab_stream_answer(cab_conn *c, cab_exchange *x);

#endif
