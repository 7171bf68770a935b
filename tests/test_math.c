/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_math.c - errors of the functions of kir_math*.c, in units in the last
 * place, against the C library in the next wider format.
 *
 * A thousand arguments per function run in the interpreter; many more in the
 * kernels' C text where there is a C compiler (CAB_TEST_SLOW=1: very many).
 * Prints the largest error found; docs/math.md states the bounds.
 */
#include <float.h>
#include <math.h>
#include "base/rng.h"
#include "tests/kir_host.h"
#include "tests/test.h"

typedef cab_kv unary(cab_kir *k, cab_kv x);
typedef long double wide(long double x);

static const struct function {
    const char *name;
    unary *build;
    wide *reference;
    double bound[2];           /* f32, f64 */
    double lo, hi;             /* where arguments are drawn evenly */
    double most;               /* largest |argument| drawn by exponent */
} functions[] = {
    { "exp", cab_k_exp, expl, { 1, 1 }, -104, 89, 1e3 },
    { "log", cab_k_log, logl, { 1, 1 }, 0.25, 4, HUGE_VAL },
    { "tanh", cab_k_tanh, tanhl, { 2, 2 }, -10, 10, HUGE_VAL },
    { "erf", cab_k_erf, erfl, { 2, 1.5 }, -6, 6, HUGE_VAL },
    { "sin", cab_k_sin, sinl, { 0.51, 2 }, -1e5, 1e5, 0x1p40 },
    { "cos", cab_k_cos, cosl, { 0.51, 2 }, -1e5, 1e5, 0x1p40 },
    { "tan", cab_k_tan, tanl, { 0.51, 4 }, -1e5, 1e5, 0x1p40 },
    { "asin", cab_k_asin, asinl, { 0.51, 2 }, -1, 1, 1 },
    { "acos", cab_k_acos, acosl, { 0.51, 2 }, -1, 1, 1 },
    { "atan", cab_k_atan, atanl, { 0.51, 2 }, -4, 4, HUGE_VAL },
    { "sinh", cab_k_sinh, sinhl, { 0.51, 2 }, -3, 3, 720 },
    { "cosh", cab_k_cosh, coshl, { 0.51, 2 }, -3, 3, 720 },
    { "asinh", cab_k_asinh, asinhl, { 0.51, 3 }, -3, 3, HUGE_VAL },
    { "acosh", cab_k_acosh, acoshl, { 0.51, 3 }, 1, 5, HUGE_VAL },
    { "atanh", cab_k_atanh, atanhl, { 0.51, 3 }, -1, 1, 1 },
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions, LANES = 8 };

static const char *const kinds[2] = { "f32", "f64" };

/* |got - want| in units of the last place of a result near want. */
static double ulps(bool f64, double got, long double want)
{
    long double most = f64 ? DBL_MAX : FLT_MAX;
    int digits = f64 ? 53 : 24, least = f64 ? -1021 : -125, e;
    long double unit;

    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : 1e9;
    unit = ldexpl(most, -digits);
    if (fabsl(want) >= most + unit / 2)
        return isinf(got) && !signbit(got) == !signbit(want) ? 0
             : fabsl(want) < most + 2 * unit && fabs(got) >= (double)most ? 1 : 1e9;
    if (isinf(got))
        return 1e9;
    frexpl(want, &e);
    return (double)fabsl((got - want) / ldexpl(1, (e < least ? least : e) - digits));
}

static cab_kir *kernel(cab_arena *a, const struct function *f, bool f64)
{
    cab_dtype dt = f64 ? CAB_DT_f64 : CAB_DT_f32;
    cab_kir *k = cab_kir_create(a, cab_printf(a, "%s_%s", f->name, kinds[f64]), 2, 0);
    cab_kv in = cab_k_buf(k, 0, dt, true), out = cab_k_buf(k, 1, dt, false);
    cab_kv at = cab_k_op2(k, CAB_K_mul, cab_k_grid(k), cab_k_i64(k, LANES));

    cab_k_st(k, f->build(k, cab_k_ld(k, dt, LANES, in, at, 0, -1)), out, at, 0, -1);
    return k;
}

static double argument(const struct function *f, cab_rng *r, bool f64, int64_t i)
{
    static const double special[] = { 0, -0.0, 1, -1, HUGE_VAL, -HUGE_VAL, NAN, 0.5, -0.5, 2 };
    int range = f64 ? 1074 : 149, top;
    double x;

    if (i < (int64_t)(sizeof special / sizeof *special))
        return fabs(special[i]) <= f->most || isnan(special[i]) || !isfinite(special[i])
                   ? special[i] : 0;
    if (i & 1) {
        x = cab_rng_f64(r, f->lo, f->hi);
    } else {
        top = isinf(f->most) ? (f64 ? 1024 : 128) : ilogb(f->most) + 1;
        x = ldexp(cab_rng_f64(r, 0.5, 1), (int)cab_rng_i64(r, -range, top));
        x = fmin(x, f->most) * (cab_rng_u64(r) & 1 ? -1 : 1);
    }
    return f64 ? x : (double)(float)x;
}

static double get(const void *p, bool f64, int64_t i)
{
    return f64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void put(void *p, bool f64, int64_t i, double v)
{
    if (f64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

/* The C text gives the bits in y, NaNs apart. */
static void check_same(cab_arena *a, host_fn *fn, void *x, const void *y, int64_t n, bool f64)
{
    size_t size = f64 ? 8 : 4;
    char *z = cab_alloc_zero(a, (size_t)n, size);
    void *bufs[2] = { x, z };
    int64_t differ = 0;

    fn(bufs, NULL, 0, n / LANES);
    for (int64_t i = 0; i < n; i++)
        differ += memcmp(z + (size_t)i * size, (const char *)y + (size_t)i * size, size) &&
                  !(isnan(get(z, f64, i)) && isnan(get(y, f64, i)));
    CHECK_EQ(differ, 0);
}

/* Largest error over n arguments, by fn or, NULL, the interpreter; the latter
 * is compared with `same` too. */
static double measure(cab_arena *a, const cab_kir *k, const struct function *f, bool f64,
                      host_fn *fn, host_fn *same, int64_t n, double *worst_at)
{
    cab_mark mark = cab_arena_mark(a);
    void *x = cab_alloc_zero(a, (size_t)n, 8), *y = cab_alloc_zero(a, (size_t)n, 8);
    void *bufs[2] = { x, y };
    cab_kir_buf checked[2] = { { x, (uint64_t)n }, { y, (uint64_t)n } };
    cab_rng r;
    double worst = 0, u;

    cab_rng_seed(&r, 1);
    for (int64_t i = 0; i < n; i++)
        put(x, f64, i, argument(f, &r, f64, i));
    if (fn)
        fn(bufs, NULL, 0, n / LANES);
    else
        CHECK_EQ(cab_kir_run(a, k, checked, NULL, 0, n / LANES, NULL), CAB_OK);
    if (same)
        check_same(a, same, x, y, n, f64);
    for (int64_t i = 0; i < n; i++) {
        long double want = f->reference(get(x, f64, i));
        u = ulps(f64, get(y, f64, i), want);
        if (want == 0 && !signbit(want) != !signbit(get(y, f64, i)))
            u = 1e9;           /* zeros keep their sign */
        if (u > worst) {
            worst = u;
            *worst_at = get(x, f64, i);
        }
    }
    cab_arena_release(a, mark);
    return worst;
}

static void check_functions(cab_arena *a)
{
    const cab_kir *k[2 * N_FUNCTIONS];
    int64_t many = getenv("CAB_TEST_SLOW") ? 8000000 : 100000;
    void *so;

    for (int i = 0; i < 2 * N_FUNCTIONS; i++)
        k[i] = kernel(a, &functions[i / 2], i & 1);
    so = host_open(a, k, 2 * N_FUNCTIONS);
    for (int i = 0; i < 2 * N_FUNCTIONS; i++) {
        const struct function *f = &functions[i / 2];
        host_fn *fn = host_get(so, k[i]->name);
        double at = 0, at_many = 0, few, worst;
        few = measure(a, k[i], f, i & 1, NULL, fn, 1000, &at);
        worst = fn ? measure(a, k[i], f, i & 1, fn, NULL, many, &at_many) : 0;
        printf("%s %s: %.3f ulp (at %.9g)\n", kinds[i & 1], f->name, fmax(few, worst),
               worst > few ? at_many : at);
        CHECK(few <= f->bound[i & 1]);
        CHECK(worst <= f->bound[i & 1]);
    }
}

/* ---- pow, remainders: two arguments ---- */

typedef cab_kv binary(cab_kir *k, cab_kv x, cab_kv y);

static cab_kir *kernel2(cab_arena *a, const char *name, binary *f, cab_dtype dt)
{
    cab_kir *k = cab_kir_create(a, name, 3, 0);
    cab_kv x = cab_k_buf(k, 0, dt, true), y = cab_k_buf(k, 1, dt, true);
    cab_kv out = cab_k_buf(k, 2, dt, false);
    cab_kv at = cab_k_op2(k, CAB_K_mul, cab_k_grid(k), cab_k_i64(k, LANES));

    cab_k_st(k, f(k, cab_k_ld(k, dt, LANES, x, at, 0, -1), cab_k_ld(k, dt, LANES, y, at, 0, -1)),
             out, at, 0, -1);
    return k;
}

static long double py_mod(long double x, long double y)
{
    long double r = fmodl(x, y);

    if (r != 0 && (r < 0) != (y < 0))
        r += y;
    return r == 0 ? copysignl(r, y) : r;
}

static const struct function2 {
    const char *name;
    binary *build;
    long double (*reference)(long double, long double);
    double bound[2];
} functions2[] = {
    { "pow", cab_k_pow, powl, { 0.51, 1 } },
    { "fmod", cab_k_fmod, fmodl, { 0, 0 } },
    { "pymod", cab_k_pymod, py_mod, { 0.5, 0.5 } },
};

static double argument2(cab_rng *r, bool f64, int64_t i, bool y)
{
    static const double special[] = { 0, -0.0, 1, -1, HUGE_VAL, -HUGE_VAL, NAN, 0.5, -0.5,
                                      2, 3, -2, -3, 1e300, 5e-324, 1e-320, -7.5 };
    enum { N = sizeof special / sizeof *special };
    double x;

    if (i < N * N)
        x = special[y ? i / N : i % N];
    else if (i & 1)
        x = cab_rng_f64(r, y ? -30 : 0, 30);
    else
        x = ldexp(cab_rng_f64(r, -1, 1), (int)cab_rng_i64(r, y ? -9 : -150, y ? 9 : 127));
    return f64 ? x : (double)(float)x;
}

static void check_two(cab_arena *a, const struct function2 *f, bool f64)
{
    enum { N = 4000 };
    cab_kir *k = kernel2(a, f->name, f->build, f64 ? CAB_DT_f64 : CAB_DT_f32);
    static double x[N], y[N], z[N];
    cab_kir_buf bufs[3] = { { x, N }, { y, N }, { z, N } };
    double worst = 0, u, got;
    long double want;
    cab_rng r;

    cab_rng_seed(&r, 2);
    for (int64_t i = 0; i < N; i++) {
        put(x, f64, i, argument2(&r, f64, i, false));
        put(y, f64, i, argument2(&r, f64, i, true));
    }
    CHECK_EQ(cab_kir_run(a, k, bufs, NULL, 0, N / LANES, NULL), CAB_OK);
    for (int64_t i = 0; i < N; i++) {
        want = f->reference(get(x, f64, i), get(y, f64, i));
        got = get(z, f64, i);
        u = ulps(f64, got, want);
        if (want == 0 && !signbit(want) != !signbit(got))
            u = 1e9;
        if (u > f->bound[f64])
            fprintf(stderr, "%s(%.17g, %.17g) = %.17g, not %.17Lg\n", f->name, get(x, f64, i),
                    get(y, f64, i), got, want);
        worst = fmax(worst, u);
    }
    printf("%s %s: %.3f ulp\n", kinds[f64], f->name, worst);
    CHECK(worst <= f->bound[f64]);
}

static void check_integers(cab_arena *a)
{
    static const int32_t x[16] = { 2, 3, -2, 0, 1, -1, -1, 0, 7, -7, 7, -7, 5, 10, 46341, 2 };
    static const int32_t y[16] = { 10, 4, 3, 0, -5, -3, -2, -1, 3, 3, -3, -3, 0, 9, 2, 40 };
    static const int32_t power[16] = { 1024, 81, -8, 1, 1, -1, 1, 0, 343, -343, 0, 0, 1,
                                       1000000000, -2147479015, 0 };
    static const int32_t mod[16] = { 2, 3, 1, 0, -4, -1, -1, 0, 1, 2, -2, -1, 0, 1, 1, 2 };
    int32_t z[16];
    cab_kir_buf bufs[3] = { { (void *)(uintptr_t)x, 16 }, { (void *)(uintptr_t)y, 16 },
                            { z, 16 } };
    cab_kir *pow = kernel2(a, "ipow", cab_k_pow, CAB_DT_i32);
    cab_kir *pymod = kernel2(a, "imod", cab_k_pymod, CAB_DT_i32);

    CHECK_EQ(cab_kir_run(a, pow, bufs, NULL, 0, 2, NULL), CAB_OK);
    for (int i = 0; i < 16; i++)
        CHECK_EQ(z[i], power[i]);
    CHECK_EQ(cab_kir_run(a, pymod, bufs, NULL, 0, 2, NULL), CAB_OK);
    for (int i = 0; i < 16; i++)
        CHECK_EQ(z[i], mod[i]);
}

/* Beyond the stated range sin and cos stay within [-1, 1]. */
static void check_huge(cab_arena *a)
{
    cab_kir *k = kernel(a, &functions[4], true);
    double x[8] = { 1e10, 1e15, 1e22, 1e100, 1e300, -1e308, DBL_MAX, 1e6 }, y[8];
    cab_kir_buf bufs[2] = { { x, 8 }, { y, 8 } };

    CHECK_EQ(cab_kir_run(a, k, bufs, NULL, 0, 1, NULL), CAB_OK);
    for (int i = 0; i < 8; i++)
        CHECK(fabs(y[i]) <= 1);
    CHECK(ulps(true, y[7], sinl(1e6L)) < 2);
}

static cab_kv sign(cab_kir *k, cab_kv x) { return cab_k_sign(k, x); }
static cab_kv tests(cab_kir *k, cab_kv x)
{
    cab_kv nan = cab_k_isnan(k, x), inf = cab_k_isinf(k, x);
    cab_kv one = cab_k_const_f(k, CAB_DT_f32, LANES, 1);
    cab_kv two = cab_k_const_f(k, CAB_DT_f32, LANES, 2);
    cab_kv none = cab_k_const_f(k, CAB_DT_f32, LANES, 0);

    return cab_k_select(k, nan, one, cab_k_select(k, inf, two, none));
}

static void check_tests(cab_arena *a)
{
    struct function f = { "f", sign, NULL, { 0, 0 }, 0, 0, 0 };
    float x[8] = { 3, -3, 0, NAN, INFINITY, -INFINITY, 1e-45f, -1e-45f }, y[8];
    static const float signs[8] = { 1, -1, 0, 0, 1, -1, 1, -1 };
    static const float kind[8] = { 0, 0, 0, 1, 2, 2, 0, 0 };
    cab_kir_buf bufs[2] = { { x, 8 }, { y, 8 } };

    CHECK_EQ(cab_kir_run(a, kernel(a, &f, false), bufs, NULL, 0, 1, NULL), CAB_OK);
    for (int i = 0; i < 8; i++)
        CHECK(isnan(x[i]) ? isnan(y[i]) : y[i] == signs[i]);
    f.build = tests;
    CHECK_EQ(cab_kir_run(a, kernel(a, &f, false), bufs, NULL, 0, 1, NULL), CAB_OK);
    for (int i = 0; i < 8; i++)
        CHECK(y[i] == kind[i]);
}

int main(void)
{
    static cab_job job;
    cab_arena *a;

    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    a = cab_arena_create(&job);
    check_functions(a);
    for (size_t i = 0; i < sizeof functions2 / sizeof *functions2; i++) {
        check_two(a, &functions2[i], false);
        check_two(a, &functions2[i], true);
    }
    check_integers(a);
    check_huge(a);
    check_tests(a);
    cab_arena_destroy(a);
    TEST_END();
}
