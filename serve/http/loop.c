/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - I/O threads.
 *
 * A loop owns its connections and exchanges; other threads reach it by its
 * inbox (cab_loop_post) and its wishes, both woken by an eventfd.  Deadlines of
 * connections are looked at by a sweep, four times a second: setting one is a
 * store, and lateness of 250 ms does no harm to limits of seconds.
 *
 * No connection holds up the others for long: one that has used up its turn
 * waits in a line (`again`) until the loop has looked at the sockets once more,
 * and so do sweeps that find many to close.
 */
#include "base/log.h"
#include "base/process.h"
#include "serve/http/server.h"
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SWEEP_US = 250000, SPARE_MAX = 256, SLICE_NS = 100000, TURN_NS = 100000 };

static void tell_time(cab_loop *l)
{
    struct timespec t;
    l->now_ns = cab_now_ns();
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (t.tv_sec == l->date_s)
        return;
    l->date_s = t.tv_sec;
    cab_http_date(l->date_s, l->date);
}

/* ---- the inbox ---- */

static void wake(cab_loop *l)
{
    uint64_t one = 1;
    ssize_t k = write(l->wake_fd, &one, sizeof one);
    (void)k;                           /* full: it is awake anyway */
}

void cab_loop_post(cab_loop *l, cab_exchange *x)
{
    pthread_mutex_lock(&l->lock);
    bool first = !l->inbox;
    x->next = NULL;
    *l->inbox_tail = x;
    l->inbox_tail = &x->next;
    pthread_mutex_unlock(&l->lock);
    if (first)
        wake(l);
}

void cab_loop_wish(cab_loop *l, unsigned wish)
{
    pthread_mutex_lock(&l->lock);
    l->wishes |= wish;
    pthread_mutex_unlock(&l->lock);
    wake(l);
}

static void drain_conns(cab_loop *l, bool now)
{
    for (cab_conn *c = l->conns, *next; c; c = next) {
        next = c->next;
        cab_conn_drain(c, now);
    }
}

static void close_listeners(cab_loop *l)
{
    for (int i = 0; i < l->n_listeners; i++)
        evconnlistener_free(l->listeners[i]);
    l->n_listeners = 0;
}

/* Who got through before the port closes is served. */
static void accept_pending(cab_loop *l)
{
    for (int i = 0, fd; i < l->n_listeners; i++)
        while ((fd = accept4(evconnlistener_get_fd(l->listeners[i]), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
            cab_conn_accept(l, fd, l->secure[i]);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    cab_loop *l = arg;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return;
    pthread_mutex_lock(&l->lock);
    cab_exchange *x = l->inbox;
    unsigned wishes = l->wishes;
    l->inbox = NULL;
    l->inbox_tail = &l->inbox;
    l->wishes = 0;
    pthread_mutex_unlock(&l->lock);
    tell_time(l);
    for (cab_exchange *next; x; x = next) {
        next = x->next;
        cab_conn_answered(x);
    }
    if (wishes & (CAB_LOOP_DRAIN | CAB_LOOP_CLOSE))
        drain_conns(l, wishes & CAB_LOOP_CLOSE);
    if (wishes & CAB_LOOP_CLOSE)
        accept_pending(l);
    if (wishes & (CAB_LOOP_CLOSE | CAB_LOOP_DEAF))
        close_listeners(l);
    if (wishes & CAB_LOOP_STOP)
        event_base_loopbreak(l->base);
}

/* ---- connections and their deadlines ---- */

bool cab_loop_turn_over(const cab_loop *l)
{
    return cab_now_ns() - l->now_ns > TURN_NS;
}

static void come_back(cab_loop *l)
{
    event_add(l->later, &(struct timeval){ 0, 0 });
}

/* To close a connection takes 10 us or more, and a thousand may be late at once. */
static void sweep_on(cab_loop *l)
{
    do {
        cab_conn *c = l->swept;
        l->swept = c->next;
        if (c->deadline_ns < l->now_ns)
            cab_conn_late(c);
    } while (l->swept && !cab_loop_turn_over(l));
}

/* Listeners that ran out of descriptors try again, too. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    cab_loop *l = arg;
    (void)fd;
    (void)what;
    tell_time(l);
    if (!l->swept)
        l->swept = l->conns;
    if (l->swept)
        come_back(l);
    for (int i = 0; i < l->n_listeners; i++)
        evconnlistener_enable(l->listeners[i]);
}

static cab_conn *take_again(cab_loop *l)
{
    cab_conn *c = l->again;
    l->again = c->next_again;
    if (!l->again)
        l->again_tail = &l->again;
    c->again = false;
    return c;
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    cab_loop *l = arg;
    (void)fd;
    (void)what;
    tell_time(l);
    if (l->swept)
        sweep_on(l);
    if (l->again)
        cab_conn_came(take_again(l));
    if (l->swept || l->again)
        come_back(l);
}

void cab_loop_again(cab_loop *l, cab_conn *c)
{
    if (c->again)
        return;
    c->again = true;
    c->next_again = NULL;
    *l->again_tail = c;
    l->again_tail = &c->next_again;
    come_back(l);
}

void cab_loop_forget(cab_loop *l, cab_conn *c)
{
    if (l->swept == c)
        l->swept = c->next;
    if (!c->again)
        return;
    cab_conn **at = &l->again;
    while (*at != c)
        at = &(*at)->next_again;
    *at = c->next_again;
    if (!*at)
        l->again_tail = at;
}

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *a, int n, void *arg)
{
    cab_loop *l = arg;
    bool secure = false;
    (void)a;
    (void)n;
    for (int i = 0; i < l->n_listeners; i++)
        if (l->listeners[i] == ev)
            secure = l->secure[i];
    tell_time(l);
    cab_conn_accept(l, fd, secure);
}

/* Out of descriptors: the listener would spin; it rests until the sweep. */
static void on_accept_error(struct evconnlistener *ev, void *arg)
{
    (void)arg;
    evconnlistener_disable(ev);
}

/* ---- exchanges ---- */

cab_exchange *cab_loop_exchange(cab_loop *l)
{
    cab_exchange *x = l->spare;
    if (x) {
        l->spare = x->next;
        l->n_spare--;
        x->next = NULL;
        return x;
    }
    x = calloc(1, sizeof *x);
    if (x) {
        x->loop = l;
        x->server = l->server;
        x->out.limit = l->server->limits.answer_bytes;
    }
    return x;
}

void cab_loop_recycle(cab_loop *l, cab_exchange *x)
{
    if (l->server->ended && (x->route || x->status))
        l->server->ended(l->server, x);
    if (x->release)
        x->release(x);
    atomic_fetch_sub(&l->server->bodies, x->reserved);
    if (l->n_spare >= SPARE_MAX) {
        cab_exchange_fini(x);
        free(x);
        return;
    }
    cab_exchange_reset(x);
    x->next = l->spare;
    l->spare = x;
    l->n_spare++;
}

/* ---- life ---- */

static void *run(void *arg)
{
    cab_loop *l = arg;
    cab_thread_slice(SLICE_NS);        /* an executor on the same processor gives way at once, not some ms later */
    /* To be woken costs more than to answer; so it looks a while before it sleeps, unless others compute. */
    do {
        bool look = !l->given && cab_now_ns() - l->now_ns < l->server->poll_ns;
        event_base_loop(l->base, look ? EVLOOP_NONBLOCK : EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
    } while (!event_base_got_break(l->base));
    return NULL;
}

cab_status cab_loop_init(cab_loop *l, struct cab_server *s, cab_diag *d)
{
    *l = (cab_loop){ .server = s, .wake_fd = -1, .date_s = -1 };
    l->inbox_tail = &l->inbox;
    l->again_tail = &l->again;
    pthread_mutex_init(&l->lock, NULL);
    struct event_config *cfg = event_config_new();
    if (cfg) {
        event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
        l->base = event_base_new_with_config(cfg);
        event_config_free(cfg);
    }
    l->scratch = malloc(CAB_LOOP_SCRATCH);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->base && l->wake_fd >= 0) {
        l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
        l->sweep = event_new(l->base, -1, EV_PERSIST, on_sweep, l);
        l->later = event_new(l->base, -1, 0, on_later, l);
    }
    if (!l->scratch || !l->wake || !l->sweep || !l->later || event_add(l->wake, NULL) ||
        event_add(l->sweep, &(struct timeval){ 0, SWEEP_US }))
        return cab_fail(d, CAB_ENOMEM, NULL, "cannot make an event loop");
    tell_time(l);
    return CAB_OK;
}

cab_status cab_loop_listen(cab_loop *l, int fd, bool secure, cab_diag *d)
{
    if (l->n_listeners == CAB_LISTENERS_MAX)
        return cab_fail(d, CAB_ELIMIT, NULL, "more than %d listeners", CAB_LISTENERS_MAX);
    struct evconnlistener *ev = evconnlistener_new(l->base, on_accept, l, LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!ev)
        return cab_fail(d, CAB_EIO, NULL, "cannot listen");
    evconnlistener_set_error_cb(ev, on_accept_error);
    l->secure[l->n_listeners] = secure;
    l->listeners[l->n_listeners++] = ev;
    return CAB_OK;
}

cab_status cab_loop_start(cab_loop *l, cab_diag *d)
{
    if (pthread_create(&l->thread, NULL, run, l))
        return cab_fail(d, CAB_ENOMEM, NULL, "cannot start an I/O thread");
    l->running = true;
    return CAB_OK;
}

void cab_loop_fini(cab_loop *l)
{
    if (l->running)
        pthread_join(l->thread, NULL);
    close_listeners(l);
    while (l->conns)
        cab_conn_close(l->conns);
    while (l->given > 0) {
        poll(&(struct pollfd){ .fd = l->wake_fd, .events = POLLIN }, 1, 100);
        on_wake(l->wake_fd, 0, l);
    }
    for (cab_exchange *x = l->spare, *next; x; x = next) {
        next = x->next;
        cab_exchange_fini(x);
        free(x);
    }
    cab_bytes_fini(&l->frames);
    free(l->scratch);
    if (l->wake)
        event_free(l->wake);
    if (l->sweep)
        event_free(l->sweep);
    if (l->later)
        event_free(l->later);
    if (l->base)
        event_base_free(l->base);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
}
