/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - the budget of tensor memory, and blocks by size class (four to a
 * doubling, so that a fifth is wasted at most).
 */
#include "serve/sched/memory.h"
#include <stdlib.h>

/* ---- the budget ---- */

bool cab_budget_reserve(cab_budget *b, uint64_t bytes)
{
    uint64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
    do {
        if (b->limit && (used > b->limit || bytes > b->limit - used))
            return false;
    } while (!atomic_compare_exchange_weak(&b->used, &used, used + bytes));
    return true;
}

void cab_budget_add(cab_budget *b, uint64_t bytes) { atomic_fetch_add(&b->used, bytes); }
void cab_budget_release(cab_budget *b, uint64_t bytes) { atomic_fetch_sub(&b->used, bytes); }

/* ---- blocks ---- */

enum { FIRST = 256, LARGE = -1 };      /* bytes of class 0; a block of no class is never spare */
#define MOST ((uint64_t)1 << 60)       /* more than there can be */

/* The class whose blocks have room for header and bytes; *cap: its size. */
static int class_of(uint64_t bytes, uint64_t *cap)
{
    uint64_t need = bytes + sizeof(cab_block), size = FIRST;
    for (int i = 0; i < CAB_BLOCK_CLASSES; i += 4, size *= 2)
        for (int k = 0; k < 4; k++) {
            *cap = (size + size / 4 * (uint64_t)k + 63) / 64 * 64;
            if (need <= *cap)
                return i + k;
        }
    *cap = (need + 63) / 64 * 64;
    return LARGE;
}

void cab_blocks_init(cab_blocks *p, cab_budget *budget, uint64_t keep)
{
    *p = (cab_blocks){ .budget = budget, .keep = keep };
    pthread_mutex_init(&p->lock, NULL);
}

void cab_blocks_fini(cab_blocks *p)
{
    cab_blocks_trim(p);
    pthread_mutex_destroy(&p->lock);
}

uint64_t cab_block_cost(uint64_t bytes)
{
    uint64_t cap;
    if (bytes > MOST)
        return MOST;
    class_of(bytes, &cap);
    return cap;
}

static cab_block *take_spare(cab_blocks *p, int size_class)
{
    if (size_class == LARGE)
        return NULL;
    pthread_mutex_lock(&p->lock);
    cab_block *b = p->spare[size_class];
    if (b) {
        p->spare[size_class] = b->next;
        p->spare_bytes -= b->cap;
    }
    pthread_mutex_unlock(&p->lock);
    return b;
}

cab_block *cab_block_spare(cab_blocks *p, uint64_t bytes)
{
    uint64_t cap;
    cab_block *b = bytes > MOST ? NULL : take_spare(p, class_of(bytes, &cap));
    if (b)
        atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

cab_block *cab_block_new(cab_blocks *p, uint64_t bytes)
{
    uint64_t cap = cab_block_cost(bytes), unused;
    cab_block *b = bytes > MOST ? NULL : aligned_alloc(64, cap);
    if (!b) {
        cab_budget_release(p->budget, cap);
        return NULL;
    }
    *b = (cab_block){ .home = p, .cap = cap, .size_class = class_of(bytes, &unused) };
    atomic_init(&b->refs, 1);
    return b;
}

void cab_block_unref(cab_block *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    cab_blocks *p = b->home;
    pthread_mutex_lock(&p->lock);
    bool keep = b->size_class != LARGE && p->spare_bytes + b->cap <= p->keep;
    if (keep) {
        b->next = p->spare[b->size_class];
        p->spare[b->size_class] = b;
        p->spare_bytes += b->cap;
    }
    pthread_mutex_unlock(&p->lock);
    if (!keep) {
        cab_budget_release(p->budget, b->cap);
        free(b);
    }
    if (p->freed)
        p->freed(p->user);
}

void cab_blocks_trim(cab_blocks *p)
{
    for (int i = 0; i < CAB_BLOCK_CLASSES; i++)
        for (cab_block *b; (b = take_spare(p, i));) {
            cab_budget_release(p->budget, b->cap);
            free(b);
        }
}
