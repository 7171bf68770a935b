/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llvm.c - every KIR instruction: machine code against the interpreter.
 *
 * Small kernels, one per instruction, dtype and lane count, run over special
 * and random values on every target this machine can execute.  Results must
 * agree bit for bit, up to NaN payloads and the sign of zero in min and max.
 */
#include <math.h>
#include "tests/test.h"
#include "tests/kernel_run.h"

enum { N = 512, MAX_BUFS = 4 };

static cab_arena *arena;
static cab_diag diag;
static cab_rng rng;

static const cab_dtype types[] = {
    CAB_DT_bool, CAB_DT_u8, CAB_DT_i8, CAB_DT_u16, CAB_DT_i16, CAB_DT_u32, CAB_DT_i32,
    CAB_DT_u64, CAB_DT_i64, CAB_DT_f32, CAB_DT_f64, CAB_DT_f16, CAB_DT_bf16,
};
enum { N_TYPES = sizeof types / sizeof *types, N_ARITH = 11 };

/* ---- data ---- */

static cab_kraw special(cab_dtype dt, int i)
{
    static const double f[] = { 0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, INFINITY, -INFINITY, NAN, 1e-45,
                                1e-40, 3e38, -3e38, 65504, 65520, 70000, 6e-8, 5e-8, 1e-5, 127.5,
                                -128.5, 255.7, 2147483648.0, -2147483904.0, 4294967296.0,
                                9.3e18, -9.3e18, 1.9e19, 1e300, 4503599627370497.5 };
    static const int64_t v[] = { 0, 1, -1, 2, 3, 7, 8, 31, 32, 63, 64, 127, -128, 255, 32767, -32768,
                                 INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1000003, -77 };
    if (cab_dtype_is_float(dt))
        return cab_kraw_of_f64(dt, f[i % 32]);
    if (dt == CAB_DT_bool)
        return (cab_kraw)(i & 1);
    return cab_kraw_of_int(dt, v[i % 22]);
}

static cab_kraw arbitrary(cab_dtype dt)
{
    uint64_t r = cab_rng_u64(&rng);

    if (dt == CAB_DT_bool)
        return r & 1;
    if (cab_dtype_is_float(dt) && r % 3)
        return cab_kraw_of_f64(dt, cab_rng_f64(&rng, -300, 300));
    if (cab_dtype_is_float(dt))
        return r >> (64 - cab_dtype_bits(dt));
    return cab_kraw_of_int(dt, (int64_t)(r % 4 ? r >> (r % 60) : r));
}

static size_t size_of(cab_dtype dt) { return (size_t)cab_dtype_bits(dt) / 8; }

static void fill(cab_dtype dt, char *p, int which)
{
    for (int i = 0; i < N; i++)
        cab_kraw_store(dt, p + size_of(dt) * (size_t)i,
                       i < 400 ? special(dt, which ? i / 20 : i) : arbitrary(dt));
}

/* ---- cases ---- */

typedef struct test_case {
    cab_kir *k;
    int n_bufs;
    cab_dtype dt[MAX_BUFS];    /* inputs, then the output */
    bool loose;                /* zeros of either sign, fma in two roundings */
} test_case;

static CAB_VEC(test_case) cases;

static test_case *add_case(const char *what, int n_bufs, const cab_dtype *dt)
{
    test_case c = { .n_bufs = n_bufs };

    c.k = cab_kir_create(arena, cab_printf(arena, "t%zu_%s", cases.n, what), n_bufs, 0);
    memcpy(c.dt, dt, (size_t)n_bufs * sizeof *dt);
    cab_vec_push(arena, &cases, c);
    return &cases.p[cases.n - 1];
}

/* Opens the loop over vectors; returns the index. */
static cab_kv over(test_case *c, int lanes)
{
    return cab_k_loop(c->k, cab_k_i64(c->k, 0), cab_k_i64(c->k, N), lanes, 0, NULL, NULL);
}

static cab_kv in(test_case *c, int buf, int lanes, cab_kv i)
{
    cab_kv p = cab_k_buf(c->k, buf, c->dt[buf], buf < c->n_bufs - 1);
    return cab_k_ld(c->k, c->dt[buf], lanes, p, i, 0, -1);
}

static void out(test_case *c, cab_kv v, cab_kv i)
{
    cab_kv p = cab_k_buf(c->k, c->n_bufs - 1, c->dt[c->n_bufs - 1], false);
    cab_k_st(c->k, v, p, i, 0, -1);
    cab_k_end(c->k, 0, NULL, NULL);
}

static void binary_cases(int lanes)
{
    static const cab_kop ops[] = { CAB_K_add, CAB_K_sub, CAB_K_mul, CAB_K_div, CAB_K_rem, CAB_K_min,
                                   CAB_K_max, CAB_K_and, CAB_K_or, CAB_K_xor, CAB_K_shl, CAB_K_shr };
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++)
        for (int t = 0; t < N_ARITH; t++) {
            cab_dtype dt = types[t], all[3] = { dt, dt, dt };
            bool f = cab_dtype_is_float(dt), b = dt == CAB_DT_bool;
            bool bits = ops[o] >= CAB_K_and && ops[o] <= CAB_K_xor;
            if ((f && (bits || ops[o] > CAB_K_xor || ops[o] == CAB_K_rem)) || (b && !bits))
                continue;
            test_case *c = add_case("op2", 3, all);
            cab_kv i = over(c, lanes), x = in(c, 0, lanes, i), y = in(c, 1, lanes, i);
            c->loose = ops[o] == CAB_K_min || ops[o] == CAB_K_max;
            out(c, cab_k_op2(c->k, ops[o], x, y), i);
        }
}

static void unary_cases(int lanes)
{
    static const cab_kop ops[] = { CAB_K_neg, CAB_K_abs, CAB_K_floor, CAB_K_ceil, CAB_K_rint,
                                   CAB_K_trunc, CAB_K_sqrt };
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++)
        for (int t = 1; t < N_ARITH; t++) {
            cab_dtype dt = types[t], all[2] = { dt, dt };
            if (o > 1 && !cab_dtype_is_float(dt))
                continue;
            test_case *c = add_case("op1", 2, all);
            cab_kv i = over(c, lanes);
            out(c, cab_k_op1(c->k, ops[o], in(c, 0, lanes, i)), i);
        }
}

static void compare_cases(int lanes)
{
    for (int sub = 0; sub < 4; sub++)
        for (int t = 1; t < N_ARITH; t++) {
            cab_dtype all[3] = { types[t], types[t], types[t] };
            test_case *c = add_case("cmp_select", 3, all);
            cab_kv i = over(c, lanes), x = in(c, 0, lanes, i), y = in(c, 1, lanes, i);
            out(c, cab_k_select(c->k, cab_k_cmp(c->k, sub, x, y), x, y), i);
        }
}

static void cast_cases(int lanes)
{
    for (int f = 0; f < N_TYPES; f++)
        for (int t = 0; t < N_TYPES; t++) {
            cab_dtype all[2] = { types[f], types[t] };
            test_case *c = add_case("cast", 2, all);
            cab_kv i = over(c, lanes);
            out(c, cab_k_cast(c->k, types[t], in(c, 0, lanes, i)), i);
        }
}

static void fma_cases(int lanes)
{
    for (int t = 9; t < N_ARITH; t++) {
        cab_dtype all[4] = { types[t], types[t], types[t], types[t] };
        test_case *c = add_case("fma", 4, all);
        cab_kv i = over(c, lanes), x = in(c, 0, lanes, i), y = in(c, 1, lanes, i);
        out(c, cab_k_fma(c->k, x, y, in(c, 2, lanes, i)), i);
        c->loose = true;
    }
}

/* fold, extract, insert, perm, splat, iota: one value per vector. */
static void lane_cases(int lanes)
{
    int reverse[CAB_KIR_MAX_LANES];

    for (int j = 0; j < lanes; j++)
        reverse[j] = 2 * lanes - 1 - 2 * j;
    for (int t = 0; t < N_ARITH; t++) {
        cab_dtype dt = types[t], all[3] = { dt, dt, dt };
        bool f = cab_dtype_is_float(dt), b = dt == CAB_DT_bool;
        for (int sub = b ? CAB_KF_AND : CAB_KF_ADD; sub <= (f ? CAB_KF_MAX : CAB_KF_OR); sub++) {
            test_case *c = add_case("fold", 3, all);
            cab_kv i = over(c, lanes), x = in(c, 0, lanes, i), y = in(c, 1, lanes, i);
            cab_kv v = cab_k_splat(c->k, cab_k_fold(c->k, sub, x), lanes);
            c->loose = true;
            v = cab_k_insert(c->k, v, cab_k_extract(c->k, y, lanes - 1), lanes / 2);
            out(c, v, i);
        }
        test_case *c = add_case("perm", 3, all);
        cab_kv i = over(c, lanes), x = in(c, 0, lanes, i), y = in(c, 1, lanes, i);
        out(c, cab_k_perm(c->k, x, y, lanes, reverse), i);
    }
}

/* Masked loads and stores, gathers and scatters. */
static void memory_cases(int lanes)
{
    for (int t = 0; t < N_TYPES; t++) {
        cab_dtype all[3] = { types[t], CAB_DT_i32, types[t] };
        test_case *c = add_case("masked", 3, all);
        cab_kir *k = c->k;
        cab_kv src = cab_k_buf(k, 0, types[t], true), dst = cab_k_buf(k, 2, types[t], false);
        cab_kv i = over(c, lanes), m = in(c, 1, lanes, i);
        cab_kv mask = cab_k_cmp(k, CAB_KC_LT, m, cab_k_const_i(k, CAB_DT_i32, lanes, 7));
        cab_kv mask2 = cab_k_cmp(k, CAB_KC_LT, cab_k_const_i(k, CAB_DT_i32, lanes, 0), m);
        cab_kv at = cab_k_op2(k, CAB_K_add, cab_k_splat(k, i, lanes), cab_k_iota(k, CAB_DT_i64, lanes));
        cab_kv back = cab_k_op2(k, CAB_K_sub, cab_k_const_i(k, CAB_DT_i64, lanes, N - 1), at), v;
        v = cab_k_ldx(k, types[t], lanes, src, back, 0, mask2);
        if (lanes % 2)
            v = cab_k_ld(k, types[t], lanes, src, i, 0, mask2);
        cab_k_stx(k, v, dst, back, 0, mask);
        v = cab_k_ld(k, types[t], lanes, src, i, 0, mask);
        cab_k_st(k, v, dst, i, 0, mask2);
        cab_k_end(k, 0, NULL, NULL);
    }
}

/* Tail masks of constant width: 1 .. lanes - 1 elements. */
static void tail_cases(int lanes)
{
    for (int t = 0; t < N_TYPES; t++)
        for (int n = 1; n < lanes; n += n < 3 ? 1 : 3) {
            cab_dtype all[2] = { types[t], types[t] };
            test_case *c = add_case("tail", 2, all);
            cab_kir *k = c->k;
            cab_kv src = cab_k_buf(k, 0, types[t], true), dst = cab_k_buf(k, 1, types[t], false);
            cab_kv mask = cab_k_cmp(k, CAB_KC_LT, cab_k_iota(k, CAB_DT_i32, lanes),
                                    cab_k_const_i(k, CAB_DT_i32, lanes, n));
            cab_kv i = over(c, lanes);
            cab_k_st(k, cab_k_ld(k, types[t], lanes, src, i, 0, mask), dst, i, 0, mask);
            cab_k_end(k, 0, NULL, NULL);
        }
}

/* Narrowing right before a one-lane masked store. */
static void narrow_tail_cases(int lanes)
{
    static const cab_dtype to[] = { CAB_DT_bf16, CAB_DT_f16, CAB_DT_u8, CAB_DT_i16, CAB_DT_bool };

    for (int t = 0; t < 5; t++) {
        cab_dtype all[2] = { CAB_DT_f32, to[t] };
        test_case *c = add_case("narrow", 2, all);
        cab_kir *k = c->k;
        cab_kv dst = cab_k_buf(k, 1, to[t], false);
        cab_kv mask = cab_k_cmp(k, CAB_KC_LT, cab_k_iota(k, CAB_DT_i32, lanes),
                                cab_k_const_i(k, CAB_DT_i32, lanes, 1));
        cab_kv i = over(c, lanes);
        cab_k_st(k, cab_k_cast(k, to[t], in(c, 0, lanes, i)), dst, i, 0, mask);
        cab_k_end(k, 0, NULL, NULL);
    }
}

/* while with carried values, if with results, nested loops, a stack buffer. */
static void structure_case(void)
{
    cab_dtype all[3] = { CAB_DT_i32, CAB_DT_i32, CAB_DT_i32 };
    test_case *c = add_case("structure", 3, all);
    cab_kir *k = c->k;
    cab_kv tmp = cab_k_alloc(k, CAB_KS_STACK, CAB_DT_i32, 8), zero = cab_k_i64(k, 0);
    cab_kv i = over(c, 1), x = in(c, 0, 1, i), y = in(c, 1, 1, i), init[2], now[2], next[2], res[2], v;

    cab_k_loop(k, zero, cab_k_i64(k, 8), 1, 0, NULL, NULL);
    v = (cab_kv)(k->ins.n - 1);
    cab_k_st(k, cab_k_op2(k, CAB_K_add, x, cab_k_cast(k, CAB_DT_i32, v)), tmp, v, 0, -1);
    cab_k_end(k, 0, NULL, NULL);
    init[0] = cab_k_op2(k, CAB_K_and, x, cab_k_const_i(k, CAB_DT_i32, 1, 15));
    init[1] = y;
    cab_k_while(k, 2, init, now);
    cab_k_cond(k, cab_k_cmp(k, CAB_KC_LT, cab_k_const_i(k, CAB_DT_i32, 1, 0), now[0]));
    next[0] = cab_k_op2(k, CAB_K_sub, now[0], cab_k_const_i(k, CAB_DT_i32, 1, 1));
    cab_k_if(k, cab_k_cmp(k, CAB_KC_LT, now[1], x));
    next[1] = cab_k_op2(k, CAB_K_add, now[1], now[0]);
    cab_k_else(k, 1, &next[1]);
    next[1] = cab_k_op2(k, CAB_K_xor, now[1], now[0]);
    cab_k_endif(k, 1, &next[1], &res[0]);
    next[1] = res[0];
    cab_k_end(k, 2, next, res);
    init[0] = res[1];
    cab_kv hi = cab_k_op2(k, CAB_K_and, cab_k_cast(k, CAB_DT_i64, x), cab_k_i64(k, 7));
    cab_kv j = cab_k_loop(k, zero, hi, 3, 1, init, now);
    next[0] = cab_k_op2(k, CAB_K_add, now[0], cab_k_ld(k, CAB_DT_i32, 1, tmp, j, 0, -1));
    cab_k_end(k, 1, next, res);
    cab_k_if(k, cab_k_cmp(k, CAB_KC_LT, y, x));
    cab_k_st(k, res[0], cab_k_buf(k, 2, CAB_DT_i32, false), i, 0, -1);
    cab_k_endif(k, 0, NULL, NULL);
    cab_k_end(k, 0, NULL, NULL);
}

static void dot4_case(int lanes)
{
    cab_dtype all[3] = { CAB_DT_u8, CAB_DT_i8, CAB_DT_i32 };
    test_case *c = add_case("dot4", 3, all);
    cab_kir *k = c->k;
    cab_kv i = cab_k_loop(k, cab_k_i64(k, 0), cab_k_i64(k, N / 4), lanes, 0, NULL, NULL);
    cab_kv q = cab_k_op2(k, CAB_K_mul, i, cab_k_i64(k, 4)), p = cab_k_buf(k, 2, CAB_DT_i32, false);
    cab_kv u = cab_k_ld(k, CAB_DT_u8, 4 * lanes, cab_k_buf(k, 0, CAB_DT_u8, true), q, 0, -1);
    cab_kv s = cab_k_ld(k, CAB_DT_i8, 4 * lanes, cab_k_buf(k, 1, CAB_DT_i8, true), q, 0, -1);

    cab_k_st(k, cab_k_dot4(k, cab_k_ld(k, CAB_DT_i32, lanes, p, i, 0, -1), u, s), p, i, 0, -1);
    cab_k_end(k, 0, NULL, NULL);
}

/* ---- running ---- */

static bool agree(const test_case *c, const cab_target *t, cab_dtype dt, const char *x, const char *y)
{
    double a, b;

    if (!memcmp(x, y, size_of(dt)))
        return true;
    if (!cab_dtype_is_float(dt))
        return false;
    a = cab_kraw_to_f64(dt, cab_kraw_load(dt, x));
    b = cab_kraw_to_f64(dt, cab_kraw_load(dt, y));
    if (isnan(a) && isnan(b))
        return true;
    if (!c->loose)
        return false;
    return a == b || (!t->fma && (fabs(a - b) <= 1e-4 * fabs(b) + 1e-3 || isinf(a) || isnan(a)));
}

static void run_case(const test_case *c, const cab_target *t, kernel_fn f)
{
    static _Alignas(64) char mem[2][MAX_BUFS][N * 8 + 64];
    void *ptr[MAX_BUFS];
    cab_kir_buf bufs[MAX_BUFS];
    int last = c->n_bufs - 1;

    CHECK(f != NULL);
    for (int i = 0; i < c->n_bufs; i++) {
        fill(c->dt[i], mem[0][i], i);
        memcpy(mem[1][i], mem[0][i], sizeof mem[0][i]);
        ptr[i] = mem[0][i];
        bufs[i] = (cab_kir_buf){ mem[1][i], N };
    }
    f(ptr, NULL, 0, 1);
    if (cab_kir_run(arena, c->k, bufs, NULL, 0, 1, &diag) != CAB_OK) {
        fprintf(stderr, "%s: interpreter: %s\n", c->k->name, cab_diag_first(&diag)->text);
        test_failed++;
        return;
    }
    for (int i = 0; i < N; i++) {
        size_t at = (size_t)i * size_of(c->dt[last]);
        if (agree(c, t, c->dt[last], mem[0][last] + at, mem[1][last] + at))
            continue;
        cab_buf b = cab_buf_on(arena);
        cab_kir_print(&b, c->k);
        fprintf(stderr, "%s on %s: element %d: %.9g (%#llx), interpreter %.9g (%#llx) from %.9g\n%s\n",
                c->k->name, t->cpu, i, cab_elem_f64(c->dt[last], mem[0][last], (uint64_t)i),
                (long long)cab_kraw_load(c->dt[last], mem[0][last] + at),
                cab_elem_f64(c->dt[last], mem[1][last], (uint64_t)i),
                (long long)cab_kraw_load(c->dt[last], mem[1][last] + at),
                cab_elem_f64(c->dt[0], mem[0][0], (uint64_t)i), cab_buf_cstr(&b));
        test_failed++;
        return;
    }
    test_passed++;
}

static void run_all(const cab_target *t)
{
    const cab_kir **k = CAB_NEW_N(arena, const cab_kir *, cases.n);
    loaded l;

    for (size_t i = 0; i < cases.n; i++)
        k[i] = cases.p[i].k;
    if (load_kernels(arena, k, (int)cases.n, t, &l, &diag) != CAB_OK) {
        fprintf(stderr, "%s: %s\n", t->cpu, cab_diag_first(&diag)->text);
        test_failed++;
        return;
    }
    for (size_t i = 0; i < cases.n && test_failed < 20; i++)
        run_case(&cases.p[i], t, loaded_find(&l, cases.p[i].k->name));
    unload(&l);
}

int main(void)
{
    static const char *const names[] = { NULL, "x86-64-v2", "x86-64-v3" };
    static cab_job job;
    cab_target t;
    volatile int host = 16;    /* changed after setjmp */

    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    cab_rng_seed(&rng, 7);
    for (int lanes = 1; lanes <= 16; lanes *= lanes == 4 ? 4 : 2) {
        binary_cases(lanes);
        unary_cases(lanes);
        compare_cases(lanes);
        cast_cases(lanes);
        fma_cases(lanes);
        lane_cases(lanes);
        memory_cases(lanes);
        tail_cases(lanes);
        narrow_tail_cases(lanes);
        dot4_case(lanes);
    }
    structure_case();
    for (size_t i = 0; i < cases.n; i++)
        CHECK_EQ(cab_kir_verify(cases.p[i].k, &diag), CAB_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cab_target_get(arena, names[i], &t, &diag), CAB_OK);
        if (i == 0)
            host = t.vector_bytes;
        if (t.vector_bytes <= host)
            run_all(&t);
    }
    CHECK_EQ(cab_target_get(arena, "pdp-11", &t, &diag), CAB_EUNSUPPORTED);
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    TEST_END();
}
