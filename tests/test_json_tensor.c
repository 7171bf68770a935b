/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_json_tensor.c - JSON arrays to tensors and back: shapes, types, what is
 * refused and how it is named.
 */
#include <math.h>
#include "base/dtype.h"
#include "base/rng.h"
#include "include/cab_rt.h"
#include "serve/json/json_tensor.h"
#include "tests/test.h"

enum { MOST = 4096 };
static const char *shape_of(int rank, const int64_t *dims)
{
    static char s[200];
    int n = 0;
    for (int i = 0; i < rank; i++)
        n += sprintf(s + n, "%s%" PRId64, i ? "x" : "", dims[i]);
    s[n] = 0;
    return s;
}

/* text as doubles, back as text: want; "!word": refused with that word. */
static void any(const char *text, const char *shape, const char *want)
{
    cab_bytes to = { 0 }, out = { 0 };
    cab_json_fault f;
    cab_json j;
    int rank = -7;
    int64_t dims[CAB_JSON_MAX_RANK];
    cab_json_init(&j, cab_slice_of(text), NULL);
    bool ok = cab_json_read_any(&j, CAB_TYPE_F64, &to, &rank, dims, &f);
    if (*want == '!') {
        if (ok || !strstr(f.text, want + 1))
            fprintf(stderr, "%s: got '%s', expected '%s'\n", text, ok ? "read" : f.text, want + 1);
        CHECK(!ok && strstr(f.text, want + 1) && f.kind != CAB_FAULT_NONE);
    } else if (!ok) {
        fprintf(stderr, "%s: %s\n", text, f.text);
        CHECK(!"read");
    } else {
        CHECK(cab_json_next(&j) == CAB_JSON_END);
        CHECK_STR(shape_of(rank, dims), shape);
        CHECK(cab_json_write_tensor(&out, CAB_TYPE_F64, rank, dims, to.p, true, CAB_NONFINITE_NAMES, &f));
        CHECK_STR(cab_bytes_cstr(&out), want);
    }
    cab_bytes_fini(&to);
    cab_bytes_fini(&out);
}

static void check_any(void)
{
    any("3", "", "3.0");
    any("[]", "0", "[]");
    any("[1]", "1", "[1.0]");
    any(" [ 1 , 2.5 ,\n-3e0 ] ", "3", "[1.0,2.5,-3.0]");
    any("[[1,2],[3,4],[5,6]]", "3x2", "[[1.0,2.0],[3.0,4.0],[5.0,6.0]]");
    any("[[[1],[2]]]", "1x2x1", "[[[1.0],[2.0]]]");
    any("[[],[]]", "2x0", "[[],[]]");
    any("[[[[[[[[8]]]]]]]]", "1x1x1x1x1x1x1x1", "[[[[[[[[8.0]]]]]]]]");
    any("[[[[[[[[[9]]]]]]]]]", "", "!deeper than 8");
    any("[[1,2],[3]]", "", "![1]: 1 elements where 2 are expected");
    any("[[1,2],[3,4,5]]", "", "![1][1]: its array has more than 2 elements");
    any("[[1,2],3]", "", "![1]: a number where an array is expected (rank 2)");
    any("[1,[2]]", "", "![1]: an array where a number is expected (rank 1)");
    any("[[],[1]]", "", "![1]: its array has more than 0 elements");
    any("[[],[[]]]", "", "!an array where a number");
    any("[[[]],[]]", "", "![1]: 0 elements where 1 are expected");
    any("[[1],[]]", "", "![1]: 0 elements where 1");
    any("[[],1]", "", "![1]: a number where an array is expected (rank 2)");
    any("[[[1,2],[3,4]],[[5,6],[7,8],[9,10]]]", "", "![1][1]: its array has more than 2");
    any("[1,\"2\"]", "", "![1]: a string where a number is expected");
    any("[[1,null]]", "", "![0][1]: null where a number is expected");
    any("{\"a\":1}", "", "!an object where a number");
    any("[1,{}]", "", "![1]: an object where");
    any("[1,true]", "", "![1]: true is no FP64");
    any("[1,2", "", "!the text ends too early (byte 4)");
    any("[1,02]", "", "!leading zero (byte 3)");
    any("[1 2]", "", "![0]: a comma or ] expected (byte 3)");
    any("[1,1e400]", "", "![1]: 1e400 is out of the range of FP64");
    any("[NaN]", "", "!a value expected");
    any("", "", "!too early");
    any("[1,-1e9999999999999999999999999999999999999999999999999999]", "", "!9999... is out of the range");
}

/* Into a given shape. */
static void given(const char *text, int type, int rank, const int64_t *dims, const char *want)
{
    unsigned char memory[MOST];
    cab_bytes out = { 0 };
    cab_json_fault f;
    cab_json j;
    size_t bytes = cab_json_type_bytes(type);
    for (int i = 0; i < rank; i++)
        bytes *= (size_t)dims[i];
    memset(memory, 0xa5, sizeof memory);
    void *to = malloc(bytes ? bytes : 1);                   /* its own, for AddressSanitizer */
    cab_json_init(&j, cab_slice_of(text), NULL);
    bool ok = cab_json_read_tensor(&j, type, rank, dims, to, &f);
    if (*want == '!') {
        if (ok || !strstr(f.text, want + 1))
            fprintf(stderr, "%s: got '%s', expected '%s'\n", text, ok ? "read" : f.text, want + 1);
        CHECK(!ok && strstr(f.text, want + 1) && f.kind != CAB_FAULT_NONE);
    } else if (!ok) {
        fprintf(stderr, "%s: %s\n", text, f.text);
        CHECK(!"read");
    } else {
        CHECK(cab_json_next(&j) == CAB_JSON_END);
        CHECK(cab_json_write_tensor(&out, type, rank, dims, to, false, CAB_NONFINITE_NAMES, &f));
        CHECK_STR(cab_bytes_cstr(&out), want);
    }
    free(to);
    cab_bytes_fini(&out);
}
#define DIMS(...) (sizeof((int64_t[]){ __VA_ARGS__ }) / 8), (int64_t[]){ __VA_ARGS__ }

static void check_given(void)
{
    given("[1,2,3,4,5,6]", CAB_TYPE_F32, DIMS(2, 3), "[1.0,2.0,3.0,4.0,5.0,6.0]");
    given("[[1,2,3],[4,5,6]]", CAB_TYPE_I32, DIMS(2, 3), "[1,2,3,4,5,6]");
    given("[[[1],[2]],[[3],[4]]]", CAB_TYPE_U8, DIMS(2, 2, 1), "[1,2,3,4]");
    given("[1,2,3,4]", CAB_TYPE_U8, DIMS(2, 2, 1), "[1,2,3,4]");
    given("[7]", CAB_TYPE_I64, 0, NULL, "[7]");
    given("7", CAB_TYPE_I64, 0, NULL, "[7]");
    given("[7]", CAB_TYPE_I64, DIMS(1), "[7]");
    given("[7]", CAB_TYPE_I64, DIMS(1, 1, 1), "[7]");
    given("[[[7]]]", CAB_TYPE_I64, DIMS(1, 1, 1), "[7]");
    given("[]", CAB_TYPE_F32, DIMS(0), "[]");
    given("[]", CAB_TYPE_F32, DIMS(0, 3), "[]");
    given("[]", CAB_TYPE_F32, DIMS(2, 0), "[]");
    given("[[],[]]", CAB_TYPE_F32, DIMS(2, 0), "[]");
    given("[[1,2],[3]]", CAB_TYPE_F32, DIMS(2, 2), "![1]: 1 elements where 2 are expected");
    given("[[1,2],[3,4],[5,6]]", CAB_TYPE_F32, DIMS(2, 2), "!has more than 2");
    given("[[1,2]]", CAB_TYPE_F32, DIMS(2, 2), "!1 elements where 2 are expected");
    given("[1,2,3]", CAB_TYPE_F32, DIMS(2, 2), "!3 elements where 4 are expected");
    given("[1,2,3,4,5]", CAB_TYPE_F32, DIMS(2, 2), "![3]: its array has more than 4 elements");
    given("[1,[2],3,4]", CAB_TYPE_F32, DIMS(2, 2), "![1]: an array where a number");
    given("[[1,2],3,4]", CAB_TYPE_F32, DIMS(2, 2), "![1]: a number where an array");
    given("[[1,2,3,4]]", CAB_TYPE_F32, DIMS(2, 2), "![0][1]: its array has more than 2 elements");
    given("[[[1,2],[3,4]]]", CAB_TYPE_F32, DIMS(2, 2), "![0][0]: an array where a number");
    given("[[7]]", CAB_TYPE_F32, 0, NULL, "!an array where a number");
    given("[[7]]", CAB_TYPE_F32, DIMS(1), "!an array where a number");
    given("[]", CAB_TYPE_F32, 0, NULL, "!0 elements where 1");
    given("[1]", CAB_TYPE_F32, DIMS(0), "!more than 0 elements");
    given("[1]", CAB_TYPE_F32, DIMS(0, 3), "!more than 0 elements");
    given("[[],1]", CAB_TYPE_F32, DIMS(2, 0), "!a number where an array");
    given("[[1]]", CAB_TYPE_F32, DIMS(2, 0), "!more than 0 elements");
    given("[[],[]]", CAB_TYPE_F32, DIMS(0, 2), "!more than 0");
    given("7", CAB_TYPE_F32, DIMS(1), "!a number where an array");
    given("[]", CAB_TYPE_F32, DIMS(2), "!0 elements where 2");
    given("[]", CAB_TYPE_F32, DIMS(2, 2), "!0 elements where 4");
    given("[1]", 8, 0, NULL, "!type 8");
    given("[1]", -3, 0, NULL, "!type -3");
    given("[1]", 1 << 20, 0, NULL, "!type 1048576");
    cab_json j;
    cab_json_fault f;
    float v;
    cab_json_init(&j, CAB_SLICE("[1]"), NULL);
    CHECK(!cab_json_read_tensor(&j, CAB_TYPE_F32, 1, (int64_t[]){ -1 }, &v, &f) && f.kind == CAB_FAULT_SHAPE);
    CHECK(!cab_json_read_tensor(&j, CAB_TYPE_F32, 2, (int64_t[]){ INT64_MAX, 3 }, &v, &f) && f.kind == CAB_FAULT_SHAPE);
    CHECK(!cab_json_read_tensor(&j, CAB_TYPE_F32, 9, (int64_t[9]){ 0 }, &v, &f) && f.kind == CAB_FAULT_SHAPE);
    cab_json_init(&j, CAB_SLICE("[]"), NULL);
    CHECK(cab_json_next(&j) == CAB_JSON_ARRAY);
    CHECK(!cab_json_read_tensor(&j, CAB_TYPE_F32, 1, (int64_t[]){ 1 }, &v, &f) && f.kind == CAB_FAULT_SHAPE);
}

static void check_types(void)
{
    given("[true,false,1,0,1.0]", CAB_TYPE_BOOL, DIMS(5), "[true,false,true,false,true]");
    given("[2]", CAB_TYPE_BOOL, DIMS(1), "!2 is out of the range of BOOL");
    given("[0,255]", CAB_TYPE_U8, DIMS(2), "[0,255]");
    given("[0,256]", CAB_TYPE_U8, DIMS(2), "![1]: 256 is out of the range of UINT8");
    given("[0,-1]", CAB_TYPE_U8, DIMS(2), "![1]: -1 is out of the range of UINT8");
    given("[-0]", CAB_TYPE_U8, DIMS(1), "[0]");
    given("[-128,127]", CAB_TYPE_I8, DIMS(2), "[-128,127]");
    given("[-129]", CAB_TYPE_I8, DIMS(1), "!-129 is out of the range of INT8");
    given("[128]", CAB_TYPE_I8, DIMS(1), "!128 is out of the range of INT8");
    given("[65535]", CAB_TYPE_U16, DIMS(1), "[65535]");
    given("[65536]", CAB_TYPE_U16, DIMS(1), "!UINT16");
    given("[-32768,32767]", CAB_TYPE_I16, DIMS(2), "[-32768,32767]");
    given("[32768]", CAB_TYPE_I16, DIMS(1), "!INT16");
    given("[-2147483648,2147483647]", CAB_TYPE_I32, DIMS(2), "[-2147483648,2147483647]");
    given("[2147483648]", CAB_TYPE_I32, DIMS(1), "!INT32");
    given("[4294967295]", CAB_TYPE_U32, DIMS(1), "[4294967295]");
    given("[4294967296]", CAB_TYPE_U32, DIMS(1), "!UINT32");
    given("[-9223372036854775808,9223372036854775807]", CAB_TYPE_I64, DIMS(2), "[-9223372036854775808,9223372036854775807]");
    given("[9223372036854775808]", CAB_TYPE_I64, DIMS(1), "!INT64");
    given("[1,18446744073709551615]", CAB_TYPE_U64, DIMS(2), "[1,18446744073709551615]");
    given("[1,18446744073709551616]", CAB_TYPE_U64, DIMS(2), "![1]: 18446744073709551616 is out of the range of UINT64");
    given("[1.0,2e2,30e-1]", CAB_TYPE_I32, DIMS(3), "[1,200,3]");
    given("[[1,2],[3,4.5]]", CAB_TYPE_I32, DIMS(2, 2), "![1][1]: 4.5 is no whole number (INT32)");
    given("[true]", CAB_TYPE_I32, DIMS(1), "!true is no INT32");
    given("[1e39]", CAB_TYPE_F32, DIMS(1), "!1e39 is out of the range of FP32");
    given("[3.4028235e38,1e-46,-0.0,0.1]", CAB_TYPE_F32, DIMS(4), "[3.4028235e+38,0.0,-0.0,0.1]");
    given("[65504,65519,0.1,6e-8]", CAB_TYPE_F16, DIMS(4), "[65500.0,65500.0,0.1,6e-08]");
    given("[65520]", CAB_TYPE_F16, DIMS(1), "!out of the range of FP16");
    given("[1,0.1,3.3895e38]", CAB_TYPE_BF16, DIMS(3), "[1.0,0.1,3.39e+38]");
    given("[3.4e38]", CAB_TYPE_BF16, DIMS(1), "!BF16");
    /* Rounded once: by way of float it would come out even, 1.0. */
    given("[1.00048828125000001]", CAB_TYPE_F16, DIMS(1), "[1.001]");
    given("[1.00048828125]", CAB_TYPE_F16, DIMS(1), "[1.0]");
    CHECK_STR(cab_json_type_name(CAB_TYPE_BF16), "BF16");
    CHECK(!cab_json_type_name(0) && !cab_json_type_name(15) && !cab_json_type_name(17) && !cab_json_type_bytes(8));
    CHECK(cab_json_type_of(CAB_SLICE("UINT8")) == CAB_TYPE_U8 && !cab_json_type_of(CAB_SLICE("BYTES")));
}

static void check_writer(void)
{
    const float v[] = { 1, -0.0f, INFINITY, -INFINITY, NAN, 0.1f };
    const int64_t dims[] = { 2, 3 };
    cab_bytes b = { 0 };
    cab_json_fault f;
    CHECK(cab_json_write_tensor(&b, CAB_TYPE_F32, 2, dims, v, true, CAB_NONFINITE_NULL, &f));
    CHECK_STR(cab_bytes_cstr(&b), "[[1.0,-0.0,null],[null,null,0.1]]");
    cab_bytes_clear(&b);
    CHECK(cab_json_write_tensor(&b, CAB_TYPE_F32, 2, dims, v, false, CAB_NONFINITE_NAMES, &f));
    CHECK_STR(cab_bytes_cstr(&b), "[1.0,-0.0,Infinity,-Infinity,NaN,0.1]");
    cab_json j;
    cab_json_limits l = { .names = true };
    float back[6];
    cab_json_init(&j, (cab_slice){ b.p, b.n }, &l);
    CHECK(cab_json_read_tensor(&j, CAB_TYPE_F32, 2, dims, back, &f));
    CHECK(!memcmp(back, v, 4 * sizeof *v) && back[4] != back[4] && back[5] == 0.1f);
    int32_t ints[6];
    cab_json_init(&j, (cab_slice){ b.p, b.n }, &l);
    CHECK(!cab_json_read_tensor(&j, CAB_TYPE_I32, 2, dims, ints, &f) && strstr(f.text, "-0.0") == NULL);
    cab_bytes_fini(&b);
    b = (cab_bytes){ .limit = 20 };
    CHECK(!cab_json_write_tensor(&b, CAB_TYPE_F32, 2, dims, back, true, CAB_NONFINITE_NULL, &f) && f.kind == CAB_FAULT_MEMORY);
    cab_bytes_fini(&b);
    CHECK(!cab_json_write_tensor(&b, 8, 2, dims, v, true, CAB_NONFINITE_NULL, &f) && f.kind == CAB_FAULT_TYPE);
    CHECK(!cab_json_write_tensor(&b, 1, 1, (int64_t[]){ -1 }, v, true, CAB_NONFINITE_NULL, &f) && f.kind == CAB_FAULT_SHAPE);
    cab_bytes_fini(&b);
}

static void check_growth(void)
{
    cab_bytes text = { 0 }, to = { .limit = 40 };
    cab_json j;
    cab_json_fault f;
    int rank;
    int64_t dims[CAB_JSON_MAX_RANK];
    cab_json_init(&j, CAB_SLICE("[1,2,3,4,5,6,7,8,9,10]"), NULL);
    CHECK(cab_json_read_any(&j, CAB_TYPE_F32, &to, &rank, dims, &f) && to.n == 40);
    cab_bytes_clear(&to);
    cab_json_init(&j, CAB_SLICE("[1,2,3,4,5,6,7,8,9,10,11]"), NULL);
    CHECK(!cab_json_read_any(&j, CAB_TYPE_F32, &to, &rank, dims, &f) && f.kind == CAB_FAULT_LIMIT);
    cab_bytes_fini(&to);
    to.limit = 0;
    for (int i = 0; i < 5000; i++)
        cab_bytes_printf(&text, "%s[%d, %d.5]", i ? " ,\n" : "[", i, i);
    cab_bytes_char(&text, ']');
    cab_json_init(&j, (cab_slice){ text.p, text.n }, NULL);
    CHECK(cab_json_read_any(&j, CAB_TYPE_F32, &to, &rank, dims, &f) && rank == 2 && dims[0] == 5000 && dims[1] == 2);
    bool same = to.n == 40000;
    for (int i = 0; same && i < 5000; i++)
        same = ((float *)(void *)to.p)[2 * i] == (float)i && ((float *)(void *)to.p)[2 * i + 1] == (float)i + 0.5f;
    CHECK(same);
    cab_bytes_fini(&text);
    cab_bytes_fini(&to);
}

/* Random bits of every type, there and back, flat and nested. */
static void check_round_trips(void)
{
    static const int types[] = { 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16 };
    cab_rng r;
    uint64_t data[3 * 5 * 700], back[3 * 5 * 700];
    const int64_t dims[] = { 3, 5, 700 };
    cab_rng_seed(&r, 7);
    fprintf(stderr, "seed 7\n");
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int nested = 0; nested < 2; nested++) {
            size_t bytes = cab_json_type_bytes(types[t]) * 3 * 5 * 700;
            cab_bytes b = { 0 };
            cab_json_fault f;
            cab_json j;
            for (size_t i = 0; i < sizeof data / 8; i++)   /* no exponent of all ones */
                data[i] = cab_rng_u64(&r) & (types[t] == 9 ? 0x0101010101010101u : types[t] == 10 || types[t] == 11 || types[t] == 1 ||
                                             types[t] == 16 ? 0xbbbfbbbfbbbfbbbfu : UINT64_MAX);
            CHECK(cab_json_write_tensor(&b, types[t], 3, dims, data, nested, CAB_NONFINITE_NAMES, &f));
            cab_json_init(&j, (cab_slice){ b.p, b.n }, NULL);
            memset(back, 0xee, sizeof back);
            CHECK(cab_json_read_tensor(&j, types[t], 3, dims, back, &f) && cab_json_next(&j) == CAB_JSON_END);
            CHECK(!memcmp(data, back, bytes) && (bytes == sizeof back || ((char *)back)[bytes] == (char)0xee));
            cab_bytes_fini(&b);
        }
}

int main(void)
{
    check_any();
    check_given();
    check_types();
    check_writer();
    check_growth();
    check_round_trips();
    TEST_END();
}
