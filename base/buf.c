/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.c - growing buffers and the number and string spellings of every text.
 *
 * Spellings do not depend on the process's locale.
 */
#include "base/buf.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/vec.h"

static void reserve(cab_buf *b, size_t more)
{
    void *p = b->p;
    size_t need = more > SIZE_MAX - b->n ? SIZE_MAX : b->n + more;

    if (need <= b->cap)
        return;
    cab_vec_grow_(b->arena, &p, &b->cap, need < 64 ? 64 : need, 1);
    b->p = p;
}

void cab_buf_bytes(cab_buf *b, const void *p, size_t n)
{
    if (!n)
        return;
    reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void cab_buf_str(cab_buf *b, const char *s)
{
    cab_buf_bytes(b, s, strlen(s));
}

void cab_buf_char(cab_buf *b, char c)
{
    cab_buf_bytes(b, &c, 1);
}

void cab_buf_printf(cab_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    reserve(b, 64);
    va_start(ap, fmt);
    n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n >= b->cap - b->n) {
        reserve(b, (size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

void cab_buf_align(cab_buf *b, size_t align)
{
    size_t more = align ? (align - b->n % align) % align : 0;

    if (!more)
        return;
    reserve(b, more);
    memset(b->p + b->n, 0, more);
    b->n += more;
}

const char *cab_buf_cstr(cab_buf *b)
{
    reserve(b, 1);
    b->p[b->n] = 0;
    return b->p;
}

/* A number as printf made it, whatever the locale's decimal point is. */
static void put_number(cab_buf *b, const char *s)
{
    while (*s) {
        size_t n = strspn(s, "0123456789+-e");
        cab_buf_bytes(b, s, n);
        s += n;
        n = strcspn(s, "0123456789+-e");
        if (n)
            cab_buf_char(b, '.');
        s += n;
    }
}

/* v with the fewest digits that same() accepts; magnitudes below 10^plain
 * are written without an exponent. */
static void put_float(cab_buf *b, double v, int most, int plain,
                      bool (*same)(const char *, double))
{
    char s[64];
    int digits = 0, exponent;

    if (isnan(v) || isinf(v)) {
        cab_buf_str(b, isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
        return;
    }
    do
        snprintf(s, sizeof s, "%.*e", digits++, v);
    while (digits < most && !same(s, v));
    exponent = atoi(strchr(s, 'e') + 1);
    if (exponent >= 0 && exponent < plain && digits < exponent + 1)
        digits = exponent + 1;
    snprintf(s, sizeof s, "%.*g", digits, v);
    put_number(b, s);
}

static bool same_f64(const char *s, double v)
{
    return strtod(s, NULL) == v;
}

static bool same_f32(const char *s, double v)
{
    return strtof(s, NULL) == (float)v;
}

void cab_buf_f64(cab_buf *b, double v)
{
    put_float(b, v, DBL_DECIMAL_DIG, DBL_DIG, same_f64);
}

void cab_buf_f32(cab_buf *b, float v)
{
    put_float(b, (double)v, FLT_DECIMAL_DIG, FLT_DIG, same_f32);
}

void cab_buf_quoted(cab_buf *b, const char *s, size_t n)
{
    cab_buf_char(b, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            cab_buf_printf(b, "\\%c", c);
        else if (c == '\n')
            cab_buf_str(b, "\\n");
        else if (c == '\t')
            cab_buf_str(b, "\\t");
        else if (c < 0x20 || c >= 0x7f)
            cab_buf_printf(b, "\\x%02x", c);
        else
            cab_buf_char(b, (char)c);
    }
    cab_buf_char(b, '"');
}
