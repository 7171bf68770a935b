/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wino.h - convolutions by tiles: F(m, r) gives m results of a correlation
 * with r taps from m + r - 1 products, along each spatial axis.
 */
#ifndef CAB_IR_WINO_H
#define CAB_IR_WINO_H
#include "ir/ir.h"

enum {
    CAB_WINO_AXES = 2,         /* spatial axes of a convolution by tiles */
    CAB_WINO_LINE = 8,         /* most products along an axis: n */
    CAB_WINO_TILE = 36,        /* most products of a tile */
};

/* y = at ((g w) * (bt x)) of x [n], w [r], y [m]; n = m + r - 1. */
typedef struct cab_wino_axis {
    int m, r, n;
    double bt[CAB_WINO_LINE][CAB_WINO_LINE], at[CAB_WINO_LINE][CAB_WINO_LINE];
    double g[CAB_WINO_LINE][CAB_WINO_LINE];
} cab_wino_axis;

/* A convolution of one spatial axis has F(1, 1) as its second. */
typedef struct cab_wino {
    cab_wino_axis axis[CAB_WINO_AXES];
    int n_axes;
    int products, out;         /* elements of a tile read, and given */
} cab_wino;

/* From m and r of each axis; false when they are too many or too large. */
bool cab_wino_make(cab_wino *w, int n_axes, const int64_t *tile, const int64_t *kernel);
/* Of a wino_in or wino_out. */
bool cab_wino_of(const cab_node *n, cab_wino *w);
/* Tiles along spatial axis i of that many results; 1 for an axis that is not. */
const cab_dim *cab_wino_tiles(cab_dims *d, const cab_wino *w, int i, const cab_dim *results);
/* Results of a wino_in's convolution along spatial axis i. */
const cab_dim *cab_wino_results(cab_dims *d, const cab_node *wino_in, const cab_wino *w, int i);
/* y = a x b^T, of an x of a's n columns and b's; a and b are matrices of w's axes. */
void cab_wino_both(const double (*a)[CAB_WINO_LINE], int rows_a, int cols_a,
                   const double (*b)[CAB_WINO_LINE], int rows_b, int cols_b,
                   const double *x, double *y);

#endif
