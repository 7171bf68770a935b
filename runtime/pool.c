/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - the one thread pool of the process, shared by all sessions.
 *
 * Sized by affinity and cgroup quota; threads start with the first run that
 * wants them.  One launch uses the pool at a time: a launch that finds it
 * taken runs on its own thread, so sessions never wait for one another.
 * Every thread has a range of the tasks of its own, the same in each launch, so
 * that it finds rows near that it wrote itself; what is left of the others'
 * ranges is claimed when the own one is empty, all in chunks from atomic
 * counters.  Which thread runs a task never changes a result.  Workers spin between launches while a run is
 * active (a futex wake costs 50-200 us in a virtual machine) and park between
 * runs.
 */
#include "runtime/runtime_int.h"
#include <pthread.h>

#define MAX_WORKERS 255
#define SPINS 20000
#define CLOSED (1 << 30)

/* Tasks from next up to end are still to be claimed. */
typedef struct range { _Alignas(64) atomic_llong next; int64_t end; } range;

static struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_once_t once;
    int width, n_workers;              /* n_workers: started, under lock */
    atomic_int runs;                   /* active runs that may use workers */
    atomic_flag taken;                 /* a launch owns the fields below */
    cab_kernel_fn fn;
    void *const *bufs;
    const int64_t *ints;
    int64_t chunk;
    int wanted;                        /* workers that may take part */
    range ranges[MAX_WORKERS + 1];     /* of them wanted + 1 */
    atomic_int joined;                 /* workers that came, plus CLOSED */
    atomic_int done;                   /* of them, those that left */
    atomic_uint epoch;                 /* counts launches: what spinners watch */
} pool = { .joined = CLOSED, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
           .once = PTHREAD_ONCE_INIT, .taken = ATOMIC_FLAG_INIT };

static void find_width(void)
{
    int n = cab_processors();
    pool.width = n > MAX_WORKERS ? MAX_WORKERS : n;
}

int cab_pool_threads(void)
{
    pthread_once(&pool.once, find_width);
    return pool.width;
}

static void work(int number)
{
    int n = pool.wanted + 1;
    for (int i = 0; i < n; i++) {
        range *r = &pool.ranges[(number + i) % n];
        for (;;) {
            int64_t lo = atomic_fetch_add_explicit(&r->next, pool.chunk, memory_order_relaxed);
            if (lo >= r->end)
                break;
            int64_t hi = r->end - lo < pool.chunk ? r->end : lo + pool.chunk;
            pool.fn(pool.bufs, pool.ints, lo, hi);
        }
    }
}

static void cut_ranges(int64_t n)
{
    int64_t parts = pool.wanted + 1, each = n / parts, more = n % parts, at = 0;
    for (int i = 0; i < parts; i++) {
        atomic_store_explicit(&pool.ranges[i].next, at, memory_order_relaxed);
        at += each + (i < more);
        pool.ranges[i].end = at;
    }
    pool.chunk = each / 8 < 1 ? 1 : each / 8;
}

static unsigned wait_for_launch(unsigned seen)
{
    unsigned now;
    for (int i = 0; i < SPINS; i++) {
        if ((now = atomic_load_explicit(&pool.epoch, memory_order_acquire)) != seen)
            return now;
        if (atomic_load_explicit(&pool.runs, memory_order_relaxed) > 0)
            i = 0;
        __builtin_ia32_pause();
    }
    pthread_mutex_lock(&pool.lock);
    while ((now = atomic_load_explicit(&pool.epoch, memory_order_acquire)) == seen &&
           atomic_load_explicit(&pool.runs, memory_order_relaxed) == 0)
        pthread_cond_wait(&pool.wake, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    return now;
}

/* A launch is open from the store that clears CLOSED until its owner sets it
 * again; a worker that comes late finds it closed and goes back to waiting, so
 * the owner never waits for a thread that is still waking up. */
static void join_launch(int number)
{
    int ticket = atomic_fetch_add_explicit(&pool.joined, 1, memory_order_acquire);
    if (ticket & CLOSED)
        return;
    if (ticket < pool.wanted)
        work(number);
    atomic_fetch_add_explicit(&pool.done, 1, memory_order_release);
}

static void *worker(void *arg)
{
    unsigned seen = 0;
    int number = (int)(intptr_t)arg;
    for (;;) {
        unsigned now = wait_for_launch(seen);
        if (now != seen)
            join_launch(number);
        seen = now;
    }
    return NULL;
}

static void start_workers(int n)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr))
        return;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    while (pool.n_workers < n) {
        pthread_t t;
        if (pthread_create(&t, &attr, worker, (void *)(intptr_t)(pool.n_workers + 1)))
            break;
        pool.n_workers++;
    }
    pthread_attr_destroy(&attr);
}

static int workers_for(int threads)
{
    int width = cab_pool_threads();
    threads = threads <= 0 || threads > width ? width : threads;
    return threads - 1;
}

void cab_pool_enter(int threads)
{
    int n = workers_for(threads);
    if (n <= 0)
        return;
    pthread_mutex_lock(&pool.lock);
    start_workers(n);
    atomic_fetch_add(&pool.runs, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

void cab_pool_leave(int threads)
{
    if (workers_for(threads) > 0)
        atomic_fetch_sub(&pool.runs, 1);
}

void cab_pool_run(cab_kernel_fn fn, void *const *bufs, const int64_t *ints, int64_t n,
                  int threads)
{
    int wanted = workers_for(threads);
    if (wanted > n - 1)
        wanted = (int)(n - 1);
    if (wanted <= 0 || atomic_flag_test_and_set_explicit(&pool.taken, memory_order_acquire)) {
        fn(bufs, ints, 0, n);
        return;
    }
    pool.fn = fn;
    pool.bufs = bufs;
    pool.ints = ints;
    pool.wanted = wanted;
    cut_ranges(n);
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.joined, 0, memory_order_release);
    atomic_fetch_add_explicit(&pool.epoch, 1, memory_order_release);
    work(0);
    int joined = atomic_fetch_or_explicit(&pool.joined, CLOSED, memory_order_acq_rel);
    while (atomic_load_explicit(&pool.done, memory_order_acquire) < joined)
        __builtin_ia32_pause();
    atomic_flag_clear_explicit(&pool.taken, memory_order_release);
}
