/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_wino.c - the reference meaning of wino_in and wino_out, in double.
 */
#include "ir/eval_int.h"
#include "ir/wino.h"

/* y = m x m^T of an r x 6 matrix and a 6 x 6 one. */
static void both_sides(const double *m, int r, double x[6][6], double y[6][6])
{
    double t[6][6];
    for (int i = 0; i < r; i++)
        for (int q = 0; q < 6; q++) {
            t[i][q] = 0;
            for (int p = 0; p < 6; p++)
                t[i][q] += m[i * 6 + p] * x[p][q];
        }
    for (int i = 0; i < r; i++)
        for (int j = 0; j < r; j++) {
            y[i][j] = 0;
            for (int q = 0; q < 6; q++)
                y[i][j] += t[i][q] * m[j * 6 + q];
        }
}

static double at(const cab_tensor *x, int64_t n, int64_t c, int64_t h, int64_t w)
{
    if (h < 0 || h >= x->dims[2] || w < 0 || w >= x->dims[3])
        return 0;
    return cab_scalar_load(x->dtype, x->data,
                           (uint64_t)(((n * x->dims[1] + c) * x->dims[2] + h) * x->dims[3] + w)).f;
}

cab_status cab_eval_op_wino_in(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    const int64_t *pads;
    int64_t t[2], channels = x->dims[1], tiles;
    CAB_TRY(cab_eval_ints(e, "pads_lo", 2, &pads));
    CAB_TRY(cab_eval_dims(e, "dims", 2, t, NULL));
    tiles = x->dims[0] * t[0] * t[1];
    CAB_TRY(cab_eval_out(e, 0, x->dtype, 3, (int64_t[]){ CAB_WINO_PRODUCTS, tiles, channels }));
    for (int64_t i = 0; i < tiles; i++)
        for (int64_t c = 0; c < channels; c++) {
            int64_t n = i / (t[0] * t[1]), th = i / t[1] % t[0], tw = i % t[1];
            double patch[6][6], v[6][6];
            for (int p = 0; p < 6; p++)
                for (int q = 0; q < 6; q++)
                    patch[p][q] = at(x, n, c, 4 * th - pads[0] + p, 4 * tw - pads[1] + q);
            both_sides(cab_wino_bt[0], 6, patch, v);
            for (int k = 0; k < 36; k++)
                cab_scalar_store(x->dtype, e->out[0].data, (uint64_t)((k * tiles + i) * channels + c),
                                 (cab_scalar){ .f = v[k / 6][k % 6] });
        }
    return CAB_OK;
}

cab_status cab_eval_op_wino_out(cab_eval *e)
{
    const cab_tensor *m = e->in[0];
    int64_t d[3], channels = m->dims[2], tiles = m->dims[1];
    CAB_TRY(cab_eval_dims(e, "dims", 3, d, NULL));
    CAB_TRY(cab_eval_out(e, 0, m->dtype, 4, (int64_t[]){ d[0], channels, d[1], d[2] }));
    int64_t th = (d[1] + 3) / 4, tw = (d[2] + 3) / 4;
    for (int64_t i = 0; i < tiles; i++)
        for (int64_t c = 0; c < channels; c++) {
            double x[6][6], y[6][6];
            for (int k = 0; k < 36; k++)
                x[k / 6][k % 6] = cab_scalar_load(m->dtype, m->data,
                                                  (uint64_t)((k * tiles + i) * channels + c)).f;
            both_sides(cab_wino_at[0], 4, x, y);
            for (int k = 0; k < 16; k++) {
                int64_t n = i / (th * tw), h = i / tw % th * 4 + k / 4, w = i % tw * 4 + k % 4;
                if (h < d[1] && w < d[2])
                    cab_scalar_store(m->dtype, e->out[0].data,
                                     (uint64_t)(((n * channels + c) * d[1] + h) * d[2] + w),
                                     (cab_scalar){ .f = y[k / 4][k % 4] });
            }
        }
    return CAB_OK;
}
