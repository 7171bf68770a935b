/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.h - memory of one request: taken piece by piece, given back at once.
 *
 * Pieces stay where they are.  A failed allocation is NULL and changes nothing.
 * One thread at a time.
 */
#ifndef CAB_SERVE_PIECES_H
#define CAB_SERVE_PIECES_H
#include "serve/bytes.h"

struct cab_piece_block;
typedef struct cab_pieces { struct cab_piece_block *block; } cab_pieces;       /* {0} is empty */

/* n bytes at a multiple of 64, not zeroed; NULL when out of memory. */
void *cab_pieces_take(cab_pieces *p, size_t n);
/* The same, zeroed: n of size bytes each. */
void *cab_pieces_zero(cab_pieces *p, size_t n, size_t size);
/* A NUL-terminated copy. */
char *cab_pieces_text(cab_pieces *p, cab_slice s);
/* Gives everything back; memory of ordinary size stays for the next request. */
void cab_pieces_reset(cab_pieces *p);
void cab_pieces_fini(cab_pieces *p);

#endif
