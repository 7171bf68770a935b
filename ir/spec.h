/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.h - what a kernel computes, and the program made of such kernels.
 *
 * A Spec is a loop nest without an order: iteration axes, operand views that
 * are affine in the axes (plus loaded indices and guards), and a list of
 * stages that share the parallel axes.  How it runs (tiles, vectors, tasks) is
 * a Sched and belongs to codegen; the naive kernel is the same Spec with the
 * empty Sched.  Extents, strides and bases are dimension expressions: codegen
 * prints constants as such and passes the rest as kernel parameters.
 *
 * Meaning: for every point p of the parallel axes, run the stages in order.
 *   REDUCE  result[i] = fold of red over the stage's axes of value, in acc
 *           dtype, in row-major order of the axes (a Sched may use several
 *           partial sums; the order never depends on the thread count)
 *   STORE   for every point of the stage's axes, in row-major order: view <-
 *           value, converted to the view's dtype; with a mode other than
 *           plain: view <- view combined with value, in the view's dtype
 *   SCAN    the fold of REDUCE, whose state after every point (exclusive:
 *           before it) is stored: view <- state, converted to the view's dtype
 * A stage may read results of earlier REDUCE stages.  Several STORE stages are
 * several outputs.  No stage reads or writes what another point writes, so
 * points and parallel axes may run in any order; writes that may meet (a
 * scatter) stand in one stage, over its axes.
 *
 * Softmax is: reduce max over k; reduce sum over k of exp(x - r0); store over
 * k of exp(x - r0) / r1.  A convolution is one REDUCE over (kh, kw, c) and a
 * STORE with the epilogue.
 *
 * Specs, programs and their text live in one arena with their dims pool.
 */
#ifndef CAB_IR_SPEC_H
#define CAB_IR_SPEC_H
#include "ir/ir.h"

#define CAB_SPEC_AXES 12
#define CAB_SPEC_GUARDS 4
#define CAB_SPEC_LOADED 2

typedef enum cab_axis_kind { CAB_AXIS_PAR, CAB_AXIS_RED } cab_axis_kind;
typedef struct cab_axis {
    cab_axis_kind kind;        /* RED axes are looped inside stages */
    const cab_dim *extent;
    const char *name;          /* unique in the Spec: "m", "k", "oh" */
} cab_axis;

/* base + sum coef[i] * axis[i]; NULL coefficients are 0. */
typedef struct cab_affine {
    const cab_dim *base;
    const cab_dim *coef[CAB_SPEC_AXES];
} cab_affine;

/* The access happens only where 0 <= at < extent; a guarded load gives fill. */
typedef struct cab_spec_guard { cab_affine at; const cab_dim *extent; } cab_spec_guard;

typedef struct cab_expr cab_expr;

typedef struct cab_view {
    int operand;               /* index into cab_spec.operands */
    cab_dtype dtype;           /* as stored */
    cab_affine at;             /* offset in elements */
    int n_loaded;              /* + value(index) * stride: gather, scatter, paged caches */
    struct cab_loaded {
        const cab_expr *index;
        const cab_dim *stride;
        const cab_dim *extent; /* not NULL: a guard 0 <= value(index) < extent */
    } loaded[CAB_SPEC_LOADED];
    int n_guards;
    cab_spec_guard guard[CAB_SPEC_GUARDS];
    double fill;
    int n_halo;
    cab_spec_guard halo[CAB_SPEC_GUARDS]; /* outside, zeroes stand in memory: read or left out */
} cab_view;

typedef enum cab_expr_op {
    CAB_EX_CONST,              /* u.f (floats) or u.i (ints, bools) */
    CAB_EX_DIM,                /* u.dim as i64 */
    CAB_EX_AXIS,               /* index of axis u.index as i64 */
    CAB_EX_LOAD,               /* view u.index */
    CAB_EX_RESULT,             /* result of REDUCE stage u.index */
    CAB_EX_SCALAR_,            /* the scalar functions follow, in row order */
    CAB_EX_before_scalar_ = CAB_EX_SCALAR_ - 1,
#define SCALAR(id, arity, rule, traits, doc) CAB_EX_##id,
#include "ir/scalar.def"
    CAB_EX_COUNT
} cab_expr_op;

/* A scalar expression; shared nodes make it a DAG.  dtype is the value's
 * type; f16 and bf16 values are computed in f32 and rounded only by cast and
 * by stores. */
struct cab_expr {
    cab_expr_op op;
    cab_dtype dtype;
    const cab_expr *arg[3];
    union { double f; int64_t i; const cab_dim *dim; int index; } u;
};

typedef enum cab_red {
    CAB_RED_SUM, CAB_RED_PROD, CAB_RED_MAX, CAB_RED_MIN,
    CAB_RED_ARGMAX_FIRST, CAB_RED_ARGMAX_LAST,  /* result: i64 row-major index over the stage's axes */
    CAB_RED_ARGMIN_FIRST, CAB_RED_ARGMIN_LAST
} cab_red;

typedef enum cab_store_mode {
    CAB_STORE_PLAIN, CAB_STORE_ADD, CAB_STORE_MUL, CAB_STORE_MAX, CAB_STORE_MIN
} cab_store_mode;

/* Attribute op of scatter, by mode; as the standard's attribute reduction. */
extern const char *const cab_scatter_ops[];
/* NULL is none; false for another word. */
bool cab_scatter_mode(const char *op, cab_store_mode *out);

typedef enum cab_stage_kind { CAB_STAGE_REDUCE, CAB_STAGE_STORE, CAB_STAGE_SCAN } cab_stage_kind;
typedef struct cab_stage {
    cab_stage_kind kind;
    uint32_t axes;             /* bit mask of RED axes this stage loops over */
    cab_red red;               /* REDUCE, SCAN (no ARG*) */
    cab_dtype acc;             /* type of accumulation and result (ARG*: type compared; the result is i64) */
    const cab_expr *value;
    int view;                  /* STORE, SCAN: target */
    cab_store_mode mode;       /* STORE */
    bool exclusive;            /* SCAN */
} cab_stage;

/* What the Spec was made from: which generator family fits.  A hint for
 * schedules only; the meaning is in the stages. */
typedef enum cab_spec_kind {
    CAB_SPEC_MAP, CAB_SPEC_ROWRED, CAB_SPEC_CONTRACT, CAB_SPEC_WINDOW
} cab_spec_kind;

typedef struct cab_spec {
    cab_arena *arena;
    cab_dims *dims;
    const char *name;          /* "conv_3": kind of root and number */
    cab_spec_kind kind;
    int n_axes;
    cab_axis axis[CAB_SPEC_AXES];
    int n_operands;
    struct cab_operand { cab_dtype dtype; bool written; const cab_dim *elems; } *operands;
    CAB_VEC(cab_view) views;
    CAB_VEC(cab_stage) stages;
} cab_spec;

/* ---- spec.c: builders ---- */
cab_spec *cab_spec_create(cab_arena *a, cab_dims *d, const char *name, cab_spec_kind k);
int cab_spec_axis(cab_spec *s, cab_axis_kind k, const cab_dim *extent, const char *name);
int cab_spec_operand(cab_spec *s, cab_dtype dt, bool written, const cab_dim *elems);
int cab_spec_view(cab_spec *s, const cab_view *v);
int cab_spec_reduce(cab_spec *s, uint32_t axes, cab_red red, cab_dtype acc, const cab_expr *value);
void cab_spec_store(cab_spec *s, uint32_t axes, int view, const cab_expr *value);
void cab_spec_store_with(cab_spec *s, uint32_t axes, cab_store_mode mode, int view,
                         const cab_expr *value);
void cab_spec_scan(cab_spec *s, uint32_t axes, cab_red red, cab_dtype acc, bool exclusive,
                   int view, const cab_expr *value);
/* Some access through v may not happen. */
bool cab_view_is_guarded(const cab_view *v);
/* The stage's points meet or follow from each other: they run one by one. */
bool cab_stage_is_serial(const cab_spec *s, const cab_stage *st);
const cab_expr *cab_ex_const(cab_spec *s, cab_dtype dt, double v);
const cab_expr *cab_ex_int(cab_spec *s, cab_dtype dt, int64_t v);
const cab_expr *cab_ex_dim(cab_spec *s, const cab_dim *x);
const cab_expr *cab_ex_axis(cab_spec *s, int axis);
const cab_expr *cab_ex_load(cab_spec *s, int view);
const cab_expr *cab_ex_result(cab_spec *s, int stage);
/* Scalar function; CAB_EX_x and CAB_OP_x have the same order. */
const cab_expr *cab_ex_scalar(cab_spec *s, cab_expr_op op, cab_dtype dt,
                              const cab_expr *a, const cab_expr *b, const cab_expr *c);
const cab_expr *cab_ex_cast(cab_spec *s, cab_dtype dt, const cab_expr *x); /* x itself when equal */
cab_expr_op cab_ex_from_op(cab_op_id op);   /* CAB_EX_COUNT when not scalar */
cab_affine cab_affine_zero(cab_dims *d);
/* f += coef * axis; axis -1: f += coef. */
void cab_affine_add(cab_dims *d, cab_affine *a, int axis, const cab_dim *coef);
/* Drops axes of extent 1, merges neighbouring axes that every view and guard
 * walks as one, and orders nothing: same meaning, fewer axes. */
void cab_spec_simplify(cab_spec *s);
/* Structural equality up to names and operand binding, and a hash of it: equal
 * kernels are generated once. */
bool cab_spec_equal(const cab_spec *a, const cab_spec *b);
uint64_t cab_spec_hash(const cab_spec *s);
cab_status cab_spec_verify(const cab_spec *s, cab_diag *d);

/* ---- programs: the result of lowering, the input of codegen ---- */
typedef enum cab_buffer_kind {
    CAB_BUFFER_INPUT, CAB_BUFFER_OUTPUT, CAB_BUFFER_CONST, CAB_BUFFER_TEMP
} cab_buffer_kind;

typedef struct cab_buffer {
    cab_buffer_kind kind;
    cab_type type;             /* logical type (io: what the caller sees) */
    const cab_dim *elems;      /* elements to allocate, halo included */
    const char *name;          /* io name, or the value's name */
    const cab_blob *blob;      /* CONST (maybe unaligned); INPUT: bytes the code holds for, or NULL */
    int alias_of;              /* TEMP, OUTPUT: lives inside that buffer; -1 = its own */
    const cab_dim *alias_at;   /* element offset there */
    bool zeroed;               /* bytes not written by steps must be zero (halo) */
} cab_buffer;

/* Steps run in order.  The FLOW rows decide which: IF .. ELSE .. END, LOOP ..
 * END; they may nest.  A list is a buffer whose type is a sequence or an
 * optional; places in it count from the end when negative, INT64_MAX is behind
 * the last.  FLOW(id, word, names a symbol, args, params (-n: n - 1 or more),
 * "doc") */
#define CAB_STEP_FLOWS(FLOW) \
    FLOW(READ, "read", 1, 1, 1, "the symbol becomes element params[0] of buffer args[0]") \
    FLOW(SET, "set", 1, 0, 1, "the symbol becomes params[0]") \
    FLOW(CHECK_EQ, "check_eq", 0, 0, 2, "ends the run unless params[0] == params[1]; what says why") \
    FLOW(CHECK_LE, "check_le", 0, 0, 2, "ends the run unless params[0] <= params[1]") \
    FLOW(ALLOC, "alloc", 0, 1, 0, "the buffer gets memory of its size now; else that happens where it is first used") \
    FLOW(GROW, "grow", 0, 1, 0, "as alloc, and what it holds stays") \
    FLOW(IF, "if", 0, 0, 1, "params[0] != 0: up to the ELSE or END; else from the ELSE on") \
    FLOW(ELSE, "else", 0, 0, 0, "") \
    FLOW(LOOP, "loop", 1, 0, 1, "up to the END while the symbol, counted from 0, is below params[0]") \
    FLOW(BREAK, "break", 0, 0, 1, "ends the innermost LOOP when params[0] == 0") \
    FLOW(END, "end", 0, 0, 0, "") \
    FLOW(SWAP, "swap", 0, 2, 0, "two buffers of one size, or two lists, change their contents; costs nothing") \
    FLOW(LIST_CLEAR, "list_clear", 0, 1, 0, "the list is empty") \
    FLOW(LIST_NONE, "list_none", 0, 1, 0, "the optional holds nothing") \
    FLOW(LIST_COPY, "list_copy", 0, 2, 0, "args[0] holds what args[1] holds; tensors are shared") \
    FLOW(LIST_MOVE, "list_move", 0, 2, 0, "as list_copy; args[1] is not read any more") \
    FLOW(LIST_INSERT, "list_insert", 0, 2, -2, "a copy of tensor args[1], of extents params[1..], at place params[0]") \
    FLOW(LIST_ERASE, "list_erase", 0, 1, 1, "without the element at place params[0]") \
    FLOW(LIST_LENGTH, "list_length", 1, 1, 0, "number of elements") \
    FLOW(LIST_HAS, "list_has", 1, 1, 0, "1 where the optional holds something") \
    FLOW(LIST_DIM, "list_dim", 1, 1, 3, "extent params[1] of the element at place params[0], of rank params[2]") \
    FLOW(LIST_GET, "list_get", 0, 2, 1, "buffer args[0] is the element of args[1] at place params[0]") \
    FLOW(LIST_CONCAT_DIM, "list_concat_dim", 1, 1, 4, "extent params[0] of list_concat, of rank params[1], with its params") \
    FLOW(LIST_CONCAT, "list_concat", 0, 2, 2, "args[0]: the elements of args[1] along axis params[0], a new one where params[1] is 1")
typedef enum cab_step_kind {
    CAB_STEP_LAUNCH, CAB_STEP_HELPER, CAB_STEP_CUSTOM,
#define FLOW(id, word, sym, args, params, doc) CAB_STEP_##id,
    CAB_STEP_FLOWS(FLOW)
#undef FLOW
    CAB_STEP_COUNT
} cab_step_kind;
typedef struct cab_flow_row { const char *word; bool sym; int n_args, n_params; } cab_flow_row;
/* NULL for a step that computes. */
const cab_flow_row *cab_flow_row_of(cab_step_kind k);

/* CUSTOM: what a kernel of the host program is told. */
typedef struct cab_step_custom {
    const char *domain, *name;
    int n_in;                  /* args that are read, first; the others are written */
    const cab_type *types;     /* per arg: dense, at the start of its buffer */
    int n_attrs;
    const cab_foreign_attr *attrs;
} cab_step_custom;

typedef struct cab_step {
    cab_step_kind kind;
    const cab_spec *spec;      /* LAUNCH */
    const char *helper;        /* HELPER: name in the runtime's table */
    int n_args;
    const cab_step_custom *custom;
    const int *args;           /* buffer per operand (LAUNCH) or argument; CUSTOM: -1 = absent */
    int n_params;
    const cab_dim *const *params;  /* HELPER: integer arguments; FLOW rows */
    const cab_dim *sym;        /* FLOW rows that name a symbol */
    const cab_dim *when;       /* LAUNCH: skipped where it is 0; NULL = always */
    int past;                  /* LAUNCH: 1 + number of the state whose input it copies into its
                                * output, needless where both are the same memory; 0 = none */
    const char *loc;           /* ONNX node names */
    const char *what;          /* "conv+add+relu": ops inside, for traces */
} cab_step;

/* A graph output that is a graph input with more behind it along an axis (a
 * cache).  In memory that axis has room_in and room_out steps, symbols of
 * their own, so that a runtime may keep both in one piece of memory; without
 * such memory they are the extents. */
typedef struct cab_program_state {
    int input, output;         /* numbers in inputs and outputs */
    int axis;
    const cab_dim *room_in, *room_out;
} cab_program_state;

typedef struct cab_program {
    cab_arena *arena;
    cab_dims *dims;
    const char *name;
    CAB_VEC(cab_buffer) buffers;
    CAB_VEC(cab_step) steps;
    CAB_VEC(int) inputs;       /* buffer of each graph input, in order */
    CAB_VEC(int) outputs;
    CAB_VEC(cab_guard_eq) guards;
    CAB_VEC(cab_program_state) states;
} cab_program;

cab_program *cab_program_create(cab_arena *a, cab_dims *d, const char *name);
int cab_program_buffer(cab_program *p, const cab_buffer *b);
void cab_program_step(cab_program *p, const cab_step *s);
cab_status cab_program_verify(const cab_program *p, cab_diag *d);

/* ---- spec_text.c: print(parse(t)) == t ---- */
void cab_spec_print(cab_buf *b, const cab_spec *s);
void cab_program_print(cab_buf *b, const cab_program *p);
cab_status cab_program_parse(cab_arena *a, const char *text, size_t n, const char *file,
                             cab_program **out, cab_diag *d);
/* One Spec alone, as cab_spec_print writes it; its dims go to that pool. */
cab_status cab_spec_parse(cab_arena *a, cab_dims *dims, const char *text, size_t n,
                          const char *file, cab_spec **out, cab_diag *d);

/* ---- spec_eval.c: reference meaning of a Spec and a program.  bufs[i] is the
 * data of operand/buffer i; every access is bounds-checked against elems ---- */
cab_status cab_spec_eval(cab_arena *scratch, const cab_spec *s, void *const *bufs,
                         cab_env *env, cab_diag *d);
cab_status cab_program_eval(cab_arena *a, const cab_program *p, const cab_tensor *in,
                            cab_tensor *out, cab_diag *d);

#endif
