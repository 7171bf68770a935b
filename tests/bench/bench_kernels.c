/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_kernels.c - kernels against what the machine can do, and against
 * libraries.
 *
 *   bench_kernels [--json FILE] [--peers FOLDER:FOLDER] [--rounds N] [NAME-PART]...
 *
 * One thread.  A row is a layer as the compiler makes it (layer.h): layout,
 * halo, packed weights, epilogue.  It is timed over and over on the same
 * memory; every round times each engine for a few milliseconds and takes the
 * best call, and shown is the best round.  In the same rounds the machine is measured:
 * multiply-adds, and reads of a buffer as large as what the row touches.
 * A row's part is of what bounds it: multiply-adds, bytes read, or (rows with
 * exp) the longer of both, a call of exp and its kin as 16 operations.
 * kernels.py runs this, compares with stored figures and prints.
 */
#include "tests/bench/layer.h"
#include "tests/bench/peers.h"
#include "tools/peak.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_ROUNDS = 101 };
#define SLICE_NS 6000000
#define SPECIAL_OPS 16

typedef enum kind { GEMM, PRODUCT, CONV, PAIR, WINO, SOFTMAX, NORM } kind;
typedef enum basis { FMA, READ, BOUND } basis;
static const char *const basis_names[] = { "fma", "read", "bound" };

typedef struct row {
    const char *name;
    kind kind;
    basis of;
    int64_t m, n, k;                       /* GEMM; rows and columns of SOFTMAX, NORM */
    int64_t h, c, o, kernel, stride, group;
} row;

#define ROW_GEMM(m, n, k) { "gemm " #m "x" #n "x" #k, GEMM, FMA, m, n, k, 0, 0, 0, 0, 0, 0 }
/* b is no constant: it is not packed. */
#define ROW_PRODUCT(m, n, k) { "product " #m "x" #n "x" #k, PRODUCT, FMA, m, n, k, 0, 0, 0, 0, 0, 0 }
#define ROW_GEMV(n, k) { "gemv 1x" #n "x" #k, GEMM, READ, 1, n, k, 0, 0, 0, 0, 0, 0 }
#define ROW_CONV(h, c, o, k, s) \
    { "conv " #h "x" #h "x" #c "->" #o " " #k "x" #k " s" #s, CONV, FMA, 0, 0, 0, h, c, o, k, s, 1 }
#define ROW_PAIR(h, c, o) \
    { "conv pair " #h "x" #h "x" #c "->" #o "->" #c " 1x1", PAIR, FMA, 0, 0, 0, h, c, o, 1, 1, 1 }
#define ROW_DW(h, c, k, s) \
    { "depthwise " #h "x" #h "x" #c " " #k "x" #k " s" #s, CONV, READ, 0, 0, 0, h, c, c, k, s, c }
#define ROW_WINO(h, c, o) { "winograd " #h "x" #h "x" #c "->" #o, WINO, FMA, 0, 0, 0, h, c, o, 3, 1, 1 }

static const row rows[] = {
    ROW_GEMM(256, 256, 256), ROW_GEMM(512, 512, 512), ROW_GEMM(1024, 1024, 1024),
    ROW_GEMM(2048, 2048, 2048), ROW_GEMM(128, 768, 768), ROW_GEMM(128, 3072, 768),
    ROW_GEMM(128, 768, 3072), ROW_GEMM(128, 384, 384), ROW_GEMM(128, 1536, 384),
    ROW_GEMM(128, 384, 1536), ROW_GEMM(3136, 64, 64), ROW_GEMM(3136, 64, 576),
    ROW_GEMM(3136, 256, 64), ROW_GEMM(3136, 64, 256), ROW_GEMM(784, 128, 1152),
    ROW_GEMM(784, 512, 128), ROW_GEMM(784, 128, 512), ROW_GEMM(196, 256, 2304),
    ROW_GEMM(196, 1024, 256), ROW_GEMM(196, 256, 1024), ROW_GEMM(49, 512, 4608),
    ROW_GEMM(49, 2048, 512), ROW_GEMM(49, 512, 2048),
    ROW_PRODUCT(128, 128, 64), ROW_PRODUCT(128, 64, 128), ROW_PRODUCT(512, 512, 512),
    ROW_GEMV(768, 768), ROW_GEMV(2048, 1000), ROW_GEMV(1000, 2048), ROW_GEMV(4096, 4096),
    ROW_CONV(56, 64, 64, 3, 1), ROW_CONV(28, 128, 128, 3, 1), ROW_CONV(14, 256, 256, 3, 1),
    ROW_CONV(7, 512, 512, 3, 1), ROW_CONV(56, 128, 128, 3, 2), ROW_CONV(28, 256, 256, 3, 2),
    ROW_CONV(14, 512, 512, 3, 2), ROW_CONV(56, 256, 512, 1, 2), ROW_CONV(224, 3, 64, 7, 2),
    ROW_CONV(224, 3, 32, 3, 2),
    ROW_CONV(56, 64, 256, 1, 1), ROW_CONV(56, 256, 64, 1, 1), ROW_CONV(28, 128, 512, 1, 1),
    ROW_CONV(28, 512, 128, 1, 1), ROW_CONV(14, 256, 1024, 1, 1), ROW_CONV(14, 1024, 256, 1, 1),
    ROW_CONV(7, 512, 2048, 1, 1), ROW_CONV(7, 2048, 512, 1, 1),
    ROW_PAIR(56, 64, 256), ROW_PAIR(28, 128, 512), ROW_PAIR(14, 256, 1024), ROW_PAIR(7, 512, 2048),
    ROW_DW(112, 32, 3, 1), ROW_DW(56, 144, 3, 1), ROW_DW(14, 384, 3, 1), ROW_DW(7, 960, 3, 1),
    ROW_DW(112, 96, 3, 2), ROW_DW(28, 240, 5, 1), ROW_DW(14, 672, 5, 1), ROW_DW(7, 1152, 5, 1),
    ROW_DW(14, 576, 3, 2), ROW_DW(56, 96, 7, 1),
    ROW_WINO(56, 64, 64), ROW_WINO(28, 128, 128), ROW_WINO(14, 256, 256),
    { "softmax 1536x128", SOFTMAX, BOUND, 1536, 128, 0, 0, 0, 0, 0, 0, 0 },
    { "layernorm 128x768", NORM, BOUND, 128, 768, 0, 0, 0, 0, 0, 0, 0 },
};

static cab_arena *arena;
static cab_diag diag;
static cab_target target;
static int rounds = 7;
static const char *peer_folders;

static void die(const char *what)
{
    const cab_diag_entry *e = cab_diag_first(&diag);

    fprintf(stderr, "bench_kernels: %s: %s\n", what, e ? e->text : "");
    exit(EXIT_FAILURE);
}

/* ---- rows as graphs ---- */

static const char *row_text(const row *r)
{
    long long m = r->m, n = r->n;

    switch (r->kind) {
    case GEMM:
    case PRODUCT: return layer_product_text(arena, r->m, r->n, r->k, r->kind == GEMM);
    case PAIR: return layer_pair_text(arena, r->h, r->c, r->o);
    case SOFTMAX:
        return cab_printf(arena, "graph @row(%%x: f32[%lld,%lld]) -> (%%y) onnx {\n"
                          "  %%y = Softmax %%x {axis = -1} : none[] loc \"layer\" \"Softmax\" 13\n}\n", m, n);
    case NORM:
        return cab_printf(arena, "graph @row(%%x: f32[%lld,%lld], %%w: f32[%lld], %%b: f32[%lld]) -> (%%y) onnx {\n"
                          "  %%y = LayerNormalization %%x, %%w, %%b {axis = -1} : none[] loc \"layer\" "
                          "\"LayerNormalization\" 17\n}\n", m, n, n, n);
    default: return layer_conv_text(arena, r->h, r->c, r->o, r->kernel, r->stride, r->group);
    }
}

/* ---- engines: 0 is ours ---- */

typedef struct engines {
    layer l;
    int n_peers;
    peer_call peer[PEER_CALLS];
    float *x;                  /* what the peers' convolution reads */
    double best[1 + PEER_CALLS], round[1 + PEER_CALLS][MAX_ROUNDS];    /* ns */
    double error[PEER_CALLS];  /* largest difference to ours, of the largest value */
} engines;

static void open_peers(const row *r, engines *e)
{
    if (peer_folders && (r->kind == GEMM || r->kind == PRODUCT))
        e->n_peers = peers_gemm(&(peer_gemm){ r->m, r->n, r->k, e->l.in, e->l.w }, e->peer);
    if (!peer_folders || (r->kind != CONV && r->kind != WINO))
        return;
    e->x = layer_input(&e->l);
    if (!e->x)
        die("what the layer reads");
    e->n_peers = peers_conv(&(peer_conv){ r->h, r->c, r->o, r->kernel, r->stride, r->group, e->x,
                                          e->l.w, e->l.bias }, e->peer);
}

static void compare_results(engines *e)
{
    for (int p = 0; p < e->n_peers; p++) {
        e->peer[p].run(&e->peer[p]);
        const float *y = e->peer[p].result(&e->peer[p]);
        double worst = 0, top = 1e-30;
        for (uint64_t i = 0; i < e->l.n_out; i++) {
            worst = fmax(worst, fabs((double)y[i] - (double)e->l.out[i]));
            top = fmax(top, fabs((double)e->l.out[i]));
        }
        e->error[p] = worst / top;
    }
}

static void call(engines *e, int engine)
{
    if (engine)
        e->peer[engine - 1].run(&e->peer[engine - 1]);
    else
        layer_run_timed(&e->l);
}

/* Processor time of this thread. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ns of a call, without what other threads took meanwhile: a long one hardly
 * ever has the processor for itself where others work too. */
static double time_call(engines *e, int engine)
{
    int64_t cpu = cpu_ns(), wall = cab_now_ns();

    call(e, engine);
    wall = cab_now_ns() - wall;
    cpu = cpu_ns() - cpu;
    return (double)(cpu < wall ? cpu : wall);
}

/* Best call of a few milliseconds. */
static double slice(engines *e, int engine)
{
    double best = 1e30, ns;
    int64_t until = cab_now_ns() + SLICE_NS;

    do {
        ns = time_call(e, engine);
        best = ns < best ? ns : best;
    } while (cab_now_ns() < until);
    return best;
}

/* What the machine does beside a row. */
typedef struct limits {
    int vector_bytes;
    double fma, read;          /* GFLOP/s; GB/s of a buffer as large as what the row touches */
} limits;

static void raise(double *best, double v) { *best = v > *best ? v : *best; }

static void measure(limits *m, double bytes)
{
    raise(&m->fma, peak_fma(m->vector_bytes, 1));
    raise(&m->read, peak_read(m->vector_bytes, (uint64_t)bytes, 1));
}

static void time_all(engines *e, limits *m)
{
    for (int i = 0; i <= e->n_peers; i++)
        e->best[i] = 1e30;
    for (int r = 0; r < rounds; r++) {
        measure(m, e->l.bytes);
        for (int k = 0; k <= e->n_peers; k++) {    /* each round begins with another */
            int i = (k + r) % (e->n_peers + 1);
            double ns = e->round[i][r] = slice(e, i);
            e->best[i] = ns < e->best[i] ? ns : e->best[i];
        }
    }
}

/* ---- figures ---- */

typedef struct figures { double fma, read, bound, part; } figures;

/* Operations of the layer as it is defined (WINO: of the direct form). */
static double flops_of(const row *r, const layer *l)
{
    int64_t out = r->stride ? (r->h - 1) / r->stride + 1 : 0;

    return r->kind == GEMM || r->kind == PRODUCT ? 2.0 * (double)(r->m * r->n * r->k)
         : r->kind == PAIR ? 4.0 * (double)(r->h * r->h * r->c * r->o)
         : r->kind == CONV || r->kind == WINO
             ? 2.0 * (double)(out * out * r->o * (r->c / r->group) * r->kernel * r->kernel)
             : l->flops;
}

static figures judge(const row *r, const layer *l, const limits *p, double ns)
{
    double ops = flops_of(r, l) / p->fma, bytes = l->bytes / p->read;
    double work = (l->flops + SPECIAL_OPS * l->special) / p->fma;
    figures f = { ops / ns, bytes / ns, (work > bytes ? work : bytes) / ns, 0 };

    f.part = r->of == FMA ? f.fma : r->of == READ ? f.read : f.bound;
    return f;
}

/* The number of the fastest peer; 0: there is none. */
static int fastest(const engines *e)
{
    int best = 0;

    for (int i = 1; i <= e->n_peers; i++)
        if (!best || e->best[i] < e->best[best])
            best = i;
    return best;
}

static void print_row(const row *r, const engines *e, const figures *f, const limits *p)
{
    int best = fastest(e);

    printf("%-34s %10.2f us %8.1f GFLOP/s %6.1f %% of %-5s (%.1f GFLOP/s, %.1f GB/s)", r->name,
           e->best[0] / 1e3, flops_of(r, &e->l) / e->best[0], 100 * f->part, basis_names[r->of], p->fma, p->read);
    if (best)
        printf("   %s: %.2f us, ratio %.2f", e->peer[best - 1].peer, e->best[best] / 1e3,
               e->best[best] / e->best[0]);
    printf("\n");
    for (int i = 0; i < e->n_peers; i++)
        if (!(e->error[i] < 1e-3))
            printf("  %s gives something else: %.2g of the largest value\n", e->peer[i].peer, e->error[i]);
    fflush(stdout);
}

/* ---- JSON ---- */

static void json_times(FILE *f, const double *ns)
{
    fprintf(f, "[");
    for (int i = 0; i < rounds; i++)
        fprintf(f, "%s%.3f", i ? ", " : "", ns[i] / 1e3);
    fprintf(f, "]");
}

static void json_row(FILE *f, const row *r, const engines *e, const figures *g, const limits *p, bool first)
{
    const layer *l = &e->l;

    fprintf(f, "%s\n  {\"name\": \"%s\", \"us\": %.3f, \"rounds_us\": ", first ? "" : ",", r->name,
            e->best[0] / 1e3);
    json_times(f, e->round[0]);
    fprintf(f, ", \"of\": \"%s\", \"part\": %.4f, \"gflops\": %.2f, \"gbytes\": %.2f, \"fma_part\": %.4f, "
            "\"read_part\": %.4f, \"bound_part\": %.4f, \"fma_gflops\": %.2f, \"read_gbytes\": %.2f,\n   "
            "\"kernels\": [", basis_names[r->of], g->part, flops_of(r, l) / e->best[0],
            l->bytes / e->best[0], g->fma, g->read, g->bound, p->fma, p->read);
    for (int i = 0, n = 0; i < l->n; i++)
        if (l->step[i].timed)
            fprintf(f, "%s{\"what\": \"%s\", \"sched\": \"%s\", \"code_bytes\": %zu}", n++ ? ", " : "",
                    l->step[i].what, l->step[i].sched, l->step[i].code.bytes);
    fprintf(f, "],\n   \"peers\": {");
    for (int i = 0; i < e->n_peers; i++) {
        fprintf(f, "%s\"%s\": {\"us\": %.3f, \"rounds_us\": ", i ? ", " : "", e->peer[i].peer,
                e->best[i + 1] / 1e3);
        json_times(f, e->round[i + 1]);
        fprintf(f, ", \"error\": %.3g, \"how\": \"%s\"}", e->error[i], e->peer[i].how);
    }
    fprintf(f, "}}");
    fflush(f);
}

static void json_machine(FILE *f)
{
    peaks all, *p = &all;

    peaks_init(p, 1);
    for (int i = 0; i < 3; i++)
        peaks_measure(p);
    fprintf(f, "{\"machine\": {\"cpu\": \"%s\", \"vector_bytes\": %d, \"l2_bytes\": %llu, \"l3_bytes\": %llu, "
            "\"fma_gflops\": %.2f, \"read_l2_gbytes\": %.2f, \"read_l3_gbytes\": %.2f, "
            "\"read_memory_gbytes\": %.2f},\n \"rows\": [", target.cpu, target.vector_bytes,
            (unsigned long long)p->l2_bytes, (unsigned long long)p->l3_bytes, p->fma, p->read_l2, p->read_l3,
            p->read_memory);
}

/* ---- a row ---- */

static void bench(const row *r, FILE *json, bool first)
{
    cab_mark m = cab_arena_mark(arena);
    engines *e = calloc(1, sizeof *e);
    limits p = { .vector_bytes = target.vector_bytes };
    figures f;

    if (!e || layer_make(arena, row_text(r), r->kind != WINO, &target, &e->l, &diag) != CAB_OK)
        die(r->name);
    layer_run(&e->l);
    open_peers(r, e);
    compare_results(e);
    time_all(e, &p);
    f = judge(r, &e->l, &p, e->best[0]);
    print_row(r, e, &f, &p);
    if (json)
        json_row(json, r, e, &f, &p, first);
    layer_free(&e->l);
    free(e->x);
    free(e);
    cab_arena_release(arena, m);
}

static bool asked(const row *r, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strstr(r->name, argv[i]))
            return true;
    return argc == 0;
}

static void bench_all(int argc, char **argv, FILE *json)
{
    bool none = true;

    if (json)
        json_machine(json);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (asked(&rows[i], argc, argv)) {
            bench(&rows[i], json, none);
            none = false;
        }
    if (!json)
        return;
    fprintf(json, "]}\n");
    fclose(json);
}

static int options(int argc, char **argv, FILE **json)
{
    int i = 1;

    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        if (!strcmp(argv[i], "--json"))
            *json = fopen(argv[i + 1], "we");
        else if (!strcmp(argv[i], "--peers"))
            peer_folders = argv[i + 1];
        else if (!strcmp(argv[i], "--rounds"))
            rounds = atoi(argv[i + 1]);
    }
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    return i;
}

int main(int argc, char **argv)
{
    static cab_job job;
    static FILE *json;
    static int first;

    first = options(argc, argv, &json);
    cab_diag_init(&diag);
    if (CAB_JOB_ENTER(&job))
        return EXIT_FAILURE;
    arena = cab_arena_create(&job);
    if (cab_target_get(arena, getenv("BENCH_TARGET"), &target, &diag) != CAB_OK)
        die("target");
    if (peer_folders)
        peers_open(peer_folders);
    bench_all(argc - first, argv + first, json);
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    return EXIT_SUCCESS;
}
