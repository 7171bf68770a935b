/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_target.c - paths, decoded a segment at a time.
 *
 * Decoding comes after splitting, so that an encoded slash is never taken for the
 * real one.
 */
#include "serve/http1_int.h"

/* The byte at raw->p, of which one or three characters are taken; -1: a bad escape. */
static int decoded(cab_slice *raw)
{
    int c = (uint8_t)raw->p[0], high, low;
    size_t n = 1;
    if (c == '%') {
        if (raw->n < 3 || (high = cab_ch_hex(raw->p[1])) < 0 || (low = cab_ch_hex(raw->p[2])) < 0)
            return -1;
        c = high << 4 | low;
        n = 3;
    }
    raw->p += n;
    raw->n -= n;
    return c;
}

/* Into room, which has raw.n bytes; false and *why. */
static bool decode(cab_slice raw, char *room, cab_slice *out, const char **why)
{
    *out = (cab_slice){ room, 0 };
    while (raw.n) {
        int c = decoded(&raw);
        *why = c < 0 ? "a bad escape in the target"
             : c < 0x20 || c == 0x7f ? "a control character in the target" : NULL;
        if (*why)
            return false;
        room[out->n++] = (char)c;
    }
    return true;
}

/* What stands before the next such character, which is taken too. */
static cab_slice until(cab_slice *rest, char stop)
{
    const char *at = rest->n ? memchr(rest->p, stop, rest->n) : NULL;
    cab_slice s = { rest->p, at ? (size_t)(at - rest->p) : rest->n };
    size_t n = at ? s.n + 1 : s.n;
    rest->p += n;
    rest->n -= n;
    return s;
}

int cab_http1_segments(cab_slice path, char *room, cab_slice *out, int max, const char **why)
{
    int n = 0;
    cab_slice rest = path, s;
    *why = "the path does not start with a slash";
    if (!path.n || until(&rest, '/').n)
        return -1;
    for (bool more = true; more; n++) {
        more = memchr(rest.p, '/', rest.n) != NULL;
        if (!decode(until(&rest, '/'), room, &s, why))
            return -1;
        if (cab_slice_is(s, ".") || cab_slice_is(s, "..")) {
            *why = "a segment . or .. in the path";
            return -1;
        }
        room += s.n;
        if (n < max)
            out[n] = s;
    }
    return n;
}
