/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers.h - the interface: the handlers of its paths, and what they share.
 *
 * A handler takes a whole request on its I/O thread, on a worker or on the control thread, and answers it exactly
 * once (exchange.h); what it says of failures is in the story.
 */
#ifndef CAB_SERVE_HANDLERS_H
#define CAB_SERVE_HANDLERS_H
#include "serve/service.h"

struct json_t;

#define ROUTE(id, method, path, handler, role, body, answer, doc) \
    void cab_api_##handler(cab_service *s, cab_exchange *x, const cab_target *t);
#include "serve/routes.def"

/* The body as an object (json_decref it); may_be_empty: none is {}. */
cab_status cab_body_read(const cab_exchange *x, bool may_be_empty, struct json_t **out, cab_diag *d);
/* A version as number or text; NULL: 0. */
cab_status cab_version_read(const struct json_t *v, int64_t *out, cab_diag *d);
/* A base64 text's bytes, in mem. */
cab_status cab_base64_read(cab_pieces *mem, const struct json_t *v, void **out, size_t *n, cab_diag *d);
/* The version of a model that a request is for, with a reference; NULL: answered (404). */
cab_resident *cab_find_loaded(cab_service *s, cab_exchange *x, cab_slice model, cab_slice version);
/* Milliseconds since 1970 of a time of CLOCK_MONOTONIC; 0 stays 0. */
uint64_t cab_wall_ms(int64_t monotonic_ns);

/* ---- api_meta.c ---- */
extern const char *const cab_extensions[];      /* of the protocol; NULL ends them */
/* ---- api_repository.c ---- */
typedef struct cab_index_row { const char *name, *version, *state, *reason; } cab_index_row;
/* The registry's versions, as the protocol that x came by wants them. */
void cab_index_repository(cab_service *s, cab_exchange *x, bool only_ready);
/* ---- grpc.c, api_grpc.c ---- */
void cab_grpc_handle(cab_service *s, cab_exchange *x);
/* The head of a stream of messages; false: there is no such call, or not for this client: answered. */
bool cab_grpc_opens(cab_exchange *x);
/* Of an exchange that is one message of a stream: its failure as a message, too. */
void cab_grpc_part(cab_exchange *x);
void cab_grpc_index(cab_exchange *x, const cab_index_row *rows, size_t n);
/* ---- openapi.c ---- */
/* The document, from the rows of routes.def; false: out of memory. */
bool cab_openapi_write(cab_bytes *out);
/* ---- metrics.c ---- */
/* Every figure as text; false: out of memory.  [any thread] */
bool cab_metrics_write(cab_service *s, cab_bytes *out);

#endif
