/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_tensor.c - TensorProto -> elements.
 *
 * raw_data, packed float_data and double_data, and external files are used
 * where they lie; the varint fields (int32_data, int64_data, uint64_data) are
 * decoded into the arena.  The number of bytes must be exactly what type and
 * extents say.  External files are opened beneath the model's folder only.
 * Sparse tensors are made dense, under the limit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "frontend/frontend_int.h"

enum { F_FLOAT = 4, F_INT32 = 5, F_INT64 = 7, F_RAW = 9, F_DOUBLE = 10,
       F_UINT64 = 11 };

/* The typed field a dtype is stored in. */
static int field_of(cab_dtype dt)
{
    switch (dt) {
    case CAB_DT_f32: case CAB_DT_c64:
        return F_FLOAT;
    case CAB_DT_f64: case CAB_DT_c128:
        return F_DOUBLE;
    case CAB_DT_i64:
        return F_INT64;
    case CAB_DT_u32: case CAB_DT_u64:
        return F_UINT64;
    default:
        return F_INT32;
    }
}

/* dims -> rank, dims, element count; checks range and product. */
static cab_status decode_dims(cab_tensor_ctx *c, const int64_t *dims, size_t n,
                              const cab_where *w, cab_raw_tensor *out)
{
    uint64_t product = 1;
    bool empty = false;

    if (n > CAB_MAX_RANK) {
        return cab_fail(c->diag, CAB_EUNSUPPORTED, w,
                        "a tensor of rank %zu (at most %d)", n, CAB_MAX_RANK);
    }
    out->rank = (int)n;
    for (size_t i = 0; i < n; i++) {
        if (dims[i] < 0)
            return cab_fail(c->diag, CAB_EMODEL, w,
                            "a tensor with extent %lld", (long long)dims[i]);
        out->dims[i] = dims[i];
        empty |= dims[i] == 0;
    }
    for (size_t i = 0; i < n && !empty; i++) {
        if (__builtin_mul_overflow(product, (uint64_t)dims[i], &product))
            return cab_fail(c->diag, CAB_EMODEL, w,
                            "the product of a tensor's extents overflows");
    }
    out->n = empty ? 0 : product;
    return CAB_OK;
}

static cab_status decode_type(cab_tensor_ctx *c, int32_t number,
                              const cab_where *w, cab_dtype *out)
{
    *out = cab_dtype_from_onnx(number);
    if (*out != CAB_DT_none)
        return CAB_OK;
    return cab_fail(c->diag, number > 0 ? CAB_EUNSUPPORTED : CAB_EMODEL, w,
                    "a tensor of element type number %d", (int)number);
}

static cab_status wrong_size(cab_tensor_ctx *c, const cab_where *w,
                             const char *name, uint64_t have, uint64_t want)
{
    return cab_fail(c->diag, CAB_EMODEL, w,
                    "tensor '%s' holds %llu bytes, its type says %llu",
                    name ? name : "", (unsigned long long)have,
                    (unsigned long long)want);
}

/* ---- typed fields ---- */
static void store(uint8_t *to, cab_dtype dt, size_t size, uint64_t v)
{
    uint8_t b = dt == CAB_DT_bool ? v != 0 : (uint8_t)v;
    uint16_t h = (uint16_t)v;
    uint32_t s = (uint32_t)v;

    switch (size) {
    case 1: memcpy(to, &b, 1); break;
    case 2: memcpy(to, &h, 2); break;
    case 4: memcpy(to, &s, 4); break;
    default: memcpy(to, &v, 8); break;
    }
}

/* Decodes the varints of all chunks of one field into out->bytes bytes. */
static cab_status decode_varints(cab_tensor_ctx *c, const Onnx__TensorProto *t,
                                 uint8_t field, const cab_where *w,
                                 cab_raw_tensor *out)
{
    int bits = cab_dtype_bits(out->dtype);
    size_t size = bits < 8 ? 1 : (size_t)bits / 8;
    uint64_t at = 0, v;
    uint8_t *to = cab_alloc(c->arena, (size_t)out->bytes);

    for (size_t i = 0; i < t->n_chunk; i++) {
        const cab_chunk *k = &c->chunks[t->chunk[i]];
        const uint8_t *p = k->p, *end = k->p + k->n;

        while (k->field == field && p < end) {
            if (at == out->bytes)
                return wrong_size(c, w, t->name, at + size, out->bytes);
            if (!cab_read_varint(&p, end, &v))
                return cab_fail(c->diag, CAB_EMODEL, w,
                                "tensor '%s': a number does not end",
                                t->name ? t->name : "");
            store(to + at, out->dtype, size, v);
            at += size;
        }
    }
    if (at != out->bytes)
        return wrong_size(c, w, t->name, at, out->bytes);
    out->data = to;
    return CAB_OK;
}

/* Fixed-width elements: in place when they lie in one piece. */
static cab_status decode_fixed(cab_tensor_ctx *c, const Onnx__TensorProto *t,
                               uint8_t field, const cab_where *w,
                               cab_raw_tensor *out)
{
    uint64_t have = 0;
    const cab_chunk *only = NULL;
    size_t pieces = 0;
    uint8_t *to;

    for (size_t i = 0; i < t->n_chunk; i++) {
        const cab_chunk *k = &c->chunks[t->chunk[i]];

        if (k->field != field)
            continue;
        /* A repeated raw_data field replaces the one before. */
        have = field == F_RAW ? k->n : have + k->n;
        pieces = field == F_RAW ? 1 : pieces + 1;
        only = k;
        if (field == F_RAW && k->wire != 2)
            return cab_fail(c->diag, CAB_EMODEL, w,
                            "malformed protobuf: raw_data is no bytes");
    }
    if (have != out->bytes)
        return wrong_size(c, w, t->name, have, out->bytes);
    if (pieces == 1) {
        out->data = only->p;
        return CAB_OK;
    }
    out->data = to = cab_alloc(c->arena, (size_t)out->bytes);
    for (size_t i = 0; i < t->n_chunk; i++) {
        const cab_chunk *k = &c->chunks[t->chunk[i]];

        if (k->field == field) {
            memcpy(to, k->p, k->n);
            to += k->n;
        }
    }
    return CAB_OK;
}

static cab_status decode_strings(cab_tensor_ctx *c, const Onnx__TensorProto *t,
                                 const cab_where *w, cab_raw_tensor *out)
{
    if (t->n_string_data != out->n)
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "tensor '%s' holds %zu strings, its type says %llu",
                        t->name ? t->name : "", t->n_string_data,
                        (unsigned long long)out->n);
    out->strs = CAB_NEW_N(c->arena, const char *, out->n);
    for (size_t i = 0; i < t->n_string_data; i++) {
        const ProtobufCBinaryData *s = &t->string_data[i];

        if (s->len && memchr(s->data, 0, s->len))
            return cab_fail(c->diag, CAB_EUNSUPPORTED, w,
                            "a string with a NUL character");
        out->strs[i] = cab_strndup(c->arena, s->len ? (const char *)s->data : "",
                                   s->len);
    }
    return CAB_OK;
}

/* ---- external data ---- */
static bool parse_u64(const char *s, uint64_t *out)
{
    char *end;

    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    *out = strtoull(s, &end, 10);
    return errno == 0 && *end == 0;
}

static void unmap(void *arg)
{
    cab_file_unmap(arg);
}

static cab_status map_external(cab_tensor_ctx *c, const char *location,
                               const cab_where *w, const cab_mapping **out)
{
    cab_mapping *m;
    cab_status s;
    int fd;

    if (!c->base_path)
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "external data '%s' of a file without a folder",
                        location);
    m = cab_map_gets(c->files, location);
    if (!m) {
        m = CAB_NEW(c->arena, cab_mapping);
        cab_arena_cleanup(c->arena, unmap, m);
        CAB_TRY(cab_file_open_beneath(c->base_path, location, &fd, c->diag));
        s = cab_fd_map(fd, location, m, c->diag);
        close(fd);
        CAB_TRY(s);
        cab_map_sets(c->files, location, m);
    }
    *out = m;
    return CAB_OK;
}

static cab_status decode_external(cab_tensor_ctx *c, const Onnx__TensorProto *t,
                                  const cab_where *w, cab_raw_tensor *out)
{
    const char *location = NULL;
    const cab_mapping *m = NULL;
    uint64_t offset = 0, length = out->bytes;

    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key;
        const char *value = t->external_data[i]->value;
        bool ok = key && value;

        if (ok && !strcmp(key, "location"))
            location = value;
        else if (ok && !strcmp(key, "offset"))
            ok = parse_u64(value, &offset);
        else if (ok && !strcmp(key, "length"))
            ok = parse_u64(value, &length);
        if (!ok)
            return cab_fail(c->diag, CAB_EMODEL, w,
                            "tensor '%s': external_data entry '%s' = '%s'",
                            t->name ? t->name : "", key ? key : "",
                            value ? value : "");
    }
    if (!location)
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "tensor '%s': external data without a location",
                        t->name ? t->name : "");
    CAB_TRY(map_external(c, location, w, &m));
    if (length != out->bytes)
        return wrong_size(c, w, t->name, length, out->bytes);
    if (offset > m->n || length > m->n - offset)
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "tensor '%s': bytes %llu + %llu lie past the end of "
                        "'%s' (%zu bytes)", t->name ? t->name : "",
                        (unsigned long long)offset, (unsigned long long)length,
                        location, m->n);
    out->data = m->p + offset;
    return CAB_OK;
}

/* ---- tensors ---- */
static bool has_field(const cab_tensor_ctx *c, const Onnx__TensorProto *t,
                      int field)
{
    for (size_t i = 0; i < t->n_chunk; i++) {
        if (c->chunks[t->chunk[i]].field == field)
            return true;
    }
    return false;
}

cab_status cab_tensor_decode(cab_tensor_ctx *c, const Onnx__TensorProto *t,
                             const cab_where *w, cab_raw_tensor *out)
{
    int field;
    bool raw;

    *out = (cab_raw_tensor){ 0 };
    for (size_t i = 0; i < t->n_chunk; i++)
        CAB_ASSERT(t->chunk[i] < c->n_chunks);
    CAB_TRY(decode_type(c, t->data_type, w, &out->dtype));
    CAB_TRY(decode_dims(c, t->dims, t->n_dims, w, out));
    if (out->dtype == CAB_DT_str)
        return decode_strings(c, t, w, out);
    if (!cab_dtype_bytes(out->dtype, out->n, &out->bytes))
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "the size of tensor '%s' overflows",
                        t->name ? t->name : "");
    if (t->data_location == 1)
        return decode_external(c, t, w, out);
    raw = has_field(c, t, F_RAW);
    field = raw ? F_RAW : field_of(out->dtype);
    if (field == F_RAW || field == F_FLOAT || field == F_DOUBLE)
        return decode_fixed(c, t, (uint8_t)field, w, out);
    /* A varint takes a byte at least: refuse before allocating. */
    if (out->bytes > c->max_bytes)
        return cab_fail(c->diag, CAB_ELIMIT, w,
                        "tensor '%s' takes %llu bytes, more than the limit",
                        t->name ? t->name : "",
                        (unsigned long long)out->bytes);
    return decode_varints(c, t, (uint8_t)field, w, out);
}

/* Row-major place of the k-th non-zero; -1 when it is outside. */
static int64_t sparse_place(const cab_raw_tensor *index, uint64_t k,
                            const cab_raw_tensor *out)
{
    int64_t place = 0, i;

    if (index->rank == 1) {
        memcpy(&place, (const uint8_t *)index->data + 8 * k, 8);
        return place < 0 || (uint64_t)place >= out->n ? -1 : place;
    }
    for (int axis = 0; axis < out->rank; axis++) {
        memcpy(&i, (const uint8_t *)index->data
                       + 8 * (k * (uint64_t)out->rank + (uint64_t)axis), 8);
        if (i < 0 || i >= out->dims[axis])
            return -1;
        place = place * out->dims[axis] + i;
    }
    return place;
}

cab_status cab_sparse_decode(cab_tensor_ctx *c, const Onnx__SparseTensorProto *t,
                             const cab_where *w, cab_raw_tensor *out)
{
    cab_raw_tensor values, index;
    size_t size;
    uint8_t *to;

    if (!t->values || !t->indices)
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "a sparse tensor without values or indices");
    CAB_TRY(cab_tensor_decode(c, t->values, w, &values));
    CAB_TRY(cab_tensor_decode(c, t->indices, w, &index));
    *out = (cab_raw_tensor){ .dtype = values.dtype };
    CAB_TRY(decode_dims(c, t->dims, t->n_dims, w, out));
    size = (size_t)cab_dtype_bits(values.dtype) / 8;
    if (size == 0)
        return cab_fail(c->diag, CAB_EUNSUPPORTED, w,
                        "a sparse tensor of %s", cab_dtype_name(values.dtype));
    if (values.rank != 1 || index.dtype != CAB_DT_i64 || index.rank < 1
        || index.rank > 2 || (uint64_t)index.dims[0] != values.n
        || (index.rank == 2 && index.dims[1] != out->rank))
        return cab_fail(c->diag, CAB_EMODEL, w,
                        "values and indices of a sparse tensor do not fit");
    if (!cab_dtype_bytes(out->dtype, out->n, &out->bytes)
        || out->bytes > c->max_bytes)
        return cab_fail(c->diag, CAB_ELIMIT, w,
                        "a sparse tensor is over the limit when made dense");
    out->data = to = cab_alloc_zero(c->arena, (size_t)out->bytes, 1);
    for (uint64_t k = 0; k < values.n; k++) {
        int64_t place = sparse_place(&index, k, out);

        if (place < 0)
            return cab_fail(c->diag, CAB_EMODEL, w,
                            "an index of a sparse tensor is out of range");
        memcpy(to + (size_t)place * size,
               (const uint8_t *)values.data + k * size, size);
    }
    return CAB_OK;
}
