/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http1.c - the carrier HTTP/1.1: one exchange after the other.
 *
 * http1.c says where messages end; here are their memory, their order and their
 * time limits.  While a request is being answered nothing more is read from the
 * input than its limit (conn.c), so a client cannot pile up requests.
 */
#include "serve/http/server.h"
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
    x->sent = only_head ? 0 : x->out.n;
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
    framing *f = c->http1;
    c->lingers = true;
    f->head.minor = 1;                 /* its head may not have said yet, and all understand "close" */
    if (status == 413)
        cab_body_too_long(x);
    else
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
    cab_conn_took(c, h->bytes);
    return true;
}

static bool begin_body(cab_conn *c)
{
    framing *f = c->http1;
    const cab_limits *m = &c->loop->server->limits;
    f->in_body = true;
    cab_http1_body_start(&f->body, &f->head, m->body_bytes);
    cab_conn_wait(c, CAB_WAIT_BODY);
    if (!f->head.chunked)
        cab_body_promise(c->x, (size_t)f->head.length);
    if (c->x->body_bytes.failed)
        return refuse(c, 503, "no memory for a body of that length");
    if (f->head.expect_continue && !cab_conn_waiting(c))
        return cab_conn_write(c, CAB_HTTP1_CONTINUE, sizeof CAB_HTTP1_CONTINUE - 1, NULL);
    return true;
}

static bool read_head(cab_conn *c, bool *more)
{
    framing *f = c->http1;
    const cab_limits *m = &c->loop->server->limits;
    const cab_http1_limits lim = { m->head_bytes, m->head_bytes / 2, CAB_FIELDS_MAX, m->body_bytes };
    cab_slice in = cab_conn_input(c, m->head_bytes + 1);
    size_t n = in.n < m->head_bytes + 1 ? in.n : m->head_bytes + 1;
    if (!n)
        return false;
    switch (cab_http1_head_read(&f->head, &lim, (char *)(uintptr_t)in.p, n)) {
    case CAB_HTTP1_DONE:
        return take_head(c, in.p) ? begin_body(c) : refuse(c, 503, "out of memory");
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

/* Takes in a piece of the body, where it is not there already (sink); false: it must not be. */
static bool take_data(cab_conn *c, cab_slice data)
{
    cab_exchange *x = c->x;
    const framing *f = c->http1;
    if (!cab_body_reserve(x, data.n))
        return false;
    if (data.p == x->body_bytes.p + x->body_bytes.n)
        cab_bytes_wrote(&x->body_bytes, data.n);
    else
        cab_bytes_slice(&x->body_bytes, data);
    if (!f->head.chunked)
        cab_body_promise(x, (size_t)f->head.length);
    c->moved += data.n;
    return true;
}

/* The rest of a body whose length is known. */
static char *sink(cab_conn *c, size_t *n)
{
    enum { WORTH = 4096 };
    cab_exchange *x = c->x;
    const framing *f = c->http1;
    if (!x || c->busy || !f->in_body || f->head.chunked)
        return NULL;
    size_t room = x->body_bytes.cap - x->body_bytes.n, left = (size_t)f->head.length - x->body_bytes.n;
    room = room < left ? room : left;
    *n = room < *n ? room : *n;
    return *n >= WORTH ? x->body_bytes.p + x->body_bytes.n : NULL;
}

static bool read_body(cab_conn *c, bool *more)
{
    framing *f = c->http1;
    cab_exchange *x = c->x;
    for (;;) {
        cab_slice in = cab_conn_input(c, 1), data = { NULL, 0 };
        size_t used = 0;
        cab_http1_got got = cab_http1_body_read(&f->body, in.n ? in.p : "", in.n, &used, &data);
        bool fits = got != CAB_HTTP1_DATA || take_data(c, data);
        cab_conn_took(c, used);        /* it may lie in the body, which goes with a refusal */
        if (!fits)
            return refuse(c, 503, "too many bytes of requests are waiting");
        if (got == CAB_HTTP1_REFUSED)
            return refuse(c, f->body.status, f->body.why);
        if (got == CAB_HTTP1_DONE)
            return x->body_bytes.failed ? refuse(c, 503, "out of memory") : dispatch(c);
        if (got == CAB_HTTP1_MORE && !cab_conn_waiting(c)) {
            *more = true;
            return true;
        }
    }
}

static bool readable(cab_conn *c)
{
    if (!c->http1 && !(c->http1 = malloc(sizeof(framing))))
        return false;
    bool more = false, goes_on = true, first = true;
    while (goes_on && !more && !c->busy && !cab_conn_unsent(c)) {
        if (!c->x) {
            if (!cab_conn_waiting(c))
                break;
            if (!first && cab_loop_turn_over(c->loop)) {
                cab_loop_again(c->loop, c);
                break;
            }
            first = false;
            cab_exchange *x = cab_loop_exchange(c->loop);
            if (!x)
                return false;
            begin_request(c, x);
        }
        const framing *f = c->http1;
        goes_on = f->in_body ? read_body(c, &more) : read_head(c, &more);
    }
    bool waits = c->busy || c->again || cab_conn_unsent(c);
    return goes_on && (waits || !c->ended);        /* what is not whole now will never be */
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

const cab_carrier cab_carrier_http1 = { "HTTP/1.1", readable, sink, drained, late, answer, drain, closed };
