/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.c - memory of one request.
 */
#include "serve/pieces.h"
#include <stdint.h>
#include <stdlib.h>

enum { LINE = 64, BLOCK = 16 << 10, KEEP = 64 << 10 };

typedef struct cab_piece_block {
    struct cab_piece_block *before;
    size_t cap, used;
    _Alignas(LINE) char data[];
} block;

static block *add_block(cab_pieces *p, size_t n)
{
    size_t cap = n > BLOCK ? n : BLOCK;
    block *b = aligned_alloc(LINE, sizeof *b + cap);
    if (b) {
        *b = (block){ .before = p->block, .cap = cap };
        p->block = b;
    }
    return b;
}

void *cab_pieces_take(cab_pieces *p, size_t n)
{
    block *b = p->block;
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + LINE - 1) / LINE * LINE;
    if (!b || b->cap - b->used < n)
        b = add_block(p, n);
    if (!b)
        return NULL;
    void *at = b->data + b->used;
    b->used += n;
    return at;
}

void *cab_pieces_zero(cab_pieces *p, size_t n, size_t size)
{
    void *at = size && n > SIZE_MAX / size ? NULL : cab_pieces_take(p, n * size);
    return at ? memset(at, 0, n * size) : NULL;
}

char *cab_pieces_text(cab_pieces *p, cab_slice s)
{
    char *at = s.n < SIZE_MAX ? cab_pieces_take(p, s.n + 1) : NULL;
    if (at) {
        memcpy(at, s.p ? s.p : "", s.n);
        at[s.n] = 0;
    }
    return at;
}

void cab_pieces_reset(cab_pieces *p)
{
    while (p->block && (p->block->before || p->block->cap > KEEP)) {
        block *b = p->block;
        p->block = b->before;
        free(b);
    }
    if (p->block)
        p->block->used = 0;
}

void cab_pieces_fini(cab_pieces *p)
{
    for (block *b = p->block, *before; b; b = before) {
        before = b->before;
        free(b);
    }
    p->block = NULL;
}
