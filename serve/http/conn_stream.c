/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_stream.c - HTTP/2 streams: their time, and those that carry one message after the other
 * (ModelStreamInfer): each message is an exchange of its own, a part.
 *
 * A stream handles one message each time its connection takes it out of the
 * line of those that are ready; whatever may let it go on (bytes, an answer,
 * a client that reads) calls cab_stream_next.  Its window opens by what was
 * taken: a client that sends faster than it is answered waits, and loses nothing.
 */
#include "serve/http/conn_http2_int.h"

void cab_stream_time(cab_exchange *x, int ms)
{
    x->since_ns = x->loop->now_ns;
    x->moved = 0;
    x->deadline_ns = x->since_ns + (int64_t)ms * 1000000;
}

void cab_stream_cut(cab_conn *c, cab_exchange *x, uint32_t code)
{
    c->broken = c->broken || nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, x->stream, code);
    x->over = true;
    x->deadline_ns = INT64_MAX;
}

/* ---- what has come ---- */

/* Bytes that wait: the next message's first. */
static cab_slice waiting(const cab_exchange *x)
{
    return (cab_slice){ x->body_bytes.p + x->taken, x->body_bytes.n - x->taken };
}

size_t cab_stream_length(const cab_exchange *x)
{
    const cab_slice in = waiting(x);
    if (in.n < CAB_GRPC_PREFIX)
        return 0;
    const unsigned char *p = (const unsigned char *)in.p;
    return CAB_GRPC_PREFIX + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
}

/* The next message is all there. */
static bool has_message(const cab_exchange *x)
{
    size_t n = cab_stream_length(x);
    return n && n <= waiting(x).n;
}

static bool is_too_long(const cab_exchange *x)
{
    return cab_stream_length(x) > x->server->limits.body_bytes;
}

/* What was taken goes when it is half of all: each byte moves once at most. */
static void compact(cab_exchange *x)
{
    const cab_slice rest = waiting(x);
    if (!x->taken || rest.n > x->taken)
        return;
    memmove(x->body_bytes.p, rest.p, rest.n);
    x->body_bytes.n = rest.n;
    x->taken = 0;
}

bool cab_stream_came(cab_exchange *x, const void *p, size_t n)
{
    compact(x);
    x->held += n;
    if (!cab_body_reserve(x, n))
        return false;
    cab_bytes_put(&x->body_bytes, p, n);
    if (x->pace == CAB_PACE_BODY)
        x->moved += n;
    if (!is_too_long(x))
        cab_body_promise(x, x->taken + cab_stream_length(x));
    return true;
}

/* The window opens for what was taken, and for all that has come of a message that is waited for. */
static void open_window(cab_conn *c, cab_exchange *x)
{
    size_t stays = x->part || has_message(x) ? waiting(x).n : 0;
    if (x->held <= stays)
        return;
    c->broken = c->broken || nghttp2_session_consume_stream(c->session, x->stream, x->held - stays) == NGHTTP2_ERR_NOMEM;
    x->held = stays;
}

/* ---- time ---- */

/* What is waited for now has its time from when that began: a byte more of the same earns what bytes earn
 * (cab_conn_earned), no more. */
static void set_pace(cab_exchange *x)
{
    const cab_limits *m = &x->server->limits;
    const int ms[] = { [CAB_PACE_REST] = m->idle_ms, [CAB_PACE_BODY] = m->body_ms, [CAB_PACE_WRITE] = m->write_ms,
                       [CAB_PACE_OURS] = 0 };
    cab_pace now = x->sent < x->out.n ? CAB_PACE_WRITE : x->part || x->ready ? CAB_PACE_OURS
                 : waiting(x).n || x->over ? CAB_PACE_BODY : CAB_PACE_REST;
    if (now == x->pace)
        return;
    x->pace = now;
    cab_stream_time(x, ms[now]);
    if (now == CAB_PACE_OURS)
        x->deadline_ns = INT64_MAX;
}

/* ---- one message after the other ---- */

/* Answers come in the order of their messages; more messages wait while the client does not take what is there. */
static bool can_step(const cab_exchange *x)
{
    return !x->part && !x->over && x->out.n < CAB_HTTP2_UNSENT_MAX && (x->whole || has_message(x) || is_too_long(x));
}

void cab_stream_next(cab_conn *c, cab_exchange *x)
{
    if (can_step(x))
        cab_http2_ready(c, x);
    open_window(c, x);
    set_pace(x);
}

void cab_stream_end(cab_conn *c, cab_exchange *x, int status, const char *why)
{
    cab_exchange_end(x, status, why);
    x->over = true;
    x->taken = 0;
    cab_bytes_fini(&x->body_bytes);
    atomic_fetch_sub(&x->server->bodies, x->reserved);
    x->reserved = 0;
    cab_stream_resume(c, x);
}

void cab_stream_resume(cab_conn *c, cab_exchange *x)
{
    int rc = nghttp2_session_resume_data(c->session, x->stream);
    c->broken = c->broken || rc == NGHTTP2_ERR_NOMEM;
    cab_stream_next(c, x);
}

static void take_answer(cab_conn *c, cab_exchange *x)
{
    cab_exchange *p = x->part;
    if (p->server->part)
        p->server->part(p);
    cab_bytes_put(&x->out, p->out.p, p->out.n);
    x->out.failed = x->out.failed || p->out.failed;
    p->sent = p->out.n;
    x->part = NULL;
    cab_loop_recycle(c->loop, p);
    if (x->out.failed)                 /* half an answer would look like a whole one */
        cab_stream_cut(c, x, NGHTTP2_INTERNAL_ERROR);
}

void cab_stream_answer(cab_conn *c, cab_exchange *x)
{
    take_answer(c, x);
    cab_stream_resume(c, x);
}

static cab_slice moved(cab_slice s, const cab_bytes *from, const cab_bytes *to)
{
    bool inside = s.n && to->p && s.p >= from->p && s.p < from->p + from->n;
    return inside ? (cab_slice){ to->p + (s.p - from->p), s.n } : (cab_slice){ "", 0 };
}

/* The part may outlive its stream: its head is its own. */
static bool copy_head(cab_exchange *p, const cab_exchange *x)
{
    cab_bytes_put(&p->head, x->head.p, x->head.n);
    if (p->head.failed)
        return false;
    p->method = x->method;
    p->path = moved(x->path, &x->head, &p->head);
    p->fields = p->field_space;
    p->n_fields = x->n_fields;
    for (int i = 0; i < p->n_fields; i++)
        p->field_space[i] = (cab_field){ moved(x->fields[i].name, &x->head, &p->head),
                                         moved(x->fields[i].value, &x->head, &p->head) };
    return true;
}

/* n bytes of the stream become the part's; what they hold of the budget goes with them. */
static bool move_message(cab_exchange *p, cab_exchange *x, size_t n)
{
    size_t held = n < x->reserved ? n : x->reserved;
    if (!x->taken && n == x->body_bytes.n) {
        cab_bytes none = p->body_bytes;
        p->body_bytes = x->body_bytes;
        x->body_bytes = none;
    } else {
        cab_bytes_put(&p->body_bytes, waiting(x).p, n);
        x->taken += n;
    }
    p->reserved = held;
    x->reserved -= held;
    p->body = (cab_slice){ p->body_bytes.p, p->body_bytes.n };
    return !p->body_bytes.failed;
}

/* The next message as an exchange of its own; NULL: out of memory. */
static cab_exchange *make_part(cab_conn *c, cab_exchange *x)
{
    cab_exchange *p = cab_loop_exchange(c->loop);
    if (!p)
        return NULL;
    p->conn = c;
    p->parent = x;
    p->http2 = p->grpc = p->is_part = true;
    p->stream = x->stream;
    p->begun_ns = x->begun_ns;
    p->arrived_ns = c->loop->now_ns;
    if (copy_head(p, x) && move_message(p, x, cab_stream_length(x)))
        return p;
    cab_loop_recycle(c->loop, p);
    return NULL;
}

static void take_message(cab_conn *c, cab_exchange *x)
{
    if (!(x->part = make_part(c, x))) {
        cab_stream_end(c, x, 503, "out of memory");
        return;
    }
    if (cab_exchange_handle(x->part))
        take_answer(c, x);
}

void cab_stream_step(cab_conn *c, cab_exchange *x)
{
    if (!can_step(x))
        return;
    if (is_too_long(x))
        cab_stream_end(c, x, 413, "the message is longer than the limit");
    else if (has_message(x))
        take_message(c, x);
    else if (waiting(x).n)
        cab_stream_end(c, x, 500, "the stream ends within a message");
    else
        x->over = true;
    cab_stream_resume(c, x);
}
