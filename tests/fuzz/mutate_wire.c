/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutate_wire.c - mutation of protobuf messages that stay protobuf messages.
 *
 * The bytes are read as fields, and a field's bytes as fields where that
 * works out.  One field is changed, dropped, doubled or replaced by another,
 * and the lengths of everything around it are written anew.  One time in four
 * the bytes are changed without a thought.
 */
#include <string.h>
#include "tests/fuzz/fuzz.h"

enum { MAX_FIELDS = 8192, MAX_DEPTH = 12 };

typedef struct field {
    size_t at, length, body, end;   /* tag; length varint (type 2); payload; end */
    int type, parent;               /* parent: -1 = the file */
} field;

static struct { field f[MAX_FIELDS]; int n; } seen;

static bool varint(const uint8_t *p, size_t *at, size_t end, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t c = p[(*at)++];
        *out |= (uint64_t)(c & 127) << shift;
        if (c < 128)
            return true;
    }
    return false;
}

/* One field at *at; false when there is none. */
static bool read_field(const uint8_t *p, size_t *at, size_t end, field *f)
{
    uint64_t tag, n;
    f->at = *at;
    if (!varint(p, at, end, &tag) || tag >> 3 == 0 || tag >> 3 > 2000)
        return false;
    f->type = (int)(tag & 7);
    f->body = f->length = *at;
    switch (f->type) {
    case 0: n = 0; if (!varint(p, at, end, &n)) return false; n = 0; break;
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2:
        if (!varint(p, at, end, &n))
            return false;
        f->body = *at;
        break;
    default: return false;
    }
    if (n > end - *at)
        return false;
    f->end = *at += n;
    return true;
}

static bool is_message(const uint8_t *p, size_t at, size_t end)
{
    field f;
    if (at == end)
        return false;
    while (at < end)
        if (!read_field(p, &at, end, &f))
            return false;
    return true;
}

static void scan(const uint8_t *p, size_t at, size_t end, int parent, int depth)
{
    field f;
    while (at < end && seen.n < MAX_FIELDS && read_field(p, &at, end, &f)) {
        int me = seen.n++;
        f.parent = parent;
        seen.f[me] = f;
        if (f.type == 2 && depth < MAX_DEPTH && is_message(p, f.body, f.end))
            scan(p, f.body, f.end, me, depth + 1);
    }
}

static size_t put_varint(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    for (; v > 127; v >>= 7)
        out[n++] = (uint8_t)(v | 128);
    out[n++] = (uint8_t)v;
    return n;
}

static size_t replace(uint8_t *p, size_t n, size_t at, size_t end, const uint8_t *src, size_t n_new)
{
    memmove(p + at + n_new, p + end, n - end);
    memcpy(p + at, src, n_new);
    return n - (end - at) + n_new;
}

/* p[at..end) inside the fields `parent` and up becomes src; lengths follow. */
static size_t edit(uint8_t *p, size_t n, size_t max, size_t at, size_t end, int parent,
                   const uint8_t *src, size_t n_new)
{
    uint8_t length[10];
    if (n - (end - at) + n_new + 10 * MAX_DEPTH > max)
        return n;
    int64_t grown = (int64_t)n_new - (int64_t)(end - at);
    n = replace(p, n, at, end, src, n_new);
    for (int i = parent; i >= 0; i = seen.f[i].parent) {
        const field *f = &seen.f[i];
        size_t k = put_varint(length, f->end - f->body + (uint64_t)grown);
        n = replace(p, n, f->length, f->body, length, k);
        grown += (int64_t)k - (int64_t)(f->body - f->length);
    }
    return n;
}

static uint64_t odd_number(cab_rng *r)
{
    static const int64_t odd[] = { 0, 1, 2, 3, 7, 16, -1, -2, 127, 255, 65536, 1 << 20, INT32_MAX,
                                   (int64_t)1 << 32, (int64_t)1 << 40, INT64_MAX, INT64_MIN };
    return cab_rng_u64(r) % 3 ? (uint64_t)odd[cab_rng_u64(r) % (sizeof odd / sizeof *odd)]
                              : cab_rng_u64(r) % 32;
}

size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t n, size_t max, unsigned seed)
{
    static uint8_t body[1 << 16];
    cab_rng r;
    cab_rng_seed(&r, seed);
    seen.n = 0;
    scan(p, 0, n, -1, 0);
    if (seen.n == 0 || cab_rng_u64(&r) % 4 == 0)
        return LLVMFuzzerMutate(p, n, max);
    const field *a = &seen.f[cab_rng_u64(&r) % (uint64_t)seen.n];
    const field *b = &seen.f[cab_rng_u64(&r) % (uint64_t)seen.n];
    size_t na = a->end - a->at, nb = b->end - b->at, k;
    switch (cab_rng_u64(&r) % 5) {
    case 0:                                /* drop */
        return edit(p, n, max, a->at, a->end, a->parent, body, 0);
    case 1:                                /* double, here or there */
        if (na > sizeof body)
            return n;
        memcpy(body, p + a->at, na);
        return edit(p, n, max, b->at, b->at, b->parent, body, na);
    case 2:                                /* exchange for another */
        if (nb > sizeof body)
            return n;
        memcpy(body, p + b->at, nb);
        return edit(p, n, max, a->at, a->end, a->parent, body, nb);
    default:                               /* other contents */
        if (a->type == 0) {
            k = put_varint(body, odd_number(&r));
            return edit(p, n, max, a->body, a->end, a->parent, body, k);
        }
        k = a->end - a->body;
        if (k > sizeof body / 2)
            return n;
        memcpy(body, p + a->body, k);
        k = LLVMFuzzerMutate(body, k, a->type == 2 ? k + 64 : k);
        if (a->type != 2)
            return edit(p, n, max, a->body, a->end, a->parent, body, a->end - a->body);
        return edit(p, n, max, a->body, a->end, (int)(a - seen.f), body, k);
    }
}
