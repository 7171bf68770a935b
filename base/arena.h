/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.h - memory that belongs to a lifetime.
 *
 * A bump allocator over malloc'ed chunks with a cleanup chain.  Allocation
 * never returns NULL: when malloc fails, or the job's byte budget is spent,
 * it longjmps to the landing pad of its compile job (cab_job).  Not
 * thread-safe: one thread per arena at a time.  Never allocate from a callback
 * of a foreign library (protobuf-c, LLVM): jumping across it is undefined.
 */
#ifndef CAB_BASE_ARENA_H
#define CAB_BASE_ARENA_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* One compile job: the landing pad and the budget its arenas share. */
typedef struct cab_job {
    jmp_buf pad;          /* set with CAB_JOB_ENTER */
    size_t budget;        /* bytes the job's arenas may hold; 0 = no limit */
    size_t used;          /* bytes held now */
    size_t peak;          /* most bytes held */
    uint64_t fail_at;     /* tests: the k-th chunk allocation fails; 0 = never */
    uint64_t n_chunks;    /* chunk allocations so far */
} cab_job;

/* Nonzero when an allocation failed: the caller drops the job's arenas and
 * returns CAB_ENOMEM.  Locals changed since must be volatile. */
#define CAB_JOB_ENTER(job) setjmp((job)->pad)

typedef struct cab_arena cab_arena;

/* NULL when out of memory (the only arena call that reports it so). */
cab_arena *cab_arena_create(cab_job *job);
/* Runs the cleanups, newest first, and frees everything. NULL is allowed. */
void cab_arena_destroy(cab_arena *a);
/* As destroy, but the arena stays usable (keeps one chunk). */
void cab_arena_reset(cab_arena *a);
cab_job *cab_arena_job(cab_arena *a);
size_t cab_arena_bytes(const cab_arena *a);

/* 16-byte aligned; contents undefined.  n == 0 gives a valid pointer. */
void *cab_alloc(cab_arena *a, size_t n);
/* Zeroed; count * size is checked for overflow. */
void *cab_alloc_zero(cab_arena *a, size_t count, size_t size);
void *cab_dup(cab_arena *a, const void *p, size_t n);
char *cab_strdup(cab_arena *a, const char *s);
char *cab_strndup(cab_arena *a, const char *s, size_t n);
char *cab_vprintf(cab_arena *a, const char *fmt, va_list ap);
char *cab_printf(cab_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define CAB_NEW(a, T) ((T *)cab_alloc_zero((a), 1, sizeof(T)))
#define CAB_NEW_N(a, T, n) ((T *)cab_alloc_zero((a), (size_t)(n), sizeof(T)))

/* What the arena holds at p..p+n is not read any more: whole pages of it go back
 * to the system now.  Memory that is not the arena's is left alone.  Threads may
 * call it at once, as long as none allocates. */
void cab_arena_drop(const cab_arena *a, const void *p, size_t n);

/* Runs fn(arg) at destroy or reset; for foreign handles (mmaps, LLVM). */
void cab_arena_cleanup(cab_arena *a, void (*fn)(void *), void *arg);

/* Scratch marks: release frees what was allocated since the mark (cleanups
 * registered since run too). */
typedef struct cab_mark { void *chunk; size_t used; void *cleanup; } cab_mark;
cab_mark cab_arena_mark(cab_arena *a);
void cab_arena_release(cab_arena *a, cab_mark m);

#endif
