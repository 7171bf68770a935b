/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.c - one datagram to the service manager.
 */
#include "serve/notify.h"
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or '@' and an abstract name.  0: such a name cannot be. */
static socklen_t address_of(const char *name, struct sockaddr_un *a)
{
    size_t n = strlen(name);
    if ((*name != '/' && *name != '@') || n < 2 || n >= sizeof a->sun_path)
        return 0;
    *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(a->sun_path, name, n);
    if (*name == '@')
        a->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*name == '/'));
}

/* 0 or an errno. */
static int tell(const char *name, const char *text, size_t n)
{
    struct sockaddr_un a;
    socklen_t k = address_of(name, &a);
    int fd = k ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1, error = k ? 0 : EINVAL;
    if (!error && (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ 1, 0 }, sizeof(struct timeval)) ||
                   sendto(fd, text, n, MSG_NOSIGNAL, (struct sockaddr *)&a, k) < 0))
        error = errno;
    if (fd >= 0)
        close(fd);
    return error;
}

void cab_notify(cab_journal *j, const char *fmt, ...)
{
    const char *name = getenv("NOTIFY_SOCKET");
    char text[256];
    va_list ap;
    if (!name)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int error = n > 0 && (size_t)n < sizeof text ? tell(name, text, (size_t)n) : EMSGSIZE;
    if (error)
        cab_journal_say(j, "warning", "service manager", "cannot be told %.*s: %s", (int)strcspn(text, "\n"), text, strerror(error));
}

void cab_notify_reloading(cab_journal *j)
{
    cab_notify(j, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(cab_now_ns() / 1000));
}
