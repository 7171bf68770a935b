/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.c - ModelProto -> graph of level ONNX.
 *
 * Names become values through scopes: one per graph, subgraph and function
 * call.  Every node goes through a draft (opset.c) that checks it against the
 * schema in force and brings it to the newest version.  A node that cannot be
 * imported is recorded and its results are marked bad, so that one run tells
 * of all of them; a broken file ends the import at once.
 */
#include <limits.h>
#include <string.h>
#include "frontend/frontend_int.h"

enum { IR_OLDEST = 3, IR_NEWEST = 14, OPSET_OLDEST = 7 };

const char *cab_domain(const char *domain)
{
    return domain && strcmp(domain, "ai.onnx") ? domain : "";
}

int cab_opset_of(const cab_opsets *o, const char *domain)
{
    int64_t v = 0;

    for (; o && !v; o = o->outer) {
        for (size_t i = 0; i < o->n; i++) {
            if (!strcmp(cab_domain(o->ids[i]->domain), domain)
                && o->ids[i]->version > v)
                v = o->ids[i]->version;
        }
    }
    return v > INT_MAX ? INT_MAX : (int)v;
}

/* ---- names ---- */
cab_entry *cab_scope_find(const cab_scope *s, const char *name)
{
    cab_entry *e = NULL;

    for (; s && !e; s = s->outer)
        e = cab_map_gets(s->entries, name);
    return e;
}

cab_status cab_scope_bind(cab_importer *im, cab_scope *s, const char *name,
                          cab_value *v, bool bad, const cab_where *w)
{
    cab_entry *e;

    if (cab_map_gets(s->entries, name))
        return cab_fail(im->diag, CAB_EMODEL, w,
                        "the name '%s' is defined twice", name);
    e = CAB_NEW(im->arena, cab_entry);
    *e = (cab_entry){ v, bad };
    cab_map_sets(s->entries, name, e);
    return CAB_OK;
}

void cab_scope_name(cab_importer *im, cab_scope *s, cab_value *v,
                    const char *name)
{
    if (*s->prefix)
        name = cab_printf(im->arena, "%s%s", s->prefix, name);
    cab_value_set_name(s->g, v, name);
}

/* ---- constants ---- */
const cab_tensor_attr *cab_raw_attr(cab_graph *g, const cab_raw_tensor *t)
{
    cab_tensor_attr *ta = CAB_NEW(g->arena, cab_tensor_attr);
    cab_blob *blob = CAB_NEW(g->arena, cab_blob);

    *blob = (cab_blob){ t->data, t->bytes };
    ta->type = cab_type_static(g, t->dtype, t->rank, t->dims);
    ta->blob = t->dtype == CAB_DT_str ? NULL : blob;
    ta->strs = t->strs;
    return ta;
}

cab_value *cab_const_raw(cab_graph *g, const cab_raw_tensor *t)
{
    const cab_tensor_attr *ta = cab_raw_attr(g, t);
    cab_attr attr = { .name = "value", .kind = CAB_ATTR_TENSOR,
                      .u.tensor = ta };
    cab_node *n;

    if (t->dtype != CAB_DT_str)
        return cab_const_blob(g, &ta->type, t->data, t->bytes, NULL);
    n = cab_node_create(g, cab_op_get(CAB_OP_const), 0, NULL, 1, NULL);
    cab_attr_set(n, &attr);
    n->out[0]->type = ta->type;
    return n->out[0];
}

static cab_status import_initializer(cab_importer *im, cab_scope *s,
                                     const Onnx__TensorProto *dense,
                                     const Onnx__SparseTensorProto *sparse)
{
    cab_where w = { .file = im->label };
    cab_raw_tensor t;
    cab_status st;
    cab_value *v;

    if (sparse)
        dense = sparse->values;
    if (!dense || !dense->name || !*dense->name)
        return cab_fail(im->diag, CAB_EMODEL, &w,
                        "an initializer without a name");
    w.node = dense->name;
    w.op = "initializer";
    st = sparse ? cab_sparse_decode(s->tensors, sparse, &w, &t)
                : cab_tensor_decode(s->tensors, dense, &w, &t);
    if (st == CAB_EUNSUPPORTED) {
        im->n_unsupported++;
        return cab_scope_bind(im, s, dense->name, NULL, true, &w);
    }
    CAB_TRY(st);
    v = cab_const_raw(s->g, &t);
    cab_scope_name(im, s, v, dense->name);
    return cab_scope_bind(im, s, dense->name, v, false, &w);
}

/* ---- Constant nodes ---- */
static cab_status list_constant(cab_importer *im, const cab_attr *a,
                                const cab_where *w, cab_raw_tensor *t)
{
    bool list = a->kind == CAB_ATTR_INTS || a->kind == CAB_ATTR_FLOATS
        || a->kind == CAB_ATTR_STRS;
    float *f;

    *t = (cab_raw_tensor){ .rank = list, .n = list ? (uint64_t)a->n : 1 };
    t->dims[0] = (int64_t)t->n;
    switch (a->kind) {
    case CAB_ATTR_INT:
    case CAB_ATTR_INTS:
        t->dtype = CAB_DT_i64;
        t->bytes = 8 * t->n;
        t->data = cab_dup(im->arena, list ? a->u.ints : &a->u.i,
                          (size_t)t->bytes);
        return CAB_OK;
    case CAB_ATTR_FLOAT:
    case CAB_ATTR_FLOATS:
        t->dtype = CAB_DT_f32;
        t->bytes = 4 * t->n;
        t->data = f = CAB_NEW_N(im->arena, float, t->n);
        for (uint64_t i = 0; i < t->n; i++)
            f[i] = (float)(list ? a->u.floats[i] : a->u.f);
        return CAB_OK;
    case CAB_ATTR_STR:
    case CAB_ATTR_STRS:
        t->dtype = CAB_DT_str;
        t->strs = CAB_NEW_N(im->arena, const char *, t->n);
        for (uint64_t i = 0; i < t->n; i++)
            t->strs[i] = list ? a->u.strs[i] : a->u.s;
        return CAB_OK;
    default:
        return cab_fail(im->diag, CAB_EMODEL, w,
                        "attribute '%s' holds no constant", a->name);
    }
}

/* Value of a Constant node: exactly one attribute, of any of its forms. */
static cab_status import_constant(cab_importer *im, cab_scope *s,
                                  const Onnx__NodeProto *p, const cab_where *w)
{
    const Onnx__AttributeProto *ap = NULL;
    cab_scope *written = s;
    cab_raw_tensor t;
    cab_attr a;
    cab_value *v;
    bool found;

    if (p->n_attribute == 1)
        ap = cab_attr_resolve(p->attribute[0], &written);
    if (!ap || p->n_output != 1 || p->n_input != 0)
        return cab_fail(im->diag, CAB_EMODEL, w,
                        "a Constant has one attribute, no input, one output");
    if (ap->sparse_tensor) {
        CAB_TRY(cab_sparse_decode(written->tensors, ap->sparse_tensor, w, &t));
    } else if (ap->t) {
        CAB_TRY(cab_tensor_decode(written->tensors, ap->t, w, &t));
    } else {
        CAB_TRY(cab_import_attr(im, s, p->attribute[0], w, &a, &found));
        CAB_TRY(list_constant(im, &a, w, &t));
    }
    v = cab_const_raw(s->g, &t);
    v->def->loc = w->node;
    v->def->loc_op = w->op;
    if (!*p->output[0])
        return CAB_OK;
    cab_scope_name(im, s, v, p->output[0]);
    return cab_scope_bind(im, s, p->output[0], v, false, w);
}

/* ---- nodes ---- */
static cab_where node_where(cab_importer *im, cab_scope *s,
                            const Onnx__NodeProto *p)
{
    const char *domain = cab_domain(p->domain);
    const char *name = p->name && *p->name ? p->name
        : p->n_output ? p->output[0] : "";

    return (cab_where){
        .file = im->label,
        .node = cab_printf(s->g->arena, "%s%s", s->prefix, name),
        .op = *domain ? cab_printf(s->g->arena, "%s::%s", domain, p->op_type)
                      : cab_intern(s->g->strings, p->op_type),
        .opset = cab_opset_of(s->opsets, domain),
    };
}

/* Binds the results of a node that could not be imported. */
static cab_status bind_bad(cab_importer *im, cab_scope *s,
                           const Onnx__NodeProto *p, const cab_where *w)
{
    for (size_t i = 0; i < p->n_output; i++) {
        if (*p->output[i])
            CAB_TRY(cab_scope_bind(im, s, p->output[i], NULL, true, w));
    }
    return CAB_OK;
}

static size_t trimmed(char **names, size_t n)
{
    while (n && !*names[n - 1])
        n--;
    return n;
}

/* Operands; *out_bad when one comes from a node that was not imported. */
static cab_status import_operands(cab_draft *d, const Onnx__NodeProto *p,
                                  bool *out_bad)
{
    size_t n = trimmed(p->input, p->n_input);

    for (size_t i = 0; i < n; i++) {
        cab_entry *e = NULL;

        if (*p->input[i]) {
            e = cab_scope_find(d->scope, p->input[i]);
            if (!e)
                return cab_fail(d->im->diag, CAB_EMODEL, &d->where,
                                "input '%s' is not defined", p->input[i]);
            *out_bad |= e->bad;
        }
        cab_vec_push(d->im->arena, &d->in, e ? e->v : NULL);
    }
    d->n_out = (int)trimmed(p->output, p->n_output);
    return CAB_OK;
}

static cab_status import_attrs(cab_draft *d, const Onnx__NodeProto *p)
{
    for (size_t i = 0; i < p->n_attribute; i++) {
        cab_attr a;
        bool found;

        CAB_TRY(cab_import_attr(d->im, d->scope, p->attribute[i], &d->where,
                                &a, &found));
        if (found && cab_draft_attr(d, a.name))
            return cab_fail(d->im->diag, CAB_EMODEL, &d->where,
                            "attribute '%s' is given twice", a.name);
        if (found)
            cab_vec_push(d->im->arena, &d->attr, a);
    }
    return CAB_OK;
}

static cab_node *make_node(cab_draft *d)
{
    return cab_node_create(d->scope->g, cab_op_get(d->op), (int)d->in.n,
                           d->in.p, d->n_out, NULL);
}

/* The draft's node with its attributes gets the rest and names its outputs. */
static cab_status finish_node(cab_draft *d, cab_node *n, const Onnx__NodeProto *p)
{
    n->loc = d->loc;
    n->loc_op = d->loc_op;
    n->opset = d->since;
    for (int i = 0; i < d->n_out; i++)
        n->out[i]->type.rank = CAB_RANK_UNKNOWN;
    for (size_t i = 0; i < p->n_output; i++) {
        cab_value *v = (int)i < d->n_out ? n->out[i] : d->second;

        if (!*p->output[i])
            continue;
        cab_scope_name(d->im, d->scope, v, p->output[i]);
        CAB_TRY(cab_scope_bind(d->im, d->scope, p->output[i], v, false,
                               &d->where));
    }
    return CAB_OK;
}

static cab_status unknown_op(cab_importer *im, const Onnx__NodeProto *p,
                             const cab_where *w)
{
    const char *domain = cab_domain(p->domain);

    cab_status status = cab_fail(im->diag, CAB_EUNSUPPORTED, w,
                                 "operator '%s' of domain '%s' is not known", p->op_type,
                                 *domain ? domain : "ai.onnx");
    cab_note(im->diag, "put it into the model as a function (model-local functions are "
                       "expanded), give a file of functions that defines it (--functions), "
                       "register it as a custom operator (cab.h; --custom), or export with "
                       "standard operators");
    return status;
}

/* CAB_EUNSUPPORTED: recorded; the caller goes on. */
static cab_status import_op(cab_importer *im, cab_scope *s,
                            const Onnx__NodeProto *p, const cab_where *w,
                            bool *out_bad)
{
    const cab_op *op = cab_op_find_onnx(cab_domain(p->domain), p->op_type);
    cab_draft d = { .im = im, .scope = s, .where = *w, .loc = w->node,
                    .loc_op = w->op, .opset = w->opset };
    size_t missed = im->n_unsupported;
    cab_node *n;

    if (!op)
        return unknown_op(im, p, w);
    if (w->opset <= 0)
        return cab_fail(im->diag, CAB_EMODEL, w,
                        "the model imports no operator set '%s'",
                        cab_domain(p->domain));
    d.op = op->id;
    CAB_TRY(import_operands(&d, p, out_bad));
    CAB_TRY(import_attrs(&d, p));
    *out_bad |= im->n_unsupported != missed;
    if (*out_bad)
        return CAB_OK;
    CAB_TRY(cab_draft_normalise(&d));
    n = make_node(&d);
    for (size_t i = 0; i < d.attr.n; i++)
        cab_attr_set(n, &d.attr.p[i]);
    return finish_node(&d, n, p);
}

/* An operator of the host program: attributes as they stand in the file, types
 * when decompose knows those of the operands. */
static cab_status import_custom(cab_importer *im, cab_scope *s,
                                const Onnx__NodeProto *p, const cab_where *w,
                                bool *out_bad)
{
    cab_draft d = { .im = im, .scope = s, .where = *w, .loc = w->node,
                    .loc_op = w->op, .opset = w->opset, .op = CAB_OP_custom,
                    .since = w->opset };
    size_t missed = im->n_unsupported;
    const char *refused;
    cab_node *n;

    CAB_TRY(import_operands(&d, p, out_bad));
    CAB_TRY(import_attrs(&d, p));
    *out_bad |= im->n_unsupported != missed;
    if (*out_bad || !d.n_out)
        return CAB_OK;
    n = make_node(&d);
    refused = cab_foreign_set(n, cab_domain(p->domain), p->op_type, d.attr.p,
                              d.attr.n);
    if (!refused)
        return finish_node(&d, n, p);
    cab_node_erase(n);
    return cab_fail(im->diag, CAB_EUNSUPPORTED, w, "attribute '%s': a custom "
                    "operator takes integers, floats and single texts", refused);
}

static cab_status import_node(cab_importer *im, cab_scope *s,
                              const Onnx__NodeProto *p)
{
    const cab_function *f = NULL;
    bool bad = false, custom;
    cab_status st;
    cab_where w;

    if (!p->op_type || !*p->op_type) {
        w = (cab_where){ .file = im->label, .node = p->name };
        return cab_fail(im->diag, CAB_EMODEL, &w, "a node without an operator");
    }
    if (++im->n_nodes > im->limits.nodes) {
        w = (cab_where){ .file = im->label };
        return cab_fail(im->diag, CAB_ELIMIT, &w,
                        "more than %llu nodes, functions expanded",
                        (unsigned long long)im->limits.nodes);
    }
    w = node_where(im, s, p);
    custom = cab_foreign_find(im->foreign, im->o->n_foreign, cab_domain(p->domain), p->op_type);
    if (!custom)
        f = cab_function_find(im, p);
    if (f)
        return cab_inline_call(im, s, p, f, &w);
    if (custom)
        st = import_custom(im, s, p, &w, &bad);
    else if (!strcmp(p->op_type, "Constant") && !*cab_domain(p->domain))
        st = import_constant(im, s, p, &w);
    else
        st = import_op(im, s, p, &w, &bad);
    im->n_unsupported += st == CAB_EUNSUPPORTED;
    if (st == CAB_EUNSUPPORTED || bad)
        return bind_bad(im, s, p, &w);
    return st;
}

cab_status cab_import_nodes(cab_importer *im, cab_scope *s,
                            Onnx__NodeProto **nodes, size_t n)
{
    bool sorted = false;

    for (size_t i = 0; i < n; i++) {
        if (!sorted && !cab_node_ready(im, s, nodes[i])) {
            CAB_TRY(cab_nodes_sort(im, nodes + i, n - i));
            sorted = true;
        }
        CAB_TRY(import_node(im, s, nodes[i]));
    }
    return CAB_OK;
}

/* ---- graphs ---- */
cab_status cab_import_body(cab_importer *im, cab_scope *s,
                           const Onnx__GraphProto *p)
{
    cab_where w = { .file = im->label };

    for (size_t i = 0; i < p->n_initializer; i++)
        CAB_TRY(import_initializer(im, s, p->initializer[i], NULL));
    for (size_t i = 0; i < p->n_sparse_initializer; i++)
        CAB_TRY(import_initializer(im, s, NULL, p->sparse_initializer[i]));
    CAB_TRY(cab_import_nodes(im, s, p->node, p->n_node));
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = p->output[i]->name ? p->output[i]->name : "";
        cab_entry *e = cab_scope_find(s, name);

        if (!e)
            return cab_fail(im->diag, CAB_EMODEL, &w,
                            "output '%s' of the graph is not defined", name);
        if (e->v)
            cab_graph_add_output(s->g, e->v, cab_intern(s->g->strings, name));
    }
    return CAB_OK;
}

/* ---- models ---- */
static cab_status check_versions(cab_importer *im, const cab_opsets *o)
{
    cab_where w = { .file = im->label };
    int64_t ir = im->model->ir_version;
    int opset = cab_opset_of(o, "");

    if (ir < IR_OLDEST)
        return cab_fail(im->diag, CAB_EUNSUPPORTED, &w,
                        "IR version %lld (oldest supported: %d)",
                        (long long)ir, IR_OLDEST);
    if (ir > IR_NEWEST)
        cab_warn(im->diag, &w, "IR version %lld is newer than %d, the newest "
                 "known", (long long)ir, IR_NEWEST);
    if (opset && opset < OPSET_OLDEST)
        cab_warn(im->diag, &w, "opset %d is older than %d, the oldest "
                 "supported in full", opset, OPSET_OLDEST);
    for (size_t i = 0; i < o->n; i++) {
        const char *domain = cab_domain(o->ids[i]->domain);
        int newest = cab_schema_newest_opset(domain);

        if (newest && o->ids[i]->version > newest)
            cab_warn(im->diag, &w, "opset %lld of domain '%s' is newer than "
                     "%d, the newest known", (long long)o->ids[i]->version,
                     *domain ? domain : "ai.onnx", newest);
    }
    return CAB_OK;
}

/* What the graph keeps of the operators of the host program. */
static cab_status copy_foreign(cab_importer *im)
{
    int n = im->o->n_foreign;

    im->foreign = CAB_NEW_N(im->arena, cab_foreign_op, n + 1);
    for (int i = 0; i < n; i++) {
        const cab_foreign_op *f = &im->o->foreign[i];

        if (!f->name || !*f->name || !f->infer)
            return cab_fail(im->diag, CAB_EINVAL, NULL, "custom operator %d has no name or no "
                            "shape function", i);
        im->foreign[i] = *f;
        im->foreign[i].domain = cab_strdup(im->arena, cab_domain(f->domain));
        im->foreign[i].name = cab_strdup(im->arena, f->name);
    }
    return CAB_OK;
}

/* What the file says of its outputs is compared with what comes out. */
static cab_status declared_outputs(cab_importer *im, cab_graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_output && !im->n_unsupported; i++) {
        cab_where w = { .file = im->label, .node = p->output[i]->name };
        cab_type *t = CAB_NEW(g->arena, cab_type);

        if (p->output[i]->type)
            CAB_TRY(cab_import_type(im, g, p->output[i]->type, &w, t));
        else
            t->rank = CAB_RANK_UNKNOWN;
        cab_vec_push(g->arena, &g->declared, t);
    }
    return CAB_OK;
}

static cab_status import_model(cab_importer *im, cab_graph **out)
{
    const Onnx__GraphProto *p = im->model->graph;
    cab_where w = { .file = im->label };
    cab_opsets opsets = { im->model->n_opset_import, im->model->opset_import,
                          NULL };
    cab_scope s = { .opsets = &opsets, .tensors = &im->tensors, .prefix = "" };
    cab_graph *g;

    if (!p)
        return cab_fail(im->diag, CAB_EMODEL, &w, "the model has no graph");
    CAB_TRY(check_versions(im, &opsets));
    CAB_TRY(cab_functions_index(im));
    s.g = g = cab_graph_create(im->arena, p->name && *p->name ? p->name : "main",
                               CAB_LEVEL_ONNX);
    s.entries = cab_map_create(im->arena);
    CAB_TRY(copy_foreign(im));
    g->foreign = im->foreign;
    g->n_foreign = im->o->n_foreign;
    CAB_TRY(cab_import_inputs(im, &s, p));
    CAB_TRY(cab_import_body(im, &s, p));
    CAB_TRY(declared_outputs(im, g, p));
    if (im->n_unsupported)
        return CAB_EUNSUPPORTED;
    if (cab_dims_overflowed(g->dims))
        return cab_fail(im->diag, CAB_EMODEL, &w, "an extent overflows");
    *out = g;
    return CAB_OK;
}

static cab_status import_bytes(cab_arena *a, const uint8_t *p, size_t n,
                               const char *label, const cab_import_options *o,
                               cab_graph **out, cab_diag *d)
{
    static const cab_import_options none;
    cab_importer im = { .arena = a, .diag = d, .o = o ? o : &none,
                        .limits = cab_limits_of(o) };
    cab_parsed parsed;
    cab_status s;

    *out = NULL;
    im.label = label ? cab_strdup(a, label) : NULL;
    CAB_TRY(cab_parse(a, p, n, CAB_WIRE_MODEL, &im.limits, im.label, &parsed,
                      d));
    im.model = (const Onnx__ModelProto *)parsed.msg;
    im.tensors = (cab_tensor_ctx){
        .arena = a, .chunks = parsed.chunks, .n_chunks = parsed.n_chunks,
        .base_path = im.label, .files = cab_map_create(a),
        .max_bytes = im.limits.bytes, .diag = d,
    };
    s = import_model(&im, out);
    cab_parse_done(&parsed);
    return s;
}

cab_status cab_import_file(cab_arena *a, const char *path,
                           const cab_import_options *o, cab_graph **out,
                           cab_diag *d)
{
    cab_mapping *m;

    *out = NULL;
    CAB_TRY(cab_map_for(a, path, &m, d));
    return import_bytes(a, m->p, m->n, path, o, out, d);
}

cab_status cab_import_memory(cab_arena *a, const void *p, size_t n,
                             const char *label, const cab_import_options *o,
                             cab_graph **out, cab_diag *d)
{
    return import_bytes(a, p, n, label, o, out, d);
}
