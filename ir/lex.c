/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lex.c - scanning the text form.
 *
 * A position in a NUL-terminated text and functions that take one thing from
 * it, skipping blanks and comments before.  There is no token stream: types
 * and dimension expressions are read straight from the text.  A failure is
 * recorded with file, line and column and is never recovered from.
 */
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "ir/ir_int.h"

/* Elements of one list; also keeps counts inside an int. */
enum { MAX_LIST = 1 << 24 };

void cab_lex_space(cab_lex *l)
{
    for (;;) {
        l->p += strspn(l->p, " \t\r\n");
        if (*l->p != ';')
            return;
        l->p += strcspn(l->p, "\n");
    }
}

cab_status cab_lex_fail(cab_lex *l, const char *at, cab_status code, const char *fmt, ...)
{
    cab_where w = { .file = l->file ? l->file : "text", .line = 1, .col = 1 };
    cab_status s;
    va_list ap;

    for (const char *p = l->start; p < at; p++) {
        w.col = *p == '\n' ? 1 : w.col + 1;
        w.line += *p == '\n';
    }
    va_start(ap, fmt);
    s = cab_vfail(l->diag, code, &w, fmt, ap);
    va_end(ap);
    return s;
}

/* What stands at the position, for messages. */
static cab_status unexpected(cab_lex *l, const char *wanted)
{
    int n;

    cab_lex_space(l);
    n = (int)strcspn(l->p, " \t\r\n,;");
    if (!*l->p)
        return cab_lex_fail(l, l->p, CAB_EPARSE, "%s expected at the end", wanted);
    return cab_lex_fail(l, l->p, CAB_EPARSE, "%s expected before '%.*s'", wanted,
                        n < 1 ? 1 : n > 24 ? 24 : n, l->p);
}

bool cab_lex_char(cab_lex *l, char c)
{
    cab_lex_space(l);
    if (*l->p != c)
        return false;
    l->p++;
    return true;
}

cab_status cab_lex_expect(cab_lex *l, char c)
{
    char wanted[4] = { '\'', c, '\'' };

    return cab_lex_char(l, c) ? CAB_OK : unexpected(l, wanted);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

bool cab_lex_word(cab_lex *l, const char *word)
{
    size_t n = strlen(word);

    cab_lex_space(l);
    if (strncmp(l->p, word, n) || is_word(l->p[n]))
        return false;
    l->p += n;
    return true;
}

bool cab_lex_ident(cab_lex *l, const char **s, size_t *n)
{
    cab_lex_space(l);
    *s = l->p;
    if (isalpha((unsigned char)*l->p) || *l->p == '_')
        while (is_word(*l->p) || *l->p == '.')
            l->p++;
    *n = (size_t)(l->p - *s);
    return *n > 0;
}

bool cab_lex_plain_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_' && *s != '/')
        return false;
    while (is_word(*s) || *s == '.' || *s == '/' || *s == '$')
        s++;
    return !*s;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character after a backslash; -1 when it is none. */
static int escaped(cab_lex *l)
{
    int hi, lo;

    switch (*l->p++) {
    case 'n': return '\n';
    case 't': return '\t';
    case '"': return '"';
    case '\\': return '\\';
    case 'x':
        hi = hex_digit(l->p[0]);
        lo = hi < 0 ? -1 : hex_digit(l->p[1]);
        if (lo < 0)
            return -1;
        l->p += 2;
        return hi * 16 + lo;
    default: return -1;
    }
}

cab_status cab_lex_string(cab_lex *l, char **s, size_t *n)
{
    const char *from;
    cab_buf b = cab_buf_on(l->arena);

    cab_lex_space(l);
    from = l->p;
    if (*l->p != '"')
        return unexpected(l, "a string");
    for (l->p++; *l->p != '"';) {
        const char *run = l->p;
        l->p += strcspn(l->p, "\"\\\n");
        cab_buf_bytes(&b, run, (size_t)(l->p - run));
        if (*l->p == '\\') {
            int c;
            l->p++;
            if ((c = escaped(l)) < 0)
                return cab_lex_fail(l, from, CAB_EPARSE, "bad escape in a string");
            cab_buf_char(&b, (char)c);
        } else if (*l->p != '"') {
            return cab_lex_fail(l, from, CAB_EPARSE, "a string without end");
        }
    }
    l->p++;
    *n = b.n;
    cab_buf_cstr(&b);          /* ends it with a NUL */
    *s = b.p;
    return CAB_OK;
}

cab_status cab_lex_int(cab_lex *l, int64_t *out)
{
    char *end;

    cab_lex_space(l);
    if (!isdigit((unsigned char)l->p[*l->p == '-']))
        return unexpected(l, "an integer");
    errno = 0;
    *out = strtoll(l->p, &end, 10);
    if (errno)
        return cab_lex_fail(l, l->p, CAB_EPARSE, "an integer out of range");
    l->p = end;
    return CAB_OK;
}

cab_status cab_lex_double(cab_lex *l, double *out)
{
    const char *from;
    char *end;

    cab_lex_space(l);
    from = l->p + (*l->p == '-');
    if (!isdigit((unsigned char)*from) && strncmp(from, "inf", 3)
        && strncmp(from, "nan", 3))
        return unexpected(l, "a number");
    *out = strtod(l->p, &end);
    if (*end == 'f' && isdigit((unsigned char)*from))
        *out = (double)strtof(l->p, &end), end++;
    if (is_word(*end) || *end == '(')
        return unexpected(l, "a number");
    l->p = end;
    return CAB_OK;
}

cab_status cab_lex_dtype(cab_lex *l, cab_dtype *out)
{
    const char *s;
    size_t n;

    if (!cab_lex_ident(l, &s, &n))
        return unexpected(l, "an element type");
    *out = cab_dtype_parse(s, n);
    if (*out == CAB_DT_none && (n != 4 || memcmp(s, "none", 4)))
        return cab_lex_fail(l, s, CAB_EPARSE, "'%.*s' is no element type",
                            n > 24 ? 24 : (int)n, s);
    return CAB_OK;
}

cab_status cab_lex_dim(cab_lex *l, cab_dims *d, const cab_dim **out)
{
    const char *from;

    cab_lex_space(l);
    from = l->p;
    *out = cab_dim_parse(d, &l->p);
    return *out ? CAB_OK
                : cab_lex_fail(l, from, CAB_EPARSE, "a dimension expression expected");
}

/* ---- attribute values ---- */

/* How the elements of a list are read: `read` writes width bytes. */
typedef struct list {
    cab_lex *l;
    cab_dims *d;
    size_t width;
    cab_status (*read)(struct list *, void *);
} list;

static cab_status read_int(list *c, void *to)
{
    return cab_lex_int(c->l, to);
}

static cab_status read_double(list *c, void *to)
{
    return cab_lex_double(c->l, to);
}

static cab_status read_dim(list *c, void *to)
{
    return cab_lex_dim(c->l, c->d, to);
}

static cab_status read_str(list *c, void *to)
{
    char *s;
    size_t n;

    CAB_TRY(cab_lex_string(c->l, &s, &n));
    memcpy(to, &s, sizeof s);
    return CAB_OK;
}

/* "[" element, ... "]" into an arena array. */
static cab_status lex_list(list c, const void **out, int64_t *n)
{
    cab_buf b = cab_buf_on(c.l->arena);
    max_align_t one;

    CAB_TRY(cab_lex_expect(c.l, '['));
    for (*n = 0; !cab_lex_char(c.l, ']'); ++*n) {
        if (*n)
            CAB_TRY(cab_lex_expect(c.l, ','));
        if (*n >= MAX_LIST)
            return cab_lex_fail(c.l, c.l->p, CAB_ELIMIT, "a list of over %d elements",
                                MAX_LIST);
        CAB_TRY(c.read(&c, &one));
        cab_buf_bytes(&b, &one, c.width);
    }
    *out = cab_dup(c.l->arena, b.p, b.n);
    return CAB_OK;
}

cab_status cab_lex_attr(cab_lex *l, cab_dims *d, cab_attr *out)
{
    const void *p = NULL;
    char *s;

    switch (out->kind) {
    case CAB_ATTR_INT:
        return cab_lex_int(l, &out->u.i);
    case CAB_ATTR_FLOAT:
        return cab_lex_double(l, &out->u.f);
    case CAB_ATTR_DTYPE:
        return cab_lex_dtype(l, &out->u.dtype);
    case CAB_ATTR_STR:
        CAB_TRY(cab_lex_string(l, &s, &out->s_len));
        out->u.s = s;
        return CAB_OK;
    case CAB_ATTR_INTS:
        CAB_TRY(lex_list((list){ l, d, sizeof(int64_t), read_int }, &p, &out->n));
        out->u.ints = p;
        return CAB_OK;
    case CAB_ATTR_FLOATS:
        CAB_TRY(lex_list((list){ l, d, sizeof(double), read_double }, &p, &out->n));
        out->u.floats = p;
        return CAB_OK;
    case CAB_ATTR_STRS:
        CAB_TRY(lex_list((list){ l, d, sizeof(char *), read_str }, &p, &out->n));
        memcpy(&out->u.strs, &p, sizeof p);
        return CAB_OK;
    case CAB_ATTR_DIMS:
        CAB_TRY(lex_list((list){ l, d, sizeof(void *), read_dim }, &p, &out->n));
        memcpy(&out->u.dims, &p, sizeof p);
        return CAB_OK;
    default:
        CAB_UNREACHABLE();
    }
}
