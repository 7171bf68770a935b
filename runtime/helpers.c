/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helpers.c - the reviewed list of C functions a plan may call for what is
 * not arithmetic over arrays.  Rows stand in runtime/plan.h (CAB_HELPERS);
 * tests/helpers.expected holds the list, which only shrinks.
 */
#include "runtime/runtime_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- topk: x[outer, n, inner] -> values, indices [outer, k, inner] ---- */

enum { topk_written = 1 << 1 | 1 << 2 };
enum { TOPK_OUTER, TOPK_N, TOPK_INNER, TOPK_K, TOPK_LARGEST, TOPK_DTYPE };

typedef struct topk_key { double f; int64_t i; int64_t at; } topk_key;

static uint64_t topk_scratch(const int64_t *p)
{
    uint64_t bytes;
    if (p[TOPK_N] < 0 || __builtin_mul_overflow((uint64_t)p[TOPK_N], sizeof(topk_key), &bytes))
        return UINT64_MAX / 2;
    return bytes + 64;
}

/* NaN counts as the largest value (numpy). */
static int compare_keys(const topk_key *a, const topk_key *b)
{
    int na = isnan(a->f), nb = isnan(b->f);
    if (na || nb)
        return na - nb;
    if (a->f != b->f)
        return a->f < b->f ? -1 : 1;
    return (a->i > b->i) - (a->i < b->i);
}

static int ascending(const void *pa, const void *pb)
{
    const topk_key *a = pa, *b = pb;
    int c = compare_keys(a, b);
    return c ? c : (a->at > b->at) - (a->at < b->at);
}

static int descending(const void *pa, const void *pb)
{
    const topk_key *a = pa, *b = pb;
    int c = compare_keys(b, a);
    return c ? c : (a->at > b->at) - (a->at < b->at);
}

static void topk_row(const cab_helper_call *c, cab_dtype dt, int64_t outer, int64_t inner,
                     topk_key *key)
{
    const int64_t *p = c->params;
    int64_t n = p[TOPK_N], in = p[TOPK_INNER], size = cab_dtype_bits(dt) / 8;
    for (int64_t j = 0; j < n; j++) {
        uint64_t at = (uint64_t)((outer * n + j) * in + inner);
        /* 64-bit integers do not fit a double: compare them exactly. */
        bool is_int = !cab_dtype_is_float(dt);
        key[j] = (topk_key){ is_int ? 0 : cab_elem_f64(dt, c->data[0], at),
                             is_int ? cab_elem_i64(dt, c->data[0], at) : 0, j };
        if (dt == CAB_DT_u64)
            key[j].i = (int64_t)((uint64_t)key[j].i ^ (uint64_t)1 << 63);
    }
    qsort(key, (size_t)n, sizeof *key, p[TOPK_LARGEST] ? descending : ascending);
    for (int64_t j = 0; j < p[TOPK_K]; j++) {
        int64_t to = (outer * p[TOPK_K] + j) * in + inner;
        int64_t from = (outer * n + key[j].at) * in + inner;
        memcpy((uint8_t *)c->data[1] + to * size, (const uint8_t *)c->data[0] + from * size,
               (size_t)size);
        memcpy((int64_t *)c->data[2] + to, &key[j].at, sizeof key[j].at);
    }
}

static bool topk_fits(const cab_helper_call *c, cab_dtype dt)
{
    const int64_t *p = c->params;
    uint64_t rows, x, y, xb, yb, ib;
    if (p[TOPK_OUTER] < 0 || p[TOPK_INNER] < 0 || p[TOPK_K] < 0 || p[TOPK_K] > p[TOPK_N])
        return false;
    return !__builtin_mul_overflow((uint64_t)p[TOPK_OUTER], (uint64_t)p[TOPK_INNER], &rows) &&
           !__builtin_mul_overflow(rows, (uint64_t)p[TOPK_N], &x) &&
           !__builtin_mul_overflow(rows, (uint64_t)p[TOPK_K], &y) &&
           cab_dtype_bytes(dt, x, &xb) && cab_dtype_bytes(dt, y, &yb) &&
           cab_dtype_bytes(CAB_DT_i64, y, &ib) && xb <= c->bytes[0] && yb <= c->bytes[1] &&
           ib <= c->bytes[2];
}

static int topk_run(const cab_helper_call *c, cab_error *e)
{
    cab_dtype dt = cab_dtype_from_onnx(c->params[TOPK_DTYPE]);
    if ((!cab_dtype_is_float(dt) && !cab_dtype_is_int(dt)) || cab_dtype_bits(dt) < 8 ||
        !topk_fits(c, dt) || topk_scratch(c->params) > c->scratch_bytes)
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: arguments of topk");
    for (int64_t o = 0; o < c->params[TOPK_OUTER]; o++)
        for (int64_t i = 0; i < c->params[TOPK_INNER]; i++)
            topk_row(c, dt, o, i, c->scratch);
    return CAB_OK;
}

static const cab_helper_row rows[] = {
#define HELPER(number, id, n_values, n_params) \
    [number] = { #id, n_values, n_params, id##_written, id##_scratch, id##_run },
    CAB_HELPERS(HELPER)
#undef HELPER
};

const cab_helper_row *cab_helper_get(uint32_t number)
{
    return number < sizeof rows / sizeof *rows ? &rows[number] : NULL;
}
