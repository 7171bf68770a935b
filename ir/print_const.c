/* SPDX-License-Identifier: Apache-2.0 */
/*
 * print_const.c - constants as text.
 *
 * Up to CAB_PRINT_ELEMENTS elements stand in place, each in a spelling that
 * reads back as the same bits (0x... where no number does).  Larger contents
 * are written as #hash, and once, in base64, after the graph.
 */
#include <string.h>
#include "ir/eval_int.h"
#include "ir/ir_int.h"

/* Bytes an element takes alone; 16 are the most (c128). */
static size_t elem_bytes(cab_dtype t)
{
    return ((size_t)cab_dtype_bits(t) + 7) / 8;
}

static void print_bits(cab_buf *b, const uint8_t *p, size_t n)
{
    cab_buf_str(b, "0x");
    while (n--)
        cab_buf_printf(b, "%02x", p[n]);
}

static void print_elem(cab_buf *b, cab_dtype t, const void *data, int64_t i)
{
    uint8_t bits[16] = { 0 }, again[16] = { 0 };
    cab_buf text = cab_buf_on(b->arena);
    cab_lex l = { .arena = b->arena };

    cab_elem_copy(t, bits, 0, data, (uint64_t)i);
    if (cab_scalar_ok(t)) {
        if (t == CAB_DT_bool)
            cab_buf_str(&text, bits[0] ? "true" : "false");
        else if (t == CAB_DT_u64)
            cab_buf_printf(&text, "%llu", (unsigned long long)cab_elem_i64(t, bits, 0));
        else if (cab_dtype_is_int(t))
            cab_buf_printf(&text, "%lld", (long long)cab_elem_i64(t, bits, 0));
        else if (t == CAB_DT_f64)
            cab_buf_f64(&text, cab_elem_f64(t, bits, 0));
        else
            cab_buf_f32(&text, (float)cab_elem_f64(t, bits, 0));
        l.start = l.p = cab_buf_cstr(&text);
        if (cab_lex_elem(&l, t, again, 0) == CAB_OK
            && !memcmp(bits, again, elem_bytes(t))) {
            cab_buf_bytes(b, text.p, text.n);
            return;
        }
    }
    print_bits(b, bits, elem_bytes(t));
}

/* Contents are told apart by their hash; a clash takes the next number. */
static void print_hash(cab_printer *p, const cab_blob *blob)
{
    uint64_t hash = cab_hash(blob->data, blob->bytes, 0);
    const cab_blob *other;

    while (p->blobs && (other = cab_map_getu(p->blobs, hash))
           && (other->bytes != blob->bytes
               || memcmp(other->data, blob->data, blob->bytes)))
        hash++;
    if (p->blobs)
        cab_map_setu(p->blobs, hash, (void *)(uintptr_t)blob);
    cab_buf_printf(p->b, "#%016llx", (unsigned long long)hash);
}

void cab_print_tensor(cab_printer *p, const cab_type *type, const cab_tensor_attr *t)
{
    int64_t n = cab_type_numel_static(type);

    cab_print_type(p, type);
    cab_buf_char(p->b, ' ');
    if (n > CAB_PRINT_ELEMENTS && t->blob && t->blob->data) {
        print_hash(p, t->blob);
        return;
    }
    if (type->rank)
        cab_buf_char(p->b, '[');
    for (int64_t i = 0; i < n; i++) {
        if (i)
            cab_buf_str(p->b, ", ");
        if (t->strs)
            cab_buf_quoted(p->b, t->strs[i], strlen(t->strs[i]));
        else if (t->blob && t->blob->data)
            print_elem(p->b, type->dtype, t->blob->data, i);
    }
    if (type->rank)
        cab_buf_char(p->b, ']');
}

static void print_base64(cab_buf *b, const uint8_t *p, uint64_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (uint64_t i = 0; i < n; i += 3) {
        uint32_t left = n - i < 3 ? (uint32_t)(n - i) : 3, word = 0;
        char out[4];
        for (uint32_t k = 0; k < 3; k++)
            word = word << 8 | (k < left ? p[i + k] : 0);
        for (uint32_t k = 0; k < 4; k++)
            out[k] = k <= left ? digits[word >> (18 - 6 * k) & 63] : '=';
        cab_buf_bytes(b, out, 4);
    }
}

void cab_print_blobs(cab_printer *p)
{
    for (size_t i = 0; i < cab_map_count(p->blobs); i++) {
        const void *key;
        size_t n;
        uint64_t hash;
        const cab_blob *blob = cab_map_at(p->blobs, i, &key, &n);
        memcpy(&hash, key, sizeof hash);
        cab_buf_printf(p->b, "blob #%016llx \"", (unsigned long long)hash);
        print_base64(p->b, blob->data, blob->bytes);
        cab_buf_str(p->b, "\"\n");
    }
}
