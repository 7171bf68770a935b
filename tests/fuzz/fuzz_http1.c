/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http1.c - bytes as what a client sends.
 *
 * One piece and random pieces say the same; a head that was accepted, written
 * down again, says the same; paths and queries decode within their room; no
 * answer made of the bytes has more lines than it was given.
 */
#include <stdlib.h>
#include "tests/fuzz/fuzz.h"
#include "tests/serve/http1_drive.h"

static const cab_http1_limits limits = { .head = 4096, .target = 512, .fields = 20, .body = 1 << 20 };

static size_t random_piece(void *arg, size_t left)
{
    fuzz_src *s = arg;
    size_t n = (size_t)fuzz_draw(s, 1, fuzz_draw(s, 0, 3) ? 16 : 4096);
    return n < left ? n : left;
}

/* Draws that do not use up the input. */
static fuzz_src dice(const uint8_t *p, size_t n)
{
    fuzz_src s = fuzz_src_of(p, n);
    s.n = 0;
    return s;
}

static void try_pieces(const uint8_t *p, size_t n)
{
    fuzz_src r = dice(p, n);
    http1_seen a, b;
    http1_drive(&a, (const char *)p, n, &limits, 0, NULL, NULL);
    http1_drive(&b, (const char *)p, n, &limits, 0, random_piece, &r);
    if (a.used != b.used || a.text.n != b.text.n || memcmp(a.text.p, b.text.p, a.text.n))
        fuzz_finding("pieces change the verdict: %d %s, %d %s", a.status, a.why ? a.why : "", b.status,
                     b.why ? b.why : "");
    if ((a.status != 0) != (a.why != NULL) || a.used > n)
        fuzz_finding("status %d, %zu of %zu bytes", a.status, a.used, n);
    fuzz_count(a.requests ? a.status ? "some, then refused" : "requests" : a.status ? "refused" : "open");
    cab_bytes_fini(&a.text);
    cab_bytes_fini(&b.text);
}

/* ---- heads ---- */

static bool equal(cab_slice a, cab_slice b)
{
    return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n));
}

static bool equal_heads(const cab_http1_head *a, const cab_http1_head *b)
{
    bool same = equal(a->method, b->method) && equal(a->target, b->target) && equal(a->path, b->path) &&
                equal(a->query, b->query) && equal(a->authority, b->authority) && a->minor == b->minor &&
                a->keep_alive == b->keep_alive && a->expect_continue == b->expect_continue &&
                a->chunked == b->chunked && a->length == b->length && a->n_fields == b->n_fields;
    for (size_t i = 0; same && i < a->n_fields; i++)
        same = equal(a->fields[i].name, b->fields[i].name) && equal(a->fields[i].value, b->fields[i].value);
    return same;
}

static size_t count_of(const cab_http1_head *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_fields; i++)
        n += cab_slice_is(h->fields[i].name, name);
    return n;
}

/* Rules that an accepted head keeps, whoever wrote it. */
static void check_head(const cab_http1_head *h)
{
    if (count_of(h, "host") != 1 && h->minor == 1)
        fuzz_finding("a head without one Host");
    if (count_of(h, "content-length") + count_of(h, "transfer-encoding") > 1)
        fuzz_finding("a head with two lengths");
    if (h->bytes > limits.head || h->target.n > limits.target || h->n_fields > limits.fields ||
        h->length > limits.body)
        fuzz_finding("a head over the limits");
    for (size_t i = 0; i < h->n_fields; i++)
        for (size_t k = 0; k < h->fields[i].value.n; k++)
            if (strchr("\r\n", h->fields[i].value.p[k]))
                fuzz_finding("a value with the end of a line or NUL");
}

static void try_target(const cab_http1_head *h)
{
    char room[512];
    cab_slice out[8], value;
    const char *why = NULL;
    if (h->path.p[0] == '/' && cab_http1_segments(h->path, room, out, 8, &why) < 0 && !why)
        fuzz_finding("a path is refused without a word");
    why = NULL;
    if (cab_http1_param(h->query, "a", room, 4, &value, &why) < 0 ? !why : value.n > 4)
        fuzz_finding("a parameter over its room, or refused without a word");
}

static void try_again(const uint8_t *p, size_t n)
{
    static cab_http1_head a, b;
    cab_bytes first = { 0 }, again = { 0 };
    cab_bytes_put(&first, p, n);
    cab_http1_head_start(&a);
    cab_http1_head_start(&b);
    if (first.p && cab_http1_head_read(&a, &limits, first.p, first.n) == CAB_HTTP1_DONE) {
        http1_drive_again(&again, &a);
        if (cab_http1_head_read(&b, &limits, again.p, again.n) != CAB_HTTP1_DONE)
            fuzz_finding("a head is refused the second time: %s", b.why ? b.why : "more");
        else if (!equal_heads(&a, &b) || b.bytes != again.n)
            fuzz_finding("a head says something else the second time");
        check_head(&a);
        try_target(&a);
    }
    cab_bytes_fini(&first);
    cab_bytes_fini(&again);
}

/* ---- bodies, targets and answers of any bytes ---- */

static void try_chunks(const uint8_t *p, size_t n)
{
    cab_http1_head h = { .chunked = true };
    cab_http1_body b;
    cab_slice data;
    uint64_t total = 0;
    size_t used, at = 0;
    cab_http1_got got;
    cab_http1_body_start(&b, &h, 1 << 16);
    while ((got = cab_http1_body_read(&b, (const char *)p + at, n - at, &used, &data)) == CAB_HTTP1_DATA) {
        if (data.p < (const char *)p + at || data.p + data.n > (const char *)p + at + used || !data.n)
            fuzz_finding("data outside the bytes used");
        at += used;
        total += data.n;
    }
    if (total > 1 << 16 || used > n - at || (got == CAB_HTTP1_MORE && at + used != n))
        fuzz_finding("%llu bytes of data, %zu of %zu used", (unsigned long long)total, at + used, n);
}

static size_t lines(const cab_bytes *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->p[i] == '\n' || b->p[i] == '\r' || !b->p[i];
    return n;
}

static void try_answer(const uint8_t *p, size_t n)
{
    fuzz_src r = dice(p, n);
    size_t at = n ? (size_t)fuzz_draw(&r, 0, (int64_t)(n < 60000 ? n : 60000)) : 0;
    const cab_http1_field f = { { (const char *)p, at }, { (const char *)p + at, n - at } };
    cab_http1_answer a = { .status = (int)fuzz_draw(&r, 0, 1100), .minor = (int)fuzz_draw(&r, 0, 1),
                           .keep_alive = fuzz_draw(&r, 0, 1) != 0, .extra = &f, .n_extra = 1,
                           .framing = (cab_http1_framing)fuzz_draw(&r, 0, 1), .length = n };
    cab_bytes out = { 0 };
    bool connection = a.minor ? !a.keep_alive : a.keep_alive;
    size_t wanted = 3 + (a.framing == CAB_HTTP1_LENGTH) + connection;
    if (cab_http1_answer_write(&out, &a) ? lines(&out) != 2 * wanted : out.n != 0)
        fuzz_finding("an answer of %zu ends of lines instead of %zu", lines(&out), 2 * wanted);
    cab_bytes_fini(&out);
}

static void try_any_target(const uint8_t *p, size_t n)
{
    cab_slice s = { (const char *)p, n }, out[4], value;
    const char *why = NULL;
    char *room = malloc(n ? n : 1);
    int count = room ? cab_http1_segments(s, room, out, 4, &why) : 0;
    if (count < 0 && !why)
        fuzz_finding("a path is refused without a word");
    for (int i = 0; i < count && i < 4; i++)
        if (out[i].p < room || out[i].p + out[i].n > room + n || memchr(out[i].p, 0, out[i].n))
            fuzz_finding("a segment outside its room, or with NUL");
    if (room)
        cab_http1_param(s, "a", room, n, &value, &why);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_pieces(data, size);
    try_again(data, size);
    try_chunks(data, size);
    try_any_target(data, size);
    try_answer(data, size);
    return 0;
}
