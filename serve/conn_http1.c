/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http1.c - the carrier HTTP/1.1: one exchange after the other.
 *
 * http1.c says where messages end; here are their memory, their order and their
 * time limits.  While a request is being answered nothing more is read from the
 * input than its limit (conn.c), so a client cannot pile up requests.
 */
#include "serve/serve_int.h"
#include <event2/buffer.h>
#include <stdlib.h>

typedef struct framing {
    cab_http1_head head;
    cab_http1_body body;
    bool in_body, keep_alive;
} framing;

/* ---- answers ---- */

/* Sends the answer of c->x and lets the exchange go; false: that was the last one. */
static bool send_answer(cab_conn *c, bool keep_alive)
{
    cab_exchange *x = c->x;
    framing *f = c->http1;
    cab_bytes *head = &c->loop->frames;
    bool only_head = x->method == CAB_METHOD_HEAD;
    const cab_http1_answer a = {
        .status = x->status, .minor = f->head.minor, .keep_alive = keep_alive,
        .framing = x->status == 204 || x->status == 304 ? CAB_HTTP1_NO_BODY : CAB_HTTP1_LENGTH,
        .length = x->out.n, .date = cab_slice_of(c->loop->date),
        .type = x->type ? cab_slice_of(x->type) : (cab_slice){ NULL, 0 },
        .extra = x->answer_fields, .n_extra = (size_t)x->n_answer_fields,
    };
    cab_bytes_clear(head);
    bool sent = !x->out.failed && cab_http1_answer_write(head, &a) &&
                cab_conn_write(c, head->p, head->n, only_head ? NULL : &x->out);
    c->x = NULL;
    c->busy = false;
    cab_loop_recycle(c->loop, x);
    cab_conn_wait(c, cab_conn_unsent(c) ? CAB_WAIT_WRITE : CAB_WAIT_FIRST);
    return sent && keep_alive;
}

static bool keeps(const cab_conn *c)
{
    const framing *f = c->http1;
    return f->keep_alive && !c->draining;
}

/* A message that cannot be read: nobody knows where the next one would start. */
static bool refuse(cab_conn *c, int status, const char *why)
{
    cab_exchange *x = c->x;
    c->lingers = true;
    cab_exchange_say(x, status, why);
    return send_answer(c, false);
}

/* ---- requests ---- */

static void begin_request(cab_conn *c, cab_exchange *x)
{
    framing *f = c->http1;
    c->x = x;
    x->conn = c;
    f->in_body = false;
    cab_http1_head_start(&f->head);
    cab_conn_wait(c, CAB_WAIT_HEAD);
}

/* A slice of the bytes at `from` that were copied to `to`; a literal stays. */
static cab_slice moved(cab_slice s, const char *from, size_t n, const char *to)
{
    bool inside = s.p && s.p >= from && s.p <= from + n;
    return inside ? (cab_slice){ to + (s.p - from), s.n } : s;
}

/* The head becomes the exchange's own. */
static bool take_head(cab_conn *c, const char *p)
{
    cab_exchange *x = c->x;
    framing *f = c->http1;
    const cab_http1_head *h = &f->head;
    cab_bytes_put(&x->head, p, h->bytes);
    if (x->head.failed)
        return false;
    const char *to = x->head.p;
    x->method = cab_method_of(h->method);
    x->path = moved(h->path, p, h->bytes, to);
    x->query = moved(h->query, p, h->bytes, to);
    for (size_t i = 0; i < h->n_fields; i++)
        x->field_space[i] = (cab_field){ moved(h->fields[i].name, p, h->bytes, to),
                                         moved(h->fields[i].value, p, h->bytes, to) };
    x->fields = x->field_space;
    x->n_fields = (int)h->n_fields;
    f->keep_alive = h->keep_alive;
    evbuffer_drain(cab_conn_input(c), h->bytes);
    return true;
}

/* What a head promises costs nothing: memory for a large body is taken when some of it has come, then at once
 * (to grow it step by step would copy megabytes between two events). */
enum { AT_FIRST = 1 << 20 };

static bool begin_body(cab_conn *c)
{
    framing *f = c->http1;
    const cab_limits *m = &c->loop->server->limits;
    f->in_body = true;
    cab_http1_body_start(&f->body, &f->head, m->body_bytes);
    size_t n = f->head.chunked ? 0 : (size_t)f->head.length;
    cab_conn_wait(c, CAB_WAIT_BODY);
    if (n && !cab_bytes_room(&c->x->body_bytes, n < AT_FIRST ? n : AT_FIRST))
        return refuse(c, 503, "no memory for a body of that length");
    if (f->head.expect_continue && !evbuffer_get_length(cab_conn_input(c)))
        return cab_conn_write(c, CAB_HTTP1_CONTINUE, sizeof CAB_HTTP1_CONTINUE - 1, NULL);
    return true;
}

static bool read_head(cab_conn *c, bool *more)
{
    framing *f = c->http1;
    const cab_limits *m = &c->loop->server->limits;
    const cab_http1_limits lim = { m->head_bytes, m->head_bytes / 2, CAB_FIELDS_MAX, m->body_bytes };
    struct evbuffer *in = cab_conn_input(c);
    size_t n = evbuffer_get_length(in);
    n = n < m->head_bytes + 1 ? n : m->head_bytes + 1;
    char *p = (char *)evbuffer_pullup(in, (ev_ssize_t)n);
    if (!p)
        return false;
    switch (cab_http1_head_read(&f->head, &lim, p, n)) {
    case CAB_HTTP1_DONE:
        return take_head(c, p) ? begin_body(c) : refuse(c, 503, "out of memory");
    case CAB_HTTP1_REFUSED:
        return refuse(c, f->head.status, f->head.why);
    default:
        *more = true;
        return true;
    }
}

static bool dispatch(cab_conn *c)
{
    cab_exchange *x = c->x;
    x->body = (cab_slice){ x->body_bytes.p, x->body_bytes.n };
    x->arrived_ns = c->loop->now_ns;
    c->busy = true;
    cab_conn_wait(c, CAB_WAIT_ANSWER);
    return cab_exchange_handle(x) ? send_answer(c, keeps(c)) : true;
}

static bool read_body(cab_conn *c, bool *more)
{
    framing *f = c->http1;
    cab_exchange *x = c->x;
    struct evbuffer *in = cab_conn_input(c);
    for (;;) {
        size_t n = evbuffer_get_contiguous_space(in), used = 0;
        cab_slice data = { NULL, 0 };
        const char *p = n ? (const char *)evbuffer_pullup(in, (ev_ssize_t)n) : "";
        cab_http1_got got = cab_http1_body_read(&f->body, p, n, &used, &data);
        if (got == CAB_HTTP1_DATA && !cab_body_reserve(x, data.n))
            return refuse(c, 503, "too many bytes of requests are waiting");
        if (got == CAB_HTTP1_DATA && !f->head.chunked && x->body_bytes.n + data.n > AT_FIRST)
            cab_bytes_room(&x->body_bytes, (size_t)f->head.length - x->body_bytes.n);
        if (got == CAB_HTTP1_DATA)
            cab_bytes_slice(&x->body_bytes, data);
        c->moved += data.n;
        evbuffer_drain(in, used);
        if (got == CAB_HTTP1_REFUSED)
            return refuse(c, f->body.status, f->body.why);
        if (got == CAB_HTTP1_DONE)
            return x->body_bytes.failed ? refuse(c, 503, "out of memory") : dispatch(c);
        if (got == CAB_HTTP1_MORE && !evbuffer_get_length(in)) {
            *more = true;
            return true;
        }
    }
}

/* Most requests of one connection, sent without waiting for answers, before the others have their turn. */
enum { TURNS = 16 };

static bool readable(cab_conn *c)
{
    if (!c->http1 && !(c->http1 = malloc(sizeof(framing))))
        return false;
    bool more = false, goes_on = true;
    int turns = 0;
    while (goes_on && !more && !c->busy && !cab_conn_unsent(c)) {
        if (!c->x) {
            if (!evbuffer_get_length(cab_conn_input(c)))
                break;
            if (turns++ == TURNS) {
                c->again = true;
                cab_loop_again(c->loop);
                break;
            }
            cab_exchange *x = cab_loop_exchange(c->loop);
            if (!x)
                return false;
            begin_request(c, x);
        }
        const framing *f = c->http1;
        goes_on = f->in_body ? read_body(c, &more) : read_head(c, &more);
    }
    return goes_on;
}

static bool drained(cab_conn *c)
{
    if (!c->busy && !c->x)
        cab_conn_wait(c, CAB_WAIT_FIRST);
    return readable(c);
}

static bool answer(cab_conn *c, cab_exchange *x)
{
    (void)x;                           /* it is c->x */
    return send_answer(c, keeps(c)) && readable(c);
}

static bool late(cab_conn *c)
{
    return c->x && !c->busy ? refuse(c, 408, "the request did not come in time") : false;
}

/* The next answer says so; an idle client may be sending its request now. */
static bool drain(cab_conn *c, bool now)
{
    return !now || !cab_conn_untouched(c);
}

static void closed(cab_conn *c)
{
    cab_exchange *x = c->x;
    if (x && !c->busy) {
        cab_loop_recycle(c->loop, x);
    } else if (x) {
        cab_exchange_abandon(x);
    }
    free(c->http1);
}

const cab_carrier cab_carrier_http1 = { "HTTP/1.1", readable, drained, late, answer, drain, closed };
