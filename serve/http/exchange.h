/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.h - one request and its answer, whichever protocol carries it.
 *
 * The carrier (conn_http1.c, conn_http2.c) fills in the request on its I/O
 * thread and hands the exchange to the routes.  From then on one party has it:
 * a handler, perhaps on another thread, until cab_exchange_answer() gives it
 * back.  That may be called on any thread, exactly once.  When the client goes
 * away before, `cancel` is called on the I/O thread (the handler may be about
 * to answer on another one) and the answer is thrown away.
 */
#ifndef CAB_SERVE_EXCHANGE_H
#define CAB_SERVE_EXCHANGE_H
#include "base/diag.h"
#include "serve/http/http1.h"
#include "serve/pieces.h"
#include <stdatomic.h>
#include <stdint.h>

typedef enum cab_method {
    CAB_METHOD_OTHER, CAB_METHOD_GET, CAB_METHOD_HEAD, CAB_METHOD_POST, CAB_METHOD_PUT,
    CAB_METHOD_DELETE, CAB_METHOD_OPTIONS, CAB_METHOD_COUNT
} cab_method;
cab_method cab_method_of(cab_slice name);
const char *cab_method_name(cab_method m);

/* A header field; request names are in lower case. */
typedef cab_http1_field cab_field;
enum { CAB_GRPC_PREFIX = 5 };  /* of a message of gRPC: compressed?, its length in 4 bytes */
enum { CAB_FIELDS_MAX = CAB_HTTP1_MAX_FIELDS, CAB_ANSWER_FIELDS = 8 };

/* What a stream of messages waits for. */
typedef enum cab_pace { CAB_PACE_NONE, CAB_PACE_REST, CAB_PACE_BODY, CAB_PACE_WRITE, CAB_PACE_OURS } cab_pace;

struct cab_conn;
struct cab_loop;
struct cab_resident;
struct cab_server;
typedef struct cab_exchange cab_exchange;

struct cab_exchange {
    /* ---- the request: read only for handlers, until the answer ---- */
    cab_method method;
    cab_slice path, query;             /* as sent; query without '?' */
    const cab_field *fields;
    int n_fields;
    cab_slice body;
    int64_t begun_ns, arrived_ns;      /* monotonic: its head (HTTP/2; of a stream of messages the stream's), its last byte */
    bool http2, grpc;

    /* ---- the answer: the handler's ---- */
    int status;
    const char *type;                  /* Content-Type; NULL without a body */
    cab_field answer_fields[CAB_ANSWER_FIELDS];  /* names in lower case; text in mem, or static */
    int n_answer_fields;
    cab_bytes out;                     /* the body */
    int grpc_status;                   /* of the trailers; its text, UTF-8, in grpc_message */
    cab_bytes grpc_message;

    /* ---- whoever has it ---- */
    struct cab_server *server;
    void (*cancel)(cab_exchange *x);   /* set before the exchange leaves its I/O thread; or NULL */
    void (*release)(cab_exchange *x);  /* called on the I/O thread when `user` is no longer needed */
    void *user;
    cab_pieces mem;                    /* memory of handlers, until the answer has been sent */

    /* ---- what the log says of it (access.h); texts are static or in mem ---- */
    const char *route;                 /* the pattern of its path, or what of it is known; NULL: nobody looked */
    cab_slice model, version;          /* that it asks for, or {NULL, 0}; as the client spelt them */
    struct cab_resident *loaded;       /* what it got, until release; or NULL */
    const char *who, *peer;            /* its token's name, its client's address; or NULL */
    const char *why;                   /* of a failure that is the server's (5xx) */
    size_t came;                       /* bytes of the body, as they came */
    bool known;                        /* model and version are the server's own texts */
    bool changes;                      /* it may change what is registered or loaded */

    /* ---- the carrier's ---- */
    struct cab_loop *loop;
    struct cab_conn *conn;             /* NULL: the client has gone */
    int32_t stream;                    /* HTTP/2 */
    int64_t deadline_ns;               /* HTTP/2: of what its client still has to do ... */
    int64_t since_ns;                  /* ... since then ... */
    size_t moved;                      /* ... and bytes that came or went meanwhile */
    bool whole, answering;             /* HTTP/2: the request has ended; the answer has begun */
    bool ready;                        /* HTTP/2: in its connection's line of that name */
    bool streamed;                     /* gRPC: messages come and go one by one ... */
    size_t taken, held;                /* ... so much of body_bytes was theirs; came, and the window is closed for it; ... */
    bool over;                         /* ... no more of them is taken: answers that wait, then the end; ... */
    cab_pace pace;                     /* ... what the deadline is for; ... */
    cab_exchange *part;                /* ... this one is a handler's now */
    cab_exchange *parent;              /* of a part: its stream; NULL when that has gone */
    bool is_part;
    bool given;                        /* a handler has it */
    bool answered;                     /* ... and gave it back before it returned */
    bool away;                         /* a worker has it (workers.h): its I/O thread looks at nothing of it */
    atomic_bool gone;                  /* nobody waits for the answer */
    void (*resume)(cab_exchange *x);   /* what the I/O thread does when the worker is done */
    void *resume_arg;
    size_t sent;                       /* of out */
    size_t reserved;                   /* of the budget of all bodies */
    cab_bytes head;                    /* what the slices of the request point into */
    cab_bytes body_bytes;
    cab_field field_space[CAB_FIELDS_MAX];
    cab_exchange *next;                /* in an inbox, a queue, or to be used again */
    cab_exchange *next_stream;         /* of its connection */
};

/* Field of the request by its lower-case name; n = 0, p = NULL when absent. */
cab_slice cab_exchange_field(const cab_exchange *x, const char *name);
/* Adds a field to the answer; both texts must outlive the exchange (static, or in mem). */
void cab_exchange_put_field(cab_exchange *x, const char *name, cab_slice value);
/* Gives the exchange back, answered.  [any thread] */
void cab_exchange_answer(cab_exchange *x);
/* Sets an answer {"error": text}; of gRPC: the status that goes with the HTTP status, and the text. */
void cab_exchange_say(cab_exchange *x, int status, const char *text);
/* Of gRPC: how the call ends, likewise; what is answered already stays. */
void cab_exchange_end(cab_exchange *x, int status, const char *text);
/* Says it and gives the exchange back. */
void cab_exchange_refuse(cab_exchange *x, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Refuses with the first story of d, and its notes. */
void cab_exchange_fail(cab_exchange *x, const cab_diag *d);
/* Gives it back with nothing to say: 200, or an empty message. */
void cab_exchange_done(cab_exchange *x);
/* For the log: the model that x is for, where its path does not say; version 0: none. */
void cab_exchange_name(cab_exchange *x, const char *model, int64_t version);
/* Calls the server's handler; true: it is answered already.  [its I/O thread] */
bool cab_exchange_handle(cab_exchange *x);
/* Asks the server whether x, a head whose messages come one by one, may begin; false: it is answered.  [its I/O thread] */
bool cab_exchange_opens(cab_exchange *x);
/* The last thing that a handler does when that gives x to another thread: at once or, where the handler runs on
 * a worker, when x is on its I/O thread again. */
void cab_exchange_then(cab_exchange *x, void (*next)(cab_exchange *x), void *arg);
/* Calls work(x), which answers or says cab_exchange_then, unless x is answered and has only to be packed; then x
 * goes back to its I/O thread.  [worker] */
void cab_exchange_work(cab_exchange *x, void (*work)(cab_exchange *x));
/* An exchange that a worker gave back: true: it is answered.  [its I/O thread] */
bool cab_exchange_resume(cab_exchange *x);
/* Its client has gone.  [its I/O thread] */
void cab_exchange_abandon(cab_exchange *x);
/* Empties an exchange for its next request; keeps memory of ordinary size. */
void cab_exchange_reset(cab_exchange *x);
void cab_exchange_fini(cab_exchange *x);

#endif
