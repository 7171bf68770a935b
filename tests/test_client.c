/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client.c - the load generator's figures, and what it reads of answers.
 */
#include "serve/client/client_answer.h"
#include "serve/client/histogram.h"
#include "tests/test.h"
#include <string.h>

/* Every time lies in a bucket that ends at most 1.6 % above it. */
static void check_buckets(void)
{
    static cab_histogram h;
    for (int64_t ns = 1; ns < 3600ll * 1000000000; ns += ns / 7 + 1) {
        h = (cab_histogram){ 0 };
        cab_histogram_add(&h, ns);
        h.max_ns = INT64_MAX;          /* so that the bucket's own end is told */
        int64_t at = cab_histogram_at(&h, 0.5);
        CHECK(at >= ns && (double)at <= (double)ns * 1.0158 + 1);
    }
}

static void check_shares(void)
{
    static cab_histogram h;
    h = (cab_histogram){ 0 };
    CHECK(cab_histogram_at(&h, 0.99) == 0);
    for (int i = 1; i <= 1000; i++)
        cab_histogram_add(&h, i * 1000);
    CHECK(h.n == 1000 && h.max_ns == 1000000 && h.sum_ns == 500500e3);
    CHECK(cab_histogram_at(&h, 0.5) >= 500000 && cab_histogram_at(&h, 0.5) < 509000);
    CHECK(cab_histogram_at(&h, 0.99) >= 990000 && cab_histogram_at(&h, 1.0) == 1000000);
    cab_histogram_add(&h, -5);
    cab_histogram_add(&h, INT64_MAX);
    CHECK(h.bucket[0] == 1 && h.max_ns == INT64_MAX);
}

static const char with_body[] = "HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 5\r\n\r\nhello";
static const char no_body[] = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
static const char refusal[] = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";

static void check_pieces(void)
{
    cab_answer a = { 0 };
    for (size_t step = 1; step < sizeof with_body; step++) {
        cab_answer_got got = CAB_ANSWER_MORE;
        for (size_t at = 0; at < sizeof with_body - 1; at += step) {
            CHECK(got == CAB_ANSWER_MORE);
            size_t left = sizeof with_body - 1 - at;
            got = cab_answer_read(&a, with_body + at, left < step ? left : step);
        }
        CHECK(got == CAB_ANSWER_DONE && a.status == 200 && !a.close);
    }
    CHECK(cab_answer_read(&a, no_body, sizeof no_body - 1) == CAB_ANSWER_DONE && a.status == 204 && a.close);
    CHECK(cab_answer_read(&a, refusal, sizeof refusal - 1) == CAB_ANSWER_DONE && a.status == 429 && !a.close);
}

static void check_broken(void)
{
    static const char *const bad[] = { "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "\r\n\r\n",
                                       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cab_answer a = { 0 };
        CHECK(cab_answer_read(&a, bad[i], strlen(bad[i])) == CAB_ANSWER_BROKEN);
    }
    char long_head[3000];
    cab_answer a = { 0 }, b = { 0 };
    memset(long_head, 'x', sizeof long_head);
    CHECK(cab_answer_read(&a, long_head, sizeof long_head) == CAB_ANSWER_BROKEN);
    CHECK(cab_answer_read(&b, long_head, 1500) == CAB_ANSWER_MORE);
    CHECK(cab_answer_read(&b, long_head, 1500) == CAB_ANSWER_BROKEN);
}

int main(void)
{
    check_buckets();
    check_shares();
    check_pieces();
    check_broken();
    TEST_END();
}
