/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cab_rt.h - libcabrt: load a compiled model and run it.
 *
 * Needs nothing but libc and pthreads.  Handles are opaque.  A cab_model is
 * immutable and may be shared by any number of threads and sessions; a
 * cab_session is used by one thread at a time.  Functions return 0
 * (CAB_RT_OK) or an error code; the story is in the session's or the caller's
 * cab_error.  The library never prints, exits or raises a signal.
 */
#ifndef CAB_RT_H
#define CAB_RT_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct cab_model cab_model;
typedef struct cab_session cab_session;

/* What went wrong: code 0 = nothing; text is one line, cut to fit. */
typedef struct cab_error { int code; char text[500]; } cab_error;

/* Element types carry the ONNX TensorProto.DataType numbers (1 = float ...). */
typedef struct cab_tensor_info {
    const char *name;          /* lives as long as the model */
    int dtype;
    int rank;
    int64_t dims[8];           /* -1: decided by the inputs of a run */
} cab_tensor_info;

/* A dense row-major tensor in the caller's memory. */
typedef struct cab_tensor_view {
    int dtype;
    int rank;
    int64_t dims[8];
    void *data;                /* outputs: NULL lets the session own the memory */
    size_t bytes;              /* capacity of data */
} cab_tensor_view;

/* ---- models ---- */
int cab_model_load(const char *path, cab_model **out, cab_error *e);
/* Maps the file behind fd (not closed); label is for messages. */
int cab_model_load_fd(int fd, const char *label, cab_model **out, cab_error *e);
/* The last session and the caller each drop theirs; NULL is allowed. */
void cab_model_destroy(cab_model *m);
const char *cab_model_name(const cab_model *m);
int cab_model_input_count(const cab_model *m);
int cab_model_output_count(const cab_model *m);
int cab_model_input(const cab_model *m, int i, cab_tensor_info *out);
int cab_model_output(const cab_model *m, int i, cab_tensor_info *out);

/* ---- sessions ---- */
typedef struct cab_session_options {
    int threads;               /* threads a run may use; 0 = all of the pool, 1 = the caller only */
    int trace;                 /* 1: keep a record per launch */
    uint64_t max_bytes;        /* most memory the session may hold (outputs it owns and
                                * intermediate tensors); 0 = no limit */
} cab_session_options;

/* What a run with given inputs needs, in bytes. */
typedef struct cab_memory {
    uint64_t weights;          /* mapped from the file, shared by processes */
    uint64_t intermediate;     /* tensors inside, after overlaying */
    uint64_t outputs;          /* unless the caller brings the memory */
} cab_memory;
int cab_session_create(cab_model *m, const cab_session_options *o, cab_session **out,
                       cab_error *e);
void cab_session_destroy(cab_session *s);
/* Runs the model.  inputs: one per model input, in order, read only.  outputs:
 * one per model output; on success dims and data are filled in; memory the
 * session owns is valid until its next run or destroy. */
int cab_session_run(cab_session *s, const cab_tensor_view *inputs,
                    cab_tensor_view *outputs, cab_error *e);
/* The need of a run, before anything is allocated for it; data pointers are
 * not followed.  Refuses what cab_session_run would refuse for its shape. */
int cab_session_estimate(cab_session *s, const cab_tensor_view *inputs, cab_memory *out,
                         cab_error *e);
/* Asks a run in another thread to stop before its next launch. */
void cab_session_cancel(cab_session *s);

/* ---- trace: records of the last run ---- */
typedef struct cab_trace_event {
    const char *kind;          /* "launch", "helper", "zero", "copy" */
    const char *name;          /* kernel or helper */
    const char *layers;        /* ONNX node names */
    const char *what;          /* "conv+add+max" */
    int64_t start_ns, ns;      /* since the run began */
    int64_t tasks;
} cab_trace_event;
int cab_session_trace(const cab_session *s, const cab_trace_event **out, size_t *out_n);
/* Heap allocations the session has made so far (0 more per run once a shape
 * has been seen), and bytes of its arena. */
uint64_t cab_session_allocations(const cab_session *s);
uint64_t cab_session_arena_bytes(const cab_session *s);

#ifdef __cplusplus
}
#endif
#endif
