/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - the tensor memory of the process: a budget, and blocks that are
 * used again.
 *
 * The budget counts what instances hold for runs and every block, in use or
 * spare.  A block holds the outputs of one run and is shared by the calls
 * whose rows were in it.  All calls: any thread.
 */
#ifndef CAB_SERVE_MEMORY_H
#define CAB_SERVE_MEMORY_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cab_budget {
    uint64_t limit;            /* bytes; 0 = none */
    _Atomic uint64_t used;
} cab_budget;
/* False: it would go over the limit, and nothing was taken. */
bool cab_budget_reserve(cab_budget *b, uint64_t bytes);
/* Of what is there already, limit or not. */
void cab_budget_add(cab_budget *b, uint64_t bytes);
void cab_budget_release(cab_budget *b, uint64_t bytes);

enum { CAB_BLOCK_CLASSES = 80 };
struct cab_blocks;
typedef struct cab_block {
    struct cab_blocks *home;
    struct cab_block *next;
    uint64_t cap;
    atomic_int refs;
    int size_class;
    _Alignas(64) unsigned char data[];
} cab_block;

typedef struct cab_blocks {
    pthread_mutex_t lock;
    cab_budget *budget;
    uint64_t keep, spare_bytes;        /* most spare memory; that there is */
    cab_block *spare[CAB_BLOCK_CLASSES];
    void (*freed)(void *user); /* called after a block came back */
    void *user;
} cab_blocks;

void cab_blocks_init(cab_blocks *p, cab_budget *budget, uint64_t keep);
/* Every block has come back. */
void cab_blocks_fini(cab_blocks *p);
/* What a block for so many bytes takes of the budget. */
uint64_t cab_block_cost(uint64_t bytes);
/* A spare block with room for so many bytes, or NULL; one reference. */
cab_block *cab_block_spare(cab_blocks *p, uint64_t bytes);
/* A new one, whose cost the caller has reserved or added; NULL: out of memory,
 * and the cost was released. */
cab_block *cab_block_new(cab_blocks *p, uint64_t bytes);
static inline void cab_block_ref(cab_block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}
/* NULL is allowed. */
void cab_block_unref(cab_block *b);
/* Frees the spare ones. */
void cab_blocks_trim(cab_blocks *p);

#endif
