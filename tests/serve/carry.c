/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carry.c - the server's connections with a handler that needs no model.
 *
 * carry [CERT KEY]: listens on two ports of 127.0.0.1 (plain, TLS), prints them, serves until its
 * input ends.  /echo answers with the body, /size with its length and the field "x-a", /later does
 * so from another thread after 20 ms, /stuck never; SIGTERM drains.
 */
#include "serve/http/server.h"
#include <arpa/inet.h>
#include <event2/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void *answer_later(void *arg)
{
    usleep(20000);
    cab_exchange_answer(arg);
    return NULL;
}

static void handle(cab_server *s, cab_exchange *x)
{
    pthread_t t;
    (void)s;
    x->status = 200;
    x->type = x->grpc ? "application/grpc" : "text/plain";
    if (cab_slice_is(x->path, "/echo")) {
        cab_bytes_slice(&x->out, x->body);
    } else if (cab_slice_is(x->path, "/size") || cab_slice_is(x->path, "/later")) {
        cab_slice a = cab_exchange_field(x, "x-a");
        cab_bytes_printf(&x->out, "%s %zu %.*s", cab_method_name(x->method), x->body.n, (int)a.n, a.p ? a.p : "");
    } else if (cab_slice_is(x->path, "/stuck")) {
        return;
    } else {
        cab_exchange_refuse(x, 404, "no %.*s", (int)x->path.n, x->path.p);
        return;
    }
    if (!cab_slice_is(x->path, "/later"))
        cab_exchange_answer(x);
    else if (!pthread_create(&t, NULL, answer_later, x))
        pthread_detach(t);
}

static int open_port(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&a, n) || listen(fd, 1024) || getsockname(fd, (struct sockaddr *)&a, &n))
        abort();
    *port = ntohs(a.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    cab_server s = { .limits = cab_limits_default, .handle = handle };
    cab_loop loop;
    cab_diag d;
    int plain, secure;
    char c;
    cab_diag_init(&d);
    s.limits.head_ms = s.limits.body_ms = 1500;
    s.limits.idle_ms = 3000;
    s.limits.write_ms = 1500;
    s.limits.body_bytes = 8 << 20;
    s.limits.conns = 2000;
    if (argc == 3 && cab_tls_create(argv[1], argv[2], NULL, &s.tls, &d))
        return EXIT_FAILURE;
    int fd = open_port(&plain), tls = open_port(&secure);
    if (cab_loop_init(&loop, &s, &d) || cab_loop_listen(&loop, fd, false, &d) ||
        cab_loop_listen(&loop, tls, true, &d) || cab_loop_start(&loop, &d))
        return EXIT_FAILURE;
    printf("%d %d\n", plain, secure);
    fflush(stdout);
    while (read(0, &c, 1) > 0)
        if (c == 'd') {
            atomic_store(&s.draining, true);
            cab_loop_wish(&loop, CAB_LOOP_DRAIN);
        }
    cab_loop_wish(&loop, CAB_LOOP_CLOSE | CAB_LOOP_STOP);
    cab_loop_fini(&loop);
    close(fd);
    close(tls);
    cab_tls_destroy(s.tls);
    cab_diag_fini(&d);
    printf("%d connections, %zu bytes left\n", atomic_load(&s.conns), atomic_load(&s.bodies));
    return 0;
}
