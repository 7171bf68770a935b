/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_infer.c - bytes as inference requests: of the REST interface (JSON, behind
 * a NUL raw tensors), or, behind "grpc:", a ModelInferRequest.
 *
 * What is accepted gives every byte of its inputs, and is answered: the inputs
 * as outputs.  The answer's JSON is JSON, as long as its header field says.
 */
#include <stdlib.h>
#include <string.h>
#include "serve/codec.h"
#include "serve/grpc.h"
#include "serve/json/json_pull.h"
#include "tests/fuzz/fuzz_bare.h"

enum { N = 3 };
static cab_tensor_info tensors[N] = {
    { .name = "x", .dtype = CAB_TYPE_F32, .rank = 2, .dims = { -1, 3 } },
    { .name = "h", .dtype = CAB_TYPE_F16, .rank = 2, .dims = { -1, -1 } },
    { .name = "b", .dtype = CAB_TYPE_BOOL, .rank = 1, .dims = { 2 } },
};
static cab_resident model = { .name = "m", .version = 1, .version_text = "1", .n_inputs = N, .n_outputs = N,
                            .inputs = tensors, .outputs = tensors };

/* In the place of the scheduler's (linked with --wrap): the model here has no queue that could be full. */
__typeof__(cab_served_turns_away) __wrap_cab_served_turns_away;
bool __wrap_cab_served_turns_away(cab_served *s)
{
    return s != NULL;
}

static volatile unsigned sink;

/* Looks at every byte that a decoder promised. */
static void touch(const cab_infer *q)
{
    for (int i = 0; i < N; i++)
        for (size_t k = 0; q->inputs[i].data && k < q->inputs[i].bytes; k++)
            sink += ((const unsigned char *)q->inputs[i].data)[k];
}

/* The inputs that were given, as outputs; 0: some were not. */
static bool echo(cab_infer *q)
{
    for (int i = 0; i < N; i++) {
        if (!q->inputs[i].data)
            return false;
        q->outputs[i] = q->inputs[i];
    }
    return true;
}

static void check_answer(cab_exchange *x)
{
    size_t n = x->out.n;
    for (int i = 0; i < x->n_answer_fields; i++)
        n = (size_t)strtoul(x->answer_fields[i].value.p, NULL, 10);
    cab_json j;
    cab_json_token t;
    if (n > x->out.n)
        fuzz_finding("a header length beyond the answer");
    cab_json_init(&j, (cab_slice){ x->out.p, n }, &(cab_json_limits){ .names = true });
    while ((t = cab_json_next(&j)) != CAB_JSON_END)
        if (t == CAB_JSON_ERROR) {
            fuzz_finding("the answer is no JSON: %s at %zu: %.*s", j.why, j.at, (int)n, x->out.p);
            return;
        }
}

static void rest(cab_infer *q, const char *p, size_t n)
{
    const char *end = memchr(p, 0, n);
    cab_slice text = { p, end ? (size_t)(end - p) : n }, tail = { end ? end + 1 : p + n, end ? n - (size_t)(end - p) - 1 : 0 };
    if (!cab_json_decode(q, text, tail)) {
        fuzz_count(*q->why ? "refused" : "refused without a word");
        if (!*q->why)
            fuzz_finding("refused without a word");
        return;
    }
    touch(q);
    fuzz_count("taken");
    if (echo(q) && cab_infer_classify(q) && cab_json_encode(q))
        check_answer(q->x);
}

static void grpc(cab_infer *q, const char *p, size_t n)
{
    Inference__ModelInferRequest *r = inference__model_infer_request__unpack(NULL, n, (const uint8_t *)p);
    if (!r)
        return;
    if (cab_grpc_decode(q, r)) {
        touch(q);
        fuzz_count("taken by gRPC");
        if (echo(q) && (!cab_infer_classify(q) || !cab_grpc_encode(q)))
            fuzz_finding("no answer: %s", q->why);
    }
    inference__model_infer_request__free_unpacked(r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char magic[] = "grpc:";
    size_t skip = size >= sizeof magic - 1 && !memcmp(data, magic, sizeof magic - 1) ? sizeof magic - 1 : 0;
    cab_exchange x = { 0 };
    char *copy = malloc(size - skip + 1);          /* its end is where a sanitizer sees it */
    cab_infer *q;
    if (!copy)
        return 0;
    memcpy(copy, data + skip, size - skip);
    x.body = (cab_slice){ copy, size - skip };
    atomic_store(&model.refs, 2);
    if ((q = cab_infer_begin(&x, &model, cab_json_encode)))
        (skip ? grpc : rest)(q, copy, size - skip);
    if (q)
        x.release(&x);
    cab_exchange_fini(&x);
    free(copy);
    return 0;
}
