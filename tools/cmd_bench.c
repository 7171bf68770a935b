/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_bench.c - cab bench: median times of a model, whole or per launch.
 */
#include "tools/bench.h"
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

/* Runs that fill about two seconds, 5 to 1000. */
static int choose_runs(const tool_args *args, const bench *b)
{
    if (args->runs)
        return args->runs;
    double n = 2000 / fmax(b->first_ms, 0.001);
    return n < 5 ? 5 : n > 1000 ? 1000 : (int)n;
}

/* Per-launch medians over the runs, in plan order. */
static cab_status measure_layers(bench *b, int runs, double **out, size_t *out_n)
{
    const cab_trace_event *t;
    size_t n = 0;
    cab_session_trace(b->session, &t, &n);
    double *all = calloc((size_t)runs * n + 1, sizeof *all);
    double *column = calloc((size_t)runs + 1, sizeof *column);
    *out = calloc(n + 1, sizeof **out);
    cab_status s = all && column && *out ? CAB_OK
                                         : cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    for (int r = 0; r < runs && s == CAB_OK; r++) {
        size_t m;
        if (bench_run(b) < 0)
            s = CAB_EINPUT;
        cab_session_trace(b->session, &t, &m);
        for (size_t i = 0; i < n && i < m && s == CAB_OK; i++)
            all[(size_t)r * n + i] = (double)t[i].ns / 1e3;
    }
    for (size_t i = 0; i < n && s == CAB_OK; i++) {
        for (int r = 0; r < runs; r++)
            column[r] = all[(size_t)r * n + i];
        (*out)[i] = bench_median(column, (size_t)runs);
    }
    free(all);
    free(column);
    *out_n = n;
    return s;
}

static void print_layers(const bench *b, const double *us, size_t n)
{
    const cab_trace_event *t;
    size_t m;
    double sum = 0;
    cab_session_trace(b->session, &t, &m);
    for (size_t i = 0; i < n; i++)
        sum += us[i];
    printf("%10s %6s %6s  %-22s %-28s %s\n", "us", "%", "tasks", "kernel", "ops", "layers");
    for (size_t i = 0; i < n; i++)
        printf("%10.1f %6.1f %6lld  %-22s %-28s %s\n", us[i], 100 * us[i] / fmax(sum, 1e-9),
               (long long)t[i].tasks, t[i].name[0] ? t[i].name : t[i].kind, t[i].what,
               t[i].layers);
    printf("%10.1f        sum of launches\n", sum);
}

static void print_json(const tool_args *args, const bench *b, const result *r, const double *us,
                       size_t n_layers)
{
    json_t *j = json_pack("{s:s, s:b, s:i, s:f, s:f, s:i, s:{s:f, s:f, s:f}}", "model",
                          args->model, "naive", args->compile.naive, "threads", args->threads,
                          "median_ms", r->median, "best_ms", r->best, "runs", (int)r->n,
                          "compile_ms", "import", b->times.import_ms, "passes",
                          b->times.passes_ms, "code", b->times.codegen_ms);
    if (us) {
        const cab_trace_event *t;
        size_t m;
        json_t *list = json_array();
        cab_session_trace(b->session, &t, &m);
        for (size_t i = 0; i < n_layers; i++)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:f, s:I}", "kind",
                                                  t[i].kind, "kernel", t[i].name, "ops",
                                                  t[i].what, "layers", t[i].layers, "us", us[i],
                                                  "tasks", (json_int_t)t[i].tasks));
        json_object_set_new(j, "launches", list);
    }
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

static cab_status report(const tool_args *args, bench *b)
{
    result r = { 0 };
    double *us = NULL;
    size_t n = 0;
    int runs = choose_runs(args, b);
    cab_status s = measure(b, runs, &r);
    if (s == CAB_OK && args->layers)
        s = measure_layers(b, runs, &us, &n);
    if (s == CAB_OK && args->json) {
        print_json(args, b, &r, us, n);
    } else if (s == CAB_OK) {
        if (us)
            print_layers(b, us, n);
        printf("%s%s: median %.3f ms, best %.3f ms of %zu runs, %d thread%s; compiled in %.0f ms "
               "(import %.1f, passes %.1f, code %.1f)\n", args->model,
               args->compile.naive ? " (naive)" : "", r.median, r.best, r.n,
               args->threads ? args->threads : 0, args->threads == 1 ? "" : "s",
               b->load_ms, b->times.import_ms, b->times.passes_ms, b->times.codegen_ms);
        print_memory();
    }
    free(us);
    return s;
}

int cmd_bench(int argc, char **argv)
{
    tool_args args;
    bench b;
    if (!tool_parse_args(argc, argv, "input threads runs naive exact layers json worker dim seed "
                                     "target compile-threads custom functions cache no-cache", &args))
        return 2;
    args.threads = args.threads ? args.threads : 1;
    if (args.worker)
        return bench_worker(&args);
    if (!args.model) {
        fprintf(stderr, "usage: cab bench MODEL.onnx [--threads N] [--layers]\n");
        return 2;
    }
    cab_status s = bench_open(&b, &args, args.input, args.n_inputs, args.layers);
    if (s == CAB_OK)
        s = report(&args, &b);
    tool_print_diag(&b.diag);
    bench_close(&b);
    return cab_status_exit(s);
}
