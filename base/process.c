/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - posix_spawn, waitpid, /proc/self and limits.
 */
#include "base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- children ---- */

static int actions_of(const cab_child *c, posix_spawn_file_actions_t *fa)
{
    int rc = 0;
    for (int fd = 0; c->apart && !rc && fd < 3; fd++)
        rc = posix_spawn_file_actions_addopen(fa, fd, "/dev/null", O_RDWR, 0);
    /* A descriptor moved onto itself loses its close-on-exec flag. */
    for (int i = 0; !rc && i < c->n_fds; i++)
        rc = posix_spawn_file_actions_adddup2(fa, c->fds[i].from, c->fds[i].to);
    return rc;
}

static int attributes_of(const cab_child *c, posix_spawnattr_t *at)
{
    sigset_t none, all;
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (c->apart ? POSIX_SPAWN_SETPGROUP : 0);
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int rc = posix_spawnattr_setsigmask(at, &none);
    rc = rc ? rc : posix_spawnattr_setsigdefault(at, &all);
    rc = rc ? rc : posix_spawnattr_setpgroup(at, 0);
    return rc ? rc : posix_spawnattr_setflags(at, (short)flags);
}

int cab_child_start(const cab_child *c, pid_t *pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    *pid = 0;
    int rc = posix_spawn_file_actions_init(&fa);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&at);
    if (!rc) {
        rc = actions_of(c, &fa);
        rc = rc ? rc : attributes_of(c, &at);
        rc = rc ? rc : posix_spawn(pid, c->path, &fa, &at, c->argv, c->env);
        posix_spawnattr_destroy(&at);
    }
    posix_spawn_file_actions_destroy(&fa);
    if (rc)
        *pid = 0;
    return rc;
}

bool cab_child_reap(pid_t *pid, int *status, int flags)
{
    pid_t r;
    do
        r = waitpid(*pid, status, flags);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return false;
    if (r < 0)
        *status = -1;
    *pid = 0;
    return true;
}

int cab_fd_above(int fd, int least)
{
    int up = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, least);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return up;
}

/* ---- this process ---- */

const char *cab_process_neighbour(const char *name, int mode, char path[PATH_MAX])
{
    size_t bytes = strlen(name) + 1;
    ssize_t n = bytes < PATH_MAX ? readlink("/proc/self/exe", path, PATH_MAX - bytes) : -1;
    for (int up = 0; up < 2 && n > 0; up++) {
        while (n > 0 && path[n - 1] != '/')
            n--;
        memcpy(path + n, name, bytes);
        if (!access(path, mode))
            return path;
        n--;
    }
    return NULL;
}

void cab_process_bytes(uint64_t *mapped, uint64_t *resident)
{
    unsigned long long size = 0, in_memory = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &size, &in_memory) != 2)
        size = in_memory = 0;
    if (f)
        fclose(f);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *mapped = size * page;
    *resident = in_memory * page;
}

/* A number in the first line of a file, or `most` where it is larger or there is none ("max"). */
static uint64_t number_in(const char *path, uint64_t most)
{
    unsigned long long v = 0;
    FILE *f = fopen(path, "re");
    bool found = f && fscanf(f, "%llu", &v) == 1;
    if (f)
        fclose(f);
    return found && v < most ? v : most;
}

/* Of a line of /proc/self/cgroup: "0::PATH" (version 2) or "N:memory:PATH" (version 1); each folder above may say less. */
static uint64_t group_memory(char *line, uint64_t most)
{
    char path[PATH_MAX];
    char *kind = strchr(line, ':'), *group = kind ? strchr(kind + 1, ':') : NULL;
    bool second = !strncmp(line, "0::", 3);
    if (!group || (!second && strncmp(kind, ":memory:", 8)))
        return most;
    group++;
    group[strcspn(group, "\n")] = 0;
    for (char *end = group + strlen(group);; *end = 0) {
        int n = snprintf(path, sizeof path, second ? "/sys/fs/cgroup%s/memory.max" : "/sys/fs/cgroup/memory%s/memory.limit_in_bytes", group);
        most = n > 0 && (size_t)n < sizeof path ? number_in(path, most) : most;
        end = strrchr(group, '/');
        if (!end)
            return most;
    }
}

uint64_t cab_process_memory(void)
{
    char line[PATH_MAX];
    uint64_t most = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f))
        most = group_memory(line, most);
    if (f)
        fclose(f);
    return most;
}

bool cab_process_limit_memory(uint64_t more)
{
    uint64_t mapped, resident;
    cab_process_bytes(&mapped, &resident);
    return !setrlimit(RLIMIT_AS, &(struct rlimit){ mapped + more, mapped + more });
}

bool cab_process_no_core(void)
{
    /* 1: the kernel's way to say "no core, not even to a pipe". */
    return !setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 });
}

int cab_process_die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return errno;
    return getppid() == parent ? 0 : ESRCH;
}

void cab_thread_slice(int64_t ns)
{
    /* struct sched_attr, whose header is at odds with libc's */
    struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; } a;
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) || a.policy != SCHED_OTHER)
        return;
    a.runtime = (uint64_t)ns;
    syscall(SYS_sched_setattr, 0, &a, 0);
}
