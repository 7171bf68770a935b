/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jit.c - from ONNX bytes in memory to a live session, with a cache.
 *
 *   jit MODEL.onnx CACHE-FOLDER
 *
 * Compiles the model once for every batch size (the first extent of its input
 * stays open) and once for each of three fixed sizes; then does it all again, as
 * the next start of the program would: this time the cache has it.  Links
 * libcab.a libcabrt.a and what docs/embedding.md names.
 */
#define _POSIX_C_SOURCE 200809L     /* clock_gettime with -std=c11 */
#include <cab.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { FLOAT = 1 };
static const int64_t batches[] = { 1, 4, 16 };
enum { N_BATCHES = sizeof batches / sizeof *batches };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The model as bytes: here from a file; it could be from a database. */
static void *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *p = NULL;
    long size = -1;
    if (f && !fseek(f, 0, SEEK_END))
        size = ftell(f);
    if (size > 0 && !fseek(f, 0, SEEK_SET))
        p = malloc((size_t)size);
    if (p && fread(p, 1, (size_t)size, f) != (size_t)size) {
        free(p);
        p = NULL;
    }
    if (f)
        fclose(f);
    *n = p ? (size_t)size : 0;
    return p;
}

typedef struct onnx { const void *p; size_t n; const char *cache; char dim[100]; } onnx;

/* batch 0: the extent stays open.  The key of the cache is the model, the
 * options and the compiler: there is nothing to invalidate by hand. */
static cab_model *compile(const onnx *x, int64_t batch)
{
    cab_compile_options o = CAB_INIT(cab_compile_options);
    cab_dim_range fixed = { x->dim, batch, batch };
    cab_report *report = NULL;
    cab_model *m = NULL;
    o.cache_dir = x->cache;         /* made if it is not there; others must not be able to write to it */
    o.model_name = "jit sample";    /* bytes have no file name; messages use this */
    if (batch) {
        o.dims = &fixed;
        o.n_dims = 1;
    }
    /* folder NULL: a model in memory may not read files beside it. */
    int rc = cab_jit_memory(x->p, x->n, NULL, &o, NULL, &m, &report);
    /* The report is lines of "error: what: where: why" and "note: what to do".
     * After success it may hold warnings: worth showing too. */
    fputs(cab_report_text(report), stderr);
    cab_report_destroy(report);
    return rc == CAB_RT_OK ? m : NULL;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "jit: %s: %s\n", what, why);
    return 1;
}

/* The model has one float input; its first extent is the batch. */
static int run(cab_session *s, const cab_tensor_info *t, int64_t batch)
{
    cab_error e = { 0 };
    cab_tensor_view in = { .dtype = FLOAT, .rank = t->rank };
    cab_tensor_view out = { 0 };    /* new for every run: data would say "the caller's memory" */
    size_t n = 1;
    for (int k = 0; k < t->rank; k++) {
        in.dims[k] = k == 0 ? batch : t->dims[k];
        n *= (size_t)in.dims[k];
    }
    in.bytes = n * sizeof(float);
    in.data = calloc(n ? n : 1, sizeof(float));
    if (!in.data)
        return fail("run", "out of memory");
    int rc = cab_session_run(s, &in, &out, &e);
    free(in.data);
    if (rc)
        return fail("run", e.text);
    printf("    batch %2" PRId64 ": result of %zu bytes\n", batch, out.bytes);
    return 0;
}

static int check_input(const cab_model *m, cab_tensor_info *t)
{
    if (cab_model_input_count(m) != 1 || cab_model_output_count(m) != 1)
        return fail("model", "this sample wants one input and one output");
    cab_model_input(m, 0, t);
    if (t->dtype != FLOAT || t->rank < 1)
        return fail("model", "this sample wants a float tensor with a batch");
    for (int k = 1; k < t->rank; k++)
        if (t->dims[k] < 0)
            return fail("model", "this sample wants one open extent, the first");
    return 0;
}

/* One artifact for all sizes: one session, whatever comes. */
static int all_sizes(onnx *x, double *ms)
{
    double t0 = now_ms();
    cab_model *m = compile(x, 0);
    cab_session *s = NULL;
    cab_error e = { 0 };
    cab_tensor_info t;
    if (!m)
        return 1;
    *ms += now_ms() - t0;
    int rc = check_input(m, &t);
    if (!rc && cab_session_create(m, NULL, &s, &e))
        rc = fail("session", e.text);
    printf("  open: ready after %.1f ms\n", now_ms() - t0);
    for (int i = 0; !rc && i < N_BATCHES; i++)
        if (t.dims[0] < 0 || t.dims[0] == batches[i])
            rc = run(s, &t, batches[i]);
    /* dim_names live as long as the model: keep the one that fixed_sizes needs. */
    if (!rc && t.dims[0] < 0)
        snprintf(x->dim, sizeof x->dim, "%s", t.dim_names[0]);
    cab_session_destroy(s);
    cab_model_destroy(m);
    return rc;
}

/* A size that is known: the code may use it, and a run checks it. */
static int one_size(const onnx *x, int64_t batch, double *ms)
{
    double t0 = now_ms();
    cab_model *m = compile(x, batch);
    cab_session *s = NULL;
    cab_error e = { 0 };
    cab_tensor_info t;
    int rc = 0;
    if (!m)
        return 1;
    *ms += now_ms() - t0;
    printf("  fixed to %" PRId64 ": ready after %.1f ms\n", batch, now_ms() - t0);
    cab_model_input(m, 0, &t);
    if (cab_session_create(m, NULL, &s, &e))
        rc = fail("session", e.text);
    if (!rc)
        rc = run(s, &t, batch);
    cab_session_destroy(s);
    cab_model_destroy(m);
    return rc;
}

static int start(onnx *x, double *ms)
{
    int rc = all_sizes(x, ms);
    for (int i = 0; !rc && *x->dim && i < N_BATCHES; i++)
        rc = one_size(x, batches[i], ms);
    return rc;
}

int main(int argc, char **argv)
{
    double first = 0, second = 0;
    onnx x = { 0 };
    if (argc != 3)
        return fail("usage", "jit MODEL.onnx CACHE-FOLDER");
    void *bytes = read_all(argv[1], &x.n);
    if (!bytes)
        return fail(argv[1], "cannot be read");
    x.p = bytes;
    x.cache = argv[2];
    printf("first start\n");
    int rc = start(&x, &first);
    if (!rc) {
        printf("second start\n");
        rc = start(&x, &second);
    }
    free(bytes);
    if (rc)
        return rc;
    printf("first %.1f ms, second %.1f ms: %s\n", first, second,
           second < first / 2 ? "the second start found everything in the cache"
                              : "the folder was full already (or the machine is busy)");
    return 0;
}
