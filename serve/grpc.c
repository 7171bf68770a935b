/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.c - from frames to messages to handlers.
 *
 * Messages are unpacked into the exchange's memory, within a budget: a small
 * message can ask for a hundred times its size (protobuf-c allocates per field).
 */
#include "serve/grpc.h"

#define SERVICE "/inference.GRPCInferenceService/"

typedef struct rpc {
    const char *path;
    const ProtobufCMessageDescriptor *request;
    cab_role role;
    void (*handler)(cab_service *s, cab_exchange *x, void *request);
} rpc;

static const rpc rpcs[] = {
#define RPC(Name, prefix, handler, role) \
    { SERVICE #Name, &inference__##prefix##_request__descriptor, CAB_ROLE_##role, cab_rpc_##handler },
#include "serve/rpcs.def"
};

static const rpc *find(cab_slice path)
{
    for (size_t i = 0; i < sizeof rpcs / sizeof *rpcs; i++)
        if (cab_slice_is(path, rpcs[i].path))
            return &rpcs[i];
    return NULL;
}

/* ---- messages in ---- */

typedef struct budget { cab_pieces *mem; size_t left; bool starved; } budget;

static void *take(void *data, size_t n)
{
    budget *b = data;
    if (n > b->left)
        return NULL;
    b->left -= n;
    void *p = cab_pieces_take(b->mem, n);
    b->starved = b->starved || !p;
    return p;
}

static void leave(void *data, void *p)
{
    (void)data;                        /* the exchange's memory goes as a whole */
    (void)p;
}

/* A compressed message takes the place of the body; false: answered, or a worker opens it. */
static bool open_message(cab_exchange *x, unsigned char flag, cab_slice message)
{
    cab_coding c = cab_coding_of(cab_exchange_field(x, "grpc-encoding"));
    if (flag == 1 && (c == CAB_CODING_GZIP || c == CAB_CODING_DEFLATE))
        return cab_service_open(x, c, message);
    if (flag > 1)
        cab_exchange_refuse(x, 400, "the message's first byte is neither 0 nor 1");
    else if (c == CAB_CODING_NONE)     /* as gRPC's specification has it */
        cab_exchange_refuse(x, 500, "the message is compressed, and grpc-encoding does not say how");
    else
        cab_exchange_refuse(x, 501, "messages are taken in gzip and deflate only");
    return false;
}

static ProtobufCMessage *unpack(cab_exchange *x, const rpc *r)
{
    const unsigned char *p = (const unsigned char *)x->body.p;
    enum { FLOOR = 1 << 20, FACTOR = 8 };
    if (x->body.n < CAB_GRPC_PREFIX) {
        cab_exchange_refuse(x, 400, "the request has no message");
        return NULL;
    }
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (n != x->body.n - CAB_GRPC_PREFIX) {
        cab_exchange_refuse(x, 400, "the request must be one message");
        return NULL;
    }
    cab_slice message = { x->body.p + CAB_GRPC_PREFIX, n };
    if (p[0]) {
        if (!open_message(x, p[0], message))
            return NULL;
        message = x->body;
    }
    budget b = { &x->mem, FLOOR + FACTOR * message.n, false };
    ProtobufCAllocator a = { take, leave, &b };
    ProtobufCMessage *m = protobuf_c_message_unpack(r->request, &a, message.n, (const uint8_t *)message.p);
    if (!m && b.starved)
        cab_exchange_refuse(x, 503, "out of memory");
    else if (!m)
        cab_exchange_refuse(x, 400, "the message cannot be parsed, or takes too much memory");
    return m;
}

/* ---- messages out ---- */

bool cab_grpc_put(cab_exchange *x, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    unsigned char *to = n <= UINT32_MAX ? (unsigned char *)cab_bytes_room(&x->out, CAB_GRPC_PREFIX + n) : NULL;
    if (!to)
        return false;
    to[0] = 0;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (unsigned char)(n >> (24 - 8 * i));
    protobuf_c_message_pack(m, to + CAB_GRPC_PREFIX);
    cab_bytes_wrote(&x->out, CAB_GRPC_PREFIX + n);
    return true;
}

void cab_grpc_answer(cab_exchange *x, const ProtobufCMessage *m)
{
    x->type = "application/grpc";
    if (cab_grpc_put(x, m))
        cab_exchange_answer(x);
    else
        cab_exchange_refuse(x, 503, "out of memory for the answer");
}

void cab_grpc_part(cab_exchange *x)
{
    Inference__ModelStreamInferResponse r = INFERENCE__MODEL_STREAM_INFER_RESPONSE__INIT;
    if (!x->grpc_status)
        return;
    const char *why = cab_bytes_cstr(&x->grpc_message);
    r.error_message = (char *)(uintptr_t)(*why ? why : "out of memory");
    cab_bytes_clear(&x->out);
    cab_grpc_put(x, &r.base);
}

/* The model that a request names, as every message of the protocol spells it; empty when it names none. */
static cab_slice model_of(const ProtobufCMessage *m)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "model_name");
    if (!f)
        f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "name");
    return f ? cab_slice_of(*(char *const *)(const void *)((const char *)m + f->offset)) : (cab_slice){ NULL, 0 };
}

/* The call that x asks for, if its client may at all; NULL: answered. */
static const rpc *call_of(cab_exchange *x)
{
    const rpc *r = find(x->path);
    x->route = r ? r->path : "...";
    x->changes = r && r->role == CAB_ROLE_ADMIN;
    if (!r)
        cab_exchange_refuse(x, 501, "no such call");
    else if (x->method != CAB_METHOD_POST)
        cab_exchange_refuse(x, 405, "calls are POST");
    else if (cab_service_allows(x, r->role, (cab_slice){ NULL, 0 }) && cab_service_takes(x, r->role))
        return r;
    return NULL;
}

bool cab_grpc_opens(cab_exchange *x)
{
    if (x->loop != &cab_service_of(x)->health)
        return call_of(x) != NULL;
    cab_exchange_refuse(x, 501, "this port is for health and metrics");
    return false;
}

void cab_grpc_handle(cab_service *s, cab_exchange *x)
{
    const rpc *r = call_of(x);
    ProtobufCMessage *m = r ? unpack(x, r) : NULL;
    if (m && cab_service_allows(x, r->role, x->model = model_of(m)))
        r->handler(s, x, m);
}
