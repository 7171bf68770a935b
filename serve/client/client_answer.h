/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_answer.h - just enough of an HTTP/1.1 answer to know its status and its end.
 *
 * For the load generator, which has no use for fields and bodies: a body must
 * have a length.  What a server under test sends is not checked otherwise.
 */
#ifndef CAB_SERVE_CLIENT_ANSWER_H
#define CAB_SERVE_CLIENT_ANSWER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CAB_ANSWER_HEAD = 2048 };

typedef enum cab_answer_got { CAB_ANSWER_MORE, CAB_ANSWER_DONE, CAB_ANSWER_BROKEN } cab_answer_got;

/* {0} waits for an answer. */
typedef struct cab_answer {
    int status;                /* once the head was read */
    bool close;                /* the server ends the connection */
    bool in_body;
    uint64_t left;             /* of the body */
    size_t kept;               /* of a head that came in pieces */
    char head[CAB_ANSWER_HEAD];
} cab_answer;

/* The next n bytes.  DONE: the answer is whole (what follows it is dropped); the next call begins another. */
cab_answer_got cab_answer_read(cab_answer *a, const char *p, size_t n);

#endif
