/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_attr.c - AttributeProto -> cab_attr.
 *
 * Every kind the format has, references to function parameters included.
 * Whether the operator admits the attribute is checked by opset.c.  Lists and
 * strings are copied into the graph's arena: the message does not outlive the
 * import.
 */
#include <string.h>
#include "frontend/frontend_int.h"

/* AttributeProto.type. */
enum {
    P_NONE, P_FLOAT, P_INT, P_STRING, P_TENSOR, P_GRAPH, P_FLOATS, P_INTS,
    P_STRINGS, P_TENSORS, P_GRAPHS, P_SPARSE, P_SPARSES, P_TYPE, P_TYPES
};

const Onnx__AttributeProto *cab_attr_resolve(const Onnx__AttributeProto *p,
                                             cab_scope **s)
{
    const char *want = p->ref_attr_name;
    cab_scope *at = *s;

    if (!want || !*want)
        return p;
    /* Parameters belong to the call around all subgraphs. */
    while (at->outer)
        at = at->outer;
    for (size_t i = 0; i < at->n_params; i++) {
        if (!strcmp(at->params[i].name, want)) {
            *s = at->params[i].scope;
            return at->params[i].attr;
        }
    }
    return NULL;
}

static cab_status import_string(cab_importer *im, const ProtobufCBinaryData *b,
                                const cab_where *w, const char **out)
{
    if (b->len && memchr(b->data, 0, b->len))
        return cab_fail(im->diag, CAB_EUNSUPPORTED, w,
                        "a string attribute with a NUL character");
    *out = cab_strndup(im->arena, b->len ? (const char *)b->data : "", b->len);
    return CAB_OK;
}

static cab_status import_strings(cab_importer *im, const Onnx__AttributeProto *p,
                                 const cab_where *w, cab_attr *out)
{
    out->n = (int64_t)p->n_strings;
    out->u.strs = CAB_NEW_N(im->arena, const char *, p->n_strings);
    for (size_t i = 0; i < p->n_strings; i++)
        CAB_TRY(import_string(im, &p->strings[i], w, &out->u.strs[i]));
    return CAB_OK;
}

static void import_floats(cab_importer *im, const Onnx__AttributeProto *p,
                          cab_attr *out)
{
    double *f = CAB_NEW_N(im->arena, double, p->n_floats);

    for (size_t i = 0; i < p->n_floats; i++)
        f[i] = (double)p->floats[i];
    out->n = (int64_t)p->n_floats;
    out->u.floats = f;
}

static void import_ints(cab_importer *im, const Onnx__AttributeProto *p,
                        cab_attr *out)
{
    int64_t *v = CAB_NEW_N(im->arena, int64_t, p->n_ints);

    for (size_t i = 0; i < p->n_ints; i++)
        v[i] = p->ints[i];
    out->n = (int64_t)p->n_ints;
    out->u.ints = v;
}

/* The body of an If, Loop, Scan ...: its inputs get values of unknown rank,
 * since what is fed to them is known only when the node around is typed. */
static cab_status import_graph(cab_importer *im, cab_scope *outer,
                               const Onnx__GraphProto *p, const cab_where *w,
                               cab_graph **out)
{
    cab_scope s = *outer;

    s.outer = outer;
    s.g = cab_graph_create_sub(outer->g, p->name ? p->name : "");
    s.entries = cab_map_create(im->arena);
    s.n_params = 0;
    s.params = NULL;
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = p->input[i]->name ? p->input[i]->name : "";
        cab_type t = { .rank = CAB_RANK_UNKNOWN };
        cab_value *v;

        if (p->input[i]->type)
            CAB_TRY(cab_import_type(im, s.g, p->input[i]->type, w, &t));
        if (t.kind == CAB_KIND_tensor)
            t.rank = CAB_RANK_UNKNOWN;
        v = cab_graph_add_input(s.g, NULL, &t);
        cab_scope_name(im, &s, v, name);
        CAB_TRY(cab_scope_bind(im, &s, name, v, false, w));
    }
    CAB_TRY(cab_import_body(im, &s, p));
    *out = s.g;
    return CAB_OK;
}

static cab_status import_tensor(cab_scope *s, const Onnx__AttributeProto *p,
                                const cab_where *w, cab_attr *out)
{
    cab_raw_tensor t;

    if (p->sparse_tensor)
        CAB_TRY(cab_sparse_decode(s->tensors, p->sparse_tensor, w, &t));
    else
        CAB_TRY(cab_tensor_decode(s->tensors, p->t, w, &t));
    out->u.tensor = cab_raw_attr(s->g, &t);
    return CAB_OK;
}

/* The form the attribute has, its type field believed only when it fits. */
static int form_of(const Onnx__AttributeProto *p)
{
    const bool has[] = {
        [P_FLOAT] = p->has_f, [P_INT] = p->has_i, [P_STRING] = p->has_s,
        [P_TENSOR] = p->t != NULL, [P_GRAPH] = p->g != NULL,
        [P_FLOATS] = p->n_floats > 0, [P_INTS] = p->n_ints > 0,
        [P_STRINGS] = p->n_strings > 0, [P_TENSORS] = p->n_tensors > 0,
        [P_GRAPHS] = p->n_graphs > 0, [P_SPARSE] = p->sparse_tensor != NULL,
        [P_TYPE] = p->tp != NULL,
    };
    int form = P_NONE, n = (int)(sizeof has / sizeof *has);

    /* Scalars may be left out of the file when they are zero. */
    if (p->type == P_FLOAT || p->type == P_INT || p->type == P_STRING
        || p->type == P_FLOATS || p->type == P_INTS || p->type == P_STRINGS)
        return p->type;
    if (p->has_type && p->type != P_NONE)
        return p->type > 0 && p->type < n && has[p->type] ? p->type : P_NONE;
    for (int i = 1; i < n; i++) {
        if (has[i] && form == P_NONE)
            form = i;
    }
    return form;
}

cab_status cab_import_attr(cab_importer *im, cab_scope *s,
                           const Onnx__AttributeProto *p, const cab_where *w,
                           cab_attr *out, bool *out_found)
{
    const char *name = p->name && *p->name ? p->name : NULL;

    *out = (cab_attr){ 0 };
    p = cab_attr_resolve(p, &s);
    *out_found = p != NULL;
    if (!p)
        return CAB_OK;
    if (!name)
        return cab_fail(im->diag, CAB_EMODEL, w, "an attribute without a name");
    out->name = cab_intern(s->g->strings, name);
    switch (form_of(p)) {
    case P_INT:
        out->kind = CAB_ATTR_INT;
        out->u.i = p->i;
        return CAB_OK;
    case P_FLOAT:
        out->kind = CAB_ATTR_FLOAT;
        out->u.f = (double)p->f;
        return CAB_OK;
    case P_STRING:
        out->kind = CAB_ATTR_STR;
        out->s_len = p->s.len;
        return import_string(im, &p->s, w, &out->u.s);
    case P_INTS:
        out->kind = CAB_ATTR_INTS;
        import_ints(im, p, out);
        return CAB_OK;
    case P_FLOATS:
        out->kind = CAB_ATTR_FLOATS;
        import_floats(im, p, out);
        return CAB_OK;
    case P_STRINGS:
        out->kind = CAB_ATTR_STRS;
        return import_strings(im, p, w, out);
    case P_TENSOR:
    case P_SPARSE:
        out->kind = CAB_ATTR_TENSOR;
        return import_tensor(s, p, w, out);
    case P_GRAPH:
        out->kind = CAB_ATTR_GRAPH;
        return import_graph(im, s, p->g, w, &out->u.graph);
    case P_TYPE:
        out->kind = CAB_ATTR_TYPE;
        out->u.type = CAB_NEW(im->arena, cab_type);
        return cab_import_type(im, s->g, p->tp, w, (cab_type *)out->u.type);
    default:
        return cab_fail(im->diag, CAB_EUNSUPPORTED, w,
                        "attribute '%s' of type number %d", name, (int)p->type);
    }
}
