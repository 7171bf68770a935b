/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scarce.c - memory that runs out where a test says.
 */
#include "tests/serve/scarce.h"
#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <malloc.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool spared;
static atomic_long seen, fail_at, blocks;
static atomic_bool all_from_there;

void scarce_spare_me(void) { spared = true; }

void scarce_begin(long n, bool whole)
{
    atomic_store(&all_from_there, whole);
    atomic_store(&seen, 0);
    atomic_store(&fail_at, n);
}

long scarce_end(void)
{
    atomic_store(&fail_at, 0);
    return atomic_load(&seen);
}

long scarce_blocks(void) { return atomic_load(&blocks); }
long scarce_sqlite_bytes(void) { return (long)sqlite3_memory_used(); }

static bool refused(void)
{
    if (spared)
        return false;
    long n = atomic_fetch_add(&seen, 1) + 1, at = atomic_load(&fail_at);
    bool no = at && (n == at || (n > at && atomic_load(&all_from_there)));
    if (no)
        errno = ENOMEM;
    return no;
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&blocks, 1);
    return p;
}

/* ---- the server's own calls ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **out, const char *fmt, va_list ap);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap);
int __wrap_asprintf(char **out, const char *fmt, ...);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) { return refused() ? NULL : counted(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t size) { return refused() ? NULL : counted(__real_calloc(n, size)); }
void *__wrap_aligned_alloc(size_t align, size_t n) { return refused() ? NULL : counted(__real_aligned_alloc(align, n)); }
char *__wrap_strdup(const char *s) { return refused() ? NULL : counted(__real_strdup(s)); }
char *__wrap_strndup(const char *s, size_t n) { return refused() ? NULL : counted(__real_strndup(s, n)); }

void *__wrap_realloc(void *p, size_t n)
{
    if (refused())
        return NULL;
    void *q = __real_realloc(p, n);
    return p ? q : counted(q);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
    *out = NULL;
    int n = refused() ? -1 : __real_vasprintf(out, fmt, ap);
    if (n >= 0)
        counted(*out);
    return n;
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = __wrap_vasprintf(out, fmt, ap);
    va_end(ap);
    return n;
}

void __wrap_free(void *p)
{
    if (p)
        atomic_fetch_sub(&blocks, 1);
    __real_free(p);
}

/* ---- nghttp2: sessions of servers (the test's own client makes another kind) ---- */

#define UNUSED __attribute__((unused))
static void *h2_malloc(size_t n, void *user UNUSED) { return __wrap_malloc(n); }
static void *h2_calloc(size_t n, size_t size, void *user UNUSED) { return __wrap_calloc(n, size); }
static void *h2_realloc(void *p, size_t n, void *user UNUSED) { return __wrap_realloc(p, n); }
static void h2_free(void *p, void *user UNUSED) { __wrap_free(p); }

__typeof__(nghttp2_session_server_new) __wrap_nghttp2_session_server_new;
int __wrap_nghttp2_session_server_new(nghttp2_session **out, const nghttp2_session_callbacks *cb, void *user)
{
    static nghttp2_mem mem = { NULL, h2_malloc, h2_free, h2_calloc, h2_realloc };
    return nghttp2_session_server_new3(out, cb, user, NULL, &mem);
}

/* ---- OpenSSL, SQLite ---- */

static void *ssl_malloc(size_t n, const char *file UNUSED, int line UNUSED) { return __wrap_malloc(n); }
static void *ssl_realloc(void *p, size_t n, const char *file UNUSED, int line UNUSED) { return __wrap_realloc(p, n); }
static void ssl_free(void *p, const char *file UNUSED, int line UNUSED) { __wrap_free(p); }

/* SQLite keeps pages: its memory is counted by itself. */
static void *sql_malloc(int n) { return refused() ? NULL : __real_malloc((size_t)n); }
static void *sql_realloc(void *p, int n) { return refused() ? NULL : __real_realloc(p, (size_t)n); }
static void sql_free(void *p) { __real_free(p); }
static int sql_size(void *p) { return (int)malloc_usable_size(p); }
static int sql_roundup(int n) { return (n + 7) / 8 * 8; }
static int sql_init(void *user UNUSED) { return SQLITE_OK; }
static void sql_shutdown(void *user UNUSED) {}

void scarce_init(void)
{
    static const sqlite3_mem_methods mem = { sql_malloc, sql_free, sql_realloc, sql_size, sql_roundup, sql_init, sql_shutdown, NULL };
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &mem) || !CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free))
        abort();
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
}
