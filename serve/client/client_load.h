/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_load.h - the generator of load, apart from where its request comes from.
 */
#ifndef CAB_SERVE_CLIENT_LOAD_H
#define CAB_SERVE_CLIENT_LOAD_H
#include "base/diag.h"
#include "serve/bytes.h"
#include "serve/client/histogram.h"

enum { CAB_LOAD_STATUSES = 600 };

typedef struct cab_load_plan {
    const char *host;
    int port;
    const cab_bytes *request;  /* all bytes of one */
    int connections;
    double rate;               /* requests a second, at fixed times; 0: each connection asks again at once */
    bool awake;                /* looks for answers again and again instead of sleeping */
    double seconds, warmup;    /* what the warm-up gives is not counted; it comes before the seconds */
} cab_load_plan;

typedef struct cab_load_figures {
    uint64_t sent;             /* in the seconds, without the warm-up; of these: */
    uint64_t in_time;          /* 2xx before the seconds were over */
    uint64_t broken;           /* the connection ended, or the answer could not be read */
    uint64_t unanswered;       /* when 10 s after the end had passed; what was due before it is sent until then */
    uint64_t unsent;           /* not of those sent: every connection was waiting for an answer until then */
    uint64_t status[CAB_LOAD_STATUSES];
    cab_histogram good, other; /* 2xx; every other answer, those unanswered, those unsent.  From the time at which it was due */
    double cpu_seconds;        /* of this client */
} cab_load_figures;

/* Fails when there is no connection at all. */
cab_status cab_load_run(const cab_load_plan *p, cab_load_figures *out, cab_diag *d);

#endif
