/* SPDX-License-Identifier: Apache-2.0 */
/*
 * isolate.c - compiling in a child process, which may crash or be killed.
 *
 * posix_spawn of a program of our own (worker.c): a fork of a threaded host
 * would inherit its locks.  The child gets the request and the model as
 * descriptors and answers over a socket: the story as bytes, the artifact as
 * its anonymous file.  It dies with the thread that waits for it, and is
 * always reaped here.  All descriptors of ours are close-on-exec, so other
 * children of the host do not keep them.
 */
#include "libcab/libcab_int.h"
#include "base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CAB_WORKER
#define CAB_WORKER "/usr/libexec/cabochon/cab-compile-worker"
#endif
enum { ASK_MS = 10,                        /* between two questions for cancellation */
       FREE_FD = 10 };
static const size_t MAX_ANSWER = (size_t)64 << 20;

typedef struct child {
    cab_job mem;
    cab_arena *arena;
    const cab_compiler *c;
    cab_opened *f;
    cab_diag *diag;
    int request, model, socket, far;       /* our descriptors; far: the child's end */
    pid_t pid;                             /* 0: none to reap */
    int status;                            /* of cab_child_reap */
    char *text;                            /* the answer so far, malloc'ed */
    size_t n, cap;
    int artifact;
} child;

/* ---- the program ---- */

/* Beside the host program, else installed. */
static const char *worker_path(child *w)
{
    return w->c->worker ? w->c->worker : cab_part(w->arena, "cab-compile-worker", X_OK, CAB_WORKER);
}

/* ---- what the child is given ---- */

/* A number above those the child uses, so that moving them does not collide. */
static int high(int fd) { return cab_fd_above(fd, FREE_FD); }

static int memory_file(const void *p, size_t n, cab_diag *d)
{
    int fd = cab_memfd("cabochon", n);
    if (fd >= 0 && cab_fd_write_at(fd, 0, p, n, d) != CAB_OK) {
        close(fd);
        return -1;
    }
    return high(fd);
}

static cab_status prepare(child *w)
{
    cab_buf b = cab_buf_on(w->arena);
    int pair[2];
    uint64_t parent = (uint64_t)getpid();
    cab_buf_bytes(&b, &parent, sizeof parent);
    cab_wire_put_request(&b, w->c, w->f);
    w->request = memory_file(b.p, b.n, w->diag);
    w->model = w->f->fd >= 0 ? fcntl(w->f->fd, F_DUPFD_CLOEXEC, FREE_FD)
                             : memory_file(w->f->map.p, w->f->map.n, w->diag);
    if (w->request < 0 || w->model < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return cab_fail(w->diag, CAB_EIO, NULL, "cannot prepare the compile worker: %s",
                        strerror(errno));
    w->socket = pair[0];
    w->far = high(pair[1]);
    return w->far >= 0 ? CAB_OK : cab_fail(w->diag, CAB_EIO, NULL, "too many open files");
}

static cab_status spawn(child *w)
{
    const char *path = worker_path(w);
    char *argv[] = { (char *)"cab-compile-worker", NULL };
    extern char **environ;
    const cab_child_fd fds[] = { { w->request, CAB_WORKER_REQUEST }, { w->model, CAB_WORKER_MODEL },
                                 { w->far, CAB_WORKER_SOCKET } };
    int rc = cab_child_start(&(cab_child){ .path = path, .argv = argv, .env = environ, .fds = fds, .n_fds = 3 },
                             &w->pid);
    close(w->far);
    w->far = -1;
    if (!rc)
        return CAB_OK;
    cab_fail(w->diag, rc == ENOMEM ? CAB_ENOMEM : CAB_EIO, NULL,
             "cannot start the compile worker %s: %s", path, strerror(rc));
    cab_note(w->diag, "it is installed with Cabochon; compile in this process without it");
    return rc == ENOMEM ? CAB_ENOMEM : CAB_EIO;
}

/* ---- the answer ---- */

static void take_descriptor(child *w, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        int fd;
        memcpy(&fd, CMSG_DATA(h), sizeof fd);
        if (w->artifact >= 0)
            close(w->artifact);
        w->artifact = fd;
    }
}

/* 1: more may come, 0: the end, -1: no memory. */
static int receive(child *w)
{
    union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 16 << 10;
        char *p = cap <= MAX_ANSWER ? realloc(w->text, cap) : NULL;
        if (!p)
            return -1;
        w->text = p;
        w->cap = cap;
    }
    struct iovec iov = { w->text + w->n, w->cap - w->n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                        .msg_controllen = sizeof control };
    ssize_t k = recvmsg(w->socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (k < 0)
        return errno == EAGAIN || errno == EINTR ? 1 : 0;
    take_descriptor(w, &m);
    w->n += (size_t)k;
    return k > 0;
}

static cab_status listen_to(child *w)
{
    for (;;) {
        struct pollfd p = { .fd = w->socket, .events = POLLIN };
        int ready = poll(&p, 1, ASK_MS);
        /* Asked first: what had been said when it ended is still to be read. */
        bool gone = ready <= 0 && cab_child_reap(&w->pid, &w->status, WNOHANG);
        int more = ready > 0 || gone ? receive(w) : 1;
        if (more < 0)
            return cab_fail(w->diag, CAB_ENOMEM, NULL, "no room for the compiler's answer");
        if (more == 0)
            return CAB_OK;
        if (gone) {
            while (receive(w) > 0 && poll(&p, 1, 0) > 0)
                ;
            return CAB_OK;
        }
        CAB_TRY(cab_cancel_check(&w->c->cancel, w->diag));
    }
}

/* Why there is no whole answer. */
static cab_status obituary(child *w)
{
    int s = w->status;
    if (s != -1 && WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL)
        cab_fail(w->diag, CAB_EINTERNAL, NULL,
                 "the compiler process was killed (signal 9): by an operator, or because the "
                 "machine ran out of memory");
    else if (s != -1 && WIFSIGNALED(s))
        cab_fail(w->diag, CAB_EINTERNAL, NULL,
                 "the compiler process died by signal %d (a bug in Cabochon or LLVM)",
                 WTERMSIG(s));
    else if (s != -1 && WIFEXITED(s))
        cab_fail(w->diag, CAB_EINTERNAL, NULL,
                 "the compiler process ended with status %d and without an answer",
                 WEXITSTATUS(s));
    else
        cab_fail(w->diag, CAB_EINTERNAL, NULL, "the compiler process ended without an answer");
    if (w->c->max_memory)
        cab_note(w->diag, "it may hold %zu bytes: perhaps it needs more", w->c->max_memory);
    return CAB_EINTERNAL;
}

/* Nobody can cut the file short under our mapping. */
static bool sound(int fd, uint64_t size)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    return !fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
           seals >= 0 && seals & F_SEAL_SHRINK;
}

static cab_status converse(child *w, cab_compiled *out)
{
    bool whole;
    cab_diag said;
    CAB_TRY(prepare(w));
    CAB_TRY(spawn(w));
    CAB_TRY(listen_to(w));
    if (w->pid)
        cab_child_reap(&w->pid, &w->status, 0);
    cab_diag_init(&said);
    cab_status s = cab_wire_get_answer(w->text ? w->text : "", w->n, out, &said, &whole);
    cab_diag_fini(&said);
    if (!whole)
        return obituary(w);
    cab_wire_get_answer(w->text, w->n, out, w->diag, &whole);
    if (s == CAB_OK && (w->artifact < 0 || !sound(w->artifact, out->size)))
        return cab_fail(w->diag, CAB_EINTERNAL, NULL, "the compiler process sent no artifact");
    return s;
}

static void end(child *w)
{
    if (w->pid) {
        kill(w->pid, SIGKILL);
        cab_child_reap(&w->pid, &w->status, 0);
    }
    int fds[] = { w->request, w->model, w->socket, w->far, w->artifact };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(w->text);
    cab_arena_destroy(w->arena);
}

cab_status cab_compile_isolated(const cab_compiler *c, cab_opened *f, cab_compiled *out,
                                cab_diag *d)
{
    child w = { .c = c, .f = f, .diag = d, .request = -1, .model = -1, .socket = -1, .far = -1,
                .artifact = -1 };
    cab_status s;
    if (c->n_custom) {
        cab_fail(d, CAB_EINVAL, NULL, "shape functions of custom operators live in this process "
                                      "and cannot be called from a compile worker");
        cab_note(d, "compile this model without isolate");
        return CAB_EINVAL;
    }
    w.arena = cab_arena_create(&w.mem);
    if (!w.arena)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    if (CAB_JOB_ENTER(&w.mem) == 0)
        s = converse(&w, out);
    else
        s = cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    if (s == CAB_OK) {
        out->fd = w.artifact;
        w.artifact = -1;
    } else {
        out->fd = -1;
    }
    end(&w);
    return s;
}
