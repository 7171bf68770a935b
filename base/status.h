/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.h - how functions fail.
 *
 * A fallible function returns cab_status.  The story (what, where, why, what
 * to do) is recorded in a cab_diag by the function that detects the failure;
 * callers only pass the code on with CAB_TRY.
 */
#ifndef CAB_BASE_STATUS_H
#define CAB_BASE_STATUS_H

typedef enum cab_status {
#define CODE(id, text, exit) CAB_##id,
#include "base/errors.def"
    CAB_STATUS_COUNT
} cab_status;

/* Stable text of a code; never NULL. */
const char *cab_status_text(cab_status s);
/* Exit status of a command that ends with this code. */
int cab_status_exit(cab_status s);

#define CAB_TRY(expr)                          \
    do {                                       \
        cab_status cab_try_ = (expr);          \
        if (cab_try_ != CAB_OK)                \
            return cab_try_;                   \
    } while (0)

/* A bug in Cabochon: writes the reproducer hook's output, then aborts. */
_Noreturn void cab_bug(const char *file, int line, const char *what);
/* Called by cab_bug before abort (the pass runner dumps the graph there). */
extern _Thread_local void (*cab_bug_hook)(void *);
extern _Thread_local void *cab_bug_hook_arg;
#define CAB_ASSERT(c) ((c) ? (void)0 : cab_bug(__FILE__, __LINE__, #c))
#define CAB_UNREACHABLE() cab_bug(__FILE__, __LINE__, "unreachable")

#endif
