/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write.c - tensors to arrays of numbers in JSON.
 */
#include <stdio.h>
#include "serve/json/json_element_int.h"

enum { CHUNK = 256 };

typedef struct writer {
    cab_bytes *to;
    const json_element *t;
    const char *at;            /* the next element */
    const int64_t *dims;
    int rank;
    cab_json_nonfinite how;
} writer;

/* n elements with commas between them. */
static void run(writer *w, int64_t n)
{
    while (n > 0) {
        size_t now = n < CHUNK ? (size_t)n : CHUNK;
        char *to = cab_bytes_room(w->to, now * (CAB_NUMBER_MAX + 1) + 1);
        if (!to)
            return;
        char *end = w->t->write(to, w->at, now, w->how);
        w->at += now * w->t->bytes;
        n -= (int64_t)now;
        if (n)
            *end++ = ',';
        cab_bytes_wrote(w->to, (size_t)(end - to));
    }
}

/* Nested as deep as the rank, CAB_JSON_MAX_RANK at most. */
static void array(writer *w, int level)
{
    int64_t n = w->dims[level];
    cab_bytes_char(w->to, '[');
    if (level == w->rank - 1) {
        run(w, n);
    } else {
        for (int64_t i = 0; i < n && !w->to->failed; i++) {
            if (i)
                cab_bytes_char(w->to, ',');
            array(w, level + 1);
        }
    }
    cab_bytes_char(w->to, ']');
}

static bool refuse(cab_json_fault *f, cab_json_fault_kind kind, const char *before, long long number,
                   const char *after)
{
    f->kind = kind;
    snprintf(f->text, sizeof f->text, "%s%lld%s", before, number, after);
    return false;
}

/* Number of elements; false: an extent below 0, or too many. */
static bool elements(int rank, const int64_t *dims, int64_t *n)
{
    *n = 1;
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0 || __builtin_mul_overflow(*n, dims[i], n))
            return false;
    return rank >= 0 && rank <= CAB_JSON_MAX_RANK;
}

bool cab_json_write_tensor(cab_bytes *to, int dtype, int rank, const int64_t *dims, const void *data,
                           bool nested, cab_json_nonfinite how, cab_json_fault *f)
{
    writer w = { .to = to, .t = cab_json_element_of(dtype), .at = data, .dims = dims, .rank = rank, .how = how };
    int64_t n;
    *f = (cab_json_fault){ .kind = CAB_FAULT_NONE };
    if (!w.t)
        return refuse(f, CAB_FAULT_TYPE, "element type ", dtype, " has no JSON form");
    if (!elements(rank, dims, &n))
        return refuse(f, CAB_FAULT_SHAPE, "an impossible shape of rank ", rank, "");
    if (nested && rank == 0) {
        run(&w, 1);
    } else {
        if (!nested) {
            w.dims = &n;
            w.rank = 1;
        }
        array(&w, 0);
    }
    if (to->failed)
        return refuse(f, CAB_FAULT_MEMORY, "no room for ", n, " elements of the answer");
    return true;
}

void cab_json_put_extents(cab_bytes *b, int rank, const int64_t *dims)
{
    cab_bytes_char(b, '[');
    for (int i = 0; i < rank; i++)
        cab_bytes_printf(b, i ? ",%lld" : "%lld", (long long)dims[i]);
    cab_bytes_char(b, ']');
}
