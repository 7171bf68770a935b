/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_input.c - TypeProto -> type, and the inputs of a model.
 *
 * Named extents become symbols; unnamed ones fresh symbols.  What the caller
 * says it will feed fills in missing ranks, is checked against the declared
 * types and, under static_shapes, binds the symbols.
 */
#include <string.h>
#include "frontend/frontend_int.h"

/* Some exporters write these where they know nothing: no common extent. */
static bool is_wildcard(const char *name)
{
    return !name || !*name || !strcmp(name, "?") || !strcmp(name, "None");
}

static const cab_dim *import_dim(cab_graph *g,
                                 const Onnx__TensorShapeProto__Dimension *p)
{
    switch (p->value_case) {
    case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
        /* Negative extents are written for unknown ones. */
        return p->dim_value < 0 ? cab_dim_fresh(g->dims, "d")
                                : cab_dim_const(g->dims, p->dim_value);
    case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
        return is_wildcard(p->dim_param) ? cab_dim_fresh(g->dims, "d")
                                         : cab_dim_sym(g->dims, p->dim_param);
    default:
        return cab_dim_fresh(g->dims, "d");
    }
}

static cab_status import_tensor_type(cab_importer *im, cab_graph *g,
                                     const Onnx__TypeProto__Tensor *p,
                                     const cab_where *w, cab_type *out)
{
    out->kind = CAB_KIND_tensor;
    out->dtype = cab_dtype_from_onnx(p->elem_type);
    if (out->dtype == CAB_DT_none && p->elem_type)
        return cab_fail(im->diag, CAB_EUNSUPPORTED, w,
                        "a tensor of element type number %d",
                        (int)p->elem_type);
    out->rank = CAB_RANK_UNKNOWN;
    if (!p->shape)
        return CAB_OK;
    if (p->shape->n_dim > CAB_MAX_RANK)
        return cab_fail(im->diag, CAB_EUNSUPPORTED, w,
                        "a tensor of rank %zu (at most %d)", p->shape->n_dim,
                        CAB_MAX_RANK);
    out->rank = (int)p->shape->n_dim;
    for (int i = 0; i < out->rank; i++)
        out->dims[i] = import_dim(g, p->shape->dim[i]);
    return CAB_OK;
}

cab_status cab_import_type(cab_importer *im, cab_graph *g,
                           const Onnx__TypeProto *p, const cab_where *w,
                           cab_type *out)
{
    const Onnx__TypeProto *inner;
    cab_type *elem;

    *out = (cab_type){ .rank = CAB_RANK_UNKNOWN };
    switch (p->value_case) {
    case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
        return import_tensor_type(im, g, p->tensor_type, w, out);
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        out->kind = CAB_KIND_sequence;
        inner = p->sequence_type->elem_type;
        break;
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        out->kind = CAB_KIND_optional;
        inner = p->optional_type->elem_type;
        break;
    case ONNX__TYPE_PROTO__VALUE__NOT_SET:
        return CAB_OK;
    default:
        return cab_fail(im->diag, CAB_EUNSUPPORTED, w,
                        "a value that is a map, a sparse or an opaque tensor");
    }
    if (!inner)
        return cab_fail(im->diag, CAB_EMODEL, w,
                        "a sequence or optional type without element type");
    elem = CAB_NEW(g->arena, cab_type);
    CAB_TRY(cab_import_type(im, g, inner, w, elem));
    *out = cab_type_holder(g, out->kind, elem);
    return CAB_OK;
}

/* ---- feeds ---- */
static const char *name_of(const Onnx__ValueInfoProto *p)
{
    return p->name ? p->name : "";
}

/* Names of the initializers of a graph. */
static cab_map *initializer_names(cab_arena *a, const Onnx__GraphProto *p)
{
    cab_map *m = cab_map_create(a);

    for (size_t i = 0; i < p->n_initializer; i++) {
        if (p->initializer[i]->name)
            cab_map_sets(m, p->initializer[i]->name, m);
    }
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        const Onnx__TensorProto *v = p->sparse_initializer[i]->values;

        if (v && v->name)
            cab_map_sets(m, v->name, m);
    }
    return m;
}

static const cab_import_input *offered_for(const cab_importer *im,
                                           const char *name, int place)
{
    const cab_import_options *o = im->o;

    for (int i = 0; i < o->n_inputs; i++) {
        const char *want = o->inputs[i].name;

        if (want ? !strcmp(want, name) : i == place)
            return &o->inputs[i];
    }
    return NULL;
}

static void bind_dim(cab_importer *im, cab_graph *g, cab_type *t, int axis,
                     int64_t value)
{
    const cab_dim *d = cab_dim_subst(g->dims, t->dims[axis]);

    if (im->o->static_shapes && d->kind == CAB_DIM_SYM)
        cab_dim_bind(g->dims, d, cab_dim_const(g->dims, value));
    cab_dim_expect(g->dims, d, value);
    t->dims[axis] = cab_dim_subst(g->dims, d);
}

/* The rank of the elements, where the file does not tell. */
static cab_status apply_elements(cab_importer *im, cab_graph *g, const char *name,
                                 const cab_import_input *in, cab_type *t)
{
    cab_where w = { .file = im->label };
    const cab_type *e = t->elem;
    cab_type known, inner;

    while (e->kind != CAB_KIND_tensor)
        e = e->elem;
    if (in->dtype == CAB_DT_none)          /* nothing in it */
        return CAB_OK;
    if (e->dtype != CAB_DT_none && e->dtype != in->dtype)
        return cab_fail(im->diag, CAB_EINPUT, &w, "the elements of input '%s' are %s, %s was "
                        "offered", name, cab_dtype_name(e->dtype), cab_dtype_name(in->dtype));
    if (e->rank != CAB_RANK_UNKNOWN)
        return CAB_OK;
    known = (cab_type){ .kind = CAB_KIND_tensor, .dtype = in->dtype, .rank = in->rank };
    if (t->elem->kind == CAB_KIND_tensor) {
        *t = cab_type_holder(g, t->kind, &known);
        return CAB_OK;
    }
    inner = cab_type_holder(g, t->elem->kind, &known);
    *t = cab_type_holder(g, t->kind, &inner);
    return CAB_OK;
}

/* Declared type and offered tensor must agree; the offer fills the gaps. */
static cab_status apply_offer(cab_importer *im, cab_graph *g, const char *name,
                              const cab_import_input *in, cab_type *t)
{
    cab_where w = { .file = im->label };

    if (t->kind != CAB_KIND_tensor)
        return in->list ? apply_elements(im, g, name, in, t) : CAB_OK;
    if (in->list)
        return cab_fail(im->diag, CAB_EINPUT, &w, "input '%s' is a tensor, a sequence was offered",
                        name);
    if (t->dtype != CAB_DT_none && in->dtype != t->dtype)
        return cab_fail(im->diag, CAB_EINPUT, &w,
                        "input '%s' is %s, %s was offered", name,
                        cab_dtype_name(t->dtype), cab_dtype_name(in->dtype));
    t->dtype = in->dtype;
    if (t->rank == CAB_RANK_UNKNOWN) {
        t->rank = in->rank;
        for (int i = 0; i < in->rank; i++)
            t->dims[i] = cab_dim_fresh(g->dims, "d");
    }
    if (t->rank != in->rank)
        return cab_fail(im->diag, CAB_EINPUT, &w,
                        "input '%s' has rank %d, rank %d was offered", name,
                        t->rank, in->rank);
    for (int i = 0; i < t->rank; i++) {
        bind_dim(im, g, t, i, in->dims[i]);
        if (cab_dim_is_const(t->dims[i]) && t->dims[i]->value != in->dims[i])
            return cab_fail(im->diag, CAB_EINPUT, &w,
                            "axis %d of input '%s' has extent %lld, %lld was "
                            "offered", i, name, (long long)t->dims[i]->value,
                            (long long)in->dims[i]);
    }
    return CAB_OK;
}

static cab_status check_known(cab_importer *im, const char *name,
                              const cab_type *t)
{
    cab_where w = { .file = im->label };

    if (t->kind != CAB_KIND_tensor)
        return CAB_OK;
    if (t->dtype != CAB_DT_none && t->rank != CAB_RANK_UNKNOWN)
        return CAB_OK;
    im->n_unsupported++;
    cab_fail(im->diag, CAB_EUNSUPPORTED, &w,
             "input '%s' is declared without a %s", name,
             t->dtype == CAB_DT_none ? "type" : "shape");
    cab_note(im->diag, "offer a value for it: its rank is taken from there");
    return CAB_OK;
}

static void apply_binds(cab_importer *im, cab_graph *g)
{
    for (int i = 0; i < im->o->n_binds; i++)
        cab_dim_bind(g->dims, cab_dim_sym(g->dims, im->o->binds[i].name),
                     cab_dim_const(g->dims, im->o->binds[i].value));
}

/* The input that has the symbol as an extent; its axis in *axis. */
static const char *owner_of(const Onnx__GraphProto *p, const cab_type *types, const cab_dim *sym,
                            int *axis)
{
    for (size_t i = 0; i < p->n_input; i++)
        for (*axis = 0; types[i].kind == CAB_KIND_tensor && *axis < types[i].rank; ++*axis)
            if (types[i].dims[*axis] == sym)
                return name_of(p->input[i]);
    return NULL;
}

static void push_guard(cab_graph *g, const cab_dim *a, const cab_dim *b, const char *why)
{
    cab_guard_eq guard = { a, b, why, true };

    cab_vec_push(g->arena, &g->guards, guard);
}

/* What the caller says of an extent: a fact from here on, because the program
 * checks it.  A symbol that no input has cannot be checked: nothing is
 * assumed of it. */
static cab_status apply_range(cab_importer *im, cab_graph *g, const Onnx__GraphProto *p,
                              const cab_type *types, const cab_import_range *r)
{
    cab_where w = { .file = im->label };
    const cab_dim *sym = cab_dim_sym(g->dims, r->name);
    const char *input, *why;
    int axis;

    if (cab_dim_is_const(sym)) {
        if (sym->value >= r->lo && sym->value <= r->hi)
            return CAB_OK;
        return cab_fail(im->diag, CAB_EINPUT, &w, "'%s' is %lld, said to be from %lld to %lld",
                        r->name, (long long)sym->value, (long long)r->lo, (long long)r->hi);
    }
    input = owner_of(p, types, sym, &axis);
    if (!input || sym->kind != CAB_DIM_SYM)
        return CAB_OK;
    why = cab_intern(g->strings, cab_printf(im->arena, "extent %d (%s) of input '%s' must be from "
                                                       "%lld to %lld", axis, r->name, input,
                                            (long long)r->lo, (long long)r->hi));
    push_guard(g, cab_dim_const(g->dims, r->lo), sym, why);
    push_guard(g, sym, cab_dim_const(g->dims, r->hi), why);
    cab_dim_assume(g->dims, sym, r->lo, r->hi, 1);
    return CAB_OK;
}

static cab_value *add_input(cab_importer *im, cab_scope *s, const char *name,
                            cab_type *t, const cab_import_input *in)
{
    cab_value *v;

    /* A later input may have bound a symbol of this one. */
    for (int i = 0; t->kind == CAB_KIND_tensor && i < t->rank; i++)
        t->dims[i] = cab_dim_subst(s->g->dims, t->dims[i]);
    v = cab_graph_add_input(s->g, cab_intern(s->g->strings, name), t);
    if (in && in->data && t->kind == CAB_KIND_tensor) {
        cab_blob *b = CAB_NEW(im->arena, cab_blob);

        *b = (cab_blob){ in->data, in->bytes };
        v->hint = b;
    }
    return v;
}

cab_status cab_import_inputs(cab_importer *im, cab_scope *s,
                             const Onnx__GraphProto *p)
{
    cab_map *fixed = initializer_names(im->arena, p);
    cab_type *types = CAB_NEW_N(im->arena, cab_type, p->n_input);
    const cab_import_input **offers =
        CAB_NEW_N(im->arena, const cab_import_input *, p->n_input);
    cab_where w = { .file = im->label, .op = "input" };
    int place = 0;

    apply_binds(im, s->g);
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = name_of(p->input[i]);

        w.node = name;
        if (!*name)
            return cab_fail(im->diag, CAB_EMODEL, &w, "an input without a name");
        if (cab_map_gets(fixed, name))
            continue;
        types[i].rank = CAB_RANK_UNKNOWN;
        if (p->input[i]->type)
            CAB_TRY(cab_import_type(im, s->g, p->input[i]->type, &w,
                                    &types[i]));
        offers[i] = offered_for(im, name, place++);
        if (offers[i])
            CAB_TRY(apply_offer(im, s->g, name, offers[i], &types[i]));
        CAB_TRY(check_known(im, name, &types[i]));
    }
    for (int i = 0; i < im->o->n_ranges; i++)
        CAB_TRY(apply_range(im, s->g, p, types, &im->o->ranges[i]));
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = name_of(p->input[i]);

        w.node = name;
        if (!cab_map_gets(fixed, name))
            CAB_TRY(cab_scope_bind(im, s, name, add_input(im, s, name,
                                                          &types[i], offers[i]),
                                   false, &w));
    }
    return CAB_OK;
}

static cab_kind kind_of(const Onnx__TypeProto *t)
{
    if (t && t->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE)
        return CAB_KIND_sequence;
    if (t && t->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE)
        return CAB_KIND_optional;
    return CAB_KIND_tensor;
}

cab_status cab_import_feeds(cab_arena *a, const char *path,
                            const cab_import_options *o, cab_feed **out,
                            size_t *out_n, cab_diag *d)
{
    cab_wire_limits limits = cab_limits_of(o);
    cab_where w = { .file = path };
    const Onnx__GraphProto *g;
    cab_parsed parsed;
    cab_mapping *m;
    cab_map *fixed;

    *out_n = 0;
    CAB_TRY(cab_map_for(a, path, &m, d));
    CAB_TRY(cab_parse(a, m->p, m->n, CAB_WIRE_MODEL, &limits, path, &parsed, d));
    g = ((const Onnx__ModelProto *)parsed.msg)->graph;
    if (!g)
        return cab_fail(d, CAB_EMODEL, &w, "the model has no graph");
    fixed = initializer_names(a, g);
    *out = CAB_NEW_N(a, cab_feed, g->n_input);
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = name_of(g->input[i]);

        if (!cab_map_gets(fixed, name))
            (*out)[(*out_n)++] = (cab_feed){ cab_strdup(a, name),
                                             kind_of(g->input[i]->type) };
    }
    cab_parse_done(&parsed);
    return CAB_OK;
}
