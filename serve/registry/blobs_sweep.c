/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blobs_sweep.c - removing stored files that nothing names.
 */
#include "serve/registry/blobs_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct sweep {
    cab_blobs *store;
    cab_blobs_keep keep;
    void *user;
    int64_t before;                        /* what was made until then may go, in s */
    cab_blobs_swept *out;
    cab_diag *d;
} sweep;

static DIR *read_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

/* Looked at and removed in one go: whoever adds the same bytes meanwhile waits. */
static void remove_old(sweep *w, int folder, const char *name)
{
    struct stat st;
    pthread_mutex_lock(&w->store->mutex);
    if (!fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) && st.st_mtim.tv_sec <= w->before &&
        !unlinkat(folder, name, 0)) {
        w->out->removed++;
        w->out->removed_bytes += (uint64_t)st.st_size;
    } else {
        w->out->kept++;
    }
    pthread_mutex_unlock(&w->store->mutex);
}

static cab_status visit(sweep *w, int folder, const char *name)
{
    cab_digest g;
    if (!cab_digest_parse(name, &g))
        return CAB_OK;                     /* not ours */
    int keep = w->keep(w->user, &g);
    if (keep < 0)
        return cab_fail(w->d, CAB_EIO, NULL, "cannot tell whether a stored file is in use; "
                                             "nothing more was removed");
    if (keep)
        w->out->kept++;
    else
        remove_old(w, folder, name);
    return CAB_OK;
}

static cab_status sweep_folder(sweep *w, const char *part)
{
    cab_status s = CAB_OK;
    DIR *f = read_folder(w->store->dir, part);
    if (!f)
        return errno == ENOENT ? CAB_OK
                               : cab_fail(w->d, CAB_EIO, NULL, "cannot read the folder "
                                          "blobs/sha256/%s: %s", part, strerror(errno));
    for (struct dirent *e; s == CAB_OK && (e = readdir(f));)
        s = visit(w, dirfd(f), e->d_name);
    closedir(f);
    return s;
}

cab_status cab_blobs_sweep(cab_blobs *b, cab_blobs_keep keep, void *user, int64_t min_age_s,
                           cab_blobs_swept *out, cab_diag *d)
{
    static const char digit[] = "0123456789abcdef";
    sweep w = { b, keep, user, (int64_t)time(NULL) - min_age_s, out, d };
    *out = (cab_blobs_swept){ 0 };
    for (int i = 0; i < 256; i++) {
        char part[3] = { digit[i >> 4], digit[i & 15], 0 };
        CAB_TRY(sweep_folder(&w, part));
    }
    return CAB_OK;
}
