/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr.c - attributes of nodes.
 *
 * cab_attr_find gives what the node itself carries; the typed getters fall
 * back to the default of the op's row (the newest schema's for ONNX ops), and
 * to 0, NULL or -1 when there is none.  An attribute of another kind than
 * asked for counts as absent: rows are checked elsewhere (check.c).
 */
#include <stdlib.h>
#include <string.h>
#include "ir/ir_int.h"

const cab_attr *cab_attr_find(const cab_node *n, const char *name)
{
    for (int i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, name))
            return &n->attr[i];
    return NULL;
}

/* The node's attribute, or its row's default read into *tmp; NULL if neither
 * is there with that kind. */
static const cab_attr *get(const cab_node *n, const char *name,
                           cab_attr_kind kind, cab_attr *tmp)
{
    const cab_attr *a = cab_attr_find(n, name);
    cab_attr_row row;

    if (!a) {
        if (!cab_rows_find_attr(n->op, name, &row)
            || !cab_attr_default(n->graph, &row, tmp))
            return NULL;
        a = tmp;
    }
    return a->kind == kind ? a : NULL;
}

bool cab_attr_default(cab_graph *g, const cab_attr_row *row, cab_attr *out)
{
    cab_lex l = { .arena = g->arena, .file = "default", .start = row->def,
                  .p = row->def };

    if (!row->def || !*row->def)
        return false;
    *out = (cab_attr){ .name = row->name, .kind = (cab_attr_kind)row->kind };
    switch (row->kind) {
    case CAB_ATTR_INT:
        out->u.i = strtoll(row->def, NULL, 10);
        return true;
    case CAB_ATTR_FLOAT:       /* the standard's floats are f32 */
        out->u.f = (double)strtof(row->def, NULL);
        return true;
    default:
        return cab_lex_attr(&l, g->dims, out) == CAB_OK;
    }
}

int64_t cab_attr_int(const cab_node *n, const char *name)
{
    cab_attr tmp;
    const cab_attr *a = get(n, name, CAB_ATTR_INT, &tmp);

    return a ? a->u.i : 0;
}

double cab_attr_float(const cab_node *n, const char *name)
{
    cab_attr tmp;
    const cab_attr *a = get(n, name, CAB_ATTR_FLOAT, &tmp);

    return a ? a->u.f : 0;
}

const char *cab_attr_str(const cab_node *n, const char *name)
{
    cab_attr tmp;
    const cab_attr *a = get(n, name, CAB_ATTR_STR, &tmp);

    return a ? a->u.s : NULL;
}

cab_dtype cab_attr_dtype(const cab_node *n, const char *name)
{
    cab_attr tmp;
    const cab_attr *a = get(n, name, CAB_ATTR_DTYPE, &tmp);

    return a ? a->u.dtype : CAB_DT_none;
}

int64_t cab_attr_ints(const cab_node *n, const char *name, const int64_t **out)
{
    cab_attr tmp;
    const cab_attr *a = get(n, name, CAB_ATTR_INTS, &tmp);

    if (out)
        *out = a ? a->u.ints : NULL;
    return a ? a->n : -1;
}

int64_t cab_attr_dims(const cab_node *n, const char *name, const cab_dim *const **out)
{
    cab_attr tmp;
    const cab_attr *a = get(n, name, CAB_ATTR_DIMS, &tmp);

    if (out)
        *out = a ? (const cab_dim *const *)a->u.dims : NULL;
    return a ? a->n : -1;
}

/* ---- changing ---- */
static const char **copy_strs(cab_graph *g, const char *const *s, int64_t n)
{
    const char **r = CAB_NEW_N(g->arena, const char *, n);

    for (int64_t i = 0; i < n; i++)
        r[i] = cab_intern(g->strings, s[i]);
    return r;
}

static const cab_tensor_attr *copy_tensor(cab_graph *g, const cab_tensor_attr *t)
{
    cab_tensor_attr *r = cab_dup(g->arena, t, sizeof *t);

    if (t->blob)
        r->blob = cab_dup(g->arena, t->blob, sizeof *t->blob);
    if (t->strs)
        r->strs = copy_strs(g, t->strs, cab_type_numel_static(&t->type));
    return r;
}

/* Deep but for the bytes of tensors and for subgraphs. */
static cab_attr copy_attr(cab_graph *g, const cab_attr *a)
{
    cab_attr r = *a;
    size_t n = (size_t)a->n;

    r.name = cab_intern(g->strings, a->name);
    switch (a->kind) {
    case CAB_ATTR_STR:
        r.u.s = cab_strndup(g->arena, a->u.s, a->s_len);
        break;
    case CAB_ATTR_INTS:
        r.u.ints = cab_dup(g->arena, a->u.ints, n * sizeof *a->u.ints);
        break;
    case CAB_ATTR_FLOATS:
        r.u.floats = cab_dup(g->arena, a->u.floats, n * sizeof *a->u.floats);
        break;
    case CAB_ATTR_STRS:
        r.u.strs = copy_strs(g, a->u.strs, a->n);
        break;
    case CAB_ATTR_DIMS:
        r.u.dims = cab_dup(g->arena, a->u.dims, n * sizeof *a->u.dims);
        break;
    case CAB_ATTR_GRAPHS:
        r.u.graphs = cab_dup(g->arena, a->u.graphs, n * sizeof *a->u.graphs);
        break;
    case CAB_ATTR_TENSOR:
        r.u.tensor = copy_tensor(g, a->u.tensor);
        break;
    case CAB_ATTR_TENSORS: {
        cab_tensor_attr *t = CAB_NEW_N(g->arena, cab_tensor_attr, n);
        for (size_t i = 0; i < n; i++)
            t[i] = *copy_tensor(g, &a->u.tensor[i]);
        r.u.tensor = t;
        break;
    }
    case CAB_ATTR_TYPE:
        r.u.type = cab_dup(g->arena, a->u.type, sizeof *a->u.type);
        break;
    default:
        break;
    }
    return r;
}

void cab_attr_set(cab_node *n, const cab_attr *a)
{
    cab_attr copy = copy_attr(n->graph, a), *list;

    for (int i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, a->name)) {
            n->attr[i] = copy;
            return;
        }
    list = CAB_NEW_N(n->graph->arena, cab_attr, n->n_attr + 1);
    if (n->n_attr)
        memcpy(list, n->attr, (size_t)n->n_attr * sizeof *list);
    list[n->n_attr++] = copy;
    n->attr = list;
}

void cab_attr_remove(cab_node *n, const char *name)
{
    for (int i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, name)) {
            n->n_attr--;
            memmove(&n->attr[i], &n->attr[i + 1],
                    (size_t)(n->n_attr - i) * sizeof *n->attr);
            return;
        }
}

static bool strs_equal(const char *const *a, const char *const *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (strcmp(a[i], b[i]))
            return false;
    return true;
}

static bool tensors_equal(const cab_tensor_attr *a, const cab_tensor_attr *b)
{
    if (a == b)
        return true;
    if (!cab_type_equal(&a->type, &b->type) || !a->blob != !b->blob
        || !a->strs != !b->strs)
        return false;
    if (a->strs)
        return strs_equal(a->strs, b->strs, cab_type_numel_static(&a->type));
    return !a->blob || a->blob == b->blob
        || (a->blob->bytes == b->blob->bytes
            && (a->blob->data == b->blob->data
                || !memcmp(a->blob->data, b->blob->data, a->blob->bytes)));
}

/* Bitwise, so that NaNs equal themselves and -0 differs from 0. */
static bool same_bytes(const void *a, const void *b, size_t n)
{
    return n == 0 || !memcmp(a, b, n);
}

static bool lists_equal(const cab_attr *a, const cab_attr *b)
{
    size_t n = (size_t)a->n;

    switch (a->kind) {
    case CAB_ATTR_INTS:
        return same_bytes(a->u.ints, b->u.ints, n * sizeof *a->u.ints);
    case CAB_ATTR_FLOATS:
        return same_bytes(a->u.floats, b->u.floats, n * sizeof *a->u.floats);
    case CAB_ATTR_GRAPHS:
        return same_bytes(a->u.graphs, b->u.graphs, n * sizeof *a->u.graphs);
    case CAB_ATTR_STRS:
        return strs_equal(a->u.strs, b->u.strs, a->n);
    case CAB_ATTR_DIMS:
        for (size_t i = 0; i < n; i++)
            if (a->u.dims[i] != b->u.dims[i]
                && cab_dim_eq(a->u.dims[i], b->u.dims[i]) != 1)
                return false;
        return true;
    default:
        for (size_t i = 0; i < n; i++)
            if (!tensors_equal(&a->u.tensor[i], &b->u.tensor[i]))
                return false;
        return true;
    }
}

bool cab_attr_equal(const cab_attr *a, const cab_attr *b)
{
    if (a->kind != b->kind || strcmp(a->name, b->name))
        return false;
    switch (a->kind) {
    case CAB_ATTR_INT:
        return a->u.i == b->u.i;
    case CAB_ATTR_FLOAT:
        return same_bytes(&a->u.f, &b->u.f, sizeof a->u.f);
    case CAB_ATTR_STR:
        return a->s_len == b->s_len && same_bytes(a->u.s, b->u.s, a->s_len);
    case CAB_ATTR_DTYPE:
        return a->u.dtype == b->u.dtype;
    case CAB_ATTR_GRAPH:
        return a->u.graph == b->u.graph;
    case CAB_ATTR_TENSOR:
        return tensors_equal(a->u.tensor, b->u.tensor);
    case CAB_ATTR_TYPE:
        return cab_type_equal(a->u.type, b->u.type);
    default:
        return a->n == b->n && lists_equal(a, b);
    }
}

/* ---- makers ---- */
cab_attr cab_a_int(const char *name, int64_t v)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_INT, .u.i = v };
}

cab_attr cab_a_float(const char *name, double v)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_FLOAT, .u.f = v };
}

cab_attr cab_a_str(const char *name, const char *v)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_STR, .u.s = v,
                       .s_len = strlen(v) };
}

cab_attr cab_a_dtype(const char *name, cab_dtype v)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_DTYPE, .u.dtype = v };
}

cab_attr cab_a_ints(const char *name, const int64_t *v, int64_t n)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_INTS, .n = n, .u.ints = v };
}

/* The union's list is not const; copies are made before anything changes it. */
cab_attr cab_a_dims(const char *name, const cab_dim *const *v, int64_t n)
{
    cab_attr a = { .name = name, .kind = CAB_ATTR_DIMS, .n = n };

    memcpy(&a.u.dims, &v, sizeof v);
    return a;
}

cab_attr cab_a_tensor(const char *name, const cab_tensor_attr *t)
{
    return (cab_attr){ .name = name, .kind = CAB_ATTR_TENSOR, .u.tensor = t };
}
