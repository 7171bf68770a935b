/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cuda.c - CUDA text of kernels, compiled by NVRTC where it is found.
 *
 * Without NVRTC only the text is looked at.  Nothing is run on a GPU here.
 */
#include "codegen/cuda/nvrtc.h"
#include "codegen/kir.h"
#include "tests/test.h"

static cab_arena *A;
/* NVRTC keeps memory until the process ends; leaks of ours are looked for in
 * test_kir and test_gen. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static cab_nvrtc *N;

static char *text_of(const cab_kir *k)
{
    cab_buf b = cab_buf_on(A);

    CHECK_EQ(cab_kir_verify(k, NULL), CAB_OK);
    CHECK_EQ(cab_kir_to_cuda(&b, k, NULL), CAB_OK);
    return cab_strdup(A, cab_buf_cstr(&b));
}

/* PTX of k; "" without NVRTC. */
static char *ptx_of(const cab_kir *k)
{
    char *text = text_of(k), *ptx = cab_strdup(A, "");
    cab_diag d;

    cab_diag_init(&d);
    if (N && cab_nvrtc_ptx(N, A, text, k->name, "compute_80", &ptx, &d) != CAB_OK) {
        fprintf(stderr, "%s\n%s\n", cab_diag_first(&d)->text, text);
        CHECK(false);
    }
    CHECK(!N || strstr(ptx, cab_printf(A, ".entry %s(", k->name)) != NULL);
    cab_diag_fini(&d);
    return ptx;
}

/* The element of this thread, below a limit given as an int. */
static cab_kv element(cab_kir *k, cab_kv *inside)
{
    cab_kv size = cab_k_i64(k, 128), at;

    k->block = 128;
    at = cab_k_op2(k, CAB_K_add, cab_k_op2(k, CAB_K_mul, cab_k_grid(k), size), cab_k_thread(k));
    *inside = cab_k_cmp(k, CAB_KC_LT, at, cab_k_int(k, 0));
    return at;
}

typedef cab_kv unary(cab_kir *k, cab_kv x);
static cab_kv power(cab_kir *k, cab_kv x) { return cab_k_pow(k, x, x); }
static cab_kv modulo(cab_kir *k, cab_kv x)
{
    return cab_k_pymod(k, x, cab_k_const_f(k, cab_k_dt(k, x), 1, 0.3));
}

static void check_functions(void)
{
    static unary *const all[] = { cab_k_exp, cab_k_log, cab_k_tanh, cab_k_erf, cab_k_sin,
                                  cab_k_acos, cab_k_acosh, cab_k_sign, power, modulo };

    for (int j = 0; j < 2; j++) {
        cab_dtype dt = j ? CAB_DT_f64 : CAB_DT_f32;
        cab_kir *k = cab_kir_create(A, j ? "functions_f64" : "functions_f32", 2, 1);
        cab_kv in = cab_k_buf(k, 0, dt, true), out = cab_k_buf(k, 1, dt, false), ok, at, x;
        char *ptx;
        at = element(k, &ok);
        cab_k_if(k, ok);
        x = cab_k_ld(k, dt, 1, in, at, 0, -1);
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            x = all[i](k, x);
        cab_k_st(k, x, out, at, 0, -1);
        cab_k_endif(k, 0, NULL, NULL);
        ptx = ptx_of(k);
        CHECK(!N || strstr(ptx, j ? "fma.rn.f64" : "fma.rn.f32") != NULL);
        CHECK(!N || !strstr(ptx, "call"));
    }
}

/* Halves, integers of every width, atomics, shared memory, shuffles. */
static void check_memory(void)
{
    static const cab_dtype half[2] = { CAB_DT_f16, CAB_DT_bf16 };
    cab_kir *k = cab_kir_create(A, "memory", 4, 1);
    cab_kv ok, at = element(k, &ok), s = cab_k_alloc(k, CAB_KS_SHARED, CAB_DT_f32, 128);
    cab_kv sums = cab_k_buf(k, 2, CAB_DT_f32, false), counts = cab_k_buf(k, 3, CAB_DT_i64, false);
    cab_kv x[2], sum, low = cab_k_op2(k, CAB_K_and, cab_k_thread(k), cab_k_i64(k, 31));
    char *ptx;

    for (int j = 0; j < 2; j++) {
        cab_kv p = cab_k_buf(k, j, half[j], false);
        x[j] = cab_k_cast(k, CAB_DT_f32, cab_k_ld(k, half[j], 1, p, at, 0, ok));
        cab_k_st(k, cab_k_cast(k, half[j], cab_k_op2(k, CAB_K_add, x[j], x[j])), p, at, 0, ok);
    }
    sum = cab_k_op2(k, CAB_K_mul, x[0], x[1]);
    cab_k_st(k, sum, s, cab_k_thread(k), 0, -1);
    cab_k_barrier(k);
    sum = cab_k_op2(k, CAB_K_xor, cab_k_thread(k), cab_k_i64(k, 127));
    sum = cab_k_ld(k, CAB_DT_f32, 1, s, sum, 0, -1);
    for (int j = 1; j < 32; j *= 2)
        sum = cab_k_op2(k, CAB_K_add, sum, cab_k_shfl(k, sum, j));
    cab_k_if(k, cab_k_cmp(k, CAB_KC_EQ, low, cab_k_i64(k, 0)));
    cab_k_atomic(k, CAB_KF_ADD, sum, sums, -1, 0);
    cab_k_atomic(k, CAB_KF_MAX, sum, sums, -1, 1);
    cab_k_atomic(k, CAB_KF_ADD, at, counts, -1, 0);
    cab_k_atomic(k, CAB_KF_MIN, at, counts, -1, 1);
    cab_k_endif(k, 0, NULL, NULL);
    ptx = ptx_of(k);
    CHECK(!N || (strstr(ptx, "shfl.sync") && strstr(ptx, "bar.sync")));
    CHECK(!N || strstr(ptx, "red.") || strstr(ptx, "atom."));
}

/* Every integer and conversion function compiles. */
static void check_integers(void)
{
    static const cab_dtype dts[] = { CAB_DT_i8, CAB_DT_i16, CAB_DT_i32, CAB_DT_i64, CAB_DT_u8,
                                     CAB_DT_u16, CAB_DT_u32, CAB_DT_u64 };
    enum { N_DTS = sizeof dts / sizeof *dts };
    static const cab_kop ops[] = { CAB_K_add, CAB_K_mul, CAB_K_div, CAB_K_rem, CAB_K_min,
                                   CAB_K_max, CAB_K_shl, CAB_K_shr, CAB_K_xor };
    cab_kir *k = cab_kir_create(A, "integers", N_DTS, 1);
    cab_kv ok, at = element(k, &ok);

    for (int i = 0; i < N_DTS; i++) {
        cab_kv p = cab_k_buf(k, i, dts[i], false), x = cab_k_ld(k, dts[i], 1, p, at, 0, ok), y = x;
        for (size_t j = 0; j < sizeof ops / sizeof *ops; j++)
            y = cab_k_op2(k, ops[j], y, cab_k_op1(k, CAB_K_neg, x));
        y = cab_k_cast(k, dts[i], cab_k_op1(k, CAB_K_sqrt, cab_k_cast(k, CAB_DT_f32, y)));
        cab_k_st(k, cab_k_op1(k, CAB_K_abs, y), p, at, 0, ok);
    }
    (void)ptx_of(k);
}

static void check_refusal(void)
{
    cab_kir *k = cab_kir_create(A, "v", 1, 0);
    cab_kv p = cab_k_buf(k, 0, CAB_DT_f32, false);
    cab_buf b = cab_buf_on(A);

    cab_k_st(k, cab_k_ld(k, CAB_DT_f32, 4, p, -1, 0, -1), p, -1, 4, -1);
    CHECK_EQ(cab_kir_to_cuda(&b, k, NULL), CAB_EUNSUPPORTED);
}

static void check_errors(void)
{
    char *out;
    cab_diag d;

    if (!N)
        return;
    CHECK(cab_nvrtc_version(N) >= 11000);
    cab_diag_init(&d);
    CHECK_EQ(cab_nvrtc_ptx(N, A, "int f( {", "broken", "compute_80", &out, &d), CAB_EINTERNAL);
    CHECK(strstr(cab_diag_first(&d)->text, "expected") != NULL);
    cab_diag_fini(&d);
}

int main(void)
{
    static cab_job job;
    cab_nvrtc *none = NULL;

    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    A = cab_arena_create(&job);
    CHECK_EQ(cab_nvrtc_open("/nonexistent/libnvrtc.so", &none, NULL), CAB_EUNSUPPORTED);
    if (cab_nvrtc_open(NULL, &N, NULL) != CAB_OK)
        fprintf(stderr, "no NVRTC: texts are not compiled\n");
    check_functions();
    check_memory();
    check_integers();
    check_refusal();
    check_errors();
    cab_nvrtc_close(N);
    cab_arena_destroy(A);
    TEST_END();
}
