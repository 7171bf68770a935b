/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - a client's connection: socket, TLS, deadlines; what it speaks is a carrier.
 *
 * All of it happens on the I/O thread of the connection.
 */
#ifndef CAB_SERVE_CONN_H
#define CAB_SERVE_CONN_H
#include "serve/http/loop.h"

struct bufferevent;
struct evbuffer;
struct event;
typedef struct cab_conn cab_conn;

/* How requests come out of bytes and answers go in. */
typedef struct cab_carrier {
    const char *name;
    /* Reads what there is; false: the connection is at its end (cab_conn_close was not called). */
    bool (*readable)(cab_conn *c);
    /* Where bytes of the connection may go at once, *n of them, instead of through its input: `readable` finds its input
     * there then.  NULL: nowhere.  May be missing.  [plain sockets] */
    char *(*sink)(cab_conn *c, size_t *n);
    /* The socket has taken everything written. */
    bool (*drained)(cab_conn *c);
    /* The connection's deadline has passed; writes a word to the client, or mends it and says true. */
    bool (*late)(cab_conn *c);
    /* Sends the answer of an exchange that came back. */
    bool (*answer)(cab_conn *c, cab_exchange *x);
    /* The server is draining: finish soon; now: what is idle is at its end. */
    bool (*drain)(cab_conn *c, bool now);
    /* The connection goes: exchanges under way are cancelled and let go. */
    void (*closed)(cab_conn *c);
} cab_carrier;
extern const cab_carrier cab_carrier_http1, cab_carrier_http2;

/* What a connection waits for; each has its time limit. */
typedef enum cab_waiting {
    CAB_WAIT_FIRST,            /* the first byte of a request: keep-alive */
    CAB_WAIT_HEAD,             /* the rest of a head (TLS handshakes too): absolute */
    CAB_WAIT_BODY,             /* the body; more time for what comes */
    CAB_WAIT_ANSWER,           /* ours: no limit here */
    CAB_WAIT_WRITE             /* the client reads the answer; more time for what it takes */
} cab_waiting;

struct cab_conn {
    cab_loop *loop;
    const cab_carrier *carrier;        /* NULL until the first bytes told which */
    int fd;
    bool secure, draining;
    bool closing;                      /* finished: goes when the socket has taken everything, ... */
    bool lingers;                      /* ... and the client has stopped sending, else it would lose the answer */
    bool again;                        /* in the loop's line of that name */
    bool ended;                        /* its client has sent its last byte, and takes answers to what it sent */
    cab_waiting waiting;
    int64_t deadline_ns;               /* monotonic; INT64_MAX: none */
    int64_t since_ns;                  /* BODY, WRITE: what it is reckoned from, ... */
    size_t moved;                      /* ... bytes that came since, or were queued (the unsent among them) */
    cab_conn *prev, *next, *next_again;
    /* bytes (conn_io.c) */
    struct bufferevent *tls;           /* NULL: plain */
    struct event *readable, *writable; /* plain: writable while `out` has something */
    cab_slice in;                      /* plain: input that was not read yet, in `held` or where it came in */
    cab_bytes held;
    bool full;                         /* plain: nothing is read until there is room */
    struct evbuffer *out;              /* plain: what the socket did not take; NULL: nothing */
    /* HTTP/1.1 */
    cab_exchange *x;                   /* being read or answered */
    bool busy;                         /* x is a handler's */
    void *http1;                       /* framing state (conn_http1.c) */
    /* HTTP/2 */
    void *session;                     /* nghttp2_session */
    cab_exchange *streams;             /* list by next_stream */
    cab_exchange *ready, **ready_tail; /* those with something to be handled, in line by next */
    int resets;                        /* streams ended by errors, less those that were answered */
    bool broken;                       /* nghttp2 has not taken what it was told: out of memory */
    int farewell;                      /* GOAWAYs sent; the second is due at notice_ns */
    int64_t notice_ns;
};

/* Takes over an accepted socket; closes it when it cannot. */
void cab_conn_accept(cab_loop *l, int fd, bool secure);
/* There is input: it has come, or waited for its turn; may end the connection. */
void cab_conn_came(cab_conn *c);
/* Its deadline has passed. */
void cab_conn_late(cab_conn *c);
/* Ends it now; what is under way is cancelled. */
void cab_conn_close(cab_conn *c);
/* Ends it when everything written has been sent. */
void cab_conn_finish(cab_conn *c);
/* The answer of x (which the loop's inbox or the handler itself gives back). */
void cab_conn_answered(cab_exchange *x);
/* From now on it waits for that, by the limit for it. */
void cab_conn_wait(cab_conn *c, cab_waiting what);
/* A deadline has passed, ms after *since: more time (at most ms again) when `moved` bytes earned it at a second
 * for each `slowest`; then *since and *deadline are new. */
bool cab_conn_earned(const cab_conn *c, int ms, size_t moved, int64_t *since, int64_t *deadline);
/* The server is draining; now: idle connections go, those without a request so far in a second. */
void cab_conn_drain(cab_conn *c, bool now);
/* Nothing has come that was not answered, not even to the socket. */
bool cab_conn_untouched(const cab_conn *c);
/* Sends a head and a body: to the socket at once where that is possible.  What the socket does not take of
 * the body stays where it is: *body's memory is the connection's then (and body empty).  False: the connection is
 * broken, or out of memory. */
bool cab_conn_write(cab_conn *c, const void *head, size_t n, cab_bytes *body);
/* Bytes written that the socket has not taken yet. */
size_t cab_conn_unsent(const cab_conn *c);
/* Input in one piece (its bytes may be written to): all of it, or (TLS) some of it and at least `least` bytes where there are as many. */
cab_slice cab_conn_input(cab_conn *c, size_t least);
/* All bytes of input. */
size_t cab_conn_waiting(const cab_conn *c);
/* The first n bytes of the input have been read. */
void cab_conn_took(cab_conn *c, size_t n);
/* Room for a body of `whole` bytes in all.  What a client promises costs nothing: 1 MB at once, the rest when half of
 * that has come (to grow it step by step would copy megabytes between two events). */
void cab_body_promise(cab_exchange *x, size_t whole);
/* Says 413, what the limit is, and how it is met. */
void cab_body_too_long(cab_exchange *x);
/* n more bytes for the body of x, within the budget of all bodies; false: over it, or out of memory. */
bool cab_body_reserve(cab_exchange *x, size_t n);

#endif
