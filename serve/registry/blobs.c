/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blobs.c - content-addressed files: writing and reading (garbage: blobs_sweep.c).
 *
 * A file is written without a name (O_TMPFILE), so that a process that dies
 * leaves nothing; where the file system cannot, under a name in ROOT/tmp, which
 * the next server empties.  Order of a commit: bytes, fsync of the file, link,
 * fsync of the folder.
 */
#include "serve/registry/blobs.h"
#include "serve/registry/blobs_int.h"
#include "base/sha256.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 << 10 };                /* of a file that is read to be hashed */

struct cab_blob_writer {
    cab_blobs *store;
    int fd;
    char temp[40];                         /* its name in tmp/; "" = none */
    bool lent;                             /* somebody else writes: hashed at the end */
    uint64_t n, limit;
    cab_sha256 sha;
};

static cab_status io_fail(cab_diag *d, const char *doing)
{
    cab_status s = errno == ENOMEM ? CAB_ENOMEM : CAB_EIO;
    return cab_fail(d, s, NULL, "cannot %s a stored file: %s", doing, strerror(errno));
}

/* ---- digests ---- */

void cab_digest_text(const cab_digest *g, char out[CAB_DIGEST_TEXT])
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof g->b; i++) {
        out[2 * i] = digit[g->b[i] >> 4];
        out[2 * i + 1] = digit[g->b[i] & 15];
    }
    out[CAB_DIGEST_TEXT - 1] = 0;
}

static int value_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cab_digest_parse(const char *text, cab_digest *out)
{
    if (strlen(text) != CAB_DIGEST_TEXT - 1)
        return false;
    for (size_t i = 0; i < sizeof out->b; i++) {
        int hi = value_of(text[2 * i]), lo = value_of(text[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out->b[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

bool cab_digest_equal(const cab_digest *a, const cab_digest *b)
{
    return !memcmp(a->b, b->b, sizeof a->b);
}

/* ---- the store ---- */

static int folder_in(int dir, const char *name)
{
    if (mkdirat(dir, name, 0700) && errno != EEXIST)
        return -1;
    return openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* ab/ of every name, made here and durable before any file lies in it. */
static bool make_parts(int dir)
{
    char part[3];
    for (int i = 0; i < 256; i++) {
        snprintf(part, sizeof part, "%02x", i);
        if (mkdirat(dir, part, 0700) && errno != EEXIST)
            return false;
    }
    return !fsync(dir);
}

/* blobs/sha256, or -1. */
static int open_folder(int root)
{
    int blobs = folder_in(root, "blobs"), dir = -1;
    if (blobs < 0)
        return -1;
    if (!fsync(root) && (dir = folder_in(blobs, "sha256")) >= 0 &&
        (fsync(blobs) || !make_parts(dir))) {
        close(dir);
        dir = -1;
    }
    close(blobs);
    return dir;
}

cab_status cab_blobs_open(const cab_root *root, cab_blobs **out, cab_diag *d)
{
    cab_blobs *b = malloc(sizeof *b);
    *out = NULL;
    if (!b)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    *b = (cab_blobs){ .tmp = root->tmp, .dir = open_folder(root->dir) };
    if (b->dir < 0 || pthread_mutex_init(&b->mutex, NULL)) {
        cab_fail(d, CAB_EIO, &(cab_where){ .file = root->path },
                 "cannot open the folder blobs/sha256: %s", strerror(errno));
        if (b->dir >= 0)
            close(b->dir);
        free(b);
        return CAB_EIO;
    }
    *out = b;
    return CAB_OK;
}

void cab_blobs_close(cab_blobs *b)
{
    if (!b)
        return;
    pthread_mutex_destroy(&b->mutex);
    close(b->dir);
    free(b);
}

void cab_blob_name(const cab_digest *g, char out[CAB_BLOB_NAME])
{
    char hex[CAB_DIGEST_TEXT];
    cab_digest_text(g, hex);
    snprintf(out, CAB_BLOB_NAME, "%.2s/%s", hex, hex);
}

/* ---- writing ---- */

static int create_named(cab_blobs *b, char temp[40])
{
    for (int tries = 0; tries < 100; tries++) {
        snprintf(temp, 40, "blob.%ld.%llu", (long)getpid(),
                 (unsigned long long)atomic_fetch_add(&b->made, 1));
        int fd = openat(b->tmp, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

cab_status cab_blob_begin(cab_blobs *b, uint64_t limit, cab_blob_writer **out, cab_diag *d)
{
    cab_blob_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    *w = (cab_blob_writer){ .store = b, .limit = limit };
    cab_sha256_init(&w->sha);
    w->fd = openat(b->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (w->fd < 0)
        w->fd = create_named(b, w->temp);
    if (w->fd < 0) {
        w->temp[0] = 0;
        free(w);
        return io_fail(d, "create");
    }
    *out = w;
    return CAB_OK;
}

void cab_blob_abort(cab_blob_writer *w)
{
    if (!w)
        return;
    if (w->temp[0])
        unlinkat(w->store->tmp, w->temp, 0);
    close(w->fd);
    free(w);
}

static bool over(const cab_blob_writer *w, uint64_t more)
{
    return w->limit && (more > w->limit || w->n > w->limit - more);
}

static cab_status too_large(const cab_blob_writer *w, cab_diag *d)
{
    return cab_fail(d, CAB_ELIMIT, NULL, "the file is larger than the %llu bytes that are allowed",
                    (unsigned long long)w->limit);
}

cab_status cab_blob_append(cab_blob_writer *w, const void *p, size_t n, cab_diag *d)
{
    const char *at = p;
    if (w->lent)
        return cab_fail(d, CAB_EINTERNAL, NULL, "another process writes this file");
    if (over(w, n))
        return too_large(w, d);
    cab_sha256_add(&w->sha, p, n);
    w->n += n;
    while (n) {
        ssize_t k = write(w->fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return io_fail(d, "write");
        at += k;
        n -= (size_t)k;
    }
    return CAB_OK;
}

int cab_blob_fd(cab_blob_writer *w)
{
    w->lent = true;
    return w->fd;
}

/* ---- hashing ---- */

/* Of the whole file. */
static cab_status hash_file(int fd, cab_digest *out, uint64_t *bytes, cab_diag *d)
{
    cab_sha256 h;
    uint64_t at = 0;
    char *buf = malloc(PIECE);
    if (!buf)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    cab_sha256_init(&h);
    for (;;) {
        ssize_t k = pread(fd, buf, PIECE, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            free(buf);
            return io_fail(d, "read");
        }
        if (!k)
            break;
        cab_sha256_add(&h, buf, (size_t)k);
        at += (uint64_t)k;
    }
    free(buf);
    cab_sha256_done(&h, out->b);
    *bytes = at;
    return CAB_OK;
}

static cab_status digest_of(cab_blob_writer *w, cab_digest *out, cab_diag *d)
{
    if (!w->lent) {
        cab_sha256_done(&w->sha, out->b);
        return CAB_OK;
    }
    CAB_TRY(hash_file(w->fd, out, &w->n, d));
    return over(w, 0) ? too_large(w, d) : CAB_OK;
}

/* ---- giving it its name ---- */

static int open_blob(cab_blobs *b, const char *name)
{
    return openat(b->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

/* 1: the file under this name is what it should be, and young again; 0: it is not. */
static int is_sound(cab_blobs *b, const char *name, const cab_digest *g, uint64_t n)
{
    struct stat st;
    cab_digest have;
    uint64_t bytes;
    int fd = open_blob(b, name), sound = 0;
    if (fd < 0)
        return 0;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == n &&
        hash_file(fd, &have, &bytes, NULL) == CAB_OK && cab_digest_equal(&have, g))
        sound = !futimens(fd, NULL);
    close(fd);
    return sound;
}

/* A name in tmp/ for a file that has none. */
static cab_status name_in_tmp(cab_blob_writer *w, cab_diag *d)
{
    char self[40];
    if (w->temp[0])
        return CAB_OK;
    snprintf(self, sizeof self, "/proc/self/fd/%d", w->fd);
    snprintf(w->temp, sizeof w->temp, "blob.%ld.%llu", (long)getpid(),
             (unsigned long long)atomic_fetch_add(&w->store->made, 1));
    if (!linkat(AT_FDCWD, self, w->store->tmp, w->temp, AT_SYMLINK_FOLLOW))
        return CAB_OK;
    w->temp[0] = 0;
    return io_fail(d, "name");
}

/* Straight to its name; 1 = done, 0 = there is one already, -1 = not possible so. */
static int link_unnamed(cab_blob_writer *w, const char *name)
{
    char self[40];
    if (w->temp[0])
        return -1;
    snprintf(self, sizeof self, "/proc/self/fd/%d", w->fd);
    if (!linkat(AT_FDCWD, self, w->store->dir, name, AT_SYMLINK_FOLLOW))
        return 1;
    return errno == EEXIST ? 0 : -1;
}

/* With the mutex held: the sweep does not look meanwhile. */
static cab_status settle(cab_blob_writer *w, const char *name, const cab_digest *g, cab_diag *d)
{
    int linked = link_unnamed(w, name);
    if (linked == 1 || is_sound(w->store, name, g, w->n))
        return CAB_OK;
    CAB_TRY(name_in_tmp(w, d));
    if (renameat(w->store->tmp, w->temp, w->store->dir, name))
        return io_fail(d, "name");
    w->temp[0] = 0;
    return CAB_OK;
}

static cab_status publish(cab_blob_writer *w, const cab_digest *g, cab_diag *d)
{
    char name[CAB_BLOB_NAME], part[3];
    cab_blobs *b = w->store;
    cab_blob_name(g, name);
    snprintf(part, sizeof part, "%.2s", name);
    if (fchmod(w->fd, 0400) || fsync(w->fd))
        return io_fail(d, "write");
    int folder = folder_in(b->dir, part);
    if (folder < 0)
        return io_fail(d, "open the folder of");
    pthread_mutex_lock(&b->mutex);
    cab_status s = settle(w, name, g, d);
    pthread_mutex_unlock(&b->mutex);
    if (s == CAB_OK && fsync(folder))
        s = io_fail(d, "keep the name of");
    close(folder);
    return s;
}

cab_status cab_blob_commit(cab_blob_writer *w, const cab_digest *expected, cab_digest *out,
                           cab_diag *d)
{
    cab_digest g;
    cab_status s = digest_of(w, &g, d);
    if (s == CAB_OK && expected && !cab_digest_equal(expected, &g)) {
        char want[CAB_DIGEST_TEXT], have[CAB_DIGEST_TEXT];
        cab_digest_text(expected, want);
        cab_digest_text(&g, have);
        s = cab_fail(d, CAB_EINVAL, NULL, "the bytes do not have the SHA-256 that was named: they "
                                          "have %s, not %s", have, want);
    }
    if (s == CAB_OK)
        s = publish(w, &g, d);
    if (s == CAB_OK)
        *out = g;
    cab_blob_abort(w);
    return s;
}

cab_status cab_blobs_add(cab_blobs *b, const void *p, size_t n, cab_digest *out, cab_diag *d)
{
    cab_blob_writer *w;
    CAB_TRY(cab_blob_begin(b, 0, &w, d));
    cab_status s = cab_blob_append(w, p, n, d);
    if (s == CAB_OK)
        return cab_blob_commit(w, NULL, out, d);
    cab_blob_abort(w);
    return s;
}

static cab_status copy_from(cab_blob_writer *w, int fd, cab_diag *d)
{
    char *buf = malloc(PIECE);
    cab_status s = CAB_OK;
    if (!buf)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    while (s == CAB_OK) {
        ssize_t k = read(fd, buf, PIECE);
        if (k == 0)
            break;
        if (k > 0)
            s = cab_blob_append(w, buf, (size_t)k, d);
        else if (errno != EINTR)
            s = io_fail(d, "read what becomes");
    }
    free(buf);
    return s;
}

cab_status cab_blobs_add_fd(cab_blobs *b, int fd, uint64_t limit, cab_digest *out, cab_diag *d)
{
    cab_blob_writer *w;
    CAB_TRY(cab_blob_begin(b, limit, &w, d));
    cab_status s = copy_from(w, fd, d);
    if (s == CAB_OK)
        return cab_blob_commit(w, NULL, out, d);
    cab_blob_abort(w);
    return s;
}

/* ---- reading ---- */

cab_status cab_blobs_open_one(cab_blobs *b, const cab_digest *g, int *out_fd, uint64_t *bytes,
                              cab_diag *d)
{
    char name[CAB_BLOB_NAME];
    struct stat st;
    cab_blob_name(g, name);
    int fd = *out_fd = open_blob(b, name);
    if (fd < 0 && errno == ENOENT)
        return cab_fail(d, CAB_ENOTFOUND, NULL, "no stored file has the SHA-256 %s", name + 3);
    if (fd < 0)
        return io_fail(d, "open");
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        *out_fd = -1;
        return cab_fail(d, CAB_EIO, NULL, "what is stored as %s is not a file", name + 3);
    }
    if (bytes)
        *bytes = (uint64_t)st.st_size;
    return CAB_OK;
}

bool cab_blobs_has(cab_blobs *b, const cab_digest *g)
{
    int fd;
    if (cab_blobs_open_one(b, g, &fd, NULL, NULL) != CAB_OK)
        return false;
    close(fd);
    return true;
}

cab_status cab_blobs_verify(cab_blobs *b, const cab_digest *g, cab_diag *d)
{
    char text[CAB_DIGEST_TEXT];
    cab_digest have;
    uint64_t bytes;
    int fd;
    CAB_TRY(cab_blobs_open_one(b, g, &fd, NULL, d));
    cab_status s = hash_file(fd, &have, &bytes, d);
    close(fd);
    if (s != CAB_OK || cab_digest_equal(&have, g))
        return s;
    cab_digest_text(g, text);
    cab_fail(d, CAB_EIO, NULL, "the stored file %s is damaged: its bytes are others", text);
    cab_note(d, "register the model again: that replaces the file");
    return CAB_EIO;
}
