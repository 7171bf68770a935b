/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab-opt.c - text in, passes, text out: how every pass is tested alone.
 *
 *   cab-opt [--passes a,b,c | --pipeline] [--naive] [--exact] [--verify]
 *           [--bisect-limit N] [--hashes] [--emit graph|program|sched|kir|c|header|cuda|llvm|asm]
 *           [FILE.cir|FILE.onnx|-]
 *
 * --hashes leaves out the bytes of large constants.  Without --passes the graph is only parsed and printed.
 */
#include "tools/tool.h"
#include "codegen/codegen.h"
#include "passes/pass.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct opt_args {
    const char *passes, *emit, *file;
    bool pipeline, hashes;
    cab_pass_options pass;
} opt_args;

static bool parse(int argc, char **argv, opt_args *a)
{
    static const struct option flags[] = {
        { "passes", required_argument, NULL, 'p' }, { "pipeline", no_argument, NULL, 'P' },
        { "emit", required_argument, NULL, 'e' },   { "naive", no_argument, NULL, 'n' },
        { "exact", no_argument, NULL, 'x' },        { "verify", no_argument, NULL, 'v' },
        { "bisect-limit", required_argument, NULL, 'b' }, { "hashes", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };
    int c;
    *a = (opt_args){ .emit = "graph", .file = "-" };
    while ((c = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        switch (c) {
        case 'p': a->passes = optarg; break;
        case 'P': a->pipeline = true; break;
        case 'e': a->emit = optarg; break;
        case 'n': a->pass.naive = true; break;
        case 'x': a->pass.exact = true; break;
        case 'v': a->pass.verify = true; break;
        case 'h': a->hashes = true; break;
        case 'b': a->pass.bisect_limit = atoi(optarg); break;
        default: return false;
        }
    }
    if (optind < argc)
        a->file = argv[optind++];
    return optind == argc;
}

static cab_status read_graph(cab_arena *a, const char *file, cab_graph **out, cab_diag *d)
{
    char *text;
    size_t n, len = strlen(file);
    if (len > 5 && !strcmp(file + len - 5, ".onnx"))
        return cab_import_file(a, file, NULL, out, d);
    CAB_TRY(cab_file_read(a, strcmp(file, "-") ? file : "/dev/stdin", (size_t)1 << 30, &text, &n, d));
    return cab_graph_parse(a, text, n, file, out, d);
}

static cab_status run(cab_arena *a, const opt_args *o, cab_diag *d)
{
    cab_graph *g;
    cab_program *p = NULL;
    cab_buf b = cab_buf_on(a);
    CAB_TRY(read_graph(a, o->file, &g, d));
    CAB_TRY(cab_graph_verify(g, d));
    if (o->passes)
        CAB_TRY(cab_passes_run_list(g, o->passes, &o->pass, &p, d));
    else if (o->pipeline)
        CAB_TRY(cab_passes_run(g, &o->pass, &p, d));
    if (!strcmp(o->emit, "graph")) {
        (o->hashes ? cab_graph_print_brief : cab_graph_print)(&b, g);
    } else if (!p) {
        return cab_fail(d, CAB_EINVAL, NULL, "--emit %s wants a list of passes that ends in lower",
                        o->emit);
    } else if (!strcmp(o->emit, "program")) {
        cab_program_print(&b, p);
    } else {
        cab_codegen_options co = { .naive = o->pass.naive };
        CAB_TRY(cab_codegen_emit(a, p, &co, o->emit, &b, d));
    }
    fwrite(b.p, 1, b.n, stdout);
    return CAB_OK;
}

int main(int argc, char **argv)
{
    opt_args o;
    cab_job job = { 0 };
    cab_diag d;
    cab_status s;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: cab-opt [--passes LIST | --pipeline] [--naive] [--exact] [--verify] "
                        "[--emit FORM] [FILE]\n");
        return 2;
    }
    cab_diag_init(&d);
    cab_arena *a = cab_arena_create(&job);
    if (a && CAB_JOB_ENTER(&job) == 0)
        s = run(a, &o, &d);
    else
        s = cab_fail(&d, CAB_ENOMEM, NULL, "out of memory");
    tool_print_diag(&d);
    cab_arena_destroy(a);
    cab_diag_fini(&d);
    return cab_status_exit(s);
}
