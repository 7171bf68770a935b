/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.c - log lines of requests.
 */
#include "serve/access.h"
#include "base/log.h"
#include "serve/service.h"
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

enum { FAILURES_A_SECOND = 10 };
const int cab_refusals[CAB_REFUSALS] = { 400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 422, 429, 431, 499, 500, 503, 504, 0 };

/* ---- who ---- */

/* "127.0.0.1:4711" in x's memory; NULL: not known. */
static const char *peer_of(cab_exchange *x)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char host[NI_MAXHOST], port[NI_MAXSERV], text[sizeof host + sizeof port + 4];
    if (!x->conn || getpeername(x->conn->fd, (struct sockaddr *)&a, &n) || a.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        return NULL;
    snprintf(text, sizeof text, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return cab_pieces_text(&x->mem, cab_slice_of(text));
}

void cab_access_begin(cab_exchange *x)
{
    x->came = x->body.n;
    if (cab_service_of(x)->o.log_requests)
        x->peer = peer_of(x);
}

/* ---- the line ---- */

static bool succeeded(const cab_exchange *x)
{
    return x->grpc ? !x->grpc_status : x->status < 400;
}

static void put_model(cab_service *s, const cab_exchange *x, cab_bytes *b)
{
    cab_resident *l = x->loaded;
    bool mine = !l && x->model.n && cab_catalog_get(s->catalog, x->model, x->version, &l) == CAB_FOUND;
    if (l) {
        cab_line_text(b, "model", cab_slice_of(l->name));
        cab_line_text(b, "version", cab_slice_of(l->version_text));
    } else if (x->model.n && (x->known || succeeded(x))) {     /* it is registered, then */
        cab_line_text(b, "model", x->model);
        if (x->version.n)
            cab_line_text(b, "version", x->version);
    }
    if (mine)
        cab_resident_unref(l);
}

static void put_line(cab_service *s, cab_exchange *x, const char *level, const char *event, uint64_t silent)
{
    cab_bytes b = { 0 };
    bool gone = atomic_load(&x->gone);
    const char *peer = x->peer ? x->peer : peer_of(x);
    cab_line_begin(&b, level, event);
    cab_line_text(&b, "method", cab_slice_of(cab_method_name(x->method)));
    cab_line_text(&b, "path", cab_slice_of(x->route ? x->route : "..."));
    cab_line_text(&b, "protocol", x->grpc ? CAB_SLICE("grpc") : x->http2 ? CAB_SLICE("h2") : CAB_SLICE("http/1.1"));
    put_model(s, x, &b);
    cab_line_int(&b, "status", gone ? 499 : x->status ? x->status : 200);
    if (x->grpc && !gone)
        cab_line_int(&b, "grpc_status", x->grpc_status);
    if (x->why)
        cab_line_text(&b, "text", cab_slice_of(x->why));
    if (x->arrived_ns)
        cab_line_int(&b, "micros", (cab_now_ns() - x->arrived_ns) / 1000);
    cab_line_int(&b, "bytes", (int64_t)x->came);
    cab_line_int(&b, "sent", (int64_t)x->sent);
    if (peer)
        cab_line_text(&b, "client", cab_slice_of(peer));
    if (x->who)
        cab_line_text(&b, "token", cab_slice_of(x->who));
    if (silent)
        cab_line_int(&b, "left_out", (int64_t)silent);
    cab_line_end(s->journal, &b);
    cab_bytes_fini(&b);
}

/* Whether one line more may be written; *silent: how many were not. */
static bool may_complain(cab_access *a, uint64_t *silent)
{
    int64_t second = cab_now_ns() / 1000000000;
    pthread_mutex_lock(&a->lock);
    if (second != a->second) {
        a->second = second;
        a->written = 0;
    }
    bool may = a->written < FAILURES_A_SECOND;
    a->written += may;
    *silent = may ? a->silent : 0;
    a->silent = may ? 0 : a->silent + 1;
    pthread_mutex_unlock(&a->lock);
    return may;
}

static void count(cab_access *a, int status)
{
    int i = 0;
    while (i < CAB_REFUSALS - 1 && cab_refusals[i] != status)
        i++;
    atomic_fetch_add(&a->refused[i], 1);
}

void cab_access_end(cab_server *server, cab_exchange *x)
{
    cab_service *s = server->user;
    uint64_t silent = 0;
    bool gone = atomic_load(&x->gone), fine = x->status < 500 || gone;
    if (x->status >= 400 || gone)
        count(&s->access, gone ? 499 : x->status);
    bool failed = !fine && (x->status != 503 || cab_service_is_ready(s));      /* else it starts, or ends */
    bool stranger = x->status == 401 || x->status == 403;      /* of whom there may be many */
    const char *level = failed ? "warning" : "info", *event = x->changes ? "change" : "request";
    if (s->o.log_requests || (x->changes && !stranger))
        put_line(s, x, level, event, 0);
    else if ((failed || x->changes) && may_complain(&s->access, &silent))
        put_line(s, x, level, event, silent);
}
