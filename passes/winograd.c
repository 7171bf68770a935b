/* SPDX-License-Identifier: Apache-2.0 */
/*
 * winograd.c - the pass that computes 3x3 convolutions by F(4x4, 3x3).
 *
 * A convolution of stride 1 with constant weights becomes tiles (wino_in), 36
 * products over the channels (one dot with a batch of 36) and results
 * (wino_out); the weights are transformed here, in double.  It needs a quarter
 * of the multiplications, and more memory traffic: a cost model decides per
 * layer.  Rounding differs from the direct form, so every layer is tried on
 * seeded values first, and --exact leaves the pass out.
 */
#include "ir/wino.h"
#include "passes/pass_int.h"
#include <math.h>
#include <string.h>

/* Of the machine, in units of one multiply-add's time: a byte to and from the
 * caches, a byte of weights from further away. */
#define BYTE_NEAR 1.6
#define BYTE_FAR 3.5
#define LIKELY_EXTENT 64       /* of a spatial extent that nothing is known of */
/* Largest error against the direct form, relative to the largest result. */
#define WORST_ERROR 2e-5

typedef struct layer {
    cab_node *n;
    const float *w;            /* [O, C, 3, 3], maybe unaligned */
    int64_t c, o, pads[2];
    const cab_dim *dims[3];    /* N, H, W of the result */
} layer;

static bool all_are(const cab_node *n, const char *name, int64_t v)
{
    const int64_t *x;
    int64_t k = cab_attr_ints(n, name, &x);

    for (int64_t i = 0; i < k; i++)
        if (x[i] != v)
            return false;
    return k == 2;
}

static bool fits(cab_node *n, layer *l)
{
    const cab_type *x, *w, *y;
    cab_node *weights;
    const int64_t *pads;

    if (n->op->id != CAB_OP_conv)
        return false;
    x = &n->in[0]->type;
    w = &n->in[1]->type;
    y = &n->out[0]->type;
    weights = cab_const_node(n->in[1]);
    if (x->rank != 4 || !weights || x->dtype != CAB_DT_f32 ||
        y->dtype != CAB_DT_f32 || w->dtype != CAB_DT_f32 || cab_attr_int(n, "group") != 1 ||
        !all_are(n, "strides", 1) || !all_are(n, "dilations", 1) || !cab_dim_is(w->dims[2], 3) ||
        !cab_dim_is(w->dims[3], 3) || !cab_dim_is_const(x->dims[1]))
        return false;
    cab_attr_ints(n, "pads_lo", &pads);
    *l = (layer){ .n = n, .c = w->dims[1]->value, .o = w->dims[0]->value,
                  .pads = { pads[0], pads[1] },
                  .dims = { y->dims[0], y->dims[2], y->dims[3] } };
    l->w = cab_attr_find(weights, "value")->u.tensor->blob->data;
    return true;
}

/* ---- is it worth it? ---- */
/* Extents that a caller offers do not count: an artifact and a JIT of one model
 * give the same bytes. */
static double extent(const cab_dim *x, double otherwise)
{
    return cab_dim_is_const(x) ? (double)x->value : otherwise;
}

static bool pays(const layer *l)
{
    double n = extent(l->dims[0], 1), h = extent(l->dims[1], LIKELY_EXTENT);
    double w = extent(l->dims[2], LIKELY_EXTENT), c = (double)l->c, o = (double)l->o;
    double tiles = n * ceil(h / 4) * ceil(w / 4), points = n * h * w;
    double direct = 9 * c * o * points + 4 * 9 * c * o * BYTE_FAR;
    double products = 36 * tiles * c * o * (tiles < 16 ? 1.5 : 1.15);
    double near = 4 * (points * (c + o) + 2 * 36 * tiles * (c + o));

    return c >= 16 && o >= 16 && h >= 6 && w >= 6 &&
           products + near * BYTE_NEAR + 4 * 36 * c * o * BYTE_FAR < 0.9 * direct;
}

/* ---- weights ---- */
static float weight(const layer *l, int64_t o, int64_t c, int k)
{
    float v;

    memcpy(&v, (const char *)l->w + ((size_t)(o * l->c + c) * 9 + (size_t)k) * sizeof v, sizeof v);
    return v;
}

/* u = G w G^T of one 3x3 filter. */
static void transform(const layer *l, int64_t o, int64_t c, double u[6][6])
{
    double t[6][3];

    for (int i = 0; i < 6; i++)
        for (int q = 0; q < 3; q++) {
            t[i][q] = 0;
            for (int p = 0; p < 3; p++)
                t[i][q] += cab_wino_g[i][p] * (double)weight(l, o, c, p * 3 + q);
        }
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            u[i][j] = 0;
            for (int q = 0; q < 3; q++)
                u[i][j] += t[i][q] * cab_wino_g[j][q];
        }
}

/* [36, C, O], some outputs at a time: whole lines of cache are written. */
enum { OUTPUTS = 16 };

static void transform_some(const layer *l, int64_t first, int64_t c, float *u)
{
    double one[OUTPUTS][6][6];
    int64_t n = l->o - first < OUTPUTS ? l->o - first : OUTPUTS;

    for (int64_t i = 0; i < n; i++)
        transform(l, first + i, c, one[i]);
    for (int k = 0; k < 36; k++)
        for (int64_t i = 0; i < n; i++)
            u[(k * l->c + c) * l->o + first + i] = (float)one[i][k / 6][k % 6];
}

static cab_value *weights(cab_graph *g, const layer *l)
{
    const cab_type t = cab_type_static(g, CAB_DT_f32, 3, (int64_t[]){ 36, l->c, l->o });
    size_t n = (size_t)(36 * l->c * l->o);
    float *u = cab_alloc(g->arena, n * sizeof *u);

    for (int64_t o = 0; o < l->o; o += OUTPUTS)
        for (int64_t c = 0; c < l->c; c++)
            transform_some(l, o, c, u);
    return cab_const_blob(g, &t, u, n * sizeof *u, l->n);
}

/* ---- the trial ---- */
enum { TRIAL_OUTPUTS = 4 };

/* One tile of seeded values through all channels, as f32 code computes it;
 * err: the largest difference to the direct sum in double, top: the largest
 * result. */
static void try_output(const layer *l, const float *x, int64_t o, double *err, double *top)
{
    float m[6][6] = { { 0 } };

    for (int64_t c = 0; c < l->c; c++) {
        const float *d = x + c * 36;
        float t[6][6], v;
        double u[6][6];

        transform(l, o, c, u);
        for (int i = 0; i < 6; i++)
            for (int q = 0; q < 6; q++) {
                t[i][q] = 0;
                for (int p = 0; p < 6; p++)
                    t[i][q] += (float)cab_wino_bt[i][p] * d[p * 6 + q];
            }
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 6; j++) {
                v = 0;
                for (int q = 0; q < 6; q++)
                    v += t[i][q] * (float)cab_wino_bt[j][q];
                m[i][j] += v * (float)u[i][j];
            }
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            double sum = 0;
            float y = 0;

            for (int p = 0; p < 6; p++)
                for (int q = 0; q < 6; q++)
                    y += (float)cab_wino_at[i][p] * m[p][q] * (float)cab_wino_at[j][q];
            for (int64_t c = 0; c < l->c; c++)
                for (int k = 0; k < 9; k++)
                    sum += (double)weight(l, o, c, k) *
                           (double)x[c * 36 + (i + k / 3) * 6 + j + k % 3];
            *err = fmax(*err, fabs((double)y - sum));
            *top = fmax(*top, fabs(sum));
        }
}

static bool accurate(cab_arena *tmp, const layer *l)
{
    float *x = CAB_NEW_N(tmp, float, 36 * l->c);
    double err = 0, top = 0;
    cab_rng r;

    cab_rng_seed(&r, 1);
    for (int64_t i = 0; i < 36 * l->c; i++)
        x[i] = (float)cab_rng_f64(&r, -1, 1);
    for (int64_t k = 0; k < TRIAL_OUTPUTS; k++)
        try_output(l, x, k * (l->o - 1) / (TRIAL_OUTPUTS - 1), &err, &top);
    return err <= WORST_ERROR * top;
}

/* ---- the rewrite ---- */
static cab_status rewrite(cab_graph *g, cab_pass_ctx *c, const layer *l)
{
    static const int64_t batch = 0, contract_a = 2, contract_b = 1;
    cab_builder b = cab_builder_at(g, l->n, c->diag);
    const cab_dim *four = cab_dim_const(g->dims, 4), *tiles[2];
    cab_value *in[2] = { l->n->in[0], NULL }, *y;
    const char *name = l->n->out[0]->name;

    for (int i = 0; i < 2; i++)
        tiles[i] = cab_dim_ceildiv(g->dims, l->dims[i + 1], four);
    cab_attr prepare[] = { cab_a_ints("pads_lo", l->pads, 2), cab_a_dims("dims", tiles, 2) };
    cab_attr product[] = { cab_a_ints("a_batch", &batch, 1), cab_a_ints("b_batch", &batch, 1),
                           cab_a_ints("a_contract", &contract_a, 1),
                           cab_a_ints("b_contract", &contract_b, 1) };
    cab_attr finish = cab_a_dims("dims", l->dims, 3);
    in[0] = cab_build(&b, CAB_OP_wino_in, 1, in, 2, prepare);
    in[1] = weights(g, l);
    in[0] = b.status == CAB_OK ? cab_build(&b, CAB_OP_dot, 2, in, 4, product) : NULL;
    y = b.status == CAB_OK ? cab_build(&b, CAB_OP_wino_out, 1, in, 1, &finish) : NULL;
    if (!y)
        return b.status;
    if (name) {
        cab_value_set_name(g, l->n->out[0], NULL);
        cab_value_set_name(g, y, name);
    }
    cab_value_replace(g, l->n->out[0], y);
    cab_erase_dead(l->n);
    c->n_changes++;
    return CAB_OK;
}

cab_status cab_pass_winograd(cab_graph *g, cab_pass_ctx *c)
{
    for (cab_node *n = g->first, *next; n; n = next) {
        layer l;

        next = n->next;
        if (c->o->exact || !fits(n, &l) || !pays(&l) || !accurate(c->scratch, &l))
            continue;
        CAB_TRY(cab_cancel_check(&c->o->cancel, c->diag));
        CAB_TRY(rewrite(g, c, &l));
    }
    return CAB_OK;
}
