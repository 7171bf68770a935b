/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scarce_requests.c - what test_scarce.c asks: a row each, every route and call that allocates in its own way.
 */
#include "tests/serve/scarce_client.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/wire.h"

enum { MOST = 64, ALL = 300, SOME = 100, FEW = 24 };
static request rows[MOST];
static size_t n_rows;

static request *add(const char *name, const char *method, const char *path, const void *body, size_t n)
{
    if (n_rows == MOST)
        abort();
    request *q = &rows[n_rows++];
    *q = (request){ .name = name, .method = method, .path = path, .n = n, .status = 200, .most = ALL };
    q->body = malloc(n + 1);
    if (!q->body)
        abort();
    if (n)
        memcpy(q->body, body, n);
    return q;
}

static request *get(const char *name, const char *path) { return add(name, "GET", path, "", 0); }
static request *post(const char *name, const char *path, const char *body) { return add(name, "POST", path, body, strlen(body)); }

/* ---- a model of Relu ---- */

static char *model_text(void)
{
    wire m = m_one_node(17, m_node("Relu", "x", "y"));
    char *text = malloc(m.n / 3 * 4 + 8);
    if (!text)
        abort();
    EVP_EncodeBlock((unsigned char *)text, m.p, (int)m.n);
    w_free(&m);
    return text;
}

static void add_register(const char *model)
{
    char body[2048];
    snprintf(body, sizeof body, "{\"name\":\"m\",\"model\":\"%s\"}", model);
    post("register first", "/register", body)->always = true;
    rows[n_rows - 1].most = 0;
    rows[n_rows - 1].kind = KIND_JSON;
    post("register again", "/register", body)->most = SOME;
}

/* Another tag, another version: it is built each time. */
static void add_build(const char *model)
{
    char body[2048];
    snprintf(body, sizeof body, "{\"tags\":[\"000000\"],\"name\":\"b\",\"model\":\"%s\"}", model);
    request *q = post("register build", "/register", body);
    q->kind = KIND_JSON;
    q->most = FEW;
    q->serial = (char *)q->body + strlen("{\"tags\":[\"");
}

/* ---- bodies ---- */

static const char infer[] = "{\"id\":\"7\",\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,4],\"data\":[1,-2,3,4]}],"
                            "\"outputs\":[{\"name\":\"y\"}]}";

static void add_infer(void)
{
    static const char head[] = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,4],\"parameters\":"
                               "{\"binary_data_size\":16}}],\"parameters\":{\"binary_data_output\":true}}";
    static char fields[64], binary[sizeof head + 16];
    const float x[4] = { 1, -2, 3, 4 };
    post("infer", "/v2/models/m/infer", infer);
    memcpy(binary, head, sizeof head - 1);
    memcpy(binary + sizeof head - 1, x, sizeof x);
    snprintf(fields, sizeof fields, "Inference-Header-Content-Length: %zu\r\n", sizeof head - 1);
    add("infer binary", "POST", "/v2/models/m/infer", binary, sizeof head - 1 + sizeof x)->fields = fields;
    add("infer raw", "POST", "/v2/models/m/infer", x, sizeof x)->fields = "Inference-Header-Content-Length: 0\r\n";
    post("call", "/call", "{\"name\":\"m\",\"inputs\":{\"x\":[[1,2,3,-4]]}}");
    post("predict", "/predict", "{\"X\":[1,2,3,-4],\"model\":\"m\"}");
    post("predict alone", "/predict", "{\"X\":[1,2,3,-4]}");
}

/* So large that a worker reads it, and answered by more than a socket takes at once. */
static void add_large(void)
{
    enum { ROWS = 60000 };
    char *body = malloc(ROWS * 16 + 200), *p = body;
    if (!body)
        abort();
    p += sprintf(p, "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[%d,4],\"data\":[", ROWS);
    for (int i = 0; i < ROWS; i++)
        p += sprintf(p, i ? ",1,2,3,4" : "1,2,3,4");
    sprintf(p, "]}]}");
    post("infer large", "/v2/models/m/infer", body)->most = SOME;
    free(body);
}

/* ---- gRPC ---- */

/* Appends message w as a frame to body and frees it. */
static void frame(wire *body, wire w)
{
    const unsigned char prefix[5] = { 0, 0, 0, (unsigned char)(w.n >> 8), (unsigned char)w.n };
    w_bytes(body, prefix, sizeof prefix);
    w_bytes(body, w.p, w.n);
    w_free(&w);
}

static wire infer_message(const char *id)
{
    const float x[4] = { 1, -2, 3, 4 };
    wire w = { 0 }, t = { 0 };
    w_str(&t, 1, "x");
    w_str(&t, 2, "FP32");
    w_blob(&t, 3, "\1\4", 2);
    w_str(&w, 1, "m");
    w_str(&w, 3, id);
    w_sub(&w, 5, t);
    w_blob(&w, 7, x, sizeof x);
    return w;
}

static request *call(const char *name, const char *path, wire message)
{
    wire body = { 0 };
    frame(&body, message);
    request *q = add(name, "POST", path, body.p, body.n);
    q->http2 = q->grpc = true;
    q->status = 0;
    w_free(&body);
    return q;
}

static wire named(int field, const char *name)
{
    wire w = { 0 };
    w_str(&w, field, name);
    return w;
}

#define RPC(name) "/inference.GRPCInferenceService/" name

static void add_calls(void)
{
    wire none = { 0 }, two = { 0 };
    call("grpc live", RPC("ServerLive"), none);
    call("grpc ready", RPC("ModelReady"), named(1, "m"));
    call("grpc server", RPC("ServerMetadata"), none);
    call("grpc metadata", RPC("ModelMetadata"), named(1, "m"));
    call("grpc config", RPC("ModelConfig"), named(1, "m"));
    call("grpc statistics", RPC("ModelStatistics"), named(1, "m"))->kind = KIND_TEXT;
    call("grpc infer", RPC("ModelInfer"), infer_message("7"));
    frame(&two, infer_message("1"));
    frame(&two, infer_message("2"));
    request *q = call("grpc stream", RPC("ModelStreamInfer"), none);
    free(q->body);
    *q = (request){ .name = q->name, .method = q->method, .path = q->path, .http2 = true, .grpc = true, .streamed = true,
                    .body = two.p, .n = two.n, .most = ALL };
    call("grpc index", RPC("RepositoryIndex"), none)->most = SOME;
    call("grpc load", RPC("RepositoryModelLoad"), named(2, "m"))->most = SOME;
    call("grpc none", RPC("None"), none)->status = 12;
}

/* ---- all ---- */

static void add_looks(void)
{
    get("live", "/v2/health/live");
    get("ready", "/v2/health/ready");
    get("server", "/v2");
    get("models", "/v2/models")->most = SOME;
    get("metadata", "/v2/models/m");
    get("model ready", "/v2/models/m/ready");
    get("config", "/v2/models/m/config");
    get("statistics", "/v2/models/m/stats")->kind = KIND_JSON;
    get("all statistics", "/v2/models/stats")->kind = KIND_JSON;
    get("metrics", "/metrics")->kind = KIND_TEXT;
    get("openapi", "/openapi.json");
    get("unknown model", "/v2/models/none")->status = 404;
    get("unknown path", "/none")->status = 404;
    post("bad infer", "/v2/models/m/infer", "{\"inputs\":[1]}")->status = 400;
}

static void add_changes(const char *model)
{
    post("index", "/v2/repository/index", "{}")->most = SOME;
    post("discover", "/discover", "{\"name\":\"m\",\"io\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,4]}")->most = SOME;
    post("label", "/v2/models/m/labels", "{\"name\":\"stable\",\"version\":1}")->most = SOME;
    post("policy", "/v2/models/m/policy", "{\"latest\":1}")->most = SOME;
    post("load", "/v2/repository/models/m/load", "{\"parameters\":{\"config\":\"{\\\"max_batch_size\\\":4}\"}}")->most = SOME;
    post("unload", "/v2/repository/models/m/unload", "")->most = SOME;
    post("load again", "/v2/repository/models/m/load", "")->most = SOME;
    rows[n_rows - 1].always = true;
    add_build(model);
}

static void add_http2(void)
{
    get("http2 live", "/v2/health/live")->http2 = true;
    post("http2 infer", "/v2/models/m/infer", infer)->http2 = true;
    get("http2 openapi", "/openapi.json")->http2 = true;
    get("http2 unknown", "/v2/models/none")->http2 = true;
    rows[n_rows - 1].status = 404;
}

request *requests_make(size_t *n)
{
    char *model = model_text();
    n_rows = 0;
    add_register(model);
    add_looks();
    add_infer();
    add_large();
    add_http2();
    add_calls();
    add_changes(model);
    free(model);
    *n = n_rows;
    return rows;
}

void requests_free(request *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(r[i].body);
        answer_fini(&r[i].right);
    }
}
