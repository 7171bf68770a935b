/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.c - where the parts of an installation lie.
 */
#include "libcab/libcab_int.h"
#include <limits.h>
#include <unistd.h>

const char *cab_part(cab_arena *a, const char *name, int mode, const char *installed)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    for (int up = 0; up < 2 && n > 0; up++) {
        while (n > 0 && exe[n - 1] != '/')
            n--;
        exe[n] = 0;
        const char *path = cab_printf(a, "%s%s", exe, name);
        if (!access(path, mode))
            return path;
        n--;
    }
    return installed;
}
