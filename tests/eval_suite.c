/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_suite.c - official node tests through the reference evaluator.
 *
 *   eval_suite [-d] [-p passes] DIR...
 *
 * Each DIR holds model.onnx and test_data_set_0.  The model is imported with
 * the test's inputs offered (-d: not offered, so extents stay symbolic), the
 * passes run (default: decompose), the CORE graph is evaluated and compared
 * with the expected outputs.  One line per test, "ok NAME", "unsupported NAME:
 * why" or "FAIL NAME: why", then the totals.  Every test runs in a child
 * process, so a crash is a line too.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "frontend/frontend.h"
#include "passes/pass.h"

#define MAX_IO 64

static const char *passes = "decompose";
static bool symbolic;

static bool near(cab_dtype t, double got, double want)
{
    double rtol = t == CAB_DT_bf16 ? 1.0 / 64 : 1e-3;

    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (got == want)
        return true;
    return cab_dtype_is_float(t) && fabs(got - want) <= 1e-7 + rtol * fabs(want);
}

static bool same(const cab_tensor *got, const cab_tensor *want, char *why, size_t n)
{
    int64_t count = cab_tensor_numel(want);

    if (got->dtype != want->dtype || got->rank != want->rank ||
        memcmp(got->dims, want->dims, (size_t)want->rank * sizeof *want->dims)) {
        snprintf(why, n, "type: %s rank %d, expected %s rank %d", cab_dtype_name(got->dtype),
                 got->rank, cab_dtype_name(want->dtype), want->rank);
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        double a = cab_elem_f64(got->dtype, got->data, (uint64_t)i);
        double b = cab_elem_f64(want->dtype, want->data, (uint64_t)i);

        if (near(want->dtype, a, b))
            continue;
        snprintf(why, n, "element %lld is %.9g, expected %.9g", (long long)i, a, b);
        return false;
    }
    return true;
}

static int story(const cab_diag *d, cab_status s, const char *name, const char *step)
{
    const cab_diag_entry *e = cab_diag_first(d);

    if (s == CAB_EUNSUPPORTED) {
        printf("unsupported %s: %s: %s %s\n", name, step, e ? e->where : "", e ? e->text : "");
        return 77;
    }
    printf("FAIL %s: %s: %s: %s %s\n", name, step, cab_status_text(s), e ? e->where : "",
           e ? e->text : "");
    return 1;
}

/* Reads input_0.pb ... or output_0.pb ...; the number, -1 for a non-tensor. */
static int read_io(cab_arena *a, const char *dir, const char *what, cab_tensor *out, cab_diag *d)
{
    int n = 0;

    for (; n < MAX_IO; n++) {
        const char *path = cab_printf(a, "%s/test_data_set_0/%s_%d.pb", dir, what, n);

        if (access(path, R_OK))
            break;
        if (cab_tensor_read(a, path, &out[n], d) != CAB_OK)
            return -1;
    }
    return n;
}

static int run_test(cab_arena *a, const char *dir, const char *name, cab_diag *d)
{
    static cab_tensor in[MAX_IO], want[MAX_IO], out[MAX_IO];
    static cab_import_input offer[MAX_IO];
    int n_in = read_io(a, dir, "input", in, d), n_out = read_io(a, dir, "output", want, d);
    cab_import_options o = { .n_inputs = symbolic ? 0 : n_in, .inputs = offer,
                             .static_shapes = !symbolic };
    cab_pass_options po = { .verify = true };
    cab_graph *g;
    char why[256];
    cab_status s;

    if (n_in < 0 || n_out < 0) {
        printf("unsupported %s: inputs or outputs that are no tensors\n", name);
        return 77;
    }
    for (int i = 0; i < n_in; i++) {
        offer[i] = (cab_import_input){ .dtype = in[i].dtype, .rank = in[i].rank,
                                       .dims = in[i].dims, .data = in[i].data };
        cab_dtype_bytes(in[i].dtype, (uint64_t)cab_tensor_numel(&in[i]), &offer[i].bytes);
    }
    s = cab_import_file(a, cab_printf(a, "%s/model.onnx", dir), &o, &g, d);
    if (s != CAB_OK)
        return story(d, s, name, "import");
    s = cab_passes_run_list(g, passes, &po, NULL, d);
    if (s != CAB_OK)
        return story(d, s, name, "passes");
    if (g->inputs.n != (size_t)n_in || g->outputs.n < (size_t)n_out) {
        printf("FAIL %s: %zu inputs, %zu outputs\n", name, g->inputs.n, g->outputs.n);
        return 1;
    }
    s = cab_eval_graph(a, g, in, out, d);
    if (s != CAB_OK)
        return story(d, s, name, "eval");
    for (int i = 0; i < n_out; i++)
        if (!same(&out[i], &want[i], why, sizeof why)) {
            printf("FAIL %s: output %d: %s\n", name, i, why);
            return 1;
        }
    printf("ok %s\n", name);
    return 0;
}

static int child(const char *dir, const char *name)
{
    static cab_job job;
    cab_arena *a;
    cab_diag d;

    job.budget = (size_t)2 << 30;
    cab_diag_init(&d);
    if (CAB_JOB_ENTER(&job)) {
        printf("FAIL %s: out of memory\n", name);
        return 1;
    }
    a = cab_arena_create(&job);
    return a ? run_test(a, dir, name, &d) : 1;
}

static int run_child(const char *dir)
{
    const char *slash = strrchr(dir, '/'), *name = slash ? slash + 1 : dir;
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int rc;

        alarm(60);
        rc = child(dir, name);
        fflush(stdout);
        _exit(rc);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 1;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    printf("FAIL %s: signal %d\n", name, WTERMSIG(status));
    return 1;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0, skipped = 0, i = 1;

    if (i < argc && !strcmp(argv[i], "-d")) {
        symbolic = true;
        i++;
    }
    if (i + 1 < argc && !strcmp(argv[i], "-p")) {
        passes = argv[i + 1];
        i += 2;
    }
    for (; i < argc; i++) {
        int rc = run_child(argv[i]);

        passed += rc == 0;
        skipped += rc == 77;
        failed += rc != 0 && rc != 77;
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
