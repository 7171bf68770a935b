/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kir_host.h - runs the C text of kernels: writes it to a temporary folder,
 * compiles it with the host's cc and opens the result.
 *
 * Without a C compiler host_open gives NULL and tests leave that part out.
 */
#ifndef CAB_TESTS_KIR_HOST_H
#define CAB_TESTS_KIR_HOST_H
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "codegen/kir.h"

typedef void host_fn(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi);

/* One shared object of all kernels; NULL when there is no compiler or, told
 * on stderr, the text does not compile. */
static void *host_open(cab_arena *a, const cab_kir *const *k, int n)
{
    char dir[] = "/tmp/kir_host.XXXXXX", *command;
    void *so = NULL;

    if (system("cc --version > /dev/null 2>&1") != 0 || !mkdtemp(dir))
        return NULL;
    for (int i = 0; i < n; i++) {
        cab_buf b = cab_buf_on(a);
        FILE *f = fopen(cab_printf(a, "%s/%d.c", dir, i), "w");
        cab_kir_to_c(&b, k[i]);
        if (f) {
            fwrite(b.p, 1, b.n, f);
            fclose(f);
        }
    }
    command = cab_printf(a, "cc -std=c11 -pedantic -Werror -O2 -march=native -fno-math-errno "
                         "-shared -fPIC -o %s/k.so %s/*.c -lm", dir, dir);
    if (system(command) == 0)
        so = dlopen(cab_printf(a, "%s/k.so", dir), RTLD_NOW);
    else
        fprintf(stderr, "kept: %s\n", dir);
    if (so && system(cab_printf(a, "rm -r %s", dir)) != 0)
        fprintf(stderr, "kept: %s\n", dir);
    return so;
}

static host_fn *host_get(void *so, const char *name)
{
    host_fn *f = NULL;
    void *p = so ? dlsym(so, name) : NULL;

    memcpy(&f, &p, sizeof f);
    return f;
}

#endif
