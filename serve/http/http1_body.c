/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_body.c - the body of a request: so many bytes, or chunks.
 *
 * A state for every place between two bytes, so pieces of any size do; data is
 * passed on as slices of the piece, never copied.
 */
#include "serve/http/http1_int.h"

enum { SIZE_DIGITS = 16 };     /* what a uint64_t holds */

enum state {
    S_PLAIN,                   /* left bytes, then the end */
    S_SIZE,                    /* digits of a chunk's size */
    S_EXTENSION,               /* behind the ';' of a chunk */
    S_SIZE_LF,
    S_DATA,                    /* left bytes, then CR LF */
    S_DATA_CR,
    S_DATA_LF,
    S_TRAILER,                 /* the start of a line behind the last chunk */
    S_TRAILER_NAME,
    S_TRAILER_VALUE,
    S_TRAILER_LF,
    S_END_LF,
    S_DONE
};

static bool refuse(cab_http1_body *b, int status, const char *why)
{
    b->status = status;
    b->why = why;
    return false;
}

static bool go(cab_http1_body *b, enum state s)
{
    b->state = (uint8_t)s;
    return true;
}

void cab_http1_body_start(cab_http1_body *b, const cab_http1_head *h, uint64_t limit)
{
    *b = (cab_http1_body){ .room = limit };
    if (!h->chunked && h->length > limit)
        refuse(b, 413, "the body is too long");
    b->left = h->chunked ? 0 : h->length;
    go(b, h->chunked ? S_SIZE : b->left ? S_PLAIN : S_DONE);
}

/* The digits of a size are over. */
static bool size_known(cab_http1_body *b, enum state next)
{
    if (!b->digits)
        return refuse(b, 400, "a chunk without a size");
    if (b->left > b->room)
        return refuse(b, 413, "the body is too long");
    b->room -= b->left;
    b->digits = 0;
    return go(b, next);
}

static bool size_byte(cab_http1_body *b, char c)
{
    int v = cab_ch_hex(c);
    if (c == '\r')
        return size_known(b, S_SIZE_LF);
    if (c == ';')
        return size_known(b, S_EXTENSION);
    if (v < 0 || b->digits == SIZE_DIGITS)
        return refuse(b, 400, "the size of a chunk is no hexadecimal number");
    b->digits++;
    b->left = b->left << 4 | (uint64_t)v;
    return true;
}

static bool extension_byte(cab_http1_body *b, char c)
{
    if (c == '\r')
        return go(b, S_SIZE_LF);
    if (!cab_ch_is(c, CAB_CH_VALUE))
        return refuse(b, 400, "a control character in a chunk's extension");
    return ++b->extensions <= CAB_HTTP1_EXTENSIONS || refuse(b, 400, "the extensions of chunks are too long");
}

/* The one byte that may stand here. */
static bool exactly(cab_http1_body *b, char c, char wanted, enum state next, const char *why)
{
    return c == wanted ? go(b, next) : refuse(b, 400, why);
}

/* The name of a trailer is over.  What frames may not come late (RFC 9110, 6.5.1):
 * we would drop it, but whoever stands before us may not. */
static bool trailer_known(cab_http1_body *b)
{
    static const char *const rows[] = { "content-length", "transfer-encoding", "host" };
    cab_slice name = { b->name, b->n_name };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (cab_ch_same(name, rows[i]))
            return refuse(b, 400, "a trailer that frames");
    b->n_name = 0;
    return go(b, S_TRAILER_VALUE);
}

static bool trailer_name_byte(cab_http1_body *b, char c)
{
    if (c == ':' && b->n_name)
        return trailer_known(b);
    if (!cab_ch_is(c, CAB_CH_TOKEN))
        return refuse(b, 400, "the name of a trailer is no token");
    if (b->n_name < sizeof b->name)
        b->name[b->n_name++] = c;
    return go(b, S_TRAILER_NAME);
}

static bool trailer_byte(cab_http1_body *b, char c)
{
    if (++b->trailers > CAB_HTTP1_TRAILERS)
        return refuse(b, 431, "the trailers are too long");
    switch (b->state) {
    case S_TRAILER:
        return c == '\r' ? go(b, S_END_LF) : trailer_name_byte(b, c);
    case S_TRAILER_NAME:
        return trailer_name_byte(b, c);
    default:
        if (c == '\r')
            return go(b, S_TRAILER_LF);
        return cab_ch_is(c, CAB_CH_VALUE) || refuse(b, 400, "a control character in a trailer");
    }
}

/* One byte of framing. */
static bool framing_byte(cab_http1_body *b, char c)
{
    static const char no_lf[] = "CR without LF", no_end[] = "a chunk is longer than its size";
    switch (b->state) {
    case S_SIZE: return size_byte(b, c);
    case S_EXTENSION: return extension_byte(b, c);
    case S_SIZE_LF: return exactly(b, c, '\n', b->left ? S_DATA : S_TRAILER, no_lf);
    case S_DATA_CR: return exactly(b, c, '\r', S_DATA_LF, no_end);
    case S_DATA_LF: return exactly(b, c, '\n', S_SIZE, no_lf);
    case S_TRAILER_LF: return exactly(b, c, '\n', S_TRAILER, no_lf);
    case S_END_LF: return exactly(b, c, '\n', S_DONE, no_lf);
    default: return trailer_byte(b, c);
    }
}

static cab_slice take(cab_http1_body *b, const char *p, size_t n)
{
    cab_slice s = { p, b->left < n ? (size_t)b->left : n };
    b->left -= s.n;
    if (!b->left)
        go(b, b->state == S_PLAIN ? S_DONE : S_DATA_CR);
    return s;
}

cab_http1_got cab_http1_body_read(cab_http1_body *b, const char *p, size_t n, size_t *used,
                                  cab_slice *data)
{
    size_t at = 0;
    *used = 0;
    *data = (cab_slice){ p, 0 };
    if (b->status)
        return CAB_HTTP1_REFUSED;
    for (; at < n && b->state != S_DONE; at++) {
        *used = at;
        if (b->state == S_PLAIN || b->state == S_DATA) {
            *data = take(b, p + at, n - at);
            *used += data->n;
            return CAB_HTTP1_DATA;
        }
        if (!framing_byte(b, p[at]))
            return CAB_HTTP1_REFUSED;
    }
    *used = at;
    return b->state == S_DONE ? CAB_HTTP1_DONE : CAB_HTTP1_MORE;
}
