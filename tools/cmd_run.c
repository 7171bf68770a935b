/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_run.c - cab run: compile in this process, run once, write the outputs.
 */
#include "tools/tool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct run_job {
    cab_arena *arena;
    tool_args args;            /* own copy: a line changes model and folder */
    cab_diag *diag;
    cab_model *model;
    cab_session *session;
} run_job;

static bool wanted(const tool_args *args, const char *name)
{
    for (int i = 0; i < args->n_outputs; i++)
        if (!strcmp(args->output[i], name))
            return true;
    return args->n_outputs == 0;
}

static cab_file_value file_value(run_job *r, const cab_tensor_view *v)
{
    cab_file_value f = { .kind = CAB_KIND_tensor, .name = "", .elem_kind = CAB_KIND_tensor };
    if (v->rank >= 0) {
        f.tensor = (cab_tensor){ cab_dtype_from_onnx(v->dtype), v->rank, { 0 }, v->data };
        memcpy(f.tensor.dims, v->dims, sizeof f.tensor.dims);
        return f;
    }
    f.kind = v->rank == CAB_RANK_NONE ? CAB_KIND_optional : CAB_KIND_sequence;
    f.n = f.kind == CAB_KIND_sequence ? (size_t)v->dims[0] : 0;
    f.items = CAB_NEW_N(r->arena, cab_file_value, f.n + 1);
    for (size_t i = 0; i < f.n; i++)
        f.items[i] = file_value(r, (const cab_tensor_view *)v->data + i);
    return f;
}

static cab_status write_output(run_job *r, int i, const cab_tensor_info *info,
                               const cab_tensor_view *v)
{
    cab_file_value f = file_value(r, v), *held;
    const char *path = cab_printf(r->arena, "%s/output_%d.pb", r->args.output_dir, i);
    if (cab_model_output_kind(r->model, i) == CAB_KIND_OPTIONAL && f.kind != CAB_KIND_optional) {
        held = cab_dup(r->arena, &f, sizeof f);
        f = (cab_file_value){ .kind = CAB_KIND_optional, .elem_kind = held->kind, .n = 1,
                              .items = held };
    }
    f.name = info->name;
    return cab_value_write_pb(r->arena, path, &f, r->diag);
}

static cab_status deliver(run_job *r, const cab_tensor_view *out)
{
    for (int i = 0; i < cab_model_output_count(r->model); i++) {
        cab_tensor_info info;
        cab_model_output(r->model, i, &info);
        if (!wanted(&r->args, info.name))
            continue;
        if (r->args.output_dir)
            CAB_TRY(write_output(r, i, &info, &out[i]));
        else if (!r->args.lines)
            tool_print_tensor(info.name, &out[i]);
    }
    return CAB_OK;
}

static void print_trace(const cab_session *s)
{
    const cab_trace_event *t;
    size_t n;
    if (cab_session_trace(s, &t, &n) != CAB_OK)
        return;
    for (size_t i = 0; i < n; i++)
        printf("%8.1f us  %-7s %-20s %-24s %s\n", (double)t[i].ns / 1e3, t[i].kind, t[i].name,
               t[i].what, t[i].layers);
}

static cab_status run_once(run_job *r, const char *const *files, int n_files)
{
    tool_feeds feeds = { 0 };
    cab_tensor_view *in, *out;
    cab_error e = { 0 };
    if (n_files || r->args.lines) {
        CAB_TRY(tool_feeds_read(r->arena, &r->args, files, n_files, &feeds, r->diag));
        tool_feeds_offer(&feeds, &r->args.compile.import);
    }
    CAB_TRY(cab_compiler_jit(&r->args.compile, &(cab_source){ .path = r->args.model }, &r->args.load,
                             &r->model, NULL, r->diag));
    if (!n_files && !r->args.lines)
        CAB_TRY(tool_feeds_make(r->arena, &r->args, r->model, &feeds, r->diag));
    tool_feeds_views(r->arena, &feeds, &in);
    out = CAB_NEW_N(r->arena, cab_tensor_view, cab_model_output_count(r->model) + 1);
    cab_session_options so = { .size = sizeof so, .threads = r->args.threads, .trace = r->args.show_trace,
                               .huge_pages = r->args.huge_pages,
                               .max_bytes = r->args.compile.max_memory };
    cab_memory mem;
    int rc = cab_session_create(r->model, &so, &r->session, &e);
    if (rc == CAB_OK)
        rc = cab_session_estimate(r->session, in, &mem, &e);
    if (rc == CAB_OK && !r->args.output_dir && !r->args.lines)
        printf("memory: weights %.2f MB (mapped), intermediate tensors %.2f MB, outputs %.2f MB\n",
               (double)mem.weights / 1e6, (double)mem.intermediate / 1e6,
               (double)mem.outputs / 1e6);
    cab_log(1, "ready to run at %lld us of the monotonic clock", (long long)cab_now_ns() / 1000);
    if (rc == CAB_OK)
        rc = cab_session_run(r->session, in, out, &e);
    if (rc != CAB_OK)
        return cab_fail(r->diag, (cab_status)rc, NULL, "%s", e.text);
    if (r->args.show_trace)
        print_trace(r->session);
    return deliver(r, out);
}

static cab_status emit_once(run_job *r)
{
    CAB_TRY(tool_feeds_given(r->arena, &r->args, r->diag));
    return tool_emit(&r->args, r->diag);
}

/* One run with its own memory; nothing outlives it. */
static cab_status guarded_run(run_job *r, const char *const *files, int n_files)
{
    cab_status s;
    if (CAB_JOB_ENTER(cab_arena_job(r->arena)) == 0)
        s = r->args.emit ? emit_once(r) : run_once(r, files, n_files);
    else
        s = cab_fail(r->diag, CAB_ENOMEM, NULL, "out of memory");
    cab_session_destroy(r->session);
    cab_model_destroy(r->model);
    r->session = NULL;
    r->model = NULL;
    return s;
}

/* ---- --lines: MODEL TAB OUTDIR TAB IN0 TAB ... -> one answer a line ---- */

enum { MAX_FILES = 64 };

static int split(char *line, char **part, int max)
{
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *p = line; p && n < max; n++) {
        part[n] = p;
        p = strchr(p, '\t');
        if (p)
            *p++ = 0;
    }
    return n;
}

static void answer(run_job *r, cab_status s)
{
    if (s == CAB_OK)
        printf("ok\n");
    else
        printf("%s: %s\n", s == CAB_EUNSUPPORTED ? "unsupported" : "error",
               tool_one_line(r->arena, r->diag, s));
    fflush(stdout);
}

static int run_lines(const tool_args *args)
{
    char *line = NULL, *part[MAX_FILES + 2];
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        cab_job job = { 0 };
        cab_diag diag;
        cab_diag_init(&diag);
        run_job r = { .arena = cab_arena_create(&job), .args = *args, .diag = &diag };
        int n = split(line, part, MAX_FILES + 2);
        cab_status s = r.arena ? CAB_OK : CAB_ENOMEM;
        if (s == CAB_OK && n < 2)
            s = cab_fail(&diag, CAB_EINVAL, NULL, "a line is MODEL TAB OUTDIR TAB INPUTS");
        if (s == CAB_OK) {
            r.args.model = part[0];
            r.args.output_dir = part[1];
            s = guarded_run(&r, (const char *const *)part + 2, n - 2);
        }
        answer(&r, s);
        cab_arena_destroy(r.arena);
        cab_diag_fini(&diag);
    }
    free(line);
    return 0;
}

int cmd_run(int argc, char **argv)
{
    run_job r = { 0 };
    cab_job job = { 0 };
    cab_diag diag;
    if (!tool_parse_args(argc, argv,
                         "input output output-dir lines threads seed dim naive exact target "
                         "max-memory compile-threads trace emit custom functions "
                         "cache no-cache isolate tuning huge-pages", &r.args))
        return 2;
    if (r.args.lines)
        return run_lines(&r.args);
    if (!r.args.model) {
        fprintf(stderr, "usage: cab run MODEL.onnx [--input [NAME=]FILE]... [--output-dir DIR]\n");
        return 2;
    }
    cab_diag_init(&diag);
    r.diag = &diag;
    r.arena = cab_arena_create(&job);
    cab_status s = !r.arena ? CAB_ENOMEM
                 : guarded_run(&r, r.args.input, r.args.n_inputs);
    tool_print_diag(&diag);
    cab_arena_destroy(r.arena);
    cab_diag_fini(&diag);
    return cab_status_exit(s);
}
