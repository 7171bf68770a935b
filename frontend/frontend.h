/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frontend.h - model files and tensor files become graphs and tensors.
 *
 * The only header of frontend/ for the rest of the program.  Importing reads
 * bytes from anywhere: whatever they hold, the answer is a graph or a story in
 * the diagnostics, never a crash, and never more memory than the limits say.
 * Weights are not copied: the graph's blobs point into the mapped file, which
 * is unmapped with the arena.
 */
#ifndef CAB_FRONTEND_FRONTEND_H
#define CAB_FRONTEND_FRONTEND_H
#include "ir/ir.h"

/* What the caller will feed to one graph input. */
typedef struct cab_import_input {
    const char *name;        /* NULL: the place in the array counts */
    cab_dtype dtype;
    int rank;
    const int64_t *dims;
    const void *data;        /* the value of this call (cab_value.hint), or NULL; */
    uint64_t bytes;          /* must live as long as the graph */
    bool list;               /* a sequence or an optional: dtype and rank are those of its elements */
} cab_import_input;          /* (CAB_RANK_UNKNOWN: they differ, or there is none); no dims, no data */

/* A dimension symbol fixed at import (--dim NAME=VALUE). */
typedef struct cab_import_bind { const char *name; int64_t value; } cab_import_bind;

/* A model file of whose contents only the functions count. */
typedef struct cab_import_functions {
    const void *p;           /* must live as long as the graph */
    size_t n;
    const char *label;       /* for messages; external data lies beside it */
} cab_import_functions;
/* A symbol known to lie in lo .. hi: a fact for the compiler, and a guard of
 * the program when it is an extent of an input. */
typedef struct cab_import_range { const char *name; int64_t lo, hi; } cab_import_range;

/* All zero is a sensible default. */
typedef struct cab_import_options {
    int n_inputs;
    const cab_import_input *inputs;
    int n_binds;
    const cab_import_bind *binds;
    int n_foreign;           /* operators of the host program: they go before */
    const cab_foreign_op *foreign;           /* everything else of that name */
    int n_functions;         /* definitions of operators that the model uses and */
    const cab_import_functions *functions;   /* does not define; the first counts */
    int n_ranges;
    const cab_import_range *ranges;
    bool static_shapes;      /* symbolic extents take the offered values */
    uint64_t max_nodes;      /* and tensors, functions expanded; 0 = 1 000 000 */
    uint64_t max_messages;   /* protobuf messages of any kind; 0 = 8 000 000 */
    uint64_t max_bytes;      /* memory of parsing, of one made tensor; 0 = 1 GiB */
    int max_depth;           /* nesting of messages; 0 = 100 */
} cab_import_options;

/* Reads a model into a graph of level ONNX in which every node has the newest
 * version of its operator, model-local functions are expanded, and weights and
 * Constant nodes are `const` nodes.  Types of intermediate values are unknown
 * (rank CAB_RANK_UNKNOWN); graph inputs have theirs.  Graph inputs with an
 * initializer are constants and no inputs.  Extents named in the file become
 * symbols of that name, unnamed ones fresh symbols.
 * o may be NULL.  CAB_EUNSUPPORTED: every node that cannot be imported stands
 * in d, not just the first.  CAB_EMODEL: the file breaks a rule of the format.
 * CAB_EINPUT: the offered inputs do not fit.  CAB_ELIMIT: over a limit. */
cab_status cab_import_file(cab_arena *a, const char *path,
                           const cab_import_options *o, cab_graph **out,
                           cab_diag *d);
/* As cab_import_file, of n bytes that outlive the arena.  label names them in
 * messages; when it is a path, external data is looked for beside it. */
cab_status cab_import_memory(cab_arena *a, const void *p, size_t n,
                             const char *label, const cab_import_options *o,
                             cab_graph **out, cab_diag *d);

/* Names of the external files a model refers to, each once, without importing
 * it (there may be more than are used). */
cab_status cab_import_externals(cab_arena *a, const void *p, size_t n, const char *label,
                                const cab_import_options *o, const char ***out,
                                size_t *out_n, cab_diag *d);

/* Name and kind of one feed of a model. */
typedef struct cab_feed { const char *name; cab_kind kind; } cab_feed;
/* The inputs a caller must feed, in order, without importing the graph: what
 * is needed to read the files that hold them. */
cab_status cab_import_feeds(cab_arena *a, const char *path,
                            const cab_import_options *o, cab_feed **out,
                            size_t *out_n, cab_diag *d);

/* ---- values in files ---- */
/* A tensor, a sequence or an optional.  tensor.data of a str tensor is an
 * array of `const char *`. */
typedef struct cab_file_value {
    cab_kind kind;
    const char *name;        /* as the file says; "" when it does not */
    cab_tensor tensor;       /* kind tensor */
    cab_kind elem_kind;      /* sequence, optional: kind of the elements */
    size_t n;                /* sequence: elements; optional: 0 or 1 */
    struct cab_file_value *items;
} cab_file_value;

/* Reads a .npy file, or the message of that kind (TensorProto, SequenceProto,
 * OptionalProto); which of the two is told by the file's first bytes. */
cab_status cab_value_read(cab_arena *a, const char *path, cab_kind kind,
                          cab_file_value *out, cab_diag *d);
/* Reads a value of kind tensor. */
cab_status cab_tensor_read(cab_arena *a, const char *path, cab_tensor *out,
                           cab_diag *d);
/* Writes a TensorProto (raw_data form), SequenceProto or OptionalProto;
 * scratch holds the bytes on the way. */
cab_status cab_value_write_pb(cab_arena *scratch, const char *path,
                              const cab_file_value *v, cab_diag *d);
cab_status cab_tensor_write_pb(cab_arena *scratch, const char *path,
                               const char *name, const cab_tensor *t,
                               cab_diag *d);
/* Writes version 1.0 of the format; dtypes numpy lacks are unsupported. */
cab_status cab_tensor_write_npy(cab_arena *scratch, const char *path,
                                const cab_tensor *t, cab_diag *d);

#endif
