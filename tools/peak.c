/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peak.c - loops that do nothing but multiply and add, or read.
 *
 * Written once, for each width of vectors: twelve independent accumulators
 * hide the latency of the two multiply-add units there are; reads are added to
 * eight.  A try is short and the best of some counts: what other processes
 * take can only lower it.
 */
#include "tools/peak.h"
#include "base/base.h"
#include <immintrin.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACCS = 12, ROUNDS = 20000, TRIES = 4, MAX_THREADS = 256 };

#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define START(i) V c##i = LOAD(p + LANES * (2 + i));
#define STEP(i) c##i = FMA(a, b, c##i);
#define KEEP(i) STORE(p + LANES * (2 + i), c##i);
#define FMA_LOOP(name, isa) \
    __attribute__((target(isa), noinline)) static void name(float *p) \
    { \
        V a = LOAD(p), b = LOAD(p + LANES); \
        TWELVE(START) \
        for (int i = 0; i < ROUNDS; i++) { \
            TWELVE(STEP) TWELVE(STEP) TWELVE(STEP) TWELVE(STEP) \
        } \
        TWELVE(KEEP) \
    }
#define FIRST(i) V s##i = LOAD(p + LANES * i);
#define SUM(i) s##i = ADD(s##i, LOAD(p + at + LANES * i));
#define OUT(i) STORE(out, ADD(LOAD(out), s##i));
/* n: a multiple of 8 vectors. */
#define READ_LOOP(name, isa) \
    __attribute__((target(isa), noinline)) static void name(const float *p, size_t n, float *out) \
    { \
        EIGHT(FIRST) \
        for (size_t at = 0; at < n; at += 8 * LANES) { \
            EIGHT(SUM) \
        } \
        EIGHT(OUT) \
    }

#define V __m512
#define LANES 16
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define FMA _mm512_fmadd_ps
#define ADD _mm512_add_ps
FMA_LOOP(fma_64, "avx512f")
READ_LOOP(read_64, "avx512f")
#undef V
#undef LANES
#undef LOAD
#undef STORE
#undef FMA
#undef ADD

#define V __m256
#define LANES 8
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define FMA _mm256_fmadd_ps
#define ADD _mm256_add_ps
FMA_LOOP(fma_32, "avx2,fma")
READ_LOOP(read_32, "avx2,fma")
#undef V
#undef LANES
#undef LOAD
#undef STORE
#undef FMA
#undef ADD

#define V __m128
#define LANES 4
#define LOAD _mm_loadu_ps
#define STORE _mm_storeu_ps
#define FMA(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define ADD _mm_add_ps
FMA_LOOP(fma_16, "sse2")
READ_LOOP(read_16, "sse2")

/* ---- on threads ---- */
typedef struct work {
    pthread_barrier_t *start;
    int vector_bytes;
    float *buf;                /* of a read: bytes of it; else a few vectors */
    uint64_t bytes, rounds;    /* 0: multiply-adds */
    double rate;               /* best, per ns */
} work;

static double once(const work *w)
{
    _Alignas(64) float sums[16] = { 0 };
    int64_t t0 = cab_now_ns();
    for (uint64_t i = 0; i < w->rounds; i++) {
        void (*read)(const float *, size_t, float *) =
            w->vector_bytes == 64 ? read_64 : w->vector_bytes == 32 ? read_32 : read_16;
        read(w->buf, w->bytes / sizeof(float), sums);
    }
    if (!w->bytes)
        (w->vector_bytes == 64 ? fma_64 : w->vector_bytes == 32 ? fma_32 : fma_16)(w->buf);
    double ns = (double)(cab_now_ns() - t0);
    double done = w->bytes ? (double)w->bytes * (double)w->rounds
                           : 2.0 * 4 * ACCS * ROUNDS * (w->vector_bytes / 4);
    return done / (ns > 1 ? ns : 1);
}

static void *run(void *arg)
{
    work *w = arg;
    for (int i = 0; i < TRIES; i++) {
        if (w->start)
            pthread_barrier_wait(w->start);
        double rate = once(w);
        w->rate = rate > w->rate ? rate : w->rate;
    }
    return NULL;
}

static double run_alone(work *w)
{
    w->start = NULL;
    run(w);
    return w->rate;
}

/* Sum of the rates; a thread that cannot be started makes it that of one. */
static double run_all(work *w, int n)
{
    pthread_t t[MAX_THREADS];
    pthread_barrier_t start;
    double sum = 0;
    if (n == 1 || pthread_barrier_init(&start, NULL, (unsigned)n))
        return run_alone(w);
    for (int i = 0; i < n; i++) {
        w[i].start = &start;
        if (pthread_create(&t[i], NULL, run, &w[i]))
            abort();           /* the others wait at the barrier for ever */
    }
    for (int i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
        sum += w[i].rate;
    }
    pthread_barrier_destroy(&start);
    return sum;
}

/* buffer: bytes of each thread's memory; read: whether they are what is timed. */
static double measure(int vector_bytes, uint64_t buffer, bool read, int threads)
{
    work w[MAX_THREADS];
    threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    buffer = (buffer + 511) / 512 * 512;
    uint8_t *all = aligned_alloc(4096, (buffer * (uint64_t)threads + 4095) / 4096 * 4096);
    if (!all)
        return 0;
    memset(all, 0, buffer * (uint64_t)threads);    /* pages of its own */
    for (int i = 0; i < threads; i++)
        w[i] = (work){ .vector_bytes = vector_bytes, .buf = (float *)(all + buffer * (uint64_t)i),
                       .bytes = read ? buffer : 0,
                       .rounds = read ? 1 + ((uint64_t)1 << 23) / buffer : 0 };
    double rate = run_all(w, threads);
    free(all);
    return rate;
}

double peak_fma(int vector_bytes, int threads)
{
    return measure(vector_bytes, 64 * (2 + ACCS), false, threads);
}

double peak_read(int vector_bytes, uint64_t bytes, int threads)
{
    return measure(vector_bytes, bytes, true, threads);
}

/* sysconf of glibc adds up what a virtual machine says of its host. */
uint64_t peak_cache_bytes(int level)
{
    char path[80];
    unsigned long long kb = 0;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", level);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%lluK", &kb) != 1)
        kb = 0;
    if (f)
        fclose(f);
    return kb << 10;
}

int peak_vector_bytes(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") ? 64
         : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 32 : 16;
}

/* ---- a machine ---- */
void peaks_init(peaks *p, int threads)
{
    *p = (peaks){ .threads = threads, .vector_bytes = peak_vector_bytes(),
                  .l2_bytes = peak_cache_bytes(2), .l3_bytes = peak_cache_bytes(3) };
    if (!p->l2_bytes)
        p->l2_bytes = 256 << 10;
}

static void raise(double *best, double v) { *best = v > *best ? v : *best; }

/* Half of a level, that of all threads together where they share it; from memory
 * twice what the caches hold. */
void peaks_measure(peaks *p)
{
    uint64_t n = (uint64_t)p->threads, l3 = p->l3_bytes / 2 / n;
    uint64_t far = 2 * (p->l3_bytes > p->l2_bytes * n ? p->l3_bytes : p->l2_bytes * n);
    const uint64_t most = (uint64_t)1 << 30;
    raise(&p->fma, peak_fma(p->vector_bytes, p->threads));
    raise(&p->read_l2, peak_read(p->vector_bytes, p->l2_bytes / 2, p->threads));
    if (l3 > 2 * p->l2_bytes)
        raise(&p->read_l3, peak_read(p->vector_bytes, l3, p->threads));
    far = far < most ? far : most;
    raise(&p->read_memory, peak_read(p->vector_bytes, far / n, p->threads));
}

double peaks_read_of(const peaks *p, double bytes)
{
    if (bytes <= (double)p->l2_bytes * p->threads)
        return p->read_l2;
    return p->read_l3 > 0 && bytes <= (double)p->l3_bytes ? p->read_l3 : p->read_memory;
}
