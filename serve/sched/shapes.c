/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shapes.c - a model's inputs, and the shapes it was called with.
 */
#include "serve/sched/shapes.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 3, 4)))
static int refuse(cab_error *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    e->code = code;
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return code;
}

/* ---- life ---- */

static int check_model(const cab_shapes *t, cab_error *e)
{
    for (int i = 0; i < t->n_inputs + t->n_outputs; i++) {
        bool in = i < t->n_inputs;
        int k = in ? i : i - t->n_inputs;
        cab_tensor_info info;
        int kind = in ? cab_model_input_kind(t->model, k) : cab_model_output_kind(t->model, k);
        if (in)
            cab_model_input(t->model, k, &info);
        else
            cab_model_output(t->model, k, &info);
        if (kind != CAB_KIND_TENSOR)
            return refuse(e, CAB_RT_EUNSUPPORTED, "%s '%s' is not a tensor",
                          in ? "input" : "output", info.name);
        if (t->by_rows && (info.rank < 1 || info.dims[0] >= 0))
            return refuse(e, CAB_RT_EINVAL, "%s '%s' has no first axis of any size: requests of "
                          "this model cannot run together (max_batch 0)",
                          in ? "input" : "output", info.name);
    }
    return t->by_rows && !t->n_inputs
               ? refuse(e, CAB_RT_EINVAL, "a model without inputs has no rows") : CAB_RT_OK;
}

int cab_shapes_init(cab_shapes *t, cab_model *m, bool by_rows, cab_error *e)
{
    *t = (cab_shapes){ .model = m, .by_rows = by_rows, .n_inputs = cab_model_input_count(m),
                       .n_outputs = cab_model_output_count(m) };
    t->inputs = calloc((size_t)t->n_inputs + 1, sizeof *t->inputs);
    if (!t->inputs)
        return refuse(e, CAB_RT_ENOMEM, "out of memory");
    int rc = check_model(t, e);
    for (int i = 0; i < t->n_inputs; i++) {
        cab_model_input(m, i, &t->inputs[i]);
        t->n_dims += t->inputs[i].rank;
    }
    size_t each = (size_t)t->n_dims + (size_t)t->n_outputs;
    int64_t *p = t->tables = rc == CAB_RT_OK ? calloc(CAB_SHAPES * each + 1, sizeof *p) : NULL;
    for (int i = 0; p && i < CAB_SHAPES; i++, p += each) {
        t->e[i].dims = p;
        t->e[i].output_bytes = (uint64_t *)(p + t->n_dims);
    }
    if (rc == CAB_RT_OK && !t->tables)
        rc = refuse(e, CAB_RT_ENOMEM, "out of memory");
    if (rc != CAB_RT_OK)
        cab_shapes_fini(t);
    return rc;
}

void cab_shapes_fini(cab_shapes *t)
{
    free(t->inputs);
    free(t->tables);
    t->inputs = NULL;
    t->tables = NULL;
}

/* ---- one call ---- */

static int check_one(const cab_tensor_info *want, const cab_tensor_view *v, cab_error *e)
{
    if (v->dtype != want->dtype)
        return refuse(e, CAB_RT_EINPUT, "input '%s' has another element type than the model wants",
                      want->name);
    if (v->rank != want->rank)
        return refuse(e, CAB_RT_EINPUT, "input '%s' has rank %d, the model wants %d", want->name,
                      v->rank, want->rank);
    for (int k = 0; k < v->rank; k++)
        if (want->dims[k] >= 0 && v->dims[k] != want->dims[k])
            return refuse(e, CAB_RT_EINPUT, "input '%s': extent %d is %lld, must be %lld",
                          want->name, k, (long long)v->dims[k], (long long)want->dims[k]);
    size_t need = cab_tensor_bytes(v->dtype, v->rank, v->dims);
    if (need == SIZE_MAX)
        return refuse(e, CAB_RT_EINPUT, "input '%s' has impossible extents", want->name);
    if (v->bytes < need || (need && !v->data))
        return refuse(e, CAB_RT_EINPUT, "input '%s' needs %zu bytes, %zu are given", want->name, need,
                      v->bytes);
    return CAB_RT_OK;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

int cab_shapes_check(const cab_shapes *t, const cab_tensor_view *inputs, int64_t *rows,
                     uint64_t *key, cab_error *e)
{
    uint64_t h = (uintptr_t)t;
    *rows = 1;
    for (int i = 0; i < t->n_inputs; i++) {
        const cab_tensor_view *v = &inputs[i];
        int rc = check_one(&t->inputs[i], v, e);
        if (rc != CAB_RT_OK)
            return rc;
        if (t->by_rows && i && v->dims[0] != *rows)
            return refuse(e, CAB_RT_EINPUT, "input '%s' has %lld rows, input '%s' %lld",
                          t->inputs[i].name, (long long)v->dims[0], t->inputs[0].name,
                          (long long)*rows);
        *rows = t->by_rows ? v->dims[0] : 1;
        for (int k = t->by_rows; k < v->rank; k++)
            h = mix(h, (uint64_t)v->dims[k]);
    }
    *key = h;
    return CAB_RT_OK;
}

bool cab_shapes_same(const cab_shapes *t, const cab_tensor_view *a, const cab_tensor_view *b)
{
    for (int i = 0; i < t->n_inputs; i++)
        for (int k = t->by_rows; k < t->inputs[i].rank; k++)
            if (a[i].dims[k] != b[i].dims[k])
                return false;
    return true;
}

/* ---- the table ---- */

static int64_t extent(const cab_shapes *t, const cab_tensor_view *v, int k, int64_t rows)
{
    return t->by_rows && k == 0 ? rows : v->dims[k];
}

static bool matches(const cab_shapes *t, const cab_shape *s, const cab_tensor_view *inputs,
                    int64_t rows)
{
    const int64_t *p = s->dims;
    for (int i = 0; i < t->n_inputs; i++)
        for (int k = 0; k < t->inputs[i].rank; k++)
            if (*p++ != extent(t, &inputs[i], k, rows))
                return false;
    return true;
}

static cab_shape *ways(cab_shapes *t, uint64_t hash)
{
    return &t->e[hash % (CAB_SHAPES / CAB_SHAPE_WAYS) * CAB_SHAPE_WAYS];
}

cab_shape *cab_shapes_find(cab_shapes *t, const cab_tensor_view *inputs, int64_t rows, uint64_t key)
{
    uint64_t hash = mix(key, (uint64_t)rows);
    cab_shape *s = ways(t, hash);
    for (int i = 0; i < CAB_SHAPE_WAYS; i++, s++)
        if (s->stamp && s->hash == hash && matches(t, s, inputs, rows)) {
            s->stamp = ++t->stamp;
            return s;
        }
    return NULL;
}

cab_shape *cab_shapes_add(cab_shapes *t, const cab_tensor_view *inputs, int64_t rows, uint64_t key,
                          const cab_memory *need)
{
    uint64_t hash = mix(key, (uint64_t)rows);
    cab_shape *first = ways(t, hash), *s = first;
    for (int i = 1; i < CAB_SHAPE_WAYS; i++)
        if (first[i].stamp < s->stamp)
            s = &first[i];
    int64_t *p = s->dims;
    for (int i = 0; i < t->n_inputs; i++)
        for (int k = 0; k < t->inputs[i].rank; k++)
            *p++ = extent(t, &inputs[i], k, rows);
    s->hash = hash;
    s->stamp = ++t->stamp;
    s->intermediate = need->intermediate;
    s->outputs = need->outputs;
    s->known = false;
    s->run_ns = 0;
    return s;
}

int cab_shapes_estimate(const cab_shapes *t, const cab_tensor_view *inputs, int64_t rows,
                        cab_memory *need, cab_error *e)
{
    cab_tensor_view *v = calloc((size_t)t->n_inputs + 1, sizeof *v);
    if (!v)
        return refuse(e, CAB_RT_ENOMEM, "out of memory");
    for (int i = 0; i < t->n_inputs; i++) {
        v[i] = inputs[i];
        if (t->by_rows)
            v[i].dims[0] = rows;
    }
    int rc = cab_model_estimate(t->model, v, need, e);
    free(v);
    return rc;
}

uint64_t cab_shapes_input_bytes(const cab_shapes *t, const cab_tensor_view *inputs, int64_t rows)
{
    uint64_t sum = 0;
    for (int i = 0; i < t->n_inputs; i++) {
        cab_tensor_view v = inputs[i];
        if (t->by_rows)
            v.dims[0] = rows;
        size_t n = cab_tensor_bytes(v.dtype, v.rank, v.dims);
        sum = n == SIZE_MAX || sum > UINT64_MAX / 4 ? UINT64_MAX / 4 : sum + n;
    }
    return sum;
}
