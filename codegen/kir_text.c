/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_text.c - the text form of a kernel.
 *
 *   kernel scale bufs 2 ints 1 block 1 {
 *     %0 = buf.f32 0, ro
 *     %1 = buf.f32 1
 *     %2 = const.i64 0
 *     %3 = int.i64 0
 *     %4 = loop.i64 %2, %3, 16
 *       %5 = ld.f32x16 %0[%4 + 8] mask %9
 *       st.f32x16 %5, %1[%4]
 *     end %4
 *   }
 *
 * One instruction a line, driven by the fields of the instruction table;
 * carried values stand in parentheses.  A # starts a comment.  Names in a
 * text are free; printing numbers them by instruction.  print(parse(t)) == t
 * for every printed t.
 */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include "codegen/kir_int.h"

/* ---- printing ---- */

static void print_address(cab_buf *b, const cab_kins *i)
{
    uint64_t away = i->imm < 0 ? 0 - (uint64_t)i->imm : (uint64_t)i->imm;

    cab_buf_printf(b, "%%%d[", i->a);
    if (i->b < 0)
        cab_buf_printf(b, "%lld", (long long)i->imm);
    else if (i->imm)
        cab_buf_printf(b, "%%%d %c %llu", i->b, i->imm < 0 ? '-' : '+',
                       (unsigned long long)away);
    else
        cab_buf_printf(b, "%%%d", i->b);
    cab_buf_char(b, ']');
    if (i->c >= 0)
        cab_buf_printf(b, " mask %%%d", i->c);
}

static void print_args(cab_buf *b, const cab_kir *k, const cab_kins *i, const char *mark)
{
    cab_buf_char(b, '(');
    for (int j = 0; j < i->n_args; j++)
        cab_buf_printf(b, "%s%s%d", j ? ", " : "", mark, k->args.p[i->args + j]);
    cab_buf_char(b, ')');
}

static void print_const(cab_buf *b, const cab_kins *i)
{
    if (i->dt == CAB_DT_f32)
        cab_buf_f32(b, (float)i->f);
    else if (i->dt == CAB_DT_f64)
        cab_buf_f64(b, i->f);
    else
        cab_buf_printf(b, "%lld", (long long)i->imm);
}

/* Whether the instruction has that field; absent ones are not printed. */
static bool present(const cab_kins *i, char f)
{
    return f == 'r' ? (i->flags & CAB_KIR_RO) != 0 : f == 'B' ? i->b >= 0
         : f == 'g' ? i->n_args > 0 : f != 'o';
}

static void print_field(cab_buf *b, const cab_kir *k, const cab_kins *i, char f)
{
    switch (f) {
    case 'a': cab_buf_printf(b, "%%%d", i->a); break;
    case 'b': case 'B': cab_buf_printf(b, "%%%d", i->b); break;
    case 'c': cab_buf_printf(b, "%%%d", i->c); break;
    case 'i': cab_buf_printf(b, "%lld", (long long)i->imm); break;
    case 'k': print_const(b, i); break;
    case 'r': cab_buf_str(b, "ro"); break;
    case 's': cab_buf_str(b, cab_kspace_names[i->space % 3]); break;
    case 'g': print_args(b, k, i, "%"); break;
    case 'p': print_args(b, k, i, ""); break;
    case 'v': cab_buf_printf(b, "%%%d", k->args.p[i->args]); break;
    default: print_address(b, i); break;
    }
}

static void print_ins(cab_buf *b, const cab_kir *k, int at)
{
    const cab_kins *i = &k->ins.p[at];
    cab_kop_info o = cab_kop_get(i->op);
    const char *sep = " ";

    if (o.value)
        cab_buf_printf(b, "%%%d = ", at);
    cab_buf_str(b, o.text);
    if (o.subs)
        cab_buf_printf(b, ".%s", o.subs[i->sub]);
    if (o.typed)
        cab_buf_printf(b, ".%s", cab_dtype_name((cab_dtype)i->dt));
    if (o.typed && i->lanes > 1)
        cab_buf_printf(b, "x%d", i->lanes);
    for (const char *f = o.fields; *f; f++) {
        if (!present(i, *f))
            continue;
        cab_buf_str(b, sep);
        print_field(b, k, i, *f);
        sep = ", ";
    }
    cab_buf_char(b, '\n');
}

void cab_kir_print(cab_buf *b, const cab_kir *k)
{
    int depth = 1;

    cab_buf_printf(b, "kernel %s bufs %d ints %d block %d%s%s {\n", k->name, k->n_bufs,
                   k->n_ints, k->block, k->licm ? " licm" : "", k->cse ? " cse" : "");
    for (int at = 0; at < (int)k->ins.n; at++) {
        int op = k->ins.p[at].op;
        if (op == CAB_K_end || op == CAB_K_else || op == CAB_K_endif)
            depth--;
        for (int j = 0; j < depth; j++)
            cab_buf_str(b, "  ");
        print_ins(b, k, at);
        if (op == CAB_K_loop || op == CAB_K_while || op == CAB_K_if || op == CAB_K_else)
            depth++;
    }
    cab_buf_str(b, "}\n");
}

/* ---- parsing ---- */

typedef struct parser {
    cab_arena *arena;
    const char *file, *text, *s;   /* text is NUL-terminated */
    cab_kir *k;
    cab_map *names;            /* "%name" -> instruction + 1 */
    locale_t c_locale;
    cab_diag *d;
} parser;

static cab_status syntax(parser *p, const char *what)
{
    cab_where w = { .file = p->file, .line = 1, .col = 1 };

    for (const char *q = p->text; q < p->s; q++) {
        w.col = *q == '\n' ? 1 : w.col + 1;
        w.line += *q == '\n';
    }
    return cab_fail(p->d, CAB_EPARSE, &w, "%s", what);
}

static void space(parser *p)
{
    for (;;) {
        while (isspace((unsigned char)*p->s))
            p->s++;
        if (*p->s != '#')
            return;
        p->s += strcspn(p->s, "\n");
    }
}

static bool accept(parser *p, const char *token)
{
    size_t n = strlen(token);

    space(p);
    if (strncmp(p->s, token, n))
        return false;
    if (isalnum((unsigned char)*token) && (isalnum((unsigned char)p->s[n]) || p->s[n] == '_'))
        return false;
    p->s += n;
    return true;
}

static cab_status expect(parser *p, const char *token)
{
    if (accept(p, token))
        return CAB_OK;
    space(p);
    return syntax(p, cab_printf(p->arena, "expected '%s'", token));
}

/* Letters, digits and underscores; NULL when there is none. */
static const char *word(parser *p)
{
    size_t n = 0;

    while (isalnum((unsigned char)p->s[n]) || p->s[n] == '_')
        n++;
    if (!n)
        return NULL;
    p->s += n;
    return cab_strndup(p->arena, p->s - n, n);
}

static cab_status integer(parser *p, int64_t *out)
{
    char *end;

    space(p);
    errno = 0;
    *out = strtoll(p->s, &end, 10);
    if (end == p->s || errno)
        return syntax(p, "expected an integer of 64 bits");
    p->s = end;
    return CAB_OK;
}

static cab_status small(parser *p, int32_t *out)
{
    int64_t v;

    CAB_TRY(integer(p, &v));
    if (v < 0 || v > INT32_MAX)
        return syntax(p, "number out of range");
    *out = (int32_t)v;
    return CAB_OK;
}

static cab_status number(parser *p, double *out)
{
    char *end;

    space(p);
    *out = strtod_l(p->s, &end, p->c_locale);
    if (end == p->s)
        return syntax(p, "expected a number");
    p->s = end;
    return CAB_OK;
}

static cab_status operand(parser *p, int32_t *out)
{
    const char *name;
    void *v;

    CAB_TRY(expect(p, "%"));
    name = word(p);
    v = name ? cab_map_gets(p->names, name) : NULL;
    if (!v)
        return syntax(p, "no such value");
    *out = (int32_t)((intptr_t)v - 1);
    return CAB_OK;
}

/* The digits after + or -; INT64_MIN has its sign apart. */
static cab_status displacement(parser *p, bool minus, int64_t *out)
{
    unsigned long long u;
    char *end;

    space(p);
    errno = 0;
    u = strtoull(p->s, &end, 10);
    if (!isdigit((unsigned char)*p->s) || errno || u > (uint64_t)INT64_MAX + minus)
        return syntax(p, "displacement out of range");
    p->s = end;
    *out = minus ? (int64_t)(0 - u) : (int64_t)u;
    return CAB_OK;
}

static cab_status address(parser *p, cab_kins *i)
{
    bool minus;

    CAB_TRY(operand(p, &i->a));
    CAB_TRY(expect(p, "["));
    space(p);
    if (*p->s != '%') {
        CAB_TRY(integer(p, &i->imm));
    } else {
        CAB_TRY(operand(p, &i->b));
        minus = accept(p, "-");
        if (minus || accept(p, "+"))
            CAB_TRY(displacement(p, minus, &i->imm));
    }
    CAB_TRY(expect(p, "]"));
    return accept(p, "mask") ? operand(p, &i->c) : CAB_OK;
}

/* A parenthesised list: values, or plain numbers for perm. */
static cab_status list(parser *p, cab_kins *i, bool values)
{
    int32_t v;

    i->args = (int32_t)p->k->args.n;
    CAB_TRY(expect(p, "("));
    do {
        CAB_TRY(values ? operand(p, &v) : small(p, &v));
        cab_vec_push(p->arena, &p->k->args, v);
        i->n_args++;
    } while (accept(p, ","));
    return expect(p, ")");
}

static cab_status space_name(parser *p, cab_kins *i)
{
    for (int j = 0; cab_kspace_names[j]; j++)
        if (accept(p, cab_kspace_names[j])) {
            i->space = (uint8_t)j;
            return CAB_OK;
        }
    return syntax(p, "expected stack or shared");
}

static cab_status constant(parser *p, cab_kins *i)
{
    if (!cab_dtype_is_float((cab_dtype)i->dt))
        return integer(p, &i->imm);
    CAB_TRY(number(p, &i->f));
    if (i->dt == CAB_DT_f32)
        i->f = (double)(float)i->f;
    return CAB_OK;
}

static cab_status field(parser *p, cab_kins *i, char f)
{
    int32_t v;

    switch (f) {
    case 'a': return operand(p, &i->a);
    case 'b': case 'B': return operand(p, &i->b);
    case 'c': return operand(p, &i->c);
    case 'i': return integer(p, &i->imm);
    case 'k': return constant(p, i);
    case 'r': i->flags |= CAB_KIR_RO; return expect(p, "ro");
    case 's': return space_name(p, i);
    case 'g': return list(p, i, true);
    case 'p': return list(p, i, false);
    case 'm': return address(p, i);
    default:
        CAB_TRY(operand(p, &v));
        i->args = (int32_t)p->k->args.n;
        i->n_args = 1;
        cab_vec_push(p->arena, &p->k->args, v);
        return CAB_OK;
    }
}

/* Optional fields show by what comes next; takes the comma before them. */
static bool comes(parser *p, char f, bool first)
{
    const char *mark = p->s;

    if (first || accept(p, ",")) {
        space(p);
        if (*p->s == (f == 'g' ? '(' : f == 'r' ? 'r' : '%'))
            return true;
    }
    p->s = mark;
    return false;
}

static cab_status fields(parser *p, cab_kins *i, const char *f)
{
    bool first = true;

    for (; *f; f++) {
        if (*f == 'o')
            continue;
        if (*f == 'g' || *f == 'r' || *f == 'B') {
            if (!comes(p, *f, first))
                continue;
        } else if (!first) {
            CAB_TRY(expect(p, ","));
        }
        CAB_TRY(field(p, i, *f));
        first = false;
    }
    return CAB_OK;
}

static cab_status type(parser *p, cab_kins *i)
{
    const char *w = p->s, *x;
    int32_t lanes = 1;
    size_t n;

    if (*p->s != '.')
        return syntax(p, "expected a type");
    p->s++;
    w = word(p);
    n = w ? strcspn(w, "x") : 0;
    i->dt = (uint8_t)(n ? cab_dtype_parse(w, n) : CAB_DT_none);
    if (i->dt == CAB_DT_none)
        return syntax(p, "no such type");
    x = w + n;
    if (*x) {
        p->s -= strlen(x + 1);
        CAB_TRY(small(p, &lanes));
    }
    if (lanes < 1 || lanes > CAB_KIR_MAX_LANES)
        return syntax(p, "lanes out of range");
    i->lanes = (uint16_t)lanes;
    return CAB_OK;
}

static cab_status sub(parser *p, cab_kins *i, const char *const *words)
{
    const char *w;

    CAB_TRY(expect(p, "."));
    w = word(p);
    for (int j = 0; w && words[j]; j++)
        if (!strcmp(w, words[j])) {
            i->sub = (uint8_t)j;
            return CAB_OK;
        }
    return syntax(p, "no such variant");
}

static cab_status instruction(parser *p)
{
    cab_kins i = { .lanes = 1, .a = -1, .b = -1, .c = -1 };
    const char *name = NULL, *w;
    cab_kop_info o;
    int op = 0;

    if (accept(p, "%")) {
        name = word(p);
        if (!name)
            return syntax(p, "expected a name");
        CAB_TRY(expect(p, "="));
    }
    space(p);
    w = word(p);
    while (w && op < CAB_K_COUNT && strcmp(cab_kop_get(op).text, w))
        op++;
    if (!w || op == CAB_K_COUNT)
        return syntax(p, "no such instruction");
    o = cab_kop_get(op);
    i.op = (uint8_t)op;
    if (o.value != (name != NULL))
        return syntax(p, name ? "gives no value" : "its value needs a name");
    if (o.subs)
        CAB_TRY(sub(p, &i, o.subs));
    if (o.typed)
        CAB_TRY(type(p, &i));
    CAB_TRY(fields(p, &i, o.fields));
    op = cab_kir_append(p->k, &i);
    if (name)
        cab_map_sets(p->names, name, (void *)(intptr_t)(op + 1));
    return CAB_OK;
}

static cab_status kernel(parser *p)
{
    const char *name;
    int32_t bufs = 0, ints = 0, block = 0;

    CAB_TRY(expect(p, "kernel"));
    space(p);
    name = word(p);
    if (!name)
        return syntax(p, "expected a name");
    CAB_TRY(expect(p, "bufs"));
    CAB_TRY(small(p, &bufs));
    CAB_TRY(expect(p, "ints"));
    CAB_TRY(small(p, &ints));
    CAB_TRY(expect(p, "block"));
    CAB_TRY(small(p, &block));
    p->k = cab_kir_create(p->arena, name, bufs, ints);
    p->k->block = block;
    p->k->licm = accept(p, "licm");
    p->k->cse = accept(p, "cse");
    CAB_TRY(expect(p, "{"));
    while (!accept(p, "}"))
        CAB_TRY(instruction(p));
    space(p);
    return *p->s ? syntax(p, "text after the kernel") : CAB_OK;
}

cab_status cab_kir_parse(cab_arena *a, const char *text, size_t n, const char *file,
                         cab_kir **out, cab_diag *d)
{
    parser p = { .arena = a, .file = file, .d = d };
    cab_status s;

    p.text = p.s = cab_strndup(a, text, n);
    p.names = cab_map_create(a);
    /* The C locale is static in libc: nothing leaks when the arena jumps. */
    p.c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!p.c_locale)
        return cab_fail(d, CAB_ENOMEM, NULL, "no C locale");
    s = kernel(&p);
    freelocale(p.c_locale);
    CAB_TRY(s);
    CAB_TRY(cab_kir_verify(p.k, d));
    *out = p.k;
    return CAB_OK;
}
