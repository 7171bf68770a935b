/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root.h - the folder a server keeps its state in, and the lock that says whose it is.
 *
 *   ROOT/lock              held (flock) by the one server of this folder
 *   ROOT/tmp/              files in the making, where a file system has none without a name
 *   ROOT/blobs/sha256/     content-addressed files (blobs.h)
 *   ROOT/registry.db       what is registered (registry.h)
 */
#ifndef CAB_SERVE_ROOT_H
#define CAB_SERVE_ROOT_H
#include "base/diag.h"

typedef struct cab_root {
    char *path;                /* as given, without a slash at its end */
    int dir;                   /* ROOT, opened */
    int tmp;                   /* ROOT/tmp, opened */
    int lock;                  /* the locked file; see below */
    bool inherited;            /* from a predecessor, which may still write */
} cab_root;

/* Makes the folder when there is none (mode 0700), refuses one that others own
 * or may write to (it decides which code runs), takes the lock, removes what a
 * dead server left in tmp/.  CAB_ECONFLICT, with the process's number, when another
 * server has it.
 *
 * Hot restart: the successor gets the lock's descriptor (root->lock, by
 * posix_spawn's adddup2, or SCM_RIGHTS) and passes it as lock_fd; both hold the
 * lock until both have closed it, so it is never free in between.  Nothing is
 * removed then: the predecessor may be writing.  lock_fd is the root's on
 * success.  -1: take the lock. */
cab_status cab_root_open(const char *path, int lock_fd, cab_root *out, cab_diag *d);
/* Closes; never unlocks explicitly, for a successor may hold the same lock. */
void cab_root_close(cab_root *r);

#endif
