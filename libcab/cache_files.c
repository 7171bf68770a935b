/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_files.c - which files a model is made of, and what they hold.
 *
 * Reading a model to know its content costs as much as compiling a small one,
 * so a memo remembers it: device, inode, size and both times of every file ->
 * SHA-256.  A memo is believed only when the files had rested for two seconds
 * before their bytes were read: a later change then shows in ctime, which no
 * program can set.
 */
#include "libcab/libcab_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MEMO_MAGIC "cabmemo1"
static const int64_t RESTED_NS = 2000000000;

typedef struct memo_head {
    char magic[8];
    int64_t read_at;           /* CLOCK_REALTIME, before the first byte was read */
    uint64_t n_files;
    cab_file_id folder;
    uint8_t model[32], all[32];
} memo_head;                   /* then n_files cab_file_id, then names of 1 .. n-1 */

static int64_t ns_of(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static cab_file_id id_of(const struct stat *st)
{
    return (cab_file_id){ (uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
                          ns_of(st->st_mtim), ns_of(st->st_ctim) };
}

static bool id_of_fd(int fd, cab_file_id *out)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return false;
    *out = id_of(&st);
    return true;
}

static bool same_id(const cab_file_id *a, const cab_file_id *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime == b->mtime &&
           a->ctime == b->ctime;
}

/* Times of a folder change with every file in it: only which one it is counts. */
static bool folder_of(const char *label, int *out_fd, cab_file_id *out)
{
    struct stat st;
    char path[4096];
    const char *slash = label ? strrchr(label, '/') : NULL;
    size_t n = slash ? (size_t)(slash - label) + 1 : 0;
    if (n >= sizeof path)
        return false;
    memcpy(path, label, n);
    path[n] = 0;
    *out_fd = open(n ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*out_fd < 0 || fstat(*out_fd, &st))
        return false;
    *out = (cab_file_id){ .dev = (uint64_t)st.st_dev, .ino = (uint64_t)st.st_ino };
    return true;
}

/* ---- are they the same? ---- */

static bool same_externals(const cab_content *k, const cab_opened *f)
{
    cab_file_id now;
    struct stat st;
    int folder = -1;
    bool same = folder_of(f->label, &folder, &now) && same_id(&now, &k->folder);
    for (size_t i = 1; i < k->n_files && same; i++) {
        same = !fstatat(folder, k->names[i], &st, AT_SYMLINK_NOFOLLOW);
        if (same)
            now = id_of(&st);
        same = same && same_id(&now, &k->files[i]);
    }
    if (folder >= 0)
        close(folder);
    return same;
}

bool cab_content_same(const cab_content *k, const cab_opened *f)
{
    cab_file_id now;
    if (f->fd >= 0 && (!id_of_fd(f->fd, &now) || !same_id(&now, &k->files[0])))
        return false;
    return k->n_files <= 1 || same_externals(k, f);
}

/* Nothing had changed for a while when reading began. */
static bool rested(const cab_content *k, int64_t read_at)
{
    for (size_t i = 0; i < k->n_files; i++)
        if (read_at - k->files[i].mtime < RESTED_NS || read_at - k->files[i].ctime < RESTED_NS)
            return false;
    return true;
}

/* ---- memos ---- */

static const char *memo_path(cab_arena *a, const char *dir, const cab_file_id *id)
{
    return cab_printf(a, "%s/%llx-%llx.memo", dir, (unsigned long long)id->dev,
                      (unsigned long long)id->ino);
}

static bool read_memo(cab_arena *a, const char *dir, const cab_opened *f, cab_content *out)
{
    const uint8_t *p;
    size_t n;
    cab_file_id id;
    memo_head h;
    if (f->fd < 0 || !id_of_fd(f->fd, &id) ||
        !cab_sealed_read(a, memo_path(a, dir, &id), &p, &n) || n < sizeof h)
        return false;
    memcpy(&h, p, sizeof h);
    n -= sizeof h;
    if (memcmp(h.magic, MEMO_MAGIC, sizeof h.magic) || !h.n_files || h.n_files > n / sizeof id)
        return false;
    out->folder = h.folder;
    out->n_files = (size_t)h.n_files;
    out->files = cab_dup(a, p + sizeof h, out->n_files * sizeof *out->files);
    out->names = CAB_NEW_N(a, const char *, out->n_files);
    memcpy(out->model, h.model, sizeof h.model);
    memcpy(out->all, h.all, sizeof h.all);
    const char *s = (const char *)(p + sizeof h + out->n_files * sizeof id);
    const char *end = (const char *)(p + sizeof h + n);
    for (size_t i = 1; i < out->n_files; i++) {
        if (!memchr(s, 0, (size_t)(end - s)))
            return false;
        out->names[i] = s;
        s += strlen(s) + 1;
    }
    return rested(out, h.read_at) && cab_content_same(out, f);
}

static void write_memo(cab_arena *a, const char *dir, const cab_content *k, int64_t read_at)
{
    memo_head h = { .magic = MEMO_MAGIC, .read_at = read_at, .n_files = k->n_files,
                    .folder = k->folder };
    cab_buf b = cab_buf_on(a);
    memcpy(h.model, k->model, sizeof h.model);
    memcpy(h.all, k->all, sizeof h.all);
    cab_buf_bytes(&b, &h, sizeof h);
    cab_buf_bytes(&b, k->files, k->n_files * sizeof *k->files);
    for (size_t i = 1; i < k->n_files; i++)
        cab_buf_bytes(&b, k->names[i], strlen(k->names[i]) + 1);
    cab_sealed_write(memo_path(a, dir, &k->files[0]), &b);
}

/* ---- reading ---- */

static cab_status hash_external(const cab_opened *f, const char *name, const cab_compiler *c,
                                cab_file_id *id, uint8_t sum[32], cab_diag *d)
{
    int fd;
    cab_mapping m;
    if (cab_file_open_beneath(f->label, name, &fd, NULL) != CAB_OK)
        return CAB_EIO;
    cab_status s = id_of_fd(fd, id) ? cab_fd_map(fd, name, &m, NULL) : CAB_EIO;
    close(fd);
    if (s != CAB_OK)
        return CAB_EIO;
    s = cab_hash_bytes(m.p, m.n, &c->cancel, sum, d);
    cab_file_unmap(&m);
    return s;
}

static cab_status read_externals(cab_arena *a, const cab_opened *f, const cab_compiler *c,
                                 cab_content *out, cab_diag *d)
{
    const char **names;
    size_t n;
    uint8_t sum[32];
    int folder = -1;
    if (cab_import_externals(a, f->map.p, f->map.n, f->label, &c->import, &names, &n, NULL) !=
        CAB_OK)
        return CAB_EIO;            /* a broken model: the importer tells */
    out->files = CAB_NEW_N(a, cab_file_id, n + 1);
    out->names = CAB_NEW_N(a, const char *, n + 1);
    out->n_files = n + 1;
    memcpy(out->all, out->model, sizeof out->all);
    if (!n)
        return CAB_OK;
    bool ok = folder_of(f->label, &folder, &out->folder);
    if (folder >= 0)
        close(folder);
    if (!ok || !f->label)
        return CAB_EIO;
    cab_sha256 h;
    cab_sha256_init(&h);
    cab_sha256_add(&h, out->model, sizeof out->model);
    for (size_t i = 1; i <= n; i++) {
        out->names[i] = names[i - 1];
        CAB_TRY(hash_external(f, names[i - 1], c, &out->files[i], sum, d));
        cab_sha256_add(&h, names[i - 1], strlen(names[i - 1]) + 1);
        cab_sha256_add(&h, sum, sizeof sum);
    }
    cab_sha256_done(&h, out->all);
    return CAB_OK;
}

cab_status cab_content_get(cab_arena *a, const char *dir, cab_opened *f, const cab_compiler *c,
                           cab_content *out, cab_diag *d)
{
    struct timespec now;
    cab_file_id id = { 0 };
    *out = (cab_content){ 0 };
    if (read_memo(a, dir, f, out))
        return CAB_OK;
    *out = (cab_content){ 0 };
    clock_gettime(CLOCK_REALTIME, &now);
    if (f->fd >= 0 && !id_of_fd(f->fd, &id))
        return CAB_EIO;
    if (cab_opened_map(f, NULL) != CAB_OK)
        return CAB_EIO;
    CAB_TRY(cab_hash_bytes(f->map.p, f->map.n, &c->cancel, out->model, d));
    CAB_TRY(read_externals(a, f, c, out, d));
    out->files[0] = id;
    if (!cab_content_same(out, f))
        return CAB_EIO;            /* somebody writes to them */
    if (f->fd >= 0 && rested(out, ns_of(now)))
        write_memo(a, dir, out, ns_of(now));
    return CAB_OK;
}
