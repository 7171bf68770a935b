/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http1.c - HTTP/1.1 framing: heads, bodies, targets, answers.
 * (tests/test_http1_table.c has what must be refused.)
 */
#include "serve/http/http1.h"
#include "tests/test.h"

static const cab_http1_limits limits = CAB_HTTP1_LIMITS;

/* ---- heads ---- */

static cab_http1_head head;
static char text[1 << 16];

static cab_http1_got read_with(const cab_http1_limits *lim, const char *s)
{
    snprintf(text, sizeof text, "%s", s);
    cab_http1_head_start(&head);
    return cab_http1_head_read(&head, lim, text, strlen(s));
}

#define IS(slice, s) CHECK(cab_slice_is((slice), (s)))

static void check_head(void)
{
    const char *s = "POST /v2/models/a%2Fb/infer?trace=1&x=%20 HTTP/1.1\r\nHost: h:80\r\nX-Thing: a\r\n"
                    "CONTENT-length: 12\r\nx-thing:\tb \r\nExpect: 100-continue\r\n\r\nbody";
    CHECK_EQ(read_with(&limits, s), CAB_HTTP1_DONE);
    CHECK_EQ(head.bytes, strlen(s) - 4);
    IS(head.method, "POST");
    IS(head.target, "/v2/models/a%2Fb/infer?trace=1&x=%20");
    IS(head.path, "/v2/models/a%2Fb/infer");
    IS(head.query, "trace=1&x=%20");
    IS(head.authority, "h:80");
    CHECK(head.keep_alive && head.expect_continue && !head.chunked && head.minor == 1);
    CHECK_EQ(head.length, 12);
    CHECK_EQ(head.n_fields, 5);
    IS(head.fields[2].name, "content-length");
}

static void check_forms(void)
{
    CHECK_EQ(read_with(&limits, "GET http://Example:80?q HTTP/1.1\r\nHost: other\r\n\r\n"), CAB_HTTP1_DONE);
    IS(head.path, "/");
    IS(head.query, "q");
    IS(head.authority, "Example:80");
    CHECK_EQ(read_with(&limits, "GET https://[::1]/a HTTP/1.1\r\nHost: other\r\n\r\n"), CAB_HTTP1_DONE);
    IS(head.path, "/a");
    CHECK(!head.query.p);
    IS(head.authority, "[::1]");
    CHECK_EQ(read_with(&limits, "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"), CAB_HTTP1_DONE);
    IS(head.path, "*");
    CHECK_EQ(read_with(&limits, "GET /? HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), CAB_HTTP1_DONE);
    CHECK(head.query.p && head.query.n == 0 && !head.authority.n && !head.keep_alive);
    CHECK(!head.expect_continue);
    CHECK_EQ(read_with(&limits, "GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"), CAB_HTTP1_DONE);
    CHECK(!head.expect_continue);              /* nothing to wait for */
}

static void check_refusals(void)
{
    static const struct { const char *field; int status; } rows[] = {
        { "Host: a:123456", 400 }, { "Host: a:", 400 }, { "Host: []", 400 }, { "Host: [::1]x", 400 },
        { "Host: a%41", 400 }, { "Host: a\r\nExpect: 100-continue\r\nExpect: 100-continue", 417 },
        { "Host: a\r\nContent-Length: 67108865", 413 }, { "Host: a\r\nConnection: close keep", 400 },
        { "Host: a\r\nConnection: (close)", 400 },
    };
    char s[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(s, sizeof s, "GET / HTTP/1.1\r\n%s\r\n\r\n", rows[i].field);
        CHECK_EQ(read_with(&limits, s), CAB_HTTP1_REFUSED);
        CHECK_EQ(head.status, rows[i].status);
        CHECK(head.why && *head.why);
        CHECK_EQ(cab_http1_head_read(&head, &limits, text, 5), CAB_HTTP1_REFUSED);
    }
}

/* Every byte at every place of a word of 20: as the grammar has it. */
static void one_byte(const char *form, int c, size_t at, bool allowed)
{
    char word[21] = "aaaaaaaaaaaaaaaaaaaa", s[128];
    word[at] = 1;                              /* stands for c, which may be NUL */
    int n = snprintf(s, sizeof s, form, word);
    *(char *)memchr(s, 1, (size_t)n) = (char)c;
    cab_http1_head_start(&head);
    cab_http1_got got = cab_http1_head_read(&head, &limits, s, (size_t)n);
    if (got != (allowed ? CAB_HTTP1_DONE : CAB_HTTP1_REFUSED)) {
        fprintf(stderr, "byte %d at %zu of %s\n", c, at, form);
        CHECK(!"a byte in the wrong place");
    }
}

static void check_bytes(void)
{
    static const char alnum[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int c = 0; c < 256; c++)
        for (size_t at = 0; at < 20; at++) {
            bool letter = c && strchr(alnum, c);
            bool colon = c == ':' && at > 0;   /* the end of the name */
            one_byte("GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", c, at,
                     c == '\t' || (c >= 0x20 && c != 0x7f));
            one_byte("GET / HTTP/1.1\r\nHost: a\r\n%s: b\r\n\r\n", c, at,
                     letter || colon || (c && strchr("!#$%&'*+-.^_`|~", c)));
            one_byte("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", c, at,
                     letter || (c && strchr("-._~!$&'()*+,;=:@/?", c)) || (c == '%' && at < 18));
            one_byte("GET /?%s HTTP/1.1\r\nHost: a\r\n\r\n", c, at,
                     letter || (c && strchr("-._~!$&'()*+,;=:@/?[]{}|^`", c)) || (c == '%' && at < 18));
            one_byte("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", c, at,
                     letter || (c && strchr("-._~", c)) || ((c == ' ' || c == '\t') && (at == 0 || at == 19)));
        }
}

static void check_keep_alive(void)
{
    static const struct { int minor; const char *fields; bool keep; } rows[] = {
        { 1, "", true }, { 0, "", false }, { 1, "Connection: Close\r\n", false },
        { 0, "Connection: Keep-Alive\r\n", true }, { 1, "Connection: keep-alive, close\r\n", false },
        { 0, "Connection: close, keep-alive\r\n", false }, { 1, "Connection: a,, ,b ,\tclose\r\n", false },
        { 1, "Connection: a\r\nConnection: close\r\n", false }, { 1, "Connection: closed\r\n", true },
        { 1, "Connection: clos\r\n", true }, { 1, "Connection:\r\n", true },
        { 1, "Proxy-Connection: close\r\n", true },
    };
    char s[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(s, sizeof s, "GET / HTTP/1.%d\r\nHost: a\r\n%s\r\n", rows[i].minor, rows[i].fields);
        CHECK_EQ(read_with(&limits, s), CAB_HTTP1_DONE);
        CHECK_EQ(head.keep_alive, rows[i].keep);
    }
}

static void check_limits(void)
{
    const char *s = "GET /12345 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    cab_http1_limits small = { .head = strlen(s), .target = 6, .fields = 2, .body = 0 };
    CHECK_EQ(read_with(&small, s), CAB_HTTP1_DONE);
    small.head--;
    CHECK_EQ(read_with(&small, s), CAB_HTTP1_REFUSED);
    CHECK_EQ(head.status, 431);
    CHECK_EQ(cab_http1_head_read(&head, &small, text, small.head), CAB_HTTP1_REFUSED);
    cab_http1_head_start(&head);
    CHECK_EQ(cab_http1_head_read(&head, &small, text, small.head - 1), CAB_HTTP1_MORE);
    CHECK_EQ(cab_http1_head_read(&head, &small, text, small.head), CAB_HTTP1_REFUSED);
    small.head = 20;
    CHECK_EQ(read_with(&small, s), CAB_HTTP1_REFUSED);
    CHECK_EQ(head.status, 414);
    small.head = 1000;
    small.target = 5;
    CHECK_EQ(read_with(&small, s), CAB_HTTP1_REFUSED);
    CHECK_EQ(head.status, 414);
    small.target = 6;
    small.fields = 1;
    CHECK_EQ(read_with(&small, s), CAB_HTTP1_REFUSED);
    CHECK_EQ(head.status, 431);
    small.fields = 1000;                       /* never over CAB_HTTP1_MAX_FIELDS */
    small.head = sizeof text;
    cab_bytes b = { 0 };
    cab_bytes_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < CAB_HTTP1_MAX_FIELDS - 1; i++)
        cab_bytes_str(&b, "X: y\r\n");
    size_t n = b.n;
    cab_bytes_str(&b, "\r\n");
    CHECK_EQ(read_with(&small, cab_bytes_cstr(&b)), CAB_HTTP1_DONE);
    CHECK_EQ(head.n_fields, CAB_HTTP1_MAX_FIELDS);
    b.n = n;
    cab_bytes_str(&b, "X: y\r\n\r\n");
    CHECK_EQ(read_with(&small, cab_bytes_cstr(&b)), CAB_HTTP1_REFUSED);
    CHECK_EQ(head.status, 431);
    cab_bytes_fini(&b);
}

/* Byte by byte each byte is looked at once: nothing before seen is read again,
 * so it may as well be gone. */
static void check_slow_client(void)
{
    size_t n = 16000;
    memset(text, 'a', n);
    cab_http1_head_start(&head);
    for (size_t i = 1; i <= n; i++) {
        CHECK_EQ(cab_http1_head_read(&head, &limits, text, i), CAB_HTTP1_MORE);
        CHECK_EQ(head.seen, i);
        if (i > 2)
            text[i - 2] = '\n';
    }
}

/* ---- bodies ---- */

static void check_body(void)
{
    cab_http1_head h = { .chunked = true };
    cab_http1_body b;
    cab_slice d;
    size_t used;
    const char *s = "3\r\nabc\r\n0\r\n\r\nGET";
    cab_http1_body_start(&b, &h, 3);
    CHECK_EQ(cab_http1_body_read(&b, s, strlen(s), &used, &d), CAB_HTTP1_DATA);
    CHECK(used == 6 && d.p == s + 3 && d.n == 3);           /* a slice, no copy */
    CHECK_EQ(cab_http1_body_read(&b, s + 6, strlen(s) - 6, &used, &d), CAB_HTTP1_DONE);
    CHECK_EQ(used, strlen(s) - 6 - 3);
    CHECK_EQ(cab_http1_body_read(&b, "x", 1, &used, &d), CAB_HTTP1_DONE);
    CHECK_EQ(used, 0);
    cab_http1_body_start(&b, &h, 2);
    CHECK_EQ(cab_http1_body_read(&b, s, strlen(s), &used, &d), CAB_HTTP1_REFUSED);
    CHECK(b.status == 413 && d.n == 0);
    CHECK_EQ(cab_http1_body_read(&b, s, strlen(s), &used, &d), CAB_HTTP1_REFUSED);
    s = "2\r\nab\r\n2\r\ncd\r\n";          /* each within the limit */
    cab_http1_body_start(&b, &h, 3);
    CHECK_EQ(cab_http1_body_read(&b, s, strlen(s), &used, &d), CAB_HTTP1_DATA);
    CHECK_EQ(cab_http1_body_read(&b, s + 5, strlen(s) - 5, &used, &d), CAB_HTTP1_REFUSED);
    CHECK_EQ(b.status, 413);
    h = (cab_http1_head){ .length = 5 };
    cab_http1_body_start(&b, &h, 4);           /* a limit of the route, under that of the head */
    CHECK_EQ(cab_http1_body_read(&b, "", 0, &used, &d), CAB_HTTP1_REFUSED);
    CHECK_EQ(b.status, 413);
    cab_http1_body_start(&b, &h, 5);
    CHECK_EQ(cab_http1_body_read(&b, "", 0, &used, &d), CAB_HTTP1_MORE);
    CHECK_EQ(cab_http1_body_read(&b, "abcdefg", 7, &used, &d), CAB_HTTP1_DATA);
    CHECK(used == 5 && d.n == 5);
    CHECK_EQ(cab_http1_body_read(&b, "fg", 2, &used, &d), CAB_HTTP1_DONE);
    CHECK_EQ(used, 0);
}

/* ---- targets ---- */

static void segments_are(const char *path, const char *wanted)
{
    char room[256], joined[256] = "";
    cab_slice out[4];
    const char *why;
    int n = cab_http1_segments(cab_slice_of(path), room, out, 4, &why);
    if (n < 0)
        snprintf(joined, sizeof joined, "%s", why);
    for (int i = 0; i < n && i < 4; i++)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "[%.*s]", (int)out[i].n, out[i].p);
    if (n > 4)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%d", n);
    CHECK_STR(joined, wanted);
}

static void check_segments(void)
{
    segments_are("/", "[]");
    segments_are("/v2/models", "[v2][models]");
    segments_are("/v2//models/", "[v2][][models][]");
    segments_are("/a%2Fb/%41+%c3%A9", "[a/b][A+\xc3\xa9]");
    segments_are("/1/2/3/4/5/6", "[1][2][3][4]6");
    segments_are("/...", "[...]");
    segments_are("*", "the path does not start with a slash");
    segments_are("", "the path does not start with a slash");
    segments_are("a/b", "the path does not start with a slash");
    segments_are("/a/../b", "a segment . or .. in the path");
    segments_are("/.", "a segment . or .. in the path");
    segments_are("/%2e%2E", "a segment . or .. in the path");
    segments_are("/1/2/3/4/5/..", "a segment . or .. in the path");
    segments_are("/a%00", "a control character in the target");
    segments_are("/a%0d%0Ab", "a control character in the target");
    segments_are("/a%7f", "a control character in the target");
    segments_are("/a%", "a bad escape in the target");
    segments_are("/a%4", "a bad escape in the target");
    segments_are("/a%4/", "a bad escape in the target");
    segments_are("/a%g0", "a bad escape in the target");
}

static void param_is(const char *query, const char *wanted)
{
    char room[8], got[64];
    cab_slice v;
    const char *why = "";
    int n = cab_http1_param(query ? cab_slice_of(query) : (cab_slice){ NULL, 0 }, "na me", room,
                            sizeof room, &v, &why);
    snprintf(got, sizeof got, "%d %.*s%s", n, n > 0 ? (int)v.n : 0, n > 0 ? v.p : "", n < 0 ? why : "");
    CHECK_STR(got, wanted);
}

static void check_params(void)
{
    param_is(NULL, "0 ");
    param_is("", "0 ");
    param_is("name=1&na=2&na+me2=3&=4&&", "0 ");
    param_is("x=1&na+me=a%3D%26+b&y", "1 a=& b");
    param_is("na%20me", "1 ");
    param_is("n%61%20me=1=2", "1 1=2");
    param_is("na+me=1&na+me=1", "-1 a parameter is given twice");
    param_is("na+me=12345678", "1 12345678");
    param_is("na+me=123456789", "-1 a parameter is too long");
    param_is("na+me=%", "-1 a bad escape in the target");
    param_is("na+me=%00", "-1 a control character in the target");
    param_is("na+m%=1", "0 ");
}

/* ---- answers ---- */

static void check_answer(void)
{
    cab_bytes out = { 0 };
    const cab_http1_field extra[] = { { CAB_SLICE("Retry-After"), CAB_SLICE("1") },
                                      { CAB_SLICE("X-Empty"), { NULL, 0 } } };
    cab_http1_answer a = { .status = 200, .minor = 1, .keep_alive = true, .length = 120,
                           .date = CAB_SLICE("Sun, 06 Nov 1994 08:49:37 GMT"),
                           .type = CAB_SLICE("application/json") };
    CHECK(cab_http1_answer_write(&out, &a));
    CHECK_STR(cab_bytes_cstr(&out), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                    "Content-Type: application/json\r\nContent-Length: 120\r\n\r\n");
    cab_bytes_clear(&out);
    a = (cab_http1_answer){ .status = 429, .minor = 1, .extra = extra, .n_extra = 2 };
    CHECK(cab_http1_answer_write(&out, &a));
    CHECK_STR(cab_bytes_cstr(&out), "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n"
                                    "Connection: close\r\nRetry-After: 1\r\nX-Empty: \r\n\r\n");
    cab_bytes_clear(&out);
    a = (cab_http1_answer){ .status = 299, .minor = 0, .keep_alive = true, .length = UINT64_MAX };
    CHECK(cab_http1_answer_write(&out, &a));
    CHECK_STR(cab_bytes_cstr(&out), "HTTP/1.1 299 Unknown\r\nContent-Length: 18446744073709551615\r\n"
                                    "Connection: keep-alive\r\n\r\n");
    cab_bytes_clear(&out);
    a = (cab_http1_answer){ .status = 204, .minor = 1, .keep_alive = true, .framing = CAB_HTTP1_NO_BODY };
    CHECK(cab_http1_answer_write(&out, &a));
    CHECK_STR(cab_bytes_cstr(&out), "HTTP/1.1 204 No Content\r\n\r\n");
    cab_bytes_fini(&out);
}

static bool writes(cab_http1_answer a, const cab_http1_field *extra)
{
    cab_bytes out = { 0 };
    cab_bytes_str(&out, "before");
    a.minor = a.minor < 0 ? 0 : 1;
    a.extra = extra;
    a.n_extra = extra != NULL;
    bool ok = cab_http1_answer_write(&out, &a);
    CHECK((out.n == 6) == !ok && !out.failed);
    cab_bytes_fini(&out);
    return ok;
}

static void check_bad_answers(void)
{
    static const cab_http1_field bad[] = {
        { CAB_SLICE("X"), CAB_SLICE("a\r\nSet-Cookie: b") }, { CAB_SLICE("X"), CAB_SLICE("a\n") },
        { CAB_SLICE("X"), CAB_SLICE("\r") }, { CAB_SLICE("X"), CAB_SLICE("a\0b") },
        { CAB_SLICE("X\r\nY"), CAB_SLICE("a") }, { CAB_SLICE("X:"), CAB_SLICE("a") },
        { CAB_SLICE(""), CAB_SLICE("a") }, { CAB_SLICE("X "), CAB_SLICE("a") },
        { CAB_SLICE("content-LENGTH"), CAB_SLICE("1") }, { CAB_SLICE("Connection"), CAB_SLICE("close") },
        { CAB_SLICE("Transfer-Encoding"), CAB_SLICE("chunked") },
    };
    cab_http1_answer a = { .status = 200 };
    CHECK(writes(a, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!writes(a, &bad[i]));
    CHECK(!writes((cab_http1_answer){ .status = 200, .type = CAB_SLICE("a\r\nb") }, NULL));
    CHECK(!writes((cab_http1_answer){ .status = 200, .date = CAB_SLICE("\n") }, NULL));
    CHECK(!writes((cab_http1_answer){ .status = 204 }, NULL));
    CHECK(!writes((cab_http1_answer){ .status = 200, .framing = CAB_HTTP1_NO_BODY }, NULL));
    CHECK(!writes((cab_http1_answer){ .status = 99, .framing = CAB_HTTP1_NO_BODY }, NULL));
    CHECK(!writes((cab_http1_answer){ .status = 1000 }, NULL));
}

/* A buffer that is full keeps what it had. */
static void check_full(void)
{
    for (size_t limit = 1; limit < 40; limit++) {
        cab_bytes out = { .limit = limit };
        cab_http1_answer a = { .status = 200, .minor = 1, .keep_alive = true };
        bool ok = cab_http1_answer_write(&out, &a);
        CHECK(ok == (limit >= 38) && out.n == (ok ? 38u : 0u));
        cab_bytes_fini(&out);
    }
}

static void check_date(void)
{
    static const struct { int64_t t; const char *text; } rows[] = {
        { 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },
        { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { 951826154, "Tue, 29 Feb 2000 12:09:14 GMT" },
        { -1, "Wed, 31 Dec 1969 23:59:59 GMT" },
        { 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" },
        { 253402300800, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { INT64_MAX, "Thu, 01 Jan 1970 00:00:00 GMT" },
    };
    char s[CAB_HTTP_DATE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cab_http_date(rows[i].t, s);
        CHECK_STR(s, rows[i].text);
    }
}

int main(void)
{
    check_bytes();
    check_keep_alive();
    check_head();
    check_forms();
    check_refusals();
    check_limits();
    check_slow_client();
    check_body();
    check_segments();
    check_params();
    check_answer();
    check_bad_answers();
    check_full();
    check_date();
    TEST_END();
}
