/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_state.c - what a session carries from run to run: caches that grow in
 * place and states that keep their shape, against plain arrays and against
 * the same session without states.
 */
#include <stdlib.h>
#include <unistd.h>
#include "runtime/runtime.h"
#include "tests/compile_kit.h"

static cab_job job;
static cab_arena *arena;
static cab_diag diag;

/* Two caches; one has a part that is computed in place, one is read as it came
 * in, too. */
static const char cache_text[] =
    "graph @cache(%x: f32[B,3,S,2], %k: f32[B,3,P,2], %v: f32[B,3,P,2])"
    " -> (%kk, %sum, %vv, %old) core {\n"
    "  %n = neg %x\n"
    "  %kk = concat %k, %x {axis = 2}\n"
    "  %vv = concat %v, %n {axis = 2}\n"
    "  %p = mul %kk, %vv\n"
    "  %sum = reduce %p {op = \"sum\", axes = [2]}\n"
    "  %old = reduce %k {op = \"sum\", axes = [2]}\n}\n";

/* Attention without its softmax: pairs of queries share keys and values. */
static const char attention_text[] =
    "graph @attention(%q: f32[B,4,S,8], %x: f32[B,2,S,8], %k: f32[B,2,P,8], %v: f32[B,2,P,8])"
    " -> (%kk, %vv, %y) core {\n"
    "  %n = neg %x\n"
    "  %kk = concat %k, %n {axis = 2}\n"
    "  %vv = concat %v, %x {axis = 2}\n"
    "  %k1 = reshape %kk {dims = [B, 2, 1, P + S, 8]}\n"
    "  %k2 = expand %k1 {dims = [B, 2, 2, P + S, 8]}\n"
    "  %k3 = reshape %k2 {dims = [B, 4, P + S, 8]}\n"
    "  %v1 = reshape %vv {dims = [B, 2, 1, P + S, 8]}\n"
    "  %v2 = expand %v1 {dims = [B, 2, 2, P + S, 8]}\n"
    "  %v3 = reshape %v2 {dims = [B, 4, P + S, 8]}\n"
    "  %s = dot %q, %k3 {a_batch = [0, 1], b_batch = [0, 1], a_contract = [3], b_contract = [3]}\n"
    "  %y = dot %s, %v3 {a_batch = [0, 1], b_batch = [0, 1], a_contract = [3], b_contract = [2]}\n}\n";

/* q = (h w) w, Fibonacci numbers; t has another shape. */
static const char hidden_text[] =
    "graph @hidden(%h: f32[N,2], %g: f64[N,2]) -> (%q, %t, %r) core {\n"
    "  %w = const f32[2,2] [0, 1, 1, 1]\n"
    "  %a = dot %h, %w {a_contract = [1], b_contract = [0]}\n"
    "  %q = dot %a, %w {a_contract = [1], b_contract = [0]}\n"
    "  %t = concat %q, %h {axis = 0}\n"
    "  %r = neg %g\n}\n";

static const char fixed_text[] =
    "graph @fixed(%h: f32[3]) -> (%q, %t) core {\n"
    "  %one = const f32[] 1\n"
    "  %q = add %h, %one\n"
    "  %t = concat %h, %h {axis = 0}\n}\n";

static uint8_t *compile(const char *text, bool naive, size_t *n)
{
    const cab_pass_options po = { .naive = naive, .verify = true };
    const cab_codegen_options co = { .naive = naive };
    return kit_compile(arena, text, &po, &co, n, &diag);
}

/* ---- the caches ---- */

enum { HEADS = 3, WIDE = 2, MOST = 64, BATCH = 2, ROOM = BATCH * HEADS * MOST * WIDE };

/* What the caches hold, by [batch][head][step][column]. */
typedef struct ledger { int64_t batch, length; float at[BATCH][HEADS][MOST][WIDE]; } ledger;

typedef struct rig {
    uint8_t *file;
    cab_model *m;
    cab_session *s;
    cab_error e;
    ledger past;
    float x[ROOM];
    cab_tensor_view in[3], out[4];
} rig;

static rig setup(const char *text, bool naive, uint64_t max_bytes)
{
    rig r = { 0 };
    size_t n;
    cab_session_options so = { .size = sizeof so, .trace = 1, .max_bytes = max_bytes };
    r.file = compile(text, naive, &n);
    CHECK_EQ(cab_model_load_memory(r.file, n, "net", NULL, &r.m, &r.e), 0);
    CHECK_EQ(cab_session_create(r.m, &so, &r.s, &r.e), 0);
    r.past.batch = 1;
    return r;
}

static void teardown(rig *r)
{
    cab_session_destroy(r->s);
    cab_model_destroy(r->m);
    free(r->file);
}

static cab_tensor_view cache(int64_t batch, int64_t length, float *data)
{
    return (cab_tensor_view){ CAB_TYPE_F32, 4, { batch, HEADS, length, WIDE }, data,
                              sizeof *data * (size_t)(batch * HEADS * length * WIDE) };
}

static int bind(rig *r, int64_t batch, int64_t capacity)
{
    cab_tensor_view start = cache(batch, 0, NULL);
    r->past = (ledger){ .batch = batch };
    int rc = cab_session_bind_state(r->s, 1, 0, &start, capacity, &r->e);
    return rc ? rc : cab_session_bind_state(r->s, 2, 2, &start, capacity, &r->e);
}

static void forget(rig *r, int64_t batch)
{
    cab_tensor_view start = cache(batch, 0, NULL);
    CHECK_EQ(cab_session_set_state(r->s, 1, &start, &r->e), 0);
    CHECK_EQ(cab_session_set_state(r->s, 2, &start, &r->e), 0);
    r->past = (ledger){ .batch = batch };
}

/* n new steps, small integers so that sums are exact. */
static void new_steps(rig *r, int64_t n)
{
    static int seed;
    ledger *l = &r->past;
    int i = 0;
    for (int b = 0; b < l->batch; b++)
        for (int h = 0; h < HEADS; h++)
            for (int64_t s = 0; s < n; s++)
                for (int c = 0; c < WIDE; c++)
                    r->x[i++] = l->at[b][h][l->length + s][c] = (float)(++seed % 11 - 5);
    r->in[0] = cache(l->batch, n, r->x);
}

static void check_sums(const rig *r, int64_t n)
{
    const ledger *l = &r->past;
    const float *sum = r->out[1].data, *old = r->out[3].data;
    bool ok = true;
    int i = 0;
    for (int b = 0; b < l->batch; b++)
        for (int h = 0; h < HEADS; h++)
            for (int c = 0; c < WIDE; c++, i++) {
                float squares = 0, past = 0;
                for (int64_t s = 0; s < l->length + n; s++) {
                    squares -= l->at[b][h][s][c] * l->at[b][h][s][c];
                    past += s < l->length ? l->at[b][h][s][c] : 0;
                }
                ok = ok && sum[i] == squares && old[i] == past;
            }
    CHECK(ok);
    CHECK_EQ(r->out[0].dims[2], l->length + n);
    CHECK_EQ(r->out[2].dims[2], l->length + n);
}

static void step(rig *r, int64_t n)
{
    new_steps(r, n);
    int rc = cab_session_run(r->s, r->in, r->out, &r->e);
    if (rc)
        fprintf(stderr, "%s\n", r->e.text);
    CHECK_EQ(rc, 0);
    CHECK(r->out[0].data == NULL && r->out[2].data == NULL);
    check_sums(r, n);
    r->past.length += n;
}

/* The caches read back are the ledger's. */
static void check_contents(rig *r)
{
    static float data[ROOM];
    const ledger *l = &r->past;
    for (int k = 1; k < 3; k++) {
        cab_tensor_view v = { .data = data, .bytes = sizeof data };
        bool ok = true;
        int i = 0;
        CHECK_EQ(cab_session_get_state(r->s, k, &v, &r->e), 0);
        CHECK(v.dims[0] == l->batch && v.dims[2] == l->length && v.rank == 4);
        for (int b = 0; b < l->batch; b++)
            for (int h = 0; h < HEADS; h++)
                for (int64_t s = 0; s < l->length; s++)
                    for (int c = 0; c < WIDE; c++, i++)
                        ok = ok && data[i] == (k == 1 ? 1 : -1) * l->at[b][h][s][c];
        CHECK(ok);
    }
}

/* Events of the last run of that kind whose text says so. */
static int events(const rig *r, const char *kind, const char *what)
{
    const cab_trace_event *ev;
    size_t n;
    int found = 0;
    cab_session_trace(r->s, &ev, &n);
    for (size_t i = 0; i < n; i++)
        found += !strcmp(ev[i].kind, kind) && !strcmp(ev[i].what, what);
    return found;
}

static void check_growth(bool naive)
{
    rig r = setup(cache_text, naive, 0);
    CHECK_EQ(cab_model_state_count(r.m), 2);
    cab_state_info info;
    CHECK_EQ(cab_model_state(r.m, 1, &info), 0);
    CHECK(info.input == 2 && info.output == 2 && info.axis == 2);
    CHECK_EQ(cab_model_state(r.m, 2, &info), CAB_RT_EINVAL);
    CHECK_EQ(cab_model_state(r.m, -1, &info), CAB_RT_EINVAL);
    CHECK_EQ(bind(&r, 1, 0), 0);
    step(&r, 5);                           /* beyond the room there is: none */
    CHECK_EQ(events(&r, "alloc", "a state grows"), 2);
    int grew = 0;
    for (int i = 0; i < 40; i++) {
        step(&r, 1);
        grew += events(&r, "alloc", "a state grows");
        CHECK_EQ(events(&r, "launch", "copy"), 1);     /* of x, being an input */
    }
    CHECK_EQ(grew, 2 * 4);                 /* 5, 10, 20, 40, 80 steps */
    check_contents(&r);
    teardown(&r);
}

/* The old steps are copied when no state is bound, and not when one is. */
static void check_copies(void)
{
    rig r = setup(cache_text, false, 0), bound = setup(cache_text, false, 0);
    CHECK_EQ(bind(&bound, 1, 16), 0);
    float none[1] = { 0 };
    r.in[1] = r.in[2] = cache(1, 0, none);
    for (int i = 0; i < 6; i++) {
        step(&bound, 2);
        new_steps(&r, 2);
        memcpy(r.x, bound.x, sizeof r.x);
        CHECK_EQ(cab_session_run(r.s, r.in, r.out, &r.e), 0);
        CHECK_EQ(events(&r, "launch", "copy"), 3);
        CHECK_EQ(events(&bound, "launch", "copy"), 1);
        CHECK_EQ(events(&bound, "alloc", "a state grows"), 0);
        CHECK(!memcmp(r.out[1].data, bound.out[1].data, r.out[1].bytes));
        CHECK(!memcmp(r.out[3].data, bound.out[3].data, r.out[3].bytes));
        r.in[1] = r.out[0];
        r.in[2] = r.out[2];
    }
    teardown(&r);
    teardown(&bound);
}

static void check_values(void)
{
    rig r = setup(cache_text, false, 0);
    float own[BATCH * HEADS * 3 * WIDE], minus[sizeof own / sizeof *own];
    CHECK_EQ(bind(&r, 2, 7), 0);
    step(&r, 3);
    step(&r, 1);
    check_contents(&r);
    CHECK_EQ(cab_session_trim_state(r.s, 1, 2, &r.e), 0);      /* two steps are taken back */
    CHECK_EQ(cab_session_trim_state(r.s, 2, 2, &r.e), 0);
    r.past.length = 2;
    check_contents(&r);
    step(&r, 4);
    forget(&r, 1);                                             /* another batch, from nothing */
    step(&r, 1);
    step(&r, 9);
    check_contents(&r);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {    /* values of the caller */
        own[i] = (float)(i % 5);
        minus[i] = -own[i];
        r.past.at[i / (HEADS * 3 * WIDE)][i / (3 * WIDE) % HEADS][i / WIDE % 3][i % WIDE] = own[i];
    }
    cab_tensor_view k = cache(2, 3, own), v = cache(2, 3, minus);
    CHECK_EQ(cab_session_set_state(r.s, 1, &k, &r.e), 0);
    CHECK_EQ(cab_session_set_state(r.s, 2, &v, &r.e), 0);
    r.past.batch = 2;
    r.past.length = 3;
    step(&r, 2);
    check_contents(&r);
    cab_tensor_view need = { 0 };
    CHECK_EQ(cab_session_get_state(r.s, 1, &need, &r.e), 0);
    CHECK(need.bytes == 2 * HEADS * 5 * WIDE * sizeof(float) && !need.data);
    teardown(&r);
}

/* ---- attention ---- */

enum { KEYS = 2, QUERIES = 4, HEAD = 8, LONG = 40 };

static cab_tensor_view heads(int64_t batch, int64_t n, int64_t steps, float *data)
{
    return (cab_tensor_view){ CAB_TYPE_F32, 4, { batch, n, steps, HEAD }, data,
                              sizeof *data * (size_t)(batch * n * steps * HEAD) };
}

/* Few rows and many, with the caches bound and handed back, optimised and naive. */
static void check_attention(void)
{
    static const int64_t rows[] = { 1, 7, 4, 5, 1, 1, 3, 9, 1 };
    static float q[BATCH * QUERIES * LONG * HEAD], x[BATCH * KEYS * LONG * HEAD];
    rig r[3] = { setup(attention_text, false, 0), setup(attention_text, false, 0),
                 setup(attention_text, true, 0) };
    cab_tensor_view in[3][4], out[3][3] = { { { 0 } } };
    for (int k = 0; k < 3; k++)
        in[k][2] = in[k][3] = heads(BATCH, KEYS, 0, NULL);
    CHECK_EQ(cab_session_bind_state(r[0].s, 2, 0, &in[0][2], 0, &r[0].e), 0);
    CHECK_EQ(cab_session_bind_state(r[0].s, 3, 1, &in[0][3], 0, &r[0].e), 0);
    for (size_t t = 0; t < sizeof rows / sizeof *rows; t++) {
        for (size_t i = 0; i < sizeof q / sizeof *q; i++)
            q[i] = (float)((i * 5 + t) % 7) - 3;
        for (size_t i = 0; i < sizeof x / sizeof *x; i++)
            x[i] = (float)((i * 3 + t) % 5) - 2;
        for (int k = 0; k < 3; k++) {
            in[k][0] = heads(BATCH, QUERIES, rows[t], q);
            in[k][1] = heads(BATCH, KEYS, rows[t], x);
            CHECK_EQ(cab_session_run(r[k].s, in[k], out[k], &r[k].e), 0);
            in[k][2] = out[k][0];          /* not looked at where they are bound */
            in[k][3] = out[k][1];
            CHECK(out[k][2].bytes == out[0][2].bytes &&
                  !memcmp(out[k][2].data, out[0][2].data, out[0][2].bytes));
        }
        CHECK_EQ(events(&r[0], "launch", "reshape+expand+reshape"), rows[t] > 4);
        CHECK_EQ(events(&r[0], "launch", "dot"), 2);
        CHECK_EQ(events(&r[0], "launch", "copy"), 1);          /* x, as values */
        CHECK_EQ(events(&r[1], "launch", "copy"), 3);
    }
    for (int k = 0; k < 3; k++)
        teardown(&r[k]);
}

/* ---- what is refused, and what a failure leaves ---- */

static void check_says(rig *r, int rc, int want, const char *words)
{
    CHECK_EQ(rc, want);
    CHECK_EQ(r->e.code, want);
    if (!strstr(r->e.text, words))
        fprintf(stderr, "said: %s\n", r->e.text);
    CHECK(strstr(r->e.text, words));
}

static void check_refusals(void)
{
    rig r = setup(cache_text, false, 0);
    cab_session *s = r.s;
    cab_tensor_view v = cache(1, 0, NULL), bad = v;
    check_says(&r, cab_session_set_state(s, 1, &v, &r.e), CAB_RT_EINVAL, "no state is bound");
    check_says(&r, cab_session_bind_state(s, 3, 0, &v, 0, &r.e), CAB_RT_EINVAL, "no input 3");
    check_says(&r, cab_session_bind_state(s, 1, -1, &v, 0, &r.e), CAB_RT_EINVAL, "no output -1");
    check_says(&r, cab_session_bind_state(s, 1, 0, NULL, 0, &r.e), CAB_RT_EINVAL,
               "extent 0 of input 'k' is not fixed");
    bad.dims[1] = 4;
    check_says(&r, cab_session_bind_state(s, 1, 0, &bad, 0, &r.e), CAB_RT_EINPUT, "4 as extent 1");
    bad = v;
    bad.dims[2] = -1;
    check_says(&r, cab_session_bind_state(s, 1, 0, &bad, 0, &r.e), CAB_RT_EINPUT, "-1 as extent 2");
    bad = v;
    bad.dtype = CAB_TYPE_F64;
    check_says(&r, cab_session_bind_state(s, 1, 0, &bad, 0, &r.e), CAB_RT_EINPUT, "dtype");
    bad = cache(1, 2, r.x);
    bad.bytes--;
    check_says(&r, cab_session_bind_state(s, 1, 0, &bad, 0, &r.e), CAB_RT_EINPUT, "are given");
    bad = cache(1, 0, NULL);
    bad.dims[0] = INT64_MAX / 4;
    check_says(&r, cab_session_bind_state(s, 1, 0, &bad, INT64_MAX, &r.e), CAB_RT_EINPUT, "");
    CHECK_EQ(cab_session_bind_state(s, 1, 0, &v, 0, &r.e), 0);
    check_says(&r, cab_session_bind_state(s, 1, 2, &v, 0, &r.e), CAB_RT_EINVAL, "bound already");
    check_says(&r, cab_session_bind_state(s, 2, 0, &v, 0, &r.e), CAB_RT_EINVAL, "bound already");
    r.past.batch = 1;
    new_steps(&r, 1);
    r.in[2] = cache(1, 0, r.x);
    check_says(&r, cab_session_run(s, r.in, r.out, &r.e), CAB_RT_EINPUT,
               "output 'vv' grows together with bound states: bind it to input 'v' too");
    CHECK_EQ(cab_session_bind_state(s, 2, 2, &v, 0, &r.e), 0);
    step(&r, 3);
    check_says(&r, cab_session_trim_state(s, 1, 4, &r.e), CAB_RT_EINVAL, "has length 3, not 4");
    check_says(&r, cab_session_trim_state(s, 0, 0, &r.e), CAB_RT_EINVAL, "no state");
    bad = (cab_tensor_view){ .data = r.x, .bytes = 8 };
    check_says(&r, cab_session_get_state(s, 1, &bad, &r.e), CAB_RT_EINPUT, "needs");
    CHECK_EQ(cab_session_trim_state(s, 1, 1, &r.e), 0);        /* one of two */
    new_steps(&r, 1);
    check_says(&r, cab_session_run(s, r.in, r.out, &r.e), CAB_RT_EINPUT, "P of another input");
    CHECK_EQ(cab_session_trim_state(s, 2, 1, &r.e), 0);
    r.past.length = 1;
    step(&r, 2);
    check_contents(&r);
    r.in[0].dims[0] = 2;                                       /* not the caches' batch */
    check_says(&r, cab_session_run(s, r.in, r.out, &r.e), CAB_RT_EINPUT, "extent 0");
    check_contents(&r);
    teardown(&r);
}

/* A run that does not get through changes nothing, growth or not. */
static void check_failed_runs(void)
{
    rig r = setup(cache_text, false, 0);
    cab_memory before, after;
    CHECK_EQ(bind(&r, 1, 2), 0);
    step(&r, 2);
    cab_session_deadline(r.s, 1);
    new_steps(&r, 5);
    CHECK_EQ(cab_session_run(r.s, r.in, r.out, &r.e), CAB_RT_EDEADLINE);
    cab_session_deadline(r.s, 0);
    check_contents(&r);
    new_steps(&r, 40);                     /* an estimate makes no room */
    CHECK_EQ(cab_session_estimate(r.s, r.in, &after, &r.e), 0);
    new_steps(&r, 1);
    CHECK_EQ(cab_session_estimate(r.s, r.in, &before, &r.e), 0);
    CHECK(before.outputs < after.outputs);
    step(&r, 1);
    check_contents(&r);
    teardown(&r);
}

static void check_limit(void)
{
    enum { LIMIT = 2000 };                 /* 24 bytes a step and cache, doubled while small */
    rig r = setup(cache_text, false, LIMIT);
    CHECK_EQ(bind(&r, 1, 0), 0);
    int rc = 0;
    while (!rc && r.past.length < MOST - 1) {
        new_steps(&r, 1);
        rc = cab_session_run(r.s, r.in, r.out, &r.e);
        r.past.length += rc == 0;
    }
    CHECK_EQ(rc, CAB_RT_ELIMIT);
    CHECK(strstr(r.e.text, "are allowed"));
    CHECK(r.past.length > 8);
    check_contents(&r);
    cab_tensor_view big = cache(1, 50, NULL);
    check_says(&r, cab_session_set_state(r.s, 1, &big, &r.e), CAB_RT_ELIMIT, "state of input 'k'");
    forget(&r, 1);
    step(&r, 3);
    teardown(&r);
}

typedef struct counter { int live, calls, fail_at; } counter;

static void *counted(void *user, size_t bytes, size_t align)
{
    counter *c = user;
    if (++c->calls == c->fail_at)
        return NULL;
    c->live++;
    return aligned_alloc(align < 16 ? 16 : align, (bytes + 63) / 64 * 64 + 64);
}

static void released(void *user, void *p)
{
    ((counter *)user)->live--;
    free(p);
}

/* Binds, grows and reads with allocation fail_at failing; then without. */
static bool survive(uint8_t *file, size_t n, int fail_at)
{
    counter c = { 0 };
    cab_allocator a = { counted, released, &c };
    cab_model_options mo = { .size = sizeof mo, .allocator = &a };
    rig r = { .past.batch = 1 };
    CHECK_EQ(cab_model_load_memory(file, n, "net", &mo, &r.m, &r.e), 0);
    CHECK_EQ(cab_session_create(r.m, NULL, &r.s, &r.e), 0);
    int before = c.calls, rc;
    c.fail_at = before + fail_at;
    rc = bind(&r, 1, 0);
    CHECK(rc == 0 || rc == CAB_RT_ENOMEM);
    for (int i = 1; rc == 0 && i < 4; i++) {
        new_steps(&r, i);
        rc = cab_session_run(r.s, r.in, r.out, &r.e);
        CHECK(rc == 0 || rc == CAB_RT_ENOMEM);
        r.past.length += rc ? 0 : i;
    }
    bool through = rc == 0;
    c.fail_at = 0;
    for (int i = 0; i < 2; i++) {          /* those that are not bound yet */
        cab_tensor_view start = cache(1, 0, NULL);
        rc = cab_session_bind_state(r.s, 1 + i, 2 * i, &start, 0, &r.e);
        CHECK(rc == 0 || (rc == CAB_RT_EINVAL && strstr(r.e.text, "bound already")));
    }
    check_contents(&r);
    new_steps(&r, 6);
    CHECK_EQ(cab_session_run(r.s, r.in, r.out, &r.e), 0);
    check_sums(&r, 6);
    cab_session_destroy(r.s);
    cab_model_destroy(r.m);
    CHECK_EQ(c.live, 0);
    return through;
}

static void check_out_of_memory(void)
{
    size_t n;
    uint8_t *file = compile(cache_text, false, &n);
    int k = 1;
    while (!survive(file, n, k))
        k++;
    CHECK(k > 10);
    free(file);
}

/* ---- states that keep their shape ---- */

static cab_tensor_view pair(float *data, int64_t n)
{
    return (cab_tensor_view){ CAB_TYPE_F32, 2, { n, 2 }, data, (size_t)n * 8 };
}

static void check_hidden(void)
{
    rig r = setup(hidden_text, false, 0);
    float h[4] = { 0, 1, 1, 1 }, got[4];
    double g[4] = { 0 };
    cab_tensor_view start = pair(h, 1), now = { .data = got, .bytes = sizeof got };
    r.in[1] = (cab_tensor_view){ CAB_TYPE_F64, 2, { 1, 2 }, g, 16 };
    check_says(&r, cab_session_bind_state(r.s, 0, 2, &start, 0, &r.e), CAB_RT_EINVAL, "types differ");
    CHECK_EQ(cab_session_bind_state(r.s, 0, 0, &start, 9, &r.e), 0);
    uint64_t allocations = 0;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(cab_session_run(r.s, r.in, r.out, &r.e), 0);
        CHECK(events(&r, "copy", "output onto input") == 0);
        allocations = i == 1 ? cab_session_allocations(r.s) : allocations;
    }
    CHECK_EQ(cab_session_allocations(r.s), allocations);
    CHECK(((float *)r.out[0].data)[0] == 55 && ((float *)r.out[0].data)[1] == 89);
    CHECK_EQ(cab_session_get_state(r.s, 0, &now, &r.e), 0);
    CHECK(got[0] == 55 && got[1] == 89 && h[0] == 0);
    cab_session_deadline(r.s, 1);
    CHECK_EQ(cab_session_run(r.s, r.in, r.out, &r.e), CAB_RT_EDEADLINE);
    cab_session_deadline(r.s, 0);
    now.bytes = sizeof got;
    CHECK_EQ(cab_session_get_state(r.s, 0, &now, &r.e), 0);
    CHECK(got[0] == 55);
    check_says(&r, cab_session_trim_state(r.s, 0, 0, &r.e), CAB_RT_EINVAL, "does not grow");
    start = pair(h, 2);                    /* a batch of two */
    CHECK_EQ(cab_session_set_state(r.s, 0, &start, &r.e), 0);
    check_says(&r, cab_session_run(r.s, r.in, r.out, &r.e), CAB_RT_EINPUT, "extent 0");
    r.in[1] = (cab_tensor_view){ CAB_TYPE_F64, 2, { 2, 2 }, g, 32 };
    CHECK_EQ(cab_session_run(r.s, r.in, r.out, &r.e), 0);
    CHECK(((float *)r.out[0].data)[3] == 3);
    teardown(&r);
}

static void check_fixed(void)
{
    rig r = setup(fixed_text, false, 0);
    check_says(&r, cab_session_bind_state(r.s, 0, 1, NULL, 0, &r.e), CAB_RT_EINVAL,
               "extent 0 is 6 there, 3 here");
    CHECK_EQ(cab_session_bind_state(r.s, 0, 0, NULL, 0, &r.e), 0);     /* zeros */
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(cab_session_run(r.s, NULL, r.out, &r.e), 0);
        CHECK(((float *)r.out[0].data)[2] == (float)i && ((float *)r.out[1].data)[5] == (float)(i - 1));
    }
    CHECK_EQ(cab_session_set_state(r.s, 0, NULL, &r.e), 0);
    CHECK_EQ(cab_session_run(r.s, NULL, r.out, &r.e), 0);
    CHECK(((float *)r.out[0].data)[0] == 1);
    teardown(&r);
    r = setup(hidden_text, false, 0);      /* t has twice the rows of h */
    float h[2] = { 1, 1 };
    double g[2] = { 0 };
    cab_tensor_view start = pair(h, 1);
    r.in[1] = (cab_tensor_view){ CAB_TYPE_F64, 2, { 1, 2 }, g, 16 };
    CHECK_EQ(cab_session_bind_state(r.s, 0, 1, &start, 0, &r.e), 0);
    check_says(&r, cab_session_run(r.s, r.in, r.out, &r.e), CAB_RT_EINPUT,
               "only a state that grows by a concat may change");
    teardown(&r);
}

int main(void)
{
    if (CAB_JOB_ENTER(&job)) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    arena = cab_arena_create(&job);
    cab_diag_init(&diag);
    check_growth(false);
    check_growth(true);
    check_copies();
    check_values();
    check_attention();
    check_refusals();
    check_failed_runs();
    check_limit();
    check_out_of_memory();
    check_hidden();
    check_fixed();
    cab_arena_destroy(arena);
    cab_diag_fini(&diag);
    TEST_END();
}
