/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcab.h - the compiler as one call, for the commands and the tests.
 *
 * What include/cab.h offers to hosts, with the house's own types: stories in
 * a cab_diag, the importer's options, times.  Every call may be made from any
 * number of threads at once; each has its own memory, given back at its end.
 */
#ifndef CAB_LIBCAB_LIBCAB_H
#define CAB_LIBCAB_LIBCAB_H
#include "base/base.h"
#include "frontend/frontend.h"
#include "include/cab.h"
#include "runtime/runtime.h"

/* What is compiled: the file at path; or, when p is set, n bytes, and path is
 * only their label, beside which external data lies (NULL: refused). */
typedef struct cab_source { const char *path; const void *p; size_t n; } cab_source;

/* All zero is a sensible default. */
typedef struct cab_compiler {
    cab_import_options import; /* binds may hold several values of one name: then the extent
                                * stays open, and each combination is specialised too */
    bool naive, exact;
    bool hash_model;           /* the artifact carries the SHA-256 of the model file */
    const char *target;        /* NULL = this machine */
    const char *model_name;    /* NULL = the last part of the path */
    const char *tuning;        /* text of a tuning record; NULL = none */
    int threads;               /* compile threads; 0 = 1 */
    size_t max_memory;         /* of the compile job; 0 = no limit */
    cab_cancel cancel;
    const char *cache_dir;     /* NULL = no cache */
    uint64_t cache_bytes;      /* most the cache may hold; 0 = 4 GiB */
    bool isolate;              /* compile in a child process */
    const char *worker;        /* its program; NULL = where it was built or installed */
    bool naive_kernels;        /* the same steps with naive code: to compare them one by one */
    bool seal;                 /* for a file: checksums of the weights, notes, costs */
    bool no_costs;             /* but not what kernels must do (for tools) */
    bool embed_model;          /* the artifact carries the file */
    const uint8_t *sign_seed;  /* NULL = no signature */
    const cab_custom_shape *custom;
    size_t n_custom;
    int test_signal;           /* tests: the child raises it before it compiles */
} cab_compiler;

typedef struct cab_compile_times { double import_ms, passes_ms, codegen_ms; } cab_compile_times;

typedef struct cab_compiled {
    int fd;                    /* the artifact; the caller closes it */
    uint64_t size;
    cab_compile_times times;
    bool fixed_shapes;         /* it holds for the offered extents only */
    bool cached;               /* found, not made: fd is a file that must not be changed */
} cab_compiled;

/* Model -> artifact: from the cache, in a child process, or here. */
cab_status cab_compiler_run(const cab_compiler *c, const cab_source *s, cab_compiled *out,
                            cab_diag *d);
/* The same, loaded.  mo and times may be NULL. */
cab_status cab_compiler_jit(const cab_compiler *c, const cab_source *s,
                            const cab_model_options *mo, cab_model **out,
                            cab_compile_times *times, cab_diag *d);
/* Import and decompose only; every unsupported node is an error in d. */
cab_status cab_compiler_check(const cab_compiler *c, const cab_source *s, size_t *out_nodes,
                              cab_diag *d);
/* A text form of the kernels ("kir", "llvm", ...), of the whole model ("c",
 * "header"), of the program ("program"), or of the graph after the passes
 * ("graph"); malloc'ed.  file: where it will go, NULL if nowhere; its name is
 * the prefix of the names in C text. */
cab_status cab_compiler_emit(const cab_compiler *c, const cab_source *s, const char *form,
                             const char *file, char **out, size_t *out_n, cab_diag *d);

/* ---- tune.c ---- */
typedef struct cab_tune_options {
    const cab_tensor_view *inputs;     /* of the runs */
    const cab_model_options *load;     /* NULL = default */
    int threads;               /* of a run; 0 = all */
    double seconds;            /* to take about that long; 0 = 40 */
    void (*progress)(void *user, const char *line);
    void *progress_user;
} cab_tune_options;
typedef struct cab_tuned {
    char *record;              /* for cab_compiler.tuning; the caller frees it */
    int kernels, changed;
    double untuned_ms, tuned_ms;       /* least times of a run */
    double ratio;              /* tuned to untuned: the median of runs next to each other */
    double saved_ms;           /* by the kernels that changed: steadier than the difference */
} cab_tuned;
/* Measures kernels of the model by other schedules; untuned was made by c from s. */
cab_status cab_tune(const cab_compiler *c, const cab_source *s, cab_model *untuned,
                    const cab_tune_options *o, cab_tuned *out, cab_diag *d);
/* The text of a record that lies in a file, or in an artifact that was made with one;
 * malloc'ed. */
cab_status cab_tuning_read(const char *path, char **out, cab_diag *d);

/* The 32 bytes of an Ed25519 key in a PEM file. */
cab_status cab_sign_key_read(const char *path, bool is_public, uint8_t out[32], cab_diag *d);

/* A custom operator's shape function as the importer wants it; *s must live as
 * long as the graph. */
cab_foreign_op cab_foreign_of(const cab_custom_shape *s);

#endif
