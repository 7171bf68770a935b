/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_bench.c - cab bench: median times of a model, whole or per launch.
 */
#include "tools/profile.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct result {
    double median, best;
    size_t n;
} result;

static cab_status measure(bench *b, int runs, result *out)
{
    size_t n = (size_t)runs;
    double *ms = malloc(n * sizeof *ms);
    if (!ms)
        return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        ms[i] = bench_run(b);
        if (ms[i] < 0) {
            free(ms);
            return CAB_EINPUT;
        }
    }
    out->median = bench_median(ms, n);
    out->best = ms[0];
    out->n = n;
    free(ms);
    return CAB_OK;
}

/* Runs that fill about so many milliseconds, 5 to 1000. */
static int choose_runs(const tool_args *args, const bench *b, double ms)
{
    if (args->runs)
        return args->runs;
    double n = ms / fmax(b->first_ms, 0.001);
    return n < 5 ? 5 : n > 1000 ? 1000 : (int)n;
}

static void print_json(const tool_args *args, const bench *b, const result *r)
{
    json_t *j = json_pack("{s:s, s:b, s:i, s:f, s:f, s:i, s:{s:f, s:f, s:f}}", "model",
                          args->model, "naive", args->compile.naive, "threads", args->threads,
                          "median_ms", r->median, "best_ms", r->best, "runs", (int)r->n,
                          "compile_ms", "import", b->times.import_ms, "passes",
                          b->times.passes_ms, "code", b->times.codegen_ms);
    json_dumpf(j, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(j);
}

/* A line of /proc/self/status, in MB. */
static double status_mb(const char *key)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            kb = atof(line + strlen(key));
    if (f)
        fclose(f);
    return kb / 1024;
}

/* A JIT's artifact is an anonymous file (shared memory for the system); an
 * artifact from the cache is a file that other processes share. */
static void print_memory(void)
{
    printf("memory: at most %.1f MB resident; now %.1f MB anonymous, %.1f MB of the artifact made "
           "here, %.1f MB of files\n", status_mb("VmHWM:"), status_mb("RssAnon:"),
           status_mb("RssShmem:"), status_mb("RssFile:"));
}

static void print_whole(const tool_args *args, const bench *b, const result *r)
{
    printf("%s%s: median %.3f ms, best %.3f ms of %zu runs, %d thread%s; %s in %.0f ms", args->model,
           args->compile.naive ? " (naive)" : "", r->median, r->best, r->n, args->threads,
           args->threads == 1 ? "" : "s", bench_is_artifact(args->model) ? "loaded" : "compiled",
           b->load_ms);
    if (!bench_is_artifact(args->model))
        printf(" (import %.1f, passes %.1f, code %.1f)", b->times.import_ms, b->times.passes_ms,
               b->times.codegen_ms);
    printf("\n");
    print_memory();
}

static cab_status report_whole(const tool_args *args, bench *b)
{
    result r = { 0 };
    CAB_TRY(measure(b, choose_runs(args, b, 2000), &r));
    if (args->json)
        print_json(args, b, &r);
    else
        print_whole(args, b, &r);
    return CAB_OK;
}

/* The table goes where the JSON does not. */
static cab_status report_layers(const tool_args *args, bench *b)
{
    profile p;
    CAB_TRY(profile_make(b, args, choose_runs(args, b, 3000), &p));
    if (args->json)
        CAB_TRY(profile_json(&p, args, &b->diag));
    if (!args->json || args->json_file) {
        profile_print(&p, args->top);
        print_memory();
    }
    return CAB_OK;
}

/* What an artifact was made with is in it. */
static const char *misfit(const tool_args *args)
{
    const cab_compiler *c = &args->compile;
    if (bench_is_artifact(args->model))
        return c->naive ? "naive" : c->exact ? "exact" : c->target ? "target"
             : c->tuning ? "tuning" : args->naive_too ? "naive-too" : NULL;
    return args->naive_too && c->naive ? "naive-too beside --naive" : NULL;
}

int cmd_bench(int argc, char **argv)
{
    tool_args args;
    bench b;
    if (!tool_parse_args(argc, argv, "input threads runs huge-pages naive exact layers json worker dim seed "
                                     "target compile-threads custom functions cache no-cache naive-too top tuning",
                         &args))
        return 2;
    args.threads = args.threads ? args.threads : 1;
    if (args.worker)
        return bench_worker(&args);
    if (!args.model) {
        fprintf(stderr, "usage: cab bench MODEL.onnx|MODEL.cab [--threads N] [--layers]\n");
        return 2;
    }
    if (misfit(&args)) {
        fprintf(stderr, "cab: no --%s: %s\n", misfit(&args), bench_is_artifact(args.model)
                ? "an artifact is what it was compiled to be" : "there is nothing to compare");
        return 2;
    }
    cab_status s = bench_open(&b, &args, args.input, args.n_inputs, args.layers || args.naive_too);
    if (s == CAB_OK)
        s = args.layers || args.naive_too ? report_layers(&args, &b) : report_whole(&args, &b);
    tool_print_diag(&b.diag);
    bench_close(&b);
    return cab_status_exit(s);
}
