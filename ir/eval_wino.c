/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval_wino.c - the reference meaning of wino_in and wino_out, in double.
 */
#include "ir/eval_int.h"
#include "ir/wino.h"

/* Where a tile lies: its image, its place along both axes. */
typedef struct place { int64_t n, at[CAB_WINO_AXES]; } place;

static place place_of(int64_t tile, const int64_t *tiles)
{
    return (place){ tile / (tiles[0] * tiles[1]), { tile / tiles[1] % tiles[0], tile % tiles[1] } };
}

/* Extents of the spatial axes; 1 for the second of a convolution of one. */
static void extents(const cab_wino *w, const int64_t *dims, int64_t *out)
{
    for (int i = 0; i < CAB_WINO_AXES; i++)
        out[i] = i < w->n_axes ? dims[i] : 1;
}

static double element(const cab_tensor *x, const int64_t *size, int64_t n, int64_t c, int64_t h, int64_t w)
{
    if (h < 0 || h >= size[0] || w < 0 || w >= size[1])
        return 0;
    return cab_scalar_load(x->dtype, x->data,
                           (uint64_t)(((n * x->dims[1] + c) * size[0] + h) * size[1] + w)).f;
}

cab_status cab_eval_op_wino_in(cab_eval *e)
{
    const cab_tensor *x = e->in[0];
    const int64_t *lo, *hi;
    int64_t size[CAB_WINO_AXES], tiles[CAB_WINO_AXES], pad[CAB_WINO_AXES] = { 0, 0 }, n;
    cab_wino w;
    CAB_ASSERT(cab_wino_of(e->n, &w));
    CAB_TRY(cab_eval_ints(e, "pads_lo", w.n_axes, &lo));
    CAB_TRY(cab_eval_ints(e, "pads_hi", w.n_axes, &hi));
    extents(&w, x->dims + 2, size);
    n = x->dims[0];
    for (int i = 0; i < CAB_WINO_AXES; i++) {
        const cab_wino_axis *a = &w.axis[i];
        int64_t pads = i < w.n_axes ? lo[i] + hi[i] : 0;
        pad[i] = i < w.n_axes ? lo[i] : 0;
        tiles[i] = (size[i] + pads - a->r + a->m) / a->m;
        n *= tiles[i];
    }
    CAB_TRY(cab_eval_out(e, 0, x->dtype, 3, (int64_t[]){ w.products, n, x->dims[1] }));
    for (int64_t t = 0; t < n; t++)
        for (int64_t c = 0; c < x->dims[1]; c++) {
            place at = place_of(t, tiles);
            double patch[CAB_WINO_TILE], v[CAB_WINO_TILE];
            const cab_wino_axis *a = &w.axis[0], *b = &w.axis[1];
            for (int k = 0; k < w.products; k++)
                patch[k] = element(x, size, at.n, c, a->m * at.at[0] - pad[0] + k / b->n,
                                   b->m * at.at[1] - pad[1] + k % b->n);
            cab_wino_both(a->bt, a->n, a->n, b->bt, b->n, b->n, patch, v);
            for (int k = 0; k < w.products; k++)
                cab_scalar_store(x->dtype, e->out[0].data, (uint64_t)((k * n + t) * x->dims[1] + c),
                                 (cab_scalar){ .f = v[k] });
        }
    return CAB_OK;
}

cab_status cab_eval_op_wino_out(cab_eval *e)
{
    const cab_tensor *m = e->in[0];
    int64_t d[CAB_WINO_AXES + 1], out[CAB_WINO_AXES + 2], size[CAB_WINO_AXES], tiles[CAB_WINO_AXES];
    cab_wino w;
    CAB_ASSERT(cab_wino_of(e->n, &w));
    CAB_TRY(cab_eval_dims(e, "dims", w.n_axes + 1, d, NULL));
    out[0] = d[0];
    out[1] = m->dims[2];
    for (int i = 0; i < w.n_axes; i++)
        out[i + 2] = d[i + 1];
    CAB_TRY(cab_eval_out(e, 0, m->dtype, w.n_axes + 2, out));
    extents(&w, d + 1, size);
    for (int i = 0; i < CAB_WINO_AXES; i++)
        tiles[i] = (size[i] + w.axis[i].m - 1) / w.axis[i].m;
    for (int64_t t = 0; t < m->dims[1]; t++)
        for (int64_t c = 0; c < m->dims[2]; c++) {
            place at = place_of(t, tiles);
            double x[CAB_WINO_TILE], y[CAB_WINO_TILE];
            const cab_wino_axis *a = &w.axis[0], *b = &w.axis[1];
            for (int k = 0; k < w.products; k++)
                x[k] = cab_scalar_load(m->dtype, m->data,
                                       (uint64_t)((k * m->dims[1] + t) * m->dims[2] + c)).f;
            cab_wino_both(a->at, a->m, a->n, b->at, b->m, b->n, x, y);
            for (int k = 0; k < w.out; k++) {
                int64_t p = at.at[0] * a->m + k / b->m, q = at.at[1] * b->m + k % b->m;
                if (p < size[0] && q < size[1])
                    cab_scalar_store(m->dtype, e->out[0].data,
                                     (uint64_t)(((at.n * m->dims[2] + c) * size[0] + p) * size[1] + q),
                                     (cab_scalar){ .f = y[k] });
            }
        }
    return CAB_OK;
}
