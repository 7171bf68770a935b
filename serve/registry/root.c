/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root.c - the folder of a server: made, checked, locked, swept.
 */
#include "serve/registry/root.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static cab_status io_fail(cab_diag *d, const char *path, const char *doing)
{
    return cab_fail(d, CAB_EIO, &(cab_where){ .file = path }, "cannot %s: %s", doing,
                    strerror(errno));
}

/* ---- folders ---- */

/* One that is new is durable in the folder it lies in.  0, also where it is there, or an errno. */
static int make_folder(const char *path, mode_t mode)
{
    int dir, parent;
    if (mkdir(path, mode))
        return errno == EEXIST ? 0 : errno;
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    parent = dir < 0 ? -1 : openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0) {
        fsync(parent);
        close(parent);
    }
    if (dir >= 0)
        close(dir);
    return 0;
}

/* Every part of the path; those in front get the mode that umask gives.  0, or the errno of the last
 * part: one before it may be there and not be ours to make. */
static int make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        make_folder(path, 0777);
        *slash = '/';
    }
    return make_folder(path, 0700);
}

static cab_status is_private(int dir, const char *path, cab_diag *d)
{
    struct stat st;
    if (fstat(dir, &st))
        return io_fail(d, path, "inspect");
    if (st.st_uid == geteuid() && !(st.st_mode & 022))
        return CAB_OK;
    cab_fail(d, CAB_EIO, &(cab_where){ .file = path },
             "others own this folder or may write into it");
    cab_note(d, "what lies there decides which code runs: make it yours, and mode 0700");
    return CAB_EIO;
}

/* A folder in ROOT; its entry is durable afterwards. */
static cab_status subfolder(cab_root *r, const char *name, int *out, cab_diag *d)
{
    if (!mkdirat(r->dir, name, 0700))
        fsync(r->dir);
    else if (errno != EEXIST)
        return io_fail(d, r->path, "make a folder in it");
    *out = openat(r->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *out < 0 ? io_fail(d, r->path, "open a folder in it") : CAB_OK;
}

/* ---- the lock ---- */

static cab_status taken(cab_root *r, int fd, cab_diag *d)
{
    char who[32] = "";
    ssize_t n = pread(fd, who, sizeof who - 1, 0);
    who[n > 0 ? n : 0] = 0;
    who[strspn(who, "0123456789")] = 0;
    cab_fail(d, CAB_ECONFLICT, &(cab_where){ .file = r->path },
             "another server (process %s) has this folder", *who ? who : "unknown");
    cab_note(d, "one server per folder: end that one first, or give this one another --root");
    return CAB_ECONFLICT;
}

static cab_status take_lock(cab_root *r, cab_diag *d)
{
    int fd = openat(r->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return io_fail(d, r->path, "open its lock");
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        cab_status s = errno == EWOULDBLOCK ? taken(r, fd, d) : io_fail(d, r->path, "lock");
        close(fd);
        return s;
    }
    r->lock = fd;
    return CAB_OK;
}

/* The descriptor must be this folder's lock, and hold it: locking what one
 * holds already succeeds, what another holds does not. */
static cab_status inherit_lock(cab_root *r, int fd, cab_diag *d)
{
    struct stat a, b;
    if (fstat(fd, &a) || fstatat(r->dir, "lock", &b, AT_SYMLINK_NOFOLLOW) ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return cab_fail(d, CAB_EINVAL, &(cab_where){ .file = r->path },
                        "the lock that was handed over (descriptor %d) is not this folder's", fd);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK ? taken(r, fd, d) : io_fail(d, r->path, "lock");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    r->lock = fd;
    r->inherited = true;
    return CAB_OK;
}

/* For the story of the next who asks. */
static void sign_lock(const cab_root *r)
{
    char who[32];
    int n = snprintf(who, sizeof who, "%ld\n", (long)getpid());
    if (pwrite(r->lock, who, (size_t)n, 0) == n && ftruncate(r->lock, n))
        return;                            /* only the number's end would be wrong */
}

/* ---- litter ---- */

static void sweep(int tmp)
{
    int fd = openat(tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(tmp, e->d_name, 0);
    closedir(dir);
}

/* ---- the database ---- */

/* The folder may be one that others may read: names, tags and hashes are not theirs.  SQLite makes the files beside its
 * database with the mode of that.  What cannot be opened the registry tells of. */
static void hide_database(const cab_root *r)
{
    static const char *const names[] = { "registry.db", "registry.db-wal", "registry.db-shm" };
    int fd = openat(r->dir, names[0], O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    close(fd);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        fchmodat(r->dir, names[i], 0600, 0);
}

/* ---- the whole ---- */

static cab_status open_all(cab_root *r, int lock_fd, cab_diag *d)
{
    int error = make_folders(r->path);
    r->dir = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->dir < 0 && error) {
        errno = error;
        return io_fail(d, r->path, "make the folder");
    }
    if (r->dir < 0)
        return io_fail(d, r->path, "open the folder");
    CAB_TRY(is_private(r->dir, r->path, d));
    CAB_TRY(lock_fd >= 0 ? inherit_lock(r, lock_fd, d) : take_lock(r, d));
    CAB_TRY(subfolder(r, "tmp", &r->tmp, d));
    sign_lock(r);
    if (!r->inherited)
        sweep(r->tmp);
    hide_database(r);
    return CAB_OK;
}

cab_status cab_root_open(const char *path, int lock_fd, cab_root *out, cab_diag *d)
{
    *out = (cab_root){ .path = strdup(*path ? path : "."), .dir = -1, .tmp = -1, .lock = -1 };
    if (!out->path)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    for (size_t n = strlen(out->path); n > 1 && out->path[n - 1] == '/'; n--)
        out->path[n - 1] = 0;
    cab_status s = open_all(out, lock_fd, d);
    if (s != CAB_OK) {
        if (out->lock == lock_fd)
            out->lock = -1;                /* it stays the caller's */
        cab_root_close(out);
    }
    return s;
}

void cab_root_close(cab_root *r)
{
    int fds[] = { r->tmp, r->dir, r->lock };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(r->path);
    *r = (cab_root){ .dir = -1, .tmp = -1, .lock = -1 };
}
