/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - texts of the status codes, and the end of the road for bugs.
 */
#include "base/status.h"
#include <stdio.h>
#include <stdlib.h>

_Thread_local void (*cab_bug_hook)(void *);
_Thread_local void *cab_bug_hook_arg;

static const struct { const char *text; int exit; } codes[] = {
#define CODE(id, text, exit) { text, exit },
#include "base/errors.def"
};

static unsigned code_index(cab_status s)
{
    return (unsigned)s < CAB_STATUS_COUNT ? (unsigned)s : CAB_EINTERNAL;
}

const char *cab_status_text(cab_status s)
{
    return codes[code_index(s)].text;
}

int cab_status_exit(cab_status s)
{
    return codes[code_index(s)].exit;
}

_Noreturn void cab_bug(const char *file, int line, const char *what)
{
    void (*hook)(void *) = cab_bug_hook;

    fprintf(stderr, "cabochon: bug: %s:%d: %s\n", file, line, what);
    /* Cleared first: a bug inside the hook must not call it again. */
    cab_bug_hook = NULL;
    if (hook)
        hook(cab_bug_hook_arg);
    abort();
}
