/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab.h - libcab: compile ONNX models inside a host program.
 *
 * A model goes in as a file or as bytes; an artifact (the bytes of a .cab
 * file) or a loaded model (cab_rt.h) comes out.  Compiling is reentrant: any
 * number of threads may compile at once, each call with its own memory, which
 * is given back when it ends, whichever way.  The library never prints,
 * exits, or raises a signal.  Structs begin with `size`: see cab_rt.h.
 */
#ifndef CAB_H
#define CAB_H
#include "cab_rt.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- what is said about a model: errors, warnings, and what to do ---- */
typedef struct cab_report cab_report;
CAB_API void cab_report_destroy(cab_report *r);          /* NULL is allowed */
/* Lines "error: unsupported: node 'x' (Foo, opset 3): why", "note: ..."; "" when
 * there is nothing to say.  Lives as long as the report. */
CAB_API const char *cab_report_text(const cab_report *r);

/* ---- options ---- */
/* What is known of an extent that the model names: a range, or the values a
 * program will use.  lo == hi fixes it.  Several values for one name (an entry
 * each, lo == hi) leave it open, and each combination of such values, 16 at
 * most, gets a plan of its own beside the one for all sizes, which a run of
 * these extents takes; weights are common to them. */
typedef struct cab_dim_range { const char *name; int64_t lo, hi; } cab_dim_range;

/* Extents and values of one input, when they are known at compile time.  The
 * artifact holds for every value unless data decided a size: then for this
 * value, which a run checks. */
typedef struct cab_offered_input {
    const char *name;          /* NULL: by its place in the array */
    cab_tensor_view view;      /* data may be NULL (not of a sequence) */
} cab_offered_input;

/* Type and extents of the outputs of a custom operator. */
typedef struct cab_custom_extent {
    int64_t value;             /* when input < 0 */
    int input, axis;           /* else: the same as that extent of that input */
} cab_custom_extent;
static inline cab_custom_extent cab_extent(int64_t value)
{
    cab_custom_extent e = { value, -1, 0 };
    return e;
}
static inline cab_custom_extent cab_extent_of(int input, int axis)
{
    cab_custom_extent e = { 0, input, axis };
    return e;
}
typedef struct cab_custom_type { int dtype, rank; cab_custom_extent dims[8]; } cab_custom_type;
typedef struct cab_custom_shape {
    const char *domain, *name;
    /* Fills one type per output, extents by cab_extent and cab_extent_of (zeroed
     * memory would mean axis 0 of input 0).  inputs (dtype 0: absent) tell name, dtype, rank and extents (-1
     * where not known at compile time).  0, or a code with e filled in. */
    int (*infer)(void *user, const char *node, int n_inputs, const cab_tensor_info *inputs,
                 int n_attrs, const cab_custom_attr *attrs, int n_outputs, cab_custom_type *outputs,
                 cab_error *e);
    void *user;
} cab_custom_shape;

/* A model file of whose contents only the functions count: definitions of
 * operators that a model uses and does not define; the first counts. */
typedef struct cab_function_file { const void *p; size_t n; const char *label; } cab_function_file;

typedef struct cab_compile_options {
    size_t size;
    const char *target;        /* NULL = "native"; or levels: "x86-64-v3,x86-64-v4" */
    int naive;                 /* 1: scalar loops, no optimisation */
    int exact;                 /* 1: no rewrite that changes rounding */
    int threads;               /* compile threads; 0 = 1 */
    uint64_t max_memory;       /* bytes a compilation may hold; 0 = no limit */
    const cab_dim_range *dims;
    size_t n_dims;
    const cab_offered_input *inputs;
    size_t n_inputs;
    const cab_custom_shape *custom;
    size_t n_custom;
    const char *cache_dir;     /* NULL: no cache.  A folder of .cab files by content */
    int isolate;               /* 1: compile in a child process, which may crash or be killed */
    int embed_model;           /* 1: the artifact carries the ONNX file */
    const uint8_t *sign_seed;  /* 32 bytes, an Ed25519 private key; NULL: no signature */
    const char *model_name;    /* NULL: the file's name */
    /* Asked now and then; not 0 ends the compilation with CAB_RT_ECANCELLED. */
    int (*cancelled)(void *user);
    void *cancel_user;         /* Called on the thread that compiles, only. */
    uint64_t cache_bytes;      /* most that cache_dir may hold; 0 = 4 GiB.  The least recently
                                * used entries go first */
    const char *worker;        /* program for isolate; NULL: cab-compile-worker beside the host
                                * program, or where it is installed */
    const cab_function_file *functions;
    size_t n_functions;
    /* cab_jit_* only.  1: extents that the model's sessions run often get a plan of
     * their own, as listed ones do; results may differ from those of the plan for
     * all sizes by rounding.  A thread of the library makes them (allocator hooks
     * of the model are called on it; it ends with the model, whose last destroy
     * may wait for a step of it, some 10 ms) from the model's file, or its bytes,
     * which must live, unchanged, as long as the model.  Weights are the model's.
     * Not with custom operators. */
    int specialise;
    int specialise_after;      /* runs of the same extents; 0 = 32 */
    int specialise_most;       /* such plans at a time, 1 .. 32; 0 = 8.  The one that was not
                                * run for longest goes */
    const char *tuning;        /* text of a tuning record (docs/tuning.md); NULL: schedules by
                                * the cost model alone */
} cab_compile_options;

/* ---- compiling ---- */
/* The artifact as a file without a name (or an entry of the cache, opened to
 * read: it must not be changed), which the caller closes; o and report may
 * be NULL.  report is made in any case but CAB_RT_ENOMEM. */
CAB_API int cab_compile_file(const char *path, const cab_compile_options *o, int *out_fd,
                             cab_report **report);
/* n bytes of a model; external data is looked for in folder (NULL: refused). */
CAB_API int cab_compile_memory(const void *p, size_t n, const char *folder,
                               const cab_compile_options *o, int *out_fd, cab_report **report);
/* Writes an artifact to a path, whole or not at all. */
CAB_API int cab_artifact_write(int fd, const char *path, cab_error *e);
/* Compile (or find in the cache) and load. */
CAB_API int cab_jit_file(const char *path, const cab_compile_options *o,
                         const cab_model_options *mo, cab_model **out, cab_report **report);
CAB_API int cab_jit_memory(const void *p, size_t n, const char *folder,
                           const cab_compile_options *o, const cab_model_options *mo,
                           cab_model **out, cab_report **report);
/* Every unsupported node of a model, in the report; CAB_RT_EUNSUPPORTED if any. */
CAB_API int cab_check_file(const char *path, const cab_compile_options *o, cab_report **report);

/* For cab_model_options.check_signature: Ed25519 by OpenSSL.  user is NULL, or
 * the 32 bytes of the only public key that is trusted. */
CAB_API int cab_check_signature(void *user, const uint8_t public_key[32],
                                const uint8_t signature[64], const void *message, size_t n);

#ifdef __cplusplus
}
#endif
#endif
