/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_costs.c - what Specs must do, counted by hand; section `costs` written,
 * read and damaged.
 */
#include "codegen/codegen_int.h"
#include "tests/artifact_kit.h"
#include "tests/compile_kit.h"
#include "tools/costs.h"

enum { N = 7, M = 2 };         /* the symbols of every Spec here */

static cab_job job;
static cab_arena *arena;
static cab_diag diag;

/* ---- Specs ---- */
static bool symbol(void *arg, const char *name, int64_t *out)
{
    *out = *name == 'N' ? N : M;
    return arg != NULL;
}

static int64_t value(const cab_dim *x)
{
    int64_t v = -1;
    return cab_dim_eval(x, symbol, &v, &v) ? v : -1;
}

typedef struct want { int64_t flops, special, bytes, weights; } want;

static void check_spec(const char *kind, const char *text, want w)
{
    static const bool constant[8] = { false, true };
    cab_dims *dims = cab_dims_create(arena);
    const char *all = cab_printf(arena, "spec @s %s {\n%s}\n", kind, text);
    cab_spec *s;
    cab_cost c;
    if (cab_spec_parse(arena, dims, all, strlen(all), "t", &s, &diag) != CAB_OK) {
        fprintf(stderr, "%s\n", cab_diag_first(&diag)->text);
        exit(EXIT_FAILURE);
    }
    for (int simple = 0; simple < 2; simple++) {
        cab_spec_cost(s, constant, &c);
        CHECK_EQ(value(c.flops), w.flops);
        CHECK_EQ(value(c.special), w.special);
        CHECK_EQ(value(c.bytes), w.bytes);
        CHECK_EQ(value(c.weights), w.weights);
        cab_spec_simplify(s);
    }
}

static void check_dot(void)
{
    check_spec("contract",
               "axis m par N\n axis n par 5\n axis k red 6\n"
               "operand 0 f32 in elems 6*N\n operand 1 f32 in elems 30\n operand 2 f32 in elems 5\n"
               "operand 3 f16 out elems 5*N\n"
               "view 0 = operand 0 [0; m: 6, k: 1]\n view 1 = operand 1 [0; n: 6, k: 1]\n"
               "view 2 = operand 2 [0; n: 1]\n view 3 = operand 3 [0; m: 5, n: 1]\n"
               "r0 = sum f32 over (k) mul(v0, v1)\n"
               "store v3 over () cast:f16(max(add(r0, v2), 0:f32))\n",
               (want){ N * 5 * (2 * 6 + 2), 0, 4 * (6 * N + 30 + 5) + 2 * 5 * N, 120 });
}

/* Two groups; windows of 3 rows, 2 or 4 rows apart; rows that nobody reads. */
static void check_conv(void)
{
    static const char body[] =
        "operand 0 f32 in elems 900\n operand 1 f32 in elems 120\n operand 2 f32 out elems 24\n"
        "view 0 = operand 0 [0; oh: %d, kh: 10, g: 5, c: 1]\n"
        "view 1 = operand 1 [0; g: 60, n: 15, kh: 5, c: 1]\n"
        "view 2 = operand 2 [0; oh: 8, g: 4, n: 1]\n"
        "r0 = sum f32 over (kh, c) mul(v0, v1)\n store v2 over () r0\n";
    for (int stride = 1; stride <= 4; stride++) {
        int rows = stride < 3 ? 2 * stride + 3 : 9;
        const char *text = cab_printf(
            arena, "axis oh par 3\n axis g par 2\n axis n par 4\n axis kh red 3\n axis c red 5\n%s",
            cab_printf(arena, body, 10 * stride));
        check_spec("contract", text, (want){ 24 * 15 * 2, 0, 4 * (10 * rows + 120 + 24), 480 });
    }
}

/* Windows along an axis of unknown length, with a stride; all of the operand. */
static void check_window(void)
{
    check_spec("window",
               "axis w par N\n axis k red 3\n operand 0 f32 in elems 2*N + 1\n"
               "operand 1 f32 out elems N\n view 0 = operand 0 [0; w: 2, k: 1]\n"
               "view 1 = operand 1 [0; w: 1]\n r0 = max f32 over (k) v0\n store v1 over () r0\n",
               (want){ 3 * N, 0, 4 * (2 * N + 1 + N), 4 * N });
}

static void check_softmax(void)
{
    check_spec("rowred",
               "axis m par N\n axis k red 3\n operand 0 f32 in elems 3*N\n operand 1 f32 out elems 3*N\n"
               "view 0 = operand 0 [0; m: 3, k: 1]\n view 1 = operand 1 [0; m: 3, k: 1]\n"
               "r0 = max f32 over (k) v0\n t0 = exp(sub(v0, r0))\n r1 = sum f32 over (k) t0\n"
               "store v1 over (k) div(t0, r1)\n",
               (want){ 3 * N * (1 + 2 + 2), 2 * 3 * N, 2 * 12 * N, 12 * N });
    /* The square root is of the row, whatever the stage's axes. */
    check_spec("rowred",
               "axis m par N\n axis k red 3\n operand 0 f32 in elems 3*N\n operand 1 f32 out elems 3*N\n"
               "view 0 = operand 0 [0; m: 3, k: 1]\n view 1 = operand 1 [0; m: 3, k: 1]\n"
               "r0 = sum f32 over (k) mul(v0, v0)\n store v1 over (k) div(v0, sqrt(r0))\n",
               (want){ N * (3 * 2 + 3 * 1 + 1), 0, 2 * 12 * N, 12 * N });
}

/* Rows by index: as many as are asked for, not more than there are. */
static void check_gather(void)
{
    check_spec("map",
               "axis i par N\n axis j par 3\n operand 0 f16 in elems 3*M\n operand 1 i32 in elems N\n"
               "operand 2 f16 out elems 3*N\n view 0 = operand 1 [0; i: 1]\n t0 = cast:i64(v0)\n"
               "view 1 = operand 0 [0; j: 1] index select(lt(t0, 0:i64), add(t0, dim(M)), t0) * 3\n"
               "view 2 = operand 2 [0; i: 3, j: 1]\n store v2 over () v1\n",
               (want){ 0, 0, 2 * 3 * M + 4 * N + 2 * 3 * N, 4 * N });
    check_spec("map",
               "axis i par M\n axis j par 3\n operand 0 f16 in elems 3*N\n operand 1 i64 in elems M\n"
               "operand 2 f16 out elems 3*M\n view 0 = operand 1 [0; i: 1]\n"
               "view 1 = operand 0 [0; j: 1] index v0 * 3\n"
               "view 2 = operand 2 [0; i: 3, j: 1]\n store v2 over () v1\n",
               (want){ 0, 0, 2 * 3 * M + 8 * M + 2 * 3 * M, 8 * M });
}

static void check_map(void)
{
    check_spec("map",
               "axis i par N\n axis j par 4\n operand 0 f32 in elems 4*N\n operand 1 f32 in elems 4\n"
               "operand 2 u8 out elems 4*N\n view 0 = operand 0 [0; i: 4, j: 1]\n"
               "view 1 = operand 1 [0; j: 1]\n view 2 = operand 2 [0; i: 4, j: 1]\n t0 = add(v0, v1)\n"
               "store v2 over () cast:u8(mul(t0, tanh(t0)))\n",
               (want){ 4 * N * 2, 4 * N, 16 * N + 16 + 4 * N, 16 });
    /* A scatter adds where it stores. */
    check_spec("map",
               "axis i par 1\n axis j red N\n operand 0 f32 in elems N\n operand 1 i64 in elems N\n"
               "operand 2 f32 out elems M\n view 0 = operand 0 [0; j: 1]\n view 1 = operand 1 [0; j: 1]\n"
               "view 2 = operand 2 [0] index v1 * 1\n store v2 add over (j) v0\n",
               (want){ N, 0, 4 * N + 8 * N + 4 * M, 8 * N });
}

/* ---- the section ---- */
static const char text[] =
    "graph @net(%x: f32[N,8], %h: f32[N,20]) -> (%y, %g, %z) core {\n"
    "  %w = const f32[8,20] [WEIGHTS]\n"
    "  %0 = const f32[] 0\n"
    "  %1 = dot %x, %w {a_contract = [1], b_contract = [0]}\n"
    "  %y = max %1, %0\n"
    "  %g = neg %1\n"
    "  %2 = reduce %h {op = \"sum\", axes = [1]}\n"
    "  %3 = tanh %2\n"
    "  %z = add %h, %3\n"
    "}\n";

static const char *model_text(void)
{
    cab_buf b = cab_buf_on(arena);
    const char *at = strstr(text, "WEIGHTS");
    cab_buf_bytes(&b, text, (size_t)(at - text));
    for (int i = 0; i < 160; i++)
        cab_buf_printf(&b, "%s%d", i ? ", " : "", i % 7 - 3);
    cab_buf_str(&b, at + 7);
    return cab_buf_cstr(&b);
}

static uint8_t *compile(bool with_costs, const char *target, size_t *n)
{
    static const cab_pass_options po;
    const cab_codegen_options co = { .seal = true, .no_costs = !with_costs, .target = target };
    return kit_compile(arena, model_text(), &po, &co, n, &diag);
}

static cab_status open_costs(const uint8_t *p, size_t n, uint32_t variant, costs *out)
{
    cab_tensor_view in[2] = { { .rank = 2, .dims = { N, 8 } }, { .rank = 2, .dims = { N, 20 } } };
    cab_plan *plan = CAB_NEW(arena, cab_plan);
    cab_artifact a;
    cab_error e;
    cab_diag_clear(&diag);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    CHECK_EQ(cab_plan_open(&a, variant, plan, &e), CAB_OK);
    return costs_open(arena, &a, variant, plan, in, out, &diag);
}

static void check_sums(const costs *c)
{
    cost sum = { 0 };
    for (uint32_t i = 0; i < c->plan->header->n_instrs; i++) {
        cost one = costs_of(c, i);
        if (c->plan->instrs[i].op != CAB_I_LAUNCH)
            continue;
        sum.flops += one.flops;
        sum.special += one.special;
        sum.weights += one.weights;
        CHECK(one.kind >= 0 && one.bytes > 0);
    }
    CHECK(sum.flops == N * (20 * (2 * 8 + 2) + 20 + 20));
    CHECK(sum.special == N);
    CHECK(sum.weights == 160 * 4);
}

static void check_section(void)
{
    size_t n, m;
    costs c;
    uint8_t *with = compile(true, "x86-64-v3,x86-64-v4", &n);
    uint8_t *without = compile(false, "x86-64-v3,x86-64-v4", &m);
    for (uint32_t v = 0; v < 2; v++) {
        CHECK_EQ(open_costs(with, n, v, &c), CAB_OK);
        CHECK(c.found);
        check_sums(&c);
        CHECK_EQ(open_costs(without, m, v, &c), CAB_OK);
        CHECK(!c.found);
        for (uint32_t i = 0; i < c.plan->header->n_instrs; i++)
            if (c.plan->instrs[i].op == CAB_I_LAUNCH)
                CHECK(costs_of(&c, i).flops < 0);
    }
    free(with);
    free(without);
}

/* ---- damage ---- */
static cab_file_section *section(uint8_t *p, uint32_t kind)
{
    cab_file_header *h = (void *)p;
    cab_file_section *s = (void *)(h + 1);
    for (uint32_t i = 0; i < h->n_sections; i++)
        if (s[i].kind == kind)
            return &s[i];
    abort();
}

/* Hashes that fit what was done to it. */
static void seal(uint8_t *p)
{
    cab_file_header h = *(cab_file_header *)(void *)p;
    cab_file_section s[16];
    memcpy(s, p + sizeof h, h.n_sections * sizeof *s);
    kit_seal(p, &h, s);
}

static bool refused(const uint8_t *p, size_t n, const char *why)
{
    costs c;
    bool bad = open_costs(p, n, 0, &c) == CAB_EARTIFACT;
    return bad && strstr(cab_diag_first(&diag)->text, why);
}

static void check_damage(void)
{
    size_t n;
    uint8_t *p = compile(true, "x86-64-v3", &n);
    cab_file_section *s = section(p, CAB_SEC_COSTS);
    cab_costs_header *h = (void *)(p + s->offset), keep_h = *h;
    cab_plan_scalar *x = (void *)(h + 1), keep_x = *x;
    cab_plan_cost *r = (void *)(x + h->n_scalars), keep_r = r[1];
    costs c;
    h->n_rows ^= 1;
    CHECK(refused(p, n, "section costs does not match its checksum"));
#define DAMAGE(what) \
    do { \
        *h = keep_h; *x = keep_x; r[1] = keep_r; \
        what; \
        seal(p); \
        CHECK(refused(p, n, "damaged artifact: section costs")); \
    } while (0)
    DAMAGE(h->n_rows = UINT32_MAX);
    DAMAGE(h->n_scalars = UINT32_MAX);
    DAMAGE(h->variant = 3);
    DAMAGE(x->op = CAB_S_SIZE_READ);
    DAMAGE(x->op = CAB_S_INPUT_DIM);
    DAMAGE((x->op = CAB_S_ADD, x->a = 1u << 20));
    DAMAGE(r[1].instr = UINT32_MAX);
    DAMAGE(r[1].instr = r[0].instr);
    DAMAGE(r[1].flops = 1u << 20);
    DAMAGE(r[1].kind = 4);
    r[1] = keep_r;
    r[1].bytes = CAB_PLAN_NONE;            /* not known: no damage */
    *h = keep_h;
    *x = keep_x;
    seal(p);
    CHECK_EQ(open_costs(p, n, 0, &c), CAB_OK);
    CHECK(costs_of(&c, r[1].instr).bytes < 0);
    free(p);
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    check_dot();
    check_conv();
    check_window();
    check_softmax();
    check_gather();
    check_map();
    check_section();
    check_damage();
    cab_diag_fini(&diag);
    cab_arena_destroy(arena);
    TEST_END();
}
