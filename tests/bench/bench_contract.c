/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_contract.c - speed of contraction kernels against the FMA peak.
 *
 * One thread.  The peak (tools/peak.c) is measured again beside every shape;
 * best of many runs each.  usage: bench_contract [name-part]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "tests/kernel_run.h"
#include "tools/peak.h"

static cab_arena *arena;
static cab_diag diag;
static cab_target target;

static void die(const char *what)
{
    const cab_diag_entry *e = cab_diag_first(&diag);
    fprintf(stderr, "%s: %s\n", what, e ? e->text : "");
    exit(EXIT_FAILURE);
}

/* ---- shapes ---- */

typedef struct shape {
    const char *name;
    int64_t m, n, k;           /* gemm when kh == 0 */
    int64_t oh, ow, kh, kw, stride, c;
    bool dynamic_b;            /* b is no constant */
} shape;

#define GEMM(m, n, k) { "gemm " #m "x" #n "x" #k, m, n, k, 0, 0, 0, 0, 0, 0, false }
#define GEMMD(m, n, k) { "gemm dyn b " #m "x" #n "x" #k, m, n, k, 0, 0, 0, 0, 0, 0, true }
#define CONV(h, c, n, kk, s) { "conv " #h "x" #h " " #c "->" #n " k" #kk " s" #s, 0, n, 0, h, h, kk, kk, s, c, false }

static const shape shapes[] = {
    GEMM(3136, 64, 576), GEMM(784, 128, 1152), GEMM(196, 256, 2304), GEMM(49, 512, 4608),
    GEMM(128, 384, 384), GEMM(128, 1536, 384), GEMM(128, 384, 1536), GEMM(256, 256, 256),
    GEMM(512, 512, 512), GEMM(1024, 1024, 1024), GEMM(3136, 256, 64), GEMM(3136, 64, 256), GEMM(784, 512, 128),
    GEMM(196, 1024, 256), GEMM(49, 2048, 512), GEMM(49, 512, 2048), GEMM(1, 1000, 2048),
    GEMM(1, 768, 768), GEMMD(128, 128, 64), GEMMD(128, 64, 128), GEMMD(512, 512, 512),
    CONV(56, 64, 64, 3, 1), CONV(28, 128, 128, 3, 1), CONV(14, 256, 256, 3, 1),
    CONV(7, 512, 512, 3, 1), CONV(28, 128, 128, 3, 2), CONV(112, 3, 64, 7, 2),
};

static const cab_dim *cst(cab_dims *d, int64_t v) { return cab_dim_const(d, v); }

static int view(cab_spec *s, int operand, const cab_affine *f)
{
    cab_view v = { .operand = operand, .dtype = CAB_DT_f32, .at = *f };
    return cab_spec_view(s, &v);
}

static const cab_expr *product(cab_spec *s, int a, int b)
{
    return cab_ex_scalar(s, CAB_EX_mul, CAB_DT_f32, cab_ex_load(s, a), cab_ex_load(s, b), NULL);
}

/* max(sum + bias, 0) */
static void finish(cab_spec *s, uint32_t red, const cab_expr *x, int n_axis, const cab_dim *n,
                   const cab_affine *out, const cab_dim *elems)
{
    cab_dims *d = s->dims;
    cab_affine f = cab_affine_zero(d);
    const cab_expr *r = cab_ex_result(s, cab_spec_reduce(s, red, CAB_RED_SUM, CAB_DT_f32, x));
    int bias = cab_spec_operand(s, CAB_DT_f32, false, n), o;

    cab_affine_add(d, &f, n_axis, cst(d, 1));
    r = cab_ex_scalar(s, CAB_EX_add, CAB_DT_f32, r, cab_ex_load(s, view(s, bias, &f)), NULL);
    r = cab_ex_scalar(s, CAB_EX_max, CAB_DT_f32, r, cab_ex_const(s, CAB_DT_f32, 0), NULL);
    o = cab_spec_operand(s, CAB_DT_f32, true, elems);
    cab_spec_store(s, 0, view(s, o, out), r);
}

static cab_spec *gemm(cab_dims *d, const shape *p)
{
    cab_spec *s = cab_spec_create(arena, d, "gemm", CAB_SPEC_CONTRACT);
    int m = cab_spec_axis(s, CAB_AXIS_PAR, cst(d, p->m), "m");
    int n = cab_spec_axis(s, CAB_AXIS_PAR, cst(d, p->n), "n");
    int k = cab_spec_axis(s, CAB_AXIS_RED, cst(d, p->k), "k"), a, b;
    cab_affine f = cab_affine_zero(d);

    cab_affine_add(d, &f, m, cst(d, p->k));
    cab_affine_add(d, &f, k, cst(d, 1));
    a = view(s, cab_spec_operand(s, CAB_DT_f32, false, cst(d, p->m * p->k)), &f);
    f = cab_affine_zero(d);
    cab_affine_add(d, &f, k, cst(d, p->n));
    cab_affine_add(d, &f, n, cst(d, 1));
    b = view(s, cab_spec_operand(s, CAB_DT_f32, false, cst(d, p->k * p->n)), &f);
    f = cab_affine_zero(d);
    cab_affine_add(d, &f, m, cst(d, p->n));
    cab_affine_add(d, &f, n, cst(d, 1));
    finish(s, 1u << k, product(s, a, b), n, cst(d, p->n), &f, cst(d, p->m * p->n));
    return s;
}

static cab_spec *conv(cab_dims *d, const shape *p)
{
    cab_spec *s = cab_spec_create(arena, d, "conv", CAB_SPEC_CONTRACT);
    int oh = cab_spec_axis(s, CAB_AXIS_PAR, cst(d, p->oh), "oh");
    int ow = cab_spec_axis(s, CAB_AXIS_PAR, cst(d, p->ow), "ow");
    int n = cab_spec_axis(s, CAB_AXIS_PAR, cst(d, p->n), "n");
    int kh = cab_spec_axis(s, CAB_AXIS_RED, cst(d, p->kh), "kh");
    int kw = cab_spec_axis(s, CAB_AXIS_RED, cst(d, p->kw), "kw");
    int c = cab_spec_axis(s, CAB_AXIS_RED, cst(d, p->c), "c"), a, b;
    int64_t ih = (p->oh - 1) * p->stride + p->kh, iw = (p->ow - 1) * p->stride + p->kw;
    cab_affine f = cab_affine_zero(d);

    cab_affine_add(d, &f, oh, cst(d, p->stride * iw * p->c));
    cab_affine_add(d, &f, kh, cst(d, iw * p->c));
    cab_affine_add(d, &f, ow, cst(d, p->stride * p->c));
    cab_affine_add(d, &f, kw, cst(d, p->c));
    cab_affine_add(d, &f, c, cst(d, 1));
    a = view(s, cab_spec_operand(s, CAB_DT_f32, false, cst(d, ih * iw * p->c)), &f);
    f = cab_affine_zero(d);
    cab_affine_add(d, &f, n, cst(d, p->c * p->kh * p->kw));
    cab_affine_add(d, &f, c, cst(d, p->kh * p->kw));
    cab_affine_add(d, &f, kh, cst(d, p->kw));
    cab_affine_add(d, &f, kw, cst(d, 1));
    b = view(s, cab_spec_operand(s, CAB_DT_f32, false, cst(d, p->n * p->c * p->kh * p->kw)), &f);
    f = cab_affine_zero(d);
    cab_affine_add(d, &f, oh, cst(d, p->ow * p->n));
    cab_affine_add(d, &f, ow, cst(d, p->n));
    cab_affine_add(d, &f, n, cst(d, 1));
    finish(s, 7u << kh, product(s, a, b), n, cst(d, p->n), &f, cst(d, p->oh * p->ow * p->n));
    return s;
}

static float *floats(uint64_t n)
{
    float *p = aligned_alloc(64, (n * 4 + 127) / 64 * 64);

    for (uint64_t i = 0; i < n; i++)
        p[i] = (float)((i * 7919 % 1000) / 1000.0 - 0.5);
    return p;
}

static void override(cab_sched *s)
{
    const char *e = getenv("BENCH_TILE");   /* mr,nv,ku */
    if (e)
        sscanf(e, "%d,%d,%d", &s->mr, &s->nv, &s->ku);
    if (e) {
        int w = s->nv * s->lanes;
        s->n_block = (s->n_block + w - 1) / w * w;
    }
}

/* Processor time of this thread. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void bench(const shape *p)
{
    cab_dims *d = cab_dims_create(arena);
    cab_spec *s = p->kh ? conv(d, p) : gemm(d, p);
    bool constant[4] = { false, !p->dynamic_b, true, false };
    cab_sched sched;
    cab_kernel k;
    loaded l;
    const cab_kir *all[1];
    void *bufs[8];
    int64_t ints[1] = { 0 }, tasks, t0, t1, t2;
    double best = 1e30, peak = 0, flops;
    cab_buf text = cab_buf_on(arena);
    kernel_fn f;

    cab_spec_simplify(s);
    t0 = cpu_ns();
    sched = cab_sched_choose(s, &target, constant, false);
    override(&sched);
    if (cab_generate(arena, s, &sched, &target, "k", &k, &diag) != CAB_OK ||
        cab_kir_verify(k.kir, &diag) != CAB_OK)
        die(p->name);
    t1 = cpu_ns();
    all[0] = k.kir;
    if (load_kernels(arena, all, 1, &target, &l, &diag) != CAB_OK)
        die(p->name);
    t2 = cpu_ns();
    for (int i = 0; i < 3; i++) {   /* the first compilation also warms up */
        loaded again;
        int64_t a = cpu_ns();
        if (load_kernels(arena, all, 1, &target, &again, &diag) != CAB_OK)
            die(p->name);
        t2 = cpu_ns() - a < t2 - t1 ? t1 + cpu_ns() - a : t2;
        unload(&again);
    }
    f = loaded_find(&l, "k");
    for (int i = 0; i < s->n_operands; i++) {
        bufs[i] = floats((uint64_t)s->operands[i].elems->value);
        if (k.n_packs && k.packs[0].operand == i) {
            void *packed = floats(packed_elems(&k.packs[0]));
            pack_operand(&k.packs[0], bufs[i], packed);
            free(bufs[i]);
            bufs[i] = packed;
        }
    }
    tasks = k.n_tasks->value;
    flops = p->kh ? 2.0 * (double)(p->oh * p->ow * p->n * p->kh * p->kw * p->c)
                  : 2.0 * (double)(p->m * p->n * p->k);
    for (int r = 0; r < 12; r++) {
        double g = peak_fma(target.vector_bytes, 1);
        int64_t until = cab_now_ns() + 15000000, a, b;
        peak = g > peak ? g : peak;
        do {
            a = cab_now_ns();
            f(bufs, ints, 0, tasks);
            b = cab_now_ns();
            best = (double)(b - a) < best ? (double)(b - a) : best;
        } while (b < until);
    }
    cab_sched_print(&text, &sched);
    printf("%-26s %8.3f ms %7.1f GFLOP/s %5.1f %% of %.1f  tasks %3d  gen %.2f llvm %.1f ms  %5zu B %s\n",
           p->name, best / 1e6, flops / best, 100 * flops / best / peak, peak, (int)tasks,
           (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6, l.bytes, cab_buf_cstr(&text));
    fflush(stdout);
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
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (argc < 2 || strstr(shapes[i].name, argv[1]))
            bench(&shapes[i]);
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    return EXIT_SUCCESS;
}
