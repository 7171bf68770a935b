/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_json.c - numbers in JSON: our reader and writer beside jansson, strtof and snprintf.
 *
 *   bench_json [COUNT]
 *
 * Best and median of 21 rounds, each way in turn; ms, and ns per number.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/rng.h"
#include "include/cab_rt.h"
#include "serve/json/json_tensor.h"

enum { ROUNDS = 21 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

typedef struct job {
    cab_slice text, ints;
    cab_bytes out;
    float *v, *back;
    int32_t *i32;
    uint16_t *half;
    double *f64;
    size_t n;
} job;

static void read_as(job *b, cab_slice text, int type, void *to)
{
    cab_json j;
    cab_json_fault f;
    int64_t dims[1] = { (int64_t)b->n };
    cab_json_init(&j, text, NULL);
    if (!cab_json_read_tensor(&j, type, 1, dims, to, &f) || cab_json_next(&j) != CAB_JSON_END) {
        fprintf(stderr, "%s %s\n", f.text, j.why);
        exit(1);
    }
}

static void read_f32(job *b) { read_as(b, b->text, CAB_TYPE_F32, b->back); }
static void read_f64(job *b) { read_as(b, b->text, CAB_TYPE_F64, b->f64); }
static void read_f16(job *b) { read_as(b, b->text, CAB_TYPE_F16, b->half); }
static void read_i32(job *b) { read_as(b, b->ints, CAB_TYPE_I32, b->i32); }

static void read_any(job *b)
{
    cab_json j;
    cab_json_fault f;
    int rank;
    int64_t dims[CAB_JSON_MAX_RANK];
    cab_json_init(&j, b->text, NULL);
    cab_bytes_clear(&b->out);
    if (!cab_json_read_any(&j, CAB_TYPE_F32, &b->out, &rank, dims, &f))
        exit(1);
}

static void tokens(job *b)
{
    cab_json j;
    cab_json_token t;
    cab_json_init(&j, b->text, NULL);
    while ((t = cab_json_next(&j)) != CAB_JSON_END)
        if (t == CAB_JSON_ERROR)
            exit(1);
}

static void by_strtof(job *b)
{
    char *p = (char *)(uintptr_t)b->text.p + 1;
    for (size_t i = 0; i < b->n; i++)
        b->back[i] = strtof(p, &p), p++;
}

static void by_jansson(job *b)
{
    json_t *a = json_loadb(b->text.p, b->text.n, 0, NULL);
    for (size_t i = 0; i < b->n; i++)
        b->back[i] = (float)json_real_value(json_array_get(a, i));
    json_decref(a);
}

static void write_as(job *b, int type, const void *from)
{
    cab_json_fault f;
    int64_t dims[1] = { (int64_t)b->n };
    cab_bytes_clear(&b->out);
    if (!cab_json_write_tensor(&b->out, type, 1, dims, from, false, CAB_NONFINITE_NAMES, &f))
        exit(1);
}

static void write_f32(job *b) { write_as(b, CAB_TYPE_F32, b->v); }
static void write_f64(job *b) { write_as(b, CAB_TYPE_F64, b->f64); }
static void write_i32(job *b) { write_as(b, CAB_TYPE_I32, b->i32); }

static void by_snprintf(job *b)
{
    cab_bytes_clear(&b->out);
    for (size_t i = 0; i < b->n; i++)
        cab_bytes_printf(&b->out, "%.9g,", (double)b->v[i]);
}

static void jansson_writes(job *b)
{
    json_t *a = json_array();
    for (size_t i = 0; i < b->n; i++)
        json_array_append_new(a, json_real((double)b->v[i]));
    free(json_dumps(a, JSON_COMPACT));
    json_decref(a);
}

static const struct { const char *name; void (*run)(job *); } ways[] = {
    { "read f32", read_f32 }, { "read f32, shape unknown", read_any }, { "read f64", read_f64 }, { "read f16", read_f16 },
    { "read i32", read_i32 }, { "tokens only", tokens }, { "strtof", by_strtof }, { "jansson reads", by_jansson },
    { "write f32", write_f32 }, { "write f64", write_f64 }, { "write i32", write_i32 }, { "snprintf %.9g", by_snprintf },
    { "jansson writes", jansson_writes },
};
enum { N_WAYS = sizeof ways / sizeof *ways };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A predict call's body of 20 bytes, all of it. */
static void small_body(void)
{
    enum { TIMES = 200000 };
    cab_slice body = CAB_SLICE("{\"X\": [[1.5, 20.25]]}");
    cab_bytes to = { 0 };
    cab_json j;
    cab_json_fault f;
    int rank = 0;
    int64_t dims[CAB_JSON_MAX_RANK];
    double t = now_ms();
    for (int i = 0; i < TIMES; i++) {
        cab_bytes_clear(&to);
        cab_json_init(&j, body, NULL);
        cab_json_next(&j);
        cab_json_next(&j);
        if (!cab_json_is(&j, "X") || !cab_json_read_any(&j, CAB_TYPE_F32, &to, &rank, dims, &f) ||
            cab_json_next(&j) != CAB_JSON_OBJECT_END || cab_json_next(&j) != CAB_JSON_END)
            exit(1);
    }
    printf("%-26s %8.1f ns\n", "a body of 21 bytes", (now_ms() - t) * 1e6 / TIMES);
    cab_bytes_fini(&to);
}

int main(int argc, char **argv)
{
    job b = { .n = argc > 1 ? strtoul(argv[1], NULL, 10) : 150528 };
    cab_bytes text = { 0 }, ints = { 0 };
    cab_rng r;
    static double ms[N_WAYS][ROUNDS];
    cab_rng_seed(&r, 1);
    b.v = malloc(b.n * sizeof *b.v);
    b.back = malloc(b.n * sizeof *b.back);
    b.i32 = malloc(b.n * sizeof *b.i32);
    b.half = malloc(b.n * sizeof *b.half);
    b.f64 = malloc(b.n * sizeof *b.f64);
    for (size_t i = 0; i < b.n; i++) {         /* as json.dumps writes a float32 array: doubles, ", " */
        b.v[i] = (float)cab_rng_f64(&r, 0, 1);
        char s[CAB_NUMBER_MAX];
        cab_bytes_str(&text, i ? ", " : "[");
        cab_bytes_put(&text, s, (size_t)(cab_f64_put(s, (double)b.v[i]) - s));
        cab_bytes_printf(&ints, "%s%d", i ? ", " : "[", (int)cab_rng_i64(&r, 0, 255));
    }
    cab_bytes_str(&text, "]");
    cab_bytes_str(&ints, "]");
    b.text = (cab_slice){ cab_bytes_cstr(&text), text.n };
    b.ints = (cab_slice){ ints.p, ints.n };
    printf("%zu numbers, %zu bytes\n", b.n, b.text.n);
    for (int k = 0; k < ROUNDS; k++)
        for (size_t i = 0; i < N_WAYS; i++) {
            double t = now_ms();
            ways[i].run(&b);
            ms[i][k] = now_ms() - t;
        }
    read_f32(&b);
    printf("%s\n", memcmp(b.v, b.back, b.n * sizeof *b.v) ? "NOT EQUAL" : "equal");
    for (size_t i = 0; i < N_WAYS; i++) {
        qsort(ms[i], ROUNDS, sizeof **ms, by_value);
        printf("%-26s %8.3f ms best %8.3f ms median %7.1f ns\n", ways[i].name, ms[i][0], ms[i][ROUNDS / 2],
               ms[i][ROUNDS / 2] * 1e6 / (double)b.n);
    }
    small_body();
    cab_bytes_fini(&text);
    cab_bytes_fini(&ints);
    cab_bytes_fini(&b.out);
    free(b.v), free(b.back), free(b.i32), free(b.half), free(b.f64);
    return 0;
}
