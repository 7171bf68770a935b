/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_infer.c - /v2/models/.../infer: JSON, with or without raw tensors behind it.
 */
#include "serve/codec.h"
#include "serve/service.h"

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

void cab_api_infer(cab_service *s, cab_exchange *x, const cab_target *t)
{
    cab_loaded *l = cab_find_loaded(s, x, t->model, t->version);
    cab_infer *q = l ? cab_infer_begin(x, l, cab_json_encode) : NULL;
    if (!q)
        return;
    int64_t n = json_bytes(x);
    if (cab_exchange_field(x, "content-encoding").n) {
        cab_exchange_refuse(x, 415, "compressed requests are not taken");
        return;
    }
    if (n < 0) {
        cab_exchange_refuse(x, 400, "'Inference-Header-Content-Length' is no number of bytes within the body");
        return;
    }
    cab_slice text = { x->body.p, (size_t)n }, tail = { x->body.p + n, x->body.n - (size_t)n };
    if (cab_json_decode(q, text, tail))
        cab_infer_submit(q);
    else
        cab_infer_refuse(q);
}
