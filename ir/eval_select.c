/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_select.c - reference evaluation of what chooses: sort, nms.
 *
 * Written for plainness: a sort by insertion, and suppression that looks for
 * the best of what is left every time.
 */
#include "ir/eval_int.h"
#include <math.h>

/* ---- sort ---- */
static int compare_rows(cab_dtype t, const void *x, int64_t m, int64_t a, int64_t b)
{
    int c = 0;
    for (int64_t j = 0; j < m && !c; j++)
        c = cab_scalar_compare(t, cab_scalar_load(t, x, (uint64_t)(a * m + j)),
                               cab_scalar_load(t, x, (uint64_t)(b * m + j)));
    return c;
}

void cab_sort_order(cab_dtype t, const void *x, int64_t n, int64_t m, int64_t *order)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        for (; at > 0 && compare_rows(t, x, m, order[at - 1], i) > 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

cab_status cab_eval_op_sort(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    if (x->rank != 2)
        return cab_eval_error(e, CAB_EINVAL, "an operand of rank %d", x->rank);
    CAB_TRY(cab_eval_out(e, 0, CAB_DT_i64, 1, x->dims));
    cab_sort_order(x->dtype, x->data, x->dims[0], x->dims[1], e->out[0].data);
    return CAB_OK;
}

/* ---- nms ---- */
typedef struct span { float lo, hi; } span;

/* Axis 0 or 1 of a box. */
static span side(const cab_nms *q, const float *box, int axis)
{
    float a = box[axis], b = box[axis + 2], half = b / 2;
    if (q->center)
        return (span){ a - half, a + half };
    return (span){ fminf(a, b), fmaxf(a, b) };
}

static float share(const cab_nms *q, const float *a, const float *b)
{
    float both = 1, own[2] = { 1, 1 };
    for (int axis = 0; axis < 2; axis++) {
        span x = side(q, a, axis), y = side(q, b, axis);
        float common = fminf(x.hi, y.hi) - fmaxf(x.lo, y.lo);
        both *= common > 0 ? common : 0;
        own[0] *= x.hi - x.lo;
        own[1] *= y.hi - y.lo;
    }
    float all = own[0] + own[1] - both;
    return both > 0 && own[0] > 0 && own[1] > 0 && all > 0 ? both / all : -1;
}

/* The best box that is left, -1: none.  No number is worse than all numbers. */
static int64_t best(const cab_nms *q, const float *score, const uint8_t *gone)
{
    int64_t at = -1;
    for (int64_t i = 0; i < q->n; i++)
        if (!gone[i] && (at < 0 || score[i] > score[at] ||
                         (score[at] != score[at] && score[i] == score[i])))
            at = i;
    return at;
}

int64_t cab_nms_select(cab_arena *a, const cab_nms *q, int64_t *selected)
{
    int64_t rows = 0;
    uint8_t *gone = CAB_NEW_N(a, uint8_t, q->n + 1);
    for (int64_t p = 0; p < q->batches * q->classes; p++) {
        const float *boxes = q->boxes + p / q->classes * q->n * 4, *score = q->scores + p * q->n;
        int64_t first = rows;
        for (int64_t i = 0; i < q->n; i++)
            gone[i] = q->filter && !(score[i] > q->threshold);
        for (int64_t at; rows - first < q->limit && (at = best(q, score, gone)) >= 0;) {
            bool keep = true;
            gone[at] = 1;
            for (int64_t k = first; k < rows && keep; k++)
                keep = !(share(q, boxes + at * 4, boxes + selected[k * 3 + 2] * 4) > q->iou);
            if (!keep)
                continue;
            selected[rows * 3] = p / q->classes;
            selected[rows * 3 + 1] = p % q->classes;
            selected[rows++ * 3 + 2] = at;
        }
    }
    return rows;
}

cab_status cab_eval_op_nms(cab_eval *e)
{
    const cab_tensor *b = e->in[0], *s = e->in[1];
    int64_t limit, rows[2] = { 0, 3 };
    if (b->rank != 3 || s->rank != 3 || b->dims[2] != 4 || s->dims[0] != b->dims[0] ||
        s->dims[2] != b->dims[1])
        return cab_eval_error(e, CAB_EINPUT, "boxes and scores do not fit");
    CAB_TRY(cab_eval_dims(e, "limit", 1, &limit, NULL));
    limit = limit < 0 ? 0 : limit > b->dims[1] ? b->dims[1] : limit;
    cab_nms q = { .batches = b->dims[0], .n = b->dims[1], .classes = s->dims[1], .limit = limit,
                  .center = cab_attr_int(e->n, "center") != 0,
                  .filter = cab_attr_int(e->n, "filter") != 0,
                  .boxes = b->data, .scores = s->data };
    q.iou = (float)cab_scalar_load(CAB_DT_f32, e->in[2]->data, 0).f;
    q.threshold = (float)cab_scalar_load(CAB_DT_f32, e->in[3]->data, 0).f;
    rows[0] = q.batches * q.classes * limit;
    CAB_TRY(cab_eval_out(e, 0, CAB_DT_i64, 2, rows));
    CAB_TRY(cab_eval_out(e, 1, CAB_DT_i64, 0, rows));
    for (int64_t i = 0; i < rows[0] * 3; i++)
        ((int64_t *)e->out[0].data)[i] = 0;
    *(int64_t *)e->out[1].data = cab_nms_select(e->a, &q, e->out[0].data);
    return CAB_OK;
}
