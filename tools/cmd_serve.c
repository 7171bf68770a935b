/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_serve.c - cab serve, cab client: other programs, which stand beside this one.
 *
 * The server and its client link an event loop, TLS, HTTP/2 and SQLite; the
 * compiler's command does not.
 */
#include "tools/tool.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Becomes NAME: from the folder of this program, else by PATH. */
static int become(const char *name, char **argv)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    size_t room = slash ? (size_t)(path + sizeof path - slash - 1) : 0;
    argv[0] = (char *)(uintptr_t)name;
    if (slash && (size_t)snprintf(slash + 1, room, "%s", name) < room)
        execv(path, argv);
    execvp(name, argv);
    fprintf(stderr, "cab: cannot start %s: %s\n", name, strerror(errno));
    return 1;
}

int cmd_serve(int argc, char **argv)
{
    (void)argc;
    return become("cab-serve", argv);
}

int cmd_client(int argc, char **argv)
{
    (void)argc;
    return become("cab-client", argv);
}
