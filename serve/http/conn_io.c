/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_io.c - the bytes of a connection in and out.
 *
 * A plain socket has events of its own: bufferevent asks how much there is (a
 * system call more) and then reads 4 KB at a time (libevent 2.1), into a buffer
 * of its own.  Here a read goes where its bytes are wanted: into the body of the
 * request, or a scratch buffer of the loop that the carrier reads from; only
 * what it leaves there is copied.  Answers go to the socket by sendmsg at once,
 * and what that does not take waits for the socket.
 */
#include "serve/http/conn_io.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Most input that waits in a connection whose request is being answered. */
enum { INPUT_MAX = 256 << 10 };
/* Most that is written at once: a socket takes megabytes, and the other connections wait that long. */
enum { OUTPUT_MAX = 256 << 10 };

/* ---- input ---- */

cab_slice cab_conn_input(cab_conn *c, size_t least)
{
    if (!c->tls)
        return c->in;
    struct evbuffer *in = bufferevent_get_input(c->tls);
    size_t all = evbuffer_get_length(in), n = evbuffer_get_contiguous_space(in);
    least = least < all ? least : all;
    n = n < least ? least : n;
    const char *p = n ? (const char *)evbuffer_pullup(in, (ev_ssize_t)n) : NULL;
    return (cab_slice){ p, p ? n : 0 };
}

size_t cab_conn_waiting(const cab_conn *c)
{
    return c->tls ? evbuffer_get_length(bufferevent_get_input(c->tls)) : c->in.n;
}

void cab_conn_took(cab_conn *c, size_t n)
{
    if (c->tls) {
        evbuffer_drain(bufferevent_get_input(c->tls), n);
        return;
    }
    c->in.p += n;
    c->in.n -= n;
}

void cab_io_forget(cab_conn *c)
{
    cab_conn_took(c, cab_conn_waiting(c));
}

static bool is_held(const cab_conn *c)
{
    return c->held.p && c->in.p >= c->held.p && c->in.p <= c->held.p + c->held.n;
}

bool cab_io_keep(cab_conn *c)
{
    if (c->tls || (c->in.n && is_held(c)))
        return true;
    if (c->in.n) {
        cab_bytes_clear(&c->held);
        cab_bytes_slice(&c->held, c->in);
        c->in.p = c->held.p;
        return !c->held.failed;
    }
    cab_bytes_fini(&c->held);          /* few connections have input that waits */
    return true;
}

/* Where the next bytes go: behind those that wait, into the body of the request, or the loop's scratch buffer. */
static char *place(cab_conn *c, size_t *n)
{
    char *to = NULL;
    *n = CAB_LOOP_SCRATCH;
    if (c->in.n) {
        memmove(c->held.p, c->in.p, c->in.n);
        c->held.n = c->in.n;
        to = cab_bytes_room(&c->held, *n);
        c->in.p = c->held.p;
        return to;
    }
    if (c->carrier && c->carrier->sink)
        to = c->carrier->sink(c, n);
    if (to)
        return to;
    *n = CAB_LOOP_SCRATCH;
    return c->loop->scratch;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    cab_conn *c = arg;
    size_t n;
    char *to = place(c, &n);
    ssize_t k = to ? recv(fd, to, n, 0) : 0;
    (void)what;
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (k <= 0) {
        event_del(c->readable);
        cab_conn_ended(c, to && !k);
        return;
    }
    if (c->in.n) {
        cab_bytes_wrote(&c->held, (size_t)k);
        c->in.n = c->held.n;
    } else {
        c->in = (cab_slice){ to, (size_t)k };
    }
    cab_conn_came(c);
}

/* (TLS, too: libevent 2.1 does not survive being out of memory for a watermark of its own.) */
bool cab_io_pace(cab_conn *c)
{
    bool full = cab_conn_waiting(c) >= INPUT_MAX;
    if (full == c->full || c->ended)
        return true;
    c->full = full;
    if (c->tls)
        return full ? !bufferevent_disable(c->tls, EV_READ) : !bufferevent_enable(c->tls, EV_READ);
    return full ? !event_del(c->readable) : !event_add(c->readable, NULL);
}

void cab_io_deafen(cab_conn *c)
{
    if (c->tls)
        bufferevent_disable(c->tls, EV_READ);
    else
        event_del(c->readable);
    c->full = false;
}

/* ---- output ---- */

size_t cab_conn_unsent(const cab_conn *c)
{
    struct evbuffer *out = c->tls ? bufferevent_get_output(c->tls) : c->out;
    return out ? evbuffer_get_length(out) : 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    cab_conn *c = arg;
    (void)what;
    if (evbuffer_write_atmost(c->out, fd, OUTPUT_MAX) < 0 && errno != EAGAIN && errno != EINTR) {
        cab_conn_ended(c, false);
        return;
    }
    if (evbuffer_get_length(c->out))
        return;
    event_del(c->writable);
    evbuffer_free(c->out);             /* few connections have answers that wait */
    c->out = NULL;
    cab_conn_sent(c);
}

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

/* Bytes of the head and the body that the socket took; -1: broken. */
static ssize_t send_now(cab_conn *c, const void *head, size_t n, const cab_bytes *body)
{
    struct iovec v[2] = { { (void *)(uintptr_t)head, n }, { body->p, body->n < OUTPUT_MAX ? body->n : OUTPUT_MAX } };
    struct msghdr m = { .msg_iov = v, .msg_iovlen = body->n ? 2 : 1 };
    ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    return k >= 0 ? k : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* Where what the socket did not take waits; NULL: out of memory. */
static struct evbuffer *queue(cab_conn *c)
{
    if (c->tls)
        return bufferevent_get_output(c->tls);
    if (!c->out && (c->out = evbuffer_new()) && event_add(c->writable, NULL)) {
        evbuffer_free(c->out);
        c->out = NULL;
    }
    return c->out;
}

bool cab_conn_write(cab_conn *c, const void *head, size_t n, cab_bytes *body)
{
    cab_bytes none = { 0 };
    body = body ? body : &none;
    c->moved += n + body->n;           /* counts while WRITE; begins with it else */
    ssize_t k = c->tls || c->out ? 0 : send_now(c, head, n, body);
    if (k < 0)
        return false;
    size_t sent = (size_t)k;
    if (sent == n + body->n)
        return true;
    struct evbuffer *out = queue(c);
    if (!out || (sent < n && evbuffer_add(out, (const char *)head + sent, n - sent)))
        return false;
    return queue_body(out, body, sent > n ? sent - n : 0);
}

/* ---- TLS ---- */

static void on_tls_input(struct bufferevent *tls, void *arg)
{
    (void)tls;
    cab_conn_came(arg);
}

static void on_tls_sent(struct bufferevent *tls, void *arg)
{
    (void)tls;
    cab_conn_sent(arg);
}

static void on_tls_event(struct bufferevent *tls, short what, void *arg)
{
    const unsigned char *name = NULL;
    unsigned n = 0;
    if (!(what & BEV_EVENT_CONNECTED)) {
        cab_conn_ended(arg, false);
        return;
    }
    SSL_get0_alpn_selected(bufferevent_openssl_get_ssl(tls), &name, &n);
    cab_conn_secured(arg, n == 2 && !memcmp(name, "h2", 2));
}

static bool open_tls(cab_conn *c)
{
    cab_loop *l = c->loop;
    SSL *ssl = l->server->tls ? cab_tls_session(l->server->tls) : NULL;
    c->tls = ssl ? bufferevent_openssl_socket_new(l->base, c->fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
                 : NULL;
    if (!c->tls)                       /* and ssl is freed */
        return false;
    bufferevent_openssl_set_allow_dirty_shutdown(c->tls, 1);
    bufferevent_setcb(c->tls, on_tls_input, on_tls_sent, on_tls_event, c);
    bufferevent_set_max_single_read(c->tls, INPUT_MAX);
    bufferevent_set_max_single_write(c->tls, OUTPUT_MAX);
    return !bufferevent_enable(c->tls, EV_READ | EV_WRITE);
}

bool cab_io_goodbye(cab_conn *c)
{
    if (!c->tls)
        return !c->lingers || !shutdown(c->fd, SHUT_WR);
    int k = SSL_shutdown(bufferevent_openssl_get_ssl(c->tls));
    ERR_clear_error();
    return k >= 0;
}

/* ---- life ---- */

static bool open_plain(cab_conn *c)
{
    c->readable = event_new(c->loop->base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(c->loop->base, c->fd, EV_WRITE | EV_PERSIST, on_writable, c);
    return c->readable && c->writable && !event_add(c->readable, NULL);
}

void cab_io_close(cab_conn *c)
{
    if (c->tls) {
        bufferevent_free(c->tls);      /* and the socket */
        return;
    }
    if (c->readable)
        event_free(c->readable);
    if (c->writable)
        event_free(c->writable);
    if (c->out)
        evbuffer_free(c->out);
    cab_bytes_fini(&c->held);
    close(c->fd);
}

bool cab_io_open(cab_conn *c)
{
    if (c->secure ? open_tls(c) : open_plain(c))
        return true;
    cab_io_close(c);
    return false;
}
