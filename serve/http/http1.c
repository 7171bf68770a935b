/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.c - the head of a request: found, then parsed.
 *
 * The end of the head is looked for as bytes come (one memchr over each byte,
 * every LF must follow a CR); what it says is read once, when it is whole.  So
 * the bytes may move between calls and no verdict depends on how they came.
 * Runs of one class of characters need no bound: the head ends in CR LF, which
 * are in no class.
 */
#include <stddef.h>
#include "serve/http/http1_int.h"

static cab_http1_got refuse(cab_http1_head *h, int status, const char *why)
{
    h->status = status;
    h->why = why;
    return CAB_HTTP1_REFUSED;
}

/* For parsers that return how far they came. */
static char *bad(cab_http1_head *h, int status, const char *why)
{
    refuse(h, status, why);
    return NULL;
}

static char *run(char *c, int classes)
{
    while (cab_ch_is(*c, classes))
        c++;
    return c;
}

static cab_slice between(const char *from, const char *to)
{
    return (cab_slice){ from, (size_t)(to - from) };
}

/* ---- the end of the head ---- */

/* A line has ended at h->seen. */
static cab_http1_got line_end(cab_http1_head *h, const cab_http1_limits *lim, const char *p)
{
    size_t n = h->seen - h->line;
    if (n < 2 || p[h->seen - 2] != '\r')
        return refuse(h, 400, "a line ends in LF without CR");
    if (n == 2 && h->lines) {
        h->bytes = h->seen;
        return CAB_HTTP1_DONE;
    }
    /* One empty line before a request: some clients end a body with it. */
    if (n == 2 && h->line)
        return refuse(h, 400, "empty lines before the request");
    h->lines += n > 2;
    h->line = h->seen;
    if (h->lines > lim->fields + 1 || h->lines > CAB_HTTP1_MAX_FIELDS + 1)
        return refuse(h, 431, "too many fields");
    return CAB_HTTP1_MORE;
}

static cab_http1_got find_end(cab_http1_head *h, const cab_http1_limits *lim, const char *p, size_t n)
{
    size_t end = n < lim->head ? n : lim->head;
    /* What cannot become a request (TLS, say) is not waited for. */
    if (n && p[0] != '\r' && p[0] != '\n' && !cab_ch_is(p[0], CAB_CH_TOKEN))
        return refuse(h, 400, "not an HTTP request");
    while (h->seen < end) {
        const char *lf = memchr(p + h->seen, '\n', end - h->seen);
        h->seen = lf ? (size_t)(lf - p) + 1 : end;
        cab_http1_got got = lf ? line_end(h, lim, p) : CAB_HTTP1_MORE;
        if (got != CAB_HTTP1_MORE)
            return got;
    }
    if (end < lim->head)
        return CAB_HTTP1_MORE;
    return h->lines ? refuse(h, 431, "the head is too long")
                    : refuse(h, 414, "the request line is too long");
}

/* ---- the first line ---- */

static bool method_known(cab_slice m)
{
    static const char *const rows[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (cab_slice_is(m, rows[i]))
            return true;
    return false;
}

/* host, host:port, [address], [address]:port; no user, no empty host or port. */
static bool authority_ok(cab_slice a)
{
    size_t i = a.n && a.p[0] == '[', from = i;
    while (i < a.n && cab_ch_is(a.p[i], from ? CAB_CH_IPV6 : CAB_CH_HOST))
        i++;
    if (i == from || (from && (i == a.n || a.p[i++] != ']')))
        return false;
    if (i == a.n)
        return true;
    cab_slice port = { a.p + i + 1, a.n - i - 1 };
    return a.p[i] == ':' && port.n >= 1 && port.n <= 5 && cab_ch_all(port, CAB_CH_DIGIT);
}

static bool escapes_ok(cab_slice s)
{
    const char *end = s.p + s.n;
    for (const char *c = s.p; c < end && (c = memchr(c, '%', (size_t)(end - c))); c++)
        if (end - c < 3 || cab_ch_hex(c[1]) < 0 || cab_ch_hex(c[2]) < 0)
            return false;
    return true;
}

/* The path and query at c, up to the space behind the target. */
static bool path_and_query(cab_http1_head *h, char *c)
{
    char *from = c;
    c = run(c, CAB_CH_PATH);
    h->path = between(from, c);
    if (*c == '?') {
        from = c + 1;
        c = run(from, CAB_CH_QUERY);
        h->query = between(from, c);
    }
    return *c == ' ' && escapes_ok(h->path) && escapes_ok(h->query);
}

/* c starts with that lower-case text, in whatever case; the rest, or NULL. */
static char *after(char *c, const char *lower)
{
    for (; *lower; c++, lower++)
        if ((*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c) != *lower)
            return NULL;
    return c;
}

/* http://host/path?query */
static bool absolute_form(cab_http1_head *h, char *c)
{
    char *from = after(c, "http://");
    if (!from && !(from = after(c, "https://")))
        return false;
    for (c = from; *c != '/' && *c != '?' && *c != ' '; c++)
        ;
    h->authority = between(from, c);
    if (!authority_ok(h->authority) || !path_and_query(h, c))
        return false;
    if (h->path.n == 0)
        h->path = cab_slice_is(h->method, "OPTIONS") && !h->query.p ? CAB_SLICE("*") : CAB_SLICE("/");
    return true;
}

static bool target(cab_http1_head *h, char *c)
{
    if (*c == '/')
        return path_and_query(h, c);
    if (*c == '*') {
        h->path = between(c, c + 1);
        return c[1] == ' ' && cab_slice_is(h->method, "OPTIONS");
    }
    return absolute_form(h, c);
}

/* HTTP/1.0 or HTTP/1.1 and the end of the line; what follows it, or NULL. */
static char *version(cab_http1_head *h, char *c)
{
    static const char name[] = "HTTP/";
    for (size_t i = 0; i < sizeof name - 1; i++)
        if (*c++ != name[i])
            return bad(h, 400, "the request line does not end in a version");
    if (!cab_ch_is(c[0], CAB_CH_DIGIT) || c[1] != '.' || !cab_ch_is(c[2], CAB_CH_DIGIT) ||
        c[3] != '\r' || c[4] != '\n')
        return bad(h, 400, "the request line does not end in a version");
    if (c[0] != '1' || c[2] > '1')
        return bad(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    h->minor = c[2] - '0';
    return c + 5;
}

static char *request_line(cab_http1_head *h, const cab_http1_limits *lim, char *c)
{
    char *from = c;
    c = run(c, CAB_CH_TOKEN);
    h->method = between(from, c);
    if (!h->method.n || *c != ' ')
        return bad(h, 400, "the request line does not start with a method");
    from = ++c;
    c = run(c, CAB_CH_VISIBLE);
    h->target = between(from, c);
    if (!h->target.n || *c != ' ')
        return bad(h, 400, "the request line is not method, target, version");
    if (!(c = version(h, c + 1)))
        return NULL;
    if (!method_known(h->method))
        return bad(h, 501, "unknown method");
    if (h->target.n > lim->target)
        return bad(h, 414, "the target is too long");
    if (!target(h, from))
        return bad(h, 400, "the target is no path and no URL");
    return c;
}

/* ---- the fields that frame a request ---- */

typedef struct facts {
    cab_http1_head *h;
    const cab_http1_limits *lim;
    unsigned hosts, lengths, codings, expects;
    bool close, keep_alive;
} facts;

static bool host(facts *f, cab_slice v)
{
    if (f->hosts++ || !authority_ok(v))
        return bad(f->h, 400, f->hosts > 1 ? "more than one Host" : "Host is no host and port");
    if (!f->h->authority.n)
        f->h->authority = v;
    return true;
}

/* Digits of 10^19 - 1 at most, which cannot overflow. */
static bool content_length(facts *f, cab_slice v)
{
    if (f->lengths++)
        return bad(f->h, 400, "more than one Content-Length");
    if (v.n == 0 || v.n > 19 || !cab_ch_all(v, CAB_CH_DIGIT))
        return bad(f->h, 400, "Content-Length is no number");
    for (size_t i = 0; i < v.n; i++)
        f->h->length = f->h->length * 10 + (uint64_t)(v.p[i] - '0');
    return true;
}

static bool transfer_encoding(facts *f, cab_slice v)
{
    if (f->codings++)
        return bad(f->h, 400, "more than one Transfer-Encoding");
    if (!cab_ch_same(v, "chunked"))
        return bad(f->h, 501, "a transfer coding other than chunked");
    f->h->chunked = true;
    return true;
}

static bool is_space(char c) { return c == ' ' || c == '\t'; }

static bool connection(facts *f, cab_slice v)
{
    for (size_t i = 0; i < v.n; i++) {
        while (i < v.n && is_space(v.p[i]))
            i++;
        size_t from = i;
        while (i < v.n && cab_ch_is(v.p[i], CAB_CH_TOKEN))
            i++;
        cab_slice word = { v.p + from, i - from };
        f->close |= cab_ch_same(word, "close");
        f->keep_alive |= cab_ch_same(word, "keep-alive");
        while (i < v.n && is_space(v.p[i]))
            i++;
        if (i < v.n && v.p[i] != ',')
            return bad(f->h, 400, "Connection is no list of tokens");
    }
    return true;
}

/* To HTTP/1.0 an expectation means nothing (RFC 9110, 10.1.1). */
static bool expect(facts *f, cab_slice v)
{
    if (f->h->minor == 0)
        return true;
    if (f->expects++ || !cab_ch_same(v, "100-continue"))
        return bad(f->h, 417, "an expectation other than 100-continue");
    return true;
}

static bool framing_field(facts *f, const cab_http1_field *x)
{
    static const struct { cab_slice name; bool (*take)(facts *f, cab_slice v); } rows[] = {
        { { "host", 4 }, host },
        { { "expect", 6 }, expect },
        { { "connection", 10 }, connection },
        { { "content-length", 14 }, content_length },
        { { "transfer-encoding", 17 }, transfer_encoding },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].name.n == x->name.n && !memcmp(rows[i].name.p, x->name.p, x->name.n))
            return rows[i].take(f, x->value);
    return true;
}

/* What only the fields together say. */
static cab_http1_got conclude(facts *f)
{
    cab_http1_head *h = f->h;
    if (h->minor == 1 && !f->hosts)
        return refuse(h, 400, "no Host");
    if (f->codings && f->lengths)
        return refuse(h, 400, "both Content-Length and Transfer-Encoding");
    if (f->codings && h->minor == 0)
        return refuse(h, 400, "Transfer-Encoding in HTTP/1.0");
    if (h->length > f->lim->body)
        return refuse(h, 413, "the body is too long");
    h->keep_alive = !f->close && (h->minor == 1 || f->keep_alive);
    h->expect_continue = f->expects && (h->chunked || h->length);
    return CAB_HTTP1_DONE;
}

/* ---- fields ---- */

static char *no_field(cab_http1_head *h, const char *from, const char *c)
{
    if (is_space(*from))
        return bad(h, 400, "a folded line");
    if (c != from && is_space(*c))
        return bad(h, 400, "white space in or behind the name of a field");
    return bad(h, 400, c != from && *c == '\r' ? "a field without a colon"
                                               : "the name of a field is no token");
}

/* run(c, CAB_CH_VALUE), eight bytes at a time while there are so many before
 * end: a token or a cookie may be long. */
static char *run_value(char *c, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    for (; end - c >= 8; c += 8) {
        uint64_t v, del;
        memcpy(&v, c, 8);
        del = v ^ ones * 0x7f;
        /* A byte under 0x20, or one that is 0x7f. */
        if ((((v - ones * 0x20) & ~v) | ((del - ones) & ~del)) & tops)
            break;
    }
    return run(c, CAB_CH_VALUE);
}

/* One line of those before end; what follows it, or NULL. */
static char *field(cab_http1_head *h, cab_http1_field *f, char *c, const char *end)
{
    char *from = c;
    for (uint8_t low; (low = cab_ch_lower[(uint8_t)*c]) != 0; c++)
        *c = (char)low;
    if (c == from || *c != ':')
        return no_field(h, from, c);
    f->name = between(from, c++);
    while (is_space(*c))
        c++;
    from = c;
    c = run_value(c, end);
    if (c[0] != '\r' || c[1] != '\n')
        return bad(h, 400, "a control character in the value of a field");
    f->value = between(from, c);
    while (f->value.n && is_space(f->value.p[f->value.n - 1]))
        f->value.n--;
    return c + 2;
}

static cab_http1_got parse(cab_http1_head *h, const cab_http1_limits *lim, char *p)
{
    facts f = { .h = h, .lim = lim };
    char *last = p + h->bytes - 2;             /* the empty line */
    char *c = request_line(h, lim, p[0] == '\r' && p[1] == '\n' ? p + 2 : p);
    while (c && c < last) {
        cab_http1_field *x = &h->fields[h->n_fields++];
        if ((c = field(h, x, c, last)) && !framing_field(&f, x))
            c = NULL;
    }
    return c ? conclude(&f) : CAB_HTTP1_REFUSED;
}

void cab_http1_head_start(cab_http1_head *h)
{
    memset(h, 0, offsetof(cab_http1_head, fields));
}

cab_http1_got cab_http1_head_read(cab_http1_head *h, const cab_http1_limits *lim, char *p, size_t n)
{
    if (h->status)
        return CAB_HTTP1_REFUSED;
    cab_http1_got got = find_end(h, lim, p, n);
    return got == CAB_HTTP1_DONE ? parse(h, lim, p) : got;
}
