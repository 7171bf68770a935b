/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blobs.h - content-addressed files: ROOT/blobs/sha256/ab/abcd...
 *
 * A blob has the SHA-256 of its bytes for a name, appears whole or not at all,
 * and never changes.  When a commit has returned CAB_OK the bytes and the name
 * are on the disk: files are synced before they get their name, folders after.
 *
 * Threads: any number of writers at once, each used by one thread at a time;
 * the store itself may be used by any thread.
 */
#ifndef CAB_SERVE_BLOBS_H
#define CAB_SERVE_BLOBS_H
#include "base/diag.h"
#include "serve/registry/root.h"
#include <stdint.h>

typedef struct cab_digest { uint8_t b[32]; } cab_digest;
enum { CAB_DIGEST_TEXT = 65 };
/* 64 lower-case digits and a NUL. */
void cab_digest_text(const cab_digest *g, char out[CAB_DIGEST_TEXT]);
/* Exactly 64 digits, lower case: one digest has one name. */
bool cab_digest_parse(const char *text, cab_digest *out);
bool cab_digest_equal(const cab_digest *a, const cab_digest *b);

typedef struct cab_blobs cab_blobs;
/* root must stay open as long as the store. */
cab_status cab_blobs_open(const cab_root *root, cab_blobs **out, cab_diag *d);
void cab_blobs_close(cab_blobs *b);                      /* NULL is allowed */

/* ---- adding ---- */
typedef struct cab_blob_writer cab_blob_writer;
/* limit: most bytes it takes; 0 = no limit. */
cab_status cab_blob_begin(cab_blobs *b, uint64_t limit, cab_blob_writer **out, cab_diag *d);
/* After a failure only abort is sensible. */
cab_status cab_blob_append(cab_blob_writer *w, const void *p, size_t n, cab_diag *d);
/* The file itself, for another process to write into (a compile child), which
 * must have ended before the commit: that reads what was written.  Still the
 * writer's; nothing may be appended any more. */
int cab_blob_fd(cab_blob_writer *w);
/* The name of the bytes.  expected: what the sender says it is, NULL = nothing;
 * CAB_EINVAL when it is something else.  Frees the writer in any case.  When the
 * store has these bytes it keeps the file it has, or heals it when it is damaged. */
cab_status cab_blob_commit(cab_blob_writer *w, const cab_digest *expected, cab_digest *out,
                           cab_diag *d);
void cab_blob_abort(cab_blob_writer *w);                 /* NULL is allowed */

/* All in one. */
cab_status cab_blobs_add(cab_blobs *b, const void *p, size_t n, cab_digest *out, cab_diag *d);
/* From where fd stands to its end. */
cab_status cab_blobs_add_fd(cab_blobs *b, int fd, uint64_t limit, cab_digest *out, cab_diag *d);

/* ---- reading ---- */
/* A descriptor to read the blob by (the caller closes it), a regular file and
 * not a link; bytes may be NULL.  CAB_ENOTFOUND when there is none.  The bytes
 * are not hashed: cab_blobs_verify does that. */
cab_status cab_blobs_open_one(cab_blobs *b, const cab_digest *g, int *out_fd, uint64_t *bytes,
                              cab_diag *d);
bool cab_blobs_has(cab_blobs *b, const cab_digest *g);
/* CAB_EIO when the bytes are not what the name says. */
cab_status cab_blobs_verify(cab_blobs *b, const cab_digest *g, cab_diag *d);

/* ---- garbage ---- */
typedef struct cab_blobs_swept { uint64_t kept, removed, removed_bytes; } cab_blobs_swept;
/* keep: 1 = it is in use, 0 = not, < 0 = cannot tell (ends the sweep with
 * CAB_EIO).  Younger blobs than min_age_s are kept: whoever added one is about
 * to name it (adding a blob again makes it young).  cab_registry_collect calls this. */
typedef int (*cab_blobs_keep)(void *user, const cab_digest *g);
cab_status cab_blobs_sweep(cab_blobs *b, cab_blobs_keep keep, void *user, int64_t min_age_s,
                           cab_blobs_swept *out, cab_diag *d);

#endif
