/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_artifact.c - the container and the library that loads it: variants,
 * hashes, signatures, loading from anywhere, hooks, asynchronous runs,
 * deadlines, outputs that lie on inputs.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "runtime/runtime.h"
#include "tests/compile_kit.h"

static cab_job job;
static cab_arena *arena;
static cab_diag diag;

/* y = relu(x w) has weights to pack; h = tanh(h + s) is state for in-place runs;
 * z needs h again after y-like work, so it cannot be written over it early. */
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

static int fake_sign(void *user, const void *message, size_t n, uint8_t key[32], uint8_t sig[64])
{
    memset(key, 7, 32);
    memset(sig, 0, 64);
    memcpy(sig, (const uint8_t *)message + n - 32, 32);
    return *(int *)user;
}

static int fake_check(void *user, const uint8_t key[32], const uint8_t sig[64],
                      const void *message, size_t n)
{
    ++*(int *)user;
    return key[31] != 7 || memcmp(sig, (const uint8_t *)message + n - 32, 32);
}

static const char *model_text(void)
{
    cab_buf b = cab_buf_on(arena);
    for (const char *p = text; *p; p++) {
        if (!strncmp(p, "WEIGHTS", 7)) {
            for (int i = 0; i < 160; i++)
                cab_buf_printf(&b, "%s%d", i ? ", " : "", i % 7 - 3);
            p += 6;
        } else {
            cab_buf_char(&b, *p);
        }
    }
    return cab_buf_cstr(&b);
}

static uint8_t *compile_text(const char *t, const cab_codegen_options *co, size_t *n)
{
    static const cab_pass_options po;
    return kit_compile(arena, t, &po, co, n, &diag);
}

static uint8_t *compile(const cab_codegen_options *co, size_t *n)
{
    return compile_text(model_text(), co, n);
}

/* ---- a run ---- */

enum { N = 3, X = N * 8, Y = N * 20 };
typedef struct io {
    float x[X], h[Y], y[Y], g[Y], z[Y];
    cab_tensor_view in[2], out[3];
} io;

static cab_tensor_view f32s(float *p, int64_t cols)
{
    return (cab_tensor_view){ 1, 2, { N, cols }, p, sizeof *p * (size_t)(N * cols) };
}

static void set(io *k)
{
    for (int i = 0; i < X; i++)
        k->x[i] = (float)(i % 5) - 2;
    for (int i = 0; i < Y; i++)
        k->h[i] = (float)i / 64;
    k->in[0] = f32s(k->x, 8);
    k->in[1] = f32s(k->h, 20);
    k->out[0] = f32s(k->y, 20);
    k->out[1] = f32s(k->g, 20);
    k->out[2] = f32s(k->z, 20);
}

static float want_y(const io *k, int row, int col)
{
    float sum = 0;
    for (int i = 0; i < 8; i++)
        sum += k->x[row * 8 + i] * (float)((i * 20 + col) % 7 - 3);
    return sum;
}

static void check_results(const io *k)
{
    bool ok = true;
    for (int i = 0; i < Y; i++) {
        float s = want_y(k, i / 20, i % 20);
        ok = ok && k->y[i] == (s > 0 ? s : 0) && k->g[i] == -s;
    }
    CHECK(ok);
}

static int load_and_run(const uint8_t *p, size_t n, const cab_model_options *mo, io *k, cab_error *e)
{
    cab_model *m;
    cab_session *s = NULL;
    int rc = cab_model_load_memory(p, n, "net", mo, &m, e);
    set(k);
    if (rc == 0)
        rc = cab_session_create(m, NULL, &s, e);
    if (rc == 0)
        rc = cab_session_run(s, k->in, k->out, e);
    cab_session_destroy(s);
    cab_model_destroy(m);
    return rc;
}

/* ---- the container ---- */

static const cab_codegen_options native = { .producer = "test", .model_name = "net", .seal = true };

static void check_reproducible(void)
{
    size_t n, m;
    cab_codegen_options co = native;
    uint8_t *a = compile(&native, &n), *b;
    co.threads = 3;
    for (int last = 0; last < 2; last++) {
        co.last_use = last;
        b = compile(&co, &m);
        CHECK(n == m && !memcmp(a, b, n));
        free(b);
    }
    free(a);
}

static void check_variants(void)
{
    size_t n;
    cab_codegen_options co = native;
    cab_artifact a;
    cab_error e = { 0 };
    cab_plan plan;
    uint32_t v;
    io k;
    co.target = "x86-64-v3,x86-64-v2,x86-64-v4,x86-64-v2";
    uint8_t *p = compile(&co, &n);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    CHECK_EQ(a.n_variants, 3);
    CHECK_EQ(cab_artifact_verify(&a, &e), CAB_OK);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(cab_plan_open(&a, i, &plan, &e), CAB_OK);
    uint32_t v4 = cab_artifact_find(&a, CAB_SEC_PLAN, 0)->isa;
    uint32_t v3 = cab_artifact_find(&a, CAB_SEC_PLAN, 1)->isa;
    CHECK(v4 & CAB_ISA_AVX512 && !(v3 & CAB_ISA_AVX512) && v3 & CAB_ISA_AVX2_FMA);
    CHECK(cab_artifact_choose(&a, v4, &v, &e) == CAB_OK && v == 0);
    CHECK(cab_artifact_choose(&a, v3, &v, &e) == CAB_OK && v == 1);
    CHECK(cab_artifact_choose(&a, CAB_ISA_SSE42, &v, &e) == CAB_OK && v == 2);
    CHECK_EQ(cab_artifact_choose(&a, 0, &v, &e), CAB_EARTIFACT);
    CHECK(strstr(e.text, "lacks") && strstr(e.text, "avx512") && strstr(e.text, "sse4.2"));
    char names[160];
    CHECK_STR(cab_isa_names(1u << 31 | CAB_ISA_SSE42, names, sizeof names), "sse4.2 something-newer");
    CHECK_EQ(load_and_run(p, n, NULL, &k, &e), 0);
    check_results(&k);
    free(p);
    p = compile(&native, &n);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    CHECK(cab_artifact_find(&a, CAB_SEC_NOTES, 0) != NULL);
    free(p);
}

/* One bit of every byte that matters, flipped. */
static void check_flips(void)
{
    size_t n;
    io k;
    cab_artifact a;
    cab_error e = { 0 };
    cab_model_options full = { .size = sizeof full, .verify = CAB_VERIFY_FULL };
    uint8_t *p = compile(&native, &n);
    int loud = 0, quiet = 0, wrong = 0;
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    cab_file_section sec[CAB_PLAN_MAX_SECTIONS];
    uint32_t n_sec = a.header->n_sections;
    memcpy(sec, a.sections, n_sec * sizeof *sec);
    for (size_t i = 0; i < n; i += i < 4096 ? 1 : 29) {
        const char *name = "header";
        uint32_t kind = 0;
        for (uint32_t s = 0; s < n_sec; s++)
            if (i >= sec[s].offset && i < sec[s].offset + sec[s].bytes)
                name = cab_section_name(kind = sec[s].kind);
        p[i] ^= (uint8_t)(1 << i % 8);
        bool checked = kind == CAB_SEC_PLAN || kind == CAB_SEC_CODE || kind == CAB_SEC_STRINGS ||
                       i < sizeof(cab_file_header);
        cab_model *m;
        if (checked)
            loud += cab_model_load_memory(p, n, NULL, NULL, &m, &e) == CAB_RT_EARTIFACT;
        wrong += checked && kind && !strstr(e.text, name);
        quiet += cab_model_load_memory(p, n, NULL, &full, &m, &e) != CAB_RT_EARTIFACT;
        wrong += kind && !strstr(e.text, name);
        p[i] ^= (uint8_t)(1 << i % 8);
    }
    CHECK(loud > 1000);
    CHECK_EQ(quiet, 0);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(load_and_run(p, n, &full, &k, &e), 0);
    for (size_t cut = 0; cut < n; cut += 61)
        CHECK(load_and_run(p, cut, NULL, &k, &e) == CAB_RT_EARTIFACT);
    free(p);
}

static void check_signatures(void)
{
    size_t n;
    io k;
    int refuse = 0, asked = 0;
    cab_error e = { 0 };
    cab_codegen_options co = native;
    cab_model_options mo = { .size = sizeof mo, .check_signature = fake_check, .signature_user = &asked };
    uint8_t *p = compile(&native, &n);
    CHECK_EQ(load_and_run(p, n, &mo, &k, &e), CAB_RT_EARTIFACT);
    CHECK(strstr(e.text, "not signed") && asked == 0);
    free(p);
    co.sign = fake_sign;
    co.sign_user = &refuse;
    p = compile(&co, &n);
    CHECK_EQ(load_and_run(p, n, &mo, &k, &e), 0);
    CHECK_EQ(asked, 1);
    cab_artifact a;
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    const cab_file_section *w = cab_artifact_find(&a, CAB_SEC_WEIGHTS, 0);
    p[w->offset] ^= 1;         /* both the CRC and the signed hash see it */
    CHECK_EQ(load_and_run(p, n, &mo, &k, &e), CAB_RT_EARTIFACT);
    CHECK(strstr(e.text, "weights"));
    p[w->offset] ^= 1;
    p[cab_artifact_find(&a, CAB_SEC_SIGNATURE, 0)->offset + 40] ^= 1;
    CHECK_EQ(load_and_run(p, n, &mo, &k, &e), CAB_RT_EARTIFACT);
    CHECK(strstr(e.text, "not accepted"));
    free(p);
}

static void check_model_inside(void)
{
    size_t n;
    cab_artifact a;
    cab_error e = { 0 };
    cab_codegen_options co = native;
    co.embed = "not really ONNX";
    co.embed_bytes = 15;
    uint8_t *p = compile(&co, &n);
    CHECK_EQ(cab_artifact_open(p, n, &a, &e), CAB_OK);
    const cab_file_section *s = cab_artifact_find(&a, CAB_SEC_MODEL, 0);
    CHECK(s && s->bytes == 15 && !memcmp(cab_artifact_bytes(&a, s), co.embed, 15));
    free(p);
}

/* ---- the library ---- */

typedef struct counter { int live, calls, fail_at; } counter;

static void *count_alloc(void *user, size_t bytes, size_t align)
{
    counter *c = user;
    if (++c->calls == c->fail_at)
        return NULL;
    c->live++;
    align = align < sizeof(void *) ? sizeof(void *) : align;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void count_release(void *user, void *p)
{
    ((counter *)user)->live--;
    free(p);
}

static void check_allocator(void)
{
    size_t n;
    io k;
    cab_error e = { 0 };
    counter c = { 0 };
    cab_allocator hook = { count_alloc, count_release, &c };
    cab_model_options mo = { .size = sizeof mo, .allocator = &hook };
    uint8_t *p = compile(&native, &n), *off = malloc(n + 64);
    cab_model *m;
    cab_session *s;
    CHECK_EQ(cab_model_load_memory(p, n, "net", &mo, &m, &e), 0);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), 0);
    set(&k);
    CHECK_EQ(cab_session_run(s, k.in, k.out, &e), 0);
    int before = c.calls;
    for (int i = 0; i < 5; i++)
        CHECK_EQ(cab_session_run(s, k.in, k.out, &e), 0);
    CHECK_EQ(c.calls, before);             /* the shape was seen */
    cab_session_destroy(s);
    cab_model_destroy(m);
    CHECK_EQ(c.live, 0);
    memcpy(off + 8 - (uintptr_t)off % 8 + 1, p, n);
    for (int fail = 1, rc = 1; rc; fail++) {
        c = (counter){ .fail_at = fail };
        rc = load_and_run(off + 8 - (uintptr_t)off % 8 + 1, n, &mo, &k, &e);
        CHECK(rc == 0 || rc == CAB_RT_ENOMEM);
        CHECK_EQ(c.live, 0);
    }
    check_results(&k);
    free(off);
    free(p);
}

static void keep_log(void *user, int level, const char *line)
{
    snprintf(user, 256, "%d %s", level, line);
}

static void check_names_and_options(void)
{
    size_t n;
    char said[256] = "";
    cab_model_options loud = { .size = sizeof loud, .log = keep_log, .log_user = said };
    cab_error e = { 0 };
    cab_tensor_info info;
    cab_model_options bad = { .verify = 1 };
    uint8_t *p = compile(&native, &n);
    cab_model *m;
    CHECK_EQ(cab_model_load_memory(p, n, "net", &bad, &m, &e), CAB_RT_EINVAL);
    CHECK(strstr(e.text, "size"));
    CHECK_EQ(cab_model_load_memory(p, n, "net", &loud, &m, &e), 0);
    CHECK(strstr(said, "2 net: target 1 of 1"));
    CHECK_EQ(cab_model_find_input(m, "h"), 1);
    CHECK_EQ(cab_model_find_output(m, "z"), 2);
    CHECK_EQ(cab_model_find_output(m, "x"), -1);
    CHECK_EQ(cab_model_input(m, 0, &info), 0);
    CHECK(info.dims[0] == -1 && info.dims[1] == 8);
    CHECK_STR(info.dim_names[0], "N");
    CHECK_STR(info.dim_names[1], "");
    io k;
    cab_memory need;
    set(&k);
    CHECK_EQ(cab_tensor_bytes(CAB_TYPE_F16, 2, k.in[0].dims), 48);
    CHECK_EQ(cab_tensor_bytes(CAB_TYPE_F32, 0, NULL), 4);
    CHECK_EQ(cab_tensor_bytes(CAB_TYPE_F64, 2, (const int64_t[]){ INT64_MAX, 2 }), SIZE_MAX);
    CHECK_EQ(cab_tensor_bytes(8, 0, NULL), SIZE_MAX);
    CHECK_EQ(cab_model_estimate(m, k.in, &need, &e), 0);
    CHECK(need.outputs == 3 * sizeof k.y && need.weights > 0);
    cab_model_destroy(m);
    CHECK_EQ(cab_model_load("/nowhere/net.cab", NULL, &m, &e), CAB_RT_EIO);
    CHECK(m == NULL);
    free(p);
}

static int copies(const cab_session *s)
{
    const cab_trace_event *ev;
    size_t n;
    int found = 0;
    cab_session_trace(s, &ev, &n);
    for (size_t i = 0; i < n; i++)
        found += !strcmp(ev[i].kind, "copy");
    return found;
}

/* q = (h w) w: h has been read when q is written. */
static const char state_text[] =
    "graph @state(%h: f32[N,2]) -> (%q) core {\n"
    "  %w = const f32[2,2] [0, 1, 1, 1]\n"
    "  %a = dot %h, %w {a_contract = [1], b_contract = [0]}\n"
    "  %q = dot %a, %w {a_contract = [1], b_contract = [0]}\n}\n";

/* Fibonacci numbers, the state in the caller's memory or in the session's. */
static void check_state(void)
{
    size_t n;
    cab_error e = { 0 };
    float h[2] = { 0, 1 }, many[64] = { 0, 1 };
    cab_tensor_view in = { 1, 2, { 1, 2 }, h, sizeof h }, out = in;
    uint8_t *p = compile_text(state_text, &native, &n);
    cab_model *m;
    cab_session *s;
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    CHECK_EQ(cab_model_load_memory(p, n, "state", NULL, &m, &e), 0);
    CHECK_EQ(cab_session_create(m, &so, &s, &e), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(cab_session_run(s, &in, &out, &e), 0);
    CHECK(h[0] == 55 && h[1] == 89 && copies(s) == 0);     /* in place */
    h[0] = 0, h[1] = 1;
    out = (cab_tensor_view){ 0 };
    for (int i = 0; i < 5; i++) {          /* what a run made is the next one's input */
        CHECK_EQ(cab_session_run(s, &in, &out, &e), 0);
        in = out;
    }
    CHECK(((float *)out.data)[0] == 55 && ((float *)out.data)[1] == 89 && h[1] == 1);
    uint64_t before = cab_session_allocations(s);
    CHECK_EQ(cab_session_run(s, &in, &out, &e), 0);
    CHECK_EQ(cab_session_allocations(s), before);
    in = (cab_tensor_view){ 1, 2, { 32, 2 }, many, sizeof many };
    CHECK_EQ(cab_session_run(s, &in, &out, &e), 0);        /* larger: the same view again */
    CHECK(((float *)out.data)[1] == 2 && out.dims[0] == 32);
    cab_session_destroy(s);
    cab_model_destroy(m);
    free(p);
}

static const char rows_text[] =
    "graph @rows(%x: f32[N,3], %i: i32[M], %j: i64[2,M]) -> (%a, %b) core {\n"
    "  %k = cast %i {to = i64}\n"
    "  %a = gather %x, %k {axis = 0}\n"
    "  %r = reshape %j {dims = [2*M]}\n"
    "  %b = gather %x, %r {axis = 1}\n}\n";

/* Indices of the caller are refused when one is outside; the session goes on. */
static void check_rows(void)
{
    size_t n;
    cab_error e = { 0 };
    float x[12];
    int32_t i[2] = { 3, -4 };
    int64_t j[4] = { 0, -3, 2, 1 };
    uint8_t *p = compile_text(rows_text, &native, &n);
    cab_model *m;
    cab_session *s;
    cab_tensor_view in[3] = { { CAB_TYPE_F32, 2, { 4, 3 }, x, sizeof x }, { CAB_TYPE_I32, 1, { 2 }, i, sizeof i },
                              { CAB_TYPE_I64, 2, { 2, 2 }, j, sizeof j } }, out[2] = { { 0 } };
    for (int k = 0; k < 12; k++)
        x[k] = (float)k;
    CHECK_EQ(cab_model_load_memory(p, n, "rows", NULL, &m, &e), 0);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), 0);
    CHECK_EQ(cab_session_run(s, in, out, &e), 0);
    CHECK(((float *)out[0].data)[0] == 9 && ((float *)out[0].data)[3] == 0);
    CHECK(((float *)out[1].data)[1] == 0 && ((float *)out[1].data)[3] == 1);
    i[1] = -5;
    out[0] = out[1] = (cab_tensor_view){ 0 };
    CHECK_EQ(cab_session_run(s, in, out, &e), CAB_RT_EINPUT);
    CHECK(strstr(e.text, "element 1 of 'i' is -5, no row of the 4 there are"));
    i[1] = 0;
    j[2] = INT64_MAX;
    CHECK_EQ(cab_session_run(s, in, out, &e), CAB_RT_EINPUT);
    CHECK(strstr(e.text, "element 2 of 'j' is 9223372036854775807"));
    j[2] = INT64_MIN;
    CHECK_EQ(cab_session_run(s, in, out, &e), CAB_RT_EINPUT);
    j[2] = 0;
    CHECK_EQ(cab_session_run(s, in, out, &e), 0);
    cab_session_destroy(s);
    cab_model_destroy(m);
    free(p);
}

static const char hollow_text[] =
    "graph @hollow(%x: f32[N,M]) -> (%a, %t, %s) core {\n"
    "  %a = neg %x\n"
    "  %b = tanh %x\n"
    "  %t = transpose %b {perm = [1, 0]}\n"
    "  %s = reduce %x {op = \"sum\", axes = [0]}\n}\n";

/* A tensor without elements: no task goes through its other axis, and there is an end to how long that is. */
static void check_hollow(void)
{
    size_t n, n_events;
    cab_error e = { 0 };
    uint8_t *p = compile_text(hollow_text, &native, &n);
    cab_model *m;
    cab_session *s;
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    cab_tensor_view in = { CAB_TYPE_F32, 2, { 1 << 28, 0 }, NULL, 0 }, out[3] = { { 0 } };
    const cab_trace_event *ev;
    int64_t tasks = 0, launches = 0;
    CHECK_EQ(cab_model_load_memory(p, n, "hollow", NULL, &m, &e), 0);
    CHECK_EQ(cab_session_create(m, &so, &s, &e), 0);
    CHECK_EQ(cab_session_run(s, &in, out, &e), 0);
    CHECK(out[0].dims[0] == 1 << 28 && out[1].dims[1] == 1 << 28 && !out[2].dims[1]);
    cab_session_trace(s, &ev, &n_events);
    for (size_t i = 0; i < n_events; i++) {
        tasks += ev[i].tasks;
        launches += !strcmp(ev[i].kind, "launch");
    }
    CHECK(launches >= 2);
    CHECK_EQ(tasks, 0);
    for (int which = 0; which < 2; which++) {
        memset(out, 0, sizeof out);
        in.dims[which] = (int64_t)1 << 40;
        in.dims[!which] = 0;
        CHECK_EQ(cab_session_run(s, &in, out, &e), CAB_RT_EINPUT);
        CHECK(strstr(e.text, "an extent of 0 beside enormous ones"));
    }
    cab_session_destroy(s);
    cab_model_destroy(m);
    free(p);
}

/* z lies on h: h is read before, for its sum, and with z, element by element. */
static void check_overlap(void)
{
    size_t n;
    io k, two;
    cab_error e = { 0 };
    uint8_t *p = compile(&native, &n);
    cab_model *m;
    cab_session *s;
    cab_session_options so = { .size = sizeof so, .trace = 1 };
    CHECK_EQ(cab_model_load_memory(p, n, "net", NULL, &m, &e), 0);
    CHECK_EQ(cab_session_create(m, &so, &s, &e), 0);
    set(&k);
    set(&two);
    CHECK_EQ(cab_session_run(s, k.in, k.out, &e), 0);
    for (int where = 0; where < 3; where++) {      /* y, g and z on h, each alone */
        set(&two);
        two.out[where].data = two.h;
        CHECK_EQ(cab_session_run(s, two.in, two.out, &e), 0);
        CHECK(!memcmp(two.h, where == 0 ? k.y : where == 1 ? k.g : k.z, sizeof two.h));
        CHECK_EQ(copies(s), 1);            /* h is read to the end: made aside */
    }
    set(&two);
    two.out[0].data = two.g;
    CHECK_EQ(cab_session_run(s, two.in, two.out, &e), CAB_RT_EINPUT);
    CHECK(strstr(e.text, "same memory"));
    set(&two);
    two.out[0].data = NULL;
    CHECK_EQ(cab_session_run(s, two.in, two.out, &e), 0);
    two.out[1].data = two.out[0].data;     /* the session's memory for y, offered for g */
    two.out[0].data = NULL;
    CHECK_EQ(cab_session_run(s, two.in, two.out, &e), CAB_RT_EINPUT);
    /* h is the session's g of the run before, which is written before h is read. */
    memcpy(k.h, k.g, sizeof k.h);
    for (int i = 0; i < X; i++)
        k.x[i] += 1;
    CHECK_EQ(cab_session_run(s, k.in, k.out, &e), 0);
    set(&two);
    two.out[1].data = NULL;
    CHECK_EQ(cab_session_run(s, two.in, two.out, &e), 0);
    two.in[1].data = two.out[1].data;
    memcpy(two.x, k.x, sizeof two.x);
    CHECK_EQ(cab_session_run(s, two.in, two.out, &e), 0);
    CHECK(!memcmp(two.z, k.z, sizeof k.z));
    cab_session_destroy(s);
    cab_model_destroy(m);
    free(p);
}

typedef struct async_test { io *k; int left, calls, code; } async_test;

static void done(void *user, cab_session *s, int code, const cab_error *e)
{
    async_test *t = user;
    t->calls++;
    t->code |= code | e->code;
    if (--t->left > 0)
        t->code |= cab_session_run_async(s, t->k->in, t->k->out, done, t, NULL);
}

static void check_async(void)
{
    size_t n;
    io k;
    cab_error e = { 0 };
    struct timespec now;
    uint8_t *p = compile(&native, &n);
    cab_model *m;
    cab_session *s;
    CHECK_EQ(cab_model_load_memory(p, n, "net", NULL, &m, &e), 0);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), 0);
    set(&k);
    async_test t = { .k = &k, .left = 20 };
    CHECK_EQ(cab_session_run_async(s, k.in, k.out, done, &t, &e), 0);
    cab_session_wait(s);
    CHECK(t.calls == 20 && t.code == 0);
    check_results(&k);
    CHECK_EQ(cab_session_run_async(s, k.in, k.out, NULL, &t, &e), CAB_RT_EINVAL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    cab_session_deadline(s, now.tv_sec * 1000000000LL + now.tv_nsec - 1);
    CHECK_EQ(cab_session_run(s, k.in, k.out, &e), CAB_RT_EDEADLINE);
    cab_session_deadline(s, (now.tv_sec + 3600) * 1000000000LL);
    CHECK_EQ(cab_session_run(s, k.in, k.out, &e), 0);
    cab_session_deadline(s, 0);
    t.left = 1;
    CHECK_EQ(cab_session_run_async(s, k.in, k.out, done, &t, &e), 0);
    cab_session_destroy(s);                /* waits */
    CHECK_EQ(t.calls, 21);
    cab_model_destroy(m);
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
    check_reproducible();
    check_variants();
    check_flips();
    check_signatures();
    check_model_inside();
    check_allocator();
    check_names_and_options();
    check_overlap();
    check_rows();
    check_hollow();
    check_state();
    check_async();
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    TEST_END();
}
