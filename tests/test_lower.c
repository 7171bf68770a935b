/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_lower.c - lowering against the reference evaluator.
 *
 * Random CORE graphs (seed printed on failure; CAB_TEST_SEED and
 * CAB_TEST_ROUNDS choose) are evaluated three ways: as a graph, as the naive
 * program, and as the program after layout and group.  All must agree.
 * Then every file of tests/lower: a line "; run: cab-opt --emit=program
 * --passes=a,b [--naive]", a graph, a line "; expect:", and the program with
 * "; " before each line.  CAB_BLESS=1 writes what came out into the file.
 */
#include <dirent.h>
#include <math.h>
#include "ir/ir.h"
#include "ir/spec.h"
#include "ir/wino.h"
#include "passes/pass_int.h"
#include "tests/test.h"

#define MAX_VALUES 64
#define MAX_IO 24

static cab_job job;
static uint64_t compared;

/* ---- random graphs ---- */
typedef struct gen {
    cab_rng r;
    cab_graph *g;
    cab_builder b;
    cab_value *v[MAX_VALUES];
    int n;
    const cab_dim *dim[6];     /* extents to choose from */
} gen;

static int pick(gen *q, int n) { return (int)cab_rng_i64(&q->r, 0, n - 1); }
static const cab_dim *num(gen *q, int64_t v) { return cab_dim_const(q->g->dims, v); }
static cab_value *any(gen *q) { return q->v[pick(q, q->n)]; }

static void add(gen *q, cab_value *v)
{
    if (v && v->type.rank <= 5 && q->n < MAX_VALUES)
        q->v[q->n++] = v;
}

static cab_value *constant(gen *q, cab_dtype dt, int rank, const int64_t *dims, int64_t top)
{
    cab_type t = cab_type_static(q->g, dt, rank, dims);
    int64_t n = cab_type_numel_static(&t);
    uint64_t bytes = 0;
    cab_dtype_bytes(dt, (uint64_t)n, &bytes);
    void *p = cab_alloc(q->g->arena, bytes);
    for (int64_t i = 0; i < n; i++) {
        if (dt == CAB_DT_f32)
            ((float *)p)[i] = (float)cab_rng_f64(&q->r, -1, 1);
        else
            ((int64_t *)p)[i] = cab_rng_i64(&q->r, -top, top - 1);
    }
    return cab_const_blob(q->g, &t, p, bytes, NULL);
}

static cab_value *weights(gen *q, int rank, const int64_t *dims)
{
    return constant(q, CAB_DT_f32, rank, dims, 0);
}

static cab_value *gen_unary(gen *q, cab_value *x)
{
    static const cab_op_id ops[] = { CAB_OP_neg, CAB_OP_abs, CAB_OP_tanh, CAB_OP_erf,
                                     CAB_OP_sin, CAB_OP_floor };
    return cab_b_unary(&q->b, ops[pick(q, 6)], x);
}

static cab_value *same_shape(gen *q, const cab_value *x)
{
    for (int i = 0; i < 20; i++) {
        cab_value *y = any(q);
        bool ok = y->type.rank == x->type.rank;
        for (int k = 0; ok && k < x->type.rank; k++)
            ok = y->type.dims[k] == x->type.dims[k];
        if (ok)
            return y;
    }
    return cab_b_scalar(&q->b, CAB_DT_f32, cab_rng_f64(&q->r, -2, 2));
}

static cab_value *gen_binary(gen *q, cab_value *x)
{
    static const cab_op_id ops[] = { CAB_OP_add, CAB_OP_sub, CAB_OP_mul, CAB_OP_max, CAB_OP_min };
    cab_value *y = same_shape(q, x);
    if (pick(q, 6) == 0) {
        cab_value *c = cab_b_binary(&q->b, CAB_OP_lt, x, y);
        return cab_b_select(&q->b, c, x, y);
    }
    return cab_b_binary(&q->b, ops[pick(q, 5)], x, y);
}

static cab_value *gen_transpose(gen *q, cab_value *x)
{
    int64_t perm[CAB_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) {
        int j = pick(q, i + 1);
        perm[i] = perm[j];
        perm[j] = i;
    }
    return cab_b_transpose(&q->b, x, perm);
}

/* Merges two neighbours, splits a constant, flattens, or swaps the tail. */
static cab_value *gen_reshape(gen *q, cab_value *x)
{
    const cab_dim *d[CAB_MAX_RANK + 1];
    int n = 0, at = x->type.rank ? pick(q, x->type.rank) : 0, how = pick(q, 4);
    for (int i = 0; i < x->type.rank; i++) {
        const cab_dim *e = x->type.dims[i];
        if (i == at && how == 0 && i + 1 < x->type.rank) {
            d[n++] = cab_dim_mul(q->g->dims, e, x->type.dims[i + 1]);
            i++;
        } else if (i == at && how == 1 && cab_dim_is_const(e) && e->value % 2 == 0 && e->value) {
            d[n++] = num(q, pick(q, 2) ? 2 : e->value / 2);
            d[n] = num(q, e->value / d[n - 1]->value);
            n++;
        } else if (i == at && how == 2) {
            d[n++] = num(q, 1);
            d[n++] = e;
        } else {
            d[n++] = e;
        }
    }
    if (how == 3 && x->type.rank >= 2) {
        n = x->type.rank;
        const cab_dim *t = d[n - 1];
        d[n - 1] = d[n - 2];
        d[n - 2] = t;
    }
    return n <= 5 ? cab_b_reshape(&q->b, x, n, d) : x;
}

static cab_value *gen_slice(gen *q, cab_value *x)
{
    const cab_dim *start[CAB_MAX_RANK], *size[CAB_MAX_RANK];
    int64_t step[CAB_MAX_RANK];
    for (int i = 0; i < x->type.rank; i++) {
        const cab_dim *e = x->type.dims[i];
        start[i] = num(q, 0);
        size[i] = e;
        step[i] = 1;
        if (!cab_dim_is_const(e) || e->value < 3 || pick(q, 2))
            continue;
        int how = pick(q, 3);
        start[i] = num(q, how == 2 ? e->value - 1 : 1);
        step[i] = how == 0 ? 1 : how == 1 ? 2 : -1;
        size[i] = num(q, how == 1 ? e->value / 2 : e->value - 1);
    }
    return cab_b_slice(&q->b, x, start, step, size);
}

static cab_value *gen_pad(gen *q, cab_value *x)
{
    const cab_dim *lo[CAB_MAX_RANK], *hi[CAB_MAX_RANK];
    cab_value *in[2] = { x, NULL };
    for (int i = 0; i < x->type.rank; i++) {
        lo[i] = num(q, pick(q, 3) == 0);
        hi[i] = num(q, pick(q, 3) == 0 ? 2 : 0);
    }
    if (pick(q, 2))
        in[1] = cab_b_scalar(&q->b, CAB_DT_f32, 0.5);
    int r = x->type.rank;
    cab_attr a[] = { cab_a_dims("lo", lo, r), cab_a_dims("hi", hi, r) };
    return cab_build(&q->b, CAB_OP_pad, in[1] ? 2 : 1, in, 2, a);
}

static cab_value *gen_concat(gen *q, cab_value *x)
{
    cab_value *in[3] = { x, same_shape(q, x), x };
    if (x->type.rank == 0 || in[1]->type.rank != x->type.rank)
        return x;
    cab_attr a = cab_a_int("axis", pick(q, x->type.rank));
    return cab_build(&q->b, CAB_OP_concat, 2 + pick(q, 2), in, 1, &a);
}

static cab_value *reduce(gen *q, const char *op, cab_value *x, const int64_t *axes, int n,
                         int keep)
{
    cab_attr a[] = { cab_a_str("op", op), cab_a_ints("axes", axes, n),
                     cab_a_int("keepdims", keep) };
    return cab_build(&q->b, CAB_OP_reduce, 1, &x, 3, a);
}

static cab_value *gen_reduce(gen *q, cab_value *x)
{
    static const char *const ops[] = { "sum", "max", "min", "sum" };
    int64_t axes[CAB_MAX_RANK];
    int n = 0;
    for (int i = 0; i < x->type.rank; i++)
        if (pick(q, 2))
            axes[n++] = i;
    int keep = pick(q, 2);
    cab_value *y = reduce(q, ops[pick(q, 4)], x, axes, n, keep);
    return keep && pick(q, 2) ? cab_b_binary(&q->b, CAB_OP_sub, x, y) : y;
}

static cab_value *gen_arg(gen *q, cab_value *x)
{
    if (x->type.rank == 0)
        return x;
    cab_attr a[] = { cab_a_str("op", pick(q, 2) ? "max" : "min"),
                     cab_a_int("axis", pick(q, x->type.rank)),
                     cab_a_int("keepdims", pick(q, 2)), cab_a_int("last", pick(q, 2)) };
    return cab_b_cast(&q->b, cab_build(&q->b, CAB_OP_argreduce, 1, &x, 4, a), CAB_DT_f32);
}

static cab_value *gen_gather(gen *q, cab_value *x)
{
    if (x->type.rank == 0)
        return x;
    int axis = pick(q, x->type.rank);
    const cab_dim *e = x->type.dims[axis];
    int64_t n = pick(q, 3) + 1, top = cab_dim_is_const(e) ? e->value : 1;
    cab_value *in[2] = { x, constant(q, CAB_DT_i64, pick(q, 2), &n, top) };
    cab_attr a = cab_a_int("axis", axis);
    return cab_build(&q->b, CAB_OP_gather, 2, in, 1, &a);
}

static cab_value *gen_scan(gen *q, cab_value *x)
{
    int axis = x->type.rank ? pick(q, x->type.rank) : 0;
    if (!x->type.rank)
        return x;
    cab_attr a[] = { cab_a_str("op", "sum"), cab_a_int("axis", axis),
                     cab_a_int("exclusive", pick(q, 2)), cab_a_int("reverse", pick(q, 2)) };
    return cab_build(&q->b, CAB_OP_scan, 1, &x, 4, a);
}

/* Rows of x, some at the edge of the index range or outside, come again. */
static cab_value *gen_scatter(gen *q, cab_value *x)
{
    static const char *const ops[] = { "none", "add", "mul", "max", "min" };
    int rank = x->type.rank, axis = rank ? pick(q, rank) : 0;
    int64_t n = 1 + pick(q, 4), dims[CAB_MAX_RANK], at;
    bool full = pick(q, 2) == 0;
    cab_value *in[3] = { x, NULL, NULL };
    if (!rank)
        return x;
    const cab_dim *e = x->type.dims[axis];
    cab_value *rows[2] = { x, constant(q, CAB_DT_i64, 1, &n, 1) };
    cab_attr along = cab_a_int("axis", axis);
    in[2] = cab_b_unary(&q->b, CAB_OP_neg, cab_build(&q->b, CAB_OP_gather, 2, rows, 1, &along));
    if (pick(q, 2))
        in[2] = gen_slice(q, in[2]);
    if (!in[2])
        return NULL;
    for (int i = 0; i < rank; i++) {
        const cab_dim *u = in[2]->type.dims[i];
        dims[i] = cab_dim_is_const(u) && (full || i == axis) ? u->value : 1;
    }
    at = cab_dim_is_const(e) ? e->value + 1 : 3;
    in[1] = constant(q, CAB_DT_i64, rank, dims, at);
    cab_attr a[] = { along, cab_a_str("op", ops[pick(q, 5)]) };
    return cab_build(&q->b, CAB_OP_scatter, 3, in, 2, a);
}

/* softmax or layer normalisation over the last axis */
static cab_value *gen_rows(gen *q, cab_value *x)
{
    int64_t axis = x->type.rank - 1;
    if (axis < 0)
        return x;
    if (pick(q, 2)) {
        cab_value *m = reduce(q, "max", x, &axis, 1, 1);
        cab_value *e = cab_b_unary(&q->b, CAB_OP_exp, cab_b_binary(&q->b, CAB_OP_sub, x, m));
        return cab_b_binary(&q->b, CAB_OP_div, e, reduce(q, "sum", e, &axis, 1, 1));
    }
    cab_value *scale = cab_b_scalar(&q->b, CAB_DT_f32, 0.25);
    cab_value *eps = cab_b_scalar(&q->b, CAB_DT_f32, 1);
    cab_value *m = cab_b_binary(&q->b, CAB_OP_mul, reduce(q, "sum", x, &axis, 1, 1), scale);
    cab_value *c = cab_b_binary(&q->b, CAB_OP_sub, x, m);
    cab_value *s = reduce(q, "sum", cab_b_binary(&q->b, CAB_OP_mul, c, c), &axis, 1, 1);
    s = cab_b_binary(&q->b, CAB_OP_add, cab_b_binary(&q->b, CAB_OP_mul, s, scale), eps);
    return cab_b_binary(&q->b, CAB_OP_div, c, cab_b_unary(&q->b, CAB_OP_sqrt, s));
}

static cab_value *dot(gen *q, cab_value *a, cab_value *b, int nb, int ka, int kb)
{
    int64_t batch[] = { 0, 1, 2 }, ca = ka, cb = kb;
    cab_value *in[2] = { a, b };
    cab_attr at[] = { cab_a_ints("a_batch", batch, nb), cab_a_ints("b_batch", batch, nb),
                      cab_a_ints("a_contract", &ca, 1), cab_a_ints("b_contract", &cb, 1) };
    return cab_build(&q->b, CAB_OP_dot, 2, in, 4, at);
}

static cab_value *gen_dot(gen *q, cab_value *x)
{
    int r = x->type.rank;
    if (r < 1)
        return x;
    const cab_dim *k = x->type.dims[r - 1];
    if (r >= 3 && r <= 4 && pick(q, 2)) {   /* x y^T, per batch */
        cab_value *y = gen_unary(q, x);
        cab_value *s = dot(q, x, y, r - 2, r - 1, r - 1);
        return pick(q, 2) ? dot(q, s, x, r - 2, r - 1, r - 2) : s;
    }
    if (!cab_dim_is_const(k))
        return x;
    int64_t d[2] = { k->value, 1 + pick(q, 6) }, t[2] = { d[1], d[0] };
    bool flip = pick(q, 2);
    cab_value *y = dot(q, x, weights(q, 2, flip ? t : d), 0, r - 1, flip);
    if (pick(q, 2))
        y = cab_b_binary(&q->b, CAB_OP_add, y, weights(q, 1, &d[1]));
    return y;
}

static cab_value *gen_conv(gen *q, cab_value *x)
{
    int64_t w[5], strides[3], lo[3], hi[3], dil[3];
    int s = x->type.rank - 2;
    if (s < 1 || s > 3 || !cab_dim_is_const(x->type.dims[1]) || x->type.dims[1]->value < 1)
        return x;
    int64_t c = x->type.dims[1]->value, group = 1;
    if (pick(q, 3) == 0)
        group = c;
    else if (c % 2 == 0 && pick(q, 2))
        group = 2;
    w[0] = group * (1 + pick(q, 2));
    w[1] = c / group;
    for (int i = 0; i < s; i++) {
        w[i + 2] = 1 + pick(q, 3);
        strides[i] = 1 + pick(q, 2);
        dil[i] = 1 + (pick(q, 4) == 0);
        int64_t reach = (w[i + 2] - 1) * dil[i];
        lo[i] = reach ? pick(q, 2) : 0;
        hi[i] = reach - lo[i];
    }
    cab_value *in[2] = { x, weights(q, s + 2, w) };
    cab_attr a[] = { cab_a_ints("strides", strides, s), cab_a_ints("pads_lo", lo, s),
                     cab_a_ints("pads_hi", hi, s), cab_a_ints("dilations", dil, s),
                     cab_a_int("group", group) };
    cab_value *y = cab_build(&q->b, CAB_OP_conv, 2, in, 5, a);
    int64_t bias[5] = { w[0], 1, 1, 1, 1 };
    if (y && pick(q, 2))
        y = cab_b_binary(&q->b, CAB_OP_add, y, weights(q, s + 1, bias));
    return y;
}

/* A convolution by tiles, or with weights that are no filter's: the ends are linear in any. */
static cab_value *gen_wino(gen *q, cab_value *x)
{
    static const int64_t forms[][2] = { { 4, 3 }, { 2, 3 }, { 4, 5 }, { 2, 5 }, { 1, 1 }, { 3, 2 } };
    int64_t tile[2], kernel[2], lo[2], hi[2], u[3];
    const cab_dim *dims[3];
    int s = x->type.rank - 2;
    cab_wino w;
    if (s < 1 || s > 2 || !cab_dim_is_const(x->type.dims[1]) || x->type.dims[1]->value < 1)
        return x;
    for (int i = 0; i < s; i++) {
        const int64_t *f = forms[pick(q, 6)];
        tile[i] = f[0];
        kernel[i] = f[1];
        lo[i] = pick(q, (int)f[1]);
        hi[i] = f[1] - 1 - lo[i] + pick(q, 2);
    }
    if (!cab_wino_make(&w, s, tile, kernel))
        return x;
    u[0] = w.products;
    u[1] = x->type.dims[1]->value;
    u[2] = 1 + pick(q, 3);
    cab_attr t = cab_a_ints("tile", tile, s), k = cab_a_ints("kernel", kernel, s);
    cab_attr in[] = { t, k, cab_a_ints("pads_lo", lo, s), cab_a_ints("pads_hi", hi, s) };
    cab_value *y = cab_build(&q->b, CAB_OP_wino_in, 1, &x, 4, in);
    if (!y)
        return NULL;
    dims[0] = x->type.dims[0];
    for (int i = 0; i < s; i++)
        dims[i + 1] = cab_wino_results(q->g->dims, y->def, &w, i);
    y = dot(q, y, weights(q, 3, u), 1, 2, 1);
    cab_attr out[] = { t, k, cab_a_dims("dims", dims, s + 1) };
    return cab_build(&q->b, CAB_OP_wino_out, 1, &y, 3, out);
}

static cab_value *gen_window(gen *q, cab_value *x)
{
    static const char *const ops[] = { "max", "sum", "argmax" };
    int64_t k[3], strides[3], lo[3], dil[3];
    const cab_dim *dims[3];
    int s = x->type.rank - 2, op = pick(q, 3);
    if (s < 1 || s > 3)
        return x;
    for (int i = 0; i < s; i++) {
        k[i] = 1 + pick(q, 3);
        lo[i] = k[i] > 1 ? pick(q, 2) : 0;
        dil[i] = 1;
        strides[i] = cab_dim_is_const(x->type.dims[i + 2]) ? 1 + pick(q, 2) : 1;
        dims[i] = strides[i] == 1 ? x->type.dims[i + 2]
                                  : num(q, (x->type.dims[i + 2]->value + 1) / 2);
    }
    cab_attr a[] = { cab_a_str("op", ops[op]), cab_a_ints("kernel", k, s),
                     cab_a_ints("strides", strides, s), cab_a_ints("pads_lo", lo, s),
                     cab_a_ints("dilations", dil, s), cab_a_dims("dims", dims, s) };
    cab_value *y = cab_build(&q->b, CAB_OP_window, 1, &x, 6, a);
    return op == 2 && y ? cab_b_cast(&q->b, y, CAB_DT_f32) : y;
}

static cab_value *gen_iota(gen *q, cab_value *x)
{
    if (x->type.rank == 0)
        return x;
    cab_attr a[] = { cab_a_dims("dims", x->type.dims, x->type.rank),
                     cab_a_int("axis", pick(q, x->type.rank)), cab_a_dtype("dtype", CAB_DT_f32) };
    return cab_b_binary(&q->b, CAB_OP_add, x, cab_build(&q->b, CAB_OP_iota, 0, NULL, 3, a));
}

static cab_value *gen_expand(gen *q, cab_value *x)
{
    const cab_dim *d[CAB_MAX_RANK];
    if (x->type.rank > 3)
        return x;
    d[0] = num(q, 2);
    for (int i = 0; i < x->type.rank; i++)
        d[i + 1] = cab_dim_is(x->type.dims[i], 1) ? num(q, 3) : x->type.dims[i];
    return cab_b_expand(&q->b, x, x->type.rank + 1, d);
}

static cab_value *gen_topk(gen *q, cab_value *x)
{
    int axis = x->type.rank ? pick(q, x->type.rank) : 0;
    if (!x->type.rank || !cab_dim_is_const(x->type.dims[axis]) || x->type.dims[axis]->value < 2)
        return x;
    const cab_dim *k = num(q, 2);
    cab_attr a[] = { cab_a_dims("k", &k, 1), cab_a_int("axis", axis),
                     cab_a_int("largest", pick(q, 2)) };
    cab_node *n = cab_build_node(&q->b, CAB_OP_topk, 1, &x, 2, 3, a);
    if (n && pick(q, 2))
        return cab_b_cast(&q->b, n->out[1], CAB_DT_f32);
    return n ? n->out[0] : NULL;
}

static cab_value *gen_sort(gen *q, cab_value *x)
{
    const cab_dim *d[2] = { x->type.rank ? x->type.dims[0] : num(q, 1), num(q, 1) };
    for (int i = 1; i < x->type.rank; i++)
        d[1] = cab_dim_mul(q->g->dims, d[1], x->type.dims[i]);
    /* Few values, so that rows meet again. */
    x = cab_b_unary(&q->b, CAB_OP_sign, cab_b_reshape(&q->b, x, 2, d));
    return cab_b_cast(&q->b, cab_build(&q->b, CAB_OP_sort, 1, &x, 0, NULL), CAB_DT_f32);
}

static cab_value *gen_half(gen *q, cab_value *x)
{
    cab_value *h = cab_b_cast(&q->b, cab_b_unary(&q->b, CAB_OP_floor, x), CAB_DT_f16);
    return cab_b_cast(&q->b, cab_b_unary(&q->b, CAB_OP_neg, h), CAB_DT_f32);
}

typedef cab_value *gen_fn(gen *q, cab_value *x);
static gen_fn *const makers[] = {
    gen_unary, gen_unary, gen_binary, gen_binary, gen_binary, gen_transpose, gen_transpose,
    gen_reshape, gen_reshape, gen_slice, gen_pad, gen_concat, gen_reduce, gen_arg, gen_gather,
    gen_scan, gen_scatter, gen_rows, gen_rows, gen_dot, gen_dot, gen_dot, gen_conv, gen_conv, gen_wino, gen_window,
    gen_iota, gen_expand, gen_topk, gen_sort, gen_half,
};

/* Element counts stay small, so that the reference is quick. */
static bool small(const cab_value *v)
{
    int64_t n = 1;
    for (int i = 0; v && i < v->type.rank; i++)
        n *= cab_dim_is_const(v->type.dims[i]) ? v->type.dims[i]->value : 4;
    return v && n <= 3000;
}

static cab_graph *random_graph(cab_arena *a, uint64_t seed, cab_diag *d)
{
    gen q = { 0 };
    cab_rng_seed(&q.r, seed);
    q.g = cab_graph_create(a, "random", CAB_LEVEL_CORE);
    q.b = cab_builder_at(q.g, NULL, d);
    q.dim[0] = cab_dim_sym(q.g->dims, "N");
    q.dim[1] = cab_dim_sym(q.g->dims, "M");
    for (int i = 0; i < 3; i++) {
        const cab_dim *dims[CAB_MAX_RANK];
        int rank = 1 + pick(&q, 4);
        for (int k = 0; k < rank; k++)
            dims[k] = pick(&q, 3) ? num(&q, 1 + pick(&q, 6)) : q.dim[pick(&q, 2)];
        cab_type t = cab_type_tensor(CAB_DT_f32, rank, dims);
        add(&q, cab_graph_add_input(q.g, cab_printf(a, "x%d", i), &t));
    }
    int steps = 4 + pick(&q, 20);
    for (int i = 0; i < steps && q.b.status == CAB_OK; i++) {
        cab_value *x = pick(&q, 4) ? q.v[q.n - 1] : any(&q);
        gen_fn *fn = makers[pick(&q, sizeof makers / sizeof *makers)];
        cab_value *y = fn(&q, x);
        if (small(y))
            add(&q, y);
    }
    cab_graph_add_output(q.g, q.v[q.n - 1], "y0");
    if (pick(&q, 2))
        cab_graph_add_output(q.g, any(&q), "y1");
    return q.b.status == CAB_OK ? q.g : NULL;
}

/* ---- comparison ---- */
static bool run_passes(cab_graph *g, bool naive, cab_program **p, cab_diag *d)
{
    cab_pass_options o = { .naive = naive, .verify = true };
    cab_pass_ctx c = { .scratch = cab_arena_create(&job), .o = &o, .diag = d };
    cab_status st = CAB_OK;
    if (!naive)
        st = cab_pass_layout(g, &c);
    if (!naive && st == CAB_OK)
        st = cab_pass_group(g, &c);
    if (st == CAB_OK)
        st = cab_pass_lower(g, &c);
    *p = c.program;
    cab_arena_destroy(c.scratch);
    return st == CAB_OK;
}

static bool fill_inputs(cab_arena *a, const cab_graph *g, uint64_t seed, cab_tensor *in)
{
    cab_rng r;
    cab_rng_seed(&r, seed ^ 77);
    for (size_t i = 0; i < g->inputs.n; i++) {
        const cab_type *t = &g->inputs.p[i]->type;
        in[i] = (cab_tensor){ .dtype = t->dtype, .rank = t->rank };
        for (int k = 0; k < t->rank; k++) {
            const cab_dim *x = t->dims[k];
            in[i].dims[k] = cab_dim_is_const(x) ? x->value : x->name[0] == 'N' ? 3 : 4;
        }
        if (!cab_tensor_alloc(a, &in[i]))
            return false;
        for (int64_t k = 0; k < cab_tensor_numel(&in[i]); k++)
            ((float *)in[i].data)[k] = (float)cab_rng_f64(&r, -2, 2);
    }
    return true;
}

static bool same_tensor(const cab_tensor *a, const cab_tensor *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    for (int64_t i = 0; i < cab_tensor_numel(a); i++) {
        double x = cab_elem_f64(a->dtype, a->data, (uint64_t)i);
        double y = cab_elem_f64(b->dtype, b->data, (uint64_t)i);
        if (isnan(x) != isnan(y) || (x != y && !(fabs(x - y) <= 2e-4 + 1e-3 * fabs(x))))
            return false;
    }
    return true;
}

static void dump(cab_arena *a, const cab_graph *g, const cab_program *p, cab_diag *d)
{
    cab_buf b = cab_buf_on(a);
    const cab_diag_entry *e = cab_diag_first(d);
    if (e)
        fprintf(stderr, "%s: %s\n", e->where, e->text);
    if (!getenv("CAB_TEST_SEED"))
        return;
    cab_graph_print(&b, g);
    if (p)
        cab_program_print(&b, p);
    fputs(cab_buf_cstr(&b), stderr);
}

/* The program of a graph gives what the graph means. */
static bool agrees(cab_graph *g, const cab_graph *ref, uint64_t seed, bool naive)
{
    cab_diag d;
    cab_tensor in[MAX_IO], want[MAX_IO], got[MAX_IO];
    cab_program *p = NULL;
    bool ok = false;
    cab_diag_init(&d);
    if (!fill_inputs(g->arena, g, seed, in))
        return false;
    if (cab_eval_graph(g->arena, ref, in, want, &d) != CAB_OK) {
        cab_diag_fini(&d);
        return true;           /* extents that do not fit the symbols chosen */
    }
    ok = run_passes(g, naive, &p, &d) &&
         cab_program_eval(g->arena, p, in, got, &d) == CAB_OK;
    for (size_t i = 0; ok && i < g->outputs.n; i++)
        ok = same_tensor(&want[i], &got[i]);
    compared += ok;
    if (!ok || getenv("CAB_TEST_PRINT"))
        dump(g->arena, g, p, &d);
    if (!ok)
        fprintf(stderr, "seed %llu, %s\n", (unsigned long long)seed, naive ? "naive" : "optimised");
    cab_diag_fini(&d);
    return ok;
}

static void check_random(uint64_t seed, bool naive)
{
    cab_arena *a = cab_arena_create(&job);
    cab_diag d;
    cab_diag_init(&d);
    cab_graph *ref = random_graph(a, seed, &d), *g = random_graph(a, seed, &d);
    if (g && ref)
        CHECK(agrees(g, ref, seed, naive));
    else if (getenv("CAB_TEST_SEED"))
        dump(a, ref, NULL, &d);
    cab_diag_fini(&d);
    cab_arena_destroy(a);
}

/* ---- golden programs ---- */
#define MARK "; expect:\n"

static const char *program_text(cab_arena *a, const char *path, const char *text)
{
    const char *line = cab_strndup(a, text, strcspn(text, "\n"));
    const char *passes = strstr(line, "--passes=");
    cab_pass_options o = { .verify = true, .naive = strstr(line, "--naive") != NULL };
    cab_buf b = cab_buf_on(a);
    cab_program *p = NULL;
    cab_graph *g;
    cab_diag d;
    cab_diag_init(&d);
    passes = passes ? passes + strlen("--passes=") : "";
    passes = cab_strndup(a, passes, strcspn(passes, " "));
    if (cab_graph_parse(a, text, strlen(text), path, &g, &d) == CAB_OK &&
        cab_passes_run_list(g, passes, &o, &p, &d) == CAB_OK && p)
        cab_program_print(&b, p);
    for (size_t i = 0; i < d.n; i++)
        cab_buf_printf(&b, "%s: %s\n", d.entries[i].where, d.entries[i].text);
    cab_diag_fini(&d);
    return cab_buf_cstr(&b);
}

static const char *commented(cab_arena *a, const char *s)
{
    cab_buf b = cab_buf_on(a);
    for (size_t n; *s; s += n + (s[n] == '\n')) {
        n = strcspn(s, "\n");
        cab_buf_str(&b, n ? "; " : ";");
        cab_buf_bytes(&b, s, n);
        cab_buf_char(&b, '\n');
    }
    return cab_buf_cstr(&b);
}

static void check_golden(const char *path)
{
    cab_arena *a = cab_arena_create(&job);
    char *text;
    size_t n;
    cab_diag d;
    cab_diag_init(&d);
    if (cab_file_read(a, path, 1 << 20, &text, &n, &d) == CAB_OK) {
        const char *mark = strstr(text, MARK);
        const char *input = mark ? cab_strndup(a, text, (size_t)(mark - text)) : text;
        const char *got = commented(a, program_text(a, path, input));
        if (getenv("CAB_BLESS")) {
            const char *whole = cab_printf(a, "%s%s%s", input, MARK, got);
            CHECK_EQ(cab_file_write(path, whole, strlen(whole), &d), CAB_OK);
        } else {
            if (!mark || strcmp(mark + strlen(MARK), got))
                fprintf(stderr, "%s: got\n%s(CAB_BLESS=1 writes this into the file)\n",
                        path, got);
            CHECK(mark && !strcmp(mark + strlen(MARK), got));
        }
    } else {
        CHECK(!"the file can be read");
    }
    cab_diag_fini(&d);
    cab_arena_destroy(a);
}

static void check_goldens(void)
{
    const char *src = getenv("srcdir");
    char path[4096];
    struct dirent *e;
    int n = 0;
    snprintf(path, sizeof path, "%s/tests/lower", src ? src : ".");
    DIR *f = opendir(path);
    CHECK(f != NULL);
    while (f && (e = readdir(f))) {
        if (!strstr(e->d_name, ".cir"))
            continue;
        snprintf(path, sizeof path, "%s/tests/lower/%s", src ? src : ".", e->d_name);
        check_golden(path);
        n++;
    }
    if (f)
        closedir(f);
    CHECK(n > 0);
}

int main(void)
{
    const char *one = getenv("CAB_TEST_SEED"), *rounds = getenv("CAB_TEST_ROUNDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t n = one ? 1 : rounds ? strtoull(rounds, NULL, 10) : 400;
    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    for (uint64_t i = 0; i < n; i++) {
        check_random(first + i, true);
        check_random(first + i, false);
    }
    CHECK(one || compared > n);    /* most graphs are valid */
    if (getenv("CAB_TEST_PRINT"))
        fprintf(stderr, "%d compared\n", (int)compared);
    if (!one)
        check_goldens();
    TEST_END();
}
