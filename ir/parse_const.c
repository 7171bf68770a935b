/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse_const.c - constants from text; the inverse of print_const.c.
 *
 * The bytes behind a #hash stand in lines "blob #hash" at the end of the text,
 * which are read before the graph.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "ir/eval_int.h"
#include "ir/ir_int.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- elements ---- */

/* 0x..., two digits per byte of the element, highest byte first. */
static cab_status elem_bits(cab_lex *l, cab_dtype t, void *p, uint64_t i)
{
    uint8_t bits[16] = { 0 };
    int n = (cab_dtype_bits(t) + 7) / 8;
    const char *from = l->p;

    for (l->p += 2; n-- > 0; l->p += 2) {
        int hi = hex_digit(l->p[0]), lo = hi < 0 ? -1 : hex_digit(l->p[1]);
        if (lo < 0)
            return cab_lex_fail(l, from, CAB_EPARSE, "bits of %s need %d digits",
                                cab_dtype_name(t), (cab_dtype_bits(t) + 7) / 8 * 2);
        bits[n] = (uint8_t)(hi * 16 + lo);
    }
    cab_elem_copy(t, p, i, bits, 0);
    return CAB_OK;
}

static cab_status elem_int(cab_lex *l, cab_dtype t, cab_scalar *v)
{
    const char *from = l->p;
    char *end;
    uint8_t cell[8] = { 0 };

    if (t != CAB_DT_u64) {
        CAB_TRY(cab_lex_int(l, &v->i));
        cab_scalar_store(t, cell, 0, *v);
        if (cab_elem_i64(t, cell, 0) == v->i)
            return CAB_OK;
    } else if (isdigit((unsigned char)*l->p)) {
        errno = 0;
        v->i = (int64_t)strtoull(l->p, &end, 10);
        l->p = end;
        if (!errno)
            return CAB_OK;
    }
    return cab_lex_fail(l, from, CAB_EPARSE, "no value of %s", cab_dtype_name(t));
}

cab_status cab_lex_elem(cab_lex *l, cab_dtype t, void *p, uint64_t i)
{
    cab_scalar v = { .i = 0 };
    const char *from;

    cab_lex_space(l);
    from = l->p;
    if (from[0] == '0' && from[1] == 'x')
        return elem_bits(l, t, p, i);
    if (!cab_scalar_ok(t))
        return cab_lex_fail(l, from, CAB_EPARSE, "no value of %s", cab_dtype_name(t));
    if (t == CAB_DT_bool) {
        v.i = cab_lex_word(l, "true");
        if (!v.i && !cab_lex_word(l, "false"))
            return cab_lex_fail(l, from, CAB_EPARSE, "true or false expected");
    } else if (cab_dtype_is_int(t)) {
        CAB_TRY(elem_int(l, t, &v));
    } else {
        CAB_TRY(cab_lex_double(l, &v.f));
        if (t != CAB_DT_f64)
            v.f = (double)strtof(from, NULL);
    }
    cab_scalar_store(t, p, i, v);
    return CAB_OK;
}

/* ---- tensors ---- */
static cab_status parse_strs(cab_lex *l, int64_t n, bool list, const char ***out)
{
    CAB_VEC(const char *) v = {0};
    size_t len;
    char *s;

    while (list ? !cab_lex_char(l, ']') : v.n == 0) {
        if (v.n)
            CAB_TRY(cab_lex_expect(l, ','));
        CAB_TRY(cab_lex_string(l, &s, &len));
        cab_vec_push(l->arena, &v, s);
    }
    if ((int64_t)v.n != n)
        return cab_lex_fail(l, l->p, CAB_EPARSE, "%zu elements, not %lld", v.n,
                            (long long)n);
    *out = v.p ? v.p : CAB_NEW_N(l->arena, const char *, 1);
    return CAB_OK;
}

/* The elements are there in the text, one by one: n is bounded by its size. */
static cab_status parse_elems(cab_lex *l, cab_dtype t, int64_t n, bool list, cab_blob *out)
{
    cab_buf b = cab_buf_on(l->arena);
    int64_t i = 0;

    for (; list ? !cab_lex_char(l, ']') : i == 0; i++) {
        static const char zeros[16];
        uint64_t need = 0;
        if (i)
            CAB_TRY(cab_lex_expect(l, ','));
        if (i >= n || !cab_dtype_bytes(t, (uint64_t)i + 1, &need))
            return cab_lex_fail(l, l->p, CAB_EPARSE, "more than %lld elements",
                                (long long)n);
        if (need > b.n)
            cab_buf_bytes(&b, zeros, need - b.n);
        CAB_TRY(cab_lex_elem(l, t, b.p, (uint64_t)i));
    }
    if (i != n)
        return cab_lex_fail(l, l->p, CAB_EPARSE, "%lld elements, not %lld", (long long)i,
                            (long long)n);
    *out = (cab_blob){ b.p ? b.p : cab_alloc(l->arena, 1), b.n };
    return CAB_OK;
}

static cab_status parse_hash(cab_lex *l, uint64_t *out)
{
    const char *from = l->p;
    int digits = 0;

    for (*out = 0; hex_digit(*l->p) >= 0; l->p++, digits++)
        *out = *out << 4 | (uint64_t)hex_digit(*l->p);
    if (digits == 16)
        return CAB_OK;
    return cab_lex_fail(l, from, CAB_EPARSE, "a hash has 16 digits");
}

static cab_status parse_reference(cab_parser *p, const cab_type *t, const cab_blob **out)
{
    const char *from = p->l.p;
    uint64_t hash, bytes;

    CAB_TRY(parse_hash(&p->l, &hash));
    *out = cab_map_getu(p->blobs, hash);
    if (!*out)
        return cab_lex_fail(&p->l, from, CAB_EPARSE, "the bytes of this constant are not"
                            " in the text");
    if (t->dtype != CAB_DT_str
        && cab_dtype_bytes(t->dtype, (uint64_t)cab_type_numel_static(t), &bytes)
        && (*out)->bytes == bytes)
        return CAB_OK;
    return cab_lex_fail(&p->l, from, CAB_EPARSE, "%llu bytes for a constant of another"
                        " size", (unsigned long long)(*out)->bytes);
}

cab_status cab_parse_tensor(cab_parser *p, cab_tensor_attr *out)
{
    cab_lex *l = &p->l;
    cab_blob *blob;
    const char *from;
    int64_t n;

    cab_lex_space(l);
    from = l->p;
    *out = (cab_tensor_attr){ .blob = NULL };
    CAB_TRY(cab_parse_type(p, &out->type));
    n = cab_type_numel_static(&out->type);
    if (n < 0 || out->type.dtype == CAB_DT_none)
        return cab_lex_fail(l, from, CAB_EPARSE, "a constant needs a static type");
    if (cab_lex_char(l, '#'))
        return parse_reference(p, &out->type, &out->blob);
    if (out->type.rank)
        CAB_TRY(cab_lex_expect(l, '['));
    if (out->type.dtype == CAB_DT_str)
        return parse_strs(l, n, out->type.rank > 0, &out->strs);
    blob = CAB_NEW(l->arena, cab_blob);
    out->blob = blob;
    return parse_elems(l, out->type.dtype, n, out->type.rank > 0, blob);
}

/* ---- blocks of bytes ---- */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static cab_status parse_base64(cab_lex *l, cab_blob *out)
{
    cab_buf b = cab_buf_on(l->arena);
    const char *from = l->p;
    uint32_t word = 0;
    int have = 0;

    CAB_TRY(cab_lex_expect(l, '"'));
    for (; base64_digit(*l->p) >= 0; l->p++) {
        word = word << 6 | (uint32_t)base64_digit(*l->p);
        have += 6;
        if (have >= 8) {
            have -= 8;
            cab_buf_char(&b, (char)(word >> have & 255));
        }
    }
    l->p += strspn(l->p, "=");
    if (!cab_lex_char(l, '"'))
        return cab_lex_fail(l, from, CAB_EPARSE, "not base64");
    *out = (cab_blob){ b.p ? b.p : cab_alloc(l->arena, 1), b.n };
    return CAB_OK;
}

cab_status cab_parse_blobs(cab_parser *p, const char **section)
{
    const char *at = strstr(p->l.start, "\nblob #");
    cab_lex l = p->l;

    *section = at ? at + 1 : NULL;
    if (!at)
        return CAB_OK;
    for (l.p = at; cab_lex_word(&l, "blob");) {
        cab_blob *blob = CAB_NEW(l.arena, cab_blob);
        const char *from = l.p;
        uint64_t hash;
        CAB_TRY(cab_lex_expect(&l, '#'));
        CAB_TRY(parse_hash(&l, &hash));
        CAB_TRY(parse_base64(&l, blob));
        if (cab_map_setu(p->blobs, hash, blob))
            return cab_lex_fail(&l, from, CAB_EPARSE, "a blob comes twice");
        cab_lex_space(&l);
    }
    return *l.p ? cab_lex_fail(&l, l.p, CAB_EPARSE, "a blob expected") : CAB_OK;
}
