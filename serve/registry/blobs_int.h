/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blobs_int.h - the store's insides, for blobs.c and blobs_sweep.c.
 */
#ifndef CAB_SERVE_BLOBS_INT_H
#define CAB_SERVE_BLOBS_INT_H
#include "serve/registry/blobs.h"
#include <pthread.h>
#include <stdatomic.h>

struct cab_blobs {
    int tmp;                               /* ROOT/tmp, the root's */
    int dir;                               /* ROOT/blobs/sha256 */
    pthread_mutex_t mutex;                 /* a name that appears or is found again, against the
                                            * sweep that looks whether it is old */
    atomic_ullong made;                    /* for names in tmp/ */
};

/* "ab/abcd..." */
enum { CAB_BLOB_NAME = 3 + CAB_DIGEST_TEXT };
void cab_blob_name(const cab_digest *g, char out[CAB_BLOB_NAME]);

#endif
