/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_target.c - paths and queries, decoded a segment or a parameter at a time.
 *
 * Decoding comes after splitting, so that an encoded slash, '&' or '=' is never
 * taken for the real one.
 */
#include "serve/http/http1_int.h"

/* The byte at raw->p, of which one or three characters are taken; -1: a bad escape. */
static int decoded(cab_slice *raw, bool plus)
{
    int c = (uint8_t)raw->p[0], high, low;
    size_t n = 1;
    if (c == '%') {
        if (raw->n < 3 || (high = cab_ch_hex(raw->p[1])) < 0 || (low = cab_ch_hex(raw->p[2])) < 0)
            return -1;
        c = high << 4 | low;
        n = 3;
    } else if (c == '+' && plus) {
        c = ' ';
    }
    raw->p += n;
    raw->n -= n;
    return c;
}

/* Into room; false and *why. */
static bool decode(cab_slice raw, bool plus, char *room, size_t n_room, cab_slice *out, const char **why)
{
    *out = (cab_slice){ room, 0 };
    while (raw.n) {
        int c = decoded(&raw, plus);
        *why = c < 0 ? "a bad escape in the target"
             : c < 0x20 || c == 0x7f ? "a control character in the target"
             : out->n == n_room ? "a parameter is too long" : NULL;
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
        if (!decode(until(&rest, '/'), false, room, path.n, &s, why))
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

static bool is_name(cab_slice raw, const char *name)
{
    while (raw.n && *name && decoded(&raw, true) == (uint8_t)*name)
        name++;
    return !raw.n && !*name;
}

int cab_http1_param(cab_slice query, const char *name, char *room, size_t n_room,
                    cab_slice *value, const char **why)
{
    int found = 0;
    *value = (cab_slice){ NULL, 0 };
    while (query.n) {
        cab_slice v = until(&query, '&'), key = until(&v, '=');
        if (!is_name(key, name))
            continue;
        *why = "a parameter is given twice";
        if (found++ || !decode(v, true, room, n_room, value, why))
            return -1;
    }
    return found;
}
