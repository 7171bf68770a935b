/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.c - listening sockets, and their way to a successor.
 *
 * CAB_SERVE_INHERIT says what a successor has: "PID LOCK FD=OPTION:ADDR:PORT ...", the
 * predecessor's number, the lock's descriptor, and each socket with the option and the text it was opened by; FD+= where
 * a server opened it and nobody else has it.
 */
#include "serve/listen.h"
#include "base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define INHERIT "CAB_SERVE_INHERIT"
enum { BACKLOG = 4096, SYSTEMD_FIRST = 3 };

/* ---- what a predecessor left ---- */

/* Nobody else has that variable: what it names was handed over, also when whoever did it has died meanwhile. */
int cab_inherited_lock(void)
{
    const char *text = getenv(INHERIT);
    int pid, lock;
    return text && sscanf(text, "%d %d", &pid, &lock) == 2 && fcntl(lock, F_GETFD) >= 0 ? lock : -1;
}

int cab_predecessor(void)
{
    const char *text = getenv(INHERIT);
    int pid;
    return text && sscanf(text, "%d", &pid) == 1 && pid == getppid() ? pid : 0;
}

void cab_tell_predecessor(void)
{
    int pid = cab_predecessor();
    if (pid)
        kill(pid, SIGTERM);
}

/* The next socket of the predecessor's, from *at on: its descriptor, whether servers alone have it, and its
 * OPTION:ADDR:PORT; -1: no more. */
static int next_inherited(const char **at, bool *own, cab_slice *where)
{
    const char *equals = *at ? strchr(*at, '=') : NULL;
    if (!equals)
        return -1;
    *own = equals > *at && equals[-1] == '+';
    const char *digits = equals - *own;
    while (digits > *at && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    *where = (cab_slice){ equals + 1, strcspn(equals + 1, " ") };
    *at = where->p + where->n;
    return atoi(digits);
}

static const char *inherited_text(void)
{
    return cab_inherited_lock() >= 0 ? getenv(INHERIT) : NULL;
}

static bool is_same(cab_slice name, const cab_socket *k)
{
    size_t n = strlen(k->option);
    return name.n > n && name.p[n] == ':' && !memcmp(name.p, k->option, n) &&
           cab_slice_is((cab_slice){ name.p + n + 1, name.n - n - 1 }, k->where);
}

/* All that a predecessor has like k (one, or one for each of its loops), with k->own as its; how many. */
static int inherited(cab_socket *k, int fd[CAB_SOCKETS_MAX])
{
    const char *at = inherited_text();
    cab_slice name;
    bool own;
    int n = 0;
    for (int next; n < CAB_SOCKETS_MAX && (next = next_inherited(&at, &own, &name)) >= 0;)
        if (is_same(name, k)) {
            fd[n++] = next;
            k->own = own;
        }
    return n;
}

static bool is_kept(const cab_service *s, int fd)
{
    for (int i = 0; i < s->n_sockets; i++)
        if (s->sockets[i].fd == fd)
            return true;
    return false;
}

/* Sockets that nobody would take connections from any more: clients would wait in them. */
static void close_unclaimed(const cab_service *s)
{
    const char *at = inherited_text();
    cab_slice name;
    bool own;
    for (int fd; (fd = next_inherited(&at, &own, &name)) >= 0;)
        if (!is_kept(s, fd))
            close(fd);
}

/* systemd's sockets come in the order of the options. */
static int activated(int i)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    return pid && n && atoi(pid) == getpid() && i < atoi(n) ? SYSTEMD_FIRST + i : -1;
}

/* ---- opening ---- */

static cab_status resolve(const char *where, struct addrinfo **out, cab_diag *d)
{
    const char *colon = strrchr(where, ':');
    char host[256];
    size_t n = colon ? (size_t)(colon - where) : 0;
    const struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    if (!colon || n >= sizeof host)
        return cab_fail(d, CAB_EINVAL, NULL, "'%s' is not ADDR:PORT", where);
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 || atoi(colon + 1) > 65535 || !colon[1])
        return cab_fail(d, CAB_EINVAL, NULL, "cannot listen on %s: a port is a number up to 65535", where);
    bool brackets = n >= 2 && where[0] == '[' && where[n - 1] == ']';
    memcpy(host, where + brackets, n - 2 * brackets);
    host[n - 2 * brackets] = 0;
    int rc = getaddrinfo(*host ? host : NULL, colon + 1, &want, out);
    return rc ? cab_fail(d, CAB_EINVAL, NULL, "cannot listen on %s: %s", where, gai_strerror(rc)) : CAB_OK;
}

/* One of `several` for a port; like: the first of them (its port 0 became a number), or -1. */
static cab_status open_socket(const char *where, bool several, int like, int *out, cab_diag *d)
{
    struct addrinfo *a;
    struct sockaddr_storage first;
    socklen_t n = sizeof first;
    CAB_TRY(resolve(where, &a, d));
    bool again = like >= 0 && !getsockname(like, (struct sockaddr *)&first, &n);
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    bool fine = fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) &&
                (!several || !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one)) &&
                !(again ? bind(fd, (struct sockaddr *)&first, n) : bind(fd, a->ai_addr, a->ai_addrlen)) &&
                !listen(fd, BACKLOG);
    int error = errno;
    freeaddrinfo(a);
    *out = fd;
    if (fine)
        return CAB_OK;
    if (fd >= 0)
        close(fd);
    cab_fail(d, CAB_EIO, NULL, "cannot listen on %s: %s", where, strerror(error));
    if (error == EADDRINUSE)
        cab_note(d, "another program, or another server, has that port: choose another by --listen");
    return CAB_EIO;
}

static cab_status keep(cab_service *s, cab_socket k, int fd, cab_diag *d)
{
    if (s->n_sockets == CAB_SOCKETS_MAX) {
        close(fd);
        return cab_fail(d, CAB_ELIMIT, NULL, "more than %d listening sockets", CAB_SOCKETS_MAX);
    }
    k.fd = fd;
    s->sockets[s->n_sockets++] = k;
    return CAB_OK;
}

/* One text of the options, for n loops from l on. */
static cab_status listen_on(cab_service *s, cab_socket like, cab_loop *l, int n, int *order, cab_diag *d)
{
    int fd[CAB_SOCKETS_MAX], k = inherited(&like, fd), opened = 0;
    if (!k && (fd[0] = activated(*order)) >= 0)
        k = 1;
    ++*order;
    for (int i = 0; i < k; i++) {
        fcntl(fd[i], F_SETFD, FD_CLOEXEC);
        fcntl(fd[i], F_SETFL, fcntl(fd[i], F_GETFL) | O_NONBLOCK);
        CAB_TRY(keep(s, like, fd[i], d));
    }
    for (; !k && opened < n && opened < CAB_SOCKETS_MAX; opened++) {
        like.own = true;
        CAB_TRY(open_socket(like.where, n > 1, opened ? fd[0] : -1, &fd[opened], d));
        CAB_TRY(keep(s, like, fd[opened], d));
    }
    k += opened;
    for (int i = 0; i < k || i < n; i++)      /* each loop has a socket, each socket a loop */
        CAB_TRY(cab_loop_listen(&l[i % n], fd[i % k], !strcmp(like.scheme, "https"), d));
    return CAB_OK;
}

static bool is_loopback(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    const struct sockaddr_in *four = (const void *)&a;
    const struct sockaddr_in6 *six = (const void *)&a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) || (a.ss_family != AF_INET && a.ss_family != AF_INET6))
        return true;                       /* a socket in the file system, by a manager */
    if (a.ss_family == AF_INET)
        return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) || (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/* Whoever reaches such a port may register models and run them. */
static void warn_of_open_ports(const cab_service *s)
{
    const cab_options *o = &s->o;
    for (int i = 0; !*o->tokens && i < s->n_sockets; i++) {
        const cab_socket *k = &s->sockets[i];
        bool again = i && k->where == k[-1].where, proven = !strcmp(k->option, "tls") && *o->tls_client_ca;
        if (!again && !proven && strcmp(k->option, "health") && !is_loopback(k->fd))
            cab_journal_say(s->journal, "warning", "open to all", "%s can be reached from other machines, and without --tokens whoever "
                            "reaches it may do everything", k->where);
    }
}

cab_status cab_listen_all(cab_service *s, cab_diag *d)
{
    const cab_options *o = &s->o;
    cab_loop *l = s->server.loops;
    int n = s->server.n_loops, order = 0;
    for (int i = 0; i < o->listen.n; i++)
        CAB_TRY(listen_on(s, (cab_socket){ o->listen.at[i], "listen", "http", -1, false }, l, n, &order, d));
    for (int i = 0; i < o->listen_tls.n; i++)
        CAB_TRY(listen_on(s, (cab_socket){ o->listen_tls.at[i], "tls", "https", -1, false }, l, n, &order, d));
    if (o->listen_health.n) {
        CAB_TRY(cab_loop_init(&s->health, &s->server, d));
        s->has_health = true;
    }
    for (int i = 0; i < o->listen_health.n; i++)
        CAB_TRY(listen_on(s, (cab_socket){ o->listen_health.at[i], "health", "http", -1, false }, &s->health, 1, &order, d));
    close_unclaimed(s);
    warn_of_open_ports(s);
    return CAB_OK;
}

/* A filter that lets no packet in: the queue grows no more.  Who comes now tries again after a second, and is told then. */
void cab_listen_seal(const cab_service *s)
{
    struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
    const struct sock_fprog program = { 1, nothing };
    bool alone = atomic_load(&s->successor) <= 0 && !cab_predecessor();
    for (int i = 0; alone && i < s->n_sockets; i++)
        if (s->sockets[i].own && strcmp(s->sockets[i].option, "health"))
            setsockopt(s->sockets[i].fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void cab_listen_close(cab_service *s, bool health)
{
    int kept = 0;
    for (int i = 0; i < s->n_sockets; i++)
        if (health || strcmp(s->sockets[i].option, "health"))
            close(s->sockets[i].fd);
        else
            s->sockets[kept++] = s->sockets[i];
    s->n_sockets = kept;
}

void cab_listen_describe(const cab_service *s, cab_bytes *b)
{
    for (int i = 0; i < s->n_sockets; i++) {
        struct sockaddr_storage a;
        socklen_t n = sizeof a;
        char host[NI_MAXHOST], port[NI_MAXSERV];
        bool again = i && s->sockets[i].where == s->sockets[i - 1].where;      /* another loop's */
        if (again || getsockname(s->sockets[i].fd, (struct sockaddr *)&a, &n) ||
            getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
            continue;
        bool six = a.ss_family == AF_INET6;
        cab_bytes_printf(b, "%s%s://%s%s%s:%s", b->n ? " " : "", s->sockets[i].scheme, six ? "[" : "", host,
                         six ? "]" : "", port);
    }
}

/* ---- handing over ---- */

static cab_status inherit_text(const cab_service *s, cab_bytes *b, cab_diag *d)
{
    cab_bytes_printf(b, INHERIT "=%d %d", (int)getpid(), s->root.lock);
    for (int i = 0; i < s->n_sockets; i++)
        cab_bytes_printf(b, " %d%s=%s:%s", s->sockets[i].fd, s->sockets[i].own ? "+" : "", s->sockets[i].option,
                         s->sockets[i].where);
    cab_bytes_cstr(b);
    return b->failed ? cab_fail(d, CAB_ENOMEM, NULL, "out of memory") : CAB_OK;
}

/* The environment with one text more; malloc'ed. */
static char **environment_with(char *text)
{
    extern char **environ;
    size_t n = 0, to = 0;
    while (environ[n])
        n++;
    char **all = calloc(n + 2, sizeof *all);
    for (size_t i = 0; all && i < n; i++)
        if (strncmp(environ[i], INHERIT "=", sizeof INHERIT))
            all[to++] = environ[i];
    if (all)
        all[to] = text;
    return all;
}

cab_status cab_hand_over(cab_service *s, const char *program, char **argv, cab_diag *d)
{
    if (atomic_load(&s->successor) > 0)
        return cab_fail(d, CAB_EINVAL, NULL, "a successor is starting already (process %d)", (int)atomic_load(&s->successor));
    if (!cab_service_serves(s))
        return cab_fail(d, CAB_EINVAL, NULL, "this process is itself a successor that does not serve yet");
    cab_bytes text = { 0 };
    cab_child_fd fds[CAB_SOCKETS_MAX + 1] = { { s->root.lock, s->root.lock } };
    pid_t pid = 0;
    for (int i = 0; i < s->n_sockets; i++)
        fds[i + 1] = (cab_child_fd){ s->sockets[i].fd, s->sockets[i].fd };
    CAB_TRY(inherit_text(s, &text, d));
    char **env = environment_with(text.p);
    int rc = env ? cab_child_start(&(cab_child){ .path = program, .argv = argv, .env = env, .fds = fds,
                                                 .n_fds = s->n_sockets + 1 }, &pid)
                 : ENOMEM;
    free(env);
    cab_bytes_fini(&text);
    atomic_store(&s->successor, rc ? 0 : (int)pid);
    return rc ? cab_fail(d, CAB_EIO, NULL, "cannot start a successor, %s: %s", program, strerror(rc)) : CAB_OK;
}
