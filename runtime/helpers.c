/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helpers.c - the reviewed list of C functions a plan may call for what is
 * not arithmetic over arrays.  Rows stand in runtime/plan.h (CAB_HELPERS);
 * tests/helpers.expected holds the reviewed list.
 */
#include "runtime/runtime_int.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements of that type may be read where it lies: a damaged plan has views at any byte. */
static bool lies_well(const void *p, cab_dtype dt)
{
    return (uintptr_t)p % ((unsigned)cab_dtype_bits(dt) / 8) == 0;
}

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
    /* Rows without elements are not bounded by what the buffers hold. */
    int64_t inner = c->params[TOPK_INNER], rows = c->params[TOPK_N] ? c->params[TOPK_OUTER] * inner : 0;
    for (int64_t r = 0; r < rows; r++)
        topk_row(c, dt, r / inner, r % inner, c->scratch);
    return CAB_OK;
}

/* ---- sort: x[n, m] -> order[n] of the rows ---- */
enum { sort_written = 1 << 1 };
enum { SORT_N, SORT_M, SORT_DTYPE };

static uint64_t sort_scratch(const int64_t *p)
{
    uint64_t bytes;
    if (p[SORT_N] < 0 || __builtin_mul_overflow((uint64_t)p[SORT_N], sizeof(int64_t), &bytes))
        return UINT64_MAX / 2;
    return bytes + 64;
}

static topk_key key_at(cab_dtype dt, const void *x, uint64_t at)
{
    bool is_int = !cab_dtype_is_float(dt);
    topk_key k = { is_int ? 0 : cab_elem_f64(dt, x, at), is_int ? cab_elem_i64(dt, x, at) : 0, 0 };
    if (dt == CAB_DT_u64)
        k.i = (int64_t)((uint64_t)k.i ^ (uint64_t)1 << 63);
    return k;
}

static bool row_after(cab_dtype dt, const void *x, int64_t m, int64_t a, int64_t b)
{
    for (int64_t j = 0; j < m; j++) {
        topk_key p = key_at(dt, x, (uint64_t)(a * m + j)), q = key_at(dt, x, (uint64_t)(b * m + j));
        int c = compare_keys(&p, &q);
        if (c)
            return c > 0;
    }
    return false;
}

/* Merges the sorted runs [lo, mid) and [mid, hi) of from. */
static void merge_runs(const cab_helper_call *c, cab_dtype dt, const int64_t *from, int64_t *to,
                       const int64_t run[3])
{
    int64_t i = run[0], j = run[1];
    for (int64_t k = run[0]; k < run[2]; k++) {
        bool right = i == run[1] || (j < run[2] && row_after(dt, c->data[0], c->params[SORT_M],
                                                             from[i], from[j]));
        to[k] = right ? from[j++] : from[i++];
    }
}

static void sort_rows(const cab_helper_call *c, cab_dtype dt)
{
    int64_t n = c->params[SORT_N], *from = c->data[1], *to = c->scratch;
    for (int64_t i = 0; i < n; i++)
        from[i] = i;
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * width) {
            int64_t mid = n - lo < width ? n : lo + width, hi = n - mid < width ? n : mid + width;
            merge_runs(c, dt, from, to, (const int64_t[]){ lo, mid, hi });
        }
        int64_t *t = from;
        from = to;
        to = t;
    }
    if (n && from != c->data[1])
        memcpy(c->data[1], from, (size_t)n * sizeof *from);
}

static int sort_run(const cab_helper_call *c, cab_error *e)
{
    const int64_t *p = c->params;
    cab_dtype dt = cab_dtype_from_onnx(p[SORT_DTYPE]);
    uint64_t elems, xb, ob;
    if ((!cab_dtype_is_float(dt) && !cab_dtype_is_int(dt)) || cab_dtype_bits(dt) < 8 ||
        p[SORT_N] < 0 || p[SORT_M] < 0 ||
        __builtin_mul_overflow((uint64_t)p[SORT_N], (uint64_t)p[SORT_M], &elems) ||
        !cab_dtype_bytes(dt, elems, &xb) || xb > c->bytes[0] ||
        !cab_dtype_bytes(CAB_DT_i64, (uint64_t)p[SORT_N], &ob) || ob > c->bytes[1] || !lies_well(c->data[1], CAB_DT_i64) ||
        sort_scratch(p) > c->scratch_bytes)
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: arguments of sort");
    sort_rows(c, dt);
    return CAB_OK;
}

/* ---- nms: boxes[batches, n, 4], scores[batches, classes, n] -> rows
 * [batch, class, box], count ---- */
enum { nms_written = 1 << 4 | 1 << 5 };
enum { NMS_BATCHES, NMS_N, NMS_CLASSES, NMS_LIMIT, NMS_CENTER, NMS_FILTER };
enum { NMS_BOXES, NMS_SCORES, NMS_IOU, NMS_THRESHOLD, NMS_SELECTED, NMS_COUNT };

/* Without the library of mathematics, which libcabrt does not need. */
static float least(float a, float b) { return a < b ? a : b; }
static float most(float a, float b) { return a > b ? a : b; }

typedef struct nms_box { float x0, x1, y0, y1, score; int64_t at; } nms_box;

static uint64_t nms_scratch(const int64_t *p)
{
    uint64_t bytes;
    if (p[NMS_N] < 0 || __builtin_mul_overflow((uint64_t)p[NMS_N], 2 * sizeof(nms_box), &bytes))
        return UINT64_MAX / 2;
    return bytes + 64;
}

static nms_box box_of(const float *b, bool center, float score, int64_t at)
{
    float w = b[2] / 2, h = b[3] / 2;
    if (center)
        return (nms_box){ b[0] - w, b[0] + w, b[1] - h, b[1] + h, score, at };
    return (nms_box){ least(b[0], b[2]), most(b[0], b[2]), least(b[1], b[3]), most(b[1], b[3]),
                      score, at };
}

/* Best first, of equals the first box; no number is worse than all numbers. */
static int by_score(const void *pa, const void *pb)
{
    const nms_box *a = pa, *b = pb;
    int na = isnan(a->score), nb = isnan(b->score);
    if (na != nb)
        return na - nb;
    if (!na && a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

/* What two boxes have in common is more than iou of what they cover. */
static bool overlap(const nms_box *a, const nms_box *b, float iou)
{
    float w = least(a->x1, b->x1) - most(a->x0, b->x0);
    float h = least(a->y1, b->y1) - most(a->y0, b->y0);
    float common = w * h;
    float area_a = (a->x1 - a->x0) * (a->y1 - a->y0), area_b = (b->x1 - b->x0) * (b->y1 - b->y0);
    float all = area_a + area_b - common;
    return w > 0 && h > 0 && common > 0 && area_a > 0 && area_b > 0 && all > 0 &&
           common / all > iou;
}

/* Boxes of one batch and class; the number kept, their numbers in kept. */
static int64_t suppress(const cab_helper_call *c, const float *boxes, const float *scores,
                        nms_box *kept)
{
    const int64_t *p = c->params;
    nms_box *all = kept + p[NMS_N];
    float iou, threshold;
    int64_t n = 0, n_kept = 0;
    memcpy(&iou, c->data[NMS_IOU], sizeof iou);
    memcpy(&threshold, c->data[NMS_THRESHOLD], sizeof threshold);
    for (int64_t i = 0; i < p[NMS_N]; i++)
        if (!p[NMS_FILTER] || scores[i] > threshold)
            all[n++] = box_of(boxes + 4 * i, p[NMS_CENTER] != 0, scores[i], i);
    qsort(all, (size_t)n, sizeof *all, by_score);
    for (int64_t i = 0; i < n && n_kept < p[NMS_LIMIT]; i++) {
        bool keep = true;
        for (int64_t k = 0; k < n_kept && keep; k++)
            keep = !overlap(&all[i], &kept[k], iou);
        if (keep)
            kept[n_kept++] = all[i];
    }
    return n_kept;
}

static bool bytes_hold(const cab_helper_call *c, int value, cab_dtype dt, const int64_t *dims,
                       int rank)
{
    uint64_t n = 1, bytes;
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0 || __builtin_mul_overflow(n, (uint64_t)dims[i], &n))
            return false;
    return cab_dtype_bytes(dt, n, &bytes) && bytes <= c->bytes[value] && lies_well(c->data[value], dt);
}

static bool nms_fits(const cab_helper_call *c)
{
    const int64_t *p = c->params, one = 1;
    int64_t limit = p[NMS_LIMIT] < p[NMS_N] ? p[NMS_LIMIT] : p[NMS_N];
    return bytes_hold(c, NMS_BOXES, CAB_DT_f32, (const int64_t[]){ p[NMS_BATCHES], p[NMS_N], 4 }, 3) &&
           bytes_hold(c, NMS_SCORES, CAB_DT_f32,
                      (const int64_t[]){ p[NMS_BATCHES], p[NMS_CLASSES], p[NMS_N] }, 3) &&
           bytes_hold(c, NMS_SELECTED, CAB_DT_i64,
                      (const int64_t[]){ p[NMS_BATCHES], p[NMS_CLASSES], limit, 3 }, 4) &&
           bytes_hold(c, NMS_IOU, CAB_DT_f32, &one, 1) &&
           bytes_hold(c, NMS_THRESHOLD, CAB_DT_f32, &one, 1) &&
           bytes_hold(c, NMS_COUNT, CAB_DT_i64, &one, 1) && nms_scratch(p) <= c->scratch_bytes;
}

static int nms_run(const cab_helper_call *c, cab_error *e)
{
    const int64_t *p = c->params;
    int64_t *row = c->data[NMS_SELECTED], total = 0;
    nms_box *kept = c->scratch;
    float iou;
    if (!nms_fits(c))
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: arguments of nms");
    memcpy(&iou, c->data[NMS_IOU], sizeof iou);
    if (!(iou >= 0 && iou <= 1))
        return cab_rt_fail(e, CAB_EINPUT, "iou_threshold is %g, not between 0 and 1", (double)iou);
    int64_t rows = p[NMS_N] ? p[NMS_BATCHES] * p[NMS_CLASSES] : 0;     /* as with topk */
    for (int64_t r = 0; r < rows; r++) {
        int64_t b = r / p[NMS_CLASSES];
        int64_t n = suppress(c, (const float *)c->data[NMS_BOXES] + b * p[NMS_N] * 4,
                             (const float *)c->data[NMS_SCORES] + r * p[NMS_N], kept);
        for (int64_t k = 0; k < n; k++, row += 3) {
            row[0] = b;
            row[1] = r % p[NMS_CLASSES];
            row[2] = kept[k].at;
        }
        total += n;
    }
    memcpy(c->data[NMS_COUNT], &total, sizeof total);
    return CAB_OK;
}

/* ---- bounds: indices that the caller gave ---- */

enum { bounds_written = 0 };
enum { BOUNDS_N, BOUNDS_ROWS, BOUNDS_DTYPE };

static uint64_t bounds_scratch(const int64_t *p)
{
    (void)p;
    return 0;
}

static bool is_row(int64_t x, int64_t rows)
{
    return (uint64_t)x + (uint64_t)rows < 2 * (uint64_t)rows;
}

static bool all_rows_i64(const int64_t *x, int64_t n, int64_t rows)
{
    bool all = true;
    for (int64_t i = 0; i < n; i++)
        all &= is_row(x[i], rows);
    return all;
}

static bool all_rows_i32(const int32_t *x, int64_t n, int64_t rows)
{
    bool all = true;
    for (int64_t i = 0; i < n; i++)
        all &= is_row(x[i], rows);
    return all;
}

static int bounds_run(const cab_helper_call *c, cab_error *e)
{
    int64_t n = c->params[BOUNDS_N], rows = c->params[BOUNDS_ROWS];
    cab_dtype dt = cab_dtype_from_onnx(c->params[BOUNDS_DTYPE]);
    uint64_t bytes;
    if ((dt != CAB_DT_i64 && dt != CAB_DT_i32) || n < 0 || rows < 0 || rows > INT64_MAX / 2 ||
        __builtin_mul_overflow((uint64_t)n, (uint64_t)cab_dtype_bits(dt) / 8, &bytes) || bytes > c->bytes[0] ||
        !lies_well(c->data[0], dt))
        return cab_rt_fail(e, CAB_EARTIFACT, "damaged artifact: arguments of bounds");
    if (dt == CAB_DT_i64 ? all_rows_i64(c->data[0], n, rows) : all_rows_i32(c->data[0], n, rows))
        return CAB_OK;
    int64_t at = 0;
    while (is_row(cab_elem_i64(dt, c->data[0], (uint64_t)at), rows))
        at++;
    return cab_rt_fail(e, CAB_EINPUT, "element %lld of '%s' is %lld, no row of the %lld there are%s%s%s",
                       (long long)at, cab_plan_text(c->plan, c->plan->values[c->values[0]].name),
                       (long long)cab_elem_i64(dt, c->data[0], (uint64_t)at), (long long)rows, *c->layers ? " (node '" : "",
                       c->layers, *c->layers ? "')" : "");
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
