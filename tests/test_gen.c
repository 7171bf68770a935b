/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gen.c - random Specs: reference, interpreter and machine code agree.
 *
 * Every Spec runs naive and with the schedule of several targets; results are
 * compared with cab_spec_eval.  Products with constant weights also run with
 * tiles of many widths, around the edges of panels, and every target must ask
 * for the same packed form.  usage: test_gen [seed [count]]
 */
#include <math.h>
#include "tests/test.h"
#include "tests/kernel_run.h"

enum { MAX_OPERANDS = 8, GUARD = 64 };

static cab_rng rng;
static cab_arena *arena;
static cab_dims *dims;
static cab_env env;
static cab_spec *spec;

static int64_t pick(int64_t lo, int64_t hi) { return cab_rng_i64(&rng, lo, hi); }
static const cab_dim *cst(int64_t v) { return cab_dim_const(dims, v); }

/* An extent: constant or a symbol bound to v. */
static const cab_dim *extent(int64_t v)
{
    static int n;
    const cab_dim *s;

    if (pick(0, 3))
        return cst(v);
    s = cab_dim_sym(dims, cab_printf(arena, "S%d", n++));
    cab_env_set(&env, s->name, v);
    return s;
}

/* ---- buffers ---- */

typedef struct memory { char *p; uint64_t elems, bytes; cab_dtype dt; } memory;

static uint64_t bytes_of(cab_dtype dt, uint64_t n) { return n * (uint64_t)cab_dtype_bits(dt) / 8; }

static void fill(memory *m)
{
    for (uint64_t i = 0; i < m->elems; i++) {
        double f = cab_rng_f64(&rng, -2, 2);
        int64_t v = pick(-3, 9);
        cab_kraw r = cab_dtype_is_float(m->dt) ? cab_kraw_of_f64(m->dt, f)
                   : m->dt == CAB_DT_bool ? (cab_kraw)(v & 1) : cab_kraw_of_int(m->dt, v);
        cab_kraw_store(m->dt, m->p + bytes_of(m->dt, i), r);
    }
}

static memory create_memory(cab_dtype dt, uint64_t elems)
{
    memory m = { NULL, elems, bytes_of(dt, elems), dt };

    m.p = (char *)cab_alloc(arena, m.bytes + 2 * GUARD) + GUARD;
    memset(m.p - GUARD, 0xa5, m.bytes + 2 * GUARD);
    fill(&m);
    return m;
}

static memory copy_of(const memory *m)
{
    memory c = *m;

    c.p = (char *)cab_alloc(arena, m->bytes + 2 * GUARD) + GUARD;
    memcpy(c.p - GUARD, m->p - GUARD, m->bytes + 2 * GUARD);
    return c;
}

static bool guards_hold(const memory *m)
{
    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)m->p[-1 - i] != 0xa5 || (unsigned char)m->p[m->bytes + (uint64_t)i] != 0xa5)
            return false;
    return true;
}

static bool close_enough(cab_dtype dt, double x, double y)
{
    double tol = dt == CAB_DT_f16 ? 4e-3 : dt == CAB_DT_bf16 ? 3e-2 : dt == CAB_DT_f64 ? 1e-4 : 1e-4;

    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y);
    if (isinf(x) || isinf(y))
        return x == y;
    if (!cab_dtype_is_float(dt))
        return x == y;
    return fabs(x - y) <= tol * (1 + fabs(y));
}

static bool same_contents(const memory *got, const memory *want, uint64_t *where)
{
    for (uint64_t i = 0; i < got->elems; i++)
        if (!close_enough(got->dt, cab_elem_f64(got->dt, got->p, i), cab_elem_f64(want->dt, want->p, i))) {
            *where = i;
            return false;
        }
    return true;
}

/* ---- building Specs ---- */

static int axes_par, axes_red;

static void open_spec(cab_spec_kind kind)
{
    spec = cab_spec_create(arena, dims, "t", kind);
    axes_par = axes_red = 0;
}

static int par(int64_t n) { return cab_spec_axis(spec, CAB_AXIS_PAR, extent(n), cab_printf(arena, "p%d", axes_par++)); }
static int red(int64_t n) { return cab_spec_axis(spec, CAB_AXIS_RED, extent(n), cab_printf(arena, "r%d", axes_red++)); }

static int64_t value(int axis) { return dim_value(spec->axis[axis].extent, &env); }

static const cab_dtype all_types[] = { CAB_DT_f32, CAB_DT_f64, CAB_DT_i32, CAB_DT_i64, CAB_DT_u8,
                                       CAB_DT_bool, CAB_DT_f16, CAB_DT_bf16, CAB_DT_i8, CAB_DT_u32 };

static cab_dtype any_type(void)
{
    return pick(0, 1) ? CAB_DT_f32 : all_types[pick(0, 9)];
}

/* Row-major strides of those axes (in a random order when shuffled); returns
 * the elements it spans.  pad: extra elements per row. */
static const cab_dim *strides(cab_affine *f, uint32_t axes, bool shuffled, int64_t *elems)
{
    int order[CAB_SPEC_AXES], n = 0;
    const cab_dim *stride = cst(1);

    *f = cab_affine_zero(dims);
    for (int i = 0; i < spec->n_axes; i++)
        if (axes >> i & 1)
            order[n++] = i;
    for (int i = n - 1; shuffled && i > 0; i--) {
        int j = (int)pick(0, i), x = order[i];
        order[i] = order[j];
        order[j] = x;
    }
    for (int i = n - 1; i >= 0; i--) {
        f->coef[order[i]] = stride;
        stride = cab_dim_mul(dims, stride, spec->axis[order[i]].extent);
    }
    *elems = dim_value(stride, &env);
    return stride;
}

static int view_of(cab_dtype dt, uint32_t axes, bool shuffled, bool written)
{
    cab_view v = { .dtype = dt };
    int64_t n;
    const cab_dim *e = strides(&v.at, axes, shuffled, &n);

    v.operand = cab_spec_operand(spec, dt, written, e);
    return cab_spec_view(spec, &v);
}

static uint32_t axes_of(cab_axis_kind kind)
{
    uint32_t m = 0;
    for (int i = 0; i < spec->n_axes; i++)
        m |= (uint32_t)(spec->axis[i].kind == kind) << i;
    return m;
}

static const cab_expr *op1(cab_expr_op op, const cab_expr *x) { return cab_ex_scalar(spec, op, x->dtype, x, NULL, NULL); }
static const cab_expr *op2(cab_expr_op op, const cab_expr *x, const cab_expr *y) { return cab_ex_scalar(spec, op, x->dtype, x, y, NULL); }

static const cab_expr *random_expr(cab_dtype dt, const cab_expr *const *leaf, int n, int depth)
{
    static const cab_expr_op floats[] = { CAB_EX_add, CAB_EX_sub, CAB_EX_mul, CAB_EX_min, CAB_EX_max };
    static const cab_expr_op ints[] = { CAB_EX_add, CAB_EX_sub, CAB_EX_mul, CAB_EX_min, CAB_EX_max,
                                        CAB_EX_and, CAB_EX_or, CAB_EX_xor, CAB_EX_div, CAB_EX_rem,
                                        CAB_EX_mod, CAB_EX_shl, CAB_EX_shr };
    static const cab_expr_op bools[] = { CAB_EX_and, CAB_EX_or, CAB_EX_xor };
    static const cab_expr_op unary[] = { CAB_EX_neg, CAB_EX_abs, CAB_EX_tanh, CAB_EX_erf, CAB_EX_floor, CAB_EX_rint };
    bool f = cab_dtype_is_float(dt), b = dt == CAB_DT_bool;
    const cab_expr *x, *y, *c;

    if (depth == 0 || !pick(0, 4))
        return cab_ex_cast(spec, dt, leaf[pick(0, n - 1)]);
    x = random_expr(dt, leaf, n, depth - 1);
    if (f && !pick(0, 2))
        return op1(unary[pick(0, 5)], x);
    if (!f && !pick(0, 6))
        return op1(b ? CAB_EX_not : CAB_EX_neg, x);
    y = random_expr(dt, leaf, n, depth - 1);
    if (!pick(0, 5)) {
        c = cab_ex_scalar(spec, pick(0, 1) ? CAB_EX_lt : CAB_EX_eq, CAB_DT_bool, x, y, NULL);
        return cab_ex_scalar(spec, CAB_EX_select, dt, c, x, y);
    }
    return op2(f ? floats[pick(0, 4)] : b ? bools[pick(0, 2)] : ints[pick(0, 12)], x, y);
}

static const cab_expr *leaves(uint32_t axes, const cab_expr **leaf, int n)
{
    for (int i = 0; i < n; i++) {
        uint32_t some = axes & (pick(0, 2) ? ~0u : (uint32_t)pick(0, 255));
        leaf[i] = cab_ex_load(spec, view_of(any_type(), some, pick(0, 2) == 0, false));
    }
    return leaf[0];
}

static void make_map(void)
{
    const cab_expr *leaf[4];
    int n = (int)pick(1, 3), n_in = (int)pick(1, 3);
    cab_dtype dt = any_type();

    open_spec(CAB_SPEC_MAP);
    for (int i = 0; i < n; i++)
        par(pick(1, i == n - 1 ? 70 : 7));
    leaves(axes_of(CAB_AXIS_PAR), leaf, n_in);
    leaf[n_in] = cab_ex_axis(spec, (int)pick(0, n - 1));
    cab_spec_store(spec, 0, view_of(dt, axes_of(CAB_AXIS_PAR), pick(0, 4) == 0, true),
                   random_expr(dt, leaf, n_in + 1, (int)pick(1, 3)));
}

/* y[i, j] = x[clamp(index[i]), j] with a guarded neighbour. */
static void make_gather(void)
{
    open_spec(CAB_SPEC_MAP);
    int i = par(pick(1, 9)), j = par(pick(1, 40));
    int64_t rows = pick(1, 6);
    int index = view_of(pick(0, 1) ? CAB_DT_i64 : CAB_DT_i32, pick(0, 1) ? 1u << i : 3u, false, false);
    const cab_expr *at = cab_ex_cast(spec, CAB_DT_i64, cab_ex_load(spec, index));
    cab_view v = { .dtype = any_type(), .n_loaded = 1 };

    at = op2(CAB_EX_max, at, cab_ex_int(spec, CAB_DT_i64, 0));
    at = op2(CAB_EX_min, at, cab_ex_int(spec, CAB_DT_i64, rows - 1));
    v.at = cab_affine_zero(dims);
    cab_affine_add(dims, &v.at, j, cst(1));
    v.loaded[0].index = at;
    v.loaded[0].stride = spec->axis[j].extent;
    v.operand = cab_spec_operand(spec, v.dtype, false, cab_dim_mul(dims, cst(rows), spec->axis[j].extent));
    if (pick(0, 1)) {          /* x[.., j + d] where that exists */
        int64_t d = pick(-2, 2);
        v.n_guards = 1;
        v.fill = 3;
        v.guard[0].at = cab_affine_zero(dims);
        v.guard[0].at.base = cst(d);
        cab_affine_add(dims, &v.guard[0].at, j, cst(1));
        v.guard[0].extent = spec->axis[j].extent;
        v.at.base = cst(d);
    }
    const cab_expr *x = cab_ex_load(spec, cab_spec_view(spec, &v));
    cab_spec_store(spec, 0, view_of(v.dtype, 3, pick(0, 1), true), x);
}

/* y[i, index[k], j] takes x[i, k, j], where the index is inside. */
static void make_scatter(void)
{
    cab_dtype dt = any_type();
    cab_store_mode mode = (cab_store_mode)pick(CAB_STORE_PLAIN, CAB_STORE_MIN);
    int64_t rows = pick(1, 7), elems;
    cab_view v = { .dtype = dt, .n_loaded = 1 };

    open_spec(CAB_SPEC_MAP);
    int i = pick(0, 1) ? par(pick(1, 5)) : -1, j = pick(0, 3) ? par(pick(1, 40)) : -1, k = red(pick(1, 20));
    uint32_t all = axes_of(CAB_AXIS_PAR) | 1u << k;
    int index = view_of(CAB_DT_i64, pick(0, 2) ? 1u << k : all, false, false);
    const cab_expr *x = cab_ex_load(spec, view_of(any_type(), all, pick(0, 2) == 0, false));
    if (dt == CAB_DT_bool && (mode == CAB_STORE_ADD || mode == CAB_STORE_MUL))
        mode = CAB_STORE_MAX;
    v.at = cab_affine_zero(dims);
    v.loaded[0] = (struct cab_loaded){ cab_ex_load(spec, index), cst(1), extent(rows) };
    if (j >= 0) {
        v.loaded[0].stride = spec->axis[j].extent;
        cab_affine_add(dims, &v.at, j, cst(1));
    }
    const cab_dim *plane = cab_dim_mul(dims, cst(rows), v.loaded[0].stride), *total = plane;
    if (i >= 0) {
        cab_affine_add(dims, &v.at, i, plane);
        total = cab_dim_mul(dims, plane, spec->axis[i].extent);
    }
    elems = dim_value(total, &env);
    v.operand = cab_spec_operand(spec, dt, true, pick(0, 1) ? total : cst(elems));
    cab_spec_store_with(spec, 1u << k, mode, cab_spec_view(spec, &v), cab_ex_cast(spec, dt, x));
}

/* Running folds along one or two axes, forwards or backwards. */
static void make_scan(void)
{
    const cab_expr *leaf[2], *x;
    cab_dtype dt = any_type();
    cab_red r = (cab_red)pick(CAB_RED_SUM, CAB_RED_MIN);
    int n = (int)pick(0, 2);
    cab_view *v;

    open_spec(CAB_SPEC_MAP);
    for (int i = 0; i < n; i++)
        par(pick(1, i ? 40 : 6));
    int k = red(pick(1, 40));
    if (!pick(0, 2))
        red(pick(1, 5));
    uint32_t all = axes_of(CAB_AXIS_PAR) | axes_of(CAB_AXIS_RED);
    if (r == CAB_RED_PROD)
        dt = CAB_DT_f64;
    leaves(all, leaf, 2);
    x = random_expr(dt, leaf, 2, (int)pick(0, 2));
    if (dt == CAB_DT_bool || dt == CAB_DT_f16 || dt == CAB_DT_bf16)
        x = cab_ex_cast(spec, CAB_DT_f32, x);
    int to = view_of(pick(0, 1) ? x->dtype : CAB_DT_f64, all, pick(0, 1), true);
    v = &spec->views.p[to];
    if (pick(0, 1)) {          /* from the end */
        const cab_dim *c = v->at.coef[k];
        v->at.base = cab_dim_mul(dims, c, cab_dim_sub(dims, spec->axis[k].extent, cst(1)));
        v->at.coef[k] = cab_dim_sub(dims, cst(0), c);
    }
    cab_spec_scan(spec, axes_of(CAB_AXIS_RED), r, x->dtype, pick(0, 1), to, x);
}

static const cab_expr *sum_of(uint32_t axes, cab_dtype acc, cab_red r, const cab_expr *x)
{
    return cab_ex_result(spec, cab_spec_reduce(spec, axes, r, acc, x));
}

static void make_softmax(void)
{
    open_spec(CAB_SPEC_ROWRED);
    par(pick(1, 9));
    if (pick(0, 1))
        par(pick(1, 20));
    int k = red(pick(1, 90));
    uint32_t all = axes_of(CAB_AXIS_PAR) | 1u << k;
    const cab_expr *x = cab_ex_load(spec, view_of(pick(0, 2) ? CAB_DT_f32 : CAB_DT_f16, all, pick(0, 2) == 0, false));
    x = cab_ex_cast(spec, CAB_DT_f32, x);
    const cab_expr *max = sum_of(1u << k, CAB_DT_f32, CAB_RED_MAX, x);
    const cab_expr *e = op1(CAB_EX_exp, op2(CAB_EX_sub, x, max));
    const cab_expr *sum = sum_of(1u << k, CAB_DT_f32, CAB_RED_SUM, e);
    cab_spec_store(spec, 1u << k, view_of(CAB_DT_f32, all, false, true), op2(CAB_EX_div, e, sum));
}

static void make_reduce(void)
{
    const cab_expr *leaf[3], *x;
    cab_dtype dt = any_type(), acc;
    cab_red r = (cab_red)pick(0, 7);
    int n = (int)pick(0, 2), m = (int)pick(1, 2);

    open_spec(CAB_SPEC_ROWRED);
    for (int i = 0; i < n; i++)
        par(pick(1, i ? 40 : 6));
    for (int i = 0; i < m; i++)
        red(pick(1, i ? 50 : 5));
    leaves(axes_of(CAB_AXIS_PAR) | axes_of(CAB_AXIS_RED), leaf, 2);
    if (r == CAB_RED_PROD)
        dt = CAB_DT_f64;
    x = random_expr(dt, leaf, 2, (int)pick(0, 2));
    acc = dt == CAB_DT_bool && r < CAB_RED_MAX ? CAB_DT_i32 : dt;
    x = sum_of(axes_of(CAB_AXIS_RED), acc, r, cab_ex_cast(spec, acc, x));
    cab_spec_store(spec, 0, view_of(x->dtype, axes_of(CAB_AXIS_PAR), false, true), x);
}

static const cab_expr *epilogue(const cab_expr *x, uint32_t n_axes, uint32_t all)
{
    if (pick(0, 1))
        x = op2(CAB_EX_add, x, cab_ex_cast(spec, x->dtype, cab_ex_load(spec, view_of(CAB_DT_f32, n_axes, false, false))));
    if (pick(0, 1))
        x = op2(CAB_EX_max, x, cab_ex_int(spec, x->dtype, 0));
    if (!pick(0, 2))
        x = op2(CAB_EX_add, x, cab_ex_cast(spec, x->dtype, cab_ex_load(spec, view_of(x->dtype, all, false, false))));
    return x;
}

static void make_dot(void)
{
    static const cab_dtype types[] = { CAB_DT_f32, CAB_DT_f32, CAB_DT_f64, CAB_DT_i32, CAB_DT_f16, CAB_DT_bf16 };
    cab_dtype dt = types[pick(0, 5)], acc = cab_dtype_bits(dt) == 16 ? CAB_DT_f32 : dt;
    uint32_t batch = 0, m = 0, n = 0, k = 0;
    const cab_expr *a, *b, *x;

    open_spec(CAB_SPEC_CONTRACT);
    if (!pick(0, 2))
        batch |= 1u << par(pick(1, 3));
    if (pick(0, 6))
        m |= 1u << par(pick(1, 33));
    if (!pick(0, 3))
        n |= 1u << par(pick(1, 3));
    n |= 1u << par(pick(1, 70));
    if (!pick(0, 3))
        k |= 1u << red(pick(1, 3));
    k |= 1u << red(pick(1, 40));
    a = cab_ex_load(spec, view_of(dt, batch | m | k, pick(0, 4) == 0, false));
    b = cab_ex_load(spec, view_of(dt, (pick(0, 3) ? 0 : batch) | n | k, pick(0, 1) == 0, false));
    a = cab_ex_cast(spec, acc, a);
    b = cab_ex_cast(spec, acc, b);
    x = pick(0, 3) ? op2(CAB_EX_mul, a, b) : op2(CAB_EX_mul, b, a);
    x = sum_of(k, acc, CAB_RED_SUM, x);
    x = epilogue(x, n, batch | m | n);
    cab_spec_store(spec, 0, view_of(dt, batch | m | n, pick(0, 4) == 0, true), x);
}

/* y = a b with n columns and k terms, b [n, k] or [k, n]. */
static void make_product(int64_t n_cols, int64_t k_terms)
{
    static const cab_dtype types[] = { CAB_DT_f32, CAB_DT_f64, CAB_DT_f16, CAB_DT_i32 };
    cab_dtype dt = types[pick(0, 3)], acc = dt == CAB_DT_f16 ? CAB_DT_f32 : dt;
    uint32_t m = 0, n, k;

    open_spec(CAB_SPEC_CONTRACT);
    if (pick(0, 3))
        m = 1u << par(pick(1, 9));
    n = 1u << cab_spec_axis(spec, CAB_AXIS_PAR, cst(n_cols), "n");
    k = 1u << cab_spec_axis(spec, CAB_AXIS_RED, cst(k_terms), "k");
    const cab_expr *a = cab_ex_load(spec, view_of(dt, m | k, false, false));
    const cab_expr *b = cab_ex_load(spec, view_of(dt, n | k, pick(0, 1), false));
    const cab_expr *x = op2(CAB_EX_mul, cab_ex_cast(spec, acc, a), cab_ex_cast(spec, acc, b));
    x = epilogue(sum_of(k, acc, CAB_RED_SUM, x), n, m | n);
    cab_spec_store(spec, 0, view_of(dt, m | n, false, true), x);
}

/* conv (groups of a map when depthwise) or pooling over [h, w, c], stride s. */
static void make_window(bool conv)
{
    cab_view v = { .dtype = CAB_DT_f32 };
    int64_t s = pick(1, 2), pad = pick(0, 1), kh = pick(1, 3), kw = pick(1, 3);
    int h, w, c, o = -1, i, j;

    open_spec(conv ? CAB_SPEC_CONTRACT : CAB_SPEC_WINDOW);
    h = par(pick(1, 7));
    w = par(pick(1, 9));
    c = conv ? -1 : par(pick(1, 40));
    o = conv ? par(pick(1, 40)) : -1;
    i = cab_spec_axis(spec, CAB_AXIS_RED, cst(kh), "kh");
    j = cab_spec_axis(spec, CAB_AXIS_RED, cst(kw), "kw");
    if (conv)
        c = red(pick(1, 20));
    const cab_dim *C = spec->axis[c].extent;
    int64_t ih = (value(h) - 1) * s + kh - 2 * pad, iw = (value(w) - 1) * s + kw - 2 * pad;
    if (ih < 1 || iw < 1 || conv)
        ih += 2 * pad, iw += 2 * pad, pad = 0;
    const cab_dim *row = cab_dim_mul(dims, cst(iw), C);
    v.at = cab_affine_zero(dims);
    v.at.base = cab_dim_mul(dims, cst(-pad), cab_dim_add(dims, row, C));
    cab_affine_add(dims, &v.at, h, cab_dim_mul(dims, cst(s), row));
    cab_affine_add(dims, &v.at, i, row);
    cab_affine_add(dims, &v.at, w, cab_dim_mul(dims, cst(s), C));
    cab_affine_add(dims, &v.at, j, C);
    cab_affine_add(dims, &v.at, c, cst(1));
    for (int g = 0; pad && g < 2; g++) {
        v.guard[g].at = cab_affine_zero(dims);
        v.guard[g].at.base = cst(-pad);
        cab_affine_add(dims, &v.guard[g].at, g ? w : h, cst(s));
        cab_affine_add(dims, &v.guard[g].at, g ? j : i, cst(1));
        v.guard[g].extent = cst(g ? iw : ih);
        v.n_guards = 2;
    }
    v.fill = conv ? 0 : -INFINITY;
    v.operand = cab_spec_operand(spec, CAB_DT_f32, false, cab_dim_mul(dims, cst(ih), row));
    const cab_expr *x = cab_ex_load(spec, cab_spec_view(spec, &v));
    uint32_t k = axes_of(CAB_AXIS_RED), all = axes_of(CAB_AXIS_PAR);
    if (conv || pick(0, 1)) {
        uint32_t weights = conv ? 1u << o | k : 1u << c | k;
        if (v.n_guards)
            spec->views.p[0].fill = 0;
        x = op2(CAB_EX_mul, x, cab_ex_load(spec, view_of(CAB_DT_f32, weights, conv, false)));
        x = sum_of(k, CAB_DT_f32, CAB_RED_SUM, x);
        x = epilogue(x, conv ? 1u << o : 1u << c, all);
    } else {
        x = sum_of(k, CAB_DT_f32, CAB_RED_MAX, x);
    }
    cab_spec_store(spec, 0, view_of(CAB_DT_f32, all, false, true), x);
}

/* ---- windows over an operand with zeroes around it ---- */

/* [h, w, c] inside [lo + h + hi, ...]: which operand, -1 = none. */
typedef struct frame { int operand; int64_t h, w, c, lo[2], hi[2]; } frame;
static frame around = { .operand = -1 };

/* Stores x wherever the frame is not the operand. */
static void fill_frame(const memory *m, float x)
{
    int64_t rows = around.lo[0] + around.h + around.hi[0], width = around.lo[1] + around.w + around.hi[1];

    for (int64_t i = 0; i < rows * width * around.c; i++) {
        int64_t row = i / (width * around.c) - around.lo[0], col = i / around.c % width - around.lo[1];
        if (row < 0 || row >= around.h || col < 0 || col >= around.w)
            ((float *)(void *)m->p)[i] = x;
    }
}

typedef struct window { int64_t oh, ow, c, o, kh, kw, stride, dilation; bool depthwise; } window;

/* An extent of the frame, with what is left of the pads when they are too large. */
static int64_t frame_extent(const window *w, int64_t out, int64_t taps, int i)
{
    int64_t n = (out - 1) * w->stride + (taps - 1) * w->dilation + 1;

    if (around.lo[i] + around.hi[i] >= n)
        around.lo[i] = around.hi[i] = 0;
    return n - around.lo[i] - around.hi[i];
}

static void make_framed(const window *w)
{
    cab_view v = { .dtype = CAB_DT_f32, .at = cab_affine_zero(dims), .n_halo = 2 };
    int out[2], tap[2], c, o = -1;

    open_spec(w->depthwise ? CAB_SPEC_WINDOW : CAB_SPEC_CONTRACT);
    around.h = frame_extent(w, w->oh, w->kh, 0);
    around.w = frame_extent(w, w->ow, w->kw, 1);
    around.c = w->c;
    out[0] = par(w->oh);
    out[1] = par(w->ow);
    c = w->depthwise ? par(w->c) : -1;
    o = w->depthwise ? -1 : par(w->o);
    tap[0] = cab_spec_axis(spec, CAB_AXIS_RED, cst(w->kh), "kh");
    tap[1] = cab_spec_axis(spec, CAB_AXIS_RED, cst(w->kw), "kw");
    c = w->depthwise ? c : red(w->c);
    cab_affine_add(dims, &v.at, c, cst(1));
    for (int i = 0; i < 2; i++) {
        int64_t pitch = i ? w->c : (around.lo[1] + around.w + around.hi[1]) * w->c;
        cab_affine_add(dims, &v.at, out[i], cst(pitch * w->stride));
        cab_affine_add(dims, &v.at, tap[i], cst(pitch * w->dilation));
        v.halo[i].at = cab_affine_zero(dims);
        v.halo[i].at.base = cst(-around.lo[i]);
        cab_affine_add(dims, &v.halo[i].at, out[i], cst(w->stride));
        cab_affine_add(dims, &v.halo[i].at, tap[i], cst(w->dilation));
        v.halo[i].extent = extent(i ? around.w : around.h);
    }
    v.operand = around.operand =
        cab_spec_operand(spec, CAB_DT_f32, false, cst((around.lo[0] + around.h + around.hi[0]) *
                                                      (around.lo[1] + around.w + around.hi[1]) * w->c));
    const cab_expr *x = cab_ex_load(spec, cab_spec_view(spec, &v));
    uint32_t k = axes_of(CAB_AXIS_RED), all = axes_of(CAB_AXIS_PAR), n = 1u << (w->depthwise ? c : o);
    x = op2(CAB_EX_mul, x, cab_ex_load(spec, view_of(CAB_DT_f32, n | k, pick(0, 1), false)));
    x = epilogue(sum_of(k, CAB_DT_f32, CAB_RED_SUM, x), n, all);
    cab_spec_store(spec, 0, view_of(CAB_DT_f32, all, false, true), x);
}

static void make_halo(void)
{
    window w = { .oh = pick(1, 9), .ow = pick(1, pick(0, 1) ? 8 : 30), .c = pick(1, 20), .o = pick(1, 40),
                 .kh = pick(1, 5), .kw = pick(1, 5), .stride = pick(1, 2), .dilation = pick(0, 3) ? 1 : 2,
                 .depthwise = pick(0, 1) };

    for (int i = 0; i < 2; i++) {
        around.lo[i] = pick(0, 5);
        around.hi[i] = pick(0, 5);
    }
    make_framed(&w);
}

static void make_spec(void)
{
    switch (pick(0, 10)) {
    case 0: case 1: make_map(); break;
    case 2: make_gather(); break;
    case 3: make_softmax(); break;
    case 4: make_reduce(); break;
    case 5: make_window(false); break;
    case 6: make_window(true); break;
    case 7: make_scatter(); break;
    case 8: make_scan(); break;
    case 9: make_halo(); break;
    default: make_dot(); break;
    }
}

/* ---- running ---- */

static cab_diag diag;

static void complain(const char *what, const cab_kernel *k, const cab_sched *sched, uint64_t seed)
{
    cab_buf b = cab_buf_on(arena);

    cab_spec_print(&b, spec);
    cab_sched_print(&b, sched);
    if (k && cab_debug_level() >= 4) {
        cab_buf_char(&b, '\n');
        cab_kir_print(&b, k->kir);
    }
    fprintf(stderr, "seed %" PRIu64 ": %s\n%s\n", seed, what, cab_buf_cstr(&b));
    for (size_t i = 0; i < diag.n; i++)
        fprintf(stderr, "  %s\n", diag.entries[i].text);
    cab_diag_clear(&diag);
    test_failed++;
}

/* Runs the kernel by interpreter or code on copies of mem; compares. */
static void run_kernel(const cab_kernel *k, kernel_fn f, const memory *mem, const memory *want,
                       const cab_sched *sched, uint64_t seed)
{
    memory got[MAX_OPERANDS];
    void *ptr[MAX_OPERANDS];
    cab_kir_buf bufs[MAX_OPERANDS];
    int64_t *ints = CAB_NEW_N(arena, int64_t, k->n_params + 1);
    int64_t tasks = dim_value(k->n_tasks, &env), half = f && tasks > 1 ? tasks / 2 : tasks;
    uint64_t at = 0;

    for (int i = 0; i < spec->n_operands; i++) {
        got[i] = copy_of(&mem[i]);
        for (int j = 0; j < k->n_packs; j++)
            if (k->packs[j].operand == i) {
                got[i] = create_memory(mem[i].dt, packed_elems(&k->packs[j]));
                pack_operand(&k->packs[j], mem[i].p, got[i].p);
            }
        ptr[i] = got[i].p;
        bufs[i] = (cab_kir_buf){ got[i].p, got[i].elems };
    }
    for (int i = 0; i < k->n_params; i++)
        ints[i] = dim_value(k->params[i], &env);
    if (f) {
        f(ptr, ints, half, tasks);
        f(ptr, ints, 0, half);
    } else if (cab_kir_run(arena, k->kir, bufs, ints, 0, tasks, &diag) != CAB_OK) {
        complain("the interpreter refuses", k, sched, seed);
        return;
    }
    for (int i = 0; i < spec->n_operands; i++) {
        if (!guards_hold(&got[i])) {
            complain(cab_printf(arena, "%s: wrote outside operand %d", f ? "code" : "interpreter", i), k, sched, seed);
            return;
        }
        if (spec->operands[i].written && !same_contents(&got[i], &want[i], &at)) {
            complain(cab_printf(arena, "%s: operand %d differs at %" PRIu64 ": %g, expected %g",
                                f ? "code" : "interpreter", i, at,
                                cab_elem_f64(got[i].dt, got[i].p, at),
                                cab_elem_f64(want[i].dt, want[i].p, at)), k, sched, seed);
            return;
        }
    }
    test_passed++;
}

/* Some other schedule the generator accepts. */
static void mutate(cab_sched *s, const cab_target *t)
{
    int lanes = 1 << pick(0, t->vector_bytes == 64 ? 4 : t->vector_bytes == 32 ? 3 : 2);
    int width;

    s->mr = s->n_block || pick(0, 1) ? (int)pick(1, 5) : 0;
    s->nv = s->n_block && !pick(0, 3) ? (int)pick(4, 8) : (int)pick(1, 3);
    s->ku = (int)pick(1, 10);
    s->unroll = (int)pick(1, 4);
    s->turn = !s->n_block && !pick(0, 2) ? CAB_TURN_VECTORS : CAB_TURN_NONE;
    s->task_axes = (int)pick(0, 3);
    s->task_block = (int)pick(0, 20);
    if (!s->n_block) {
        s->lanes = lanes;
        s->vec_axis = (int)pick(0, spec->n_axes - 1);
        s->m_axis = (int)pick(0, spec->n_axes - 1);
    }
    if (s->turn) {
        static const int steps[] = { 2, 3, 4, 8, 16 };
        s->n_axis = (int)pick(0, spec->n_axes - 1);
        s->nv = steps[pick(0, 4)];
        s->mr = 0;
    }
    if (s->n_block && lanes > 1 && pick(0, 1))
        s->lanes = lanes;
    width = s->nv * s->lanes;
    if (s->n_block)
        s->n_block = width * (int)pick(1, 3);
    if (s->task_axes > 0 && s->n_block)
        s->task_block = width * (int)pick(1, 2);
    s->row_stores = s->n_block && s->mr > 1 && pick(0, 1);
    s->skip = (int)pick(0, 3);
}

/* Any numbers that a file may hold. */
static cab_sched wild(void)
{
    static const int lanes[] = { 0, 1, 2, 4, 8, 16, 32, 64 };
    cab_sched s = { .mr = (int)pick(0, 9), .nv = (int)pick(0, 5), .ku = (int)pick(0, 9),
                    .kc = (int)pick(0, 9), .lanes = lanes[pick(0, 5)], .unroll = (int)pick(0, 5),
                    .vec_axis = (int)pick(0, 5), .m_axis = (int)pick(0, 5), .n_axis = (int)pick(0, 5),
                    .task_axes = (int)pick(0, 5), .task_block = (int)pick(0, 70), .turn = !pick(0, 3),
                    .swap = (int)pick(0, 1), .pack_b = (int)pick(0, 1),
                    .skip = (int)pick(0, 3), .row_stores = !pick(0, 3), .stage_rows = (int)pick(0, 1),
                    .ir_passes = (int)pick(0, 1) };

    if (pick(0, 2) && s.lanes > 1) {       /* more of those that may be products */
        s.n_axis = s.vec_axis;
        s.turn = 0;
        s.n_block = (s.nv > 1 ? s.nv : 1) * s.lanes * (int)pick(1, 3);
    }
    return s;
}

static void check_sched(const cab_target *t, const cab_sched *given, bool any, const memory *mem,
                        const memory *want, uint64_t seed)
{
    cab_sched sched = *given;
    cab_kernel k;
    loaded l;
    const cab_kir *kirs[1];
    cab_status s = cab_generate(arena, spec, &sched, t, "kernel", &k, &diag);

    if (any && s == CAB_EINVAL) {   /* refused, as is right for some */
        cab_diag_clear(&diag);
        return;
    }
    if (s != CAB_OK || cab_kir_verify(k.kir, &diag) != CAB_OK) {
        complain("not generated", &k, &sched, seed);
        return;
    }
    run_kernel(&k, NULL, mem, want, &sched, seed);
    kirs[0] = k.kir;
    if (load_kernels(arena, kirs, 1, t, &l, &diag) != CAB_OK) {
        complain("not compiled", &k, &sched, seed);
        return;
    }
    run_kernel(&k, loaded_find(&l, "kernel"), mem, want, &sched, seed);
    unload(&l);
}

/* One thread per point: the interpreter runs the blocks. */
static void check_cuda(const memory *mem, const memory *want, uint64_t seed)
{
    static const cab_sched none;
    cab_kernel k;
    cab_buf text = cab_buf_on(arena);

    if (cab_generate_cuda(arena, spec, "kernel", &k, &diag) != CAB_OK ||
        cab_kir_verify(k.kir, &diag) != CAB_OK ||
        cab_kir_to_cuda(&text, k.kir, &diag) != CAB_OK) {
        complain("no CUDA form", NULL, &none, seed);
        return;
    }
    run_kernel(&k, NULL, mem, want, &none, seed);
}

/* Schedules that a tuner may try, and what else a record may ask for. */
static void check_others(const cab_target *t, const bool *constant, const memory *mem,
                         const memory *want, uint64_t seed)
{
    enum { MOST = 24, WILD = 40 };
    cab_sched list[MOST], chosen = cab_sched_choose(spec, t, constant, false);
    int n = cab_sched_candidates(spec, t, constant, list, MOST);

    CHECK(n >= 1 && n <= MOST && !memcmp(&list[0], &chosen, sizeof chosen));
    for (int i = 1; i < n; i++)
        CHECK(cab_sched_allowed(spec, constant, &list[i]));
    check_sched(t, &list[pick(0, n - 1)], false, mem, want, seed);
    for (int i = 0; i < WILD; i++) {
        cab_sched s = wild();
        if (!cab_sched_allowed(spec, constant, &s))
            continue;
        check_sched(t, &s, false, mem, want, seed);
        return;
    }
}

static void check_target(const cab_target *t, bool naive, const memory *mem, const memory *want,
                         uint64_t seed)
{
    bool constant[MAX_OPERANDS];
    cab_sched sched, again;

    for (int i = 0; i < spec->n_operands; i++)
        constant[i] = !spec->operands[i].written && pick(0, 1);
    sched = cab_sched_choose(spec, t, constant, naive);
    if (!naive)
        check_others(t, constant, mem, want, seed);
    again = cab_sched_choose(spec, t, constant, naive);
    CHECK(!memcmp(&sched, &again, sizeof sched));
    check_sched(t, &sched, false, mem, want, seed);
    if (naive || pick(0, 1))
        return;
    mutate(&sched, t);
    check_sched(t, &sched, true, mem, want, seed);
}

/* Weights of tiles are stored once for code of every level; what is packed
 * along another axis (depthwise, one output channel) is small. */
static int check_same_packs(const bool *constant, uint64_t seed)
{
    static const char *const levels[] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };
    cab_kernel first = { 0 };

    for (int i = 0; i < 3; i++) {
        cab_target t;
        cab_kernel k;
        CHECK_EQ(cab_target_get(arena, levels[i], &t, &diag), CAB_OK);
        cab_sched sched = cab_sched_choose(spec, &t, constant, false);
        CHECK_EQ(cab_generate(arena, spec, &sched, &t, "kernel", &k, &diag), CAB_OK);
        CHECK_EQ(k.n_packs, sched.pack_b);
        if (!sched.n_block)
            return 0;
        if (i == 0)
            first = k;
        if (k.n_packs != first.n_packs ||
            (k.n_packs && memcmp(&k.packs[0], &first.packs[0], sizeof k.packs[0])))
            complain(cab_printf(arena, "%s packs otherwise", levels[i]), &k, &sched, seed);
    }
    return first.n_packs;
}

/* The product with all inputs constant, by several tiles of every target. */
static int check_packed(const cab_target *targets, int n_targets, const memory *mem,
                        const memory *want, uint64_t seed)
{
    bool constant[MAX_OPERANDS];

    for (int i = 0; i < spec->n_operands; i++)
        constant[i] = !spec->operands[i].written;
    for (int i = 0; i < n_targets; i++) {
        cab_sched chosen = cab_sched_choose(spec, &targets[i], constant, false);
        check_sched(&targets[i], &chosen, false, mem, want, seed);
        for (int j = 0; j < 2 && chosen.n_block; j++) {
            cab_sched other = chosen;
            mutate(&other, &targets[i]);
            check_sched(&targets[i], &other, true, mem, want, seed);
        }
    }
    return check_same_packs(constant, seed);
}

static void start_seed(uint64_t seed)
{
    cab_rng_seed(&rng, seed);
    dims = cab_dims_create(arena);
    env = (cab_env){ .arena = arena };
    around.operand = -1;
}

/* Fills the Spec's operands and computes what they must become. */
static bool reference(memory *mem, memory *want, uint64_t seed)
{
    void *ptr[MAX_OPERANDS];

    CHECK(spec->n_operands <= MAX_OPERANDS);
    for (int i = 0; i < spec->n_operands; i++) {
        mem[i] = create_memory(spec->operands[i].dtype, (uint64_t)dim_value(spec->operands[i].elems, &env));
        if (i == around.operand)
            fill_frame(&mem[i], 0);
        want[i] = copy_of(&mem[i]);
        ptr[i] = want[i].p;
    }
    if (cab_spec_eval(arena, spec, ptr, &env, &diag) != CAB_OK) {
        static const cab_sched none;
        complain("the reference refuses", NULL, &none, seed);
        return false;
    }
    return true;
}

static void check_seed(const cab_target *targets, int n_targets, uint64_t seed)
{
    memory mem[MAX_OPERANDS], want[MAX_OPERANDS];
    int failed = test_failed;

    start_seed(seed);
    make_spec();
    if (pick(0, 1))
        cab_spec_simplify(spec);
    if (!reference(mem, want, seed))
        return;
    check_target(&targets[pick(0, n_targets - 1)], true, mem, want, seed);
    check_cuda(mem, want, seed);
    for (int i = 0; i < n_targets && failed == test_failed; i++)
        check_target(&targets[i], false, mem, want, seed);
    if (spec->kind == CAB_SPEC_CONTRACT && failed == test_failed)
        check_packed(targets, n_targets, mem, want, seed);
}

/* Column counts around lanes, panels and tiles; terms with and without padding
 * between panels. */
static void check_edges(const cab_target *targets, int n_targets, uint64_t seed)
{
    static const int64_t columns[] = { 2, 3, 4, 5, 8, 9, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48,
                                       49, 64, 72, 129 };
    memory mem[MAX_OPERANDS], want[MAX_OPERANDS];
    cab_mark mark = cab_arena_mark(arena);
    int packed = 0;

    for (size_t i = 0; i < sizeof columns / sizeof *columns && test_failed < 10; i++) {
        start_seed(seed + i);
        make_product(columns[i], pick(0, 1) ? 32 : pick(3, 20));
        if (reference(mem, want, seed + i))
            packed += check_packed(targets, n_targets, mem, want, seed + i);
        cab_arena_release(arena, mark);
    }
    CHECK(packed >= 15);
}

/* y = erf(a b) + c with rows whose number the code does not know: every rest
 * that a tile of mr rows may leave, alone and after whole tiles, sometimes
 * inside another loop over rows. */
static void make_rows(int64_t rows, bool inside)
{
    const cab_dim *m = cab_dim_sym(dims, "M");
    uint32_t am, an, ak;

    cab_env_set(&env, "M", rows);
    open_spec(CAB_SPEC_CONTRACT);
    am = inside ? 1u << cab_spec_axis(spec, CAB_AXIS_PAR, cst(2), "h") : 0;
    am |= 1u << cab_spec_axis(spec, CAB_AXIS_PAR, m, "m");
    an = 1u << cab_spec_axis(spec, CAB_AXIS_PAR, cst(pick(0, 1) ? 40 : 32), "n");
    ak = 1u << cab_spec_axis(spec, CAB_AXIS_RED, cst(pick(0, 1) ? 8 : 7), "k");
    const cab_expr *b = cab_ex_load(spec, view_of(CAB_DT_f32, ak | an, false, false));
    const cab_expr *a = cab_ex_load(spec, view_of(CAB_DT_f32, am | ak, false, false));
    const cab_expr *x = op2(CAB_EX_mul, a, b);
    x = op1(CAB_EX_erf, sum_of(ak, CAB_DT_f32, CAB_RED_SUM, x));
    x = op2(CAB_EX_add, x, cab_ex_load(spec, view_of(CAB_DT_f32, am | an, false, false)));
    cab_spec_store(spec, 0, view_of(CAB_DT_f32, am | an, false, true), x);
}

static void check_rests(const cab_target *targets, int n_targets, uint64_t seed)
{
    memory mem[MAX_OPERANDS], want[MAX_OPERANDS];
    cab_mark mark = cab_arena_mark(arena);
    const bool constant[MAX_OPERANDS] = { true };      /* b is packed */

    for (int i = 0; i < 40 && test_failed < 10; i++) {
        const cab_target *t = &targets[i % n_targets];
        int rows = i / 2;
        start_seed(seed + (uint64_t)i);
        make_rows(rows, i & 1);        /* 0 rows: nothing is written */
        if (!reference(mem, want, seed + (uint64_t)i))
            return;
        cab_sched sched = cab_sched_choose(spec, t, constant, false);
        CHECK(sched.row_stores && sched.n_block);
        check_sched(t, &sched, false, mem, want, seed);
        sched.mr = 2 + rows % 7;
        sched.nv = 1 + rows % 3;
        sched.n_block = sched.nv * sched.lanes;
        check_sched(t, &sched, false, mem, want, seed);
        cab_arena_release(arena, mark);
    }
}

/* Where tiles stand at known places, what is around the operand is not read at
 * all: it is no number here. */
static void check_left_out(const cab_target *targets, int n_targets)
{
    static const window all[] = { { 7, 7, 40, 0, 3, 3, 1, 1, true }, { 7, 7, 24, 0, 5, 5, 1, 1, true },
                                  { 7, 14, 8, 32, 3, 3, 1, 1, false }, { 4, 4, 8, 32, 3, 3, 2, 1, false },
                                  { 5, 20, 16, 0, 3, 3, 1, 2, true } };
    memory mem[MAX_OPERANDS], want[MAX_OPERANDS];
    cab_mark mark = cab_arena_mark(arena);
    const bool constant[MAX_OPERANDS] = { false, true };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int j = 0; j < n_targets; j++) {
            start_seed(i);
            around.lo[0] = around.lo[1] = all[i].kh / 2 * all[i].dilation;
            around.hi[0] = around.hi[1] = around.lo[0] / all[i].stride;
            do
                make_framed(&all[i]);
            while (!cab_dim_is_const(spec->axis[1].extent) || !cab_dim_is_const(spec->views.p[0].halo[1].extent));
            if (!reference(mem, want, i))
                return;
            fill_frame(&mem[around.operand], NAN);
            memcpy(want[around.operand].p, mem[around.operand].p, mem[around.operand].bytes);
            cab_sched sched = cab_sched_choose(spec, &targets[j], constant, false);
            CHECK(sched.mr > 1 && sched.m_axis == 1);
            sched.skip = CAB_SKIP_LOOPS | CAB_SKIP_ROWS;
            sched.task_axes = sched.task_block = 0;
            check_sched(&targets[j], &sched, false, mem, want, i);
            cab_arena_release(arena, mark);
        }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : 60;
    static cab_job job;
    cab_target targets[4];
    cab_mark mark;
    int n = 0;

    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    CHECK_EQ(cab_target_get(arena, NULL, &targets[n++], &diag), CAB_OK);
    CHECK_EQ(cab_target_get(arena, "x86-64-v2", &targets[n++], &diag), CAB_OK);
    if (targets[0].vector_bytes >= 32)
        CHECK_EQ(cab_target_get(arena, "x86-64-v3", &targets[n++], &diag), CAB_OK);
    if (targets[0].vector_bytes >= 64)
        CHECK_EQ(cab_target_get(arena, "x86-64-v4", &targets[n++], &diag), CAB_OK);
    if (count > 1) {
        check_edges(targets, n, seed);
        check_rests(targets, n, seed);
        check_left_out(targets, n);
    }
    mark = cab_arena_mark(arena);
    for (uint64_t i = 0; i < count && test_failed < 10; i++) {
        check_seed(targets, n, seed + i);
        cab_arena_release(arena, mark);
    }
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    TEST_END();
}
