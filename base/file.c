/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - files as they enter and leave the compiler.
 *
 * Only regular files are mapped: a FIFO or a device would block or never end.
 * cab_file_read also takes streams (standard input), up to its limit.
 * External data named by a model is opened through openat2, so no path in a
 * model can leave its folder.
 */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/arena.h"

static const uint8_t nothing[1];

static cab_status io_fail(cab_diag *d, const char *path, const char *doing)
{
    cab_where w = { .file = path };

    return cab_fail(d, CAB_EIO, &w, "cannot %s: %s", doing, strerror(errno));
}

/* Size of a regular file. */
static cab_status size_of(int fd, const char *label, size_t *out, cab_diag *d)
{
    cab_where w = { .file = label };
    struct stat st;

    if (fstat(fd, &st))
        return io_fail(d, label, "inspect");
    if (!S_ISREG(st.st_mode))
        return cab_fail(d, CAB_EIO, &w, "not a regular file");
    *out = (size_t)st.st_size;
    return CAB_OK;
}

/* Without O_NONBLOCK, opening a FIFO would wait for a writer. */
static int open_to_read(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

cab_status cab_file_open(const char *path, int *out_fd, cab_diag *d)
{
    *out_fd = open_to_read(path);
    return *out_fd < 0 ? io_fail(d, path, "open") : CAB_OK;
}

cab_status cab_fd_map(int fd, const char *label, cab_mapping *out, cab_diag *d)
{
    size_t n = 0;
    void *p;

    *out = (cab_mapping){ nothing, 0 };
    CAB_TRY(size_of(fd, label, &n, d));
    if (!n)
        return CAB_OK;
    p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return io_fail(d, label, "map");
    *out = (cab_mapping){ p, n };
    return CAB_OK;
}

cab_status cab_file_map(const char *path, cab_mapping *out, cab_diag *d)
{
    int fd = open_to_read(path);
    cab_status s;

    *out = (cab_mapping){ nothing, 0 };
    if (fd < 0)
        return io_fail(d, path, "open");
    s = cab_fd_map(fd, path, out, d);
    close(fd);
    return s;
}

void cab_file_unmap(cab_mapping *m)
{
    if (m->n)
        munmap((void *)(uintptr_t)m->p, m->n);
    *m = (cab_mapping){ nothing, 0 };
}

/* The folder that holds base_path, opened; -1 on failure. */
static int open_folder_of(const char *base_path)
{
    const char *slash = strrchr(base_path, '/');
    char *folder;
    int fd;

    if (!slash)
        return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    folder = strndup(base_path, (size_t)(slash - base_path) + 1);
    if (!folder)
        return -1;
    fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return fd;
}

int cab_file_beneath(const char *base_path, const char *relative)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
                   | RESOLVE_NO_MAGICLINKS,
    };
    int folder = open_folder_of(base_path), fd, why;
    struct stat st;

    if (folder < 0)
        return -1;
    fd = (int)syscall(SYS_openat2, folder, relative, &how, sizeof how);
    why = errno == ELOOP ? EXDEV : errno;
    close(folder);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink != 1)) {
        close(fd);
        fd = -1;
        why = EISDIR;
    }
    errno = why;
    return fd;
}

cab_status cab_file_open_beneath(const char *base_path, const char *relative,
                                 int *out_fd, cab_diag *d)
{
    cab_where w = { .file = relative };

    *out_fd = cab_file_beneath(base_path, relative);
    return *out_fd >= 0    ? CAB_OK
           : errno == EXDEV  ? cab_fail(d, CAB_EIO, &w, "leads out of the folder of '%s' "
                                        "or through a symbolic link", base_path)
           : errno == EISDIR ? cab_fail(d, CAB_EIO, &w, "not a regular file with a single link")
                             : io_fail(d, relative, "open");
}

cab_status cab_fd_write_at(int fd, uint64_t offset, const void *p, size_t n,
                           cab_diag *d)
{
    const char *at = p;

    if (offset > INT64_MAX || n > INT64_MAX - offset)
        return cab_fail(d, CAB_EIO, NULL, "cannot write: offset too large");
    while (n) {
        ssize_t k = pwrite(fd, at, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return cab_fail(d, CAB_EIO, NULL, "cannot write: %s",
                            k ? strerror(errno) : "no progress");
        at += k;
        offset += (uint64_t)k;
        n -= (size_t)k;
    }
    return CAB_OK;
}

/* "folder/" of a path, or "." */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

/* Makes a rename survive a crash; failing to is no failure of the write. */
static void sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* Another "PATH.tmp.XXXXXXXX" on every call. */
static void next_name(char *temp)
{
    static const char digits[] = "0123456789abcdef";
    static _Atomic unsigned calls;
    struct timespec t;
    unsigned x;

    clock_gettime(CLOCK_MONOTONIC, &t);
    x = ((unsigned)t.tv_nsec ^ (unsigned)t.tv_sec << 20 ^ (unsigned)getpid() << 12)
        + calls++ * 0x9e3779b1u;
    for (char *p = temp + strlen(temp) - 8; *p; p++, x >>= 4)
        *p = digits[x & 15];
}

/* A named file, of the mode that umask and folder give. */
static int create_named(char *temp)
{
    int fd, tries = 100;

    do {
        next_name(temp);
        fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST && --tries);
    return fd;
}

/* Gives a file without a name one; false when that cannot be done here. */
static bool name_it(int fd, char *temp)
{
    char self[40];
    int rc, tries = 100;

    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    do {
        next_name(temp);
        rc = linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW);
    } while (rc && errno == EEXIST && --tries);
    return rc == 0;
}

static cab_status fill(int fd, const char *path, const void *p, size_t n, cab_diag *d)
{
    CAB_TRY(cab_fd_write_at(fd, 0, p, n, d));
    return fsync(fd) ? io_fail(d, path, "write") : CAB_OK;
}

/* Writes the bytes under the name left in temp.  A process that dies meanwhile
 * leaves nothing where the file system has files without a name (O_TMPFILE),
 * else a PATH.tmp.XXXXXXXX. */
static cab_status write_temp(const char *path, const char *folder, char *temp,
                             const void *p, size_t n, cab_diag *d)
{
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    cab_status s;

    if (fd >= 0) {
        s = fill(fd, path, p, n, d);
        bool named = s == CAB_OK && name_it(fd, temp);
        close(fd);
        if (named || s != CAB_OK)
            return s;
    }
    fd = create_named(temp);
    if (fd < 0)
        return io_fail(d, path, "create a temporary beside it");
    s = fill(fd, path, p, n, d);
    if (close(fd) && s == CAB_OK)
        s = io_fail(d, path, "write");
    if (s != CAB_OK)
        unlink(temp);
    return s;
}

cab_status cab_file_write(const char *path, const void *p, size_t n, cab_diag *d)
{
    char *temp = NULL, *folder = folder_of(path);
    cab_status s;

    if (!folder || asprintf(&temp, "%s.tmp.XXXXXXXX", path) < 0) {
        free(folder);
        return CAB_ENOMEM;
    }
    s = write_temp(path, folder, temp, p, n, d);
    if (s == CAB_OK && rename(temp, path)) {
        s = io_fail(d, path, "replace");
        unlink(temp);
    }
    if (s == CAB_OK)
        sync_folder(folder);
    free(temp);
    free(folder);
    return s;
}

/* Until the end of file, into malloc'ed memory with room for a NUL; the
 * caller's also on failure. */
static cab_status read_fd(int fd, const char *path, size_t limit, char **out,
                          size_t *out_n, cab_diag *d)
{
    cab_where w = { .file = path };
    size_t n = 0, cap = 0;
    ssize_t k;

    for (;;) {
        if (n == cap) {
            char *p = realloc(*out, (cap = cap ? cap * 2 : 16 << 10) + 1);
            if (!p)
                return cab_fail(d, CAB_ENOMEM, &w, "no room for its text");
            *out = p;
        }
        k = read(fd, *out + n, cap - n);
        if (k < 0 && errno != EINTR)
            return io_fail(d, path, "read");
        if (!k)
            break;
        n += k > 0 ? (size_t)k : 0;
        if (n > limit)
            return cab_fail(d, CAB_ELIMIT, &w, "more than the %zu bytes "
                            "allowed", limit);
    }
    *out_n = n;
    return CAB_OK;
}

static void free_held(void *p)
{
    free(*(char **)p);
}

cab_status cab_file_read(cab_arena *a, const char *path, size_t limit,
                         char **out, size_t *out_n, cab_diag *d)
{
    /* What allocates from the arena comes before what a jump would leak. */
    char **held = CAB_NEW(a, char *);
    size_t n = 0;
    cab_status s;
    int fd;

    *out = NULL;
    if (out_n)
        *out_n = 0;
    cab_arena_cleanup(a, free_held, held);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return io_fail(d, path, "open");
    s = read_fd(fd, path, limit, held, &n, d);
    close(fd);
    if (s != CAB_OK)
        return s;
    (*held)[n] = 0;
    *out = *held;
    if (out_n)
        *out_n = n;
    return CAB_OK;
}

static atomic_int reserved = -1;

int cab_memfd_reserve(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int old = atomic_exchange(&reserved, fd);

    if (old >= 0)
        close(old);
    return fd;
}

int cab_memfd(const char *name, size_t size)
{
    int fd = atomic_exchange(&reserved, -1);

    if (fd < 0)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    if (size > INT64_MAX || ftruncate(fd, (off_t)size)
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        close(fd);
        return -1;
    }
    return fd;
}
