/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_zero.c - clears what no kernel writes: whole buffers, or the halo
 * around the elements of one.
 *
 * The kernel that follows writes between the parts and reads none of them.  So
 * where several threads run it, each of its tasks clears a share of them first:
 * a thread that cleared alone would fetch the lines of all the others.
 */
#include "runtime/session_int.h"
#include <string.h>

#define SHARED_PARTS 12        /* three for each axis with a halo; a plan with more is cleared alone */

/* Runs of `run` bytes, `apart` from each other. */
typedef struct part { uint8_t *p; int64_t run, apart, n; } part;

/* False when the runs leave the value. */
static bool find_part(const cab_session *s, const cab_plan_instr *x, uint32_t i, part *out)
{
    const uint32_t *w = s->plan->words + x->b + i * CAB_ZERO_PART;
    uint64_t bytes = s->bytes[x->a], room;
    int64_t at = s->slots[w[0]], run = s->slots[w[1]], apart = s->slots[w[2]], n = s->slots[w[3]];
    *out = (part){ .run = 1 };
    if (n <= 0 || run <= 0)
        return true;
    if (at < 0 || apart < 0 || (uint64_t)at > bytes || (uint64_t)run > bytes - (uint64_t)at)
        return false;
    room = bytes - (uint64_t)at - (uint64_t)run;
    if (n > 1 && (uint64_t)apart > room / (uint64_t)(n - 1))
        return false;
    *out = (part){ (uint8_t *)s->data[x->a] + at, run, apart, n };
    return true;
}

/* ---- by one thread ---- */

static void clear_runs(const part *t)
{
    uint8_t *p = t->p;
    for (int64_t i = 0; i < t->n; i++, p += t->apart)
        memset(p, 0, (size_t)t->run);
}

/* ---- by the tasks of a launch ---- */

/* A kernel of n tasks that clear; each task `each` bytes of a part, the first
 * `more` of them one byte more. */
typedef struct clearing {
    cab_kernel_fn fn;
    void *const *bufs;
    uint32_t n_parts;
    struct { part t; int64_t each, more; } parts[SHARED_PARTS];
} clearing;

/* Bytes lo .. hi-1 of the runs, counted without the gaps. */
static void clear_bytes(const part *t, int64_t lo, int64_t hi)
{
    int64_t i = lo / t->run, skip = lo % t->run;
    for (uint8_t *p = t->p + i * t->apart; lo < hi; p += t->apart, skip = 0) {
        int64_t n = t->run - skip < hi - lo ? t->run - skip : hi - lo;
        memset(p + skip, 0, (size_t)n);
        lo += n;
    }
}

static int64_t share(int64_t each, int64_t more, int64_t task)
{
    return each * task + (task < more ? task : more);
}

static void clear_and_run(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi)
{
    const clearing *c = bufs[0];
    for (uint32_t i = 0; i < c->n_parts; i++) {
        int64_t each = c->parts[i].each, more = c->parts[i].more;
        clear_bytes(&c->parts[i].t, share(each, more, lo), share(each, more, hi));
    }
    c->fn(c->bufs, ints, lo, hi);
}

void cab_run_clearing(cab_run *r, cab_kernel_fn fn, int64_t n)
{
    cab_session *s = r->s;
    clearing c = { .fn = fn, .bufs = s->bufs, .n_parts = r->clear->c };
    for (uint32_t i = 0; i < c.n_parts; i++) {
        part *t = &c.parts[i].t;
        find_part(s, r->clear, i, t);
        c.parts[i].each = t->run * t->n / n;
        c.parts[i].more = t->run * t->n % n;
    }
    r->clear = NULL;
    cab_pool_run(clear_and_run, (void *[]){ &c }, s->ints, n, s->options.threads);
}

/* ---- the instruction ---- */

static bool is_shared(const cab_session *s, const cab_plan_instr *x)
{
    const cab_plan_instr *next = x + 1;            /* the last one is END */
    return x->c && x->c <= SHARED_PARTS && next->op == CAB_I_LAUNCH && s->slots[next->c] > 1 &&
           s->options.threads != 1;
}

int cab_run_zero(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    bool shared = is_shared(s, x);
    part t;
    if (!s->data[x->a] || !s->bytes[x->a])
        return CAB_OK;
    if (!x->c)
        memset(s->data[x->a], 0, s->bytes[x->a]);
    for (uint32_t i = 0; i < x->c; i++) {
        if (!find_part(s, x, i, &t))
            return cab_rt_fail(r->e, CAB_EARTIFACT, "damaged artifact: clears beyond its buffer");
        if (!shared)
            clear_runs(&t);
    }
    r->clear = shared ? x : NULL;
    return CAB_OK;
}
