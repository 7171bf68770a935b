/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt_tensor.c - .npy and raw TensorProto files, with libc only.
 *
 * TensorProto fields (numbers of the published format): 1 dims, 2 data_type,
 * 8 name, 9 raw_data; SequenceProto: 1 name, 2 elem_type, 3 tensor_values;
 * OptionalProto: 1 name, 2 elem_type (1 tensor, 3 sequence), 3 tensor_value,
 * 5 sequence_value.  Typed fields (float_data and its kin) are refused: the
 * compiler's own reader (frontend/) knows them.
 */
#include "tools/rt_tensor.h"
#include "base/dtype.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct span { const uint8_t *p, *end; } span;

static int fail(const char **why, const char *text)
{
    *why = text;
    return -1;
}

static uint8_t *read_file(const char *path, size_t *out_n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p = NULL;
    long n;
    if (f && !fseek(f, 0, SEEK_END) && (n = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET) &&
        (p = malloc((size_t)n + 1)) && fread(p, 1, (size_t)n, f) == (size_t)n) {
        p[n] = 0;
        *out_n = (size_t)n;
    } else {
        free(p);
        p = NULL;
    }
    if (f)
        fclose(f);
    return p;
}

static bool varint(span *s, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && s->p < s->end; shift += 7) {
        uint8_t b = *s->p++;
        *out |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return true;
    }
    return false;
}

/* Next field: number, wire type, and its bytes or value. */
static bool field(span *s, uint64_t *number, span *bytes, uint64_t *value)
{
    uint64_t tag, n = 0;
    if (!varint(s, &tag))
        return false;
    *number = tag >> 3;
    *bytes = (span){ NULL, NULL };
    *value = 0;
    switch (tag & 7) {
    case 0: return varint(s, value);
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2:
        if (!varint(s, &n))
            return false;
        break;
    default: return false;
    }
    if (n > (uint64_t)(s->end - s->p))
        return false;
    *bytes = (span){ s->p, s->p + n };
    s->p += n;
    return true;
}

static bool push_dim(cab_tensor_view *v, uint64_t d)
{
    if (v->rank == 8 || d > INT64_MAX)
        return false;
    v->dims[v->rank++] = (int64_t)d;
    return true;
}

static int parse_pb(span s, cab_tensor_view *v, span *raw, const char **why)
{
    while (s.p < s.end) {
        uint64_t number, value, d;
        span bytes;
        if (!field(&s, &number, &bytes, &value))
            return fail(why, "not a TensorProto");
        if (number == 1 && bytes.p) {
            while (bytes.p < bytes.end)
                if (!varint(&bytes, &d) || !push_dim(v, d))
                    return fail(why, "bad extents");
        } else if (number == 1) {
            if (!push_dim(v, value))
                return fail(why, "bad extents");
        } else if (number == 2) {
            v->dtype = (int)value;
        } else if (number == 9) {
            *raw = bytes;
        } else if (number >= 4 && number <= 11 && number != 8) {
            return fail(why, "its values are not in raw_data");
        }
    }
    return 0;
}

static const struct { const char *descr; cab_dtype dt; } npy_types[] = {
    { "<f4", CAB_DT_f32 }, { "<f8", CAB_DT_f64 }, { "<f2", CAB_DT_f16 }, { "|b1", CAB_DT_bool },
    { "|i1", CAB_DT_i8 },  { "|u1", CAB_DT_u8 },  { "<i2", CAB_DT_i16 }, { "<u2", CAB_DT_u16 },
    { "<i4", CAB_DT_i32 }, { "<u4", CAB_DT_u32 }, { "<i8", CAB_DT_i64 }, { "<u8", CAB_DT_u64 },
};

static int parse_npy(const uint8_t *p, size_t n, cab_tensor_view *v, span *raw, const char **why)
{
    if (n < 10 || p[6] != 1)
        return fail(why, "not a version 1 .npy file");
    size_t head = (size_t)p[8] | (size_t)p[9] << 8;
    if (head > n - 10)
        return fail(why, "cut off");
    char *text = strndup((const char *)p + 10, head);
    if (!text)
        return fail(why, "out of memory");
    for (size_t i = 0; i < sizeof npy_types / sizeof *npy_types; i++)
        if (strstr(text, npy_types[i].descr))
            v->dtype = cab_dtype_onnx(npy_types[i].dt);
    const char *shape = strstr(text, "'shape': (");
    int ok = v->dtype && shape && strstr(text, "'fortran_order': False");
    for (const char *c = shape ? shape + 10 : ""; ok && *c && *c != ')';) {
        char *end;
        unsigned long long d = strtoull(c, &end, 10);
        ok = end != c && push_dim(v, d);
        c = end + strspn(end, ", ");
    }
    free(text);
    *raw = (span){ p + 10 + head, p + n };
    return ok ? 0 : fail(why, "an .npy form that is not read (C order, plain dtypes)");
}

/* Bytes of a parsed tensor into memory of its own. */
static int own(cab_tensor_view *v, span raw, const char **why)
{
    uint64_t elems = 1, bytes;
    for (int i = 0; i < v->rank; i++)
        if (__builtin_mul_overflow(elems, (uint64_t)v->dims[i], &elems))
            return fail(why, "enormous extents");
    if (!cab_dtype_bytes(cab_dtype_from_onnx(v->dtype), elems, &bytes) ||
        bytes != (uint64_t)(raw.end - raw.p))
        return fail(why, "extents and data do not fit");
    if (!(v->data = malloc(bytes + 64)))
        return fail(why, "out of memory");
    v->bytes = bytes;
    if (bytes)
        memcpy(v->data, raw.p, bytes);
    return 0;
}

static int tensor_message(span s, cab_tensor_view *v, const char **why)
{
    span raw = { NULL, NULL };
    *v = (cab_tensor_view){ 0 };
    return parse_pb(s, v, &raw, why) ? -1 : own(v, raw, why);
}

static int sequence_message(span s, cab_tensor_view *v, const char **why)
{
    uint64_t number, value;
    span bytes, all = s;
    size_t n = 0;
    while (all.p < all.end) {
        if (!field(&all, &number, &bytes, &value))
            return fail(why, "not a SequenceProto");
        n += number == 3;
        if (number > 3)
            return fail(why, "a sequence of what are no dense tensors");
    }
    cab_tensor_view *items = calloc(n + 1, sizeof *items);
    *v = (cab_tensor_view){ .rank = CAB_RANK_SEQUENCE, .data = items, .bytes = n * sizeof *items };
    if (!items)
        return fail(why, "out of memory");
    while (s.p < s.end && field(&s, &number, &bytes, &value))
        if (number == 3 && tensor_message(bytes, &items[v->dims[0]++], why))
            return -1;
    return 0;
}

static int optional_message(span s, cab_tensor_view *v, const char **why)
{
    uint64_t number, value;
    span bytes;
    *v = (cab_tensor_view){ .rank = CAB_RANK_NONE };
    while (s.p < s.end) {
        if (!field(&s, &number, &bytes, &value))
            return fail(why, "not an OptionalProto");
        if (number == 3)
            return tensor_message(bytes, v, why);
        if (number == 5)
            return sequence_message(bytes, v, why);
        if (number > 2)
            return fail(why, "an optional of what is no dense tensor");
    }
    return 0;
}

int rt_value_read(const char *path, int kind, cab_tensor_view *v, const char **why)
{
    size_t n;
    span raw = { NULL, NULL };
    *v = (cab_tensor_view){ 0 };
    uint8_t *p = read_file(path, &n);
    if (!p)
        return fail(why, "cannot read the file");
    span all = { p, p + n };
    int rc;
    if (kind == CAB_KIND_SEQUENCE)
        rc = sequence_message(all, v, why);
    else if (kind == CAB_KIND_OPTIONAL)
        rc = optional_message(all, v, why);
    else if (n > 6 && !memcmp(p, "\x93NUMPY", 6))
        rc = parse_npy(p, n, v, &raw, why) ? -1 : own(v, raw, why);
    else
        rc = tensor_message(all, v, why);
    free(p);
    return rc;
}

int rt_tensor_read(const char *path, cab_tensor_view *v, const char **why)
{
    return rt_value_read(path, CAB_KIND_TENSOR, v, why);
}

void rt_value_free(cab_tensor_view *v)
{
    for (int64_t i = 0; v->rank == CAB_RANK_SEQUENCE && i < v->dims[0]; i++)
        rt_value_free((cab_tensor_view *)v->data + i);
    free(v->data);
    v->data = NULL;
}

/* ---- writing ---- */
static void put_varint(FILE *f, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        fputc((int)(v & 127) | 128, f);
    fputc((int)v, f);
}

static uint64_t varint_bytes(uint64_t v)
{
    uint64_t n = 1;
    for (; v >= 128; v >>= 7)
        n++;
    return n;
}

static uint64_t data_bytes(const cab_tensor_view *v)
{
    size_t n = cab_tensor_bytes(v->dtype, v->rank, v->dims);
    return n == SIZE_MAX ? 0 : n;
}

/* Bytes of the message that put_tensor writes. */
static uint64_t tensor_bytes(const char *name, const cab_tensor_view *v)
{
    uint64_t data = data_bytes(v), n = 1 + varint_bytes((uint64_t)v->dtype);
    for (int i = 0; i < v->rank; i++)
        n += 1 + varint_bytes((uint64_t)v->dims[i]);
    return n + 1 + varint_bytes(strlen(name)) + strlen(name) + 1 + varint_bytes(data) + data;
}

static void put_head(FILE *f, int number, uint64_t n)
{
    fputc(number << 3 | 2, f);
    put_varint(f, n);
}

static void put_tensor(FILE *f, const char *name, const cab_tensor_view *v)
{
    for (int i = 0; i < v->rank; i++) {
        fputc(1 << 3, f);
        put_varint(f, (uint64_t)v->dims[i]);
    }
    fputc(2 << 3, f);
    put_varint(f, (uint64_t)v->dtype);
    put_head(f, 8, strlen(name));
    fputs(name, f);
    put_head(f, 9, data_bytes(v));
    fwrite(v->data, 1, data_bytes(v), f);
}

static uint64_t sequence_bytes(const char *name, const cab_tensor_view *v)
{
    const cab_tensor_view *items = v->data;
    uint64_t n = 1 + varint_bytes(strlen(name)) + strlen(name) + 2;
    for (int64_t i = 0; i < v->dims[0]; i++) {
        uint64_t k = tensor_bytes("", &items[i]);
        n += 1 + varint_bytes(k) + k;
    }
    return n;
}

static void put_sequence(FILE *f, const char *name, const cab_tensor_view *v)
{
    const cab_tensor_view *items = v->data;
    put_head(f, 1, strlen(name));
    fputs(name, f);
    fputc(2 << 3, f);
    fputc(1, f);
    for (int64_t i = 0; i < v->dims[0]; i++) {
        put_head(f, 3, tensor_bytes("", &items[i]));
        put_tensor(f, "", &items[i]);
    }
}

static void put_optional(FILE *f, const char *name, const cab_tensor_view *v)
{
    bool sequence = v->rank == CAB_RANK_SEQUENCE;
    put_head(f, 1, strlen(name));
    fputs(name, f);
    if (v->rank == CAB_RANK_NONE)
        return;
    fputc(2 << 3, f);
    fputc(sequence ? 3 : 1, f);
    put_head(f, sequence ? 5 : 3, sequence ? sequence_bytes("", v) : tensor_bytes("", v));
    if (sequence)
        put_sequence(f, "", v);
    else
        put_tensor(f, "", v);
}

int rt_value_write(const char *path, const char *name, int kind, const cab_tensor_view *v,
                   const char **why)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return fail(why, "cannot create the file");
    if (kind == CAB_KIND_OPTIONAL)
        put_optional(f, name, v);
    else if (kind == CAB_KIND_SEQUENCE)
        put_sequence(f, name, v);
    else
        put_tensor(f, name, v);
    int bad = ferror(f);
    return fclose(f) || bad ? fail(why, "cannot write the file") : 0;
}

int rt_npy_write(const char *path, const cab_tensor_view *v, const char **why)
{
    const char *descr = v->dtype == CAB_TYPE_BF16 ? "<u2" : NULL;
    char head[320];            /* begins with 10 bytes, ends at a multiple of 64 with a newline */
    for (size_t i = 0; i < sizeof npy_types / sizeof *npy_types && !descr; i++)
        if (cab_dtype_onnx(npy_types[i].dt) == v->dtype)
            descr = npy_types[i].descr;
    if (!descr)
        return fail(why, "a type that .npy files do not have");
    int n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < v->rank; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, "%lld,", (long long)v->dims[i]);
    n += snprintf(head + n, sizeof head - (size_t)n, "), }");
    int all = (10 + n + 1 + 63) / 64 * 64 - 10;
    FILE *f = fopen(path, "wb");
    if (!f)
        return fail(why, "cannot create the file");
    fprintf(f, "\x93NUMPY");
    fputc(1, f);
    fputc(0, f);
    fputc(all & 255, f);
    fputc(all >> 8, f);
    fprintf(f, "%s%*s\n", head, all - n - 1, "");
    fwrite(v->data, 1, data_bytes(v), f);
    int bad = ferror(f);
    return fclose(f) || bad ? fail(why, "cannot write the file") : 0;
}
