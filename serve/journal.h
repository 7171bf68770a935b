/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - what the server says: one JSON object a line, to a file or standard error.
 *
 * A line is built in the caller's cab_bytes and written by one call of write,
 * so lines of several threads and processes do not mix.  No tensor and no token
 * is ever given to it.
 */
#ifndef CAB_SERVE_JOURNAL_H
#define CAB_SERVE_JOURNAL_H
#include "base/diag.h"
#include "serve/bytes.h"
#include <stdint.h>

typedef struct cab_journal cab_journal;
/* path "": standard error. */
cab_status cab_journal_create(const char *path, cab_journal **out, cab_diag *d);
void cab_journal_destroy(cab_journal *j);
/* Opens the file again (it was renamed away).  [any thread] */
cab_status cab_journal_reopen(cab_journal *j, cab_diag *d);

/* {"time":"2026-01-31T12:00:00.123Z","level":LEVEL,"event":EVENT  -- b is emptied first. */
void cab_line_begin(cab_bytes *b, const char *level, const char *event);
void cab_line_text(cab_bytes *b, const char *name, cab_slice text);
void cab_line_int(cab_bytes *b, const char *name, int64_t v);
/* Ends the line and writes it.  [any thread] */
void cab_line_end(cab_journal *j, cab_bytes *b);
/* A whole line of one text, "text". */
void cab_journal_say(cab_journal *j, const char *level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same of a version of a model; version 0: of all of it. */
void cab_journal_model(cab_journal *j, const char *level, const char *event, const char *model, int64_t version, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* A line per entry of d. */
void cab_journal_diag(cab_journal *j, const char *event, const cab_diag *d);
/* The same of a model; version 0: of no certain one. */
void cab_journal_model_diag(cab_journal *j, const char *event, const char *model, int64_t version, const cab_diag *d);

#endif
