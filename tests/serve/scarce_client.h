/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scarce_client.h - the requests of test_scarce.c, and a client of HTTP/1.1 and HTTP/2 that notices everything.
 */
#ifndef CAB_TESTS_SERVE_SCARCE_CLIENT_H
#define CAB_TESTS_SERVE_SCARCE_CLIENT_H
#include <stdbool.h>
#include <stddef.h>

typedef struct answer {
    int status, grpc_status;           /* grpc_status -1: none came */
    unsigned char *p;                  /* the body */
    size_t n;
    bool whole;                        /* it came to its end */
    bool closed;                       /* the connection did (or, HTTP/2, the stream was reset) */
    bool late;                         /* neither did in its time */
} answer;

typedef enum kind { KIND_BYTES, KIND_JSON, KIND_TEXT } kind;       /* same bytes; JSON; anything */

typedef struct request {
    const char *name, *method, *path;
    const char *fields;                /* "name: value\r\n"..., as HTTP/1.1 has them */
    unsigned char *body;
    size_t n;
    bool http2, grpc, streamed;
    kind kind;                         /* what of its answers is always the same */
    int status;                        /* of success; others are between 200 and 299, too */
    int most;                          /* allocations to try at most; 0: not tried */
    bool always;                       /* others need it */
    char *serial;                      /* six digits of the body that make each attempt a new one; or NULL */
    answer right;
} request;

request *requests_make(size_t *n);
void requests_free(request *r, size_t n);

typedef struct client {
    int fd;
    bool used;                         /* something was answered */
    void *session;                     /* nghttp2's */
} client;

void client_open(client *c, int port, bool http2);
void client_close(client *c);
void client_ask(client *c, const request *q, answer *a);
void answer_fini(answer *a);

bool request_succeeded(const request *q, const answer *a);
/* It says that it is the server's fault. */
bool request_excused(const request *q, const answer *a);
/* It is what `right` is. */
bool request_agrees(const request *q, const answer *a);

#endif
