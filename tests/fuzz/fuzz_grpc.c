/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_grpc.c - bytes as the message of a call: the first says which (a row of rpcs.def), the rest goes through the
 * real dispatch, decoding, handlers, registry and encoding.
 *
 * There is one model, without a scheduler (linked with --wrap): its outputs are its inputs.  Nothing is built.  Every
 * message is answered once; an answer of success is a message of its call.
 */
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "serve/grpc.h"
#include "serve/repository.h"
#include "tests/fuzz/fuzz_bare.h"

enum { N = 3 };
static cab_tensor_info tensors[N] = {
    { .name = "x", .dtype = CAB_TYPE_F32, .rank = 2, .dims = { -1, 3 } },
    { .name = "h", .dtype = CAB_TYPE_F16, .rank = 1, .dims = { -1 } },
    { .name = "s", .dtype = CAB_TYPE_I8, .rank = 0 },
};
static cab_resident model = { .name = "m", .version = 1, .version_text = "1", .n_inputs = N, .n_outputs = N, .inputs = tensors,
                            .outputs = tensors, .max_batch = 4 };
static cab_service service;
static char folder[64];
static sem_t answered;

/* ---- in the place of scheduler, builds and loops ---- */

__typeof__(cab_served_turns_away) __wrap_cab_served_turns_away;
bool __wrap_cab_served_turns_away(cab_served *s) { return s != NULL; }

__typeof__(cab_served_get_stats) __wrap_cab_served_get_stats;
void __wrap_cab_served_get_stats(cab_served *s, cab_served_stats *out) { *out = (cab_served_stats){ .inferences = s ? 0 : 7 }; }

__typeof__(cab_served_get_batches) __wrap_cab_served_get_batches;
int64_t __wrap_cab_served_get_batches(cab_served *s, cab_batch_stats *out, int64_t n)
{
    memset(out, 0, (size_t)n * sizeof *out);
    out[1].count = out[3].count = s ? 0 : 2;
    return 4;
}

__typeof__(cab_served_get_config) __wrap_cab_served_get_config;
const cab_served_config *__wrap_cab_served_get_config(const cab_served *s)
{
    static const cab_served_config config = { .instances = 1, .threads = 1,
                                              .queue = { .max_batch = 4, .preferred = { 2, 4 }, .n_preferred = 2 } };
    return s ? NULL : &config;
}

static volatile unsigned sink;

__typeof__(cab_call_submit_inline) __wrap_cab_call_submit_inline;
void __wrap_cab_call_submit_inline(cab_served *s, cab_call *c)
{
    c->code = s ? CAB_RT_EINVAL : CAB_RT_OK;
    for (int i = 0; i < N; i++) {
        for (size_t k = 0; k < c->inputs[i].bytes; k++)
            sink += ((const unsigned char *)c->inputs[i].data)[k];
        c->outputs[i] = c->inputs[i];
    }
    c->done(c);
}

__typeof__(cab_call_release) __wrap_cab_call_release;
void __wrap_cab_call_release(cab_call *c) { c->user = NULL; }

__typeof__(cab_repository_begin) __wrap_cab_repository_begin;
cab_status __wrap_cab_repository_begin(cab_service *s, const char *name, cab_change *c, cab_diag *d)
{
    *c = (cab_change){ .model = name };
    return cab_registry_hold(s->registry, d);
}

__typeof__(cab_repository_end) __wrap_cab_repository_end;
cab_status __wrap_cab_repository_end(cab_service *s, cab_change *c, cab_status k, const char *afresh, cab_diag *d)
{
    (void)c;
    (void)afresh;
    return cab_registry_settle(s->registry, k, d);
}

__typeof__(cab_repository_build) __wrap_cab_repository_build;
cab_status __wrap_cab_repository_build(cab_service *s, const cab_version_info *v, const char *promise, cab_exchange *x, cab_diag *d)
{
    (void)s;
    (void)promise;
    (void)x;
    return cab_fail(d, CAB_EUNSUPPORTED, NULL, "%s version %lld is not built here", v->name, (long long)v->version);
}

__typeof__(cab_loop_post) __wrap_cab_loop_post;
void __wrap_cab_loop_post(cab_loop *l, cab_exchange *x)
{
    x->answered = l == NULL;
    sem_post(&answered);
}

/* ---- the service ---- */

static int wipe(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    (void)st;
    (void)kind;
    (void)f;
    return remove(path);
}

static void end(void)
{
    nftw(folder, wipe, 16, FTW_DEPTH | FTW_PHYS);
}

static void start(void)
{
    char root[96];
    char *argv[] = { (char *)"cab-serve", root, (char *)"--log=/dev/null", (char *)"--read-threads=1" };
    cab_resident *one = &model;
    cab_diag d;
    cab_diag_init(&d);
    snprintf(folder, sizeof folder, "%s/cab-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(folder))
        abort();
    atexit(end);
    snprintf(root, sizeof root, "--root=%s/root", folder);
    if (cab_service_init(&service, 4, argv, &d) != CAB_OK || sem_init(&answered, 0, 0))
        abort();
    atomic_init(&model.refs, 1);
    model.catalog = service.catalog;
    if (!cab_catalog_set(service.catalog, "m", &one, 1, 1, &(cab_name){ "stable", 1 }, 1))
        abort();
    atomic_store(&service.ready, true);
    cab_diag_fini(&d);
}

/* ---- calls ---- */

static const struct { const char *path; const ProtobufCMessageDescriptor *answer; } calls[] = {
#define RPC(Name, prefix, handler, role) \
    { "/inference.GRPCInferenceService/" #Name, &inference__##prefix##_response__descriptor },
#include "serve/rpcs.def"
};
enum { CALLS = sizeof calls / sizeof *calls };

static void check(const cab_exchange *x, size_t call)
{
    const unsigned char *p = (const unsigned char *)x->out.p;
    if (x->out.failed)
        fuzz_finding("no memory for the answer");
    if (x->grpc_status) {
        fuzz_count("refused");
        return;
    }
    const ProtobufCMessageDescriptor *d = x->is_part ? &inference__model_stream_infer_response__descriptor : calls[call].answer;
    size_t n = x->out.n < CAB_GRPC_PREFIX ? 0 : (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    ProtobufCMessage *m = x->out.n == CAB_GRPC_PREFIX + n ? protobuf_c_message_unpack(d, NULL, n, p + CAB_GRPC_PREFIX) : NULL;
    if (!m)
        fuzz_finding("%s: the answer is no message of it", calls[call].path);
    else
        protobuf_c_message_free_unpacked(m, NULL);
    fuzz_count("answered");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder)
        start();
    cab_exchange *x = calloc(1, sizeof *x);
    size_t call = size ? data[0] % CALLS : 0, n = size ? size - 1 : 0;
    char *body = malloc(CAB_GRPC_PREFIX + n);
    if (!x || !body)
        abort();
    for (int i = 0; i < 4; i++)
        body[1 + i] = (char)(n >> (24 - 8 * i));
    body[0] = 0;
    memcpy(body + CAB_GRPC_PREFIX, data + (size ? 1 : 0), n);
    x->server = &service.server;
    x->path = cab_slice_of(calls[call].path);
    x->body = (cab_slice){ body, CAB_GRPC_PREFIX + n };
    x->http2 = x->grpc = true;
    x->is_part = strstr(calls[call].path, "Stream") != NULL;
    x->parent = x->is_part ? x : NULL;
    x->method = CAB_METHOD_POST;
    struct cab_loop none = { .given = 0 };
    x->loop = &none;
    if (!cab_exchange_handle(x))
        while (sem_wait(&answered)) {  /* libFuzzer's alarm comes in between */
        }
    if (x->is_part)
        cab_grpc_part(x);
    check(x, call);
    if (x->release)
        x->release(x);
    cab_exchange_fini(x);
    free(body);
    free(x);
    return 0;
}
