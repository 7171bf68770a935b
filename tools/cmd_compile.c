/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_compile.c - cab compile: one model file becomes one .cab file.
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

static cab_status compile_to(const tool_args *args, cab_diag *d)
{
    cab_compiled r;
    const cab_compile_times *t = &r.times;
    CAB_TRY(cab_compiler_run(&args->compile, &(cab_source){ .path = args->model }, &r, d));
    cab_status s = write_artifact(args->output_file, r.fd, d);
    close(r.fd);
    if (s == CAB_OK && r.cached)
        printf("%s: %.2f MB; found in the cache\n", args->output_file, (double)r.size / 1e6);
    else if (s == CAB_OK)
        printf("%s: %.2f MB; import %.1f ms, passes %.1f ms, code %.1f ms\n", args->output_file,
               (double)r.size / 1e6, t->import_ms, t->passes_ms, t->codegen_ms);
    return s;
}

int cmd_compile(int argc, char **argv)
{
    tool_args args;
    cab_diag diag;
    if (!tool_parse_args(argc, argv, "out naive exact target dim max-memory compile-threads emit cache no-cache "
                         "isolate",
                         &args))
        return 2;
    if (!args.model || (!args.output_file && !args.emit)) {
        fprintf(stderr, "usage: cab compile MODEL.onnx -o MODEL.cab\n");
        return 2;
    }
    args.compile.hash_model = true;
    cab_diag_init(&diag);
    cab_status s = args.emit ? tool_emit(&args, &diag)
                             : compile_to(&args, &diag);
    tool_print_diag(&diag);
    cab_diag_fini(&diag);
    return cab_status_exit(s);
}
