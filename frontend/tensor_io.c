/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_io.c - tensors, sequences and optionals in files of their own.
 *
 * TensorProto, SequenceProto and OptionalProto, read through the same skeleton
 * and limits as models and written in raw_data form; .npy files go to npy.c.
 * Reading gives aligned memory of the arena.  External data is refused: such a
 * file stands alone.
 */
#include <string.h>
#include "frontend/frontend_int.h"

/* elem_type of SequenceProto and OptionalProto. */
enum { E_NONE, E_TENSOR, E_SPARSE, E_SEQUENCE, E_MAP, E_OPTIONAL };

typedef struct reader {
    cab_tensor_ctx ctx;
    cab_where where;
} reader;

/* ---- reading ---- */
static cab_status read_tensor(reader *r, const Onnx__TensorProto *p,
                              cab_file_value *out)
{
    cab_raw_tensor raw;
    cab_tensor *t = &out->tensor;

    *out = (cab_file_value){ .kind = CAB_KIND_tensor };
    out->name = cab_strdup(r->ctx.arena, p->name ? p->name : "");
    CAB_TRY(cab_tensor_decode(&r->ctx, p, &r->where, &raw));
    t->dtype = raw.dtype;
    t->rank = raw.rank;
    memcpy(t->dims, raw.dims, sizeof t->dims);
    if (raw.dtype == CAB_DT_str)
        t->data = (void *)raw.strs;
    else
        t->data = cab_dup(r->ctx.arena, raw.data, (size_t)raw.bytes);
    return CAB_OK;
}

static cab_status read_optional(reader *r, const Onnx__OptionalProto *p,
                                cab_file_value *out);

static cab_status read_sequence(reader *r, const Onnx__SequenceProto *p,
                                cab_file_value *out)
{
    *out = (cab_file_value){ .kind = CAB_KIND_sequence };
    out->name = cab_strdup(r->ctx.arena, p->name ? p->name : "");
    out->n = p->n_tensor_values + p->n_sequence_values + p->n_optional_values;
    out->items = CAB_NEW_N(r->ctx.arena, cab_file_value, out->n);
    out->elem_kind = p->n_sequence_values || p->elem_type == E_SEQUENCE
        ? CAB_KIND_sequence
        : p->n_optional_values || p->elem_type == E_OPTIONAL
        ? CAB_KIND_optional : CAB_KIND_tensor;
    if (!!p->n_tensor_values + !!p->n_sequence_values + !!p->n_optional_values
        > 1)
        return cab_fail(r->ctx.diag, CAB_EMODEL, &r->where,
                        "a sequence of elements of several kinds");
    for (size_t i = 0; i < p->n_tensor_values; i++)
        CAB_TRY(read_tensor(r, p->tensor_values[i], &out->items[i]));
    for (size_t i = 0; i < p->n_sequence_values; i++)
        CAB_TRY(read_sequence(r, p->sequence_values[i], &out->items[i]));
    for (size_t i = 0; i < p->n_optional_values; i++)
        CAB_TRY(read_optional(r, p->optional_values[i], &out->items[i]));
    return CAB_OK;
}

static cab_status read_optional(reader *r, const Onnx__OptionalProto *p,
                                cab_file_value *out)
{
    *out = (cab_file_value){ .kind = CAB_KIND_optional, .n = 1 };
    out->name = cab_strdup(r->ctx.arena, p->name ? p->name : "");
    out->items = CAB_NEW(r->ctx.arena, cab_file_value);
    if (p->tensor_value) {
        out->elem_kind = CAB_KIND_tensor;
        return read_tensor(r, p->tensor_value, out->items);
    }
    if (p->sequence_value) {
        out->elem_kind = CAB_KIND_sequence;
        return read_sequence(r, p->sequence_value, out->items);
    }
    if (p->optional_value) {
        out->elem_kind = CAB_KIND_optional;
        return read_optional(r, p->optional_value, out->items);
    }
    out->elem_kind = p->elem_type == E_SEQUENCE ? CAB_KIND_sequence
                                                : CAB_KIND_tensor;
    out->n = 0;
    return CAB_OK;
}

static cab_status read_message(cab_arena *a, const cab_mapping *m,
                               const char *path, cab_kind kind,
                               cab_file_value *out, cab_diag *d)
{
    static const cab_wire_root roots[] = {
        [CAB_KIND_tensor] = CAB_WIRE_TENSOR,
        [CAB_KIND_sequence] = CAB_WIRE_SEQUENCE,
        [CAB_KIND_optional] = CAB_WIRE_OPTIONAL,
    };
    cab_wire_limits limits = cab_limits_of(NULL);
    cab_parsed parsed;
    cab_status s;
    reader r;

    CAB_TRY(cab_parse(a, m->p, m->n, roots[kind], &limits, path, &parsed, d));
    r = (reader){
        .ctx = { .arena = a, .chunks = parsed.chunks,
                 .n_chunks = parsed.n_chunks, .max_bytes = limits.bytes,
                 .diag = d },
        .where = { .file = path },
    };
    if (kind == CAB_KIND_tensor)
        s = read_tensor(&r, (const Onnx__TensorProto *)parsed.msg, out);
    else if (kind == CAB_KIND_sequence)
        s = read_sequence(&r, (const Onnx__SequenceProto *)parsed.msg, out);
    else
        s = read_optional(&r, (const Onnx__OptionalProto *)parsed.msg, out);
    cab_parse_done(&parsed);
    return s;
}

cab_status cab_value_read(cab_arena *a, const char *path, cab_kind kind,
                          cab_file_value *out, cab_diag *d)
{
    cab_where w = { .file = path };
    cab_mapping *m;
    cab_status s;

    *out = (cab_file_value){ .kind = kind, .name = "" };
    CAB_TRY(cab_map_for(a, path, &m, d));
    if (!cab_npy_is(m->p, m->n))
        s = read_message(a, m, path, kind, out, d);
    else if (kind == CAB_KIND_tensor)
        s = cab_npy_read(a, m->p, m->n, path, &out->tensor, d);
    else
        s = cab_fail(d, CAB_EINPUT, &w, "a .npy file holds a tensor, the input "
                     "is no tensor");
    cab_file_unmap(m);
    return s;
}

cab_status cab_tensor_read(cab_arena *a, const char *path, cab_tensor *out,
                           cab_diag *d)
{
    cab_file_value v;

    CAB_TRY(cab_value_read(a, path, CAB_KIND_tensor, &v, d));
    *out = v.tensor;
    return CAB_OK;
}

/* ---- writing ---- */
static cab_status make_tensor(cab_arena *a, const cab_file_value *v,
                              Onnx__TensorProto **out, cab_diag *d)
{
    Onnx__TensorProto *p = CAB_NEW(a, Onnx__TensorProto);
    const cab_tensor *t = &v->tensor;
    int64_t n = cab_tensor_numel(t);
    uint64_t bytes;

    onnx__tensor_proto__init(p);
    p->name = v->name && *v->name ? cab_strdup(a, v->name) : NULL;
    p->n_dims = (size_t)t->rank;
    p->dims = cab_dup(a, t->dims, sizeof t->dims);
    p->has_data_type = true;
    p->data_type = cab_dtype_onnx(t->dtype);
    *out = p;
    if (t->dtype == CAB_DT_str) {
        p->n_string_data = (size_t)n;
        p->string_data = CAB_NEW_N(a, ProtobufCBinaryData, n);
        for (int64_t i = 0; i < n; i++) {
            const char *s = ((const char *const *)t->data)[i];

            p->string_data[i] = (ProtobufCBinaryData){
                strlen(s), (uint8_t *)cab_strdup(a, s)
            };
        }
        return CAB_OK;
    }
    if (n < 0 || !cab_dtype_bytes(t->dtype, (uint64_t)n, &bytes))
        return cab_fail(d, CAB_EINVAL, NULL, "a tensor too large to write");
    p->has_raw_data = true;
    p->raw_data = (ProtobufCBinaryData){ (size_t)bytes, t->data };
    return CAB_OK;
}

static cab_status make_optional(cab_arena *a, const cab_file_value *v,
                                Onnx__OptionalProto **out, cab_diag *d);

static const int elem_types[] = {
    [CAB_KIND_tensor] = E_TENSOR, [CAB_KIND_sequence] = E_SEQUENCE,
    [CAB_KIND_optional] = E_OPTIONAL,
};

static cab_status make_sequence(cab_arena *a, const cab_file_value *v,
                                Onnx__SequenceProto **out, cab_diag *d)
{
    Onnx__SequenceProto *p = CAB_NEW(a, Onnx__SequenceProto);

    onnx__sequence_proto__init(p);
    *out = p;
    p->name = v->name && *v->name ? cab_strdup(a, v->name) : NULL;
    p->has_elem_type = true;
    p->elem_type = elem_types[v->elem_kind];
    p->tensor_values = CAB_NEW_N(a, Onnx__TensorProto *, v->n);
    p->sequence_values = CAB_NEW_N(a, Onnx__SequenceProto *, v->n);
    p->optional_values = CAB_NEW_N(a, Onnx__OptionalProto *, v->n);
    for (size_t i = 0; i < v->n; i++) {
        const cab_file_value *e = &v->items[i];

        if (e->kind == CAB_KIND_tensor)
            CAB_TRY(make_tensor(a, e, &p->tensor_values[p->n_tensor_values++],
                                d));
        else if (e->kind == CAB_KIND_sequence)
            CAB_TRY(make_sequence(
                a, e, &p->sequence_values[p->n_sequence_values++], d));
        else
            CAB_TRY(make_optional(
                a, e, &p->optional_values[p->n_optional_values++], d));
    }
    return CAB_OK;
}

static cab_status make_optional(cab_arena *a, const cab_file_value *v,
                                Onnx__OptionalProto **out, cab_diag *d)
{
    Onnx__OptionalProto *p = CAB_NEW(a, Onnx__OptionalProto);

    onnx__optional_proto__init(p);
    *out = p;
    p->name = v->name && *v->name ? cab_strdup(a, v->name) : NULL;
    p->has_elem_type = true;
    p->elem_type = elem_types[v->elem_kind];
    if (!v->n)
        return CAB_OK;
    if (v->items->kind == CAB_KIND_tensor)
        return make_tensor(a, v->items, &p->tensor_value, d);
    if (v->items->kind == CAB_KIND_sequence)
        return make_sequence(a, v->items, &p->sequence_value, d);
    return make_optional(a, v->items, &p->optional_value, d);
}

cab_status cab_value_write_pb(cab_arena *scratch, const char *path,
                              const cab_file_value *v, cab_diag *d)
{
    cab_mark mark = cab_arena_mark(scratch);
    Onnx__TensorProto *tensor = NULL;
    Onnx__SequenceProto *sequence = NULL;
    Onnx__OptionalProto *optional = NULL;
    const ProtobufCMessage *m;
    cab_status s;
    uint8_t *bytes;
    size_t n;

    if (v->kind == CAB_KIND_tensor)
        s = make_tensor(scratch, v, &tensor, d);
    else if (v->kind == CAB_KIND_sequence)
        s = make_sequence(scratch, v, &sequence, d);
    else
        s = make_optional(scratch, v, &optional, d);
    m = tensor ? &tensor->base : sequence ? &sequence->base : &optional->base;
    if (s == CAB_OK) {
        n = protobuf_c_message_get_packed_size(m);
        bytes = cab_alloc(scratch, n);
        protobuf_c_message_pack(m, bytes);
        s = cab_file_write(path, bytes, n, d);
    }
    cab_arena_release(scratch, mark);
    return s;
}

cab_status cab_tensor_write_pb(cab_arena *scratch, const char *path,
                               const char *name, const cab_tensor *t,
                               cab_diag *d)
{
    cab_file_value v = { .kind = CAB_KIND_tensor, .name = name, .tensor = *t };

    return cab_value_write_pb(scratch, path, &v, d);
}
