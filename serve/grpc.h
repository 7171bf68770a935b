/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.h - the gRPC interface: frames, messages, and the handlers of its calls.
 */
#ifndef CAB_SERVE_GRPC_H
#define CAB_SERVE_GRPC_H
#include "serve/call.h"
#include "serve/handlers.h"
#include "serve/oip.pb-c.h"

/* Appends m as a frame to the answer; false: out of memory. */
bool cab_grpc_put(cab_exchange *x, const ProtobufCMessage *m);
/* x answered with status 0 by one message. */
void cab_grpc_answer(cab_exchange *x, const ProtobufCMessage *m);

/* The handlers; request is the unpacked message of their row. */
#define RPC(Name, prefix, handler, role) void cab_rpc_##handler(cab_service *s, cab_exchange *x, void *request);
#include "serve/rpcs.def"

/* ---- codec_grpc.c ---- */
/* Fills q from r, to which it refers from then on.  False: q->why. */
bool cab_grpc_decode(cab_infer *q, const Inference__ModelInferRequest *r);
/* Writes q's outputs as the answer of its exchange.  False: q->why. */
bool cab_grpc_encode(cab_infer *q);

#endif
