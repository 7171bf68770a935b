/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_scarce.c - requests while memory runs out: each allocation of the server's threads may fail.
 *
 *   test_scarce [NAME...]           only requests whose names begin like that; CAB_OOM_ALL=1: every allocation of all
 *
 * A server in this process; the client is this thread, whose memory is spared.  For every n a connection is made and
 * the n-th allocation refused: the client has an answer or a closed connection in its time, an answer of success is
 * the answer that it would have been, and then the same request succeeds.  After all of them nothing is left behind.
 */
#include "tests/serve/scarce_client.h"
#include "serve/service.h"
#include "tests/serve/scarce.h"
#include "tests/open_files.h"
#include "tests/test.h"
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static cab_service service;
static char folder[64];
static int port;

/* Exchanges keep memory for the next request; here they do not (linked with --wrap), so that each request takes its own. */
void __real_cab_exchange_reset(cab_exchange *x);
__typeof__(cab_exchange_reset) __wrap_cab_exchange_reset;
void __wrap_cab_exchange_reset(cab_exchange *x)
{
    __real_cab_exchange_reset(x);
    cab_exchange_fini(x);
}

/* ---- the server ---- */

static void start_service(void)
{
    char root[96], log[96];
    /* Thousands of changes are durable each. */
    snprintf(folder, sizeof folder, "%s/cab-scarce-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(root, sizeof root, "--root=%s/root", folder);
    snprintf(log, sizeof log, "--log=%s/log", folder);
    char *argv[] = { (char *)"cab-serve", root, log, (char *)"--listen=127.0.0.1:0", (char *)"--threads=1",
                     (char *)"--poll-us=0", (char *)"--read-threads=1" };
    cab_diag d;
    cab_diag_init(&d);
    CHECK_EQ(cab_service_init(&service, sizeof argv / sizeof *argv, argv, &d), CAB_OK);
    CHECK_EQ(cab_service_start(&service, &d), CAB_OK);
    cab_diag_fini(&d);
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    CHECK(!getsockname(service.sockets[0].fd, (struct sockaddr *)&a, &n));
    port = ntohs(a.sin_port);
    for (int i = 0; i < 2000 && !atomic_load(&service.ready); i++)
        usleep(1000);
}

static void stop_service(void)
{
    char command[128];
    cab_service_fini(&service);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_EQ(system(command), 0);
}

/* ---- one allocation that fails ---- */

static const char *mode;               /* for what is said of a failure */
static long now_n;

static void say(const request *q, const char *what, const answer *a)
{
    test_failed++;
    fprintf(stderr, "%s, %s allocation %ld: %s (status %d, grpc-status %d, %zu bytes%s)\n", q->name, mode, now_n, what, a->status,
            a->grpc_status, a->n, a->closed ? ", closed" : "");
    if (a->n && a->n < 400 && !q->grpc)
        fprintf(stderr, "    %.*s\n", (int)a->n, a->p);
}

/* Of the answer while memory was short. */
static void judge(const request *q, const answer *a)
{
    if (a->late)
        say(q, "no answer and no end", a);
    else if (a->whole && !request_succeeded(q, a) && !request_excused(q, a))
        say(q, "neither success nor an excuse", a);
    else if (a->whole && request_succeeded(q, a) && !request_agrees(q, a))
        say(q, "an answer of success that is not the right one", a);
    else
        test_passed++;
}

/* The same again, on that connection or on a new one. */
static void ask_again(const request *q, client *c, const char *where)
{
    answer a;
    bool fresh = !c->used;
    client_ask(c, q, &a);
    if (a.late)
        say(q, where, &a);
    else if (a.whole && !(request_succeeded(q, &a) && request_agrees(q, &a)))
        say(q, where, &a);
    else if (!a.whole && fresh)
        say(q, where, &a);
    else
        test_passed++;
    answer_fini(&a);
}

/* How many allocations there were. */
static long attempt(const request *q, long n, bool whole)
{
    static int serial;
    client c;
    answer a;
    now_n = n;
    if (q->serial)
        for (int i = 5, k = ++serial; i >= 0; i--, k /= 10)
            q->serial[i] = (char)('0' + k % 10);
    scarce_begin(n, whole);
    client_open(&c, port, q->http2);
    client_ask(&c, q, &a);
    long seen = scarce_end();
    judge(q, &a);
    if (a.whole && !a.closed)
        ask_again(q, &c, "then, on the same connection");
    answer_fini(&a);
    client_close(&c);
    client_open(&c, port, q->http2);
    ask_again(q, &c, "then, on a new connection");
    client_close(&c);
    return seen;
}

/* About `most` of the n from 1 on, other ones for another request. */
static long stride(const request *q, long n, long most)
{
    (void)q;
    return getenv("CAB_OOM_ALL") || n <= most ? 1 : (n + most - 1) / most;
}

static long sweep(const request *q)
{
    mode = "without";
    long n = attempt(q, 0, false), step = stride(q, n, q->most);
    mode = "without the";
    for (long i = 1; i <= n; i += step)
        attempt(q, i, false);
    mode = "without all from";
    for (long i = 1; i <= n; i += step * 4)
        attempt(q, i, true);
    return n;
}

/* When nothing runs any more. */
static long settled(const request *q)
{
    mode = "without";
    for (int i = 0; i < 3; i++)
        attempt(q, 0, false);
    usleep(20000);
    return scarce_blocks();
}

/* A leak grows with each sweep; caches do not. */
static void check_request(const request *q)
{
    int before = test_failed;
    long n = sweep(q), blocks = settled(q);
    int files = open_files();
    sweep(q);
    long more = settled(q) - blocks;
    if (more > 0) {
        blocks = settled(q);
        sweep(q);
        more = settled(q) - blocks;
    }
    CHECK(more <= 0);
    CHECK(open_files() <= files);
    fprintf(stderr, "%-28s %6ld allocations%s", q->name, n, test_failed > before ? " FAILED\n" : "\n");
    if (more > 0)
        fprintf(stderr, "    %+ld blocks a sweep\n", more);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    scarce_init();
    scarce_spare_me();
    start_service();
    size_t n;
    request *all = requests_make(&n);
    for (size_t i = 0; i < n; i++) {
        bool wanted = argc < 2;
        for (int k = 1; k < argc; k++)
            wanted = wanted || !strncmp(all[i].name, argv[k], strlen(argv[k]));
        if (!wanted && !all[i].always)
            continue;
        client c;
        client_open(&c, port, all[i].http2);
        client_ask(&c, &all[i], &all[i].right);
        client_close(&c);
        if (!all[i].right.whole || !request_succeeded(&all[i], &all[i].right))
            say(&all[i], "does not succeed at all", &all[i].right);
        else if (all[i].most && wanted)
            check_request(&all[i]);
    }
    long sqlite = scarce_sqlite_bytes();
    CHECK(sqlite < 8 << 20);
    requests_free(all, n);
    stop_service();
    TEST_END();
}
