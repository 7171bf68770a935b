/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frontend_int.h - what the files of frontend/ share.
 *
 * Reading order: skeleton.c (wire walk), unpack.c (protobuf-c under a budget),
 * import.c (model, graph, nodes), import_input.c, import_attr.c,
 * import_tensor.c, inline.c, order.c, opset.c and upgrade_*.c.
 */
#ifndef CAB_FRONTEND_INT_H
#define CAB_FRONTEND_INT_H
#include "frontend/frontend.h"
#include "frontend/onnx.pb-c.h"

/* ---- skeleton.c ---- */
/* Reads a varint at *p, before end; false when it does not end in time. */
bool cab_read_varint(const uint8_t **p, const uint8_t *end, uint64_t *out);
/* The messages a file can be. */
typedef enum cab_wire_root {
    CAB_WIRE_MODEL, CAB_WIRE_TENSOR, CAB_WIRE_SEQUENCE, CAB_WIRE_OPTIONAL
} cab_wire_root;

typedef struct cab_wire_limits {
    uint64_t nodes, messages, bytes;
    int depth;
} cab_wire_limits;

/* One payload field of a TensorProto where it lies in the file. */
typedef struct cab_chunk {
    const uint8_t *p;
    size_t n;
    uint8_t field;             /* field number */
    uint8_t wire;              /* wire type: 2 = packed or bytes, else one element */
} cab_chunk;
typedef CAB_VEC(cab_chunk) cab_chunks;

/* The file without payloads and without what onnx.proto does not name. */
typedef struct cab_skeleton { cab_buf bytes; cab_chunks chunks; } cab_skeleton;

/* Walks the n bytes once, without touching payloads. */
cab_status cab_skeleton_build(cab_arena *a, const uint8_t *p, size_t n,
                              cab_wire_root root, const cab_wire_limits *l,
                              const char *label, cab_skeleton *out, cab_diag *d);

/* ---- unpack.c ---- */
typedef struct cab_parsed {
    const ProtobufCMessage *msg;
    const cab_chunk *chunks;
    size_t n_chunks;
    struct cab_parse_memory *memory;
} cab_parsed;

cab_wire_limits cab_limits_of(const cab_import_options *o);
/* The message lives until cab_parse_done or the end of the arena. */
cab_status cab_parse(cab_arena *a, const uint8_t *p, size_t n,
                     cab_wire_root root, const cab_wire_limits *l,
                     const char *label, cab_parsed *out, cab_diag *d);
void cab_parse_done(cab_parsed *m);
/* Maps a file for as long as the arena lives, or until cab_file_unmap. */
cab_status cab_map_for(cab_arena *a, const char *path, cab_mapping **out,
                       cab_diag *d);

/* ---- import_tensor.c ---- */
/* What decoding a TensorProto needs; used by the importer and by tensor_io. */
typedef struct cab_tensor_ctx {
    cab_arena *arena;
    const cab_chunk *chunks;
    size_t n_chunks;
    const char *base_path;     /* external data lies beside it; NULL: refused */
    cab_map *files;            /* location -> cab_mapping of external data */
    uint64_t max_bytes;        /* of one decoded tensor */
    cab_diag *diag;
} cab_tensor_ctx;

/* Elements in place: data may be unaligned. */
typedef struct cab_raw_tensor {
    cab_dtype dtype;
    int rank;
    int64_t dims[CAB_MAX_RANK];
    uint64_t n;                /* elements */
    const void *data;
    uint64_t bytes;
    const char **strs;         /* dtype str */
} cab_raw_tensor;

cab_status cab_tensor_decode(cab_tensor_ctx *c, const Onnx__TensorProto *t,
                             const cab_where *w, cab_raw_tensor *out);
cab_status cab_sparse_decode(cab_tensor_ctx *c, const Onnx__SparseTensorProto *t,
                             const cab_where *w, cab_raw_tensor *out);

/* ---- npy.c ---- */
bool cab_npy_is(const uint8_t *p, size_t n);
cab_status cab_npy_read(cab_arena *a, const uint8_t *p, size_t n,
                        const char *path, cab_tensor *out, cab_diag *d);

/* ---- import.c ---- */
/* A name in scope: bad = defined by a node that cannot be imported; v NULL =
 * an absent optional argument of a function. */
typedef struct cab_entry { cab_value *v; bool bad; } cab_entry;

/* A function, and what its file is needed for. */
typedef struct cab_function {
    const Onnx__FunctionProto *proto;
    cab_tensor_ctx *tensors;
    const struct cab_opsets *opsets;  /* of a library's file; NULL: those of the call */
} cab_function;

typedef struct cab_opsets {
    size_t n;
    Onnx__OperatorSetIdProto **ids;
    const struct cab_opsets *outer;   /* of the model, for functions */
} cab_opsets;

/* An attribute of a function call: where it was written decides what names
 * inside its graphs mean. */
typedef struct cab_param {
    const char *name;
    const Onnx__AttributeProto *attr;
    struct cab_scope *scope;
} cab_param;

/* Where nodes are being imported to, and what their names mean. */
typedef struct cab_scope {
    cab_graph *g;
    cab_map *entries;                 /* name -> cab_entry */
    struct cab_scope *outer;          /* the graph around a subgraph */
    const cab_opsets *opsets;
    cab_tensor_ctx *tensors;          /* of the file that the nodes stand in */
    const char *prefix;               /* of value and node names; "" */
    size_t n_params;
    const cab_param *params;
    int calls;                        /* depth of function calls */
} cab_scope;

typedef struct cab_importer {
    cab_arena *arena;
    cab_diag *diag;
    const cab_import_options *o;
    cab_wire_limits limits;
    const char *label;
    const Onnx__ModelProto *model;
    cab_tensor_ctx tensors;
    cab_map *functions;               /* domain NUL name NUL overload -> cab_function */
    cab_foreign_op *foreign;          /* as o->foreign, domains as cab_domain gives them */
    uint64_t n_nodes;
    size_t n_unsupported;             /* findings recorded in diag so far */
} cab_importer;

cab_entry *cab_scope_find(const cab_scope *s, const char *name);
/* Binds a name; CAB_EMODEL when it is already bound in this very scope. */
cab_status cab_scope_bind(cab_importer *im, cab_scope *s, const char *name,
                          cab_value *v, bool bad, const cab_where *w);
/* Names v after `name` in the scope (the graph makes it unique). */
void cab_scope_name(cab_importer *im, cab_scope *s, cab_value *v,
                    const char *name);
/* Domain "ai.onnx" is "". */
const char *cab_domain(const char *domain);
/* Version of a domain in force; 0 = not imported. */
int cab_opset_of(const cab_opsets *o, const char *domain);
cab_status cab_import_nodes(cab_importer *im, cab_scope *s,
                            Onnx__NodeProto **nodes, size_t n);
cab_status cab_import_body(cab_importer *im, cab_scope *s,
                           const Onnx__GraphProto *p);
/* The tensor as an attribute's value, and as a const node at the end of g. */
const cab_tensor_attr *cab_raw_attr(cab_graph *g, const cab_raw_tensor *t);
cab_value *cab_const_raw(cab_graph *g, const cab_raw_tensor *t);

/* ---- import_input.c ---- */
cab_status cab_import_type(cab_importer *im, cab_graph *g,
                           const Onnx__TypeProto *p, const cab_where *w,
                           cab_type *out);
/* Adds the graph inputs that have no initializer. */
cab_status cab_import_inputs(cab_importer *im, cab_scope *s,
                             const Onnx__GraphProto *p);

/* ---- import_attr.c ---- */
/* *out_found false: refers to a parameter the caller left out. */
cab_status cab_import_attr(cab_importer *im, cab_scope *s,
                           const Onnx__AttributeProto *p, const cab_where *w,
                           cab_attr *out, bool *out_found);
/* Follows ref_attr_name; NULL when the parameter is absent.  *s becomes the
 * scope the attribute was written in. */
const Onnx__AttributeProto *cab_attr_resolve(const Onnx__AttributeProto *p,
                                             cab_scope **s);

/* ---- inline.c ---- */
cab_status cab_functions_index(cab_importer *im);
const cab_function *cab_function_find(const cab_importer *im,
                                      const Onnx__NodeProto *n);
/* Imports the body in place of the node. */
cab_status cab_inline_call(cab_importer *im, cab_scope *s,
                           const Onnx__NodeProto *n, const cab_function *call,
                           const cab_where *w);

/* ---- order.c ---- */
/* True when every name the node uses (its subgraphs included) is bound. */
bool cab_node_ready(cab_importer *im, const cab_scope *s,
                    const Onnx__NodeProto *n);
/* Sorts the nodes so that producers come first. */
cab_status cab_nodes_sort(cab_importer *im, Onnx__NodeProto **nodes, size_t n);

/* ---- opset.c: a node in the making ---- */
typedef struct cab_draft {
    cab_importer *im;
    cab_scope *scope;
    cab_where where;
    const char *loc, *loc_op;
    cab_op_id op;
    int since;                        /* version of op the draft conforms to */
    int opset;                        /* of the model, for stories */
    CAB_VEC(cab_value *) in;          /* NULL = absent */
    CAB_VEC(cab_attr) attr;
    int n_out;
    cab_value *second;                /* result 1 when the node no longer has it */
} cab_draft;

typedef cab_status (*cab_upgrade_fn)(cab_draft *d);

/* Checks the draft against the schema in force, then brings it to the newest
 * version (nodes it needs besides are added to the graph).  CAB_EUNSUPPORTED
 * when there is no way to it. */
cab_status cab_draft_normalise(cab_draft *d);
cab_attr *cab_draft_attr(cab_draft *d, const char *name);
void cab_draft_drop(cab_draft *d, const char *name);
void cab_draft_set(cab_draft *d, cab_attr a);
/* Operand i, growing the list with absent ones. */
void cab_draft_set_in(cab_draft *d, size_t i, cab_value *v);
cab_value *cab_draft_in(const cab_draft *d, size_t i);
/* A node of the newest version before the draft's; its only output. */
cab_value *cab_draft_emit(cab_draft *d, cab_op_id op, int n_in, cab_value **in,
                          int n_attr, const cab_attr *attr);
cab_value *cab_draft_i64s(cab_draft *d, const int64_t *v, int64_t n);
cab_value *cab_draft_f32s(cab_draft *d, const double *v, int64_t n);
/* A scalar of x's dtype. */
cab_value *cab_draft_like(cab_draft *d, double v, cab_value *x);
/* Records why the draft cannot be upgraded. */
cab_status cab_draft_refuse(cab_draft *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define UPGRADE(op, from, to, fn) cab_status fn(cab_draft *d);
#include "frontend/upgrades.def"

#endif
