/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c - one node against the rows of its op.
 *
 * The rows of a CORE op come from ops.def, those of an ONNX op from the newest
 * schema; the checks are the same: arity, absent operands, kinds and dtypes
 * inside the sets of the type variables, one dtype per variable, attributes
 * known, of the right kind and present when required.  Values of attributes
 * are the business of the inference functions.
 */
#include <limits.h>
#include <string.h>
#include "ir/ir_int.h"

static void count_io(const cab_io_row *rows, int n, int *min, int *max)
{
    *min = *max = 0;
    for (int i = 0; i < n; i++) {
        if (rows[i].arity == CAB_ONE)
            *min = i + 1;
        *max = rows[i].arity == CAB_VAR ? INT_MAX : i + 1;
    }
}

cab_rows cab_rows_of(const cab_op *op)
{
    cab_rows r = { .n_in = op->n_in, .n_out = op->n_out, .n_attr = op->n_attr,
                   .n_type = op->n_type, .in = op->in, .out = op->out,
                   .type = op->type, .core_attr = op->attr };
    const cab_schema *s;

    if (!cab_op_is_onnx(op->id)) {
        count_io(r.in, r.n_in, &r.min_in, &r.max_in);
        count_io(r.out, r.n_out, &r.min_out, &r.max_out);
        return r;
    }
    s = cab_schema_newest(op->id);
    if (!s)
        return r;
    return (cab_rows){
        .min_in = s->min_in, .max_in = s->max_in, .min_out = s->min_out,
        .max_out = s->max_out, .n_in = s->n_in, .n_out = s->n_out,
        .n_attr = s->n_attr, .n_type = s->n_type, .in = s->in, .out = s->out,
        .type = s->type, .schema_attr = s->attr
    };
}

cab_attr_row cab_rows_attr(const cab_rows *r, int i)
{
    const cab_schema_attr *s;

    if (!r->schema_attr)
        return r->core_attr[i];
    s = &r->schema_attr[i];
    return (cab_attr_row){ s->name, s->kind, s->def };
}

bool cab_rows_find_attr(const cab_op *op, const char *name, cab_attr_row *out)
{
    cab_rows r = cab_rows_of(op);

    for (int i = 0; i < r.n_attr; i++) {
        *out = cab_rows_attr(&r, i);
        if (!strcmp(out->name, name))
            return true;
    }
    return false;
}

const cab_io_row *cab_rows_io(const cab_io_row *rows, int n, int i)
{
    if (i < n)
        return &rows[i];
    return n && rows[n - 1].arity == CAB_VAR ? &rows[n - 1] : NULL;
}

/* ---- types ---- */
typedef struct binding { const char *var; cab_kind kind; cab_dtype dtype; } binding;
enum { MAX_VARS = 32 };

/* What one check of a node carries along. */
typedef struct check {
    const cab_node *n;
    cab_rows rows;
    cab_diag *d;
    bool mixed;                /* variadic operands may differ in type */
    int n_vars;
    binding vars[MAX_VARS];
} check;

/* Element dtype, however deep inside sequences and optionals. */
static cab_dtype leaf_dtype(const cab_type *t)
{
    while (t->kind != CAB_KIND_tensor && t->elem)
        t = t->elem;
    return t->dtype;
}

static bool in_set(const cab_type *t, cab_dtset set)
{
    if (t->kind == CAB_KIND_sequence && !(set & CAB_SET_SEQ))
        return false;
    if (t->kind == CAB_KIND_optional && !(set & CAB_SET_OPT))
        return false;
    return (set & CAB_DTBIT(leaf_dtype(t))) != 0;
}

static cab_status bad_type(check *c, const cab_io_row *row, const char *what,
                           const cab_type *t, const char *why)
{
    cab_buf b = cab_buf_on(c->n->graph->arena);

    cab_type_print(&b, t);
    return cab_infer_fail(c->n, c->d, "%s '%s' has type %s, %s", what, row->name,
                          cab_buf_cstr(&b), why);
}

/* Every use of a variable has the kind and dtype of the first. */
static bool bind(check *c, const char *var, const cab_type *t)
{
    for (int i = 0; i < c->n_vars; i++)
        if (!strcmp(c->vars[i].var, var))
            return c->vars[i].kind == t->kind && c->vars[i].dtype == leaf_dtype(t);
    if (c->n_vars < MAX_VARS)
        c->vars[c->n_vars++] = (binding){ var, t->kind, leaf_dtype(t) };
    return true;
}

static cab_status check_type(check *c, const cab_io_row *row, const char *what,
                             const cab_type *t)
{
    const cab_rows *r = &c->rows;
    cab_dtype only = cab_dtype_parse(row->var, strlen(row->var));

    if (t->kind == CAB_KIND_tensor && t->rank == CAB_RANK_UNKNOWN)
        return CAB_OK;
    for (int i = 0; i < r->n_type; i++) {
        if (strcmp(r->type[i].var, row->var))
            continue;
        if (!in_set(t, r->type[i].set))
            return bad_type(c, row, what, t, "which the op does not take");
        if ((row->arity != CAB_VAR || !c->mixed) && !bind(c, row->var, t))
            return bad_type(c, row, what, t,
                            "unlike another of the same type variable");
        return CAB_OK;
    }
    if (only != CAB_DT_none && (t->kind != CAB_KIND_tensor || t->dtype != only))
        return bad_type(c, row, what, t, "which the op does not take");
    return CAB_OK;
}

static cab_status check_count(check *c, const char *what, int n, int min, int max)
{
    if (n < min)
        return cab_infer_fail(c->n, c->d, "%d %s, needs at least %d", n, what, min);
    if (n > max)
        return cab_infer_fail(c->n, c->d, "%d %s, takes at most %d", n, what, max);
    return CAB_OK;
}

static cab_status check_operands(check *c)
{
    const cab_node *n = c->n;
    const cab_rows *r = &c->rows;

    CAB_TRY(check_count(c, "operands", n->n_in, r->min_in, r->max_in));
    for (int i = 0; i < n->n_in; i++) {
        const cab_io_row *row = cab_rows_io(r->in, r->n_in, i);
        if (!row)
            return cab_infer_fail(n, c->d, "operand %d is unknown to the op", i);
        if (n->in[i])
            CAB_TRY(check_type(c, row, "operand", &n->in[i]->type));
        else if (row->arity == CAB_ONE || (row->arity == CAB_VAR && !c->mixed
                                           && !cab_op_is_onnx(n->op->id)))
            return cab_infer_fail(n, c->d, "operand '%s' is absent", row->name);
    }
    return CAB_OK;
}

static cab_status check_results(check *c, bool with_types)
{
    const cab_node *n = c->n;
    const cab_rows *r = &c->rows;

    CAB_TRY(check_count(c, "results", n->n_out, r->min_out, r->max_out));
    for (int i = 0; with_types && i < n->n_out; i++) {
        const cab_io_row *row = cab_rows_io(r->out, r->n_out, i);
        const cab_type *t = &n->out[i]->type;
        if (!row)
            return cab_infer_fail(n, c->d, "result %d is unknown to the op", i);
        if (t->kind != CAB_KIND_tensor || t->dtype != CAB_DT_none)
            CAB_TRY(check_type(c, row, "result", t));
    }
    return CAB_OK;
}

static cab_status check_attrs(check *c)
{
    const cab_node *n = c->n;

    for (int i = 0; i < n->n_attr; i++) {
        cab_attr_row row;
        if (!cab_rows_find_attr(n->op, n->attr[i].name, &row))
            return cab_infer_fail(n, c->d, "attribute '%s' is unknown to the op",
                                  n->attr[i].name);
        if (row.kind != (int)n->attr[i].kind)
            return cab_infer_fail(n, c->d, "attribute '%s' is of the wrong kind",
                                  row.name);
        for (int j = 0; j < i; j++)
            if (!strcmp(n->attr[j].name, row.name))
                return cab_infer_fail(n, c->d, "attribute '%s' comes twice", row.name);
    }
    for (int i = 0; i < c->rows.n_attr; i++) {
        cab_attr_row row = cab_rows_attr(&c->rows, i);
        if (!row.def && !cab_attr_find(n, row.name))
            return cab_infer_fail(n, c->d, "attribute '%s' is missing", row.name);
    }
    return CAB_OK;
}

cab_status cab_check_rows(const cab_node *n, bool with_out, cab_diag *d)
{
    check c = { .n = n, .rows = cab_rows_of(n->op), .d = d,
                .mixed = n->op->traits & CAB_T_FREE };

    for (int i = 0; i < c.rows.n_attr; i++)
        if (cab_rows_attr(&c.rows, i).kind == CAB_ATTR_GRAPH)
            c.mixed = true;
    CAB_TRY(check_attrs(&c));
    CAB_TRY(check_operands(&c));
    return check_results(&c, with_out);
}
