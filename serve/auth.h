/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.h - who may ask for what: bearer tokens by their hashes.
 *
 * The file has a line per token:  sha256:HEX ROLE NAME [MODEL...]
 * ROLE is read, call or admin; NAME is for the log; with MODELs (a trailing *
 * stands for anything) the token counts for those only.  # begins a comment.
 * Tokens themselves are nowhere: not in the file, not in memory once a request
 * is answered, not in the log.
 */
#ifndef CAB_SERVE_AUTH_H
#define CAB_SERVE_AUTH_H
#include "base/diag.h"
#include "serve/route.h"

typedef struct cab_auth cab_auth;
/* path "": everybody may do everything. */
cab_status cab_auth_create(const char *path, cab_auth **out, cab_diag *d);
void cab_auth_destroy(cab_auth *a);
/* Reads the file again; a file with an error changes nothing.  [any thread] */
cab_status cab_auth_reload(cab_auth *a, cab_diag *d);
typedef enum cab_verdict { CAB_AUTH_FINE, CAB_AUTH_MISSING, CAB_AUTH_UNKNOWN, CAB_AUTH_FORBIDDEN } cab_verdict;
typedef char cab_token_name[64];
/* authorization: the field's value.  model may be empty; "*": every one there may be.  who: gets the name of a token that is known, as far as it
 * fits; or NULL.  [any thread] */
cab_verdict cab_auth_check(cab_auth *a, cab_slice authorization, cab_role need, cab_slice model, char *who);
/* The line's first word for a token. */
void cab_auth_hash(cab_slice token, char out[7 + 64 + 1]);

#endif
