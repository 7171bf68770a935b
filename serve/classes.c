/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classes.c - a selection of the k largest: a heap of k whose root is the least of them, one look at each element.
 */
#include "serve/classes.h"
#include "base/dtype.h"
#include "include/cab_rt.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- elements ---- */

/* The types that can be compared: how they are read, as whole numbers with a sign, without, or as numbers. */
#define WHOLE(X) X(I8, int8_t) X(I16, int16_t) X(I32, int32_t) X(I64, int64_t)
#define NATURAL(X) X(U8, uint8_t) X(U16, uint16_t) X(U32, uint32_t) X(U64, uint64_t)

/* Element i of a type of floats. */
static double number_at(int dtype, const void *data, size_t i)
{
    switch (dtype) {
    case CAB_TYPE_F64: return ((const double *)data)[i];
    case CAB_TYPE_F16: return (double)cab_f16_to_f32(((const uint16_t *)data)[i]);
    case CAB_TYPE_BF16: return (double)cab_bf16_to_f32(((const uint16_t *)data)[i]);
    default: return (double)((const float *)data)[i];
    }
}

/* Numbers in their order as bits in theirs; 0 for NaN, one key for both zeros. */
static uint64_t key_of_number(double v)
{
    uint64_t bits;
    v = v == 0 ? 0 : v;
    memcpy(&bits, &v, sizeof bits);
    return v != v ? 0 : bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

/* What elements are compared by. */
static uint64_t key_at(int dtype, const void *data, size_t i)
{
    switch (dtype) {
#define X(T, type) case CAB_TYPE_##T: return (uint64_t)(int64_t)((const type *)data)[i] ^ (uint64_t)1 << 63;
    WHOLE(X)
#undef X
#define X(T, type) case CAB_TYPE_##T: return ((const type *)data)[i];
    NATURAL(X)
#undef X
    default: return key_of_number(number_at(dtype, data, i));
    }
}

static void put_value(cab_bytes *to, int dtype, const void *data, size_t i)
{
    switch (dtype) {
#define X(T, type) case CAB_TYPE_##T: cab_bytes_printf(to, "%lld", (long long)((const type *)data)[i]); break;
    WHOLE(X)
#undef X
#define X(T, type) case CAB_TYPE_##T: cab_bytes_printf(to, "%llu", (unsigned long long)((const type *)data)[i]); break;
    NATURAL(X)
#undef X
    default: cab_bytes_printf(to, "%f", number_at(dtype, data, i));
    }
}

bool cab_classes_known(int dtype)
{
    switch (dtype) {
#define X(T, type) case CAB_TYPE_##T:
    WHOLE(X)
    NATURAL(X)
#undef X
    case CAB_TYPE_F16:
    case CAB_TYPE_BF16:
    case CAB_TYPE_F32:
    case CAB_TYPE_F64: return true;
    default: return false;
    }
}

/* ---- the selection ---- */

typedef struct entry { uint64_t key; size_t index; } entry;

static bool below(const entry *a, const entry *b)
{
    return a->key != b->key ? a->key < b->key : a->index > b->index;
}

/* h[at] goes down to its place among h[0..n): none is below its parent. */
static void sink(entry *h, size_t n, size_t at)
{
    entry e = h[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && below(&h[child + 1], &h[child]))
            child++;
        if (!below(&h[child], &e))
            break;
        h[at] = h[child];
    }
    h[at] = e;
}

/* The k largest, the largest first. */
static void choose(entry *h, size_t k, int dtype, const void *data, size_t n)
{
    for (size_t i = 0; i < k; i++)
        h[i] = (entry){ key_at(dtype, data, i), i };
    for (size_t i = k / 2; i-- > 0;)
        sink(h, k, i);
    for (size_t i = k; i < n; i++) {
        uint64_t key = key_at(dtype, data, i);
        if (key > h->key) {            /* of equal ones the first stays */
            *h = (entry){ key, i };
            sink(h, k, 0);
        }
    }
    for (size_t left = k; left-- > 1;) {
        entry least = *h;
        *h = h[left];
        h[left] = least;
        sink(h, left, 0);
    }
}

/* ---- texts ---- */

static void put_one(cab_bytes *to, int dtype, const void *data, size_t i, const json_t *labels)
{
    enum { LENGTH = 4 };
    const char *label = json_string_value(json_array_get(labels, i));
    size_t at = to->n;
    cab_bytes_put(to, "\0\0\0", LENGTH);
    put_value(to, dtype, data, i);
    cab_bytes_printf(to, ":%zu", i);
    if (label) {
        cab_bytes_char(to, ':');
        cab_bytes_str(to, label);
    }
    for (int b = 0; !to->failed && b < LENGTH; b++)
        to->p[at + (size_t)b] = (char)((to->n - at - LENGTH) >> (8 * b));
}

bool cab_classes_put(cab_bytes *to, int dtype, const void *data, size_t n, size_t k, const json_t *labels)
{
    k = k < n ? k : n;
    if (!k)
        return true;
    entry *h = k <= SIZE_MAX / sizeof *h ? malloc(k * sizeof *h) : NULL;
    if (!h) {
        to->failed = true;
        return false;
    }
    choose(h, k, dtype, data, n);
    for (size_t i = 0; i < k && !to->failed; i++)
        put_one(to, dtype, data, h[i].index, labels);
    free(h);
    return !to->failed;
}
