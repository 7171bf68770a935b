/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wino.h - the matrices of F(4x4, 3x3): 4x4 results of a 3x3 correlation from
 * 36 products (Lavin and Gray, "Fast Algorithms for Convolutional Neural
 * Networks", 2015; points 0, 1, -1, 2, -2, infinity).
 */
#ifndef CAB_IR_WINO_H
#define CAB_IR_WINO_H

enum { CAB_WINO_IN = 6, CAB_WINO_OUT = 4, CAB_WINO_PRODUCTS = 36 };

static const double cab_wino_bt[6][6] = {
    { 4, 0, -5, 0, 1, 0 },  { 0, -4, -4, 1, 1, 0 }, { 0, 4, -4, -1, 1, 0 },
    { 0, -2, -1, 2, 1, 0 }, { 0, 2, -1, -2, 1, 0 }, { 0, 4, 0, -5, 0, 1 },
};
static const double cab_wino_at[4][6] = {
    { 1, 1, 1, 1, 1, 0 }, { 0, 1, -1, 2, -2, 0 }, { 0, 1, 1, 4, 4, 0 }, { 0, 1, -1, 8, -8, 1 },
};
static const double cab_wino_g[6][3] = {
    { 1. / 4, 0, 0 },            { -1. / 6, -1. / 6, -1. / 6 }, { -1. / 6, 1. / 6, -1. / 6 },
    { 1. / 24, 1. / 12, 1. / 6 }, { 1. / 24, -1. / 12, 1. / 6 }, { 0, 0, 1 },
};

#endif
