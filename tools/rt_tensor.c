/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt_tensor.c - .npy and raw TensorProto files, with libc only.
 *
 * TensorProto fields (numbers of the published format): 1 dims, 2 data_type,
 * 8 name, 9 raw_data.  Typed fields (float_data and its kin) are refused: the
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

int rt_tensor_read(const char *path, cab_tensor_view *v, const char **why)
{
    size_t n;
    span raw = { NULL, NULL };
    uint64_t elems = 1, bytes;
    *v = (cab_tensor_view){ 0 };
    uint8_t *p = read_file(path, &n);
    if (!p)
        return fail(why, "cannot read the file");
    int rc = n > 6 && !memcmp(p, "\x93NUMPY", 6)
                 ? parse_npy(p, n, v, &raw, why)
                 : parse_pb((span){ p, p + n }, v, &raw, why);
    for (int i = 0; i < v->rank && rc == 0; i++)
        if (__builtin_mul_overflow(elems, (uint64_t)v->dims[i], &elems))
            rc = fail(why, "enormous extents");
    if (rc == 0 && (!cab_dtype_bytes(cab_dtype_from_onnx(v->dtype), elems, &bytes) ||
                    bytes != (uint64_t)(raw.end - raw.p)))
        rc = fail(why, "extents and data do not fit");
    if (rc == 0 && !(v->data = malloc(bytes + 64)))
        rc = fail(why, "out of memory");
    if (rc == 0) {
        v->bytes = bytes;
        if (bytes)
            memcpy(v->data, raw.p, bytes);
    }
    free(p);
    return rc;
}

static void put_varint(FILE *f, uint64_t v)
{
    for (; v >= 128; v >>= 7)
        fputc((int)(v & 127) | 128, f);
    fputc((int)v, f);
}

int rt_tensor_write(const char *path, const char *name, const cab_tensor_view *v,
                    const char **why)
{
    uint64_t elems = 1, bytes = 0;
    FILE *f = fopen(path, "wb");
    if (!f)
        return fail(why, "cannot create the file");
    for (int i = 0; i < v->rank; i++) {
        elems *= (uint64_t)v->dims[i];
        fputc(1 << 3, f);
        put_varint(f, (uint64_t)v->dims[i]);
    }
    cab_dtype_bytes(cab_dtype_from_onnx(v->dtype), elems, &bytes);
    fputc(2 << 3, f);
    put_varint(f, (uint64_t)v->dtype);
    fputc(8 << 3 | 2, f);
    put_varint(f, strlen(name));
    fputs(name, f);
    fputc(9 << 3 | 2, f);
    put_varint(f, bytes);
    fwrite(v->data, 1, bytes, f);
    int bad = ferror(f);
    return fclose(f) || bad ? fail(why, "cannot write the file") : 0;
}
