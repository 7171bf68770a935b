/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_durable.c - the store and the registry when the disk, the file system or memory fails;
 * and the order in which a stored file reaches the disk.
 *
 * Linked with --wrap: calls of the server's code go through here.
 */
#include "tests/serve/store_kit.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is wrapped ---- */

static char events[256];                   /* f = file synced, d = folder synced, l = linked, r = renamed */
static int fail_sync, fail_alloc, no_tmpfile;      /* countdown to a failure; 0 = never */

static void note(char what)
{
    size_t n = strlen(events);
    if (n + 1 < sizeof events)
        events[n] = what;
}

static int hit(int *countdown) { return *countdown && !--*countdown; }

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat st;
    if (hit(&fail_sync)) {
        errno = EIO;
        return -1;
    }
    note(!fstat(fd, &st) && S_ISDIR(st.st_mode) ? 'd' : 'f');
    return __real_fsync(fd);
}

int __real_linkat(int a, const char *from, int b, const char *to, int flags);
int __wrap_linkat(int a, const char *from, int b, const char *to, int flags);
int __wrap_linkat(int a, const char *from, int b, const char *to, int flags)
{
    note('l');
    return __real_linkat(a, from, b, to, flags);
}

int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to)
{
    note('r');
    return __real_renameat(a, from, b, to);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    unsigned mode = va_arg(ap, unsigned);
    va_end(ap);
    if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_openat(dir, path, flags, mode);
}

static int no_room(void) { return hit(&fail_alloc); }

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) { return no_room() ? NULL : __real_malloc(n); }
void *__real_calloc(size_t n, size_t m);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_calloc(size_t n, size_t m) { return no_room() ? NULL : __real_calloc(n, m); }
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n) { return no_room() ? NULL : __real_realloc(p, n); }
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s) { return no_room() ? NULL : __real_strdup(s); }

/* ---- order and faults of the disk ---- */

static store a;                            /* the one folder of this test */

static cab_status add(const char *text, cab_digest *g)
{
    memset(events, 0, sizeof events);
    return cab_blobs_add(a.blobs, text, strlen(text), g, NULL);
}

static int in_tmp(void) { return files_in(in_top("a/tmp")); }

static void check_order(void)
{
    cab_digest g;
    CHECK_EQ(add("one", &g), CAB_OK);
    CHECK_STR(events, "fld");              /* bytes, name, folder */
    CHECK_EQ(add("one", &g), CAB_OK);
    CHECK_STR(events, "fld");              /* found: still durable before it is said */
    no_tmpfile = 1;
    CHECK_EQ(add("two", &g), CAB_OK);
    CHECK_STR(events, "frd");
    CHECK_EQ(cab_blobs_verify(a.blobs, &g, NULL), CAB_OK);
    CHECK_EQ(add("two", &g), CAB_OK);
    CHECK_EQ(in_tmp(), 0);
    cab_blob_writer *w;
    CHECK_EQ(cab_blob_begin(a.blobs, 0, &w, NULL), CAB_OK);
    CHECK_EQ(in_tmp(), 1);
    cab_blob_abort(w);
    CHECK_EQ(in_tmp(), 0);
    no_tmpfile = 0;
}

/* Nothing is acknowledged that was not synced; the same again succeeds. */
static void check_sync_failures(void)
{
    for (no_tmpfile = 0; no_tmpfile < 2; no_tmpfile++)
        for (int k = 1; k <= 2; k++) {
            char text[32];
            cab_digest g;
            snprintf(text, sizeof text, "sync %d %d", no_tmpfile, k);
            fail_sync = k;
            CHECK_EQ(add(text, &g), CAB_EIO);
            CHECK_EQ(fail_sync, 0);
            CHECK_EQ(in_tmp(), 0);
            CHECK_EQ(add(text, &g), CAB_OK);
            CHECK_EQ(cab_blobs_verify(a.blobs, &g, NULL), CAB_OK);
        }
    no_tmpfile = 0;
}

/* ---- memory ---- */

static const char io[] = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,3]}],\"outputs\":[]}";

static cab_status use(cab_blobs *b, cab_registry *r, cab_diag *d)
{
    cab_digest g;
    cab_version_list found = { 0 };
    cab_model_list models = { 0 };
    int64_t v = 1, *chosen = NULL;
    size_t n;
    const char *const tags[] = { "t" };
    CAB_TRY(cab_blobs_add(b, "memory", 6, &g, d));
    CAB_TRY(cab_registry_put_version(r, "m", &v, &(cab_version_content){ .artifact = &g, .io = io,
                                     .tags = tags, .n_tags = 1 }, NULL, d));
    CAB_TRY(cab_registry_set_label(r, "m", "l", 1, d));
    CAB_TRY(cab_registry_discover(r, &(cab_query){ .name = "m*", .shape = "[-1,3]" }, &found, d));
    CHECK_EQ(found.n, 1);
    cab_version_list_fini(&found);
    CAB_TRY(cab_registry_models(r, NULL, &models, d));
    cab_model_list_fini(&models);
    CAB_TRY(cab_registry_chosen(r, "m", &chosen, &n, d));
    free(chosen);
    return cab_registry_remove_version(r, "m", 7, d) == CAB_ENOTFOUND ? CAB_OK : CAB_ENOMEM;
}

static cab_status whole(const char *path, cab_diag *d)
{
    store s;
    cab_status status = store_try(path, &s, d);
    if (status == CAB_OK)
        status = use(s.blobs, s.reg, d);
    store_close(&s);
    return status;
}

/* Every allocation fails once. */
static void check_memory(void)
{
    const char *path = in_top("memory");
    int k = 0, bad = 0;
    cab_status s;
    do {
        fail_alloc = ++k;
        s = whole(path, &diag);
        bad += s != CAB_OK && s != CAB_ENOMEM;
        cab_diag_clear(&diag);
    } while (!fail_alloc && k < 10000);
    fail_alloc = 0;
    CHECK_EQ(bad, 0);
    CHECK_EQ(s, CAB_OK);
    CHECK(k > 15);
    CHECK_EQ(whole(path, &diag), CAB_OK);
    CHECK(says("has no version 7"));      /* use() asked for it */
}

int main(void)
{
    store_kit_begin("durable");
    a = store_open("a");
    check_order();
    check_sync_failures();
    check_memory();
    store_close(&a);
    store_kit_end();
    TEST_END();
}
