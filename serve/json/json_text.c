/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.c - strings of JSON: checked, unescaped, written.
 */
#include <stdint.h>
#include "serve/json/json_pull.h"
#include "serve/json/json_text_int.h"

/* ---- checking ---- */

/* Some byte of v is below n, or equal to c; both tests are exact in whether, not in
 * where.  v has no byte above 0x7f. */
#define EVERY(byte) (0x0101010101010101u * (byte))
static bool has_special(uint64_t v)
{
    uint64_t quote = v ^ EVERY('"'), slash = v ^ EVERY('\\');
    return ((v - EVERY(0x20)) | (quote - EVERY(1)) | (slash - EVERY(1)) | v) & EVERY(0x80);
}

/* Plain ASCII from p on, eight bytes at a time. */
static const char *plain(const char *p, const char *end)
{
    uint64_t v;
    while (end - p >= 8 && (memcpy(&v, p, 8), !has_special(v)))
        p += 8;
    return p;
}

/* Bytes of the UTF-8 character at p, or 0; p < end. */
static int utf8_bytes(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    ptrdiff_t n = end - p;
    unsigned char second = n > 1 ? u[1] : 0;
    if (u[0] < 0x80)
        return 1;
    if (u[0] >= 0xc2 && u[0] <= 0xdf)
        return second >> 6 == 2 ? 2 : 0;
    if (u[0] >= 0xe0 && u[0] <= 0xef) {
        unsigned char low = u[0] == 0xe0 ? 0xa0 : 0x80, high = u[0] == 0xed ? 0x9f : 0xbf;
        return n >= 3 && second >= low && second <= high && u[2] >> 6 == 2 ? 3 : 0;
    }
    if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        unsigned char low = u[0] == 0xf0 ? 0x90 : 0x80, high = u[0] == 0xf4 ? 0x8f : 0xbf;
        return n >= 4 && second >= low && second <= high && u[2] >> 6 == 2 && u[3] >> 6 == 2 ? 4 : 0;
    }
    return 0;
}

/* Four hexadecimal digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i], lower = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            v = v * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* The character that the escape at p (its backslash) stands for; *n: its bytes.  -1: none. */
static int32_t escape(const char *p, const char *end, int *n)
{
    static const char letters[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const char *l = end - p > 1 && p[1] ? strchr(letters, p[1]) : NULL;
    *n = 2;
    if (l)
        return means[l - letters];
    if (end - p < 2 || p[1] != 'u')
        return -1;
    int high = hex4(p + 2, end), low;
    *n = 6;
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return -1;
    low = hex4(p + 8, end);
    *n = 12;
    return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00) : -1;
}

const char *cab_json_string(const char *p, const char *end, bool *escaped, const char **why, const char **at)
{
    *escaped = false;
    for (;;) {
        int n = 1;
        p = plain(p, end);
        *at = p;
        *why = "a control character in a string";
        if (p < end && *p == '"')
            return p;
        if (p == end || (unsigned char)*p < 0x20)
            return NULL;
        *why = "an escape that is none, or half a surrogate pair";
        if (*p == '\\' && (*escaped = true, escape(p, end, &n) < 0))
            return NULL;
        *why = "text that is no UTF-8";
        if ((unsigned char)*p >= 0x80 && !(n = utf8_bytes(p, end)))
            return NULL;
        p += n;
    }
}

/* ---- unescaping ---- */

static int put_utf8(char *to, int32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)((0xf00 >> n) | c);
    return n;
}

/* Bytes up to the next escape. */
static size_t unescaped(const char *p, const char *end)
{
    const char *slash = memchr(p, '\\', (size_t)(end - p));
    return (size_t)((slash ? slash : end) - p);
}

/* The next piece of an escaped text: *p moves on.  Points into the text or
 * into `four`. */
static cab_slice piece(const char **p, const char *end, char four[4])
{
    size_t n = unescaped(*p, end);
    int used;
    if (n) {
        *p += n;
        return (cab_slice){ *p - n, n };
    }
    int32_t c = escape(*p, end, &used);
    *p += used;
    if (c < 0 || *p > end) {   /* no string token's text */
        *p = end;
        return (cab_slice){ "", 0 };
    }
    return (cab_slice){ four, (size_t)put_utf8(four, c) };
}

size_t cab_json_unescape_to(cab_slice text, char *to, size_t cap)
{
    char four[4];
    size_t n = 0;
    for (const char *p = text.p, *end = p + text.n; p < end;) {
        cab_slice s = piece(&p, end, four);
        size_t room = n < cap ? cap - n : 0;
        if (s.n && room)
            memcpy(to + n, s.p, s.n < room ? s.n : room);
        n += s.n;
    }
    return n;
}

bool cab_json_is(const cab_json *j, const char *s)
{
    char four[4];
    size_t left = strlen(s);
    if (!j->escaped)
        return cab_slice_is(j->text, s);
    for (const char *p = j->text.p, *end = p + j->text.n; p < end;) {
        cab_slice t = piece(&p, end, four);
        if (t.n > left || memcmp(t.p, s, t.n))
            return false;
        s += t.n;
        left -= t.n;
    }
    return !left;
}

/* ---- writing ---- */

static void put_escape(cab_bytes *to, char c)
{
    static const char letters[] = "\"\\bfnrt", means[] = "\"\\\b\f\n\r\t";
    const char *m = c ? strchr(means, c) : NULL;
    if (m) {
        cab_bytes_char(to, '\\');
        cab_bytes_char(to, letters[m - means]);
    } else {
        cab_bytes_printf(to, "\\u%04x", (unsigned)(unsigned char)c);
    }
}

void cab_json_put_utf8(cab_bytes *to, cab_slice s)
{
    for (const char *p = s.p, *end = p + s.n; p < end;) {
        int n = utf8_bytes(p, end);
        cab_bytes_put(to, n ? p : "\xef\xbf\xbd", n ? (size_t)n : 3);
        p += n ? n : 1;
    }
}

void cab_json_put_string(cab_bytes *to, cab_slice s)
{
    const char *p = s.p, *end = p + s.n, *from = p;
    cab_bytes_char(to, '"');
    while (p < end) {
        int n = utf8_bytes(p, end);
        if (n && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\') {
            p += n;
            continue;
        }
        cab_bytes_put(to, from, (size_t)(p - from));
        if (n)
            put_escape(to, *p);
        else
            cab_bytes_str(to, "\xef\xbf\xbd");
        from = ++p;
    }
    cab_bytes_put(to, from, (size_t)(p - from));
    cab_bytes_char(to, '"');
}
