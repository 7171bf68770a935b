/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batcher.c - the requests that wait, and which of them run together.
 *
 * A request that waits is in three structures, all linked through itself: the
 * list of its level by age, the chain of its shape (whose first member has the
 * chain's sums and stands in a hash table), and, with a deadline, a pairing
 * heap.  Every event is O(1) but for the heap's logarithm and, while requests
 * are held back for company, a look at each shape that waits.
 */
#include "serve/sched/batcher.h"
#include <stdlib.h>

enum { BUCKETS = 64 };
typedef cab_batch_request request;

typedef struct level {
    request *oldest, *newest;
    request *bucket[BUCKETS];  /* first of each shape */
} level;

struct cab_batcher {
    cab_batch_config c;
    int64_t least, most;       /* preferred sizes */
    int64_t waiting;
    uint64_t seq;
    request *heap;             /* earliest deadline */
    level levels[];
};

/* ---- life ---- */

static const char *wrong(const cab_batch_config *c)
{
    const int64_t limits[] = { c->max_queue, c->max_batch, c->max_delay_ns, c->default_timeout_ns };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i] < 0 || limits[i] > INT64_MAX / 4)
            return "a limit of the queue is negative or enormous";
    if (c->levels < 0 || c->levels > CAB_BATCH_LEVELS)
        return "there are 1 to 8 priority levels";
    if (c->default_level < 0 || c->default_level > (c->levels ? c->levels : 1))
        return "the default priority is not one of the levels";
    if (c->n_preferred < 0 || c->n_preferred > CAB_BATCH_PREFERRED)
        return "there are at most 16 preferred batch sizes";
    for (int i = 0; i < c->n_preferred; i++)
        if (c->preferred[i] < 1 || c->preferred[i] > c->max_batch)
            return "a preferred batch size is not within 1 and the largest batch";
    return NULL;
}

cab_batcher *cab_batcher_create(const cab_batch_config *c, const char **why)
{
    *why = wrong(c);
    if (*why)
        return NULL;
    int levels = c->levels ? c->levels : 1;
    cab_batcher *b = calloc(1, sizeof *b + (size_t)levels * sizeof *b->levels);
    if (!b)                            /* and *why is NULL */
        return NULL;
    b->c = *c;
    b->c.levels = levels;
    b->c.default_level = c->default_level ? c->default_level : 1;
    if (!b->c.n_preferred)
        b->c.preferred[b->c.n_preferred++] = c->max_batch;
    b->least = b->most = b->c.preferred[0];
    for (int i = 1; i < b->c.n_preferred; i++) {
        int64_t p = b->c.preferred[i];
        b->least = p < b->least ? p : b->least;
        b->most = p > b->most ? p : b->most;
    }
    return b;
}

void cab_batcher_destroy(cab_batcher *b) { free(b); }
int64_t cab_batcher_waiting(const cab_batcher *b) { return b->waiting; }
int64_t cab_batcher_deadline(const cab_batcher *b) { return b->heap ? b->heap->deadline : CAB_NEVER; }

/* ---- deadlines: a pairing heap; heap_prev is the parent or the left sibling ---- */

static request *meld(request *a, request *c)
{
    if (!a || !c)
        return a ? a : c;
    if (c->deadline < a->deadline || (c->deadline == a->deadline && c->seq < a->seq)) {
        request *t = a;
        a = c;
        c = t;
    }
    c->heap_prev = a;
    c->heap_next = a->heap_child;
    if (a->heap_child)
        a->heap_child->heap_prev = c;
    a->heap_child = c;
    return a;
}

/* Siblings in pairs from the left, then the pairs from the right. */
static request *meld_siblings(request *first)
{
    request *pairs = NULL, *all = NULL;
    while (first) {
        request *a = first, *c = a->heap_next;
        first = c ? c->heap_next : NULL;
        a->heap_next = a->heap_prev = NULL;
        if (c)
            c->heap_next = c->heap_prev = NULL;
        a = meld(a, c);
        a->heap_next = pairs;
        pairs = a;
    }
    while (pairs) {
        request *a = pairs;
        pairs = a->heap_next;
        a->heap_next = NULL;
        all = meld(all, a);
    }
    return all;
}

static void heap_remove(cab_batcher *b, request *r)
{
    request *below = meld_siblings(r->heap_child);
    if (b->heap == r) {
        b->heap = below;
    } else {
        if (r->heap_prev->heap_child == r)
            r->heap_prev->heap_child = r->heap_next;
        else
            r->heap_prev->heap_next = r->heap_next;
        if (r->heap_next)
            r->heap_next->heap_prev = r->heap_prev;
        b->heap = meld(b->heap, below);
    }
    if (b->heap)
        b->heap->heap_prev = b->heap->heap_next = NULL;
    r->heap_child = r->heap_next = r->heap_prev = NULL;
}

/* ---- shapes ---- */

static request **bucket_of(level *l, uint64_t shape)
{
    return &l->bucket[(shape * 0x9e3779b97f4a7c15u) >> 58];
}

static request *find_group(const cab_batcher *b, level *l, const request *r)
{
    for (request *g = *bucket_of(l, r->shape); g; g = g->group_next)
        if (g->shape == r->shape && (!b->c.same || b->c.same(g, r)))
            return g;
    return NULL;
}

static void group_link(level *l, request *g)
{
    request **to = bucket_of(l, g->shape);
    g->group_prev = NULL;
    g->group_next = *to;
    if (*to)
        (*to)->group_prev = g;
    *to = g;
}

static void group_unlink(level *l, request *g)
{
    if (g->group_prev)
        g->group_prev->group_next = g->group_next;
    else
        *bucket_of(l, g->shape) = g->group_next;
    if (g->group_next)
        g->group_next->group_prev = g->group_prev;
    g->group_next = g->group_prev = NULL;
}

static void chain_add(const cab_batcher *b, level *l, request *r)
{
    request *g = b->c.max_batch ? find_group(b, l, r) : NULL;
    r->chain_next = r->chain_prev = NULL;
    if (g) {
        r->chain_prev = g->last;
        g->last->chain_next = r;
    } else {
        g = r;
        g->group_rows = 0;
        g->group_hurry = 0;
        group_link(l, g);
    }
    g->last = r;
    g->group_rows += r->rows;
    g->group_hurry += r->hurry;
}

/* The first of r's chain: r itself, or found by its shape. */
static void chain_remove(const cab_batcher *b, level *l, request *r)
{
    request *g = r->chain_prev ? find_group(b, l, r) : r, *next = r->chain_next;
    g->group_rows -= r->rows;
    g->group_hurry -= r->hurry;
    if (r->chain_prev)
        r->chain_prev->chain_next = next;
    if (next)
        next->chain_prev = r->chain_prev;
    if (g->last == r)
        g->last = r->chain_prev;
    if (g != r)
        return;
    group_unlink(l, r);
    if (!next)
        return;
    next->last = r->last;
    next->group_rows = r->group_rows;
    next->group_hurry = r->group_hurry;
    group_link(l, next);
}

/* ---- in and out ---- */

bool cab_batcher_full(const cab_batcher *b)
{
    return b->c.max_queue && b->waiting >= b->c.max_queue;
}

enum cab_batch_push cab_batcher_push(cab_batcher *b, request *r, int64_t now)
{
    int n = r->level ? r->level : b->c.default_level;
    r->waiting = false;
    if (n < 1 || n > b->c.levels || (b->c.max_batch && (r->rows < 1 || r->rows > b->c.max_batch)))
        return CAB_PUSH_IMPOSSIBLE;
    if (cab_batcher_full(b))
        return CAB_PUSH_FULL;
    level *l = &b->levels[n - 1];
    if (!r->deadline && b->c.default_timeout_ns)
        r->deadline = now + b->c.default_timeout_ns;
    if (!b->c.max_batch)
        r->rows = 1;
    r->level = n;
    r->pushed = now;
    r->seq = b->seq++;
    r->waiting = true;
    r->next = NULL;
    r->hurry = r->deadline && (r->deadline - now) / 2 <= b->c.max_delay_ns;
    r->newer = NULL;
    r->older = l->newest;
    *(l->newest ? &l->newest->newer : &l->oldest) = r;
    l->newest = r;
    chain_add(b, l, r);
    r->heap_child = r->heap_next = r->heap_prev = NULL;
    if (r->deadline)
        b->heap = meld(b->heap, r);
    b->waiting++;
    return CAB_PUSH_ACCEPTED;
}

static void take_out(cab_batcher *b, request *r)
{
    level *l = &b->levels[r->level - 1];
    *(r->older ? &r->older->newer : &l->oldest) = r->newer;
    *(r->newer ? &r->newer->older : &l->newest) = r->older;
    chain_remove(b, l, r);
    if (r->deadline)
        heap_remove(b, r);
    r->waiting = false;
    r->next = NULL;
    b->waiting--;
}

bool cab_batcher_remove(cab_batcher *b, request *r)
{
    if (!r->waiting)
        return false;
    take_out(b, r);
    return true;
}

request *cab_batcher_expire(cab_batcher *b, int64_t now)
{
    request *first = NULL, **end = &first;
    while (b->heap && b->heap->deadline <= now) {
        *end = b->heap;
        end = &b->heap->next;
        take_out(b, b->heap);
    }
    return first;
}

/* ---- batches ---- */

typedef struct batch { request *first; int64_t n, rows; } batch;

static bool preferred(const cab_batcher *b, int64_t rows)
{
    for (int i = 0; i < b->c.n_preferred; i++)
        if (b->c.preferred[i] == rows)
            return true;
    return false;
}

static bool due(const cab_batcher *b, const request *r, int64_t now)
{
    return now - r->pushed >= b->c.max_delay_ns;
}

/* What may go of g's shape; n 0: nothing yet. */
static batch of_group(const cab_batcher *b, request *g, int64_t now, int64_t max_rows)
{
    int64_t limit = max_rows && max_rows < b->c.max_batch ? max_rows : b->c.max_batch;
    bool waited = b->c.max_delay_ns && (due(b, g, now) || g->group_hurry), full = false;
    batch all = { g, 0, 0 }, best = { g, 0, 0 };
    for (request *r = g; r; r = r->chain_next) {
        if (all.n && all.rows + r->rows > b->most && !best.n)
            best = all;
        full = all.n && all.rows + r->rows > limit;
        if (full)
            break;
        all.n++;
        all.rows += r->rows;
        if (preferred(b, all.rows))
            best = all;
    }
    if (best.n && !waited)
        return best;
    bool enough = waited || full || !b->c.max_delay_ns || all.rows >= b->most;
    return enough ? all : (batch){ g, 0, 0 };
}

/* Nobody of the level is due: those that may go all the same. */
static batch ahead_of_time(const cab_batcher *b, const level *l, int64_t now, int64_t max_rows)
{
    batch best = { 0 };
    for (int i = 0; i < BUCKETS; i++)
        for (request *g = l->bucket[i]; g; g = g->group_next) {
            if (!g->group_hurry && g->group_rows < b->least && (!max_rows || g->group_rows <= max_rows))
                continue;
            batch t = of_group(b, g, now, max_rows);
            if (t.n && (!best.n || g->seq < best.first->seq))
                best = t;
        }
    return best;
}

static batch of_level(const cab_batcher *b, const level *l, int64_t now, int64_t max_rows)
{
    if (!l->oldest)
        return (batch){ 0 };
    if (!b->c.max_batch)
        return (batch){ l->oldest, 1, 1 };
    if (due(b, l->oldest, now))
        return of_group(b, l->oldest, now, max_rows);
    return ahead_of_time(b, l, now, max_rows);
}

request *cab_batcher_look(const cab_batcher *b, int64_t now, int64_t max_rows, int64_t *again,
                          int64_t *n, int64_t *rows)
{
    *again = cab_batcher_deadline(b);
    *n = *rows = 0;
    if (*again <= now)
        return NULL;
    for (int i = 0; i < b->c.levels; i++) {
        batch t = of_level(b, &b->levels[i], now, max_rows);
        if (t.n) {
            *n = t.n;
            *rows = t.rows;
            return t.first;
        }
        const request *o = b->levels[i].oldest;
        if (o && o->pushed + b->c.max_delay_ns < *again)
            *again = o->pushed + b->c.max_delay_ns;
    }
    return NULL;
}

request *cab_batcher_take(cab_batcher *b, int64_t now, int64_t max_rows, int64_t *again)
{
    int64_t n, rows;
    request *r = cab_batcher_look(b, now, max_rows, again, &n, &rows), *first = NULL, **end = &first;
    while (n-- > 0) {
        request *follows = r->chain_next;
        take_out(b, r);
        *end = r;
        end = &r->next;
        r = follows;
    }
    return first;
}
