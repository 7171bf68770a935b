/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_drive.h - bytes through serve/http/http1.h as a connection would do it.
 *
 * What stands before the open request is dropped, what comes is put behind it,
 * in a new block of the exact size each time: a slice that was kept, or a read
 * past the end, is seen by AddressSanitizer.
 */
#ifndef CAB_TESTS_HTTP1_DRIVE_H
#define CAB_TESTS_HTTP1_DRIVE_H
#include "serve/http/http1.h"

/* Bytes of the next piece, at least 1; left: how many there are. */
typedef size_t http1_piece(void *arg, size_t left);

typedef struct http1_seen {
    cab_bytes text;            /* a line per fact, whatever the pieces were */
    size_t used;               /* bytes of whole requests, or up to the refusal in a body */
    size_t requests;           /* whole ones */
    int status;                /* of the refusal */
    const char *why;
    bool open;                 /* the bytes ended inside a request */
    bool closed;               /* by a request without keep-alive: the rest was not looked at */
} http1_seen;

/* Requests until a refusal, the end of keep-alive, most of them or the end of
 * the bytes.  piece = NULL: one piece.  s->text is the caller's to free. */
void http1_drive(http1_seen *s, const char *p, size_t n, const cab_http1_limits *lim, size_t most,
                 http1_piece *piece, void *arg);
/* A head as request line and fields again. */
void http1_drive_again(cab_bytes *out, const cab_http1_head *h);

#endif
