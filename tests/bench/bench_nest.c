/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_nest.c - speed of map, row and window kernels; one thread.
 *
 * Prints nanoseconds per output element, best of many runs, the compile time
 * and the schedule.  Specs are read as text.  usage: bench_nest [name-part]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "tests/kernel_run.h"
#include "ir/spec_scan.h"

static cab_arena *arena;
static cab_diag diag;
static cab_target target;

typedef struct row { const char *name; double elems; const char *text; } row;

static const row rows[] = {
    { "add 1M", 1 << 20,
      "axis i par 1048576\n operand 0 f32 in elems 1048576\n operand 1 f32 in elems 1048576\n"
      "operand 2 f32 out elems 1048576\n view 0 = operand 0 [0; i: 1]\n view 1 = operand 1 [0; i: 1]\n"
      "view 2 = operand 2 [0; i: 1]\n store v2 over () add(v0, v1)\n" },
    { "gelu 128x3072", 128 * 3072,
      "axis i par 393216\n operand 0 f32 in elems 393216\n operand 1 f32 out elems 393216\n"
      "view 0 = operand 0 [0; i: 1]\n view 1 = operand 1 [0; i: 1]\n"
      "store v1 over () mul(mul(v0, 0.5:f32), add(erf(mul(v0, 0.70710678:f32)), 1:f32))\n" },
    { "exp 64k", 65536,
      "axis i par 65536\n operand 0 f32 in elems 65536\n operand 1 f32 out elems 65536\n"
      "view 0 = operand 0 [0; i: 1]\n view 1 = operand 1 [0; i: 1]\n store v1 over () exp(v0)\n" },
    { "softmax 1536x128", 1536 * 128,
      "axis m par 1536\n axis k red 128\n operand 0 f32 in elems 196608\n operand 1 f32 out elems 196608\n"
      "view 0 = operand 0 [0; m: 128, k: 1]\n view 1 = operand 1 [0; m: 128, k: 1]\n"
      "r0 = max f32 over (k) v0\n t0 = exp(sub(v0, r0))\n r1 = sum f32 over (k) t0\n"
      "store v1 over (k) div(t0, r1)\n" },
    { "layernorm 128x768", 128 * 768,
      "axis m par 128\n axis k red 768\n operand 0 f32 in elems 98304\n operand 1 f32 in elems 768\n"
      "operand 2 f32 in elems 768\n operand 3 f32 out elems 98304\n view 0 = operand 0 [0; m: 768, k: 1]\n"
      "view 1 = operand 1 [0; k: 1]\n view 2 = operand 2 [0; k: 1]\n view 3 = operand 3 [0; m: 768, k: 1]\n"
      "r0 = sum f32 over (k) v0\n t0 = div(r0, 768:f32)\n t1 = sub(v0, t0)\n"
      "r1 = sum f32 over (k) mul(t1, t1)\n"
      "store v3 over (k) add(mul(div(t1, sqrt(add(div(r1, 768:f32), 1e-5:f32))), v1), v2)\n" },
    { "depthwise 3x3 112x112x32", 112 * 112 * 32,
      "axis h par 112\n axis w par 112\n axis c par 32\n axis kh red 3\n axis kw red 3\n"
      "operand 0 f32 in elems 415872\n operand 1 f32 in elems 288\n operand 2 f32 out elems 401408\n"
      "view 0 = operand 0 [0; h: 3648, w: 32, c: 1, kh: 3648, kw: 32]\n"
      "view 1 = operand 1 [0; c: 1, kh: 96, kw: 32]\n view 2 = operand 2 [0; h: 3584, w: 32, c: 1]\n"
      "r0 = sum f32 over (kh, kw) mul(v0, v1)\n store v2 over () max(r0, 0:f32)\n" },
    { "maxpool 3x3 s2 112->56 x64", 56 * 56 * 64,
      "axis h par 56\n axis w par 56\n axis c par 64\n axis kh red 3\n axis kw red 3\n"
      "operand 0 f32 in elems 802816\n operand 1 f32 out elems 200704\n"
      "view 0 = operand 0 [-7232; h: 14336, w: 128, c: 1, kh: 7168, kw: 64] "
      "guard [-1; h: 2, kh: 1] in 112 guard [-1; w: 2, kw: 1] in 112 fill -inf\n"
      "view 1 = operand 1 [0; h: 3584, w: 64, c: 1]\n"
      "r0 = max f32 over (kh, kw) v0\n store v1 over () r0\n" },
    { "global avgpool 7x7x2048", 2048,
      "axis c par 2048\n axis k red 49\n operand 0 f32 in elems 100352\n operand 1 f32 out elems 2048\n"
      "view 0 = operand 0 [0; c: 1, k: 2048]\n view 1 = operand 1 [0; c: 1]\n"
      "r0 = sum f32 over (k) v0\n store v1 over () div(r0, 49:f32)\n" },
    { "transpose 768x512", 768 * 512,
      "axis i par 512\n axis j par 768\n operand 0 f32 in elems 393216\n operand 1 f32 out elems 393216\n"
      "view 0 = operand 0 [0; i: 1, j: 512]\n view 1 = operand 1 [0; i: 768, j: 1]\n"
      "store v1 over () v0\n" },
    { "nchw->nhwc 3x224x224", 3 * 224 * 224,
      "axis i par 50176\n axis c par 3\n operand 0 f32 in elems 150528\n operand 1 f32 out elems 150528\n"
      "view 0 = operand 0 [0; i: 1, c: 50176]\n view 1 = operand 1 [0; i: 3, c: 1]\n"
      "store v1 over () v0\n" },
    { "f16->f32 1M", 1 << 20,
      "axis i par 1048576\n operand 0 f16 in elems 1048576\n operand 1 f32 out elems 1048576\n"
      "view 0 = operand 0 [0; i: 1]\n view 1 = operand 1 [0; i: 1]\n store v1 over () cast:f32(v0)\n" },
    { "row argmax 128x1000", 128 * 1000,
      "axis m par 128\n axis k red 1000\n operand 0 f32 in elems 128000\n operand 1 i64 out elems 128\n"
      "view 0 = operand 0 [0; m: 1000, k: 1]\n view 1 = operand 1 [0; m: 1]\n"
      "r0 = argmax f32 over (k) v0\n store v1 over () r0\n" },
};

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what)
{
    const cab_diag_entry *e = cab_diag_first(&diag);
    fprintf(stderr, "%s: %s: %s\n", what, e ? e->where : "", e ? e->text : "");
    exit(EXIT_FAILURE);
}

static const cab_spec *parse(const row *r)
{
    const char *text = cab_printf(arena, "spec @s map {\n%s}\n", r->text);
    cab_scan p = { .a = arena, .dims = cab_dims_create(arena), .file = r->name, .d = &diag,
                   .specs = cab_map_create(arena) };

    if (cab_scan_start(&p, text, strlen(text)) != CAB_OK || cab_parse_spec(&p) != CAB_OK)
        die(r->name);
    return p.spec;
}

static void bench(const row *r)
{
    const cab_spec *s = parse(r);
    bool constant[8] = { false };
    cab_sched sched = cab_sched_choose(s, &target, constant, getenv("BENCH_NAIVE") != NULL);
    cab_kernel k;
    loaded l;
    const cab_kir *all[1];
    void *bufs[8];
    int64_t t0, t1, best = INT64_MAX;
    cab_buf text = cab_buf_on(arena);
    kernel_fn f;

    if (cab_generate(arena, s, &sched, &target, "k", &k, &diag) != CAB_OK ||
        cab_kir_verify(k.kir, &diag) != CAB_OK)
        die(r->name);
    all[0] = k.kir;
    t0 = cpu_ns();
    if (load_kernels(arena, all, 1, &target, &l, &diag) != CAB_OK)
        die(r->name);
    t1 = cpu_ns();
    f = loaded_find(&l, "k");
    for (int i = 0; i < s->n_operands; i++) {
        uint64_t n = (uint64_t)s->operands[i].elems->value;
        bufs[i] = aligned_alloc(64, (n * 8 + 127) / 64 * 64);
        memset(bufs[i], 0x3d, n * 8);
    }
    for (int64_t until = cab_now_ns() + 150000000, a, b = 0; b < until;) {
        a = cab_now_ns();
        f(bufs, NULL, 0, k.n_tasks->value);
        b = cab_now_ns();
        best = b - a < best ? b - a : best;
    }
    cab_sched_print(&text, &sched);
    printf("%-28s %9.1f us %7.3f ns/elem  tasks %4d  llvm %5.1f ms %5zu B  %s\n", r->name,
           (double)best / 1e3, (double)best / r->elems, (int)k.n_tasks->value,
           (double)(t1 - t0) / 1e6, l.bytes, cab_buf_cstr(&text));
    for (int i = 0; i < s->n_operands; i++)
        free(bufs[i]);
    unload(&l);
}

int main(int argc, char **argv)
{
    static cab_job job;

    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    if (cab_target_get(arena, getenv("BENCH_TARGET"), &target, &diag) != CAB_OK)
        die("target");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (argc < 2 || strstr(rows[i].name, argv[1]))
            bench(&rows[i]);
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    return EXIT_SUCCESS;
}
