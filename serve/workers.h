/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers.h - threads that read large requests, so that no I/O thread is held up by one.
 */
#ifndef CAB_SERVE_WORKERS_H
#define CAB_SERVE_WORKERS_H
#include "serve/http/exchange.h"

typedef struct cab_workers cab_workers;
/* n threads that call work(x), as cab_exchange_work has it; NULL: no memory, or no thread. */
cab_workers *cab_workers_create(int n, void (*work)(cab_exchange *x));
/* Hands x over, in its handler: the next thing this I/O thread knows of it comes by the inbox. */
void cab_workers_give(cab_workers *w, cab_exchange *x);
/* Every exchange has come back.  NULL is allowed. */
void cab_workers_destroy(cab_workers *w);

#endif
