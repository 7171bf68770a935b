/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wino.c - the matrices of F(m, r) and the geometry of tiles.
 *
 * The algorithm of Toom and Cook, transposed as in Winograd, "Arithmetic
 * Complexity of Computations" (1980), and Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks" (2015): a product of polynomials is known from
 * its values at n points, of which one is infinity.  The points are 0 and pairs
 * of a power of two and its negative, whose powers are exact and small.
 */
#include "ir/ir_int.h"
#include "ir/wino.h"

static const double points[CAB_WINO_LINE - 1] = { 0, 1, -1, 2, -2, 0.5, -0.5 };

/* p *= x - root; the coefficients of p from x^0 on, above `degree` zeroes. */
static void times_root(double *p, int degree, double root)
{
    for (int i = degree + 1; i > 0; i--)
        p[i] = p[i - 1] - root * p[i];
    p[0] *= -root;
}

/* Row `skip` of bt: the product of x - point over the finite points but that. */
static void root_product(double *p, int n, int skip)
{
    int degree = 0;

    p[0] = 1;
    for (int i = 0; i < n - 1; i++)
        if (i != skip)
            times_root(p, degree++, points[i]);
}

static void make_axis(cab_wino_axis *w, int m, int r)
{
    int n = m + r - 1, last = n - 1;

    *w = (cab_wino_axis){ .m = m, .r = r, .n = n };
    for (int j = 0; j < n; j++)
        root_product(w->bt[j], n, j);
    for (int j = 0; j < last; j++) {
        double norm = 1, power = 1;

        for (int i = 0; i < last; i++)
            norm *= i == j ? 1 : points[j] - points[i];
        for (int i = 0; i < n; i++, power *= points[j]) {
            if (i < m)
                w->at[i][j] = power;
            if (i < r)
                w->g[j][i] = power / norm;
        }
    }
    w->at[m - 1][last] = 1;
    w->g[last][r - 1] = 1;
}

bool cab_wino_make(cab_wino *w, int n_axes, const int64_t *tile, const int64_t *kernel)
{
    w->n_axes = n_axes;
    w->products = w->out = 1;
    if (n_axes < 1 || n_axes > CAB_WINO_AXES)
        return false;
    for (int i = 0; i < CAB_WINO_AXES; i++) {
        int64_t m = i < n_axes ? tile[i] : 1, r = i < n_axes ? kernel[i] : 1;

        if (m < 1 || r < 1 || m > CAB_WINO_LINE || r > CAB_WINO_LINE || m + r - 1 > CAB_WINO_LINE)
            return false;
        make_axis(&w->axis[i], (int)m, (int)r);
        w->products *= w->axis[i].n;
        w->out *= w->axis[i].m;
    }
    return w->products <= CAB_WINO_TILE;
}

bool cab_wino_of(const cab_node *n, cab_wino *w)
{
    const int64_t *tile, *kernel;
    int64_t n_axes = cab_attr_ints(n, "tile", &tile);

    return n_axes == cab_attr_ints(n, "kernel", &kernel) && n_axes <= CAB_WINO_AXES &&
           cab_wino_make(w, (int)n_axes, tile, kernel);
}

const cab_dim *cab_wino_tiles(cab_dims *d, const cab_wino *w, int i, const cab_dim *results)
{
    return i < w->n_axes ? cab_dim_ceildiv(d, results, cab_dim_const(d, w->axis[i].m))
                         : cab_dim_const(d, 1);
}

const cab_dim *cab_wino_results(cab_dims *d, const cab_node *wino_in, const cab_wino *w, int i)
{
    const int64_t *lo, *hi;

    if (i >= w->n_axes)
        return cab_dim_const(d, 1);
    cab_attr_ints(wino_in, "pads_lo", &lo);
    cab_attr_ints(wino_in, "pads_hi", &hi);
    return cab_dim_add(d, wino_in->in[0]->type.dims[i + 2],
                       cab_dim_const(d, lo[i] + hi[i] + 1 - w->axis[i].r));
}

void cab_wino_both(const double (*a)[CAB_WINO_LINE], int rows_a, int cols_a,
                   const double (*b)[CAB_WINO_LINE], int rows_b, int cols_b,
                   const double *x, double *y)
{
    double t[CAB_WINO_LINE * CAB_WINO_LINE];

    for (int i = 0; i < rows_a; i++)
        for (int q = 0; q < cols_b; q++) {
            double sum = 0;

            for (int p = 0; p < cols_a; p++)
                sum += a[i][p] * x[p * cols_b + q];
            t[i * cols_b + q] = sum;
        }
    for (int i = 0; i < rows_a; i++)
        for (int j = 0; j < rows_b; j++) {
            double sum = 0;

            for (int q = 0; q < cols_b; q++)
                sum += t[i * cols_b + q] * b[j][q];
            y[i * rows_b + j] = sum;
        }
}
