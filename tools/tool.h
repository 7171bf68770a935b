/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool.h - what the subcommands of cab share.
 */
#ifndef CAB_TOOLS_TOOL_H
#define CAB_TOOLS_TOOL_H
#include "base/base.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "include/cab.h"
#include "passes/pass.h"
#include "runtime/runtime.h"

/* ---- compile.c: the one place where the floors of the house meet ---- */
typedef struct tool_compile_options {
    cab_import_options import;
    bool naive, exact, hash_model;
    const char *target;        /* NULL = this machine */
    int threads;               /* compile threads */
    size_t max_memory;         /* of the compile job; 0 = no limit */
    const cab_custom_op *custom;   /* tool_jit: kernels of custom operators */
    size_t n_custom;
} tool_compile_options;
typedef struct tool_times { double import_ms, passes_ms, codegen_ms; } tool_times;

/* ONNX file -> artifact in an anonymous file (the caller closes *out_fd). */
cab_status tool_compile(const char *path, const tool_compile_options *o, int *out_fd,
                        uint64_t *out_size, tool_times *t, cab_diag *d);
/* The same, mapped: JIT. */
cab_status tool_jit(const char *path, const tool_compile_options *o, cab_model **out,
                    tool_times *t, cab_diag *d);
/* Import and decompose only; every unsupported node is an error in d. */
cab_status tool_check(const char *path, const tool_compile_options *o, size_t *out_nodes,
                      cab_diag *d);
/* A text form of the kernels ("kir", "llvm", ...), of the whole model ("c",
 * "header"), of the program ("program"), or of the graph after the passes
 * ("graph"), to the file `out`, NULL: stdout.  The file's name is the prefix of
 * the names in C text. */
cab_status tool_emit(const char *path, const tool_compile_options *o, const char *form,
                     const char *out, cab_diag *d);

/* ---- custom_shape.c ---- */
/* A custom operator's shape function as the importer wants it; *s must live as
 * long as the graph. */
cab_foreign_op tool_foreign(const cab_custom_shape *s);

/* ---- options.c: flags that several subcommands take ---- */
typedef struct tool_args {
    const char *model;
    const char *input[64];     /* [NAME=]FILE */
    int n_inputs;
    const char *output[64];
    int n_outputs;
    const char *output_dir, *output_file, *emit;
    bool lines, layers, json, worker, show_trace, notes, embed;
    int verify;                /* enum cab_verify */
    const char *sign_key;      /* file with an Ed25519 private key */
    int threads, runs;
    uint64_t seed;
    cab_import_bind dim[64];
    int n_dims;
    cab_import_functions functions[64];
    int n_functions;
    tool_compile_options compile;
} tool_args;
/* Parses the flags named in `allowed` (long names, space-separated) after the
 * subcommand.  Prints the reason and returns false on a mistake. */
bool tool_parse_args(int argc, char **argv, const char *allowed, tool_args *out);

/* ---- feeds.c: input tensors of a run ---- */
typedef struct tool_feeds {
    cab_arena *arena;          /* owns the tensors */
    size_t n;
    cab_tensor *tensor;
    const char **name;
} tool_feeds;
/* Reads the input files for the model's feeds, in the model's order. */
cab_status tool_feeds_read(cab_arena *a, const tool_args *args, const char *const *files,
                           int n_files, tool_feeds *out, cab_diag *d);
/* Seeded values for a compiled model: floats in [-1, 1), integers 0 or 1. */
cab_status tool_feeds_make(cab_arena *a, const tool_args *args, const cab_model *m,
                           tool_feeds *out, cab_diag *d);
/* Offers them to the importer. */
void tool_feeds_offer(const tool_feeds *f, cab_import_options *o);
/* Reads the files of --input, if there are any, and offers their values. */
cab_status tool_feeds_given(cab_arena *a, tool_args *args, cab_diag *d);
void tool_feeds_views(cab_arena *a, const tool_feeds *f, cab_tensor_view **out);

/* ---- report.c ---- */
/* Everything in d, on stderr, one finding a line. */
void tool_print_diag(const cab_diag *d);
/* One line for machines: first error, newlines made spaces (arena memory). */
const char *tool_one_line(cab_arena *a, const cab_diag *d, cab_status s);
void tool_print_tensor(const char *name, const cab_tensor_view *t);
/* "f32[1, 3, 224, 224]" */
const char *tool_type_text(cab_arena *a, int dtype, int rank, const int64_t *dims);

/* ---- subcommands: exit status ---- */
int cmd_run(int argc, char **argv);
int cmd_compile(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
/* bench_worker.c: the JSON-line protocol of the peers' benchmark. */
int bench_worker(const tool_args *args);

#endif
