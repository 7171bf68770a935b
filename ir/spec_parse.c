/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec_parse.c - reads Specs as spec_text.c writes them.
 *
 * Recursive descent.  Everything parsed is verified, so hostile text gives a
 * story, never a malformed Spec: calls nest to a fixed depth, counts are
 * bounded by the limits of spec.h and by the length of the text.
 */
#include "ir/spec_scan.h"
#include <ctype.h>
#include <string.h>

#define MAX_NESTING 64

/* ---- expressions ---- */
static cab_status parse_axis(cab_scan *p, int *out)
{
    const char *name;
    CAB_TRY(cab_scan_name(p, &name));
    for (int i = 0; i < p->spec->n_axes; i++)
        if (!strcmp(p->spec->axis[i].name, name)) {
            *out = i;
            return CAB_OK;
        }
    return cab_scan_fail(p, "no axis '%s'", name);
}

static cab_status parse_expr(cab_scan *p, const cab_expr **out);

/* v3, r0 or t2 in front of us? */
static bool is_reference(const char *s, size_t n)
{
    if (n < 2 || !strchr("vrt", s[0]))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return true;
}

static cab_status parse_reference(cab_scan *p, const cab_expr **out)
{
    char kind = *p->s++;
    int i;
    CAB_TRY(cab_scan_int(p, 0, INT32_MAX, &i));
    size_t have = kind == 'v' ? p->spec->views.n
                : kind == 'r' ? p->spec->stages.n : p->names.n;
    if ((size_t)i >= have)
        return cab_scan_fail(p, "%c%d is not defined yet", kind, i);
    *out = kind == 'v' ? cab_ex_load(p->spec, i)
         : kind == 'r' ? cab_ex_result(p->spec, i) : p->names.p[i];
    return CAB_OK;
}

/* 64-bit constants do not survive a double: integers are read as such. */
static cab_status parse_const(cab_scan *p, const cab_expr **out)
{
    const char *start = p->s;
    double f;
    int64_t i;
    cab_dtype t;
    CAB_TRY(cab_scan_double(p, &f));
    CAB_TRY(cab_scan_expect(p, ":"));
    CAB_TRY(cab_scan_dtype(p, &t));
    const char *end = p->s;
    if (cab_dtype_is_float(t)) {
        *out = cab_ex_const(p->spec, t, f);
        return CAB_OK;
    }
    if (!cab_dtype_is_int(t) && t != CAB_DT_bool)
        return cab_scan_fail(p, "no constants of type %s", cab_dtype_name(t));
    p->s = start;
    CAB_TRY(cab_scan_i64(p, &i));
    if (*p->s != ':')
        return cab_scan_fail(p, "expected an integer");
    p->s = end;
    *out = cab_ex_int(p->spec, t, i);
    return CAB_OK;
}

static cab_status parse_call(cab_scan *p, cab_expr_op op, const cab_expr **out)
{
    const cab_ex_row *row = cab_ex_row_of(op);
    const cab_expr *arg[3] = { NULL };
    cab_dtype t[3] = { CAB_DT_none, CAB_DT_none, CAB_DT_none }, to = CAB_DT_none;
    if (row->rule == CAB_RULE_CAST) {
        CAB_TRY(cab_scan_expect(p, ":"));
        CAB_TRY(cab_scan_dtype(p, &to));
    }
    for (int k = 0; k < row->arity; k++) {
        CAB_TRY(cab_scan_expect(p, k ? "," : "("));
        CAB_TRY(parse_expr(p, &arg[k]));
        t[k] = arg[k]->dtype;
    }
    CAB_TRY(cab_scan_expect(p, ")"));
    cab_dtype dt = cab_ex_type(op, t, to);
    if (dt == CAB_DT_none)
        return cab_scan_fail(p, "'%s' does not take these types", row->name);
    *out = cab_ex_scalar(p->spec, op, dt, arg[0], arg[1], arg[2]);
    return CAB_OK;
}

static cab_status parse_term(cab_scan *p, const cab_expr **out)
{
    cab_scan_skip(p);
    size_t n = cab_scan_word_length(p->s);
    const cab_dim *x;
    int axis;
    if (is_reference(p->s, n))
        return parse_reference(p, out);
    if (cab_scan_take(p, "dim")) {
        CAB_TRY(cab_scan_expect(p, "("));
        CAB_TRY(cab_scan_dim(p, &x));
        *out = cab_ex_dim(p->spec, x);
        return cab_scan_expect(p, ")");
    }
    if (cab_scan_take(p, "axis")) {
        CAB_TRY(cab_scan_expect(p, "("));
        CAB_TRY(parse_axis(p, &axis));
        *out = cab_ex_axis(p->spec, axis);
        return cab_scan_expect(p, ")");
    }
    cab_expr_op op = cab_ex_find(p->s, n);
    if (op == CAB_EX_COUNT)
        return parse_const(p, out);
    p->s += n;
    return parse_call(p, op, out);
}

static cab_status parse_expr(cab_scan *p, const cab_expr **out)
{
    if (++p->nesting > MAX_NESTING)
        return cab_scan_fail(p, "calls nest more than %d deep", MAX_NESTING);
    cab_status st = parse_term(p, out);
    p->nesting--;
    return st;
}

/* ---- Specs ---- */
static cab_status parse_affine(cab_scan *p, cab_affine *f)
{
    const cab_dim *c;
    int axis;
    memset(f, 0, sizeof *f);
    CAB_TRY(cab_scan_expect(p, "["));
    CAB_TRY(cab_scan_dim(p, &f->base));
    for (const char *sep = ";"; cab_scan_take(p, sep); sep = ",") {
        CAB_TRY(parse_axis(p, &axis));
        CAB_TRY(cab_scan_expect(p, ":"));
        CAB_TRY(cab_scan_dim(p, &c));
        cab_affine_add(p->dims, f, axis, c);
    }
    return cab_scan_expect(p, "]");
}

static cab_status parse_axis_line(cab_scan *p)
{
    static const char *const kinds[] = { "par", "red", NULL };
    const char *name;
    int kind;
    const cab_dim *extent;
    if (p->spec->n_axes == CAB_SPEC_AXES)
        return cab_scan_fail(p, "more than %d axes", CAB_SPEC_AXES);
    CAB_TRY(cab_scan_name(p, &name));
    CAB_TRY(cab_scan_one_of(p, kinds, &kind));
    CAB_TRY(cab_scan_dim(p, &extent));
    cab_spec_axis(p->spec, (cab_axis_kind)kind, extent, name);
    return CAB_OK;
}

static cab_status parse_operand_line(cab_scan *p)
{
    static const char *const ways[] = { "in", "out", NULL };
    int i, way;
    cab_dtype t;
    const cab_dim *elems;
    CAB_TRY(cab_scan_int(p, p->spec->n_operands, p->spec->n_operands, &i));
    CAB_TRY(cab_scan_dtype(p, &t));
    CAB_TRY(cab_scan_one_of(p, ways, &way));
    CAB_TRY(cab_scan_expect(p, "elems"));
    CAB_TRY(cab_scan_dim(p, &elems));
    cab_spec_operand(p->spec, t, way == 1, elems);
    return CAB_OK;
}

static cab_status parse_guards(cab_scan *p, const char *word, cab_spec_guard *guard, int *n)
{
    while (cab_scan_take(p, word)) {
        if (*n == CAB_SPEC_GUARDS)
            return cab_scan_fail(p, "more than %d guards", CAB_SPEC_GUARDS);
        CAB_TRY(parse_affine(p, &guard[*n].at));
        CAB_TRY(cab_scan_expect(p, "in"));
        CAB_TRY(cab_scan_dim(p, &guard[*n].extent));
        ++*n;
    }
    return CAB_OK;
}

static cab_status parse_view_line(cab_scan *p)
{
    cab_view v = { 0 };
    int i, n = (int)p->spec->views.n;
    CAB_TRY(cab_scan_int(p, n, n, &i));
    CAB_TRY(cab_scan_expect(p, "="));
    CAB_TRY(cab_scan_expect(p, "operand"));
    CAB_TRY(cab_scan_int(p, 0, p->spec->n_operands - 1, &v.operand));
    v.dtype = p->spec->operands[v.operand].dtype;
    CAB_TRY(parse_affine(p, &v.at));
    while (cab_scan_take(p, "index")) {
        if (v.n_loaded == CAB_SPEC_LOADED)
            return cab_scan_fail(p, "more than %d loaded indices", CAB_SPEC_LOADED);
        CAB_TRY(parse_expr(p, &v.loaded[v.n_loaded].index));
        CAB_TRY(cab_scan_expect(p, "*"));
        CAB_TRY(cab_scan_dim(p, &v.loaded[v.n_loaded].stride));
        if (cab_scan_take(p, "in"))
            CAB_TRY(cab_scan_dim(p, &v.loaded[v.n_loaded].extent));
        v.n_loaded++;
    }
    CAB_TRY(parse_guards(p, "guard", v.guard, &v.n_guards));
    if (cab_view_is_guarded(&v)) {
        CAB_TRY(cab_scan_expect(p, "fill"));
        CAB_TRY(cab_scan_double(p, &v.fill));
    }
    CAB_TRY(parse_guards(p, "halo", v.halo, &v.n_halo));
    cab_spec_view(p->spec, &v);
    return CAB_OK;
}

static cab_status parse_mask(cab_scan *p, uint32_t *mask)
{
    int axis;
    *mask = 0;
    CAB_TRY(cab_scan_expect(p, "over"));
    CAB_TRY(cab_scan_expect(p, "("));
    if (cab_scan_take(p, ")"))
        return CAB_OK;
    do {
        CAB_TRY(parse_axis(p, &axis));
        *mask |= 1u << axis;
    } while (cab_scan_take(p, ","));
    return cab_scan_expect(p, ")");
}

static cab_status parse_reduce_line(cab_scan *p)
{
    int red;
    cab_dtype acc;
    uint32_t mask;
    const cab_expr *value;
    CAB_TRY(cab_scan_expect(p, "="));
    CAB_TRY(cab_scan_one_of(p, cab_red_names, &red));
    CAB_TRY(cab_scan_dtype(p, &acc));
    CAB_TRY(parse_mask(p, &mask));
    CAB_TRY(parse_expr(p, &value));
    cab_spec_reduce(p->spec, mask, (cab_red)red, acc, value);
    return CAB_OK;
}

static cab_status parse_target(cab_scan *p, int *view)
{
    cab_scan_skip(p);
    if (!is_reference(p->s, cab_scan_word_length(p->s)) || *p->s != 'v')
        return cab_scan_fail(p, "expected a view");
    p->s++;
    return cab_scan_int(p, 0, (int64_t)p->spec->views.n - 1, view);
}

static cab_status parse_store_line(cab_scan *p)
{
    int view, mode = CAB_STORE_PLAIN;
    uint32_t mask;
    const cab_expr *value;
    CAB_TRY(parse_target(p, &view));
    for (int i = CAB_STORE_ADD; i <= CAB_STORE_MIN && mode == CAB_STORE_PLAIN; i++)
        if (cab_scan_take(p, cab_store_names[i]))
            mode = i;
    CAB_TRY(parse_mask(p, &mask));
    CAB_TRY(parse_expr(p, &value));
    cab_spec_store_with(p->spec, mask, (cab_store_mode)mode, view, value);
    return CAB_OK;
}

static cab_status parse_scan_line(cab_scan *p)
{
    int view, red;
    cab_dtype acc;
    uint32_t mask;
    const cab_expr *value;
    CAB_TRY(parse_target(p, &view));
    CAB_TRY(cab_scan_one_of(p, cab_red_names, &red));
    CAB_TRY(cab_scan_dtype(p, &acc));
    bool exclusive = cab_scan_take(p, "exclusive");
    CAB_TRY(parse_mask(p, &mask));
    CAB_TRY(parse_expr(p, &value));
    cab_spec_scan(p->spec, mask, (cab_red)red, acc, exclusive, view, value);
    return CAB_OK;
}

/* r0 = ... or t0 = ...: numbers follow the order of the lines. */
static cab_status parse_definition(cab_scan *p)
{
    char kind = *p->s++;
    const cab_expr *e;
    int i, n = (int)(kind == 'r' ? p->spec->stages.n : p->names.n);
    if (kind == 'v')
        return cab_scan_fail(p, "views are declared with 'view'");
    CAB_TRY(cab_scan_int(p, n, n, &i));
    if (kind == 'r')
        return parse_reduce_line(p);
    CAB_TRY(cab_scan_expect(p, "="));
    CAB_TRY(parse_expr(p, &e));
    cab_vec_push(p->a, &p->names, e);
    return CAB_OK;
}

static cab_status parse_spec_line(cab_scan *p)
{
    cab_scan_skip(p);
    if (is_reference(p->s, cab_scan_word_length(p->s)))
        return parse_definition(p);
    if (cab_scan_take(p, "axis"))
        return parse_axis_line(p);
    if (cab_scan_take(p, "operand"))
        return parse_operand_line(p);
    if (cab_scan_take(p, "view"))
        return parse_view_line(p);
    if (cab_scan_take(p, "store"))
        return parse_store_line(p);
    if (cab_scan_take(p, "scan"))
        return parse_scan_line(p);
    return cab_scan_fail(p, "expected a statement");
}

cab_status cab_parse_spec(cab_scan *p)
{
    const char *name;
    int kind;
    CAB_TRY(cab_scan_expect(p, "spec"));
    CAB_TRY(cab_scan_expect(p, "@"));
    CAB_TRY(cab_scan_name(p, &name));
    CAB_TRY(cab_scan_one_of(p, cab_spec_kind_names, &kind));
    CAB_TRY(cab_scan_expect(p, "{"));
    p->spec = cab_spec_create(p->a, p->dims, name, (cab_spec_kind)kind);
    p->names.n = 0;
    p->nesting = 0;
    while (!cab_scan_take(p, "}"))
        CAB_TRY(parse_spec_line(p));
    return cab_spec_verify(p->spec, p->d);
}

cab_status cab_spec_parse(cab_arena *a, cab_dims *dims, const char *text, size_t n,
                          const char *file, cab_spec **out, cab_diag *d)
{
    cab_scan p = { .a = a, .dims = dims, .file = file, .d = d };
    CAB_TRY(cab_scan_start(&p, text, n));
    CAB_TRY(cab_parse_spec(&p));
    cab_scan_skip(&p);
    if (*p.s)
        return cab_scan_fail(&p, "text after the spec");
    *out = p.spec;
    return CAB_OK;
}
