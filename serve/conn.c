/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c - sockets, TLS, deadlines, and which carrier a client speaks.
 *
 * A carrier's functions say false for "this connection is at its end"; only
 * this file closes connections, so that a callback never returns into freed
 * memory.  Without TLS, answers go to the socket by sendmsg at once and libevent
 * sees only what the socket did not take.
 */
#include "serve/serve_int.h"
#include "base/log.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Most input that waits in a connection whose request is being answered. */
enum { INPUT_MAX = 256 << 10 };
/* Most that is written at once: a socket takes megabytes, and the other connections wait that long. */
enum { OUTPUT_MAX = 256 << 10 };
static const int64_t LINGER_NS = 1000000000;
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const cab_limits cab_limits_default = {
    .head_bytes = 16 << 10, .body_bytes = (size_t)64 << 20, .answer_bytes = (size_t)1 << 30,
    .all_bodies = (size_t)1 << 30, .conns = 10000, .streams = 256, .idle_ms = 75000, .head_ms = 10000,
    .body_ms = 30000, .write_ms = 30000, .slowest = 64 << 10,
};

struct evbuffer *cab_conn_input(cab_conn *c)
{
    return bufferevent_get_input(c->bev);
}

size_t cab_conn_unsent(const cab_conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

/* ---- deadlines ---- */

static const int64_t MS = 1000000;

void cab_conn_wait(cab_conn *c, cab_waiting what)
{
    const cab_limits *m = &c->loop->server->limits;
    const int ms[] = { [CAB_WAIT_FIRST] = m->idle_ms, [CAB_WAIT_HEAD] = m->head_ms,
                       [CAB_WAIT_BODY] = m->body_ms, [CAB_WAIT_ANSWER] = -1,
                       [CAB_WAIT_WRITE] = m->write_ms };
    c->waiting = what;
    c->since_ns = c->loop->now_ns;
    c->moved = what == CAB_WAIT_WRITE ? cab_conn_unsent(c) : 0;
    c->deadline_ns = ms[what] < 0 ? INT64_MAX : c->since_ns + ms[what] * MS;
}

bool cab_conn_earned(const cab_conn *c, int ms, size_t moved, int64_t *since, int64_t *deadline)
{
    size_t slowest = c->loop->server->limits.slowest;
    int64_t now = c->loop->now_ns, seconds = (int64_t)(moved / (slowest ? slowest : 1));
    int64_t until = *since + ms * MS + seconds * 1000 * MS, most = now + ms * MS;
    if (until <= now)
        return false;
    *since = (until < most ? until : most) - ms * MS;
    *deadline = *since + ms * MS;
    return true;
}

/* ---- the end ---- */

static void link_conn(cab_conn *c)
{
    cab_loop *l = c->loop;
    c->next = l->conns;
    if (l->conns)
        l->conns->prev = c;
    l->conns = c;
    l->n_conns++;
}

static void unlink_conn(cab_conn *c)
{
    cab_loop *l = c->loop;
    *(c->prev ? &c->prev->next : &l->conns) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    l->n_conns--;
    atomic_fetch_sub(&l->server->conns, 1);
}

void cab_conn_close(cab_conn *c)
{
    if (c->carrier)
        c->carrier->closed(c);
    unlink_conn(c);
    bufferevent_free(c->bev);
    free(c);
}

/* TLS: that nothing was cut off. */
static bool say_goodbye(cab_conn *c)
{
    int k = SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
    ERR_clear_error();
    return k >= 0;
}

/* Everything is sent; a client that still sends would get a reset for it, and lose the answer. */
static void sent_all(cab_conn *c)
{
    bool said = c->secure ? say_goodbye(c) : !c->lingers || !shutdown(c->fd, SHUT_WR);
    if (!said || !c->lingers) {
        cab_conn_close(c);
        return;
    }
    c->waiting = CAB_WAIT_FIRST;       /* nothing is to be sent: no more time than this */
    c->deadline_ns = c->loop->now_ns + LINGER_NS;
}

void cab_conn_finish(cab_conn *c)
{
    c->closing = true;
    if (!c->lingers)
        bufferevent_disable(c->bev, EV_READ);
    else if (!bufferevent_enable(c->bev, EV_READ))
        evbuffer_drain(cab_conn_input(c), evbuffer_get_length(cab_conn_input(c)));
    if (cab_conn_unsent(c))
        cab_conn_wait(c, CAB_WAIT_WRITE);
    else
        sent_all(c);
}

/* No more input than a request that is being answered may hold back.  (Not by bufferevent's watermark: libevent
 * 2.1 does not survive being out of memory for that.) */
static void pace(cab_conn *c)
{
    bool full = evbuffer_get_length(cab_conn_input(c)) >= INPUT_MAX, reads = bufferevent_get_enabled(c->bev) & EV_READ;
    if (full && reads)
        bufferevent_disable(c->bev, EV_READ);
    else if (!full && !reads && bufferevent_enable(c->bev, EV_READ))
        cab_conn_close(c);
}

/* What a carrier said about the connection. */
static void settle(cab_conn *c, bool goes_on)
{
    if (goes_on)
        pace(c);
    else
        cab_conn_finish(c);
}

/* More time for the bytes that moved; false: they were too few. */
static bool earned(cab_conn *c)
{
    const cab_limits *m = &c->loop->server->limits;
    bool sends = c->waiting == CAB_WAIT_WRITE;
    size_t left = sends ? cab_conn_unsent(c) : 0, moved = c->moved > left ? c->moved - left : 0;
    if (!sends && c->waiting != CAB_WAIT_BODY)
        return false;
    c->moved = left;
    return cab_conn_earned(c, sends ? m->write_ms : m->body_ms, moved, &c->since_ns, &c->deadline_ns);
}

void cab_conn_late(cab_conn *c)
{
    if (earned(c))
        return;
    if (c->closing || c->waiting == CAB_WAIT_WRITE || !c->carrier)
        cab_conn_close(c);
    else
        settle(c, c->carrier->late(c));
}

bool cab_conn_untouched(const cab_conn *c)
{
    char one;
    return !c->closing && !c->x && !c->busy && !cab_conn_unsent(c) &&
           !evbuffer_get_length(bufferevent_get_input(c->bev)) && recv(c->fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

void cab_conn_drain(cab_conn *c, bool now)
{
    c->draining = true;
    if (!c->closing)
        settle(c, c->carrier ? c->carrier->drain(c, now) : !now || !cab_conn_untouched(c));
}

/* ---- writing ---- */

static void free_body(const void *p, size_t n, void *arg)
{
    (void)p;
    (void)n;
    free(arg);
}

/* The rest of a body from `from` on; a long one is not copied. */
static bool queue_body(struct evbuffer *out, cab_bytes *body, size_t from)
{
    enum { COPIED = 16 << 10 };
    size_t n = body->n - from;
    if (!n)
        return true;
    if (n <= COPIED)
        return !evbuffer_add(out, body->p + from, n);
    if (evbuffer_add_reference(out, body->p + from, n, free_body, body->p))
        return false;
    *body = (cab_bytes){ .limit = body->limit };
    return true;
}

bool cab_conn_write(cab_conn *c, const void *head, size_t n, cab_bytes *body)
{
    cab_bytes none = { 0 };
    struct evbuffer *out = bufferevent_get_output(c->bev);
    size_t sent = 0;
    body = body ? body : &none;
    c->moved += n + body->n;           /* counts while WRITE; begins with it else */
    if (!c->secure && !evbuffer_get_length(out)) {
        struct iovec v[2] = { { (void *)(uintptr_t)head, n }, { body->p, body->n < OUTPUT_MAX ? body->n : OUTPUT_MAX } };
        struct msghdr m = { .msg_iov = v, .msg_iovlen = body->n ? 2 : 1 };
        ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return false;
        sent = k > 0 ? (size_t)k : 0;
    }
    if ((sent < n && evbuffer_add(out, (const char *)head + sent, n - sent)) || !queue_body(out, body, sent > n ? sent - n : 0))
        return false;
    /* libevent does this by itself, unless it was out of memory for that when the connection was made. */
    return !evbuffer_get_length(out) || !bufferevent_enable(c->bev, EV_WRITE);
}

/* ---- events ---- */

/* Which carrier the first bytes ask for; NULL: more of them are needed. */
static const cab_carrier *sniff(cab_conn *c)
{
    char first[sizeof preface - 1];
    ssize_t n = evbuffer_copyout(cab_conn_input(c), first, sizeof first);
    if (n <= 0)
        return NULL;
    if (memcmp(first, preface, (size_t)n))
        return &cab_carrier_http1;
    return n == (ssize_t)sizeof first ? &cab_carrier_http2 : NULL;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    cab_conn *c = arg;
    (void)bev;
    if (c->closing) {
        evbuffer_drain(cab_conn_input(c), evbuffer_get_length(cab_conn_input(c)));
        return;
    }
    c->loop->now_ns = cab_now_ns();
    if (!c->carrier && !(c->carrier = sniff(c))) {
        if (c->waiting == CAB_WAIT_FIRST)
            cab_conn_wait(c, CAB_WAIT_HEAD);
        return;
    }
    settle(c, c->carrier->readable(c));
}

void cab_conn_again(cab_conn *c)
{
    c->again = false;
    on_read(c->bev, c);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    cab_conn *c = arg;
    (void)bev;
    c->loop->now_ns = cab_now_ns();
    if (c->closing)
        sent_all(c);
    else if (c->carrier)
        settle(c, c->carrier->drained(c));
}

/* A client that has sent its last byte may still take the answer that was begun. */
static bool only_reads(const cab_conn *c, short what)
{
    return (what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING) && !c->secure && !c->busy && !c->streams &&
           cab_conn_unsent(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    cab_conn *c = arg;
    c->loop->now_ns = cab_now_ns();
    if (!(what & BEV_EVENT_CONNECTED)) {
        if (only_reads(c, what))
            cab_conn_finish(c);
        else
            cab_conn_close(c);
        return;
    }
    const unsigned char *name = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(bufferevent_openssl_get_ssl(bev), &name, &n);
    if (n == 2 && !memcmp(name, "h2", 2))
        c->carrier = &cab_carrier_http2;
    cab_conn_wait(c, CAB_WAIT_FIRST);
}

/* At the limit, the connection that has waited longest without a request makes room; else the longest without
 * a whole head. */
static bool make_room(cab_loop *l)
{
    cab_conn *oldest = NULL;
    for (cab_conn *c = l->conns; c; c = c->next)
        if (c->waiting <= CAB_WAIT_HEAD && (!oldest || c->waiting < oldest->waiting ||
                                            (c->waiting == oldest->waiting && c->deadline_ns < oldest->deadline_ns)))
            oldest = c;
    if (oldest)
        cab_conn_close(oldest);
    return oldest != NULL;
}

static struct bufferevent *open_stream(cab_loop *l, int fd, bool secure)
{
    const int options = BEV_OPT_CLOSE_ON_FREE;
    if (!secure)
        return bufferevent_socket_new(l->base, fd, options);
    SSL *ssl = l->server->tls ? cab_tls_session(l->server->tls) : NULL;
    struct bufferevent *bev = ssl ? bufferevent_openssl_socket_new(l->base, fd, ssl,
                                                BUFFEREVENT_SSL_ACCEPTING, options) : NULL;
    if (bev)                           /* else ssl is freed */
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

void cab_conn_accept(cab_loop *l, int fd, bool secure)
{
    cab_server *s = l->server;
    cab_conn *c = NULL;
    struct bufferevent *bev = NULL;
    if (atomic_load(&s->conns) < s->limits.conns || make_room(l))
        c = calloc(1, sizeof *c);
    if (c)
        bev = open_stream(l, fd, secure);
    if (!bev) {
        free(c);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    *c = (cab_conn){ .loop = l, .bev = bev, .fd = fd, .secure = secure,
                     .draining = atomic_load(&s->draining) };
    atomic_fetch_add(&s->conns, 1);
    link_conn(c);
    cab_conn_wait(c, secure ? CAB_WAIT_HEAD : CAB_WAIT_FIRST);
    if (c->draining && !secure)        /* not for long */
        c->deadline_ns = l->now_ns + LINGER_NS;
    bufferevent_setcb(bev, on_read, on_written, on_event, c);
    bufferevent_set_max_single_read(bev, INPUT_MAX);
    bufferevent_set_max_single_write(bev, OUTPUT_MAX);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE))
        cab_conn_close(c);
}

/* ---- exchanges ---- */

bool cab_body_reserve(cab_exchange *x, size_t n)
{
    cab_server *s = x->server;
    size_t before = atomic_fetch_add(&s->bodies, n);
    x->reserved += n;
    return before + n <= s->limits.all_bodies && cab_bytes_room(&x->body_bytes, n);
}

void cab_conn_answered(cab_exchange *x)
{
    cab_conn *c = x->conn;
    x->loop->given--;
    if (!c)
        cab_loop_recycle(x->loop, x);
    else if (!x->away || cab_exchange_resume(x))
        settle(c, c->carrier->answer(c, x));
}
