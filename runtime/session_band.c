/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_band.c - launches whose tasks go together, task by task.
 *
 * What lies between the launches is not written to its place: every thread has
 * a room of its own, as large as the part of one task, which stays in its
 * caches.  The kernels get such an address for the tensor that the part of
 * their task falls on the room.
 */
#include "runtime/session_int.h"
#include <string.h>

#define MOST CAB_BAND_LAUNCHES
#define ROOMS 256              /* as many threads run at once, at most */

static uint64_t up64(uint64_t n) { return (n + 63) / 64 * 64; }

typedef struct launch {
    cab_kernel_fn fn;
    uint32_t n_bufs;
    void **bufs;
    int64_t *ints;
    int moved[MOST];           /* per value of the band: which argument; -1 = none */
    _Atomic int64_t ns;
} launch;

typedef struct band {
    launch k[MOST];
    int n, n_values;
    int64_t part[MOST], matrix[MOST], per;
    uint8_t *rooms;
    uint64_t room;             /* bytes of each: arguments, then the parts */
    uint64_t args;
    bool timed;
    atomic_flag taken[ROOMS];
    int n_rooms;
} band;

/* There are as many rooms as threads, so one is free. */
static int take_room(band *b)
{
    for (int i = 0;; i = i + 1 < b->n_rooms ? i + 1 : 0)
        if (!atomic_flag_test_and_set_explicit(&b->taken[i], memory_order_acquire))
            return i;
}

static void place(const band *b, const launch *k, int64_t t, uint8_t *parts, void **args)
{
    for (int i = 0; i < b->n_values; i++) {
        uint64_t at = (uint64_t)(t / b->per) * (uint64_t)b->matrix[i] +
                      (uint64_t)(t % b->per) * (uint64_t)b->part[i];
        if (k->moved[i] >= 0)
            args[k->moved[i]] = (void *)((uintptr_t)parts - (uintptr_t)at);
        parts += up64((uint64_t)b->part[i]);
    }
}

static void run_task(band *b, int64_t t, uint8_t *room)
{
    void **args = (void **)(void *)room;
    for (int i = 0; i < b->n; i++) {
        launch *k = &b->k[i];
        int64_t start = b->timed ? cab_now_ns() : 0;
        memcpy(args, k->bufs, k->n_bufs * sizeof *args);
        place(b, k, t, room + b->args, args);
        k->fn(args, k->ints, t, t + 1);
        if (b->timed)
            atomic_fetch_add_explicit(&k->ns, cab_now_ns() - start, memory_order_relaxed);
    }
}

/* What the pool calls: the band is its only argument. */
static void run_tasks(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi)
{
    band *b = bufs[0];
    int mine = take_room(b);
    (void)ints;
    for (int64_t t = lo; t < hi; t++)
        run_task(b, t, b->rooms + (uint64_t)mine * b->room);
    atomic_flag_clear_explicit(&b->taken[mine], memory_order_release);
}

/* ---- setting up ---- */

/* Sizes that make no sense, or launches of other numbers of tasks: false, and
 * they run one after the other. */
static bool read_sizes(const cab_session *s, const cab_plan_instr *x, band *b, uint64_t *n_args,
                       uint64_t *n_ints)
{
    const uint32_t *w = s->plan->words + x->b, *slots = w + 2 + w[0];
    uint64_t parts = 0;
    b->n = (int)x->a;
    b->n_values = (int)w[0];
    b->per = s->slots[slots[0]];
    for (int i = 0; i < b->n_values; i++) {
        b->part[i] = s->slots[slots[1 + 2 * i]];
        b->matrix[i] = s->slots[slots[2 + 2 * i]];
        if (b->part[i] <= 0 || b->part[i] > (int64_t)1 << 40)
            return false;
        parts += up64((uint64_t)b->part[i]);
    }
    for (int i = 0; i < b->n; i++) {
        const uint32_t *a = s->plan->words + x[1 + i].b;
        b->args = a[0] > b->args ? a[0] : b->args;
        *n_args += a[0];
        *n_ints += a[1 + a[0]];
        if (s->slots[x[1 + i].c] != s->slots[x[1].c])
            return false;
    }
    b->args = up64(b->args * sizeof(void *));
    b->room = b->args + parts;
    return b->per > 0 && s->slots[x[1].c] > 0;
}

static void read_launch(const cab_session *s, const cab_plan_instr *group, const cab_plan_instr *x,
                        launch *k)
{
    const uint32_t *a = s->plan->words + x->b, *p = a + 1 + a[0];
    const uint32_t *w = s->plan->words + group->b;
    k->fn = cab_session_kernel(s, x->a);
    k->n_bufs = a[0];
    for (uint32_t i = 0; i < MOST; i++)
        k->moved[i] = -1;
    for (uint32_t i = 0; i < a[0]; i++) {
        k->bufs[i] = s->data[a[1 + i]];
        for (uint32_t v = 0; v < w[0]; v++)
            if (w[1 + v] == a[1 + i])
                k->moved[v] = (int)i;
    }
    for (uint32_t i = 0; i < p[0]; i++)
        k->ints[i] = s->slots[p[1 + i]];
}

static int n_threads(const cab_session *s)
{
    int width = cab_pool_threads(), n = s->options.threads;
    n = n <= 0 || n > width ? width : n;
    return n > ROOMS ? ROOMS : n;
}

static void set_up(cab_session *s, const cab_plan_instr *x, uint8_t *memory, uint64_t n_args, band *b)
{
    void **bufs = (void **)(void *)memory;
    int64_t *ints = (int64_t *)(void *)(bufs + n_args);
    for (int i = 0; i < b->n; i++) {
        const uint32_t *a = s->plan->words + x[1 + i].b;
        b->k[i].bufs = bufs;
        b->k[i].ints = ints;
        read_launch(s, x, &x[1 + i], &b->k[i]);
        bufs += a[0];
        ints += a[1 + a[0]];
    }
    for (int i = 0; i < b->n_rooms; i++)
        atomic_flag_clear(&b->taken[i]);
}

/* A record per launch; threads ran at once, so they share the time that passed. */
static void record(cab_run *r, const cab_plan_instr *x, const band *b, int64_t start)
{
    int64_t ns = cab_now_ns() - start, sum = 0;
    for (int i = 0; i < b->n; i++)
        sum += b->k[i].ns;
    for (int i = 0; i < b->n; i++) {
        int64_t part = sum > 0 ? (int64_t)((double)ns * ((double)b->k[i].ns / (double)sum)) : 0;
        cab_session_record(r, &x[1 + i], start, part);
        start += part;
    }
}

int cab_run_band(cab_run *r, const cab_plan_instr *x)
{
    cab_session *s = r->s;
    band b = { .timed = s->trace != NULL, .n_rooms = n_threads(s) };
    uint64_t n_args = 0, n_ints = 0, shared;
    int64_t start = b.timed ? cab_now_ns() : 0;
    void *memory;
    if (!read_sizes(s, x, &b, &n_args, &n_ints))
        return CAB_OK;
    shared = up64(n_args * sizeof(void *) + n_ints * sizeof(int64_t));
    int rc = cab_session_scratch(s, shared + (uint64_t)b.n_rooms * b.room, &memory, r->e);
    if (rc != CAB_OK)
        return rc;
    b.rooms = (uint8_t *)memory + shared;
    set_up(s, x, memory, n_args, &b);
    int64_t n = s->slots[x[1].c];
    if (n > 1 && !r->in_pool) {
        cab_pool_enter(s->options.threads);
        r->in_pool = true;
    }
    cab_pool_run(run_tasks, (void *const[]){ &b }, NULL, n, s->options.threads);
    if (b.timed)
        record(r, x, &b, start);
    r->pc += x->a;
    return CAB_OK;
}
