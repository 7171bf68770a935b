/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_http1.c - what framing costs: nanoseconds a head, a body, an answer.
 *
 * Built by hand: make tests/bench/bench_http1.  Each figure is the best of 20
 * rounds of about 10 ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "serve/http/http1.h"

static const cab_http1_limits limits = CAB_HTTP1_LIMITS;
static const char curl[] =
    "POST /v2/models/digits/versions/1/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: curl/8.5.0\r\n"
    "Accept: */*\r\nContent-Type: application/json\r\nContent-Length: 2048\r\nX-Request-Id: 0123456789abcdef\r\n\r\n";
static const char browser[] =
    "GET /metrics?name=digits HTTP/1.1\r\nHost: models.example:8443\r\nConnection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n"
    "sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    "Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";

static cab_http1_head head;
static char text[1 << 16];
static size_t n_text;
static cab_bytes out;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void set(const char *s)
{
    n_text = strlen(s);
    memcpy(text, s, n_text);
}

static void whole(void)
{
    cab_http1_head_start(&head);
    must(cab_http1_head_read(&head, &limits, text, n_text) == CAB_HTTP1_DONE);
}

static void by_bytes(void)
{
    cab_http1_head_start(&head);
    for (size_t i = 1; i < n_text; i++)
        must(cab_http1_head_read(&head, &limits, text, i) == CAB_HTTP1_MORE);
    must(cab_http1_head_read(&head, &limits, text, n_text) == CAB_HTTP1_DONE);
}

static void set_long(void)
{
    n_text = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: ");
    memset(text + n_text, 'a', 16000);
    memcpy(text + n_text + 16000, "\r\n\r\n", 4);
    n_text += 16004;
}

static void set_chunks(void)
{
    cab_bytes_clear(&out);
    for (int i = 0; i < 1000; i++)
        cab_bytes_str(&out, "10\r\n0123456789abcdef\r\n");
    cab_bytes_str(&out, "0\r\n\r\n");
    n_text = out.n;
    memcpy(text, out.p, out.n);
}

static void chunks(void)
{
    cab_http1_body b;
    cab_slice data;
    size_t used, at = 0;
    cab_http1_head h = { .chunked = true };
    cab_http1_body_start(&b, &h, 1 << 20);
    while (cab_http1_body_read(&b, text + at, n_text - at, &used, &data) == CAB_HTTP1_DATA)
        at += used;
    must(at + used == n_text);
}

static void answer(void)
{
    cab_http1_answer a = { .status = 200, .minor = 1, .keep_alive = true, .length = 2048,
                           .date = CAB_SLICE("Sun, 06 Nov 1994 08:49:37 GMT"),
                           .type = CAB_SLICE("application/json") };
    cab_bytes_clear(&out);
    must(cab_http1_answer_write(&out, &a));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *what, void (*body)(void))
{
    double best = 1e18, start = now();
    body();
    long n = 1 + (long)(1e7 / (now() - start + 1));
    for (int round = 0; round < 20; round++) {
        start = now();
        for (long i = 0; i < n; i++)
            body();
        double t = (now() - start) / (double)n;
        best = t < best ? t : best;
    }
    printf("%-34s %6zu bytes %10.1f ns\n", what, n_text, best);
}

int main(void)
{
    set(curl);
    measure("head of an inference", whole);
    measure("the same, byte by byte", by_bytes);
    set(browser);
    measure("head of a browser", whole);
    set_long();
    measure("head with one long value", whole);
    measure("the same, byte by byte", by_bytes);
    set_chunks();
    measure("1000 chunks of 16 bytes", chunks);
    answer();
    n_text = out.n;
    measure("head of an answer", answer);
    cab_bytes_fini(&out);
    return 0;
}
