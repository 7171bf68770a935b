/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_int.h - what layout.c, group.c and the lower*.c files share.
 *
 * Groups: node->group is -1 before grouping (every node is its own kernel), 0
 * for nodes without a kernel of their own (scalars and movement, computed
 * again inside each kernel that reads them; stored only where someone needs
 * bytes), > 0 for the members of a fused group.  A group has one value that
 * others read: that of its last member.
 *
 * Storage: a value that someone outside its kernel reads has a place, a
 * strided window of a buffer.  Reshapes of dense storage, operands of a concat
 * and values that only become a graph output share places instead of copying.
 */
#ifndef CAB_PASSES_LOWER_INT_H
#define CAB_PASSES_LOWER_INT_H
#include "passes/pass_int.h"

#define CAB_GROUP_INLINE 0
#define CAB_IX_TERMS 4         /* expressions in one index */
#define CAB_KERNEL_LAXES 16    /* logical axes of one kernel */
#define CAB_KERNEL_DEPTH 160   /* recursion of lowering */

/* ---- what a value is (lower_value.c) ---- */
/* Elements a kernel writes down as expressions: one-element constants and
 * short lists of known dimension expressions.  Needs no storage. */
bool cab_value_is_expr(const cab_value *v);
/* Axis at physical place i of a value, outermost first. */
static inline int cab_value_axis_at(const cab_type *t, int i)
{
    return t->layout ? t->layout->perm[i] : i;
}
bool cab_value_has_halo(const cab_type *t);
/* Same physical order of the elements, apart from extents of 1; no halo. */
bool cab_layout_same(const cab_type *a, const cab_type *b);
/* Nodes that only move elements of operand 0 to other indices. */
bool cab_op_is_view(cab_op_id op);
/* Strides of a reshaped strided tensor (row-major order of from's axes); false
 * when its elements do not follow each other. */
bool cab_strides_reshape(cab_dims *d, const cab_type *from, const cab_dim *const *in,
                         const cab_type *to, const cab_dim **out);
/* Base and strides of the result of a view from those of its operand; false
 * when the result is not strided. */
bool cab_strides_view(cab_graph *g, const cab_node *view, const cab_dim **base,
                      const cab_dim *const *in, const cab_dim **out);
/* Element strides of v when it is seen through views of its stored base; NULL
 * entries are extents of 1.  False when some view is not strided. */
bool cab_value_strides(cab_graph *g, const cab_value *v, const cab_dim *out[CAB_MAX_RANK]);
/* Operand b of a product that generated code can walk along a free axis with
 * stride 1: constant, or so by its strides.  *axis: the last free axis of b. */
bool cab_dot_b_fits(cab_graph *g, const cab_node *dot, int *axis);

/* ---- lower_direct.c: products that read b through its views ---- */
/* A free axis of b, seen through views that need not be strided, has unit
 * stride: it need not be stored. */
bool cab_dot_reads_views(cab_graph *g, const cab_node *dot);
/* Rows of a, when b is a fixed tensor seen through views whose unit stride is
 * along an axis summed over; else NULL. */
const cab_dim *cab_dot_rows_of_sums(cab_graph *g, const cab_node *dot);
/* And those are so few that it is read as it lies. */
bool cab_dot_sums_along_b(cab_graph *g, const cab_node *dot);

/* How far a convolution reads beyond its input along a spatial axis. */
void cab_conv_reach(cab_graph *g, const cab_node *n, int axis, int64_t *lo, int64_t *hi);

/* ---- lowering state ---- */
typedef struct cab_place {
    int buffer;                /* -1: none */
    const cab_dim *base;
    const cab_dim *stride[CAB_MAX_RANK];
} cab_place;

enum cab_inside_kind { CAB_INSIDE_NONE, CAB_INSIDE_PART, CAB_INSIDE_WHOLE };

typedef struct cab_vinfo {
    bool need;                 /* some kernel or the caller reads its bytes */
    cab_place at;
    /* Produced inside the storage of another value: as a part of a concat, or
     * as all of a reshape of it. */
    enum cab_inside_kind inside;
    cab_value *host;
    const cab_dim *part_at;    /* PART: first index along the concat's axis */
    int output;                /* graph output whose buffer it is; -1 */
    uint32_t pos;              /* place of its node in the order; inputs 0 */
    bool passing;              /* an input of a body that is the body's own */
    int step;                  /* 1 + the one step that stores it; 0 = none or several */
    int state;                 /* 1 + number of the program's state it is a side of; 0 */
} cab_vinfo;

typedef struct cab_members { CAB_VEC(cab_node *) v; } cab_members;

typedef struct cab_lower {
    cab_graph *g;
    cab_pass_ctx *c;
    cab_arena *a;              /* of the program */
    cab_dims *d;
    cab_program *p;
    cab_vinfo *info;           /* by value id */
    cab_members *groups;       /* by group */
    int n_kernels;             /* for names */
    cab_map *given;            /* symbol id -> pos of the node that gives it its value */
    uint32_t pos;              /* of the last node numbered */
    uint8_t *guard_done;       /* guards of g that became steps */
    bool inside;               /* g is a body: all its guards are steps */
} cab_lower;

static inline cab_vinfo *cab_lower_info(const cab_lower *l, const cab_value *v)
{
    return &l->info[v->id];
}
/* ---- lower_flow.c: symbols that get their values during the run ---- */
/* Numbers the nodes and finds the symbols. */
void cab_lower_positions(cab_lower *l);
/* What x says is known when the node of v runs. */
bool cab_lower_is_known(const cab_lower *l, const cab_dim *x, const cab_value *v);
bool cab_lower_is_sized(const cab_lower *l, const cab_type *t, const cab_value *v);
/* A guard of the graph that is a step, since it names such a symbol. */
bool cab_lower_is_late(const cab_lower *l, const cab_guard_eq *g);
cab_status cab_lower_item(cab_lower *l, cab_node *n);
cab_status cab_lower_if(cab_lower *l, cab_node *n);
cab_status cab_lower_loop(cab_lower *l, cab_node *n);
/* lower_flow.c, for lower_seq.c.  -1 and NULL: without. */
void cab_lower_flow_step(cab_lower *l, cab_step_kind kind, const cab_dim *sym, int buffer,
                         const cab_dim *p0, const cab_dim *p1, const cab_step *texts);
/* What must hold of the symbols that n has given their values. */
void cab_lower_given(cab_lower *l, const cab_dim *const *syms, int64_t k, const cab_node *n);

/* ---- lower_seq.c: sequences and optionals ---- */
static inline bool cab_value_is_list(const cab_value *v)
{
    return v->type.kind != CAB_KIND_tensor;
}
/* The buffer that is the list v. */
int cab_lower_list(cab_lower *l, cab_value *v);
int cab_lower_list_temp(cab_lower *l, const cab_type *t, const char *name);
/* to becomes what v holds; v may be emptied where nothing else reads it. */
void cab_lower_list_copy(cab_lower *l, int to, cab_value *v);
cab_status cab_lower_seq(cab_lower *l, cab_node *n);

/* ---- lower.c ---- */
/* The steps of l->g.  Its inputs have places, and what is wanted of it is
 * marked as needed, and may have places. */
cab_status cab_lower_steps(cab_lower *l);
/* Writes v, wherever it comes from, to a place. */
cab_status cab_lower_copy(cab_lower *l, cab_value *v, const cab_place *to, const cab_node *by);
/* A buffer that holds v alone, row-major, for a reader that is no kernel. */
cab_status cab_lower_dense(cab_lower *l, cab_value *v, const cab_node *by, int *out);

/* ---- lower_helper.c: ops that a helper of the runtime computes ---- */
cab_status cab_lower_helper(cab_lower *l, cab_node *n);
/* Steps that refuse an input whose elements are indices of gathers when one is out of its range (kernels would take
 * the last row); before all other steps. */
void cab_lower_bounds(cab_lower *l);
/* ---- lower_state.c ---- */
/* Finds the states of the program; before any place is made. */
void cab_lower_find_states(cab_lower *l);
/* The type of v as an input or output lies in memory: with room. */
cab_type cab_lower_memory_type(const cab_lower *l, const cab_value *v);

/* ---- lower_place.c ---- */
/* Place of a stored value; made on first use for inputs, constants and the
 * values about to be written. */
const cab_place *cab_place_of(cab_lower *l, cab_value *v);
/* Place of v without a new buffer: stored, or a view of something stored.
 * False when its elements must be computed. */
bool cab_place_view(cab_lower *l, cab_value *v, cab_place *out);
/* The place is all of its buffer, row-major from element 0. */
bool cab_place_is_dense(cab_lower *l, const cab_place *at, const cab_type *t);
/* New temporary of that type. */
int cab_place_temp(cab_lower *l, const cab_type *t, const char *name);

/* ---- kernels ---- */
/* Index along one axis: affine part plus expression terms e * k. */
typedef struct cab_ix {
    cab_affine at;
    int n;
    struct { const cab_expr *e; const cab_dim *k; } term[CAB_IX_TERMS];
} cab_ix;

/* A logical axis of the kernel and the Spec axes it was split into. */
typedef struct cab_lax {
    cab_axis_kind kind;
    const cab_dim *extent;
    int n;
    const cab_dim *factor[CAB_SPEC_AXES];  /* outermost first */
    int axis[CAB_SPEC_AXES];
    uint32_t taken;            /* serial of the reduction that loops over it */
} cab_lax;

enum cab_kernel_state {
    CAB_KERNEL_OK,
    CAB_KERNEL_AGAIN,          /* axes were refined: start over */
    CAB_KERNEL_FAILED          /* cannot be one Spec */
};

typedef struct cab_kernel {
    cab_lower *l;
    cab_spec *s;
    int group;                 /* members: nodes of this group, > 0 */
    const cab_node *only;      /* or this node alone */
    enum cab_kernel_state state;
    const char *why;           /* FAILED: the cause, for the story */
    /* Kept when lowering starts over: factors of each logical axis in order of
     * creation, and which output axes are rows (looped inside stages). */
    int n_splits;
    struct { int n; const cab_dim *factor[CAB_SPEC_AXES]; } split[CAB_KERNEL_LAXES];
    uint32_t rows;
    /* One attempt. */
    int n_laxes;
    cab_lax lax[CAB_KERNEL_LAXES];
    int depth;
    uint32_t serial;           /* of reductions */
    uint32_t result_axes;      /* axes in the indices of in-kernel reductions */
    int n_results;
    bool has_root, has_window; /* a contraction; a window or depthwise one */
    int n_guards;
    cab_spec_guard guard[CAB_SPEC_GUARDS];
    uint32_t guard_id, guard_serial;  /* of the guards in force, for the memo */
    double fill;
    int n_halo;                /* of what is loaded: cab_view.halo */
    cab_spec_guard halo[CAB_SPEC_GUARDS];
    cab_map *memo;             /* value id -> entries */
    CAB_VEC(int) args;         /* buffer per operand */
    const cab_expr *wino;      /* lower_wino.c: the element of a wino_out now known, */
    const cab_ix *wino_at;     /* its index */
    int wino_rank;
} cab_kernel;

/* ---- lower_index.c ---- */
cab_ix cab_ix_const(const cab_dim *x);  /* x: any dimension expression */
cab_ix cab_ix_zero(cab_kernel *k);
cab_ix cab_ix_axis(cab_kernel *k, int lax);
cab_ix cab_ix_term(cab_kernel *k, const cab_expr *e);
cab_ix cab_ix_add(cab_kernel *k, const cab_ix *a, const cab_ix *b);
cab_ix cab_ix_scale(cab_kernel *k, const cab_ix *a, const cab_dim *c);
cab_ix cab_ix_shift(cab_kernel *k, const cab_ix *a, const cab_dim *c);
bool cab_ix_equal(const cab_ix *a, const cab_ix *b);
bool cab_ix_is_const(const cab_ix *a, const cab_dim **out);
/* Bit mask of the axes in the affine part; all of them when it has terms. */
uint32_t cab_ix_axes(const cab_ix *a);
/* As an i64 expression. */
const cab_expr *cab_ix_expr(cab_kernel *k, const cab_ix *a);
/* a = q * b + r, 0 <= r < b; refines axes where that keeps both affine. */
void cab_ix_divmod(cab_kernel *k, const cab_ix *a, const cab_dim *b, cab_ix *q, cab_ix *r);
/* Index of the operand of a reshape from that of its result. */
void cab_ix_reshape(cab_kernel *k, const cab_type *to, const cab_ix *iy,
                    const cab_type *from, cab_ix *ix);
/* Whether axes can be split so that a reshape stays affine. */
bool cab_reshape_is_affine(cab_graph *g, const cab_type *to, const cab_type *from);
/* Columns of a product: neighbours in memory when its result lies so. */
typedef struct cab_columns {
    int axis;                  /* along which they lie; -1 = nowhere */
    const cab_dim *n;          /* how many are neighbours */
} cab_columns;
/* Where they are in the result of a view. */
cab_columns cab_view_columns(cab_graph *g, const cab_node *view, cab_columns c);
/* Still enough of them to be stored there by the product itself. */
bool cab_columns_suffice(const cab_columns *product, const cab_columns *here);
/* A new logical axis, with the factors of earlier attempts; -1 = too many. */
int cab_kernel_lax(cab_kernel *k, cab_axis_kind kind, const cab_dim *extent, const char *name);
/* A reduction axis: an existing one of that extent which this reduction does
 * not use yet, or a new one.  fresh: always a new one. */
int cab_kernel_red(cab_kernel *k, const cab_dim *extent, const char *name, bool fresh);
uint32_t cab_kernel_lax_mask(const cab_kernel *k, int lax);

/* ---- lower_value.c ---- */
/* The element of v at that index (one cab_ix per axis).  Never NULL; a dummy
 * once the state is not OK. */
const cab_expr *cab_lower_elem(cab_kernel *k, cab_value *v, const cab_ix *ix);
/* As cab_lower_elem where every index of the axes in mask may be outside v:
 * there the element is fill. */
const cab_expr *cab_lower_guarded(cab_kernel *k, cab_value *v, const cab_ix *ix,
                                  uint32_t mask, const cab_expr *fill);
const cab_expr *cab_kernel_fail(cab_kernel *k, const char *why);
bool cab_kernel_member(const cab_kernel *k, const cab_node *n);
/* View of a place at an index. */
int cab_kernel_view(cab_kernel *k, const cab_place *at, const cab_type *t,
                    const cab_ix *ix, bool written);
const cab_expr *cab_kernel_load(cab_kernel *k, const cab_place *at, const cab_type *t,
                                const cab_ix *ix);

/* ---- lower_root.c: reductions, contractions, windows ---- */
/* f32 for narrower floats, else the type itself. */
cab_dtype cab_lower_acc_type(cab_dtype t);
const cab_expr *cab_lower_reduce(cab_kernel *k, cab_node *n, const cab_ix *ix);
const cab_expr *cab_lower_argreduce(cab_kernel *k, cab_node *n, const cab_ix *ix);
const cab_expr *cab_lower_dot(cab_kernel *k, cab_node *n, const cab_ix *ix);
const cab_expr *cab_lower_conv(cab_kernel *k, cab_node *n, const cab_ix *ix);
const cab_expr *cab_lower_window(cab_kernel *k, cab_node *n, const cab_ix *ix);

/* Zeroes stored around the operand of a convolution or of wino_in make a guard
 * needless. */
bool cab_halo_covers(cab_kernel *k, const cab_node *n, int axis);

/* ---- lower_wino.c ---- */
void cab_lower_wino_in(cab_kernel *k, cab_value *v, const cab_place *to);
/* v: what the group of a wino_out gives. */
void cab_lower_wino_out(cab_kernel *k, cab_value *v, const cab_place *to);
/* The wino_out in a group, or n itself when it is one; NULL. */
const cab_node *cab_wino_out_of(const cab_lower *l, const cab_node *n);

/* ---- lower_serial.c ---- */
/* One attempt to write v, the result of a scan or a scatter, to a place; of a
 * scatter, only the updates: the place holds the operand. */
void cab_lower_scan(cab_kernel *k, cab_value *v, const cab_place *to);
void cab_lower_scatter(cab_kernel *k, cab_value *v, const cab_place *to);

/* ---- lower_launch.c ---- */
/* One Spec that writes value v to a place, as a step.  group > 0: computes the
 * members of the group; else the node alone (NULL: v is stored, a copy).
 * False with *why when it cannot be one Spec (only->group stays lowerable
 * node by node). */
bool cab_lower_launch(cab_lower *l, cab_value *v, int group, const cab_node *only,
                      const cab_place *to, const char **why);
/* After the launch of n's kernel to that place: where that is as good for few
 * rows, a second kernel that reads b of its product in place, and the choice
 * between the two ways, by the rows of a run. */
void cab_lower_also_direct(cab_lower *l, cab_node *n, const cab_place *to);
/* The same for a scan, a scatter or a wino_in, and for the group of a wino_out
 * whose result is v. */
bool cab_lower_serial(cab_lower *l, cab_node *n, const cab_place *to, const char **why);
bool cab_lower_wino(cab_lower *l, cab_value *v, const cab_place *to, const char **why);

#endif
