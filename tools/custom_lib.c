/* SPDX-License-Identifier: Apache-2.0 */
/*
 * custom_lib.c - dlopen of libraries with custom operators (--custom LIB.so).
 *
 * For the commands only: a host program hands its operators to the libraries
 * directly.  The code of such a library runs in this process with all rights.
 */
#include "tools/custom_lib.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static custom_lib all;

const custom_lib *custom_lib_all(void) { return &all; }

/* A name without a slash means a file here, not one of the system's. */
static void *open_library(const char *path)
{
    char here[4096];
    if (strchr(path, '/'))
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    snprintf(here, sizeof here, "./%s", path);
    return dlopen(here, RTLD_NOW | RTLD_LOCAL);
}

/* Appends n records to a list. */
static int append(void **list, size_t *have, const void *more, size_t n, size_t size)
{
    void *p = realloc(*list, (*have + n) * size + 1);
    if (!p)
        return 0;
    *list = p;
    if (n)
        memcpy((char *)p + *have * size, more, n * size);
    *have += n;
    return 1;
}

const char *custom_lib_load(const char *path)
{
    const cab_custom_op *(*ops)(size_t *) = NULL;
    const cab_custom_shape *(*shapes)(size_t *) = NULL;
    size_t n_ops = 0, n_shapes = 0;
    void *lib = open_library(path), *f;
    if (!lib)
        return dlerror();
    if ((f = dlsym(lib, "cab_custom_ops")))
        memcpy(&ops, &f, sizeof ops);
    if ((f = dlsym(lib, "cab_custom_shapes")))
        memcpy(&shapes, &f, sizeof shapes);
    if (!ops && !shapes)
        return "it exports neither cab_custom_ops nor cab_custom_shapes";
    const void *o = ops ? ops(&n_ops) : NULL, *s = shapes ? shapes(&n_shapes) : NULL;
    if (!append((void **)&all.ops, &all.n_ops, o, n_ops, sizeof *all.ops) ||
        !append((void **)&all.shapes, &all.n_shapes, s, n_shapes, sizeof *all.shapes))
        return "out of memory";
    return NULL;
}
