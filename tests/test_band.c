/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_band.c - launches that run band by band: which do, and that results are
 * those of naive code, and the same bytes for every number of threads.
 */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "codegen/codegen_int.h"
#include "passes/pass.h"
#include "runtime/runtime_int.h"
#include "tests/test.h"

static cab_job job;
static cab_arena *arena;
static cab_diag diag;

/* %Q heads x rows x 24, %K heads x 24 x keys, %V heads x keys x 24. */
#define ATTENTION(B, H, S, L, MASK, SCORES) \
    "graph @net(%q: f32[" B "," H "," S ",24], %k: f32[" B "," H ",24," L "], %v: f32[" B "," H "," L ",24]" \
    MASK ") -> (%y) core {\n" \
    "  %s0 = dot %q, %k {a_batch = [0, 1], b_batch = [0, 1], a_contract = [3], b_contract = [2]}\n" \
    SCORES \
    "  %m = reduce %s {op = \"max\", axes = [3]}\n" \
    "  %d = sub %s, %m\n" \
    "  %e = exp %d\n" \
    "  %t = reduce %e {op = \"sum\", axes = [3]}\n" \
    "  %p = div %e, %t\n" \
    "  %c = dot %p, %v {a_batch = [0, 1], b_batch = [0, 1], a_contract = [3], b_contract = [2]}\n" \
    "  %y = transpose %c {perm = [0, 2, 1, 3]}\n" \
    "}\n"
#define PLAIN "  %z = const f32[] 0\n  %s = add %s0, %z\n"
#define MASKED "  %h = const f32[] 0.25\n  %s1 = mul %s0, %h\n  %s = add %s1, %mask\n"

typedef struct example {
    const char *text;
    int64_t b, h, s, l;        /* extents of its inputs */
    int n_inputs, bands;
} example;

static cab_model *compile(const example *x, bool naive)
{
    static const cab_pass_options po;
    cab_codegen_options co = { .seal = true, .target = "native", .naive = naive };
    cab_graph *g;
    cab_program *p;
    cab_model *m;
    cab_error e;
    uint64_t size;
    int fd;
    CHECK_EQ(cab_graph_parse(arena, x->text, strlen(x->text), "net", &g, &diag), CAB_OK);
    CHECK_EQ(cab_passes_run_list(g, "fold,canon,fuse,cse,dce,layout,group,lower", &po, &p, &diag),
             CAB_OK);
    CHECK_EQ(cab_codegen(arena, p, &co, &fd, &size, &diag), CAB_OK);
    CHECK_EQ(cab_model_load_fd(fd, "net", NULL, &m, &e), CAB_OK);
    close(fd);
    return m;
}

static int count_bands(const cab_model *m)
{
    const cab_plan *p = cab_model_plan(m);
    int n = 0;
    for (uint32_t i = 0; i < p->header->n_instrs; i++)
        n += p->instrs[i].op == CAB_I_BAND;
    return n;
}

static float *numbers(int64_t n, unsigned seed)
{
    float *p = malloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return p;
}

/* The caller frees it. */
static float *run(cab_model *m, const example *x, int threads, int times, bool trace)
{
    int64_t b = x->b, h = x->h, s = x->s, l = x->l, n = b * s * h * 24;
    float *in[4] = { numbers(b * h * s * 24, 1), numbers(b * h * 24 * l, 2),
                     numbers(b * h * l * 24, 3), numbers(b * l, 4) };
    cab_tensor_view v[4] = { { 1, 4, { b, h, s, 24 }, in[0], (size_t)(b * h * s * 24) * 4 },
                             { 1, 4, { b, h, 24, l }, in[1], (size_t)(b * h * 24 * l) * 4 },
                             { 1, 4, { b, h, l, 24 }, in[2], (size_t)(b * h * l * 24) * 4 },
                             { 1, 4, { b, 1, 1, l }, in[3], (size_t)(b * l) * 4 } };
    float *y = malloc((size_t)n * sizeof *y);
    cab_session_options o = { .size = sizeof o, .threads = threads, .trace = trace };
    cab_session *session;
    cab_error e;
    CHECK_EQ(cab_session_create(m, &o, &session, &e), CAB_OK);
    for (int i = 0; i < times; i++) {
        cab_tensor_view out = { .data = y, .bytes = (size_t)n * 4 };
        uint64_t before = cab_session_allocations(session);
        CHECK_EQ(cab_session_run(session, v, &out, &e), CAB_OK);
        CHECK(i == 0 || cab_session_allocations(session) == before);
    }
    if (trace) {
        const cab_trace_event *t;
        size_t events;
        CHECK_EQ(cab_session_trace(session, &t, &events), CAB_OK);
        CHECK_EQ(events, 3);
        for (size_t i = 0; i < events; i++)
            CHECK(!strcmp(t[i].kind, "launch") && t[i].ns > 0);
    }
    cab_session_destroy(session);
    for (int i = 0; i < 4; i++)
        free(in[i]);
    return y;
}

static void check(const example *x)
{
    int64_t n = x->b * x->s * x->h * 24;
    cab_model *m = compile(x, false), *naive = compile(x, true);
    CHECK_EQ(count_bands(m), x->bands);
    CHECK_EQ(count_bands(naive), 0);
    float *want = run(naive, x, 1, 1, false), *one = run(m, x, 1, 2, false);
    for (int64_t i = 0; i < n; i++)
        CHECK(fabsf(one[i] - want[i]) <= 1e-5f);
    for (int threads = 2; threads < 5; threads++) {
        float *some = run(m, x, threads, 3, false);
        CHECK(!memcmp(one, some, (size_t)n * sizeof *one));
        free(some);
    }
    float *traced = run(m, x, 2, 1, x->bands > 0);
    CHECK(!memcmp(one, traced, (size_t)n * sizeof *one));
    free(traced);
    free(one);
    free(want);
    cab_model_destroy(m);
    cab_model_destroy(naive);
}

int main(void)
{
    static const example examples[] = {
        /* Rows that no block divides; softmax merges heads and rows. */
        { ATTENTION("1", "6", "397", "401", "", PLAIN), 1, 6, 397, 401, 3, 1 },
        /* Unknown extents, a mask for each batch. */
        { ATTENTION("B", "4", "S", "L", ", %mask: f32[B,1,1,L]", MASKED), 2, 4, 131, 90, 4, 1 },
        { ATTENTION("B", "4", "S", "L", ", %mask: f32[B,1,1,L]", MASKED), 1, 4, 1, 7, 4, 1 },
        /* Small enough to stay in L2 as it is. */
        { ATTENTION("1", "2", "16", "16", "", PLAIN), 1, 2, 16, 16, 3, 0 },
    };
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        check(&examples[i]);
    cab_diag_fini(&diag);
    cab_arena_destroy(arena);
    TEST_END();
}
