/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.h - HTTP/1.1 framing (RFC 9110, RFC 9112) as functions of bytes.
 *
 * Bytes in: heads of requests and data of bodies out.  Bytes out: heads of
 * answers.  No sockets, no clock, no heap (answers grow a cab_bytes), no state
 * but in the caller's structures: any thread, one structure at a time.
 *
 * Strict on purpose.  Where two servers may see different ends of one message
 * the request is refused: CRLF and nothing else ends a line, one Host, one
 * length, one way of saying it.  A refusal is an HTTP status and a static text
 * that may be sent; after it the connection is closed, since nobody knows where
 * the next request would start.  docs/design/serving.md has the rules.
 */
#ifndef CAB_SERVE_HTTP1_H
#define CAB_SERVE_HTTP1_H
#include <stdint.h>
#include "serve/bytes.h"

typedef enum cab_http1_got {
    CAB_HTTP1_MORE,            /* all bytes were looked at; give more */
    CAB_HTTP1_DATA,            /* bodies only: some bytes of it */
    CAB_HTTP1_DONE,            /* the end of the head, or of the body */
    CAB_HTTP1_REFUSED          /* status and why are set; stays so */
} cab_http1_got;

enum { CAB_HTTP1_MAX_FIELDS = 100, CAB_HTTP1_EXTENSIONS = 1024, CAB_HTTP1_TRAILERS = 4096 };

typedef struct cab_http1_limits {
    size_t head;               /* bytes of a whole head: 431, or 414 when its first line is not over */
    size_t target;             /* bytes of the target: 414 */
    size_t fields;             /* fields of a head, at most CAB_HTTP1_MAX_FIELDS: 431 */
    uint64_t body;             /* bytes of a body, its framing aside: 413 */
} cab_http1_limits;
#define CAB_HTTP1_LIMITS ((cab_http1_limits){ 16 << 10, 8 << 10, CAB_HTTP1_MAX_FIELDS, 64 << 20 })

/* ---- the head of a request ---- */

typedef struct cab_http1_field {
    cab_slice name;            /* lower case */
    cab_slice value;           /* without the white space around it; may hold bytes over 127 */
} cab_http1_field;

/* Set by CAB_HTTP1_DONE, status and why aside.  The slices lie in the bytes of
 * that call (path may be a literal "/"): valid while those stay where they are. */
typedef struct cab_http1_head {
    size_t bytes;              /* of the whole head: the body starts there */
    cab_slice method;          /* GET HEAD POST PUT PATCH DELETE OPTIONS; anything else is 501 */
    cab_slice target;          /* as it was sent */
    cab_slice path;            /* starts with '/', or is "*" (OPTIONS only); still encoded, escapes are whole */
    cab_slice query;           /* after '?'; still encoded; p is NULL without '?' */
    cab_slice authority;       /* of the target when it names one, else of Host; empty: HTTP/1.0 without */
    int minor;                 /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;           /* the client can send another request after this one */
    bool expect_continue;      /* it waits for CAB_HTTP1_CONTINUE before it sends its body */
    bool chunked;
    uint64_t length;           /* bytes of the body when it is not chunked */
    size_t n_fields;
    int status;                /* CAB_HTTP1_REFUSED: 400 413 414 417 431 501 505 */
    const char *why;
    size_t seen, line, lines;  /* private: looked at so far; start of the open line; lines before it */
    cab_http1_field fields[CAB_HTTP1_MAX_FIELDS];
} cab_http1_head;

/* Before each request. */
void cab_http1_head_start(cab_http1_head *h);
/* p[0..n) is what came since the end of the request before: each call has the
 * bytes of the last one, perhaps elsewhere in memory, and more behind them.
 * Bytes behind the head are not looked at.  Looks at each byte a bounded number
 * of times, however the bytes come; changes them (names to lower case) only
 * when the head is whole.  MORE, DONE or REFUSED; after DONE start again. */
cab_http1_got cab_http1_head_read(cab_http1_head *h, const cab_http1_limits *lim, char *p, size_t n);

/* ---- the body of a request ---- */

typedef struct cab_http1_body {
    uint64_t left;             /* private: data before the next framing */
    uint64_t room;             /* private: body that may still come */
    uint32_t extensions, trailers;
    uint8_t state, digits, n_name;
    char name[18];             /* private: of a trailer, as much of it as is needed */
    int status;                /* CAB_HTTP1_REFUSED: 400 413 431 */
    const char *why;
} cab_http1_body;

/* The body that follows this head; at most limit bytes. */
void cab_http1_body_start(cab_http1_body *b, const cab_http1_head *h, uint64_t limit);
/* Takes *used of the n bytes.  DATA: *data is a slice of p, call again with the
 * rest.  MORE: all were used.  DONE: the next request starts at p + *used (said
 * again when called again, also with n = 0: a request without a body).
 * Extensions of chunks (in all CAB_HTTP1_EXTENSIONS bytes) and trailers
 * (CAB_HTTP1_TRAILERS) are checked and dropped; one that would frame is refused. */
cab_http1_got cab_http1_body_read(cab_http1_body *b, const char *p, size_t n, size_t *used,
                                  cab_slice *data);

/* ---- targets ---- */

/* Splits a path at its slashes and decodes every segment on its own: %2F is a
 * byte of a segment.  "/a/" is "a" and "".  room has path.n bytes and holds what
 * out points to.  The number of segments, of which the first max are in out; or
 * -1 and *why: a bad escape, a control character, a segment "." or "..". */
int cab_http1_segments(cab_slice path, char *room, cab_slice *out, int max, const char **why);
/* The parameter of that name, decoded ('+' is a space) into room.  1, 0 when
 * there is none (*value is {NULL, 0}), or -1 and *why: said twice, longer than
 * the room, a bad escape, a control character. */
int cab_http1_param(cab_slice query, const char *name, char *room, size_t n_room,
                    cab_slice *value, const char **why);

/* ---- answers ---- */

#define CAB_HTTP1_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

typedef enum cab_http1_framing {
    CAB_HTTP1_LENGTH,          /* length bytes follow, or would, were it no answer to HEAD */
    CAB_HTTP1_NO_BODY          /* 1xx, 204, 304: no word about a body */
} cab_http1_framing;

typedef struct cab_http1_answer {
    int status;
    int minor;                 /* of the request */
    bool keep_alive;
    cab_http1_framing framing;
    uint64_t length;
    cab_slice date;            /* of cab_http_date; empty: no Date */
    cab_slice type;            /* Content-Type; empty: none */
    const cab_http1_field *extra;    /* not Content-Length, Transfer-Encoding, Connection */
    size_t n_extra;
} cab_http1_answer;

/* Appends the head.  False, and out as it was: a name that is no token, a
 * control character in a value, framing that the request's version or the
 * status cannot have, or out has failed. */
bool cab_http1_answer_write(cab_bytes *out, const cab_http1_answer *a);
/* "Not Found"; "Unknown" for a status without a row. */
const char *cab_http_reason(int status);
/* "Sun, 06 Nov 1994 08:49:37 GMT" of seconds since 1970; years 0 to 9999. */
enum { CAB_HTTP_DATE = 30 };
void cab_http_date(int64_t seconds, char out[CAB_HTTP_DATE]);

#endif
