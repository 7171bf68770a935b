/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coding.c - zlib's side of an exchange: budgets, fields, and which thread has the time.
 */
#include "serve/http/coding.h"
#include "serve/http/server.h"

/* zlib takes 3 ns for a byte that comes out of it, and 10 to 30 for one that goes in: more than so many of them would
 * hold up an I/O thread for longer than to wake another takes. */
enum { OPEN_IN = 16 << 10, OPEN_OUT = 64 << 10, PACK_IN = 4 << 10 };
/* An answer that is not worth it: it fits a packet. */
enum { PACK_LEAST = 1 << 10 };

/* ---- requests ---- */

cab_coding cab_body_coding(const cab_exchange *x)
{
    cab_coding c = CAB_CODING_NONE;
    for (int i = 0; i < x->n_fields; i++)
        if (cab_slice_is(x->fields[i].name, "content-encoding")) {
            cab_coding more = cab_coding_of(x->fields[i].value);
            c = c == CAB_CODING_NONE ? more : more == CAB_CODING_NONE ? c : CAB_CODING_UNKNOWN;
        }
    return c;
}

bool cab_body_is_long(size_t n)
{
    return n > OPEN_IN;
}

static void reserve(cab_exchange *x, size_t n)
{
    atomic_fetch_add(&x->server->bodies, n);
    x->reserved += n;
}

static void give_back(cab_exchange *x, size_t n)
{
    n = n < x->reserved ? n : x->reserved;
    atomic_fetch_sub(&x->server->bodies, n);
    x->reserved -= n;
}

/* A piece came out: it counts as a body's bytes do. */
static bool came(void *user, size_t n)
{
    cab_exchange *x = user;
    reserve(x, n);
    return !atomic_load(&x->gone) && atomic_load(&x->server->bodies) <= x->server->limits.all_bodies;
}

static int refusal(cab_flated got, const char **why)
{
    static const struct { int status; const char *why; } rows[] = {
        [CAB_FLATE_OVER] = { 413, "the body is longer than --max-body when it is decompressed" },
        [CAB_FLATE_BROKEN] = { 400, "the body is not of its Content-Encoding" },
        [CAB_FLATE_SHORT] = { 400, "the compressed body ends before its end" },
        [CAB_FLATE_STOPPED] = { 503, "too many bytes of requests are waiting" },
        [CAB_FLATE_MEMORY] = { 503, "out of memory for the decompressed body" },
    };
    *why = rows[got].why;
    return rows[got].status;
}

int cab_body_open(cab_exchange *x, cab_coding c, cab_slice in, const char **why)
{
    size_t limit = x->server->limits.body_bytes, before = x->body_bytes.n;
    bool tries = !x->away && OPEN_OUT < limit;
    cab_bytes out = { 0 };
    if (tries && cab_body_is_long(in.n))
        return -1;
    cab_flated got = cab_inflate(c, in, tries ? OPEN_OUT : limit, &out, came, x);
    if (got == CAB_FLATED) {
        cab_bytes_fini(&x->body_bytes);
        x->body_bytes = out;
        x->body = (cab_slice){ out.p, out.n };
        give_back(x, before);
        return 0;
    }
    give_back(x, out.n);
    cab_bytes_fini(&out);
    return tries && got == CAB_FLATE_OVER ? -1 : refusal(got, why);
}

/* ---- answers ---- */

static cab_coding wanted(const cab_exchange *x)
{
    cab_accepts a;
    cab_accepts_init(&a);
    for (int i = 0; i < x->n_fields; i++)
        if (cab_slice_is(x->fields[i].name, "accept-encoding"))
            cab_accepts_read(&a, x->fields[i].value);
    return cab_accepts_best(&a);
}

static bool goes_on(void *user, size_t n)
{
    cab_exchange *x = user;
    (void)n;
    return !atomic_load(&x->gone);
}

bool cab_answer_pack(cab_exchange *x, bool here)
{
    if (x->grpc || x->out.n < PACK_LEAST || x->out.failed || x->n_answer_fields + 2 > CAB_ANSWER_FIELDS)
        return true;
    cab_coding c = wanted(x);
    if (c != CAB_CODING_NONE && here && x->out.n > PACK_IN)
        return false;
    cab_exchange_put_field(x, "vary", CAB_SLICE("Accept-Encoding"));
    if (c == CAB_CODING_NONE)
        return true;
    cab_bytes out = { 0 };
    if (cab_deflate(c, (cab_slice){ x->out.p, x->out.n }, &out, goes_on, x)) {
        out.limit = x->out.limit;
        cab_bytes_fini(&x->out);
        x->out = out;
        cab_exchange_put_field(x, "content-encoding", cab_slice_of(cab_coding_name(c)));
    } else {
        cab_bytes_fini(&out);
    }
    return true;
}
