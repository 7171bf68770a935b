/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.c - opening and timing one model or artifact.
 */
#include "tools/bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double now_ms(void) { return (double)cab_now_ns() / 1e6; }

static cab_status run_first(bench *b, const tool_args *args)
{
    cab_error e = { 0 };
    cab_session_options o = { .size = sizeof o, .threads = args->threads,
                              .huge_pages = args->huge_pages };
    tool_feeds_views(b->arena, &b->feeds, &b->in);
    b->out = CAB_NEW_N(b->arena, cab_tensor_view, cab_model_output_count(b->model) + 1);
    int rc = cab_session_create(b->model, &o, &b->session, &e);
    double t = now_ms();
    if (rc == CAB_OK)
        rc = cab_session_run(b->session, b->in, b->out, &e);
    b->first_ms = now_ms() - t;
    return rc == CAB_OK ? CAB_OK : cab_fail(&b->diag, (cab_status)rc, NULL, "%s", e.text);
}

/* As cab_compiler_jit does, and the bytes stay. */
static cab_status compile_and_keep(bench *b, const tool_args *args, cab_compiler *co)
{
    cab_compiled r;
    cab_error e = { 0 };
    co->seal = true;
    CAB_TRY(cab_compiler_run(co, &(cab_source){ .path = args->model }, &r, &b->diag));
    b->times = r.times;
    cab_status s = cab_fd_map(r.fd, args->model, &b->artifact, &b->diag);
    if (s == CAB_OK && cab_model_load_fd(r.fd, args->model, &args->load, &b->model, &e) != CAB_OK)
        s = cab_fail(&b->diag, (cab_status)e.code, NULL, "%s", e.text);
    close(r.fd);
    return s;
}

static cab_status open_model(bench *b, const tool_args *args, const char *const *files,
                             int n_files, bool keep)
{
    cab_compiler co = args->compile;
    if (n_files) {
        CAB_TRY(tool_feeds_read(b->arena, args, files, n_files, &b->feeds, &b->diag));
        tool_feeds_offer(&b->feeds, &co.import);
    }
    double t = now_ms();
    CAB_TRY(keep ? compile_and_keep(b, args, &co)
                 : cab_compiler_jit(&co, &(cab_source){ .path = args->model }, &args->load,
                                    &b->model, &b->times, &b->diag));
    b->load_ms = now_ms() - t;
    return n_files ? CAB_OK : tool_feeds_make(b->arena, args, b->model, &b->feeds, &b->diag);
}

static cab_status open_artifact(bench *b, const tool_args *args, const char *const *files,
                                int n_files)
{
    cab_error e = { 0 };
    double t = now_ms();
    CAB_TRY(cab_file_map(args->model, &b->artifact, &b->diag));
    int rc = cab_model_load(args->model, &args->load, &b->model, &e);
    if (rc != CAB_OK)
        return cab_fail(&b->diag, (cab_status)rc, NULL, "%s", e.text);
    b->load_ms = now_ms() - t;
    return n_files ? tool_feeds_read_for(b->arena, b->model, files, n_files, &b->feeds, &b->diag)
                   : tool_feeds_make(b->arena, args, b->model, &b->feeds, &b->diag);
}

static cab_status open_guarded(bench *b, const tool_args *args, const char *const *files,
                               int n_files, bool keep)
{
    CAB_TRY(bench_is_artifact(args->model) ? open_artifact(b, args, files, n_files)
                                           : open_model(b, args, files, n_files, keep));
    return run_first(b, args);
}

bool bench_is_artifact(const char *path)
{
    char magic[sizeof CAB_PLAN_MAGIC - 1] = { 0 };
    FILE *f = fopen(path, "re");
    bool is = f && fread(magic, sizeof magic, 1, f) == 1 &&
              !memcmp(magic, CAB_PLAN_MAGIC, sizeof magic);
    if (f)
        fclose(f);
    return is;
}

cab_status bench_open(bench *b, const tool_args *args, const char *const *files, int n_files,
                      bool keep)
{
    *b = (bench){ 0 };
    cab_diag_init(&b->diag);
    b->arena = cab_arena_create(&b->job);
    if (!b->arena)
        return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    if (CAB_JOB_ENTER(&b->job) == 0)
        return open_guarded(b, args, files, n_files, keep);
    return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
}

void bench_close(bench *b)
{
    cab_session_destroy(b->session);
    cab_model_destroy(b->model);
    if (b->artifact.p)
        cab_file_unmap(&b->artifact);
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
