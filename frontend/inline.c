/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inline.c - calls of functions.
 *
 * A call becomes the nodes of the body, imported in a scope of their own: the
 * formal inputs name the actual values, attribute references the attributes of
 * the call, operator sets those of the function.  Names get the call's name as
 * prefix.  A function of the model goes before an operator of the same name,
 * and before one of a library of functions given beside the model.
 * Depth of calls is limited here, the number of nodes by the importer.
 */
#include <string.h>
#include "frontend/frontend_int.h"

#define MAX_CALLS 64

static const char *key_of(cab_arena *a, const char *domain, const char *name,
                          const char *overload, size_t *n)
{
    cab_buf b = cab_buf_on(a);

    cab_buf_str(&b, cab_domain(domain));
    cab_buf_char(&b, 0);
    cab_buf_str(&b, name);
    cab_buf_char(&b, 0);
    cab_buf_str(&b, overload ? overload : "");
    *n = b.n;
    return b.p;
}

/* once: a second function of that name is an error, else it is passed over. */
static cab_status index_model(cab_importer *im, const Onnx__ModelProto *m,
                              const char *label, cab_function like, bool once)
{
    cab_where w = { .file = label };

    if (m->n_functions && !im->functions)
        im->functions = cab_map_create(im->arena);
    for (size_t i = 0; i < m->n_functions; i++) {
        cab_function *f = CAB_NEW(im->arena, cab_function);
        const char *key;
        size_t n;

        *f = like;
        f->proto = m->functions[i];
        if (!f->proto->name)
            return cab_fail(im->diag, CAB_EMODEL, &w,
                            "a function without a name");
        key = key_of(im->arena, f->proto->domain, f->proto->name,
                     f->proto->overload, &n);
        if (!cab_map_get(im->functions, key, n))
            cab_map_set(im->functions, key, n, f);
        else if (once)
            return cab_fail(im->diag, CAB_EMODEL, &w,
                            "function '%s' is defined twice", f->proto->name);
    }
    return CAB_OK;
}

/* The messages live until the end of the arena. */
static cab_status index_library(cab_importer *im, const cab_import_functions *l)
{
    cab_tensor_ctx *t = CAB_NEW(im->arena, cab_tensor_ctx);
    cab_opsets *opsets = CAB_NEW(im->arena, cab_opsets);
    const char *label = l->label ? cab_strdup(im->arena, l->label) : NULL;
    const Onnx__ModelProto *m;
    cab_parsed parsed;

    CAB_TRY(cab_parse(im->arena, l->p, l->n, CAB_WIRE_MODEL, &im->limits, label,
                      &parsed, im->diag));
    m = (const Onnx__ModelProto *)parsed.msg;
    *t = im->tensors;
    t->chunks = parsed.chunks;
    t->n_chunks = parsed.n_chunks;
    t->base_path = label;
    t->files = cab_map_create(im->arena);
    *opsets = (cab_opsets){ m->n_opset_import, m->opset_import, NULL };
    return index_model(im, m, label, (cab_function){ NULL, t, opsets }, false);
}

cab_status cab_functions_index(cab_importer *im)
{
    CAB_TRY(index_model(im, im->model, im->label,
                        (cab_function){ NULL, &im->tensors, NULL }, true));
    for (int i = 0; i < im->o->n_functions; i++)
        CAB_TRY(index_library(im, &im->o->functions[i]));
    return CAB_OK;
}

const cab_function *cab_function_find(const cab_importer *im,
                                      const Onnx__NodeProto *n)
{
    const cab_function *f;
    cab_mark mark;
    const char *key;
    size_t len;

    if (!im->functions)
        return NULL;
    mark = cab_arena_mark(im->arena);
    key = key_of(im->arena, n->domain, n->op_type, n->overload, &len);
    f = cab_map_get(im->functions, key, len);
    cab_arena_release(im->arena, mark);
    return f;
}

/* Parameters of the call: given attributes, then defaults. */
static void collect_params(cab_importer *im, cab_scope *caller,
                           const Onnx__NodeProto *n,
                           const Onnx__FunctionProto *f, cab_scope *body)
{
    cab_param *p = CAB_NEW_N(im->arena, cab_param,
                             n->n_attribute + f->n_attribute_proto);
    size_t count = 0;

    for (size_t i = 0; i < n->n_attribute; i++) {
        cab_scope *s = caller;
        const Onnx__AttributeProto *a = cab_attr_resolve(n->attribute[i], &s);

        if (a && n->attribute[i]->name)
            p[count++] = (cab_param){ n->attribute[i]->name, a, s };
    }
    for (size_t i = 0; i < f->n_attribute_proto; i++) {
        if (f->attribute_proto[i]->name)
            p[count++] = (cab_param){ f->attribute_proto[i]->name,
                                      f->attribute_proto[i], body };
    }
    body->params = p;
    body->n_params = count;
}

static cab_status bind_inputs(cab_importer *im, cab_scope *caller,
                              const Onnx__NodeProto *n,
                              const Onnx__FunctionProto *f, cab_scope *body,
                              const cab_where *w)
{
    if (n->n_input > f->n_input || n->n_output > f->n_output)
        return cab_fail(im->diag, CAB_EMODEL, w,
                        "the function has %zu inputs and %zu outputs, the call "
                        "%zu and %zu", f->n_input, f->n_output, n->n_input,
                        n->n_output);
    for (size_t i = 0; i < f->n_input; i++) {
        const char *actual = i < n->n_input ? n->input[i] : "";
        cab_entry none = { NULL, false }, *e = &none;

        if (*actual)
            e = cab_scope_find(caller, actual);
        if (!e)
            return cab_fail(im->diag, CAB_EMODEL, w,
                            "input '%s' is not defined", actual);
        CAB_TRY(cab_scope_bind(im, body, f->input[i], e->v, e->bad, w));
    }
    return CAB_OK;
}

cab_status cab_inline_call(cab_importer *im, cab_scope *s,
                           const Onnx__NodeProto *n, const cab_function *call,
                           const cab_where *w)
{
    const Onnx__FunctionProto *f = call->proto;
    cab_opsets opsets = { f->n_opset_import, f->opset_import,
                          call->opsets ? call->opsets : s->opsets };
    cab_scope body = {
        .g = s->g, .entries = cab_map_create(im->arena), .opsets = &opsets,
        .tensors = call->tensors,
        .prefix = cab_printf(im->arena, "%s/", w->node), .calls = s->calls + 1,
    };

    if (body.calls > MAX_CALLS)
        return cab_fail(im->diag, CAB_ELIMIT, w,
                        "functions call each other more than %d deep",
                        MAX_CALLS);
    collect_params(im, s, n, f, &body);
    CAB_TRY(bind_inputs(im, s, n, f, &body, w));
    CAB_TRY(cab_import_nodes(im, &body, f->node, f->n_node));
    for (size_t i = 0; i < n->n_output; i++) {
        cab_entry *e = cab_map_gets(body.entries, f->output[i]);

        if (!*n->output[i])
            continue;
        if (!e)
            return cab_fail(im->diag, CAB_EMODEL, w,
                            "output '%s' of the function is not defined",
                            f->output[i]);
        CAB_TRY(cab_scope_bind(im, s, n->output[i], e->v, e->bad, w));
    }
    return CAB_OK;
}
