/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer.h - for benchmarks and tests of machine code: one layer as the compiler makes it, its kernels
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

/* Texts: a product whose second factor is a constant or not, a convolution (or a
 * pair of 1x1) with bias and relu, padded by half a kernel. */
const char *layer_product_text(cab_arena *a, int64_t m, int64_t n, int64_t k, bool constant);
const char *layer_conv_text(cab_arena *a, int64_t h, int64_t c, int64_t o, int64_t kernel,
                            int64_t stride, int64_t group);
const char *layer_pair_text(cab_arena *a, int64_t h, int64_t c, int64_t o);
/* Its program alone: no kernels, no memory. */
cab_status layer_lower(cab_arena *a, const char *text, bool exact, layer *out, cab_diag *d);
bool layer_is_timed(const cab_step *s);
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
