/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_classes.c - the k largest of every type, against a sort; texts; labels.
 */
#include "serve/classes.h"
#include <jansson.h>
#include <math.h>
#include "base/dtype.h"
#include "base/rng.h"
#include "include/cab_rt.h"
#include "tests/test.h"

/* The texts with a bar between them. */
static const char *classes(int dtype, const void *data, size_t n, size_t k, const json_t *labels)
{
    static char line[4096];
    cab_bytes b = { 0 };
    size_t used = 0;
    CHECK(cab_classes_put(&b, dtype, data, n, k, labels));
    for (size_t at = 0; at < b.n;) {
        const unsigned char *p = (const unsigned char *)b.p + at;
        size_t size = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        at += 4 + size;
        CHECK(at <= b.n);
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%.*s", used ? "|" : "", (int)size, (const char *)p + 4);
    }
    line[used] = 0;
    cab_bytes_fini(&b);
    return line;
}

static void check_floats(void)
{
    const float x[] = { 1, 5, 10, 4 }, odd[] = { NAN, -INFINITY, 0.0f, -0.0f, INFINITY, -NAN, 3e38f, 1e-9f, -1 };
    CHECK_STR(classes(CAB_TYPE_F32, x, 4, 2, NULL), "10.000000:2|5.000000:1");
    CHECK_STR(classes(CAB_TYPE_F32, x, 4, 9, NULL), "10.000000:2|5.000000:1|4.000000:3|1.000000:0");
    CHECK_STR(classes(CAB_TYPE_F32, x, 1, 1, NULL), "1.000000:0");
    CHECK_STR(classes(CAB_TYPE_F32, x, 0, 3, NULL), "");
    CHECK_STR(classes(CAB_TYPE_F32, x, 4, 0, NULL), "");
    CHECK_STR(classes(CAB_TYPE_F32, odd, 9, 9, NULL),
              "inf:4|300000000549775575777803994281145270272.000000:6|0.000000:7|0.000000:2|-0.000000:3|-1.000000:8|-inf:1|nan:0|-nan:5");
    CHECK_STR(classes(CAB_TYPE_F32, odd, 9, 3, NULL), "inf:4|300000000549775575777803994281145270272.000000:6|0.000000:7");
    const double d[] = { 0.1, 1e300, -1e300, 0.1 };
    CHECK_EQ(strlen(classes(CAB_TYPE_F64, d, 4, 1, NULL)), 301 + 7 + 2);
    CHECK_STR(classes(CAB_TYPE_F64, d + 2, 2, 1, NULL), "0.100000:1");
    CHECK_STR(classes(CAB_TYPE_F64, (const double[]){ 0.1, 0.1, 0.1 }, 3, 2, NULL), "0.100000:0|0.100000:1");
    const uint16_t h[] = { 0x3c00, 0x4000, 0xc000 }, b[] = { 0x3f80, 0x4000, 0xc000 };
    CHECK_STR(classes(CAB_TYPE_F16, h, 3, 2, NULL), "2.000000:1|1.000000:0");
    CHECK_STR(classes(CAB_TYPE_BF16, b, 3, 2, NULL), "2.000000:1|1.000000:0");
}

static void check_whole(void)
{
    CHECK_STR(classes(CAB_TYPE_I8, (const int8_t[]){ -128, 127, -1 }, 3, 3, NULL), "127:1|-1:2|-128:0");
    CHECK_STR(classes(CAB_TYPE_I16, (const int16_t[]){ -32768, 5 }, 2, 1, NULL), "5:1");
    CHECK_STR(classes(CAB_TYPE_I32, (const int32_t[]){ INT32_MIN, INT32_MAX, 0 }, 3, 3, NULL), "2147483647:1|0:2|-2147483648:0");
    CHECK_STR(classes(CAB_TYPE_I64, (const int64_t[]){ INT64_MIN, INT64_MAX, INT64_MAX - 1 }, 3, 3, NULL),
              "9223372036854775807:1|9223372036854775806:2|-9223372036854775808:0");
    CHECK_STR(classes(CAB_TYPE_U8, (const uint8_t[]){ 128, 255, 0 }, 3, 2, NULL), "255:1|128:0");
    CHECK_STR(classes(CAB_TYPE_U16, (const uint16_t[]){ 65535, 32768 }, 2, 2, NULL), "65535:0|32768:1");
    CHECK_STR(classes(CAB_TYPE_U32, (const uint32_t[]){ 0, 4294967295u }, 2, 2, NULL), "4294967295:1|0:0");
    CHECK_STR(classes(CAB_TYPE_U64, (const uint64_t[]){ 0, UINT64_MAX, UINT64_MAX - 1 }, 3, 2, NULL),
              "18446744073709551615:1|18446744073709551614:2");
    CHECK(!cab_classes_known(CAB_TYPE_BOOL) && !cab_classes_known(0) && !cab_classes_known(99));
    CHECK(cab_classes_known(CAB_TYPE_F32) && cab_classes_known(CAB_TYPE_BF16) && cab_classes_known(CAB_TYPE_U64));
}

static void check_labels(void)
{
    json_t *labels = json_pack("[s,s,s]", "cat", "", "a:b \xc3\xa9");
    const int32_t x[] = { 3, 7, 1, 9 };
    CHECK_STR(classes(CAB_TYPE_I32, x, 4, 4, labels), "9:3|7:1:|3:0:cat|1:2:a:b \xc3\xa9");
    json_decref(labels);
}

static const float *sorted;

static int order(const void *a, const void *b)
{
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    return sorted[i] != sorted[j] ? (sorted[i] > sorted[j] ? -1 : 1) : i < j ? -1 : 1;
}

/* Against a sort, many equal ones among them. */
static void check_random(void)
{
    enum { N = 300 };
    static float x[N];
    static size_t index[N];
    cab_rng r;
    cab_rng_seed(&r, 7);
    for (int round = 0; round < 300; round++) {
        size_t n = (size_t)cab_rng_i64(&r, 1, N), k = (size_t)cab_rng_i64(&r, 1, 40);
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)cab_rng_i64(&r, -10, round % 2 ? 9 : 999989);
            index[i] = i;
        }
        sorted = x;
        qsort(index, n, sizeof *index, order);
        char want[4096];
        size_t used = 0;
        for (size_t i = 0; i < k && i < n; i++)
            used += (size_t)snprintf(want + used, sizeof want - used, "%s%f:%zu", i ? "|" : "", (double)x[index[i]], index[i]);
        CHECK_STR(classes(CAB_TYPE_F32, x, n, k, NULL), want);
    }
}

static void check_memory(void)
{
    cab_bytes b = { .limit = 20 };
    const float x[] = { 1, 2, 3 };
    CHECK(!cab_classes_put(&b, CAB_TYPE_F32, x, 3, 3, NULL) && b.failed);
    cab_bytes_fini(&b);
}

int main(void)
{
    check_floats();
    check_whole();
    check_labels();
    check_random();
    check_memory();
    TEST_END();
}
