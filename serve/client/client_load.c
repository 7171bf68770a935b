/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_load.c - sends prepared bytes at fixed times over many connections, and measures.
 *
 * Open loop: request i is due at i / rate, whatever the server does.  It is sent
 * when a connection is free, and its time counts from when it was due, so a
 * server that stalls is charged for everyone who would have come meanwhile.
 * Sockets are watched once, edge-triggered; a request costs a write, a read and
 * a share of a wait.
 */
#include "serve/client/client_load.h"
#include "base/log.h"
#include "base/process.h"
#include "serve/client/client_answer.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, SCRATCH = 256 << 10, RETRY_MS = 10, GRACE_S = 10,
       SLICE_NS = 100000, SLACK_NS = 1000 };

typedef enum lane_state { LANE_DOWN, LANE_CONNECTING, LANE_FREE, LANE_BUSY } lane_state;

typedef struct lane {
    int fd;
    lane_state state;
    int64_t due_ns;            /* BUSY: of its request; DOWN: when to try again */
    size_t sent;               /* bytes of the request */
    struct lane *next_free;
    cab_answer answer;
} lane;

typedef struct load {
    const cab_load_plan *plan;
    cab_load_figures *out;
    struct sockaddr_storage to;
    socklen_t to_bytes;
    int ep;
    lane *lanes, *free;
    int busy, down, ever;      /* lanes; connections that came about */
    int64_t begin, from, end;  /* warm-up, what counts, no more requests */
    uint64_t begun;            /* requests */
    char *scratch;
} load;

/* ---- connections ---- */

static void set_free(load *l, lane *c)
{
    c->state = LANE_FREE;
    c->next_free = l->free;
    l->free = c;
}

static void hang_up(load *l, lane *c, int64_t now)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = LANE_DOWN;
    c->due_ns = now + (int64_t)RETRY_MS * 1000000;
    c->answer = (cab_answer){ 0 };
    l->down++;
}

static void dial(load *l, lane *c, int64_t now)
{
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
    c->fd = socket(l->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    l->down--;
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&l->to, l->to_bytes) && errno != EINPROGRESS) ||
        epoll_ctl(l->ep, EPOLL_CTL_ADD, c->fd, &e)) {
        hang_up(l, c, now);
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    c->state = LANE_CONNECTING;
}

static void dial_those_due(load *l, int64_t now)
{
    for (int i = 0; l->down && i < l->plan->connections; i++)
        if (l->lanes[i].state == LANE_DOWN && l->lanes[i].due_ns <= now)
            dial(l, &l->lanes[i], now);
}

static void take_from_free(load *l, lane *c)
{
    lane **p = &l->free;
    while (*p && *p != c)
        p = &(*p)->next_free;
    if (*p)
        *p = c->next_free;
}

/* The connection has ended, or must. */
static void lose(load *l, lane *c, int64_t now)
{
    if (c->state == LANE_FREE)
        take_from_free(l, c);
    if (c->state == LANE_BUSY) {
        l->busy--;
        l->out->broken += c->due_ns >= l->from;
    }
    hang_up(l, c, now);
}

/* ---- requests ---- */

/* As much of the request as the socket takes. */
static bool push(load *l, lane *c)
{
    const cab_bytes *r = l->plan->request;
    while (c->sent < r->n) {
        ssize_t k = send(c->fd, r->p + c->sent, r->n - c->sent, MSG_NOSIGNAL);
        if (k < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        c->sent += (size_t)k;
    }
    return true;
}

static void begin(load *l, lane *c, int64_t due, int64_t now)
{
    c->state = LANE_BUSY;
    c->due_ns = due;
    c->sent = 0;
    l->busy++;
    l->begun++;
    l->out->sent += due >= l->from;
    if (!push(l, c))
        lose(l, c, now);
}

static void count(load *l, const lane *c, int64_t now)
{
    cab_load_figures *f = l->out;
    int status = c->answer.status;
    if (c->due_ns < l->from)
        return;
    f->status[status > 0 && status < CAB_LOAD_STATUSES ? status : 0]++;
    f->in_time += status / 100 == 2 && now <= l->end;
    cab_histogram_add(status / 100 == 2 ? &f->good : &f->other, now - c->due_ns);
}

static void finished(load *l, lane *c, int64_t now)
{
    count(l, c, now);
    l->busy--;
    if (c->answer.close)
        hang_up(l, c, now);
    else if (!l->plan->rate && now < l->end)
        begin(l, c, now, now);
    else
        set_free(l, c);
}

static void pull(load *l, lane *c)
{
    for (;;) {
        ssize_t k = recv(c->fd, l->scratch, SCRATCH, 0);
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        int64_t now = cab_now_ns();
        cab_answer_got got = k > 0 && c->state == LANE_BUSY ? cab_answer_read(&c->answer, l->scratch, (size_t)k)
                                                            : CAB_ANSWER_BROKEN;
        if (got == CAB_ANSWER_BROKEN) {
            lose(l, c, now);
            return;
        }
        if (got == CAB_ANSWER_DONE)
            finished(l, c, now);
        if (c->fd < 0 || k < SCRATCH)
            return;
    }
}

static void on_event(load *l, lane *c, uint32_t what, int64_t now)
{
    if (c->state == LANE_CONNECTING) {
        int error = 0;
        socklen_t n = sizeof error;
        if (!(what & EPOLLOUT) || getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) || error) {
            hang_up(l, c, now);
            return;
        }
        l->ever++;
        set_free(l, c);
    } else if (c->state == LANE_BUSY && c->sent < l->plan->request->n && !push(l, c)) {
        lose(l, c, now);
        return;
    }
    if (what & EPOLLIN && c->fd >= 0)
        pull(l, c);
    if (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) && c->fd >= 0)
        lose(l, c, now);
}

/* ---- the clock ---- */

static int64_t due_at(const load *l, uint64_t i)
{
    return l->begin + (int64_t)((double)i * 1e9 / l->plan->rate);
}

/* Sends what is due, and no later than the end: when to come back. */
static int64_t send_due(load *l, int64_t now, int64_t until)
{
    while (l->free) {
        int64_t due = l->plan->rate ? due_at(l, l->begun) : now;
        if (due >= l->end)
            return until;
        if (due > now)
            return due;
        lane *c = l->free;
        l->free = c->next_free;
        begin(l, c, due, now);
    }
    return until;
}

/* epoll_wait counts in milliseconds; poll on its descriptor does not. */
static void wait_until(load *l, int64_t when, int64_t now)
{
    int64_t ns = when - now;
    if (l->down && ns > (int64_t)RETRY_MS * 1000000)
        ns = (int64_t)RETRY_MS * 1000000;
    if (ns <= 0)
        return;
    struct timespec t = { ns / 1000000000, ns % 1000000000 };
    ppoll(&(struct pollfd){ .fd = l->ep, .events = POLLIN }, 1, &t, NULL);
}

static void turn(load *l, bool sending, int64_t until)
{
    struct epoll_event ev[EVENTS];
    int64_t now = cab_now_ns();
    int64_t next = sending ? send_due(l, now, until) : until;
    int n = epoll_wait(l->ep, ev, EVENTS, 0);
    if (!n && !l->plan->awake)
        wait_until(l, next, cab_now_ns());
    now = n ? cab_now_ns() : now;
    for (int i = 0; i < n; i++)
        on_event(l, ev[i].data.ptr, ev[i].events, now);
    if (l->down)
        dial_those_due(l, cab_now_ns());
}

/* Until every lane has had its answer to connect(), or a second has passed. */
static cab_status connect_all(load *l, cab_diag *d)
{
    int64_t end = cab_now_ns() + 1000000000;
    l->from = l->end = end;
    l->down = l->plan->connections;
    while (l->ever < l->plan->connections && cab_now_ns() < end)
        turn(l, false, end);
    return l->ever ? CAB_OK : cab_fail(d, CAB_EIO, NULL, "no connection to %s:%d", l->plan->host, l->plan->port);
}

static bool is_behind(const load *l)
{
    return l->plan->rate && due_at(l, l->begun) < l->end;
}

/* Those who still wait are charged for so long. */
static void count_left(load *l, int64_t now)
{
    cab_load_figures *f = l->out;
    for (int i = 0; i < l->plan->connections; i++)
        if (l->lanes[i].state == LANE_BUSY && l->lanes[i].due_ns >= l->from) {
            f->unanswered++;
            cab_histogram_add(&f->other, now - l->lanes[i].due_ns);
        }
    for (; is_behind(l); l->begun++)
        if (due_at(l, l->begun) >= l->from) {
            f->unsent++;
            cab_histogram_add(&f->other, now - due_at(l, l->begun));
        }
}

static void go(load *l)
{
    const cab_load_plan *p = l->plan;
    l->begin = cab_now_ns();
    l->from = l->begin + (int64_t)(p->warmup * 1e9);
    l->end = l->from + (int64_t)(p->seconds * 1e9);
    while (cab_now_ns() < l->end)
        turn(l, true, l->end);
    for (int64_t last = l->end + (int64_t)GRACE_S * 1000000000; (l->busy || is_behind(l)) && cab_now_ns() < last;)
        turn(l, true, last);
    count_left(l, cab_now_ns());
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static cab_status resolve(load *l, cab_diag *d)
{
    const struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *a;
    char port[16];
    snprintf(port, sizeof port, "%d", l->plan->port);
    int rc = getaddrinfo(l->plan->host, port, &want, &a);
    if (rc)
        return cab_fail(d, CAB_EIO, NULL, "%s: %s", l->plan->host, gai_strerror(rc));
    memcpy(&l->to, a->ai_addr, a->ai_addrlen);
    l->to_bytes = a->ai_addrlen;
    freeaddrinfo(a);
    return CAB_OK;
}

/* Requests leave when they are due, answers are seen when they come. */
static void be_punctual(void)
{
    cab_thread_slice(SLICE_NS);
    prctl(PR_SET_TIMERSLACK, SLACK_NS);
}

cab_status cab_load_run(const cab_load_plan *p, cab_load_figures *out, cab_diag *d)
{
    load l = { .plan = p, .out = out, .ep = epoll_create1(EPOLL_CLOEXEC) };
    double before = cpu_seconds();
    *out = (cab_load_figures){ 0 };
    be_punctual();
    l.lanes = calloc((size_t)p->connections, sizeof *l.lanes);
    l.scratch = malloc(SCRATCH);
    cab_status s = l.lanes && l.scratch && l.ep >= 0 ? resolve(&l, d) : cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (int i = 0; l.lanes && i < p->connections; i++)
        l.lanes[i].fd = -1;
    if (s == CAB_OK)
        s = connect_all(&l, d);
    if (s == CAB_OK)
        go(&l);
    for (int i = 0; l.lanes && i < p->connections; i++)
        if (l.lanes[i].fd >= 0)
            close(l.lanes[i].fd);
    out->cpu_seconds = cpu_seconds() - before;
    free(l.lanes);
    free(l.scratch);
    if (l.ep >= 0)
        close(l.ep);
    return s;
}
