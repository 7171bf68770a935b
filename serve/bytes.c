/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.c - a growing byte buffer on the heap.
 */
#include "serve/bytes.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void cab_bytes_fini(cab_bytes *b)
{
    free(b->p);
    *b = (cab_bytes){ .limit = b->limit };
}

static bool grow(cab_bytes *b, size_t need)
{
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need && cap <= SIZE_MAX / 2)
        cap *= 2;
    char *p = cap >= need ? realloc(b->p, cap) : NULL;
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

char *cab_bytes_room(cab_bytes *b, size_t n)
{
    if (b->failed)
        return NULL;
    b->over = n > SIZE_MAX - b->n || (b->limit && b->n + n > b->limit);
    b->failed = b->over || (b->n + n > b->cap && !grow(b, b->n + n));
    return b->failed ? NULL : b->p + b->n;
}

void cab_bytes_put(cab_bytes *b, const void *p, size_t n)
{
    char *to = n ? cab_bytes_room(b, n) : NULL;
    if (to) {
        memcpy(to, p, n);
        b->n += n;
    }
}

void cab_bytes_char(cab_bytes *b, char c)
{
    cab_bytes_put(b, &c, 1);
}

void cab_bytes_printf(cab_bytes *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char small[256];
    int n = vsnprintf(small, sizeof small, fmt, ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        cab_bytes_put(b, small, (size_t)n);
    } else if (n < 0) {
        b->failed = true;
    } else if (cab_bytes_room(b, (size_t)n + 1)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

const char *cab_bytes_cstr(cab_bytes *b)
{
    if (b->failed || !cab_bytes_room(b, 1))
        return "";
    b->p[b->n] = 0;
    return b->p;
}
