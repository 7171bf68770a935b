/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_stream.c - HTTP/2 streams: their time, and those that carry one message after the other
 * (ModelStreamInfer): each message is an exchange of its own, a part.
 */
#include "serve/conn_http2_int.h"
#include "serve/service.h"

void cab_stream_time(cab_exchange *x, int ms)
{
    x->since_ns = x->loop->now_ns;
    x->moved = 0;
    x->deadline_ns = x->since_ns + (int64_t)ms * 1000000;
}

void cab_stream_cut(cab_conn *c, cab_exchange *x, uint32_t code)
{
    c->broken = c->broken || nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, x->stream, code);
    x->deadline_ns = INT64_MAX;
}

size_t cab_stream_length(const cab_exchange *x)
{
    enum { PREFIX = 5 };
    const unsigned char *p = (const unsigned char *)x->body_bytes.p;
    if (x->body_bytes.n < PREFIX)
        return 0;
    return PREFIX + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
}

size_t cab_stream_waiting(const cab_exchange *x)
{
    size_t n = cab_stream_length(x);
    return n <= x->body_bytes.n ? n : 0;
}

bool cab_stream_rests(const cab_exchange *x)
{
    return !x->part && !x->out.n && !x->body_bytes.n;
}

bool cab_stream_idle(cab_exchange *x)
{
    x->deadline_ns = x->since_ns + (int64_t)x->server->limits.idle_ms * 1000000;
    return x->deadline_ns > x->loop->now_ns;
}

void cab_stream_answer(cab_conn *c, cab_exchange *x)
{
    cab_exchange *p = x->part;
    cab_grpc_part(p);
    cab_bytes_put(&x->out, p->out.p, p->out.n);
    x->out.failed = x->out.failed || p->out.failed;
    p->sent = p->out.n;
    x->part = NULL;
    cab_loop_recycle(c->loop, p);
}

static cab_slice moved(cab_slice s, const cab_bytes *from, const cab_bytes *to)
{
    bool inside = s.n && to->p && s.p >= from->p && s.p < from->p + from->n;
    return inside ? (cab_slice){ to->p + (s.p - from->p), s.n } : (cab_slice){ "", 0 };
}

/* The part may outlive its stream: its head is its own. */
static void copy_head(cab_exchange *p, const cab_exchange *x)
{
    cab_bytes_put(&p->head, x->head.p, x->head.n);
    const cab_bytes none = { 0 }, *to = p->head.failed ? &none : &p->head;
    p->path = moved(x->path, &x->head, to);
    p->fields = p->field_space;
    p->n_fields = to == &none ? 0 : x->n_fields;
    for (int i = 0; i < p->n_fields; i++)
        p->field_space[i] = (cab_field){ moved(x->fields[i].name, &x->head, to), moved(x->fields[i].value, &x->head, to) };
}

/* Takes the message out of the stream, as an exchange of its own. */
static cab_exchange *make_part(cab_conn *c, cab_exchange *x, size_t n)
{
    cab_exchange *p = cab_loop_exchange(c->loop);
    if (!p)
        return NULL;
    size_t held = n < x->reserved ? n : x->reserved;
    p->reserved = held;                /* of the budget: goes with the message */
    x->reserved -= held;
    cab_bytes_put(&p->body_bytes, x->body_bytes.p, n);
    x->body_bytes.n -= n;
    memmove(x->body_bytes.p, x->body_bytes.p + n, x->body_bytes.n);
    p->conn = c;
    p->parent = x;
    p->http2 = p->grpc = p->is_part = true;
    p->stream = x->stream;
    copy_head(p, x);
    p->body = (cab_slice){ p->body_bytes.p, p->body_bytes.n };
    p->arrived_ns = c->loop->now_ns;
    return p;
}

/* What a stream of messages waits for now. */
static void set_pace(cab_exchange *x)
{
    const cab_limits *m = &x->server->limits;
    if (x->part)
        x->deadline_ns = INT64_MAX;
    else
        cab_stream_time(x, x->sent < x->out.n ? m->write_ms : x->body_bytes.n ? m->body_ms : m->idle_ms);
}

/* One message after the other, in order; the answers are in the same order.  More of them wait while the client
 * does not take what is there. */
void cab_stream_pump(cab_conn *c, cab_exchange *x)
{
    bool fine = true;
    for (size_t n; fine && !x->part && x->out.n < CAB_HTTP2_UNSENT_MAX && (n = cab_stream_waiting(x));) {
        x->part = make_part(c, x, n);
        fine = x->part != NULL;
        if (fine && cab_exchange_handle(x->part))
            cab_stream_answer(c, x);
    }
    if (!x->answering) {
        x->type = "application/grpc";
        x->given = true;
        cab_http2_submit(c, x);
    } else {
        int rc = nghttp2_session_resume_data(c->session, x->stream);
        c->broken = c->broken || rc == NGHTTP2_ERR_NOMEM;
    }
    if (fine && !x->out.failed)
        set_pace(x);
    else
        cab_stream_cut(c, x, NGHTTP2_INTERNAL_ERROR);
}

/* Messages that waited for the client to take answers. */
bool cab_stream_pump_stalled(cab_conn *c)
{
    bool any = false;
    for (cab_exchange *x = c->streams; x; x = x->next_stream)
        if (x->streamed && x->answering && !x->part && !x->out.n && cab_stream_waiting(x)) {
            cab_stream_pump(c, x);
            any = true;
        }
    return any;
}
