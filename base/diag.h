/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diag.h - the story of a failure: what, where, why, what to do.
 *
 * A cab_diag belongs to one compile job or one session and is used by one
 * thread at a time.  It owns its text (plain malloc; when that fails the entry
 * is dropped and the code alone remains), so it survives the job's arenas.
 */
#ifndef CAB_BASE_DIAG_H
#define CAB_BASE_DIAG_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/status.h"

typedef enum cab_severity { CAB_NOTE, CAB_WARNING, CAB_ERROR } cab_severity;

/* Where: any field may be NULL/0.  file:line:col for text, node/op for ONNX. */
typedef struct cab_where {
    const char *file;
    int line, col;
    const char *node;     /* ONNX node name (or its first output's name) */
    const char *op;       /* "Conv", "com.microsoft::Gelu" */
    int opset;            /* 0 = not said */
} cab_where;

typedef struct cab_diag_entry {
    cab_status code;
    cab_severity severity;
    char *where;          /* "node 'Conv_0' (Conv, opset 11)" or "" */
    char *text;           /* one line */
    int n_notes;
    char **notes;         /* "what to do" lines */
} cab_diag_entry;

typedef struct cab_diag {
    cab_diag_entry *entries;
    size_t n, cap;
    size_t limit;         /* entries kept; 0 = 1000 */
    bool last_dropped;    /* the newest entry was not kept: no notes for it */
} cab_diag;

void cab_diag_init(cab_diag *d);
void cab_diag_fini(cab_diag *d);
void cab_diag_clear(cab_diag *d);
/* Record an error and return its code: return cab_fail(d, CAB_EMODEL, &w,
 * "..."); d may be NULL. */
cab_status cab_fail(cab_diag *d, cab_status code, const cab_where *w,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
cab_status cab_vfail(cab_diag *d, cab_status code, const cab_where *w,
                     const char *fmt, va_list ap);
void cab_warn(cab_diag *d, const cab_where *w, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a "what to do" line to the newest entry. */
void cab_note(cab_diag *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool cab_diag_has_errors(const cab_diag *d);
/* First error, or NULL. */
const cab_diag_entry *cab_diag_first(const cab_diag *d);
/* One entry as lines: "error: unsupported: node 'x' (Foo, opset 3): why\n
 * note: what to do\n" into out (malloc'ed; NULL when out of memory). */
char *cab_diag_format(const cab_diag_entry *e);

#endif
