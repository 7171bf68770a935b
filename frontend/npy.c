/* SPDX-License-Identifier: Apache-2.0 */
/*
 * npy.c - numpy's array files.
 *
 * Reads versions 1 to 3 with little-endian numbers and bools, C or Fortran
 * order; writes version 1.0.  The header is a Python dict literal; the three
 * keys the format defines are looked for by name, no Python is parsed beyond
 * that.  Structured, object and text arrays are unsupported.
 */
#include <stdlib.h>
#include <string.h>
#include "frontend/frontend_int.h"

static const char magic[] = "\x93NUMPY";

static const struct {
    const char *descr;
    cab_dtype dtype;
} descrs[] = {
    { "<f4", CAB_DT_f32 }, { "<f8", CAB_DT_f64 }, { "<f2", CAB_DT_f16 },
    { "|b1", CAB_DT_bool }, { "|i1", CAB_DT_i8 }, { "<i2", CAB_DT_i16 },
    { "<i4", CAB_DT_i32 }, { "<i8", CAB_DT_i64 }, { "|u1", CAB_DT_u8 },
    { "<u2", CAB_DT_u16 }, { "<u4", CAB_DT_u32 }, { "<u8", CAB_DT_u64 },
    { "<c8", CAB_DT_c64 }, { "<c16", CAB_DT_c128 },
};
enum { N_DESCRS = sizeof descrs / sizeof *descrs };

bool cab_npy_is(const uint8_t *p, size_t n)
{
    return n >= 10 && !memcmp(p, magic, 6);
}

/* Text behind 'key':, or NULL. */
static const char *find_key(const char *header, const char *key)
{
    const char *p = strstr(header, key);

    if (!p)
        return NULL;
    p += strlen(key);
    p += strspn(p, " ");
    if (*p++ != ':')
        return NULL;
    return p + strspn(p, " ");
}

static bool parse_descr(const char *p, cab_dtype *out)
{
    size_t n;

    if (!p || (*p != '\'' && *p != '"'))
        return false;
    n = strcspn(p + 1, "'\"");
    for (int i = 0; i < N_DESCRS; i++) {
        if (strlen(descrs[i].descr) == n && !memcmp(p + 1, descrs[i].descr, n)) {
            *out = descrs[i].dtype;
            return true;
        }
    }
    return false;
}

static bool parse_shape(const char *p, cab_tensor *out)
{
    char *end;

    if (!p || *p++ != '(')
        return false;
    for (out->rank = 0; ; out->rank++) {
        p += strspn(p, " ,");
        if (*p == ')')
            return true;
        if (*p < '0' || *p > '9' || out->rank == CAB_MAX_RANK)
            return false;
        out->dims[out->rank] = strtoll(p, &end, 10);
        p = end + (*end == 'L');
    }
}

/* Fortran order: element by element to its row-major place. */
static void reorder(const cab_tensor *t, const uint8_t *from, size_t size)
{
    int64_t n = cab_tensor_numel(t), index[CAB_MAX_RANK] = { 0 };

    for (int64_t k = 0; k < n; k++) {
        int64_t place = 0;

        for (int i = 0; i < t->rank; i++)
            place = place * t->dims[i] + index[i];
        memcpy((uint8_t *)t->data + (size_t)place * size,
               from + (size_t)k * size, size);
        for (int i = 0; i < t->rank && ++index[i] == t->dims[i]; i++)
            index[i] = 0;
    }
}

static bool header_length(const uint8_t *p, size_t n, size_t *start,
                          size_t *length)
{
    uint32_t v = p[8] | (uint32_t)p[9] << 8;

    *start = 10;
    if (p[6] > 3 || p[6] == 0)
        return false;
    if (p[6] > 1) {
        if (n < 12)
            return false;
        v |= (uint32_t)p[10] << 16 | (uint32_t)p[11] << 24;
        *start = 12;
    }
    *length = v;
    return v <= n - *start;
}

cab_status cab_npy_read(cab_arena *a, const uint8_t *p, size_t n,
                        const char *path, cab_tensor *out, cab_diag *d)
{
    cab_where w = { .file = path };
    const char *header, *fortran, *descr;
    size_t start, length, size;
    uint64_t bytes, count = 1;

    *out = (cab_tensor){ 0 };
    if (!header_length(p, n, &start, &length))
        return cab_fail(d, CAB_EPARSE, &w, "malformed .npy header");
    header = cab_strndup(a, (const char *)p + start, length);
    descr = find_key(header, "'descr'");
    fortran = find_key(header, "'fortran_order'");
    if (!fortran || !descr || !parse_shape(find_key(header, "'shape'"), out))
        return cab_fail(d, CAB_EPARSE, &w, "malformed .npy header");
    if (!parse_descr(descr, &out->dtype))
        return cab_fail(d, CAB_EUNSUPPORTED, &w, "a .npy array of type %.16s",
                        descr);
    for (int i = 0; i < out->rank; i++) {
        if (__builtin_mul_overflow(count, (uint64_t)out->dims[i], &count))
            return cab_fail(d, CAB_EPARSE, &w, "the .npy shape overflows");
    }
    p += start + length;
    n -= start + length;
    if (!cab_dtype_bytes(out->dtype, count, &bytes) || bytes != n)
        return cab_fail(d, CAB_EPARSE, &w, "%zu bytes of data, the .npy header "
                        "says %llu", n, (unsigned long long)bytes);
    size = (size_t)cab_dtype_bits(out->dtype) / 8;
    out->data = cab_alloc(a, n);
    if (!strncmp(fortran, "True", 4))
        reorder(out, p, size);
    else
        memcpy(out->data, p, n);
    return CAB_OK;
}

cab_status cab_tensor_write_npy(cab_arena *scratch, const char *path,
                                const cab_tensor *t, cab_diag *d)
{
    cab_where w = { .file = path };
    cab_mark mark = cab_arena_mark(scratch);
    cab_buf b = cab_buf_on(scratch);
    const char *descr = NULL;
    uint64_t bytes;
    cab_status s;

    for (int i = 0; i < N_DESCRS; i++) {
        if (descrs[i].dtype == t->dtype)
            descr = descrs[i].descr;
    }
    if (!descr)
        return cab_fail(d, CAB_EUNSUPPORTED, &w, "numpy files have no type %s",
                        cab_dtype_name(t->dtype));
    cab_buf_bytes(&b, magic, 6);
    cab_buf_bytes(&b, "\x01\x00\x00\x00", 4);
    cab_buf_printf(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                   descr);
    for (int i = 0; i < t->rank; i++)
        cab_buf_printf(&b, "%lld,%s", (long long)t->dims[i],
                       i + 1 < t->rank ? " " : "");
    cab_buf_str(&b, "), }");
    while ((b.n + 1) % 64)
        cab_buf_char(&b, ' ');
    cab_buf_char(&b, '\n');
    b.p[8] = (char)((b.n - 10) & 0xff);
    b.p[9] = (char)((b.n - 10) >> 8);
    if (!cab_dtype_bytes(t->dtype, (uint64_t)cab_tensor_numel(t), &bytes))
        return cab_fail(d, CAB_EINVAL, &w, "a tensor too large to write");
    cab_buf_bytes(&b, t->data, (size_t)bytes);
    s = cab_file_write(path, b.p, b.n, d);
    cab_arena_release(scratch, mark);
    return s;
}
