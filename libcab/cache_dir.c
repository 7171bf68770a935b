/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_dir.c - the folder of a cache: private, bounded, free of litter.
 *
 * Every file appears by rename, so a reader sees whole files or none.  A
 * process that writes holds the file "lock" shared; whoever gets it
 * exclusively knows that the temporaries lying about are nobody's.  A process
 * that is killed lets go of the lock; nothing needs repair.
 */
#include "libcab/libcab_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MAX_SEALED = (size_t)4 << 20;

const char *cab_hex(cab_arena *a, const uint8_t *p, size_t n)
{
    char *s = cab_alloc(a, 2 * n + 1);
    for (size_t i = 0; i < n; i++)
        snprintf(s + 2 * i, 3, "%02x", p[i]);
    return s;
}

cab_status cab_cache_folder(cab_arena *a, const char *path, cab_diag *d)
{
    struct stat st;
    char *p = cab_strdup(a, *path ? path : ".");
    for (char *slash = strchr(p + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(p, 0777);
        *slash = '/';
    }
    mkdir(p, 0700);
    if (stat(p, &st) || !S_ISDIR(st.st_mode)) {
        cab_warn(d, NULL, "no cache: cannot make the folder %s: %s", path,
                 errno ? strerror(errno) : "it is something else");
        return CAB_EIO;
    }
    /* Whoever can write there decides which code runs here. */
    if (st.st_uid != geteuid() || st.st_mode & 022) {
        cab_warn(d, NULL, "no cache: others may write into the folder %s", path);
        return CAB_EIO;
    }
    return CAB_OK;
}

/* ---- litter ---- */

static bool is_temporary(const char *name) { return strstr(name, ".tmp.") != NULL; }

static void remove_temporaries(const char *dir)
{
    DIR *f = opendir(dir);
    for (struct dirent *e; f && (e = readdir(f));)
        if (is_temporary(e->d_name)) {
            cab_log(1, "cache: removing %s/%s", dir, e->d_name);
            unlinkat(dirfd(f), e->d_name, 0);
        }
    if (f)
        closedir(f);
}

int cab_cache_lock(cab_arena *a, const char *dir)
{
    const char *path = cab_printf(a, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        remove_temporaries(dir);
    while (flock(fd, LOCK_SH) && errno == EINTR)
        ;
    return fd;
}

/* ---- size ---- */

typedef struct aged { const char *name; uint64_t bytes; int64_t used; } aged;

static int older_first(const void *pa, const void *pb)
{
    const aged *a = pa, *b = pb;
    return a->used < b->used ? -1 : a->used > b->used;
}

static bool is_entry(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".cab") || !strcmp(dot, ".memo") || !strcmp(dot, ".in"));
}

typedef CAB_VEC(aged) aged_list;

static uint64_t list_entries(cab_arena *a, DIR *f, aged_list *out)
{
    uint64_t sum = 0;
    struct stat st;
    for (struct dirent *e; (e = readdir(f));) {
        if (!is_entry(e->d_name) || fstatat(dirfd(f), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        aged x = { cab_strdup(a, e->d_name), (uint64_t)st.st_blocks * 512,
                   (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec };
        cab_vec_push(a, out, x);
        sum += x.bytes;
    }
    return sum;
}

static void close_held(void *p)
{
    DIR **held = p;
    if (*held)
        closedir(*held);
    *held = NULL;
}

void cab_cache_trim(cab_arena *a, const char *dir, uint64_t limit, const char *but)
{
    DIR **held = CAB_NEW(a, DIR *);
    aged_list list = { 0 };
    cab_arena_cleanup(a, close_held, held);
    *held = opendir(dir);
    if (!*held)
        return;
    uint64_t sum = list_entries(a, *held, &list);
    if (sum > limit)
        qsort(list.p, list.n, sizeof *list.p, older_first);
    for (size_t i = 0; i < list.n && sum > limit; i++) {
        if (!strcmp(list.p[i].name, but))
            continue;
        cab_log(1, "cache: over its size, removing %s", list.p[i].name);
        unlinkat(dirfd(*held), list.p[i].name, 0);
        sum -= list.p[i].bytes;
    }
    close_held(held);
}

/* ---- small files ---- */

bool cab_sealed_read(cab_arena *a, const char *path, const uint8_t **out, size_t *out_n)
{
    uint8_t sum[32];
    struct stat st;
    bool ok = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    if (!fstat(fd, &st) && st.st_size >= 32 && (size_t)st.st_size <= MAX_SEALED) {
        static const struct timespec touched[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
        uint8_t *p = malloc((size_t)st.st_size);
        size_t n = (size_t)st.st_size - 32;
        ok = p && pread(fd, p, n + 32, 0) == (ssize_t)n + 32 &&
             cab_hash_bytes(p, n, &(cab_cancel){ 0 }, sum, NULL) == CAB_OK &&
             !memcmp(sum, p + n, 32);
        if (ok) {
            cab_arena_cleanup(a, free, p);
            *out = p;
            *out_n = n;
            futimens(fd, touched);
        } else {
            free(p);
        }
    }
    close(fd);
    if (!ok) {
        cab_log(1, "cache: %s is damaged, removing it", path);
        unlink(path);
    }
    return ok;
}

void cab_sealed_write(const char *path, cab_buf *b)
{
    uint8_t sum[32];
    cab_hash_bytes(b->p, b->n, &(cab_cancel){ 0 }, sum, NULL);
    cab_buf_bytes(b, sum, sizeof sum);
    if (cab_file_write(path, b->p, b->n, NULL) != CAB_OK)
        cab_log(1, "cache: cannot write %s", path);
}
