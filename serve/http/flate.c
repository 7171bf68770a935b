/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flate.c - zlib in pieces; the names and weights of codings.
 */
#include "serve/http/flate.h"
#define ZLIB_CONST
#include <strings.h>
#include <zlib.h>

enum {
    IN = 64 << 10, OUT = 64 << 10,     /* bytes of a piece */
    GAIN = 8,                  /* of so many bytes one must be saved */
    LEVEL = 1                  /* docs/design/serving.md has what others take */
};

/* ---- names ---- */

static const struct { const char *name; cab_coding coding; } codings[] = {
    { "gzip", CAB_CODING_GZIP }, { "deflate", CAB_CODING_DEFLATE }, { "identity", CAB_CODING_NONE },
    { "x-gzip", CAB_CODING_GZIP }, { "", CAB_CODING_NONE },
};

cab_coding cab_coding_of(cab_slice name)
{
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
        if (strlen(codings[i].name) == name.n && !strncasecmp(codings[i].name, name.n ? name.p : "", name.n))
            return codings[i].coding;
    return CAB_CODING_UNKNOWN;
}

const char *cab_coding_name(cab_coding c)
{
    return c == CAB_CODING_GZIP ? "gzip" : "deflate";
}

/* ---- pieces ---- */

static void feed(z_stream *z, cab_slice in, size_t at)
{
    size_t left = in.n - at;
    z->next_in = (const Bytef *)in.p + at;
    z->avail_in = (uInt)(left < IN ? left : IN);
}

static size_t fed(const z_stream *z, cab_slice in)
{
    return (size_t)((const char *)z->next_in - in.p);
}

/* ---- inflate ---- */

/* A piece of what comes out: small bodies take little memory. */
static size_t piece_of(size_t n)
{
    return n < OUT / 4 ? 4 * n + 256 : OUT;
}

/* One piece into out; at the limit into a byte that nobody wants.  zlib's word, and in *got what came out. */
static int inflate_piece(z_stream *z, size_t piece, size_t most, cab_bytes *out, size_t *got)
{
    char beyond;
    size_t left = most - out->n, n = !left ? 1 : left < piece ? left : piece;
    char *to = left ? cab_bytes_room(out, n) : &beyond;
    *got = 0;
    if (!to)
        return Z_MEM_ERROR;
    z->next_out = (Bytef *)to;
    z->avail_out = (uInt)n;
    int rc = inflate(z, Z_NO_FLUSH);
    *got = n - z->avail_out;
    if (left)
        cab_bytes_wrote(out, *got);
    return rc;
}

static cab_flated inflate_all(z_stream *z, cab_coding c, cab_slice in, size_t most, cab_bytes *out,
                              cab_flate_more more, void *user)
{
    for (size_t at = 0, got, before;;) {
        feed(z, in, at);
        bool full = out->n == most;
        int rc = inflate_piece(z, piece_of(in.n), most, out, &got);
        before = at;
        at = fed(z, in);
        if (full && got)
            return CAB_FLATE_OVER;
        bool goes_on = more(user, got);
        if (rc == Z_MEM_ERROR)
            return CAB_FLATE_MEMORY;
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return CAB_FLATE_BROKEN;
        if (!goes_on)
            return CAB_FLATE_STOPPED;
        if (rc == Z_STREAM_END && at == in.n)
            return CAB_FLATED;
        if (rc == Z_STREAM_END && (c != CAB_CODING_GZIP || inflateReset(z) != Z_OK))
            return CAB_FLATE_BROKEN;
        if (rc != Z_STREAM_END && !got && at == before)
            return CAB_FLATE_SHORT;
    }
}

cab_flated cab_inflate(cab_coding c, cab_slice in, size_t most, cab_bytes *out, cab_flate_more more, void *user)
{
    z_stream z = { 0 };
    if (inflateInit2(&z, c == CAB_CODING_GZIP ? 16 + MAX_WBITS : MAX_WBITS) != Z_OK)
        return CAB_FLATE_MEMORY;
    cab_flated got = inflate_all(&z, c, in, most, out, more, user);
    inflateEnd(&z);
    return got;
}

/* ---- deflate ---- */

/* A window no larger than what is in it: a small answer costs no table of 64 KB. */
static bool deflate_begin(z_stream *z, cab_coding c, size_t n)
{
    int bits = 9;
    while (bits < MAX_WBITS && (size_t)1 << bits < n)
        bits++;
    return deflateInit2(z, LEVEL, Z_DEFLATED, bits + (c == CAB_CODING_GZIP ? 16 : 0), bits - 7, Z_DEFAULT_STRATEGY) == Z_OK;
}

/* What has come out is no fair part of what went in: the rest will be no better. */
static bool gains_nothing(size_t in, size_t out)
{
    return in >= IN && out > in - in / GAIN;
}

static bool deflate_all(z_stream *z, cab_slice in, cab_bytes *out, cab_flate_more more, void *user)
{
    size_t most = in.n - in.n / GAIN, at = 0;
    for (;;) {
        feed(z, in, at);
        int flush = at + z->avail_in == in.n ? Z_FINISH : Z_NO_FLUSH;
        size_t left = most - out->n, piece = piece_of(in.n / 8), n = left < piece ? left : piece;
        char *to = n ? cab_bytes_room(out, n) : NULL;
        if (!to)
            return false;
        z->next_out = (Bytef *)to;
        z->avail_out = (uInt)n;
        int rc = deflate(z, flush);
        cab_bytes_wrote(out, n - z->avail_out);
        at = fed(z, in);
        if (rc == Z_STREAM_END)
            return true;
        if ((rc != Z_OK && rc != Z_BUF_ERROR) || gains_nothing(at, out->n) || !more(user, n - z->avail_out))
            return false;
    }
}

bool cab_deflate(cab_coding c, cab_slice in, cab_bytes *out, cab_flate_more more, void *user)
{
    z_stream z = { 0 };
    if (!deflate_begin(&z, c, in.n))
        return false;
    bool fine = deflate_all(&z, in, out, more, user);
    deflateEnd(&z);
    return fine;
}

/* ---- what a client accepts ---- */

static cab_slice trim(cab_slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s = (cab_slice){ s.p + 1, s.n - 1 };
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* The part before `sep`, trimmed; *rest is what is behind it. */
static cab_slice part(cab_slice s, char sep, cab_slice *rest)
{
    const char *at = s.n ? memchr(s.p, sep, s.n) : NULL;
    size_t n = at ? (size_t)(at - s.p) : s.n;
    *rest = at ? (cab_slice){ at + 1, s.n - n - 1 } : (cab_slice){ NULL, 0 };
    return trim((cab_slice){ s.p, n });
}

/* "q=0.5" in thousandths; -1: it is none. */
static int weight_of(cab_slice s)
{
    int v = 0, unit = 1000;
    if (s.n < 3 || s.n > 7 || (*s.p != 'q' && *s.p != 'Q') || s.p[1] != '=' || (s.n > 3 && s.p[3] != '.'))
        return -1;
    for (size_t i = 2; i < s.n; i++) {
        if (i == 3)
            continue;
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        v += (s.p[i] - '0') * unit;
        unit /= 10;
    }
    return v <= 1000 ? v : -1;
}

void cab_accepts_init(cab_accepts *a)
{
    for (int i = 0; i <= CAB_CODING_UNKNOWN; i++)
        a->weight[i] = -1;
}

void cab_accepts_read(cab_accepts *a, cab_slice value)
{
    while (value.n) {
        cab_slice rest, weight, name = part(part(value, ',', &rest), ';', &weight);
        int w = weight.n ? weight_of(trim(weight)) : 1000;
        cab_coding c = cab_coding_of(name);
        if (name.n && w >= 0 && (c != CAB_CODING_UNKNOWN || cab_slice_is(name, "*")))
            a->weight[c] = w;
        value = rest;
    }
}

cab_coding cab_accepts_best(const cab_accepts *a)
{
    static const cab_coding order[] = { CAB_CODING_GZIP, CAB_CODING_DEFLATE };
    int any = a->weight[CAB_CODING_UNKNOWN], best_weight = a->weight[CAB_CODING_NONE];
    cab_coding best = CAB_CODING_NONE;
    best_weight = best_weight > 0 ? best_weight - 1 : 0;       /* not said: the last choice */
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        int w = a->weight[order[i]] >= 0 ? a->weight[order[i]] : any;
        if (w > best_weight) {
            best = order[i];
            best_weight = w;
        }
    }
    return best;
}
