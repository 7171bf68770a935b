/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_http2.c - the carrier HTTP/2: nghttp2 frames, we keep exchanges.
 *
 * A stream is an exchange.  Deadlines are per stream: a client that is late
 * with a request, or does not take its answer, loses that stream only.
 * Connections that reset streams faster than they let them be answered are
 * closed (CVE-2023-44487).  What goes out is conn_http2_out.c's.
 *
 * Reading frames only gathers requests and messages; what is whole gets in
 * line (`ready`) and is handled one by one while the connection has its turn.
 */
#include "serve/http/conn_http2_int.h"
#include <stdlib.h>
#include <strings.h>

enum {
    STREAM_WINDOW = 1 << 20, CONN_WINDOW = 16 << 20,
    PIECE = 16 << 10,          /* bytes between two looks at the clock */
    RESETS_MAX = 200,          /* streams reset by the client above those answered */
    NOTICE_MS = 500            /* between "about to go" and "gone" */
};

/* ---- deadlines ---- */

static void set_deadline(cab_conn *c)
{
    int64_t least = c->farewell == 1 ? c->notice_ns : INT64_MAX;
    for (cab_exchange *x = c->streams; x; x = x->next_stream)
        if (x->deadline_ns < least)
            least = x->deadline_ns;
    if (c->farewell != 1 && cab_conn_unsent(c)) {
        if (c->waiting != CAB_WAIT_WRITE)       /* a client that asks without reading gains no time */
            cab_conn_wait(c, CAB_WAIT_WRITE);
    } else if (c->farewell != 1 && !c->streams) {
        cab_conn_wait(c, CAB_WAIT_FIRST);
    } else {
        c->waiting = CAB_WAIT_ANSWER;
        c->deadline_ns = least;
    }
}

/* ---- the line of those that are ready ---- */

void cab_http2_ready(cab_conn *c, cab_exchange *x)
{
    if (x->ready)
        return;
    x->ready = true;
    x->next = NULL;
    if (!c->ready)
        c->ready_tail = &c->ready;
    *c->ready_tail = x;
    c->ready_tail = &x->next;
}

static void leave_line(cab_conn *c, cab_exchange *x)
{
    if (!x->ready)
        return;
    cab_exchange **at = &c->ready;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    if (!*at)
        c->ready_tail = at;
    x->next = NULL;
    x->ready = false;
}

static void handle(cab_conn *c, cab_exchange *x);

/* Handles what is ready until the others have their turn; true: there may be something to send. */
static bool work(cab_conn *c)
{
    bool any = false;
    while (c->ready && !c->again) {
        cab_exchange *x = c->ready;
        leave_line(c, x);
        handle(c, x);
        any = true;
        if (c->ready && cab_loop_turn_over(c->loop))
            cab_loop_again(c->loop, c);
    }
    return any;
}

/* ---- sending ---- */

/* Everything that there is to say; false: the connection is at its end. */
static bool flush(cab_conn *c)
{
    do
        if (!cab_http2_send(c))
            return false;
    while (cab_conn_unsent(c) < CAB_HTTP2_UNSENT_MAX && work(c));
    set_deadline(c);
    if (c->broken)
        return false;
    return nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session) ||
           cab_conn_unsent(c);
}

/* ---- receiving ---- */

/* The stream is over: its exchange leaves the connection. */
static void let_go(cab_conn *c, cab_exchange *x)
{
    for (cab_exchange **at = &c->streams; *at; at = &(*at)->next_stream)
        if (*at == x) {
            *at = x->next_stream;
            break;
        }
    x->next_stream = NULL;
    leave_line(c, x);
    if (x->part) {
        x->part->parent = NULL;
        cab_exchange_abandon(x->part);
        x->part = NULL;
    }
    if (!x->given || x->answering)
        cab_loop_recycle(c->loop, x);
    else
        cab_exchange_abandon(x);
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    cab_conn *c = user;
    if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    cab_exchange *x = cab_loop_exchange(c->loop);
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    x->conn = c;
    x->http2 = true;
    x->stream = f->hd.stream_id;
    cab_stream_time(x, x->server->limits.head_ms);
    x->next_stream = c->streams;
    c->streams = x;
    nghttp2_session_set_stream_user_data(session, x->stream, x);
    return 0;
}

/* Text of a field goes into head; slices count from 0 until the head is whole. */
static cab_slice keep(cab_exchange *x, const uint8_t *p, size_t n)
{
    cab_slice s = { (const char *)x->head.n, n };
    cab_bytes_put(&x->head, p, n);
    return s;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    cab_exchange *x = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
    (void)flags;
    (void)user;
    if (!x || f->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (x->head.n + name_n + value_n > x->server->limits.head_bytes || x->n_fields == CAB_FIELDS_MAX) {
        x->status = 431;
        return 0;
    }
    cab_slice n = { (const char *)name, name_n };
    if (cab_slice_is(n, ":method")) {
        x->method = cab_method_of((cab_slice){ (const char *)value, value_n });
    } else if (cab_slice_is(n, ":path")) {
        x->path = keep(x, value, value_n);
    } else if (name_n && name[0] != ':') {
        cab_field *to = &x->field_space[x->n_fields++];
        to->name = keep(x, name, name_n);
        to->value = keep(x, value, value_n);
    }
    return 0;
}

/* The head is whole and moves no more: slices become addresses. */
static void settle_head(cab_exchange *x)
{
    const char *base = x->head.p ? x->head.p : "";
    x->fields = x->field_space;
    if (x->head.failed) {
        x->path = (cab_slice){ "", 0 };
        x->n_fields = 0;
        return;
    }
    x->path.p = base + (size_t)x->path.p;
    const char *mark = memchr(x->path.p, '?', x->path.n);
    if (mark) {
        x->query = (cab_slice){ mark + 1, x->path.n - (size_t)(mark + 1 - x->path.p) };
        x->path.n = (size_t)(mark - x->path.p);
    }
    for (int i = 0; i < x->n_fields; i++) {
        x->field_space[i].name.p = base + (size_t)x->field_space[i].name.p;
        x->field_space[i].value.p = base + (size_t)x->field_space[i].value.p;
    }
    cab_slice type = cab_exchange_field(x, "content-type");
    x->grpc = type.n >= 16 && !memcmp(type.p, "application/grpc", 16) &&
              (type.n == 16 || type.p[16] == '+' || type.p[16] == ';');
    static const char streaming[] = "/ModelStreamInfer";
    size_t n = sizeof streaming - 1;
    x->streamed = x->grpc && x->path.n > n && !memcmp(x->path.p + x->path.n - n, streaming, n);
}

/* A request that cannot be taken is answered before its end. */
static void refuse(cab_conn *c, cab_exchange *x, int status, const char *why)
{
    x->streamed = false;
    x->given = true;
    if (status == 413)
        cab_body_too_long(x);
    else
        cab_exchange_say(x, status, why);
    cab_http2_submit(c, x);
}

/* ---- whole requests ---- */

/* A client that waits to hear that its body is wanted (RFC 9110, 10.1.1). */
static void meet(cab_conn *c, cab_exchange *x, cab_slice expectation)
{
    static const char known[] = "100-continue";
    if (expectation.n != sizeof known - 1 || strncasecmp(expectation.p, known, sizeof known - 1))
        refuse(c, x, 417, "an expectation other than 100-continue");
    else if (!x->whole)
        cab_http2_continue(c, x);
}

/* The answers of a stream of messages begin with it; one that may not be is answered as a whole. */
static void open_stream(cab_conn *c, cab_exchange *x)
{
    x->given = true;
    x->streamed = cab_exchange_opens(x);
    if (x->streamed)
        x->type = "application/grpc";
    cab_http2_submit(c, x);
    if (x->streamed)
        cab_stream_next(c, x);
}

static void begin(cab_conn *c, cab_exchange *x)
{
    settle_head(x);
    x->begun_ns = c->loop->now_ns;
    cab_stream_time(x, x->server->limits.body_ms);
    cab_slice expectation = cab_exchange_field(x, "expect");
    if (x->status == 431)
        refuse(c, x, 431, "the head is longer than the limit");
    else if (x->head.failed)
        refuse(c, x, 503, "out of memory");
    else if (expectation.p)
        meet(c, x, expectation);
    if (!x->given && x->streamed)
        open_stream(c, x);
}

static void end(cab_conn *c, cab_exchange *x)
{
    if (x->streamed) {
        cab_stream_next(c, x);
    } else if (!x->given) {            /* else it was refused before its end */
        x->deadline_ns = INT64_MAX;
        x->arrived_ns = c->loop->now_ns;
        cab_http2_ready(c, x);
    }
}

static void handle(cab_conn *c, cab_exchange *x)
{
    if (x->streamed) {
        cab_stream_step(c, x);
        return;
    }
    x->body = (cab_slice){ x->body_bytes.p, x->body_bytes.n };
    if (x->body_bytes.failed)
        refuse(c, x, 503, "out of memory");
    else if (cab_exchange_handle(x))
        cab_http2_submit(c, x);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    cab_conn *c = user;
    cab_exchange *x = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
    if (f->hd.type == NGHTTP2_RST_STREAM && f->rst_stream.error_code == NGHTTP2_NO_ERROR)
        c->resets += 2;                /* on_close takes it for a good end */
    if (!x || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
        return 0;
    x->whole = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin(c, x);
    if (x->whole)
        end(c, x);
    return 0;
}

/* How long the message of gRPC that comes says it is; 0: it does not say yet, or too much. */
static size_t promised(const cab_exchange *x)
{
    size_t n = cab_stream_length(x);
    return n <= x->server->limits.body_bytes ? n : 0;
}

static void take_data(cab_conn *c, cab_exchange *x, const uint8_t *p, size_t n)
{
    x->moved += n;
    if (x->body_bytes.n + n > x->server->limits.body_bytes)
        refuse(c, x, 413, "the body is longer than the limit");
    else if (!cab_body_reserve(x, n))
        refuse(c, x, 503, "too many bytes of requests are waiting");
    else
        cab_bytes_put(&x->body_bytes, p, n);
    if (x->grpc)
        cab_body_promise(x, promised(x));
}

/* Windows open as bytes are taken: at once, but for a stream of messages whose answers wait (conn_stream.c); that of the
 * connection too, which is all streams'. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    cab_conn *c = user;
    cab_exchange *x = nghttp2_session_get_stream_user_data(session, id);
    bool message = x && x->streamed && !x->over;
    int rc = message ? nghttp2_session_consume_connection(session, n) : nghttp2_session_consume(session, id, n);
    (void)flags;
    c->broken = c->broken || rc == NGHTTP2_ERR_NOMEM;
    if (!message) {
        if (x && !x->given)
            take_data(c, x, p, n);
    } else if (cab_stream_came(x, p, n)) {
        cab_stream_next(c, x);
    } else {
        cab_stream_end(c, x, 503, "too many bytes of requests are waiting");
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    cab_exchange *x = nghttp2_session_get_stream_user_data(session, id);
    cab_conn *c = user;
    if (!x)
        return 0;
    if (code != NGHTTP2_NO_ERROR)      /* by the client, or by what it made us do */
        c->resets++;
    else if (c->resets > 0)
        c->resets--;
    if (c->resets > RESETS_MAX)        /* no more streams are begun from here on */
        nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    let_go(c, x);
    return 0;
}

/* ---- the session ---- */

static nghttp2_session *open_session(cab_conn *c)
{
    nghttp2_session *session = NULL;
    nghttp2_session_callbacks *cb;
    nghttp2_option *how;
    if (nghttp2_session_callbacks_new(&cb))
        return NULL;
    if (nghttp2_option_new(&how)) {
        nghttp2_session_callbacks_del(cb);
        return NULL;
    }
    nghttp2_option_set_no_auto_window_update(how, 1);
    nghttp2_session_callbacks_set_send_data_callback(cb, cab_http2_take_answer);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    int rc = nghttp2_session_server_new2(&session, cb, c, how);
    nghttp2_option_del(how);
    nghttp2_session_callbacks_del(cb);
    const cab_limits *m = &c->loop->server->limits;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)m->streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)m->head_bytes },
    };
    if (!rc && (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 3) ||
                nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW))) {
        nghttp2_session_del(session);
        session = NULL;
    }
    return session;
}

static bool readable(cab_conn *c)
{
    if (!c->session && !(c->session = open_session(c)))
        return false;
    for (cab_slice in; work(c), !c->again && (in = cab_conn_input(c, 1)).n;) {
        ssize_t k = nghttp2_session_mem_recv(c->session, (const uint8_t *)in.p, in.n < PIECE ? in.n : PIECE);
        if (k < 0)
            return false;
        cab_conn_took(c, (size_t)k);
        if (c->resets > RESETS_MAX) {
            cab_http2_send(c);         /* why (on_close) */
            return false;
        }
        if (cab_conn_waiting(c) && cab_loop_turn_over(c->loop))
            cab_loop_again(c->loop, c);
    }
    return flush(c);
}

static bool drained(cab_conn *c)
{
    return !c->session || flush(c);
}

static bool answer(cab_conn *c, cab_exchange *x)
{
    if (x->is_part)
        cab_stream_answer(c, x->parent);
    else
        cab_http2_submit(c, x);
    return flush(c);
}

/* First a notice, so that requests on their way are not lost; then the last word. */
static bool drain(cab_conn *c, bool now)
{
    if (!c->session)
        return !now || !cab_conn_untouched(c);
    if (c->farewell == 0) {
        c->broken = c->broken || nghttp2_submit_shutdown_notice(c->session);
        c->notice_ns = c->loop->now_ns + (int64_t)NOTICE_MS * 1000000;
        c->farewell = 1;
    }
    return flush(c);
}

static bool earned(const cab_conn *c, cab_exchange *x)
{
    const cab_limits *m = &x->server->limits;
    size_t moved = x->moved;
    bool sends = x->streamed ? x->pace == CAB_PACE_WRITE : x->answering;
    if (!x->fields || (x->streamed && x->pace == CAB_PACE_REST))
        return false;
    x->moved = 0;
    return cab_conn_earned(c, sends ? m->write_ms : m->body_ms, moved, &x->since_ns, &x->deadline_ns);
}

static bool late(cab_conn *c)
{
    if (c->farewell == 1 && c->notice_ns <= c->loop->now_ns) {
        c->farewell = 2;
        int rc = nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->session),
                                       NGHTTP2_NO_ERROR, NULL, 0);
        c->broken = c->broken || rc;
        return flush(c);
    }
    bool any = false;
    for (cab_exchange *x = c->streams; x; x = x->next_stream)
        if (x->deadline_ns <= c->loop->now_ns) {
            if (!earned(c, x))
                cab_stream_cut(c, x, NGHTTP2_CANCEL);
            any = true;
        }
    if (any)
        return flush(c);
    if (c->session) {                  /* idle */
        nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
        cab_http2_send(c);
    }
    return false;
}

static void closed(cab_conn *c)
{
    nghttp2_session_del(c->session);   /* no callbacks from here on */
    c->session = NULL;
    while (c->streams)
        let_go(c, c->streams);
}

const cab_carrier cab_carrier_http2 = { "HTTP/2", readable, NULL, drained, late, answer, drain, closed };
