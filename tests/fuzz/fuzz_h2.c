/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_h2.c - bytes behind the preface of HTTP/2: the real connection, its streams and gRPC's frames, over a pair of
 * sockets.  The handler has no models: what it does is told by the body's length.
 *
 * First byte: how the rest is cut into pieces.  However it ends, nothing of the connection is left.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "serve/http/server.h"
#include "tests/fuzz/fuzz_bare.h"

static cab_server server;
static cab_loop loop;
static cab_exchange *held[16];         /* to be answered later */
static int n_held;

static void answer(cab_exchange *x)
{
    x->status = 200;
    x->type = x->grpc ? "application/grpc" : "text/plain";
    cab_bytes_slice(&x->out, x->body);
    cab_exchange_answer(x);
}

static void handle(cab_server *s, cab_exchange *x)
{
    (void)s;
    fuzz_count(x->is_part ? "messages" : x->grpc ? "calls" : "requests");
    for (size_t i = 0; i < x->body.n; i++)             /* all of it can be read */
        x->grpc_status ^= x->body.p[i];
    x->grpc_status = 0;
    switch (x->body.n % 4) {
    case 0: cab_exchange_refuse(x, 404, "no %.*s", (int)(x->path.n < 100 ? x->path.n : 100), x->path.p); break;
    case 1: if (n_held < 16) { held[n_held++] = x; break; }    /* fall through */
    default: answer(x);
    }
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(loop.base, EVLOOP_NONBLOCK);
}

static void answer_held(void)
{
    while (n_held)
        answer(held[--n_held]);
    turn();
}

static void start(void)
{
    cab_diag d;
    cab_diag_init(&d);
    server = (cab_server){ .limits = cab_limits_default, .handle = handle };
    server.limits.head_bytes = 1024;
    server.limits.body_bytes = 4096;
    server.limits.all_bodies = 16384;
    server.limits.streams = 8;
    if (cab_loop_init(&loop, &server, &d) != CAB_OK)
        abort();
    cab_diag_fini(&d);
}

/* Until nothing comes any more. */
static size_t swallow(int fd, const unsigned char **first)
{
    static unsigned char got[65536];
    size_t all = 0;
    ssize_t n;
    while ((n = recv(fd, got, sizeof got, MSG_DONTWAIT)) > 0) {
        if (!all)
            *first = got;
        all += (size_t)n;
        turn();
    }
    return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    int fd[2];
    if (!loop.base)
        start();
    if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd))
        return 0;
    cab_conn_accept(&loop, fd[0], false);
    size_t piece = data[0] ? data[0] : 65536;
    bool open = send(fd[1], preface, sizeof preface - 1, MSG_NOSIGNAL) > 0;
    const unsigned char *first = (const unsigned char *)"\0\0\0\4";
    for (size_t at = 1; open && at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        open = send(fd[1], data + at, n, MSG_NOSIGNAL) == (ssize_t)n;
        turn();
        if (data[0] & 1)
            answer_held();
        if (at == 1 && swallow(fd[1], &first) && first[3] != 4)
            fuzz_finding("the first frame is no SETTINGS");
    }
    turn();
    swallow(fd[1], &first);
    if (data[0] & 2)
        answer_held();
    close(fd[1]);
    turn();
    answer_held();
    if (atomic_load(&server.conns) || atomic_load(&server.bodies) || loop.given)
        fuzz_finding("left: %d connections, %zu bytes, %d requests", atomic_load(&server.conns), atomic_load(&server.bodies), loop.given);
    return 0;
}
