/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_runtime.c - the runtime on plans made by hand: control instructions,
 * size reads, dynamic values, refusals, packing, the pool, hostile files.
 */
#include "runtime/runtime_int.h"
#include "tests/test.h"
#include <pthread.h>
#include <unistd.h>

/* ---- a tiny plan writer ---- */

typedef struct plan_kit {
    cab_plan_scalar scalars[32];
    cab_plan_check checks[4];
    cab_plan_value values[16];
    cab_plan_instr instrs[32];
    uint32_t words[64], inputs[4], outputs[4];
    cab_plan_header h;
    char strings[256];
    uint32_t n_strings;
    uint8_t weights[256];
    _Alignas(64) uint8_t file[16384];
    size_t n;
} plan_kit;

static uint32_t text(plan_kit *k, const char *s)
{
    uint32_t at = k->n_strings;
    k->n_strings += (uint32_t)strlen(s) + 1;
    strcpy(k->strings + at, s);
    return at;
}

static void start(plan_kit *k)
{
    memset(k, 0, sizeof *k);
    text(k, "");
}

static uint32_t scalar(plan_kit *k, uint32_t op, uint32_t a, uint32_t b, int64_t imm)
{
    k->scalars[k->h.n_scalars] = (cab_plan_scalar){ op, a, b, 0, imm };
    return k->h.n_scalars++;
}

static uint32_t num(plan_kit *k, int64_t v) { return scalar(k, CAB_S_CONST, 0, 0, v); }

/* A rank-1 i64 value of n elements (a slot). */
static uint32_t value(plan_kit *k, uint8_t cls, uint32_t n, uint32_t bytes)
{
    cab_plan_value v = { .cls = cls, .dtype = 7, .rank = 1, .dims = { n }, .slot_bytes = bytes,
                         .last = 31 };
    if (cls == CAB_V_INPUT) {
        v.index = k->h.n_inputs;
        v.name = text(k, "in");
        k->inputs[k->h.n_inputs++] = k->h.n_values;
    } else if (cls == CAB_V_OUTPUT) {
        v.index = k->h.n_outputs;
        v.name = text(k, "out");
        k->outputs[k->h.n_outputs++] = k->h.n_values;
    }
    k->values[k->h.n_values] = v;
    return k->h.n_values++;
}

static uint32_t instr(plan_kit *k, uint32_t op, uint32_t a, uint32_t b, uint32_t c)
{
    k->instrs[k->h.n_instrs] = (cab_plan_instr){ op, a, b, c, 0, 0 };
    return k->h.n_instrs++;
}

static void put(plan_kit *k, size_t *at, const void *p, size_t n)
{
    memcpy(k->file + *at, p, n);
    *at += n;
}

static void finish(plan_kit *k)
{
    size_t at = 512, plan_at = 512;
    for (uint32_t i = 0; i < k->h.n_values; i++)
        k->values[i].last = k->h.n_instrs;
    memset(k->file, 0, sizeof k->file);
    put(k, &at, &k->h, sizeof k->h);
    put(k, &at, k->scalars, k->h.n_scalars * sizeof *k->scalars);
    put(k, &at, k->checks, k->h.n_checks * sizeof *k->checks);
    put(k, &at, k->values, k->h.n_values * sizeof *k->values);
    put(k, &at, k->instrs, k->h.n_instrs * sizeof *k->instrs);
    put(k, &at, k->words, k->h.n_words * 4);
    put(k, &at, k->inputs, k->h.n_inputs * 4);
    put(k, &at, k->outputs, k->h.n_outputs * 4);
    cab_file_section sec[4] = { { CAB_SEC_PLAN, 0, plan_at, at - plan_at },
                                { CAB_SEC_STRINGS, 0, 4096, k->n_strings },
                                { CAB_SEC_CODE, 0, 8192, 0 },
                                { CAB_SEC_WEIGHTS, 0, 8192, sizeof k->weights } };
    memcpy(k->file + 4096, k->strings, k->n_strings);
    memcpy(k->file + 8192, k->weights, sizeof k->weights);
    k->n = 12288;
    cab_file_header h = { CAB_PLAN_MAGIC, CAB_PLAN_VERSION, 4, k->n, { 0 }, 0, 0 };
    cab_sha256 s;
    cab_sha256_init(&s);
    cab_sha256_add(&s, k->file + plan_at, at - plan_at);
    cab_sha256_add(&s, k->strings, k->n_strings);
    cab_sha256_done(&s, h.sha256);
    memcpy(k->file, &h, sizeof h);
    memcpy(k->file + sizeof h, sec, sizeof sec);
}

static int load(plan_kit *k, cab_model **m, cab_error *e)
{
    cab_diag d;
    int fd = cab_memfd("test", k->n);
    cab_diag_init(&d);
    CHECK(fd >= 0);
    CHECK_EQ(cab_fd_write_at(fd, 0, k->file, k->n, &d), CAB_OK);
    int rc = cab_model_load_fd(fd, "test", m, e);
    close(fd);
    cab_diag_fini(&d);
    return rc;
}

static cab_tensor_view i64s(int64_t *p, int64_t n)
{
    return (cab_tensor_view){ 7, 1, { n }, p, (size_t)n * 8 };
}

/* ---- tests ---- */

/* out[2] <- in[2] through an arena copy, n times round a loop. */
static void check_loop_and_copy(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    int64_t in[2] = { 3, 9 };
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16), three = num(&k, 3);
    uint32_t count = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes), y = value(&k, CAB_V_OUTPUT, two, bytes);
    uint32_t t = value(&k, CAB_V_ARENA, two, bytes);
    instr(&k, CAB_I_ZERO, y, 0, 0);
    uint32_t l = instr(&k, CAB_I_LOOP, count, three, 5);
    instr(&k, CAB_I_COPY, t, x, 0);
    instr(&k, CAB_I_COPY, y, t, 0);
    instr(&k, CAB_I_NEXT, count, l, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    cab_session_options o = { .threads = 1, .trace = 1 };
    CHECK_EQ(cab_session_create(m, &o, &s, &e), CAB_OK);
    cab_tensor_view iv = i64s(in, 2), ov = { 0 };
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(((int64_t *)ov.data)[0], 3);
    CHECK_EQ(((int64_t *)ov.data)[1], 9);
    CHECK_EQ(ov.rank, 1);
    CHECK_EQ(ov.dims[0], 2);
    const cab_trace_event *ev;
    size_t n;
    cab_session_trace(s, &ev, &n);
    CHECK_EQ(n, 6);                                    /* the trace is bounded by the plan */
    uint64_t before = cab_session_allocations(s);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(cab_session_allocations(s), before);      /* nothing new for a seen shape */
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* The need is known before the run, and a limit refuses it. */
static void check_memory(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    cab_memory mem;
    int64_t in[1000] = { 0 };
    start(&k);
    uint32_t n = scalar(&k, CAB_S_INPUT_DIM, 0, 0, 0), eight = num(&k, 8);
    uint32_t bytes = scalar(&k, CAB_S_MUL, n, eight, 0);
    uint32_t x = value(&k, CAB_V_INPUT, n, bytes), y = value(&k, CAB_V_OUTPUT, n, bytes);
    uint32_t t = value(&k, CAB_V_ARENA, n, bytes);
    instr(&k, CAB_I_COPY, t, x, 0);
    instr(&k, CAB_I_COPY, y, t, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    cab_session_options o = { .threads = 1, .max_bytes = 4000 };
    CHECK_EQ(cab_session_create(m, &o, &s, &e), CAB_OK);
    cab_tensor_view iv = i64s(NULL, 1000), ov = { 0 };
    CHECK_EQ(cab_session_estimate(s, &iv, &mem, &e), CAB_OK);
    CHECK_EQ(mem.intermediate, 8000);
    CHECK_EQ(mem.outputs, 8000);
    CHECK_EQ(cab_session_arena_bytes(s), 0);
    iv.data = in;
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_ELIMIT);
    CHECK(strstr(e.text, "are allowed") != NULL);
    CHECK_EQ(cab_session_arena_bytes(s), 0);
    iv = i64s(in, 100);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* A size read from data decides a dynamic value; a branch skips a copy. */
static void check_size_read_and_branch(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    start(&k);
    uint32_t one = num(&k, 1), eight = num(&k, 8), two = num(&k, 2), sixteen = num(&k, 16);
    uint32_t n = scalar(&k, CAB_S_SIZE_READ, 0, 0, 0);
    uint32_t bytes = scalar(&k, CAB_S_MUL, n, eight, 0);
    uint32_t x = value(&k, CAB_V_INPUT, two, sixteen), y = value(&k, CAB_V_OUTPUT, two, sixteen);
    uint32_t d = value(&k, CAB_V_DYNAMIC, n, bytes);
    (void)one;
    instr(&k, CAB_I_ZERO, y, 0, 0);
    instr(&k, CAB_I_SIZE_READ, n, x, 0);
    instr(&k, CAB_I_EVAL_SHAPE, bytes, bytes + 1, 0);
    instr(&k, CAB_I_BRANCH, 7, n, 0);                  /* n == 0: to the end */
    instr(&k, CAB_I_ALLOC, d, 0, 0);
    instr(&k, CAB_I_COPY, d, x, 0);                    /* fits for n == 2 only */
    instr(&k, CAB_I_COPY, y, d, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    int64_t a[2] = { 2, 5 }, b[2] = { 0, 5 }, c[2] = { 7, 5 };
    cab_tensor_view ov = { 0 }, iv = i64s(a, 2);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(((int64_t *)ov.data)[1], 5);
    iv = i64s(b, 2);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_OK);
    CHECK_EQ(((int64_t *)ov.data)[1], 0);
    iv = i64s(c, 2);
    CHECK_EQ(cab_session_run(s, &iv, &ov, &e), CAB_EARTIFACT);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* Inputs are refused in words: dtype, rank, extents, guards, fixed values. */
static void check_refusals(void)
{
    static plan_kit k;
    cab_model *m;
    cab_session *s;
    cab_error e = { 0 };
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes);
    uint32_t f = value(&k, CAB_V_INPUT, two, bytes);
    k.values[f].flags = CAB_V_FIXED;
    k.weights[0] = 4;
    k.weights[8] = 5;
    uint32_t extent = scalar(&k, CAB_S_INPUT_DIM, 0, 0, 0);
    k.checks[k.h.n_checks++] = (cab_plan_check){ extent, two, text(&k, "rows and columns"), 0 };
    (void)x;
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    CHECK_EQ(load(&k, &m, &e), CAB_OK);
    CHECK_EQ(cab_session_create(m, NULL, &s, &e), CAB_OK);
    int64_t a[3] = { 1, 2, 3 }, good[2] = { 4, 5 };
    cab_tensor_view in[2] = { i64s(a, 2), i64s(good, 2) };
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_OK);
    in[0].dtype = 1;
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK_STR(e.text, "input 'in' holds f32, the model wants i64");
    in[0] = i64s(a, 3);
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK_STR(e.text, "input 'in': extent 0 is 3, must be 2");
    in[0] = i64s(a, 2);
    in[0].bytes = 8;
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK_STR(e.text, "input 'in' needs 16 bytes, 8 are given");
    in[0] = i64s(a, 2);
    in[1] = i64s(a, 2);
    CHECK_EQ(cab_session_run(s, in, NULL, &e), CAB_EINPUT);
    CHECK(strstr(e.text, "decides sizes") != NULL);
    cab_session_destroy(s);
    cab_model_destroy(m);
}

/* Every mutation of a valid file is refused or loads; none crashes. */
static void check_hostile_files(void)
{
    static plan_kit k, mutant;
    cab_rng r;
    const uint64_t seed = 20261123;
    int refused = 0;
    start(&k);
    uint32_t two = num(&k, 2), bytes = num(&k, 16);
    uint32_t x = value(&k, CAB_V_INPUT, two, bytes), y = value(&k, CAB_V_OUTPUT, two, bytes);
    instr(&k, CAB_I_COPY, y, x, 0);
    instr(&k, CAB_I_END, 0, 0, 0);
    finish(&k);
    cab_rng_seed(&r, seed);
    for (int i = 0; i < 3000; i++) {
        mutant = k;
        /* Half keep a valid checksum, so that the tables' own checks are met. */
        if (i % 2) {
            size_t at = (size_t)cab_rng_i64(&r, 0, 1200);
            mutant.file[at] ^= (uint8_t)(1 << cab_rng_i64(&r, 0, 7));
        } else {
            uint32_t *w = (uint32_t *)(i % 4 ? (void *)mutant.values : (void *)&mutant.scalars);
            size_t words = i % 4 ? 2 * sizeof(cab_plan_value) / 4 : 2 * sizeof(cab_plan_scalar) / 4;
            w[cab_rng_i64(&r, 0, (int64_t)words - 1)] = (uint32_t)cab_rng_u64(&r);
            size_t n = mutant.h.n_instrs;
            (void)n;
            finish(&mutant);
        }
        cab_plan p;
        cab_error e = { 0 };
        cab_status s = cab_plan_check_bytes(mutant.file, mutant.n, &p, &e);
        refused += s != CAB_OK;
        CHECK(s == CAB_OK || e.text[0]);
    }
    fprintf(stderr, "seed %llu: %d of 3000 mutations refused\n", (unsigned long long)seed, refused);
    CHECK(refused > 1000);
    for (size_t n = 0; n < 1500; n += 7) {
        cab_plan p;
        CHECK(cab_plan_check_bytes(k.file, n, &p, NULL) != CAB_OK);
    }
}

/* ---- pool ---- */

static void add_tasks(void *const *bufs, const int64_t *ints, int64_t lo, int64_t hi)
{
    int64_t *hits = bufs[0];
    for (int64_t i = lo; i < hi; i++)
        hits[i] += ints[0];
}

static void *pool_user(void *arg)
{
    enum { N = 1000 };
    static _Thread_local int64_t hits[N];
    int64_t one = 1;
    void *bufs[1] = { hits };
    int *ok = arg;
    *ok = 1;
    for (int round = 1; round <= 200; round++) {
        cab_pool_enter(0);
        cab_pool_run(add_tasks, bufs, &one, N, 0);
        cab_pool_leave(0);
        for (int i = 0; i < N; i++)
            *ok &= hits[i] == round;
    }
    return NULL;
}

static void check_pool(void)
{
    pthread_t t[4];
    int ok[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&t[i], NULL, pool_user, &ok[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CHECK(ok[i]);
    }
    CHECK(cab_pool_width() >= 1);
}

/* ---- packing ---- */

static void check_packing(void)
{
    enum { N = 40 };
    static cab_plan_value v[N];
    static int64_t slots[N];
    static uint64_t offset[N];
    static uint32_t order[N];
    cab_rng r;
    cab_rng_seed(&r, 5);
    uint64_t total, sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        v[i] = (cab_plan_value){ .cls = CAB_V_ARENA, .slot_bytes = i };
        v[i].first = (uint32_t)cab_rng_i64(&r, 0, 50);
        v[i].last = v[i].first + (uint32_t)cab_rng_i64(&r, 0, 8);
        slots[i] = cab_rng_i64(&r, 0, 5000);
        sum += (uint64_t)slots[i];
    }
    CHECK(cab_arena_pack(v, N, slots, offset, order, &total));
    CHECK(total < sum);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(offset[i] % 64, 0);
        CHECK(offset[i] + (uint64_t)slots[i] <= total);
        for (int j = 0; j < i; j++) {
            bool in_time = v[i].first <= v[j].last && v[j].first <= v[i].last;
            bool in_space = offset[i] < offset[j] + (uint64_t)slots[j] &&
                            offset[j] < offset[i] + (uint64_t)slots[i];
            CHECK(!(in_time && in_space));
        }
    }
}

int main(void)
{
    check_loop_and_copy();
    check_memory();
    check_size_read_and_branch();
    check_refusals();
    check_hostile_files();
    check_pool();
    check_packing();
    TEST_END();
}
