/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rule.c - rule text to compiled rules.
 *
 *   rule NAME [for V [, W] in (a, b), (c, d) | for V in a, b | trait(T)]
 *        [class exact|rounding]
 *     match  [y =] pattern
 *     [where guard(args), not guard(args)]
 *     build  expression
 *
 * One pass over the text with one token of lookahead.  A quantified rule is
 * compiled once per tuple of ops: the parser goes back to its body with other
 * ops bound to the variables.  Unknown ops, wrong arity, unbound or twice
 * used names are errors with file and line.
 */
#include "passes/rule_int.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RULE_VARS 3
#define MAX_WHOLE 9007199254740992.0     /* 2^53: every integer up to there is a double */

typedef enum token { T_END, T_NAME, T_NUMBER, T_STRING, T_CHAR } token;

typedef struct reader {
    cab_arena *a;
    cab_diag *diag;
    const char *path, *p;
    int line, start_line, last_line;   /* here, of the token, of the one before */
    token kind;
    const char *text;
    size_t n;
    double number;
    bool whole;                /* no point, no exponent, at most MAX_WHOLE */
    cab_status status;
    cab_rule *rule;
    int n_vars;                /* quantified op variables */
    const char *var[RULE_VARS];
    size_t var_n[RULE_VARS];
    cab_op_id bound[RULE_VARS];
} reader;

static void vfail(reader *r, int line, const char *fmt, va_list ap)
{
    cab_where w = { .file = r->path, .line = line };

    if (r->status == CAB_OK)
        r->status = cab_vfail(r->diag, CAB_EPARSE, &w, fmt, ap);
    r->kind = T_END;
}

/* An error at the token, or in what was read before it. */
static void fail(reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail_before(reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void fail(reader *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfail(r, r->start_line, fmt, ap);
    va_end(ap);
}

static void fail_before(reader *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfail(r, r->last_line, fmt, ap);
    va_end(ap);
}

/* ---- tokens ---- */
static void skip_space(reader *r)
{
    for (;; r->p++) {
        if (*r->p == '#')
            r->p += strcspn(r->p, "\n");
        if (*r->p == '\n')
            r->line++;
        if (!*r->p || !isspace((unsigned char)*r->p))
            return;
    }
}

static void next(reader *r)
{
    const char *p;
    char *end;

    if (r->status != CAB_OK)
        return;
    r->last_line = r->line;
    skip_space(r);
    p = r->text = r->p;
    r->start_line = r->line;
    if (!*p) {
        r->kind = T_END;
    } else if (isalpha((unsigned char)*p) || *p == '_') {
        while (isalnum((unsigned char)*p) || *p == '_' || *p == '.')
            p++;
        r->kind = T_NAME;
    } else if (isdigit((unsigned char)*p) || (*p == '-' && isdigit((unsigned char)p[1]))) {
        r->number = strtod(p, &end);
        r->whole = !memchr(p, '.', (size_t)(end - p)) && !memchr(p, 'e', (size_t)(end - p)) &&
                   fabs(r->number) <= MAX_WHOLE;
        p = end;
        r->kind = T_NUMBER;
    } else if (*p == '"') {
        p += 1 + strcspn(p + 1, "\"\n");
        if (*p != '"') {
            fail(r, "a string without its end");
            return;
        }
        p++;
        r->kind = T_STRING;
    } else {
        p++;
        r->kind = T_CHAR;
    }
    r->n = (size_t)(p - r->text);
    r->p = p;
}

static bool is_char(const reader *r, char c)
{
    return r->kind == T_CHAR && *r->text == c;
}

static bool is_word(const reader *r, const char *w)
{
    return r->kind == T_NAME && r->n == strlen(w) && !memcmp(r->text, w, r->n);
}

static bool take(reader *r, char c)
{
    if (!is_char(r, c))
        return false;
    next(r);
    return true;
}

static void want(reader *r, char c)
{
    if (!take(r, c))
        fail(r, "expected '%c' before '%.*s'", c, (int)r->n, r->text);
}

static const char *want_name(reader *r)
{
    const char *s;

    if (r->kind != T_NAME) {
        fail(r, "expected a name before '%.*s'", (int)r->n, r->text);
        return "";
    }
    s = cab_strndup(r->a, r->text, r->n);
    next(r);
    return s;
}

/* ---- names ---- */
static int find_slot(const reader *r, const char *name)
{
    for (int i = 0; i < r->rule->n_slots; i++)
        if (!strcmp(r->rule->slot_name[i], name))
            return i;
    return -1;
}

static int find_word_slot(const reader *r)
{
    return find_slot(r, cab_strndup(r->a, r->text, r->n));
}

/* A value named twice must be the same value; other names are used once. */
static int bind_slot(reader *r, const char *name, bool is_attr)
{
    cab_rule *u = r->rule;
    int i = find_slot(r, name);

    if (i >= 0) {
        if (is_attr || u->slot_is_attr[i])
            fail_before(r, "rule %s: the name %s is used twice", u->name, name);
        return i;
    }
    if (u->n_slots == CAB_RULE_SLOTS) {
        fail(r, "rule %s: more than %d names", u->name, CAB_RULE_SLOTS);
        return 0;
    }
    u->slot_name[u->n_slots] = name;
    u->slot_is_attr[u->n_slots] = is_attr;
    return u->n_slots++;
}

static int bound_slot(reader *r, const char *name)
{
    int i = find_slot(r, name);

    if (i < 0)
        fail_before(r, "rule %s: %s is not bound by the pattern", r->rule->name, name);
    return i < 0 ? 0 : i;
}

static cab_op_id find_op(const reader *r, const char *name, size_t n)
{
    const cab_op *op;

    for (int i = 0; i < r->n_vars; i++)
        if (r->var_n[i] == n && !memcmp(r->var[i], name, n))
            return r->bound[i];
    op = cab_op_find(name, n);
    return op ? op->id : CAB_OP_none;
}

static void check_arity(reader *r, cab_op_id id, int n)
{
    const cab_op *op = cab_op_get(id);
    const cab_schema *sc = cab_op_is_onnx(id) ? cab_schema_newest(id) : NULL;
    const cab_io_row *in = sc ? sc->in : op->in;
    int n_in = sc ? sc->n_in : op->n_in, least = 0;
    bool open = n_in && in[n_in - 1].arity == CAB_VAR;

    for (int i = 0; i < n_in; i++)
        least += in[i].arity == CAB_ONE;
    if (n < least || (!open && n > n_in))
        fail_before(r, "rule %s: %s with %d operands", r->rule->name, op->name, n);
}

/* Kind and default of the op's attribute out->name. */
static void check_attr(reader *r, cab_op_id id, cab_rattr *out)
{
    const cab_op *op = cab_op_get(id);
    const cab_schema *sc = cab_op_is_onnx(id) ? cab_schema_newest(id) : NULL;
    int n = sc ? sc->n_attr : op->n_attr;

    for (int i = 0; i < n; i++) {
        const char *def = sc ? sc->attr[i].def : op->attr[i].def;

        if (strcmp(sc ? sc->attr[i].name : op->attr[i].name, out->name))
            continue;
        out->kind = sc ? sc->attr[i].kind : op->attr[i].kind;
        out->has_default = def && *def;
        return;
    }
    fail_before(r, "rule %s: %s has no attribute %s", r->rule->name, op->name, out->name);
}

/* ---- attributes ---- */
static void read_list(reader *r, cab_rattr *out)
{
    CAB_VEC(int64_t) v = { 0 };

    next(r);
    while (!is_char(r, ']') && r->status == CAB_OK) {
        if (r->kind != T_NUMBER || !r->whole) {
            fail(r, "expected an integer");
            return;
        }
        cab_vec_push(r->a, &v, (int64_t)r->number);
        next(r);
        if (!take(r, ','))
            break;
    }
    want(r, ']');
    out->lit = cab_a_ints(out->name, v.p, (int64_t)v.n);
}

static int read_args(reader *r, int *arg)
{
    int n = 0;

    want(r, '(');
    while (!is_char(r, ')') && r->status == CAB_OK) {
        const char *name = want_name(r);

        if (n == CAB_RULE_ARGS) {
            fail(r, "more than %d arguments", CAB_RULE_ARGS);
            return 0;
        }
        arg[n++] = bound_slot(r, name);
        if (!take(r, ','))
            break;
    }
    want(r, ')');
    return n;
}

static void read_literal(reader *r, cab_rattr *out)
{
    if (r->kind == T_NUMBER) {
        out->lit = out->kind == CAB_ATTR_INT && r->whole
                       ? cab_a_int(out->name, (int64_t)r->number)
                       : cab_a_float(out->name, r->number);
        next(r);
    } else if (r->kind == T_NAME) {
        out->lit = cab_a_dtype(out->name, cab_dtype_parse(r->text, r->n));
        next(r);
    } else if (r->kind == T_STRING) {
        out->lit = cab_a_str(out->name, cab_strndup(r->a, r->text + 1, r->n - 2));
        next(r);
    } else if (is_char(r, '[')) {
        read_list(r, out);
    } else {
        fail(r, "expected a value for attribute %s", out->name);
    }
    if (r->status == CAB_OK && (int)out->lit.kind != out->kind)
        fail_before(r, "attribute %s has another kind", out->name);
}

/* pattern: names bind; expression: names are bound ones or makers. */
static void read_attr(reader *r, cab_op_id op, bool pattern, cab_rattr *out)
{
    out->name = want_name(r);
    out->slot = -1;
    check_attr(r, op, out);
    want(r, '=');
    if (r->kind != T_NAME || (out->kind == CAB_ATTR_DTYPE && find_word_slot(r) < 0 &&
                              cab_dtype_parse(r->text, r->n) != CAB_DT_none)) {
        read_literal(r, out);
        return;
    }
    if (pattern) {
        out->slot = bind_slot(r, want_name(r), true);
        return;
    }
    out->maker = cab_rmaker_find(r->text, r->n);
    if (out->maker && out->maker->attr) {
        next(r);
        out->n_arg = read_args(r, out->arg);
        if (out->n_arg != out->maker->n_arg)
            fail_before(r, "%s takes %d arguments", out->maker->name, out->maker->n_arg);
        return;
    }
    out->maker = NULL;
    out->slot = bound_slot(r, want_name(r));
    if (!r->rule->slot_is_attr[out->slot])
        fail_before(r, "%s is no attribute", r->rule->slot_name[out->slot]);
}

static cab_rattr *read_attrs(reader *r, cab_op_id op, bool pattern, int *n, int *copy)
{
    CAB_VEC(cab_rattr) v = { 0 };

    *n = 0;
    if (!take(r, '{'))
        return NULL;
    do {
        cab_rattr one = { 0 };

        if (!pattern && is_word(r, "attrs")) {
            next(r);
            if (read_args(r, one.arg) != 1)
                fail(r, "attrs takes one name");
            *copy = one.arg[0];
            continue;
        }
        read_attr(r, op, pattern, &one);
        cab_vec_push(r->a, &v, one);
    } while (take(r, ','));
    want(r, '}');
    *n = (int)v.n;
    return v.p;
}

/* ---- patterns ---- */
static cab_rpat read_pattern(reader *r, int depth);

static void read_op_pattern(reader *r, const char *name, cab_rpat *p, int depth)
{
    CAB_VEC(cab_rpat) in = { 0 };
    int ignored;

    p->kind = CAB_RP_OP;
    p->op = find_op(r, name, strlen(name));
    if (p->op == CAB_OP_none) {
        fail_before(r, "rule %s: unknown op %s", r->rule->name, name);
        return;
    }
    want(r, '(');
    while (!is_char(r, ')') && r->status == CAB_OK) {
        cab_rpat one = read_pattern(r, depth + 1);

        cab_vec_push(r->a, &in, one);
        if (!take(r, ','))
            break;
    }
    want(r, ')');
    p->in = in.p;
    p->n_in = (int)in.n;
    if (r->status == CAB_OK)
        check_arity(r, p->op, p->n_in);
    if (r->status == CAB_OK)
        p->attr = read_attrs(r, p->op, true, &p->n_attr, &ignored);
}

static cab_rpat read_pattern(reader *r, int depth)
{
    cab_rpat p = { .slot = -1 };
    const char *name;

    if (depth > 8) {
        fail(r, "a pattern deeper than 8");
        return p;
    }
    if (r->kind == T_NUMBER) {
        p.kind = CAB_RP_NUMBER;
        p.number = r->number;
        next(r);
        return p;
    }
    name = want_name(r);
    if (is_char(r, '(')) {
        read_op_pattern(r, name, &p, depth);
        return p;
    }
    p.slot = bind_slot(r, name, false);
    if (take(r, '=')) {
        int slot = p.slot;

        p = read_pattern(r, depth);
        if (p.kind == CAB_RP_VALUE)
            fail_before(r, "%s = a plain name", name);
        p.slot = slot;
        return p;
    }
    p.kind = CAB_RP_VALUE;
    p.is_const = take(r, '!');
    p.optional = take(r, '?');
    return p;
}

/* ---- expressions ---- */
static cab_rexpr read_expr(reader *r, int depth);

static void read_call(reader *r, const char *name, cab_rexpr *e, int depth)
{
    const cab_rmaker *maker = cab_rmaker_find(name, strlen(name));
    CAB_VEC(cab_rexpr) in = { 0 };

    if (maker && maker->value) {
        e->kind = CAB_RE_MAKER;
        e->maker = maker;
        e->n_arg = read_args(r, e->arg);
        if (e->n_arg != maker->n_arg)
            fail_before(r, "%s takes %d arguments", name, maker->n_arg);
        return;
    }
    e->kind = CAB_RE_OP;
    e->op = find_op(r, name, strlen(name));
    if (e->op == CAB_OP_none) {
        fail_before(r, "rule %s: unknown op or maker %s", r->rule->name, name);
        return;
    }
    want(r, '(');
    while (!is_char(r, ')') && r->status == CAB_OK) {
        cab_rexpr one = read_expr(r, depth + 1);

        cab_vec_push(r->a, &in, one);
        if (!take(r, ','))
            break;
    }
    want(r, ')');
    e->in = in.p;
    e->n_in = (int)in.n;
    if (r->status == CAB_OK)
        check_arity(r, e->op, e->n_in);
    if (r->status == CAB_OK)
        e->attr = read_attrs(r, e->op, false, &e->n_attr, &e->copy_slot);
}

static cab_rexpr read_expr(reader *r, int depth)
{
    cab_rexpr e = { .slot = -1, .copy_slot = -1 };
    const char *name;

    if (depth > 16) {
        fail(r, "an expression deeper than 16");
        return e;
    }
    if (r->kind == T_NUMBER) {
        e.kind = CAB_RE_NUMBER;
        e.number = r->number;
        next(r);
        return e;
    }
    name = want_name(r);
    if (is_char(r, '(')) {
        read_call(r, name, &e, depth);
        return e;
    }
    e.kind = CAB_RE_SLOT;
    e.slot = bound_slot(r, name);
    return e;
}

/* ---- rules ---- */
static void read_guards(reader *r)
{
    cab_rule *u = r->rule;

    do {
        cab_rguard g = { 0 };

        if (is_word(r, "not")) {
            g.negate = true;
            next(r);
        }
        if (r->kind != T_NAME || !(g.row = cab_rpredicate_find(r->text, r->n))) {
            fail(r, "rule %s: unknown guard %.*s", u->name, (int)r->n, r->text);
            return;
        }
        next(r);
        g.n_arg = read_args(r, g.arg);
        if (r->status == CAB_OK && g.n_arg != g.row->n_arg)
            fail_before(r, "guard %s takes %d arguments", g.row->name, g.row->n_arg);
        if (u->n_guards == 8) {
            fail(r, "rule %s: more than 8 guards", u->name);
            return;
        }
        u->guard[u->n_guards++] = g;
    } while (take(r, ','));
}

static void add_rule(cab_ruleset *rs, cab_rule *u)
{
    cab_op_id op = u->root.op;

    cab_vec_push(rs->arena, &rs->rules, u);
    if (rs->last[op])
        rs->last[op]->next = u;
    else
        rs->by_op[op] = u;
    rs->last[op] = u;
}

/* match ... build ..., with the quantified ops bound. */
static void read_body(reader *r, cab_ruleset *rs, const cab_rule *head)
{
    cab_rule *u = cab_dup(r->a, head, sizeof *head);

    r->rule = u;
    if (!is_word(r, "match")) {
        fail(r, "rule %s: expected match", u->name);
        return;
    }
    next(r);
    u->root = read_pattern(r, 0);
    if (r->status == CAB_OK && u->root.kind != CAB_RP_OP)
        fail_before(r, "rule %s: the pattern is no op", u->name);
    if (is_word(r, "where")) {
        next(r);
        read_guards(r);
    }
    if (!is_word(r, "build")) {
        fail(r, "rule %s: expected build before '%.*s'", u->name, (int)r->n, r->text);
        return;
    }
    next(r);
    u->build = read_expr(r, 0);
    if (r->status == CAB_OK)
        add_rule(rs, u);
}

typedef struct tuple { cab_op_id op[RULE_VARS]; } tuple;
typedef CAB_VEC(tuple) tuples;

static uint32_t trait_of(const char *s, size_t n)
{
    static const struct { const char *name; uint32_t bit; } rows[] = {
        { "PURE", CAB_T_PURE }, { "ELTWISE", CAB_T_ELTWISE }, { "COMM", CAB_T_COMM },
        { "MOVE", CAB_T_MOVE }, { "REDUCE", CAB_T_REDUCE },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].name) == n && !memcmp(rows[i].name, s, n))
            return rows[i].bit;
    return 0;
}

/* trait(T, k): the CORE ops of trait T with k operands and no attributes. */
static void read_trait(reader *r, tuples *out)
{
    uint32_t bit;
    int arity;

    next(r);
    want(r, '(');
    bit = trait_of(r->text, r->n);
    if (!bit)
        fail(r, "unknown trait %.*s", (int)r->n, r->text);
    next(r);
    want(r, ',');
    arity = r->number >= 0 && r->number <= 8 ? (int)r->number : -1;
    if (r->kind != T_NUMBER)
        fail(r, "expected the number of operands");
    next(r);
    want(r, ')');
    for (int id = CAB_OP_none + 1; id < CAB_OP_first_onnx_; id++) {
        const cab_op *op = cab_op_get((cab_op_id)id);

        if ((op->traits & bit) && op->n_in == arity && !op->n_attr)
            cab_vec_push(r->a, out, ((tuple){ { op->id } }));
    }
}

static cab_op_id want_op(reader *r)
{
    const cab_op *op = r->kind == T_NAME ? cab_op_find(r->text, r->n) : NULL;

    if (!op) {
        fail(r, "unknown op %.*s", (int)r->n, r->text);
        return CAB_OP_none;
    }
    next(r);
    return op->id;
}

static void read_tuples(reader *r, tuples *out)
{
    do {
        tuple t = { { CAB_OP_none } };
        bool many = take(r, '(');

        for (int i = 0; i < r->n_vars && r->status == CAB_OK; i++) {
            if (i)
                want(r, ',');
            t.op[i] = want_op(r);
        }
        if (many)
            want(r, ')');
        cab_vec_push(r->a, out, t);
    } while (take(r, ','));
}

static void read_for(reader *r, tuples *out)
{
    next(r);
    do {
        if (r->n_vars == RULE_VARS) {
            fail(r, "more than %d op variables", RULE_VARS);
            return;
        }
        r->var[r->n_vars] = r->text;
        r->var_n[r->n_vars++] = r->n;
        want_name(r);
    } while (take(r, ','));
    if (!is_word(r, "in")) {
        fail(r, "expected in");
        return;
    }
    next(r);
    if (is_word(r, "trait"))
        read_trait(r, out);
    else
        read_tuples(r, out);
}

static void read_rule(reader *r, cab_ruleset *rs)
{
    cab_rule head = { .line = r->start_line };
    tuples ts = { 0 };
    reader body;

    next(r);
    head.name = want_name(r);
    for (size_t i = 0; i < rs->rules.n; i++)
        if (!strcmp(rs->rules.p[i]->name, head.name))
            fail_before(r, "a second rule %s", head.name);
    r->n_vars = 0;
    if (is_word(r, "for"))
        read_for(r, &ts);
    if (is_word(r, "class")) {
        next(r);
        head.rounding = is_word(r, "rounding");
        if (!head.rounding && !is_word(r, "exact"))
            fail(r, "rule %s: class exact or rounding", head.name);
        next(r);
    }
    if (!r->n_vars) {
        read_body(r, rs, &head);
        return;
    }
    body = *r;
    for (size_t i = 0; i < ts.n && r->status == CAB_OK; i++) {
        *r = body;
        memcpy(r->bound, ts.p[i].op, sizeof r->bound);
        read_body(r, rs, &head);
    }
    r->n_vars = 0;
}

cab_status cab_ruleset_parse(cab_arena *a, const char *text, const char *path,
                             cab_ruleset **out, cab_diag *d)
{
    reader r = { .a = a, .diag = d, .path = path, .p = text, .line = 1 };
    cab_ruleset *rs = CAB_NEW(a, cab_ruleset);

    rs->arena = a;
    rs->path = path;
    next(&r);
    while (r.kind != T_END && r.status == CAB_OK) {
        if (is_word(&r, "rule"))
            read_rule(&r, rs);
        else
            fail(&r, "expected rule before '%.*s'", (int)r.n, r.text);
    }
    *out = r.status == CAB_OK ? rs : NULL;
    return r.status;
}

cab_status cab_ruleset_load(cab_arena *a, cab_rules_file f, cab_ruleset **out, cab_diag *d)
{
    return cab_ruleset_parse(a, cab_rules_text[f], cab_rules_path[f], out, d);
}

bool cab_rules_cover(const cab_ruleset *rs, cab_op_id op)
{
    return rs->by_op[op] != NULL;
}

int cab_rules_count(void)
{
    return cab_rules_index_n;
}

cab_rule_info cab_rules_info(int i)
{
    CAB_ASSERT(i >= 0 && i < cab_rules_index_n);
    return cab_rules_index[i];
}
