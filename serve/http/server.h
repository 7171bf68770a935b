/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - connections and loops as one struct: carries requests to `handle` and its answers back.
 */
#ifndef CAB_SERVE_SERVER_H
#define CAB_SERVE_SERVER_H
#include "serve/http/conn.h"
#include "serve/http/exchange.h"
#include "serve/http/loop.h"

typedef struct cab_tls cab_tls;
typedef struct cab_server cab_server;

/* What a client may ask for, and how long it may take; times in ms. */
typedef struct cab_limits {
    size_t head_bytes;         /* of one request */
    size_t body_bytes;         /* of one request */
    size_t answer_bytes;       /* of one answer */
    size_t all_bodies;         /* of all requests under way together */
    int conns;                 /* connections at once, all loops */
    int streams;               /* HTTP/2 streams of one connection */
    int idle_ms;               /* between two requests */
    int head_ms;               /* from the first byte of a head to its last */
    int body_ms;               /* from the head to the last byte of the body, and a second per */
    int write_ms;              /* ... for an answer likewise, and a second per */
    size_t slowest;            /* bytes */
} cab_limits;
extern const cab_limits cab_limits_default;

struct cab_server {
    cab_limits limits;
    cab_tls *tls;              /* NULL: plain only */
    cab_loop *loops;
    int n_loops;
    int64_t poll_ns;           /* so long after an event I/O threads look for the next before they sleep */
    atomic_bool draining;      /* unready, still serving */
    atomic_int conns;
    atomic_size_t bodies;      /* bytes of request bodies held */
    /* Takes a whole request; answers it, now or later, exactly once. */
    void (*handle)(struct cab_server *s, cab_exchange *x);
    /* The head of a stream of gRPC messages has come: false: refused, and answered.  NULL: none is. */
    bool (*opens)(cab_exchange *x);
    /* x, one message of a stream of gRPC, is answered: its failure becomes a message, too; or NULL.  [its I/O thread] */
    void (*part)(cab_exchange *x);
    /* May change the answer of x on its way out; or NULL.  io: this is its I/O thread, and false: a worker has it
     * now, for this.  [whoever has x] */
    bool (*pack)(cab_exchange *x, bool io);
    /* x goes; or NULL.  [its I/O thread] */
    void (*ended)(struct cab_server *s, cab_exchange *x);
    void *user;                /* of handle, opens, part, pack, ended */
};

/* ---- tls.c ---- */
struct ssl_st;
/* Certificate chain, key and (or NULL) the authorities of client certificates, PEM files. */
cab_status cab_tls_create(const char *cert, const char *key, const char *client_ca, cab_tls **out, cab_diag *d);
void cab_tls_destroy(cab_tls *t);
/* Reads the files again; what is open keeps the old ones.  [any thread] */
cab_status cab_tls_reload(cab_tls *t, cab_diag *d);
/* A new server side of a connection; NULL when out of memory.  [any thread] */
struct ssl_st *cab_tls_session(cab_tls *t);

#endif
