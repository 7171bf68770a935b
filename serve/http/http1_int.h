/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_int.h - classes of characters, shared by http1*.c.
 */
#ifndef CAB_SERVE_HTTP1_INT_H
#define CAB_SERVE_HTTP1_INT_H
#include "serve/http/http1.h"

/* CR, LF and NUL are in no class: a run of one class ends at the end of a line. */
enum {
    CAB_CH_TOKEN = 1,          /* names of fields, methods, tokens of Connection */
    CAB_CH_VALUE = 2,          /* HTAB, SP, visible, over 127 */
    CAB_CH_VISIBLE = 4,        /* '!' to '~' */
    CAB_CH_PATH = 8,           /* RFC 3986: pchar and '/' */
    CAB_CH_QUERY = 16,         /* pchar, "/?" and what browsers leave as it is: "[]{}|^`" */
    CAB_CH_HOST = 32,          /* letters, digits, "-._~" */
    CAB_CH_IPV6 = 64,          /* hexadecimal digits, ':' and '.' */
    CAB_CH_DIGIT = 128
};
extern const uint8_t cab_ch_class[256];
/* Lower case of a token's character; 0 for others. */
extern const uint8_t cab_ch_lower[256];

static inline bool cab_ch_is(char c, int classes)
{
    return (cab_ch_class[(uint8_t)c] & classes) != 0;
}

/* All of s is in the classes. */
static inline bool cab_ch_all(cab_slice s, int classes)
{
    for (size_t i = 0; i < s.n; i++)
        if (!cab_ch_is(s.p[i], classes))
            return false;
    return true;
}

/* 0 to 15, or -1. */
static inline int cab_ch_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* s is that lower-case text, in whatever case. */
static inline bool cab_ch_same(cab_slice s, const char *lower)
{
    size_t i = 0;
    for (; i < s.n && lower[i]; i++)
        if (cab_ch_lower[(uint8_t)s.p[i]] != (uint8_t)lower[i])
            return false;
    return i == s.n && !lower[i];
}

#endif
