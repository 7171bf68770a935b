/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_compile.c - cab compile: one model file becomes one .cab file, or text.
 */
#include "tools/tool.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static cab_status write_artifact(const char *path, int fd, cab_diag *d)
{
    cab_mapping m;
    CAB_TRY(cab_fd_map(fd, "artifact", &m, d));
    cab_status s = cab_file_write(path, m.p, m.n, d);
    cab_file_unmap(&m);
    return s;
}

cab_status tool_compile(const tool_args *args, cab_diag *d)
{
    cab_compiled r;
    const cab_compile_times *t = &r.times;
    cab_compiler c = args->compile;
    uint8_t seed[32];
    c.seal = true;
    if (args->sign_key) {
        CAB_TRY(cab_sign_key_read(args->sign_key, false, seed, d));
        c.sign_seed = seed;
    }
    CAB_TRY(cab_compiler_run(&c, &(cab_source){ .path = args->model }, &r, d));
    cab_status s = write_artifact(args->output_file, r.fd, d);
    close(r.fd);
    if (s == CAB_OK && r.cached)
        printf("%s: %.2f MB; found in the cache\n", args->output_file, (double)r.size / 1e6);
    else if (s == CAB_OK)
        printf("%s: %.2f MB; import %.1f ms, passes %.1f ms, code %.1f ms\n", args->output_file,
               (double)r.size / 1e6, t->import_ms, t->passes_ms, t->codegen_ms);
    return s;
}

static cab_status compile_or_emit(tool_args *args, cab_arena *a, cab_diag *d)
{
    CAB_TRY(tool_feeds_given(a, args, d));
    return args->emit ? tool_emit(args, d) : tool_compile(args, d);
}

/* The files offered live in this command's own arena. */
static cab_status guarded_compile(tool_args *args, cab_diag *d)
{
    cab_job job = { 0 };
    cab_arena *a = cab_arena_create(&job);
    cab_status s;
    if (!a)
        return cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    if (CAB_JOB_ENTER(&job) == 0)
        s = compile_or_emit(args, a, d);
    else
        s = cab_fail(d, CAB_ENOMEM, NULL, "out of memory");
    cab_arena_destroy(a);
    return s;
}

int cmd_compile(int argc, char **argv)
{
    tool_args args;
    cab_diag diag;
    if (!tool_parse_args(argc, argv, "out input naive exact target dim max-memory compile-threads emit "
                         "custom functions cache no-cache isolate embed-onnx sign no-costs tuning", &args))
        return 2;
    if (!args.model || (!args.output_file && !args.emit)) {
        fprintf(stderr, "usage: cab compile MODEL.onnx -o MODEL.cab [--emit FORM]\n");
        return 2;
    }
    args.compile.hash_model = true;
    cab_diag_init(&diag);
    cab_status s = guarded_compile(&args, &diag);
    tool_print_diag(&diag);
    cab_diag_fini(&diag);
    return cab_status_exit(s);
}
