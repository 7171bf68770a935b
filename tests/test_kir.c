/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_kir.c - builder, text, verifier, interpreter and C text of kernels.
 *
 * tests/kir/NAME.kir are printed forms: print(parse(t)) == t
 * (CAB_REGEN=1 rewrites them), and some are run here.  Every arithmetic
 * instruction is compared, interpreter against compiled C text.
 */
#include <float.h>
#include <math.h>
#include "base/rng.h"
#include "tests/kir_host.h"
#include "tests/test.h"

static cab_arena *A;

static const char *first_error(const cab_diag *d)
{
    return cab_diag_first(d) ? cab_diag_first(d)->text : "";
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *s = cab_alloc_zero(A, 1 << 16, 1);

    if (!f) {
        perror(path);
        return s;
    }
    s[fread(s, 1, (1 << 16) - 1, f)] = 0;
    fclose(f);
    return s;
}

static cab_kir *golden(const char *name)
{
    const char *dir = getenv("srcdir");
    char *path = cab_printf(A, "%s/tests/kir/%s.kir", dir ? dir : ".", name);
    char *text = slurp(path);
    cab_buf b = cab_buf_on(A);
    cab_kir *k = NULL;
    cab_diag d;
    FILE *f;

    cab_diag_init(&d);
    if (cab_kir_parse(A, text, strlen(text), path, &k, &d) != CAB_OK) {
        fprintf(stderr, "%s\n", cab_diag_format(cab_diag_first(&d)));
        exit(EXIT_FAILURE);
    }
    cab_kir_print(&b, k);
    if (getenv("CAB_REGEN") && (f = fopen(path, "w"))) {
        fputs(cab_buf_cstr(&b), f);
        fclose(f);
    } else {
        CHECK_STR(cab_buf_cstr(&b), text);
    }
    cab_diag_fini(&d);
    return k;
}

/* ---- builder ---- */

static void check_folding(void)
{
    cab_kir *k = cab_kir_create(A, "fold", 1, 1);
    cab_kv n = cab_k_int(k, 0), buf = cab_k_buf(k, 0, CAB_DT_f32, false), v, i, res;
    cab_kv four = cab_k_i64(k, 4), zero = cab_k_i64(k, 0), one = cab_k_i64(k, 1);
    int64_t c = 0;

    CHECK_EQ(cab_k_int(k, 0), n);
    CHECK_EQ(cab_k_op2(k, CAB_K_add, n, zero), n);
    CHECK_EQ(cab_k_op2(k, CAB_K_mul, one, n), n);
    CHECK_EQ(cab_k_op2(k, CAB_K_mul, n, zero), zero);
    CHECK(cab_k_is_const(k, cab_k_op2(k, CAB_K_div, cab_k_i64(k, -7), cab_k_i64(k, 2)), &c));
    CHECK_EQ(c, -3);
    CHECK(cab_k_is_const(k, cab_k_op2(k, CAB_K_div, four, zero), &c));
    CHECK_EQ(c, 0);
    CHECK(cab_k_is_const(k, cab_k_cmp(k, CAB_KC_LT, zero, four), &c));
    CHECK_EQ(c, 1);
    CHECK(cab_k_is_const(k, cab_k_const_i(k, CAB_DT_u8, 1, 300), &c));
    CHECK_EQ(c, 44);
    CHECK_EQ(cab_k_op2(k, CAB_K_add, n, four), cab_k_op2(k, CAB_K_add, four, n));
    /* ((n + 1) * 4 + 4): the constants end in the displacement. */
    v = cab_k_op2(k, CAB_K_mul, cab_k_op2(k, CAB_K_add, n, one), four);
    v = cab_k_op2(k, CAB_K_add, v, four);
    v = cab_k_ld(k, CAB_DT_f32, 1, buf, v, 2, -1);
    CHECK_EQ(cab_k_ins(k, v)->imm, 10);
    CHECK_EQ(cab_k_ins(k, v)->b, cab_k_op2(k, CAB_K_mul, n, four));
    v = cab_k_ld(k, CAB_DT_f32, 1, buf, four, 2, -1);
    CHECK(cab_k_ins(k, v)->imm == 6 && cab_k_ins(k, v)->b == -1);
    /* What a region computed is not reused after it. */
    i = cab_k_loop(k, zero, n, 1, 0, NULL, NULL);
    v = cab_k_op2(k, CAB_K_xor, n, one);
    CHECK_EQ(cab_k_op2(k, CAB_K_xor, n, one), v);
    cab_k_st(k, cab_k_const_f(k, CAB_DT_f32, 1, 1), buf, i, 0, -1);
    cab_k_end(k, 0, NULL, NULL);
    CHECK(cab_k_op2(k, CAB_K_xor, n, one) != v);
    cab_k_if(k, cab_k_cmp(k, CAB_KC_LT, n, four));
    v = cab_k_op2(k, CAB_K_sub, n, cab_k_int(k, 0));
    cab_k_else(k, 1, &v);
    i = cab_k_op2(k, CAB_K_sub, n, cab_k_int(k, 0));
    CHECK(i != v);
    cab_k_endif(k, 1, &i, &res);
    CHECK_EQ(cab_kir_verify(k, NULL), CAB_OK);
}

/* A double rounded to a half through f32 must not round twice. */
static void check_half_cast(void)
{
    cab_kir *k = cab_kir_create(A, "half", 3, 0);
    cab_kv x = cab_k_ld(k, CAB_DT_f64, 8, cab_k_buf(k, 0, CAB_DT_f64, true), -1, 0, -1);
    double in[8] = { 1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-11, 1 + 0x1p-11 - 0x1p-40, 65520,
                     65519.999999, -1e300, 0x1p-25 + 0x1p-60, 1 + 0x1p-8 + 0x1p-50 };
    uint16_t h[8], b[8];
    cab_kir_buf bufs[3] = { { in, 8 }, { h, 8 }, { b, 8 } };

    cab_k_st(k, cab_k_cast(k, CAB_DT_f16, x), cab_k_buf(k, 1, CAB_DT_f16, false), -1, 0, -1);
    cab_k_st(k, cab_k_cast(k, CAB_DT_bf16, x), cab_k_buf(k, 2, CAB_DT_bf16, false), -1, 0, -1);
    CHECK_EQ(cab_kir_run(A, k, bufs, NULL, 0, 1, NULL), CAB_OK);
    CHECK_EQ(h[0], 0x3c01);
    CHECK_EQ(h[1], 0x3c00);
    CHECK_EQ(h[2], 0x3c00);
    CHECK_EQ(h[3], 0x7c00);
    CHECK_EQ(h[4], 0x7bff);
    CHECK_EQ(h[5], 0xfc00);
    CHECK_EQ(h[6], 0x0001);
    CHECK_EQ(b[7], 0x3f81);
}

/* ---- verifier and parser: what is refused, and why ---- */

static void check_refusals(void)
{
    static const struct { const char *body, *why; } bad[] = {
        { "%a = add.i64 %b, %b", "no such value" },
        { "%n = int.i64 0 %a = frob.i64 %n", "no such instruction" },
        { "%n = int.i64 3", "parameter 3 of 1" },
        { "%b = buf.f32 9", "parameter 9 of 2" },
        { "%n = int.i64 0 %f = const.f32 1 %a = add.i64 %n, %f", "is f32x1, not i64x1" },
        { "%b = buf.f32 0, ro %f = const.f32 1 st.f32 %f, %b[0]", "read-only" },
        { "%b = buf.f32 0 %v = ld.f64 %b[0]", "the pointer is to f32" },
        { "%b = buf.f32 0 %v = add.f32 %b, %b", "is a pointer" },
        { "%n = int.i64 0 %v = ld.i64 %n[0]", "is no pointer" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 0 end %i", "must be positive" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 1", "not closed" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 1 %s = add.i64 %i, %n end %i %t = add.i64 %s, %n",
          "region that has ended" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 1 end %i %t = add.i64 %i, %n",
          "region that has ended" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 1, (%n) end %i, (%n)", "1 phis must follow" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 1, (%n) %p = phi.i64 %i, 0 end %i",
          "0 values instead of 1" },
        { "%n = int.i64 0 %i = loop.i64 %n, %n, 1, (%n) %p = phi.i64 %i, 0 end %i, (%n) "
          "%a = grid.i64",
          "must come first" },
        { "%n = int.i64 0 %w = while (%n) %p = phi.i64 %w, 0 end %w, (%p)", "without cond" },
        { "%c = const.bool 1 cond %c", "out of place" },
        { "%c = const.bool 1 %i = if %c %s = alloc.f32 stack, 4 endif %i", "not at top level" },
        { "%c = const.bool 1 %i = if %c endif %i, (%c)", "results without else" },
        { "%c = const.bool 1 %i = if %c end %i", "innermost region" },
        { "%a = const.u8 256", "does not fit" },
        { "%a = const.f16 1", "not on f16" },
        { "%f = const.f64 1 %h = cast.f16 %f", "from f32 alone" },
        { "%f = const.f32 1 %g = shl.f32 %f, %f", "not on f32" },
        { "%f = const.f32x4 1 %g = fold.add.f32x4 %f", "gives a scalar" },
        { "%f = const.f32x3 1 %g = fold.add.f32 %f", "power of two" },
        { "%f = const.f32x4 1 %g = perm.f32x2 %f, (0, 4)", "no lane 4" },
        { "%f = const.f32x4 1 %g = extract.f32 %f, 4", "no lane 4" },
        { "%f = const.f32x65 1", "lanes out of range" },
        { "%b = buf.f32 0 %v = ld.f32 %b[99999999999999999999]", "64 bits" },
        { "%n = int.i64 0 %b = buf.f32 0 %v = ld.f32 %b[%n + x]", "displacement" },
        { "%s = alloc.f32 global, 4", "neither stack nor shared" },
        { "%n = int.i64 0 %x = shfl.i64 %n, 32", "lane mask" },
        { "%f = const.f32 1 %b = bitcast.i64 %f", "bits differ" },
        { "%b = buf.i8 0 %o = const.i8 1 atomic.add.i8 %o, %b[0]", "atomics" },
        { "}}", "text after the kernel" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = cab_printf(A, "kernel t bufs 2 ints 1 block 1 { %s }", bad[i].body);
        cab_kir *k;
        cab_diag d;
        cab_diag_init(&d);
        CHECK(cab_kir_parse(A, text, strlen(text), "t", &k, &d) != CAB_OK);
        if (!strstr(first_error(&d), bad[i].why)) {
            fprintf(stderr, "%s\n  gives '%s', not '%s'\n", bad[i].body, first_error(&d),
                    bad[i].why);
            CHECK(false);
        }
        cab_diag_fini(&d);
    }
}

/* A damaged text may be refused, but never more. */
static void check_damage(void)
{
    const char *dir = getenv("srcdir");
    static const char *const names[] = { "scale", "gcd", "vectors", "block" };
    cab_rng r;

    cab_rng_seed(&r, 7);
    for (int i = 0; i < 4000; i++) {
        cab_mark m = cab_arena_mark(A);
        char *t = slurp(cab_printf(A, "%s/tests/kir/%s.kir", dir ? dir : ".", names[i % 4]));
        size_t n = strlen(t);
        cab_kir *k;
        for (int j = (int)cab_rng_i64(&r, 1, 3); j && n; j--) {
            size_t at = (size_t)cab_rng_i64(&r, 0, (int64_t)n - 1);
            size_t from = (size_t)cab_rng_i64(&r, 0, (int64_t)n - 1);
            t[at] = cab_rng_u64(&r) & 1 ? t[from] : (char)cab_rng_i64(&r, 32, 126);
        }
        (void)cab_kir_parse(A, t, n, "t", &k, NULL);
        cab_arena_release(A, m);
    }
    CHECK(true);
}

/* ---- running ---- */

static cab_status run(const cab_kir *k, void **data, const uint64_t *elems, const int64_t *ints,
                      int64_t tasks, cab_diag *d)
{
    cab_kir_buf bufs[8];

    for (int i = 0; i < k->n_bufs; i++)
        bufs[i] = (cab_kir_buf){ data[i], elems[i] };
    return cab_kir_run(A, k, bufs, ints, 0, tasks, d);
}

static void check_scale(const cab_kir *k, host_fn *fn)
{
    float x[6] = { 2, 4, 6, 8, NAN, -3 }, y[6] = { 0 };
    void *data[2] = { x, y };
    uint64_t elems[2] = { 6, 6 };
    int64_t n = 6;
    cab_diag d;

    CHECK_EQ(run(k, data, elems, &n, 1, NULL), CAB_OK);
    CHECK(y[0] == 1 && y[3] == 4 && isnan(y[4]) && y[5] == -1.5f);
    memset(y, 0, sizeof y);
    if (fn) {
        fn(data, &n, 0, 1);
        CHECK(y[0] == 1 && y[3] == 4 && isnan(y[4]) && y[5] == -1.5f);
    }
    cab_diag_init(&d);
    n = 7;
    CHECK_EQ(run(k, data, elems, &n, 1, &d), CAB_EINTERNAL);
    CHECK(strstr(first_error(&d), "task 0, thread 0: element 6 of 6") != NULL);
    cab_diag_fini(&d);
}

static void check_rowsum(const cab_kir *k, host_fn *fn)
{
    float x[16], sum[2], big[2];
    void *data[3] = { x, sum, big };
    uint64_t elems[3] = { 16, 2, 2 };

    for (int i = 0; i < 16; i++)
        x[i] = (float)i - 20;
    for (int pass = 0; pass < (fn ? 2 : 1); pass++) {
        memset(sum, 0, sizeof sum);
        if (pass)
            fn(data, NULL, 0, 2);
        else
            CHECK_EQ(run(k, data, elems, NULL, 2, NULL), CAB_OK);
        CHECK(sum[0] == -132 && sum[1] == -68 && big[0] == -13 && big[1] == -5);
    }
}

static void check_gcd(const cab_kir *k, host_fn *fn)
{
    int32_t ab[8] = { 12, 18, -9, 6, 1000, 500, 7, 0 }, out[4];
    void *data[2] = { ab, out };
    uint64_t elems[2] = { 8, 4 };

    for (int pass = 0; pass < (fn ? 2 : 1); pass++) {
        memset(out, 0, sizeof out);
        if (pass)
            fn(data, NULL, 0, 4);
        else
            CHECK_EQ(run(k, data, elems, NULL, 4, NULL), CAB_OK);
        CHECK(out[0] == 6 && out[1] == 3 && out[2] == -1 && out[3] == 7);
    }
}

static void check_vectors(const cab_kir *k, host_fn *fn)
{
    float x[8] = { 1, 2, 3, 4, 5, 6, 7, 1 + 0x1p-11f }, y[2][24] = { { 0 } };
    uint8_t u[16];
    int8_t s[16];
    int32_t z[2][12] = { { 0 } };
    uint16_t h[2][8] = { { 0 } };
    uint64_t elems[6] = { 8, 16, 16, 24, 12, 8 };

    for (int i = 0; i < 16; i++) {
        u[i] = (uint8_t)(250 - i);
        s[i] = (int8_t)(i * 17 - 128);
    }
    for (int pass = 0; pass < (fn ? 2 : 1); pass++) {
        void *data[6] = { x, u, s, y[pass], z[pass], h[pass] };
        if (pass)
            fn(data, NULL, 0, 1);
        else
            CHECK_EQ(run(k, data, elems, NULL, 1, NULL), CAB_OK);
        CHECK(y[pass][0] == 1 && y[pass][1] == 6 && y[pass][2] == 3 && y[pass][3] == x[7]);
        CHECK(y[pass][8] == 1 && y[pass][15] == x[7] && y[pass][23] == 1);
        CHECK_EQ(z[pass][0], 1000 + 250 * -128 + 249 * -111 + 248 * -94 + 247 * -77);
        CHECK_EQ(z[pass][5], 1);
        CHECK_EQ(z[pass][6], (int32_t)0xf7f8f9fa);
        CHECK_EQ(z[pass][8], 250);
        CHECK_EQ(h[pass][1], 0x4000);
    }
    CHECK(!fn || (!memcmp(y[0], y[1], sizeof y[0]) && !memcmp(z[0], z[1], sizeof z[0])));
}

static void check_block(const cab_kir *k)
{
    static float x[128], y[128];
    void *data[2] = { x, y };
    uint64_t elems[2] = { 128, 128 };
    cab_buf b = cab_buf_on(A);

    for (int i = 0; i < 128; i++)
        x[i] = (float)i;
    CHECK_EQ(run(k, data, elems, NULL, 2, NULL), CAB_OK);
    CHECK(y[0] == 63 + 62 && y[1] == 62 + 63 && y[64] == 127 + 126 && y[127] == 64 + 65);
    cab_kir_to_c(&b, k);
    CHECK(strstr(cab_buf_cstr(&b), "#error") != NULL);
}

/* What the interpreter finds in a kernel that verifies. */
static void check_faults(void)
{
    static const struct { const char *body, *why; } bad[] = {
        { "%s = alloc.f32 stack, 4 %v = ld.f32 %s[2]", "element 2 is read before it is written" },
        { "%b = buf.f32 0 %v = ld.f32 %b[-1]", "element -1 of 2" },
        { "%b = buf.f32 0 %m = const.i64 9223372036854775807 %v = ld.f32 %b[%m + 1]", "of 2" },
        { "%t = thread.i64 %z = const.i64 0 %c = cmp.eq.i64 %t, %z %i = if %c barrier endif %i",
          "not all threads reach this barrier" },
        { "%t = thread.i64 %z = const.i64 0 %c = cmp.eq.i64 %t, %z %i = if %c "
          "%s = shfl.i64 %t, 1 endif %i", "do not all take part" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = cab_printf(A, "kernel t bufs 1 ints 0 block 2 { %s }", bad[i].body);
        float x[2] = { 1, 2 };
        cab_kir_buf buf = { x, 2 };
        cab_kir *k = NULL;
        cab_diag d;
        cab_diag_init(&d);
        CHECK_EQ(cab_kir_parse(A, text, strlen(text), "t", &k, &d), CAB_OK);
        CHECK(k && cab_kir_run(A, k, &buf, NULL, 0, 1, &d) == CAB_EINTERNAL);
        if (!strstr(first_error(&d), bad[i].why)) {
            fprintf(stderr, "%s\n  gives '%s'\n", bad[i].body, first_error(&d));
            CHECK(false);
        }
        cab_diag_fini(&d);
    }
}

/* ---- every arithmetic instruction, interpreter against C ---- */

enum { LANES = 4, ROWS = 400, MAX_KERNELS = 512 };

static const cab_dtype dtypes[] = { CAB_DT_f32, CAB_DT_f64, CAB_DT_i8, CAB_DT_i16, CAB_DT_i32,
                                    CAB_DT_i64, CAB_DT_u8, CAB_DT_u16, CAB_DT_u32, CAB_DT_u64,
                                    CAB_DT_bool };
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static bool takes(cab_kop op, cab_dtype dt)
{
    switch (op) {
    case CAB_K_fma: case CAB_K_floor: case CAB_K_ceil: case CAB_K_rint: case CAB_K_trunc:
    case CAB_K_sqrt:
        return cab_dtype_is_float(dt);
    case CAB_K_and: case CAB_K_or: case CAB_K_xor:
        return !cab_dtype_is_float(dt);
    case CAB_K_shl: case CAB_K_shr: return cab_dtype_is_int(dt);
    case CAB_K_cmp: return true;
    default: return dt != CAB_DT_bool;
    }
}

static cab_kv apply(cab_kir *k, cab_kop op, const cab_kv *x)
{
    static const int subs[] = { CAB_KC_EQ, CAB_KC_NE, CAB_KC_LT, CAB_KC_LE };
    cab_kv v = -1;

    switch (op) {
    case CAB_K_fma: return cab_k_fma(k, x[0], x[1], x[2]);
    case CAB_K_cmp:            /* all four, as digits of a number */
        for (int j = 0; j < 4; j++) {
            cab_kv c = cab_k_cast(k, CAB_DT_i32, cab_k_cmp(k, subs[j], x[0], x[1]));
            cab_kv ten = cab_k_const_i(k, CAB_DT_i32, LANES, 10);
            v = v < 0 ? c : cab_k_op2(k, CAB_K_add, cab_k_op2(k, CAB_K_mul, v, ten), c);
        }
        return v;
    case CAB_K_select: return cab_k_select(k, cab_k_cmp(k, CAB_KC_LT, x[0], x[1]), x[1], x[2]);
    case CAB_K_neg: case CAB_K_abs: case CAB_K_floor: case CAB_K_ceil: case CAB_K_rint:
    case CAB_K_trunc: case CAB_K_sqrt:
        return cab_k_op1(k, op, x[0]);
    default: return cab_k_op2(k, op, x[0], x[1]);
    }
}

static cab_kir *start(const char *name, cab_dtype dt, cab_kv *x, cab_kv *at)
{
    cab_kir *k = cab_kir_create(A, name, 4, 0);

    *at = cab_k_op2(k, CAB_K_mul, cab_k_grid(k), cab_k_i64(k, LANES));
    for (int j = 0; j < 3; j++)
        x[j] = cab_k_ld(k, dt, LANES, cab_k_buf(k, j, dt, true), *at, 0, -1);
    return k;
}

static void finish(cab_kir *k, cab_kv v, cab_kv at)
{
    cab_k_st(k, v, cab_k_buf(k, 3, cab_k_dt(k, v), false), at, 0, -1);
}

/* One kernel per instruction and dtype, and per pair of dtypes of cast. */
static int all_kernels(cab_kir **k, cab_dtype *from)
{
    cab_kv x[3], at;
    int n = 0;

    for (int op = CAB_K_add; op <= CAB_K_sqrt; op++)
        for (int t = 0; t < N_DTYPES; t++) {
            if (op == CAB_K_cast || op == CAB_K_bitcast || !takes((cab_kop)op, dtypes[t]))
                continue;
            from[n] = dtypes[t];
            k[n] = start(cab_printf(A, "op%d_%s", op, cab_dtype_name(dtypes[t])), dtypes[t], x,
                         &at);
            finish(k[n], apply(k[n], (cab_kop)op, x), at);
            n++;
        }
    for (int t = 0; t < N_DTYPES; t++)
        for (int to = 0; to < N_DTYPES; to++) {
            from[n] = dtypes[t];
            k[n] = start(cab_printf(A, "cast_%s_%s", cab_dtype_name(dtypes[t]),
                                    cab_dtype_name(dtypes[to])), dtypes[t], x, &at);
            finish(k[n], cab_k_cast(k[n], dtypes[to], x[0]), at);
            n++;
        }
    for (int h = 0; h < 2; h++) {
        cab_dtype dt = h ? CAB_DT_bf16 : CAB_DT_f16;
        from[n] = CAB_DT_f32;
        k[n] = start(h ? "to_bf16" : "to_f16", CAB_DT_f32, x, &at);
        finish(k[n], cab_k_cast(k[n], dt, x[0]), at);
        from[++n] = dt;
        k[n] = start(h ? "from_bf16" : "from_f16", dt, x, &at);
        finish(k[n], cab_k_cast(k[n], CAB_DT_f32, x[0]), at);
        n++;
    }
    CHECK(n + 5 <= MAX_KERNELS);
    return n;
}

/* Interesting values: bits at random, small numbers, edges. */
static void fill(cab_dtype dt, void *p, int64_t n, uint64_t seed)
{
    static const double edges[] = {
        0, -0.0, 0.5, 1.5, -2.5, 1, -1, 127.5, 128, -128, -129, 255, 256, 32768, 65535.9,
        65536, 2147483648.0, -2147483648.0, 4294967296.0, 9223372036854775808.0,
        -9223372036854775808.0, 1.8446744073709552e19, HUGE_VAL, -HUGE_VAL, NAN, 1e-40,
        1e300, 3e38 };
    enum { N = sizeof edges / sizeof *edges };
    int size = cab_dtype_bits(dt) / 8;
    cab_rng r;

    cab_rng_seed(&r, seed);
    for (int64_t i = 0; i < n; i++) {
        uint8_t *at = (uint8_t *)p + i * size;
        uint64_t bits = cab_rng_u64(&r);
        double d = edges[cab_rng_i64(&r, 0, N - 1)];
        float f = (float)d;
        int64_t small = cab_rng_i64(&r, -9, 70);
        if (dt == CAB_DT_bool)
            bits &= 1;
        else if (cab_dtype_is_float(dt) && bits & 3)
            memcpy(&bits, dt == CAB_DT_f64 ? (void *)&d : (void *)&f, (size_t)size);
        else if (bits & 1)
            bits = (uint64_t)small;
        else if ((bits & 6) == 0)
            bits = (uint64_t)1 << (8 * size - 1);
        memcpy(at, &bits, (size_t)size);
    }
}

static bool same(cab_dtype dt, const void *a, const void *b, int64_t i)
{
    int size = cab_dtype_bits(dt) / 8;

    if (cab_dtype_is_float(dt) && isnan(cab_elem_f64(dt, a, (uint64_t)i)))
        return isnan(cab_elem_f64(dt, b, (uint64_t)i));
    return !memcmp((const char *)a + i * size, (const char *)b + i * size, (size_t)size);
}

static void compare(const cab_kir *k, cab_dtype from, host_fn *fn)
{
    static int64_t in[3][ROWS], out[2][ROWS];
    cab_kv last = (cab_kv)k->ins.n - 1;
    cab_dtype dt = (cab_dtype)cab_k_ins(k, last)->dt;
    void *data[4] = { in[0], in[1], in[2], out[0] };
    uint64_t elems[4] = { ROWS, ROWS, ROWS, ROWS };

    for (int j = 0; j < 3; j++)
        fill(from, in[j], ROWS, (uint64_t)j + 1);
    CHECK_EQ(run(k, data, elems, NULL, ROWS / LANES, NULL), CAB_OK);
    if (!fn)
        return;
    data[3] = out[1];
    fn(data, NULL, 0, ROWS / LANES);
    for (int i = 0; i < ROWS; i++)
        if (!same(dt, out[0], out[1], i)) {
            fprintf(stderr, "%s differs at row %d\n", k->name, i);
            CHECK(false);
            return;
        }
    CHECK(true);
}

static void check_all(void)
{
    static cab_kir *k[MAX_KERNELS];
    static cab_dtype from[MAX_KERNELS];
    int n = all_kernels(k, from);
    cab_kir *goldens[5];
    static const char *const names[5] = { "scale", "rowsum", "gcd", "vectors", "block" };
    void *so;

    for (int i = 0; i < 5; i++)
        k[n + i] = goldens[i] = golden(names[i]);
    /* All but the last, which has no C text. */
    so = host_open(A, (const cab_kir *const *)k, n + 4);
    if (!so)
        fprintf(stderr, "C text is not run: no compiler\n");
    for (int i = 0; i < n; i++)
        compare(k[i], from[i], host_get(so, k[i]->name));
    check_scale(goldens[0], host_get(so, "scale"));
    check_rowsum(goldens[1], host_get(so, "rowsum"));
    check_gcd(goldens[2], host_get(so, "gcd"));
    check_vectors(goldens[3], host_get(so, "vectors"));
    check_block(goldens[4]);
}

int main(void)
{
    static cab_job job;

    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    A = cab_arena_create(&job);
    check_folding();
    check_half_cast();
    check_refusals();
    check_faults();
    check_all();
    check_damage();
    cab_arena_destroy(A);
    TEST_END();
}
