/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_spec.c - Specs and programs: meaning, simplification, equality, text.
 *
 * Hand-computed cases first; then random Specs with seeds, whose values are
 * small integers, so that every sum is exact and results compare by bytes.
 */
#include "ir/spec.h"
#include "tests/test.h"
#include <math.h>

static cab_job job;
static cab_arena *arena;
static cab_dims *dims;
static cab_diag diag;

static void begin(void)
{
    arena = cab_arena_create(&job);
    dims = cab_dims_create(arena);
    cab_diag_init(&diag);
}

static void end(void)
{
    cab_diag_fini(&diag);
    cab_arena_destroy(arena);
}

static const cab_dim *num(int64_t v) { return cab_dim_const(dims, v); }

static bool story_has(const char *part)
{
    const cab_diag_entry *e = cab_diag_first(&diag);
    return e && (strstr(e->text, part) || strstr(e->where, part));
}

static const char *spec_text(const cab_spec *s)
{
    cab_buf b = cab_buf_on(arena);
    cab_spec_print(&b, s);
    return cab_buf_cstr(&b);
}

static cab_spec *spec_of(const char *text)
{
    cab_spec *s = NULL;
    cab_diag_clear(&diag);
    if (cab_spec_parse(arena, dims, text, strlen(text), "t", &s, &diag) != CAB_OK) {
        fprintf(stderr, "parse: %s: %s\n", cab_diag_first(&diag)->where,
                cab_diag_first(&diag)->text);
        return NULL;
    }
    return s;
}

/* ---- hand-computed ---- */
static const char softmax_text[] =
    "spec @softmax_0 rowred {\n"
    "  axis m par 2\n"
    "  axis k red 3\n"
    "  operand 0 f32 in elems 6\n"
    "  operand 1 f32 out elems 6\n"
    "  view 0 = operand 0 [0; m: 3, k: 1]\n"
    "  view 1 = operand 1 [0; m: 3, k: 1]\n"
    "  r0 = max f32 over (k) v0\n"
    "  t0 = exp(sub(v0, r0))\n"
    "  r1 = sum f32 over (k) t0\n"
    "  store v1 over (k) div(t0, r1)\n"
    "}\n";

static void check_softmax(void)
{
    begin();
    cab_spec *s = spec_of(softmax_text);
    float x[6] = { 1, 2, 3, 1000, 1000, 1000 }, y[6];
    void *bufs[2] = { x, y };
    CHECK(s != NULL);
    CHECK_STR(spec_text(s), softmax_text);
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_OK);
    CHECK(fabsf(y[0] - 0.09003057f) < 1e-6f);
    CHECK(fabsf(y[1] - 0.24472847f) < 1e-6f);
    CHECK(fabsf(y[2] - 0.66524096f) < 1e-6f);
    CHECK(y[3] == 1 / 3.0f && y[5] == 1 / 3.0f);
    end();
}

/* A convolution with zero padding as guards, 3 taps over 4 places, and relu. */
static void check_conv(void)
{
    begin();
    cab_spec *s = spec_of(
        "spec @conv_0 contract {\n"
        "  axis w par 4\n"
        "  axis k red 3\n"
        "  operand 0 f32 in elems 4\n"
        "  operand 1 f32 in elems 3\n"
        "  operand 2 f32 out elems 4\n"
        "  view 0 = operand 0 [-1; w: 1, k: 1] guard [-1; w: 1, k: 1] in 4 fill 0\n"
        "  view 1 = operand 1 [0; k: 1]\n"
        "  view 2 = operand 2 [0; w: 1]\n"
        "  r0 = sum f32 over (k) mul(v0, v1)\n"
        "  store v2 over () max(r0, 0:f32)\n"
        "}\n");
    cab_spec *h = spec_of(
        "spec @conv_1 contract {\n"
        "  axis w par 4\n"
        "  axis k red 3\n"
        "  operand 0 f32 in elems 6\n"
        "  operand 1 f32 in elems 3\n"
        "  operand 2 f32 out elems 4\n"
        "  view 0 = operand 0 [0; w: 1, k: 1] halo [-1; w: 1, k: 1] in 4\n"
        "  view 1 = operand 1 [0; k: 1]\n"
        "  view 2 = operand 2 [0; w: 1]\n"
        "  r0 = sum f32 over (k) mul(v0, v1)\n"
        "  store v2 over () max(r0, 0:f32)\n"
        "}\n");
    float x[4] = { 1, 2, 3, 4 }, padded[6] = { 0, 1, 2, 3, 4, 0 }, z[4], w[3] = { 1, 0, -1 }, y[4];
    void *bufs[3] = { x, w, y };
    CHECK(s != NULL);
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_OK);
    CHECK(y[0] == 0 && y[1] == 0 && y[2] == 0 && y[3] == 3);
    bufs[0] = padded;
    bufs[2] = z;
    CHECK(h != NULL);
    CHECK_EQ(cab_spec_eval(arena, h, bufs, NULL, &diag), CAB_OK);
    CHECK(!memcmp(y, z, sizeof y));
    cab_spec_simplify(s);
    CHECK_EQ(s->n_axes, 2);
    end();
}

/* Rows picked by an index operand; argmax with ties; symbolic extents. */
static void check_gather_argmax(void)
{
    begin();
    cab_spec *s = spec_of(
        "spec @g rowred {\n"
        "  axis i par N\n"
        "  axis j red 3\n"
        "  operand 0 i8 in elems 3*M\n"
        "  operand 1 i32 in elems N\n"
        "  operand 2 i64 out elems 2*N\n"
        "  view 0 = operand 1 [0; i: 1]\n"
        "  t0 = cast:i64(v0)\n"
        "  view 1 = operand 0 [0; j: 1] index select(lt(t0, 0:i64), add(t0, dim(M)), t0) * 3\n"
        "  view 2 = operand 2 [0; i: 2]\n"
        "  view 3 = operand 2 [1; i: 2]\n"
        "  r0 = argmax i8 over (j) v1\n"
        "  r1 = argmax_last i8 over (j) v1\n"
        "  store v2 over () r0\n"
        "  store v3 over () r1\n"
        "}\n");
    int8_t x[6] = { 7, 7, -8, -1, 0, 0 };
    int32_t index[3] = { 1, 0, -1 };
    int64_t y[6];
    void *bufs[3] = { x, index, y };
    cab_env env = { .arena = arena };
    cab_env_set(&env, "N", 3);
    cab_env_set(&env, "M", 2);
    CHECK(s != NULL);
    CHECK_EQ(cab_spec_eval(arena, s, bufs, &env, &diag), CAB_OK);
    CHECK(y[0] == 1 && y[1] == 2 && y[2] == 0 && y[3] == 1 && y[4] == 1 && y[5] == 2);
    index[0] = 2;
    CHECK_EQ(cab_spec_eval(arena, s, bufs, &env, &diag), CAB_EINTERNAL);
    CHECK(story_has("view 1 reaches offset 6"));
    CHECK(story_has("'g'"));
    cab_diag_clear(&diag);
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_EINTERNAL);
    CHECK(story_has("not known"));
    end();
}

/* Updates in order, two of them outside; then sums along the rows, backwards. */
static const char scatter_text[] =
    "spec @scatter_0 map {\n"
    "  axis i par 2\n"
    "  axis j red 4\n"
    "  operand 0 i64 in elems 4\n"
    "  operand 1 f32 in elems 8\n"
    "  operand 2 f32 out elems 6\n"
    "  view 0 = operand 0 [0; j: 1]\n"
    "  view 1 = operand 1 [0; i: 4, j: 1]\n"
    "  view 2 = operand 2 [0; i: 3] index v0 * 1 in 3 fill 0\n"
    "  store v2 add over (j) v1\n"
    "}\n";

static const char scan_text[] =
    "spec @scan_0 map {\n"
    "  axis i par 2\n"
    "  axis j red 3\n"
    "  operand 0 f32 in elems 6\n"
    "  operand 1 f32 out elems 6\n"
    "  view 0 = operand 0 [2; i: 3, j: -1]\n"
    "  view 1 = operand 1 [2; i: 3, j: -1]\n"
    "  scan v1 sum f32 exclusive over (j) v0\n"
    "}\n";

static void check_serial(void)
{
    begin();
    int64_t index[4] = { 2, -1, 3, 2 };
    float u[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, y[6] = { 1, 1, 1, 1, 1, 1 }, z[6];
    void *bufs[3] = { index, u, y };
    cab_spec *s = spec_of(scatter_text), *t;
    CHECK(s != NULL);
    CHECK_STR(spec_text(s), scatter_text);
    CHECK(cab_stage_is_serial(s, &s->stages.p[0]));
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_OK);
    CHECK(y[0] == 1 && y[1] == 1 && y[2] == 6 && y[5] == 14);
    t = spec_of(scatter_text);
    t->stages.p[0].mode = CAB_STORE_PLAIN;
    CHECK(!cab_spec_equal(s, t));
    CHECK_EQ(cab_spec_eval(arena, t, bufs, NULL, &diag), CAB_OK);
    CHECK(y[2] == 4 && y[5] == 8);
    t->views.p[2].loaded[0].extent = NULL;
    CHECK_EQ(cab_spec_eval(arena, t, bufs, NULL, &diag), CAB_EINTERNAL);
    cab_diag_clear(&diag);
    s = spec_of(scan_text);
    CHECK(s != NULL);
    CHECK_STR(spec_text(s), scan_text);
    bufs[0] = u;
    bufs[1] = z;
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_OK);
    CHECK(z[2] == 0 && z[1] == 3 && z[0] == 5 && z[5] == 0 && z[4] == 6 && z[3] == 11);
    t = spec_of(scan_text);
    t->stages.p[0].exclusive = false;
    CHECK(!cab_spec_equal(s, t) && cab_spec_hash(s) != cab_spec_hash(t));
    t->stages.p[0].red = CAB_RED_ARGMAX_FIRST;
    CHECK_EQ(cab_spec_verify(t, &diag), CAB_EINTERNAL);
    CHECK(story_has("scans by an index"));
    end();
}

/* ---- simplification by hand ---- */
static cab_spec *map_spec(int rank, const int64_t *extent, const int64_t *in_stride)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    cab_spec *s = cab_spec_create(arena, dims, "map", CAB_SPEC_MAP);
    int64_t total = 1, stride = 1;
    cab_view in = { .dtype = CAB_DT_f32, .at = cab_affine_zero(dims) }, out = in;
    for (int i = 0; i < rank; i++) {
        cab_spec_axis(s, CAB_AXIS_PAR, num(extent[i]), names[i]);
        total *= extent[i];
    }
    for (int i = rank - 1; i >= 0; stride *= extent[i--]) {
        cab_affine_add(dims, &in.at, i, num(in_stride[i]));
        cab_affine_add(dims, &out.at, i, num(stride));
    }
    in.operand = cab_spec_operand(s, CAB_DT_f32, false, num(1000));
    out.operand = cab_spec_operand(s, CAB_DT_f32, true, num(total));
    int vi = cab_spec_view(s, &in), vo = cab_spec_view(s, &out);
    cab_spec_store(s, 0, vo, cab_ex_scalar(s, CAB_EX_neg, CAB_DT_f32, cab_ex_load(s, vi),
                                           NULL, NULL));
    CHECK_EQ(cab_spec_verify(s, &diag), CAB_OK);
    return s;
}

static int axes_after(int rank, const int64_t *extent, const int64_t *in_stride)
{
    cab_spec *s = map_spec(rank, extent, in_stride);
    cab_spec_simplify(s);
    CHECK_EQ(cab_spec_verify(s, &diag), CAB_OK);
    return s->n_axes;
}

static void check_merging(void)
{
    begin();
    int64_t e[4] = { 2, 3, 1, 4 }, one[2] = { 1, 1 }, zero[2] = { 0, 0 };
    CHECK_EQ(axes_after(4, e, (int64_t[4]){ 12, 4, 4, 1 }), 1);   /* dense */
    CHECK_EQ(axes_after(4, e, (int64_t[4]){ 12, 4, 77, 1 }), 1);  /* extent 1: any stride */
    CHECK_EQ(axes_after(4, e, (int64_t[4]){ 16, 4, 4, 1 }), 2);   /* rows apart */
    CHECK_EQ(axes_after(4, e, (int64_t[4]){ 1, 2, 0, 6 }), 3);    /* transposed */
    CHECK_EQ(axes_after(4, e, (int64_t[4]){ 0, 0, 0, 1 }), 2);    /* broadcast rows */
    CHECK_EQ(axes_after(2, one, zero), 0);
    cab_spec *s = map_spec(4, e, (int64_t[4]){ 12, 4, 4, 1 });
    cab_spec_simplify(s);
    CHECK(cab_dim_is(s->axis[0].extent, 24));
    CHECK(cab_dim_is(s->views.p[0].at.coef[0], 1));
    end();
}

/* Evaluates before and after: same bytes, and that many axes left. */
static void keeps_meaning(const char *body, int n_axes)
{
    float x[24], before[24] = { 0 }, after[24] = { 0 };
    void *bufs[2] = { x, before };
    cab_spec *s = spec_of(cab_printf(arena, "spec @a rowred {\n%s}\n", body));
    CHECK(s != NULL);
    for (int i = 0; i < 24; i++)
        x[i] = (float)(i * 7 % 5);
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_OK);
    cab_spec_simplify(s);
    CHECK_EQ(s->n_axes, n_axes);
    bufs[1] = after;
    CHECK_EQ(cab_spec_eval(arena, s, bufs, NULL, &diag), CAB_OK);
    CHECK(!memcmp(before, after, sizeof before));
}

#define IO "  operand 0 f32 in elems 24\n  operand 1 f32 out elems 24\n"

static void check_order_kept(void)
{
    begin();
    /* The argmax over (j, i) is not the one over (i, j). */
    keeps_meaning("  axis j red 3\n  axis i red 2\n" IO
                  "  view 0 = operand 0 [0; i: 3, j: 1]\n  view 1 = operand 1 [0]\n"
                  "  r0 = argmax f32 over (j, i) v0\n  store v1 over () cast:f32(r0)\n", 2);
    keeps_meaning("  axis i red 2\n  axis j red 3\n" IO
                  "  view 0 = operand 0 [0; i: 3, j: 1]\n  view 1 = operand 1 [0]\n"
                  "  r0 = argmax f32 over (i, j) v0\n  store v1 over () cast:f32(r0)\n", 1);
    /* Another axis between the two, that the view does not walk. */
    keeps_meaning("  axis i red 2\n  axis b red 2\n  axis j red 3\n" IO
                  "  view 0 = operand 0 [0; i: 3, j: 1]\n  view 1 = operand 1 [0]\n"
                  "  r0 = argmax_last f32 over (i, b, j) v0\n"
                  "  store v1 over () cast:f32(r0)\n", 3);
    /* A stage that loops over one of them only. */
    keeps_meaning("  axis i red 2\n  axis j red 3\n" IO
                  "  view 0 = operand 0 [0; i: 3, j: 1]\n  view 1 = operand 1 [0]\n"
                  "  r0 = sum f32 over (i, j) v0\n  r1 = sum f32 over (j) 1:f32\n"
                  "  store v1 over () add(r0, r1)\n", 2);
    /* A guard that walks the pair as one axis merges with it. */
    keeps_meaning("  axis i par 2\n  axis j par 3\n" IO
                  "  view 0 = operand 0 [1; i: 3, j: 1] guard [-2; i: 3, j: 1] in 3 fill 9\n"
                  "  view 1 = operand 1 [0; i: 3, j: 1]\n  store v1 over () v0\n", 1);
    keeps_meaning("  axis i par 2\n  axis j par 3\n" IO
                  "  view 0 = operand 0 [1; i: 3, j: 1] guard [-1; i: 1, j: 1] in 3 fill 9\n"
                  "  view 1 = operand 1 [0; i: 3, j: 1]\n  store v1 over () v0\n", 2);
    end();
}

static void check_equality(void)
{
    begin();
    int64_t e[2] = { 2, 3 }, dense[2] = { 3, 1 }, apart[2] = { 5, 1 };
    cab_spec *a = map_spec(2, e, dense), *b = map_spec(2, e, dense), *c = map_spec(2, e, apart);
    b->name = "other";
    b->axis[0].name = "x";
    CHECK(cab_spec_equal(a, b));
    CHECK(cab_spec_hash(a) == cab_spec_hash(b));
    CHECK(!cab_spec_equal(a, c));
    CHECK(cab_spec_hash(a) != cab_spec_hash(c));
    /* Sharing a node or repeating it makes no difference. */
    for (int twice = 0; twice < 2; twice++) {
        cab_spec *s = twice ? b : a;
        const cab_expr *x = cab_ex_load(s, 0), *y = twice ? cab_ex_load(s, 0) : x;
        s->stages.p[0].value = cab_ex_scalar(s, CAB_EX_mul, CAB_DT_f32, x, y, NULL);
    }
    CHECK(cab_spec_equal(a, b) && cab_spec_hash(a) == cab_spec_hash(b));
    cab_spec_simplify(b);
    CHECK(b->stages.p[0].value->arg[0] == b->stages.p[0].value->arg[1]);
    CHECK(!cab_spec_equal(a, b));
    end();
}

/* 2^200 paths through 200 nodes, then a call chain 3000 deep. */
static void check_large_expressions(void)
{
    begin();
    int64_t e[1] = { 3 }, one[1] = { 1 };
    cab_spec *s = map_spec(1, e, one);
    const cab_expr *x = cab_ex_load(s, 0);
    for (int i = 0; i < 200; i++)
        x = cab_ex_scalar(s, CAB_EX_max, CAB_DT_f32, x, x, NULL);
    for (int i = 0; i < 3000; i++)
        x = cab_ex_scalar(s, CAB_EX_neg, CAB_DT_f32, x, NULL, NULL);
    s->stages.p[0].value = x;
    CHECK_EQ(cab_spec_verify(s, &diag), CAB_OK);
    const char *text = spec_text(s);
    CHECK(strlen(text) < 40000);
    cab_spec *copy = spec_of(text);
    CHECK(copy != NULL);
    CHECK_STR(spec_text(copy), text);
    CHECK(cab_spec_equal(s, copy));
    cab_spec_simplify(copy);
    float in[1000] = { 1, 2, 3 }, out[3] = { 0 };
    void *bufs[2] = { in, out };
    CHECK_EQ(cab_spec_eval(arena, copy, bufs, NULL, &diag), CAB_OK);
    CHECK(out[0] == 1 && out[1] == 2 && out[2] == 3);
    end();
}

/* Constants of every type come back from text as they were. */
static void check_constants(void)
{
    static const cab_dtype types[] = { CAB_DT_f64, CAB_DT_f32, CAB_DT_f16, CAB_DT_bf16,
                                       CAB_DT_i8, CAB_DT_u8, CAB_DT_i64, CAB_DT_u64, CAB_DT_bool };
    static const double floats[] = { 0, -0.0, 0.1, 1e-310, 1e300, INFINITY, -INFINITY, NAN, -3 };
    static const int64_t ints[] = { 0, 1, -1, INT64_MAX, INT64_MIN, 255, 1ll << 53 | 1 };
    begin();
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        for (int k = 0; k < 9; k++) {
            int64_t e[1] = { 1 };
            cab_spec *s = map_spec(1, e, e);
            s->operands[0].dtype = s->views.p[0].dtype = types[t];
            const cab_expr *c = cab_dtype_is_float(types[t])
                              ? cab_ex_const(s, types[t], floats[k])
                              : cab_ex_int(s, types[t], ints[k % 7]);
            s->stages.p[0].value = cab_ex_scalar(s, CAB_EX_eq, CAB_DT_bool, c, cab_ex_load(s, 0),
                                                 NULL);
            const char *text = spec_text(s);
            cab_spec *copy = spec_of(text);
            CHECK(copy && cab_spec_equal(s, copy));
            CHECK_STR(spec_text(copy), text);
        }
    end();
}

/* ---- random Specs ---- */
#define MAX_ELEMS 4096

typedef struct random_spec {
    cab_rng rng;
    cab_spec *s;
    cab_env env;
    int64_t extent[CAB_SPEC_AXES];
    int n_par, n_red;
    int out_view;
    float data[2][MAX_ELEMS];
    int32_t index[64];
} random_spec;

static int64_t pick(random_spec *r, int64_t lo, int64_t hi) { return cab_rng_i64(&r->rng, lo, hi); }

static void random_axes(random_spec *r)
{
    static const char *const syms[] = { "N", "M", "K" };
    r->n_par = (int)pick(r, 1, 4);
    r->n_red = (int)pick(r, 0, 3);
    r->env = (cab_env){ .arena = arena };
    for (int i = 0; i < r->n_par + r->n_red; i++) {
        const cab_dim *x;
        r->extent[i] = pick(r, 1, 3);
        if (i < 3 && pick(r, 0, 3) == 0) {
            x = cab_dim_sym(dims, syms[i]);
            cab_env_set(&r->env, syms[i], r->extent[i]);
        } else {
            x = num(r->extent[i]);
        }
        cab_spec_axis(r->s, i < r->n_par ? CAB_AXIS_PAR : CAB_AXIS_RED, x,
                      cab_printf(arena, "a%d", i));
    }
}

/* Strides of the axes in mask, innermost last, in random order or in order. */
static cab_affine random_address(random_spec *r, uint32_t mask, bool injective)
{
    cab_affine f = cab_affine_zero(dims);
    const cab_dim *stride = num(1);
    uint32_t left = mask;
    bool in_order = pick(r, 0, 1) == 0;
    if (!injective)
        cab_affine_add(dims, &f, -1, num(pick(r, 0, 5)));
    while (left) {
        int k = in_order ? 31 - __builtin_clz(left) : (int)pick(r, 0, CAB_SPEC_AXES - 1);
        if (!(left >> k & 1))
            continue;
        left &= ~(1u << k);
        if (!injective && !in_order && pick(r, 0, 3) == 0)
            continue;
        cab_affine_add(dims, &f, k, stride);
        stride = cab_dim_mul(dims, stride, r->s->axis[k].extent);
        if (pick(r, 0, 7) == 0)
            stride = cab_dim_add(dims, stride, num(1));
    }
    return f;
}

/* Loads shift by one behind a guard on one axis, or go through an index. */
static int random_load(random_spec *r, uint32_t mask)
{
    cab_view v = { .operand = (int)pick(r, 0, 1), .dtype = CAB_DT_f32,
                   .at = random_address(r, mask, false) };
    int axis = (int)pick(r, 0, r->n_par - 1);
    if (pick(r, 0, 3) == 0 && v.at.coef[axis]) {
        v.at.base = cab_dim_sub(dims, v.at.base, v.at.coef[axis]);
        v.guard[v.n_guards].at = cab_affine_zero(dims);
        cab_affine_add(dims, &v.guard[v.n_guards].at, -1, num(-1));
        cab_affine_add(dims, &v.guard[v.n_guards].at, axis, num(1));
        v.guard[v.n_guards++].extent = r->s->axis[axis].extent;
        v.fill = (double)pick(r, -2, 2);
    }
    if (pick(r, 0, 3) == 0) {
        cab_view w = { .operand = 2, .dtype = CAB_DT_i32, .at = cab_affine_zero(dims) };
        cab_affine_add(dims, &w.at, axis, num(1));
        const cab_expr *i = cab_ex_load(r->s, cab_spec_view(r->s, &w));
        v.loaded[v.n_loaded].index = cab_ex_cast(r->s, CAB_DT_i64, i);
        v.loaded[v.n_loaded].extent = pick(r, 0, 1) ? num(pick(r, 1, 9)) : NULL;
        v.loaded[v.n_loaded++].stride = num(pick(r, 1, 7));
    }
    return cab_spec_view(r->s, &v);
}

static const cab_expr *random_leaf(random_spec *r, uint32_t mask)
{
    cab_spec *s = r->s;
    int k = (int)pick(r, 0, s->n_axes - 1);
    size_t n = s->stages.n;
    switch (pick(r, 0, 5)) {
    case 0:
        return cab_ex_const(s, CAB_DT_f32, (double)pick(r, -2, 2));
    case 1:
        if (mask >> k & 1)
            return cab_ex_cast(s, CAB_DT_f32, cab_ex_axis(s, k));
        return cab_ex_cast(s, CAB_DT_f32, cab_ex_dim(s, s->axis[k].extent));
    case 2:
        if (n) {
            int i = (int)pick(r, 0, (int64_t)n - 1);
            if (s->stages.p[i].kind == CAB_STAGE_REDUCE)
                return cab_ex_cast(s, CAB_DT_f32, cab_ex_result(s, i));
        }
        /* fall through */
    default:
        return cab_ex_load(s, random_load(r, mask));
    }
}

static const cab_expr *random_expr(random_spec *r, uint32_t mask, int depth)
{
    static const cab_expr_op ops[] = { CAB_EX_add, CAB_EX_sub, CAB_EX_min, CAB_EX_max };
    cab_spec *s = r->s;
    if (depth == 0)
        return random_leaf(r, mask);
    const cab_expr *a = random_expr(r, mask, depth - 1), *b = a, *c;
    if (pick(r, 0, 3))
        b = random_expr(r, mask, depth - 1);
    if (pick(r, 0, 4) == 0) {
        c = cab_ex_scalar(s, CAB_EX_lt, CAB_DT_bool, a, b, NULL);
        return cab_ex_scalar(s, CAB_EX_select, CAB_DT_f32, c, b, a);
    }
    return cab_ex_scalar(s, ops[pick(r, 0, 3)], CAB_DT_f32, a, b, NULL);
}

static uint32_t random_red_mask(random_spec *r)
{
    uint32_t all = ((1u << r->n_red) - 1) << r->n_par;
    return pick(r, 0, 1) ? all : (uint32_t)pick(r, 0, all) & all;
}

static void random_build(random_spec *r, uint64_t seed)
{
    uint32_t par, stored;
    cab_rng_seed(&r->rng, seed);
    r->s = cab_spec_create(arena, dims, cab_printf(arena, "r%d", (int)seed), CAB_SPEC_ROWRED);
    random_axes(r);
    par = (1u << r->n_par) - 1;
    for (int i = 0; i < 2; i++)
        cab_spec_operand(r->s, CAB_DT_f32, false, num(MAX_ELEMS));
    cab_spec_operand(r->s, CAB_DT_i32, false, num(64));
    cab_spec_operand(r->s, CAB_DT_f32, true, num(MAX_ELEMS));
    for (int64_t i = pick(r, 0, 2); i > 0; i--) {
        uint32_t m = random_red_mask(r);
        const cab_expr *e = random_expr(r, par | m, 1);
        cab_spec_reduce(r->s, m, (cab_red)pick(r, CAB_RED_SUM, CAB_RED_ARGMIN_LAST) % 8,
                        CAB_DT_f32, e);
    }
    stored = random_red_mask(r);
    cab_view out = { .operand = 3, .dtype = CAB_DT_f32,
                     .at = random_address(r, par | stored, true) };
    const cab_expr *e = random_expr(r, par | stored, (int)pick(r, 1, 3));
    r->out_view = cab_spec_view(r->s, &out);
    if (pick(r, 0, 3) == 0)
        cab_spec_scan(r->s, stored, (cab_red)pick(r, CAB_RED_SUM, CAB_RED_MIN), CAB_DT_f32,
                      pick(r, 0, 1), r->out_view, e);
    else
        cab_spec_store_with(r->s, stored,
                            pick(r, 0, 2) ? CAB_STORE_PLAIN : (cab_store_mode)pick(r, 1, 4),
                            r->out_view, e);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < MAX_ELEMS; i++)
            r->data[k][i] = (float)pick(r, -3, 3);
    for (int i = 0; i < 64; i++)
        r->index[i] = (int32_t)pick(r, 0, 9);
}

static bool random_run(random_spec *r, const cab_spec *s, float *out)
{
    void *bufs[4] = { r->data[0], r->data[1], r->index, out };
    memset(out, 0, MAX_ELEMS * sizeof *out);
    cab_status st = cab_spec_eval(arena, s, bufs, &r->env, &diag);
    if (st != CAB_OK)
        fprintf(stderr, "%s\n%s", cab_diag_first(&diag)->text, spec_text(s));
    return st == CAB_OK;
}

static void check_random(void)
{
    static random_spec r;
    static float before[MAX_ELEMS], after[MAX_ELEMS];
    int merged = 0, failed = test_failed;
    for (uint64_t seed = 1; seed <= 400 && test_failed == failed; seed++) {
        begin();
        random_build(&r, seed);
        CHECK_EQ(cab_spec_verify(r.s, &diag), CAB_OK);
        CHECK(random_run(&r, r.s, before));
        const char *text = spec_text(r.s);
        cab_spec *copy = spec_of(text);
        CHECK(copy != NULL);
        CHECK_STR(spec_text(copy), text);
        CHECK(cab_spec_equal(r.s, copy) && cab_spec_hash(r.s) == cab_spec_hash(copy));
        cab_spec_simplify(copy);
        CHECK_EQ(cab_spec_verify(copy, &diag), CAB_OK);
        CHECK(random_run(&r, copy, after));
        CHECK(!memcmp(before, after, sizeof before));
        merged += copy->n_axes < r.s->n_axes;
        const char *simple = spec_text(copy);
        cab_spec_simplify(copy);
        CHECK_STR(spec_text(copy), simple);
        if (test_failed != failed)
            fprintf(stderr, "seed %d\n%s-- simplified\n%s", (int)seed, text, simple);
        end();
    }
    CHECK(merged > 100);
}

/* ---- what the verifier and the parser refuse ---- */
static void refuse(const char *lines, const char *why)
{
    cab_spec *s;
    const char *text = cab_printf(arena,
        "spec @s map {\n  axis i par 4\n  axis k red 2\n  operand 0 f32 in elems 8\n"
        "  operand 1 f32 out elems 8\n  view 0 = operand 0 [0; i: 1, k: 4]\n"
        "  view 1 = operand 1 [0; i: 1]\n%s\n}\n", lines);
    cab_diag_clear(&diag);
    CHECK(cab_spec_parse(arena, dims, text, strlen(text), "t.cir", &s, &diag) != CAB_OK);
    if (!story_has(why))
        fprintf(stderr, "'%s' is not told\n", why);
    CHECK(story_has(why));
}

static void check_refusals(void)
{
    begin();
    refuse("", "no stage stores");
    refuse("store v1 over () v0", "uses an axis it does not loop over");
    refuse("store v1 over (k) v0 store v0 over (k) v0", "stores to no written");
    refuse("store v1 over (i) 1:f32", "not 'red'");
    refuse("store v1 over () add(v1, 1:i32)", "does not take these types");
    refuse("store v1 over () r0", "r0 is not defined");
    refuse("store v1 over () t0", "t0 is not defined");
    refuse("store v1 over () axis(z)", "no axis 'z'");
    refuse("view 2 = operand 5 [0]", "not in 0..1");
    refuse("view 3 = operand 0 [0]", "3 is not in 2..2");
    refuse("view 2 = operand 0 [0] index 1:f32 * 2 store v1 over () v2", "no integer");
    refuse("axis i par 3", "two axes are named");
    refuse("store v1 over () 1.5:i32", "expected an integer");
    refuse("store v1 over () 1:str", "no constants");
    refuse("stor v1", "t.cir:8");
    char *deep = cab_alloc(arena, 4096);
    deep[0] = 0;
    for (int i = 0; i < 500; i++)
        strcat(deep, "neg(");
    refuse(cab_printf(arena, "store v1 over () %s", deep), "nest");
    end();
}

/* ---- programs ---- */
static const char program_text[] =
    "program @main {\n"
    "  sym N 2 64 2\n"
    "  buffer 0 input \"x\" f32[N, 3] elems 3*N\n"
    "  buffer 1 const \"w\" f32[3] elems 3 blob 0\n"
    "  buffer 2 temp f32[N, 3] layout (1, 0) halo (1:1, 0:0) elems 3*N + 6 zeroed\n"
    "  buffer 3 output \"v\" f32[N, 2] elems 2*N\n"
    "  buffer 4 output \"i\" i64[N, 2] elems 2*N\n"
    "  buffer 5 input \"y\" f32[M, 3] elems 3*M\n"
    "  buffer 6 temp f32[N, 3] elems 3*N alias 2 at 6\n"
    "  inputs (0, 5)\n"
    "  outputs (3, 4)\n"
    "  guard M == N why \"x and y \\\"rows\\\"\"\n"
    "  launch @mul_0 (0, 1, 6) loc \"Mul_0\" what \"mul\"\n"
    "  helper \"topk\" (6, 3, 4) params (N, 3, 1, 2, 1, 1) loc \"TopK_1\"\n"
    "}\n"
    "spec @mul_0 map {\n"
    "  axis n par N\n"
    "  axis c par 3\n"
    "  operand 0 f32 in elems 3*N\n"
    "  operand 1 f32 in elems 3\n"
    "  operand 2 f32 out elems 3*N\n"
    "  view 0 = operand 0 [0; n: 3, c: 1]\n"
    "  view 1 = operand 1 [0; c: 1]\n"
    "  view 2 = operand 2 [0; n: 3, c: 1]\n"
    "  store v2 over () mul(v0, v1)\n"
    "}\n"
    "blob 0 12\n"
    "  0000803f000000bf00004040\n";

static void check_program(void)
{
    begin();
    cab_program *p = NULL;
    cab_buf b = cab_buf_on(arena);
    float x[6] = { 1, 2, 3, -4, 9, 0 }, y[6] = { 0 };
    cab_tensor in[2] = { { .dtype = CAB_DT_f32, .rank = 2, .dims = { 2, 3 }, .data = x },
                         { .dtype = CAB_DT_f32, .rank = 2, .dims = { 2, 3 }, .data = y } };
    cab_tensor out[2];
    CHECK_EQ(cab_program_parse(arena, program_text, sizeof program_text - 1, "p.cir", &p, &diag),
             CAB_OK);
    CHECK(p != NULL);
    cab_program_print(&b, p);
    CHECK_STR(cab_buf_cstr(&b), program_text);
    CHECK_EQ(cab_program_eval(arena, p, in, out, &diag), CAB_OK);
    const float *v = out[0].data;
    const int64_t *i = out[1].data;
    /* Rows times {1, -0.5, 3}: {1, -1, 9} and {-4, -4.5, 0}. */
    CHECK(v[0] == 9 && v[1] == 1 && v[2] == 0 && v[3] == -4);
    CHECK(i[0] == 2 && i[1] == 0 && i[2] == 2 && i[3] == 0);
    CHECK(out[0].dims[0] == 2 && out[0].dims[1] == 2);
    in[1].dims[0] = 1;
    CHECK_EQ(cab_program_eval(arena, p, in, out, &diag), CAB_EINPUT);
    CHECK(story_has("x and y"));
    cab_diag_clear(&diag);
    in[1].dims[1] = 4;
    CHECK_EQ(cab_program_eval(arena, p, in, out, &diag), CAB_EINPUT);
    CHECK(story_has("expected f32"));
    end();
}

/* y: x doubled in length as often as n says, but not beyond 20 elements; s: the
 * lengths it had; where n is negative y is x. */
static const char flow_text[] =
    "program @flow {\n"
    "  sym D -100 100 1\n"
    "  sym go 0 1 1\n"
    "  buffer 0 input \"x\" i64[N] elems N\n"
    "  buffer 1 input \"n\" i32[2] elems 2\n"
    "  buffer 2 output \"y\" i64[L] elems L\n"
    "  buffer 3 output \"s\" i64[count] elems count\n"
    "  buffer 4 temp i64[L] elems L\n"
    "  buffer 5 temp i64[2*L] elems 2*L\n"
    "  buffer 6 temp bool[] elems 1\n"
    "  buffer 7 temp i64[count] elems count\n"
    "  inputs (0, 1)\n"
    "  outputs (2, 3)\n"
    "  read D (1) params (1) loc \"Loop_0\" what \"item\"\n"
    "  check_le params (-100, D) loc \"Loop_0\" what \"a number of times\"\n"
    "  check_eq params (N, 2*floordiv(N, 2)) loc \"Loop_0\" what \"an even length\"\n"
    "  set L params (N)\n"
    "  set count params (0)\n"
    "  launch @copy (0, 4)\n"
    "  if params (max(D, 0)) loc \"Loop_0\" what \"if\"\n"
    "  loop i params (D) loc \"Loop_0\" what \"loop\"\n"
    "  set count params (i + 1)\n"
    "  grow (7)\n"
    "  launch @length (7)\n"
    "  launch @left (4, 5)\n"
    "  launch @right (4, 5)\n"
    "  launch @short (6)\n"
    "  read go (6) params (0)\n"
    "  set L params (2*L)\n"
    "  swap (4, 5)\n"
    "  break params (go)\n"
    "  end\n"
    "  else\n"
    "  end\n"
    "  alloc (2)\n"
    "  launch @give (4, 2)\n"
    "  launch @lengths (7, 3)\n"
    "}\n"
    "spec @copy map {\n  axis n par N\n  operand 0 i64 in elems N\n"
    "  operand 1 i64 out elems N\n  view 0 = operand 0 [0; n: 1]\n"
    "  view 1 = operand 1 [0; n: 1]\n  store v1 over () v0\n}\n"
    "spec @length map {\n  operand 0 i64 out elems count\n  view 0 = operand 0 [i]\n"
    "  store v0 over () dim(L)\n}\n"
    "spec @left map {\n  axis n par L\n  operand 0 i64 in elems L\n"
    "  operand 1 i64 out elems 2*L\n  view 0 = operand 0 [0; n: 1]\n"
    "  view 1 = operand 1 [0; n: 1]\n  store v1 over () v0\n}\n"
    "spec @right map {\n  axis n par L\n  operand 0 i64 in elems L\n"
    "  operand 1 i64 out elems 2*L\n  view 0 = operand 0 [0; n: 1]\n"
    "  view 1 = operand 1 [L; n: 1]\n  store v1 over () neg(v0)\n}\n"
    "spec @short map {\n  operand 0 bool out elems 1\n  view 0 = operand 0 [0]\n"
    "  store v0 over () lt(dim(L), 10:i64)\n}\n"
    "spec @give map {\n  axis n par L\n  operand 0 i64 in elems L\n"
    "  operand 1 i64 out elems L\n  view 0 = operand 0 [0; n: 1]\n"
    "  view 1 = operand 1 [0; n: 1]\n  store v1 over () v0\n}\n"
    "spec @lengths map {\n  axis n par count\n  operand 0 i64 in elems count\n"
    "  operand 1 i64 out elems count\n  view 0 = operand 0 [0; n: 1]\n"
    "  view 1 = operand 1 [0; n: 1]\n  store v1 over () v0\n}\n";

static cab_status run_flow(cab_program *p, int64_t len, int32_t n, cab_tensor out[2])
{
    static int64_t x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    static int32_t times[2];
    cab_tensor in[2] = { { .dtype = CAB_DT_i64, .rank = 1, .dims = { len }, .data = x },
                         { .dtype = CAB_DT_i32, .rank = 1, .dims = { 2 }, .data = times } };
    times[1] = n;
    cab_diag_clear(&diag);
    return cab_program_eval(arena, p, in, out, &diag);
}

static void check_flow(void)
{
    begin();
    cab_program *p = NULL;
    cab_buf b = cab_buf_on(arena);
    cab_tensor out[2];
    CHECK_EQ(cab_program_parse(arena, flow_text, sizeof flow_text - 1, "f.cir", &p, &diag), CAB_OK);
    CHECK(p != NULL);
    cab_program_print(&b, p);
    CHECK_STR(cab_buf_cstr(&b), flow_text);
    CHECK_EQ(run_flow(p, 2, 2, out), CAB_OK);          /* 2, 4, 8 */
    CHECK(out[0].dims[0] == 8 && out[1].dims[0] == 2);
    const int64_t *y = out[0].data, *s = out[1].data;
    CHECK(y[0] == 1 && y[2] == -1 && y[4] == -1 && y[6] == 1 && y[7] == 2);
    CHECK(s[0] == 2 && s[1] == 4);
    CHECK_EQ(run_flow(p, 4, 50, out), CAB_OK);         /* 4, 8, 16, 32: then it is not short */
    CHECK(out[0].dims[0] == 32 && out[1].dims[0] == 3);
    CHECK_EQ(run_flow(p, 6, 0, out), CAB_OK);
    CHECK(out[0].dims[0] == 6 && out[1].dims[0] == 0 && ((int64_t *)out[0].data)[5] == 6);
    CHECK_EQ(run_flow(p, 6, -5, out), CAB_OK);
    CHECK(out[0].dims[0] == 6);
    CHECK_EQ(run_flow(p, 6, -101, out), CAB_EINPUT);
    CHECK(story_has("a number of times"));
    CHECK_EQ(run_flow(p, 5, 1, out), CAB_EINPUT);
    CHECK(story_has("an even length"));
    end();
}

static void refuse_steps(const char *steps, const char *why)
{
    cab_program *p;
    const char *text = cab_printf(arena,
        "program @p {\n  buffer 0 input \"x\" f32[N] elems N\n  buffer 1 temp f32[N] elems N\n"
        "  buffer 2 temp i32[] elems 1\n  buffer 3 output f32[N] elems N\n  inputs (0)\n"
        "  outputs (3)\n%s\n}\n", steps);
    cab_diag_clear(&diag);
    CHECK(cab_program_parse(arena, text, strlen(text), "t.cir", &p, &diag) != CAB_OK);
    if (!story_has(why))
        fprintf(stderr, "%s: '%s' is not told\n", steps, why);
    CHECK(story_has(why));
}

static void check_flow_refusals(void)
{
    begin();
    refuse_steps("end", "outside its block");
    refuse_steps("else", "outside its block");
    refuse_steps("loop i params (N)", "a block without end");
    refuse_steps("if params (N) loop i params (N) else end end", "outside its block");
    refuse_steps("if params (N) else else end", "outside its block");
    refuse_steps("if params (N) break params (N) end", "outside its block");
    refuse_steps("if params (N) end break params (1)", "outside its block");
    refuse_steps("read D (0) params (0)", "no integer");
    refuse_steps("read D (9) params (0)", "does not exist");
    refuse_steps("read D (2)", "parts of its kind");
    refuse_steps("set 2*N params (3)", "parts of its kind");
    refuse_steps("set D params (3, 4)", "parts of its kind");
    refuse_steps("check_eq params (3)", "parts of its kind");
    refuse_steps("alloc (1, 2)", "parts of its kind");
    refuse_steps("alloc (0)", "input or a constant");
    refuse_steps("grow (3)", "no buffer of its own");
    refuse_steps("swap (1)", "parts of its kind");
    refuse_steps("swap (0, 1)", "not two buffers of its own");
    refuse_steps("swap (1, 2)", "not two buffers of its own");
    refuse_steps("swap (1, 1)", "not two buffers of its own");
    end();
}

/* Every prefix and many one-byte changes: a status, never a crash. */
static void check_hostile(const char *original, size_t len)
{
    char text[sizeof flow_text];
    cab_rng rng;
    int parsed = 0;
    cab_rng_seed(&rng, 7);
    for (size_t i = 0; i < 4000; i++) {
        begin();
        cab_program *p;
        size_t n = len;
        memcpy(text, original, len + 1);
        if (i < n)
            n = i;
        else
            text[cab_rng_i64(&rng, 0, (int64_t)n - 1)] = (char)cab_rng_i64(&rng, 1, 126);
        cab_status st = cab_program_parse(arena, text, n, "h", &p, &diag);
        parsed += st == CAB_OK;
        if (st == CAB_OK) {
            cab_buf b = cab_buf_on(arena);
            cab_program_print(&b, p);
        } else if (!cab_diag_has_errors(&diag)) {
            CHECK(!"a failure without a story");
        }
        end();
    }
    CHECK(parsed > 0);
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    check_softmax();
    check_conv();
    check_gather_argmax();
    check_serial();
    check_merging();
    check_order_kept();
    check_equality();
    check_large_expressions();
    check_constants();
    check_random();
    check_refusals();
    check_program();
    check_flow();
    check_flow_refusals();
    check_hostile(program_text, sizeof program_text - 1);
    check_hostile(flow_text, sizeof flow_text - 1);
    TEST_END();
}
