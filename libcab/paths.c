/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.c - where the parts of an installation lie.
 */
#include "libcab/libcab_int.h"
#include "base/process.h"

const char *cab_part(cab_arena *a, const char *name, int mode, const char *installed)
{
    char path[PATH_MAX];
    return cab_process_neighbour(name, mode, path) ? cab_strdup(a, path) : installed;
}
