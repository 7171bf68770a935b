/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dim_text.c - dims as text, and back.
 *
 *   sum     = ["-"] product { ("+" | "-") product }
 *   product = factor { "*" factor }
 *   factor  = number | name | function "(" sum "," sum ")" | "(" sum ")"
 *
 * A name is an identifier, or any text in backquotes, where \xHH spells a
 * byte.  Parsing builds with the ordinary constructors: what is printed from a
 * canonical dim parses to the same dim.
 */
#include "base/dim_int.h"
#include <string.h>

enum { MAX_NESTING = 200 };

static const char *const functions[] = {
    [CAB_DIM_FLOORDIV] = "floordiv", [CAB_DIM_CEILDIV] = "ceildiv",
    [CAB_DIM_MOD] = "mod", [CAB_DIM_MIN] = "min", [CAB_DIM_MAX] = "max",
};

/* The function of that name; CAB_DIM_SYM when there is none. */
static cab_dim_kind function_named(const char *s, size_t n)
{
    for (int k = CAB_DIM_FLOORDIV; k <= CAB_DIM_MAX; k++)
        if (strlen(functions[k]) == n && !memcmp(functions[k], s, n))
            return (cab_dim_kind)k;
    return CAB_DIM_SYM;
}

/* Not isalpha and isdigit: the text does not depend on the locale. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t identifier(const char *s)
{
    size_t n = 0;

    if (is_letter(s[0]))
        while (is_letter(s[n]) || is_digit(s[n]))
            n++;
    return n;
}

/* ---- printing --------------------------------------------------------- */

static void print_name(cab_buf *b, const char *s)
{
    size_t n = strlen(s);

    if (n && identifier(s) == n && function_named(s, n) == CAB_DIM_SYM) {
        cab_buf_str(b, s);
        return;
    }
    cab_buf_char(b, '`');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '`' || c == '\\' || c < 0x20 || c == 0x7f)
            cab_buf_printf(b, "\\x%02x", c);
        else
            cab_buf_char(b, *s);
    }
    cab_buf_char(b, '`');
}

static void print_atom(cab_buf *b, const cab_dim *x)
{
    if (x->kind == CAB_DIM_SYM) {
        print_name(b, x->name);
        return;
    }
    cab_buf_printf(b, "%s(", functions[x->kind]);
    cab_dim_print(b, x->args[0]);
    cab_buf_str(b, ", ");
    cab_dim_print(b, x->args[1]);
    cab_buf_char(b, ')');
}

void cab_dim_print(cab_buf *b, const cab_dim *x)
{
    int n = cab_dim_n_terms(x);

    if (!n)
        cab_buf_char(b, '0');
    for (int i = 0; i < n; i++) {
        cab_term t = cab_dim_term(x, i);
        uint64_t c = cab_abs64(t.c);
        cab_buf_str(b, t.c < 0 ? (i ? " - " : "-") : (i ? " + " : ""));
        if (c != 1 || !t.n)
            cab_buf_printf(b, t.n ? "%llu*" : "%llu", (unsigned long long)c);
        for (int k = 0; k < t.n; k++) {
            if (k)
                cab_buf_char(b, '*');
            print_atom(b, t.atoms[k]);
        }
    }
}

/* ---- parsing ---------------------------------------------------------- */

typedef struct reader {
    cab_dims *d;
    const char *s;
    int depth;
} reader;

/* Skips blanks only when the character follows them. */
static bool accept(reader *r, char c)
{
    const char *s = r->s + strspn(r->s, " \t\r\n");

    if (*s != c)
        return false;
    r->s = s + 1;
    return true;
}

static const cab_dim *parse_sum(reader *r);

static const cab_dim *parse_number(reader *r, bool negative)
{
    uint64_t v = 0, most = (uint64_t)INT64_MAX + negative;

    for (; is_digit(*r->s); r->s++)
        if (__builtin_mul_overflow(v, 10u, &v)
            || __builtin_add_overflow(v, (uint64_t)(*r->s - '0'), &v)
            || v > most)
            return NULL;
    return cab_dim_const(r->d, negative ? (int64_t)-v : (int64_t)v);
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After the opening backquote. */
static const cab_dim *parse_quoted(reader *r)
{
    cab_buf b = cab_buf_on(r->d->scratch);

    for (; *r->s != '`'; r->s++) {
        char c = *r->s;
        if (c == '\\') {
            int hi = r->s[1] == 'x' ? hex_digit(r->s[2]) : -1;
            int lo = hi < 0 ? -1 : hex_digit(r->s[3]);
            if (lo < 0)
                return NULL;
            c = (char)(hi * 16 + lo);
            r->s += 3;
        }
        if (!c)
            return NULL;
        cab_buf_char(&b, c);
    }
    r->s++;
    return cab_dim_sym(r->d, cab_buf_cstr(&b));
}

static const cab_dim *parse_call(reader *r, cab_dim_kind kind)
{
    const cab_dim *a = parse_sum(r), *b;

    if (!a || !accept(r, ','))
        return NULL;
    b = parse_sum(r);
    if (!b || !accept(r, ')'))
        return NULL;
    switch (kind) {
    case CAB_DIM_FLOORDIV: return cab_dim_floordiv(r->d, a, b);
    case CAB_DIM_CEILDIV: return cab_dim_ceildiv(r->d, a, b);
    case CAB_DIM_MOD: return cab_dim_mod(r->d, a, b);
    case CAB_DIM_MIN: return cab_dim_min(r->d, a, b);
    default: return cab_dim_max(r->d, a, b);
    }
}

static const cab_dim *parse_factor(reader *r)
{
    const char *s = r->s += strspn(r->s, " \t\r\n");
    const cab_dim *x;
    cab_dim_kind kind;
    size_t n;

    if (is_digit(*s))
        return parse_number(r, false);
    if (accept(r, '`'))
        return parse_quoted(r);
    if (accept(r, '(')) {
        x = parse_sum(r);
        return x && accept(r, ')') ? x : NULL;
    }
    n = identifier(s);
    if (!n)
        return NULL;
    r->s += n;
    kind = function_named(s, n);
    if (kind != CAB_DIM_SYM && accept(r, '('))
        return parse_call(r, kind);
    return cab_dim_sym(r->d, cab_strndup(r->d->scratch, s, n));
}

/* The sign belongs to a leading number: -2^63 has no positive twin. */
static const cab_dim *parse_product(reader *r, bool negative)
{
    const cab_dim *x, *y;

    r->s += strspn(r->s, " \t\r\n");
    if (is_digit(*r->s)) {
        x = parse_number(r, negative);
        negative = false;
    } else {
        x = parse_factor(r);
    }
    while (x && accept(r, '*')) {
        y = parse_factor(r);
        x = y ? cab_dim_mul(r->d, x, y) : NULL;
    }
    return x && negative ? cab_dim_scale(r->d, x, -1) : x;
}

static const cab_dim *parse_sum(reader *r)
{
    const cab_dim *x, *y;
    bool negative;

    if (r->depth >= MAX_NESTING)
        return NULL;
    r->depth++;
    x = parse_product(r, accept(r, '-'));
    while (x && ((negative = accept(r, '-')) || accept(r, '+'))) {
        y = parse_product(r, negative);
        x = y ? cab_dim_add(r->d, x, y) : NULL;
    }
    r->depth--;
    return x;
}

const cab_dim *cab_dim_parse(cab_dims *d, const char **s)
{
    cab_mark mark = cab_arena_mark(d->scratch);
    reader r = { .d = d, .s = *s };
    const cab_dim *x = parse_sum(&r);

    cab_arena_release(d->scratch, mark);
    if (x)
        *s = r.s;
    return x;
}
