/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opset.c - a node in the making: checked, then brought to the newest version.
 *
 * The schema rows say what the version in force admits; upgrades.def what to
 * do for each step that changes the meaning.  What comes out conforms to the
 * newest row or is refused: nothing old passes through by accident.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend_int.h"

typedef struct upgrade_row {
    cab_op_id op;
    int from, to;
    cab_upgrade_fn fn;
} upgrade_row;

static const upgrade_row rows[] = {
#define UPGRADE(op, from, to, fn) { CAB_OP_##op, from, to, fn },
#include "frontend/upgrades.def"
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static const char *const kind_names[CAB_ATTR_KIND_COUNT] = {
    [CAB_ATTR_INT] = "an integer", [CAB_ATTR_FLOAT] = "a float",
    [CAB_ATTR_STR] = "a string", [CAB_ATTR_TENSOR] = "a tensor",
    [CAB_ATTR_GRAPH] = "a graph", [CAB_ATTR_INTS] = "integers",
    [CAB_ATTR_FLOATS] = "floats", [CAB_ATTR_STRS] = "strings",
    [CAB_ATTR_DIMS] = "extents", [CAB_ATTR_DTYPE] = "a dtype",
    [CAB_ATTR_GRAPHS] = "graphs", [CAB_ATTR_TENSORS] = "tensors",
    [CAB_ATTR_TYPE] = "a type",
};

/* ---- editing ---- */
cab_attr *cab_draft_attr(cab_draft *d, const char *name)
{
    for (size_t i = 0; i < d->attr.n; i++) {
        if (!strcmp(d->attr.p[i].name, name))
            return &d->attr.p[i];
    }
    return NULL;
}

void cab_draft_drop(cab_draft *d, const char *name)
{
    cab_attr *a = cab_draft_attr(d, name);

    if (a) {
        size_t i = (size_t)(a - d->attr.p);

        memmove(a, a + 1, (d->attr.n - i - 1) * sizeof *a);
        d->attr.n--;
    }
}

void cab_draft_set(cab_draft *d, cab_attr a)
{
    cab_draft_drop(d, a.name);
    cab_vec_push(d->im->arena, &d->attr, a);
}

void cab_draft_set_in(cab_draft *d, size_t i, cab_value *v)
{
    while (d->in.n <= i)
        cab_vec_push(d->im->arena, &d->in, NULL);
    d->in.p[i] = v;
}

cab_value *cab_draft_in(const cab_draft *d, size_t i)
{
    return i < d->in.n ? d->in.p[i] : NULL;
}

static void stamp(const cab_draft *d, cab_node *n, int since)
{
    n->loc = d->loc;
    n->loc_op = d->loc_op;
    n->opset = since;
}

cab_value *cab_draft_emit(cab_draft *d, cab_op_id op, int n_in, cab_value **in,
                          int n_attr, const cab_attr *attr)
{
    cab_node *n = cab_node_create(d->scope->g, cab_op_get(op), n_in, in, 1,
                                  NULL);

    for (int i = 0; i < n_attr; i++)
        cab_attr_set(n, &attr[i]);
    stamp(d, n, cab_schema_newest(op)->since);
    n->out[0]->type.rank = CAB_RANK_UNKNOWN;
    return n->out[0];
}

static cab_value *constant(cab_draft *d, const cab_raw_tensor *t)
{
    cab_value *v = cab_const_raw(d->scope->g, t);

    stamp(d, v->def, 0);
    return v;
}

cab_value *cab_draft_i64s(cab_draft *d, const int64_t *v, int64_t n)
{
    cab_raw_tensor t = { .dtype = CAB_DT_i64, .rank = 1, .dims = { n },
                         .n = (uint64_t)n, .bytes = 8 * (uint64_t)n };

    t.data = cab_dup(d->im->arena, v, (size_t)t.bytes);
    return constant(d, &t);
}

cab_value *cab_draft_f32s(cab_draft *d, const double *v, int64_t n)
{
    cab_raw_tensor t = { .dtype = CAB_DT_f32, .rank = 1, .dims = { n },
                         .n = (uint64_t)n, .bytes = 4 * (uint64_t)n };
    float *f = CAB_NEW_N(d->im->arena, float, n);

    for (int64_t i = 0; i < n; i++)
        f[i] = (float)v[i];
    t.data = f;
    return constant(d, &t);
}

cab_value *cab_draft_like(cab_draft *d, double v, cab_value *x)
{
    float *f = CAB_NEW(d->im->arena, float);
    cab_raw_tensor t = { .dtype = CAB_DT_f32, .n = 1, .data = f, .bytes = 4 };
    cab_value *in[2];

    *f = (float)v;
    in[0] = constant(d, &t);
    in[1] = x;
    if (x->type.kind == CAB_KIND_tensor && x->type.dtype == CAB_DT_f32)
        return in[0];
    return cab_draft_emit(d, CAB_OP_CastLike, 2, in, 0, NULL);
}

cab_status cab_draft_refuse(cab_draft *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    cab_vfail(d->im->diag, CAB_EUNSUPPORTED, &d->where, fmt, ap);
    va_end(ap);
    return CAB_EUNSUPPORTED;
}

/* ---- checking ---- */
/* The model is at fault when it breaks the version it names; otherwise that
 * version, or the way from it, is what we do not know. */
__attribute__((format(printf, 3, 4)))
static cab_status misfit(cab_draft *d, const cab_schema *s, const char *fmt, ...)
{
    bool known = s == cab_schema_at(d->op, d->opset)
        && d->opset <= cab_schema_newest_opset(cab_op_get(d->op)->domain);
    cab_status code = known ? CAB_EMODEL : CAB_EUNSUPPORTED;
    va_list ap;

    va_start(ap, fmt);
    cab_vfail(d->im->diag, code, &d->where, fmt, ap);
    va_end(ap);
    return code;
}

static cab_status check_arity(cab_draft *d, const cab_schema *s)
{
    int n_in = (int)d->in.n;

    if (n_in < s->min_in || n_in > s->max_in)
        return misfit(d, s, "%d inputs, version %d of the operator takes %d to "
                      "%d", n_in, s->since, s->min_in, s->max_in);
    if (d->n_out < s->min_out || d->n_out > s->max_out)
        return misfit(d, s, "%d outputs, version %d of the operator has %d to "
                      "%d", d->n_out, s->since, s->min_out, s->max_out);
    for (int i = 0; i < n_in && i < s->n_in; i++) {
        if (!d->in.p[i] && s->in[i].arity == CAB_ONE)
            return misfit(d, s, "input '%s' is missing", s->in[i].name);
    }
    return CAB_OK;
}

static const cab_schema_attr *find_row(const cab_schema *s, const char *name)
{
    for (int i = 0; i < s->n_attr; i++) {
        if (!strcmp(s->attr[i].name, name))
            return &s->attr[i];
    }
    return NULL;
}

static cab_status check_attrs(cab_draft *d, const cab_schema *s)
{
    for (size_t i = 0; i < d->attr.n; i++) {
        const cab_attr *a = &d->attr.p[i];
        const cab_schema_attr *row = find_row(s, a->name);

        if (!row)
            return misfit(d, s, "version %d of the operator has no attribute "
                          "'%s'", s->since, a->name);
        if (row->kind != (int)a->kind)
            return misfit(d, s, "attribute '%s' is %s, version %d of the "
                          "operator wants %s", a->name, kind_names[a->kind],
                          s->since, kind_names[row->kind]);
    }
    for (int i = 0; i < s->n_attr; i++) {
        if (!s->attr[i].def && !cab_draft_attr(d, s->attr[i].name))
            return misfit(d, s, "attribute '%s' is missing", s->attr[i].name);
    }
    return CAB_OK;
}

/* ---- upgrading ---- */
static cab_status default_attr(cab_draft *d, const cab_schema_attr *row,
                               cab_attr *out)
{
    size_t n = strlen(row->def);

    switch (row->kind) {
    case CAB_ATTR_INT:
        *out = cab_a_int(row->name, strtoll(row->def, NULL, 10));
        return CAB_OK;
    case CAB_ATTR_FLOAT:
        *out = cab_a_float(row->name, (double)strtof(row->def, NULL));
        return CAB_OK;
    case CAB_ATTR_STR:
        CAB_ASSERT(n >= 2);
        *out = cab_a_str(row->name, cab_strndup(d->im->arena, row->def + 1,
                                                n - 2));
        return CAB_OK;
    default:
        return cab_draft_refuse(d, "the default of attribute '%s' has changed "
                                "since version %d", row->name, d->since);
    }
}

/* Writes out defaults that mean something else in the newest version. */
static cab_status keep_defaults(cab_draft *d, const cab_schema *old,
                                const cab_schema *newest)
{
    for (int i = 0; i < old->n_attr; i++) {
        const cab_schema_attr *a = &old->attr[i], *b;
        cab_attr attr;

        b = find_row(newest, a->name);
        if (!a->def || !*a->def || !b || cab_draft_attr(d, a->name))
            continue;
        if (b->def && !strcmp(a->def, b->def) && a->kind == b->kind)
            continue;
        CAB_TRY(default_attr(d, a, &attr));
        cab_draft_set(d, attr);
    }
    return CAB_OK;
}

static cab_status run_upgrades(cab_draft *d)
{
    for (int i = 0; i < N_ROWS; i++) {
        cab_op_id op = d->op;

        if (rows[i].op != op || d->since < rows[i].from
            || d->since >= rows[i].to)
            continue;
        CAB_TRY(rows[i].fn(d));
        if (d->op == op)
            d->since = rows[i].to;
        else
            i = -1;            /* another operator: its own steps follow */
    }
    return CAB_OK;
}

cab_status cab_draft_normalise(cab_draft *d)
{
    const cab_schema *s = cab_schema_at(d->op, d->opset), *newest;

    if (!s)
        return cab_draft_refuse(d, "the operator does not exist in opset %d",
                                d->opset);
    newest = cab_schema_newest(d->op);
    d->since = s->since;
    CAB_TRY(check_arity(d, s));
    CAB_TRY(check_attrs(d, s));
    cab_draft_drop(d, "consumed_inputs");
    if (s == newest)
        return CAB_OK;
    CAB_TRY(keep_defaults(d, s, newest));
    CAB_TRY(run_upgrades(d));
    newest = cab_schema_newest(d->op);
    CAB_TRY(check_arity(d, newest));
    CAB_TRY(check_attrs(d, newest));
    d->since = newest->since;
    return CAB_OK;
}
