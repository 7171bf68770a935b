/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feeds.c - input tensors: from files, or seeded.
 */
#include "tools/tool.h"
#include <string.h>

static void allocate(cab_arena *a, size_t n, tool_feeds *f)
{
    *f = (tool_feeds){ .arena = a, .n = n };
    f->tensor = CAB_NEW_N(a, cab_tensor, n + 1);
    f->list = CAB_NEW_N(a, cab_file_value, n + 1);
    f->name = CAB_NEW_N(a, const char *, n + 1);
}

/* "NAME=FILE" names a feed; anything else is the next one in order. */
static cab_status place(const tool_feeds *f, const char *text, size_t next, size_t *at,
                        const char **file, cab_diag *d)
{
    const char *eq = strchr(text, '=');
    for (size_t i = 0; eq && i < f->n; i++)
        if (strlen(f->name[i]) == (size_t)(eq - text) &&
            !memcmp(f->name[i], text, (size_t)(eq - text))) {
            *at = i;
            *file = eq + 1;
            return CAB_OK;
        }
    if (next >= f->n)
        return cab_fail(d, CAB_EINVAL, NULL, "'%s' is one input too many: the model has %zu",
                        text, f->n);
    *at = next;
    *file = text;
    return CAB_OK;
}

static cab_status read_files(cab_arena *a, const cab_feed *feeds, size_t n,
                             const char *const *files, int n_files, tool_feeds *out, cab_diag *d)
{
    size_t at = 0;
    allocate(a, n, out);
    bool *given = CAB_NEW_N(a, bool, n + 1);
    for (size_t i = 0; i < n; i++) {
        out->name[i] = feeds[i].name;
        out->list[i].kind = feeds[i].kind;
    }
    size_t next = 0;
    for (int i = 0; i < n_files; i++) {
        const char *file = NULL;
        CAB_TRY(place(out, files[i], next, &at, &file, d));
        if (feeds[at].kind == CAB_KIND_tensor)
            CAB_TRY(cab_tensor_read(a, file, &out->tensor[at], d));
        else
            CAB_TRY(cab_value_read(a, file, feeds[at].kind, &out->list[at], d));
        given[at] = true;
        while (next < n && given[next])
            next++;
    }
    for (size_t i = 0; i < n; i++)
        if (!given[i])
            return cab_fail(d, CAB_EINVAL, NULL, "input '%s' is missing: give it with --input",
                            out->name[i]);
    return CAB_OK;
}

cab_status tool_feeds_read(cab_arena *a, const tool_args *args, const char *const *files,
                           int n_files, tool_feeds *out, cab_diag *d)
{
    cab_feed *feeds;
    size_t n;
    CAB_TRY(cab_import_feeds(a, args->model, &args->compile.import, &feeds, &n, d));
    return read_files(a, feeds, n, files, n_files, out, d);
}

cab_status tool_feeds_read_for(cab_arena *a, const cab_model *m, const char *const *files,
                               int n_files, tool_feeds *out, cab_diag *d)
{
    const cab_plan *p = cab_model_plan(m);
    size_t n = p->header->n_inputs;
    cab_feed *feeds = CAB_NEW_N(a, cab_feed, n + 1);
    for (size_t i = 0; i < n; i++) {
        const cab_plan_value *v = &p->values[p->inputs[i]];
        feeds[i].name = p->strings + v->name;
        feeds[i].kind = v->kind == 1 ? CAB_KIND_sequence : v->kind == 2 ? CAB_KIND_optional
                                                                          : CAB_KIND_tensor;
    }
    return read_files(a, feeds, n, files, n_files, out, d);
}

/* What the tensors in it have in common, for the importer. */
static void common_element(const cab_file_value *v, cab_import_input *in, bool *any)
{
    for (size_t i = 0; v->kind != CAB_KIND_tensor && i < v->n; i++)
        common_element(&v->items[i], in, any);
    if (v->kind != CAB_KIND_tensor)
        return;
    in->rank = !*any || in->rank == v->tensor.rank ? v->tensor.rank : CAB_RANK_UNKNOWN;
    in->dtype = v->tensor.dtype;
    *any = true;
}

static cab_tensor_view tensor_view(const cab_tensor *t)
{
    uint64_t bytes = 0;
    cab_dtype_bytes(t->dtype, (uint64_t)cab_tensor_numel(t), &bytes);
    cab_tensor_view v = { cab_dtype_onnx(t->dtype), t->rank, { 0 }, t->data, bytes };
    memcpy(v.dims, t->dims, sizeof v.dims);
    return v;
}

static cab_tensor_view list_view(cab_arena *a, const cab_file_value *v)
{
    if (v->kind == CAB_KIND_tensor)
        return tensor_view(&v->tensor);
    if (v->kind == CAB_KIND_optional)
        return v->n ? list_view(a, &v->items[0]) : (cab_tensor_view){ .rank = CAB_RANK_NONE };
    cab_tensor_view *items = CAB_NEW_N(a, cab_tensor_view, v->n + 1);
    for (size_t i = 0; i < v->n; i++)
        items[i] = list_view(a, &v->items[i]);
    return (cab_tensor_view){ .rank = CAB_RANK_SEQUENCE, .dims = { (int64_t)v->n }, .data = items,
                              .bytes = v->n * sizeof *items };
}

static int64_t extent(const tool_args *args, const cab_plan *p, uint32_t slot, int axis)
{
    const cab_plan_scalar *s = &p->scalars[slot];
    if (s->op == CAB_S_CONST)
        return s->imm;
    for (int i = 0; i < args->n_at; i++)
        if (!strcmp(args->at[i].name, p->strings + s->name))
            return args->at[i].value;
    for (int i = 0; i < args->n_dims; i++)
        if (!strcmp(args->dim[i].name, p->strings + s->name))
            return args->dim[i].value;
    int64_t n = axis == 0 ? 1 : args->assumed ? args->assumed : 16;
    for (int i = 0; i < args->n_ranges; i++)
        if (!strcmp(args->range[i].name, p->strings + s->name))
            n = n < args->range[i].lo ? args->range[i].lo
              : n > args->range[i].hi ? args->range[i].hi : n;
    return n;
}

static void fill(cab_tensor *t, cab_rng *r)
{
    int64_t n = cab_tensor_numel(t);
    size_t size = (size_t)cab_dtype_bits(t->dtype) / 8;
    for (int64_t i = 0; i < n; i++) {
        uint8_t *p = (uint8_t *)t->data + (size_t)i * size;
        double f = cab_rng_f64(r, -1, 1);
        float f32 = (float)f;
        uint16_t half = t->dtype == CAB_DT_bf16 ? cab_f32_to_bf16(f32) : cab_f32_to_f16(f32);
        int64_t bit = f >= 0;
        if (t->dtype == CAB_DT_f64)
            memcpy(p, &f, size);
        else if (t->dtype == CAB_DT_f32)
            memcpy(p, &f32, size);
        else if (cab_dtype_is_float(t->dtype))
            memcpy(p, &half, size);
        else
            memcpy(p, &bit, size);
    }
}

cab_status tool_feeds_make(cab_arena *a, const tool_args *args, const cab_model *m,
                           tool_feeds *out, cab_diag *d)
{
    const cab_plan *p = cab_model_plan(m);
    cab_rng r;
    cab_rng_seed(&r, args->seed);
    allocate(a, p->header->n_inputs, out);
    for (size_t i = 0; i < out->n; i++) {
        const cab_plan_value *v = &p->values[p->inputs[i]];
        cab_tensor *t = &out->tensor[i];
        out->name[i] = p->strings + v->name;
        t->dtype = cab_dtype_from_onnx(v->dtype);
        t->rank = v->rank;
        for (int k = 0; k < v->rank; k++)
            t->dims[k] = extent(args, p, v->dims[k], k);
        if (cab_dtype_bits(t->dtype) < 8 || !cab_tensor_alloc(a, t))
            return cab_fail(d, CAB_EUNSUPPORTED, NULL, "cannot make up values for input '%s' (%s)",
                            out->name[i], cab_dtype_name(t->dtype));
        fill(t, &r);
    }
    return CAB_OK;
}

void tool_feeds_offer(const tool_feeds *f, cab_import_options *o)
{
    cab_import_input *in = CAB_NEW_N(f->arena, cab_import_input, f->n + 1);
    for (size_t i = 0; i < f->n; i++) {
        const cab_tensor *t = &f->tensor[i];
        uint64_t bytes = 0;
        bool any = false;
        if (f->list[i].kind != CAB_KIND_tensor) {
            in[i] = (cab_import_input){ .name = f->name[i], .list = true,
                                        .rank = CAB_RANK_UNKNOWN, .dtype = CAB_DT_none };
            common_element(&f->list[i], &in[i], &any);
            continue;
        }
        cab_dtype_bytes(t->dtype, (uint64_t)cab_tensor_numel(t), &bytes);
        in[i] = (cab_import_input){ f->name[i], t->dtype, t->rank, t->dims, t->data, bytes,
                                    false };
    }
    o->inputs = in;
    o->n_inputs = (int)f->n;
}

cab_status tool_feeds_given(cab_arena *a, tool_args *args, cab_diag *d)
{
    tool_feeds feeds = { 0 };
    if (!args->n_inputs)
        return CAB_OK;
    CAB_TRY(tool_feeds_read(a, args, args->input, args->n_inputs, &feeds, d));
    tool_feeds_offer(&feeds, &args->compile.import);
    return CAB_OK;
}

void tool_feeds_views(cab_arena *a, const tool_feeds *f, cab_tensor_view **out)
{
    *out = CAB_NEW_N(a, cab_tensor_view, f->n + 1);
    for (size_t i = 0; i < f->n; i++)
        (*out)[i] = f->list[i].kind == CAB_KIND_tensor ? tensor_view(&f->tensor[i])
                                                       : list_view(a, &f->list[i]);
}
