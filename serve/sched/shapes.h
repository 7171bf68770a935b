/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shapes.h - what is known of a model's inputs and of the shapes it was called
 * with: whether they fit, what a run of them needs, how long it took.
 *
 * find and add are called under one lock; the rest by any thread.
 */
#ifndef CAB_SERVE_SHAPES_H
#define CAB_SERVE_SHAPES_H
#include <stdbool.h>
#include "include/cab_rt.h"

enum { CAB_SHAPES = 256, CAB_SHAPE_WAYS = 4 };

/* The inputs of a run: extents of every input. */
typedef struct cab_shape {
    uint64_t hash, stamp;      /* stamp 0: empty */
    int64_t *dims;             /* of all inputs, one after another */
    uint64_t intermediate, outputs;    /* bytes a run needs */
    uint64_t *output_bytes;    /* per output, once one has run */
    bool known;                /* output_bytes are, and no data decides them */
    int64_t run_ns;            /* moving average; 0: has not run */
} cab_shape;

typedef struct cab_shapes {
    cab_model *model;
    bool by_rows;              /* the first axis of all inputs and outputs counts rows */
    int n_inputs, n_outputs, n_dims;
    cab_tensor_info *inputs;
    uint64_t stamp;
    cab_shape e[CAB_SHAPES];
    void *tables;
} cab_shapes;

/* The model lives as long.  by_rows: refused when some first axis is fixed. */
int cab_shapes_init(cab_shapes *t, cab_model *m, bool by_rows, cab_error *e);
void cab_shapes_fini(cab_shapes *t);
/* Whether the inputs fit the model, each for itself (types, ranks, fixed extents,
 * bytes); *key: of all extents but the rows.  Rows 1 unless by_rows. */
int cab_shapes_check(const cab_shapes *t, const cab_tensor_view *inputs, int64_t *rows,
                     uint64_t *key, cab_error *e);
/* Equal extents, rows aside. */
bool cab_shapes_same(const cab_shapes *t, const cab_tensor_view *a, const cab_tensor_view *b);
/* NULL: not seen, or forgotten.  The pointer is good until the next add. */
cab_shape *cab_shapes_find(cab_shapes *t, const cab_tensor_view *inputs, int64_t rows, uint64_t key);
/* In the place of the one not used for longest. */
cab_shape *cab_shapes_add(cab_shapes *t, const cab_tensor_view *inputs, int64_t rows, uint64_t key,
                          const cab_memory *need);
/* What a run of so many rows needs; whether the model takes these extents together. */
int cab_shapes_estimate(const cab_shapes *t, const cab_tensor_view *inputs, int64_t rows,
                        cab_memory *need, cab_error *e);
/* Bytes of inputs of so many rows. */
uint64_t cab_shapes_input_bytes(const cab_shapes *t, const cab_tensor_view *inputs, int64_t rows);

#endif
