/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_eval.c - the reference evaluator against hand-computed values, and
 * against itself where algebra ties two ops together.
 */
#include "ir/eval_int.h"
#include "tests/test.h"
#include <math.h>

static cab_job job;
static cab_arena *arena;
static cab_graph *graph;
static cab_diag diag;
static cab_rng rng;

static void begin(void)
{
    arena = cab_arena_create(&job);
    graph = cab_graph_create(arena, "t", CAB_LEVEL_CORE);
    cab_diag_init(&diag);
    cab_rng_seed(&rng, 11);
}

static void end(void)
{
    cab_diag_fini(&diag);
    cab_arena_destroy(arena);
}

/* ---- scalars ---- */
#define F(v) { .f = (v) }
#define I(v) { .i = (int64_t)(v) }

static const struct scalar_case {
    cab_expr_op op;
    cab_dtype from, to;
    cab_scalar x[3], want;
} scalar_cases[] = {
    { CAB_EX_add, CAB_DT_i8, CAB_DT_i8, { I(127), I(1) }, I(-128) },
    { CAB_EX_add, CAB_DT_u8, CAB_DT_u8, { I(255), I(1) }, I(0) },
    { CAB_EX_sub, CAB_DT_u32, CAB_DT_u32, { I(0), I(1) }, I(4294967295) },
    { CAB_EX_mul, CAB_DT_i64, CAB_DT_i64, { I(INT64_MAX), I(2) }, I(-2) },
    { CAB_EX_mul, CAB_DT_u64, CAB_DT_u64, { I(UINT64_MAX), I(3) }, I(-3) },
    { CAB_EX_neg, CAB_DT_i64, CAB_DT_i64, { I(INT64_MIN) }, I(INT64_MIN) },
    { CAB_EX_neg, CAB_DT_u16, CAB_DT_u16, { I(1) }, I(65535) },
    { CAB_EX_abs, CAB_DT_i16, CAB_DT_i16, { I(-32768) }, I(-32768) },
    { CAB_EX_div, CAB_DT_i32, CAB_DT_i32, { I(-7), I(2) }, I(-3) },
    { CAB_EX_div, CAB_DT_i32, CAB_DT_i32, { I(5), I(0) }, I(0) },
    { CAB_EX_div, CAB_DT_i64, CAB_DT_i64, { I(INT64_MIN), I(-1) }, I(INT64_MIN) },
    { CAB_EX_div, CAB_DT_i8, CAB_DT_i8, { I(-128), I(-1) }, I(-128) },
    { CAB_EX_div, CAB_DT_u64, CAB_DT_u64, { I(UINT64_MAX), I(2) }, I(INT64_MAX) },
    { CAB_EX_mod, CAB_DT_i32, CAB_DT_i32, { I(-7), I(3) }, I(2) },
    { CAB_EX_mod, CAB_DT_i32, CAB_DT_i32, { I(7), I(-3) }, I(-2) },
    { CAB_EX_rem, CAB_DT_i32, CAB_DT_i32, { I(-7), I(3) }, I(-1) },
    { CAB_EX_rem, CAB_DT_i64, CAB_DT_i64, { I(INT64_MIN), I(-1) }, I(0) },
    { CAB_EX_mod, CAB_DT_i64, CAB_DT_i64, { I(7), I(0) }, I(0) },
    { CAB_EX_mod, CAB_DT_u64, CAB_DT_u64, { I(UINT64_MAX), I(10) }, I(5) },
    { CAB_EX_mod, CAB_DT_f32, CAB_DT_f32, { F(-5.5), F(3) }, F(0.5) },
    { CAB_EX_rem, CAB_DT_f32, CAB_DT_f32, { F(-5.5), F(3) }, F(-2.5) },
    { CAB_EX_pow, CAB_DT_i32, CAB_DT_i32, { I(-3), I(3) }, I(-27) },
    { CAB_EX_pow, CAB_DT_i32, CAB_DT_i32, { I(2), I(-1) }, I(0) },
    { CAB_EX_pow, CAB_DT_i32, CAB_DT_i32, { I(-1), I(-3) }, I(-1) },
    { CAB_EX_pow, CAB_DT_u8, CAB_DT_u8, { I(3), I(6) }, I(729 % 256) },
    { CAB_EX_min, CAB_DT_u64, CAB_DT_u64, { I(-1), I(1) }, I(1) },
    { CAB_EX_max, CAB_DT_i64, CAB_DT_i64, { I(-1), I(1) }, I(1) },
    { CAB_EX_min, CAB_DT_f32, CAB_DT_f32, { F(1), F(NAN) }, F(NAN) },
    { CAB_EX_max, CAB_DT_f64, CAB_DT_f64, { F(NAN), F(1) }, F(NAN) },
    { CAB_EX_max, CAB_DT_bool, CAB_DT_bool, { I(0), I(1) }, I(1) },
    { CAB_EX_rint, CAB_DT_f32, CAB_DT_f32, { F(2.5) }, F(2) },
    { CAB_EX_rint, CAB_DT_f32, CAB_DT_f32, { F(-3.5) }, F(-4) },
    { CAB_EX_trunc, CAB_DT_f32, CAB_DT_f32, { F(-3.5) }, F(-3) },
    { CAB_EX_sign, CAB_DT_f32, CAB_DT_f32, { F(NAN) }, F(NAN) },
    { CAB_EX_sign, CAB_DT_i8, CAB_DT_i8, { I(-9) }, I(-1) },
    { CAB_EX_sign, CAB_DT_u8, CAB_DT_u8, { I(200) }, I(1) },
    { CAB_EX_add, CAB_DT_f32, CAB_DT_f32, { F(16777216), F(1) }, F(16777216) },
    { CAB_EX_add, CAB_DT_f64, CAB_DT_f64, { F(16777216), F(1) }, F(16777217) },
    { CAB_EX_shl, CAB_DT_u8, CAB_DT_u8, { I(0x81), I(1) }, I(2) },
    { CAB_EX_shl, CAB_DT_u32, CAB_DT_u32, { I(1), I(32) }, I(0) },
    { CAB_EX_shr, CAB_DT_i8, CAB_DT_i8, { I(-128), I(3) }, I(-16) },
    { CAB_EX_shr, CAB_DT_u64, CAB_DT_u64, { I(UINT64_MAX), I(63) }, I(1) },
    { CAB_EX_shr, CAB_DT_i32, CAB_DT_i32, { I(-1), I(32) }, I(-1) },
    { CAB_EX_shr, CAB_DT_i32, CAB_DT_i32, { I(7), I(-2) }, I(0) },
    { CAB_EX_not, CAB_DT_bool, CAB_DT_bool, { I(1) }, I(0) },
    { CAB_EX_not, CAB_DT_u8, CAB_DT_u8, { I(1) }, I(254) },
    { CAB_EX_xor, CAB_DT_i16, CAB_DT_i16, { I(-1), I(5) }, I(-6) },
    { CAB_EX_lt, CAB_DT_u64, CAB_DT_bool, { I(1), I(-1) }, I(1) },
    { CAB_EX_lt, CAB_DT_i64, CAB_DT_bool, { I(1), I(-1) }, I(0) },
    { CAB_EX_le, CAB_DT_f32, CAB_DT_bool, { F(NAN), F(1) }, I(0) },
    { CAB_EX_ne, CAB_DT_f32, CAB_DT_bool, { F(NAN), F(NAN) }, I(1) },
    { CAB_EX_eq, CAB_DT_f32, CAB_DT_bool, { F(-0.0), F(0.0) }, I(1) },
    { CAB_EX_isinf, CAB_DT_f32, CAB_DT_bool, { F(-INFINITY) }, I(1) },
    { CAB_EX_isnan, CAB_DT_f16, CAB_DT_bool, { F(NAN) }, I(1) },
    { CAB_EX_select, CAB_DT_f32, CAB_DT_f32, { I(0), F(1), F(2) }, F(2) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_i8, { F(300) }, I(127) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_i8, { F(-128.9) }, I(-128) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_u8, { F(-1) }, I(0) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_u8, { F(255.9) }, I(255) },
    { CAB_EX_cast, CAB_DT_f64, CAB_DT_i64, { F(1e30) }, I(INT64_MAX) },
    { CAB_EX_cast, CAB_DT_f64, CAB_DT_u64, { F(1e30) }, I(UINT64_MAX) },
    { CAB_EX_cast, CAB_DT_f64, CAB_DT_u64, { F(0x1p63) }, I(INT64_MIN) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_i32, { F(NAN) }, I(0) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_bool, { F(NAN) }, I(1) },
    { CAB_EX_cast, CAB_DT_i32, CAB_DT_bool, { I(-5) }, I(1) },
    { CAB_EX_cast, CAB_DT_i32, CAB_DT_i8, { I(384) }, I(-128) },
    { CAB_EX_cast, CAB_DT_u64, CAB_DT_f64, { I(UINT64_MAX) }, F(0x1p64) },
    { CAB_EX_cast, CAB_DT_i64, CAB_DT_f32, { I((1ll << 53) + (1ll << 29) + 1) },
      F(0x1p53 + 0x1p30) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_f16, { F(65520) }, F(INFINITY) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_f16, { F(2049) }, F(2048) },
    /* Just above the tie 1 + 2^-11: through f32 it would round down to 1. */
    { CAB_EX_cast, CAB_DT_f64, CAB_DT_f16, { F(1 + 0x1p-11 + 0x1p-40) }, F(1 + 0x1p-10) },
    { CAB_EX_cast, CAB_DT_f64, CAB_DT_bf16, { F(1 + 0x1p-8 + 0x1p-40) }, F(1 + 0x1p-7) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_bf16, { F(1 + 0x1p-8) }, F(1) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_f8e4m3, { F(17) }, F(16) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_f8e4m3, { F(-1e9) }, F(-448) },
    { CAB_EX_cast, CAB_DT_f32, CAB_DT_f8e5m2, { F(1.2) }, F(1.25) },
    { CAB_EX_bitcast, CAB_DT_f32, CAB_DT_i32, { F(-2) }, I((int32_t)0xc0000000) },
    { CAB_EX_bitcast, CAB_DT_u16, CAB_DT_f16, { I(0x3c00) }, F(1) },
    { CAB_EX_exp, CAB_DT_f32, CAB_DT_f32, { F(1) }, F((double)2.71828182845904523536f) },
    { CAB_EX_erf, CAB_DT_f64, CAB_DT_f64, { F(0.5) }, F(0.52049987781304653768) },
};

static void check_scalars(void)
{
    for (size_t i = 0; i < sizeof scalar_cases / sizeof scalar_cases[0]; i++) {
        const struct scalar_case *c = &scalar_cases[i];
        cab_scalar got = cab_scalar_apply(c->op, c->from, c->to, c->x);
        bool same = cab_dtype_is_float(c->to)
                  ? got.f == c->want.f || (isnan(got.f) && isnan(c->want.f))
                  : got.i == c->want.i;
        if (!same)
            fprintf(stderr, "case %zu: got %g / %lld\n", i, got.f, (long long)got.i);
        CHECK(same);
    }
}

/* Stored and loaded again, every code of every narrow float comes back. */
static void check_narrow_floats(void)
{
    static const cab_dtype types[] = { CAB_DT_f16, CAB_DT_bf16, CAB_DT_f8e4m3,
                                       CAB_DT_f8e5m2, CAB_DT_f4e2m1 };
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        int bits = cab_dtype_bits(types[k]), wrong = 0;
        for (uint32_t code = 0; code < 1u << bits; code++) {
            uint16_t from = (uint16_t)code, to = 0;
            cab_scalar v = cab_scalar_load(types[k], &from, 0);
            if (!isfinite(v.f))
                continue;
            cab_scalar_store(types[k], &to, 0, v);
            wrong += from != to;
        }
        CHECK_EQ(wrong, 0);
    }
    uint8_t packed[2] = { 0 };
    for (int i = 0; i < 4; i++)
        cab_scalar_store(CAB_DT_i4, packed, (uint64_t)i, (cab_scalar){ .i = i - 2 });
    CHECK(packed[0] == 0xfe && packed[1] == 0x10);
    CHECK_EQ(cab_scalar_load(CAB_DT_i4, packed, 1).i, -1);
}

/* ---- ops through graphs ---- */
static const cab_dim *num(int64_t v) { return cab_dim_const(graph->dims, v); }

static cab_tensor tensor(cab_dtype t, int rank, const int64_t *shape)
{
    cab_tensor x = { .dtype = t, .rank = rank };
    for (int i = 0; i < rank; i++)
        x.dims[i] = shape[i];
    CHECK(cab_tensor_alloc(arena, &x));
    return x;
}

/* With the values 0, 1, 2 ... or small random integers. */
static cab_tensor ramp(cab_dtype t, int rank, const int64_t *shape)
{
    cab_tensor x = tensor(t, rank, shape);
    for (int64_t i = 0; i < cab_tensor_numel(&x); i++)
        cab_scalar_store(t, x.data, (uint64_t)i,
                         cab_scalar_cast(CAB_DT_i64, t, (cab_scalar){ .i = i }));
    return x;
}

static cab_tensor noise(cab_dtype t, int rank, const int64_t *shape)
{
    cab_tensor x = tensor(t, rank, shape);
    for (int64_t i = 0; i < cab_tensor_numel(&x); i++)
        cab_scalar_store(t, x.data, (uint64_t)i,
                         cab_scalar_cast(CAB_DT_i64, t,
                                         (cab_scalar){ .i = cab_rng_i64(&rng, -4, 4) }));
    return x;
}

static cab_tensor floats(int rank, const int64_t *shape, const float *v)
{
    cab_tensor x = tensor(CAB_DT_f32, rank, shape);
    memcpy(x.data, v, (size_t)cab_tensor_numel(&x) * sizeof *v);
    return x;
}

#define SHAPE(...) (const int64_t[]){ __VA_ARGS__ }

/* One node in a graph of its own; out[] gets its results. */
static cab_status run(cab_op_id op, int n_in, const cab_tensor *in, int n_out, cab_tensor *out,
                      int n_attr, const cab_attr *attr)
{
    cab_value *operands[4];
    /* The dims of the attributes belong to the pool of `graph`. */
    cab_graph *g = cab_graph_create_sub(graph, "sub");
    cab_diag_clear(&diag);
    for (int i = 0; i < n_in; i++) {
        cab_type t = cab_type_static(g, in[i].dtype, in[i].rank, in[i].dims);
        operands[i] = cab_graph_add_input(g, NULL, &t);
    }
    cab_builder b = cab_builder_at(g, NULL, &diag);
    cab_node *n = cab_build_node(&b, op, n_in, operands, n_out, n_attr, attr);
    if (!n)
        return b.status;
    for (int i = 0; i < n_out; i++)
        cab_graph_add_output(g, n->out[i], "y");
    return cab_eval_graph(arena, g, in, out, &diag);
}

static cab_tensor run1(cab_op_id op, int n_in, const cab_tensor *in, int n_attr,
                       const cab_attr *attr)
{
    cab_tensor out = { 0 };
    cab_status st = run(op, n_in, in, 1, &out, n_attr, attr);
    CHECK_EQ(st, CAB_OK);
    if (st != CAB_OK && cab_diag_first(&diag))
        fprintf(stderr, "%s: %s: %s\n", cab_op_get(op)->name, cab_diag_first(&diag)->where,
                cab_diag_first(&diag)->text);
    return out;
}

static bool same(const cab_tensor *a, const cab_tensor *b)
{
    uint64_t bytes = 0;
    if (a->dtype != b->dtype || a->rank != b->rank || !a->data || !b->data ||
        memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims))
        return false;
    cab_dtype_bytes(a->dtype, (uint64_t)cab_tensor_numel(a), &bytes);
    return !memcmp(a->data, b->data, (size_t)bytes);
}

static bool holds(const cab_tensor *t, int rank, const int64_t *shape, const double *v)
{
    if (t->rank != rank || memcmp(t->dims, shape, (size_t)rank * sizeof *shape) || !t->data)
        return false;
    for (int64_t i = 0; i < cab_tensor_numel(t); i++) {
        cab_scalar x = cab_scalar_load(t->dtype, t->data, (uint64_t)i);
        double got = cab_dtype_is_float(t->dtype) ? x.f : (double)x.i;
        if (got != v[i] && !(isnan(got) && isnan(v[i]))) {
            fprintf(stderr, "element %lld is %g, not %g\n", (long long)i, got, v[i]);
            return false;
        }
    }
    return true;
}

#define HOLDS(t, shape, ...)                                                \
    holds(&(t), (int)(sizeof(shape) / sizeof(int64_t)), shape, (const double[]){ __VA_ARGS__ })

static void check_elementwise(void)
{
    begin();
    cab_tensor in[3] = { ramp(CAB_DT_f32, 2, SHAPE(2, 1)), ramp(CAB_DT_f32, 1, SHAPE(3)) };
    cab_tensor y = run1(CAB_OP_sub, 2, in, 0, NULL);
    CHECK(HOLDS(y, SHAPE(2, 3), 0, -1, -2, 1, 0, -1));
    y = run1(CAB_OP_lt, 2, in, 0, NULL);
    CHECK(y.dtype == CAB_DT_bool);
    CHECK(HOLDS(y, SHAPE(2, 3), 0, 1, 1, 0, 0, 1));
    cab_tensor sel[3] = { y, in[0], in[1] };
    y = run1(CAB_OP_select, 3, sel, 0, NULL);
    CHECK(HOLDS(y, SHAPE(2, 3), 0, 0, 0, 0, 1, 1));
    cab_attr to = cab_a_dtype("to", CAB_DT_u8);
    in[0] = floats(1, SHAPE(4), (const float[]){ -1, 3.9f, 1e9f, NAN });
    y = run1(CAB_OP_cast, 1, in, 1, &to);
    CHECK(y.dtype == CAB_DT_u8);
    CHECK(HOLDS(y, SHAPE(4), 0, 3, 255, 0));
    end();
}

static void check_movement(void)
{
    begin();
    static const cab_dtype types[] = { CAB_DT_f32, CAB_DT_u8, CAB_DT_bool, CAB_DT_i64, CAB_DT_f16 };
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        cab_tensor x = noise(types[k], 3, SHAPE(2, 3, 4));
        cab_attr perm = cab_a_ints("perm", SHAPE(2, 0, 1), 3);
        cab_attr back = cab_a_ints("perm", SHAPE(1, 2, 0), 3);
        cab_tensor y = run1(CAB_OP_transpose, 1, &x, 1, &perm);
        CHECK_EQ(y.dims[0], 4);
        y = run1(CAB_OP_transpose, 1, &y, 1, &back);
        CHECK(same(&x, &y));
        /* Two slices put together are the whole. */
        const cab_dim *zero[3] = { num(0), num(0), num(0) }, *mid[3] = { num(0), num(1), num(0) };
        const cab_dim *d1[3] = { num(2), num(1), num(4) }, *d2[3] = { num(2), num(2), num(4) };
        cab_attr s1[3] = { cab_a_dims("starts", zero, 3), cab_a_ints("steps", SHAPE(1, 1, 1), 3),
                           cab_a_dims("dims", d1, 3) };
        cab_attr s2[3] = { cab_a_dims("starts", mid, 3), cab_a_ints("steps", SHAPE(1, 1, 1), 3),
                           cab_a_dims("dims", d2, 3) };
        cab_tensor parts[2] = { run1(CAB_OP_slice, 1, &x, 3, s1),
                                run1(CAB_OP_slice, 1, &x, 3, s2) };
        cab_attr axis = cab_a_int("axis", 1);
        y = run1(CAB_OP_concat, 2, parts, 1, &axis);
        CHECK(same(&x, &y));
    }
    cab_tensor x = ramp(CAB_DT_i32, 2, SHAPE(2, 3));
    const cab_dim *flat[1] = { num(6) }, *wide[3] = { num(2), num(2), num(3) };
    cab_attr a = cab_a_dims("dims", flat, 1);
    cab_tensor y = run1(CAB_OP_reshape, 1, &x, 1, &a);
    CHECK(HOLDS(y, SHAPE(6), 0, 1, 2, 3, 4, 5));
    a = cab_a_dims("dims", wide, 3);
    y = run1(CAB_OP_expand, 1, &x, 1, &a);
    CHECK(HOLDS(y, SHAPE(2, 2, 3), 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5));
    cab_tensor column = ramp(CAB_DT_i32, 2, SHAPE(2, 1));
    y = run1(CAB_OP_expand, 1, &column, 1, &a);
    CHECK(HOLDS(y, SHAPE(2, 2, 3), 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1));
    const cab_dim *from[2] = { num(1), num(2) }, *size[2] = { num(2), num(2) };
    cab_attr rev[3] = { cab_a_dims("starts", from, 2), cab_a_ints("steps", SHAPE(-1, -2), 2),
                        cab_a_dims("dims", size, 2) };
    y = run1(CAB_OP_slice, 1, &x, 3, rev);
    CHECK(HOLDS(y, SHAPE(2, 2), 5, 3, 2, 0));
    const cab_dim *lo[2] = { num(1), num(0) }, *hi[2] = { num(0), num(2) };
    cab_attr pads[2] = { cab_a_dims("lo", lo, 2), cab_a_dims("hi", hi, 2) };
    cab_tensor padded[2] = { x, tensor(CAB_DT_i32, 0, NULL) };
    memcpy(padded[1].data, &(int32_t){ 9 }, 4);
    y = run1(CAB_OP_pad, 2, padded, 2, pads);
    CHECK(HOLDS(y, SHAPE(3, 5), 9, 9, 9, 9, 9, 0, 1, 2, 9, 9, 3, 4, 5, 9, 9));
    y = run1(CAB_OP_pad, 1, &x, 2, pads);
    CHECK(HOLDS(y, SHAPE(3, 5), 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 5, 0, 0));
    end();
}

static void check_sources(void)
{
    begin();
    const cab_dim *shape[2] = { num(2), num(3) }, *d = num(7);
    cab_attr a[3] = { cab_a_dims("dims", shape, 2), cab_a_int("axis", 0),
                      cab_a_dtype("dtype", CAB_DT_f16) };
    cab_tensor y = run1(CAB_OP_iota, 0, NULL, 3, a);
    CHECK(HOLDS(y, SHAPE(2, 3), 0, 0, 0, 1, 1, 1));
    a[1] = cab_a_int("axis", 1);
    y = run1(CAB_OP_iota, 0, NULL, 3, a);
    CHECK(HOLDS(y, SHAPE(2, 3), 0, 1, 2, 0, 1, 2));
    cab_attr v = cab_a_dims("value", &d, 1);
    y = run1(CAB_OP_dim, 0, NULL, 1, &v);
    CHECK(y.dtype == CAB_DT_i64 && y.rank == 0 && *(int64_t *)y.data == 7);
    /* Constants may lie anywhere in a file. */
    char raw[1 + 16] = { 0 };
    memcpy(raw + 1, (const double[2]){ 1.5, -2 }, 16);
    cab_type t = cab_type_static(graph, CAB_DT_f64, 1, SHAPE(2));
    cab_value *c = cab_const_blob(graph, &t, raw + 1, 16, NULL);
    cab_graph_add_output(graph, c, "c");
    CHECK_EQ(cab_eval_graph(arena, graph, NULL, &y, &diag), CAB_OK);
    CHECK(HOLDS(y, SHAPE(2), 1.5, -2));
    end();
}

static void check_gather(void)
{
    begin();
    cab_tensor in[2] = { ramp(CAB_DT_u8, 3, SHAPE(2, 3, 2)), tensor(CAB_DT_i64, 1, SHAPE(2)) };
    memcpy(in[1].data, SHAPE(2, -3), 16);
    cab_attr axis = cab_a_int("axis", 1);
    cab_tensor y = run1(CAB_OP_gather, 2, in, 1, &axis);
    CHECK(HOLDS(y, SHAPE(2, 2, 2), 4, 5, 0, 1, 10, 11, 6, 7));
    memcpy(in[1].data, SHAPE(3, 0), 16);
    CHECK_EQ(run(CAB_OP_gather, 2, in, 1, &y, 1, &axis), CAB_EINPUT);
    CHECK(cab_diag_has_errors(&diag));
    end();
}

static void check_reductions(void)
{
    begin();
    cab_tensor x = ramp(CAB_DT_f32, 3, SHAPE(2, 2, 3));
    cab_attr a[3] = { cab_a_str("op", "sum"), cab_a_ints("axes", SHAPE(0, 2), 2),
                      cab_a_int("keepdims", 0) };
    cab_tensor y = run1(CAB_OP_reduce, 1, &x, 3, a);
    CHECK(HOLDS(y, SHAPE(2), 0 + 1 + 2 + 6 + 7 + 8, 3 + 4 + 5 + 9 + 10 + 11));
    a[2] = cab_a_int("keepdims", 1);
    a[0] = cab_a_str("op", "max");
    y = run1(CAB_OP_reduce, 1, &x, 3, a);
    CHECK(HOLDS(y, SHAPE(1, 2, 1), 8, 11));
    ((float *)x.data)[2] = NAN;
    y = run1(CAB_OP_reduce, 1, &x, 3, a);
    CHECK(HOLDS(y, SHAPE(1, 2, 1), NAN, 11));
    cab_tensor none = tensor(CAB_DT_i8, 1, SHAPE(0));
    a[1] = cab_a_ints("axes", SHAPE(0), 1);
    y = run1(CAB_OP_reduce, 1, &none, 3, a);
    CHECK(HOLDS(y, SHAPE(1), -128));
    a[0] = cab_a_str("op", "prod");
    y = run1(CAB_OP_reduce, 1, &none, 3, a);
    CHECK(HOLDS(y, SHAPE(1), 1));
    cab_tensor big = tensor(CAB_DT_u8, 1, SHAPE(300));
    memset(big.data, 1, 300);
    a[0] = cab_a_str("op", "sum");
    y = run1(CAB_OP_reduce, 1, &big, 3, a);
    CHECK(HOLDS(y, SHAPE(1), 300 - 256));
    /* f16 sums beyond where f16 steps would stall at 2048. */
    cab_tensor half = tensor(CAB_DT_f16, 1, SHAPE(4096));
    for (int i = 0; i < 4096; i++)
        cab_scalar_store(CAB_DT_f16, half.data, (uint64_t)i, (cab_scalar){ .f = 1 });
    y = run1(CAB_OP_reduce, 1, &half, 3, a);
    CHECK(HOLDS(y, SHAPE(1), 4096));
    end();
}

static void check_argreduce_topk(void)
{
    begin();
    cab_tensor x = floats(2, SHAPE(2, 4), (const float[]){ 1, 3, 3, 0, -1, -1, 5, 5 });
    cab_attr a[4] = { cab_a_str("op", "max"), cab_a_int("axis", 1), cab_a_int("keepdims", 0),
                      cab_a_int("last", 0) };
    cab_tensor y = run1(CAB_OP_argreduce, 1, &x, 4, a), out[2];
    CHECK(y.dtype == CAB_DT_i64);
    CHECK(HOLDS(y, SHAPE(2), 1, 2));
    a[3] = cab_a_int("last", 1);
    y = run1(CAB_OP_argreduce, 1, &x, 4, a);
    CHECK(HOLDS(y, SHAPE(2), 2, 3));
    a[0] = cab_a_str("op", "min");
    a[2] = cab_a_int("keepdims", 1);
    y = run1(CAB_OP_argreduce, 1, &x, 4, a);
    CHECK(HOLDS(y, SHAPE(2, 1), 3, 1));
    const cab_dim *k = num(2);
    cab_attr t[3] = { cab_a_dims("k", &k, 1), cab_a_int("axis", 1), cab_a_int("largest", 1) };
    CHECK_EQ(run(CAB_OP_topk, 1, &x, 2, out, 3, t), CAB_OK);
    CHECK(HOLDS(out[0], SHAPE(2, 2), 3, 3, 5, 5));
    CHECK(HOLDS(out[1], SHAPE(2, 2), 1, 2, 2, 3));
    t[2] = cab_a_int("largest", 0);
    t[1] = cab_a_int("axis", 0);
    k = num(1);
    CHECK_EQ(run(CAB_OP_topk, 1, &x, 2, out, 3, t), CAB_OK);
    CHECK(HOLDS(out[0], SHAPE(1, 4), -1, -1, 3, 0));
    CHECK(HOLDS(out[1], SHAPE(1, 4), 1, 1, 0, 0));
    end();
}

static void check_sort(void)
{
    begin();
    cab_tensor x = floats(2, SHAPE(5, 2), (const float[]){ 1, 2, NAN, 0, 1, -1, -0.0f, 3, 0, 3 });
    cab_tensor y = run1(CAB_OP_sort, 1, &x, 0, NULL);
    CHECK(HOLDS(y, SHAPE(5), 3, 4, 2, 0, 1));
    x = tensor(CAB_DT_f32, 2, SHAPE(3, 0));  /* rows without elements are all equal */
    y = run1(CAB_OP_sort, 1, &x, 0, NULL);
    CHECK(HOLDS(y, SHAPE(3), 0, 1, 2));
    end();
}

/* Two squares of side 2 that share half, one apart; the first has less score. */
static void check_nms(void)
{
    static const float corners[] = { 0, 0, 2, 2, 1, 0, 3, 2, 9, 9, 8, 8 };
    static const float centres[] = { 1, 1, 2, 2, 2, 1, 2, 2, 8.5f, 8.5f, 1, 1 };
    begin();
    const cab_dim *limit = num(3);
    cab_attr a[3] = { cab_a_dims("limit", &limit, 1), cab_a_int("center", 0), cab_a_int("filter", 0) };
    cab_tensor in[4] = { floats(3, SHAPE(1, 3, 4), corners),
                         floats(3, SHAPE(1, 1, 3), (const float[]){ 0.5f, 0.9f, 0.5f }),
                         floats(0, NULL, (const float[]){ 0.3f }), floats(0, NULL, (const float[]){ 0.5f }) };
    cab_tensor out[2];
    CHECK_EQ(run(CAB_OP_nms, 4, in, 2, out, 3, a), CAB_OK);
    CHECK_EQ(*(const int64_t *)out[1].data, 2);
    CHECK(HOLDS(out[0], SHAPE(3, 3), 0, 0, 1, 0, 0, 2, 0, 0, 0));
    in[0] = floats(3, SHAPE(1, 3, 4), centres);
    in[2] = floats(0, NULL, (const float[]){ 0.34f });    /* a third in common: all stay */
    a[1] = cab_a_int("center", 1);
    CHECK_EQ(run(CAB_OP_nms, 4, in, 2, out, 3, a), CAB_OK);
    CHECK_EQ(*(const int64_t *)out[1].data, 3);
    CHECK(HOLDS(out[0], SHAPE(3, 3), 0, 0, 1, 0, 0, 0, 0, 0, 2));
    a[2] = cab_a_int("filter", 1);     /* above the threshold, not at it */
    CHECK_EQ(run(CAB_OP_nms, 4, in, 2, out, 3, a), CAB_OK);
    CHECK_EQ(*(const int64_t *)out[1].data, 1);
    limit = num(0);
    a[0] = cab_a_dims("limit", &limit, 1);
    CHECK_EQ(run(CAB_OP_nms, 4, in, 2, out, 3, a), CAB_OK);
    CHECK_EQ(*(const int64_t *)out[1].data, 0);
    CHECK(out[0].dims[0] == 0);
    end();
}

static void check_scan(void)
{
    begin();
    cab_tensor x = floats(2, SHAPE(2, 3), (const float[]){ 1, 2, 3, 4, 5, 6 });
    cab_attr a[4] = { cab_a_str("op", "sum"), cab_a_int("axis", 1), cab_a_int("exclusive", 0),
                      cab_a_int("reverse", 0) };
    cab_tensor y = run1(CAB_OP_scan, 1, &x, 4, a);
    CHECK(HOLDS(y, SHAPE(2, 3), 1, 3, 6, 4, 9, 15));
    a[3] = cab_a_int("reverse", 1);
    y = run1(CAB_OP_scan, 1, &x, 4, a);
    CHECK(HOLDS(y, SHAPE(2, 3), 6, 5, 3, 15, 11, 6));
    a[2] = cab_a_int("exclusive", 1);
    y = run1(CAB_OP_scan, 1, &x, 4, a);
    CHECK(HOLDS(y, SHAPE(2, 3), 5, 3, 0, 11, 6, 0));
    a[0] = cab_a_str("op", "prod");
    a[1] = cab_a_int("axis", 0);
    a[2] = cab_a_int("exclusive", 0);
    y = run1(CAB_OP_scan, 1, &x, 4, a);
    CHECK(HOLDS(y, SHAPE(2, 3), 4, 10, 18, 4, 5, 6));
    end();
}

static void check_scatter(void)
{
    begin();
    cab_tensor in[3] = { ramp(CAB_DT_u8, 2, SHAPE(3, 2)), tensor(CAB_DT_i64, 2, SHAPE(4, 1)),
                         ramp(CAB_DT_u8, 2, SHAPE(4, 2)) };
    cab_attr a[2] = { cab_a_int("axis", 0), cab_a_str("op", "none") };
    memcpy(in[1].data, SHAPE(2, 0, 3, 2), 32);
    cab_tensor y = run1(CAB_OP_scatter, 3, in, 2, a);
    CHECK(HOLDS(y, SHAPE(3, 2), 2, 3, 2, 3, 6, 7));
    a[1] = cab_a_str("op", "add");
    memcpy(in[1].data, SHAPE(2, 1, -1, 2), 32);
    y = run1(CAB_OP_scatter, 3, in, 2, a);
    CHECK(HOLDS(y, SHAPE(3, 2), 0, 1, 2 + 2, 3 + 3, 4 + 0 + 6, 5 + 1 + 7));
    a[1] = cab_a_str("op", "mul");
    y = run1(CAB_OP_scatter, 3, in, 2, a);
    CHECK(HOLDS(y, SHAPE(3, 2), 0, 1, 4, 9, 0, 35));
    a[1] = cab_a_str("op", "max");
    y = run1(CAB_OP_scatter, 3, in, 2, a);
    CHECK(HOLDS(y, SHAPE(3, 2), 0, 1, 2, 3, 6, 7));
    a[1] = cab_a_str("op", "min");
    y = run1(CAB_OP_scatter, 3, in, 2, a);
    CHECK(HOLDS(y, SHAPE(3, 2), 0, 1, 2, 3, 0, 1));
    /* Along axis 1, one index per update; the third row of updates is outside. */
    in[0] = ramp(CAB_DT_f32, 2, SHAPE(2, 2));
    in[1] = tensor(CAB_DT_i64, 2, SHAPE(3, 1));
    in[2] = ramp(CAB_DT_f32, 2, SHAPE(3, 1));
    a[0] = cab_a_int("axis", 1);
    a[1] = cab_a_str("op", "add");
    memcpy(in[1].data, SHAPE(1, 0, 0), 24);
    y = run1(CAB_OP_scatter, 3, in, 2, a);
    CHECK(HOLDS(y, SHAPE(2, 2), 0, 1, 3, 3));
    in[1] = tensor(CAB_DT_i64, 2, SHAPE(2, 1));
    CHECK_EQ(run(CAB_OP_scatter, 3, in, 1, &y, 2, a), CAB_EMODEL);
    end();
}

static void check_dot(void)
{
    begin();
    cab_tensor in[2] = { ramp(CAB_DT_f32, 2, SHAPE(2, 3)), ramp(CAB_DT_f32, 2, SHAPE(3, 2)) };
    cab_attr a[4] = { cab_a_ints("a_contract", SHAPE(1), 1), cab_a_ints("b_contract", SHAPE(0), 1),
                      cab_a_ints("a_batch", NULL, 0), cab_a_ints("b_batch", NULL, 0) };
    cab_tensor y = run1(CAB_OP_dot, 2, in, 4, a);
    CHECK(HOLDS(y, SHAPE(2, 2), 10, 13, 28, 40));
    /* u8 by i8 into i32, batch axis last in b. */
    cab_tensor q[2] = { tensor(CAB_DT_u8, 2, SHAPE(2, 2)), tensor(CAB_DT_i8, 2, SHAPE(2, 2)) };
    memcpy(q[0].data, (const uint8_t[]){ 255, 255, 1, 2 }, 4);
    memcpy(q[1].data, (const int8_t[]){ -128, 3, -128, 4 }, 4);
    cab_attr b[5] = { cab_a_ints("a_contract", SHAPE(1), 1), cab_a_ints("b_contract", SHAPE(0), 1),
                      cab_a_ints("a_batch", SHAPE(0), 1), cab_a_ints("b_batch", SHAPE(1), 1),
                      cab_a_dtype("out", CAB_DT_i32) };
    y = run1(CAB_OP_dot, 2, q, 5, b);
    CHECK(y.dtype == CAB_DT_i32);
    CHECK(HOLDS(y, SHAPE(2), 255 * -128 * 2, 3 + 8));
    /* (A B) C == A (B C) in integers. */
    cab_tensor A = noise(CAB_DT_i32, 2, SHAPE(3, 4)), B = noise(CAB_DT_i32, 2, SHAPE(4, 5));
    cab_tensor C = noise(CAB_DT_i32, 2, SHAPE(5, 2));
    cab_tensor ab = run1(CAB_OP_dot, 2, (const cab_tensor[]){ A, B }, 4, a);
    cab_tensor bc = run1(CAB_OP_dot, 2, (const cab_tensor[]){ B, C }, 4, a);
    cab_tensor l = run1(CAB_OP_dot, 2, (const cab_tensor[]){ ab, C }, 4, a);
    cab_tensor r = run1(CAB_OP_dot, 2, (const cab_tensor[]){ A, bc }, 4, a);
    CHECK(same(&l, &r));
    end();
}

static void conv_attrs(cab_attr *a, const int64_t *strides, const int64_t *lo, const int64_t *hi,
                       const int64_t *dil, int n, int64_t group)
{
    a[0] = cab_a_ints("strides", strides, n);
    a[1] = cab_a_ints("pads_lo", lo, n);
    a[2] = cab_a_ints("pads_hi", hi, n);
    a[3] = cab_a_ints("dilations", dil, n);
    a[4] = cab_a_int("group", group);
}

static void check_conv(void)
{
    begin();
    cab_attr a[5];
    cab_tensor in[2] = { ramp(CAB_DT_f32, 3, SHAPE(1, 1, 5)),
                         floats(3, SHAPE(1, 1, 3), (const float[]){ 1, 10, 100 }) };
    conv_attrs(a, SHAPE(2), SHAPE(1), SHAPE(1), SHAPE(1), 1, 1);
    cab_tensor y = run1(CAB_OP_conv, 2, in, 5, a);
    CHECK(HOLDS(y, SHAPE(1, 1, 3), 100, 321, 43));
    conv_attrs(a, SHAPE(1), SHAPE(0), SHAPE(2), SHAPE(2), 1, 1);
    y = run1(CAB_OP_conv, 2, in, 5, a);
    CHECK(HOLDS(y, SHAPE(1, 1, 3), 420, 31, 42));
    /* Depthwise: one kernel per channel. */
    in[0] = ramp(CAB_DT_i32, 4, SHAPE(1, 2, 2, 2));
    in[1] = ramp(CAB_DT_i32, 4, SHAPE(2, 1, 1, 2));
    conv_attrs(a, SHAPE(1, 1), SHAPE(0, 0), SHAPE(0, 0), SHAPE(1, 1), 2, 2);
    y = run1(CAB_OP_conv, 2, in, 5, a);
    CHECK(HOLDS(y, SHAPE(1, 2, 2, 1), 1, 3, 23, 33));
    /* A 1x1 convolution is a product over the channels. */
    in[0] = noise(CAB_DT_f32, 3, SHAPE(1, 4, 6));
    in[1] = noise(CAB_DT_f32, 3, SHAPE(3, 4, 1));
    conv_attrs(a, SHAPE(1), SHAPE(0), SHAPE(0), SHAPE(1), 1, 1);
    y = run1(CAB_OP_conv, 2, in, 5, a);
    cab_tensor d[2] = { in[1], in[0] };
    cab_attr c[4] = { cab_a_ints("a_contract", SHAPE(1), 1), cab_a_ints("b_contract", SHAPE(1), 1),
                      cab_a_ints("a_batch", NULL, 0), cab_a_ints("b_batch", NULL, 0) };
    cab_tensor z = run1(CAB_OP_dot, 2, d, 4, c);
    CHECK(y.data && z.data && !memcmp(y.data, z.data, 18 * sizeof(float)));
    end();
}

static void check_window(void)
{
    begin();
    const cab_dim *dims[2] = { num(2), num(2) };
    cab_tensor x = ramp(CAB_DT_f32, 4, SHAPE(1, 1, 3, 3));
    cab_attr a[6] = { cab_a_str("op", "max"), cab_a_ints("kernel", SHAPE(2, 2), 2),
                      cab_a_ints("strides", SHAPE(2, 2), 2), cab_a_ints("pads_lo", SHAPE(1, 1), 2),
                      cab_a_ints("dilations", SHAPE(1, 1), 2), cab_a_dims("dims", dims, 2) };
    cab_tensor y = run1(CAB_OP_window, 1, &x, 6, a);
    CHECK(HOLDS(y, SHAPE(1, 1, 2, 2), 0, 2, 6, 8));
    a[0] = cab_a_str("op", "sum");
    y = run1(CAB_OP_window, 1, &x, 6, a);
    CHECK(HOLDS(y, SHAPE(1, 1, 2, 2), 0, 3, 9, 24));
    a[0] = cab_a_str("op", "argmax");
    y = run1(CAB_OP_window, 1, &x, 6, a);
    CHECK(y.dtype == CAB_DT_i64);
    CHECK(HOLDS(y, SHAPE(1, 1, 2, 2), 3, 3, 3, 3));
    /* A sum over windows is a convolution with ones. */
    const cab_dim *d2[1] = { num(5) };
    cab_tensor in[2] = { noise(CAB_DT_i32, 3, SHAPE(2, 1, 9)),
                         tensor(CAB_DT_i32, 3, SHAPE(1, 1, 3)) };
    for (int i = 0; i < 3; i++)
        ((int32_t *)in[1].data)[i] = 1;
    cab_attr w[6] = { cab_a_str("op", "sum"), cab_a_ints("kernel", SHAPE(3), 1),
                      cab_a_ints("strides", SHAPE(2), 1), cab_a_ints("pads_lo", SHAPE(2), 1),
                      cab_a_ints("dilations", SHAPE(2), 1), cab_a_dims("dims", d2, 1) }, c[5];
    conv_attrs(c, SHAPE(2), SHAPE(2), SHAPE(2), SHAPE(2), 1, 1);
    y = run1(CAB_OP_window, 1, in, 6, w);
    cab_tensor z = run1(CAB_OP_conv, 2, in, 5, c);
    CHECK(same(&y, &z));
    end();
}

/* ---- whole graphs ---- */
typedef struct seen { int n; const cab_value *last; } seen;

static void count(void *arg, const cab_value *v, const cab_tensor *t)
{
    seen *s = arg;
    s->n += t->data != NULL;
    s->last = v;
}

static void check_symbols(void)
{
    begin();
    const cab_dim *n = cab_dim_sym(graph->dims, "N"), *twice = cab_dim_mul(graph->dims, num(2), n);
    const cab_dim *shape[2] = { twice, num(2) };
    const cab_dim *flat[1] = { cab_dim_mul(graph->dims, num(2), twice) };
    cab_type t0 = cab_type_tensor(CAB_DT_f32, 2, shape), t1 = cab_type_tensor(CAB_DT_f32, 1, &n);
    cab_value *x = cab_graph_add_input(graph, "x", &t0), *y = cab_graph_add_input(graph, "y", &t1);
    cab_builder b = cab_builder_at(graph, NULL, &diag);
    cab_value *r = cab_b_reshape(&b, x, 1, flat), *d = cab_b_dim(&b, twice);
    cab_value *z = cab_b_unary(&b, CAB_OP_neg, r), *w = cab_b_unary(&b, CAB_OP_neg, y);
    cab_graph_add_output(graph, z, "z");
    cab_graph_add_output(graph, d, "d");
    cab_graph_add_output(graph, w, "w");
    cab_tensor in[2] = { ramp(CAB_DT_f32, 2, SHAPE(6, 2)), ramp(CAB_DT_f32, 1, SHAPE(3)) }, out[3];
    seen s = { 0 };
    CHECK_EQ(cab_eval_graph_trace(arena, graph, in, out, &diag, count, &s), CAB_OK);
    CHECK(s.n == 4);
    CHECK(out[0].dims[0] == 12 && ((float *)out[0].data)[11] == -11);
    CHECK(*(int64_t *)out[1].data == 6);
    in[1] = ramp(CAB_DT_f32, 1, SHAPE(4));
    CHECK_EQ(cab_eval_graph(arena, graph, in, out, &diag), CAB_EINPUT);
    CHECK(cab_diag_has_errors(&diag) && strstr(cab_diag_first(&diag)->text, "expected"));
    in[1] = ramp(CAB_DT_i32, 1, SHAPE(3));
    CHECK_EQ(cab_eval_graph(arena, graph, in, out, &diag), CAB_EINPUT);
    in[1] = ramp(CAB_DT_f32, 1, SHAPE(3));
    cab_vec_push(arena, &graph->guards, ((cab_guard_eq){ n, num(4), "batch", false }));
    cab_diag_clear(&diag);
    CHECK_EQ(cab_eval_graph(arena, graph, in, out, &diag), CAB_EINPUT);
    CHECK(strstr(cab_diag_first(&diag)->text, "batch") != NULL);
    end();
}

static void check_complete(void)
{
    for (int op = CAB_OP_none + 1; op < CAB_OP_first_onnx_; op++) {
        /* The kernel of custom is the host program's; a cab_tensor is no list. */
        if (op == CAB_OP_custom || !strncmp(cab_op_get((cab_op_id)op)->name, "seq_", 4)) {
            CHECK(!cab_eval_knows((cab_op_id)op));
            continue;
        }
        if (!cab_eval_knows((cab_op_id)op))
            fprintf(stderr, "no evaluator: %s\n", cab_op_get((cab_op_id)op)->name);
        CHECK(cab_eval_knows((cab_op_id)op));
    }
    for (int i = CAB_EX_SCALAR_; i < CAB_EX_COUNT; i++)
        CHECK_EQ(cab_ex_from_op((cab_op_id)(CAB_OP_neg + i - CAB_EX_SCALAR_)), i);
    CHECK_EQ(cab_ex_from_op(CAB_OP_const), CAB_EX_COUNT);
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    check_scalars();
    check_narrow_floats();
    check_elementwise();
    check_movement();
    check_sources();
    check_gather();
    check_reductions();
    check_argreduce_topk();
    check_sort();
    check_nms();
    check_scan();
    check_scatter();
    check_dot();
    check_conv();
    check_window();
    check_symbols();
    check_complete();
    TEST_END();
}
