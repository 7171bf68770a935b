/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tiles.c - register tiles stay in registers.
 *
 * Layers of every family that has a tile are compiled for each level of
 * x86-64; in the assembly of their kernels, no innermost loop that multiplies
 * and adds may touch the stack with a vector (LLVM spills what does not fit).
 * That the test can see a spill is tested too: with tiles too large.  And tiles
 * ask for panels ahead, at most a line a step, and for what their stores read.
 */
#include <ctype.h>
#include "tests/bench/layer.h"
#include "tests/test.h"

static cab_job job;
static cab_arena *arena;
static cab_diag diag;

/* ---- assembly ---- */

typedef struct line { const char *p; size_t n; } line;
typedef CAB_VEC(line) lines;

static lines split(const char *text)
{
    lines all = { 0 };

    for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        line one = { p, strcspn(p, "\n") };
        cab_vec_push(arena, &all, one);
    }
    return all;
}

static bool has(line l, const char *what) { return memmem(l.p, l.n, what, strlen(what)) != NULL; }

/* The line of the label that a jump of this line goes back to; -1. */
static int back_to(const lines *all, int at)
{
    line l = all->p[at];
    const char *dot = memmem(l.p, l.n, "\t.L", 3);
    size_t n;

    if (!dot || l.n < 2 || l.p[0] != '\t' || l.p[1] != 'j')
        return -1;
    n = (size_t)(l.p + l.n - ++dot);
    while (n && isspace((unsigned char)dot[n - 1]))
        n--;
    for (int i = at - 1; i >= 0; i--)
        if (all->p[i].n > n && !memcmp(all->p[i].p, dot, n) && all->p[i].p[n] == ':')
            return i;
    return -1;
}

static bool vector(line l) { return has(l, "%xmm") || has(l, "%ymm") || has(l, "%zmm"); }

static bool multiplies(line l)
{
    return has(l, "\tvfmadd") || has(l, "\tvfnmadd") || has(l, "\tmulps");
}

typedef struct finding {
    int loops, spills, products;
    int hints, loop_hints;     /* prefetches: all, those in the loops */
    int tile;                  /* multiply-adds per step */
    line first;
    const char *sched;
} finding;

static void look_at_loop(const lines *all, int from, int to, bool frame, finding *f)
{
    int products = 0;

    for (int i = from; i < to; i++) {
        products += multiplies(all->p[i]);
        if (i > from && back_to(all, i) >= from)
            return;            /* there is one inside */
    }
    if (products < 4)
        return;
    f->loops++;
    f->products += products;
    for (int i = from; i < to; i++) {
        line l = all->p[i];
        f->loop_hints += has(l, "\tprefetch");
        if (!vector(l) || !(has(l, "(%rsp") || (frame && has(l, "(%rbp"))))
            continue;
        if (!f->spills++)
            f->first = l;
    }
}

/* Innermost loops with products, and accesses to the stack by vectors in them. */
static finding look(const char *assembly)
{
    lines all = split(assembly);
    finding f = { 0 };
    bool frame = strstr(assembly, "movq\t%rsp, %rbp") != NULL;

    for (int i = 0; i < (int)all.n; i++) {
        int from = back_to(&all, i);
        f.hints += has(all.p[i], "\tprefetch");
        if (from >= 0)
            look_at_loop(&all, from, i, frame, &f);
    }
    return f;
}

/* ---- kernels ---- */

typedef struct tile { int mr, nv; } tile;      /* 0: what the schedule says */

static finding compile(const cab_program *p, const cab_step *s, const cab_target *t, tile wish)
{
    bool constant[LAYER_BUFS] = { false };
    cab_object o = { .want_text = true };
    cab_buf text = cab_buf_on(arena);
    const cab_kir *all[1];
    finding f = { 0 };
    cab_sched how;
    cab_kernel k;

    for (int i = 0; i < s->n_args; i++)
        constant[i] = p->buffers.p[s->args[i]].kind == CAB_BUFFER_CONST;
    how = cab_sched_choose(s->spec, t, constant, false);
    if (wish.mr) {
        how.mr = wish.mr;
        how.nv = wish.nv;
        how.n_block = how.nv * how.lanes;
    }
    CHECK_EQ(cab_generate(arena, s->spec, &how, t, "k", &k, &diag), CAB_OK);
    all[0] = k.kir;
    CHECK_EQ(cab_llvm_object(all, 1, t, &o, &diag), CAB_OK);
    f = look(o.assembly);
    cab_sched_print(&text, &how);
    f.sched = cab_buf_cstr(&text);
    f.tile = how.mr * how.nv;
    if (f.spills)
        f.first.p = cab_strndup(arena, f.first.p, f.first.n);
    cab_object_fini(&o);
    return f;
}

static const char *const levels[] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };

/* Kernels with products, of a layer, for each level. */
static void check(const char *name, const char *text, bool exact)
{
    cab_mark m = cab_arena_mark(arena);
    layer l;

    CHECK_EQ(layer_lower(arena, text, exact, &l, &diag), CAB_OK);
    for (size_t v = 0; v < sizeof levels / sizeof *levels; v++) {
        cab_target t;
        int loops = 0;
        CHECK_EQ(cab_target_get(arena, levels[v], &t, &diag), CAB_OK);
        for (size_t i = 0; i < l.program->steps.n; i++) {
            const cab_step *s = &l.program->steps.p[i];
            if (!layer_is_timed(s) || (s->spec->kind != CAB_SPEC_CONTRACT && s->spec->kind != CAB_SPEC_WINDOW))
                continue;
            finding f = compile(l.program, s, &t, (tile){ 0, 0 });
            loops += f.loops;
            if (f.spills)
                fprintf(stderr, "%s, %s, %s: %d accesses to the stack, the first: %.*s; %s\n", name, levels[v],
                        s->spec->name, f.spills, (int)f.first.n, f.first.p, f.sched);
            CHECK_EQ(f.spills, 0);
        }
        if (!loops)
            fprintf(stderr, "%s, %s: no loop that multiplies\n", name, levels[v]);
        CHECK(loops > 0);
    }
    cab_arena_release(arena, m);
}

#define PRODUCT(m, n, k, c) check("product " #m "x" #n "x" #k, layer_product_text(arena, m, n, k, c), true)
#define CONV(h, c, o, k, s, g) \
    check("conv " #h " " #c "->" #o " " #k "x" #k " s" #s, layer_conv_text(arena, h, c, o, k, s, g), true)
/* A 1x1 layer as residual networks have it: the sum with another branch, then an
 * activation, read by a 3x3 convolution (so its rows lie apart) or by a 1x1. */
static const char *residual_text(int64_t h, int64_t c, int64_t o, bool sum, int64_t reader)
{
    long long n = h, in = c, out = o, k = reader, p = reader / 2;

    return cab_printf(arena,
        "graph @row(%%x: f32[1,4,%lld,%lld], %%u: f32[%lld,4,1,1], %%s: f32[%lld,4,1,1], %%w: f32[%lld,%lld,1,1], "
        "%%b: f32[%lld], %%t: f32[8,%lld,%lld,%lld]) -> (%%y) onnx {\n"
        "  %%p = Conv %%x, %%u : none[] loc \"before\" \"Conv\" 11\n"
        "  %%q = Conv %%x, %%s : none[] loc \"before\" \"Conv\" 11\n"
        "  %%c = Conv %%p, %%w, %%b : none[] loc \"layer\" \"Conv\" 11\n"
        "  %%a = Add %%c, %%%c : none[] loc \"layer\" \"Add\" 14\n"
        "  %%r = Relu %%a : none[] loc \"layer\" \"Relu\" 14\n"
        "  %%y = Conv %%r, %%t {pads = [%lld, %lld, %lld, %lld], strides = [2, 2]} : none[] loc \"after\" \"Conv\" 11\n}\n",
        n, n, in, out, out, in, out, out, k, k, sum ? 'q' : 'c', p, p, p, p);
}

#define RESIDUAL(h, c, o, sum, reader) \
    check("residual " #h " " #c "->" #o " " #sum " " #reader, residual_text(h, c, o, sum, reader), true)
#define WINOGRAD(h, c, o) check("winograd " #h " " #c "->" #o, layer_conv_text(arena, h, c, o, 3, 1, 1), false)

static void test_products(void)
{
    PRODUCT(128, 768, 768, true);
    PRODUCT(3136, 64, 64, true);
    PRODUCT(49, 512, 2048, true);
    PRODUCT(1024, 1024, 1024, true);
    PRODUCT(1, 1000, 2048, true);
    PRODUCT(128, 64, 128, false);
    check("product Nx384x384", "graph @row(%x: f32[N,384], %w: f32[384,384]) -> (%y) onnx {\n"
          "  %y = MatMul %x, %w : none[] loc \"layer\" \"MatMul\" 13\n}\n", true);
}

static void test_convolutions(void)
{
    CONV(56, 64, 64, 3, 1, 1);
    CONV(14, 256, 256, 3, 1, 1);
    CONV(7, 512, 512, 3, 1, 1);
    CONV(28, 128, 128, 3, 2, 1);
    CONV(14, 512, 512, 3, 2, 1);
    CONV(224, 3, 64, 7, 2, 1);
    CONV(14, 256, 1024, 1, 1, 1);
    CONV(28, 112, 28, 1, 1, 4);
}

static void test_residuals(void)
{
    RESIDUAL(56, 64, 256, true, 1);
    RESIDUAL(28, 128, 512, true, 1);
    RESIDUAL(28, 128, 512, false, 1);
    RESIDUAL(28, 256, 512, true, 3);
    RESIDUAL(14, 256, 1024, true, 1);
    RESIDUAL(7, 512, 2048, true, 3);
    RESIDUAL(28, 58, 58, true, 3);
}

static void test_depthwise(void)
{
    CONV(56, 144, 144, 3, 1, 144);
    CONV(7, 960, 960, 3, 1, 960);
    CONV(14, 672, 672, 5, 1, 672);
    CONV(7, 1152, 1152, 5, 1, 1152);
    CONV(28, 192, 192, 7, 1, 192);
    CONV(112, 96, 96, 3, 2, 96);
}

static void test_winograd(void)
{
    WINOGRAD(56, 64, 64);
    WINOGRAD(28, 128, 128);
    WINOGRAD(14, 256, 256);
}

static finding first_product(const char *text)
{
    finding f = { 0 };
    cab_target t;
    layer l;

    CHECK_EQ(cab_target_get(arena, "x86-64-v4", &t, &diag), CAB_OK);
    CHECK_EQ(layer_lower(arena, text, true, &l, &diag), CAB_OK);
    for (size_t i = l.program->steps.n; i-- > 0;) {
        const cab_step *s = &l.program->steps.p[i];
        if (layer_is_timed(s) && s->spec->kind == CAB_SPEC_CONTRACT)
            f = compile(l.program, s, &t, (tile){ 0, 0 });
    }
    CHECK(f.loops > 0);
    return f;
}

/* Rows of several tiles share the panels of the next columns; one tile fetches them alone. */
static void test_hints(void)
{
    finding f = first_product(layer_product_text(arena, 49, 2048, 512, true));

    CHECK(f.loop_hints > 0 && f.loop_hints * f.tile <= f.products);
    f = first_product(layer_product_text(arena, 14, 2048, 512, true));
    CHECK(f.loop_hints * f.tile > f.products);
    f = first_product(residual_text(14, 256, 1024, false, 1));
    CHECK_EQ(f.hints, f.loop_hints);
    f = first_product(residual_text(14, 256, 1024, true, 1));
    CHECK(f.hints - f.loop_hints >= f.tile);
}

/* Tiles one row and more too large: they must be seen. */
static void test_planted(void)
{
    static const tile wish[] = { { 10, 2 }, { 10, 2 }, { 20, 2 } };
    layer l;

    CHECK_EQ(layer_lower(arena, layer_product_text(arena, 120, 768, 768, true), true, &l, &diag), CAB_OK);
    for (size_t v = 0; v < sizeof levels / sizeof *levels; v++) {
        cab_target t;
        CHECK_EQ(cab_target_get(arena, levels[v], &t, &diag), CAB_OK);
        finding f = compile(l.program, &l.program->steps.p[0], &t, wish[v]);
        CHECK(f.loops > 0);
        CHECK(f.spills > 0);
    }
}

int main(void)
{
    if (CAB_JOB_ENTER(&job))
        return 1;
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    test_planted();
    test_products();
    test_convolutions();
    test_residuals();
    test_depthwise();
    test_winograd();
    test_hints();
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    TEST_END();
}
