/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_json_number.c - decimal <-> binary: hard cases, every 16-bit number,
 * random ones beside strtof, strtod and printf.
 *
 *   test_json_number [SEED]
 *   test_json_number --all-f32 [FIRST LAST]
 *
 * The second (make json-long): every float there and back, some minutes; of
 * those whose bits are from FIRST to LAST.
 */
#include <float.h>
#include <math.h>
#include "base/dtype.h"
#include "base/rng.h"
#include "serve/json/json_number.h"
#include "serve/json/pow5.h"
#include "tests/test.h"

static uint64_t seed = 20261127;

static cab_decimal scan(const char *s)
{
    const char *why = "", *at = s;
    cab_decimal d;
    const char *to = cab_decimal_scan(s, s + strlen(s), &d, &why, &at);
    if (!to || *to) {
        test_failed++;
        fprintf(stderr, "%.60s: %s\n", s, to ? "more behind the number" : why);
        return (cab_decimal){ .p = "0", .n = 1 };
    }
    return d;
}

static float f32_of(uint32_t u) { float v; memcpy(&v, &u, sizeof v); return v; }
static double f64_of(uint64_t u) { double v; memcpy(&v, &u, sizeof v); return v; }
static uint32_t bits32(float v) { uint32_t u; memcpy(&u, &v, sizeof v); return u; }
static uint64_t bits64(double v) { uint64_t u; memcpy(&u, &v, sizeof v); return u; }

/* Said once per program, then counted. */
static void expect(const char *what, const char *text, uint64_t got, uint64_t want)
{
    if (got == want) {
        test_passed++;
    } else if (test_failed++ < 20) {
        fprintf(stderr, "%s: %.80s: %016" PRIx64 ", expected %016" PRIx64 "\n", what, text, got, want);
    }
}

/* Both widths of a text, beside libc. */
static void both(const char *s)
{
    cab_decimal d = scan(s);
    float f = 0;
    double g = 0;
    cab_fit ff = cab_decimal_f32(&d, &f), gf = cab_decimal_f64(&d, &g);
    float wf = strtof(s, NULL);
    double wg = strtod(s, NULL);
    expect("f32", s, bits32(f), bits32(wf));
    expect("f64", s, bits64(g), bits64(wg));
    expect("f32 range", s, ff, isinf(wf) ? CAB_RANGE : CAB_FITS);
    expect("f64 range", s, gf, isinf(wg) ? CAB_RANGE : CAB_FITS);
}

static void check_table(void)
{
    const cab_pow5 *t = cab_pow5_table();
    CHECK(t[0].hi == (uint64_t)1 << 63 && t[0].lo == 0);
    CHECK(t[1].hi == (uint64_t)5 << 61 && t[27].lo == 0 && t[28].lo != 0);
    CHECK(t[-1].hi == 0xccccccccccccccccu && t[-1].lo == 0xccccccccccccccccu);
    CHECK(t[CAB_POW5_MIN].hi == 0xeef453d6923bd65au && t[CAB_POW5_MIN].lo == 0x113faa2906a13b3fu);
    CHECK(t[308].hi == 0x8e679c2f5e44ff8fu && t[308].lo == 0x570f09eaa7ea7648u);
    for (int q = CAB_POW5_MIN; q <= CAB_POW5_MAX; q++)
        if (t[q].lo == UINT64_MAX || !(t[q].hi >> 63) || (q > 55 && !t[q].lo))
            CHECK(!"a power that rounding up would spoil");
}

static void check_hard(void)
{
    static const char *const texts[] = {
        "0", "-0", "0.0", "-0.0e5", "0e99999999999999999999", "1", "-1", "10", "0.1", "0.3", "1e23", "8.5e22",
        "9007199254740993", "9007199254740992", "9007199254740991", "16777217", "16777219", "16777216.5",
        "9007199254740993.00000000000000000000000000000000000000000000001", "4.35", "2.2250738585072011e-308",
        "2.2250738585072012e-308", "2.2250738585072014e-308", "4.9e-324", "5e-324", "2.4703282292062327e-324",
        "2.4703282292062328e-324", "2.47032822920623272e-324", "1e-323", "1e-400", "1e-999999999999999999999",
        "1e400", "1e999999999999999999999", "1.7976931348623157e308", "1.7976931348623158e308",
        "1.7976931348623159e308", "3.4028234663852886e38", "3.4028235677973366e38", "3.4028235677973365e38",
        "3.40282356779733662e38", "1.17549435e-38", "1.17549429e-38", "1.4e-45", "7.0064923216240853e-46",
        "7.0064923216240854e-46", "7.006492321624085e-46", "1.1754943508222875e-38", "6.9294956446009195e15",
        "89255.0e-22", "104308485241983990666713401708072175773165034278685682.70582462518e1",
        "0.000000000000000000000000000000000000000000000000000000000000000001234567890123456789012345678901e66",
        "12345678901234567890123456789012345678901234567890e-30", "3.1415926535897932384626433832795028841971",
        "7.2057594037927933e16", "1090544144181609348835077142190", "2.2250738585072013830902327173324040642e-308",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330"
        "286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069"
        "855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904174497791",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330"
        "286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069"
        "855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904174497792",
        "0.500000000000000166533453693773481063544750213623046875", "3.518437208883201171875e13",
        "62.5364939768271845828", "8.10109172351e-10", "1.50000000000000011102230246251565404236316680908203125",
        "1.50000000000000011102230246251565404236316680908203124", "-9007199254740993",
        "9355950000000000000.000000000000000000000000000000000018446744073709551616000001844674407370955161618446744",
        "184467440737095516150000000000000000000000000", "18446744073709551615", "18446744073709551616",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        both(texts[i]);
    char s[1300];
    for (int zeros = 1; zeros <= 1200; zeros += 37) {      /* digits far away from the exponent that undoes them */
        snprintf(s, sizeof s, "0.%0*d1e%d", zeros, 0, zeros + 1);
        both(s);
        snprintf(s, sizeof s, "1%0*d.5e-%d", zeros, 0, zeros);
        both(s);
    }
    for (int n = 1; n < 800; n += 13) {                    /* 800 digits, the last one matters */
        snprintf(s, sizeof s, "9007199254740993.%0*d1", n, 0);
        both(s);
        snprintf(s, sizeof s, "16777217.%0*d1e-2", n, 0);
        both(s);
    }
}

/* The middle between a number and the next: exactly, a little less, a little more. */
static void middle32(uint32_t u)
{
    char s[400];
    double m = ((double)f32_of(u) + (double)f32_of(u + 1)) / 2;
    int n = snprintf(s, sizeof s, "%.200g", m);
    both(s);
    if (strchr(s, 'e'))
        return;
    snprintf(s + n, sizeof s - (size_t)n, "%s", strchr(s, '.') ? "0000000000000000000000000000001" : ".00000000000001");
    both(s);
}

static void middle64(uint64_t u)
{
    char s[2000];
    long double m = ((long double)f64_of(u) + (long double)f64_of(u + 1)) / 2;
    char *e;
    snprintf(s, sizeof s, "%.1100Lg", m);
    both(s);
    snprintf(s, sizeof s, "%.800Le", m);                   /* room for one more digit */
    both(s);
    e = strchr(s, 'e');
    e[-1]++;
    both(s);
    snprintf(s, sizeof s, "%.900Le", m * (1 - LDBL_EPSILON));
    both(s);
    snprintf(s, sizeof s, "%.900Le", m * (1 + LDBL_EPSILON));
    both(s);
}

static void check_middles(cab_rng *r)
{
    for (int i = 0; i < 20000; i++)
        middle32((uint32_t)(cab_rng_u64(r) % 0x7f7fffff));
    for (uint32_t u = 0; u < 200; u++)
        middle32(u);
    for (int i = 0; i < 4000; i++)
        middle64(cab_rng_u64(r) % 0x7fefffffffffffff);
    for (uint64_t u = 0; u < 50; u++) {
        middle64(u);
        middle64(0x000fffffffffffe0 + u);
    }
}

/* Every 16-bit float: its text and back, and the middles around it. */
static void small(uint16_t bits, bool bf16)
{
    char s[600];
    cab_digits sh = bf16 ? cab_shortest_bf16(bits) : cab_shortest_f16(bits);
    cab_fit (*read)(const cab_decimal *, uint16_t *) = bf16 ? cab_decimal_bf16 : cab_decimal_f16;
    double v = (double)(bf16 ? cab_bf16_to_f32(bits) : cab_f16_to_f32(bits));
    double next = (double)(bf16 ? cab_bf16_to_f32((uint16_t)(bits + 1)) : cab_f16_to_f32((uint16_t)(bits + 1)));
    uint16_t got = 0;
    *cab_digits_put(s, bits >> 15, sh) = 0;
    cab_decimal d = scan(s);
    read(&d, &got);
    expect("16 bits", s, got, bits);
    if (isinf(next))
        next = bf16 ? copysign(ldexp(1, 128), v) : copysign(65536, v);
    snprintf(s, sizeof s, "%.500g", (v + next) / 2);
    d = scan(s);
    read(&d, &got);
    expect("16 bits, middle", s, got, bits + (bits & 1u));
    snprintf(s, sizeof s, "%.500g", nextafter((v + next) / 2, copysign(INFINITY, v)));
    d = scan(s);
    read(&d, &got);
    expect("16 bits, above", s, got, bits + 1u);
    snprintf(s, sizeof s, "%.500g", nextafter((v + next) / 2, 0));
    d = scan(s);
    read(&d, &got);
    expect("16 bits, below", s, got, bits);
}

static void check_small(void)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        if ((bits & 0x7c00) != 0x7c00)
            small((uint16_t)bits, false);
        if ((bits & 0x7f80) != 0x7f80)
            small((uint16_t)bits, true);
    }
}

/* ---- shortest ---- */

/* Neither n - 1 digits read back as v, nor is another text of n digits nearer to it. */
static void shortest_of(double v, bool single)
{
    cab_digits d = single ? cab_shortest_f32((float)v) : cab_shortest_f64(v);
    char s[64];
    snprintf(s, sizeof s, "%" PRIu64, d.d);
    int n = (int)strlen(s);
    long double want = fabsl((long double)v);
    for (int digits = 1; digits < n; digits++) {
        snprintf(s, sizeof s, "%.*e", digits - 1, fabs(v));
        bool same = single ? strtof(s, NULL) == fabsf((float)v) : strtod(s, NULL) == fabs(v);
        if (same)
            expect("shorter text", s, (uint64_t)n, (uint64_t)digits);
    }
    snprintf(s, sizeof s, "%.*e", n - 1, (double)want);    /* the nearest of n digits */
    bool reads_back = single ? strtof(s, NULL) == fabsf((float)v) : strtod(s, NULL) == fabs(v);
    char t[64];
    snprintf(t, sizeof t, "%" PRIu64 "e%d", d.d, d.e);
    if (reads_back)
        expect("nearest text", t, bits64(strtod(t, NULL)), bits64(strtod(s, NULL)));
    else
        test_passed++;
}

static void check_spelling(void)
{
    static const struct { double v; const char *text; } rows[] = {
        { 0, "0.0" }, { -0.0, "-0.0" }, { 1, "1.0" }, { -1, "-1.0" }, { 0.1, "0.1" }, { 0.5, "0.5" }, { 123456, "123456.0" },
        { 1e15, "1000000000000000.0" }, { 1e16, "1e+16" }, { 123456789012345680.0, "1.2345678901234568e+17" },
        { 9007199254740993, "9007199254740992.0" }, { 0.0001, "0.0001" }, { 0.00001, "1e-05" },
        { 0.00012345, "0.00012345" }, { 1.5e-5, "1.5e-05" }, { 5e-324, "5e-324" }, { 1e23, "1e+23" },
        { 2.2250738585072014e-308, "2.2250738585072014e-308" }, { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 3.141592653589793, "3.141592653589793" }, { 100, "100.0" }, { 1e100, "1e+100" }, { 12.5, "12.5" },
        { 9.5367431640625e-07, "9.5367431640625e-07" }, { 2251799813685248.5, "2251799813685248.5" },
        { 9007199254740992.0 * 2, "1.8014398509481984e+16" }, { 2e-44, "2e-44" }, { 1e22, "1e+22" },
    };
    static const struct { float v; const char *text; } singles[] = {
        { 0.1f, "0.1" }, { 16777216, "16777216.0" }, { 1e-45f, "1e-45" }, { 3.4028235e38f, "3.4028235e+38" },
        { 1.17549435e-38f, "1.1754944e-38" }, { 33554432, "33554432.0" }, { 0.3f, "0.3" }, { 1e10f, "10000000000.0" },
        { 8589934592.0f, "8589935000.0" }, { -1.5f, "-1.5" }, { 1.0f / 3, "0.33333334" }, { 1e16f, "1e+16" },
    };
    char s[CAB_NUMBER_MAX + 1];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *cab_f64_put(s, rows[i].v) = 0;
        CHECK_STR(s, rows[i].text);
    }
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        *cab_f32_put(s, singles[i].v) = 0;
        CHECK_STR(s, singles[i].text);
    }
    *cab_digits_put(s, false, cab_shortest_f16(0x2e66)) = 0;
    CHECK_STR(s, "0.1");
    *cab_digits_put(s, true, cab_shortest_f16(0x7bff)) = 0;
    CHECK_STR(s, "-65500.0");
    *cab_digits_put(s, false, cab_shortest_bf16(0x3dcd)) = 0;
    CHECK_STR(s, "0.1");
    for (uint64_t v = 1, i = 0; i < 20; i++, v *= 10) {
        char t[32];
        for (int off = -1; off <= 1; off++) {
            *cab_u64_put(s, v + (uint64_t)off) = 0;
            snprintf(t, sizeof t, "%" PRIu64, v + (uint64_t)off);
            CHECK_STR(s, t);
        }
        *cab_i64_put(s, -(int64_t)(v / 2)) = 0;
        snprintf(t, sizeof t, "%" PRId64, -(int64_t)(v / 2));
        CHECK_STR(s, t);
    }
    *cab_i64_put(s, INT64_MIN) = 0;
    CHECK_STR(s, "-9223372036854775808");
}

/* ---- random ---- */

static void round_32(uint32_t u)
{
    char s[64];
    float v = f32_of(u), got = 0;
    if (isnan(v) || isinf(v))
        return;
    *cab_f32_put(s, v) = 0;
    cab_decimal d = scan(s);
    cab_decimal_f32(&d, &got);
    expect("f32 there and back", s, bits32(got), u);
    expect("f32 by strtof", s, bits32(strtof(s, NULL)), u);
    snprintf(s, sizeof s, "%.9g", (double)v);
    d = scan(s);
    cab_decimal_f32(&d, &got);
    expect("f32 of %.9g", s, bits32(got), u);
}

static void round_64(uint64_t u)
{
    char s[64];
    double v = f64_of(u), got = 0;
    if (isnan(v) || isinf(v))
        return;
    *cab_f64_put(s, v) = 0;
    cab_decimal d = scan(s);
    cab_decimal_f64(&d, &got);
    expect("f64 there and back", s, bits64(got), u);
    expect("f64 by strtod", s, bits64(strtod(s, NULL)), u);
    snprintf(s, sizeof s, "%.17g", v);
    d = scan(s);
    cab_decimal_f64(&d, &got);
    expect("f64 of %.17g", s, bits64(got), u);
}

/* Digits, a point anywhere, an exponent. */
static void random_text(cab_rng *r, char *s)
{
    int n = (int)cab_rng_i64(r, 1, cab_rng_u64(r) % 4 ? 20 : 45), point = (int)cab_rng_i64(r, 1, n);
    int e = (int)cab_rng_i64(r, -330, 310) / (cab_rng_u64(r) % 2 ? 1 : 10);
    for (int i = 0; i < n; i++) {
        *s++ = (char)(i ? cab_rng_i64(r, '0', '9') : cab_rng_i64(r, '1', '9'));
        if (i + 1 == point && point < n)
            *s++ = '.';
    }
    sprintf(s, "e%d", e);
}

static void check_random(cab_rng *r)
{
    char s[64];
    for (int i = 0; i < 2000000; i++) {
        round_32((uint32_t)cab_rng_u64(r));
        round_64(cab_rng_u64(r));
    }
    for (int i = 0; i < 300000; i++) {
        random_text(r, s);
        both(s);
    }
    for (int i = 0; i < 100000; i++) {
        float f = f32_of((uint32_t)cab_rng_u64(r));
        double g = f64_of(cab_rng_u64(r));
        if (f - f == 0)
            shortest_of((double)f, true);
        if (g - g == 0)
            shortest_of(g, false);
    }
    for (int e = -1074; e < 1024; e++) {                   /* powers of two and their neighbours */
        double p = ldexp(1, e);
        for (int off = -2; off <= 2; off++) {
            round_64(bits64(p) + (uint64_t)(off < 0 && e == -1074 ? 0 : off));
            shortest_of(f64_of(bits64(p) + (uint64_t)(off < 0 && e < -1072 ? 0 : off)), false);
        }
        if (e >= -149 && e < 128) {
            shortest_of(p, true);
            round_32(bits32((float)p));
        }
    }
}

/* ---- whole numbers ---- */
static void check_whole(void)
{
    static const struct { const char *text; cab_fit fit; uint64_t v; } rows[] = {
        { "0", CAB_FITS, 0 }, { "-0", CAB_FITS, 0 }, { "0.000e-7", CAB_FITS, 0 }, { "12", CAB_FITS, 12 },
        { "1.0", CAB_FITS, 1 }, { "1e3", CAB_FITS, 1000 }, { "120e-1", CAB_FITS, 12 }, { "1.25e2", CAB_FITS, 125 },
        { "1.5", CAB_FRACTION, 0 }, { "1e-1", CAB_FRACTION, 0 }, { "0.00001", CAB_FRACTION, 0 },
        { "18446744073709551615", CAB_FITS, UINT64_MAX }, { "18446744073709551616", CAB_RANGE, 0 },
        { "1844674407370955161.5e1", CAB_FITS, UINT64_MAX }, { "18446744073709551615.0000000000", CAB_FITS, UINT64_MAX },
        { "18446744073709551615.00000000001", CAB_FRACTION, 0 }, { "1e19", CAB_FITS, 10000000000000000000u },
        { "1e20", CAB_RANGE, 0 }, { "1e999999999999", CAB_RANGE, 0 }, { "1e-999999999999", CAB_FRACTION, 0 },
        { "100000000000000000000000000000e-28", CAB_FITS, 10 }, { "10000000000000000000000000000.0e-28", CAB_FITS, 1 },
        { "0.00000000000000000000000000000000012e35", CAB_FITS, 12 }, { "123456789012345678901234567890", CAB_RANGE, 0 },
        { "123456789012345678901234567890e-1", CAB_RANGE, 0 }, { "123456789012345678901234567890e-2", CAB_FRACTION, 0 },
        { "0.00000000000000000000000000000000000000", CAB_FITS, 0 }, { "99999999999999999999.9", CAB_FRACTION, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cab_decimal d = scan(rows[i].text);
        bool negative;
        uint64_t v;
        cab_fit fit = cab_decimal_whole(&d, &negative, &v);
        expect("whole", rows[i].text, fit, rows[i].fit);
        if (fit == CAB_FITS)
            expect("whole", rows[i].text, v, rows[i].v);
    }
    int64_t v;
    cab_decimal d = scan("-9223372036854775808");
    CHECK(cab_decimal_int(&d, INT64_MIN, INT64_MAX, &v) == CAB_FITS && v == INT64_MIN);
    d = scan("-9223372036854775809");
    CHECK(cab_decimal_int(&d, INT64_MIN, INT64_MAX, &v) == CAB_RANGE);
    d = scan("9223372036854775808");
    CHECK(cab_decimal_int(&d, INT64_MIN, INT64_MAX, &v) == CAB_RANGE);
    d = scan("-128");
    CHECK(cab_decimal_int(&d, -128, 127, &v) == CAB_FITS && v == -128);
    d = scan("-129");
    CHECK(cab_decimal_int(&d, -128, 127, &v) == CAB_RANGE);
}

static int all_f32(uint64_t first, uint64_t last)
{
    for (uint64_t u = first; u <= last; u++) {
        char s[CAB_NUMBER_MAX];
        float v = f32_of((uint32_t)u), got = 0;
        cab_decimal d;
        const char *why, *at, *end;
        if (v - v != 0)
            continue;
        end = cab_f32_put(s, v);
        if (cab_decimal_scan(s, end, &d, &why, &at) != end || cab_decimal_f32(&d, &got) != CAB_FITS || bits32(got) != u)
            CHECK(!"there and back");
    }
    test_passed++;
    TEST_END();
}

int main(int argc, char **argv)
{
    cab_rng r;
    if (argc > 1 && !strcmp(argv[1], "--all-f32"))
        return all_f32(argc > 3 ? strtoull(argv[2], NULL, 0) : 0, argc > 3 ? strtoull(argv[3], NULL, 0) : UINT32_MAX);
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    cab_rng_seed(&r, seed);
    check_table();
    check_spelling();
    check_whole();
    check_hard();
    check_small();
    check_middles(&r);
    check_random(&r);
    TEST_END();
}
