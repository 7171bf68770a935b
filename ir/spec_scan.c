/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_scan.c - the words of Spec and program text.
 *
 * White space and comments (// to the end of the line) separate words.  Every
 * function leaves the place after what it took; a failure says line and column.
 */
#include "ir/spec_scan.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

cab_status cab_scan_fail(cab_scan *p, const char *fmt, ...)
{
    cab_where w = { .file = p->file, .line = 1, .col = 1 };
    va_list ap;
    for (const char *c = p->text; c < p->s; c++) {
        w.line += *c == '\n';
        w.col = *c == '\n' ? 1 : w.col + 1;
    }
    va_start(ap, fmt);
    cab_status st = cab_vfail(p->d, CAB_EPARSE, &w, fmt, ap);
    va_end(ap);
    return st;
}

void cab_scan_skip(cab_scan *p)
{
    for (;;) {
        while (isspace((unsigned char)*p->s))
            p->s++;
        if (p->s[0] != '/' || p->s[1] != '/')
            return;
        while (*p->s && *p->s != '\n')
            p->s++;
    }
}

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

size_t cab_scan_word_length(const char *s)
{
    size_t n = 0;
    while (is_word(s[n]))
        n++;
    return n;
}

/* Takes the word or the punctuation if it stands here. */
bool cab_scan_take(cab_scan *p, const char *t)
{
    size_t n = strlen(t);
    cab_scan_skip(p);
    if (strncmp(p->s, t, n) || (is_word(*t) && is_word(p->s[n])))
        return false;
    p->s += n;
    return true;
}

cab_status cab_scan_expect(cab_scan *p, const char *t)
{
    return cab_scan_take(p, t) ? CAB_OK : cab_scan_fail(p, "expected '%s'", t);
}

cab_status cab_scan_i64(cab_scan *p, int64_t *out)
{
    char *end;
    cab_scan_skip(p);
    errno = 0;
    long long v = strtoll(p->s, &end, 10);
    if (end == p->s || errno)
        return cab_scan_fail(p, "expected an integer");
    p->s = end;
    *out = v;
    return CAB_OK;
}

cab_status cab_scan_int(cab_scan *p, int64_t lo, int64_t hi, int *out)
{
    int64_t v;
    CAB_TRY(cab_scan_i64(p, &v));
    if (v < lo || v > hi)
        return cab_scan_fail(p, "%lld is not in %lld..%lld", (long long)v,
                             (long long)lo, (long long)hi);
    *out = (int)v;
    return CAB_OK;
}

cab_status cab_scan_double(cab_scan *p, double *out)
{
    char *end;
    cab_scan_skip(p);
    *out = strtod(p->s, &end);
    if (end == p->s)
        return cab_scan_fail(p, "expected a number");
    p->s = end;
    return CAB_OK;
}

cab_status cab_scan_dim(cab_scan *p, const cab_dim **out)
{
    cab_scan_skip(p);
    *out = cab_dim_parse(p->dims, &p->s);
    if (!*out)
        return cab_scan_fail(p, "expected a dimension expression");
    if (cab_dims_overflowed(p->dims))
        return cab_scan_fail(p, "a dimension expression overflows");
    return CAB_OK;
}

int cab_scan_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static cab_status parse_escape(cab_scan *p, char *out)
{
    char c = *p->s++;
    if (c == 'n' || c == 't') {
        *out = c == 'n' ? '\n' : '\t';
        return CAB_OK;
    }
    if (c == '"' || c == '\\') {
        *out = c;
        return CAB_OK;
    }
    if (c != 'x' || cab_scan_hex_digit(p->s[0]) < 0 || cab_scan_hex_digit(p->s[1]) < 0)
        return cab_scan_fail(p, "unknown escape in a string");
    *out = (char)(cab_scan_hex_digit(p->s[0]) * 16 + cab_scan_hex_digit(p->s[1]));
    p->s += 2;
    return *out ? CAB_OK : cab_scan_fail(p, "a zero byte in a string");
}

cab_status cab_scan_string(cab_scan *p, const char **out)
{
    CAB_TRY(cab_scan_expect(p, "\""));
    cab_buf b = cab_buf_on(p->a);
    while (*p->s != '"') {
        char c = *p->s;
        if (c == 0 || c == '\n')
            return cab_scan_fail(p, "a string without end");
        p->s++;
        if (c == '\\')
            CAB_TRY(parse_escape(p, &c));
        cab_buf_char(&b, c);
    }
    p->s++;
    *out = cab_buf_cstr(&b);
    return CAB_OK;
}

cab_status cab_scan_name(cab_scan *p, const char **out)
{
    cab_scan_skip(p);
    size_t n = cab_scan_word_length(p->s);
    if (*p->s == '"')
        return cab_scan_string(p, out);
    if (!n)
        return cab_scan_fail(p, "expected a name");
    *out = cab_strndup(p->a, p->s, n);
    p->s += n;
    return CAB_OK;
}

cab_status cab_scan_dtype(cab_scan *p, cab_dtype *out)
{
    cab_scan_skip(p);
    size_t n = cab_scan_word_length(p->s);
    *out = cab_dtype_parse(p->s, n);
    if (*out == CAB_DT_none)
        return cab_scan_fail(p, "expected an element type");
    p->s += n;
    return CAB_OK;
}

/* Number of the name in a NULL-terminated list. */
cab_status cab_scan_one_of(cab_scan *p, const char *const *names, int *out)
{
    for (int i = 0; names[i]; i++)
        if (cab_scan_take(p, names[i])) {
            *out = i;
            return CAB_OK;
        }
    return cab_scan_fail(p, "expected '%s' or another of its kind", names[0]);
}

cab_status cab_scan_start(cab_scan *p, const char *text, size_t n)
{
    p->text = p->s = cab_strndup(p->a, text, n);
    if (strlen(p->text) != n)
        return cab_scan_fail(p, "a zero byte in the text");
    return CAB_OK;
}

