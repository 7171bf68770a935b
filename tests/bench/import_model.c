/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_model.c - time and anonymous memory of an import.
 *
 *   import_model MODEL.onnx [RUNS]
 *
 * Prints the median time of the import (file in the page cache) and the growth
 * of anonymous memory (RssAnon) over the process before the first import.
 */
#include "frontend/frontend.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long anonymous_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    enum { MAX_RUNS = 1000 };
    static double ms[MAX_RUNS];
    int n = argc > 2 ? atoi(argv[2]) : 11;
    if (argc < 2 || n < 1 || n > MAX_RUNS) {
        fprintf(stderr, "usage: import_model MODEL.onnx [RUNS]\n");
        return 2;
    }
    long before = anonymous_kib(), most = 0;
    for (int i = 0; i < n; i++) {
        cab_job job = { 0 };
        cab_diag d;
        cab_graph *g;
        cab_diag_init(&d);
        int64_t t = cab_now_ns();
        cab_arena *a = cab_arena_create(&job);
        if (!a || CAB_JOB_ENTER(&job) || cab_import_file(a, argv[1], NULL, &g, &d) != CAB_OK) {
            fprintf(stderr, "%s\n", d.n ? d.entries[0].text : "out of memory");
            return 1;
        }
        ms[i] = (double)(cab_now_ns() - t) / 1e6;
        long now = anonymous_kib() - before;
        most = now > most ? now : most;
        cab_arena_destroy(a);
        cab_diag_fini(&d);
    }
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    printf("%s: median %.2f ms of %d imports, %.1f MB anonymous\n", argv[1], ms[n / 2], n,
           (double)most / 1024);
    return 0;
}
