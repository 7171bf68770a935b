/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_tune.c - cab tune: measures a model's kernels by several schedules, and
 * writes down, or compiles with, those that are faster than the cost model's.
 */
#include "tools/bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the cost model assumes of an extent that nothing is known of. */
enum { ASSUMED = 128 };

static void show(void *user, const char *line)
{
    if (*(bool *)user)
        fprintf(stderr, "cab: tune: %s\n", line);
}

/* Records go to a file, to an artifact, or to stdout. */
static cab_status deliver(tool_args *args, bench *b, const cab_tuned *r)
{
    if (args->record)
        CAB_TRY(cab_file_write(args->record, r->record, strlen(r->record), &b->diag));
    if (!args->record && !args->output_file)
        fputs(r->record, stdout);
    if (!args->output_file)
        return CAB_OK;
    args->compile.tuning = r->record;
    args->compile.hash_model = true;
    return tool_compile(args, &b->diag);
}

static void summarise(const tool_args *args, const cab_tuned *r)
{
    FILE *to = args->record || args->output_file ? stdout : stderr;
    fprintf(to, "%s: %d of %d kernels by another schedule, %.3f ms less by themselves; a run takes %.3f ms "
            "untuned, %.3f ms tuned; tuned to untuned in turns %.1f %%\n", args->model, r->changed, r->kernels, r->saved_ms,
            r->untuned_ms, r->tuned_ms, 100 * r->ratio);
}

static cab_status tune(tool_args *args, bench *b)
{
    bool chatty = isatty(STDERR_FILENO) || cab_debug_level() > 0;
    cab_tuned r;
    if (args->n_inputs)
        tool_feeds_offer(&b->feeds, &args->compile.import);
    cab_tune_options o = { .inputs = b->in, .load = &args->load, .threads = args->threads,
                           .seconds = args->seconds, .progress = show, .progress_user = &chatty };
    CAB_TRY(cab_tune(&args->compile, &(cab_source){ .path = args->model }, b->model, &o, &r, &b->diag));
    cab_status s = deliver(args, b, &r);
    if (s == CAB_OK)
        summarise(args, &r);
    free(r.record);
    return s;
}

/* Out of memory in what follows bench_open lands here. */
static cab_status guarded(tool_args *args, bench *b)
{
    if (CAB_JOB_ENTER(&b->job))
        return cab_fail(&b->diag, CAB_ENOMEM, NULL, "out of memory");
    return tune(args, b);
}

int cmd_tune(int argc, char **argv)
{
    tool_args args;
    bench b;
    if (!tool_parse_args(argc, argv, "out record input threads seed dim at seconds exact target max-memory "
                         "compile-threads custom functions embed-onnx sign no-costs", &args))
        return 2;
    if (!args.model || bench_is_artifact(args.model)) {
        fprintf(stderr, "usage: cab tune MODEL.onnx [-o MODEL.cab] [--record FILE] [--input ...] [--dim ...] "
                        "[--at NAME=N]... [--threads N] [--seconds N]\n%s",
                args.model ? "An artifact is what it was compiled to be.\n" : "");
        return 2;
    }
    args.threads = args.threads ? args.threads : 1;
    args.assumed = ASSUMED;
    cab_status s = bench_open(&b, &args, args.input, args.n_inputs, false);
    if (s == CAB_OK)
        s = guarded(&args, &b);
    tool_print_diag(&b.diag);
    bench_close(&b);
    return cab_status_exit(s);
}
