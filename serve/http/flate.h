/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flate.h - gzip and deflate (RFC 1950 to 1952) as functions of bytes, by zlib.
 *
 * Both go on in pieces and ask after each whether to go on, so that a budget
 * holds for what comes out and a client that went away costs no more.  No state
 * but in the call: any thread.
 */
#ifndef CAB_SERVE_FLATE_H
#define CAB_SERVE_FLATE_H
#include "serve/bytes.h"

typedef enum cab_coding {
    CAB_CODING_NONE,           /* "identity" */
    CAB_CODING_GZIP,
    CAB_CODING_DEFLATE,        /* HTTP's and gRPC's: with the head and the sum of zlib */
    CAB_CODING_UNKNOWN
} cab_coding;

/* By its name, in any case; empty: NONE. */
cab_coding cab_coding_of(cab_slice name);
/* "gzip"; only of GZIP and DEFLATE. */
const char *cab_coding_name(cab_coding c);

typedef enum cab_flated {
    CAB_FLATED,
    CAB_FLATE_OVER,            /* more than `most` bytes would come out */
    CAB_FLATE_BROKEN,          /* not of that coding, a wrong sum, or something behind its end */
    CAB_FLATE_SHORT,           /* ends before its end */
    CAB_FLATE_STOPPED,         /* by more() */
    CAB_FLATE_MEMORY
} cab_flated;
/* n more bytes came out into `out` (0: none, but time went by); false: stop. */
typedef bool (*cab_flate_more)(void *user, size_t n);

/* All of `in` into `out` (empty before): at most `most` bytes.  gzip may have several members. */
cab_flated cab_inflate(cab_coding c, cab_slice in, size_t most, cab_bytes *out, cab_flate_more more, void *user);
/* `in` into `out` (empty before); false: not smaller by an eighth, stopped, or out of memory. */
bool cab_deflate(cab_coding c, cab_slice in, cab_bytes *out, cab_flate_more more, void *user);

/* ---- Accept-Encoding (RFC 9110, 12.5.3) ---- */
/* Weights in thousandths by coding; [UNKNOWN] is that of "*"; -1: not said. */
typedef struct cab_accepts { int weight[CAB_CODING_UNKNOWN + 1]; } cab_accepts;
void cab_accepts_init(cab_accepts *a);
/* One field's value; members without a form that is known say nothing. */
void cab_accepts_read(cab_accepts *a, cab_slice value);
/* What the client likes best of what we have: a coding before none of the same weight, gzip before deflate. */
cab_coding cab_accepts_best(const cab_accepts *a);

#endif
