/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http2_out.c - HTTP/2: answers into frames, frames to the socket.
 *
 * The bytes of an answer are copied once: nghttp2 makes the head of a DATA frame
 * and asks for what follows it, which goes into the loop's buffer of frames.
 */
#include "serve/http/conn_http2_int.h"
#include <stdio.h>

/* ---- answers ---- */

static nghttp2_nv pair(const char *name, cab_slice value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value.p, strlen(name), value.n,
                         NGHTTP2_NV_FLAG_NONE };
}

/* How a call ends, as text: its status, and its message percent-encoded, as gRPC wants that. */
typedef struct ending { char code[12], message[3 << 10]; } ending;

/* Whole characters only. */
static size_t encode(char *to, size_t room, const cab_bytes *text)
{
    size_t n = 0, whole = 0;
    for (size_t i = 0; i < text->n && n + 3 < room; i++) {
        unsigned char c = (unsigned char)text->p[i];
        if (c >> 6 != 2)
            whole = n;
        if (c >= 0x20 && c < 0x7f && c != '%')
            to[n++] = (char)c;
        else
            n += (size_t)snprintf(to + n, room - n, "%%%02X", c);
        if (i + 1 == text->n)
            whole = n;
    }
    return whole;
}

static size_t trailers(const cab_exchange *x, nghttp2_nv *nv, ending *e)
{
    snprintf(e->code, sizeof e->code, "%d", x->grpc_status);
    nv[0] = pair("grpc-status", cab_slice_of(e->code));
    nv[1] = pair("grpc-message", (cab_slice){ e->message, encode(e->message, sizeof e->message, &x->grpc_message) });
    return nv[1].valuelen ? 2 : 1;
}

/* How much of the answer the next frame has; cab_http2_take_answer gives it to the frame. */
static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                           nghttp2_data_source *source, void *user)
{
    cab_exchange *x = source->ptr;
    size_t left = x->out.n - x->sent;
    (void)user;
    (void)to;
    n = n < left ? n : left;
    if (n)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n < left)
        return (ssize_t)n;
    if (x->streamed && (!x->over || x->part))
        return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (x->grpc) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv nv[2];
        ending e;
        if (nghttp2_submit_trailer(session, id, nv, trailers(x, nv, &e)))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

int cab_http2_take_answer(nghttp2_session *session, nghttp2_frame *f, const uint8_t *head, size_t n,
                          nghttp2_data_source *source, void *user)
{
    enum { HEAD = 9 };
    cab_exchange *x = source->ptr;
    cab_bytes *b = &x->loop->frames;
    (void)session;
    (void)f;
    if (b->n >= CAB_HTTP2_UNSENT_MAX)
        return NGHTTP2_ERR_WOULDBLOCK;
    cab_bytes_put(b, head, HEAD);
    cab_bytes_put(b, x->out.p + x->sent, n);
    x->sent += n;
    if (!x->streamed || x->pace == CAB_PACE_WRITE)
        x->moved += n;
    if (x->streamed && x->sent == x->out.n) {
        cab_bytes_clear(&x->out);
        x->sent = 0;
        cab_stream_next(user, x);
    }
    return 0;
}

void cab_http2_continue(cab_conn *c, cab_exchange *x)
{
    const nghttp2_nv nv = pair(":status", CAB_SLICE("100"));
    c->broken = c->broken || nghttp2_submit_headers(c->session, NGHTTP2_FLAG_NONE, x->stream, NULL, &nv, 1, NULL);
}

static size_t answer_head(const cab_exchange *x, nghttp2_nv *nv, char status[12], char length[24], ending *e)
{
    size_t n = 0;
    snprintf(status, 12, "%d", x->grpc ? 200 : x->status);
    nv[n++] = pair(":status", cab_slice_of(status));
    nv[n++] = pair("date", cab_slice_of(x->loop->date));
    if (x->type)
        nv[n++] = pair("content-type", cab_slice_of(x->type));
    if (x->grpc) {                     /* what its requests' messages may be compressed by */
        nv[n++] = pair("grpc-accept-encoding", CAB_SLICE("identity,deflate,gzip"));
    } else {
        snprintf(length, 24, "%zu", x->out.n);
        nv[n++] = pair("content-length", cab_slice_of(length));
    }
    for (int i = 0; i < x->n_answer_fields; i++)
        nv[n++] = pair(x->answer_fields[i].name.p, x->answer_fields[i].value);
    if (x->grpc && !x->out.n && !x->streamed)      /* gRPC's "trailers only" */
        n += trailers(x, nv + n, e);
    return n;
}

/* Half an answer would look like a whole one. */
static void excuse(cab_exchange *x)
{
    cab_bytes_clear(&x->out);
    x->status = 503;
    x->grpc_status = 14;               /* UNAVAILABLE */
    x->n_answer_fields = 0;
    x->type = x->grpc ? x->type : NULL;
}

void cab_http2_submit(cab_conn *c, cab_exchange *x)
{
    if (x->out.failed && !x->streamed)
        excuse(x);
    nghttp2_nv nv[4 + CAB_ANSWER_FIELDS + 2];
    char status[12], length[24];
    ending e;
    nghttp2_data_provider body = { .source.ptr = x, .read_callback = read_answer };
    x->answering = true;
    x->sent = 0;
    cab_stream_time(x, x->server->limits.write_ms);
    bool empty = (!x->out.n && !x->streamed) || x->method == CAB_METHOD_HEAD;
    int rc = nghttp2_submit_response(c->session, x->stream, nv, answer_head(x, nv, status, length, &e),
                                     empty ? NULL : &body);
    c->broken = c->broken || (rc && rc != NGHTTP2_ERR_DATA_EXIST);
}

/* ---- frames ---- */

bool cab_http2_send(cab_conn *c)
{
    cab_bytes *b = &c->loop->frames;
    while (cab_conn_unsent(c) < CAB_HTTP2_UNSENT_MAX) {
        cab_bytes_clear(b);
        const uint8_t *p;
        ssize_t k = 0;
        while (b->n < CAB_HTTP2_UNSENT_MAX && (k = nghttp2_session_mem_send(c->session, &p)) > 0)
            cab_bytes_put(b, p, (size_t)k);    /* behind what cab_http2_take_answer has put there */
        if (k < 0 || b->failed)        /* out of memory: what is missing would be waited for */
            return false;
        if (!b->n)
            break;
        if (!cab_conn_write(c, b->p, b->n, NULL))
            return false;
    }
    return true;
}
