/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h - children that start with nothing of ours, and what a process knows and says of itself.
 *
 * Nothing here knows what a child is for.  Any thread may call anything; the limits are the whole process's.
 */
#ifndef CAB_BASE_PROCESS_H
#define CAB_BASE_PROCESS_H
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- children ---- */

typedef struct cab_child_fd { int from, to; } cab_child_fd;

typedef struct cab_child {
    const char *path;          /* of the program */
    char *const *argv, *const *env;    /* NULL ends each */
    const cab_child_fd *fds;   /* what it has as `to`, set in this order; from == to: stays where it is */
    int n_fds;
    bool apart;                /* no terminal: a process group of its own, 0 to 2 are /dev/null */
} cab_child;

/* Starts a program with no signal blocked and none ignored, whatever ours are.  posix_spawn, never fork: a
 * fork of a process with threads inherits their locks.  Of our descriptors it has those of fds and those that are
 * not close-on-exec; a `from` that is also the `to` of a row before it is lost: cab_fd_above.
 * 0, or an errno; *pid is 0 then. */
int cab_child_start(const cab_child *c, pid_t *pid);
/* waitpid with these flags.  True: it has ended, *pid is 0 now, and *status is waitpid's, or -1 where
 * somebody else has reaped it (SIGCHLD ignored). */
bool cab_child_reap(pid_t *pid, int *status, int flags);
/* The same file by a number from `least` on, close-on-exec; fd is closed.  -1: fd was, or there is none. */
int cab_fd_above(int fd, int least);

/* ---- this process ---- */

/* A file of the installation, by access(2)'s mode: beside this program, or one folder up (a build tree).
 * path, or NULL where there is none. */
const char *cab_process_neighbour(const char *name, int mode, char path[PATH_MAX]);
/* Bytes of address space and of memory in use now; 0 where the kernel does not tell. */
void cab_process_bytes(uint64_t *mapped, uint64_t *resident);
/* Bytes of memory that this process may ever have: the machine's, or less where a control group of it says so. */
uint64_t cab_process_memory(void);
/* Lets no more than these bytes be mapped beyond what is now; false: errno says why not. */
bool cab_process_limit_memory(uint64_t more);
/* Leaves no core, not even to a pipe; false: errno. */
bool cab_process_no_core(void);
/* Linux 6.12 and later: this thread runs soon after it is woken, for ns at a time, rather than late and long; its share
 * of the processor stays as it is.  Nothing happens to threads of other policies than SCHED_OTHER. */
void cab_thread_slice(int64_t ns);
/* SIGKILL when the thread that started this process ends.  0, an errno, or ESRCH: parent has gone already. */
int cab_process_die_with(pid_t parent);

#endif
