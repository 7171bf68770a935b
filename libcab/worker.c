/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - the program cab-compile-worker: one compilation for a host.
 *
 * Started by isolate.c with the request on descriptor 3, the model on 4 and
 * the answer's socket on 5.  Limits its own memory, leaves no core file, and
 * dies with the host.
 */
#include "libcab/libcab_int.h"
#include "base/process.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a compilation may hold, on top of programs and the mapped model. */
static void limit_memory(const cab_compiler *c, const cab_opened *f)
{
    const uint64_t libraries = (uint64_t)512 << 20;     /* LLVM is mapped later */
    if (c->max_memory)
        cab_process_limit_memory(libraries + f->map.n + c->max_memory);
}

static void die_by(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

static bool send_all(const cab_buf *b, int fd)
{
    union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
    struct iovec iov = { b->p, b->n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
    }
    while (iov.iov_len) {
        ssize_t k = sendmsg(CAB_WORKER_SOCKET, &m, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        iov.iov_base = (char *)iov.iov_base + k;
        iov.iov_len -= (size_t)k;
        m.msg_control = NULL;
        m.msg_controllen = 0;
    }
    return true;
}

static cab_status serve(cab_arena *a, cab_compiled *r, cab_diag *d)
{
    cab_mapping q;
    cab_compiler c;
    uint64_t parent;
    cab_opened f = { .fd = CAB_WORKER_MODEL };
    CAB_TRY(cab_fd_map(CAB_WORKER_REQUEST, "request", &q, d));
    if (q.n < sizeof parent)
        return cab_fail(d, CAB_EINTERNAL, NULL, "no request");
    memcpy(&parent, q.p, sizeof parent);
    cab_process_no_core();
    if (cab_process_die_with((pid_t)parent))
        _exit(1);
    CAB_TRY(cab_wire_get_request(a, q.p + sizeof parent, q.n - sizeof parent, &c, &f, d));
    CAB_TRY(cab_opened_map(&f, d));
    limit_memory(&c, &f);
    if (c.test_signal)
        die_by(c.test_signal);
    return cab_compile_here(&c, &f, r, d);
}

int main(void)
{
    cab_job job = { 0 };
    cab_diag d;
    cab_status s;
    cab_compiled r = { .fd = -1 };
    cab_arena *a = cab_arena_create(&job);
    cab_diag_init(&d);
    if (!a || CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    s = serve(a, &r, &d);
    cab_buf b = cab_buf_on(a);
    cab_wire_put_answer(&b, s, &r, &d);
    bool sent = send_all(&b, s == CAB_OK ? r.fd : -1);
    if (r.fd >= 0)
        close(r.fd);
    cab_arena_destroy(a);
    cab_diag_fini(&d);
    return sent ? EXIT_SUCCESS : EXIT_FAILURE;
}
