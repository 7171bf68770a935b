/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - a process gives up what a compilation does not need.
 *
 * For a program with one thread that has its files open and its libraries
 * loaded, and is about to read bytes of a stranger.
 */
#ifndef CAB_TOOLS_SANDBOX_H
#define CAB_TOOLS_SANDBOX_H
#include "base/diag.h"
#include <stdint.h>
#include <sys/types.h>

typedef struct cab_sandbox {
    int last_fd;               /* descriptors above it are closed */
    pid_t parent;              /* to die with; 0 = nobody */
    uint64_t max_address;      /* bytes that may be mapped beyond what is now; 0 = no limit */
    uint64_t max_file;         /* size of a file that is written; 0 = no limit */
    unsigned max_cpu_s;        /* processor seconds of the process; 0 = no limit */
    int threads;               /* more than 1: it may start threads */
    bool libraries;            /* the system's libraries may be read and mapped to be run */
} cab_sandbox;

/* Limits (RLIMIT_AS, CPU, FSIZE, NOFILE, no core), PR_SET_PDEATHSIG, no_new_privs, then
 * Landlock (no file, but for what `libraries` opens; no TCP; no
 * signals to others) and seccomp: a list of what is allowed, everything else gets EPERM, and what only
 * an attack would ask for (another program, tracing, kernel modules) ends the process by SIGSYS.
 * No new memory becomes executable unless `libraries`.
 * Where the kernel has no Landlock: a warning in d, and seccomp refuses to open files
 * by itself unless `libraries` needs it.  Anything else that cannot be had is
 * a failure: the caller must not go on. */
cab_status cab_sandbox_enter(const cab_sandbox *s, cab_diag *d);

#endif
