/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child.h - a model becomes an artifact, in a child process in a sandbox (tools/cab-build.c).
 *
 * The server reads no byte of the model.  What the child leaves is believed
 * only when it has ended and the artifact loads, every checksum of it compared.
 */
#ifndef CAB_SERVE_CHILD_H
#define CAB_SERVE_CHILD_H
#include "serve/bytes.h"
#include "serve/registry/blobs.h"

/* 0 and NULL are sensible, but for the model. */
typedef struct cab_build_order {
    cab_digest model;              /* a stored file */
    const char *name;              /* what the artifact says it is */
    const char *target;            /* NULL = this machine */
    int threads;                   /* compile threads; 0 = 1 */
    uint64_t max_memory;           /* of the compilation; 0 = 4 GiB */
    uint64_t max_artifact;         /* bytes; 0 = 1 GiB and twice the model */
    int seconds;                   /* by the clock; 0 = 600 */
    bool (*cancelled)(void *user); /* asked before it begins and each 10 ms: true = give up; NULL = never */
    void *cancel_user;
    const char *program;           /* NULL = cab-build beside this program, a folder up, or installed */
} cab_build_order;

typedef struct cab_build_result {
    cab_digest artifact;           /* stored */
    uint64_t bytes;
    cab_bytes io;                  /* io_json.h */
    cab_bytes warnings;            /* what the compiler said though it succeeded */
    double seconds;
} cab_build_result;
void cab_build_result_fini(cab_build_result *r);

/* Blocks until the child has ended; any thread, several at once.  Signals of
 * the process stay as they are; SIGCHLD may be ignored or handled, but whoever waits for
 * all children must leave this one alone.  A failure's story is the compiler's, or
 * says how the child ended (killed, too slow: CAB_EDEADLINE, cancelled:
 * CAB_ECANCELLED).  Nothing stays behind then.  r is filled in on success; fini it
 * in any case. */
cab_status cab_build_artifact(cab_blobs *b, const cab_build_order *o, cab_build_result *r, cab_diag *d);

#endif
