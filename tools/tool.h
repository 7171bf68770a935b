/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool.h - what the subcommands of cab share.
 */
#ifndef CAB_TOOLS_TOOL_H
#define CAB_TOOLS_TOOL_H
#include "base/base.h"
#include "frontend/frontend.h"
#include "libcab/libcab.h"
#include "runtime/runtime.h"

/* ---- options.c: flags that several subcommands take ---- */
typedef struct tool_args {
    const char *model;
    const char *input[64];     /* [NAME=]FILE */
    int n_inputs;
    const char *output[64];
    int n_outputs;
    const char *output_dir, *output_file, *emit;
    bool lines, layers, json, worker, show_trace, notes, naive_too, huge_pages;
    const char *json_file;     /* NULL: stdout */
    const char *record;        /* where a tuning record goes */
    const char *sign_key;      /* file with an Ed25519 private key */
    const char *trust_key;     /* and with the public key that must have signed */
    int threads, runs, top, seconds;
    uint64_t seed;
    cab_import_bind dim[64];   /* --dim NAME=N */
    cab_import_range range[64];        /* --dim NAME=LO..HI */
    int n_dims, n_ranges;
    cab_import_bind at[64];    /* --at NAME=N: of an open extent, in runs with seeded values */
    int n_at;
    int64_t assumed;           /* other open extents, but for the first of an input; 0 = 16 */
    cab_import_functions functions[64];
    int n_functions;
    cab_compiler compile;
    cab_model_options load;            /* --custom, --verify */
} tool_args;
/* Parses the flags named in `allowed` (long names, space-separated) after the
 * subcommand.  Prints the reason and returns false on a mistake. */
bool tool_parse_args(int argc, char **argv, const char *allowed, tool_args *out);

/* ---- feeds.c: input tensors of a run ---- */
typedef struct tool_feeds {
    cab_arena *arena;          /* owns the tensors */
    size_t n;
    cab_tensor *tensor;
    cab_file_value *list;      /* of kind sequence or optional: instead of the tensor */
    const char **name;
} tool_feeds;
/* Reads the input files for the model's feeds, in the model's order. */
cab_status tool_feeds_read(cab_arena *a, const tool_args *args, const char *const *files,
                           int n_files, tool_feeds *out, cab_diag *d);
/* The same for a model that is compiled. */
cab_status tool_feeds_read_for(cab_arena *a, const cab_model *m, const char *const *files,
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

/* A text form of the program or its kernels to stdout (--emit). */
cab_status tool_emit(const tool_args *args, cab_diag *d);

/* ---- cmd_compile.c ---- */
/* To args->output_file. */
cab_status tool_compile(const tool_args *args, cab_diag *d);

/* ---- subcommands: exit status ---- */
int cmd_run(int argc, char **argv);
int cmd_compile(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_tune(int argc, char **argv);
/* cmd_serve.c: start cab-serve and cab-client, the programs beside this one. */
int cmd_serve(int argc, char **argv);
int cmd_client(int argc, char **argv);
/* bench_worker.c: the JSON-line protocol of the peers' benchmark. */
int bench_worker(const tool_args *args);

#endif
