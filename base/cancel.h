/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cancel.h - a caller's wish to end a long piece of work.
 *
 * Asked on the thread that called, never inside a foreign library's callback.
 */
#ifndef CAB_BASE_CANCEL_H
#define CAB_BASE_CANCEL_H
#include "base/diag.h"

/* asked NULL: never. */
typedef struct cab_cancel { int (*asked)(void *user); void *user; } cab_cancel;

static inline cab_status cab_cancel_check(const cab_cancel *c, cab_diag *d)
{
    if (!c->asked || !c->asked(c->user))
        return CAB_OK;
    return cab_fail(d, CAB_ECANCELLED, NULL, "the caller ended the compilation");
}

#endif
