/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_int.h - the state of one kernel being generated.
 *
 * There is one generator: a loop nest over the Spec's axes whose innermost
 * body evaluates a small tile of points at once.  A tile is `rows` steps of
 * one parallel axis times `cols` vectors of `lanes` steps of another (or, for
 * row reductions, `cols` vectors along a reduction axis).  The naive kernel is
 * the tile of one point; map, row reduction, window and contraction differ
 * only in which axes the Sched picked, in loop order and in packed operands.
 *   gen.c       entry points, parameters, tasks
 *   gen_nest.c  loops over the parallel axes, tiles and their ragged ends
 *   gen_red.c   loops over the stages' own axes, reductions
 *   gen_expr.c  one value at the current point: expressions, loads, stores
 *   gen_ahead.c what is asked for before it is needed
 *   gen_turn.c  tiles of maps that move elements from axis to axis
 *   gen_window.c  taps of windows that meet zeroes alone
 *   gen_contract.c  recognising sums of products; packed operands
 */
#ifndef CAB_CODEGEN_GEN_INT_H
#define CAB_CODEGEN_GEN_INT_H
#include "codegen/gen.h"

enum {
    CAB_GEN_TILE = 64,         /* most points x vectors of a tile */
    CAB_GEN_LEVELS = CAB_SPEC_AXES
};

/* Where an axis stands: base + off, plus the lane number on the vector axis. */
typedef struct cab_gen_axis { cab_kv base; int64_t off; } cab_gen_axis;

/* An affine function whose value at the axes' bases is kept up to date, so
 * that each loop adds its own term once.  packed: the address in a packed
 * operand, where the column axis counts panels and columns of a panel. */
typedef struct cab_gen_affine {
    const cab_affine *f;
    bool packed;
    cab_kv sum;
} cab_gen_affine;

/* How a kernel walks the columns of a packed operand: `cols` next to each
 * other in a panel, panels `stride` elements apart.  Vectors never cross from
 * one panel to the next, tiles may. */
typedef struct cab_gen_panels {
    int axis;
    int64_t cols, stride;
    bool more;                 /* there are several tiles of columns */
    bool whole;                /* every tile starts with a panel, */
    bool inside;               /* or ends in the panel it starts in, */
    cab_kv right[CAB_KIR_MAX_LANES]; /* or element n to the right of its first is that far */
} cab_gen_panels;

/* What the current tile fetches for later ones of a packed operand: per step
 * `lines`, `apart` elements from each other, at + disp from where it stands. */
typedef struct cab_gen_ahead {
    int lines, level;
    int64_t disp, apart;
    cab_kv at;
} cab_gen_ahead;

/* A load that may be used again at the same address. */
typedef struct cab_gen_load { cab_kv ptr, index, mask, value; int lanes; int64_t disp; } cab_gen_load;

/* Parallel axes in loop order; the first ones may be split over tasks. */
typedef struct cab_gen_level {
    int axis;
    int64_t block;             /* steps per task; 0 = every task runs all */
} cab_gen_level;

typedef struct cab_gen {
    cab_arena *arena;
    const cab_spec *s;
    const cab_sched *sched;
    const cab_target *target;
    cab_dims *dims;
    cab_diag *diag;
    cab_kir *k;
    bool masks;                /* ragged vectors by masks (else scalar loops) */
    CAB_VEC(const cab_dim *) params;
    cab_kv *bufs;              /* per operand */
    cab_gen_axis at[CAB_SPEC_AXES];
    int n_affines;
    cab_gen_affine *affines;   /* per view: address, then its guards */
    int *view_affine;          /* view -> its address in affines, and */
    int64_t *view_offset;      /* the elements behind it: views of one kind share an address */
    /* the tile */
    int lanes, vec;            /* vec: axis along the lanes, -1 = scalar */
    cab_kv tail;               /* lanes of the last column that exist, -1 = all */
    cab_kv mask;               /* the same for the point being evaluated */
    cab_kv point;              /* does that point exist on any lane; -1 = yes */
    int rows, cols, row, col;  /* row, col: the point being evaluated */
    cab_kv from_left, to_left; /* turned tiles: steps of vec_axis and n_axis that exist, -1 = all */
    uint64_t skipped;          /* rows of the tile that the current tap meets nothing for */
    bool rest;                 /* the tile is one of the bodies for what whole tiles leave */
    cab_kv (*results)[CAB_GEN_TILE]; /* per stage and point of the tile */
    CAB_VEC(cab_gen_load) loads;
    cab_kv sums;               /* row_stores: the sums of a tile, on the stack; -1 = none */
    size_t loads_from;         /* older entries belong to another tile shape */
    int n_levels;
    cab_gen_level level[CAB_GEN_LEVELS];
    cab_kv lo[CAB_GEN_LEVELS], hi[CAB_GEN_LEVELS]; /* this task's range of each level */
    int stage;                 /* being generated */
    int staged_by, staged_view; /* values of that stage stay in that view; -1 = none */
    cab_affine packed;         /* address of the packed operand, columns of a panel */
    cab_gen_panels panels;
    cab_gen_ahead ahead;
    uint32_t row_axes;         /* of a product */
} cab_gen;

/* ---- gen_expr.c ---- */
cab_kv cab_gen_dim(cab_gen *g, const cab_dim *x);
/* Value of e at the current point: lanes 1 when it is the same on all lanes. */
cab_kv cab_gen_value(cab_gen *g, const cab_expr *e);
void cab_gen_store(cab_gen *g, int view, cab_store_mode mode, cab_kv value);
/* Asks for the line of the view at the current point, unless that depends on data or guards. */
void cab_gen_prefetch(cab_gen *g, int view, int level);
/* Index of the axis as i64: a vector on the vector axis. */
cab_kv cab_gen_index(cab_gen *g, int axis);
/* Type values of dt are computed in. */
cab_dtype cab_gen_type(cab_dtype dt);
cab_kv cab_gen_const(cab_gen *g, cab_dtype dt, double f, int64_t i);
/* Axes the view's address, guards or loaded indices depend on. */
uint32_t cab_gen_view_axes(const cab_spec *s, int view);
uint32_t cab_gen_expr_axes(const cab_spec *s, const cab_expr *e);

/* ---- gen_nest.c ---- */
/* Puts the axis at `base` (a scalar i64) for everything generated until the
 * state is restored. */
void cab_gen_bind(cab_gen *g, int axis, cab_kv base);
/* hi - lo when that is constant. */
bool cab_gen_distance(const cab_gen *g, cab_kv lo, cab_kv hi, int64_t *out);
/* Lanes below hi - at, for at most a tile's steps of difference. */
cab_kv cab_gen_tail(cab_gen *g, int lanes, cab_kv at, cab_kv hi);
/* Moves to one point of the tile. */
void cab_gen_point(cab_gen *g, int row, int col);
/* All levels and stages, inside the current task. */
void cab_gen_nest(cab_gen *g, int level);

/* ---- gen_red.c ---- */
/* Loops over the stage's axes for all points of the tile. */
void cab_gen_stage(cab_gen *g, int stage);
/* Is there a reduction along that axis of an expensive value which the last
 * stage stores in some form?  Then the row of values can wait in that stage's
 * target: *by computes them, *view is the target. */
bool cab_gen_find_staged(const cab_spec *s, int axis, int *by, int *view);

/* ---- gen_turn.c ---- */
/* Is the current tile one of vectors that are turned? */
bool cab_gen_turns(const cab_gen *g);
/* Can tiles have n steps of n_axis? */
bool cab_gen_turn_steps(int n, int lanes);
/* A STORE without axes, for such a tile. */
void cab_gen_turn(cab_gen *g, int stage);

/* What enclosing loops changed, to be put back. */
typedef struct cab_gen_state {
    cab_gen_axis at[CAB_SPEC_AXES];
    cab_kv *sums;
    int lanes, vec, rows, cols;
    cab_kv tail, mask, point, from_left, to_left;
    uint64_t skipped;
    size_t loads, loads_from;
} cab_gen_state;
cab_gen_state cab_gen_save(cab_gen *g);
void cab_gen_restore(cab_gen *g, const cab_gen_state *st);

/* ---- gen_ahead.c ---- */
/* Decides what the current tile of a product fetches of a packed operand for
 * later ones: all tiles of rows of a task fetch it together. */
void cab_gen_look_ahead(cab_gen *g);
/* That, where b is read for one step. */
void cab_gen_prefetch_panel(cab_gen *g, cab_kv ptr, cab_kv index);
/* Of a product: asks for what the stores of the tile will read. */
void cab_gen_prefetch_stores(cab_gen *g);

/* ---- gen_window.c ---- */
/* Taps of a window along one axis: step i and tap t meet element
 * first + stride * i + dilation * t of the operand, if it is one of extent. */
typedef struct cab_window {
    int axis;                  /* the parallel one */
    int64_t first, stride, dilation;
    const cab_dim *extent;
} cab_window;
/* Is that axis of a sum one of taps, some of which meet zeroes alone? */
bool cab_window_find(const cab_spec *s, const cab_stage *st, int tap, cab_window *out);
/* The part of all taps that meets zeroes; 0 when unknown. */
double cab_window_share(const cab_spec *s, const cab_window *w, int tap);
/* The taps that meet the operand where w->axis stands: lo to hi (none when hi <= lo). */
void cab_gen_window_taps(cab_gen *g, const cab_window *w, int tap, cab_kv *lo, cab_kv *hi);
/* Rows of the current tile for which the tap meets nothing, as far as that is known. */
uint64_t cab_gen_window_rows(const cab_gen *g, const cab_window *w, int64_t tap);
/* Do tiles at the border leave out rows of some taps? */
bool cab_gen_rows_at_border(const cab_gen *g);

/* ---- gen_contract.c ---- */
/* A sum of products: stage 0 is the sum over RED axes of a * b. */
typedef struct cab_contraction {
    int a, b;                  /* views */
    uint32_t batch, m, n, free, k; /* axes in both, a alone, b alone, neither; reduced */
} cab_contraction;
/* False when the Spec has another form.  a is the first factor. */
bool cab_contraction_find(const cab_spec *s, cab_contraction *out);
/* Exchanges the roles of a and b. */
void cab_contraction_swap(const cab_spec *s, cab_contraction *c);
/* The packed form of view b with columns n_axis (of either kind: the vector
 * axis of the kernel), the same for every target and tile; false when it
 * cannot be packed (being constant is the caller's knowledge). */
bool cab_contraction_pack(const cab_spec *s, const cab_contraction *c, int n_axis,
                          cab_pack *out);
/* Makes g read view b from its packed form; before anything is emitted. */
void cab_gen_use_packed(cab_gen *g, const cab_contraction *c, int n_axis, const cab_pack *p);

#endif
