/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_infer.c - /v2/models/.../infer: JSON, with or without raw tensors behind it, or one raw tensor alone.
 */
#include "serve/codec.h"
#include "serve/handlers.h"
#include "serve/json/json_tensor.h"

/* Bytes of JSON at the front of the body: all of it unless a field says otherwise; -1: no such number. */
static int64_t json_bytes(const cab_exchange *x)
{
    cab_slice v = cab_exchange_field(x, "inference-header-content-length");
    int64_t n = 0;
    if (!v.p)
        return (int64_t)x->body.n;
    for (size_t i = 0; i < v.n && n >= 0; i++)
        n = v.p[i] >= '0' && v.p[i] <= '9' && n <= (int64_t)x->body.n ? n * 10 + (v.p[i] - '0') : -1;
    return v.n && n <= (int64_t)x->body.n ? n : -1;
}

/* A body without JSON (its length is said to be 0): the only input, whose one open extent follows from the bytes. */
static bool take_raw(cab_infer *q, cab_slice raw)
{
    const cab_tensor_info *t = q->loaded->inputs;
    int64_t dims[CAB_JSON_MAX_RANK];
    int open = -1;
    if (q->loaded->n_inputs != 1 || t->rank > CAB_JSON_MAX_RANK)
        return cab_infer_fault(q, "a body without JSON is for models of one input");
    for (int i = 0; i < t->rank; i++) {
        dims[i] = t->dims[i];
        if (dims[i] >= 0)
            continue;
        if (open >= 0)
            return cab_infer_fault(q, "a body without JSON is for inputs of at most one open extent");
        dims[open = i] = 1;
    }
    size_t one = cab_tensor_bytes(t->dtype, t->rank, dims);
    if (open >= 0 && one && one != SIZE_MAX)
        dims[open] = (int64_t)(raw.n / one);
    q->binary_outputs = true;
    cab_tensor_view *v = cab_infer_input(q, cab_slice_of(t->name), t->dtype, t->rank, dims);
    return v && cab_infer_raw(q, v, raw.p, raw.n);
}

void cab_api_infer(cab_service *s, cab_exchange *x, const cab_target *t)
{
    cab_resident *l = cab_find_loaded(s, x, t->model, t->version);
    cab_infer *q = l ? cab_infer_begin(x, l, cab_json_encode) : NULL;
    if (!q)
        return;
    int64_t n = json_bytes(x);
    if (n < 0) {
        cab_exchange_refuse(x, 400, "'Inference-Header-Content-Length' is no number of bytes within the body");
        return;
    }
    cab_slice text = { x->body.p, (size_t)n }, tail = { x->body.p + n, x->body.n - (size_t)n };
    if (n || !cab_exchange_field(x, "inference-header-content-length").n ? cab_json_decode(q, text, tail) : take_raw(q, tail))
        cab_infer_submit(q);
    else
        cab_infer_refuse(q);
}
