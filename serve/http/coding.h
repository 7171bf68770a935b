/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coding.h - compressed bodies: of requests, opened before a handler sees them, and of answers.
 */
#ifndef CAB_SERVE_CODING_H
#define CAB_SERVE_CODING_H
#include "serve/http/exchange.h"
#include "serve/http/flate.h"

/* By the Content-Encoding of x; UNKNOWN: none that is taken, or more than one. */
cab_coding cab_body_coding(const cab_exchange *x);

/* Puts what `in` (of x's body) holds in the place of the body, within the limits of bodies.  0: done; -1: it is
 * work for a worker, which calls this again; else the HTTP status, and why.  x is as before unless it is 0. */
int cab_body_open(cab_exchange *x, cab_coding c, cab_slice in, const char **why);
/* A compressed body of n bytes goes to a worker at once. */
bool cab_body_is_long(size_t n);

/* Compresses the answer where its client accepts that and it gains something.  False: it is long, and `here` is an
 * I/O thread: it has to be done elsewhere. */
bool cab_answer_pack(cab_exchange *x, bool here);

#endif
