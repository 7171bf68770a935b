/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ir.h - the graph level: every type, then the functions grouped by file.
 *
 * A graph is SSA: nodes in topological order define values; a value is a
 * tensor, a sequence or an optional and its type is always known (shapes are
 * an invariant, not a phase: building a node infers its result types).
 * Extents are symbolic (base/dim.h).  Two levels share these types:
 *   ONNX  as imported: ops named as in the standard (Conv), newest schema
 *   CORE  lower-case primitives (conv), declared in ir/ops_core.def
 * Structs are visible inside the compiler on purpose; change operands only
 * through the functions, which keep the use lists.
 * Everything lives in the graph's arena; dead nodes simply stay there.
 * A graph is used by one thread at a time.
 */
#ifndef CAB_IR_IR_H
#define CAB_IR_IR_H
#include "base/base.h"

#define CAB_MAX_RANK 8
#define CAB_RANK_UNKNOWN (-1)    /* ONNX level only: not inferred yet */

/* ---- ops (op.c; rows in ops_core.def, scalar.def, schema_ops.def) ---- */
typedef enum cab_op_id {
    CAB_OP_none,
#define OP(id, traits, infer, doc) CAB_OP_##id,
#include "ir/ops.def"
    CAB_OP_first_onnx_,
    CAB_OP_before_onnx_ = CAB_OP_first_onnx_ - 1,
#define ONNX_OP(id, domain, name) CAB_OP_##id,
#include "ir/schema_ops.def"
    CAB_OP_COUNT
} cab_op_id;

enum cab_trait {
    CAB_T_PURE = 1 << 0,       /* same inputs, same outputs; may be folded */
    CAB_T_ELTWISE = 1 << 1,    /* one scalar function per element, broadcasting */
    CAB_T_COMM = 1 << 2,       /* two inputs commute */
    CAB_T_MOVE = 1 << 3,       /* moves elements, computes nothing */
    CAB_T_REDUCE = 1 << 4,
    CAB_T_CONTRACT = 1 << 5,   /* dot, conv */
    CAB_T_WINDOW = 1 << 6,
    CAB_T_INDEX = 1 << 7,      /* addresses depend on data */
    CAB_T_HELPER = 1 << 8,     /* runs as a listed helper of the runtime */
    CAB_T_FLOW = 1 << 9,       /* has subgraphs or run-time sizes */
    CAB_T_FREE = 1 << 10       /* CORE: operands may be absent and differ in type */
};

typedef enum cab_attr_kind {
    CAB_ATTR_INT, CAB_ATTR_FLOAT, CAB_ATTR_STR, CAB_ATTR_TENSOR, CAB_ATTR_GRAPH,
    CAB_ATTR_INTS, CAB_ATTR_FLOATS, CAB_ATTR_STRS, CAB_ATTR_DIMS, CAB_ATTR_DTYPE,
    CAB_ATTR_GRAPHS, CAB_ATTR_TENSORS, CAB_ATTR_TYPE, CAB_ATTR_KIND_COUNT
} cab_attr_kind;

enum cab_arity { CAB_ONE, CAB_OPT, CAB_VAR };   /* VAR: last, zero or more */

/* Sets of dtypes are bit masks over cab_dtype. */
typedef uint32_t cab_dtset;
#define CAB_DTBIT(t) ((cab_dtset)1 << (t))
/* Bits of a schema's dtype set that admit other kinds than tensors. */
#define CAB_SET_SEQ ((cab_dtset)1 << 28)
#define CAB_SET_OPT ((cab_dtset)1 << 29)
#define CAB_SET_MAP ((cab_dtset)1 << 30)

typedef struct cab_io_row { const char *name, *var; int arity; } cab_io_row;
typedef struct cab_attr_row {
    const char *name; int kind;
    const char *def;           /* default in text form; NULL = required; "" = absent */
} cab_attr_row;
typedef struct cab_type_row { const char *var; cab_dtset set; } cab_type_row;

typedef struct cab_node cab_node;
typedef struct cab_value cab_value;
typedef struct cab_graph cab_graph;

/* What the tables say of one op. */
typedef struct cab_op {
    cab_op_id id;
    const char *name;          /* spelling in .cir: "conv", "Conv", "ai.onnx.ml.Scaler" */
    const char *domain;        /* ONNX ops: "" or "ai.onnx.ml" ...; CORE: NULL */
    const char *onnx_name;     /* ONNX ops: "Conv"; CORE: NULL */
    uint32_t traits;
    const char *doc;
    cab_status (*infer)(cab_graph *g, cab_node *n, cab_diag *d); /* CORE only */
    int n_in, n_out, n_attr, n_type;
    const cab_io_row *in, *out;
    const cab_attr_row *attr;
    const cab_type_row *type;
} cab_op;

const cab_op *cab_op_get(cab_op_id id);
/* By .cir spelling; NULL when there is none. */
const cab_op *cab_op_find(const char *name, size_t n);
const cab_op *cab_op_find_onnx(const char *domain, const char *name);
static inline bool cab_op_is_onnx(cab_op_id id) { return id > CAB_OP_before_onnx_ && id >= CAB_OP_first_onnx_; }

/* ---- schemas: the facts of every version of the standard's ops (schema.c,
 * generated rows in schema.def) ---- */
typedef struct cab_schema_attr { const char *name; int kind; const char *def; } cab_schema_attr;
typedef struct cab_schema {
    cab_op_id op;
    int since;                 /* opset of its domain that introduced it */
    bool deprecated;
    int min_in, max_in, min_out, max_out;   /* max: INT_MAX = variadic */
    int n_in, n_out, n_attr, n_type;
    const cab_io_row *in, *out;              /* var is a TYPE row's or a type text */
    const cab_schema_attr *attr;
    const cab_type_row *type;
} cab_schema;
/* The version of the op in force at that opset; NULL when it did not exist. */
const cab_schema *cab_schema_at(cab_op_id op, int opset);
const cab_schema *cab_schema_newest(cab_op_id op);
int cab_schema_count(void);
/* Newest opset the rows know for a domain; 0 for an unknown domain. */
int cab_schema_newest_opset(const char *domain);

/* ---- types and values ---- */
typedef enum cab_kind { CAB_KIND_tensor, CAB_KIND_sequence, CAB_KIND_optional } cab_kind;

/* Physical order and padding of a tensor.  NULL in a type = dense row-major. */
typedef struct cab_layout {
    int rank;
    uint8_t perm[CAB_MAX_RANK];   /* perm[i] = logical axis at physical place i, outermost first */
    int32_t halo_lo[CAB_MAX_RANK], halo_hi[CAB_MAX_RANK]; /* zero elements around, per logical axis */
} cab_layout;

/* Affine quantisation of a stored tensor: real = scale * (stored - zero). */
typedef struct cab_quant {
    int axis;                  /* -1 = per tensor */
    int64_t block;             /* elements of axis per scale; 0 = one per index */
    cab_value *scale, *zero;   /* zero NULL = 0 */
} cab_quant;

typedef struct cab_type {
    cab_kind kind;
    cab_dtype dtype;
    int rank;
    const cab_dim *dims[CAB_MAX_RANK];
    const cab_layout *layout;
    const cab_quant *quant;
    const struct cab_type *elem;  /* of sequence and optional */
} cab_type;

/* Immutable bytes: a mapped weight (possibly unaligned!) or arena memory. */
typedef struct cab_blob { const void *data; uint64_t bytes; } cab_blob;

typedef struct cab_use { cab_node *node; int index; struct cab_use *next; } cab_use;

struct cab_value {
    uint32_t id;               /* unique in the graph, creation order */
    const char *name;          /* unique in the graph, or NULL (then %id) */
    cab_type type;
    cab_node *def;             /* NULL: graph input */
    int def_index;
    cab_use *uses;
    int n_uses;                /* node operands + graph outputs */
    const cab_dim **sym;       /* elements known symbolically (integers and bools), row-major; NULL = unknown */
    int64_t n_sym;
    const cab_blob *hint;      /* graph inputs: the value of this call, if the caller offered it */
    bool hint_used;            /* the compiled code holds for this value only (checked at run) */
};

typedef struct cab_attr {
    const char *name;
    cab_attr_kind kind;
    int64_t n;                 /* elements of the list kinds */
    union {
        int64_t i; double f; const char *s; const int64_t *ints; const double *floats;
        const char **strs; const cab_dim **dims; cab_dtype dtype; cab_graph *graph;
        cab_graph **graphs; const struct cab_tensor_attr *tensor; const cab_type *type;
    } u;
    size_t s_len;              /* STR: bytes (may hold NULs) */
} cab_attr;
typedef struct cab_tensor_attr { cab_type type; const cab_blob *blob; const char **strs; } cab_tensor_attr;

struct cab_node {
    const cab_op *op;
    cab_graph *graph;
    cab_node *prev, *next;     /* topological order */
    int n_in, n_out, n_attr;
    cab_value **in;            /* NULL = absent optional operand */
    cab_value **out;
    cab_attr *attr;
    const char *loc;           /* ONNX node names, ", "-joined by rewrites; NULL */
    const char *loc_op;        /* ONNX op it came from, for stories */
    int opset;
    int group;                 /* fused group, -1 = none yet */
    uint32_t mark;             /* scratch of the running pass */
};

typedef enum cab_level { CAB_LEVEL_ONNX, CAB_LEVEL_CORE } cab_level;

/* lhs == rhs must hold at run time; why names the cause in the model. */
typedef struct cab_guard_eq {
    const cab_dim *lhs, *rhs;
    const char *why;
    bool le;                   /* lhs <= rhs; else lhs == rhs */
} cab_guard_eq;

struct cab_graph {
    cab_arena *arena;
    cab_strings *strings;
    cab_dims *dims;
    cab_graph *parent;         /* subgraphs see outer values */
    const char *name;
    cab_level level;
    CAB_VEC(cab_value *) inputs;
    CAB_VEC(cab_value *) outputs;
    CAB_VEC(const char *) output_names;  /* parallel to outputs */
    CAB_VEC(const cab_type *) declared;  /* outermost graph: types the file gives outputs; may be short */
    CAB_VEC(cab_guard_eq) guards;
    cab_node *first, *last;
    cab_map *names;            /* value name -> cab_value */
    uint32_t next_id;
    int n_groups;
    const struct cab_foreign_op *foreign;   /* of the outermost graph, while at level ONNX */
    int n_foreign;
};

/* ---- graph.c ---- */
cab_graph *cab_graph_create(cab_arena *a, const char *name, cab_level level);
cab_graph *cab_graph_create_sub(cab_graph *parent, const char *name);
cab_value *cab_graph_add_input(cab_graph *g, const char *name, const cab_type *t);
/* One without uses; later ones move up. */
void cab_graph_remove_input(cab_graph *g, size_t i);
void cab_graph_add_output(cab_graph *g, cab_value *v, const char *name);
void cab_graph_set_output(cab_graph *g, size_t i, cab_value *v);
/* New node before `before` (NULL = at the end), without inference; outputs
 * are made with empty types. */
cab_node *cab_node_create(cab_graph *g, const cab_op *op, int n_in,
                          cab_value **in, int n_out, cab_node *before);
void cab_node_set_in(cab_node *n, int i, cab_value *v);
void cab_node_append_in(cab_node *n, cab_value *v);
void cab_node_remove_in(cab_node *n, int i);
void cab_value_set_name(cab_graph *g, cab_value *v, const char *name);
/* Redirects every use (and graph outputs) of old to v. */
void cab_value_replace(cab_graph *g, cab_value *old, cab_value *v);
/* The graph that all this is inside of; value ids are below its next_id. */
cab_graph *cab_graph_root(const cab_graph *g);
/* k-th subgraph among the attributes of a node; NULL after the last. */
cab_graph *cab_node_subgraph(const cab_node *n, int k);
/* Unlinks a node without uses. */
void cab_node_erase(cab_node *n);
/* Order check/repair: false when the graph has a cycle. */
bool cab_graph_sort(cab_graph *g);
size_t cab_graph_count(const cab_graph *g);
/* Adds the requirement a == b (dropped when surely true).  Fails when surely
 * false, with why. */
cab_status cab_graph_require_eq(cab_graph *g, const cab_dim *a, const cab_dim *b,
                                const char *why, const cab_where *w, cab_diag *d);
/* The same for a <= b. */
cab_status cab_graph_require_le(cab_graph *g, const cab_dim *a, const cab_dim *b,
                                const char *why, const cab_where *w, cab_diag *d);
cab_where cab_node_where(const cab_node *n);

/* ---- type.c ---- */
cab_type cab_type_tensor(cab_dtype dt, int rank, const cab_dim *const *dims);
cab_type cab_type_static(cab_graph *g, cab_dtype dt, int rank, const int64_t *dims);
/* Sequence or optional of that (extents of the element are forgotten). */
cab_type cab_type_holder(cab_graph *g, cab_kind kind, const cab_type *elem);
bool cab_type_equal(const cab_type *a, const cab_type *b);
bool cab_type_is_static(const cab_type *t);
/* Product of the extents. */
const cab_dim *cab_type_numel(cab_graph *g, const cab_type *t);
/* -1 when an extent is symbolic or the product overflows. */
int64_t cab_type_numel_static(const cab_type *t);
void cab_type_print(cab_buf *b, const cab_type *t);
/* Element strides of a tensor under its layout (row-major when NULL), and the
 * number of elements to allocate, halo included. */
void cab_type_strides(cab_graph *g, const cab_type *t, const cab_dim *strides[CAB_MAX_RANK],
                      const cab_dim **out_base, const cab_dim **out_elems);
/* numpy broadcast of two shapes; unknown extents are required equal. */
cab_status cab_broadcast(cab_graph *g, const cab_type *a, const cab_type *b,
                         cab_type *out, const cab_where *w, cab_diag *d);

/* ---- attr.c: by name; the row's default when the node has none ---- */
const cab_attr *cab_attr_find(const cab_node *n, const char *name);
int64_t cab_attr_int(const cab_node *n, const char *name);
double cab_attr_float(const cab_node *n, const char *name);
const char *cab_attr_str(const cab_node *n, const char *name);
cab_dtype cab_attr_dtype(const cab_node *n, const char *name);
/* List length, -1 when absent; *out may be NULL-ed. */
int64_t cab_attr_ints(const cab_node *n, const char *name, const int64_t **out);
int64_t cab_attr_dims(const cab_node *n, const char *name, const cab_dim *const **out);
void cab_attr_set(cab_node *n, const cab_attr *a);      /* copies into the graph's arena */
void cab_attr_remove(cab_node *n, const char *name);
bool cab_attr_equal(const cab_attr *a, const cab_attr *b);
/* Makers (lists are copied by cab_attr_set / cab_build). */
cab_attr cab_a_int(const char *name, int64_t v);
cab_attr cab_a_float(const char *name, double v);
cab_attr cab_a_str(const char *name, const char *v);
cab_attr cab_a_dtype(const char *name, cab_dtype v);
cab_attr cab_a_ints(const char *name, const int64_t *v, int64_t n);
cab_attr cab_a_dims(const char *name, const cab_dim *const *v, int64_t n);
cab_attr cab_a_tensor(const char *name, const cab_tensor_attr *t);

/* ---- constants (const.c) ---- */
/* Node `const` of that type; bytes are referenced, not copied. */
cab_value *cab_const_blob(cab_graph *g, const cab_type *t, const void *data,
                          uint64_t bytes, cab_node *before);
/* Static bytes of a value: a const, or an offered input value (then
 * hint_used is set).  NULL when unknown. */
const cab_blob *cab_value_blob(cab_value *v);
/* Elements of an integer/bool value: from sym, blob or hint; false when not
 * known.  *out has *n dims (arena of g). */
bool cab_value_dims(cab_graph *g, cab_value *v, const cab_dim ***out, int64_t *n);
/* All elements constant integers -> *out, *n; false otherwise. */
bool cab_value_ints(cab_graph *g, cab_value *v, int64_t **out, int64_t *n);
/* One-element constant (or splat) as a double; false otherwise. */
bool cab_value_scalar(cab_value *v, double *out);

/* ---- build.c: nodes with inference.  A failed build latches b->status and
 * returns NULL; every builder call accepts NULL operands after a failure. ---- */
typedef struct cab_builder {
    cab_graph *g;
    cab_node *before;          /* insertion point; NULL = end */
    const char *loc, *loc_op;  /* stamped on new nodes */
    int opset;
    cab_diag *diag;
    cab_status status;
} cab_builder;

cab_builder cab_builder_at(cab_graph *g, cab_node *before, cab_diag *d); /* takes loc from before */
cab_node *cab_build_node(cab_builder *b, cab_op_id op, int n_in, cab_value **in,
                         int n_out, int n_attr, const cab_attr *attr);
/* First output of a one-output op. */
cab_value *cab_build(cab_builder *b, cab_op_id op, int n_in, cab_value **in,
                     int n_attr, const cab_attr *attr);
cab_value *cab_b_unary(cab_builder *b, cab_op_id op, cab_value *x);
cab_value *cab_b_binary(cab_builder *b, cab_op_id op, cab_value *x, cab_value *y);
cab_value *cab_b_select(cab_builder *b, cab_value *c, cab_value *x, cab_value *y);
cab_value *cab_b_cast(cab_builder *b, cab_value *x, cab_dtype to); /* x itself when equal */
cab_value *cab_b_reshape(cab_builder *b, cab_value *x, int rank, const cab_dim *const *dims);
cab_value *cab_b_expand(cab_builder *b, cab_value *x, int rank, const cab_dim *const *dims);
cab_value *cab_b_transpose(cab_builder *b, cab_value *x, const int64_t *perm);
cab_value *cab_b_slice(cab_builder *b, cab_value *x, const cab_dim *const *starts,
                       const int64_t *steps, const cab_dim *const *sizes);
/* Scalar (rank 0) constants. */
cab_value *cab_b_scalar(cab_builder *b, cab_dtype dt, double v);
cab_value *cab_b_scalar_i(cab_builder *b, cab_dtype dt, int64_t v);
/* i64 scalar equal to a dimension expression (constant when it is one). */
cab_value *cab_b_dim(cab_builder *b, const cab_dim *x);
cab_value *cab_b_i64s(cab_builder *b, const int64_t *v, int64_t n); /* rank 1 */
/* cab_fail at the builder's location, latching b->status. */
cab_status cab_b_fail(cab_builder *b, cab_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- foreign.c: operators of the host program (nodes `custom`) ----
 * At level ONNX such a node has no types yet; decompose asks for them.  Types
 * and attributes are in the form the host program sees them. */
typedef struct cab_foreign_attr {
    const char *name;
    int n;                     /* elements; a text has 1 */
    const int64_t *ints;       /* one of the three is not NULL */
    const float *floats;
    const char *text;
} cab_foreign_attr;
typedef struct cab_foreign_input {
    const char *name;          /* NULL: an absent operand, or a value without a name */
    int dtype;                 /* ONNX number; 0 = absent */
    int rank;
    int64_t dims[CAB_MAX_RANK];            /* -1: not known at compile time */
    const char *dim_names[CAB_MAX_RANK];   /* the symbol, when the extent is one; else "" */
} cab_foreign_input;
typedef struct cab_foreign_extent { int64_t value; int input, axis; } cab_foreign_extent;
typedef struct cab_foreign_type {
    int dtype, rank;
    cab_foreign_extent dims[CAB_MAX_RANK]; /* value, or (input >= 0) that extent of that input */
} cab_foreign_type;
/* One call of an operator's shape function; out is zero before. */
typedef struct cab_foreign_query {
    const char *node;
    int n_in, n_attrs, n_out;
    const cab_foreign_input *in;
    const cab_foreign_attr *attrs;
    cab_foreign_type *out;
    char why[500];             /* text of a refusal */
} cab_foreign_query;
typedef struct cab_foreign_op {
    const char *domain, *name;
    /* 0, or a status with q->why filled in.  Code of the host program: nothing
     * here may hold across it but what the caller owns. */
    int (*infer)(void *user, cab_foreign_query *q);
    void *user;
} cab_foreign_op;

/* NULL when the program has no such operator. */
const cab_foreign_op *cab_foreign_find(const cab_foreign_op *ops, int n, const char *domain,
                                       const char *name);
/* Gives a `custom` node its name and attributes.  NULL, or the attribute of a
 * kind that cannot be passed on. */
const char *cab_foreign_set(cab_node *n, const char *domain, const char *name,
                            const cab_attr *attr, size_t n_attr);
/* The attributes of a `custom` node, in memory of a. */
int cab_foreign_attrs(cab_arena *a, const cab_node *n, const cab_foreign_attr **out);
/* The node has no types yet. */
bool cab_foreign_open(const cab_node *n);
/* Asks the operator for the types of the results, checks and sets them. */
cab_status cab_foreign_resolve(cab_graph *g, cab_node *n, cab_diag *d);

/* ---- infer.c ---- */
/* (Re)computes the output types and known elements of a CORE node. */
cab_status cab_infer_node(cab_graph *g, cab_node *n, cab_diag *d);

/* ---- print.c, parse.c ---- */
void cab_graph_print(cab_buf *b, const cab_graph *g);
/* For reading only: constants of more than 64 elements keep just their hash. */
void cab_graph_print_brief(cab_buf *b, const cab_graph *g);
void cab_node_print(cab_buf *b, const cab_node *n);
/* Text -> graph; errors carry file:line:col.  Inputs of hostile size are
 * refused by depth and count limits. */
cab_status cab_graph_parse(cab_arena *a, const char *text, size_t n, const char *file,
                           cab_graph **out, cab_diag *d);

/* ---- verify.c: structure, rows, types, admissible ops of the level ---- */
cab_status cab_graph_verify(const cab_graph *g, cab_diag *d);

/* ---- eval.c: the reference evaluator (oracle and folding) ---- */
typedef struct cab_tensor {
    cab_dtype dtype;
    int rank;
    int64_t dims[CAB_MAX_RANK];
    void *data;                /* dense row-major, aligned */
} cab_tensor;
int64_t cab_tensor_numel(const cab_tensor *t);
bool cab_tensor_alloc(cab_arena *a, cab_tensor *t);    /* from dtype/dims; false: over 2^40 bytes */
/* One CORE node on concrete operands; outputs are allocated in a.  env gives
 * the values of symbols for symbolic attributes. */
typedef struct cab_env {
    CAB_VEC(struct { const char *sym; int64_t v; }) v;
    cab_arena *arena;
    void (*trace)(void *arg, const cab_value *, const cab_tensor *);   /* NULL: none */
    void *trace_arg;
} cab_env;
void cab_env_set(cab_env *e, const char *sym, int64_t v);
bool cab_env_get(void *env, const char *sym, int64_t *out);
cab_status cab_eval_node(cab_arena *a, const cab_node *n, const cab_tensor *const *in,
                         cab_tensor *out, cab_env *env, cab_diag *d);
/* Whole CORE graph: binds the symbols of the input types, then runs. */
cab_status cab_eval_graph(cab_arena *a, const cab_graph *g, const cab_tensor *in,
                          cab_tensor *out, cab_diag *d);
/* Calls fn(arg, value, tensor) after each node, also those of bodies, whose
 * inputs it sees too: per-layer comparison. */
cab_status cab_eval_graph_trace(cab_arena *a, const cab_graph *g, const cab_tensor *in,
                                cab_tensor *out, cab_diag *d,
                                void (*fn)(void *, const cab_value *, const cab_tensor *), void *arg);

#endif
