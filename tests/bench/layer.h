/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer.h - for benchmarks: one layer as the compiler makes it, its kernels
 * called without the runtime around them.
 */
#ifndef CAB_TESTS_BENCH_LAYER_H
#define CAB_TESTS_BENCH_LAYER_H
#include "tests/kernel_run.h"

enum { LAYER_STEPS = 16, LAYER_BUFS = 12 };

typedef struct layer_step {
    kernel_fn f;
    void *bufs[LAYER_BUFS];
    int64_t tasks;
    bool timed;
    loaded code;
    const char *sched, *what;
} layer_step;

typedef struct layer {
    cab_arena *arena;
    cab_program *program;
    float **at;                /* memory of each buffer; NULL: not used yet */
    int n;
    layer_step step[LAYER_STEPS];
    const float *in, *w, *bias;    /* of the graph: inputs x, w or v, b; NULL: not there */
    float *out;
    uint64_t n_out;
    double flops, special, bytes;  /* of the timed steps, as cost.c counts */
} layer;

/* text: a graph of the standard's operators with one result.  Its inputs but x
 * and v become constants of seeded values.  Timed are the steps made from nodes named
 * layer (that is: not those before them, nor changes of layout). */
cab_status layer_make(cab_arena *a, const char *text, bool exact, const cab_target *t, layer *out,
                      cab_diag *d);
/* All steps, so that every timed one finds its operands. */
void layer_run(const layer *l);
void layer_run_timed(const layer *l);
/* What the first timed step reads, row-major, for free(); NULL: no such thing. */
float *layer_input(const layer *l);
void layer_free(layer *l);
/* Seeded values in [-0.5, 0.5), 64-byte aligned, for free(). */
float *layer_floats(uint64_t n);

#endif
