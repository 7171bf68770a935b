/* SPDX-License-Identifier: Apache-2.0 */
/*
 * constants_write.c - all constants into the mapped file, by several threads.
 *
 * Packing a hundred megabytes of weights is a good part of a compilation, and
 * for that long they would be there twice.  Where the caller says that nothing
 * reads them afterwards, the memory of a source goes back to the system when
 * the last constant made from it is written.  Sources may overlap (two values
 * of one tensor): what overlaps is one cluster.
 */
#include "codegen/codegen_int.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef struct cluster {
    const uint8_t *from, *to;
    atomic_int left;           /* constants not written yet */
} cluster;

typedef struct writing {
    const cab_constants *c;
    uint8_t *base;
    const cab_cancel *cancel;
    bool last_use;
    cluster *clusters;
    int *cluster_of;           /* per constant */
    atomic_size_t next;
    atomic_bool stop;
} writing;

typedef struct source { const uint8_t *from, *to; int constant; } source;

static int by_address(const void *a, const void *b)
{
    const source *x = a, *y = b;
    return x->from != y->from ? (x->from > y->from) - (x->from < y->from)
                              : x->constant - y->constant;
}

static void find_clusters(writing *w, cab_arena *a)
{
    size_t n = w->c->list.n, k = 0;
    source *s = CAB_NEW_N(a, source, n + 1);
    w->clusters = CAB_NEW_N(a, cluster, n + 1);
    w->cluster_of = CAB_NEW_N(a, int, n + 1);
    for (size_t i = 0; i < n; i++) {
        const cab_blob *b = w->c->list.p[i].blob;
        s[i] = (source){ b->data, (const uint8_t *)b->data + b->bytes, (int)i };
    }
    qsort(s, n, sizeof *s, by_address);
    for (size_t i = 0; i < n; i++) {
        if (!k || s[i].from >= w->clusters[k - 1].to) {
            w->clusters[k].from = s[i].from;
            w->clusters[k++].to = s[i].to;
        }
        cluster *c = &w->clusters[k - 1];
        c->to = s[i].to > c->to ? s[i].to : c->to;
        atomic_fetch_add(&c->left, 1);
        w->cluster_of[s[i].constant] = (int)k - 1;
    }
}

/* Its pages at once: a fault for each takes longer.  May fail. */
static void get_pages(uint8_t *p, uint64_t n)
{
#ifdef MADV_POPULATE_WRITE
    const uintptr_t page = 4096;
    uintptr_t from = (uintptr_t)p / page * page;
    if (n >= 16 * page)
        (void)madvise((void *)from, ((uintptr_t)p + n - from + page - 1) / page * page,
                      MADV_POPULATE_WRITE);
#else
    (void)p;
    (void)n;
#endif
}

static cab_status write_one(writing *w, size_t i, const cab_cancel *cancel, cab_diag *d)
{
    const cab_constant *k = &w->c->list.p[i];
    cluster *c = &w->clusters[w->cluster_of[i]];
    get_pages(w->base + k->offset, k->bytes);
    CAB_TRY(cab_constant_write(k, w->base + k->offset, cancel, d));
    if (atomic_fetch_sub(&c->left, 1) == 1 && w->last_use)
        cab_arena_drop(w->c->arena, c->from, (size_t)(c->to - c->from));
    return CAB_OK;
}

static void *write_some(void *arg)
{
    static const cab_cancel never;
    writing *w = arg;
    for (size_t i; !atomic_load(&w->stop) && (i = atomic_fetch_add(&w->next, 1)) < w->c->list.n;)
        (void)write_one(w, i, &never, NULL);    /* fails only when cancelled */
    return NULL;
}

/* The thread of the caller: it alone may ask the hook. */
static cab_status write_and_ask(writing *w, cab_diag *d)
{
    for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->c->list.n;) {
        cab_status s = write_one(w, i, w->cancel, d);
        if (s != CAB_OK) {
            atomic_store(&w->stop, true);
            return s;
        }
    }
    return CAB_OK;
}

cab_status cab_constants_write(const cab_constants *c, uint8_t *base, const cab_codegen_options *o,
                               cab_diag *d)
{
    enum { MAX_THREADS = 16 };
    pthread_t t[MAX_THREADS];
    int started = 0;
    writing *w = CAB_NEW(c->arena, writing);
    w->c = c;
    w->base = base;
    w->cancel = &o->cancel;
    w->last_use = o->last_use;
    find_clusters(w, c->arena);
    while (started < o->threads - 1 && started < MAX_THREADS &&
           pthread_create(&t[started], NULL, write_some, w) == 0)
        started++;
    cab_status s = write_and_ask(w, d);
    for (int i = 0; i < started; i++)
        pthread_join(t[i], NULL);
    return s;
}
