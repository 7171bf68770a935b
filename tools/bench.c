/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.c - opening and timing one model.
 */
#include "tools/bench.h"
#include <stdlib.h>

static double now_ms(void) { return (double)cab_now_ns() / 1e6; }

static cab_status run_first(bench *b, const tool_args *args, bool trace)
{
    cab_error e = { 0 };
    cab_session_options o = { .size = sizeof o, .threads = args->threads, .trace = trace };
    tool_feeds_views(b->arena, &b->feeds, &b->in);
    b->out = CAB_NEW_N(b->arena, cab_tensor_view, cab_model_output_count(b->model) + 1);
    int rc = cab_session_create(b->model, &o, &b->session, &e);
    double t = now_ms();
    if (rc == CAB_OK)
        rc = cab_session_run(b->session, b->in, b->out, &e);
    b->first_ms = now_ms() - t;
    return rc == CAB_OK ? CAB_OK : cab_fail(&b->diag, (cab_status)rc, NULL, "%s", e.text);
}

static cab_status open_guarded(bench *b, const tool_args *args, const char *const *files,
                               int n_files, bool trace)
{
    cab_compiler co = args->compile;
    if (n_files) {
        CAB_TRY(tool_feeds_read(b->arena, args, files, n_files, &b->feeds, &b->diag));
        tool_feeds_offer(&b->feeds, &co.import);
    }
    double t = now_ms();
    CAB_TRY(cab_compiler_jit(&co, &(cab_source){ .path = args->model }, &args->load, &b->model,
                             &b->times, &b->diag));
    b->load_ms = now_ms() - t;
    if (!n_files)
        CAB_TRY(tool_feeds_make(b->arena, args, b->model, &b->feeds, &b->diag));
    return run_first(b, args, trace);
}

cab_status bench_open(bench *b, const tool_args *args, const char *const *files, int n_files,
                      bool trace)
{
    *b = (bench){ 0 };
    cab_diag_init(&b->diag);
    b->arena = cab_arena_create(&b->job);
    if (!b->arena)
        return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    if (CAB_JOB_ENTER(&b->job) == 0)
        return open_guarded(b, args, files, n_files, trace);
    return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
}

void bench_close(bench *b)
{
    cab_session_destroy(b->session);
    cab_model_destroy(b->model);
    cab_arena_destroy(b->arena);
    cab_diag_fini(&b->diag);
}

double bench_run(bench *b)
{
    cab_error e = { 0 };
    double t = now_ms();
    int rc = cab_session_run(b->session, b->in, b->out, &e);
    double ms = now_ms() - t;
    if (rc == CAB_OK)
        return ms;
    cab_fail(&b->diag, (cab_status)rc, NULL, "%s", e.text);
    return -1;
}

static int ascending(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

double bench_median(double *ms, size_t n)
{
    qsort(ms, n, sizeof *ms, ascending);
    return n ? (ms[(n - 1) / 2] + ms[n / 2]) / 2 : 0;
}
