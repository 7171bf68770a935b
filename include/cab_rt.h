/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab_rt.h - libcabrt: load a compiled model and run it.
 *
 * Needs nothing but libc and libm.  Handles are opaque.  Functions return
 * CAB_RT_OK (0) or another code below; the story is in the caller's cab_error
 * (which may be NULL).  The library never prints, exits or raises a signal,
 * and has no state of its own but the thread pool that all sessions share.
 *
 * Threads: a cab_model is immutable and may be used by any number of threads
 * and sessions at once.  A cab_session is used by one thread at a time, but
 * for the calls marked [any thread].
 *
 * Growth: structs that begin with `size` are set to sizeof by the caller
 * (CAB_INIT), so that older programs run with newer libraries; zero is the
 * default of every field.  Functions are only ever added.
 */
#ifndef CAB_RT_H
#define CAB_RT_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#if defined(CAB_SHARED_BUILD)
#define CAB_API __attribute__((visibility("default")))
#else
#define CAB_API
#endif

typedef struct cab_model cab_model;
typedef struct cab_session cab_session;

enum cab_rt_code {
    CAB_RT_OK, CAB_RT_EINVAL, CAB_RT_EIO, CAB_RT_EPARSE, CAB_RT_EMODEL, CAB_RT_EUNSUPPORTED,
    CAB_RT_ELIMIT,             /* more memory than the caller allows */
    CAB_RT_ENOMEM,
    CAB_RT_EARTIFACT,          /* not an artifact, damaged, of another version or machine */
    CAB_RT_EINPUT,             /* inputs or outputs do not fit the model */
    CAB_RT_ECANCELLED, CAB_RT_EINTERNAL,
    CAB_RT_EDEADLINE           /* the run's time was over */
};

/* What went wrong: code 0 = nothing; text is one line, cut to fit. */
typedef struct cab_error { int code; char text[500]; } cab_error;

/* Version of the library, "0.1.0"; never NULL.  [any thread] */
CAB_API const char *cab_rt_version(void);

/* ---- tensors ---- */
/* Element types carry the ONNX TensorProto.DataType numbers. */
enum cab_element {
    CAB_TYPE_F32 = 1, CAB_TYPE_U8 = 2, CAB_TYPE_I8 = 3, CAB_TYPE_U16 = 4, CAB_TYPE_I16 = 5,
    CAB_TYPE_I32 = 6, CAB_TYPE_I64 = 7, CAB_TYPE_BOOL = 9, CAB_TYPE_F16 = 10, CAB_TYPE_F64 = 11,
    CAB_TYPE_U32 = 12, CAB_TYPE_U64 = 13, CAB_TYPE_BF16 = 16
};
/* Bytes of a dense tensor; SIZE_MAX when an extent is negative, the type has no
 * size, or the product is too large.  [any thread] */
CAB_API size_t cab_tensor_bytes(int dtype, int rank, const int64_t *dims);

typedef struct cab_tensor_info {
    const char *name;          /* lives as long as the model */
    int dtype;
    int rank;
    int64_t dims[8];           /* -1: decided by the inputs of a run (also where the model has plans
                                * of their own for certain sizes) */
    const char *dim_names[8];  /* the model's name of an extent that is -1; "" without one */
} cab_tensor_info;

/* A dense row-major tensor in the caller's memory; or what holds tensors:
 *   rank CAB_RANK_SEQUENCE: dims[0] elements, data points to their cab_tensor_views
 *   rank CAB_RANK_NONE: an optional that holds nothing (else it is what it holds)
 * Sequences of the outputs are the session's memory. */
enum { CAB_RANK_SEQUENCE = -1, CAB_RANK_NONE = -2 };
typedef struct cab_tensor_view {
    int dtype;
    int rank;
    int64_t dims[8];
    void *data;                /* outputs: NULL lets the session own the memory, and what a run
                                * of it put here means the same to the next */
    size_t bytes;              /* capacity of data; filled in for memory of the session */
} cab_tensor_view;

/* ---- hooks of the host program ---- */
/* Memory for everything a model and its sessions hold.  alloc returns bytes at
 * a multiple of align (a power of two), or NULL; called from the thread that
 * makes the call of the library.  Both must be set. */
typedef struct cab_allocator {
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*release)(void *user, void *p);
    void *user;
} cab_allocator;

/* One line without newline; level 1 = warning, 2 = information. */
typedef void (*cab_log_fn)(void *user, int level, const char *text);

/* ---- custom operators: kernels of the host program ---- */
typedef struct cab_custom_attr {
    const char *name;
    int n;                     /* elements; a text has 1 */
    const int64_t *ints;       /* one of the three is not NULL */
    const float *floats;
    const char *text;
} cab_custom_attr;

/* One call: inputs are read only (dtype 0: the node leaves it out); outputs have
 * dtype, dims and memory. */
typedef struct cab_custom_call {
    const char *node;          /* ONNX node name */
    int n_inputs, n_outputs, n_attrs;
    const cab_tensor_view *inputs;
    cab_tensor_view *outputs;
    const cab_custom_attr *attrs;
} cab_custom_call;

typedef struct cab_custom_op {
    const char *domain, *name;
    /* Computes the outputs; 0, or a code with e filled in, which ends the run.
     * Called on the thread that runs the session. */
    int (*compute)(void *user, const cab_custom_call *call, cab_error *e);
    void *user;
} cab_custom_op;

/* ---- models ---- */
enum cab_verify {
    CAB_VERIFY_CODE,           /* default: plan and machine code, by SHA-256 */
    CAB_VERIFY_FULL            /* weights too, by chunked CRC-32C; reads the whole file */
};

typedef struct cab_model_options {
    size_t size;
    const cab_allocator *allocator;      /* NULL: malloc; copied */
    cab_log_fn log;                      /* NULL: silent */
    void *log_user;
    int verify;                          /* enum cab_verify */
    const cab_custom_op *custom;         /* copied; names are not needed after loading */
    size_t n_custom;
    /* When set, the artifact must be signed and this must return 0 for it:
     * an Ed25519 signature of message under public_key.  (libcab has one that
     * uses OpenSSL: cab_check_signature.) */
    int (*check_signature)(void *user, const uint8_t public_key[32], const uint8_t signature[64],
                           const void *message, size_t n);
    void *signature_user;
} cab_model_options;
#define CAB_INIT(T) { .size = sizeof(T) }

/* Maps a file; o may be NULL.  What the file costs is read-only memory that
 * all processes share.  It must not be changed while it is mapped (replace it
 * by rename). */
CAB_API int cab_model_load(const char *path, const cab_model_options *o, cab_model **out,
                           cab_error *e);
/* The file behind fd (not closed); label is for messages. */
CAB_API int cab_model_load_fd(int fd, const char *label, const cab_model_options *o,
                              cab_model **out, cab_error *e);
/* n bytes that stay as they are until the model is destroyed; code is copied
 * into pages of its own, weights are read in place when p is a multiple of 64. */
CAB_API int cab_model_load_memory(const void *p, size_t n, const char *label,
                                  const cab_model_options *o, cab_model **out, cab_error *e);
/* The last session and the caller each drop theirs; NULL is allowed.  [any thread] */
CAB_API void cab_model_destroy(cab_model *m);
CAB_API const char *cab_model_name(const cab_model *m);
CAB_API int cab_model_input_count(const cab_model *m);
CAB_API int cab_model_output_count(const cab_model *m);
CAB_API int cab_model_input(const cab_model *m, int i, cab_tensor_info *out);
CAB_API int cab_model_output(const cab_model *m, int i, cab_tensor_info *out);
/* What an input or output is: enum cab_value_kind; -1 when there is none of that
 * number.  Of sequences and optionals, cab_tensor_info tells of the elements:
 * extents -1, rank CAB_RANK_SEQUENCE where ranks may differ. */
enum cab_value_kind { CAB_KIND_TENSOR, CAB_KIND_SEQUENCE, CAB_KIND_OPTIONAL };
CAB_API int cab_model_input_kind(const cab_model *m, int i);
CAB_API int cab_model_output_kind(const cab_model *m, int i);
/* Number of the input or output of that name; -1 when there is none. */
CAB_API int cab_model_find_input(const cab_model *m, const char *name);
CAB_API int cab_model_find_output(const cab_model *m, const char *name);

/* What a run with given inputs needs, in bytes. */
typedef struct cab_memory {
    uint64_t weights;          /* mapped from the file, shared by processes */
    uint64_t intermediate;     /* tensors inside, after overlaying */
    uint64_t outputs;          /* unless the caller brings the memory */
} cab_memory;
/* The need of a run before anything is allocated for it; data pointers are not
 * followed.  Refuses what cab_session_run would refuse for its shape. */
CAB_API int cab_model_estimate(cab_model *m, const cab_tensor_view *inputs, cab_memory *out,
                               cab_error *e);

/* ---- sessions ---- */
typedef struct cab_session_options {
    size_t size;
    int threads;               /* threads a run may use; 0 = all of the pool, 1 = the caller only */
    int trace;                 /* 1: keep a record per launch */
    uint64_t max_bytes;        /* most memory the session may hold (outputs it owns and
                                * intermediate tensors); 0 = no limit */
    int huge_pages;            /* 1: intermediate tensors of 2 MB and more in transparent huge pages, where
                                * the kernel has them: up to 5 % faster or slower by model (docs/tuning.md),
                                * memory is taken in steps of 2 MB */
} cab_session_options;

/* o may be NULL. */
CAB_API int cab_session_create(cab_model *m, const cab_session_options *o, cab_session **out,
                               cab_error *e);
/* Waits for an asynchronous run.  NULL is allowed. */
CAB_API void cab_session_destroy(cab_session *s);
/* Runs the model.  inputs: one per model input, in order, read only.  outputs:
 * one per model output; on success dtype, dims and data are filled in; memory
 * the session owns is valid until its next run or destroy, and may be an input
 * of that run.  The results are
 * the same bytes for any number of threads.
 * An output may lie on an input (state that is carried from run to run): it is
 * written in place when the plan is done with the input by then, else made
 * aside and copied at the end.  Other overlaps are refused. */
CAB_API int cab_session_run(cab_session *s, const cab_tensor_view *inputs,
                            cab_tensor_view *outputs, cab_error *e);
/* As cab_session_run, on a thread of the session's own; returns at once.
 * inputs and outputs (the arrays and the data) stay the caller's and must live
 * until done has been called, once, on that thread: it may start the next run,
 * not destroy the session.  CAB_RT_EINVAL while one is under way. */
typedef void (*cab_done_fn)(void *user, cab_session *s, int code, const cab_error *e);
CAB_API int cab_session_run_async(cab_session *s, const cab_tensor_view *inputs,
                                  cab_tensor_view *outputs, cab_done_fn done, void *user,
                                  cab_error *e);
/* Waits until no asynchronous run is under way.  [any thread but the session's] */
CAB_API void cab_session_wait(cab_session *s);
/* As cab_model_estimate, with the session's tables. */
CAB_API int cab_session_estimate(cab_session *s, const cab_tensor_view *inputs, cab_memory *out,
                                 cab_error *e);
/* Asks the run under way to stop before its next launch.  [any thread, signal
 * handlers too] */
CAB_API void cab_session_cancel(cab_session *s);
/* Runs from now on end with CAB_RT_EDEADLINE before the first launch after
 * that time of CLOCK_MONOTONIC, in ns; 0 = never. */
CAB_API void cab_session_deadline(cab_session *s, int64_t monotonic_ns);

/* ---- state: outputs that are inputs of the next run ---- */
/* A session may carry tensors from run to run (a cache of keys and values, the
 * hidden state of a recurrent net): an output becomes an input of the next run
 * and nobody copies it.  There are two kinds.  A state that grows: the output
 * is the input with more behind it along an axis, as a concat makes it; the
 * compiler finds these pairs (cab_model_state).  The session keeps such a state
 * in one piece of memory with room at the end of the axis; a run adds to it in
 * place, and only when the room is used up is it copied, into twice the room
 * (a heap allocation, and an event "alloc" of the trace).  And a state that
 * keeps its shape, any pair of equal type: two pieces of memory take turns.
 *
 * In a run, the input's view is not looked at.  The output's view is filled in:
 * dtype, extents, and for a state that keeps its shape its memory, valid until
 * the next run; of a state that grows data is NULL (it is not dense;
 * cab_session_get_state reads it).  A run that fails leaves every state as it
 * was.  The memory counts for max_bytes and lives as long as the session. */
typedef struct cab_state_info {
    int input, output;
    int axis;                  /* along which it grows */
} cab_state_info;
/* Pairs that grow, in order of the outputs.  [any thread] */
CAB_API int cab_model_state_count(const cab_model *m);
CAB_API int cab_model_state(const cab_model *m, int i, cab_state_info *out);
/* From now on output is carried to input.  start: the value for the next run,
 * copied; its data NULL: zeros of those extents; start NULL: no steps yet where
 * it grows, zeros where every extent is fixed by the model.  capacity: steps of
 * the axis to make room for at least, 0 = as needed.  Pairs that grow by the
 * same extents (the layers of a model) are bound all or none: a run with some
 * of them is refused.  CAB_RT_EINVAL when one of the two is bound already or
 * they cannot be a pair; not while a run is under way. */
CAB_API int cab_session_bind_state(cab_session *s, int input, int output,
                                   const cab_tensor_view *start, int64_t capacity, cab_error *e);
/* Another value, start again for one: as start above (of other extents too, a
 * new batch). */
CAB_API int cab_session_set_state(cab_session *s, int input, const cab_tensor_view *value,
                                  cab_error *e);
/* Forgets the steps of a growing state from length on. */
CAB_API int cab_session_trim_state(cab_session *s, int input, int64_t length, cab_error *e);
/* The value now: fills in dtype, rank and extents, and where data is not NULL
 * copies the elements there, dense; bytes is what that takes. */
CAB_API int cab_session_get_state(cab_session *s, int input, cab_tensor_view *out, cab_error *e);

/* ---- trace: records of the last run ---- */
typedef struct cab_trace_event {
    const char *kind;          /* "launch", "helper", "custom", "zero", "copy", "alloc"; the first is
                                * "plan" where a model has plans for certain sizes */
    const char *name;          /* kernel, helper or operator; plan: "all sizes" or "batch=1, seq=128" */
    const char *layers;        /* ONNX node names */
    const char *what;          /* "conv+add+max" */
    int64_t start_ns, ns;      /* since the run began */
    int64_t tasks;
} cab_trace_event;
CAB_API int cab_session_trace(const cab_session *s, const cab_trace_event **out, size_t *out_n);
/* Heap allocations the session has made so far (0 more per run once a shape
 * has been seen), and bytes of its arena. */
CAB_API uint64_t cab_session_allocations(const cab_session *s);
CAB_API uint64_t cab_session_arena_bytes(const cab_session *s);

/* ---- threads ---- */
/* Threads of the pool: processors by affinity and cgroup quota.  [any thread] */
CAB_API int cab_pool_threads(void);

#ifdef __cplusplus
}
#endif
#endif
