/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write.c - pieces of JSON text.
 */
#include "serve/json_write.h"

/* Bytes of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates); 0 when it is none. */
static size_t sequence(const unsigned char *p, size_t n)
{
    static const struct { unsigned char lo, hi, second_lo, second_hi; size_t n; } rows[] = {
        { 0x20, 0x7f, 0, 0, 1 },
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (p[0] < rows[i].lo || p[0] > rows[i].hi)
            continue;
        if (rows[i].n > n || (rows[i].n > 1 && (p[1] < rows[i].second_lo || p[1] > rows[i].second_hi)))
            return 0;
        for (size_t k = 2; k < rows[i].n; k++)
            if (p[k] < 0x80 || p[k] > 0xbf)
                return 0;
        return rows[i].n;
    }
    return 0;
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void escape(cab_bytes *b, unsigned char c)
{
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        cab_bytes_char(b, '\\');
        cab_bytes_char(b, to[at - from]);
    } else {
        cab_bytes_printf(b, "\\u%04x", c);
    }
}

void cab_json_put_text(cab_bytes *b, cab_slice text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    size_t i = 0;
    cab_bytes_char(b, '"');
    while (i < text.n) {
        size_t start = i, k;
        while (i < text.n && plain(p[i]))
            i++;
        cab_bytes_put(b, p + start, i - start);
        if (i == text.n)
            break;
        if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\') {
            escape(b, p[i++]);
        } else if ((k = sequence(p + i, text.n - i))) {
            cab_bytes_put(b, p + i, k);
            i += k;
        } else {
            cab_bytes_str(b, "\xef\xbf\xbd");
            i++;
        }
    }
    cab_bytes_char(b, '"');
}

void cab_json_put_name(cab_bytes *b, const char *name)
{
    cab_bytes_char(b, '"');
    cab_bytes_str(b, name);
    cab_bytes_str(b, "\":");
}

void cab_json_put_int(cab_bytes *b, int64_t v)
{
    char text[24], *at = text + sizeof text;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        *--at = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0)
        *--at = '-';
    cab_bytes_put(b, at, (size_t)(text + sizeof text - at));
}
