/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_gen.h - a random graph while it is made (graph_make.c, graph_flow.c).
 */
#ifndef CAB_TESTS_GRAPH_GEN_H
#define CAB_TESTS_GRAPH_GEN_H
#include "tests/fuzz/graph.h"

enum { MAX_VALUES = 80, N_DIMS = 6 };

typedef struct gen {
    fuzz_src *s;
    uint64_t seed;
    cab_graph *g;
    cab_builder b;
    cab_value *v[MAX_VALUES];
    int n, n_leaves;
    bool noisy[GRAPH_MAX_IDS];
    const cab_dim *dim[N_DIMS];
    int n_sizes, depth;        /* symbols of the run so far; graphs around this one */
} gen;

static const cab_dtset FLOATS = CAB_DTBIT(CAB_DT_f32) | CAB_DTBIT(CAB_DT_f64) |
                                CAB_DTBIT(CAB_DT_f16) | CAB_DTBIT(CAB_DT_bf16);
static const cab_dtset INTS =
    CAB_DTBIT(CAB_DT_i8) | CAB_DTBIT(CAB_DT_u8) | CAB_DTBIT(CAB_DT_i16) | CAB_DTBIT(CAB_DT_u16) |
    CAB_DTBIT(CAB_DT_i32) | CAB_DTBIT(CAB_DT_u32) | CAB_DTBIT(CAB_DT_i64) | CAB_DTBIT(CAB_DT_u64);
static const cab_dtset BOOL = CAB_DTBIT(CAB_DT_bool);

/* ---- graph_make.c ---- */
int gen_pick(gen *q, int n);
bool gen_coin(gen *q);
const cab_dim *gen_num(gen *q, int64_t v);
void gen_note(gen *q, const cab_node *n);
/* v joins the values to choose from, unless it is large. */
void gen_add(gen *q, cab_value *v);
cab_value *gen_build(gen *q, cab_op_id op, int n_in, cab_value **in, int n_attr,
                     const cab_attr *attr);
cab_value *gen_unary(gen *q, cab_op_id op, cab_value *x);
cab_value *gen_binary(gen *q, cab_op_id op, cab_value *x, cab_value *y);
cab_value *gen_reduce(gen *q, const char *op, cab_value *x, const int64_t *axes, int n, bool keep);
/* A value of the set, mostly a late one; exact: untouched by rounding. */
cab_value *gen_any(gen *q, cab_dtset set, bool exact);
/* An input or a constant; of a size the run decides, or in a body: a scalar
 * expanded. */
cab_value *gen_leaf(gen *q, cab_dtype dt, int rank, const cab_dim *const *dims, int64_t top);
cab_value *gen_step(gen *q);

/* ---- graph_flow.c: an item, a branch or a loop ---- */
cab_value *gen_flow(gen *q);

#endif
