/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec.h - inference requests and answers <-> bytes of a protocol.
 */
#ifndef CAB_SERVE_CODEC_H
#define CAB_SERVE_CODEC_H
#include "serve/infer.h"

/* ---- REST (codec_json.c): text, and raw tensors behind it ---- */
/* False: q->why. */
bool cab_json_decode(cab_infer *q, cab_slice text, cab_slice tail);
bool cab_json_encode(cab_infer *q);

#endif
