/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec.h - inference requests and answers <-> bytes of a protocol.
 */
#ifndef CAB_SERVE_CODEC_H
#define CAB_SERVE_CODEC_H
#include "serve/call.h"

/* ---- REST (codec_json.c): text, and raw tensors behind it ---- */
/* Fills q from the text, and raw tensors from the tail.  False: q->why. */
bool cab_json_decode(cab_infer *q, cab_slice text, cab_slice tail);
/* Writes q's outputs as the answer of its exchange.  False: q->why. */
bool cab_json_encode(cab_infer *q);

#endif
