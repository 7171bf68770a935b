/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.h - which handler a request is for.
 */
#ifndef CAB_SERVE_ROUTE_H
#define CAB_SERVE_ROUTE_H
#include "base/diag.h"
#include "serve/http/exchange.h"

struct cab_service;

/* What a token allows; each includes those before it. */
typedef enum cab_role { CAB_ROLE_PUBLIC, CAB_ROLE_READ, CAB_ROLE_CALL, CAB_ROLE_ADMIN, CAB_ROLE_COUNT } cab_role;

/* The path's variable segments, decoded; empty when the path has none.  They live as long as the exchange. */
typedef struct cab_target { cab_slice model, version; } cab_target;
/* Answers x, now or later, exactly once. */
typedef void (*cab_handler)(struct cab_service *s, cab_exchange *x, const cab_target *t);

typedef struct cab_route {
    const char *id, *path, *doc;
    const char *body, *answer; /* names of schemas (schemas.json); "": none, "text": plain text */
    cab_method method;
    cab_role role;
    cab_handler handler;
} cab_route;
extern const cab_route cab_routes[];
extern const int cab_n_routes;

/* The row for x, with *t; or NULL with an answer already set (400, 404, 405).  x->route is what is known of the path. */
const cab_route *cab_route_find(cab_exchange *x, cab_target *t);
/* CAB_EINVAL: a model of that name could not be asked for, a path of its own is there. */
cab_status cab_route_leaves(const char *model, cab_diag *d);

#endif
