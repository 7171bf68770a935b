/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c - deadlines of connections, their ends, and which carrier a client speaks.
 *
 * A carrier's functions say false for "this connection is at its end"; only
 * this file closes connections, so that a callback never returns into freed
 * memory.
 */
#include "serve/http/conn_io.h"
#include "base/log.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Most that the kernel keeps of it for a client that does not read; by itself it takes megabytes. */
enum { UNSENT_MAX = 256 << 10 };
static const int64_t LINGER_NS = 1000000000;
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const cab_limits cab_limits_default = {
    .head_bytes = 16 << 10, .body_bytes = (size_t)64 << 20, .answer_bytes = (size_t)1 << 30,
    .all_bodies = (size_t)1 << 30, .conns = 10000, .streams = 256, .idle_ms = 75000, .head_ms = 10000,
    .body_ms = 30000, .write_ms = 30000, .slowest = 64 << 10,
};

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
    cab_loop_forget(c->loop, c);
    unlink_conn(c);
    cab_io_close(c);
    free(c);
}

/* Everything is sent; a client that still sends would get a reset for it, and lose the answer. */
static void sent_all(cab_conn *c)
{
    if (!cab_io_goodbye(c) || !c->lingers) {
        cab_conn_close(c);
        return;
    }
    c->waiting = CAB_WAIT_FIRST;       /* nothing is to be sent: no more time than this */
    c->deadline_ns = c->loop->now_ns + LINGER_NS;
}

void cab_conn_finish(cab_conn *c)
{
    c->closing = true;
    cab_io_forget(c);                  /* a full input would be read no more */
    if (c->lingers)
        cab_io_pace(c);
    else
        cab_io_deafen(c);
    if (cab_conn_unsent(c))
        cab_conn_wait(c, CAB_WAIT_WRITE);
    else
        sent_all(c);
}

/* What a carrier said about the connection. */
static void settle(cab_conn *c, bool goes_on)
{
    if (!goes_on)
        cab_conn_finish(c);
    else if (!cab_io_pace(c))
        cab_conn_close(c);
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
           !cab_conn_waiting(c) && recv(c->fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* A client that has just come would not know why it was closed: its first request may be on its way. */
static void soon(cab_conn *c)
{
    int64_t until = c->loop->now_ns + LINGER_NS;
    c->deadline_ns = c->deadline_ns < until ? c->deadline_ns : until;
}

void cab_conn_drain(cab_conn *c, bool now)
{
    c->draining = true;
    if (!c->carrier)
        soon(c);
    else if (!c->closing)
        settle(c, c->carrier->drain(c, now));
}

/* ---- events ---- */

/* Which carrier the first bytes ask for; NULL: more of them are needed. */
static const cab_carrier *sniff(cab_conn *c)
{
    const size_t whole = sizeof preface - 1;
    cab_slice in = cab_conn_input(c, whole);
    size_t n = in.n < whole ? in.n : whole;
    if (!n)
        return NULL;
    if (memcmp(in.p, preface, n))
        return &cab_carrier_http1;
    return n == whole ? &cab_carrier_http2 : NULL;
}

static bool read_on(cab_conn *c)
{
    if (c->carrier || (c->carrier = sniff(c)))
        return c->carrier->readable(c);
    if (c->waiting == CAB_WAIT_FIRST)
        cab_conn_wait(c, CAB_WAIT_HEAD);
    return true;
}

void cab_conn_came(cab_conn *c)
{
    if (c->closing) {
        cab_io_forget(c);
        cab_io_pace(c);
        return;
    }
    if (c->again) {                    /* in line */
        settle(c, cab_io_keep(c));
        return;
    }
    c->loop->now_ns = cab_now_ns();
    bool goes_on = read_on(c);
    settle(c, cab_io_keep(c) && goes_on);
}

void cab_conn_sent(cab_conn *c)
{
    c->loop->now_ns = cab_now_ns();
    if (c->closing)
        sent_all(c);
    else if (c->carrier)
        settle(c, c->carrier->drained(c));
}

/* Requests that came in one go and have not had their turn. */
static bool has_requests(const cab_conn *c)
{
    return c->carrier == &cab_carrier_http1 && !c->closing && cab_conn_waiting(c);
}

/* A client that has sent its last byte may still take answers: that which is on its way, and those to requests that
 * are still to be read.  One whose only request is being computed has gone, for all that we can see. */
static bool only_reads(const cab_conn *c)
{
    return !c->streams && (has_requests(c) || (!c->busy && cab_conn_unsent(c)));
}

void cab_conn_ended(cab_conn *c, bool half)
{
    c->loop->now_ns = cab_now_ns();
    c->ended = true;
    if (!half || !only_reads(c))
        cab_conn_close(c);
    else
        settle(c, has_requests(c) && c->carrier->readable(c));
}

void cab_conn_secured(cab_conn *c, bool http2)
{
    c->loop->now_ns = cab_now_ns();
    if (http2)
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

void cab_conn_accept(cab_loop *l, int fd, bool secure)
{
    cab_server *s = l->server;
    bool room = atomic_load(&s->conns) < s->limits.conns || make_room(l);
    cab_conn *c = room ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    *c = (cab_conn){ .loop = l, .fd = fd, .secure = secure, .draining = atomic_load(&s->draining) };
    if (!cab_io_open(c)) {
        free(c);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){ UNSENT_MAX }, sizeof(int));
    atomic_fetch_add(&s->conns, 1);
    link_conn(c);
    cab_conn_wait(c, secure ? CAB_WAIT_HEAD : CAB_WAIT_FIRST);
    if (c->draining)
        soon(c);
}

/* ---- exchanges ---- */

void cab_body_promise(cab_exchange *x, size_t whole)
{
    enum { AT_FIRST = 1 << 20 };
    size_t n = x->body_bytes.n, most = n > AT_FIRST / 2 || whole < AT_FIRST ? whole : AT_FIRST;
    if (most > n)
        cab_bytes_room(&x->body_bytes, most - n);
}

void cab_body_too_long(cab_exchange *x)
{
    char text[200];
    snprintf(text, sizeof text, "the body is longer than the %zu bytes of --max-body (/register takes larger models by \"ref\", from the "
                                "folder of --imports)", x->server->limits.body_bytes);
    cab_exchange_say(x, 413, text);
}

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
