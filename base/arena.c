/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.c - chunks, marks and cleanups.
 *
 * An arena is a stack of chunks, newest first; only the newest is allocated
 * from, so a mark is the newest chunk and how full it was.  Chunks start small
 * and double; an allocation that does not fit the usual size gets a chunk of
 * its own size.  Cleanup records live in the chunks themselves and all run
 * before any chunk is freed.  An arena without a job has nowhere to jump to:
 * running out of memory is then a bug.  Under AddressSanitizer the unused part
 * of every chunk is poisoned, so overruns are seen.
 */
#include "base/arena.h"
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 16 };
static const size_t FIRST_CHUNK = 8 << 10, LAST_CHUNK = 1 << 20;

typedef struct chunk {
    struct chunk *older;
    size_t size;                    /* of data */
    size_t used;
    _Alignas(ALIGN) char data[];
} chunk;

typedef struct cleanup {
    struct cleanup *older;
    void (*fn)(void *);
    void *arg;
} cleanup;

struct cab_arena {
    cab_job *job;                   /* may be NULL */
    chunk *top;                     /* may be NULL */
    cleanup *cleanups;
    size_t next;                    /* size of the next chunk */
    size_t bytes;                   /* malloc'ed, this struct included */
};

/* malloc within the job's budget; NULL when it fails. */
static void *take(cab_job *job, size_t n)
{
    void *p;

    if (job) {
        job->n_chunks++;
        if (job->n_chunks == job->fail_at)
            return NULL;
        if (job->budget && (job->used > job->budget
                            || n > job->budget - job->used))
            return NULL;
    }
    p = malloc(n);
    if (p && job) {
        job->used += n;
        if (job->used > job->peak)
            job->peak = job->used;
    }
    return p;
}

/* The whole pages (of so many bytes) of a piece of memory; false: there is none. */
static bool whole_pages(const void *p, size_t n, size_t page, char **out, size_t *out_n)
{
    uintptr_t from = ((uintptr_t)p + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)p + n) / page * page;

    *out = (char *)from;
    *out_n = to > from ? to - from : 0;
    return to > from;
}

/* Weights: fewer and larger pages take less time to get. */
static void use_large_pages(chunk *c)
{
    enum { LARGE_PAGE = 2 << 20 };
    char *p;
    size_t n;

    if (whole_pages(c->data, c->size, LARGE_PAGE, &p, &n))
        (void)madvise(p, n, MADV_HUGEPAGE);
}

static void give(cab_job *job, void *p, size_t n)
{
    if (job)
        job->used -= n;
    free(p);
}

_Noreturn static void out_of_memory(cab_arena *a)
{
    if (a->job)
        longjmp(a->job->pad, 1);
    cab_bug(__FILE__, __LINE__, "out of memory in an arena without a job");
}

cab_arena *cab_arena_create(cab_job *job)
{
    cab_arena *a = take(job, sizeof *a);

    if (a)
        *a = (cab_arena){ .job = job, .next = FIRST_CHUNK, .bytes = sizeof *a };
    return a;
}

static void drop_top(cab_arena *a)
{
    chunk *c = a->top;
    size_t n = sizeof *c + c->size;

    a->top = c->older;
    a->bytes -= n;
    UNPOISON(c->data, c->size);
    give(a->job, c, n);
}

static void run_cleanups(cab_arena *a, const cleanup *until)
{
    while (a->cleanups != until) {
        cleanup *c = a->cleanups;
        a->cleanups = c->older;
        c->fn(c->arg);
    }
}

void cab_arena_destroy(cab_arena *a)
{
    if (!a)
        return;
    run_cleanups(a, NULL);
    while (a->top)
        drop_top(a);
    give(a->job, a, sizeof *a);
}

void cab_arena_reset(cab_arena *a)
{
    run_cleanups(a, NULL);
    while (a->top && (a->top->older || a->top->size > LAST_CHUNK))
        drop_top(a);
    if (a->top) {
        a->top->used = 0;
        POISON(a->top->data, a->top->size);
    }
}

cab_job *cab_arena_job(cab_arena *a)
{
    return a->job;
}

size_t cab_arena_bytes(const cab_arena *a)
{
    return a->bytes;
}

/* A new top chunk with room for n (a multiple of ALIGN). */
static void push_chunk(cab_arena *a, size_t n)
{
    size_t size = n > a->next / 2 ? n + a->next / 4 : a->next;
    chunk *c = take(a->job, sizeof *c + size);

    if (!c && size > n) {           /* near the budget: the exact size */
        size = n;
        if (!a->job || a->job->n_chunks != a->job->fail_at)
            c = take(a->job, sizeof *c + size);
    }
    if (!c)
        out_of_memory(a);
    c->older = a->top;
    c->size = size;
    c->used = 0;
    use_large_pages(c);
    POISON(c->data, c->size);
    a->top = c;
    a->bytes += sizeof *c + size;
    if (a->next < LAST_CHUNK)
        a->next *= 2;
}

void *cab_alloc(cab_arena *a, size_t n)
{
    size_t room;
    char *p;

    if (n > SIZE_MAX / 2)
        out_of_memory(a);
    room = n ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (!a->top || room > a->top->size - a->top->used)
        push_chunk(a, room);
    p = a->top->data + a->top->used;
    a->top->used += room;
    UNPOISON(p, n);
    return p;
}

void *cab_alloc_zero(cab_arena *a, size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n))
        out_of_memory(a);
    return memset(cab_alloc(a, n), 0, n);
}

void *cab_dup(cab_arena *a, const void *p, size_t n)
{
    void *q = cab_alloc(a, n);

    if (n)
        memcpy(q, p, n);
    return q;
}

char *cab_strndup(cab_arena *a, const char *s, size_t n)
{
    char *q;

    if (n == SIZE_MAX)
        out_of_memory(a);
    q = cab_alloc(a, n + 1);
    if (n)
        memcpy(q, s, n);
    q[n] = 0;
    return q;
}

char *cab_strdup(cab_arena *a, const char *s)
{
    return cab_strndup(a, s, strlen(s));
}

char *cab_vprintf(cab_arena *a, const char *fmt, va_list ap)
{
    va_list again;
    char *s;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        out_of_memory(a);
    s = cab_alloc(a, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    return s;
}

char *cab_printf(cab_arena *a, const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    s = cab_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}

void cab_arena_drop(const cab_arena *a, const void *p, size_t n)
{
    const size_t page = 4096;
    char *from = NULL;

    for (const chunk *c = a->top; c; c = c->older)
        if ((const char *)p >= c->data && (const char *)p + n <= c->data + c->used &&
            whole_pages(p, n, page, &from, &n)) {
            (void)madvise(from, n, MADV_DONTNEED);
            return;
        }
}

void cab_arena_cleanup(cab_arena *a, void (*fn)(void *), void *arg)
{
    cleanup *c = cab_alloc(a, sizeof *c);

    *c = (cleanup){ a->cleanups, fn, arg };
    a->cleanups = c;
}

cab_mark cab_arena_mark(cab_arena *a)
{
    return (cab_mark){ a->top, a->top ? a->top->used : 0, a->cleanups };
}

void cab_arena_release(cab_arena *a, cab_mark m)
{
    run_cleanups(a, m.cleanup);
    while (a->top != m.chunk)
        drop_top(a);
    if (a->top) {
        a->top->used = m.used;
        POISON(a->top->data + m.used, a->top->size - m.used);
    }
}
