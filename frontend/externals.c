/* SPDX-License-Identifier: Apache-2.0 */
/*
 * externals.c - which external files a model refers to.
 *
 * Looks at every tensor of the file, also those in subgraphs, functions and
 * attributes; opens nothing.
 */
#include "frontend/frontend_int.h"
#include <string.h>

typedef struct finder {
    cab_arena *arena;
    cab_map *seen;
    CAB_VEC(const char *) names;
} finder;

static void in_graph(finder *f, const Onnx__GraphProto *g);

static void in_tensor(finder *f, const Onnx__TensorProto *t)
{
    for (size_t i = 0; t && i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;

        if (!key || !value || strcmp(key, "location") || cab_map_gets(f->seen, value))
            continue;
        cab_map_sets(f->seen, value, f);
        cab_vec_push(f->arena, &f->names, cab_strdup(f->arena, value));
    }
}

static void in_sparse(finder *f, const Onnx__SparseTensorProto *s)
{
    if (!s)
        return;
    in_tensor(f, s->values);
    in_tensor(f, s->indices);
}

static void in_attribute(finder *f, const Onnx__AttributeProto *a)
{
    in_tensor(f, a->t);
    in_sparse(f, a->sparse_tensor);
    in_graph(f, a->g);
    for (size_t i = 0; i < a->n_tensors; i++)
        in_tensor(f, a->tensors[i]);
    for (size_t i = 0; i < a->n_graphs; i++)
        in_graph(f, a->graphs[i]);
}

static void in_nodes(finder *f, Onnx__NodeProto *const *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < nodes[i]->n_attribute; k++)
            in_attribute(f, nodes[i]->attribute[k]);
}

static void in_graph(finder *f, const Onnx__GraphProto *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_initializer; i++)
        in_tensor(f, g->initializer[i]);
    for (size_t i = 0; i < g->n_sparse_initializer; i++)
        in_sparse(f, g->sparse_initializer[i]);
    in_nodes(f, g->node, g->n_node);
}

cab_status cab_import_externals(cab_arena *a, const void *p, size_t n, const char *label,
                                const cab_import_options *o, const char ***out,
                                size_t *out_n, cab_diag *d)
{
    cab_wire_limits limits = cab_limits_of(o);
    finder f = { .arena = a, .seen = cab_map_create(a) };
    const Onnx__ModelProto *m;
    cab_parsed parsed;

    *out = NULL;
    *out_n = 0;
    CAB_TRY(cab_parse(a, p, n, CAB_WIRE_MODEL, &limits, label, &parsed, d));
    m = (const Onnx__ModelProto *)parsed.msg;
    in_graph(&f, m->graph);
    for (size_t i = 0; i < m->n_functions; i++) {
        const Onnx__FunctionProto *fn = m->functions[i];

        in_nodes(&f, fn->node, fn->n_node);
        for (size_t k = 0; k < fn->n_attribute_proto; k++)
            in_attribute(&f, fn->attribute_proto[k]);
    }
    cab_parse_done(&parsed);
    *out = f.names.p;
    *out_n = f.names.n;
    return CAB_OK;
}
