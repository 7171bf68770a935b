/* SPDX-License-Identifier: Apache-2.0 */
/*
 * winograd.c - the pass that computes convolutions by tiles: F(m, r) along
 * each spatial axis (ir/wino.h).
 *
 * A convolution of stride 1 with constant weights becomes tiles (wino_in),
 * products over the channels (one dot with a batch of them) and results
 * (wino_out); the weights are transformed here, in double.  It needs a part of
 * the multiplications (F(4, 3) along two axes: a quarter), and more memory
 * traffic: a cost model decides per layer, and between sizes of tiles.
 * Rounding differs from the direct form, so every layer is tried on seeded
 * values first, and --exact leaves the pass out.
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

/* The results m of a tile that are tried for r taps along an axis. */
static const struct { int r, m; } forms[] = {
    { 1, 1 }, { 2, 4 }, { 2, 3 }, { 3, 6 }, { 3, 4 }, { 3, 2 }, { 4, 4 }, { 4, 3 },
    { 5, 4 }, { 5, 2 }, { 6, 3 }, { 7, 2 },
};
enum { N_FORMS = sizeof forms / sizeof *forms };

typedef struct layer {
    cab_node *n;
    const char *w;             /* [O, C, kernel] of f32, maybe unaligned */
    int64_t c, o, kernel[CAB_WINO_AXES], taps;
    const int64_t *pads_lo, *pads_hi;
    int n_axes;
    const cab_dim *const *dims;  /* [N, O, spatial] of the result */
} layer;

static bool all_are(const cab_node *n, const char *name, int64_t v)
{
    const int64_t *x;
    int64_t k = cab_attr_ints(n, name, &x);

    for (int64_t i = 0; i < k; i++)
        if (x[i] != v)
            return false;
    return true;
}

static bool fits(cab_node *n, layer *l)
{
    const cab_type *x, *w, *y;
    const cab_blob *weights;

    if (n->op->id != CAB_OP_conv)
        return false;
    x = &n->in[0]->type;
    w = &n->in[1]->type;
    y = &n->out[0]->type;
    weights = cab_const_node(n->in[1]) ? cab_value_blob(n->in[1]) : NULL;
    if (x->rank < 3 || x->rank > CAB_WINO_AXES + 2 || !weights || x->dtype != CAB_DT_f32 ||
        y->dtype != CAB_DT_f32 || w->dtype != CAB_DT_f32 || cab_attr_int(n, "group") != 1 ||
        !all_are(n, "strides", 1) || !all_are(n, "dilations", 1) || !cab_dim_is_const(x->dims[1]))
        return false;
    *l = (layer){ .n = n, .c = w->dims[1]->value, .o = w->dims[0]->value, .taps = 1,
                  .kernel = { 1, 1 }, .n_axes = x->rank - 2, .dims = y->dims };
    cab_attr_ints(n, "pads_lo", &l->pads_lo);
    cab_attr_ints(n, "pads_hi", &l->pads_hi);
    for (int i = 0; i < l->n_axes; i++)
        l->taps *= l->kernel[i] = w->dims[i + 2]->value;
    l->w = weights->data;
    return l->w != NULL;
}

/* ---- is it worth it? ---- */
/* Extents that a caller offers do not count: an artifact and a JIT of one model
 * give the same bytes. */
static double extent(const layer *l, int axis)
{
    const cab_dim *x = l->dims[axis ? axis + 1 : 0];

    return cab_dim_is_const(x) ? (double)x->value : axis ? LIKELY_EXTENT : 1;
}

static double points_of(const layer *l)
{
    double n = extent(l, 0);

    for (int i = 0; i < l->n_axes; i++)
        n *= extent(l, i + 1);
    return n;
}

static double direct_cost(const layer *l)
{
    return (double)(l->taps * l->c * l->o) * (points_of(l) + 4 * BYTE_FAR);
}

static double cost(const layer *l, const cab_wino *w)
{
    double tiles = extent(l, 0), c = (double)l->c, o = (double)l->o, p = w->products, near;

    for (int i = 0; i < l->n_axes; i++) {
        double x = extent(l, i + 1);

        if (w->axis[i].r > 1 && x < w->axis[i].m + 2)
            return INFINITY;
        tiles *= ceil(x / w->axis[i].m);
    }
    near = 4 * (points_of(l) * (c + o) + 2 * p * tiles * (c + o));
    return p * tiles * c * o * (tiles < 16 ? 1.5 : 1.15) + near * BYTE_NEAR + 4 * p * c * o * BYTE_FAR;
}

/* ---- weights ---- */
static double weight(const layer *l, int64_t o, int64_t c, int64_t k)
{
    float v;

    memcpy(&v, l->w + (size_t)((o * l->c + c) * l->taps + k) * sizeof v, sizeof v);
    return (double)v;
}

/* u = G w G^T of one filter. */
static void transform(const layer *l, const cab_wino *w, int64_t o, int64_t c, double *u)
{
    const cab_wino_axis *a = &w->axis[0], *b = &w->axis[1];
    double filter[CAB_WINO_LINE * CAB_WINO_LINE];

    for (int64_t k = 0; k < l->taps; k++)
        filter[k] = weight(l, o, c, k);
    cab_wino_both(a->g, a->n, a->r, b->g, b->n, b->r, filter, u);
}

/* Some outputs at a time: whole lines of cache are written. */
enum { OUTPUTS = 16 };

static void transform_some(const layer *l, const cab_wino *w, int64_t first, int64_t c, float *u)
{
    double one[OUTPUTS][CAB_WINO_TILE];
    int64_t n = l->o - first < OUTPUTS ? l->o - first : OUTPUTS;

    for (int64_t i = 0; i < n; i++)
        transform(l, w, first + i, c, one[i]);
    for (int k = 0; k < w->products; k++)
        for (int64_t i = 0; i < n; i++)
            u[(k * l->c + c) * l->o + first + i] = (float)one[i][k];
}

/* [products, C, O] */
static cab_value *weights(cab_graph *g, const layer *l, const cab_wino *w)
{
    const cab_type t = cab_type_static(g, CAB_DT_f32, 3, (int64_t[]){ w->products, l->c, l->o });
    size_t n = (size_t)(w->products * l->c * l->o);
    float *u = cab_alloc(g->arena, n * sizeof *u);

    for (int64_t o = 0; o < l->o; o += OUTPUTS)
        for (int64_t c = 0; c < l->c; c++)
            transform_some(l, w, o, c, u);
    return cab_const_blob(g, &t, u, n * sizeof *u, l->n);
}

/* ---- the trial ---- */
enum { TRIAL_OUTPUTS = 4 };

/* As cab_wino_both, as f32 code computes it. */
static void both_f32(const double (*a)[CAB_WINO_LINE], int rows_a, int cols_a,
                     const double (*b)[CAB_WINO_LINE], int rows_b, int cols_b, const float *x, float *y)
{
    float t[CAB_WINO_TILE];

    for (int i = 0; i < rows_a; i++)
        for (int q = 0; q < cols_b; q++) {
            float sum = 0;

            for (int p = 0; p < cols_a; p++)
                sum += (float)a[i][p] * x[p * cols_b + q];
            t[i * cols_b + q] = sum;
        }
    for (int i = 0; i < rows_a; i++)
        for (int j = 0; j < rows_b; j++) {
            float sum = 0;

            for (int q = 0; q < cols_b; q++)
                sum += t[i * cols_b + q] * (float)b[j][q];
            y[i * rows_b + j] = sum;
        }
}

/* Result i of a tile, the direct way. */
static double direct(const layer *l, const cab_wino *w, const float *x, int64_t o, int i)
{
    int across = w->axis[1].n, width = w->axis[1].r, p = i / w->axis[1].m, q = i % w->axis[1].m;
    double sum = 0;

    for (int64_t c = 0; c < l->c; c++)
        for (int k = 0; k < (int)l->taps; k++)
            sum += weight(l, o, c, k) *
                   (double)x[c * w->products + (p + k / width) * across + q + k % width];
    return sum;
}

/* One tile of seeded values through all channels; err: the largest difference
 * to the direct sum in double, top: the largest result. */
static void try_output(const layer *l, const cab_wino *w, const float *x, int64_t o, double *err,
                       double *top)
{
    const cab_wino_axis *a = &w->axis[0], *b = &w->axis[1];
    float m[CAB_WINO_TILE] = { 0 }, v[CAB_WINO_TILE], y[CAB_WINO_TILE];

    for (int64_t c = 0; c < l->c; c++) {
        double u[CAB_WINO_TILE];

        transform(l, w, o, c, u);
        both_f32(a->bt, a->n, a->n, b->bt, b->n, b->n, x + c * w->products, v);
        for (int i = 0; i < w->products; i++)
            m[i] += v[i] * (float)u[i];
    }
    both_f32(a->at, a->m, a->n, b->at, b->m, b->n, m, y);
    for (int i = 0; i < w->out; i++) {
        double sum = direct(l, w, x, o, i);

        *err = fmax(*err, fabs((double)y[i] - sum));
        *top = fmax(*top, fabs(sum));
    }
}

static bool accurate(cab_arena *tmp, const layer *l, const cab_wino *w)
{
    int64_t n = w->products * l->c;
    float *x = CAB_NEW_N(tmp, float, n);
    double err = 0, top = 0;
    cab_rng r;

    cab_rng_seed(&r, 1);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)cab_rng_f64(&r, -1, 1);
    for (int64_t k = 0; k < TRIAL_OUTPUTS; k++)
        try_output(l, w, x, k * (l->o - 1) / (TRIAL_OUTPUTS - 1), &err, &top);
    cab_log(4, "%s: error of F(%dx%d, %dx%d) %.2g of the largest", l->n->loc ? l->n->loc : "conv",
            w->axis[0].m, w->axis[1].m, w->axis[0].r, w->axis[1].r, err / top);
    return err <= WORST_ERROR * top;
}

/* ---- the choice ---- */
/* The cheapest tiles that pay, of those dearer than `above`: its cost, or
 * INFINITY. */
static double next_best(const layer *l, double above, cab_wino *best)
{
    double least = 0.9 * direct_cost(l), found = INFINITY;

    for (int i = 0; i < N_FORMS; i++)
        for (int j = 0; j < N_FORMS; j++) {
            int64_t tile[] = { forms[i].m, forms[j].m };
            cab_wino w;
            double x;

            if (forms[i].r != l->kernel[0] || forms[j].r != l->kernel[1] ||
                !cab_wino_make(&w, l->n_axes, tile, l->kernel))
                continue;
            x = cost(l, &w);
            if (x > above && x < least) {
                least = found = x;
                *best = w;
            }
        }
    return found;
}

static bool choose(cab_arena *tmp, const layer *l, cab_wino *w)
{
    if (l->c < 16 || l->o < 16 || l->taps < 2)
        return false;
    for (double x = 0; (x = next_best(l, x, w)) < INFINITY;)
        if (accurate(tmp, l, w))
            return true;
    return false;
}

/* ---- the rewrite ---- */
static cab_status rewrite(cab_graph *g, cab_pass_ctx *c, const layer *l, const cab_wino *w)
{
    static const int64_t batch = 0, contract_a = 2, contract_b = 1;
    cab_builder b = cab_builder_at(g, l->n, c->diag);
    const cab_dim *dims[CAB_WINO_AXES + 1] = { l->dims[0] };
    int64_t m[CAB_WINO_AXES];
    cab_value *in[2] = { l->n->in[0], NULL }, *y;
    const char *name = l->n->out[0]->name;

    for (int i = 0; i < l->n_axes; i++) {
        m[i] = w->axis[i].m;
        dims[i + 1] = l->dims[i + 2];
    }
    cab_attr tile = cab_a_ints("tile", m, l->n_axes), kernel = cab_a_ints("kernel", l->kernel, l->n_axes);
    cab_attr prepare[] = { tile, kernel, cab_a_ints("pads_lo", l->pads_lo, l->n_axes),
                           cab_a_ints("pads_hi", l->pads_hi, l->n_axes) };
    cab_attr product[] = { cab_a_ints("a_batch", &batch, 1), cab_a_ints("b_batch", &batch, 1),
                           cab_a_ints("a_contract", &contract_a, 1),
                           cab_a_ints("b_contract", &contract_b, 1) };
    cab_attr finish[] = { tile, kernel, cab_a_dims("dims", dims, l->n_axes + 1) };
    in[0] = cab_build(&b, CAB_OP_wino_in, 1, in, 4, prepare);
    in[1] = weights(g, l, w);
    in[0] = b.status == CAB_OK ? cab_build(&b, CAB_OP_dot, 2, in, 4, product) : NULL;
    y = b.status == CAB_OK ? cab_build(&b, CAB_OP_wino_out, 1, in, 3, finish) : NULL;
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
        cab_mark mark = cab_arena_mark(c->scratch);
        cab_wino w;
        layer l;
        bool yes = !c->o->exact && fits(n, &l) && choose(c->scratch, &l, &w);

        next = n->next;
        cab_arena_release(c->scratch, mark);
        if (!yes)
            continue;
        CAB_TRY(cab_cancel_check(&c->o->cancel, c->diag));
        CAB_TRY(rewrite(g, c, &l, &w));
    }
    return CAB_OK;
}
